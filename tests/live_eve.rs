//! The EVE file of a running sensor: what a real `shrike run` writes of frames that come over veth.

mod live;
mod support;

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

fn lines(path: &Path, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last line may be half written while it runs.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parsed = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    parsed.filter(|line| line["event_type"] == kind).collect()
}

#[test]
fn live_events_and_flows_are_written_while_it_runs() {
    if !support::privileged("live_events_and_flows_are_written_while_it_runs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eve.json");
    let bed = Bed::new(1);
    let shrike = Shrike::start_with(&bed, "copy", &["--eve", path.to_str().unwrap()]);
    let frames: Vec<Vec<u8>> = (0..200).map(query).collect();
    let mut sender = Sender::of(&bed, frames.clone());
    frames.iter().for_each(|frame| sender.send_frame(frame));
    let events = until("every query is an event", || lines(&path, "dns"), |events| events.len() >= 200);
    let names: BTreeSet<&str> = events.iter().filter_map(|line| line["dns"]["queries"][0]["rrname"].as_str()).collect();
    assert_eq!(names.len(), 200, "{names:?}");
    let summary = shrike.terminate();
    assert_eq!(summary["loss_equation_closed"], true, "{summary:#}");
    let flows = lines(&path, "flow");
    let dns = flows.iter().filter(|line| line["app_proto"] == "dns").count();
    assert_eq!(dns, 200, "each query was a flow of its own, told at its end");
    let ids: BTreeSet<&str> = flows.iter().filter_map(|line| line["community_id"].as_str()).collect();
    assert!(events.iter().all(|line| line["community_id"].as_str().is_some_and(|id| ids.contains(id))));
}
