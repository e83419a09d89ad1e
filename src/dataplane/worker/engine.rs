//! One queue with everything that belongs to it, and one turn over it.

use super::batch::{RxSettings, RxState, ScoreSettings, ScoreState};
use super::handover::{HandoverInbox, HandoverSender};
use super::sinks::Sinks;
use super::snapshot::QueueSnapshot;
use crate::clock::Clock;
use crate::dataplane::capture::{BURST_MAX, FrameView, Source};
use crate::dataplane::decode::{
    Decoded, FragmentSettings, FragmentTable, Packet, Tunnel, arp_question, decode, decode_plain, decode_rest,
    quoted_flow,
};
use crate::dataplane::detect::{Observer, WINDOW_NS};
use crate::dataplane::flow::{self, Ended, FlowTable, Signals};
use crate::dataplane::score::{BATCH_MAX, Microbatch, Scorer};
use crate::exchange::{SnapshotSender, Up, UpSender};
use crate::metrics::{Counter, CounterBlock, Stage};
use crate::units::{MILLISECOND, QueueId, SECOND, Timestamp};
use std::time::Duration;

/// Settings of one queue's engine.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// Flow table limits and time-outs.
    pub flow: flow::Settings,
    /// Fragment table limits.
    pub fragments: FragmentSettings,
    /// Entities counted at once by the detectors' observer, per queue; a power of two.
    pub windows: usize,
    /// RX batch controller.
    pub rx: RxSettings,
    /// Scoring batch controller.
    pub score: ScoreSettings,
    /// Score from which a flow is reported; from the model's manifest or the operator.
    pub threshold: f32,
    /// Wheel entries looked at in one turn. Too small: ended flows are reported late; too large: a longer burst.
    pub expire_budget: usize,
    /// Window entries given out in one turn.
    pub flush_budget: usize,
    /// How far the watermark stays behind, nanoseconds of capture time: room for frames on their way between queues.
    pub watermark_lag_ns: u64,
    /// Send a summary of every ended flow up.
    pub export_flows: bool,
    /// When the source has ended, let time run on until every flow has ended by its own time-out: right for a capture
    /// file, whose unanswered contacts are failed ones; wrong for a queue that is stopped.
    pub run_out: bool,
}

impl Default for EngineSettings {
    fn default() -> EngineSettings {
        EngineSettings {
            flow: flow::Settings::default(),
            fragments: FragmentSettings::default(),
            windows: 1 << 16,
            rx: RxSettings::default(),
            score: ScoreSettings::default(),
            threshold: 0.5,
            expire_budget: 2 * BURST_MAX,
            flush_budget: 64,
            watermark_lag_ns: 0,
            export_flows: false,
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

/// A queue as a worker sees it: one virtual call a burst.
pub trait Queue: Send {
    /// Which one.
    fn id(&self) -> QueueId;
    /// Takes one burst all the way.
    fn turn(&mut self) -> Turn;
    /// Waits for frames after turns that found nothing.
    fn wait(&mut self, limit: Duration);
    /// Ends every flow, scores and sends what is left; the queue is then done. O(flows), on shutdown only.
    fn finish(&mut self);
}

/// A source and the state that belongs to it.
pub struct Engine<S: Source> {
    source: S,
    core: Core,
}

/// Everything but the source, so that frames can be borrowed from the source while this changes.
struct Core {
    id: QueueId,
    settings: EngineSettings,
    clock: Clock,
    table: FlowTable,
    fragments: FragmentTable,
    sinks: Sinks,
    scorer: Option<Box<dyn Scorer>>,
    peers: Vec<Option<HandoverSender>>,
    place: usize,
    inbox: HandoverInbox,
    snapshots: SnapshotSender<QueueSnapshot>,
    snapshot: Box<QueueSnapshot>,
    rx: RxState,
    score: ScoreState,
    /// Frames waiting in the source's ring when last looked at, and how many it holds.
    ring: (u32, u32),
    /// Latest capture time seen; never steps back.
    time: Timestamp,
    watermark_sent: Timestamp,
    next_snapshot: Timestamp,
    next_maintain: Timestamp,
    turns: u64,
    finished: bool,
    packets: Vec<Packet>,
}

impl<S: Source> Engine<S> {
    /// Takes all the memory the queue will ever have, on the calling thread.
    pub fn new(source: S, settings: EngineSettings, parts: EngineParts) -> Engine<S> {
        let [a, b, c, d] = parts.secret;
        let scoring = parts.scorer.is_some();
        let core = Core {
            id: parts.id,
            clock: parts.clock,
            table: FlowTable::new(settings.flow, parts.secret),
            fragments: FragmentTable::new(settings.fragments, a ^ b.rotate_left(32)),
            sinks: Sinks {
                observer: Observer::new(settings.windows, [d, c, b, a]),
                batch: Microbatch::new(),
                oldest_due: Timestamp(u64::MAX),
                up: parts.up,
                counters: parts.counters,
                elephants: Default::default(),
                export_flows: settings.export_flows,
                scoring,
                burst_time: Timestamp(0),
            },
            scorer: parts.scorer,
            peers: parts.peers,
            place: parts.place,
            inbox: parts.inbox,
            snapshots: parts.snapshots,
            snapshot: Box::default(),
            rx: RxState::new(&settings.rx),
            score: ScoreState::new(&settings.score),
            ring: (0, 0),
            time: Timestamp(0),
            watermark_sent: Timestamp(0),
            next_snapshot: Timestamp(0),
            next_maintain: Timestamp(0),
            turns: 0,
            finished: false,
            packets: vec![Packet::default(); BURST_MAX],
            settings,
        };
        Engine { source, core }
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
        let received = self.source.receive(core.rx.cap());
        let after_receive = core.stage_time(started);
        core.sinks.burst_time = started;
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
            core.stage(Stage::Receive, started, after_receive, frames);
        } else {
            core.sinks.counters.add(Counter::EmptyPolls, 1);
        }
        self.source.release();
        if core.inbox.is_waiting() {
            frames += core.take_handed_over(started);
        }
        core.time =
            core.time.max(self.source.time_floor().unwrap_or(if received.ended { core.time } else { Timestamp(0) }));
        let rx = core.rx.step(&core.settings.rx, received.waiting, received.capacity);
        if rx.changes != core.rx.changes {
            core.snapshot.state.rx_changed = started;
        }
        core.rx = rx;
        core.ring = (received.waiting, received.capacity);
        core.after_burst(frames, received.ended);
        if started >= core.next_maintain {
            core.next_maintain = started.after(10 * MILLISECOND);
            self.source.maintain(started);
        }
        if received.ended && !core.peers.is_empty() {
            // Nothing more can be handed over from here; the owners see their rings close.
            core.peers.clear();
        }
        let ended = received.ended && frames == 0 && core.inbox.is_closed();
        if ended {
            core.finish();
        }
        core.sinks.counters.publish();
        Turn { frames, started, ended }
    }

    fn wait(&mut self, limit: Duration) {
        if !self.core.inbox.is_waiting() {
            self.source.wait(limit);
        }
    }

    fn finish(&mut self) {
        self.core.finish();
        self.core.sinks.counters.publish();
    }
}

/// Frames of one burst, wherever they lie.
trait Frames {
    fn frame(&self, index: usize) -> FrameView<'_>;
    fn prefetch(&self, index: usize);
}

impl<S: Source> Frames for S {
    #[inline(always)]
    fn frame(&self, index: usize) -> FrameView<'_> {
        Source::frame(self, index)
    }
    #[inline(always)]
    fn prefetch(&self, index: usize) {
        Source::prefetch(self, index);
    }
}

/// How many frames ahead the first bytes are asked for.
const FRAMES_AHEAD: usize = 8;

impl Core {
    /// Frames that other queues handed to us as the owner.
    fn take_handed_over(&mut self, now: Timestamp) -> usize {
        struct Borrowed(HandoverInbox);
        impl Borrowed {
            fn frame(&self, index: usize) -> FrameView<'_> {
                self.0.frame(index)
            }
        }
        let mut inbox = Borrowed(std::mem::replace(&mut self.inbox, HandoverInbox::new(Vec::new())));
        let count = inbox.0.receive(BURST_MAX);
        let notes = (0..count).filter(|index| inbox.0.is_note(*index)).count();
        self.sinks.counters.add(Counter::HandoverReceived, (count - notes) as u64);
        // Notes are rare; where there are some, the burst is taken in the stretches between them.
        let mut begin = 0;
        while begin < count {
            let end = (begin..count).find(|index| inbox.0.is_note(*index)).unwrap_or(count);
            self.process_with(|index| inbox.frame(begin + index), |_| (), end - begin, now, false);
            if end < count {
                let view = inbox.frame(end);
                self.note(view, view.time.unwrap_or(now));
            }
            begin = end + 1;
        }
        self.inbox = inbox.0;
        count
    }

    /// An ICMP error that another queue counts, and that quotes a flow which may live here.
    #[cold]
    fn note(&mut self, view: FrameView<'_>, time: Timestamp) {
        let mut packet = Packet::default();
        if decode(view, &mut packet) == Decoded::Flow && is_icmp_error(&packet) {
            self.time = self.time.max(time);
            packet.time = self.time;
            refuse_quoted(&mut self.table, &mut self.sinks, view, &packet);
        }
    }

    fn process<F: Frames>(&mut self, source: &F, count: usize, now: Timestamp, hand_over: bool) {
        self.process_with(|index| source.frame(index), |index| source.prefetch(index), count, now, hand_over);
    }

    /// Decode all, probe all, update all.
    #[inline]
    fn process_with<'a>(
        &mut self,
        frame: impl Fn(usize) -> FrameView<'a>,
        prefetch: impl Fn(usize),
        count: usize,
        now: Timestamp,
        hand_over: bool,
    ) {
        let begin = self.stage_time(now);
        let burst = self.decode_all(&frame, &prefetch, count, now, hand_over && !self.peers.is_empty());
        let decoded = self.stage_time(now);
        self.stage(Stage::Decode, begin, decoded, count);
        if burst.has_icmp_errors {
            self.update_with_errors(&frame, burst.flows);
        } else {
            self.update_all(burst.flows, |_, _, _| ());
        }
        let updated = self.stage_time(now);
        self.stage(Stage::Flow, decoded, updated, count);
    }

    /// Decodes the burst into `packets`, the flows' ones next to each other, hashes their keys and asks for their buckets.
    #[inline(always)]
    fn decode_all<'a>(
        &mut self,
        frame: &impl Fn(usize) -> FrameView<'a>,
        prefetch: &impl Fn(usize),
        count: usize,
        now: Timestamp,
        hand_over: bool,
    ) -> Burst {
        let Core { packets, fragments, sinks, table, time: latest, .. } = self;
        // The time in a local: through `self` it would be read again after every store into a packet.
        let mut time = *latest;
        let Some(packets) = packets.get_mut(..count) else { return Burst::default() };
        let mut burst = Burst { flows: count, ..Burst::default() };
        let mut bytes = 0_u64;
        for index in 0..FRAMES_AHEAD.min(count) {
            prefetch(index);
        }
        for (index, packet) in packets.iter_mut().enumerate() {
            prefetch(index + FRAMES_AHEAD);
            let view = frame(index);
            bytes += u64::from(view.wire_bytes);
            time = view.time.unwrap_or(now).max(time);
            packet.time = time;
            if let Some(words) = decode_plain(view, packet, &mut burst.tunnelled) {
                packet.hash = table.hash_v4(words);
                table.prefetch_bucket(packet.hash);
            } else {
                packet.place = index as u16; // below BURST_MAX
                // The view anew: so the loop need not keep one in memory for a call that is rarely made.
                decode_unusual(frame(index), packet, fragments, sinks, &mut burst);
                packet.hash = table.hash(&packet.key);
                table.prefetch_bucket(packet.hash);
            }
        }
        *latest = time;
        self.sinks.counters.add(Counter::BytesReceived, bytes);
        if burst.gaps > 0 {
            self.close_gaps(&mut burst);
        }
        if hand_over {
            self.keep_own(frame, &mut burst);
        }
        if burst.tunnelled > 0 {
            self.sinks.counters.add(Counter::Tunnelled, burst.tunnelled as u64);
        }
        burst
    }

    /// Moves the packets of flows together where frames between them were none.
    #[inline(never)]
    fn close_gaps(&mut self, burst: &mut Burst) {
        let mut kept = 0;
        for from in 0..burst.flows {
            let Some(packet) = self.packets.get_mut(from) else { break };
            if packet.hint == NO_FLOW {
                packet.hint = u32::MAX;
                continue;
            }
            let packet = Packet { place: from as u16, ..*packet };
            if let Some(to) = self.packets.get_mut(kept) {
                *to = packet;
                kept += 1;
            }
        }
        burst.flows = kept;
    }

    /// Hands the packets of foreign flows to their owners and moves the others together.
    #[inline(never)]
    fn keep_own<'a>(&mut self, frame: &impl Fn(usize) -> FrameView<'a>, burst: &mut Burst) {
        let mut kept = 0;
        for from in 0..burst.flows {
            let Some(&packet) = self.packets.get(from) else { break };
            // Where nothing was moved yet, packets lie where their frames do.
            let index = if burst.gaps == 0 { from } else { usize::from(packet.place) };
            if is_icmp_error(&packet) {
                self.send_note(index, frame, packet.time);
            }
            let owner = packet.key.owner(self.peers.len());
            if owner != self.place {
                let peer = self.peers.get_mut(owner).and_then(Option::as_mut);
                let sent = peer.is_some_and(|peer| peer.send(frame(index), packet.time, false));
                self.sinks.counters.add(if sent { Counter::HandedOver } else { Counter::DropHandoverFull }, 1);
                burst.tunnelled -= usize::from(packet.tunnel != Tunnel::None);
                continue;
            }
            if let Some(to) = self.packets.get_mut(kept) {
                *to = packet;
                kept += 1;
            }
        }
        burst.flows = kept;
    }

    /// Tells the owner of the flow that an ICMP error quotes, where that is another queue.
    #[cold]
    fn send_note<'a>(&mut self, index: usize, frame: &impl Fn(usize) -> FrameView<'a>, time: Timestamp) {
        let view = frame(index);
        let mut packet = Packet::default();
        if decode(view, &mut packet) != Decoded::Flow {
            return;
        }
        let Some((key, _)) = quoted_flow(view, &packet) else { return };
        let owner = key.owner(self.peers.len());
        if owner != self.place
            && let Some(Some(peer)) = self.peers.get_mut(owner)
        {
            // A full ring loses a hint, not a frame: the contact then fails by its time-out.
            peer.send(view, time, true);
        }
    }

    /// [`Core::update_all`] for a burst that has ICMP errors, in the order of its packets.
    #[inline(never)]
    fn update_with_errors<'a>(&mut self, frame: &impl Fn(usize) -> FrameView<'a>, flows: usize) {
        self.update_all(flows, |table, sinks, packet| {
            if is_icmp_error(packet) {
                refuse_quoted(table, sinks, frame(usize::from(packet.place)), packet);
            }
        });
    }

    /// Probes all, then accounts all; `after` sees each packet once it is accounted.
    #[inline(always)]
    fn update_all(&mut self, flows: usize, after: impl Fn(&mut FlowTable, &mut Sinks, &Packet)) {
        let Core { table, sinks, packets, .. } = self;
        let Some(packets) = packets.get_mut(..flows) else { return };
        table.probe_all(packets);
        let mut full = 0;
        for packet in packets.iter() {
            let Some((index, record, signals)) = table.account(packet, packet.hint, |ended| sinks.on_end(&ended))
            else {
                full += 1;
                continue;
            };
            if !signals.is_empty() {
                sinks.on_signals(record, index, signals, packet.time);
            }
            after(table, sinks, packet);
        }
        sinks.counters.add(Counter::ProcessedFlow, (flows - full) as u64);
        if full > 0 {
            sinks.counters.add(Counter::DropFlowTableFull, full as u64);
        }
    }

    /// Expiry, scoring, windows, watermark, snapshot.
    fn after_burst(&mut self, frames: usize, ended: bool) {
        let now = self.sinks.burst_time;
        let begin = self.stage_time(now);
        let (table, sinks) = (&mut self.table, &mut self.sinks);
        table.expire(self.time, self.settings.expire_budget, |ended| sinks.on_end(&ended));
        let expired = self.stage_time(now);
        self.stage(Stage::Expire, begin, expired, frames.max(1));
        if self.is_sampled() {
            self.rx = self.rx.timed(frames, expired.since(now));
        }
        self.score_if_due(now, ended);
        self.flush_windows();
        if frames > 0 && self.is_sampled() {
            let end = self.clock.now();
            self.snapshot.histograms.record(Stage::Burst, end.since(now), frames as u32);
        }
        self.turns = self.turns.wrapping_add(1);
        if now >= self.next_snapshot {
            self.next_snapshot = now.after(SECOND / 4);
            self.send_snapshot();
        }
    }

    /// Calls the model when the controller says so, and as often as the backlog asks.
    fn score_if_due(&mut self, now: Timestamp, all: bool) {
        while !self.sinks.batch.is_empty() {
            let waiting = self.sinks.batch.len();
            if !all && !self.score.is_due(&self.settings.score, waiting, now.since(self.sinks.batch.oldest())) {
                return;
            }
            let Some(scorer) = self.scorer.as_mut() else { return };
            let begin = self.clock.now();
            let (up, table, histograms) = (&mut self.sinks.up, &mut self.table, &mut self.snapshot.histograms);
            let threshold = self.settings.threshold;
            // Rows of one burst waited alike.
            let mut waited = (begin, 0);
            let outcome =
                self.sinks.batch.flush(scorer.as_mut(), self.settings.score.maximum as usize, |tag, row, score| {
                    if tag.queued_at != waited.0 {
                        histograms.record(Stage::ScoreQueue, begin.since(waited.0), waited.1);
                        waited = (tag.queued_at, 0);
                    }
                    waited.1 += 1;
                    if let Some(record) = tag.index.and_then(|index| table.get_mut(index)) {
                        record.set_score(score);
                    }
                    Sinks::on_score(up, &tag, row, score, threshold);
                });
            histograms.record(Stage::ScoreQueue, begin.since(waited.0), waited.1);
            let service_ns = self.clock.now().since(begin);
            self.sinks.counters.add(Counter::Microbatches, 1);
            match outcome {
                Ok(rows) => {
                    self.sinks.scoring = true;
                    self.sinks.counters.add(Counter::RowsScored, rows as u64);
                    self.snapshot.histograms.record(Stage::Score, service_ns, 1);
                    let score = self.score.step(&self.settings.score, rows, service_ns);
                    if score.changes != self.score.changes {
                        self.snapshot.state.score_changed = now;
                    }
                    self.score = score;
                }
                Err(error) => {
                    self.snapshot.state.score_failed = true;
                    self.sinks.counters.add(Counter::ScoreErrors, 1);
                    self.sinks.counters.add(Counter::RowsShed, error.rows as u64);
                }
            }
            if self.sinks.batch.is_empty() {
                self.sinks.oldest_due = Timestamp(u64::MAX);
            }
        }
    }

    /// Sends windows that are complete, then says up to when.
    fn flush_windows(&mut self) {
        let reached = self
            .time
            .min(self.table.expired_until())
            .min(self.sinks.oldest_due)
            .0
            .saturating_sub(self.settings.watermark_lag_ns);
        let up = &mut self.sinks.up;
        let flushed = self.sinks.observer.flush(Timestamp(reached), self.settings.flush_budget, &mut |entry| {
            up.send(Up::Window(*entry));
        });
        // A watermark is worth sending when it crosses a window's end: nothing is decided in between.
        if flushed.0 / WINDOW_NS != self.watermark_sent.0 / WINDOW_NS && flushed > self.watermark_sent {
            self.watermark_sent = flushed;
            up.send(Up::Watermark(self.id, flushed));
        }
        let lost = up.take_lost();
        if lost > 0 {
            self.sinks.counters.add(Counter::ExchangeFull, lost);
        }
    }

    fn send_snapshot(&mut self) {
        let state = &mut self.snapshot.state;
        state.queue = self.id;
        state.time = self.time;
        state.table = self.table.stats();
        state.elephants.clone_from(&self.sinks.elephants);
        state.ring_waiting = self.ring.0;
        state.ring_capacity = self.ring.1;
        state.rx = self.rx;
        state.score = self.score;
        state.scoring = self.scorer.is_some();
        let changed = (state.rx_changed, state.score_changed);
        if self.snapshots.swap(&mut self.snapshot) {
            (self.snapshot.state.rx_changed, self.snapshot.state.score_changed) = changed;
        }
    }

    /// Ends every flow and sends what is left.
    fn finish(&mut self) {
        if self.finished {
            return;
        }
        self.finished = true;
        let flow = self.settings.flow;
        let longest = flow.established_ns.max(flow.unanswered_ns).max(flow.closed_ns).max(flow.datagram_ns);
        let end = self.time.after(longest + SECOND);
        // As long as it gets somewhere: should the table have nothing more to give, the drain below takes the rest.
        let mut before = None;
        while self.settings.run_out && before != Some((self.table.stats().flows, self.table.expired_until())) {
            before = Some((self.table.stats().flows, self.table.expired_until()));
            let (table, sinks) = (&mut self.table, &mut self.sinks);
            table.expire(end, BURST_MAX, |ended| sinks.on_end(&ended));
            self.score_if_due(self.sinks.burst_time, self.sinks.batch.len() >= BATCH_MAX);
        }
        let (mut place, mut more) = (0, true);
        while more {
            let (table, sinks) = (&mut self.table, &mut self.sinks);
            more = table.drain_some(self.time, &mut place, BURST_MAX, &mut |ended: Ended<'_>| sinks.on_end(&ended));
            self.score_if_due(self.sinks.burst_time, self.sinks.batch.len() >= BATCH_MAX);
        }
        self.score_if_due(self.sinks.burst_time, true);
        let up = &mut self.sinks.up;
        self.sinks.observer.flush(Timestamp(u64::MAX), usize::MAX, &mut |entry| up.send(Up::Window(*entry)));
        up.send(Up::Ended(self.id));
        let lost = up.take_lost();
        self.sinks.counters.add(Counter::ExchangeFull, lost);
        self.send_snapshot();
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

/// `Packet::hint` of a frame that belongs to no flow; no slot has this number (`FlowTable` ends at 2^30).
const NO_FLOW: u32 = u32::MAX - 1;

/// What a burst came to.
#[derive(Clone, Copy, Default)]
struct Burst {
    /// Packets of flows, at the front of `Core::packets` (with the gaps among them, until these are closed).
    flows: usize,
    /// Frames among them that belong to no flow.
    gaps: usize,
    /// Packets of tunnels.
    tunnelled: usize,
    /// Is any of them an ICMP error?
    has_icmp_errors: bool,
}

/// Decodes and counts what is no plain packet. A fragment whose ports are known belongs to a flow, as do the packets of
/// other protocols; all else leaves a gap.
#[cold]
#[inline(never)]
fn decode_unusual(
    view: FrameView<'_>,
    packet: &mut Packet,
    fragments: &mut FragmentTable,
    sinks: &mut Sinks,
    burst: &mut Burst,
) {
    let outcome = decode_rest(view.bytes, view.wire_bytes, view.link, packet);
    let counter = match outcome {
        Decoded::Flow => None,
        Decoded::FirstFragment | Decoded::LaterFragment => {
            sinks.counters.add(Counter::Fragments, 1);
            fragments.resolve(outcome, packet, packet.time).err()
        }
        Decoded::Arp => {
            if let Some(question) = arp_question(view, packet) {
                sinks.on_arp(question, packet.time);
            }
            Some(Counter::ProcessedArp)
        }
        Decoded::Other => Some(Counter::ProcessedOther),
        Decoded::Reject(reason) => Some(reason),
    };
    if let Some(counter) = counter {
        sinks.counters.add(counter, 1);
        packet.hint = NO_FLOW;
        burst.gaps += 1;
        return;
    }
    burst.tunnelled += usize::from(packet.tunnel != Tunnel::None);
    burst.has_icmp_errors |= is_icmp_error(packet);
}

/// Destination unreachable, time exceeded, parameter problem (RFC 792), and their ICMPv6 kin (RFC 4443).
#[inline(always)]
fn is_icmp_error(packet: &Packet) -> bool {
    match packet.key.protocol() {
        1 => matches!(packet.icmp_type, 3 | 11 | 12),
        58 => matches!(packet.icmp_type, 1..=4),
        _ => false,
    }
}

/// Lays an ICMP error at the door of the flow it quotes.
#[cold]
fn refuse_quoted(table: &mut FlowTable, sinks: &mut Sinks, frame: FrameView<'_>, packet: &Packet) {
    let Some((key, _)) = quoted_flow(frame, packet) else { return };
    let hash = table.hash(&key);
    let hint = table.probe(hash);
    let Some(index) = table.find(hash, &key, hint, packet.time, |ended| sinks.on_end(&ended)) else { return };
    let Some((record, signals)) = table.refuse(index, packet.time) else { return };
    if signals.has(Signals::REFUSED) {
        sinks.on_signals(record, index, signals, packet.time);
    }
}
