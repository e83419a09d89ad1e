//! A handshake message across records: what stands between the record headers, put together.

use super::{CLEAR_MAX, MESSAGE_HEADER, RECORD_HEADER, content, is_read, length_of};

/// Bytes of a message that are put together, header included. Less than a unit of a stream (`UNIT_MAX`), so that the headers
/// of 179 records have room beside it; a message in smaller pieces than 90 bytes a record, and as long, is not read.
pub const GATHER_MAX: usize = 16_000;

/// What came of it. `taken` counts bytes of the stream, `left` what is left of the last record.
pub enum Gathered {
    /// So many bytes of the stream are needed at least.
    Need(usize),
    /// What follows is no record of the handshake.
    Bad,
    /// A message that is not read: only its header was put together.
    Header { kind: u8, lengths: [u8; 3], taken: usize, left: usize },
    /// A message of `total` bytes, of which the first `used` are in the scratch.
    Message { kind: u8, total: usize, used: usize, taken: usize, left: usize },
}

/// Puts the message together that begins here and runs over the end of the record, of which `left` bytes are to come. The
/// loop takes at least one byte each time.
pub fn gather(bytes: &[u8], mut left: usize, scratch: &mut [u8; GATHER_MAX]) -> Gathered {
    let (mut at, mut used, mut wanted) = (0, 0, MESSAGE_HEADER);
    let mut total = None;
    loop {
        let missing = wanted - used;
        let count = left.min(missing);
        let (Some(from), Some(into)) = (bytes.get(at..at + count), scratch.get_mut(used..used + count)) else {
            return Gathered::Need(at + missing + if missing > left { RECORD_HEADER } else { 0 });
        };
        into.copy_from_slice(from);
        (at, used, left) = (at + count, used + count, left - count);
        if used == wanted {
            let Some(([kind, lengths @ ..], _)) = scratch.split_first_chunk::<MESSAGE_HEADER>() else {
                return Gathered::Bad;
            };
            match total {
                None if !is_read(*kind) => {
                    return Gathered::Header { kind: *kind, lengths: *lengths, taken: at, left };
                }
                None => {
                    let whole = MESSAGE_HEADER + length_of(*lengths);
                    (total, wanted) = (Some(whole), whole.min(GATHER_MAX));
                }
                Some(total) => return Gathered::Message { kind: *kind, total, used, taken: at, left },
            }
        }
        if left == 0 && used < wanted {
            match next_record(bytes, at, wanted - used) {
                Ok(length) => (at, left) = (at + RECORD_HEADER, length),
                Err(end) => return end,
            }
        }
    }
}

/// Length of the handshake record that must follow, where `missing` bytes of the message are.
fn next_record(bytes: &[u8], at: usize, missing: usize) -> Result<usize, Gathered> {
    let header = bytes.get(at..).and_then(|rest| rest.first_chunk::<RECORD_HEADER>());
    let [kind, major, _, high, low] = header.ok_or(Gathered::Need(at + RECORD_HEADER + missing))?;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let is_good = *kind == content::HANDSHAKE && *major == 3 && (1..=CLEAR_MAX).contains(&length);
    is_good.then_some(length).ok_or(Gathered::Bad)
}
