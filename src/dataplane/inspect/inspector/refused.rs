//! Datagrams that their receiver drops.

use super::super::counts::{Cause, Unread};
use super::super::parse::Output;
use super::super::protocol::Protocol;
use super::super::receipt::Opening;
use super::super::session::Out;
use super::super::shares::share_of;
use super::super::stream::{DATAGRAM_CHECKSUM_INVALID, HEADER_CHECKSUM_INVALID};
use super::{AGAIN, BETWEEN, Inspector, NONE, Payload, Sink, place_of, unread_of};

impl Inspector {
    /// Counts a datagram that its receiver drops, and tells it once a flow, as long as that has a place to remember it in.
    #[cold]
    pub(super) fn refuse(&mut self, cause: Cause, payload: &Payload<'_>, sink: &mut impl Sink) {
        let protocol = self.application(payload.slot);
        self.counts.note(cause, 1);
        let unread = self.counts.take_unread();
        let Some(place) = self.places.get_mut(payload.slot as usize) else { return };
        let before = match *place {
            NONE => {
                *place = place_of(BETWEEN, Protocol::Unknown, unread);
                if let Some(opening) = self.openings.get_mut(payload.slot as usize) {
                    *opening = Opening::default();
                }
                Unread::default()
            }
            at @ BETWEEN.. => {
                *place = at | place_of(0, Protocol::Unknown, unread);
                unread_of(at)
            }
            AGAIN..BETWEEN => return,
            index => match self.entries.get_mut(index as usize) {
                Some(entry) => {
                    let before = entry.unread;
                    entry.unread.add(unread);
                    before
                }
                None => return,
            },
        };
        if !before.contains(cause) {
            let is_header = cause == Cause::Ipv4Checksum;
            let anomaly = if is_header { HEADER_CHECKSUM_INVALID } else { DATAGRAM_CHECKSUM_INVALID };
            self.scratch.clear();
            self.allowances.begin_without(share_of(self.buffers.hash(), payload.key, payload.originator));
            let (facts, counts) = (&mut *self.scratch, &mut self.counts);
            Out::new(facts, sink, counts, &mut self.remembered, &mut self.allowances, payload, protocol)
                .anomaly(anomaly);
            self.counts.take_unread(); // that the anomaly was not told, which the counter says
        }
    }
}
