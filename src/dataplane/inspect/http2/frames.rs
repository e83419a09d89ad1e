//! Frames (RFC 9113 section 4), and how a block of fields lies in several of them.

use super::{BLOCK_INVALID, BLOCK_TOO_LONG};
use crate::dataplane::inspect::bytes::Reader;
use crate::dataplane::inspect::parse::{Anomaly, UNIT_MAX};

/// Bytes in front of each frame.
pub(super) const HEAD: usize = 9;

/// Kinds (section 6).
pub(super) const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
pub(super) const RESET: u8 = 3;
const SETTINGS: u8 = 4;
pub(super) const PROMISE: u8 = 5;
const PING: u8 = 6;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;

/// Flags of HEADERS, PUSH_PROMISE and CONTINUATION; the last one of HEADERS alone.
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const HAS_PRIORITY: u8 = 0x20;

/// Bytes of a frame of a kind whose length is fixed, or settings: what every receiver takes of any kind. Others may have as
/// many as 24 bits tell where that was agreed upon.
pub(in crate::dataplane::inspect) const CONTROL_MAX: usize = 16 * 1024;

/// The head of a frame (section 4.1).
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) kind: u8,
    flags: u8,
    pub(super) stream: u32,
    /// With its head.
    pub(super) length: usize,
}

impl Frame {
    pub(super) fn read(bytes: &[u8]) -> Option<Frame> {
        let mut reader = Reader::new(bytes);
        let (length, [kind, flags], stream) = (reader.be24()?, reader.array::<2>()?, reader.be32()?);
        Some(Frame { kind, flags, stream: stream & 0x7fff_ffff, length: length as usize + HEAD }) // 24 bits
    }

    /// No receiver goes on behind such a one.
    pub(super) fn is_too_long(&self) -> bool {
        let is_fixed = matches!(self.kind, PRIORITY | RESET | SETTINGS | PING | WINDOW);
        is_fixed && self.length > CONTROL_MAX + HEAD
    }

    /// What is shown of its fields, which begin the block.
    pub(super) fn fields<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let mut reader = Reader::new(bytes.get(HEAD..self.length.min(bytes.len())).unwrap_or_default());
        let padding = if self.flags & PADDED != 0 { reader.u8().unwrap_or(0) } else { 0 };
        let in_front = match self.kind {
            HEADERS if self.flags & HAS_PRIORITY != 0 => 5,
            PROMISE => 4,
            _ => 0,
        };
        let fields = reader.rest().get(in_front..).unwrap_or_default();
        // Padding that was not shown is none of the fields either.
        let beyond = self.length.saturating_sub(bytes.len());
        let padding = usize::from(padding).saturating_sub(beyond);
        fields.get(..fields.len().saturating_sub(padding)).unwrap_or_default()
    }

    /// The stream that a promise is of (section 6.6); 0 where it tells none.
    pub(super) fn promised(&self, bytes: &[u8]) -> u32 {
        let mut reader = Reader::new(bytes.get(HEAD..self.length.min(bytes.len())).unwrap_or_default());
        if self.flags & PADDED != 0 {
            reader.u8();
        }
        reader.be32().unwrap_or(0) & 0x7fff_ffff
    }

    fn continues(&self, first: &Frame) -> bool {
        (self.kind, self.stream) == (CONTINUATION, first.stream)
    }
}

/// How a frame with fields and what continues it (section 6.10) lie in what is shown.
pub(super) enum Extent {
    /// So many bytes must be there first.
    Need(usize),
    /// All of it, with its last frame's end.
    Whole(usize),
    /// No more of it is shown, or what follows is none of it; with the end of what was begun.
    Part(usize, Anomaly),
}

pub(super) fn extent(first: &Frame, bytes: &[u8]) -> Extent {
    let (mut frame, mut end) = (*first, first.length);
    loop {
        if end > UNIT_MAX {
            let shown = UNIT_MAX;
            return if bytes.len() < shown { Extent::Need(shown) } else { Extent::Part(end, BLOCK_TOO_LONG) };
        }
        if bytes.len() < end {
            return Extent::Need(end);
        }
        if frame.flags & END_HEADERS != 0 {
            return Extent::Whole(end);
        }
        if end + HEAD > UNIT_MAX {
            return Extent::Part(end, BLOCK_TOO_LONG);
        }
        let Some(next) = bytes.get(end..).and_then(Frame::read) else { return Extent::Need(end + HEAD) };
        if !next.continues(first) {
            return Extent::Part(end, BLOCK_INVALID);
        }
        (frame, end) = (next, end + next.length);
    }
}

/// The fields of several frames in one piece.
pub(super) fn put_together<'a>(first: &Frame, bytes: &[u8], place: &'a mut [u8; UNIT_MAX]) -> &'a [u8] {
    let (mut used, mut at, mut frame) = (0, 0, Some(*first));
    while let Some(one) = frame {
        let shown = bytes.get(at..).unwrap_or_default();
        let part =
            if at == 0 { one.fields(shown) } else { shown.get(HEAD..one.length.min(shown.len())).unwrap_or_default() };
        if let Some(to) = place.get_mut(used..used + part.len()) {
            to.copy_from_slice(part);
            used += part.len();
        }
        at += one.length;
        frame = bytes.get(at..).and_then(Frame::read).filter(|next| next.continues(first));
    }
    place.get(..used).unwrap_or_default()
}
