//! How a side ended.

use super::super::counts::Cause;
use super::super::inspector::Sink;
use super::super::parse::Output;
use super::super::stream::{Gave, Outcome};
use super::Out;

/// Counts how a side ended; does that end the flow?
pub(super) fn note<S: Sink>(outcome: Outcome, out: &mut Out<'_, S>) -> bool {
    match outcome {
        Outcome::Goes | Outcome::Done => return false,
        Outcome::GaveUp(Gave::NoBuffer) => out.counts.note(Cause::BuffersFull, 1),
        Outcome::GaveUp(Gave::TooLong) => out.counts.note(Cause::UnitTooLong, 1),
        // The other side is still read: nobody hides what he says by making his peer talk.
        Outcome::GaveUp(Gave::Depth) => out.counts.note(Cause::DepthReached, 1),
        Outcome::Broken(anomaly) => {
            out.counts.note(Cause::Broken, 1);
            out.anomaly(anomaly);
            return true;
        }
    }
    false
}
