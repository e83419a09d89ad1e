//! Hellos in the form of SSL 2.0 (RFC 5246 appendix E.2): a client's that leads to TLS, and both of real SSL 2.0.

use super::super::bytes::Reader;
use super::super::facts::Facts;
use super::super::parse::Step;
use super::{HELLO, SERVER_CERTIFICATE, SSL2_HELLO, certificate};

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 4;
/// Cipher suites of TLS that are kept of such a hello.
pub(in crate::dataplane::inspect) const CIPHERS_MAX: usize = 128;

/// Do these bytes begin as such a hello? Needs five.
pub fn is_hello(bytes: &[u8]) -> bool {
    let [0x80..=0xff, _, kind, major, minor, ..] = bytes else { return false };
    match *kind {
        CLIENT_HELLO => matches!((major, minor), (0, 2) | (3, 0..=4)),
        SERVER_HELLO => *major <= 1 && *minor <= 1, // session id hit, type of certificate
        _ => false,
    }
}

/// Bytes of the whole hello.
fn total(bytes: &[u8]) -> Option<usize> {
    let [high, low, ..] = bytes else { return None };
    Some(2 + usize::from(u16::from_be_bytes([high & 0x7f, *low])))
}

/// What to answer where [`read`] gave nothing.
pub fn needed(bytes: &[u8]) -> Step {
    match total(bytes) {
        Some(total) if total > bytes.len() => Step::Need(total),
        _ => Step::Broken(super::BAD_HELLO),
    }
}

/// Reads a whole hello into facts: its length, and whether it is a client's.
pub fn read(bytes: &[u8], facts: &mut Facts) -> Option<(usize, bool)> {
    let total = total(bytes)?;
    let mut reader = Reader::new(bytes.get(2..total)?);
    match reader.u8()? {
        CLIENT_HELLO => client(&mut reader, facts).map(|()| (total, true)),
        SERVER_HELLO => server(&mut reader, facts).map(|()| (total, false)),
        _ => None,
    }
}

fn client(reader: &mut Reader<'_>, facts: &mut Facts) -> Option<()> {
    let version = reader.be16()?;
    let (specs, id, challenge) = (reader.be16()?, reader.be16()?, reader.be16()?);
    let specs = reader.take(usize::from(specs))?;
    reader.take(usize::from(id))?;
    reader.take(usize::from(challenge))?;
    facts.put_number(SSL2_HELLO, 1);
    facts.put_number(HELLO.client_version, u64::from(version));
    let mut kept = [0; 2 * CIPHERS_MAX];
    let mut used = 0;
    for spec in specs.chunks_exact(3) {
        let [0, high, low] = spec else { continue };
        let Some(place) = kept.get_mut(used..used + 2) else {
            facts.mark_truncated();
            break;
        };
        place.copy_from_slice(&[*high, *low]);
        used += 2;
    }
    facts.put(HELLO.ciphers, kept.get(..used)?);
    Some(())
}

fn server(reader: &mut Reader<'_>, facts: &mut Facts) -> Option<()> {
    reader.take(2)?; // session id hit, type of certificate
    let version = reader.be16()?;
    let (length, _, _) = (reader.be16()?, reader.be16()?, reader.be16()?);
    let bytes = reader.take(usize::from(length))?;
    facts.put_number(HELLO.version, u64::from(version));
    if !bytes.is_empty() {
        certificate::certificate(bytes, &SERVER_CERTIFICATE, facts)?;
    }
    Some(())
}

/// The lengths of a client's hello as it must be: what recognition goes by.
pub fn is_strict(bytes: &[u8]) -> Option<bool> {
    let mut reader = Reader::new(bytes);
    let length = usize::from(reader.be16()? & 0x7fff);
    let is_client = reader.u8()? == CLIENT_HELLO;
    reader.be16()?;
    let (specs, id, challenge) = (reader.be16()?, reader.be16()?, reader.be16()?);
    let sum = 9 + usize::from(specs) + usize::from(id) + usize::from(challenge);
    let is_right = specs > 0 && specs.is_multiple_of(3) && matches!(id, 0 | 16) && (16..=32).contains(&challenge);
    Some(is_client && is_right && sum == length)
}
