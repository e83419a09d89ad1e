//! Hosts that ask for others: what they pass on is their clients', and what they ask is many hosts'.

use super::super::count::{Distinct, hash};
use super::super::observation::Dns;
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::units::{SECOND, Timestamp};

/// Names of clients that are remembered until somebody passes them on; a later one takes the place of an older one.
const PASSED: usize = 1 << 14;
/// A name is passed on within so long, tries again included (RFC 1035 section 4.2.1 and what resolvers do).
const PASSED_NS: u64 = 30 * SECOND;
/// Servers that only resolvers ask: a host has two or three. And for how many hosts one is taken that does.
const SERVERS: f64 = 32.0;
const RECURSIVE: f64 = 100.0;
/// Registered names that one host asks for in a day, about: one that asks for more asks for others, whom nobody sees.
const APEXES: f64 = 100.0;
const DAY_NS: u64 = 86_400 * SECOND;

/// A host as a client of resolvers, within a day.
#[derive(Default)]
struct Asker {
    begun: Timestamp,
    servers: Distinct<2>,
    apexes: Distinct<16>,
    touched: Timestamp,
}

impl Touched for Asker {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

pub(super) struct Resolvers {
    askers: ColdMap<u128, Asker>,
    passed: Vec<(u64, Timestamp)>,
}

impl Resolvers {
    pub fn new(hosts: usize) -> Resolvers {
        Resolvers { askers: ColdMap::new(hosts), passed: vec![(0, Timestamp(0)); PASSED] }
    }

    pub const fn memory(hosts: usize) -> usize {
        cold::bytes::<u128, Asker>(hosts) + PASSED * size_of::<(u64, Timestamp)>()
    }

    pub fn forgotten(&self) -> u64 {
        self.askers.forgotten()
    }

    /// Takes in a message. For how many hosts its client asks, about; `None`: another host asked it for this name just before,
    /// and is counted for it.
    pub fn note(&mut self, dns: &Dns, apex: u64, now: Timestamp) -> Option<f64> {
        let (client, server) = (dns.client.address, dns.server.address);
        let of = |asked: u128| hash((asked, &dns.name));
        let slot = |key: u64| (key % PASSED as u64) as usize; // below PASSED
        let key = of(client);
        let is_passed =
            self.passed.get(slot(key)).is_some_and(|(known, at)| *known == key && now.since(*at) < PASSED_NS);
        if client != server {
            let key = of(server);
            if let Some(place) = self.passed.get_mut(slot(key)) {
                *place = (key, now);
            }
        }
        let asker = self.askers.entry(client, Asker::default);
        if asker.begun == Timestamp(0) || now.since(asker.begun) >= DAY_NS {
            *asker = Asker { begun: now, ..Asker::default() };
        }
        asker.touched = asker.touched.max(now);
        asker.servers.insert(hash(server));
        asker.apexes.insert(apex);
        let recursive = if asker.servers.estimate() >= SERVERS { RECURSIVE } else { 1.0 };
        (!is_passed).then(|| recursive.max(asker.apexes.estimate() / APEXES))
    }
}
