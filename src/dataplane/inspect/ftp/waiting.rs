//! Commands that were sent before the one in front of them was replied to, which RFC 959 forbids and clients do.

use super::super::parse::{Key, Output};
use super::super::remembered::TEXT_MAX;
use super::{ARGUMENT, COMMAND, USERNAME};

/// Commands that wait at most.
pub const WAITING_MAX: u8 = 8;

/// What stands behind a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Nothing that is told.
    Bare = 0,
    /// Its argument.
    Argument = 1,
    /// `USER` with its name.
    User = 2,
    /// `AUTH` with its mechanism.
    Auth = 3,
}

/// The commands, in order, among the texts that are remembered.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Waiting {
    /// Place of the first.
    first: u8,
    count: u8,
    /// [`Kind`] of each, two bits, the first lowest.
    kinds: u16,
}

impl Waiting {
    pub(super) fn is_empty(self) -> bool {
        self.count == 0
    }

    /// Another one; `false`: there is no room.
    pub(super) fn push(&mut self, command: &[u8], argument: &[u8], kind: Kind, out: &mut dyn Output) -> bool {
        if self.count >= WAITING_MAX {
            return false;
        }
        let place = u64::from((self.first + self.count) % WAITING_MAX) * 2;
        out.remember(Key::Number(place), command.get(..TEXT_MAX).unwrap_or(command));
        if kind != Kind::Bare {
            out.remember(Key::Number(place + 1), argument.get(..TEXT_MAX).unwrap_or(argument));
        }
        self.kinds |= (kind as u16) << (2 * self.count);
        self.count += 1;
        true
    }

    /// The first one's turn has come: it is put into the event that is begun with it.
    pub(super) fn pop(&mut self, out: &mut dyn Output) -> Option<Kind> {
        self.count = self.count.checked_sub(1)?;
        let place = u64::from(self.first) * 2;
        let kind = match self.kinds & 3 {
            0 => Kind::Bare,
            1 => Kind::Argument,
            2 => Kind::User,
            _ => Kind::Auth,
        };
        (self.first, self.kinds) = ((self.first + 1) % WAITING_MAX, self.kinds >> 2);
        let fact = if kind == Kind::User { USERNAME } else { ARGUMENT };
        let mut is_there = out.recall(Key::Number(place), COMMAND);
        if kind != Kind::Bare {
            is_there &= out.recall(Key::Number(place + 1), fact);
            is_there &= out.facts().get(fact).is_none_or(|text| text.len() < TEXT_MAX);
        }
        if !is_there {
            out.facts().mark_truncated();
        }
        Some(kind)
    }
}
