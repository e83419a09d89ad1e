//! Pairs, names and ages as they are written down: an implant that calls once an hour must not be new after each restart.

use super::super::prevalence::{self, hexadecimal, number};
use super::{Beacon, HOURS, Host, Key, Named, Pair, RING};
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

/// Everything that outlives a restart.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kept {
    observed_since: Option<Timestamp>,
    pairs: Vec<KeptPair>,
    /// Host, server, port; hash of the name; when it was last told.
    named: Vec<(String, String, u16, u64, Timestamp)>,
    names: prevalence::Kept,
    /// Host, when it was seen first and last.
    hosts: Vec<(String, Timestamp, Timestamp)>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct KeptPair {
    key: (String, String, u16, u8),
    first: Timestamp,
    last: Timestamp,
    count: u64,
    ring: Vec<(Timestamp, [u32; 2])>,
    next: usize,
    hours: Vec<u32>,
    hour: u64,
    due: u64,
    told: Option<(Timestamp, u8)>,
}

impl KeptPair {
    fn of((key, pair): (Key, &Pair)) -> KeptPair {
        let (host, place, port, protocol) = key;
        // Before it is full, the ring's rest is of nothing.
        let used = usize::try_from(pair.count).unwrap_or(RING).min(RING);
        KeptPair {
            key: (hexadecimal(host), hexadecimal(place), port, protocol),
            first: pair.first,
            last: pair.last,
            count: pair.count,
            ring: pair.ring.iter().take(used).copied().collect(),
            next: pair.next,
            hours: pair.hours.to_vec(),
            hour: pair.hour,
            due: pair.due,
            told: pair.told,
        }
    }

    /// `None`: this program did not write it.
    fn read(self) -> Option<(Key, Pair)> {
        let (host, place, port, protocol) = &self.key;
        let key = (number(host)?, number(place)?, *port, *protocol);
        let mut ring = [(Timestamp(0), [0; 2]); RING];
        let fits = self.ring.len() == usize::try_from(self.count).unwrap_or(RING).min(RING);
        for (slot, kept) in ring.iter_mut().zip(&self.ring) {
            *slot = *kept;
        }
        let hours: [u32; HOURS] = self.hours.as_slice().try_into().ok()?;
        // A moment that nobody can mean would be counted as years of hours.
        let is_sound = fits && self.first <= self.last && self.next < RING && self.hour <= u64::MAX / super::HOUR_NS;
        let KeptPair { first, last, count, next, hour, due, told, .. } = self;
        is_sound.then_some((key, Pair { first, last, count, ring, next, hours, hour, due, told }))
    }
}

impl Beacon {
    /// What shall outlive a restart.
    pub fn snapshot(&self) -> Kept {
        let named = self.named.sorted().into_iter().map(|((host, server, port), named)| {
            (hexadecimal(host), hexadecimal(server), port, named.name, named.touched)
        });
        let hosts = self.hosts.sorted().into_iter().map(|(host, Host(first, last))| (hexadecimal(host), *first, *last));
        Kept {
            observed_since: self.observed_since,
            pairs: self.pairs.sorted().into_iter().map(KeptPair::of).collect(),
            named: named.collect(),
            names: self.names.snapshot(),
            hosts: hosts.collect(),
        }
    }

    /// Goes on from what was written; `false`: some of it is not what this program writes, and is left out.
    pub fn restore(&mut self, kept: Kept) -> bool {
        let Kept { observed_since, pairs, named, names, hosts } = kept;
        self.observed_since = observed_since;
        let mut sound = self.names.restore(names);
        for pair in pairs {
            match pair.read() {
                Some((key, pair)) => self.pairs.put(key, pair),
                None => sound = false,
            }
        }
        for (host, server, port, name, touched) in named {
            match number(&host).zip(number(&server)) {
                Some((host, server)) => self.named.put((host, server, port), Named { name, touched }),
                None => sound = false,
            }
        }
        for (host, first, last) in hosts {
            match number(&host) {
                Some(host) if first <= last => self.hosts.put(host, Host(first, last)),
                _ => sound = false,
            }
        }
        sound
    }
}
