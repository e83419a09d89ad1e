//! The flows of `/v1/flows`: those that ended lately, a ring in memory, newest last, whose oldest are overwritten; and those
//! that lived when somebody asked ([`Census`]).
//!
//! Owns the ring and the marks of recent alerts by which a flow is known as alerted. The supervisor writes, `http` reads;
//! both meet at one lock, which a reader holds for `CHUNK` rows at a time. A read looks at `SCAN` rows at most: there is
//! no index, because a filter passes over a row in some ten nanoseconds and an index would have to be kept for each.
//! Deliberately does not: outlive the process, or hold more than the newest; `eve.json` and `conn.log` are for that.

mod filter;
mod living;
mod marks;
mod row;
#[cfg(test)]
mod tests;

pub use filter::{FlowFilter, Prefix};
pub use living::{Census, LivingTold};
pub use row::FlowRow;

use crate::control::alert::Alert;
use crate::control::store::Cursor;
use crate::exchange::FlowSummary;
use crate::units::Timestamp;
use living::Censuses;
use marks::Marks;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Rows that one read looks at; a rare filter gets a short page whose cursor has moved on.
const SCAN: usize = 1 << 16;
/// Rows that are looked at while the lock is held: some 50 microseconds.
const CHUNK: usize = 1 << 12;

/// A flow with what the history knows of it.
#[derive(Clone, Copy, Debug)]
pub struct KeptFlow {
    /// What it came to.
    pub flow: FlowSummary,
    /// An alert is about it.
    pub alerted: bool,
}

/// A page of flows, newest first.
#[derive(Debug)]
pub struct FlowPage {
    /// The flows.
    pub items: Vec<KeptFlow>,
    /// Where the next page begins.
    pub next: Cursor,
    /// There is more to look at behind it.
    pub has_more: bool,
}

/// How much the history holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowsKept {
    /// Flows it has now.
    pub kept: u64,
    /// Flows it can hold.
    pub capacity: u64,
    /// Flows that were overwritten by newer ones.
    pub overwritten: u64,
}

/// Nothing stands where the cursor does any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Expired {
    /// It is of another start of the program.
    #[error("the cursor is of an earlier start of the sensor, whose flows are gone; ask again without a cursor")]
    Start,
    /// It stands among flows that lived when somebody asked, too long ago or too many answers ago.
    #[error("the flows that lived then are kept for a minute, of the last few readers; ask again without a cursor")]
    Census,
}

struct Ring {
    rows: VecDeque<FlowSummary>,
    /// Flows that ever came.
    end: u64,
    marks: Marks,
}

/// The flows that ended lately.
pub struct FlowHistory {
    ring: Mutex<Ring>,
    censuses: Mutex<Censuses>,
    capacity: usize,
    /// Tells this start of the program from others.
    epoch: u64,
}

impl FlowHistory {
    /// Room for `capacity` flows, taken at once; `started` tells this history from another one's cursors.
    pub fn new(capacity: usize, started: Timestamp) -> FlowHistory {
        let ring = Ring { rows: VecDeque::with_capacity(capacity), end: 0, marks: Marks::default() };
        FlowHistory { ring: Mutex::new(ring), censuses: Mutex::default(), capacity, epoch: started.0 }
    }

    fn with<T>(&self, of: impl FnOnce(&mut Ring) -> T) -> T {
        of(&mut self.ring.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in what ended, oldest first.
    pub fn extend(&self, flows: &[FlowSummary]) {
        self.with(|ring| {
            ring.end += flows.len() as u64;
            for flow in flows.get(flows.len().saturating_sub(self.capacity)..).unwrap_or_default() {
                if ring.rows.len() >= self.capacity {
                    ring.rows.pop_front();
                }
                ring.rows.push_back(*flow);
            }
        });
    }

    /// Remembers what alerts are about.
    pub fn mark<'a>(&self, alerts: impl IntoIterator<Item = &'a Alert>) {
        self.with(|ring| alerts.into_iter().for_each(|alert| ring.marks.add(alert)));
    }

    /// How much it holds.
    pub fn kept(&self) -> FlowsKept {
        self.with(|ring| {
            let kept = ring.rows.len() as u64;
            FlowsKept { kept, capacity: self.capacity as u64, overwritten: ring.end - kept }
        })
    }

    /// The newest flows that pass, or those older than where `before` stands.
    ///
    /// # Errors
    /// The cursor is of another start of the program.
    pub fn page(&self, before: Option<Cursor>, filter: &FlowFilter, limit: usize) -> Result<FlowPage, Expired> {
        let mut at = match before {
            Some(cursor) if cursor.epoch != self.epoch => return Err(Expired::Start),
            Some(cursor) => cursor.sequence,
            None => u64::MAX,
        };
        let (mut items, mut looked) = (Vec::new(), 0);
        // A page without room says where it would go on, if anywhere.
        let mut more = self.with(|ring| at.min(ring.end) > ring.end - ring.rows.len() as u64);
        while more && looked < SCAN && items.len() < limit {
            more = self.with(|ring| {
                let begin = ring.end - ring.rows.len() as u64;
                at = at.min(ring.end);
                for _ in 0..CHUNK.min(SCAN - looked) {
                    let place = at.checked_sub(begin + 1).and_then(|place| usize::try_from(place).ok());
                    let Some(flow) = place.and_then(|place| ring.rows.get(place)) else { return false };
                    (at, looked) = (at - 1, looked + 1);
                    let kept = KeptFlow { flow: *flow, alerted: ring.marks.has(flow) };
                    if filter.passes(&kept) {
                        items.push(kept);
                        if items.len() >= limit {
                            break;
                        }
                    }
                }
                at > begin
            });
        }
        Ok(FlowPage { items, next: Cursor { epoch: self.epoch, sequence: at }, has_more: more })
    }
}
