//! A host and what is known of it: bounded lists, each entry with its source and times.
//!
//! All changes are merges that do not depend on their order, as far as the limits are not reached: several workers tell the
//! same things in different orders. In a full list that gives way which is worth least: names that others gave before those
//! that the host said, findings of low severity before those of high, of two alike the one not seen for longest.

mod segment;
mod service;

use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

pub use segment::Segment;
pub use service::Service;

/// Addresses of a host at most; a link address that says it has more is a router's or a proxy's, and stops joining them.
pub const ADDRESSES_MAX: usize = 16;
/// Link addresses of a host at most.
pub const MACS_MAX: usize = 4;
/// Names of a host at most.
pub const NAMES_MAX: usize = 24;
/// Names of a host by one source at most: clients can call a host whatever they like.
pub const NAMES_OF_SOURCE_MAX: usize = 8;
/// Services of a host at most.
pub const SERVICES_MAX: usize = 48;
/// Hints at a host's operating system at most.
pub const HINTS_MAX: usize = 8;
/// Source of hints by the options of TCP: others count more.
pub const TCP_STACK: &str = "TCP options";
/// Findings of a host at most.
pub const FINDINGS_MAX: usize = 64;
/// Products of a service at most.
pub const PRODUCTS_MAX: usize = 6;
/// Bytes of a text that is kept.
pub const TEXT_MAX: usize = 255;
/// A host or finding that is only seen again is news once in this time.
const NEWS_NS: u64 = 60 * SECOND;

/// How sure something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// A hint that others share.
    Low,
    /// Most likely.
    Medium,
    /// The host itself, or who must know, says so.
    High,
}

/// First and latest time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// First time.
    pub first_seen: Timestamp,
    /// Latest time.
    pub last_seen: Timestamp,
}

impl Seen {
    /// Once.
    pub fn at(time: Timestamp) -> Seen {
        Seen { first_seen: time, last_seen: time }
    }

    /// Again; is it earlier than all before?
    pub fn again(&mut self, other: Seen) -> bool {
        let earlier = other.first_seen < self.first_seen;
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        earlier
    }
}

/// An address of a host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// When.
    #[serde(flatten)]
    pub seen: Seen,
}

/// Who said which link address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MacSource {
    /// ARP.
    Arp,
    /// IPv6 neighbour discovery.
    Ndp,
    /// DHCP.
    Dhcp,
    /// The status of a NetBIOS node.
    Nbns,
}

/// A link address of a host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mac {
    /// As in `02:00:00:00:00:01`.
    pub mac: String,
    /// Who said so.
    pub source: MacSource,
    /// When.
    #[serde(flatten)]
    pub seen: Seen,
}

/// Who gave a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameSource {
    /// The host, to a DHCP server.
    Dhcp,
    /// The host, by multicast DNS.
    Mdns,
    /// The host, by LLMNR.
    Llmnr,
    /// The host, by NetBIOS.
    Netbios,
    /// NTLM, inside SMB, RDP, HTTP and others.
    Ntlm,
    /// A Kerberos principal of a machine.
    Kerberos,
    /// The certificate that the host shows.
    Certificate,
    /// What a client called the host by in TLS (SNI).
    Sni,
    /// What a client called the host by in HTTP.
    HttpHost,
    /// The host, in the greeting of its mail or file server.
    Greeting,
    /// The host, to an RDP server.
    Rdp,
    /// The host's SNMP agent.
    Snmp,
}

impl NameSource {
    /// What a name by it is worth, the lowest most: what the host itself, or who must know, says of it, then what its
    /// services say, last what clients call it by.
    pub fn rank(self) -> usize {
        use NameSource::{Certificate, Dhcp, Greeting, HttpHost, Kerberos, Llmnr, Mdns, Netbios, Ntlm, Rdp, Sni, Snmp};
        let best = [Dhcp, Mdns, Ntlm, Snmp, Netbios, Kerberos, Rdp, Llmnr, Greeting, Certificate, HttpHost, Sni];
        best.iter().position(|one| *one == self).unwrap_or(best.len())
    }
}

/// A name of a host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Name {
    /// The name.
    pub name: String,
    /// Who gave it.
    pub source: NameSource,
    /// When.
    #[serde(flatten)]
    pub seen: Seen,
}

/// A hint at a host's operating system.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OsHint {
    /// Name and version, as far as told.
    pub os: String,
    /// What told it, in words.
    pub source: String,
    /// How sure that is.
    pub confidence: Confidence,
    /// When.
    #[serde(flatten)]
    pub seen: Seen,
}

/// Where on a host a finding lies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Place {
    /// `tcp` or `udp`.
    pub transport: String,
    /// Port.
    pub port: u16,
    /// Application protocol.
    pub protocol: String,
}

/// A known vulnerability of a version.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Vulnerability {
    /// Its number.
    pub cve: String,
    /// Its base score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cvss: Option<f64>,
    /// 1 (high) to 4 (low).
    pub severity: u8,
    /// How sure it is that the service has it.
    pub confidence: Confidence,
    /// The vulnerability in a few words, and what speaks against it.
    pub title: String,
    /// Where to read on.
    pub reference: String,
}

/// Something that exposes a host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// Stable: the same of the same host, service, kind and detail.
    pub id: String,
    /// [`super::kinds::Kind::name`].
    pub kind: String,
    /// 1 (high) to 4 (low).
    pub severity: u8,
    /// How sure it is.
    pub confidence: Confidence,
    /// Address on which it was seen.
    pub address: IpAddr,
    /// The service; none where it is the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Place>,
    /// What tells it from others of its kind on the service.
    pub detail: String,
    /// What was seen, in a sentence; never a secret.
    pub evidence: String,
    /// What to do.
    pub remedy: String,
    /// Where to read on.
    pub reference: String,
    /// What the version is vulnerable to, where it is about one: the worst first. Severity, confidence and reference of the
    /// finding are those of the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vulnerabilities: Vec<Vulnerability>,
    /// Times seen.
    pub count: u64,
    /// When.
    #[serde(flatten)]
    pub seen: Seen,
    /// Order of changes over all findings.
    #[serde(default)]
    pub revision: u64,
    /// Latest time that was news.
    #[serde(default, skip)]
    pub told: Timestamp,
}

/// A host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Host {
    /// Where its addresses mean it.
    pub segment: Segment,
    /// Its addresses; never empty.
    pub addresses: Vec<Address>,
    /// Its link addresses.
    pub macs: Vec<Mac>,
    /// Its names.
    pub names: Vec<Name>,
    /// Its services.
    pub services: Vec<Service>,
    /// Hints at its operating system.
    pub hints: Vec<OsHint>,
    /// What exposes it.
    pub findings: Vec<Finding>,
    /// What found no room in these lists.
    pub not_kept: u64,
    /// When it was seen.
    #[serde(flatten)]
    pub seen: Seen,
    /// Order of changes over all hosts.
    #[serde(default)]
    pub revision: u64,
    /// Latest time that was news.
    #[serde(default, skip)]
    pub told: Timestamp,
}

/// Adds `item` to a bounded list, or merges it with the one it is the same as; what is worth least gives way, be it the new
/// one. Is there anything new, and was something given up?
fn add<T, W: Ord>(
    list: &mut Vec<T>,
    limit: usize,
    item: T,
    same: impl Fn(&T, &T) -> bool,
    merge: impl FnOnce(&mut T, T) -> bool,
    worth: impl Fn(&T) -> W,
) -> (bool, u64) {
    if let Some(known) = list.iter_mut().find(|known| same(known, &item)) {
        return (merge(known, item), 0);
    }
    let is_full = list.len() >= limit;
    list.push(item);
    if !is_full {
        return (true, 0);
    }
    // The first of those worth the same: of two told at one moment the newer stays.
    let least = list.iter().enumerate().min_by_key(|(_, one)| worth(one)).map_or(0, |(place, _)| place);
    let is_new = least + 1 == list.len();
    list.swap_remove(least);
    (!is_new, 1)
}

impl Host {
    /// A host that was just seen for the first time.
    pub fn new(segment: Segment, address: IpAddr, time: Timestamp) -> Host {
        let seen = Seen::at(time);
        Host {
            segment,
            addresses: vec![Address { address, seen }],
            macs: Vec::new(),
            names: Vec::new(),
            services: Vec::new(),
            hints: Vec::new(),
            findings: Vec::new(),
            not_kept: 0,
            seen,
            revision: 0,
            told: time,
        }
    }

    /// Its name in the API: the address it was first seen by, one that means it everywhere if it has one, and the VLAN.
    pub fn id(&self) -> String {
        let is_local = |address: IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        let first = self.addresses.iter().min_by_key(|one| (is_local(one.address), one.seen.first_seen, one.address));
        let address = first.map(|first| first.address.to_string()).unwrap_or_default();
        format!("{}{address}", self.segment.prefix())
    }

    /// Is nothing known of it but its addresses, which anybody can make up, and open ports? Such hosts give way first.
    pub fn is_bare(&self) -> bool {
        let is_open_only = |service: &Service| service.is_open_only();
        self.names.is_empty() && self.services.iter().all(is_open_only) && self.findings.is_empty()
    }

    /// Memory it takes, about, bytes.
    pub fn bytes(&self) -> usize {
        let texts = self.names.iter().map(|one| one.name.len()).sum::<usize>()
            + self.hints.iter().map(|one| one.os.len() + one.source.len()).sum::<usize>()
            + self.services.iter().map(|one| one.banner.len() + one.products.len() * 160).sum::<usize>()
            + self.findings.iter().map(|one| one.evidence.len() + one.detail.len() + 300).sum::<usize>()
            + self.findings.iter().flat_map(|one| &one.vulnerabilities).map(|one| one.title.len() + 200).sum::<usize>();
        size_of::<Host>()
            + texts
            + self.addresses.len() * size_of::<Address>()
            + self.macs.len() * size_of::<Mac>()
            + self.names.len() * size_of::<Name>()
            + self.services.len() * size_of::<Service>()
            + self.hints.len() * size_of::<OsHint>()
            + self.findings.len() * size_of::<Finding>()
    }

    /// It was seen on `address`; is that news?
    pub fn see(&mut self, address: IpAddr, time: Timestamp) -> bool {
        self.seen.again(Seen::at(time));
        if let Some(known) = self.addresses.iter_mut().find(|known| known.address == address) {
            known.seen.again(Seen::at(time));
        }
        let news = time.since(self.told) >= NEWS_NS;
        if news {
            self.told = time;
        }
        news
    }

    /// Another address of it, if there is room.
    pub fn add_address(&mut self, address: Address) -> bool {
        if self.addresses.len() >= ADDRESSES_MAX {
            self.not_kept += 1;
            return false;
        }
        self.addresses.push(address);
        true
    }

    fn note(&mut self, (news, given_up): (bool, u64)) -> bool {
        self.not_kept += given_up;
        news
    }

    /// A link address; is it news?
    pub fn add_mac(&mut self, mac: Mac) -> bool {
        let same = |one: &Mac, other: &Mac| one.mac == other.mac;
        let merge = |known: &mut Mac, new: Mac| {
            known.source = known.source.min(new.source);
            known.seen.again(new.seen);
            false
        };
        let outcome = add(&mut self.macs, MACS_MAX, mac, same, merge, |one| one.seen.last_seen);
        self.note(outcome)
    }

    /// A name; is it news?
    pub fn add_name(&mut self, name: Name) -> bool {
        let same = |one: &Name, other: &Name| one.source == other.source && one.name.eq_ignore_ascii_case(&other.name);
        let merge = |known: &mut Name, new: Name| {
            known.seen.again(new.seen);
            false
        };
        let source = name.source;
        let alike = self.names.iter().filter(|one| one.source == source).count();
        let is_too_many = alike >= NAMES_OF_SOURCE_MAX;
        let limit = if is_too_many { self.names.len().min(NAMES_MAX) } else { NAMES_MAX };
        // One of a source that has its share displaces one of that source.
        let worth = |one: &Name| {
            let is_spared = is_too_many && one.source != source;
            (is_spared, Reverse(one.source.rank()), one.seen.last_seen)
        };
        let outcome = add(&mut self.names, limit, name, same, merge, worth);
        self.note(outcome)
    }

    /// A hint at the operating system; is it news?
    pub fn add_hint(&mut self, hint: OsHint) -> bool {
        let same = |one: &OsHint, other: &OsHint| one.os == other.os && one.source == other.source;
        let merge = |known: &mut OsHint, new: OsHint| {
            known.seen.again(new.seen);
            let surer = new.confidence > known.confidence;
            known.confidence = known.confidence.max(new.confidence);
            surer
        };
        let worth = |one: &OsHint| (one.source != TCP_STACK, one.seen.last_seen);
        let outcome = add(&mut self.hints, HINTS_MAX, hint, same, merge, worth);
        self.note(outcome)
    }

    /// The best of its hints: the surest, of those the latest; that of TCP's options only where there is none else.
    pub fn os(&self) -> Option<&OsHint> {
        self.hints.iter().max_by_key(|hint| (hint.confidence, hint.source != TCP_STACK, hint.seen.last_seen, &hint.os))
    }

    /// A finding; is it news?
    pub fn add_finding(&mut self, finding: Finding) -> bool {
        let same = |one: &Finding, other: &Finding| one.id == other.id;
        let merge = |known: &mut Finding, new: Finding| {
            known.count = known.count.saturating_add(new.count);
            let time = new.seen.last_seen;
            let is_earlier = known.seen.again(new.seen);
            let mut surer = new.confidence > known.confidence;
            if new.vulnerabilities.is_empty() {
                known.confidence = known.confidence.max(new.confidence);
            } else if known.vulnerabilities != new.vulnerabilities {
                // Of one version the rules tell the same, unless they are others than before.
                surer = true;
                (known.severity, known.confidence, known.evidence) =
                    (new.severity, new.confidence, new.evidence.clone());
                (known.vulnerabilities, known.reference) = (new.vulnerabilities, new.reference);
            }
            if is_earlier {
                known.evidence = new.evidence;
            }
            let news = surer || time.since(known.told) >= NEWS_NS;
            if news {
                known.told = time;
                known.revision = new.revision;
            }
            news
        };
        // Of one severity a kind of which there are many gives way first: eighty ports with one fault hide no other.
        let mut counts = BTreeMap::new();
        if self.findings.len() >= FINDINGS_MAX {
            for one in self.findings.iter().chain([&finding]) {
                *counts.entry(one.kind.clone()).or_insert(0_usize) += 1;
            }
        }
        let count = |one: &Finding| counts.get(&one.kind).copied().unwrap_or(0);
        let worth = |one: &Finding| (Reverse((one.severity, count(one))), one.seen.last_seen);
        let outcome = add(&mut self.findings, FINDINGS_MAX, finding, same, merge, worth);
        self.note(outcome)
    }

    /// What was found is not so; was it there?
    pub fn remove_finding(&mut self, id: &str) -> bool {
        let before = self.findings.len();
        self.findings.retain(|one| one.id != id);
        self.findings.len() < before
    }

    /// Takes over what is known of a host that turned out to be this one.
    pub fn join(&mut self, other: Host) {
        for address in other.addresses {
            self.add_address(address);
        }
        for one in other.macs {
            self.add_mac(one);
        }
        for one in other.names {
            self.add_name(one);
        }
        for one in other.services {
            self.add_service(one);
        }
        for one in other.hints {
            self.add_hint(one);
        }
        for one in other.findings {
            self.add_finding(one);
        }
        self.not_kept += other.not_kept;
        self.seen.again(other.seen);
    }
}

/// Text from the wire as it is kept, one harmless line (`control::text`) without blanks around it, cut at [`TEXT_MAX`]
/// bytes.
pub fn kept(bytes: &[u8]) -> String {
    let mut text = String::new();
    // Cut before too, behind the last character that has room.
    crate::control::text::push_line(bytes.get(..TEXT_MAX + 4).unwrap_or(bytes), &mut text);
    while text.len() > TEXT_MAX {
        text.pop();
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests;
