//! Facts that wait for the rest of their event.

use super::super::counts::{Cause, Unread};
use super::super::facts::Facts;
use super::super::parse::Output;
use super::super::places::Given;
use super::super::session::Out;
use super::{Entry, Inspector, Payload, Sink, nothing};
use crate::dataplane::decode::{Direction, FlowKey};
use crate::units::Timestamp;

/// Facts of an event that is not complete, and whose they are.
#[derive(Clone, Default)]
pub(super) struct Saved {
    pub(super) facts: Facts,
    pub(super) key: FlowKey,
    pub(super) originator: Direction,
    pub(super) first_seen: Timestamp,
    /// The number of its flow's entry.
    entry: u32,
}

impl Inspector {
    /// Keeps the facts of a flow until its next packet; where there is no room, those that waited longest are told as they
    /// are, of the source itself where it has its share.
    pub(super) fn save(&mut self, index: u32, payload: &Payload<'_>, sink: &mut impl Sink) {
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        let given = self.saved_places.take(entry.share);
        if let Some(Given { index: room, was_used: true }) = given {
            self.tell_early(room, payload.time, sink);
        }
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        let room = given.map(|given| given.index);
        match room.and_then(|room| self.saved.get_mut(room as usize)) {
            Some(saved) => {
                saved.facts.copy_from(&self.scratch);
                (saved.key, saved.originator, saved.entry) = (*payload.key, payload.originator, index);
                saved.first_seen = payload.first_seen;
                entry.facts = room;
            }
            None => {
                self.counts.facts_full += 1;
                entry.unread.add(Unread::of(Cause::FactsFull));
                let (protocol, source) = (entry.parser.protocol(), entry.proxied.source);
                Out::new(
                    &mut self.scratch,
                    sink,
                    &mut self.counts,
                    &mut self.remembered,
                    &mut self.allowances,
                    payload,
                    protocol,
                )
                .of(source)
                .event();
            }
        }
        self.scratch.clear();
    }

    /// Tells what waits in a place, which its flow loses.
    #[cold]
    fn tell_early(&mut self, room: u32, now: Timestamp, sink: &mut impl Sink) {
        let Some(saved) = self.saved.get_mut(room as usize) else { return };
        let Some(entry) = self.entries.get_mut(saved.entry as usize) else { return };
        entry.facts = None;
        self.allowances.begin(entry.allowance, entry.share);
        let (protocol, source, counts) = (entry.parser.protocol(), entry.proxied.source, &mut self.counts);
        counts.facts_full += 1;
        entry.unread.add(Unread::of(Cause::FactsFull));
        saved.facts.mark_truncated();
        let payload = nothing(entry.slot, &saved.key, saved.originator, [saved.first_seen, now]);
        Out::new(&mut saved.facts, sink, counts, &mut self.remembered, &mut self.allowances, &payload, protocol)
            .of(source)
            .event();
        entry.allowance = self.allowances.own();
        entry.unread.add(self.counts.take_unread());
    }
}

/// Where the facts of a flow are put together: where they wait for its packets, or the place of the flow at hand.
pub(super) fn facts_of<'a>(entry: &Entry, saved: &'a mut [Saved], scratch: &'a mut Facts) -> &'a mut Facts {
    match entry.facts.and_then(|index| saved.get_mut(index as usize)) {
        Some(saved) => &mut saved.facts,
        None => {
            scratch.clear();
            scratch
        }
    }
}
