//! One side of a TCP connection, put back in order as far as a parser still wants bytes.
//!
//! Lazy: what arrives in order goes straight from the frame to the parser; only what a parser cannot use yet, and what came
//! ahead of a hole, is copied into one of the queue's buffers ([`Buffers`]). First wins: a byte that is held is
//! not replaced by a later one at its place, and one that differs is told. Every limit is told too, as a [`Gave`] where it
//! ends the side and as a [`Note`] where it does not.
//!
//! A hole is crossed when its bytes were acknowledged: the peer has them, so they do not come again, and this tap has lost
//! them.

mod anomalies;
mod buffers;
mod held;
mod order;
mod reader;
mod taken;

use super::parse::{Hole, Resume};
pub use anomalies::{
    ANOMALIES, ANSWER_ON_LIVE, BEGINNING_DIFFERENT, CHECKSUM_INVALID, DATAGRAM_CHECKSUM_INVALID, DEPTH_REACHED,
    GAP_IN_UNIT, HEADER_CHECKSUM_INVALID, OVERLAP_DIFFERENT, PROTOCOLS_DIFFER, SYN_DIFFERENT, SYN_ON_LIVE,
    TIMESTAMP_INVALID, URGENT,
};
pub use buffers::{BUFFER_BYTES, BUFFER_MEMORY, Buffers, SMALL_BYTES, SMALL_PER_LARGE};
use held::Held;
pub use reader::{Gave, Note, Outcome, Reader};
use taken::Taken;
pub use taken::{LONGEST, MARKS, SEGMENTS};

/// Times that a parser is asked about a unit that is not whole whenever a byte comes; then only when it has grown by an
/// eighth, so that a peer that sends single bytes cannot have each of them cost a look at all before it, and when the other
/// side speaks, which it does when it has all it waited for.
const ASKS: u8 = 32;
const GROWTH: usize = 8;

/// What can be on its way at once: the largest window that systems announce by themselves (Windows' autotuning, 16 MiB;
/// Linux' `tcp_rmem` has 6). A hole longer than that is not believed to have been sent.
pub const IN_FLIGHT_MAX: u32 = 16 << 20;
/// What can be on its way of a side of which nothing was seen yet: more than any initial window (RFC 6928: 10 segments).
pub const FIRST_FLIGHT_MAX: u32 = 1 << 16;

/// The largest window that can be announced (RFC 7323 section 2.3): nothing further from what is expected is taken.
pub const WINDOW_MAX: u32 = 1 << 30;

/// Bytes in a row, too far ahead to be kept, that tell that a hole is not filled any more though no acknowledgement was
/// seen: the other direction goes another way. Smaller: a hole that is filled late is given up; larger: more is not read.
pub const RUN_MAX: u32 = 1 << 20;

/// Times that a full buffer is read in the middle of a segment, which the parser takes a unit of each time: one that is longer
/// than a buffer, and a short one before it. Datagrams that were put together have up to 64 KiB.
const ROUNDS: u8 = 16;
/// Bytes of one side that are looked through for an end, or lost, beside the depth. Smaller: what follows large mails is not
/// seen; larger: an elephant's packets are looked at for longer.
pub const LOOKED_MAX: u32 = 64 << 20;
/// What a unit that is passed over counts as looked through, however long it is: more or less what its head costs. So a side
/// may have a million of them, and bytes that nobody reads count nothing. Smaller: more looks for an elephant of tiny units;
/// larger: who fetches rows or chunks hides what he says then.
pub const SKIPPED_COUNTS: usize = 64;

/// State of one side.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Sequence number of the first byte that the parser has not taken, and of the buffer's first one.
    next: u32,
    held: Held,
    /// Latest acknowledgement.
    acked: u32,
    /// Sequence numbers of what came last, in a row and too far ahead to be kept; empty where there is none.
    run: [u32; 2],
    /// Bytes missing in what was passed over.
    missing: u32,
    /// Bytes of the present unit that were there when the parser was asked last.
    asked: u32,
    /// Bytes that the parser waits for.
    need: u32,
    /// Of `passed`, what the parser read.
    read: u32,
    /// Of `passed`, what was only looked through, or lost.
    looked: u32,
    /// Times that the parser was asked about the present unit.
    asks: u8,
    /// The number of the first byte is known, or taken for known.
    started: bool,
    /// By a SYN.
    sure: bool,
    done: bool,
    /// What is held came with the SYN: the peer's acknowledgement, or the next segment, tells whether it counts.
    with_syn: bool,
    /// Behind a hole, up to the end of a line.
    seeks_line: bool,
    /// Bytes from `next` on that nobody wants.
    skip: u64,
    /// Bytes from the first one on up to `next`.
    passed: u64,
    taken: Taken,
}

impl Default for Stream {
    fn default() -> Stream {
        Stream {
            next: 0,
            held: Held::default(),
            acked: 0,
            run: [0; 2],
            missing: 0,
            asked: 0,
            need: 1,
            read: 0,
            looked: 0,
            asks: 0,
            started: false,
            sure: false,
            done: false,
            with_syn: false,
            seeks_line: false,
            skip: 0,
            passed: 0,
            taken: Taken::default(),
        }
    }
}

impl Stream {
    /// Wants no more.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Its beginning was seen: a SYN told it, and the other side's words agree.
    pub fn is_sure(&self) -> bool {
        self.sure
    }

    /// Bytes have come in order since the parser was asked last.
    pub fn has_news(&self) -> bool {
        !self.done && !self.with_syn && self.held.in_order() > self.asked
    }

    /// Bytes from the next one on that nobody wants.
    pub fn passing(&self) -> u64 {
        if self.done { 0 } else { self.skip }
    }

    /// What was to be passed over is wanted after all, from the next byte on that comes.
    pub fn recall(&mut self) {
        self.skip = 0;
        self.ask_again();
    }

    /// Nobody wants any of these bytes.
    pub fn passes_over(&self, sequence: u32, count: usize) -> bool {
        let end = i64::from(sequence.wrapping_sub(self.next) as i32) + count as i64;
        self.done || i64::try_from(self.skip).is_ok_and(|skip| self.started && skip > 0 && end <= skip)
    }

    /// An acknowledgement would tell something.
    pub fn wants_acks(&self) -> bool {
        let [begin, end] = self.run;
        !self.done && self.skip == 0 && (self.with_syn || self.held.has_hole() || begin != end)
    }

    /// The first byte has this number, as a SYN said.
    pub fn begin(&mut self, sequence: u32) {
        if !self.started {
            (self.next, self.acked, self.started, self.sure) = (sequence, sequence, true, true);
        }
    }

    /// The first byte probably has this number, unless that is known already.
    pub fn guess(&mut self, sequence: u32) {
        if !self.started {
            (self.next, self.acked, self.started) = (sequence, sequence, true);
        }
    }

    /// Nothing more is wanted; gives the buffer back. Bytes missing in what was passed over, to be counted.
    pub fn finish(&mut self, buffers: &mut Buffers) -> u64 {
        self.done = true;
        self.held.clear(buffers);
        u64::from(std::mem::take(&mut self.missing))
    }

    /// Shows what waits, whatever it waited for.
    pub fn resume(&mut self, depth: u64, buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        if self.done {
            return Outcome::Done;
        }
        if self.with_syn {
            return Outcome::Goes;
        }
        self.ask_again();
        let outcome = match self.find_held(buffers, reader) {
            Outcome::Goes => self.read_held(buffers, reader),
            other => other,
        };
        self.ended(outcome, depth, buffers, reader)
    }

    fn ask_again(&mut self) {
        (self.need, self.asks) = (1, 0);
    }

    /// Number of the first byte, where it is known or taken for known.
    pub fn first(&self) -> Option<u32> {
        self.started.then(|| self.next.wrapping_sub(self.passed as u32)) // modulo 2^32, as numbers go
    }

    /// Number of the next byte, where one is known or taken for known.
    pub fn expected(&self) -> Option<u32> {
        self.started.then_some(self.next)
    }

    /// Bytes behind all that came which the peer has, where the beginning of something waits for them. One alone may be a FIN,
    /// which has a number too.
    pub fn lost_end(&self, buffers: &Buffers) -> Option<u64> {
        let came = i64::from(self.held.in_order());
        let lost = i64::from(self.acked.wrapping_sub(self.next) as i32) - came;
        let waits = !self.done && self.skip == 0 && came > 0 && !self.held.has_hole() && !self.held.is_lost(buffers);
        u64::try_from(lost).ok().filter(|lost| waits && *lost > 1)
    }

    /// What is held in order, from the first byte that the parser has not taken.
    pub fn waiting<'a>(&self, buffers: &'a Buffers) -> &'a [u8] {
        self.held.waiting(buffers)
    }

    /// Bytes from the first one on that the parser took, that were passed over, or lost.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// Bytes from the first one on up to where the next hole is.
    pub fn reached(&self, buffers: &Buffers) -> u64 {
        self.passed + self.waiting(buffers).len() as u64
    }

    /// Data that came with the SYN (RFC 7413), `sequence` the number of its first byte: kept aside until it is told whether
    /// the peer took it.
    pub fn opening(&mut self, sequence: u32, payload: &[u8], buffers: &mut Buffers, reader: &mut impl Reader) {
        if self.hold_opening(sequence, payload, buffers) {
            reader.note(Note::Different);
        }
    }

    /// The same; does it contradict an earlier SYN's? Not where buffers are scarce, or a flood of such SYNs would take them all.
    pub fn hold_opening(&mut self, sequence: u32, payload: &[u8], buffers: &mut Buffers) -> bool {
        self.begin(sequence);
        let is_first = self.sure && sequence == self.next && self.passed == 0 && !self.done;
        if !is_first || payload.is_empty() || !self.with_syn && !self.held.is_empty() || buffers.are_scarce() {
            return false;
        }
        let put = self.held.put(0, payload.get(..payload.len().min(BUFFER_BYTES)).unwrap_or_default(), buffers);
        self.with_syn = put.is_ok();
        put.is_ok_and(|put| put.differs)
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
        if payload.is_empty() {
            return Outcome::Goes;
        }
        let mut outcome = self.find_held(buffers, reader);
        self.guess(sequence);
        // Sequence numbers compare within half their range (RFC 9293 section 3.4).
        let ahead = sequence.wrapping_sub(self.next) as i32;
        let is_untouched = self.passed == 0 && self.held.is_empty();
        if !self.sure && is_untouched && ahead.unsigned_abs() as usize > BUFFER_BYTES {
            // An acknowledgement was believed that nothing followed.
            (self.next, self.acked, self.run) = (sequence, sequence, [0; 2]);
        } else if ahead.unsigned_abs() > WINDOW_MAX {
            reader.note(Note::Refused);
            return self.ended(outcome, depth, buffers, reader);
        }
        if self.with_syn {
            outcome = self.settle_opening(ahead != 0, payload, buffers, reader);
        }
        if outcome == Outcome::Goes {
            let is_new = sequence.wrapping_sub(self.next) as i32 >= 0;
            if !is_new && self.taken.contradict(sequence, payload, buffers.hash()) {
                reader.note(Note::Different);
            }
            // What nobody reads need not be known again: an elephant's bytes are not looked at.
            let is_read = !self.passes_over(sequence, payload.len());
            outcome = self.place(sequence, payload, ROUNDS, buffers, reader);
            if is_new && is_read && outcome == Outcome::Goes {
                self.taken.note(sequence, payload, buffers.hash());
            }
        }
        self.ended(outcome, depth, buffers, reader)
    }

    /// May its receiver acknowledge this? What lies further ahead than can be on its way was not sent, and a segment that
    /// acknowledges it is dropped (RFC 9293 section 3.10.7.4); less may be what this tap has lost.
    pub fn may_have_sent(&self, sequence: u32) -> bool {
        let [begin, end] = self.run;
        let is_silent = self.passed == 0 && self.held.is_empty();
        let limit = if is_silent { FIRST_FLIGHT_MAX } else { IN_FLIGHT_MAX };
        let beyond = sequence.wrapping_sub(self.next.wrapping_add(self.held.end())) as i32;
        !self.sure || begin != end || beyond <= limit as i32 // far below half the range
    }

    /// The peer has received all before `sequence`: a hole below it will never be filled on this tap.
    pub fn acknowledged(
        &mut self,
        sequence: u32,
        depth: u64,
        buffers: &mut Buffers,
        reader: &mut impl Reader,
    ) -> Outcome {
        if self.done {
            return Outcome::Done;
        }
        self.guess(sequence);
        let reached = sequence.wrapping_sub(self.next) as i32;
        if reached.unsigned_abs() > WINDOW_MAX {
            reader.note(Note::Refused);
            return Outcome::Goes;
        }
        let mut outcome = self.find_held(buffers, reader);
        if self.with_syn && reached >= 0 {
            outcome = self.settle_opening(reached > 0, &[], buffers, reader);
        }
        if reached > 0 && outcome == Outcome::Goes {
            self.acked = sequence;
            outcome = self.cross_acknowledged(buffers, reader);
        }
        self.ended(outcome, depth, buffers, reader)
    }

    /// The peer has received all before what lies `at` bytes from `next`; of what lies behind its last acknowledgement
    /// nothing is known.
    fn has_reached(&self, at: u32) -> bool {
        u32::try_from(self.acked.wrapping_sub(self.next) as i32).is_ok_and(|reached| at <= reached)
    }

    /// Where what was held had to give way, it was a part of something that will never be whole: goes on behind it.
    fn find_held(&mut self, buffers: &Buffers, reader: &mut impl Reader) -> Outcome {
        if !self.held.is_lost(buffers) {
            return Outcome::Goes;
        }
        let lost = std::mem::take(&mut self.held).end();
        reader.note(Note::Lost);
        if std::mem::take(&mut self.with_syn) {
            return Outcome::Goes;
        }
        self.ask_again();
        self.asked = 0;
        self.pass(lost);
        self.looked = self.looked.saturating_add(lost);
        match reader.gap(&Hole { before: &[], bytes: lost.into() }) {
            Resume::Skip(count) => self.skip = count,
            Resume::Line => self.seeks_line = true,
            Resume::Here => {}
            Resume::Done => return Outcome::Done,
        }
        Outcome::Goes
    }

    /// The data of the SYN counts, or comes again in `payload`.
    fn settle_opening(
        &mut self,
        counts: bool,
        payload: &[u8],
        buffers: &mut Buffers,
        reader: &mut impl Reader,
    ) -> Outcome {
        self.with_syn = false;
        if counts {
            return self.read_held(buffers, reader);
        }
        let common = payload.len().min(self.held.in_order() as usize);
        if self.waiting(buffers).get(..common) != payload.get(..common) {
            reader.note(Note::Different);
        }
        self.held.clear(buffers);
        Outcome::Goes
    }

    /// Crosses the holes that were acknowledged.
    fn cross_acknowledged(&mut self, buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        // Once for each stretch that is held, and once for what is not: each time one is used up.
        while self.skip == 0
            && let Some((begin, end)) = self.first_behind_hole(buffers).filter(|(begin, _)| self.has_reached(*begin))
        {
            if end > begin {
                self.run = [0; 2];
            }
            let outcome = self.cross(begin, end, buffers, reader);
            if outcome != Outcome::Goes {
                return outcome;
            }
        }
        Outcome::Goes
    }

    /// Where what was seen behind the first hole begins, and where reading can go on: there if it is held.
    fn first_behind_hole(&mut self, buffers: &Buffers) -> Option<(u32, u32)> {
        match (self.held.behind_hole(buffers), self.run_ahead()) {
            (Some(begin), Some([run, _])) if begin <= run => Some((begin, begin)),
            (Some(begin), None) => Some((begin, begin)),
            (_, Some([begin, end])) => Some((begin, end)),
            (None, None) => None,
        }
    }

    /// The run ahead, from `next` on; forgets one that was passed.
    fn run_ahead(&mut self) -> Option<[u32; 2]> {
        let [begin, end] = self.run;
        let [from, to] = [begin.wrapping_sub(self.next) as i32, end.wrapping_sub(self.next) as i32];
        if begin == end || to <= 0 {
            self.run = [0; 2];
            return None;
        }
        Some([u32::try_from(from).unwrap_or(0), to.unsigned_abs()])
    }

    fn is_at_end(&self, depth: u64) -> bool {
        u64::from(self.read) > depth || self.looked > LOOKED_MAX
    }

    fn ended(&mut self, outcome: Outcome, depth: u64, buffers: &mut Buffers, reader: &mut impl Reader) -> Outcome {
        let outcome = match outcome {
            Outcome::Goes if self.is_at_end(depth) => Outcome::GaveUp(Gave::Depth),
            other => other,
        };
        if outcome != Outcome::Goes {
            let missing = self.finish(buffers);
            if missing > 0 {
                reader.note(Note::Missing(missing));
            }
        }
        outcome
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
