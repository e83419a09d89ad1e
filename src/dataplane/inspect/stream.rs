//! One side of a TCP connection, put back in order as far as a parser still wants bytes.
//!
//! Lazy: what arrives in order goes straight from the frame to the parser; only what a parser cannot use yet, and what came
//! ahead of a hole, is copied into a buffer of [`BUFFER_BYTES`] from the queue's pool. First wins: a byte that is held is
//! not replaced by a later one at its place. Every limit ends in a [`Gave`] that is counted.

use super::parse::{Step, UNIT_MAX};

/// Size of a buffer: the largest unit.
pub const BUFFER_BYTES: usize = UNIT_MAX;
/// Stretches between holes that are kept; a further one is let go, as if it had been lost.
const ISLANDS: usize = 4;
/// Times that a parser is asked about a unit that is not whole whenever a byte comes; then only when it has grown by an
/// eighth, so that a peer that sends single bytes cannot have each of them cost a look at all before it, and when the other
/// side speaks, which it does when it has all it waited for.
const ASKS: u8 = 32;
const GROWTH: usize = 8;

/// Buffers of one queue.
pub struct Buffers {
    memory: Vec<u8>,
    free: Vec<u32>,
}

/// No buffer.
const NONE: u32 = u32::MAX;

impl Buffers {
    /// Takes memory for `count` buffers.
    pub fn new(count: usize) -> Buffers {
        let count = count.min(NONE as usize);
        Buffers { memory: vec![0; count * BUFFER_BYTES], free: (0..count as u32).rev().collect() }
    }

    /// Buffers not in use.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    fn get(&self, index: u32) -> &[u8] {
        let begin = (index as usize).saturating_mul(BUFFER_BYTES);
        self.memory.get(begin..begin.saturating_add(BUFFER_BYTES)).unwrap_or_default()
    }

    fn get_mut(&mut self, index: u32) -> &mut [u8] {
        let begin = (index as usize).saturating_mul(BUFFER_BYTES);
        self.memory.get_mut(begin..begin.saturating_add(BUFFER_BYTES)).unwrap_or_default()
    }

    fn give_back(&mut self, index: &mut u32) {
        if *index != NONE {
            self.free.push(*index); // never more than there were at first
            *index = NONE;
        }
    }
}

/// Why a side is no longer put together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gave {
    /// No buffer was free.
    NoBuffer,
    /// A unit is longer than [`UNIT_MAX`].
    TooLong,
    /// The side was inspected as far as the settings allow.
    Depth,
}

/// What became of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The side goes on.
    Goes,
    /// The parser wants no more of this side.
    Done,
    /// It is no longer put together.
    GaveUp(Gave),
    /// The parser found that it is something else, or broken.
    Broken(super::parse::Anomaly),
}

/// Told about bytes in order, and about holes.
pub trait Reader {
    /// See [`super::parse::Parse::step`].
    fn step(&mut self, bytes: &[u8]) -> Step;
    /// See [`super::parse::Parse::gap`].
    fn gap(&mut self, bytes: u64) -> Step;
}

/// A stretch that is held: offsets from `Stream::next`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Island {
    begin: u32,
    end: u32,
}

/// State of one side.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Sequence number of the first byte that the parser has not taken, and of the buffer's first one.
    next: u32,
    buffer: u32,
    /// What the buffer holds, in order, none touching another; the first `count` are in use.
    islands: [Island; ISLANDS],
    count: u8,
    /// Times that the parser was asked about the present unit.
    asks: u8,
    /// Bytes of it that were there when it was asked last.
    asked: u32,
    started: bool,
    done: bool,
    /// Bytes that the parser waits for.
    need: u32,
    /// Bytes from `next` on that nobody wants.
    skip: u64,
    /// Bytes that the parser took, passed over and lost.
    passed: u64,
    lost: u64,
}

impl Default for Stream {
    fn default() -> Stream {
        Stream {
            next: 0,
            buffer: NONE,
            islands: [Island::default(); ISLANDS],
            count: 0,
            asks: 0,
            asked: 0,
            started: false,
            done: false,
            need: 1,
            skip: 0,
            passed: 0,
            lost: 0,
        }
    }
}

impl Stream {
    /// Wants no more.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Bytes have come in order since the parser was asked last.
    pub fn has_news(&self) -> bool {
        !self.done && self.held() > self.asked as usize
    }

    /// Has a buffer.
    pub fn holds(&self) -> bool {
        self.buffer != NONE
    }

    /// Bytes lost in holes so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The first byte will have this number, unless that is known already.
    pub fn start(&mut self, sequence: u32) {
        if !self.started {
            (self.next, self.started) = (sequence, true);
        }
    }

    /// Nothing more is wanted; gives the buffer back.
    pub fn finish(&mut self, buffers: &mut Buffers) {
        self.done = true;
        self.count = 0;
        buffers.give_back(&mut self.buffer);
    }

    /// Shows what waits, whatever it waited for.
    pub fn resume(&mut self, depth: u64, buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        if self.done {
            return Outcome::Done;
        }
        self.ask_again();
        let outcome = self.read_held(buffers, reader);
        self.ended(outcome, depth, buffers)
    }

    fn ask_again(&mut self) {
        (self.need, self.asks) = (1, 0);
    }

    /// What is held in order, from the first byte that the parser has not taken.
    pub fn waiting<'a>(&self, buffers: &'a Buffers) -> &'a [u8] {
        buffers.get(self.buffer).get(..self.held()).unwrap_or_default()
    }

    /// A segment's payload; `depth`: bytes that are inspected at most.
    pub fn segment(
        &mut self,
        sequence: u32,
        payload: &[u8],
        depth: u64,
        buffers: &mut Buffers,
        reader: &mut impl Reader,
    ) -> Outcome {
        if self.done {
            return Outcome::Done;
        }
        self.start(sequence);
        // Sequence numbers compare within half their range (RFC 9293 section 3.4).
        let ahead = i64::from(sequence.wrapping_sub(self.next) as i32);
        let outcome = self.place(ahead, payload, buffers, reader);
        self.ended(outcome, depth, buffers)
    }

    /// The peer has received all before `sequence`: a hole below it will never be filled on this tap.
    pub fn acknowledged(
        &mut self,
        sequence: u32,
        depth: u64,
        buffers: &mut Buffers,
        reader: &mut impl Reader,
    ) -> Outcome {
        let behind_hole = self.islands.iter().take(self.count.into()).find(|island| island.begin > 0);
        let Some(&Island { begin, .. }) = behind_hole.filter(|_| !self.done) else { return Outcome::Goes };
        let reached = sequence.wrapping_sub(self.next) as i32;
        if reached < begin as i32 {
            return Outcome::Goes;
        }
        let outcome = self.cross_hole(begin, buffers, reader);
        self.ended(outcome, depth, buffers)
    }

    fn ended(&mut self, outcome: Outcome, depth: u64, buffers: &mut Buffers) -> Outcome {
        match outcome {
            Outcome::Goes if self.passed > depth => {
                self.finish(buffers);
                Outcome::GaveUp(Gave::Depth)
            }
            Outcome::Goes => Outcome::Goes,
            _ => {
                self.finish(buffers);
                outcome
            }
        }
    }

    /// Bytes held in order.
    fn held(&self) -> usize {
        match self.islands.first() {
            Some(first) if self.count > 0 && first.begin == 0 => first.end as usize,
            _ => 0,
        }
    }

    /// A segment that begins `ahead` of what is wanted, or before it.
    fn place(&mut self, ahead: i64, payload: &[u8], buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        // What is not wanted: from before `next`, or to be passed over.
        let wanted = i64::try_from(self.skip).unwrap_or(i64::MAX);
        let end = ahead.saturating_add(payload.len() as i64);
        if self.skip > 0 {
            if end <= wanted {
                // A hole in what is passed over is no loss.
                self.step_over(u32::try_from(end).unwrap_or(0));
                self.skip -= u64::try_from(end).unwrap_or(0);
                return Outcome::Goes;
            }
            self.step_over(self.skip as u32); // below `end`, which is below 2^31 + 64 Ki
            self.skip = 0;
        }
        let ahead = ahead - wanted;
        let (at, payload) = if ahead < 0 {
            let old = usize::try_from(-ahead).unwrap_or(usize::MAX);
            (0, payload.get(old..).unwrap_or_default())
        } else {
            (u32::try_from(ahead).unwrap_or(u32::MAX), payload)
        };
        if payload.is_empty() {
            return Outcome::Goes;
        }
        if at == 0 && self.count == 0 {
            return self.read(payload, buffers, reader);
        }
        match self.keep(at, payload, buffers) {
            Outcome::Goes => self.read_held(buffers, reader),
            other => other,
        }
    }

    /// Reads straight from the frame; what is left goes into the buffer.
    fn read(&mut self, payload: &[u8], buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        let (taken, outcome) = self.run(payload, reader);
        self.pass(taken as u32); // at most a frame
        let rest = payload.get(taken..).unwrap_or_default();
        if outcome != Outcome::Goes || rest.is_empty() {
            return outcome;
        }
        self.keep(0, rest, buffers)
    }

    /// Reads what the buffer holds in order.
    fn read_held(&mut self, buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        let (taken, outcome) = self.run(self.waiting(buffers), reader);
        self.drop_front(taken as u32, buffers); // at most a buffer
        if outcome == Outcome::Goes && self.skip > 0 && self.count > 0 {
            return self.skip_held(buffers, reader);
        }
        outcome
    }

    /// What is passed over reaches into what is held behind a hole.
    fn skip_held(&mut self, buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        let last = self.islands.get(usize::from(self.count) - 1).map_or(0, |island| island.end);
        let here = self.skip.min(u64::from(last)) as u32; // at most a buffer
        self.drop_front(here, buffers);
        self.skip -= u64::from(here);
        // Once more at most for each island: each time one is used up.
        if self.skip == 0 && self.held() > 0 { self.read_held(buffers, reader) } else { Outcome::Goes }
    }

    /// Goes on behind the hole before `begin`.
    fn cross_hole(&mut self, begin: u32, buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        let hole = u64::from(begin) - self.held() as u64;
        self.lost += hole;
        self.ask_again();
        // What was held before the hole was part of a unit that will never be whole.
        self.drop_front(begin, buffers);
        match reader.gap(hole) {
            Step::Skip(count) => {
                self.skip = count;
                self.skip_held(buffers, reader)
            }
            Step::Took(_) | Step::Need(_) => self.read_held(buffers, reader),
            Step::Done => Outcome::Done,
            Step::Broken(anomaly) => Outcome::Broken(anomaly),
        }
    }

    /// Shows `bytes` to the parser as often as it takes some of them; gives how many are done with.
    fn run(&mut self, bytes: &[u8], reader: &mut impl Reader) -> (usize, Outcome) {
        let mut at = 0;
        while self.skip == 0
            && let Some(shown) = bytes.get(at..)
            && !shown.is_empty()
            && shown.len() >= self.need as usize
        {
            let count = shown.len();
            let (taken, skip) = match reader.step(shown) {
                Step::Took(taken) if taken > 0 => (taken.min(count), 0),
                Step::Skip(skip) if skip > 0 => {
                    let here = usize::try_from(skip).unwrap_or(count).min(count);
                    (here, skip - here as u64)
                }
                Step::Need(_) if count >= UNIT_MAX => return (at, Outcome::GaveUp(Gave::TooLong)),
                Step::Need(need) if need > UNIT_MAX => return (at, Outcome::GaveUp(Gave::TooLong)),
                Step::Need(need) => {
                    self.asks = self.asks.saturating_add(1);
                    self.asked = count as u32; // at most a buffer
                    let more = if self.asks > ASKS { (count / GROWTH).max(1) } else { 1 };
                    self.need = need.max(count + more).min(UNIT_MAX) as u32;
                    return (at, Outcome::Goes);
                }
                // To take nothing and wait for nothing is to wait for more.
                Step::Took(_) | Step::Skip(_) => {
                    self.need = (count + 1) as u32; // at most a buffer and one
                    return (at, Outcome::Goes);
                }
                Step::Done => return (at, Outcome::Done),
                Step::Broken(anomaly) => return (at, Outcome::Broken(anomaly)),
            };
            at += taken;
            self.skip = skip;
            self.ask_again();
        }
        (at, Outcome::Goes)
    }

    /// What nobody looks at does not count as inspected.
    fn step_over(&mut self, count: u32) {
        self.next = self.next.wrapping_add(count);
    }

    fn pass(&mut self, count: u32) {
        self.step_over(count);
        self.passed += u64::from(count);
    }

    /// Holds a segment that lies `at` bytes from `next`.
    fn keep(&mut self, at: u32, payload: &[u8], buffers: &mut Buffers) -> Outcome {
        let room = BUFFER_BYTES.saturating_sub(at as usize);
        if payload.len() > room && at as usize <= self.held() {
            return Outcome::GaveUp(Gave::TooLong);
        }
        let payload = payload.get(..payload.len().min(room)).unwrap_or_default();
        let new = Island { begin: at, end: at + payload.len() as u32 }; // at most a buffer
        let Some((islands, count)) = self.with(new).filter(|_| !payload.is_empty()) else { return Outcome::Goes };
        if self.buffer == NONE {
            let Some(index) = buffers.free.pop() else { return Outcome::GaveUp(Gave::NoBuffer) };
            self.buffer = index;
        }
        self.write(new, payload, buffers);
        (self.islands, self.count) = (islands, count);
        Outcome::Goes
    }

    /// Writes what no island holds yet: the first to come wins.
    fn write(&self, new: Island, payload: &[u8], buffers: &mut Buffers) {
        let place = buffers.get_mut(self.buffer);
        let mut put = |from: u32, to: u32| {
            let source = payload.get((from - new.begin) as usize..(to - new.begin) as usize);
            if let (Some(target), Some(source)) = (place.get_mut(from as usize..to as usize), source) {
                target.copy_from_slice(source);
            }
        };
        let mut from = new.begin;
        for island in self.islands.iter().take(self.count.into()) {
            if island.begin >= new.end {
                break;
            }
            if island.begin > from {
                put(from, island.begin);
            }
            from = from.max(island.end);
        }
        if from < new.end {
            put(from, new.end);
        }
    }

    /// The islands with `new` among them; `None` if they would be too many.
    fn with(&self, new: Island) -> Option<([Island; ISLANDS], u8)> {
        let mut islands = [Island::default(); ISLANDS];
        let mut count = 0;
        let mut put = |island: Island| {
            *islands.get_mut(count)? = island;
            count += 1;
            Some(())
        };
        let mut new = Some(new);
        for &island in self.islands.iter().take(self.count.into()) {
            match new {
                Some(one) if one.end < island.begin => {
                    put(one)?;
                    put(island)?;
                    new = None;
                }
                Some(one) if one.begin <= island.end => {
                    new = Some(Island { begin: one.begin.min(island.begin), end: one.end.max(island.end) });
                }
                _ => put(island)?,
            }
        }
        if let Some(one) = new {
            put(one)?;
        }
        Some((islands, count as u8)) // at most ISLANDS
    }

    /// Drops the first `count` bytes of what is held, holes included, and gives an empty buffer back.
    fn drop_front(&mut self, count: u32, buffers: &mut Buffers) {
        self.pass(count);
        let before = std::mem::take(&mut self.islands);
        let all = usize::from(std::mem::take(&mut self.count));
        let last = before.get(..all).and_then(<[Island]>::last).map_or(0, |island| island.end);
        for island in before.iter().take(all).filter(|island| island.end > count) {
            if let Some(place) = self.islands.get_mut(usize::from(self.count)) {
                *place = Island { begin: island.begin.saturating_sub(count), end: island.end - count };
                self.count += 1;
            }
        }
        if self.count == 0 {
            buffers.give_back(&mut self.buffer);
        } else if count > 0 && (count as usize) < BUFFER_BYTES && last as usize <= BUFFER_BYTES {
            buffers.get_mut(self.buffer).copy_within(count as usize..last as usize, 0);
        }
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
