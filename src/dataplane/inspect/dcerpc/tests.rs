use super::*;
use crate::dataplane::inspect::hostile::{plain, stream, torment_stream};
use crate::dataplane::inspect::ntlm;
use crate::dataplane::inspect::parse::{Record, feed};

/// A fragment, little-endian, first and last, with a trailer if there is a token.
pub fn fragment(kind: u8, call: u32, body: &[u8], token: &[u8]) -> Vec<u8> {
    let trailer = if token.is_empty() { vec![] } else { [&[10, 2, 0, 0, 0, 0, 0, 0][..], token].concat() };
    let length = (HEADER + body.len() + trailer.len()) as u16;
    let mut out = vec![5, 0, kind, 3, 0x10, 0, 0, 0];
    out.extend(length.to_le_bytes());
    out.extend((token.len() as u16).to_le_bytes());
    out.extend(call.to_le_bytes());
    [&out[..], body, &trailer].concat()
}

/// A bind of these interfaces, in contexts 0 and on.
pub fn bind(call: u32, interfaces: &[u128], token: &[u8]) -> Vec<u8> {
    let mut body = vec![0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, interfaces.len() as u8, 0, 0, 0];
    for (context, uuid) in interfaces.iter().enumerate() {
        body.extend([context as u8, 0, 1, 0]);
        body.extend(wire_of(*uuid));
        body.extend([2, 0, 0, 0]);
        body.extend(wire_of(0x8a885d04_1ceb_11c9_9fe8_08002b104860));
        body.extend([2, 0, 0, 0]);
    }
    fragment(11, call, &body, token)
}

/// The answer that takes the first and refuses the second.
pub fn bind_ack(call: u32) -> Vec<u8> {
    let mut body = vec![0xb8, 0x10, 0xb8, 0x10, 1, 0, 0, 0, 13, 0];
    body.extend(b"\\PIPE\\ntsvcs\0");
    body.extend([0]);
    body.extend([2, 0, 0, 0]);
    body.extend([&[0; 24][..], &[2, 0, 2, 0], &[0; 20]].concat());
    fragment(12, call, &body, &[])
}

/// A request for an operation in context 0.
pub fn request(call: u32, number: u16) -> Vec<u8> {
    let [low, high] = number.to_le_bytes();
    fragment(0, call, &[40, 0, 0, 0, 0, 0, low, high, 1, 2, 3, 4], &[])
}

/// An answer of 4 bytes.
pub fn response(call: u32) -> Vec<u8> {
    fragment(2, call, &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[])
}

const SVCCTL: u128 = 0x367abb81_9844_35f1_ad32_98f038001003;

fn shown(facts: &Facts, fact: Fact) -> String {
    String::from_utf8_lossy(facts.get(fact).unwrap_or_default()).into_owned()
}

#[test]
fn binds_and_calls_are_named_however_cut() {
    let run = |piece| {
        let (mut state, mut out) = (State::default(), Record::default());
        for (side, bytes) in [
            (Side::Originator, bind(1, &[SVCCTL, 7], &ntlm::tests::authenticate_message("D", "anna", "PC"))),
            (Side::Responder, bind_ack(1)),
            (Side::Originator, request(2, 12)),
            (Side::Responder, response(2)),
            (Side::Originator, request(3, 99)),
            (Side::Originator, request(4, 19)),
            (Side::Responder, fragment(3, 4, &[0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0], &[])),
        ] {
            feed(&mut state, side, &bytes, piece, &mut out);
        }
        state.end(&mut out);
        out
    };
    let out = run(10_000);
    let [bound, created, unknown, faulty] = &out.events[..] else { panic!("{} events", out.events.len()) };
    assert_eq!((shown(bound, REQUEST), shown(bound, RESPONSE)), ("BIND".into(), "BINDACK".into()));
    assert_eq!(shown(bound, UUID), "367abb81-9844-35f1-ad32-98f038001003");
    assert_eq!(bound.all(INTERFACE).collect::<Vec<_>>(), [&b"svcctl"[..], b"unknown"]);
    assert_eq!(bound.all(ACK_RESULT).collect::<Vec<_>>(), [[0], [2]]);
    assert_eq!(shown(bound, ntlm::USER), "anna");
    assert_eq!((shown(created, INTERFACE), shown(created, OPERATION)), ("svcctl".into(), "CreateServiceW".into()));
    assert_eq!((created.number(OPERATION_NUMBER), created.number(RESPONSE_BYTES)), (Some(12), Some(4)));
    assert_eq!((unknown.number(OPERATION_NUMBER), unknown.get(OPERATION)), (Some(99), None));
    assert_eq!((shown(faulty, OPERATION), faulty.number(FAULT)), ("StartServiceW".into(), Some(5)));
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(plain(&run(piece)), plain(&out));
    }
}

/// What Windows sends: the interface, and once more for its features (MS-RPCE section 2.2.2.14), which is another context.
#[test]
fn calls_are_named_behind_a_bind_of_several_contexts() {
    const SAMR: u128 = 0x12345778_1234_abcd_ef00_0123456789ac;
    for (offered, wanted) in [
        (&[SVCCTL][..], "CreateServiceW"),
        (&[SVCCTL, SVCCTL], "CreateServiceW"),
        (&[SVCCTL, SVCCTL, SVCCTL], "CreateServiceW"),
        (&[SVCCTL, SAMR], "CreateServiceW"),
        (&[SAMR, SVCCTL], "SamrCreateUserInDomain"),
        (&[7, SVCCTL], ""),
    ] {
        let mut out = Record::default();
        let bytes = [bind(1, offered, &[]), request(2, 12), request(3, 12)].concat();
        feed(&mut State::default(), Side::Originator, &bytes, 10_000, &mut out);
        let named = shown(out.events.last().expect("a call that gave way to the next"), OPERATION);
        assert_eq!(named, wanted, "{offered:x?}");
    }
}

#[test]
fn a_stream_of_any_kind_is_stood() {
    let token = ntlm::tests::authenticate_message("D", "anna", "PC");
    let bytes = [bind(1, &[SVCCTL; 3], &token), request(2, 1), bind_ack(1), response(2)].concat();
    torment_stream(State::default, &bytes, [50000, 135], probe);
    assert_eq!(probe(&stream(&bytes, [50000, 49152])), Match::Yes);
    for other in
        [&b"\x05\x01\x00"[..], b"\x05\x00\x0b\x03\x10\x00\x00\x00\x10\x00\x00\x00\x01\x00\x00\x00", b"\x05\x02"]
    {
        assert_ne!(probe(&stream(other, [50000, 1080])), Match::Yes);
    }
}

#[test]
fn long_lists_and_fragments_are_bounded() {
    let many = [SVCCTL; 200];
    let mut out = Record::default();
    let bytes = bind(1, &many, &[]);
    feed(&mut State::default(), Side::Originator, &[bytes, bind(2, &[SVCCTL], &[])].concat(), 100, &mut out);
    assert_eq!(out.events.len(), 1, "the rest of the first was skipped, and the second found");
    assert_eq!(out.events[0].all(UUID).count(), usize::from(OFFERED_MAX));
    let mut calls = Calls::default();
    for channel in 0..100 {
        calls.remember(channel, 0, Some(0));
    }
    let mut left = calls.channels();
    left.sort_unstable();
    assert_eq!(left, [95, 96, 97, 98, 99], "the newest stay");
}

/// What is found of calls of context `called`, number 12, behind this bind that is written to a pipe in pieces so long.
fn named_behind(bind: &[u8], piece: usize, called: u8, name: &[u8]) -> (String, bool) {
    let (mut calls, mut facts) = (Calls::default(), Facts::default());
    calls.opened(7, name);
    for piece in bind.chunks(piece) {
        if calls.goes_on(7) {
            calls.go_on(piece, Some(&mut facts));
        } else if let Some(header) = header(piece) {
            calls.fragment(7, header, piece, &mut facts);
        }
    }
    let mut call = request(2, 12);
    call[20] = called;
    let mut facts = Facts::default();
    calls.fragment(7, header(&call).expect("a request"), &call, &mut facts);
    (shown(&facts, OPERATION), facts.number(BY_PIPE) == Some(1))
}

/// As tools write them: the interface that is meant last of many that nobody has, in pieces.
#[test]
fn a_bind_in_several_writes_is_followed() {
    for known in [3, 11, 40] {
        let mut offered = [7; 41];
        offered[known] = SVCCTL;
        let bytes = bind(1, &offered, &[]);
        for piece in [28, 29, 31, 52, 53, 60, 71, 72, 300, 4000] {
            let found = named_behind(&bytes, piece, known as u8, b"anything");
            assert_eq!(found, ("CreateServiceW".into(), false), "context {known} in pieces of {piece}");
            assert_eq!(named_behind(&bytes, piece, 2, b"anything").0, "", "another context in pieces of {piece}");
        }
    }
    // What follows the bind is not part of it.
    let (mut calls, mut facts) = (Calls::default(), Facts::default());
    let bytes = bind(1, &[7, SVCCTL], &[]);
    calls.fragment(7, header(&bytes).expect("a bind"), &bytes, &mut facts);
    assert!(!calls.goes_on(7));
    calls.fragment(7, header(&bytes).expect("a bind"), &bytes[..60], &mut facts);
    assert!(calls.goes_on(7) && !calls.goes_on(8));
    calls.opened(7, b"svcctl");
    assert!(!calls.goes_on(7), "another pipe under the same handle");
}

#[test]
fn the_name_of_a_pipe_tells_where_the_bind_was_not_read() {
    const SAMR: u128 = 0x12345778_1234_abcd_ef00_0123456789ac;
    const LSARPC: u128 = 0x12345778_1234_abcd_ef00_0123456789ab;
    let whole = |offered: &[u128], called, name: &[u8]| named_behind(&bind(1, offered, &[]), 10_000, called, name);
    let service = "CreateServiceW".to_owned();
    // In pieces too short for a header.
    assert_eq!(named_behind(&bind(1, &[SVCCTL], &[]), 9, 0, b"\\SVCCTL"), (service.clone(), true));
    assert_eq!(named_behind(&bind(1, &[SVCCTL], &[]), 9, 0, b"unheard-of"), (String::new(), false));
    assert_eq!(named_behind(&[], 9, 0, b"atsvc"), ("SchRpcRun".into(), true));
    // What is bound says more than the name.
    assert_eq!(whole(&[SAMR], 0, b"svcctl"), ("SamrCreateUserInDomain".into(), false));
    assert_eq!(whole(&[SVCCTL], 0, b"svcctl"), (service.clone(), false));
    // Known ones in front and behind push nothing out.
    let many = [&[SVCCTL][..], &[SAMR, LSARPC].repeat(10)].concat();
    assert_eq!(whole(&many, 0, b"svcctl").0, service);
    // Bound anew as something else.
    let again = [bind(1, &[SVCCTL], &[]), bind(2, &[SAMR], &[])].concat();
    let length = bind(1, &[SVCCTL], &[]).len();
    assert_eq!(named_behind(&again, length, 0, b"svcctl"), ("SamrCreateUserInDomain".into(), false));
}

#[test]
fn every_interface_is_found_once_by_its_uuid() {
    for (index, one) in INTERFACES.iter().enumerate() {
        assert_eq!(interfaces::find(wire_of(one.uuid)), Some(index as u8), "{}", one.name);
        for (uuid, is_big_endian) in [(wire_of(one.uuid), false), (one.uuid.to_be_bytes(), true)] {
            let narrow = |candidate, (place, byte)| interfaces::narrow(candidate, place, byte, is_big_endian);
            let found = |uuid: [u8; 16]| uuid.into_iter().enumerate().fold(1, narrow);
            assert_eq!(found(uuid), index as u8 + 1, "{}", one.name);
            assert_eq!(found(uuid.map(|byte| byte ^ 1)), 0, "{}", one.name);
        }
    }
}
