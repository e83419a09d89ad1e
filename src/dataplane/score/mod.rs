//! Scoring in microbatches: model manifest, ONNX session, row queue, calibration of the cost curve.
//!
//! Owns buffers made once at load. Everything that can go wrong with a model file, its runtime library or its schema is
//! an error at load with the remedy; while running a failed call sheds its rows, counts them and degrades visibly.
//! `ort` is named here and nowhere else.

use crate::dataplane::features::FeatureRow;
use crate::units::Timestamp;

/// Most rows of one call.
pub const BATCH_MAX: usize = 128;

/// Something that turns feature rows into scores in 0..=1 (1: like the attacks of the training data).
pub trait Scorer: Send {
    /// Scores `rows` into `scores` (same length, at most [`BATCH_MAX`]).
    ///
    /// # Errors
    /// The runtime's message; the scores are then unspecified.
    fn score(&mut self, rows: &[FeatureRow], scores: &mut [f32]) -> Result<(), ScoreError>;
}

/// A call of the model failed.
#[derive(Debug, thiserror::Error)]
#[error("score a microbatch of {rows} rows: {cause}")]
pub struct ScoreError {
    /// Rows in the call.
    pub rows: usize,
    /// The runtime's own words.
    pub cause: String,
}

/// Rows that wait for the next call, with what is needed to act on their scores.
pub struct Microbatch<T: Copy> {
    rows: Vec<FeatureRow>,
    tags: Vec<T>,
    scores: Vec<f32>,
    oldest: Timestamp,
}

impl<T: Copy> Microbatch<T> {
    /// Room for [`BATCH_MAX`] rows, taken here.
    pub fn new() -> Microbatch<T> {
        Microbatch {
            rows: Vec::with_capacity(BATCH_MAX),
            tags: Vec::with_capacity(BATCH_MAX),
            scores: vec![0.0; BATCH_MAX],
            oldest: Timestamp(u64::MAX),
        }
    }

    /// Adds a row written in place by `write`; `false` when full (flush first).
    #[inline]
    pub fn push(&mut self, tag: T, now: Timestamp, write: impl FnOnce(&mut FeatureRow)) -> bool {
        if self.rows.len() >= BATCH_MAX {
            return false;
        }
        if self.rows.is_empty() {
            self.oldest = now;
        }
        self.rows.push([0.0; crate::dataplane::features::COUNT]);
        if let Some(row) = self.rows.last_mut() {
            write(row);
        }
        self.tags.push(tag);
        true
    }

    /// Rows waiting.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// No row waiting?
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// When the oldest waiting row was pushed.
    #[inline(always)]
    pub fn oldest(&self) -> Timestamp {
        self.oldest
    }

    /// Scores every waiting row in one call and hands (tag, row, score) to `each`; empties the batch in any case.
    ///
    /// # Errors
    /// As [`Scorer::score`]; `each` is then not called.
    pub fn flush(
        &mut self,
        scorer: &mut dyn Scorer,
        mut each: impl FnMut(T, &FeatureRow, f32),
    ) -> Result<usize, ScoreError> {
        let count = self.rows.len();
        let outcome = match self.scores.get_mut(..count) {
            Some(scores) => scorer.score(&self.rows, scores),
            None => Ok(()),
        };
        if outcome.is_ok() {
            for ((tag, row), score) in self.tags.iter().zip(&self.rows).zip(&self.scores) {
                each(*tag, row, *score);
            }
        }
        self.rows.clear();
        self.tags.clear();
        outcome.map(|()| count)
    }
}

impl<T: Copy> Default for Microbatch<T> {
    fn default() -> Microbatch<T> {
        Microbatch::new()
    }
}
