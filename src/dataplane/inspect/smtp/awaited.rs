//! What a client said that the server did not answer yet, for it may send several commands at once (RFC 2920).

use super::super::parse::{Key, Output};
use super::super::remembered::TEXT_MAX;
use super::{MAIL_FROM, RCPT_TO};

/// What a command is, as far as its reply tells anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Other,
    Recipient,
    /// The last bytes of a mail (RFC 3030).
    LastChunk,
    /// Also the last that a client may send without waiting (RFC 3207 section 4).
    StartTls,
}

/// What is known of which reply is to which command.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Known {
    #[default]
    All,
    /// Replies come, and nobody counts them any more.
    Few,
    /// Behind a hole: replies, or commands, were lost.
    Nothing,
}

/// Commands whose replies did not come yet.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Awaited {
    /// Which are recipients: a bit for each, the oldest the lowest.
    recipients: u32,
    /// Which are last chunks. What is both is STARTTLS.
    chunks: u32,
    count: u8,
    known: Known,
    pub(super) next: Next,
}

impl Awaited {
    pub(super) fn push(&mut self, kind: Kind) {
        if u32::from(self.count) >= u32::BITS {
            self.lose();
            return;
        }
        self.recipients |= u32::from(matches!(kind, Kind::Recipient | Kind::StartTls)) << self.count;
        self.chunks |= u32::from(matches!(kind, Kind::LastChunk | Kind::StartTls)) << self.count;
        self.count += 1;
    }

    /// A reply came: to what, where that is known.
    pub(super) fn pop(&mut self) -> Option<Kind> {
        let is_known = self.count > 0 && self.known == Known::All;
        let kind = match (self.recipients & 1, self.chunks & 1) {
            (1, 1) => Kind::StartTls,
            (1, _) => Kind::Recipient,
            (_, 1) => Kind::LastChunk,
            _ => Kind::Other,
        };
        (self.recipients, self.chunks) = (self.recipients >> 1, self.chunks >> 1);
        self.count = self.count.saturating_sub(1);
        is_known.then_some(kind)
    }

    /// Will a reply to a last chunk be known as such?
    pub(super) fn has_chunk(&self) -> bool {
        self.chunks & !self.recipients != 0 && self.known == Known::All
    }

    /// Which reply is to which command is not known any more.
    pub(super) fn lose(&mut self) {
        if self.known == Known::All {
            self.known = Known::Few;
        }
    }

    /// There was a hole.
    pub(super) fn tear(&mut self) {
        self.known = Known::Nothing;
    }

    /// Was there one?
    pub(super) fn is_torn(&self) -> bool {
        self.known == Known::Nothing
    }

    /// The reply to a mail that was told already is of no interest.
    pub(super) fn forget_chunks(&mut self) {
        self.chunks &= self.recipients;
    }
}

/// The envelope of a mail that was begun before the one in front of it was answered, among the texts that are remembered:
/// the sender, and one recipient more than an event holds, which tells that there were.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Next {
    texts: u8,
    /// All of it was sent, or is about to be: the reply to it will come.
    pub(super) is_sent: bool,
}

impl Next {
    pub(super) fn is_begun(self) -> bool {
        self.texts > 0
    }

    /// The sender, then recipients.
    pub(super) fn keep(&mut self, address: &[u8], out: &mut dyn Output) {
        if self.texts <= RCPT_TO.repeats + 1 {
            let kept = address.get(..TEXT_MAX).unwrap_or(address);
            out.remember(Key::Number(self.texts.into()), kept);
            self.texts += 1;
        }
    }

    /// Its turn has come: it is put into the event that is begun with it.
    pub(super) fn take(&mut self, out: &mut dyn Output) -> Next {
        let taken = std::mem::take(self);
        for index in 0..taken.texts {
            let fact = if index == 0 { MAIL_FROM } else { RCPT_TO };
            let is_there = out.recall(Key::Number(index.into()), fact);
            let is_cut = out.facts().all(fact).last().is_some_and(|text| text.len() >= TEXT_MAX);
            if !is_there || is_cut {
                out.facts().mark_truncated();
            }
        }
        taken
    }
}
