//! The files of a running sensor: each written by a thread of its own, rotated by size and by time.
//!
//! Owns the files and the queues before them. The control plane hands items over and never waits: a queue that is full, or
//! a disk that takes nothing, loses lines and nothing else. They are counted by kind, and told in status, in the log, in the
//! file's own statistics and at the end. Lines are counted as written when the kernel has taken them. A disk that takes half a line has that half taken back, so that a file holds
//! whole lines, and writing goes on by itself where there is room again. Deliberately does not: compress, ship, or sync:
//! what the kernel had not written when the power fails is gone (alerts, which must survive that, lie in the store).

mod file;
#[cfg(test)]
mod tests;
mod unwritten;

use super::application::AppEvent;
use super::conn::ConnFormat;
use super::eve::{EveWriter, ModelName, SharedName};
use super::statistics::Statistics;
use crate::control::alert::Alert;
use crate::control::view::{Degraded, Metric, MetricKind};
use crate::exchange::FlowSummary;
use crate::units::{SECOND, Timestamp};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use file::{Change, LogFile, now};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use unwritten::Warner;
pub use unwritten::{SLOWER, Unwritten};

/// Lost lines are told for so long after the last one.
const TOLD_FOR: u64 = 60 * SECOND;

/// Items that wait to be written at most, in numbers and in bytes. An eighth of both is the alerts' alone.
const QUEUE: usize = 1 << 16;
const QUEUE_BYTES: usize = 64 << 20;
/// Lines that are handed to the kernel together, bytes; while the disk takes nothing no more than these are made.
const BUFFER: usize = 1 << 16;
/// How often an idle file is flushed, looked after, and after an error tried again.
const LOOK: Duration = Duration::from_millis(500);

/// Where lines go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSettings {
    /// The file; older ones are `NAME.1`, `NAME.2`, ...
    pub path: PathBuf,
    /// Size at which it is rotated, bytes.
    pub rotate_bytes: u64,
    /// Time after which it is rotated, seconds; it begins anew at multiples of it, UTC. `None`: by size alone.
    pub rotate_seconds: Option<u64>,
    /// Older files kept.
    pub keep: u32,
}

/// What a log is made of.
pub trait Format: Send + 'static {
    /// What becomes a line.
    type Item: Send + 'static;
    /// Its section in the configuration, and its part in `degraded`.
    const NAME: &'static str;
    /// Names of its counters: lines, lost lines, rotations.
    const METRICS: [&'static str; 3];
    /// Kinds of items, for the count of lost ones.
    const KINDS: &'static [&'static str];
    /// Which of [`Format::KINDS`] an item is.
    fn kind(item: &Self::Item) -> usize;
    /// Must it be written though others fill the queue?
    fn is_urgent(item: &Self::Item) -> bool;
    /// Memory that it takes, bytes.
    fn size(item: &Self::Item) -> usize;
    /// Writes it at the end of `out`, as one line.
    fn line(&mut self, item: &Self::Item, out: &mut Vec<u8>);
    /// What stands before the first line.
    fn head(&self, _now: Timestamp) -> String {
        String::new()
    }
    /// What stands behind the last one.
    fn foot(&self, _now: Timestamp) -> String {
        String::new()
    }
}

/// What becomes a line of EVE JSON.
pub enum EveItem {
    /// An alert was raised.
    Alert(Box<Alert>),
    /// A flow ended that was seen on an interface.
    Flow(Box<FlowSummary>, Arc<str>),
    /// Inspection found something on an interface.
    Event(AppEvent, Arc<str>),
    /// How the sensor is doing.
    Stats(Box<Statistics>),
}

impl EveItem {
    /// Memory that an alert takes, bytes.
    pub fn bytes_of_alert(alert: &Alert) -> usize {
        let terms = alert.evidence.terms.iter().map(|term| size_of_val(term) + term.name.len()).sum::<usize>();
        size_of::<Alert>() + alert.evidence.summary.len() + terms
    }
}

/// Suricata's EVE JSON.
pub struct EveFormat(EveWriter<Vec<u8>>);

impl EveFormat {
    /// `model`: whose scores stand in the events.
    pub fn new(model: Option<ModelName>) -> EveFormat {
        EveFormat(EveWriter::new(Vec::new(), model))
    }

    /// The same, where another model may score one day.
    pub fn named(named: SharedName) -> EveFormat {
        let mut writer = EveWriter::new(Vec::new(), None);
        writer.follow(named);
        EveFormat(writer)
    }
}

impl Format for EveFormat {
    type Item = EveItem;
    const NAME: &'static str = "eve";
    const METRICS: [&'static str; 3] =
        ["shrike_eve_lines_total", "shrike_eve_lost_total", "shrike_eve_rotations_total"];
    const KINDS: &'static [&'static str] = &["alert", "flow", "event", "stats"];

    fn kind(item: &EveItem) -> usize {
        match item {
            EveItem::Alert(_) => 0,
            EveItem::Flow(..) => 1,
            EveItem::Event(..) => 2,
            EveItem::Stats(_) => 3,
        }
    }

    fn is_urgent(item: &EveItem) -> bool {
        matches!(item, EveItem::Alert(_) | EveItem::Stats(_))
    }

    fn size(item: &EveItem) -> usize {
        let more = match item {
            EveItem::Alert(alert) => EveItem::bytes_of_alert(alert),
            EveItem::Flow(..) => size_of::<FlowSummary>(),
            EveItem::Event(event, _) => event.facts.len(),
            EveItem::Stats(statistics) => size_of::<Statistics>() + size_of_val(&*statistics.counters),
        };
        size_of::<EveItem>() + more
    }

    fn line(&mut self, item: &EveItem, out: &mut Vec<u8>) {
        let written = match item {
            EveItem::Alert(alert) => self.0.alert(alert),
            EveItem::Flow(flow, interface) => {
                self.0.set_interface(interface);
                self.0.flow(flow)
            }
            EveItem::Event(event, interface) => {
                self.0.set_interface(interface);
                self.0.application(event)
            }
            EveItem::Stats(statistics) => self.0.stats(statistics),
        };
        debug_assert!(written.is_ok(), "memory takes everything");
        out.append(self.0.get_mut());
    }
}

impl Format for ConnFormat {
    type Item = Box<FlowSummary>;
    const NAME: &'static str = "conn_log";
    const METRICS: [&'static str; 3] =
        ["shrike_conn_log_lines_total", "shrike_conn_log_lost_total", "shrike_conn_log_rotations_total"];
    const KINDS: &'static [&'static str] = &["flow"];

    fn kind(_: &Box<FlowSummary>) -> usize {
        0
    }

    fn is_urgent(_: &Box<FlowSummary>) -> bool {
        true
    }

    fn size(_: &Box<FlowSummary>) -> usize {
        size_of::<FlowSummary>() + size_of::<Box<FlowSummary>>()
    }

    fn line(&mut self, item: &Box<FlowSummary>, out: &mut Vec<u8>) {
        ConnFormat::line(*self, item, out);
    }

    fn head(&self, now: Timestamp) -> String {
        ConnFormat::head(*self, now)
    }

    fn foot(&self, now: Timestamp) -> String {
        ConnFormat::foot(*self, now)
    }
}

/// What both ends of a log know.
#[derive(Default)]
struct Shared {
    lines: AtomicU64,
    /// By kind.
    lost: Vec<AtomicU64>,
    rotations: AtomicU64,
    /// Bytes of the items that wait.
    waiting: AtomicUsize,
    stop: AtomicBool,
    /// Somebody asks for the file to be opened anew.
    reopen: Arc<AtomicBool>,
    /// Why nothing can be written at present.
    trouble: Mutex<Option<String>>,
}

impl Shared {
    fn new(kinds: usize) -> Shared {
        Shared { lost: (0..kinds).map(|_| AtomicU64::new(0)).collect(), ..Shared::default() }
    }

    fn lose(&self, kind: usize) {
        if let Some(lost) = self.lost.get(kind) {
            lost.fetch_add(1, Relaxed);
        }
    }

    fn lost(&self) -> u64 {
        self.lost.iter().map(|lost| lost.load(Relaxed)).sum()
    }

    fn is_in_trouble(&self) -> bool {
        self.trouble.lock().is_ok_and(|trouble| trouble.is_some())
    }
}

/// The control plane's end of a file.
pub struct Log<F: Format> {
    sender: Option<Sender<F::Item>>,
    shared: Arc<Shared>,
    path: PathBuf,
    /// When the present trouble was first seen; 0 for none.
    since: AtomicU64,
    /// Lines lost when it was last looked at, and when they grew more, in seconds; 0 for never.
    lost_then: [AtomicU64; 2],
    warner: Warner,
    thread: Option<JoinHandle<()>>,
}

/// Alerts, flows, events and statistics as EVE JSON.
pub type EveLog = Log<EveFormat>;
/// Flows as Zeek's `conn.log`.
pub type ConnLog = Log<ConnFormat>;

impl<F: Format> Log<F> {
    /// Opens the file, to add to what is there, and starts its thread.
    ///
    /// # Errors
    /// The file cannot be opened or the thread not be started.
    pub fn start(settings: LogSettings, format: F) -> io::Result<Log<F>> {
        let path = settings.path.clone();
        let shared = Arc::new(Shared::new(F::KINDS.len()));
        let writer = LogWriter::open(settings, format, Arc::clone(&shared))?;
        let (sender, receiver) = bounded(QUEUE);
        let thread =
            std::thread::Builder::new().name(F::NAME.replace('_', "-")).spawn(move || writer.run(&receiver))?;
        Ok(Log {
            sender: Some(sender),
            shared,
            path,
            since: AtomicU64::new(0),
            lost_then: Default::default(),
            warner: Warner::default(),
            thread: Some(thread),
        })
    }

    /// A flag that has the file opened anew when somebody raises it.
    pub fn reopen_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.reopen)
    }

    /// Hands an item over, or counts it as lost.
    pub fn write(&self, item: F::Item) {
        let kind = F::kind(&item);
        let Some(sender) = &self.sender else { return };
        let (size, waiting) = (F::size(&item), self.shared.waiting.load(Relaxed));
        let room = |limit: usize| if F::is_urgent(&item) { limit } else { limit / 8 * 7 };
        if sender.len() >= room(QUEUE) || waiting + size > room(QUEUE_BYTES) {
            return self.shared.lose(kind);
        }
        // Before it is sent: the other end takes it off again.
        self.shared.waiting.fetch_add(size, Relaxed);
        if sender.try_send(item).is_err() {
            self.shared.waiting.fetch_sub(size, Relaxed);
            self.shared.lose(kind);
        }
    }

    /// Lines written and lost.
    pub fn metrics(&self) -> Vec<Metric> {
        let [lines, lost, rotations] = F::METRICS;
        let counter = |name, help, labels, value: &AtomicU64| Metric {
            name,
            help,
            kind: MetricKind::Counter,
            labels,
            value: value.load(Relaxed) as f64,
        };
        let mut metrics = vec![counter(lines, "Lines that the file has.", Vec::new(), &self.shared.lines)];
        metrics.extend(F::KINDS.iter().zip(&self.shared.lost).map(|(kind, value)| {
            let labels = vec![("kind", (*kind).to_owned())];
            counter(lost, "Lines that the file did not take in time.", labels, value)
        }));
        metrics.push(counter(rotations, "Times the file was rotated.", Vec::new(), &self.shared.rotations));
        metrics
    }

    /// Lines lost so far.
    pub fn unwritten(&self) -> Unwritten {
        unwritten::<F>(&self.shared, &self.path)
    }

    /// A warning of lost lines, where it is time for one.
    pub fn warning(&mut self, now: Timestamp) -> Option<String> {
        let unwritten = self.unwritten();
        self.warner.look(now, &unwritten)
    }

    /// Writes what waits; the lines that were lost, those of the end among them.
    pub fn finish(self) -> Unwritten {
        let (shared, path) = (Arc::clone(&self.shared), self.path.clone());
        drop(self); // waits for the thread
        unwritten::<F>(&shared, &path)
    }

    /// What is wrong with the file at present.
    pub fn degraded(&self, now: Timestamp) -> Option<Degraded> {
        let trouble = self.shared.trouble.lock().ok().and_then(|trouble| trouble.clone());
        let lost = self.shared.lost();
        let [then, grew] = &self.lost_then;
        if then.swap(lost, Relaxed) != lost {
            grew.store(now.0.max(1), Relaxed);
        }
        let is_losing = grew.load(Relaxed) > 0 && now.since(Timestamp(grew.load(Relaxed))) < TOLD_FOR;
        let (what, remedy) = match trouble {
            Some(trouble) => (trouble, "make room, or name another file"),
            None if is_losing => {
                ("more lines come than are written".to_owned(), "give it a faster disk, or name a file on one,")
            }
            None => {
                self.since.store(0, Relaxed);
                return None;
            }
        };
        let since = match self.since.compare_exchange(0, now.0, Relaxed, Relaxed) {
            Ok(_) => now,
            Err(since) => Timestamp(since),
        };
        let reason =
            format!("{}: {what}; {lost} lines lost so far: {remedy} with {}.path", self.path.display(), F::NAME);
        Some(Degraded { part: F::NAME.into(), reason, since })
    }
}

fn unwritten<F: Format>(shared: &Shared, path: &Path) -> Unwritten {
    let counts = shared.lost.iter().map(|lost| lost.load(Relaxed));
    Unwritten { name: F::NAME, path: path.to_owned(), kinds: F::KINDS.iter().copied().zip(counts).collect() }
}

impl EveLog {
    /// An alert was raised.
    pub fn alert(&self, alert: &Alert) {
        self.write(EveItem::Alert(Box::new(alert.clone())));
    }

    /// A flow ended that was seen on an interface.
    pub fn flow(&self, flow: FlowSummary, interface: &Arc<str>) {
        self.write(EveItem::Flow(Box::new(flow), Arc::clone(interface)));
    }

    /// Inspection found something on an interface.
    pub fn event(&self, event: AppEvent, interface: &Arc<str>) {
        self.write(EveItem::Event(event, Arc::clone(interface)));
    }

    /// How the sensor is doing.
    pub fn stats(&self, statistics: Statistics) {
        self.write(EveItem::Stats(Box::new(statistics)));
    }
}

impl ConnLog {
    /// A flow ended.
    pub fn flow(&self, flow: FlowSummary) {
        self.write(Box::new(flow));
    }
}

impl<F: Format> Drop for Log<F> {
    /// Writes what waits.
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // It panics nowhere; were it so, there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

/// The thread's end: lines that are made and not yet written, and their file.
struct LogWriter<F> {
    format: F,
    file: LogFile,
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    /// Kind of each line in the buffer; [`NOT_COUNTED`] for head and foot.
    kinds: VecDeque<usize>,
}

const NOT_COUNTED: usize = usize::MAX;

impl<F: Format> LogWriter<F> {
    fn open(settings: LogSettings, format: F, shared: Arc<Shared>) -> io::Result<LogWriter<F>> {
        let file = LogFile::open(settings)?;
        Ok(LogWriter { format, file, shared, buffer: Vec::with_capacity(2 * BUFFER), kinds: VecDeque::new() })
    }

    /// Every item into a line, until nobody can send any more.
    fn run(mut self, items: &Receiver<F::Item>) {
        let mut looked = Instant::now();
        loop {
            match items.recv_timeout(LOOK) {
                Ok(item) => self.take(&item),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while self.buffer.len() >= BUFFER || looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look(now());
                if self.buffer.len() < BUFFER || self.shared.stop.load(Relaxed) {
                    break;
                }
                // A pause before the next try, not a wait for anybody: what comes meanwhile waits in the queue.
                std::thread::sleep(LOOK);
            }
            if self.buffer.len() >= BUFFER {
                break; // told to stop, and the disk takes nothing
            }
        }
        self.end(items);
    }

    /// One item as a line of the buffer.
    fn take(&mut self, item: &F::Item) {
        self.shared.waiting.fetch_sub(F::size(item), Relaxed);
        if !self.file.is_begun() {
            let head = self.format.head(now());
            self.add(&head);
            self.file.begin();
        }
        self.format.line(item, &mut self.buffer);
        self.kinds.push_back(F::kind(item));
    }

    /// Lines that are nobody's item.
    fn add(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
        self.kinds.extend(text.lines().map(|_| NOT_COUNTED));
    }

    /// Writes what is there, begins a new file where it is time to, and tells how it went.
    fn look(&mut self, time: Timestamp) {
        let written = self.write();
        let changed = self.look_after(time, written.is_ok());
        self.shared.rotations.store(self.file.rotations(), Relaxed);
        self.tell(written.and(changed));
    }

    /// `written`: nothing waits. A file that takes nothing is not rotated, but left when others moved it.
    fn look_after(&mut self, time: Timestamp, written: bool) -> io::Result<()> {
        let asked = self.shared.reopen.swap(false, Relaxed);
        let change = self.file.wants_change(time, asked);
        let Some(change) = change.filter(|change| written || *change == Change::Reopening) else { return Ok(()) };
        let was_begun = self.file.is_begun();
        if was_begun && written {
            let foot = self.format.foot(time);
            self.add(&foot);
            self.write()?;
        }
        self.file.change(change, time)?;
        if was_begun && !written {
            self.begin_anew(time);
        }
        Ok(())
    }

    /// What waits goes to another file than its head went to.
    fn begin_anew(&mut self, time: Timestamp) {
        self.file.begin();
        if self.kinds.front().is_some_and(|kind| *kind != NOT_COUNTED) {
            let head = self.format.head(time);
            head.lines().for_each(|_| self.kinds.push_front(NOT_COUNTED));
            self.buffer.splice(0..0, head.into_bytes());
        }
    }

    /// Hands the buffer to the kernel; what it did not take stays, whole lines only.
    fn write(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let (taken, outcome) = self.file.write_lines(&self.buffer);
        let lines = self.buffer.drain(..taken).filter(|byte| *byte == b'\n').count();
        let items = self.kinds.drain(..lines).filter(|kind| *kind != NOT_COUNTED).count();
        self.shared.lines.fetch_add(items as u64, Relaxed);
        outcome
    }

    /// Keeps what is wrong for status, and says once that it is, and once that it is over.
    fn tell(&self, outcome: io::Result<()>) {
        let Ok(mut trouble) = self.shared.trouble.lock() else { return };
        let path = self.file.path().display();
        match (&*trouble, &outcome) {
            (None, Err(error)) => tracing::warn!("{path}: {error}; lines wait, and are lost when too many do"),
            (Some(_), Ok(())) => {
                tracing::info!("{path}: written again; {} lines were lost so far", self.shared.lost());
            }
            _ => {}
        }
        *trouble = outcome.err().map(|error| error.to_string());
    }

    /// The last try; what the disk does not take is lost, and said to be.
    fn end(mut self, items: &Receiver<F::Item>) {
        if self.file.is_begun() && self.buffer.len() < BUFFER {
            let foot = self.format.foot(now());
            self.add(&foot);
        }
        let outcome = self.write();
        let left = self.kinds.iter().copied().filter(|kind| *kind != NOT_COUNTED);
        left.chain(items.try_iter().map(|item| F::kind(&item))).for_each(|kind| self.shared.lose(kind));
        if self.shared.is_in_trouble() || outcome.is_err() {
            let (path, lost) = (self.file.path().display(), self.shared.lost());
            let cause = outcome.as_ref().err().map(|error| format!("{error}: ")).unwrap_or_default();
            tracing::error!("{path}: {cause}{lost} lines are lost");
        }
        self.tell(outcome);
    }
}
