//! Attacks on web servers, as far as requests are read: inputs that are code, guessed paths, and scanners that say who they are.
//!
//! - *injection*: one client sends one server three different requests within five minutes whose path, query, headers, form or
//!   cookies are SQL, script, paths of files, shell commands or expressions (`signs`). One such is a search for a name with an
//!   apostrophe; one whose words are written for nothing else is told at once, at the lowest severity.
//! - *path_guessing*: thirty guesses within a minute, a hundred within an hour or three hundred within a day that the server does not
//!   have or does not give, and these are nearly all that it answers. What a page names is no guess (`paths`): requests with a
//!   `Referer`, titles, and the images of one directory count as one. Ten times as many paths are told whatever they are, for a
//!   `Referer` is easily written; who begins with `robots.txt`, as crawlers do, may find five times as much gone.
//! - *web_scanner*: the client's own name is a scanner's. Told once for a client, a server and a scanner, at the lowest severity:
//!   owners scan too.
//!
//! Not seen: what is inside TLS, bodies of HTTP/2 and of requests in chunks, what is no SQL in other bodies, attacks of one or two
//! requests whose words are not among the signs. A client behind a proxy is the proxy.

mod paths;
mod signs;

pub use paths::guess;
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
    /// Different guesses at paths within a minute that are not there.
    pub paths: f64,
    /// The same within an hour.
    pub paths_an_hour: f64,
    /// The same within a day: one each five minutes.
    pub paths_a_day: f64,
    /// Share of a server's answers to the client that must be refusals, for paths to count as guessed.
    pub share: f64,
    /// Pairs of client and server remembered, some 800 bytes each.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { injections: 3.0, paths: 30.0, paths_an_hour: 100.0, paths_a_day: 300.0, share: 0.8, pairs: 1 << 12 }
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
const DAY_NS: u64 = 24 * HOUR_NS;
/// So many times as many paths are told whatever a page may have named; so many times as many guesses of a crawler.
const NAMED: f64 = 10.0;
const CRAWLERS: f64 = 5.0;
/// A scanner is told again after so long, anything else at four times as much.
const AGAIN_NS: u64 = 24 * HOUR_NS;

/// Different things since a moment.
#[derive(Default)]
struct Window<const WORDS: usize> {
    since: Timestamp,
    answers: u64,
    refused: u64,
    paths: Distinct<WORDS>,
    /// Whatever they are.
    named: Distinct<WORDS>,
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

    /// An answer; `Some`: paths that are to be told now, and their threshold.
    fn answered(&mut self, visit: &Visit, threshold: f64, least_share: f64) -> Option<(f64, f64)> {
        self.answers += 1;
        if !visit.is_refused() {
            return None;
        }
        self.refused += 1;
        self.named.insert(visit.path);
        if let Some(guess) = visit.guess {
            self.paths.insert(guess);
        }
        if self.share() < least_share {
            return None;
        }
        let guesses = self.due(threshold).map(|number| (number, threshold));
        let named = self.named.estimate();
        guesses.or_else(|| {
            (named >= (NAMED * threshold).max(self.next)).then(|| {
                self.next = 4.0 * named;
                (named, NAMED * threshold)
            })
        })
    }
}

/// A client at a server.
struct Pair {
    touched: Timestamp,
    minute: Window<4>,
    hour: Window<16>,
    day: Window<16>,
    code: Window<2>,
    /// A bit a class that was met.
    classes: u8,
    /// It asked as crawlers do.
    is_crawler: bool,
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

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
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
            day: Window::default(),
            is_crawler: false,
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
        pair.is_crawler |= visit.is_crawlers;
        if visit.status.is_some() {
            let crawlers = if pair.is_crawler { CRAWLERS } else { 1.0 };
            let of = |threshold: f64| threshold * crawlers;
            let minute = pair.minute.at(now, MINUTE_NS).answered(visit, of(settings.paths), settings.share);
            let hour = pair.hour.at(now, HOUR_NS).answered(visit, of(settings.paths_an_hour), settings.share);
            let day = pair.day.at(now, DAY_NS).answered(visit, of(settings.paths_a_day), settings.share);
            let told = [
                (minute, "a minute", pair.minute.share()),
                (hour, "an hour", pair.hour.share()),
                (day, "a day", pair.day.share()),
            ];
            let told = told.into_iter().find_map(|(paths, span, share)| Some((paths?, span, share)));
            if let Some(told) = told {
                // What was told is no news to the longer ones.
                let ((number, _), ..) = told;
                for next in [&mut pair.hour.next, &mut pair.day.next] {
                    *next = next.max(4.0 * number);
                }
                out.push(of_paths(seen, visit, told, &settings));
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
    ((number, threshold), span, share): ((f64, f64), &str, f64),
    settings: &Settings,
) -> Evidence {
    let (client, server, port) = (visit.client.ip(), visit.server.ip(), visit.server.port);
    Evidence {
        severity: 2,
        confidence: 0.8,
        summary: format!(
            "{client} guesses paths of the web server {server} port {port}: {number} different ones within {span} that it does \
             not give, {:.0} % of its answers, such as {:?}",
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
mod tests;
