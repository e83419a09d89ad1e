//! The intended set and the kernel: what changed is told, what the kernel lost or changed is told again, what nobody asked for is
//! taken out.
//!
//! Two threads meet here. Who decides changes the set and calls [`Shared::apply`]; who looks after it calls [`Shared::look`] once a
//! second. Writes to the kernel stand one behind the other, a chunk at a time, each with the rules as the set has them at that
//! moment; a look that began before a write was done says nothing of what it wrote. The set's lock is never held over a system
//! call.

use super::Now;
use super::intended::{EntryState, Id, Intended, SHARDS};
use super::words::tell;
use crate::dataplane::verdict::{Action, Enforcer, Rule, Subject, VerdictError};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Verdicts written under one lock: some milliseconds of system calls.
const CHUNK: usize = 1024;
/// Listed verdicts compared under one lock: some hundred microseconds.
const COMPARED: usize = 4096;
/// Refused subjects tried again at a look: a full map is not asked a million times a second.
const RETRIED: usize = 1024;
/// Prefixes that met frames and are told of a look; of others the next one may tell.
const MET: usize = 4096;
/// Subjects that a report names.
const NAMED: usize = 4;

/// Why nothing is enforced where there is no pair.
pub const NO_PAIR: &str = "no inline pair is configured: add a [[pair]], then it is put in force";

/// What the threads of the responses share, and readers ask.
pub struct Shared {
    set: RwLock<Intended>,
    enforcer: Option<Arc<dyn Enforcer>>,
    /// Held over each chunk that is written.
    writing: Mutex<()>,
    /// Number of the latest write that is done.
    written: AtomicU64,
    looks: AtomicU64,
    /// What was found and done since the start.
    pub counts: Counts,
}

/// Sums since the start.
#[derive(Default)]
pub struct Counts {
    /// Subjects that the kernel did not have and should have had.
    pub missing: AtomicU64,
    /// Subjects that it had otherwise.
    pub changed: AtomicU64,
    /// Subjects that nobody asked for.
    pub foreign: AtomicU64,
    /// Writes of a subject that it refused.
    pub failed: AtomicU64,
    /// Looks that were done.
    pub looked: AtomicU64,
    /// Duration of the latest look, nanoseconds; the loop's own.
    pub look_ns: AtomicU64,
    /// Alerts that found the queue full.
    pub alerts_lost: AtomicU64,
}

/// What a look found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Put back: the kernel did not have them.
    pub missing: u64,
    /// Put back: the kernel had them otherwise.
    pub changed: u64,
    /// Taken out.
    pub foreign: u64,
    /// Tried again, and taken this time.
    pub recovered: u64,
    /// Some of them, in words.
    pub named: Vec<String>,
    /// Packets that automatic blocks dropped since the look before.
    pub dropped: u64,
    /// Prefixes of these blocks that dropped some; at most 4 096 are told.
    pub met: Vec<(IpAddr, u8)>,
    /// Why there is no look.
    pub error: Option<String>,
}

impl Found {
    fn name(&mut self, subject: &Subject) {
        if self.named.len() < NAMED {
            self.named.push(tell(subject));
        }
    }

    /// Was something otherwise than it should be?
    pub fn is_alarm(&self) -> bool {
        self.missing + self.changed + self.foreign > 0 || self.error.is_some()
    }
}

/// What became of a write.
#[derive(Default)]
pub struct Applied {
    /// Responses of which a subject was told.
    pub touched: HashSet<Id>,
}

fn same(subject: &Subject, one: &Rule, other: &Rule) -> bool {
    let sides = !matches!(subject, Subject::Prefix(..)) || one.side == other.side;
    one.action == other.action && one.until_ns == other.until_ns && sides
}

impl Shared {
    /// An empty set over these maps; `None`: there is no pair.
    pub fn new(enforcer: Option<Arc<dyn Enforcer>>) -> Shared {
        Shared {
            set: RwLock::default(),
            enforcer,
            writing: Mutex::new(()),
            written: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            counts: Counts::default(),
        }
    }

    /// The set, to read.
    pub fn read(&self) -> RwLockReadGuard<'_, Intended> {
        self.set.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The set, to change.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Intended> {
        self.set.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Can verdicts be carried out?
    pub fn can_enforce(&self) -> bool {
        self.enforcer.is_some()
    }

    /// Limits on signatures are not for this source, which proved itself.
    pub(super) fn vouch(&self, source: IpAddr, until_ns: u64) {
        if let Some(Err(cause)) = self.enforcer.as_ref().map(|enforcer| enforcer.vouch(source, until_ns)) {
            tracing::warn!("{source}: {cause}");
        }
    }

    /// Tells the kernel of everything that has changed.
    pub fn apply(&self, now: Now) -> Applied {
        let mut applied = Applied::default();
        loop {
            let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut subjects = self.write().take_dirty(CHUNK);
            if subjects.is_empty() {
                break;
            }
            subjects.sort_unstable();
            subjects.dedup();
            applied.touched.extend(self.tell(&subjects, now));
            drop(writing);
        }
        let mut set = self.write();
        applied.touched.iter().for_each(|id| set.sum_up(id, |ns| now.wall_of(ns)));
        drop(set);
        applied
    }

    /// Tells the kernel of these subjects as the set has them; whose they are. Only under `writing`.
    fn tell(&self, subjects: &[Subject], now: Now) -> HashSet<Id> {
        let number = self.written.load(Ordering::Acquire) + 1;
        let (mut put, mut gone) = (Vec::new(), Vec::new());
        let mut set = self.write();
        for subject in subjects {
            match set.give(subject, number, now) {
                None => gone.push(*subject),
                Some(rule) => put.push((*subject, rule)),
            }
        }
        drop(set);
        let outcomes = self.carry_out(&put, &gone);
        self.written.store(number, Ordering::Release);
        let mut touched = HashSet::new();
        let mut set = self.write();
        for ((subject, _), outcome) in put.iter().zip(outcomes) {
            // Whoever has taken it out meanwhile has left it among what is to be told.
            let Some(entry) = set.entry_mut(subject) else { continue };
            match outcome {
                Ok(()) => {
                    if entry.state != EntryState::Enforced {
                        entry.since = Some(now.wall);
                    }
                    entry.state = EntryState::Enforced;
                }
                Err(reason) => {
                    self.counts.failed.fetch_add(1, Ordering::Relaxed);
                    (entry.state, entry.since) = (EntryState::Failed(reason), None);
                }
            }
            entry.is_held(|id| {
                touched.insert(*id);
                false
            });
        }
        touched
    }

    /// One outcome for each that is put.
    fn carry_out(&self, put: &[(Subject, Rule)], gone: &[Subject]) -> Vec<Result<(), Box<str>>> {
        let Some(enforcer) = &self.enforcer else { return put.iter().map(|_| Err(NO_PAIR.into())).collect() };
        if let Err(cause) = enforcer.remove(gone) {
            // It ends there by its time, and the next look takes it for what nobody asked for.
            tracing::warn!("take verdicts out: {cause}");
        }
        if enforcer.put(put).is_ok() {
            return put.iter().map(|_| Ok(())).collect();
        }
        // One by one, to learn which; once a map is full, what else would go there is not tried.
        let mut full: HashSet<&'static str> = HashSet::new();
        let mut reason: Box<str> = "".into();
        let one = |verdict: &(Subject, Rule)| {
            if full.contains(map_of(&verdict.0)) {
                return Err(reason.clone());
            }
            enforcer.put(std::slice::from_ref(verdict)).map_err(|cause| {
                let text: Box<str> = cause.to_string().into();
                if let VerdictError::Full { .. } = cause {
                    full.insert(map_of(&verdict.0));
                    reason.clone_from(&text);
                }
                text
            })
        };
        put.iter().map(one).collect()
    }

    /// Compares set and kernel, puts back what is missing or otherwise, takes out what nobody asked for, tries again what was
    /// refused. O(what there is). `now` is asked before each write.
    pub fn look(&self, now: impl Fn() -> Now) -> Found {
        let mut found = Found::default();
        let Some(enforcer) = &self.enforcer else { return found };
        let number = self.looks.fetch_add(1, Ordering::Relaxed) + 1;
        let done = self.written.load(Ordering::Acquire);
        let listed = match enforcer.list() {
            Ok(listed) => listed,
            Err(cause) => return Found { error: Some(format!("read the kernel's verdicts: {cause}")), ..found },
        };
        let mut touched = HashSet::new();
        let (mut doubtful, mut foreign) = (Vec::new(), Vec::new());
        for chunk in listed.chunks(COMPARED) {
            let mut set = self.write();
            for (subject, rule, hits) in chunk {
                let Some(entry) = set.entry_mut(subject) else {
                    // Flows that are trusted are another's.
                    if rule.action != Action::Shunt {
                        foreign.push(*subject);
                    }
                    continue;
                };
                entry.seen = number;
                let told = entry.written <= done && entry.state == EntryState::Enforced;
                if told && !entry.given.is_some_and(|given| same(subject, &given, rule)) {
                    doubtful.push(*subject);
                }
                let before = entry.hits.packets;
                if hits.packets > before && is_automatic(&set, subject) {
                    found.dropped += hits.packets - before;
                    if let Subject::Prefix(first, bits) = subject
                        && found.met.len() < MET
                    {
                        found.met.push((*first, *bits));
                    }
                }
                set.note_hits(subject, *hits, &mut touched);
            }
        }
        drop(listed);
        let mut retried = Vec::new();
        for part in 0..SHARDS {
            let set = self.read();
            for (subject, entry) in set.part(part).filter(|(_, entry)| entry.written <= done) {
                match entry.state {
                    EntryState::Enforced if entry.seen != number => doubtful.push(*subject),
                    EntryState::Failed(_) if retried.len() < RETRIED => retried.push(*subject),
                    _ => {}
                }
            }
        }
        doubtful.chunks(CHUNK).for_each(|chunk| self.repair(&**enforcer, chunk, now(), &mut found, &mut touched));
        foreign.chunks(CHUNK).for_each(|chunk| self.weed(&**enforcer, chunk, &mut found));
        if !retried.is_empty() {
            let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            touched.extend(self.tell(&retried, now()));
            drop(writing);
            let set = self.read();
            let is_in =
                |subject: &&Subject| set.entry(subject).is_some_and(|entry| entry.state == EntryState::Enforced);
            found.recovered = retried.iter().filter(is_in).count() as u64;
        }
        let now = now();
        for id in touched {
            self.write().sum_up(&id, |ns| now.wall_of(ns));
        }
        for (sum, more) in [
            (&self.counts.missing, found.missing),
            (&self.counts.changed, found.changed),
            (&self.counts.foreign, found.foreign),
            (&self.counts.looked, 1),
        ] {
            sum.fetch_add(more, Ordering::Relaxed);
        }
        found
    }

    /// Looks again at each, now that nobody else writes, and puts back what is wrong.
    fn repair(
        &self,
        enforcer: &dyn Enforcer,
        subjects: &[Subject],
        now: Now,
        found: &mut Found,
        touched: &mut HashSet<Id>,
    ) {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wrong = Vec::new();
        for subject in subjects {
            let given = self.read().entry(subject).and_then(|entry| entry.given);
            // Taken out meanwhile: nothing is wrong any more.
            let Some(given) = given else { continue };
            match enforcer.get(subject) {
                Ok(Some((rule, _))) if same(subject, &given, &rule) => continue,
                Ok(Some(_)) => found.changed += 1,
                Ok(None) => found.missing += 1,
                Err(cause) => {
                    found.error = Some(format!("read the kernel's verdicts: {cause}"));
                    continue;
                }
            }
            found.name(subject);
            wrong.push(*subject);
        }
        let mut set = self.write();
        for subject in &wrong {
            if let Some(entry) = set.entry_mut(subject) {
                // It was not there: it is enforced from now on.
                entry.state = EntryState::Pending;
            }
        }
        drop(set);
        touched.extend(self.tell(&wrong, now));
        drop(writing);
    }

    /// Takes out what nobody asked for, if that still is so.
    fn weed(&self, enforcer: &dyn Enforcer, subjects: &[Subject], found: &mut Found) {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let set = self.read();
        let unasked: Vec<Subject> = subjects.iter().filter(|subject| set.entry(subject).is_none()).copied().collect();
        drop(set);
        let there = |subject: &Subject| matches!(enforcer.get(subject), Ok(Some(_)));
        let unasked: Vec<Subject> = unasked.into_iter().filter(there).collect();
        match enforcer.remove(&unasked) {
            Ok(()) => {
                found.foreign += unasked.len() as u64;
                unasked.iter().for_each(|subject| found.name(subject));
            }
            Err(cause) => found.error = Some(format!("take verdicts out: {cause}")),
        }
        drop(writing);
    }
}

fn is_automatic(set: &Intended, subject: &Subject) -> bool {
    let automatic = |id: &Id| set.response(id).is_some_and(|response| response.who.is_automatic());
    set.entry(subject).is_some_and(|entry| entry.is_held(automatic))
}

/// Which map a subject goes to; those that share a capacity are told apart where they may.
fn map_of(subject: &Subject) -> &'static str {
    match subject {
        Subject::Mac(_) => "hosts",
        Subject::Flow(_) => "flows",
        Subject::Signature(_) => "signatures",
        Subject::Prefix(first, _) if first.is_ipv4() => "prefixes of IPv4",
        Subject::Prefix(..) => "prefixes of IPv6",
    }
}
