//! The store from outside, over a file of its own.

use super::*;
use crate::dataplane::detect::{Detector, Evidence, Term, fixtures};

/// An alert with no more than a name and a severity.
pub(crate) fn alert(id: &str, severity: u8) -> Alert {
    Alert {
        id: id.to_owned(),
        occurrences: 1,
        first_seen: Timestamp(1_000),
        evidence: Evidence {
            severity,
            confidence: 0.5,
            summary: "a \"summary\" with <b>markup</b>".into(),
            terms: vec![Term { name: "ports".into(), value: 9.0, threshold: Some(5.0), ..Term::default() }],
            ..fixtures::evidence(
                if severity == 1 { Detector::Flood } else { Detector::Scan },
                "vertical",
                Timestamp(1_000 * u64::from(severity)),
            )
        },
    }
}

fn filled(count: usize, retain: u64) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Settings { retain, ..Settings::at(folder.path().join("alerts.db")) }).unwrap();
    store.append((0..count).map(|index| alert(&format!("a{index}"), 1 + (index % 4) as u8)).collect());
    assert!(store.flush(Duration::from_secs(60)));
    (folder, store)
}

fn walk(store: &Store, filter: &Filter, limit: usize) -> Vec<u64> {
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.after(cursor, filter, limit).unwrap();
        assert!(page.items.len() <= limit);
        seen.extend(page.items.iter().map(|row| row.sequence));
        cursor = Some(page.next);
        if !page.has_more {
            return seen;
        }
    }
}

#[test]
fn pages_from_file_and_memory_give_each_alert_once_in_order() {
    let (_folder, store) = filled(RECENT_ROWS + 700, 1_000_000);
    for limit in [1_000, 333] {
        assert_eq!(walk(&store, &Filter::default(), limit), (1..=RECENT_ROWS as u64 + 700).collect::<Vec<_>>());
    }
    let high = Filter { severity: Some(2), ..Filter::default() };
    let expected: Vec<_> = (1..=RECENT_ROWS as u64 + 700).filter(|sequence| (sequence - 1) % 4 < 2).collect();
    assert_eq!(walk(&store, &high, 100), expected);
    let flood = Filter { detector: Some(Detector::Flood), ..Filter::default() };
    assert_eq!(walk(&store, &flood, 1_000).len(), (RECENT_ROWS + 700) / 4);
    assert_eq!(store.newest(&flood, 3).unwrap().items.len(), 3);
    assert_eq!(store.newest(&Filter::default(), 9_999).unwrap().items.len(), RECENT_ROWS + 700);
    let since = Filter { since: Some(Timestamp(4_000)), ..Filter::default() };
    assert_eq!(walk(&store, &since, 1_000).len(), (RECENT_ROWS + 700) / 4);
}

/// Repeats do not push other alerts out, whether the rows lie in memory or in the file.
#[test]
fn of_each_alert_the_newest_row_is_to_be_had() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Settings::at(folder.path().join("alerts.db"))).unwrap();
    let add = |id: &str, occurrences: u64| {
        let mut one = alert(id, 2);
        one.occurrences = occurrences;
        one
    };
    store.append(vec![add("a", 1), add("b", 1)]);
    store.append((2..=3).map(|repeat| add("a", 10_u64.pow(repeat))).collect());
    assert!(store.flush(Duration::from_secs(60)));
    let told = |count| {
        let page = store.newest_of_each(&Filter::default(), count).unwrap();
        page.items.iter().map(|row| (row.id.clone(), row.alert().unwrap().occurrences)).collect::<Vec<_>>()
    };
    assert_eq!(told(5), [("b".to_owned(), 1), ("a".to_owned(), 1000)]);
    assert_eq!(told(1), [("a".to_owned(), 1000)]);
    // More rows of one alert than memory holds: the file answers.
    store.append((0..RECENT_ROWS as u64).map(|number| add("c", number + 1)).collect());
    assert!(store.flush(Duration::from_secs(60)));
    let ids: Vec<_> = told(5).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["b", "a", "c"]);
}

#[test]
fn a_place_that_retention_overtook_or_of_another_store_is_expired() {
    let (_folder, store) = filled(600, 100);
    let end = store.end();
    let at = |sequence| store.after(Some(Cursor { sequence, ..end }), &Filter::default(), 10);
    assert!(matches!(at(end.sequence + 1), Err(ReadError::Expired)));
    assert!(at(end.sequence).unwrap().items.is_empty());
    let floor = end.sequence - store.status().alerts;
    assert!(floor > 0);
    assert!(matches!(at(floor - 1), Err(ReadError::Expired)));
    assert_eq!(at(floor).unwrap().items[0].sequence, floor + 1);
    let other = Cursor { epoch: end.epoch ^ 1, ..end };
    assert!(matches!(store.after(Some(other), &Filter::default(), 1), Err(ReadError::Expired)));
}

#[test]
fn what_is_served_is_the_alert_with_its_place_and_time() {
    let (_folder, store) = filled(1, 100);
    let row = Arc::clone(&store.find("a0").unwrap()[0]);
    assert_eq!(row.alert().unwrap(), alert("a0", 1));
    let json: serde_json::Value = serde_json::from_str(&row.to_json()).unwrap();
    assert_eq!(json["sequence"], 1);
    assert_eq!(json["timestamp"], "1970-01-01T00:00:00.000001Z");
    assert_eq!(json["terms"][0]["threshold"], 5.0);
    assert_eq!(serde_json::from_value::<Alert>(json).unwrap(), alert("a0", 1));
    assert!(store.find("none").unwrap().is_empty());
}

#[test]
fn a_second_process_is_refused_and_a_full_queue_is_seen() {
    let (folder, store) = filled(1, 100);
    let path = folder.path().join("alerts.db");
    assert!(matches!(Store::open(Settings::at(&path)), Err(StoreError::Locked { .. })));
    drop(store);
    let store = Store::open(Settings { queue_capacity: 5, ..Settings::at(&path) }).unwrap();
    // One call is one lock: the writer cannot take any before all twenty are in.
    store.append((0..20).map(|index| alert(&format!("b{index}"), 1)).collect());
    assert!(store.flush(Duration::from_secs(60)));
    let status = store.status();
    assert_eq!((status.accepted, status.written, status.shed, status.alerts), (20, 5, 15, 6));
    assert_eq!(store.find("b19").unwrap().len(), 1);
}

#[test]
fn latency_is_recorded_from_evidence_to_commit_where_there_is_a_clock() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let settings = Settings { clock: Some(clock.clone()), ..Settings::at(folder.path().join("alerts.db")) };
    let store = Store::open(settings).unwrap();
    let mut fresh = alert("a", 1);
    fresh.evidence.time = clock.now();
    store.append(vec![fresh]);
    assert!(store.flush(Duration::from_secs(60)));
    assert_eq!(store.alert_latency().all().len(), 1);
}
