//! Connections as hosts and attackers send them, through the whole engine: what is read of them, and what is counted; and
//! the same lines of EVE whatever the number of workers.

#[path = "../support/captures.rs"]
mod captures;
mod depth;
mod headers;
mod rivals;
#[path = "../support/mod.rs"]
mod support;
mod unread;

use captures::eve;
use etherparse::{PacketBuilder, TcpOptionElement};
use serde_json::Value;
use shrike::control::replay::Outcome;
use shrike::dataplane::capture::pcap::{Limits, Reader};
use shrike::metrics::Counter;

fn lines_of(reader: Reader, workers: usize) -> (Outcome, Vec<String>) {
    let (text, outcome) = eve(reader, workers, 1 << 11).expect("a replay");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    (outcome, lines)
}

/// Where the sides' numbers begin: the client's first byte is 1 further, and wraps around.
const FIRST: [u32; 2] = [u32::MAX - 20, 9000];
const C: usize = 0;
const S: usize = 1;

/// A connection that is put down frame by frame; places count from each side's first byte.
struct Talk {
    client_port: u16,
    frames: Vec<Vec<u8>>,
    /// Value and echo of the timestamps of the frames to come.
    stamps: Option<(u32, u32)>,
}

impl Talk {
    fn new(client_port: u16) -> Talk {
        Talk { client_port, frames: Vec::new(), stamps: None }
    }

    /// After the handshake.
    fn open(client_port: u16) -> Talk {
        let mut talk = Talk::new(client_port);
        talk.frame(C, "s", -1, 0, b"").frame(S, "sa", -1, 0, b"").frame(C, "a", 0, 0, b"");
        talk
    }

    /// `flags`: s, a, r, f.
    fn frame(&mut self, side: usize, flags: &str, at: i64, acked: i64, payload: &[u8]) -> &mut Talk {
        let number = |side: usize, at: i64| FIRST[side].wrapping_add(1).wrapping_add(at as u32);
        let (ports, addresses) = ([self.client_port, 8080], [[10, 0, 0, 1], [10, 0, 0, 2]]);
        let mut builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(addresses[side], addresses[1 - side], 64).tcp(
            ports[side],
            ports[1 - side],
            number(side, at),
            500,
        );
        for flag in flags.chars() {
            builder = match flag {
                's' => builder.syn(),
                'a' => builder.ack(number(1 - side, acked)),
                'r' => builder.rst(),
                _ => builder.fin(),
            };
        }
        if let Some((value, echo)) = self.stamps {
            use TcpOptionElement::{Noop, Timestamp};
            builder = builder.options(&[Noop, Noop, Timestamp(value, echo)]).expect("room for options");
        }
        let mut frame = Vec::new();
        builder.write(&mut frame, payload).expect("a frame in memory");
        self.frames.push(frame);
        self
    }

    fn say(&mut self, side: usize, at: i64, acked: i64, payload: &[u8]) -> &mut Talk {
        self.frame(side, "a", at, acked, payload)
    }

    /// The frames to come have timestamps, the value and the echo.
    fn stamped(&mut self, value: u32, echo: u32) -> &mut Talk {
        self.stamps = Some((value, echo));
        self
    }

    /// The checksum of the last frame is another one.
    fn spoil(&mut self) -> &mut Talk {
        self.checksum(|right, _| !right);
        self
    }

    /// The checksum of the last frame is left to the card: the sum of addresses, protocol and length.
    fn unfill(&mut self) -> &mut Talk {
        self.checksum(|_, pseudo| pseudo);
        self
    }

    /// The checksum of the last frame's IPv4 header is another one.
    fn spoil_header(&mut self) -> &mut Talk {
        let frame = self.frames.last_mut().expect("a frame");
        frame[24] ^= 0x55;
        self
    }

    fn checksum(&mut self, of: impl Fn(u16, u16) -> u16) {
        const AT: usize = 14 + 20 + 16;
        let frame = self.frames.last_mut().expect("a frame");
        let word = |at: usize| u32::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
        let pseudo: u32 = (26..34).step_by(2).map(word).sum::<u32>() + 6 + frame.len() as u32 - 34;
        let sum = of(word(AT) as u16, (pseudo % 0xffff) as u16);
        frame[AT..AT + 2].copy_from_slice(&sum.to_be_bytes());
    }

    fn close(&mut self, at: i64, acked: i64) -> &mut Talk {
        self.frame(C, "fa", at, acked, b"").frame(S, "fa", acked, at + 1, b"").frame(C, "a", at + 1, acked + 1, b"")
    }
}

/// A capture file of frames, a millisecond between them.
fn capture(talks: &[&Talk]) -> Vec<u8> {
    let mut file = Vec::from(0xa1b2_c3d4_u32.to_le_bytes());
    for word in [0x0004_0002_u32, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for (index, frame) in talks.iter().flat_map(|talk| &talk.frames).enumerate() {
        for word in [1_700_000_000, 1000 * index as u32, frame.len() as u32, frame.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

fn read(bytes: Vec<u8>, workers: usize) -> (Outcome, Vec<String>) {
    let reader = Reader::from_stream("talk", Box::new(std::io::Cursor::new(bytes)), Limits::default());
    lines_of(reader.expect("a capture"), workers)
}

/// What EVE says of HTTP in it, and its counters.
fn urls(talk: &Talk) -> (Vec<String>, Outcome) {
    let (outcome, lines) = read(capture(&[talk]), 1);
    let events = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let urls = events.filter_map(|event| Some(event["http"]["url"].as_str()?.to_owned())).collect();
    (urls, outcome)
}

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: h.example\r\nUser-Agent: curl\r\n\r\n";
const DECOY: &[u8] = b"GET /d HTTP/1.1\r\nHost: h.example\r\nUser-Agent: curl\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\nServer: s\r\n\r\n";
const LENGTH: i64 = REQUEST.len() as i64;

/// The request came whole; the rest of the connection.
fn finish(talk: &mut Talk) {
    talk.say(S, 0, LENGTH, ANSWER).close(LENGTH, ANSWER.len() as i64);
}

#[test]
fn the_first_two_segments_may_come_in_either_order() {
    let mut talk = Talk::open(40_001);
    talk.say(C, 20, 0, &REQUEST[20..]).say(C, 0, 0, &REQUEST[..20]);
    finish(&mut talk);
    assert_eq!(urls(&talk).0, ["/a"]);
}

#[test]
fn what_comes_before_the_data_does_not_hide_it() {
    let mut keep_alive = Talk::open(40_002);
    keep_alive.say(C, -1, 0, b"\0").say(S, -1, 0, b"\0");
    let mut reset = Talk::open(40_002);
    reset.frame(C, "ra", 5_000, 0, b"garbage");
    let mut far = Talk::open(40_002);
    far.say(C, 1 << 31, 0, b"garbage").say(C, -(1 << 30) - 100, 0, b"garbage");
    let mut silent = Talk::open(40_002);
    silent.frame(C, "f", 0, 0, b"GET /d");
    let mut poisoned = Talk::open(40_002);
    poisoned.say(S, 0, 1 << 31, b"").say(S, -1, (1 << 30) + 5, b"\0").say(S, -1, 1 << 20, b"\0");
    let mut other = Talk::new(40_002);
    // An answer to a SYN that was never sent.
    other
        .frame(C, "s", -1, 0, b"")
        .frame(S, "sa", 70_000, 70_000, b"")
        .frame(S, "sa", -1, 0, b"")
        .frame(C, "a", 0, 0, b"");
    for (name, talk, refused) in [
        ("keep-alive", &mut keep_alive, 0),
        ("reset", &mut reset, 0),
        ("far off", &mut far, 2),
        ("no acknowledgement", &mut silent, 1),
        ("acknowledgements", &mut poisoned, 2),
        ("another's answer", &mut other, 0),
    ] {
        talk.say(C, 0, 0, REQUEST);
        finish(talk);
        let (urls, outcome) = urls(talk);
        assert_eq!(urls, ["/a"], "{name}");
        assert_eq!(outcome.count(Counter::InspectRefused), refused, "{name}");
    }
}

#[test]
fn data_of_a_syn_counts_where_the_peer_took_it() {
    let mut taken = Talk::new(40_003);
    taken.frame(C, "s", -1, 0, REQUEST).frame(S, "sa", -1, LENGTH, b"").frame(C, "a", LENGTH, 0, b"");
    finish(&mut taken);
    assert_eq!(urls(&taken).0, ["/a"], "taken");

    let mut refused = Talk::new(40_003);
    refused.frame(C, "s", -1, 0, DECOY).frame(S, "sa", -1, 0, b"").say(C, 0, 0, REQUEST);
    finish(&mut refused);
    let (found, outcome) = urls(&refused);
    assert_eq!((found.as_slice(), outcome.count(Counter::InspectEvents)), (["/a".to_owned()].as_slice(), 1), "refused");

    // The answer went another way: the next segment tells.
    for (begin, payload, url) in [(LENGTH, b"".as_slice(), "/d"), (0, REQUEST, "/a")] {
        let mut one_way = Talk::new(40_003);
        one_way.frame(C, "s", -1, 0, DECOY).say(C, begin, 0, payload).say(C, LENGTH, 0, DECOY).close(2 * LENGTH, 0);
        assert_eq!(urls(&one_way).0.first().map(String::as_str), Some(url));
    }
}

#[test]
fn segments_that_contradict_each_other_are_told_by_name() {
    let mut talk = Talk::open(40_004);
    talk.say(C, 4, 0, &DECOY[4..30]).say(C, 4, 0, &REQUEST[4..30]).say(C, 0, 0, REQUEST);
    finish(&mut talk);
    let (outcome, lines) = read(capture(&[&talk]), 1);
    let told = lines.iter().filter(|line| line.contains("\"stream.reassembly_overlap_different_data\"")).count();
    assert_eq!((told, outcome.count(Counter::InspectOverlapsDifferent)), (1, 2));
    assert_eq!(urls(&talk).0, ["/d"], "the first to come stays");
}

#[test]
fn a_decoy_is_told_when_the_real_segment_comes() {
    let mut talk = Talk::open(40_006);
    talk.say(C, 0, 0, DECOY).say(C, 0, 0, REQUEST);
    finish(&mut talk);
    let (_, lines) = read(capture(&[&talk]), 1);
    let told = lines.iter().filter(|line| line.contains("\"stream.reassembly_overlap_different_data\"")).count();
    assert_eq!((told, urls(&talk).0), (1, vec!["/d".to_owned()]));

    // It acknowledges what was never sent, so nobody takes it.
    let mut talk = Talk::open(40_006);
    talk.say(C, 0, 999_999, DECOY).say(C, 0, 0, REQUEST);
    finish(&mut talk);
    assert_eq!(urls(&talk).0, ["/a"]);
}

/// What is read of a talk; segments not taken for their checksum and their timestamp; contradictions.
fn taken(talk: &mut Talk) -> (Vec<String>, [u64; 3]) {
    finish(talk);
    let (urls, outcome) = urls(talk);
    let counters = [Counter::InspectChecksum, Counter::InspectTimestamp, Counter::InspectOverlapsDifferent];
    (urls, counters.map(|counter| outcome.count(counter)))
}

#[test]
fn what_its_receiver_drops_for_its_checksum_is_not_read() {
    let mut talk = Talk::open(40_011);
    talk.say(C, 0, 0, DECOY).spoil().say(C, 0, 0, DECOY).spoil().say(C, 0, 0, REQUEST);
    assert_eq!(taken(&mut talk), (vec!["/a".to_owned()], [2, 0, 0]));
    let (_, lines) = read(capture(&[&talk]), 1);
    assert_eq!(lines.iter().filter(|line| line.contains("\"stream.pkt_invalid_checksum\"")).count(), 1, "once a flow");

    // As if a card had to fill it in, and no longer than what came with a right sum.
    let mut talk = Talk::open(40_011);
    let half = REQUEST.len().div_ceil(2);
    talk.say(C, 0, 0, &REQUEST[..half]).say(C, half as i64, 0, &DECOY[half..]).unfill();
    talk.say(C, half as i64, 0, &REQUEST[half..]);
    assert_eq!(taken(&mut talk), (vec!["/a".to_owned()], [1, 0, 0]));

    // What is longer may have been put together on receipt: it is believed, and contradicted.
    let mut talk = Talk::open(40_011);
    talk.say(C, 0, 0, &REQUEST[..4]).say(C, 4, 0, &DECOY[4..]).unfill().say(C, 4, 0, &REQUEST[4..]);
    assert_eq!(taken(&mut talk), (vec!["/d".to_owned()], [0, 0, 1]));

    // What it acknowledges is not, either.
    let mut talk = Talk::open(40_011);
    talk.say(C, 10, 0, &REQUEST[10..]).frame(S, "a", 0, 60, b"").spoil().say(C, 0, 0, &REQUEST[..10]);
    assert_eq!(taken(&mut talk), (vec!["/a".to_owned()], [1, 0, 0]));
}

#[test]
fn where_the_capturing_host_makes_the_sums_wrong_all_is_read() {
    // It fills them in later, in all frames or in those with data.
    let (mut all, mut data) = (Talk::new(40_012), Talk::open(40_012));
    all.frame(C, "s", -1, 0, b"").spoil().frame(S, "sa", -1, 0, b"").frame(C, "a", 0, 0, b"").spoil();
    all.say(C, 0, 0, REQUEST).spoil();
    data.say(C, 0, 0, REQUEST).unfill();
    for talk in [&mut all, &mut data] {
        assert_eq!(taken(talk), (vec!["/a".to_owned()], [0; 3]));
    }
    // It puts segments together.
    let long = [b"GET /a HTTP/1.1\r\nHost: h.example\r\nX: ".as_slice(), &[b'x'; 2000], b"\r\n\r\n"].concat();
    let mut talk = Talk::open(40_012);
    talk.say(C, 0, 0, &long).spoil().say(S, 0, long.len() as i64, ANSWER).close(long.len() as i64, ANSWER.len() as i64);
    assert_eq!(urls(&talk).0, ["/a"]);
}

#[test]
fn what_its_receiver_drops_for_its_timestamp_is_not_read() {
    // What the server echoes of the client's first timestamp; whether the decoy is known for one.
    for (echo, is_known) in [(1000, true), (1 << 30, false), (0, false)] {
        let mut talk = Talk::new(40_013);
        talk.stamped(1000, 0).frame(C, "s", -1, 0, b"");
        talk.stamped(5000, echo).frame(S, "sa", -1, 0, b"");
        talk.stamped(900, 5000).say(C, 0, 0, DECOY).stamped(1001, 5000).say(C, 0, 0, REQUEST);
        let (url, counts) = if is_known { ("/a", [0, 1, 0]) } else { ("/d", [0, 0, 1]) };
        talk.stamped(5001, 1001);
        assert_eq!(taken(&mut talk), (vec![url.to_owned()], counts), "{echo}");
    }

    // The server has none; then the client's mean nothing.
    let mut talk = Talk::new(40_013);
    talk.stamped(1000, 0).frame(C, "s", -1, 0, b"");
    talk.stamps = None;
    talk.frame(S, "sa", -1, 0, b"").stamped(900, 0).say(C, 0, 0, REQUEST);
    assert_eq!(taken(&mut talk), (vec!["/a".to_owned()], [0; 3]));
}

#[test]
fn a_liar_who_echoes_what_was_never_sent_hides_nothing() {
    let mut talk = Talk::new(40_014);
    talk.stamped(1000, 0).frame(C, "s", -1, 0, b"").stamped(u32::MAX - 5, 1000).frame(S, "sa", -1, 0, b"");
    // Timestamps wrap around.
    talk.stamped(1001, 90_000).say(C, 0, 0, REQUEST).stamped(3, 1001);
    finish(&mut talk);
    let (_, lines) = read(capture(&[&talk]), 1);
    assert!(lines.iter().any(|line| line.contains("\"status\":204")), "{lines:?}");
}

#[test]
fn the_smallest_segments_may_come_in_any_order() {
    for size in [1, 2, 3] {
        let mut talk = Talk::open(40_007);
        for odd in [1, 0] {
            for (index, piece) in REQUEST.chunks(size).enumerate().filter(|(index, _)| index % 2 == odd) {
                talk.say(C, (index * size) as i64, 0, piece);
            }
        }
        finish(&mut talk);
        assert_eq!(urls(&talk).0, ["/a"], "{size}");
    }
}

#[test]
fn a_pure_acknowledgement_tells_that_a_hole_stays() {
    let mut talk = Talk::open(40_005);
    talk.say(C, 0, 0, REQUEST).say(C, LENGTH + 100, 0, b"behind").frame(S, "a", 0, LENGTH + 106, b"");
    let (_, outcome) = urls(&talk);
    assert_eq!((outcome.count(Counter::InspectHoles), outcome.count(Counter::InspectGapBytes)), (1, 100));
    assert_eq!(outcome.count(Counter::InspectRefused), 0);
}

/// Another connection's first byte on the same ports, in the numbering of the first one.
const ANEW: i64 = 1 << 24;

#[test]
fn a_syn_that_nobody_takes_does_not_hide_what_follows() {
    // Before the answer, which tells which SYN was taken.
    let mut before = Talk::new(40_008);
    before
        .frame(C, "s", -1, 0, b"")
        .frame(C, "s", ANEW - 1, 0, b"")
        .frame(S, "sa", -1, 0, b"")
        .frame(C, "a", 0, 0, b"");
    // In the midst, alone or with a teardown that its receiver does not take either.
    let (mut midst, mut torn) = (Talk::open(40_008), Talk::open(40_008));
    for talk in [&mut midst, &mut torn] {
        talk.say(C, 0, 0, &REQUEST[..20]).say(S, 0, 20, b"");
    }
    // Both sides have had their say, or there would be nothing to lose.
    midst.frame(C, "s", ANEW - 1, 0, b"").say(C, 20, 0, &REQUEST[20..]);
    torn.frame(C, "ra", 7_000, 0, b"").frame(C, "s", ANEW - 1, 0, b"").say(C, 20, 0, &REQUEST[20..]);
    before.say(C, 0, 0, REQUEST);
    for (name, talk) in [("before", &mut before), ("midst", &mut midst), ("torn", &mut torn)] {
        finish(talk);
        let (urls, outcome) = urls(talk);
        assert_eq!((urls, outcome.count(Counter::FlowsCreated)), (vec!["/a".to_owned()], 1), "{name}");
    }
}

#[test]
fn a_new_connection_on_the_same_ports_is_read_from_its_own_beginning() {
    for is_closed in [false, true] {
        let mut talk = Talk::open(40_009);
        talk.say(C, 0, 0, REQUEST).say(S, 0, LENGTH, ANSWER);
        if is_closed {
            talk.close(LENGTH, ANSWER.len() as i64);
        }
        talk.frame(C, "s", ANEW - 1, 0, b"").frame(S, "sa", 3 * ANEW - 1, ANEW, b"").frame(C, "a", ANEW, 3 * ANEW, b"");
        talk.say(C, ANEW, 3 * ANEW, DECOY).say(S, 3 * ANEW, ANEW + LENGTH, ANSWER);
        let (urls, outcome) = urls(&talk);
        let counts = [Counter::FlowsCreated, Counter::InspectHoles, Counter::InspectRefused, Counter::InspectEvents];
        assert_eq!((urls.len(), counts.map(|counter| outcome.count(counter))), (2, [2, 0, 0, 2]), "{is_closed}");
    }
}

/// How often an anomaly is told.
fn told(talk: &Talk, name: &str) -> usize {
    let (_, lines) = read(capture(&[talk]), 1);
    lines.iter().filter(|line| line.contains(name)).count()
}

#[test]
fn a_handshake_with_other_numbers_on_a_live_connection_is_told() {
    for with_data in [false, true] {
        let mut talk = Talk::open(40_017);
        let (mut sent, mut got) = (0, 0);
        if with_data {
            talk.say(C, 0, 0, REQUEST).say(S, 0, LENGTH, ANSWER);
            (sent, got) = (LENGTH, ANSWER.len() as i64);
        }
        // The old ones again are nothing, even to the tap that sees them late.
        talk.frame(C, "s", -1, 0, b"").frame(S, "sa", -1, 0, b"");
        let names = ["\"stream.est_syn_resend_diff_seq\"", "\"stream.est_synack_resend_with_different_ack\""];
        assert_eq!(names.map(|name| told(&talk, name)), [0, 0], "{with_data}");
        talk.frame(C, "s", ANEW - 1, 0, b"").frame(S, "sa", 3 * ANEW - 1, ANEW, b"");
        talk.say(C, sent, got, REQUEST);
        assert_eq!(names.map(|name| told(&talk, name)), [1, 1], "{with_data}");
    }
    // What was seen to end may be followed by another connection.
    let mut talk = Talk::open(40_017);
    talk.say(C, 0, 0, REQUEST).say(S, 0, LENGTH, ANSWER).close(LENGTH, ANSWER.len() as i64);
    talk.frame(C, "s", ANEW - 1, 0, b"").frame(S, "sa", 3 * ANEW - 1, ANEW, b"");
    assert_eq!(told(&talk, "\"stream.est_syn"), 0);
}

#[test]
fn a_handshake_that_its_receivers_drop_for_its_checksum_begins_nothing() {
    for with_data in [false, true] {
        for spoiled in [[true, true], [true, false], [false, true]] {
            let mut talk = Talk::open(40_018);
            if with_data {
                talk.say(C, 0, 0, &REQUEST[..20]).say(S, 0, 20, b"");
            }
            for (side, flags, is_spoiled) in [(C, "s", spoiled[0]), (S, "sa", spoiled[1])] {
                let at = if side == C { ANEW } else { 3 * ANEW };
                talk.frame(side, flags, at - 1, ANEW, b"");
                if is_spoiled {
                    talk.spoil();
                }
            }
            let from = if with_data { 20 } else { 0 };
            talk.say(C, from as i64, 0, &REQUEST[from..]);
            finish(&mut talk);
            let (urls, outcome) = urls(&talk);
            let name = format!("{with_data} {spoiled:?}");
            assert_eq!((urls, outcome.count(Counter::FlowsCreated)), (vec!["/a".to_owned()], 1), "{name}");
            let dropped = spoiled.iter().filter(|is_spoiled| **is_spoiled).count();
            assert_eq!(told(&talk, "\"stream.pkt_invalid_checksum\""), dropped, "{name}");
        }
    }
}

#[test]
fn a_new_handshake_behind_one_without_data_counts() {
    let mut talk = Talk::open(40_015);
    talk.frame(C, "s", ANEW - 1, 0, b"").frame(S, "sa", 3 * ANEW - 1, ANEW, b"").frame(C, "a", ANEW, 3 * ANEW, b"");
    talk.say(C, ANEW, 3 * ANEW, REQUEST).say(S, 3 * ANEW, ANEW + LENGTH, ANSWER);
    let (found, outcome) = urls(&talk);
    let counts = [Counter::FlowsCreated, Counter::InspectRefused, Counter::InspectEvents];
    assert_eq!((found, counts.map(|counter| outcome.count(counter))), (vec!["/a".to_owned()], [2, 0, 1]));

    // Nobody answers: the old one goes on. The same SYN again asks for nothing.
    for again in [ANEW - 1, -1] {
        let mut talk = Talk::open(40_015);
        talk.frame(C, "s", again, 0, b"");
        if again == -1 {
            talk.frame(S, "sa", -1, 0, b"");
        }
        talk.say(C, 0, 0, REQUEST);
        finish(&mut talk);
        let (found, outcome) = urls(&talk);
        assert_eq!((found, outcome.count(Counter::FlowsCreated)), (vec!["/a".to_owned()], 1), "{again}");
    }
}

#[test]
fn urgent_data_are_told() {
    let mut talk = Talk::open(40_016);
    talk.say(C, 0, 0, REQUEST);
    // URG, and the first byte; the checksum goes with them, as that of the two other words did.
    let frame = talk.frames.last_mut().expect("a frame");
    frame[14 + 20 + 13] |= 0x20;
    frame[14 + 20 + 19] = 1;
    let sum = u16::from_be_bytes([frame[50], frame[51]]).wrapping_sub(0x21);
    frame[50..52].copy_from_slice(&sum.to_be_bytes());
    finish(&mut talk);
    let (outcome, lines) = read(capture(&[&talk]), 1);
    assert_eq!(lines.iter().filter(|line| line.contains("\"stream.urgent_data\"")).count(), 1);
    assert_eq!(outcome.count(Counter::InspectChecksum), 0);
}

#[test]
fn of_two_answers_to_a_syn_the_one_that_is_acknowledged_counts() {
    for forged in [[true, false], [false, true]] {
        let mut talk = Talk::new(40_010);
        talk.frame(C, "s", -1, 0, b"");
        for forged in forged {
            talk.frame(S, "sa", if forged { 1 << 30 } else { -1 }, 0, b"");
        }
        talk.frame(C, "a", 0, 0, b"").say(C, 0, 0, REQUEST);
        finish(&mut talk);
        let (_, lines) = read(capture(&[&talk]), 1);
        let told = lines.iter().filter(|line| line.contains("\"stream.3whs_synack_resend_with_diff_seq\"")).count();
        assert_eq!(told, 1, "{lines:?}");
        assert!(
            lines.iter().any(|line| line.contains("\"url\":\"/a\"") && line.contains("\"status\":204")),
            "{lines:?}"
        );
    }
}

#[test]
fn eve_is_the_same_with_any_number_of_workers() {
    let mut talks: Vec<Talk> = (0..40).map(|index| Talk::open(41_000 + index)).collect();
    for (index, talk) in talks.iter_mut().enumerate() {
        let cut = 1 + index % 50;
        if index % 3 == 0 {
            talk.frame(C, "r", 0, 0, b"no data");
        }
        talk.say(C, cut as i64, 0, &REQUEST[cut..]).say(C, 0, 0, &REQUEST[..cut]);
        finish(talk);
    }
    // In turns, so that what a queue remembers of one connection meets the others.
    let longest = talks.iter().map(|talk| talk.frames.len()).max().unwrap_or_default();
    let turns = (0..longest).flat_map(|at| talks.iter().filter_map(move |talk| talk.frames.get(at).cloned()));
    let bytes = capture(&[&Talk { client_port: 0, frames: turns.collect(), stamps: None }]);
    let (_, one) = read(bytes.clone(), 1);
    assert_eq!(one.len(), 80, "a request and a flow each");
    assert_eq!(one, read(bytes, 4).1);

    let Some(data) = support::shared_data("eve_is_the_same_with_any_number_of_workers") else { return };
    let small = |capture: &captures::Capture| std::fs::metadata(&capture.path).is_ok_and(|found| found.len() < 60_000);
    let captures: Vec<_> = captures::captures(&data).into_iter().filter(small).step_by(3).take(300).collect();
    let mut lines = 0;
    for capture in &captures {
        let open = || Reader::open(std::slice::from_ref(&capture.path), Limits::default());
        let (Ok(first), Ok(second)) = (open(), open()) else { continue };
        let (_, one) = lines_of(first, 1);
        let (_, four) = lines_of(second, 4);
        assert_eq!(one, four, "{}", capture.name);
        lines += one.len();
    }
    eprintln!("{} captures, {lines} lines", captures.len());
    assert!(captures.len() >= 100 && lines >= 1000, "{} captures, {lines} lines", captures.len());
}
