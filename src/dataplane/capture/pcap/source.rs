//! Capture files for one worker: frames are parsed on the worker's own thread and looked at where they were read.

use super::finding::CaptureError;
use super::format::Record;
use super::input::Limits;
use super::pace::{Pace, Speed};
use super::reader::{Next, Reader};
use super::report::Report;
use crate::dataplane::capture::{BURST_MAX, FrameView, Received, Source};
use crate::sys::prefetch;
use crate::units::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One worker's view of a sequence of capture files. Capture time never steps back; see [`Reader`].
pub struct PcapSource {
    reader: Reader,
    pace: Pace,
    held: [Record; BURST_MAX],
    count: usize,
    /// Read ahead but not yet due.
    early: Option<Record>,
    latest: u64,
    latest_held: u64,
    ended: bool,
}

impl PcapSource {
    /// Opens the files; see [`Reader::open`].
    ///
    /// # Errors
    /// The first file that cannot be read.
    pub fn open(files: &[PathBuf], speed: Speed) -> Result<PcapSource, CaptureError> {
        Ok(PcapSource::new(Reader::open(files, Limits::default())?, speed))
    }

    /// The same over a reader made elsewhere.
    pub fn new(reader: Reader, speed: Speed) -> PcapSource {
        PcapSource {
            reader,
            pace: Pace::new(speed),
            held: [Record::default(); BURST_MAX],
            count: 0,
            early: None,
            latest: 0,
            latest_held: 0,
            ended: false,
        }
    }

    /// At the capture's own speed: counted from `start` instead of from the first frame asked for.
    pub fn since(mut self, start: Instant) -> PcapSource {
        self.pace.since(start);
        self
    }

    /// What was counted and found; stays readable after the source has gone to its worker.
    pub fn report(&self) -> Arc<Report> {
        self.reader.report()
    }
}

impl Source for PcapSource {
    #[inline]
    fn receive(&mut self, cap: usize) -> Received {
        if self.count > 0 || self.ended {
            return Received { ended: self.ended, ..Received::default() };
        }
        if self.reader.report_ref().is_stopped() {
            (self.early, self.ended) = (None, true);
            return Received { ended: true, ..Received::default() };
        }
        let (mut count, mut bytes, mut snapped) = (0, 0_u64, 0);
        for place in self.held.iter_mut().take(cap) {
            let record = match self.early.take() {
                Some(record) => record,
                // The buffer may move only while no frame of this burst points into it.
                None => match self.reader.next(count == 0) {
                    Next::Frame(record) => record,
                    Next::Held => break,
                    Next::Ended => {
                        self.ended = count == 0;
                        break;
                    }
                },
            };
            if self.pace.until(record.time).is_some() {
                self.early = Some(record);
                break;
            }
            *place = record;
            count += 1;
            bytes += u64::from(record.wire);
            snapped += u64::from(record.captured < record.wire);
            self.latest_held = record.time;
        }
        self.count = count;
        if count > 0 {
            self.reader.report_ref().add(count as u64, bytes, snapped);
        }
        Received { count, waiting: 0, capacity: 0, ended: self.ended }
    }

    #[inline(always)]
    fn frame(&self, index: usize) -> FrameView<'_> {
        let empty = FrameView { port: 0, bytes: &[], wire_bytes: 0, time: None, link: Default::default() };
        let Some(record) = self.held.get(..self.count).and_then(|held| held.get(index)) else { return empty };
        let start = record.start as usize;
        FrameView {
            port: 0,
            bytes: self.reader.buffer().get(start..start + record.captured as usize).unwrap_or_default(),
            wire_bytes: record.wire,
            time: Some(Timestamp(record.time)),
            link: record.link,
        }
    }

    #[inline(always)]
    fn prefetch(&self, index: usize) {
        if let Some(byte) = self.held.get(index).and_then(|record| self.reader.buffer().get(record.start as usize)) {
            prefetch::line(byte);
        }
    }

    #[inline]
    fn release(&mut self) {
        if self.count > 0 {
            self.count = 0;
            self.latest = self.latest_held;
        }
    }

    /// Sleeps until the next frame is due; a file is never waited for.
    fn wait(&mut self, limit: Duration) {
        if let Some(rest) = self.early.as_ref().and_then(|record| self.pace.until(record.time)) {
            std::thread::sleep(rest.min(limit));
        }
    }

    /// Time of the last frame given back; at the capture's own speed, what the clock has reached before the next one.
    fn time_floor(&self) -> Option<Timestamp> {
        let floor = match (&self.early, self.pace.reached()) {
            (Some(next), Some(reached)) => reached.min(next.time),
            _ => self.latest,
        };
        (floor > 0).then_some(Timestamp(floor))
    }
}
