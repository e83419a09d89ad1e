//! One sequence of captures split between several workers, as a NIC splits traffic between its queues.
//!
//! A reading thread runs [`Splitter::run`]; each worker has a [`SplitSource`]. Between them go blocks of frames over a
//! pair of bounded rings per queue (full blocks up, empty ones back), so that the price of crossing cores is paid once
//! in some hundred frames. Offline may wait: a queue whose blocks are all in use stops the reader. So that idle queues
//! learn how far the capture has come, a block carries the capture time reached, and a queue with nothing to do is sent
//! an empty one after every [`TICK_NS`] of capture time.

use super::format::{FRAME_MAX, Record};
use super::pace::{Pace, Speed};
use super::reader::{Next, Reader};
use super::report::Report;
use crate::dataplane::capture::{BURST_MAX, FrameView, LinkType, Received, Source};
use crate::sys::prefetch;
use crate::units::{MILLISECOND, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// Capture time after which an idle queue is told how far the capture has come.
pub const TICK_NS: u64 = 100 * MILLISECOND;
/// Bytes of frames in a block; a largest frame and as much again fit.
const BLOCK_BYTES: usize = 2 * FRAME_MAX;
/// Frames in a block.
const BLOCK_FRAMES: usize = 1024;
/// Blocks of a queue: one being filled, one being worked on, two between.
const BLOCKS: usize = 4;
/// How long a thread sleeps that has found nothing to do.
const NAP: Duration = Duration::from_micros(50);

/// Where a frame goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Route {
    /// The queue that owns it and counts it.
    pub owner: usize,
    /// Another queue that is sent a copy as a note ([`Source::is_note`]): the owner of the flow that an ICMP error quotes.
    pub note: Option<usize>,
}

/// One frame of a block.
#[derive(Clone, Copy)]
struct Place {
    record: Record,
    note: bool,
}

/// Frames copied out of the read buffer, and the capture time reached when the block was closed.
struct Block {
    bytes: Vec<u8>,
    frames: Vec<Place>,
    floor: u64,
}

impl Block {
    fn new() -> Box<Block> {
        let (bytes, frames) = (Vec::with_capacity(BLOCK_BYTES), Vec::with_capacity(BLOCK_FRAMES));
        Box::new(Block { bytes, frames, floor: 0 })
    }

    #[inline]
    fn fits(&self, record: &Record) -> bool {
        self.frames.len() < BLOCK_FRAMES && self.bytes.len() + record.captured as usize <= BLOCK_BYTES
    }
}

/// The reader's end of one queue.
struct Lane {
    full: rtrb::Producer<Box<Block>>,
    empty: rtrb::Consumer<Box<Block>>,
    filling: Option<Box<Block>>,
    /// Capture time of the block sent last.
    told: u64,
    frames: u64,
    undelivered: u64,
}

/// What the splitter did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SplitCounts {
    /// Frames given to each queue.
    pub queues: Vec<u64>,
    /// Frames of queues whose worker was gone.
    pub undelivered: u64,
}

/// The reading side. `R` says where a frame goes; it is asked once for each frame, in capture order.
pub struct Splitter<R> {
    reader: Reader,
    pace: Pace,
    route: R,
    lanes: Vec<Lane>,
}

/// One worker's side.
pub struct SplitSource {
    full: rtrb::Consumer<Box<Block>>,
    empty: rtrb::Producer<Box<Block>>,
    block: Option<Box<Block>>,
    next: usize,
    held: usize,
    note: bool,
    floor: u64,
}

/// Splits `reader` into `queues` sources. `route` says where a frame goes; an owner beyond the last queue means queue 0,
/// a note to the owner itself or beyond the last queue means none.
pub fn split<R>(reader: Reader, queues: usize, speed: Speed, route: R) -> (Splitter<R>, Vec<SplitSource>)
where
    R: FnMut(FrameView<'_>, Timestamp) -> Route,
{
    let (lanes, sources) = (0..queues.max(1)).map(|_| lane()).unzip();
    (Splitter { reader, pace: Pace::new(speed), route, lanes }, sources)
}

fn lane() -> (Lane, SplitSource) {
    let (full_in, full_out) = rtrb::RingBuffer::new(BLOCKS);
    let (mut empty_in, empty_out) = rtrb::RingBuffer::new(BLOCKS);
    for _ in 1..BLOCKS {
        // The ring is empty and has one slot more than this.
        let _ = empty_in.push(Block::new());
    }
    (
        Lane { full: full_in, empty: empty_out, filling: Some(Block::new()), told: 0, frames: 0, undelivered: 0 },
        SplitSource { full: full_out, empty: empty_in, block: None, next: 0, held: 0, note: false, floor: 0 },
    )
}

impl<R> Splitter<R>
where
    R: FnMut(FrameView<'_>, Timestamp) -> Route,
{
    /// What is counted and found while reading.
    pub fn report(&self) -> Arc<Report> {
        self.reader.report()
    }

    /// Reads everything; returns when the captures have ended or no worker is left.
    pub fn run(mut self) -> SplitCounts {
        let (mut latest, mut ticked) = (0, 0);
        loop {
            let record = match self.reader.next(false) {
                Next::Frame(record) => record,
                Next::Ended => break,
                Next::Held => {
                    // What follows may be a read from a pipe that takes its time: nobody shall wait for frames we have.
                    self.tell(latest, Tell::Everyone);
                    match self.reader.next(true) {
                        Next::Frame(record) => record,
                        Next::Held | Next::Ended => break,
                    }
                }
            };
            self.await_due(record.time, latest);
            if self.reader.report_ref().is_stopped() {
                break;
            }
            let start = record.start as usize;
            let bytes = self.reader.buffer().get(start..start + record.captured as usize).unwrap_or_default();
            let time = Timestamp(record.time);
            let view = FrameView { port: 0, bytes, wire_bytes: record.wire, time: Some(time), link: record.link };
            let Route { owner, note } = (self.route)(view, time);
            let owner = if owner < self.lanes.len() { owner } else { 0 };
            self.reader.report_ref().add(1, u64::from(record.wire), u64::from(record.captured < record.wire));
            latest = record.time;
            if let Some(lane) = self.lanes.get_mut(owner) {
                lane.push(&record, bytes, false);
            }
            if let Some(lane) = note.filter(|queue| *queue != owner).and_then(|queue| self.lanes.get_mut(queue)) {
                lane.push(&record, bytes, true);
            }
            if latest - ticked >= TICK_NS {
                self.tell(latest, Tell::Idle);
                ticked = latest;
                if self.lanes.iter().all(|lane| lane.full.is_abandoned()) {
                    break;
                }
            }
        }
        for lane in &mut self.lanes {
            // The last word must not be lost because all blocks are in use.
            lane.filling = lane.filling.take().or_else(|| lane.take_empty());
            // All are told the very end: it decides which flows it cut.
            lane.close_after(latest, 0);
        }
        SplitCounts {
            queues: self.lanes.iter().map(|lane| lane.frames).collect(),
            undelivered: self.lanes.iter().map(|lane| lane.undelivered).sum(),
        }
    }

    /// At the capture's own speed: sleeps until `time` is due, telling the queues meanwhile how far it has come.
    fn await_due(&mut self, time: u64, latest: u64) {
        while let Some(rest) = self.pace.until(time).filter(|_| !self.reader.report_ref().is_stopped()) {
            self.tell(self.pace.reached().unwrap_or(latest).min(time), Tell::Everyone);
            std::thread::sleep(rest.min(Duration::from_nanos(TICK_NS)));
        }
    }

    /// Hands over what there is, with the capture time reached.
    fn tell(&mut self, time: u64, whom: Tell) {
        for lane in &mut self.lanes {
            if whom == Tell::Everyone || lane.full.slots() == BLOCKS {
                lane.close(time);
            }
        }
    }
}

/// Which queues are sent the block being filled before it is full.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tell {
    /// Those that have nothing to do.
    Idle,
    /// All.
    Everyone,
}

impl Lane {
    #[inline]
    fn push(&mut self, record: &Record, bytes: &[u8], note: bool) {
        self.frames += u64::from(!note);
        if self.filling.as_ref().is_some_and(|block| !block.fits(record)) {
            self.close(record.time);
        }
        if self.filling.is_none() {
            self.filling = self.take_empty();
        }
        match &mut self.filling {
            Some(block) => {
                let start = block.bytes.len() as u32;
                block.bytes.extend_from_slice(bytes);
                block.frames.push(Place { record: Record { start, captured: bytes.len() as u32, ..*record }, note });
            }
            None => self.undelivered += u64::from(!note),
        }
    }

    /// Waits for the worker to give a block back; `None` if it is gone.
    fn take_empty(&mut self) -> Option<Box<Block>> {
        let mut naps = 0_u32;
        loop {
            if let Ok(block) = self.empty.pop() {
                return Some(block);
            }
            if self.empty.is_abandoned() {
                return None;
            }
            naps += 1;
            if naps < 64 { std::thread::yield_now() } else { std::thread::sleep(NAP) }
        }
    }

    /// Sends the block being filled, with the capture time reached. An empty one is sent only when it tells news.
    fn close(&mut self, time: u64) {
        self.close_after(time, TICK_NS - 1);
    }

    /// The same; an empty one is sent when more time than that, nanoseconds, has passed since the one before.
    fn close_after(&mut self, time: u64, passed: u64) {
        if self.filling.is_none() {
            self.filling = self.empty.pop().ok();
        }
        let Some(mut block) = self.filling.take() else { return };
        if block.frames.is_empty() && time.saturating_sub(self.told) <= passed {
            self.filling = Some(block);
            return;
        }
        block.floor = time;
        self.told = time;
        if self.full.is_abandoned() {
            self.undelivered += block.frames.iter().filter(|place| !place.note).count() as u64;
            block.frames.clear();
            block.bytes.clear();
            self.filling = Some(block);
            return;
        }
        // There are as many slots as blocks.
        let pushed = self.full.push(block);
        debug_assert!(pushed.is_ok(), "more blocks than slots");
    }
}

impl SplitSource {
    fn frames(&self) -> &[Place] {
        self.block.as_ref().map(|block| block.frames.as_slice()).unwrap_or_default()
    }

    /// Gives the block back whose frames are all done with, and takes the next.
    fn next_block(&mut self) {
        if let Some(mut block) = self.block.take() {
            block.bytes.clear();
            block.frames.clear();
            // There are as many slots as blocks.
            let pushed = self.empty.push(block);
            debug_assert!(pushed.is_ok(), "more blocks than slots");
        }
        self.block = self.full.pop().ok();
        self.next = 0;
    }
}

impl Source for SplitSource {
    #[inline]
    fn receive(&mut self, cap: usize) -> Received {
        if self.held > 0 {
            return Received::default();
        }
        let mut ended = false;
        if self.next >= self.frames().len() {
            // Order matters: what was sent before the reader went away is seen after its going is.
            let gone = self.full.is_abandoned();
            self.next_block();
            ended = gone && self.block.is_none();
        }
        let limit = cap.min(BURST_MAX).min(self.frames().len() - self.next);
        let rest = self.frames().get(self.next..self.next + limit).unwrap_or_default();
        // A note comes alone.
        let frames = rest.iter().position(|place| place.note).unwrap_or(limit);
        let note = frames == 0 && limit > 0;
        self.held = if note { 1 } else { frames };
        self.note = note;
        if self.next >= self.frames().len()
            && let Some(block) = &self.block
        {
            self.floor = block.floor;
        }
        Received { count: self.held, waiting: 0, capacity: 0, ended }
    }

    #[inline(always)]
    fn frame(&self, index: usize) -> FrameView<'_> {
        let empty = FrameView { port: 0, bytes: &[], wire_bytes: 0, time: None, link: LinkType::Ethernet };
        let Some(block) = self.block.as_ref().filter(|_| index < self.held) else { return empty };
        let Some(Place { record, .. }) = block.frames.get(self.next + index) else { return empty };
        let start = record.start as usize;
        FrameView {
            port: 0,
            bytes: block.bytes.get(start..start + record.captured as usize).unwrap_or_default(),
            wire_bytes: record.wire,
            time: Some(Timestamp(record.time)),
            link: record.link,
        }
    }

    #[inline(always)]
    fn prefetch(&self, index: usize) {
        if let Some(block) = &self.block
            && let Some(byte) =
                block.frames.get(self.next + index).and_then(|one| block.bytes.get(one.record.start as usize))
        {
            prefetch::line(byte);
        }
    }

    fn release(&mut self) {
        if self.held == 0 {
            return;
        }
        self.next += self.held;
        self.held = 0;
        if let Some(block) = &self.block {
            let done = self.next >= block.frames.len();
            let last = block.frames.get(self.next.wrapping_sub(1)).map_or(block.floor, |place| place.record.time);
            self.floor = if done { block.floor } else { last };
        }
    }

    #[inline(always)]
    fn is_note(&self) -> bool {
        self.note
    }

    fn wait(&mut self, limit: Duration) {
        if self.full.is_empty() && !self.full.is_abandoned() {
            std::thread::sleep(limit.min(NAP));
        }
    }

    /// Capture time reached: of the last frame given back or, when the block is done with, of the reader when it sent it.
    fn time_floor(&self) -> Option<Timestamp> {
        (self.floor > 0).then_some(Timestamp(self.floor))
    }
}

#[cfg(test)]
mod tests {
    use super::super::input::Limits;
    use super::super::testing::{Seen, Writer, drain};
    use super::*;
    use proptest::prelude::*;

    /// Routes by the first byte.
    fn by_first_byte(frame: FrameView<'_>, _: Timestamp) -> Route {
        Route { owner: frame.bytes.first().map_or(0, |byte| usize::from(*byte)), note: None }
    }

    fn capture(frames: &[(u8, u64, usize)]) -> Reader {
        let mut file = Writer::new(false);
        file.classic(0xa1b2_3c4d, (2, 4), 1);
        for (queue, milliseconds, length) in frames {
            let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000 * 1_000_000);
            file.record(seconds as u32, rest as u32, *length as u32, *length as u32, &vec![*queue; *length]);
        }
        Reader::from_stream("split", Box::new(std::io::Cursor::new(file.bytes)), Limits::default()).unwrap()
    }

    /// Drains a source on its own thread, checking that no frame is older than the floor told before it.
    fn follow(mut source: SplitSource, cap: usize) -> (Vec<Seen>, Vec<u64>) {
        let (mut seen, mut floors) = (Vec::new(), vec![0]);
        loop {
            let floor = source.time_floor().unwrap_or_default().0;
            let burst = source.receive(cap);
            for index in 0..burst.count {
                let frame = source.frame(index);
                let time = frame.time.unwrap().0;
                assert!(time >= floor, "a frame of {time} after the floor {floor}");
                seen.push(Seen { bytes: frame.bytes.to_vec(), wire: frame.wire_bytes, time, link: frame.link });
            }
            source.release();
            floors.extend(source.time_floor().map(|floor| floor.0));
            if burst.ended {
                return (seen, floors);
            }
            if burst.count == 0 {
                source.wait(Duration::from_millis(1));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_frame_reaches_its_queue_in_order_and_floors_never_lie(
            queues in 1..5_usize,
            cap in 1..300_usize,
            steps in proptest::collection::vec((0..6_u8, 0..400_u64, 1..3000_usize), 0..1500),
        ) {
            let mut time = 1;
            let frames: Vec<_> = steps.iter().map(|(queue, step, length)| {
                time += step * u64::from(*step > 300);
                (*queue, time, *length)
            }).collect();
            let expected = drain(&mut super::super::source::PcapSource::new(capture(&frames), Speed::Max), 256);
            let (splitter, sources) = split(capture(&frames), queues, Speed::Max, by_first_byte);
            let report = splitter.report();
            let (counts, outcomes) = std::thread::scope(|scope| {
                let reading = scope.spawn(|| splitter.run());
                let workers: Vec<_> = sources.into_iter().map(|source| scope.spawn(move || follow(source, cap))).collect();
                let outcomes: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
                (reading.join().unwrap(), outcomes)
            });
            prop_assert_eq!(report.packets(), frames.len() as u64);
            prop_assert_eq!(counts.undelivered, 0);
            for (queue, (seen, floors)) in outcomes.into_iter().enumerate() {
                let mine: Vec<_> = expected.iter().filter(|frame| {
                    let owner = usize::from(frame.bytes[0]);
                    queue == if owner < queues { owner } else { 0 }
                }).cloned().collect();
                prop_assert_eq!(counts.queues[queue], mine.len() as u64);
                prop_assert_eq!(seen, mine);
                prop_assert!(floors.is_sorted());
                // Whatever its own share, every queue hears how far the capture came.
                let last = frames.last().map_or(0, |frame| frame.1 * MILLISECOND);
                prop_assert!(last - floors.last().unwrap() < TICK_NS, "{floors:?} of {last}");
            }
        }
    }

    #[test]
    fn a_queue_without_frames_hears_the_time_while_the_other_works() {
        let frames: Vec<_> = (1..50).map(|number| (0, number * 150, 60)).collect();
        let (splitter, sources) = split(capture(&frames), 2, Speed::Max, by_first_byte);
        let outcomes = std::thread::scope(|scope| {
            scope.spawn(|| splitter.run());
            let workers: Vec<_> = sources.into_iter().map(|source| scope.spawn(move || follow(source, 8))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!((outcomes[0].0.len(), outcomes[1].0.len()), (49, 0));
        assert_eq!(outcomes[1].1.last(), Some(&(49 * 150 * MILLISECOND)));
    }

    #[test]
    fn notes_come_alone_in_their_place_and_are_not_counted() {
        let frames: Vec<_> = (0..9).map(|number| (number, 1, 60)).collect();
        let route = |frame: FrameView<'_>, _| {
            let number = usize::from(frame.bytes[0]);
            Route { owner: 0, note: (number % 3 == 0).then_some(number / 3 % 2) }
        };
        let (splitter, mut sources) = split(capture(&frames), 2, Speed::Max, route);
        assert_eq!(splitter.run().queues, [9, 0]);
        let mut noted = sources.pop().unwrap();
        let owned = drain(&mut sources[0], 4);
        assert_eq!(owned.len(), 9);
        let burst = noted.receive(8);
        assert_eq!((burst.count, noted.is_note(), noted.frame(0).bytes[0]), (1, true, 3));
        noted.release();
        while !noted.receive(8).ended {
            noted.release();
        }
        assert!(!noted.is_note());
    }

    #[test]
    fn a_worker_that_goes_away_does_not_stop_the_others() {
        let frames: Vec<_> = (1..20_000).map(|number| ((number % 2) as u8, number, 200)).collect();
        let (splitter, mut sources) = split(capture(&frames), 2, Speed::Max, by_first_byte);
        drop(sources.pop());
        let stays = sources.pop().unwrap();
        let (counts, seen) = std::thread::scope(|scope| {
            let reading = scope.spawn(|| splitter.run());
            let seen = follow(stays, 256).0.len();
            (reading.join().unwrap(), seen)
        });
        assert_eq!((seen, counts.undelivered), (9_999, 10_000));
        assert_eq!(counts.queues, [9_999, 10_000]);
    }
}
