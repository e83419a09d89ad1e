//! Fingerprints of the segments that came last: what is not held any more and comes again is compared with them.

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

/// Differs where one word differs; otherwise by chance, once in 2^32.
fn fingerprint(bytes: &[u8]) -> u32 {
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(0, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let hash = rest.iter().fold(hash, |hash, byte| mix(hash, (*byte).into()));
    (hash >> 32) as u32
}

impl Taken {
    /// A segment at a place where none was before.
    pub(super) fn note(&mut self, sequence: u32, payload: &[u8]) {
        let long = payload.get(..LONG).unwrap_or(payload);
        let short = long.get(..SHORT).unwrap_or_default();
        let index = usize::from(self.next);
        if let (Some(one), Some(length)) = (self.beginnings.get_mut(index), self.lengths.get_mut(index)) {
            *one = Beginning { sequence, short: fingerprint(short), long: fingerprint(long) };
            *length = long.len() as u8; // at most LONG
        }
        self.next = ((index + 1) % SEGMENTS) as u8;
    }

    /// A segment that lies where others were says something else than one of them. A single byte does not count: a
    /// keep-alive may bring any (RFC 9293 section 3.8.4).
    pub(super) fn contradict(&self, sequence: u32, payload: &[u8]) -> bool {
        let differs = |(one, length): (&Beginning, &u8)| {
            let begin = one.sequence.wrapping_sub(sequence) as usize;
            let Some(again) = payload.get(begin..).filter(|_| *length > 0) else { return false };
            match again.get(..usize::from(*length)) {
                Some(long) => fingerprint(long) != one.long,
                None if usize::from(*length) < SHORT => false,
                None => again.get(..SHORT).is_some_and(|short| fingerprint(short) != one.short),
            }
        };
        payload.len() > 1 && self.beginnings.iter().zip(&self.lengths).any(differs)
    }
}
