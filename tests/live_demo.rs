//! `shrike demo` as a newcomer runs it: real attackers caught, nobody else blamed, nothing left behind however it ends.

mod support;

use serde_json::Value;
use shrike::cli::demo::program::{missing, run, wait_until};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Bounds on a hang, not measurements.
const LIMIT: Duration = Duration::from_secs(180);

fn binary() -> PathBuf {
    std::env::var_os("SHRIKE_RELEASE").map_or(env!("CARGO_BIN_EXE_shrike").into(), PathBuf::from)
}

fn demo(summary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("demo")
        .arg("--summary")
        .arg(summary)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

fn lab_is_possible(test: &str) -> bool {
    if !support::privileged(test) {
        return false;
    }
    let programs = ["ip", "ethtool", "ss", "nginx", "sshd", "dnsmasq", "curl", "ssh", "dig", "nmap", "hydra", "hping3"];
    match missing(&programs) {
        None => true,
        Some(program) => {
            support::skip(test, "root", &format!("no {program} here: ci/install-packages.sh demo"));
            false
        }
    }
}

/// What a demo with this process number leaves: namespaces, processes, files, XDP programs.
fn left_behind(owner: u32) -> Vec<String> {
    let mark = format!("shrike-demo-{owner}-");
    let namespaces = run(&["ip", "netns", "list"]).unwrap();
    let processes = run(&["sh", "-c", "for p in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $p 2>/dev/null && echo; done"]);
    let files = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let files = files.map(|entry| entry.path().display().to_string());
    namespaces
        .lines()
        .chain(processes.unwrap_or_default().lines())
        .map(str::to_owned)
        .chain(files)
        .filter(|line| line.contains(&mark))
        .collect()
}

fn huge_pages_in_use() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
    };
    field("HugePages_Total:") - field("HugePages_Free:")
}

fn check_summary(path: &Path, output: &Output) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stdout);
    let context = format!("{text}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{context}");
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["missed"], 0, "{context}");
    assert_eq!(summary["false_alerts"], 0, "{context}");
    assert_eq!(summary["loss_equation_closed"], true, "{context}");
    for detector in ["scan", "brute_force", "flood"] {
        assert!(summary["alerts"][detector].as_u64().is_some_and(|count| count > 0), "{detector}: {context}");
    }
    assert!(summary["packets"].as_u64().unwrap() > 5_000, "{context}");
    for stage in ["burst", "packet_to_alert"] {
        assert!(summary["latency_ns"][stage]["p99"].as_u64().is_some_and(|p99| p99 > 0), "{stage}: {context}");
    }
    summary
}

#[test]
fn live_demo_catches_every_attacker_and_leaves_nothing() {
    if !lab_is_possible("live_demo_catches_every_attacker_and_leaves_nothing") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.json");
    let huge_pages = huge_pages_in_use();
    let child = demo(&path, &["--seconds", "30"]).spawn().unwrap();
    let owner = child.id();
    let output = child.wait_with_output().unwrap();
    let summary = check_summary(&path, &output);
    let mode = summary["capture_mode"].as_str().unwrap();
    assert!(["copy", "generic"].contains(&mode), "a veth gives {mode}");
    assert_eq!(left_behind(owner), Vec::<String>::new());
    assert_eq!(huge_pages_in_use(), huge_pages);
}

#[test]
fn live_an_interrupted_demo_leaves_nothing() {
    if !lab_is_possible("live_an_interrupted_demo_leaves_nothing") {
        return;
    }
    for signal in ["INT", "TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = demo(&folder.path().join("summary.json"), &["--seconds", "600"]).spawn().unwrap();
        let owner = child.id();
        assert!(wait_until(LIMIT, || lab_is_up(owner)), "the lab never came up");
        run(&["kill", "-s", signal, &owner.to_string()]).unwrap();
        assert!(ends(&mut child), "SIG{signal} did not end it");
        assert_eq!(child.wait().unwrap().code(), Some(130), "ended by SIG{signal} before anything was to be seen");
        assert_eq!(left_behind(owner), Vec::<String>::new());
    }
}

#[test]
fn live_a_killed_demo_leaves_nothing() {
    if !lab_is_possible("live_a_killed_demo_leaves_nothing") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.json");
    let mut killed = demo(&path, &["--seconds", "600"]).spawn().unwrap();
    let owner = killed.id();
    assert!(wait_until(LIMIT, || lab_is_up(owner)), "the lab never came up");
    killed.kill().unwrap();
    killed.wait().unwrap();
    // Nobody starts another one: the watchdog takes the lab down, with what its servers started, and the pins.
    let pins = Path::new("/run/shrike/bpf").join(format!("demo-{owner}"));
    let gone = wait_until(LIMIT, || left_behind(owner).is_empty() && !pins.exists());
    assert!(gone, "{:?} {}", left_behind(owner), pins.exists());
}

#[test]
fn live_without_rights_the_demo_says_so_and_shows_the_recorded_capture() {
    let test = "live_without_rights_the_demo_says_so_and_shows_the_recorded_capture";
    // Root gives its rights up; anyone else has none to begin with.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.json");
    let mut command = demo(&path, &["--seconds", "30"]);
    if support::is_privileged() {
        let Some(program) = missing(&["setpriv"]) else {
            let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let mut unprivileged = Command::new("setpriv");
            unprivileged.args(["--bounding-set", "-all", "--inh-caps", "-all", "--"]).arg(binary()).args(arguments);
            unprivileged.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
            let output = unprivileged.output().unwrap();
            assert!(String::from_utf8_lossy(&output.stdout).contains("not root"), "it does not say why");
            assert_eq!(check_summary(&path, &output)["capture_mode"], "file");
            return;
        };
        return support::skip(test, "root", &format!("no {program} to give rights up with"));
    }
    let output = command.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("not root"), "it does not say why");
    assert_eq!(check_summary(&path, &output)["capture_mode"], "file");
}

/// The servers run: the lab is built and its traffic is about to start.
fn lab_is_up(owner: u32) -> bool {
    left_behind(owner).iter().any(|line| line.contains("dnsmasq"))
}

fn ends(child: &mut Child) -> bool {
    let ended = wait_until(LIMIT, || child.try_wait().unwrap().is_some());
    if !ended {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    ended
}
