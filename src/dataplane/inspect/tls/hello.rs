//! ClientHello and ServerHello (RFC 8446 section 4.1, RFC 5246 section 7.4.1), which TLS, DTLS and QUIC share.

use super::super::bytes::Reader;
use super::super::facts::{Fact, Facts};
use super::facts::HelloFacts;
use super::walk::Walk;

/// Types of extensions that are kept of a server's hello.
pub(in crate::dataplane::inspect) const TYPES_MAX: usize = 128;

/// Numbers of extensions (IANA, "TLS ExtensionType Values").
mod extension {
    pub const SERVER_NAME: u16 = 0;
    pub const GROUPS: u16 = 10;
    pub const POINT_FORMATS: u16 = 11;
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    pub const ALPN: u16 = 16;
    pub const SESSION_TICKET: u16 = 35;
    pub const PRE_SHARED_KEY: u16 = 41;
    pub const SUPPORTED_VERSIONS: u16 = 43;
    pub const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
    pub const ENCRYPTED_SERVER_NAME: u16 = 0xffce;
}

/// Random of a ServerHello that is a HelloRetryRequest: SHA-256 of these words (RFC 8446 section 4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
/// Last bytes but one of the random of a server that could do TLS 1.3 and was made to do less.
const DOWNGRADE_MARK: &[u8] = b"DOWNGRD";
/// TLS 1.3.
const TLS13: u16 = 0x0304;
/// DTLS 1.3.
const DTLS13: u16 = 0xfefc;

/// Whether a hello was whole and well formed, and what the state must know of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Lengths did not fit; what was read before stands in the facts.
    pub is_bad: bool,
    /// An extension came twice.
    pub has_duplicates: bool,
    /// It was a HelloRetryRequest.
    pub is_retry: bool,
    /// Client: offers TLS 1.3. Server: chose it.
    pub is_tls13: bool,
    /// Server: the random says that TLS 1.3 would have been possible.
    pub has_downgrade_mark: bool,
    /// Server: a cipher suite that was not offered.
    pub is_cipher_odd: bool,
}

/// Reads the body of a ClientHello into facts, or the beginning of one that `is_cut`. `is_datagram`: with the cookie of DTLS.
pub fn client(body: &[u8], is_cut: bool, is_datagram: bool, names: &HelloFacts, facts: &mut Facts) -> Seen {
    let (mut walk, mut rest) = (Walk::new(body.len(), is_datagram), body);
    while let Some(count) = walk.wants() {
        let Some((piece, after)) = rest.split_at_checked(count) else { break };
        let behind = walk.read(piece, names, facts);
        rest = after.get(behind..).unwrap_or_default();
    }
    walk.end(is_cut, names, facts)
}

/// Extensions of a client that are looked into.
pub(super) fn is_read(kind: u16) -> bool {
    use extension::{ALPN, ENCRYPTED_CLIENT_HELLO, ENCRYPTED_SERVER_NAME, GROUPS, POINT_FORMATS, PRE_SHARED_KEY};
    use extension::{SERVER_NAME, SESSION_TICKET, SIGNATURE_ALGORITHMS, SUPPORTED_VERSIONS};
    let lists = matches!(kind, SERVER_NAME | GROUPS | POINT_FORMATS | SIGNATURE_ALGORITHMS | ALPN | SUPPORTED_VERSIONS);
    lists || matches!(kind, SESSION_TICKET | PRE_SHARED_KEY | ENCRYPTED_CLIENT_HELLO | ENCRYPTED_SERVER_NAME)
}

/// Reads an extension of a client, or the beginning of one that `is_cut`.
pub(super) fn client_extension(
    kind: u16,
    body: &[u8],
    is_cut: bool,
    names: &HelloFacts,
    facts: &mut Facts,
    seen: &mut Seen,
) -> Option<()> {
    let mut reader = Reader::new(body);
    let long = |reader: &mut Reader<'_>| {
        let length = usize::from(reader.be16()?);
        Some(if is_cut { length.min(reader.len()) } else { length })
    };
    match kind {
        extension::SERVER_NAME if !body.is_empty() => {
            let length = long(&mut reader)?;
            let mut list = reader.part(length)?;
            let is_host = list.u8()? == 0;
            let length = long(&mut list)?;
            let name = list.take(length)?;
            if is_host {
                facts.put(names.sni, name);
            }
        }
        extension::GROUPS => list(long(&mut reader)?, &mut reader, names.groups, facts)?,
        extension::POINT_FORMATS => facts.put(names.point_formats, short(&mut reader)?),
        extension::SIGNATURE_ALGORITHMS => {
            list(long(&mut reader)?, &mut reader, names.signature_algorithms, facts)?;
        }
        extension::ALPN => {
            let length = long(&mut reader)?;
            alpn(reader.take(length)?, names, facts)?;
        }
        extension::SUPPORTED_VERSIONS => {
            let versions = short(&mut reader)?;
            seen.is_tls13 =
                versions.chunks_exact(2).any(|one| one == TLS13.to_be_bytes() || one == DTLS13.to_be_bytes());
            facts.put(names.versions, versions);
        }
        extension::SESSION_TICKET if !body.is_empty() => facts.put_number(names.session_ticket, 1),
        extension::PRE_SHARED_KEY => facts.put_number(names.psk, 1),
        extension::ENCRYPTED_CLIENT_HELLO | extension::ENCRYPTED_SERVER_NAME => facts.put_number(names.ech, 1),
        _ => {}
    }
    Some(())
}

fn list(length: usize, reader: &mut Reader<'_>, fact: Fact, facts: &mut Facts) -> Option<()> {
    facts.put(fact, reader.take(length)?);
    Some(())
}

/// Names offered, as many as the fact holds; those after are only looked at for their lengths.
fn alpn(list: &[u8], names: &HelloFacts, facts: &mut Facts) -> Option<()> {
    let mut reader = Reader::new(list);
    for _ in 0..=names.client_alpn.repeats {
        if reader.is_empty() {
            break;
        }
        facts.put(names.client_alpn, short(&mut reader)?);
    }
    Some(())
}

/// Reads the body of a ServerHello into facts, of a HelloRetryRequest only that there was one; of one that `is_cut` without
/// what a fingerprint begins with.
pub fn server(body: &[u8], is_cut: bool, names: &HelloFacts, facts: &mut Facts) -> Seen {
    let mut seen = Seen::default();
    seen.is_bad = server_fields(&mut Reader::new(body), is_cut, names, facts, &mut seen).is_none();
    seen
}

fn server_fields(
    reader: &mut Reader<'_>,
    is_cut: bool,
    names: &HelloFacts,
    facts: &mut Facts,
    seen: &mut Seen,
) -> Option<()> {
    let legacy = reader.be16()?;
    let random = reader.take(32)?;
    if random == RETRY_RANDOM {
        seen.is_retry = true;
        facts.put_number(names.hello_retry, 1);
        return Some(());
    }
    let is_early_draft = legacy & 0xff00 == 0x7f00; // drafts of TLS 1.3 before 22 had no session id here
    if !is_early_draft {
        short(reader)?;
    }
    let cipher = reader.be16()?;
    if !is_cut {
        facts.put_number(names.server_version, u64::from(legacy));
    }
    facts.put_number(names.cipher, u64::from(cipher));
    seen.is_cipher_odd = facts.get(names.ciphers).is_some_and(|offered| is_missing(offered, names, cipher));
    if !is_early_draft {
        reader.u8()?; // compression
    }
    let (mut types, mut once) = (Types::default(), Once::default());
    let mut version = legacy;
    let whole = match reader.is_empty() {
        true => Some(()),
        false => {
            let each = |kind| {
                types.push(kind);
                seen.has_duplicates |= once.is_again(kind);
            };
            long(reader).and_then(|all| server_extensions(Reader::new(all), each, &mut version, names, facts))
        }
    };
    facts.put(names.server_extensions, types.as_bytes());
    facts.put_number(names.version, u64::from(version));
    seen.is_tls13 = is_tls13(version);
    seen.has_downgrade_mark = !seen.is_tls13 && random.get(24..31) == Some(DOWNGRADE_MARK);
    whole
}

/// TLS 1.3, a draft of it, Facebook's variant of one, or DTLS 1.3.
fn is_tls13(version: u16) -> bool {
    version == TLS13 || version == DTLS13 || matches!(version >> 8, 0x7f | 0xfb)
}

fn is_missing(offered: &[u8], names: &HelloFacts, cipher: u16) -> bool {
    offered.len() < usize::from(names.ciphers.limit) && !offered.chunks_exact(2).any(|one| one == cipher.to_be_bytes())
}

fn server_extensions(
    mut reader: Reader<'_>,
    mut each: impl FnMut(u16),
    version: &mut u16,
    names: &HelloFacts,
    facts: &mut Facts,
) -> Option<()> {
    while !reader.is_empty() {
        let kind = reader.be16()?;
        let body = long(&mut reader)?;
        each(kind);
        match kind {
            extension::SUPPORTED_VERSIONS => *version = Reader::new(body).be16()?,
            extension::ALPN => facts.put(names.server_alpn, short(&mut Reader::new(long(&mut Reader::new(body))?))?),
            extension::PRE_SHARED_KEY => facts.put_number(names.resumed, 1),
            _ => {}
        }
    }
    Some(())
}

/// Bytes behind a length of one byte.
pub fn short<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = reader.u8()?;
    reader.take(usize::from(length))
}

/// Bytes behind a length of two bytes.
pub fn long<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = reader.be16()?;
    reader.take(usize::from(length))
}

/// Types of extensions in order, two bytes each.
struct Types {
    bytes: [u8; 2 * TYPES_MAX],
    used: usize,
}

impl Default for Types {
    fn default() -> Types {
        Types { bytes: [0; 2 * TYPES_MAX], used: 0 }
    }
}

impl Types {
    fn push(&mut self, kind: u16) {
        if let Some(place) = self.bytes.get_mut(self.used..self.used + 2) {
            place.copy_from_slice(&kind.to_be_bytes());
            self.used += 2;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}

/// Of the types of extensions below 64, those that were seen: a bit each, in bytes for the sake of alignment.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Once([u8; 8]);

impl Once {
    pub(super) fn is_again(&mut self, kind: u16) -> bool {
        let bit = 1u64.checked_shl(u32::from(kind)).unwrap_or(0);
        let seen = u64::from_le_bytes(self.0);
        let is_again = seen & bit != 0;
        self.0 = (seen | bit).to_le_bytes();
        is_again
    }
}
