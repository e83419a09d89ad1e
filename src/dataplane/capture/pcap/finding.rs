//! What is wrong with a capture file, in words: errors that stop the program at start, findings that do not.

use std::fmt;
use std::path::{Path, PathBuf};

/// Findings kept in words; further ones are only counted, so that a hostile file cannot fill the memory.
pub const FINDINGS_MAX: usize = 64;

/// A capture cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The operating system refused it.
    #[error("open capture {}: {cause}; check the path and that this user may read it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        cause: std::io::Error,
    },
    /// Its first bytes are those of no capture format.
    #[error(
        "read capture {}: byte 0: neither pcap nor pcapng (first bytes {first}); \
         give a capture as tcpdump or Wireshark write it, plain, gzip or zstd",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The first four bytes in hexadecimal, fewer if the file is shorter.
        first: String,
    },
    /// It is compressed, and cannot be decompressed.
    #[error(
        "read capture {}: its compressed form cannot be read: {cause}; check it with `gzip -t` or `zstd -t`, or \
         decompress it by hand",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The decoder's words.
        cause: std::io::Error,
    },
    /// No file was named.
    #[error("no capture named; give one or more files, or - for standard input")]
    Nothing,
    /// Standard input can be read only once.
    #[error("standard input (-) is named more than once; it can be read only once")]
    StdinTwice,
}

/// What was found wrong in a capture that was read nevertheless, up to there or around it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FindingKind {
    /// The file ends in the middle of a record; whole records before it were delivered.
    TruncatedTail,
    /// A record announces more bytes than any frame has; what follows cannot be found, so reading stopped there.
    RecordLength,
    /// A pcapng block whose length is impossible or whose two lengths differ; reading stopped there.
    BlockLength,
    /// A pcapng block whose contents do not fit its length; the block was skipped.
    BlockContents,
    /// A pcapng packet of an interface that was never described; the packet was skipped.
    UnknownInterface,
    /// More interfaces in a section than are kept; further ones were skipped.
    TooManyInterfaces,
    /// A pcapng section of another major version; reading stopped there.
    SectionVersion,
    /// The compressed file grows beyond the limits; reading stopped there.
    Bomb,
    /// The file could not be read further, or its compressed form is damaged; reading stopped there.
    Read,
    /// Capture time steps back by much, as where a file begins before the one before it ended; its frames were given
    /// later times, so that time goes on. Or what was added so far is added no more.
    TimeShift,
    /// One record's time is far from that of its neighbours; it was given theirs.
    StrayTime,
    /// A later file of several could not be opened or is no capture; it was skipped.
    Skipped,
}

impl FindingKind {
    /// Name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            FindingKind::TruncatedTail => "truncated_tail",
            FindingKind::RecordLength => "record_length",
            FindingKind::BlockLength => "block_length",
            FindingKind::BlockContents => "block_contents",
            FindingKind::UnknownInterface => "unknown_interface",
            FindingKind::TooManyInterfaces => "too_many_interfaces",
            FindingKind::SectionVersion => "section_version",
            FindingKind::Bomb => "decompression_limit",
            FindingKind::Read => "read",
            FindingKind::TimeShift => "time_shift",
            FindingKind::StrayTime => "stray_time",
            FindingKind::Skipped => "file_skipped",
        }
    }

    /// What to do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            FindingKind::TruncatedTail => "the capture was cut; copy it again if the end matters",
            FindingKind::RecordLength | FindingKind::BlockLength => {
                "the file is damaged from here on; repair it with `pcapfix` or read what was delivered"
            }
            FindingKind::BlockContents | FindingKind::UnknownInterface | FindingKind::TooManyInterfaces => {
                "the writer is faulty; rewrite the file with `editcap` if the packets matter"
            }
            FindingKind::SectionVersion => "only pcapng 1.x is known; rewrite the file with `editcap`",
            FindingKind::Bomb => "decompress it by hand if it is genuine",
            FindingKind::Read => "check the disk and the compressed file (`gzip -t`, `zstd -t`)",
            FindingKind::TimeShift => "name the files in the order of their times, or replay them one by one",
            FindingKind::StrayTime => "the record's time is damaged; its frame was taken as of its neighbours' time",
            FindingKind::Skipped => "check the path, the permissions and that it is a capture",
        }
    }
}

/// One thing that was wrong in a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The file as it was named.
    pub file: PathBuf,
    /// Byte offset in the file, after decompression.
    pub offset: u64,
    /// What it is.
    pub kind: FindingKind,
    /// The values met.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { file, offset, kind, detail } = self;
        write!(out, "{}: byte {offset}: {}: {detail}; {}", file.display(), kind.name(), kind.remedy())
    }
}

/// Bounded list of findings.
#[derive(Debug, Default)]
pub struct Findings {
    kept: Vec<Finding>,
    beyond: u64,
}

impl Findings {
    /// Keeps one, or counts it when the list is full.
    #[cold]
    pub fn add(&mut self, file: &Path, offset: u64, kind: FindingKind, detail: String) {
        if self.kept.len() < FINDINGS_MAX {
            self.kept.push(Finding { file: file.to_path_buf(), offset, kind, detail });
        } else {
            self.beyond += 1;
        }
    }

    /// Those kept in words, in the order met.
    pub fn kept(&self) -> &[Finding] {
        &self.kept
    }

    /// How many more there were.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }
}
