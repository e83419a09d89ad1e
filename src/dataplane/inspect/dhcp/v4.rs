//! Version 4: a fixed header with a cookie, and options of one byte each for kind and length.

use super::*;
use crate::dataplane::inspect::bytes::Reader;
use crate::dataplane::inspect::http::secrets;

/// Where the cookie stands, and what it is (RFC 2132 section 2).
const COOKIE_AT: usize = 236;
const COOKIE: &[u8; 4] = &[0x63, 0x82, 0x53, 0x63];

/// Is it a message of version 4?
pub fn is(bytes: &[u8]) -> bool {
    matches!(bytes, [1 | 2, _, 0..=16, ..]) && bytes.get(COOKIE_AT..COOKIE_AT + 4) == Some(COOKIE)
}

/// Reads header and options.
pub fn read(bytes: &[u8], out: &mut dyn Output) -> Option<()> {
    let mut reader = Reader::new(bytes);
    let (message, _kind, mac_bytes, _hops) = (reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?);
    out.facts().put_number(VERSION, 4);
    out.facts().put_number(MESSAGE, message.into());
    out.facts().put_number(ID, reader.be32()?.into());
    let (_seconds, _flags) = (reader.be16()?, reader.be16()?);
    for fact in [CLIENT_IP, ASSIGNED_IP, NEXT_SERVER_IP, RELAY_IP] {
        let address = reader.array::<4>()?;
        if address != [0; 4] {
            out.facts().put(fact, &address);
        }
    }
    let mac = reader.take(16)?;
    out.facts().put(CLIENT_MAC, mac.get(..usize::from(mac_bytes))?);
    let mut options = Reader::new(bytes.get(COOKIE_AT + 4..)?);
    while let Some(kind) = options.u8() {
        match kind {
            0 => {}
            255 => return Some(()),
            _ => {
                let length = options.u8()?;
                option(kind, options.take(usize::from(length))?, out);
            }
        }
    }
    out.anomaly(NO_END);
    Some(())
}

fn option(kind: u8, value: &[u8], out: &mut dyn Output) {
    let facts = out.facts();
    match kind {
        1 => address(SUBNET_MASK, value, out),
        3 => addresses(ROUTER, value, out),
        6 => addresses(DNS_SERVER, value, out),
        12 => facts.put(HOSTNAME, trim(value)),
        15 => facts.put(DOMAIN, trim(value)),
        50 => address(REQUESTED_IP, value, out),
        51 => number(LEASE_TIME, value, out),
        53 => facts.put_number(TYPE, value.first().copied().unwrap_or_default().into()),
        54 => address(SERVER_ID, value, out),
        55 => facts.put(PARAMETERS, value),
        58 => number(RENEWAL_TIME, value, out),
        59 => number(REBINDING_TIME, value, out),
        60 => facts.put(VENDOR_CLASS, trim(value)),
        61 => facts.put(CLIENT_ID, value),
        81 => fqdn(value, out),
        252 => facts.put(WPAD_URL, secrets::told(trim(value), &mut secrets::Places::<256>::default())),
        _ => {}
    }
}

/// Some end their text with zeros.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., 0] = text {
        text = rest;
    }
    text
}

fn number(fact: Fact, value: &[u8], out: &mut dyn Output) {
    if let Ok(bytes) = <[u8; 4]>::try_from(value) {
        out.facts().put_number(fact, u32::from_be_bytes(bytes).into());
    }
}

fn address(fact: Fact, value: &[u8], out: &mut dyn Output) {
    if value.len() == 4 {
        out.facts().put(fact, value);
    }
}

fn addresses(fact: Fact, value: &[u8], out: &mut dyn Output) {
    value.chunks_exact(4).for_each(|one| out.facts().put(fact, one));
}

/// RFC 4702 section 2: flags, two codes, and a name, as text or (flag E) as labels.
fn fqdn(value: &[u8], out: &mut dyn Output) {
    let Some((&[flags, _, _], name)) = value.split_first_chunk::<3>() else { return };
    if flags & 4 == 0 {
        out.facts().put(FQDN, trim(name));
    } else {
        super::v6::name(FQDN, name, out);
    }
}
