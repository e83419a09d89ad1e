//! SNMP versions 1, 2c (RFC 1157, RFC 1901, RFC 3416) and 3 (RFC 3412, RFC 3414), one event a message.
//!
//! Reads version, community or user, the kind of PDU, object identifiers, trap fields, and the size that a bulk request
//! asks for. Of values of variables only what a device says of itself is read
//! (`sysDescr`, `sysName`). It deliberately does not: decrypt, or check authentication.
//!
//! Bounds: 64 variables are looked at, 16 identifiers of 128 bytes as text kept; nesting is that of the message format, not
//! of the input.
//!
//! | fact | field of EVE (`snmp`) |
//! | --- | --- |
//! | `version` | `version`: 1, 2 or 3 |
//! | `community`, `pdu_type` (by [`pdu_name`]), `trap_type` (by [`trap_name`]), `trap_oid`, `trap_address` | the same |
//! | `user` | `usm` |
//! | `oid` | `vars` |
//! | `request_id`, `error_status`, `max_repetitions`, `security_level`, `engine_id`, `sys_descr`, `sys_name` | none |

#[cfg(test)]
mod tests;

use super::bytes::Reader;
use super::der;
use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::text::Text;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Snmp;
/// 1, 2 (2c) or 3.
pub const VERSION: Fact = Fact::number(PROTOCOL, 1, "version");
/// The community, if it is `public` or `private`; a star for any other.
pub const COMMUNITY: Fact = Fact::text(PROTOCOL, 2, "community", 64);
/// Kind of PDU: its tag, without the class.
pub const PDU_TYPE: Fact = Fact::number(PROTOCOL, 3, "pdu_type");
/// Object identifiers, with dots.
pub const OID: Fact = Fact::text(PROTOCOL, 4, "oid", 128).repeated(16);
/// User of version 3.
pub const USER: Fact = Fact::text(PROTOCOL, 5, "user", 64);
/// Number of the request.
pub const REQUEST_ID: Fact = Fact::number(PROTOCOL, 6, "request_id");
/// What went wrong.
pub const ERROR_STATUS: Fact = Fact::number(PROTOCOL, 7, "error_status");
/// Rounds that a bulk request asks for.
pub const MAX_REPETITIONS: Fact = Fact::number(PROTOCOL, 8, "max_repetitions");
/// Kind of a trap of version 1.
pub const TRAP_TYPE: Fact = Fact::number(PROTOCOL, 9, "trap_type");
/// Enterprise of a trap of version 1.
pub const TRAP_OID: Fact = Fact::text(PROTOCOL, 10, "trap_oid", 128);
/// Address of a trap of version 1.
pub const TRAP_ADDRESS: Fact = Fact::address(PROTOCOL, 11, "trap_address");
/// Version 3: 1 authenticated, 2 private, 4 wants a report; added.
pub const SECURITY_LEVEL: Fact = Fact::number(PROTOCOL, 12, "security_level");
/// Version 3: who is authoritative.
pub const ENGINE_ID: Fact = Fact::bytes(PROTOCOL, 13, "engine_id", 32);
/// What the agent says of its device (`sysDescr.0`).
pub const SYS_DESCR: Fact = Fact::text(PROTOCOL, 14, "sys_descr", 255);
/// Name of the device (`sysName.0`).
pub const SYS_NAME: Fact = Fact::text(PROTOCOL, 15, "sys_name", 255);

/// All facts.
#[rustfmt::skip]
pub const FACTS: &[Fact] = &[
    VERSION, COMMUNITY, PDU_TYPE, OID, USER, REQUEST_ID, ERROR_STATUS, MAX_REPETITIONS, TRAP_TYPE, TRAP_OID, TRAP_ADDRESS,
    SECURITY_LEVEL, ENGINE_ID, SYS_DESCR, SYS_NAME,
];

/// It cannot be read.
pub const MALFORMED: Anomaly = Anomaly::new(PROTOCOL, 1, "malformed");
/// A community that devices are delivered with, in a request; once a flow.
pub const DEFAULT_COMMUNITY: Anomaly = Anomaly::new(PROTOCOL, 2, "default_community");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED, DEFAULT_COMMUNITY];

/// Communities that everybody tries first.
const DEFAULT_COMMUNITIES: [&[u8]; 6] = [b"public", b"private", b"cisco", b"admin", b"manager", b"snmpd"];
/// Those that are told, as they are no secret; a star stands for others, which are passwords.
const TOLD_COMMUNITIES: [&[u8]; 2] = [b"public", b"private"];
/// Variables looked at.
pub(super) const VARIABLES_MAX: usize = 64;

const GET_RESPONSE: u8 = 0xa2;
const TRAP_V1: u8 = 0xa4;
const GET_BULK: u8 = 0xa5;

/// An IPv4 address (RFC 1155).
const IP_ADDRESS: u8 = 0x40;

/// The next element.
fn any<'a>(reader: &mut Reader<'a>) -> Option<(u8, Reader<'a>)> {
    der::element(reader).map(|(tag, contents)| (tag, Reader::new(contents)))
}

/// The next element, if it has this tag.
fn open<'a>(reader: &mut Reader<'a>, tag: u8) -> Option<Reader<'a>> {
    der::whole(reader, tag).map(Reader::new)
}

/// The next element, an integer of 1 to 8 bytes (sign not minded).
fn integer(reader: &mut Reader<'_>) -> Option<u64> {
    let value = der::whole(reader, der::INTEGER)?;
    (1..=8).contains(&value.len()).then(|| value.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// What stands at the front of every message.
struct Front<'a> {
    version: u64,
    rest: Reader<'a>,
}

fn front(bytes: &[u8]) -> Option<Front<'_>> {
    let mut outer = Reader::new(bytes);
    let mut rest = open(&mut outer, der::SEQUENCE)?;
    let version = integer(&mut rest)?;
    matches!(version, 0 | 1 | 3).then_some(Front { version, rest })
}

/// SNMP? A sequence with a version, and what that version has next.
pub fn probe(look: &Look<'_>) -> Match {
    let is = |bytes| {
        let Front { version, mut rest } = front(bytes)?;
        if version == 3 {
            let mut global = open(&mut rest, der::SEQUENCE)?;
            let (_id, _size) = (integer(&mut global)?, integer(&mut global)?);
            return (open(&mut global, der::OCTETS)?.len() == 1).then_some(());
        }
        open(&mut rest, der::OCTETS)?;
        let (tag, _) = any(&mut rest)?;
        (0xa0..=0xa8).contains(&tag).then_some(())
    };
    if look.is_datagram && is(look.bytes).is_some() { Match::Yes } else { Match::No }
}

/// Nothing needs to be remembered.
#[derive(Default)]
pub struct State;

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if message(bytes, out).is_none() {
            out.anomaly(MALFORMED);
        }
        out.facts().sent_by(side);
        out.event();
        Step::Took(bytes.len())
    }
}

fn message(bytes: &[u8], out: &mut dyn Output) -> Option<()> {
    let Front { version, mut rest } = front(bytes)?;
    out.facts().put_number(VERSION, if version == 3 { 3 } else { version + 1 });
    if version == 3 {
        return version_3(rest, out);
    }
    let community = open(&mut rest, der::OCTETS)?.rest();
    let is_told = TOLD_COMMUNITIES.contains(&community);
    out.facts().put(COMMUNITY, if is_told { community } else { b"*" });
    let (tag, body) = any(&mut rest)?;
    let is_default = || DEFAULT_COMMUNITIES.iter().any(|one| one.eq_ignore_ascii_case(community));
    // A poller sends thousands with the same one.
    if tag != GET_RESPONSE && is_default() && out.is_first(DEFAULT_COMMUNITY.index.into()) {
        out.anomaly(DEFAULT_COMMUNITY);
    }
    pdu(tag, body, out)
}

/// RFC 3412 section 6, RFC 3414 section 2.4.
fn version_3(mut rest: Reader<'_>, out: &mut dyn Output) -> Option<()> {
    let mut global = open(&mut rest, der::SEQUENCE)?;
    let (_id, _size) = (integer(&mut global)?, integer(&mut global)?);
    let flags = open(&mut global, der::OCTETS)?.u8()?;
    out.facts().put_number(SECURITY_LEVEL, flags.into());
    let mut security = open(&mut rest, der::OCTETS)?;
    if integer(&mut global)? == 3 {
        let mut usm = open(&mut security, der::SEQUENCE)?;
        out.facts().put(ENGINE_ID, open(&mut usm, der::OCTETS)?.rest());
        let (_boots, _time) = (integer(&mut usm)?, integer(&mut usm)?);
        let user = open(&mut usm, der::OCTETS)?.rest();
        if !user.is_empty() {
            out.facts().put(USER, user);
        }
    }
    let (tag, mut scoped) = any(&mut rest)?;
    if tag != der::SEQUENCE {
        return Some(()); // encrypted
    }
    let (_engine, _name) = (open(&mut scoped, der::OCTETS)?, open(&mut scoped, der::OCTETS)?);
    let (tag, body) = any(&mut scoped)?;
    pdu(tag, body, out)
}

fn pdu(tag: u8, mut body: Reader<'_>, out: &mut dyn Output) -> Option<()> {
    out.facts().put_number(PDU_TYPE, u64::from(tag & 0x1f));
    if tag == TRAP_V1 {
        put_oid(TRAP_OID, open(&mut body, der::OBJECT)?, out);
        out.facts().put(TRAP_ADDRESS, &open(&mut body, IP_ADDRESS)?.array::<4>()?);
        out.facts().put_number(TRAP_TYPE, integer(&mut body)?);
        let (_specific, _ticks) = (any(&mut body)?, any(&mut body)?);
    } else {
        out.facts().put_number(REQUEST_ID, integer(&mut body)? & 0xffff_ffff);
        let (first, second) = (integer(&mut body)?, integer(&mut body)?);
        match tag {
            GET_BULK => out.facts().put_number(MAX_REPETITIONS, second),
            _ => out.facts().put_number(ERROR_STATUS, first),
        }
    }
    let mut list = open(&mut body, der::SEQUENCE)?;
    for _ in 0..VARIABLES_MAX {
        if list.is_empty() {
            break;
        }
        let mut one = open(&mut list, der::SEQUENCE)?;
        let oid = open(&mut one, der::OBJECT)?;
        put_oid(OID, oid, out);
        let fact = match oid.rest() {
            [0x2b, 6, 1, 2, 1, 1, 1, 0] => SYS_DESCR,
            [0x2b, 6, 1, 2, 1, 1, 5, 0] => SYS_NAME,
            _ => continue,
        };
        // In a request the value is nothing.
        if let Some(value) = open(&mut one, der::OCTETS) {
            out.facts().put(fact, value.rest());
        }
    }
    Some(())
}

/// An identifier with dots (X.690 section 8.19). Parts of more than 64 bits lose their upper ones.
fn put_oid(fact: Fact, mut bytes: Reader<'_>, out: &mut dyn Output) {
    let (mut text, mut value, mut is_first) = (Text::<160>::default(), 0_u64, true);
    while let Some(byte) = bytes.u8() {
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if is_first {
            let top = (value / 40).min(2);
            text.print(format_args!("{top}.{}", value - top * 40));
        } else {
            text.print(format_args!(".{value}"));
        }
        (value, is_first) = (0, false);
        if text.is_cut() {
            break;
        }
    }
    out.facts().put(fact, text.as_bytes());
}

/// Name of a kind of PDU.
#[rustfmt::skip]
pub fn pdu_name(kind: u64) -> Option<&'static str> {
    Some(match kind {
        0 => "get_request", 1 => "get_next_request", 2 => "response", 3 => "set_request", 4 => "trap_v1",
        5 => "get_bulk_request", 6 => "inform_request", 7 => "trap_v2", 8 => "report",
        _ => return None,
    })
}

/// Name of a kind of trap of version 1 (RFC 1157 section 4.1.6).
#[rustfmt::skip]
pub fn trap_name(kind: u64) -> Option<&'static str> {
    Some(match kind {
        0 => "coldStart", 1 => "warmStart", 2 => "linkDown", 3 => "linkUp", 4 => "authenticationFailure",
        5 => "egpNeighborLoss", 6 => "enterpriseSpecific",
        _ => return None,
    })
}
