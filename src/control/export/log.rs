//! The EVE file of a running sensor: written by a thread of its own, rotated by size.
//!
//! Owns the file and the queue before it. The control plane hands events over and never waits: a queue that is full, or a
//! disk that takes nothing, loses lines, which are counted and told in status, and nothing else. Deliberately does not:
//! compress, ship, or sync each line (alerts, which must survive a crash, lie in the store).

use super::application::AppEvent;
use super::eve::{EveWriter, ModelName};
use crate::control::alert::Alert;
use crate::control::view::{Degraded, Metric, MetricKind};
use crate::exchange::FlowSummary;
use crate::units::Timestamp;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Events that wait to be written; some 200 bytes each.
const QUEUE: usize = 1 << 16;
/// How often an idle file is flushed, looked after, and after an error tried again.
const LOOK: Duration = Duration::from_millis(500);

/// Where lines go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSettings {
    /// The file; older ones are `NAME.1`, `NAME.2`, ...
    pub path: PathBuf,
    /// Size at which it is rotated, bytes.
    pub rotate_bytes: u64,
    /// Older files kept.
    pub keep: u32,
}

enum Item {
    Alert(Box<Alert>),
    Flow(Box<FlowSummary>),
    Event(AppEvent),
}

/// What the writing thread tells.
#[derive(Default)]
struct Shared {
    lines: AtomicU64,
    lost: AtomicU64,
    rotations: AtomicU64,
    stop: AtomicBool,
    /// Why nothing can be written at present.
    trouble: Mutex<Option<String>>,
}

/// The control plane's end of the file.
pub struct EveLog {
    sender: Option<Sender<Item>>,
    shared: Arc<Shared>,
    path: PathBuf,
    /// When the present trouble was first seen; 0 for none.
    since: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

impl EveLog {
    /// Opens the file, to add to what is there, and starts its thread.
    ///
    /// # Errors
    /// The file cannot be opened or the thread not be started.
    pub fn start(settings: LogSettings, model: Option<ModelName>) -> io::Result<EveLog> {
        let file = LogFile::open(settings.clone())?;
        let shared = Arc::new(Shared::default());
        let (sender, receiver) = bounded(QUEUE);
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("eve".into()).spawn(move || {
            write_all(EveWriter::new(file, model), &receiver, &worker);
        })?;
        Ok(EveLog { sender: Some(sender), shared, path: settings.path, since: AtomicU64::new(0), thread: Some(thread) })
    }

    /// An alert was raised.
    pub fn alert(&self, alert: &Alert) {
        self.send(Item::Alert(Box::new(alert.clone())));
    }

    /// A flow ended.
    pub fn flow(&self, flow: FlowSummary) {
        self.send(Item::Flow(Box::new(flow)));
    }

    /// Inspection found something.
    pub fn event(&self, event: AppEvent) {
        self.send(Item::Event(event));
    }

    fn send(&self, item: Item) {
        let sent = self.sender.as_ref().map(|sender| sender.try_send(item));
        if !matches!(sent, Some(Ok(()))) {
            debug_assert!(
                !matches!(sent, Some(Err(TrySendError::Disconnected(_)))),
                "the thread lives as long as we do"
            );
            self.shared.lost.fetch_add(1, Relaxed);
        }
    }

    /// Lines written and lost.
    pub fn metrics(&self) -> Vec<Metric> {
        let counter = |name, help, value: &AtomicU64| Metric {
            name,
            help,
            kind: MetricKind::Counter,
            labels: Vec::new(),
            value: value.load(Relaxed) as f64,
        };
        vec![
            counter("shrike_eve_lines_total", "Lines written to the EVE file.", &self.shared.lines),
            counter("shrike_eve_lost_total", "Lines that the EVE file did not take in time.", &self.shared.lost),
            counter("shrike_eve_rotations_total", "Times the EVE file was rotated.", &self.shared.rotations),
        ]
    }

    /// What is wrong with the file at present.
    pub fn degraded(&self, now: Timestamp) -> Option<Degraded> {
        let trouble = self.shared.trouble.lock().ok().and_then(|trouble| trouble.clone());
        let Some(trouble) = trouble else {
            self.since.store(0, Relaxed);
            return None;
        };
        let since = match self.since.compare_exchange(0, now.0, Relaxed, Relaxed) {
            Ok(_) => now,
            Err(since) => Timestamp(since),
        };
        let lost = self.shared.lost.load(Relaxed);
        let reason = format!(
            "{}: {trouble}; {lost} lines lost so far: make room, or name another file with eve.path",
            self.path.display()
        );
        Some(Degraded { part: "eve".into(), reason, since })
    }
}

impl Drop for EveLog {
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

/// The thread: every event into a line, until nobody can send any more.
fn write_all(mut writer: EveWriter<LogFile>, events: &Receiver<Item>, shared: &Shared) {
    let mut looked = Instant::now();
    loop {
        let outcome = match events.recv_timeout(LOOK) {
            Ok(item) => {
                let written = match item {
                    Item::Alert(alert) => writer.alert(&alert),
                    Item::Flow(flow) => writer.flow(&flow),
                    Item::Event(event) => writer.application(&event),
                };
                let counter = if written.is_ok() { &shared.lines } else { &shared.lost };
                counter.fetch_add(1, Relaxed);
                written
            }
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let is_time = looked.elapsed() >= LOOK;
        let outcome = if is_time { outcome.and(writer.flush()) } else { outcome };
        if is_time || outcome.is_err() {
            looked = Instant::now();
            tell(shared, writer.get_mut().look_after().and(outcome));
            shared.rotations.store(writer.get_ref().rotations, Relaxed);
            if shared.trouble.lock().is_ok_and(|trouble| trouble.is_some()) && !shared.stop.load(Relaxed) {
                // A pause before the next try, not a wait for anybody: what comes meanwhile waits in the queue.
                std::thread::sleep(LOOK);
            }
        }
    }
    tell(shared, writer.flush());
}

fn tell(shared: &Shared, outcome: io::Result<()>) {
    if let Ok(mut trouble) = shared.trouble.lock() {
        *trouble = outcome.err().map(|error| error.to_string());
    }
}

/// A file that gives way to a new one when it is large, and is opened anew when somebody moved it.
struct LogFile {
    settings: LogSettings,
    out: BufWriter<File>,
    identity: (u64, u64),
    bytes: u64,
    rotations: u64,
}

fn open(path: &Path) -> io::Result<(File, (u64, u64), u64)> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let data = file.metadata()?;
    Ok((file, (data.dev(), data.ino()), data.len()))
}

impl LogFile {
    fn open(settings: LogSettings) -> io::Result<LogFile> {
        let (file, identity, bytes) = open(&settings.path)?;
        Ok(LogFile { settings, out: BufWriter::with_capacity(1 << 16, file), identity, bytes, rotations: 0 })
    }

    /// Begins a new file where this one is large enough; opens the name anew where it is another file now (a rotation by
    /// others), or none.
    fn look_after(&mut self) -> io::Result<()> {
        let now = std::fs::metadata(&self.settings.path).ok().map(|data| (data.dev(), data.ino()));
        if now == Some(self.identity) && self.bytes >= self.settings.rotate_bytes && self.is_regular() {
            self.out.flush()?;
            self.shift()?;
            self.rotations += 1;
            return self.reopen();
        }
        if now == Some(self.identity) { Ok(()) } else { self.reopen() }
    }

    /// A device or pipe has no size and no elders.
    fn is_regular(&self) -> bool {
        self.out.get_ref().metadata().is_ok_and(|data| data.is_file())
    }

    /// `NAME` to `NAME.1`, that to `NAME.2`, and so on; the oldest goes.
    fn shift(&self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.settings.path.as_os_str().to_owned();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if self.settings.keep == 0 {
            return std::fs::remove_file(&self.settings.path);
        }
        for number in (1..self.settings.keep).rev() {
            match std::fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(&self.settings.path, numbered(1))
    }

    fn reopen(&mut self) -> io::Result<()> {
        let (file, identity, bytes) = open(&self.settings.path)?;
        self.out.flush()?;
        (self.out, self.identity, self.bytes) = (BufWriter::with_capacity(1 << 16, file), identity, bytes);
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::decode::FlowKey;
    use crate::dataplane::flow::TcpState;

    fn flow(number: u16) -> FlowSummary {
        let (key, originator) = FlowKey::v4(0x0a00_0001, 1024 + number, 0x0a00_0002, 443, 6, 0);
        FlowSummary {
            key,
            originator,
            first_seen: Timestamp(1),
            last_seen: Timestamp(2),
            packets: [1, 1],
            bytes: [60, 60],
            tcp_flags: [2, 18],
            score: -1.0,
            application: Default::default(),
            state: TcpState::Closed,
            ended: None,
            ..FlowSummary::default()
        }
    }

    fn lines(path: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with('\n'), "whole lines");
        text.lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).expect("JSON")["src_port"].as_u64().expect("a port")
            })
            .collect()
    }

    #[test]
    fn what_was_sent_is_written_and_a_second_start_adds_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = LogSettings { path: folder.path().join("eve.json"), rotate_bytes: 1 << 30, keep: 2 };
        for start in [0, 500] {
            let log = EveLog::start(settings.clone(), None).expect("a file");
            (start..start + 500).for_each(|number| log.flow(flow(number)));
        }
        assert_eq!(lines(&settings.path), (1024..2024).collect::<Vec<u64>>());
    }

    #[test]
    fn a_large_file_gives_way_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = LogSettings { path: folder.path().join("eve.json"), rotate_bytes: 1000, keep: 2 };
        let mut writer = EveWriter::new(LogFile::open(settings.clone()).expect("a file"), None);
        for round in 0..5_u16 {
            (0..10).for_each(|number| writer.flow(&flow(round * 10 + number)).expect("written"));
            writer.flush().expect("flushed");
            writer.get_mut().look_after().expect("rotated");
        }
        assert!(lines(&settings.path).is_empty(), "a new file has begun");
        for (name, round) in [("eve.json.1", 4_u64), ("eve.json.2", 3)] {
            let wanted: Vec<u64> = (0..10).map(|number| 1024 + round * 10 + number).collect();
            assert_eq!(lines(&folder.path().join(name)), wanted, "{name}");
        }
        assert!(!folder.path().join("eve.json.3").exists());
    }

    #[test]
    fn a_file_that_others_moved_is_left_to_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = LogSettings { path: folder.path().join("eve.json"), rotate_bytes: 1 << 30, keep: 2 };
        let mut writer = EveWriter::new(LogFile::open(settings.clone()).expect("a file"), None);
        writer.flow(&flow(1)).expect("written");
        let moved = folder.path().join("moved");
        std::fs::rename(&settings.path, &moved).expect("moved");
        writer.get_mut().look_after().expect("opened anew");
        writer.flow(&flow(2)).expect("written");
        writer.flush().expect("flushed");
        assert_eq!((lines(&moved), lines(&settings.path)), (vec![1025], vec![1026]));
    }

    #[test]
    fn a_full_disk_is_told_and_costs_lines_only() {
        let settings = LogSettings { path: "/dev/full".into(), rotate_bytes: 1 << 30, keep: 2 };
        let log = EveLog::start(settings, None).expect("a device");
        log.flow(flow(1));
        let told = loop {
            if let Some(degraded) = log.degraded(Timestamp(7)) {
                break degraded;
            }
            std::thread::yield_now();
        };
        assert!(told.reason.contains("/dev/full") && told.reason.contains("eve.path"), "{}", told.reason);
        assert_eq!(log.degraded(Timestamp(9)).map(|degraded| degraded.since), Some(Timestamp(7)));
    }
}
