//! What a call of a model says, in memory that is taken once.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use super::{BATCH_MAX, FAMILIES_MAX};

/// Probabilities and ranks of the rows of one call.
#[derive(Debug)]
pub struct Scores {
    rows: usize,
    families: usize,
    /// Row by row.
    probabilities: Box<[f32]>,
    anomaly: Box<[f32]>,
}

impl Scores {
    /// Room for [`BATCH_MAX`] rows of [`FAMILIES_MAX`] families; none so far.
    pub fn new() -> Scores {
        Scores {
            rows: 0,
            families: 0,
            probabilities: vec![0.0; BATCH_MAX * FAMILIES_MAX].into(),
            anomaly: vec![0.0; BATCH_MAX].into(),
        }
    }

    /// `rows` honest ones: what stands for a model where there is none.
    pub fn benign(rows: usize) -> Scores {
        let mut scores = Scores::new();
        scores.attacks(std::iter::repeat_n(0.0, rows));
        scores
    }

    /// Places for the probabilities of `rows` rows, one behind the other, and for their ranks, which are 0; `None` for more
    /// rows or families than there is room for.
    #[inline]
    pub fn make(&mut self, rows: usize, families: usize) -> Option<(&mut [f32], &mut [f32])> {
        if families == 0 || families > FAMILIES_MAX {
            return None;
        }
        let probabilities = self.probabilities.get_mut(..rows * families)?;
        let anomaly = self.anomaly.get_mut(..rows)?;
        anomaly.fill(0.0);
        (self.rows, self.families) = (rows, families);
        Some((probabilities, anomaly))
    }

    /// Rows of a model of one family of attacks, by its probability; no more than there is room for.
    pub fn attacks(&mut self, values: impl Iterator<Item = f32>) {
        let (rows, families) = (BATCH_MAX, 2);
        self.anomaly.fill(0.0);
        let mut count = 0;
        for (place, value) in self.probabilities.chunks_exact_mut(families).take(rows).zip(values) {
            place.copy_from_slice(&[1.0 - value, value]);
            count += 1;
        }
        (self.rows, self.families) = (count, families);
    }

    /// Rows of the call.
    #[inline]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Probabilities of a row, in the order of the model's families; empty where there is no such row.
    #[inline]
    pub fn probabilities(&self, row: usize) -> &[f32] {
        let begin = row * self.families;
        let own = self.probabilities.get(begin..begin + self.families);
        own.filter(|_| row < self.rows).unwrap_or_default()
    }

    /// Rank of a row among honest ones: the share of them that is less unusual; 0 where the model says nothing of it.
    #[inline]
    pub fn anomaly(&self, row: usize) -> f32 {
        self.anomaly.get(row).copied().unwrap_or(0.0)
    }
}

impl Default for Scores {
    fn default() -> Scores {
        Scores::new()
    }
}
