//! The buffers of a queue's connections: of two sizes, and the one that was written to longest ago gives way.
//!
//! Nobody is asked before a buffer is taken from him: he finds out by its generation when he looks again. So what is full
//! costs the side that was silent longest, at the moment in which its place is needed and not before.

use super::super::parse::UNIT_MAX;
use super::super::places::{Given, Places};
use crate::sys::hash::KeyedHash;
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
    room(bytes) + words(bytes) * size_of::<u64>() + size_of::<u32>() + Places::BYTES
}

/// Buffers of one size.
struct Pool {
    bytes: usize,
    memory: Vec<u8>,
    maps: Vec<u64>,
    /// How often each changed hands.
    generations: Vec<u32>,
    places: Places,
}

impl Pool {
    fn new(count: usize, bytes: usize) -> Pool {
        Pool {
            bytes,
            memory: vec![0; count * room(bytes)],
            maps: vec![0; count * words(bytes)],
            generations: vec![0; count],
            places: Places::new(count),
        }
    }

    /// One with nothing in its map.
    fn take(&mut self, share: u8) -> Option<Given> {
        let given = self.places.take(share)?;
        if given.was_used {
            self.next_generation(given.index);
        }
        let [_, map] = self.spans(given.index);
        self.maps.get_mut(map)?.fill(0);
        Some(given)
    }

    /// What anybody had in it is gone.
    fn next_generation(&mut self, index: u32) {
        if let Some(generation) = self.generations.get_mut(index as usize) {
            *generation = generation.wrapping_add(1);
        }
    }

    fn is_held(&self, lease: Lease) -> bool {
        self.generations.get(lease.index as usize) == Some(&lease.generation)
    }

    /// Where the bytes and the map of one are.
    fn spans(&self, index: u32) -> [Range<usize>; 2] {
        let span = |size: usize| index as usize * size..(index as usize + 1) * size;
        [span(room(self.bytes)), span(words(self.bytes))]
    }
}

/// Buffers of one queue, each with a map of the bytes that are there: so as many stretches are held as fit in it.
pub struct Buffers {
    pools: [Pool; 2],
    /// Who takes one.
    share: u8,
    taken_away: u64,
    /// The queue's, for fingerprints of what is held no more.
    hash: KeyedHash,
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
    /// Takes memory for `count` buffers that hold a unit each, and [`SMALL_PER_LARGE`] times as many small ones; `hash` is the
    /// queue's.
    pub fn new(count: usize, hash: KeyedHash) -> Buffers {
        let count = count.min(1 << 20);
        Buffers {
            pools: [Pool::new(count * SMALL_PER_LARGE, SMALL_BYTES), Pool::new(count, BUFFER_BYTES)],
            share: 0,
            taken_away: 0,
            hash,
        }
    }

    /// The queue's keyed hash.
    pub(in super::super) fn hash(&self) -> &KeyedHash {
        &self.hash
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
        self.pools.iter().map(|pool| pool.places.used()).sum()
    }

    /// At least half of the small ones are in use.
    pub fn are_scarce(&self) -> bool {
        let [small, _] = &self.pools;
        small.places.are_scarce()
    }

    /// One with room for so many bytes, with nothing in its map; `None` where there are none at all.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Lease> {
        let is_large = bytes > SMALL_BYTES;
        let share = self.share;
        let pool = self.pools.get_mut(usize::from(is_large))?;
        let Given { index, was_used } = pool.take(share)?;
        self.taken_away += u64::from(was_used);
        let generation = *pool.generations.get(index as usize)?;
        Some(Lease { index, generation, is_large })
    }

    /// Gives back what is still held by that lease.
    pub(super) fn give_back(&mut self, lease: Lease) {
        if let Some(pool) = self.pool_mut(lease) {
            pool.next_generation(lease.index);
            pool.places.give_back(lease.index);
        }
    }

    /// It was not taken away.
    pub(super) fn is_valid(&self, lease: Lease) -> bool {
        self.pool(lease).is_some()
    }

    /// The bytes and the map; empty where it was taken away.
    pub(super) fn get(&self, lease: Lease) -> (&[u8], &[u64]) {
        let Some(pool) = self.pool(lease) else { return (&[], &[]) };
        let [bytes, map] = pool.spans(lease.index);
        (pool.memory.get(bytes).unwrap_or_default(), pool.maps.get(map).unwrap_or_default())
    }

    /// [`Buffers::get`] to write to, which makes it the youngest.
    pub(super) fn get_mut(&mut self, lease: Lease) -> Option<(&mut [u8], &mut [u64])> {
        let pool = self.pool_mut(lease)?;
        pool.places.touch(lease.index);
        let [bytes, map] = pool.spans(lease.index);
        Some((pool.memory.get_mut(bytes)?, pool.maps.get_mut(map)?))
    }

    /// Copies these words of the map, and the bytes they tell of, to the beginning of a buffer from another pool.
    pub(super) fn copy(&mut self, from: Lease, to: Lease, words: Range<usize>) {
        let [small, large] = &mut self.pools;
        let (source, target) = if to.is_large { (small, large) } else { (large, small) };
        let ([bytes, map], [to_bytes, to_map]) = (source.spans(from.index), target.spans(to.index));
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
