//! What gives way where something is full, and what is counted.

use super::super::super::allowance::Rate;
use super::*;

#[test]
fn what_is_full_is_counted_and_the_others_go_on() {
    let mut talk = Talk::new(Settings { flows: 1, ..SETTINGS });
    talk.say(A, REQUEST);
    talk.slot = 4;
    assert_eq!(talk.say(A, REQUEST), Wants::PAYLOAD, "the flow that is silent gives way");
    assert_eq!(talk.inspector.take_counts().flows_full, 1);
    talk.slot = 3;
    assert_eq!(talk.say(A, REQUEST), Wants::NOTHING, "what was given up is not begun again in its middle");
    assert_eq!(talk.end(), Protocol::Http, "and is known all the same");
    talk.slot = 4;
    assert_eq!((talk.end(), talk.inspector.inspected()), (Protocol::Http, 0));

    // Without room for facts that wait, a request is told before its answer.
    let mut talk = Talk::new(Settings { facts: 0, ..SETTINGS });
    talk.say(A, REQUEST);
    assert_eq!(talk.inspector.take_counts().facts_full, 1);
    assert_eq!(talk.kept.of(Protocol::Http).len(), 1);

    // Without buffers half a line ends its side.
    let mut talk = Talk::new(Settings { buffers: 0, ..SETTINGS });
    talk.say(A, &REQUEST[..10]);
    assert_eq!(talk.inspector.take_counts().buffers_full, 1);

    let mut talk = Talk::new(Settings { depth: 20, ..SETTINGS });
    talk.say(A, REQUEST);
    assert_eq!(talk.inspector.take_counts().depth_reached, 1);
}

#[test]
fn a_flow_that_gives_way_has_its_open_event_told() {
    let mut talk = Talk::new(Settings { flows: 1, ..SETTINGS });
    talk.say(A, REQUEST);
    talk.say(B, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    talk.say(B, b"defg");
    let first = std::mem::replace(&mut talk.key, FlowKey::v4(0x0a00_0003, 1, 0x0a00_0004, 2, 6, 0).0);
    (talk.slot, talk.next) = (4, [1000, 9000]);
    talk.say(A, REQUEST);
    let events = talk.kept.of(Protocol::Http);
    assert_eq!((events.len(), events[0].number(http::LENGTH)), (1, Some(7)));
    assert_eq!(talk.kept.1, [first]);
}

#[test]
fn sides_that_wait_in_vain_do_not_keep_the_buffers_from_others() {
    let mut talk = Talk::new(Settings { flows: 8, buffers: 2, ..SETTINGS });
    for slot in 0..6 {
        talk.slot = slot;
        talk.next = [1000, 9000];
        talk.say(A, &REQUEST[..10]);
    }
    talk.slot = 7;
    talk.next = [1000, 9000];
    talk.say(A, &REQUEST[..10]);
    talk.say(A, &REQUEST[10..]);
    talk.say(B, ANSWER);
    assert_eq!(talk.end(), Protocol::Http);
    assert_eq!(talk.kept.of(Protocol::Http)[0].get(http::URL), Some(&b"/a"[..]));
}

#[test]
fn requests_that_wait_in_vain_do_not_cut_the_transactions_of_others() {
    let settings = Settings { flows: 1024, facts: 8, ..SETTINGS };
    let mut talk = Talk { inspector: Inspector::new(settings, 1024, [1, 2, 3, 4]), ..Talk::new(settings) };
    let begin = |talk: &mut Talk, slot: u32, client: u32| {
        (talk.slot, talk.next) = (slot, [1000, 9000]);
        (talk.key, talk.originator) = FlowKey::v4(client, 40_000, 0x0a00_0002, 9999, 6, 0);
    };
    // One source fills its share, and then tells its own early; those that are silent longest give way to others.
    for slot in 0..100 {
        begin(&mut talk, slot, 0x0a00_0063);
        talk.say(A, REQUEST);
    }
    assert_eq!(talk.inspector.take_counts().facts_full, 96, "four of eight are free for others, then a share is two");
    for slot in 100..104 {
        begin(&mut talk, slot, 0x0a00_0001 + slot);
        talk.say(A, REQUEST);
        talk.say(B, ANSWER);
        talk.end();
    }
    let told = talk.kept.of(Protocol::Http);
    let whole = told.iter().filter(|event| event.get(http::STATUS).is_some() && event.get(http::URL).is_some()).count();
    assert_eq!((told.len(), whole), (96 + 4, 4));
    assert!(told.iter().filter(|event| event.get(http::STATUS).is_none()).all(|event| event.is_truncated()));
}

#[test]
fn a_trickle_of_halves_does_not_take_what_two_segments_need() {
    let settings = Settings { flows: 1024, buffers: 16, ..SETTINGS };
    let mut talk = Talk { inspector: Inspector::new(settings, 1024, [1, 2, 3, 4]), ..Talk::new(settings) };
    let begin = |talk: &mut Talk, slot: u32| {
        talk.slot = slot;
        talk.next = [1000, 9000];
    };
    for victim in 0..50 {
        begin(&mut talk, victim);
        talk.say(A, &REQUEST[..10]);
        let next = talk.next;
        for other in 0..10 {
            begin(&mut talk, 100 + victim * 10 + other);
            talk.say(A, &REQUEST[..20]);
        }
        (talk.slot, talk.next) = (victim, next);
        talk.say(A, &REQUEST[10..]);
        talk.say(B, ANSWER);
        assert_eq!(talk.end(), Protocol::Http);
    }
    assert_eq!(talk.kept.of(Protocol::Http).iter().filter(|event| event.get(http::STATUS).is_some()).count(), 50);
    let full = talk.inspector.take_counts().buffers_full;
    assert!(full > 400, "of 500 that wait, 16 of one source can: {full}");
}

/// A segment of a flow that may still be something.
fn probe(talk: &mut Talk, source: u32, slot: u32, sequence: u32, bytes: &[u8]) {
    let (key, originator) = FlowKey::v4(source, 1000 + slot as u16, 0x0a00_0002, 9, 6, 0);
    let tcp = Some(Segment { sequence, acknowledgement: Some(1), ..Segment::default() });
    let (is_cut, time) = (false, Timestamp(5));
    let payload = Payload {
        slot,
        key: &key,
        originator,
        first_seen: Timestamp(1),
        side: A,
        tcp,
        bytes,
        before: &[],
        is_cut,
        time,
    };
    talk.inspector.payload(&payload, &mut talk.kept);
}

#[test]
fn what_is_something_outlives_what_is_nothing_yet() {
    let mut talk = Talk::new(Settings { flows: 4, buffers: 16, ..SETTINGS });
    talk.say(A, REQUEST);
    // The beginning of any of several protocols, in slots of their own.
    for slot in 4..16 {
        for sequence in [7, 8] {
            probe(&mut talk, 0x0a00_0003 + 7919 * slot, slot, sequence, b"P");
        }
    }
    assert_eq!((talk.inspector.inspected(), talk.inspector.application(15)), (4, Protocol::Unknown));
    talk.say(B, ANSWER);
    assert_eq!(talk.end(), Protocol::Http);
    let events = talk.kept.of(Protocol::Http);
    assert_eq!((events.len(), events[0].number(http::STATUS)), (1, Some(204)));
    assert_eq!(talk.inspector.take_counts().events_early, 0);
}

#[test]
fn what_gives_way_is_told_first_and_marked() {
    let mut talk = Talk::new(Settings { flows: 2, ..SETTINGS });
    let first = talk.key;
    for slot in 3..8 {
        talk.slot = slot;
        talk.next = [1000, 9000];
        (talk.key, _) = FlowKey::v4(0x0a00_0001, 40_000 + slot as u16, 0x0a00_0002, 9999, 6, 0);
        talk.say(A, REQUEST);
    }
    let events = talk.kept.of(Protocol::Http);
    assert_eq!(events.len(), 3, "of five flows two are left");
    assert!(events.iter().all(|event| event.is_truncated() && event.get(http::URL) == Some(&b"/a"[..])));
    assert_ne!(talk.key, first);
    let counts = talk.inspector.take_counts();
    assert_eq!((counts.flows_full, counts.events_early), (3, 3));
}

#[test]
fn a_source_at_its_share_gives_way_to_itself() {
    let mut talk = Talk::new(Settings { flows: 8, facts: 32, ..SETTINGS });
    talk.say(A, REQUEST);
    for slot in 4..16 {
        talk.slot = slot;
        talk.next = [1000, 9000];
        (talk.key, talk.originator) = FlowKey::v4(0x0a00_0063, 40_000 + slot as u16, 0x0a00_0002, 9999, 6, 0);
        talk.say(A, REQUEST);
    }
    assert_eq!(talk.inspector.take_counts().events_early, 5);
    (talk.slot, talk.next) = (3, [1000 + REQUEST.len() as u32, 9000]);
    talk.say(B, ANSWER);
    assert_eq!(talk.kept.of(Protocol::Http).iter().filter(|event| event.number(http::STATUS).is_some()).count(), 1);
}

/// Who asks without end, over one flow or many, is told so often and no more; a flow that he has no part in is told in full.
#[test]
fn so_many_events_are_told_of_a_flow_and_its_source() {
    let mut talk = Talk::begun(Settings { flows: 8, ..SETTINGS });
    let pipelined = b"GET / HTTP/1.1\r\n\r\n".repeat(75);
    for connection in 0..200 {
        talk.next = [1000, 9000];
        for _ in 0..4 {
            talk.say(A, &pipelined);
        }
        let times = [Timestamp(1), Timestamp(9)];
        let (_, unread) = talk.inspector.end(talk.slot, &talk.key, talk.originator, times, &mut talk.kept);
        assert_eq!(unread.contains(Cause::EventsSuppressed), connection >= 14, "{connection}");
    }
    let counts = talk.inspector.take_counts();
    let Rates { of_flow, of_source } = SETTINGS.rates;
    let told = u64::from(of_source.burst + 200 * of_flow.burst);
    assert_eq!((talk.kept.0.len() as u64, counts.events), (told, 200 * 300));
    assert_eq!(counts.events_suppressed, counts.events + counts.anomalies - talk.kept.0.len() as u64);
    let before = talk.kept.of(Protocol::Http).len();
    (talk.key, talk.next) = (FlowKey::v4(0x0b00_0001, 40_000, 0x0a00_0002, 9999, 6, 0).0, [1000, 9000]);
    talk.say(A, &pipelined);
    talk.end();
    assert_eq!(talk.kept.of(Protocol::Http).len() - before, 75, "another source");
}

/// Their flows have no entry in between; the next flow in the slot begins anew.
#[test]
fn of_datagrams_without_an_entry_it_is_remembered_too() {
    let mut talk = Talk::new(SETTINGS);
    let ask = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";
    let Rates { of_flow, of_source } = SETTINGS.rates;
    let mut told = 0;
    for flow in 1..=3 {
        talk.key = FlowKey::v4(0x0a00_0001, 40_000 + flow, 0x0a00_0002, 53, 17, 0).0;
        for _ in 0..10_000 {
            assert_eq!(talk.datagram(A, ask), Wants::PAYLOAD);
        }
        let times = [Timestamp(1), Timestamp(9)];
        let (protocol, unread) = talk.inspector.end(talk.slot, &talk.key, talk.originator, times, &mut talk.kept);
        assert_eq!((protocol, unread.contains(Cause::EventsSuppressed)), (Protocol::Dns, true));
        told += of_flow.burst + if flow == 1 { of_source.burst } else { 0 };
        assert_eq!(talk.kept.of(Protocol::Dns).len() as u32, told);
    }
}

/// A resolver asks others through one port: it may be granted more.
#[test]
fn what_is_told_at_most_is_what_the_settings_say() {
    let ask = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";
    for (flow, source, wanted) in
        [((16, 64), (4096, 512), 4112), ((1, 64), (1, 512), 2), ((5000, 16), (5000, 16), 9000)]
    {
        let [of_flow, of_source] = [flow, source].map(|(burst, per_second)| Rate { burst, per_second });
        let mut talk = Talk::new(Settings { rates: Rates { of_flow, of_source }, ..SETTINGS });
        talk.key = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 53, 17, 0).0;
        (0..9000).for_each(|_| _ = talk.datagram(A, ask));
        assert_eq!(talk.kept.of(Protocol::Dns).len(), wanted, "{flow:?} {source:?}");
    }
}
