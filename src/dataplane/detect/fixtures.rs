//! What the tests of several modules begin with.

use super::{Detector, Evidence};
use crate::units::Timestamp;

/// Evidence of nobody, of medium severity, that says nothing yet.
pub(crate) fn evidence(detector: Detector, kind: &str, time: Timestamp) -> Evidence {
    Evidence {
        detector,
        kind: kind.to_owned(),
        time,
        severity: 2,
        confidence: 0.9,
        source: None,
        target: None,
        port: None,
        protocol: None,
        summary: String::new(),
        terms: Vec::new(),
        technique: None,
        flow: None,
        source_mac: None,
        tunnel: None,
        window: None,
        row: None,
    }
}
