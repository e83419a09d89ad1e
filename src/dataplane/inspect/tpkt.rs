//! TPKT (RFC 1006 section 6) and the header of COTP (ISO 8073, X.224) inside it, which RDP and S7 share.

use super::bytes::Reader;

/// Bytes of the header of TPKT.
pub const HEADER: usize = 4;
/// COTP's request for a connection.
pub const CONNECT: u8 = 0xe0;
/// COTP's answer to it.
pub const CONFIRM: u8 = 0xd0;
/// COTP's data.
pub const DATA: u8 = 0xf0;

/// What the first bytes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packet {
    /// A packet of so many bytes in all.
    Whole(usize),
    /// More bytes are needed.
    Short,
    /// None.
    Bad,
}

/// Reads the header: version 3, a reserved byte that is zero, a length that leaves room for COTP.
pub fn packet(bytes: &[u8]) -> Packet {
    match bytes {
        [3, 0, high, low, ..] => match usize::from(u16::from_be_bytes([*high, *low])) {
            length @ 7.. => Packet::Whole(length),
            _ => Packet::Bad,
        },
        [] | [3] | [3, 0] | [3, 0, _] => Packet::Short,
        _ => Packet::Bad,
    }
}

/// COTP's kind, its fixed and variable part, and what follows it; `bytes` begin behind TPKT's header and may be cut.
pub fn cotp(bytes: &[u8]) -> Option<(u8, Reader<'_>, Reader<'_>)> {
    let mut reader = Reader::new(bytes);
    let length = usize::from(reader.u8()?);
    let mut head = reader.part(length)?;
    let kind = head.u8()? & 0xf0;
    Some((kind, head, reader))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_whole_short_or_none() {
        for (bytes, wanted) in [
            (&[3, 0, 0, 7, 2, 0xf0, 0x80][..], Packet::Whole(7)),
            (&[3, 0, 0], Packet::Short),
            (&[3, 0, 0, 6], Packet::Bad),
            (&[3, 1], Packet::Bad),
            (&[2], Packet::Bad),
        ] {
            assert_eq!(packet(bytes), wanted, "{bytes:?}");
        }
        let (kind, head, rest) = cotp(&[2, 0xf0, 0x80, 0x32]).unwrap();
        assert_eq!((kind, head.rest(), rest.rest()), (DATA, &[0x80][..], &[0x32][..]));
        assert!(cotp(&[9, 0xe0]).is_none());
    }
}
