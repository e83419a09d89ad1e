//! The picture that `http` serves: a copy, renewed four times a second, and the way orders come in.

use super::census::{self, Asked};
use super::health::Health;
use super::orders::{Answer, Order};
use super::{Entry, Reload, Slot, Supervisor};
use crate::clock::Clock;
use crate::control::export::Statistics;
use crate::control::view::{
    Amount, CommandError, ControllerView, Degraded, Equation, Living, Loss, Metric, MetricKind, PairView,
    QueueCounters, QueueLatency, QueueView, Status, System, TopFlow, Totals, Wanted, WorkerView, state_name,
};
use crate::dataplane::worker::{QueueState, Reason};
use crate::exchange::FlowSummary;
use crate::metrics::{COUNTERS, Counter, Role, UNREAD, read_counters};
use crate::units::{QueueId, SECOND, Timestamp, WorkerId};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Everything `http` may ask for.
#[derive(Default)]
struct Picture {
    status: Option<Status>,
    workers: Vec<WorkerView>,
    latency: Vec<QueueLatency>,
    top: Vec<TopFlow>,
    counters: Vec<QueueCounters>,
    metrics: Vec<Metric>,
    pairs: Vec<PairView>,
}

/// The copy that readers share; only control-plane threads meet at its lock.
pub struct SharedPicture {
    picture: Mutex<Picture>,
    orders: SyncSender<Order>,
    clock: Clock,
    /// When the supervisor last came round, nanoseconds.
    beat: AtomicU64,
}

/// The supervisor comes round every few milliseconds; its longest wait, for the disk at the end, is 5 s.
const BEAT_LIMIT_NS: u64 = 6 * SECOND;

/// How long an order may take before the asker is told to come again; a move takes two rounds of the supervisor.
const ORDER_LIMIT: Duration = Duration::from_secs(2);

/// The same of a census: the one under way, the pause, and the one asked for.
const CENSUS_LIMIT: Duration = Duration::from_nanos(2 * census::LIMIT_NS + SECOND);

impl SharedPicture {
    pub(super) fn new(orders: SyncSender<Order>, clock: Clock) -> SharedPicture {
        let beat = AtomicU64::new(clock.now().0);
        SharedPicture { picture: Mutex::new(Picture::default()), orders, clock, beat }
    }

    /// The supervisor is alive.
    pub(super) fn beat(&self, now: Timestamp) {
        self.beat.store(now.0, Relaxed);
    }

    /// For how long the supervisor has not come round, if that is too long.
    fn stands_still(&self) -> Option<(Timestamp, String)> {
        let since = Timestamp(self.beat.load(Relaxed));
        let silent = self.clock.now().since(since);
        (silent > BEAT_LIMIT_NS).then(|| {
            let seconds = silent / SECOND;
            let words = format!(
                "the supervisor has not come round for {seconds} s: what is shown is as old as that, and no alert is made; \
                 start shrike again"
            );
            (since, words)
        })
    }

    fn read<T>(&self, of: impl FnOnce(&Picture) -> T) -> T {
        of(&self.picture.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn order<T>(&self, make: impl FnOnce(Answer<T>) -> Order) -> Result<T, CommandError> {
        let (answer, reply) = sync_channel(1);
        let busy = |what: &str| CommandError::Busy(format!("the supervisor {what}: try again"));
        self.orders.try_send(make(answer)).map_err(|_| busy("has orders enough"))?;
        reply.recv_timeout(ORDER_LIMIT).map_err(|_| busy("has not answered yet"))?
    }
}

impl SharedPicture {
    /// Has the program go on with other settings; waits for the supervisor's next turn.
    ///
    /// # Errors
    /// It has orders enough, or does not answer.
    pub fn reload(&self, reload: Reload) -> Result<(), CommandError> {
        self.order(|answer| Order::Reload(Box::new(reload), answer))
    }
}

impl System for SharedPicture {
    fn status(&self) -> Status {
        let mut status = self.read(|picture| picture.status.clone()).unwrap_or_else(|| Status {
            version: env!("CARGO_PKG_VERSION").into(),
            mode: "starting".into(),
            started: Timestamp(0),
            now: Timestamp(0),
            uptime_seconds: 0.0,
            ready: false,
            degraded: Vec::new(),
            totals: Totals::default(),
            queues: Vec::new(),
            loss: Loss::default(),
            model: None,
            window_models: Vec::new(),
            notes: Vec::new(),
        });
        if let Some((since, reason)) = self.stands_still() {
            status.ready = false;
            status.degraded.insert(0, Degraded { part: "supervisor".into(), reason, since });
        }
        status
    }

    fn alive(&self) -> Result<(), String> {
        self.stands_still().map_or(Ok(()), |(_, reason)| Err(reason))
    }

    fn workers(&self) -> Vec<WorkerView> {
        self.read(|picture| picture.workers.clone())
    }

    fn latency(&self) -> Vec<QueueLatency> {
        self.read(|picture| picture.latency.clone())
    }

    fn top_flows(&self, limit: usize) -> Vec<TopFlow> {
        self.read(|picture| picture.top.iter().take(limit).cloned().collect())
    }

    fn living_flows(&self, wanted: Wanted) -> Living {
        let (answer, reply) = sync_channel(1);
        if self.orders.try_send(Order::Census(Asked { wanted, answer })).is_err() {
            return Living::none("the supervisor has orders enough: try again");
        }
        reply
            .recv_timeout(CENSUS_LIMIT)
            .unwrap_or_else(|_| Living::none("the supervisor has not answered: see /v1/status"))
    }

    fn counters(&self) -> Vec<QueueCounters> {
        self.read(|picture| picture.counters.clone())
    }

    fn metrics(&self) -> Vec<Metric> {
        self.read(|picture| picture.metrics.clone())
    }

    fn move_queue(&self, queue: QueueId, worker: WorkerId) -> Result<(), CommandError> {
        self.order(|answer| Order::Move(queue, worker, answer))
    }

    fn add_worker(&self) -> Result<WorkerId, CommandError> {
        self.order(Order::Add)
    }

    fn remove_worker(&self, worker: WorkerId) -> Result<(), CommandError> {
        self.order(|answer| Order::Remove(worker, answer))
    }

    fn pairs(&self) -> Vec<PairView> {
        self.read(|picture| picture.pairs.clone())
    }

    fn bypass(&self, name: &str, on: bool) -> Result<(), CommandError> {
        self.order(|answer| Order::Bypass(name.to_owned(), on, answer))
    }
}

/// Frames of one queue that may have moved between two readings of the books while frames run; none once they do not.
const HANDOVER_SLACK: i64 = 16_384;

impl Supervisor {
    /// Looks at everything once and puts the new picture in the old one's place.
    pub(super) fn refresh_picture(&mut self, now: Timestamp) {
        let mut counters = BTreeMap::new();
        for entry in &mut self.entries {
            let values = read_counters(&*entry.counters);
            entry.rates.update(now, values);
            counters.insert(entry.id, values);
        }
        for slot in &mut self.slots {
            let load = slot.handle.load();
            slot.rates.update(now, load.busy_ns.load(Relaxed), load.total_ns.load(Relaxed), load.turns.load(Relaxed));
        }
        self.look_after_queues(now, |queue| counters[&queue]);
        let mut equations = self.capture.equations(&counters);
        equations.extend(self.handover_equation(&counters));
        equations.extend(counters.iter().map(|(id, values)| queue_equation(*id, self.name(*id), values)));
        let mut top: Vec<TopFlow> = self.entries.iter().flat_map(top_flows).collect();
        top.sort_by_key(|flow| std::cmp::Reverse(flow.bytes.iter().sum::<u64>()));
        self.outputs.look(now);
        self.tell_statistics(now, &counters);
        let picture = Picture {
            status: Some(self.status(now, &counters, Loss::of(equations))),
            workers: self.slots.iter().map(|slot| self.worker_view(slot)).collect(),
            latency: self.entries.iter().map(|entry| self.queue_latency(entry)).collect(),
            top,
            counters: self
                .entries
                .iter()
                .zip(counters.values())
                .map(|(entry, values)| QueueCounters { queue: entry.id, name: entry.name.clone(), values: *values })
                .collect(),
            metrics: self.all_metrics(),
            pairs: self.capture.pairs(),
        };
        *self.picture.picture.lock().unwrap_or_else(PoisonError::into_inner) = picture;
    }

    /// A line of statistics into the EVE file, where it is time for one.
    fn tell_statistics(&mut self, now: Timestamp, counters: &BTreeMap<QueueId, [u64; COUNTERS.len()]>) {
        let sum = std::array::from_fn(|index| counters.values().map(|queue| queue[index]).sum());
        let active = self.latest().map(|latest| u64::from(latest.table.flows)).sum();
        let alerts = self.pipeline.raised().values().sum();
        let (capture, uptime) = (&self.capture, now.since(self.started) / SECOND);
        self.outputs.stats(now, self.stopped, || Statistics {
            time: now,
            uptime_seconds: uptime,
            active,
            alerts,
            ..Statistics::of(&sum, capture.drops().into_iter().map(|drop| (drop.name, drop.value)))
        });
    }

    /// What queues hand over comes out at its owner, or lies in a ring between them: counted by the sender, by the ring and
    /// by the owner. `None` where nobody hands anything over.
    fn handover_equation(&self, counters: &BTreeMap<QueueId, [u64; COUNTERS.len()]>) -> Option<Equation> {
        if self.entries.iter().all(|entry| entry.handover.is_empty()) {
            return None;
        }
        let since_start = |counter: Counter| -> u64 {
            let of = |entry: &Entry| counters[&entry.id][counter as usize].wrapping_sub(entry.base[counter as usize]);
            self.entries.iter().map(of).sum()
        };
        let inside = |lost: bool| -> u64 {
            let rings =
                self.entries.iter().filter(|entry| entry.lost.is_some() == lost).flat_map(|entry| &entry.handover);
            rings.map(|ring| ring.inside()).sum()
        };
        let left =
            vec![Amount::new("handed_over", since_start(Counter::HandedOver), "Since the start, by all queues.")];
        let right = vec![
            Amount::new("handover_received", since_start(Counter::HandoverReceived), "Since the start, by all queues."),
            Amount::new("in_rings", inside(false), "On their way."),
            Amount::new("lost_with_owner", inside(true), "Handed to a queue that is lost."),
        ];
        let mut equation = Equation::new("handover", None, None, "rx", left, right);
        // Queues publish their counters once a burst and are read one after the other.
        let slack = if self.stopped { 0 } else { HANDOVER_SLACK * self.entries.len() as i64 };
        equation.closed = equation.difference.abs() <= slack;
        Some(equation)
    }

    fn name(&self, id: QueueId) -> String {
        self.entries.iter().find(|entry| entry.id == id).map(|entry| entry.name.clone()).unwrap_or_default()
    }

    fn status(&self, now: Timestamp, counters: &BTreeMap<QueueId, [u64; COUNTERS.len()]>, loss: Loss) -> Status {
        let sum = |counter: Counter| counters.values().map(|values| values[counter as usize]).sum::<u64>();
        let mut drops = self.capture.drops();
        drops.extend(
            COUNTERS
                .iter()
                .filter(|counter| counter.role() == Role::Drop)
                .map(|counter| Amount::new(counter.name(), sum(*counter), counter.help())),
        );
        let mut degraded = self.settings.degraded.clone();
        degraded.extend(self.capture.degraded(now));
        degraded.extend(self.pipeline.degraded(now));
        degraded.extend(self.outputs.degraded(now));
        degraded.extend(self.inventory.as_ref().and_then(|inventory| inventory.shared().degraded()));
        degraded.extend(self.responses.iter().flat_map(|responses| responses.shared().degraded(now)));
        degraded.extend(self.unwell(now));
        let followed = self.pipeline.models().map(|models| models.shared().active());
        let (mut model, window_models) = followed.unwrap_or_else(|| (self.settings.model.clone(), Vec::new()));
        if let Some(model) = &mut model
            && let Some(failing) =
                self.entries.iter().find(|entry| entry.scoring.is_failing() && entry.lost.is_none() && !entry.ended)
        {
            model.active = false;
            model.reason = failing.scoring.trouble(&failing.name).map(|trouble| trouble.reason);
        }
        if let Some(responses) = &self.responses {
            // Of pairs what came in, for the kernel keeps some from the workers.
            let pairs = self.capture.pairs();
            let crossing = pairs.iter().flat_map(|pair| &pair.directions).map(|one| one.received).sum::<u64>();
            responses.packets(if pairs.is_empty() { sum(Counter::FramesReceived) } else { crossing });
        }
        let mut notes = self.settings.notes.clone();
        notes.extend(self.waits.clone());
        notes.extend(self.capture.notes());
        notes.extend(self.pipeline.learning(now));
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            mode: self.settings.mode.clone(),
            started: self.started,
            now,
            uptime_seconds: now.since(self.started) as f64 / 1e9,
            ready: self.is_ready(),
            degraded,
            totals: Totals {
                packets: sum(Counter::FramesReceived),
                bytes: sum(Counter::BytesReceived),
                flows: sum(Counter::FlowsCreated),
                flows_active: self.latest().map(|latest| u64::from(latest.table.flows)).sum(),
                scored: sum(Counter::RowsScored),
                shed: sum(Counter::RowsShed),
                not_decoded: sum(Counter::ProcessedOther),
                drops,
                unread: UNREAD.iter().map(|one| Amount::new(one.name(), sum(*one), one.help())).collect(),
            },
            queues: self.entries.iter().filter_map(|entry| self.capture.status(entry.id)).collect(),
            loss,
            model,
            window_models,
            notes,
        }
    }

    fn latest(&self) -> impl Iterator<Item = &QueueState> {
        self.entries.iter().filter_map(|entry| entry.latest.as_deref())
    }

    fn queue_latency(&self, entry: &Entry) -> QueueLatency {
        let slot = self.slots.iter().find(|slot| Some(slot.handle.settings().id) == entry.worker);
        QueueLatency {
            queue: entry.id,
            worker: entry.worker.unwrap_or_default(),
            core: slot.and_then(|slot| slot.handle.settings().core),
            stages: entry.latency.clone(),
        }
    }

    fn worker_view(&self, slot: &Slot) -> WorkerView {
        let id = slot.handle.settings().id;
        let mine: Vec<&Entry> = self.entries.iter().filter(|entry| entry.worker == Some(id)).collect();
        let work: f64 = mine.iter().map(|entry| entry.rates.work_per_second()).sum();
        let pinned = slot.handle.load().pinned.load(std::sync::atomic::Ordering::Relaxed);
        WorkerView {
            id,
            state: match slot.pulse.health {
                _ if slot.stopping => "stopping",
                Health::Well => "running",
                Health::Hung => "hung",
                Health::Dead => "dead",
            }
            .into(),
            core: slot.handle.settings().core.filter(|_| pinned),
            load: slot.rates.busy,
            turns_per_second: slot.rates.turns_per_second,
            queues: mine
                .into_iter()
                .map(|entry| {
                    let share = if work > 0.0 { entry.rates.work_per_second() / work } else { 0.0 };
                    self.queue_view(entry, slot.rates.busy * share)
                })
                .collect(),
        }
    }

    fn queue_view(&self, entry: &Entry, load: f64) -> QueueView {
        let empty = QueueState::default();
        let latest = entry.latest.as_deref().unwrap_or(&empty);
        let mode =
            self.capture.status(entry.id).map_or(crate::control::view::CaptureMode::Detached, |status| status.mode);
        QueueView {
            id: entry.id,
            name: entry.name.clone(),
            mode,
            load,
            packets_per_second: entry.rates.packets_per_second,
            bits_per_second: entry.rates.bits_per_second,
            flows: latest.table.flows.into(),
            flow_capacity: latest.table.capacity.into(),
            emergency: latest.table.emergency,
            ring_waiting: latest.ring_waiting,
            ring_capacity: latest.ring_capacity,
            handover_per_second: entry.rates.handover_per_second,
            rx: ControllerView {
                target: latest.rx.cap.into(),
                last_change: latest.rx_changed,
                changes: latest.rx.changes,
                ..self.controller(
                    latest.rx.reason,
                    latest.rx.cap,
                    self.settings.rx.bounds(),
                    "frames",
                    entry.rates.mean_burst,
                )
            },
            scoring: ControllerView {
                target: latest.score.target.into(),
                last_change: latest.score_changed,
                changes: latest.score.changes,
                ..self.controller(
                    latest.score.reason,
                    latest.score.target,
                    self.settings.score.bounds(),
                    "rows",
                    entry.rates.mean_rows,
                )
            },
            elephants: elephants(entry),
        }
    }

    /// What both controllers have in common.
    fn controller(&self, reason: Reason, target: u32, bounds: (u32, u32), unit: &str, mean: f64) -> ControllerView {
        let fixed = reason == Reason::Fixed;
        ControllerView {
            control: if fixed { "fixed" } else { "feedback" }.into(),
            target: target.into(),
            unit: unit.into(),
            minimum: bounds.0.into(),
            maximum: bounds.1.into(),
            mean,
            state: match () {
                () if fixed => "fixed",
                () if target >= bounds.1 => "at_maximum",
                () if target <= bounds.0 => "at_minimum",
                () => "between",
            }
            .into(),
            last_reason: reason.name().into(),
            last_change: Timestamp(0),
            changes: 0,
        }
    }

    fn all_metrics(&self) -> Vec<Metric> {
        let mut metrics = self.capture.metrics();
        let gauge = |name, help, labels, value| Metric { name, help, kind: MetricKind::Gauge, labels, value };
        type OfSnapshot = fn(&QueueState) -> f64;
        let gauges: [(&'static str, &'static str, OfSnapshot); 6] = [
            ("shrike_flows", "Flows in the table.", |latest| latest.table.flows.into()),
            ("shrike_flows_half_open", "Flows not yet answered.", |latest| latest.table.half_open.into()),
            ("shrike_flow_capacity", "Flows that fit.", |latest| latest.table.capacity.into()),
            ("shrike_flow_emergency", "1 while the table gives up flows before their time.", |latest| {
                f64::from(u8::from(latest.table.emergency))
            }),
            ("shrike_rx_cap_frames", "Cap of a burst.", |latest| latest.rx.cap.into()),
            ("shrike_score_target_rows", "Rows that a microbatch waits for.", |latest| latest.score.target.into()),
        ];
        let empty = QueueState::default();
        for (name, help, of) in gauges {
            for entry in &self.entries {
                let labels = vec![("queue", entry.name.clone())];
                metrics.push(gauge(name, help, labels, of(entry.latest.as_deref().unwrap_or(&empty))));
            }
        }
        for slot in &self.slots {
            let labels = vec![("worker", slot.id().0.to_string())];
            let up = f64::from(u8::from(slot.pulse.health == Health::Well));
            metrics.push(gauge("shrike_worker_up", "0 for a worker that hangs or is dead.", labels, up));
        }
        metrics.extend(self.pipeline.metrics());
        metrics.extend(self.outputs.metrics());
        metrics.extend(self.inventory.iter().flat_map(|inventory| inventory.shared().metrics()));
        metrics.extend(self.responses.iter().flat_map(|responses| responses.shared().metrics()));
        metrics
    }
}

/// `received = processed + each named drop`, every term counted where it happens.
fn queue_equation(id: QueueId, name: String, values: &[u64; COUNTERS.len()]) -> Equation {
    let side = |wanted: &[Role]| {
        COUNTERS
            .iter()
            .filter(|counter| wanted.contains(&counter.role()))
            .map(|counter| Amount::new(counter.name(), values[*counter as usize], counter.help()))
            .collect::<Vec<_>>()
    };
    let interface = name.split_once(':').map(|(interface, _)| interface.to_owned());
    Equation::new("queue", interface, Some(id), "rx", side(&[Role::Received]), side(&[Role::Processed, Role::Drop]))
}

/// A flow as it is served.
fn top_flow(queue: QueueId, flow: &FlowSummary) -> TopFlow {
    let (source, destination) = flow.key.endpoints(flow.originator);
    let seconds = flow.last_seen.since(flow.first_seen) as f64 / 1e9;
    let bits = flow.bytes.iter().sum::<u64>() as f64 * 8.0;
    TopFlow {
        queue,
        source: source.ip(),
        source_port: source.port,
        destination: destination.ip(),
        destination_port: destination.port,
        protocol: flow.key.protocol(),
        packets: flow.packets,
        bytes: flow.bytes,
        first_seen: flow.first_seen,
        last_seen: flow.last_seen,
        // Over a second at least: ten packets within a millisecond are no hundred megabits a second.
        bits_per_second: bits / seconds.max(1.0),
        score: (flow.score > 0.0).then_some(flow.score),
        state: state_name(flow.state).into(),
    }
}

fn top_flows(entry: &Entry) -> Vec<TopFlow> {
    entry.latest.iter().flat_map(|latest| latest.largest_flows()).map(|flow| top_flow(entry.id, &flow)).collect()
}

/// Flows that carry a tenth or more of what the queue's largest flows carry together.
fn elephants(entry: &Entry) -> Vec<TopFlow> {
    let flows = top_flows(entry);
    let total: u64 = flows.iter().flat_map(|flow| flow.bytes).sum();
    flows.into_iter().filter(|flow| flow.bytes.iter().sum::<u64>() * 10 >= total).take(4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A supervisor that is gone or hangs leaves a frozen picture: it is called that, and the program not alive.
    #[test]
    fn a_picture_that_nobody_renews_is_not_alive() {
        let clock = Clock::new();
        let picture = SharedPicture::new(sync_channel(1).0, clock.clone());
        *picture.picture.lock().unwrap() =
            Picture { status: Some(Status { ready: true, ..picture.status() }), ..Picture::default() };
        assert!(picture.status().ready && picture.alive().is_ok());
        picture.beat(Timestamp(clock.now().0 - 7 * SECOND));
        let status = picture.status();
        assert_eq!((status.ready, &*status.degraded[0].part), (false, "supervisor"));
        assert!(picture.alive().is_err_and(|words| words.contains("for 7 s")));
        picture.beat(clock.now());
        assert!(picture.status().ready && picture.status().degraded.is_empty() && picture.alive().is_ok());
    }
}
