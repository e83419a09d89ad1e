//! What a decider found, as alerts are made of: measured values with their thresholds, and about whom.

use super::{Detector, FlowRef, TunnelRef, distinct};
use crate::dataplane::score::Family;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

/// A row of any schema, and what a model takes it for.
#[derive(Clone, PartialEq, Debug)]
pub struct JudgedRow {
    /// What the model takes it for.
    pub family: Family,
    /// Its values.
    pub values: Box<[f32]>,
}

/// How a value stands to its threshold where the rule is met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Relation {
    /// More than the threshold.
    #[serde(rename = ">")]
    Above,
    /// The threshold or more.
    #[serde(rename = ">=")]
    AtLeast,
    /// The threshold or less.
    #[serde(rename = "<=")]
    AtMost,
}

impl Relation {
    /// As it is written between the two.
    pub const fn sign(self) -> &'static str {
        match self {
            Relation::Above => ">",
            Relation::AtLeast => ">=",
            Relation::AtMost => "<=",
        }
    }

    /// Does `value` meet `threshold`?
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Relation::Above => value > threshold,
            Relation::AtLeast => value >= threshold,
            Relation::AtMost => value <= threshold,
        }
    }
}

/// One reason in an alert: what was measured, and the threshold it met.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Term {
    /// What it is, with its unit last (`distinct_ports`, `syn_per_second`).
    pub name: String,
    /// What was measured.
    pub value: f64,
    /// The threshold then in force, where the term has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub threshold: Option<f64>,
    /// What is usual for it (baseline, training median), where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub usual: Option<f64>,
    /// How far the model's score falls where the value is the usual one; only for the features of the model's reasons.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub contribution: Option<f64>,
    /// How the value must stand to the threshold; absent where there is none, and in alerts of old stores.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub relation: Option<Relation>,
    /// Standard error of an estimated value; absent where the value is exact.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<f64>,
    /// The value is a lower bound: more could not be told apart.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub at_least: bool,
}

impl Term {
    /// An exact value.
    pub fn exact(name: impl Into<String>, value: f64) -> Term {
        Term { name: name.into(), value, ..Term::default() }
    }

    /// A number of distinct values.
    pub fn distinct(name: impl Into<String>, count: distinct::Estimate) -> Term {
        let error = (count.error >= 0.5 && !count.saturated).then_some(count.error);
        Term { name: name.into(), value: count.value, error, at_least: count.saturated, ..Term::default() }
    }

    /// With the threshold it is held against.
    pub fn against(self, relation: Relation, threshold: f64) -> Term {
        Term { threshold: Some(threshold), relation: Some(relation), ..self }
    }

    /// `about `, `at least `, or nothing: what stands before the value.
    pub fn precision(&self) -> &'static str {
        match self.error {
            _ if self.at_least => "at least ",
            Some(_) => "about ",
            None => "",
        }
    }
}

/// A window of capture time that a model judged as a whole, when it was over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WindowRef {
    /// Its beginning.
    #[serde(with = "crate::units::rfc3339")]
    pub begin: Timestamp,
    /// Its end: nothing is said of it before.
    #[serde(with = "crate::units::rfc3339")]
    pub end: Timestamp,
    /// Name of the model, from its manifest.
    pub model: String,
    /// Version of its manifest.
    pub version: String,
}

/// What a decider found: the input of the alert stage.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// Who found it.
    pub detector: Detector,
    /// Shape of it within the detector (`vertical`, `horizontal`, `ssh`, `syn`, ...).
    pub kind: String,
    /// Capture time of the latest packet that it rests on, to the second of a counting window.
    #[serde(with = "crate::units::rfc3339")]
    pub time: Timestamp,
    /// 1 (high) to 4 (low), as in EVE.
    pub severity: u8,
    /// 0..=1.
    pub confidence: f64,
    /// Who did it; absent for floods from everywhere.
    pub source: Option<std::net::IpAddr>,
    /// To whom; absent for sweeps.
    pub target: Option<std::net::IpAddr>,
    /// Service port, where there is one.
    pub port: Option<u16>,
    /// IP protocol number, where there is one.
    pub protocol: Option<u8>,
    /// One sentence for people.
    pub summary: String,
    /// Why: measured values with the thresholds in force.
    pub terms: Vec<Term>,
    /// Technique of MITRE ATT&CK that it shows (`T1071.004`), where it shows one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub technique: Option<String>,
    /// The flow that completed it, or one of those that did. Absent where no flow did (ARP), and of a flood where the flow
    /// drawn is another protocol's.
    pub flow: Option<FlowRef>,
    /// Link address of the source, where it speaks on this link and names itself (ARP).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_mac: Option<String>,
    /// In which tunnel it was seen last, where no flow says so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tunnel: Option<TunnelRef>,
    /// The window that a model judged, where it judged one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub window: Option<WindowRef>,
    /// The row that was scored, until the reasons are known; leaves with no alert.
    #[serde(skip)]
    pub row: Option<JudgedRow>,
}

impl Evidence {
    /// Of this detector and kind at this time: of low severity and even odds, about nobody, without words.
    pub fn new(detector: Detector, kind: impl Into<String>, time: Timestamp) -> Evidence {
        Evidence {
            detector,
            kind: kind.into(),
            time,
            severity: 3,
            confidence: 0.5,
            source: None,
            target: None,
            port: None,
            protocol: None,
            summary: String::new(),
            terms: Vec::new(),
            technique: None,
            flow: None,
            source_mac: None,
            tunnel: None,
            window: None,
            row: None,
        }
    }

    /// Capture time at which it could be told: what is said of a window waits for its end, however early the packets were.
    pub fn told(&self) -> Timestamp {
        self.window.as_ref().map_or(self.time, |window| window.end.max(self.time))
    }
}
