//! The reader's own side of the account: counted where frames leave the file, not where they arrive.

use super::finding::{Finding, FindingKind, Findings};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Counts and findings of one sequence of captures; shared between the reading thread and those who report.
#[derive(Debug, Default)]
pub struct Report {
    files: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    snapped: AtomicU64,
    steps_back: AtomicU64,
    /// Bytes of files that are done with, and of the present one.
    consumed: [AtomicU64; 2],
    stopped: AtomicBool,
    findings: Mutex<Findings>,
}

impl Report {
    /// Captures begun.
    pub fn files(&self) -> u64 {
        self.files.load(Relaxed)
    }

    /// Frames given out.
    pub fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }

    /// Their bytes on the wire.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Frames that the file holds cut short (snap length); they are decoded as far as they go.
    pub fn snapped(&self) -> u64 {
        self.snapped.load(Relaxed)
    }

    /// Bytes of the files themselves taken so far (compressed ones where they are compressed): how far the reader is.
    pub fn consumed(&self) -> u64 {
        self.consumed.iter().map(|part| part.load(Relaxed)).sum()
    }

    /// Frames at which the files' own time did not simply go on, and that were given another.
    pub fn steps_back(&self) -> u64 {
        self.steps_back.load(Relaxed)
    }

    /// What was wrong with the files: those kept in words, and how many more there were.
    pub fn findings(&self) -> (Vec<Finding>, u64) {
        let findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        (findings.kept().to_vec(), findings.beyond())
    }

    /// Asks the reader to end before its files do; what it has given out stays accounted for.
    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Has somebody asked it to end?
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    pub(super) fn begin_file(&self) {
        self.files.fetch_add(1, Relaxed);
        let [done, present] = &self.consumed;
        done.fetch_add(present.swap(0, Relaxed), Relaxed);
    }

    /// The present file has been read up to here.
    pub(super) fn consumed_of_file(&self, bytes: u64) {
        let [_, present] = &self.consumed;
        present.store(bytes, Relaxed);
    }

    /// Adds a burst: two adds whatever its size, a third where frames were cut.
    #[inline]
    pub(super) fn add(&self, packets: u64, bytes: u64, snapped: u64) {
        self.packets.fetch_add(packets, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        if snapped > 0 {
            self.snapped.fetch_add(snapped, Relaxed);
        }
    }

    #[cold]
    pub(super) fn step_back(&self) {
        self.steps_back.fetch_add(1, Relaxed);
    }

    #[cold]
    pub(super) fn find(&self, file: &Path, offset: u64, kind: FindingKind, detail: String) {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).add(file, offset, kind, detail);
    }
}
