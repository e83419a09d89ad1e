//! The stretch of a frame that one layer may read.

use super::bytes;

/// Bytes of a frame up to the end of one layer, offsets counted from the beginning of the frame. A snap length may have cut
/// the bytes; `end` is where they would end.
#[derive(Clone, Copy)]
pub(super) struct Span<'a> {
    /// What was captured, up to `end` at most.
    pub(super) bytes: &'a [u8],
    /// Where the layer ends in the frame as it was on the wire.
    pub(super) end: usize,
}

impl<'a> Span<'a> {
    /// The same, ending at `end` if that comes earlier: what pads a frame is none of its layers' business.
    pub(super) fn until(self, end: usize) -> Span<'a> {
        let end = end.min(self.end);
        Span { bytes: self.bytes.get(..end).unwrap_or(self.bytes), end }
    }

    /// How much the layer has from `at` on, captured or not.
    pub(super) fn left(self, at: usize) -> usize {
        self.end.saturating_sub(at)
    }

    /// `N` bytes from `at` on, if they were captured.
    pub(super) fn block<const N: usize>(self, at: usize) -> Option<&'a [u8; N]> {
        bytes::block(self.bytes, at)
    }

    /// The byte at `at`, if it was captured.
    pub(super) fn byte(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }
}
