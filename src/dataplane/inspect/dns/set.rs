//! The facts and anomalies of the three protocols that share the format.

use crate::dataplane::inspect::facts::{FACTS_BYTES, Fact};
use crate::dataplane::inspect::parse::Anomaly;
use crate::dataplane::inspect::protocol::Protocol;

/// Records kept of each section; the counts of the header are facts too, so what is missing shows.
pub(super) const RECORDS: u8 = 32;
/// Questions kept: as many as are looked at.
const QUESTIONS: u8 = 32;
/// Bytes of a record's name and of its data as text.
const NAME_BYTES: u16 = 255;
const DATA_BYTES: u16 = 512;

/// All facts and anomalies; the same for each of the protocols but for the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    /// Number of the transaction.
    pub id: Fact,
    /// The second 16 bits of the header.
    pub flags: Fact,
    /// 1: a response.
    pub qr: Fact,
    /// Kind of query.
    pub opcode: Fact,
    /// 1: an authority answers.
    pub aa: Fact,
    /// 1: cut to fit.
    pub tc: Fact,
    /// 1: recursion is desired.
    pub rd: Fact,
    /// 1: recursion is available.
    pub ra: Fact,
    /// 1: the bit that must be zero is not.
    pub z: Fact,
    /// Response code, with the bits that EDNS adds.
    pub rcode: Fact,
    /// Names asked for, as text with escapes.
    pub query_name: Fact,
    /// Their types.
    pub query_type: Fact,
    /// Their classes (mDNS: with its highest bit).
    pub query_class: Fact,
    /// Number of answers that the header tells.
    pub answers: Fact,
    /// Number of authorities that the header tells.
    pub authorities: Fact,
    /// Number of additional records that the header tells.
    pub additionals: Fact,
    /// For answers, authorities, additionals: name, type, time to live, data; side by side.
    pub sections: [[Fact; 4]; 3],
    /// Addresses in A and AAAA records of all sections.
    pub address: Fact,
    /// Largest datagram that the sender takes (RFC 6891).
    pub edns_size: Fact,
    /// Version of EDNS.
    pub edns_version: Fact,
    /// 1: wants DNSSEC.
    pub edns_do: Fact,
    /// Never has a value: what would not fit is offered to it, so that the facts know.
    pub(super) no_room: Fact,
    /// Does a response repeat its question? Not in mDNS.
    pub wants_question: bool,
    /// It cannot be read.
    pub malformed: Anomaly,
    /// A name points to itself, forward, or too often.
    pub compression_loop: Anomaly,
    /// A name of more than 255 bytes.
    pub name_too_long: Anomaly,
    /// An opcode that does not exist.
    pub invalid_opcode: Anomaly,
    /// The reserved bit is set.
    pub z_flag_set: Anomaly,
    /// A response that does not tell what was asked.
    pub response_without_question: Anomaly,
    /// Names put together of so many pieces that they were not all read.
    pub names_too_costly: Anomaly,
}

impl Set {
    /// Those of `protocol`.
    pub const fn of(protocol: Protocol, wants_question: bool) -> Set {
        Set {
            id: Fact::number(protocol, 1, "id"),
            flags: Fact::number(protocol, 2, "flags"),
            qr: Fact::number(protocol, 3, "qr"),
            opcode: Fact::number(protocol, 4, "opcode"),
            aa: Fact::number(protocol, 5, "aa"),
            tc: Fact::number(protocol, 6, "tc"),
            rd: Fact::number(protocol, 7, "rd"),
            ra: Fact::number(protocol, 8, "ra"),
            z: Fact::number(protocol, 9, "z"),
            rcode: Fact::number(protocol, 10, "rcode"),
            query_name: Fact::text(protocol, 11, "query_name", 1020).repeated(QUESTIONS),
            query_type: Fact::number(protocol, 12, "query_type").repeated(QUESTIONS),
            query_class: Fact::number(protocol, 13, "query_class").repeated(QUESTIONS),
            answers: Fact::number(protocol, 14, "answers"),
            authorities: Fact::number(protocol, 15, "authorities"),
            additionals: Fact::number(protocol, 16, "additionals"),
            sections: [
                section(protocol, 20, ["answer_name", "answer_type", "answer_ttl", "answer_data"]),
                section(protocol, 24, ["authority_name", "authority_type", "authority_ttl", "authority_data"]),
                section(protocol, 28, ["additional_name", "additional_type", "additional_ttl", "additional_data"]),
            ],
            address: Fact::address(protocol, 32, "address").repeated(RECORDS),
            edns_size: Fact::number(protocol, 33, "edns_size"),
            edns_version: Fact::number(protocol, 34, "edns_version"),
            edns_do: Fact::number(protocol, 35, "edns_do"),
            no_room: Fact::bytes(protocol, 255, "no_room", FACTS_BYTES as u16),
            wants_question,
            malformed: Anomaly::new(protocol, 1, "malformed"),
            compression_loop: Anomaly::new(protocol, 2, "compression_loop"),
            name_too_long: Anomaly::new(protocol, 3, "name_too_long"),
            invalid_opcode: Anomaly::new(protocol, 4, "invalid_opcode"),
            z_flag_set: Anomaly::new(protocol, 5, "z_flag_set"),
            response_without_question: Anomaly::new(protocol, 6, "response_without_question"),
            names_too_costly: Anomaly::new(protocol, 7, "names_too_costly"),
        }
    }

    /// The facts as a list.
    #[rustfmt::skip]
    pub const fn facts(&self) -> [Fact; 32] {
        let [[a, b, c, d], [e, f, g, h], [i, j, k, l]] = self.sections;
        [
            self.id, self.flags, self.qr, self.opcode, self.aa, self.tc, self.rd, self.ra, self.z, self.rcode,
            self.query_name, self.query_type, self.query_class, self.answers, self.authorities, self.additionals,
            a, b, c, d, e, f, g, h, i, j, k, l,
            self.address, self.edns_size, self.edns_version, self.edns_do,
        ]
    }

    /// The anomalies as a list.
    pub const fn anomalies(&self) -> [Anomaly; 7] {
        let names = [self.malformed, self.compression_loop, self.name_too_long];
        let [a, b, c] = names;
        [a, b, c, self.invalid_opcode, self.z_flag_set, self.response_without_question, self.names_too_costly]
    }
}

const fn section(protocol: Protocol, first: u8, names: [&'static str; 4]) -> [Fact; 4] {
    let [name, kind, ttl, data] = names;
    [
        Fact::text(protocol, first, name, NAME_BYTES).repeated(RECORDS),
        Fact::number(protocol, first + 1, kind).repeated(RECORDS),
        Fact::number(protocol, first + 2, ttl).repeated(RECORDS),
        Fact::text(protocol, first + 3, data, DATA_BYTES).repeated(RECORDS),
    ]
}
