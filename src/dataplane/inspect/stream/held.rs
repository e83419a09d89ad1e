//! What is held of one side: bytes with holes between them, in a buffer from the queue's pool.

use super::buffers::{Buffers, Lease, WORD};

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
#[derive(Clone, Default, Debug)]
pub(super) struct Held {
    lease: Option<Lease>,
    /// Where the first byte lies in the buffer: bytes are moved only where there is no more room behind them.
    base: u32,
    in_order: u32,
    /// Behind the last byte.
    end: u32,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Its buffer was given to somebody else, and what it held is gone.
    pub(super) fn is_lost(&self, buffers: &Buffers) -> bool {
        self.lease.is_some_and(|lease| !buffers.is_valid(lease))
    }

    fn bytes<'a>(&self, buffers: &'a Buffers) -> &'a [u8] {
        self.lease.map_or(&[], |lease| buffers.get(lease).0)
    }

    fn map<'a>(&self, buffers: &'a Buffers) -> &'a [u64] {
        self.lease.map_or(&[], |lease| buffers.get(lease).1)
    }

    /// Bytes held in order from the first one on.
    pub(super) fn in_order(&self) -> u32 {
        self.in_order
    }

    /// The bytes that [`Held::in_order`] counts.
    pub(super) fn waiting<'a>(&self, buffers: &'a Buffers) -> &'a [u8] {
        let base = self.base as usize;
        self.bytes(buffers).get(base..base + self.in_order as usize).unwrap_or_default()
    }

    /// Something lies behind a hole.
    pub(super) fn has_hole(&self) -> bool {
        self.end > self.in_order
    }

    /// Where the first stretch behind a hole begins.
    pub(super) fn behind_hole(&self, buffers: &Buffers) -> Option<u32> {
        let base = self.base as usize;
        let place = |at: u32| base + at as usize;
        let next = || run_end(self.map(buffers), place(self.in_order), place(self.end), false);
        self.has_hole().then(|| (next() - base) as u32) // within the buffer
    }

    /// Where the last stretch ends.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// Bytes held that lie before `at`.
    pub(super) fn count_before(&self, at: u32, buffers: &Buffers) -> u32 {
        let (begin, end) = (self.base as usize, self.base as usize + at.min(self.end) as usize);
        let words = self.map(buffers).iter().zip(0..).take(end.div_ceil(WORD)).skip(begin / WORD);
        let within = |(word, index): (&u64, usize)| {
            let from = begin.saturating_sub(index * WORD);
            let to = (end - index * WORD).min(WORD);
            (word >> from << from & u64::MAX >> (WORD - to)).count_ones()
        };
        words.map(within).sum()
    }

    /// Lets all of it go.
    pub(super) fn clear(&mut self, buffers: &mut Buffers) {
        if let Some(lease) = self.lease {
            buffers.give_back(lease);
        }
        *self = Held::default();
    }

    /// Puts a stretch that lies within a buffer among the others; what is held already stays as it is.
    pub(super) fn put(&mut self, at: u32, bytes: &[u8], buffers: &mut Buffers) -> Result<Put, NoBuffer> {
        let room = self.room_for(at as usize + bytes.len(), buffers).ok_or(NoBuffer)?;
        let (memory, map) = buffers.get_mut(room).ok_or(NoBuffer)?;
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
            self.in_order = self.order(map);
        }
        Ok(put)
    }

    /// A buffer in which `count` bytes from the first one on have room: what is held is moved in it, or into a larger one.
    fn room_for(&mut self, count: usize, buffers: &mut Buffers) -> Option<Lease> {
        let Some(lease) = self.lease else {
            self.lease = Some(buffers.take(count)?);
            return self.lease;
        };
        if self.base as usize + count <= lease.room() {
            return Some(lease);
        }
        let (first, end) = (self.base as usize / WORD, (self.base + self.end) as usize);
        let words = end.div_ceil(WORD);
        self.base %= WORD as u32;
        if self.base as usize + count <= lease.room() {
            let (memory, map) = buffers.get_mut(lease)?;
            memory.copy_within(first * WORD..end.min(memory.len()), 0);
            map.copy_within(first..words.min(map.len()), 0);
            map.get_mut(words.saturating_sub(first)..).unwrap_or_default().fill(0);
            return Some(lease);
        }
        let larger = buffers.take(count)?;
        buffers.copy(lease, larger, first..words);
        buffers.give_back(lease);
        self.lease = Some(larger);
        self.lease
    }

    /// Bytes in order, of which there are [`Held::in_order`] at least.
    fn order(&self, map: &[u64]) -> u32 {
        let base = self.base as usize;
        let end = run_end(map, base + self.in_order as usize, base + self.end as usize, true);
        (end - base) as u32 // within the buffer
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
            let order = self.order(self.map(buffers));
            self.in_order = order;
        }
    }
}

#[cfg(test)]
#[path = "held_tests.rs"]
mod tests;
