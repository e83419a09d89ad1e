//! The files of a running sensor: what a real `shrike run` writes of frames that come over veth, and what it shows of flows.

#[path = "support/http.rs"]
mod http_client;
mod live;
mod support;

use http_client::Client;

use live::process::Shrike;
use live::{Bed, Sender, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// A DNS query for `host<number>.example` from a port of its own.
fn query(number: u16) -> Vec<u8> {
    let name = format!("host{number}");
    let mut dns = Vec::from(number.to_be_bytes());
    dns.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8]);
    dns.extend(name.as_bytes());
    dns.extend(b"\x07example\x00\x00\x01\x00\x01");
    let (udp, ip) = ((8 + dns.len()) as u16, (28 + dns.len()) as u16);
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
    frame.extend(ip.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2]);
    frame.extend((20_000 + number).to_be_bytes());
    frame.extend([0, 53]);
    frame.extend(udp.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(dns);
    frame
}

/// A SYN of 10.9.0.3 to a port that nobody answers from.
fn knock(port: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 3, 8, 0, 0x45, 0, 0, 40];
    frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 3, 10, 9, 0, 2]);
    frame.extend(40_000_u16.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    frame
}

fn lines(path: &Path, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last line may be half written while it runs.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parsed = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    parsed.filter(|line| line["event_type"] == kind).collect()
}

#[test]
fn live_events_flows_and_statistics_are_written_while_it_runs() {
    if !support::privileged("live_events_flows_and_statistics_are_written_while_it_runs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, conn) = (folder.path().join("eve.json"), folder.path().join("conn.log"));
    let config = folder.path().join("shrike.toml");
    std::fs::write(&config, "[eve]\nstats_seconds = 1\n[flow]\ndatagram_seconds = 1\nunanswered_seconds = 1\n")
        .unwrap();
    let bed = Bed::new(1);
    let arguments =
        ["-c", config.to_str().unwrap(), "--eve", path.to_str().unwrap(), "--conn-log", conn.to_str().unwrap()];
    let shrike = Shrike::start_with(&bed, "copy", &arguments);
    let frames: Vec<Vec<u8>> = (0..200).map(query).collect();
    let mut sender = Sender::of(&bed, frames.clone());
    frames.iter().for_each(|frame| sender.send_frame(frame));
    let events = until("every query is an event", || lines(&path, "dns"), |events| events.len() >= 200);
    let names: BTreeSet<&str> = events.iter().filter_map(|line| line["dns"]["queries"][0]["rrname"].as_str()).collect();
    assert_eq!(names.len(), 200, "{names:?}");
    assert!(
        events.iter().all(|line| line["in_iface"].as_str().is_some_and(|name| name.ends_with("rx0"))),
        "{:?}",
        events.first()
    );
    let enough = |stats: &Vec<Value>| stats.last().is_some_and(|line| line["stats"]["flow"]["total"] == 200);
    let stats = until("statistics that have every flow", || lines(&path, "stats"), enough);
    let last = stats.last().unwrap();
    assert_eq!(
        (&last["stats"]["decoder"]["pkts"], &last["ml"]["counters"]["flows_created"]),
        (&200.into(), &200.into())
    );
    // The flows end while it runs, and are shown.
    let mut client = Client::connect(shrike.address());
    let page = until(
        "flows that ended are shown",
        || client.get("/v1/flows?protocol=dns&limit=1000").json(),
        |page| page["items"].as_array().is_some_and(|items| items.len() == 200),
    );
    assert!(page["items"].as_array().unwrap().iter().all(|item| item["conn_state"] == "S0" && item["ended"] == "idle"));
    let one = client.get("/v1/flows?port=20007").json();
    assert_eq!((one["items"].as_array().unwrap().len(), &one["items"][0]["source"]), (1, &"10.9.0.1".into()));
    // A scan is an alert in the file, and marks its flows.
    let knocks: Vec<Vec<u8>> = (1..=100).map(knock).collect();
    let mut scanner = Sender::of(&bed, knocks.clone());
    knocks.iter().for_each(|frame| scanner.send_frame(frame));
    let alerts = until("the scan is an alert", || lines(&path, "alert"), |alerts| !alerts.is_empty());
    assert_eq!((&alerts[0]["src_ip"], &alerts[0]["alert"]["action"]), (&"10.9.0.3".into(), &"allowed".into()));
    let alerted = until(
        "its flows are alerted",
        || client.get("/v1/flows?alerted=true&limit=1000").json(),
        |page| page["items"].as_array().is_some_and(|items| items.len() == 100),
    );
    assert!(alerted["items"].as_array().unwrap().iter().all(|item| item["source"] == "10.9.0.3"));
    // What logrotate does: the file goes, and SIGHUP asks for a new one; the process stays.
    let moved = folder.path().join("eve.json.moved");
    std::fs::rename(&path, &moved).unwrap();
    let hangup = std::process::Command::new("kill").args(["-HUP", &shrike.child.id().to_string()]).status().unwrap();
    assert!(hangup.success());
    until("a new file after SIGHUP", || path.exists(), |exists| *exists);
    let summary = shrike.terminate();
    assert_eq!(summary["loss_equation_closed"], true, "{summary:#}");
    assert!(!lines(&path, "stats").is_empty(), "the last statistics go to the new file");
    let flows = [lines(&moved, "flow"), lines(&path, "flow")].concat();
    assert_eq!(flows.iter().filter(|line| line["app_proto"] == "dns").count(), 200, "each query was a flow of its own");
    let ids: BTreeSet<&str> = flows.iter().filter_map(|line| line["community_id"].as_str()).collect();
    assert!(events.iter().all(|line| line["community_id"].as_str().is_some_and(|id| ids.contains(id))));
    let log = std::fs::read_to_string(&conn).unwrap();
    let rows: Vec<Vec<&str>> =
        log.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect()).collect();
    assert!(log.starts_with("#separator") && log.lines().last().unwrap().starts_with("#close"), "{log}");
    assert_eq!(rows.iter().filter(|row| row[6..8] == ["udp", "dns"] && row[11] == "S0").count(), 200);
    let logged: BTreeSet<&str> = rows.iter().map(|row| row[22]).collect();
    assert!(ids.iter().all(|id| logged.contains(id)), "the same flows in both files");
}

/// A file system of 1 MiB, gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> SmallDisk {
        let folder = tempfile::tempdir().unwrap();
        live::run(&format!("mount -t tmpfs -o size=1m,mode=700 shrike-test {}", folder.path().display()));
        SmallDisk(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        live::run(&format!("umount {}", self.0.path().display()));
    }
}

/// The disk fills under a running sensor: whole lines only, one complaint, and when there is room it goes on. What
/// another file never took is told at the end.
#[test]
fn live_a_full_disk_costs_lines_and_nothing_else() {
    if !support::privileged("live_a_full_disk_costs_lines_and_nothing_else") {
        return;
    }
    let disk = SmallDisk::new();
    let (path, ballast) = (disk.0.path().join("eve.json"), disk.0.path().join("ballast"));
    std::fs::write(&ballast, vec![0; 1000 << 10]).unwrap();
    let bed = Bed::new(1);
    let shrike = Shrike::start_with(&bed, "copy", &["--eve", path.to_str().unwrap(), "--conn-log", "/dev/full"]);
    let frames: Vec<Vec<u8>> = (0..200).map(query).collect();
    let mut sender = Sender::of(&bed, frames.clone());
    frames.iter().for_each(|frame| sender.send_frame(frame));
    let mut client = Client::connect(shrike.address());
    let is_told = |status: &Value| {
        let degraded = status["degraded"].as_array().unwrap();
        degraded.iter().any(|one| one["part"] == "eve" && one["reason"].as_str().unwrap().contains("No space left"))
    };
    until("a full disk is told", || client.get("/v1/status").json(), is_told);
    let full = std::fs::read_to_string(&path).unwrap();
    assert!(full.ends_with('\n') && full.lines().count() > 10, "whole lines: {:?}", full.lines().last());
    std::fs::remove_file(&ballast).unwrap();
    // What waited is written, not lost.
    let events = until("writing goes on", || lines(&path, "dns"), |events| events.len() >= 200);
    assert!(events.iter().all(|line| line["dns"]["queries"][0]["rrname"].is_string()));
    until("and the trouble is over", || client.get("/v1/status").json(), |status| !is_told(status));
    let summary = shrike.terminate();
    assert_eq!(summary["loss_equation_closed"], true, "{summary:#}");
    let lost = &summary["lines_lost"];
    assert!(lost["conn_log"]["flow"].as_u64().is_some_and(|flows| flows >= 200), "{lost}");
    assert_eq!(lost["eve"], serde_json::json!({"alert": 0, "event": 0, "flow": 0, "stats": 0}));
}
