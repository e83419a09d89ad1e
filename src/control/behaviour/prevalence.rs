//! How usual a destination is in the network: how many of its hosts go there, and for how long.
//!
//! Stands in for lists of popular names, which age, are somebody's and do not know the network: what half of all hosts do is
//! no single host's secret. With fewer than [`HOSTS_MIN`] hosts in sight nothing is popular.

use super::count::{Distinct, hash};
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

/// With fewer hosts one of them is half of the network.
const HOSTS_MIN: f64 = 4.0;
/// Share of the hosts from which a destination is popular (RITA v5, prevalence modifiers).
const POPULAR: f64 = 0.5;

/// A destination.
struct Known {
    clients: Distinct<8>,
    first: Timestamp,
    touched: Timestamp,
}

impl Touched for Known {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// What is known of a destination.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Usual {
    /// Hosts of ours that went there.
    pub clients: f64,
    /// Hosts of ours seen in all.
    pub hosts: f64,
    /// Since when it is known, nanoseconds.
    pub age_ns: u64,
}

impl Usual {
    /// At least half of the hosts go there.
    pub fn is_popular(&self) -> bool {
        self.hosts >= HOSTS_MIN && self.clients >= POPULAR * self.hosts
    }
}

/// Destinations as they are written down.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kept {
    hosts: Vec<u64>,
    places: Vec<KeptPlace>,
}

/// One of them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct KeptPlace {
    destination: String,
    clients: Vec<u64>,
    first: Timestamp,
    touched: Timestamp,
}

/// An address, or the hash of a name, as it is written down.
pub fn hexadecimal(destination: u128) -> String {
    format!("{destination:032x}")
}

/// The same read; `None`: it was not written so.
pub fn number(text: &str) -> Option<u128> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// Destinations and who goes there.
pub struct Prevalence {
    known: ColdMap<u128, Known>,
    hosts: Distinct<32>,
}

impl Prevalence {
    /// Remembers so many destinations.
    pub fn new(destinations: usize) -> Prevalence {
        Prevalence { known: ColdMap::new(destinations), hosts: Distinct::default() }
    }

    /// Bytes that so many destinations come to at most.
    pub const fn memory(destinations: usize) -> usize {
        cold::bytes::<u128, Known>(destinations)
    }

    /// `client`, one of ours, went to a destination (an address, or the hash of a name).
    pub fn note(&mut self, client: u128, destination: u128, now: Timestamp) -> Usual {
        let client = hash(client);
        self.hosts.insert(client);
        let known = self.known.entry(destination, || Known { clients: Distinct::default(), first: now, touched: now });
        known.clients.insert(client);
        known.touched = known.touched.max(now);
        Usual {
            clients: known.clients.estimate(),
            hosts: self.hosts.estimate(),
            age_ns: known.touched.since(known.first),
        }
    }

    /// What shall outlive a restart.
    pub fn snapshot(&self) -> Kept {
        let of = |(destination, known): (u128, &Known)| KeptPlace {
            destination: hexadecimal(destination),
            clients: known.clients.words().to_vec(),
            first: known.first,
            touched: known.touched,
        };
        Kept { hosts: self.hosts.words().to_vec(), places: self.known.sorted().into_iter().map(of).collect() }
    }

    /// Goes on from what was written; `false`: some of it is not what this program writes, and is left out.
    pub fn restore(&mut self, kept: Kept) -> bool {
        let hosts = Distinct::of_words(&kept.hosts);
        let mut sound = hosts.is_some() || kept == Kept::default();
        self.hosts = hosts.unwrap_or_default();
        for KeptPlace { destination, clients, first, touched } in kept.places {
            let read = number(&destination).zip(Distinct::of_words(&clients)).filter(|_| first <= touched);
            let Some((destination, clients)) = read else {
                sound = false;
                continue;
            };
            self.known.put(destination, Known { clients, first, touched });
        }
        sound
    }

    /// Destinations forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.known.forgotten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_half_of_the_hosts_do_is_popular() {
        let mut prevalence = Prevalence::new(64);
        for host in 0..100 {
            prevalence.note(host, u128::from(host % 3 > 0), Timestamp(host as u64));
        }
        assert!(prevalence.note(0, 1, Timestamp(200)).is_popular());
        let lone = prevalence.note(7, 99, Timestamp(200));
        assert!(!lone.is_popular(), "{lone:?}");
        assert_eq!(lone.age_ns, 0);
        let mut small = Prevalence::new(64);
        assert!(!small.note(1, 1, Timestamp(0)).is_popular(), "of one host everything is its own");
    }

    #[test]
    fn what_was_written_down_is_known_again() {
        let mut before = Prevalence::new(64);
        for host in 0..10 {
            before.note(host, 7, Timestamp(host as u64));
        }
        let kept = before.snapshot();
        let mut after = Prevalence::new(64);
        assert!(after.restore(serde_json::from_value(serde_json::to_value(&kept).unwrap()).unwrap()));
        assert_eq!(after.snapshot(), kept);
        assert_eq!(after.note(3, 7, Timestamp(50)), before.note(3, 7, Timestamp(50)));
        let broken = |change: fn(&mut Kept)| {
            let mut kept = kept.clone();
            change(&mut kept);
            Prevalence::new(64).restore(kept)
        };
        assert!(!broken(|kept| kept.hosts.truncate(3)));
        assert!(!broken(|kept| kept.places[0].destination = "7".into()));
        assert!(!broken(|kept| kept.places[0].first = Timestamp(u64::MAX)));
        assert!(Prevalence::new(64).restore(Kept::default()), "nothing was written");
    }
}
