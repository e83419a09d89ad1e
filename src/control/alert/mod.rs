//! Evidence to alerts: deduplication with log-spaced repeats.
//!
//! Owns what has been alerted so far (bounded); knows neither the store nor HTTP.

use crate::dataplane::detect::Evidence;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

/// One alert as it is stored and served. Append-only: a repeat is a new alert that names the first one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Alert {
    /// Stable over restarts, made from what the alert is about (detector, kind, source, target, port) and its first time.
    pub id: String,
    /// How many pieces of evidence of this kind there were so far, this one included: 1, then log-spaced (10, 100, ...).
    pub occurrences: u64,
    /// Capture time of the first evidence.
    pub first_seen: Timestamp,
    /// What was found, with its terms and thresholds.
    #[serde(flatten)]
    pub evidence: Evidence,
}
