//! Who answers for names that others have: in LLMNR and NetBIOS, and as a server of DNS.

use super::evidence::{poisoning, rogue_dns};
use super::{Settings, Spoofing, is_over};
use crate::control::behaviour::count::hash;
use crate::control::behaviour::names;
use crate::control::behaviour::observation::{Answer, Dns, Observation};
use crate::dataplane::detect::Evidence;
use crate::dataplane::detect::cold::Touched;
use crate::units::{SECOND, Timestamp};

/// Names of one host count together for so long.
const NAMES_NS: u64 = 3600 * SECOND;
/// Names that are kept of one host.
pub const NAMES: usize = 8;

/// Who answers for names.
pub(super) struct Namer {
    names: [u64; NAMES],
    count: usize,
    since: Timestamp,
    touched: Timestamp,
    told: Option<Timestamp>,
}

impl Touched for Namer {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Spoofing {
    /// A host answered for a name in LLMNR or NetBIOS, with its own address.
    pub fn answer(&mut self, seen: &Observation, answer: &Answer, out: &mut Vec<Evidence>) {
        let namer = self.namers.entry((answer.link, answer.responder), || Namer::new(seen.time));
        if let Some(count) = namer.add(hash(&answer.name), seen.time, &self.settings) {
            out.push(poisoning(seen, answer, count, &self.settings));
        }
    }

    /// A server of names said that one is its own.
    pub fn resolver(&mut self, seen: &Observation, dns: &Dns, out: &mut Vec<Evidence>) {
        let Some(parts) = names::parts(&dns.name).filter(|parts| !parts.apex.is_empty()) else { return };
        let namer = self.resolvers.entry(dns.server.address, || Namer::new(seen.time));
        if let Some(count) = namer.add(hash(parts.apex), seen.time, &self.settings) {
            out.push(rogue_dns(seen, dns, count, &self.settings));
        }
    }
}

impl Namer {
    fn new(now: Timestamp) -> Namer {
        Namer { names: [0; NAMES], count: 0, since: now, touched: now, told: None }
    }

    /// Adds a name; gives how many there are if that is told.
    fn add(&mut self, name: u64, now: Timestamp, settings: &Settings) -> Option<usize> {
        self.touched = self.touched.max(now);
        if now.since(self.since) >= NAMES_NS {
            (self.count, self.since) = (0, now);
        }
        let is_new = !self.names.iter().take(self.count).any(|known| *known == name);
        if is_new && let Some(slot) = self.names.get_mut(self.count) {
            *slot = name;
            self.count += 1;
        }
        let is_told = self.count as f64 >= settings.names && is_over(self.told, now);
        if is_told {
            self.told = Some(now);
        }
        is_told.then_some(self.count)
    }
}
