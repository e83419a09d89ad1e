//! Flows of datagrams.

use super::*;

/// Who said each event.
#[derive(Default)]
struct Senders(Vec<(Protocol, Side)>);

impl Sink for Senders {
    fn event(&mut self, event: &Event<'_>) {
        if event.anomaly.is_none() {
            self.0.push((event.protocol, event.sender));
        }
    }
}

#[test]
fn flows_of_datagrams_without_memory_hold_nothing_in_between() {
    let mut talk = Talk::new(Settings { flows: 2, ..SETTINGS });
    let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 53, 17, 0);
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04host\x07example\0\0\x01\0\x01";
    for round in 0..3 {
        for slot in 0..16 {
            let payload = Payload {
                slot,
                key: &key,
                originator,
                first_seen: Timestamp(1),
                side: A,
                tcp: None,
                bytes: query,
                before: &[],
                is_cut: false,
                time: Timestamp(5),
            };
            assert_eq!(talk.inspector.payload(&payload, &mut talk.kept), Wants::PAYLOAD, "{round}");
            assert_eq!((talk.inspector.inspected(), talk.inspector.application(slot)), (0, Protocol::Dns));
        }
    }
    assert_eq!(talk.kept.of(Protocol::Dns).len(), 48);
    assert_eq!(talk.inspector.take_counts().flows_full, 0);
    for slot in 0..16 {
        assert_eq!(
            talk.inspector.end(slot, &key, originator, [Timestamp(1), Timestamp(9)], &mut talk.kept).0,
            Protocol::Dns
        );
    }
}

#[test]
fn junk_in_front_hides_no_datagram_at_any_port() {
    let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04evil\x07example\x00\x00\x01\x00\x01";
    for junk in 1..=7 {
        let mut talk = Talk::new(SETTINGS);
        (talk.key, talk.originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 31_337, 17, 0);
        for _ in 0..junk {
            assert_eq!(talk.datagram(A, &[b'x'; 60]), Wants::PAYLOAD);
        }
        talk.datagram(A, question);
        assert_eq!(talk.end(), Protocol::Dns, "behind {junk}");
    }
}

#[test]
fn bytes_by_chance_are_no_protocol_however_many_datagrams_are_looked_at() {
    let mut random = 0x1234_5678_9abc_def1_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut found = Vec::new();
    for _ in 0..4000 {
        let mut talk = Talk::new(SETTINGS);
        let port = 1024 + (next() % 60_000) as u16;
        (talk.key, talk.originator) =
            FlowKey::v4(0x0a00_0001, 1024 + (next() % 60_000) as u16, 0x0a00_0002, port, 17, 0);
        for _ in 0..8 {
            let bytes: Vec<u8> = (0..8 + next() % 200).map(|_| next() as u8).collect();
            talk.datagram(if next() % 2 == 0 { A } else { B }, &bytes);
        }
        found.extend(Some(talk.end()).filter(|protocol| *protocol != Protocol::Unknown));
    }
    assert!(found.is_empty(), "{found:?}");
}

/// Datagrams of one flow to `port`; what it was in the end, and what the inspector wanted last.
fn datagrams(port: u16, all: &[&[u8]]) -> (Kept, Protocol, Wants, Counts) {
    let (mut inspector, mut kept) = (Inspector::new(SETTINGS, 16, [1, 2, 3, 4]), Kept::default());
    let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, port, 17, 0);
    let mut wants = Wants::NOTHING;
    for bytes in all {
        let payload = Payload {
            slot: 3,
            key: &key,
            originator,
            first_seen: Timestamp(1),
            side: A,
            tcp: None,
            bytes,
            before: &[],
            is_cut: false,
            time: Timestamp(5),
        };
        wants = inspector.payload(&payload, &mut kept);
    }
    let (protocol, _) = inspector.end(3, &key, originator, [Timestamp(1), Timestamp(9)], &mut kept);
    assert_eq!(inspector.inspected(), 0);
    (kept, protocol, wants, inspector.take_counts())
}

const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04host\x07example\0\0\x01\0\x01";

#[test]
fn one_datagram_does_not_say_for_good_what_a_flow_is() {
    let (kept, protocol, ..) = datagrams(53, &[b"\0\x01file\0octet\0", QUERY, QUERY]);
    assert_eq!((protocol, kept.of(Protocol::Tftp).len(), kept.of(Protocol::Dns).len()), (Protocol::Dns, 1, 2));

    const JUNK: &[u8] = &[0xee; 30];
    let junk = [JUNK; 100];
    let (kept, protocol, wants, counts) = datagrams(53, &[&junk[..], &[QUERY]].concat());
    assert_eq!((protocol, kept.of(Protocol::Dns).len(), wants), (Protocol::Dns, 1, Wants::PAYLOAD));
    assert_eq!((counts.identified, counts.unknown), (1, 0));
    let (_, protocol, wants, counts) = datagrams(53, &[JUNK; 1100]);
    assert_eq!((protocol, wants, counts.unknown), (Protocol::Unknown, Wants::NOTHING, 1), "not for ever");
    let (_, _, wants, counts) = datagrams(9999, &junk[..7]);
    assert_eq!((wants, counts.unknown), (Wants::PAYLOAD, 1), "elsewhere a few are looked at");
    let (_, _, wants, counts) = datagrams(9999, &junk[..8]);
    assert_eq!((wants, counts.unknown), (Wants::NOTHING, 1), "and not more");
}

#[test]
fn media_are_not_told_before_they_are_sure() {
    let packet = |number: u8| [&[0x80, 0, 0, number, 0, 0, 0, number, 1, 2, 3, 4][..], &[0x55; 160]].concat();
    let (_, protocol, _, counts) = datagrams(9999, &[&packet(1)]);
    assert_eq!((protocol, counts.identified, counts.unknown), (Protocol::Unknown, 0, 1));
    let (kept, protocol, _, counts) = datagrams(9999, &[&packet(1), &packet(2), &packet(3)]);
    assert_eq!((protocol, kept.of(Protocol::Rtp).len(), counts.identified), (Protocol::Rtp, 1, 1));
    let (kept, protocol, ..) = datagrams(9999, &[&packet(1), QUERY]);
    assert_eq!((protocol, kept.of(Protocol::Dns).len()), (Protocol::Dns, 1), "others are looked for until then");
}

/// A server of TFTP answers from a port of its own (RFC 1350 section 4), so in another flow.
#[test]
fn a_transfer_is_known_by_its_request_in_another_flow() {
    const BLOCK: &[u8] = b"\0\x03\0\x01hello";
    let mut talk = Talk::new(Settings { flows: 8, ..SETTINGS });
    let say = |talk: &mut Talk, slot: u32, from: (u32, u16), to: (u32, u16), bytes: &[u8]| {
        (talk.key, talk.originator) = FlowKey::v4(from.0, from.1, to.0, to.1, 17, 0);
        talk.slot = slot;
        talk.datagram(A, bytes);
        talk.inspector.application(slot)
    };
    assert_eq!(say(&mut talk, 1, (2, 5000), (1, 4000), BLOCK), Protocol::Unknown, "nobody asked for it");
    assert_eq!(say(&mut talk, 2, (1, 4000), (2, 69), b"\0\x01boot.img\0octet\0"), Protocol::Tftp);
    assert_eq!(say(&mut talk, 3, (2, 5001), (1, 4001), BLOCK), Protocol::Unknown, "another client");
    assert_eq!(say(&mut talk, 4, (3, 5001), (1, 4000), BLOCK), Protocol::Unknown, "another server");
    assert_eq!(say(&mut talk, 5, (2, 5001), (1, 4000), b"\0\x03\0\x02hello"), Protocol::Unknown, "no beginning");
    assert_eq!(say(&mut talk, 6, (2, 5002), (1, 4000), BLOCK), Protocol::Tftp);
    let events = talk.kept.of(Protocol::Tftp);
    let of = |event: &Facts| (event.get(tftp::FILE).map(<[u8]>::to_vec), event.number(tftp::BYTES));
    let file = Some(b"boot.img".to_vec());
    assert_eq!(events.into_iter().map(of).collect::<Vec<_>>(), [(file.clone(), None), (file, Some(5))]);
}

/// A parser that remembers nothing between datagrams tells of a flow once what each of them would.
#[test]
fn a_community_that_everybody_knows_is_told_once_a_flow() {
    let get = b"\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x07\x02\x01\0\x02\x01\0\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\0\x05\0";
    let (kept, protocol, ..) = datagrams(161, &[&get[..]; 20]);
    let anomalies = kept.0.iter().filter(|(_, is_anomaly, _)| *is_anomaly).count();
    assert_eq!((protocol, kept.of(Protocol::Snmp).len(), anomalies), (Protocol::Snmp, 20, 1));
}

/// An event of one message has its sender for its source: of an answer the one who was asked.
#[test]
fn an_answer_is_said_by_who_was_asked() {
    let snmp = |pdu: u8| {
        [
            b"\x30\x26\x02\x01\x01\x04\x06public",
            &[pdu][..],
            b"\x19\x02\x01\x01\x02\x01\0\x02\x01\0\
        \x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x05\0\x05\0",
        ]
        .concat()
    };
    let dns = |flags: u8| [b"\x12\x34", &[flags, 0][..], b"\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01"].concat();
    let dhcp =
        |op: u8, kind: u8| [&[op, 1, 6, 0][..], &[7; 4], &[0; 228], b"\x63\x82\x53\x63\x35\x01", &[kind, 255]].concat();
    let radius = |code: u8| [&[code, 7, 0, 20][..], &[0xaa; 16]].concat();
    let ntp = |first: u8, stratum: u8| [&[first, stratum][..], &[0; 46]].concat();
    let memcached = |text: &[u8]| [b"\0\x01\0\0\0\x01\0\0", text].concat();
    let sip = |line: &str| format!("{line}\r\nVia: SIP/2.0/UDP a\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n").into_bytes();
    for (protocol, port, [asked, answered]) in [
        (Protocol::Dns, 53, [dns(1), dns(0x81)]),
        (Protocol::Mdns, 5353, [dns(0), dns(0x84)]),
        (Protocol::Llmnr, 5355, [dns(0), dns(0x80)]),
        (Protocol::Dhcp, 67, [dhcp(1, 1), dhcp(2, 2)]),
        (Protocol::Snmp, 161, [snmp(0xa0), snmp(0xa2)]),
        (Protocol::Radius, 1812, [radius(1), radius(2)]),
        (Protocol::Ntp, 123, [ntp(0x23, 0), ntp(0x24, 2)]),
        (Protocol::Memcached, 11_211, [memcached(b"version\r\n"), memcached(b"VERSION 1.6\r\n")]),
        (Protocol::Sip, 5060, [sip("INVITE sip:a@b SIP/2.0"), sip("SIP/2.0 180 Ringing")]),
    ] {
        let (mut talk, mut senders) = (Talk::new(SETTINGS), Senders::default());
        (talk.key, talk.originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, port, 17, 0);
        for (side, bytes) in [(A, &asked), (B, &answered)] {
            let of = Payload {
                slot: 3,
                key: &talk.key,
                side,
                bytes,
                ..nothing(3, &talk.key, talk.originator, [Timestamp(1); 2])
            };
            talk.inspector.payload(&of, &mut senders);
        }
        assert_eq!(senders.0, [(protocol, A), (protocol, B)]);
    }
}
