//! Which flow gives way where there are not enough.

use super::super::counts::{Cause, Unread};
use super::super::protocol::Protocol;
use super::super::session::Out;
use super::{Entry, Inspector, OVER, Sink, nothing, over};
use crate::units::Timestamp;

/// Entries looked at, a packet, when one has to be given up.
const EVICT_TRIES: usize = 64;

impl Entry {
    /// How readily it gives way, the lowest first; `None`: not before others had their turn. What nothing is known of goes
    /// before what is something, however long that is silent.
    fn rank(&mut self) -> Option<u8> {
        let was_touched = std::mem::take(&mut self.touched);
        match (self.parser.told() == Protocol::Unknown, was_touched) {
            (true, false) => Some(0),
            (true, true) => Some(1),
            (false, false) => Some(2),
            (false, true) => None,
        }
    }
}

impl Inspector {
    /// Gives up the inspection of a flow, of those within reach the one that gives way most readily: of the source itself
    /// that wants the place where that has its share of them. What was found of it is told.
    #[cold]
    pub(super) fn evict(&mut self, share: u8, now: Timestamp, sink: &mut impl Sink) -> Option<u32> {
        let is_own = self.shares.is_at_limit(share);
        let mut best: Option<(u8, usize)> = None;
        for _ in 0..EVICT_TRIES {
            self.hand = (self.hand + 1) % self.entries.len().max(1);
            let entry = self.entries.get_mut(self.hand)?;
            if is_own && entry.share != share {
                continue;
            }
            match entry.rank() {
                Some(rank) if best.is_none_or(|(least, _)| rank < least) => best = Some((rank, self.hand)),
                _ => {}
            }
            if best.is_some_and(|(rank, _)| rank == 0) {
                break;
            }
        }
        let (_, index) = best?;
        let entry = self.entries.get_mut(index)?;
        let (slot, protocol) = (entry.slot, entry.parser.told());
        // One whose parser has said its last loses little.
        if entry.rests != [true; 2] {
            self.counts.flows_full += 1;
            entry.unread.add(Unread::of(Cause::FlowsFull));
        }
        let source = entry.proxied.source;
        if let Some(saved) = entry.facts.and_then(|index| self.saved.get_mut(index as usize)) {
            let payload = nothing(slot, &saved.key, saved.originator, [saved.first_seen, now]);
            let (facts, counts) = (&mut saved.facts, &mut self.counts);
            facts.mark_truncated();
            counts.events_early += 1;
            entry.unread.add(Unread::of(Cause::EventsEarly));
            self.allowances.begin(entry.allowance, entry.share);
            entry.parser.end(
                &mut Out::new(facts, sink, counts, &mut self.remembered, &mut self.allowances, &payload, protocol)
                    .of(source),
            );
        }
        self.connections.give_up(entry.connection, now, sink, &mut self.counts, &mut self.allowances);
        let unread = self.counts.take_unread();
        let after = self.entries.get_mut(index).map_or(OVER, |entry| {
            entry.unread.add(unread);
            over(entry)
        });
        self.put_first(slot, index as u32);
        self.forget(slot, after);
        self.free.pop()
    }
}
