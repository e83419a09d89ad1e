//! True zero-copy without a NIC: boots an emulated igb under QEMU, runs the shipped `shrike` in the guest and holds it to
//! exact counts. Needs no right on the host: the guest's wire is a datagram socket that this test holds.
//!
//! What it proves: zero-copy binds on four queues of a real driver, nothing lost or counted twice, and both directions of a
//! flow in one record although the NIC's hash is not symmetric. What it does not: speed. It runs under software emulation.

mod guest;
mod pair;
mod rss;
#[path = "../support/mod.rs"]
mod support;
mod traffic;

use guest::{Guest, NoGuest};
use rss::Rss;
use serde_json::{Value, json};
use shrike::control::view::{CaptureMode, Status};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use traffic::{Random, Traffic};

const QUEUES: usize = 4;
/// One for each queue's worker and one for the control plane.
const VCPUS: usize = QUEUES + 1;
const FLOWS: usize = 700;
/// Well below what the emulated NIC can take under TCG on two shared cores (some 20,000).
const FRAMES_PER_SECOND: f64 = 2_000.0;
/// Bounds on a hang, not measurements: booting takes some 5 s, or ten times that on a crowded machine.
const BOOT_LIMIT: Duration = Duration::from_secs(240);
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const DRAIN_LIMIT: Duration = Duration::from_secs(120);

#[test]
fn live_zero_copy_on_every_queue_of_an_emulated_nic() {
    let test = "live_zero_copy_on_every_queue_of_an_emulated_nic";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = std::env::var_os("SHRIKE_QEMU_CACHE").map_or(root.join("target/qemu"), PathBuf::from);
    match guest::fetch(&cache) {
        Ok(()) => {}
        Err(NoGuest::Unavailable(why)) => return support::skip(test, "qemu", &why),
        Err(NoGuest::Broken(why)) => panic!("{why}"),
    }
    let overlay = tempfile::tempdir().unwrap();
    fill_overlay(root, overlay.path());
    let mut guest = match Guest::boot(&cache, overlay.path(), VCPUS, 1) {
        Ok(guest) => guest,
        Err(NoGuest::Unavailable(why) | NoGuest::Broken(why)) => panic!("{why}"),
    };

    let key = guest.hear("key", BOOT_LIMIT).unwrap();
    let table = guest.hear("table", ANSWER_LIMIT).unwrap();
    guest.hear("ready", ANSWER_LIMIT).unwrap();
    let rss = Rss::parse(&key, &table);

    let seed = std::env::var("SHRIKE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(new_seed);
    println!("SHRIKE_SEED={seed}");
    let traffic = Traffic::random(FLOWS, &mut Random::new(seed));
    let sent = send_paced(&guest, &traffic).unwrap_or_else(|why| {
        // The NIC takes no more: what the guest knows about it is worth more than the error.
        let asked = guest.order("status").and_then(|()| guest.hear("status", ANSWER_LIMIT));
        let _ = guest.order("debug").and_then(|()| guest.hear("debug", ANSWER_LIMIT));
        panic!("{why}\n{asked:?}\n{}", guest.log_tail());
    });
    let status = drained(&mut guest, sent);
    guest.order("stop").unwrap();
    let workers = guest.hear("workers", ANSWER_LIMIT).unwrap();
    let summary = guest.hear("summary", ANSWER_LIMIT).unwrap();
    let exit_status: i64 = guest.hear("exit", ANSWER_LIMIT).unwrap().parse().unwrap();

    let mut expected = [0_u64; QUEUES];
    for frame in &traffic.frames {
        let tuple = traffic.flows[frame.flow];
        expected[rss.queue(&if frame.reverse { tuple.reversed() } else { tuple })] += 1;
    }
    let split = traffic.flows.iter().filter(|tuple| rss.queue(tuple) != rss.queue(&tuple.reversed())).count() as u64;
    let per_queue: Vec<Value> = status
        .queues
        .iter()
        .map(|queue| {
            json!({
                "mode": queue.mode.name(),
                "rx": term(&status, queue.id.0, "frames_received"),
                "drops": drops(&status, queue.id.0),
            })
        })
        .collect();
    let zero_copy = status.queues.iter().filter(|queue| queue.mode == CaptureMode::ZeroCopy).count();
    let handed_over = (0..QUEUES as u16).map(|queue| term(&status, queue, "handed_over")).sum::<u64>();
    let report = json!({
        "queues": status.queues.len(),
        "zero_copy_queues": zero_copy,
        "sent": sent,
        "received": status.totals.packets,
        "split_flows": split,
        "handed_over": handed_over,
        "scored": status.totals.scored,
        "per_queue": per_queue,
        "exit_status": exit_status,
    });
    let folder = root.join("target/zero-copy");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("summary.json"), format!("{report:#}\n")).unwrap();
    let context = format!("{report:#}\n{status:#?}\n{workers}\n{summary}");

    assert_eq!(status.queues.len(), QUEUES, "{context}");
    assert_eq!(zero_copy, QUEUES, "zero-copy read back on every queue: {context}");
    assert_eq!(status.totals.packets, sent, "every frame, once: {context}");
    for (queue, expected) in expected.iter().enumerate() {
        let received = term(&status, queue as u16, "frames_received");
        assert_eq!(received, *expected, "queue {queue} got what the NIC's hash gives it: {context}");
        assert_eq!(drops(&status, queue as u16), 0, "queue {queue} dropped nothing: {context}");
    }
    assert!(status.loss.closed, "the loss equation closes: {context}");
    // Split flows counted by this test's own hash: a flow in two records would be counted twice.
    assert!(split > 0 && handed_over > 0, "some flows are split by the NIC and handed over: {context}");
    assert_eq!(status.totals.flows, FLOWS as u64, "whole flows: {context}");
    assert!(status.totals.scored > 0, "rows are scored: {context}");
    assert_eq!(exit_status, 0, "{context}");
}

/// The binary that is shipped, its configuration, the model and its runtime, at the paths they have in the guest.
fn fill_overlay(root: &Path, overlay: &Path) {
    let binary = std::env::var_os("SHRIKE_RELEASE").unwrap_or(env!("CARGO_BIN_EXE_shrike").into());
    for folder in ["bin", "etc", "models/runtime"] {
        std::fs::create_dir_all(overlay.join(folder)).unwrap();
    }
    std::fs::copy(&binary, overlay.join("bin/shrike")).unwrap();
    for name in ["shrike.toml", "pair.toml"] {
        std::fs::copy(root.join("tests/qemu").join(name), overlay.join("etc").join(name)).unwrap();
    }
    for folder in ["models", "models/runtime"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap().flatten() {
            let name = entry.file_name();
            let wanted = [".onnx", ".json", ".toml"].iter().any(|end| name.to_string_lossy().ends_with(end))
                || name.to_string_lossy().contains(".so");
            if wanted && entry.path().is_file() {
                std::fs::copy(entry.path(), overlay.join(folder).join(name)).unwrap();
            }
        }
    }
}

fn new_seed() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_ne_bytes(bytes)
}

/// Sends every frame, evenly; gives how many went out.
fn send_paced(guest: &Guest, traffic: &Traffic) -> Result<u64, String> {
    let begin = Instant::now();
    for (index, frame) in traffic.frames.iter().enumerate() {
        let due = begin + Duration::from_secs_f64(index as f64 / FRAMES_PER_SECOND);
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        guest.send(0, &frame.bytes).map_err(|why| format!("frame {index}: {why}"))?;
    }
    Ok(traffic.frames.len() as u64)
}

/// Asks for the status until everything that was sent has arrived, or nothing more does.
fn drained(guest: &mut Guest, sent: u64) -> Status {
    let end = Instant::now() + DRAIN_LIMIT;
    let mut last = (0, 0);
    loop {
        guest.order("status").unwrap();
        let text = guest.hear("status", ANSWER_LIMIT).unwrap();
        let status: Status = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let settled = status.totals.packets >= sent && status.loss.closed;
        let now = (status.totals.packets, status.totals.scored);
        if (settled && now == last) || Instant::now() > end {
            return status;
        }
        last = now;
    }
}

/// A term of a queue's equations, by name, wherever it stands.
fn term(status: &Status, queue: u16, name: &str) -> u64 {
    let equations = status.loss.equations.iter().filter(|equation| equation.queue.is_some_and(|id| id.0 == queue));
    let terms: HashMap<&str, u64> = equations
        .flat_map(|equation| equation.left.iter().chain(&equation.right))
        .map(|amount| (amount.name.as_str(), amount.value))
        .collect();
    *terms.get(name).unwrap_or_else(|| panic!("no {name} in the equations of queue {queue}"))
}

/// Frames of a queue that were lost or refused, at whatever place.
fn drops(status: &Status, queue: u16) -> u64 {
    let names: Vec<&str> = status.totals.drops.iter().map(|drop| drop.name.as_str()).collect();
    let equations = status.loss.equations.iter().filter(|equation| equation.queue.is_some_and(|id| id.0 == queue));
    equations
        .flat_map(|equation| &equation.right)
        .filter(|term| names.contains(&term.name.as_str()))
        .map(|t| t.value)
        .sum()
}
