//! NetBIOS name service and datagram headers (RFC 1002 sections 4.2 and 4.4), one event a message.
//!
//! Names are told in decoded form (section 4.1 of RFC 1001): fifteen bytes without the spaces at their end, the sixteenth as
//! a number, the scope aside. Reads queries, registrations, releases, their answers with addresses, and node status (names
//! and the MAC address of a host). Of datagrams (browser announcements and mail slots) only the header with its two names.
//! It deliberately does not: read sessions (port 139: those are SMB), nor what a datagram carries.
//!
//! Bounds: one name section, 16 addresses, 32 names of a node status.
//!
//! EVE has no object for it.

use super::bytes::Reader;
use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::text::Text;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Nbns;
/// Number of the transaction.
pub const ID: Fact = Fact::number(PROTOCOL, 1, "id");
/// 1: a response.
pub const QR: Fact = Fact::number(PROTOCOL, 2, "qr");
/// 0 query, 5 registration, 6 release, 7 wait, 8 refresh.
pub const OPCODE: Fact = Fact::number(PROTOCOL, 3, "opcode");
/// Response code.
pub const RCODE: Fact = Fact::number(PROTOCOL, 4, "rcode");
/// The name asked for, registered or answered.
pub const NAME: Fact = Fact::text(PROTOCOL, 5, "name", 16);
/// Its sixteenth byte: the service.
pub const SUFFIX: Fact = Fact::number(PROTOCOL, 6, "suffix");
/// Scope of the name.
pub const SCOPE: Fact = Fact::text(PROTOCOL, 7, "scope", 64);
/// 32: name, 33: status of a node.
pub const TYPE: Fact = Fact::number(PROTOCOL, 8, "type");
/// Addresses of the name.
pub const ADDRESS: Fact = Fact::address(PROTOCOL, 9, "address").repeated(16);
/// Names of a node, as its status tells them.
pub const NODE_NAME: Fact = Fact::text(PROTOCOL, 10, "node_name", 16).repeated(32);
/// Their sixteenth bytes.
pub const NODE_SUFFIX: Fact = Fact::number(PROTOCOL, 11, "node_suffix").repeated(32);
/// MAC address of a node.
pub const NODE_MAC: Fact = Fact::bytes(PROTOCOL, 12, "node_mac", 6);
/// Kind of a datagram: 16 unique, 17 group, 18 broadcast, 19 error, 20 to 22 queries.
pub const DATAGRAM_TYPE: Fact = Fact::number(PROTOCOL, 13, "datagram_type");
/// Who sent the datagram, by name.
pub const SOURCE_NAME: Fact = Fact::text(PROTOCOL, 14, "source_name", 16);
/// Who sent the datagram, by the address it tells.
pub const SOURCE_ADDRESS: Fact = Fact::address(PROTOCOL, 15, "source_address");

/// All facts.
#[rustfmt::skip]
pub const FACTS: &[Fact] = &[
    ID, QR, OPCODE, RCODE, NAME, SUFFIX, SCOPE, TYPE, ADDRESS, NODE_NAME, NODE_SUFFIX, NODE_MAC, DATAGRAM_TYPE, SOURCE_NAME,
    SOURCE_ADDRESS,
];

/// It cannot be read to its end.
pub const MALFORMED: Anomaly = Anomaly::new(PROTOCOL, 1, "malformed");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED];

const HEADER_BYTES: usize = 12;
const TYPE_NAME: u16 = 0x20;
const TYPE_STATUS: u16 = 0x21;

/// A name: sixteen bytes, and the scope.
struct Name {
    bytes: [u8; 16],
    scope: Text<64>,
}

impl Name {
    fn trimmed(&self) -> &[u8] {
        trim(&self.bytes)
    }

    fn suffix(&self) -> u64 {
        u64::from(self.bytes[15])
    }
}

/// The fifteen bytes without the spaces and zeros that fill them.
fn trim(bytes: &[u8; 16]) -> &[u8] {
    let [name @ .., _] = bytes;
    let end = name.iter().rposition(|byte| !matches!(byte, b' ' | 0)).map_or(0, |at| at + 1);
    name.get(..end).unwrap_or_default()
}

/// A label of 32 letters from A to P, two for a byte, and labels of the scope up to the root.
fn name(reader: &mut Reader<'_>) -> Option<Name> {
    if reader.u8()? != 32 {
        return None;
    }
    let mut name = Name { bytes: [0; 16], scope: Text::default() };
    for byte in &mut name.bytes {
        let [high, low] = reader.array::<2>()?;
        if !(b'A'..=b'P').contains(&high) || !(b'A'..=b'P').contains(&low) {
            return None;
        }
        *byte = (high - b'A') << 4 | (low - b'A');
    }
    // Labels take at least two bytes each, so this ends with the message.
    loop {
        match reader.u8()? {
            0 => return Some(name),
            length @ 1..64 => {
                if !name.scope.is_empty() {
                    name.scope.push(b'.');
                }
                name.scope.extend(reader.take(usize::from(length))?);
            }
            _ => return None,
        }
    }
}

/// NetBIOS names? A first name in its encoding, of a type of its own.
pub fn probe(look: &Look<'_>) -> Match {
    if !look.is_datagram {
        return Match::No;
    }
    let is = names_of_name_service(look.bytes).is_some() || datagram(look.bytes).is_some();
    if is { Match::Yes } else { Match::No }
}

fn names_of_name_service(bytes: &[u8]) -> Option<()> {
    let mut reader = Reader::new(bytes);
    let (_, flags) = (reader.be16()?, reader.be16()?);
    let counts = [reader.be16()?, reader.be16()?, reader.be16()?, reader.be16()?];
    name(&mut reader)?;
    let (kind, class) = (reader.be16()?, reader.be16()?);
    let opcode = flags >> 11 & 15;
    let fits = matches!(kind, TYPE_NAME | TYPE_STATUS | 1 | 2 | 10) && class == 1;
    (fits && matches!(opcode, 0 | 5..=9 | 15) && counts.iter().all(|count| *count <= 16)).then_some(())
}

/// Kind, address, and both names of a datagram (RFC 1002 section 4.4.1).
fn datagram(bytes: &[u8]) -> Option<(u8, [u8; 4], Name, Name)> {
    let mut reader = Reader::new(bytes);
    let (kind, flags, _) = (reader.u8()?, reader.u8()?, reader.be16()?);
    if !matches!(kind, 0x10..=0x12) || flags & 0xf0 != 0 {
        return None;
    }
    let (address, _port) = (reader.array::<4>()?, reader.be16()?);
    let (_length, _offset) = (reader.be16()?, reader.be16()?);
    Some((kind, address, name(&mut reader)?, name(&mut reader)?))
}

/// Nothing needs to be remembered.
#[derive(Default)]
pub struct State;

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let read = match datagram(bytes) {
            Some((kind, address, source, wanted)) => {
                out.facts().put_number(DATAGRAM_TYPE, kind.into());
                out.facts().put(SOURCE_NAME, source.trimmed());
                out.facts().put(SOURCE_ADDRESS, &address);
                put_name(&wanted, out);
                Some(())
            }
            None => message(bytes, out),
        };
        if read.is_none() {
            out.anomaly(MALFORMED);
        }
        out.facts().sent_by(side);
        out.event();
        Step::Took(bytes.len())
    }
}

fn put_name(name: &Name, out: &mut dyn Output) {
    out.facts().put(NAME, name.trimmed());
    out.facts().put_number(SUFFIX, name.suffix());
    if !name.scope.is_empty() {
        out.facts().put(SCOPE, name.scope.as_bytes());
    }
}

fn message(bytes: &[u8], out: &mut dyn Output) -> Option<()> {
    let mut reader = Reader::new(bytes);
    let (id, flags) = (reader.be16()?, reader.be16()?);
    let counts = [reader.be16()?, reader.be16()?, reader.be16()?, reader.be16()?];
    out.facts().put_number(ID, id.into());
    out.facts().put_number(QR, u64::from(flags >> 15));
    out.facts().put_number(OPCODE, u64::from(flags >> 11 & 15));
    out.facts().put_number(RCODE, u64::from(flags & 15));
    let [questions, answers, _, additionals] = counts;
    if questions > 0 {
        put_name(&name(&mut reader)?, out);
        out.facts().put_number(TYPE, reader.be16()?.into());
        reader.be16()?;
    }
    if answers == 0 && additionals == 0 {
        return Some(());
    }
    record(&mut reader, questions == 0, out)
}

/// The one record of an answer or a registration.
fn record(reader: &mut Reader<'_>, is_first: bool, out: &mut dyn Output) -> Option<()> {
    if reader.rest().first().is_some_and(|byte| *byte >= 0xc0) {
        reader.be16()?;
    } else {
        let owner = name(reader)?;
        if is_first {
            put_name(&owner, out);
        }
    }
    let (kind, _class, _ttl, length) = (reader.be16()?, reader.be16()?, reader.be32()?, reader.be16()?);
    out.facts().put_number(TYPE, kind.into());
    let mut data = reader.part(usize::from(length))?;
    match kind {
        TYPE_NAME => {
            while let Some([_, _, address @ ..]) = data.array::<6>() {
                out.facts().put(ADDRESS, &address);
            }
        }
        TYPE_STATUS => {
            for _ in 0..data.u8()? {
                let (name, _flags) = (data.array::<16>()?, data.be16()?);
                out.facts().put(NODE_NAME, trim(&name));
                out.facts().put_number(NODE_SUFFIX, u64::from(name[15]));
            }
            out.facts().put(NODE_MAC, data.take(6)?);
        }
        _ => {}
    }
    Some(())
}

const _: () = assert!(size_of::<State>() <= 64 && HEADER_BYTES == 12);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{datagram as look, show_one, torment_datagram};

    const PORTS: [u16; 2] = [137, 137];

    fn encoded(name: &[u8; 16]) -> Vec<u8> {
        let letters = name.iter().flat_map(|byte| [b'A' + (byte >> 4), b'A' + (byte & 15)]);
        [32].into_iter().chain(letters).chain([0]).collect()
    }

    fn query() -> Vec<u8> {
        [&b"\x12\x34\x01\x10\0\x01\0\0\0\0\0\0"[..], &encoded(b"WPAD           \0"), b"\0\x20\0\x01"].concat()
    }

    #[test]
    fn queries_answers_and_node_status_are_read() {
        let out = show_one::<State>(&query());
        let facts = &out.events[0];
        assert_eq!(
            (facts.get(NAME), facts.number(SUFFIX), facts.number(TYPE)),
            (Some(&b"WPAD"[..]), Some(0), Some(32))
        );
        let head = b"\x12\x34\x85\0\0\0\0\x01\0\0\0\0";
        let owner = encoded(b"FILES          \x20");
        let answer = [&head[..], &owner, b"\0\x20\0\x01\0\0\0\x05\0\x06\0\0\xc0\0\x02\x07"].concat();
        let facts = show_one::<State>(&answer).events.remove(0);
        assert_eq!((facts.get(NAME), facts.number(SUFFIX)), (Some(&b"FILES"[..]), Some(0x20)));
        assert_eq!((facts.get(ADDRESS), facts.number(QR)), (Some(&[192, 0, 2, 7][..]), Some(1)));
        let status =
            [&head[..], &owner, b"\0\x21\0\x01\0\0\0\0\0\x2b\x02FILES          \0\x04\0WORKGROUP      \0\x84\0"];
        let status = [&status.concat()[..], b"\x02\0\0\0\0\x01"].concat();
        let facts = show_one::<State>(&status).events.remove(0);
        assert_eq!(facts.all(NODE_NAME).collect::<Vec<_>>(), [&b"FILES"[..], b"WORKGROUP"]);
        assert_eq!(facts.get(NODE_MAC), Some(&[2, 0, 0, 0, 0, 1][..]));
        for message in [query(), answer, status] {
            assert_eq!(probe(&look(&message, [1, 2])), Match::Yes);
            torment_datagram::<State>(&message, PORTS, probe);
        }
    }

    #[test]
    fn datagrams_tell_who_sent_them() {
        let head = b"\x11\x0a\x80\x01\xc0\0\x02\x05\0\x8a\0\xbb\0\0";
        let names = [encoded(b"HOST           \0"), encoded(b"\x01\x02__MSBROWSE__\x02\x01")].concat();
        let message = [&head[..], &names, b"\xffSMB"].concat();
        let facts = show_one::<State>(&message).events.remove(0);
        assert_eq!((facts.get(SOURCE_NAME), facts.number(DATAGRAM_TYPE)), (Some(&b"HOST"[..]), Some(17)));
        assert_eq!(probe(&look(&message, [1, 2])), Match::Yes);
        torment_datagram::<State>(&message, [138, 138], probe);
    }

    #[test]
    fn dns_is_no_netbios() {
        let message = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01";
        assert_eq!(probe(&look(message, PORTS)), Match::No);
        let mut cut = query();
        cut.truncate(30);
        assert_eq!(show_one::<State>(&cut).anomalies, ["malformed"]);
    }
}
