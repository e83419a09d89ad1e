//! The observer's table: (entity, window) to counts, of fixed size, in sets of eight ways like a cache.
//!
//! A lookup looks at eight tags of one set and no further. A full set gives its coldest entry out early: entries can be
//! merged, so that loses nothing but costs the control plane one more merge.

use super::distinct::HashKey;
use super::{Counts, Entity, TunnelMark, WINDOW_NS, WindowEntry};
use crate::sys::tags;
use crate::units::Timestamp;

/// Ways of a set.
const WAYS: usize = 8;

/// Sets looked at for each entry of the flush budget: bounds a step when most of the table is empty.
const SETS_PER_ENTRY: usize = 4;

const VACANT: WindowEntry =
    WindowEntry { start: Timestamp(0), entity: Entity::Source(0), counts: Counts::ZERO, mark: TunnelMark(0) };

/// See the module.
pub(super) struct WindowTable {
    /// One tag per way, 0 where the way is free.
    tags: Vec<[u32; WAYS]>,
    entries: Vec<[WindowEntry; WAYS]>,
    mask: u64,
    key: HashKey,
    /// Where the running sweep goes on; `None` when no sweep runs.
    cursor: Option<usize>,
    /// What the running sweep gives out: windows that begin before this, of the open one what it has so far.
    sweeping: Timestamp,
    /// What was counted before this has been given out.
    done: Timestamp,
    /// Largest moment returned so far: what was said is not taken back while a sweep runs.
    reached: Timestamp,
    /// Earliest start of an entry since the last full sweep: lets a sweep be skipped when nothing is due.
    earliest: Timestamp,
    /// How often counts are given out, nanoseconds: a window's length, or a part of it.
    every_ns: u64,
    /// A bit for each set that may hold an entry: a sweep of an empty table looks at 64 sets at once.
    occupied: Vec<u64>,
    /// What the running sweep promises ([`WindowTable::look`]).
    pledged: Timestamp,
}

impl WindowTable {
    pub fn new(capacity: usize, key: HashKey) -> WindowTable {
        let sets = capacity.div_ceil(WAYS).next_power_of_two();
        WindowTable {
            tags: vec![[0; WAYS]; sets],
            entries: vec![[VACANT; WAYS]; sets],
            mask: sets as u64 - 1,
            key,
            cursor: None,
            sweeping: Timestamp(0),
            done: Timestamp(0),
            reached: Timestamp(0),
            earliest: Timestamp(u64::MAX),
            every_ns: WINDOW_NS,
            occupied: vec![0; sets.div_ceil(64)],
            pledged: Timestamp(0),
        }
    }

    /// See [`super::Observer::giving_out_every`].
    pub fn giving_out_every(self, every_ns: u64) -> WindowTable {
        WindowTable { every_ns, ..self }
    }

    /// Counts of `entity` in the window that `time` lies in, for an event of a flow in the tunnel of `mark`; `None` cannot
    /// happen but costs nothing to allow.
    #[inline(always)]
    pub fn counts(
        &mut self,
        entity: Entity,
        (time, mark): (Timestamp, TunnelMark),
        out: &mut dyn FnMut(&WindowEntry),
    ) -> Option<&mut Counts> {
        let start = Timestamp(time.0 - time.0 % WINDOW_NS);
        let hash = self.key.entity(&entity, start.0);
        let set = (hash & self.mask) as usize;
        let tag = (hash >> 32) as u32 | 1;
        let (tags, entries) = (self.tags.get(set)?, self.entries.get(set)?);
        // Nearly always the first one.
        let mut matches = tags::matches_u32(tags, tag);
        let way = loop {
            if matches == 0 {
                break self.open((set, tag), start, &entity, out)?;
            }
            let way = matches.trailing_zeros() as usize;
            if entries.get(way).is_some_and(|entry| entry.start == start && entry.entity == entity) {
                break way;
            }
            matches &= matches - 1;
        };
        let entry = self.entries.get_mut(set)?.get_mut(way)?;
        if mark != TunnelMark(0) {
            entry.mark = entry.mark.max(mark);
        }
        let counts = &mut entry.counts;
        counts.last = counts.last.max(time);
        Some(counts)
    }

    /// A new entry, all zero, and the way it got; what gives way to it goes to `out`.
    #[inline(never)]
    fn open(
        &mut self,
        (set, tag): (usize, u32),
        start: Timestamp,
        entity: &Entity,
        out: &mut dyn FnMut(&WindowEntry),
    ) -> Option<usize> {
        self.earliest = self.earliest.min(start);
        let (tags, entries) = (self.tags.get_mut(set)?, self.entries.get_mut(set)?);
        let way = match tags::matches_u32(tags, 0) {
            0 => make_room(entries, out),
            free => free.trailing_zeros() as usize,
        };
        *tags.get_mut(way)? = tag;
        // In place, part by part: put together first, its 300 bytes would be copied.
        if let Some(word) = self.occupied.get_mut(set / 64) {
            *word |= 1 << (set % 64);
        }
        let entry = entries.get_mut(way)?;
        entry.start = start;
        entry.entity = *entity;
        entry.counts = Counts::ZERO;
        entry.mark = TunnelMark(0);
        Some(way)
    }

    /// See [`super::Observer::flush`].
    pub fn flush(&mut self, watermark: Timestamp, budget: usize, out: &mut dyn FnMut(&WindowEntry)) -> Timestamp {
        let reached = self.sweep(watermark, budget, out);
        self.reached = self.reached.max(reached);
        self.reached
    }

    /// See [`super::Observer::look`].
    pub fn look(
        &mut self,
        now: Timestamp,
        pledge: Timestamp,
        budget: usize,
        out: &mut dyn FnMut(&WindowEntry),
    ) -> Option<Timestamp> {
        let before = self.done;
        if self.cursor.is_none() {
            if Timestamp(now.0 - now.0 % self.every_ns) <= before {
                return None;
            }
            // What is counted from here on may lie in a set that the sweep has passed.
            self.pledged = pledge;
        }
        let pledged = self.pledged;
        self.sweep(now, budget, out);
        (self.done > before).then_some(pledged)
    }

    fn sweep(&mut self, watermark: Timestamp, budget: usize, out: &mut dyn FnMut(&WindowEntry)) -> Timestamp {
        let complete = Timestamp(watermark.0 - watermark.0 % self.every_ns);
        let mut budget = budget.max(1);
        let mut steps = budget.saturating_mul(SETS_PER_ENTRY);
        loop {
            let mut set = match self.cursor {
                Some(set) => set,
                // No window can have become complete since the last sweep, or nothing is here that one could find.
                None if complete <= self.done => return watermark.max(self.done),
                None if self.earliest >= complete => {
                    self.done = complete;
                    return watermark;
                }
                None => {
                    self.sweeping = complete;
                    self.earliest = Timestamp(u64::MAX);
                    0
                }
            };
            while let (Some(tags), Some(entries)) = (self.tags.get_mut(set), self.entries.get(set)) {
                if budget == 0 || steps == 0 {
                    self.cursor = Some(set);
                    return self.done;
                }
                let Some(word) = self.occupied.get_mut(set / 64) else { break };
                let rest = *word >> (set % 64);
                if rest & 1 == 0 {
                    // To the next set with an entry, or the next word.
                    set += (rest.trailing_zeros() as usize).min(64 - set % 64);
                    steps -= 1;
                    continue;
                }
                let mut live = !tags::matches_u32(tags, 0) & 0xff;
                let mut more = false;
                while live != 0 {
                    let way = live.trailing_zeros() as usize;
                    live &= live - 1;
                    let (Some(tag), Some(entry)) = (tags.get_mut(way), entries.get(way)) else { break };
                    if entry.start >= self.sweeping {
                        self.earliest = self.earliest.min(entry.start);
                    } else if budget == 0 {
                        // The rest of this set waits for the next step, which begins with it.
                        self.earliest = self.earliest.min(entry.start);
                        more = true;
                    } else {
                        *tag = 0;
                        budget -= 1;
                        out(entry);
                    }
                }
                if tags.iter().all(|tag| *tag == 0) {
                    *word &= !(1 << (set % 64));
                }
                set += usize::from(!more);
                steps -= 1;
            }
            self.cursor = None;
            self.done = self.sweeping;
        }
    }
}

/// Gives out the entry of a full set that is the oldest, and among those the one that was counted least.
#[cold]
#[inline(never)]
fn make_room(entries: &[WindowEntry; WAYS], out: &mut dyn FnMut(&WindowEntry)) -> usize {
    let coldest = entries.iter().enumerate().min_by_key(|(_, entry)| (entry.start, entry.counts.activity()));
    coldest.map_or(0, |(way, entry)| {
        out(entry);
        way
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SECOND;
    use std::collections::BTreeMap;

    fn key() -> HashKey {
        HashKey::new([1, 2, 3, 4])
    }

    #[test]
    fn nothing_is_lost_whatever_the_capacity_and_budget() {
        for (capacity, budget) in [(8, 1), (8, 3), (64, 2), (64, usize::MAX), (4096, 7)] {
            let mut table = WindowTable::new(capacity, key());
            let mut seen: BTreeMap<(u64, Entity), u64> = BTreeMap::new();
            let mut expected: BTreeMap<(u64, Entity), u64> = BTreeMap::new();
            let mut collect = |entry: &WindowEntry| {
                *seen.entry((entry.start.0, entry.entity)).or_default() += u64::from(entry.counts.sums[0]);
            };
            let mut reached = Timestamp(0);
            for step in 0..3000_u64 {
                let time = Timestamp(step * SECOND / 300);
                let entity = Entity::Source(u128::from(step * 7919 % 97));
                *expected.entry((time.0 - time.0 % WINDOW_NS, entity)).or_default() += 1;
                table.counts(entity, (time, TunnelMark(0)), &mut collect).unwrap().add(0, 1);
                let now = table.flush(time, budget, &mut collect);
                assert!(now >= reached && now <= time, "{now:?} {reached:?}");
                reached = now;
            }
            while table.flush(Timestamp(u64::MAX), budget, &mut collect) < Timestamp(u64::MAX - WINDOW_NS) {}
            assert_eq!(seen, expected, "{capacity} {budget}");
        }
    }

    #[test]
    fn what_flush_returns_is_honest() {
        let mut table = WindowTable::new(1024, key());
        let mut early = 0;
        for host in 0..500_u128 {
            let time = Timestamp(host as u64 * 10);
            table.counts(Entity::Target(host), (time, TunnelMark(0)), &mut |_| early += 1).unwrap().add(0, 1);
        }
        let mut out = 0;
        let watermark = Timestamp(3 * SECOND / 2);
        let mut calls = 0;
        while table.flush(watermark, 10, &mut |_| out += 1) < watermark {
            calls += 1;
            assert!(out <= calls * 10);
        }
        assert_eq!(out + early, 500);
        // The window that is open keeps its entries, and the moment reached is the watermark itself.
        table.counts(Entity::Target(1), (watermark, TunnelMark(0)), &mut |_| ()).unwrap().add(0, 1);
        assert_eq!(table.flush(watermark.after(5), 10, &mut |_| panic!("open window")), watermark.after(5));
    }

    #[test]
    fn an_event_behind_the_watermark_is_given_out_by_the_next_sweep() {
        let mut table = WindowTable::new(64, key());
        assert_eq!(table.flush(Timestamp(10 * SECOND), 10, &mut |_| ()), Timestamp(10 * SECOND));
        table.counts(Entity::Source(1), (Timestamp(SECOND), TunnelMark(0)), &mut |_| ()).unwrap().add(0, 1);
        let mut out = 0;
        table.flush(Timestamp(11 * SECOND), 10, &mut |_| out += 1);
        assert_eq!(out, 1);
    }

    #[test]
    fn an_open_window_is_given_out_in_parts_where_that_is_wanted() {
        for (every_ns, parts) in [(WINDOW_NS, vec![4]), (WINDOW_NS / 4, vec![1, 1, 1, 1])] {
            let mut table = WindowTable::new(64, key()).giving_out_every(every_ns);
            let mut out = Vec::new();
            for quarter in 0..4_u64 {
                let time = Timestamp(SECOND + quarter * SECOND / 4 + 7);
                table.counts(Entity::Source(1), (time, TunnelMark(0)), &mut |_| ()).unwrap().add(0, 1);
                let reached = time.after(SECOND / 4);
                let mut take = |entry: &WindowEntry| out.push((entry.start.0, entry.counts.sums[0]));
                while table.flush(reached, 10, &mut take) < reached {}
            }
            assert_eq!(out, parts.into_iter().map(|sum| (SECOND, sum)).collect::<Vec<_>>());
        }
    }

    /// What may still be counted behind the present, because it is known by a time-out, holds the promise back and not the counts.
    #[test]
    fn a_look_gives_out_what_there_is_and_promises_what_its_caller_did() {
        let mut table = WindowTable::new(64, key()).giving_out_every(WINDOW_NS / 200);
        let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
        let mut promised = Timestamp(0);
        for step in 0..4000_u64 {
            let now = Timestamp(10 * SECOND + step * SECOND / 1000);
            // A time-out that is told 130 ms late.
            for time in [now, Timestamp(now.0 - 130 * SECOND / 1000)] {
                assert!(time >= promised, "nothing older than what was promised may follow");
                table
                    .counts(Entity::Source(u128::from(step % 7)), (time, TunnelMark(0)), &mut |_| ())
                    .unwrap()
                    .add(0, 1);
            }
            let pledge = Timestamp(now.0 - 134 * SECOND / 1000);
            let mut take = |entry: &WindowEntry| *seen.entry(entry.start.0).or_default() += entry.counts.sums[0];
            if let Some(until) = table.look(now, pledge, 3, &mut take) {
                assert!(until >= promised && until <= pledge);
                promised = until;
                for (start, count) in &seen {
                    let whole = if *start == 9 * SECOND { 130 } else { 2000 };
                    assert!(start + WINDOW_NS > until.0 || *count == whole, "{start} {count} at {until:?}");
                }
            }
        }
        assert!(promised.0 > 13 * SECOND, "{promised:?}");
        assert_eq!(seen.len(), 5);
    }

    /// Of an empty table of the usual size one step is enough to say so.
    #[test]
    fn a_look_at_a_large_table_that_is_nearly_empty_takes_one_step() {
        let mut table = WindowTable::new(1 << 16, key()).giving_out_every(WINDOW_NS / 200);
        for host in 0..20_u128 {
            table.counts(Entity::Target(host), (Timestamp(SECOND), TunnelMark(0)), &mut |_| ()).unwrap().add(0, 1);
        }
        let mut out = 0;
        let now = Timestamp(SECOND + SECOND / 100);
        assert_eq!(table.look(now, now, 64, &mut |_| out += 1), Some(now));
        assert_eq!(out, 20);
        assert_eq!(table.look(now.after(1), now, 64, &mut |_| panic!("nothing is due")), None);
    }
}
