//! What is found in windows of flows in tunnels says in which tunnel it was seen last: alert, EVE line and words.

#[path = "support/captures.rs"]
mod captures;
mod support;

use serde_json::Value;
use shrike::control::export::EveWriter;
use shrike::dataplane::capture::pcap::{Limits, Reader};

fn ipv4(protocol: u8, from: [u8; 4], to: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + body.len() as u16).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    packet.extend(from);
    packet.extend(to);
    packet.extend(body);
    packet
}

fn ethernet(ip: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0][..], ip].concat()
}

const SCANNER: [u8; 4] = [10, 0, 0, 66];
const TARGET: [u8; 4] = [10, 0, 0, 2];
const NEAR: [u8; 4] = [192, 0, 2, 1];
const FAR: [u8; 4] = [192, 0, 2, 2];

/// A SYN of the scan and the reset that answers it.
fn probe(port: u16) -> [([u8; 4], Vec<u8>); 2] {
    let tcp = |from: u16, to: u16, flags: u8| {
        [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]]
            .concat()
    };
    [
        (NEAR, ipv4(6, SCANNER, TARGET, &tcp(40_000 + port, port, 2))),
        (FAR, ipv4(6, TARGET, SCANNER, &tcp(port, 40_000 + port, 0x14))),
    ]
}

/// A scan of 400 ports within four seconds, each packet as `wrap` sends it on from one end of a tunnel to the other.
fn scan(wrap: impl Fn([u8; 4], [u8; 4], &[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut capture = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for port in 1..=400_u16 {
        for (sender, packet) in probe(port) {
            let frame = wrap(sender, if sender == NEAR { FAR } else { NEAR }, &packet);
            let milliseconds = u32::from(port) * 10;
            let length = frame.len() as u32;
            for number in [1_700_000_000 + milliseconds / 1000, milliseconds % 1000 * 1000, length, length] {
                capture.extend(number.to_le_bytes());
            }
            capture.extend(frame);
        }
    }
    capture
}

fn vxlan(from: [u8; 4], to: [u8; 4], inner: &[u8]) -> Vec<u8> {
    let body = [&[8, 0, 0, 0, 0, 0, 42, 0][..], &ethernet(inner)].concat();
    let mut datagram = Vec::new();
    for number in [50_000, 4789, body.len() as u16 + 8, 0] {
        datagram.extend(number.to_be_bytes());
    }
    datagram.extend(body);
    ethernet(&ipv4(17, from, to, &datagram))
}

fn gre(from: [u8; 4], to: [u8; 4], inner: &[u8]) -> Vec<u8> {
    ethernet(&ipv4(47, from, to, &[&[0x20, 0, 8, 0, 0, 0, 0, 7][..], inner].concat()))
}

/// The alerts of a capture, and their lines of EVE.
fn alerts(capture: Vec<u8>, workers: usize) -> Vec<(Value, Value)> {
    let stream = Box::new(std::io::Cursor::new(capture));
    let reader = Reader::from_stream("scan", stream, Limits::default()).expect("a capture");
    let (_, collected) = captures::replay(reader, workers, captures::engine(1000), None);
    let mut writer = EveWriter::new(Vec::new(), None);
    collected.alerts.iter().for_each(|alert| writer.alert(alert).expect("memory"));
    let lines = String::from_utf8(writer.finish().expect("memory")).expect("text");
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let alerts = collected.alerts.iter().map(|alert| serde_json::to_value(alert).expect("JSON"));
    alerts.zip(lines).collect()
}

#[test]
fn a_scan_in_a_tunnel_says_in_which() {
    type Wrap = fn([u8; 4], [u8; 4], &[u8]) -> Vec<u8>;
    for (wrap, kind, id, proto) in [(vxlan as Wrap, "vxlan", 42, "UDP"), (gre, "gre", 7, "GRE")] {
        let found = alerts(scan(wrap), 1);
        assert!(found.iter().any(|(alert, _)| alert["kind"] == "vertical"), "{found:#?}");
        for (alert, line) in &found {
            assert_eq!((&alert["source"], &alert["detector"]), (&"10.0.0.66".into(), &"scan".into()), "{alert}");
            let tunnel = &alert["tunnel"];
            assert_eq!(
                (&tunnel["levels"][0]["kind"], &tunnel["levels"][0]["id"]),
                (&kind.into(), &id.into()),
                "{alert}"
            );
            let mut ends = ["source", "destination"].map(|end| tunnel["carrier"][end].as_str().expect("an address"));
            ends.sort_unstable();
            assert_eq!(ends, ["192.0.2.1", "192.0.2.2"]);
            assert!(
                alert["summary"].as_str().is_some_and(|text| text.contains(&format!("in {kind} {id} ("))),
                "{alert}"
            );
            assert_eq!((&line["tunnel"]["proto"], &line["tunnel"]["depth"]), (&proto.into(), &1.into()), "{line}");
            assert_eq!(line["ml"]["tunnels"][0]["id"], id, "{line}");
        }
        assert_eq!(alerts(scan(wrap), 4), found, "four workers");
    }
    let plain = alerts(scan(|_, _, inner| ethernet(inner)), 1);
    assert!(
        !plain.is_empty() && plain.iter().all(|(alert, line)| alert["tunnel"].is_null() && line["tunnel"].is_null())
    );
}
