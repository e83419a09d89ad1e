//! Windows, sequences and `shrike train-export` against a reference of another language (`models/features`).

#[path = "support/captures.rs"]
mod recordings;
mod support;

use recordings::{engine, plain_captures};
use shrike::control::alert::Alert;
use shrike::control::hosts;
use shrike::control::replay::{Settings, Sink, replay_reader};
use shrike::control::windows::stage::{self, Files, Models, Stage};
use shrike::control::windows::{self, Row, Windows, schema};
use shrike::dataplane::capture::pcap::{Limits, Reader, Speed};
use shrike::dataplane::features::Feature;
use shrike::dataplane::score::ModelError;
use shrike::exchange::FlowSummary;
use shrike::units::Timestamp;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Captures of others that are compared at most; each costs a replay and a run of Python.
const CAPTURES: usize = 40;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/features")
}

fn laboratory() -> PathBuf {
    folder().join("../lab/tests/small/037/traffic.pcap")
}

fn shrike(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shrike")).args(arguments).output().expect("shrike starts")
}

/// The four tables of a capture as text, by kind.
fn export(capture: &Path) -> BTreeMap<&'static str, String> {
    let place = tempfile::tempdir().expect("a folder");
    let out = place.path().join("new/rows");
    let output = shrike(&["train-export", capture.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert!(output.status.success(), "{}: {}", capture.display(), String::from_utf8_lossy(&output.stderr));
    read_tables(&out)
}

/// The same of the reference; `None` where it does not follow every packet.
fn reference(capture: &Path) -> Option<BTreeMap<&'static str, String>> {
    let place = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("python3");
    command.arg(folder().join("reference.py")).arg(capture).arg("--out").arg(place.path());
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().expect("python3 runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaint}", capture.display());
    complaint.is_empty().then(|| read_tables(place.path()))
}

fn read_tables(folder: &Path) -> BTreeMap<&'static str, String> {
    let read = |kind| (kind, std::fs::read_to_string(folder.join(format!("{kind}.csv"))).expect("a table"));
    ["flows", "sequences", "hosts", "pairs"].map(read).into()
}

/// Rows by their keys, of which there are so many columns; addresses are written alike.
struct Table {
    header: Vec<String>,
    rows: BTreeMap<Vec<String>, Vec<f64>>,
}

fn table(text: &str, keys: usize) -> Table {
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    let plain = |word: String| word.parse::<IpAddr>().map_or(word, |address| address.to_string());
    let rows = lines.map(|mut words| {
        let values = words.split_off(keys).iter().map(|value| value.parse().expect("a number")).collect();
        (words.into_iter().map(plain).collect(), values)
    });
    Table { header, rows: rows.collect() }
}

/// Compares every row; rows compared, and keys that one of both does not have.
fn compare(capture: &Path, (kind, keys): (&str, usize), ours: &str, theirs: &str) -> (usize, usize) {
    let (ours, theirs) = (table(ours, keys), table(theirs, keys));
    assert_eq!(ours.header, theirs.header, "{kind}");
    let mut compared = 0;
    for (key, row) in &ours.rows {
        let Some(wanted) = theirs.rows.get(key) else { continue };
        compared += 1;
        // Of other protocols than TCP and UDP there are no shapes.
        if kind == "sequences" && !["6", "17"].contains(&key[5].as_str()) {
            continue;
        }
        for ((found, wanted), name) in row.iter().zip(wanted).zip(&ours.header[keys..]) {
            let close = (found - wanted).abs() <= 1e-6 * wanted.abs().max(1.0);
            assert!(close, "{}: {kind} {key:?} {name}: {found}, the reference has {wanted}", capture.display());
        }
    }
    (compared, ours.rows.len() + theirs.rows.len() - 2 * compared)
}

/// Flows whose sequences were compared, windows that were, and rows that one of both has not.
fn compare_all(capture: &Path) -> Option<(usize, usize, usize)> {
    let (theirs, ours) = (reference(capture)?, export(capture));
    let of = |kind, keys| compare(capture, (kind, keys), &ours[kind], &theirs[kind]);
    let (hosts, pairs, sequences) = (of("hosts", 2), of("pairs", 5), of("sequences", 7));
    let odd = sequences.1 + hosts.1 + pairs.1 + odd_flows(&ours["flows"], &theirs["flows"]);
    Some((sequences.0, hosts.0 + pairs.0, odd))
}

/// Rows of flows that one of both does not have, by keys and moments: the values are compared elsewhere. Of a flow of one packet
/// there need not be one.
fn odd_flows(ours: &str, theirs: &str) -> usize {
    let keys = |text: &str| -> Vec<Vec<String>> {
        text.lines().skip(1).map(|line| line.split(',').take(8).map(str::to_owned).collect()).collect()
    };
    let (ours, theirs) = (keys(ours), keys(theirs));
    let [known, wanted] = [&ours, &theirs].map(|keys| keys.iter().collect::<std::collections::BTreeSet<_>>());
    let missing = wanted.difference(&known).filter(|key| key[6] != "1").count();
    missing + known.difference(&wanted).count()
}

#[test]
fn windows_and_sequences_of_the_laboratory_are_those_of_the_reference() {
    if support::python("windows_and_sequences_of_the_laboratory_are_those_of_the_reference") {
        let (sequences, windows, odd) = compare_all(&laboratory()).expect("a capture that is followed");
        assert!(sequences >= 700 && windows >= 50 && odd == 0, "{sequences} flows, {windows} windows, {odd} odd");
    }
}

#[test]
fn windows_and_sequences_of_others_captures_are_those_of_the_reference() {
    let test = "windows_and_sequences_of_others_captures_are_those_of_the_reference";
    let Some(data) = support::shared_data(test) else { return };
    if !support::python(test) {
        return;
    }
    let chosen = plain_captures(&data, 10..4000).into_iter();
    let (mut sequences, mut windows, mut odd) = (0, 0, 0);
    for capture in chosen.skip(2).step_by(7).take(CAPTURES) {
        let Some((flows, rows, differ)) = compare_all(&capture.path) else { continue };
        (sequences, windows, odd) = (sequences + flows, windows + rows, odd + differ);
        if differ > 0 {
            eprintln!("windows: {} has {differ} rows that one of both does not have", capture.name);
        }
    }
    eprintln!("windows: {sequences} sequences and {windows} windows compared, {odd} odd");
    assert!(sequences >= 1000 && windows >= 500, "{sequences} sequences and {windows} windows say too little");
    assert!(odd * 50 < sequences + windows, "{odd} odd");
}

/// Takes the rows of windows behind the watermark.
struct Taken {
    windows: Windows,
    rows: Vec<Row>,
    reached: Timestamp,
}

impl Sink for Taken {
    fn alert(&mut self, _alert: &Alert) -> anyhow::Result<()> {
        Ok(())
    }

    fn flow(&mut self, flow: &FlowSummary) -> anyhow::Result<()> {
        self.windows.flow(flow, &mut |row| self.rows.push(row));
        Ok(())
    }

    fn reached(&mut self, time: Timestamp) -> anyhow::Result<()> {
        self.reached = time;
        self.windows.reach(time, &mut |row| self.rows.push(row));
        Ok(())
    }
}

#[test]
fn any_number_of_workers_gives_the_same_windows() {
    let bytes = std::fs::read(laboratory()).expect("a readable capture");
    let rows = |workers| {
        let reader = Reader::from_stream("capture", Box::new(std::io::Cursor::new(bytes.clone())), Limits::default());
        let settings = Settings {
            files: Vec::new(),
            workers,
            speed: Speed::Max,
            engine: engine(8192),
            detect: hosts::Settings::default(),
            model: None,
            windows: None,
            rows: false,
            secret: Some([1, 2, 3, 4]),
            stop: None,
            home: Vec::new(),
            feeds: None,
        };
        let mut taken =
            Taken { windows: Windows::new(windows::Settings::default()), rows: Vec::new(), reached: Timestamp(0) };
        replay_reader(&settings, reader.expect("a capture"), &mut taken).expect("a replay");
        assert!(taken.reached > Timestamp(0), "how far all queues have come is told");
        taken.reached(Timestamp(u64::MAX)).expect("memory takes rows");
        (taken.rows, taken.windows.stats())
    };
    let wanted = rows(1);
    assert!(wanted.1.late == 0 && wanted.1.flows > 500, "{:?}", wanted.1);
    for workers in 2..=4 {
        assert_eq!(rows(workers), wanted, "{workers} workers");
    }
}

/// The models that come with the program take the rows that the program makes; where there are none, nobody is asked.
#[test]
fn the_committed_models_of_windows_judge_every_row() {
    let flows = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/flow-v2.json");
    let models = match Models::load(&Files::default(), &flows) {
        Ok(models) => models,
        Err(ModelError::RuntimeMissing { .. }) => {
            return support::skip(
                "the_committed_models_of_windows_judge_every_row",
                "runtime",
                "there is no ONNX Runtime",
            );
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(models.all().count(), 2);
    let mut stage = Stage::new(stage::Settings::default(), models.judges().expect("sessions"));
    let mut found = Vec::new();
    for flow in flows_of_the_laboratory() {
        stage.flow(&flow);
    }
    stage.reach(Timestamp(u64::MAX), &mut found);
    let stats = stage.stats();
    assert!(stats.judged >= 50 && stats.judged == stats.windows.rows, "{stats:?}");
    assert_eq!((stats.failed, stats.unexplained), (0, 0));
    assert!(found.iter().all(|one| one.source.is_some() && one.terms.len() > 1), "{found:?}");
    let empty = tempfile::tempdir().expect("a folder");
    let none = Models::load(&Files::default(), &empty.path().join("flow-v2.json")).expect("no models are none");
    assert!(none.is_empty());
}

fn flows_of_the_laboratory() -> Vec<FlowSummary> {
    let reader = Reader::from_stream(
        "capture",
        Box::new(std::io::Cursor::new(std::fs::read(laboratory()).expect("a readable capture"))),
        Limits::default(),
    );
    recordings::replay(reader.expect("a capture"), 1, engine(8192), None).1.flows
}

/// Units and meanings are written down twice, as the rows are made twice.
#[test]
fn the_schemas_are_those_of_the_reference() {
    if !support::python("the_schemas_are_those_of_the_reference") {
        return;
    }
    let script = "import json, schema; print(json.dumps([schema.HOST, schema.PAIR, schema.STEP]))";
    let mut command = Command::new("python3");
    command.args(["-c", script]).current_dir(folder()).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().expect("python3 runs");
    let theirs: Vec<Vec<[String; 3]>> = serde_json::from_slice(&output.stdout).expect("three schemas");
    let of = |schema: &[Feature]| -> Vec<[String; 3]> {
        schema.iter().map(|column| [column.name, column.unit, column.meaning].map(str::to_owned)).collect()
    };
    assert_eq!([of(&schema::HOST), of(&schema::PAIR), of(&schema::STEP)].as_slice(), theirs);
}

#[test]
fn an_export_leaves_all_or_nothing_and_says_what_to_do() {
    let place = tempfile::tempdir().expect("a folder");
    let out = place.path().join("rows");
    let capture = laboratory();
    let (capture, folder) = (capture.to_str().unwrap(), out.to_str().unwrap());
    let said = |arguments: &[&str], code| {
        let output = shrike(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(if code == 0 { &output.stdout } else { &output.stderr }).into_owned()
    };
    let missing = said(&["train-export", "no-such.pcap", "--out", folder], 1);
    assert!(missing.contains("no-such.pcap") && !out.exists(), "{missing}");
    let told = said(&["train-export", capture, "--out", folder], 0);
    assert!(told.contains("hosts' minutes") && told.contains("sequences"), "{told}");
    let names = |folder: &Path| {
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(name).collect();
        names.sort();
        names
    };
    let tables = ["flows.csv", "hosts.csv", "pairs.csv", "sequences.csv"];
    assert_eq!(names(&out), tables);
    // What cannot be read leaves the tables of before, and a folder that is a file is named.
    let hosts = std::fs::read(out.join("hosts.csv")).unwrap();
    std::fs::write(place.path().join("odd.pcap"), b"this is no capture").unwrap();
    said(&["train-export", place.path().join("odd.pcap").to_str().unwrap(), "--out", folder], 1);
    assert_eq!((names(&out), std::fs::read(out.join("hosts.csv")).unwrap()), (tables.map(String::from).into(), hosts));
    let file = place.path().join("odd.pcap/rows");
    let refused = said(&["train-export", capture, "--out", file.to_str().unwrap()], 1);
    assert!(refused.contains("--out"), "{refused}");
    // Twice the same day is the same tables, and one that is read is not written over.
    let again = place.path().join("again");
    said(&["train-export", capture, "--out", again.to_str().unwrap()], 0);
    for name in tables {
        assert!(std::fs::read(out.join(name)).unwrap() == std::fs::read(again.join(name)).unwrap(), "{name}");
    }
    std::fs::copy(capture, again.join("flows.csv")).unwrap();
    let read = again.join("flows.csv");
    let clash = said(&["train-export", read.to_str().unwrap(), "--out", again.to_str().unwrap()], 2);
    assert!(clash.contains("overwrite"), "{clash}");
}
