//! Alerts on disk: one SQLite file, one thread that writes it, any number of readers.
//!
//! Owns the sequence numbers. An alert that was answered to anybody was committed before (`synchronous=FULL`), so neither
//! `kill -9` nor a power loss takes it back. `append` never waits: a bounded queue stands in front, and when the disk fails
//! alerts wait there, are shed by severity when it is full, and both are counted and seen in [`Store::status`].
//!
//! Readers follow by [`Cursor`]: the newest [`RECENT_ROWS`] are answered from memory, older ones from the file, and a place
//! that retention has overtaken is an error ([`ReadError::Expired`]), never a silent gap. It deliberately knows nothing of
//! HTTP and offers no deletion.

mod cursor;
mod database;
mod error;
mod latency;
mod pending;
mod recent;
mod row;
mod writer;

pub use cursor::{BadCursor, Cursor};
pub use error::{ReadError, StoreError};
pub use latency::AlertLatency;
pub use recent::RECENT_ROWS;
pub use row::{Filter, Page, Stored};

use crate::clock::Clock;
use crate::control::alert::Alert;
use crate::control::view::Degraded;
use crate::units::Timestamp;
use database::{Database, Reader};
use recent::Recent;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Most rows that one read looks at, so that a rare filter costs milliseconds and not the whole file: the answer is then
/// short, says `has_more`, and its cursor has moved on.
pub const SCAN_ROWS: u64 = 50_000;
/// Reading connections kept open between reads.
const IDLE_READERS: usize = 4;
/// What dropping the last handle waits for: the alerts accepted so far.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The SQLite file; made where it is missing. Its folder must exist.
    pub path: PathBuf,
    /// Alerts kept; older ones are deleted in slices. 1 M are some 700 MB.
    pub retain: u64,
    /// Alerts that may wait for the disk, at least 10 000 by the reliability target; some 1 KB each.
    pub queue_capacity: usize,
    /// Live: the clock that stamped the packets, for the packet-to-alert histogram. Offline `None`: capture time and
    /// now have nothing to do with each other.
    pub clock: Option<Clock>,
}

impl Settings {
    /// Defaults: a million alerts, a queue of 16 384, no latency.
    pub fn at(path: impl Into<PathBuf>) -> Settings {
        Settings { path: path.into(), retain: 1_000_000, queue_capacity: 16_384, clock: None }
    }
}

/// The store as `/v1/status` shows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StoreStatus {
    /// The file.
    pub path: PathBuf,
    /// Alerts in it.
    pub alerts: u64,
    /// Highest sequence number given.
    pub last_sequence: u64,
    /// Alerts waiting for the disk.
    pub pending: u64,
    /// Alerts that may wait.
    pub capacity: u64,
    /// Alerts given to [`Store::append`] since start.
    pub accepted: u64,
    /// Of these, written.
    pub written: u64,
    /// Of these, there already (same id and count).
    pub duplicates: u64,
    /// Of these, given up because the queue was full.
    pub shed: u64,
    /// Commits that failed (and were tried again).
    pub failures: u64,
    /// What is wrong now.
    pub degraded: Vec<Degraded>,
}

/// Handle on an open store; clones share it. The last one to go writes what is pending and closes the file.
#[derive(Clone)]
pub struct Store {
    owner: Arc<Owner>,
}

struct Owner {
    shared: Arc<writer::Shared>,
    writer: Option<JoinHandle<()>>,
    readers: Mutex<Vec<Reader>>,
    path: PathBuf,
    /// Held for as long as we write; the kernel gives it back when the process dies.
    _lock: std::fs::File,
}

impl Store {
    /// Opens the file, or makes it, and starts the writer.
    ///
    /// # Errors
    /// The file cannot be used; the message names the remedy.
    pub fn open(settings: Settings) -> Result<Store, StoreError> {
        let lock = lock_file(&settings.path)?;
        let database = Database::open(&settings.path, settings.retain, true)?;
        let extent = database.extent();
        let newest = database.newest(RECENT_ROWS)?;
        let shared = Arc::new(writer::Shared::new(&settings, extent, newest));
        let path = settings.path.clone();
        let mut file = writer::File { settings, epoch: extent.epoch, database: Some(database) };
        let writer = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("shrike-store".into())
                .spawn(move || writer::run(&shared, &mut file))
                .map_err(|cause| StoreError::Open { path: path.clone(), cause: format!("start its thread: {cause}") })?
        };
        let owner = Owner { shared, writer: Some(writer), readers: Mutex::new(Vec::new()), path, _lock: lock };
        Ok(Store { owner: Arc::new(owner) })
    }

    /// Takes alerts over; returns at once. They are seen by readers when they are on the disk.
    pub fn append(&self, alerts: Vec<Alert>) {
        self.owner.shared.append(alerts);
    }

    /// Waits until everything appended before has been written or given up; `false` when `limit` passed first.
    pub fn flush(&self, limit: Duration) -> bool {
        self.owner.shared.flush(limit)
    }

    /// The last sequence number committed, and every change of it.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.owner.shared.committed.subscribe()
    }

    /// The last sequence number committed.
    pub fn last_sequence(&self) -> u64 {
        *self.owner.shared.committed.borrow()
    }

    /// The cursor after everything committed so far.
    pub fn end(&self) -> Cursor {
        let recent = self.recent();
        Cursor { epoch: recent.extent.epoch, sequence: recent.extent.last }
    }

    /// The page after `after` (from the oldest alert for `None`), at most `limit` items. May read the file: not for an
    /// async task; there ask [`Store::recent_after`] first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn after(&self, after: Option<Cursor>, filter: &Filter, limit: usize) -> Result<Page, ReadError> {
        if let Some(page) = self.recent_after(after, filter, limit) {
            return page;
        }
        let after = after.map(|cursor| cursor.sequence);
        let (items, reached, extent) = self.read(|reader| reader.after(after, filter, limit))?;
        if after.is_some_and(|after| after < extent.floor || after > extent.last) {
            return Err(ReadError::Expired);
        }
        let next = Cursor { epoch: extent.epoch, sequence: reached };
        Ok(Page { items, next, has_more: reached < extent.last })
    }

    /// As [`Store::after`] from memory alone; `None` if the page begins before what is held there.
    pub fn recent_after(
        &self,
        after: Option<Cursor>,
        filter: &Filter,
        limit: usize,
    ) -> Option<Result<Page, ReadError>> {
        self.recent().after(after, filter, limit)
    }

    /// The newest `count` alerts that pass the filter, oldest first; `next` is after the newest of the store.
    ///
    /// # Errors
    /// The file does not answer.
    pub fn newest(&self, filter: &Filter, count: usize) -> Result<Page, ReadError> {
        if let Some(page) = self.recent().newest(filter, count) {
            return Ok(page);
        }
        let (items, extent) = self.read(|reader| reader.newest(filter, count))?;
        Ok(Page { items, next: Cursor { epoch: extent.epoch, sequence: extent.last }, has_more: false })
    }

    /// As [`Store::newest`], but of each alert only its newest row: the one with its count. Rows that repeat an alert do
    /// not push others out.
    ///
    /// # Errors
    /// The file does not answer.
    pub fn newest_of_each(&self, filter: &Filter, count: usize) -> Result<Page, ReadError> {
        if let Some(page) = self.recent().newest_of_each(filter, count) {
            return Ok(page);
        }
        let (items, extent) = self.read(|reader| reader.newest_of_each(filter, count))?;
        Ok(Page { items, next: Cursor { epoch: extent.epoch, sequence: extent.last }, has_more: false })
    }

    /// The alert with this id and its repeats, oldest first; empty if there is none.
    ///
    /// # Errors
    /// The file does not answer.
    pub fn find(&self, id: &str) -> Result<Vec<Arc<Stored>>, StoreError> {
        self.read(|reader| reader.find(id))
    }

    /// Time from [`crate::dataplane::detect::Evidence::time`] to the commit; empty unless a clock was given.
    pub fn alert_latency(&self) -> AlertLatency {
        self.owner.shared.latency()
    }

    /// How it is doing.
    pub fn status(&self) -> StoreStatus {
        let front = self.owner.shared.status();
        let extent = self.recent().extent;
        StoreStatus {
            path: self.owner.path.clone(),
            alerts: extent.last - extent.floor,
            last_sequence: extent.last,
            pending: front.pending,
            capacity: front.capacity,
            accepted: front.accepted,
            written: front.written,
            duplicates: front.duplicates,
            shed: front.shed,
            failures: front.failures,
            degraded: front.degraded,
        }
    }

    fn recent(&self) -> std::sync::RwLockReadGuard<'_, Recent> {
        self.owner.shared.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, read: impl FnOnce(&mut Reader) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = || self.owner.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let mut reader = match kept {
            Some(reader) => reader,
            None => Reader::open(&self.owner.path)?,
        };
        // A reader that failed is not kept: the next read opens the file again.
        let answer = read(&mut reader)?;
        let mut idle = idle();
        if idle.len() < IDLE_READERS {
            idle.push(reader);
        }
        Ok(answer)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.stop();
        self.shared.flush(CLOSE_LIMIT);
        if let Some(writer) = self.writer.take() {
            // The writer gives up at its first failure after `stop`, so this ends.
            let _ = writer.join();
        }
    }
}

/// One process writes a store: an advisory lock on a file beside it, which cannot be left behind by a dead process.
fn lock_file(path: &Path) -> Result<std::fs::File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let fail = |cause: std::io::Error| StoreError::Open { path: path.to_owned(), cause: format!("lock it: {cause}") };
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&name).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
        Err(std::fs::TryLockError::Error(cause)) => Err(fail(cause)),
    }
}

/// The wall clock, for `since` of degraded states.
fn wall_clock() -> Timestamp {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
pub(crate) mod tests;
