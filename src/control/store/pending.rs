//! The bounded queue in front of the writer: in order of arrival, and when it is full the oldest of the lowest severity
//! goes first (EVE counts 1 as high and 4 as low).

use crate::control::alert::Alert;
use std::collections::VecDeque;

/// Severities that are told apart; anything above counts as the lowest.
const CLASSES: usize = 4;

/// An alert on its way to the disk.
pub(super) struct Waiting {
    /// Order of arrival.
    arrival: u64,
    pub(super) alert: Alert,
}

/// Alerts that wait for the writer.
pub(super) struct Pending {
    classes: [VecDeque<Waiting>; CLASSES],
    capacity: usize,
    arrivals: u64,
}

impl Pending {
    pub(super) fn new(capacity: usize) -> Pending {
        Pending { classes: Default::default(), capacity: capacity.max(1), arrivals: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(VecDeque::len).sum()
    }

    /// Adds one; returns how many were given up for it (itself included, where it is the least important).
    pub(super) fn push(&mut self, alert: Alert) -> u64 {
        let class = usize::from(alert.evidence.severity).clamp(1, CLASSES) - 1;
        self.arrivals += 1;
        self.classes[class].push_back(Waiting { arrival: self.arrivals, alert });
        self.shed()
    }

    /// Takes the oldest, whatever their severity, at most `count`.
    pub(super) fn take(&mut self, count: usize) -> Vec<Waiting> {
        let mut taken = Vec::with_capacity(count.min(self.len()));
        while taken.len() < count {
            let oldest = self
                .classes
                .iter_mut()
                .filter(|class| !class.is_empty())
                .min_by_key(|class| class.front().map_or(u64::MAX, |waiting| waiting.arrival));
            match oldest.and_then(VecDeque::pop_front) {
                Some(waiting) => taken.push(waiting),
                None => break,
            }
        }
        taken
    }

    /// Puts back what [`Pending::take`] gave and could not be written; returns how many had to be given up.
    pub(super) fn put_back(&mut self, batch: Vec<Waiting>) -> u64 {
        for waiting in batch.into_iter().rev() {
            let class = usize::from(waiting.alert.evidence.severity).clamp(1, CLASSES) - 1;
            self.classes[class].push_front(waiting);
        }
        self.shed()
    }

    fn shed(&mut self) -> u64 {
        let mut shed = 0;
        while self.len() > self.capacity {
            if let Some(lowest) = self.classes.iter_mut().rev().find(|class| !class.is_empty()) {
                lowest.pop_front();
            }
            shed += 1;
        }
        shed
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::alert;
    use super::*;

    fn ids(batch: &[Waiting]) -> Vec<&str> {
        batch.iter().map(|waiting| waiting.alert.id.as_str()).collect()
    }

    #[test]
    fn order_of_arrival_is_kept_over_severities_and_put_back() {
        let mut pending = Pending::new(10);
        for (id, severity) in [("a", 4), ("b", 1), ("c", 3), ("d", 1)] {
            assert_eq!(pending.push(alert(id, severity)), 0);
        }
        let batch = pending.take(3);
        assert_eq!(ids(&batch), ["a", "b", "c"]);
        pending.push(alert("e", 2));
        assert_eq!(pending.put_back(batch), 0);
        assert_eq!(ids(&pending.take(9)), ["a", "b", "c", "d", "e"]);
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn the_oldest_of_the_lowest_severity_goes_first() {
        let mut pending = Pending::new(3);
        for (id, severity) in [("low1", 4), ("high", 1), ("low2", 9)] {
            pending.push(alert(id, severity));
        }
        assert_eq!(pending.push(alert("mid", 2)), 1);
        assert_eq!(pending.push(alert("high2", 1)), 1);
        assert_eq!(pending.push(alert("low3", 4)), 1);
        assert_eq!(ids(&pending.take(9)), ["high", "mid", "high2"]);
    }
}
