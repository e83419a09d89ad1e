//! Beacons with and without jitter, and what else comes back.

use super::super::tests::{Wire, host, outside};
use super::score::{evenness, run, spread};
use super::*;
use crate::dataplane::inspect::{http, tls};

struct Dice(u64);

impl Dice {
    /// 0..1.
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1_u64 << 31) as f64
    }
}

/// Connections for `hours`, with pauses in seconds and bytes as they are made.
fn visits(hours: u64, pause: impl Fn(&mut Dice) -> f64, bytes: impl Fn(&mut Dice) -> u64) -> Wire {
    let (mut wire, mut dice, mut at) = (Wire::default(), Dice(5), 0.0);
    while at < hours as f64 * 3600.0 {
        let sent = bytes(&mut dice);
        wire.flow((at * 1e9) as u64, (host(1), outside(1), 443), [sent, 3 * sent], (SECOND / 2, SECOND));
        at += pause(&mut dice);
    }
    wire
}

#[test]
fn beacons_are_found_whatever_their_pace_and_jitter() {
    type Pause = fn(&mut Dice) -> f64;
    let each: [(&str, u64, Pause); 4] = [
        ("each ten seconds", 14, |_| 10.0),
        ("each minute", 14, |_| 60.0),
        ("each hour", 26, |_| 3600.0),
        ("with 30 % jitter", 14, |dice| 60.0 * (0.7 + 0.6 * dice.roll())),
    ];
    for (case, hours, pause) in each {
        let wire = visits(hours, pause, |_| 320);
        assert_eq!(wire.kinds(), ["beacon/beacon"], "{case}");
        let found = wire.evidence();
        assert!(found.len() <= 2, "{case}: {}", found.len());
        let first = &found[0];
        // Twenty calls, or the score of six hours.
        let (after, least) = if hours < 20 { (1, 0.7) } else { (6 * HOUR_NS, 0.9) };
        assert!(first.time.since(Timestamp(super::super::tests::START)) >= after, "{case}");
        assert!(first.terms[0].value >= least && first.terms[0].threshold == Some(least), "{case}: {:?}", first.terms);
        assert_eq!((first.target, first.port), (Some("203.0.0.1".parse().unwrap()), Some(443)), "{case}");
    }
    // Two levels: quick by day, slow by night.
    let (mut wire, mut at) = (Wire::default(), 0_u64);
    while at < 24 * 3600 {
        wire.flow(at * SECOND, (host(1), outside(1), 443), [320, 900], (SECOND / 2, SECOND));
        at += if at % 86_400 < 12 * 3600 { 600 } else { 60 };
    }
    assert_eq!(wire.kinds(), ["beacon/beacon"], "two levels");
}

/// Whatever goes on for days has even sizes, days and hours; what was there from the first day on needs even intervals too.
#[test]
fn visits_at_random_are_no_clock() {
    let mut told = Vec::new();
    for seed in 1..=20_u64 {
        let (mut wire, mut dice, mut at) = (Wire::default(), Dice(seed), 0.0);
        while at < 5.0 * 86_400.0 {
            wire.flow((at * 1e9) as u64, (host(1), outside(1), 443), [320, 900], (SECOND / 2, SECOND));
            at += -3600.0 * (1.0 - dice.roll()).ln();
        }
        told.extend(wire.evidence().into_iter().map(|one| (seed, one.terms[1].value)));
    }
    assert!(told.is_empty(), "{told:?}");
}

/// Somebody at work for two days, then calls of so many hosts for twelve hours, as `call` makes one of them.
fn later(hosts: u32, calls: u64, call: impl Fn(&mut Wire, u64, u64, u32)) -> Wire {
    let mut wire = Wire::default();
    for number in 0..8 * 48_u64 {
        let at = (number / 8 * 3600 + number * 7919 % 3500) * SECOND;
        wire.flow(
            at,
            (host(1 + number as u32 % 8), outside(200 + number as u32 * 31 % 97), 443),
            [700, 9000],
            (SECOND, 1),
        );
    }
    for number in 0..calls {
        (1..=hosts).for_each(|one| call(&mut wire, 48 * HOUR_NS + number * 60 * SECOND, number, one));
    }
    wire
}

fn told(wire: &Wire) -> Vec<(String, u8)> {
    let beacons = wire.evidence().into_iter().filter(|one| one.detector == Detector::Beacon);
    beacons.map(|one| (one.kind, one.severity)).collect()
}

#[test]
fn who_calls_and_since_when_decides_what_is_said() {
    let plain = |server: u32, bytes: [u64; 2]| {
        move |wire: &mut Wire, at: u64, _: u64, one: u32| {
            wire.flow(at, (host(one), outside(server), 443), bytes, (SECOND / 2, 1))
        }
    };
    // First that the intervals are even, then what the score says.
    let of = |kind: &str, severity: u8, times: usize| {
        let quick = if severity < 3 { times } else { 0 };
        let mut all = vec![(kind.to_owned(), 3); quick];
        all.extend(vec![(kind.to_owned(), severity); times]);
        all
    };
    assert_eq!(told(&later(1, 720, plain(1, [320, 900]))), of("beacon", 2, 1), "one host, a new place");
    assert_eq!(told(&later(2, 720, plain(1, [320, 900]))), of("beacon", 2, 2), "two hosts");
    assert_eq!(
        told(&later(3, 720, plain(1, [320, 900]))).last(),
        Some(&("beacon".to_owned(), 3)),
        "a program that several have"
    );
    for (case, bytes) in [("nothing is sent", [0, 900]), ("uploads", [90_000, 900]), ("pages", [320, 400_000])] {
        assert_eq!(told(&later(1, 720, plain(1, bytes))), [], "{case}");
    }
    let (mut anywhere, mut dice, mut at) = (later(0, 0, |_, _, _, _| ()), Dice(5), 48.0 * 3600.0);
    while at < 62.0 * 3600.0 {
        anywhere.flow((at * 1e9) as u64, (host(1), outside(1), 443), [320, 900], (SECOND / 2, SECOND));
        at += 120.0 * dice.roll();
    }
    assert_eq!(told(&anywhere), [("beacon".to_owned(), 2)], "anywhere up to two minutes");
    // What is there on the first day is an updater's, and told once and low.
    let mut first = later(0, 0, |_, _, _, _| ());
    (0..60 * 60).for_each(|minute| plain(1, [320, 900])(&mut first, minute * 60 * SECOND, minute, 1));
    assert_eq!(told(&first), of("beacon", 3, 1), "since the first day");
    // Mail that is asked for.
    let poll = |wire: &mut Wire, at, _, one| {
        wire.flow_of(Protocol::Imap, at, (host(one), outside(1), 143), [320, 900], (SECOND / 2, 1));
    };
    assert_eq!(told(&later(1, 720, poll)), [], "mail");
    // Under one name by eight addresses, which others go to too.
    let fronts = |named: bool| {
        move |wire: &mut Wire, at: u64, number: u64, one: u32| {
            let ends = (host(one), outside(10 + number as u32 * 5 % 8), 443);
            if named {
                wire.event(at, ends, (Protocol::Tls, 6), |facts| facts.put(tls::HELLO.sni, b"cdn.example"));
            }
            wire.flow(at + SECOND, ends, [320, 900], (SECOND / 2, 1));
        }
    };
    assert_eq!(told(&later(1, 720, fronts(true))), of("beacon", 2, 1), "one name, eight addresses");
}

#[test]
fn calls_by_dns_are_found_and_names_that_come_back_are_not() {
    for (case, wanted, name) in [
        (
            "another name each time",
            vec![("dns".to_owned(), 2)],
            (|number| format!("{:08x}.c.example.org", number * 0x9e37_79b9)) as fn(u64) -> String,
        ),
        ("names that come back", vec![], |number| format!("host{}.example.org", number % 30)),
    ] {
        let ask = |wire: &mut Wire, at, number, one| wire.dns(at, host(one), &name(number), 16, (0, 20));
        assert_eq!(told(&later(1, 720, ask)), wanted, "{case}");
    }
    // A scanner of files asks when there are files.
    let ask = |wire: &mut Wire, at: u64, number: u64, one| {
        let pause = (number * number * 7919 % 3600) * SECOND;
        wire.dns(at + pause, host(one), &format!("{:08x}.c.example.org", number * 0x9e37_79b9), 16, (0, 20));
    };
    assert_eq!(told(&later(1, 100, |wire, at, number, one| ask(wire, at * 7, number, one))), [], "now and then");
}

#[test]
fn what_only_comes_back_is_quiet() {
    // Log-uniform pauses and sizes: somebody reads pages, now and then, for a day.
    let reads = |dice: &mut Dice| 10_f64.powf(4.0 * dice.roll());
    for (case, wire) in [
        ("somebody who reads pages", visits(24, reads, |dice| 10_f64.powf(2.0 + 3.0 * dice.roll()) as u64)),
        ("a clock that is watched for a quarter of an hour", visits(1, |_| 240.0, |_| 320)),
        ("a clock that brings pages", visits(5, |_| 60.0, |_| 30_000)),
        ("three times in a day", visits(24, |_| 8.0 * 3600.0, |_| 320)),
    ] {
        assert_eq!(wire.evidence(), [], "{case}");
    }
    // A server at home is somebody's own monitor.
    let mut wire = Wire::default();
    (0..1000).for_each(|at| wire.flow(at * 60 * SECOND, (host(1), host(2), 443), [320, 900], (SECOND, SECOND)));
    assert_eq!(wire.evidence(), []);
}

/// An updater is a beacon of everybody.
#[test]
fn what_half_of_the_hosts_do_is_popular() {
    let wire = |hosts: u32| {
        let mut wire = Wire::default();
        for at in 0..840_u64 {
            for number in 0..10 {
                let server = if number < hosts { outside(1) } else { outside(100 + number) };
                let pause = if number < hosts { 60 } else { 1 + (at * 7919 + u64::from(number) * 31) % 97 };
                let (at, size) =
                    (at * 60 * SECOND + pause * SECOND, if number < hosts { 320 } else { 1 + at * at % 7919 });
                wire.flow(at, (host(1 + number), server, 443), [size, 900], (SECOND, SECOND));
            }
        }
        let found = wire.evidence();
        found.into_iter().filter(|one| one.target == Some("203.0.0.1".parse().unwrap())).count()
    };
    assert_eq!(wire(10), 0, "everybody");
    assert!(wire(1) > 0, "one alone");
}

#[test]
fn parts_of_the_score_are_what_the_formula_says() {
    // All alike; spread evenly; leaning to one side.
    for (values, small, wanted) in [
        (vec![60.0; 9], 1.0, 1.0),
        (vec![0.0; 9], 1.0, 1.0),
        (vec![0.0; 9], 0.0, 0.5),
        (vec![40.0, 50.0, 60.0, 70.0, 80.0], 1.0, 0.5 + 0.5 * (50.0 / 60.0)),
        (vec![10.0, 10.0, 20.0, 100.0, 400.0], 1.0, 0.5 * (1.0 - 70.0 / 90.0) + 0.5 * 0.5),
    ] {
        let (found, _) = evenness(&mut values.clone(), small);
        assert!((found - wanted).abs() < 1e-9, "{values:?}: {found}, not {wanted}");
    }
    for (bins, wanted) in [
        (vec![6; 24], 1.0),
        (vec![], 0.0),
        (vec![0; 24], 0.0),
        (vec![12, 0, 0, 0], 0.0),
        // Two levels in twelve hours: even by the modes, not by the spread.
        (vec![1, 30, 1, 30, 1, 30, 1, 30, 1, 30, 1, 30], 1.0),
    ] {
        assert!((spread(&bins) - wanted).abs() < 1e-9, "{bins:?}: {}", spread(&bins));
    }
    assert_eq!((run(&[1, 0, 1, 1, 1, 0]), run(&[])), (3.0, 0.0));
}

#[test]
fn very_many_connections_are_told_whatever_they_look_like() {
    let mut wire = Wire::default();
    (0..200_u64).for_each(|at| wire.flow(at * at % 977 * SECOND, (host(1), outside(1), 80), [at, 9], (SECOND, SECOND)));
    let mut settings = crate::control::hosts::Settings::default();
    settings.beacon.strobe = 100.0;
    let (found, _) = wire.evidence_with(settings);
    let kinds: Vec<_> = found.iter().map(|one| (one.kind.as_str(), one.severity)).collect();
    assert_eq!(kinds, [("strobe", 2)]);
}

#[test]
fn dropped_calls_and_jitter_are_a_clock_and_moments_without_rule_are_none() {
    let mut dice = Dice(11);
    let mut early = |pause: &mut dyn FnMut(&mut Dice) -> f64| {
        let mut pair = Pair::new(Timestamp(0));
        let mut at = 0.0;
        while at < 12.0 * 3600.0 {
            pair.add(Timestamp((at * 1e9) as u64), [320, 900]);
            at += pause(&mut dice);
        }
        Score::of(&pair).early
    };
    let mut dropped = |dice: &mut Dice| {
        let mut pause = 0.0;
        loop {
            pause += 60.0 * (0.5 + dice.roll());
            if dice.roll() >= 0.3 {
                return pause;
            }
        }
    };
    let jittered = early(&mut dropped);
    let without_rule = early(&mut |dice: &mut Dice| -90.0 * (1.0 - dice.roll()).ln());
    assert!(jittered >= EARLY_MIN && without_rule < EARLY_MIN, "{jittered}, {without_rule}");
}

/// An hour of calls, by the second: pauses, bytes sent and received, and hosts that make them.
fn hour(hosts: u32, pause: impl Fn(&mut Dice, u64) -> f64, bytes: impl Fn(&mut Dice) -> [u64; 2]) -> Vec<(String, u8)> {
    let (mut wire, mut dice) = (Wire::default(), Dice(5));
    for one in 1..=hosts {
        // They start within the time that is seen.
        let (mut at, mut number) = (600.0 + 7.0 * f64::from(one), 0);
        while at < 3600.0 {
            let bytes = bytes(&mut dice);
            wire.flow_of(
                Protocol::Unknown,
                (at * 1e9) as u64,
                (host(one), outside(1), 8443),
                bytes,
                (SECOND / 2, SECOND),
            );
            at += pause(&mut dice, number);
            number += 1;
        }
    }
    told(&wire)
}

#[test]
fn calls_at_even_intervals_are_found_within_an_hour() {
    let small = |dice: &mut Dice| [200 + (400.0 * dice.roll()) as u64, 100 + (6000.0 * dice.roll()) as u64];
    let jitter =
        |mean: f64, jitter: f64| move |dice: &mut Dice, _: u64| mean * (1.0 - jitter + 2.0 * jitter * dice.roll());
    let low = vec![("beacon".to_owned(), 3)];
    for (case, mean, of) in
        [("five seconds", 5.0, 0.5), ("a minute", 60.0, 0.5), ("two minutes", 120.0, 0.3), ("no jitter", 30.0, 0.0)]
    {
        assert_eq!(hour(1, jitter(mean, of), small), low, "{case}");
    }
    let sleeps = |dice: &mut Dice, number: u64| if number % 10 == 9 { 300.0 } else { 20.0 * (0.5 + dice.roll()) };
    assert_eq!(hour(1, sleeps, small), low, "that sleeps at times");
    let drops = |dice: &mut Dice, _: u64| 30.0 * (0.7 + 0.6 * dice.roll()) * if dice.roll() < 0.2 { 2.0 } else { 1.0 };
    assert_eq!(hour(1, drops, small), low, "of which some are lost");
    assert_eq!(hour(2, jitter(60.0, 0.3), small).len(), 2, "two hosts");
    for (case, found) in [
        ("of people", hour(1, |dice, _| -20.0 * (1.0 - dice.roll()).ln(), small)),
        ("log-uniform", hour(1, |dice, _| 10_f64.powf(2.5 * dice.roll()), small)),
        ("a device that several have", hour(6, jitter(60.0, 0.1), small).into_iter().skip(2).collect()),
        ("an update check", hour(1, jitter(600.0, 0.1), small)),
        ("pages", hour(1, jitter(30.0, 0.1), |_| [900, 60_000])),
    ] {
        assert_eq!(found, [], "{case}");
    }
}

/// Moments without any rule, many times: how often twenty of them look like a clock.
#[test]
fn moments_without_rule_are_hardly_ever_a_clock() {
    let mut dice = Dice(3);
    let settings = Settings::default();
    let count = (0..2000).filter(|_| {
        let (mut pair, mut at) = (Pair::new(Timestamp(0)), 0.0);
        for _ in 0..22 {
            pair.add(Timestamp((at * 1e9) as u64), [320, 900]);
            at += 5.0 - 30.0 * (1.0 - dice.roll()).ln();
        }
        let score = Score::of(&pair);
        score.near >= settings.quick_near && score.early >= QUICK_EARLY
    });
    let count = count.count();
    println!("{count} of 2000");
    assert!(count < 50, "{count} of 2000");
}

/// The connection is kept open, and polled.
#[test]
fn requests_within_one_connection_are_calls() {
    let wire = |pause: u64, length: u64, age: u64| {
        let mut wire = Wire::default();
        for number in 0..40 {
            let at = number * pause;
            wire.late_event(at, age, (host(1), outside(1), 80), Protocol::Http, |facts| {
                facts.put(http::METHOD, b"GET");
                facts.put(http::URL, format!("/{number}").as_bytes());
                facts.put_number(http::STATUS, 200);
                facts.put_number(http::LENGTH, length);
            });
        }
        told(&wire)
    };
    assert_eq!(wire(30 * SECOND, 80, 60 * SECOND), [("beacon".to_owned(), 3)]);
    assert_eq!(wire(30 * SECOND, 80, SECOND / 10), [], "the first of a connection is its flow's");
    assert_eq!(wire(30 * SECOND, 200_000, 60 * SECOND), [], "pages");
    assert_eq!(wire(SECOND, 80, 60 * SECOND), [], "as a page loads");
}
