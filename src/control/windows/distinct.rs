//! How many distinct values, and how often the most frequent: exact up to a limit, so the same in any order.

/// Distinct values that are told apart; of more only that they are more.
pub const DISTINCT: usize = 256;

/// The values and how often each came.
#[derive(Clone, Debug)]
pub struct Distinct<T> {
    /// In order.
    seen: Vec<(T, u32)>,
    /// There were more than [`DISTINCT`]; none is kept then.
    is_over: bool,
}

impl<T> Default for Distinct<T> {
    fn default() -> Distinct<T> {
        Distinct { seen: Vec::new(), is_over: false }
    }
}

impl<T: Copy + Ord> Distinct<T> {
    pub fn add(&mut self, value: T) {
        if self.is_over {
            return;
        }
        match self.seen.binary_search_by_key(&value, |(seen, _)| *seen) {
            Ok(at) => {
                if let Some((_, times)) = self.seen.get_mut(at) {
                    *times = times.saturating_add(1);
                }
            }
            Err(_) if self.seen.len() >= DISTINCT => *self = Distinct { seen: Vec::new(), is_over: true },
            Err(at) => {
                if self.seen.len() == self.seen.capacity() {
                    self.seen.reserve_exact(self.seen.len() / 2 + 2);
                }
                self.seen.insert(at, (value, 1));
            }
        }
    }

    /// Values kept.
    pub fn held(&self) -> usize {
        self.seen.len()
    }

    /// How many there were, at most [`DISTINCT`].
    pub fn count(&self) -> u64 {
        if self.is_over { DISTINCT as u64 } else { self.seen.len() as u64 }
    }

    /// How often the most frequent came; 0 where there were more than are told apart.
    pub fn most(&self) -> u64 {
        self.seen.iter().map(|(_, times)| u64::from(*times)).max().unwrap_or(0)
    }
}
