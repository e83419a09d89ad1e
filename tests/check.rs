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
    for (name, share) in [("flow-v2.json", 1), ("flow-v2.onnx", 2)] {
        let bytes = std::fs::read(models.join(name)).unwrap();
        std::fs::write(cut.path().join(name), &bytes[..bytes.len() / share]).unwrap();
    }
    let damaged = format!("[model]\nmanifest = \"{}\"", cut.path().join("flow-v2.json").display());
    for (text, part, says) in [
        ("[model]\nmanifest = \"/nope.json\"", "model", "/nope.json"),
        (&*damaged, "model", "flow-v2.onnx"),
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

fn refused_run(arguments: &[&str], as_nobody: bool) -> Option<(Option<i32>, String)> {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(env!("CARGO_BIN_EXE_shrike"));
    command.args(["run", "--no-model"]).args(arguments).env_remove("SHRIKE_CONFIG");
    if as_nobody {
        command.uid(65_534).gid(65_534);
    }
    let output = command.output().ok()?;
    Some((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// What a typo spoils is told before the interface is touched, and not days later.
#[test]
fn summary_and_address_are_tried_before_anything_begins() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (store, summary) = (place("alerts.db"), place("nowhere/summary.json"));
    let common = ["-i", "nosuchlink0", "--store", &store];
    for (more, says) in [
        (["--listen", "127.0.0.1:0", "--summary", &summary], &*summary),
        (["--listen", &address, "--summary", "-"], &*address),
    ] {
        let (code, error) = refused_run(&[&common[..], &more[..]].concat(), false).unwrap();
        assert!(code == Some(1) && error.contains(says) && !error.contains("nosuchlink0"), "{code:?}: {error}");
    }
    assert!(!std::path::Path::new(&store).exists());
    let whole = place("whole.json");
    let more = ["--listen", "127.0.0.1:0", "--summary", &whole];
    let (code, error) = refused_run(&[&common[..], &more[..]].concat(), false).unwrap();
    assert!(code.is_some_and(|code| code != 0) && error.contains("nosuchlink0"), "{code:?}: {error}");
    assert!(!std::path::Path::new(&whole).exists() && !folder.path().join("whole.json.part").exists());
}

/// The commonest refusal of all: exit code 4, and that root is needed.
#[test]
fn who_is_not_root_is_told_so_wherever_it_fails() {
    use std::os::unix::fs::PermissionsExt;
    let name = "who_is_not_root_is_told_so_wherever_it_fails";
    if !support::privileged(name) {
        return;
    }
    let (open, shut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::set_permissions(open.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(shut.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let place = |folder: &tempfile::TempDir, name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let good = place(&open, "alerts.db");
    for (store, listen, summary, says) in [
        (good.clone(), "127.0.0.1:0", "-".to_owned(), "run as root"),
        (place(&shut, "alerts.db"), "127.0.0.1:0", "-".to_owned(), "alert store"),
        (place(&shut, "deeper/alerts.db"), "127.0.0.1:0", "-".to_owned(), "folder"),
        (good, "127.0.0.1:0", place(&shut, "summary.json"), "summary.json"),
    ] {
        let arguments = ["-i", "lo", "--store", &store, "--listen", listen, "--summary", &summary];
        let Some((code, error)) = refused_run(&arguments, true) else {
            return support::skip(name, "root", "nobody may not run the program from here");
        };
        assert!(code == Some(4) && error.contains(says), "{code:?}: {error}");
    }
}

/// Files that cannot be had, or that two parts would write: what `run` ends with, `check` says before; the same words, where
/// it is the plan's fault and not the machine's.
#[test]
fn files_that_run_would_refuse_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (store, eve, conn) = (place("alerts.db"), place("eve.json"), place("conn.log"));
    std::os::unix::fs::symlink(&eve, place("link")).unwrap();
    std::fs::write(place("text"), "not a database, and longer than the first words of one").unwrap();
    let nested = format!("{}/./eve.json", folder.path().display());
    // eve.path, conn_log.path, what is said, exit code of `run`.
    for (eve, conn, says, code) in [
        (&*eve, &*eve, "eve.path and conn_log.path are both", 2),
        (&*eve, &*nested, "eve.path and conn_log.path are both", 2),
        (&*eve, &*place("link"), "are one file", 2),
        (&*eve, &*place("eve.json.8"), "conn_log.path", 2),
        (&*place("conn.log.1"), &*conn, "eve.path", 2),
        (&*store, &*conn, "alerts.store and eve.path are both", 2),
        (&*place("alerts.db-wal"), &*conn, "belongs to alerts.store", 2),
        (&*eve, &*place("alerts.inventory.db"), "inventory.store and conn_log.path are both", 2),
        (&*place("nowhere/eve.json"), &*conn, "nowhere/eve.json", 1),
        (folder.path().to_str().unwrap(), &*conn, "directory", 1),
        (&*eve, &*place("text/conn.log"), "text/conn.log", 1),
    ] {
        let text = format!(
            "[model]\nenabled = false\n[alerts]\nstore = \"{store}\"\n[eve]\npath = \"{eve}\"\n[conn_log]\npath = \"{conn}\""
        );
        let output = check(&text, &["--json"]);
        assert_eq!(output.status.code(), Some(3), "{text}: {output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = answer["findings"][0]["found"].as_str().unwrap();
        assert!(found.contains(says), "{says}: {answer}");
        let config = place("shrike.toml");
        std::fs::write(&config, &text).unwrap();
        let (told, error) =
            refused_run(&["-c", &config, "-i", "nosuchlink0", "--listen", "127.0.0.1:0"], false).unwrap();
        assert!(told == Some(code) && error.contains(says), "{says}: {told:?}: {error}");
        assert!(code == 1 || error.contains(found), "in other words: {error}, {found}");
        assert!(!std::path::Path::new(&store).exists(), "{text}");
        let _ = (std::fs::remove_file(place("eve.json")), std::fs::remove_file(place("conn.log")));
    }
    let kept = format!("[model]\nenabled = false\n[alerts]\nstore = \"{}\"", place("text"));
    let answer: Value = serde_json::from_slice(&check(&kept, &["--json"]).stdout).unwrap();
    assert_eq!(answer["findings"][0]["check"], "alerts.store", "{answer}");
    // Nothing is left behind by looking, and the plan names both files.
    let good = format!(
        "[model]\nenabled = false\n[alerts]\nstore = \"{}\"\n[eve]\npath = \"{eve}\"\nrotate_mib = 10\nkeep = 4",
        place("new/folder/alerts.db")
    );
    let output = check(&good, &[]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    let line = printed.lines().find(|line| line.starts_with("  eve ")).unwrap_or_default();
    assert!(line.contains(&eve) && line.contains("10 MiB") && line.contains("50 MiB at most"), "{printed}");
    assert!(line.contains("MiB free"), "{printed}");
    assert!(printed.lines().any(|line| line.starts_with("  conn.log none")), "{printed}");
    assert!(!std::path::Path::new(&eve).exists() && !std::path::Path::new(&place("new")).exists());
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
