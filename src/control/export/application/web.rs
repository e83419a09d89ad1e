//! `http`, of all versions, and `quic`.

use super::tls::fingerprints;
use super::{Found, list, put, put_object, text};
use crate::dataplane::inspect::tls::fingerprint::Transport;
use crate::dataplane::inspect::{Fact, Facts, http, http2, quic};
use serde_json::{Map, Value, json};

/// `http`, and the number of the transaction beside it.
pub fn http(facts: &mut Found<'_>, objects: &mut Map<String, Value>) -> &'static str {
    let mut object = Map::new();
    let places = [
        ("http_method", http::METHOD),
        ("hostname", http::HOSTNAME),
        ("http_port", http::PORT),
        ("url", http::URL),
        ("http_user_agent", http::USER_AGENT),
        ("http_refer", http::REFERER),
        ("protocol", http::PROTOCOL),
        ("status", http::STATUS),
        ("redirect", http::LOCATION),
        ("length", http::LENGTH),
        ("xff", http::FORWARDED_FOR),
    ];
    facts.place(&mut object, &places);
    put(&mut object, "http_content_type", content_type(facts, http::CONTENT_TYPE));
    put_object(&mut object, "content_range", content_range(facts));
    put(objects, "tx_id", facts.number(http::TRANSACTION));
    objects.insert("http".to_owned(), object.into());
    "http"
}

/// `http` of version 2.
pub fn http2(facts: &mut Found<'_>, objects: &mut Map<String, Value>) -> &'static str {
    let (mut object, mut stream) = (Map::new(), Map::new());
    let places = [
        ("http_method", http2::METHOD),
        ("hostname", http2::AUTHORITY),
        ("url", http2::PATH),
        ("http_user_agent", http2::USER_AGENT),
        ("status", http2::STATUS),
    ];
    facts.place(&mut object, &places);
    put(&mut object, "http_content_type", content_type(facts, http2::CONTENT_TYPE));
    facts.place(&mut stream, &[("stream_id", http2::STREAM)]);
    put_object(&mut object, "http2", stream);
    object.insert("version".to_owned(), "2".into());
    objects.insert("http".to_owned(), object.into());
    "http"
}

/// Without its parameters, as Suricata writes it; with them it stays among the other facts too.
fn content_type(facts: &mut Found<'_>, fact: Fact) -> Option<String> {
    let whole = facts.first(fact)?;
    let kind = whole.split(|byte| *byte == b';').next().unwrap_or_default();
    if kind.len() == whole.len() {
        facts.all(fact);
    }
    Some(text(kind))
}

/// `bytes 0-99/200`, and its numbers where they are some.
fn content_range(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    let Some(raw) = facts.text(http::CONTENT_RANGE) else { return object };
    let (range, size) = raw.split_once('/').unwrap_or((&raw, ""));
    let (start, end) = range.strip_prefix("bytes").and_then(|range| range.split_once('-')).unwrap_or_default();
    for (name, number) in [("start", start), ("end", end), ("size", size)] {
        put(&mut object, name, number.trim().parse::<u64>().ok());
    }
    object.insert("raw".to_owned(), raw.into());
    object
}

/// `quic`.
pub fn quic(all: &Facts, facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    fingerprints(all, &quic::HELLO, Transport::Quic, &mut object);
    put(&mut object, "version", facts.number(quic::QUIC_VERSION).map(version));
    put(&mut object, "extensions", list(extensions(facts)));
    facts.place(&mut object, &[("sni", quic::HELLO.sni), ("ua", quic::USER_AGENT)]);
    object
}

/// Version 1 and 2 by number, drafts by theirs, Google's by its letters.
fn version(number: u64) -> String {
    let bytes = number.to_be_bytes();
    match (number, bytes) {
        (1, _) => "1".to_owned(),
        (0x6b33_43cf, _) => "2".to_owned(),
        (0xff00_0000..=0xff00_00ff, [.., draft]) => format!("draft-{draft}"),
        (_, [0, 0, 0, 0, letters @ ..]) if letters.iter().all(u8::is_ascii_alphanumeric) => text(&letters),
        _ => format!("0x{number:08x}"),
    }
}

/// Types in the order of the hello, with the values that are facts.
fn extensions(facts: &mut Found<'_>) -> Vec<Value> {
    let sni: Vec<String> = facts.first(quic::HELLO.sni).map(text).into_iter().collect();
    let (kinds, []) = facts.first(quic::HELLO.extensions).unwrap_or_default().as_chunks::<2>() else {
        return Vec::new();
    };
    facts.one(quic::HELLO.extensions);
    let has_alpn = kinds.contains(&[0, 16]);
    let alpn = if has_alpn { facts.texts(quic::HELLO.client_alpn) } else { Vec::new() };
    let object = |kind: &[u8; 2]| {
        let kind = u16::from_be_bytes(*kind);
        let mut object = Map::from_iter([("type".to_owned(), json!(kind))]);
        put(&mut object, "name", extension_name(kind));
        let values = match kind {
            0 => list(sni.clone()),
            16 => list(alpn.clone()),
            _ => None,
        };
        put(&mut object, "values", values);
        object.into()
    };
    kinds.iter().map(object).collect()
}

/// As IANA has them.
#[rustfmt::skip]
fn extension_name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        0 => "server_name", 1 => "max_fragment_length", 5 => "status_request", 10 => "supported_groups",
        11 => "ec_point_formats", 13 => "signature_algorithms", 16 => "alpn", 18 => "signed_certificate_timestamp",
        21 => "padding", 22 => "encrypt_then_mac", 23 => "extended_master_secret", 27 => "compress_certificate",
        28 => "record_size_limit", 35 => "session_ticket", 41 => "pre_shared_key", 42 => "early_data",
        43 => "supported_versions", 44 => "cookie", 45 => "psk_key_exchange_modes", 47 => "certificate_authorities",
        49 => "post_handshake_auth", 50 => "signature_algorithms_cert", 51 => "key_share",
        57 => "quic_transport_parameters",
        _ => return None,
    })
}
