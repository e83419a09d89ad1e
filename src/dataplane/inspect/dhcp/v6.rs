//! Version 6: a kind, a number, and options of two bytes each for kind and length (RFC 8415 sections 8, 9 and 21).

use super::*;
use crate::dataplane::inspect::bytes::Reader;
use crate::dataplane::inspect::text::Text;

/// Relays looked through (RFC 8415 section 7.6 allows 32 hops; nobody has four).
pub(in crate::dataplane::inspect) const RELAYS_MAX: usize = 4;
const RELAY_FORWARD: u8 = 12;
const RELAY_REPLY: u8 = 13;

/// Is it a message of version 6? Options must end where it ends; without a known port a client's identifier must be there.
pub fn is(bytes: &[u8], at_port: bool) -> bool {
    is_within(bytes, at_port, RELAYS_MAX)
}

fn is_within(bytes: &[u8], at_port: bool, relays: usize) -> bool {
    let Some(options) = options(bytes) else { return false };
    let (mut reader, mut count, mut has_identity) = (Reader::new(options), 0, false);
    while !reader.is_empty() {
        let Some((kind, value)) = next(&mut reader) else { return false };
        count += 1;
        has_identity |= kind == 1 && matches!(value, [0, 1..=4, _, ..])
            || kind == 9 && relays.checked_sub(1).is_some_and(|left| is_within(value, true, left));
        if kind == 0 || kind > 0xff {
            return false;
        }
    }
    count > 0 && (at_port || has_identity && (count > 1 || bytes.first() >= Some(&RELAY_FORWARD)))
}

/// What follows the header, if the kind exists.
fn options(bytes: &[u8]) -> Option<&[u8]> {
    match *bytes.first()? {
        1..=11 | 14..=22 => bytes.get(4..),
        RELAY_FORWARD | RELAY_REPLY => bytes.get(34..),
        _ => None,
    }
}

fn next<'a>(reader: &mut Reader<'a>) -> Option<(u16, &'a [u8])> {
    let (kind, length) = (reader.be16()?, reader.be16()?);
    Some((kind, reader.take(usize::from(length))?))
}

/// Reads the message, through its relays.
pub fn read(bytes: &[u8], out: &mut dyn Output) -> Option<()> {
    out.facts().put_number(VERSION, 6);
    let mut message = bytes;
    for _ in 0..RELAYS_MAX {
        let [RELAY_FORWARD | RELAY_REPLY, ..] = message else { break };
        out.facts().put(RELAY_IP, message.get(2..18)?);
        message = relayed(message)?;
    }
    if let [RELAY_FORWARD | RELAY_REPLY, ..] = message {
        out.facts().mark_truncated();
    }
    let &[kind, a, b, c, ..] = message else { return None };
    out.facts().put_number(TYPE, kind.into());
    out.facts().put_number(MESSAGE, if matches!(kind, 2 | 7 | 10) { 2 } else { 1 });
    out.facts().put_number(ID, u32::from_be_bytes([0, a, b, c]).into());
    let mut reader = Reader::new(options(message)?);
    while !reader.is_empty() {
        let (kind, value) = next(&mut reader)?;
        option(kind, value, out);
    }
    Some(())
}

/// What a relay carries.
fn relayed(message: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(options(message)?);
    loop {
        let (kind, value) = next(&mut reader)?;
        if kind == 9 {
            return Some(value);
        }
    }
}

fn option(kind: u16, value: &[u8], out: &mut dyn Output) {
    match kind {
        1 => {
            out.facts().put(CLIENT_ID, value);
            if let [0, 1, 0, 1, _, _, _, _, mac @ ..] | [0, 3, 0, 1, mac @ ..] = value {
                out.facts().put(CLIENT_MAC, mac);
            }
        }
        2 => out.facts().put(SERVER_DUID, value),
        3 => association(value, 12, out),
        4 => association(value, 4, out),
        25 => association(value, 12, out),
        6 => out.facts().put(PARAMETERS, value),
        13 => status(value, out),
        16 => out.facts().put(VENDOR_CLASS, value.get(6..).unwrap_or_default()),
        23 => value.chunks_exact(16).for_each(|one| out.facts().put(DNS_SERVER, one)),
        24 => name(DOMAIN, value, out),
        39 => name(FQDN, value.get(1..).unwrap_or_default(), out),
        _ => {}
    }
}

fn status(value: &[u8], out: &mut dyn Output) {
    if let [high, low, ..] = *value {
        out.facts().put_number(STATUS, u16::from_be_bytes([high, low]).into());
    }
}

/// An association holds addresses (option 5), prefixes (option 26) and a status, behind `skip` bytes.
fn association(value: &[u8], skip: usize, out: &mut dyn Output) {
    let mut reader = Reader::new(value.get(skip..).unwrap_or_default());
    while let Some((kind, value)) = next(&mut reader) {
        let mut value = Reader::new(value);
        match kind {
            5 => {
                let (Some(address), Some(_), Some(valid)) = (value.take(16), value.be32(), value.be32()) else {
                    return;
                };
                out.facts().put(ASSIGNED_IP, address);
                out.facts().put_number(LEASE_TIME, valid.into());
            }
            26 => out.facts().put(PREFIX, value.rest().get(8..25).unwrap_or_default()),
            13 => status(value.rest(), out),
            _ => {}
        }
    }
}

/// The first name of a list in labels (RFC 8415 section 10); there are no pointers.
pub fn name(fact: Fact, value: &[u8], out: &mut dyn Output) {
    let (mut reader, mut text) = (Reader::new(value), Text::<255>::default());
    while let Some(length @ 1..64) = reader.u8() {
        let Some(label) = reader.take(usize::from(length)) else { return };
        if !text.is_empty() {
            text.push(b'.');
        }
        text.extend(label);
    }
    if !text.is_empty() {
        out.facts().put(fact, text.as_bytes());
    }
}
