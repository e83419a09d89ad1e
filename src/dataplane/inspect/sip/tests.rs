use super::*;
use crate::dataplane::inspect::Match;
use crate::dataplane::inspect::hostile::{datagram, show_one, stream, torment_datagram, torment_stream};

const INVITE: &[u8] = b"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP pc.example.com\r\nf: Alice <sip:alice@example.com>;tag=1\r\n\
    To: Bob <sip:bob@example.com>\r\nCall-ID: a84b4c76e66710\r\nProxy-Authorization: Digest username=\"alice\", response=\"5ec9e7\"\r\n\
    User-Agent: phone/1\r\nContent-Length: 76\r\n\r\n\
    v=0\r\no=a 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\nm=audio 30000 RTP/AVP 0\r\n";
const RINGING: &[u8] = b"SIP/2.0 180 Ringing\r\nCall-ID: a84b4c76e66710\r\nServer: pbx\r\nl: 0\r\n\r\n";

#[test]
fn requests_and_answers_are_read() {
    let facts = show_one::<State>(INVITE).events.remove(0);
    assert_eq!((facts.get(METHOD), facts.get(URI)), (Some(&b"INVITE"[..]), Some(&b"sip:bob@example.com"[..])));
    assert_eq!((facts.get(CALL_ID), facts.get(USER_NAME)), (Some(&b"a84b4c76e66710"[..]), Some(&b"alice"[..])));
    assert_eq!(facts.get(FROM), Some(&b"Alice <sip:alice@example.com>;tag=1"[..]));
    assert_eq!(facts.get(SDP_MEDIA), Some(&b"audio 30000 RTP/AVP 0"[..]));
    assert!(!facts.as_bytes().windows(6).any(|part| part == b"5ec9e7"), "no answer to a challenge");
    let facts = show_one::<State>(RINGING).events.remove(0);
    assert_eq!(
        (facts.number(STATUS), facts.get(REASON), facts.get(USER_AGENT)),
        (Some(180), Some(&b"Ringing"[..]), Some(&b"pbx"[..]))
    );
}

#[test]
fn passwords_of_uris_are_left_out() {
    for uri in ["sip:bob:Hunter2PW@h", "SIPS:bob:Hunter2:P@W@h", "<sip:bob:Hunter2 PW@h>;tag=1", "bob:Hunter2PW@h"] {
        let line = uri.split(['<', '>']).find(|part| part.contains('@')).unwrap().replace(' ', "");
        let request = format!(
            "INVITE {line} SIP/2.0\r\nFrom: Bob {uri}\r\nTo: {uri}\r\nContact: {uri}, sip:al:Hunter2PW@h\r\nCall-ID: 1\r\n\r\n"
        );
        let facts = show_one::<State>(request.as_bytes()).events.remove(0);
        let all = String::from_utf8_lossy(facts.as_bytes()).into_owned();
        assert!(!all.contains("Hunter2") && !all.contains("PW"), "{all}");
        assert!(facts.get(CONTACT).unwrap().ends_with(b", sip:al@h"), "{all}");
    }
    let facts =
        show_one::<State>(b"INVITE sip:bob:Hunter2PW@h SIP/2.0\r\nTo: <sip:b@h:5060>;x=y\r\n\r\n").events.remove(0);
    assert_eq!(
        (facts.get(URI), facts.get(REQUEST_LINE)),
        (Some(&b"sip:bob@h"[..]), Some(&b"INVITE sip:bob@h SIP/2.0"[..]))
    );
    assert_eq!(facts.get(TO), Some(&b"<sip:b@h:5060>;x=y"[..]));
}

#[test]
fn streams_are_read_in_any_pieces() {
    let bytes = [b"\r\n\r\n", INVITE, b"\r\n\r\n", RINGING].concat();
    let run = |bytes: &[u8]| torment_stream(State::stream, bytes, [1, 2], |_| Match::Maybe);
    let out = run(&bytes);
    assert_eq!((out.events.len(), out.events[0].get(SDP_CONNECTION)), (2, Some(&b"IN IP4 192.0.2.1"[..])));
    torment_stream(State::stream, INVITE, [1, 2], probe);
    let large = [&b"SIP/2.0 200 OK\r\nContent-Length: 5000\r\n\r\n"[..], &[b'x'; 5000], RINGING].concat();
    assert_eq!(run(&large).events.len(), 2, "a large body is passed over");
    assert_eq!(probe(&stream(b"OPTIONS * HTTP/1.1\r\n", [1, 5060])), Match::No);
    assert_eq!(probe(&stream(b"OPT", [1, 2])), Match::Maybe);
}

#[test]
fn hostile_bytes_come_to_an_end() {
    for message in [INVITE, RINGING] {
        assert_eq!(probe(&datagram(message, [1, 2])), Match::Yes);
        torment_datagram::<State>(message, [5060, 5060], probe);
    }
    assert_eq!(probe(&datagram(b"NOTIFY * HTTP/1.1\r\n\r\n", [1, 2])), Match::No);
    assert_eq!(show_one::<State>(b"REGISTER sip:x SIP/2.0\r\nCall-ID: 1").anomalies, ["malformed"]);
    let many = [b"SIP/2.0 200 OK\r\n", &b"a: b\r\n".repeat(9000)[..], b"\r\n"].concat();
    assert_eq!(show_one::<State>(&many).events.len(), 1);
}
