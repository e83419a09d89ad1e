//! Fragments through the whole engine: what is said of a datagram in pieces is what is said of it in one, in any order, over
//! either version, in a tunnel, with one worker and with four; attacks by fragments are anomalies by name; and what is put
//! together from real captures is what tshark puts together.

#[path = "support/captures.rs"]
mod captures;
mod support;

use captures::eve;
use serde_json::Value;
use shrike::control::replay::Outcome;
use shrike::dataplane::capture::pcap::{Limits, PcapSource, Reader, Speed};
use shrike::dataplane::capture::{BURST_MAX, Source};
use shrike::dataplane::decode::{self, Decoded, DefragSettings, Defragmenter, Layers, Packet, decode_rest};
use shrike::metrics::Counter;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Replays frames a millisecond apart; the lines of EVE, sorted, and what it came to.
fn replay(frames: &[(u32, Vec<u8>)], workers: usize) -> (Vec<String>, Outcome) {
    let mut capture = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for (milliseconds, frame) in frames {
        let length = frame.len() as u32;
        for number in [1_700_000_000 + milliseconds / 1000, milliseconds % 1000 * 1000, length, length] {
            capture.extend(number.to_le_bytes());
        }
        capture.extend(frame);
    }
    let stream = Box::new(std::io::Cursor::new(capture));
    let reader = Reader::from_stream("fragments", stream, Limits::default()).expect("a capture");
    let (text, outcome) = eve(reader, workers, 1 << 10).expect("a replay");
    assert!(outcome.loss_equation_closed(), "{:?}", outcome.counters);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    (lines, outcome)
}

/// The lines of everything but flows, whose packets are others.
fn events(lines: &[String]) -> Vec<Value> {
    let values = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    values.filter(|value| value["event_type"] != "flow").collect()
}

/// Packets and bytes of each flow, both ways.
fn counts(lines: &[String]) -> BTreeSet<String> {
    let values = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let flows = values.filter(|value| value["event_type"] == "flow");
    let count = |flow: Value| {
        let names = ["pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient"];
        let counts = names.map(|name| flow["flow"][name].as_u64().expect(name));
        format!("{} {} {counts:?}", flow["community_id"], flow["tunnel"]["depth"])
    };
    flows.map(count).collect()
}

/// Without who sent the packets of the tunnel, and without the number of the flow. A packet that was put together counts in the flow of the queue that did so,
/// which is another one than its answer's where only one of them came in pieces: each began with what that queue saw first.
fn unsided(mut events: Vec<Value>) -> Vec<Value> {
    for event in &mut events {
        if let Some(tunnel) = event["tunnel"].as_object_mut() {
            for end in ["src_ip", "dest_ip", "src_port", "dest_port"] {
                tunnel.remove(end);
            }
        }
        event["flow_id"] = Value::Null;
    }
    events
}

/// Who sends to whom over which version; hosts 1 and 2.
#[derive(Clone, Copy)]
struct Way {
    v6: bool,
    back: bool,
    vlan: bool,
}

impl Way {
    fn hosts(self) -> (u8, u8) {
        if self.back { (2, 1) } else { (1, 2) }
    }

    /// An IP packet, or a fragment of one: identification, offset, more.
    fn ip(self, protocol: u8, body: &[u8], fragment: Option<(u16, usize, bool)>) -> Vec<u8> {
        let (from, to) = self.hosts();
        let mut packet = Vec::new();
        if self.v6 {
            let extra = if fragment.is_some() { 8 } else { 0 };
            packet.extend([0x60, 0, 0, 0]);
            packet.extend((body.len() as u16 + extra).to_be_bytes());
            packet.extend([if fragment.is_some() { 44 } else { protocol }, 64]);
            for host in [from, to] {
                packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
            }
            if let Some((id, offset, more)) = fragment {
                packet.extend([protocol, 0]);
                packet.extend((offset as u16 | u16::from(more)).to_be_bytes());
                packet.extend(u32::from(id).to_be_bytes());
            }
        } else {
            let (id, offset, more) = fragment.unwrap_or((0, 0, false));
            packet.extend([0x45, 0]);
            packet.extend((20 + body.len() as u16).to_be_bytes());
            packet.extend(id.to_be_bytes());
            packet.extend((offset as u16 / 8 + if more { 0x2000 } else { 0 }).to_be_bytes());
            packet.extend([64, protocol, 0, 0, 10, 0, 0, from, 10, 0, 0, to]);
        }
        packet.extend(body);
        packet
    }

    fn frame(self, ip: &[u8]) -> Vec<u8> {
        let (from, to) = self.hosts();
        let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from];
        if self.vlan {
            frame.extend([0x81, 0, 0, 7]);
        }
        frame.extend(if self.v6 { [0x86, 0xdd] } else { [8, 0] });
        frame.extend(ip);
        frame
    }

    /// The datagram in one frame, or in fragments of at most `piece` bytes.
    fn send(self, protocol: u8, body: &[u8], id: u16, piece: Option<usize>) -> Vec<Vec<u8>> {
        let Some(piece) = piece else { return vec![self.frame(&self.ip(protocol, body, None))] };
        let parts = body.chunks(piece).enumerate();
        let last = body.len().div_ceil(piece) - 1;
        let part = |(number, part): (usize, &[u8])| {
            self.frame(&self.ip(protocol, part, Some((id, number * piece, number != last))))
        };
        parts.map(part).collect()
    }
}

fn udp(from: u16, to: u16, body: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    for number in [from, to, body.len() as u16 + 8, 0] {
        datagram.extend(number.to_be_bytes());
    }
    datagram.extend(body);
    datagram
}

fn tcp(from: u16, to: u16, sequence: u32, acknowledges: u32, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(from.to_be_bytes());
    segment.extend(to.to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledges.to_be_bytes());
    segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(body);
    segment
}

/// A question for the texts of `name.example`, and an answer with `count` texts of 100 bytes.
fn dns(id: u16, count: u16) -> (Vec<u8>, Vec<u8>) {
    let head = |flags: u16, answers: u16| {
        [id, flags, 1, answers, 0, 0].iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>()
    };
    let question = [&b"\x04name\x07example\x00"[..], &[0, 16, 0, 1]].concat();
    let mut answer = [head(0x8180, count), question.clone()].concat();
    for number in 0..count {
        answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 101, 100]);
        answer.extend([b'a' + (number % 26) as u8; 100]);
    }
    ([head(0x0100, 0), question].concat(), answer)
}

/// What is said in a conversation, in frames: `piece` cuts every datagram that is longer.
fn conversation(way: Way, piece: Option<usize>, order: fn(&mut Vec<Vec<u8>>)) -> Vec<(u32, Vec<u8>)> {
    let back = Way { back: !way.back, ..way };
    let (question, answer) = dns(77, 12);
    let page = [
        &b"HTTP/1.1 200 OK\r\nServer: pieces\r\nContent-Type: text/plain\r\nContent-Length: 900\r\n\r\n"[..],
        &[b'x'; 900],
    ]
    .concat();
    let host = format!("GET /{} HTTP/1.1\r\nHost: www.example\r\nUser-Agent: fragments\r\n\r\n", "long/".repeat(200));
    // VXLAN: an Ethernet frame with a question and one with its answer.
    let (question_inside, answer_inside) = dns(78, 12);
    let inside = |way: Way, datagram: &[u8]| {
        let frame = Way { v6: false, vlan: false, ..way };
        let ip = frame.ip(17, datagram, None);
        udp(50_000, 4789, &[&[8, 0, 0, 0, 0, 0, 99, 0][..], &frame.frame(&ip)].concat())
    };
    let sent: [(Way, u8, Vec<u8>); 10] = [
        (way, 17, udp(40_000, 53, &question)),
        (back, 17, udp(53, 40_000, &answer)),
        (way, 6, tcp(40_001, 80, 99, 0, 2, &[])),
        (back, 6, tcp(80, 40_001, 999, 100, 0x12, &[])),
        (way, 6, tcp(40_001, 80, 100, 1000, 0x10, &[])),
        (way, 6, tcp(40_001, 80, 100, 1000, 0x18, host.as_bytes())),
        (back, 6, tcp(80, 40_001, 1000, 100 + host.len() as u32, 0x18, &page)),
        (way, 6, tcp(40_001, 80, 100 + host.len() as u32, 1000 + page.len() as u32, 0x10, &[])),
        (way, 17, inside(way, &udp(40_002, 53, &question_inside))),
        (back, 17, inside(back, &udp(53, 40_002, &answer_inside))),
    ];
    let mut frames = Vec::new();
    for (number, (way, protocol, body)) in sent.iter().enumerate() {
        let mut pieces = way.send(*protocol, body, number as u16 + 1, piece.filter(|piece| body.len() > *piece));
        order(&mut pieces);
        frames.extend(pieces.into_iter().map(|frame| (number as u32 * 10, frame)));
    }
    frames
}

#[test]
fn what_comes_in_pieces_is_read_as_in_one() {
    let shuffled: fn(&mut Vec<Vec<u8>>) = |pieces| {
        // The first stays the first: a flow's record counts a fragment that overtakes it as unknown.
        if pieces.len() > 2 {
            pieces[1..].reverse();
        }
    };
    let twice: fn(&mut Vec<Vec<u8>>) =
        |pieces| *pieces = pieces.iter().flat_map(|one| [one.clone(), one.clone()]).collect();
    for (v6, vlan) in [(false, false), (true, false), (false, true), (true, true)] {
        let way = Way { v6, back: false, vlan };
        let (whole, _) = replay(&conversation(way, None, |_| ()), 1);
        let whole = events(&whole);
        let kinds: Vec<&str> = whole.iter().filter_map(|event| event["event_type"].as_str()).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == "dns").count(), 4, "{kinds:?}");
        assert_eq!(kinds.iter().filter(|kind| **kind == "http").count(), 1, "{kinds:?}");
        for (piece, order) in
            [(Some(576), (|_| ()) as fn(&mut Vec<Vec<u8>>)), (Some(400), shuffled), (Some(1280), |_| ())]
        {
            let (lines, outcome) = replay(&conversation(way, piece, order), 1);
            assert_eq!(events(&lines), whole, "v6 {v6}, vlan {vlan}, {piece:?}");
            assert!(outcome.count(Counter::DatagramsWhole) >= 2 && outcome.count(Counter::DatagramsIncomplete) == 0);
            assert!(outcome.drops().values().all(|count| *count == 0), "{:?}", outcome.drops());
            let (of_four, outcome) = replay(&conversation(way, piece, order), 4);
            if v6 || vlan || piece.is_some() {
                assert!(unsided(events(&of_four)) == unsided(whole.clone()), "four workers: {of_four:#?}");
            }
            assert!(outcome.count(Counter::DatagramsUnwrapped) >= 1);
        }
        // Where a tap sees everything twice, duplicates make no anomaly.
        let (lines, outcome) = replay(&conversation(way, Some(576), twice), 1);
        assert!(events(&lines).iter().all(|event| event["event_type"] != "anomaly"), "{:?}", events(&lines));
        assert_eq!(outcome.count(Counter::FragmentOverlap), 0);
        // Backwards, as some senders do it: the datagram is read, and then all of it is in its flow's counts.
        let backwards = conversation(way, Some(576), |pieces| pieces.reverse());
        let (lines, outcome) = replay(&backwards, 1);
        assert_eq!(events(&lines), whole, "backwards");
        let late = outcome.count(Counter::DropFragmentUnknown);
        assert!(late > 0 && outcome.count(Counter::FragmentsCountedLate) == late, "{late}");
        assert_eq!(counts(&lines), counts(&replay(&conversation(way, Some(576), |_| ()), 1).0), "backwards");
        // Of TCP only the first fragment tells whose it is; all else meets at its owner in any order.
        let of_dns =
            |events: Vec<Value>| events.into_iter().filter(|event| event["event_type"] == "dns").collect::<Vec<_>>();
        let of_four = events(&replay(&backwards, 4).0);
        assert!(of_dns(unsided(of_four)) == of_dns(unsided(whole)), "backwards, four workers");
    }
}

/// A tunnel over a link that is too narrow for it cuts full segments and leaves the others whole: each is read in its place,
/// though both come in one burst.
#[test]
fn segments_that_a_tunnel_cuts_are_read_in_their_order() {
    let way = Way { v6: false, back: false, vlan: false };
    let back = Way { back: true, ..way };
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4500\r\n\r\n";
    let page = [&head[..], &[b'x'; 4500]].concat();
    let ask = b"GET /page HTTP/1.1\r\nHost: www.example\r\n\r\n";
    let said = 100 + ask.len() as u32;
    let mut sent = vec![
        (way, tcp(40_001, 80, 99, 0, 2, &[])),
        (back, tcp(80, 40_001, 999, 100, 0x12, &[])),
        (way, tcp(40_001, 80, 100, 1000, 0x10, &[])),
        (way, tcp(40_001, 80, 100, 1000, 0x18, ask)),
    ];
    let mut at = 1000;
    // Full ones and short ones in turn.
    for (number, part) in
        page.chunks(1100).flat_map(|part| part.split_at_checked(1000).map(|(a, b)| [a, b])).enumerate()
    {
        for piece in part {
            sent.push((back, tcp(80, 40_001, at, said, 0x10, piece)));
            at += piece.len() as u32;
        }
        sent.push((way, tcp(40_001, 80, said, at, 0x10, &[])));
        assert!(number < 4);
    }
    let rest = &page[(at - 1000) as usize..];
    sent.push((back, tcp(80, 40_001, at, said, 0x19, rest)));
    sent.push((way, tcp(40_001, 80, said, at + rest.len() as u32 + 1, 0x11, &[])));
    let conversation = |piece: Option<usize>| -> Vec<(u32, Vec<u8>)> {
        let frame = |(number, (way, segment)): (usize, &(Way, Vec<u8>))| {
            let inner = way.frame(&way.ip(6, segment, None));
            let outer = udp(50_000, 4789, &[&[8, 0, 0, 0, 0, 0, 99, 0][..], &inner].concat());
            way.send(17, &outer, number as u16 + 1, piece.filter(|piece| outer.len() > *piece))
        };
        sent.iter().enumerate().flat_map(frame).map(|frame| (0, frame)).collect()
    };
    let (whole, _) = replay(&conversation(None), 1);
    let http: Vec<Value> = events(&whole).into_iter().filter(|event| event["event_type"] == "http").collect();
    assert!(http.len() == 1 && http[0]["http"]["status"] == 200 && http[0]["http"]["length"] == 4500, "{http:?}");
    let (cut, outcome) = replay(&conversation(Some(800)), 1);
    assert_eq!(events(&cut), events(&whole));
    assert_eq!(outcome.count(Counter::DatagramsUnwrapped), 4, "full segments");
    assert_eq!([Counter::InspectHoles, Counter::InspectBeyondBuffer].map(|one| outcome.count(one)), [0, 0]);
}

/// The first fragment has nothing but the header of UDP, and comes last: it completes the datagram without a payload.
#[test]
fn a_datagram_is_read_whatever_its_last_piece_holds() {
    for v6 in [false, true] {
        let way = Way { v6, back: false, vlan: false };
        let question = udp(40_000, 53, &dns(77, 1).0);
        let read = |piece, order: fn(&mut Vec<Vec<u8>>)| {
            let mut pieces = way.send(17, &question, 9, piece);
            order(&mut pieces);
            let frames: Vec<_> = pieces.into_iter().enumerate().map(|(at, frame)| (at as u32, frame)).collect();
            let mut lines = events(&replay(&frames, 1).0);
            lines.retain(|event| event["event_type"] == "dns");
            // The datagram is whole, and its flow begins, a few milliseconds later.
            for event in &mut lines {
                (event["timestamp"], event["flow_id"]) = (Value::Null, Value::Null);
            }
            lines
        };
        let whole = read(None, |_| ());
        assert_eq!(whole.len(), 1);
        for piece in [8, 16, 24] {
            assert_eq!(read(Some(piece), |_| ()), whole, "in order, {piece}");
            assert_eq!(read(Some(piece), |pieces| pieces.reverse()), whole, "backwards, {piece}");
        }
    }
}

/// Names of anomalies with the source and destination they are told of.
fn anomalies(frames: Vec<Vec<u8>>, workers: usize) -> Vec<String> {
    let frames: Vec<_> = frames.into_iter().enumerate().map(|(number, frame)| (number as u32, frame)).collect();
    let (lines, _) = replay(&frames, workers);
    let names = events(&lines).into_iter().filter(|event| event["event_type"] == "anomaly");
    names
        .map(|event| {
            assert_eq!(event["anomaly"]["type"], "decode");
            assert!(event["src_ip"].as_str().is_some_and(|source| source.ends_with('1')), "{event}");
            event["anomaly"]["event"].as_str().expect("a name").to_owned()
        })
        .collect()
}

/// What it is, its frames, the anomalies.
type Attack = (&'static str, Vec<Vec<u8>>, &'static [&'static str]);

#[test]
fn attacks_by_fragments_are_anomalies_by_name() {
    let v4 = Way { v6: false, back: false, vlan: false };
    let v6 = Way { v6: true, ..v4 };
    let body = [7_u8; 400];
    let piece = |way: Way, protocol, id, offset, more, bytes: &[u8]| {
        way.frame(&way.ip(protocol, bytes, Some((id, offset, more))))
    };
    let udp_first = udp(1000, 2000, &body[..392]);
    let cases: [Attack; 7] = [
        (
            "overlap",
            vec![piece(v4, 17, 1, 0, true, &udp_first), piece(v4, 17, 1, 200, false, &body)],
            &["decoder.ipv4.frag_overlap"],
        ),
        (
            "overlap in IPv6",
            vec![piece(v6, 17, 1, 0, true, &udp_first), piece(v6, 17, 1, 200, false, &[8; 400])],
            &["decoder.ipv6.frag_overlap", "decoder.ipv6.frag_overlap_different"],
        ),
        (
            "teardrop",
            vec![piece(v4, 17, 2, 0, true, &udp_first[..136]), piece(v4, 17, 2, 24, false, &[9; 4])],
            &[
                "decoder.ipv4.frag_end_conflict",
                "decoder.ipv4.frag_incomplete",
                "decoder.ipv4.frag_overlap",
                "decoder.ipv4.frag_overlap_different",
                "decoder.ipv4.frag_teardrop",
            ],
        ),
        (
            "ping of death",
            vec![
                piece(v4, 1, 3, 0, true, &[8, 0, 0, 0, 0, 1, 0, 1].repeat(50)),
                piece(v4, 1, 3, 65_528, false, &body[..200]),
            ],
            &["decoder.ipv4.frag_incomplete", "decoder.ipv4.frag_pkt_too_large"],
        ),
        ("tiny", v4.send(6, &tcp(1000, 80, 1, 0, 2, &body[..100]), 4, Some(8)), &["decoder.ipv4.frag_tiny"]),
        (
            "no multiple of eight",
            vec![piece(v6, 17, 5, 0, true, &udp_first[..201])],
            &["decoder.ipv6.frag_invalid_length"],
        ),
        ("atomic", v6.send(17, &udp(1000, 2000, &body), 6, Some(1000)), &["decoder.ipv6.exthdr_useless_fh"]),
    ];
    for (what, frames, names) in cases {
        for workers in [1, 4] {
            let mut found = anomalies(frames.clone(), workers);
            found.sort();
            assert_eq!(found, names, "{what}, {workers} workers");
        }
    }
}

/// Datagrams that we put together from a capture: their bytes behind the IP header.
fn ours(path: &Path) -> BTreeSet<Vec<u8>> {
    let reader = Reader::open(&[path.to_owned()], Limits::default()).expect("a capture");
    let mut source = PcapSource::new(reader, Speed::Max);
    let mut defragmenter = Defragmenter::new(DefragSettings::default(), 1);
    let (mut packet, mut layers) = (Packet::default(), Layers::new(true));
    let mut found = BTreeSet::new();
    loop {
        let burst = source.receive(BURST_MAX);
        for index in 0..burst.count {
            let view = source.frame(index);
            let decoded = decode_rest(view.bytes, view.wire_bytes, view.link, &mut packet, &mut layers);
            if !matches!(decoded, Decoded::FirstFragment | Decoded::LaterFragment) {
                continue;
            }
            let taken = defragmenter.take(view.bytes, &packet, &layers.place, view.time.unwrap_or_default());
            if let decode::Outcome::Whole(slot) = taken.outcome {
                let datagram = defragmenter.datagram(slot).expect("a whole datagram");
                let head = if datagram.packet[0] >> 4 == 4 { 20 } else { 40 };
                found.insert(datagram.packet[head..].to_vec());
                defragmenter.release(slot);
            }
        }
        source.release();
        if burst.ended {
            return found;
        }
    }
}

/// What tshark puts together, but for datagrams in which it saw overlaps or worse.
fn theirs(path: &Path) -> BTreeSet<Vec<u8>> {
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(path)
        .args([
            "-Y",
            "(ip.reassembled.data || ipv6.reassembled.data) && !ip.fragment.overlap && !ipv6.fragment.overlap",
        ])
        .args(["-T", "fields", "-e", "ip.reassembled.data", "-e", "ipv6.reassembled.data"])
        .output()
        .expect("tshark runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let fields = text.split(['\t', '\n', ',']).map(|field| field.replace(':', "")).filter(|field| !field.is_empty());
    fields.filter_map(|field| field.as_bytes().chunks(2).map(byte).collect()).collect()
}

fn captures_in(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            captures_in(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "pcap" || kind == "pcapng") {
            found.push(path);
        }
    }
}

/// Captures of the conformance suites that are about fragments.
const ABOUT_FRAGMENTS: [&str; 6] = ["frag", "defrag", "ipv6-evasion", "gtp1_gn_normal", "fragmented", "ipv4frags"];

#[test]
fn tshark_puts_the_same_together() {
    let Some(data) = support::shared_data("tshark_puts_the_same_together") else { return };
    if Command::new("tshark").arg("--version").output().is_err() {
        return support::skip("tshark_puts_the_same_together", "tshark", "it is not installed");
    }
    let mut all = Vec::new();
    captures_in(&data.join("conformance"), &mut all);
    all.retain(|path| ABOUT_FRAGMENTS.iter().any(|word| path.to_string_lossy().contains(word)));
    all.sort();
    let (mut equal, mut others) = (0, Vec::new());
    for path in &all {
        let (ours, theirs) = (ours(path), theirs(path));
        equal += ours.intersection(&theirs).count();
        let known = KNOWN.iter().find(|(name, ..)| path.ends_with(name)).map_or(0, |(_, count, _)| *count);
        let (mine, left) = (&ours - &theirs, &theirs - &ours);
        if !mine.is_empty() || left.len() != known {
            let lengths = |set: &BTreeSet<Vec<u8>>| set.iter().map(Vec::len).collect::<Vec<_>>();
            others.push(format!(
                "only ours {:?}, only tshark's {:?}: {}",
                lengths(&mine),
                lengths(&left),
                path.display()
            ));
        }
    }
    eprintln!("{} captures, {equal} datagrams alike; known to differ: {KNOWN:#?}", all.len());
    assert!(equal > 0 && others.is_empty(), "{others:#?}");
}

/// What tshark puts together and we do not: file, how many, why.
const KNOWN: [(&str, usize, &str); 5] = [
    ("eth-ip-gre-ppp-max-ip-packet.pcap", 1, "1024 fragments of 64 bytes; we keep 128"),
    ("frag-15.pcap", 1, "longer than 65535 bytes"),
    ("frag-16.pcap", 1, "longer than 65535 bytes"),
    ("frag-35.pcap", 2, "a fragment header in the fragments; we follow one"),
    ("frag-36.pcap", 2, "a fragment header in the fragments; we follow one"),
];
