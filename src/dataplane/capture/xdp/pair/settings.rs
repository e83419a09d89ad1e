//! What the operator decides about a pair, and the causes that decide for a frame.

use super::link::LinkPolicy;
use crate::dataplane::capture::xdp::settings::InterfaceSettings;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Why a frame does not go to the worker; `enum cause` of `src/bpf/pair.h`, in its order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Cause {
    /// A planned stop, or an operator's bypass.
    Stop,
    /// No socket: the process is gone.
    Crash,
    /// A socket, and no beat for longer than the limit.
    Hang,
    /// No room in the socket's ring.
    Overload,
    /// Longer than a frame in memory.
    TooLong,
    /// No model scores. Open: the worker goes on without.
    Model,
    /// Alerts cannot be stored. Open: the worker goes on, and alerts wait in memory.
    Store,
}

impl Cause {
    /// Every cause, in the program's order.
    pub const ALL: [Cause; 7] =
        [Cause::Stop, Cause::Crash, Cause::Hang, Cause::Overload, Cause::TooLong, Cause::Model, Cause::Store];

    /// As settings and counters name it.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Stop => "stop",
            Cause::Crash => "crash",
            Cause::Hang => "hang",
            Cause::Overload => "overload",
            Cause::TooLong => "too_long",
            Cause::Model => "model",
            Cause::Store => "store",
        }
    }

    /// Its bit in `closed` and `said`.
    pub fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// A value for each cause; in JSON an object by their names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ByCause<T>(pub [T; 7]);

impl<T> std::ops::Index<Cause> for ByCause<T> {
    type Output = T;

    fn index(&self, cause: Cause) -> &T {
        let [stop, crash, hang, overload, too_long, model, store] = &self.0;
        match cause {
            Cause::Stop => stop,
            Cause::Crash => crash,
            Cause::Hang => hang,
            Cause::Overload => overload,
            Cause::TooLong => too_long,
            Cause::Model => model,
            Cause::Store => store,
        }
    }
}

impl<T: Serialize> Serialize for ByCause<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Cause::ALL.iter().map(|cause| (cause.name(), &self[*cause])))
    }
}

/// What happens to a frame that cannot go to the worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fail {
    /// To the other port, in the kernel, counted as bypassed.
    #[default]
    Open,
    /// Dropped, counted as withheld.
    Closed,
}

/// One policy for each cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    closed: u64,
}

impl Policy {
    /// The same for every cause.
    pub fn all(fail: Fail) -> Policy {
        Policy {
            closed: if fail == Fail::Closed { Cause::ALL.iter().fold(0, |bits, cause| bits | cause.bit()) } else { 0 },
        }
    }

    /// With another policy for one cause.
    #[must_use]
    pub fn with(self, cause: Cause, fail: Fail) -> Policy {
        let closed = if fail == Fail::Closed { self.closed | cause.bit() } else { self.closed & !cause.bit() };
        Policy { closed }
    }

    /// What holds for a cause.
    pub fn of(self, cause: Cause) -> Fail {
        if self.closed & cause.bit() != 0 { Fail::Closed } else { Fail::Open }
    }

    /// Bits of the causes whose frames are dropped, as the program reads them.
    pub fn closed(self) -> u64 {
        self.closed
    }

    /// Why this policy cannot hold, if it cannot: a killed process keeps its socket for some 10 to 30 ms, during which a crash
    /// looks like a hang, so `crash` cannot be closed where `hang` is open.
    pub fn contradiction(self) -> Option<&'static str> {
        (self.of(Cause::Crash) == Fail::Closed && self.of(Cause::Hang) == Fail::Open).then_some(
            "crash is closed and hang is open: until the kernel has taken a killed process's socket away (10 to 30 ms) a crash looks \
             like a hang, and frames would pass",
        )
    }
}

/// Shortest and longest limit of a beat, milliseconds. A worker beats each millisecond; beyond a second nobody would call it a
/// bump in the wire.
pub const BEAT_LIMIT_MS: (u64, u64) = (2, 1000);
/// The limit unless the operator says otherwise, milliseconds: five beats.
pub const BEAT_LIMIT_DEFAULT_MS: u64 = 5;
/// How often a worker beats at least, nanoseconds.
pub const BEAT_NS: u64 = 1_000_000;

/// Settings of one pair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PairSettings {
    /// Its name.
    pub name: String,
    /// Both ports; what they share (namespace, mode, ring) is alike.
    pub ports: [InterfaceSettings; 2],
    /// What happens without a worker.
    pub policy: Policy,
    /// A beat older than this is none, nanoseconds.
    pub beat_limit_ns: u64,
    /// Whether the link of one side is shown on the other; decided at the start.
    pub link: LinkPolicy,
}

/// What one port must know of the pair; in its [`InterfaceSettings`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortOf {
    /// The pair's name.
    pub pair: String,
    /// 0 or 1.
    pub side: usize,
    /// Where the maps of verdicts are pinned, which all pairs of an instance share.
    pub verdicts: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_policy() {
        assert_eq!(Cause::ALL.map(|cause| cause as u8), [0, 1, 2, 3, 4, 5, 6], "the program's numbers");
        let policy = Policy::all(Fail::Open).with(Cause::Overload, Fail::Closed);
        for cause in Cause::ALL {
            assert_eq!(policy.of(cause) == Fail::Closed, cause == Cause::Overload, "{}", cause.name());
        }
        assert_eq!(Policy::all(Fail::Closed).with(Cause::Crash, Fail::Open).closed(), 0b111_1101);
    }

    #[test]
    fn a_crash_cannot_be_closed_where_a_hang_is_open() {
        let closed = Policy::all(Fail::Closed);
        assert_eq!(closed.contradiction(), None);
        assert!(closed.with(Cause::Hang, Fail::Open).contradiction().is_some());
        assert_eq!(Policy::default().with(Cause::Hang, Fail::Closed).contradiction(), None);
    }
}
