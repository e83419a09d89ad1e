//! Sixteen and more bytes at once: spreading two IPv4 addresses over four words, comparing a block under a mask.

/// Upper word but its address of an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2), as the lower of two words.
pub const V4_MAPPED: u64 = 0xffff_0000_0000;

/// Both addresses of `addresses` (one in the upper half, one in the lower) as IPv4-mapped IPv6 addresses of two words each.
///
/// Written with the AVX2 intrinsics because LLVM makes it of four separate stores and their shifts: a shuffle, an or and
/// one store instead of nine instructions a packet (`benches/engine`).
#[inline(always)]
pub fn mapped_v4(addresses: u64) -> [u64; 4] {
    #[cfg(all(target_arch = "x86_64", target_feature = "avx2", not(miri)))]
    {
        use std::arch::x86_64::{
            __m256i, _mm256_or_si256, _mm256_set_epi8, _mm256_set_epi64x, _mm256_set1_epi64x, _mm256_shuffle_epi8,
            _mm256_storeu_si256,
        };
        const MAPPED: i64 = V4_MAPPED.cast_signed();
        let mut words = [0; 4];
        // SAFETY: AVX2 was compiled in, as the `cfg` above proves. The store is of 32 bytes to 32 bytes that are ours,
        // without demands on alignment; the rest works on registers. Nobody can break it.
        unsafe {
            let all = _mm256_set1_epi64x(addresses.cast_signed());
            // A lane's upper half takes four of its bytes, a negative index gives 0.
            #[rustfmt::skip]
            let spread = _mm256_set_epi8(
                -1, -1, -1, -1, 3, 2, 1, 0, -1, -1, -1, -1, -1, -1, -1, -1,
                -1, -1, -1, -1, 7, 6, 5, 4, -1, -1, -1, -1, -1, -1, -1, -1,
            );
            let mapped = _mm256_set_epi64x(MAPPED, 0, MAPPED, 0);
            let out: __m256i = _mm256_or_si256(_mm256_shuffle_epi8(all, spread), mapped);
            _mm256_storeu_si256(words.as_mut_ptr().cast(), out);
        }
        words
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "avx2", not(miri))))]
    {
        plain(addresses)
    }
}

/// The same without intrinsics.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "avx2", not(miri)))))]
fn plain(addresses: u64) -> [u64; 4] {
    [0, V4_MAPPED | addresses >> 32, 0, V4_MAPPED | addresses & 0xffff_ffff]
}

/// Has `block` the bits of `value` wherever `mask` has ones?
///
/// Written with the SSE4.1 intrinsics because LLVM takes the comparison apart into two scalar ones, seven instructions
/// instead of two, in every packet (`benches/engine`).
#[inline(always)]
pub fn agrees(block: &[u8; 16], value: &[u8; 16], mask: &[u8; 16]) -> bool {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse4.1", not(miri)))]
    {
        use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_testz_si128, _mm_xor_si128};
        // SAFETY: SSE4.1 was compiled in, as the `cfg` above proves. Each load is of 16 bytes behind a reference to 16
        // bytes, without demands on alignment; the rest works on registers. Nobody can break it.
        unsafe {
            let load = |bytes: &[u8; 16]| -> __m128i { _mm_loadu_si128(std::ptr::from_ref(bytes).cast()) };
            _mm_testz_si128(_mm_xor_si128(load(block), load(value)), load(mask)) == 1
        }
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse4.1", not(miri))))]
    {
        plain_agrees(block, value, mask)
    }
}

/// The same without intrinsics.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse4.1", not(miri)))))]
fn plain_agrees(block: &[u8; 16], value: &[u8; 16], mask: &[u8; 16]) -> bool {
    let [block, value, mask] = [block, value, mask].map(|bytes| u128::from_ne_bytes(*bytes));
    (block ^ value) & mask == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_under_the_mask_decide_and_no_others() {
        let value: [u8; 16] = std::array::from_fn(|at| (at * 37) as u8);
        let mask: [u8; 16] = std::array::from_fn(|at| (at * 91) as u8);
        assert!(agrees(&value, &value, &mask));
        for bit in 0..128 {
            let mut block = value;
            block[bit / 8] ^= 1 << (bit % 8);
            let expected = mask[bit / 8] >> (bit % 8) & 1 == 0;
            assert_eq!(agrees(&block, &value, &mask), expected, "bit {bit}");
            assert_eq!(plain_agrees(&block, &value, &mask), expected, "bit {bit}");
        }
    }

    #[test]
    fn both_ways_agree() {
        for addresses in [0, u64::MAX, 0x0102_0304_0506_0708, 0x0a00_0001_c0a8_0001, 0xff00_00ff_8000_0001] {
            assert_eq!(mapped_v4(addresses), plain(addresses), "{addresses:x}");
        }
    }
}
