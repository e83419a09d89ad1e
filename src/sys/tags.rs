//! Comparing eight tags, or eight slots, at once.

/// A bit for every one of `tags` that equals `tag`, the first in bit 0.
///
/// Written with the SSE2 intrinsics because LLVM takes the plain loop apart into thirty instructions, half of them scalar;
/// this is five, in every lookup of every packet (`benches/flow`).
#[inline(always)]
pub fn matches(tags: &[u16; 8], tag: u16) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16};
        // SAFETY: SSE2 is part of the x86-64 baseline. The load is of 16 bytes behind a reference to 16 bytes, without
        // demands on alignment; the rest works on registers. Nobody can break it.
        let mask = unsafe {
            let tags = _mm_loadu_si128(std::ptr::from_ref(tags).cast());
            let equal = _mm_cmpeq_epi16(tags, _mm_set1_epi16(tag.cast_signed()));
            // Lanes of all ones or all zeros stay what they are as bytes; the upper eight bytes are set to zero.
            _mm_movemask_epi8(_mm_packs_epi16(equal, _mm_set1_epi16(0)))
        };
        mask.cast_unsigned()
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    {
        plain(tags, tag)
    }
}

/// The place of the first of `tags` that equals `tag`; two instructions less than [`matches()`] where one is enough.
#[inline(always)]
pub fn first(tags: &[u16; 8], tag: u16) -> Option<usize> {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi16};
        // SAFETY: as in `matches`.
        let mask = unsafe {
            let tags = _mm_loadu_si128(std::ptr::from_ref(tags).cast());
            _mm_movemask_epi8(_mm_cmpeq_epi16(tags, _mm_set1_epi16(tag.cast_signed())))
        };
        // Two bits a tag.
        (mask != 0).then_some(mask.trailing_zeros() as usize / 2)
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    {
        tags.iter().position(|own| *own == tag)
    }
}

/// A bit for every one of `slots` that equals `slot`, the first in bit 0.
#[inline(always)]
pub fn matches_u32(slots: &[u32; 8], slot: u32) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "avx2", not(miri)))]
    {
        use std::arch::x86_64::{
            _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_loadu_si256, _mm256_movemask_ps, _mm256_set1_epi32,
        };
        // SAFETY: AVX2 was compiled in, as the `cfg` above proves. The load is of 32 bytes behind a reference to 32
        // bytes, without demands on alignment; the rest works on registers. Nobody can break it.
        let mask = unsafe {
            let slots = _mm256_loadu_si256(std::ptr::from_ref(slots).cast());
            let equal = _mm256_cmpeq_epi32(slots, _mm256_set1_epi32(slot.cast_signed()));
            _mm256_movemask_ps(_mm256_castsi256_ps(equal))
        };
        mask.cast_unsigned()
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "avx2", not(miri))))]
    {
        (0_u32..).zip(slots).fold(0, |mask, (way, own)| mask | u32::from(*own == slot) << way)
    }
}

/// The same without intrinsics.
#[cfg(any(test, not(all(target_arch = "x86_64", not(miri)))))]
fn plain(tags: &[u16; 8], tag: u16) -> u32 {
    (0_u32..).zip(tags).fold(0, |mask, (way, own)| mask | u32::from(*own == tag) << way)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_the_plain_loop_finds() {
        let tags = [7, 0, 7, 0xffff, 1, 0x8000, 0x7fff, 7];
        for tag in [0, 1, 7, 8, 0x7fff, 0x8000, 0xffff] {
            assert_eq!(matches(&tags, tag), plain(&tags, tag), "{tag}");
            assert_eq!(first(&tags, tag), tags.iter().position(|own| *own == tag), "{tag}");
        }
        assert_eq!(matches(&tags, 7), 0b1000_0101);
        assert_eq!(matches_u32(&[9, 0, 9, u32::MAX, 1, 1 << 31, 7, 9], 9), 0b1000_0101);
        assert_eq!(matches_u32(&[9, 0, 9, u32::MAX, 1, 1 << 31, 7, 9], 1 << 31), 0b0010_0000);
    }
}
