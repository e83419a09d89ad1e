//! Where a segment's bytes go: to the parser, past it, into the buffer, or away.

use super::super::parse::{Hole, Resume, Step, UNIT_MAX};
use super::held::{NoBuffer, Put};
use super::{ASKS, BUFFER_BYTES, Buffers, GROWTH, Gave, Note, Outcome, RUN_MAX, Reader, SKIPPED_COUNTS, Stream};

impl Stream {
    /// A segment within the window; `rounds`: how often a full buffer may still be read before all of it has found room.
    pub(super) fn place(
        &mut self,
        sequence: u32,
        payload: &[u8],
        rounds: u8,
        buffers: &mut Buffers,
        reader: &mut impl Reader,
    ) -> Outcome {
        let ahead = i64::from(sequence.wrapping_sub(self.next) as i32);
        let end = ahead + payload.len() as i64;
        if end <= 0 {
            self.come_again(payload.len(), reader);
            return Outcome::Goes;
        }
        if ahead < 0 {
            reader.note(Note::Overlap);
        }
        let ahead = match self.step_over(ahead, end, reader) {
            Some(ahead) => ahead,
            None => return Outcome::Goes,
        };
        let old = usize::try_from(-ahead).unwrap_or(0);
        let (at, payload) = (u32::try_from(ahead).unwrap_or(0), payload.get(old..).unwrap_or_default());
        if at > self.held.in_order() && self.has_reached(at) {
            // What was acknowledged before does not come any more.
            let outcome = self.cross(at, at, buffers, reader);
            return if outcome == Outcome::Goes {
                self.place(sequence, payload, rounds, buffers, reader)
            } else {
                outcome
            };
        }
        if at == 0 && self.held.is_empty() {
            return self.read(payload, rounds, buffers, reader);
        }
        match self.keep(at, payload, rounds, buffers, reader) {
            Outcome::Goes => self.read_held(buffers, reader),
            other => other,
        }
    }

    /// A segment that lies behind.
    fn come_again(&mut self, count: usize, reader: &mut impl Reader) {
        if self.missing > 0 {
            // A hole in what is passed over may be filled late; nobody has kept where it was.
            let late = self.missing.min(count as u32);
            self.missing -= late;
            reader.passed(late.into());
        } else {
            reader.note(Note::Duplicate);
        }
    }

    /// Passes over what is not wanted of a segment that lies `ahead` of `next` and ends at `end`; gives where the rest lies,
    /// if there is one. A hole in what is passed over ends nothing.
    fn step_over(&mut self, ahead: i64, end: i64, reader: &mut impl Reader) -> Option<i64> {
        if self.skip == 0 {
            return Some(ahead);
        }
        let wanted = i64::try_from(self.skip).unwrap_or(i64::MAX);
        let here = end.min(wanted);
        // Both lie below the largest window and a frame.
        let missing = u32::try_from(ahead.min(here)).unwrap_or(0);
        self.missing = self.missing.saturating_add(missing);
        self.pass(here as u32);
        self.skip -= here as u64;
        reader.passed(here as u64 - u64::from(missing));
        (end > wanted).then_some(ahead - here)
    }

    /// Reads straight from the frame; what is left goes into the buffer.
    fn read(&mut self, payload: &[u8], rounds: u8, buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        let (taken, outcome) = self.run(payload, reader);
        self.pass(taken as u32); // at most a frame
        let rest = payload.get(taken..).unwrap_or_default();
        if outcome != Outcome::Goes || rest.is_empty() {
            return outcome;
        }
        self.keep(0, rest, rounds, buffers, reader)
    }

    /// Reads what the buffer holds in order.
    pub(super) fn read_held(&mut self, buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        let (taken, outcome) = self.run(self.held.waiting(buffers), reader);
        self.drop_front(taken as u32, buffers); // at most a buffer
        if outcome == Outcome::Goes && self.skip > 0 && !self.held.is_empty() {
            return self.skip_held(buffers, reader);
        }
        outcome
    }

    /// What is passed over reaches into what is held behind a hole.
    fn skip_held(&mut self, buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        let here = self.skip.min(u64::from(self.held.end())) as u32; // at most a buffer
        let came = self.held.count_before(here, buffers);
        self.missing = self.missing.saturating_add(here - came);
        self.drop_front(here, buffers);
        reader.passed(came.into());
        self.skip -= u64::from(here);
        // Once more at most for each stretch that is held: each time one is used up.
        if self.skip == 0 && self.held.in_order() > 0 { self.read_held(buffers, reader) } else { Outcome::Goes }
    }

    /// Goes on at `end`: what lies between what is held in order and `begin` was never seen, what lies between `begin` and
    /// `end` was not kept.
    pub(super) fn cross(&mut self, begin: u32, end: u32, buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        let held = self.held.in_order();
        reader.note(Note::Hole { bytes: u64::from(begin.saturating_sub(held)), in_unit: held > 0 });
        let missing = u64::from(end.saturating_sub(held));
        let resume = reader.gap(&Hole { before: self.held.waiting(buffers), bytes: missing });
        self.ask_again();
        self.asked = 0;
        self.looked = self.looked.saturating_add(u32::try_from(missing).unwrap_or(u32::MAX));
        self.read = self.read.saturating_add(held);
        // What was held before the hole was part of a unit that will never be whole.
        self.drop_front(end, buffers);
        match resume {
            Resume::Skip(count) if count > 0 => {
                self.skip = count;
                self.skip_held(buffers, reader)
            }
            Resume::Line => {
                self.seeks_line = true;
                self.read_held(buffers, reader)
            }
            Resume::Here | Resume::Skip(_) => self.read_held(buffers, reader),
            Resume::Done => Outcome::Done,
        }
    }

    /// Shows `bytes` to the parser as often as it takes some of them; gives how many are done with.
    fn run(&mut self, bytes: &[u8], reader: &mut impl Reader) -> (usize, Outcome) {
        let mut at = 0;
        if self.seeks_line {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            at = end.map_or(bytes.len(), |end| end + 1);
            self.looked = self.looked.saturating_add(at as u32); // at most a buffer
            self.seeks_line = end.is_none();
        }
        while self.skip == 0
            && let Some(shown) = bytes.get(at..)
            && !shown.is_empty()
            && shown.len() >= self.need as usize
        {
            let count = shown.len();
            let (taken, skip) = match reader.step(shown) {
                Step::Took(taken) if taken > 0 => {
                    self.read = self.read.saturating_add(taken.min(count) as u32); // at most a buffer
                    (taken.min(count), 0)
                }
                Step::Pass(taken) if taken > 0 => {
                    self.looked = self.looked.saturating_add(taken.min(count) as u32); // at most a buffer
                    (taken.min(count), 0)
                }
                Step::Skip(skip) if skip > 0 => {
                    let here = usize::try_from(skip).unwrap_or(count).min(count);
                    self.looked = self.looked.saturating_add(here.min(SKIPPED_COUNTS) as u32);
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
                Step::Took(_) | Step::Pass(_) | Step::Skip(_) => {
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

    pub(super) fn pass(&mut self, count: u32) {
        self.next = self.next.wrapping_add(count);
        self.passed += u64::from(count);
    }

    /// Holds a segment that lies `at` bytes from `next`.
    fn keep(
        &mut self,
        at: u32,
        payload: &[u8],
        rounds: u8,
        buffers: &mut Buffers,
        reader: &mut impl Reader,
    ) -> Outcome {
        let room = BUFFER_BYTES.saturating_sub(at as usize);
        let (near, far) = payload.split_at(payload.len().min(room));
        if !near.is_empty() {
            match self.held.put(at, near, buffers) {
                Ok(put) => note_put(put, near.len(), reader),
                Err(NoBuffer) => return Outcome::GaveUp(Gave::NoBuffer),
            }
        }
        if far.is_empty() {
            return Outcome::Goes;
        }
        let at = at + near.len() as u32; // at most a buffer
        if at <= self.held.in_order() {
            return self.read_full(far, rounds, buffers, reader);
        }
        reader.note(Note::Beyond);
        self.let_go(at, far.len() as u32, buffers, reader) // at most a frame
    }

    /// Reads a buffer that is full, and then `rest`, which comes behind it.
    #[cold]
    fn read_full(&mut self, rest: &[u8], rounds: u8, buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        let Some(rounds) = rounds.checked_sub(1) else { return Outcome::GaveUp(Gave::TooLong) };
        let place = self.next.wrapping_add(self.held.in_order());
        match self.read_held(buffers, reader) {
            Outcome::Goes if self.held.in_order() as usize == BUFFER_BYTES => Outcome::GaveUp(Gave::TooLong),
            Outcome::Goes => self.place(place, rest, rounds, buffers, reader),
            other => other,
        }
    }

    /// Bytes too far ahead to be kept: remembers where they end, to go on there once the hole before them is lost.
    fn let_go(&mut self, at: u32, count: u32, buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        let [begin, end] = match self.run_ahead() {
            Some([begin, end]) if (begin..=end).contains(&at) => [begin, end.max(at.saturating_add(count))],
            _ => [at, at.saturating_add(count)],
        };
        self.run = [self.next.wrapping_add(begin), self.next.wrapping_add(end)];
        if end - begin < RUN_MAX {
            return Outcome::Goes;
        }
        // As if it had been acknowledged.
        let [begin, _] = self.run;
        self.acked = begin;
        self.cross_acknowledged(buffers, reader)
    }

    pub(super) fn drop_front(&mut self, count: u32, buffers: &mut Buffers) {
        self.pass(count);
        self.held.drop_front(count, buffers);
    }
}

/// How a stretch of `count` bytes lay to what was held.
fn note_put(put: Put, count: usize, reader: &mut impl Reader) {
    match put.common as usize {
        0 => {}
        common if common >= count => reader.note(Note::Duplicate),
        _ => reader.note(Note::Overlap),
    }
    if put.differs {
        reader.note(Note::Different);
    }
}
