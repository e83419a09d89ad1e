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
    /// RFC 3403.
    pub const NAPTR: u16 = 35;
    /// RFC 6672.
    pub const DNAME: u16 = 39;
    /// RFC 6891.
    pub const OPT: u16 = 41;
    /// RFC 4034.
    pub const DS: u16 = 43;
    /// RFC 4255.
    pub const SSHFP: u16 = 44;
    /// RFC 4034.
    pub const RRSIG: u16 = 46;
    /// RFC 4034.
    pub const DNSKEY: u16 = 48;
    /// RFC 6698.
    pub const TLSA: u16 = 52;
    /// RFC 8162.
    pub const SMIMEA: u16 = 53;
    /// RFC 7344.
    pub const CDS: u16 = 59;
    /// RFC 7344.
    pub const CDNSKEY: u16 = 60;
    /// RFC 9460.
    pub const SVCB: u16 = 64;
    /// RFC 9460.
    pub const HTTPS: u16 = 65;
    /// RFC 8659.
    pub const CAA: u16 = 257;
}

/// Adds the data at `at..end` of `message` to `text`; gives nothing where the data is not as its type wants it. Numbers and
/// names are separated by one space (no name has one), the strings of a TXT record by a line feed (one within is `\010`).
/// Those that Suricata writes none of are as zone files have them.
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
        types::CAA => {
            let mut data = Reader::new(data);
            text.print(format_args!("{} ", data.u8()?));
            let length = data.u8()?;
            name::push_label(text, data.take(usize::from(length))?);
            text.push(b' ');
            push_quoted(text, data.rest());
        }
        types::NAPTR => naptr(message, at, text, budget)?,
        types::DS | types::CDS => {
            let mut data = Reader::new(data);
            text.print(format_args!("{} {} {} ", data.be16()?, data.u8()?, data.u8()?));
            text.extend_hex(data.rest());
        }
        types::TLSA | types::SMIMEA => {
            let mut data = Reader::new(data);
            text.print(format_args!("{} {} {} ", data.u8()?, data.u8()?, data.u8()?));
            text.extend_hex(data.rest());
        }
        types::DNSKEY | types::CDNSKEY => {
            let mut data = Reader::new(data);
            text.print(format_args!("{} {} {} ", data.be16()?, data.u8()?, data.u8()?));
            push_base64(text, data.rest());
        }
        types::RRSIG => signature(message, at, text, budget)?,
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

/// RFC 3403 section 4.1.
fn naptr(message: &[u8], at: usize, text: &mut NameText, budget: &mut Budget) -> Option<()> {
    let mut data = Reader::new(message.get(at..)?);
    text.print(format_args!("{} {}", data.be16()?, data.be16()?));
    let mut here = at + 4;
    for _ in 0..3 {
        let length = usize::from(data.u8()?);
        text.push(b' ');
        push_quoted(text, data.take(length)?);
        here += 1 + length;
    }
    text.push(b' ');
    name::read(message, here, text, budget).ok().map(drop)
}

/// RFC 4034 section 3.1: what is signed, by which key, from when to when. The signature itself is as long as all other records
/// together and tells nobody anything: it is left out.
fn signature(message: &[u8], at: usize, text: &mut NameText, budget: &mut Budget) -> Option<()> {
    let mut data = Reader::new(message.get(at..)?);
    let kind = data.be16()?;
    match super::type_name(kind) {
        Some(name) => text.extend(name.as_bytes()),
        None => text.print(format_args!("TYPE{kind}")),
    }
    text.print(format_args!(" {} {} {} ", data.u8()?, data.u8()?, data.be32()?));
    for _ in 0..2 {
        push_time(text, data.be32()?);
        text.push(b' ');
    }
    text.print(format_args!("{} ", data.be16()?));
    name::read(message, at + 18, text, budget).ok().map(drop)
}

/// Seconds since 1970 as `YYYYMMDDHHmmSS` (RFC 4034 section 3.2).
fn push_time(text: &mut NameText, seconds: u32) {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01; years then begin in March, and the leap day is their last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u32::from(month <= 2);
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    text.print(format_args!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}"));
}

/// A string as zone files have it (RFC 1035 section 5.1): in double quotes, with `\DDD` for what does not print.
fn push_quoted(text: &mut NameText, string: &[u8]) {
    text.push(b'"');
    for byte in string {
        match byte {
            b'"' | b'\\' => text.extend(&[b'\\', *byte]),
            0x20..=0x7e => text.push(*byte),
            _ => text.print(format_args!("\\{byte:03}")),
        }
    }
    text.push(b'"');
}

/// RFC 4648 section 4.
fn push_base64(text: &mut NameText, bytes: &[u8]) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let of = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = of(0) << 16 | of(1) << 8 | of(2);
        for at in 0..4_usize {
            let index = bits >> (18 - 6 * at) & 63;
            let letter = LETTERS.get(index as usize).copied().unwrap_or_default();
            text.push(if at <= chunk.len() { letter } else { b'=' });
        }
    }
}

/// RFC 1035 section 3.3.14.
fn strings(mut data: Reader<'_>, text: &mut NameText) -> Option<()> {
    let mut first = true;
    while let Some(length) = data.u8() {
        if !first {
            text.push(b'\n');
        }
        first = false;
        for byte in data.take(usize::from(length))? {
            match byte {
                b'\n' => text.extend(b"\\010"),
                _ => text.push(*byte),
            }
        }
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
