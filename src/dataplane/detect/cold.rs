//! A map of bounded size for the deciders: full, it forgets the quarter that was silent longest. It can be shown something and
//! take that back ([`ColdMap::begin`]).

use crate::units::Timestamp;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash};

/// Bytes that a map of so many entries comes to at most: it grows by doubling, up to seven eighths full.
pub(crate) const fn bytes<K, V>(capacity: usize) -> usize {
    (capacity * 8 / 7 + 1).next_power_of_two() * (size_of::<(K, V)>() + 1)
}

/// State that knows when it was last touched.
pub(crate) trait Touched {
    /// Latest window in which it was touched.
    fn touched(&self) -> Timestamp;
}

impl Touched for Timestamp {
    fn touched(&self) -> Timestamp {
        *self
    }
}

/// See the module. Iteration order is never visible, so the hasher needs no key for determinism; it is fixed so that a
/// replay takes the same time twice. Keys come from merged windows, of which there are boundedly many a second.
pub(crate) struct ColdMap<K, V> {
    map: HashMap<K, V, BuildHasherDefault<DefaultHasher>>,
    capacity: usize,
    forgotten: u64,
    journal: Option<Journal<K, V>>,
}

/// What entries were before they were touched.
struct Journal<K, V> {
    before: HashMap<K, Option<V>, BuildHasherDefault<DefaultHasher>>,
    copy: fn(&V) -> V,
}

impl<K: Copy + Eq + Ord + Hash, V: Touched> ColdMap<K, V> {
    /// Keeps at most `capacity` entries (at least 4).
    pub fn new(capacity: usize) -> ColdMap<K, V> {
        ColdMap { map: HashMap::default(), capacity: capacity.max(4), forgotten: 0, journal: None }
    }

    /// The state of `key`, made by `make` if there is none.
    pub fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.note(&key);
        if self.journal.is_none() && self.map.len() >= self.capacity && !self.map.contains_key(&key) {
            self.forget_coldest();
        }
        self.map.entry(key).or_insert_with(make)
    }

    /// Sets the state of `key`: what was written down is known again.
    pub fn put(&mut self, key: K, value: V) {
        if !self.map.contains_key(&key) && self.map.len() >= self.capacity {
            self.forget_coldest();
        }
        self.note(&key);
        self.map.insert(key, value);
    }

    /// The state of `key`, if there is one.
    pub fn existing(&mut self, key: &K) -> Option<&mut V> {
        self.note(key);
        self.map.get_mut(key)
    }

    /// Forgets `key`, and gives what its state was.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.note(key);
        self.map.remove(key)
    }

    /// From here on everything can be taken back, and nothing is forgotten: it grows by as many entries as are new.
    pub fn begin(&mut self)
    where
        V: Clone,
    {
        self.journal = Some(Journal { before: HashMap::default(), copy: V::clone });
    }

    /// Everything is as it was at [`ColdMap::begin`].
    pub fn roll_back(&mut self) {
        for (key, before) in self.journal.take().into_iter().flat_map(|journal| journal.before) {
            match before {
                Some(value) => self.map.insert(key, value),
                None => self.map.remove(&key),
            };
        }
    }

    fn note(&mut self, key: &K) {
        if let Some(journal) = &mut self.journal
            && !journal.before.contains_key(key)
        {
            journal.before.insert(*key, self.map.get(key).map(journal.copy));
        }
    }

    /// All entries in the order of their keys, to be written down.
    pub fn sorted(&self) -> Vec<(K, &V)> {
        let mut all: Vec<(K, &V)> = self.map.iter().map(|(key, value)| (*key, value)).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }

    /// How many were forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Entries now.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// One pass over all entries pays for a quarter of the capacity in inserts.
    fn forget_coldest(&mut self) {
        let mut order: Vec<(Timestamp, K)> = self.map.iter().map(|(key, value)| (value.touched(), *key)).collect();
        let count = (order.len() / 4).max(1);
        order.select_nth_unstable(count - 1);
        for (_, key) in order.iter().take(count) {
            self.map.remove(key);
        }
        self.forgotten += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coldest_quarter_goes_and_is_counted() {
        let mut map = ColdMap::new(8);
        for key in 0..8_u32 {
            map.entry(key, || Timestamp(u64::from(100 - key)));
        }
        map.entry(8, || Timestamp(200));
        assert_eq!((map.len(), map.forgotten()), (7, 2));
        assert!(map.existing(&7).is_none() && map.existing(&6).is_none() && map.existing(&5).is_some());
    }

    #[test]
    fn what_was_shown_is_taken_back() {
        let mut map = ColdMap::new(4);
        (0..4_u32).for_each(|key| *map.entry(key, || Timestamp(0)) = Timestamp(u64::from(key)));
        map.begin();
        *map.entry(1, || Timestamp(0)) = Timestamp(100);
        *map.entry(1, || Timestamp(0)) = Timestamp(200);
        *map.entry(9, || Timestamp(0)) = Timestamp(300);
        *map.existing(&2).expect("there") = Timestamp(400);
        assert_eq!((map.len(), map.forgotten()), (5, 0), "it grows meanwhile");
        map.roll_back();
        let all: Vec<(u32, u64)> = map.sorted().into_iter().map(|(key, value)| (key, value.0)).collect();
        assert_eq!(all, [(0, 0), (1, 1), (2, 2), (3, 3)]);
    }
}
