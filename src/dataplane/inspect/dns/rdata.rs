//! Data of records as text, for the types that people read.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::name::{self, Budget, NameText};
use crate::dataplane::inspect::bytes::Reader;

/// Types whose data is read; numbers of the IANA registry "Resource Record (RR) TYPEs".
pub mod types {
    /// RFC 1035.
    pub const A: u16 = 1;
    /// RFC 1035.
    pub const NS: u16 = 2;
    /// RFC 1035.
    pub const CNAME: u16 = 5;
    /// RFC 1035.
    pub const SOA: u16 = 6;
    /// RFC 1035.
    pub const NULL: u16 = 10;
    /// RFC 1035.
    pub const PTR: u16 = 12;
    /// RFC 1035.
    pub const MX: u16 = 15;
    /// RFC 1035.
    pub const TXT: u16 = 16;
    /// RFC 3596.
    pub const AAAA: u16 = 28;
    /// RFC 2782.
    pub const SRV: u16 = 33;
    /// RFC 6672.
    pub const DNAME: u16 = 39;
    /// RFC 6891.
    pub const OPT: u16 = 41;
    /// RFC 4255.
    pub const SSHFP: u16 = 44;
    /// RFC 9460.
    pub const SVCB: u16 = 64;
    /// RFC 9460.
    pub const HTTPS: u16 = 65;
}

/// Adds the data at `at..end` of `message` to `text`; gives nothing where the data is not as its type wants it. Numbers and
/// names are separated by one space (no name has one), the strings of a TXT record by a line feed.
pub fn read(message: &[u8], kind: u16, at: usize, end: usize, text: &mut NameText, budget: &mut Budget) -> Option<()> {
    let data = message.get(at..end)?;
    match kind {
        types::A => text.print(format_args!("{}", Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?))),
        types::AAAA => text.print(format_args!("{}", Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?))),
        types::NS | types::CNAME | types::PTR | types::DNAME => drop(name::read(message, at, text, budget).ok()?),
        types::MX => numbers_and_name(message, at, 1, text, budget)?,
        types::SRV => numbers_and_name(message, at, 3, text, budget)?,
        types::SOA => soa(message, at, text, budget)?,
        types::TXT => strings(Reader::new(data), text)?,
        types::SVCB | types::HTTPS => service(message, at, end, text, budget)?,
        types::NULL => text.extend(data),
        types::SSHFP => {
            let mut data = Reader::new(data);
            text.print(format_args!("{} {} ", data.u8()?, data.u8()?));
            text.extend_hex(data.rest());
        }
        _ => return None,
    }
    Some(())
}

/// `count` numbers of two bytes, and a name.
fn numbers_and_name(message: &[u8], at: usize, count: usize, text: &mut NameText, budget: &mut Budget) -> Option<()> {
    let mut data = Reader::new(message.get(at..)?);
    for _ in 0..count {
        text.print(format_args!("{} ", data.be16()?));
    }
    name::read(message, at + 2 * count, text, budget).ok().map(drop)
}

/// RFC 1035 section 3.3.13.
fn soa(message: &[u8], at: usize, text: &mut NameText, budget: &mut Budget) -> Option<()> {
    let at = name::read(message, at, text, budget).ok()?;
    text.push(b' ');
    let at = name::read(message, at, text, budget).ok()?;
    let mut data = Reader::new(message.get(at..)?);
    for _ in 0..5 {
        text.print(format_args!(" {}", data.be32()?));
    }
    Some(())
}

/// RFC 1035 section 3.3.14.
fn strings(mut data: Reader<'_>, text: &mut NameText) -> Option<()> {
    let mut first = true;
    while let Some(length) = data.u8() {
        if !first {
            text.push(b'\n');
        }
        first = false;
        text.extend(data.take(usize::from(length))?);
    }
    Some(())
}

/// RFC 9460 section 2.2: priority, target, and the parameters that name a protocol, a port or an address.
fn service(message: &[u8], at: usize, end: usize, text: &mut NameText, budget: &mut Budget) -> Option<()> {
    numbers_and_name(message, at, 1, text, budget)?;
    let at = name::skip(message, at + 2)?;
    let mut data = Reader::new(message.get(at..end)?);
    while !data.is_empty() {
        let (key, length) = (data.be16()?, data.be16()?);
        parameter(key, data.part(usize::from(length))?, text)?;
    }
    Some(())
}

/// One parameter (RFC 9460 section 14.3.2). The configuration for ECH is told to be there, not shown.
fn parameter(key: u16, mut value: Reader<'_>, text: &mut NameText) -> Option<()> {
    match key {
        1 => {
            let mut sign = " alpn=";
            while let Some(length) = value.u8() {
                text.extend(sign.as_bytes());
                name::push_label(text, value.take(usize::from(length))?);
                sign = ",";
            }
        }
        2 => text.extend(b" no-default-alpn"),
        3 => text.print(format_args!(" port={}", value.be16()?)),
        4 => {
            let mut sign = " ipv4hint=";
            while let Some(address) = value.array::<4>() {
                text.print(format_args!("{sign}{}", Ipv4Addr::from(address)));
                sign = ",";
            }
        }
        5 => text.extend(b" ech"),
        6 => {
            let mut sign = " ipv6hint=";
            while let Some(address) = value.array::<16>() {
                text.print(format_args!("{sign}{}", Ipv6Addr::from(address)));
                sign = ",";
            }
        }
        _ => text.print(format_args!(" key{key}")),
    }
    Some(())
}
