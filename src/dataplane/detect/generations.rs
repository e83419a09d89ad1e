//! Counts over one to two generations of time, and since there has been evidence: what the deciders remember of an entity.

use super::cold::Touched;
use super::{Counts, distinct};
use crate::units::{SECOND, Timestamp};

/// Counts of the present generation and the one before it.
#[derive(Clone, Default)]
pub(super) struct Generations {
    start: Timestamp,
    touched: Timestamp,
    current: Counts,
    previous: Counts,
    /// Since there has been evidence: generations are forgotten, an alert's sums are not.
    since: Option<Box<Since>>,
}

/// What was counted since evidence began to be given.
#[derive(Clone)]
struct Since {
    told: Timestamp,
    counts: Counts,
}

/// Silence after which evidence begins anew, as alerts do.
const AFFAIR_NS: u64 = 3600 * SECOND;

impl Touched for Generations {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Generations {
    /// Adds a window's counts and returns the sum of both generations, with the time it covers in seconds.
    pub fn add(&mut self, start: Timestamp, length_ns: u64, counts: &Counts) -> (Counts, f64) {
        let age = start.since(self.start);
        if self.start == Timestamp(0) || age >= 2 * length_ns {
            *self = Generations { start, since: self.since.take(), ..Generations::default() };
        } else if age >= length_ns {
            self.previous = std::mem::take(&mut self.current);
            self.start = self.start.after(length_ns);
        }
        self.touched = start;
        self.current.merge(counts);
        if let Some(since) = &mut self.since {
            since.counts.merge(counts);
        }
        let mut total = self.current;
        total.merge(&self.previous);
        (total, self.current.last.since(self.start) as f64 / SECOND as f64)
    }

    /// Distinct values of a bitmap in both generations, about.
    pub fn distinct(&self, bitmap: usize) -> f64 {
        let mut all = self.current.bitmap(bitmap);
        distinct::union(&mut all, &self.previous.bitmap(bitmap));
        distinct::estimate(&all)
    }

    /// There is evidence in the window that begins at `start`: what was counted since there has been some. It begins with
    /// `total`, which led to it.
    pub fn told(&mut self, start: Timestamp, total: &Counts) -> Counts {
        let fresh = || Box::new(Since { told: start, counts: *total });
        let since = self.since.get_or_insert_with(fresh);
        if start.since(since.told) > AFFAIR_NS {
            *since = fresh();
        }
        since.told = start;
        since.counts
    }
}
