//! DNS over UDP and TCP (RFC 1035, RFC 6891 for EDNS, RFC 9460 for SVCB and HTTPS), one event a message.
//!
//! Reads the header, questions, and records of all sections; data as text for A, AAAA, CNAME, DNAME, NS, PTR, MX, TXT, SOA,
//! SRV, SSHFP, NULL, SVCB, HTTPS, CAA, NAPTR, DS, DNSKEY, RRSIG (without its signature), TLSA, SMIMEA, CDS and CDNSKEY, other
//! types by their number only. Names keep their case and are written with the
//! escapes of RFC 4343 section 2.1. It deliberately does not: match answers to queries, check signatures, read EDNS
//! options. mDNS and LLMNR share the format and have their own facts (`mdns`, `llmnr`).
//!
//! Bounds: 32 questions and 256 records of a section are looked at, 32 of each kept; a name has 255 bytes and 127 pointers,
//! each to before itself; of a message on a stream longer than [`UNIT_MAX`] the first 4 000 bytes are read, and the event says so.
//!
//! | fact | field of EVE (`dns`, version 3 of the object) |
//! | --- | --- |
//! | `id`, `flags` (as hex), `qr`, `aa`, `tc`, `rd`, `ra`, `z`, `opcode` | the same; `type`: `request` or `response` by `qr` |
//! | `rcode` | `rcode` by [`rcode_name`] |
//! | `query_name`, `query_type` | `queries[].rrname`, `.rrtype` by [`type_name`] |
//! | `answer_*` | `answers[].rrname`, `.rrtype`, `.ttl`, `.rdata`; `.soa`, `.srv`, `.sshfp`: the data split at spaces; of TXT an
//! entry for each string |
//! | `authority_*`, `additional_*` | `authorities[]`, `additionals[]` likewise |
//! | `answers`, `authorities`, `additionals`, `query_class`, `address`, `edns_*` | none |

mod message;
mod name;
mod rdata;
mod set;
#[cfg(test)]
mod tests;

pub use message::{Header, plausible, read};
pub(super) use message::{QUESTIONS_MAX, RECORDS_KEPT, RECORDS_MAX};
pub use name::{Fault, NameText};
pub use rdata::types;
pub use set::Set;

use super::bytes::Reader;
use super::facts::Fact;
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step, UNIT_MAX};
use super::protocol::Protocol;
use super::sides::Sides;
use super::{mdns, nbns};
use crate::dataplane::flow::Side;

/// The facts by their names.
pub const SET: Set = Set::of(Protocol::Dns, true);
/// All facts.
pub const FACTS: &[Fact] = &SET.facts();
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &SET.anomalies();

/// Bytes that are read of a message on a stream that is longer than [`UNIT_MAX`].
const HEAD_BYTES: usize = 4000;

/// Port at which oddness is forgiven.
pub const PORT: u16 = 53;

/// DNS? A header, a question of a known class and records that end where the message ends; at port 53 a readable header and
/// question are enough. mDNS and LLMNR have places of their own, NetBIOS names an encoding of their own: those are not DNS.
pub fn probe(look: &Look<'_>) -> Match {
    if mdns::is_place(look) || look.is_datagram && look.has_port(5355) && !look.has_port(PORT) {
        return Match::No;
    }
    if !look.has_port(PORT) && nbns::probe(look) == Match::Yes {
        return Match::No;
    }
    message::probe(look, look.has_port(PORT))
}

/// [`probe`] for a relative of DNS at its own port.
pub(super) fn probe_at_port(look: &Look<'_>) -> Match {
    message::probe(look, true)
}

/// Nothing but whether messages have a length in front, and where they begin is a guess.
#[derive(Default)]
pub struct State {
    is_stream: bool,
    /// Of each side: what comes next is behind a hole, and perhaps the beginning of a message.
    is_guess: Sides<bool>,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    /// A state for a stream: each message has its length in front.
    pub fn stream() -> State {
        State { is_stream: true, ..State::default() }
    }
}

impl Parse for State {
    fn begin(&mut self, look: &Look<'_>) {
        self.is_stream = !look.is_datagram;
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if *self.is_guess.of(side) {
            match message::begins(bytes) {
                Match::Yes => *self.is_guess.of(side) = false,
                Match::Maybe => return Step::Need(bytes.len() + 1),
                Match::No => return Step::Done,
            }
        }
        out.facts().sent_by(side);
        step(&SET, self.is_stream, bytes, out)
    }

    fn gap(&mut self, side: Side, hole: &Hole<'_>, _out: &mut dyn Output) -> Resume {
        match behind(hole) {
            Resume::Done if self.is_stream => {
                *self.is_guess.of(side) = true;
                Resume::Here
            }
            other => other,
        }
    }
}

/// Behind a hole within a message: the length in front tells where the next one begins.
pub(super) fn behind(hole: &Hole<'_>) -> Resume {
    Reader::new(hole.before).be16().map_or(Resume::Done, |length| hole.within(2 + u64::from(length)))
}

/// A step of any of the three protocols.
pub(super) fn step(set: &Set, is_stream: bool, bytes: &[u8], out: &mut dyn Output) -> Step {
    if !is_stream {
        read(set, bytes, false, out);
        return Step::Took(bytes.len());
    }
    let mut reader = Reader::new(bytes);
    let Some(length) = reader.be16().map(usize::from) else { return Step::Need(2) };
    if length < message::HEADER_BYTES {
        return Step::Broken(set.malformed);
    }
    if length + 2 > UNIT_MAX {
        // A zone transfer's part, or what hides in an answer: its head tells, the rest is of no interest.
        let Some(head) = reader.take(HEAD_BYTES) else { return Step::Need(2 + HEAD_BYTES) };
        message::read_head(set, head, out);
        return Step::Skip(length as u64 + 2);
    }
    match reader.take(length) {
        Some(message) => {
            read(set, message, true, out);
            Step::Took(length + 2)
        }
        None => Step::Need(length + 2),
    }
}

/// Name of a type of records (IANA registry), where people know one.
#[rustfmt::skip]
pub fn type_name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        1 => "A", 2 => "NS", 3 => "MD", 4 => "MF", 5 => "CNAME", 6 => "SOA", 7 => "MB", 8 => "MG", 9 => "MR", 10 => "NULL",
        11 => "WKS", 12 => "PTR", 13 => "HINFO", 14 => "MINFO", 15 => "MX", 16 => "TXT", 17 => "RP", 18 => "AFSDB",
        19 => "X25", 20 => "ISDN", 21 => "RT", 22 => "NSAP", 23 => "NSAPPTR", 24 => "SIG", 25 => "KEY", 26 => "PX",
        27 => "GPOS", 28 => "AAAA", 29 => "LOC", 30 => "NXT", 33 => "SRV", 34 => "ATMA", 35 => "NAPTR", 36 => "KX",
        37 => "CERT", 38 => "A6", 39 => "DNAME", 41 => "OPT", 42 => "APL", 43 => "DS", 44 => "SSHFP", 45 => "IPSECKEY",
        46 => "RRSIG", 47 => "NSEC", 48 => "DNSKEY", 49 => "DHCID", 50 => "NSEC3", 51 => "NSEC3PARAM", 52 => "TLSA",
        53 => "SMIMEA", 55 => "HIP", 59 => "CDS", 60 => "CDNSKEY", 61 => "OPENPGPKEY", 62 => "CSYNC", 63 => "ZONEMD",
        64 => "SVCB", 65 => "HTTPS", 99 => "SPF", 108 => "EUI48", 109 => "EUI64", 249 => "TKEY", 250 => "TSIG",
        251 => "IXFR", 252 => "AXFR", 253 => "MAILB", 254 => "MAILA", 255 => "ANY", 256 => "URI", 257 => "CAA",
        _ => return None,
    })
}

/// Name of a response code (IANA registry).
#[rustfmt::skip]
pub fn rcode_name(rcode: u16) -> Option<&'static str> {
    Some(match rcode {
        0 => "NOERROR", 1 => "FORMERR", 2 => "SERVFAIL", 3 => "NXDOMAIN", 4 => "NOTIMP", 5 => "REFUSED", 6 => "YXDOMAIN",
        7 => "YXRRSET", 8 => "NXRRSET", 9 => "NOTAUTH", 10 => "NOTZONE", 16 => "BADVERS", 17 => "BADKEY", 18 => "BADTIME",
        19 => "BADMODE", 20 => "BADNAME", 21 => "BADALG", 22 => "BADTRUNC", 23 => "BADCOOKIE",
        _ => return None,
    })
}
