//! Behind a hole in what the client says that may hide that a mail begins, or a login: its lines are commands, or text that
//! anybody may have written.
//!
//! A line is a command where it is plainly one and the server replies to it: to the text of a mail it says nothing before its
//! end, which is no command. From there on all is read again.

use super::super::lines;
use super::super::parse::{Key, Match, Output, Step};
use super::super::remembered::TEXT_MAX;
use super::awaited::Next;
use super::mail::Mail;
use super::{Asked, HELO, LINE_MAX, Mode, State, address};
use crate::dataplane::flow::Side;

/// What the client said last.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) enum Last {
    /// What is no command, or may be none.
    #[default]
    Text,
    /// `EHLO` and the like; the name is remembered.
    Hello,
    Reset,
    /// `MAIL`, with the `RCPT` and perhaps `DATA` that were sent together with it; the addresses are remembered.
    Mail,
    Data,
}

impl State {
    /// There was such a hole: what is open is told.
    #[cold]
    pub(super) fn lose(&mut self, out: &mut dyn Output) {
        self.tell(out);
        if self.asked != Asked::StartTls {
            self.asked = Asked::Other;
        }
        (self.is_granted, self.mail) = (false, Mail::default());
        self.forget_last();
    }

    /// No reply will tell that the last lines were commands.
    pub(super) fn forget_last(&mut self) {
        (self.mode, self.awaited.next) = (Mode::Lost(Last::Text), Next::default());
    }

    /// The next line.
    #[cold]
    pub(super) fn look_for_command(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        match bytes {
            // TLS (RFC 8446 section 5.1), for STARTTLS may be what was lost.
            [0x16] => return Step::Need(2),
            [0x16, 3, ..] => return Step::Done,
            _ => {}
        }
        let line = match self.lines.of(Side::Originator).next(bytes, LINE_MAX) {
            Ok(line) => line,
            Err(Step::Took(taken)) => return Step::Pass(taken),
            Err(step) => return step,
        };
        let text = if line.is_cut { &[] } else { line.text };
        let (last, next) = (self.mode, self.awaited.next);
        self.forget_last();
        let is = |command: &[u8]| text.eq_ignore_ascii_case(command);
        let begins = |command: &[u8]| lines::begins(text, command) == Match::Yes;
        let (_, argument) = lines::word(text);
        let last = match last {
            Mode::Lost(Last::Mail) if begins(b"RCPT TO:") && !next.is_sent => {
                self.awaited.next = next;
                self.awaited.next.keep(address(argument), out);
                Last::Mail
            }
            Mode::Lost(Last::Mail) if is(b"DATA") && !next.is_sent => {
                (self.awaited.next, self.awaited.next.is_sent) = (next, true);
                Last::Mail
            }
            _ if begins(b"MAIL FROM:") => {
                self.awaited.next.keep(address(argument), out);
                Last::Mail
            }
            _ if begins(b"EHLO ") || begins(b"HELO ") || begins(b"LHLO ") => {
                out.remember(Key::Number(0), argument.get(..TEXT_MAX).unwrap_or(argument));
                Last::Hello
            }
            _ if is(b"RSET") => Last::Reset,
            _ if is(b"DATA") => Last::Data,
            _ => Last::Text,
        };
        self.mode = Mode::Lost(last);
        Step::Pass(line.taken)
    }

    /// A reply: what the client said last was a command.
    #[cold]
    pub(super) fn find(&mut self, last: Last, code: u64, out: &mut dyn Output) {
        let mut next = self.awaited.next;
        self.forget_last();
        match (last, code) {
            (Last::Hello, 250) => {
                self.mode = Mode::Command;
                let is_there = out.recall(Key::Number(0), HELO);
                if !is_there || out.facts().get(HELO).is_some_and(|name| name.len() >= TEXT_MAX) {
                    out.facts().mark_truncated();
                }
            }
            (Last::Reset, 250) => self.mode = Mode::Command,
            // 421 may come at any time (RFC 5321 section 3.8).
            (Last::Mail, 250 | 400..=420 | 422..=599) => {
                (self.mode, self.answered, self.is_chunked) = (Mode::Command, 0, false);
                if next.take(out).is_sent {
                    self.begin_data();
                }
            }
            // Of the envelope nothing is known.
            (Last::Data, 354) => {
                self.begin_data();
                self.is_granted = true;
                out.facts().mark_truncated();
            }
            _ => {}
        }
    }
}
