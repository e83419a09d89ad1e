//! Commands that were sent before the one in front of them was replied to, which RFC 959 forbids and clients do.

use super::super::parse::{Key, Output};
use super::super::remembered::TEXT_MAX;
use super::{ARGUMENT, COMMAND, USERNAME, extended, host_port};

/// Commands that wait at most: a login's two, and as many as clients are known to send behind it.
pub const WAITING_MAX: u8 = 10;
/// Bits of a [`Kind`].
const KIND_BITS: u32 = 3;

const _: () = assert!(WAITING_MAX as u32 * KIND_BITS <= u32::BITS);

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
    /// `PORT` or `EPRT` with its endpoint, which is one.
    Port = 4,
    /// `PASS` behind its `USER`, of which nothing is kept.
    Pass = 5,
    /// `STAT` of what is going on, to which the server may reply at once (RFC 959 section 4.1.3).
    Status = 6,
    /// `ABOR`.
    Abort = 7,
}

impl Kind {
    fn has_argument(self) -> bool {
        matches!(self, Kind::Argument | Kind::User | Kind::Auth | Kind::Port)
    }
}

/// The commands, in order, among the texts that are remembered.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Waiting {
    /// Place of the first.
    first: u8,
    count: u8,
    /// [`Kind`] of each, the first lowest.
    kinds: u32,
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
        if kind != Kind::Pass {
            out.remember(Key::Number(place), command.get(..TEXT_MAX).unwrap_or(command));
        }
        if kind.has_argument() {
            out.remember(Key::Number(place + 1), argument.get(..TEXT_MAX).unwrap_or(argument));
        }
        self.kinds |= (kind as u32) << (KIND_BITS * u32::from(self.count));
        self.count += 1;
        true
    }

    /// Is the first one `PASS`? Then its turn has come.
    pub(super) fn take_pass(&mut self, out: &mut dyn Output) -> bool {
        self.is_first(Kind::Pass) && self.pop(out).is_some()
    }

    pub(super) fn is_first(self, kind: Kind) -> bool {
        self.count > 0 && self.kind() == kind
    }

    /// Of the first one.
    fn kind(self) -> Kind {
        match self.kinds & ((1 << KIND_BITS) - 1) {
            0 => Kind::Bare,
            1 => Kind::Argument,
            2 => Kind::User,
            3 => Kind::Auth,
            4 => Kind::Port,
            5 => Kind::Pass,
            6 => Kind::Status,
            _ => Kind::Abort,
        }
    }

    /// The first one's turn has come: it is put into the event that is begun with it, but for `PASS`, which may belong to
    /// another one's.
    pub(super) fn pop(&mut self, out: &mut dyn Output) -> Option<Kind> {
        self.count = self.count.checked_sub(1)?;
        let place = u64::from(self.first) * 2;
        let kind = self.kind();
        (self.first, self.kinds) = ((self.first + 1) % WAITING_MAX, self.kinds >> KIND_BITS);
        if kind == Kind::Pass {
            return Some(kind);
        }
        let fact = if kind == Kind::User { USERNAME } else { ARGUMENT };
        let mut is_there = out.recall(Key::Number(place), COMMAND);
        if kind.has_argument() {
            is_there &= out.recall(Key::Number(place + 1), fact);
            is_there &= out.facts().get(fact).is_none_or(|text| text.len() < TEXT_MAX);
        }
        if !is_there {
            out.facts().mark_truncated();
        }
        if kind == Kind::Port {
            let endpoint = out.facts().get(ARGUMENT).and_then(|text| host_port(text).or_else(|| extended(text)));
            if let Some(endpoint) = endpoint {
                endpoint.put(b"active", out);
            }
        }
        Some(kind)
    }
}
