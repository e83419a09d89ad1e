//! Frames of an Initial packet (RFC 9000 section 19), of which CRYPTO is read.

use super::super::bytes::Reader;
use super::super::scratch::{Put, Scratch};
use super::header::varint;

/// Numbers of frames that an Initial packet may have.
mod frame {
    pub const PADDING: u64 = 0;
    pub const PING: u64 = 1;
    pub const ACK: u64 = 2;
    pub const ACK_ECN: u64 = 3;
    pub const CRYPTO: u64 = 6;
    /// Drafts of Google's versions with TLS numbered it so.
    pub const CRYPTO_GOOGLE: u64 = 8;
    pub const CONNECTION_CLOSE: u64 = 0x1c;
}

/// What stood in the frames of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sorted {
    /// Error code, if the peer closes.
    pub close: Option<u64>,
    /// What was found of the handshake bytes.
    pub put: Put,
    /// It ends with what cannot stand in an Initial packet.
    pub is_bad: bool,
}

/// Sorts the handshake bytes of a packet's frames into `scratch`.
pub fn sort(plain: &[u8], scratch: &mut Scratch) -> Sorted {
    each(plain, |offset, bytes| scratch.put(offset, bytes))
}

/// Are there handshake bytes in its frames?
pub fn has_crypto(plain: &[u8]) -> bool {
    let mut has = false;
    each(plain, |_, bytes| {
        has |= !bytes.is_empty();
        Put::default()
    });
    has
}

/// Gives the handshake bytes of each frame to `put`. Each turn of the loop takes a byte or more.
fn each(plain: &[u8], mut put: impl FnMut(u64, &[u8]) -> Put) -> Sorted {
    let mut sorted = Sorted::default();
    let mut reader = Reader::new(plain);
    while sorted.close.is_none() && !sorted.is_bad && !reader.is_empty() {
        sorted.is_bad = one(&mut reader, &mut put, &mut sorted).is_none();
    }
    sorted
}

fn one(reader: &mut Reader<'_>, put: &mut impl FnMut(u64, &[u8]) -> Put, sorted: &mut Sorted) -> Option<()> {
    match varint(reader)? {
        frame::PADDING => {
            let padding = reader.rest().iter().take_while(|byte| **byte == 0).count();
            reader.take(padding)?;
        }
        frame::PING => {}
        kind @ (frame::ACK | frame::ACK_ECN) => ack(reader, kind == frame::ACK_ECN)?,
        frame::CRYPTO | frame::CRYPTO_GOOGLE => {
            let (offset, length) = (varint(reader)?, varint(reader)?);
            let put = put(offset, reader.take(usize::try_from(length).ok()?)?);
            sorted.put.is_different |= put.is_different;
            sorted.put.is_beyond |= put.is_beyond;
        }
        frame::CONNECTION_CLOSE => sorted.close = Some(varint(reader)?),
        _ => return None,
    }
    Some(())
}

/// As many ranges as are said to be: each has a byte or more.
fn ack(reader: &mut Reader<'_>, has_ecn: bool) -> Option<()> {
    let _largest_and_delay = (varint(reader)?, varint(reader)?);
    let fields = 1 + 2 * varint(reader)? + if has_ecn { 3 } else { 0 }; // a number has 62 bits
    (0..fields).try_for_each(|_| varint(reader).map(|_| ()))
}
