//! The traffic laboratory's own tests (`models/lab/tests`, Python): labels, registry, warped days, and a short recording.

mod support;

use std::path::Path;
use std::process::Command;

/// Runs unittest classes of the lab and shows what they say when they fail.
fn run(classes: &[&str], live: bool) -> String {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/lab/tests");
    let mut command = Command::new("python3");
    command.arg("-m").arg("unittest").args(classes).current_dir(tests).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("PATH", format!("/usr/sbin:/usr/bin:/sbin:/bin:{}", std::env::var("PATH").unwrap_or_default()));
    if live {
        command.env("SHRIKE_LAB_LIVE", "1");
    }
    let output = command.output().expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn has_python(test: &str) -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok();
    if !there {
        support::skip(test, "python3", "there is no python3");
    }
    there
}

#[test]
fn labels_registry_and_days_keep_their_promises() {
    if has_python("labels_registry_and_days_keep_their_promises") {
        let classes = [
            "test_lab.Flows",
            "test_lab.Registry",
            "test_lab.Time",
            "test_lab.Labels",
            "test_lab.Check",
            "test_lab.Days",
            "test_office.Office",
        ];
        assert!(!run(&classes, false).contains("skipped"));
    }
}

#[test]
fn live_a_recording_of_the_lab_is_labelled_whole_and_leaves_nothing() {
    let test = "live_a_recording_of_the_lab_is_labelled_whole_and_leaves_nothing";
    if !support::privileged(test) || !has_python(test) {
        return;
    }
    if run(&["test_lab.Recording", "test_office.Recording"], true).contains("skipped") {
        support::skip(test, "lab", "the lab's packages are missing; ci/install-packages.sh lab installs them");
    }
}
