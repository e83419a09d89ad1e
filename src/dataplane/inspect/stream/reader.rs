//! What a side of a connection tells: to whom, and what became of a segment.

use super::super::parse::{Anomaly, Hole, Resume, Step};
use super::super::receipt::Refusal;

/// Why a side is no longer put together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gave {
    /// No buffer was free.
    NoBuffer,
    /// A unit is longer than `UNIT_MAX`.
    TooLong,
    /// The side was inspected as far as the settings allow.
    Depth,
}

/// What became of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The side goes on.
    Goes,
    /// The parser wants no more of this side.
    Done,
    /// It is no longer put together.
    GaveUp(Gave),
    /// The parser found that it is something else, or broken.
    Broken(Anomaly),
}

/// Something about a segment that does not end its side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Note {
    /// It brought nothing new.
    Duplicate,
    /// It brought something new, and something that was seen before.
    Overlap,
    /// What was seen before, and is held or remembered, was not the same.
    Different,
    /// Its receiver takes no notice of it (RFC 9293 section 3.10.7.4): it, or what it acknowledges, lies further away than
    /// any window reaches, or it acknowledges nothing.
    Refused,
    /// Its receiver drops it, because of this.
    NotTaken(Refusal),
    /// What was held of the side gave way to others.
    Lost,
    /// It came further ahead of a hole than a buffer is long.
    Beyond,
    /// A hole was crossed.
    Hole {
        /// How many were never seen.
        bytes: u64,
        /// The beginning of something was read before it, and not its end.
        in_unit: bool,
    },
    /// So many bytes were missing in what is passed over (a body).
    Missing(u64),
}

/// Told about bytes in order, about holes, and what else there was.
pub trait Reader {
    /// See [`super::super::parse::Parse::step`].
    fn step(&mut self, bytes: &[u8]) -> Step;
    /// See [`super::super::parse::Parse::gap`].
    fn gap(&mut self, hole: &Hole<'_>) -> Resume;
    /// See [`super::super::parse::Parse::passed`].
    fn passed(&mut self, _count: u64) {}
    /// Something to count.
    fn note(&mut self, note: Note);
}
