//! STUN and TURN (RFC 8489, RFC 8656; RFC 5780, RFC 3489) over UDP and TCP, one event a message.
//!
//! Reads kind, addresses that the server saw or gave, software, user and realm, error. It deliberately does not: check
//! integrity, read what TURN carries, or tell what the media of such a flow is: messages of others (RTP, DTLS) that share
//! the flow are passed over.
//!
//! Bounds: a length field must fit its message, so attributes are at most those of 64 KiB; after 64 messages of others in a
//! row the flow is done with.
//!
//! EVE has no object for it.

use super::bytes::Reader;
use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Stun;
/// 0 request, 1 indication, 2 success, 3 error.
pub const CLASS: Fact = Fact::number(PROTOCOL, 1, "class");
/// 1 binding, 3 allocate, 4 refresh, 6 send, 7 data, 8 permission, 9 channel.
pub const METHOD: Fact = Fact::number(PROTOCOL, 2, "method");
/// Number of the transaction.
pub const TRANSACTION: Fact = Fact::bytes(PROTOCOL, 3, "transaction", 12);
/// Address of the client, as the server saw it.
pub const MAPPED_ADDRESS: Fact = Fact::address(PROTOCOL, 4, "mapped_address");
/// Port of the client, as the server saw it.
pub const MAPPED_PORT: Fact = Fact::number(PROTOCOL, 5, "mapped_port");
/// Address that a TURN server lends.
pub const RELAYED_ADDRESS: Fact = Fact::address(PROTOCOL, 6, "relayed_address");
/// Port that a TURN server lends.
pub const RELAYED_PORT: Fact = Fact::number(PROTOCOL, 7, "relayed_port");
/// Peer behind a TURN server.
pub const PEER_ADDRESS: Fact = Fact::address(PROTOCOL, 8, "peer_address").repeated(4);
/// Product.
pub const SOFTWARE: Fact = Fact::text(PROTOCOL, 9, "software", 128);
/// User, or the two fragments of ICE.
pub const USER_NAME: Fact = Fact::text(PROTOCOL, 10, "user_name", 255);
/// Realm of the user.
pub const REALM: Fact = Fact::text(PROTOCOL, 11, "realm", 128);
/// Code of an error.
pub const ERROR_CODE: Fact = Fact::number(PROTOCOL, 12, "error_code");

/// All facts.
#[rustfmt::skip]
pub const FACTS: &[Fact] = &[
    CLASS, METHOD, TRANSACTION, MAPPED_ADDRESS, MAPPED_PORT, RELAYED_ADDRESS, RELAYED_PORT, PEER_ADDRESS, SOFTWARE, USER_NAME,
    REALM, ERROR_CODE,
];

/// Attributes run out of the message.
pub const MALFORMED: Anomaly = Anomaly::new(PROTOCOL, 1, "malformed");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED];

const HEADER_BYTES: usize = 20;
const COOKIE: u32 = 0x2112_a442;
/// Messages of others in a row before nothing more is expected.
pub(super) const OTHERS_MAX: u8 = 64;

struct Header<'a> {
    kind: u16,
    cookie: u32,
    transaction: [u8; 12],
    attributes: Reader<'a>,
}

/// The header, when the message that it tells is there whole.
fn header(bytes: &[u8]) -> Option<Header<'_>> {
    let mut reader = Reader::new(bytes);
    let (kind, length) = (reader.be16()?, reader.be16()?);
    let (cookie, transaction) = (reader.be32()?, reader.array()?);
    let attributes = reader.part(usize::from(length))?;
    (kind < 0x4000).then_some(Header { kind, cookie, transaction, attributes })
}

/// STUN? The cookie at its place and a length that fits; without the cookie (RFC 3489) known kinds and attributes only.
pub fn probe(look: &Look<'_>) -> Match {
    if !look.is_datagram {
        return probe_stream(look.bytes);
    }
    let Some(header) = header(look.bytes) else { return Match::No };
    let is_whole = header.attributes.len() + HEADER_BYTES == look.bytes.len();
    let is = is_whole && (header.cookie == COOKIE && fits(header.attributes) || is_classic(&header));
    if is { Match::Yes } else { Match::No }
}

/// On a stream: kind, length and cookie at the front (RFC 8489 section 6.2.2).
fn probe_stream(bytes: &[u8]) -> Match {
    let begins = |at: usize, wanted: &[u8]| wanted.iter().zip(bytes.iter().skip(at)).all(|(a, b)| a == b);
    let kind_fits = bytes.first().is_none_or(|byte| *byte < 0x40) && bytes.get(3).is_none_or(|byte| byte % 4 == 0);
    match (kind_fits && begins(4, &COOKIE.to_be_bytes()), bytes.len() >= 8) {
        (false, _) => Match::No,
        (true, true) => Match::Yes,
        (true, false) => Match::Maybe,
    }
}

/// Do the attributes end where the message ends?
fn fits(mut attributes: Reader<'_>) -> bool {
    while !attributes.is_empty() {
        if next(&mut attributes).is_none() {
            return false;
        }
    }
    true
}

/// RFC 3489 had no cookie: a kind of its six, and attributes of its time or of the vendors that still speak it.
fn is_classic(header: &Header<'_>) -> bool {
    let mut attributes = header.attributes;
    let kind_is_known = matches!(header.kind, 1 | 0x101 | 0x111 | 3 | 0x103 | 0x113 | 4 | 0x104 | 0x114);
    // An attribute takes four bytes at least, so this ends.
    while !attributes.is_empty() {
        let Some((kind, value)) = next(&mut attributes) else { return false };
        let is_known =
            matches!(kind, 1..=0x20 | 0x8000..=0x80ff) && (kind != 1 || value.len() == 8 || value.len() == 20);
        if !is_known {
            return false;
        }
    }
    kind_is_known && !header.attributes.is_empty()
}

/// The next attribute; values are filled up to four bytes, the last perhaps not.
fn next<'a>(attributes: &mut Reader<'a>) -> Option<(u16, &'a [u8])> {
    let (kind, length) = (attributes.be16()?, usize::from(attributes.be16()?));
    let value = attributes.take(length)?;
    attributes.take((length.wrapping_neg() & 3).min(attributes.len()))?;
    Some((kind, value))
}

/// Is it a stream, and how many messages of others were there in a row?
#[derive(Default)]
pub struct State {
    is_stream: bool,
    others: u8,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    /// A state for a stream.
    pub fn stream() -> State {
        State { is_stream: true, others: 0 }
    }

    fn other(&mut self, bytes: usize, out: &mut dyn Output) -> Step {
        self.others = self.others.saturating_add(1);
        if self.others > OTHERS_MAX {
            out.limit();
            return Step::Done;
        }
        Step::Took(bytes)
    }
}

impl Parse for State {
    fn begin(&mut self, look: &Look<'_>) {
        self.is_stream = !look.is_datagram;
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        out.facts().sent_by(side);
        let mut taken = bytes.len();
        if self.is_stream {
            let &[first, _, high, low, ..] = bytes else { return Step::Need(4) };
            let length = usize::from(u16::from_be_bytes([high, low]));
            // Data of a channel (RFC 8656 section 12.5) stands between, filled up to four bytes.
            match first {
                0x40..=0x4f => return Step::Skip((4 + length as u64).next_multiple_of(4)),
                0x50.. => return Step::Done,
                _ => taken = HEADER_BYTES + length,
            }
            if bytes.len() < taken {
                return Step::Need(taken);
            }
        }
        let message = bytes.get(..taken).unwrap_or(bytes);
        match header(message) {
            Some(header) if header.cookie == COOKIE || is_classic(&header) => {
                self.others = 0;
                read(header, out);
                Step::Took(taken)
            }
            _ => self.other(taken, out),
        }
    }
}

fn read(mut header: Header<'_>, out: &mut dyn Output) {
    let kind = header.kind;
    // RFC 8489 section 5: the two bits of the class stand between those of the method.
    out.facts().put_number(CLASS, u64::from(kind >> 7 & 2 | kind >> 4 & 1));
    out.facts().put_number(METHOD, u64::from(kind >> 2 & 0xf80 | kind >> 1 & 0x70 | kind & 15));
    out.facts().put(TRANSACTION, &header.transaction);
    while !header.attributes.is_empty() {
        let Some((kind, value)) = next(&mut header.attributes) else {
            out.anomaly(MALFORMED);
            break;
        };
        attribute(kind, value, &header.transaction, out);
    }
    out.event();
}

fn attribute(kind: u16, value: &[u8], transaction: &[u8; 12], out: &mut dyn Output) {
    match kind {
        0x0001 => address(value, None, MAPPED_ADDRESS, Some(MAPPED_PORT), out),
        0x0020 | 0x8020 => address(value, Some(transaction), MAPPED_ADDRESS, Some(MAPPED_PORT), out),
        0x0016 => address(value, Some(transaction), RELAYED_ADDRESS, Some(RELAYED_PORT), out),
        0x0012 => address(value, Some(transaction), PEER_ADDRESS, None, out),
        0x0006 => out.facts().put(USER_NAME, value),
        0x0014 => out.facts().put(REALM, value),
        0x8022 => {
            // Some fill it up with zeros inside its length.
            let end = value.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            out.facts().put(SOFTWARE, value.get(..end).unwrap_or_default());
        }
        0x0009 => {
            if let [_, _, class, number, ..] = *value {
                out.facts().put_number(ERROR_CODE, u64::from(class & 7) * 100 + u64::from(number));
            }
        }
        _ => {}
    }
}

/// An address (RFC 8489 sections 14.1 and 14.2), with `mask` mixed with cookie and transaction.
fn address(value: &[u8], mask: Option<&[u8; 12]>, fact: Fact, port_fact: Option<Fact>, out: &mut dyn Output) {
    let Some((&[_, family, high, low], bytes)) = value.split_first_chunk::<4>() else { return };
    let (mut port, mut address) = (u16::from_be_bytes([high, low]), [0; 16]);
    let length = if family == 2 { 16 } else { 4 };
    if bytes.len() != length {
        return;
    }
    address.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    if let Some(transaction) = mask {
        port ^= (COOKIE >> 16) as u16;
        let pad = COOKIE.to_be_bytes().into_iter().chain(*transaction);
        address.iter_mut().zip(pad).for_each(|(to, with)| *to ^= with);
    }
    out.facts().put(fact, address.get(..length).unwrap_or_default());
    if let Some(fact) = port_fact {
        out.facts().put_number(fact, port.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{datagram, show, show_one, stream, torment_datagram, torment_stream};

    const PORTS: [u16; 2] = [40_000, 3478];
    /// RFC 5769 section 2.2, without integrity and fingerprint.
    const ANSWER: &[u8] = b"\x01\x01\0\x1c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\0\x0btest vector \0\x20\0\x08\0\x01\xa1\x47\xe1\x12\xa6\x43";
    const REQUEST: &[u8] = b"\0\x01\0\x0f\x21\x12\xa4\x42abcdefghijkl\0\x06\0\x03a:b\0\0\x14\0\x03x.y";

    #[test]
    fn the_example_of_the_specification_is_read() {
        let facts = show_one::<State>(ANSWER).events.remove(0);
        assert_eq!((facts.number(CLASS), facts.number(METHOD)), (Some(2), Some(1)));
        assert_eq!((facts.get(MAPPED_ADDRESS), facts.number(MAPPED_PORT)), (Some(&[192, 0, 2, 1][..]), Some(32853)));
        assert_eq!(facts.get(SOFTWARE), Some(&b"test vector"[..]));
        torment_datagram::<State>(ANSWER, PORTS, probe);
        assert_eq!(probe(&datagram(ANSWER, [1, 2])), Match::Yes);
        assert_eq!(probe(&datagram(&ANSWER[..40], PORTS)), Match::No);
    }

    #[test]
    fn streams_are_read_with_data_of_channels_between() {
        let bytes = [ANSWER, b"\x40\x01\0\x05hello\0\0\0", ANSWER].concat();
        let out = torment_stream(State::stream, &bytes, PORTS, probe);
        assert_eq!(out.events.len(), 2);
        assert_eq!(probe(&stream(b"GET / HTTP/1.1\r\n", PORTS)), Match::No);
    }

    #[test]
    fn others_in_the_flow_are_passed_over_but_not_for_ever() {
        let facts = show_one::<State>(REQUEST).events;
        assert_eq!(facts.len(), 1, "the last attribute is not filled up");
        let media = (Side::Originator, &[0x80; 40][..]);
        let answer = (Side::Responder, ANSWER);
        let mut flow = vec![answer];
        flow.extend([media; 60]);
        flow.push(answer);
        assert_eq!(show::<State>(&flow).events.len(), 2);
        flow.extend([media; 70]);
        flow.push(answer);
        assert_eq!(show::<State>(&flow).events.len(), 2);
        let classic = b"\0\x01\0\x08\x01\x02\x03\x04abcdefghijkl\0\x03\0\x04\0\0\0\x06";
        assert_eq!(probe(&datagram(classic, [1, 2])), Match::Yes);
        assert_eq!(probe(&datagram(&[0; 20], PORTS)), Match::No);
    }
}
