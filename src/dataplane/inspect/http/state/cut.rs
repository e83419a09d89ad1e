//! Heads with a hole: what the whole lines in front of it say.

use super::*;

/// The whole lines of a head in front of a hole, and whether they are all it has. Without the empty ones that may stand before
/// a message.
fn lines_before(hole: &[u8]) -> (&[u8], bool) {
    let blank = hole.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let head = hole.get(blank..).unwrap_or_default();
    let end = head.iter().rposition(|byte| *byte == b'\n').map_or(0, |feed| feed + 1);
    let head = head.get(..end).unwrap_or_default();
    match head::end(head, 0) {
        End::At(length) => (head.get(..length).unwrap_or(head), true),
        End::NotYet(_) | End::TooLong => (head, false),
    }
}

fn first_line(head: &[u8]) -> &[u8] {
    let line = lines::split(head, b'\n').map_or(head, |(line, _)| line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl State {
    /// The request whose head goes on behind a hole. It has an answer; that came already where the hole was the last of what
    /// the client had sent.
    #[cold]
    pub(super) fn cut_request(&mut self, before: &[u8], out: &mut dyn Output) {
        let is_answered = *self.mode(Side::Originator) == Mode::Answered;
        let (head, is_whole) = lines_before(before);
        if !begins_well(Side::Originator, head) || split_line(first_line(head)).is_none() {
            if !before.is_empty() && !is_answered && self.count < PENDING_MAX {
                (self.requests, self.count) = (self.requests.wrapping_add(1), self.count + 1);
            }
            return;
        }
        // Its answer's number.
        self.requests = self.requests.wrapping_sub(u32::from(is_answered));
        self.request(head, head, is_whole, out);
        if !is_whole {
            out.facts().mark_truncated();
        }
        if is_answered {
            (self.pending, self.count) = (0, 0);
            out.event();
        }
    }

    /// The response whose head goes on behind a hole; nothing is known of what follows it.
    #[cold]
    pub(super) fn cut_response(&mut self, before: &[u8], out: &mut dyn Output) {
        let (head, is_whole) = lines_before(before);
        if fields::status(first_line(head)).is_some() {
            self.response(head, head, !is_whole, out);
        }
    }
}
