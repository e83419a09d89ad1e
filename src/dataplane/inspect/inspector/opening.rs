//! What SYNs say: of a flow that has had no payload, and of one that has talked.

use super::super::parse::Output;
use super::super::protocol::Protocol;
use super::super::receipt::{Opening, is_spoiled};
use super::super::session::Out;
use super::super::shares::share_of;
use super::super::stream::{BEGINNING_DIFFERENT, SYN_DIFFERENT, Stream};
use super::{Entry, Inspector, Payload, Sink};
use crate::dataplane::flow::{Side, SynKind};

impl Inspector {
    /// A SYN without payload, or the answer to one, of a flow that has had no payload; `is_first`: it is the first such.
    /// `contradicts`: it says another beginning of its side than the one before.
    pub fn opened(&mut self, payload: &Payload<'_>, is_first: bool, contradicts: bool, sink: &mut impl Sink) {
        let (Some(opening), Some(segment)) = (self.openings.get_mut(payload.slot as usize), &payload.tcp) else {
            return;
        };
        if is_first {
            *opening = Opening::default();
        }
        opening.note(payload, segment);
        if contradicts {
            self.has_counted = true;
            self.scratch.clear();
            self.allowances.begin_without(share_of(self.buffers.hash(), payload.key, payload.originator));
            let anomaly = if segment.acknowledgement.is_some() { BEGINNING_DIFFERENT } else { SYN_DIFFERENT };
            let (facts, counts, protocol) = (&mut self.scratch, &mut self.counts, Protocol::Unknown);
            Out::new(facts, sink, counts, &mut self.remembered, &mut self.allowances, payload, protocol)
                .anomaly(anomaly);
            self.counts.take_unread(); // no payload, so nothing of it was to be read
        }
    }

    /// A SYN, or the answer to one, on a flow that has talked: whose numbers has it? `beginnings`: those of the flow's first
    /// bytes, where it had no payload so far.
    ///
    /// A wrong checksum counts where the side's were right before, as it does for its data. Where nothing is known of the
    /// numbers, nothing would be lost by a new flow.
    #[cold]
    pub fn opening_on_live(&self, payload: &Payload<'_>, beginnings: Option<[u32; 2]>) -> Option<SynKind> {
        let segment = payload.tcp.as_ref()?;
        let place = self.places.get(payload.slot as usize).copied()?;
        let entry = self.entries.get(place as usize);
        let is_turned = entry.is_some_and(|entry| entry.is_turned);
        let side = if is_turned { payload.side.other() } else { payload.side };
        let (receipts, numbers) = match (beginnings, entry) {
            (Some(numbers), _) => {
                let opening: Opening = self.openings.get(payload.slot as usize).copied()?;
                (opening.receipts(true), numbers.map(|number| Some(number).filter(|number| *number != 0)))
            }
            (None, Some(Entry { receipts, sides, .. })) => (*receipts, sides.each_ref().map(Stream::first)),
            (None, None) => return None,
        };
        let of = |side: Side| numbers.get(side as usize).copied().flatten();
        if receipts.get(side as usize).is_some_and(|own| is_spoiled(own, payload, segment)) {
            return Some(SynKind::Dropped);
        }
        let said = [(of(side), Some(segment.sequence)), (of(side.other()), segment.acknowledgement)];
        let mut known = said.into_iter().filter_map(|(known, said)| Some((known?, said?))).peekable();
        known.peek()?;
        // Of another connection on the same ports too.
        let other = entry.and_then(|entry| self.entries.get(entry.other? as usize));
        let is_others = other.is_some_and(|other| {
            let side = if other.is_turned { payload.side.other() } else { payload.side };
            let first = |side: Side| other.sides.get(side as usize).and_then(Stream::first);
            let said = [(first(side), Some(segment.sequence)), (first(side.other()), segment.acknowledgement)];
            said.into_iter().all(|(known, said)| said.is_none() || known == said)
        });
        let is_known = known.all(|(known, said)| known == said);
        Some(if is_known || is_others { SynKind::Resent } else { SynKind::Anew })
    }
}
