//! The intended set: the responses in force, and for each subject the one rule that they come to.
//!
//! Owns what should be so; knows no disk, no kernel and no clock. The same asked again lasts longer and is no second one; two
//! responses about one subject are both kept, the stricter holds, and the subject is free when the later has ended. So it is with
//! prefixes that lie round each other: each entry is what was asked of it, and what the kernel is given of it no less than those round
//! it ([`Intended::give`]). Whoever changes it leaves behind which subjects the kernel must be told of ([`Intended::take_dirty`]).

mod cover;
mod entry;
mod response;
#[cfg(test)]
mod tests;

pub use entry::{Entry, EntryState, SHARDS};
pub use response::{Id, Response, ResponseState, Stage};

use super::Now;
use super::prefix::Prefix;
use super::safety::InForce;
use super::words::Verdict;
use crate::dataplane::verdict::{Action, Hits, Rule, Subject};
use crate::units::{SECOND, Timestamp};
use cover::Covers;
use entry::{Entries, Holder};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

/// Time over which new automatic blocks are counted.
const MINUTE: u64 = 60 * SECOND;
/// Beginnings remembered for that; a budget cannot be larger.
const BEGUN_MAX: usize = 1 << 16;

/// See the module.
#[derive(Default)]
pub struct Intended {
    responses: BTreeMap<Id, Response>,
    /// Ends of the responses of each stage.
    ends: [BTreeSet<(Timestamp, Id)>; Stage::COUNT],
    entries: Entries,
    covers: Covers,
    dirty: VecDeque<Subject>,
    /// When automatic responses with verdicts began, the latest last.
    begun: VecDeque<Timestamp>,
    /// IPv4 addresses and IPv6 networks of 64 bits that are dropped or limited.
    addresses: [u64; 2],
    /// Counts changes.
    revision: u64,
}

impl Intended {
    /// A response by its id.
    pub fn response(&self, id: &Id) -> Option<&Response> {
        self.responses.get(id)
    }

    /// Responses behind an id, in the order of their ids.
    pub fn after(&self, id: Option<Id>) -> impl Iterator<Item = &Response> {
        use std::ops::Bound;
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.responses.range((from, Bound::Unbounded)).map(|(_, response)| response)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.responses.len()
    }

    /// How many subjects there are.
    pub fn subjects(&self) -> usize {
        self.entries.len()
    }

    /// One subject.
    pub fn entry(&self, subject: &Subject) -> Option<&Entry> {
        self.entries.get(subject)
    }

    /// One subject, to note what became of it.
    pub fn entry_mut(&mut self, subject: &Subject) -> Option<&mut Entry> {
        self.entries.get_mut(subject)
    }

    /// The subjects of one of [`SHARDS`] parts.
    pub fn part(&self, part: usize) -> impl Iterator<Item = (&Subject, &Entry)> {
        self.entries.part(part)
    }

    /// Changes so far: what was read at one number holds while it stays.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Puts a response in, or in the place of the one with its id. Proposals and what acts once have no subjects in force.
    pub fn put(&mut self, response: Response) {
        self.revision += 1;
        let id = response.id;
        let mut told = None;
        if let Some(before) = self.responses.remove(&id) {
            self.ends[before.stage as usize].remove(&(before.until, id));
            let same = before.verdicts == response.verdicts && before.holds() == response.holds();
            if before.holds() && !same {
                self.let_go(&before, &mut told);
            }
        }
        if response.holds() {
            for verdict in &response.verdicts {
                self.hold(verdict, Holder::new(id, verdict, response.until), &mut told);
            }
        }
        self.ends[response.stage as usize].insert((response.until, id));
        self.responses.insert(id, response);
    }

    /// An automatic response with verdicts began; called in the order of time.
    pub fn count_begun(&mut self, at: Timestamp) {
        self.begun.push_back(at);
        if self.begun.len() > BEGUN_MAX {
            self.begun.pop_front();
        }
    }

    /// Takes a response out.
    pub fn remove(&mut self, id: &Id) -> Option<Response> {
        let response = self.responses.remove(id)?;
        self.revision += 1;
        self.ends[response.stage as usize].remove(&(response.until, *id));
        if response.holds() {
            self.let_go(&response, &mut None);
        }
        Some(response)
    }

    fn hold(&mut self, verdict: &Verdict, holder: Holder, told: &mut Option<Prefix>) {
        let subject = verdict.subject;
        let entry = self.entries.entry(subject, || Entry::new(*verdict, holder.until));
        let before = (!entry.holders.is_empty()).then_some((entry.verdict, entry.until));
        entry.take(holder);
        let after = Some((entry.verdict, entry.until));
        self.changed(&subject, before, after, told);
    }

    fn let_go(&mut self, response: &Response, told: &mut Option<Prefix>) {
        for verdict in &response.verdicts {
            let Some(entry) = self.entries.get_mut(&verdict.subject) else { continue };
            let before = Some((entry.verdict, entry.until));
            if !entry.release(response.id) {
                continue;
            }
            let after = (!entry.holders.is_empty()).then_some((entry.verdict, entry.until));
            if after.is_none() {
                self.entries.remove(&verdict.subject);
            }
            self.changed(&verdict.subject, before, after, told);
        }
    }

    /// A subject came to the one and comes to the other: the kernel is told, also of what lies within. `told`: the prefix within which
    /// all was put down already by the same change, so that a list of networks within each other costs no more than the widest.
    fn changed(
        &mut self,
        subject: &Subject,
        before: Option<(Verdict, Timestamp)>,
        after: Option<(Verdict, Timestamp)>,
        told: &mut Option<Prefix>,
    ) {
        before.iter().for_each(|(verdict, _)| count(&mut self.addresses, verdict, false));
        after.iter().for_each(|(verdict, _)| count(&mut self.addresses, verdict, true));
        if before == after {
            return;
        }
        self.covers.note(
            subject,
            before.as_ref().map(|(verdict, _)| verdict),
            after.as_ref().map(|(verdict, _)| verdict),
        );
        self.dirty.push_back(*subject);
        let Subject::Prefix(first, bits) = *subject else { return };
        let prefix = Prefix::around(first, bits);
        if !told.is_some_and(|told| told.bits() <= bits && told.meets(&prefix)) {
            self.dirty.extend(self.covers.inside(&prefix));
            *told = Some(prefix);
        }
    }

    /// What the kernel is given of a subject by the write of that number, its end on the kernel's clock, and noted as such; `None`:
    /// nobody holds it. It is not what its entry says where a shorter prefix says more.
    pub fn give(&mut self, subject: &Subject, number: u64, now: Now) -> Option<Rule> {
        let (verdict, until) = self.covers.folded(self.entries.get(subject)?, &self.entries);
        let rule = verdict.rule(now.kernel(until));
        let entry = self.entries.get_mut(subject)?;
        entry.given = Some(rule);
        entry.written = number;
        Some(rule)
    }

    /// Responses whose end has come, the earliest of each stage first.
    pub fn due(&self, now: Timestamp) -> Vec<Id> {
        self.ends
            .iter()
            .flat_map(|ends| ends.iter().take_while(|(until, _)| *until <= now))
            .map(|(_, id)| *id)
            .collect()
    }

    /// How many there are of a stage, and which of them ends first.
    pub fn of_stage(&self, stage: Stage) -> (usize, Option<Id>) {
        let ends = &self.ends[stage as usize];
        (ends.len(), ends.first().map(|(_, id)| *id))
    }

    /// Subjects that the kernel must be told of, at most so many; each of them as [`Intended::entry`] has it, gone if it has none.
    pub fn take_dirty(&mut self, most: usize) -> Vec<Subject> {
        let count = self.dirty.len().min(most);
        self.dirty.drain(..count).collect()
    }

    /// Are there any?
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Has the kernel told of a subject again.
    pub fn tell_again(&mut self, subject: Subject) {
        self.dirty.push_back(subject);
    }

    /// What counts against the budgets.
    pub fn in_force(&self, now: Timestamp, braked: bool) -> InForce {
        let recent = self.begun.iter().rev().take_while(|begun| now.since(**begun) < MINUTE).count();
        InForce {
            automatic_last_minute: u32::try_from(recent).unwrap_or(u32::MAX),
            addresses: self.addresses,
            subjects: self.entries.len() as u64,
            braked,
        }
    }

    /// The whole set as one number: the same before and after a restart if nothing was lost and nothing added. SHA-256 over every
    /// response in force in the order of the ids: id (itself a digest of protocol, parameters and who asked) and end.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for response in self.responses.values().filter(|response| response.holds()) {
            hash.update(response.id.0.to_be_bytes());
            hash.update(response.until.0.to_be_bytes());
            hash.update((response.verdicts.len() as u64).to_be_bytes());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What the kernel did with the frames of a subject; the responses that it belongs to.
    pub fn note_hits(&mut self, subject: &Subject, hits: Hits, touched: &mut HashSet<Id>) {
        if let Some(entry) = self.entries.get_mut(subject).filter(|entry| entry.hits != hits) {
            entry.hits = hits;
            touched.extend(entry.holders.iter().map(|holder| holder.id));
        }
    }

    /// Sums up what the kernel does about a response; O(its subjects). `when` turns the kernel's clock into ours.
    pub fn sum_up(&mut self, id: &Id, when: impl Fn(u64) -> Timestamp) {
        let Some(response) = self.responses.get(id) else { return };
        let state = response.summed(|subject| self.entries.get(subject), when);
        if let Some(response) = self.responses.get_mut(id) {
            response.kernel = state;
        }
    }
}

/// Adds a verdict to the addresses blocked, or takes it off.
fn count(addresses: &mut [u64; 2], verdict: &Verdict, add: bool) {
    let Subject::Prefix(first, bits) = verdict.subject else { return };
    if !matches!(verdict.action, Action::Drop | Action::Isolate | Action::Limit { .. }) {
        return;
    }
    let size = Prefix::around(first, bits).size();
    let sum = &mut addresses[usize::from(first.is_ipv6())];
    *sum = if add { sum.saturating_add(size) } else { sum.saturating_sub(size) };
}
