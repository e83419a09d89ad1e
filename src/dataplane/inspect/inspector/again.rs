//! Datagrams that no probe knows: the first of a transfer that was asked for in another flow, or nothing so far.

use super::super::parse::Key;
use super::super::parsers::Parser;
use super::super::protocol::Protocol;
use super::super::remembered::Of;
use super::super::session::{look, usual_of};
use super::super::tftp;
use super::{AGAIN, AGAIN_MAX, ANEW_MAX, Inspector, NONE, OVER, Payload, Sink, Wants, over};

impl Inspector {
    /// Nothing tells what a datagram is: it may be the first of a transfer that was asked for in another flow.
    #[cold]
    pub(super) fn told_nothing(&mut self, index: u32, payload: &Payload<'_>, sink: &mut impl Sink) -> Wants {
        let of = Of { key: payload.key, originator: payload.originator, first_seen: payload.first_seen };
        let asker = Key::Transfer(payload.side.other());
        if tftp::begins(payload.bytes)
            && self.remembered.get(&of, asker, payload.time).is_some()
            && let Some(entry) = self.entries.get_mut(index as usize)
        {
            entry.parser = Parser::new(Protocol::Tftp);
            entry.parser.begin(&look(payload, payload.side, payload.bytes));
            self.counts.identified += 1;
            return self.show(index, payload, sink);
        }
        self.look_again(payload)
    }

    /// Nothing was told of a flow of datagrams, which holds nothing until the next one.
    #[cold]
    fn look_again(&mut self, payload: &Payload<'_>) -> Wants {
        let place = self.places.get(payload.slot as usize).copied();
        let entry = place.and_then(|place| self.entries.get(place as usize));
        let looked = entry.map_or(AGAIN_MAX, |entry| u32::from(entry.again) + 1);
        if looked >= AGAIN_MAX || looked >= ANEW_MAX && usual_of(payload).is_none() {
            self.counts.unknown += 1;
            let after = entry.map_or(OVER, over);
            self.forget(payload.slot, after);
            return Wants::NOTHING;
        }
        self.forget(payload.slot, AGAIN + looked);
        Wants::PAYLOAD
    }

    /// Is nothing more of the flow in this slot looked at?
    pub(super) fn is_over(&self, slot: u32) -> bool {
        self.places.get(slot as usize).is_none_or(|place| (OVER..NONE).contains(place))
    }
}
