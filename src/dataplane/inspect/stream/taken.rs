//! Fingerprints of the segments that came last: what is not held any more and comes again is compared with them. Keyed, so
//! that no decoy can be made that has the fingerprint of what follows it.

use crate::sys::hash::KeyedHash;

/// Segments of a side that are remembered.
pub const SEGMENTS: usize = 4;
/// Bytes of each.
pub const LONG: usize = 64;
/// Bytes that are compared where fewer than were remembered come again.
pub const SHORT: usize = 16;

/// The beginning of a segment.
#[derive(Clone, Copy, Default, Debug)]
struct Beginning {
    sequence: u32,
    short: u32,
    long: u32,
}

/// See the module.
#[derive(Clone, Default, Debug)]
pub(super) struct Taken {
    beginnings: [Beginning; SEGMENTS],
    /// Bytes of each that are remembered; 0 for none.
    lengths: [u8; SEGMENTS],
    next: u8,
}

/// Of [`LONG`] bytes at most; others have the same by chance, once in 2^32.
fn fingerprint(hash: &KeyedHash, bytes: &[u8]) -> u32 {
    let mut block = [0; LONG];
    let length = bytes.len().min(LONG);
    if let (Some(to), Some(from)) = (block.get_mut(..length), bytes.get(..length)) {
        to.copy_from_slice(from);
    }
    let (words, _) = block.as_chunks::<8>();
    let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
    let mut four = || [0; 4].map(|_: u64| words.next().unwrap_or_default());
    let [a, b, c, d] = four();
    let [e, f, g, h] = four();
    let first = hash.hash(&[length as u64, a, b, c, d]);
    let both = if length <= LONG / 2 { first } else { hash.hash(&[first, e, f, g, h]) };
    (both >> 32) as u32
}

impl Taken {
    /// A segment at a place where none was before.
    pub(super) fn note(&mut self, sequence: u32, payload: &[u8], hash: &KeyedHash) {
        let long = payload.get(..LONG).unwrap_or(payload);
        let short = long.get(..SHORT).unwrap_or_default();
        let index = usize::from(self.next);
        if let (Some(one), Some(length)) = (self.beginnings.get_mut(index), self.lengths.get_mut(index)) {
            *one = Beginning { sequence, short: fingerprint(hash, short), long: fingerprint(hash, long) };
            *length = long.len() as u8; // at most LONG
        }
        self.next = ((index + 1) % SEGMENTS) as u8;
    }

    /// A segment that lies where others were says something else than one of them. A single byte does not count: a
    /// keep-alive may bring any (RFC 9293 section 3.8.4).
    pub(super) fn contradict(&self, sequence: u32, payload: &[u8], hash: &KeyedHash) -> bool {
        let differs = |(one, length): (&Beginning, &u8)| {
            let begin = one.sequence.wrapping_sub(sequence) as usize;
            let Some(again) = payload.get(begin..).filter(|_| *length > 0) else { return false };
            match again.get(..usize::from(*length)) {
                Some(long) => fingerprint(hash, long) != one.long,
                None if usize::from(*length) < SHORT => false,
                None => again.get(..SHORT).is_some_and(|short| fingerprint(hash, short) != one.short),
            }
        };
        payload.len() > 1 && self.beginnings.iter().zip(&self.lengths).any(differs)
    }
}
