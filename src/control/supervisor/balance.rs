//! Which queue should run where: a pure function of loads, so that it can be tested without a thread.
//!
//! Deliberately slow and lazy: one step a tick, and none unless it pays clearly, because a move costs the queue some
//! hundred microseconds and the new core cold caches.

use crate::units::{QueueId, WorkerId};

/// A worker is overloaded from this share of its time on.
const HIGH: f64 = 0.80;
/// Two workers can be one if together they stay below this.
const LOW: f64 = 0.40;
/// A move must leave the fuller of the two at least this much emptier.
const GAIN: f64 = 0.10;

/// What one worker does with its time.
#[derive(Clone, PartialEq, Debug)]
pub struct Load {
    /// Which worker.
    pub worker: WorkerId,
    /// Share of its time in turns that moved frames, 0..=1.
    pub busy: f64,
    /// Its queues, each with its share of the worker's busy time, 0..=1.
    pub queues: Vec<(QueueId, f64)>,
}

/// One step towards balance.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Step {
    /// Give the queue to the worker.
    Move(QueueId, WorkerId),
    /// Start a worker on a free core; a queue will be moved to it next.
    Start,
    /// Stop this worker, it has no queue.
    Stop(WorkerId),
}

/// The next step, if one pays. `spare_cores`: how many more workers may be started.
pub fn next_step(loads: &[Load], spare_cores: usize) -> Option<Step> {
    // Queues without a worker's attention come first: more queues on one worker than needed while another has none.
    let fullest = loads.iter().max_by(|a, b| a.busy.total_cmp(&b.busy))?;
    let emptiest = loads.iter().filter(|load| load.worker != fullest.worker).min_by(|a, b| a.busy.total_cmp(&b.busy));
    if fullest.busy >= HIGH && fullest.queues.len() > 1 {
        if let Some(step) = emptiest.and_then(|emptiest| relief(fullest, emptiest)) {
            return Some(step);
        }
        if spare_cores > 0 && emptiest.is_none_or(|emptiest| !emptiest.queues.is_empty()) {
            return Some(Step::Start);
        }
        return None;
    }
    // Idle: bring queues together, then stop the empty worker, down to one.
    if loads.len() > 1 {
        if let Some(empty) = loads.iter().find(|load| load.queues.is_empty()) {
            return Some(Step::Stop(empty.worker));
        }
        let mut by_load: Vec<&Load> = loads.iter().collect();
        by_load.sort_by(|a, b| a.busy.total_cmp(&b.busy));
        if let [least, next, ..] = by_load[..]
            && least.busy + next.busy < LOW
            && let Some((queue, _)) = least.queues.first()
        {
            return Some(Step::Move(*queue, next.worker));
        }
    }
    None
}

/// The queue whose move from `full` to `empty` brings the two closest together, if that gains enough.
fn relief(full: &Load, empty: &Load) -> Option<Step> {
    let after = |share: f64| (full.busy - share * full.busy).max(empty.busy + share * full.busy);
    let (queue, share) = full.queues.iter().min_by(|a, b| after(a.1).total_cmp(&after(b.1)))?;
    (full.busy.max(empty.busy) - after(*share) >= GAIN).then_some(Step::Move(*queue, empty.worker))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(worker: u16, busy: f64, queues: &[(u16, f64)]) -> Load {
        let queues = queues.iter().map(|(queue, share)| (QueueId(*queue), *share)).collect();
        Load { worker: WorkerId(worker), busy, queues }
    }

    #[test]
    fn steps() {
        for (loads, spare, expected) in [
            (vec![load(0, 0.95, &[(0, 1.0)])], 1, None), // one queue cannot be split
            (vec![load(0, 0.95, &[(0, 0.5), (1, 0.5)])], 1, Some(Step::Start)),
            (vec![load(0, 0.95, &[(0, 0.5), (1, 0.5)])], 0, None),
            (
                vec![load(0, 0.95, &[(0, 0.6), (1, 0.4)]), load(1, 0.1, &[(2, 1.0)])],
                0,
                Some(Step::Move(QueueId(1), WorkerId(1))),
            ),
            (vec![load(0, 0.95, &[(0, 0.99), (1, 0.01)]), load(1, 0.9, &[(2, 1.0)])], 0, None),
            (vec![load(0, 0.1, &[(0, 1.0)]), load(1, 0.1, &[(1, 1.0)])], 0, Some(Step::Move(QueueId(0), WorkerId(1)))),
            (vec![load(0, 0.1, &[]), load(1, 0.1, &[(1, 1.0)])], 0, Some(Step::Stop(WorkerId(0)))),
            (vec![load(0, 0.5, &[(0, 1.0)]), load(1, 0.5, &[(1, 1.0)])], 2, None),
            (vec![load(0, 0.1, &[(0, 1.0)])], 2, None),
        ] {
            assert_eq!(next_step(&loads, spare), expected, "{loads:?}");
        }
    }

    /// Whatever constant loads the queues have, the steps come to an end: no queue is moved back and forth.
    #[test]
    fn constant_loads_settle() {
        let mut seed = 7_u64;
        for _ in 0..200 {
            let mut next = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 33) as f64 / f64::from(1_u32 << 31)
            };
            let weights: Vec<f64> = (0..6).map(|_| next() * 0.5).collect();
            let mut workers: Vec<(u16, Vec<usize>)> = vec![(0, (0..6).collect())];
            let mut spare = 3;
            let mut steps = 0;
            loop {
                let loads: Vec<Load> = workers
                    .iter()
                    .map(|(id, queues)| {
                        let busy: f64 = queues.iter().map(|queue| weights[*queue]).sum();
                        let shares: Vec<_> =
                            queues.iter().map(|queue| (*queue as u16, weights[*queue] / busy)).collect();
                        load(*id, busy.min(1.0), &shares)
                    })
                    .collect();
                match next_step(&loads, spare) {
                    None => break,
                    Some(Step::Start) => {
                        workers.push((workers.iter().map(|(id, _)| id + 1).max().unwrap_or(0), Vec::new()));
                        spare -= 1;
                    }
                    Some(Step::Stop(worker)) => {
                        workers.retain(|(id, _)| *id != worker.0);
                        spare += 1;
                    }
                    Some(Step::Move(queue, worker)) => {
                        for (_, queues) in &mut workers {
                            queues.retain(|found| *found != usize::from(queue.0));
                        }
                        let target = workers.iter_mut().find(|(id, _)| *id == worker.0).expect("a known worker");
                        target.1.push(usize::from(queue.0));
                    }
                }
                steps += 1;
                assert!(steps < 60, "{weights:?} do not settle: {workers:?}");
            }
        }
    }
}
