//! Behind a hole, on either side: which reply is to which command is not known, and nobody will know again. No code is told of
//! mails and logins any more, none waits for the one in front, and what ends a mail is what the client says.

use super::super::lines;
use super::super::parse::{Match, Output};
use super::{Asked, Mode, SIZE, STARTTLS, State};
use crate::dataplane::flow::Side;

#[cfg(test)]
mod tests;

impl State {
    /// What was lost may be the reply to the mail, and the next one is to another command.
    pub(super) fn part_torn(&mut self, side: Side, out: &mut dyn Output) {
        if self.awaited.next.is_begun() {
            self.part(out);
            if self.mode == Mode::Data {
                self.asked = Asked::Mail; // that which waited is being sent
            }
        } else if side == Side::Responder && self.mode == Mode::Command {
            self.tell_mail(out);
        }
    }

    /// What is open, with the bytes of its mail if all of that was sent.
    pub(super) fn tell(&mut self, out: &mut dyn Output) {
        self.tell_mail(out);
        out.event();
        self.size = 0;
    }

    fn tell_mail(&mut self, out: &mut dyn Output) {
        if self.asked == Asked::Mail && matches!(self.mode, Mode::Command | Mode::Doubt) {
            out.facts().put_number(SIZE, std::mem::take(&mut self.size).into());
            out.event();
            self.asked = Asked::Other;
            self.awaited.forget_chunks();
        }
    }

    /// A reply, of which only that is taken that none but one command gets.
    pub(super) fn reply_torn(&mut self, code: u64, text: &[u8], out: &mut dyn Output) {
        if let Mode::Lost(last) = self.mode
            && self.asked != Asked::StartTls
        {
            return self.find(last, code, out);
        }
        match (self.asked, code) {
            (Asked::StartTls, 220) => {
                self.is_tls = true;
                out.facts().put_number(STARTTLS, 1);
                out.event();
                self.asked = Asked::Other;
            }
            (Asked::StartTls, 400..) => self.asked = Asked::Other,
            (Asked::Auth, 334) => self.sasl.prompt(text),
            (Asked::Auth, _) => {
                out.event();
                (self.mode, self.asked) = (Mode::Command, Asked::Other);
            }
            (Asked::Mail, 354) => self.is_granted = true,
            // The refusal was a recipient's.
            (Asked::Refused, 354) => (self.mode, self.asked, self.is_granted) = (Mode::Data, Asked::Mail, true),
            (Asked::Mail, 400..) if self.mode == Mode::Data && self.size == 0 => {
                (self.mode, self.asked) = (Mode::Command, Asked::Refused);
            }
            (Asked::Mail, _) => self.tell_mail(out),
            _ => {}
        }
    }

    /// The client goes on with what is no mail, before it was told that it may send one: that it may not was lost.
    pub(super) fn is_refused_by(&self, bytes: &[u8]) -> bool {
        if self.mode != Mode::Data || self.size > 0 || self.is_granted || !self.awaited.is_torn() {
            return false;
        }
        let line = bytes.split(|byte| *byte == b'\n').next().filter(|line| line.len() < bytes.len());
        line.is_some_and(|line| {
            let line = line.trim_ascii_end();
            let is = |command: &[u8]| line.eq_ignore_ascii_case(command);
            is(b"RSET") || is(b"QUIT") || lines::begins(line, b"MAIL FROM:") == Match::Yes
        })
    }

    /// Commands that are no message of a login: there are no such Base64 texts, or, behind a hole, none that are likely. The
    /// reply to the login was lost, or is not waited for.
    pub(super) fn ends_login(&self, line: &[u8]) -> bool {
        let begins = |command: &[u8]| lines::begins(line, command) == Match::Yes;
        let is = |command: &[u8]| line.eq_ignore_ascii_case(command);
        begins(b"MAIL FROM:")
            || begins(b"AUTH ")
            || self.awaited.is_torn() && (is(b"RSET") || is(b"QUIT") || is(b"STARTTLS"))
    }
}
