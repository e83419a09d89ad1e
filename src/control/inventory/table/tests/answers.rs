//! Who serves, by what is answered over UDP.

use super::*;
use crate::dataplane::inspect::{dns, ntp, radius, sip, snmp, stun, tftp};

/// Servers that are known by what they say, whoever began the flow and whomever it is for.
#[test]
fn servers_of_the_link_are_services_by_their_answers() {
    const ALL: u32 = u32::MAX;
    let (client, server) = (0x0a00_0001, 0x0a00_0005);
    let dhcp_facts = |message: u64, kind: u64| {
        let mut facts = Facts::default();
        facts.put_number(dhcp::MESSAGE, message);
        facts.put_number(dhcp::TYPE, kind);
        facts.put(dhcp::CLIENT_MAC, &[2, 0, 0, 0, 0, 1]);
        facts
    };
    let numbers = |all: &[(crate::dataplane::inspect::Fact, u64)]| {
        let mut facts = Facts::default();
        all.iter().for_each(|(fact, number)| facts.put_number(*fact, *number));
        facts
    };
    let transfer = |file: &[u8]| {
        let mut facts = numbers(&[(tftp::OPCODE, 3)]);
        facts.put(tftp::FILE, file);
        facts
    };
    let dns_answer = || numbers(&[(dns::SET.qr, 1)]);
    let ntp_of = |mode: u64| numbers(&[(ntp::MODE, mode)]);
    let snmp_answer = || numbers(&[(snmp::PDU_TYPE, 2)]);
    let sip_answer = || numbers(&[(sip::STATUS, 200)]);
    let (originator, responder) = (Side::Originator, Side::Responder);
    for (name, protocol, (from, from_port), (to, to_port), sender, facts, wanted) in [
        ("asked", Protocol::Dhcp, (0, 68), (ALL, 67), originator, dhcp_facts(1, 1), &[][..]),
        ("an offer to all", Protocol::Dhcp, (server, 67), (ALL, 68), originator, dhcp_facts(2, 2), &["5 udp/67 dhcp"]),
        ("an offer", Protocol::Dhcp, (server, 67), (client, 68), originator, dhcp_facts(2, 2), &["5 udp/67 dhcp"]),
        ("renewed", Protocol::Dhcp, (client, 68), (server, 67), responder, dhcp_facts(2, 5), &["5 udp/67 dhcp"]),
        ("to a relay", Protocol::Dhcp, (client, 67), (server, 67), responder, dhcp_facts(2, 2), &["5 udp/67 dhcp"]),
        ("from a relay", Protocol::Dhcp, (client, 67), (server, 67), originator, dhcp_facts(1, 1), &[]),
        ("version 6", Protocol::Dhcp, (server, 547), (client, 546), originator, dhcp_facts(2, 7), &["5 udp/547 dhcp"]),
        (
            "RADIUS",
            Protocol::Radius,
            (client, 40_000),
            (server, 1812),
            responder,
            numbers(&[(radius::CODE, 2)]),
            &["1", "5 udp/1812 radius"],
        ),
        (
            "RADIUS, asked",
            Protocol::Radius,
            (client, 40_000),
            (server, 1812),
            originator,
            numbers(&[(radius::CODE, 1)]),
            &[],
        ),
        ("TFTP", Protocol::Tftp, (server, 3445), (client, 50_618), originator, transfer(b"x"), &["5 udp/69 tftp"]),
        ("TFTP, unasked", Protocol::Tftp, (server, 3445), (client, 50_618), originator, transfer(b""), &[]),
        // From the port that is asked, of a read and of a write.
        (
            "TFTP, read",
            Protocol::Tftp,
            (client, 50_618),
            (server, 69),
            responder,
            transfer(b"x"),
            &["1", "5 udp/69 tftp"],
        ),
        (
            "TFTP, written",
            Protocol::Tftp,
            (client, 50_618),
            (server, 69),
            originator,
            transfer(b"x"),
            &["1", "5 udp/69 tftp"],
        ),
        (
            "TURN",
            Protocol::Stun,
            (client, 50_000),
            (server, 443),
            responder,
            numbers(&[(stun::CLASS, 2), (stun::METHOD, 3)]),
            &["1", "5 udp/443 stun"],
        ),
        // Whoever was seen first, who answers serves.
        ("DNS", Protocol::Dns, (client, 53), (server, 53), responder, dns_answer(), &["1", "5 udp/53 dns"]),
        (
            "a DNS answer first",
            Protocol::Dns,
            (server, 53),
            (client, 53),
            originator,
            dns_answer(),
            &["1", "5 udp/53 dns"],
        ),
        ("a DNS answer to a server", Protocol::Dns, (client, 40_000), (server, 53), originator, dns_answer(), &[]),
        ("NTP", Protocol::Ntp, (client, 123), (server, 123), responder, ntp_of(4), &["1", "5 udp/123 ntp"]),
        (
            "an NTP answer first",
            Protocol::Ntp,
            (server, 123),
            (client, 123),
            originator,
            ntp_of(4),
            &["1", "5 udp/123 ntp"],
        ),
        ("NTP, asked", Protocol::Ntp, (client, 123), (server, 123), originator, ntp_of(3), &[]),
        ("SNMP", Protocol::Snmp, (client, 161), (server, 161), responder, snmp_answer(), &["1", "5 udp/161 snmp"]),
        (
            "an SNMP answer first",
            Protocol::Snmp,
            (server, 161),
            (client, 161),
            originator,
            snmp_answer(),
            &["1", "5 udp/161 snmp"],
        ),
        ("SIP", Protocol::Sip, (client, 5060), (server, 5060), responder, sip_answer(), &["1", "5 udp/5060 sip"]),
        (
            "a SIP answer first",
            Protocol::Sip,
            (server, 5060),
            (client, 5060),
            originator,
            sip_answer(),
            &["1", "5 udp/5060 sip"],
        ),
        (
            "at ports of its own",
            Protocol::Sip,
            (server, 5080),
            (client, 5090),
            originator,
            sip_answer(),
            &["1", "5 udp/5080 sip"],
        ),
        // Of a port that is none of this protocol's, and of one that is.
        (
            "from 20000",
            Protocol::Dns,
            (client, 20_000),
            (server, 5335),
            responder,
            dns_answer(),
            &["1", "5 udp/5335 dns"],
        ),
        (
            "first to 20000",
            Protocol::Dns,
            (server, 5335),
            (client, 20_000),
            originator,
            dns_answer(),
            &["1", "5 udp/5335 dns"],
        ),
        ("from 53", Protocol::Dns, (client, 53), (server, 5335), responder, dns_answer(), &["1", "5 udp/5335 dns"]),
        (
            "a phone at 5060",
            Protocol::Sip,
            (client, 5060),
            (server, 5080),
            responder,
            sip_answer(),
            &["1", "5 udp/5080 sip"],
        ),
        (
            "first to 5060",
            Protocol::Sip,
            (server, 5080),
            (client, 5060),
            originator,
            sip_answer(),
            &["1", "5 udp/5080 sip"],
        ),
        ("a phone's answer", Protocol::Sip, (server, 5060), (client, 40_000), responder, sip_answer(), &[]),
        (
            "a peer",
            Protocol::Stun,
            (client, 50_000),
            (server, 50_001),
            responder,
            numbers(&[(stun::CLASS, 2), (stun::METHOD, 1)]),
            &[],
        ),
    ] {
        let (key, way) = FlowKey::v4(from, from_port, to, to_port, 17, 0);
        let head = EventHead { key, originator: way, sender, ..head(protocol, 1, 5, 1, 17, 100) };
        let mut inventory = inventory();
        inventory.observe(&head, facts.as_bytes());
        let services = |host: &Host| -> String {
            let told = |one: &Service| format!(" {}/{} {}", one.transport, one.port, one.protocol);
            host.services.iter().map(told).collect()
        };
        let told = |host: &Host| format!("{}{}", host.addresses[0].address, services(host)).replace("10.0.0.", "");
        let mut hosts: Vec<_> = inventory.hosts().map(|(_, host)| told(host)).collect();
        hosts.sort();
        assert_eq!(hosts, wanted, "{name}");
    }
}
