//! Verdicts of the model to evidence, whose kind is the family that the model names.
//!
//! The model's thresholds were applied on the worker; this half counts the flows of one source and family that reached them,
//! names the latest, and keeps its row: for evidence that becomes an alert the model is asked which features made the score
//! ([`terms`]).
//!
//! One flow is no evidence. A threshold lets some honest flow in some thousands through, and those are of anybody, while most
//! tools that the model knows make many flows from one source: three are asked for at least, more where the model's manifest says
//! so. Where an attack is one long flow (a tunnel, an upload) the detectors of behaviour have more to go by than its first packets, and
//! only where honest flows of that carrier are few ([`Spoken::is_narrow`]) does the manifest's one flow stand.
//! Flows are told apart by their key, so the rows of one long flow count once. What a flow cannot carry it is not told for
//! ([`super::carrier`]), and what is like nothing learnt is a hint, never more. Sources that forge their address are the flood
//! detector's.

use super::carrier::Spoken;
use super::cold::{ColdMap, Touched};
use super::naming::{counted, has_ports, protocol_name};
use super::{Detector, Evidence, FlowRef, JudgedRow, Relation, ScoredFlow, Term};
use crate::dataplane::decode::FlowKey;
use crate::dataplane::score::{self, Family, Reason};
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};

/// How scores become evidence. The thresholds themselves are the model's, or the operator's, and applied on the worker.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Score from which the severity is 2 instead of 3.
    pub high: f32,
    /// Features named in an alert, those that did most for the score.
    pub features: usize,
    /// Flows of one source that must reach the threshold of one family within `horizon_s` before there is evidence, at most 16. 0:
    /// what the model's manifest says of the family, three at least but for a long one of a narrow carrier. One: every flow is
    /// evidence, the few honest ones included.
    pub flows: usize,
    /// Seconds for which a flow counts.
    pub horizon_s: u64,
    /// Sources remembered, with each family anew; beyond that the coldest quarter is forgotten.
    pub sources: usize,
}

/// Fewest flows that make evidence where the operator does not say.
const FLOWS_LEAST: usize = 3;
/// Fewest packets of a flow that can be evidence alone: those that people begin with a ping have fewer, and half of them look like a
/// tunnel's first.
const ALONE_PACKETS: u32 = 64;
/// Most flows remembered of one source.
const FLOWS_MAX: usize = score::FLOWS_MAX as usize;

impl Default for Settings {
    fn default() -> Settings {
        Settings { high: 0.99, features: 3, flows: 0, horizon_s: 300, sources: 1 << 14 }
    }
}

/// A source with flows of one family that reached the threshold.
#[derive(Default)]
struct Suspect {
    /// The latest of them, each with the time it last did, oldest first.
    latest: Vec<(Timestamp, FlowKey)>,
    /// All of them since the source became suspect. A flow that comes back after many others counts again.
    flows: u64,
}

impl Touched for Suspect {
    fn touched(&self) -> Timestamp {
        self.latest.last().map_or(Timestamp(0), |(time, _)| *time)
    }
}

/// Turns scores into evidence.
pub struct Decider {
    settings: Settings,
    suspects: ColdMap<(u128, Family), Suspect>,
    implausible: u64,
}

impl Decider {
    /// One that has seen no flow.
    pub fn new(settings: Settings) -> Decider {
        Decider { settings, suspects: ColdMap::new(settings.sources), implausible: 0 }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Sources forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.suspects.forgotten()
    }

    /// Flows that reached the threshold of a family which they cannot carry.
    pub fn implausible(&self) -> u64 {
        self.implausible
    }

    /// Takes one score, in time order: evidence, if it makes or keeps its source suspect.
    pub fn decide(&mut self, scored: &ScoredFlow) -> Option<Evidence> {
        let spoken = spoken(scored);
        if !spoken.carries(scored.family) {
            self.implausible += 1;
            return None;
        }
        let needed = match self.settings.flows {
            0 if scored.needed > 0 && scored.packets >= ALONE_PACKETS && spoken.is_narrow(scored.family) => {
                usize::from(scored.needed)
            }
            0 => usize::from(scored.needed).max(FLOWS_LEAST),
            said => said,
        }
        .min(FLOWS_MAX);
        let (now, all) = self.count(scored);
        (now >= needed).then(|| self.evidence(scored, needed, all))
    }

    /// How many flows of its source and family count now (at most [`FLOWS_MAX`]), and how many did since it became suspect.
    fn count(&mut self, scored: &ScoredFlow) -> (usize, u64) {
        let (source, _) = scored.key.endpoints(scored.originator);
        let horizon_ns = self.settings.horizon_s.saturating_mul(SECOND);
        let Suspect { latest, flows } = self.suspects.entry((source.address, scored.family), Suspect::default);
        latest.retain(|(time, _)| scored.time.since(*time) <= horizon_ns);
        if latest.is_empty() {
            *flows = 0;
        }
        match latest.iter().position(|(_, key)| *key == scored.key) {
            Some(known) => drop(latest.remove(known)),
            None => *flows += 1,
        }
        if latest.len() >= FLOWS_MAX {
            latest.remove(0);
        }
        latest.push((scored.time, scored.key));
        (latest.len(), *flows)
    }

    fn evidence(&self, scored: &ScoredFlow, needed: usize, all: u64) -> Evidence {
        let (source, destination) = scored.key.endpoints(scored.originator);
        let terms = vec![
            Term::exact("score", f64::from(scored.score)).against(Relation::AtLeast, f64::from(scored.threshold)),
            Term::exact("packets", f64::from(scored.packets)),
            Term::exact("flows", all as f64).against(Relation::AtLeast, needed as f64),
        ];
        let protocol = scored.key.protocol();
        let port = has_ports(protocol).then_some(destination.port);
        let place = port.map(|port| format!(" port {port}")).unwrap_or_default();
        let began = (scored.originator, scored.first_seen);
        let flow = FlowRef::new(&scored.key, began, scored.outer.as_ref(), scored.icmp);
        // Who asks a reflector has forged his address: what goes out under it is meant for him, and comes from the reflector.
        let is_forged = scored.family == Family::Amplification;
        let (by, of) = if is_forged { (destination, source) } else { (source, destination) };
        let who = if is_forged { "in this host's name" } else { "of this source" };
        let whose = match all {
            1 => format!("the first such flow {who}"),
            _ => format!("one of {all} such flows {who}"),
        };
        Evidence {
            detector: Detector::Model,
            kind: scored.family.name().to_owned(),
            time: scored.time,
            severity: severity(scored.family, scored.score, self.settings.high),
            confidence: f64::from(scored.score),
            source: Some(by.ip()),
            target: Some(of.ip()),
            port,
            protocol: Some(protocol),
            summary: format!(
                "{} to {}{place} ({}): the model takes the flow for {} ({:.3}) after {}, {whose}",
                source.ip(),
                destination.ip(),
                protocol_name(protocol),
                scored.family.name(),
                scored.score,
                counted(scored.packets, "packet")
            ),
            terms,
            flow: Some(flow.carrying(scored.application)),
            source_mac: None,
            tunnel: None,
            technique: scored.family.technique().map(str::to_owned),
            window: None,
            row: Some(JudgedRow { family: scored.family, values: scored.row.into() }),
        }
    }
}

fn spoken(scored: &ScoredFlow) -> Spoken {
    let protocol = scored.key.protocol();
    let (_, destination) = scored.key.endpoints(scored.originator);
    let port = if has_ports(protocol) { destination.port } else { 0 };
    Spoken { protocol, port, application: scored.application, held_ns: Some(scored.time.since(scored.first_seen)) }
}

/// How bad a model's word is: 2 from `high` on and else 3; what is like nothing learnt has no name and is a hint.
pub fn severity(family: Family, score: f32, high: f32) -> u8 {
    if family != Family::Unusual && score >= high { 2 } else { 3 }
}

/// What the model's reasons are in evidence, the strongest first.
pub fn terms(reasons: &[Reason]) -> impl Iterator<Item = Term> + '_ {
    reasons.iter().map(|reason| {
        let (name, value) = reason.feature.natural(reason.value);
        let usual = Some(reason.feature.natural(reason.usual).1);
        Term { usual, contribution: Some(f64::from(reason.contribution)), ..Term::exact(name, value) }
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use crate::dataplane::decode::flow_id;
    use crate::dataplane::features::{COUNT, FEATURES};
    use crate::dataplane::inspect::Protocol;
    use crate::units::Timestamp;

    #[test]
    fn evidence_names_the_flow_and_the_threshold() {
        let mut row = [1.0; COUNT];
        row[7] = 7.0;
        let scored = fixtures::scored(Family::BruteForce, 6, [(0x0a00_0042, 40_000), (0x0a00_0005, 80)]);
        let scored = ScoredFlow { threshold: 0.9, row, ..scored };
        let settings = Settings { flows: 1, ..Settings::default() };
        let evidence = Decider::new(settings).decide(&scored).unwrap();
        assert_eq!((evidence.severity, evidence.port, evidence.time), (2, Some(80), Timestamp(5)));
        assert_eq!(evidence.source.unwrap().to_string(), "10.0.0.66");
        let names: Vec<_> = evidence.terms.iter().map(|term| term.name.as_str()).collect();
        assert_eq!(names, ["score", "packets", "flows"]);
        assert!((evidence.terms[0].threshold.unwrap() - 0.9).abs() < 1e-6);
        assert_eq!((evidence.kind.as_str(), evidence.technique.as_deref()), ("brute_force", Some("T1110")));
        let judged = evidence.row.unwrap();
        assert_eq!(
            (judged.family, &*judged.values),
            (Family::BruteForce, &row[..]),
            "what the reasons are asked about"
        );
        let flow = evidence.flow.unwrap();
        assert!(flow.community_id.starts_with("1:"));
        assert_eq!(flow.flow_id, Some(flow_id(&scored.key, Timestamp(3))));
    }

    #[test]
    fn reasons_are_told_in_natural_units() {
        let reason = Reason { feature: &FEATURES[7], value: 7.0, usual: 1.0, contribution: 0.5 };
        let terms: Vec<_> = terms(&[reason]).collect();
        // In bytes, and not in their logarithm: exp(7) - 1, and exp(1) - 1.
        assert_eq!(terms[0].name, "length_deviation_out_bytes");
        assert_eq!((terms[0].value, terms[0].usual, terms[0].contribution), (1096.0, Some(2.0), Some(0.5)));
    }

    /// As the detector tells it: the reflector floods whose address was forged.
    #[test]
    fn the_victim_of_an_amplification_is_its_target() {
        let scored = fixtures::scored(Family::Amplification, 17, [(0x0a00_0042, 40_000), (0x0a00_0005, 11_211)]);
        let evidence = Decider::new(Settings { flows: 1, ..Settings::default() }).decide(&scored).unwrap();
        let ends = [evidence.source, evidence.target].map(|end| end.unwrap().to_string());
        assert_eq!((ends, evidence.port), (["10.0.0.5".to_owned(), "10.0.0.66".to_owned()], Some(11_211)));
        assert!(evidence.summary.ends_with("the first such flow in this host's name"), "{}", evidence.summary);
    }

    /// An echo's identifier stands in the key where others have a port, and is none.
    #[test]
    fn evidence_names_the_protocol_and_a_port_only_where_there_is_one() {
        let summary = |protocol: u8, packets: u32| {
            let scored = fixtures::scored(Family::Flood, protocol, [(0x0a00_0001, 4002), (0x0a00_0102, 4002)]);
            let scored = ScoredFlow { score: 0.5, packets, ..scored };
            let settings = Settings { flows: 1, ..Settings::default() };
            Decider::new(settings).decide(&scored).unwrap().summary
        };
        let rest = "the model takes the flow for flood (0.500) after";
        let whose = "the first such flow of this source";
        assert_eq!(summary(1, 1), format!("10.0.0.1 to 10.0.1.2 (ICMP): {rest} 1 packet, {whose}"));
        assert_eq!(summary(47, 2), format!("10.0.0.1 to 10.0.1.2 (GRE): {rest} 2 packets, {whose}"));
        assert_eq!(summary(17, 3), format!("10.0.0.1 to 10.0.1.2 port 4002 (UDP): {rest} 3 packets, {whose}"));
    }

    #[test]
    fn several_flows_of_one_source_make_evidence_and_one_long_flow_does_not() {
        let of = |family: Family, second: u64, source: u32, port: u16| {
            let time = Timestamp(second * SECOND);
            let scored = fixtures::scored(family, 6, [(source, port), (0x0a00_0005, 80)]);
            ScoredFlow { time, first_seen: time, score: 0.9, packets: 4, ..scored }
        };
        let scored = |second, source, port| of(Family::Scan, second, source, port);
        let found = |scores: &[ScoredFlow]| {
            let mut decider = Decider::new(Settings::default());
            scores.iter().filter(|scored| decider.decide(scored).is_some()).count()
        };
        let one = 0x0a00_0042;
        assert_eq!(found(&[scored(1, one, 1), scored(2, one, 2), scored(3, one, 3), scored(4, one, 4)]), 2);
        assert_eq!(found(&[1, 2, 3, 4, 5].map(|second| scored(second, one, 7))), 0, "rows of one flow");
        let mut decider = Decider::new(Settings::default());
        let last = (0..200_u16).filter_map(|port| decider.decide(&scored(1, one, port))).last().unwrap();
        assert_eq!((last.terms[2].name.as_str(), last.terms[2].value), ("flows", 200.0), "a repeat's number grows");
        assert_eq!(found(&[1, 2, 3, 4, 5].map(|second| scored(second, one + second as u32, 7))), 0, "of five sources");
        assert_eq!(
            found(&[1, 200, 400, 600, 800].map(|second| scored(second, one, second as u16))),
            0,
            "too far apart"
        );
        let families = [Family::Scan, Family::Beacon, Family::Scan, Family::Beacon, Family::Unusual];
        let mixed: Vec<_> =
            (1..).zip(families).map(|(second, family)| of(family, second, one, second as u16)).collect();
        assert_eq!(found(&mixed), 0, "of several families");
        // (what the operator says, what the model says, the flow that is the first evidence)
        for (flows, needed, first) in [(0, 0, 3), (0, 1, 3), (0, 5, 5), (2, 5, 2), (1, 1, 1), (0, 200, 16)] {
            let mut decider = Decider::new(Settings { flows, ..Settings::default() });
            let told = (1..=20).find(|port| {
                decider
                    .decide(&ScoredFlow { needed, ..scored(1, one, *port) })
                    .is_some_and(|told| told.terms[2].threshold == Some(f64::from(first)))
            });
            assert_eq!(told, Some(first), "{flows} {needed}");
        }
    }

    #[test]
    fn what_a_flow_cannot_carry_it_is_not_told_for() {
        let mut decider = Decider::new(Settings { flows: 1, ..Settings::default() });
        let mut told = |family: Family, protocol: u8, port: u16, application: Protocol| {
            let scored = fixtures::scored(family, protocol, [(0x0a00_0001, 40_000), (0x0a00_0102, port)]);
            decider.decide(&ScoredFlow { application, ..scored }).map(|evidence| evidence.severity)
        };
        assert_eq!(told(Family::DnsTunnel, 17, 5004, Protocol::Rtp), None);
        assert_eq!(told(Family::DnsTunnel, 17, 53, Protocol::Dns), Some(2));
        assert_eq!(told(Family::Unusual, 17, 5004, Protocol::Rtp), Some(3), "a hint, however high its rank");
        assert_eq!(decider.implausible(), 1);
        let mut decider = Decider::new(Settings::default());
        let mut alone = |family: Family, protocol: u8, application: Protocol, packets: u32| {
            let scored = fixtures::scored(family, protocol, [(0x0a00_0001, 40_000), (0x0a00_0102, 4444)]);
            let scored = ScoredFlow { needed: 1, packets, application, ..scored };
            decider.decide(&scored).is_some()
        };
        assert!(!alone(Family::IcmpTunnel, 1, Protocol::Unknown, 16), "somebody's ping");
        assert!(alone(Family::IcmpTunnel, 1, Protocol::Unknown, 64), "one flow, as the manifest says");
        assert!(alone(Family::Mining, 6, Protocol::Unknown, 64));
        assert!(!alone(Family::Mining, 6, Protocol::Tls, 64), "which everything speaks");
        assert!(!alone(Family::WebAttack, 6, Protocol::Http, 64));
    }
}
