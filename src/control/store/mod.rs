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
mod pending;
mod writer;

pub use cursor::{BadCursor, Cursor};

use crate::clock::Clock;
use crate::control::alert::Alert;
use crate::control::view::Degraded;
use crate::dataplane::detect::Detector;
use crate::units::Timestamp;
use database::{Database, Extent, Reader};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Newest rows kept in memory for those who poll and follow; some 3 MB. Too small: every poller goes to the file.
pub const RECENT_ROWS: usize = 4_096;
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

/// The store cannot be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("open the alert store {}: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        cause: String,
    },
    /// A newer program wrote it.
    #[error(
        "open the alert store {}: written by a newer shrike (schema {found}, this one knows {known}): run that version, \
         or name another file",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// Another program's database.
    #[error("open the alert store {}: a database of another program: name another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error("open the alert store {}: another shrike uses it: stop that one, or name another file", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Somebody put another file in its place while we ran.
    #[error("write the alert store {}: another file was put in its place: restart to use it", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// A commit failed; nothing of it was written.
    #[error("write the alert store {}: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        cause: String,
    },
    /// A read failed.
    #[error("read the alert store {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        cause: String,
    },
}

/// Why a page could not be given.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Retention has deleted alerts after this place, or it belongs to another store: begin anew.
    #[error(
        "alerts after this cursor have been deleted by retention, or it belongs to another store: begin without one"
    )]
    Expired,
    /// The file does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One alert as the store holds it: the JSON it is served as, and what readers filter by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Place in the store, dense from 1.
    pub sequence: u64,
    /// Capture time of the evidence.
    pub time: Timestamp,
    /// 1 (high) to 4 (low).
    pub severity: u8,
    /// [`Detector::name`].
    pub detector: String,
    /// [`Alert::id`]; shared by the repeats of one alert.
    pub id: String,
    /// The [`Alert`] as JSON.
    body: String,
}

impl Stored {
    fn new(sequence: u64, alert: &Alert) -> Stored {
        Stored {
            sequence,
            time: alert.evidence.time,
            severity: alert.evidence.severity,
            detector: alert.evidence.detector.name().to_owned(),
            id: alert.id.clone(),
            // An Alert is numbers, strings and lists: serde_json cannot fail on it.
            body: serde_json::to_string(alert).unwrap_or_else(|_| "{}".to_owned()),
        }
    }

    /// The alert as served: its own fields with `sequence` and `timestamp` (RFC 3339) before them.
    pub fn to_json(&self) -> String {
        let rest = self.body.get(1..).unwrap_or("}");
        let comma = if rest == "}" { "" } else { "," };
        format!("{{\"sequence\":{},\"timestamp\":\"{}\"{comma}{rest}", self.sequence, self.time.to_rfc3339())
    }

    /// The alert itself.
    ///
    /// # Errors
    /// A row written by another version whose fields do not fit.
    pub fn alert(&self) -> Result<Alert, serde_json::Error> {
        serde_json::from_str(&self.body)
    }
}

/// What a reader wants to see; the default is everything.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Filter {
    /// This severity or a higher one (a lower number).
    pub severity: Option<u8>,
    /// Of this detector.
    pub detector: Option<Detector>,
    /// At or after this moment.
    pub since: Option<Timestamp>,
}

impl Filter {
    fn passes(&self, stored: &Stored) -> bool {
        self.severity.is_none_or(|severity| stored.severity <= severity)
            && self.detector.is_none_or(|detector| stored.detector == detector.name())
            && self.since.is_none_or(|since| stored.time >= since)
    }
}

/// A stretch of the store.
#[derive(Clone, Debug)]
pub struct Page {
    /// Oldest first.
    pub items: Vec<Arc<Stored>>,
    /// Where to go on; has moved even if no item passed the filter.
    pub next: Cursor,
    /// Ask again at once: the store reaches further than this page looked.
    pub has_more: bool,
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

    /// The alert with this id and its repeats, oldest first; empty if there is none.
    ///
    /// # Errors
    /// The file does not answer.
    pub fn find(&self, id: &str) -> Result<Vec<Arc<Stored>>, StoreError> {
        self.read(|reader| reader.find(id))
    }

    /// Time from [`crate::dataplane::detect::Evidence::time`] to the commit, nanoseconds; empty unless a clock was given.
    pub fn alert_latency(&self) -> Histogram<u64> {
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

/// The newest rows, without gap up to `extent.last`.
struct Recent {
    rows: VecDeque<Arc<Stored>>,
    extent: Extent,
}

impl Recent {
    fn new(extent: Extent, newest: Vec<Arc<Stored>>) -> Recent {
        Recent { rows: newest.into(), extent }
    }

    fn extend(&mut self, extent: Extent, stored: Vec<Arc<Stored>>) {
        // A commit whose answer was lost leaves rows on the disk that we do not hold: begin behind the gap.
        let gap = stored.len() as u64 != extent.last - self.extent.last;
        if gap {
            self.rows.clear();
        }
        if !gap || stored.last().is_some_and(|row| row.sequence == extent.last) {
            self.rows.extend(stored);
        }
        while self.rows.len() > RECENT_ROWS || self.rows.front().is_some_and(|row| row.sequence <= extent.floor) {
            self.rows.pop_front();
        }
        self.extent = extent;
    }

    /// Everything after this sequence number is held.
    fn start(&self) -> u64 {
        self.rows.front().map_or(self.extent.last, |row| row.sequence - 1)
    }

    fn after(&self, after: Option<Cursor>, filter: &Filter, limit: usize) -> Option<Result<Page, ReadError>> {
        let extent = self.extent;
        let after = match after {
            Some(cursor)
                if cursor.epoch != extent.epoch || cursor.sequence < extent.floor || cursor.sequence > extent.last =>
            {
                return Some(Err(ReadError::Expired));
            }
            Some(cursor) => cursor.sequence,
            None => extent.floor,
        };
        let skip = usize::try_from(after.checked_sub(self.start())?).ok()?;
        let mut reached = extent.last;
        let mut items = Vec::new();
        for row in self.rows.iter().skip(skip).filter(|row| filter.passes(row)) {
            items.push(Arc::clone(row));
            if items.len() == limit {
                reached = row.sequence;
                break;
            }
        }
        let next = Cursor { epoch: extent.epoch, sequence: reached };
        Some(Ok(Page { items, next, has_more: reached < extent.last }))
    }

    fn newest(&self, filter: &Filter, count: usize) -> Option<Page> {
        let mut items: Vec<_> = self.rows.iter().rev().filter(|row| filter.passes(row)).take(count).cloned().collect();
        if items.len() < count && self.start() > self.extent.floor {
            return None;
        }
        items.reverse();
        let next = Cursor { epoch: self.extent.epoch, sequence: self.extent.last };
        Some(Page { items, next, has_more: false })
    }
}

/// The wall clock, for `since` of degraded states.
fn wall_clock() -> Timestamp {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::dataplane::detect::{Evidence, Term};

    /// An alert with no more than a name and a severity.
    pub(crate) fn alert(id: &str, severity: u8) -> Alert {
        Alert {
            id: id.to_owned(),
            occurrences: 1,
            first_seen: Timestamp(1),
            evidence: Evidence {
                detector: if severity == 1 { Detector::Flood } else { Detector::Scan },
                kind: "vertical".into(),
                time: Timestamp(1_000 * u64::from(severity)),
                severity,
                confidence: 0.5,
                source: None,
                target: None,
                port: None,
                protocol: None,
                summary: "a \"summary\" with <b>markup</b>".into(),
                terms: vec![Term { name: "ports".into(), value: 9.0, threshold: Some(5.0), usual: None }],
                flow: None,
            },
        }
    }

    fn filled(count: usize, retain: u64) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Settings { retain, ..Settings::at(folder.path().join("alerts.db")) }).unwrap();
        store.append((0..count).map(|index| alert(&format!("a{index}"), 1 + (index % 4) as u8)).collect());
        assert!(store.flush(Duration::from_secs(60)));
        (folder, store)
    }

    fn walk(store: &Store, filter: &Filter, limit: usize) -> Vec<u64> {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.after(cursor, filter, limit).unwrap();
            assert!(page.items.len() <= limit);
            seen.extend(page.items.iter().map(|row| row.sequence));
            cursor = Some(page.next);
            if !page.has_more {
                return seen;
            }
        }
    }

    #[test]
    fn pages_from_file_and_memory_give_each_alert_once_in_order() {
        let (_folder, store) = filled(RECENT_ROWS + 700, 1_000_000);
        for limit in [1_000, 333] {
            assert_eq!(walk(&store, &Filter::default(), limit), (1..=RECENT_ROWS as u64 + 700).collect::<Vec<_>>());
        }
        let high = Filter { severity: Some(2), ..Filter::default() };
        let expected: Vec<_> = (1..=RECENT_ROWS as u64 + 700).filter(|sequence| (sequence - 1) % 4 < 2).collect();
        assert_eq!(walk(&store, &high, 100), expected);
        let flood = Filter { detector: Some(Detector::Flood), ..Filter::default() };
        assert_eq!(walk(&store, &flood, 1_000).len(), (RECENT_ROWS + 700) / 4);
        assert_eq!(store.newest(&flood, 3).unwrap().items.len(), 3);
        assert_eq!(store.newest(&Filter::default(), 9_999).unwrap().items.len(), RECENT_ROWS + 700);
        let since = Filter { since: Some(Timestamp(4_000)), ..Filter::default() };
        assert_eq!(walk(&store, &since, 1_000).len(), (RECENT_ROWS + 700) / 4);
    }

    #[test]
    fn a_place_that_retention_overtook_or_of_another_store_is_expired() {
        let (_folder, store) = filled(600, 100);
        let end = store.end();
        let at = |sequence| store.after(Some(Cursor { sequence, ..end }), &Filter::default(), 10);
        assert!(matches!(at(end.sequence + 1), Err(ReadError::Expired)));
        assert!(at(end.sequence).unwrap().items.is_empty());
        let floor = end.sequence - store.status().alerts;
        assert!(floor > 0);
        assert!(matches!(at(floor - 1), Err(ReadError::Expired)));
        assert_eq!(at(floor).unwrap().items[0].sequence, floor + 1);
        let other = Cursor { epoch: end.epoch ^ 1, ..end };
        assert!(matches!(store.after(Some(other), &Filter::default(), 1), Err(ReadError::Expired)));
    }

    #[test]
    fn what_is_served_is_the_alert_with_its_place_and_time() {
        let (_folder, store) = filled(1, 100);
        let row = Arc::clone(&store.find("a0").unwrap()[0]);
        assert_eq!(row.alert().unwrap(), alert("a0", 1));
        let json: serde_json::Value = serde_json::from_str(&row.to_json()).unwrap();
        assert_eq!(json["sequence"], 1);
        assert_eq!(json["timestamp"], "1970-01-01T00:00:00.000001Z");
        assert_eq!(json["terms"][0]["threshold"], 5.0);
        assert_eq!(serde_json::from_value::<Alert>(json).unwrap(), alert("a0", 1));
        assert!(store.find("none").unwrap().is_empty());
    }

    #[test]
    fn a_second_process_is_refused_and_a_full_queue_is_seen() {
        let (folder, store) = filled(1, 100);
        let path = folder.path().join("alerts.db");
        assert!(matches!(Store::open(Settings::at(&path)), Err(StoreError::Locked { .. })));
        drop(store);
        let store = Store::open(Settings { queue_capacity: 5, ..Settings::at(&path) }).unwrap();
        // One call is one lock: the writer cannot take any before all twenty are in.
        store.append((0..20).map(|index| alert(&format!("b{index}"), 1)).collect());
        assert!(store.flush(Duration::from_secs(60)));
        let status = store.status();
        assert_eq!((status.accepted, status.written, status.shed, status.alerts), (20, 5, 15, 6));
        assert_eq!(store.find("b19").unwrap().len(), 1);
    }

    #[test]
    fn latency_is_recorded_from_evidence_to_commit_where_there_is_a_clock() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::new();
        let settings = Settings { clock: Some(clock.clone()), ..Settings::at(folder.path().join("alerts.db")) };
        let store = Store::open(settings).unwrap();
        let mut fresh = alert("a", 1);
        fresh.evidence.time = clock.now();
        store.append(vec![fresh]);
        assert!(store.flush(Duration::from_secs(60)));
        assert_eq!(store.alert_latency().len(), 1);
    }
}
