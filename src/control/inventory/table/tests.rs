//! The table fed with events as inspection sends them.

use super::super::host::{FINDINGS_MAX, NAMES_MAX, SERVICES_MAX};
use super::super::rules::Rules;
use super::*;
use crate::dataplane::decode::{Direction, FlowKey};
use crate::dataplane::flow::Side;
use crate::dataplane::inspect::{Facts, Protocol, dhcp, http, mdns, redis, ssh};
use crate::units::SECOND;
use std::cmp::Reverse;
use std::sync::Arc;

mod answers;

fn inventory() -> Inventory {
    Inventory::new(Settings::with(Arc::new(Rules::shipped().unwrap())))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An event of 10.0.0.`client`:40000 with 10.0.0.`server`:`port` at second `at`.
fn head(protocol: Protocol, client: u8, server: u8, port: u16, transport: u8, at: u64) -> EventHead {
    let address = |last: u8| 0x0a00_0000 + u32::from(last);
    let (key, originator) = FlowKey::v4(address(client), 40_000, address(server), port, transport, 0);
    EventHead {
        time: Timestamp(at * SECOND),
        told: Timestamp(0),
        key,
        originator,
        sender: Side::Originator,
        first_seen: None,
        protocol,
        anomaly: None,
        truncated: false,
        bytes: 0,
        icmp: None,
        outer: None,
        through_proxy: false,
    }
}

fn ssh_event(inventory: &mut Inventory, server: u8, software: &str, at: u64) {
    let mut facts = Facts::default();
    facts.put(ssh::SERVER_VERSION, b"2.0");
    facts.put(ssh::SERVER_SOFTWARE, software.as_bytes());
    facts.put(ssh::HASSH_SERVER, b"curve25519-sha256;aes128-ctr,3des-cbc;hmac-sha1;none");
    inventory.observe(&head(Protocol::Ssh, 1, server, 22, 6, at), facts.as_bytes());
}

fn neighbour(address: u8, mac: u8) -> Neighbour {
    Neighbour { address: 0xffff_0a00_0000 + u128::from(address), mac: [2, 0, 0, 0, 0, mac], ..Neighbour::default() }
}

/// `fe80::` and `address`, which `mac` has.
fn neighbour6(address: u8, mac: u8) -> Neighbour {
    Neighbour { address: 0xfe80 << 112 | u128::from(address), is_ndp: true, ..neighbour(address, mac) }
}

#[test]
fn a_server_has_its_service_product_and_findings_once() {
    let mut inventory = inventory();
    for at in 100..110 {
        ssh_event(&mut inventory, 5, "OpenSSH_9.2p1", at);
    }
    let host = inventory.find("10.0.0.5").unwrap();
    let service = &host.services[0];
    assert_eq!(
        (service.port, service.transport.as_str(), service.protocol.as_str(), service.count),
        (22, "tcp", "ssh", 10)
    );
    assert_eq!(service.products[0].to_string(), "openssh 9.2p1");
    let mut kinds: Vec<_> = host.findings.iter().map(|one| (one.kind.as_str(), one.count)).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [("ssh_weak_cipher", 10), ("vulnerable_version", 10)]);
    let finding = host.findings.iter().find(|one| one.kind == "vulnerable_version").unwrap();
    assert_eq!(
        (finding.severity, finding.confidence, finding.detail.as_str()),
        (2, Confidence::Medium, "openssh 9.2p1")
    );
    let known: Vec<_> = finding.vulnerabilities.iter().map(|one| (one.cve.as_str(), one.severity, one.cvss)).collect();
    assert_eq!(known, [("CVE-2024-6387", 2, Some(8.1))], "and no Terrapin: CBC without EtM");
    let doubt = "; unless a distribution fixed it without a new version";
    assert!(finding.vulnerabilities.iter().all(|one| one.title.ends_with(doubt)), "{finding:?}");
    assert!(finding.evidence.ends_with(doubt), "{}", finding.evidence);
    assert!(inventory.find("10.0.0.1").unwrap().is_bare(), "a client, of which nothing else is known");
}

/// A key exchange that was seen decides, in whatever order it and mere greetings come; the latest counts.
#[test]
fn what_the_wire_shows_of_a_server_counts_more_than_its_version() {
    const LISTS: [&str; 3] = [
        "",
        "curve25519-sha256,kex-strict-s-v00@openssh.com;chacha20-poly1305@openssh.com;hmac-sha1;none",
        "curve25519-sha256;chacha20-poly1305@openssh.com;hmac-sha1;none",
    ];
    let told = |software: &str, flows: &[(usize, u64)]| {
        let mut inventory = inventory();
        for (lists, at) in flows {
            let mut facts = Facts::default();
            facts.put(ssh::SERVER_VERSION, b"2.0");
            facts.put(ssh::SERVER_SOFTWARE, software.as_bytes());
            facts.put(ssh::HASSH_SERVER, LISTS[*lists].as_bytes());
            inventory.observe(&head(Protocol::Ssh, 1, 5, 22, 6, *at), facts.as_bytes());
        }
        let host = inventory.find("10.0.0.5").unwrap();
        let known = host.findings.iter().flat_map(|one| &one.vulnerabilities);
        known.map(|one| format!("{} {:?}", one.cve, one.confidence)).collect::<Vec<_>>().join(", ")
    };
    let race = "CVE-2024-6387 Medium";
    for (software, flows, wanted) in [
        ("OpenSSH_8.7", &[(0, 1)][..], format!("{race}, CVE-2023-48795 Low")),
        ("OpenSSH_8.7", &[(1, 1)], race.to_owned()),
        ("OpenSSH_8.7", &[(2, 1)], format!("{race}, CVE-2023-48795 High")),
        ("OpenSSH_8.7", &[(1, 1), (0, 2)], race.to_owned()),
        ("OpenSSH_8.7", &[(0, 2), (1, 1)], race.to_owned()),
        // It was brought up to date.
        ("OpenSSH_8.7", &[(1, 2), (2, 1)], race.to_owned()),
        ("OpenSSH_8.7", &[(2, 1), (1, 2)], race.to_owned()),
        // Nothing else is known of the version: the finding goes.
        ("dropbear_2020.81", &[(0, 1)], "CVE-2023-48795 Low".to_owned()),
        ("dropbear_2020.81", &[(0, 1), (1, 2)], String::new()),
        ("dropbear_2020.81", &[(1, 2), (0, 3)], String::new()),
        ("OpenSSH_for_Windows_8.6", &[(0, 1)], "CVE-2023-48795 Low".to_owned()),
        ("OpenSSH_5.3", &[(0, 1)], "CVE-2016-6515 Medium, CVE-2016-6210 Medium, CVE-2018-15473 Medium".to_owned()),
    ] {
        assert_eq!(told(software, flows), wanted, "{software} {flows:?}");
    }
}

/// One banner is one finding, whatever the rules know of it: the worst first, of those alike the likely before the possible.
#[test]
fn what_is_known_of_a_version_is_one_finding() {
    let mut inventory = inventory();
    for (server, at) in [("Apache/2.4.49", 100), ("Apache/2.4.48 (Ubuntu)", 200), ("Apache/2.4.49", 300)] {
        let mut facts = Facts::default();
        facts.put(http::URL, b"/");
        facts.put_number(http::STATUS, 200);
        facts.put(http::SERVER, server.as_bytes());
        inventory.observe(&head(Protocol::Http, 1, 5, 80, 6, at), facts.as_bytes());
    }
    let host = inventory.find("10.0.0.5").unwrap();
    let mut found: Vec<_> = host.findings.iter().filter(|one| one.kind == "vulnerable_version").collect();
    found.sort_by_key(|one| &one.detail);
    assert_eq!(
        found.iter().map(|one| one.detail.as_str()).collect::<Vec<_>>(),
        ["apache 2.4.48 (Ubuntu)", "apache 2.4.49"]
    );
    assert_eq!(found.iter().map(|one| one.count).collect::<Vec<_>>(), [1, 2]);
    for one in found {
        let order: Vec<_> = one.vulnerabilities.iter().map(|one| (one.severity, Reverse(one.confidence))).collect();
        assert!(order.len() > 2 && order.is_sorted(), "{order:?}");
        let worst = &one.vulnerabilities[0];
        assert_eq!(
            (one.severity, one.confidence, &one.reference),
            (worst.severity, worst.confidence, &worst.reference)
        );
        assert!(one.vulnerabilities.iter().all(|one| one.reference.ends_with(&one.cve) && !one.title.is_empty()));
    }
}

/// What the rules say of a version now counts, not what they said before.
#[test]
fn other_rules_take_the_place_of_those_before() {
    let mut before = inventory();
    ssh_event(&mut before, 5, "OpenSSH_9.2p1", 100);
    let hosts: Vec<_> = before.hosts().map(|(key, host)| (key, host.clone())).collect();
    let text = "[[rule]]\nproduct = \"openssh\"\ncve = \"CVE-2030-0001\"\ntitle = \"t\"\nseverity = 1\nreference = \"https://x\"\n\
                affected = [{ before = \"10\" }]\n";
    let rules = crate::control::inventory::rules::Rules::parse(std::path::Path::new("x"), text).unwrap();
    let mut now = Inventory::new(Settings::with(std::sync::Arc::new(rules)));
    now.restore(hosts, before.revision());
    ssh_event(&mut now, 5, "OpenSSH_9.2p1", 200);
    let host = now.find("10.0.0.5").unwrap();
    let found: Vec<_> = host.findings.iter().filter(|one| one.kind == "vulnerable_version").collect();
    let known: Vec<_> = found[0].vulnerabilities.iter().map(|one| one.cve.as_str()).collect();
    assert_eq!((found.len(), found[0].severity, found[0].count, known), (1, 1, 2, vec!["CVE-2030-0001"]));
    assert!(found[0].evidence.contains("openssh 9.2p1: t"), "{}", found[0].evidence);
}

#[test]
fn only_home_is_kept_and_a_database_reached_from_elsewhere_is_a_finding() {
    let mut inventory = inventory();
    let (key, originator) = FlowKey::v4(0x0808_0808, 40_000, 0x0a00_0005, 6379, 6, 0);
    let head = EventHead { key, originator, ..head(Protocol::Redis, 1, 5, 6379, 6, 100) };
    let mut facts = Facts::default();
    facts.put(redis::COMMAND, b"INFO");
    facts.put_number(redis::ANSWERED, 1);
    inventory.observe(&head, facts.as_bytes());
    assert!(inventory.find("8.8.8.8").is_none());
    let host = inventory.find("10.0.0.5").unwrap();
    let mut kinds: Vec<_> = host.findings.iter().map(|one| (one.kind.as_str(), one.severity)).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [("database_reached_from_outside", 2), ("database_without_login", 1)]);
    facts.clear();
    facts.put(redis::COMMAND, b"INFO");
    facts.put_number(redis::ANSWERED, 2);
    inventory
        .observe(&EventHead { key: self::head(Protocol::Redis, 1, 6, 6379, 6, 100).key, ..head }, facts.as_bytes());
    assert!(inventory.find("10.0.0.6").is_none_or(|host| host.findings.is_empty()), "after a login");
}

#[test]
fn addresses_of_one_link_address_are_one_host_and_a_router_swallows_none() {
    let mut inventory = inventory();
    ssh_event(&mut inventory, 5, "OpenSSH_9.9", 100);
    ssh_event(&mut inventory, 6, "OpenSSH_9.9", 100);
    inventory.neighbour(Timestamp(101 * SECOND), &neighbour(5, 1));
    inventory.neighbour(Timestamp(102 * SECOND), &neighbour6(6, 1));
    let host = inventory.find("fe80::6").unwrap();
    assert_eq!((host.id(), host.addresses.len(), host.services.len()), ("10.0.0.5".into(), 2, 1));
    assert_eq!(host.macs[0].mac, "02:00:00:00:00:01");
    // A proxy that claims a whole network stops at the limit: the others stay hosts of their own.
    for address in 20..80 {
        inventory.neighbour(Timestamp(111 * SECOND), &neighbour6(address, 9));
    }
    assert_eq!(inventory.find("fe80::14").unwrap().addresses.len(), ADDRESSES_MAX);
    assert_eq!(inventory.find("fe80::4f").unwrap().addresses.len(), 1);
}

/// Forged replies of ARP name the attacker's link address for the gateway and a victim: neither becomes the attacker.
#[test]
fn a_link_address_that_claims_others_addresses_joins_none_and_is_told() {
    let software = |inventory: &Inventory, address: &str| {
        let host = inventory.find(address).unwrap();
        (host.addresses.len(), host.services.first().map(|one| one.banner.clone()))
    };
    for traffic_first in [true, false] {
        let mut inventory = inventory();
        let traffic = |inventory: &mut Inventory| {
            ssh_event(inventory, 2, "OpenSSH_9.6", 100);
            ssh_event(inventory, 66, "OpenSSH_7.1", 100);
        };
        if traffic_first {
            traffic(&mut inventory);
        }
        for (address, at) in [(66, 101), (2, 102), (10, 103)] {
            inventory.neighbour(Timestamp(at * SECOND), &neighbour(address, 66));
        }
        if !traffic_first {
            traffic(&mut inventory);
        }
        assert_eq!(software(&inventory, "10.0.0.2"), (1, Some("SSH-2.0-OpenSSH_9.6".into())));
        assert_eq!(software(&inventory, "10.0.0.66"), (1, Some("SSH-2.0-OpenSSH_7.1".into())));
        assert_eq!(software(&inventory, "10.0.0.10"), (1, None));
        let host = inventory.find("10.0.0.2").unwrap();
        let found = host.findings.iter().find(|one| one.kind == "link_address_of_two_hosts").unwrap();
        assert_eq!((found.confidence, found.detail.as_str()), (Confidence::Low, "02:00:00:00:00:42"));
        assert_eq!(found.evidence, "02:00:00:00:00:42 says that it has 10.0.0.2 and 10.0.0.66");
        // The gateway says who it is.
        inventory.neighbour(Timestamp(104 * SECOND), &neighbour(2, 2));
        let host = inventory.find("10.0.0.2").unwrap();
        assert!(host.findings.iter().any(|one| one.kind == "address_of_two_hosts"));
    }
    // Nor by neighbour discovery what has services of its own.
    let mut inventory = inventory();
    let (key, originator) = FlowKey::v6(0xfe80 << 112 | 1, 40_000, 0xfe80 << 112 | 2, 22, 6, 0);
    let mut facts = Facts::default();
    facts.put(ssh::SERVER_VERSION, b"2.0");
    facts.put(ssh::SERVER_SOFTWARE, b"OpenSSH_9.6");
    inventory.observe(&EventHead { key, originator, ..head(Protocol::Ssh, 1, 2, 22, 6, 100) }, facts.as_bytes());
    inventory.neighbour(Timestamp(101 * SECOND), &neighbour6(66, 66));
    inventory.neighbour(Timestamp(102 * SECOND), &neighbour6(2, 66));
    assert_eq!(software(&inventory, "fe80::2"), (1, Some("SSH-2.0-OpenSSH_9.6".into())));
}

/// Who gets another address later has not both.
#[test]
fn a_link_address_that_moves_on_is_no_finding() {
    let mut inventory = inventory();
    inventory.neighbour(Timestamp(100 * SECOND), &neighbour(5, 1));
    inventory.neighbour(Timestamp(100_000 * SECOND), &neighbour(6, 1));
    inventory.neighbour(Timestamp(100_300 * SECOND), &neighbour(6, 1));
    assert_eq!(inventory.stats().findings, 0);
    inventory.neighbour(Timestamp(100_301 * SECOND), &neighbour(5, 1));
    assert_eq!(inventory.stats().findings, 1, "it has both");
}

/// Made-up clients push out of what waits for an address the oldest only.
#[test]
fn a_flood_of_dhcp_clients_leaves_the_names_of_others_waiting() {
    let mut inventory = inventory();
    let note = |name: &str| Note::Name(About::Mac([0; 6]), NameSource::Dhcp, name.into());
    let mac = |number: u32| {
        let [a, b, c, d] = number.to_be_bytes();
        [2, 1, a, b, c, d]
    };
    for number in 0..WAITING_MAX as u32 + 10 {
        let time = Timestamp((100 + u64::from(number)) * SECOND);
        inventory.wait(Segment::default(), mac(number), note(&format!("host{number}")), time);
    }
    assert_eq!((inventory.waiting.len(), inventory.stats().not_kept), (WAITING_MAX, 10));
    let is_there = |number| inventory.waiting.contains_key(&(Segment::default(), mac(number)));
    assert!(!is_there(9) && is_there(10));
}

#[test]
fn a_second_link_address_is_a_finding_and_moves_nothing() {
    let mut inventory = inventory();
    ssh_event(&mut inventory, 5, "OpenSSH_9.9", 100);
    for (mac, at) in [(1, 101), (2, 102), (1, 103), (2, 104)] {
        inventory.neighbour(Timestamp(at * SECOND), &neighbour(5, mac));
    }
    let host = inventory.find("10.0.0.5").unwrap();
    let found: Vec<_> = host.findings.iter().filter(|one| one.kind == "address_of_two_hosts").collect();
    assert_eq!((found.len(), host.macs.len(), host.services.len()), (1, 2, 1));
    assert!(found[0].service.is_none() && found[0].evidence.contains("02:00:00:00:00:02"), "{:?}", found[0]);
}

/// A model alone may be passed on: it is its sender's where that is known by the instance's name.
#[test]
fn a_model_without_an_address_is_of_who_has_its_name() {
    let mut inventory = inventory();
    let mut say = |from: u8, name: &[u8], kind: u64, data: &[u8]| {
        let mut facts = Facts::default();
        facts.put_number(mdns::SET.qr, 1);
        let [[of, kind_of, ttl, data_of], ..] = mdns::SET.sections;
        facts.put(of, name);
        facts.put_number(kind_of, kind);
        facts.put_number(ttl, 120);
        facts.put(data_of, data);
        inventory.observe(&head(Protocol::Mdns, from, 251, 5353, 17, 100), facts.as_bytes());
        inventory.find(&format!("10.0.0.{from}")).and_then(Host::os).map(|one| one.os.clone())
    };
    let model: (&[u8], u64, &[u8]) = (b"Ann's Mac._device-info._tcp.local", 16, b"model=MacBookPro18,1");
    for (from, (name, kind, data), is_its) in [
        (1, model, false),
        (1, (b"gw.local", 1, b"10.0.0.1"), false),
        (7, (b"Anns-Mac.local", 1, b"10.0.0.7"), false),
        (1, model, false),
        (7, model, true),
    ] {
        let told = say(from, name, kind, data);
        assert_eq!(told.is_some_and(|os| os.contains("MacBookPro18,1")), is_its, "{from} {}", name.escape_ascii());
    }
}

/// A DHCP client says its name before it has an address; its server's answer may be seen first.
#[test]
fn dhcp_names_find_their_host_in_either_order() {
    let mac = [2, 0, 0, 0, 0, 7];
    let said = |inventory: &mut Inventory, is_answer: bool| {
        let mut facts = Facts::default();
        facts.put_number(dhcp::VERSION, 4);
        facts.put(dhcp::CLIENT_MAC, &mac);
        let (client, server) = if is_answer { (0x0a00_0001, 0xffff_ffff) } else { (0, 0xffff_ffff) };
        let (ports, kind) = if is_answer { ((67, 68), 5) } else { ((68, 67), 3) };
        facts.put_number(dhcp::MESSAGE, if is_answer { 2 } else { 1 });
        facts.put_number(dhcp::TYPE, kind);
        match is_answer {
            true => facts.put(dhcp::ASSIGNED_IP, &[10, 0, 0, 42]),
            false => {
                facts.put(dhcp::HOSTNAME, b"laptop");
                facts.put(dhcp::VENDOR_CLASS, b"MSFT 5.0");
            }
        }
        let (key, originator) = FlowKey::v4(client, ports.0, server, ports.1, 17, 0);
        let head = EventHead { key, originator, ..head(Protocol::Dhcp, 1, 2, 67, 17, 100) };
        inventory.observe(&head, facts.as_bytes());
    };
    for order in [[false, true], [true, false]] {
        let mut inventory = inventory();
        order.into_iter().for_each(|is_answer| said(&mut inventory, is_answer));
        let host = inventory.find("10.0.0.42").unwrap();
        assert_eq!((host.names.len(), host.names[0].name.as_str()), (1, "laptop"), "{order:?}");
        assert_eq!(host.names[0].source, NameSource::Dhcp);
        assert_eq!(host.os().unwrap().os, "Windows 2000 or later");
        assert_eq!(host.macs[0].mac, "02:00:00:00:00:07");
    }
}

/// However much comes, the table stays within its limits, and a host of which something is known outlives made-up ones.
#[test]
fn floods_stay_bounded_and_spare_what_is_known() {
    let settings = Settings { hosts: 200, bytes: 1 << 20, ..Settings::with(Arc::new(Rules::default())) };
    let mut inventory = Inventory::new(settings);
    ssh_event(&mut inventory, 5, "OpenSSH_9.9", 10);
    for number in 0..20_000_u32 {
        let (key, originator) = FlowKey::v4(0x0a01_0000 + number, 40_000, 0x0808_0808, 80, 6, 0);
        let head = EventHead { key, originator, ..head(Protocol::Http, 1, 2, 80, 6, 100 + u64::from(number)) };
        inventory.observe(&head, &[]);
    }
    let stats = inventory.stats();
    assert!(stats.hosts <= 200 && stats.evicted > 19_000 && stats.bytes <= 1 << 20, "{stats:?}");
    assert!(inventory.find("10.0.0.5").is_some());
    for number in 0..1_000_u32 {
        let made_up = Neighbour { address: 0xffff_0a02_0000 + u128::from(number), ..neighbour(0, 9) };
        inventory.neighbour(Timestamp((20_100 + u64::from(number)) * SECOND), &made_up);
    }
    let stats = inventory.stats();
    assert!(stats.hosts <= 200 && inventory.find("10.0.0.5").is_some(), "a link address is not much to know");
    assert_eq!(inventory.by_address.len() as u64, stats.hosts);
    assert!(inventory.take_gone().len() as u64 >= stats.evicted);
    // One host with thousands of ports, names and versions.
    for number in 0..5_000_u16 {
        let mut facts = Facts::default();
        facts.put_number(http::STATUS, 200);
        facts.put(http::SERVER, format!("Apache/2.4.{number} {}", "x".repeat(200)).as_bytes());
        facts.put(http::HOSTNAME, format!("{number}.{}", "y".repeat(240)).as_bytes());
        inventory.observe(&head(Protocol::Http, 1, 5, 1000 + number, 6, 30_000 + u64::from(number)), facts.as_bytes());
    }
    let host = inventory.find("10.0.0.5").unwrap();
    assert!(
        host.names.len() <= NAMES_MAX && host.services.len() <= SERVICES_MAX && host.findings.len() <= FINDINGS_MAX
    );
    assert!(host.not_kept > 9_000 && host.bytes() < 64 << 10, "{} {}", host.not_kept, host.bytes());
    let bytes: usize = inventory.hosts.values().map(Host::bytes).sum();
    assert_eq!(inventory.bytes, bytes, "the account of memory is right");
}

#[test]
fn readers_follow_changes_and_filters_hold() {
    use super::super::page::Filter;
    let mut inventory = inventory();
    for server in 10..40 {
        ssh_event(&mut inventory, server, "OpenSSH_9.2p1", 100);
    }
    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let page = inventory.page_of_hosts(after, &Filter::default(), 7);
        seen.extend(page.items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        after = page.next;
        if !page.has_more {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 31, "30 servers and their client");
    assert!(inventory.page_of_hosts(after, &Filter::default(), 7).items.is_empty());
    ssh_event(&mut inventory, 12, "OpenSSH_9.3p1", 101);
    let news = inventory.page_of_hosts(after, &Filter::default(), 7);
    assert_eq!((news.items.len(), news.items[0]["id"].as_str()), (1, Some("10.0.0.12")), "another version is news");
    let count = |filter: Filter| inventory.page_of_findings(0, &filter, 1000).items.len();
    assert_eq!(count(Filter::default()), 61, "a version and a weak cipher each, and another version of one");
    assert_eq!(count(Filter { kind: Some("ssh_weak_cipher".into()), ..Filter::default() }), 30);
    assert_eq!(count(Filter { severity: Some(2), ..Filter::default() }), 31);
    assert_eq!(count(Filter { address: super::super::network::Network::parse("10.0.0.12"), ..Filter::default() }), 3);
    for (service, wanted) in [("ssh", 61), ("22", 61), ("tcp/22", 61), ("openssh", 61), ("udp/22", 0), ("http", 0)] {
        assert_eq!(count(Filter { service: Some(service.into()), ..Filter::default() }), wanted, "{service}");
    }
    assert_eq!(count(Filter { since: Some(Timestamp(101 * SECOND)), ..Filter::default() }), 2);
    let hosts = |filter: Filter| inventory.page_of_hosts(0, &filter, 1000).items.len();
    assert_eq!(hosts(Filter { severity: Some(2), ..Filter::default() }), 30);
    assert_eq!(hosts(Filter { service: Some("openssh".into()), ..Filter::default() }), 30);
}

/// Whatever order several workers tell the same things in, the outcome is one.
#[test]
fn the_order_of_events_does_not_matter() {
    type Tell = Box<dyn Fn(&mut Inventory)>;
    let events: Vec<Tell> = vec![
        Box::new(|inventory| ssh_event(inventory, 5, "OpenSSH_9.2p1", 100)),
        Box::new(|inventory| ssh_event(inventory, 6, "OpenSSH_8.0", 101)),
        Box::new(|inventory| inventory.neighbour(Timestamp(102 * SECOND), &neighbour(5, 1))),
        Box::new(|inventory| inventory.neighbour(Timestamp(103 * SECOND), &neighbour(6, 1))),
        Box::new(|inventory| ssh_event(inventory, 5, "OpenSSH_9.3p1", 104)),
    ];
    let outcome = |order: &[usize]| {
        let mut inventory = inventory();
        order.iter().for_each(|place| events[*place](&mut inventory));
        let mut hosts: Vec<_> =
            inventory.hosts().map(|(_, host)| super::super::page::host_json(host).to_string()).collect();
        hosts.sort();
        hosts
    };
    let wanted = outcome(&[0, 1, 2, 3, 4]);
    assert_eq!(wanted.len(), 3);
    for order in [[4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [3, 2, 1, 0, 4]] {
        assert_eq!(outcome(&order), wanted, "{order:?}");
    }
}

#[test]
fn directions_are_those_of_the_flow() {
    // A datagram from a well-known port, seen first, is an answer.
    let (key, originator) = FlowKey::v4(0x0a00_0005, 161, 0x0a00_0001, 50_000, 17, 0);
    assert_eq!(originator, Direction::Reverse);
    let head = EventHead { key, originator, ..head(Protocol::Snmp, 1, 5, 161, 17, 1) };
    let event = Event::new(&head, &[]);
    assert_eq!((event.server.ip(), event.client.ip()), (ip("10.0.0.5"), ip("10.0.0.1")));
}
