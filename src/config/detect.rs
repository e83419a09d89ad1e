//! Ranges of `[detect]`: values with which a detector could never alarm, or would always.

use super::error::Invalid;
use crate::control::hosts;

/// Least entries of a bounded map: a smaller one forgets faster than it learns.
const MAP_MIN: u64 = 16;
/// Least (entity, window) pairs that may wait: one second of a small network.
const PENDING_MIN: u64 = 1024;

/// Checks every value that has a range.
///
/// # Errors
/// The first one outside.
pub(super) fn check(detect: &hosts::Settings) -> Result<(), Invalid> {
    let hosts::Settings { scan, brute_force, flood, model, pending_entries, pending_scores } = detect;
    let sizes = [
        ("pending_entries", *pending_entries as u64, PENDING_MIN),
        ("pending_scores", *pending_scores as u64, PENDING_MIN),
        ("scan.sources", scan.sources as u64, 4 * MAP_MIN),
        ("brute_force.sessions", brute_force.sessions as u64, 4 * MAP_MIN),
        ("flood.targets", flood.targets as u64, MAP_MIN),
        ("model.sources", model.sources as u64, MAP_MIN),
    ];
    for (key, value, least) in sizes {
        within(key, value as f64, least as f64, (1_u64 << 26) as f64)?;
    }
    // Longer than a day is no memory but a leak.
    let horizons = [
        ("scan.horizon_s", scan.horizon_s),
        ("brute_force.horizon_s", brute_force.horizon_s),
        ("model.horizon_s", model.horizon_s),
    ];
    for (key, seconds) in horizons {
        within(key, seconds as f64, 1.0, 86_400.0)?;
    }
    let chances = [
        ("scan.theta0", scan.theta0),
        ("scan.theta1", scan.theta1),
        ("scan.echo_theta0", scan.echo_theta0),
        ("scan.echo_theta1", scan.echo_theta1),
        ("scan.alpha", scan.alpha),
        ("scan.beta", scan.beta),
        ("flood.mean_weight", flood.mean_weight),
        ("flood.dominant_share", flood.dominant_share),
    ];
    for (key, chance) in chances {
        within(key, chance, 1e-6, 1.0 - 1e-6)?;
    }
    // The walk goes up with failures only if scanners succeed less often than others.
    below("scan.theta1", scan.theta1, "scan.theta0", scan.theta0)?;
    below("scan.echo_theta1", scan.echo_theta1, "scan.echo_theta0", scan.echo_theta0)?;
    below("scan.alpha", scan.alpha, "scan.beta", scan.beta)?;
    within("model.flows", model.flows as f64, 1.0, 16.0)?;
    within("model.high", f64::from(model.high), 0.0, 1.0)
}

fn within(key: &str, value: f64, low: f64, high: f64) -> Result<(), Invalid> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Invalid::range(&format!("detect.{key}"), value, format!("{low}..={high}")))
}

fn below(key: &str, value: f64, other: &str, limit: f64) -> Result<(), Invalid> {
    if value < limit {
        return Ok(());
    }
    Err(Invalid::range(&format!("detect.{key}"), value, format!("below {other}, which is {limit}")))
}
