//! One queue as a [`Source`]: what a worker holds.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

use super::counters::{Cell, CounterMaps, WorkerCounters};
use super::mirror::Mirror;
use super::program::SocketMap;
use super::rings::{QueueFacts, Rings};
use crate::dataplane::capture::{BURST_MAX, FrameView, LinkType, Received, Source};
use crate::metrics::CounterMemory;
use crate::sys::socket;
use crate::units::Timestamp;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Where the interface's watcher and the queue's source meet; the worker only ever tries the locks.
pub(super) struct Slot {
    /// A source is alive for this queue.
    pub(super) open: AtomicBool,
    /// No more frames will come: the socket is out of the map, and every softirq that knew it is over.
    stopped: AtomicBool,
    /// The queue is being stopped, or was: no new socket may go into the map.
    stopping: AtomicBool,
    /// Why the queue has no socket though it is open; the watcher tries again.
    pub(super) waiting: Mutex<Option<String>>,
    /// The interface has gone: give the rings up once they are empty.
    pub(super) gone: AtomicBool,
    /// Index of the interface that the queue's newest socket is bound to.
    pub(super) bound_to: AtomicU32,
    has_new: AtomicBool,
    new: Mutex<Option<Rings>>,
    /// Rings given up; freed by the watcher, for unmapping takes time a worker has not.
    old: Mutex<Vec<Rings>>,
    pub(super) facts: Mutex<Option<QueueFacts>>,
}

impl Slot {
    /// A slot without a source. Giving rings up must not allocate, so there is room for more than can ever wait.
    pub(super) fn new() -> Slot {
        Slot {
            open: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            waiting: Mutex::new(None),
            gone: AtomicBool::new(false),
            bound_to: AtomicU32::new(0),
            has_new: AtomicBool::new(false),
            new: Mutex::new(None),
            old: Mutex::new(Vec::with_capacity(4)),
            facts: Mutex::new(None),
        }
    }

    /// Leaves rings for the source to take over at its next `maintain`.
    pub(super) fn deliver(&self, rings: Rings) {
        *lock(&self.facts) = Some(rings.facts().clone());
        *lock(&self.new) = Some(rings);
        self.has_new.store(true, Release);
    }

    /// Frees what the source gave up.
    pub(super) fn bury(&self) {
        // One at a time, so that neither the lock is held nor the list's memory given away while a mapping goes.
        while let Some(rings) = { lock(&self.old).pop() } {
            drop(rings);
        }
    }

    /// Makes the slot ready for a new source.
    pub(super) fn reset(&self) {
        self.stopped.store(false, Release);
        self.stopping.store(false, SeqCst);
        *lock(&self.waiting) = None;
        self.gone.store(false, Release);
        self.has_new.store(false, Release);
        *lock(&self.new) = None;
    }

    /// Whether the queue was stopped for good.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Acquire)
    }

    /// Whether the queue is being stopped, or was.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }
}

/// The books are kept even where a thread panicked while it held the lock: all of them are whole values.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Ends a queue's intake from another thread.
pub struct StopHandle {
    slot: Arc<Slot>,
    sockets: SocketMap,
    queue: u32,
}

impl StopHandle {
    /// Takes the socket out of the map and waits (some ten milliseconds) until no softirq can still be bringing a frame.
    /// The worker goes on; its source says `ended` when it has given the last frame, and nothing is lost.
    pub fn stop(&self) {
        // Before the map is emptied: the watcher looks at it after it has put a socket there.
        self.slot.stopping.store(true, SeqCst);
        self.sockets.remove(self.queue);
        if !socket::wait_for_softirqs() {
            // nohz_full kernels refuse the barrier; a softirq runs for some milliseconds at most.
            std::thread::sleep(Duration::from_millis(50));
        }
        self.slot.stopped.store(true, Release);
    }
}

/// The AF_XDP socket of one queue, with the ring of copies where the interface is shared.
///
/// Owned by one worker at a time and free to move between them. Dropping it takes the socket out of the map and closes
/// it; frames still in its ring are counted as `abandoned` ([`StopHandle::stop`] first avoids that).
pub struct XdpSource {
    pub(super) rings: Option<Rings>,
    pub(super) mirror: Option<Mirror>,
    pub(super) maps: Arc<CounterMaps>,
    pub(super) slot: Arc<Slot>,
    pub(super) sockets: SocketMap,
    pub(super) queue: u32,
    pub(super) capacity: u32,
    pub(super) busy_poll: bool,
    /// What the queue's former sockets had counted.
    pub(super) base: [u64; 6],
    pub(super) idle: bool,
}

const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<XdpSource>();
};

/// The six statistics, in the order of [`Rings::statistics`].
const STATISTICS: [Cell; 6] = [
    Cell::RxDropped,
    Cell::RxInvalidDescs,
    Cell::TxInvalidDescs,
    Cell::RxRingFull,
    Cell::RxFillRingEmptyDescs,
    Cell::TxRingEmptyDescs,
];

impl XdpSource {
    /// Number of the queue on its interface.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// What the queue's present socket got; `None` while the interface is away.
    pub fn facts(&self) -> Option<&QueueFacts> {
        self.rings.as_ref().map(Rings::facts)
    }

    /// Memory for the worker's counters of this queue that outlives the process.
    pub fn counter_memory(&self) -> Arc<dyn CounterMemory> {
        Arc::new(WorkerCounters { maps: Arc::clone(&self.maps), queue: self.queue })
    }

    /// Ends the intake later, from another thread.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn stop_handle(&self) -> std::io::Result<StopHandle> {
        Ok(StopHandle { slot: Arc::clone(&self.slot), sockets: self.sockets.again()?, queue: self.queue })
    }

    /// Copies the socket's statistics to where they outlive it.
    fn publish_statistics(&mut self) {
        let Some(rings) = &mut self.rings else { return };
        if let Ok(values) = rings.statistics() {
            for ((cell, base), value) in STATISTICS.into_iter().zip(self.base).zip(values) {
                self.maps.set_cell(self.queue, cell, base.wrapping_add(value));
            }
        }
        self.maps.set_cell(self.queue, Cell::Waiting, u64::from(rings.waiting()));
    }

    /// Lets rings go to be freed elsewhere, or here if the watcher is just looking.
    fn give_up(&mut self) {
        self.publish_statistics();
        self.base = STATISTICS.map(|cell| self.maps.cell(self.queue, cell));
        if let Some(rings) = self.rings.take()
            && let Ok(mut old) = self.slot.old.try_lock()
        {
            old.push(rings);
        }
    }

    /// Takes over the rings of an interface that came back, or gives up those of one that went.
    fn rearm(&mut self) {
        let empty = match &mut self.rings {
            Some(rings) => rings.held() == 0 && rings.waiting() == 0,
            None => true,
        };
        if !empty {
            return;
        }
        if self.slot.has_new.load(Acquire) {
            let Ok(mut new) = self.slot.new.try_lock() else { return };
            let taken = new.take();
            self.slot.has_new.store(false, Release);
            drop(new);
            if let Some(rings) = taken {
                self.give_up();
                self.capacity = rings.facts().ring_entries;
                self.busy_poll = rings.polls();
                self.rings = Some(rings);
            }
        } else if self.rings.is_some() && self.slot.gone.load(Acquire) {
            self.give_up();
        }
    }

    fn nothing_waits(&mut self) -> bool {
        self.rings.as_mut().is_none_or(|rings| rings.waiting() == 0)
            && self.mirror.as_ref().is_none_or(Mirror::is_empty)
    }

    fn mirror_held(&self) -> usize {
        self.mirror.as_ref().map_or(0, Mirror::held)
    }
}

impl Source for XdpSource {
    #[inline]
    fn receive(&mut self, cap: usize) -> Received {
        let mut received = Received { capacity: self.capacity, ..Received::default() };
        if self.mirror_held() > 0 || self.rings.as_ref().is_some_and(|rings| rings.held() > 0) {
            return received; // the burst before was not released
        }
        // Before the rings are looked at: what `stopped` promises holds for everything that was there when it was set.
        let stopped = self.slot.is_stopped();
        let cap = cap.min(BURST_MAX);
        if let Some(mirror) = &mut self.mirror {
            let copies = mirror.take(cap);
            if copies > 0 {
                self.maps.add_cell(self.queue, Cell::MirrorFrames, copies as u64);
                received.count += copies;
                received.waiting += copies as u32;
            }
        }
        if let Some(rings) = &mut self.rings {
            received.waiting += rings.waiting();
            let (frames, impossible) = rings.take(cap - received.count);
            if frames > 0 {
                self.maps.add_cell(self.queue, Cell::RingFrames, frames as u64);
                received.count += frames;
                self.idle = false;
            }
            if impossible > 0 {
                self.maps.add_cell(self.queue, Cell::InvalidDescriptors, impossible);
            }
        }
        received.ended = stopped && received.count == 0 && !self.slot.has_new.load(Acquire);
        received
    }

    #[inline(always)]
    fn frame(&self, index: usize) -> FrameView<'_> {
        let copies = self.mirror_held();
        let (bytes, wire_bytes) = if index < copies {
            self.mirror.as_ref().map_or((&[][..], 0), |mirror| mirror.frame(index))
        } else {
            let bytes = self.rings.as_ref().map_or(&[][..], |rings| rings.frame(index - copies));
            (bytes, bytes.len() as u32)
        };
        FrameView { port: 0, bytes, wire_bytes, time: None, link: LinkType::Ethernet }
    }

    #[inline(always)]
    fn prefetch(&self, index: usize) {
        let copies = self.mirror_held();
        if let (Some(rings), Some(index)) = (&self.rings, index.checked_sub(copies)) {
            rings.prefetch(index);
        }
    }

    #[inline]
    fn release(&mut self) {
        if let Some(mirror) = &mut self.mirror
            && mirror.held() > 0
        {
            mirror.release();
        }
        if let Some(rings) = &mut self.rings {
            rings.release();
        }
    }

    fn wait(&mut self, limit: Duration) {
        let Some(rings) = &mut self.rings else {
            std::thread::sleep(limit);
            return;
        };
        if self.busy_poll {
            let begin = Instant::now();
            loop {
                rings.wake();
                let copies = self.mirror.as_ref().is_some_and(|mirror| !mirror.is_empty());
                if rings.waiting() > 0 || copies || begin.elapsed() >= limit {
                    return;
                }
            }
        }
        // poll() on an AF_XDP socket also wakes a driver that sleeps.
        let copies = self.mirror.as_ref().map_or(-1, Mirror::descriptor);
        socket::wait_readable(rings.descriptor(), copies, limit);
    }

    fn descriptors(&self) -> Option<[RawFd; 2]> {
        if self.busy_poll && self.rings.is_some() {
            return None;
        }
        // poll() also wakes a driver that sleeps. Without rings nothing comes, and the wait's limit ends it.
        let socket = self.rings.as_ref().map_or(-1, Rings::descriptor);
        Some([socket, self.mirror.as_ref().map_or(-1, Mirror::descriptor)])
    }

    fn maintain(&mut self, _now: Timestamp) {
        if self.idle
            && let Some(rings) = &self.rings
        {
            // Some drivers stay asleep after the fill ring ran empty until somebody asks.
            rings.revive();
        }
        self.idle = true;
        self.publish_statistics();
        self.rearm();
    }
}

impl Drop for XdpSource {
    fn drop(&mut self) {
        if !self.slot.is_stopped() {
            self.sockets.remove(self.queue);
            socket::wait_for_softirqs();
        }
        self.release();
        if !self.nothing_waits()
            && let Some(rings) = &mut self.rings
        {
            let left = rings.waiting();
            self.maps.add_cell(self.queue, Cell::Abandoned, u64::from(left));
        }
        self.publish_statistics();
        self.maps.set_cell(self.queue, Cell::Waiting, 0);
        self.maps.set_cell(self.queue, Cell::Open, 0);
        drop(self.rings.take());
        if let Some(mut new) = lock(&self.slot.new).take() {
            self.maps.add_cell(self.queue, Cell::Abandoned, u64::from(new.waiting()));
        }
        *lock(&self.slot.facts) = None;
        *lock(&self.slot.waiting) = None;
        self.slot.open.store(false, Release);
    }
}
