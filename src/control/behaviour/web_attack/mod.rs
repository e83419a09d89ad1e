//! Attacks on web servers, as far as requests are read: inputs that are code, guessed paths, and scanners that say who they are.
//!
//! - *injection*: one client sends one server three different requests within five minutes whose path, query or headers are SQL,
//!   script, paths of files, shell commands or expressions (`signs`). One such is a search for a name with an apostrophe; one whose
//!   words are written for nothing else is told at once, at the lowest severity.
//! - *path_guessing*: thirty different paths within a minute, or a hundred within an hour, that the server does not have or does not
//!   give, and these are most of what it answers. Health checks that fail ask for one path, and a page with dead links has few.
//! - *web_scanner*: the client's own name is a scanner's. Told once for a client, a server and a scanner, at the lowest severity:
//!   owners scan too.
//!
//! Not seen: what is inside TLS, bodies of requests, attacks of one or two requests whose words are not among the signs. A client behind
//! a proxy is the proxy.

mod signs;

pub use signs::{Class, class, name_class, scanner};

use super::count::{Distinct, rounded};
use super::observation::{Observation, Visit};
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Different requests with code in them within five minutes.
    pub injections: f64,
    /// Different paths within a minute that are not there.
    pub paths: f64,
    /// The same within an hour.
    pub paths_an_hour: f64,
    /// Share of a server's answers to the client that must be refusals, for paths to count as guessed.
    pub share: f64,
    /// Pairs of client and server remembered, some 300 bytes each.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { injections: 3.0, paths: 30.0, paths_an_hour: 100.0, share: 0.6, pairs: 1 << 12 }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<(u128, u128, u16), Pair>(self.pairs)
    }
}

const MINUTE_NS: u64 = 60 * SECOND;
/// Injections are counted together for so long.
const INJECTIONS_NS: u64 = 300 * SECOND;
const HOUR_NS: u64 = 3600 * SECOND;
/// A scanner is told again after so long, anything else at four times as much.
const AGAIN_NS: u64 = 24 * HOUR_NS;

/// Different things since a moment.
#[derive(Default)]
struct Window<const WORDS: usize> {
    since: Timestamp,
    answers: u64,
    refused: u64,
    paths: Distinct<WORDS>,
    /// Number at which it is told.
    next: f64,
}

impl<const WORDS: usize> Window<WORDS> {
    /// Begun anew where it is over; what was told stays told.
    fn at(&mut self, now: Timestamp, length: u64) -> &mut Self {
        if now.since(self.since) >= length {
            *self = Window { since: now, next: self.next, ..Window::default() };
        }
        self
    }

    fn share(&self) -> f64 {
        self.refused as f64 / self.answers.max(1) as f64
    }

    /// `Some(number)`: as many as are to be told now.
    fn due(&mut self, threshold: f64) -> Option<f64> {
        let number = self.paths.estimate();
        (number >= threshold.max(self.next)).then(|| {
            self.next = 4.0 * number;
            number
        })
    }
}

/// A client at a server.
struct Pair {
    touched: Timestamp,
    minute: Window<4>,
    hour: Window<8>,
    code: Window<2>,
    /// A bit a class that was met.
    classes: u8,
    /// One without doubt was told.
    sure: Option<Timestamp>,
    scanner: Option<Timestamp>,
}

impl Touched for Pair {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// The detector.
pub struct WebAttack {
    settings: Settings,
    pairs: ColdMap<(u128, u128, u16), Pair>,
}

impl WebAttack {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> WebAttack {
        WebAttack { pairs: ColdMap::new(settings.pairs), settings }
    }

    /// Pairs forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.pairs.forgotten()
    }

    /// A request, mostly with its answer.
    pub fn visit(&mut self, seen: &Observation, visit: &Visit, out: &mut Vec<Evidence>) {
        let (settings, now) = (self.settings, seen.told);
        let key = (visit.client.address, visit.server.address, visit.server.port);
        if visit.is_plain() && self.pairs.existing(&key).is_none() {
            // What is as it should be needs no room.
            return;
        }
        let fresh = || Pair {
            touched: now,
            minute: Window::default(),
            hour: Window::default(),
            code: Window::default(),
            classes: 0,
            sure: None,
            scanner: None,
        };
        let pair = self.pairs.entry(key, fresh);
        pair.touched = pair.touched.max(now);
        if let Some(name) = visit.scanner
            && pair.scanner.is_none_or(|told| now.since(told) >= AGAIN_NS)
        {
            pair.scanner = Some(now);
            out.push(of_scanner(seen, visit, name));
        }
        if let Some((class, is_sure)) = visit.class {
            let window = pair.code.at(now, INJECTIONS_NS);
            if window.answers == 0 {
                pair.classes = 0;
            }
            window.answers += 1;
            window.paths.insert(visit.target);
            pair.classes |= 1 << class as u8;
            if let Some(number) = window.due(settings.injections) {
                pair.sure = Some(now);
                out.push(of_code(seen, visit, number, pair.classes, &settings));
            } else if is_sure && pair.sure.is_none_or(|told| now.since(told) >= AGAIN_NS) {
                pair.sure = Some(now);
                let number = window.paths.estimate();
                out.push(Evidence { severity: 3, ..of_code(seen, visit, number, pair.classes, &settings) });
            }
        }
        if visit.status.is_some() {
            let is_refused = visit.is_refused();
            let minute = pair.minute.at(now, MINUTE_NS);
            (minute.answers, minute.refused) = (minute.answers + 1, minute.refused + u64::from(is_refused));
            let hour = pair.hour.at(now, HOUR_NS);
            (hour.answers, hour.refused) = (hour.answers + 1, hour.refused + u64::from(is_refused));
            if is_refused {
                minute.paths.insert(visit.path);
                hour.paths.insert(visit.path);
                let of_minute = (minute.share() >= settings.share).then(|| minute.due(settings.paths)).flatten();
                let of_hour = (hour.share() >= settings.share).then(|| hour.due(settings.paths_an_hour)).flatten();
                let told = of_minute.map(|number| (number, settings.paths, "minute", minute.share()));
                let told = told.or(of_hour.map(|number| (number, settings.paths_an_hour, "hour", hour.share())));
                if let Some(told) = told {
                    out.push(of_paths(seen, visit, told, &settings));
                }
            }
        }
    }
}

fn base(seen: &Observation, visit: &Visit, kind: &str, technique: &str) -> Evidence {
    Evidence {
        source: Some(visit.client.ip()),
        target: Some(visit.server.ip()),
        port: Some(visit.server.port),
        technique: Some(technique.into()),
        ..seen.evidence(Detector::WebAttack, kind)
    }
}

fn of_scanner(seen: &Observation, visit: &Visit, name: &str) -> Evidence {
    let (client, server, port) = (visit.client.ip(), visit.server.ip(), visit.server.port);
    Evidence {
        severity: 3,
        confidence: 0.9,
        summary: format!("{client} looks at the web server {server} port {port} with {name}, by its own name"),
        flow: seen.origin.flow(false),
        ..base(seen, visit, "web_scanner", "T1595.002")
    }
}

fn of_code(seen: &Observation, visit: &Visit, number: f64, classes: u8, settings: &Settings) -> Evidence {
    let (client, server, port) = (visit.client.ip(), visit.server.ip(), visit.server.port);
    let met = Class::ALL.into_iter().filter(|class| classes & 1 << *class as u8 != 0);
    let words: Vec<&str> = met.map(Class::words).collect();
    Evidence {
        severity: 2,
        confidence: 0.85,
        summary: format!(
            "{client} sends the web server {server} port {port} requests that are code: {}, {} within five minutes, such as {:?}",
            words.join(", "),
            if number > 1.0 { format!("{number} different ones") } else { "one".to_owned() },
            visit.text
        ),
        terms: vec![
            // One without doubt is enough.
            Term::exact("requests_with_code", number).against(Relation::AtLeast, settings.injections.min(number)),
            Term::exact("kinds_of_code", words.len() as f64),
        ],
        flow: seen.origin.flow(true),
        ..base(seen, visit, "injection", "T1190")
    }
}

fn of_paths(
    seen: &Observation,
    visit: &Visit,
    (number, threshold, span, share): (f64, f64, &str, f64),
    settings: &Settings,
) -> Evidence {
    let (client, server, port) = (visit.client.ip(), visit.server.ip(), visit.server.port);
    Evidence {
        severity: 2,
        confidence: 0.8,
        summary: format!(
            "{client} guesses paths of the web server {server} port {port}: {number} different ones within a{} {span} that it does \
             not give, {:.0} % of its answers, such as {:?}",
            if span == "hour" { "n" } else { "" },
            share * 100.0,
            visit.text
        ),
        terms: vec![
            Term::exact("paths_refused", number).against(Relation::AtLeast, threshold),
            Term::exact("share_of_answers", rounded(share)).against(Relation::AtLeast, settings.share),
        ],
        flow: seen.origin.flow(true),
        ..base(seen, visit, "path_guessing", "T1595.003")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Wire, host, outside};
    use super::*;
    use crate::dataplane::inspect::{Protocol, http, http2};

    fn found(wire: &Wire) -> Vec<(String, u8)> {
        let ours = wire.evidence().into_iter().filter(|one| one.detector == Detector::WebAttack);
        ours.map(|one| (one.kind, one.severity)).collect()
    }

    fn request(wire: &mut Wire, at_ms: u64, path: &str, status: u64, agent: &str) {
        let ends = (outside(1), host(80), 80);
        wire.event(at_ms * SECOND / 1000, ends, (Protocol::Http, 6), |facts| {
            facts.put(http::METHOD, b"GET");
            facts.put(http::HOSTNAME, b"shop.example");
            facts.put(http::URL, path.as_bytes());
            facts.put(http::USER_AGENT, agent.as_bytes());
            facts.put_number(http::STATUS, status);
        });
    }

    const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0";

    #[test]
    fn attacks_are_told_once_and_again_at_four_times_as_much() {
        let mut wire = Wire::default();
        for turn in 0..15_u64 {
            request(&mut wire, turn * 900, &format!("/item?id={turn}'+or+'1'='1"), 200, BROWSER);
        }
        assert_eq!(found(&wire), [("injection".to_owned(), 2), ("injection".to_owned(), 2)]);
        let all = wire.evidence();
        assert!(all[0].summary.contains("SQL") && all[0].summary.contains("or+'1'='1"), "{}", all[0].summary);
        assert_eq!(all[0].technique.as_deref(), Some("T1190"));

        // Without doubt: at once, and again when they are three.
        let mut wire = Wire::default();
        (0..3).for_each(|turn| {
            request(&mut wire, turn * 900, &format!("/?page={turn}/../../../etc/passwd"), 404, BROWSER)
        });
        assert_eq!(found(&wire), [("injection".to_owned(), 3), ("injection".to_owned(), 2)]);

        let mut wire = Wire::default();
        (0..40).for_each(|turn| request(&mut wire, turn * 100, &format!("/admin{turn}.php"), 404, BROWSER));
        assert_eq!(found(&wire), [("path_guessing".to_owned(), 2)]);
        // One every twenty seconds.
        let mut wire = Wire::default();
        (0..120).for_each(|turn| request(&mut wire, turn * 20_000, &format!("/admin{turn}.php"), 403, BROWSER));
        assert_eq!(found(&wire), [("path_guessing".to_owned(), 2)]);

        let mut wire = Wire::default();
        (0..5).for_each(|turn| request(&mut wire, turn * 100, "/", 200, "WhatWeb/0.5.5"));
        assert_eq!(found(&wire), [("web_scanner".to_owned(), 3)]);
    }

    #[test]
    fn http_2_is_read_as_well() {
        let mut wire = Wire::default();
        for turn in 0..40_u64 {
            let ends = (outside(1), host(80), 80);
            wire.event(turn * SECOND / 10, ends, (Protocol::Http2, 6), |facts| {
                facts.put(http2::PATH, format!("/old/{turn}").as_bytes());
                facts.put_number(http2::STATUS, 404);
            });
        }
        assert_eq!(found(&wire), [("path_guessing".to_owned(), 2)]);
    }

    #[test]
    fn honest_clients_are_quiet() {
        for (what, paths) in [
            ("a health check that fails", (0..300).map(|_| ("/health".to_owned(), 503)).collect::<Vec<_>>()),
            (
                "a page with dead links",
                (0..300).map(|at| (format!("/p{at}"), if at % 5 == 0 { 404 } else { 200 })).collect(),
            ),
            ("a client without its login", (0..300).map(|at| (format!("/api/{}", at % 9), 401)).collect()),
            ("a crawler of a good site", (0..500).map(|at| (format!("/p{at}"), 200)).collect()),
            ("what has not changed", (0..500).map(|at| (format!("/p{at}.js"), 304)).collect()),
            ("two searches", (0..2).map(|at| (format!("/q?t={at}'+or+1=1"), 200)).collect()),
            ("one search again and again", (0..50).map(|_| ("/q?t=1'+or+1=1".to_owned(), 200)).collect()),
        ] {
            let mut wire = Wire::default();
            for (turn, (path, status)) in paths.iter().enumerate() {
                request(&mut wire, turn as u64 * 150, path, *status, BROWSER);
            }
            assert_eq!(found(&wire), [], "{what}");
        }
    }
}
