//! One queue with everything that belongs to it, and one turn over it.

mod burst;
mod fragments;
mod housekeeping;
#[cfg(test)]
mod tests;

use super::anomalies::AnomalyBudget;
use super::batch::{RxSettings, RxState, ScoreSettings, ScoreState};
use super::census::Census;
use super::handover::{HandoverInbox, HandoverSender};
use super::handshakes::Handshakes;
use super::mailbox::Mailbox;
use super::neighbours::Neighbours;
use super::openings::Openings;
use super::outers::Outers;
use super::shed::Shed;
use super::sinks::Sinks;
use super::snapshot::QueueSnapshot;
use super::stacks::Stacks;
use super::thread::UNPOLLED_WAIT;
use super::watch::Watch;
use crate::clock::Clock;
use crate::dataplane::capture::{BURST_MAX, Source};
use crate::dataplane::decode::{self, DefragSettings, FragmentSettings, Layers, Outer, Packet};
use crate::dataplane::detect::{Observer, WINDOW_NS};
use crate::dataplane::features::encrypted::Shapes;
use crate::dataplane::flow::{self, FlowTable};
use crate::dataplane::inspect::{self, Inspector};
use crate::dataplane::score::{Microbatch, Scorer, Thresholds};
use crate::exchange::{SnapshotSender, UpSender};
use crate::metrics::{Counter, CounterBlock, Role, Stage};
use crate::sys::poll::PollSet;
use crate::units::{QueueId, SECOND, Timestamp};
use fragments::Fragments;
use std::time::Duration;

/// Settings of one queue's engine.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// Flow table limits and time-outs.
    pub flow: flow::Settings,
    /// What the decoder goes into.
    pub decode: decode::Settings,
    /// Fragment table limits.
    pub fragments: FragmentSettings,
    /// Limits of the reassembly of datagrams.
    pub defrag: DefragSettings,
    /// Limits of the inspection of application protocols.
    pub inspect: inspect::Settings,
    /// Flows at once whose shape is kept, where flows are inspected, and scored or exported; some 330 bytes each.
    pub shapes: u32,
    /// Entities counted at once by the detectors' observer, per queue; a power of two.
    pub windows: usize,
    /// RX batch controller.
    pub rx: RxSettings,
    /// Scoring batch controller.
    pub score: ScoreSettings,
    /// From which probability on a flow is reported; from the model's manifest or the operator.
    pub thresholds: Thresholds,
    /// Wheel entries looked at in one turn. Too small: ended flows are reported late; too large: a longer burst.
    pub expire_budget: usize,
    /// Window entries given out in one turn.
    pub flush_budget: usize,
    /// How far the watermark stays behind, nanoseconds of capture time: room for frames on their way between queues.
    pub watermark_lag_ns: u64,
    /// How often counts go up and the queue says how far it has come, nanoseconds of capture time: a window's length, or where
    /// alerts shall not wait for its end a part of it.
    pub look_ns: u64,
    /// The source forwards its frames, as that of a pair does: scoring and then inspection are left out while its ring fills, and
    /// how long frames are held is recorded.
    pub forwards: bool,
    /// Send a summary of every ended flow up.
    pub export_flows: bool,
    /// Send events of inspection, who has which address on the link, and summaries of ended flows that were answered up.
    pub export_events: bool,
    /// Frames bring no time of their own, so a read that finds none tells that the clock's time has been reached: without
    /// that a queue on which nothing comes in would hold up every window of the others.
    pub live: bool,
    /// When the source has ended, let time run on until every flow has ended by its own time-out: right for a capture
    /// file, whose unanswered contacts are failed ones; wrong for a queue that is stopped.
    pub run_out: bool,
}

impl EngineSettings {
    /// Slots whose flows' stacks are kept: all where somebody wants events, else none.
    pub fn stacks(&self) -> u32 {
        if self.export_events && self.inspect.flows > 0 { self.flow.capacity } else { 0 }
    }

    /// Counts go up before their window is over.
    pub fn looks(&self) -> bool {
        self.look_ns < WINDOW_NS
    }

    /// Slots whose flows' handshakes are followed: all where frames cross from port to port, else none.
    pub fn handshakes(&self) -> u32 {
        if self.forwards { self.flow.capacity } else { 0 }
    }

    /// Shapes that are kept at once: none where nobody takes them. `scoring`: a model sees them.
    pub fn shapes(&self, scoring: bool) -> u32 {
        if (scoring || self.export_flows) && self.inspect.flows > 0 { self.shapes } else { 0 }
    }
}

impl Default for EngineSettings {
    fn default() -> EngineSettings {
        EngineSettings {
            flow: flow::Settings::default(),
            decode: decode::Settings::default(),
            fragments: FragmentSettings::default(),
            defrag: DefragSettings::default(),
            inspect: inspect::Settings::default(),
            shapes: 1 << 15,
            windows: 1 << 16,
            rx: RxSettings::default(),
            score: ScoreSettings::default(),
            thresholds: Thresholds::all(0.5),
            expire_budget: 2 * BURST_MAX,
            flush_budget: 64,
            watermark_lag_ns: 0,
            look_ns: WINDOW_NS,
            forwards: false,
            export_flows: false,
            export_events: false,
            live: false,
            run_out: false,
        }
    }
}

/// What an engine is made of besides its source; each part has one owner from here on.
pub struct EngineParts {
    /// The queue's number.
    pub id: QueueId,
    /// Its counters, in memory that may outlive the process.
    pub counters: CounterBlock,
    /// Ring up.
    pub up: UpSender,
    /// Snapshots up.
    pub snapshots: SnapshotSender<QueueSnapshot>,
    /// The model's session of this queue; `None`: run without, visibly.
    pub scorer: Option<Box<dyn Scorer>>,
    /// One sender per queue of the same traffic, `None` at this queue's own place; empty where RSS is symmetric.
    pub peers: Vec<Option<HandoverSender>>,
    /// This queue's place among `peers`.
    pub place: usize,
    /// Frames that peers hand to this queue.
    pub inbox: HandoverInbox,
    /// Keys of the hashes: from the kernel's random source, fixed in tests.
    pub secret: [u64; 4],
    /// Clock for latencies, and for the time of frames that bring none.
    pub clock: Clock,
}

/// What one turn did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// Frames taken, handed over ones included.
    pub frames: usize,
    /// Clock time at the start of the turn.
    pub started: Timestamp,
    /// The source has ended and everything has been sent up.
    pub ended: bool,
}

/// How a queue waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rest {
    /// Longest time it may: zero if something waits already, up to the deadline of the oldest row if rows do.
    pub limit: Duration,
    /// Its descriptors tell when a frame comes; otherwise it has to be waited for by [`Queue::wait`].
    pub polled: bool,
}

/// A queue as a worker sees it: one virtual call a burst.
pub trait Queue: Send {
    /// Which one.
    fn id(&self) -> QueueId;
    /// Takes one burst all the way.
    fn turn(&mut self) -> Turn;
    /// Before a wait of at most `limit`: adds the descriptors that end it.
    fn before_wait(&mut self, limit: Duration, set: &mut PollSet) -> Rest;
    /// Can its frames be polled for?
    fn is_polled(&self) -> bool;
    /// Waits for frames in the source's own way.
    fn wait(&mut self, limit: Duration);
    /// After the wait.
    fn after_wait(&mut self);
    /// Ends every flow, scores and sends what is left; the queue is then done. O(flows), on shutdown only.
    fn finish(&mut self);
    /// After a panic in a turn: begins anew with the same source and rings and without flows; `false` if it cannot, as one
    /// that is not live cannot. Takes new memory, so it is for that case only.
    fn restart(&mut self) -> bool;
}

/// A source and the state that belongs to it.
pub struct Engine<S: Source> {
    source: S,
    /// Frames that peers hand over; beside the core, so that they can be borrowed while it changes.
    inbox: HandoverInbox,
    /// Who wants frames whole; `None`: nobody can.
    watch: Option<Box<Watch>>,
    core: Core,
}

/// Everything but the source, so that frames can be borrowed from the source while this changes.
struct Core {
    id: QueueId,
    settings: EngineSettings,
    clock: Clock,
    table: FlowTable,
    fragments: Fragments,
    /// The decoder's, of the frame decoded last.
    layers: Layers,
    /// What is round the packets of the burst, by the place of their frames; written for those in tunnels only.
    outers: Vec<Outer>,
    sinks: Sinks,
    scorer: Option<Box<dyn Scorer>>,
    /// A model was there at the start: what rows are made of is kept, with or without one now.
    makes_rows: bool,
    /// Where other models come in; `None`: this one stays.
    mailbox: Option<Box<Mailbox>>,
    peers: Vec<Option<HandoverSender>>,
    place: usize,
    secret: [u64; 4],
    snapshots: SnapshotSender<QueueSnapshot>,
    snapshot: Box<QueueSnapshot>,
    rx: RxState,
    score: ScoreState,
    /// Frames waiting in the source's ring when last looked at, and how many it holds.
    ring: (u32, u32),
    /// Latest capture time seen; never steps back.
    time: Timestamp,
    watermark_sent: Timestamp,
    /// From when on the next watermark is worth sending.
    next_watermark: Timestamp,
    next_snapshot: Timestamp,
    /// When there is something to do beside frames: a census, or the source's housekeeping.
    next_chore: Timestamp,
    next_maintain: Timestamp,
    /// When a model whose calls fail is tried without a row that waits; the end of time while they do not.
    next_probe: Timestamp,
    census: Census,
    turns: u64,
    /// Frames of the turn before, whose time is known when the next one begins.
    unmeasured: u32,
    /// Restarts after panics since that moment.
    restarts: (Timestamp, u32),
    finished: bool,
    packets: Vec<Packet>,
}

impl<S: Source> Engine<S> {
    /// Takes all the memory the queue will ever have, on the calling thread.
    pub fn new(source: S, settings: EngineSettings, parts: EngineParts) -> Engine<S> {
        let scoring = parts.scorer.is_some();
        let Tables { table, fragments, inspector, shapes, observer, outers } = tables(&settings, scoring, parts.secret);
        let core = Core {
            id: parts.id,
            clock: parts.clock,
            table,
            fragments,
            layers: Layers::new(settings.decode.tunnels),
            outers: vec![Outer::default(); BURST_MAX],
            sinks: Sinks {
                observer,
                inspector,
                outers,
                shapes,
                stacks: Stacks::new(settings.stacks()),
                openings: Openings::new(settings.stacks()),
                handshakes: Handshakes::new(settings.handshakes()),
                batch: Microbatch::new(),
                oldest_due: Timestamp(u64::MAX),
                up: parts.up,
                counters: parts.counters,
                elephants: Default::default(),
                export_flows: settings.export_flows,
                export_events: settings.export_events,
                neighbours: Neighbours::new(parts.secret[0]),
                odd: Vec::with_capacity(BURST_MAX),
                anomalies: AnomalyBudget::new(parts.secret[1]),
                scoring,
                burst_time: Timestamp(0),
                shed: Shed::Nothing,
            },
            scorer: parts.scorer,
            makes_rows: scoring,
            mailbox: None,
            peers: parts.peers,
            place: parts.place,
            secret: parts.secret,
            snapshots: parts.snapshots,
            snapshot: Box::default(),
            rx: RxState::new(&settings.rx),
            score: ScoreState::new(&settings.score),
            ring: (0, 0),
            time: Timestamp(0),
            watermark_sent: Timestamp(0),
            next_watermark: Timestamp(0),
            next_snapshot: Timestamp(0),
            next_chore: Timestamp(0),
            next_maintain: Timestamp(0),
            next_probe: Timestamp(u64::MAX),
            census: Census::default(),
            turns: 0,
            unmeasured: 0,
            restarts: (Timestamp(0), 0),
            finished: false,
            packets: vec![Packet::default(); BURST_MAX],
            settings,
        };
        Engine { source, inbox: parts.inbox, watch: None, core }
    }

    /// The same, taking the models that come in there.
    #[must_use]
    pub fn following(mut self, mailbox: Mailbox) -> Engine<S> {
        self.core.mailbox = Some(Box::new(mailbox));
        self
    }

    /// The same, copying frames for who wants them there.
    #[must_use]
    pub fn watched(mut self, watch: Watch) -> Engine<S> {
        self.watch = Some(Box::new(watch));
        self
    }

    /// The source, for its own statistics.
    pub fn source(&self) -> &S {
        &self.source
    }
}

impl<S: Source> Queue for Engine<S> {
    fn id(&self) -> QueueId {
        self.core.id
    }

    fn turn(&mut self) -> Turn {
        let core = &mut self.core;
        let started = core.clock.now();
        if core.unmeasured > 0 {
            let took = started.since(core.sinks.burst_time);
            core.snapshot.histograms.record(Stage::Burst, took, core.unmeasured);
        }
        if started >= core.next_chore
            && let Some(watch) = &mut self.watch
        {
            watch.heed();
        }
        let received = self.source.receive(core.rx.cap());
        let after_receive = core.stage_time(started);
        core.sinks.burst_time = started;
        if core.settings.forwards {
            core.sinks.shed = core.sinks.shed.step(received.waiting, received.capacity);
        }
        let mut frames = received.count;
        if frames > 0 && self.source.is_note() {
            for index in 0..frames {
                let view = Source::frame(&self.source, index);
                core.note(view, view.time.unwrap_or(started));
            }
        } else if frames > 0 {
            core.sinks.counters.add(Counter::Bursts, 1);
            core.sinks.counters.add(Counter::FramesReceived, frames as u64);
            core.process(&self.source, frames, started, true);
            if let Some(watch) = self.watch.as_mut().filter(|watch| watch.is_on()) {
                watch.take(&self.source, frames, started);
            }
            core.stage(Stage::Receive, started, after_receive, frames);
        } else {
            core.sinks.counters.add(Counter::EmptyPolls, 1);
        }
        self.source.release();
        if core.settings.forwards && received.count > 0 {
            core.snapshot.histograms.record(Stage::Forward, core.clock.now().since(started), received.count as u32);
        }
        if self.inbox.is_waiting() {
            frames += core.take_handed_over(&mut self.inbox, started);
        }
        if let Some(floor) = self.source.time_floor() {
            core.time = core.time.max(floor);
        } else if core.settings.live && frames == 0 {
            core.time = core.time.max(started);
        }
        core.unmeasured = frames as u32; // at most two bursts
        let rx = core.rx.step(&core.settings.rx, received.waiting, received.capacity);
        if rx.changes != core.rx.changes {
            core.snapshot.state.rx_changed = started;
        }
        core.rx = rx;
        core.ring = (received.waiting, received.capacity);
        core.after_burst(frames, received.ended);
        if started >= core.next_chore && core.chores(started) {
            self.source.maintain(started);
        }
        if received.ended && !core.peers.is_empty() {
            // Nothing more can be handed over from here; the owners see their rings close.
            core.peers.clear();
        }
        let ended = received.ended && frames == 0 && self.inbox.is_closed();
        if ended {
            core.finish();
        }
        core.sinks.counters.publish();
        Turn { frames, started, ended }
    }

    fn before_wait(&mut self, limit: Duration, set: &mut PollSet) -> Rest {
        let polled = self.source.descriptors().map(|found| found.into_iter().for_each(|one| set.add(one))).is_some();
        let limit = limit.min(self.core.row_deadline()).min(self.source.patience());
        let limit = match polled {
            _ if self.inbox.is_waiting() || self.core.census.moves() => Duration::ZERO,
            true if !self.inbox.before_wait(set) => Duration::ZERO,
            // Nobody looks at the bell while the source polls by itself (busy polling): the wait is short instead.
            false if self.inbox.has_senders() => limit.min(UNPOLLED_WAIT),
            _ => limit,
        };
        Rest { limit, polled }
    }

    fn is_polled(&self) -> bool {
        self.source.descriptors().is_some()
    }

    fn wait(&mut self, limit: Duration) {
        if !self.inbox.is_waiting() {
            self.source.wait(limit);
        }
    }

    fn after_wait(&mut self) {
        self.inbox.after_wait();
    }

    fn finish(&mut self) {
        self.core.finish();
        self.core.sinks.counters.publish();
    }

    fn restart(&mut self) -> bool {
        // What comes from a file can be read again, and half an outcome would be a wrong one.
        let again = self.core.settings.live && self.core.may_restart();
        if again {
            self.source.release();
            self.core.restart();
        }
        again
    }
}

/// Restarts of a queue in one minute after which it is given up.
pub const RESTARTS_MAX: u32 = 10;

/// Everything that holds flows or counts.
struct Tables {
    table: FlowTable,
    fragments: Fragments,
    inspector: Inspector,
    shapes: Shapes,
    observer: Observer,
    outers: Outers,
}

fn tables(settings: &EngineSettings, scoring: bool, secret: [u64; 4]) -> Tables {
    let [a, b, c, d] = secret;
    let (inspect, shapes) = (settings.inspect.flows > 0, settings.shapes(scoring));
    let flow = flow::Settings { inspect, inspect_others: shapes > 0, ..settings.flow };
    Tables {
        table: FlowTable::new(flow, secret),
        fragments: Fragments::new(settings.fragments, settings.defrag, a ^ b.rotate_left(32)),
        inspector: Inspector::new(settings.inspect, settings.flow.capacity, [c, d, a, b]),
        shapes: Shapes::new(shapes, settings.flow.capacity),
        observer: Observer::new(settings.windows, [d, c, b, a]).giving_out_every(settings.look_ns),
        outers: Outers::new(if settings.decode.tunnels { settings.flow.capacity } else { 0 }, [b, a, d, c]),
    }
}

impl Core {
    /// Not more often than [`RESTARTS_MAX`] times a minute: a queue that panics at whatever comes is better given up, its
    /// frames passed to the kernel, than kept busy with filling tables.
    fn may_restart(&mut self) -> bool {
        let now = self.clock.now();
        if now.since(self.restarts.0) > 60 * SECOND {
            self.restarts = (now, 0);
        }
        self.restarts.1 += 1;
        self.restarts.1 <= RESTARTS_MAX
    }

    /// Without flows, windows and rows, as after the start; counters, rings, session and time stay. What the panic left of
    /// its burst is counted as dropped: the one place where a drop is a difference, of one burst.
    #[cold]
    fn restart(&mut self) {
        let Core { settings, secret, sinks, makes_rows, .. } = self;
        // The old table goes before the new one comes: of the size it has, there may be no room for two.
        self.table = FlowTable::new(flow::Settings { capacity: 0, ..settings.flow }, *secret);
        let Tables { table, fragments, inspector, shapes, observer, outers } = tables(settings, *makes_rows, *secret);
        (self.table, self.fragments, sinks.observer) = (table, fragments, observer);
        (sinks.inspector, sinks.shapes, sinks.outers) = (inspector, shapes, outers);
        self.census.interrupt();
        self.packets.fill(Packet::default());
        self.unmeasured = 0;
        sinks.batch = Microbatch::new();
        sinks.oldest_due = Timestamp(u64::MAX);
        sinks.elephants = Default::default();
        (self.rx, self.score) = (RxState::new(&settings.rx), ScoreState::new(&settings.score));
        let counters = &mut sinks.counters;
        let lost = counters
            .pending(Role::Received)
            .saturating_sub(counters.pending(Role::Processed) + counters.pending(Role::Drop));
        counters.add(Counter::DropQueueFailed, lost);
        counters.add(Counter::QueueRestarts, 1);
        counters.publish();
    }

    /// Until the oldest row that waits for its microbatch is due; long if none waits.
    fn row_deadline(&self) -> Duration {
        let batch = &self.sinks.batch;
        if batch.is_empty() || self.scorer.is_none() {
            return Duration::MAX;
        }
        Duration::from_nanos(batch.oldest().after(self.settings.score.wait_ns).since(self.clock.now()))
    }

    /// Stage times are taken in one turn of 16: five clock reads would cost a burst of eight frames 10 ns a frame.
    #[inline(always)]
    fn is_sampled(&self) -> bool {
        self.turns & 15 == 0
    }

    #[inline(always)]
    fn stage_time(&self, fallback: Timestamp) -> Timestamp {
        if self.is_sampled() { self.clock.now() } else { fallback }
    }

    #[inline(always)]
    fn stage(&mut self, stage: Stage, from: Timestamp, to: Timestamp, frames: usize) {
        if self.is_sampled() {
            self.snapshot.histograms.record(stage, to.since(from), frames as u32);
        }
    }
}
