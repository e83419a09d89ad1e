//! What hosts and pairs of hosts did within a window of capture time, as rows for models: a host's minute, a pair's hour; and
//! the sequence of a flow's first packets.
//!
//! Owns the sums of windows that are not over, their schemas ([`schema`]) and limits. What the values mean is fixed by
//! `models/features` (`windows.py`, `flow_v2.py`), and `tests/windows.rs` compares. A flow counts in the window (whole minutes
//! and hours of Unix time) in which it ended; the window is over when every queue has come past it. All sums are of whole
//! numbers, so that ends may come in any order. It deliberately does not: see packets, know what a row means, wait for a flow.
//!
//! ```text
//!  Up::Flow -> Ended -> a host's minute (twice: who began, who was asked), a pair's hour -> watermark -> Row
//! ```
//!
//! | bounded | by | full |
//! | --- | --- | --- |
//! | hosts, pairs of open windows | [`Settings`] | the sixteenth silent for longest gives its rows early, counted |
//! | distinct values of a host | [`DISTINCT`] each, 32 a host of all | the same |
//! | starts of a pair | [`STARTS`] each, 8 a pair of all | the same |

mod distinct;
mod ended;
mod host;
mod open;
mod pair;
pub mod schema;
mod sequence;
pub mod stage;
mod sums;
#[cfg(test)]
mod tests;

pub use distinct::DISTINCT;
pub use pair::{PAIR_FLOWS, STARTS};
pub use schema::{HOST_COUNT, PAIR_COUNT};
pub use sequence::{STEP_COUNT, STEPS, sequence};

use crate::exchange::FlowSummary;
use crate::units::{SECOND, Timestamp};
use ended::Ended;
use host::Minute;
use open::Open;
use pair::Hour;
use serde::Serialize;

/// Length of a host's window.
pub const MINUTE_NS: u64 = 60 * SECOND;
/// Length of a pair's window.
pub const HOUR_NS: u64 = 60 * MINUTE_NS;

/// Limits over all windows that are open at once: live that is one minute and one hour, and the next where a queue lags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Hosts, some 500 bytes each, and 32 distinct peers, ports and services each on average, of at most 32 bytes and half as
    /// much again as room to grow. Too few: a flood of forged senders cuts rows of others short; too many: memory.
    pub hosts: usize,
    /// Pairs, some 250 bytes each, and 8 starts each on average, of 16 bytes and half as much again.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { hosts: 1 << 14, pairs: 1 << 16 }
    }
}

impl Settings {
    /// Distinct values of all hosts.
    fn values(&self) -> usize {
        self.hosts.saturating_mul(32)
    }

    /// Starts of all pairs.
    fn starts(&self) -> usize {
        self.pairs.saturating_mul(8)
    }

    /// Bytes that the windows come to at most.
    pub fn memory(&self) -> usize {
        let grown = |count: usize, bytes: usize| count * bytes / 2 * 3;
        Open::<u128, Minute>::bytes(self.hosts)
            + Open::<Pair, Hour>::bytes(self.pairs)
            + grown(self.values(), 32)
            + grown(self.starts(), 16)
    }
}

/// Who talked to whom, whoever began from which port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pair {
    /// The originator's address, IPv4 as IPv4-mapped IPv6.
    pub host: u128,
    /// The responder's.
    pub peer: u128,
    /// The responder's port, 0 of what is neither TCP nor UDP.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

/// Whose row it is, with its values in the order of [`schema`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Of {
    /// A host's minute.
    Host(u128, [f32; HOST_COUNT]),
    /// A pair's hour.
    Pair(Pair, [f32; PAIR_COUNT]),
}

/// What a window came to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Row {
    /// Beginning of the window.
    pub window: Timestamp,
    /// The latest packet of the flows that it is of. A flow that timed out counts in the window in which it did, so this may lie
    /// before the window.
    pub last: Timestamp,
    /// Whose, and the values.
    pub of: Of,
    /// Nothing is known to have been lost of the window; else the row may say too little.
    pub is_complete: bool,
}

impl Row {
    /// Its values.
    pub fn values(&self) -> &[f32] {
        match &self.of {
            Of::Host(_, values) => values,
            Of::Pair(_, values) => values,
        }
    }

    /// Flows that it is of, either way.
    pub fn flows(&self) -> f32 {
        match &self.of {
            Of::Host(_, values) => values[schema::HOST_FLOWS_OUT].exp_m1() + values[schema::HOST_FLOWS_IN].exp_m1(),
            Of::Pair(_, values) => values[schema::PAIR_FLOWS].exp_m1(),
        }
    }

    /// End of the window.
    pub fn end(&self) -> Timestamp {
        self.window.after(match self.of {
            Of::Host(..) => MINUTE_NS,
            Of::Pair(..) => HOUR_NS,
        })
    }
}

/// What the windows met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Stats {
    /// Flows counted.
    pub flows: u64,
    /// Flows that ended in a window that was over: not part of any row.
    pub late: u64,
    /// Rows given.
    pub rows: u64,
    /// Of them before their window was over, for want of room.
    pub early: u64,
    /// Of them of windows that flows are missing of.
    pub incomplete: u64,
}

/// The windows that are open.
pub struct Windows {
    minutes: Open<u128, Minute>,
    hours: Open<Pair, Hour>,
    /// Everything that ended before has been counted.
    reached: Timestamp,
    /// Latest end so far.
    newest: Timestamp,
    /// Spans in which flows ended that were not told, in order.
    holes: Vec<(Timestamp, Timestamp)>,
    stats: Stats,
}

impl Windows {
    /// None open.
    pub fn new(settings: Settings) -> Windows {
        Windows {
            minutes: Open::new(MINUTE_NS, settings.hosts, settings.values()),
            hours: Open::new(HOUR_NS, settings.pairs, settings.starts()),
            reached: Timestamp(0),
            newest: Timestamp(0),
            holes: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// A flow ended. `give` takes the rows that have to make room.
    pub fn flow(&mut self, flow: &FlowSummary, give: &mut impl FnMut(Row)) {
        let ended = Ended::of(flow);
        self.newest = self.newest.max(ended.end);
        let (minute, hour) = (ended.end.0 - ended.end.0 % MINUTE_NS, ended.end.0 - ended.end.0 % HOUR_NS);
        if Timestamp(minute).after(MINUTE_NS) <= self.reached {
            self.stats.late += 1;
            return;
        }
        self.stats.flows += 1;
        for (address, is_out) in [(ended.host, true), (ended.peer, false)] {
            for (window, host, found) in self.minutes.relieve() {
                self.stats.early += 1;
                self.give_host(window, host, &found, give);
            }
            self.minutes.change(
                minute,
                address,
                |found| {
                    if is_out { found.began(&ended) } else { found.was_asked(&ended) }
                },
            );
        }
        for (window, pair, found) in self.hours.relieve() {
            self.stats.early += u64::from(found.is_worth_a_row());
            self.give_pair(window, pair, &found, give);
        }
        self.hours.change(hour, ended.pair(), |found| found.add(&ended, hour));
    }

    /// Flows that ended were not told since all came up to the latest [`Windows::reach`]: what has been open since then may
    /// lack some of them, and what opens next.
    pub fn lost(&mut self) {
        let hole = (self.reached, self.newest.max(self.reached).after(MINUTE_NS));
        match self.holes.last_mut() {
            Some((_, until)) if *until >= hole.0 => *until = hole.1.max(*until),
            _ => self.holes.push(hole),
        }
    }

    /// Moment at which the window is over that is the next to be.
    pub fn next(&self) -> Option<Timestamp> {
        let minute = self.minutes.oldest().map(|start| Timestamp(start).after(MINUTE_NS));
        let hour = self.hours.oldest().map(|start| Timestamp(start).after(HOUR_NS));
        minute.into_iter().chain(hour).min()
    }

    /// All flows have come that ended before `reached`: gives the rows of windows that are over by then, in the order in which
    /// they are, hosts before pairs, each in the order of their addresses.
    pub fn reach(&mut self, reached: Timestamp, give: &mut impl FnMut(Row)) {
        while let Some(next) = self.next().filter(|next| *next <= reached) {
            for (window, host, found) in self.minutes.over(next) {
                self.give_host(window, host, &found, give);
            }
            for (window, pair, found) in self.hours.over(next) {
                self.give_pair(window, pair, &found, give);
            }
        }
        if reached.0 != u64::MAX {
            self.reached = self.reached.max(reached);
            let kept = self.reached.0.saturating_sub(HOUR_NS);
            self.holes.retain(|(_, until)| until.0 > kept);
        }
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn give_host(&mut self, window: u64, host: u128, found: &Minute, give: &mut impl FnMut(Row)) {
        self.give((Timestamp(window), found.last()), Of::Host(host, found.row()), give);
    }

    fn give_pair(&mut self, window: u64, pair: Pair, found: &Hour, give: &mut impl FnMut(Row)) {
        if found.is_worth_a_row() {
            self.give((Timestamp(window), found.last()), Of::Pair(pair, found.row()), give);
        }
    }

    fn give(&mut self, (window, last): (Timestamp, Timestamp), of: Of, give: &mut impl FnMut(Row)) {
        let mut row = Row { window, last, of, is_complete: true };
        let end = row.end();
        row.is_complete = !self.holes.iter().any(|(from, until)| *from < end && window < *until);
        self.stats.rows += 1;
        self.stats.incomplete += u64::from(!row.is_complete);
        give(row);
    }
}
