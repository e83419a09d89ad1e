//! JA3, JA3S and JA4 from the facts of an event.
//!
//! Pure functions for the control plane, where an event is written: they allocate. JA3 and JA3S are Salesforce's (BSD-3),
//! JA4 for clients is FoxIO's under BSD-3. The rest of the JA4 family is under another licence and deliberately not here.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::super::facts::{Fact, Facts};
use super::facts::HelloFacts;

/// What carried the hello: the first letter of a JA4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TLS over TCP.
    Tcp,
    /// QUIC.
    Quic,
    /// DTLS.
    Dtls,
}

/// A value reserved so that servers learn to ignore what they do not know (RFC 8701).
pub fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// JA3 as text: version, ciphers, extensions, groups, point formats. `None` without a client's hello, or not all of it.
pub fn ja3(facts: &Facts, names: &HelloFacts) -> Option<String> {
    are_whole(facts, &[names.ciphers, names.extensions, names.groups, names.point_formats])?;
    let mut text = String::with_capacity(TEXT_BYTES);
    push_number(facts.number(names.client_version)?, &mut text);
    for fact in [names.ciphers, names.extensions, names.groups] {
        text.push(',');
        push_dashes(list(facts.get(fact)), &mut text);
    }
    text.push(',');
    push_dashes(facts.get(names.point_formats).unwrap_or_default().iter().map(|one| u16::from(*one)), &mut text);
    Some(text)
}

/// JA3S as text: version, cipher, extensions. `None` without a server's hello, or not all of it.
pub fn ja3s(facts: &Facts, names: &HelloFacts) -> Option<String> {
    are_whole(facts, &[names.server_extensions])?;
    let (version, cipher) = (facts.number(names.server_version)?, facts.number(names.cipher)?);
    let mut text = String::with_capacity(TEXT_BYTES);
    push_number(version, &mut text);
    text.push(',');
    push_number(cipher, &mut text);
    text.push(',');
    push_dashes(every(facts.get(names.server_extensions)), &mut text);
    Some(text)
}

/// MD5 of a JA3 or JA3S in hex: the form that indicators have.
pub fn md5_hex(text: &str) -> String {
    let mut hash = String::with_capacity(32);
    push_hex(&Md5::digest(text.as_bytes()), &mut hash);
    hash
}

/// JA4 of a client. `None` without its hello, or not all of it.
pub fn ja4(facts: &Facts, names: &HelloFacts, transport: Transport) -> Option<String> {
    let (mut text, ciphers, others) = ja4_parts(facts, names, transport)?;
    for part in [ciphers, others] {
        text.push('_');
        push_sha256_12(&part, &mut text);
    }
    Some(text)
}

/// JA4 before hashing (`JA4_r`), to be read by people.
pub fn ja4_raw(facts: &Facts, names: &HelloFacts, transport: Transport) -> Option<String> {
    let (parts, ciphers, others) = ja4_parts(facts, names, transport)?;
    Some(format!("{parts}_{ciphers}_{others}"))
}

const SNI: u16 = 0;
const ALPN: u16 = 16;

fn ja4_parts(facts: &Facts, names: &HelloFacts, transport: Transport) -> Option<(String, String, String)> {
    are_whole(facts, &[names.versions, names.ciphers, names.extensions, names.signature_algorithms])?;
    let legacy = facts.number(names.client_version)? as u16; // two bytes of the hello
    let offered = list(facts.get(names.versions)).max();
    let mut ciphers: Vec<u16> = list(facts.get(names.ciphers)).collect();
    let mut extensions: Vec<u16> = list(facts.get(names.extensions)).collect();
    let mut parts = String::new();
    let _ = write!(
        parts,
        "{}{}{}{:02}{:02}{}",
        match transport {
            Transport::Tcp => 't',
            Transport::Quic => 'q',
            Transport::Dtls => 'd',
        },
        version(offered.unwrap_or(legacy)),
        if extensions.contains(&SNI) { 'd' } else { 'i' },
        ciphers.len().min(99),
        extensions.len().min(99),
        alpn(facts.get(names.client_alpn)),
    );
    extensions.retain(|one| !matches!(*one, SNI | ALPN));
    ciphers.sort_unstable();
    extensions.sort_unstable();
    let mut others = commas(extensions.into_iter());
    let algorithms = commas(list(facts.get(names.signature_algorithms)));
    if !algorithms.is_empty() {
        others.push('_');
        others.push_str(&algorithms);
    }
    Some((parts, commas(ciphers.into_iter()), others))
}

/// Of a list that fills its fact there may have been more: a fingerprint of what is left of it would be another client's.
fn are_whole(facts: &Facts, lists: &[Fact]) -> Option<()> {
    let is_whole = |list: &Fact| facts.get(*list).is_none_or(|value| value.len() < usize::from(list.limit));
    lists.iter().all(is_whole).then_some(())
}

fn version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0200 | 0x0002 => "s2",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    }
}

/// First and last letter of the first name; see the specification for names of other bytes.
fn alpn(name: Option<&[u8]>) -> String {
    match name {
        Some([first, .., last]) => marks(*first, *last),
        Some([only]) => marks(*only, *only),
        _ => "00".to_owned(),
    }
}

fn marks(first: u8, last: u8) -> String {
    match first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        true => [char::from(first), char::from(last)].iter().collect(),
        false => "99".to_owned(),
    }
}

/// Values of two bytes each without GREASE.
fn list(bytes: Option<&[u8]>) -> impl Iterator<Item = u16> {
    every(bytes).filter(|one| !is_grease(*one))
}

fn every(bytes: Option<&[u8]>) -> impl Iterator<Item = u16> {
    bytes
        .unwrap_or_default()
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |value, byte| value << 8 | u16::from(*byte)))
}

/// Room for what nearly all hellos come to.
const TEXT_BYTES: usize = 256;

// By hand, all of them: a hello has some hundred numbers, and `format!` takes ten times as many instructions for each.

fn push_dashes(values: impl Iterator<Item = u16>, text: &mut String) {
    for (at, value) in values.enumerate() {
        if at > 0 {
            text.push('-');
        }
        push_number(value.into(), text);
    }
}

fn push_number(number: u64, text: &mut String) {
    if number >= 10 {
        push_number(number / 10, text);
    }
    text.push(char::from(b'0' + (number % 10) as u8)); // below 10
}

fn commas(values: impl Iterator<Item = u16>) -> String {
    let mut text = String::with_capacity(TEXT_BYTES);
    for (at, value) in values.enumerate() {
        if at > 0 {
            text.push(',');
        }
        push_hex(&value.to_be_bytes(), &mut text);
    }
    text
}

/// First twelve digits of SHA-256; zeros for nothing.
fn push_sha256_12(text: &str, to: &mut String) {
    match text {
        "" => to.push_str("000000000000"),
        _ => push_hex(Sha256::digest(text.as_bytes()).get(..6).unwrap_or_default(), to),
    }
}

fn push_hex(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
        }
    }
}
