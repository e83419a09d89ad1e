//! RITA v5's score (`analysis/beacons.go`): a quarter each for even intervals, even sizes, how long it goes on and how evenly it
//! fills the hours. There a data set has 24 hours, here a pair's time begins with its first connection: a sensor that has run
//! for weeks would else need most of a day to see what it sees in a capture within six hours.

use super::{HOUR_NS, HOURS, LEAST_HOURS, Pair, RING};
use crate::units::SECOND;

/// Run of hours that is as good as all of them.
const RUN_HOURS: f64 = 12.0;
/// Hours with data from which two modes are looked for.
const MODES_HOURS: usize = 11;
/// Spread of the middle half below which its lean means nothing.
const IQR_MIN: f64 = 10.0;

/// The four parts of the score.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Score {
    /// How even the intervals are.
    pub intervals: f64,
    /// How even the sizes are.
    pub sizes: f64,
    /// How long it goes on.
    pub duration: f64,
    /// How evenly it fills its hours.
    pub hours: f64,
    /// Median of the intervals, seconds.
    pub period_s: f64,
    /// The interval below which a tenth of them lies, in medians.
    pub early: f64,
    /// Share of the intervals between half and one and a half of the median: all with a jitter of 50 %, a third of moments
    /// without rule.
    pub near: f64,
    /// Calls that were looked at, those of one second as one.
    pub calls: usize,
    /// Median of the bytes sent and received.
    pub bytes: [f64; 2],
}

impl Score {
    pub fn of(pair: &Pair) -> Score {
        let kept = (pair.count as usize).min(RING);
        let mut begins: Vec<u64> = pair.ring.iter().take(kept).map(|(begin, _)| begin.0).collect();
        begins.sort_unstable();
        // Connections side by side are one visit.
        begins.dedup_by_key(|begin| *begin / SECOND);
        let mut intervals: Vec<f64> =
            begins.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / SECOND as f64).collect();
        let [mut sent, mut received] = [0, 1].map(|side: usize| -> Vec<f64> {
            let bytes = pair.ring.iter().take(kept).filter_map(|(_, bytes)| bytes.get(side));
            bytes.map(|bytes| f64::from(*bytes)).collect()
        });
        let (even, period_s) = evenness(&mut intervals, 1.0);
        let early = quantile(&intervals, 0.1) / period_s.max(1.0);
        let is_near = |interval: &&f64| (0.5 * period_s..=1.5 * period_s).contains(*interval);
        let near = intervals.iter().filter(is_near).count() as f64 / intervals.len().max(1) as f64;
        let (sizes, sent) = evenness(&mut sent, 0.0);
        let bins = pair.bins(pair.first);
        let lasts_h = pair.last.since(pair.first) as f64 / HOUR_NS as f64;
        let is_long = lasts_h >= LEAST_HOURS;
        Score {
            intervals: if intervals.is_empty() { 0.0 } else { even },
            sizes,
            duration: if is_long { (lasts_h / HOURS as f64).max(run(&bins) / RUN_HOURS).min(1.0) } else { 0.0 },
            hours: if is_long { spread(&bins) } else { 0.0 },
            period_s,
            early,
            near,
            calls: begins.len(),
            bytes: [sent, evenness(&mut received, 0.0).1],
        }
    }

    /// Are intervals and sizes at least so even?
    pub fn is_even(&self, [intervals, sizes]: [f64; 2]) -> bool {
        self.intervals >= intervals && self.sizes >= sizes
    }

    pub fn total(&self) -> f64 {
        (self.intervals + self.sizes + self.duration + self.hours) / 4.0
    }
}

/// Half of it that quartiles lean to no side, half that values stay at their median; and the median. `small`: the second half
/// where the median is below 1.
pub(super) fn evenness(values: &mut [f64], small: f64) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let (first, median, third) = (quantile(values, 0.25), quantile(values, 0.5), quantile(values, 0.75));
    let iqr = third - first;
    let leans = iqr >= IQR_MIN && median > first && median < third;
    let bowley = if leans { ((first + third - 2.0 * median) / iqr).abs() } else { 0.0 };
    let mut off: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
    off.sort_by(f64::total_cmp);
    let near = if median < 1.0 { small } else { ((median - quantile(&off, 0.5)) / median).max(0.0) };
    (0.5 * (1.0 - bowley) + 0.5 * near, median)
}

/// Of sorted values, between two where it lies between two; 0 of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * sorted.len().saturating_sub(1) as f64;
    let at = |index: f64| sorted.get(index as usize).copied().unwrap_or(0.0);
    at(place.floor()) + (at(place.ceil()) - at(place.floor())) * place.fract()
}

/// Longest run of hours with connections.
pub(super) fn run(bins: &[u32]) -> f64 {
    let runs = bins.split(|count| *count == 0).map(<[u32]>::len);
    runs.max().unwrap_or(0) as f64
}

/// How evenly the hours are filled, or how well two levels fill them.
pub(super) fn spread(bins: &[u32]) -> f64 {
    let count = bins.len().max(1) as f64;
    let mean = bins.iter().map(|bin| f64::from(*bin)).sum::<f64>() / count;
    if mean <= 0.0 {
        return 0.0;
    }
    let variance = bins.iter().map(|bin| (f64::from(*bin) - mean).powi(2)).sum::<f64>() / count;
    let even = (1.0 - variance.sqrt() / mean).max(0.0);
    let mut filled: Vec<u32> = bins.iter().copied().filter(|bin| *bin > 0).collect();
    if filled.len() < MODES_HOURS {
        return even;
    }
    filled.sort_unstable();
    let mut heights: Vec<usize> = filled.chunk_by(|one, next| one == next).map(<[u32]>::len).collect();
    heights.sort_unstable_by(|one, other| other.cmp(one));
    let two = heights.iter().take(2).sum::<usize>() as f64;
    even.max((two / (filled.len() - 1) as f64).min(1.0))
}
