//! What is found, as it is told.

use super::claims::TAKEN_NS;
use super::frames::{Frames, Taken};
use super::servers::Server;
use super::{Mac, Settings, ip, mac_text};
use crate::control::behaviour::observation::{Answer, Dns, Lease, Observation};
use crate::dataplane::decode::Neighbour;
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::units::SECOND;

fn of_link(seen: &Observation, kind: &str, technique: &str) -> Evidence {
    Evidence {
        severity: 1,
        confidence: 0.9,
        protocol: None,
        technique: Some(technique.into()),
        flow: seen.origin.flow(false),
        ..seen.evidence(Detector::Spoofing, kind)
    }
}

/// By ARP there is no protocol over IP; by neighbour discovery it is ICMPv6.
fn protocol_of(neighbour: &Neighbour) -> Option<u8> {
    const ICMP_V6: u8 = 58;
    neighbour.is_ndp.then_some(ICMP_V6)
}

/// What is known of the owners of addresses that were taken over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// One is still there and contradicts the claim.
    Contradicted,
    /// Nothing yet.
    Open,
    /// Who claims them has been a gateway for a short while.
    Router,
    /// He announces them as a virtual router's master, and so did the owners.
    Masters,
}

/// Who claims an address in turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quarrel {
    /// Two hosts, within a minute.
    Hosts,
    /// Two cards, of which nobody knows whose.
    Open,
    /// Masters of a virtual router.
    Masters,
}

pub(super) fn taken(
    seen: &Observation,
    neighbour: &Neighbour,
    victims: &[String],
    proof: Proof,
    settings: &Settings,
) -> Evidence {
    let (address, mac) = (ip(neighbour.address), mac_text(neighbour.mac));
    let minutes = TAKEN_NS / SECOND / 60;
    let (severity, confidence, how) = match proof {
        Proof::Contradicted => (1, 0.95, format!("the owner of {address} is still there and contradicts it")),
        Proof::Open => (2, 0.7, "whether their owners are still there has not shown yet".to_owned()),
        Proof::Router => (3, 0.5, "a server of DHCP has named it as a gateway for less than an hour".to_owned()),
        Proof::Masters => {
            (3, 0.4, "it announces them by VRRP, as these did: a backup stands in for them so".to_owned())
        }
    };
    let is_contradicted = proof == Proof::Contradicted;
    Evidence {
        severity,
        confidence,
        target: Some(address),
        protocol: protocol_of(neighbour),
        summary: format!(
            "{mac} took over addresses of {} hosts ({}) within {minutes} minutes, {address} the latest, and {how}: what these send \
             to each other may go through it",
            victims.len(),
            victims.join(", ")
        ),
        terms: vec![
            Term::exact("hosts_taken_over", victims.len() as f64).against(Relation::AtLeast, settings.victims),
            Term::exact("contradicted_by_the_owner", f64::from(u8::from(is_contradicted))),
        ],
        source_mac: Some(mac),
        ..of_link(seen, "arp_man_in_the_middle", "T1557.002")
    }
}

pub(super) fn contest(
    seen: &Observation,
    neighbour: &Neighbour,
    [taker, other]: [Mac; 2],
    (turns, needed): (u32, f64),
    quarrel: Quarrel,
) -> Evidence {
    let (address, taker, other) = (ip(neighbour.address), mac_text(taker), mac_text(other));
    let (severity, confidence, how) = match quarrel {
        Quarrel::Hosts => (2, 0.8, ", within a minute, and they are two hosts: one of them takes it from the other"),
        Quarrel::Open => (3, 0.6, ": one of them takes it from the other"),
        Quarrel::Masters => (3, 0.3, ", and announce it by VRRP: a virtual router whose master changes back and forth"),
    };
    Evidence {
        severity,
        confidence,
        target: Some(address),
        protocol: protocol_of(neighbour),
        summary: format!("{taker} and {other} claim {address} in turn{how}"),
        terms: vec![
            Term::exact("turns", f64::from(turns)).against(Relation::AtLeast, needed),
            Term::exact("turns_within_a_minute_and_of_two_hosts", f64::from(u8::from(quarrel == Quarrel::Hosts))),
            Term::exact("announced_by_both", f64::from(u8::from(quarrel == Quarrel::Masters))),
        ],
        source_mac: Some(taker),
        ..of_link(seen, "arp_contest", "T1557.002")
    }
}

fn of_frames(seen: &Observation, taken: &Taken, kind: &str) -> Evidence {
    Evidence {
        source: None,
        target: Some(ip(taken.address)),
        port: None,
        source_mac: Some(mac_text(taken.taker)),
        flow: seen.origin.flow(true),
        ..of_link(seen, kind, "T1557.002")
    }
}

/// Connections go to another card, and from that to the owner's.
pub(super) fn relayed(seen: &Observation, taken: &Taken, frames: &Frames, settings: &Settings) -> Evidence {
    let (address, taker, owner) = (ip(taken.address), mac_text(taken.taker), mac_text(taken.owner));
    let is_divided = frames.is_divided();
    let (severity, confidence, how) = match taken.is_unasked {
        true if is_divided => (2, 0.6, "unasked"),
        true => (1, 0.95, "unasked"),
        false => (3, 0.5, "where it is asked, as a router with proxy ARP does"),
    };
    let divided = if is_divided { "; others to the same port were not, as a load balancer does it" } else { "" };
    Evidence {
        severity,
        confidence,
        summary: format!(
            "{taker} says {how} that {address} is its own; {} connections to {address} went to it, and were passed on to {owner}, which \
             has the address: it is in the middle of them{divided}",
            frames.relayed
        ),
        terms: vec![
            Term::exact("connections_passed_on", f64::from(frames.relayed))
                .against(Relation::AtLeast, settings.connections),
            Term::exact("claimed_unasked", f64::from(u8::from(taken.is_unasked))),
            Term::exact("port_divided", f64::from(u8::from(is_divided))),
        ],
        ..of_frames(seen, taken, "arp_man_in_the_middle")
    }
}

/// The owner of an address goes on while another card claims it.
pub(super) fn spoken(seen: &Observation, taken: &Taken, frames: &Frames, settings: &Settings) -> Evidence {
    let (address, taker, owner) = (ip(taken.address), mac_text(taken.taker), mac_text(taken.owner));
    let (severity, confidence) = if taken.are_masters { (3, 0.3) } else { (2, 0.8) };
    let how = if taken.are_masters {
        "both announce it by VRRP, and are masters"
    } else {
        "one of them takes it from the other"
    };
    Evidence {
        severity,
        confidence,
        summary: format!(
            "{taker}, which has an address of its own, says unasked that {address} is its own too, but {owner} goes on to speak from it \
             ({} connections meanwhile): {how}",
            frames.owners
        ),
        terms: vec![
            Term::exact("connections_of_the_owner", f64::from(frames.owners))
                .against(Relation::AtLeast, settings.connections),
        ],
        ..of_frames(seen, taken, "arp_contest")
    }
}

pub(super) fn rogue(seen: &Observation, lease: &Lease, other: &Server) -> Evidence {
    const SERVER_PORT: u16 = 67;
    let (server, before) = (ip(lease.server), ip(other.address));
    let routes = lease.routers_named.contains(&lease.server);
    let differs = if lease.routers != other.routers { "gateway" } else { "name server" };
    let itself = if routes { ", itself" } else { "" };
    Evidence {
        severity: if routes { 1 } else { 2 },
        confidence: if other.answers > 1 { 0.9 } else { 0.7 },
        // Whoever asks is given one: it is about the server, and one affair.
        source: Some(server),
        port: Some(SERVER_PORT),
        protocol: Some(seen.origin.protocol()),
        summary: format!(
            "{server} gives out addresses, {} the latest, with another {differs}{itself} than the DHCP server {before} does",
            ip(lease.address)
        ),
        terms: vec![
            Term::exact("answers_of_the_other_server", f64::from(other.answers)),
            Term::exact("other_server_known_s", (seen.time.since(other.first) / SECOND) as f64),
            Term::exact("gateway_differs", f64::from(u8::from(lease.routers != other.routers))),
            Term::exact("name_server_differs", f64::from(u8::from(lease.resolvers != other.resolvers))),
        ],
        ..of_link(seen, "rogue_dhcp", "T1557.003")
    }
}

pub(super) fn starvation(seen: &Observation, askers: f64, least: f64) -> Evidence {
    Evidence {
        severity: 2,
        confidence: 0.8,
        protocol: Some(seen.origin.protocol()),
        summary: format!(
            "{askers} link addresses asked for a first address by DHCP within ten seconds: the server's addresses are used up"
        ),
        terms: vec![Term::exact("distinct_link_addresses", askers).against(Relation::AtLeast, least)],
        ..of_link(seen, "dhcp_starvation", "T1499.003")
    }
}

pub(super) fn rogue_dns(seen: &Observation, dns: &Dns, count: usize, settings: &Settings) -> Evidence {
    let (client, server) = (dns.client.ip(), dns.server.ip());
    Evidence {
        severity: 3,
        confidence: 0.7,
        source: Some(server),
        target: Some(client),
        port: Some(dns.server.port),
        summary: format!(
            "{server} says of names of {count} registrants that they are its own address, of {} to {client} the latest",
            dns.name
        ),
        terms: vec![Term::exact("distinct_names_of_its_own", count as f64).against(Relation::AtLeast, settings.names)],
        technique: Some("T1557".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::Spoofing, "rogue_dns")
    }
}

pub(super) fn poisoning(seen: &Observation, answer: &Answer, names: usize, settings: &Settings) -> Evidence {
    let responder = ip(answer.responder);
    Evidence {
        source: Some(responder),
        target: Some(ip(answer.asker)),
        port: Some(answer.port),
        protocol: Some(seen.origin.protocol()),
        summary: format!(
            "{responder} says in {} that {names} names are its own, {} the latest: whoever looks for them logs in there",
            answer.how, answer.name
        ),
        terms: vec![Term::exact("names_of_one_host", names as f64).against(Relation::AtLeast, settings.names)],
        ..of_link(seen, "name_poisoning", "T1557.001")
    }
}
