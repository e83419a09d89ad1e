//! Windows that are open, by their beginning and by whom they are of: bounded, and who was silent for longest gives way.

use crate::units::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// What is kept of one entity in one window.
pub trait Sums: Default {
    /// Latest end of a flow.
    fn touched(&self) -> Timestamp;
    /// Values kept beside the sums.
    fn held(&self) -> usize;
}

/// Part of the entries, or of what they hold, that makes room at once: putting all in order pays for as many new ones.
const PART: usize = 16;

/// See the module. The hash's key is drawn at start, because keys come from the wire; what is given is sorted.
pub struct Open<K, S> {
    windows: BTreeMap<u64, HashMap<K, S>>,
    length_ns: u64,
    entries: usize,
    entries_max: usize,
    held: usize,
    held_max: usize,
}

impl<K: Copy + Ord + Hash, S: Sums> Open<K, S> {
    /// Windows of `length_ns` with at most so many entries, which keep at most about so many values.
    pub fn new(length_ns: u64, entries_max: usize, held_max: usize) -> Open<K, S> {
        Open { windows: BTreeMap::new(), length_ns, entries: 0, entries_max: entries_max.max(PART), held: 0, held_max }
    }

    /// Bytes of so many entries at most, without what they hold: a map grows by doubling, up to seven eighths full.
    pub const fn bytes(entries: usize) -> usize {
        (entries * 8 / 7 + 1).next_power_of_two() * (size_of::<(K, S)>() + 1)
    }

    /// Beginning of the oldest window.
    pub fn oldest(&self) -> Option<u64> {
        self.windows.first_key_value().map(|(start, _)| *start)
    }

    /// Changes what is kept of `key` in a window, begun if there is none.
    pub fn change(&mut self, window: u64, key: K, change: impl FnOnce(&mut S)) {
        let entries = self.windows.entry(window).or_default();
        let before = entries.len();
        let sums = entries.entry(key).or_default();
        self.held -= sums.held();
        change(sums);
        self.held += sums.held();
        self.entries += entries.len() - before;
    }

    /// Takes out who was silent for longest, if there is no room; nothing otherwise.
    pub fn relieve(&mut self) -> Vec<(u64, K, S)> {
        if self.entries < self.entries_max && self.held < self.held_max {
            return Vec::new();
        }
        let of_window = |(start, entries): (&u64, &HashMap<K, S>)| {
            let start = *start;
            let order: Vec<_> = entries.iter().map(|(key, sums)| (sums.touched(), start, *key)).collect();
            order
        };
        let mut order: Vec<(Timestamp, u64, K)> = self.windows.iter().flat_map(of_window).collect();
        order.sort_unstable();
        let [entries, held] = [self.entries_max, self.held_max].map(|most| most - most / PART);
        let mut taken = Vec::new();
        for (_, start, key) in order {
            if self.entries <= entries && self.held <= held {
                break;
            }
            let Some(sums) = self.windows.get_mut(&start).and_then(|entries| entries.remove(&key)) else { continue };
            self.entries -= 1;
            self.held -= sums.held();
            taken.push((start, key, sums));
        }
        self.windows.retain(|_, entries| !entries.is_empty());
        taken
    }

    /// Takes out the windows that are over at `reached`, in the order of their beginnings and keys.
    pub fn over(&mut self, reached: Timestamp) -> Vec<(u64, K, S)> {
        let mut all = Vec::new();
        while let Some(oldest) = self.windows.first_entry() {
            if Timestamp(*oldest.key()).after(self.length_ns) > reached {
                break;
            }
            let (start, entries) = oldest.remove_entry();
            let first = all.len();
            all.extend(entries.into_iter().map(|(key, sums)| (start, key, sums)));
            if let Some(window) = all.get_mut(first..) {
                window.sort_unstable_by_key(|(_, key, _)| *key);
            }
        }
        self.entries -= all.len();
        self.held -= all.iter().map(|(_, _, sums)| sums.held()).sum::<usize>();
        all
    }
}
