//! All hosts: whose an address is, when two are one, who gives way, and the order of changes.
//!
//! A host is an address. Another joins it where neighbour discovery claims it for the same link address, or DHCP gives it to
//! that before anybody spoke from it, unless services, names or findings of its own are known of it. ARP joins none: who forges two
//! replies would be gateway, victim and himself in one. That a link address claims two addresses is a finding instead. A
//! router, whose frames carry many addresses, swallows none: frames are not asked, and a link address that has more than a
//! host can have joins no more.

use super::Settings;
use super::event::{About, Event, Note, is_of_host};
use super::host::{
    ADDRESSES_MAX, Confidence, Finding, Host, Mac, MacSource, Name, NameSource, OsHint, Place, Seen, Segment, Service,
};
use super::kinds::{self, Kind};
use super::read;
use super::wire::{self, Wire};
use crate::dataplane::decode::Neighbour;
use crate::exchange::EventHead;
use crate::units::{SECOND, Timestamp};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

mod findings;
mod spoken;
mod transfers;
mod tunnels;

use findings::exposed;
pub use spoken::Spoken;

/// Link addresses whose names wait for an address at most.
const WAITING_MAX: usize = 2048;
/// Notes that wait for one link address at most.
const WAITING_NOTES_MAX: usize = 8;
/// A link address that claimed one address within this time and claims another now has both; else it moved.
const CLAIMS_BOTH_NS: u64 = 600 * SECOND;
/// One in so many hosts goes when there are too many, so that room is made seldom.
const EVICT_SHARE: usize = 16;

/// What the inventory did and gave up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Hosts now.
    pub hosts: u64,
    /// Findings now.
    pub findings: u64,
    /// Their memory, about, bytes.
    pub bytes: u64,
    /// Events read.
    pub events: u64,
    /// Hosts that gave way to others.
    pub evicted: u64,
    /// Names, services, findings and the like that found no room at their host.
    pub not_kept: u64,
}

/// The table of hosts.
pub struct Inventory {
    settings: Settings,
    hosts: HashMap<u64, Host>,
    by_address: HashMap<(Segment, IpAddr), u64>,
    by_mac: HashMap<(Segment, String), u64>,
    /// What DHCP clients said of themselves before they had an address.
    waiting: HashMap<(Segment, [u8; 6]), (Timestamp, Vec<Note>)>,
    tunnels: tunnels::Tunnels,
    transfers: transfers::Transfers,
    /// Hosts that are gone since somebody asked, for the file.
    gone: Vec<u64>,
    next_key: u64,
    revision: u64,
    bytes: usize,
    events: u64,
    evicted: u64,
    not_kept: u64,
}

fn mac_text(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

impl Inventory {
    /// An empty one.
    pub fn new(settings: Settings) -> Inventory {
        Inventory {
            settings,
            hosts: HashMap::new(),
            by_address: HashMap::new(),
            by_mac: HashMap::new(),
            waiting: HashMap::new(),
            tunnels: tunnels::Tunnels::default(),
            transfers: transfers::Transfers::default(),
            gone: Vec::new(),
            next_key: 1,
            revision: 0,
            bytes: 0,
            events: 0,
            evicted: 0,
            not_kept: 0,
        }
    }

    /// Takes hosts of an earlier run back; changes go on behind `revision`.
    pub fn restore(&mut self, hosts: impl IntoIterator<Item = (u64, Host)>, revision: u64) {
        self.revision = self.revision.max(revision);
        for (key, mut host) in hosts {
            // An earlier version told each vulnerability of a version as a finding; they come again together.
            host.findings.retain(|one| one.kind != kinds::VULNERABLE.name || !one.vulnerabilities.is_empty());
            if host.addresses.is_empty() || self.hosts.len() >= self.settings.hosts {
                self.gone.push(key);
                continue;
            }
            self.next_key = self.next_key.max(key + 1);
            self.bytes += host.bytes();
            self.enter(key, &host);
            self.hosts.insert(key, host);
        }
    }

    /// Is an address one of those kept?
    pub fn is_home(&self, address: IpAddr) -> bool {
        self.settings.home.iter().any(|network| network.holds(address))
    }

    /// An event of inspection with its facts.
    pub fn observe(&mut self, head: &EventHead, facts: &[u8]) {
        self.events += 1;
        let event = Event::new(head, facts);
        let mut notes = read::notes(&event);
        if head.through_proxy {
            let target = self.tunnels.target(&event);
            notes = notes.into_iter().filter_map(|note| tunnels::of_tunnel(note, target)).collect();
        }
        self.tunnels.see(&event);
        self.transfers.see(&event);
        let told = |note: &Note| if let Note::Wire(wire, holds) = note { Some((*wire, *holds)) } else { None };
        let wire: Vec<_> = notes.iter().filter_map(told).collect();
        for note in notes {
            self.apply(&event, note, &wire);
        }
    }

    /// A host said which address it has.
    pub fn neighbour(&mut self, time: Timestamp, neighbour: &Neighbour) {
        // Who is master of a virtual router says so by ARP as well, to all.
        if neighbour.is_vrrp {
            return;
        }
        let address = Ipv6Addr::from(neighbour.address);
        let address = address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4);
        let segment = Segment::at(neighbour.vlans, neighbour.tunnel);
        let source = if neighbour.is_ndp { MacSource::Ndp } else { MacSource::Arp };
        self.owns(segment, address, neighbour.mac, source, time);
    }

    /// Hosts by their keys, which outlive a restart.
    pub fn hosts(&self) -> impl Iterator<Item = (u64, &Host)> {
        self.hosts.iter().map(|(key, host)| (*key, host))
    }

    /// The host with this id, or one of whose addresses this is.
    pub fn find(&self, id: &str) -> Option<&Host> {
        let by_address = id.parse::<IpAddr>().ok().and_then(|address| {
            let plain = self.by_address.get(&(Segment::default(), address));
            let of_any = || self.by_address.iter().filter(|((_, one), _)| *one == address).map(|(_, key)| key).min();
            plain.or_else(of_any)
        });
        match by_address {
            Some(key) => self.hosts.get(key),
            None => self.hosts.values().find(|host| host.id() == id),
        }
    }

    /// Order of the latest change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The host with this key.
    pub fn host_of(&self, key: u64) -> Option<&Host> {
        self.hosts.get(&key)
    }

    /// Keys of [`Inventory::take_gone`] that the file still has.
    pub fn keep_gone(&mut self, keys: &[u64]) {
        self.gone.extend(keys);
    }

    /// Hosts that went since the last call, by their keys.
    pub fn take_gone(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.gone)
    }

    /// What it did and gave up.
    pub fn stats(&self) -> Stats {
        Stats {
            hosts: self.hosts.len() as u64,
            findings: self.hosts.values().map(|host| host.findings.len() as u64).sum(),
            bytes: self.bytes as u64,
            events: self.events,
            evicted: self.evicted,
            not_kept: self.not_kept + self.hosts.values().map(|host| host.not_kept).sum::<u64>(),
        }
    }

    fn apply(&mut self, event: &Event<'_>, note: Note, wire: &[(Wire, bool)]) {
        let (segment, time) = (event.segment(), event.head.time);
        let seen = Seen::at(time);
        match note {
            Note::Alive(about) => self.with(event, about, |_| false),
            Note::Name(About::Mac(mac), ..) | Note::Os(About::Mac(mac), ..) => self.wait(segment, mac, note, time),
            Note::Name(about, source, name) => {
                self.with(event, about, |host| host.add_name(Name { name, source, seen }));
            }
            Note::Os(about, (os, confidence), source) => {
                let source = source.to_owned();
                self.with(event, about, |host| host.add_hint(OsHint { os, source, confidence, seen }));
            }
            Note::OsIfNamed(about, instance, (os, confidence), source) => {
                let is_its = |one: &Name| one.source == NameSource::Mdns && is_of_host(&instance, &one.name);
                let key = address_of(event, about).and_then(|address| self.by_address.get(&(segment, address)));
                let host = key.and_then(|key| self.hosts.get(key));
                if host.is_some_and(|host| host.names.iter().any(is_its)) {
                    let source = source.to_owned();
                    self.with(event, about, |host| host.add_hint(OsHint { os, source, confidence, seen }));
                }
            }
            Note::Mac(about, mac, source) => {
                if let Some(address) = address_of(event, about) {
                    self.owns(segment, address, mac, source, time);
                }
            }
            Note::Service(about, products, banner) => {
                let port = event.port_of(about);
                let place = place(event, port);
                let said = products.clone();
                let service = Service {
                    transport: place.transport.clone(),
                    port,
                    protocol: place.protocol.clone(),
                    banner_time: if banner.is_empty() { Timestamp(0) } else { time },
                    products,
                    banner,
                    wire: wire::Seen::at(time, wire),
                    count: 1,
                    seen,
                };
                self.with(event, about, |host| host.add_service(service));
                self.judge(event, about, &place, &said);
            }
            Note::Wire(..) => {}
            Note::Database => {
                let client = event.client.ip();
                if !self.is_home(client) {
                    let evidence = format!("it answered {client}, which is outside the home networks");
                    self.finding(event, kinds::DATABASE_OUTSIDE, String::new(), evidence);
                }
            }
            Note::Finding(kind, detail, evidence) => self.finding(event, kind, detail, evidence),
            Note::Through(target, how, evidence) => self.sent_through(event, target, how, evidence),
        }
    }

    /// Changes the host that a note is about; makes it if it is one of ours and new.
    fn with(&mut self, event: &Event<'_>, about: About, change: impl FnOnce(&mut Host) -> bool) {
        if let Some(address) = address_of(event, about) {
            self.change(event.segment(), address, event.head.time, change);
        }
    }

    fn change(&mut self, segment: Segment, address: IpAddr, time: Timestamp, change: impl FnOnce(&mut Host) -> bool) {
        let Some(key) = self.key(segment, address, time) else { return };
        let Some(host) = self.hosts.get_mut(&key) else { return };
        let before = host.bytes();
        let seen = host.see(address, time);
        if change(host) || seen || host.revision == 0 {
            self.revision += 1;
            host.revision = self.revision;
        }
        self.bytes = (self.bytes + host.bytes()).saturating_sub(before);
        self.make_room(key);
    }

    /// The host of an address; made where it is of a home network.
    fn key(&mut self, segment: Segment, address: IpAddr, time: Timestamp) -> Option<u64> {
        if let Some(key) = self.by_address.get(&(segment, address)) {
            return Some(*key);
        }
        let is_host = !address.is_unspecified() && !address.is_multicast() && !is_broadcast(address);
        if !is_host || !self.is_home(address) {
            return None;
        }
        let key = self.next_key;
        self.next_key += 1;
        let host = Host::new(segment, address, time);
        self.bytes += host.bytes();
        self.enter(key, &host);
        self.hosts.insert(key, host);
        self.make_room(key);
        Some(key)
    }

    fn enter(&mut self, key: u64, host: &Host) {
        for address in &host.addresses {
            self.by_address.insert((host.segment, address.address), key);
        }
        // The first to have a link address keeps it.
        for mac in &host.macs {
            self.by_mac.entry((host.segment, mac.mac.clone())).or_insert(key);
        }
    }

    /// ARP, neighbour discovery or DHCP say that `mac` has `address`.
    fn owns(&mut self, segment: Segment, address: IpAddr, mac: [u8; 6], source: MacSource, time: Timestamp) {
        let Some(key) = self.key(segment, address, time) else { return };
        let text = mac_text(mac);
        let known = self.by_mac.get(&(segment, text.clone())).copied();
        let own_macs = self.hosts.get(&key).map(|host| host.macs.clone()).unwrap_or_default();
        let has_it = own_macs.iter().any(|one| one.mac == text);
        let entry = Mac { mac: text.clone(), source, seen: Seen::at(time) };
        match known {
            Some(other) if other != key && own_macs.is_empty() && self.may_join(other, key, source, time) => {
                self.join(other, key);
            }
            // Nobody else has the address, as far as is known: then it is the claim that is told, and nothing moves.
            Some(other) if other != key && own_macs.iter().all(|one| one.mac == text) => {
                self.claims_both(other, key, &text, address, source, time);
            }
            Some(_) => {}
            None => drop(self.by_mac.insert((segment, text.clone()), key)),
        }
        self.change(segment, address, time, |host| host.add_mac(entry));
        if !has_it && let Some(before) = own_macs.first() {
            self.changed_hands(segment, address, &before.mac, &text, time);
        }
        let (_, notes) = self.waiting.get(&(segment, mac)).cloned().unwrap_or_default();
        for note in notes {
            self.tell_owner(segment, address, note, time);
        }
    }

    /// May the addresses of one host be another's too, by the word of `source`?
    fn may_join(&self, into: u64, from: u64, source: MacSource, time: Timestamp) -> bool {
        let (Some(into), Some(from)) = (self.hosts.get(&into), self.hosts.get(&from)) else { return false };
        let has_room = into.addresses.len() + from.addresses.len() <= ADDRESSES_MAX;
        let is_good = match source {
            MacSource::Ndp => true,
            // What spoke before it was given the address may be somebody else.
            MacSource::Dhcp => from.seen.first_seen >= time,
            MacSource::Arp | MacSource::Nbns => false,
        };
        is_good && has_room && from.is_bare()
    }

    /// `mac`, which is the host's with the key `owner`, says that it has `address` of another one too.
    fn claims_both(
        &mut self,
        owner: u64,
        claimed: u64,
        mac: &str,
        address: IpAddr,
        source: MacSource,
        time: Timestamp,
    ) {
        let Some(host) = self.hosts.get(&owner) else { return };
        let segment = host.segment;
        let has = host.macs.iter().find(|one| one.mac == mac).map(|one| one.seen.last_seen);
        let is_near = |before: Timestamp| time.since(before).max(before.since(time)) < CLAIMS_BOTH_NS;
        let Some(before) = has.filter(|before| is_near(*before)) else {
            self.by_mac.insert((segment, mac.to_owned()), claimed);
            return;
        };
        // An IPv6 host has many addresses; what NetBIOS and DHCP say is said of one that is known otherwise.
        let own = host.addresses.iter().map(|one| one.address).filter(IpAddr::is_ipv4).min();
        let Some(own) = own.filter(|_| source == MacSource::Arp) else { return };
        let evidence = format!("{mac} says that it has {} and {}", own.min(address), own.max(address));
        self.tell(
            segment,
            own.min(address),
            kinds::MAC_OF_TWO,
            mac.to_owned(),
            evidence,
            Confidence::Low,
            time.max(before),
        );
    }

    /// An address with a second link address: who of the two it belongs to is not for us to say.
    fn changed_hands(&mut self, segment: Segment, address: IpAddr, before: &str, now: &str, time: Timestamp) {
        let mut pair = [before, now];
        pair.sort_unstable();
        let detail = pair.join(" and ");
        let evidence = format!("{address} was {before} and now {now} says that it has it");
        self.tell(segment, address, kinds::MAC_CHANGED, detail, evidence, Confidence::Medium, time);
    }

    /// A finding about a host and none of its services.
    #[expect(clippy::too_many_arguments, reason = "what a finding is made of")]
    fn tell(
        &mut self,
        segment: Segment,
        address: IpAddr,
        kind: Kind,
        detail: String,
        evidence: String,
        confidence: Confidence,
        time: Timestamp,
    ) {
        self.revision += 1;
        let revision = self.revision;
        let finding = exposed(segment, address, None, kind, detail, evidence, time);
        let finding = Finding { confidence, revision, ..finding };
        self.change(segment, address, time, |host| host.add_finding(finding));
    }

    fn join(&mut self, into: u64, from: u64) {
        let Some(gone) = self.hosts.remove(&from) else { return };
        self.gone.push(from);
        self.bytes = self.bytes.saturating_sub(gone.bytes());
        let Some(host) = self.hosts.get_mut(&into) else { return };
        let before = host.bytes();
        host.join(gone);
        self.bytes = (self.bytes + host.bytes()).saturating_sub(before);
        self.revision += 1;
        host.revision = self.revision;
        let addresses: Vec<_> = host.addresses.iter().map(|one| (host.segment, one.address)).collect();
        self.by_address.extend(addresses.into_iter().map(|address| (address, into)));
        self.by_mac.values_mut().filter(|key| **key == from).for_each(|key| *key = into);
    }

    /// What a client without an address said of itself: for the owner of its link address, now and whenever it gets one.
    fn wait(&mut self, segment: Segment, mac: [u8; 6], note: Note, time: Timestamp) {
        if let Some(key) = self.by_mac.get(&(segment, mac_text(mac))) {
            let address = self.hosts.get(key).and_then(|host| host.addresses.first()).map(|one| one.address);
            if let Some(address) = address {
                self.tell_owner(segment, address, note.clone(), time);
            }
        }
        if self.waiting.len() >= WAITING_MAX && !self.waiting.contains_key(&(segment, mac)) {
            let oldest = self.waiting.iter().min_by_key(|(place, (seen, _))| (*seen, **place)).map(|(place, _)| *place);
            self.not_kept +=
                oldest.and_then(|place| self.waiting.remove(&place)).map_or(0, |(_, notes)| notes.len() as u64);
        }
        let (seen, waiting) = self.waiting.entry((segment, mac)).or_default();
        *seen = (*seen).max(time);
        if waiting.len() < WAITING_NOTES_MAX && !waiting.contains(&note) {
            waiting.push(note);
        }
    }

    fn tell_owner(&mut self, segment: Segment, address: IpAddr, note: Note, time: Timestamp) {
        let seen = Seen::at(time);
        match note {
            Note::Name(_, source, name) => {
                self.change(segment, address, time, |host| host.add_name(Name { name, source, seen }));
            }
            Note::Os(_, (os, confidence), source) => {
                let source = source.to_owned();
                self.change(segment, address, time, |host| host.add_hint(OsHint { os, source, confidence, seen }));
            }
            _ => {}
        }
    }

    /// Lets the longest unseen go while there are too many, those of which nothing is known first; never `keep`.
    fn make_room(&mut self, keep: u64) {
        if self.hosts.len() <= self.settings.hosts && self.bytes <= self.settings.bytes {
            return;
        }
        let mut order: Vec<(bool, Timestamp, u64)> = self
            .hosts
            .iter()
            .filter(|(key, _)| **key != keep)
            .map(|(key, host)| (!host.is_bare(), host.seen.last_seen, *key))
            .collect();
        let count = (order.len() / EVICT_SHARE).max(1).min(order.len());
        if count == 0 {
            return;
        }
        order.select_nth_unstable(count - 1);
        for (_, _, key) in order.into_iter().take(count) {
            self.evict(key);
        }
    }

    fn evict(&mut self, key: u64) {
        let Some(host) = self.hosts.remove(&key) else { return };
        self.bytes = self.bytes.saturating_sub(host.bytes());
        self.not_kept += host.not_kept;
        self.evicted += 1;
        self.gone.push(key);
        for address in &host.addresses {
            self.by_address.remove(&(host.segment, address.address));
        }
        for mac in host.macs {
            let entry = (host.segment, mac.mac);
            if self.by_mac.get(&entry) == Some(&key) {
                self.by_mac.remove(&entry);
            }
        }
    }
}

/// The last address of a network of 256 is as good as never a host's; nor is the last of all.
fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets()[3] == 255 || address.octets()[0] == 0)
}

fn address_of(event: &Event<'_>, about: About) -> Option<IpAddr> {
    match about {
        About::Client => Some(event.client.ip()),
        About::Server => Some(event.server.ip()),
        About::Address(address) => Some(address),
        About::Mac(_) => None,
    }
}

fn place(event: &Event<'_>, port: u16) -> Place {
    Place { transport: event.transport().to_owned(), port, protocol: event.head.protocol.name().to_owned() }
}

#[cfg(test)]
mod tests;
