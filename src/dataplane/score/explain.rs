//! Why a row has its score: for the few rows that become alerts, on the control plane.

use super::{BATCH_MAX, ScoreError, Scorer};
use crate::dataplane::features::{COUNT, FEATURES, Feature, FeatureRow};

/// How much one feature did for a score.
#[derive(Clone, Copy, Debug)]
pub struct Reason {
    /// Which one.
    pub feature: &'static Feature,
    /// Value in the row.
    pub value: f32,
    /// Median of the benign training data.
    pub usual: f32,
    /// How far the score falls when the value is the usual one.
    pub contribution: f32,
}

/// A session of its own, and what is usual for each feature.
pub struct Explainer {
    scorer: Box<dyn Scorer>,
    usual: FeatureRow,
}

impl Explainer {
    /// Asks `scorer`; `usual`: the medians of the training data, in row order.
    pub fn new(scorer: Box<dyn Scorer>, usual: FeatureRow) -> Explainer {
        Explainer { scorer, usual }
    }

    /// The `limit` features that did most for the score of `row`, largest first, equal ones in the schema's order: each is
    /// set to its usual value in turn, and the fall of the score is what it contributed. The same row has the same reasons,
    /// whatever was asked before. One call of `COUNT + 1` rows; for alerts, not for packets.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn reasons(&mut self, row: &FeatureRow, limit: usize) -> Result<Vec<Reason>, ScoreError> {
        const { assert!(COUNT < BATCH_MAX, "all variants of a row go into one call") };
        let mut rows = [*row; COUNT + 1];
        for (index, (changed, usual)) in rows.iter_mut().zip(&self.usual).enumerate() {
            changed[index] = *usual;
        }
        let mut scores = [0.0; COUNT + 1];
        self.scorer.score(&rows, &mut scores)?;
        let [changed @ .., own] = scores;
        let values = row.iter().zip(&self.usual).zip(changed);
        let mut reasons: Vec<Reason> = FEATURES
            .iter()
            .zip(values)
            .map(|(feature, ((value, usual), score))| Reason {
                feature,
                value: *value,
                usual: *usual,
                contribution: own - score,
            })
            .filter(|reason| reason.contribution > 0.0)
            .collect();
        // Stable: equal ones keep the schema's order.
        reasons.sort_by(|left, right| right.contribution.total_cmp(&left.contribution));
        reasons.truncate(limit);
        Ok(reasons)
    }
}
