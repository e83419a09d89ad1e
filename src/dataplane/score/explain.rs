//! Why a row is what a model takes it for: for the few rows that become alerts, on the control plane.

use super::{BATCH_MAX, Family, ScoreError, Scorer, Scores};
use crate::dataplane::features::{Feature, Schema};

/// How much one feature did for a score.
#[derive(Clone, Copy, Debug)]
pub struct Reason {
    /// Which one.
    pub feature: &'static Feature,
    /// Value in the row.
    pub value: f32,
    /// Median of the benign training data, of rows of the same kind where the manifest has that.
    pub usual: f32,
    /// How far the score falls when the value is the usual one.
    pub contribution: f32,
}

/// A session of its own, and what is usual for each feature.
pub struct Explainer {
    scorer: Box<dyn Scorer>,
    schema: &'static Schema,
    families: Vec<Family>,
    usual: Vec<f32>,
    /// By the place of the feature that is 1 in rows of that kind.
    kinds: Vec<(usize, Vec<f32>)>,
    scores: Scores,
}

impl Explainer {
    /// Asks `scorer`, whose rows are of `schema` and which tells `families` apart, in the order of its outputs; `usual`: the
    /// medians of the training data, in row order.
    pub fn new(scorer: Box<dyn Scorer>, schema: &'static Schema, families: Vec<Family>, usual: Vec<f32>) -> Explainer {
        Explainer { scorer, schema, families, usual, kinds: Vec::new(), scores: Scores::new() }
    }

    /// Holds rows against what is usual for their kind: the place of the feature that is 1 in such rows, and its medians.
    #[must_use]
    pub fn by_kind(mut self, kinds: Vec<(usize, Vec<f32>)>) -> Explainer {
        self.kinds = kinds;
        self
    }

    /// The `limit` features that did most for `row` being taken for `family`, largest first, equal ones in the schema's order:
    /// each is set to its usual value in turn, and the fall of the family's probability (of the rank, where it is unusual) is
    /// what it contributed. The same row has the same reasons, whatever was asked before. One call of a row more than there
    /// are features; for alerts, not for packets.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn reasons(&mut self, row: &[f32], family: Family, limit: usize) -> Result<Vec<Reason>, ScoreError> {
        let width = self.schema.width();
        let of_kind = |(place, _): &&(usize, Vec<f32>)| row.get(*place).is_some_and(|value| *value >= 0.5);
        let usual = self.kinds.iter().find(of_kind).map_or(&self.usual, |(_, medians)| medians);
        let mut rows = Vec::with_capacity((width + 1) * width);
        for (index, usual) in usual.iter().take(width.min(BATCH_MAX - 1)).enumerate() {
            let own = rows.len();
            rows.extend_from_slice(row);
            if let Some(changed) = rows.get_mut(own + index) {
                *changed = *usual;
            }
        }
        rows.extend_from_slice(row);
        self.scorer.score(&rows, &mut self.scores)?;
        let place = self.families.iter().position(|known| *known == family);
        let score = |row: usize| match place {
            Some(place) => self.scores.probabilities(row).get(place).copied().unwrap_or(0.0),
            None => self.scores.anomaly(row),
        };
        let own = score(self.scores.rows().saturating_sub(1));
        let values = self.schema.features.iter().zip(row).zip(usual);
        let mut reasons: Vec<Reason> = values
            .enumerate()
            .map(|(index, ((feature, value), usual))| Reason {
                feature,
                value: *value,
                usual: *usual,
                contribution: own - score(index),
            })
            .filter(|reason| reason.contribution > 0.0)
            .collect();
        // Stable: equal ones keep the schema's order.
        reasons.sort_by(|left, right| right.contribution.total_cmp(&left.contribution));
        reasons.truncate(limit);
        Ok(reasons)
    }
}
