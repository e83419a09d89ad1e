//! What a SYN says on a flow that has talked.

use super::super::receipt::{Opening, is_spoiled};
use super::super::stream::Stream;
use super::{Entry, Inspector, Payload};
use crate::dataplane::flow::{Side, SynKind};

impl Inspector {
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
