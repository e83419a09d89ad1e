//! The two batch controllers: pure functions of state and observation, with nothing in common but their shape.
//!
//! RX is greedy and bounded: take what is there up to a cap, never wait; feedback moves only the cap. Scoring waits a
//! bounded time to fill a microbatch; the target decides only how long to wait, a drain always takes the whole backlog up
//! to the maximum, and the target shrinks only when the *service time* exceeds its budget, never because of queueing:
//! cost per row rises some forty-fold as batches shrink, so cutting on end-to-end latency feeds the overload.

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
}

impl Default for RxSettings {
    fn default() -> RxSettings {
        RxSettings { fixed: None, minimum: 32, maximum: 256 }
    }
}

/// State of the RX controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RxState {
    /// Frames taken at most by the next read.
    pub cap: u32,
    /// Why it is what it is.
    pub reason: Reason,
    /// Moves since start.
    pub changes: u64,
}

impl RxState {
    /// At the lowest cap, or at the fixed one.
    pub fn new(settings: &RxSettings) -> RxState {
        match settings.fixed {
            Some(cap) => RxState { cap, reason: Reason::Fixed, changes: 0 },
            None => RxState { cap: settings.minimum, reason: Reason::Start, changes: 0 },
        }
    }

    /// Frames taken at most by the next read.
    #[inline(always)]
    pub fn cap(&self) -> usize {
        self.cap as usize
    }

    /// After a read that found `waiting` frames in a ring of `capacity` (0: the source cannot tell). Doubles when more
    /// waits than the cap takes, halves when less than a quarter of it does: a dead band of four.
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
        let (cap, reason) = if waiting > self.cap && self.cap < settings.maximum {
            ((self.cap * 2).min(settings.maximum), Reason::RingFilling)
        } else if waiting < self.cap / 4 && self.cap > settings.minimum {
            ((self.cap / 2).max(settings.minimum), Reason::RingEmptied)
        } else {
            return self;
        };
        RxState { cap, reason, changes: self.changes + 1 }
    }
}

/// Settings of the scoring controller.
#[derive(Clone, Copy, Debug)]
pub struct ScoreSettings {
    /// A fixed target instead of feedback, rows.
    pub fixed: Option<u32>,
    /// Lowest target, rows.
    pub minimum: u32,
    /// Highest target, rows.
    pub maximum: u32,
    /// Longest time the oldest row waits, nanoseconds.
    pub wait_ns: u64,
    /// What one call of the model may take, nanoseconds: no longer between two reads of the ring.
    pub service_budget_ns: u64,
}

impl Default for ScoreSettings {
    fn default() -> ScoreSettings {
        ScoreSettings {
            fixed: None,
            minimum: 8,
            maximum: 128,
            wait_ns: 500 * MICROSECOND,
            service_budget_ns: 20 * MICROSECOND,
        }
    }
}

/// State of the scoring controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
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

    /// After a call for `rows` that took `service_ns`.
    #[must_use]
    pub fn step(self, settings: &ScoreSettings, rows: usize, service_ns: u64) -> ScoreState {
        if settings.fixed.is_some() {
            return self;
        }
        let (target, reason) = if service_ns > settings.service_budget_ns && rows as u32 >= self.target {
            ((self.target / 2).max(settings.minimum), Reason::ServiceOverBudget)
        } else if service_ns <= settings.service_budget_ns {
            ((self.target + 8).min(settings.maximum), Reason::ServiceWithinBudget)
        } else {
            return self;
        };
        if target == self.target {
            return self;
        }
        ScoreState { target, reason, changes: self.changes + 1 }
    }
}
