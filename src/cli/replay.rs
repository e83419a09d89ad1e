//! `shrike replay`: capture files through the same engine.

mod eve;
mod rows;

use super::out::say;
use super::{Failure, line};
use crate::config;
use crate::control::alert::Alert;
use crate::control::export::ModelName;
use crate::control::replay::{Outcome, Settings, Sink, replay};
use crate::dataplane::capture::pcap::{Report, Speed};
use crate::dataplane::detect::ScoredFlow;
use crate::dataplane::score::Model;
use crate::exchange::FlowSummary;
use crate::metrics::Counter;
use eve::EveFile;
use indicatif::{ProgressBar, ProgressStyle};
use rows::RowFile;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Arguments of `shrike replay`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  shrike replay trace.pcap                          alerts as they are found, then one line of summary
  shrike replay day*.pcap.gz --workers 2 --json     the summary as JSON
  shrike replay trace.pcapng --eve eve.jsonl        EVE JSON lines as Suricata writes them
  tcpdump -w - | shrike replay - --speed 1x         from a pipe")]
pub struct Arguments {
    /// Capture files (pcap, pcapng; plain, gzip or zstd) in their order; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Configuration file: flow table, batches, model and detectors are taken from it.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// Worker threads; the alerts do not depend on it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// `max`, or `1x` for the capture's own pace.
    #[arg(long, value_parser = ["max", "1x"], default_value = "max")]
    speed: String,
    /// Write alerts, flows and statistics as EVE JSON lines.
    #[arg(long, value_name = "OUT.jsonl")]
    eve: Option<PathBuf>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    /// Replay without a model.
    #[arg(long)]
    no_model: bool,
    /// Write every feature row with the flow it belongs to as CSV instead of scoring it.
    #[arg(long, value_name = "OUT.csv")]
    features: Option<PathBuf>,
}

/// Replays and prints the summary. A loss equation that does not close is a finding (exit code 3).
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let plan =
        config::load(arguments.config.as_deref(), std::env::vars()).map_err(|error| Failure::Usage(error.into()))?;
    let model =
        if arguments.no_model || arguments.features.is_some() { None } else { super::run::load_model(&plan)?.0 };
    let mut engine = super::run::engine(&plan, model.as_ref());
    engine.export_flows = arguments.eve.is_some();
    let paced = arguments.speed == "1x";
    let stop = super::run::stop_flag()?;
    let settings = Settings {
        files: arguments.files.clone(),
        workers: arguments.workers.into(),
        speed: if paced { Speed::Original } else { Speed::Max },
        engine,
        detect: plan.detect,
        usual: model.as_ref().map(super::run::usual),
        model: model.as_ref(),
        rows: arguments.features.is_some(),
        secret: None,
        stop: Some(&stop),
    };
    let mut output = Output {
        alerts: (!arguments.json).then(|| std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()),
        told: line::Told::default(),
        progress: progress(&arguments),
        eve: match &arguments.eve {
            Some(path) => Some(EveFile::create(path, model.as_ref().map(name), paced)?),
            None => None,
        },
        rows: match &arguments.features {
            Some(path) => Some(RowFile::create(path)?),
            None => None,
        },
    };
    let outcome = replay(&settings, &mut output)?;
    output.finish(&outcome)?;
    for finding in outcome.report.findings().0 {
        tracing::warn!("{finding}");
    }
    print(&outcome, arguments.json);
    if !outcome.loss_equation_closed() {
        let reason = "the loss equation does not close: frames were read that no counter accounts for";
        return Err(Failure::Findings(reason.into()));
    }
    if outcome.report.is_stopped() {
        return Err(Failure::Interrupted("interrupted: what stands above is of a part of the capture".into()));
    }
    Ok(())
}

fn name(model: &Model) -> ModelName {
    let manifest = model.manifest();
    ModelName { name: manifest.name.clone(), version: manifest.format.to_string() }
}

/// A bar over the bytes of the files; none where standard error is no terminal or a size is unknown.
fn progress(arguments: &Arguments) -> ProgressBar {
    let size = |path: &PathBuf| std::fs::metadata(path).ok().filter(|data| data.is_file()).map(|data| data.len());
    let total = arguments.files.iter().map(size).sum::<Option<u64>>();
    match total {
        Some(total) if std::io::stderr().is_terminal() => {
            let bar = ProgressBar::new(total);
            let style = ProgressStyle::with_template("{bar:32} {bytes} of {total_bytes}, {msg}, {eta} left");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        }
        _ => ProgressBar::hidden(),
    }
}

/// Where a replay's findings go.
struct Output {
    /// Print alerts, in colour or not.
    alerts: Option<bool>,
    told: line::Told,
    progress: ProgressBar,
    eve: Option<EveFile>,
    rows: Option<RowFile>,
}

impl Output {
    fn finish(&mut self, outcome: &Outcome) -> anyhow::Result<()> {
        self.progress.finish_and_clear();
        if let Some(eve) = self.eve.take() {
            eve.finish(outcome)?;
        }
        if let Some(rows) = self.rows.take() {
            rows.finish()?;
        }
        Ok(())
    }
}

impl Sink for Output {
    fn alert(&mut self, alert: &Alert) -> anyhow::Result<()> {
        if let Some(colour) = self.alerts {
            self.progress.suspend(|| say!("{}", self.told.line(alert, colour)));
        }
        match &mut self.eve {
            Some(eve) => eve.alert(alert),
            None => Ok(()),
        }
    }

    fn flow(&mut self, flow: &FlowSummary) -> anyhow::Result<()> {
        match &mut self.eve {
            Some(eve) => eve.flow(flow),
            None => Ok(()),
        }
    }

    fn row(&mut self, row: &ScoredFlow) -> anyhow::Result<()> {
        match &mut self.rows {
            Some(rows) => rows.write(row),
            None => Ok(()),
        }
    }

    fn progress(&mut self, report: &Report) {
        if !self.progress.is_hidden() {
            self.progress.set_position(report.consumed());
            self.progress.set_message(format!("{} packets", line::grouped(report.packets())));
        }
    }
}

fn print(outcome: &Outcome, json: bool) {
    let packets = outcome.count(Counter::FramesReceived);
    let rate = if outcome.seconds > 0.0 { packets as f64 / outcome.seconds } else { 0.0 };
    let alerts: BTreeMap<_, _> = outcome.alerts.iter().map(|(detector, count)| (detector.name(), *count)).collect();
    let (findings, beyond) = outcome.report.findings();
    let (flows, scored) = (outcome.count(Counter::FlowsCreated), outcome.count(Counter::RowsScored));
    if json {
        let findings: Vec<_> = findings
            .iter()
            .map(|finding| {
                serde_json::json!({"file": finding.file, "offset": finding.offset, "kind": finding.kind.name(),
                    "detail": finding.detail, "remedy": finding.kind.remedy()})
            })
            .collect();
        let summary = serde_json::json!({
            "packets": packets,
            "bytes": outcome.count(Counter::BytesReceived),
            "flows": flows,
            "seconds": outcome.seconds,
            "packets_per_second": rate,
            "drops": outcome.drops(),
            "alerts": alerts,
            "scored": scored,
            "shed": outcome.count(Counter::RowsShed),
            "loss_equation_closed": outcome.loss_equation_closed(),
            "queues": outcome.queues,
            "files": outcome.report.files(),
            "frames_snapped": outcome.report.snapped(),
            "steps_back": outcome.report.steps_back(),
            "findings": findings,
            "findings_beyond": beyond,
            "interrupted": outcome.report.is_stopped(),
            "latency_ns": super::run::latency_json(&outcome.latency),
        });
        say!("{summary}");
        return;
    }
    say!(
        "{} packets, {} flows, {} rows scored in {:.3} s ({} packets/s); loss equation {}",
        line::grouped(packets),
        line::grouped(flows),
        line::grouped(scored),
        outcome.seconds,
        line::grouped(rate as u64),
        if outcome.loss_equation_closed() { "closed" } else { "OPEN" }
    );
    let list = |counts: &mut dyn Iterator<Item = (&str, u64)>| {
        let some: Vec<_> = counts
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{} {}", line::grouped(count), name.replace('_', " ")))
            .collect();
        if some.is_empty() { "none".to_owned() } else { some.join(", ") }
    };
    say!("alerts: {}", list(&mut alerts.into_iter()));
    say!("drops:  {}", list(&mut outcome.drops().into_iter()));
    if outcome.report.snapped() > 0 {
        say!("cut by the snap length: {} packets, decoded as far as they go", line::grouped(outcome.report.snapped()));
    }
}
