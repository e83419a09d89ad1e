//! The two batch controllers: pure functions of settings, state and one observation, with nothing in common but that.
//!
//! RX is greedy and bounded: take what is there up to a cap, never wait; feedback moves only the cap. Scoring gains
//! from waiting, because a row in a full batch costs a twentieth of a row alone: it waits a bounded time for a target,
//! and a drain takes the whole backlog. The target shrinks only when the *service time* of such a batch exceeds its
//! budget, never because of queueing: cutting the batch on end-to-end latency raises the cost of a row just when there
//! are too many of them, and the queue never recovers (`tests/batch_control.rs` shows textbook AIMD doing so).
//!
//! Neither remembers an overload: for a given input each has one fixed point and reaches it from above and from below,
//! so the state after is the state before. A plain dead band would not do, since it keeps the side it was entered
//! from.

use crate::dataplane::score::{BATCH_MAX, CostCurve, INLINE_BATCH_MIN, INLINE_BUDGET_NS};
use crate::units::MICROSECOND;
use serde::{Deserialize, Serialize};

/// Why a controller last moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It has not moved yet.
    #[default]
    Start,
    /// The operator fixed it.
    Fixed,
    /// The ring is filling.
    RingFilling,
    /// The ring has emptied.
    RingEmptied,
    /// A burst of this size takes too long.
    BurstTooLong,
    /// Service time is within its budget.
    ServiceWithinBudget,
    /// Service time exceeds its budget.
    ServiceOverBudget,
}

impl Reason {
    /// Name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Start => "start",
            Reason::Fixed => "fixed",
            Reason::RingFilling => "ring_filling",
            Reason::RingEmptied => "ring_emptied",
            Reason::BurstTooLong => "burst_too_long",
            Reason::ServiceWithinBudget => "service_within_budget",
            Reason::ServiceOverBudget => "service_over_budget",
        }
    }
}

/// Settings of the RX controller.
#[derive(Clone, Copy, Debug)]
pub struct RxSettings {
    /// A fixed cap instead of feedback, frames.
    pub fixed: Option<u32>,
    /// Lowest cap, frames. Below 32 the shared cost of a burst is no longer small.
    pub minimum: u32,
    /// Highest cap, frames. 256 frames of 40 ns are 10 us.
    pub maximum: u32,
    /// Longest time a burst may take, scoring apart, nanoseconds: frames behind it wait that long.
    pub burst_budget_ns: u64,
    /// Reads in a row that must find less than half the cap before it is halved. Too few, and every gap in a stream
    /// makes the next burst start small; too many, and the cap outlives its cause.
    pub patience: u32,
}

impl Default for RxSettings {
    fn default() -> RxSettings {
        RxSettings { fixed: None, minimum: 32, maximum: 256, burst_budget_ns: 10 * MICROSECOND, patience: 16 }
    }
}

impl RxSettings {
    /// Lowest and highest cap it may choose.
    pub fn bounds(&self) -> (u32, u32) {
        self.fixed.map_or((self.minimum, self.maximum), |cap| (cap, cap))
    }
}

/// State of the RX controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct RxState {
    /// Frames taken at most by the next read.
    pub cap: u32,
    /// Why it is what it is.
    pub reason: Reason,
    /// Moves since start.
    pub changes: u64,
    /// Reads in a row that found less than half the cap.
    pub quiet: u32,
    /// Smoothed cost of a frame, sixteenths of a nanosecond; 0: not measured yet.
    pub frame_ns_16: u64,
}

impl RxState {
    /// At the lowest cap, or at the fixed one.
    pub fn new(settings: &RxSettings) -> RxState {
        match settings.fixed {
            Some(cap) => RxState { cap, reason: Reason::Fixed, ..RxState::default() },
            None => RxState { cap: settings.minimum, ..RxState::default() },
        }
    }

    /// Frames taken at most by the next read.
    #[inline(always)]
    pub fn cap(&self) -> usize {
        self.cap as usize
    }

    /// After a read that found `waiting` frames in a ring of `capacity` (0: the source cannot tell). Doubles when the
    /// ring held a whole burst; halves when it held less than half of one for `patience` reads. For a constant
    /// `waiting` the one fixed point is the cap with `cap / 2 <= waiting < cap`.
    #[inline]
    #[must_use]
    pub fn step(self, settings: &RxSettings, waiting: u32, capacity: u32) -> RxState {
        if settings.fixed.is_some() {
            return self;
        }
        if capacity == 0 {
            // A source without a ring (a file) is always behind: the largest burst is the cheapest.
            return RxState { cap: settings.maximum, ..self };
        }
        if waiting >= self.cap / 2 {
            let longest = self.longest_cap(settings);
            return match self.cap {
                cap if cap > longest => self.moved((cap / 2).max(longest), Reason::BurstTooLong),
                cap if waiting >= cap && cap < longest => self.moved((cap * 2).min(longest), Reason::RingFilling),
                _ => RxState { quiet: 0, ..self },
            };
        }
        if self.cap <= settings.minimum {
            return self;
        }
        match self.quiet + 1 {
            quiet if quiet < settings.patience => RxState { quiet, ..self },
            _ => self.moved((self.cap / 2).max(settings.minimum), Reason::RingEmptied),
        }
    }

    /// After a burst of `frames` that was timed (one in 16 is): smooths the cost of a frame over some 16 such bursts. A
    /// sample counts at most fourfold the average: when the kernel took the core for a while, that says nothing of
    /// frames.
    #[must_use]
    pub fn timed(self, frames: usize, took_ns: u64) -> RxState {
        // Small bursts are dominated by what a burst costs, however many frames it has.
        if frames < 16 {
            return self;
        }
        let sample = (took_ns.saturating_mul(16) / frames as u64).max(1);
        let frame_ns_16 = match self.frame_ns_16 {
            0 => sample,
            average => (average.saturating_mul(15).saturating_add(sample.min(average.saturating_mul(4)))) / 16,
        };
        RxState { frame_ns_16: frame_ns_16.max(1), ..self }
    }

    /// Largest cap, by halves of the maximum, whose frames fit into the burst's budget; the minimum if none does.
    fn longest_cap(&self, settings: &RxSettings) -> u32 {
        let mut cap = settings.maximum;
        while cap > settings.minimum && u64::from(cap).saturating_mul(self.frame_ns_16) / 16 > settings.burst_budget_ns
        {
            cap = (cap / 2).max(settings.minimum);
        }
        cap
    }

    fn moved(self, cap: u32, reason: Reason) -> RxState {
        RxState { cap, reason, changes: self.changes + 1, quiet: 0, ..self }
    }
}

/// Settings of the scoring controller.
#[derive(Clone, Copy, Debug)]
pub struct ScoreSettings {
    /// A fixed target instead of feedback, rows.
    pub fixed: Option<u32>,
    /// Lowest target, rows.
    pub minimum: u32,
    /// Highest target, and most rows of one call.
    pub maximum: u32,
    /// Longest time the oldest row waits, nanoseconds. At 300 000 rows a second (`perf/batch-control`) 50 us cost a
    /// core
    /// 6.6 %, 200 us 3.5 % and 500 us 2.9 %; every flow's score is later by as much.
    pub wait_ns: u64,
    /// What one call of the model may take, nanoseconds: no longer between two reads of the ring.
    pub service_budget_ns: u64,
    /// What a call takes by its rows, as measured when the model was loaded.
    pub cost: CostCurve,
}

impl Default for ScoreSettings {
    fn default() -> ScoreSettings {
        ScoreSettings {
            fixed: None,
            minimum: INLINE_BATCH_MIN as u32,
            maximum: BATCH_MAX as u32,
            wait_ns: 200 * MICROSECOND,
            service_budget_ns: INLINE_BUDGET_NS,
            cost: CostCurve::TYPICAL,
        }
    }
}

impl ScoreSettings {
    /// These settings for a model of measured cost: no call larger than fits into the budget between two reads of the
    /// ring. Where not even one row fits, single rows are the least harm; no such model is
    /// activated while the sensor runs ([`CostCurve::is_inline`]).
    #[must_use]
    pub fn for_model(self, cost: &CostCurve) -> ScoreSettings {
        let most = cost.largest_within(self.service_budget_ns, BATCH_MAX).max(1) as u32;
        let maximum = self.maximum.min(most);
        ScoreSettings { maximum, minimum: self.minimum.min(maximum), cost: *cost, ..self }
    }

    /// Lowest and highest target it may choose.
    pub fn bounds(&self) -> (u32, u32) {
        self.fixed.map_or((self.minimum, self.maximum), |target| (target, target))
    }
}

/// State of the scoring controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ScoreState {
    /// Rows that end the wait.
    pub target: u32,
    /// Why it is what it is.
    pub reason: Reason,
    /// Moves since start.
    pub changes: u64,
}

impl ScoreState {
    /// At the highest target, or at the fixed one.
    pub fn new(settings: &ScoreSettings) -> ScoreState {
        match settings.fixed {
            Some(target) => ScoreState { target, reason: Reason::Fixed, changes: 0 },
            None => ScoreState { target: settings.maximum, reason: Reason::Start, changes: 0 },
        }
    }

    /// Is it time to call the model for `rows` of which the oldest has waited `waited_ns`?
    #[inline(always)]
    pub fn is_due(&self, settings: &ScoreSettings, rows: usize, waited_ns: u64) -> bool {
        rows >= self.target as usize || waited_ns >= settings.wait_ns
    }

    /// After a call for `rows` that took `service_ns`. How slow the call was against the measured curve is carried
    /// over to the target's size, so that a large drain in an overload says as much as a small one in silence. The
    /// target seeks the largest size whose usual service time fits: steps of an eighth while they fit, single ones
    /// near the edge, and one call that was interrupted costs one step.
    #[must_use]
    pub fn step(self, settings: &ScoreSettings, rows: usize, service_ns: u64) -> ScoreState {
        if settings.fixed.is_some() || rows == 0 {
            return self;
        }
        let usual = u128::from(settings.cost.service_ns(rows).max(1));
        let fits = |target: u32| {
            let expected = u128::from(settings.cost.service_ns(target as usize)) * u128::from(service_ns) / usual;
            expected <= u128::from(settings.service_budget_ns)
        };
        let target = self.target.clamp(settings.minimum, settings.maximum);
        let stride = (target / 8).max(1);
        let higher = [target + stride, target + 1].map(|target| target.min(settings.maximum));
        let (target, reason) = match higher {
            _ if !fits(target) => (target.saturating_sub(stride).max(settings.minimum), Reason::ServiceOverBudget),
            [far, _] if fits(far) => (far, Reason::ServiceWithinBudget),
            [_, near] if fits(near) => (near, Reason::ServiceWithinBudget),
            _ => return self,
        };
        if target == self.target {
            return self;
        }
        ScoreState { target, reason, changes: self.changes + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_rx(mut state: RxState, settings: &RxSettings, waiting: u32, frame_ns: u64, reads: usize) -> RxState {
        for _ in 0..reads {
            let taken = waiting.min(state.cap) as usize;
            state = state.timed(taken, taken as u64 * frame_ns).step(settings, waiting, 2048);
        }
        state
    }

    #[test]
    fn the_cap_has_one_fixed_point_for_an_occupancy_from_either_side() {
        let settings = RxSettings::default();
        for waiting in 0..600_u32 {
            let fixed_point = (waiting + 1).next_power_of_two().clamp(settings.minimum, settings.maximum);
            for start in [32, 64, 128, 256] {
                let state = RxState { cap: start, ..RxState::new(&settings) };
                assert_eq!(run_rx(state, &settings, waiting, 30, 200).cap, fixed_point, "{waiting} from {start}");
            }
        }
    }

    #[test]
    fn slow_frames_lower_the_cap_and_a_stall_does_not() {
        let settings = RxSettings::default();
        let busy = run_rx(RxState::new(&settings), &settings, 1_000, 30, 50);
        assert_eq!((busy.cap, busy.reason), (256, Reason::RingFilling));
        // 100 ns a frame: 64 of them take 6.4 us, 128 take 12.8.
        let slow = run_rx(busy, &settings, 1_000, 100, 200);
        assert_eq!((slow.cap, slow.reason), (64, Reason::BurstTooLong));
        assert_eq!(run_rx(slow, &settings, 1_000, 30, 200).cap, 256);
        assert_eq!(busy.timed(256, 4_000_000).step(&settings, 1_000, 2048).cap, 256);
    }

    #[test]
    fn a_source_without_a_ring_gets_the_largest_burst() {
        let settings = RxSettings::default();
        assert_eq!(RxState::new(&settings).step(&settings, 0, 0).cap, 256);
    }

    #[test]
    fn fixed_controllers_never_move() {
        let settings = RxSettings { fixed: Some(100), ..RxSettings::default() };
        let state = run_rx(RxState::new(&settings), &settings, 5_000, 900, 500);
        assert_eq!((state.cap, state.reason, state.changes), (100, Reason::Fixed, 0));
        let settings = ScoreSettings { fixed: Some(48), ..ScoreSettings::default() };
        let before = ScoreState::new(&settings);
        assert_eq!((before.target, before.step(&settings, 48, 1_000_000)), (48, before));
    }

    #[test]
    fn the_target_is_the_largest_batch_within_the_budget_from_either_side() {
        for budget in [3_000, 5_500, 8_000, 11_999, 12_300, 20_000] {
            for slowness in [1, 2, 3] {
                let settings = ScoreSettings { service_budget_ns: budget, ..ScoreSettings::default() };
                let cost = settings.cost;
                let fits = cost.largest_within(budget / slowness, BATCH_MAX) as u32;
                for start in [8, 21, 64, 127, 128] {
                    let mut state = ScoreState { target: start, ..ScoreState::new(&settings) };
                    for call in 0..400 {
                        let rows = call * 29 % 128 + 1;
                        state = state.step(&settings, rows, cost.service_ns(rows) * slowness);
                    }
                    assert_eq!(state.target, fits.clamp(8, 128), "{budget} ns, {slowness} times slower, from {start}");
                }
            }
        }
    }

    #[test]
    fn a_batch_is_due_by_size_or_age() {
        let settings = ScoreSettings::default();
        let state = ScoreState { target: 32, ..ScoreState::new(&settings) };
        assert!(!state.is_due(&settings, 31, settings.wait_ns - 1));
        assert!(state.is_due(&settings, 32, 0));
        assert!(state.is_due(&settings, 1, settings.wait_ns));
    }

    #[test]
    fn calls_are_no_larger_than_fits_between_two_reads() {
        let settings = ScoreSettings::default();
        let slow = settings.for_model(&CostCurve::new(&[(1, 5_000), (32, 20_000), (128, 60_000)]));
        assert_eq!((slow.minimum, slow.maximum), (8, 32));
        let forest = settings.for_model(&CostCurve::new(&[(1, 31_600), (8, 68_600)]));
        assert_eq!((forest.minimum, forest.maximum, ScoreState::new(&forest).target), (1, 1, 1));
    }

    #[test]
    fn extreme_observations_stay_in_bounds() {
        let (rx, score) = (RxSettings::default(), ScoreSettings::default());
        let (mut cap, mut target) = (RxState::new(&rx), ScoreState::new(&score));
        for seed in 0..5_000_u64 {
            let wild = |salt: u64| (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt).rotate_left((seed % 64) as u32);
            cap = cap.timed(wild(1) as usize % 257, wild(2)).step(&rx, wild(3) as u32, 2048);
            target = target.step(&score, wild(4) as usize % 513, wild(5));
            assert!((rx.minimum..=rx.maximum).contains(&cap.cap) && cap.cap.is_power_of_two());
            assert!((score.minimum..=score.maximum).contains(&target.target));
        }
    }
}
