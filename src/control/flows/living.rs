//! What censuses found, kept for a while, so that a reader's next pages go on from it.

use super::{CHUNK, Expired, FlowFilter, FlowHistory, KeptFlow, SCAN};
use crate::control::store::Cursor;
use crate::control::view::Living;
use crate::exchange::FlowSummary;
use serde::{Deserialize, Serialize};
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Who asks for the same within this time is told the same.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// Pages go on from a census for so long.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Censuses kept, of some 3 MiB at most; an older one's pages come to an end.
const KEPT: usize = 4;
/// Bit of a cursor's number: it stands in a census. Then 31 bits for which, 32 for the place.
const IN_CENSUS: u64 = 1 << 63;
const NUMBER_MAX: u32 = u32::MAX >> 1;

/// How much of what lives is shown.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LivingTold {
    /// Flows that live, of all queues.
    pub live: u64,
    /// Of them those that were asked for.
    pub matched: u64,
    /// Of them those that this page and those behind it show; where it is less, the youngest.
    pub listed: u64,
    /// Every flow that lived all the time is counted.
    pub complete: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The flows that lived when somebody asked.
#[derive(Debug)]
pub struct Census {
    number: u32,
    made: Instant,
    filter: FlowFilter,
    living: Living,
    /// Flows that had ended by then: they come behind it.
    ended: u64,
}

impl Census {
    /// How much of what lives is shown.
    pub fn told(&self) -> LivingTold {
        let Living { flows, live, matched, incomplete } = &self.living;
        let (listed, complete, reason) = (flows.len() as u64, incomplete.is_none(), incomplete.clone());
        LivingTold { live: *live, matched: *matched, listed, complete, reason }
    }

    /// The flows from `place` on, at most `limit`.
    pub fn flows(&self, place: usize, limit: usize) -> &[FlowSummary] {
        let rest = self.living.flows.get(place..).unwrap_or_default();
        rest.get(..limit).unwrap_or(rest)
    }
}

/// Censuses kept, oldest first.
#[derive(Default)]
pub(super) struct Censuses {
    kept: VecDeque<Arc<Census>>,
    number: u32,
}

impl FlowHistory {
    fn with_censuses<T>(&self, of: impl FnOnce(&mut Censuses) -> T) -> T {
        of(&mut self.censuses.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The flows that live and pass: as they were found within the last second, or as `ask` finds them. One that has ended
    /// since is not among them, but with those that ended.
    pub fn census(&self, filter: &FlowFilter, ask: impl FnOnce() -> Living) -> Arc<Census> {
        let is_young = |one: &&Arc<Census>| one.filter == *filter && one.made.elapsed() < SHARED_FOR;
        let known = self.with_censuses(|censuses| censuses.kept.iter().rev().find(is_young).cloned());
        let (made, before, mut living) = match &known {
            Some(known) => (known.made, known.ended, known.living.clone()),
            None => {
                let before = self.with(|ring| ring.end);
                let living = ask();
                (Instant::now(), before, living)
            }
        };
        let ended = self.remove_ended(before, &mut living);
        if let Some(known) = known.filter(|known| known.ended == ended) {
            return known;
        }
        self.with_censuses(|censuses| {
            censuses.number = if censuses.number >= NUMBER_MAX { 1 } else { censuses.number + 1 };
            let census = Census { number: censuses.number, made, filter: filter.clone(), living, ended };
            let census = Arc::new(census);
            censuses.kept.retain(|one| one.made.elapsed() < KEPT_FOR);
            while censuses.kept.len() >= KEPT {
                censuses.kept.pop_front();
            }
            censuses.kept.push_back(Arc::clone(&census));
            census
        })
    }

    /// Takes out what has ended behind the first `before` flows that did; how many there are now.
    fn remove_ended(&self, before: u64, living: &mut Living) -> u64 {
        let name = |flow: &FlowSummary| (*flow.key.words(), flow.first_seen);
        let mut ended = HashSet::new();
        let (end, mut at) = self.with(|ring| (ring.end, ring.end));
        while at > before && end - at < SCAN as u64 {
            at = self.with(|ring| {
                let begin = ring.end - ring.rows.len() as u64;
                let to = at.saturating_sub(CHUNK as u64).max(before).max(begin);
                let places = to.saturating_sub(begin)..at.saturating_sub(begin);
                ended.extend(places.filter_map(|place| ring.rows.get(place as usize)).map(name));
                if to == begin { before } else { to }
            });
        }
        let count = living.flows.len();
        living.flows.retain(|flow| !ended.contains(&name(flow)));
        let gone = (count - living.flows.len()) as u64;
        (living.live, living.matched) = (living.live.saturating_sub(gone), living.matched.saturating_sub(gone));
        end
    }

    /// The census that a cursor stands in, and the place; `None` if it stands among those that ended.
    ///
    /// # Errors
    /// The cursor is of another start of the program, or the census is gone.
    pub fn stands_in(&self, cursor: Cursor) -> Result<Option<(Arc<Census>, usize)>, Expired> {
        if cursor.epoch != self.epoch {
            return Err(Expired::Start);
        }
        if cursor.sequence & IN_CENSUS == 0 {
            return Ok(None);
        }
        let (number, place) = ((cursor.sequence >> 32) as u32 & NUMBER_MAX, cursor.sequence as u32);
        let is_it = |one: &&Arc<Census>| one.number == number && one.made.elapsed() < KEPT_FOR;
        let found = self.with_censuses(|censuses| censuses.kept.iter().find(is_it).cloned());
        found.map(|census| Some((census, place as usize))).ok_or(Expired::Census)
    }

    /// Where the page behind `place` of a census begins: there, or at the flows that had ended when it was made.
    pub fn behind(&self, census: &Census, place: usize) -> Cursor {
        let is_through = place >= census.living.flows.len();
        let within = IN_CENSUS | u64::from(census.number) << 32 | place as u64; // a census has far fewer than 2^32
        Cursor { epoch: self.epoch, sequence: if is_through { census.ended } else { within } }
    }

    /// The end of all pages.
    pub fn oldest(&self) -> Cursor {
        Cursor { epoch: self.epoch, sequence: 0 }
    }

    /// Of these flows, which live, those that pass, with what the history knows of them.
    pub fn kept_of(&self, flows: &[FlowSummary], filter: &FlowFilter) -> Vec<KeptFlow> {
        self.with(|ring| {
            let kept = flows.iter().map(|flow| KeptFlow { flow: *flow, alerted: ring.marks.has(flow) });
            kept.filter(|one| filter.passes(one)).collect()
        })
    }

    /// Does a flow that lives pass?
    pub fn passes(&self, filter: &FlowFilter, flow: &FlowSummary) -> bool {
        // The lock only where the marks are asked for.
        let alerted = filter.alerted.is_some() && self.with(|ring| ring.marks.has(flow));
        filter.passes(&KeptFlow { flow: *flow, alerted })
    }
}
