//! In which order the sides speak: which reply is to which command where that is not their number, or is not known.
//!
//! Behind a hole, on either side, it is not, until the client shows that it waits for each reply, as RFC 959 section 5.4 wants:
//! then the server has replied to all it sent before, or what it says is a reply to nothing but the last command.

use super::super::parse::Output;
use super::waiting::Kind;
use super::{CODE, COMMAND, REPLY_UNKNOWN, State};
use crate::dataplane::flow::Side;

/// What is known of it.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Order {
    /// There was a hole, and which reply is to which command was not found again.
    pub(super) is_torn: bool,
    /// The next line of the server may be the end of one.
    pub(super) is_part: bool,
    /// The client was seen not to wait.
    is_ahead: bool,
    /// Commands since the server replied, and replies since the client sent one.
    commands: u8,
    replies: u8,
}

impl Order {
    /// A command was sent.
    pub(super) fn sent(&mut self) {
        (self.commands, self.replies) = (self.commands.saturating_add(1), 0);
    }

    /// A reply came to its end.
    pub(super) fn replied(&mut self) {
        self.is_ahead |= self.commands > 1 || self.is_torn && self.replies > 0;
        (self.commands, self.replies) = (0, self.replies.saturating_add(1));
    }

    /// Has the server replied to all that the client sent, as far as is known of such a client?
    fn is_even(self) -> bool {
        !self.is_ahead && self.commands == 0
    }
}

impl State {
    /// What is open, and what waits, without the replies to it: nobody knows whether these came, or will.
    pub(super) fn tell_all(&mut self, out: &mut dyn Output) {
        self.tell_unknown(out);
        while self.waiting.pop(out).is_some() {
            self.tell_unknown(out);
        }
    }

    /// What is open; nobody knows what was replied to it.
    pub(super) fn tell_unknown(&self, out: &mut dyn Output) {
        let facts = out.facts();
        if facts.get(COMMAND).is_some() && facts.get(CODE).is_none() {
            facts.put_number(REPLY_UNKNOWN, 1);
        }
        out.event();
    }

    /// Bytes of `side` are missing. What the client sent last stays open: the server may be heard to reply to it.
    pub(super) fn tear(&mut self, side: Side, out: &mut dyn Output) {
        self.orphans = 0;
        (self.order.is_torn, self.order.replies) = (true, 0);
        if side == Side::Originator {
            // Commands were lost, and what is left of the line behind them.
            self.order.commands = self.order.commands.max(1);
            (self.is_login, self.is_auth, self.is_user_last, self.is_abort) = (false, false, false, false);
            return self.tell_all(out);
        }
        // The greeting, or a reply.
        (self.order.is_part, self.order.commands, self.is_greeted) = (true, 0, true);
        while !self.waiting.is_empty() {
            self.tell_unknown(out);
            if self.waiting.take_pass(out) {
                (self.is_login, self.is_auth, self.is_abort) = (false, false, false);
            } else {
                self.open_next(out);
            }
        }
    }

    /// Behind a hole, the client sends another command.
    pub(super) fn tear_ends_at_command(&mut self, out: &mut dyn Output) {
        if !self.order.is_torn || !self.order.is_even() {
            return;
        }
        self.tell_unknown(out);
        (self.order.is_torn, self.order.is_part, self.is_aside) = (false, false, false);
        (self.pending, self.inside, self.is_user_last, self.is_transferring) = (0, 0, false, false);
    }

    /// Behind a hole, the server says this.
    pub(super) fn tear_ends_at_reply(&mut self, code: u64, out: &mut dyn Output) {
        if self.order.is_torn && self.is_to_last(code, out) {
            (self.order.is_torn, self.pending) = (false, 1);
        }
    }

    /// Is it a reply that nothing but the last command gets (RFC 959 section 5.4, RFC 2428, RFC 4217)? Of clients that wait
    /// `USER` is one; others may have sent two.
    pub(super) fn is_to_last(&self, code: u64, out: &mut dyn Output) -> bool {
        let wanted: &[&[u8]] = match code {
            331 if self.is_user_last && !self.order.is_ahead => return true,
            215 => &[b"SYST"],
            221 => &[b"QUIT"],
            227 => &[b"PASV"],
            229 => &[b"EPSV"],
            234 => &[b"AUTH"],
            257 => &[b"PWD", b"XPWD"],
            _ => return false,
        };
        let last = out.facts().get(COMMAND);
        last.is_some_and(|last| wanted.iter().any(|wanted| last.eq_ignore_ascii_case(wanted)))
    }

    /// `ABOR` has a reply of its own, behind that to the transfer (RFC 959 section 4.1.3), but from some servers: what is to no
    /// `ABOR` is to the next command.
    pub(super) fn pass_abort(&mut self, code: u64, out: &mut dyn Output) {
        let is_own = matches!(code, 225 | 226 | 421 | 426 | 500..=502);
        if self.is_abort && !is_own && !self.waiting.is_empty() {
            self.tell_unknown(out);
            self.pending = self.pending.saturating_sub(1);
            self.open_next(out);
        }
    }

    /// The first command that waits is the open one now.
    pub(super) fn open_next(&mut self, out: &mut dyn Output) {
        let kind = self.waiting.pop(out);
        if kind == Some(Kind::Pass) {
            // Sent though `USER` wanted none: the next reply is its own.
            out.facts().put(COMMAND, b"PASS");
        }
        let is = |other| kind == Some(other);
        (self.is_login, self.is_auth, self.is_abort) = (is(Kind::User), is(Kind::Auth), is(Kind::Abort));
    }
}
