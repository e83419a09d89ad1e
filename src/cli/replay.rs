//! `shrike replay`: capture files through the same engine.

use super::Failure;
use crate::config;
use crate::control::alert::Alert;
use crate::control::replay::{Outcome, Settings, Sink, replay};
use crate::dataplane::capture::pcap::{Report, Speed};
use crate::dataplane::detect::ScoredFlow;
use crate::dataplane::features::FEATURES;
use crate::metrics::Counter;
use anyhow::Context;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

/// Arguments of `shrike replay`.
#[derive(clap::Args, Debug)]
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

/// Replays and prints the summary.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let plan =
        config::load(arguments.config.as_deref(), std::env::vars()).map_err(|error| Failure::Usage(error.into()))?;
    let model =
        if arguments.no_model || arguments.features.is_some() { None } else { super::run::load_model(&plan)?.0 };
    let mut engine = plan.engine;
    engine.threshold =
        plan.model.threshold.or(model.as_ref().map(|model| model.threshold())).unwrap_or(engine.threshold);
    let settings = Settings {
        files: arguments.files.clone(),
        workers: arguments.workers.into(),
        speed: if arguments.speed == "1x" { Speed::Original } else { Speed::Max },
        engine,
        detect: plan.detect,
        usual: model.as_ref().map(super::run::usual),
        model: model.as_ref(),
        rows: arguments.features.is_some(),
        secret: None,
    };
    let rows = match &arguments.features {
        None => None,
        Some(path) => {
            let file = std::fs::File::create(path).with_context(|| format!("create {}", path.display()))?;
            let mut out = std::io::BufWriter::new(file);
            let names: Vec<_> = FEATURES.iter().map(|feature| feature.name).collect();
            writeln!(
                out,
                "time_ns,source,source_port,destination,destination_port,protocol,packets,{}",
                names.join(",")
            )
            .context("write the header")?;
            Some(out)
        }
    };
    let mut printer = Printer { json: arguments.json, rows };
    let outcome = replay(&settings, &mut printer)?;
    if let Some(rows) = &mut printer.rows {
        rows.flush().context("write the feature rows")?;
    }
    print(&outcome, arguments.json);
    Ok(())
}

/// Alerts to the terminal, rows to their file.
struct Printer {
    json: bool,
    rows: Option<std::io::BufWriter<std::fs::File>>,
}

impl Sink for Printer {
    fn alert(&mut self, alert: &Alert) -> anyhow::Result<()> {
        if !self.json {
            println!(
                "{}  {:<11} {}",
                alert.evidence.time.to_rfc3339(),
                alert.evidence.detector.name(),
                alert.evidence.summary
            );
        }
        Ok(())
    }

    fn row(&mut self, row: &ScoredFlow) -> anyhow::Result<()> {
        let Some(out) = &mut self.rows else { return Ok(()) };
        let (source, destination) = row.key.endpoints(row.originator);
        write!(
            out,
            "{},{},{},{},{},{},{}",
            row.time.0,
            source.ip(),
            source.port,
            destination.ip(),
            destination.port,
            row.key.protocol(),
            row.packets
        )?;
        for value in row.row {
            write!(out, ",{value}")?;
        }
        writeln!(out)?;
        Ok(())
    }

    fn progress(&mut self, _report: &Report) {}
}

fn print(outcome: &Outcome, json: bool) {
    let packets = outcome.count(Counter::FramesReceived);
    let rate = if outcome.seconds > 0.0 { packets as f64 / outcome.seconds } else { 0.0 };
    let alerts: BTreeMap<_, _> = outcome.alerts.iter().map(|(detector, count)| (detector.name(), *count)).collect();
    let summary = serde_json::json!({
        "packets": packets,
        "bytes": outcome.count(Counter::BytesReceived),
        "flows": outcome.count(Counter::FlowsCreated),
        "seconds": outcome.seconds,
        "packets_per_second": rate,
        "drops": outcome.drops(),
        "alerts": alerts,
        "scored": outcome.count(Counter::RowsScored),
        "shed": outcome.count(Counter::RowsShed),
        "loss_equation_closed": outcome.loss_equation_closed(),
        "queues": outcome.queues,
        "latency_ns": super::run::latency_json(&outcome.latency),
    });
    if json {
        println!("{summary}");
        return;
    }
    println!(
        "{packets} packets, {} flows, {} rows scored in {:.3} s ({:.0} packets/s); alerts {alerts:?}; loss equation {}",
        outcome.count(Counter::FlowsCreated),
        outcome.count(Counter::RowsScored),
        outcome.seconds,
        rate,
        if outcome.loss_equation_closed() { "closed" } else { "OPEN" }
    );
}
