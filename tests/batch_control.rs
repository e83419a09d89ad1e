//! The batch controllers in virtual time: bounds under every load, no memory of overload, and AIMD as the warning.

#[path = "../perf/batch-control/simulator.rs"]
#[allow(dead_code)] // the printing program uses the rest
mod simulator;

use shrike::dataplane::score::CostCurve;
use shrike::dataplane::worker::batch::{RxSettings, RxState, ScoreSettings, ScoreState};
use simulator::{Control, Outcome, Phase, receive, score};

const MILLISECOND: u64 = 1_000_000;
/// The step test's objective, end to end.
const OBJECTIVE_NS: u64 = 3 * MILLISECOND;

fn guarded(settings: ScoreSettings) -> Control {
    Control::Guarded(settings, ScoreState::new(&settings))
}

/// 1 M rows a second, `overload`, and 1 M again.
fn step(overload: Phase) -> [Phase; 3] {
    [Phase::steady(20 * MILLISECOND, 1e6), overload, Phase::steady(40 * MILLISECOND, 1e6)]
}

/// What "the same state as before" means: the target, no backlog but the rows that wait for company, the same speed.
///
/// Without jitter the target is its fixed point exactly; with it, it hovers round it, and the means are compared.
fn recovered(before: &Outcome, after: &Outcome, jitter: f64) -> bool {
    let same = match jitter {
        0.0 => before.target == after.target,
        _ => (before.mean_target - after.mean_target).abs() <= 0.1 * before.mean_target,
    };
    same && regained_speed(before, after)
}

fn regained_speed(before: &Outcome, after: &Outcome) -> bool {
    after.backlog <= 128 && after.latency_ns[0] <= before.latency_ns[0] * 3 / 2 + 1_000
}

#[test]
fn the_state_after_an_overload_is_the_state_before_it() {
    let mut runs = 0;
    for seed in 1..=2 {
        for jitter in [0.0, 0.1, 0.3] {
            for rate in [2e6, 9e6, 30e6] {
                for slowness in [1.0, 3.0, 10.0] {
                    for budget_ns in [6_000, 12_000, 20_000] {
                        for wait_ns in [50_000, 500_000] {
                            let settings =
                                ScoreSettings { wait_ns, service_budget_ns: budget_ns, ..ScoreSettings::default() };
                            let overload = Phase { length_ns: 10 * MILLISECOND, rate, burst: 1, slowness };
                            let mut control = guarded(settings);
                            let seen = score(&mut control, &settings.cost, &step(overload), jitter, true, seed);
                            assert!(
                                recovered(&seen[0], &seen[2], jitter),
                                "seed {seed} jitter {jitter} rate {rate} slowness {slowness} budget {budget_ns} \
                                 wait {wait_ns}: {seen:#?}"
                            );
                            assert!(seen.iter().all(|phase| phase.targets.0 >= 8.0 && phase.targets.1 <= 128.0));
                            runs += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(runs, 324);
}

/// The guarded rule on the published step: 1 to 9 to 1 M rows a second with 30 % jitter.
#[test]
fn the_published_step_stays_within_its_objective() {
    let settings = ScoreSettings { wait_ns: 50_000, ..ScoreSettings::default() };
    let overload = Phase::steady(50 * MILLISECOND, 9e6);
    let seen = score(&mut guarded(settings), &settings.cost, &step(overload), 0.3, false, 7);
    assert!(seen[1].latency_ns[2] < OBJECTIVE_NS, "{seen:#?}");
    assert!(seen[2].latency_ns[1] < 100_000, "{seen:#?}");
    assert_eq!(seen[2].shed, 0);
}

/// Textbook AIMD through the same step must fail the same check; were this test to fail, the check would prove nothing.
#[test]
fn textbook_aimd_remembers_the_overload() {
    let cost = CostCurve::TYPICAL;
    // A tenth above what the largest batches can do.
    let overload = Phase::steady(50 * MILLISECOND, 12e6);
    for seed in 1..=3 {
        let mut control = Control::Aimd { target: 32.0, objective_ns: OBJECTIVE_NS };
        let seen = score(&mut control, &cost, &step(overload), 0.3, false, seed);
        assert!(seen[0].latency_ns[1] < OBJECTIVE_NS, "AIMD is fine before the step: {seen:#?}");
        assert!(!regained_speed(&seen[0], &seen[2]), "AIMD recovered, seed {seed}: {seen:#?}");
        assert!(seen[2].backlog > 10_000 && seen[2].target < 8.0, "{seen:#?}");
        // The guarded rule with the same endless backlog, as the counterpart.
        let settings = ScoreSettings { wait_ns: 50_000, ..ScoreSettings::default() };
        let mut phases = step(overload);
        phases[2].length_ns = 300 * MILLISECOND; // most rows of the phase come after the backlog is gone
        let seen = score(&mut guarded(settings), &cost, &phases, 0.3, false, seed);
        assert!(recovered(&seen[0], &seen[2], 0.3), "{seen:#?}");
    }
}

#[test]
fn ramps_silence_and_bursts_keep_the_target_and_the_age_limit() {
    let settings = ScoreSettings { wait_ns: 50_000, ..ScoreSettings::default() };
    let ramp: Vec<Phase> = (0..20).map(|at| Phase::steady(5 * MILLISECOND, f64::from(at) * 4e5)).collect();
    let silence = [
        Phase::steady(20 * MILLISECOND, 1e6),
        Phase::steady(50 * MILLISECOND, 0.0),
        Phase::steady(20 * MILLISECOND, 1e6),
    ];
    let bursts: Vec<Phase> = (0..20)
        .map(|at| match at % 2 {
            0 => Phase { length_ns: 2 * MILLISECOND, rate: 4e6, burst: 64, slowness: 1.0 },
            _ => Phase::steady(3 * MILLISECOND, 100.0),
        })
        .collect();
    for (name, phases) in [("ramp", &ramp[..]), ("silence", &silence[..]), ("bursts", &bursts[..])] {
        for jitter in [0.0, 0.3] {
            let seen = score(&mut guarded(settings), &settings.cost, phases, jitter, true, 11);
            for phase in &seen {
                assert_eq!(phase.shed, 0, "{name}: {phase:?}");
                // The age limit, the call under way, the calls before ours, the call itself.
                assert!(phase.latency_ns[2] < 50_000 + 8 * 20_000, "{name}: {phase:?}");
            }
            assert!((seen.last().unwrap().target - seen[0].target).abs() < 1.0, "{name}: {seen:?}");
        }
    }
}

/// Waiting pays: at half a million rows a second a greedy server is busy nearly all the time, a waiting one a fifth.
#[test]
fn waiting_a_little_saves_most_of_the_work() {
    let phases = [Phase::steady(100 * MILLISECOND, 5e5)];
    let patient = ScoreSettings { wait_ns: 50_000, ..ScoreSettings::default() };
    let greedy = ScoreSettings { wait_ns: 0, ..patient };
    let busy = |settings: ScoreSettings| score(&mut guarded(settings), &settings.cost, &phases, 0.0, true, 3)[0].busy;
    let (patient, greedy) = (busy(patient), busy(greedy));
    assert!(patient < 0.25 && greedy > 0.55, "patient {patient}, greedy {greedy}");
}

#[test]
fn slow_inference_lowers_the_target_and_speed_brings_it_back() {
    let settings = ScoreSettings::default();
    let slow = Phase { length_ns: 50 * MILLISECOND, rate: 1e6, burst: 1, slowness: 3.0 };
    let seen = score(&mut guarded(settings), &settings.cost, &step(slow), 0.0, true, 5);
    let fits = settings.cost.largest_within(settings.service_budget_ns / 3, 128) as f64;
    assert_eq!((seen[0].target, seen[1].target, seen[2].target), (128.0, fits, 128.0));
}

#[test]
fn the_rx_cap_follows_the_ring_and_forgets_the_overload() {
    let settings = RxSettings::default();
    for seed in 1..=5 {
        for (low, high) in [(1e6, 20e6), (5e6, 40e6), (10e6, 24e6)] {
            for slowness in [1.0, 4.0] {
                let phases = [
                    Phase::steady(20 * MILLISECOND, low),
                    Phase { length_ns: 20 * MILLISECOND, rate: high, burst: 1, slowness },
                    Phase::steady(20 * MILLISECOND, low),
                    Phase::steady(5 * MILLISECOND, 0.0),
                    Phase { length_ns: 20 * MILLISECOND, rate: low, burst: 300, slowness: 1.0 },
                    Phase::steady(20 * MILLISECOND, low),
                ];
                let mut state = RxState::new(&settings);
                let seen = receive(&settings, &mut state, &phases, (200.0, 35.0), seed);
                let context = format!("seed {seed}, {low} to {high}, {slowness} times slower: {seen:#?}");
                assert!(seen.iter().all(|phase| phase.caps.0 >= 32 && phase.caps.1 <= 256), "{context}");
                assert!(seen[1].caps.1 > seen[0].cap || slowness > 1.0, "the cap must rise: {context}");
                assert_eq!(seen[0].cap, seen[2].cap, "{context}");
                assert_eq!(seen[0].cap, seen[5].cap, "{context}");
                assert!(seen[0].lost + seen[2].lost + seen[5].lost == 0 || low > 9e6, "{context}");
                // Once the cost is known, no burst takes much longer than its budget.
                assert!(seen[2].longest_ns < 3 * settings.burst_budget_ns, "{context}");
            }
        }
    }
}
