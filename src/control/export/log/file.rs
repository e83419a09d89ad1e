//! A file that gives way to a new one when it is large or old, and is opened anew when somebody moved it.

use super::LogSettings;
use crate::units::{SECOND, Timestamp};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock's time.
pub(super) fn now() -> Timestamp {
    of(SystemTime::now())
}

fn of(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Why a new file begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// It is large, or old: it becomes the first of its elders.
    Rotation,
    /// Others moved it, or ask for it: the name is opened anew.
    Reopening,
}

pub(super) struct LogFile {
    settings: LogSettings,
    file: File,
    /// Device and inode, to know it by.
    identity: (u64, u64),
    bytes: u64,
    /// Which period of `rotate_seconds` its latest line belongs to.
    period: u64,
    /// Lines were written, or are about to be, since it was opened.
    begun: bool,
    rotations: u64,
}

impl LogFile {
    pub(super) fn open(settings: LogSettings) -> io::Result<LogFile> {
        let file = OpenOptions::new().append(true).create(true).open(&settings.path)?;
        let data = file.metadata()?;
        let identity = (data.dev(), data.ino());
        let latest = if data.len() == 0 { now() } else { data.modified().map_or_else(|_| now(), of) };
        let period = period(&settings, latest);
        Ok(LogFile { settings, file, identity, bytes: data.len(), period, begun: false, rotations: 0 })
    }

    pub(super) fn path(&self) -> &Path {
        &self.settings.path
    }

    pub(super) fn rotations(&self) -> u64 {
        self.rotations
    }

    pub(super) fn is_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// Writes lines; how many bytes of whole lines the file has of them, and what stood in the way of the rest. A part of a
    /// line is taken back.
    pub(super) fn write_lines(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let (mut at, mut outcome) = (0, Ok(()));
        while let Some(rest) = lines.get(at..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => outcome = Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => at += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => outcome = Err(error),
            }
            if outcome.is_err() {
                break;
            }
        }
        let whole =
            lines.get(..at).and_then(|taken| taken.iter().rposition(|byte| *byte == b'\n')).map_or(0, |at| at + 1);
        let taken = if whole == at || self.take_back((at - whole) as u64) { whole } else { at };
        self.bytes += taken as u64;
        (taken, outcome)
    }

    /// Cuts off the latest bytes; `false` where that cannot be done: then the rest of the line has to follow.
    fn take_back(&self, count: u64) -> bool {
        let Ok(data) = self.file.metadata() else { return false };
        data.is_file() && data.len() >= count && self.file.set_len(data.len() - count).is_ok()
    }

    /// Is it time for a new file?
    pub(super) fn wants_change(&mut self, time: Timestamp, asked: bool) -> Option<Change> {
        let found = std::fs::metadata(&self.settings.path).ok();
        let is_same = found.as_ref().map(|data| (data.dev(), data.ino())) == Some(self.identity);
        if asked || !is_same {
            return Some(Change::Reopening);
        }
        // Others may have cut it short.
        self.bytes = found.map_or(self.bytes, |data| data.len());
        let is_due = self.bytes >= self.settings.rotate_bytes || period(&self.settings, time) != self.period;
        if !is_due || self.bytes == 0 {
            self.period = period(&self.settings, time);
            return None;
        }
        // A device or pipe has no size and no elders.
        self.file.metadata().is_ok_and(|data| data.is_file()).then_some(Change::Rotation)
    }

    /// Begins it.
    pub(super) fn change(&mut self, change: Change, time: Timestamp) -> io::Result<()> {
        if change == Change::Rotation {
            self.shift()?;
            self.rotations += 1;
        }
        let opened = LogFile::open(self.settings.clone())?;
        let period = period(&self.settings, time);
        *self = LogFile { rotations: self.rotations, period, ..opened };
        Ok(())
    }

    /// `NAME` to `NAME.1`, that to `NAME.2`, and so on; the oldest goes.
    fn shift(&self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.settings.path.as_os_str().to_owned();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if self.settings.keep == 0 {
            return std::fs::remove_file(&self.settings.path);
        }
        for number in (1..self.settings.keep).rev() {
            match std::fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(&self.settings.path, numbered(1))
    }
}

/// Number of the period of rotation that holds `time`.
fn period(settings: &LogSettings, time: Timestamp) -> u64 {
    settings.rotate_seconds.map_or(0, |seconds| time.0 / SECOND / seconds.max(1))
}
