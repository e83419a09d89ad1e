//! Frames of foreign flows on their way to the queue that owns them.
//!
//! Where RSS is not symmetric the two directions of a flow arrive on two queues. Each ordered pair of queues has one
//! bounded single-producer single-consumer byte ring; a frame is copied into it once, with its time, and decoded again by
//! its owner, so that the owner's path is the same from the frame upwards. A full ring is a counted drop, never a wait.

use crate::dataplane::capture::{BURST_MAX, FrameView, LinkType};
use crate::units::Timestamp;

/// Most bytes of a frame that travel; the rest is cut like a snap length would. A 2-KiB UMEM frame fits whole.
pub const SNAP_BYTES: usize = 2048;

/// Length of a record's header in the ring: time, wire length, captured length, link type, kind.
const HEADER_BYTES: usize = 8 + 4 + 2 + 2 + 1;

/// Sending end, held by the queue on which the frame arrived.
pub struct HandoverSender {
    ring: rtrb::Producer<u8>,
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
        kind_part.copy_from_slice(&[u8::from(note)]);
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
        true
    }
}

/// Receiving end of every other queue's ring, held by the owner.
pub struct HandoverInbox {
    rings: Vec<rtrb::Consumer<u8>>,
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
    note: bool,
}

impl HandoverInbox {
    /// An inbox over the receiving ends of [`handover_ring`]s; its arena holds one burst.
    pub fn new(rings: Vec<rtrb::Consumer<u8>>) -> HandoverInbox {
        let arena = if rings.is_empty() { Vec::new() } else { vec![0; BURST_MAX * SNAP_BYTES] };
        HandoverInbox { rings, arena, frames: Vec::with_capacity(BURST_MAX), next: 0 }
    }

    /// Has anything been handed over that was not received yet?
    pub fn is_waiting(&self) -> bool {
        self.rings.iter().any(|ring| ring.slots() > 0)
    }

    /// Every sender is gone and nothing waits: no frame can come any more.
    pub fn is_closed(&self) -> bool {
        self.rings.iter().all(|ring| ring.is_abandoned() && ring.slots() == 0)
    }

    /// Copies up to `cap` waiting frames into the arena, the rings in turn; forgets the burst before.
    pub fn receive(&mut self, cap: usize) -> usize {
        self.frames.clear();
        let count = self.rings.len();
        for offset in 0..count {
            let index = (self.next + offset) % count;
            let Some(ring) = self.rings.get_mut(index) else { continue };
            while self.frames.len() < cap.min(BURST_MAX) {
                let at = self.frames.len() * SNAP_BYTES;
                let Some(slot) = self.arena.get_mut(at..at + SNAP_BYTES) else { break };
                let Some(held) = take(ring, slot) else { break };
                self.frames.push(held);
            }
        }
        self.next = (self.next + 1) % count.max(1);
        self.frames.len()
    }

    /// Is that frame of the burst received a note?
    pub fn is_note(&self, index: usize) -> bool {
        self.frames.get(index).is_some_and(|held| held.note)
    }

    /// One frame of the burst received.
    pub fn frame(&self, index: usize) -> FrameView<'_> {
        let empty = FrameView { bytes: &[], wire_bytes: 0, time: None, link: LinkType::Ethernet };
        let Some(held) = self.frames.get(index) else { return empty };
        let at = index * SNAP_BYTES;
        let Some(bytes) = self.arena.get(at..at + usize::from(held.length)) else { return empty };
        FrameView { bytes, wire_bytes: held.wire_bytes, time: Some(held.time), link: held.link }
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
    let note = kind.first() == Some(&1);
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
        note,
    })
}

/// One ordered pair of queues: room for `bytes` of frames and headers.
pub fn handover_ring(bytes: usize) -> (HandoverSender, rtrb::Consumer<u8>) {
    let (producer, consumer) = rtrb::RingBuffer::new(bytes.max(HEADER_BYTES + SNAP_BYTES));
    (HandoverSender { ring: producer }, consumer)
}

/// Link type as two bytes.
fn link_code(link: LinkType) -> u16 {
    match link {
        LinkType::Ethernet => 1,
        LinkType::RawIp => 101,
        LinkType::Null => 0,
        LinkType::LinuxSll => 113,
        LinkType::LinuxSll2 => 276,
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
        other => LinkType::Other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against a FIFO: whatever the lengths and the wrap-around, what fits comes out whole and in order.
        #[test]
        fn frames_come_out_as_they_went_in(
            room in 2100_usize..9000,
            steps in prop::collection::vec((0_usize..2200, any::<u8>(), 0_usize..4), 1..200),
        ) {
            let (mut sender, ring) = handover_ring(room);
            let mut inbox = HandoverInbox::new(vec![ring]);
            let mut model: VecDeque<(Vec<u8>, u32, Timestamp)> = VecDeque::new();
            for (step, (length, fill, take)) in steps.into_iter().enumerate() {
                let bytes = vec![fill; length];
                let time = Timestamp(step as u64);
                let frame = FrameView { bytes: &bytes, wire_bytes: 9999, time: None, link: LinkType::LinuxSll };
                let used: usize = model.iter().map(|(bytes, ..)| bytes.len() + HEADER_BYTES).sum();
                let fits = used + HEADER_BYTES + length.min(SNAP_BYTES) <= room.max(HEADER_BYTES + SNAP_BYTES);
                prop_assert_eq!(sender.send(frame, time, fill % 2 == 0), fits);
                if fits {
                    model.push_back((bytes[..length.min(SNAP_BYTES)].to_vec(), 9999, time));
                }
                let got = inbox.receive(take);
                prop_assert_eq!(got, take.min(model.len()));
                for index in 0..got {
                    let (bytes, wire_bytes, time) = model.pop_front().unwrap();
                    let view = inbox.frame(index);
                    prop_assert_eq!(view.bytes, &bytes[..]);
                    prop_assert_eq!(inbox.is_note(index), bytes.first().is_some_and(|fill| fill % 2 == 0) || (bytes.is_empty() && inbox.is_note(index)));
                    prop_assert_eq!((view.wire_bytes, view.time, view.link), (wire_bytes, Some(time), LinkType::LinuxSll));
                }
            }
        }
    }
}
