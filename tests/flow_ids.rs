//! `flow_id` in EVE: one for all that is told of a flow, another one for the next flow on the same ports.

#[path = "support/captures.rs"]
mod captures;
mod support;

use captures::eve;
use serde_json::Value;
use shrike::dataplane::capture::pcap::{Limits, Reader};
use std::collections::{BTreeMap, BTreeSet};

const SYN: u8 = 2;
const RST: u8 = 4;
const SYN_ACK: u8 = 0x12;
const PSH_ACK: u8 = 0x18;

/// An Ethernet frame with an IPv4 packet from or to 10.0.0.1; with options, their header is unusual.
fn frame(back: bool, protocol: u8, options: &[u8], body: &[u8]) -> Vec<u8> {
    let (from, to) = if back { (2, 1) } else { (1, 2) };
    let [a, b] = (20 + options.len() as u16 + body.len() as u16).to_be_bytes();
    let words = 5 + options.len() as u8 / 4;
    let head = [0x40 | words, 0, a, b, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, from, 10, 0, 0, to];
    [&[0; 12], &[8, 0][..], &head, options, body].concat()
}

fn udp(back: bool, body: &[u8]) -> Vec<u8> {
    let (from, to) = if back { (53, 4000) } else { (4000, 53) };
    let head: Vec<u8> = [from, to, body.len() as u16 + 8, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
    frame(back, 17, &[], &[&head, body].concat())
}

fn tcp(back: bool, (sequence, acknowledges): (u32, u32), flags: u8, options: &[u8], body: &[u8]) -> Vec<u8> {
    let (from, to) = if back { (80_u16, 4001_u16) } else { (4001, 80) };
    let mut segment = [from.to_be_bytes(), to.to_be_bytes()].concat();
    segment.extend([sequence.to_be_bytes(), acknowledges.to_be_bytes()].concat());
    segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(body);
    frame(back, 6, options, &segment)
}

/// A request and its answer, reset; its last packet has an option that no packet should have.
fn connection(number: u32, path: &str) -> Vec<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: h.example\r\n\r\n");
    let answer = "HTTP/1.1 204 No Content\r\nServer: s\r\n\r\n";
    let (begin, reply) = (number + 1, number + 5001);
    let (sent, said) = (begin + request.len() as u32, reply + answer.len() as u32);
    vec![
        tcp(false, (number, 0), SYN, &[], b""),
        tcp(true, (number + 5000, begin), SYN_ACK, &[], b""),
        tcp(false, (begin, reply), PSH_ACK, &[], request.as_bytes()),
        tcp(true, (reply, sent), PSH_ACK, &[], answer.as_bytes()),
        tcp(false, (sent, said), RST, &[131, 7, 4, 10, 0, 0, 9, 0], b""),
    ]
}

/// Replays frames at their seconds; every line by its `flow_id`: its type, its port, and when its flow began.
fn ids(frames: &[(u32, Vec<u8>)], workers: usize) -> BTreeMap<u64, BTreeSet<String>> {
    let mut capture = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for (seconds, frame) in frames {
        let length = frame.len() as u32;
        for number in [1_700_000_000 + seconds, 0, length, length] {
            capture.extend(number.to_le_bytes());
        }
        capture.extend(frame);
    }
    let reader = Reader::from_stream("reuse", Box::new(std::io::Cursor::new(capture)), Limits::default()).unwrap();
    let (text, outcome) = eve(reader, workers, 1 << 10).unwrap();
    assert!(outcome.loss_equation_closed(), "{:?}", outcome.counters);
    let mut ids: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let id = line["flow_id"].as_u64().unwrap_or_else(|| panic!("no number: {line}"));
        assert!(id < 1 << 51, "{line}");
        let kind = line["event_type"].as_str().unwrap();
        ids.entry(id).or_default().insert(match kind {
            "http" => format!("http {}", line["http"]["url"]),
            "anomaly" => format!("anomaly {}", line["anomaly"]["event"]),
            _ => format!("{kind} {}", line["proto"]),
        });
    }
    ids
}

/// What is told of each flow, and how many flows.
fn told(ids: &BTreeMap<u64, BTreeSet<String>>) -> Vec<String> {
    let mut told: Vec<String> =
        ids.values().map(|lines| lines.iter().map(String::as_str).collect::<Vec<_>>().join(", ")).collect();
    told.sort();
    told
}

#[test]
fn two_flows_on_the_same_ports_have_two_numbers() {
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04host\x07example\0\0\x01\0\x01";
    let answer = b"\x12\x34\x81\x83\0\x01\0\0\0\0\0\0\x04host\x07example\0\0\x01\0\x01";
    let mut frames = Vec::new();
    for (second, number, path) in [(0, 100_000, "/first"), (9_000, 900_000, "/second")] {
        frames.extend([(second, udp(false, question)), (second + 1, udp(true, answer))]);
        frames.extend(connection(number, path).into_iter().map(|frame| (second + 2, frame)));
    }
    let anomaly = "anomaly \"decoder.ipv4.opt_source_route\"";
    let ids_of_one = ids(&frames, 1);
    let of = |path: &str| format!("{anomaly}, flow \"TCP\", http \"{path}\"");
    let expected =
        [of("/first"), of("/second"), "dns \"UDP\", flow \"UDP\"".into(), "dns \"UDP\", flow \"UDP\"".into()];
    assert_eq!(told(&ids_of_one), expected);
    assert_eq!(ids(&frames, 1), ids_of_one, "the same in every replay");
    assert_eq!(ids(&frames, 3), ids_of_one, "whatever the number of workers");
}

/// One burst of a live source has one time.
#[test]
fn flows_that_begin_in_the_same_instant_have_two_numbers() {
    let frames: Vec<_> = [(100_000, "/first"), (900_000, "/second"), (1_900_000, "/third")]
        .into_iter()
        .flat_map(|(number, path)| connection(number, path))
        .map(|frame| (5, frame))
        .collect();
    let ids = ids(&frames, 1);
    let told = told(&ids);
    assert_eq!(told.len(), 3, "{told:?}");
    for (path, lines) in ["/first", "/second", "/third"].into_iter().zip(&told) {
        let expected = format!("anomaly \"decoder.ipv4.opt_source_route\", flow \"TCP\", http \"{path}\"");
        assert_eq!(*lines, expected, "{told:?}");
    }
}
