//! RADIUS (RFC 2865, RFC 2866, RFC 5176), one event a message.
//!
//! Reads who wants in, through which device, with which answer. It deliberately does not: keep passwords, hidden or not,
//! challenges, keys or messages of EAP.
//!
//! Bounds: attributes are those of the length field, at most 4096 bytes (RFC 2865 section 3).
//!
//! EVE has no object for it.

use super::bytes::Reader;
use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Radius;
/// 1 request, 2 accept, 3 reject, 4 and 5 accounting, 11 challenge, 40 to 45 changes.
pub const CODE: Fact = Fact::number(PROTOCOL, 1, "code");
/// Number of the request.
pub const ID: Fact = Fact::number(PROTOCOL, 2, "id");
/// User.
pub const USER_NAME: Fact = Fact::text(PROTOCOL, 3, "user_name", 253);
/// Device that asks, by address.
pub const NAS_IP: Fact = Fact::address(PROTOCOL, 4, "nas_ip");
/// Device that asks, by name.
pub const NAS_IDENTIFIER: Fact = Fact::text(PROTOCOL, 5, "nas_identifier", 253);
/// Where the user is: often a MAC address.
pub const CALLING_STATION: Fact = Fact::text(PROTOCOL, 6, "calling_station", 128);
/// Where the user comes in: often a MAC address and the name of a network.
pub const CALLED_STATION: Fact = Fact::text(PROTOCOL, 7, "called_station", 128);
/// Address that the user gets.
pub const FRAMED_IP: Fact = Fact::address(PROTOCOL, 8, "framed_ip");
/// What the user wants.
pub const SERVICE_TYPE: Fact = Fact::number(PROTOCOL, 9, "service_type");
/// Way in.
pub const NAS_PORT_TYPE: Fact = Fact::number(PROTOCOL, 10, "nas_port_type");
/// 1 start, 2 stop, 3 update.
pub const ACCOUNTING_STATUS: Fact = Fact::number(PROTOCOL, 11, "accounting_status");
/// Words for the user.
pub const REPLY_MESSAGE: Fact = Fact::text(PROTOCOL, 12, "reply_message", 253);
/// Number of the session.
pub const SESSION: Fact = Fact::text(PROTOCOL, 13, "session", 128);
/// Is a password in it (1), or an answer to CHAP (2)? Never what it is.
pub const PASSWORD_KIND: Fact = Fact::number(PROTOCOL, 14, "password_kind");

/// All facts.
#[rustfmt::skip]
pub const FACTS: &[Fact] = &[
    CODE, ID, USER_NAME, NAS_IP, NAS_IDENTIFIER, CALLING_STATION, CALLED_STATION, FRAMED_IP, SERVICE_TYPE, NAS_PORT_TYPE,
    ACCOUNTING_STATUS, REPLY_MESSAGE, SESSION, PASSWORD_KIND,
];

/// Lengths that do not fit.
pub const MALFORMED: Anomaly = Anomaly::new(PROTOCOL, 1, "malformed");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED];

const HEADER_BYTES: usize = 20;
pub(super) const LENGTH_MAX: usize = 4096;
const PORTS: [u16; 6] = [1812, 1813, 1645, 1646, 1700, 3799];

/// Code, number, and the attributes behind the authenticator.
fn front(bytes: &[u8]) -> Option<(u8, u8, Reader<'_>)> {
    let mut reader = Reader::new(bytes);
    let (code, id, length) = (reader.u8()?, reader.u8()?, usize::from(reader.be16()?));
    if length > LENGTH_MAX || !matches!(code, 1..=5 | 11..=13 | 40..=45) {
        return None;
    }
    reader.take(HEADER_BYTES - 4)?;
    Some((code, id, reader.part(length.checked_sub(HEADER_BYTES)?)?))
}

fn next<'a>(attributes: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let (kind, length) = (attributes.u8()?, attributes.u8()?);
    Some((kind, attributes.take(usize::from(length).checked_sub(2)?)?))
}

/// RADIUS? A known code and a length that is the datagram's; at no known port also attributes that fill it, two at least,
/// and one of them such as every message has.
pub fn probe(look: &Look<'_>) -> Match {
    let at_port = PORTS.iter().any(|port| look.has_port(*port));
    let is = |bytes: &[u8]| {
        let (_, _, mut attributes) = front(bytes)?;
        let (mut is_known, mut count) = (false, 0);
        if attributes.len() + HEADER_BYTES != bytes.len() || !at_port && attributes.is_empty() {
            return None;
        }
        if at_port {
            return Some(());
        }
        while !attributes.is_empty() {
            let (kind, value) = next(&mut attributes)?;
            count += 1;
            is_known |= matches!((kind, value.len()), (4 | 6 | 40 | 61, 4) | (1 | 24 | 32 | 44 | 79, 1..));
            if kind == 0 {
                return None;
            }
        }
        (is_known && count > 1).then_some(())
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
    let (code, id, mut attributes) = front(bytes)?;
    out.facts().put_number(CODE, code.into());
    out.facts().put_number(ID, id.into());
    while !attributes.is_empty() {
        let (kind, value) = next(&mut attributes)?;
        attribute(kind, value, out);
    }
    Some(())
}

/// RFC 2865 section 5, RFC 2866 section 5.
fn attribute(kind: u8, value: &[u8], out: &mut dyn Output) {
    let text = match kind {
        1 => USER_NAME,
        18 => REPLY_MESSAGE,
        30 => CALLED_STATION,
        31 => CALLING_STATION,
        32 => NAS_IDENTIFIER,
        44 => SESSION,
        2 | 3 => return out.facts().put_number(PASSWORD_KIND, u64::from(kind - 1)),
        4 | 8 | 95 if matches!(value.len(), 4 | 16) => {
            if kind == 8 {
                FRAMED_IP
            } else {
                NAS_IP
            }
        }
        6 | 40 | 61 => {
            let fact = match kind {
                6 => SERVICE_TYPE,
                40 => ACCOUNTING_STATUS,
                _ => NAS_PORT_TYPE,
            };
            if let Ok(bytes) = <[u8; 4]>::try_from(value) {
                out.facts().put_number(fact, u32::from_be_bytes(bytes).into());
            }
            return;
        }
        _ => return,
    };
    out.facts().put(text, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{datagram, show_one, torment_datagram};

    fn request() -> Vec<u8> {
        let mut bytes = vec![1, 7, 0, 0];
        bytes.extend([0xaa; 16]);
        bytes.extend(b"\x01\x07alice\x02\x12secret.secret.se\x04\x06\xc0\0\x02\x01\x1f\x0502-\x3d\x06\0\0\0\x13");
        bytes[3] = bytes.len() as u8;
        bytes
    }

    #[test]
    fn users_are_read_and_passwords_are_not() {
        let facts = show_one::<State>(&request()).events.remove(0);
        assert_eq!((facts.number(CODE), facts.get(USER_NAME)), (Some(1), Some(&b"alice"[..])));
        assert_eq!((facts.get(NAS_IP), facts.number(NAS_PORT_TYPE)), (Some(&[192, 0, 2, 1][..]), Some(19)));
        assert_eq!(facts.number(PASSWORD_KIND), Some(1));
        assert!(!facts.as_bytes().windows(6).any(|part| part == b"secret"));
        assert_eq!(probe(&datagram(&request(), [1, 2])), Match::Yes);
        torment_datagram::<State>(&request(), [1, 1812], probe);
        let accept = [&[2, 7, 0, 20][..], &[0xbb; 16]].concat();
        assert_eq!(probe(&datagram(&accept, [1, 1812])), Match::Yes);
        assert_eq!(probe(&datagram(&accept, [1, 2])), Match::No);
        assert_eq!(show_one::<State>(&[1, 7, 0, 99]).anomalies, ["malformed"]);
    }
}
