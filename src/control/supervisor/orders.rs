//! Workers come and go, queues move: by the operator's order and by load.

use super::balance::{Load, Room, Step};
use super::census::Asked;
use super::health::{Health, Pulse};
use super::rates::WorkerRates;
use super::{Reload, Slot, Supervisor};
use crate::control::view::CommandError;
use crate::dataplane::worker::{Command, WorkerHandle, WorkerSettings};
use crate::metrics::{Counter, read_counters};
use crate::units::{QueueId, Timestamp, WorkerId};
use std::time::Duration;

/// An order of the operator, or a question that queues have to answer, with the place for its answer.
pub(crate) enum Order {
    Move(QueueId, WorkerId, Answer<()>),
    Add(Answer<WorkerId>),
    Remove(WorkerId, Answer<()>),
    Bypass(String, bool, Answer<()>),
    Reload(Box<Reload>, Answer<()>),
    Census(Asked),
}

/// Where an order's answer goes.
pub(super) type Answer<T> = std::sync::mpsc::SyncSender<Result<T, CommandError>>;

impl Supervisor {
    /// Starts a worker that can run `queues` queues, on a core that has none.
    pub(super) fn start_worker(&mut self, queues: usize) -> std::io::Result<WorkerId> {
        let id = WorkerId(self.next_worker);
        let living = self.slots.iter().filter(|slot| slot.pulse.health != Health::Dead);
        let taken: Vec<_> = living.filter_map(|slot| slot.handle.settings().core).collect();
        let core = self.settings.cores.iter().copied().find(|core| !taken.contains(core));
        let handle = WorkerHandle::start(WorkerSettings {
            id,
            core: core.filter(|_| self.settings.pin),
            queues_max: queues,
            spin_turns: self.settings.spin_turns,
            wait_limit: Duration::from_millis(1),
        })?;
        self.next_worker += 1;
        self.slots.push(Slot { handle, rates: WorkerRates::default(), pulse: Pulse::default(), stopping: false });
        Ok(id)
    }

    /// Workers that have a core to themselves.
    fn active_workers(&self) -> usize {
        self.slots.iter().filter(|slot| !slot.stopping && slot.pulse.health != Health::Dead).count()
    }

    /// A worker that queues may be given to.
    fn target(&self, worker: WorkerId) -> Result<(), CommandError> {
        let slot = self.slots.iter().find(|slot| slot.id() == worker && !slot.stopping);
        match slot.map(|slot| slot.pulse.health) {
            Some(Health::Well) => Ok(()),
            Some(Health::Hung) => Err(CommandError::Conflict(format!("worker {} hangs: see /v1/status", worker.0))),
            Some(Health::Dead) => Err(CommandError::Conflict(format!("worker {} is dead: see /v1/status", worker.0))),
            None => Err(CommandError::NotFound(format!("no worker {}: see /v1/workers", worker.0))),
        }
    }

    pub(super) fn move_queue(&mut self, queue: QueueId, target: WorkerId) -> Result<(), CommandError> {
        self.target(target)?;
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == queue) else {
            return Err(CommandError::NotFound(format!("no queue {}: see /v1/status", queue.0)));
        };
        let Some(from) = entry.worker else {
            let what = if entry.lost.is_some() { "is lost: see /v1/status" } else { "has ended" };
            return Err(CommandError::Conflict(format!("queue {} {what}", queue.0)));
        };
        if entry.moving {
            return Err(CommandError::Busy(format!("queue {} is on its way to worker {}: try again", queue.0, from.0)));
        }
        if from == target {
            return Ok(());
        }
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.id() == from) else {
            return Err(CommandError::Busy(format!("worker {} is stopping: try again", from.0)));
        };
        if slot.pulse.health != Health::Well {
            return Err(CommandError::Conflict(format!("worker {} does not let go of it: see /v1/status", from.0)));
        }
        if slot.handle.command(Command::Release(queue)).is_err() {
            return Err(CommandError::Busy(format!("worker {} has not read its orders yet: try again", from.0)));
        }
        entry.worker = Some(target);
        entry.moving = true;
        Ok(())
    }

    fn add_worker(&mut self) -> Result<WorkerId, CommandError> {
        if self.active_workers() >= self.settings.cores.len() {
            let cores = &self.settings.cores;
            return Err(CommandError::Conflict(format!(
                "every core given has its worker: {cores:?}; give more in [workers]"
            )));
        }
        self.start_worker(self.entries.len()).map_err(|cause| CommandError::Busy(format!("start a worker: {cause}")))
    }

    fn remove_worker(&mut self, worker: WorkerId) -> Result<(), CommandError> {
        if !self.slots.iter().any(|slot| slot.id() == worker && !slot.stopping) {
            return Err(CommandError::NotFound(format!("no worker {}: see /v1/workers", worker.0)));
        }
        let dead = |slot: &Slot| slot.id() == worker && slot.pulse.health == Health::Dead;
        if let Some(place) = self.slots.iter().position(dead) {
            // What it held is lost already; this takes it off the list.
            self.slots.remove(place).handle.abandon();
            return Ok(());
        }
        let others: Vec<WorkerId> =
            self.slots.iter().filter(|slot| slot.takes_queues() && slot.id() != worker).map(Slot::id).collect();
        if others.is_empty() {
            return Err(CommandError::Conflict("the last worker stays: its queues would have no home".into()));
        }
        if self.entries.iter().any(|entry| entry.worker == Some(worker) && entry.moving) {
            return Err(CommandError::Busy(format!("a queue is on its way to worker {}: try again", worker.0)));
        }
        let queues: Vec<QueueId> =
            self.entries.iter().filter(|entry| entry.worker == Some(worker)).map(|entry| entry.id).collect();
        for (index, queue) in queues.into_iter().enumerate() {
            self.move_queue(queue, others[index % others.len()])?;
        }
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.id() == worker) {
            // Commands are obeyed in order: the queues have been given back when the worker reads this one.
            if slot.handle.command(Command::Stop(false)).is_err() {
                return Err(CommandError::Busy(format!("worker {} has not read its orders yet: try again", worker.0)));
            }
            slot.stopping = true;
        }
        Ok(())
    }

    /// Other settings, without a look at sockets and links.
    fn reload(&mut self, reload: Reload) -> Result<(), CommandError> {
        if let Some(responses) = &self.responses {
            responses.change(reload.respond).map_err(|cause| CommandError::Busy(cause.to_string()))?;
        }
        self.capture.reload(&reload.pairs);
        self.pipeline.retune(reload.detect);
        self.settings.detect = reload.detect;
        self.waits = reload.waits;
        Ok(())
    }

    pub(super) fn obey(&mut self, order: Order) {
        // The asker may have gone; its answer then goes nowhere, by decision.
        match order {
            Order::Move(queue, worker, answer) => drop(answer.try_send(self.move_queue(queue, worker))),
            Order::Add(answer) => drop(answer.try_send(self.add_worker())),
            Order::Remove(worker, answer) => drop(answer.try_send(self.remove_worker(worker))),
            Order::Bypass(name, on, answer) => {
                let done = self.capture.bypass(&name, on);
                let outcome =
                    done.then_some(()).ok_or_else(|| CommandError::NotFound(format!("no pair {name}: see /v1/pairs")));
                drop(answer.try_send(outcome));
            }
            Order::Reload(reload, answer) => drop(answer.try_send(self.reload(*reload))),
            Order::Census(asked) => self.census.ask(asked),
        }
    }

    /// A step towards balance, if one pays; several at once while frames are lost.
    pub(super) fn balance(&mut self, now: Timestamp) {
        // One that a worker does not let go of, because it hangs, must not keep the others from being helped.
        let let_go = |holder: Option<WorkerId>| holder.is_none_or(|holder| self.is_well(holder));
        if self.entries.iter().any(|entry| entry.moving && let_go(entry.holder)) {
            return;
        }
        let urgent = self.is_overflowing();
        let loads: Vec<Load> = self
            .slots
            .iter()
            .filter(|slot| slot.takes_queues())
            .map(|slot| {
                let mine: Vec<_> = self.entries.iter().filter(|entry| entry.worker == Some(slot.id())).collect();
                let work: f64 = mine.iter().map(|entry| entry.rates.work_per_second()).sum();
                let share = |rate: f64| if work > 0.0 { rate / work } else { 1.0 / mine.len() as f64 };
                let queues = mine.iter().map(|entry| (entry.id, share(entry.rates.work_per_second()))).collect();
                Load { worker: slot.id(), busy: slot.rates.busy, queues }
            })
            .collect();
        let room = Room {
            spare: self.settings.cores.len().saturating_sub(self.active_workers()),
            minimum: self.settings.minimum,
            next: WorkerId(self.next_worker),
        };
        for step in self.balancer.steps(now, &loads, room, urgent) {
            let outcome = match step {
                Step::Move(queue, worker) => {
                    tracing::info!("balance: queue {} goes to worker {}", queue.0, worker.0);
                    self.move_queue(queue, worker)
                }
                Step::Start => self.add_worker().map(|worker| tracing::info!("balance: worker {} started", worker.0)),
                Step::Stop(worker) => {
                    tracing::info!("balance: worker {} stops, it has no queue", worker.0);
                    self.remove_worker(worker)
                }
            };
            if let Err(error) = outcome {
                tracing::warn!("balance: {error}");
                return;
            }
        }
    }

    /// Do frames come faster than the workers take them? A ring is half full, or one has overflowed since last asked.
    fn is_overflowing(&mut self) -> bool {
        // What a queue said last counts only while somebody looks at it.
        let served = self.entries.iter().filter(|entry| !entry.ended && self.is_served(entry));
        let filling = served.filter_map(|entry| entry.latest.as_deref());
        let filling = filling.filter(|latest| latest.ring_capacity > 0);
        let filling = filling.into_iter().any(|latest| latest.ring_waiting >= latest.ring_capacity / 2);
        let lost = self.capture.drops();
        let lost = lost.iter().filter(|drop| ["ring_full", "no_frame"].contains(&&*drop.name)).map(|drop| drop.value);
        let handed =
            self.entries.iter().map(|entry| read_counters(&*entry.counters)[Counter::DropHandoverFull as usize]);
        let overflows = lost.sum::<u64>() + handed.sum::<u64>();
        let before = std::mem::replace(&mut self.overflows, overflows);
        filling || overflows > before
    }
}
