//! JA3, JA3S and JA4 from the facts of an event.
//!
//! Pure functions for the control plane, where an event is written: they allocate. JA3 and JA3S are Salesforce's (BSD-3),
//! JA4 for clients is FoxIO's under BSD-3. The rest of the JA4 family is under another licence and deliberately not here.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::super::facts::Facts;
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

/// JA3 as text: version, ciphers, extensions, groups, point formats. `None` without a client's hello.
pub fn ja3(facts: &Facts, names: &HelloFacts) -> Option<String> {
    let version = facts.number(names.client_version)?;
    let formats = facts.get(names.point_formats).unwrap_or_default().iter().map(|one| u16::from(*one));
    Some(format!(
        "{version},{},{},{},{}",
        dashes(list(facts.get(names.ciphers))),
        dashes(list(facts.get(names.extensions))),
        dashes(list(facts.get(names.groups))),
        dashes(formats),
    ))
}

/// JA3S as text: version, cipher, extensions. `None` without a server's hello.
pub fn ja3s(facts: &Facts, names: &HelloFacts) -> Option<String> {
    let (version, cipher) = (facts.number(names.server_version)?, facts.number(names.cipher)?);
    let extensions = every(facts.get(names.server_extensions)).map(|one| one.to_string()).collect::<Vec<_>>();
    Some(format!("{version},{cipher},{}", extensions.join("-")))
}

/// MD5 of a JA3 or JA3S in hex: the form that indicators have.
pub fn md5_hex(text: &str) -> String {
    hex(&Md5::digest(text.as_bytes()))
}

/// JA4 of a client. `None` without its hello.
pub fn ja4(facts: &Facts, names: &HelloFacts, transport: Transport) -> Option<String> {
    let (parts, ciphers, others) = ja4_parts(facts, names, transport)?;
    Some(format!("{parts}_{}_{}", sha256_12(&ciphers), sha256_12(&others)))
}

/// JA4 before hashing (`JA4_r`), to be read by people.
pub fn ja4_raw(facts: &Facts, names: &HelloFacts, transport: Transport) -> Option<String> {
    let (parts, ciphers, others) = ja4_parts(facts, names, transport)?;
    Some(format!("{parts}_{ciphers}_{others}"))
}

const SNI: u16 = 0;
const ALPN: u16 = 16;

fn ja4_parts(facts: &Facts, names: &HelloFacts, transport: Transport) -> Option<(String, String, String)> {
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
        others = others + "_" + &algorithms;
    }
    Some((parts, commas(ciphers.into_iter()), others))
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

fn dashes(values: impl Iterator<Item = u16>) -> String {
    values.map(|one| one.to_string()).collect::<Vec<_>>().join("-")
}

fn commas(values: impl Iterator<Item = u16>) -> String {
    values.map(|one| format!("{one:04x}")).collect::<Vec<_>>().join(",")
}

/// First twelve digits of SHA-256; zeros for nothing.
fn sha256_12(text: &str) -> String {
    match text {
        "" => "0".repeat(12),
        _ => hex(&Sha256::digest(text.as_bytes())).chars().take(12).collect(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
