//! Bytes of one capture file: plain, gzip or zstd (told by magic, not by name), a pipe, or standard input.

use super::finding::{CaptureError, FindingKind};
use super::format::{CLASSIC_HEADER, Parser};
use crate::sys::poll::PollSet;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How much a compressed capture may grow. Reading is a stream, so memory is never at stake; the limit is for time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Decompressed bytes below which the ratio does not matter.
    pub free_bytes: u64,
    /// Decompressed bytes for each compressed one. gzip cannot pass 1032; floods of equal packets reach some hundreds.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { free_bytes: 256 << 20, ratio: 1000 }
    }
}

/// Longest history a zstd frame may ask us to keep, as a power of two (128 MiB, what `zstd --long` writes at most
/// without its reader being told; RFC 8878 section 3.1.1.1.2 asks decoders to set such a limit).
const ZSTD_WINDOW_LOG: u32 = 27;

/// An open capture: its format is known, its file header is read.
pub struct Input {
    /// As it was named; `-` for standard input.
    pub path: PathBuf,
    /// Bytes read already, the file header included.
    pub head: Vec<u8>,
    /// How many bytes of `head` the parser has taken.
    pub taken: usize,
    /// Reads the records.
    pub parser: Parser,
    /// What is wrong with it from the start: it ends before its own header does.
    pub cut: Option<(FindingKind, String)>,
    /// No regular file: what it says next may be long in coming.
    pub is_slow: bool,
    reader: Box<dyn Read + Send>,
    compressed: Option<Arc<AtomicU64>>,
    decompressed: u64,
    limits: Limits,
    /// The decoder failed behind the head: told when that has been read.
    failed: Option<io::Error>,
}

impl Input {
    /// Opens a file, or standard input for `-`, and looks at its first bytes. A pipe ends where `stop` is raised.
    ///
    /// # Errors
    /// [`CaptureError::Open`] and [`CaptureError::Format`].
    pub fn open(path: &Path, limits: Limits, stop: Option<&Arc<AtomicBool>>) -> Result<Input, CaptureError> {
        let failed = |cause| CaptureError::Open { path: path.to_path_buf(), cause };
        let file = if is_stdin(path) {
            File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?)
        } else {
            File::open(path).map_err(failed)?
        };
        let is_slow = !file.metadata().is_ok_and(|data| data.is_file());
        let reader: Box<dyn Read + Send> = match stop.filter(|_| is_slow) {
            Some(stop) => Box::new(Patient { file, stop: Arc::clone(stop), poll: PollSet::with_capacity(1) }),
            None => Box::new(file),
        };
        Ok(Input { is_slow, ..Input::new(path, reader, limits)? })
    }

    /// The same over any reader; `path` is what findings and errors name.
    ///
    /// # Errors
    /// [`CaptureError::Open`] and [`CaptureError::Format`].
    pub fn new(path: &Path, mut reader: Box<dyn Read + Send>, limits: Limits) -> Result<Input, CaptureError> {
        let failed = |cause| CaptureError::Open { path: path.to_path_buf(), cause };
        let mut head = Vec::new();
        read_up_to(&mut reader, &mut head, CLASSIC_HEADER).map_err(failed)?;
        let mut ended_early = None;
        let compressed = match head.as_slice() {
            [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Arc::new(AtomicU64::new(0))),
            _ => None,
        };
        if let Some(count) = &compressed {
            let gzip = head.first() == Some(&0x1f);
            let source = Counting { inner: Cursor::new(std::mem::take(&mut head)).chain(reader), count: count.clone() };
            reader = if gzip {
                Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(1 << 16, source)))
            } else {
                let mut decoder = zstd::stream::read::Decoder::new(source).map_err(failed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(failed)?;
                Box::new(decoder)
            };
            if let Err(cause) = read_up_to(&mut reader, &mut head, CLASSIC_HEADER) {
                // Cut, it is read as far as it goes, as an uncompressed file is.
                if cause.kind() != io::ErrorKind::UnexpectedEof {
                    return Err(CaptureError::Damaged { path: path.to_path_buf(), cause });
                }
                ended_early = Some(cause);
            }
        }
        let decompressed = head.len() as u64;
        let input = |head, taken, parser, cut, failed| {
            let path = path.to_path_buf();
            Input { path, head, taken, parser, cut, is_slow: false, reader, compressed, decompressed, limits, failed }
        };
        match (Parser::detect(&head), ended_early) {
            (Ok(Some((parser, taken))), failed) => Ok(input(head, taken, parser, None, failed)),
            (Ok(None), Some(cause)) => {
                let cut = (FindingKind::Read, format!("its compressed form ends before the first record: {cause}"));
                Ok(Input {
                    reader: Box::new(io::empty()),
                    ..input(Vec::new(), 0, Parser::of_nothing(), Some(cut), None)
                })
            }
            (Ok(None), None) if head.len() >= 4 => {
                let detail = format!("a file header of {CLASSIC_HEADER} bytes, {} are there", head.len());
                let cut = (FindingKind::TruncatedTail, detail);
                Ok(Input {
                    reader: Box::new(io::empty()),
                    ..input(Vec::new(), 0, Parser::of_nothing(), Some(cut), None)
                })
            }
            _ => {
                let first: String = head.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
                let first = if first.is_empty() { "none, it is empty".into() } else { first };
                Err(CaptureError::Format { path: path.to_path_buf(), first })
            }
        }
    }

    /// Reads more bytes, 0 at the end. Retries interrupted calls.
    ///
    /// # Errors
    /// The reader's, among them a damaged or cut compressed stream.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(cause) = self.failed.take() {
            return Err(cause);
        }
        loop {
            match self.reader.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(count) => {
                    self.decompressed += count as u64;
                    return Ok(count);
                }
                other => return other,
            }
        }
    }

    /// Bytes of the file itself taken so far, compressed ones where it is compressed.
    pub fn consumed(&self) -> u64 {
        self.compressed.as_ref().map_or(self.decompressed, |count| count.load(Relaxed))
    }

    /// Has the file grown beyond its limits by decompression? Then its bytes so far, compressed and not.
    pub fn beyond_limits(&self) -> Option<(u64, u64)> {
        let compressed = self.compressed.as_ref()?.load(Relaxed);
        let beyond =
            self.decompressed > self.limits.free_bytes && self.decompressed / self.limits.ratio.max(1) > compressed;
        beyond.then_some((compressed, self.decompressed))
    }
}

/// Does the name stand for standard input?
pub fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn read_up_to(reader: &mut Box<dyn Read + Send>, head: &mut Vec<u8>, count: usize) -> io::Result<()> {
    reader.by_ref().take(count as u64).read_to_end(head).map(drop)
}

/// A pipe that says nothing is not waited for once somebody wants to stop: it then ends.
struct Patient {
    file: File,
    stop: Arc<AtomicBool>,
    poll: PollSet,
}

/// How long a stop may go unnoticed.
const PATIENCE: Duration = Duration::from_millis(50);

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stop.load(Relaxed) {
                return Ok(0);
            }
            self.poll.clear();
            self.poll.add(self.file.as_raw_fd());
            // A pipe whose writer went away is readable too.
            if self.poll.wait(PATIENCE) {
                return self.file.read(buffer);
            }
        }
    }
}

/// Counts the bytes read through it.
struct Counting<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count.fetch_add(count as u64, Relaxed);
        Ok(count)
    }
}
