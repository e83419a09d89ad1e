//! A stand-in for the kernel's maps, for tests: capacity, hits kept when a rule is replaced, ends that count, and entries that vanish
//! or change behind everybody's back.

use crate::dataplane::verdict::{Enforcer, Hits, Rule, Subject, VerdictError};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// The maps.
#[derive(Default)]
pub struct Maps {
    entries: Mutex<HashMap<Subject, (Rule, Hits)>>,
    /// Most entries of all; 0: as many as come.
    pub capacity: usize,
    /// Sources that proved themselves, each time it was said, and until when.
    pub vouched: Mutex<Vec<(IpAddr, u64)>>,
    /// Calls so far.
    pub calls: std::sync::atomic::AtomicU64,
}

impl Maps {
    /// Maps that hold so many.
    pub fn of(capacity: usize) -> Maps {
        Maps { capacity, ..Maps::default() }
    }

    /// What is there, to be changed by whoever does such a thing.
    pub fn meddle<T>(&self, with: impl FnOnce(&mut HashMap<Subject, (Rule, Hits)>) -> T) -> T {
        self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        with(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A packet of a subject comes: is there a verdict in force for it?
    pub fn hit(&self, subject: &Subject, now_ns: u64, bytes: u64) -> bool {
        self.meddle(|entries| {
            let entry = entries.get_mut(subject).filter(|(rule, _)| rule.until_ns == 0 || now_ns < rule.until_ns);
            let is_in_force = entry.is_some();
            if let Some((_, hits)) = entry {
                *hits = Hits { packets: hits.packets + 1, bytes: hits.bytes + bytes, last_ns: now_ns };
            }
            is_in_force
        })
    }
}

impl Enforcer for Maps {
    fn put(&self, verdicts: &[(Subject, Rule)]) -> Result<(), VerdictError> {
        self.meddle(|entries| {
            for (subject, rule) in verdicts {
                let is_full = self.capacity > 0 && entries.len() >= self.capacity && !entries.contains_key(subject);
                if is_full {
                    let capacity = u32::try_from(self.capacity).unwrap_or(u32::MAX);
                    return Err(VerdictError::Full { subject: *subject, kind: "prefixes", capacity });
                }
                entries.entry(*subject).or_insert((*rule, Hits::default())).0 = *rule;
            }
            Ok(())
        })
    }

    fn remove(&self, subjects: &[Subject]) -> Result<(), VerdictError> {
        self.meddle(|entries| {
            for subject in subjects {
                entries.remove(subject);
            }
        });
        Ok(())
    }

    fn vouch(&self, source: IpAddr, until_ns: u64) -> Result<(), VerdictError> {
        self.vouched.lock().unwrap_or_else(PoisonError::into_inner).push((source, until_ns));
        Ok(())
    }

    fn get(&self, subject: &Subject) -> Result<Option<(Rule, Hits)>, VerdictError> {
        Ok(self.meddle(|entries| entries.get(subject).copied()))
    }

    fn list(&self) -> Result<Vec<(Subject, Rule, Hits)>, VerdictError> {
        Ok(self.meddle(|entries| entries.iter().map(|(subject, (rule, hits))| (*subject, *rule, *hits)).collect()))
    }
}
