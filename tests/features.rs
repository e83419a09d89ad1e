//! Feature rows against a reference of another language, and that reference's own tests (`models/features`).

#[path = "support/captures.rs"]
mod recordings;
mod support;

use recordings::{engine, plain_captures};
use shrike::control::alert::Alert;
use shrike::control::hosts;
use shrike::control::replay::{Settings, Sink, replay_reader};
use shrike::dataplane::capture::pcap::{Limits, Reader, Speed};
use shrike::dataplane::detect::ScoredFlow;
use shrike::dataplane::features::FEATURES;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Captures of others that are compared at most; each costs a replay and a run of Python.
const CAPTURES: usize = 60;

/// Rows as CSV, as `shrike replay --features` writes them.
struct Rows(String);

impl Sink for Rows {
    fn alert(&mut self, _alert: &Alert) -> anyhow::Result<()> {
        Ok(())
    }

    fn row(&mut self, row: &ScoredFlow) -> anyhow::Result<()> {
        let (source, target) = row.key.endpoints(row.originator);
        write!(self.0, "{},{},{},{}", row.time.0, source.ip(), source.port, target.ip())?;
        write!(self.0, ",{},{},{}", target.port, row.key.protocol(), row.packets)?;
        row.row.iter().try_for_each(|value| write!(self.0, ",{value}"))?;
        self.0.push('\n');
        Ok(())
    }
}

/// Every row of a capture, with columns' names.
fn rows(path: &Path, packets: u64) -> String {
    let stream = Box::new(std::io::Cursor::new(std::fs::read(path).expect("a readable capture")));
    let reader = Reader::from_stream("capture", stream, Limits::default()).expect("a capture");
    let settings = Settings {
        files: Vec::new(),
        workers: 1,
        speed: Speed::Max,
        engine: engine(packets),
        detect: hosts::Settings::default(),
        model: None,
        windows: None,
        rows: true,
        secret: Some([1, 2, 3, 4]),
        stop: None,
        home: Vec::new(),
        feeds: None,
    };
    let names: Vec<_> = FEATURES.iter().map(|feature| feature.name).collect();
    let mut rows =
        Rows(format!("time_ns,source,source_port,destination,destination_port,protocol,packets,{}\n", names.join(",")));
    replay_reader(&settings, reader, &mut rows).expect("a replay");
    rows.0
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/features")
}

/// Rows by what made them due: 4 packets, a later milestone, the end.
fn moments(rows: &str) -> [usize; 3] {
    let mut all = [0; 3];
    for row in rows.lines().skip(1) {
        let packets: u32 = row.split(',').nth(6).expect("a column of packets").parse().expect("a number");
        let is_milestone = packets >= 4 && packets.is_power_of_two() && packets.trailing_zeros().is_multiple_of(2);
        all[if packets == 4 { 0 } else { 2 - usize::from(is_milestone) }] += 1;
        assert!(packets > 1, "a flow of one packet has no row: {row}");
    }
    all
}

/// Rows compared and skipped; fails where one differs.
fn compare(path: &Path, packets: u64) -> (u64, u64) {
    compare_rows(path, &rows(path, packets))
}

fn compare_rows(path: &Path, rows: &str) -> (u64, u64) {
    let place = tempfile::tempdir().expect("a folder for rows");
    let csv = place.path().join("rows.csv");
    std::fs::write(&csv, rows).expect("a file of rows");
    let mut command = Command::new("python3");
    command.arg(folder().join("compare.py")).args([path, &csv]).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}{complaint}", path.display());
    let mut numbers = said.split_whitespace().map_while(|word| word.parse::<u64>().ok());
    (numbers.next().expect("rows compared"), numbers.next().expect("rows skipped"))
}

#[test]
fn rows_of_the_laboratory_are_those_of_the_reference() {
    if support::python("rows_of_the_laboratory_are_those_of_the_reference") {
        let capture = folder().join("../lab/tests/small/037/traffic.pcap");
        let rows = rows(&capture, 8192);
        let (compared, skipped) = compare_rows(&capture, &rows);
        assert!(compared >= 750 && skipped == 0, "{compared} compared and {skipped} skipped");
        let moments = moments(&rows);
        assert!(moments.iter().all(|rows| *rows >= 20), "4 packets, milestones and ends: {moments:?}");
    }
}

#[test]
fn rows_of_others_captures_are_those_of_the_reference() {
    let test = "rows_of_others_captures_are_those_of_the_reference";
    let Some(data) = support::shared_data(test) else { return };
    if !support::python(test) {
        return;
    }
    let chosen = plain_captures(&data, 1..6000).into_iter();
    let (mut compared, mut skipped) = (0, 0);
    for capture in chosen.skip(1).step_by(5).take(CAPTURES) {
        let (more, left) = compare(&capture.path, capture.packets.unwrap_or(0));
        (compared, skipped) = (compared + more, skipped + left);
    }
    eprintln!("features: {compared} rows compared, {skipped} skipped");
    assert!(compared >= 1000 && skipped * 50 < compared, "{compared} compared and {skipped} skipped say too little");
}

#[test]
fn the_reference_keeps_its_promises() {
    if support::python("the_reference_keeps_its_promises") {
        let mut command = Command::new("python3");
        command.args(["-m", "unittest", "test_features"]).current_dir(folder().join("tests"));
        let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().expect("python3 runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("skipped"), "{said}");
    }
}
