//! What the tests of several modules begin with.

use super::{Detector, Evidence, ScoredFlow};
use crate::dataplane::decode::FlowKey;
use crate::dataplane::features::COUNT;
use crate::dataplane::inspect::Protocol;
use crate::dataplane::score::Family;
use crate::units::Timestamp;

/// Evidence of nobody, of medium severity, that says nothing yet.
pub(crate) fn evidence(detector: Detector, kind: &str, time: Timestamp) -> Evidence {
    Evidence { severity: 2, confidence: 0.9, ..Evidence::new(detector, kind, time) }
}

/// A flow by protocol, addresses and ports of both, that a model is sure of.
pub(crate) fn scored(family: Family, protocol: u8, [from, to]: [(u32, u16); 2]) -> ScoredFlow {
    let (key, originator) = FlowKey::v4(from.0, from.1, to.0, to.1, protocol, 0);
    ScoredFlow {
        time: Timestamp(5),
        key,
        originator,
        first_seen: Timestamp(3),
        family,
        score: 0.999,
        threshold: 0.5,
        needed: 0,
        packets: 9,
        outer: None,
        icmp: [None; 2],
        application: Protocol::Unknown,
        row: [1.0; COUNT],
    }
}
