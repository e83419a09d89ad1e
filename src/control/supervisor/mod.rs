//! Runs the program: owns the workers and knows where every queue is, takes what the queues send up through merge,
//! deciders and deduplication into the store, moves queues by hand and by load, and shows all of it to `http`.
//!
//! One thread. It never waits for a worker, and no worker waits for it; the only lock is on the copy of the picture that
//! `http` reads. What is captured, and how, is behind [`Capture`], so a test runs the same supervisor over memory rings.

mod balance;
mod books;
mod census;
mod health;
pub mod live;
mod orders;
mod outputs;
mod pairs;
mod picture;
mod pipeline;
mod rates;

pub use outputs::Outputs;
pub use picture::SharedPicture;
pub use pipeline::Pipeline;

use crate::clock::Clock;
use crate::control::behaviour::LiveBehaviour;
use crate::control::behaviour::intel::LiveFeeds;
use crate::control::export::AppEvent;
use crate::control::hosts::Scores;
use crate::control::inventory::LiveInventory;
use crate::control::models::LiveModels;
use crate::control::respond::live::{self as respond, LiveResponses};
use crate::control::shunt::Shunts;
use crate::control::store::Store;
use crate::control::view::{Degraded, Equation, Metric, ModelStatus, PairView, QueueStatus, StageTotals};
use crate::dataplane::capture::xdp::{Cause, PairSettings};
use crate::dataplane::score::Explainer;
use crate::dataplane::worker::{
    Command, Queue, QueueSnapshot, QueueState, RingCount, RxSettings, ScoreSettings, Why, WorkerHandle,
};
use crate::exchange::{SnapshotReceiver, Up, UpReceiver};
use crate::metrics::{COUNTERS, CounterMemory, read_counters};
use crate::sys::monotonic;
use crate::units::{MILLISECOND, QueueId, Timestamp, WorkerId};
use balance::Balancer;
use census::Censuses;
use health::{Health, Losses, Pulse, Restarts, Scoring};
use orders::Order;
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
    /// Says or takes back what may close a pair: no model, or no store.
    fn say(&self, _cause: Cause, _holds: bool) {}
    /// An operator's bypass of the pair of that name; `false`: there is none.
    fn bypass(&self, _name: &str, _on: bool) -> bool {
        false
    }
    /// What may change of pairs while they run: policies, the heartbeat's limit.
    fn reload(&self, _pairs: &[PairSettings]) {}
    /// Every pair.
    fn pairs(&self) -> Vec<PairView> {
        Vec::new()
    }
}

/// The supervisor's side of one queue.
pub struct QueueParts {
    /// Its number.
    pub id: QueueId,
    /// Name for people (`eth1:0`).
    pub name: String,
    /// The interface it is of.
    pub interface: Arc<str>,
    /// Its counters.
    pub counters: Arc<dyn CounterMemory>,
    /// What it sends up.
    pub up: UpReceiver,
    /// Its snapshots.
    pub snapshots: SnapshotReceiver<QueueSnapshot>,
    /// What lies in the rings over which others hand it frames.
    pub handover: Vec<Arc<RingCount>>,
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
    /// Workers that an idle program keeps at least.
    pub minimum: usize,
    /// Empty turns before an idle worker waits.
    pub spin_turns: u32,
    /// RX controller of every queue.
    pub rx: RxSettings,
    /// Scoring controller of every queue.
    pub score: ScoreSettings,
    /// Detectors.
    pub detect: crate::control::hosts::Settings,
    /// The model; `None`: none is configured.
    pub model: Option<ModelStatus>,
    /// Notes of the start (`2 queues share core 1`).
    pub notes: Vec<String>,
    /// What was degraded from the start (a model that could not be loaded).
    pub degraded: Vec<Degraded>,
}

/// What is to be otherwise while it runs; no socket, link or table is touched.
#[derive(Clone)]
pub struct Reload {
    /// Pairs that there are, as they are to be.
    pub pairs: Vec<PairSettings>,
    /// Thresholds.
    pub detect: crate::control::hosts::Settings,
    /// How alerts are answered.
    pub respond: Box<respond::Plan>,
    /// What waits for the next start, in words.
    pub waits: Option<String>,
}

/// A queue as the supervisor keeps it.
struct Entry {
    id: QueueId,
    name: String,
    interface: Arc<str>,
    counters: Arc<dyn CounterMemory>,
    up: UpReceiver,
    snapshots: SnapshotReceiver<QueueSnapshot>,
    handover: Vec<Arc<RingCount>>,
    /// Its counters when the program started: they may be older than it.
    base: [u64; COUNTERS.len()],
    /// Who runs it, or shall.
    worker: Option<WorkerId>,
    /// In whose hands it is.
    holder: Option<WorkerId>,
    /// Released by one worker and not yet with the next.
    moving: bool,
    latency: StageTotals,
    latest: Option<Box<QueueState>>,
    scoring: Scoring,
    restarts: Restarts,
    rates: QueueRates,
    /// Its source has ended, and it has said everything.
    ended: bool,
    /// It is gone with all it knew, since then.
    lost: Option<Timestamp>,
}

/// A worker as the supervisor keeps it.
struct Slot {
    handle: WorkerHandle,
    rates: WorkerRates,
    pulse: Pulse,
    stopping: bool,
}

impl Slot {
    fn id(&self) -> WorkerId {
        self.handle.settings().id
    }

    /// May queues be given to it?
    fn takes_queues(&self) -> bool {
        !self.stopping && self.pulse.health == Health::Well
    }
}

/// How long queues may take to give their last frames once the intake has ended.
const INTAKE_LIMIT_NS: u64 = 5_000 * MILLISECOND;
/// How long workers may take to end their flows and stop.
const STOP_LIMIT_NS: u64 = 60_000 * MILLISECOND;
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
    /// Frames that came too late for a full ring, when last looked.
    overflows: u64,
    /// Findings that found no room on their way up.
    findings_lost: Losses,
    /// The files, and the flows that are kept.
    outputs: Outputs,
    /// Hosts and findings, where they are kept.
    inventory: Option<LiveInventory>,
    /// What is done about alerts, where anything is.
    responses: Option<LiveResponses>,
    /// Flows that are forwarded in the kernel, where any may be.
    shunts: Option<Shunts>,
    /// Flows and events are looked at by detectors of their own.
    observed: bool,
    /// Which flows live, where somebody asks.
    census: Censuses,
    /// What the latest reload left to the next start.
    waits: Option<String>,
    /// The intake has ended: nothing may be under way any more.
    stopped: bool,
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
            pipeline: Pipeline::new(queues.len(), settings.detect, Scores::AtOnce).looking_ahead(),
            picture: Arc::new(SharedPicture::new(sender, clock.clone())),
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
            balancer: Balancer::new(started),
            overflows: 0,
            findings_lost: Losses::default(),
            outputs: Outputs::default(),
            inventory: None,
            responses: None,
            shunts: None,
            observed: false,
            census: Censuses::new(started),
            waits: None,
            stopped: false,
            clock,
            settings,
        };
        let total = queues.len();
        let workers = queues.len().min(supervisor.settings.cores.len()).max(1);
        supervisor.entries.reserve(total);
        for _ in 0..workers {
            supervisor.start_worker(total)?;
        }
        for (index, queue) in queues.into_iter().enumerate() {
            let worker = supervisor.slots[index % workers].id();
            supervisor.entries.push(Entry {
                id: queue.id,
                name: queue.name,
                interface: queue.interface,
                base: read_counters(&*queue.counters),
                counters: queue.counters,
                up: queue.up,
                snapshots: queue.snapshots,
                handover: queue.handover,
                worker: Some(worker),
                holder: None,
                moving: true,
                latency: StageTotals::new(),
                latest: None,
                scoring: Scoring::default(),
                restarts: Restarts::default(),
                rates: QueueRates::default(),
                ended: false,
                lost: None,
            });
            supervisor.homeless.push((worker, queue.engine));
        }
        supervisor.house_the_homeless();
        supervisor.refresh_picture(started);
        Ok(supervisor)
    }

    /// Lets the model's alerts say which features made the score.
    pub fn explain_with(&mut self, explainer: Explainer) {
        self.pipeline.explain_with(explainer);
    }

    /// Follows which model is active.
    pub fn follow_models(&mut self, models: LiveModels) {
        self.pipeline.follow_models(models);
    }

    /// Has flows and events looked at by detectors of their own; the engines must export events.
    pub fn observe_with(&mut self, behaviour: LiveBehaviour) {
        self.observed = true;
        self.pipeline.observe_with(behaviour);
    }

    /// Has what is wrong with the lists of others told with the status.
    pub fn watch_feeds(&mut self, feeds: LiveFeeds) {
        self.pipeline.watch_feeds(feeds);
    }

    /// Has alerts, ended flows and events written and kept there too; the engines must export them.
    pub fn write_to(&mut self, outputs: Outputs) {
        self.outputs = outputs;
    }

    /// The files, to be ended; nothing is written to them from here on.
    pub fn take_outputs(&mut self) -> Outputs {
        std::mem::take(&mut self.outputs)
    }

    /// Has hosts and findings kept there; the engines must export events.
    pub fn keep_hosts(&mut self, inventory: LiveInventory) {
        self.inventory = Some(inventory);
    }

    /// Has alerts answered there.
    pub fn respond_with(&mut self, responses: LiveResponses) {
        self.responses = Some(responses);
    }

    /// Has large flows forwarded in the kernel.
    pub fn shunt_with(&mut self, shunts: Shunts) {
        self.shunts = Some(shunts);
    }

    /// What `http` serves.
    pub fn picture(&self) -> Arc<SharedPicture> {
        Arc::clone(&self.picture)
    }

    /// Runs until `stop` says so or every source has ended, then ends the intake, lets the queues finish, stops the workers
    /// and sends on what is left.
    pub fn run(&mut self, mut stop: impl FnMut() -> bool) {
        let mut deadline = None;
        self.entries.iter().for_each(|entry| entry.up.wake_me());
        self.pipeline.wake_me();
        while !self.entries.iter().all(|entry| entry.ended) {
            let now = self.clock.now();
            if deadline.is_none() && stop() {
                self.capture.stop();
                deadline = Some(now.after(INTAKE_LIMIT_NS));
            }
            let over = self.entries.iter().all(|entry| entry.ended || entry.lost.is_some());
            if deadline.is_some_and(|deadline| now >= deadline || over) {
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
        self.picture.beat(now);
        let worked = self.take_findings(now);
        self.take_back(now);
        self.house_the_homeless();
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order);
        }
        self.look_after_census(now);
        if now >= self.next_balance {
            self.next_balance = now.after(500 * MILLISECOND);
            if self.settings.scale {
                self.balance(now);
            }
        }
        if now >= self.next_picture {
            self.next_picture = now.after(250 * MILLISECOND);
            self.look_after_workers(now);
            self.pipeline.look(now);
            self.capture.poll(now);
            self.say_causes();
            self.refresh_picture(now);
        }
        worked
    }

    /// Tells the pairs what may close them. Without a model by decision nothing is missing.
    fn say_causes(&self) {
        let living = |entry: &&Entry| entry.lost.is_none() && !entry.ended;
        let unscored = self.entries.iter().filter(living).any(|entry| entry.scoring.is_failing());
        let unloaded = self.settings.degraded.iter().any(|one| one.part == "model");
        self.capture.say(Cause::Model, unscored || unloaded);
        self.capture.say(Cause::Store, !self.store.status().degraded.is_empty());
    }

    /// Findings of every queue into the pipeline, alerts into the store.
    fn take_findings(&mut self, now: Timestamp) -> bool {
        let mut worked = false;
        for entry in &mut self.entries {
            for _ in 0..ITEMS_A_ROUND {
                let received = entry.up.receive(|received| match received.item {
                    Up::Flow(flow) => {
                        let mut flow = *flow;
                        if let Some(shunts) = &mut self.shunts {
                            shunts.settle(&mut flow, now, monotonic::now_ns());
                        }
                        let flow = &flow;
                        if let Some(responses) = &self.responses {
                            responses.flow(flow);
                        }
                        if let Some(inventory) = &self.inventory {
                            inventory.flow(flow);
                        }
                        self.pipeline.flow(flow);
                        self.outputs.flow(*flow, &entry.interface);
                    }
                    Up::Living(flow) => {
                        if self.census.tell(entry.id, flow) {
                            if let Some(shunts) = &mut self.shunts {
                                shunts.consider(flow, monotonic::now_ns());
                            }
                            if let Some(responses) = &self.responses {
                                responses.flow(flow);
                            }
                            self.pipeline.living(flow);
                            if let Some(inventory) = &self.inventory {
                                inventory.living(flow);
                            }
                        }
                    }
                    Up::Census(mark) => self.census.mark(entry.id, &entry.name, *mark),
                    Up::Event(head) => {
                        if let Some(inventory) = &self.inventory {
                            inventory.event(head, received.facts);
                        }
                        self.pipeline.event(head, received.facts);
                        let facts = || AppEvent { head: *head, facts: received.facts.into() };
                        self.outputs.event(&entry.interface, facts);
                    }
                    Up::Neighbour(time, neighbour) => {
                        self.pipeline.neighbour(*time, neighbour);
                        if let Some(inventory) = &self.inventory {
                            inventory.neighbour(*time, *neighbour);
                        }
                    }
                    item => {
                        if received.untold {
                            self.pipeline.untold();
                        }
                        if let (Up::Proven(time, proved), Some(responses)) = (item, &self.responses) {
                            responses.proven(*time, *proved);
                        }
                        self.pipeline.push(entry.id, item);
                    }
                });
                if received.is_none() {
                    break;
                }
                worked = true;
            }
            let (latency, latest, scoring) = (&mut entry.latency, &mut entry.latest, &mut entry.scoring);
            entry.snapshots.drain(|snapshot| {
                latency.add(&snapshot.histograms);
                scoring.look(now, &snapshot.state);
                *latest = Some(Box::new(snapshot.state.clone()));
            });
        }
        self.outputs.keep();
        self.pipeline.collect();
        let alerts = self.pipeline.take_alerts();
        self.outputs.alerts(&alerts);
        if !alerts.is_empty() {
            if let Some(shunts) = &mut self.shunts {
                let ends = alerts.iter().flat_map(|alert| [alert.evidence.source, alert.evidence.target]);
                ends.flatten().for_each(|address| shunts.release(address));
            }
            if let Some(responses) = &self.responses {
                responses.alerts(&alerts);
            }
            self.store.append(alerts);
        }
        worked
    }

    /// Queues that came back from workers: ended ones rest, moved ones wait for their new home.
    fn take_back(&mut self, now: Timestamp) {
        let mut failed = Vec::new();
        self.slots.retain_mut(|slot| {
            // Asked first: what a worker gave back before it ended is then seen below.
            let finished = slot.stopping && slot.handle.is_finished();
            while let Some(returned) = slot.handle.returned() {
                let (queue, why) = (returned.queue, returned.why);
                let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == queue.id()) else { continue };
                entry.holder = None;
                match (why, entry.worker) {
                    (Why::Failed, _) => failed.push(queue),
                    (Why::Released, Some(target)) => self.homeless.push((target, queue)),
                    (Why::Released | Why::Ended, _) => {
                        (entry.ended, entry.moving, entry.worker) = (true, false, None);
                        self.done.push(queue);
                    }
                }
            }
            !(finished && slot.handle.join())
        });
        for queue in failed {
            self.give_up_failed(queue, now);
        }
    }

    fn house_the_homeless(&mut self) {
        for (target, queue) in std::mem::take(&mut self.homeless) {
            let id = queue.id();
            // The worker it was meant for may have gone meanwhile: any other is better than none.
            let meant = self.slots.iter().position(|slot| slot.id() == target && slot.takes_queues());
            let held = |slot: &Slot| self.entries.iter().filter(|entry| entry.holder == Some(slot.id())).count();
            let others = self.slots.iter().enumerate().filter(|(_, slot)| slot.takes_queues());
            let place = meant.or_else(|| others.min_by_key(|(_, slot)| held(slot)).map(|(place, _)| place));
            let Some(slot) = place.and_then(|place| self.slots.get_mut(place)) else {
                self.homeless.push((target, queue));
                continue;
            };
            let worker = slot.id();
            match slot.handle.command(Command::Adopt(queue)) {
                Ok(()) => {
                    if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
                        (entry.moving, entry.worker, entry.holder) = (false, Some(worker), Some(worker));
                    }
                }
                Err(Command::Adopt(queue)) => self.homeless.push((target, queue)),
                Err(_) => {}
            }
        }
    }

    /// Stops every worker with its queues finished, and sends on what they still had to say. A worker that is dead or
    /// hangs is not waited for.
    fn shut_down(&mut self) {
        let limit = self.clock.now().after(STOP_LIMIT_NS);
        self.slots.retain_mut(|slot| {
            let answers = slot.pulse.health == Health::Well;
            if !answers {
                slot.handle.abandon();
            }
            answers
        });
        for slot in &mut self.slots {
            // A full command ring empties in microseconds: the worker reads it between two bursts.
            while !slot.handle.is_gone()
                && self.clock.now() < limit
                && slot.handle.command(Command::Stop(true)).is_err()
            {
                std::thread::yield_now();
            }
        }
        // Rings are drained while the workers finish, so that nothing is lost for want of room.
        while self.slots.iter().any(|slot| !slot.handle.is_gone()) && self.clock.now() < limit {
            let now = self.clock.now();
            self.picture.beat(now);
            if !self.take_findings(now) {
                std::thread::yield_now();
            }
        }
        for slot in &mut self.slots {
            while let Some(returned) = slot.handle.returned() {
                self.done.push(returned.queue);
            }
            if !slot.handle.is_finished() {
                tracing::error!("worker {} does not stop: what its queues still knew is lost", slot.id().0);
                slot.handle.abandon();
            } else if !slot.handle.join() {
                tracing::error!("worker {} ended by a panic", slot.id().0);
            }
        }
        for (_, mut queue) in std::mem::take(&mut self.homeless) {
            queue.finish();
            self.done.push(queue);
        }
        while self.take_findings(self.clock.now()) {}
        self.pipeline.finish();
        let alerts = self.pipeline.take_alerts();
        self.outputs.alerts(&alerts);
        if !alerts.is_empty() {
            self.store.append(alerts);
        }
        self.picture.beat(self.clock.now());
        if !self.store.flush(Duration::from_secs(5)) {
            tracing::warn!("the alert store has not written everything within 5 s");
        }
        // Sockets close here, so that the last reading of the books holds what they abandoned.
        self.done.clear();
        self.stopped = true;
        let now = self.clock.now();
        self.capture.poll(now);
        self.refresh_picture(now);
        // From here on the picture is the last one, and right so.
        self.picture.beat(Timestamp(u64::MAX));
    }
}
