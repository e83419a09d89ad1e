//! How flows leave the table: by their time-out, for a newer flow, at the end of the source.

use super::{Ended, FlowTable, Home, Lane, lane_of, tick};
use crate::dataplane::flow::record::{EndReason, FlowRecord, TcpState};
use crate::sys::prefetch;
use crate::units::Timestamp;

/// Half-open flows looked at when one has to be given up, before an established one is considered.
const EVICT_TRIES: u32 = 8;

impl FlowTable {
    /// Ends flows that are due, looking at no more than `budget` wheel entries. Called once a burst with some two entries a
    /// packet it keeps up with any traffic, floods of new flows included.
    pub fn expire(&mut self, now: Timestamp, budget: usize, mut ended: impl FnMut(Ended<'_>)) {
        let limit = tick(now);
        let mut left = budget;
        // A quarter is the settled flows' own: a flood of half-open ones must not hold up their ends.
        for (lane, share) in [(Lane::Settled, budget / 4), (Lane::HalfOpen, budget), (Lane::Settled, budget)] {
            let mut share = share.min(left);
            while share > 0 {
                let Some(slot) = self.wheel.pop_before(lane, limit) else { break };
                share -= 1;
                left -= 1;
                // Taken off, a slot still knows who stood behind it.
                self.expect(self.wheel.next_of(slot));
                self.end_or_put_back(slot, now, &mut ended);
            }
        }
        if self.emergency {
            self.relieve(now, left, &mut ended);
        }
    }

    /// Ends every flow (`EndReason::Shutdown`, or by its time-out if that lies before `now`); O(n), for shutdown only.
    pub fn drain(&mut self, now: Timestamp, mut ended: impl FnMut(Ended<'_>)) {
        let mut place = 0;
        while self.drain_some(now, &mut place, usize::MAX, &mut ended) {}
    }

    /// As [`FlowTable::drain`], at most `budget` flows a call, so that the caller can score what it was told in between.
    /// `place` is 0 at first and then as the call before left it; `false` when all slots have been looked at.
    pub fn drain_some(
        &mut self,
        now: Timestamp,
        place: &mut u32,
        budget: usize,
        ended: &mut impl FnMut(Ended<'_>),
    ) -> bool {
        let mut left = budget;
        while *place < self.settings.capacity && left > 0 {
            let slot = *place;
            *place += 1;
            let Some(record) = self.records.get(slot as usize).filter(|record| record.is_live()) else { continue };
            let (reason, at) = match self.overdue(record, now) {
                Some(at) => (end_reason(record), at),
                None => (EndReason::Shutdown, now),
            };
            self.wheel.unlink(slot);
            self.end_unlinked(slot, reason, at, &mut *ended);
            left -= 1;
        }
        *place < self.settings.capacity
    }

    /// The moment at which the flow ended by its time-out, if `now` is not before it.
    #[inline]
    pub(super) fn overdue(&self, record: &FlowRecord, now: Timestamp) -> Option<Timestamp> {
        let deadline = record.last_seen.after(record.timeout_ns(&self.settings));
        (deadline <= now).then_some(deadline)
    }

    /// What becomes of an entry that the wheel gave out.
    fn end_or_put_back(&mut self, slot: u32, now: Timestamp, ended: &mut impl FnMut(Ended<'_>)) {
        let Some(record) = self.records.get(slot as usize) else { return };
        let deadline = record.last_seen.after(record.timeout_ns(&self.settings));
        if deadline <= now {
            self.end_unlinked(slot, end_reason(record), deadline, ended);
        } else {
            self.wheel.schedule(lane_of(record), slot, tick(deadline));
        }
    }

    /// Reports the end of a flow and frees its place.
    #[inline(never)]
    pub(super) fn end(&mut self, slot: u32, reason: EndReason, at: Timestamp, ended: impl FnMut(Ended<'_>)) {
        self.wheel.unlink(slot);
        self.end_unlinked(slot, reason, at, ended);
    }

    /// [`FlowTable::end`] of a flow that is no longer on the wheel.
    fn end_unlinked(&mut self, slot: u32, reason: EndReason, at: Timestamp, mut ended: impl FnMut(Ended<'_>)) {
        let at = at.max(self.expired_until());
        let Some(record) = self.records.get_mut(slot as usize) else { return };
        ended(Ended { slot, record, reason, at });
        if record.take_counted() {
            self.half_open = self.half_open.saturating_sub(1);
        }
        record.vacate(at);
        let home = {
            let key = record.key;
            self.home(self.hash(&key))
        };
        if let Some(first) = self.buckets.get_mut(home.first)
            && !first.take(slot)
        {
            first.note_overflow(-1);
            if let Some(second) = self.buckets.get_mut(home.second) {
                second.take(slot);
            }
        }
        self.wheel.give_free(slot);
        self.flows = self.flows.saturating_sub(1);
        if self.emergency && self.flows < self.emergency_below {
            self.emergency = false;
        }
    }

    /// Makes room in the slab: the half-open flow silent for longest goes (as exactly as the wheel knows: a list four seconds
    /// ahead is in order of arrival); if none is left, the longest idle of the flows in the key's candidate buckets.
    /// `false`: nothing could be given up.
    #[inline(never)]
    pub(super) fn evict(&mut self, home: Home, now: Timestamp, ended: &mut impl FnMut(Ended<'_>)) -> bool {
        self.emergency = true;
        for _ in 0..EVICT_TRIES {
            let Some((slot, end)) = self.wheel.peek(Lane::HalfOpen) else { break };
            let next = self.wheel.next_of(slot);
            if self.give_up_or_put_back(slot, end, now, ended) {
                self.expect_victim(next);
                return true;
            }
        }
        self.evict_from(home, now, ended)
    }

    /// In a flood every insert gives a flow up: asks for the next one's bucket, and for the record of the one after it (whose
    /// bucket can only be told once the record is here).
    #[inline]
    fn expect_victim(&self, next: Option<u32>) {
        let Some(next) = next else { return };
        if let Some(record) = self.records.get(next as usize) {
            self.prefetch_bucket(&record.key);
        }
        self.expect(self.wheel.next_of(next));
    }

    /// Asks for the record of a slot that is looked at soon.
    #[inline(always)]
    fn expect(&self, slot: Option<u32>) {
        if let Some(slot) = slot {
            prefetch::nth_pair(&self.records, slot as usize);
        }
    }

    /// Ends a half-open flow that the wheel holds on a list up to tick `end`, unless packets came since: then it goes to
    /// its right place.
    #[inline]
    fn give_up_or_put_back(&mut self, slot: u32, end: u64, now: Timestamp, ended: &mut impl FnMut(Ended<'_>)) -> bool {
        let Some(record) = self.records.get(slot as usize) else { return false };
        let deadline = record.last_seen.after(self.settings.unanswered_ns);
        if tick(deadline) >= end {
            self.wheel.unlink(slot);
            self.wheel.schedule(Lane::HalfOpen, slot, tick(deadline));
            return false;
        }
        let (reason, at) =
            if deadline <= now { (EndReason::Idle, deadline) } else { (EndReason::EvictedHalfOpen, now) };
        self.end(slot, reason, at, ended);
        true
    }

    /// Gives up one of the at most sixteen flows in the key's buckets: half-open before established, then the longest
    /// idle. Flows with a packet of this very moment are left alone.
    #[cold]
    pub(super) fn evict_from(&mut self, home: Home, now: Timestamp, ended: &mut impl FnMut(Ended<'_>)) -> bool {
        let mut victim: Option<(bool, Timestamp, u32)> = None;
        for bucket in [home.first, home.second] {
            let Some(bucket) = self.buckets.get(bucket) else { continue };
            for slot in bucket.occupied() {
                let Some(record) = self.records.get(slot as usize) else { continue };
                let rank = (!record.is_half_open(), record.last_seen, slot);
                if record.last_seen < now && victim.is_none_or(|best| rank < best) {
                    victim = Some(rank);
                }
            }
        }
        let Some((_, _, slot)) = victim else { return false };
        let Some(record) = self.records.get(slot as usize) else { return false };
        let (reason, at) = match self.overdue(record, now) {
            Some(at) => (end_reason(record), at),
            None if record.is_half_open() => (EndReason::EvictedHalfOpen, now),
            None => (EndReason::EvictedEstablished, now),
        };
        self.end(slot, reason, at, ended);
        true
    }

    /// Emergency: half-open flows that have had a fifth of their time are given up, oldest first.
    #[cold]
    fn relieve(&mut self, now: Timestamp, budget: usize, ended: &mut impl FnMut(Ended<'_>)) {
        let horizon = tick(now.after(self.settings.unanswered_ns / 5 * 4));
        for _ in 0..budget {
            match self.wheel.peek(Lane::HalfOpen) {
                Some((slot, end)) if end <= horizon => {
                    self.give_up_or_put_back(slot, end, now, ended);
                }
                _ => break,
            }
        }
    }
}

/// Reason of an end by time-out.
#[inline(always)]
pub(super) fn end_reason(record: &FlowRecord) -> EndReason {
    if record.state() == TcpState::Closed { EndReason::Closed } else { EndReason::Idle }
}
