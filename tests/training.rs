//! The training's own tests (`models/tests`, Python): the same bytes twice, calibration, monotone scores, manifests' members. And those
//! of what puts the evaluation's tables together (`ci/tests`).

mod support;

use std::path::Path;
use std::process::Command;

#[test]
fn training_keeps_its_promises() {
    let test = "training_keeps_its_promises";
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    // `ci/python.sh` makes the environment; a `python3` that has the packages will do.
    let made = models.join("venv/bin/python");
    let python = if made.exists() { made } else { "python3".into() };
    let has = Command::new(&python).args(["-c", "import numpy, onnx, onnxruntime"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        support::skip(
            test,
            "training",
            "numpy, onnx or onnxruntime is missing; ci/python.sh installs them for Python 3.11",
        );
        return;
    }
    let output = Command::new(&python)
        .args(["-m", "unittest", "discover", "-s", "tests"])
        .current_dir(models)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("skipped"), "{said}");
}

#[test]
fn tables_of_the_evaluation_say_what_the_runs_say() {
    let output = Command::new("python3")
        .args(["-m", "unittest", "discover", "-s", "ci/tests"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 runs: ci/install-packages.sh installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
