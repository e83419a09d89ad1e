//! Virtual time for the two batch controllers: seeded, exact, no clock and no sleep.
//!
//! Scoring is a single server with Poisson arrivals (also of bursts), the measured cost curve, service-time jitter and
//! an inference that may slow down for a while. The RX ring is a worker's loop over a ring that fills meanwhile. Both
//! run the controllers of `dataplane::worker::batch` as they are, and the scoring side also runs textbook AIMD in
//! their place.

use shrike::dataplane::score::{BACKLOG_MAX, CostCurve};
use shrike::dataplane::worker::batch::{RxSettings, RxState, ScoreSettings, ScoreState};
use std::collections::VecDeque;

/// splitmix64: enough randomness for arrivals, the same on every machine.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0..1.
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Of mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }
}

/// What happens from one moment on.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// How long, nanoseconds.
    pub length_ns: u64,
    /// Rows (or frames) a second.
    pub rate: f64,
    /// They come this many at once.
    pub burst: u32,
    /// Inference (or a frame) takes this many times as long.
    pub slowness: f64,
}

impl Phase {
    /// Single arrivals at usual speed.
    pub fn steady(length_ns: u64, rate: f64) -> Phase {
        Phase { length_ns, rate, burst: 1, slowness: 1.0 }
    }
}

/// Who decides how long rows wait for company.
#[derive(Clone, Copy, Debug)]
pub enum Control {
    /// The controller under test.
    Guarded(ScoreSettings, ScoreState),
    /// Textbook: +1 on success, a tenth less on a miss of the end-to-end objective; a drain takes the target at most.
    Aimd {
        /// Batch size.
        target: f64,
        /// Objective, nanoseconds.
        objective_ns: u64,
    },
}

impl Control {
    /// Present target, rows.
    pub fn target(&self) -> f64 {
        match self {
            Control::Guarded(_, state) => f64::from(state.target),
            Control::Aimd { target, .. } => *target,
        }
    }
}

/// What one phase showed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Rows scored.
    pub rows: u64,
    /// Rows given up because the backlog was full.
    pub shed: u64,
    /// Share of the time spent in calls.
    pub busy: f64,
    /// Mean rows of a call.
    pub batch: f64,
    /// Waiting plus service, nanoseconds: median, 99th of a hundred, most.
    pub latency_ns: [u64; 3],
    /// Lowest and highest target.
    pub targets: (f64, f64),
    /// Target at the end.
    pub target: f64,
    /// Mean target over the second half.
    pub mean_target: f64,
    /// Rows waiting at the end.
    pub backlog: usize,
}

/// Runs scoring through `phases`; state and backlog carry over from one to the next.
///
/// `bounded`: whether the backlog is the worker's ([`BACKLOG_MAX`], then rows are shed) or endless, as AIMD's is.
pub fn score(
    control: &mut Control,
    cost: &CostCurve,
    phases: &[Phase],
    jitter: f64,
    bounded: bool,
    seed: u64,
) -> Vec<Outcome> {
    let mut random = Random(seed);
    let (mut now, mut phase_start) = (0.0_f64, 0.0_f64);
    let mut waiting: VecDeque<f64> = VecDeque::new();
    let mut outcomes = Vec::new();
    let mut next_arrival = 0.0;
    for phase in phases {
        let end = phase_start + phase.length_ns as f64;
        let gap_ns = 1e9 * f64::from(phase.burst) / phase.rate.max(1e-3);
        next_arrival = f64::max(next_arrival, phase_start).min(phase_start + gap_ns * random.exponential());
        let (mut outcome, mut latencies, mut busy, mut calls) = (Outcome::default(), Vec::new(), 0.0, 0_u64);
        outcome.targets = (f64::MAX, 0.0);
        let (mut target_sum, mut target_count) = (0.0, 0_u64);
        let admit = |until: f64, waiting: &mut VecDeque<f64>, next: &mut f64, random: &mut Random, shed: &mut u64| {
            while *next <= until && *next < end {
                for _ in 0..phase.burst {
                    if bounded && waiting.len() >= BACKLOG_MAX { *shed += 1 } else { waiting.push_back(*next) }
                }
                *next += gap_ns * random.exponential();
            }
        };
        while now < end {
            admit(now, &mut waiting, &mut next_arrival, &mut random, &mut outcome.shed);
            let oldest = waiting.front().copied();
            if !control.is_due(waiting.len(), oldest.map(|at| now - at)) {
                // Sleep until the next row or the age limit, whichever is first.
                let limit = oldest.map_or(f64::MAX, |at| at + control.wait_ns());
                now = limit.min(next_arrival).max(now + 1.0).min(end);
                continue;
            }
            let rows = waiting.len().min(control.call_max());
            let jittered = 1.0 + jitter * (2.0 * random.uniform() - 1.0);
            let service = cost.service_ns(rows) as f64 * phase.slowness * jittered;
            now += service;
            busy += service;
            calls += 1;
            let mut worst = 0.0_f64;
            for at in waiting.drain(..rows) {
                worst = worst.max(now - at);
                latencies.push((now - at) as u64);
            }
            outcome.rows += rows as u64;
            control.learn(rows, service as u64, worst as u64);
            if now > end - phase.length_ns as f64 / 2.0 {
                target_sum += control.target();
                target_count += 1;
            }
            outcome.targets = (outcome.targets.0.min(control.target()), outcome.targets.1.max(control.target()));
        }
        latencies.sort_unstable();
        let at = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).or(latencies.last());
        outcome.latency_ns = [0.5, 0.99, 1.0].map(|share| at(share).copied().unwrap_or(0));
        outcome.busy = busy / phase.length_ns as f64;
        outcome.batch = outcome.rows as f64 / calls.max(1) as f64;
        outcome.target = control.target();
        outcome.mean_target = if target_count > 0 { target_sum / target_count as f64 } else { control.target() };
        outcome.backlog = waiting.len();
        outcomes.push(outcome);
        phase_start = end;
    }
    outcomes
}

impl Control {
    fn is_due(&self, waiting: usize, age_ns: Option<f64>) -> bool {
        let Some(age_ns) = age_ns else { return false };
        match self {
            Control::Guarded(settings, state) => state.is_due(settings, waiting, age_ns as u64),
            // Clipper sends what there is, up to the batch size, as soon as the model is free.
            Control::Aimd { .. } => waiting > 0,
        }
    }

    fn wait_ns(&self) -> f64 {
        match self {
            Control::Guarded(settings, _) => settings.wait_ns as f64,
            Control::Aimd { .. } => 0.0,
        }
    }

    fn call_max(&self) -> usize {
        match self {
            Control::Guarded(settings, _) => settings.maximum as usize,
            Control::Aimd { target, .. } => *target as usize,
        }
    }

    fn learn(&mut self, rows: usize, service_ns: u64, worst_ns: u64) {
        match self {
            Control::Guarded(settings, state) => *state = state.step(settings, rows, service_ns),
            Control::Aimd { target, objective_ns } if worst_ns > *objective_ns => *target = (*target * 0.9).max(1.0),
            Control::Aimd { target, .. } => *target = (*target + 1.0).min(128.0),
        }
    }
}

/// What a phase of the RX side showed.
#[derive(Clone, Debug, Default)]
pub struct RxOutcome {
    /// Frames taken.
    pub frames: u64,
    /// Frames lost because the ring was full.
    pub lost: u64,
    /// Mean frames of a read.
    pub burst: f64,
    /// Longest burst, nanoseconds.
    pub longest_ns: u64,
    /// Lowest and highest cap.
    pub caps: (u32, u32),
    /// Cap at the end.
    pub cap: u32,
}

/// A worker's loop over a ring of 2048 frames: a read costs `read_ns` and each frame `frame_ns` times the phase's
/// slowness.
pub fn receive(
    settings: &RxSettings,
    state: &mut RxState,
    phases: &[Phase],
    (read_ns, frame_ns): (f64, f64),
    seed: u64,
) -> Vec<RxOutcome> {
    const RING: u64 = 2048;
    let mut random = Random(seed);
    let mut waiting = 0_u64;
    phases
        .iter()
        .map(|phase| {
            let mut outcome = RxOutcome { caps: (u32::MAX, 0), ..RxOutcome::default() };
            let gap_ns = 1e9 * f64::from(phase.burst) / phase.rate.max(1e-3);
            let (mut now, mut next, mut reads) = (0.0, gap_ns * random.exponential(), 0_u64);
            while now < phase.length_ns as f64 {
                while next <= now {
                    let fits = u64::from(phase.burst).min(RING - waiting);
                    waiting += fits;
                    outcome.lost += u64::from(phase.burst) - fits;
                    next += gap_ns * random.exponential();
                }
                if waiting == 0 {
                    // An empty poll tells the controller too: silence is an occupancy of 0.
                    *state = state.step(settings, 0, RING as u32);
                    now += read_ns;
                    continue;
                }
                let taken = waiting.min(u64::from(state.cap));
                let jittered = 0.8 + 0.4 * random.uniform();
                let busy = read_ns + taken as f64 * frame_ns * phase.slowness * jittered;
                *state = state.timed(taken as usize, busy as u64).step(settings, waiting as u32, RING as u32);
                waiting -= taken;
                now += busy;
                reads += 1;
                outcome.frames += taken;
                outcome.longest_ns = outcome.longest_ns.max(busy as u64);
                outcome.caps = (outcome.caps.0.min(state.cap), outcome.caps.1.max(state.cap));
            }
            outcome.burst = outcome.frames as f64 / reads.max(1) as f64;
            outcome.cap = state.cap;
            outcome
        })
        .collect()
}
