//! `shrike train-export`: what the models see of capture files, as tables to train on.
//!
//! The rows are the sensor's own: captures go through the engine as in a replay, and what a model would be given is written
//! instead. One table a schema, with the keys of `models/features/reference.py`, by which labels are joined. Memory is the flow
//! table's and the windows', whatever the length of the captures.

mod tables;

use super::out::say;
use super::{Failure, line, output, progress};
use crate::config;
use crate::control::alert::Alert;
use crate::control::hosts;
use crate::control::replay::{Outcome, Settings, Sink, replay_reader};
use crate::control::windows::{self, Windows};
use crate::dataplane::capture::pcap::{Report, Speed};
use crate::dataplane::detect::ScoredFlow;
use crate::exchange::FlowSummary;
use crate::metrics::Counter;
use crate::units::Timestamp;
use anyhow::Context;
use indicatif::ProgressBar;
use std::path::{Path, PathBuf};
use tables::Tables;

/// Arguments of `shrike train-export`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  shrike train-export monday.pcap tuesday.pcap.zst --out rows    four tables of two days
  shrike train-export office-*.pcap --out rows -c shrike.toml    with flow tables as the sensor has them

The tables, each with its keys in front:
  flows.csv      a flow after 4, 16, 64, ... packets and at its end (moment: early, milestone, end)
  sequences.csv  the first 16 packets with payload of a flow that ended
  hosts.csv      what a host did in a minute
  pairs.csv      what a host did with a service of another in an hour, from four flows on
Times are nanoseconds since 1970; a window's is its beginning, a flow's row's when it was due. What the columns mean:
models/features/README.md. Join labels by addresses, ports, protocol and time.")]
pub struct Arguments {
    /// Capture files (pcap, pcapng; plain, gzip or zstd) in their order; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Folder of the tables, made if it is not there. Tables of an earlier export are replaced when the new ones are whole.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Configuration file: the flow table, time-outs and inspection are taken from it.
    #[arg(short, long)]
    config: Option<PathBuf>,
}

/// Writes the tables and says what they hold.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan =
        config::load(arguments.config.as_deref(), std::env::vars()).map_err(|error| Failure::Usage(error.into()))?;
    let paths = tables::FILES.map(|name| arguments.out.join(name));
    let named: Vec<(&str, &Path)> = paths.iter().map(|path| ("--out", path.as_path())).collect();
    output::refuse_clashes(&arguments.files, &named)?;
    let mut engine = super::run::engine(&plan, None);
    (engine.export_flows, engine.export_events) = (true, false);
    let stop = super::run::stop_flag()?;
    let settings = Settings {
        files: arguments.files.clone(),
        workers: 1,
        speed: Speed::Max,
        engine,
        detect: hosts::Settings { behaviour: false, ..plan.detect },
        home: Vec::new(),
        feeds: None,
        model: None,
        windows: None,
        rows: true,
        secret: None,
        stop: Some(&stop),
    };
    let reader = super::replay::open(&settings.files, &stop)?;
    std::fs::create_dir_all(&arguments.out).with_context(|| {
        format!("make the folder {}; name one with --out that can be made or is there", arguments.out.display())
    })?;
    let mut export = Export {
        tables: Tables::create(&paths)?,
        windows: Windows::new(windows::Settings::default()),
        progress: progress::bar(&arguments.files),
    };
    let outcome = replay_reader(&settings, reader, &mut export)?;
    export.progress.finish_and_clear();
    export.reach(Timestamp(u64::MAX))?;
    for finding in outcome.report.findings().0 {
        tracing::warn!("{finding}");
    }
    warn(&outcome, &export.windows.stats());
    let counts = export.tables.finish()?;
    let [flows, sequences, hosts, pairs] = counts.map(line::grouped);
    say!(
        "{} packets, {} flows: {flows} rows of flows, {sequences} sequences, {hosts} hosts' minutes, {pairs} pairs' hours in {}",
        line::grouped(outcome.count(Counter::FramesReceived)),
        line::grouped(outcome.count(Counter::FlowsCreated)),
        arguments.out.display()
    );
    if !outcome.loss_equation_closed() {
        let reason = "the loss equation does not close: frames were read that no counter accounts for";
        return Err(Failure::Findings(reason.into()));
    }
    if outcome.report.is_stopped() {
        return Err(Failure::Interrupted("interrupted: the tables are whole, and of a part of the capture".into()));
    }
    Ok(())
}

/// Says what makes rows other than the capture would have them.
fn warn(outcome: &Outcome, windows: &windows::Stats) {
    let evicted = outcome.count(Counter::FlowsEvictedHalfOpen) + outcome.count(Counter::FlowsEvictedEstablished);
    let shapes = outcome.count(Counter::InspectShapesFull);
    for (count, what) in [
        (evicted, "flows were cut short for want of room; raise flow.capacity in the configuration"),
        (shapes, "flows gave up what is known of their first packets, for want of room: too many at once with payload"),
        (
            windows.early,
            "rows of windows were given before their end, for want of room: too many hosts or pairs at once",
        ),
        (windows.late, "flows are in no window, because they were told too late; please report this"),
        (outcome.count(Counter::RowsShed), "rows of flows were left out; please report this"),
    ] {
        if count > 0 {
            tracing::warn!("{} {what}", line::grouped(count));
        }
    }
}

/// Where the rows go.
struct Export {
    tables: Tables,
    windows: Windows,
    progress: ProgressBar,
}

impl Export {
    fn reach(&mut self, time: Timestamp) -> anyhow::Result<()> {
        let (tables, mut outcome) = (&mut self.tables, Ok(()));
        self.windows.reach(time, &mut |row| {
            if outcome.is_ok() {
                outcome = tables.window(&row);
            }
        });
        outcome
    }
}

impl Sink for Export {
    fn alert(&mut self, _alert: &Alert) -> anyhow::Result<()> {
        Ok(())
    }

    fn flow(&mut self, flow: &FlowSummary) -> anyhow::Result<()> {
        let (tables, mut outcome) = (&mut self.tables, Ok(()));
        tables.sequence(flow)?;
        self.windows.flow(flow, &mut |row| {
            if outcome.is_ok() {
                outcome = tables.window(&row);
            }
        });
        outcome
    }

    fn wants_events(&self) -> bool {
        false
    }

    fn row(&mut self, row: &ScoredFlow) -> anyhow::Result<()> {
        self.tables.flow(row)
    }

    fn reached(&mut self, time: Timestamp) -> anyhow::Result<()> {
        self.reach(time)
    }

    fn progress(&mut self, report: &Report) {
        progress::show(&self.progress, report);
    }
}
