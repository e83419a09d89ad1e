//! What a call of a model costs by its number of rows, measured at load.
//!
//! Networks get cheaper with the batch, tree ensembles do not; so nothing is assumed and each model is measured on the
//! machine it runs on. The minimum over repetitions is taken: noise of a shared machine only ever adds.

use super::{BATCH_MAX, ScoreError, Scorer, Scores};
use serde::Serialize;
use std::time::Instant;

/// Longest stretch between two polls of the RX ring that scoring may take, nanoseconds. At 14.88 Mpps it is 300 frames,
/// which a ring of 2048 takes with room to spare; longer, and bursts behind it overrun small rings. Shorter leaves only
/// batches that do not pay (`perf/batch-control`).
pub const INLINE_BUDGET_NS: u64 = 20_000;

/// Smallest batch worth scoring inline: below it a row costs over three times what it costs in a full batch.
pub const INLINE_BATCH_MIN: usize = 8;

/// Batch sizes that are measured; between them the curve is linear.
const SIZES: [usize; 10] = [1, 2, 4, 8, 16, 32, 48, 64, 96, 128];
const _: () = assert!(SIZES[SIZES.len() - 1] == BATCH_MAX);

/// Repetitions of each size, spread over the whole calibration so that one disturbance does not hit one size only.
const REPETITIONS: usize = 40;

/// Service time S(B): nanoseconds a call takes by its number of rows; never falling with B. A plain value, so that it
/// can be part of a queue's settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CostCurve {
    /// The first `count` are used.
    points: [(usize, u64); SIZES.len()],
    count: usize,
}

impl Serialize for CostCurve {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.points())
    }
}

impl CostCurve {
    /// A network of 40-64-32-1 on a server core of 2024 (`perf/batch-control`): what is assumed before a model is
    /// measured.
    pub const TYPICAL: CostCurve = CostCurve {
        points: [
            (1, 2_200),
            (8, 2_800),
            (32, 4_900),
            (64, 7_300),
            (128, 12_300),
            (0, 0),
            (0, 0),
            (0, 0),
            (0, 0),
            (0, 0),
        ],
        count: 5,
    };

    /// A curve through at most 10 `points` (rows, nanoseconds), ascending in rows; costs are raised so that they never
    /// fall.
    ///
    /// # Panics
    /// If there is no point or too many, or rows do not ascend from at least 1.
    pub fn new(points: &[(usize, u64)]) -> CostCurve {
        assert!((1..=SIZES.len()).contains(&points.len()) && points[0].0 >= 1, "a cost curve has 1 to 10 points");
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0), "rows must ascend");
        let mut curve = CostCurve { points: [(0, 0); SIZES.len()], count: points.len() };
        let mut highest = 1;
        for (place, &(rows, nanoseconds)) in curve.points.iter_mut().zip(points) {
            highest = highest.max(nanoseconds);
            *place = (rows, highest);
        }
        curve
    }

    /// Measures `scorer` over `rows` of `width` values each (repeated as needed); some 10 ms for the default model.
    ///
    /// # Errors
    /// The first call that fails.
    pub fn measure(scorer: &mut dyn Scorer, rows: &[f32], width: usize) -> Result<CostCurve, ScoreError> {
        let batch: Vec<f32> = rows.iter().cycle().take(BATCH_MAX * width).copied().collect();
        let mut scores = Scores::new();
        let mut best = [u64::MAX; SIZES.len()];
        for repetition in 0..=REPETITIONS {
            for (size, best) in SIZES.into_iter().zip(&mut best) {
                let Some(rows) = batch.get(..size * width) else { continue };
                let start = Instant::now();
                scorer.score(rows, &mut scores)?;
                let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                // The first round warms caches and the runtime's arena and does not count.
                if repetition > 0 {
                    *best = (*best).min(took);
                }
            }
        }
        Ok(CostCurve::new(&std::array::from_fn::<_, { SIZES.len() }, _>(|at| (SIZES[at], best[at]))))
    }

    /// The measured points (rows, nanoseconds).
    pub fn points(&self) -> &[(usize, u64)] {
        self.points.get(..self.count).unwrap_or(&self.points)
    }

    /// S(`rows`) in nanoseconds, linear between points and beyond the last.
    pub fn service_ns(&self, rows: usize) -> u64 {
        let points = self.points();
        let above = points.partition_point(|point| point.0 < rows);
        let (low, high) = match (above.checked_sub(1).and_then(|at| points.get(at)), points.get(above)) {
            (Some(low), Some(high)) => (*low, *high),
            (None, Some(first)) => return first.1,
            (Some(last), None) => match above.checked_sub(2).and_then(|at| points.get(at)) {
                Some(before) => (*before, *last),
                None => return last.1,
            },
            (None, None) => return 0,
        };
        let (span, rise) = ((high.0 - low.0) as u64, high.1 - low.1);
        low.1 + rise * (rows - low.0) as u64 / span.max(1)
    }

    /// Most rows, at most `limit`, whose call stays within `budget_ns`; 0 if not even one row does.
    pub fn largest_within(&self, budget_ns: u64, limit: usize) -> usize {
        // S never falls, so this is a search for the last size that fits.
        let (mut fits, mut fails) = (0, limit.saturating_add(1));
        while fails - fits > 1 {
            let middle = fits + (fails - fits) / 2;
            if self.service_ns(middle) <= budget_ns { fits = middle } else { fails = middle }
        }
        fits
    }

    /// A worker may call a model of this cost: a small batch fits between two reads of the ring.
    pub fn is_inline(&self) -> bool {
        self.largest_within(INLINE_BUDGET_NS, INLINE_BATCH_MIN) == INLINE_BATCH_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_is_linear_between_points_and_never_falls() {
        let curve = CostCurve::new(&[(1, 2_000), (8, 1_900), (32, 5_000), (64, 7_000)]);
        for (rows, expected) in
            [(0, 2_000), (1, 2_000), (8, 2_000), (20, 3_500), (32, 5_000), (48, 6_000), (128, 11_000)]
        {
            assert_eq!(curve.service_ns(rows), expected, "{rows} rows");
        }
    }

    #[test]
    fn the_largest_batch_is_the_last_that_fits() {
        let curve = CostCurve::new(&[(1, 2_000), (128, 14_700)]);
        for budget in (0..40_000).step_by(37) {
            let largest = curve.largest_within(budget, 128);
            assert!(largest == 0 || curve.service_ns(largest) <= budget);
            assert!(largest == 128 || curve.service_ns(largest + 1) > budget);
        }
    }

    #[test]
    fn a_network_fits_a_worker_and_a_forest_does_not() {
        let network = CostCurve::new(&[(1, 2_200), (32, 4_900), (64, 7_300), (128, 12_000)]);
        let forest = CostCurve::new(&[(1, 11_600), (8, 68_600), (128, 840_000)]);
        assert_eq!([network.is_inline(), forest.is_inline()], [true, false]);
    }
}
