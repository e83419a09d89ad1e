//! The demo without a lab: the same programs' traffic, recorded at the lab's tap by `shrike demo --record`, through the same
//! workers, deciders, store and API, in its own time, judged by the same rules.
//!
//! The recording's time stamps are moved to now, so that what the page shows as a time is one, and packet-to-alert times
//! mean what they mean live. Nothing else of it is touched.

use super::Watched;
use super::error::DemoError;
use super::program::wait_until;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::control::http;
use crate::control::store::{self, Store};
use crate::control::supervisor::{Capture, QueueParts, Settings, Supervisor, live};
use crate::control::view::{Amount, CaptureMode, Degraded, Equation, Metric, ModelStatus, QueueStatus};
use crate::dataplane::capture::pcap::{Limits, PcapSource, Reader, Report, Speed};
use crate::dataplane::score::{Model, Scorer};
use crate::dataplane::worker::{Engine, EngineParts, HandoverInbox};
use crate::exchange::{Full, snapshot_ring, up_ring};
use crate::metrics::{COUNTERS, Counter, CounterBlock};
use crate::sys::affinity;
use crate::units::{QueueId, SECOND, Timestamp};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What the lab's tap saw (pcap, zstd); made by `shrike demo --record`.
static RECORDING: &[u8] = include_bytes!("lab.pcap.zst");
/// Length of a recording: the schedule of the attacks and the flood's end.
pub const RECORD_LENGTH: Duration = Duration::from_secs(26);
/// Items of the queue on their way up.
const UP_CAPACITY: usize = 1 << 14;
/// After the last frame: how long the last alerts are given to be stored.
const SETTLE_WAIT: Duration = Duration::from_secs(10);

/// Plays the recorded capture in its own time and leaves the judgement in `watched`. On a terminal the page stays until
/// Ctrl-C; `length` ends it earlier.
///
/// # Errors
/// The capture cannot be read or the program that plays it does not come up.
pub fn show(watched: &mut Watched, length: Option<Duration>, interrupted: &AtomicBool) -> Result<(), DemoError> {
    let fail = |what: &str, error: String| DemoError::Recording(format!("{what}: {error}"));
    let folder = Folder::make()?;
    let file = folder.0.join("lab.pcap");
    let clock = Clock::new();
    let plan = config::load(None, std::env::vars()).map_err(|error| fail("configuration", error.to_string()))?;
    let (model, model_status, mut notes) = model(&plan);
    notes.push("a recorded capture in its own time: no interface is involved".to_owned());
    let store = store::Settings { clock: Some(clock.clone()), ..store::Settings::at(folder.0.join("alerts.db")) };
    let store = Store::open(store).map_err(|error| fail("alert store", error.to_string()))?;
    // The recording's time begins here, for its stamps and for its pace: what is still to be made before the first frame
    // is read is caught up on, and is no packet's latency.
    let (recording, start) = (unpacked()?, Instant::now());
    std::fs::write(&file, moved_to(recording, clock.now())?).map_err(DemoError::file(&file))?;
    let (queue, capture) = queue(&file, start, &plan, model.as_ref(), &clock)?;
    let settings = Settings {
        mode: "demo".into(),
        cores: affinity::allowed_cores().last().map_or(vec![0], |core| vec![*core]),
        pin: false,
        scale: false,
        minimum: 1,
        spin_turns: plan.workers.spin_turns,
        rx: plan.engine.rx,
        score: plan.engine.score,
        detect: plan.detect,
        model: model_status,
        notes,
        degraded: Vec::new(),
    };
    let supervisor = Supervisor::start(settings, vec![queue], Box::new(capture), store.clone(), clock);
    let mut supervisor = supervisor.map_err(|error| fail("workers", error.to_string()))?;
    if let Some(model) = &model {
        supervisor.explain_with(model.explainer().map_err(|error| fail("model", error.to_string()))?);
    }
    let listen = |port| http::Settings { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ..Default::default() };
    let server = http::serve(listen(super::live::PORT), store.clone(), supervisor.picture())
        .or_else(|_| http::serve(listen(0), store.clone(), supervisor.picture()))
        .map_err(|error| fail("HTTP", error.to_string()))?;
    let page = watched.open(server.addr())?;
    watched.screen.say(&format!("showing a recorded capture of the same programs; the live page is {page}"));

    let stop = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        let player = scope.spawn(|| supervisor.run(|| stop.load(Relaxed)));
        let begin = Instant::now();
        let over = |watched: &Watched| {
            let time_is_up = length.is_some_and(|length| begin.elapsed() >= length);
            let ended = player.is_finished() && !(length.is_none() && watched.screen.is_terminal());
            interrupted.load(Relaxed) || time_is_up || ended
        };
        let mut outcome = Ok(());
        while outcome.is_ok() && !over(watched) {
            outcome = watched.look(None);
            super::live::pause(super::live::LOOK_EVERY, interrupted);
        }
        stop.store(true, Relaxed);
        // A panic of the player shows as an equation that does not close; the scope passes it on besides.
        wait_until(SETTLE_WAIT, || player.is_finished());
        store.flush(SETTLE_WAIT);
        outcome.and_then(|()| watched.look(None))
    });
    outcome?;
    watched.fetch_page();
    server.stop();
    Ok(())
}

fn model(plan: &Config) -> (Option<Model>, Option<ModelStatus>, Vec<String>) {
    match crate::cli::run::load_model(plan) {
        Ok((model, status)) => (model, status, Vec::new()),
        Err(failure) => (None, None, vec![format!("no model: {}", super::words(&failure))]),
    }
}

fn queue(
    file: &Path,
    start: Instant,
    plan: &Config,
    model: Option<&Model>,
    clock: &Clock,
) -> Result<(QueueParts, Playback), DemoError> {
    let fail = |error: String| DemoError::Recording(error);
    let reader = Reader::open(&[file.to_owned()], Limits::default()).map_err(|error| fail(error.to_string()))?;
    let report = reader.report();
    let (up_sender, up) = up_ring(UP_CAPACITY, Full::Wait);
    let (snapshot_sender, snapshots) = snapshot_ring(Box::default());
    let counters = CounterBlock::in_memory();
    let scorer = match model {
        Some(model) => Some(Box::new(model.scorer().map_err(|error| fail(error.to_string()))?) as Box<dyn Scorer>),
        None => None,
    };
    let mut engine = crate::cli::run::engine(plan, model);
    engine.run_out = true;
    let id = QueueId(0);
    let memory = counters.memory();
    let engine = Engine::new(
        PcapSource::new(reader, Speed::Original).since(start),
        engine,
        EngineParts {
            id,
            counters,
            up: up_sender,
            snapshots: snapshot_sender,
            scorer,
            peers: Vec::new(),
            place: 0,
            inbox: HandoverInbox::new(Vec::new()),
            secret: live::secret().map_err(|error| fail(error.to_string()))?,
            clock: clock.clone(),
        },
    );
    let parts = QueueParts {
        id,
        name: "recording:0".into(),
        interface: "recording".into(),
        counters: memory,
        up,
        snapshots,
        handover: Vec::new(),
        engine: Box::new(engine),
    };
    Ok((parts, Playback { report }))
}

/// The recording as the supervisor sees a source.
struct Playback {
    report: Arc<Report>,
}

impl Capture for Playback {
    fn status(&self, queue: QueueId) -> Option<QueueStatus> {
        Some(QueueStatus {
            id: queue,
            interface: "recording".into(),
            namespace: None,
            nic_queue: 0,
            mode: CaptureMode::File,
            requested: "file".into(),
            huge_pages: false,
            busy_poll: false,
            symmetry: "single".into(),
        })
    }

    fn equations(&self, counters: &BTreeMap<QueueId, [u64; COUNTERS.len()]>) -> Vec<Equation> {
        let equation = |(id, values): (&QueueId, &[u64; COUNTERS.len()])| {
            // The worker's count was read before the reader's, which runs ahead of it while the capture plays.
            let left = vec![Amount::new("frames_read", self.report.packets(), "Frames that the reader gave out.")];
            let received = values[Counter::FramesReceived as usize];
            let right = vec![Amount::new("frames_received", received, Counter::FramesReceived.help())];
            Equation::new("file", None, Some(*id), "rx", left, right)
        };
        counters.iter().map(equation).collect()
    }

    fn drops(&self) -> Vec<Amount> {
        Vec::new()
    }

    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }

    fn degraded(&self, _now: Timestamp) -> Vec<Degraded> {
        Vec::new()
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    fn poll(&mut self, _now: Timestamp) {}

    fn stop(&mut self) {}
}

/// A directory of our own, gone with the value.
struct Folder(std::path::PathBuf);

impl Folder {
    fn make() -> Result<Folder, DemoError> {
        let path = std::env::temp_dir().join(format!("shrike-recorded-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(DemoError::file(&path))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is a few hundred kilobytes in a temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn unpacked() -> Result<Vec<u8>, DemoError> {
    zstd::stream::decode_all(RECORDING).map_err(|error| DemoError::Recording(error.to_string()))
}

/// The same capture with its first frame at `start`. Takes what tcpdump writes here: pcap, little-endian, microseconds.
fn moved_to(mut capture: Vec<u8>, start: Timestamp) -> Result<Vec<u8>, DemoError> {
    const MAGIC: [u8; 4] = 0xa1b2_c3d4_u32.to_le_bytes();
    const FILE_HEADER: usize = 24;
    const RECORD_HEADER: usize = 16;
    if !capture.starts_with(&MAGIC) {
        return Err(DemoError::Recording("no pcap in microseconds".into()));
    }
    let word = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).map_or(0, u64::from);
    let mut at = FILE_HEADER;
    let mut first = None;
    while let Some(header) = capture.get_mut(at..at + RECORD_HEADER) {
        let time = word(&header[0..4]) * SECOND + word(&header[4..8]) * 1_000;
        let first = *first.get_or_insert(time);
        let moved = start.after(time.saturating_sub(first)).0;
        header[0..4].copy_from_slice(&((moved / SECOND) as u32).to_le_bytes());
        header[4..8].copy_from_slice(&((moved % SECOND / 1_000) as u32).to_le_bytes());
        at += RECORD_HEADER + word(&header[8..12]) as usize;
    }
    if at != capture.len() {
        return Err(DemoError::Recording("its last record is cut short".into()));
    }
    Ok(capture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recording_is_whole_and_moves_as_one() {
        let original = unpacked().unwrap();
        let start = Timestamp(1_900_000_000 * SECOND + 250_000);
        let moved = moved_to(original.clone(), start).unwrap();
        assert_eq!(moved.len(), original.len());
        assert_eq!(moved[24..28], 1_900_000_000_u32.to_le_bytes());
        assert_eq!(moved[28..32], 250_u32.to_le_bytes());
        // The first frame's lengths and bytes are as they were.
        let captured = u32::from_le_bytes(original[32..36].try_into().unwrap()) as usize;
        assert_eq!(moved[32..40 + captured], original[32..40 + captured]);
        assert!(moved_to(original[..original.len() - 1].to_vec(), start).is_err());
        assert!(moved_to(vec![0; 24], start).is_err());
    }
}
