//! JA3, JA3S and JA4 as we write them to EVE against the values that nDPI and FoxIO recorded for the same captures. Every
//! recorded value counts: one that we lack is wrong.

#[path = "support/captures.rs"]
mod captures;
#[path = "support/ndpi.rs"]
mod ndpi;
mod support;

use captures::eve;
use ndpi::{Ends, ends};
use serde_json::Value;
use shrike::dataplane::capture::pcap::{Limits, Reader};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// Every fingerprint of every flow: `ja3 HASH`, `ja3s HASH`, `ja4 TEXT`.
fn ours(capture: &Path) -> HashMap<Ends, BTreeSet<String>> {
    let reader = Reader::open(std::slice::from_ref(&capture.to_owned()), Limits::default()).expect("a capture");
    let (text, _) = eve(reader, 1, 1 << 14).expect("a replay");
    let mut found: HashMap<Ends, BTreeSet<String>> = HashMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        for object in [&line["tls"], &line["quic"]] {
            for (name, value) in [
                ("ja3", &object["ja3"]["hash"]),
                ("ja3s", &object["ja3s"]["hash"]),
                ("ja4", &object["ja4"]),
                ("ja4", &line["ml"]["facts"]["retry_ja4"]),
            ] {
                let (Some(value), Some(ends)) = (value.as_str(), ends_of(&line)) else { continue };
                found.entry(ends).or_default().insert(format!("{name} {value}"));
            }
        }
    }
    found
}

fn ends_of(line: &Value) -> Option<Ends> {
    let protocol = if line["proto"] == "TCP" { 6 } else { 17 };
    let end =
        |address: &Value, port: &Value| Some((address.as_str()?.parse().ok()?, u16::try_from(port.as_u64()?).ok()?));
    Some(ends(protocol, end(&line["src_ip"], &line["src_port"])?, end(&line["dest_ip"], &line["dest_port"])?))
}

#[test]
fn ja3_and_ja3s_are_what_ndpi_recorded() {
    let Some(data) = support::shared_data("ja3_and_ja3s_are_what_ndpi_recorded") else { return };
    let (mut compared, mut missed) = ([0; 2], Vec::new());
    for (capture, report) in ndpi::reports(&data) {
        let recorded = ndpi::flows(&report);
        if !recorded.iter().any(|line| line.text.contains("[JA3")) {
            continue;
        }
        let found = ours(&capture);
        for line in recorded {
            for (index, name, ours) in [(0, "JA3C", "ja3"), (1, "JA3S", "ja3s")] {
                let Some(value) = line.value(name) else { continue };
                compared[index] += 1;
                let have = line.ends.and_then(|ends| found.get(&ends));
                // nDPI adds remarks such as `HASH (WEAK)`.
                let value = value.split(' ').next().unwrap_or(value);
                if !have.is_some_and(|have| have.contains(&format!("{ours} {value}"))) {
                    missed.push(format!("{}: {name} {value} {:.60}", capture.display(), line.text));
                }
            }
        }
    }
    println!("JA3: {} compared, JA3S: {} compared, {} wrong", compared[0], compared[1], missed.len());
    missed.iter().for_each(|one| println!("  {one}"));
    assert!(compared[0] >= 200 && compared[1] >= 100, "{compared:?}");
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Every handshake of DTLS that there is in the captures of others, with what its client offers: tshark shows two hellos of
/// each, of which the second brings the cookie, or the key that was asked for.
#[test]
fn hellos_of_dtls_are_told() {
    let Some(data) = support::shared_data("hellos_of_dtls_are_told") else { return };
    for capture in [
        "benign/ndpi/ndpi_4.2_debian/pcap/capwap.pcap",
        "conformance/zeek/zeek+zeek/testing/btest/Traces/tls/dtls13-wolfssl.pcap",
    ] {
        let reader = Reader::open(&[data.join(capture)], Limits::default()).expect("a capture");
        let (text, _) = eve(reader, 1, 1 << 14).expect("a replay");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        let hellos: Vec<_> = lines.filter(|line| line["event_type"] == "dtls").collect();
        assert_eq!(hellos.len(), 1, "{capture}");
        let offered = hellos[0]["ml"]["facts"]["client_ciphers"].as_str();
        assert!(offered.is_some_and(|offered| !offered.is_empty()), "{capture}: {}", hellos[0]);
    }
}

/// A client's fingerprint as recorded: its flow, where the record names one, and the value.
type Recorded = (Option<Ends>, String);

/// Of a snapshot of the program in Rust: the first hello of each flow.
fn of_snapshot(text: &str) -> Vec<Recorded> {
    let flow = |flow: &str| {
        let field = |name: &str| {
            flow.lines()
                .find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(": "))
                .map(|value| value.trim_matches('\''))
        };
        let protocol = if field("transport") == Some("udp") { 17 } else { 6 };
        let end = |address: &str, port: &str| Some((field(address)?.parse().ok()?, field(port)?.parse().ok()?));
        let ends = end("src", "src_port").zip(end("dst", "dst_port")).map(|(a, b)| ends(protocol, a, b));
        Some((ends, field("ja4")?.to_owned()))
    };
    text.split("\n- ").skip(1).filter_map(flow).collect()
}

/// Of a result of the program in Python: every hello of each flow, `JA4.1`, `JA4.2`.
fn of_python(text: &str) -> Vec<Recorded> {
    let flows: Vec<serde_json::Map<String, Value>> = serde_json::from_str(text).expect("a list of flows");
    let flow = |flow: &serde_json::Map<String, Value>| -> Vec<Recorded> {
        let field = |name: &str| flow.get(name).and_then(Value::as_str);
        let end = |address: &str, port: &str| Some((field(address)?.parse().ok()?, field(port)?.parse().ok()?));
        let values = flow.iter().filter(|(name, _)| *name == "JA4" || name.starts_with("JA4."));
        let value = |value: &str| {
            let protocol = if value.starts_with('t') { 6 } else { 17 };
            let ends = end("src", "srcport").zip(end("dst", "dstport")).map(|(a, b)| ends(protocol, a, b));
            (ends, value.to_owned())
        };
        values.filter_map(|(_, text)| text.as_str()).map(value).collect()
    };
    flows.iter().flat_map(flow).collect()
}

#[test]
fn ja4_is_what_its_makers_recorded() {
    let Some(data) = support::shared_data("ja4_is_what_its_makers_recorded") else { return };
    let folder = data.join("conformance/ja4/FoxIO-LLC+ja4");
    let (mut wrong, mut absent) = (Vec::new(), Vec::new());
    for (records, before, after, read, least) in [
        ("rust/ja4/src/snapshots", "ja4__insta@", ".snap", of_snapshot as fn(&str) -> Vec<Recorded>, 190),
        ("python/test/testdata", "", ".json", of_python, 150),
    ] {
        let mut compared = 0;
        for entry in std::fs::read_dir(folder.join(records)).expect("records") {
            let path = entry.expect("a readable entry").path();
            let file = path.file_name().and_then(|name| name.to_str()).expect("a name");
            let Some(name) = file.strip_prefix(before).and_then(|name| name.strip_suffix(after)) else { continue };
            let recorded = read(&std::fs::read_to_string(&path).expect("a readable record"));
            let capture = folder.join("pcap").join(name);
            if recorded.is_empty() || !capture.exists() {
                absent.extend((!recorded.is_empty()).then(|| name.to_owned()));
                continue;
            }
            let found = ours(&capture);
            for (ends, value) in recorded {
                compared += 1;
                let have = ends.and_then(|ends| found.get(&ends));
                if !have.is_some_and(|have| have.contains(&format!("ja4 {value}"))) {
                    wrong.push(format!("{name}: {value}, ours {have:?}"));
                }
            }
        }
        println!("JA4: {compared} compared of {records}");
        assert!(compared >= least, "{compared} of {records}");
    }
    println!("JA4: {} wrong; captures that are not there: {absent:?}", wrong.len());
    wrong.iter().for_each(|one| println!("  {one}"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
