//! The fake kernel: a fill ring of empty frames down, an RX ring of full ones up, both of fixed size.

use crate::dataplane::capture::{BURST_MAX, FrameView, LinkType, Received, Source};
use crate::sys::prefetch;
use crate::units::Timestamp;
use std::time::Duration;

/// Size of a frame's memory, as a UMEM chunk has it.
pub const FRAME_BYTES: usize = 2048;

/// One chunk of memory and what lies in it. Neither `Clone` nor `Copy`: holding one is the right to its bytes, and the
/// sum of frames in the rings and in hands never changes.
#[must_use = "a frame that is dropped is lost to the ring; give it back"]
#[derive(Debug)]
pub struct Frame {
    memory: Box<[u8; FRAME_BYTES]>,
    captured: usize,
    wire: u32,
    time: Option<Timestamp>,
    link: LinkType,
}

impl Frame {
    fn new() -> Frame {
        Frame { memory: Box::new([0; FRAME_BYTES]), captured: 0, wire: 0, time: None, link: LinkType::Ethernet }
    }

    #[inline(always)]
    fn view(&self) -> FrameView<'_> {
        FrameView {
            port: 0,
            bytes: self.memory.get(..self.captured).unwrap_or_default(),
            wire_bytes: self.wire,
            time: self.time,
            link: self.link,
        }
    }
}

/// Faults the kernel injects, each one time in so many frames (0: never).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Frames lost before the socket, one in this many.
    pub lose_one_in: u32,
    /// Frames with one bit flipped, one in this many.
    pub corrupt_one_in: u32,
    /// Frames that the next one overtakes, one in this many.
    pub reorder_one_in: u32,
    /// Seed of the generator that chooses them.
    pub seed: u64,
}

/// Sizes of the pair of rings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingSettings {
    /// Frames in all.
    pub frames: usize,
    /// Slots of the RX ring; with fewer than `frames` it can be full while frames are still free.
    pub rx_slots: usize,
    /// Both rings begin this many slots on, so that they wrap early in tests.
    pub start_index: usize,
    /// What goes wrong.
    pub faults: Faults,
}

impl Default for RingSettings {
    fn default() -> RingSettings {
        RingSettings { frames: 4096, rx_slots: 2048, start_index: 0, faults: Faults::default() }
    }
}

/// What became of the frames that were sent, counted by the kernel: `sent = delivered + each drop`, always.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KernelCounts {
    /// Frames given to [`FakeKernel::send`].
    pub sent: u64,
    /// Frames put on the RX ring, or held back to be overtaken.
    pub delivered: u64,
    /// Lost on purpose.
    pub lost: u64,
    /// No free frame was on the fill ring.
    pub fill_empty: u64,
    /// The RX ring was full.
    pub rx_full: u64,
    /// Longer than a frame's memory.
    pub too_long: u64,
    /// The reading side is gone.
    pub gone: u64,
    /// Of the delivered: with a bit flipped.
    pub corrupted: u64,
    /// Of the delivered: overtaken by the next.
    pub reordered: u64,
}

impl KernelCounts {
    /// Sum of all drops.
    pub fn dropped(&self) -> u64 {
        self.lost + self.fill_empty + self.rx_full + self.too_long + self.gone
    }
}

/// What became of one frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is on its way.
    Delivered,
    /// It is not, and counted.
    Dropped,
}

/// The sending side.
pub struct FakeKernel {
    fill: rtrb::Consumer<Frame>,
    rx: rtrb::Producer<Frame>,
    /// A frame that the next one overtakes.
    overtaken: Option<Frame>,
    faults: Faults,
    random: u64,
    counts: KernelCounts,
}

/// The worker's side.
pub struct MemorySource {
    fill: rtrb::Producer<Frame>,
    rx: rtrb::Consumer<Frame>,
    held: Vec<Frame>,
}

/// A pair of rings with all frames on the fill ring. The source ends when the kernel is dropped and the ring is empty.
pub fn ring(settings: RingSettings) -> (FakeKernel, MemorySource) {
    let (fill_in, fill_out) = rtrb::RingBuffer::new(settings.frames);
    let (rx_in, rx_out) = rtrb::RingBuffer::new(settings.rx_slots);
    let mut kernel = FakeKernel {
        fill: fill_out,
        rx: rx_in,
        overtaken: None,
        faults: settings.faults,
        random: settings.faults.seed,
        counts: KernelCounts::default(),
    };
    let mut source = MemorySource { fill: fill_in, rx: rx_out, held: Vec::with_capacity(BURST_MAX) };
    if settings.frames > 0 && settings.rx_slots > 0 {
        let mut spare = Some(Frame::new());
        for _ in 0..settings.start_index {
            if let Some(frame) = spare.take() {
                // One frame goes once round both rings: they stay empty and their indices move on.
                spare = source
                    .fill
                    .push(frame)
                    .ok()
                    .and_then(|()| kernel.fill.pop().ok())
                    .and_then(|frame| kernel.rx.push(frame).ok())
                    .and_then(|()| source.rx.pop().ok());
            }
        }
    }
    for _ in 0..settings.frames {
        // The ring has exactly that many slots and is empty.
        let _ = source.fill.push(Frame::new());
    }
    (kernel, source)
}

impl FakeKernel {
    /// Copies one frame from the wire into a free chunk, as copy mode does; `time` as a source that knows it gives it.
    pub fn send(&mut self, bytes: &[u8], wire_bytes: u32, time: Option<Timestamp>, link: LinkType) -> Sent {
        self.counts.sent += 1;
        if self.one_in(self.faults.lose_one_in) {
            self.counts.lost += 1;
            return Sent::Dropped;
        }
        if bytes.len() > FRAME_BYTES {
            self.counts.too_long += 1;
            return Sent::Dropped;
        }
        if self.rx.is_abandoned() {
            self.counts.gone += 1;
            return Sent::Dropped;
        }
        // A frame held back needs its slot too.
        if self.rx.slots() < 1 + usize::from(self.overtaken.is_some()) {
            self.counts.rx_full += 1;
            return Sent::Dropped;
        }
        let Ok(mut frame) = self.fill.pop() else {
            self.counts.fill_empty += 1;
            return Sent::Dropped;
        };
        if let Some(place) = frame.memory.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
        (frame.captured, frame.wire, frame.time, frame.link) = (bytes.len(), wire_bytes, time, link);
        if !bytes.is_empty() && self.one_in(self.faults.corrupt_one_in) {
            let at = self.random() as usize % bytes.len();
            if let Some(byte) = frame.memory.get_mut(at) {
                *byte ^= 1 << (self.random % 8);
                self.counts.corrupted += 1;
            }
        }
        self.counts.delivered += 1;
        if self.overtaken.is_none() && self.one_in(self.faults.reorder_one_in) {
            self.counts.reordered += 1;
            self.overtaken = Some(frame);
            return Sent::Delivered;
        }
        self.push(frame);
        if let Some(late) = self.overtaken.take() {
            self.push(late);
        }
        Sent::Delivered
    }

    /// Sends one Ethernet frame without a time of its own.
    pub fn send_ethernet(&mut self, bytes: &[u8]) -> Sent {
        self.send(bytes, bytes.len() as u32, None, LinkType::Ethernet)
    }

    /// Gives out a frame that is still held back. Dropping the kernel does it too.
    pub fn flush(&mut self) {
        if let Some(late) = self.overtaken.take() {
            self.push(late);
        }
    }

    /// What became of everything sent so far.
    pub fn counts(&self) -> KernelCounts {
        self.counts
    }

    /// Frames on the fill ring and in the kernel's hands.
    pub fn frames(&self) -> usize {
        self.fill.slots() + usize::from(self.overtaken.is_some())
    }

    fn push(&mut self, frame: Frame) {
        // Room was seen before the frame was taken, and we are the only producer.
        let pushed = self.rx.push(frame);
        debug_assert!(pushed.is_ok(), "the RX ring lost a slot");
    }

    /// splitmix64 (Steele, Lea, Flood 2014).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.random;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    fn one_in(&mut self, count: u32) -> bool {
        count > 0 && self.random().is_multiple_of(u64::from(count))
    }
}

impl Drop for FakeKernel {
    fn drop(&mut self) {
        self.flush();
    }
}

impl MemorySource {
    /// Frames on the RX ring and in the worker's hands.
    pub fn frames(&self) -> usize {
        self.rx.slots() + self.held.len()
    }
}

impl Source for MemorySource {
    #[inline]
    fn receive(&mut self, cap: usize) -> Received {
        let capacity = self.rx.buffer().capacity() as u32;
        if !self.held.is_empty() {
            return Received { capacity, ..Received::default() };
        }
        // Order matters: what was pushed before the kernel went away is seen after its going is.
        let gone = self.rx.is_abandoned();
        let waiting = self.rx.slots();
        let count = waiting.min(cap).min(BURST_MAX);
        if let Ok(chunk) = self.rx.read_chunk(count) {
            self.held.extend(chunk);
        }
        let count = self.held.len();
        Received { count, waiting: waiting as u32, capacity, ended: gone && count == 0 && waiting == 0 }
    }

    #[inline(always)]
    fn frame(&self, index: usize) -> FrameView<'_> {
        match self.held.get(index) {
            Some(frame) => frame.view(),
            None => FrameView { port: 0, bytes: &[], wire_bytes: 0, time: None, link: LinkType::Ethernet },
        }
    }

    #[inline(always)]
    fn prefetch(&self, index: usize) {
        if let Some(frame) = self.held.get(index) {
            prefetch::line(&*frame.memory);
        }
    }

    fn release(&mut self) {
        for frame in self.held.drain(..) {
            // The fill ring has a slot for every frame there is.
            let pushed = self.fill.push(frame);
            debug_assert!(pushed.is_ok(), "more frames than the fill ring was made for");
        }
    }

    fn wait(&mut self, limit: Duration) {
        if self.rx.is_empty() && !self.rx.is_abandoned() {
            std::thread::sleep(limit.min(Duration::from_micros(100)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn total(kernel: &FakeKernel, source: &MemorySource) -> usize {
        kernel.frames() + source.frames()
    }

    proptest! {
        /// Against a FIFO oracle: order, contents, both kinds of full, wrap-around from a random start, no frame leaks.
        #[test]
        fn the_rings_are_a_bounded_queue(
            start_index in 0..20_usize,
            frames in 1..9_usize,
            rx_slots in 1..9_usize,
            steps in proptest::collection::vec((0..3_u8, 0..6_usize), 1..200),
        ) {
            let settings = RingSettings { frames, rx_slots, start_index, faults: Faults::default() };
            let (mut kernel, mut source) = ring(settings);
            let (mut oracle, mut next, mut held, mut received) = (VecDeque::new(), 0_u32, 0, 0_u64);
            for (what, count) in steps {
                match what {
                    0 => for _ in 0..count {
                        let room = oracle.len() < rx_slots && oracle.len() + held < frames;
                        let sent = kernel.send(&next.to_le_bytes(), 60, None, LinkType::Ethernet);
                        prop_assert_eq!(sent == Sent::Delivered, room);
                        if room {
                            oracle.push_back(next);
                        }
                        next += 1;
                    },
                    1 if held == 0 => {
                        let waiting = oracle.len();
                        let burst = source.receive(count);
                        prop_assert_eq!(burst.count, waiting.min(count));
                        prop_assert_eq!(burst.waiting as usize, waiting);
                        for index in 0..burst.count {
                            let expected = oracle.pop_front().unwrap_or_default().to_le_bytes();
                            prop_assert_eq!(source.frame(index).bytes, expected.as_slice());
                        }
                        (held, received) = (burst.count, received + burst.count as u64);
                    }
                    1 => prop_assert_eq!(source.receive(count).count, 0),
                    _ => {
                        source.release();
                        held = 0;
                    }
                }
                prop_assert_eq!(total(&kernel, &source), frames);
                let counts = kernel.counts();
                prop_assert_eq!(counts.sent, counts.delivered + counts.dropped());
                prop_assert_eq!(counts.delivered, received + oracle.len() as u64);
            }
        }
    }

    #[test]
    fn faults_are_counted_and_leak_nothing() {
        let faults = Faults { lose_one_in: 5, corrupt_one_in: 7, reorder_one_in: 3, seed: 42 };
        let (mut kernel, mut source) = ring(RingSettings { frames: 64, rx_slots: 32, start_index: 5, faults });
        let (mut received, mut changed, mut backward, mut previous) = (0, 0, 0, 0);
        for round in 0..1000_u32 {
            kernel.send(&[0; FRAME_BYTES + 1], 3000, None, LinkType::Ethernet);
            for number in 0..10 {
                let bytes = [(round * 10 + number + 1).to_le_bytes(), [0; 4]].concat();
                kernel.send(&bytes, 60, None, LinkType::Ethernet);
            }
            for index in 0..source.receive(BURST_MAX).count {
                let bytes = source.frame(index).bytes;
                received += 1;
                let number = u32::from_le_bytes(bytes[..4].try_into().unwrap());
                let intact = bytes[4..] == [0; 4] && number > round.saturating_sub(2) * 10 && number <= round * 10 + 10;
                changed += u32::from(!intact);
                backward += u32::from(intact && number < previous);
                previous = if intact { number } else { previous };
            }
            source.release();
            assert_eq!(total(&kernel, &source), 64);
        }
        kernel.flush();
        received += source.receive(BURST_MAX).count;
        source.release();
        let counts = kernel.counts();
        assert_eq!(counts.sent, counts.delivered + counts.dropped());
        assert_eq!(counts.delivered, received as u64);
        assert!(counts.lost > 1500 && counts.too_long > 500 && counts.corrupted > 500 && counts.reordered > 1000);
        assert!(changed > 500 && backward > 1000, "{changed} changed, {backward} out of order");
    }

    #[test]
    fn the_source_ends_after_the_last_frame() {
        let (mut kernel, mut source) = ring(RingSettings::default());
        kernel.send_ethernet(&[1; 60]);
        assert_eq!(source.receive(8), Received { count: 1, waiting: 1, capacity: 2048, ended: false });
        drop(kernel);
        source.release();
        assert!(source.receive(8).ended);
    }
}
