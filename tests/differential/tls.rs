//! Against `tls-parser`: what a client offers and what a server chooses.

use super::{Message, Tally, bytes_of};
use shrike::dataplane::flow::Side;
use shrike::dataplane::inspect::tls::HELLO;
use shrike::dataplane::inspect::{Facts, Inspector, Protocol};
use tls_parser::{TlsClientHelloContents, TlsExtension as Extension, TlsMessage, TlsMessageHandshake};

pub fn compare(inspector: &mut Inspector, message: &Message<'_>, place: &str, tally: &mut Tally) {
    if !message.is_stream || !message.bytes.starts_with(&[22, 3]) {
        return;
    }
    let Ok((_, plain)) = tls_parser::parse_tls_plaintext(message.bytes) else { return };
    let Some(TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello))) = plain.msg.first() else { return };
    let told = message.told(inspector, Side::Originator);
    match told.of(Protocol::Tls) {
        Some(ours) if !told.has(Protocol::Tls) => client(ours, hello, place, tally),
        Some(_) => {}
        None => tally.note("not read", || format!("{place}: {}", message.bytes.escape_ascii())),
    }
}

fn numbers(values: impl Iterator<Item = u16>) -> Vec<u8> {
    values.flat_map(u16::to_be_bytes).collect()
}

fn some(value: Vec<u8>) -> Option<Vec<u8>> {
    (!value.is_empty()).then_some(value)
}

fn client(ours: &Facts, hello: &TlsClientHelloContents<'_>, place: &str, tally: &mut Tally) {
    let Ok((rest, all)) = tls_parser::parse_tls_client_hello_extensions(hello.ext.unwrap_or_default()) else { return };
    let [mut names, mut protocols, mut groups, mut signatures, mut versions, mut formats] = <[Vec<u8>; 6]>::default();
    for one in all.iter().filter(|_| rest.is_empty()) {
        match one {
            Extension::SNI(list) => {
                names.extend(list.iter().find(|one| one.0.0 == 0).map(|one| one.1).unwrap_or_default())
            }
            Extension::ALPN(list) => protocols = list.join(&b'\n'),
            Extension::EllipticCurves(list) => groups = numbers(list.iter().map(|one| one.0)),
            Extension::SignatureAlgorithms(list) => signatures = numbers(list.iter().copied()),
            Extension::SupportedVersions(list) => versions = numbers(list.iter().map(|one| one.0)),
            Extension::EcPointFormats(list) => formats = list.to_vec(),
            _ => {}
        }
    }
    let alpn = ours.all(HELLO.client_alpn).collect::<Vec<_>>().join(&b'\n');
    let version = ours.number(HELLO.client_version).map(|version| numbers([version as u16].into_iter()));
    tally.compare(
        [
            ("version", version, Some(numbers([hello.version.0].into_iter()))),
            ("ciphers", bytes_of(ours, HELLO.ciphers), some(numbers(hello.ciphers.iter().map(|one| one.0)))),
            ("server name", bytes_of(ours, HELLO.sni), some(names)),
            ("protocols", some(alpn), some(protocols)),
            ("groups", bytes_of(ours, HELLO.groups), some(groups)),
            ("signature algorithms", bytes_of(ours, HELLO.signature_algorithms), some(signatures)),
            ("versions", bytes_of(ours, HELLO.versions), some(versions)),
            ("point formats", bytes_of(ours, HELLO.point_formats), some(formats)),
        ],
        place,
    );
}
