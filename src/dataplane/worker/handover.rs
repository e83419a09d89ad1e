//! Frames of foreign flows on their way to the queue that owns them.
//!
//! Where RSS is not symmetric the two directions of a flow arrive on two queues. Each ordered pair of queues has one
//! bounded single-producer single-consumer byte ring; a frame is copied into it once, with its time, and decoded again by
//! its owner, so that the owner's path is the same from the frame upwards. A full ring is a counted drop, never a wait.

use crate::dataplane::capture::{BURST_MAX, FrameView, LinkType};
use crate::sys::poll::{PollSet, Wakeup};
use crate::units::Timestamp;
use crossbeam::utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Most bytes of a frame that travel; the rest is cut like a snap length would. A 2-KiB UMEM frame fits whole.
pub const SNAP_BYTES: usize = 2048;

/// Length of a record's header in the ring: time, wire length, captured length, link type, and in one byte note and port.
const HEADER_BYTES: usize = 8 + 4 + 2 + 2 + 1;

/// At the owner's door, shared by all who hand frames to it.
pub struct Bell {
    /// Something was handed over since the owner last looked; without it the owner would ask every ring, every turn.
    rung: AtomicBool,
    /// The owner sleeps, or is about to.
    asleep: AtomicBool,
    wakeup: Option<Wakeup>,
}

impl Bell {
    /// A bell for one owner. Without a descriptor to spare the owner's wait ends by its limit alone.
    pub fn new() -> Arc<Bell> {
        Arc::new(Bell { rung: AtomicBool::new(false), asleep: AtomicBool::new(false), wakeup: Wakeup::new() })
    }

    /// After something was put into a ring. Both sides store before they load, in one order for all threads: either the
    /// sender sees that the owner sleeps, or the owner sees that it rang. A system call for the first frame only.
    #[inline]
    fn ring(&self) {
        self.rung.swap(true, SeqCst);
        if self.asleep.load(SeqCst)
            && self.asleep.swap(false, SeqCst)
            && let Some(wakeup) = &self.wakeup
        {
            wakeup.ring();
        }
    }
}

/// What went through one ring, counted at the ring itself; each number has one writer.
#[derive(Default)]
pub struct RingCount {
    sent: CachePadded<AtomicU64>,
    taken: CachePadded<AtomicU64>,
}

impl RingCount {
    /// Frames that were put in and not yet taken out; of a dead owner: lost.
    pub fn inside(&self) -> u64 {
        let taken = self.taken.load(SeqCst);
        self.sent.load(SeqCst).saturating_sub(taken)
    }
}

/// Sending end, held by the queue on which the frame arrived.
pub struct HandoverSender {
    ring: rtrb::Producer<u8>,
    count: Arc<RingCount>,
    bell: Arc<Bell>,
}

/// Receiving end of one ring, to be put into the owner's [`HandoverInbox`].
pub struct HandoverReceiver {
    ring: rtrb::Consumer<u8>,
    count: Arc<RingCount>,
    bell: Arc<Bell>,
}

impl HandoverReceiver {
    /// What goes through it.
    pub fn count(&self) -> Arc<RingCount> {
        Arc::clone(&self.count)
    }
}

impl HandoverSender {
    /// Copies a frame to its owner; `false` if the ring has no room. A note is a copy that the receiver does not count: an
    /// ICMP error that quotes one of its flows.
    pub fn send(&mut self, frame: FrameView<'_>, time: Timestamp, note: bool) -> bool {
        let bytes = frame.bytes.get(..SNAP_BYTES).unwrap_or(frame.bytes);
        let length = bytes.len() as u16; // at most SNAP_BYTES
        let Ok(mut chunk) = self.ring.write_chunk(HEADER_BYTES + bytes.len()) else { return false };
        let mut header = [0_u8; HEADER_BYTES];
        let (time_part, rest) = header.split_at_mut(8);
        let (wire_part, rest) = rest.split_at_mut(4);
        let (length_part, rest) = rest.split_at_mut(2);
        let (link_part, kind_part) = rest.split_at_mut(2);
        time_part.copy_from_slice(&time.0.to_le_bytes());
        wire_part.copy_from_slice(&frame.wire_bytes.to_le_bytes());
        length_part.copy_from_slice(&length.to_le_bytes());
        link_part.copy_from_slice(&link_code(frame.link).to_le_bytes());
        kind_part.copy_from_slice(&[u8::from(note) | frame.port << 1]);
        let (first, second) = chunk.as_mut_slices();
        let mut cells = first.iter_mut().chain(second);
        for (cell, byte) in cells.by_ref().zip(header) {
            *cell = byte;
        }
        // The header may itself wrap, so the body is copied to wherever the cells go on.
        let (first, second) = chunk.as_mut_slices();
        let split = first.len().min(HEADER_BYTES);
        let body_first = first.get_mut(split..).unwrap_or_default();
        let body_second = second.get_mut(HEADER_BYTES - split..).unwrap_or_default();
        let (head, tail) = bytes.split_at(body_first.len().min(bytes.len()));
        if let (Some(one), Some(two)) = (body_first.get_mut(..head.len()), body_second.get_mut(..tail.len())) {
            one.copy_from_slice(head);
            two.copy_from_slice(tail);
        }
        chunk.commit_all();
        if !note {
            self.count.sent.store(self.count.sent.load(Relaxed).wrapping_add(1), Relaxed);
        }
        self.bell.ring();
        true
    }
}

/// Receiving end of every other queue's ring, held by the owner.
pub struct HandoverInbox {
    rings: Vec<HandoverReceiver>,
    bell: Option<Arc<Bell>>,
    arena: Vec<u8>,
    frames: Vec<Held>,
    next: usize,
}

/// One frame of the burst held: where it lies in the arena and what the header said.
#[derive(Clone, Copy)]
struct Held {
    length: u16,
    wire_bytes: u32,
    time: Timestamp,
    link: LinkType,
    port: u8,
    note: bool,
}

impl HandoverInbox {
    /// An inbox over the receiving ends of [`handover_ring`]s; its arena holds one burst.
    pub fn new(rings: Vec<HandoverReceiver>) -> HandoverInbox {
        let (arena, frames) = match rings.len() {
            0 => (Vec::new(), Vec::new()),
            _ => (vec![0; BURST_MAX * SNAP_BYTES], Vec::with_capacity(BURST_MAX)),
        };
        HandoverInbox { bell: rings.first().map(|ring| Arc::clone(&ring.bell)), rings, arena, frames, next: 0 }
    }

    /// Has anything been handed over that was not received yet?
    #[inline(always)]
    pub fn is_waiting(&self) -> bool {
        self.bell.as_ref().is_some_and(|bell| bell.rung.load(Relaxed))
    }

    /// Every sender is gone and nothing waits: no frame can come any more.
    pub fn is_closed(&self) -> bool {
        self.rings.iter().all(|one| one.ring.is_abandoned() && one.ring.slots() == 0)
    }

    /// Before the owner sleeps: adds to `set` what wakes it; `false` if something waits already.
    pub fn before_wait(&self, set: &mut PollSet) -> bool {
        let Some(bell) = &self.bell else { return true };
        // What was rung for an earlier sleep may come this late, when its sender lost its core in between; it must not
        // end every sleep from now on.
        bell.wakeup.iter().for_each(Wakeup::clear);
        bell.asleep.store(true, SeqCst);
        if bell.rung.load(SeqCst) {
            return false;
        }
        set.add(bell.wakeup.as_ref().map_or(-1, Wakeup::descriptor));
        true
    }

    /// After the owner slept.
    pub fn after_wait(&self) {
        if let Some(bell) = &self.bell {
            bell.asleep.store(false, SeqCst);
        }
    }

    /// Does anybody hand frames to this owner?
    pub fn has_senders(&self) -> bool {
        !self.rings.is_empty()
    }

    /// Copies up to `cap` waiting frames into the arena, the rings in turn; forgets the burst before.
    pub fn receive(&mut self, cap: usize) -> usize {
        self.frames.clear();
        if let Some(bell) = &self.bell {
            // Before the rings are looked at: who rings from here on is heard next time.
            bell.rung.swap(false, SeqCst);
        }
        let cap = cap.min(BURST_MAX);
        let count = self.rings.len();
        for offset in 0..count {
            let index = (self.next + offset) % count;
            let Some(one) = self.rings.get_mut(index) else { continue };
            let before = self.frames.len();
            let mut notes = 0;
            while self.frames.len() < cap {
                let at = self.frames.len() * SNAP_BYTES;
                let Some(slot) = self.arena.get_mut(at..at + SNAP_BYTES) else { break };
                let Some(held) = take(&mut one.ring, slot) else { break };
                notes += usize::from(held.note);
                self.frames.push(held);
            }
            let taken = (self.frames.len() - before - notes) as u64;
            if taken > 0 {
                one.count.taken.store(one.count.taken.load(Relaxed).wrapping_add(taken), Relaxed);
            }
        }
        self.next = (self.next + 1) % count.max(1);
        if self.frames.len() == cap
            && let Some(bell) = &self.bell
        {
            // More may wait than one burst takes.
            bell.rung.store(true, SeqCst);
        }
        self.frames.len()
    }

    /// Is that frame of the burst received a note?
    pub fn is_note(&self, index: usize) -> bool {
        self.frames.get(index).is_some_and(|held| held.note)
    }

    /// One frame of the burst received.
    pub fn frame(&self, index: usize) -> FrameView<'_> {
        let empty = FrameView { port: 0, bytes: &[], wire_bytes: 0, time: None, link: LinkType::Ethernet };
        let Some(held) = self.frames.get(index) else { return empty };
        let at = index * SNAP_BYTES;
        let Some(bytes) = self.arena.get(at..at + usize::from(held.length)) else { return empty };
        FrameView { bytes, wire_bytes: held.wire_bytes, time: Some(held.time), link: held.link, port: held.port }
    }
}

/// Moves one record from the ring into `slot`; `None` if the ring is empty.
fn take(ring: &mut rtrb::Consumer<u8>, slot: &mut [u8]) -> Option<Held> {
    let mut header = [0_u8; HEADER_BYTES];
    let chunk = ring.read_chunk(HEADER_BYTES).ok()?;
    let (first, second) = chunk.as_slices();
    for (cell, byte) in header.iter_mut().zip(first.iter().chain(second)) {
        *cell = *byte;
    }
    // This chunk is not committed: header and body are consumed together below.
    let (time, rest) = header.split_first_chunk::<8>()?;
    let (wire, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (link, kind) = rest.split_first_chunk::<2>()?;
    let kind = kind.first().copied().unwrap_or_default();
    let length = u16::from_le_bytes(*length);
    let chunk = ring.read_chunk(HEADER_BYTES + usize::from(length)).ok()?;
    let (first, second) = chunk.as_slices();
    let split = first.len().min(HEADER_BYTES);
    let (body_first, body_second) = (first.get(split..)?, second.get(HEADER_BYTES - split..)?);
    slot.get_mut(..body_first.len())?.copy_from_slice(body_first);
    slot.get_mut(body_first.len()..usize::from(length))?.copy_from_slice(body_second);
    chunk.commit_all();
    Some(Held {
        length,
        wire_bytes: u32::from_le_bytes(*wire),
        time: Timestamp(u64::from_le_bytes(*time)),
        link: link_of(u16::from_le_bytes(*link)),
        port: kind >> 1,
        note: kind & 1 == 1,
    })
}

/// One ordered pair of queues: room for `bytes` of frames and headers. `bell`: the owner's, one for all its rings.
pub fn handover_ring(bytes: usize, bell: &Arc<Bell>) -> (HandoverSender, HandoverReceiver) {
    let (producer, consumer) = rtrb::RingBuffer::new(bytes.max(HEADER_BYTES + SNAP_BYTES));
    let count = Arc::new(RingCount::default());
    let receiver = HandoverReceiver { ring: consumer, count: Arc::clone(&count), bell: Arc::clone(bell) };
    (HandoverSender { ring: producer, count, bell: Arc::clone(bell) }, receiver)
}

/// One queue's part of a [`handover_mesh`].
#[derive(Default)]
pub struct HandoverPlace {
    /// What it sends with: one for each queue, `None` at its own place.
    pub peers: Vec<Option<HandoverSender>>,
    /// What it receives from.
    pub inbox: Vec<HandoverReceiver>,
}

/// Rings for every ordered pair of `count` queues, each of `bytes`.
pub fn handover_mesh(count: usize, bytes: usize) -> Vec<HandoverPlace> {
    let mut places: Vec<HandoverPlace> = (0..count).map(|_| HandoverPlace::default()).collect();
    for to in 0..count {
        let bell = Bell::new();
        for from in 0..count {
            let pair = (from != to).then(|| handover_ring(bytes, &bell));
            let (sender, receiver) = pair.unzip();
            if let Some(place) = places.get_mut(from) {
                place.peers.push(sender);
            }
            if let Some(place) = places.get_mut(to) {
                place.inbox.extend(receiver);
            }
        }
    }
    places
}

/// Link type as two bytes.
fn link_code(link: LinkType) -> u16 {
    match link {
        LinkType::Ethernet => 1,
        LinkType::RawIp => 101,
        LinkType::Null => 0,
        LinkType::LinuxSll => 113,
        LinkType::LinuxSll2 => 276,
        LinkType::Ppp => 50,
        LinkType::Other(code) => code,
    }
}

/// Inverse of [`link_code`].
fn link_of(code: u16) -> LinkType {
    match code {
        1 => LinkType::Ethernet,
        101 => LinkType::RawIp,
        0 => LinkType::Null,
        113 => LinkType::LinuxSll,
        276 => LinkType::LinuxSll2,
        50 => LinkType::Ppp,
        other => LinkType::Other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// A sender that lost its core between seeing that the owner sleeps and ringing rings when the owner is long up: once
    /// the owner may be woken for nothing, and no more.
    #[test]
    fn a_late_bell_does_not_keep_its_owner_awake() {
        let to = handover_mesh(2, 1 << 16).into_iter().nth(1).unwrap();
        let inbox = HandoverInbox::new(to.inbox);
        let bell = Arc::clone(inbox.bell.as_ref().unwrap());
        let Some(wakeup) = &bell.wakeup else { panic!("no descriptor") };
        let mut set = PollSet::with_capacity(1);
        let mut sleep = || {
            set.clear();
            assert!(inbox.before_wait(&mut set), "nothing waits");
            let woken = set.wait(std::time::Duration::ZERO);
            inbox.after_wait();
            woken
        };
        assert!(!sleep());
        wakeup.ring();
        assert!(!sleep(), "what was rung before the sleep does not end it");
        assert!(!sleep());
    }

    /// Whenever the frame comes, before the owner lies down or after: it is up at once. Were a wake lost, this would hang.
    #[test]
    fn a_frame_handed_over_wakes_its_owner() {
        let mut places = handover_mesh(2, 1 << 16).into_iter();
        let (mut from, to) = (places.next().unwrap(), places.next().unwrap());
        let mut inbox = HandoverInbox::new(to.inbox);
        let frames = 2_000_u64;
        let sending = std::thread::spawn(move || {
            let sender = from.peers[1].as_mut().unwrap();
            for number in 0..frames {
                let frame =
                    FrameView { port: 0, bytes: &[7; 60], wire_bytes: 60, time: None, link: LinkType::Ethernet };
                while !sender.send(frame, Timestamp(number), false) {
                    std::thread::yield_now();
                }
                if number % 3 == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let (mut set, mut got) = (PollSet::with_capacity(4), 0);
        while got < frames {
            set.clear();
            if inbox.before_wait(&mut set) {
                set.wait(std::time::Duration::from_secs(600));
            }
            inbox.after_wait();
            got += inbox.receive(BURST_MAX) as u64;
        }
        sending.join().unwrap();
        assert!(!inbox.is_waiting());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against a FIFO: whatever the lengths and the wrap-around, what fits comes out whole and in order.
        #[test]
        fn frames_come_out_as_they_went_in(
            room in 2100_usize..9000,
            steps in prop::collection::vec((0_usize..2200, any::<u8>(), 0_usize..4), 1..200),
        ) {
            let (mut sender, ring) = handover_ring(room, &Bell::new());
            let mut inbox = HandoverInbox::new(vec![ring]);
            let mut model: VecDeque<(Vec<u8>, u32, Timestamp)> = VecDeque::new();
            for (step, (length, fill, take)) in steps.into_iter().enumerate() {
                let bytes = vec![fill; length];
                let time = Timestamp(step as u64);
                let frame = FrameView { port: fill & 1, bytes: &bytes, wire_bytes: 9999, time: None, link: LinkType::LinuxSll };
                let used: usize = model.iter().map(|(bytes, ..)| bytes.len() + HEADER_BYTES).sum();
                let fits = used + HEADER_BYTES + length.min(SNAP_BYTES) <= room.max(HEADER_BYTES + SNAP_BYTES);
                prop_assert_eq!(sender.send(frame, time, fill % 2 == 0), fits);
                if fits {
                    model.push_back((bytes[..length.min(SNAP_BYTES)].to_vec(), 9999, time));
                }
                prop_assert!(inbox.is_waiting() || model.is_empty(), "what waits is known to wait");
                let got = inbox.receive(take);
                prop_assert_eq!(got, take.min(model.len()));
                for index in 0..got {
                    let (bytes, wire_bytes, time) = model.pop_front().unwrap();
                    let view = inbox.frame(index);
                    prop_assert_eq!(view.bytes, &bytes[..]);
                    prop_assert_eq!(bytes.first().map_or(view.port, |fill| fill & 1), view.port);
                    prop_assert_eq!(inbox.is_note(index), bytes.first().is_some_and(|fill| fill % 2 == 0) || (bytes.is_empty() && inbox.is_note(index)));
                    prop_assert_eq!((view.wire_bytes, view.time, view.link), (wire_bytes, Some(time), LinkType::LinuxSll));
                }
            }
        }
    }
}
