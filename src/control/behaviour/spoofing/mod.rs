//! Hosts that pass for others on the link: ARP, DHCP, LLMNR and NetBIOS names.
//!
//! - *arp_man_in_the_middle*: one link address takes over addresses of two other hosts within ten minutes. Fail-over moves the addresses
//!   of one, so it is quiet; so are a new network card and a lease that goes to another host, which DHCP tells. Severity 1 where
//!   an owner is still there and contradicts it (each has claimed his address twice), else 2: hosts that are gone contradict nobody, and
//!   two that fail over to a third look alike. A lease makes no owner before its host has spoken: servers hand out what others use.
//! - the same of one address, where connections to it go to the other card and from that to the owner's, as a tap sees that has both
//!   (`frames`): severity 1, or 3 where the other card answers only who asks, as a router with proxy ARP does.
//! - *arp_contest*: two link addresses claim one address in turn, each of them twice; severity 2 where the turns are less than a minute
//!   apart and the one who took it has an address of its own, as another host has. Virtual routers (VRRP, CARP, HSRP, GLBP) do
//!   so by design and have link addresses of their own. One host with two cards in the network answers from either for all its
//!   addresses (ARP flux): quiet, once that has shown. A bond that balances by ARP looks alike, has one address, and is told, low.
//!   Also where one, which has an address of its own, claims another's unasked, and two connections go on from the owner's card
//!   meanwhile: a fail-over leaves the old owner silent, ARP flux answers who asks.
//!
//! All of that is told low where both announce the address by VRRP, the one after the other: masters that change back and forth are an
//! outage, and a backup may stand in for two. Not where both go on to announce it, as who forges announcements does: a backup is silent
//! while it hears a master. Connections that are passed on to the owner are told as they are, whoever announces what.
//!
//! A router whose address DHCP has given out for an hour may answer for hosts that it leads to (proxy ARP): it is in their middle by
//! right. One that is newer is told, low: a rogue server of DHCP makes itself one.
//!
//! - *rogue_dhcp*: a server answers a client with another gateway or name server than the one that serves the network, or that
//!   answered the same client. Servers that stand in for each other say the same.
//! - *rogue_dns*: a server of names inside says of names of three different registrants that they are its own address. Who has one box
//!   for everything says so of the names of one; a portal that catches everybody does so by design, and is told for what it does.
//! - *dhcp_starvation*: twenty link addresses ask for a first address within ten seconds, which uses the server's up, so that another one
//!   answers. Hosts that come back ask for the address that they had (RFC 2131 section 3.2), and need no such question.
//! - *name_poisoning*: one host says of three names within an hour that they are its own, in LLMNR or NetBIOS. A host has one or two
//!   of them; a WINS server answers with the addresses of others.
//!
//! A bridge that puts its own link address into what it passes on (virtual machines behind Wi-Fi, repeaters) says what the owner has
//! said a moment before: such an echo is neither a takeover nor a contest.
//!
//! Not seen: an attacker who speaks only in a race with the owner, what is said to one host alone on a port that is not tapped, single
//! takeovers whose owner is not heard (the inventory tells these), mDNS, and who passes for another host by its link address too. An
//! appliance that keeps hosts apart by ARP looks like what it does.
//!
//! | file | has |
//! | --- | --- |
//! | `claims` | who says by ARP that he has an address |
//! | `frames` | what IP says of that |
//! | `masters` | who announces the address by VRRP |
//! | `servers` | DHCP |
//! | `namers` | names of LLMNR, NetBIOS and DNS |
//! | `evidence` | what is told |

mod claims;
mod evidence;
mod frames;
mod masters;
mod namers;
mod servers;
#[cfg(test)]
mod tests;

use crate::dataplane::detect::cold::{self, ColdMap};
use crate::units::{SECOND, Timestamp};
pub use claims::VICTIMS;
use claims::{Bound, Claimer};
use masters::Masters;
pub use namers::NAMES;
use namers::Namer;
use serde::{Deserialize, Serialize};
use servers::{Asked, Servers};
use std::net::{IpAddr, Ipv6Addr};

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Hosts whose addresses one link address must have taken over.
    pub victims: f64,
    /// Times that each of two link addresses must have claimed an address.
    pub claims: f64,
    /// Names that a host must have called its own.
    pub names: f64,
    /// Connections in which the owner of an address must contradict who claims it: by frames of his card, or because they came to him
    /// through the other one.
    pub connections: f64,
    /// Link addresses that ask for a first address within ten seconds.
    pub askers: f64,
    /// Addresses, servers, clients and hosts remembered, each.
    pub entries: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { victims: 2.0, claims: 2.0, names: 3.0, connections: 2.0, askers: 20.0, entries: 1 << 13 }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<(u64, u128), Bound>(self.entries)
            + cold::bytes::<(u64, Mac), Claimer>(self.entries)
            + cold::bytes::<u64, Servers>(self.entries) * 2
            + cold::bytes::<(u64, u128), Namer>(self.entries)
            + cold::bytes::<u128, Namer>(RESOLVERS)
            + cold::bytes::<u64, Asked>(ASKED)
            + cold::bytes::<(u64, u128), Timestamp>(ROUTERS)
            + cold::bytes::<(u64, u128), Masters>(VIRTUALS)
    }
}

type Mac = [u8; 6];

/// Servers of names that are remembered.
const RESOLVERS: usize = 1024;
/// Gateways that are remembered.
const ROUTERS: usize = 1024;
/// Addresses of virtual routers that are remembered.
const VIRTUALS: usize = 1024;
/// Links on which hosts ask that are remembered.
const ASKED: usize = 256;
/// Evidence of what goes on comes again after so long; it makes one alert.
const AGAIN_NS: u64 = 30 * SECOND;

fn is_over(told: Option<Timestamp>, now: Timestamp) -> bool {
    told.is_none_or(|at| now.since(at) >= AGAIN_NS)
}

fn ip(address: u128) -> IpAddr {
    let v6 = Ipv6Addr::from(address);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

fn mac_text(mac: Mac) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// The detector.
pub struct Spoofing {
    settings: Settings,
    bound: ColdMap<(u64, u128), Bound>,
    claimers: ColdMap<(u64, Mac), Claimer>,
    /// Gateways that servers of DHCP give out, since when.
    routers: ColdMap<(u64, u128), Timestamp>,
    /// Who announces addresses of virtual routers.
    masters: ColdMap<(u64, u128), Masters>,
    networks: ColdMap<u64, Servers>,
    exchanges: ColdMap<u64, Servers>,
    namers: ColdMap<(u64, u128), Namer>,
    resolvers: ColdMap<u128, Namer>,
    asked: ColdMap<u64, Asked>,
}

impl Spoofing {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Spoofing {
        let entries = settings.entries;
        Spoofing {
            settings,
            bound: ColdMap::new(entries),
            claimers: ColdMap::new(entries),
            routers: ColdMap::new(ROUTERS),
            masters: ColdMap::new(VIRTUALS),
            networks: ColdMap::new(entries),
            exchanges: ColdMap::new(entries),
            namers: ColdMap::new(entries),
            resolvers: ColdMap::new(RESOLVERS),
            asked: ColdMap::new(ASKED),
        }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// What was forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        [self.bound.forgotten(), self.claimers.forgotten(), self.networks.forgotten()].iter().sum::<u64>()
            + self.routers.forgotten()
            + self.masters.forgotten()
            + self.exchanges.forgotten()
            + self.namers.forgotten()
            + self.resolvers.forgotten()
            + self.asked.forgotten()
    }
}
