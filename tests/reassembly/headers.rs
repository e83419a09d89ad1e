//! What hosts drop for a wrong checksum of its IPv4 header or of UDP, among what they take.

use super::{ANSWER, C, DECOY, LENGTH, Outcome, REQUEST, S, Talk, capture, finish, read, told, urls};
use etherparse::PacketBuilder;
use shrike::metrics::Counter;

const WRONG: &str = "\"decoder.ipv4.wrong_checksum\"";

#[test]
fn a_segment_in_a_packet_that_is_dropped_is_not_read() {
    let mut talk = Talk::open(40_201);
    talk.say(C, 0, 0, DECOY).spoil_header().say(C, 0, 0, REQUEST);
    finish(&mut talk);
    let (found, outcome) = urls(&talk);
    assert_eq!(found, ["/a"]);
    assert_eq!(outcome.count(Counter::InspectIpv4Checksum), 1);
    assert_eq!(outcome.count(Counter::InspectOverlapsDifferent), 0);
    assert_eq!((told(&talk, WRONG), told(&talk, "\"unread\":[\"ipv4_checksum\"]")), (1, 1));
}

#[test]
fn where_all_headers_of_a_side_are_wrong_all_is_read() {
    let mut talk = Talk::new(40_202);
    talk.frame(C, "s", -1, 0, b"").spoil_header().frame(S, "sa", -1, 0, b"").frame(C, "a", 0, 0, b"").spoil_header();
    talk.say(C, 0, 0, REQUEST).spoil_header().say(S, 0, LENGTH, ANSWER);
    let (found, outcome) = urls(&talk);
    assert_eq!((found, outcome.count(Counter::InspectIpv4Checksum)), (vec!["/a".to_owned()], 0));
}

#[test]
fn a_handshake_in_packets_that_are_dropped_begins_nothing() {
    let mut talk = Talk::open(40_203);
    talk.say(C, 0, 0, &REQUEST[..20]).say(S, 0, 20, b"");
    talk.frame(C, "s", 1 << 20, 0, b"").spoil_header().frame(S, "sa", 1 << 21, (1 << 20) + 1, b"").spoil_header();
    talk.say(C, 20, 0, &REQUEST[20..]);
    finish(&mut talk);
    let (found, outcome) = urls(&talk);
    assert_eq!((found, outcome.count(Counter::FlowsCreated)), (vec!["/a".to_owned()], 1));
}

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 53];

fn question(id: u8) -> Vec<u8> {
    [&[0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x01h\x07example\0", &[0, 1, 0, 1]].concat()
}

fn answer(id: u8, address: u8) -> Vec<u8> {
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, address];
    [&[0, id, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0][..], b"\x01h\x07example\0", &[0, 1, 0, 1], &record].concat()
}

fn asked(port: u16, id: u8) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(CLIENT, SERVER, 64).udp(port, 53);
    builder.write(&mut frame, &question(id)).expect("a frame in memory");
    frame
}

fn answered(port: u16, id: u8, address: u8) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2([4; 6], [2; 6]).ipv4(SERVER, CLIENT, 64).udp(53, port);
    builder.write(&mut frame, &answer(id, address)).expect("a frame in memory");
    frame
}

/// Another checksum of UDP; what a card would leave; none.
fn changed(mut frame: Vec<u8>, to: impl Fn(u16, u16) -> u16) -> Vec<u8> {
    let word = |at: usize| u32::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let pseudo = (26..34).step_by(2).map(word).sum::<u32>() + 17 + word(38);
    let sum = to(word(40) as u16, (pseudo % 0xffff) as u16);
    frame[40..42].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn spoiled(mut frame: Vec<u8>) -> Vec<u8> {
    frame[24] ^= 0x55;
    frame
}

fn shown(frames: Vec<Vec<u8>>) -> (Vec<bool>, [usize; 2], Outcome) {
    let talk = Talk { client_port: 0, frames, stamps: None };
    let (outcome, lines) = read(capture(&[&talk]), 1);
    let has = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    let told = [has(WRONG), has("\"decoder.udp.wrong_checksum\"")];
    ((1..=3).map(|address| has(&format!("192.0.2.{address}\"")) > 0).collect(), told, outcome)
}

#[test]
fn a_false_answer_that_its_receiver_drops_is_not_read() {
    let known = || vec![asked(40_001, 1), answered(40_001, 1, 1), asked(40_002, 2)];
    let real = || answered(40_002, 2, 2);
    for (name, decoy, told) in [
        ("a wrong sum", changed(answered(40_002, 2, 3), |right, _| !right), [0, 1]),
        ("a sum left to a card", changed(answered(40_002, 2, 3), |_, pseudo| pseudo), [0, 1]),
        ("a wrong header", spoiled(answered(40_002, 2, 3)), [1, 0]),
    ] {
        let (addresses, anomalies, outcome) = shown([known(), vec![decoy.clone(), decoy, real()]].concat());
        assert_eq!((addresses, anomalies), (vec![true, true, false], told), "{name}");
        let counters =
            [Counter::InspectIpv4Checksum, Counter::InspectUdpChecksum].map(|one| outcome.count(one) as usize);
        assert_eq!(counters, told.map(|told| 2 * told), "{name}: counted each time");
    }
    // Without a sum there is nothing to be wrong.
    let (addresses, ..) = shown([known(), vec![changed(real(), |_, _| 0)]].concat());
    assert_eq!(addresses, [true, true, false]);
}

/// As where the capturing host is the server, and its card makes the sums.
#[test]
fn of_a_sender_whose_sums_are_never_right_all_is_read() {
    let wrong = |frame| changed(spoiled(frame), |_, pseudo| pseudo);
    let frames = [asked(40_001, 1), wrong(answered(40_001, 1, 1)), asked(40_002, 2), wrong(answered(40_002, 2, 2))];
    let (addresses, anomalies, _) = shown(frames.to_vec());
    assert_eq!((addresses, anomalies), (vec![true, true, false], [0, 0]));
}

/// A client whose sums are right towards one service and left to its card towards another.
#[test]
fn right_sums_of_one_service_tell_nothing_of_another() {
    let named = |port: u16, id: u8| {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([4; 6], [2; 6]).ipv4(SERVER, CLIENT, 64).udp(port, 40_009);
        builder.write(&mut frame, &answer(id, id)).expect("a frame in memory");
        frame
    };
    let left = changed(named(5353, 2), |_, pseudo| pseudo);
    let (addresses, anomalies, _) = shown(vec![asked(40_009, 1), named(53, 1), left]);
    assert_eq!((addresses, anomalies), (vec![true, true, false], [0, 0]));
}

/// The answer in two fragments; one of a false answer comes before them, with a header that routers drop.
#[test]
fn a_false_fragment_that_is_dropped_is_of_no_datagram() {
    let fragment = |bytes: &[u8], offset: u16, more: bool, is_right: bool| {
        let mut frame = [&[2; 6][..], &[4; 6], &[8, 0]].concat();
        let mut head = [&[0x45, 0][..], &(bytes.len() as u16 + 20).to_be_bytes(), &[0, 9]].concat();
        head.extend(((offset / 8) | if more { 0x2000 } else { 0 }).to_be_bytes());
        head.extend([64, 17, 0, 0]);
        head.extend([SERVER, CLIENT].concat());
        let sum: u32 = head.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        let sum = !((sum % 0xffff) as u16);
        head[10..12].copy_from_slice(&(if is_right { sum } else { sum ^ 1 }).to_be_bytes());
        frame.extend(head);
        frame.extend(bytes);
        frame
    };
    let udp = |frame: Vec<u8>| frame[34..].to_vec();
    let (real, decoy) = (udp(answered(40_002, 2, 2)), udp(changed(answered(40_002, 2, 3), |_, _| 0)));
    let pieces = |bytes: &[u8], is_right| {
        [fragment(&bytes[..32], 0, true, is_right), fragment(&bytes[32..], 32, false, is_right)]
    };
    let ([first, last], [false_first, false_last]) = (pieces(&real, true), pieces(&decoy, false));
    for (name, frames) in [
        ("in front", vec![&false_last, &first, &last]),
        ("between", vec![&first, &false_last, &last]),
        ("all of it in between", vec![&first, &false_first, &false_last, &last]),
    ] {
        let frames = [vec![asked(40_002, 2)], frames.into_iter().cloned().collect()].concat();
        let (addresses, anomalies, outcome) = shown(frames);
        assert_eq!((addresses, anomalies), (vec![false, true, false], [1, 0]), "{name}");
        assert_eq!(outcome.count(Counter::FragmentOverlapDifferent), 0, "{name}");
    }
}
