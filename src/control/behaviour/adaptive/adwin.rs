//! Has the mean of a stream changed? ADWIN2 (Bifet, Gavalda, SDM 2007): a window that forgets its older part as soon as the two
//! differ by more than chance.
//!
//! Fixed memory: an exponential histogram of at most [`LEVELS`] sizes with [`EACH`] buckets each, which is as exact as a cut has
//! to be. Values lie in 0..=1, as the bound asks.

use serde::{Deserialize, Serialize};

/// Buckets of one size; the next one merges the two oldest.
const EACH: usize = 5;
/// Sizes: 1, 2, 4, ... values; the oldest beyond are forgotten. 2^9 hours are three weeks a bucket.
const LEVELS: u32 = 10;
/// Values that a part must have before it is compared.
const LEAST: f64 = 5.0;

/// Values side by side.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Bucket {
    level: u32,
    sum: f64,
    squares: f64,
}

impl Bucket {
    fn count(&self) -> f64 {
        f64::from(1_u32 << self.level.min(31))
    }
}

/// The window, oldest bucket first.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Adwin {
    buckets: Vec<Bucket>,
}

impl Adwin {
    /// What it takes besides its own size, at most.
    pub const HEAP_BYTES: usize = (EACH * LEVELS as usize + 1).next_power_of_two() * size_of::<Bucket>();

    /// Adds a value of 0..=1; `true`: the mean has changed, and what was before is forgotten. `delta`: chance of a false alarm.
    pub fn add(&mut self, value: f64, delta: f64) -> bool {
        let value = value.clamp(0.0, 1.0);
        self.buckets.push(Bucket { level: 0, sum: value, squares: value * value });
        self.compress();
        let mut changed = false;
        while self.is_cut(delta) {
            self.buckets.remove(0);
            changed = true;
        }
        changed
    }

    /// Is it what this program writes?
    pub fn is_sound(&self) -> bool {
        let sound = |bucket: &Bucket| bucket.level < LEVELS && bucket.sum.is_finite() && bucket.squares.is_finite();
        self.buckets.len() <= EACH * LEVELS as usize + 1 && self.buckets.iter().all(sound)
    }

    fn compress(&mut self) {
        for level in 0..LEVELS {
            let of_level = |bucket: &Bucket| bucket.level == level;
            if self.buckets.iter().filter(|bucket| of_level(bucket)).count() <= EACH {
                return;
            }
            let Some(first) = self.buckets.iter().position(of_level) else { return };
            let oldest = self.buckets.remove(first);
            if level + 1 == LEVELS {
                return;
            }
            if let Some(next) = self.buckets.get_mut(first) {
                next.level += 1;
                next.sum += oldest.sum;
                next.squares += oldest.squares;
            }
        }
    }

    /// Do an older and a newer part differ by more than chance?
    fn is_cut(&self, delta: f64) -> bool {
        let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for bucket in &self.buckets {
            count += bucket.count();
            sum += bucket.sum;
            squares += bucket.squares;
        }
        if count < 2.0 * LEAST {
            return false;
        }
        let mean: f64 = sum / count;
        let variance = (squares / count - mean * mean).max(0.0);
        let doubt = (2.0 * count.ln().max(1.0) / delta).ln();
        let (mut old, mut old_sum) = (0.0, 0.0);
        self.buckets.iter().any(|bucket| {
            old += bucket.count();
            old_sum += bucket.sum;
            let new = count - old;
            if old < LEAST || new < LEAST {
                return false;
            }
            let harmonic = 1.0 / (1.0 / old + 1.0 / new);
            let bound = (2.0 / harmonic * variance * doubt).sqrt() + 2.0 / (3.0 * harmonic) * doubt;
            (old_sum / old - (sum - old_sum) / new).abs() > bound
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(dice: &mut u64) -> f64 {
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*dice >> 33) as f64 / (1_u64 << 31) as f64 - 0.5
    }

    #[test]
    fn a_step_is_seen_and_noise_is_not() {
        for (step, at_most) in [(0.0, None), (0.3, Some(40)), (0.6, Some(20))] {
            let (mut adwin, mut dice) = (Adwin::default(), 3);
            let early = (0..500).filter(|_| adwin.add(0.3 + 0.1 * noise(&mut dice), 0.01)).count();
            assert_eq!(early, 0, "noise");
            let seen = (0..500).position(|_| adwin.add(0.3 + step + 0.1 * noise(&mut dice), 0.01));
            assert_eq!(seen.is_some(), at_most.is_some(), "{step}");
            assert!(seen <= at_most, "{step}: {seen:?}");
        }
    }

    #[test]
    fn memory_is_fixed() {
        let (mut adwin, mut dice) = (Adwin::default(), 3);
        for _ in 0..20_000 {
            adwin.add(0.5 + 0.2 * noise(&mut dice), 0.01);
            assert!(adwin.is_sound() && adwin.buckets.len() <= 51, "{}", adwin.buckets.len());
        }
    }
}
