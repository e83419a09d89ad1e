//! The stage's door for models: another judge comes in, and the rows that were judged go out to who compares and looks for drift.

use super::Judge;
use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

/// Calls whose rows may wait to be looked at, 16 KiB each at most; what finds no room is not compared.
const CALLS: usize = 256;

/// Whose rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Of hosts' minutes.
    Hosts,
    /// Of pairs' hours.
    Pairs,
}

/// The stage's side.
pub struct Door {
    judges: Receiver<(Kind, Option<Box<dyn Judge>>)>,
    judged: Sender<(Kind, Vec<f32>)>,
}

/// The side of who keeps the models.
pub struct StagePort {
    judges: Sender<(Kind, Option<Box<dyn Judge>>)>,
    judged: Receiver<(Kind, Vec<f32>)>,
}

/// Both sides.
pub fn door() -> (Door, StagePort) {
    // One for each order of an operator.
    let (judges, given) = unbounded();
    let (judged, seen) = bounded(CALLS);
    (Door { judges: given, judged }, StagePort { judges, judged: seen })
}

impl Door {
    /// The next judge that came.
    pub(super) fn take(&self) -> Option<(Kind, Option<Box<dyn Judge>>)> {
        self.judges.try_recv().ok()
    }

    /// Rows were judged.
    pub(super) fn judged(&self, kind: Kind, values: &[f32]) {
        if !self.judged.is_full() {
            // Nobody may listen any more.
            drop(self.judged.try_send((kind, values.to_vec())));
        }
    }
}

impl StagePort {
    /// Has rows of that kind judged by another, or by none, from the next window on that is over.
    pub fn give(&self, kind: Kind, judge: Option<Box<dyn Judge>>) {
        drop(self.judges.send((kind, judge)));
    }

    /// What was judged since the last call.
    pub fn judged(&self) -> impl Iterator<Item = (Kind, Vec<f32>)> {
        self.judged.try_iter()
    }
}
