//! Linear counting of distinct values in 256 bits, and the keyed hash that feeds it.
//!
//! Bitmaps of several workers, and of several windows, are or-ed: the same value sets the same bit everywhere, so every
//! queue of a process must use the same key. The key is secret because someone who knows it can choose addresses that
//! share bits and stay uncounted.

use super::Entity;

/// Linear-counting bitmap (Whang, Vander-Zanden, Taylor 1990): standard error 5 % at 20 values, 7 % at 500, 11 % at 1000.
pub type Bitmap = [u64; 4];

/// Bits in a bitmap.
const BITS: f64 = 256.0;

/// More than this is never told: with 1000 values one bitmap in 170 is full, with fewer hardly any. The last five bits would
/// give estimates of up to 1420, more than a full bitmap may claim; from 251 bits on it is "at least" this.
pub const SATURATED: f64 = 1000.0;

/// Sets the bit of a hashed value.
#[inline(always)]
pub fn insert(bitmap: &mut Bitmap, hash: u64) {
    if let Some(word) = bitmap.get_mut((hash >> 62) as usize) {
        *word |= 1 << (hash >> 56 & 63);
    }
}

/// Adds the values of `other`.
#[inline]
pub fn union(bitmap: &mut Bitmap, other: &Bitmap) {
    for (mine, theirs) in bitmap.iter_mut().zip(other) {
        *mine |= theirs;
    }
}

/// Values that `bitmap` has and `other` has not (as far as bits tell them apart).
#[inline]
pub fn without(bitmap: &Bitmap, other: &Bitmap) -> Bitmap {
    let mut rest = *bitmap;
    for (mine, theirs) in rest.iter_mut().zip(other) {
        *mine &= !theirs;
    }
    rest
}

/// Bits set.
#[inline]
pub fn ones(bitmap: &Bitmap) -> u32 {
    bitmap.iter().map(|word| word.count_ones()).sum()
}

/// Estimated number of distinct values, [`SATURATED`] at most.
pub fn estimate(bitmap: &Bitmap) -> f64 {
    let zeros = BITS - f64::from(ones(bitmap));
    if zeros < 1.0 { SATURATED } else { (BITS * (BITS / zeros).ln()).round().min(SATURATED) }
}

/// A number of distinct values, and how well it is known.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// The number, whole; a lower bound if `saturated`.
    pub value: f64,
    /// Its standard error; 0 where the number is exact.
    pub error: f64,
    /// More values than the bitmap can tell apart.
    pub saturated: bool,
}

impl Estimate {
    /// Of a bitmap that `most` events went into: as many values at most, and at least as many as bits are set. Where the
    /// two meet the number is exact.
    pub fn of(bitmap: &Bitmap, most: u64) -> Estimate {
        let (least, most) = (f64::from(ones(bitmap)), most as f64);
        if least >= most || least <= 1.0 {
            return Estimate { value: least, error: 0.0, saturated: false };
        }
        let value = estimate(bitmap).clamp(least, most);
        if least >= BITS || value >= SATURATED {
            return Estimate { value, error: 0.0, saturated: true };
        }
        // Whang and others, formula 13.
        let load = value / BITS;
        let error = (BITS * (load.exp() - load - 1.0)).sqrt();
        Estimate { value, error, saturated: false }
    }
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = if self.saturated {
            "at least "
        } else if self.error >= 0.5 {
            "about "
        } else {
            ""
        };
        write!(out, "{how}{:.0}", self.value)
    }
}

/// Secret of the window table and of the bitmaps, the same for all queues of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct HashKey([u64; 4]);

impl HashKey {
    /// Spreads the secret over all 256 bits first (splitmix64): a multiply by a small number hashes nothing, and tests
    /// like small secrets.
    pub fn new(secret: [u64; 4]) -> HashKey {
        let mut state = 0_u64;
        HashKey(secret.map(|word| {
            state = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            state = mixed ^ mixed >> 31;
            state
        }))
    }

    /// Folded 64x64 -> 128 bit multiply, the mixing step of wyhash; five of these hash an entity in some 15 cycles.
    #[inline(always)]
    fn fold(a: u64, b: u64) -> u64 {
        let wide = u128::from(a) * u128::from(b);
        (wide >> 64) as u64 ^ wide as u64
    }

    /// Hash of an address with two small companions.
    #[inline(always)]
    pub fn address(&self, address: u128, first: u64, second: u64) -> u64 {
        let [a, b, c, d] = self.0;
        let folded = HashKey::fold((address >> 64) as u64 ^ a, address as u64 ^ b);
        HashKey::fold(
            folded ^ first.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ c,
            d ^ second.wrapping_mul(0xa076_1d64_78bd_642f),
        )
    }

    /// Hash of a number.
    #[inline(always)]
    pub fn number(&self, number: u64) -> u64 {
        let [a, b, c, _] = self.0;
        HashKey::fold(HashKey::fold(number ^ a, b) ^ c, 0x9e37_79b9_7f4a_7c15)
    }

    /// Hash of an entity in a window.
    #[inline(always)]
    pub fn entity(&self, entity: &Entity, window: u64) -> u64 {
        match *entity {
            Entity::Source(address) => self.address(address, window, 2),
            Entity::Target(address) => self.address(address, window, 4),
            Entity::Asker(address) => self.address(address, window, 18),
            Entity::Session { client, server, port } => {
                let hash = self.address(client, window, 6);
                self.address(server ^ u128::from(hash), u64::from(port), 8)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Secrets as good and as bad as they come.
    const SECRETS: [[u64; 4]; 4] = [
        [0; 4],
        [1, 2, 3, 4],
        [u64::MAX; 4],
        [0x1234_5678_9abc_def1, 0x0fed_cba9_8765_4321, 0x0f1e_2d3c_4b5a_6978, 0x8796_a5b4_c3d2_e1f0],
    ];

    #[test]
    fn estimates_are_near_the_truth_up_to_a_thousand() {
        for (key, (count, tolerance)) in SECRETS.map(HashKey::new).into_iter().flat_map(|key| {
            [(1, 0.0), (5, 0.21), (20, 0.16), (100, 0.12), (500, 0.15), (1000, 0.3)].map(|case| (key, case))
        }) {
            let mut bitmap = Bitmap::default();
            for value in 0..count {
                insert(&mut bitmap, key.number(value));
                insert(&mut bitmap, key.number(value));
            }
            let error = (estimate(&bitmap) - count as f64).abs() / count as f64;
            assert!(error <= tolerance, "{count}: {}", estimate(&bitmap));
        }
        let (mut bitmap, key) = (Bitmap::default(), HashKey::new([0; 4]));
        (0..100_000).for_each(|value| insert(&mut bitmap, key.number(value)));
        assert_eq!(estimate(&bitmap), SATURATED);
        assert_eq!(ones(&without(&bitmap, &bitmap)), 0);
    }

    /// Never more values than events, exact where bits and events agree, and said to be an estimate elsewhere.
    #[test]
    fn estimates_say_how_well_they_are_known() {
        let of = |values: u64, times: u64| {
            let (mut bitmap, key) = (Bitmap::default(), HashKey::new([5, 6, 7, 8]));
            (0..values).for_each(|value| insert(&mut bitmap, key.number(value)));
            Estimate::of(&bitmap, values * times)
        };
        assert_eq!(of(1, 900).to_string(), "1");
        assert_eq!(of(3, 1).to_string(), "3");
        for values in [20, 100, 500, 900] {
            for times in [1, 3] {
                let found = of(values, times);
                let known = found.error == 0.0 && found.value == values as f64;
                assert!(known || (found.value - values as f64).abs() <= 3.0 * found.error, "{values} {found:?}");
                assert!(found.value <= (values * times) as f64, "{values} {found:?}");
                assert!(known || found.to_string().starts_with("about "), "{values} {found:?}");
            }
        }
        assert_eq!(of(60_000, 2).to_string(), "at least 1000");
    }

    /// Whoever does more is never told as less, nor stays below a threshold that a milder one meets.
    #[test]
    fn more_bits_are_never_fewer_values() {
        let mut bitmap = Bitmap::default();
        let mut before = 0.0;
        for bit in 0..256_u64 {
            insert(&mut bitmap, bit << 56);
            let found = Estimate::of(&bitmap, 1 << 32);
            assert!(found.value >= before && found.value <= SATURATED, "{} bits: {found:?}", bit + 1);
            assert_eq!(found.saturated, found.value == SATURATED, "{} bits: {found:?}", bit + 1);
            assert_eq!(estimate(&bitmap), found.value, "{} bits", bit + 1);
            before = found.value;
        }
        assert_eq!(before, SATURATED);
    }

    #[test]
    fn neighbouring_addresses_and_ports_do_not_share_bits_more_than_chance_has_it() {
        for key in SECRETS.map(HashKey::new) {
            let (mut hosts, mut ports, mut far) = (Bitmap::default(), Bitmap::default(), Bitmap::default());
            for number in 0..100_u64 {
                insert(&mut hosts, key.address(0xffff_c0a8_0100 + u128::from(number), 80, 6));
                insert(&mut ports, key.address(0xffff_c0a8_0100, number, 6));
                insert(&mut far, key.address(u128::from(number) << 80, 0, 6));
            }
            for bitmap in [hosts, ports, far] {
                assert!((75.0..125.0).contains(&estimate(&bitmap)), "{}", estimate(&bitmap));
            }
        }
    }
}
