//! Playbooks: which alert is answered how. A pure function of an alert, what speaks for its source, and where home is.
//!
//! A playbook says what must be so of the alert, which protocol with which parameters answers it, for how long, and whether that is
//! only noted (`observe`), put before somebody (`ask`, unless said otherwise), or done (`auto`). It knows nothing of safety, which
//! has the last word.

use super::prefix::Prefix;
use super::safety::Proof;
use crate::control::alert::Alert;
use crate::dataplane::detect::Detector;
use crate::units::SECOND;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// What comes of a playbook that fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is noted in the audit what would be done.
    Observe,
    /// It waits for somebody to accept it.
    #[default]
    Ask,
    /// It is done.
    Auto,
}

/// From where to where an alert goes, by which of its ends are at home.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From outside to home.
    Inbound,
    /// From home to outside.
    Outbound,
    /// Within home.
    Internal,
    /// Neither end is at home.
    External,
}

impl Direction {
    /// Of two ends; one that is missing is the other's opposite where the alert does not say.
    fn of(alert: &Alert, home: &[Prefix]) -> Option<Direction> {
        let is_home = |address: IpAddr| home.iter().any(|prefix| prefix.holds(address));
        let (source, target) = (alert.evidence.source.map(is_home), alert.evidence.target.map(is_home));
        match (source?, target?) {
            (false, true) => Some(Direction::Inbound),
            (true, false) => Some(Direction::Outbound),
            (true, true) => Some(Direction::Internal),
            (false, false) => Some(Direction::External),
        }
    }
}

/// One playbook.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Playbook {
    /// Its name.
    pub name: String,
    /// What comes of it.
    pub mode: Mode,
    /// Any of these; none: any at all.
    pub detectors: Vec<Detector>,
    /// Any of these kinds; none: any at all.
    pub kinds: Vec<String>,
    /// This severity or a higher one (a lower number).
    pub severity: u8,
    /// At least so sure.
    pub confidence: f64,
    /// The source lies in one of these; none: anywhere, or is not known.
    pub source: Vec<Prefix>,
    /// The target lies in one of these; none: anywhere, or is not known.
    pub target: Vec<Prefix>,
    /// From where to where.
    pub direction: Option<Direction>,
    /// The source is proven to be who it says, or is not.
    pub proven: Option<bool>,
    /// How it is answered.
    pub protocol: String,
    /// With what; texts in braces stand for what the alert tells.
    pub parameters: Value,
    /// For how long, nanoseconds; `None`: as long as is usual.
    pub ttl_ns: Option<u64>,
    /// Packets a second that packets of the alert's signature are limited to while its source is not proven; 0: they are not.
    pub unproven_per_second: u32,
}

/// What a playbook asks for.
#[derive(Clone, PartialEq, Debug)]
pub struct Wanted {
    /// Which playbook.
    pub playbook: String,
    /// What is to come of it.
    pub mode: Mode,
    /// How it is answered.
    pub protocol: String,
    /// With what; or which place has nothing to stand for it.
    pub parameters: Result<Value, String>,
    /// For how long.
    pub ttl_ns: Option<u64>,
    /// What is done instead as long as nothing proves the source, where something can be.
    pub limit: Option<Box<Wanted>>,
}

impl Playbook {
    /// Does the alert fit? `proof`: what speaks for its source.
    pub fn fits(&self, alert: &Alert, proof: Proof, home: &[Prefix]) -> bool {
        let evidence = &alert.evidence;
        let within = |prefixes: &[Prefix], address: Option<IpAddr>| {
            prefixes.is_empty() || address.is_some_and(|address| prefixes.iter().any(|prefix| prefix.holds(address)))
        };
        (self.detectors.is_empty() || self.detectors.contains(&evidence.detector))
            && (self.kinds.is_empty() || self.kinds.contains(&evidence.kind))
            && evidence.severity <= self.severity
            && evidence.confidence >= self.confidence
            && within(&self.source, evidence.source)
            && within(&self.target, evidence.target)
            && self.direction.is_none_or(|direction| Direction::of(alert, home) == Some(direction))
            && self.proven.is_none_or(|proven| proven == (proof != Proof::None))
    }
}

/// What the playbooks ask for, in their order. Nothing but the arguments counts.
pub fn evaluate(playbooks: &[Playbook], alert: &Alert, proof: Proof, home: &[Prefix]) -> Vec<Wanted> {
    let fits = playbooks.iter().filter(|playbook| playbook.fits(alert, proof, home));
    fits.map(|playbook| Wanted {
        playbook: playbook.name.clone(),
        mode: playbook.mode,
        protocol: playbook.protocol.clone(),
        parameters: fill(&playbook.parameters, alert),
        ttl_ns: playbook.ttl_ns,
        limit: limit(playbook, alert),
    })
    .collect()
}

/// How long a limit lasts, nanoseconds: as long as somebody can be bothered to forge; what comes again doubles it.
const LIMIT_NS: u64 = 300 * SECOND;
/// Packets at once that a limit passes, as a share of what it passes in a second: more, and a scan of a thousand ports is over before
/// it is felt; less, and a page that opens ten connections is.
const LIMIT_BURST: u32 = 4;

/// The limit on the signature of an alert's packets: where they go, by which protocol, to which port if it is one, and of TCP openings
/// only, so that no connection that stands is touched. None where the alert tells no target, or of TCP no openings.
fn limit(playbook: &Playbook, alert: &Alert) -> Option<Box<Wanted>> {
    let per_second = playbook.unproven_per_second;
    let (target, Value::Number(protocol)) = (alert.evidence.target?, told("protocol", alert)?) else { return None };
    let evidence = &alert.evidence;
    let is_tcp = protocol.as_u64() == Some(6);
    // Floods and scans alone are made of packets that look alike; who guesses passwords has connections.
    let is_of_openings = match evidence.detector {
        Detector::Flood => evidence.kind.contains("syn"),
        Detector::Scan => is_tcp,
        _ => return None,
    };
    if per_second == 0 || is_tcp && !is_of_openings {
        return None;
    }
    let parameters = json!({
        "destination": target, "protocol": protocol, "port": evidence.port.unwrap_or(0), "only_syn": is_tcp,
        "per_second": per_second, "burst": (per_second / LIMIT_BURST).max(1),
    });
    Some(Box::new(Wanted {
        playbook: playbook.name.clone(),
        mode: playbook.mode,
        protocol: "rate_limit".into(),
        parameters: Ok(parameters),
        ttl_ns: Some(playbook.ttl_ns.map_or(LIMIT_NS, |ttl_ns| ttl_ns.min(LIMIT_NS))),
        limit: None,
    }))
}

/// What may stand in braces; with a `?` behind it the parameter is left out where the alert does not tell it.
pub const PLACES: [&str; 18] = [
    "source",
    "target",
    "port",
    "protocol",
    "syn",
    "source_mac",
    "detector",
    "kind",
    "severity",
    "confidence",
    "summary",
    "id",
    "alert",
    "flow.source",
    "flow.source_port",
    "flow.destination",
    "flow.destination_port",
    "flow.protocol",
];

/// Texts in braces that stand for nothing there is.
pub fn unknown_places(parameters: &Value) -> Vec<String> {
    match parameters {
        Value::String(text) => {
            let unknown = place(text).filter(|(name, _)| !PLACES.contains(name));
            unknown.map(|(name, _)| name.to_owned()).into_iter().collect()
        }
        Value::Array(items) => items.iter().flat_map(unknown_places).collect(),
        Value::Object(fields) => fields.values().flat_map(unknown_places).collect(),
        _ => Vec::new(),
    }
}

/// The name in `{name}`, and whether it may be left out; of a whole text only.
fn place(text: &str) -> Option<(&str, bool)> {
    let name = text.strip_prefix('{')?.strip_suffix('}')?;
    Some(name.strip_suffix('?').map_or((name, false), |name| (name, true)))
}

/// Parameters with what the alert tells; the place of which it tells nothing.
fn fill(parameters: &Value, alert: &Alert) -> Result<Value, String> {
    filled(parameters, alert).map(Option::unwrap_or_default)
}

fn filled(parameters: &Value, alert: &Alert) -> Result<Option<Value>, String> {
    Ok(Some(match parameters {
        Value::String(text) => match place(text) {
            None => parameters.clone(),
            Some((name, may_lack)) => match told(name, alert) {
                Some(value) => value,
                None if may_lack => return Ok(None),
                None => return Err(format!("the alert does not tell {name}")),
            },
        },
        Value::Array(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(|item| filled(item, alert)).collect();
            items?.into_iter().flatten().collect()
        }
        Value::Object(fields) => {
            let mut own = Map::new();
            for (name, value) in fields {
                if let Some(value) = filled(value, alert)? {
                    own.insert(name.clone(), value);
                }
            }
            Value::Object(own)
        }
        other => other.clone(),
    }))
}

/// What an alert tells under a name; typed as a protocol reads it.
fn told(name: &str, alert: &Alert) -> Option<Value> {
    let evidence = &alert.evidence;
    // A flow that is one of many names nobody but itself.
    let flow = evidence.flow.as_ref().filter(|flow| !flow.is_example);
    Some(match name {
        "source" => json!(evidence.source?),
        "target" => json!(evidence.target?),
        "port" => json!(evidence.port?),
        // Floods are told by their kind; what is told of flows has theirs.
        "protocol" => {
            json!(evidence.protocol.or_else(|| transport(&evidence.kind)).or(flow.map(|flow| flow.protocol))?)
        }
        "syn" => json!(evidence.kind.contains("syn")),
        "source_mac" => json!(evidence.source_mac.as_ref()?),
        "detector" => json!(evidence.detector.name()),
        "kind" => json!(evidence.kind),
        "severity" => json!(evidence.severity),
        "confidence" => json!(evidence.confidence),
        "summary" => json!(evidence.summary),
        "id" => json!(alert.id),
        "alert" => serde_json::to_value(alert).ok()?,
        "flow.source" => json!(flow?.source),
        "flow.source_port" => json!(flow?.source_port),
        "flow.destination" => json!(flow?.destination),
        "flow.destination_port" => json!(flow?.destination_port),
        "flow.protocol" => json!(flow?.protocol),
        _ => return None,
    })
}

fn transport(kind: &str) -> Option<u8> {
    let named = [("syn", 6), ("udp", 17), ("icmpv6", 58), ("icmp", 1)];
    named.into_iter().find(|(word, _)| kind.contains(word)).map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::super::protocols::Registry;
    use super::*;
    use crate::control::store::tests::alert as made;

    fn alert() -> Alert {
        let mut alert = made("a", 2);
        let evidence = &mut alert.evidence;
        evidence.detector = Detector::BruteForce;
        evidence.kind = "ssh".into();
        evidence.confidence = 0.9;
        evidence.source = Some("203.0.113.7".parse().unwrap());
        evidence.target = Some("10.0.0.9".parse().unwrap());
        evidence.port = Some(22);
        evidence.flow = None;
        alert
    }

    fn playbook() -> Playbook {
        Playbook {
            name: "guesses".into(),
            mode: Mode::Auto,
            detectors: vec![Detector::BruteForce, Detector::Scan],
            kinds: Vec::new(),
            severity: 2,
            confidence: 0.8,
            source: Vec::new(),
            target: Vec::new(),
            direction: None,
            proven: None,
            protocol: "block_ip".into(),
            parameters: json!({ "prefix": "{source}" }),
            ttl_ns: None,
            unproven_per_second: 1000,
        }
    }

    #[test]
    fn each_condition_counts() {
        let home = ["10.0.0.0/8".parse().unwrap()];
        let prefixes = |text: &str| vec![text.parse::<Prefix>().unwrap()];
        let base = playbook();
        for (fits, playbook) in [
            (true, base.clone()),
            (false, Playbook { detectors: vec![Detector::Flood], ..base.clone() }),
            (true, Playbook { detectors: Vec::new(), kinds: vec!["ssh".into(), "ftp".into()], ..base.clone() }),
            (false, Playbook { kinds: vec!["ftp".into()], ..base.clone() }),
            (false, Playbook { severity: 1, ..base.clone() }),
            (true, Playbook { severity: 4, ..base.clone() }),
            (false, Playbook { confidence: 0.95, ..base.clone() }),
            (true, Playbook { source: prefixes("203.0.113.0/24"), ..base.clone() }),
            (false, Playbook { source: prefixes("203.0.114.0/24"), ..base.clone() }),
            (false, Playbook { target: prefixes("10.1.0.0/16"), ..base.clone() }),
            (true, Playbook { direction: Some(Direction::Inbound), ..base.clone() }),
            (false, Playbook { direction: Some(Direction::Internal), ..base.clone() }),
            (true, Playbook { proven: Some(true), ..base.clone() }),
            (false, Playbook { proven: Some(false), ..base.clone() }),
        ] {
            let found = evaluate(std::slice::from_ref(&playbook), &alert(), Proof::Handshake, &home);
            assert_eq!(!found.is_empty(), fits, "{playbook:?}");
        }
        let mut nobody = alert();
        nobody.evidence.source = None;
        let inbound = Playbook { direction: Some(Direction::Inbound), ..base };
        assert!(!inbound.fits(&nobody, Proof::None, &home), "a direction has two ends");
    }

    #[test]
    fn places_are_filled_with_values_of_their_type_or_name_what_lacks() {
        let fill_in = |parameters: Value, alert: &Alert| fill(&parameters, alert);
        let all = json!({ "a": "{source}", "b": ["{port}", "x"], "c": { "d": "{severity}" }, "e": "{source_mac?}", "f": "say {source}" });
        let wanted = json!({ "a": "203.0.113.7", "b": [22, "x"], "c": { "d": 2 }, "f": "say {source}" });
        assert_eq!(fill_in(all, &alert()), Ok(wanted));
        assert_eq!(fill_in(json!({ "x": "{source_mac}" }), &alert()), Err("the alert does not tell source_mac".into()));
        assert_eq!(unknown_places(&json!({ "x": ["{source}", "{nobody?}"] })), ["nobody"]);
        assert!(PLACES.iter().all(|place| unknown_places(&json!(format!("{{{place}}}"))).is_empty()));
    }

    /// What a playbook says that says nothing of parameters is read by its protocol.
    #[test]
    fn templates_of_protocols_become_parameters() {
        let mut flood = alert();
        flood.evidence.source = None;
        flood.evidence.kind = "syn".into();
        for (protocol, alert) in [("block_ip", alert()), ("isolate_host", alert()), ("rate_limit", flood)] {
            let registry = Registry::of_frames();
            let protocol = registry.find(protocol).unwrap();
            let parameters = fill(&protocol.template(), &alert).unwrap();
            assert!(protocol.plan(&parameters).is_ok(), "{parameters}");
            assert!(unknown_places(&protocol.template()).is_empty());
        }
        for protocol in Registry::shipped(Vec::new(), Vec::new()).all() {
            assert!(unknown_places(&protocol.template()).is_empty(), "{}", protocol.name());
        }
    }
}
