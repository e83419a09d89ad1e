//! How many of something limited each source has: a source that has a quarter of it gives way to itself, not to others.

use crate::dataplane::decode::{Direction, FlowKey};
use crate::sys::hash::KeyedHash;

/// Shares of which each source has one; those that fall together have it together.
pub(super) const SHARES: usize = 1 << u8::BITS;

/// What one source may have of something limited: one part in so many.
pub const SOURCE_SHARE: u32 = 4;

/// Counts by source.
pub(super) struct Shares {
    used: Box<[u32; SHARES]>,
    max: u32,
}

impl Shares {
    /// For `count` in all. Two at least each: a connection has two sides, and must not give way to itself.
    pub(super) fn new(count: u32) -> Shares {
        Shares { used: Box::new([0; SHARES]), max: (count / SOURCE_SHARE).max(2) }
    }

    /// Has as much as one source may have where there is not enough for all.
    pub(super) fn is_at_limit(&self, share: u8) -> bool {
        self.used.get(usize::from(share)).is_some_and(|used| *used >= self.max)
    }

    pub(super) fn take(&mut self, share: u8) {
        if let Some(used) = self.used.get_mut(usize::from(share)) {
            *used = used.saturating_add(1);
        }
    }

    pub(super) fn give_back(&mut self, share: u8) {
        if let Some(used) = self.used.get_mut(usize::from(share)) {
            *used = used.saturating_sub(1);
        }
    }
}

/// Which share the originator of a flow belongs to: by its address, for IPv6 by its network of 64 bits, which is what one
/// host has. Keyed, so that nobody can choose sources that fall together with one he wants to push out.
#[inline]
pub(super) fn share_of(hash: &KeyedHash, key: &FlowKey, originator: Direction) -> u8 {
    let [low_top, low, high_top, high, _] = *key.words();
    let (top, rest) = match originator {
        Direction::Forward => (low_top, low),
        Direction::Reverse => (high_top, high),
    };
    let source = if top == 0 { rest } else { top };
    (hash.hash_pair([source, 0]) >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_fall_together_under_one_key_do_not_under_another() {
        let [one, other] = [[1, 2, 3, 4], [1, 2, 3, 5]].map(KeyedHash::new);
        let shares = |hash: &KeyedHash, source: u32| {
            let (key, originator) = FlowKey::v4(source, 40_000, 0x0a00_0002, 80, 6, 0);
            share_of(hash, &key, originator)
        };
        let together: Vec<u32> = (0x0b00_0000..0x0b01_0000).filter(|source| shares(&one, *source) == 7).collect();
        assert!((200..320).contains(&together.len()), "{}", together.len());
        let again = together.iter().filter(|source| shares(&other, **source) == 7).count();
        assert!(again < 10, "{again}");
    }
}
