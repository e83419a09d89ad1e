//! The stages of a burst's lookups before the records are touched: hash all and ask for the buckets, then look into all
//! and ask for the records.

use super::FlowTable;
use crate::dataplane::decode::{FlowKey, Packet};
use crate::dataplane::flow::bucket::Bucket;
use crate::dataplane::flow::record::FlowRecord;
use crate::dataplane::flow::wheel::NONE;
use crate::sys::hash::KeyedHash;
use crate::sys::prefetch;

/// Where a key may stand.
#[derive(Clone, Copy)]
pub(super) struct Home {
    pub first: usize,
    pub second: usize,
    pub tag: u16,
}

/// Splits a hash: it chooses the first bucket by multiply-shift (no division, any number of buckets), which looks at its
/// upper bits, turned by half its width the second one; the lowest 16 are the tag.
#[inline(always)]
fn home(hash: u64, buckets: usize) -> Home {
    // Beyond 2^16 buckets tag and second bucket share some bits, which makes a few more false tags there.
    let bucket = |hash: u64| ((u128::from(hash) * buckets as u128) >> 64) as usize;
    Home { first: bucket(hash), second: bucket(hash.rotate_left(32)), tag: hash as u16 }
}

/// Stage 1, apart from the table, so that a loop keeps in registers what behind the table would be read again after every
/// store into a packet.
#[derive(Clone, Copy)]
pub struct Staging<'a> {
    hasher: &'a KeyedHash,
    buckets: &'a [Bucket],
}

impl Staging<'_> {
    /// Hashes the packet's key, sets `hash` and `hint` and asks for the first bucket's cache line.
    #[inline(always)]
    pub fn stage(&self, packet: &mut Packet) {
        let hash = hash(self.hasher, &packet.key);
        self.place(packet, hash);
    }

    /// The same for a key whose [`FlowKey::v4_words`] are known.
    #[inline(always)]
    pub fn stage_v4(&self, packet: &mut Packet, words: [u64; 2]) {
        self.place(packet, self.hasher.hash_pair(words));
    }

    #[inline(always)]
    fn place(&self, packet: &mut Packet, hash: u64) {
        let first = home(hash, self.buckets.len()).first;
        packet.hash = hash;
        packet.hint = first as u32; // there are at most 2^28
        prefetch::nth(self.buckets, first);
    }
}

impl FlowTable {
    /// Keyed hash of a key.
    #[inline(always)]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        hash(&self.hasher, key)
    }

    /// Stage 1: see [`Staging`].
    #[inline(always)]
    pub fn staging(&self) -> Staging<'_> {
        Staging { hasher: &self.hasher, buckets: &self.buckets }
    }

    /// Stage 2 for packets that stage 1 has seen: compares tags only and asks for the record's cache lines; sets each
    /// packet's `hint` to the likely slot (`u32::MAX`: none).
    #[inline(always)]
    pub fn probe_all(&self, packets: &mut [Packet]) {
        // In locals, as in `Staging`.
        let (buckets, records) = (self.buckets.as_slice(), self.records.as_slice());
        for packet in packets {
            // Stage 1 has left its number there.
            let Some(bucket) = buckets.get(packet.hint as usize) else { continue };
            if let Some(slot) = bucket.first(packet.hash as u16) {
                packet.hint = slot;
                prefetch::nth_pair(records, slot as usize);
            } else if bucket.has_overflowed() {
                probe_second(buckets, records, packet);
            } else {
                packet.hint = NONE;
            }
        }
    }

    /// Both stages for one hash.
    #[inline]
    pub fn probe(&self, hash: u64) -> u32 {
        let mut packet = Packet::default();
        self.staging().place(&mut packet, hash);
        self.probe_all(std::slice::from_mut(&mut packet));
        packet.hint
    }

    /// Asks for the cache line of the first bucket of a key.
    #[inline]
    pub(super) fn prefetch_bucket(&self, key: &FlowKey) {
        prefetch::nth(&self.buckets, self.home(self.hash(key)).first);
    }

    #[inline(always)]
    pub(super) fn home(&self, hash: u64) -> Home {
        home(hash, self.buckets.len())
    }
}

#[inline(always)]
fn hash(hasher: &KeyedHash, key: &FlowKey) -> u64 {
    match key.v4_words() {
        Some(words) => hasher.hash_pair(words),
        None => hasher.hash(key.words()),
    }
}

#[cold]
#[inline(never)]
fn probe_second(buckets: &[Bucket], records: &[FlowRecord], packet: &mut Packet) {
    let Home { second, tag, .. } = home(packet.hash, buckets.len());
    packet.hint = buckets.get(second).and_then(|bucket| bucket.first(tag)).unwrap_or(NONE);
    prefetch::nth_pair(records, packet.hint as usize);
}
