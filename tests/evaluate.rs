//! `shrike evaluate` over the project's own labelled recording.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn evaluate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shrike")).arg("evaluate").args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const RECORDINGS: &str = "models/lab/tests/small";

/// The figures are reviewed as a diff: `SHRIKE_GOLDEN=write cargo test --test evaluate` writes them anew.
#[test]
fn the_small_recording_gives_these_figures() {
    let recordings = project(RECORDINGS);
    let mut figures = json(&evaluate(&[recordings.to_str().unwrap(), "--no-model", "--json"]));
    let captures = figures["captures"].take();
    let alerts: usize = captures.as_array().unwrap().iter().map(|one| one["alerts"].as_array().unwrap().len()).sum();
    let judged: u64 = figures["verdicts"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(judged, alerts as u64, "each alert once");
    let text = serde_json::to_string_pretty(&figures).unwrap() + "\n";
    let golden = project("tests/golden/evaluate.json");
    if std::env::var_os("SHRIKE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(&golden).unwrap_or_default();
    for (number, (found, wanted)) in text.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(found, wanted, "line {}", number + 1);
    }
    assert_eq!(text.lines().count(), wanted.lines().count());
}

/// What two runs wrote is one: a recording that both have counts once, its episodes in each.
#[test]
fn runs_are_put_together() {
    let folder = tempfile::tempdir().unwrap();
    let recording = project(RECORDINGS).join("037");
    let (one, both) = (folder.path().join("one.json"), folder.path().join("both.json"));
    let held_out = folder.path().join("held_out.json");
    std::fs::write(&held_out, r#"{"tools": {"beacon": ["curl"], "scan": ["nmap"]}}"#).unwrap();
    let picture = folder.path().join("picture.svg");
    let run = evaluate(&[
        recording.to_str().unwrap(),
        "--no-model",
        "--held-out",
        held_out.to_str().unwrap(),
        "--out",
        one.to_str().unwrap(),
        "--picture",
        picture.to_str().unwrap(),
    ]);
    let table = String::from_utf8(run.stdout).unwrap();
    assert!(
        run.status.success() && table.contains("not counted: 4 episodes of programs that the model knows"),
        "{table}"
    );
    assert!(std::fs::read_to_string(&picture).unwrap().starts_with("<svg "));
    let alone = json(&evaluate(&["--json", "--merge", one.to_str().unwrap()]));
    assert_eq!(alone["families"].as_object().unwrap().len(), 1, "{}", alone["families"]);
    assert_eq!(alone["families"]["beacon"]["episodes"], 2);
    let merged = ["--json", "--out", both.to_str().unwrap(), "--merge", one.to_str().unwrap(), one.to_str().unwrap()];
    let merged = json(&evaluate(&merged));
    assert_eq!(merged["families"]["beacon"]["episodes"], 4);
    assert_eq!((&merged["host_days"], &merged["bound_95"]), (&alone["host_days"], &alone["bound_95"]));
    assert!(both.is_file());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    let table = folder.path().join("table.tsv");
    std::fs::write(&table, "file\tfamily\nx.pcap\tscan\n").unwrap();
    let held_out = folder.path().join("held_out.json");
    std::fs::write(&held_out, "{}").unwrap();
    let recording = project(RECORDINGS);
    let recording = recording.to_str().unwrap();
    for (arguments, words) in [
        (vec![], "required"),
        (vec![empty, "--no-model"], "no recording found"),
        (vec![empty, "--no-model", "--labels", table.to_str().unwrap()], "no column `path`"),
        (vec![recording, "--no-model", "--held-out", held_out.to_str().unwrap()], "held_out.json"),
        (vec!["--merge", table.to_str().unwrap()], "is it what --out wrote"),
    ] {
        let refused = evaluate(&arguments);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(words), "{arguments:?}: {told}");
    }
}

/// A table with ground truth judges captures as a whole; what names nothing is left out.
#[test]
fn captures_of_others_are_judged_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("MANIFEST.tsv");
    std::fs::copy(project(RECORDINGS).join("037/traffic.pcap"), folder.path().join("x.pcap")).unwrap();
    std::fs::write(&table, "path\tbytes\tground_truth\nx.pcap\t1\tscan | all of it\nabsent.pcap\t1\tscan\n").unwrap();
    let arguments = [folder.path().to_str().unwrap(), "--labels", table.to_str().unwrap(), "--no-model", "--json"];
    let figures = json(&evaluate(&arguments));
    assert_eq!(figures["families"]["scan"]["episodes"], 1);
    assert_eq!(figures["families"]["scan"]["recall"], 1.0);
    assert!(figures["host_days"]["others"].as_f64().is_some_and(|days| days > 0.0));
    assert_eq!(figures["verdicts"]["false"], Value::Null, "an attack from end to end has no false alert");
}

/// The README's table is what `docs/evaluation.json` says, which `make evaluate` writes.
#[test]
fn the_readme_tells_what_was_measured() {
    let readme = std::fs::read_to_string(project("README.md")).unwrap();
    let Ok(text) = std::fs::read_to_string(project("docs/evaluation.json")) else { return };
    let figures: Value = serde_json::from_str(&text).unwrap();
    let table = readme.split_once("<!-- evaluation -->").and_then(|(_, rest)| rest.split_once("<!-- /evaluation -->"));
    let (table, _) = table.expect("markers in the README");
    for (family, one) in figures["families"].as_object().unwrap() {
        if one["episodes"] == 0 {
            continue;
        }
        let found = one["episodes"].as_u64().unwrap() - one["missed"].as_u64().unwrap();
        let row = format!("| {family} | {found} of {} |", one["episodes"]);
        assert!(table.contains(&row), "no {row:?} in the README: ci/evaluate.py readme");
    }
}
