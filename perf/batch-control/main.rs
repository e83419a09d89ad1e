//! `cargo run --release --example batch-control`: the scoring controller's trade in a table, in virtual time.
//!
//! What waiting costs and saves at each rate, and the step test side by side with textbook AIMD. The numbers depend on
//! the cost curve only; give a model's manifest to use the curve measured on this machine instead of the typical one.

#[allow(dead_code)] // the test uses the RX side
mod simulator;

use shrike::dataplane::score::{CostCurve, Model, Settings};
use shrike::dataplane::worker::batch::{ScoreSettings, ScoreState};
use simulator::{Control, Phase, score};

const MILLISECOND: u64 = 1_000_000;

fn main() -> anyhow::Result<()> {
    let cost = match std::env::args().nth(1) {
        Some(manifest) => *Model::load(&Settings { manifest: Some(manifest.into()), runtime: None })?.cost(),
        None => CostCurve::TYPICAL,
    };
    println!("service time (rows: ns)  {:?}\n", cost.points());
    println!(
        "{:>10} {:>9} {:>8} {:>8} {:>8} {:>9} {:>9}",
        "rows/s", "wait us", "busy %", "batch", "p50 us", "p99 us", "max us"
    );
    for rate in [1e4, 1e5, 3e5, 1e6, 3e6, 6e6] {
        for wait_us in [0, 20, 50, 100, 200, 500] {
            let settings = ScoreSettings { wait_ns: wait_us * 1_000, cost, ..ScoreSettings::default() };
            let mut control = Control::Guarded(settings, ScoreState::new(&settings));
            let seen = &score(&mut control, &cost, &[Phase::steady(100 * MILLISECOND, rate)], 0.1, true, 1)[0];
            let [p50, p99, most] = seen.latency_ns.map(|nanoseconds| nanoseconds as f64 / 1e3);
            println!(
                "{rate:>10.0} {wait_us:>9} {:>8.1} {:>8.1} {p50:>8.1} {p99:>9.1} {most:>9.1}",
                seen.busy * 100.0,
                seen.batch
            );
        }
    }
    println!("\nstep 1 -> 12 -> 1 M rows/s for 50 ms, 30 % jitter, endless backlog");
    println!(
        "{:>9} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9}",
        "control", "phase", "target", "p50 us", "p99 us", "max us", "backlog"
    );
    let settings = ScoreSettings { wait_ns: 50_000, cost, ..ScoreSettings::default() };
    for (name, mut control) in [
        ("guarded", Control::Guarded(settings, ScoreState::new(&settings))),
        ("AIMD", Control::Aimd { target: 32.0, objective_ns: 3 * MILLISECOND }),
    ] {
        let phases = [1e6, 12e6, 1e6].map(|rate| Phase::steady(50 * MILLISECOND, rate));
        for (phase, seen) in ["before", "step", "after"].iter().zip(score(&mut control, &cost, &phases, 0.3, false, 1))
        {
            let [p50, p99, most] = seen.latency_ns.map(|nanoseconds| nanoseconds as f64 / 1e3);
            println!("{name:>9} {phase:>8} {:>8.0} {p50:>9.1} {p99:>9.1} {most:>9.1} {:>9}", seen.target, seen.backlog);
        }
    }
    Ok(())
}
