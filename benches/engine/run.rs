//! One case in one process: warm up, then drive the worker engine over so many packets.

use crate::flows;
use crate::traffic::{self, FRAME_BYTES, SyntheticSource};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use shrike::clock::Clock;
use shrike::dataplane::capture::Source;
use shrike::dataplane::capture::pcap::{PcapSource, Speed};
use shrike::dataplane::features::COUNT;
use shrike::dataplane::flow;
use shrike::dataplane::score::{BATCH_MAX, Model, ScoreError, Scorer, Scores, Settings as ModelSettings};
use shrike::dataplane::worker::{
    Engine, EngineParts, EngineSettings, HandoverInbox, Queue, QueueSnapshot, RxSettings, ScoreSettings, Turn,
};
use shrike::exchange::{Full, Received, Up, UpReceiver, snapshot_ring, up_ring};
use shrike::metrics::{Counter, CounterBlock, CounterMemory};
use shrike::units::{QueueId, Timestamp};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Set: a run has two measured stretches, says [`WARM`] before either, and goes on with a line on standard input.
pub const WAIT: &str = "SHRIKE_BENCH_WAIT";
/// See [`WAIT`].
pub const WARM: &str = "warm";

/// Ends the name of a kind of flow whose inspection is off.
pub const UNINSPECTED: &str = "/uninspected";
/// End the name of a case of which more and more goes up to the control plane: events, ended flows too, their shapes too.
pub const EXPORTS: [&str; 3] = ["+events", "+flows", "+shapes"];

/// Which scorer a run has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scoring {
    /// The model, in calls of so many rows.
    Model(u32),
    /// Rows are made and thrown away: everything but the call of the model.
    Discard,
    /// No rows.
    Off,
}

/// What one run saw; the measured part only, but for `flows`. Of lines: `packets` are lines.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub packets: u64,
    /// In the table at the end.
    pub flows: u64,
    pub frame_bytes: f64,
    pub nanoseconds: f64,
    pub scored: u64,
    pub microbatches: u64,
    pub flows_begun: u64,
    pub flows_ended: u64,
    /// Events and anomalies of inspection.
    pub events: u64,
    /// Of lines that go into a file: what handing them over took.
    pub handed_ns: f64,
}

/// The model's session from the moment it is wanted: while a run warms up its rows are thrown away, which under valgrind
/// saves most of the time.
struct Late {
    model: Box<dyn Scorer>,
    wanted: Arc<AtomicBool>,
}

impl Scorer for Late {
    fn score(&mut self, rows: &[f32], scores: &mut Scores) -> Result<(), ScoreError> {
        if self.wanted.load(Relaxed) { self.model.score(rows, scores) } else { Discard.score(rows, scores) }
    }
}

/// A scorer that costs nothing.
struct Discard;

impl Scorer for Discard {
    fn score(&mut self, rows: &[f32], scores: &mut Scores) -> Result<(), ScoreError> {
        scores.attacks((0..rows.len() / COUNT).map(|_| 0.0));
        Ok(())
    }
}

/// What is measured, and with which engine.
#[derive(Clone, Copy)]
struct Stretch {
    packets: u64,
    scoring: Scoring,
    settings: EngineSettings,
}

/// What the ends of a case's name switch.
fn settings(case: &str) -> (&str, EngineSettings) {
    let mut settings = EngineSettings { shapes: 0, ..EngineSettings::default() };
    let mut name = case;
    for (level, end) in EXPORTS.iter().enumerate() {
        let Some(rest) = case.strip_suffix(end) else { continue };
        (name, settings.export_events, settings.export_flows) = (rest, true, level > 0);
        settings.shapes = if level > 1 { EngineSettings::default().shapes } else { 0 };
    }
    if let Some(rest) = name.strip_suffix(UNINSPECTED) {
        (name, settings.inspect.flows) = (rest, 0);
    }
    (name, settings)
}

/// Runs `case` over `packets` packets after its warm-up.
pub fn run(case: &str, packets: u64, scoring: Scoring, data: &Path) -> anyhow::Result<Outcome> {
    let million = 1_000_000;
    let (case, mut settings) = settings(case);
    if matches!(scoring, Scoring::Model(_)) {
        // As where a model runs.
        settings.shapes = EngineSettings::default().shapes;
    }
    let stretch = Stretch { packets, scoring, settings };
    let uniform = |flows| synthetic(traffic::uniform(flows), flows, 100_000, stretch);
    // Until half-open flows end as fast as they begin (unanswered for 5 s: 1.25 million packets).
    let settled = 1_400_000;
    match case {
        "uniform_1k_64" => uniform(1_000),
        "uniform_100k_64" => uniform(100_000),
        "uniform_1m_64" => uniform(million),
        "uniform_10m_64" => uniform(10 * million),
        "zipf_1m_64" => synthetic(traffic::zipf(million, 1.1, 2 * million, 50), million, settled, stretch),
        "new_flows_64" => synthetic(traffic::flood(), million, settled, stretch),
        "replay_64" => {
            // From a file, as `shrike replay` with one worker reads it; on the page cache, so of reader and engine.
            let flows = 100_000;
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
            let path = folder.join(format!("replay-{}.pcap", std::process::id()));
            let zipf = traffic::zipf(flows, 1.1, 1 << 20, 50);
            let warm = zipf.preludes();
            let outcome = traffic::write_pcap(zipf, warm + 2 * packets + 1024, &path).and_then(|()| {
                let source = PcapSource::open(std::slice::from_ref(&path), Speed::Max)?;
                drive(source, 1 << 18, warm, FRAME_BYTES as f64 + 4.0, stretch)
            });
            std::fs::remove_file(&path)?;
            outcome
        }
        "benign" | "attack" => {
            let frames = traffic::captures(&data.join(case))?;
            anyhow::ensure!(!frames.is_empty(), "no frames below {}", data.join(case).display());
            let lap = frames.len() as u64;
            let frame_bytes = frames.wire_bytes() as f64 / lap as f64;
            let source = frames.into_source(lap + 2 * packets + 1024, Timestamp(1_700_000_000_000_000_000), 1_000_000);
            drive(source, 1 << 18, lap, frame_bytes, stretch)
        }
        kind => {
            let warm = packets / 2;
            // Each stretch may go over its end by a burst.
            let source = flows::flows(kind, warm + 2 * packets + 1024)?;
            let frames = source.each() as u64;
            let outcome = drive(source, 1 << 18, warm, 0.0, stretch)?;
            Ok(Outcome { flows: outcome.packets / frames, ..outcome })
        }
    }
}

/// Warm-up: the preludes, and so many packets after them.
fn synthetic(mut source: SyntheticSource, flows: usize, settle: u64, stretch: Stretch) -> anyhow::Result<Outcome> {
    let capacity = (flows + flows / 4 + (1 << 17)) as u32;
    let warm = source.preludes() + settle;
    // Each stretch may go over its end by a burst.
    source.allow(warm + 2 * stretch.packets + 1024);
    drive(source, capacity, warm, FRAME_BYTES as f64 + 4.0, stretch)
}

fn drive<S: Source>(
    source: S,
    capacity: u32,
    warm: u64,
    frame_bytes: f64,
    stretch: Stretch,
) -> anyhow::Result<Outcome> {
    let Stretch { packets, scoring, settings } = stretch;
    let (mut engine, mut receiver, cells, wanted) = engine(source, capacity, scoring, settings)?;
    pass(&mut engine, &mut receiver, warm);
    wanted.store(true, Relaxed);
    if std::env::var_os(WAIT).is_some() {
        await_counter()?;
        measured(&mut engine, &mut receiver, packets);
        await_counter()?;
    }
    let before = Counts::read(&cells);
    let begin = Instant::now();
    let done = measured(&mut engine, &mut receiver, packets);
    let nanoseconds = begin.elapsed().as_nanos() as f64;
    let after = Counts::read(&cells);
    Ok(Outcome {
        packets: done,
        flows: after.begun - after.ended,
        frame_bytes,
        nanoseconds,
        scored: after.scored - before.scored,
        microbatches: after.microbatches - before.microbatches,
        flows_begun: after.begun - before.begun,
        flows_ended: after.ended - before.ended,
        events: after.events - before.events,
        handed_ns: 0.0,
    })
}

/// An engine with its ends: the ring up, its counters, and what says that the model is wanted.
type Driven<S> = (Engine<S>, UpReceiver, Arc<dyn CounterMemory>, Arc<AtomicBool>);

fn engine<S: Source>(
    source: S,
    capacity: u32,
    scoring: Scoring,
    settings: EngineSettings,
) -> anyhow::Result<Driven<S>> {
    let (up, receiver) = up_ring(1 << 14, Full::Count);
    let (snapshots, _) = snapshot_ring::<QueueSnapshot>(Box::default());
    let counters = CounterBlock::in_memory();
    let cells = counters.memory();
    let wanted = Arc::new(AtomicBool::new(false));
    let target = if let Scoring::Model(rows) = scoring { rows } else { BATCH_MAX as u32 };
    let settings = EngineSettings {
        flow: flow::Settings { capacity, ..flow::Settings::default() },
        rx: RxSettings { fixed: Some(128), ..RxSettings::default() },
        // Calls by size only, so that how slow the machine is (valgrind) does not change what is counted. At line rate the
        // wait of 500 us fills any batch.
        score: ScoreSettings { fixed: Some(target), maximum: target, wait_ns: u64::MAX, ..ScoreSettings::default() },
        ..settings
    };
    let parts = EngineParts {
        id: QueueId(0),
        counters,
        up,
        snapshots,
        scorer: scorer(scoring, &wanted)?,
        peers: Vec::new(),
        place: 0,
        inbox: HandoverInbox::new(Vec::new()),
        secret: [11, 12, 13, 14],
        clock: Clock::new(),
    };
    Ok((Engine::new(source, settings, parts), receiver, cells, wanted))
}

/// What a queue tells of `flows` flows of a kind, without watermarks.
pub fn told(kind: &str, flows: u64) -> anyhow::Result<Vec<(Up, Box<[u8]>)>> {
    let packets = flows * flows::flows(kind, 0)?.each() as u64;
    let settings = EngineSettings { export_events: true, export_flows: true, ..EngineSettings::default() };
    let (mut engine, mut receiver, ..) = engine(flows::flows(kind, packets)?, 1 << 18, Scoring::Off, settings)?;
    let mut told = Vec::new();
    let mut take = |receiver: &mut UpReceiver| {
        let mut keep = |received: Received<'_>| {
            if matches!(received.item, Up::Event(_) | Up::Flow(_)) {
                told.push((*received.item, received.facts.into()));
            }
        };
        while receiver.receive(&mut keep).is_some() {}
    };
    while engine.turn().frames > 0 {
        take(&mut receiver);
    }
    engine.finish();
    take(&mut receiver);
    Ok(told)
}

pub fn await_counter() -> anyhow::Result<()> {
    println!("{WARM}");
    std::io::stdin().read_line(&mut String::new()).context("wait to be counted")?;
    Ok(())
}

/// [`pass`] under another name, for `valgrind --tool=callgrind --toggle-collect='*measured*'`.
#[inline(never)]
fn measured<Q: Queue>(engine: &mut Q, receiver: &mut UpReceiver, packets: u64) -> u64 {
    pass(engine, receiver, packets)
}

/// Turns until `packets` packets have been taken.
#[inline(never)]
fn pass<Q: Queue>(engine: &mut Q, receiver: &mut UpReceiver, packets: u64) -> u64 {
    let mut done = 0;
    while done < packets {
        let turn = worker_turn(engine);
        if turn.frames == 0 {
            break;
        }
        done += turn.frames as u64;
        // The control plane's end, so that the ring never fills.
        while receiver.receive(|received| std::hint::black_box(matches!(received.item, Up::Watermark(..)))).is_some() {}
    }
    done
}

/// The worker's part of [`pass`] under a name of its own, to be counted without the control plane's end of the ring.
#[inline(never)]
fn worker_turn<Q: Queue>(engine: &mut Q) -> Turn {
    engine.turn()
}

fn scorer(scoring: Scoring, wanted: &Arc<AtomicBool>) -> anyhow::Result<Option<Box<dyn Scorer>>> {
    Ok(match scoring {
        Scoring::Off => None,
        Scoring::Discard => Some(Box::new(Discard)),
        Scoring::Model(_) => {
            let model = Model::load(&ModelSettings::default()).context("load the model")?;
            Some(Box::new(Late { model: Box::new(model.scorer()?), wanted: Arc::clone(wanted) }))
        }
    })
}

struct Counts {
    scored: u64,
    microbatches: u64,
    begun: u64,
    ended: u64,
    events: u64,
}

impl Counts {
    fn read(cells: &Arc<dyn CounterMemory>) -> Counts {
        let cell = |counter: Counter| cells.cells()[counter as usize].load(Relaxed);
        Counts {
            scored: cell(Counter::RowsScored),
            microbatches: cell(Counter::Microbatches),
            begun: cell(Counter::FlowsCreated),
            events: cell(Counter::InspectEvents) + cell(Counter::InspectAnomalies),
            ended: cell(Counter::FlowsEnded)
                + cell(Counter::FlowsEvictedHalfOpen)
                + cell(Counter::FlowsEvictedEstablished),
        }
    }
}
