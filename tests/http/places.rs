//! Connections beyond those that have a place.

use super::http_client::Events;
use super::{Bed, is_problem};

#[test]
fn connections_beyond_the_limit_are_told_so_and_places_come_back() {
    let bed = Bed::with(|settings, _| settings.connections = 3);
    let mut kept: Vec<_> = (0..3).map(|_| bed.client()).collect();
    for client in &mut kept {
        assert_eq!(client.get("/health/live").status, 200);
    }
    // It has not said what it wants.
    let mut fourth = bed.client();
    let refused = fourth.read(false).unwrap();
    is_problem(&refused, 503, "too-many-connections");
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop(kept);
    // The places are free when the server has seen the ends; until then it may refuse.
    loop {
        let mut client = bed.client();
        client.write("GET", "/v1/status", &[], "");
        if client.read(false).is_some_and(|answer| answer.status == 200) {
            break;
        }
        std::thread::yield_now();
    }
}

/// As shipped, one address has many clients: on the sensor itself, where it listens, every client is 127.0.0.1.
#[test]
fn clients_of_this_machine_share_all_places() {
    let bed = Bed::new();
    let streams: Vec<_> = (0..150).map(|_| Events::open(bed.address(), "/v1/alerts/stream", &[])).collect();
    for path in ["/", "/v1/status", "/health/live", "/health/ready", "/metrics"] {
        assert_eq!(bed.client().get(path).status, 200, "{path}");
    }
    drop(streams);
}

/// Whoever looks after the program is answered also when there is no place left, once and with an end.
#[test]
fn health_and_metrics_are_answered_when_every_place_is_taken() {
    let bed = Bed::with(|settings, _| settings.connections = 4);
    let mut streams: Vec<_> = (0..4).map(|_| Events::open(bed.address(), "/v1/alerts/stream", &[])).collect();
    for _ in 0..20 {
        for path in ["/health/live", "/health/ready", "/metrics"] {
            let answer = bed.client().get(path);
            assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{path}");
        }
        for path in ["/", "/v1/status", "/v1/alerts/stream"] {
            let refused = bed.client().get(path);
            is_problem(&refused, 503, "too-many-connections");
            assert_eq!((refused.header("retry-after"), refused.header("connection")), (Some("1"), Some("close")));
        }
    }
    assert_eq!(streams[0].next().unwrap().comment, "alerts", "nobody lost his place for it");
    let metrics = bed.client().get("/metrics");
    for line in ["shrike_http_refused_total 60", "shrike_http_connections 4"] {
        assert!(metrics.text().lines().any(|found| found == line), "{line}: {}", metrics.text());
    }
}

/// Told while none of the others has read its answer or gone, and whether it has asked or not: at once, but for the few
/// that might ask how the program is and have not yet.
#[test]
fn every_connection_beyond_the_limit_is_told_so_however_many_come_at_once() {
    const REFUSED: usize = 300;
    let bed = Bed::with(|settings, _| settings.connections = 1);
    let mut kept = bed.client();
    assert_eq!(kept.get("/health/live").status, 200);
    let mut clients: Vec<_> = (0..REFUSED).map(|_| bed.client()).collect();
    for client in clients.iter_mut().step_by(2) {
        client.write("GET", "/v1/status", &[], "");
    }
    for client in &mut clients {
        let refused = client.read(false).expect("an answer, not a closed connection");
        is_problem(&refused, 503, "too-many-connections");
        assert_eq!((refused.header("retry-after"), refused.header("connection")), (Some("1"), Some("close")));
    }
    let metrics = kept.get("/metrics");
    for (name, value) in [("refused", REFUSED), ("refused_untold", 0)] {
        let line = format!("shrike_http_{name}_total {value}");
        assert!(metrics.text().lines().any(|found| found == line), "{line}: {}", metrics.text());
    }
}
