//! Distinct values in fixed memory, for one place that sees all of them: linear counting over more bits than the windows of
//! the workers have.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Linear counting in 64 bits a word (Whang, Vander-Zanden, Taylor 1990): with 32 words the standard error is 2 % at 1000
/// values, and some 10 000 fill it.
#[derive(Clone, Copy, Debug)]
pub struct Distinct<const WORDS: usize> {
    words: [u64; WORDS],
    ones: u32,
}

impl<const WORDS: usize> Default for Distinct<WORDS> {
    fn default() -> Self {
        Distinct { words: [0; WORDS], ones: 0 }
    }
}

impl<const WORDS: usize> Distinct<WORDS> {
    const BITS: u64 = WORDS as u64 * 64;

    /// Adds a hashed value; `true` if it is new, as far as its bit tells.
    pub fn insert(&mut self, hash: u64) -> bool {
        let place = hash % Self::BITS;
        let (word, bit) = ((place / 64) as usize, 1 << (place % 64)); // below WORDS
        let Some(word) = self.words.get_mut(word) else { return false };
        let is_new = *word & bit == 0;
        *word |= bit;
        self.ones += u32::from(is_new);
        is_new
    }

    /// Was it added, as far as its bit tells?
    pub fn holds(&self, hash: u64) -> bool {
        let place = hash % Self::BITS;
        self.words.get((place / 64) as usize).is_some_and(|word| word & 1 << (place % 64) != 0) // below WORDS
    }

    /// Its bits, to be written down.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// With the bits that were written down; `None`: they are another one's.
    pub fn of_words(words: &[u64]) -> Option<Distinct<WORDS>> {
        let words: [u64; WORDS] = words.try_into().ok()?;
        Some(Distinct { words, ones: words.iter().map(|word| word.count_ones()).sum() })
    }

    /// About how many there were; not less than the bits set.
    pub fn estimate(&self) -> f64 {
        let (bits, ones) = (Self::BITS as f64, f64::from(self.ones));
        // The last free bit is as much as can be told.
        let zeros = (bits - ones).max(1.0);
        (bits * (bits / zeros).ln()).round().max(ones)
    }
}

/// A number as evidence shows it: to a hundredth.
pub fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Hash of a value, the same in every run: what a replay finds must not depend on the process. Who aims at bits of it stays
/// uncounted in them, and pays for each with the names that he tries.
pub fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_stay_within_three_standard_errors() {
        for count in [0_u32, 1, 10, 100, 1000, 3000] {
            let mut distinct = Distinct::<32>::default();
            (0..count).chain(0..count).for_each(|value| {
                let _ = distinct.insert(hash(value));
            });
            let load = f64::from(count) / 2048.0;
            let error = (2048.0 * (load.exp() - load - 1.0)).sqrt();
            let estimate = distinct.estimate();
            assert!((estimate - f64::from(count)).abs() <= 3.0 * error + 0.5, "{count}: {estimate}");
        }
    }

    #[test]
    fn a_full_one_ends_at_a_bound() {
        let mut distinct = Distinct::<1>::default();
        (0..10_000_u32).for_each(|value| {
            let _ = distinct.insert(hash(value));
        });
        assert_eq!(distinct.estimate(), (64.0 * 64.0_f64.ln()).round());
    }
}
