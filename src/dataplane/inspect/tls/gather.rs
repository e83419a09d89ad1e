//! A handshake message across records: what stands between the record headers, put together.

use super::{CLEAR_MAX, MESSAGE_HEADER, RECORD_HEADER, content, is_read, length_of, message};

/// Bytes of a message that are put together, header included. Less than a unit of a stream (`UNIT_MAX`), so that the headers
/// of 179 records have room beside it; a message in smaller pieces than 90 bytes a record, and as long, is not read.
pub const GATHER_MAX: usize = 16_000;

/// What came of it. `taken` counts bytes of the stream, `left` what is left of the last record.
pub enum Gathered {
    /// So many bytes of the stream are needed at least.
    Need(usize),
    /// What follows is no record of the handshake.
    Bad,
    /// A message that is not read, or not so: only its header was put together.
    Header { kind: u8, lengths: [u8; 3], taken: usize, left: usize },
    /// A message of `total` bytes, of which the first `used` are in the scratch.
    Message { kind: u8, total: usize, used: usize, taken: usize, left: usize },
}

/// Puts the message together that begins here and runs over the end of the record, of which `left` bytes are to come.
pub fn gather(bytes: &[u8], left: usize, scratch: &mut [u8; GATHER_MAX]) -> Gathered {
    match gather_into(bytes, left, scratch) {
        Ok(gathered) | Err(gathered) => gathered,
    }
}

fn gather_into(bytes: &[u8], left: usize, scratch: &mut [u8; GATHER_MAX]) -> Result<Gathered, Gathered> {
    let mut header = [0; MESSAGE_HEADER];
    let (taken, left) = piece(bytes, 0, left, &mut header)?;
    let [kind, lengths @ ..] = header;
    if !is_read(kind) || kind == message::CLIENT_HELLO {
        return Ok(Gathered::Header { kind, lengths, taken, left });
    }
    let total = MESSAGE_HEADER + length_of(lengths);
    let used = total.min(GATHER_MAX);
    let body = scratch.get_mut(MESSAGE_HEADER..used).ok_or(Gathered::Bad)?;
    let (taken, left) = piece(bytes, taken, left, body)?;
    Ok(Gathered::Message { kind, total, used, taken, left })
}

/// Fills `into` with what stands in the records from `at` on, of the first of which `left` bytes are to come. Gives where the
/// next byte is, and what is left of the last record. The loop takes at least one byte each time, or the next record.
pub fn piece(bytes: &[u8], mut at: usize, mut left: usize, into: &mut [u8]) -> Result<(usize, usize), Gathered> {
    let mut used = 0;
    loop {
        let missing = into.len() - used;
        let count = left.min(missing);
        let (Some(from), Some(place)) = (bytes.get(at..at + count), into.get_mut(used..used + count)) else {
            return Err(Gathered::Need(at + missing + if missing > left { RECORD_HEADER } else { 0 }));
        };
        place.copy_from_slice(from);
        (at, used, left) = (at + count, used + count, left - count);
        if used == into.len() {
            return Ok((at, left));
        }
        left = next_record(bytes, at, into.len() - used)?;
        at += RECORD_HEADER;
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
