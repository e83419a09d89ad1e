//! The one thread that writes. Failing commits keep their alerts, are retried for ever with growing pauses, and are seen
//! in the store's state; nothing waits for them.

use super::database::{Database, Extent};
use super::latency::AlertLatency;
use super::pending::{Pending, Waiting};
use super::recent::Recent;
use super::{Settings, StoreError, Stored};
use crate::clock::Clock;
use crate::control::view::Degraded;
use crate::units::Timestamp;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// Most rows of one transaction: bounds what a failed commit has to repeat and how long readers of the newest wait.
const BATCH_ROWS: usize = 500;
/// First and longest pause after a failed commit.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What the writer and all handles share.
pub(super) struct Shared {
    front: Mutex<Front>,
    /// Something to do, or time to stop.
    work: Condvar,
    /// Something has been settled.
    settled: Condvar,
    pub(super) recent: RwLock<Recent>,
    /// Last sequence number committed; readers wait on it.
    pub(super) committed: watch::Sender<u64>,
    latency: Mutex<AlertLatency>,
    clock: Option<Clock>,
}

struct Front {
    pending: Pending,
    in_hand: usize,
    capacity: usize,
    accepted: u64,
    written: u64,
    duplicates: u64,
    shed: u64,
    failures: u64,
    trouble: Option<Degraded>,
    /// Something was shed since the last commit that emptied the queue.
    overflowed: Option<Timestamp>,
    stop: bool,
}

/// Numbers of the front queue and the writer.
#[derive(Clone, Debug)]
pub(super) struct FrontStatus {
    pub(super) pending: u64,
    pub(super) capacity: u64,
    pub(super) accepted: u64,
    pub(super) written: u64,
    pub(super) duplicates: u64,
    pub(super) shed: u64,
    pub(super) failures: u64,
    pub(super) degraded: Vec<Degraded>,
}

/// A panic elsewhere must not take the store with it: the data behind these locks is valid at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(settings: &Settings, extent: Extent, newest: Vec<Arc<Stored>>) -> Shared {
        Shared {
            front: Mutex::new(Front {
                pending: Pending::new(settings.queue_capacity),
                in_hand: 0,
                capacity: settings.queue_capacity,
                accepted: 0,
                written: 0,
                duplicates: 0,
                shed: 0,
                failures: 0,
                trouble: None,
                overflowed: None,
                stop: false,
            }),
            work: Condvar::new(),
            settled: Condvar::new(),
            recent: RwLock::new(Recent::new(extent, newest)),
            committed: watch::Sender::new(extent.last),
            latency: Mutex::new(AlertLatency::new()),
            clock: settings.clock.clone(),
        }
    }

    pub(super) fn append(&self, alerts: Vec<crate::control::alert::Alert>) {
        let mut front = lock(&self.front);
        for alert in alerts {
            front.accepted += 1;
            let shed = front.pending.push(alert);
            if shed > 0 {
                front.shed += shed;
                front.overflowed.get_or_insert_with(super::wall_clock);
            }
        }
        drop(front);
        self.work.notify_one();
    }

    pub(super) fn status(&self) -> FrontStatus {
        let front = lock(&self.front);
        let mut degraded: Vec<_> = front.trouble.iter().cloned().collect();
        if let Some(since) = front.overflowed {
            let reason = format!(
                "the queue of {} alerts before the store is full: {} alerts were given up, low severities first",
                front.capacity, front.shed
            );
            degraded.push(Degraded { part: "store".into(), reason, since });
        }
        FrontStatus {
            pending: (front.pending.len() + front.in_hand) as u64,
            capacity: front.capacity as u64,
            accepted: front.accepted,
            written: front.written,
            duplicates: front.duplicates,
            shed: front.shed,
            failures: front.failures,
            degraded,
        }
    }

    pub(super) fn latency(&self) -> AlertLatency {
        lock(&self.latency).clone()
    }

    /// Waits until what was accepted before the call is written or given up; `false` when `limit` passed first.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let front = lock(&self.front);
        let goal = front.accepted;
        let waited = self
            .settled
            .wait_timeout_while(front, limit, |front| front.written + front.duplicates + front.shed < goal)
            .unwrap_or_else(PoisonError::into_inner);
        !waited.1.timed_out()
    }

    pub(super) fn stop(&self) {
        lock(&self.front).stop = true;
        self.work.notify_all();
    }

    fn stopping(&self) -> bool {
        lock(&self.front).stop
    }

    /// The next batch; waits for one. `None`: stop was asked for and nothing is left.
    ///
    /// There is no timer: an alert that comes while the disk is idle is written at once, and those that come during a
    /// commit (some milliseconds) make the next batch. That groups by itself under load and adds no wait without.
    fn next_batch(&self) -> Option<Vec<Waiting>> {
        let mut front = self
            .work
            .wait_while(lock(&self.front), |front| front.pending.len() == 0 && !front.stop)
            .unwrap_or_else(PoisonError::into_inner);
        let batch = front.pending.take(BATCH_ROWS);
        front.in_hand = batch.len();
        (!batch.is_empty()).then_some(batch)
    }

    fn succeeded(&self, batch: &[Waiting], stored: Vec<Arc<Stored>>, extent: Extent) {
        if let Some(clock) = &self.clock {
            let now = clock.now();
            let mut latency = lock(&self.latency);
            for waiting in batch {
                let evidence = &waiting.alert.evidence;
                latency.record(evidence.detector, now.since(evidence.told()));
            }
        }
        let fresh = stored.len() as u64;
        self.recent.write().unwrap_or_else(PoisonError::into_inner).extend(extent, stored);
        self.committed.send_replace(extent.last);
        let mut front = lock(&self.front);
        front.in_hand = 0;
        front.written += fresh;
        front.duplicates += batch.len() as u64 - fresh;
        front.trouble = None;
        if front.pending.len() == 0 {
            front.overflowed = None;
        }
        drop(front);
        self.settled.notify_all();
    }

    fn failed(&self, batch: Vec<Waiting>, cause: &StoreError) {
        let mut front = lock(&self.front);
        front.in_hand = 0;
        front.failures += 1;
        let shed = front.pending.put_back(batch);
        if shed > 0 {
            front.shed += shed;
            front.overflowed.get_or_insert_with(super::wall_clock);
        }
        let since = front.trouble.as_ref().map_or_else(super::wall_clock, |trouble| trouble.since);
        if front.trouble.is_none() {
            tracing::warn!("{cause}; alerts wait in memory and the store is tried again");
        }
        front.trouble = Some(Degraded { part: "store".into(), reason: cause.to_string(), since });
        drop(front);
        self.settled.notify_all();
    }

    /// At the end, when the disk still fails: whatever waits is lost, counted, and nobody waits for it. Returns how many.
    fn give_up(&self) -> usize {
        let mut front = lock(&self.front);
        let lost = front.pending.take(usize::MAX).len();
        front.shed += lost as u64;
        drop(front);
        self.settled.notify_all();
        lost
    }

    /// Sleeps `pause`, less when stop is asked for.
    fn pause(&self, pause: Duration) {
        let _ = self.work.wait_timeout_while(lock(&self.front), pause, |front| !front.stop);
    }
}

/// What the writer needs of the disk; tests put a failing one in its place.
pub(super) trait Disk: Send {
    fn commit(&mut self, batch: &[Waiting]) -> Result<(Vec<Arc<Stored>>, Extent), StoreError>;
    /// After a failure: whatever may cure it.
    fn recover(&mut self) -> Result<(), StoreError>;
}

/// The SQLite file, opened again after a failure (a connection may be unusable after an I/O error).
pub(super) struct File {
    pub(super) settings: Settings,
    pub(super) epoch: u64,
    pub(super) database: Option<Database>,
}

impl Disk for File {
    fn commit(&mut self, batch: &[Waiting]) -> Result<(Vec<Arc<Stored>>, Extent), StoreError> {
        if self.database.is_none() {
            self.recover()?;
        }
        match &mut self.database {
            Some(database) => {
                let stored = database.commit(batch.iter().map(|waiting| &waiting.alert))?;
                Ok((stored, database.extent()))
            }
            None => Err(StoreError::Write { path: self.settings.path.clone(), cause: "not open".into() }),
        }
    }

    fn recover(&mut self) -> Result<(), StoreError> {
        self.database = None;
        let database = Database::open(&self.settings.path, self.settings.retain, false)?;
        if database.extent().epoch != self.epoch {
            return Err(StoreError::Replaced { path: self.settings.path.clone() });
        }
        self.database = Some(database);
        Ok(())
    }
}

/// Writes until asked to stop and nothing is left (or can be written).
pub(super) fn run(shared: &Shared, disk: &mut dyn Disk) {
    let mut pause = PAUSE.0;
    while let Some(batch) = shared.next_batch() {
        match disk.commit(&batch) {
            Ok((stored, extent)) => {
                shared.succeeded(&batch, stored, extent);
                pause = PAUSE.0;
            }
            Err(cause) => {
                shared.failed(batch, &cause);
                if shared.stopping() {
                    let lost = shared.give_up();
                    tracing::error!("{cause}; {lost} alerts are lost at the end");
                    return;
                }
                shared.pause(pause);
                pause = (pause * 2).min(PAUSE.1);
                // Its error, if any, is met again and shown by the commit that follows.
                let _ = disk.recover();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::alert;
    use super::*;

    /// Fails every commit whose number is in `bad`, before or after the real write.
    struct Flaky {
        file: File,
        number: u32,
        bad: std::ops::Range<u32>,
    }

    impl Disk for Flaky {
        fn commit(&mut self, batch: &[Waiting]) -> Result<(Vec<Arc<Stored>>, Extent), StoreError> {
            self.number += 1;
            let fail = self.bad.contains(&self.number);
            if fail && self.number.is_multiple_of(2) {
                return Err(StoreError::Write { path: "flaky".into(), cause: "database or disk is full".into() });
            }
            let done = self.file.commit(batch)?;
            if fail {
                // Written, and then the answer is lost: the retry must not write it twice.
                return Err(StoreError::Write { path: "flaky".into(), cause: "disk I/O error".into() });
            }
            Ok(done)
        }

        fn recover(&mut self) -> Result<(), StoreError> {
            self.file.recover()
        }
    }

    #[test]
    fn whichever_commit_fails_every_alert_is_stored_once_and_in_order() {
        for first in 1..=4 {
            let folder = tempfile::tempdir().unwrap();
            let settings = Settings::at(folder.path().join("alerts.db"));
            let database = Database::open(&settings.path, settings.retain, true).unwrap();
            let extent = database.extent();
            let shared = Shared::new(&settings, extent, Vec::new());
            let path = settings.path.clone();
            let file = File { settings, epoch: extent.epoch, database: Some(database) };
            let mut disk = Flaky { file, number: 0, bad: first..first + 2 };
            std::thread::scope(|scope| {
                scope.spawn(|| run(&shared, &mut disk));
                for index in 0..6 {
                    shared.append(vec![alert(&format!("a{index}"), 1)]);
                    assert!(shared.flush(Duration::from_secs(60)));
                }
                shared.stop();
            });
            let status = shared.status();
            assert!(status.failures >= 1 && status.degraded.is_empty() && status.shed == 0, "{status:?}");
            let rows = Database::open(&path, 100, false).unwrap().newest(100).unwrap();
            let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
            assert_eq!(ids, ["a0", "a1", "a2", "a3", "a4", "a5"], "first failure at {first}");
        }
    }
}
