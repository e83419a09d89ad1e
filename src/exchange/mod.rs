//! The three doors between the planes, and nothing else: findings up, metrics up, commands and settings down.
//!
//! All are bounded single-producer single-consumer rings (`rtrb`). Nothing on the control side can make a worker wait:
//! live, a full ring is counted (`exchange_full`) and passed over; offline ([`Full::Wait`]) the worker yields until
//! there is room, because a capture file can wait and its alerts must not depend on the machine.

mod census;
mod items;
mod snapshot;
mod swap;
mod wake;

pub use census::{CensusMark, CensusStep};
pub use items::{EventHead, FlowSummary, Proved, Up};
pub use snapshot::{Reset, SnapshotReceiver, SnapshotSender, snapshot_ring};
pub use swap::{SwapReceiver, SwapSender, swap_ring};
pub use wake::Wake;

use crate::dataplane::decode::Outer;
use crate::dataplane::detect::WindowEntry;
use crate::dataplane::inspect;
use crate::units::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What to do when a ring up is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// Live: count the loss and go on.
    Count,
    /// Offline: yield until there is room.
    Wait,
}

/// Sending end of a queue's ring up.
///
/// Live, findings come before flows: what exports them fills the ring only up to its room for findings, so that a flood of
/// ended flows costs their history and no alert.
pub struct UpSender {
    ring: rtrb::Producer<Up>,
    facts: rtrb::Producer<u8>,
    full: Full,
    /// Slots that are kept free of ended flows.
    kept_from_flows: usize,
    /// Slots that are kept free of events of inspection.
    kept_from_events: usize,
    /// Slots that are kept free of a census.
    kept_from_census: usize,
    /// The latest census asked for.
    asked: Arc<AtomicU64>,
    wake: Arc<Wake>,
    lost: u64,
    flows_lost: u64,
    /// As `flows_lost`, since the start.
    untold: Arc<AtomicU64>,
}

impl UpSender {
    /// Sends or counts, never waits unless the queue is offline.
    #[inline(always)]
    pub fn send(&mut self, item: Up) {
        self.send_made(|place| *place = item);
    }

    /// The same of a window: most of what is sent are these, and they are written where they belong.
    #[inline]
    pub fn send_window(&mut self, entry: &WindowEntry) {
        self.send_made(|place| *place = Up::Window(*entry));
    }

    /// Lets `make` write an item in its place: the chunk's is written where it lies, and a push that may give it back copies it
    /// twice more.
    #[inline(always)]
    fn send_made(&mut self, make: impl FnOnce(&mut Up)) {
        loop {
            if let Ok(mut chunk) = self.ring.write_chunk(1) {
                if let Some(place) = chunk.as_mut_slices().0.first_mut() {
                    make(place);
                }
                return chunk.commit_all();
            }
            if self.full == Full::Count || self.ring.is_abandoned() {
                self.lost += 1;
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Sends what makes a finding richer, where that takes no room from findings; `false`: it was not sent.
    pub fn send_aside(&mut self, item: Up) -> bool {
        if self.full == Full::Count && self.ring.slots() <= self.kept_from_flows {
            return false;
        }
        self.send(item);
        true
    }

    /// Sends a flow that ended, where that takes no room from findings.
    pub fn send_flow(&mut self, flow: FlowSummary) {
        if self.full == Full::Count && self.ring.slots() <= self.kept_from_flows {
            self.flows_lost += 1;
            // Before the watermark that stands behind them; one queue counts here, so this is no contest.
            self.untold.fetch_add(1, Relaxed);
            return;
        }
        self.send(Up::Flow(flow));
    }

    /// Room for `count` bytes of facts and an item; `false`: there is none and nobody may wait.
    fn has_room(&self, count: usize) -> bool {
        if self.full == Full::Count {
            return self.facts.slots() >= count && self.ring.slots() > self.kept_from_events;
        }
        while self.facts.slots() < count || self.ring.is_full() {
            if self.ring.is_abandoned() {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }

    /// Wakes who receives, if somebody sleeps: for what must not wait. A system call only then.
    #[inline]
    pub fn wake(&self) {
        self.wake.ring();
    }

    /// Items lost since the last call.
    #[inline]
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Ended flows given up for findings since the last call.
    #[inline]
    pub fn take_flows_lost(&mut self) -> u64 {
        std::mem::take(&mut self.flows_lost)
    }
}

/// An item in the ring.
pub struct Received<'a> {
    /// The item.
    pub item: &'a Up,
    /// Facts of the latest event, which the item is or which came before it.
    pub facts: &'a [u8],
    /// The item is a watermark, and ended flows were given up for findings since the one before.
    pub untold: bool,
}

/// Receiving end of a queue's ring up.
pub struct UpReceiver {
    ring: rtrb::Consumer<Up>,
    facts: rtrb::Consumer<u8>,
    /// The latest census asked for.
    asked: Arc<AtomicU64>,
    wake: Arc<Wake>,
    /// Facts of the latest event.
    latest: Vec<u8>,
    /// Ended flows that were given up, since the start; and how many of them somebody was told of.
    untold: Arc<AtomicU64>,
    untold_before: u64,
}

impl UpReceiver {
    /// Shows the next item to `look` where it lies in the ring, if there is one: an item is 450 bytes, and copied by nobody who does
    /// not keep it.
    pub fn receive<R>(&mut self, look: impl FnOnce(Received<'_>) -> R) -> Option<R> {
        let chunk = self.ring.read_chunk(1).ok()?;
        let item = chunk.as_slices().0.first()?;
        let mut untold = false;
        match item {
            Up::Event(head) => {
                self.latest.clear();
                // Written before the item: they are there.
                if let Ok(facts) = self.facts.read_chunk(usize::from(head.bytes)) {
                    self.latest.extend(facts);
                }
            }
            Up::Watermark(..) => {
                let given_up = self.untold.load(Relaxed);
                untold = std::mem::replace(&mut self.untold_before, given_up) != given_up;
            }
            _ => {}
        }
        let looked = look(Received { item, facts: &self.latest, untold });
        chunk.commit_all();
        Some(looked)
    }

    /// From here on the calling thread is woken for what must not wait.
    pub fn wake_me(&self) {
        self.wake.register();
    }

    /// The sender is gone; what is still in the ring can be received.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }

    /// Items waiting.
    pub fn waiting(&self) -> usize {
        self.ring.slots()
    }
}

/// Bytes of facts on their way up: 250 of the largest events, thousands of usual ones.
const FACTS_RING: usize = 1 << 20;

/// Ring for findings: `capacity` items of some 450 bytes, and facts of 1 MiB.
pub fn up_ring(capacity: usize, full: Full) -> (UpSender, UpReceiver) {
    let (producer, consumer) = rtrb::RingBuffer::new(capacity);
    let (facts_in, facts_out) = rtrb::RingBuffer::new(FACTS_RING);
    let latest = Vec::with_capacity(inspect::FACTS_BYTES);
    let asked = Arc::new(AtomicU64::new(0));
    let untold = Arc::new(AtomicU64::new(0));
    let wake = Arc::new(Wake::default());
    (
        UpSender {
            ring: producer,
            facts: facts_in,
            full,
            kept_from_flows: capacity / 2,
            kept_from_events: capacity / 8,
            kept_from_census: capacity - capacity / 4,
            asked: Arc::clone(&asked),
            wake: Arc::clone(&wake),
            lost: 0,
            flows_lost: 0,
            untold: Arc::clone(&untold),
        },
        UpReceiver { ring: consumer, facts: facts_out, asked, wake, latest, untold, untold_before: 0 },
    )
}

impl UpSender {
    /// An event about a flow that has `outer` round it, known at `told`, or with its packet. Sent or counted as
    /// [`UpSender::send`] does, its facts with it or not at all.
    pub fn event(&mut self, event: &inspect::Event<'_>, outer: Option<Outer>, told: Option<Timestamp>) {
        let count = event.facts.len();
        if !self.has_room(count) {
            self.lost += 1;
            return;
        }
        if let Ok(chunk) = self.facts.write_chunk_uninit(count) {
            chunk.fill_from_iter(event.facts.iter().copied());
        }
        self.send(Up::Event(EventHead {
            time: event.time,
            told: told.map_or(event.time, |told| told.max(event.time)),
            key: event.key,
            originator: event.originator,
            sender: event.sender,
            first_seen: event.first_seen,
            protocol: event.protocol,
            anomaly: event.anomaly,
            truncated: event.truncated,
            bytes: count as u16, // facts are shorter than 64 KiB
            icmp: event.icmp,
            outer,
            through_proxy: event.through_proxy,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::decode::{Direction, FlowKey};
    use crate::dataplane::flow::Side;
    use crate::dataplane::inspect::Protocol;
    use crate::units::QueueId;

    fn next(down: &mut UpReceiver) -> Option<Up> {
        down.receive(|received| *received.item)
    }

    #[test]
    fn a_full_ring_counts_live_and_keeps_order() {
        let (mut up, mut down) = up_ring(2, Full::Count);
        for time in 0..5 {
            up.send(Up::Watermark(QueueId(0), Timestamp(time)));
        }
        assert_eq!(up.take_lost(), 3);
        assert!(matches!(next(&mut down), Some(Up::Watermark(_, Timestamp(0)))));
        assert!(matches!(next(&mut down), Some(Up::Watermark(_, Timestamp(1)))));
        assert!(next(&mut down).is_none());
    }

    /// Over the end of a small ring, written over what lay there before; and a full one counts it.
    #[test]
    fn windows_come_out_as_they_went_in() {
        use crate::dataplane::detect::{Counts, Entity, TunnelMark};
        let (mut up, mut down) = up_ring(3, Full::Count);
        let entry = |number: u64| {
            let mut counts = Counts::ZERO;
            counts.add(0, number as u32);
            let entity = Entity::Source(u128::from(number) << 64);
            WindowEntry { start: Timestamp(number), entity, counts, mark: TunnelMark(number) }
        };
        for number in 0..10 {
            up.send_window(&entry(number));
            up.send(Up::Ended(QueueId(number as u16)));
            up.send_window(&entry(number + 100));
            up.send_window(&entry(number + 200));
            assert_eq!(up.take_lost(), 1);
            assert!(matches!(next(&mut down), Some(Up::Window(found)) if found == entry(number)));
            assert!(matches!(next(&mut down), Some(Up::Ended(QueueId(found))) if u64::from(found) == number));
            assert!(matches!(next(&mut down), Some(Up::Window(found)) if found == entry(number + 100)));
            assert!(next(&mut down).is_none());
        }
    }

    /// Whatever else fills the ring, findings have their room; and a file waits for all of them.
    #[test]
    fn flows_and_events_leave_room_for_findings() {
        use crate::dataplane::inspect::Event;
        let event = Event {
            time: Timestamp(0),
            key: FlowKey::default(),
            originator: Direction::Forward,
            sender: Side::Originator,
            first_seen: None,
            protocol: Protocol::Dns,
            anomaly: None,
            facts: &[1],
            truncated: false,
            icmp: None,
            through_proxy: false,
        };
        let (mut up, mut down) = up_ring(64, Full::Count);
        (0..100).for_each(|_| up.send_flow(FlowSummary::default()));
        assert_eq!((up.take_flows_lost(), up.take_lost()), (68, 0), "half of the ring");
        (0..100).for_each(|_| up.event(&event, None, None));
        assert_eq!((up.take_flows_lost(), up.take_lost()), (0, 76), "seven eighths of it");
        (0..9).for_each(|time| up.send(Up::Watermark(QueueId(0), Timestamp(time))));
        assert_eq!(up.take_lost(), 1, "the rest is the findings'");
        let mut kinds = String::new();
        let mut kind = |received: Received<'_>| {
            kinds.push(match (received.item, received.untold) {
                (Up::Flow(_), false) => 'f',
                (Up::Event(_), false) => 'e',
                (_, true) => 'u',
                _ => 'w',
            });
        };
        while down.receive(&mut kind).is_some() {}
        let wanted = format!("{}{}u{}", "f".repeat(32), "e".repeat(24), "w".repeat(7));
        assert_eq!(kinds, wanted, "that flows were given up is told once, with the first watermark after them");
        let (mut up, mut down) = up_ring(8, Full::Wait);
        let sending = std::thread::spawn(move || (0..100).for_each(|_| up.send_flow(FlowSummary::default())));
        let mut received = 0;
        while received < 100 {
            received += u32::from(next(&mut down).is_some());
        }
        sending.join().expect("the sender ends well");
    }

    /// Facts belong to their event, however the two ends take turns.
    #[test]
    fn facts_come_with_their_event() {
        use crate::dataplane::inspect::Event;
        const EVENTS: u32 = 20_000;
        let (mut up, mut down) = up_ring(64, Full::Wait);
        let sending = std::thread::spawn(move || {
            for number in 0..EVENTS {
                let facts = number.to_be_bytes().repeat(number as usize % 9);
                up.event(
                    &Event {
                        time: Timestamp(number.into()),
                        key: FlowKey::default(),
                        originator: Direction::Forward,
                        sender: Side::Originator,
                        first_seen: None,
                        protocol: Protocol::Dns,
                        anomaly: None,
                        facts: &facts,
                        truncated: false,
                        icmp: None,
                        through_proxy: false,
                    },
                    None,
                    None,
                );
                up.send(Up::Watermark(QueueId(0), Timestamp(number.into())));
            }
        });
        let mut wanted = 0;
        while wanted < EVENTS {
            let received = down.receive(|received| {
                if let Up::Event(head) = received.item {
                    assert_eq!(head.time, Timestamp(wanted.into()));
                    assert_eq!(received.facts, wanted.to_be_bytes().repeat(wanted as usize % 9));
                    wanted += 1;
                }
            });
            if received.is_none() {
                std::hint::spin_loop();
            }
        }
        sending.join().expect("the sender ends well");
    }
}
