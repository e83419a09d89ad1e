//! Evidence to alerts: deduplication with log-spaced repeats, and one alert of what a detector and a model, or one detector under
//! several kinds, say of the same.
//!
//! Owns what has been alerted so far (bounded); knows neither the store nor HTTP. Time is capture time, so that a capture
//! gives the same alerts at any speed.

mod family;
mod joined;
mod meaning;
mod parts;

pub use family::Family;
pub use meaning::meaning;

use crate::dataplane::detect::cold::{ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence};
use crate::units::{SECOND, Timestamp};
use joined::Joined;
use parts::Parts;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// One alert as it is stored and served. Append-only: a repeat is a new alert that names the first one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Alert {
    /// Stable over restarts, made from what the alert is about (detector, kind, source or its card, target, port) and its first time;
    /// repeats share it and differ in `occurrences`. A detector that finds what a model said first goes on under the model's id:
    /// the newest row says what it is.
    pub id: String,
    /// How many pieces of evidence of this affair there were so far, this one included: 1, then log-spaced (10, 100, ...),
    /// and in between where the severity rose, or another kind or target came to it.
    pub occurrences: u64,
    /// Capture time of the first evidence.
    #[serde(with = "crate::units::rfc3339")]
    pub first_seen: Timestamp,
    /// What was found, with its terms and thresholds. Its time is that of the evidence, but never before the row it goes on from: what a
    /// detector finds in retrospect is told when it is found. Its severity is the worst of the affair so far: the newest row stands
    /// for all of them, and must not pass for less than what it repeats.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// Limits of the deduplication.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Silence after which the same thing is a new alert, seconds of capture time. Too short: the same attack comes anew
    /// all the time; too long: a second attack of the same source hides among the repeats of the first.
    pub quiet_s: u64,
    /// The same of what a model says of windows: an updater that looks like a beacon does so in many an hour of the day.
    pub quiet_windows_s: u64,
    /// The same of what is so until somebody changes it (passwords in the clear). Below a day each morning's login is news.
    pub quiet_standing_s: u64,
    /// Repeats let through: each this many times the one before.
    pub repeat_factor: u64,
    /// Sources of model alerts about one target that are alerted each for itself; further ones are one affair of many
    /// sources. A flood with forged sources would else be an alert for every address it forges.
    pub sources_each: u64,
    /// A model's word and a detector's that are no further apart are about the same, where they are about the same hosts: as long as
    /// a flow counts for the model (`detect.model.horizon_s`). Too short: two alerts of one attack; too long: the word about
    /// a second attack is taken for one about the first.
    pub join_s: u64,
    /// The same of two names: a tool's requests lie within seconds, who takes another tool needs longer. Too long: what is found of the
    /// second is taken for another name of the first.
    pub join_other_s: u64,
    /// Affairs remembered; beyond that the quarter that was quiet longest is forgotten, and would alert anew.
    pub remembered: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            quiet_s: 3600,
            quiet_windows_s: 86_400,
            quiet_standing_s: 7 * 86_400,
            repeat_factor: 10,
            sources_each: 16,
            join_s: 300,
            join_other_s: 30,
            remembered: 1 << 16,
        }
    }
}

/// What makes two pieces of evidence one affair.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Affair {
    detector: Detector,
    /// Kinds are few and theirs is a closed list, but they are strings: the first 128 bits of their hash will do.
    kind: u128,
    source: Option<IpAddr>,
    target: Option<IpAddr>,
    port: Option<u16>,
}

impl Affair {
    fn of(evidence: &Evidence) -> Affair {
        let is_model = evidence.detector == Detector::Model;
        // A victim of reflectors is one affair, however many they are, and whether flows say so or its minute.
        let is_by_target = is_model && is_reflected(evidence);
        let is_by_source = is_model && !is_by_target && evidence.source.is_some();
        let (kind, card) = (parts::kind_of_affair(evidence).0, parts::card(evidence));
        let name = card.map_or(kind.to_owned(), |card| format!("{kind} {card}"));
        Affair {
            detector: evidence.detector,
            kind: first_128(&Sha256::digest(name.as_bytes())),
            source: evidence.source.filter(|_| !is_by_target),
            // A source that tries a thousand hosts or ports has a thousand flows that look like attacks, and is one affair; so is a card
            // that takes the addresses of many.
            target: evidence.target.filter(|_| !is_by_source && card.is_none()),
            port: evidence.port.filter(|_| !is_model),
        }
    }
}

/// Is it of a victim whom reflectors flood, that somebody asks in its name?
fn is_reflected(evidence: &Evidence) -> bool {
    let first = meaning(evidence.detector, &evidence.kind).into_iter().next();
    evidence.target.is_some() && first.is_some_and(|family| family.name() == "amplification")
}

struct Known {
    id: u128,
    first_seen: Timestamp,
    last_seen: Timestamp,
    /// Time of the newest row.
    told: Timestamp,
    occurrences: u64,
    next: u64,
    severity: u8,
}

impl Known {
    fn new(affair: &Affair, evidence: &Evidence) -> Known {
        let Evidence { time, severity, .. } = *evidence;
        Known { id: id(affair, time), first_seen: time, last_seen: time, told: time, occurrences: 0, next: 1, severity }
    }
}

impl Touched for Known {
    fn touched(&self) -> Timestamp {
        self.last_seen
    }
}

/// Turns evidence into alerts.
pub struct Deduplicator {
    settings: Settings,
    known: ColdMap<Affair, Known>,
    joined: Joined,
    parts: Parts,
    suppressed: u64,
    /// Under the name of the alert, and under another.
    joins: [u64; 2],
}

impl Deduplicator {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Deduplicator {
        let apart_ns = [settings.join_s, settings.join_other_s].map(|seconds| seconds.saturating_mul(SECOND));
        let joined = Joined::new(apart_ns, settings.remembered / 8);
        let known = ColdMap::new(settings.remembered);
        Deduplicator { known, joined, parts: Parts::new(), settings, suppressed: 0, joins: [0; 2] }
    }

    /// The alert that this evidence makes, if it is the first of its affair, the 10th, 100th, ..., or more severe than all
    /// before. Another kind is another affair and passes at once, unless both are words for one: that alert goes on, and says so
    /// at once. What a model says of whom a detector has told joins that alert too, and stands in its next row.
    pub fn push(&mut self, mut evidence: Evidence) -> Option<Alert> {
        // What joins is no source of a crowd: it would count anew with each word. A crowd may join as well.
        if evidence.detector == Detector::Model {
            let mut joined = self.joins_another(&evidence);
            if joined.is_none() && self.fold_crowd(&mut evidence) {
                joined = self.joins_another(&evidence);
            }
            if let Some(is_meant) = joined {
                let [same, other] = &mut self.joins;
                *if is_meant { same } else { other } += 1;
                return None;
            }
        }
        let affair = Affair::of(&evidence);
        let fresh = || Known::new(&affair, &evidence);
        let quiet_ns = self.quiet_ns(&evidence);
        let lives = |known: &mut Known| evidence.time.since(known.last_seen) <= quiet_ns;
        let is_new = !self.known.existing(&affair).is_some_and(lives);
        // What a model said first goes on as the detector's.
        let taken = Some(&evidence).filter(|_| is_new).and_then(|evidence| self.joined.take(evidence));
        let taken = taken.and_then(|taken| Some((self.known.remove(&taken.affair)?, taken)));
        let known = self.known.entry(affair, fresh);
        if is_new {
            *known = fresh();
            self.parts.forget(&affair);
        }
        let is_more = self.parts.add(affair, &evidence);
        let is_taken = taken.is_some();
        if let Some((before, taken)) = taken {
            let severity = if taken.is_meant { before.severity.min(known.severity) } else { known.severity };
            let first_seen = before.first_seen.min(known.first_seen);
            *known = Known { severity, first_seen, ..before };
        }
        known.last_seen = known.last_seen.max(evidence.time);
        known.occurrences += 1;
        let due = is_taken || is_more || known.occurrences >= known.next;
        let worse = evidence.severity < known.severity;
        while known.next <= known.occurrences && known.next < u64::MAX {
            known.next = known.next.saturating_mul(self.settings.repeat_factor.max(2));
        }
        known.severity = known.severity.min(evidence.severity);
        known.first_seen = known.first_seen.min(evidence.time);
        if due || worse {
            known.told = known.told.max(evidence.time);
        }
        let Known { id, occurrences, first_seen, severity, told, .. } = *known;
        self.joined.note(affair, &evidence);
        if !due && !worse {
            self.suppressed += 1;
            return None;
        }
        evidence = self.parts.row(&affair, evidence);
        // A row stands for its affair: whoever sees only the newest sees how bad it has been.
        evidence.severity = severity;
        if evidence.detector != Detector::Model {
            evidence.terms.extend(self.joined.words(&affair, &evidence));
        }
        // Whoever sorts rows by time has the newest last.
        evidence.time = told;
        Some(Alert { id: format!("{id:032x}"), occurrences, first_seen, evidence })
    }

    /// How long what is like this may be silent and still be one affair.
    fn quiet_ns(&self, evidence: &Evidence) -> u64 {
        let Settings { quiet_s, quiet_windows_s, quiet_standing_s, .. } = self.settings;
        let seconds = match evidence.detector {
            Detector::Cleartext => quiet_standing_s,
            Detector::Model if evidence.flow.is_none() => quiet_windows_s,
            _ => quiet_s,
        };
        seconds.saturating_mul(SECOND)
    }

    /// Is it a model's word about what a detector's alert, which still stands, is about? If so, does it say the same?
    fn joins_another(&mut self, evidence: &Evidence) -> Option<bool> {
        let joined::Taken { affair, is_meant } = self.joined.joins(evidence)?;
        let quiet_ns = self.quiet_ns(evidence);
        let stands = |known: &mut Known| evidence.time.since(known.last_seen) <= quiet_ns;
        let stands = self.known.existing(&affair).is_some_and(stands);
        if stands {
            self.joined.keep(&affair, evidence);
        }
        stands.then_some(is_meant)
    }

    /// Model evidence about a target that has many sources already becomes evidence about the crowd of them. Did it?
    fn fold_crowd(&mut self, evidence: &mut Evidence) -> bool {
        let own = Affair::of(evidence);
        let Some(target) = evidence.target else { return false };
        let quiet_ns = self.settings.quiet_s.saturating_mul(SECOND);
        let time = evidence.time;
        let lives = |known: &mut Known| time.since(known.last_seen) <= quiet_ns;
        if self.known.existing(&own).is_some_and(lives) {
            return false;
        }
        // Counted under a kind that no evidence has, so that it never meets an affair.
        let crowd = Affair {
            kind: first_128(&Sha256::digest(b"sources of one target")),
            source: None,
            target: Some(target),
            ..own
        };
        let fresh = || Known::new(&crowd, evidence);
        let sources = self.known.entry(crowd, fresh);
        if time.since(sources.last_seen) > quiet_ns {
            *sources = fresh();
        }
        sources.last_seen = sources.last_seen.max(time);
        sources.occurrences += 1;
        if sources.occurrences <= self.settings.sources_each {
            return false;
        }
        evidence.kind = "many_sources".into();
        evidence.summary =
            format!("flows of many sources to {target} look like attacks; the latest: {}", evidence.summary);
        evidence.source = None;
        evidence.port = None;
        if let Some(flow) = &mut evidence.flow {
            flow.is_example = true;
        }
        true
    }

    /// Evidence that made no alert because it repeated one.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// Words of models that joined a detector's alert: under its name, and under another.
    pub fn joins(&self) -> [u64; 2] {
        self.joins
    }

    /// Affairs forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.known.forgotten() + self.parts.forgotten()
    }
}

fn first_128(digest: &[u8]) -> u128 {
    digest.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// 128 bits of SHA-256 over everything that makes the affair, each part told from the next by its length or a mark.
fn id(affair: &Affair, first_seen: Timestamp) -> u128 {
    let mut hash = Sha256::new();
    hash.update(affair.detector.name());
    hash.update([0]);
    hash.update(affair.kind.to_be_bytes());
    for address in [affair.source, affair.target] {
        match address {
            None => hash.update([0]),
            Some(IpAddr::V4(address)) => {
                hash.update([4]);
                hash.update(address.octets());
            }
            Some(IpAddr::V6(address)) => {
                hash.update([6]);
                hash.update(address.octets());
            }
        }
    }
    match affair.port {
        None => hash.update([0]),
        Some(port) => {
            hash.update([1]);
            hash.update(port.to_be_bytes());
        }
    }
    hash.update(first_seen.0.to_be_bytes());
    first_128(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::detect::fixtures;

    fn evidence(second: u64, kind: &str, severity: u8, last_octet: u8) -> Evidence {
        let source = Some(IpAddr::from([10, 0, 0, last_octet]));
        Evidence { severity, source, ..fixtures::evidence(Detector::Scan, kind, Timestamp(second * SECOND)) }
    }

    #[test]
    fn repeats_are_log_spaced_and_share_an_id() {
        let mut alerts = Deduplicator::new(Settings::default());
        let passed: Vec<_> = (0..1500).filter_map(|second| alerts.push(evidence(second, "vertical", 3, 1))).collect();
        assert_eq!(passed.iter().map(|alert| alert.occurrences).collect::<Vec<_>>(), [1, 10, 100, 1000]);
        assert!(passed.iter().all(|alert| alert.id == passed[0].id && alert.first_seen == Timestamp(0)));
        assert_eq!((alerts.suppressed(), passed[0].id.len()), (1496, 32));
    }

    #[test]
    fn worse_and_other_things_pass_at_once() {
        let mut alerts = Deduplicator::new(Settings::default());
        let first = alerts.push(evidence(0, "vertical", 3, 1)).unwrap();
        assert!(alerts.push(evidence(1, "vertical", 3, 1)).is_none());
        let worse = alerts.push(evidence(2, "vertical", 2, 1)).unwrap();
        assert_eq!((worse.id.as_str(), worse.occurrences), (first.id.as_str(), 3));
        assert!(alerts.push(evidence(3, "vertical", 3, 1)).is_none());
        assert_ne!(alerts.push(evidence(4, "horizontal", 3, 1)).unwrap().id, first.id);
        assert_ne!(alerts.push(evidence(5, "vertical", 3, 2)).unwrap().id, first.id);
    }

    /// The newest row is what a list shows of an affair, and what a filter by severity decides on.
    #[test]
    fn a_repeat_is_never_milder_than_what_it_repeats() {
        let mut alerts = Deduplicator::new(Settings::default());
        let severity = |second| if second == 4 { 1 } else { 2 };
        let passed: Vec<_> =
            (0..100).filter_map(|second| alerts.push(evidence(second, "syn", severity(second), 1))).collect();
        let told: Vec<_> = passed.iter().map(|alert| (alert.occurrences, alert.evidence.severity)).collect();
        assert_eq!(told, [(1, 2), (5, 1), (10, 1), (100, 1)]);
    }

    #[test]
    fn after_a_quiet_time_it_is_a_new_alert() {
        let mut alerts = Deduplicator::new(Settings { quiet_s: 60, ..Settings::default() });
        let first = alerts.push(evidence(0, "vertical", 3, 1)).unwrap();
        assert!(alerts.push(evidence(60, "vertical", 3, 1)).is_none());
        let second = alerts.push(evidence(121, "vertical", 3, 1)).unwrap();
        assert_eq!((second.occurrences, second.first_seen), (1, Timestamp(121 * SECOND)));
        assert_ne!(second.id, first.id);
    }

    #[test]
    fn what_is_so_until_somebody_changes_it_is_no_news_each_morning() {
        let mut alerts = Deduplicator::new(Settings::default());
        let login = |day: u64, hour: u64| Evidence {
            detector: Detector::Cleartext,
            ..evidence(day * 86_400 + hour * 3600, "ftp", 3, 1)
        };
        let hour = |hour: u64| Evidence { detector: Detector::Model, ..evidence(hour * 2 * 3600, "beacon", 3, 1) };
        let hours: Vec<_> = (0..84).filter_map(|at| alerts.push(hour(at))).map(|alert| alert.occurrences).collect();
        assert_eq!(hours, [1, 10], "every other hour of a week, by a model of windows");
        let days: Vec<_> = (0..9).filter_map(|day| alerts.push(login(day, 8))).map(|alert| alert.occurrences).collect();
        assert_eq!(days, [1], "each morning of nine");
        assert_eq!(alerts.push(login(8 + 8, 8)).unwrap().occurrences, 1, "eight days of silence");
    }

    #[test]
    fn many_sources_of_one_target_are_one_affair() {
        let mut alerts = Deduplicator::new(Settings::default());
        let model = |second: u64, source: u32| Evidence {
            detector: Detector::Model,
            source: Some(IpAddr::from(source.to_be_bytes())),
            target: Some(IpAddr::from([10, 9, 9, 9])),
            port: Some(80),
            ..evidence(second, "flow", 3, 1)
        };
        let passed: Vec<_> = (0..5000).filter_map(|source| alerts.push(model(source / 100, source as u32))).collect();
        // 16 for themselves, then the crowd at 1, 10, 100 and 1000.
        assert_eq!(passed.len(), 20);
        assert!(passed[..16].iter().all(|alert| alert.evidence.source.is_some()));
        assert!(
            passed[16..].iter().all(|alert| alert.evidence.source.is_none() && alert.evidence.kind == "many_sources")
        );
        assert!(passed[16..].iter().all(|alert| alert.id == passed[16].id));
        assert!(alerts.push(model(51, 3)).is_none(), "a source that was alerted for itself stays its own affair");
        let mut alerts = Deduplicator::new(Settings::default());
        let to = |target: u16| Some(IpAddr::from([10, 9, (target >> 8) as u8, target as u8]));
        let targets =
            (0..1000).filter_map(|target| alerts.push(Evidence { target: to(target), ..model(1, 7) })).count();
        assert_eq!(targets, 4, "one source with many targets is one affair too");
        let mut alerts = Deduplicator::new(Settings::default());
        let ports = (0..1000_u16).filter_map(|port| alerts.push(Evidence { port: Some(port), ..model(1, 7) })).count();
        assert_eq!(ports, 4, "one source with many ports is one affair, told at 1, 10, 100 and 1000");
        let known = alerts.push(model(52, 7)).map(|alert| alert.evidence.source);
        assert_eq!(known, None, "the next repeat is far");
    }

    /// Flows are judged as they come, and what a detector finds of one that ended is dated back.
    #[test]
    fn rows_of_an_alert_are_in_order_of_time() {
        let mut alerts = Deduplicator::new(Settings::default());
        let say = |second| Evidence { detector: Detector::Model, ..evidence(second, "icmp_tunnel", 2, 1) };
        let found = Evidence { detector: Detector::IcmpTunnel, ..evidence(30, "many_identifiers", 3, 1) };
        let told: Vec<_> = [say(38), found].into_iter().filter_map(|evidence| alerts.push(evidence)).collect();
        let of = |alert: &Alert| (alert.first_seen.0 / SECOND, alert.evidence.time.0 / SECOND);
        assert_eq!(told.iter().map(of).collect::<Vec<_>>(), [(38, 38), (30, 38)]);
        assert_eq!(told[1].id, told[0].id);
        let late: Vec<_> = (0..9).filter_map(|_| alerts.push(evidence(50, "vertical", 3, 1))).collect();
        let next = alerts.push(evidence(49, "vertical", 3, 1)).unwrap();
        assert_eq!((late.len(), of(&next), next.occurrences), (1, (49, 50), 10));
    }

    #[test]
    fn ids_do_not_depend_on_the_process() {
        let id = |_| Deduplicator::new(Settings::default()).push(evidence(7, "vertical", 3, 1)).unwrap().id;
        assert_eq!(id(0), id(1));
    }

    #[test]
    fn memory_is_bounded() {
        let mut alerts = Deduplicator::new(Settings { remembered: 16, ..Settings::default() });
        for number in 0..200 {
            assert!(alerts.push(evidence(u64::from(number), "vertical", 3, number)).is_some());
        }
        assert!(alerts.forgotten() >= 180);
    }
}
