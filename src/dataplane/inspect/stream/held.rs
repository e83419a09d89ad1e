//! What is held of one side: bytes with holes between them, in a buffer from the queue's pool.

use super::super::parse::UNIT_MAX;
use super::super::shares::Shares;

/// Bytes that a buffer holds: the largest unit.
pub const BUFFER_BYTES: usize = UNIT_MAX;
/// Bits of a word of a buffer's map.
const WORD: usize = 64;
/// A buffer's memory: what is held begins within the first word of its map.
const MEMORY: usize = BUFFER_BYTES + WORD;
const WORDS: usize = MEMORY.div_ceil(WORD);
/// Memory of a buffer with its map.
pub const BUFFER_MEMORY: usize = MEMORY + WORDS * size_of::<u64>();

/// Buffers of one queue, each with a map of the bytes that are there: so as many stretches are held as fit in it.
pub struct Buffers {
    memory: Vec<u8>,
    maps: Vec<u64>,
    free: Vec<u32>,
    all: usize,
    shares: Shares,
    /// Whose share each counts for.
    owners: Vec<u8>,
    /// Who takes one.
    share: u8,
}

/// No buffer.
const NONE: u32 = u32::MAX;

impl Buffers {
    /// Takes memory for `count` buffers.
    pub fn new(count: usize) -> Buffers {
        let count = count.min(NONE as usize);
        Buffers {
            memory: vec![0; count * MEMORY],
            maps: vec![0; count * WORDS],
            free: (0..count as u32).rev().collect(),
            all: count,
            shares: Shares::new(count as u32), // fewer than NONE
            owners: vec![0; count],
            share: 0,
        }
    }

    /// The next ones are for this source: is there none for it before another one is given up?
    pub fn is_short_for(&mut self, share: u8) -> bool {
        self.share = share;
        self.free.is_empty() || self.is_at_limit()
    }

    /// Where there are not enough for all, a source has no more than its share.
    fn is_at_limit(&self) -> bool {
        self.are_scarce() && self.shares.is_at_limit(self.share)
    }

    /// Buffers not in use.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// At least half of them are in use.
    pub fn are_scarce(&self) -> bool {
        self.free.len() * 2 <= self.all
    }

    /// One that is free, with nothing in its map.
    fn take(&mut self) -> Option<u32> {
        if self.is_at_limit() {
            return None;
        }
        let index = self.free.pop()?;
        *self.owners.get_mut(index as usize)? = self.share;
        self.shares.take(self.share);
        let (_, map) = self.get_mut(index)?;
        map.fill(0);
        Some(index)
    }

    fn give_back(&mut self, index: u32) {
        if let Some(share) = self.owners.get(index as usize) {
            self.shares.give_back(*share);
            self.free.push(index); // never more than there were at first
        }
    }

    fn bytes(&self, index: u32) -> &[u8] {
        let begin = (index as usize).saturating_mul(MEMORY);
        self.memory.get(begin..begin.saturating_add(MEMORY)).unwrap_or_default()
    }

    fn map(&self, index: u32) -> &[u64] {
        let begin = (index as usize).saturating_mul(WORDS);
        self.maps.get(begin..begin.saturating_add(WORDS)).unwrap_or_default()
    }

    fn get_mut(&mut self, index: u32) -> Option<(&mut [u8], &mut [u64])> {
        let (bytes, words) = ((index as usize).checked_mul(MEMORY)?, (index as usize).checked_mul(WORDS)?);
        Some((self.memory.get_mut(bytes..bytes + MEMORY)?, self.maps.get_mut(words..words + WORDS)?))
    }
}

/// Where the bytes from `from` on are no longer there (`held`), or there again; `end` at most.
fn run_end(map: &[u64], from: usize, end: usize, held: bool) -> usize {
    let mut at = from;
    while at < end {
        let Some(&word) = map.get(at / WORD) else { return end };
        let other = if held { !word } else { word } >> (at % WORD);
        if other != 0 {
            return (at + other.trailing_zeros() as usize).min(end);
        }
        at = (at / WORD + 1) * WORD;
    }
    end
}

fn set(map: &mut [u64], begin: usize, end: usize) {
    let mut at = begin;
    while at < end {
        let next = ((at / WORD + 1) * WORD).min(end);
        if let Some(word) = map.get_mut(at / WORD) {
            *word |= (u64::MAX >> (WORD - (next - at))) << (at % WORD);
        }
        at = next;
    }
}

/// No buffer was free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoBuffer;

/// How a stretch lay to what was held.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Put {
    /// Bytes of it that were held already.
    pub(super) common: u32,
    /// Some of them were not the same.
    pub(super) differs: bool,
}

/// See the module; places count from the first byte that the parser has not taken.
#[derive(Clone, Debug)]
pub(super) struct Held {
    buffer: u32,
    /// Where the first byte lies in the buffer: bytes are moved only where there is no more room behind them.
    base: u32,
    in_order: u32,
    /// Behind the last byte.
    end: u32,
}

impl Default for Held {
    fn default() -> Held {
        Held { buffer: NONE, base: 0, in_order: 0, end: 0 }
    }
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Has a buffer.
    pub(super) fn has_buffer(&self) -> bool {
        self.buffer != NONE
    }

    /// Bytes held in order from the first one on.
    pub(super) fn in_order(&self) -> u32 {
        self.in_order
    }

    /// The bytes that [`Held::in_order`] counts.
    pub(super) fn waiting<'a>(&self, buffers: &'a Buffers) -> &'a [u8] {
        let base = self.base as usize;
        buffers.bytes(self.buffer).get(base..base + self.in_order as usize).unwrap_or_default()
    }

    /// Something lies behind a hole.
    pub(super) fn has_hole(&self) -> bool {
        self.end > self.in_order
    }

    /// Where the first stretch behind a hole begins.
    pub(super) fn behind_hole(&self, buffers: &Buffers) -> Option<u32> {
        let base = self.base as usize;
        let place = |at: u32| base + at as usize;
        let next = || run_end(buffers.map(self.buffer), place(self.in_order), place(self.end), false);
        self.has_hole().then(|| (next() - base) as u32) // within the buffer
    }

    /// Where the last stretch ends.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// Bytes held that lie before `at`.
    pub(super) fn count_before(&self, at: u32, buffers: &Buffers) -> u32 {
        let (begin, end) = (self.base as usize, self.base as usize + at.min(self.end) as usize);
        let words = buffers.map(self.buffer).iter().zip(0..).take(end.div_ceil(WORD)).skip(begin / WORD);
        let within = |(word, index): (&u64, usize)| {
            let from = begin.saturating_sub(index * WORD);
            let to = (end - index * WORD).min(WORD);
            (word >> from << from & u64::MAX >> (WORD - to)).count_ones()
        };
        words.map(within).sum()
    }

    /// Lets all of it go.
    pub(super) fn clear(&mut self, buffers: &mut Buffers) {
        buffers.give_back(self.buffer);
        *self = Held::default();
    }

    /// Puts a stretch that lies within a buffer among the others; what is held already stays as it is.
    pub(super) fn put(&mut self, at: u32, bytes: &[u8], buffers: &mut Buffers) -> Result<Put, NoBuffer> {
        if self.buffer == NONE {
            self.buffer = buffers.take().ok_or(NoBuffer)?;
        }
        let (memory, map) = buffers.get_mut(self.buffer).ok_or(NoBuffer)?;
        if self.base as usize + at as usize + bytes.len() > MEMORY {
            self.move_to_front(memory, map);
        }
        let begin = self.base as usize + at as usize;
        let end = begin + bytes.len();
        let mut put = Put::default();
        let (mut from, mut is_held) = (begin, false);
        while from < end {
            let to = run_end(map, from, end, is_held);
            let (target, source) = (memory.get_mut(from..to), bytes.get(from - begin..to - begin));
            if let (Some(target), Some(source)) = (target, source) {
                if is_held {
                    put.common += (to - from) as u32;
                    put.differs |= target != source;
                } else {
                    target.copy_from_slice(source);
                }
            }
            (from, is_held) = (to, !is_held);
        }
        set(map, begin, end);
        self.end = self.end.max(at + bytes.len() as u32); // within the buffer
        if at <= self.in_order {
            self.find_order(map);
        }
        Ok(put)
    }

    /// Moves what is held to the first word, so that a whole buffer lies behind its first byte.
    fn move_to_front(&mut self, memory: &mut [u8], map: &mut [u64]) {
        let base = self.base as usize;
        let (end, words) = ((base + self.end as usize).min(memory.len()), (base / WORD).min(map.len()));
        memory.copy_within(words * WORD..end, 0);
        map.copy_within(words.., 0);
        let left = map.len() - words;
        map.get_mut(left..).unwrap_or_default().fill(0);
        self.base = (base % WORD) as u32;
    }

    fn find_order(&mut self, map: &[u64]) {
        let base = self.base as usize;
        let end = run_end(map, base + self.in_order as usize, base + self.end as usize, true);
        self.in_order = (end - base) as u32; // within the buffer
    }

    /// Drops the first `count` bytes, holes included, and gives an empty buffer back.
    pub(super) fn drop_front(&mut self, count: u32, buffers: &mut Buffers) {
        if count >= self.end {
            self.clear(buffers);
            return;
        }
        self.base += count;
        self.end -= count;
        if count <= self.in_order {
            self.in_order -= count;
        } else {
            self.in_order = 0;
            let map = buffers.map(self.buffer);
            self.find_order(map);
        }
    }
}

#[cfg(test)]
#[path = "held_tests.rs"]
mod tests;
