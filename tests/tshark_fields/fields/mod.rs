//! Which field of tshark's is which fact of ours, and under which condition.

mod internet;
mod local;

use crate::theirs::Row;
use shrike::dataplane::inspect::{Fact, Facts, Kind, Protocol, Value, number, tls};
use shrike::units::{SECOND, Timestamp};
use std::sync::LazyLock;

/// One thing that both sides tell.
pub struct Field {
    /// For the table.
    pub name: &'static str,
    /// Counted once a flow, where one side repeats it.
    pub once: bool,
    /// What the flow is, with us; either of several.
    pub protocols: &'static [Protocol],
    /// tshark's fields that the row is asked for.
    pub columns: &'static [&'static str],
    /// The values in a row.
    pub theirs: fn(&Row<'_>) -> Vec<String>,
    /// The values in an event.
    pub ours: fn(&[u8]) -> Vec<String>,
}

/// Every value of the first column.
fn first(row: &Row<'_>) -> Vec<String> {
    row.values(0)
}

/// Every value of all columns.
fn every(row: &Row<'_>) -> Vec<String> {
    (0..row.columns.len()).flat_map(|column| row.values(column)).collect()
}

/// Values of the first column, hexadecimal or not, in digits.
fn numbers(row: &Row<'_>) -> Vec<String> {
    row.values(0).iter().map(|text| digits(text)).collect()
}

fn digits(text: &str) -> String {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    number.map_or_else(|| text.to_owned(), |number| number.to_string())
}

/// The first column where the second has `wanted`.
fn where_second(row: &Row<'_>, wanted: &str) -> Vec<String> {
    if row.values(1).iter().any(|value| digits(value) == wanted) { row.values(0) } else { Vec::new() }
}

/// A fact as text, as digits, as an address, as hexadecimal digits.
fn shown(fact: Fact, value: &[u8]) -> String {
    match fact.kind {
        Kind::Text => String::from_utf8_lossy(value).into_owned(),
        Kind::Number => number(value).to_string(),
        Kind::Bytes => value.iter().map(|byte| format!("{byte:02x}")).collect(),
        Kind::Address => match (value.first_chunk::<4>(), value.first_chunk::<16>()) {
            (_, Some(bytes)) => std::net::Ipv6Addr::from(*bytes).to_string(),
            (Some(bytes), _) => std::net::Ipv4Addr::from(*bytes).to_string(),
            _ => String::new(),
        },
    }
}

/// Every value of these facts.
fn of(bytes: &[u8], facts: &[Fact]) -> Vec<String> {
    let shown = |value: Value<'_>| {
        let fact = facts.iter().find(|fact| (fact.protocol as u8, fact.index) == (value.protocol, value.index))?;
        Some(shown(*fact, value.value))
    };
    Facts::read(bytes).filter_map(shown).collect()
}

/// A name without the escapes of RFC 4343, which tshark does not write.
fn unescaped(name: &str) -> String {
    let mut plain = String::new();
    let mut rest = name;
    while let Some((before, behind)) = rest.split_once('\\') {
        plain += before;
        let code = behind.get(..3).and_then(|digits| digits.parse::<u8>().ok());
        (plain, rest) = match code {
            Some(code) => (plain + &char::from(code).to_string(), behind.get(3..).unwrap_or_default()),
            None => {
                let next = behind.chars().next().map_or(0, char::len_utf8);
                (plain + behind.get(..next).unwrap_or_default(), behind.get(next..).unwrap_or_default())
            }
        };
    }
    plain + rest
}

/// A banner, put together again.
fn banner(bytes: &[u8], [version, software, comment]: [Fact; 3]) -> Option<String> {
    let one = |fact: Fact| of(bytes, &[fact]).pop();
    let comment = one(comment).map(|comment| format!(" {comment}")).unwrap_or_default();
    Some(format!("SSH-{}-{}{comment}", one(version)?, one(software)?))
}

fn hassh(bytes: &[u8], fact: Fact) -> Vec<String> {
    of(bytes, &[fact]).iter().map(|lists| tls::fingerprint::md5_hex(lists)).collect()
}

/// What stands between angle brackets behind `FROM:` or `TO:`.
fn mailbox(row: &Row<'_>, word: &str) -> Vec<String> {
    let inner = |text: String| {
        let behind = text.get(word.len()..).filter(|_| text.to_uppercase().starts_with(word))?.trim();
        let inner = behind.strip_prefix('<').map_or(behind, |rest| rest.split('>').next().unwrap_or_default());
        inner.split(' ').next().map(str::to_owned)
    };
    row.values(0).into_iter().filter_map(inner).collect()
}

/// Every value of the first column in capitals.
fn capitals(row: &Row<'_>) -> Vec<String> {
    row.values(0).into_iter().map(|name| name.to_uppercase()).collect()
}

/// Every value of the first column without the blanks round it, which are no part of a header's field.
fn trimmed(row: &Row<'_>) -> Vec<String> {
    row.values(0).into_iter().map(|value| value.trim().to_owned()).collect()
}

/// Dates of a certificate as tshark writes them.
fn dates(bytes: &[u8], facts: &[Fact]) -> Vec<String> {
    let date = |text: String| {
        let time = Timestamp(text.parse::<u64>().ok()?.checked_mul(SECOND)?).to_eve();
        Some(time.get(..19)?.replace('T', " "))
    };
    of(bytes, facts).into_iter().filter_map(date).collect()
}

/// The values of a certificate's names: `C=US, O=Some, Inc.` has two. Those of a kind that tshark has other columns for are
/// left out.
fn name_values(name: &str) -> Vec<String> {
    const OTHERS: [&str; 4] = ["emailAddress", "unstructuredName", "DC", "UID"];
    let mut values: Vec<(&str, String)> = Vec::new();
    for piece in name.split(", ") {
        let is_kind =
            |kind: &str| !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        match (piece.split_once('=').filter(|(kind, _)| is_kind(kind)), values.last_mut()) {
            (Some((kind, value)), _) => values.push((kind, value.to_owned())),
            (None, Some((_, value))) => *value += &format!(", {piece}"),
            (None, None) => {}
        }
    }
    values.into_iter().filter(|(kind, _)| !OTHERS.contains(kind)).map(|(_, value)| value).collect()
}

/// Subject and issuer of a certificate that came alone.
fn names_of(bytes: &[u8], certificate: &tls::CertificateFacts) -> Vec<String> {
    match of(bytes, &[certificate.count]).first().map(String::as_str) {
        Some("1") => {
            of(bytes, &[certificate.subject, certificate.issuer]).iter().flat_map(|name| name_values(name)).collect()
        }
        _ => Vec::new(),
    }
}

const NAMES: &[Protocol] = &[Protocol::Dns, Protocol::Mdns, Protocol::Llmnr];
const HELLOS: &[Protocol] = &[Protocol::Tls, Protocol::Quic, Protocol::Dtls];
const RPC: &[Protocol] = &[Protocol::DceRpc, Protocol::Smb];

/// The table.
pub static FIELDS: LazyLock<Vec<&'static Field>> =
    LazyLock::new(|| internet::FIELDS.iter().chain(local::FIELDS).collect());
