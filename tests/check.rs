//! `shrike check` from outside: what `run` would refuse on this machine is named, with exit code 3.

mod support;

use serde_json::Value;
use std::process::{Command, Output};

fn check(text: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shrike.toml");
    std::fs::write(&path, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_shrike")).arg("check").args(arguments).arg(&path).output().unwrap()
}

#[test]
fn what_run_would_refuse_is_named() {
    if check("", &[]).status.code() != Some(0) {
        return support::skip("what_run_would_refuse_is_named", "runtime", "the model does not load here");
    }
    let cut = tempfile::tempdir().unwrap();
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    for (name, share) in [("flow-v1.json", 1), ("flow-v1.onnx", 2)] {
        let bytes = std::fs::read(models.join(name)).unwrap();
        std::fs::write(cut.path().join(name), &bytes[..bytes.len() / share]).unwrap();
    }
    let damaged = format!("[model]\nmanifest = \"{}\"", cut.path().join("flow-v1.json").display());
    for (text, part, says) in [
        ("[model]\nmanifest = \"/nope.json\"", "model", "/nope.json"),
        (&*damaged, "model", "flow-v1.onnx"),
        ("[model]\nenabled = false\n[http]\nlisten = \"192.0.2.1:80\"", "http", "listen on 192.0.2.1:80"),
        ("[model]\nenabled = false\n[[interface]]\nname = \"nosuchlink0\"", "nosuchlink0", "no such interface"),
    ] {
        let output = check(text, &["--json"]);
        assert_eq!(output.status.code(), Some(3), "{text}: {output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["ok"], false, "{answer}");
        let finding = &answer["findings"][0];
        assert!(finding["check"] == part && finding["found"].as_str().unwrap().contains(says), "{answer}");
        assert!(!finding["fix"].as_str().unwrap().is_empty(), "{answer}");
        let output = check(text, &[]);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.code() == Some(3) && printed.contains("REFUSED") && !printed.contains(": good"),
            "{printed}"
        );
    }
}

/// A running shrike may hold the port: that says nothing about the configuration.
#[test]
fn a_good_configuration_is_good_also_beside_a_running_one() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("[model]\nenabled = false\n[http]\nlisten = \"{}\"", taken.local_addr().unwrap());
    let output = check(&text, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["ok"], &answer["findings"]), (&true.into(), &Value::Array(Vec::new())));
}
