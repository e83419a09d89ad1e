//! `shrike replay`: capture files through the same engine.

mod conn;
mod eve;
mod rows;
mod summary;

use super::out::say;
use super::{Failure, hosts, line, output, progress};
use crate::config;
use crate::control::alert::Alert;
use crate::control::export::{AppEvent, ConnFormat, ModelName};
use crate::control::inventory::{Inventory, Spoken, host_json};
use crate::control::replay::{Outcome, Settings, Sink, replay_reader};
use crate::dataplane::capture::pcap::{Limits, Reader, Report, Speed};
use crate::dataplane::decode::Neighbour;
use crate::dataplane::detect::ScoredFlow;
use crate::dataplane::score::Model;
use crate::exchange::FlowSummary;
use crate::units::Timestamp;
use conn::ConnFile;
use eve::EveFile;
use indicatif::ProgressBar;
use rows::RowFile;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Arguments of `shrike replay`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  shrike replay trace.pcap                          alerts as they are found, then one line of summary
  shrike replay day*.pcap.gz --workers 2 --json     the summary as JSON
  shrike replay trace.pcapng --eve eve.jsonl        EVE JSON lines as Suricata writes them
  shrike replay trace.pcap --conn-log conn.log      flows as Zeek's conn.log
  shrike replay trace.pcap --eve - | jq .alert      events to standard output, summary and hosts to standard error
  shrike replay trace.pcap --hosts                  hosts with names, systems, services, and what exposes them
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
    /// Write alerts, flows and statistics as EVE JSON lines; `-` is standard output. A file is replaced when the new one
    /// is whole, at the capture's own pace at once.
    #[arg(long, value_name = "OUT.jsonl")]
    eve: Option<PathBuf>,
    /// Write ended flows as Zeek's conn.log; `-` is standard output.
    #[arg(long, value_name = "OUT.log")]
    conn_log: Option<PathBuf>,
    /// As tab-separated values, or JSON; the configuration's ([conn_log]) if not given.
    #[arg(long, value_parser = ["tsv", "json"], requires = "conn_log")]
    conn_log_format: Option<String>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    /// Show the hosts of the capture behind the summary: names, systems, services, and what exposes them; with --json as
    /// its member `hosts`. Hosts of `inventory.home` in the configuration; all private networks without one.
    #[arg(long)]
    hosts: bool,
    /// Replay without a model.
    #[arg(long)]
    no_model: bool,
    /// Write every feature row with the flow it belongs to as CSV instead of scoring it; `-` is standard output.
    #[arg(long, value_name = "OUT.csv")]
    features: Option<PathBuf>,
}

impl Arguments {
    /// Outputs by option.
    fn outputs(&self) -> Vec<(&'static str, &Path)> {
        let named = [("--eve", &self.eve), ("--conn-log", &self.conn_log), ("--features", &self.features)];
        named.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?))).collect()
    }
}

/// The captures, before any output is begun: what cannot be read leaves everything as it was.
pub(super) fn open(files: &[PathBuf], stop: &Arc<AtomicBool>) -> Result<Reader, Failure> {
    let opened = Reader::open_until(files, Limits::default(), Some(stop));
    if stop.load(Relaxed) {
        return Err(Failure::Interrupted("interrupted before the capture began".into()));
    }
    Ok(opened?)
}

/// Replays and prints the summary. A loss equation that does not close is a finding (exit code 3).
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let plan =
        config::load(arguments.config.as_deref(), std::env::vars()).map_err(|error| Failure::Usage(error.into()))?;
    output::refuse_clashes(&arguments.files, &arguments.outputs())?;
    let model =
        if arguments.no_model || arguments.features.is_some() { None } else { super::run::load_model(&plan)?.0 };
    let windows = super::run::load_windows(&plan, model.as_ref())?;
    let mut engine = super::run::engine(&plan, model.as_ref());
    engine.export_flows = arguments.eve.is_some() || arguments.conn_log.is_some() || windows.is_some();
    let observes = plan.detect.behaviour && arguments.features.is_none();
    engine.export_events = engine.export_flows || arguments.hosts || observes;
    let inventory = plan.inventory.settings().map_err(|error| Failure::Usage(error.into()))?;
    let feeds = if observes { super::run::feeds(&plan)? } else { None };
    let paced = arguments.speed == "1x";
    let stop = super::run::stop_flag()?;
    let settings = Settings {
        files: arguments.files.clone(),
        workers: arguments.workers.into(),
        speed: if paced { Speed::Original } else { Speed::Max },
        engine,
        detect: plan.detect,
        home: plan.inventory.home.clone(),
        feeds: feeds.map(|feeds| feeds.shared()),
        model: model.as_ref(),
        windows: windows.as_ref(),
        rows: arguments.features.is_some(),
        secret: None,
        stop: Some(&stop),
    };
    let reader = open(&settings.files, &stop)?;
    let printed = !arguments.outputs().iter().any(|(_, path)| output::is_stdout(path));
    let mut output = Output {
        alerts: (printed && !arguments.json)
            .then(|| std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()),
        told: line::Told::default(),
        progress: progress::bar(&arguments.files),
        eve: match &arguments.eve {
            Some(path) => Some(EveFile::new(output::Output::create(path, paced)?, model.as_ref().map(name), paced)),
            None => None,
        },
        conn: match &arguments.conn_log {
            Some(path) => {
                let format = match arguments.conn_log_format.as_deref() {
                    Some("json") => ConnFormat::Json,
                    Some(_) => ConnFormat::Tsv,
                    None => plan.conn_log.format,
                };
                Some(ConnFile::new(output::Output::create(path, paced)?, format, paced))
            }
            None => None,
        },
        inventory: arguments.hosts.then(|| Inventory::new(inventory)),
        rows: match &arguments.features {
            Some(path) => Some(RowFile::new(output::Output::create(path, paced)?)?),
            None => None,
        },
    };
    let outcome = replay_reader(&settings, reader, &mut output)?;
    output.finish(&outcome)?;
    for finding in outcome.report.findings().0 {
        tracing::warn!("{finding}");
    }
    let hosts = output.inventory.take().map(hosts_of);
    let summary = if arguments.json { summary::json(&outcome, hosts.as_deref()) } else { summary::text(&outcome) };
    if printed {
        say!("{summary}")
    } else {
        eprintln!("{summary}")
    }
    if let Some(hosts) = hosts.filter(|_| !arguments.json) {
        show_hosts(&hosts, printed);
    }
    if !outcome.loss_equation_closed() {
        let reason = "the loss equation does not close: frames were read that no counter accounts for";
        return Err(Failure::Findings(reason.into()));
    }
    if outcome.report.is_stopped() {
        return Err(Failure::Interrupted("interrupted: what stands above is of a part of the capture".into()));
    }
    Ok(())
}

/// Every host as the API serves it, with its findings, in the order of addresses.
fn hosts_of(inventory: Inventory) -> Vec<serde_json::Value> {
    let mut hosts: Vec<_> = inventory.hosts().map(|(_, host)| host_json(host)).collect();
    hosts::sort(&mut hosts);
    hosts
}

/// Where the summary stands: on standard error where something else has standard output.
fn show_hosts(hosts: &[serde_json::Value], printed: bool) {
    let colour = printed && hosts::colour();
    let head = format!("{} hosts, {}", hosts.len(), hosts::PASSIVE);
    for lines in std::iter::once(head).chain(hosts.iter().map(|host| hosts::host_lines(host, colour))) {
        if printed {
            say!("{lines}");
        } else {
            eprintln!("{lines}");
        }
    }
}

pub fn name(model: &Model) -> ModelName {
    let manifest = model.manifest();
    ModelName { name: manifest.name.clone(), version: manifest.format.to_string() }
}

/// Where a replay's findings go.
struct Output {
    /// Print alerts, in colour or not.
    alerts: Option<bool>,
    told: line::Told,
    progress: ProgressBar,
    eve: Option<EveFile>,
    conn: Option<ConnFile>,
    inventory: Option<Inventory>,
    rows: Option<RowFile>,
}

impl Output {
    fn finish(&mut self, outcome: &Outcome) -> anyhow::Result<()> {
        self.progress.finish_and_clear();
        if let Some(eve) = self.eve.take() {
            eve.finish(outcome)?;
        }
        if let Some(conn) = self.conn.take() {
            conn.finish()?;
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
        if let Some((inventory, spoken)) = self.inventory.as_mut().zip(Spoken::of(flow)) {
            inventory.spoken(&spoken);
        }
        if let Some(conn) = &mut self.conn {
            conn.flow(flow)?;
        }
        match &mut self.eve {
            Some(eve) => eve.flow(flow),
            None => Ok(()),
        }
    }

    fn neighbour(&mut self, time: Timestamp, neighbour: &Neighbour) -> anyhow::Result<()> {
        if let Some(inventory) = &mut self.inventory {
            inventory.neighbour(time, neighbour);
        }
        Ok(())
    }

    fn wants_events(&self) -> bool {
        self.inventory.is_some() || self.eve.is_some()
    }

    fn event(&mut self, event: AppEvent) -> anyhow::Result<()> {
        if let Some(inventory) = &mut self.inventory {
            inventory.observe(&event.head, &event.facts);
        }
        match &mut self.eve {
            Some(eve) => eve.event(event),
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
        progress::show(&self.progress, report);
    }
}
