//! One subject of the intended set: who holds it, what that comes to, and how the kernel stands to it.

use super::response::Id;
use crate::control::respond::words::Verdict;
use crate::dataplane::verdict::{Action, Hits, Rule, Side, Subject};
use crate::units::Timestamp;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

/// Parts of the table: whoever looks at all of it gives the lock back between two of them.
pub const SHARDS: usize = 64;

/// How the kernel stands to a subject.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EntryState {
    /// It has not been told yet.
    Pending,
    /// It has it, as of the latest look.
    Enforced,
    /// It refused; it is tried again.
    Failed(Box<str>),
}

/// A response that holds a subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    pub(super) id: Id,
    action: Action,
    side: Side,
    pub(super) until: Timestamp,
}

impl Holder {
    pub(super) fn new(id: Id, verdict: &Verdict, until: Timestamp) -> Holder {
        Holder { id, action: verdict.action, side: verdict.side, until }
    }
}

/// One subject; some 300 bytes with its place in the table.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What all holders come to.
    pub verdict: Verdict,
    /// When the latest ends.
    pub until: Timestamp,
    /// The rule that the kernel was given last.
    pub given: Option<Rule>,
    /// How the kernel stands to it.
    pub state: EntryState,
    /// Since when the kernel has had it without a break.
    pub since: Option<Timestamp>,
    /// What met it.
    pub hits: Hits,
    /// Number of the write with which the kernel was told last: what began before it does not know of it.
    pub written: u64,
    /// Number of the latest look that found it in the kernel.
    pub seen: u64,
    pub(super) holders: Vec<Holder>,
}

impl Entry {
    pub(super) fn new(verdict: Verdict, until: Timestamp) -> Entry {
        Entry {
            verdict,
            until,
            given: None,
            state: EntryState::Pending,
            since: None,
            hits: Hits::default(),
            written: 0,
            seen: 0,
            holders: Vec::new(),
        }
    }

    /// Is it held by some response of which this is true?
    pub fn is_held(&self, mut by: impl FnMut(&Id) -> bool) -> bool {
        self.holders.iter().any(|holder| by(&holder.id))
    }

    pub(super) fn take(&mut self, holder: Holder) {
        match self.holders.iter_mut().find(|other| other.id == holder.id) {
            Some(other) => *other = holder,
            None => {
                // One place: nearly all have one holder.
                self.holders.reserve_exact(1);
                self.holders.push(holder);
            }
        }
        self.settle();
    }

    /// Takes a holder away; `false` if it was none.
    pub(super) fn release(&mut self, id: Id) -> bool {
        let before = self.holders.len();
        self.holders.retain(|holder| holder.id != id);
        self.settle();
        self.holders.len() < before
    }

    /// The stricter of all, until the later of the ends.
    fn settle(&mut self) {
        let subject = self.verdict.subject;
        let verdict = |holder: &Holder| Verdict { subject, action: holder.action, side: holder.side };
        let all = self.holders.iter().map(verdict).reduce(|sum, next| sum.with(&next));
        if let Some(all) = all {
            self.verdict = all;
            self.until = self.holders.iter().map(|holder| holder.until).max().unwrap_or(self.until);
        }
    }
}

/// Every subject, in parts.
pub(super) struct Entries {
    parts: Vec<HashMap<Subject, Entry>>,
    hasher: RandomState,
    count: usize,
}

impl Default for Entries {
    fn default() -> Entries {
        Entries { parts: (0..SHARDS).map(|_| HashMap::new()).collect(), hasher: RandomState::new(), count: 0 }
    }
}

impl Entries {
    fn place(&self, subject: &Subject) -> usize {
        // The table within a part uses a hash of its own.
        usize::try_from(self.hasher.hash_one(subject) >> 32).unwrap_or(0) % SHARDS
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, subject: &Subject) -> Option<&Entry> {
        self.parts.get(self.place(subject))?.get(subject)
    }

    pub(super) fn get_mut(&mut self, subject: &Subject) -> Option<&mut Entry> {
        let place = self.place(subject);
        self.parts.get_mut(place)?.get_mut(subject)
    }

    pub(super) fn entry(&mut self, subject: Subject, fresh: impl FnOnce() -> Entry) -> &mut Entry {
        let place = self.place(&subject);
        let part = &mut self.parts[place]; // below SHARDS
        let count = &mut self.count;
        part.entry(subject).or_insert_with(|| {
            *count += 1;
            fresh()
        })
    }

    pub(super) fn remove(&mut self, subject: &Subject) {
        let place = self.place(subject);
        if self.parts.get_mut(place).and_then(|part| part.remove(subject)).is_some() {
            self.count -= 1;
        }
    }

    pub(super) fn part(&self, part: usize) -> impl Iterator<Item = (&Subject, &Entry)> {
        self.parts.get(part).into_iter().flatten()
    }
}
