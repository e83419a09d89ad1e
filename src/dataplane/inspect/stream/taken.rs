//! Fingerprints of the segments that came last: what is not held any more and comes again is compared with them. Keyed, so
//! that no decoy can be made that has the fingerprint of what follows it.

use crate::sys::hash::KeyedHash;

/// Segments of a side that are remembered.
pub const SEGMENTS: usize = 4;
/// Bytes of each that are compared at most.
pub const LONGEST: usize = 2048;
/// Bytes of a segment from its beginning that are compared where fewer come again than came first: as many of these as there
/// are. Beyond the first they are multiples of 32, which are hashed at once.
pub const MARKS: [usize; 4] = [16, 64, 256, 1024];
/// Bytes that are hashed at once.
const BLOCK: usize = 32;

/// Of a segment's beginnings; others have one of them by chance, once in 2^32.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Prints {
    /// Up to each of [`MARKS`], as far as there are so many bytes.
    marks: [u32; MARKS.len()],
    /// Of all of it.
    whole: u32,
}

/// A segment.
#[derive(Clone, Copy, Default, Debug)]
struct Segment {
    sequence: u32,
    /// Bytes that are remembered; 0: none was.
    length: u16,
    prints: Prints,
}

/// See the module.
#[derive(Clone, Default, Debug)]
pub(super) struct Taken {
    segments: [Segment; SEGMENTS],
    next: u8,
}

fn words(block: &[u8; BLOCK]) -> [u64; 4] {
    let (words, _) = block.as_chunks::<8>();
    let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
    [0; 4].map(|_: u64| words.next().unwrap_or_default())
}

fn print(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Of [`LONGEST`] bytes at most: some fifteen instructions for each [`BLOCK`].
fn prints(hash: &KeyedHash, bytes: &[u8]) -> Prints {
    let (mut prints, mut state, mut at, mut first) = (Prints::default(), 0, 0, 0);
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for block in blocks {
        let [a, b, c, d] = words(block);
        if at == 0 {
            first = print(hash.hash(&[1, a, b, 0, 0]));
        }
        state = hash.hash(&[state, a, b, c, d]);
        at += BLOCK;
        for (mark, print_at) in MARKS.iter().zip(&mut prints.marks).skip(1) {
            if *mark == at {
                *print_at = print(state);
            }
        }
    }
    let mut last = [0; BLOCK];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let [a, b, c, d] = words(&last);
    if at == 0 {
        first = print(hash.hash(&[1, a, b, 0, 0]));
    }
    if let Some(print_at) = prints.marks.first_mut() {
        *print_at = first;
    }
    prints.whole = print(if rest.is_empty() { state } else { hash.hash(&[state ^ rest.len() as u64, a, b, c, d]) });
    prints
}

impl Taken {
    /// A segment at a place where none was before.
    pub(super) fn note(&mut self, sequence: u32, payload: &[u8], hash: &KeyedHash) {
        let payload = payload.get(..LONGEST).unwrap_or(payload);
        if let Some(one) = self.segments.get_mut(usize::from(self.next)) {
            let length = payload.len() as u16; // at most LONGEST
            *one = Segment { sequence, length, prints: prints(hash, payload) };
        }
        self.next = (self.next + 1) % SEGMENTS as u8;
    }

    /// A segment that lies where others were says something else than one of them. A single byte does not count: a
    /// keep-alive may bring any (RFC 9293 section 3.8.4).
    pub(super) fn contradict(&self, sequence: u32, payload: &[u8], hash: &KeyedHash) -> bool {
        let differs = |one: &Segment| {
            let begin = one.sequence.wrapping_sub(sequence) as usize;
            let Some(again) = payload.get(begin..).filter(|_| one.length > 0) else { return false };
            if let Some(all) = again.get(..usize::from(one.length)) {
                return prints(hash, all).whole != one.prints.whole;
            }
            let Some(last) = MARKS.iter().rposition(|mark| *mark <= again.len()) else { return false };
            let again = prints(hash, again.get(..LONGEST).unwrap_or(again));
            again.marks.get(last) != one.prints.marks.get(last)
        };
        payload.len() > 1 && self.segments.iter().any(differs)
    }
}
