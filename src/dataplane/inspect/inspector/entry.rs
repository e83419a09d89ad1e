//! What an inspected flow is, and what more of it is wanted.

use super::super::protocol::Protocol;
use super::super::stream::Stream;
use super::{Entry, Inspector, NONE, Unread, Wants, unread_of};

impl Inspector {
    /// Why the flow in this slot has not been wholly read so far.
    pub fn unread(&self, slot: u32) -> Unread {
        match self.places.get(slot as usize) {
            None | Some(&NONE) => Unread::default(),
            Some(&place) => self.entries.get(place as usize).map_or_else(|| unread_of(place), |entry| entry.unread),
        }
    }
}

impl Entry {
    /// What the flow carries, once that is sure. Of a call it is what sets it up, whatever its media are; of a tunnel with
    /// nothing known in it, what asked for it.
    pub(in super::super) fn told(&self) -> Protocol {
        match (self.parser.told(), self.carried) {
            (Protocol::Unknown, Protocol::Unknown) => self.first,
            (Protocol::Unknown, carried) | (Protocol::Rtp, carried @ (Protocol::Stun | Protocol::Dtls)) => carried,
            (told, _) => told,
        }
    }

    /// Where a side has a hole, acknowledgements tell whether it will be filled; where the other one is no longer shown, they
    /// also tell when that is to speak.
    pub(super) fn wants(&self) -> Wants {
        let [originator, responder] = &self.sides;
        let waits = |one: &Stream, other: &Stream| one.wants_acks() || one.has_news() && other.is_done();
        let acks = waits(originator, responder) || waits(responder, originator);
        Wants { payload: self.done.map(|done| !done), acks }
    }
}
