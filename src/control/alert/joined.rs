//! What a model says of whom a detector has told joins the detector's alert; what it said first is taken up by the detector's.
//!
//! Owns, by source (by target, where no source is known), the affairs told lately: of whom, meaning what, from when to when. A detector
//! says what it counted, a model what flows look like: where both speak of the same hosts at the same time there is one
//! attack, and the detector's name counts. The model's is kept as a term of the alert. They speak of the same
//!
//! - where they mean the same family, of one source, and not of two targets;
//! - under two names, where source, target and port are one and moments are, or where the latest a model has seen of a host's minute
//!   is of the moment at which the detector told. Who attacks one service with one tool after the other does so in minutes; what a model says of a
//!   pair's hour may be of another tool than the detector found.
//!
//! Of amplification the victim says what is one: many reflectors flood it, and who asks them is not known.
//!
//! What a detector says that means no family (a password in the clear, an odd port) takes nothing up: a model may have more to
//! say. Bounded: [`CLAIMS`] affairs of each, who was silent for longest is forgotten, and alerts for himself again.

use super::{Affair, Family, is_reflected, meaning};
use crate::dataplane::detect::cold::{ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::units::{SECOND, Timestamp};
use std::net::IpAddr;

/// Affairs kept of one source; who was silent for longest gives way.
const CLAIMS: usize = 8;
/// A pair's hours that a model goes on to name as the detector did are of its alert for so long: what comes back does so each hour.
const HOURS_NS: u64 = 86_400 * SECOND;
/// Words of models kept of one affair, of different families.
const WORDS: usize = 4;

/// What a model judged, where one did.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Span {
    Flow,
    Minute,
    Hour,
}

impl Span {
    fn of(evidence: &Evidence) -> Span {
        match (&evidence.window, evidence.target) {
            (None, _) => Span::Flow,
            (Some(_), None) => Span::Minute,
            (Some(_), Some(_)) => Span::Hour,
        }
    }
}

/// Of whom something was told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Whom {
    Source(IpAddr),
    /// Where nobody knows from whom.
    Target(IpAddr),
}

/// What was told of one affair.
#[derive(Clone)]
struct Claim {
    affair: Affair,
    is_model: bool,
    means: Vec<Family>,
    source: Option<IpAddr>,
    target: Option<IpAddr>,
    /// A model's affair is of all targets of its source.
    has_many: bool,
    port: Option<u16>,
    severity: u8,
    /// A model judged a window of it.
    of: Span,
    span: (Timestamp, Timestamp),
    words: Vec<Word>,
}

/// What a model said, as it stands in the alert of a detector.
#[derive(Clone)]
struct Word {
    kind: String,
    model: Option<String>,
    score: f64,
    threshold: Option<f64>,
}

impl Word {
    fn of(evidence: &Evidence) -> Word {
        let score = evidence.terms.iter().find(|term| term.name == "score");
        Word {
            kind: evidence.kind.clone(),
            model: evidence.window.as_ref().map(|window| window.model.clone()),
            score: score.map_or(evidence.confidence, |term| term.value),
            threshold: score.and_then(|term| term.threshold),
        }
    }

    fn term(&self) -> Term {
        let name = format!("{}_says_{}", self.model.as_deref().unwrap_or("model"), self.kind);
        let term = Term::exact(name, self.score);
        self.threshold.map_or(term.clone(), |threshold| term.against(Relation::AtLeast, threshold))
    }
}

#[derive(Default)]
struct Said {
    claims: Vec<Claim>,
    touched: Timestamp,
}

impl Said {
    fn put(&mut self, claim: Claim) {
        self.touched = self.touched.max(claim.span.1);
        if self.claims.len() >= CLAIMS {
            let quiet = self.claims.iter().enumerate().min_by_key(|(_, claim)| claim.span.1);
            if let Some(place) = quiet.map(|(place, _)| place) {
                self.claims.swap_remove(place);
            }
        }
        self.claims.push(claim);
    }
}

impl Touched for Said {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// An affair with which another is one.
pub(super) struct Taken {
    pub affair: Affair,
    /// The two mean the same family.
    pub is_meant: bool,
}

/// See the module.
pub(super) struct Joined {
    said: ColdMap<Whom, Said>,
    /// How far apart two may be under one name, and under two.
    apart_ns: [u64; 2],
}

impl Joined {
    /// Of so many sources, and what is at most so far apart: under one name, and under two.
    pub fn new(apart_ns: [u64; 2], sources: usize) -> Joined {
        Joined { said: ColdMap::new(sources), apart_ns }
    }

    /// The affair of a detector that a model's word is about. Not where it is worse: that is news, under whatever name.
    pub fn joins(&mut self, evidence: &Evidence) -> Option<Taken> {
        if !is_word(evidence) {
            return None;
        }
        let means = meaning(evidence.detector, &evidence.kind);
        let apart_ns = self.apart_ns;
        ends(evidence).find_map(|whom| {
            let claims = &self.said.existing(&whom)?.claims;
            let fits = |claim: &&Claim| {
                let is_meant = claim.means_one_of(&means);
                !claim.is_model && claim.is_about(evidence, is_meant, apart_ns) && evidence.severity >= claim.severity
            };
            let claim = claims.iter().filter(fits).max_by_key(|claim| (claim.means_one_of(&means), claim.span.1))?;
            Some(Taken { affair: claim.affair, is_meant: claim.means_one_of(&means) })
        })
    }

    /// Keeps a model's word with the affair that it joins; of one kind the surest.
    pub fn keep(&mut self, affair: &Affair, evidence: &Evidence) {
        let Some(claim) = self.claim(affair, evidence) else { return };
        let word = Word::of(evidence);
        let known = claim.words.iter().position(|known| (&known.kind, &known.model) == (&word.kind, &word.model));
        let has_room = claim.words.len() < WORDS;
        match known.and_then(|place| claim.words.get_mut(place)) {
            Some(known) if known.score < word.score => *known = word,
            None if has_room => claim.words.push(word),
            _ => {}
        }
    }

    /// What models said that joined this affair.
    pub fn words(&mut self, affair: &Affair, evidence: &Evidence) -> Vec<Term> {
        self.claim(affair, evidence).map(|claim| claim.words.iter().map(Word::term).collect()).unwrap_or_default()
    }

    /// The affair of a model that a detector's first evidence is about; it is forgotten here, and its word kept for the detector's.
    pub fn take(&mut self, evidence: &Evidence) -> Option<Taken> {
        if evidence.detector == Detector::Model {
            return None;
        }
        let means = meaning(evidence.detector, &evidence.kind);
        let whom = whom(evidence).filter(|_| !means.is_empty())?;
        let apart_ns = self.apart_ns;
        let fits = |claim: &Claim| {
            let is_meant = claim.means_one_of(&means);
            let is_wider = claim.has_many && !(is_meant && evidence.target.is_none());
            claim.is_model && !is_wider && claim.is_about(evidence, is_meant, apart_ns)
        };
        let claim = ends(evidence).find_map(|whom| {
            let claims = &mut self.said.existing(&whom)?.claims;
            Some(claims.remove(claims.iter().position(fits)?))
        })?;
        let taken = Taken { affair: claim.affair, is_meant: claim.means_one_of(&means) };
        let own = Claim { affair: Affair::of(evidence), words: claim.words, ..Claim::of(evidence, means) };
        // Of one family the alert goes on as bad, and as long, as the model has told it: else its next word were worse, and news.
        let severity = if taken.is_meant { own.severity.min(claim.severity) } else { own.severity };
        let span = if taken.is_meant { merged(own.span, claim.span) } else { own.span };
        self.said.entry(whom, Said::default).put(Claim { severity, span, ..own });
        Some(taken)
    }

    /// An affair was told, or went on.
    pub fn note(&mut self, affair: Affair, evidence: &Evidence) {
        let means = meaning(evidence.detector, &evidence.kind);
        let is_of_use = if evidence.detector == Detector::Model { is_word(evidence) } else { !means.is_empty() };
        let Some(whom) = whom(evidence).filter(|_| is_of_use) else { return };
        let [apart_ns, _] = self.apart_ns;
        let said = self.said.entry(whom, Said::default);
        said.touched = said.touched.max(evidence.time);
        let fresh = Claim { affair, ..Claim::of(evidence, means) };
        let Some(known) = said.claims.iter_mut().find(|claim| claim.affair == affair) else {
            said.put(fresh);
            return;
        };
        let words = std::mem::take(&mut known.words);
        let is_near = known.is_near(&fresh.span, apart_ns);
        let span = if is_near { merged(known.span, fresh.span) } else { fresh.span };
        let has_many = known.has_many && is_near || known.target != fresh.target;
        let severity = known.severity.min(fresh.severity);
        let words = if words.is_empty() { fresh.words.clone() } else { words };
        // Kinds of one affair may mean more than one does.
        let mut means = std::mem::take(&mut known.means);
        let more: Vec<Family> = fresh.means.iter().filter(|family| !means.contains(family)).copied().collect();
        means.extend(more);
        *known = Claim { span, has_many, severity, words, means, ..fresh };
    }

    fn claim(&mut self, affair: &Affair, evidence: &Evidence) -> Option<&mut Claim> {
        let has = |said: &Said| said.claims.iter().any(|claim| claim.affair == *affair);
        let whom = ends(evidence).find(|whom| self.said.existing(whom).is_some_and(|said| has(said)))?;
        self.said.existing(&whom)?.claims.iter_mut().find(|claim| claim.affair == *affair)
    }
}

impl Claim {
    fn of(evidence: &Evidence, means: Vec<Family>) -> Claim {
        let is_model = evidence.detector == Detector::Model;
        Claim {
            affair: Affair::of(evidence),
            is_model,
            means,
            source: evidence.source,
            target: evidence.target,
            has_many: false,
            port: evidence.port,
            severity: evidence.severity,
            of: Span::of(evidence),
            span: span(evidence),
            words: is_model.then(|| Word::of(evidence)).into_iter().collect(),
        }
    }

    fn means_one_of(&self, families: &[Family]) -> bool {
        families.iter().any(|family| self.means.contains(family))
    }

    fn is_near(&self, (from, until): &(Timestamp, Timestamp), apart_ns: u64) -> bool {
        let (since, latest) = self.span;
        from.since(latest) <= apart_ns && since.since(*until) <= apart_ns
    }

    /// Do the two speak of the same? `is_meant`: they mean the same family.
    fn is_about(&self, evidence: &Evidence, is_meant: bool, [apart_ns, other_ns]: [u64; 2]) -> bool {
        let same = self.target.is_some() && self.target == evidence.target;
        let open = self.target.is_none() || evidence.target.is_none();
        if is_meant {
            let of = if self.is_model { self.of } else { Span::of(evidence) };
            let apart_ns = if same && of == Span::Hour { HOURS_NS } else { apart_ns };
            return (same || open) && self.is_near(&span(evidence), apart_ns);
        }
        // Of a window the latest packet is what is known to be of one moment with something.
        let (from, until) = if self.is_model { (self.span.1, self.span.1) } else { self.span };
        // A crowd of sources is of no port.
        let is_crowd = if self.is_model { self.affair.source } else { evidence.source }.is_none();
        let is_now = evidence.time.since(until) <= other_ns && from.since(evidence.time) <= other_ns;
        let (one, other) = (self.source, evidence.source);
        // Of one target, but of two who are known.
        let is_else = one.is_some() && other.is_some() && one != other;
        is_now
            && !is_else
            && match if self.is_model { self.of } else { Span::of(evidence) } {
                Span::Flow => same && (self.port == evidence.port || is_crowd),
                Span::Minute => true,
                Span::Hour => false,
            }
    }
}

/// Who has done it; who had it done, where that is not known, as of reflectors that somebody asks in the name of the victim.
fn whom(evidence: &Evidence) -> Option<Whom> {
    let (source, target) = (evidence.source.map(Whom::Source), evidence.target.map(Whom::Target));
    if is_reflected(evidence) { target.or(source) } else { source.or(target) }
}

/// Under whom it, or what it is about, may be known.
fn ends(evidence: &Evidence) -> impl Iterator<Item = Whom> + use<> {
    [evidence.source.map(Whom::Source), evidence.target.map(Whom::Target)].into_iter().flatten()
}

/// From when to when is it? What a model says of a window is of all of it.
fn span(evidence: &Evidence) -> (Timestamp, Timestamp) {
    let begin = evidence.window.as_ref().map_or(evidence.time, |window| window.begin);
    (begin.min(evidence.time), evidence.time)
}

/// From the earlier begin to the later end.
fn merged(one: (Timestamp, Timestamp), other: (Timestamp, Timestamp)) -> (Timestamp, Timestamp) {
    (one.0.min(other.0), one.1.max(other.1))
}

/// Is it a model's word about a host? Drift is about the models.
fn is_word(evidence: &Evidence) -> bool {
    evidence.detector == Detector::Model && whom(evidence).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::{Alert, Deduplicator, Settings};
    use super::*;
    use crate::dataplane::detect::{WindowRef, fixtures};

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    fn evidence(second: u64, detector: Detector, kind: &str, target: Option<u8>) -> Evidence {
        Evidence {
            source: address(66),
            target: target.and_then(address),
            port: Some(80),
            protocol: Some(6),
            ..fixtures::evidence(detector, kind, Timestamp((100_000 + second) * SECOND))
        }
    }

    fn word(second: u64, kind: &str, target: Option<u8>) -> Evidence {
        let score = Term::exact("score", 0.97).against(Relation::AtLeast, 0.9);
        Evidence { terms: vec![score], ..evidence(second, Detector::Model, kind, target) }
    }

    fn told(found: impl IntoIterator<Item = Evidence>) -> (Vec<Alert>, u64) {
        let mut alerts = Deduplicator::new(Settings::default());
        let told = found.into_iter().filter_map(|evidence| alerts.push(evidence)).collect();
        (told, alerts.joins().iter().sum())
    }

    fn names(alert: &Alert) -> String {
        format!("{}/{}", alert.evidence.detector.name(), alert.evidence.kind)
    }

    #[test]
    fn a_models_word_joins_the_alert_of_the_detector() {
        let guess = |second| evidence(second, Detector::BruteForce, "http", Some(1));
        let words = [word(20, "web_attack", Some(1)), word(30, "flood", Some(1)), word(31, "flood", Some(1))];
        let (told, joins) = told([guess(10)].into_iter().chain(words).chain((40..49).map(guess)));
        assert_eq!(told.iter().map(names).collect::<Vec<_>>(), ["brute_force/http", "brute_force/http"]);
        assert_eq!((told[1].occurrences, &told[1].id, joins), (10, &told[0].id, 3));
        let kept: Vec<_> = told[1].evidence.terms.iter().map(|term| (term.name.as_str(), term.threshold)).collect();
        assert_eq!(kept, [("model_says_web_attack", Some(0.9)), ("model_says_flood", Some(0.9))]);
    }

    /// The list shows the newest row of an id: the model's word becomes the detector's alert.
    #[test]
    fn what_the_model_said_first_is_taken_up() {
        let flood = |second| evidence(second, Detector::Flood, "udp", Some(1));
        let (told, joins) = told([word(10, "amplification", Some(1)), flood(12), word(13, "amplification", Some(1))]);
        assert_eq!(told.iter().map(names).collect::<Vec<_>>(), ["model/amplification", "flood/udp"]);
        assert_eq!((&told[1].id, told[1].occurrences, told[1].first_seen), (&told[0].id, 2, told[0].evidence.time));
        assert_eq!(told[1].evidence.terms[0].name, "model_says_amplification");
        assert_eq!(joins, 1, "and what it says from then on joins");
    }

    /// What is as bad as the alert that took it up is no news, though the detector for itself would have told it low.
    #[test]
    fn what_is_as_bad_as_what_was_taken_up_joins() {
        let tunnel = Evidence { severity: 3, ..evidence(3, Detector::IcmpTunnel, "many_identifiers", Some(1)) };
        let say = |second| word(second, "icmp_tunnel", Some(1));
        let (told, joins) = told([say(38), tunnel, say(62)]);
        assert_eq!(told.iter().map(names).collect::<Vec<_>>(), ["model/icmp_tunnel", "icmp_tunnel/many_identifiers"]);
        assert_eq!((&told[1].id, told[1].evidence.severity, joins), (&told[0].id, 2, 1));
    }

    #[test]
    fn what_is_about_something_else_is_an_alert_of_its_own() {
        let scan = || evidence(10, Detector::Scan, "vertical", Some(1));
        let hour = |word: Evidence| {
            let begin = Timestamp(99_000 * SECOND);
            let end = Timestamp(102_600 * SECOND);
            Evidence { window: Some(WindowRef { begin, end, model: "pair-v1".into(), version: "1".into() }), ..word }
        };
        let hours_later = |word: Evidence| {
            let begin = Timestamp(word.time.0 - 600 * SECOND);
            let end = Timestamp(word.time.0 + 3000 * SECOND);
            Evidence { window: Some(WindowRef { begin, end, model: "pair-v1".into(), version: "1".into() }), ..word }
        };
        let of = |source: u8, word: Evidence| Evidence { source: address(source), ..word };
        let window = |second: u64, kind: &str, begin: u64| Evidence {
            window: Some(WindowRef {
                begin: Timestamp((100_000 + begin) * SECOND),
                end: Timestamp((100_060 + begin) * SECOND),
                model: "host-v1".into(),
                version: "1".into(),
            }),
            ..word(second, kind, None)
        };
        let cases = [
            ("the same of the same", word(20, "scan", Some(1)), 1),
            ("the same of all", word(20, "scan", None), 1),
            ("the same of another target", word(20, "scan", Some(2)), 2),
            ("another name, of the same service", word(20, "flood", Some(1)), 1),
            ("another name, of another target", word(20, "flood", Some(2)), 2),
            ("another name, another port", Evidence { port: Some(22), ..word(20, "brute_force", Some(1)) }, 2),
            ("another source", of(67, word(20, "scan", Some(1))), 2),
            ("long after", word(400, "scan", Some(1)), 2),
            ("the same and worse", Evidence { severity: 1, ..word(20, "scan", Some(1)) }, 2),
            ("another name, a minute later", word(70, "flood", Some(1)), 2),
            ("another name, at no port that is known", Evidence { port: None, ..word(20, "flood", Some(1)) }, 2),
            ("the hour, of the same name", hour(word(1500, "scan", Some(1))), 1),
            ("the hour, of another name", hour(word(20, "flood", Some(1))), 2),
            ("an hour of the same name, half a day later", hours_later(word(43_000, "scan", Some(1))), 1),
            ("two days later", hours_later(word(180_000, "scan", Some(1))), 2),
            ("another name and worse", Evidence { severity: 1, ..word(20, "flood", Some(1)) }, 2),
            ("the minute in which it was told", window(30, "flood", 0), 1),
            ("later in the minute", window(55, "flood", 0), 2),
            ("the next minute, of another name", window(70, "flood", 60), 2),
            ("the next minute, of the same", window(70, "scan", 60), 1),
        ];
        for (case, word, alerts) in cases {
            assert_eq!(told([scan(), word]).0.len(), alerts, "{case}");
        }
        let hint = evidence(10, Detector::Cleartext, "http", Some(1));
        assert_eq!(told([hint, word(20, "flood", Some(1))]).0.len(), 2, "a hint takes nothing up");
        // What the model said of two hosts is more than the detector found of one.
        let (two, _) = told([word(1, "scan", Some(1)), word(2, "scan", Some(2)), scan()]);
        assert_ne!(two[0].id, two[1].id);
    }

    #[test]
    fn a_flood_of_forged_sources_takes_what_is_said_of_its_target() {
        let flood = Evidence { source: None, ..evidence(10, Detector::Flood, "syn", Some(1)) };
        let words = (0..50_u8).map(|source| Evidence { source: address(100 + source), ..word(11, "scan", Some(1)) });
        let (told, joins) = told([flood].into_iter().chain(words));
        assert_eq!((told.len(), joins), (1, 50));
    }

    /// A victim is flooded by many reflectors, and by no source that is known.
    #[test]
    fn what_is_said_of_the_victim_of_reflectors_joins_whichever_was_told() {
        let of = |reflector: u8, found: Evidence| Evidence { source: address(reflector), port: Some(53), ..found };
        let nobody = |word: Evidence| Evidence { source: None, port: None, ..word };
        let reflected = || of(53, evidence(10, Detector::Amplification, "same_question", Some(1)));
        let say = |second, target| word(second, "amplification", Some(target));
        for (case, words, alerts) in [
            ("the victim's minute", vec![nobody(say(40, 1))], 1),
            ("another reflector's", vec![of(54, say(40, 1))], 1),
            ("another victim's", vec![nobody(say(40, 2))], 2),
            ("the same asks the victim something else", vec![of(54, word(11, "web_attack", Some(1)))], 2),
        ] {
            assert_eq!(told([reflected()].into_iter().chain(words)).0.len(), alerts, "{case}");
        }
        let (first, _) = told([of(53, say(8, 1)), reflected(), nobody(say(40, 1))]);
        assert_eq!((first.len(), &first[0].id), (2, &first[1].id), "what the model said first is taken up");
        let (model, _) = told([of(53, say(8, 1)), nobody(say(40, 1)), of(54, say(50, 1)), of(53, say(60, 2))]);
        assert_eq!(model.len(), 2, "one of each victim, whatever the model said of it");
    }

    /// Words that join are no sources, however many they are.
    #[test]
    fn one_source_that_goes_on_is_no_crowd() {
        let guess = |second| evidence(second, Detector::BruteForce, "http", Some(1));
        let words = (0..40).flat_map(|second| [guess(10 + second), word(10 + second, "web_attack", Some(1))]);
        let (told, joins) = told(words);
        assert_eq!((told.iter().map(|alert| alert.occurrences).collect::<Vec<_>>(), joins), (vec![1, 10], 40));
    }

    /// Of a source that does many things, what goes on is kept.
    #[test]
    fn who_was_silent_for_longest_gives_way() {
        let scan =
            |second, port| Evidence { port: Some(port), ..evidence(second, Detector::Scan, "vertical", Some(1)) };
        let others = (0..12_u16)
            .flat_map(|number| [scan(20 + u64::from(number), 1000 + number), scan(20 + u64::from(number), 80)]);
        let (told, joins) = told([scan(10, 80)].into_iter().chain(others).chain([word(40, "flood", Some(1))]));
        assert!(
            told.iter().all(|alert| alert.evidence.detector == Detector::Scan),
            "{:?}",
            told.iter().map(names).collect::<Vec<_>>()
        );
        assert_eq!(joins, 1);
    }

    #[test]
    fn memory_is_bounded() {
        let mut joined = Joined::new([300 * SECOND, 30 * SECOND], 16);
        for number in 0..200_u8 {
            let seen =
                Evidence { source: address(number), ..evidence(u64::from(number), Detector::Scan, "slow", None) };
            for port in 0..10_u16 {
                let seen = Evidence { port: Some(port), ..seen.clone() };
                joined.note(Affair::of(&seen), &seen);
            }
        }
        let latest = joined.said.existing(&Whom::Source(IpAddr::from([10, 0, 0, 199]))).map(|said| said.claims.len());
        assert!(joined.said.len() <= 16);
        assert_eq!(latest, Some(CLAIMS));
    }
}
