//! Google's QUIC before the standard: versions Q024 to Q050, whose handshake has tags in place of TLS.

use super::super::bytes::Reader;
use super::super::facts::Facts;
use super::super::parse::Match;
use super::{HELLO, USER_AGENT};

/// Where the handshake message must begin at the latest: headers before it have some 40 bytes.
const HELLO_WITHIN: usize = 96;
/// Tags of a client's message that are read.
pub(in crate::dataplane::inspect) const TAGS_MAX: u16 = 64;

/// Where the version stands in a client's packet, by its first byte: public flags with version and an id of 8 bytes, or the
/// long header of Q044 and later.
fn version_at(first: u8) -> Option<usize> {
    match first {
        0x80..=0xff => Some(1),
        _ if first & 0x09 == 0x09 => Some(9),
        _ => None,
    }
}

/// `Q` and three digits.
pub fn version(bytes: &[u8]) -> Option<u32> {
    let at = version_at(*bytes.first()?)?;
    let version = bytes.get(at..)?.first_chunk::<4>()?;
    let is_one = matches!(version, [b'Q', b'0', b'2'..=b'5', b'0'..=b'9']);
    is_one.then(|| u32::from_be_bytes(*version))
}

/// Is it a packet of a client of such a version?
pub fn probe(bytes: &[u8]) -> Match {
    match version(bytes) {
        Some(_) => Match::Yes,
        None => Match::No,
    }
}

/// Reads the client's message, if it stands in the clear in `bytes`: name and user agent.
pub fn hello(bytes: &[u8], facts: &mut Facts) -> Option<()> {
    let head = bytes.get(..HELLO_WITHIN).unwrap_or(bytes);
    let at = head.windows(4).position(|four| four == b"CHLO")?;
    let mut reader = Reader::new(bytes.get(at + 4..)?);
    let all = reader.le16()?;
    let count = all.min(TAGS_MAX);
    if count < all {
        facts.mark_truncated();
    }
    reader.le16()?;
    let mut tags = reader.part(usize::from(count) * 8)?;
    let mut begin = 0;
    for _ in 0..count {
        let (tag, end) = (tags.array::<4>()?, usize::try_from(tags.le32()?).ok()?);
        let value = reader.rest().get(begin..end)?;
        match &tag {
            b"SNI\0" => facts.put(HELLO.sni, value),
            b"UAID" => facts.put(USER_AGENT, value),
            b"ALPN" => facts.put(HELLO.client_alpn, value),
            _ => {}
        }
        begin = end;
    }
    Some(())
}
