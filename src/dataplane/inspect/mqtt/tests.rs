use super::*;
use crate::dataplane::inspect::hostile::stream;
use crate::dataplane::inspect::tries::{C, S, Turns, spoil, talk, unambiguous};

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    while length >= 128 {
        bytes.push(length as u8 & 0x7f | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(body);
    bytes
}

fn text(value: &[u8]) -> Vec<u8> {
    [&(value.len() as u16).to_be_bytes(), value].concat()
}

fn connect() -> Vec<u8> {
    let strings = [text(b"dev1"), text(b"will/t"), text(b"gone"), text(b"bob"), text(b"hunter2")].concat();
    packet(0x10, &[&b"\0\x04MQTT\x04\xc6\0\x3c"[..], &strings].concat())
}

#[test]
fn is_recognised_by_its_name() {
    for (bytes, port, wanted) in [
        (&connect()[..], 9, Match::Yes),
        (&connect()[..5], 9, Match::Maybe),
        (b"\x10\x0e\0\x06MQIsdp\x03\x02\0\x3c\0\0", 9, Match::Yes),
        (b"\x10\x0e\0\x04AMQP", 1883, Match::No),
        (b"\x20\x02\0\0", 1883, Match::Yes),
        (b"\x20\x02\0\0", 9, Match::No),
        (b"\x30\x09\0\x03a/bxxxx", 1883, Match::Yes),
        (b"\xd0\0\x32\x0b\0\x03a/b\0\x01xxxx", 9, Match::Yes),
        (b"\xd0\0", 9, Match::Maybe),
        (b"\x30\x09\0\x03a/#xxxx", 1883, Match::No),
        (b"\x30\x82\x01\x0a\x02\x01\x01", 389, Match::No),
        (b"GET ", 1883, Match::No),
    ] {
        assert_eq!(probe(&stream(bytes, [40000, port])), wanted, "{bytes:02x?}");
    }
    unambiguous(FACTS, ANOMALIES);
}

#[test]
fn a_session_becomes_events() {
    let subscribe = packet(0x82, &[&b"\0\x01"[..], &text(b"a/#"), &[1], &text(b"b"), &[0]].concat());
    let publish = packet(0x33, &[text(b"a/t"), vec![0, 2], vec![7; 20_000]].concat());
    let large = publish.len() - 4;
    let turns: Turns<'_> = &[
        (C, &connect()),
        (S, b"\x20\x02\x01\0"),
        (C, &subscribe),
        (S, b"\x90\x04\0\x01\x01\x80"),
        (S, &publish),
        (C, b"\xc0\0\x40\x02\0\x02\xe0\0"),
    ];
    let (events, anomalies) = talk::<State>(turns, &[FACTS]);
    let wanted = [
        "type=connect protocol_name=MQTT protocol_version=4 connect_flags=198 keep_alive=60 client_id=dev1 \
         will_topic=will/t will_qos=0 username=bob session_present=1 return_code=0"
            .to_owned(),
        "type=subscribe message_id=1 topic=a/# requested_qos=1 topic=b requested_qos=0 granted_qos=1 granted_qos=128"
            .to_owned(),
        format!("type=publish topic=a/t qos=1 retain=1 duplicate=0 size={large} message_id=2 puback=0"),
        "type=disconnect".to_owned(),
    ];
    assert_eq!((events, anomalies), (wanted.to_vec(), vec![]));
    spoil::<State>(&turns[..4]);
    let five = [&b"\0\x04MQTT\x05\x80\0\x0a\x05\x11\0\0\0\x01"[..], &text(b"c5"), &text(b"eve")].concat();
    let (events, _) = talk::<State>(&[(C, &packet(0x10, &five)), (S, b"\x20\x03\0\x87\0")], &[FACTS]);
    assert!(events[0].ends_with("client_id=c5 username=eve session_present=0 return_code=135"), "{events:?}");
}

/// A broker hands messages on: it is their sender, and the client acknowledges them.
#[test]
fn an_event_is_its_senders_and_acknowledgements_belong_to_it() {
    let exact = |qos: u8, id: u8| packet(0x30 | qos << 1, &[text(b"t"), vec![0, id], b"x".to_vec()].concat());
    let turns = [
        (C, exact(2, 7)),
        (S, packet(0x50, &[0, 7])),
        (C, packet(0x62, &[0, 7])),
        (S, packet(0x70, &[0, 7])),
        (S, exact(1, 7)),
        (S, packet(0x40, &[0, 7])), // who sent it acknowledges nothing
        (C, packet(0x40, &[0, 7, 0x87])),
        (C, packet(0x40, &[0, 9])),
        (C, packet(0xa2, &[&[0, 3][..], &text(b"t")].concat())),
        (S, packet(0xb0, &[0, 3])),
        (S, packet(0x90, &[0, 5, 2])),
        (S, packet(0x30, &text(b"u"))),
    ];
    let mut out = crate::dataplane::inspect::parse::Record::default();
    let mut state = State::default();
    for (side, bytes) in &turns {
        crate::dataplane::inspect::parse::feed(&mut state, *side, bytes, usize::MAX, &mut out);
    }
    state.end(&mut out);
    let told = out.events.iter().map(|event| (event.sender(), crate::dataplane::inspect::tries::show(event, &[FACTS])));
    let wanted = [
        (C, "type=publish topic=t qos=2 retain=0 duplicate=0 size=6 message_id=7 pubrec=0 pubrel=0 pubcomp=0"),
        (S, "type=publish topic=t qos=1 retain=0 duplicate=0 size=6 message_id=7 puback=135"),
        (C, "type=unsubscribe message_id=3 topic=t unsuback=1"),
        (S, "type=suback message_id=5 granted_qos=2"),
        (S, "type=publish topic=u qos=0 retain=0 duplicate=0 size=3"),
    ];
    assert_eq!(told.collect::<Vec<_>>(), wanted.map(|(side, event)| (side, event.to_owned())));
    assert_eq!(out.anomalies, [""; 0]);
}

#[test]
fn no_secret_is_told_for_a_name() {
    let secret = "x7Hq2LpZ9vTb4KdW";
    for (flags, name, wanted) in [
        (0xc0, "bob".to_owned(), "bob"),
        (0xc0, format!("bob?x=1&token={secret}"), "bob?x=1&token=*"),
        (0x80, secret.to_owned(), "*"),
        (0x80, "sensor-17".to_owned(), "sensor-17"),
        (0xc0, format!("eyJ{secret}{secret}"), "*"),
    ] {
        let strings = [text(b"dev1"), text(name.as_bytes())].concat();
        let strings = if flags & 0x40 == 0 { strings } else { [strings, text(secret.as_bytes())].concat() };
        let version = if flags & 0x40 == 0 { 3 } else { 4 };
        let head = [&b"\0\x04MQTT"[..], &[version, flags, 0, 60]].concat();
        let (events, _) = talk::<State>(&[(C, &packet(0x10, &[head, strings].concat()))], &[FACTS]);
        assert!(events[0].ends_with(&format!("client_id=dev1 username={wanted}")), "{events:?}");
        assert!(!events[0].contains(secret), "{events:?}");
    }
}

#[test]
fn what_is_wrong_has_a_name() {
    let message = packet(0x30, &text(b"a/+"));
    for (bytes, wanted) in [
        (vec![0x10, 0xff, 0xff, 0xff, 0xff], "length_invalid"),
        (packet(0x10, b"\0\x04MQ"), "packet_invalid"),
        ([connect(), connect()].concat(), "connect_repeated"),
        ([connect(), message].concat(), "topic_invalid"),
        (packet(0x10, b"\0\x04MQTT\x04\x40\0\x3c\0\0\0\x01x"), "flags_invalid"),
    ] {
        assert_eq!(talk::<State>(&[(C, &bytes)], &[FACTS]).1, [wanted]);
    }
    let many = [connect(), packet(0x30, &text(b"t")).repeat(2_000)].concat();
    assert_eq!(talk::<State>(&[(C, &many)], &[FACTS]).0.len(), usize::from(MESSAGES_MAX) + 1);
}
