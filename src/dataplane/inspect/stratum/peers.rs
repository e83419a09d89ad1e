//! Peers of Bitcoin and Ethereum.

use super::*;

/// Magic numbers of Bitcoin's main network, test network 3, regression test and signet, and of Zcash.
const MAGIC: [[u8; 4]; 5] = [
    [0xf9, 0xbe, 0xb4, 0xd9],
    [0x0b, 0x11, 0x09, 0x07],
    [0xfa, 0xbf, 0xb5, 0xda],
    [0x0a, 0x03, 0xcf, 0x40],
    [0x24, 0xe9, 0x27, 0x64],
];
/// Bytes of a version message at most.
const VERSION_MAX: u32 = 400;

/// A message of Bitcoin's peers: a magic number, a name filled up with zeros, a length.
pub(super) fn bitcoin(bytes: &[u8]) -> Match {
    let magic = bytes.get(..4).unwrap_or(bytes);
    if !MAGIC.iter().any(|known| known.starts_with(magic)) {
        return Match::No;
    }
    let Some(name) = bytes.get(4..16) else { return Match::Maybe };
    let letters = name.iter().take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()).count();
    let is_filled = name.iter().skip(letters).all(|byte| *byte == 0);
    if letters > 0 && is_filled { Match::Yes } else { Match::No }
}

/// Reads a version message, or says how to go on without one.
pub(super) fn version(bytes: &[u8], out: &mut dyn Output) -> Result<(), Step> {
    let mut reader = Reader::new(bytes);
    let (Some(_), Some(name), Some(length), Some(_)) = (reader.be32(), reader.take(12), reader.le32(), reader.be32())
    else {
        return Err(Step::Need(24));
    };
    if !name.starts_with(b"version\0") || length > VERSION_MAX {
        return Ok(());
    }
    let whole = 24 + length as usize; // at most VERSION_MAX
    let Some(mut payload) = reader.part(length as usize) else { return Err(Step::Need(whole)) };
    let number = payload.le32();
    payload.take(76);
    let agent = payload.u8().filter(|length| *length < 0xfd).and_then(|length| payload.take(usize::from(length)));
    if let Some(number) = number {
        out.facts().put_number(VERSION, u64::from(number));
    }
    if let Some(agent) = agent {
        out.facts().put(AGENT, agent);
    }
    Ok(())
}

/// RLPx, the first message (EIP-8): two bytes of length, then an uncompressed point of exactly that message. A datagram's worth
/// of random bytes passes once in some ten million: the port breaks the tie for beginnings.
pub(super) fn ethereum(look: &Look<'_>) -> Match {
    let mut reader = Reader::new(look.bytes);
    let Some(length) = reader.be16() else {
        return if look.has_port(30303) { Match::Maybe } else { Match::No };
    };
    // An authentication takes 307 bytes at least (no padding), its answer some 210.
    if !(200..=1200).contains(&length) || reader.u8().is_some_and(|byte| byte != 4) {
        return Match::No;
    }
    let whole = usize::from(length) + 2;
    match look.bytes.len() {
        size if size == whole => Match::Yes,
        size if size < whole && look.has_port(30303) => Match::Maybe,
        _ => Match::No,
    }
}

/// Discovery of Ethereum (discv4): hash, signature, type, and one RLP list up to the end.
pub(super) fn discovery(bytes: &[u8]) -> Match {
    let mut reader = Reader::new(bytes);
    let (Some(_), Some(sign), Some(kind), Some(list)) = (reader.take(96), reader.u8(), reader.u8(), reader.u8()) else {
        return Match::No;
    };
    let length = match list {
        0xc0..=0xf7 => Some(usize::from(list - 0xc0)),
        0xf8 => reader.u8().map(usize::from),
        0xf9 => reader.be16().map(usize::from),
        _ => None,
    };
    // Newer peers add bytes behind the list (EIP-8): no more than a few.
    let fits = length.is_some_and(|length| reader.len() >= length && reader.len() - length <= 64);
    // What the list begins with: a version; an endpoint; a key; peers; a time; a hash.
    let first = reader.rest().first().copied().unwrap_or_default();
    let is_kind = match kind {
        1 => (1..=5).contains(&first),
        2 | 4 => first >= 0xc0,
        3 => first == 0xb8,
        5 => (0x81..=0x88).contains(&first),
        6 => first == 0xa0,
        _ => false,
    };
    if sign <= 1 && is_kind && fits { Match::Yes } else { Match::No }
}
