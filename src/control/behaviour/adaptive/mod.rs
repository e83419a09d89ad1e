//! Thresholds that follow what is usual: robust baselines by hour of week for one metric of one entity.
//!
//! ```text
//! y = ln(1 + x)      z = (y - median) / max(1.4826 MAD, floor)      flagged when z is above the threshold
//! ```
//!
//! Median and MAD are followed by steps towards each value (EWMA), in three paces: 0.5 while a baseline is built, 0.05 when it
//! stands, 0.005 for values that are themselves suspicious. So who raises his level by 2 % an hour is measured against what
//! the same hour was on the days before, which he has hardly moved; with 0.5 alone he teaches it faster than he grows.
//!
//! | may teach | pace | when |
//! | --- | --- | --- |
//! | everybody | 0.5 | until there are [`WARM_UP`] values of the same hour of the day: for three days, in which there is no verdict |
//! | what is usual | 0.05 | z within the threshold |
//! | what is not | 0.005 | z beyond it, either way |
//! | a new level | 0.05, of all hours at once | beyond it in every hour for [`ACCEPT_H`] hours, ADWIN has seen the step, and nothing has changed for a day since; then for as many hours |
//!
//! Which values may teach at all is the detector's to say. The baseline of a moment is the finest one that has enough values:
//! the hour of the week (after [`WARM_UP`] weeks), else the hour of the day (after [`WARM_UP`] days). All hours together were
//! tried for the first days: of a host that works by day they call each morning an attack.
//! Pure and of fixed size: some 2.5 KB.

mod adwin;
#[cfg(test)]
mod tests;

pub use adwin::Adwin;
use serde::{Deserialize, Serialize};

/// Values of the same hour, of the week or of the day, from which they are a baseline.
pub const WARM_UP: u16 = 3;
/// Hours in a row that must be beyond the threshold before a new level is accepted: longer than any slow ramp that was
/// tried, and long enough for people to have read the alert.
pub const ACCEPT_H: u16 = 72;
/// Hours without another step before that.
const STEADY_H: u16 = 24;
/// Cells: hours of the week, then hours of the day.
const WEEK: usize = 168;
const DAY: usize = 24;
const CELLS: usize = WEEK + DAY;
/// Of a normal distribution the standard deviation is so many MADs.
const SIGMA: f64 = 1.4826;
/// Residuals in units of the spread that ADWIN is shown: beyond it everything is as much.
const CLIP: f64 = 8.0;

/// Paces and limits.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Spreads above the median from which a value is flagged.
    pub z: f64,
    /// Least spread, in units of y: with 0.25, what doubles is never flagged, however even it was before.
    pub floor: f64,
    /// Pace while a baseline is built.
    pub building: f64,
    /// Pace when it stands.
    pub drift: f64,
    /// Pace of values that are suspicious.
    pub suspicious: f64,
    /// Chance of a false step that ADWIN may have.
    pub delta: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { z: 3.0, floor: 0.25, building: 0.5, drift: 0.05, suspicious: 0.005, delta: 0.01 }
    }
}

/// Median, MAD and number of values.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Cell(f32, f32, u16);

/// At which pace a value teaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// There is no baseline yet.
    Building,
    /// As usual.
    Drift,
    /// Beyond the threshold.
    Suspicious,
}

impl Mode {
    /// In words for people.
    pub const fn words(self) -> &'static str {
        match self {
            Mode::Building => "still learning",
            Mode::Drift => "following slowly",
            Mode::Suspicious => "hardly learning from it, because it is suspicious",
        }
    }
}

/// What a baseline is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// The same hour of the week.
    HourOfWeek,
    /// The same hour of the day.
    HourOfDay,
}

impl Basis {
    /// In words for people.
    pub const fn words(self) -> &'static str {
        match self {
            Basis::HourOfWeek => "this hour of the week",
            Basis::HourOfDay => "this hour of the day",
        }
    }
}

/// What is said of a value, with all that it rests on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Verdict {
    /// The value.
    pub value: f64,
    /// What is usual.
    pub median: f64,
    /// Median absolute deviation, in units of ln(1 + x).
    pub mad: f64,
    /// Spreads above the median; negative below.
    pub z: f64,
    /// Value from which it would be flagged.
    pub threshold: f64,
    /// At which pace it teaches.
    pub mode: Mode,
    /// Values in the baseline.
    pub count: u16,
    /// What the baseline is of.
    pub basis: Basis,
    /// Beyond the threshold.
    pub is_flagged: bool,
}

/// The baseline of one metric of one entity.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Baseline {
    cells: Vec<Cell>,
    /// By how much a level that was accepted lies above what the cells say.
    shift: f32,
    adwin: Adwin,
    /// Hours in a row beyond the threshold, and hours since the last step, both up to their limits.
    beyond: u16,
    steady: u16,
    /// A step was seen since the row began.
    stepped: bool,
    /// Hours for which an accepted level is still followed.
    following: u16,
}

impl Default for Baseline {
    fn default() -> Baseline {
        let cells = vec![Cell::default(); CELLS];
        Baseline { cells, shift: 0.0, adwin: Adwin::default(), beyond: 0, steady: 0, stepped: false, following: 0 }
    }
}

impl Baseline {
    /// What it takes besides its own size, at most.
    pub const HEAP_BYTES: usize = CELLS * size_of::<Cell>() + Adwin::HEAP_BYTES;

    /// The finest cell with enough values.
    fn basis(&self, hour: u64) -> (Basis, Cell) {
        let [week, day] = places(hour).map(|place| self.cells.get(place).copied().unwrap_or_default());
        if week.2 >= WARM_UP { (Basis::HourOfWeek, week) } else { (Basis::HourOfDay, day) }
    }

    /// What is to be said of a value of this hour (since the epoch), without learning: also of an hour that is not over, where
    /// values only grow.
    pub fn judge(&self, settings: &Settings, hour: u64, value: f64) -> Verdict {
        let (basis, Cell(median, mad, count)) = self.basis(hour);
        let median = f64::from(median) + f64::from(self.shift);
        let spread = (SIGMA * f64::from(mad)).max(settings.floor);
        let z = (value.max(0.0).ln_1p() - median) / spread;
        let is_ready = count >= WARM_UP;
        let mode = match z.abs() > settings.z {
            _ if !is_ready => Mode::Building,
            true => Mode::Suspicious,
            false => Mode::Drift,
        };
        Verdict {
            value,
            median: median.exp_m1().max(0.0),
            mad: mad.into(),
            z,
            threshold: (median + settings.z * spread).exp_m1().max(0.0),
            mode,
            count,
            basis,
            is_flagged: is_ready && z > settings.z,
        }
    }

    /// The same of an hour that is over, which teaches.
    pub fn learn(&mut self, settings: &Settings, hour: u64, value: f64) -> Verdict {
        let verdict = self.judge(settings, hour, value);
        let y = value.max(0.0).ln_1p();
        self.look_for_steps(settings, &verdict);
        if self.beyond >= ACCEPT_H && self.stepped && self.steady >= STEADY_H {
            (self.following, self.beyond, self.stepped) = (ACCEPT_H, 0, false);
        }
        if self.following > 0 {
            self.following -= 1;
            let (_, Cell(median, ..)) = self.basis(hour);
            self.shift += (settings.drift * (y - f64::from(median) - f64::from(self.shift))) as f32; // a few units
            return Verdict { mode: Mode::Drift, ..verdict };
        }
        let level = y - f64::from(self.shift);
        for place in places(hour) {
            let Some(Cell(median, mad, count)) = self.cells.get_mut(place) else { continue };
            let pace = match verdict.mode {
                Mode::Building => settings.building,
                // A finer cell is built while a coarser one judges; what is suspicious must not build it.
                Mode::Drift if *count < WARM_UP => settings.building,
                Mode::Drift => settings.drift,
                Mode::Suspicious => settings.suspicious,
            };
            if *count == 0 {
                // What is suspicious at first sight is no beginning: the coarser baseline is.
                let (from, within) = (verdict.median.ln_1p() - f64::from(self.shift), verdict.mad);
                let begin = if verdict.mode == Mode::Suspicious { (from, within) } else { (level, 0.0) };
                (*median, *mad) = (begin.0 as f32, begin.1 as f32); // of a few digits
            } else {
                let step = level - f64::from(*median);
                *median += (pace * step) as f32;
                *mad += (pace * (step.abs() - f64::from(*mad))) as f32;
            }
            *count = count.saturating_add(1);
        }
        verdict
    }

    /// Counts hours beyond the threshold, and shows ADWIN how far from the usual this one is.
    fn look_for_steps(&mut self, settings: &Settings, verdict: &Verdict) {
        if verdict.mode == Mode::Building {
            return;
        }
        let stepped = self.adwin.add(verdict.z.clamp(-CLIP, CLIP) / (2.0 * CLIP) + 0.5, settings.delta);
        self.steady = if stepped { 0 } else { self.steady.saturating_add(1).min(STEADY_H) };
        if verdict.mode == Mode::Suspicious {
            self.beyond = self.beyond.saturating_add(1).min(ACCEPT_H);
            self.stepped |= stepped;
        } else {
            (self.beyond, self.stepped) = (0, false);
        }
    }

    /// Is it what this program writes? A file may hold anything.
    pub fn is_sound(&self) -> bool {
        let sound = |Cell(median, mad, _): &Cell| median.is_finite() && mad.is_finite() && *mad >= 0.0;
        self.cells.len() == CELLS && self.cells.iter().all(sound) && self.shift.is_finite() && self.adwin.is_sound()
    }
}

/// Cells of an hour: of the week, of the day.
fn places(hour: u64) -> [usize; 2] {
    [(hour % WEEK as u64) as usize, WEEK + (hour % DAY as u64) as usize]
}
