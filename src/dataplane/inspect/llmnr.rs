//! Link-local multicast name resolution (RFC 4795): the format of DNS at port 5355, one event a message.
//!
//! The format cannot tell it from DNS; the port does. Reads what `dns` reads, with the same bounds. Its flag C (conflict)
//! stands where `aa` stands, T (tentative) where `rd` stands.
//!
//! | fact | field of EVE (`llmnr`) |
//! | --- | --- |
//! | `id`, `opcode`, `qr` | `id`, `opcode`, `type`: `request` or `response` |
//! | `query_name`, `query_type` | `queries[].rrname`, `.rrtype` |
//! | `answer_*`, `authority_*`, `additional_*` | `answers[].rrname`, `.ttl`, and by type `.a`, `.aaaa`, `.ptr` ...; likewise the others |

use super::dns::{self, Set};
use super::facts::Fact;
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

/// The facts by their names; those of DNS.
pub const SET: Set = Set::of(Protocol::Llmnr, true);
/// All facts.
pub const FACTS: &[Fact] = &SET.facts();
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &SET.anomalies();

const PORT: u16 = 5355;

/// LLMNR? The format of DNS at port 5355, over UDP or TCP, with one question (RFC 4795 section 2.1.1).
pub fn probe(look: &Look<'_>) -> Match {
    if !look.has_port(PORT) {
        return Match::No;
    }
    dns::probe_at_port(look)
}

/// Nothing but whether messages have a length in front.
#[derive(Default)]
pub struct State {
    is_stream: bool,
}

impl Parse for State {
    fn begin(&mut self, look: &Look<'_>) {
        self.is_stream = !look.is_datagram;
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        out.facts().sent_by(side);
        dns::step(&SET, self.is_stream, bytes, out)
    }

    fn gap(&mut self, _side: Side, hole: &Hole<'_>, _out: &mut dyn Output) -> Resume {
        dns::behind(hole)
    }
}
