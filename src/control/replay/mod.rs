//! Capture files through the same engines, pipeline and deciders as live traffic, as fast as they go or at their own pace.
//!
//! Offline may wait: a full ring up makes its worker yield, so the alerts depend on the capture alone. The split between
//! workers is the one that queues use among themselves ([`crate::dataplane::decode::FlowKey::owner`]).

use super::supervisor::Pipeline;
use crate::clock::Clock;
use crate::control::alert::Alert;
use crate::control::behaviour::intel::Tables;
use crate::control::export::AppEvent;
use crate::control::hosts::{self, Scores};
use crate::control::inventory::network::Network;
use crate::control::view::StageTotals;
use crate::control::windows::stage::{Models, Stage};
use crate::dataplane::capture::pcap::{Limits, PcapSource, Reader, Report, Route, Speed, split};
use crate::dataplane::capture::{FrameView, Source};
use crate::dataplane::decode::{
    Decoded, FragmentTable, Layers, Neighbour, Packet, decode_plain, decode_rest, quoted_flow,
};
use crate::dataplane::detect::{Detector, Evidence, ScoredFlow};
use crate::dataplane::features::COUNT;
use crate::dataplane::score::{self, Model, ScoreError, Scorer, Thresholds};
use crate::dataplane::worker::{
    Command, Engine, EngineParts, EngineSettings, HandoverInbox, Queue, QueueSnapshot, Why, WorkerHandle,
    WorkerSettings,
};
use crate::exchange::{FlowSummary, Full, SnapshotReceiver, Up, UpReceiver, snapshot_ring, up_ring};
use crate::metrics::{COUNTERS, Counter, CounterBlock, CounterMemory, Role, UNREAD, read_counters};
use crate::units::{QueueId, Timestamp, WorkerId};
use anyhow::Context;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// What to replay, and how.
pub struct Settings<'a> {
    /// The files in their order; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Worker threads.
    pub workers: usize,
    /// As fast as it goes, or at the capture's own pace.
    pub speed: Speed,
    /// Every queue's engine.
    pub engine: EngineSettings,
    /// Detectors.
    pub detect: hosts::Settings,
    /// Networks that are at home.
    pub home: Vec<Network>,
    /// Lists of others.
    pub feeds: Option<Arc<ArcSwap<Tables>>>,
    /// The model; `None`: replay without.
    pub model: Option<&'a Model>,
    /// Models of windows; with some [`EngineSettings::export_flows`] is needed.
    pub windows: Option<&'a Models>,
    /// Give every feature row to [`Sink::row`] instead of scoring it.
    pub rows: bool,
    /// Keys of the hashes; `None`: the fixed ones of every replay.
    pub secret: Option<[u64; 4]>,
    /// Raised by somebody who wants it to end early: what was read until then is finished as at the end of a capture.
    pub stop: Option<&'a Arc<AtomicBool>>,
}

/// Receives what a replay finds, in an order that does not depend on the number of workers (alerts) or does (flows, rows).
pub trait Sink {
    /// An alert.
    fn alert(&mut self, alert: &Alert) -> anyhow::Result<()>;
    /// Does it take repeats? They are copied for it.
    fn wants_repeats(&self) -> bool {
        false
    }
    /// Evidence that made no alert because one of the same affair stands; only with [`Sink::wants_repeats`].
    fn repeat(&mut self, _evidence: &Evidence) {}
    /// A flow ended; only with [`EngineSettings::export_flows`], answered ones also with [`EngineSettings::export_events`].
    fn flow(&mut self, _flow: &FlowSummary) -> anyhow::Result<()> {
        Ok(())
    }
    /// Does it take events? They are copied for it.
    fn wants_events(&self) -> bool {
        true
    }
    /// Inspection found something; only with [`EngineSettings::export_events`].
    fn event(&mut self, _event: AppEvent) -> anyhow::Result<()> {
        Ok(())
    }
    /// A host on the link said that it has an address; only with [`EngineSettings::export_events`].
    fn neighbour(&mut self, _time: Timestamp, _neighbour: &Neighbour) -> anyhow::Result<()> {
        Ok(())
    }
    /// A feature row was due; only with [`Settings::rows`].
    fn row(&mut self, _row: &ScoredFlow) -> anyhow::Result<()> {
        Ok(())
    }
    /// Flows that end before this moment of capture time have all been told.
    fn reached(&mut self, _time: Timestamp) -> anyhow::Result<()> {
        Ok(())
    }
    /// About ten times a second, with the reader's account.
    fn progress(&mut self, _report: &Report) {}
}

/// What a replay came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The reader's own account.
    pub report: Arc<Report>,
    /// Every counter, summed over the queues.
    pub counters: [u64; COUNTERS.len()],
    /// Alerts by detector.
    pub alerts: BTreeMap<Detector, u64>,
    /// Wall time from the first read on, seconds; opening files and building tables and model sessions come before.
    pub seconds: f64,
    /// Latency by stage.
    pub latency: StageTotals,
    /// Latest capture time reached.
    pub end: Timestamp,
    /// Packets of each queue.
    pub queues: Vec<u64>,
    /// What the capture was too short to learn, in words.
    pub learning: Option<String>,
}

impl Outcome {
    /// One counter, summed over the queues.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// Drops by cause.
    pub fn drops(&self) -> BTreeMap<&'static str, u64> {
        COUNTERS
            .iter()
            .filter(|counter| counter.role() == Role::Drop)
            .map(|counter| (counter.name(), self.count(*counter)))
            .collect()
    }

    /// What was not inspected, by cause.
    pub fn unread(&self) -> BTreeMap<&'static str, u64> {
        UNREAD.iter().map(|counter| (counter.name(), self.count(*counter))).collect()
    }

    /// Read = received = processed + each drop: the reader counts for itself.
    pub fn loss_equation_closed(&self) -> bool {
        let sum = |role| {
            COUNTERS.iter().filter(|counter| counter.role() == role).map(|counter| self.count(*counter)).sum::<u64>()
        };
        sum(Role::Received) == sum(Role::Processed) + sum(Role::Drop)
            && self.report.packets() == self.count(Counter::FramesReceived)
    }
}

/// Keys of the hashes of a replay. Fixed, and alike for all queues: the detectors' bitmaps of all queues are merged, and
/// what they estimate depends on the keys, so the same capture shall meet the same ones. The price: who makes a capture
/// for us to replay can aim at buckets; that costs evictions, which are counted.
const SECRET: [u64; 4] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];

/// Items of one queue on their way up.
const UP_CAPACITY: usize = 1 << 14;

/// The control side of one queue.
struct Lane {
    id: QueueId,
    up: UpReceiver,
    snapshots: SnapshotReceiver<QueueSnapshot>,
    counters: Arc<dyn CounterMemory>,
    ended: bool,
}

/// Replays the files.
///
/// # Errors
/// A file that cannot be opened, a model's session, or the sink's.
pub fn replay(settings: &Settings<'_>, sink: &mut dyn Sink) -> anyhow::Result<Outcome> {
    let reader = Reader::open_until(&settings.files, Limits::default(), settings.stop)?;
    replay_reader(settings, reader, sink)
}

/// As [`replay`], from a reader that is open already.
///
/// # Errors
/// As [`replay`].
pub fn replay_reader(settings: &Settings<'_>, reader: Reader, sink: &mut dyn Sink) -> anyhow::Result<Outcome> {
    let clock = Clock::new();
    let workers = settings.workers.max(1);
    let mut lanes = Vec::new();
    let mut engines: Vec<Box<dyn Queue>> = Vec::new();
    let report = reader.report();
    let mut splitting = None;
    if workers == 1 {
        let source = PcapSource::new(reader, settings.speed);
        engines.push(engine(settings, source, &mut lanes, &clock)?);
    } else {
        let (split, sources) = split(reader, workers, settings.speed, router(workers, settings));
        splitting = Some(split);
        for source in sources {
            engines.push(engine(settings, source, &mut lanes, &clock)?);
        }
    }
    let mut behaviour = settings.detect.behaviour(&settings.home);
    if let Some((behaviour, feeds)) = behaviour.as_mut().zip(settings.feeds.clone()) {
        behaviour.look_up_in(feeds);
    }
    if let Some((behaviour, models)) = behaviour.as_mut().zip(settings.windows) {
        behaviour.judge_windows(Stage::new(settings.detect.windows, models.judges()?));
    }
    let mut pipeline = Pipeline::new(workers, settings.detect, Scores::WithTheirWindow).observing(behaviour);
    if let Some(model) = settings.model {
        pipeline.explain_with(model.explainer()?);
    }
    if sink.wants_repeats() {
        pipeline.keep_repeats();
    }
    // From here on: tables and the model's sessions take their time before the first packet, whatever the capture.
    let begin = clock.now();
    let mut splitter = None;
    if let Some(split) = splitting {
        let reading = std::thread::Builder::new().name("reader".into()).spawn(move || split.run());
        splitter = Some(reading.context("start the reading thread")?);
    }
    let mut handles = Vec::new();
    for (index, engine) in engines.into_iter().enumerate() {
        let mut handle = WorkerHandle::start(WorkerSettings {
            id: WorkerId(index as u16),
            core: None,
            queues_max: 1,
            spin_turns: 256,
            wait_limit: Duration::from_millis(1),
        })
        .context("start a worker")?;
        handle
            .command(Command::Adopt(engine))
            .map_err(|_| anyhow::anyhow!("a fresh worker takes its first command"))?;
        handles.push(handle);
    }
    let mut latency = StageTotals::new();
    let outcome = drain(settings, &mut lanes, &mut handles, &mut pipeline, &mut latency, &report, sink);
    for handle in &mut handles {
        // Stops also after a sink's error; the workers then have nobody to wait for, because the rings are gone.
        let _ = handle.command(Command::Stop(false));
    }
    let counters: Vec<[u64; COUNTERS.len()]> = {
        if outcome.is_err() {
            lanes.clear();
        }
        let panicked = handles.iter_mut().map(WorkerHandle::join).filter(|good| !good).count();
        anyhow::ensure!(panicked == 0, "{panicked} of {workers} workers ended by a panic");
        lanes.iter().map(|lane| read_counters(&*lane.counters)).collect()
    };
    for lane in &mut lanes {
        lane.snapshots.drain(|snapshot| latency.add(&snapshot.histograms));
    }
    let end = outcome?;
    if let Some(splitter) = splitter {
        splitter.join().map_err(|_| anyhow::anyhow!("the reading thread ended by a panic"))?;
    }
    Ok(Outcome {
        report,
        counters: std::array::from_fn(|index| counters.iter().map(|queue| queue[index]).sum()),
        alerts: pipeline.raised().clone(),
        seconds: clock.now().since(begin) as f64 / 1e9,
        latency,
        end,
        learning: pipeline.learning_of_capture(end),
        queues: counters.iter().map(|queue| queue[Counter::FramesReceived as usize]).collect(),
    })
}

/// Takes what the queues send up until all have ended; the latest watermark.
fn drain(
    settings: &Settings<'_>,
    lanes: &mut [Lane],
    handles: &mut [WorkerHandle],
    pipeline: &mut Pipeline,
    latency: &mut StageTotals,
    report: &Report,
    sink: &mut dyn Sink,
) -> anyhow::Result<Timestamp> {
    let (mut end, mut reached) = (Timestamp(0), Timestamp(0));
    let mut idle = 0_u32;
    let mut next_progress = std::time::Instant::now();
    while lanes.iter().any(|lane| !lane.ended) {
        let mut worked = false;
        for lane in lanes.iter_mut() {
            for _ in 0..4096 {
                let (ended, id) = (&mut lane.ended, lane.id);
                let received = lane.up.receive(|received| {
                    match received.item {
                        Up::Flow(flow) => {
                            // A watermark is of the begin of a burst, which may be the whole capture.
                            end = end.max(flow.last_seen);
                            pipeline.flow(flow);
                            sink.flow(flow)?;
                        }
                        Up::Event(head) => {
                            pipeline.event(head, received.facts);
                            if sink.wants_events() {
                                sink.event(AppEvent { head: *head, facts: received.facts.into() })?;
                            }
                        }
                        Up::Neighbour(time, neighbour) => {
                            end = end.max(*time);
                            pipeline.neighbour(*time, neighbour);
                            sink.neighbour(*time, neighbour)?;
                        }
                        Up::Score(row) if settings.rows => sink.row(row)?,
                        item @ Up::Ended(_) => {
                            *ended = true;
                            pipeline.push(id, item);
                        }
                        item => {
                            if let Up::Watermark(_, time) = item {
                                end = end.max(*time);
                            }
                            pipeline.push(id, item);
                            if pipeline.reached() > reached {
                                reached = pipeline.reached();
                                sink.reached(reached)?;
                            }
                        }
                    }
                    anyhow::Ok(())
                });
                let Some(taken) = received else { break };
                taken?;
                worked = true;
                // At once, so that with one worker alerts stand between flows where the capture has them.
                hand_over(pipeline, sink)?;
            }
            lane.snapshots.drain(|snapshot| latency.add(&snapshot.histograms));
            // A worker that panicked never says that it has ended.
            if !lane.ended && !worked && lane.up.is_abandoned() && lane.up.waiting() == 0 {
                anyhow::bail!("the worker of queue {} ended before its capture", lane.id.0);
            }
        }
        for back in handles.iter_mut().filter_map(WorkerHandle::returned) {
            anyhow::ensure!(back.why != Why::Failed, "queue {} panicked before its capture ended", back.queue.id().0);
        }
        if settings.stop.is_some_and(|stop| stop.load(Relaxed)) {
            report.stop();
        }
        if next_progress.elapsed() >= Duration::from_millis(100) {
            next_progress = std::time::Instant::now();
            sink.progress(report);
        }
        idle = if worked { 0 } else { idle + 1 };
        match idle {
            0..=16 => std::thread::yield_now(),
            _ => std::thread::park_timeout(Duration::from_micros(200)),
        }
    }
    pipeline.finish();
    hand_over(pipeline, sink)?;
    sink.progress(report);
    Ok(end)
}

/// Gives the sink what the pipeline has found.
fn hand_over(pipeline: &mut Pipeline, sink: &mut dyn Sink) -> anyhow::Result<()> {
    for alert in pipeline.take_alerts() {
        sink.alert(&alert)?;
    }
    for evidence in pipeline.take_repeats() {
        sink.repeat(&evidence);
    }
    Ok(())
}

/// One engine over its part of the capture.
fn engine<S: Source + 'static>(
    settings: &Settings<'_>,
    source: S,
    lanes: &mut Vec<Lane>,
    clock: &Clock,
) -> anyhow::Result<Box<dyn Queue>> {
    let id = QueueId(lanes.len() as u16); // far fewer than 65 536 workers
    let (up_sender, up) = up_ring(UP_CAPACITY, Full::Wait);
    let (snapshot_sender, snapshots) = snapshot_ring(Box::<QueueSnapshot>::default());
    let counters = CounterBlock::in_memory();
    lanes.push(Lane { id, up, snapshots, counters: counters.memory(), ended: false });
    let scorer: Option<Box<dyn Scorer>> = match settings.model {
        _ if settings.rows => Some(Box::new(NoScore)),
        None => None,
        Some(model) => Some(Box::new(model.scorer()?)),
    };
    let mut engine = settings.engine;
    engine.run_out = true;
    if settings.rows {
        engine.thresholds = Thresholds::all(0.0);
    }
    Ok(Box::new(Engine::new(
        source,
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
            secret: settings.secret.unwrap_or(SECRET),
            clock: clock.clone(),
        },
    )))
}

/// Stands in for a model where rows are exported: everything scores 0 and passes the threshold 0.
struct NoScore;

impl Scorer for NoScore {
    fn score(&mut self, rows: &[f32], scores: &mut score::Scores) -> Result<(), ScoreError> {
        scores.attacks((0..rows.len() / COUNT).map(|_| 0.0));
        Ok(())
    }
}

/// Which queue a frame belongs to: the owner of its flow, fragments with their first fragment, everything else to queue 0.
fn router(queues: usize, settings: &Settings<'_>) -> impl FnMut(FrameView<'_>, Timestamp) -> Route + Send + use<> {
    let [seed, ..] = settings.secret.unwrap_or(SECRET);
    let mut fragments = FragmentTable::new(settings.engine.fragments, seed);
    let (mut packet, mut layers) = (Packet::default(), Layers::new(settings.engine.decode.tunnels));
    move |frame: FrameView<'_>, time: Timestamp| {
        let decoded = match decode_plain(frame, &mut packet) {
            Some(_) => Decoded::Flow,
            None => decode_rest(frame.bytes, frame.wire_bytes, frame.link, &mut packet, &mut layers),
        };
        match decoded {
            Decoded::Flow => {}
            // An unknown later fragment goes where its addresses lead; it is counted there.
            Decoded::FirstFragment | Decoded::LaterFragment => drop(fragments.resolve(decoded, &mut packet, time)),
            Decoded::Arp | Decoded::Other | Decoded::Reject(_) => return Route { owner: 0, note: None },
        }
        let owner = packet.key.owner(queues);
        let note = match packet.key.protocol() {
            1 | 58 => quoted_flow(frame, &packet).map(|(key, _)| key.owner(queues)).filter(|note| *note != owner),
            _ => None,
        };
        Route { owner, note }
    }
}
