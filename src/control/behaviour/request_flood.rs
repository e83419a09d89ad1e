//! Floods of whole requests: one client that asks a web server for more than it serves others. Handshakes are complete, so to the
//! counts of packets it is a busy client.
//!
//! Per client and server and second: requests of HTTP where they are read, connections where they are inside TLS. CUSUM as of other
//! floods (Siris and Papagalou, Globecom 2004): `S = max(0, S + x - mean - slack)`, told where `S > limit`; the mean stands still
//! meanwhile, and for five minutes: what goes on that long has been told, and is a proxy before its server.
//!
//! Who passes on what others ask (a proxy, an address that many share, the front of an application) asks for many things and gets
//! answers of many sizes; tools that flood ask for one or a few. So the latest requests are held against each other, by path and
//! query, or by the size of the answer inside TLS: where more than a quarter differ, five times as much is usual.
//!
//! And many short connections of one client at the same time, whatever is inside, with the same exception.
//!
//! Not seen: below five times the thresholds, floods that make each request another (random queries); requests inside few
//! connections of TLS that are kept open; floods of very many clients of which each asks little. Inspection
//! tells at most some hundred requests of a client a second, so rates beyond are told as at least that.

use super::count::{hash, rounded};
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
    /// How many beyond that, and beyond its mean, are told where it lasts three seconds.
    pub limit: f64,
    /// Share of the latest requests that differ, from which it is many who ask: five times as much of all is usual then.
    pub variety: f64,
    /// Short connections of one client to one server at the same time, over ten seconds. A browser has six (RFC 9112 section 9.4 leaves
    /// the number to clients).
    pub at_once: f64,
    /// Clients and servers remembered, some 700 bytes each.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { slack: 60.0, limit: 300.0, variety: 0.25, at_once: 25.0, pairs: 1 << 13 }
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
/// What is over sooner hurts nobody: a page with its parts, a short test.
const LASTS_NS: u64 = 3 * SECOND;
/// Connections are a crowd within so long.
const CROWD_NS: u64 = 10 * SECOND;
/// Who keeps connections for what may come keeps them for longer than this (nginx 60 s, HAProxy 60 s, Apache 5 s of silence).
const SHORT_NS: u64 = 20 * SECOND;
/// Connections of a crowd.
const CROWD: u64 = 50;
/// The sum is cut at so many limits, so that it ends soon after its flood.
const CAP: f64 = 3.0;

/// Of many who ask so many times as much is usual.
const MANY: f64 = 5.0;
/// Requests that are held against each other.
const LATEST: usize = 64;
/// Fewer tell nothing.
const LATEST_MIN: usize = 32;
/// Answers of one page differ by as much: dates, session identifiers.
const SAME_BYTES: u64 = 32;

/// What was asked for lately, by hashes.
struct Latest {
    hashes: [u32; LATEST],
    count: usize,
}

impl Latest {
    fn new() -> Latest {
        Latest { hashes: [0; LATEST], count: 0 }
    }

    fn put(&mut self, what: u64) {
        if let Some(place) = self.hashes.get_mut(self.count % LATEST) {
            *place = (what ^ what >> 32) as u32;
        }
        self.count = self.count.saturating_add(1);
    }

    /// Share of them that differ.
    fn variety(&self) -> f64 {
        let held = self.count.min(LATEST);
        let mut all: Vec<u32> = self.hashes.iter().take(held).copied().collect();
        all.sort_unstable();
        all.dedup();
        if held < LATEST_MIN { 0.0 } else { all.len() as f64 / held as f64 }
    }
}

/// A client at a server.
struct Pair {
    asked: Latest,
    /// Of the present second; 1, or [`MANY`].
    factor: f64,
    /// The same of connections.
    answered: Latest,
    /// The present second, and what came in it.
    second: u64,
    count: f64,
    level: f64,
    mean: f64,
    /// When the sum began to rise.
    rising: Timestamp,
    /// Connections that ended within these ten seconds, and what they lasted together.
    crowd_since: Timestamp,
    crowd: u64,
    crowd_ns: u64,
    crowd_told: Option<Timestamp>,
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
        Pair {
            asked: Latest::new(),
            factor: 1.0,
            answered: Latest::new(),
            second,
            count: 0.0,
            level: 0.0,
            mean: 0.0,
            rising: now,
            crowd_since: now,
            crowd: 0,
            crowd_ns: 0,
            crowd_told: None,
            alarm: None,
            all: 0.0,
            highest: 0.0,
            touched: now,
        }
    }

    /// The present second is over: its count, and those of the empty ones behind it.
    fn pass(&mut self, second: u64, now: Timestamp, settings: &Settings) {
        let quiet = second.saturating_sub(self.second + 1) as f64;
        self.highest = self.highest.max(self.count);
        let (slack, limit) = self.thresholds(settings);
        let is_over = self.level + self.count - self.mean - slack;
        self.level = is_over.clamp(0.0, limit * CAP);
        let is_long = self.alarm.is_some_and(|since| now.since(since) >= USUAL_NS);
        if self.level <= limit || is_long {
            self.mean += WEIGHT * (self.count - self.mean);
        }
        self.level = (self.level - quiet * (self.mean + slack)).max(0.0);
        self.mean *= (1.0 - WEIGHT).powf(quiet);
        if self.level == 0.0 {
            (self.alarm, self.all, self.highest, self.rising) = (None, 0.0, 0.0, now);
        }
        (self.second, self.count) = (second, 0.0);
        self.factor = if self.asked.variety() > settings.variety { MANY } else { 1.0 };
    }

    /// What is usual of such a client, and how much beyond is too much.
    fn thresholds(&self, settings: &Settings) -> (f64, f64) {
        (settings.slack * self.factor, settings.limit * self.factor)
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

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Pairs forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.pairs.forgotten()
    }

    /// A request.
    pub fn visit(&mut self, seen: &Observation, visit: &Visit, out: &mut Vec<Evidence>) {
        self.count(seen, (visit.client, visit.server), ("requests", visit.target), out);
    }

    /// A connection.
    pub fn flow(&mut self, seen: &Observation, flow: &Flow, out: &mut Vec<Evidence>) {
        let is_web = matches!(flow.application, Protocol::Tls | Protocol::Http | Protocol::Http2);
        if !flow.is_new || flow.protocol != 6 || !is_web {
            return;
        }
        if flow.application == Protocol::Tls {
            let [_, answered] = flow.payload;
            self.count(seen, (flow.client, flow.server), ("connections", hash(answered / SAME_BYTES)), out);
        }
        let [_, answered] = flow.payload;
        if answered > 0 && flow.length_ns < SHORT_NS {
            self.crowd(seen, flow, out);
        }
    }

    /// Many connections at once, whatever is asked in them: their lengths together are as many times the time that passed as
    /// were open (Little's law).
    fn crowd(&mut self, seen: &Observation, flow: &Flow, out: &mut Vec<Evidence>) {
        let (settings, now) = (self.settings, seen.time);
        let (client, server) = (flow.client, flow.server);
        let pair = self.pairs.entry((client.address, server.address, server.port), || Pair::new(now));
        pair.touched = pair.touched.max(now);
        if now.since(pair.crowd_since) >= CROWD_NS {
            (pair.crowd_since, pair.crowd, pair.crowd_ns) = (now, 0, 0);
        }
        pair.crowd += 1;
        let [_, answered] = flow.payload;
        pair.answered.put(hash(answered / SAME_BYTES));
        pair.crowd_ns += flow.length_ns.min(CROWD_NS);
        let at_once = pair.crowd_ns as f64 / CROWD_NS as f64;
        let is_due = pair.crowd_told.is_none_or(|at| now.since(at) >= CROWD_NS);
        if pair.crowd < CROWD || at_once < settings.at_once || !is_due {
            return;
        }
        let variety = pair.answered.variety();
        let least = settings.at_once * if variety > settings.variety { MANY } else { 1.0 };
        if at_once >= least {
            pair.crowd_told = Some(now);
            let (from, to, port) = (client.ip(), server.ip(), server.port);
            out.push(Evidence {
                severity: 3,
                summary: format!(
                    "{from} floods the web server {to} port {port}: {} short connections within ten seconds, some {at_once:.0} of \
                     them at any time",
                    pair.crowd
                ),
                terms: vec![
                    Term::exact("connections_at_once", at_once.round()).against(Relation::AtLeast, least),
                    Term::exact("share_of_answers_that_differ", rounded(variety)),
                    Term::exact("connections_in_ten_seconds", pair.crowd as f64)
                        .against(Relation::AtLeast, CROWD as f64),
                ],
                ..of_pair(seen, (client, server))
            });
        }
    }

    fn count(
        &mut self,
        seen: &Observation,
        ends: (Endpoint, Endpoint),
        (what, of): (&str, u64),
        out: &mut Vec<Evidence>,
    ) {
        let (settings, now) = (self.settings, seen.told);
        let (client, server) = ends;
        let pair = self.pairs.entry((client.address, server.address, server.port), || Pair::new(now));
        pair.touched = pair.touched.max(now);
        let second = now.0 / SECOND;
        if second > pair.second {
            pair.pass(second, now, &settings);
        }
        (pair.count, pair.all) = (pair.count + 1.0, pair.all + 1.0);
        pair.asked.put(of);
        // At once, within the second in which it is too much.
        let (slack, limit) = pair.thresholds(&settings);
        let level = pair.level + pair.count - pair.mean - slack;
        if level > limit && pair.alarm.is_none() && now.since(pair.rising) >= LASTS_NS {
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
    let (slack, limit) = pair.thresholds(settings);
    let (from, to, port) = (client.ip(), server.ip(), server.port);
    Evidence {
        summary: format!(
            "{from} floods the web server {to} port {port}: {:.0} {what} since it began, up to {rate:.0} and more a second, {:.0} are \
             usual",
            pair.all, pair.mean
        ),
        terms: vec![
            Term { usual: Some(pair.mean), ..Term::exact(format!("{what}_per_second"), rate) }
                .against(Relation::Above, slack),
            Term::exact(format!("cusum_{what}"), level).against(Relation::Above, limit),
            Term::exact("share_of_requests_that_differ", rounded(pair.asked.variety())),
            Term::exact(format!("{what}_since_start"), pair.all),
        ],
        ..of_pair(seen, (client, server))
    }
}

fn of_pair(seen: &Observation, (client, server): (Endpoint, Endpoint)) -> Evidence {
    Evidence {
        severity: 2,
        confidence: 0.7,
        source: Some(client.ip()),
        target: Some(server.ip()),
        port: Some(server.port),
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
        requests_of(rate, spans, |_| 0)
    }

    /// The same, of which each is for a page of this number.
    fn requests_of(rate: u64, spans: &[(u64, u64)], page: fn(u64) -> u64) -> Wire {
        let mut wire = Wire::default();
        for second in spans.iter().flat_map(|(from, to)| *from..*to) {
            for turn in 0..rate {
                let at = second * SECOND + turn * SECOND / rate;
                wire.event(at, (outside(1), host(80), 80), (Protocol::Http, 6), |facts| {
                    facts.put(http::URL, format!("/page?{}", page(second * rate + turn)).as_bytes());
                    facts.put_number(http::STATUS, 200);
                });
            }
        }
        wire
    }

    #[test]
    fn floods_of_requests_are_told_once_while_they_last() {
        assert_eq!(found(&requests(300, &[(0, 6)])), ["http"]);
        assert_eq!(found(&requests(110, &[(0, 10)])), ["http"], "a hundred and more a second, for seconds");
        assert_eq!(found(&requests_of(300, &[(0, 6)], |number| number % 9)), ["http"], "of a list of pages");
        assert_eq!(found(&requests_of(1000, &[(0, 6)], |number| number)), ["http"], "each another, very many");
        assert_eq!(found(&requests(500, &[(0, 20)])), ["http"]);
        // Over, and again.
        assert_eq!(found(&requests(500, &[(0, 5), (100, 105)])), ["http", "http"]);
        // Sixty at once, that are kept for seconds.
        let mut wire = Wire::default();
        for turn in 0..60 {
            wire.flow(turn * SECOND / 200, (outside(1), host(80), 443), [40_000, 90_000], (7 * SECOND, 0));
        }
        assert_eq!(found(&wire), ["http"]);
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
            ("a proxy of hundreds of users", requests_of(250, &[(0, 60)], |number| number * number % 997)),
            ("a browser with a page of a hundred parts, again and again", {
                requests_of(100, &[(0, 1), (3, 4), (6, 7), (9, 10)], |number| number % 100)
            }),
        ] {
            assert_eq!(found(&wire), [] as [&str; 0], "{what}");
        }
        for (what, count, length, bytes) in [
            ("a browser with its pages", 120, SECOND, [900, 90_000]),
            ("a test of load by few", 300, SECOND / 20, [900, 900]),
            ("a proxy that closes what it kept", 200, 60 * SECOND, [900, 90_000]),
            ("connections that nobody answered", 200, 8 * SECOND, [900, 0]),
        ] {
            let mut wire = Wire::default();
            for turn in 0..count {
                wire.flow(turn * SECOND / 20, (outside(1), host(80), 443), bytes, (length, 0));
            }
            assert_eq!(found(&wire), [] as [&str; 0], "{what}");
        }
        // An address that many share: each gets something else.
        let mut wire = Wire::default();
        for turn in 0..2000 {
            let bytes = [900, 2000 + turn * turn % 9973 * 40];
            wire.flow(turn * SECOND / 20, (outside(1), host(80), 443), bytes, (3 * SECOND, 0));
        }
        assert_eq!(found(&wire), [] as [&str; 0]);
        // One who asks for the same all the time is told once, then it is usual.
        assert_eq!(found(&requests(120, &[(0, 1200)])), ["http"]);
    }
}
