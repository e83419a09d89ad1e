//! Our own object in a line: what no schema of Suricata's has.

use super::shape::ShapePart;
use super::{ModelName, rounded};
use crate::dataplane::detect::{Evidence, TunnelLevel, TunnelRef};
use crate::dataplane::inspect::Cause;
use crate::exchange::FlowSummary;
use serde::Serialize;
use std::collections::BTreeMap;

/// The one object that no schema of Suricata's has.
#[derive(Serialize, Default)]
pub(super) struct Ml<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) threshold: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) top_features: Vec<TopFeature<'a>>,
    /// The minute or hour that a model of windows judged: its flows are those that ended then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<WindowPart>,
    /// The flow of an alert is one of several that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) example_flow: Option<bool>,
    /// Facts of application protocols that the schema has no place for.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub(super) facts: serde_json::Map<String, serde_json::Value>,
    /// A fact was cut or left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) truncated: Option<bool>,
    /// Counters of ours.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) counters: BTreeMap<&'a str, u64>,
    /// Kind and id of each tunnel, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tunnels: Vec<TunnelLevel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shape: Option<ShapePart>,
    /// Why the flow was not wholly read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unread: Vec<&'static str>,
}

#[derive(Serialize)]
pub(super) struct WindowPart {
    begin: String,
    end: String,
}

#[derive(Serialize)]
pub(super) struct TopFeature<'a> {
    name: &'a str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    usual: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contribution: Option<f64>,
}

impl<'a> Ml<'a> {
    /// There is nothing to be written.
    pub(super) fn says_nothing(ml: &Option<Ml<'a>>) -> bool {
        let Some(ml) = ml else { return true };
        let Ml { model, version, score, threshold, top_features, example_flow, .. } = ml;
        let Ml { facts, truncated, counters, tunnels, shape, unread, .. } = ml;
        let of_model = model.is_some() || version.is_some() || score.is_some() || threshold.is_some();
        let of_alert = !top_features.is_empty() || example_flow.is_some();
        let of_event = !facts.is_empty() || truncated.is_some() || !counters.is_empty() || !tunnels.is_empty();
        !(of_model || of_alert || of_event || shape.is_some() || !unread.is_empty())
    }

    /// Ours with what the schema's own object lacks of a tunnel.
    pub(super) fn with_tunnel(ml: Option<Ml<'a>>, tunnel: Option<&TunnelRef>) -> Option<Ml<'a>> {
        match tunnel {
            Some(tunnel) => Some(Ml { tunnels: tunnel.levels.clone(), ..ml.unwrap_or_default() }),
            None => ml,
        }
    }

    pub(super) fn of_score(score: f32, model: Option<&'a ModelName>) -> Ml<'a> {
        Ml {
            model: model.map(|model| model.name.as_str()),
            version: model.map(|model| model.version.as_str()),
            score: Some(rounded(f64::from(score))),
            ..Ml::default()
        }
    }

    /// A flow's score, its shape, and why it was not wholly read, where it has them.
    pub(super) fn of_flow(flow: &FlowSummary, model: Option<&'a ModelName>) -> Option<Ml<'a>> {
        let shape = flow.shape.as_ref().map(ShapePart::new);
        let score = (flow.score >= 0.0).then(|| Ml::of_score(flow.score, model));
        let unread: Vec<_> = flow.unread.iter().map(Cause::name).collect();
        match (shape, unread.is_empty()) {
            (None, true) => score,
            (shape, _) => Some(Ml { shape, unread, ..score.unwrap_or_default() }),
        }
    }

    /// The model's evidence has its score as the term of that name, and the features that made it as those with a usual value.
    /// `model` is that of flows; a window's evidence names its own, and what is neither (drift) is no model's.
    pub(super) fn of_evidence(evidence: &'a Evidence, model: Option<&'a ModelName>) -> Ml<'a> {
        let score = evidence.terms.iter().find(|term| term.name == "score");
        let of_flows =
            model.filter(|_| evidence.flow.is_some()).map(|model| (model.name.as_str(), model.version.as_str()));
        let of_window = evidence.window.as_ref().map(|window| (window.model.as_str(), window.version.as_str()));
        let name = of_window.or(of_flows);
        let reasons = evidence.terms.iter().filter(|term| term.usual.is_some());
        Ml {
            score: Some(rounded(score.map_or(evidence.confidence, |term| term.value))),
            threshold: score.and_then(|term| term.threshold).map(rounded),
            top_features: reasons
                .map(|term| TopFeature {
                    name: &term.name,
                    value: rounded(term.value),
                    usual: term.usual.map(rounded),
                    contribution: term.contribution.map(rounded),
                })
                .collect(),
            model: name.map(|(name, _)| name),
            version: name.map(|(_, version)| version),
            window: evidence
                .window
                .as_ref()
                .map(|window| WindowPart { begin: window.begin.to_eve(), end: window.end.to_eve() }),
            ..Ml::default()
        }
    }
}
