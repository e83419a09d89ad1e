//! Who sent datagrams lately that became whole.
//!
//! Two bitmaps by a keyed hash of the source, the older of which is emptied now and then. A source is known for one to two
//! generations; one in eight others is taken for it at the worst.

use crate::units::{SECOND, Timestamp};

const WORDS: usize = 1024;

/// How long a bitmap is written to.
const GENERATION_NS: u64 = 600 * SECOND;

/// Sources in a bitmap from which it tells too little: an eighth of its bits.
const MARKED_MAX: u32 = (WORDS * 64 / 8) as u32;

/// See the module.
pub(super) struct Sources {
    young: Box<[u64; WORDS]>,
    old: Box<[u64; WORDS]>,
    /// Bits of the young one, and when it was begun.
    marked: u32,
    begun: Timestamp,
}

impl Sources {
    pub(super) fn new() -> Sources {
        Sources { young: Box::new([0; WORDS]), old: Box::new([0; WORDS]), marked: 0, begun: Timestamp(0) }
    }

    /// Was a datagram of the source of this hash whole lately?
    pub(super) fn knows(&self, hash: u64) -> bool {
        let (word, bit) = place(hash);
        [&self.young, &self.old].into_iter().any(|map| map.get(word).is_some_and(|word| word & bit != 0))
    }

    /// One was.
    pub(super) fn mark(&mut self, hash: u64, now: Timestamp) {
        if self.marked >= MARKED_MAX || now.since(self.begun) > GENERATION_NS {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.fill(0);
            (self.marked, self.begun) = (0, now);
        }
        let (word, bit) = place(hash);
        if let Some(word) = self.young.get_mut(word) {
            self.marked += u32::from(*word & bit == 0);
            *word |= bit;
        }
    }
}

/// Word and bit of a hash; not the bits that its share is made of.
fn place(hash: u64) -> (usize, u64) {
    let number = (hash >> 32) as usize % (WORDS * 64);
    (number / 64, 1 << (number % 64))
}
