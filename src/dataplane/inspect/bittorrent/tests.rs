use super::*;
use crate::dataplane::inspect::hostile::{datagram, show, show_one, stream, torment_datagram, torment_stream};

const PORTS: [u16; 2] = [40_000, 6881];
const QUESTION: &[u8] =
    b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e\
    5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:v4:UT\x01\x021:y1:qe";
const ANSWER: &[u8] = b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re";
const ERROR: &[u8] = b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee";

fn first() -> Vec<u8> {
    [&HANDSHAKE[..], &[0, 0, 0, 0, 0, 0x10, 0, 5], b"mnopqrstuvwxyz123456", b"-UT3550-abcdefghijkl"].concat()
}

fn syn() -> Vec<u8> {
    b"\x41\0\x12\x34\0\0\0\x09\0\0\0\0\0\x10\0\0\0\x01\0\0".to_vec()
}

#[test]
fn handshakes_are_read_in_any_pieces() {
    let bytes = [&first()[..], b"\0\0\0\x05\x14more"].concat();
    let out = torment_stream(State::stream, &bytes, [1, 2], probe);
    assert_eq!(out.events.len(), 1);
    assert_eq!(out.events[0].get(INFO_HASH), Some(&b"mnopqrstuvwxyz123456"[..]));
    assert_eq!(out.events[0].get(PEER_ID), Some(&b"-UT3550-abcdefghijkl"[..]));
    assert_eq!(probe(&stream(b"\x13BitTorrent protokoll", PORTS)), Match::No);
}

#[test]
fn messages_of_the_table_are_read() {
    let facts = show_one::<State>(QUESTION).events.remove(0);
    assert_eq!((facts.get(DHT_TYPE), facts.get(REQUEST_TYPE)), (Some(&b"q"[..]), Some(&b"announce_peer"[..])));
    assert_eq!((facts.number(PEER_PORT), facts.number(IMPLIED_PORT)), (Some(6881), Some(1)));
    assert_eq!((facts.get(INFO_HASH), facts.get(TOKEN)), (Some(&b"mnopqrstuvwxyz123456"[..]), Some(&b"aoeusnth"[..])));
    assert_eq!((facts.get(TRANSACTION), facts.get(CLIENT_VERSION)), (Some(&b"aa"[..]), Some(&b"UT\x01\x02"[..])));
    let facts = show_one::<State>(ANSWER).events.remove(0);
    assert_eq!((facts.all(VALUE).count(), facts.get(NODE_ID)), (2, Some(&b"abcdefghij0123456789"[..])));
    let facts = show_one::<State>(ERROR).events.remove(0);
    assert_eq!(
        (facts.number(ERROR_CODE), facts.get(ERROR_MESSAGE)),
        (Some(201), Some(&b"A Generic Error Ocurred"[..]))
    );
    for message in [QUESTION, ANSWER, ERROR] {
        assert!(show_one::<State>(message).anomalies.is_empty());
        assert_eq!(probe(&datagram(message, [1, 2])), Match::Yes);
        torment_datagram::<State>(message, PORTS, probe);
    }
}

#[test]
fn other_kinds_of_datagrams_are_read() {
    let packet = [&b"\x01\0\x12\x35\0\0\0\x09\0\0\0\0\0\x10\0\0\0\x02\0\x01"[..], &first()].concat();
    let out = show::<State>(&[(Side::Originator, &syn()), (Side::Originator, &packet)]);
    assert_eq!((out.events.len(), out.events[1].get(INFO_HASH).is_some()), (2, true));
    let connect = [&TRACKER[..], b"abcd"].concat();
    let announce = [&b"12345678\0\0\0\x01abcd"[..], b"mnopqrstuvwxyz123456-UT3550-abcdefghijkl", &[0; 42]].concat();
    let out = show::<State>(&[(Side::Originator, &connect), (Side::Originator, &announce)]);
    assert_eq!(
        (out.events[0].number(ACTION), out.events[1].get(PEER_ID)),
        (Some(0), Some(&b"-UT3550-abcdefghijkl"[..]))
    );
    let search =
        b"BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 51413\r\nInfohash: 0123\r\n\r\n\r\n".to_vec();
    let facts = show_one::<State>(&search).events.remove(0);
    assert_eq!((facts.number(PEER_PORT), facts.get(INFO_HASH)), (Some(51413), Some(&b"0123"[..])));
    for message in [syn(), packet, connect, search] {
        assert_eq!(probe(&datagram(&message, [1, 2])), Match::Yes);
        torment_datagram::<State>(&message, PORTS, probe);
    }
    assert_eq!(probe(&datagram(&[0x41; 20], PORTS)), Match::No);
}

#[test]
fn bombs_of_bencode_are_bounded() {
    for bomb in [
        b"l".repeat(60_000),
        b"d1:al".repeat(12_000),
        b"i1e".repeat(20_000),
        b"0:".repeat(30_000),
        b"d0:".repeat(20_000),
    ] {
        for start in [&b"d1:ad1:x"[..], b"d1:ad2:id20:abcdefghij01234567895:value", b"d1:rd6:values", b"d1:rd6:valuesl"]
        {
            let message = [start, &bomb].concat();
            assert_eq!(show_one::<State>(&message).anomalies, ["malformed"]);
            probe(&datagram(&message, PORTS));
        }
    }
    assert_eq!(show_one::<State>(b"d1:ad2:id99999:").anomalies, ["malformed"]);
}
