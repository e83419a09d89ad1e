//! WireGuard (protocol and cryptography, section 5.4 of its paper): handshakes, one event a message.
//!
//! Everything but kind and indices is encrypted or random. Recognition: the four fixed bytes and the exact size of each
//! kind; for data, which come first when a capture begins in the middle, a counter that has not run for a year. It
//! deliberately does not: follow keys, or keep more than indices.
//!
//! EVE has no object for it.

use super::bytes::Reader;
use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::WireGuard;
/// 1 initiation, 2 response, 3 cookie, 4 data.
pub const TYPE: Fact = Fact::number(PROTOCOL, 1, "type");
/// Index that the sender chose.
pub const SENDER_INDEX: Fact = Fact::number(PROTOCOL, 2, "sender_index");
/// Index that the receiver chose.
pub const RECEIVER_INDEX: Fact = Fact::number(PROTOCOL, 3, "receiver_index");

/// All facts.
pub const FACTS: &[Fact] = &[TYPE, SENDER_INDEX, RECEIVER_INDEX];
/// All anomalies: none, as nothing can be checked that is not recognition.
pub const ANOMALIES: &[Anomaly] = &[];

const INITIATION_BYTES: usize = 148;
const RESPONSE_BYTES: usize = 92;
const COOKIE_BYTES: usize = 64;
const DATA_BYTES_MIN: usize = 32;
/// Messages that are looked at in a flow; the handshake is repeated every two minutes.
pub(super) const MESSAGES_MAX: u32 = 100_000;

/// Kind of the message, if its size is that of its kind.
fn kind(bytes: &[u8]) -> Option<u8> {
    let fits = match *bytes {
        [1, 0, 0, 0, ..] => bytes.len() == INITIATION_BYTES,
        [2, 0, 0, 0, ..] => bytes.len() == RESPONSE_BYTES,
        [3, 0, 0, 0, ..] => bytes.len() == COOKIE_BYTES,
        // Behind the index a counter in little-endian: 2^40 packets take a year at 35 000 a second.
        [4, 0, 0, 0, _, _, _, _, _, _, _, _, _, 0, 0, 0, ..] => {
            bytes.len() >= DATA_BYTES_MIN && bytes.len().is_multiple_of(16)
        }
        _ => false,
    };
    bytes.first().copied().filter(|_| fits)
}

/// WireGuard? See the module.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram && kind(look.bytes).is_some() { Match::Yes } else { Match::No }
}

/// How many messages were seen, and whether data were told.
#[derive(Default)]
pub struct State {
    messages: u32,
    has_told: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        self.messages += 1;
        match kind(bytes) {
            None | Some(4) if self.has_told => {}
            None => {}
            Some(kind) => {
                self.has_told = true;
                message(kind, bytes, out);
                out.facts().sent_by(side);
                out.event();
            }
        }
        if self.messages > MESSAGES_MAX {
            out.limit();
            return Step::Done;
        }
        Step::Took(bytes.len())
    }
}

fn message(kind: u8, bytes: &[u8], out: &mut dyn Output) {
    out.facts().put_number(TYPE, kind.into());
    let mut reader = Reader::new(bytes.get(4..).unwrap_or_default());
    let indices = match kind {
        1 => [Some(SENDER_INDEX), None],
        2 => [Some(SENDER_INDEX), Some(RECEIVER_INDEX)],
        _ => [Some(RECEIVER_INDEX), None],
    };
    for fact in indices.into_iter().flatten() {
        if let Some(index) = reader.le32() {
            out.facts().put_number(fact, index.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{datagram, show, torment_datagram};

    fn sized(kind: u8, bytes: usize) -> Vec<u8> {
        let mut message = vec![kind, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
        message.resize(bytes, if kind == 4 { 0 } else { 0xaa });
        message
    }

    #[test]
    fn handshakes_are_told_and_data_once() {
        let [init, response, data] = [sized(1, 148), sized(2, 92), sized(4, 96)];
        let flow = [
            (Side::Originator, &init[..]),
            (Side::Responder, &response),
            (Side::Originator, &data),
            (Side::Originator, &data),
        ];
        let out = show::<State>(&flow);
        assert_eq!(out.events.len(), 2);
        assert_eq!((out.events[1].number(SENDER_INDEX), out.events[1].number(RECEIVER_INDEX)), (Some(1), Some(2)));
        assert_eq!(show::<State>(&flow[2..]).events.len(), 1, "data alone, once");
        for message in [init, response, data, sized(3, 64)] {
            assert_eq!(probe(&datagram(&message, [1, 2])), Match::Yes);
            assert_eq!(probe(&datagram(&message[..message.len() - 1], [1, 2])), Match::No);
            torment_datagram::<State>(&message, [1, 2], probe);
        }
    }
}
