//! Bodies in chunks (RFC 9112 section 7.1).

use super::*;

/// Bytes of a line with the size of a chunk, extensions included.
pub(in crate::dataplane::inspect) const CHUNK_LINE_MAX: usize = 1024;
/// Bytes of a trailer's line.
pub(in crate::dataplane::inspect) const TRAILER_LINE_MAX: usize = 8 * 1024;

impl State {
    pub(super) fn chunk(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let window = bytes.get(..CHUNK_LINE_MAX).unwrap_or(bytes);
        let Some((line, _)) = lines::split(window, b'\n') else {
            return match bytes.len() < CHUNK_LINE_MAX {
                true => Step::Need(bytes.len() + 1),
                false => self.bad_chunk(side, bytes, out),
            };
        };
        self.has_body_begun |= side == Side::Originator;
        if !line.ends_with(b"\r") {
            self.told.once(BARE_LINE_FEED, out);
            if side == Side::Originator {
                // Some read on to the next one that has its carriage return.
                self.doubts();
                return Step::Took(line.len() + 1);
            }
        }
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let Some(size) = lines::hexadecimal(size).filter(|size| *size <= u64::from(u32::MAX)) else {
            return self.bad_chunk(side, bytes, out);
        };
        let taken = line.len() as u64 + 1; // at most CHUNK_LINE_MAX
        *self.mode(side) = if size == 0 { Mode::Trailer } else { Mode::ChunkEnd };
        if side == Side::Responder {
            self.count(size.min(bytes.len() as u64 - taken), out);
        }
        Step::Skip(taken.saturating_add(size))
    }

    pub(super) fn chunk_end(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        match bytes {
            [b'\r', b'\n', ..] => {
                *self.mode(side) = Mode::Chunk;
                Step::Took(2)
            }
            [b'\n', ..] => {
                self.told.once(BARE_LINE_FEED, out);
                *self.mode(side) = Mode::Chunk;
                Step::Took(1)
            }
            [b'\r'] => Step::Need(2),
            _ => self.bad_chunk(side, bytes, out),
        }
    }

    fn bad_chunk(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        self.told.once(CHUNK_INVALID, out);
        if side == Side::Originator {
            self.doubts();
            return self.doubt(bytes, out);
        }
        self.end(out);
        *self.mode(side) = Mode::Over;
        Step::Done
    }

    pub(super) fn trailer(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let window = bytes.get(..TRAILER_LINE_MAX).unwrap_or(bytes);
        let Some(feed) = window.iter().position(|byte| *byte == b'\n') else {
            return match bytes.len() < TRAILER_LINE_MAX {
                true => Step::Need(bytes.len() + 1),
                false => self.bad_chunk(side, bytes, out),
            };
        };
        if bytes.get(..feed).is_some_and(|line| line.is_empty() || line == b"\r") {
            match side {
                Side::Originator => *self.mode(side) = Mode::Head,
                Side::Responder => self.body_is_over(out),
            }
        }
        Step::Took(feed + 1)
    }
}
