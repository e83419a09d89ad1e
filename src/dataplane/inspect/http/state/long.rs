//! Headers of requests that are too long to be read at once: line by line, each line bounded.

use super::super::head::Framing;
use super::*;

/// Bytes of a line of a header that is read line by line.
const HEAD_LINE_MAX: usize = 4 * 1024;

/// The present line is passed over up to its end.
const DROPS_LINE: u16 = 1;
/// No `Host` came so far, and one must.
pub(super) const WANTS_HOST: u16 = 2;
/// See [`Framing`].
const CHUNKED: u16 = 4;
const HAS_CODING: u16 = 8;
const AMBIGUOUS: u16 = 16;

impl State {
    /// The beginning of a header that servers may take though it is longer than is read at once: its whole lines now, the
    /// others as they come. What is too long for a line is passed over up to its end.
    #[cold]
    pub(super) fn long_request(&mut self, head: &[u8], out: &mut dyn Output) -> Step {
        let lines = head.iter().rposition(|byte| *byte == b'\n').map_or(head.len(), |feed| feed + 1);
        let head = head.get(..lines).unwrap_or(head);
        let step = self.request(head, head, false, out);
        if *self.mode(Side::Originator) == Mode::Lines && !head.ends_with(b"\n") {
            *self.searched(Side::Originator) |= DROPS_LINE;
        }
        step
    }

    /// The next line of such a header.
    pub(super) fn lines(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        let flags = *self.searched(Side::Originator);
        if flags & DROPS_LINE != 0 {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            if end.is_some() {
                *self.searched(Side::Originator) &= !DROPS_LINE;
            }
            return Step::Took(end.map_or(bytes.len(), |feed| feed + 1));
        }
        let window = bytes.get(..HEAD_LINE_MAX).unwrap_or(bytes);
        let (line, taken) = match lines::split(window, b'\n') {
            Some((line, _)) => (window.get(..=line.len()).unwrap_or(window), line.len() + 1),
            None if bytes.len() < HEAD_LINE_MAX => return Step::Need(bytes.len() + 1),
            None => (window, window.len()),
        };
        if matches!(line, b"\n" | b"\r\n") {
            return self.lines_end(taken, out);
        }
        let mut framing = self.kept_framing();
        let is_told = out.facts().is_empty(); // with its answer, which came before the end
        let is_host = fields::another_line(line, &mut framing, &mut self.told, out);
        if is_told {
            out.facts().clear();
        }
        let host = if is_host { 0 } else { flags & WANTS_HOST };
        let drops = if line.ends_with(b"\n") { 0 } else { DROPS_LINE };
        self.keep_framing(&framing, host | drops);
        Step::Took(taken)
    }

    fn lines_end(&mut self, taken: usize, out: &mut dyn Output) -> Step {
        let framing = self.kept_framing();
        if std::mem::take(self.searched(Side::Originator)) & WANTS_HOST != 0 {
            self.told.once(HOST_MISSING, out);
        }
        (self.is_refused, self.has_body_begun, self.rest) = (false, false, 0);
        *self.mode(Side::Originator) = if framing.chunked { Mode::Chunk } else { Mode::Head };
        match framing.length {
            _ if framing.is_ambiguous() => self.doubts(),
            Some(length) if !framing.chunked => return Step::Skip((taken as u64).saturating_add(length)),
            _ => {}
        }
        Step::Took(taken)
    }

    /// What was read of how the body is delimited, until the header's end.
    pub(super) fn keep_framing(&mut self, framing: &Framing, others: u16) {
        let is_long = framing.length.is_some_and(|length| length >= u64::from(ENDLESS));
        self.rest = framing.length.map_or(ENDLESS, |length| u32::try_from(length).unwrap_or(ENDLESS));
        let mut flags = others;
        for (is_so, flag) in [
            (framing.chunked, CHUNKED),
            (framing.has_coding, HAS_CODING),
            (framing.is_ambiguous() || is_long, AMBIGUOUS),
        ] {
            flags |= if is_so { flag } else { 0 };
        }
        *self.searched(Side::Originator) = flags;
    }

    fn kept_framing(&mut self) -> Framing {
        let flags = *self.searched(Side::Originator);
        Framing {
            length: (self.rest != ENDLESS).then_some(u64::from(self.rest)),
            chunked: flags & CHUNKED != 0,
            has_coding: flags & HAS_CODING != 0,
            odd_name: flags & AMBIGUOUS != 0,
            ..Framing::default()
        }
    }
}
