//! What the detectors over flows and events say about the captures beside the project: recall over the attacks that they are
//! for, and every alert over benign traffic with its judgement.

mod support;

use shrike::control::alert::Alert;
use shrike::control::hosts;
use shrike::control::inventory::network;
use shrike::control::replay::{Settings, Sink, replay};
use shrike::dataplane::capture::pcap::Speed;
use shrike::dataplane::detect::Detector;
use shrike::dataplane::worker::EngineSettings;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Alerts of the detectors at hand.
#[derive(Default)]
struct Found(Vec<Alert>);

const OTHERS: [Detector; 4] = [Detector::Scan, Detector::BruteForce, Detector::Flood, Detector::Model];

impl Sink for Found {
    fn alert(&mut self, alert: &Alert) -> anyhow::Result<()> {
        if !OTHERS.contains(&alert.evidence.detector) {
            self.0.push(alert.clone());
        }
        Ok(())
    }
    fn wants_events(&self) -> bool {
        false
    }
}

fn alerts(file: &Path, workers: usize) -> Vec<Alert> {
    let engine = EngineSettings { windows: 1 << 14, export_events: true, run_out: true, ..EngineSettings::default() };
    let settings = Settings {
        files: vec![file.to_owned()],
        workers,
        speed: Speed::Max,
        engine,
        detect: hosts::Settings::default(),
        home: network::home(),
        model: None,
        rows: false,
        secret: None,
        stop: None,
    };
    let mut found = Found::default();
    replay(&settings, &mut found).expect("the manifest names files that can be read");
    found.0
}

/// Paths of the manifest's rows that begin with `prefix`.
fn captures(data: &Path, prefix: &str) -> Vec<PathBuf> {
    let manifest = std::fs::read_to_string(data.join("MANIFEST.tsv")).expect("seen by shared_data");
    let rows = manifest.lines().skip(1).filter_map(|line| line.split('\t').next());
    rows.filter(|path| path.starts_with(prefix))
        .filter(|path| path.ends_with(".pcap") || path.ends_with(".pcapng"))
        .map(|path| data.join(path))
        .collect()
}

/// Kinds of the captures of a family that say something, by file name.
fn family(data: &Path, prefix: &str) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for file in captures(data, prefix) {
        let mut kinds: Vec<String> = Vec::new();
        for alert in alerts(&file, 1) {
            let evidence = &alert.evidence;
            let kind = format!("{}/{}/{}", evidence.detector.name(), evidence.kind, evidence.severity);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
            if std::env::var_os("SHRIKE_DETECT_VERBOSE").is_some() {
                println!(
                    "\t{} | {:?}",
                    evidence.summary,
                    evidence.terms.iter().map(|term| (term.name.as_str(), term.value)).collect::<Vec<_>>()
                );
            }
        }
        let name = file.strip_prefix(data).unwrap_or(&file).display().to_string();
        println!("{name}\t{kinds:?}");
        if !kinds.is_empty() {
            all.insert(name, kinds);
        }
    }
    all
}

/// Any family, for people: `SHRIKE_FAMILY=attack/ cargo nextest run --test behaviour_captures -- any --no-capture`.
#[test]
fn any_family_that_is_asked_for() {
    let Some(family_name) = std::env::var("SHRIKE_FAMILY").ok() else { return };
    let Some(data) = support::shared_data("behaviour_captures") else { return };
    for (name, kinds) in family(&data, &family_name) {
        println!("ALERT {name}\t{kinds:?}");
    }
}
