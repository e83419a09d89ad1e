//! No limit is reached in silence: the event says that it is cut, or it is counted.

use super::super::hostile::{show, show_one};
use super::super::parse::{Parse, Record, feed};
use super::super::parsers::TABLE;
use super::*;
use crate::dataplane::flow::Side::{self, Originator, Responder};

#[test]
fn every_protocol_has_an_entry_and_its_anomalies_are_its_own() {
    for (protocol, _, anomalies) in TABLE {
        let limits = limits_of(*protocol).unwrap_or_else(|| panic!("{} has no entry in LIMITS", protocol.name()));
        for limit in limits {
            assert!(limit.bound > 0, "{}: {}", protocol.name(), limit.of);
            if let Told::Anomaly(anomaly) = limit.told {
                assert!(anomalies.contains(&anomaly), "{}: {}", protocol.name(), anomaly.name);
            }
        }
    }
    assert_eq!(LIMITS.len(), TABLE.len());
}

/// A stream of one side.
fn stream<P: Parse>(side: Side, bytes: &[u8]) -> Record {
    let (mut parser, mut out) = (P::default(), Record::default());
    feed(&mut parser, side, bytes, bytes.len(), &mut out);
    parser.end(&mut out);
    out
}

/// Is any event cut?
fn is_cut(out: &Record) -> bool {
    out.events.iter().any(|event| event.is_truncated())
}

#[test]
fn lists_longer_than_are_read_cut_their_event() {
    let options = |count: usize| [&b"\0\x01boot\0octet\0"[..], &b"blksize\x001428\0".repeat(count)].concat();
    let ssdp = |count: usize| [&b"NOTIFY * HTTP/1.1\r\n"[..], &b"a: b\r\n".repeat(count), b"\r\n"].concat();
    let dns = |count: u16| {
        let mut message = vec![0x12, 0x34, 1, 0];
        message.extend(count.to_be_bytes());
        message.extend([0; 6]);
        message.extend(b"\x01a\0\0\x01\0\x01".repeat(count.into()));
        message
    };
    let ike = |count: usize| {
        let mut message = vec![1; 8];
        message.extend([0; 8]);
        message.extend([43, 0x20, 34, 8, 0, 0, 0, 0]);
        message.extend((28 + 8 * count as u32).to_be_bytes());
        for one in 1..=count {
            message.extend([if one == count { 0 } else { 43 }, 0, 0, 8, 1, 2, 3, 4]);
        }
        message
    };
    let many = dns::QUESTIONS_MAX;
    for (name, out, wanted) in [
        ("tftp", show_one::<tftp::State>(&options(tftp::OPTIONS_MAX)), false),
        ("tftp", show_one::<tftp::State>(&options(tftp::OPTIONS_MAX + 1)), true),
        ("ssdp", show_one::<ssdp::State>(&ssdp(ssdp::LINES_MAX)), false),
        ("ssdp", show_one::<ssdp::State>(&ssdp(ssdp::LINES_MAX + 1)), true),
        ("dns", show_one::<dns::State>(&dns(many)), false),
        ("dns", show_one::<dns::State>(&dns(many + 1)), true),
        ("ike", show_one::<ike::State>(&ike(10)), false),
        ("ike", show_one::<ike::State>(&ike(ike::PAYLOADS_MAX + 1)), true),
    ] {
        assert_eq!((out.events.len(), is_cut(&out)), (1, wanted), "{name}: {:?}", out.anomalies);
    }
}

#[test]
fn messages_beyond_those_told_are_counted() {
    let others = |count: usize| vec![(Originator, &b"nothing known"[..]); count];
    let line = b"{\"id\":1,\"method\":\"x\"}\n";
    let lines = |count: usize| stream::<stratum::State>(Originator, &line.repeat(count)).limits;
    let error = b"E\0\0\0\x0cCXX000\0\0";
    let errors = |count: usize| {
        let bytes = error.repeat(count);
        let (mut parser, mut out) = (pgsql::State::default(), Record::default());
        parser.step(Originator, b"\0\0\0\x10\0\x03\0\0user\0a\0\0", &mut out);
        feed(&mut parser, Responder, &bytes, bytes.len(), &mut out);
        out.limits
    };
    for (name, limits, wanted) in [
        ("ike", show::<ike::State>(&others(ike::OTHERS_MAX.into())).limits, 0),
        ("ike", show::<ike::State>(&others(usize::from(ike::OTHERS_MAX) + 1)).limits, 1),
        ("stun", show::<stun::State>(&others(stun::OTHERS_MAX.into())).limits, 0),
        ("stun", show::<stun::State>(&others(usize::from(stun::OTHERS_MAX) + 1)).limits, 1),
        ("stratum", lines(stratum::LINES_MAX.into()), 0),
        ("stratum", lines(usize::from(stratum::LINES_MAX) + 1), 1),
        ("pgsql", errors(pgsql::EVENTS_MAX.into()), 0),
        ("pgsql", errors(usize::from(pgsql::EVENTS_MAX) + 2), 2),
    ] {
        assert_eq!(limits, wanted, "{name}");
    }
}

#[test]
fn what_a_message_is_cut_to_is_told() {
    let frames = |count: usize| stream::<websocket::State>(Responder, &b"\x81\x00".repeat(count));
    assert!(!is_cut(&frames(websocket::FRAMES_MAX as usize - 1)) && is_cut(&frames(websocket::FRAMES_MAX as usize)));
    let packet = |length: usize| {
        let [high, low] = (length as u16).to_be_bytes();
        let mut bytes = vec![3, 0, high, low, 2, 0xf0, 0x80];
        bytes.resize(length, 0);
        stream::<rdp::State>(Responder, &bytes).limits
    };
    assert_eq!((packet(rdp::PACKET_MAX), packet(rdp::PACKET_MAX + 1)), (0, 1));
}
