//! Who is well: workers that come round, queues that are served, a model that answers; and the words for those that are
//! not.

use super::{Entry, Slot, Supervisor};
use crate::control::view::{CaptureMode, Degraded};
use crate::dataplane::worker::{Queue, QueueState};
use crate::exchange::Up;
use crate::metrics::{COUNTERS, Counter};
use crate::units::{MILLISECOND, QueueId, SECOND, Timestamp, WorkerId};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A worker comes round every millisecond at least, whatever it does; one that has not for so long hangs. Shorter: a
/// machine under load blames its workers; longer: a hang is known later.
const HANG_LIMIT_NS: u64 = 2_000 * MILLISECOND;
/// After this time without a turn the kernel is asked whether the thread is still there.
const ASK_LIMIT_NS: u64 = 500 * MILLISECOND;
/// What one look counts at most: a program that was itself stopped for a while must not blame its workers.
const LOOK_LIMIT_NS: u64 = 500 * MILLISECOND;
/// How long a queue that began anew is shown as degraded, and findings that were lost.
const RESTART_SHOWN_NS: u64 = 60 * SECOND;

/// How a worker is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Health {
    /// It comes round.
    #[default]
    Well,
    /// Its thread is there and does not come round.
    Hung,
    /// Its thread has ended without being told to.
    Dead,
}

/// Tells from a worker's turns how it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pulse {
    pub(super) health: Health,
    /// Since when.
    pub(super) since: Timestamp,
    turns: u64,
    looked: Option<Timestamp>,
    silent_ns: u64,
}

impl Pulse {
    /// Takes a new reading; `true` if its health has changed. `finished`: the thread has ended; `gone`: as the kernel says,
    /// asked of silent ones only.
    pub(super) fn look(&mut self, now: Timestamp, turns: u64, finished: bool, gone: impl FnOnce() -> bool) -> bool {
        let passed = self.looked.map_or(0, |before| now.since(before)).min(LOOK_LIMIT_NS);
        self.looked = Some(now);
        self.silent_ns = if turns == self.turns { self.silent_ns.saturating_add(passed) } else { 0 };
        self.turns = turns;
        let health = match () {
            () if self.health == Health::Dead || finished => Health::Dead,
            () if self.silent_ns >= ASK_LIMIT_NS && gone() => Health::Dead,
            () if self.silent_ns >= HANG_LIMIT_NS => Health::Hung,
            () => Health::Well,
        };
        let changed = health != self.health;
        if changed {
            (self.health, self.since) = (health, now);
        }
        changed
    }
}

/// Whether a queue's calls of the model succeed.
#[derive(Clone, Debug, Default)]
pub(super) struct Scoring {
    failing: Option<(Timestamp, u64, String)>,
}

impl Scoring {
    /// Takes what the queue says of its latest stretch: calls fail as long as one did in the latest stretch that had any.
    pub(super) fn look(&mut self, now: Timestamp, state: &QueueState) {
        if state.score_failures > 0 {
            let (since, count) = self.failing.as_ref().map_or((now, 0), |(since, count, _)| (*since, *count));
            self.failing = Some((since, count + state.score_failures, state.score_cause.clone()));
        } else if state.score_successes > 0 {
            self.failing = None;
        }
    }

    /// What is wrong with it.
    pub(super) fn trouble(&self, queue: &str) -> Option<Degraded> {
        let (since, count, cause) = self.failing.as_ref()?;
        let reason = format!(
            "{queue}: {count} calls of the model have failed ({cause}); their rows are shed, the other detectors work; \
             `shrike doctor` examines the model"
        );
        Some(Degraded { part: "model".into(), reason, since: *since })
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.is_some()
    }
}

/// How often a queue began anew after a panic.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Restarts {
    count: u64,
    latest: Timestamp,
}

impl Restarts {
    pub(super) fn look(&mut self, now: Timestamp, count: u64) {
        if count > self.count {
            *self = Restarts { count, latest: now };
        }
    }

    fn trouble(&self, queue: &str, now: Timestamp) -> Option<Degraded> {
        (self.count > 0 && now.since(self.latest) < RESTART_SHOWN_NS).then(|| Degraded {
            part: "queue".into(),
            reason: format!(
                "{queue} began anew after a panic, {} times so far, and forgot its flows; standard error has the cause: \
                 please report it",
                self.count
            ),
            since: self.latest,
        })
    }
}

/// Losses of one kind in this life of the program: shown while they go on and for a minute after the last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    count: u64,
    /// How many there were before the stretch that is shown.
    before: u64,
    since: Timestamp,
    latest: Timestamp,
}

impl Losses {
    /// Takes the count since the start.
    pub(super) fn look(&mut self, now: Timestamp, count: u64) {
        if count <= self.count {
            return;
        }
        if self.shown(now).is_none() {
            (self.before, self.since) = (self.count, now);
        }
        (self.count, self.latest) = (count, now);
    }

    /// How many were lost in the present stretch, and when the first of them.
    pub(super) fn shown(&self, now: Timestamp) -> Option<(u64, Timestamp)> {
        let lost = self.count - self.before;
        (lost > 0 && now.since(self.latest) < RESTART_SHOWN_NS).then_some((lost, self.since))
    }
}

impl Supervisor {
    /// Takes every worker's pulse; what a dead one held is lost.
    pub(super) fn look_after_workers(&mut self, now: Timestamp) {
        use std::sync::atomic::Ordering::Relaxed;
        let mut dead = Vec::new();
        for slot in &mut self.slots {
            let finished = !slot.stopping && slot.handle.is_finished();
            let turns = slot.handle.load().turns.load(Relaxed);
            if slot.pulse.look(now, turns, finished, || slot.handle.is_gone()) {
                let id = slot.handle.settings().id;
                match slot.pulse.health {
                    Health::Well => tracing::warn!("worker {} comes round again", id.0),
                    Health::Hung => tracing::error!("worker {} does not come round", id.0),
                    Health::Dead => {
                        tracing::error!("worker {} has ended without being told to", id.0);
                        dead.push(id);
                    }
                }
            }
        }
        if dead.is_empty() {
            return;
        }
        self.take_back(now);
        let held = |entry: &&Entry| entry.holder.is_some_and(|holder| dead.contains(&holder));
        let lost: Vec<QueueId> = self.entries.iter().filter(held).map(|entry| entry.id).collect();
        lost.into_iter().for_each(|queue| self.lose(queue, now));
        if !self.slots.iter().any(Slot::takes_queues)
            && self.entries.iter().any(|entry| entry.lost.is_none() && !entry.ended)
            && let Err(cause) = self.start_worker(self.entries.len())
        {
            tracing::error!("start a worker in a dead one's place: {cause}");
        }
    }

    /// A queue that panicked and could not begin anew: its socket closes here, and its frames pass to the kernel, counted.
    pub(super) fn give_up_failed(&mut self, queue: Box<dyn Queue>, now: Timestamp) {
        let id = queue.id();
        tracing::error!("queue {} is given up after a panic", id.0);
        if catch_unwind(AssertUnwindSafe(|| drop(queue))).is_err() {
            tracing::error!("queue {} panicked again while it was given up", id.0);
        }
        self.lose(id, now);
    }

    /// The others no longer wait for it.
    fn lose(&mut self, queue: QueueId, now: Timestamp) {
        // All that it still had to say, before its end: a watermark after that would bring it back to life.
        while self.entries.iter().any(|entry| entry.id == queue && entry.up.waiting() > 0) {
            self.take_findings(now);
        }
        self.pipeline.push(queue, &Up::Ended(queue));
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == queue) {
            (entry.lost, entry.worker, entry.moving) = (Some(now), None, false);
        }
    }

    /// Is somebody looking at its frames? One that is on its way is in good hands.
    pub(super) fn is_served(&self, entry: &Entry) -> bool {
        entry.ended || (entry.lost.is_none() && entry.holder.is_none_or(|holder| self.is_well(holder)))
    }

    /// Does this worker come round?
    pub(super) fn is_well(&self, worker: WorkerId) -> bool {
        self.slots.iter().any(|slot| slot.id() == worker && slot.pulse.health == Health::Well)
    }

    /// Every queue is served, and frames of one of them at least can come in.
    pub(super) fn is_ready(&self) -> bool {
        let is_attached = |entry: &Entry| {
            entry.ended || self.capture.status(entry.id).is_none_or(|status| status.mode != CaptureMode::Detached)
        };
        self.entries.iter().all(|entry| self.is_served(entry)) && self.entries.iter().any(is_attached)
    }

    /// Workers and queues that are not well.
    pub(super) fn unwell(&self, now: Timestamp) -> Vec<Degraded> {
        let mut found: Vec<Degraded> = self.slots.iter().filter_map(|slot| self.unwell_worker(slot, now)).collect();
        for entry in &self.entries {
            if let Some(since) = entry.lost {
                let worker = entry.holder.map(|holder| format!(" with worker {}", holder.0)).unwrap_or_default();
                let reason = format!("{} is lost{worker}: nobody looks at its frames; start shrike again", entry.name);
                found.push(Degraded { part: "queue".into(), reason, since });
            }
            found.extend(entry.restarts.trouble(&entry.name, now));
            if entry.lost.is_none() && !entry.ended {
                found.extend(entry.scoring.trouble(&entry.name));
            }
        }
        for (queue, silent_ns) in self.pipeline.silent() {
            let name = self.entries.iter().find(|entry| entry.id == queue).map_or("?", |entry| &entry.name);
            let reason = format!(
                "{name} has not said how far it has come for {} s: counting detectors go on without it",
                silent_ns / SECOND
            );
            let since = Timestamp(now.0.saturating_sub(silent_ns));
            found.push(Degraded { part: "detect".into(), reason, since });
        }
        found.extend(self.findings_lost.shown(now).map(|(lost, since)| {
            let reason = format!(
                "{lost} findings lost: queues found more hosts at once than the control plane takes, as in a flood with \
                 forged sources; its target is told all the same, but of others something may be missing. The control \
                 plane needs a core without a worker ([workers] cores leaves it one) and without other programs"
            );
            Degraded { part: "exchange".into(), reason, since }
        }));
        found
    }

    fn unwell_worker(&self, slot: &Slot, now: Timestamp) -> Option<Degraded> {
        let (id, since) = (slot.id(), slot.pulse.since);
        let core = slot.handle.settings().core.map(|core| format!(" on core {core}")).unwrap_or_default();
        let held = self.entries.iter().filter(|entry| entry.holder == Some(id)).map(|entry| &*entry.name);
        let held = match held.collect::<Vec<_>>() {
            held if held.is_empty() => "it held no queue".to_owned(),
            held => format!("it held {}", held.join(", ")),
        };
        let seconds = now.since(since) as f64 / 1e9;
        let reason = match slot.pulse.health {
            Health::Well => return None,
            Health::Hung => format!(
                "worker {}{core} does not come round ({seconds:.0} s so far); {held}, not served until it does: if it \
                 stays so, start shrike again",
                id.0
            ),
            Health::Dead => format!(
                "worker {}{core} has ended without being told to; {held}: standard error may have the cause; start \
                 shrike again",
                id.0
            ),
        };
        Some(Degraded { part: "worker".into(), reason, since })
    }

    /// Names the queues that began anew, and what they found in vain, since the start: their counters may be older.
    pub(super) fn look_after_queues(&mut self, now: Timestamp, of: impl Fn(QueueId) -> [u64; COUNTERS.len()]) {
        let mut lost = 0;
        for entry in &mut self.entries {
            let values = of(entry.id);
            let since_start = |counter: Counter| {
                let at = counter as usize;
                values[at].saturating_sub(entry.base[at])
            };
            lost += since_start(Counter::ExchangeFull);
            entry.restarts.look(now, since_start(Counter::QueueRestarts));
        }
        self.findings_lost.look(now, lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_tells_hung_from_dead_and_blames_nobody_for_a_pause() {
        let mut pulse = Pulse::default();
        let mut now = Timestamp(1_000 * SECOND);
        let mut look = |pulse: &mut Pulse, turns, gone| {
            now = now.after(250 * MILLISECOND);
            pulse.look(now, turns, false, || gone);
            pulse.health
        };
        assert!((0..40).all(|turn| look(&mut pulse, turn, true) == Health::Well), "it comes round: nobody asks");
        let hung = (0..40).position(|_| look(&mut pulse, 39, false) == Health::Hung);
        assert_eq!(hung, Some(7), "after two seconds");
        assert_eq!(look(&mut pulse, 40, false), Health::Well, "and well again when it comes round");
        look(&mut pulse, 40, true);
        assert_eq!(look(&mut pulse, 40, true), Health::Dead);
        assert_eq!(look(&mut pulse, 41, false), Health::Dead, "for good");
        let mut paused = Pulse::default();
        paused.look(Timestamp(0), 1, false, || false);
        paused.look(Timestamp(0), 1, false, || false);
        paused.look(Timestamp(3_600 * SECOND), 1, false, || false);
        assert_eq!(paused.health, Health::Well, "an hour in which the program itself stood still");
        assert!(paused.look(Timestamp(3_600 * SECOND), 1, true, || false));
        assert_eq!(paused.health, Health::Dead, "its thread has ended");
    }

    /// A loss keeps the moment it began at, and is over a minute after the last; the next stretch counts anew.
    #[test]
    fn losses_are_shown_from_their_first_to_a_minute_after_their_last() {
        let (mut losses, at) = (Losses::default(), |seconds| Timestamp(1_000 * SECOND).after(seconds * SECOND));
        losses.look(at(0), 0);
        assert_eq!(losses.shown(at(0)), None);
        for (second, count) in [(10, 5), (11, 5), (40, 9), (41, 9)] {
            losses.look(at(second), count);
        }
        assert_eq!(losses.shown(at(99)), Some((9, at(10))));
        assert_eq!(losses.shown(at(100)), None, "a minute after the last, at 40");
        losses.look(at(200), 9);
        assert_eq!(losses.shown(at(200)), None);
        losses.look(at(300), 12);
        assert_eq!(losses.shown(at(301)), Some((3, at(300))), "another stretch");
    }

    #[test]
    fn a_model_fails_as_long_as_it_does() {
        let mut scoring = Scoring::default();
        let state = |failures, successes| QueueState {
            score_failures: failures,
            score_successes: successes,
            score_cause: "no memory".into(),
            ..QueueState::default()
        };
        scoring.look(Timestamp(1), &state(0, 5));
        assert!(scoring.trouble("eth1:0").is_none());
        for (time, failures, successes) in [(2, 3, 9), (3, 0, 0), (4, 4, 1)] {
            scoring.look(Timestamp(time), &state(failures, successes));
        }
        let trouble = scoring.trouble("eth1:0").expect("it fails");
        assert_eq!((&*trouble.part, trouble.since), ("model", Timestamp(2)));
        assert!(trouble.reason.starts_with("eth1:0: 7 calls of the model have failed (no memory)"), "{trouble:?}");
        scoring.look(Timestamp(5), &state(0, 1));
        assert!(scoring.trouble("eth1:0").is_none() && !scoring.is_failing());
    }
}
