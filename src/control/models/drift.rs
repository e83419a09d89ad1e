//! Is the traffic still what a model knows? Population stability index of every feature and of the score, and ADWIN over the mean
//! score of each minute.
//!
//! Two comparisons, because they mean two things. *Against training*: how far this network is from what the model was made of; it
//! is shown and no alert, for no laboratory is like any network, and it does not change by itself. *Against the first day*: how
//! far the latest 24 hours are from the first 24 that the model saw here, by the same hours of the day; that is drift, and an
//! alert. Days with fewer rows than either side needs are no first day: the first after them is. A mean score that changed is shown and no alert by itself: every evening changes it.
//!
//! `PSI = sum over ten bins of (p - q) ln(p / q)` (Siddiqi, Credit Risk Scorecards, 2006): below 0.1 nothing, from 0.25 on a
//! shift. Bins lie between the deciles of honest rows, which the manifest has. Half a row is added to each bin, so that an empty
//! one is no infinity.

use crate::control::behaviour::adaptive::Adwin;
use crate::control::view::{self, Shift};
use crate::dataplane::score::{EDGES, Manifest};
use crate::units::{SECOND, Timestamp};

/// Rows that the shares of training stand for: deciles tell a share to some hundredths, and what they call empty is not.
const TRAINED: f64 = 100.0;

/// Bins of a feature: between, below and above its edges.
const BINS: usize = EDGES + 1;

/// What training saw of a feature, or of the score.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Usual {
    /// Edges between bins, rising; equal ones where a value is that frequent. A value on an edge lies above it.
    edges: [f32; EDGES],
    /// Shares of the training rows by bin, together 1.
    shares: [f64; BINS],
}

impl Usual {
    /// Of deciles: each bin has a tenth, but where edges coincide. There one value has that many tenths, and it lies above the
    /// last of them; how much is below the first is then not known to a tenth, and taken for the least.
    fn of(deciles: &[f32]) -> Usual {
        let mut edges = [f32::INFINITY; EDGES];
        for (edge, decile) in edges.iter_mut().zip(deciles) {
            *edge = *decile;
        }
        // Share below the edge of that place.
        let below = |place: usize| -> f64 {
            let Some(edge) = edges.get(place) else { return 1.0 };
            let first = edges.partition_point(|other| other < edge);
            let is_alone = edges.get(first + 1).is_none_or(|next| next > edge);
            (first + usize::from(is_alone)) as f64 / BINS as f64
        };
        let shares = std::array::from_fn(|bin| {
            let from = if bin == 0 { 0.0 } else { below(bin - 1) };
            (below(bin) - from).max(0.0)
        });
        Usual { edges, shares }
    }
}

/// Paces and limits.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    /// Seconds of a slot.
    pub slot_s: u64,
    /// Slots that are compared with as many: a day, so that no hour of the day is missing on either side.
    pub slots: usize,
    /// Rows that either side needs.
    pub rows: u64,
    /// PSI from which a feature has shifted.
    pub psi: f64,
    /// Features that must have shifted before there is an alert.
    pub features: usize,
    /// Seconds between values that ADWIN is shown.
    pub mean_s: u64,
    /// Chance of a false step that ADWIN may have.
    pub delta: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { slot_s: 3600, slots: 24, rows: 1000, psi: 0.25, features: 3, mean_s: 60, delta: 0.002 }
    }
}

/// Drift that is worth an alert.
#[derive(Clone, PartialEq, Debug)]
pub struct Drifted {
    /// The features that shifted, largest first.
    pub shifts: Vec<Shifted>,
    /// ADWIN found a step in the scores since the alert before.
    pub score_changed: bool,
}

/// A feature that shifted.
#[derive(Clone, PartialEq, Debug)]
pub struct Shifted {
    /// Its name.
    pub name: String,
    /// Its index.
    pub psi: f64,
    /// Share of the rows in the bin that changed most, now.
    pub share: f64,
    /// The same of the first day.
    pub share_first: f64,
}

/// Rows by bin, of every column.
#[derive(Clone, Debug)]
struct Counts {
    rows: u64,
    bins: Vec<[u32; BINS]>,
}

impl Counts {
    fn new(columns: usize) -> Counts {
        Counts { rows: 0, bins: vec![[0; BINS]; columns] }
    }

    fn add(&mut self, other: &Counts) {
        self.rows += other.rows;
        for (mine, theirs) in self.bins.iter_mut().flatten().zip(other.bins.iter().flatten()) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    fn clear(&mut self) {
        self.rows = 0;
        self.bins.fill([0; BINS]);
    }
}

/// PSI of one column's counts against another's.
fn psi(now: &[u32; BINS], then: &[f64; BINS]) -> f64 {
    let total = |counts: &mut dyn Iterator<Item = f64>| counts.sum::<f64>() + 0.5 * BINS as f64;
    let here = total(&mut now.iter().map(|count| f64::from(*count)));
    let there = total(&mut then.iter().copied());
    let part = |(one, other): (&u32, &f64)| {
        let (p, q) = ((f64::from(*one) + 0.5) / here, (other + 0.5) / there);
        (p - q) * (p / q).ln()
    };
    now.iter().zip(then).map(part).sum()
}

/// Shares of the bin that changed most, now and then.
fn most(now: &[u32; BINS], then: &[u32; BINS]) -> (f64, f64) {
    let total = |bins: &[u32; BINS]| bins.iter().map(|count| f64::from(*count)).sum::<f64>().max(1.0);
    let (here, there) = (total(now), total(then));
    let shares = now.iter().zip(then).map(|(p, q)| (f64::from(*p) / here, f64::from(*q) / there));
    shares.max_by(|(p, q), (r, s)| (p - q).abs().total_cmp(&(r - s).abs())).unwrap_or_default()
}

/// Follows one model. Memory: (slots + 2) x columns x 40 bytes, 68 KB for 64 features.
pub struct Drift {
    settings: Settings,
    names: Vec<String>,
    /// Of every feature, then of the score.
    usual: Vec<Usual>,
    /// A ring; the slot of a time is `time / slot_s % slots`.
    slots: Vec<(u64, Counts)>,
    first: Counts,
    first_slot: Option<u64>,
    /// Sum of scores and rows of the present minute.
    mean: (u64, f64, u64),
    score_mean: Option<f64>,
    adwin: Adwin,
    score_changed: Option<Timestamp>,
    changed_untold: bool,
    /// The slot in which an alert was last told.
    told: Option<u64>,
}

impl Drift {
    /// For rows of this model.
    pub fn new(settings: Settings, manifest: &Manifest) -> Drift {
        let edges = |name: &str| manifest.drift.get(name).map_or(&[][..], Vec::as_slice);
        let features = manifest.features.iter().map(|feature| (feature.name.clone(), Usual::of(edges(&feature.name))));
        Drift::of(settings, features, Usual::of(&manifest.scores))
    }

    fn of(settings: Settings, features: impl IntoIterator<Item = (String, Usual)>, score: Usual) -> Drift {
        let (mut names, mut usual): (Vec<_>, Vec<_>) = features.into_iter().unzip();
        names.push("score".to_owned());
        usual.push(score);
        let columns = usual.len();
        Drift {
            slots: vec![(0, Counts::new(columns)); settings.slots.max(1)],
            first: Counts::new(columns),
            first_slot: None,
            mean: (0, 0.0, 0),
            score_mean: None,
            adwin: Adwin::default(),
            score_changed: None,
            changed_untold: false,
            told: None,
            settings,
            names,
            usual,
        }
    }

    fn slot_of(&self, time: Timestamp) -> u64 {
        time.0 / SECOND / self.settings.slot_s.max(1)
    }

    /// Adds a sampled row; rows of several queues come in no order, and one that is older than all slots counts nowhere.
    pub fn add(&mut self, time: Timestamp, row: &[f32], score: f32) {
        let slot = self.slot_of(time);
        let place = (slot % self.slots.len() as u64) as usize;
        if self.slots.get(place).is_some_and(|(current, _)| *current < slot) {
            // Before a slot of the first ones is overwritten.
            self.settle(time);
        }
        let Some((current, counts)) = self.slots.get_mut(place) else { return };
        if *current > slot {
            return;
        }
        if *current < slot {
            *current = slot;
            counts.clear();
        }
        counts.rows += 1;
        let values = row.iter().copied().chain([score]);
        for ((value, usual), bins) in values.zip(&self.usual).zip(&mut counts.bins) {
            let bin = usual.edges.partition_point(|edge| *edge <= value);
            if let Some(count) = bins.get_mut(bin) {
                *count = count.saturating_add(1);
            }
        }
        self.first_slot.get_or_insert(slot);
        self.add_score(time, score);
    }

    fn add_score(&mut self, time: Timestamp, score: f32) {
        let minute = time.0 / SECOND / self.settings.mean_s.max(1);
        let (current, sum, rows) = &mut self.mean;
        if minute > *current {
            if *rows > 0 {
                let mean = *sum / *rows as f64;
                self.score_mean = Some(mean);
                if self.adwin.add(mean, self.settings.delta) {
                    self.score_changed = Some(time);
                    self.changed_untold = true;
                }
            }
            (*current, *sum, *rows) = (minute, 0.0, 0);
        }
        *sum += f64::from(score);
        *rows += 1;
    }

    /// Is the time for the first slots over? They are put aside then, once. Too few rows are not kept: nothing could ever be
    /// compared with them, so the first slots begin anew.
    fn settle(&mut self, now: Timestamp) -> bool {
        let Some(first) = self.first_slot else { return false };
        let (until, slot) = (first + self.slots.len() as u64, self.slot_of(now));
        if slot < until {
            return false;
        }
        if self.first.rows == 0 {
            for (slot, counts) in &self.slots {
                if (first..until).contains(slot) {
                    self.first.add(counts);
                }
            }
            if self.first.rows < self.settings.rows {
                self.first.clear();
                self.first_slot = Some(slot);
                return false;
            }
        }
        true
    }

    fn latest(&self, now: Timestamp) -> Counts {
        let slot = self.slot_of(now);
        let mut sum = Counts::new(self.usual.len());
        for (at, counts) in &self.slots {
            if *at <= slot && at + self.slots.len() as u64 > slot {
                sum.add(counts);
            }
        }
        sum
    }

    /// Drift that is worth an alert, at most once for as long as the slots last; to be called at least once a slot.
    pub fn look(&mut self, now: Timestamp) -> Option<Drifted> {
        if !self.settle(now) {
            return None;
        }
        let slot = self.slot_of(now);
        let span = self.slots.len() as u64;
        // The latest slots must all be later than the first ones, or both sides share rows.
        if self.first_slot.is_none_or(|first| slot + 1 < first + 2 * span) {
            return None;
        }
        if self.told.is_some_and(|told| slot < told + span) {
            return None;
        }
        let latest = self.latest(now);
        let columns = self.shifts(now).into_iter().zip(latest.bins.iter().zip(&self.first.bins));
        let mut shifts: Vec<Shifted> = columns
            .filter_map(|(shift, (bins, first))| Some((shift.name, shift.from_first?, most(bins, first))))
            .filter(|(name, psi, _)| name != "score" && *psi >= self.settings.psi)
            .map(|(name, psi, (share, share_first))| Shifted { name, psi, share, share_first })
            .collect();
        shifts.sort_by(|left, right| right.psi.total_cmp(&left.psi));
        if shifts.len() < self.settings.features {
            return None;
        }
        self.told = Some(slot);
        Some(Drifted { shifts, score_changed: std::mem::take(&mut self.changed_untold) })
    }

    fn shifts(&self, now: Timestamp) -> Vec<Shift> {
        let latest = self.latest(now);
        let enough = latest.rows >= self.settings.rows;
        let has_first = enough && self.first.rows >= self.settings.rows;
        let columns = self.names.iter().zip(&latest.bins).zip(&self.first.bins).zip(&self.usual);
        columns
            .map(|(((name, bins), first), usual)| Shift {
                name: name.clone(),
                from_training: enough.then(|| psi(bins, &usual.shares.map(|share| share * TRAINED))),
                from_first: has_first.then(|| psi(bins, &first.map(f64::from))),
            })
            .collect()
    }

    /// As `/v1/models` shows it.
    pub fn report(&mut self, now: Timestamp) -> view::Drift {
        let is_over = self.settle(now);
        let mut shifts = self.shifts(now);
        let size = |shift: &Shift| shift.from_first.into_iter().chain(shift.from_training).fold(0.0, f64::max);
        shifts.sort_by(|left, right| size(right).total_cmp(&size(left)));
        let nanoseconds = |slot: u64| Timestamp(slot.saturating_mul(self.settings.slot_s).saturating_mul(SECOND));
        view::Drift {
            rows: self.latest(now).rows,
            first_rows: if is_over { self.first.rows } else { self.latest(now).rows },
            first_until: self.first_slot.map(|first| nanoseconds(first + self.slots.len() as u64)),
            shifts,
            score_mean: self.score_mean,
            score_changed: self.score_changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600 * SECOND;

    fn even() -> Usual {
        Usual::of(&std::array::from_fn::<f32, EDGES, _>(|at| (at + 1) as f32 / 10.0))
    }

    #[test]
    fn shares_follow_from_deciles() {
        let shares = |edges: [f32; EDGES]| Usual::of(&edges).shares.map(|share| (share * 10.0).round() as u32);
        let cases = [
            ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], [1; BINS]),
            // All the same: nothing is known but that.
            ([0.0; EDGES], [0, 0, 0, 0, 0, 0, 0, 0, 0, 10]),
            // Three of ten rows are 1, the others 0.
            ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0], [0, 0, 0, 0, 0, 0, 0, 7, 0, 3]),
            // Half of the rows are 5, the others lie evenly.
            ([1.0, 2.0, 5.0, 5.0, 5.0, 5.0, 5.0, 8.0, 9.0], [1, 1, 0, 0, 0, 0, 0, 6, 1, 1]),
        ];
        for (edges, expected) in cases {
            assert_eq!(shares(edges), expected, "{edges:?}");
        }
        assert_eq!(shares([f32::INFINITY; EDGES]).iter().sum::<u32>(), 10);
    }

    /// 100 rows an hour of two features: one moves by `shift`, one stays; the hour of the day moves both.
    fn fed(days: std::ops::Range<u64>, drift: &mut Drift, dice: &mut u64, shift: f32) -> Vec<Drifted> {
        let mut told = Vec::new();
        for hour in days.start * 24..days.end * 24 {
            told.extend(drift.look(Timestamp(hour * HOUR)));
            for at in 0..100 {
                *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let noise = (*dice >> 40) as f32 / (1_u64 << 24) as f32;
                let by_day = (hour % 24) as f32 / 24.0;
                let row = [noise * 0.5 + by_day * 0.5 + shift, noise];
                drift.add(Timestamp(hour * HOUR + at * 30 * SECOND), &row, noise * 0.1 + shift * 0.5);
            }
        }
        told
    }

    fn drift(features: usize) -> Drift {
        let named = ["moves", "stays"].map(|name| (name.to_owned(), even()));
        Drift::of(Settings { features, ..Settings::default() }, named, even())
    }

    #[test]
    fn psi_is_what_the_formula_says() {
        // Two bins of ten are met: p = (60.5, 40.5, 0.5 x 8) / 105, q = (50.5, 50.5, 0.5 x 8) / 105.
        let mut now = [0; BINS];
        (now[0], now[1]) = (60, 40);
        let mut then = [0.0; BINS];
        (then[0], then[1]) = (50.0, 50.0);
        let by_hand = (10.0 / 105.0) * (60.5_f64 / 50.5).ln() + (-10.0 / 105.0) * (40.5_f64 / 50.5).ln();
        assert!((psi(&now, &then) - by_hand).abs() < 1e-12);
        assert_eq!(psi(&now, &now.map(f64::from)), 0.0);
    }

    #[test]
    fn a_day_like_the_first_is_no_drift_and_a_shift_is_told_once_a_day() {
        let (mut model, mut dice) = (drift(1), 7);
        assert_eq!(fed(0..4, &mut model, &mut dice, 0.0), []);
        let quiet = model.report(Timestamp(4 * 24 * HOUR - 1));
        assert_eq!((quiet.rows, quiet.first_rows), (2400, 2400));
        assert!(quiet.shifts.iter().all(|shift| shift.from_first.unwrap() < 0.1), "{:?}", quiet.shifts);
        // The first feature is not even over the day, which is no shift of the training data's either.
        assert!(quiet.shifts.iter().any(|shift| shift.name == "moves" && shift.from_training.unwrap() > 0.1));
        assert_eq!(quiet.score_changed, None);

        let told = fed(4..6, &mut model, &mut dice, 0.3);
        assert_eq!(told.len(), 2, "once a day for two days: {told:?}");
        for one in &told {
            assert_eq!(one.shifts.iter().map(|shift| shift.name.as_str()).collect::<Vec<_>>(), ["moves"]);
            assert!((one.shifts[0].share - one.shifts[0].share_first).abs() > 0.03, "{:?}", one.shifts[0]);
        }
        assert!(told.iter().any(|one| one.score_changed), "{told:?}");
        assert!(model.report(Timestamp(6 * 24 * HOUR - 1)).score_changed.is_some());
    }

    #[test]
    fn one_feature_of_three_that_are_needed_is_no_alert() {
        let (mut model, mut dice) = (drift(2), 7);
        fed(0..4, &mut model, &mut dice, 0.0);
        assert_eq!(fed(4..6, &mut model, &mut dice, 0.3), []);
    }

    /// A sensor that was set up on a quiet evening still has a first day: the first one with rows enough.
    #[test]
    fn a_day_with_too_few_rows_is_no_first_day() {
        let (mut model, mut dice) = (drift(1), 7);
        model.add(Timestamp(0), &[0.9, 0.9], 0.9);
        assert_eq!(fed(1..4, &mut model, &mut dice, 0.0), []);
        let quiet = model.report(Timestamp(4 * 24 * HOUR - 1));
        assert_eq!((quiet.rows, quiet.first_rows), (2400, 2400));
        assert!(quiet.shifts.iter().all(|shift| shift.from_first.is_some_and(|psi| psi < 0.1)), "{:?}", quiet.shifts);
        assert_eq!(fed(4..6, &mut model, &mut dice, 0.3).len(), 2, "once a day for two days");
    }

    #[test]
    fn few_rows_and_times_out_of_order_say_nothing_wrong() {
        let mut model = drift(1);
        assert_eq!(model.look(Timestamp(0)), None);
        for at in 0..500 {
            model.add(Timestamp(at * SECOND), &[0.5, 0.5], 0.0);
        }
        let report = model.report(Timestamp(500 * SECOND));
        assert!(report.shifts.iter().all(|shift| shift.from_training.is_none() && shift.from_first.is_none()));
        // A day later in the same slot of the ring, then late ones of the day before: they count nowhere.
        model.add(Timestamp(24 * HOUR), &[0.5, 0.5], 0.0);
        model.add(Timestamp(0), &[0.5, 0.5], 0.0);
        assert_eq!(model.report(Timestamp(24 * HOUR)).rows, 1);
        // No number is an infinity or none, whatever a row holds.
        model.add(Timestamp(24 * HOUR), &[f32::NAN, f32::INFINITY], f32::NAN);
        assert_eq!(model.report(Timestamp(24 * HOUR)).rows, 2);
    }
}
