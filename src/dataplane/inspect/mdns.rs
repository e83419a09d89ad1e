//! Multicast DNS (RFC 6762): the format of DNS over UDP at port 5353, one event a message.
//!
//! The format cannot tell it from DNS; the port does. Reads what `dns` reads, with the same bounds; several questions and
//! answers without any are usual here. The highest bit of a class (cache flush, unicast wanted) stays in `query_class`.
//!
//! | fact | field of EVE (`mdns`) |
//! | --- | --- |
//! | `id`, `opcode`, `rcode`, `qr` | `id`, `opcode`, `rcode`, `type`: `request` or `response` |
//! | `flags` | `flags` (list of the names of those set) |
//! | `query_name`, `query_type` | `queries[].rrname`, `.rrtype` |
//! | `answer_*`, `authority_*`, `additional_*` | `answers[].rrname`, `.ptr`, `.txt` (by type), likewise the others |

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

/// mDNS? The format of DNS at port 5353.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram && look.has_port(PORT) { dns::plausible(look.bytes, true, false) } else { Match::No }
}

/// Nothing needs to be remembered.
#[derive(Default)]
pub struct State;

impl Parse for State {
    fn step(&mut self, _side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        dns::step(&SET, false, bytes, out)
    }
}
