//! Sums of whole numbers, and what is made of them at the last step: in double precision, then single.

/// Count, sum and sum of squares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spread {
    count: u64,
    total: u128,
    squares: u128,
}

impl Spread {
    pub fn add(&mut self, value: u64) {
        let value = u128::from(value);
        self.count += 1;
        self.total += value;
        self.squares = self.squares.saturating_add(value * value);
    }

    pub fn total(&self) -> f64 {
        self.total as f64
    }

    pub fn mean(&self) -> f64 {
        ratio(self.total as f64, self.count as f64)
    }

    /// Standard deviation. The difference is exact as long as it fits 128 bits, which sums of bytes and times of a window do.
    pub fn deviation(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let count = u128::from(self.count);
        let exact = count.checked_mul(self.squares).zip(self.total.checked_mul(self.total));
        let difference = match exact {
            Some((squares, square)) => squares.saturating_sub(square) as f64,
            None => (count as f64 * self.squares as f64 - (self.total as f64).powi(2)).max(0.0),
        };
        difference.sqrt() / self.count as f64
    }
}

impl FromIterator<u64> for Spread {
    fn from_iter<I: IntoIterator<Item = u64>>(values: I) -> Spread {
        let mut spread = Spread::default();
        values.into_iter().for_each(|value| spread.add(value));
        spread
    }
}

/// `part / whole`; 0 of nothing.
pub fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

/// By linear interpolation between the two nearest; `ordered` ascends. 0 of none.
pub fn quantile(ordered: &[f64], part: f64) -> f64 {
    let place = ordered.len().saturating_sub(1) as f64 * part;
    let low = place as usize;
    let at = |index: usize| ordered.get(index).copied();
    let Some(below) = at(low) else { return 0.0 };
    let above = at(low + 1).unwrap_or(below);
    below + (above - below) * (place - low as f64)
}

/// Numbers in order.
pub fn ordered(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers
}

/// Median of ordered numbers, and the median distance from it.
pub fn median_and_distance(numbers: &[f64]) -> (f64, f64) {
    let middle = quantile(numbers, 0.5);
    let distances = ordered(numbers.iter().map(|number| (number - middle).abs()).collect());
    (middle, quantile(&distances, 0.5))
}

/// 1 where all are alike, 0 where they lie as far from their median as that is large.
pub fn regularity((middle, distance): (f64, f64)) -> f64 {
    if middle == 0.0 { 0.0 } else { (1.0 - distance / middle).max(0.0) }
}

/// Bowley's skewness of ordered numbers, -1 to 1.
pub fn skew(numbers: &[f64]) -> f64 {
    let [low, middle, high] = [0.25, 0.5, 0.75].map(|part| quantile(numbers, part));
    ratio(low + high - 2.0 * middle, high - low)
}
