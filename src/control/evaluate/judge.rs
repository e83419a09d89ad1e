//! One verdict for each alert of a recording.

use super::labels::Label;
use super::truth::{Episode, FlowTruth, Origin, Truth};
use super::{Family, meaning};
use crate::control::alert::Alert;
use crate::dataplane::detect::{Detector, Evidence};
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What an alert was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Of an attack, and it says which family.
    Hit,
    /// Of an attack, under another name than its own.
    Other,
    /// Of an attack that this run does not count.
    Uncounted,
    /// Of no attack, and a true statement by the labels: honest, and against the rules.
    Confirmed,
    /// Of no attack.
    False,
}

/// When and by whom an episode was found first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Found {
    /// Seconds from the episode's first packet to the moment at which the evidence could be told: of a window its end.
    pub after_s: f64,
    /// Best of all that found it, 0..=1.
    pub confidence: f64,
    /// Detector and kind.
    pub by: String,
    /// By repeats of an alert alone that stood already.
    pub is_repeat: bool,
}

/// One attack and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EpisodeRow {
    /// Its number in the labels.
    pub id: u64,
    /// What it was.
    pub family: Family,
    /// By which program.
    pub tool: String,
    /// How.
    pub way: String,
    /// What its program was told to do about being seen; empty: nothing.
    pub evasion: String,
    /// How it hid, by kind; empty: not at all.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hides: Vec<String>,
    /// What else was drawn for it.
    pub variant: String,
    /// Why it does not count.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uncounted: Option<String>,
    /// Found as what it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub found: Option<Found>,
    /// Found as any attack, or by a model as unlike anything learnt.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub noticed: Option<Found>,
}

/// One alert and what it was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AlertRow {
    /// Detector and kind.
    pub by: String,
    /// 1 (high) to 4.
    pub severity: u8,
    /// 0..=1.
    pub confidence: f64,
    /// Capture time, nanoseconds.
    pub time_ns: u64,
    /// Which of its family's it counts for; nothing: it names none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub family: Option<Family>,
    /// What it was.
    pub verdict: Verdict,
    /// Number of the attack that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub episode: Option<u64>,
    /// By which rule it is confirmed; of a false one what its flow was (habit).
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub because: String,
    /// The alert's sentence; of false ones alone.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub summary: String,
}

/// A recording, judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judged {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Do its false alerts count? Not where the model has seen its honest traffic.
    pub counts_false: bool,
    /// Days of an active inside host.
    pub host_days: f64,
    /// Flows.
    pub flows: u64,
    /// Each attack.
    pub episodes: Vec<EpisodeRow>,
    /// Each alert.
    pub alerts: Vec<AlertRow>,
}

/// How a login in the clear is called (its beginning), and the honest habits that make such ones (`models/lab/honest`).
const IN_THE_CLEAR: [(&str, &[&str]); 8] = [
    ("ftp", &["ftp_fetch", "ftp_mistyped"]),
    ("http", &["web_login"]),
    ("imap", &["imap_read", "imap_poll", "stale_password"]),
    ("mqtt", &["mqtt_use", "sensor", "broker"]),
    ("pop3", &["pop_fetch"]),
    ("redis", &["redis_use", "stale_password"]),
    ("smtp", &["mail_send", "mail_swaks", "mail_refused"]),
    ("telnet", &["telnet_use"]),
];

/// What a resolver passes on in its own name.
const RELAYED: [&str; 4] = ["dns_tunnel", "exfiltration", "dga", "beacon"];

/// Evidence may be dated by the beginning of its second.
const BEFORE_NS: u64 = 2 * SECOND;
/// Evidence that comes with the end of a flow comes as long after its last packet as flows live.
const AFTER_NS: u64 = 900 * SECOND;
/// Of detectors that decide by the hour.
const AFTER_HOUR_NS: u64 = 4500 * SECOND;
/// What has another name has to be nearer to be taken for the attack.
const AFTER_OTHER_NS: u64 = 330 * SECOND;

/// How long after an attack's last packet its evidence may come.
fn after_ns(evidence: &Evidence, is_meant: bool) -> u64 {
    match evidence.detector {
        // What a model says of a pair is dated by the latest packet of its hour, of which the attack may have been the first minute.
        Detector::Model if evidence.flow.is_none() && evidence.target.is_some() => AFTER_HOUR_NS,
        _ if !is_meant => AFTER_OTHER_NS,
        Detector::Beacon | Detector::Exfiltration | Detector::Lateral | Detector::TlsAnomaly => AFTER_HOUR_NS,
        _ => AFTER_NS,
    }
}

/// Could the evidence, by whom it names, be of the episode? Who sends under made-up addresses is known by the target, but only
/// to evidence that means such an attack.
fn fits(evidence: &Evidence, episode: &Episode, is_meant: bool) -> bool {
    let is_forged = episode.is_forged && is_meant;
    let is_relayed = is_meant && RELAYED.contains(&episode.family.name());
    if evidence.source_mac.as_ref().is_some_and(|mac| episode.macs.contains(&mac.to_ascii_lowercase())) {
        return true;
    }
    let did = |address: &IpAddr| episode.sources.contains(address);
    let had = |address: &IpAddr| episode.targets.is_empty() || episode.targets.contains(address);
    let listed = |address: &IpAddr| episode.targets.contains(address);
    match (&evidence.source, &evidence.target) {
        (Some(source), Some(target)) => {
            did(source) && (had(target) || did(target))
                || did(target) && had(source)
                || is_relayed && listed(source) && listed(target)
                || is_forged && (had(target) || listed(source))
        }
        (Some(source), None) => did(source) || is_relayed && listed(source) || is_forged && had(source),
        (None, Some(target)) => listed(target) || is_forged && had(target),
        (None, None) => is_forged,
    }
}

/// Where an alert belongs to.
struct Place {
    episode: Option<usize>,
    family: Option<Family>,
    verdict: Verdict,
    because: String,
}

/// Judges the alerts of one recording.
pub struct Judge {
    truth: Truth,
    episodes: Vec<EpisodeRow>,
    alerts: Vec<AlertRow>,
}

impl Judge {
    /// Nothing seen yet.
    pub fn new(truth: Truth) -> Judge {
        let row = |episode: &Episode| EpisodeRow {
            id: episode.id,
            family: episode.family,
            tool: episode.tool.clone(),
            way: episode.way.clone(),
            evasion: episode.evasion.clone(),
            hides: episode.hides.iter().map(|kind| (*kind).to_owned()).collect(),
            variant: episode.variant.clone(),
            uncounted: episode.uncounted.map(str::to_owned),
            found: None,
            noticed: None,
        };
        Judge { episodes: truth.episodes.iter().map(row).collect(), alerts: Vec::new(), truth }
    }

    /// What is being judged by.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// The capture's first packet, where the labels do not tell when its attack began; after all alerts.
    pub fn began(&mut self, first: Timestamp) {
        for row in self.episodes.iter_mut().filter(|_| self.truth.is_whole) {
            for found in [&mut row.found, &mut row.noticed].into_iter().flatten() {
                found.after_s = (found.after_s - first.0 as f64 / 1e9).max(0.0);
            }
        }
    }

    /// An alert.
    pub fn alert(&mut self, alert: &Alert) {
        let evidence = &alert.evidence;
        let place = self.place(evidence);
        self.credit(evidence, &place, false);
        let honest = matches!(place.verdict, Verdict::False | Verdict::Confirmed);
        self.alerts.push(AlertRow {
            by: by(evidence),
            severity: evidence.severity,
            confidence: evidence.confidence,
            time_ns: evidence.time.0,
            family: place.family,
            verdict: place.verdict,
            episode: place.episode.map(|index| self.episodes[index].id),
            because: place.because,
            summary: if honest { evidence.summary.clone() } else { String::new() },
        });
    }

    /// Evidence that made no alert, because one of the same affair stands: an attack that it is about is found all the same.
    pub fn repeat(&mut self, evidence: &Evidence) {
        let place = self.place(evidence);
        self.credit(evidence, &place, true);
    }

    /// The recording, judged. What the labels do not tell comes from the replay.
    pub fn finish(self, host_days: f64, flows: u64, counts_false: bool) -> Judged {
        Judged {
            counts_false,
            host_days: self.truth.host_days.unwrap_or(host_days),
            flows: if self.truth.is_whole { flows } else { self.truth.flows },
            name: self.truth.name,
            origin: self.truth.origin,
            episodes: self.episodes,
            alerts: self.alerts,
        }
    }

    fn credit(&mut self, evidence: &Evidence, place: &Place, is_repeat: bool) {
        let Some(index) = place.episode else { return };
        let since = self.truth.episodes[index].span.0;
        let fresh = Found {
            after_s: evidence.told().since(since) as f64 / 1e9,
            confidence: evidence.confidence,
            by: by(evidence),
            is_repeat,
        };
        let row = &mut self.episodes[index];
        let is_named = place.family == Some(row.family);
        // A hint that honest users give as well (a password in the clear, an odd port) tells nobody of an attack.
        let is_of_attacks =
            evidence.detector == Detector::Model || !meaning(evidence.detector, &evidence.kind).is_empty();
        for found in
            [is_of_attacks.then_some(&mut row.noticed), is_named.then_some(&mut row.found)].into_iter().flatten()
        {
            match found {
                None => *found = Some(fresh.clone()),
                Some(known) => {
                    if fresh.after_s < known.after_s {
                        (known.after_s, known.by) = (fresh.after_s, fresh.by.clone());
                    }
                    known.confidence = known.confidence.max(fresh.confidence);
                    known.is_repeat &= is_repeat;
                }
            }
        }
    }

    fn place(&self, evidence: &Evidence) -> Place {
        let means = meaning(evidence.detector, &evidence.kind);
        let flow = evidence.flow.as_ref();
        let known = flow.and_then(|flow| self.truth.flow(flow, evidence.time));
        let is_itself = flow.is_some_and(|flow| {
            let ends = [Some(flow.source), Some(flow.destination)];
            !flow.is_example && ends.contains(&evidence.source) && ends.contains(&evidence.target)
        });
        let episode = match known {
            Some(truth) if is_itself && truth.label == Label::Benign => None,
            _ => self.episode(evidence, &means, known, is_itself),
        };
        let Some(index) = episode else {
            let rule = known.and_then(|truth| confirmed(evidence, truth)).or_else(|| grows(evidence, &self.truth));
            let verdict = if rule.is_some() { Verdict::Confirmed } else { Verdict::False };
            let habit = || known.map(|truth| truth.cause.to_string()).unwrap_or_default();
            let because = rule.unwrap_or_else(habit);
            return Place { episode: None, family: means.first().copied(), verdict, because };
        };
        let episode = &self.truth.episodes[index];
        let is_meant = means.contains(&episode.family);
        let verdict = match episode.uncounted {
            Some(_) => Verdict::Uncounted,
            None if is_meant => Verdict::Hit,
            None => Verdict::Other,
        };
        let family = if is_meant { Some(episode.family) } else { means.first().copied() };
        Place { episode: Some(index), family, verdict, because: String::new() }
    }

    /// The attack that evidence is about: the one its flow is of where it names that flow; else one that fits by who and
    /// when, before others one whose family it means, then the flow's, then the nearest in time, then one not found yet. Evidence
    /// whose example is honest is of no attack that it does not mean.
    fn episode(
        &self,
        evidence: &Evidence,
        means: &[Family],
        known: Option<&FlowTruth>,
        is_itself: bool,
    ) -> Option<usize> {
        let numbered = known.filter(|truth| truth.label == Label::Attack).and_then(|truth| truth.episode);
        let is_honest = known.is_some_and(|truth| truth.label == Label::Benign);
        let of_flow = |episode: &Episode| numbered == Some(episode.id);
        let rank = |index: usize, episode: &Episode| {
            let is_meant = means.contains(&episode.family);
            if is_itself && numbered.is_some() {
                return of_flow(episode).then_some((false, false, 0, false, index));
            }
            if is_itself && known.is_some_and(|truth| truth.family.is_some_and(|family| family != episode.family)) {
                return None;
            }
            let (first, last) = episode.span;
            let early = evidence.time.0.saturating_add(BEFORE_NS) < first.0;
            let late = evidence.time.since(last);
            if early || late > after_ns(evidence, is_meant) {
                return None;
            }
            if !self.truth.is_whole
                && !of_flow(episode)
                && (is_honest && !is_meant || !fits(evidence, episode, is_meant))
            {
                return None;
            }
            Some((!is_meant, !of_flow(episode), late, self.episodes[index].found.is_some(), index))
        };
        let happened = self.truth.episodes.iter().enumerate().filter(|(_, episode)| !is_nothing(episode));
        happened.filter_map(|(index, episode)| rank(index, episode)).min().map(|(.., index)| index)
    }
}

/// Did the episode send nothing?
fn is_nothing(episode: &Episode) -> bool {
    matches!(episode.uncounted, Some("sent nothing" | "no packet"))
}

fn by(evidence: &Evidence) -> String {
    format!("{}/{}", evidence.detector.name(), evidence.kind)
}

/// The rule by which labels prove that a network grows: its days were made so.
fn grows(evidence: &Evidence, truth: &Truth) -> Option<String> {
    let (_, an_hour) = truth.growth.filter(|(since, _)| evidence.time >= *since)?;
    let is_network = evidence.detector == Detector::Growth && evidence.source.is_none();
    is_network.then(|| format!("all honest flows grow by {:.0} % an hour", 100.0 * an_hour))
}

/// The rule by which labels prove that evidence of no attack is true: a password in the clear is one where the flow's habit is
/// one that gives it to such a service without encryption.
fn confirmed(evidence: &Evidence, truth: &FlowTruth) -> Option<String> {
    if evidence.detector != Detector::Cleartext || truth.label != Label::Benign {
        return None;
    }
    let (_, habits) = IN_THE_CLEAR.iter().find(|(how, _)| evidence.kind.starts_with(how))?;
    let habit = truth.cause.split('+').find(|habit| habits.contains(habit))?;
    Some(format!("{habit} gives its password in the clear"))
}
