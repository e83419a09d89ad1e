//! Feature rows of capture files as CSV: `feature-rows CAPTURE... > rows.csv`, or `feature-rows --schema`.
//!
//! Every row that a worker would hand to the model, made by the worker's own engine, so that training and scoring see
//! the same numbers: the engine runs with a scorer that gives every row a score above the threshold, and what comes up
//! is written down. The columns before the features say which flow it was; labels are joined by them.

use anyhow::{Context, Result, bail};
use shrike::clock::Clock;
use shrike::dataplane::capture::pcap::{PcapSource, Speed};
use shrike::dataplane::detect::ScoredFlow;
use shrike::dataplane::features::{FEATURES, FeatureRow, schema_json};
use shrike::dataplane::score::{ScoreError, Scorer};
use shrike::dataplane::worker::{Engine, EngineParts, EngineSettings, HandoverInbox, Queue};
use shrike::exchange::{Full, Up, snapshot_ring, up_ring};
use shrike::metrics::CounterBlock;
use shrike::units::QueueId;
use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// Reports every row.
struct Everything;

impl Scorer for Everything {
    fn score(&mut self, _rows: &[FeatureRow], scores: &mut [f32]) -> Result<(), ScoreError> {
        scores.fill(1.0);
        Ok(())
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => bail!("usage: feature-rows CAPTURE... > rows.csv, or feature-rows --schema"),
        [only] if only == "--schema" => {
            println!("{}", schema_json());
            Ok(())
        }
        files => write_rows(&files.iter().map(PathBuf::from).collect::<Vec<_>>()),
    }
}

fn write_rows(files: &[PathBuf]) -> Result<()> {
    let source = PcapSource::open(files, Speed::Max).context("open the captures")?;
    let (up, mut receiver) = up_ring(1 << 14, Full::Wait);
    let (snapshots, _keep) = snapshot_ring(Default::default());
    let settings = EngineSettings { threshold: 0.5, ..EngineSettings::default() };
    let parts = EngineParts {
        id: QueueId(0),
        counters: CounterBlock::in_memory(),
        up,
        snapshots,
        scorer: Some(Box::new(Everything)),
        peers: Vec::new(),
        place: 0,
        inbox: HandoverInbox::new(Vec::new()),
        secret: [1, 2, 3, 4],
        clock: Clock::new(),
    };
    let worker = std::thread::spawn(move || {
        let mut engine = Engine::new(source, settings, parts);
        while !engine.turn().ended {}
    });
    let mut out = BufWriter::new(std::io::stdout().lock());
    write!(out, "time_ns,source,source_port,destination,destination_port,protocol,packets")?;
    for feature in &FEATURES {
        write!(out, ",{}", feature.name)?;
    }
    writeln!(out)?;
    let mut line = String::new();
    loop {
        match receiver.receive() {
            Some(Up::Score(flow)) => {
                line.clear();
                format_row(&mut line, &flow)?;
                out.write_all(line.as_bytes())?;
            }
            Some(Up::Ended(_)) => break,
            Some(_) => {}
            None if receiver.is_abandoned() && receiver.waiting() == 0 => bail!("the engine ended early"),
            None => std::thread::yield_now(),
        }
    }
    out.flush()?;
    drop(receiver);
    worker.join().ok().context("the engine failed")
}

fn format_row(line: &mut String, flow: &ScoredFlow) -> Result<()> {
    let (source, destination) = flow.key.endpoints(flow.originator);
    write!(
        line,
        "{},{},{},{},{},{},{}",
        flow.time.0,
        source.ip(),
        source.port,
        destination.ip(),
        destination.port,
        flow.key.protocol(),
        flow.packets
    )?;
    for value in flow.row {
        write!(line, ",{value}")?;
    }
    line.push('\n');
    Ok(())
}
