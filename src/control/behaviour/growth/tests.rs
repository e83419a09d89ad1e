//! Days of a network and of a host.

use super::super::tests::{Wire, host, outside};
use super::*;
use crate::control::hosts;

const DAY_H: u64 = 24;

/// Flows of an hour in a network that does five times as much by day as by night, never the same twice. `START` is a Thursday.
fn usual(hour: u64) -> f64 {
    let swing = (((hour % 24) as f64 - 3.5) / 24.0 * std::f64::consts::TAU).cos();
    let noise = 1.0 + ((hour * 7919 % 31) as f64 - 15.0) / 300.0;
    let is_weekend = (hour / 24 + 3) % 7 >= 5;
    (-0.8 * swing).exp() * 60.0 * noise * if is_weekend { 0.3 } else { 1.0 }
}

/// A wire of so many days whose hours have what is usual times `more`; by twenty hosts in turn.
fn days(days: u64, more: impl Fn(u64) -> f64) -> Wire {
    let mut wire = Wire::default();
    // From a Monday on.
    for hour in 0..days * DAY_H {
        let flows = (usual(hour + FROM_H) * more(hour)).round() as u64;
        for number in 0..flows {
            let at = (hour + FROM_H) * HOUR_NS + number * (HOUR_NS - 60 * SECOND) / flows.max(1);
            wire.datagrams(at, (host(1 + (number % 20) as u32), outside(1), 9000), [100, 100]);
        }
    }
    wire
}

/// From the wire's beginning, a Thursday, to the next Monday.
const FROM_H: u64 = 4 * DAY_H;

fn settings() -> hosts::Settings {
    let growth = Settings { flows: 20.0, ..Settings::default() };
    hosts::Settings { growth, ..hosts::Settings::default() }
}

/// Kinds, and hours since the wire's beginning.
fn told(wire: &Wire) -> Vec<(String, u64)> {
    let (found, _) = wire.evidence_with(settings());
    let of = |one: &Evidence| (one.kind.clone(), (one.time.0 - super::super::tests::START) / HOUR_NS - FROM_H);
    found.iter().filter(|one| one.detector == Detector::Growth).map(of).collect()
}

fn since(hour: u64, from_day: u64) -> f64 {
    hour.saturating_sub(from_day * DAY_H) as f64
}

#[test]
fn a_ramp_is_told_and_what_is_usual_is_not() {
    type More = fn(u64) -> f64;
    let cases: [(&str, u64, More, bool); 8] = [
        ("a swing of five, each day", 5, |_| 1.0, false),
        ("three weeks with weekends", 21, |_| 1.0, false),
        ("2 % an hour from the fourth day on", 4, |hour| 1.02_f64.powf(since(hour, 3)), true),
        ("2 % an hour from the fifth day on", 5, |hour| 1.02_f64.powf(since(hour, 4)), true),
        ("a day of half as much again", 5, |hour| if hour >= 3 * DAY_H { 1.5 } else { 1.0 }, false),
        ("three times as much from noon on", 5, |hour| if hour >= 3 * DAY_H + 12 { 3.0 } else { 1.0 }, false),
        ("an hour of ten times as much", 5, |hour| if hour == 3 * DAY_H + 20 { 10.0 } else { 1.0 }, false),
        (
            "less, and back",
            5,
            |hour| (0.5 + 0.02 * since(hour, 3)).min(1.0).max(if hour < 72 { 1.0 } else { 0.0 }),
            false,
        ),
    ];
    for (name, length, more, wanted) in cases {
        let found = told(&days(length, more));
        assert_eq!(!found.is_empty(), wanted, "{name}: {found:?}");
        assert!(found.len() <= 2 && found.iter().all(|(kind, _)| kind == "network"), "{name}: {found:?}");
        let began = (length - 1) * DAY_H;
        assert!(found.iter().all(|(_, at)| (began + 12..=began + 24).contains(at)), "{name}: {found:?}");
    }
}

#[test]
fn growth_of_one_host_is_its_own_and_the_alert_says_what_it_rests_on() {
    let mut wire = days(5, |_| 1.0);
    for hour in 0..5 * DAY_H {
        let flows = (12.0 * 1.12_f64.powf(since(hour, 4))) as u64;
        for number in 0..flows {
            let at = (hour + FROM_H) * HOUR_NS + number * (HOUR_NS - 60 * SECOND) / flows;
            wire.datagrams(at, (host(77), outside(2), 9000), [100, 100]);
        }
    }
    let mut settings = settings();
    // All together grow too, by one host.
    (settings.growth.growth, settings.growth.host_flows) = (4.0, 8.0);
    let (found, _) = wire.evidence_with(settings);
    let found: Vec<_> = found.iter().filter(|one| one.detector == Detector::Growth).collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    let one = found[0];
    assert_eq!((one.kind.as_str(), one.severity), ("host", 3));
    assert_eq!(one.source, Some("10.0.0.77".parse().unwrap()));
    let term = |name: &str| one.terms.iter().find(|term| term.name == name).expect(name);
    let holds = |term: &Term| term.relation.is_none_or(|relation| relation.holds(term.value, term.threshold.unwrap()));
    assert!(one.terms.iter().all(holds), "{:#?}", one.terms);
    assert!((2.0..10.0).contains(&term("growth_an_hour_percent").value), "{:#?}", one.terms);
    assert!(one.summary.contains("10.0.0.77 grow by"), "{}", one.summary);
}

#[test]
fn what_was_learnt_outlives_a_restart_and_what_is_odd_is_left_out() {
    let wire = days(4, |hour| 1.02_f64.powf(since(hour, 3)));
    let (before, after) = wire.parted((FROM_H + 3 * DAY_H + 7) * HOUR_NS);
    let start = || settings().behaviour(&crate::control::inventory::network::home()).expect("wanted");
    let mut first = start();
    before.show(&mut first);
    let text = serde_json::to_string(&first.snapshot()).expect("a snapshot");
    let mut second = start();
    assert!(second.restore(serde_json::from_str(&text).expect("what was written")));
    let count = |found: &[Evidence]| found.iter().filter(|one| one.detector == Detector::Growth).count();
    assert_eq!(count(&after.show(&mut second)), 1);
    assert_eq!(count(&after.show(&mut start())), 0, "without what was learnt");
    let mut growth = Growth::new(Settings::default());
    let usual = vec![Usual::default(); 48];
    for (hour, usual, rows) in [
        (u64::MAX, usual.clone(), vec![]),
        (1, vec![Usual::default(); 3], vec![]),
        (1, vec![Usual(f32::NAN, 3); 48], vec![]),
        (1, usual.clone(), vec![0.0; 25]),
    ] {
        assert!(!growth.restore(vec![Kept { address: None, hour, flows: 0, usual, rows }]));
    }
    assert!(growth.snapshot().is_empty());
}

/// Hosts by the thousand cost what the settings say.
#[test]
fn memory_is_bounded() {
    let growth = Settings { hosts: 64, ..Settings::default() };
    let settings = hosts::Settings { growth, ..hosts::Settings::default() };
    let mut behaviour = settings.behaviour(&crate::control::inventory::network::home()).expect("wanted");
    let mut wire = Wire::default();
    (0..500).for_each(|number| wire.datagrams(number * SECOND, (host(number as u32), outside(1), 9000), [1, 1]));
    wire.show(&mut behaviour);
    assert!(behaviour.snapshot().growth.len() <= 65 && behaviour.stats().forgotten > 0);
}
