//! Runs the program: owns the workers and knows where every queue is, takes what the queues send up through merge,
//! deciders and deduplication into the store, moves queues by hand and by load, and shows all of it to `http`.
//!
//! One thread. It never waits for a worker, and no worker waits for it; the only lock is on the copy of the picture that
//! `http` reads. What is captured, and how, is behind [`Capture`], so a test runs the same supervisor over memory rings.

mod balance;
pub mod live;
mod picture;
mod pipeline;
mod rates;

pub use picture::SharedPicture;
pub use pipeline::Pipeline;

use crate::clock::Clock;
use crate::control::hosts::Scores;
use crate::control::store::Store;
use crate::control::view::{CommandError, Degraded, Equation, Metric, ModelStatus, QueueStatus, StageTotals};
use crate::dataplane::worker::{
    Command, Queue, QueueSnapshot, QueueState, RxSettings, ScoreSettings, WorkerHandle, WorkerSettings,
};
use crate::exchange::{SnapshotReceiver, UpReceiver};
use crate::metrics::CounterMemory;
use crate::units::{MILLISECOND, QueueId, Timestamp, WorkerId};
use balance::{Balancer, Load, Step};
use rates::{QueueRates, WorkerRates};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// What the supervisor needs to know of where frames come from.
pub trait Capture: Send {
    /// How a queue's frames come in, as read back.
    fn status(&self, queue: QueueId) -> Option<QueueStatus>;
    /// Equations between wire, kernel and worker; `counters`: the worker's side of every queue.
    fn equations(&self, counters: &BTreeMap<QueueId, [u64; crate::metrics::COUNTERS.len()]>) -> Vec<Equation>;
    /// Drops counted outside the worker, by cause.
    fn drops(&self) -> Vec<crate::control::view::Amount>;
    /// Socket, program and NIC counters for Prometheus.
    fn metrics(&self) -> Vec<Metric>;
    /// What is not as it should be.
    fn degraded(&self, now: Timestamp) -> Vec<Degraded>;
    /// Things worth knowing.
    fn notes(&self) -> Vec<String>;
    /// Housekeeping about four times a second.
    fn poll(&mut self, now: Timestamp);
    /// Ends the intake; the queues then end by themselves when they have given their last frame.
    fn stop(&mut self);
}

/// The supervisor's side of one queue.
pub struct QueueParts {
    /// Its number.
    pub id: QueueId,
    /// Name for people (`eth1:0`).
    pub name: String,
    /// Its counters.
    pub counters: Arc<dyn CounterMemory>,
    /// What it sends up.
    pub up: UpReceiver,
    /// Its snapshots.
    pub snapshots: SnapshotReceiver<QueueSnapshot>,
    /// The engine, to be given to a worker.
    pub engine: Box<dyn Queue>,
}

/// What does not change while it runs.
#[derive(Clone)]
pub struct Settings {
    /// `run` or `demo`.
    pub mode: String,
    /// Cores for workers, in the order in which they are taken; never empty.
    pub cores: Vec<usize>,
    /// Pin workers to them.
    pub pin: bool,
    /// Start, stop and rebalance by load.
    pub scale: bool,
    /// Empty turns before an idle worker waits.
    pub spin_turns: u32,
    /// RX controller of every queue.
    pub rx: RxSettings,
    /// Scoring controller of every queue.
    pub score: ScoreSettings,
    /// Detectors.
    pub detect: crate::control::hosts::Settings,
    /// What is usual for each feature, from the model's manifest.
    pub usual: Option<crate::dataplane::detect::model::Usual>,
    /// The model; `None`: none is configured.
    pub model: Option<ModelStatus>,
    /// Notes of the start (`2 queues share core 1`).
    pub notes: Vec<String>,
    /// What was degraded from the start (a model that could not be loaded).
    pub degraded: Vec<Degraded>,
}

/// An order of the operator, with the place for its answer.
pub(crate) enum Order {
    Move(QueueId, WorkerId, Answer<()>),
    Add(Answer<WorkerId>),
    Remove(WorkerId, Answer<()>),
}

/// Where an order's answer goes.
type Answer<T> = std::sync::mpsc::SyncSender<Result<T, CommandError>>;

/// A queue as the supervisor keeps it.
struct Entry {
    id: QueueId,
    name: String,
    counters: Arc<dyn CounterMemory>,
    up: UpReceiver,
    snapshots: SnapshotReceiver<QueueSnapshot>,
    /// Who runs it, or shall.
    worker: Option<WorkerId>,
    /// Released by one worker and not yet with the next.
    moving: bool,
    latency: StageTotals,
    latest: Option<Box<QueueState>>,
    score_failed: bool,
    rates: QueueRates,
    ended: bool,
}

/// A worker as the supervisor keeps it.
struct Slot {
    handle: WorkerHandle,
    rates: WorkerRates,
    stopping: bool,
}

/// How long queues may take to give their last frames once the intake has ended.
const INTAKE_LIMIT_NS: u64 = 5_000 * MILLISECOND;
/// Items taken from one queue's ring before the next queue has its turn.
const ITEMS_A_ROUND: usize = 4096;

/// The running program.
pub struct Supervisor {
    settings: Settings,
    clock: Clock,
    slots: Vec<Slot>,
    entries: Vec<Entry>,
    /// Queues that no worker could take yet.
    homeless: Vec<(WorkerId, Box<dyn Queue>)>,
    /// Queues that are done.
    done: Vec<Box<dyn Queue>>,
    pipeline: Pipeline,
    store: Store,
    capture: Box<dyn Capture>,
    picture: Arc<SharedPicture>,
    orders: Receiver<Order>,
    next_worker: u16,
    started: Timestamp,
    next_picture: Timestamp,
    next_balance: Timestamp,
    balancer: Balancer,
}

impl Supervisor {
    /// Starts one worker per queue, or per core where there are fewer, and hands the queues out.
    ///
    /// # Errors
    /// The operating system's, if it has no thread to give.
    pub fn start(
        settings: Settings,
        queues: Vec<QueueParts>,
        capture: Box<dyn Capture>,
        store: Store,
        clock: Clock,
    ) -> std::io::Result<Supervisor> {
        let (sender, orders) = std::sync::mpsc::sync_channel(16);
        let started = clock.now();
        let mut supervisor = Supervisor {
            pipeline: Pipeline::new(queues.len(), settings.detect, Scores::AtOnce, settings.usual),
            picture: Arc::new(SharedPicture::new(sender)),
            slots: Vec::new(),
            entries: Vec::new(),
            homeless: Vec::new(),
            done: Vec::new(),
            store,
            capture,
            orders,
            next_worker: 0,
            started,
            next_picture: started,
            next_balance: started.after(2_000 * MILLISECOND),
            balancer: Balancer::new(),
            clock,
            settings,
        };
        let workers = queues.len().min(supervisor.settings.cores.len()).max(1);
        for _ in 0..workers {
            supervisor.start_worker()?;
        }
        for (index, queue) in queues.into_iter().enumerate() {
            let worker = supervisor.slots[index % workers].handle.settings().id;
            supervisor.entries.push(Entry {
                id: queue.id,
                name: queue.name,
                counters: queue.counters,
                up: queue.up,
                snapshots: queue.snapshots,
                worker: Some(worker),
                moving: true,
                latency: StageTotals::new(),
                latest: None,
                score_failed: false,
                rates: QueueRates::default(),
                ended: false,
            });
            supervisor.homeless.push((worker, queue.engine));
        }
        supervisor.house_the_homeless();
        supervisor.refresh_picture(started);
        Ok(supervisor)
    }

    /// What `http` serves.
    pub fn picture(&self) -> Arc<SharedPicture> {
        Arc::clone(&self.picture)
    }

    /// Runs until `stop` says so or every source has ended, then ends the intake, lets the queues finish, stops the workers
    /// and sends on what is left.
    pub fn run(&mut self, mut stop: impl FnMut() -> bool) {
        let mut deadline = None;
        while !self.entries.iter().all(|entry| entry.ended) {
            let now = self.clock.now();
            if deadline.is_none() && stop() {
                self.capture.stop();
                deadline = Some(now.after(INTAKE_LIMIT_NS));
            }
            if deadline.is_some_and(|deadline| now >= deadline) {
                break;
            }
            if !self.tick() {
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }
        self.shut_down();
    }

    /// Alerts raised so far, by detector.
    pub fn raised(&self) -> &BTreeMap<crate::dataplane::detect::Detector, u64> {
        self.pipeline.raised()
    }

    /// One round over everything; `false` if there was nothing to do.
    pub fn tick(&mut self) -> bool {
        let now = self.clock.now();
        let worked = self.take_findings();
        self.take_back();
        self.house_the_homeless();
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order);
        }
        if now >= self.next_balance {
            self.next_balance = now.after(500 * MILLISECOND);
            if self.settings.scale {
                self.balance(now);
            }
        }
        if now >= self.next_picture {
            self.next_picture = now.after(250 * MILLISECOND);
            self.capture.poll(now);
            self.refresh_picture(now);
        }
        worked
    }

    /// Findings of every queue into the pipeline, alerts into the store.
    fn take_findings(&mut self) -> bool {
        let mut worked = false;
        for entry in &mut self.entries {
            for _ in 0..ITEMS_A_ROUND {
                let Some(item) = entry.up.receive() else { break };
                worked = true;
                self.pipeline.push(entry.id, item);
            }
            let (latency, latest, score_failed) = (&mut entry.latency, &mut entry.latest, &mut entry.score_failed);
            entry.snapshots.drain(|snapshot| {
                latency.add(&snapshot.histograms);
                let failed = snapshot.state.score_failed;
                *latest = Some(Box::new(snapshot.state.clone()));
                *score_failed |= failed;
            });
        }
        let alerts = self.pipeline.take_alerts();
        if !alerts.is_empty() {
            self.store.append(alerts);
        }
        worked
    }

    /// Queues that came back from workers: ended ones rest, moved ones wait for their new home.
    fn take_back(&mut self) {
        for slot in &mut self.slots {
            let from = slot.handle.settings().id;
            while let Some(queue) = slot.handle.returned() {
                let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == queue.id()) else { continue };
                match entry.worker.filter(|target| *target != from && entry.moving) {
                    Some(target) => self.homeless.push((target, queue)),
                    None => {
                        entry.ended = true;
                        entry.worker = None;
                        self.done.push(queue);
                    }
                }
            }
        }
        self.slots.retain_mut(|slot| !(slot.stopping && slot.handle.is_finished() && slot.handle.join()));
    }

    fn house_the_homeless(&mut self) {
        for (target, queue) in std::mem::take(&mut self.homeless) {
            let id = queue.id();
            let slot = self.slots.iter_mut().find(|slot| slot.handle.settings().id == target && !slot.stopping);
            match slot.map(|slot| slot.handle.command(Command::Adopt(queue))) {
                Some(Ok(())) => {
                    if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
                        entry.moving = false;
                    }
                }
                Some(Err(Command::Adopt(queue))) => self.homeless.push((target, queue)),
                Some(Err(_)) | None => {}
            }
        }
    }

    fn start_worker(&mut self) -> std::io::Result<WorkerId> {
        let id = WorkerId(self.next_worker);
        let taken: Vec<_> = self.slots.iter().filter_map(|slot| slot.handle.settings().core).collect();
        let core = self.settings.cores.iter().copied().find(|core| !taken.contains(core));
        let handle = WorkerHandle::start(WorkerSettings {
            id,
            core: core.filter(|_| self.settings.pin),
            spin_turns: self.settings.spin_turns,
            wait_limit: Duration::from_millis(1),
        })?;
        self.next_worker += 1;
        self.slots.push(Slot { handle, rates: WorkerRates::default(), stopping: false });
        Ok(id)
    }

    /// Workers that take queues.
    fn active_workers(&self) -> usize {
        self.slots.iter().filter(|slot| !slot.stopping).count()
    }

    fn move_queue(&mut self, queue: QueueId, target: WorkerId) -> Result<(), CommandError> {
        let name = |slot: &Slot| slot.handle.settings().id;
        if !self.slots.iter().any(|slot| name(slot) == target && !slot.stopping) {
            return Err(CommandError::NotFound(format!("no worker {}: see /v1/workers", target.0)));
        }
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == queue) else {
            return Err(CommandError::NotFound(format!("no queue {}: see /v1/status", queue.0)));
        };
        let Some(from) = entry.worker else {
            return Err(CommandError::Conflict(format!("queue {} has ended", queue.0)));
        };
        if entry.moving {
            return Err(CommandError::Busy(format!("queue {} is on its way to worker {}: try again", queue.0, from.0)));
        }
        if from == target {
            return Ok(());
        }
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.handle.settings().id == from) else {
            return Err(CommandError::Busy(format!("worker {} is stopping: try again", from.0)));
        };
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
        self.start_worker().map_err(|cause| CommandError::Busy(format!("start a worker: {cause}")))
    }

    fn remove_worker(&mut self, worker: WorkerId) -> Result<(), CommandError> {
        if !self.slots.iter().any(|slot| slot.handle.settings().id == worker && !slot.stopping) {
            return Err(CommandError::NotFound(format!("no worker {}: see /v1/workers", worker.0)));
        }
        let others: Vec<WorkerId> = self
            .slots
            .iter()
            .filter(|slot| !slot.stopping && slot.handle.settings().id != worker)
            .map(|slot| slot.handle.settings().id)
            .collect();
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
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.handle.settings().id == worker) {
            // Commands are obeyed in order: the queues have been given back when the worker reads this one.
            if slot.handle.command(Command::Stop(false)).is_err() {
                return Err(CommandError::Busy(format!("worker {} has not read its orders yet: try again", worker.0)));
            }
            slot.stopping = true;
        }
        Ok(())
    }

    fn obey(&mut self, order: Order) {
        // The asker may have gone; its answer then goes nowhere, by decision.
        match order {
            Order::Move(queue, worker, answer) => drop(answer.try_send(self.move_queue(queue, worker))),
            Order::Add(answer) => drop(answer.try_send(self.add_worker())),
            Order::Remove(worker, answer) => drop(answer.try_send(self.remove_worker(worker))),
        }
    }

    /// One step towards balance, if one pays.
    fn balance(&mut self, now: Timestamp) {
        if self.entries.iter().any(|entry| entry.moving) {
            return;
        }
        let loads: Vec<Load> = self
            .slots
            .iter_mut()
            .filter(|slot| !slot.stopping)
            .map(|slot| {
                let worker = slot.handle.settings().id;
                let mine: Vec<_> = self.entries.iter().filter(|entry| entry.worker == Some(worker)).collect();
                let work: f64 = mine.iter().map(|entry| entry.rates.work_per_second()).sum();
                let share = |rate: f64| if work > 0.0 { rate / work } else { 1.0 / mine.len() as f64 };
                let queues = mine.iter().map(|entry| (entry.id, share(entry.rates.work_per_second()))).collect();
                Load { worker, busy: slot.rates.busy, queues }
            })
            .collect();
        let spare = self.settings.cores.len().saturating_sub(loads.len());
        match self.balancer.next_step(now, &loads, spare) {
            None => {}
            Some(Step::Move(queue, worker)) => {
                tracing::info!("balance: queue {} goes to worker {}", queue.0, worker.0);
                if let Err(error) = self.move_queue(queue, worker) {
                    tracing::warn!("balance: {error}");
                }
            }
            Some(Step::Start) => match self.add_worker() {
                Ok(worker) => tracing::info!("balance: worker {} started", worker.0),
                Err(error) => tracing::warn!("balance: {error}"),
            },
            Some(Step::Stop(worker)) => match self.remove_worker(worker) {
                Ok(()) => tracing::info!("balance: worker {} stops, it has no queue", worker.0),
                Err(error) => tracing::warn!("balance: {error}"),
            },
        }
    }

    /// Stops every worker with its queues finished, and sends on what they still had to say.
    fn shut_down(&mut self) {
        for slot in &mut self.slots {
            // A full command ring empties in microseconds: the worker reads it between two bursts.
            while !slot.handle.is_finished() && slot.handle.command(Command::Stop(true)).is_err() {
                std::thread::yield_now();
            }
        }
        // Rings are drained while the workers finish, so that nothing is lost for want of room.
        while self.slots.iter().any(|slot| !slot.handle.is_finished()) {
            if !self.take_findings() {
                std::thread::yield_now();
            }
        }
        for slot in &mut self.slots {
            while let Some(queue) = slot.handle.returned() {
                self.done.push(queue);
            }
            if !slot.handle.join() {
                tracing::error!("worker {} ended by a panic", slot.handle.settings().id.0);
            }
        }
        for (_, mut queue) in std::mem::take(&mut self.homeless) {
            queue.finish();
            self.done.push(queue);
        }
        while self.take_findings() {}
        self.pipeline.finish();
        let alerts = self.pipeline.take_alerts();
        if !alerts.is_empty() {
            self.store.append(alerts);
        }
        if !self.store.flush(Duration::from_secs(5)) {
            tracing::warn!("the alert store has not written everything within 5 s");
        }
        // Sockets close here, so that the last reading of the books holds what they abandoned.
        self.done.clear();
        let now = self.clock.now();
        self.capture.poll(now);
        self.refresh_picture(now);
    }
}
