//! The labelled captures, and replaying one of them.
#![allow(dead_code)] // each test binary uses its own part

use shrike::control::alert::Alert;
use shrike::control::export::{AppEvent, EveWriter};
use shrike::control::hosts;
use shrike::control::inventory::network;
use shrike::control::replay::{Outcome, Settings, Sink, replay_reader};
use shrike::dataplane::capture::pcap::{Reader, Speed};
use shrike::dataplane::flow;
use shrike::dataplane::score::Model;
use shrike::dataplane::worker::EngineSettings;
use shrike::exchange::FlowSummary;
use std::path::{Path, PathBuf};

/// One capture of the manifest.
#[derive(Clone, Debug)]
pub struct Capture {
    /// Where it lies.
    pub path: PathBuf,
    /// Relative to the folder of the captures.
    pub name: String,
    /// As the manifest says; `None` where its makers' tool could not read the file.
    pub packets: Option<u64>,
}

/// The captures that the manifest lists, in its order.
pub fn captures(data: &Path) -> Vec<Capture> {
    let manifest = std::fs::read_to_string(data.join("MANIFEST.tsv")).expect("a readable manifest");
    let capture = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let name = fields[0];
        let kind = name.rsplit('.').next().unwrap_or_default();
        ["pcap", "pcapng", "gz"].contains(&kind).then(|| Capture {
            path: data.join(name),
            name: name.to_owned(),
            packets: fields[4].parse().ok(),
        })
    };
    manifest.lines().skip(1).filter_map(capture).collect()
}

/// Of them those that are not compressed and have so many packets: what the references in Python read in reasonable time.
pub fn plain_captures(data: &Path, packets: std::ops::Range<u64>) -> Vec<Capture> {
    let is_wanted =
        |one: &Capture| !one.name.ends_with(".gz") && one.packets.is_some_and(|count| packets.contains(&count));
    captures(data).into_iter().filter(is_wanted).collect()
}

/// What a replay gave.
#[derive(Default)]
pub struct Collected {
    /// In the order they were raised.
    pub alerts: Vec<Alert>,
    /// In the order they ended.
    pub flows: Vec<FlowSummary>,
}

impl Sink for Collected {
    fn alert(&mut self, alert: &Alert) -> anyhow::Result<()> {
        self.alerts.push(alert.clone());
        Ok(())
    }

    fn flow(&mut self, flow: &FlowSummary) -> anyhow::Result<()> {
        self.flows.push(*flow);
        Ok(())
    }
}

/// Engine settings with tables for captures of up to `packets` packets, so that no test is about memory.
pub fn engine(packets: u64) -> EngineSettings {
    let capacity = u32::try_from(packets.max(512).next_power_of_two() * 2).expect("a capture of a test's size");
    EngineSettings {
        flow: flow::Settings { capacity, ..flow::Settings::default() },
        windows: 1 << 12,
        export_flows: true,
        export_events: true,
        ..EngineSettings::default()
    }
}

/// Replays what `reader` gives with fixed keys.
pub fn replay(reader: Reader, workers: usize, engine: EngineSettings, model: Option<&Model>) -> (Outcome, Collected) {
    replay_with(reader, workers, engine, model, hosts::Settings::default())
}

/// The same with thresholds of one's own.
pub fn replay_with(
    reader: Reader,
    workers: usize,
    engine: EngineSettings,
    model: Option<&Model>,
    detect: hosts::Settings,
) -> (Outcome, Collected) {
    let settings = Settings {
        files: Vec::new(),
        workers,
        speed: Speed::Max,
        engine,
        detect,
        home: network::home(),
        feeds: None,
        model,
        windows: None,
        rows: false,
        secret: Some([0x0123_4567_89ab_cdef, 2, 3, 4]),
        stop: None,
    };
    let mut collected = Collected::default();
    let outcome = replay_reader(&settings, reader, &mut collected).expect("a replay");
    (outcome, collected)
}

/// Renders every event and every flow at once, and keeps the events.
struct Lines(EveWriter<Vec<u8>>, Vec<AppEvent>);

impl Sink for Lines {
    fn alert(&mut self, _alert: &Alert) -> anyhow::Result<()> {
        Ok(())
    }

    fn flow(&mut self, flow: &FlowSummary) -> anyhow::Result<()> {
        Ok(self.0.flow(flow)?)
    }

    fn event(&mut self, event: AppEvent) -> anyhow::Result<()> {
        self.0.application(&event)?;
        self.1.push(event);
        Ok(())
    }
}

/// The lines of EVE of a capture's flows and events, as they come, and what it came to; room for `flows` at once.
pub fn eve(reader: Reader, workers: usize, flows: u64) -> anyhow::Result<(String, Outcome)> {
    eve_and_events(reader, workers, flows).map(|(lines, _, outcome)| (lines, outcome))
}

/// The same, with the events that the lines are of.
pub fn eve_and_events(reader: Reader, workers: usize, flows: u64) -> anyhow::Result<(String, Vec<AppEvent>, Outcome)> {
    let settings = Settings {
        files: Vec::new(),
        workers,
        speed: Speed::Max,
        engine: engine(flows),
        detect: hosts::Settings::default(),
        home: network::home(),
        feeds: None,
        model: None,
        windows: None,
        rows: false,
        secret: Some([1, 2, 3, 4]),
        stop: None,
    };
    let mut lines = Lines(EveWriter::new(Vec::new(), None), Vec::new());
    let outcome = replay_reader(&settings, reader, &mut lines)?;
    Ok((String::from_utf8(lines.0.finish()?)?, lines.1, outcome))
}
