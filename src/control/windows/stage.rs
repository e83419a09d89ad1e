//! Rows of windows in microbatches through models, and what these say as evidence.
//!
//! Owns the rows that wait for a call and what the models found. One row is evidence: it is of a whole minute or hour, where of
//! flows several are asked for; but of four flows at least, and of eight hosts of one family at a moment at most, so that forged
//! sources are no alerts. Rows of windows that flows are missing of are not judged: they would say less than there was.
//! Pure but for `asked`, which has the files: who has a thread calls it.

mod asked;
mod door;

pub use asked::{Files, HOST_MANIFEST, Models, PAIR_MANIFEST, judge};
pub use door::{Door, Kind, StagePort, door};

use super::schema::{HOST_DNS, HOST_DURATION, HOST_ICMP};
use super::{Of, Row, Stats as WindowStats, Windows};
use crate::dataplane::decode::Endpoint;
use crate::dataplane::detect::carrier::{SLOW_HELD_NS, Spoken};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term, WindowRef, model};
use crate::dataplane::inspect::Protocol;
use crate::dataplane::score::{BATCH_MAX, Family, Reason, ScoreError, Verdict};
use crate::exchange::FlowSummary;
use crate::units::{MICROSECOND, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What the operator may say.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Ask the models of windows, where there are some?
    pub enabled: bool,
    /// Score from which the severity is 2 instead of 3.
    pub high: f32,
    /// Values named in an alert, those that did most for the score.
    pub features: usize,
    /// Hosts of open windows; beyond that those silent for longest give their rows early.
    pub hosts: usize,
    /// Pairs of host and service of open windows, the same.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        let super::Settings { hosts, pairs } = super::Settings::default();
        Settings { enabled: true, high: 0.99, features: 3, hosts, pairs }
    }
}

impl Settings {
    /// Limits of the windows.
    pub fn windows(&self) -> super::Settings {
        super::Settings { hosts: self.hosts, pairs: self.pairs }
    }

    /// Bytes of the stage at most.
    pub fn memory(&self) -> usize {
        let waiting = 2 * BATCH_MAX * size_of::<(Row, f32)>();
        if self.enabled { self.windows().memory() + waiting } else { 0 }
    }
}

/// A model of one kind of rows.
pub trait Judge: Send {
    /// Judges rows, one behind the other and at most [`BATCH_MAX`]: `told` gets the place of each that is to be told.
    ///
    /// # Errors
    /// The runtime's; nothing was told then.
    fn judge(&mut self, rows: &[f32], told: &mut dyn FnMut(usize, Verdict)) -> Result<(), ScoreError>;

    /// Name and version of its manifest.
    fn model(&self) -> (&str, &str);

    /// The values that did most for what was said of a row, the strongest first.
    ///
    /// # Errors
    /// The runtime's.
    fn reasons(&mut self, row: &[f32], family: Family, limit: usize) -> Result<Vec<Reason>, ScoreError>;
}

/// What the stage met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Stats {
    /// The windows.
    pub windows: WindowStats,
    /// Rows that a model judged.
    pub judged: u64,
    /// Rows given up because the model's call failed.
    pub failed: u64,
    /// Findings whose reasons the model could not give.
    pub unexplained: u64,
    /// Findings that were one too many of their family at one moment.
    pub beyond: u64,
    /// Rows that a model took for what their flows cannot carry, or that are of the link alone.
    pub implausible: u64,
}

/// The models that there are; a kind of rows without one is passed over.
#[derive(Default)]
pub struct Judges {
    /// Of hosts' minutes.
    pub hosts: Option<Box<dyn Judge>>,
    /// Of pairs' hours.
    pub pairs: Option<Box<dyn Judge>>,
}

/// A model and the rows that wait for its next call.
struct Lane {
    judge: Option<Box<dyn Judge>>,
    waiting: Vec<Row>,
    /// Their values, one behind the other.
    values: Vec<f32>,
}

/// What judges, apart from the windows that give to it.
struct Bench {
    settings: Settings,
    hosts: Lane,
    pairs: Lane,
    found: Vec<Evidence>,
    /// Where other judges come in; `None`: these stay.
    door: Option<Door>,
    judged: u64,
    failed: u64,
    unexplained: u64,
    /// Rows told, by end of their window and family.
    told_of: BTreeMap<(Timestamp, Family), u32>,
    beyond: u64,
    implausible: u64,
}

/// Flows that a window needs to be told of: of fewer the models of flows say what there is to say, and each forged source of a flood
/// has one.
const FLOWS_MIN: f32 = 4.0;
/// Rows of one family that are told of windows that end together. More hosts that do the same at once are one event, which others of
/// the detectors tell; without a bound, who forges sources writes alerts.
const TOLD_MAX: u32 = 8;

/// The stage.
pub struct Stage {
    windows: Windows,
    bench: Bench,
}

impl Stage {
    /// One that has seen nothing.
    pub fn new(settings: Settings, judges: Judges) -> Stage {
        let lane = |judge| Lane { judge, waiting: Vec::new(), values: Vec::new() };
        let (hosts, pairs) = (lane(judges.hosts), lane(judges.pairs));
        Stage {
            windows: Windows::new(settings.windows()),
            bench: Bench {
                settings,
                hosts,
                pairs,
                found: Vec::new(),
                door: None,
                judged: 0,
                failed: 0,
                unexplained: 0,
                told_of: BTreeMap::new(),
                beyond: 0,
                implausible: 0,
            },
        }
    }

    /// The same, taking the judges that come in there.
    #[must_use]
    pub fn following(mut self, door: Door) -> Stage {
        self.bench.door = Some(door);
        self
    }

    /// A flow ended.
    pub fn flow(&mut self, flow: &FlowSummary) {
        let Stage { windows, bench } = self;
        windows.flow(flow, &mut |row| bench.take(row));
    }

    /// Flows that ended were not told.
    pub fn untold(&mut self) {
        self.windows.lost();
    }

    /// Moment at which the window is over that is the next to be.
    pub fn next(&self) -> Option<Timestamp> {
        self.windows.next()
    }

    /// All flows have come that ended before `reached`, and no window is over by then that was not judged.
    pub fn pass(&mut self, reached: Timestamp) {
        let Stage { windows, bench } = self;
        windows.reach(reached, &mut |row| bench.take(row));
    }

    /// All flows have come that ended before: judges the windows that are over by then.
    pub fn reach(&mut self, reached: Timestamp, out: &mut Vec<Evidence>) {
        let Stage { windows, bench } = self;
        bench.take_judges();
        windows.reach(reached, &mut |row| bench.take(row));
        bench.judge_all();
        out.append(&mut bench.found);
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        let Bench { judged, failed, unexplained, beyond, implausible, .. } = self.bench;
        Stats { windows: self.windows.stats(), judged, failed, unexplained, beyond, implausible }
    }
}

impl Bench {
    /// Rows that wait are judged by the former ones.
    fn take_judges(&mut self) {
        while let Some((kind, judge)) = self.door.as_ref().and_then(Door::take) {
            self.judge_all();
            let lane = if kind == Kind::Hosts { &mut self.hosts } else { &mut self.pairs };
            lane.judge = judge;
        }
    }

    fn take(&mut self, row: Row) {
        if !row.is_complete {
            return;
        }
        let (lane, values) = match &row.of {
            Of::Host(_, values) => (&mut self.hosts, values.as_slice()),
            Of::Pair(_, values) => (&mut self.pairs, values.as_slice()),
        };
        if lane.judge.is_none() {
            return;
        }
        lane.values.extend_from_slice(values);
        lane.waiting.push(row);
        if lane.waiting.len() >= BATCH_MAX {
            self.judge_all();
        }
    }

    /// Both kinds, so that what is found stands in one order.
    fn judge_all(&mut self) {
        let Bench { settings, hosts, pairs, found, door, judged, failed, unexplained, told_of, beyond, implausible } =
            self;
        // Windows end in order, so what was told of those before is of no use any more.
        if let Some(end) = hosts.waiting.iter().chain(&pairs.waiting).map(Row::end).min() {
            told_of.retain(|(of, _), _| *of >= end);
        }
        for (kind, lane) in [(Kind::Hosts, hosts), (Kind::Pairs, pairs)] {
            let Some(judge) = lane.judge.as_mut().filter(|_| !lane.waiting.is_empty()) else { continue };
            let mut told = Vec::new();
            match judge.judge(&lane.values, &mut |place, verdict| told.push((place, verdict))) {
                Ok(()) => {
                    *judged += lane.waiting.len() as u64;
                    door.iter().for_each(|door| door.judged(kind, &lane.values));
                }
                Err(_) => *failed += lane.waiting.len() as u64,
            }
            for (place, verdict) in told {
                let Some(row) = lane.waiting.get(place).filter(|row| row.flows() >= FLOWS_MIN) else { continue };
                if is_of_the_link(row) || !carries(row, verdict.family) {
                    *implausible += 1;
                    continue;
                }
                let same = told_of.entry((row.end(), verdict.family)).or_default();
                *same += 1;
                if *same > TOLD_MAX {
                    *beyond += 1;
                    continue;
                }
                let reasons = judge.reasons(row.values(), verdict.family, settings.features);
                *unexplained += u64::from(reasons.is_err());
                let (model, version) = judge.model();
                let window = WindowRef {
                    begin: row.window,
                    end: row.end(),
                    model: model.to_owned(),
                    version: version.to_owned(),
                };
                found.push(evidence(row, window, &verdict, &reasons.unwrap_or_default(), settings));
            }
            lane.waiting.clear();
            lane.values.clear();
        }
    }
}

/// A host's minute under an address of the link alone (RFC 4291 section 2.5.6, RFC 3927): what a host says there by itself, to each
/// neighbour a question, is like a scan and nobody's.
fn is_of_the_link(row: &Row) -> bool {
    let Of::Host(address, _) = &row.of else { return false };
    match (Endpoint { address: *address, port: 0 }).ip() {
        IpAddr::V4(address) => address.is_link_local() || address.is_unspecified(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_unspecified(),
    }
}

/// Can what there was in the window be of this family? Of a pair its service says. A host's minute says which transports there were,
/// and which of its flows asked for names, but not what was said on the link or to a service, so families of those it cannot tell.
fn carries(row: &Row, family: Family) -> bool {
    match &row.of {
        Of::Pair(pair, _) => {
            let (protocol, port) = (pair.protocol, pair.port);
            Spoken { protocol, port, application: Protocol::Unknown, held_ns: None }.carries(family)
        }
        Of::Host(_, values) => {
            let has = |place: usize| values.get(place).is_some_and(|share| *share > 0.0);
            match family {
                Family::DnsTunnel | Family::Dga => has(HOST_DNS),
                Family::IcmpTunnel => has(HOST_ICMP),
                // A minute of which hardly anything was held for long is of no slow client; one among much else flows tell of.
                Family::SlowHttp => {
                    let held_us = values.get(HOST_DURATION).map_or(0.0, |mean| f64::from(*mean).exp_m1());
                    held_us * MICROSECOND as f64 >= SLOW_HELD_NS as f64
                }
                Family::ArpSpoofing
                | Family::NamePoisoning
                | Family::RogueService
                | Family::DohTunnel
                | Family::Mining => false,
                _ => true,
            }
        }
    }
}

fn evidence(row: &Row, window: WindowRef, verdict: &Verdict, reasons: &[Reason], settings: &Settings) -> Evidence {
    let ip = |address: u128| Endpoint { address, port: 0 }.ip();
    let (host, to, span) = match &row.of {
        Of::Host(host, _) => (ip(*host), None, "minute"),
        Of::Pair(pair, _) => (ip(pair.host), Some(pair), "hour"),
    };
    let port = to.map(|pair| pair.port).filter(|port| *port != 0);
    let place = match (to, port) {
        (Some(pair), Some(port)) => format!(" to {} port {port}", ip(pair.peer)),
        (Some(pair), None) => format!(" to {}", ip(pair.peer)),
        (None, _) => String::new(),
    };
    let what = match verdict.family {
        Family::Unusual => "like nothing that was learnt".to_owned(),
        family => format!("like {}", family.name().replace('_', " ")),
    };
    // Who asks a reflector has forged his address: what goes out under it is meant for him, and comes from the reflector.
    let is_forged = verdict.family == Family::Amplification;
    let peer = to.map(|pair| ip(pair.peer));
    let (source, target) = if is_forged { (peer, Some(host)) } else { (Some(host), peer) };
    let (whose, end) = if is_forged { ("flows in its name", ", which floods it") } else { ("its flows", "") };
    let score = Term::exact("score", f64::from(verdict.score)).against(Relation::AtLeast, f64::from(verdict.threshold));
    Evidence {
        severity: model::severity(verdict.family, verdict.score, settings.high),
        confidence: f64::from(verdict.score),
        source,
        target,
        port,
        protocol: to.map(|pair| pair.protocol),
        summary: format!(
            "{host}{place}: {whose} that ended in the {span} from {} are {what} to {} ({:.3}){end}",
            clock(row.window),
            window.model,
            verdict.score
        ),
        terms: std::iter::once(score).chain(model::terms(reasons)).collect(),
        technique: verdict.family.technique().map(str::to_owned),
        window: Some(window),
        ..Evidence::new(Detector::Model, verdict.family.name(), row.last)
    }
}

/// Hour and minute of the day, `14:00 UTC`.
fn clock(time: Timestamp) -> String {
    let text = time.to_rfc3339();
    format!("{} UTC", text.get(11..16).unwrap_or(&text))
}

#[cfg(test)]
mod tests;
