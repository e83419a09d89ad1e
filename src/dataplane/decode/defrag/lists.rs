//! Datagrams in the order in which they began, by numbers in their entries: nothing is searched, whatever gives way.

use super::NIL;
use super::entry::Entry;

/// Neighbours in one list.
#[derive(Clone, Copy)]
pub(super) struct Link {
    older: u16,
    newer: u16,
}

impl Default for Link {
    fn default() -> Link {
        Link { older: NIL, newer: NIL }
    }
}

/// By what an entry is listed: each is in one list of each kind.
#[derive(Clone, Copy)]
pub(super) enum By {
    /// Those of known sources, and all others.
    Group = 0,
    /// Those of one source.
    Source = 1,
}

/// First and last of a list, and how many they are.
#[derive(Clone, Copy)]
pub(super) struct List {
    pub(super) oldest: u16,
    newest: u16,
    pub(super) count: u16,
}

impl Default for List {
    fn default() -> List {
        List { oldest: NIL, newest: NIL, count: 0 }
    }
}

impl List {
    /// Puts an entry at the end.
    pub(super) fn push(&mut self, entries: &mut [Entry], by: By, slot: u16) {
        let Some(link) = link(entries, by, slot) else { return };
        *link = Link { older: self.newest, newer: NIL };
        match self::link(entries, by, self.newest) {
            Some(newest) => newest.newer = slot,
            None => self.oldest = slot,
        }
        self.newest = slot;
        self.count += 1;
    }

    /// Takes out an entry that is in it.
    pub(super) fn remove(&mut self, entries: &mut [Entry], by: By, slot: u16) {
        let Some(&mut Link { older, newer }) = link(entries, by, slot) else { return };
        match link(entries, by, older) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match link(entries, by, newer) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        self.count = self.count.saturating_sub(1);
    }
}

/// `None` for no entry.
fn link(entries: &mut [Entry], by: By, slot: u16) -> Option<&mut Link> {
    entries.get_mut(usize::from(slot))?.links.get_mut(by as usize)
}
