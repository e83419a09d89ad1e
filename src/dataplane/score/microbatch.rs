//! Rows that wait for the model.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use super::{BATCH_MAX, ScoreError, Scorer, Scores, Thresholds, Verdict};
use crate::dataplane::features::{COUNT, FeatureRow};
use crate::units::Timestamp;

/// Rows that can wait. One turn of a queue makes at most a burst (256) and an expiry budget (512) of them due, on top of
/// what already waits for company (below [`BATCH_MAX`]): all that fits, so rows are shed only when calls fail to keep
/// up over several turns, and a capture file's alerts do not depend on how its packets fell into bursts. 1280 rows of
/// 256 bytes are 320 KiB a queue. A multiple of [`BATCH_MAX`], so that full batches never meet the end of the ring.
pub const BACKLOG_MAX: usize = 10 * BATCH_MAX;

/// Rows that wait for the next calls, with what is needed to act on their scores. First in, first out.
///
/// A ring whose rows never move: a call gets them where they were written, and one that meets the end of the ring is
/// shorter.
pub struct Microbatch<T> {
    rows: Vec<FeatureRow>,
    /// What belongs to the row in the same place, and when it was pushed.
    tags: Vec<(T, Timestamp)>,
    /// Place of the oldest row.
    head: usize,
    waiting: usize,
    /// Places of the rows of the latest call.
    flushed: (usize, usize),
    scores: Scores,
}

impl<T: Copy + Default> Microbatch<T> {
    /// Room for [`BACKLOG_MAX`] rows, taken here.
    pub fn new() -> Microbatch<T> {
        Microbatch {
            rows: vec![[0.0; COUNT]; BACKLOG_MAX],
            tags: vec![Default::default(); BACKLOG_MAX],
            head: 0,
            waiting: 0,
            flushed: (0, 0),
            scores: Scores::new(),
        }
    }

    /// Adds a row written in place by `write`, which must set all of it; `false` when the backlog is full (shed it, and
    /// count).
    #[inline]
    pub fn push(&mut self, tag: T, now: Timestamp, write: impl FnOnce(&mut FeatureRow)) -> bool {
        if self.waiting == BACKLOG_MAX {
            return false;
        }
        let place = self.head + self.waiting;
        let place = if place < BACKLOG_MAX { place } else { place - BACKLOG_MAX };
        let (Some(row), Some(slot)) = (self.rows.get_mut(place), self.tags.get_mut(place)) else { return false };
        write(row);
        *slot = (tag, now);
        self.waiting += 1;
        true
    }

    /// Rows waiting.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// No row waiting?
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// When the oldest waiting row was pushed; the end of time while none waits.
    #[inline(always)]
    pub fn oldest(&self) -> Timestamp {
        let oldest = self.tags.get(self.head).filter(|_| self.waiting > 0);
        oldest.map_or(Timestamp(u64::MAX), |(_, pushed)| *pushed)
    }

    /// The rows of the latest call; where they lie until others are pushed.
    #[inline]
    pub fn flushed(&self) -> &[FeatureRow] {
        self.rows.get(self.flushed.0..self.flushed.1).unwrap_or_default()
    }

    /// Scores the oldest rows, at most `call_max` (B_max of the model's placement), in one call and hands (tag, row,
    /// verdict by `thresholds`) to `each`. They leave the backlog in any case. Returns how many.
    ///
    /// # Errors
    /// As [`Scorer::score`]; the rows of the call are given up, `each` is not called.
    pub fn flush(
        &mut self,
        scorer: &mut dyn Scorer,
        call_max: usize,
        thresholds: &Thresholds,
        mut each: impl FnMut(&T, &FeatureRow, &Verdict),
    ) -> Result<usize, ScoreError> {
        let count = self.waiting.min(call_max.clamp(1, BATCH_MAX)).min(BACKLOG_MAX - self.head);
        let end = self.head + count;
        let parts = (self.rows.get(self.head..end), self.tags.get(self.head..end));
        let ((Some(rows), Some(tags)), scores) = (parts, &mut self.scores) else { return Ok(0) };
        let outcome = if count > 0 { scorer.score(rows.as_flattened(), scores) } else { Ok(()) };
        if outcome.is_ok() {
            for (place, ((tag, _), row)) in tags.iter().zip(rows).enumerate() {
                each(tag, row, &thresholds.judge(scores, place));
            }
        }
        self.waiting -= count;
        self.flushed = (self.head, end);
        // An empty ring begins anew, so that small batches find the same lines in the cache.
        self.head = if end == BACKLOG_MAX || self.waiting == 0 { 0 } else { end };
        outcome.map(|()| count)
    }
}

impl<T> Microbatch<T> {
    /// Whether a call succeeds: of one row of zeroes, whose scores nobody gets. Not of the row that failed, which may be the cause.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn probe(&mut self, scorer: &mut dyn Scorer) -> Result<(), ScoreError> {
        const ROW: FeatureRow = [0.0; COUNT];
        scorer.score(&ROW, &mut self.scores)
    }
}

impl<T: Copy + Default> Default for Microbatch<T> {
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
        fn score(&mut self, rows: &[f32], scores: &mut Scores) -> Result<(), ScoreError> {
            let rows = rows.chunks_exact(COUNT);
            self.calls.push(rows.len());
            if self.calls.len() == self.fail_at {
                return Err(ScoreError { rows: rows.len(), cause: "as told".to_owned() });
            }
            scores.attacks(rows.map(|row| row[0]));
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
            let mut batch = filled(BACKLOG_MAX);
            assert!(!batch.push(0, Timestamp(0), |_| ()), "it must be full");
            let mut scorer = First { calls: Vec::new(), fail_at: 0 };
            let mut seen = Vec::new();
            while !batch.is_empty() {
                assert_eq!(batch.oldest(), Timestamp(100 + seen.len() as u64));
                batch
                    .flush(&mut scorer, call_max, &Thresholds::all(0.5), |tag, _, verdict| {
                        seen.push((*tag, verdict.score))
                    })
                    .unwrap();
            }
            assert_eq!(seen.len(), BACKLOG_MAX);
            assert!(seen.iter().enumerate().all(|(at, (tag, score))| at == *tag && *score == at as f32));
            assert!(scorer.calls.iter().all(|rows| *rows <= call_max.clamp(1, BATCH_MAX)));
            assert_eq!(batch.oldest(), Timestamp(u64::MAX));
        }
    }

    /// Against a plain queue, with pushes and calls of changing sizes.
    #[test]
    fn it_is_a_bounded_fifo_and_never_grows() {
        let mut batch = Microbatch::new();
        let mut model = std::collections::VecDeque::new();
        let mut scorer = First { calls: Vec::new(), fail_at: 0 };
        let mut next = 0;
        for round in 0..2_000_usize {
            for _ in 0..round * 7919 % 331 {
                let pushed = batch.push(next, Timestamp(next as u64), |row| row[0] = next as f32);
                assert_eq!(pushed, model.len() < BACKLOG_MAX);
                if pushed {
                    model.push_back(next);
                }
                next += 1;
            }
            let calls = round % 3;
            for _ in 0..calls {
                let call_max = round * 31 % 128 + 1;
                // Fewer where the ring ends.
                let expected = model.len().min(call_max).min(BACKLOG_MAX - batch.head);
                let mut seen = Vec::new();
                let count = batch
                    .flush(&mut scorer, call_max, &Thresholds::all(0.5), |tag, _, verdict| {
                        seen.push(*tag);
                        assert_eq!(Some(*tag), model.pop_front());
                        assert!(verdict.score == *tag as f32);
                    })
                    .unwrap();
                assert_eq!(count, expected);
                assert!(batch.flushed().iter().map(|row| row[0] as usize).eq(seen));
            }
            assert_eq!(batch.len(), model.len());
            assert_eq!(batch.rows.capacity(), BACKLOG_MAX);
        }
    }

    #[test]
    fn a_failed_call_gives_up_its_rows_only() {
        let mut batch = filled(100);
        let mut scorer = First { calls: Vec::new(), fail_at: 2 };
        assert_eq!(batch.flush(&mut scorer, 32, &Thresholds::all(0.5), |_, _, _| ()).unwrap(), 32);
        let error = batch.flush(&mut scorer, 32, &Thresholds::all(0.5), |_, _, _| panic!("not called")).unwrap_err();
        assert_eq!((error.rows, batch.len()), (32, 36));
        let mut first = None;
        batch.flush(&mut scorer, 32, &Thresholds::all(0.5), |tag, _, _| first = first.or(Some(*tag))).unwrap();
        assert_eq!(first, Some(64));
    }

    #[test]
    fn an_empty_batch_calls_nobody() {
        let mut scorer = First { calls: Vec::new(), fail_at: 1 };
        assert_eq!(Microbatch::<u8>::new().flush(&mut scorer, 64, &Thresholds::all(0.5), |_, _, _| ()).unwrap(), 0);
        assert!(scorer.calls.is_empty());
    }
}
