//! Places that are given out until there are none; then the one that was used longest ago is taken from who has it.

use super::rings::Rings;
use super::shares::{SHARES, Shares};

/// Numbers of places, and who has them.
pub(super) struct Places {
    free: Vec<u32>,
    /// Which source each counts for.
    of: Vec<u8>,
    shares: Shares,
    /// Those in use, the one that was used longest ago first: all, and those of each share.
    all: Rings,
    by_share: Rings,
}

/// A place for somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Given {
    pub(super) index: u32,
    /// It was somebody else's until now.
    pub(super) was_used: bool,
}

impl Places {
    pub(super) fn new(count: usize) -> Places {
        Places {
            free: (0..count as u32).rev().collect(),
            of: vec![0; count],
            shares: Shares::new(count as u32),
            all: Rings::new(count, 1),
            by_share: Rings::new(count, SHARES),
        }
    }

    /// Memory of each.
    pub(super) const BYTES: usize = size_of::<u8>() + size_of::<u32>() + 2 * size_of::<[u32; 2]>();

    /// Places in use.
    pub(super) fn used(&self) -> usize {
        self.of.len() - self.free.len()
    }

    /// At least half of them are in use.
    pub(super) fn are_scarce(&self) -> bool {
        self.free.len() * 2 <= self.of.len()
    }

    /// The oldest of the source's where it has its share and there are not enough for all, else a free one, else the oldest
    /// of all.
    pub(super) fn take(&mut self, share: u8) -> Option<Given> {
        let own = (self.are_scarce() && self.shares.is_at_limit(share)).then(|| self.by_share.first(share.into()));
        let (index, was_used) = match own.flatten() {
            Some(index) => (index, true),
            None => match self.free.pop() {
                Some(index) => (index, false),
                None => (self.all.first(0)?, true),
            },
        };
        if was_used {
            self.let_go(index);
        }
        self.begin(index, share);
        Some(Given { index, was_used })
    }

    /// Which is to be given back first, for so many to be taken that are free: the oldest of the source's where it has its
    /// share and there are not enough for all, else the oldest of all where there are fewer.
    pub(super) fn in_the_way(&self, share: u8, count: usize) -> Option<u32> {
        if self.are_scarce() && self.shares.is_at_limit(share) {
            return self.by_share.first(share.into());
        }
        if self.free.len() < count { self.all.first(0) } else { None }
    }

    /// A free one, if there is one.
    pub(super) fn take_free(&mut self, share: u8) -> Option<u32> {
        let index = self.free.pop()?;
        self.begin(index, share);
        Some(index)
    }

    /// Back among the free ones; only one that is in use.
    pub(super) fn give_back(&mut self, index: u32) {
        self.let_go(index);
        self.free.push(index); // never more than there were at first
    }

    /// It is used now.
    pub(super) fn touch(&mut self, index: u32) {
        if let Some(share) = self.of.get(index as usize) {
            self.all.append(index, 0);
            self.by_share.append(index, (*share).into());
        }
    }

    fn begin(&mut self, index: u32, share: u8) {
        if let Some(of) = self.of.get_mut(index as usize) {
            *of = share;
        }
        self.shares.take(share);
        self.touch(index);
    }

    fn let_go(&mut self, index: u32) {
        if let Some(share) = self.of.get(index as usize) {
            self.shares.give_back(*share);
            self.all.remove(index);
            self.by_share.remove(index);
        }
    }
}
