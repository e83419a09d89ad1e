//! One side of a connection against a model that keeps the first copy of each byte in a map.

use crate::dataplane::inspect::stream::{
    BUFFER_BYTES, Buffers, LONGEST, MARKS, Note, Outcome, RUN_MAX, Reader, SEGMENTS, Stream,
};
use crate::dataplane::inspect::{Hole, Resume, Step};
use crate::sys::hash::KeyedHash;

/// What a reader was shown.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Seen {
    Unit(Vec<u8>),
    /// Bytes before a hole that were not taken, and the length of the hole.
    Gap(usize, u64),
}

/// How the reader goes on: units of so many bytes, and after so many of them so many bytes of no interest.
#[derive(Clone, Copy)]
struct Habits {
    unit: usize,
    units_between: u8,
    passes_over: u64,
    /// What it passes over behind a hole.
    behind_hole: u64,
}

/// Reads as its habits are.
struct Units {
    habits: Habits,
    units: u8,
    is_due: bool,
    seen: Vec<Seen>,
    lost: u64,
    contradicted: bool,
}

impl Reader for Units {
    fn step(&mut self, bytes: &[u8]) -> Step {
        if std::mem::take(&mut self.is_due) {
            return Step::Skip(self.habits.passes_over);
        }
        let Some(unit) = bytes.get(..self.habits.unit) else { return Step::Need(self.habits.unit) };
        self.seen.push(Seen::Unit(unit.to_vec()));
        self.units = self.units.wrapping_add(1);
        self.is_due = self.habits.units_between > 0 && self.units.is_multiple_of(self.habits.units_between);
        Step::Took(unit.len())
    }

    fn gap(&mut self, hole: &Hole<'_>) -> Resume {
        self.seen.push(Seen::Gap(hole.before.len(), hole.bytes));
        if self.habits.behind_hole > 0 { Resume::Skip(self.habits.behind_hole) } else { Resume::Here }
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Hole { bytes, .. } => self.lost += bytes,
            Note::Different => self.contradicted = true,
            _ => {}
        }
    }
}

/// The model: places are counted from the first byte on.
struct Model {
    reader: Units,
    /// From `next` on; the last one is there.
    held: Vec<Option<u8>>,
    next: u64,
    skip: u64,
    acked: u64,
    run: Option<(u64, u64)>,
    with_syn: bool,
    /// Where segments that came last and were not passed over began, and how: the last one at the end.
    taken: Vec<(i64, Vec<u8>)>,
}

impl Model {
    /// Bytes held in order.
    fn in_order(&self) -> usize {
        self.held.iter().take_while(|byte| byte.is_some()).count()
    }

    /// Where stretches begin and end.
    fn islands(&self) -> Vec<(u64, u64)> {
        let mut islands: Vec<(u64, u64)> = Vec::new();
        for (place, _) in (self.next..).zip(&self.held).filter(|(_, byte)| byte.is_some()) {
            match islands.last_mut() {
                Some((_, end)) if *end == place => *end += 1,
                _ => islands.push((place, place + 1)),
            }
        }
        islands
    }

    fn hold(&mut self, begin: u64, bytes: &[u8]) {
        let at = (begin - self.next) as usize;
        self.held.resize(self.held.len().max(at + bytes.len()), None);
        for (held, byte) in self.held[at..].iter_mut().zip(bytes) {
            self.reader.contradicted |= *held.get_or_insert(*byte) != *byte;
        }
    }

    fn move_to(&mut self, next: u64) {
        self.held.drain(..self.held.len().min((next - self.next) as usize));
        self.next = next;
    }

    fn opening(&mut self, bytes: &[u8]) {
        self.hold(0, bytes);
        self.with_syn = true;
    }

    fn settle_opening(&mut self, counts: bool, bytes: &[u8]) {
        if std::mem::take(&mut self.with_syn) {
            if counts {
                self.deliver();
            } else {
                let differs = |(held, byte): (&Option<u8>, &u8)| *held != Some(*byte);
                self.reader.contradicted |= self.held.iter().zip(bytes).any(differs);
                self.held.clear();
            }
        }
    }

    fn segment(&mut self, begin: i64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.settle_opening(begin != self.next as i64, bytes);
            let is_new = begin >= self.next as i64;
            self.reader.contradicted |= !is_new && self.contradict(begin, bytes);
            let end = begin + bytes.len() as i64;
            let is_passed_over = self.skip > 0 && end <= (self.next + self.skip) as i64;
            self.place(begin, bytes);
            if is_new && !is_passed_over {
                let drop = (self.taken.len() + 1).saturating_sub(SEGMENTS);
                self.taken.drain(..drop);
                self.taken.push((begin, bytes[..bytes.len().min(LONGEST)].to_vec()));
            }
        }
    }

    /// What is not held any more comes again as something else, as far as that is remembered.
    fn contradict(&self, begin: i64, bytes: &[u8]) -> bool {
        let again = |at: i64| bytes.get(usize::try_from(at - begin).ok()?..);
        bytes.len() > 1
            && self.taken.iter().filter_map(|(at, taken)| Some((taken, again(*at)?))).any(|(taken, again)| {
                let marked = MARKS.iter().rev().find(|mark| **mark <= again.len());
                let count = if again.len() >= taken.len() { taken.len() } else { marked.copied().unwrap_or(0) };
                taken[..count] != again[..count]
            })
    }

    fn place(&mut self, begin: i64, bytes: &[u8]) {
        let end = begin + bytes.len() as i64;
        if end <= self.next as i64 {
            return;
        }
        if self.skip > 0 {
            let ahead = (end - self.next as i64) as u64;
            let here = ahead.min(self.skip);
            self.next += here;
            self.skip -= here;
            if here == ahead {
                return;
            }
        }
        let first = begin.max(self.next as i64) as u64;
        let bytes = &bytes[(first as i64 - begin) as usize..];
        if first > self.next + self.in_order() as u64 && first <= self.acked {
            self.cross(first, first);
            return self.place(first as i64, bytes);
        }
        let reach = self.next + BUFFER_BYTES as u64;
        let near = bytes.len().min(reach.saturating_sub(first) as usize);
        if near > 0 {
            self.hold(first, &bytes[..near]);
        }
        if near < bytes.len() {
            let (far, end) = (first + near as u64, first + bytes.len() as u64);
            let (begin, end) = match self.run_ahead() {
                Some((begin, until)) if (begin..=until).contains(&far) => (begin, end.max(until)),
                _ => (far, end),
            };
            self.run = Some((begin, end));
            if end - begin >= u64::from(RUN_MAX) {
                self.acked = begin;
                self.cross_acknowledged();
            }
        }
        self.deliver();
    }

    fn run_ahead(&self) -> Option<(u64, u64)> {
        self.run.filter(|(_, end)| *end > self.next).map(|(begin, end)| (begin.max(self.next), end))
    }

    fn acknowledged(&mut self, place: u64) {
        if place >= self.next {
            self.settle_opening(place > self.next, &[]);
        }
        if place > self.next {
            self.acked = place;
            self.cross_acknowledged();
        }
    }

    fn cross_acknowledged(&mut self) {
        while self.skip == 0 {
            let island = self.islands().into_iter().map(|(begin, _)| begin).find(|begin| *begin > self.next);
            let (begin, end) = match (island, self.run_ahead()) {
                (Some(island), Some((run, _))) if island <= run => (island, island),
                (Some(island), None) => (island, island),
                (_, Some(run)) => run,
                (None, None) => return,
            };
            if begin > self.acked {
                return;
            }
            if end > begin {
                self.run = None;
            }
            self.cross(begin, end);
        }
    }

    fn cross(&mut self, begin: u64, end: u64) {
        let before = self.in_order();
        self.reader.lost += begin.saturating_sub(self.next + before as u64);
        self.reader.seen.push(Seen::Gap(before, end.saturating_sub(self.next + before as u64)));
        self.move_to(end);
        self.skip = self.reader.habits.behind_hole;
        self.pass_over();
        self.deliver();
    }

    fn pass_over(&mut self) {
        let here = self.skip.min(self.held.len() as u64);
        self.skip -= here;
        self.move_to(self.next + here);
    }

    fn deliver(&mut self) {
        loop {
            let shown: Vec<u8> = self.held.iter().map_while(|byte| *byte).collect();
            let mut at = 0;
            // Passing over what is there costs no second copy: a reader may do so after each byte.
            let skip = loop {
                match shown.get(at..).filter(|rest| !rest.is_empty()).map(|rest| self.reader.step(rest)) {
                    Some(Step::Took(count) | Step::Pass(count)) => at += count,
                    Some(Step::Skip(count)) if count < (shown.len() - at) as u64 => at += count as usize,
                    Some(Step::Skip(count)) => break count,
                    _ => break 0,
                }
            };
            self.move_to(self.next + at as u64);
            if skip == 0 {
                return;
            }
            self.skip = skip;
            self.pass_over();
            if self.skip > 0 {
                return;
            }
        }
    }
}

/// A byte of the sender's; `lie`: another one.
fn byte_at(place: i64, lie: bool) -> u8 {
    (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0] ^ if lie { 0x55 } else { 0 }
}

/// Five bytes for the reader's habits and where the numbers begin; then four a step: what comes, where it lies, how long it is.
pub(super) fn reassembly(data: &[u8]) {
    let [unit, between, passes_over, behind_hole, begin, steps @ ..] = data else { return };
    let habits = Habits {
        unit: usize::from(unit % 64) + 1,
        units_between: between % 8,
        passes_over: u64::from(*passes_over) * if between & 8 == 0 { 1 } else { 256 } + 1,
        behind_hole: u64::from(behind_hole % 32),
    };
    let units = || Units { habits, units: 0, is_due: false, seen: Vec::new(), lost: 0, contradicted: false };
    let (mut side, mut reader, mut buffers) =
        (Stream::default(), units(), Buffers::new(1, KeyedHash::new([1, 2, 3, 4])));
    let mut model = Model {
        reader: units(),
        held: Vec::new(),
        next: 0,
        skip: 0,
        acked: 0,
        run: None,
        with_syn: false,
        taken: Vec::new(),
    };
    // Every other time close to where numbers wrap around.
    let begin = if begin & 1 == 0 { u32::MAX - u32::from(*begin) * 8 } else { u32::from(*begin) << 20 };
    side.begin(begin);
    let number = |place: i64| begin.wrapping_add(place as u32);
    let mut sent = 0_i64;
    for step in steps.chunks_exact(4).take(200) {
        let [what, place, length, more] = *step else { return };
        let scale = [1, 16, 256, 1024][usize::from(what >> 3 & 3)];
        let from = (sent + i64::from(place as i8) * scale).max(-64);
        let count = i64::from(length) * [1, 1, 8, 64][usize::from(more & 3)];
        let payload: Vec<u8> = (from..from + count).map(|at| byte_at(at, what & 0x40 != 0)).collect();
        let outcome = match what % 8 {
            5 | 6 => {
                model.acknowledged(from.max(0) as u64);
                side.acknowledged(number(from.max(0)), u64::MAX, &mut buffers, &mut reader)
            }
            // Far outside of any window.
            7 if what & 0x80 != 0 => {
                let off = number(model.next as i64 + (1 << 30) + i64::from(place) * (1 << 23) + 1);
                side.acknowledged(off, u64::MAX, &mut buffers, &mut reader);
                side.segment(off, &payload, u64::MAX, &mut buffers, &mut reader)
            }
            7 if model.next == 0 && (model.with_syn || model.held.is_empty()) && buffers.used() == 0 && count > 0 => {
                let payload: Vec<u8> = (0..count).map(|at| byte_at(at, what & 0x40 != 0)).collect();
                model.opening(&payload);
                side.opening(begin, &payload, &mut buffers, &mut reader);
                Outcome::Goes
            }
            _ => {
                model.segment(from, &payload);
                sent = sent.max(from + count);
                side.segment(number(from), &payload, u64::MAX, &mut buffers, &mut reader)
            }
        };
        assert_eq!(outcome, Outcome::Goes, "nothing here ends a side");
        assert_eq!(reader.seen, model.reader.seen, "the first copy of each byte, and the holes");
        assert_eq!(reader.lost, model.reader.lost, "bytes never seen");
        assert_eq!(reader.contradicted, model.reader.contradicted, "a second copy that differs");
        assert_eq!(buffers.used() == 0, model.held.is_empty(), "a buffer is held as long as it is needed");
        reader.seen.clear();
        model.reader.seen.clear();
    }
    side.finish(&mut buffers);
    assert_eq!(buffers.used(), 0, "the buffer comes back");
}

#[cfg(test)]
mod tests {
    /// splitmix64: the same in every run.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    #[test]
    fn any_segments_read_as_the_model_says() {
        for seed in 0..4000_u64 {
            let mut state = seed;
            let steps = 1 + random(&mut state) as usize % 60;
            let mut data: Vec<u8> = (0..5 + 4 * steps).map(|_| random(&mut state) as u8).collect();
            // Most places lie near by, or nothing would ever fit together.
            for step in data[5..].chunks_exact_mut(4) {
                if !random(&mut state).is_multiple_of(8) {
                    step[0] &= if random(&mut state).is_multiple_of(4) { 0x87 } else { 0x07 };
                    step[1] = (step[1] % 24).wrapping_sub(12);
                    step[3] &= if random(&mut state).is_multiple_of(8) { 0xff } else { 0xfc };
                }
            }
            super::reassembly(&data);
        }
    }
}
