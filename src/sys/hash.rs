//! Keyed 64-bit hash of five words, or of two: AES rounds where the CPU was compiled for them, SipHash-1-3 elsewhere.
//!
//! An attacker chooses addresses and ports, so the flow table's hash must not be predictable without the key: otherwise
//! he fills one bucket and evicts whom he likes. Per packet only some twelve instructions are affordable.
//!
//! AES form: `b0 ^ k0`, two rounds, `b1` added, two rounds, `b2` added, two rounds. A single round between two blocks
//! would let a chosen difference in one block be cancelled in the next with a chance of some 2^-7; over two rounds at
//! least five S-boxes are active, which makes it 2^-30. Two words are one block, `b ^ k0` and three rounds: AES mixes a
//! whole block in two. The key never leaves the process, and no output of the hash is seen outside.

/// A keyed hash function over five words, and another one, independent of it, over two.
#[derive(Clone)]
pub struct KeyedHash {
    #[cfg(all(target_arch = "x86_64", target_feature = "aes"))]
    keys: [std::arch::x86_64::__m128i; 6],
    #[cfg(not(all(target_arch = "x86_64", target_feature = "aes")))]
    keys: [u64; 2],
}

impl KeyedHash {
    /// Keys the hash. The secret comes from the kernel's random source, per boot and queue; fixed in tests.
    #[cfg(all(target_arch = "x86_64", target_feature = "aes"))]
    pub fn new(secret: [u64; 4]) -> KeyedHash {
        use std::arch::x86_64::{_mm_aesenc_si128, _mm_xor_si128};
        let mut low = block(secret[0], secret[1]);
        let high = block(secret[2], secret[3]);
        let mut keys = [low; 6];
        for (round, key) in (1_u64..).zip(&mut keys) {
            // SAFETY: both intrinsics need only the `aes` (and its `sse2`) target feature, which the `cfg` above proves
            // was compiled in. Nobody can break it without changing that line.
            low = unsafe { _mm_aesenc_si128(_mm_xor_si128(low, block(round, !round)), high) };
            *key = low;
        }
        KeyedHash { keys }
    }

    /// Hash of the five words.
    #[cfg(all(target_arch = "x86_64", target_feature = "aes"))]
    #[inline(always)]
    #[allow(clippy::cast_sign_loss)] // the bits are what counts
    pub fn hash(&self, words: &[u64; 5]) -> u64 {
        use std::arch::x86_64::{_mm_aesenc_si128, _mm_cvtsi128_si64, _mm_xor_si128};
        let [k0, k1, k2, k3, k4, k5] = self.keys;
        // SAFETY: the intrinsics need only the `aes` (and its `sse2`) target feature, which the `cfg` above proves was
        // compiled in; they read and write registers only. Speed: ten instructions, SipHash-1-3 takes over a hundred
        // (`benches/engine`).
        unsafe {
            let mut state = _mm_xor_si128(block(words[0], words[1]), k0);
            state = _mm_aesenc_si128(state, k1);
            state = _mm_aesenc_si128(state, _mm_xor_si128(block(words[2], words[3]), k2));
            state = _mm_aesenc_si128(state, k3);
            state = _mm_aesenc_si128(state, _mm_xor_si128(block(words[4], 0), k4));
            state = _mm_aesenc_si128(state, k5);
            state = _mm_aesenc_si128(state, k1);
            _mm_cvtsi128_si64(state) as u64
        }
    }

    /// Hash of two words.
    #[cfg(all(target_arch = "x86_64", target_feature = "aes"))]
    #[inline(always)]
    #[allow(clippy::cast_sign_loss)] // the bits are what counts
    pub fn hash_pair(&self, words: [u64; 2]) -> u64 {
        use std::arch::x86_64::{_mm_aesenc_si128, _mm_cvtsi128_si64, _mm_xor_si128};
        let [_, k1, _, k3, k4, k5] = self.keys;
        // SAFETY: as in `hash`. Speed: five instructions, half of what five words take (`benches/engine`).
        unsafe {
            let mut state = _mm_xor_si128(block(words[0], words[1]), k4);
            state = _mm_aesenc_si128(state, k5);
            state = _mm_aesenc_si128(state, k3);
            state = _mm_aesenc_si128(state, k1);
            _mm_cvtsi128_si64(state) as u64
        }
    }

    /// Keys the hash. The secret comes from the kernel's random source, per boot and queue; fixed in tests.
    #[cfg(not(all(target_arch = "x86_64", target_feature = "aes")))]
    pub fn new(secret: [u64; 4]) -> KeyedHash {
        KeyedHash { keys: [secret[0] ^ secret[2].rotate_left(32), secret[1] ^ secret[3].rotate_left(32)] }
    }

    /// Hash of the five words.
    #[cfg(not(all(target_arch = "x86_64", target_feature = "aes")))]
    #[inline]
    pub fn hash(&self, words: &[u64; 5]) -> u64 {
        siphash13(self.keys, words)
    }

    /// Hash of two words.
    #[cfg(not(all(target_arch = "x86_64", target_feature = "aes")))]
    #[inline]
    pub fn hash_pair(&self, words: [u64; 2]) -> u64 {
        siphash13(self.keys, &words)
    }
}

#[cfg(all(target_arch = "x86_64", target_feature = "aes"))]
#[inline(always)]
#[allow(clippy::cast_possible_wrap)] // the bits are what counts
fn block(low: u64, high: u64) -> std::arch::x86_64::__m128i {
    // SAFETY: needs only `sse2`, part of the x86-64 baseline.
    unsafe { std::arch::x86_64::_mm_set_epi64x(high as i64, low as i64) }
}

/// SipHash with one compression and three finalisation rounds (Aumasson, Bernstein 2012) over little-endian words.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "aes"))))]
fn siphash13(key: [u64; 2], words: &[u64]) -> u64 {
    fn round(v: &mut [u64; 4]) {
        v[0] = v[0].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[0] = v[0].rotate_left(32);
        v[2] = v[2].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[2] = v[2].rotate_left(32);
    }
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    // Whole words: the last one carries the length in bytes alone.
    for word in words.iter().copied().chain([(words.len() as u64 * 8) << 56]) {
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher;

    #[test]
    fn the_fallback_is_siphash13() {
        // The standard library's DefaultHasher is SipHash-1-3 under a zero key.
        for seed in 0..50_u64 {
            let words = [seed, seed << 40, !seed, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), 7];
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            #[allow(deprecated)]
            let mut oracle = std::hash::DefaultHasher::new();
            oracle.write(&bytes);
            assert_eq!(siphash13([0, 0], &words), oracle.finish());
        }
    }

    #[test]
    fn every_input_bit_and_every_secret_bit_flips_about_half_of_the_output() {
        let words = [0, 0xffff_0a00_0001, 0, 0xffff_0a00_0002, 443 << 48 | 40_000 << 32 | 6 << 24];
        let secret = [1, 2, 3, 4];
        let base = KeyedHash::new(secret).hash(&words);
        let mut total = 0;
        for bit in 0..320 {
            let mut other = words;
            other[bit / 64] ^= 1 << (bit % 64);
            let flipped = (KeyedHash::new(secret).hash(&other) ^ base).count_ones();
            assert!((8..=56).contains(&flipped), "bit {bit}: {flipped}");
            total += flipped;
        }
        assert!((28..=36).contains(&(total / 320)), "{total}");
        let pair = [0x0a00_0001_0a00_0002, words[4]];
        let pair_base = KeyedHash::new(secret).hash_pair(pair);
        assert_ne!(pair_base, base);
        let mut total = 0;
        for bit in 0..128 {
            let mut other = pair;
            other[bit / 64] ^= 1 << (bit % 64);
            let flipped = (KeyedHash::new(secret).hash_pair(other) ^ pair_base).count_ones();
            assert!((8..=56).contains(&flipped), "bit {bit} of a pair: {flipped}");
            total += flipped;
        }
        assert!((28..=36).contains(&(total / 128)), "{total}");
        for bit in 0..256 {
            let mut other = secret;
            other[bit / 64] ^= 1 << (bit % 64);
            assert_ne!(KeyedHash::new(other).hash(&words), base, "secret bit {bit} does not count");
            assert_ne!(KeyedHash::new(other).hash_pair(pair), pair_base, "secret bit {bit} does not count in a pair");
        }
    }
}
