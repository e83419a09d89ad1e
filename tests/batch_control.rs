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

/// The one question, put to every rule alike: 1 M rows a second, `overload`, time at 1 M to work off the backlog with
/// full batches (an endless one may be 300 000 rows), and then is the state what it was before?
///
/// That is: the target, no backlog but the rows that wait for company, the same latency. Without jitter a target is its
/// fixed point exactly; with it, it hovers round it, and the means are compared.
fn recovers(mut control: Control, cost: &CostCurve, overload: Phase, bounded: bool, jitter: f64, seed: u64) -> Verdict {
    let quiet = |milliseconds| Phase::steady(milliseconds * MILLISECOND, 1e6);
    let phases = [quiet(20), overload, quiet(if bounded { 5 } else { 60 }), quiet(20)];
    let seen = score(&mut control, cost, &phases, jitter, bounded, seed);
    let [before, .., after] = &seen[..] else { unreachable!("as many outcomes as phases") };
    let same_target = match jitter {
        0.0 => before.target == after.target,
        _ => (before.mean_target - after.mean_target).abs() <= 0.1 * before.mean_target,
    };
    let same_speed = after.backlog <= 128 && after.latency_ns[0] <= before.latency_ns[0] * 3 / 2 + 1_000;
    Verdict { recovered: same_target && same_speed, seen }
}

/// The answer, and what it was read from.
#[derive(Debug)]
struct Verdict {
    recovered: bool,
    seen: Vec<Outcome>,
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
                            let verdict = recovers(guarded(settings), &settings.cost, overload, true, jitter, seed);
                            assert!(
                                verdict.recovered,
                                "seed {seed} jitter {jitter} rate {rate} slowness {slowness} budget {budget_ns} \
                                 wait {wait_ns}: {verdict:#?}"
                            );
                            assert!(
                                verdict.seen.iter().all(|phase| phase.targets.0 >= 8.0 && phase.targets.1 <= 128.0)
                            );
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

/// Textbook AIMD is asked the same question on the same terms and must fail it; were it to pass, the question would prove
/// nothing. Whatever its objective within what a worker could promise, and although it met it before the step.
#[test]
fn textbook_aimd_remembers_the_overload() {
    let cost = CostCurve::TYPICAL;
    let settings = ScoreSettings::default();
    let hard = [
        // The worker's own bounded backlog: inference at a tenth of its speed for 10 ms.
        (true, Phase { length_ns: 10 * MILLISECOND, rate: 2e6, burst: 1, slowness: 10.0 }),
        // An endless backlog: a tenth more rows than the largest batches can do.
        (false, Phase::steady(10 * MILLISECOND, 12e6)),
    ];
    for (bounded, overload) in hard {
        for seed in 1..=5 {
            for objective_ns in [250_000, 500_000, MILLISECOND] {
                let control = Control::Aimd { target: 32.0, objective_ns };
                let verdict = recovers(control, &cost, overload, bounded, 0.3, seed);
                assert!(verdict.seen[0].latency_ns[1] < objective_ns, "AIMD is fine before the step: {verdict:#?}");
                assert!(!verdict.recovered, "AIMD recovered: objective {objective_ns}, seed {seed}: {verdict:#?}");
            }
            let verdict = recovers(guarded(settings), &cost, overload, bounded, 0.3, seed);
            assert!(verdict.recovered, "seed {seed}: {verdict:#?}");
        }
    }
    // Where the backlog is bounded and inference keeps its speed, AIMD recovers as well: the bound is half of the guard.
    let control = Control::Aimd { target: 32.0, objective_ns: 500_000 };
    assert!(recovers(control, &cost, Phase::steady(10 * MILLISECOND, 12e6), true, 0.3, 1).recovered);
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
