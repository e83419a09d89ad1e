use super::super::facts::{Facts, number};
use super::super::hostile;
use super::super::parse::{Look, Match, Record};
use super::super::tls::fingerprint::{self, Transport};
use super::super::tls::tests::{client_hello, message};
use super::*;

const DCID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
const V1: u32 = 1;

pub(in super::super) fn crypto(offset: u16, bytes: &[u8]) -> Vec<u8> {
    let two = |value: u16| (value | 0x4000).to_be_bytes();
    [&[6][..], &two(offset), &two(bytes.len() as u16), bytes].concat()
}

/// An Initial packet, padded so that the datagram has 1200 bytes where `is_padded`.
pub(in super::super) fn initial(
    version: u32,
    dcid: &[u8],
    token: &[u8],
    from: Side,
    frames: &[u8],
    is_padded: bool,
) -> Vec<u8> {
    let first = if header::V2.contains(&version) { 0xd1 } else { 0xc1 };
    let head =
        [&[first][..], &version.to_be_bytes(), &[dcid.len() as u8], dcid, &[0, token.len() as u8], token].concat();
    let mut plain = frames.to_vec();
    if is_padded {
        plain.resize(1200 - head.len() - 2 - 2 - 16, 0);
    }
    let length = 0x4000 | (plain.len() + 2 + 16) as u16;
    let head = [&head[..], &length.to_be_bytes(), &[0, 1]].concat();
    keys::seal(&head, 2, &plain, version, dcid, from).unwrap()
}

fn hello() -> Vec<u8> {
    hello_to(b"shrike.example")
}

/// A client's hello to a server of this name.
pub(in super::super) fn hello_to(name: &[u8; 14]) -> Vec<u8> {
    let sni = [&[0, 0, 0, 19, 0, 17, 0, 0, 14][..], name].concat();
    let versions = [0, 43, 0, 3, 2, 3, 4];
    let alpn = [0, 16, 0, 5, 0, 3, 2, b'h', b'3'];
    client_hello(0x0303, None, &[&sni[..], &alpn, &versions].concat())
}

fn server_hello() -> Vec<u8> {
    let body = [&[3, 3][..], &[9; 32], &[0, 0x13, 0x01, 0], &[0, 6, 0, 43, 0, 2, 3, 4]].concat();
    message(2, &body)
}

fn first(frames: &[u8]) -> Vec<u8> {
    initial(V1, &DCID, b"", Side::Originator, frames, true)
}

fn answer() -> Vec<u8> {
    answer_to(&DCID)
}

/// The server's hello to a client that began with this id.
pub(in super::super) fn answer_to(dcid: &[u8]) -> Vec<u8> {
    answer_as(V1, dcid)
}

fn answer_as(version: u32, dcid: &[u8]) -> Vec<u8> {
    let first = if header::V2.contains(&version) { 0xd1 } else { 0xc1 };
    let frames = [&[2, 0, 0, 0, 0][..], &crypto(0, &server_hello())].concat();
    let ids = [0, 4, 1, 2, 3, 4, 0, 0x40, (frames.len() + 18) as u8, 0, 0];
    let head = [&[first][..], &version.to_be_bytes(), &ids].concat();
    keys::seal(&head, 2, &frames, version, dcid, Side::Responder).unwrap()
}

fn show(datagrams: &[(Side, Vec<u8>)], scratch: Option<&mut Scratch>) -> (Record, Vec<Step>) {
    let (mut state, mut out) = (State::default(), Record::default());
    let mut kept = scratch;
    let steps =
        datagrams.iter().map(|(side, bytes)| state.step_with(*side, bytes, kept.as_deref_mut(), &mut out)).collect();
    state.end(&mut out);
    (out, steps)
}

fn look(bytes: &[u8]) -> Look<'_> {
    hostile::datagram(bytes, [50_000, 443])
}

fn check(event: &Facts) {
    assert_eq!(event.get(HELLO.sni), Some(&b"shrike.example"[..]));
    assert_eq!(event.get(HELLO.client_alpn), Some(&b"h3"[..]));
    assert_eq!(event.get(QUIC_VERSION).map(number), Some(u64::from(V1)));
    let ja4 = fingerprint::ja4(event, &HELLO, Transport::Quic).unwrap();
    assert!(ja4.starts_with("q13d0303h3_"), "{ja4}");
}

#[test]
fn a_handshake_is_one_event() {
    let (client, server) = ((Side::Originator, first(&crypto(0, &hello()))), (Side::Responder, answer()));
    for (datagrams, last) in [
        (vec![client.clone(), server.clone()], Step::Done),
        (vec![client.clone(), client.clone(), server.clone()], Step::Done),
        (vec![client.clone()], Step::Took(1200)),
    ] {
        let (out, steps) = show(&datagrams, None);
        assert_eq!((out.events.len(), out.anomalies.len(), steps.last()), (1, 0, Some(&last)));
        check(&out.events[0]);
        let is_answered = datagrams.len() > 1;
        assert_eq!(out.events[0].number(HELLO.cipher), is_answered.then_some(0x1301));
        assert_eq!(fingerprint::ja3s(&out.events[0], &HELLO), is_answered.then(|| "771,4865,43".to_owned()));
    }
}

/// Anybody can seal an Initial packet: one with another name and another id, in front of the client's own or behind it, hides
/// neither the name nor, where the server answers the last one, the answer.
#[test]
fn a_forged_beginning_hides_no_name() {
    let named = |name: &[u8; 14]| {
        let sni = [&[0, 0, 0, 19, 0, 17, 0, 0, 14][..], name].concat();
        client_hello(0x0303, None, &[&sni[..], &[0, 43, 0, 3, 2, 3, 4]].concat())
    };
    let other = [7; 8];
    let forged = |frames: &[u8]| (Side::Originator, initial(V1, &other, b"", Side::Originator, frames, true));
    let decoy = forged(&crypto(0, &named(b"decoys.example")));
    let own = (Side::Originator, first(&crypto(0, &hello())));
    let server = (Side::Responder, answer());
    let names = |events: &[Facts]| -> Vec<String> {
        events
            .iter()
            .filter_map(|one| one.get(HELLO.sni))
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    };
    for scratch in [false, true] {
        let run = |datagrams: &[_]| show(datagrams, scratch.then(Scratch::default).as_mut());
        let (out, _) = run(&[decoy.clone(), own.clone(), server.clone()]);
        assert_eq!(
            (names(&out.events), out.anomalies),
            (vec!["decoys.example".into(), "shrike.example".into()], vec!["hello_repeated"])
        );
        check(&out.events[1]);
        assert_eq!(out.events[1].number(HELLO.cipher), Some(0x1301));
        let (out, _) = run(&[own.clone(), decoy.clone(), server.clone()]);
        assert_eq!(names(&out.events), ["shrike.example", "decoys.example"]);
        // Without a hello in it, or with a part of one.
        for frames in [vec![1; 4], crypto(40, &hello()[40..])] {
            let (out, _) = run(&[forged(&frames), own.clone(), server.clone()]);
            assert_eq!(names(&out.events), ["shrike.example"]);
            assert_eq!(out.events.last().unwrap().number(HELLO.cipher), Some(0x1301));
        }
        // The client's next packet, with the id that the server gave it: the keys stay.
        let head = [0xc1, 0, 0, 0, 1, 4, 1, 2, 3, 4, 0, 0, 0x40, 24, 0, 2];
        let acked = (Side::Originator, keys::seal(&head, 2, &[1; 6], V1, &DCID, Side::Originator).unwrap());
        let (out, _) = run(&[own.clone(), acked, server.clone()]);
        assert_eq!((out.events.len(), out.anomalies.len()), (1, 0));
        check(&out.events[0]);
    }
}

#[test]
fn hellos_come_in_pieces_out_of_order_and_over_datagrams() {
    let hello = hello();
    let (a, b, c) = (&hello[..50], &hello[50..70], &hello[70..]);
    let mixed = [crypto(70, c), vec![1, 0, 0, 0], crypto(0, a), crypto(40, &hello[40..60]), crypto(50, b)].concat();
    let (out, _) = show(&[(Side::Originator, first(&mixed))], None);
    check(&out.events[0]);
    let datagrams = [crypto(50, b), crypto(70, c), crypto(0, a)].map(|frames| (Side::Originator, first(&frames)));
    let (out, _) = show(&datagrams, Some(&mut Scratch::default()));
    check(&out.events[0]);
    assert_eq!(out.events.len(), 1);
    let mut used = Scratch::default();
    frames::sort(&crypto(0, &[0xff; 700]), &mut used);
    let (out, _) = show(&datagrams, Some(&mut used));
    check(&out.events[0]);
    let (out, _) = show(&[(Side::Originator, first(&crypto(0, &hello[..120])))], None);
    assert_eq!(out.events[0].get(HELLO.sni), Some(&b"shrike.example"[..]), "what there is");
    assert_eq!(fingerprint::ja4(&out.events[0], &HELLO, Transport::Quic), None, "but no fingerprint");
    let coalesced =
        [initial(V1, &DCID, b"", Side::Originator, &crypto(0, &hello[..80]), false), first(&crypto(80, &hello[80..]))];
    let (out, _) = show(&[(Side::Originator, coalesced.concat())], None);
    check(&out.events[0]);
}

/// In front of the hello: packets of nothing in datagrams of their own and in the same one, and an ACK of many ranges.
#[test]
fn packets_of_nothing_hide_no_hello() {
    let ping = initial(V1, &DCID, b"", Side::Originator, &[1; 4], false);
    let own = (Side::Originator, first(&crypto(0, &hello())));
    let mut datagrams = vec![(Side::Originator, first(&[1])); 20];
    datagrams.push(own.clone());
    let one = [ping.repeat(20), own.1].concat();
    let ack = [&[2, 0, 0, 0x41, 0x40, 0][..], &[0; 640], &crypto(0, &hello())].concat();
    for datagrams in [datagrams, vec![(Side::Originator, one)], vec![(Side::Originator, first(&ack))]] {
        let (out, _) = show(&datagrams, None);
        assert_eq!((out.events.len(), out.anomalies.len()), (1, 0));
        check(&out.events[0]);
        assert!(!out.events[0].is_truncated());
    }
    let (out, _) = show(&[(Side::Originator, first(&[1]))], None);
    assert!(out.events[0].is_truncated(), "the hello is not there");
    let (out, _) = show(&[(Side::Originator, first(&[&[1][..], &[0x10, 0], &crypto(0, &hello())].concat()))], None);
    assert_eq!(out.anomalies, ["bad_frame"]);
    let (out, _) = show(&[(Side::Originator, initial(V1, &DCID, b"", Side::Originator, &[0; 5000], false))], None);
    assert_eq!(out.anomalies, ["packet_too_long"]);
}

/// In order a hello may have any length, with a scratch or without; out of order what is kept ahead.
#[test]
fn a_hello_of_any_length_is_read() {
    let long = |length: u16| {
        let padding = [&[0, 21][..], &length.to_be_bytes(), &vec![0; length.into()]].concat();
        let sni = [&[0, 0, 0, 19, 0, 17, 0, 0, 14][..], b"shrike.example"].concat();
        client_hello(
            0x0303,
            None,
            &[&padding[..], &sni, &[0, 16, 0, 5, 0, 3, 2, b'h', b'3', 0, 43, 0, 3, 2, 3, 4]].concat(),
        )
    };
    let pieces = |hello: &[u8]| -> Vec<(Side, Vec<u8>)> {
        let offset = |at: usize| [&[6][..], &(at as u32 | 0x8000_0000).to_be_bytes()].concat();
        let piece = |(at, bytes): (usize, &[u8])| {
            [&offset(at * 1000)[..], &(bytes.len() as u16 | 0x4000).to_be_bytes(), bytes].concat()
        };
        hello.chunks(1000).enumerate().map(|one| (Side::Originator, first(&piece(one)))).collect()
    };
    let run = |length: u16, is_reversed: bool, has_scratch: bool| {
        let mut datagrams = pieces(&long(length));
        if is_reversed {
            datagrams.reverse();
        }
        show(&datagrams, has_scratch.then(Scratch::default).as_mut()).0
    };
    for (length, is_reversed, has_scratch) in
        [(5000, false, false), (15_000, false, true), (5000, true, true), (11_000, true, true)]
    {
        let out = run(length, is_reversed, has_scratch);
        assert_eq!((out.events.len(), out.anomalies.len()), (1, 0), "{length}");
        assert_eq!(out.events[0].get(HELLO.sni), Some(&b"shrike.example"[..]), "{length}");
        let ja4 = fingerprint::ja4(&out.events[0], &HELLO, Transport::Quic).unwrap();
        assert!(ja4.starts_with("q13d0304h3_") && !out.events[0].is_truncated(), "{ja4}");
    }
    let out = run(40_000, false, true);
    assert_eq!(
        (out.events[0].get(HELLO.sni), &out.anomalies[..]),
        (Some(&b"shrike.example"[..]), &["hello_too_long"][..])
    );
    let out = run(20_000, true, true);
    assert_eq!((out.anomalies, out.events[0].is_truncated()), (vec!["crypto_too_far_ahead", "hello_too_long"], true));
}

/// The first bytes stay, as at servers; that others came for the same place is told, whether the hello was whole or not.
#[test]
fn bytes_that_contradict_each_other_are_told() {
    let (own, other) =
        (hello(), hello().iter().map(|byte| if *byte == b'k' { b'x' } else { *byte }).collect::<Vec<_>>());
    let datagram = |frames: &[u8]| (Side::Originator, first(frames));
    let server = (Side::Responder, answer());
    for datagrams in [
        vec![datagram(&[crypto(0, &own), crypto(0, &other)].concat()), server.clone()],
        vec![datagram(&crypto(0, &own[..100])), datagram(&crypto(0, &other)), server.clone()],
        vec![datagram(&crypto(0, &own)), datagram(&crypto(0, &other)), datagram(&crypto(0, &other)), server.clone()],
    ] {
        let (out, _) = show(&datagrams, Some(&mut Scratch::default()));
        assert_eq!((out.events.len(), &out.anomalies[..]), (1, &["overlap_different_data"][..]));
        check(&out.events[0]);
        assert_eq!(out.events[0].number(HELLO.cipher), Some(0x1301));
    }
    let again = vec![datagram(&crypto(0, &own)), datagram(&crypto(0, &own)), server];
    assert_eq!(show(&again, Some(&mut Scratch::default())).0.anomalies.len(), 0);
}

#[test]
fn versions_are_negotiated_and_hellos_asked_for_again() {
    let split = server_hello();
    let pieces = [crypto(30, &split[30..]), crypto(0, &split[..30])].map(|frames| {
        let head = [&[0xc1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4, 0, 0x40][..], &[(frames.len() + 18) as u8], &[0, 0]].concat();
        (Side::Responder, keys::seal(&head, 2, &frames, V1, &DCID, Side::Responder).unwrap())
    });
    let datagrams = [vec![(Side::Originator, first(&crypto(0, &hello())))], pieces.to_vec()].concat();
    let (out, _) = show(&datagrams, Some(&mut Scratch::default()));
    assert_eq!(out.events[0].number(HELLO.cipher), Some(0x1301), "the server's hello in two packets");
    let unknown = initial(V1, &DCID, b"", Side::Originator, &crypto(0, &hello()), true);
    let unknown = [&unknown[..1], &[0x1a, 0x2a, 0x3a, 0x4a], &unknown[5..]].concat();
    let forced = initial(0x1a2a_3a4a, &DCID, b"", Side::Originator, &crypto(0, &hello()), true);
    let offer = [&[0xca, 0, 0, 0, 0, 0, 8][..], &DCID, &[0, 0, 0, 1, 0xff, 0, 0, 29]].concat();
    assert_eq!([&forced, &offer].map(|bytes| probe(&look(bytes))), [Match::Yes; 2]);
    let datagrams = [
        (Side::Originator, forced),
        (Side::Responder, offer),
        (Side::Originator, first(&crypto(0, &hello()))),
        (Side::Responder, answer()),
    ];
    for first in [datagrams[0].clone(), (Side::Originator, unknown)] {
        let datagrams = [vec![first], datagrams[1..].to_vec()].concat();
        let (out, _) = show(&datagrams, None);
        check(&out.events[0]);
        assert_eq!((out.events.len(), out.events[0].number(NEGOTIATION), &out.anomalies), (1, Some(1), &vec![]));
    }
    let retry = [&[0xf0, 0, 0, 0, 1, 0, 4, 5, 6, 7, 8][..], b"token"].concat();
    let retry = [&retry[..], &keys::retry_tag(&retry, V1, &DCID).unwrap()].concat();
    assert_eq!(probe(&look(&retry)), Match::Yes);
    let again = initial(V1, &[5, 6, 7, 8], b"token", Side::Originator, &crypto(0, &hello()), true);
    let datagrams =
        [(Side::Originator, first(&crypto(0, &hello()[..90]))), (Side::Responder, retry), (Side::Originator, again)];
    let (out, _) = show(&datagrams, Some(&mut Scratch::default()));
    check(&out.events[0]);
    assert_eq!(out.events[0].number(RETRY), Some(1));
    // The first packet again, which met the Retry on the way; and a client that goes on as if there had been none.
    let (retry, again) = (datagrams[1].clone(), datagrams[2].clone());
    let split = [crypto(0, &hello()[..40]), crypto(40, &hello()[40..])].map(|part| (Side::Originator, first(&part)));
    let own = (Side::Originator, first(&crypto(0, &hello())));
    for datagrams in
        [vec![own.clone(), retry.clone(), own, again], vec![split[0].clone(), retry.clone(), split[1].clone()]]
    {
        let (out, _) = show(&datagrams, Some(&mut Scratch::default()));
        assert_eq!((out.events.len(), &out.anomalies), (1, &vec![]));
        check(&out.events[0]);
    }
    // One that no client believes.
    let mut forged = retry;
    *forged.1.last_mut().unwrap() ^= 1;
    for scratch in [false, true] {
        let datagrams = [split[0].clone(), forged.clone(), split[1].clone(), (Side::Responder, answer())];
        let (out, _) = show(&datagrams, scratch.then(Scratch::default).as_mut());
        assert_eq!((out.events.len(), &out.anomalies[..]), (1, &["unauthentic_retry"][..]));
        check(&out.events[0]);
        assert_eq!((out.events[0].number(RETRY), out.events[0].number(HELLO.cipher)), (None, Some(0x1301)));
    }
}

/// A Retry (RFC 9000 section 17.2.5) with the tag that the client would check.
fn retry(version: u32, to: &[u8], id: &[u8], token: &[u8]) -> (Side, Vec<u8>) {
    let first = if header::V2.contains(&version) { 0xc0 } else { 0xf0 };
    let head = [&[first][..], &version.to_be_bytes(), &[0, id.len() as u8], id, token].concat();
    let tag = keys::retry_tag(&head, version, to).unwrap();
    (Side::Responder, [&head[..], &tag].concat())
}

/// A hello in two packets before the Retry and behind it. Whether the client saw it is only known from the server's answer: until
/// then the keys of both ids are tried. One that no client believes changes nothing.
#[test]
fn a_retry_counts_only_once_it_is_believed() {
    const NEW: [u8; 5] = [5, 6, 7, 8, 9];
    let hello = hello();
    for version in [V1, header::V2[0]] {
        let part = |id: &[u8], token: &[u8], at: usize| {
            let piece = if at == 0 { crypto(0, &hello[..60]) } else { crypto(60, &hello[60..]) };
            (Side::Originator, initial(version, id, token, Side::Originator, &piece, true))
        };
        let [a, b] = [0, 1].map(|at| part(&DCID, b"", at));
        let [c, d] = [0, 1].map(|at| part(&NEW, b"token", at));
        let [old, new] = [&DCID[..], &NEW].map(|id| (Side::Responder, answer_as(version, id)));
        let good = retry(version, &DCID, &NEW, b"token");
        let mut wrong = good.clone();
        *wrong.1.last_mut().unwrap() ^= 1;
        let empty = retry(version, &DCID, &NEW, b"");
        let another = retry(if version == V1 { header::V2[0] } else { V1 }, &DCID, &NEW, b"token");
        let same = retry(version, &DCID, &DCID, b"token");
        let second = retry(version, &DCID, &[3; 6], b"token");
        let bad = &["unauthentic_retry"][..];
        for (name, datagrams, has_retry, anomalies) in [
            ("believed behind the hello", vec![&a, &b, &good, &c, &d, &new], true, &[][..]),
            ("believed in its midst", vec![&a, &good, &c, &d, &new], true, &[]),
            ("the pieces the other way round", vec![&b, &good, &d, &c, &new], true, &[]),
            ("with the rest of the first on its way", vec![&a, &good, &b, &c, &d, &new], true, &[]),
            ("with all of the first behind", vec![&a, &b, &good, &c, &a, &b, &d, &new], true, &[]),
            ("it did not arrive", vec![&a, &b, &good, &old], true, &[]),
            ("nor in the midst", vec![&a, &good, &b, &old], true, &[]),
            ("nor after others", vec![&a, &good, &c, &b, &d, &old], true, &[]),
            ("a second one", vec![&a, &b, &good, &second, &c, &d, &new], true, &[]),
            ("a wrong tag", vec![&a, &wrong, &b, &old], false, bad),
            ("and then the right one", vec![&a, &wrong, &b, &good, &c, &d, &new], true, bad),
            ("no token", vec![&a, &empty, &b, &old], false, bad),
            ("of another version", vec![&a, &another, &b, &old], false, bad),
            ("the same id", vec![&a, &same, &b, &old], false, bad),
        ] {
            let datagrams: Vec<_> = datagrams.into_iter().cloned().collect();
            let (out, steps) = show(&datagrams, Some(&mut Scratch::default()));
            assert_eq!((out.events.len(), &out.anomalies[..]), (1, anomalies), "{name} {version:x}");
            let event = &out.events[0];
            assert_eq!(event.get(HELLO.sni), Some(&b"shrike.example"[..]), "{name}");
            assert!(fingerprint::ja4(event, &HELLO, Transport::Quic).is_some() && !event.is_truncated(), "{name}");
            let told = [RETRY, HELLO.cipher, QUIC_VERSION].map(|fact| event.number(fact));
            assert_eq!(told, [has_retry.then_some(1), Some(0x1301), Some(version.into())], "{name}");
            assert_eq!(steps.last(), Some(&Step::Done), "{name}");
        }
    }
}

/// Packets of other connections between those of a hello, which its receiver keeps apart (RFC 9000 section 5.2).
#[test]
fn a_decoy_between_the_packets_of_a_hello_hides_nothing() {
    let own = [crypto(0, &hello()[..40]), crypto(40, &hello()[40..])].map(|part| (Side::Originator, first(&part)));
    let other =
        |number: u8, frames: &[u8]| (Side::Originator, initial(V1, &[number; 8], b"", Side::Originator, frames, true));
    let sni = [&[0, 0, 0, 19, 0, 17, 0, 0, 14][..], b"decoys.example"].concat();
    let decoy = client_hello(0x0303, None, &[&sni[..], &[0, 43, 0, 3, 2, 3, 4]].concat());
    let server = (Side::Responder, answer());
    let run = |datagrams: &[_]| {
        let (out, _) = show(datagrams, Some(&mut Scratch::default()));
        let names = |one: &Facts| one.get(HELLO.sni).map(|name| String::from_utf8_lossy(name).into_owned());
        (out.events.iter().filter_map(names).collect::<Vec<_>>(), out)
    };
    let [a, b] = own;
    for scratch in [false, true] {
        let datagrams = [a.clone(), other(7, &[1; 4]), b.clone(), server.clone()];
        let (out, _) = show(&datagrams, scratch.then(Scratch::default).as_mut());
        assert_eq!((out.events.len(), out.anomalies.len()), (1, 0));
        check(&out.events[0]);
        assert_eq!(out.events[0].number(HELLO.cipher), Some(0x1301));
    }
    let v2 = initial(header::V2[0], &DCID, b"", Side::Originator, &crypto(0, &decoy), true);
    for between in [other(7, &crypto(0, &decoy)), (Side::Originator, v2)] {
        for datagrams in [[a.clone(), between.clone(), b.clone()], [between.clone(), a.clone(), b.clone()]] {
            let (names, out) = run(&[&datagrams[..], std::slice::from_ref(&server)].concat());
            assert_eq!(
                (names, &out.anomalies[..]),
                (vec!["decoys.example".into(), "shrike.example".into()], &["hello_repeated"][..])
            );
            check(&out.events[1]);
            assert_eq!((out.events[1].is_truncated(), out.events[1].number(HELLO.cipher)), (false, Some(0x1301)));
        }
    }
    // Parts of others, before and between, that never are whole.
    let parts: Vec<_> = (1..4).map(|number| other(number, &crypto(0, &decoy[..50]))).collect();
    for datagrams in [
        [&parts[..], &[a.clone(), b.clone()]].concat(),
        [std::slice::from_ref(&a), &parts[..], std::slice::from_ref(&b)].concat(),
    ] {
        let (names, out) = run(&[&datagrams[..], std::slice::from_ref(&server)].concat());
        assert_eq!((names, &out.anomalies[..]), (vec!["shrike.example".into()], &["hello_repeated"][..]));
        assert_eq!(out.events.iter().filter_map(|one| one.number(HELLO.cipher)).count(), 1);
    }
    // More of them than are held apart.
    let parts: Vec<_> = (1..9).map(|number| other(number, &crypto(0, &decoy[..50]))).collect();
    let (names, out) = run(&[&parts[..1], std::slice::from_ref(&a), &parts[1..], std::slice::from_ref(&b)].concat());
    assert_eq!((names, &out.anomalies[..]), (vec![], &["hello_repeated", "hello_given_up"][..]));
    // A server that answers the decoy before the rest of the other comes.
    let answered = (Side::Responder, answer_to(&[7; 8]));
    let (names, out) =
        run(&[a.clone(), other(7, &crypto(0, &decoy)), answered.clone(), answered, b.clone(), server.clone()]);
    assert_eq!((names, out.events.len()), (vec!["decoys.example".into(), "shrike.example".into()], 2));
    assert!(out.events.iter().all(|one| one.number(HELLO.cipher) == Some(0x1301)));
    // Google's handshake in front.
    let google = [&[0x09][..], &DCID, b"Q043", &[1], &[7; 12], b"CHLO\x01\0\0\0SNI\0\x04\0\0\0name"].concat();
    let (names, _) = run(&[(Side::Originator, google), a, b, server]);
    assert_eq!(names, ["name", "shrike.example"]);
}

#[test]
fn version_2_and_refusals() {
    let hello = crypto(0, &hello());
    let packet = initial(header::V2[0], &DCID, b"", Side::Originator, &hello, true);
    let (out, _) = show(&[(Side::Originator, packet)], None);
    assert_eq!(out.events[0].get(HELLO.sni), Some(&b"shrike.example"[..]));
    assert_eq!(out.events[0].number(QUIC_VERSION), Some(0x6b33_43cf));
    let close = [0x1c, 0x41, 0x28, 0, 0];
    let head = [&[0xc1, 0, 0, 0, 1, 0, 0, 0, 0x40, 5 + 18, 0, 0][..]].concat();
    let refusal = keys::seal(&head, 2, &close, V1, &DCID, Side::Responder).unwrap();
    let (out, steps) = show(&[(Side::Originator, first(&hello)), (Side::Responder, refusal)], None);
    assert_eq!((out.events[0].number(CLOSE), steps[1]), (Some(0x128), Step::Done));
    let mut forged = first(&hello);
    forged[600] ^= 1;
    // A server drops it, so what follows is read; of many only the first is told, and they end.
    let (out, steps) = show(&[(Side::Originator, forged.clone()), (Side::Originator, first(&hello))], None);
    assert_eq!((&out.anomalies[..], steps[0]), (&["unauthentic_initial"][..], Step::Took(forged.len())));
    assert_eq!(out.events[0].get(HELLO.sni), Some(&b"shrike.example"[..]));
    let (out, steps) = show(&vec![(Side::Originator, forged); usize::from(INITIALS_MAX) + 1], None);
    assert_eq!(
        (&out.anomalies[..], steps.last()),
        (&["unauthentic_initial", "too_many_packets"][..], Some(&Step::Done))
    );
    // What is no hello is dropped too, of another connection or of this one.
    let no_hello =
        |id: &[u8]| (Side::Originator, initial(V1, id, b"", Side::Originator, &crypto(0, &server_hello()), true));
    for decoy in [no_hello(&[7; 8]), no_hello(&DCID)] {
        for scratch in [false, true] {
            let datagrams =
                [decoy.clone(), decoy.clone(), (Side::Originator, first(&hello)), (Side::Responder, answer())];
            let (out, _) = show(&datagrams, scratch.then(Scratch::default).as_mut());
            assert_eq!((out.anomalies, out.events.len()), (vec!["bad_hello"], 1));
            check(&out.events[0]);
        }
    }
}

#[test]
fn googles_handshake_in_the_clear() {
    let values: [(&[u8; 4], &[u8]); 3] = [(b"SNI\0", b"shrike.example"), (b"VER\0", b"Q043"), (b"UAID", b"Chrome/64")];
    let (mut tags, mut body, mut end) = (vec![], vec![], 0u32);
    for (tag, value) in values {
        end += value.len() as u32;
        tags.extend([&tag[..], &end.to_le_bytes()].concat());
        body.extend(value);
    }
    let hello = [&b"CHLO\x03\0\0\0"[..], &tags, &body].concat();
    let old = [&[0x09][..], &DCID, b"Q043", &[1], &[7; 12], &[0xa0, 1, 0, 4], &hello].concat();
    let long = [&[0xc3][..], b"Q046\x50", &DCID, &[0, 0, 0, 1], &[7; 12], &[0xa0, 1, 0, 4], &hello].concat();
    let q050 = initial(keys::Q050, &DCID, b"", Side::Originator, &[&[8, 0, 0x40, 100][..], &hello].concat(), true);
    for packet in [old, long, q050] {
        assert_eq!(probe(&look(&packet)), Match::Yes);
        let (out, _) = show(&[(Side::Originator, packet)], None);
        assert_eq!(out.events[0].get(HELLO.sni), Some(&b"shrike.example"[..]));
        assert_eq!(out.events[0].get(USER_AGENT), Some(&b"Chrome/64"[..]));
    }
}

#[test]
fn recognition_is_by_the_whole_header() {
    let packet = first(&crypto(0, &hello()));
    assert_eq!([&packet, &answer()].map(|bytes| probe(&look(bytes))), [Match::Yes; 2]);
    for other in
        [&b""[..], &[0xc0, 0, 0, 0, 1, 8], &packet[..1199], &[0x40; 1200], &[0xff; 1200], &[0; 1200], b"\xc0\0\0\0\x02"]
    {
        assert_eq!(probe(&look(other)), Match::No);
    }
    assert_eq!(probe(&Look { is_datagram: false, ..look(&packet) }), Match::No);
}

#[test]
fn hostile_datagrams_end() {
    for packet in [answer(), [&[0x09][..], &DCID, b"Q043", b"CHLO\x03\0\0\0SNI\0\x04\0\0\0name"].concat()] {
        hostile::torment_datagram::<State>(&packet, [50_000, 443], probe);
    }
    let packet = first(&crypto(0, &hello()));
    for end in (0..packet.len()).step_by(7) {
        show(&[(Side::Originator, packet[..end].to_vec()), (Side::Responder, answer())], None);
    }
    for at in 0..40 {
        let mut bytes = packet.clone();
        bytes[at] ^= 0xff;
        show(&[(Side::Originator, bytes), (Side::Responder, answer())], None);
    }
    // Every frame that authentic but hostile peers may send, cut and flipped.
    let frames = [&[2, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0][..], &[1, 0, 0], &crypto(3, &hello()), &[0x1c, 1, 0, 0]].concat();
    for at in 0..frames.len() {
        let mut bytes = frames.clone();
        bytes[at] ^= 0xff;
        for frames in [&frames[..at], &bytes] {
            frames::sort(frames, &mut Scratch::default());
        }
    }
}

#[test]
fn bombs_stay_within_bounds() {
    let mut scratch = Scratch::default();
    let many = [&[2, 0, 0, 0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &[0; 900]].concat();
    assert!(frames::sort(&many, &mut scratch).is_bad);
    let far = [6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 4, 1, 2, 3, 4];
    assert_eq!((frames::sort(&far, &mut scratch).put.is_beyond, scratch.prefix().len()), (true, 0));
    for offset in (0..0x3fff).step_by(1000) {
        frames::sort(&crypto(offset, &[1; 1000]), &mut scratch);
    }
    assert_eq!(scratch.prefix().len(), crate::dataplane::inspect::SCRATCH_BYTES, "what is beyond is dropped");
    // A hello that never ends: given up after so many packets, and told as what it is.
    let endless = crypto(0, &[1, 0xff, 0xff, 0xff, 3, 3]);
    let datagrams = vec![(Side::Originator, first(&endless)); usize::from(INITIALS_MAX) + 1];
    let (out, steps) = show(&datagrams, Some(&mut scratch));
    let until = steps.iter().position(|step| *step == Step::Done);
    assert_eq!((until, out.events.len()), (Some(usize::from(INITIALS_MAX)), 1));
    assert_eq!((&out.anomalies[..], out.events[0].is_truncated()), (&["hello_too_long", "too_many_packets"][..], true));
    // A datagram of many packets.
    let packet = initial(V1, &DCID, b"", Side::Originator, &[1; 4], false);
    let (out, _) = show(&[(Side::Originator, packet.repeat(1000))], None);
    assert_eq!(out.anomalies, ["too_many_packets"]);
    // A client that never hears its server.
    let mut datagrams = vec![(Side::Originator, vec![0x40; 100]); usize::from(ANSWERS_MAX)];
    datagrams.insert(0, (Side::Originator, first(&crypto(0, &hello()))));
    let (out, steps) = show(&datagrams, None);
    assert_eq!((steps.iter().position(|step| *step == Step::Done), out.events.len()), (Some(ANSWERS_MAX.into()), 1));
    check(&out.events[0]);
}
