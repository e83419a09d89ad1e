//! Streams of alerts: their places, and readers that leave or fall behind.

use super::Bed;
use super::http_client::Events;

/// A client whose filter lets nothing through still learns its place, and resumes near the end.
#[test]
fn a_stream_names_its_place_while_nothing_passes_the_filter() {
    let bed = Bed::new();
    let mut events = Events::open(bed.address(), "/v1/alerts/stream?severity=1&detector=model", &[]);
    events.next().expect("the stream is open");
    bed.add_and_wait(0..20);
    let named = loop {
        let event = events.next().expect("the stream goes on");
        assert!(event.name.is_empty() && event.data.is_empty(), "{event:?}");
        if !event.id.is_empty() {
            break event.id;
        }
    };
    let page = bed.client().get(&format!("/v1/alerts?after={named}")).json();
    assert!(page["items"].as_array().unwrap().len() < 20, "{page}");
}

#[test]
fn a_stream_that_is_cut_and_resumed_loses_nothing() {
    let bed = Bed::new();
    let mut seen = Vec::new();
    let mut last = String::new();
    let mut added = 0;
    for round in 0..12 {
        let headers: Vec<_> = [("last-event-id", last.as_str())].into_iter().filter(|_| round > 0).collect();
        let mut events = Events::open(bed.address(), "/v1/alerts/stream", &headers);
        if round == 0 {
            // The stream is open once its first comment is here; from then on nothing may be missed.
            assert_eq!(events.next().unwrap().comment, "alerts");
        }
        bed.add(added..added + 40);
        added += 40;
        for _ in 0..25 {
            let event = events.next_alert().unwrap();
            let item: serde_json::Value = serde_json::from_str(&event.data).unwrap();
            seen.push(item["sequence"].as_u64().unwrap());
            last = event.id;
        }
        // Dropped with alerts on their way.
    }
    let mut events = Events::open(bed.address(), "/v1/alerts/stream", &[("last-event-id", last.as_str())]);
    while seen.len() < added as usize {
        let item: serde_json::Value = serde_json::from_str(&events.next_alert().unwrap().data).unwrap();
        seen.push(item["sequence"].as_u64().unwrap());
    }
    assert_eq!(seen, (1..=added).collect::<Vec<_>>());
    while events.next().unwrap().comment != "still here" {}
}

#[test]
fn a_reader_that_falls_behind_is_told_and_still_gets_everything() {
    const FLOOD: u64 = 12_000;
    let bed = Bed::with(|_, store| store.queue_capacity = 20_000);
    let mut events = Events::open(bed.address(), "/v1/alerts/stream", &[]);
    events.next().unwrap();
    bed.add_and_wait(0..1);
    events.next_alert().unwrap();
    // Not read meanwhile: the sockets fill, the store is the buffer.
    bed.add_and_wait(1..FLOOD);
    let (mut sequences, mut told) = (vec![1], 0);
    while sequences.len() < FLOOD as usize {
        let event = events.next().unwrap();
        match event.name.as_str() {
            "alert" => {
                let item: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                sequences.push(item["sequence"].as_u64().unwrap());
            }
            "lagged" => {
                told += 1;
                assert_eq!(serde_json::from_str::<serde_json::Value>(&event.data).unwrap()["lost"], 0);
            }
            _ => {}
        }
    }
    assert!(sequences.iter().copied().eq(1..=FLOOD));
    assert!(told >= 1, "12 000 alerts do not fit the sockets");
}
