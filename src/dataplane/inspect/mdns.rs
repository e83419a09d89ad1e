//! Multicast DNS (RFC 6762): the format of DNS over UDP at port 5353, one event a message.
//!
//! The format cannot tell it from DNS; the port does, and that nobody asks for recursion. Reads what `dns` reads, with the same bounds; several questions and
//! answers without any are usual here. The highest bit of a class (cache flush, unicast wanted) stays in `query_class`.
//!
//! | fact | field of EVE (`mdns`) |
//! | --- | --- |
//! | `id`, `opcode`, `rcode`, `qr` | `id`, `opcode`, `rcode`, `type`: `request` or `response` |
//! | `aa`, `tc`, `rd`, `ra`, `z` | `flags` (list of the names of those set) |
//! | `query_name`, `query_type` | `queries[].rrname`, `.rrtype` |
//! | `answer_*`, `authority_*`, `additional_*` | `answers[].rrname`, `.ptr`, `.txt` (by type), likewise the others; each record
//! whole in `ml.facts.answer[]`, `.authority[]`, `.additional[]`: `.rrname`, `.rrtype`, `.ttl`, and `.rdata`, or `.srv`, `.soa`,
//! `.sshfp`, `.txt` |

use super::dns::{self, Set};
use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

/// The facts by their names; those of DNS.
pub const SET: Set = Set::of(Protocol::Mdns, false);
/// All facts.
pub const FACTS: &[Fact] = &SET.facts();
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &SET.anomalies();

const PORT: u16 = 5353;

/// mDNS? The format of DNS at its place.
pub fn probe(look: &Look<'_>) -> Match {
    if is_place(look) { dns::plausible(look.bytes, true, false) } else { Match::No }
}

/// To port 5353, of a group or of a host (RFC 6762 sections 3 and 5.5); or an answer from there to one host (section 6.7).
/// Whoever asks DNS from that port is not at this place, nor is a server of DNS that has it.
pub(super) fn is_place(look: &Look<'_>) -> bool {
    let sender = look.ports.get(look.side as usize);
    let is_answer = look.bytes.get(2).is_some_and(|flags| flags & 0x80 != 0) && sender == Some(&PORT);
    let [_, responder] = look.ports;
    look.is_datagram
        && !look.has_port(dns::PORT)
        && (responder == PORT || is_answer)
        && (look.is_multicast || !is_of_resolver(look.bytes))
}

/// Has it a number and RD or RA, as what resolvers are asked and answer? mDNS sends neither flag (RFC 6762 sections 18.6 and 18.7).
fn is_of_resolver(bytes: &[u8]) -> bool {
    match bytes {
        [0, 0, ..] => false,
        [_, _, high, low, ..] => high & 1 != 0 || low & 0x80 != 0,
        _ => false,
    }
}

/// Nothing needs to be remembered.
#[derive(Default)]
pub struct State;

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        out.facts().sent_by(side);
        dns::step(&SET, false, bytes, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::datagram;

    /// A question of `host.example` for its address, with its number and flags.
    fn message(id: u8, flags: [u8; 2]) -> Vec<u8> {
        let [high, low] = flags;
        [&[0, id, high, low, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x04host\x07example\0\0\x01\0\x01"].concat()
    }

    #[test]
    fn a_port_alone_does_not_make_it() {
        const GROUP: bool = true;
        let (asked, answered) = ([0, 0], [0x84, 0]);
        for (name, id, flags, ports, is_multicast, wanted) in [
            ("a resolver's own port", 7, asked, [5353, 53], false, Match::No),
            ("a client's own port", 7, asked, [5353, 5300], false, Match::No),
            ("to all", 0, asked, [5353, 5353], GROUP, Match::Yes),
            ("to one", 0, asked, [5353, 5353], false, Match::Yes),
            ("to one, from elsewhere", 7, asked, [40_000, 5353], false, Match::Yes),
            ("an answer to one", 7, answered, [5353, 40_000], false, Match::Yes),
            ("as a resolver asks, of all", 7, [1, 0x20], [40_000, 5353], GROUP, Match::Yes),
            ("without a number", 0, [1, 0], [5353, 5353], false, Match::Yes),
            // A server of DNS at this port.
            ("a resolver is asked", 7, [1, 0x20], [40_000, 5353], false, Match::No),
            ("it answers", 7, [0x81, 0x80], [5353, 40_000], false, Match::No),
            ("an authority answers", 7, [0x85, 0], [5353, 40_000], false, Match::No),
            ("recursion offered", 7, [0x80, 0x80], [5353, 40_000], false, Match::No),
        ] {
            let bytes = message(id, flags);
            let look = Look { is_multicast, ..datagram(&bytes, ports) };
            assert_eq!(probe(&look), wanted, "{name}");
            assert_eq!(dns::probe(&look), if wanted == Match::Yes { Match::No } else { Match::Yes }, "{name}");
        }
    }
}
