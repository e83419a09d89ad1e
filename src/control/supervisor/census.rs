//! Which flows live: the census, for who asks over HTTP and, once a minute, for the inventory.
//!
//! One at a time. It asks every queue that is served, takes what they tell as any other item of their rings, and is over when
//! all have told or [`LIMIT_NS`] have passed; those who ask meanwhile wait for the next one. Nobody waits for a worker: what a
//! queue did not tell in time, or cannot tell, is named in the answer.

use super::Supervisor;
use crate::control::respond::live::LiveResponses;
use crate::control::view::{Latest, Living, Wanted};
use crate::exchange::{CensusMark, CensusStep, FlowSummary};
use crate::units::{MILLISECOND, QueueId, SECOND, Timestamp};
use std::sync::mpsc::SyncSender;

/// How long a census may take. A million flows take some 300 ms; a worker that comes round this late hangs.
pub(super) const LIMIT_NS: u64 = 2 * SECOND;
/// Between two of them: rest for the workers, whose bursts one under way makes longer.
const PAUSE_NS: u64 = 250 * MILLISECOND;
/// Who may ask for the same census, or wait for the next one. Each has [`crate::control::view::LIVING_KEPT`] flows and as many
/// again for a moment.
const ASKERS: usize = 4;
/// How often the inventory is told of open connections, nanoseconds; within the first of these times after the start sooner.
const HOSTS_NS: u64 = 60 * SECOND;
const HOSTS_FIRST_NS: u64 = 5 * SECOND;
/// As often as that at most, where a census is made for somebody else.
const HOSTS_LEAST_NS: u64 = 10 * SECOND;

/// Somebody asks.
pub(crate) struct Asked {
    /// Which flows.
    pub(crate) wanted: Wanted,
    /// Where the answer goes.
    pub(crate) answer: SyncSender<Living>,
}

/// How far a queue is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Asked,
    Telling,
    Over,
}

/// The census under way.
struct Running {
    number: u64,
    deadline: Timestamp,
    queues: Vec<(QueueId, Progress)>,
    askers: Vec<(Asked, Latest)>,
    live: u64,
    missing: Vec<String>,
    /// The inventory is told too.
    for_hosts: bool,
}

/// Censuses, past and present.
pub(super) struct Censuses {
    number: u64,
    running: Option<Running>,
    waiting: Vec<Asked>,
    /// Not before.
    next: Timestamp,
    /// When the inventory was told last.
    hosts_told: Timestamp,
    /// When it shall be told.
    hosts_due: Timestamp,
}

impl Censuses {
    pub(super) fn new(started: Timestamp) -> Censuses {
        Censuses {
            number: 0,
            running: None,
            waiting: Vec::new(),
            next: started,
            hosts_told: Timestamp(0),
            hosts_due: started.after(HOSTS_FIRST_NS),
        }
    }

    /// Somebody asks; too many at a time are told so.
    pub(super) fn ask(&mut self, asked: Asked) {
        if self.waiting.len() < ASKERS {
            self.waiting.push(asked);
        } else {
            drop(asked.answer.try_send(Living::none("too many ask at once: try again")));
        }
    }

    fn progress(&mut self, queue: QueueId) -> Option<&mut Progress> {
        let found = self.running.as_mut()?.queues.iter_mut().find(|(id, _)| *id == queue);
        found.map(|(_, progress)| progress)
    }

    /// A queue tells of a flow; `true`: the inventory is to be told too.
    pub(super) fn tell(&mut self, queue: QueueId, flow: &FlowSummary) -> bool {
        // What an older census still had to say is not of this one.
        if self.progress(queue).is_none_or(|progress| *progress != Progress::Telling) {
            return false;
        }
        let Some(running) = &mut self.running else { return false };
        running.live += 1;
        for (asked, latest) in &mut running.askers {
            if (asked.wanted)(flow) {
                latest.push(flow);
            }
        }
        running.for_hosts
    }

    /// A queue says how far it is.
    pub(super) fn mark(&mut self, queue: QueueId, name: &str, mark: CensusMark) {
        let number = self.running.as_ref().map(|running| running.number);
        if number != Some(mark.number) {
            return;
        }
        let after = if mark.step == CensusStep::Begun { Progress::Telling } else { Progress::Over };
        if let Some(progress) = self.progress(queue).filter(|progress| **progress != Progress::Over) {
            *progress = after;
        }
        if let (CensusStep::Ended { whole: false }, Some(running)) = (mark.step, &mut self.running) {
            running.missing.push(format!("{name} began anew meanwhile"));
        }
    }

    /// Who asked is told, where the census is over.
    fn finish(&mut self, now: Timestamp) {
        let Some(running) = self.running.take() else { return };
        self.next = now.after(PAUSE_NS);
        let incomplete = (!running.missing.is_empty()).then(|| running.missing.join("; "));
        for (asked, latest) in running.askers {
            let (flows, matched) = latest.finish();
            let living = Living { flows, live: running.live, matched, incomplete: incomplete.clone() };
            // Who asked may have gone.
            drop(asked.answer.try_send(living));
        }
    }
}

impl Supervisor {
    /// Begins a census where one is asked for, and ends the one under way where all have told or nobody more will.
    pub(super) fn look_after_census(&mut self, now: Timestamp) {
        if self.census.running.is_none() {
            let for_hosts = self.wants_living() && now >= self.census.hosts_due;
            if now < self.census.next || (self.census.waiting.is_empty() && !for_hosts) {
                return;
            }
            self.begin_census(now);
        }
        let Some(mut running) = self.census.running.take() else { return };
        for (id, progress) in running.queues.iter_mut().filter(|(_, progress)| *progress != Progress::Over) {
            let Some(entry) = self.entries.iter().find(|entry| entry.id == *id) else { continue };
            let why = match entry.lost {
                // All its flows have ended, and were told.
                _ if entry.ended => None,
                Some(_) => Some("is lost"),
                None if !self.is_served(entry) => Some("is not served: its worker does not come round"),
                None if now >= running.deadline => Some("has not told all of its flows in time"),
                None => continue,
            };
            running.missing.extend(why.map(|why| format!("{} {why}", entry.name)));
            *progress = Progress::Over;
        }
        let is_over = running.queues.iter().all(|(_, progress)| *progress == Progress::Over);
        self.census.running = Some(running);
        if is_over {
            self.census.finish(now);
        }
    }

    /// Somebody is told of living flows without asking.
    fn wants_living(&self) -> bool {
        let proofs = self.responses.as_ref().is_some_and(LiveResponses::wants_flows);
        self.inventory.is_some() || proofs || self.observed || self.shunts.is_some()
    }

    fn begin_census(&mut self, now: Timestamp) {
        let wants_living = self.wants_living();
        let census = &mut self.census;
        census.number += 1;
        let for_hosts = wants_living && now.since(census.hosts_told) >= HOSTS_LEAST_NS;
        if for_hosts {
            // An elephant goes through the worker for so long.
            let pause = if self.shunts.is_some() { HOSTS_LEAST_NS } else { HOSTS_NS };
            (census.hosts_told, census.hosts_due) = (now, now.after(pause));
        }
        for entry in &self.entries {
            entry.up.ask_census(census.number);
        }
        census.running = Some(Running {
            number: census.number,
            deadline: now.after(LIMIT_NS),
            queues: self.entries.iter().map(|entry| (entry.id, Progress::Asked)).collect(),
            askers: census.waiting.drain(..).map(|asked| (asked, Latest::default())).collect(),
            live: 0,
            missing: Vec::new(),
            for_hosts,
        });
    }
}
