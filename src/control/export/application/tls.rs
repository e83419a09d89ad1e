//! `tls`: hellos, certificates, fingerprints. DTLS has the same facts, and no object in the schema.

use super::{AppEvent, Found, list, put, with_colons};
use crate::dataplane::inspect::tls::fingerprint::{Transport, ja3, ja3s, ja4, md5_hex};
use crate::dataplane::inspect::tls::{CLIENT_CERTIFICATE, CertificateFacts, HELLO, HelloFacts, SERVER_CERTIFICATE};
use crate::dataplane::inspect::{Fact, Facts, Protocol, quic};
use crate::units::{SECOND, Timestamp};
use serde_json::{Map, Value, json};

/// Adds the object; gives the type of the event.
pub fn object(all: &Facts, facts: &mut Found<'_>, objects: &mut Map<String, Value>) -> &'static str {
    let mut object = Map::new();
    fingerprints(all, &HELLO, Transport::Tcp, &mut object);
    put(&mut object, "sni", facts.text(HELLO.sni));
    put(&mut object, "version", facts.number(HELLO.version).map(version));
    if facts.flag(HELLO.resumed) {
        object.insert("session_resumed".into(), true.into());
    }
    put(&mut object, "client_alpns", list(facts.texts(HELLO.client_alpn)));
    put(&mut object, "server_alpns", list(facts.texts(HELLO.server_alpn)));
    let mut client = Map::new();
    put(&mut client, "version", facts.number(HELLO.client_version).map(version));
    put(&mut client, "ciphers", numbers(facts, HELLO.ciphers));
    put(&mut client, "exts", numbers(facts, HELLO.extensions));
    put(&mut client, "sig_algs", numbers(facts, HELLO.signature_algorithms));
    put(&mut object, "client_handshake", Some(client).filter(|client| !client.is_empty()));
    let mut server = Map::new();
    put(&mut server, "version", facts.number(HELLO.server_version).map(version));
    put(&mut server, "cipher", facts.number(HELLO.cipher));
    put(&mut server, "exts", numbers(facts, HELLO.server_extensions));
    put(&mut object, "server_handshake", Some(server).filter(|server| !server.is_empty()));
    certificate(facts, &SERVER_CERTIFICATE, &mut object);
    let mut own = Map::new();
    certificate(facts, &CLIENT_CERTIFICATE, &mut own);
    put(&mut object, "client", Some(own).filter(|own| !own.is_empty()));
    objects.insert("tls".to_owned(), object.into());
    "tls"
}

/// JA3, JA3S and JA4, where their hello was seen.
pub fn fingerprints(all: &Facts, names: &HelloFacts, transport: Transport, object: &mut Map<String, Value>) {
    for (name, text) in [("ja3", ja3(all, names)), ("ja3s", ja3s(all, names))] {
        put(object, name, text.map(|text| json!({"hash": md5_hex(&text), "string": text})));
    }
    put(object, "ja4", ja4(all, names, transport));
}

/// JA4 of the second ClientHello, which a HelloRetryRequest asked for: the schema has a place for one only.
pub fn retry_ja4(event: &AppEvent) -> Option<String> {
    let (names, transport) = match event.head.protocol {
        Protocol::Tls => (HELLO, Transport::Tcp),
        Protocol::Quic => (quic::HELLO, Transport::Quic),
        _ => return None,
    };
    let all = Facts::from_bytes(&event.facts, event.head.truncated);
    all.get(names.retry_extensions)?;
    ja4(&all, &names.of_retry(), transport)
}

fn certificate(facts: &mut Found<'_>, names: &CertificateFacts, object: &mut Map<String, Value>) {
    put(object, "subject", facts.text(names.subject));
    put(object, "issuerdn", facts.text(names.issuer));
    put(object, "serial", facts.one(names.serial).map(|bytes| with_colons(bytes).to_uppercase()));
    put(object, "fingerprint", facts.one(names.fingerprint).map(with_colons));
    for (name, fact) in [("notbefore", names.not_before), ("notafter", names.not_after)] {
        // A date that the schema cannot write (the year 9999 is usual) stays a number among the other facts.
        if facts.peek(fact).is_some_and(|seconds| seconds <= u64::MAX / SECOND) {
            put(object, name, facts.number(fact).map(date));
        }
    }
    put(object, "subjectaltname", list(facts.texts(names.alt_name)));
}

fn date(seconds: u64) -> String {
    let mut text = Timestamp(seconds.saturating_mul(SECOND)).to_eve();
    text.truncate("0000-00-00T00:00:00".len());
    text
}

/// A version as Suricata names it.
pub fn version(number: u64) -> String {
    match number {
        0x0002 | 0x0200 => "SSLv2".into(),
        0x0300 => "SSLv3".into(),
        0x0301 => "TLSv1".into(),
        0x0302 => "TLS 1.1".into(),
        0x0303 => "TLS 1.2".into(),
        0x0304 => "TLS 1.3".into(),
        // DTLS: RFC 4347, RFC 6347, RFC 9147.
        0xfeff => "DTLS 1.0".into(),
        0xfefd => "DTLS 1.2".into(),
        0xfefc => "DTLS 1.3".into(),
        other => format!("0x{other:04x}"),
    }
}

/// A list of numbers; what is none stays what it is.
fn numbers(facts: &mut Found<'_>, fact: Fact) -> Option<Vec<u16>> {
    let (pairs, []) = facts.first(fact)?.as_chunks::<2>() else { return None };
    facts.one(fact);
    list(pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
}
