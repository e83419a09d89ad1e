//! Prefixes that lie round each other.
//!
//! The kernel asks the longest prefix round an address and no other, so what it is given of one must be at least what every
//! shorter prefix round it says: a network blocked stays so, whatever is limited or excepted within. Owns which lengths there are and
//! which prefixes may have to be made stricter; the rules are the entries'.

use super::entry::{Entries, Entry};
use crate::control::respond::prefix::Prefix;
use crate::control::respond::words::Verdict;
use crate::dataplane::verdict::{Action, Subject};
use crate::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound::{Excluded, Included};

/// See the module.
#[derive(Default)]
pub(super) struct Covers {
    /// How many prefixes there are of each length, the families apart: what nobody has is not looked for.
    lengths: BTreeMap<(bool, u8), usize>,
    /// Those that do not drop both ways, in the order of addresses. Long lists are not among them, but those of one side.
    weaker: BTreeSet<(IpAddr, u8)>,
}

impl Covers {
    /// What all that a subject's holders ask for comes to was this, and is that; `None`: it has none.
    pub fn note(&mut self, subject: &Subject, before: Option<&Verdict>, after: Option<&Verdict>) {
        let Subject::Prefix(first, bits) = *subject else { return };
        let length = (first.is_ipv6(), bits);
        match (before, after) {
            (None, Some(_)) => *self.lengths.entry(length).or_default() += 1,
            (Some(_), None) => {
                if let Some(count) = self.lengths.get_mut(&length) {
                    *count -= 1;
                    if *count == 0 {
                        self.lengths.remove(&length);
                    }
                }
            }
            _ => {}
        }
        let is_weaker = |verdict: Option<&Verdict>| verdict.is_some_and(|verdict| !verdict.is_strictest());
        match (is_weaker(before), is_weaker(after)) {
            (false, true) => _ = self.weaker.insert((first, bits)),
            (true, false) => _ = self.weaker.remove(&(first, bits)),
            _ => {}
        }
    }

    /// Prefixes within this one that a change of it may change; the logarithm of how many there are, and each that is found.
    pub fn inside(&self, prefix: &Prefix) -> impl Iterator<Item = Subject> {
        // Of those that begin where it does the longer ones; whatever begins further on within it is longer. None is in a host.
        let span = (Excluded((prefix.first(), prefix.bits())), Included((prefix.last(), u8::MAX)));
        let within = (!prefix.is_host() && !self.weaker.is_empty()).then(|| self.weaker.range(span));
        within.into_iter().flatten().map(|(first, bits)| Subject::Prefix(*first, *bits))
    }

    /// What the kernel is to be given of an entry, and until when: the stricter of it and of all that lie round it, the wider side,
    /// the later end, as if they were about one subject. The later, because an entry whose end has come hides those round it as
    /// well: without a process to take it out, it would let pass what they drop. One that drops both ways is given as it is, with its
    /// own end: a million of them is not searched for those round it.
    ///
    /// What lies round it and passes counts for nothing; what passes itself is judged as if it were not there. At most one search for
    /// each shorter length that there is.
    pub fn folded(&self, entry: &Entry, entries: &Entries) -> (Verdict, Timestamp) {
        let own = (entry.verdict, entry.until);
        let Subject::Prefix(first, bits) = own.0.subject else { return own };
        if own.0.is_strictest() {
            return own;
        }
        let six = first.is_ipv6();
        let round = self.lengths.range((six, 0)..(six, bits)).filter_map(|((_, shorter), _)| {
            let prefix = Prefix::around(first, *shorter);
            entries.get(&Subject::Prefix(prefix.first(), prefix.bits()))
        });
        round.filter(|cover| cover.verdict.action != Action::Pass).fold(own, |(sum, until), cover| {
            let cover_here = Verdict { subject: sum.subject, ..cover.verdict };
            let stricter = if sum.action == Action::Pass { cover_here } else { sum.with(&cover_here) };
            (stricter, until.max(cover.until))
        })
    }
}
