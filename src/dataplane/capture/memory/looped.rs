//! Prepared frames in one arena, given out in order again and again.

use crate::dataplane::capture::{BURST_MAX, FrameView, LinkType, Received, Source};
use crate::sys::prefetch;
use crate::units::Timestamp;
use std::time::Duration;

/// One frame of the arena.
#[derive(Clone, Copy, Debug)]
struct Slot {
    start: u32,
    captured: u32,
    wire: u32,
    link: LinkType,
    /// Since the first frame of the lap, nanoseconds.
    offset: u64,
}

/// Frames being prepared for a [`LoopSource`].
#[derive(Clone, Debug)]
pub struct LoopFrames {
    arena: Vec<u8>,
    slots: Vec<Slot>,
    stride: usize,
    first: u64,
    latest: u64,
}

impl LoopFrames {
    /// An empty arena. Frames begin at multiples of `stride` bytes (2048, as UMEM chunks do; 1 packs them).
    pub fn new(stride: usize) -> LoopFrames {
        LoopFrames { arena: Vec::new(), slots: Vec::new(), stride: stride.max(1), first: 0, latest: 0 }
    }

    /// Adds a frame behind the last one. A time before the last one's counts as the last one's. `false`: the arena is
    /// full (4 GiB).
    pub fn push(&mut self, bytes: &[u8], wire_bytes: u32, time: Timestamp, link: LinkType) -> bool {
        let start = self.arena.len().next_multiple_of(self.stride);
        let (Ok(start_32), Ok(captured)) = (u32::try_from(start), u32::try_from(bytes.len())) else { return false };
        self.arena.resize(start, 0);
        self.arena.extend_from_slice(bytes);
        if self.slots.is_empty() {
            (self.first, self.latest) = (time.0, time.0);
        }
        self.latest = self.latest.max(time.0);
        self.slots.push(Slot { start: start_32, captured, wire: wire_bytes, link, offset: self.latest - self.first });
        true
    }

    /// Frames so far.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// No frame yet?
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes on the wire of one lap.
    pub fn wire_bytes(&self) -> u64 {
        self.slots.iter().map(|slot| u64::from(slot.wire)).sum()
    }

    /// Gives the frames other places in the arena, in an order that `seed` chooses, as a fill ring that has been in use
    /// for a while does; the order in which they are given out stays. Frames must have been pushed with one stride
    /// that holds each of them.
    pub fn shuffle_places(&mut self, seed: u64) {
        self.arena.resize(self.slots.len() * self.stride, 0);
        let (mut state, stride) = (seed, self.stride);
        for last in (1..self.slots.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let other = (state >> 33) as usize % (last + 1);
            if other != last
                && let (Some(a), Some(b)) = (self.slots.get(last).copied(), self.slots.get(other).copied())
            {
                let (low, high) = (a.start.min(b.start) as usize, a.start.max(b.start) as usize);
                let (left, right) = self.arena.split_at_mut(high);
                if let (Some(left), Some(right)) = (left.get_mut(low..low + stride), right.get_mut(..stride)) {
                    left.swap_with_slice(right);
                    self.slots[last].start = b.start;
                    self.slots[other].start = a.start;
                }
            }
        }
    }

    /// A source that gives out `frames` frames and ends, beginning again as often as needed. Each lap's time begins
    /// where the one before ended, `gap_ns` later; capture time starts at `start`.
    pub fn into_source(self, frames: u64, start: Timestamp, gap_ns: u64) -> LoopSource {
        let lap = self.latest - self.first + gap_ns;
        LoopSource { frames: self, left: frames, lap, base: start.0, next: 0, held: 0, laps: 0 }
    }
}

/// Frames without a ring: `receive` moves two numbers, `frame` is two reads.
pub struct LoopSource {
    frames: LoopFrames,
    left: u64,
    lap: u64,
    base: u64,
    next: usize,
    held: usize,
    laps: u64,
}

impl LoopSource {
    /// Laps begun again so far.
    pub fn laps(&self) -> u64 {
        self.laps
    }

    /// The frames, to be changed between bursts (new flows need new tuples).
    pub fn frame_bytes_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        let slot = self.frames.slots.get(index)?;
        self.frames.arena.get_mut(slot.start as usize..(slot.start + slot.captured) as usize)
    }

    /// Index, within the lap, of the first frame of the next burst.
    pub fn position(&self) -> usize {
        self.next
    }
}

impl Source for LoopSource {
    #[inline(always)]
    fn receive(&mut self, cap: usize) -> Received {
        if self.held > 0 {
            return Received::default();
        }
        if self.next >= self.frames.slots.len() {
            self.next = 0;
            self.base = self.base.wrapping_add(self.lap);
            self.laps += 1;
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = (self.frames.slots.len() - self.next).min(cap).min(BURST_MAX).min(left);
        self.held = count;
        Received { count, waiting: 0, capacity: 0, ended: count == 0 && (left == 0 || self.frames.slots.is_empty()) }
    }

    #[inline(always)]
    fn frame(&self, index: usize) -> FrameView<'_> {
        let slot = self.frames.slots.get(self.next + index).filter(|_| index < self.held);
        let Some(slot) = slot else {
            return FrameView { port: 0, bytes: &[], wire_bytes: 0, time: None, link: LinkType::Ethernet };
        };
        let start = slot.start as usize;
        FrameView {
            port: 0,
            bytes: self.frames.arena.get(start..start + slot.captured as usize).unwrap_or_default(),
            wire_bytes: slot.wire,
            time: Some(Timestamp(self.base.wrapping_add(slot.offset))),
            link: slot.link,
        }
    }

    #[inline(always)]
    fn prefetch(&self, index: usize) {
        if let Some(slot) = self.frames.slots.get(self.next + index)
            && let Some(byte) = self.frames.arena.get(slot.start as usize)
        {
            prefetch::line(byte);
        }
    }

    #[inline(always)]
    fn release(&mut self) {
        self.next += self.held;
        self.left -= self.held as u64;
        self.held = 0;
    }

    fn wait(&mut self, _limit: Duration) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(stride: usize) -> LoopFrames {
        let mut frames = LoopFrames::new(stride);
        for number in 0..10_u8 {
            assert!(frames.push(&[number; 60], 60, Timestamp(1000 + 10 * u64::from(number)), LinkType::Ethernet));
        }
        frames
    }

    #[test]
    fn laps_repeat_the_frames_and_advance_the_time() {
        for shuffled in [false, true] {
            let mut frames = frames(64);
            if shuffled {
                frames.shuffle_places(7);
            }
            let mut source = frames.into_source(25, Timestamp(5000), 10);
            let mut seen = Vec::new();
            loop {
                let burst = source.receive(4);
                assert!(!burst.ended || burst.count == 0);
                if burst.ended {
                    break;
                }
                for index in 0..burst.count {
                    let view = source.frame(index);
                    assert!(view.bytes.iter().all(|byte| *byte == view.bytes[0]) && view.bytes.len() == 60);
                    seen.push((view.bytes[0], view.time.unwrap().0));
                }
                assert!(source.frame(burst.count).bytes.is_empty());
                source.release();
            }
            let expected: Vec<_> = (0..25_u64).map(|index| ((index % 10) as u8, 5000 + 10 * index)).collect();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn an_empty_arena_ends_at_once() {
        assert!(LoopFrames::new(1).into_source(5, Timestamp(0), 0).receive(8).ended);
    }
}
