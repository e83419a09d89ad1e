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

mod evidence;
mod frames;
#[cfg(test)]
mod tests;

use super::count::{Distinct, hash};
use super::names;
use super::observation::{Answer, Dns, Lease, Observation};
use crate::dataplane::decode::Neighbour;
use crate::dataplane::detect::Evidence;
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::units::{SECOND, Timestamp};
use evidence::{Proof, contest, poisoning, rogue, rogue_dns, starvation, taken};
use frames::Frames;
use serde::{Deserialize, Serialize};
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
    }
}

type Mac = [u8; 6];

/// Takeovers of one claimer count together for so long, and names of one host.
const TAKEN_NS: u64 = 600 * SECOND;
const NAMES_NS: u64 = 3600 * SECOND;
/// Who has not spoken for so long has not had his address taken.
const OWNED_NS: u64 = 3600 * SECOND;
/// Claims of an address in turn count together for so long: neighbours are told every five minutes.
const CONTEST_NS: u64 = 1800 * SECOND;
/// What a bridge passes on comes so soon behind the owner's words: microseconds were seen.
const ECHO_NS: u64 = SECOND / 50;
/// Link addresses that ask count together for so long.
const ASKED_NS: u64 = 10 * SECOND;
/// Servers of names that are remembered.
const RESOLVERS: usize = 1024;
/// A gateway that DHCP has given out for so long is the network's.
const ROUTER_NS: u64 = 3600 * SECOND;
/// Gateways that are remembered.
const ROUTERS: usize = 1024;
/// Two that both mean to have an address contradict each other so soon: arpspoof repeats itself each two seconds, and hosts confirm
/// whom they speak to after some 30 s (RFC 4861 section 10; Linux has the same for ARP).
const QUICK_NS: u64 = 60 * SECOND;
/// Links on which hosts ask that are remembered.
const ASKED: usize = 256;
/// A server that has not answered for so long is gone.
const SERVER_NS: u64 = 86_400 * SECOND;
/// An exchange of DHCP takes seconds; clients repeat for a minute (RFC 2131 section 4.1).
const EXCHANGE_NS: u64 = 120 * SECOND;
/// Evidence of what goes on comes again after so long; it makes one alert.
const AGAIN_NS: u64 = 30 * SECOND;
/// Victims that are kept of one claimer.
pub const VICTIMS: usize = 4;
/// Names that are kept of one host.
pub const NAMES: usize = 8;
const SERVERS: usize = 4;

/// Link addresses of virtual routers: VRRP for IPv4 and IPv6 (RFC 5798 section 7.3), also CARP; HSRP 1 and 2, GLBP.
fn is_virtual(mac: Mac) -> bool {
    let [a, b, c, d, ..] = mac;
    matches!([a, b, c], [0, 0, 0x5e] | [0, 0, 0x0c] if d == 1 || d == 2 || d == 7)
        || matches!([a, b, c, d], [0, 7, 0xb4, 0] | [0, 5, 0x73, 0xa0])
}

/// Who has an address.
struct Bound {
    mac: Mac,
    /// He has spoken for it himself; else a server gave it to him, and he may not have taken it.
    has_spoken: bool,
    /// To whom a server gave it.
    granted: Option<Mac>,
    /// When its owner spoke last, or a server gave it to him.
    seen: Timestamp,
    /// The one before, and when the address was his.
    before: Option<(Mac, Timestamp)>,
    /// The two have said the same at the same moment: one of them passes on.
    is_echoed: bool,
    /// Changes to and fro between the two, since when.
    turns: u32,
    since: Timestamp,
    told: Option<Timestamp>,
    /// Connections since then.
    frames: Frames,
    /// Who had it undisputed passed connections to it on to this card, which answered them in its name: a balancer and its server.
    served: Option<[Mac; 2]>,
}

impl Bound {
    fn new(mac: Mac, now: Timestamp) -> Bound {
        Bound {
            mac,
            has_spoken: true,
            granted: None,
            seen: now,
            before: None,
            is_echoed: false,
            turns: 0,
            since: now,
            told: None,
            frames: Frames::default(),
            served: None,
        }
    }

    /// The two have served the address together before they both claimed it.
    fn is_shared(&self, one: Mac, other: Mac) -> bool {
        self.served.is_some_and(|served| served == [one, other] || served == [other, one])
    }
}

/// Who speaks for addresses, and takes over others'.
struct Claimer {
    /// The first address that it spoke for and nobody else had.
    own: Option<u128>,
    /// Whose addresses it took, and which.
    victims: [(Mac, u128); VICTIMS],
    count: usize,
    since: Timestamp,
    touched: Timestamp,
    /// When it spoke last for an address that is not its own to a host that had not asked.
    unasked: Option<Timestamp>,
    told: Option<Timestamp>,
}

/// What a server hands out.
#[derive(Clone, Copy, Default)]
struct Server {
    address: u128,
    routers: u64,
    resolvers: u64,
    answers: u32,
    first: Timestamp,
    last: Timestamp,
}

/// Servers of a network, or of one exchange.
struct Servers {
    servers: [Server; SERVERS],
    touched: Timestamp,
    told: Option<Timestamp>,
}

/// Who answers for names.
struct Namer {
    names: [u64; NAMES],
    count: usize,
    since: Timestamp,
    touched: Timestamp,
    told: Option<Timestamp>,
}

macro_rules! touched {
    ($($type:ty: $field:ident),+) => {
        $(impl Touched for $type {
            fn touched(&self) -> Timestamp {
                self.$field
            }
        })+
    };
}

/// Hosts of a link that ask for a first address.
struct Asked {
    since: Timestamp,
    touched: Timestamp,
    askers: Distinct<4>,
    told: Option<Timestamp>,
}

touched!(Asked: touched, Bound: seen, Claimer: touched, Servers: touched, Namer: touched);

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
            networks: ColdMap::new(entries),
            exchanges: ColdMap::new(entries),
            namers: ColdMap::new(entries),
            resolvers: ColdMap::new(RESOLVERS),
            asked: ColdMap::new(ASKED),
        }
    }

    /// What was forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        [self.bound.forgotten(), self.claimers.forgotten(), self.networks.forgotten()].iter().sum::<u64>()
            + self.routers.forgotten()
            + self.exchanges.forgotten()
            + self.namers.forgotten()
            + self.resolvers.forgotten()
            + self.asked.forgotten()
    }

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

    /// A host said which address it has.
    pub fn neighbour(&mut self, seen: &Observation, neighbour: &Neighbour, out: &mut Vec<Evidence>) {
        let (now, mac, address) = (seen.time, neighbour.mac, neighbour.address);
        let link = hash((neighbour.vlans, neighbour.tunnel));
        if neighbour.is_unasked {
            let claimer = self.claimer(link, mac, now);
            claimer.unasked = Some(now).filter(|_| claimer.own != Some(address)).or(claimer.unasked);
        }
        let Some(bound) = self.bound.existing(&(link, address)) else {
            self.bound.entry((link, address), || Bound::new(mac, now));
            self.claimer(link, mac, now).own.get_or_insert(address);
            return;
        };
        if bound.mac == mac {
            (bound.seen, bound.has_spoken) = (bound.seen.max(now), true);
            return;
        }
        // A lease that nobody took is nobody's loss, and who has one takes nothing.
        if !bound.has_spoken || bound.granted == Some(mac) {
            *bound = Bound { granted: bound.granted, ..Bound::new(mac, now) };
            return;
        }
        let (owner, owned) = (bound.mac, bound.seen);
        let is_back = bound.before.is_some_and(|(before, at)| before == mac && now.since(at) < CONTEST_NS);
        if !is_back || now.since(bound.since) >= CONTEST_NS {
            (bound.turns, bound.since) = (0, now);
        }
        let is_echo = now.since(owned) < ECHO_NS;
        bound.is_echoed = is_echo || (bound.is_echoed && is_back);
        bound.turns += u32::from(!bound.is_echoed);
        (bound.mac, bound.seen, bound.before) = (mac, now, Some((owner, owned)));
        if is_virtual(mac) || is_virtual(owner) || bound.is_echoed {
            return;
        }
        // A, B, A, B: three turns, of which each has claimed it twice.
        let needed = 2.0 * self.settings.claims - 1.0;
        let (turns, is_due) = (bound.turns, is_over(bound.told, now));
        let is_contested = f64::from(turns) >= needed;
        let is_quick = now.since(bound.since) < QUICK_NS.saturating_mul(u64::from(turns));
        // A router that answers for others is in their middle anyhow; who claims its own address is another matter.
        let router = [mac, owner].into_iter().filter_map(|one| self.router_of_others((link, one), address, now)).max();
        if router.is_some_and(|known_ns| known_ns >= ROUTER_NS) {
            return;
        }
        let is_router = router.is_some();
        // Of the two it is the one who came later that took it, whoever speaks now.
        let taker = [mac, owner].into_iter().find(|mac| self.took(link, *mac, address, now));
        if is_contested && is_due && !self.are_one(link, owner, mac) {
            if let Some(bound) = self.bound.existing(&(link, address)) {
                bound.told = Some(now);
            }
            match taker.filter(|taker| self.count(link, *taker) as f64 >= self.settings.victims) {
                Some(taker) => {
                    let proof = if is_router { Proof::Router } else { Proof::Contradicted };
                    self.tell_taken(seen, neighbour, (link, taker), proof, out);
                }
                None => {
                    let has_own = taker.is_some_and(|taker| self.own(link, taker).is_some_and(|own| own != address));
                    let is_of_another = is_quick && has_own && !is_router;
                    // It is who took it that does it, whoever speaks now.
                    let [taker, other] = if taker == Some(owner) { [owner, mac] } else { [mac, owner] };
                    out.push(contest(seen, neighbour, [taker, other], (turns, needed), is_of_another));
                }
            }
        }
        if now.since(owned) >= OWNED_NS || is_back {
            return;
        }
        let claimer = self.claimer(link, mac, now);
        if claimer.count == 0 || now.since(claimer.since) >= TAKEN_NS {
            (claimer.count, claimer.since) = (0, now);
        }
        let victims = claimer.victims.iter().take(claimer.count);
        let is_new = !victims.clone().any(|(victim, of)| *victim == owner || *of == address);
        if is_new && let Some(slot) = claimer.victims.get_mut(claimer.count) {
            *slot = (owner, address);
            claimer.count += 1;
        }
        let is_due = is_new || is_over(claimer.told, now);
        if claimer.count as f64 >= self.settings.victims && is_due && !self.are_one(link, owner, mac) {
            let proof = if is_router { Proof::Router } else { Proof::Open };
            self.tell_taken(seen, neighbour, (link, mac), proof, out);
        }
    }

    fn claimer(&mut self, link: u64, mac: Mac, now: Timestamp) -> &mut Claimer {
        let fresh = || Claimer {
            own: None,
            victims: [([0; 6], 0); VICTIMS],
            count: 0,
            since: now,
            touched: now,
            unasked: None,
            told: None,
        };
        let claimer = self.claimers.entry((link, mac), fresh);
        claimer.touched = claimer.touched.max(now);
        claimer
    }

    fn own(&mut self, link: u64, mac: Mac) -> Option<u128> {
        self.claimers.existing(&(link, mac)).and_then(|claimer| claimer.own)
    }

    fn count(&mut self, link: u64, mac: Mac) -> usize {
        self.claimers.existing(&(link, mac)).map_or(0, |claimer| claimer.count)
    }

    /// Did it take this address lately?
    fn took(&mut self, link: u64, mac: Mac, address: u128, now: Timestamp) -> bool {
        self.claimers.existing(&(link, mac)).is_some_and(|claimer| {
            let mut victims = claimer.victims.iter().take(claimer.count);
            now.since(claimer.since) < CONTEST_NS && victims.any(|(_, of)| *of == address)
        })
    }

    /// How long its own address, another than this and nobody else's, has been a gateway that DHCP gives out; `None`: it is none.
    fn router_of_others(&mut self, (link, mac): (u64, Mac), address: u128, now: Timestamp) -> Option<u64> {
        let own = self.own(link, mac).filter(|own| *own != address)?;
        let is_undisputed = self.bound.existing(&(link, own)).is_some_and(|bound| bound.before.is_none());
        let since = self.routers.existing(&(link, own)).filter(|_| is_undisputed)?;
        Some(now.since(*since))
    }

    /// Two cards of one host: each has spoken for the other's own address.
    fn are_one(&mut self, link: u64, one: Mac, other: Mac) -> bool {
        let (Some(of_one), Some(of_other)) = (self.own(link, one), self.own(link, other)) else { return false };
        let mut has_spoken = |address: u128, mac: Mac| {
            let bound = self.bound.existing(&(link, address));
            bound.is_some_and(|bound| bound.mac == mac || bound.before.is_some_and(|(before, _)| before == mac))
        };
        of_one != of_other && has_spoken(of_one, other) && has_spoken(of_other, one)
    }

    fn tell_taken(
        &mut self,
        seen: &Observation,
        neighbour: &Neighbour,
        (link, mac): (u64, Mac),
        proof: Proof,
        out: &mut Vec<Evidence>,
    ) {
        let settings = self.settings;
        let claimer = self.claimer(link, mac, seen.time);
        claimer.told = Some(seen.time);
        let victims: Vec<String> = claimer
            .victims
            .iter()
            .take(claimer.count)
            .map(|(victim, of)| format!("{} of {}", ip(*of), mac_text(*victim)))
            .collect();
        out.push(taken(seen, &Neighbour { mac, ..*neighbour }, &victims, proof, &settings));
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
