//! Scores of the model to evidence.
//!
//! The model's threshold was applied on the worker; this half names the flow, and the features that are farthest from what
//! the training data had as usual. Pure, without memory: repeats are the alert stage's affair.

use super::{Detector, Evidence, FlowRef, ScoredFlow, Term};
use crate::dataplane::decode::community_id;
use crate::dataplane::features::{COUNT, FEATURES};
use serde::{Deserialize, Serialize};

/// How scores become evidence. The threshold itself is the model's, or the operator's, and applied on the worker.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Score from which the severity is 2 instead of 3.
    pub high: f32,
    /// Features named in the evidence.
    pub features: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { high: 0.99, features: 3 }
    }
}

/// Median and spread of every feature in the benign training data, from the model's manifest.
#[derive(Clone, Copy, Debug)]
pub struct Usual {
    /// Medians, in row order.
    pub median: [f32; COUNT],
    /// Spreads (1.4826 MAD or standard deviation), in row order.
    pub spread: [f32; COUNT],
}

/// Turns scores into evidence.
pub struct Decider {
    settings: Settings,
    usual: Option<Usual>,
}

impl Decider {
    /// `usual` lets the evidence name what is odd about a flow.
    pub fn new(settings: Settings, usual: Option<Usual>) -> Decider {
        Decider { settings, usual }
    }

    /// Evidence for one score.
    pub fn decide(&self, scored: &ScoredFlow) -> Evidence {
        let (source, destination) = scored.key.endpoints(scored.originator);
        let mut terms = vec![
            Term {
                name: "score".to_owned(),
                value: f64::from(scored.score),
                threshold: Some(f64::from(scored.threshold)),
                usual: None,
            },
            Term { name: "packets".to_owned(), value: f64::from(scored.packets), threshold: None, usual: None },
        ];
        terms.extend(self.odd_features(scored));
        let protocol = scored.key.protocol();
        Evidence {
            detector: Detector::Model,
            kind: "attack_like_flow".to_owned(),
            time: scored.time,
            severity: if scored.score >= self.settings.high { 2 } else { 3 },
            confidence: f64::from(scored.score),
            source: Some(source.ip()),
            target: Some(destination.ip()),
            port: matches!(protocol, 6 | 17 | 132).then_some(destination.port),
            protocol: Some(protocol),
            summary: format!(
                "{} to {} port {}: the model gives the flow {:.3} after {} packets",
                source.ip(),
                destination.ip(),
                destination.port,
                scored.score,
                scored.packets
            ),
            terms,
            flow: Some(FlowRef {
                source: source.ip(),
                source_port: source.port,
                destination: destination.ip(),
                destination_port: destination.port,
                protocol,
                community_id: community_id(&scored.key, scored.originator, None),
            }),
        }
    }

    fn odd_features(&self, scored: &ScoredFlow) -> Vec<Term> {
        let Some(usual) = &self.usual else { return Vec::new() };
        let mut odd: Vec<(f32, Term)> = FEATURES
            .iter()
            .zip(&scored.row)
            .zip(usual.median.iter().zip(&usual.spread))
            .map(|((feature, value), (median, spread))| {
                let distance = (value - median).abs() / spread.max(1e-3);
                let term = Term {
                    name: feature.name.to_owned(),
                    value: f64::from(*value),
                    threshold: None,
                    usual: Some(f64::from(*median)),
                };
                (distance, term)
            })
            .collect();
        // Stable, so that equal distances keep the schema's order.
        odd.sort_by(|(left, _), (right, _)| right.total_cmp(left));
        odd.into_iter().take(self.settings.features).map(|(_, term)| term).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::decode::FlowKey;
    use crate::units::Timestamp;

    #[test]
    fn evidence_names_the_flow_the_threshold_and_what_is_odd() {
        let (key, originator) = FlowKey::v4(0x0a00_0042, 40_000, 0x0a00_0005, 80, 6, 0);
        let mut row = [1.0; COUNT];
        row[7] = 50.0;
        let scored = ScoredFlow { time: Timestamp(5), key, originator, score: 0.995, threshold: 0.9, packets: 16, row };
        let usual = Usual { median: [1.0; COUNT], spread: [1.0; COUNT] };
        let evidence = Decider::new(Settings { features: 1, ..Settings::default() }, Some(usual)).decide(&scored);
        assert_eq!((evidence.severity, evidence.port, evidence.time), (2, Some(80), Timestamp(5)));
        assert_eq!(evidence.source.unwrap().to_string(), "10.0.0.66");
        let names: Vec<_> = evidence.terms.iter().map(|term| term.name.as_str()).collect();
        assert_eq!(names, ["score", "packets", FEATURES[7].name]);
        assert!((evidence.terms[0].threshold.unwrap() - 0.9).abs() < 1e-6);
        assert_eq!((evidence.terms[2].value, evidence.terms[2].usual), (50.0, Some(1.0)));
        assert!(evidence.flow.unwrap().community_id.starts_with("1:"));
        assert!(Decider::new(Settings::default(), None).decide(&scored).terms.len() == 2);
    }
}
