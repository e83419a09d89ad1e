//! Which queue should run where: a function of loads and of its own past steps, so that it can be tested without a thread.
//!
//! Deliberately slow and lazy: one step a tick (several while frames are lost), and none unless it pays clearly, because a move costs the queue some
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

/// What there is room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// How many more workers may be started.
    pub spare: usize,
    /// Workers that stay, however idle.
    pub minimum: usize,
    /// The number that the next worker started will have.
    pub next: WorkerId,
}

/// Steps of one tick at most, while frames are lost: enough to spread a worker's queues over as many cores.
const URGENT_STEPS: usize = 16;

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
    /// Without a past. What begins at `now` begins spread out, and stays so until its load is known.
    pub fn new(now: Timestamp) -> Balancer {
        Balancer { apart_until: now.after(FIRST_PAUSE_NS), pause_ns: FIRST_PAUSE_NS, merged: None }
    }

    /// The next step, if one pays; in an `urgent` overload as many as it takes by what is known of the loads.
    pub fn steps(&mut self, now: Timestamp, loads: &[Load], mut room: Room, urgent: bool) -> Vec<Step> {
        let mut loads = loads.to_vec();
        let mut steps = Vec::new();
        while steps.len() < URGENT_STEPS {
            let spreads = overloaded(&loads).next().is_some();
            let Some(step) = self.next_step(now, &loads, room) else { break };
            steps.push(step);
            if !urgent || !spreads {
                break;
            }
            take(step, &mut loads, &mut room);
        }
        steps
    }

    /// The next step, if one pays.
    fn next_step(&mut self, now: Timestamp, loads: &[Load], room: Room) -> Option<Step> {
        let mut relievable = overloaded(loads).peekable();
        if relievable.peek().is_none() {
            let step = if now < self.apart_until { None } else { merge(loads, room.minimum) };
            self.merged = step.map_or(self.merged, |_| Some(now));
            return step;
        }
        // The fullest first; but where it cannot be helped, as with one queue's elephant, the next.
        let step = relievable.find_map(|full| spread(full, loads, room.spare))?;
        if let Some(merged) = self.merged.take() {
            // What was brought together did not fit. After a long time it is another load, not a wrong merge.
            let wrong = now.since(merged) < self.pause_ns.saturating_mul(4);
            self.pause_ns = if wrong { (self.pause_ns * 2).min(LONGEST_PAUSE_NS) } else { FIRST_PAUSE_NS };
        }
        self.apart_until = now.after(self.pause_ns);
        Some(step)
    }
}

/// Overloaded workers that have a queue to give away, the fullest first.
fn overloaded(loads: &[Load]) -> impl Iterator<Item = &Load> {
    let mut found: Vec<&Load> = loads.iter().filter(|load| load.busy >= HIGH && load.queues.len() > 1).collect();
    found.sort_by(|a, b| b.busy.total_cmp(&a.busy));
    found.into_iter()
}

/// The loads as they will be after the step, as far as loads add up.
fn take(step: Step, loads: &mut Vec<Load>, room: &mut Room) {
    match step {
        Step::Start => {
            loads.push(Load { worker: room.next, busy: 0.0, queues: Vec::new() });
            room.next.0 += 1;
            room.spare -= 1;
        }
        Step::Stop(worker) => loads.retain(|load| load.worker != worker),
        Step::Move(queue, target) => {
            let mut taken = None;
            for load in loads.iter_mut() {
                if let Some(at) = load.queues.iter().position(|(id, _)| *id == queue) {
                    let work = load.queues.remove(at).1 * load.busy;
                    rescale(load, load.busy - work);
                    taken = Some(work);
                }
            }
            if let (Some(work), Some(load)) = (taken, loads.iter_mut().find(|load| load.worker == target)) {
                rescale(load, load.busy + work);
                let share = if load.busy > 0.0 { work / load.busy } else { 0.0 };
                load.queues.push((queue, share));
            }
        }
    }
}

/// Keeps what each queue costs while the worker's whole load changes.
fn rescale(load: &mut Load, busy: f64) {
    let factor = if busy > 0.0 { load.busy / busy } else { 0.0 };
    load.queues.iter_mut().for_each(|(_, share)| *share *= factor);
    load.busy = busy;
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

/// Idle: brings queues together, then stops the empty worker, down to `minimum` workers.
fn merge(loads: &[Load], minimum: usize) -> Option<Step> {
    if loads.len() <= minimum.max(1) {
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

    const LATER: Timestamp = Timestamp(FIRST_PAUSE_NS);

    fn room(spare: usize) -> Room {
        Room { spare, minimum: 1, next: WorkerId(9) }
    }

    fn balancer() -> Balancer {
        Balancer::new(Timestamp(0))
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
            // An elephant alone on the fullest worker cannot be helped; the next fullest can.
            (vec![load(0, 1.0, &[(0, 1.0)]), load(1, 0.98, &[(1, 0.4), (2, 0.3), (3, 0.3)])], 6, Some(Step::Start)),
            (
                vec![
                    load(0, 1.0, &[(0, 1.0)]),
                    load(1, 0.98, &[(1, 0.4), (2, 0.3), (3, 0.3)]),
                    load(2, 0.1, &[(4, 1.0)]),
                ],
                0,
                Some(Step::Move(QueueId(1), WorkerId(2))),
            ),
            // Neither can one with a queue that outweighs what there is to gain.
            (
                vec![
                    load(0, 1.0, &[(0, 0.99), (5, 0.01)]),
                    load(1, 0.95, &[(1, 0.5), (2, 0.5)]),
                    load(2, 0.3, &[(4, 1.0)]),
                ],
                0,
                Some(Step::Move(QueueId(1), WorkerId(2))),
            ),
        ] {
            assert_eq!(balancer().next_step(LATER, &loads, room(spare)), expected, "{loads:?}");
        }
    }

    /// What has just begun is idle and means nothing by it; and an operator may ask for workers that stay.
    #[test]
    fn workers_stay_at_the_start_and_down_to_the_minimum() {
        let idle = [load(0, 0.0, &[(0, 1.0)]), load(1, 0.0, &[(1, 1.0)]), load(2, 0.0, &[(2, 1.0)])];
        assert_eq!(balancer().next_step(Timestamp(LATER.0 - 1), &idle, room(0)), None);
        assert!(balancer().next_step(LATER, &idle, room(0)).is_some());
        for (minimum, step) in [(2, true), (3, false), (4, false)] {
            let found = balancer().next_step(LATER, &idle, Room { minimum, ..room(0) });
            assert_eq!(found.is_some(), step, "{minimum}: {found:?}");
        }
    }

    /// While frames are lost one tick spreads the queues as far as it pays; otherwise it takes one step.
    #[test]
    fn an_urgent_overload_takes_several_steps_at_once() {
        let queues: Vec<(u16, f64)> = (0..4).map(|queue| (queue, 0.25)).collect();
        let loads = [load(0, 1.0, &queues)];
        assert_eq!(balancer().steps(LATER, &loads, room(3), false), [Step::Start]);
        let steps = balancer().steps(LATER, &loads, room(3), true);
        assert_eq!(steps, [Step::Start, Step::Move(QueueId(0), WorkerId(9))]);
        // Two workers that are full, one of them with an elephant: the others part at once.
        let loads = [load(0, 1.0, &[(9, 1.0)]), load(1, 1.0, &queues), load(2, 0.9, &[(5, 0.5), (6, 0.5)])];
        let steps = balancer().steps(LATER, &loads, room(3), true);
        let moves = [Step::Move(QueueId(0), WorkerId(9)), Step::Move(QueueId(5), WorkerId(9))];
        assert_eq!(steps, [&[Step::Start], &moves[..]].concat());
        // Idle is never urgent: one merge a tick.
        let idle = [load(0, 0.1, &[(0, 1.0)]), load(1, 0.1, &[(1, 1.0)]), load(2, 0.1, &[(2, 1.0)])];
        assert_eq!(balancer().steps(LATER, &idle, room(0), true).len(), 1);
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
            let (mut balancer, mut now) = (balancer(), Timestamp(0));
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
                match balancer.next_step(now, &loads, room(spare)) {
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
        let mut balancer = balancer();
        let (mut parted, mut moves) = (false, Vec::new());
        for tick in 0..2 * 3_600 {
            let now = Timestamp(tick * SECOND / 2);
            let loads = if parted {
                [load(0, 0.15, &[(0, 1.0)]), load(1, 0.15, &[(1, 1.0)])]
            } else {
                [load(0, 0.95, &[(0, 0.5), (1, 0.5)]), load(1, 0.0, &[])]
            };
            if let Some(step) = balancer.next_step(now, &loads, room(0)) {
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
        assert!(balancer.next_step(Timestamp(100_000 * SECOND), &quiet, room(0)).is_some());
    }
}
