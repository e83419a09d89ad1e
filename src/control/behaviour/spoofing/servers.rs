//! Servers of DHCP that contradict each other, and who uses their addresses up.

use super::claims::Bound;
use super::evidence::{rogue, starvation};
use super::{Spoofing, is_over};
use crate::control::behaviour::count::{Distinct, hash};
use crate::control::behaviour::observation::{Lease, Observation};
use crate::dataplane::detect::Evidence;
use crate::dataplane::detect::cold::Touched;
use crate::units::{SECOND, Timestamp};

/// Link addresses that ask count together for so long.
const ASKED_NS: u64 = 10 * SECOND;
/// A server that has not answered for so long is gone.
const SERVER_NS: u64 = 86_400 * SECOND;
/// An exchange of DHCP takes seconds; clients repeat for a minute (RFC 2131 section 4.1).
const EXCHANGE_NS: u64 = 120 * SECOND;
/// Servers that are kept of one network or exchange.
const SERVERS: usize = 4;

/// What a server hands out.
#[derive(Clone, Copy, Default)]
pub(super) struct Server {
    pub address: u128,
    pub routers: u64,
    pub resolvers: u64,
    pub answers: u32,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// Servers of a network, or of one exchange.
pub(super) struct Servers {
    servers: [Server; SERVERS],
    touched: Timestamp,
    told: Option<Timestamp>,
}

/// Hosts of a link that ask for a first address.
pub(super) struct Asked {
    since: Timestamp,
    touched: Timestamp,
    askers: Distinct<4>,
    told: Option<Timestamp>,
}

impl Touched for Servers {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Touched for Asked {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Spoofing {
    /// A host asks whoever hears it for a first address: hashes of its link and of its link address.
    pub fn discover(&mut self, seen: &Observation, (link, mac): (u64, u64), out: &mut Vec<Evidence>) {
        let now = seen.time;
        let fresh = || Asked { since: now, touched: now, askers: Distinct::default(), told: None };
        let asked = self.asked.entry(link, fresh);
        if now.since(asked.since) >= ASKED_NS {
            *asked = Asked { told: asked.told, ..fresh() };
        }
        asked.touched = asked.touched.max(now);
        asked.askers.insert(mac);
        let askers = asked.askers.estimate();
        if askers >= self.settings.askers && is_over(asked.told, now) {
            asked.told = Some(now);
            out.push(starvation(seen, askers, self.settings.askers));
        }
    }

    /// A server of DHCP gave an address out, or offered it.
    pub fn lease(&mut self, seen: &Observation, lease: &Lease, out: &mut Vec<Evidence>) {
        let now = seen.time;
        if lease.is_given
            && let Some(mac) = lease.mac
        {
            // Whoever had it before has it no more, by right; whether he knows is seen when he speaks.
            let fresh = Bound { has_spoken: false, granted: Some(mac), ..Bound::new(mac, now) };
            match self.bound.existing(&(lease.link, lease.address)) {
                Some(bound) if bound.mac == mac => bound.granted = Some(mac),
                Some(bound) => *bound = fresh,
                None => drop(self.bound.entry((lease.link, lease.address), || fresh)),
            }
        }
        for router in &lease.routers_named {
            self.routers.entry((lease.link, *router), || now);
        }
        let says = Server {
            address: lease.server,
            routers: lease.routers,
            resolvers: lease.resolvers,
            answers: 1,
            first: now,
            last: now,
        };
        let fresh = || Servers { servers: [Server::default(); SERVERS], touched: now, told: None };
        // An answer without options (of version 6, or to an INFORM) says nothing of the network.
        if lease.routers == 0 && lease.resolvers == 0 {
            return;
        }
        let network = self.networks.entry(hash((lease.link, lease.relay, lease.network)), fresh);
        let of_network = network.note(says, SERVER_NS);
        let exchange = self.exchanges.entry(hash((lease.link, lease.relay, lease.mac, lease.exchange)), fresh);
        let of_exchange = exchange.note(says, EXCHANGE_NS);
        let Some(other) = of_exchange.or(of_network) else { return };
        // Who has answered first, or more often, is the server; who comes later the other one.
        if is_over(network.told, now) && is_over(exchange.told, now) {
            (network.told, exchange.told) = (Some(now), Some(now));
            out.push(rogue(seen, lease, &other));
        }
    }
}

impl Servers {
    /// Adds an answer; gives the server that it contradicts.
    fn note(&mut self, says: Server, lasts_ns: u64) -> Option<Server> {
        let now = says.last;
        self.touched = now;
        for server in &mut self.servers {
            if server.answers > 0 && now.since(server.last) >= lasts_ns {
                *server = Server::default();
            }
        }
        let others = self.servers.iter().filter(|other| other.answers > 0 && other.address != says.address);
        // What one of them does not say it does not contradict.
        let differs = |one: u64, other: u64| one != 0 && other != 0 && one != other;
        let contradicted = others
            .filter(|other| differs(other.routers, says.routers) || differs(other.resolvers, says.resolvers))
            .max_by_key(|other| (other.answers, std::cmp::Reverse(other.first)))
            .copied();
        let known = self.servers.iter().position(|server| server.answers > 0 && server.address == says.address);
        let place = known.unwrap_or_else(|| {
            (0..SERVERS).min_by_key(|place| (self.servers[*place].answers, self.servers[*place].last)).unwrap_or(0)
        });
        let slot = &mut self.servers[place];
        let before = known.map(|_| *slot);
        *slot = Server {
            answers: before.map_or(1, |before| before.answers.saturating_add(1)),
            first: before.map_or(now, |before| before.first),
            ..says
        };
        contradicted.filter(|other| {
            (other.answers, std::cmp::Reverse(other.first)) >= (slot.answers, std::cmp::Reverse(slot.first))
        })
    }
}
