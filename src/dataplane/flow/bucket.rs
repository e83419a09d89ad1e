//! One cache line of the index: eight tags, eight slots, and how many keys had to go elsewhere.

use super::wheel::NONE;

/// Entries a bucket.
pub(super) const WAYS: usize = 8;

/// A bucket. An entry without a slot is empty; its tag is 0, as one key's in 65 536 is.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    tags: [u16; WAYS],
    slots: [u32; WAYS],
    /// Keys whose first bucket this is and that stand in their second one; while 0 a lookup may stop here.
    overflowed: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    pub(super) const EMPTY: Bucket = Bucket { tags: [0; WAYS], slots: [NONE; WAYS], overflowed: 0 };

    /// Entries whose tag is `tag`, a bit each, among them such as are empty if it is 0. Branch-free: one vector compare.
    #[inline(always)]
    pub(super) fn matches(&self, tag: u16) -> u32 {
        crate::sys::tags::matches(&self.tags, tag)
    }

    /// The slot of the first entry whose tag is `tag`; [`NONE`] if that is empty (then it is 0).
    #[inline(always)]
    pub(super) fn first(&self, tag: u16) -> Option<u32> {
        crate::sys::tags::first(&self.tags, tag).and_then(|way| self.slots.get(way)).copied()
    }

    /// The slot of an entry.
    #[inline(always)]
    pub(super) fn slot(&self, way: u32) -> u32 {
        self.slots.get(way as usize % WAYS).copied().unwrap_or(NONE)
    }

    /// Slots in use.
    pub(super) fn occupied(&self) -> impl Iterator<Item = u32> {
        self.slots.into_iter().filter(|slot| *slot != NONE)
    }

    /// Entries not in use, a bit each.
    #[inline(always)]
    fn empty(&self) -> u32 {
        crate::sys::tags::matches_u32(&self.slots, NONE)
    }

    /// Entries in use.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        WAYS as u32 - self.empty().count_ones()
    }

    /// Puts an entry into a free place; `false` if there is none.
    #[inline]
    pub(super) fn put(&mut self, tag: u16, slot: u32) -> bool {
        let way = self.empty().trailing_zeros() as usize;
        match (self.tags.get_mut(way), self.slots.get_mut(way)) {
            (Some(free), Some(place)) => {
                *free = tag;
                *place = slot;
                true
            }
            _ => false,
        }
    }

    /// Takes the entry of `slot` out; `false` if it is not here.
    #[inline]
    pub(super) fn take(&mut self, slot: u32) -> bool {
        let way = crate::sys::tags::matches_u32(&self.slots, slot).trailing_zeros() as usize;
        match (self.tags.get_mut(way), self.slots.get_mut(way)) {
            (Some(tag), Some(place)) => {
                *tag = 0;
                *place = NONE;
                true
            }
            _ => false,
        }
    }

    /// Has any key of this bucket gone to its second one?
    #[inline(always)]
    pub(super) fn has_overflowed(&self) -> bool {
        self.overflowed != 0
    }

    /// One key more, or less, has gone to its second bucket.
    #[inline]
    pub(super) fn note_overflow(&mut self, change: i32) {
        self.overflowed = self.overflowed.saturating_add_signed(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_go_in_and_come_out_by_slot() {
        let mut bucket = Bucket::EMPTY;
        for slot in 0..8 {
            assert!(bucket.put(7, slot));
        }
        assert!(!bucket.put(7, 8));
        assert_eq!(bucket.matches(7), 0xff);
        assert!(bucket.take(3) && !bucket.take(3));
        assert_eq!((bucket.matches(7), bucket.len()), (0xf7, 7));
        assert!(bucket.put(9, 30));
        assert_eq!(bucket.slot(bucket.matches(9).trailing_zeros()), 30);
        assert_eq!(bucket.occupied().count(), 8);
    }

    #[test]
    fn a_tag_of_zero_is_one_like_any_other() {
        let mut bucket = Bucket::EMPTY;
        assert_eq!((bucket.first(0), bucket.len()), (Some(NONE), 0));
        assert!(bucket.put(0, 5) && bucket.put(0, 6));
        assert_eq!((bucket.first(0), bucket.len()), (Some(5), 2));
        assert!(bucket.take(5) && !bucket.take(NONE - 1));
        assert_eq!((bucket.first(0), bucket.slot(1), bucket.len()), (Some(NONE), 6, 1));
    }
}
