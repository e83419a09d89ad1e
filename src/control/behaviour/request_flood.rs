//! Floods of whole requests: one client that asks a web server for more than it serves others. Handshakes are complete, so to the
//! counts of packets it is a busy client.
//!
//! Per client and server and second: requests of HTTP where they are read, connections where they are inside TLS. CUSUM as of other
//! floods (Siris and Papagalou, Globecom 2004): `S = max(0, S + x - mean - slack)`, told where `S > limit`; the mean stands still
//! meanwhile, and for five minutes: what goes on that long has been told, and is a proxy before its server.
//!
//! Not seen: requests inside connections of TLS that are kept open; floods of very many clients of which each asks little. Inspection
//! tells at most some hundred requests of a client a second, so rates beyond are told as at least that.

use super::observation::{Flow, Observation, Visit};
use crate::dataplane::decode::Endpoint;
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::dataplane::inspect::Protocol;
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Requests, or connections of TLS, a second of one client to one server that are usual.
    pub slack: f64,
    /// How many beyond that, and beyond its mean, are told.
    pub limit: f64,
    /// Clients and servers remembered, some 150 bytes each.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { slack: 60.0, limit: 700.0, pairs: 1 << 13 }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<(u128, u128, u16), Pair>(self.pairs)
    }
}

/// Weight of a second in the mean.
const WEIGHT: f64 = 0.02;
/// After so long above the limit it is what is usual.
const USUAL_NS: u64 = 300 * SECOND;
/// The sum is cut at so many limits, so that it ends soon after its flood.
const CAP: f64 = 3.0;

/// A client at a server.
struct Pair {
    /// The present second, and what came in it.
    second: u64,
    count: f64,
    level: f64,
    mean: f64,
    /// Since when it is told; it is told once, until it is over.
    alarm: Option<Timestamp>,
    all: f64,
    highest: f64,
    touched: Timestamp,
}

impl Touched for Pair {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Pair {
    fn new(now: Timestamp) -> Pair {
        let second = now.0 / SECOND;
        Pair { second, count: 0.0, level: 0.0, mean: 0.0, alarm: None, all: 0.0, highest: 0.0, touched: now }
    }

    /// The present second is over: its count, and those of the empty ones behind it.
    fn pass(&mut self, second: u64, now: Timestamp, settings: &Settings) {
        let quiet = second.saturating_sub(self.second + 1) as f64;
        self.highest = self.highest.max(self.count);
        let is_over = self.level + self.count - self.mean - settings.slack;
        self.level = is_over.clamp(0.0, settings.limit * CAP);
        let is_long = self.alarm.is_some_and(|since| now.since(since) >= USUAL_NS);
        if self.level <= settings.limit || is_long {
            self.mean += WEIGHT * (self.count - self.mean);
        }
        self.level = (self.level - quiet * (self.mean + settings.slack)).max(0.0);
        self.mean *= (1.0 - WEIGHT).powf(quiet);
        if self.level == 0.0 {
            (self.alarm, self.all, self.highest) = (None, 0.0, 0.0);
        }
        (self.second, self.count) = (second, 0.0);
    }
}

/// The detector.
pub struct RequestFlood {
    settings: Settings,
    pairs: ColdMap<(u128, u128, u16), Pair>,
}

impl RequestFlood {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> RequestFlood {
        RequestFlood { pairs: ColdMap::new(settings.pairs), settings }
    }

    /// Pairs forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.pairs.forgotten()
    }

    /// A request.
    pub fn visit(&mut self, seen: &Observation, visit: &Visit, out: &mut Vec<Evidence>) {
        self.count(seen, (visit.client, visit.server), "requests", out);
    }

    /// A connection.
    pub fn flow(&mut self, seen: &Observation, flow: &Flow, out: &mut Vec<Evidence>) {
        if flow.is_new && flow.protocol == 6 && flow.application == Protocol::Tls {
            self.count(seen, (flow.client, flow.server), "connections", out);
        }
    }

    fn count(&mut self, seen: &Observation, ends: (Endpoint, Endpoint), what: &str, out: &mut Vec<Evidence>) {
        let (settings, now) = (self.settings, seen.told);
        let (client, server) = ends;
        let pair = self.pairs.entry((client.address, server.address, server.port), || Pair::new(now));
        pair.touched = pair.touched.max(now);
        let second = now.0 / SECOND;
        if second > pair.second {
            pair.pass(second, now, &settings);
        }
        (pair.count, pair.all) = (pair.count + 1.0, pair.all + 1.0);
        // At once, within the second in which it is too much.
        let level = pair.level + pair.count - pair.mean - settings.slack;
        if level > settings.limit && pair.alarm.is_none() {
            pair.alarm = Some(now);
            out.push(evidence(seen, ends, what, pair, level, &settings));
        }
    }
}

fn evidence(
    seen: &Observation,
    (client, server): (Endpoint, Endpoint),
    what: &str,
    pair: &Pair,
    level: f64,
    settings: &Settings,
) -> Evidence {
    let rate = pair.highest.max(pair.count);
    let (from, to, port) = (client.ip(), server.ip(), server.port);
    Evidence {
        severity: 2,
        confidence: 0.7,
        source: Some(from),
        target: Some(to),
        port: Some(port),
        summary: format!(
            "{from} floods the web server {to} port {port}: {:.0} {what} since it began, up to {rate:.0} and more a second, {:.0} are \
             usual",
            pair.all, pair.mean
        ),
        terms: vec![
            Term { usual: Some(pair.mean), ..Term::exact(format!("{what}_per_second"), rate) }
                .against(Relation::Above, settings.slack),
            Term::exact(format!("cusum_{what}"), level).against(Relation::Above, settings.limit),
            Term::exact(format!("{what}_since_start"), pair.all),
        ],
        technique: Some("T1499.002".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::Flood, "http")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Wire, host, outside};
    use super::*;
    use crate::dataplane::inspect::http;

    fn found(wire: &Wire) -> Vec<String> {
        let floods = wire.evidence().into_iter().filter(|one| one.detector == Detector::Flood);
        floods.map(|one| one.kind).collect()
    }

    /// `rate` requests a second of one client for each of these spans of seconds.
    fn requests(rate: u64, spans: &[(u64, u64)]) -> Wire {
        let mut wire = Wire::default();
        for second in spans.iter().flat_map(|(from, to)| *from..*to) {
            for turn in 0..rate {
                let at = second * SECOND + turn * SECOND / rate;
                wire.event(at, (outside(1), host(80), 80), (Protocol::Http, 6), |facts| {
                    facts.put(http::URL, b"/page");
                    facts.put_number(http::STATUS, 200);
                });
            }
        }
        wire
    }

    #[test]
    fn floods_of_requests_are_told_once_while_they_last() {
        assert_eq!(found(&requests(300, &[(0, 6)])), ["http"]);
        assert_eq!(found(&requests(500, &[(0, 20)])), ["http"]);
        // Over, and again.
        assert_eq!(found(&requests(500, &[(0, 5), (100, 105)])), ["http", "http"]);
        // In TLS connections are all that is seen.
        let mut wire = Wire::default();
        for turn in 0..2000 {
            wire.flow(turn * SECOND / 400, (outside(1), host(80), 443), [400, 900], (SECOND / 50, 0));
        }
        assert_eq!(found(&wire), ["http"]);
    }

    #[test]
    fn busy_clients_are_no_floods() {
        for (what, wire) in [
            ("a page with very many parts", requests(300, &[(0, 1)])),
            ("a short test of load", requests(500, &[(0, 1), (60, 61)])),
            ("a client that is always busy", requests(50, &[(0, 60)])),
        ] {
            assert_eq!(found(&wire), [] as [&str; 0], "{what}");
        }
        // A proxy before its server is told once, then it is usual.
        assert_eq!(found(&requests(120, &[(0, 1200)])), ["http"]);
    }
}
