//! Mails that come by `BDAT`, in parts whose lengths are said (RFC 3030).

use super::super::lines;
use super::super::parse::{Output, Step};
use super::mail::{Mail, Piece};
use super::{Asked, Mode, State};

impl State {
    /// Bytes to pass over; `None` where there is something to read. A mail that waits for its turn has no place for
    /// what its head says.
    pub(super) fn chunk(&mut self, argument: &[u8]) -> Option<u64> {
        let (size, last) = lines::word(argument);
        let size = lines::decimal(size)?;
        self.grows(size);
        let (is_last, waits) = (last.eq_ignore_ascii_case(b"LAST"), self.awaited.next.is_begun());
        if !std::mem::replace(&mut self.is_chunked, !is_last) {
            self.mail = if waits { Mail::default() } else { Mail::begin() };
        }
        if is_last {
            self.asked = Asked::Mail;
            self.awaited.next.is_sent = waits;
        }
        match u32::try_from(size) {
            Ok(size @ 1..) if self.mail.reads() => (self.mode, self.chunk) = (Mode::Chunk, size),
            _ => return Some(size),
        }
        None
    }

    /// The next of a chunk: a field, or a line that may part what the mail is made of.
    pub(super) fn chunked(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        let left = self.chunk as usize;
        let shown = bytes.get(..left).unwrap_or(bytes);
        let piece = self.mail.next(shown);
        let count = match piece {
            Piece::More if bytes.len() < left => return Step::Need(bytes.len() + 1),
            // What goes on in the next chunk is read as far as it is here.
            Piece::More => shown.len(),
            Piece::Passed(count) | Piece::Read(count) => count,
        };
        let shown = shown.get(..count).unwrap_or(shown);
        self.mail.is_line = shown.ends_with(b"\n");
        if !matches!(piece, Piece::Passed(_)) {
            self.mail.read(shown, out);
        }
        if piece == Piece::More && !self.mail.is_line {
            self.mail.tear(out);
        }
        self.chunk = self.chunk.saturating_sub(count as u32); // at most as many
        match self.chunk {
            0 => self.mode = Mode::Command,
            left if !self.mail.reads() => {
                self.mode = Mode::Command;
                return Step::Skip(count as u64 + u64::from(left));
            }
            _ => {}
        }
        Step::Pass(count)
    }
}
