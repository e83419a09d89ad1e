//! One queue of both ports as a [`Source`]: what comes in on one port leaves on the other when its burst is released.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

use super::maps::PortMaps;
use super::rings::PairRings;
use super::settings::{BEAT_NS, Cause};
use crate::dataplane::capture::xdp::counters::{Cell, CounterMaps, WorkerCounters};
use crate::dataplane::capture::xdp::program::SocketMap;
use crate::dataplane::capture::xdp::source::lock;
use crate::dataplane::capture::{BURST_MAX, FrameView, LinkType, Received, Source};
use crate::metrics::CounterMemory;
use crate::sys::{monotonic, socket};
use crate::units::Timestamp;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long frames may lie with the kernel without one of them coming back, before their sockets are made anew: a NIC that was
/// reset may never give them back (anza-xyz/agave#13805). Nanoseconds.
const SEND_DEADLINE_NS: u64 = 100_000_000;
/// So many sent frames may stay with a driver for as long as it likes: some give them back with the next ones only (igb in
/// zero-copy mode, once nothing more is sent), and few of them do no harm. A share of the ring's entries.
const LAZY_SHARE: u64 = 4;
/// How long a planned stop waits for a moment at which no frame is under way to the worker.
const STOP_PATIENCE: Duration = Duration::from_millis(200);
/// How long it waits at all until the program sends frames past the worker.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// A frame given to a ring is in it when the driver's poll ends; so long none takes. Nanoseconds.
const MISSING_NS: u64 = 100_000_000;

/// Where the pair's watcher and the queue's source meet; the worker only ever tries the locks.
pub(super) struct PairSlot {
    /// A source is alive for this queue.
    pub(super) open: AtomicBool,
    stopped: AtomicBool,
    stopping: AtomicBool,
    /// Why the queue has no sockets though it is open; the watcher tries again.
    pub(super) waiting: Mutex<Option<String>>,
    /// The sockets are of no use any more: a port is gone, or frames do not come back.
    pub(super) gone: AtomicBool,
    /// The queue has no sockets, or useless ones: the watcher is to make others.
    pub(super) wants: AtomicBool,
    has_new: AtomicBool,
    new: Mutex<Option<PairRings>>,
    old: Mutex<Vec<PairRings>>,
    pub(super) facts: Mutex<Option<[crate::dataplane::capture::xdp::QueueFacts; 2]>>,
}

impl PairSlot {
    /// A slot without a source. Giving rings up must not allocate, so there is room for more than can ever wait.
    pub(super) fn new() -> PairSlot {
        PairSlot {
            open: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            waiting: Mutex::new(None),
            gone: AtomicBool::new(false),
            wants: AtomicBool::new(false),
            has_new: AtomicBool::new(false),
            new: Mutex::new(None),
            old: Mutex::new(Vec::with_capacity(4)),
            facts: Mutex::new(None),
        }
    }

    /// Leaves rings for the source to take over at its next `maintain`.
    pub(super) fn deliver(&self, rings: PairRings) {
        *lock(&self.facts) = Some([rings.facts(0).clone(), rings.facts(1).clone()]);
        *lock(&self.new) = Some(rings);
        self.wants.store(false, Release);
        self.gone.store(false, Release);
        self.has_new.store(true, Release);
    }

    /// Frees what the source gave up.
    pub(super) fn bury(&self) {
        while let Some(rings) = { lock(&self.old).pop() } {
            drop(rings);
        }
    }

    /// Makes the slot ready for a new source.
    pub(super) fn reset(&self) {
        for flag in [&self.stopped, &self.stopping, &self.gone, &self.wants, &self.has_new] {
            flag.store(false, SeqCst);
        }
        *lock(&self.waiting) = None;
        *lock(&self.new) = None;
    }

    /// Whether the queue is being stopped, or was.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }
}

/// Ends a pair's queue from another thread, so that no frame is lost or overtaken.
pub struct PairStop {
    pub(super) slot: Arc<PairSlot>,
    pub(super) ports: [Arc<PortMaps>; 2],
    pub(super) sockets: [SocketMap; 2],
    pub(super) queue: u32,
}

impl PairStop {
    /// Has the program send frames past the worker from the moment its rings are empty, takes the sockets out of the maps and
    /// waits until no softirq can still be bringing a frame. The worker goes on; its source says `ended` when all that it had is
    /// sent. Some ten milliseconds; a worker that hangs is waited for no longer than a second.
    pub fn stop(&self) {
        self.slot.stopping.store(true, SeqCst);
        self.ports.iter().for_each(|port| port.say(Cause::Stop, true));
        let begin = Instant::now();
        let mut hurries = false;
        while !self.ports.iter().all(|port| port.is_stopped(self.queue)) && begin.elapsed() < STOP_LIMIT {
            if !hurries && begin.elapsed() > STOP_PATIENCE {
                // Never idle: some frames are overtaken, at most those in the rings.
                hurries = true;
                self.ports.iter().for_each(|port| port.stop_at_once(self.queue));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.sockets.iter().for_each(|sockets| sockets.remove(self.queue));
        if !socket::wait_for_softirqs() {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.slot.stopped.store(true, Release);
    }
}

/// What one port of a queue counts, and where.
pub(super) struct End {
    pub(super) maps: Arc<CounterMaps>,
    pub(super) port: Arc<PortMaps>,
    pub(super) sockets: SocketMap,
    /// Frames taken since the maps were made, as the program counts what it gave.
    pub(super) taken: u64,
    /// What the queue's former sockets had counted.
    pub(super) base: [u64; 6],
    pub(super) missing: Missing,
}

/// Frames that were given to a ring and never came: the kernel does not always tell of those that a full ring refused. They would
/// count as under way for ever, and after an overload no frame would be given to the worker any more.
#[derive(Clone, Copy, Default)]
pub(super) struct Missing {
    accepted: u64,
    since_ns: u64,
}

impl Missing {
    /// `accepted` were given by the program's count, `taken` by ours, and the ring is empty or not. `true`: nothing was given for
    /// [`MISSING_NS`] and what is missing will not come.
    #[inline]
    fn look(&mut self, accepted: u64, taken: u64, is_empty: bool, now_ns: u64) -> bool {
        if accepted == taken || !is_empty || accepted != self.accepted {
            *self = Missing { accepted, since_ns: now_ns };
        }
        now_ns.saturating_sub(self.since_ns) >= MISSING_NS
    }
}

/// The six statistics, in the order of `Rings::statistics`.
pub(super) const STATISTICS: [Cell; 6] = [
    Cell::RxDropped,
    Cell::RxInvalidDescs,
    Cell::TxInvalidDescs,
    Cell::RxRingFull,
    Cell::RxFillRingEmptyDescs,
    Cell::TxRingEmptyDescs,
];

/// The sockets of one queue of both ports; see [`super::Pair::open_queue`].
///
/// Owned by one worker at a time. Dropping it takes the sockets out of their maps and closes them; frames still in a ring are
/// counted as abandoned ([`PairStop::stop`] first avoids that). The program and its policy stay.
pub struct PairSource {
    pub(super) rings: Option<PairRings>,
    pub(super) ends: [End; 2],
    pub(super) slot: Arc<PairSlot>,
    pub(super) queue: u32,
    pub(super) capacity: u32,
    pub(super) polls: bool,
    pub(super) idle: bool,
    /// Queues of the pair whose first turn is still to come; the last one ends what a planned stop began.
    pub(super) unbegun: Arc<AtomicU32>,
    pub(super) begun: bool,
    /// The program was told that our rings are empty.
    pub(super) told_stopped: bool,
    /// When a sent frame last came back, or nothing was on its way.
    pub(super) last_back_ns: u64,
    pub(super) now_ns: u64,
}

const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<PairSource>();
};

impl PairSource {
    /// Memory for the worker's counters of this queue that outlives the process: those of the first port's maps.
    pub fn counter_memory(&self) -> Arc<dyn CounterMemory> {
        let [first, _] = &self.ends;
        Arc::new(WorkerCounters { maps: Arc::clone(&first.maps), queue: self.queue })
    }

    /// Ends the queue later, from another thread.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn stop_handle(&self) -> std::io::Result<PairStop> {
        let [first, second] = &self.ends;
        Ok(PairStop {
            slot: Arc::clone(&self.slot),
            ports: [Arc::clone(&first.port), Arc::clone(&second.port)],
            sockets: [first.sockets.again()?, second.sockets.again()?],
            queue: self.queue,
        })
    }

    /// The sign of life that the program compares with the clock.
    #[inline]
    fn beat(&mut self) {
        self.now_ns = monotonic::now_ns();
        for end in &self.ends {
            end.port.beat(self.queue, self.now_ns, end.taken);
        }
    }

    /// The first turn, its beat written: the program gives us frames from now on. What a planned stop said holds no more once every
    /// queue is there; what an operator ordered stays.
    #[cold]
    fn begin(&mut self) {
        self.begun = true;
        if self.unbegun.fetch_sub(1, AcqRel) == 1 {
            for end in &self.ends {
                end.port.say(Cause::Stop, false);
                // Who was told to stop before the first turn has said so already.
                if self.slot.is_stopping() {
                    end.port.say(Cause::Stop, true);
                }
            }
        }
    }

    /// Tells the program that our rings are empty, where it was asked to stop, or that we want frames again.
    #[inline]
    fn follow_stop(&mut self, waiting: [u32; 2]) {
        let asked = |end: &End| end.port.is_bypassed() || end.port.is_said(Cause::Stop);
        let wanted = self.unbegun.load(Acquire) == 0 && self.ends.iter().any(asked);
        let empty = waiting == [0; 2] && self.rings.as_ref().is_none_or(|rings| rings.unsent() == [0; 2]);
        if (wanted && empty) || (!wanted && self.told_stopped) {
            for end in &self.ends {
                end.port.stopped(self.queue, wanted.then_some(end.taken));
            }
            self.told_stopped = wanted;
        }
    }

    /// Sends what waits and takes back what was sent.
    #[inline]
    fn send(&mut self) {
        let Some(rings) = &mut self.rings else { return };
        let (before, unsent) = (rings.on_way(), rings.unsent() != [0; 2]);
        // What left by one port came in on the other.
        let [first, second] = &self.ends;
        let counted =
            |end: &End| end.maps.cell(self.queue, Cell::Sent).wrapping_add(end.maps.cell(self.queue, Cell::TxRefused));
        // Said before it happens: who is killed in the call cannot count any more what the kernel took in it.
        let sent = rings.send(|side, frames| {
            let end = if side == 0 { second } else { first };
            end.maps.set_cell(self.queue, Cell::Offered, counted(end).wrapping_add(frames));
        });
        for (end, sent) in [second, first].into_iter().zip(sent) {
            if sent.taken > 0 {
                end.maps.add_cell(self.queue, Cell::Sent, sent.taken - sent.refused.min(sent.taken));
            }
            if sent.refused > 0 {
                end.maps.add_cell(self.queue, Cell::TxRefused, sent.refused);
            }
            if unsent {
                end.maps.set_cell(self.queue, Cell::Offered, counted(end));
            }
        }
        let after = rings.on_way();
        let moved = sent.iter().zip(before).zip(after).any(|((sent, before), after)| before + sent.taken > after);
        if after == [0; 2] || moved {
            self.last_back_ns = self.now_ns;
        }
    }

    /// Copies the sockets' statistics to where they outlive them.
    fn publish_statistics(&mut self) {
        let Some(rings) = &mut self.rings else { return };
        let waiting = rings.waiting();
        for ((end, values), waiting) in self.ends.iter().zip(rings.statistics()).zip(waiting) {
            if let Ok(values) = values {
                for ((cell, base), value) in STATISTICS.into_iter().zip(end.base).zip(values) {
                    end.maps.set_cell(self.queue, cell, base.wrapping_add(value));
                }
            }
            end.maps.set_cell(self.queue, Cell::Waiting, u64::from(waiting));
        }
    }

    /// Waits no longer for frames that were given to a ring and never came to be in it.
    fn write_off(&mut self) {
        let Some(rings) = &mut self.rings else { return };
        for (end, waiting) in self.ends.iter_mut().zip(rings.waiting()) {
            let accepted = end.port.accepted(self.queue);
            if end.missing.look(accepted, end.taken, waiting == 0, self.now_ns) {
                end.taken = accepted;
            }
        }
    }

    /// Lets rings go to be freed elsewhere, or here if the watcher is just looking; books what they take with them.
    fn give_up(&mut self) {
        self.publish_statistics();
        for end in &mut self.ends {
            end.base = STATISTICS.map(|cell| end.maps.cell(self.queue, cell));
        }
        if let Some(mut rings) = self.rings.take() {
            self.abandon(&mut rings);
            if let Ok(mut old) = self.slot.old.try_lock() {
                old.push(rings);
            }
        }
    }

    /// Frames that are in rings which are given up: not taken, or taken and not sent.
    fn abandon(&self, rings: &mut PairRings) {
        let (waiting, unsent) = (rings.waiting(), rings.unsent());
        for ((end, waiting), unsent) in self.ends.iter().zip(waiting).zip(unsent.into_iter().rev()) {
            end.maps.add_cell(self.queue, Cell::Abandoned, u64::from(waiting));
            end.maps.add_cell(self.queue, Cell::LostInHands, unsent);
        }
    }

    /// Takes over new rings, or gives up those that are of no use.
    fn rearm(&mut self) {
        if self.rings.as_ref().is_some_and(|rings| rings.held() > 0) {
            return;
        }
        if self.slot.has_new.load(Acquire) {
            let Ok(mut new) = self.slot.new.try_lock() else { return };
            let taken = new.take();
            self.slot.has_new.store(false, Release);
            drop(new);
            if let Some(rings) = taken {
                self.give_up();
                self.capacity = rings.facts(0).ring_entries;
                // Not what is in the cell: our own beat went on writing there what was taken of the former sockets.
                for (end, accepted) in self.ends.iter_mut().zip(rings.accepted) {
                    end.taken = accepted;
                }
                self.rings = Some(rings);
                self.last_back_ns = self.now_ns;
            }
        } else if self.rings.is_some() && self.slot.gone.load(Acquire) {
            self.give_up();
        }
    }
}

impl Source for PairSource {
    #[inline]
    fn receive(&mut self, cap: usize) -> Received {
        let mut received = Received { capacity: self.capacity, ..Received::default() };
        if self.rings.as_ref().is_some_and(|rings| rings.held() > 0) {
            return received; // the burst before was not released
        }
        let stopped = self.slot.stopped.load(Acquire);
        self.beat();
        if !self.begun {
            // After the beat: a stop taken back before it would look like a hang.
            self.begin();
        }
        self.send();
        let mut waiting = [0; 2];
        if let Some(rings) = &mut self.rings {
            waiting = rings.waiting();
            if waiting != [0; 2] {
                let (counts, impossible) = rings.take(cap.min(BURST_MAX), waiting);
                for (end, count) in self.ends.iter_mut().zip(counts) {
                    if count > 0 {
                        end.taken = end.taken.wrapping_add(count as u64);
                        end.maps.add_cell(self.queue, Cell::RingFrames, count as u64);
                        end.port.beat(self.queue, self.now_ns, end.taken);
                        received.count += count;
                    }
                }
                if impossible > 0 {
                    let [first, _] = &self.ends;
                    first.maps.add_cell(self.queue, Cell::InvalidDescriptors, impossible);
                }
                self.idle = false;
            }
        }
        // The fuller of the two rings is the one that decides.
        received.waiting = waiting.into_iter().max().unwrap_or(0);
        if received.count == 0 {
            self.follow_stop(waiting);
            let all_sent = self.rings.as_ref().is_none_or(|rings| rings.unsent() == [0; 2]);
            received.ended = stopped && waiting == [0; 2] && all_sent && !self.slot.has_new.load(Acquire);
        }
        received
    }

    #[inline(always)]
    fn frame(&self, index: usize) -> FrameView<'_> {
        let bytes = self.rings.as_ref().map_or(&[][..], |rings| rings.frame(index));
        let port = self.rings.as_ref().map_or(0, |rings| rings.port_of(index));
        FrameView { port, bytes, wire_bytes: bytes.len() as u32, time: None, link: LinkType::Ethernet }
    }

    #[inline(always)]
    fn prefetch(&self, index: usize) {
        if let Some(rings) = &self.rings {
            rings.prefetch(index);
        }
    }

    #[inline]
    fn release(&mut self) {
        let Some(rings) = &mut self.rings else { return };
        if rings.held() > 0 {
            let lost = rings.forward();
            for (end, lost) in self.ends.iter().zip(lost).filter(|(_, lost)| *lost > 0) {
                end.maps.add_cell(self.queue, Cell::LostInHands, lost);
            }
        }
        self.send();
    }

    fn wait(&mut self, limit: Duration) {
        let Some(rings) = &self.rings else {
            std::thread::sleep(limit.min(self.patience()));
            return;
        };
        let [first, second] = rings.descriptors();
        socket::wait_readable(first, second, limit.min(self.patience()));
    }

    fn descriptors(&self) -> Option<[RawFd; 2]> {
        if self.polls && self.rings.is_some() {
            return None;
        }
        Some(self.rings.as_ref().map_or([-1, -1], PairRings::descriptors))
    }

    fn patience(&self) -> Duration {
        Duration::from_nanos(BEAT_NS)
    }

    fn maintain(&mut self, _now: Timestamp) {
        if let Some(rings) = &self.rings {
            if self.idle {
                rings.revive();
            }
            let most = u64::from(self.capacity) / LAZY_SHARE;
            let waits = rings.unsent() != [0; 2] || rings.on_way().into_iter().any(|count| count > most);
            if !waits {
                self.last_back_ns = self.now_ns;
            } else if self.now_ns.saturating_sub(self.last_back_ns) > SEND_DEADLINE_NS && !self.slot.gone.load(Acquire)
            {
                for end in &self.ends {
                    end.maps.add_cell(self.queue, Cell::TxRebuilds, 1);
                }
                self.slot.gone.store(true, Release);
            }
        }
        self.idle = true;
        self.write_off();
        self.publish_statistics();
        self.rearm();
        if self.rings.is_none() && !self.slot.is_stopping() {
            self.slot.wants.store(true, Release);
        }
    }
}

impl Drop for PairSource {
    fn drop(&mut self) {
        if !self.slot.stopped.load(Acquire) {
            self.ends.iter().for_each(|end| end.sockets.remove(self.queue));
            socket::wait_for_softirqs();
        }
        self.release();
        self.publish_statistics();
        if let Some(mut rings) = self.rings.take() {
            self.abandon(&mut rings);
        }
        drop(lock(&self.slot.new).take());
        for end in &self.ends {
            end.maps.set_cell(self.queue, Cell::Waiting, 0);
            end.maps.set_cell(self.queue, Cell::Open, 0);
        }
        *lock(&self.slot.facts) = None;
        *lock(&self.slot.waiting) = None;
        self.slot.open.store(false, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_came_is_waited_for_no_longer_than_it_may_take() {
        const MS: u64 = 1_000_000;
        let mut missing = Missing::default();
        for (at_ms, accepted, taken, is_empty, gone) in [
            (10, 50, 50, true, false),
            (200, 50, 50, true, false), // none is missing, however long
            (210, 60, 55, false, false),
            (400, 60, 55, false, false), // they lie in the ring
            (410, 60, 57, true, false),
            (505, 61, 57, true, false), // frames still come
            (604, 61, 57, true, false),
            (605, 61, 57, true, true),
            (606, 61, 61, true, false),
            (900, 61, 61, true, false),
        ] {
            assert_eq!(missing.look(accepted, taken, is_empty, at_ms * MS), gone, "at {at_ms} ms");
        }
    }
}
