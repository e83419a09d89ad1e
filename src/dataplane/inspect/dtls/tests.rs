use super::super::facts::Facts;
use super::super::hostile;
use super::super::inspector::{Event, Inspector, Payload, Settings, Sink};
use super::super::parse::Record as Kept;
use super::super::tls::fingerprint::{self, Transport};
use super::super::tls::tests::client_hello;
use super::*;
use crate::dataplane::decode::{Direction, FlowKey};
use crate::units::Timestamp;

const ALL: usize = usize::MAX;

pub(in super::super) fn record(kind: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
    let head = [&[kind, 0xfe, 0xfd][..], &epoch.to_be_bytes(), &[0; 6], &(body.len() as u16).to_be_bytes()].concat();
    [head, body.to_vec()].concat()
}

/// Fragments of `size` bytes of a message, each with its header.
pub(in super::super) fn fragments(kind: u8, sequence: u16, body: &[u8], size: usize) -> Vec<Vec<u8>> {
    let three = |value: usize| (value as u32).to_be_bytes()[1..].to_vec();
    let total = three(body.len());
    let pieces: Vec<&[u8]> = if body.is_empty() { vec![body] } else { body.chunks(size).collect() };
    let mut at = 0;
    let mut parts = vec![];
    for piece in pieces {
        parts.push([&[kind][..], &total, &sequence.to_be_bytes(), &three(at), &three(piece.len()), piece].concat());
        at += piece.len();
    }
    parts
}

fn whole(kind: u8, sequence: u16, body: &[u8]) -> Vec<u8> {
    record(content::HANDSHAKE, 0, &fragments(kind, sequence, body, ALL).concat())
}

pub(in super::super) fn hello(cookie: &[u8], extensions: &[u8]) -> Vec<u8> {
    let sni = [&[0, 0, 0, 19, 0, 17, 0, 0, 14][..], b"shrike.example"].concat();
    client_hello(0xfefd, Some(cookie), &[&sni, extensions].concat())[4..].to_vec()
}

fn server_hello(extensions: &[u8]) -> Vec<u8> {
    let length = (extensions.len() as u16).to_be_bytes();
    [&[0xfe, 0xfd][..], &[9; 32], &[0, 0xc0, 0x2f, 0], &length, extensions].concat()
}

fn show(datagrams: &[(Side, Vec<u8>)], mut scratch: Option<Scratch>) -> (Kept, Vec<Step>) {
    let (mut state, mut out) = (State::default(), Kept::default());
    let steps =
        datagrams.iter().map(|(side, bytes)| state.step_with(*side, bytes, scratch.as_mut(), &mut out)).collect();
    state.end(&mut out);
    (out, steps)
}

fn check(event: &Facts) {
    assert_eq!(event.get(HELLO.sni), Some(&b"shrike.example"[..]));
    let numbers = [HELLO.client_version, HELLO.version, HELLO.cipher, COOKIE].map(|fact| event.number(fact));
    assert_eq!(numbers, [0xfefd, 0xfefd, 0xc02f, 1].map(Some));
    let ja4 = fingerprint::ja4_raw(event, &HELLO, Transport::Dtls).unwrap();
    assert_eq!(ja4, "dd2d030100_002f,1301,c02f_");
}

/// A handshake with a cookie; the hellos in fragments of `size`.
fn handshake(size: usize) -> Vec<(Side, Vec<u8>)> {
    let client = |sequence, cookie: &[u8]| {
        let parts = fragments(message::CLIENT_HELLO, sequence, &hello(cookie, b""), size);
        parts.into_iter().map(|part| (Side::Originator, record(content::HANDSHAKE, 0, &part)))
    };
    let verify = whole(HELLO_VERIFY_REQUEST, 0, &[0xfe, 0xff, 2, 7, 7]);
    let answer = fragments(message::SERVER_HELLO, 1, &server_hello(b""), size);
    let answer = answer.into_iter().map(|part| (Side::Responder, record(content::HANDSHAKE, 0, &part)));
    let end = [whole(message::SERVER_HELLO_DONE, 2, b""), record(content::CHANGE_CIPHER_SPEC, 0, &[1])].concat();
    let mut all: Vec<_> = client(0, b"").collect();
    all.push((Side::Responder, verify));
    all.extend(client(1, &[7, 7]));
    all.extend(answer);
    all.push((Side::Originator, record(content::HANDSHAKE, 1, &[0xee; 40])));
    all.push((Side::Responder, end));
    all
}

#[test]
fn a_handshake_is_one_event_in_fragments_or_whole() {
    for size in [ALL, 100, 30, 7] {
        let (out, steps) = show(&handshake(size), Some(Scratch::default()));
        assert_eq!((out.events.len(), &out.anomalies, steps.last()), (1, &vec![], Some(&Step::Done)), "{size}");
        check(&out.events[0]);
        assert_eq!(out.events[0].number(HELLO.resumed), None);
    }
    let (out, _) = show(&handshake(ALL), None);
    check(&out.events[0]);
    let mut turned: Vec<Vec<u8>> = fragments(message::CLIENT_HELLO, 0, &hello(b"", b""), 20);
    turned.reverse();
    turned.insert(2, turned[3].clone());
    let (out, _) = show(&[(Side::Originator, record(content::HANDSHAKE, 0, &turned.concat()))], None);
    assert_eq!(out.events[0].get(HELLO.sni), Some(&b"shrike.example"[..]));
}

/// Whatever of a handshake was lost or came before the capture, who answers is the server, and once it is told so.
#[test]
fn who_answers_is_the_server_whatever_came_first() {
    let all = handshake(ALL);
    let answer = whole(message::SERVER_HELLO, 1, &server_hello(b""));
    for (first, turns, events) in [(0, 0, 1), (1, 1, 1), (2, 0, 1), (3, 1, 1)] {
        // The first that is seen makes its sender the originator; once told, the flow shows the sides as they are.
        let (mut state, mut out) = (State::default(), Kept::default());
        let begins = all[first].0;
        for (side, bytes) in &all[first..] {
            let is_originator = (*side == begins) == (out.turns == 0);
            let side = if is_originator { Side::Originator } else { Side::Responder };
            state.step_with(side, bytes, None, &mut out);
        }
        state.end(&mut out);
        assert_eq!((out.turns, out.events.len(), &out.anomalies), (turns, events, &vec![]), "from {first} on");
        assert_eq!(out.events[0].number(HELLO.cipher), Some(0xc02f), "from {first} on");
        assert_eq!(out.events[0].get(HELLO.sni).is_some(), first < 3, "from {first} on");
    }
    // Of two that say to serve the first is right; and who does so and then says hello as a client is odd.
    let (out, steps) = show(&[(Side::Responder, answer.clone()), (Side::Originator, answer.clone())], None);
    assert_eq!((out.turns, steps[1]), (0, Step::Took(answer.len())));
    let late = [(Side::Originator, all[1].1.clone()), (Side::Responder, all[0].1.clone())];
    assert_eq!(show(&late, None).1[1], Step::Broken(UNEXPECTED_MESSAGE));
}

/// The flow stays turned when its parser is done with both sides, and data follow.
#[test]
fn a_flow_that_was_turned_stays_so_to_its_end() {
    let settings = Settings { flows: 4, buffers: 4, facts: 4, depth: 1 << 16, ..Settings::default() };
    let data = |side| (side, record(content::APPLICATION_DATA, 1, &[0xdd; 40]));
    let data = [data(Side::Responder), data(Side::Originator)];
    for first in [1, 3] {
        let (key, originator) = FlowKey::v4(0x0a00_0001, 4433, 0x0a00_0002, 50_000, 17, 0);
        let (mut inspector, mut kept) = (Inspector::new(settings, 4, [1, 2, 3, 4]), Turned::default());
        for (side, bytes) in handshake(ALL)[first..].iter().chain(data.iter().cycle().take(40)) {
            let (first_seen, time) = (Timestamp(1), Timestamp(5));
            let (slot, tcp, before, is_cut) = (1, None, &[][..], false);
            let side = side.other(); // the server came first
            let payload = Payload { slot, key: &key, originator, first_seen, side, tcp, bytes, before, is_cut, time };
            inspector.payload(&payload, &mut kept);
            assert!(inspector.is_turned(1), "from {first} on: {:?}", inspector.application(1));
        }
        inspector.end(1, &key, originator, [Timestamp(1), Timestamp(5)], &mut kept);
        assert_eq!(kept.0, [originator.flip()], "from {first} on");
    }
}

#[derive(Default)]
struct Turned(Vec<Direction>);

impl Sink for Turned {
    fn event(&mut self, event: &Event<'_>) {
        self.0.push(event.originator);
    }
}

#[test]
fn version_1_3_ends_with_its_own_header_of_ciphertext() {
    let versions = [0, 43, 0, 3, 2, 0xfe, 0xfc];
    let first = (Side::Originator, whole(message::CLIENT_HELLO, 0, &hello(b"", &versions)));
    let chosen = whole(message::SERVER_HELLO, 0, &server_hello(&[0, 43, 0, 2, 0xfe, 0xfc]));
    let answer = (Side::Responder, [chosen, vec![0x2e, 1, 2, 0, 5, 9, 9, 9, 9, 9]].concat());
    let stun = (Side::Responder, [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[0; 12]].concat());
    let (out, steps) = show(&[first, stun, answer], None);
    assert_eq!((out.events.len(), out.anomalies.len(), steps[2]), (1, 0, Step::Done));
    assert_eq!(out.events[0].number(HELLO.version), Some(0xfefc));
    let ja4 = fingerprint::ja4(&out.events[0], &HELLO, Transport::Dtls).unwrap();
    assert!(ja4.starts_with("dd3d030200_"), "{ja4}");
}

#[test]
fn what_breaks_rules_is_named() {
    let hello = hello(b"", b"");
    let good = whole(message::CLIENT_HELLO, 0, &hello);
    let mut over = good.clone();
    over[13 + 6] = 1; // fragment offset
    for (datagrams, anomaly) in [
        (vec![(Side::Originator, good[..60].to_vec())], "bad_record"),
        (vec![(Side::Originator, over)], "bad_fragment"),
        (vec![(Side::Originator, whole(message::CLIENT_HELLO, 0, &hello[..60]))], "bad_hello"),
        (vec![(Side::Originator, good.clone()), (Side::Responder, record(21, 0, &[2, 40]))], "fatal_alert"),
    ] {
        assert_eq!(show(&datagrams, None).0.anomalies, [anomaly]);
    }
    let both = [(Side::Originator, good.clone()), (Side::Responder, good)];
    assert_eq!(show(&both, None).1[1], Step::Broken(UNEXPECTED_MESSAGE));
}

#[test]
fn recognition_is_by_content() {
    let look = |bytes: &[u8]| probe(&hostile::datagram(bytes, [50_000, 443]));
    for (_, datagram) in handshake(ALL).iter().chain(&handshake(30)) {
        assert_eq!(look(datagram), Match::Yes, "{datagram:02x?}");
    }
    let data = [record(23, 1, &[9; 40]), record(23, 1, &[9; 20])].concat();
    assert_eq!([look(&data), look(&data[..80]), look(&[&data[..], &[0]].concat())], [Match::Yes, Match::No, Match::No]);
    let stream = hostile::stream(&data, [50_000, 443]);
    for other in [&b""[..], &[22, 3, 1], &[0; 40], &[22; 40], &[0x16, 0xfe, 0xfd, 0, 0]] {
        assert_eq!([look(other), probe(&stream)], [Match::No; 2]);
    }
}

/// Access points talk to their controllers behind a preamble (RFC 5415).
#[test]
fn what_capwap_puts_in_front_is_passed_over() {
    let behind = |(side, bytes): (Side, Vec<u8>)| (side, [&[1, 0, 0, 0][..], &bytes].concat());
    let all: Vec<_> = handshake(ALL).into_iter().map(behind).collect();
    for (_, datagram) in &all {
        assert_eq!(probe(&hostile::datagram(datagram, [50_000, 5246])), Match::Yes, "{datagram:02x?}");
    }
    let (out, steps) = show(&all, Some(Scratch::default()));
    assert_eq!((out.events.len(), &out.anomalies, steps.last()), (1, &vec![], Some(&Step::Done)));
    check(&out.events[0]);
}

#[test]
fn hostile_datagrams_end_and_bombs_stay_within_bounds() {
    for (_, datagram) in handshake(ALL).iter().chain(&handshake(60)) {
        hostile::torment_datagram::<State>(datagram, [50_000, 443], probe);
    }
    let empty = fragments(message::CLIENT_HELLO, 9, b"", ALL).concat();
    show(&[(Side::Originator, record(content::HANDSHAKE, 0, &empty.repeat(2000)))], None);
    show(&[(Side::Originator, record(content::HANDSHAKE, 0, b"").repeat(2000))], None);
    // A message longer than the scratch: read as far as it goes.
    let long = [hello(b"", b""), vec![0; 9000]].concat();
    let parts = fragments(message::CLIENT_HELLO, 0, &long, 1000);
    let datagrams: Vec<_> = parts.iter().map(|part| (Side::Originator, record(content::HANDSHAKE, 0, part))).collect();
    let (out, _) = show(&datagrams, Some(Scratch::default()));
    assert_eq!(out.events[0].get(HELLO.sni), Some(&b"shrike.example"[..]));
}
