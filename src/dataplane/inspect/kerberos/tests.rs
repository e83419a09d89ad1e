use super::*;
use crate::dataplane::inspect::parse::{Record, feed};

/// One element.
pub fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut out = vec![tag];
    match length {
        0..0x80 => out.push(length as u8),
        0x80..0x100 => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend(body);
    out
}

fn int(value: u8) -> Vec<u8> {
    tlv(2, &[value])
}

fn text(value: &str) -> Vec<u8> {
    tlv(GENERAL_STRING, value.as_bytes())
}

fn name(parts: &[&str]) -> Vec<u8> {
    let parts: Vec<u8> = parts.iter().flat_map(|part| text(part)).collect();
    tlv(SEQUENCE, &[tlv(0xa0, &int(1)), tlv(0xa1, &tlv(SEQUENCE, &parts))].concat())
}

fn sealed(kind: u8) -> Vec<u8> {
    tlv(SEQUENCE, &[tlv(0xa0, &int(kind)), tlv(0xa2, &tlv(4, &[0x77; 200]))].concat())
}

fn ticket(kind: u8) -> Vec<u8> {
    let service = tlv(0xa2, &name(&["cifs", "dc1.corp.example"]));
    let fields = [tlv(0xa0, &int(5)), tlv(0xa1, &text("CORP.EXAMPLE")), service, tlv(0xa3, &sealed(kind))].concat();
    tlv(0x61, &tlv(SEQUENCE, &fields))
}

fn as_request(types: &[u8]) -> Vec<u8> {
    as_request_of(types, &["anna"])
}

pub fn as_request_of(types: &[u8], client: &[&str]) -> Vec<u8> {
    let types: Vec<u8> = types.iter().flat_map(|one| int(*one)).collect();
    let body = [
        tlv(0xa0, &tlv(3, &[0, 0x40, 0x81, 0, 0x10])),
        tlv(0xa1, &name(client)),
        tlv(0xa2, &text("CORP.EXAMPLE")),
        tlv(0xa3, &name(&["krbtgt", "CORP.EXAMPLE"])),
        tlv(0xa5, &tlv(0x18, b"20370913024805Z")),
        tlv(0xa7, &int(7)),
        tlv(0xa8, &tlv(SEQUENCE, &types)),
    ]
    .concat();
    let fields = [tlv(0xa1, &int(5)), tlv(0xa2, &int(10)), tlv(0xa4, &tlv(SEQUENCE, &body))].concat();
    tlv(0x6a, &tlv(SEQUENCE, &fields))
}

fn reply(kind: u8, sealed_by: u8, ticket_by: u8) -> Vec<u8> {
    let fields = [
        tlv(0xa0, &int(5)),
        tlv(0xa1, &int(kind)),
        tlv(0xa3, &text("CORP.EXAMPLE")),
        tlv(0xa4, &name(&["anna"])),
        tlv(0xa5, &ticket(ticket_by)),
        tlv(0xa6, &sealed(sealed_by)),
    ]
    .concat();
    tlv(0x60 | kind, &tlv(SEQUENCE, &fields))
}

fn error(code: u8) -> Vec<u8> {
    let fields = [
        tlv(0xa0, &int(5)),
        tlv(0xa1, &int(30)),
        tlv(0xa4, &tlv(0x18, b"20260913024805Z")),
        tlv(0xa5, &int(3)),
        tlv(0xa6, &int(code)),
        tlv(0xa9, &text("CORP.EXAMPLE")),
        tlv(0xaa, &name(&["krbtgt", "CORP.EXAMPLE"])),
    ]
    .concat();
    tlv(0x7e, &tlv(SEQUENCE, &fields))
}

/// An AP-REQ, as others carry it.
pub fn ap_request() -> Vec<u8> {
    let fields = [
        tlv(0xa0, &int(5)),
        tlv(0xa1, &int(14)),
        tlv(0xa2, &tlv(3, &[0, 0, 0, 0, 0])),
        tlv(0xa3, &ticket(18)),
        tlv(0xa4, &sealed(18)),
    ]
    .concat();
    tlv(0x6e, &tlv(SEQUENCE, &fields))
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes()[..], message].concat()
}

fn look(bytes: &[u8], is_datagram: bool) -> Look<'_> {
    Look { side: Side::Originator, bytes, is_datagram, ports: [50000, 88], is_multicast: false, is_begun: [true; 2] }
}

fn shown(facts: &Facts, fact: Fact) -> String {
    String::from_utf8_lossy(facts.get(fact).unwrap_or_default()).into_owned()
}

#[test]
fn a_request_and_its_answer_are_one_event_however_cut() {
    for piece in [1, 2, 3, 7, 64, 9999] {
        let (mut state, mut out) = (State::default(), Record::default());
        feed(&mut state, Side::Originator, &framed(&as_request(&[18, 17, 23])), piece, &mut out);
        assert!(out.events.is_empty());
        feed(&mut state, Side::Responder, &framed(&reply(11, 18, 18)), piece, &mut out);
        feed(&mut state, Side::Originator, &framed(&as_request(&[23])), piece, &mut out);
        feed(&mut state, Side::Responder, &framed(&error(25)), piece, &mut out);
        let [first, second] = &out.events[..] else { panic!("{} events", out.events.len()) };
        assert_eq!(shown(first, CLIENT), "anna");
        assert_eq!(shown(first, REALM), "CORP.EXAMPLE");
        assert_eq!(shown(first, SERVICE), "krbtgt/CORP.EXAMPLE");
        assert_eq!((first.number(REQUEST_TYPE), first.number(REPLY_TYPE)), (Some(10), Some(11)));
        assert_eq!((first.number(ENCRYPTION), first.number(TICKET_ENCRYPTION)), (Some(18), Some(18)));
        assert_eq!(first.all(OFFERED).collect::<Vec<_>>(), [[18], [17], [23]]);
        assert_eq!((second.number(ERROR), error_name(25)), (Some(25), "KDC_ERR_PREAUTH_REQUIRED"));
        assert_eq!(out.anomalies, ["weak_encryption"], "the second request offers RC4 alone");
    }
}

#[test]
fn weak_tickets_are_told() {
    let (mut state, mut out) = (State::default(), Record::default());
    let answer = reply(13, 18, 23);
    assert_eq!(state.step(Side::Responder, &answer, &mut out), Step::Took(answer.len()));
    assert_eq!(out.anomalies, ["weak_encryption"]);
    assert_eq!(shown(&out.events[0], SERVICE), "cifs/dc1.corp.example");
}

#[test]
fn it_is_told_by_content_early_and_strictly() {
    for message in [as_request(&[18]), reply(11, 18, 18), reply(13, 17, 17), error(6), ap_request()] {
        assert_eq!(probe(&look(&message, true)), Match::Yes);
        let stream = framed(&message);
        assert_eq!(probe(&look(&stream, false)), Match::Yes);
        for cut in 0..stream.len() {
            assert_ne!(probe(&look(&stream[..cut], false)), Match::No, "{cut}");
        }
        let mut other = stream.clone();
        other[3] ^= 1;
        assert_eq!(probe(&look(&other, false)), Match::No);
    }
    for bytes in
        [&b"GET / HTTP/1.1\r\n"[..], &[0x16, 3, 1, 2, 0], &[0x30, 0x0c, 2, 1, 1, 0x60, 7], &[0, 0, 0, 0x60, 0xff]]
    {
        assert_eq!(probe(&look(bytes, false)), Match::No);
        assert_eq!(probe(&look(bytes, true)), Match::No);
    }
}

#[test]
fn cut_and_bent_messages_do_no_harm() {
    for message in [as_request(&[18, 17, 23]), reply(11, 18, 18), error(25), ap_request()] {
        let stream = framed(&message);
        for at in 0..stream.len() {
            feed(&mut State::default(), Side::Originator, &stream[..at], 64, &mut Record::default());
            State::default().step(Side::Originator, &message[..at.min(message.len())], &mut Record::default());
            for bit in 0..8 {
                let mut bent = stream.clone();
                bent[at] ^= 1 << bit;
                feed(&mut State::default(), Side::Originator, &bent, 64, &mut Record::default());
                let _ = probe(&look(&bent, false));
                let _ = probe(&look(&bent[4..], true));
            }
        }
    }
}

#[test]
fn long_lists_and_messages_are_bounded() {
    let (mut state, mut out) = (State::default(), Record::default());
    state.step(Side::Originator, &as_request(&[18; 250]), &mut out);
    assert_eq!(out.facts().all(OFFERED).count(), usize::from(TYPES_MAX));
    let mut long = reply(11, 18, 18);
    long.resize(100_000, 0);
    let stream = framed(&long);
    let (mut state, mut out) = (State::default(), Record::default());
    let end = framed(&error(6));
    feed(&mut state, Side::Responder, &[stream, end].concat(), 1000, &mut out);
    assert_eq!(out.events.len(), 2, "the rest was skipped and the next one found");
}

#[test]
fn parts_of_a_name_are_told_from_slashes_in_one() {
    for (part, wanted) in
        [("krbtgt", "krbtgt"), ("DOM\\user", "DOM\\user"), ("a/b", "a\\/b"), ("a\\", "a\\\\"), ("a\\/b", "a\\\\\\/b")]
    {
        let mut name = Text::<64>::default();
        push_part(part.as_bytes(), &mut name);
        assert_eq!(String::from_utf8_lossy(name.as_bytes()), wanted);
    }
}
