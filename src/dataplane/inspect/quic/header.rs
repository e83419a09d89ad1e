//! Long headers (RFC 9000 section 17.2), which do not change between versions but for the numbers of the types.

use super::super::bytes::Reader;
use super::super::tls::hello::short;

/// Bytes of a connection id at most (RFC 9000 section 17.2).
pub const CID_MAX: usize = 20;

/// What a packet with a long header is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Version negotiation: the version field is 0.
    Negotiation,
    /// The first packets of both sides, encrypted with keys that anyone can derive.
    Initial,
    /// The server wants to see the client again with a token.
    Retry,
    /// Early data, or the rest of the handshake: encrypted.
    Other,
}

/// A packet with a long header.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// What it is.
    pub kind: Kind,
    /// Version field.
    pub version: u32,
    /// Destination connection id.
    pub dcid: &'a [u8],
    /// Source connection id.
    pub scid: &'a [u8],
    /// Where the protected packet number begins; of use for Initial only.
    pub number_at: usize,
    /// Bytes of the packet: others may follow in the same datagram.
    pub total: usize,
}

/// Version 2 (RFC 9369), and the number its last drafts had.
pub const V2: [u32; 2] = [0x6b33_43cf, 0x709a_50c4];

/// Reads the header of the packet that `bytes` begin with. `None`: a short header, or lengths that do not fit.
pub fn read(bytes: &[u8]) -> Option<Packet<'_>> {
    let mut reader = Reader::new(bytes);
    let first = reader.u8()?;
    if first & 0x80 == 0 {
        return None;
    }
    let version = reader.be32()?;
    let (dcid, scid) = (short(&mut reader)?, short(&mut reader)?);
    if version != 0 && dcid.len().max(scid.len()) > CID_MAX {
        return None;
    }
    let kind = match (version, first >> 4 & 3) {
        (0, _) => Kind::Negotiation,
        (_, 0) if V2.contains(&version) => Kind::Retry,
        (_, 1) if V2.contains(&version) => Kind::Initial,
        (_, 0) => Kind::Initial,
        (_, 3) if !V2.contains(&version) => Kind::Retry,
        _ => Kind::Other,
    };
    let mut total = bytes.len();
    if kind == Kind::Initial {
        let token = varint(&mut reader)?;
        reader.take(usize::try_from(token).ok()?)?;
    }
    if matches!(kind, Kind::Initial | Kind::Other) {
        let length = usize::try_from(varint(&mut reader)?).ok()?;
        total = (bytes.len() - reader.len()).checked_add(length).filter(|total| *total <= bytes.len())?;
    }
    Some(Packet { kind, version, dcid, scid, number_at: bytes.len() - reader.len(), total })
}

/// A number of 1, 2, 4 or 8 bytes (RFC 9000 section 16).
pub fn varint(reader: &mut Reader<'_>) -> Option<u64> {
    let first = reader.u8()?;
    let more = (1usize << (first >> 6)) - 1;
    let start = u64::from(first & 0x3f);
    reader.take(more).map(|rest| rest.iter().fold(start, |value, byte| value << 8 | u64::from(*byte)))
}
