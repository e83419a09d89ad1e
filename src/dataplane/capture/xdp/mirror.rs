//! The ring of copies: frames that a shared interface leaves to the kernel, seen by the worker all the same.
//!
//! A BPF ring buffer per queue, written by the XDP program and read here in place: a record stays the reader's until
//! the consumer position moves past it. Layout: kernel/bpf/ringbuf.c (one page with the consumer's position, one with
//! the producer's, then the data twice in a row so that no record is cut).
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Most copies held in one burst.
pub(super) const MIRROR_BURST: usize = 32;
/// Record header: length with two flags, page offset.
const RECORD_HEAD: usize = 8;
/// `struct copy_head` of shrike.bpf.c: length on the wire, bytes captured.
const COPY_HEAD: usize = 8;
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;

/// Where one copy lies in the data area.
#[derive(Clone, Copy, Debug, Default)]
struct Copy {
    offset: usize,
    captured_bytes: usize,
    wire_bytes: u32,
}

/// The reading end of one queue's ring of copies.
#[derive(Debug)]
pub(super) struct Mirror {
    ring: OwnedFd,
    consumer: memmap2::MmapRaw,
    producer: memmap2::MmapRaw,
    page: usize,
    size: usize,
    position: u64,
    held: [Copy; MIRROR_BURST],
    count: usize,
}

impl Mirror {
    /// Maps the ring, continuing where a former reader stopped.
    pub(super) fn open(ring: OwnedFd) -> io::Result<Mirror> {
        let info = libbpf_rs::MapInfo::new(ring.as_fd()).map_err(|error| io::Error::other(error.to_string()))?;
        let size = info.info.max_entries as usize;
        // SAFETY: sysconf(3) takes an integer and touches no memory of ours.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let descriptor = ring.as_raw_fd();
        let consumer = memmap2::MmapOptions::new().len(page).map_raw(descriptor)?;
        let offset = u64::try_from(page).unwrap_or(4096);
        let producer = memmap2::MmapOptions::new().offset(offset).len(page + 2 * size).map_raw_read_only(descriptor)?;
        let mut mirror =
            Mirror { ring, consumer, producer, page, size, position: 0, held: Default::default(), count: 0 };
        mirror.position = mirror.consumer_position().load(Ordering::Acquire);
        Ok(mirror)
    }

    /// For waiting until there is something to read.
    pub(super) fn descriptor(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Whether copies are waiting.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.producer_position().load(Ordering::Acquire) == self.position
    }

    /// Takes up to `cap` copies and holds them until `release`; gives how many.
    #[inline]
    pub(super) fn take(&mut self, cap: usize) -> usize {
        let produced = self.producer_position().load(Ordering::Acquire);
        while self.count < cap.min(MIRROR_BURST) && self.position < produced {
            let offset = (self.position as usize) & (self.size - 1);
            let header = self.record_header(offset).load(Ordering::Acquire);
            if header & BUSY != 0 {
                break; // still being written
            }
            let length = (header & !(BUSY | DISCARDED)) as usize;
            let next = self.position + (length + RECORD_HEAD).next_multiple_of(8) as u64;
            if header & DISCARDED == 0
                && let Some(copy) = self.parse(offset + RECORD_HEAD, length)
                && let Some(place) = self.held.get_mut(self.count)
            {
                *place = copy;
                self.count += 1;
            }
            self.position = next;
        }
        self.count
    }

    /// Copies held.
    #[inline]
    pub(super) fn held(&self) -> usize {
        self.count
    }

    /// Bytes of one copy held and the frame's length on the wire; nothing for an index out of range.
    #[inline]
    pub(super) fn frame(&self, index: usize) -> (&[u8], u32) {
        match self.held.get(..self.count).and_then(|held| held.get(index)) {
            Some(copy) => (self.data(copy.offset, copy.captured_bytes), copy.wire_bytes),
            None => (&[], 0),
        }
    }

    /// Gives the copies held back to the ring.
    #[inline]
    pub(super) fn release(&mut self) {
        self.count = 0;
        self.consumer_position().store(self.position, Ordering::Release);
    }

    fn parse(&self, offset: usize, length: usize) -> Option<Copy> {
        let (wire, rest) = self.data(offset, length).split_first_chunk::<4>()?;
        let (captured, rest) = rest.split_first_chunk::<4>()?;
        let captured_bytes = (u32::from_ne_bytes(*captured) as usize).min(rest.len());
        Some(Copy { offset: offset + COPY_HEAD, captured_bytes, wire_bytes: u32::from_ne_bytes(*wire) })
    }

    fn consumer_position(&self) -> &AtomicU64 {
        // SAFETY: the mapping is page-aligned, a page long, readable and writable, and lives as long as `self`; the
        // kernel reads the word with acquire semantics, and `self` is the ring's only reader.
        unsafe { &*self.consumer.as_mut_ptr().cast::<AtomicU64>() }
    }

    fn producer_position(&self) -> &AtomicU64 {
        // SAFETY: as above for the second mapping, which is only read.
        unsafe { &*self.producer.as_ptr().cast::<AtomicU64>() }
    }

    fn record_header(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: `offset` is below the ring's size (masked by the caller) and a multiple of 8 (records are), so the word
        // lies in the first copy of the data area behind the producer's page, and is aligned.
        unsafe { &*self.producer.as_ptr().add(self.page + offset).cast::<AtomicU32>() }
    }

    fn data(&self, offset: usize, length: usize) -> &[u8] {
        if offset.saturating_add(length) > 2 * self.size {
            return &[];
        }
        // SAFETY: the range lies within the doubled data area (just checked). Its bytes do not change: the record was
        // submitted, and the producer does not reuse it before `release` moves the consumer's position, which needs
        // `&mut self`.
        unsafe { std::slice::from_raw_parts(self.producer.as_ptr().add(self.page + offset), length) }
    }
}
