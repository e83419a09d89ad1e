//! How a side ended.

use super::super::inspector::Sink;
use super::super::parse::Output;
use super::super::stream::{Gave, Outcome};
use super::Out;

/// Counts how a side ended; does that end the flow?
pub(super) fn note<S: Sink>(outcome: Outcome, out: &mut Out<'_, S>) -> bool {
    match outcome {
        Outcome::Goes | Outcome::Done => return false,
        Outcome::GaveUp(Gave::NoBuffer) => out.counts.buffers_full += 1,
        Outcome::GaveUp(Gave::TooLong) => out.counts.unit_too_long += 1,
        // The flow is over for inspection, or each packet of an elephant would be looked at for nothing.
        Outcome::GaveUp(Gave::Depth) => {
            out.counts.depth_reached += 1;
            return true;
        }
        Outcome::Broken(anomaly) => {
            out.counts.broken += 1;
            out.anomaly(anomaly);
            return true;
        }
    }
    false
}
