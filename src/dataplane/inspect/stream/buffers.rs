//! The buffers of a queue's connections: of two sizes, and the one that was written to longest ago gives way.
//!
//! Nobody is asked before a buffer is taken from him: he finds out by its generation when he looks again. So what is full
//! costs the side that was silent longest, at the moment in which its place is needed and not before.

use super::super::parse::UNIT_MAX;
use super::super::shares::Shares;
use super::rings::Rings;
use std::ops::Range;

/// Bytes that a buffer can hold: the largest unit.
pub const BUFFER_BYTES: usize = UNIT_MAX;
/// Bytes that one of the small ones holds: two or three segments, as many as a hello of TLS with a key of ML-KEM has.
pub const SMALL_BYTES: usize = 4096;
/// Small ones for each that holds a whole unit: together they have about its memory.
pub const SMALL_PER_LARGE: usize = 4;

/// Bits of a word of a buffer's map.
pub(super) const WORD: usize = 64;
/// Memory of a large buffer and the small ones beside it, with their maps.
pub const BUFFER_MEMORY: usize = memory(BUFFER_BYTES) + SMALL_PER_LARGE * memory(SMALL_BYTES);

/// Bytes of a buffer's memory: what is held begins within the first word of its map.
const fn room(bytes: usize) -> usize {
    bytes + WORD
}

const fn words(bytes: usize) -> usize {
    room(bytes).div_ceil(WORD)
}

/// With what is kept of it beside.
const fn memory(bytes: usize) -> usize {
    room(bytes) + words(bytes) * size_of::<u64>() + size_of::<Owner>() + size_of::<u32>() + 2 * size_of::<[u32; 2]>()
}

/// Shares of which each has its own order.
const SHARES: usize = 256;

/// Whose a buffer is.
#[derive(Clone, Copy, Default)]
struct Owner {
    /// Times that it changed hands.
    generation: u32,
    /// Which source it counts for.
    share: u8,
}

/// Buffers of one size.
struct Pool {
    bytes: usize,
    memory: Vec<u8>,
    maps: Vec<u64>,
    free: Vec<u32>,
    owners: Vec<Owner>,
    shares: Shares,
    /// Those in use, the one written to longest ago first: all, and those of each share.
    all: Rings,
    by_share: Rings,
}

impl Pool {
    fn new(count: usize, bytes: usize) -> Pool {
        Pool {
            bytes,
            memory: vec![0; count * room(bytes)],
            maps: vec![0; count * words(bytes)],
            free: (0..count as u32).rev().collect(),
            owners: vec![Owner::default(); count],
            shares: Shares::new(count as u32),
            all: Rings::new(count, 1),
            by_share: Rings::new(count, SHARES),
        }
    }

    fn is_scarce(&self) -> bool {
        self.free.len() * 2 <= self.owners.len()
    }

    /// Takes the oldest of the source's where it has its share and there are not enough for all, else a free one, else the
    /// oldest of all; and whether it was somebody's.
    fn take(&mut self, share: u8) -> Option<(u32, bool)> {
        let own = (self.is_scarce() && self.shares.is_at_limit(share)).then(|| self.by_share.first(share.into()));
        let (index, was_used) = match own.flatten() {
            Some(index) => (index, true),
            None => match self.free.pop() {
                Some(index) => (index, false),
                None => (self.all.first(0)?, true),
            },
        };
        if was_used {
            self.let_go(index);
        }
        let owner = self.owners.get_mut(index as usize)?;
        owner.share = share;
        self.shares.take(share);
        self.touch(index);
        let [_, map] = self.places(index);
        self.maps.get_mut(map)?.fill(0);
        Some((index, was_used))
    }

    /// It is nobody's: what anybody had in it is gone.
    fn let_go(&mut self, index: u32) {
        if let Some(owner) = self.owners.get_mut(index as usize) {
            owner.generation = owner.generation.wrapping_add(1);
            self.shares.give_back(owner.share);
            self.all.remove(index);
            self.by_share.remove(index);
        }
    }

    fn is_held(&self, lease: Lease) -> bool {
        self.owners.get(lease.index as usize).is_some_and(|owner| owner.generation == lease.generation)
    }

    /// Where the bytes and the map of one are.
    fn places(&self, index: u32) -> [Range<usize>; 2] {
        let place = |size: usize| index as usize * size..(index as usize + 1) * size;
        [place(room(self.bytes)), place(words(self.bytes))]
    }

    /// It was written to.
    fn touch(&mut self, index: u32) {
        if let Some(owner) = self.owners.get(index as usize) {
            self.all.append(index, 0);
            self.by_share.append(index, owner.share.into());
        }
    }
}

/// Buffers of one queue, each with a map of the bytes that are there: so as many stretches are held as fit in it.
pub struct Buffers {
    pools: [Pool; 2],
    /// Who takes one.
    share: u8,
    taken_away: u64,
}

/// A buffer that somebody has, as long as it is of the same generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lease {
    index: u32,
    generation: u32,
    is_large: bool,
}

impl Lease {
    /// Bytes of its memory.
    pub(super) fn room(self) -> usize {
        room(if self.is_large { BUFFER_BYTES } else { SMALL_BYTES })
    }
}

impl Buffers {
    /// Takes memory for `count` buffers that hold a unit each, and [`SMALL_PER_LARGE`] times as many small ones.
    pub fn new(count: usize) -> Buffers {
        let count = count.min(1 << 20);
        Buffers {
            pools: [Pool::new(count * SMALL_PER_LARGE, SMALL_BYTES), Pool::new(count, BUFFER_BYTES)],
            share: 0,
            taken_away: 0,
        }
    }

    /// The next ones are for this source.
    pub fn serve(&mut self, share: u8) {
        self.share = share;
    }

    /// Buffers that were taken from those who had them, since the last call.
    pub fn taken_away(&mut self) -> u64 {
        std::mem::take(&mut self.taken_away)
    }

    /// Buffers in use.
    pub fn used(&self) -> usize {
        self.pools.iter().map(|pool| pool.owners.len() - pool.free.len()).sum()
    }

    /// At least half of the small ones are in use.
    pub fn are_scarce(&self) -> bool {
        let [small, _] = &self.pools;
        small.is_scarce()
    }

    /// One with room for so many bytes, with nothing in its map; `None` where there are none at all.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Lease> {
        let is_large = bytes > SMALL_BYTES;
        let share = self.share;
        let pool = self.pools.get_mut(usize::from(is_large))?;
        let (index, was_used) = pool.take(share)?;
        self.taken_away += u64::from(was_used);
        let generation = pool.owners.get(index as usize)?.generation;
        Some(Lease { index, generation, is_large })
    }

    /// Gives back what is still held by that lease.
    pub(super) fn give_back(&mut self, lease: Lease) {
        if let Some(pool) = self.pool_mut(lease) {
            pool.let_go(lease.index);
            pool.free.push(lease.index); // never more than there were at first
        }
    }

    /// It was not taken away.
    pub(super) fn is_valid(&self, lease: Lease) -> bool {
        self.pool(lease).is_some()
    }

    /// The bytes and the map; empty where it was taken away.
    pub(super) fn get(&self, lease: Lease) -> (&[u8], &[u64]) {
        let Some(pool) = self.pool(lease) else { return (&[], &[]) };
        let [bytes, map] = pool.places(lease.index);
        (pool.memory.get(bytes).unwrap_or_default(), pool.maps.get(map).unwrap_or_default())
    }

    /// [`Buffers::get`] to write to, which makes it the youngest.
    pub(super) fn get_mut(&mut self, lease: Lease) -> Option<(&mut [u8], &mut [u64])> {
        let pool = self.pool_mut(lease)?;
        pool.touch(lease.index);
        let [bytes, map] = pool.places(lease.index);
        Some((pool.memory.get_mut(bytes)?, pool.maps.get_mut(map)?))
    }

    /// Copies these words of the map, and the bytes they tell of, to the beginning of a buffer from another pool.
    pub(super) fn copy(&mut self, from: Lease, to: Lease, words: Range<usize>) {
        let [small, large] = &mut self.pools;
        let (source, target) = if to.is_large { (small, large) } else { (large, small) };
        let ([bytes, map], [to_bytes, to_map]) = (source.places(from.index), target.places(to.index));
        let parts = (source.memory.get(bytes), target.memory.get_mut(to_bytes));
        if let (Some(bytes), Some(target)) = parts
            && let Some(bytes) = bytes.get(words.start * WORD..bytes.len().min(words.end * WORD))
            && let Some(target) = target.get_mut(..bytes.len())
        {
            target.copy_from_slice(bytes);
        }
        if let (Some(map), Some(target)) = (source.maps.get(map), target.maps.get_mut(to_map))
            && let Some(map) = map.get(words)
            && let Some(target) = target.get_mut(..map.len())
        {
            target.copy_from_slice(map);
        }
    }

    fn pool(&self, lease: Lease) -> Option<&Pool> {
        self.pools.get(usize::from(lease.is_large)).filter(|pool| pool.is_held(lease))
    }

    fn pool_mut(&mut self, lease: Lease) -> Option<&mut Pool> {
        self.pools.get_mut(usize::from(lease.is_large)).filter(|pool| pool.is_held(lease))
    }
}
