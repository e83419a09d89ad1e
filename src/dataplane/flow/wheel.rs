//! Timer wheel: hierarchical, doubly linked by index, lazy.
//!
//! Owns the links of every slot of the slab (a free slot is threaded through them too) and two *lanes* of time-outs: one
//! for half-open flows, one for all others, so that the oldest half-open flow is at hand when one must be given up. A
//! packet does not touch the wheel; an entry that comes due too early (its flow was active since) is put back by the
//! caller. Seven levels of 64 lists hold any moment: a jump of the clock by hours costs a few steps, not one a tick.
//!
//! Knows nothing of flows, time-outs or nanoseconds: ticks and slots only.

/// No slot.
pub(super) const NONE: u32 = u32::MAX;
/// Lists a level.
const LISTS: u32 = 64;
/// Bits of a tick that one level resolves.
const LEVEL_BITS: u32 = 6;
/// Levels: 42 bits of ticks; a tick of 2^26 ns makes that more than the 64 bits of a time stamp.
const LEVELS: u32 = 7;

/// Which of the two sets of time-outs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lane {
    /// Half-open flows: the first to be given up.
    HalfOpen = 0,
    /// All others.
    Settled = 1,
}

/// One slot's place in the list it is on (circular, closed by a sentinel).
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    next: u32,
    previous: u32,
}

/// Occupied lists and position of one lane.
#[derive(Clone, Copy, Debug, Default)]
struct LaneState {
    /// Every tick below is done.
    cursor: u64,
    /// A bit for every list that may hold something (cleared when it is next found empty).
    occupied: [u64; LEVELS as usize],
    /// A bit for every level with any list in `occupied`.
    levels: u32,
    /// Sentinel of the list that begins at `cursor` and was popped from last; [`NONE`] where that must be sought.
    current: u32,
}

/// The wheel.
pub(super) struct Wheel {
    /// One per slot of the slab, then one sentinel per list.
    links: Vec<Link>,
    capacity: u32,
    lanes: [LaneState; 2],
    /// Head of the free slots, threaded through `next`.
    free: u32,
}

impl Wheel {
    /// Bytes a slot of the slab costs here.
    pub(super) const BYTES_PER_SLOT: usize = size_of::<Link>();

    /// All slots free, the lowest first.
    pub(super) fn new(capacity: u32) -> Wheel {
        let sentinels = 2 * LEVELS * LISTS;
        let mut links =
            crate::sys::memory::filled((capacity + sentinels) as usize, &Link { next: NONE, previous: NONE });
        for (index, link) in (0_u32..).zip(&mut links) {
            *link = match index {
                _ if index >= capacity => Link { next: index, previous: index },
                _ if index + 1 == capacity => Link { next: NONE, previous: NONE },
                _ => Link { next: index + 1, previous: NONE },
            };
        }
        let free = if capacity == 0 { NONE } else { 0 };
        Wheel { links, capacity, lanes: [LaneState { current: NONE, ..LaneState::default() }; 2], free }
    }

    /// Memory taken, bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.links.as_slice())
    }

    /// Takes a free slot; it is on no list afterwards.
    #[inline]
    pub(super) fn take_free(&mut self) -> Option<u32> {
        let slot = self.free;
        self.free = self.links.get(slot as usize)?.next;
        Some(slot)
    }

    /// Is no slot free?
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.free == NONE
    }

    /// Gives a slot back that is on no list.
    #[inline]
    pub(super) fn give_free(&mut self, slot: u32) {
        let next = self.free;
        if let Some(link) = self.links.get_mut(slot as usize) {
            *link = Link { next, previous: NONE };
            self.free = slot;
        }
    }

    /// Puts a slot that is on no list at the end of the list for `tick` (at the earliest the lane's present).
    #[inline]
    pub(super) fn schedule(&mut self, lane: Lane, slot: u32, tick: u64) {
        let state = self.lane_mut(lane);
        let tick = tick.max(state.cursor);
        let level = level_of(state.cursor, tick);
        let list = (tick >> (level * LEVEL_BITS)) as u32 % LISTS;
        if let Some(bits) = state.occupied.get_mut(level as usize) {
            *bits |= 1 << list;
            state.levels |= 1 << level;
        }
        let sentinel = self.sentinel(lane, level, list);
        let Some(last) = self.links.get(sentinel as usize).map(|link| link.previous) else { return };
        if let Some(link) = self.links.get_mut(slot as usize) {
            *link = Link { next: sentinel, previous: last };
        }
        if let Some(link) = self.links.get_mut(last as usize) {
            link.next = slot;
        }
        if let Some(link) = self.links.get_mut(sentinel as usize) {
            link.previous = slot;
        }
    }

    /// Takes a scheduled slot off its list, whichever that is.
    #[inline]
    pub(super) fn unlink(&mut self, slot: u32) {
        let Some(&Link { next, previous }) = self.links.get(slot as usize) else { return };
        if let Some(link) = self.links.get_mut(previous as usize) {
            link.next = next;
        }
        if let Some(link) = self.links.get_mut(next as usize) {
            link.previous = previous;
        }
    }

    /// Takes the next slot off that stands in a list beginning before `limit`, and moves the lane's cursor there; if there
    /// is none, moves the cursor to `limit`. At most `LEVELS * LISTS` steps, mostly one.
    #[inline]
    pub(super) fn pop_before(&mut self, lane: Lane, limit: u64) -> Option<u32> {
        loop {
            let LaneState { cursor, current, .. } = *self.lane_mut(lane);
            if cursor >= limit {
                return None;
            }
            // As long as the cursor stays no list can come to stand before this one, so that most slots are had at once.
            if let Some(slot) = self.next_of(current) {
                self.unlink(slot);
                return Some(slot);
            }
            let Some((level, list, begin)) = self.earliest(lane).filter(|(_, _, begin)| *begin < limit) else {
                let state = self.lane_mut(lane);
                (state.cursor, state.current) = (limit, NONE);
                return None;
            };
            let current = self.sentinel(lane, level, list);
            let state = self.lane_mut(lane);
            (state.cursor, state.current) = (state.cursor.max(begin), current);
            if self.next_of(current).is_none() {
                self.clear(lane, level, list);
            }
        }
    }

    /// The first slot of the earliest list with anything on it, and the tick after the last that this list is for. Moves
    /// no cursor, takes nothing off.
    #[inline]
    pub(super) fn peek(&mut self, lane: Lane) -> Option<(u32, u64)> {
        loop {
            let (level, list, begin) = self.earliest(lane)?;
            match self.first_of(lane, level, list) {
                Some(slot) => return Some((slot, begin.saturating_add(1 << (level * LEVEL_BITS)))),
                None => self.clear(lane, level, list),
            }
        }
    }

    /// The slot behind `slot` on its list, if it is a slot.
    #[inline]
    pub(super) fn next_of(&self, slot: u32) -> Option<u32> {
        self.links.get(slot as usize).map(|link| link.next).filter(|next| *next < self.capacity)
    }

    /// Every tick below this one is done in both lanes.
    #[inline]
    pub(super) fn done_until(&self) -> u64 {
        let [half_open, settled] = &self.lanes;
        half_open.cursor.min(settled.cursor)
    }

    /// Level, list and first tick of the earliest list that may hold something; of lists that begin alike that of the
    /// highest level, which has yet to be spread over the lower ones.
    #[inline]
    fn earliest(&mut self, lane: Lane) -> Option<(u32, u32, u64)> {
        let state = self.lane_mut(lane);
        let cursor = state.cursor;
        let mut found: Option<(u32, u32, u64)> = None;
        let mut levels = state.levels;
        while levels != 0 {
            let level = levels.trailing_zeros();
            levels &= levels - 1;
            let bits = state.occupied.get(level as usize).copied().unwrap_or(0);
            let shift = level * LEVEL_BITS;
            let present = cursor >> shift;
            // From the present list on, once around.
            let turned = bits.rotate_right(present as u32 % LISTS);
            if turned != 0 {
                let begin = (present + u64::from(turned.trailing_zeros())) << shift;
                if found.is_none_or(|(_, _, earlier)| begin <= earlier) {
                    found = Some((level, (begin >> shift) as u32 % LISTS, begin));
                }
            }
        }
        found
    }

    #[inline]
    fn first_of(&self, lane: Lane, level: u32, list: u32) -> Option<u32> {
        self.next_of(self.sentinel(lane, level, list))
    }

    #[inline]
    fn clear(&mut self, lane: Lane, level: u32, list: u32) {
        let state = self.lane_mut(lane);
        if let Some(bits) = state.occupied.get_mut(level as usize) {
            *bits &= !(1 << list);
            if *bits == 0 {
                state.levels &= !(1 << level);
            }
        }
    }

    #[inline(always)]
    fn sentinel(&self, lane: Lane, level: u32, list: u32) -> u32 {
        self.capacity + (lane as u32 * LEVELS + level) * LISTS + list
    }

    #[inline(always)]
    fn lane_mut(&mut self, lane: Lane) -> &mut LaneState {
        let [half_open, settled] = &mut self.lanes;
        match lane {
            Lane::HalfOpen => half_open,
            Lane::Settled => settled,
        }
    }
}

/// The lowest level whose lists, once around from the present one, reach as far as `tick`. So most time-outs are put
/// where they come due, and not higher up first because a boundary lies between.
#[inline]
fn level_of(cursor: u64, tick: u64) -> u32 {
    let mut level = 0;
    while level < LEVELS - 1 && (tick >> (level * LEVEL_BITS)) - (cursor >> (level * LEVEL_BITS)) >= u64::from(LISTS) {
        level += 1;
    }
    level
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, ..ProptestConfig::default() })]
        /// The wheel against sort-by-deadline: whatever the order of scheduling, unlinking and advancing (by ticks or by
        /// hours), a slot comes out when, and only when, its tick lies before the limit, and never after a later limit.
        #[test]
        fn comes_out_like_a_sorted_list(
            steps in proptest::collection::vec((0_u8..4, 0_u64..64, 0_u32..40), 1..200),
        ) {
            let mut wheel = Wheel::new(64);
            let mut due: std::collections::BTreeMap<u32, u64> = Default::default();
            let mut now = 3_u64;
            for (step, amount, shift) in steps {
                let distance = amount << (shift % 34);
                match step {
                    0 | 1 => if let Some(slot) = wheel.take_free() {
                        wheel.schedule(Lane::Settled, slot, now + distance);
                        due.insert(slot, now + distance);
                    },
                    2 => if let Some((&slot, _)) = due.iter().nth(amount as usize % due.len().max(1)) {
                        wheel.unlink(slot);
                        wheel.give_free(slot);
                        due.remove(&slot);
                    },
                    _ => {
                        now += distance;
                        while let Some(slot) = wheel.pop_before(Lane::Settled, now) {
                            if due[&slot] >= now {
                                wheel.schedule(Lane::Settled, slot, due[&slot]);
                            } else {
                                due.remove(&slot);
                                wheel.give_free(slot);
                            }
                        }
                        prop_assert!(due.values().all(|tick| *tick >= now), "left behind at {now}: {due:?}");
                        if let Some((slot, end)) = wheel.peek(Lane::Settled) {
                            let least = due.values().min().copied().unwrap_or(u64::MAX);
                            prop_assert!(due[&slot] < end && least < end);
                        } else {
                            prop_assert!(due.is_empty());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_slot_is_given_out_once() {
        let mut wheel = Wheel::new(5);
        let mut slots: Vec<u32> = std::iter::from_fn(|| wheel.take_free()).collect();
        assert!(wheel.is_full());
        slots.sort_unstable();
        assert_eq!(slots, [0, 1, 2, 3, 4]);
    }
}
