//! Frames of an Initial packet (RFC 9000 section 19), of which CRYPTO is read.

use super::super::bytes::Reader;
use super::super::scratch::Scratch;
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

/// Ranges of an ACK that are stepped over.
const RANGES_MAX: u64 = 256;

/// Sorts the handshake bytes of a packet's frames into `scratch`. Gives the error code if the peer closes. Each turn of the
/// loop takes a byte or more; it ends early at what cannot stand in an Initial packet.
pub fn sort(plain: &[u8], scratch: &mut Scratch) -> Option<u64> {
    let mut reader = Reader::new(plain);
    while !reader.is_empty() {
        match varint(&mut reader)? {
            frame::PADDING => {
                let padding = reader.rest().iter().take_while(|byte| **byte == 0).count();
                reader.take(padding)?;
            }
            frame::PING => {}
            kind @ (frame::ACK | frame::ACK_ECN) => ack(&mut reader, kind == frame::ACK_ECN)?,
            frame::CRYPTO | frame::CRYPTO_GOOGLE => {
                let (offset, length) = (varint(&mut reader)?, varint(&mut reader)?);
                scratch.put(offset, reader.take(usize::try_from(length).ok()?)?);
            }
            frame::CONNECTION_CLOSE => return varint(&mut reader),
            _ => return None,
        }
    }
    None
}

fn ack(reader: &mut Reader<'_>, has_ecn: bool) -> Option<()> {
    let _largest_and_delay = (varint(reader)?, varint(reader)?);
    let ranges = varint(reader).filter(|ranges| *ranges <= RANGES_MAX)?;
    let fields = 1 + 2 * ranges + if has_ecn { 3 } else { 0 };
    (0..fields).try_for_each(|_| varint(reader).map(|_| ()))
}
