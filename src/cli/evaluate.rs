//! `shrike evaluate`: whole recordings through replay, alerts against labels.

mod find;

use super::out::say;
use super::{Failure, output};
use crate::config::{self, Config};
use crate::control::alert::Alert;
use crate::control::evaluate::{Active, Judge, Judged, Scope, Summary, Truth, is_inside, picture, table};
use crate::control::inventory::network::Network;
use crate::control::replay::{Settings, Sink, replay_reader};
use crate::control::windows::stage::Models;
use crate::dataplane::capture::pcap::{Limits, Reader, Speed};
use crate::dataplane::decode::Neighbour;
use crate::dataplane::detect::Evidence;
use crate::dataplane::score::Model;
use crate::exchange::FlowSummary;
use crate::metrics::Counter;
use crate::units::Timestamp;
use anyhow::Context;
use find::Recording;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Arguments of `shrike evaluate`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  shrike evaluate target/lab/recordings                 every recording of the laboratory below a directory
  shrike evaluate DAY --no-model --json                 without a model, figures as JSON
  shrike evaluate data --labels data/MANIFEST.tsv       captures of others, judged as a whole
  shrike evaluate DIR --model fold/flow.json --held-out fold/held_out.json --out fold/evaluation.json
  shrike evaluate --merge fold*/evaluation.json         several runs as one")]
pub struct Arguments {
    /// Recordings (directories with labels.json, or directories of those) or, with a table as --labels, captures.
    #[arg(required_unless_present = "merge")]
    captures: Vec<PathBuf>,
    /// Labels: labels.json of one recording, or a table whose head names its columns, separated by tabs: `path` and `family`
    /// (`benign`, or as in models/lab/README.md) or `ground_truth`. Beside each recording if not given.
    #[arg(long, value_name = "LABELS")]
    labels: Option<PathBuf>,
    /// Model to evaluate instead of the configuration's.
    #[arg(long, value_name = "MANIFEST", conflicts_with = "no_model")]
    model: Vec<PathBuf>,
    /// Detectors alone.
    #[arg(long)]
    no_model: bool,
    /// Configuration file; what it says of detectors, flow table and model is what is evaluated.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// Count only what the model never saw: {"tools": {FAMILY: [TOOL, ...]}, "recordings": [NAME, ...]}; of the recordings
    /// their false alerts.
    #[arg(long, value_name = "JSON")]
    held_out: Option<PathBuf>,
    /// Put together what --out wrote in earlier runs, instead of running.
    #[arg(long, value_name = "EVALUATION", num_args = 1.., conflicts_with_all = ["captures", "model", "no_model", "held_out"])]
    merge: Vec<PathBuf>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    /// Write the JSON there, whatever is printed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write a picture (SVG) of recall and false alerts there.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

/// Replays, judges and prints.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let judged = if arguments.merge.is_empty() { evaluated(arguments)? } else { merged(&arguments.merge)? };
    let summary = Summary::of(&judged);
    let json = || summary.json(&judged).to_string();
    if let Some(path) = &arguments.out {
        write(path, &json())?;
    }
    if let Some(path) = &arguments.picture {
        write(path, &picture(&summary))?;
    }
    if arguments.json {
        say!("{}", json());
    } else {
        say!("{}", table(&summary));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = output::Output::create(path, false)?;
    writeln!(file, "{text}").with_context(|| format!("write {}", path.display()))?;
    file.finish()?;
    Ok(())
}

/// The recordings of earlier runs.
fn merged(files: &[PathBuf]) -> Result<Vec<Judged>, Failure> {
    #[derive(serde::Deserialize)]
    struct Evaluation {
        captures: Vec<Judged>,
    }
    let mut all = Vec::new();
    for path in files {
        let read = || -> anyhow::Result<Evaluation> { Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?) };
        let evaluation = read().with_context(|| format!("read {}: is it what --out wrote?", path.display()));
        all.extend(evaluation.map_err(Failure::Usage)?.captures);
    }
    Ok(all)
}

fn evaluated(arguments: &Arguments) -> Result<Vec<Judged>, Failure> {
    let mut plan =
        config::load(arguments.config.as_deref(), std::env::vars()).map_err(|error| Failure::Usage(error.into()))?;
    match arguments.model.as_slice() {
        [] => {}
        [manifest] => plan.model.manifest = Some(manifest.clone()),
        _ => return Err(Failure::Usage(anyhow::anyhow!("--model: one model of flows is evaluated at a time"))),
    }
    let scope = match &arguments.held_out {
        None => Scope::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
            let scope = text.and_then(|text| Scope::read(&text).with_context(|| format!("{}", path.display())));
            scope.map_err(Failure::Usage)?
        }
    };
    let recordings = find::recordings(&arguments.captures, arguments.labels.as_deref()).map_err(Failure::Usage)?;
    if recordings.is_empty() {
        let reason =
            "no recording found: name directories with a labels.json (make lab makes some), or a table with --labels";
        return Err(Failure::Usage(anyhow::anyhow!(reason)));
    }
    let model = if arguments.no_model { None } else { super::run::load_model(&plan)?.0 };
    let windows = super::run::load_windows(&plan, model.as_ref())?;
    let models = (model.as_ref(), windows.as_ref());
    let stop = super::run::stop_flag()?;
    let bar = progress(&recordings);
    let mut judged = Vec::new();
    for recording in &recordings {
        let truth = recording.truth(&scope).with_context(|| format!("labels of {}", recording.name));
        let truth = truth.map_err(Failure::Usage)?;
        judged.push(judge(&plan, models, recording, truth, &scope, &bar, &stop)?);
        if stop.load(Relaxed) {
            bar.finish_and_clear();
            return Err(Failure::Interrupted("interrupted: nothing is told of a part".into()));
        }
        bar.inc(recording.bytes);
    }
    bar.finish_and_clear();
    Ok(judged)
}

/// A bar over the bytes of all captures; none where standard error is no terminal.
fn progress(recordings: &[Recording]) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(recordings.iter().map(|recording| recording.bytes).sum());
    let style = ProgressStyle::with_template("{bar:32} {bytes} of {total_bytes}, {msg}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// One recording through the engine, as an appliance would have it: every detector, ended flows and events told.
fn judge(
    plan: &Config,
    (model, windows): (Option<&Model>, Option<&Models>),
    recording: &Recording,
    truth: Truth,
    scope: &Scope,
    bar: &ProgressBar,
    stop: &Arc<AtomicBool>,
) -> Result<Judged, Failure> {
    bar.set_message(recording.name.clone());
    let mut engine = super::run::engine(plan, model);
    engine.export_flows = true;
    engine.export_events = true;
    let home = if truth.home.is_empty() { plan.inventory.home.clone() } else { truth.home.clone() };
    let settings = Settings {
        files: vec![recording.capture.clone()],
        workers: 1,
        speed: Speed::Max,
        engine,
        detect: plan.detect,
        home,
        feeds: super::run::feeds(plan)?.map(|feeds| feeds.shared()),
        model,
        windows,
        rows: false,
        secret: None,
        stop: Some(stop),
    };
    let reader = Reader::open_until(&settings.files, Limits::default(), Some(stop))?;
    let home = settings.home.clone();
    let mut court = Court { judge: Judge::new(truth), home, first: None, active: Active::default() };
    let outcome = replay_reader(&settings, reader, &mut court)
        .with_context(|| format!("replay {}", recording.capture.display()))?;
    let flows = outcome.count(Counter::FlowsCreated);
    if let Some(first) = court.first {
        court.judge.began(first);
    }
    Ok(court.judge.finish(court.active.days(), flows, scope.has(&recording.name)))
}

/// Takes what a replay finds before the judge.
struct Court {
    judge: Judge,
    home: Vec<Network>,
    /// Of captures whose labels do not tell: when it began, and who was there.
    first: Option<Timestamp>,
    active: Active<IpAddr>,
}

impl Sink for Court {
    fn alert(&mut self, alert: &Alert) -> anyhow::Result<()> {
        self.judge.alert(alert);
        Ok(())
    }

    fn wants_repeats(&self) -> bool {
        true
    }

    fn repeat(&mut self, evidence: &Evidence) {
        self.judge.repeat(evidence);
    }

    fn wants_events(&self) -> bool {
        false
    }

    fn flow(&mut self, flow: &FlowSummary) -> anyhow::Result<()> {
        if self.judge.truth().is_whole {
            self.began(flow.first_seen);
            let source = flow.key.endpoints(flow.originator).0.ip();
            if is_inside(&self.home, source) {
                self.active.flow(source, flow.first_seen.0, flow.last_seen.0);
            }
        }
        Ok(())
    }

    fn neighbour(&mut self, time: Timestamp, _neighbour: &Neighbour) -> anyhow::Result<()> {
        self.began(time);
        Ok(())
    }
}

impl Court {
    fn began(&mut self, time: Timestamp) {
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
    }
}
