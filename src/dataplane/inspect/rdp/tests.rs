use super::*;
use crate::dataplane::inspect::hostile::{plain, stream, torment_stream};
use crate::dataplane::inspect::parse::{Record, feed};

fn packet(cotp: &[u8]) -> Vec<u8> {
    [&[3, 0][..], &(cotp.len() as u16 + 4).to_be_bytes(), cotp].concat()
}

fn request(cookie: &[u8], protocols: Option<u8>) -> Vec<u8> {
    let negotiation = protocols.map_or(vec![], |protocols| vec![1, 0, 8, 0, protocols, 0, 0, 0]);
    packet(
        &[&[(6 + cookie.len() + negotiation.len()) as u8, CONNECT, 0, 0, 0, 0, 0][..], cookie, &negotiation].concat(),
    )
}

fn answer(kind: u8, value: u8) -> Vec<u8> {
    packet(&[14, CONFIRM, 0, 0, 0x12, 0x34, 0, kind, 0, 8, 0, value, 0, 0, 0])
}

fn client_data() -> Vec<u8> {
    let mut core = vec![1, 0xc0, 216, 0, 5, 0, 8, 0, 0, 5, 0, 4, 1, 0xca, 3, 0xaa, 7, 4, 0, 0, 0x28, 0x0a, 0, 0];
    let mut name: Vec<u8> = "PC7".encode_utf16().flat_map(u16::to_le_bytes).collect();
    name.resize(32, 0);
    core.extend(name);
    core.extend([4, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0]);
    core.extend([0; 64]);
    core.extend([1, 0xca, 1, 0, 0, 0, 0, 0, 24, 0]);
    core.resize(216, 0);
    let net = [&[3, 0xc0, 32, 0, 2, 0, 0, 0][..], b"rdpdr\0\0\0", &[0; 4], b"cliprdr\0", &[0; 4]].concat();
    let blocks = [core, net].concat();
    let length = (0x8000 | blocks.len() as u16).to_be_bytes();
    packet(
        &[&[2, DATA, 0x80, 0x7f, 0x65, 0x82, 1, 0x90][..], &[0; 60], b"\0\x08\0\x10\0\x01\xc0\0Duca", &length, &blocks]
            .concat(),
    )
}

fn shown(facts: &Facts, fact: Fact) -> Vec<String> {
    facts.all(fact).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

fn run(conversation: &[(Side, Vec<u8>)], piece: usize) -> Record {
    let (mut state, mut out) = (State::default(), Record::default());
    for (side, bytes) in conversation {
        feed(&mut state, *side, bytes, piece, &mut out);
    }
    state.end(&mut out);
    out
}

#[test]
fn a_connection_is_told_however_cut() {
    let (client, server) = (Side::Originator, Side::Responder);
    let plain_one =
        [(client, request(b"Cookie: mstshash=anna\r\n", Some(0))), (server, answer(2, 0)), (client, client_data())];
    let out = run(&plain_one, 100_000);
    let [negotiation, about] = &out.events[..] else { panic!("{} events", out.events.len()) };
    assert_eq!((shown(negotiation, COOKIE), negotiation.number(REQUESTED)), (vec!["anna".into()], Some(0)));
    assert_eq!((negotiation.number(SELECTED), out.anomalies.clone()), (Some(0), vec!["standard_security"]));
    assert_eq!((shown(about, CLIENT_NAME), about.number(CLIENT_BUILD)), (vec!["PC7".into()], Some(2600)));
    assert_eq!((about.number(KEYBOARD), about.number(DEPTH), about.number(WIDTH)), (Some(0x407), Some(24), Some(1280)));
    assert_eq!(
        (shown(about, CHANNEL), shown(about, CLIENT_VERSION)),
        (vec!["rdpdr".into(), "cliprdr".into()], vec!["10.0".into()])
    );
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(plain(&run(&plain_one, piece)), plain(&out));
    }
}

#[test]
fn tls_and_refusal_end_it() {
    for (last, fact, value) in [(answer(2, 2), SELECTED, 2), (answer(3, 5), FAILURE, 5)] {
        let asks = (Side::Originator, request(b"", Some(11)));
        let out = run(&[asks, (Side::Responder, last), (Side::Originator, b"\x16\x03\x01".to_vec())], 5);
        assert_eq!((out.events.len(), out.events[0].number(fact)), (1, Some(value)));
        assert!(out.anomalies.is_empty());
    }
    let (mut state, mut out) = (State::default(), Record::default());
    state.step(Side::Originator, &request(b"", Some(3)), &mut out);
    assert_eq!(state.turns_into(), None);
    assert_eq!(state.step(Side::Responder, &answer(2, 1), &mut out), Step::Took(19));
    assert_eq!(
        (state.step(Side::Originator, b"\x16", &mut out), state.turns_into()),
        (Step::Done, Some(Protocol::Tls))
    );
}

#[test]
fn it_is_told_by_content() {
    let bytes = [request(b"Cookie: mstshash=anna\r\n", Some(3)), client_data()].concat();
    torment_stream(State::default, &bytes, [50000, 3390], probe);
    torment_stream(State::default, &answer(2, 1), [50000, 3390], probe);
    let bare = request(b"", None);
    assert_eq!(probe(&stream(&bare, [50000, 3389])), Match::Yes);
    assert_eq!(probe(&stream(&bare, [50000, 102])), Match::No);
    let s7 = [3, 0, 0, 0x16, 0x11, 0xe0, 0, 0, 0, 7, 0, 0xc1, 2, 1, 0, 0xc2, 2, 1, 2, 0xc0, 1, 0x0a];
    for other in [&s7[..], b"\x03\x00\x00", b"GET /", b"\x03\x00\x00\x0b\x06\xf0"] {
        assert_ne!(probe(&stream(other, [50000, 102])), Match::Yes);
    }
}

/// The examples of MS-RDPBCGR sections 4.1.1 and 4.1.2.
#[test]
fn the_specifications_own_messages_are_read() {
    let asks = b"\x03\0\0\x2c\x27\xe0\0\0\0\0\0Cookie: mstshash=eltons\r\n\x01\0\x08\0\0\0\0\0";
    let takes = b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\0\x08\0\0\0\0\0";
    assert_eq!(probe(&stream(asks, [50000, 3390])), Match::Yes);
    assert_eq!(probe(&stream(takes, [50000, 3390])), Match::Yes);
    let out = run(&[(Side::Originator, asks.to_vec()), (Side::Responder, takes.to_vec())], 7);
    assert_eq!((out.events.len(), shown(&out.events[0], COOKIE)), (1, vec!["eltons".into()]));
    assert_eq!((out.events[0].number(REQUESTED), out.events[0].number(SELECTED)), (Some(0), Some(0)));
}
