//! Rows that wait for the next call of the model.

use super::{BATCH_MAX, ScoreError, Scorer};
use crate::dataplane::features::{COUNT, FeatureRow};
use crate::units::Timestamp;

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
        self.rows.push([0.0; COUNT]);
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

    /// When the oldest waiting row was pushed; the end of time while none waits.
    #[inline(always)]
    pub fn oldest(&self) -> Timestamp {
        self.oldest
    }

    /// Scores every waiting row in calls of at most `call_max` rows (B_max of the model's placement) and hands
    /// (tag, row, score) to `each`; empties the batch in any case. Returns the rows scored.
    ///
    /// # Errors
    /// As [`Scorer::score`]; rows of the failed call and those behind it are given up without `each` being called.
    pub fn flush(
        &mut self,
        scorer: &mut dyn Scorer,
        call_max: usize,
        mut each: impl FnMut(T, &FeatureRow, f32),
    ) -> Result<usize, ScoreError> {
        let call_max = call_max.clamp(1, BATCH_MAX);
        let mut outcome = Ok(0);
        for ((rows, tags), scores) in
            self.rows.chunks(call_max).zip(self.tags.chunks(call_max)).zip(self.scores.chunks_mut(call_max))
        {
            let Some(scores) = scores.get_mut(..rows.len()) else { break };
            match (scorer.score(rows, scores), &mut outcome) {
                (Ok(()), Ok(count)) => *count += rows.len(),
                (Err(error), _) => {
                    outcome = Err(error);
                    break;
                }
                (Ok(()), Err(_)) => break,
            }
            for ((tag, row), score) in tags.iter().zip(rows).zip(scores) {
                each(*tag, row, *score);
            }
        }
        self.rows.clear();
        self.tags.clear();
        self.oldest = Timestamp(u64::MAX);
        outcome
    }
}

impl<T: Copy> Default for Microbatch<T> {
    fn default() -> Microbatch<T> {
        Microbatch::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores a row by its first feature and remembers the sizes of its calls.
    struct First {
        calls: Vec<usize>,
        fail_at: usize,
    }

    impl Scorer for First {
        fn score(&mut self, rows: &[FeatureRow], scores: &mut [f32]) -> Result<(), ScoreError> {
            self.calls.push(rows.len());
            if self.calls.len() == self.fail_at {
                return Err(ScoreError { rows: rows.len(), cause: "as told".to_owned() });
            }
            for (row, score) in rows.iter().zip(scores) {
                *score = row[0];
            }
            Ok(())
        }
    }

    fn filled(count: usize) -> Microbatch<usize> {
        let mut batch = Microbatch::new();
        for tag in 0..count {
            assert!(batch.push(tag, Timestamp(100 + tag as u64), |row| row[0] = tag as f32));
        }
        batch
    }

    #[test]
    fn every_row_meets_its_own_score_whatever_the_call_size() {
        for call_max in [0, 1, 7, 64, 128, 1000] {
            let mut batch = filled(BATCH_MAX);
            assert!(!batch.push(0, Timestamp(0), |_| ()), "it must be full");
            assert_eq!(batch.oldest(), Timestamp(100));
            let mut scorer = First { calls: Vec::new(), fail_at: 0 };
            let mut seen = Vec::new();
            let count = batch.flush(&mut scorer, call_max, |tag, _, score| seen.push((tag, score))).unwrap();
            assert_eq!((count, seen.len()), (BATCH_MAX, BATCH_MAX));
            assert!(seen.iter().enumerate().all(|(at, (tag, score))| at == *tag && *score == at as f32));
            assert!(scorer.calls.iter().all(|rows| *rows <= call_max.clamp(1, BATCH_MAX)));
            assert!(batch.is_empty() && batch.oldest() == Timestamp(u64::MAX));
        }
    }

    #[test]
    fn a_failed_call_gives_up_its_rows_and_leaves_an_empty_batch() {
        let mut batch = filled(100);
        let mut seen = 0;
        let error = batch.flush(&mut First { calls: Vec::new(), fail_at: 3 }, 32, |_, _, _| seen += 1).unwrap_err();
        assert_eq!((seen, error.rows), (64, 32));
        assert!(batch.is_empty());
        assert!(batch.push(0, Timestamp(7), |_| ()));
        assert_eq!(batch.oldest(), Timestamp(7));
    }

    #[test]
    fn an_empty_batch_calls_nobody() {
        let mut scorer = First { calls: Vec::new(), fail_at: 1 };
        assert_eq!(Microbatch::<u8>::new().flush(&mut scorer, 64, |_, _, _| ()).unwrap(), 0);
        assert!(scorer.calls.is_empty());
    }
}
