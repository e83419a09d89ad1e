//! The three doors between the planes, and nothing else: findings up, metrics up, commands and settings down.
//!
//! All are bounded single-producer single-consumer rings (`rtrb`). Nothing on the control side can make a worker wait:
//! live, a full ring is counted (`exchange_full`) and passed over; offline ([`Full::Wait`]) the worker yields until
//! there is room, because a capture file can wait and its alerts must not depend on the machine.

mod census;
mod swap;

pub use census::{CensusMark, CensusStep};
pub use swap::{SwapReceiver, SwapSender, swap_ring};

use crate::dataplane::decode::{
    Direction, FlowKey, Neighbour, Outer, Stack, community_id, community_id_of_sides, flow_id, tcp_flags,
};
use crate::dataplane::detect::{ScoredFlow, SeenIn, WindowEntry};
use crate::dataplane::features::encrypted::{Losses, Shape};
use crate::dataplane::flow::{EndReason, Side, TcpState};
use crate::dataplane::inspect::{self, Protocol, Unread};
use crate::units::{QueueId, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One thing a queue tells the control plane. Order is kept within a queue.
#[derive(Clone, Copy, Debug)]
pub enum Up {
    /// Counts of one entity in one window.
    Window(WindowEntry),
    /// In which tunnel the entity of the window that follows was seen last.
    SeenIn(SeenIn),
    /// A score that reached the threshold.
    Score(ScoredFlow),
    /// A flow ended; sent while someone exports flows, and of those that were answered also while someone wants events.
    Flow(FlowSummary),
    /// A flow lives; sent in a census, between its two marks.
    Living(FlowSummary),
    /// How far a census is.
    Census(CensusMark),
    /// Inspection found something; its facts are [`UpReceiver::facts`] until the next item is received.
    Event(EventHead),
    /// A host on the link said that it has an address; sent only while someone wants events, and not at every repeat.
    Neighbour(Timestamp, Neighbour),
    /// Everything of this queue up to this moment of capture time has been sent.
    Watermark(QueueId, Timestamp),
    /// The queue's source has ended and everything has been sent.
    Ended(QueueId),
}

/// What a place of the ring holds until an item is written there; never received. Of all items one that takes two stores.
impl Default for Up {
    fn default() -> Up {
        Up::Ended(QueueId(0))
    }
}

/// What a flow came to, for EVE, `conn.log` and `/v1/flows`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowSummary {
    /// Canonical 5-tuple.
    pub key: FlowKey,
    /// Which way of the key the originator sends.
    pub originator: Direction,
    /// The originator did not send the first packet seen: what the flow carried tells that it asked.
    pub is_turned: bool,
    /// First packet.
    pub first_seen: Timestamp,
    /// Latest packet.
    pub last_seen: Timestamp,
    /// Packets from originator and responder.
    pub packets: [u64; 2],
    /// Layer-2 bytes from originator and responder.
    pub bytes: [u64; 2],
    /// Bytes of transport payload from originator and responder, what was sent twice counted twice.
    pub payload: [u64; 2],
    /// Payload of the responder after the first eight packets with payload of both, bytes: of SSH what it says after the key exchange.
    /// Too little by up to 15 for each of its packets among them.
    pub later_answer: u64,
    /// Of TCP: first window of originator and responder, bytes, unscaled, within an eighth; 0 where none was seen.
    pub first_windows: [u16; 2],
    /// Or of all TCP flags from originator and responder.
    pub tcp_flags: [u8; 2],
    /// Type and code of the first packet of originator and responder, where it is ICMP or ICMPv6 and they sent one.
    pub icmp: [Option<(u8, u8)>; 2],
    /// Of TCP: originator and responder have acknowledged without payload, as far as their first packets tell.
    pub acknowledged: [bool; 2],
    /// The first FIN or RST was the responder's.
    pub responder_closed_first: bool,
    /// The first payload was the responder's, as far as the first packets tell.
    pub responder_spoke_first: bool,
    /// Latest model score; 0 if it was never scored.
    pub score: f32,
    /// What it carried, as far as inspection told.
    pub application: Protocol,
    /// What it was before it turned into that (STARTTLS, an upgrade, a proxy's tunnel), the first of several; unknown: it did not.
    pub began_as: Protocol,
    /// How far its life has come.
    pub state: TcpState,
    /// Why it ended; `None` while it lives.
    pub ended: Option<EndReason>,
    /// Moment by which that was known (last packet plus time-out), however late it was noticed: what orders the flows of all
    /// queues. 0 while it lives.
    pub ended_at: Timestamp,
    /// What was round its first packet, where it is in a tunnel.
    pub outer: Option<Outer>,
    /// What its first packets looked like; `None` while it lives, or where that was not kept.
    pub shape: Option<Shape>,
    /// What of it was lost or repeated, as far as it was inspected; `None` where that was not kept.
    pub losses: Option<Losses>,
    /// Why inspection has not read it wholly, where it should have.
    pub unread: Unread,
    /// Whose SYNs it began with, originator and responder; told when it has ended.
    pub stacks: [Stack; 2],
}

impl FlowSummary {
    /// Number of this flow and of no other.
    pub fn flow_id(&self) -> u64 {
        flow_id(&self.key, self.first_seen)
    }

    /// A SYN was answered: the responder's port is open.
    pub fn has_handshake(&self) -> bool {
        let both = tcp_flags::SYN | tcp_flags::ACK;
        self.key.protocol() == 6 && self.tcp_flags[1] & both == both
    }

    /// Both sides spoke, and it was no refusal.
    pub fn is_answered(&self) -> bool {
        let has_data = self.payload.iter().all(|bytes| *bytes > 0);
        match self.key.protocol() {
            6 => has_data || self.has_handshake(),
            17 => has_data,
            1 | 58 => self.packets.iter().all(|count| *count > 0),
            _ => false,
        }
    }

    /// Community ID; of ICMP by what the originator sent, or the responder where only he was seen.
    pub fn community_id(&self) -> String {
        community_id_of_sides(&self.key, self.originator, self.icmp)
    }
}

/// An event of [`inspect`] without its facts.
#[derive(Clone, Copy, Debug)]
pub struct EventHead {
    /// Capture time of the packet that completed it.
    pub time: Timestamp,
    /// Moment by which it was known: later than `time` where only the flow's end told that it was complete.
    pub told: Timestamp,
    /// Canonical 5-tuple.
    pub key: FlowKey,
    /// Which way of the key the originator sends.
    pub originator: Direction,
    /// Who says it, or sent what is odd; of a request with its answer who asked.
    pub sender: Side,
    /// When the flow began; `None`: it is about a packet without one.
    pub first_seen: Option<Timestamp>,
    /// What the flow is.
    pub protocol: Protocol,
    /// An anomaly by protocol and number; `None`: the facts are an event.
    pub anomaly: Option<(Protocol, u8)>,
    /// A fact was cut or left out.
    pub truncated: bool,
    /// Bytes of the facts.
    pub bytes: u16,
    /// Type and code of what the originator sends, where it is ICMP or ICMPv6 and that is known: not of fragments.
    pub icmp: Option<(u8, u8)>,
    /// What was round the flow's first packet, where it is in a tunnel.
    pub outer: Option<Outer>,
    /// A proxy passes it on (HTTP `CONNECT`, SOCKS): who answers is not the flow's responder.
    pub through_proxy: bool,
}

impl EventHead {
    /// Number of its flow; `None` of a packet without one.
    pub fn flow_id(&self) -> Option<u64> {
        self.first_seen.map(|first_seen| flow_id(&self.key, first_seen))
    }

    /// Community ID of its flow; `None` of a fragment of ICMP, of which the type is not known.
    pub fn community_id(&self) -> Option<String> {
        let is_known = self.icmp.is_some() || !matches!(self.key.protocol(), 1 | 58);
        is_known.then(|| community_id(&self.key, self.originator, self.icmp))
    }
}

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

/// Receiving end of a queue's ring up.
pub struct UpReceiver {
    ring: rtrb::Consumer<Up>,
    facts: rtrb::Consumer<u8>,
    /// The latest census asked for.
    asked: Arc<AtomicU64>,
    /// Facts of the latest event.
    latest: Vec<u8>,
    /// Ended flows that were given up, since the start; and how many of them somebody was told of.
    untold: Arc<AtomicU64>,
    untold_before: u64,
}

impl UpReceiver {
    /// The next item, if there is one.
    pub fn receive(&mut self) -> Option<Up> {
        // Copied once, from its place into what is returned: an item is 450 bytes.
        let chunk = self.ring.read_chunk(1).ok()?;
        let item = chunk.as_slices().0.first()?;
        if let Up::Event(head) = item {
            self.latest.clear();
            // Written before the item: they are there.
            if let Ok(facts) = self.facts.read_chunk(usize::from(head.bytes)) {
                self.latest.extend(facts);
            }
        }
        let item = Some(*item);
        chunk.commit_all();
        item
    }

    /// Were ended flows given up for findings since the last call? Of those that ended before a watermark it is known when that
    /// has been received.
    pub fn has_untold(&mut self) -> bool {
        let untold = self.untold.load(Relaxed);
        std::mem::replace(&mut self.untold_before, untold) != untold
    }

    /// Facts of the latest [`Up::Event`].
    pub fn facts(&self) -> &[u8] {
        &self.latest
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
    (
        UpSender {
            ring: producer,
            facts: facts_in,
            full,
            kept_from_flows: capacity / 2,
            kept_from_events: capacity / 8,
            kept_from_census: capacity - capacity / 4,
            asked: Arc::clone(&asked),
            lost: 0,
            flows_lost: 0,
            untold: Arc::clone(&untold),
        },
        UpReceiver { ring: consumer, facts: facts_out, asked, latest, untold, untold_before: 0 },
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

/// Something that can be emptied in place, so that its memory goes round and round.
pub trait Reset {
    /// Forgets the content and keeps the memory.
    fn reset(&mut self);
}

/// Worker's end of a snapshot ring: full boxes up, empty ones back; the worker neither allocates nor frees.
pub struct SnapshotSender<T> {
    up: rtrb::Producer<Box<T>>,
    back: rtrb::Consumer<Box<T>>,
}

impl<T> SnapshotSender<T> {
    /// Gives `current` up and leaves an empty one in its place; `false` if the reader has not returned one yet.
    pub fn swap(&mut self, current: &mut Box<T>) -> bool {
        if self.up.is_full() {
            return false;
        }
        let Ok(empty) = self.back.pop() else { return false };
        let full = std::mem::replace(current, empty);
        match self.up.push(full) {
            Ok(()) => true,
            // Cannot happen: room was seen above and we are the only producer. The box is kept all the same.
            Err(rtrb::PushError::Full(full)) => {
                *current = full;
                false
            }
        }
    }
}

/// Reader's end: looks at what came, empties it and sends it back.
pub struct SnapshotReceiver<T> {
    up: rtrb::Consumer<Box<T>>,
    back: rtrb::Producer<Box<T>>,
}

impl<T: Reset> SnapshotReceiver<T> {
    /// Shows every snapshot that arrived to `each`, oldest first.
    pub fn drain(&mut self, mut each: impl FnMut(&T)) {
        while let Ok(mut full) = self.up.pop() {
            each(&full);
            full.reset();
            if self.back.push(full).is_err() {
                return;
            }
        }
    }
}

/// A pair of ends with `spare` on its way as the one to swap in.
pub fn snapshot_ring<T>(spare: Box<T>) -> (SnapshotSender<T>, SnapshotReceiver<T>) {
    let (up_producer, up_consumer) = rtrb::RingBuffer::new(2);
    let (mut back_producer, back_consumer) = rtrb::RingBuffer::new(2);
    // An empty ring of two has room for one; were it not so, the ring would just never swap.
    let _ = back_producer.push(spare);
    (SnapshotSender { up: up_producer, back: back_consumer }, SnapshotReceiver { up: up_consumer, back: back_producer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_counts_live_and_keeps_order() {
        let (mut up, mut down) = up_ring(2, Full::Count);
        for time in 0..5 {
            up.send(Up::Watermark(QueueId(0), Timestamp(time)));
        }
        assert_eq!(up.take_lost(), 3);
        assert!(matches!(down.receive(), Some(Up::Watermark(_, Timestamp(0)))));
        assert!(matches!(down.receive(), Some(Up::Watermark(_, Timestamp(1)))));
        assert!(down.receive().is_none());
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
            assert!(matches!(down.receive(), Some(Up::Window(found)) if found == entry(number)));
            assert!(matches!(down.receive(), Some(Up::Ended(QueueId(found))) if u64::from(found) == number));
            assert!(matches!(down.receive(), Some(Up::Window(found)) if found == entry(number + 100)));
            assert!(down.receive().is_none());
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
        assert!(!down.has_untold());
        (0..100).for_each(|_| up.send_flow(FlowSummary::default()));
        assert_eq!((up.take_flows_lost(), up.take_lost()), (68, 0), "half of the ring");
        assert!(down.has_untold() && !down.has_untold(), "told once");
        (0..100).for_each(|_| up.event(&event, None, None));
        assert_eq!((up.take_flows_lost(), up.take_lost()), (0, 76), "seven eighths of it");
        (0..9).for_each(|time| up.send(Up::Watermark(QueueId(0), Timestamp(time))));
        assert_eq!(up.take_lost(), 1, "the rest is the findings'");
        let kinds: Vec<char> = std::iter::from_fn(|| down.receive())
            .map(|item| match item {
                Up::Flow(_) => 'f',
                Up::Event(_) => 'e',
                _ => 'w',
            })
            .collect();
        assert_eq!(kinds.iter().collect::<String>(), format!("{}{}{}", "f".repeat(32), "e".repeat(24), "w".repeat(8)));
        let (mut up, mut down) = up_ring(8, Full::Wait);
        let sending = std::thread::spawn(move || (0..100).for_each(|_| up.send_flow(FlowSummary::default())));
        let mut received = 0;
        while received < 100 {
            received += u32::from(down.receive().is_some());
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
            let Some(item) = down.receive() else {
                std::hint::spin_loop();
                continue;
            };
            if let Up::Event(head) = item {
                assert_eq!(head.time, Timestamp(wanted.into()));
                assert_eq!(down.facts(), wanted.to_be_bytes().repeat(wanted as usize % 9));
                wanted += 1;
            }
        }
        sending.join().expect("the sender ends well");
    }

    #[test]
    fn snapshots_travel_and_come_back_empty() {
        struct Count(u64);
        impl Reset for Count {
            fn reset(&mut self) {
                self.0 = 0;
            }
        }
        let (mut up, mut down) = snapshot_ring(Box::new(Count(0)));
        let mut current = Box::new(Count(0));
        let mut total = 0;
        for round in 1..=3 {
            current.0 += 1;
            assert!(up.swap(&mut current));
            assert_eq!(current.0, 0);
            down.drain(|snapshot| total += snapshot.0);
            assert_eq!(total, round);
        }
        current.0 = 5;
        assert!(up.swap(&mut current));
        assert!(!up.swap(&mut current), "without a returned box nothing moves");
    }
}
