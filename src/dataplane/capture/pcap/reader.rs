//! Records of many capture files in sequence, out of one buffer of fixed size.

use super::finding::{CaptureError, FindingKind};
use super::format::{BLOCK_MAX, Record, Step};
use super::input::{Input, Limits, is_stdin};
use super::report::Report;
use super::timeline::{Placed, Timeline};
use crate::units::{SECOND, Timestamp};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Bytes read at once. Large enough that the copy out of the page cache is a few long ones, small enough that the
/// frames are still in the L2 cache when the decoder looks at them; at least a largest record and as much again.
const BUFFER_BYTES: usize = 1 << 20;

const _: () = assert!(BUFFER_BYTES >= 2 * BLOCK_MAX, "a largest block must fit behind what is still unread");

/// What the reader found next.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    /// A frame; `start` is now an index into [`Reader::buffer`].
    Frame(Record),
    /// Only by moving or replacing the buffer's bytes can it go on: give back what you hold and allow it.
    Held,
    /// All files are read.
    Ended,
}

/// One capture of the sequence, open already or still to be opened.
enum Waiting {
    Named(PathBuf),
    Open(Box<Input>),
}

/// Reads capture files one after the other.
///
/// Plain files are read into the buffer like pipes and compressed ones rather than mapped: a mapped file that somebody
/// truncates (log rotation does) kills the process with SIGBUS, and reading costs one copy at cache speed.
pub struct Reader {
    waiting: VecDeque<Waiting>,
    limits: Limits,
    input: Option<Box<Input>>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Offset in the current file of `buffer[0]`.
    base: u64,
    /// Bytes to pass over before the next record, beyond what the buffer holds.
    skip: u64,
    at_end: bool,
    timeline: Timeline,
    report: Arc<Report>,
}

/// Frames after a leap ahead that are asked whether it is one; more than one only where they are in the buffer anyway.
const FOLLOWING: usize = 3;

/// Steps of the parser to find them, and largest part of the buffer that a leap may keep waiting for the first.
const OUTLOOK_STEPS: usize = 32;
const OUTLOOK_BYTES: usize = BUFFER_BYTES - BLOCK_MAX;

impl Reader {
    /// Takes the files in the order given; `-` is standard input. Every regular file is opened once here, so that a
    /// wrong name or a file that is no capture is refused before the first packet; pipes are opened and kept open.
    ///
    /// # Errors
    /// The first file that cannot be read.
    pub fn open(files: &[PathBuf], limits: Limits) -> Result<Reader, CaptureError> {
        Reader::open_until(files, limits, None)
    }

    /// As [`Reader::open`]; pipes and standard input end where `stop` is raised, also while nothing comes through them.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open_until(
        files: &[PathBuf],
        limits: Limits,
        stop: Option<&Arc<AtomicBool>>,
    ) -> Result<Reader, CaptureError> {
        if files.is_empty() {
            return Err(CaptureError::Nothing);
        }
        if files.iter().filter(|path| is_stdin(path)).count() > 1 {
            return Err(CaptureError::StdinTwice);
        }
        let mut waiting = VecDeque::with_capacity(files.len());
        for path in files {
            let input = Box::new(Input::open(path, limits, stop)?);
            let regular = std::fs::metadata(path).is_ok_and(|data| data.is_file());
            waiting.push_back(if regular { Waiting::Named(path.clone()) } else { Waiting::Open(input) });
        }
        Ok(Reader::over(waiting, limits))
    }

    /// One capture from any reader, for tests and fuzzing.
    ///
    /// # Errors
    /// As `Input::new`.
    pub fn from_stream(
        name: &str,
        stream: Box<dyn std::io::Read + Send>,
        limits: Limits,
    ) -> Result<Reader, CaptureError> {
        let input = Box::new(Input::new(Path::new(name), stream, limits)?);
        Ok(Reader::over(VecDeque::from([Waiting::Open(input)]), limits))
    }

    fn over(waiting: VecDeque<Waiting>, limits: Limits) -> Reader {
        Reader {
            waiting,
            limits,
            input: None,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            base: 0,
            skip: 0,
            at_end: false,
            timeline: Timeline::default(),
            report: Arc::new(Report::default()),
        }
    }

    /// What the reader counts and finds; readable from other threads and after the reader is gone.
    pub fn report(&self) -> Arc<Report> {
        Arc::clone(&self.report)
    }

    #[inline(always)]
    pub(super) fn report_ref(&self) -> &Report {
        &self.report
    }

    /// The bytes that [`Next::Frame`] points into, valid until `next` is called with `may_move`.
    #[inline(always)]
    pub fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    /// The next frame. With `may_move` frames given out before are invalid afterwards.
    #[inline]
    pub fn next(&mut self, may_move: bool) -> Next {
        loop {
            if self.skip == 0
                && let Some(input) = &mut self.input
            {
                let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
                // A record that the parser sees whole is the common case; everything else is out of line.
                match input.parser.next(bytes) {
                    Step::Frame(mut record, length) => {
                        match self.timeline.place(record.time) {
                            Placed::InOrder(time) => record.time = time,
                            out_of_order => {
                                if !self.set_right(&mut record, length, out_of_order) {
                                    if !may_move {
                                        return Next::Held;
                                    }
                                    self.fill();
                                    continue;
                                }
                            }
                        }
                        record.start += self.start as u32;
                        self.start += length;
                        return Next::Frame(record);
                    }
                    step => {
                        if let Some(next) = self.uncommon(step, may_move) {
                            return next;
                        }
                    }
                }
            } else if let Some(next) = self.pass_or_open(may_move) {
                return next;
            }
        }
    }

    /// Gives a frame of `length` bytes whose time does not simply go on another one. `false`: the bytes after it must be
    /// there first.
    #[cold]
    fn set_right(&mut self, record: &mut Record, length: usize, placed: Placed) -> bool {
        let stands = record.time;
        let placed = match placed {
            Placed::Leap => {
                let Some(following) = self.following(stands, length) else { return false };
                match self.timeline.leap(stands, &following) {
                    Placed::InOrder(time) => {
                        record.time = time;
                        return true;
                    }
                    shifted @ Placed::Shifted(_) => shifted,
                    other => {
                        let detail =
                            format!("a record of {} among others of another time", Timestamp(stands).to_rfc3339());
                        self.find(FindingKind::StrayTime, detail);
                        other
                    }
                }
            }
            other => other,
        };
        self.report.step_back();
        match placed {
            Placed::InOrder(time) | Placed::Levelled(time) => record.time = time,
            Placed::Leap => {}
            Placed::Shifted(time) => {
                record.time = time;
                let detail = format!(
                    "capture time goes to {}; from here on {:.3} s are added to it",
                    Timestamp(stands).to_rfc3339(),
                    self.timeline.shift() as f64 / SECOND as f64
                );
                self.find(FindingKind::TimeShift, detail);
            }
        }
        true
    }

    /// Times of the frames behind the present one of `length` bytes and this time; `None`: more bytes must be read to know the
    /// first. The first frame of all is not kept waiting, nor one behind a short silence: a pipe may be in no hurry.
    fn following(&self, time: u64, length: usize) -> Option<Vec<u64>> {
        let input = self.input.as_ref()?;
        let (mut parser, mut at) = (input.parser.clone(), self.start + length);
        let mut times = Vec::with_capacity(FOLLOWING);
        for _ in 0..OUTLOOK_STEPS {
            match parser.next(self.buffer.get(at..self.end).unwrap_or_default()) {
                Step::Frame(record, length) => {
                    times.push(record.time);
                    at += length;
                }
                Step::Skip(count) | Step::Odd(_, _, count) => at = at.saturating_add(count as usize),
                Step::Need(_) => break,
                Step::Broken(..) => return Some(times),
            }
            if times.len() == FOLLOWING || at > self.end {
                return Some(times);
            }
        }
        let room = self.end - self.start < OUTLOOK_BYTES;
        let is_worth_it = !input.is_slow || self.timeline.is_worth_waiting(time);
        let wait = times.is_empty() && !self.at_end && room && is_worth_it && !self.timeline.is_new();
        (!wait).then_some(times)
    }

    fn uncommon(&mut self, step: Step, may_move: bool) -> Option<Next> {
        match step {
            Step::Frame(..) => {}
            Step::Skip(count) => self.pass(count),
            Step::Odd(kind, detail, count) => {
                self.find(kind, detail);
                self.pass(count);
            }
            Step::Broken(kind, detail) => {
                self.find(kind, detail);
                self.close();
            }
            Step::Need(count) => {
                if self.at_end {
                    let held = self.end - self.start;
                    if held > 0 {
                        let detail = format!("a record of at least {count} bytes, {held} are there");
                        self.find(FindingKind::TruncatedTail, detail);
                    }
                    self.close();
                } else if !may_move {
                    return Some(Next::Held);
                } else {
                    self.fill();
                }
            }
        }
        None
    }

    /// Passes over bytes that no frame lies in, or goes to the next file.
    #[cold]
    fn pass_or_open(&mut self, may_move: bool) -> Option<Next> {
        if !may_move {
            return Some(Next::Held);
        }
        if self.input.is_some() {
            // The skipped bytes are not in the buffer: read over them.
            if self.at_end {
                let detail = format!("a block that goes {} bytes beyond the end", self.skip);
                self.find(FindingKind::TruncatedTail, detail);
                self.close();
            } else {
                self.fill();
                self.pass(0);
            }
            return None;
        }
        match self.waiting.pop_front() {
            None => return Some(Next::Ended),
            Some(Waiting::Open(input)) => self.begin(input),
            Some(Waiting::Named(path)) => match Input::open(&path, self.limits, None) {
                Ok(input) => self.begin(Box::new(input)),
                Err(error) => self.report.find(&path, 0, FindingKind::Skipped, error.to_string()),
            },
        }
        None
    }

    fn begin(&mut self, mut input: Box<Input>) {
        let head = std::mem::take(&mut input.head);
        if let Some(place) = self.buffer.get_mut(..head.len()) {
            place.copy_from_slice(&head);
        }
        (self.start, self.end, self.base, self.skip, self.at_end) = (input.taken, head.len(), 0, 0, false);
        self.report.begin_file();
        let cut = input.cut.take();
        self.input = Some(input);
        if let Some((kind, detail)) = cut {
            self.find(kind, detail);
        }
    }

    fn close(&mut self) {
        self.input = None;
        (self.start, self.end, self.skip) = (0, 0, 0);
    }

    /// Passes over `count` bytes and those still owed, as far as the buffer goes.
    fn pass(&mut self, count: u64) {
        let owed = self.skip.saturating_add(count);
        let held = (self.end - self.start) as u64;
        let now = owed.min(held);
        self.start += now as usize;
        self.skip = owed - now;
    }

    /// Moves what is unread to the front and reads behind it.
    fn fill(&mut self) {
        let Some(input) = &mut self.input else { return };
        if let Some((compressed, decompressed)) = input.beyond_limits() {
            let detail = format!("{compressed} compressed bytes grew to {decompressed} and more");
            self.find(FindingKind::Bomb, detail);
            self.close();
            return;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        match input.read(room) {
            Ok(0) => self.at_end = true,
            Ok(count) => {
                self.end += count;
                self.report.consumed_of_file(input.consumed());
            }
            Err(error) => {
                self.at_end = true;
                self.find(FindingKind::Read, error.to_string());
            }
        }
    }

    #[cold]
    fn find(&mut self, kind: FindingKind, detail: String) {
        if let Some(input) = &self.input {
            self.report.find(&input.path, self.base + self.start as u64, kind, detail);
        }
    }
}
