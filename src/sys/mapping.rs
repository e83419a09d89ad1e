//! Counters in memory shared with the kernel or with another process.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::AtomicU64;

/// A shared mapping seen as 64-bit cells, for as long as the value lives. The descriptor may be closed.
#[derive(Debug)]
pub struct SharedCells {
    mapping: memmap2::MmapRaw,
    cells: usize,
}

impl SharedCells {
    /// Maps the first `cells` 64-bit words of a descriptor for reading and writing: a BPF array map made with
    /// `BPF_F_MMAPABLE`, or a memory file.
    ///
    /// # Errors
    /// The descriptor cannot be mapped, or is shorter.
    pub fn map(fd: impl AsFd, cells: usize) -> io::Result<SharedCells> {
        let bytes = cells.checked_mul(8).filter(|bytes| *bytes > 0).ok_or(io::ErrorKind::InvalidInput)?;
        let fd = fd.as_fd();
        let mapping = memmap2::MmapOptions::new().len(bytes).map_raw(fd.as_raw_fd())?;
        Ok(SharedCells { mapping, cells })
    }

    /// All cells. The other side may change them at any moment, hence atomics.
    #[inline]
    pub fn cells(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, readable and writable, `cells * 8` bytes long and lives as long as `self`
        // (it is private and never remapped). Other writers (the XDP program, another process) use aligned 64-bit
        // accesses, and on our side nobody sees it but through these atomics. Shrinking the underlying file would break
        // it; BPF maps cannot shrink.
        unsafe { std::slice::from_raw_parts(self.mapping.as_ptr().cast::<AtomicU64>(), self.cells) }
    }
}
