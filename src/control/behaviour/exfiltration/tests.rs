//! Days of a host, and what leaves it.

use super::super::tests::{Wire, host, outside};
use super::*;

const MEGA: u64 = 1_000_000;
const BACKUP: u32 = 7;
const CLOUD: u32 = 8;

/// Hosts that have lived for so many days: by day five times as much as by night, to a place of each one's own.
fn days(days: u64) -> Wire {
    let mut wire = Wire::default();
    for hour in 0..days * 24 {
        upload(&mut wire, hour, (1, CLOUD), usual(hour), 2);
    }
    wire
}

/// Bytes of an hour.
fn usual(hour: u64) -> u64 {
    let by_day = (8..18).contains(&(hour % 24));
    let noise = 90 + hour * 7919 % 21;
    MEGA / 100 * noise * if by_day { 25 } else { 5 }
}

/// A host sends bytes at an hour to a place that sends one `back`th of it back.
fn upload(wire: &mut Wire, hour: u64, (from, to): (u32, u32), bytes: u64, back: u64) {
    let at = hour * HOUR_NS + 60 * SECOND;
    wire.flow(at, (host(from), outside(to), 443), [bytes, bytes / back.max(1)], (300 * SECOND, SECOND));
}

fn told(wire: &Wire) -> Vec<(String, u8)> {
    wire.evidence()
        .into_iter()
        .filter(|one| one.detector == Detector::Exfiltration)
        .map(|one| (one.kind, one.severity))
        .collect()
}

#[test]
fn an_upload_is_found_by_night_and_by_day_with_the_baseline_it_rests_on() {
    for at in [3, 12] {
        let mut wire = days(7);
        upload(&mut wire, 7 * 24 + at, (1, 99), 300 * MEGA, 40);
        let found: Vec<_> = wire.evidence().into_iter().filter(|one| one.detector == Detector::Exfiltration).collect();
        assert_eq!(found.len(), 1, "at {at}: {found:?}");
        let evidence = &found[0];
        assert_eq!((evidence.kind.as_str(), evidence.severity), ("unusual", 2));
        let term = |name: &str| evidence.terms.iter().find(|term| term.name == name).expect(name);
        let sent = term("sent_in_this_hour_bytes");
        let (usual, threshold) = (sent.usual.unwrap(), sent.threshold.unwrap());
        assert!(usual > 0.0 && usual < threshold && threshold < sent.value, "{sent:?}");
        assert!(term("baseline_z").value > 3.0 && term("baseline_values").value >= 3.0);
        assert!(evidence.summary.contains("this hour of the day"), "{}", evidence.summary);
    }
}

#[test]
fn what_is_usual_for_a_host_is_quiet() {
    assert_eq!(told(&days(9)), [], "a swing of five each day");
    // A backup each night: unusual until it has been learnt.
    let backups = |nights: std::ops::Range<u64>| {
        let mut wire = days(14);
        nights.for_each(|night| upload(&mut wire, night * 24 + 2, (1, BACKUP), 400 * MEGA, 1000));
        let found = wire.evidence().into_iter().filter(|one| one.detector == Detector::Exfiltration);
        found.map(|one| one.time.since(Timestamp(super::super::tests::START)) / (24 * HOUR_NS)).collect::<Vec<_>>()
    };
    assert_eq!(backups(13..14), [13], "never before");
    let nights = backups(0..14);
    assert!(nights.first() == Some(&0) && nights.iter().all(|night| *night < 3), "from the first night on: {nights:?}");
    // A download is no upload, whatever is asked for it.
    let mut wire = days(7);
    wire.flow(170 * HOUR_NS, (host(1), outside(99), 443), [40 * MEGA, 4000 * MEGA], (60 * SECOND, SECOND));
    assert_eq!(told(&wire), []);
    // Nor does a server of ours lose what it serves, or a host what it sends to another one of ours.
    let mut wire = days(7);
    wire.flow(170 * HOUR_NS, (outside(99), host(1), 443), [MEGA, 4000 * MEGA], (60 * SECOND, SECOND));
    wire.flow(170 * HOUR_NS, (host(1), host(2), 443), [4000 * MEGA, MEGA], (60 * SECOND, SECOND));
    assert_eq!(told(&wire), []);
}

#[test]
fn without_a_baseline_only_a_great_deal_to_one_place_is_told() {
    for (bytes, back, wanted) in [(90, 100, 0), (150, 100, 1), (150, 2, 0), (1000, 1000, 1)] {
        let mut wire = Wire::default();
        upload(&mut wire, 3, (1, 99), bytes * MEGA, back);
        assert_eq!(told(&wire).len(), wanted, "{bytes} MB, a {back}th back");
    }
    // In pieces, to one place and to many.
    for (places, wanted) in [(1, 1), (30, 0)] {
        let mut wire = Wire::default();
        (0..30).for_each(|piece| upload(&mut wire, 3, (1, 99 + piece % places), 5 * MEGA, 100));
        assert_eq!(told(&wire).len(), wanted, "{places} places");
    }
}

/// None of it alone: somewhat more than usual, a new place, nothing back.
#[test]
fn an_upload_within_every_limit_is_found_where_all_of_it_is_odd() {
    let case = |bytes: u64, known: bool, back: u64, split: bool| {
        let mut wire = days(7);
        if known {
            upload(&mut wire, 100, (1, 99), MEGA, 2);
        }
        let hour = 7 * 24 + 12;
        upload(&mut wire, hour, (1, 99), bytes * MEGA, back);
        if split {
            upload(&mut wire, hour, (1, 98), bytes * MEGA / 2, back);
        }
        told(&wire)
    };
    // Some 25 MB are usual at noon; with three spreads it would be 53.
    let joint = vec![("joint".to_owned(), 3)];
    assert_eq!(case(46, false, 1000, false), joint);
    for (name, found) in [
        ("as much as usual", case(27, false, 1000, false)),
        ("to a place that is known", case(46, true, 1000, false)),
        ("with an answer", case(46, false, 3, false)),
        ("to two places", case(30, false, 1000, true)),
    ] {
        assert_eq!(found, [], "{name}");
    }
}

/// Less in each hour than is usual, to a place that nobody knew.
#[test]
fn drops_to_a_new_place_are_summed_up() {
    let case = |from_hour: u64, hours: u64, bytes: u64, back: u64, others: u32| {
        let mut wire = days(7);
        for hour in from_hour..from_hour + hours {
            (1..=1 + others).for_each(|one| upload(&mut wire, hour, (one, 99), bytes, back));
        }
        told(&wire)
    };
    let found = vec![("new_place".to_owned(), 3)];
    assert_eq!(case(5 * 24, 36, MEGA / 2, 100, 0), found, "half a megabyte an hour");
    for (name, told) in [
        ("not so much", case(5 * 24, 15, MEGA / 2, 100, 0)),
        ("a backup that was there on the first day", case(2, 150, MEGA / 2, 100, 0)),
        ("with an answer", case(5 * 24, 36, MEGA / 2, 4, 0)),
        ("a place that several have", case(5 * 24, 36, MEGA / 2, 100, 3)),
    ] {
        assert_eq!(told, [], "{name}");
    }
}

#[test]
fn baselines_outlive_a_restart() {
    let settings = crate::control::hosts::Settings::default();
    let home = crate::control::inventory::network::home();
    let mut first = settings.behaviour(&home).expect("wanted");
    days(7).show(&mut first);
    let written = serde_json::to_string(&first.snapshot()).expect("serialisable");
    let mut again = settings.behaviour(&home).expect("wanted");
    assert!(again.restore(serde_json::from_str(&written).expect("what was written")));
    let mut wire = Wire::default();
    upload(&mut wire, 7 * 24 + 3, (1, 99), 300 * MEGA, 40);
    assert_eq!(wire.show(&mut again).iter().map(|one| one.kind.as_str()).collect::<Vec<_>>(), ["unusual"]);
    // One that was not told of the days before has no baseline.
    assert_eq!(told(&wire), [("volume".to_owned(), 3)]);
}

/// Days of twelve hosts that all go to a place of the network's, and to one of each one's own.
fn office(days: u64) -> Wire {
    let mut wire = Wire::default();
    for hour in 0..days * 24 {
        for one in 1..=12 {
            upload(&mut wire, hour, (one, 200 + one), usual(hour), 2);
            upload(&mut wire, hour, (one, CLOUD), MEGA / 2, 2);
        }
    }
    wire
}

#[test]
fn what_many_upload_to_is_told_of_nobody_but_who_sends_far_more() {
    // All of them send their pictures within an hour, one after the other.
    let mut wire = office(5);
    for one in 1..=12 {
        (0..30).for_each(|_| upload(&mut wire, 5 * 24 + 3, (one, CLOUD), 6 * MEGA, 50));
    }
    assert_eq!(told(&wire), [], "all of them");
    let mut wire = office(5);
    (0..40).for_each(|_| upload(&mut wire, 5 * 24 + 3, (4, CLOUD), 50 * MEGA, 50));
    let found = told(&wire);
    assert_eq!(found.first(), Some(&("popular_place".to_owned(), 3)), "one alone: {found:?}");
    // From a first day on: everybody's backup of two hours, to a place that nobody went to before.
    let mut wire = Wire::default();
    for hour in 0..2 {
        for piece in 0..20 {
            (1..=12).for_each(|one| {
                let at = hour * HOUR_NS + piece * 60 * SECOND;
                wire.flow(at, (host(one), outside(CLOUD), 443), [8 * MEGA, MEGA / 10], (30 * SECOND, SECOND));
            });
        }
    }
    assert_eq!(told(&wire), [], "from the first day on");
}

/// No hour of it is unusual, and the place is known.
#[test]
fn a_drip_is_found_within_a_day_or_a_week() {
    let drip = |hours: std::ops::Range<u64>, bytes: u64, from: u64, back: u64| {
        let mut wire = days(9);
        // Somebody else goes there too, so that it is no new place.
        (0..9 * 24).for_each(|hour| (2..4).for_each(|one| upload(&mut wire, hour, (one, 99), 10_000, 2)));
        hours.filter(|hour| *hour >= from).for_each(|hour| upload(&mut wire, hour, (1, 99), bytes, back));
        told(&wire).into_iter().filter(|(kind, _)| kind == "drip").count()
    };
    // And once more at four times as much.
    assert_eq!(drip(5 * 24..8 * 24, 19 * MEGA, 0, 100), 2, "19 MB an hour");
    assert_eq!(drip(4 * 24..9 * 24, 4 * MEGA, 0, 100), 1, "4 MB an hour");
    for (case, found) in [
        ("since the first day", drip(0..9 * 24, 19 * MEGA, 0, 100)),
        ("with an answer", drip(5 * 24..8 * 24, 19 * MEGA, 0, 1)),
        ("hardly any", drip(5 * 24..8 * 24, MEGA / 2, 0, 100)),
    ] {
        assert_eq!(found, 0, "{case}");
    }
}
