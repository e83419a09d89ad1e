//! Multicast DNS (RFC 6762): the format of DNS over UDP at port 5353, one event a message.
//!
//! The format cannot tell it from DNS; the port does. Reads what `dns` reads, with the same bounds; several questions and
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
/// Whoever asks DNS from that port is not at this place.
pub(super) fn is_place(look: &Look<'_>) -> bool {
    let sender = look.ports.get(look.side as usize);
    let is_answer = look.bytes.get(2).is_some_and(|flags| flags & 0x80 != 0) && sender == Some(&PORT);
    let [_, responder] = look.ports;
    look.is_datagram && !look.has_port(dns::PORT) && (responder == PORT || is_answer)
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

    #[test]
    fn a_port_of_the_sender_alone_does_not_make_it() {
        let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04host\x07example\0\0\x01\0\x01";
        let mut answer = query.to_vec();
        answer[2] = 0x84;
        for (bytes, ports, wanted) in [
            (&query[..], [5353, 53], Match::No),
            (query, [5353, 5300], Match::No),
            (query, [5353, 5353], Match::Yes),
            (query, [40_000, 5353], Match::Yes),
            (&answer, [5353, 40_000], Match::Yes),
        ] {
            let look = datagram(bytes, ports);
            assert_eq!(probe(&look), wanted, "{ports:?}");
            assert_eq!(dns::probe(&look), if wanted == Match::Yes { Match::No } else { Match::Yes }, "{ports:?}");
        }
    }
}
