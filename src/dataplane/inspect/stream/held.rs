//! What is held of one side: stretches between holes, in a buffer from the queue's pool.

use super::super::parse::UNIT_MAX;

/// Size of a buffer: the largest unit.
pub const BUFFER_BYTES: usize = UNIT_MAX;
/// Stretches between holes that are kept; of more the last one is let go, as if it had been lost.
pub const ISLANDS: usize = 4;

/// Buffers of one queue.
pub struct Buffers {
    memory: Vec<u8>,
    free: Vec<u32>,
    all: usize,
}

/// No buffer.
const NONE: u32 = u32::MAX;

impl Buffers {
    /// Takes memory for `count` buffers.
    pub fn new(count: usize) -> Buffers {
        let count = count.min(NONE as usize);
        Buffers { memory: vec![0; count * BUFFER_BYTES], free: (0..count as u32).rev().collect(), all: count }
    }

    /// Buffers not in use.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// At least half of them are in use.
    pub fn are_scarce(&self) -> bool {
        self.free.len() * 2 <= self.all
    }

    fn get(&self, index: u32) -> &[u8] {
        let begin = (index as usize).saturating_mul(BUFFER_BYTES);
        self.memory.get(begin..begin.saturating_add(BUFFER_BYTES)).unwrap_or_default()
    }

    fn get_mut(&mut self, index: u32) -> &mut [u8] {
        let begin = (index as usize).saturating_mul(BUFFER_BYTES);
        self.memory.get_mut(begin..begin.saturating_add(BUFFER_BYTES)).unwrap_or_default()
    }
}

/// A stretch that is held: offsets from the first byte that the parser has not taken.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Island {
    pub(super) begin: u32,
    pub(super) end: u32,
}

/// Why a stretch is not held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// No buffer was free.
    NoBuffer,
    /// There would be more stretches than [`ISLANDS`], and it would be the last.
    Islands,
}

/// How a stretch lay to the others among which it was put.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Put {
    /// Bytes of it that were held already.
    pub(super) common: u32,
    /// Some of them were not the same.
    pub(super) differs: bool,
    /// The last stretch was let go for it.
    pub(super) last_gone: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Held {
    buffer: u32,
    count: u8,
    /// In order, none touching another; the first `count` are in use.
    islands: [Island; ISLANDS],
}

impl Default for Held {
    fn default() -> Held {
        Held { buffer: NONE, count: 0, islands: [Island::default(); ISLANDS] }
    }
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Has a buffer.
    pub(super) fn has_buffer(&self) -> bool {
        self.buffer != NONE
    }

    fn islands(&self) -> &[Island] {
        self.islands.get(..self.count.into()).unwrap_or_default()
    }

    /// Bytes held in order from the first one on.
    pub(super) fn in_order(&self) -> u32 {
        self.islands().first().filter(|first| first.begin == 0).map_or(0, |first| first.end)
    }

    /// The bytes that [`Held::in_order`] counts.
    pub(super) fn waiting<'a>(&self, buffers: &'a Buffers) -> &'a [u8] {
        buffers.get(self.buffer).get(..self.in_order() as usize).unwrap_or_default()
    }

    /// Where the first stretch behind a hole begins.
    pub(super) fn behind_hole(&self) -> Option<u32> {
        self.islands().iter().map(|island| island.begin).find(|begin| *begin > 0)
    }

    /// Where the last stretch ends.
    pub(super) fn end(&self) -> u32 {
        self.islands().last().map_or(0, |island| island.end)
    }

    /// Bytes held that lie before `at`.
    pub(super) fn count_before(&self, at: u32) -> u32 {
        self.islands().iter().map(|island| island.end.min(at) - island.begin.min(at)).sum()
    }

    /// Lets all of it go.
    pub(super) fn clear(&mut self, buffers: &mut Buffers) {
        self.count = 0;
        if self.buffer != NONE {
            buffers.free.push(self.buffer); // never more than there were at first
            self.buffer = NONE;
        }
    }

    /// Puts a stretch that lies within a buffer among the others; what is held already stays as it is.
    pub(super) fn put(&mut self, at: u32, bytes: &[u8], buffers: &mut Buffers) -> Result<Put, Refused> {
        let new = Island { begin: at, end: at.saturating_add(bytes.len() as u32) }; // at most a buffer
        let mut last_gone = false;
        let (islands, count) = match self.with(new) {
            Some(all) => all,
            // It touches none, so it takes the place of the last one if it comes before that.
            None if new.begin < self.end() => {
                self.count -= 1;
                last_gone = true;
                self.with(new).ok_or(Refused::Islands)?
            }
            None => return Err(Refused::Islands),
        };
        if self.buffer == NONE {
            self.buffer = buffers.free.pop().ok_or(Refused::NoBuffer)?;
        }
        let put = self.write(new, bytes, buffers);
        (self.islands, self.count) = (islands, count);
        Ok(Put { last_gone, ..put })
    }

    /// Writes what no island holds yet, and compares what one does.
    fn write(&self, new: Island, bytes: &[u8], buffers: &mut Buffers) -> Put {
        let place = buffers.get_mut(self.buffer);
        let mut put = Put::default();
        let mut from = new.begin;
        let source = |from: u32, to: u32| bytes.get((from - new.begin) as usize..(to - new.begin) as usize);
        let nothing_more = Island { begin: new.end, end: new.end };
        for island in self.islands().iter().chain([&nothing_more]) {
            let (begin, end) = (island.begin.clamp(from, new.end), island.end.clamp(from, new.end));
            if let (Some(target), Some(source)) = (place.get_mut(from as usize..begin as usize), source(from, begin)) {
                target.copy_from_slice(source);
            }
            if end > begin {
                put.common += end - begin;
                put.differs |= place.get(begin as usize..end as usize) != source(begin, end);
            }
            from = end.max(begin);
        }
        put
    }

    /// The islands with `new` among them; `None` if they would be too many.
    fn with(&self, new: Island) -> Option<([Island; ISLANDS], u8)> {
        let mut islands = [Island::default(); ISLANDS];
        let mut count = 0;
        let mut put = |island: Island| {
            *islands.get_mut(count)? = island;
            count += 1;
            Some(())
        };
        let mut new = Some(new);
        for &island in self.islands() {
            match new {
                Some(one) if one.end < island.begin => {
                    put(one)?;
                    put(island)?;
                    new = None;
                }
                Some(one) if one.begin <= island.end => {
                    new = Some(Island { begin: one.begin.min(island.begin), end: one.end.max(island.end) });
                }
                _ => put(island)?,
            }
        }
        if let Some(one) = new {
            put(one)?;
        }
        Some((islands, count as u8)) // at most ISLANDS
    }

    /// Drops the first `count` bytes, holes included, and gives an empty buffer back.
    pub(super) fn drop_front(&mut self, count: u32, buffers: &mut Buffers) {
        if count == 0 || self.count == 0 {
            return;
        }
        let last = self.end();
        let mut kept = [Island::default(); ISLANDS];
        let left = self.islands().iter().filter(|island| island.end > count);
        let left = left.map(|island| Island { begin: island.begin.saturating_sub(count), end: island.end - count });
        let mut number = 0;
        for (place, island) in kept.iter_mut().zip(left) {
            *place = island;
            number += 1;
        }
        (self.islands, self.count) = (kept, number);
        if number == 0 {
            self.clear(buffers);
        } else if last as usize <= BUFFER_BYTES {
            // An island ends behind `count`, and the last one within the buffer.
            buffers.get_mut(self.buffer).copy_within(count as usize..last as usize, 0);
        }
    }
}
