//! Ways to hold a web server's connections, and what looks like them.

use super::super::tests::{START, Wire, host, outside};
use super::*;
use crate::control::hosts;
use crate::control::inventory::network::home;
use crate::dataplane::inspect::http;

fn found(wire: &Wire) -> Vec<String> {
    let slow = wire.evidence().into_iter().filter(|one| one.detector.name() == "slow_http");
    slow.map(|one| one.kind).collect()
}

/// `count` connections of `sources` hosts, each so long and with so many bytes of both.
fn connections(count: u64, sources: u64, length_s: u64, bytes: [u64; 2]) -> Wire {
    let mut wire = Wire::default();
    for turn in 0..count {
        let ends = (outside((turn % sources) as u32), host(80), 80);
        wire.flow_of(Protocol::Http, turn * SECOND / 4, ends, bytes, (length_s * SECOND, SECOND));
    }
    wire
}

#[test]
fn requests_that_do_not_end_are_told() {
    for (what, wire, wanted) in [
        ("one source", connections(25, 1, 60, [240, 0]), &["slow_requests"][..]),
        ("a slow body", connections(25, 1, 110, [900, 0]), &["slow_requests"]),
        ("in pieces, for seconds", connections(25, 1, 20, [540, 0]), &["slow_requests"]),
        ("many sources", connections(60, 60, 60, [240, 0]), &["slow_requests_of_many"]),
        ("a few", connections(15, 1, 60, [240, 0]), &[]),
        ("opened ahead", connections(50, 1, 60, [0, 0]), &[]),
        ("an upload", connections(50, 1, 60, [1_000_000, 0]), &[]),
        ("answered", connections(50, 1, 60, [400, 300]), &[]),
        ("quick", connections(50, 1, 3, [20, 0]), &[]),
    ] {
        assert_eq!(found(&wire), wanted, "{what}");
    }
    // Answers that are taken drop by drop: so many bytes of so many, so long after the connection began.
    for (what, taken, wanted, age, is_told) in [
        ("a reader with a small window", 900, 6_621, 14, true),
        ("a film", 400_000, 90_000_000, 14, false),
        ("one who breaks off", 900, 6_621, 2, false),
        ("one who has it all", 6_621, 6_621, 60, false),
    ] {
        let mut wire = Wire::default();
        for turn in 0..25 {
            wire.late_event(turn * SECOND / 4, age * SECOND, (outside(1), host(80), 80), Protocol::Http, |facts| {
                facts.put_number(http::STATUS, 200);
                facts.put_number(http::CONTENT_LENGTH, wanted);
                facts.put_number(http::LENGTH, taken);
            });
        }
        assert_eq!(!found(&wire).is_empty(), is_told, "{what}");
    }
    // Requests that are whole, and wait: long polling.
    let mut wire = Wire::default();
    for turn in 0..50 {
        let ends = (outside(1), host(80), 80);
        wire.flow_of(Protocol::Http, turn * SECOND / 4, ends, [420, 0], (20 * SECOND, SECOND));
        wire.packets([5, 3]);
    }
    assert_eq!(found(&wire), [] as [&str; 0]);
    // Mobile clients among many others.
    let mut wire = connections(25, 25, 60, [240, 0]);
    for turn in 0..200 {
        let ends = (outside(100 + turn), host(80), 80);
        wire.flow_of(Protocol::Http, 50 * SECOND + u64::from(turn) * SECOND / 20, ends, [400, 9000], (SECOND, SECOND));
    }
    assert_eq!(found(&wire), [] as [&str; 0]);
    // Another protocol whose server listens: a collector of logs.
    let mut wire = Wire::default();
    for turn in 0..50 {
        wire.flow(turn * SECOND, (outside(1), host(80), 514), [240, 0], (60 * SECOND, SECOND));
    }
    assert_eq!(found(&wire), [] as [&str; 0]);
}

/// Readers whose answers nobody knows the length of, by window, bytes and packets.
#[test]
fn readers_with_small_windows_are_told() {
    for (what, application, window, length_s, bytes, packets, wanted) in [
        ("slowhttptest, chunked", Protocol::Http, 1152, 60, [320, 1700], [14, 16], true),
        ("the same inside TLS", Protocol::Tls, 1152, 60, [900, 3600], [16, 18], true),
        ("a large window: an idle connection", Protocol::Tls, 64_240, 60, [900, 3600], [16, 18], false),
        ("a small device that has its answer", Protocol::Http, 2144, 60, [320, 1700], [6, 5], false),
        ("a small device with a download", Protocol::Http, 2144, 60, [320, 600_000], [500, 600], false),
        ("a slow link with a download", Protocol::Tls, 64_240, 300, [900, 4_000_000], [2000, 3000], false),
        ("many who are quick", Protocol::Tls, 1152, 2, [900, 1500], [16, 18], false),
        ("another protocol", Protocol::Mqtt, 1152, 60, [320, 1700], [14, 16], false),
    ] {
        let mut wire = Wire::default();
        for turn in 0..25 {
            let ends = (outside(1), host(80), 443);
            wire.flow_of(application, turn * SECOND / 4, ends, bytes, (length_s * SECOND, SECOND));
            wire.packets(packets);
            wire.window(window);
        }
        assert_eq!(!found(&wire).is_empty(), wanted, "{what}");
    }
}

/// What was measured of them is said, and nothing else: their number, and bytes a second on average.
#[test]
fn the_sentence_says_how_they_are_held() {
    let events = |age: u64, put: &dyn Fn(&mut crate::dataplane::inspect::Facts)| {
        let mut wire = Wire::default();
        for turn in 0..25 {
            wire.late_event(turn * SECOND / 4, age * SECOND, (outside(1), host(80), 80), Protocol::Http, put);
        }
        wire
    };
    let body = |facts: &mut crate::dataplane::inspect::Facts| {
        facts.put_number(http::TRANSACTION, 0);
        facts.put_number(http::REQUEST_LENGTH, 4096);
        facts.put_number(http::REQUEST_MISSING, 4056);
    };
    let read = |facts: &mut crate::dataplane::inspect::Facts| {
        facts.put(http::METHOD, b"GET");
        facts.put_number(http::STATUS, 200);
        facts.put_number(http::CONTENT_LENGTH, 6_621);
        facts.put_number(http::LENGTH, 900);
    };
    let waited = |facts: &mut crate::dataplane::inspect::Facts| facts.put_number(http::STATUS, 408);
    let requests = "whose request does not end, 4.0 bytes a second on average";
    let bodies = "whose body does not end, 2.0 bytes a second on average";
    let readers = "whose answer is hardly taken, 45.0 bytes a second on average";
    let windows = "whose client has a small window and lets hardly anything through, 28.3 bytes a second on average";
    let timeouts = "that the server gave up (408)";
    let all = [requests, bodies, readers, windows, timeouts];
    let mut knocked = Wire::default();
    for turn in 0..25 {
        let ends = (outside(1), host(80), 80);
        knocked.flow_of(Protocol::Http, turn * SECOND / 4, ends, [320, 1700], (60 * SECOND, SECOND));
        knocked.window(1152);
        knocked.packets([14, 16]);
    }
    // The same connections, of which it shows at their end that it was the body.
    let mut known = Wire::default();
    for turn in 0..25 {
        known.flow_of(Protocol::Http, turn * SECOND, (outside(1), host(80), 80), [80, 0], (20 * SECOND, SECOND));
        known.ended_with(body);
    }
    // Readers with a small window whose answers have a length: both are seen of each.
    let mut both = Wire::default();
    for turn in 0..25 {
        let ends = (outside(1), host(80), 80);
        both.flow_of(Protocol::Http, turn * SECOND, ends, [320, 900], (20 * SECOND, SECOND));
        both.window(1152);
        both.packets([14, 16]);
        both.ended_with(read);
    }
    for (wire, wanted, name) in [
        (connections(25, 1, 60, [240, 0]), requests, "slow_requests"),
        (events(20, &body), bodies, "slow_bodies"),
        (known, bodies, "slow_bodies"),
        (events(20, &read), readers, "slow_answers"),
        (both, readers, "slow_answers"),
        (knocked, windows, "small_windows"),
        (events(20, &waited), timeouts, "waited"),
        (connections(60, 60, 60, [240, 0]), requests, "slow_requests"),
    ] {
        let found = wire.evidence().into_iter().find(|one| one.detector.name() == "slow_http").expect("told");
        let said: Vec<_> = all.into_iter().filter(|text| found.summary.contains(text)).collect();
        assert_eq!(said, [wanted], "{}", found.summary);
        let value = |name: String| found.terms.iter().find(|term| term.name == name).map(|term| term.value);
        assert_eq!(value(format!("connections_of_{name}")), value("slow_connections".to_owned()), "{:?}", found.terms);
        assert_eq!(value(format!("{name}_bytes_per_second")).is_some(), name != "waited");
    }
}

/// A server that has waited in vain says so.
#[test]
fn servers_that_time_out_are_heard() {
    let mut wire = Wire::default();
    for turn in 0..25 {
        wire.event(turn * SECOND, (outside(1), host(80), 80), (Protocol::Http, 6), |facts| {
            facts.put_number(http::STATUS, if turn == 30 { 200 } else { 408 });
        });
    }
    assert_eq!(found(&wire), ["slow_requests"]);
}

/// A server that reads until the client gives up, and answers then: of a request whose body has not come.
#[test]
fn answers_that_come_too_late_absolve_nobody() {
    for (what, status, length, missing, (age, number), is_told) in [
        ("a slow body", 401, 4096, 4070, (20, 0), true),
        ("the same, taken as it is", 200, 4096, 4070, (20, 0), true),
        ("a form of which nothing came", 404, 4096, 4096, (20, 0), true),
        ("refused at once", 401, 1 << 30, 1 << 30, (1, 0), false),
        ("a thin line", 413, 1 << 30, (1 << 30) - 40_000, (20, 0), false),
        ("all of it came", 401, 4096, 0, (20, 0), false),
        // Nobody knows when it was asked.
        ("a later one, refused at once", 401, 1 << 30, 1 << 30, (60, 3), false),
    ] {
        let mut wire = Wire::default();
        for turn in 0..25 {
            let ends = (outside(1), host(80), 80);
            wire.late_event(turn * SECOND / 4, age * SECOND, ends, Protocol::Http, |facts| {
                facts.put_number(http::TRANSACTION, number);
                facts.put_number(http::REQUEST_LENGTH, length);
                facts.put_number(http::STATUS, status);
                if missing > 0 {
                    facts.put_number(http::REQUEST_MISSING, missing);
                }
            });
        }
        assert_eq!(found(&wire), if is_told { &["slow_requests"][..] } else { &[] }, "{what}");
    }
}

/// Live they are told while they are held.
#[test]
fn living_connections_are_counted_once() {
    let mut behaviour = hosts::Settings::default().behaviour(&home()).expect("wanted");
    let mut out = Vec::new();
    let mut tell = |count: u64, second: u64| {
        for turn in 0..count {
            let (key, originator) =
                crate::dataplane::decode::FlowKey::v4(outside(1), 40_000 + turn as u16, host(80), 80, 6, 0);
            behaviour.living(&FlowSummary {
                key,
                originator,
                first_seen: Timestamp(START + turn),
                last_seen: Timestamp(START + second * SECOND),
                payload: [100, 0],
                packets: [9, 9],
                tcp_flags: [0x12, 0x12],
                application: Protocol::Http,
                ..FlowSummary::default()
            });
        }
        behaviour.decide_until(Timestamp(START + (second + 2) * SECOND), &mut out);
        out.len()
    };
    assert_eq!((tell(15, 30), tell(15, 90), tell(25, 100)), (0, 0, 1));
}
