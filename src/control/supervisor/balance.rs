//! Which queue should run where: a function of loads and of its own past steps, so that it can be tested without a thread.
//!
//! Deliberately slow and lazy: one step a tick, and none unless it pays clearly, because a move costs the queue some
//! hundred microseconds and the new core cold caches.
//!
//! Loads are not additive: two queues that overload one core may be a tenth of two cores, because what else runs there
//! runs elsewhere. Bringing such queues together again would overload the core anew, and so on for ever. So after an
//! overload queues stay apart for a while, and for twice as long each time that bringing them together was wrong.

use crate::units::{QueueId, SECOND, Timestamp, WorkerId};

/// A worker is overloaded from this share of its time on.
const HIGH: f64 = 0.80;
/// Two workers can be one if together they stay below this.
const LOW: f64 = 0.40;
/// A move must leave the fuller of the two at least this much emptier.
const GAIN: f64 = 0.10;

/// How long queues stay apart after an overload: too short and a wrong merge is repeated often, too long and cores spin for
/// nothing.
const FIRST_PAUSE_NS: u64 = 10 * SECOND;
/// Longest time they do, after wrong merges.
const LONGEST_PAUSE_NS: u64 = 640 * SECOND;

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

/// Gives the steps, and remembers when bringing queues together was wrong.
#[derive(Debug)]
pub struct Balancer {
    /// No queues are brought together, and no worker is stopped, before.
    apart_until: Timestamp,
    pause_ns: u64,
    /// The last time queues were brought together or a worker was stopped.
    merged: Option<Timestamp>,
}

impl Balancer {
    /// Without a past.
    pub fn new() -> Balancer {
        Balancer { apart_until: Timestamp(0), pause_ns: FIRST_PAUSE_NS, merged: None }
    }

    /// The next step, if one pays. `spare_cores`: how many more workers may be started.
    pub fn next_step(&mut self, now: Timestamp, loads: &[Load], spare_cores: usize) -> Option<Step> {
        let fullest = loads.iter().max_by(|a, b| a.busy.total_cmp(&b.busy))?;
        if fullest.busy < HIGH || fullest.queues.len() < 2 {
            let step = if now < self.apart_until { None } else { merge(loads) };
            self.merged = step.map_or(self.merged, |_| Some(now));
            return step;
        }
        let step = spread(fullest, loads, spare_cores)?;
        if let Some(merged) = self.merged.take() {
            // What was brought together did not fit. After a long time it is another load, not a wrong merge.
            let wrong = now.since(merged) < self.pause_ns.saturating_mul(4);
            self.pause_ns = if wrong { (self.pause_ns * 2).min(LONGEST_PAUSE_NS) } else { FIRST_PAUSE_NS };
        }
        self.apart_until = now.after(self.pause_ns);
        Some(step)
    }
}

/// Relief for an overloaded worker with several queues.
fn spread(fullest: &Load, loads: &[Load], spare_cores: usize) -> Option<Step> {
    let others = loads.iter().filter(|load| load.worker != fullest.worker);
    let emptiest = others.min_by(|a, b| a.busy.total_cmp(&b.busy));
    if let Some(step) = emptiest.and_then(|emptiest| relief(fullest, emptiest)) {
        return Some(step);
    }
    (spare_cores > 0 && emptiest.is_none_or(|emptiest| !emptiest.queues.is_empty())).then_some(Step::Start)
}

/// Idle: brings queues together, then stops the empty worker, down to one.
fn merge(loads: &[Load]) -> Option<Step> {
    if loads.len() < 2 {
        return None;
    }
    if let Some(empty) = loads.iter().find(|load| load.queues.is_empty()) {
        return Some(Step::Stop(empty.worker));
    }
    let mut by_load: Vec<&Load> = loads.iter().collect();
    by_load.sort_by(|a, b| a.busy.total_cmp(&b.busy));
    let [least, next, ..] = by_load[..] else { return None };
    let (queue, _) = least.queues.first()?;
    (least.busy + next.busy < LOW).then_some(Step::Move(*queue, next.worker))
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
            assert_eq!(Balancer::new().next_step(Timestamp(0), &loads, spare), expected, "{loads:?}");
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
            let (mut balancer, mut now) = (Balancer::new(), Timestamp(0));
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
                now = now.after(SECOND / 2);
                match balancer.next_step(now, &loads, spare) {
                    None if now >= balancer.apart_until => break,
                    None => continue,
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
    /// Two queues that overload one core and hardly load two: they are parted, and brought together less and less often.
    #[test]
    fn loads_that_do_not_add_up_are_left_apart() {
        let mut balancer = Balancer::new();
        let (mut parted, mut moves) = (false, Vec::new());
        for tick in 0..2 * 3_600 {
            let now = Timestamp(tick * SECOND / 2);
            let loads = if parted {
                [load(0, 0.15, &[(0, 1.0)]), load(1, 0.15, &[(1, 1.0)])]
            } else {
                [load(0, 0.95, &[(0, 0.5), (1, 0.5)]), load(1, 0.0, &[])]
            };
            if let Some(step) = balancer.next_step(now, &loads, 0) {
                assert!(matches!(step, Step::Move(..)), "{step:?}");
                parted = !parted;
                moves.push(now.0 / SECOND);
            }
        }
        // In an hour: parted at 0, 10, 30, 70 s and so on up to every 640 s, brought together just before.
        assert!(moves.len() <= 21, "{moves:?}");
        assert!(moves.windows(3).skip(1).all(|moves| moves[2] - moves[0] >= 19), "{moves:?}");
        // A load that has really gone lets them come together once the pause is over.
        let quiet = [load(0, 0.1, &[(0, 1.0)]), load(1, 0.1, &[(1, 1.0)])];
        assert!(balancer.next_step(Timestamp(100_000 * SECOND), &quiet, 0).is_some());
    }
}
