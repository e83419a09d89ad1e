//! Takeovers, servers and names that are not what they say, and what looks like them.

use super::super::tests::{Wire, host, outside};
use crate::dataplane::inspect::{Facts, Protocol, dhcp, dns, llmnr, nbns};
use crate::units::SECOND;

const ROUTER: u32 = 1;
const MINUTE: u64 = 60 * SECOND;

/// Kinds of what is found, with their severity.
fn found(wire: &Wire) -> Vec<(String, u8)> {
    wire.evidence().into_iter().map(|one| (one.kind, one.severity)).collect()
}

fn neighbours(claims: &[(u64, u32, u8)]) -> Wire {
    let mut wire = Wire::default();
    claims.iter().for_each(|(minute, address, mac)| wire.neighbour(minute * MINUTE, host(*address), *mac));
    wire
}

#[test]
fn takeovers_are_told_and_moves_are_not() {
    let taken = ("arp_man_in_the_middle".to_owned(), 2);
    let proved = ("arp_man_in_the_middle".to_owned(), 1);
    let contested = [("arp_contest".to_owned(), 3)];
    for (what, claims, wanted) in [
        (
            "between a host and its router, of which nothing more is heard",
            &[(0, ROUTER, 1), (0, 7, 7), (5, ROUTER, 66), (5, 7, 66)][..],
            &[taken.clone()][..],
        ),
        (
            "the same, and the router is still there",
            &[(0, ROUTER, 1), (0, 7, 7), (5, ROUTER, 66), (5, 7, 66), (6, ROUTER, 1), (7, ROUTER, 66)],
            &[taken, proved],
        ),
        (
            "of the router alone, which goes on",
            &[(0, ROUTER, 1), (5, ROUTER, 66), (6, ROUTER, 1), (11, ROUTER, 66)],
            &contested,
        ),
        ("a new network card", &[(0, 7, 7), (5, 7, 8), (10, 7, 8), (15, 7, 8)], &[]),
        (
            "fail-over of one with many addresses",
            &[(0, 2, 2), (0, 3, 2), (0, 4, 2), (5, 2, 9), (5, 3, 9), (5, 4, 9)],
            &[],
        ),
        ("and back", &[(0, 2, 2), (0, 3, 2), (5, 2, 9), (5, 3, 9), (20, 2, 2), (20, 3, 2)], &[]),
        ("two moves that have nothing to do with each other", &[(0, 2, 2), (0, 3, 3), (5, 2, 9), (25, 3, 9)], &[]),
        ("addresses that nobody had for an hour", &[(0, 2, 2), (0, 3, 3), (61, 2, 9), (62, 3, 9)], &[]),
        ("a host with many addresses", &[(0, 2, 2), (1, 3, 2), (2, 4, 2), (3, 5, 2)], &[]),
        ("one address of hosts that come and go", &[(0, 2, 2), (1, 2, 3), (2, 2, 9), (3, 2, 4), (4, 2, 9)], &[]),
    ] {
        assert_eq!(found(&neighbours(claims)), wanted, "{what}");
    }
    let told = neighbours(&[(0, ROUTER, 1), (0, 7, 7), (5, ROUTER, 66), (5, 7, 66)]).evidence();
    assert_eq!(told[0].source_mac.as_deref(), Some("02:00:00:00:00:42"));
    assert_eq!((told[0].technique.as_deref(), told[0].protocol), (Some("T1557.002"), None));
}

/// Claims of one address every ten seconds, by its owner and by another in turn; before, each spoke for what is its own.
#[test]
fn a_host_that_takes_the_routers_address_is_told_as_one() {
    let run = |own: &[(u32, u8)], pause: u64, macs: [u8; 2]| {
        let mut wire = Wire::default();
        (0..).zip(own).for_each(|(at, (address, mac))| wire.neighbour(at * SECOND, host(*address), *mac));
        (0..8).for_each(|turn| wire.neighbour((10 + turn * pause) * SECOND, host(ROUTER), macs[turn as usize % 2]));
        found(&wire)
    };
    let told = |severity| Some(("arp_contest".to_owned(), severity));
    let first = |found: Vec<(String, u8)>| found.into_iter().next();
    assert_eq!(first(run(&[(ROUTER, 1), (66, 66)], 10, [66, 1])), told(2), "an attacker, towards the router alone");
    assert_eq!(first(run(&[(ROUTER, 1), (66, 66)], 300, [66, 1])), told(3), "slowly");
    assert_eq!(first(run(&[(ROUTER, 1)], 10, [2, 1])), told(3), "a bond that balances by ARP");
    assert_eq!(first(run(&[(ROUTER, 1), (2, 2), (2, 1)], 10, [2, 1])), None, "two cards of one host (ARP flux)");
    let mut wire = Wire::default();
    wire.neighbour(0, host(ROUTER), 1);
    (0..8).for_each(|turn| wire.neighbour((10 + turn) * SECOND, host(ROUTER), [2, 1][turn as usize % 2]));
    assert_eq!(found(&wire).len(), 1);
}

/// Two of keepalived, each with an address of its own, between which a virtual router's address moves each minute.
#[test]
fn masters_that_change_back_and_forth_are_an_outage() {
    const VIRTUAL: u32 = 100;
    let run = |announced: &[(u64, u8)], moves: &[(u64, u8)]| {
        let mut wire = neighbours(&[(0, 51, 1), (0, 52, 2), (0, 66, 66)]);
        announced.iter().for_each(|(at, mac)| wire.announce(at * SECOND / 10, host(VIRTUAL), *mac));
        moves.iter().for_each(|(at, mac)| wire.neighbour(at * SECOND, host(VIRTUAL), *mac));
        found(&wire).into_iter().next()
    };
    let told = |severity| Some(("arp_contest".to_owned(), severity));
    let moves = [(1, 1), (40, 2), (80, 1), (120, 2)];
    let tenths: Vec<_> = moves.iter().map(|(at, mac)| (at * 10, *mac)).collect();
    assert_eq!(run(&[], &moves), told(2), "who announces nothing");
    assert_eq!(run(&tenths, &moves), told(3), "each announces it while he has it");
    let other = [(1, 1), (40, 66), (80, 1), (120, 66)];
    assert_eq!(run(&[(10, 1), (3000, 1)], &other), told(2), "another host, and one master");
    // Whose announcement silences nobody: the master's goes on a second later, and the other's comes again.
    let beside: Vec<_> = (0..120).map(|second| (10 + second * 10, if second % 2 == 0 { 66 } else { 1 })).collect();
    assert_eq!(run(&beside, &other), told(2), "another host that announces it too, beside the master");
    assert_eq!(run(&[(10, 1), (400, 66), (400, 1), (800, 66)], &other), told(3), "two that crossed on their way");
}

/// A node that takes over virtual addresses of two others is a backup; one that takes another host's too is not.
#[test]
fn a_backup_of_two_masters_is_no_man_in_the_middle() {
    let run = |announced: &[(u64, u32, u8)]| {
        let mut wire = neighbours(&[(0, 100, 1), (0, 101, 2), (0, 53, 3)]);
        announced.iter().for_each(|(minute, address, mac)| wire.announce(minute * MINUTE, host(*address), *mac));
        wire.neighbour(5 * MINUTE, host(100), 3);
        wire.neighbour(6 * MINUTE, host(101), 3);
        found(&wire)
    };
    let taken = |severity| vec![("arp_man_in_the_middle".to_owned(), severity)];
    assert_eq!(run(&[]), taken(2));
    assert_eq!(run(&[(0, 100, 1), (0, 101, 2), (5, 100, 3), (6, 101, 3)]), taken(3));
    assert_eq!(run(&[(0, 100, 1), (5, 100, 3)]), taken(3), "one of them");
    assert_eq!(run(&[(5, 100, 3), (6, 101, 3)]), taken(2), "who announces what nobody did");
}

/// One card claims the router's address towards one host, which goes on to open connections; each has said before what is its own.
#[test]
fn the_owners_frames_contradict_who_claims_his_address() {
    /// When who claims it (second, card, unasked), and how connections begin from then on.
    type Case<'a> = (&'a str, &'a [(u64, u8, bool)], (u64, [u8; 4]), Option<(&'a str, u8)>);
    let (relayed, direct, taken) = ([7, 66, 1, 1], [9, 1, 0, 1], [7, 66, 0, 66]);
    let claim = &[(10, 66, true)][..];
    let cases: [Case<'_>; 10] = [
        ("as arpspoof does it, seen on both sides", claim, (15, relayed), Some(("arp_man_in_the_middle", 1))),
        (
            "the same by who answers when he is asked",
            &[(10, 66, false)],
            (15, relayed),
            Some(("arp_man_in_the_middle", 3)),
        ),
        ("the others go on to reach the router", claim, (15, direct), Some(("arp_contest", 2))),
        ("who asked is answered (two cards of one host)", &[(10, 66, false)], (15, direct), None),
        ("of a card without an address (a bond)", &[(10, 2, true)], (15, direct), None),
        ("fail-over, whose old owner is silent", claim, (15, taken), None),
        ("on their way at the fail-over", claim, (10, direct), None),
        ("before it", claim, (5, direct), None),
        ("the owner has it back", &[(10, 66, true), (12, 1, true)], (15, direct), None),
        (
            "and loses it again",
            &[(10, 66, true), (12, 1, true), (13, 66, true)],
            (15, relayed),
            Some(("arp_man_in_the_middle", 1)),
        ),
    ];
    for (case, claims, (began, cards), wanted) in cases {
        let mut wire = neighbours(&[(0, ROUTER, 1)]);
        for (address, mac) in [(7, 7), (9, 9), (66, 66)] {
            wire.neighbour(SECOND, host(address), mac);
        }
        for (at, mac, is_unasked) in claims {
            wire.neighbour(at * SECOND, host(ROUTER), *mac);
            if *is_unasked {
                wire.unasked();
            }
        }
        for at in 0..3 {
            wire.flow(
                began * SECOND + at * SECOND / 4,
                (host(cards[0].into()), host(ROUTER), 443),
                [100, 100],
                (SECOND / 100, 1),
            );
            wire.cards(cards);
        }
        let told: Vec<_> =
            found(&wire).into_iter().filter(|(_, severity)| wanted.is_none_or(|(_, of)| of == *severity)).collect();
        assert_eq!(
            told,
            wanted.map(|(kind, severity)| (kind.to_owned(), severity)).into_iter().collect::<Vec<_>>(),
            "{case}"
        );
    }
}

/// Two nodes that balance and serve under one address, of which the second claims it unasked at 10 s: cards of each connection.
#[test]
fn a_balancer_that_serves_too_is_no_man_in_the_middle() {
    let told = |connections: &[(u64, u16, [u8; 4])]| {
        let mut wire = neighbours(&[(0, ROUTER, 1)]);
        [(51, 1), (66, 66)].into_iter().for_each(|(address, mac)| wire.neighbour(SECOND, host(address), mac));
        let (before, after): (Vec<_>, Vec<_>) = connections.iter().partition(|(at, ..)| *at < 10);
        let connect = |wire: &mut Wire, all: Vec<&(u64, u16, [u8; 4])>| {
            for (at, port, cards) in all {
                let ends = (host(cards[0].into()), host(ROUTER), *port);
                wire.flow(at * SECOND, ends, [100, 100], (SECOND / 100, 1));
                wire.cards(*cards);
            }
        };
        connect(&mut wire, before);
        wire.neighbour(10 * SECOND, host(ROUTER), 66);
        wire.unasked();
        connect(&mut wire, after);
        found(&wire)
    };
    let (passed, own, third) = ([7, 66, 1, 1], [7, 66, 0, 66], [7, 66, 5, 5]);
    let alert = |severity| vec![("arp_man_in_the_middle".to_owned(), severity)];
    let relayed = [(15, 80, passed), (16, 80, passed)];
    let with = |first: &[(u64, u16, [u8; 4])]| [first, &relayed].concat();
    assert_eq!(told(&with(&[(5, 80, [7, 1, 66, 66])])), [], "the owner passed connections to it before");
    assert_eq!(told(&with(&[(5, 80, [7, 1, 5, 5])])), alert(1), "to another");
    assert_eq!(told(&with(&[(5, 80, [7, 1, 0, 1])])), alert(1), "to nobody");
    assert_eq!(told(&with(&[(12, 80, own)])), alert(2), "it answers some of the same port");
    assert_eq!(told(&with(&[(12, 80, third)])), alert(2), "a third does");
    assert_eq!(told(&with(&[(12, 443, own)])), alert(1), "a proxy of one port answers all of it");
}

/// A server of DHCP hands out an address that another host uses, to one that does not take it, and again.
#[test]
fn a_lease_that_nobody_takes_is_nobodys_loss() {
    let mut wire = neighbours(&[(0, 7, 7)]);
    for turn in 0..4_u8 {
        let at_s = 60 + u64::from(turn) * 120;
        lease(&mut wire, Given { at_s, client: 20 + turn, exchange: u64::from(turn), ..GIVEN }, 7);
        wire.neighbour((at_s + 20) * SECOND, host(7), 7);
    }
    assert_eq!(found(&wire), []);
    // A router that answers for the hosts behind it, and one that has become one a minute ago, as a rogue server makes itself.
    for (known_s, wanted) in [(4000, None), (60, Some(3))] {
        let mut wire = neighbours(&[(0, ROUTER, 1)]);
        lease(&mut wire, Given { at_s: 30, client: 9, ..GIVEN }, 9);
        for (address, mac) in [(7, 7), (8, 8)] {
            wire.neighbour((known_s - 5) * SECOND, host(address), mac);
        }
        for turn in 0..4 {
            for (address, mac) in [(7, 1), (8, 1), (7, 7), (8, 8)] {
                wire.neighbour((known_s + turn * 20 + u64::from(mac)) * SECOND, host(address), mac);
            }
        }
        let told = found(&wire);
        assert!(told.iter().all(|(_, severity)| Some(*severity) == wanted), "{told:?}");
        assert_eq!(told.is_empty(), wanted.is_none(), "{known_s} s");
    }
}

/// An answer of a server: offered or given to a client.
#[derive(Clone, Copy)]
struct Given {
    at_s: u64,
    server: u32,
    client: u8,
    exchange: u64,
    router: u32,
    resolver: u32,
    kind: u64,
}

const GIVEN: Given = Given { at_s: 0, server: ROUTER, client: 7, exchange: 1, router: ROUTER, resolver: 53, kind: 5 };

fn lease(wire: &mut Wire, given: Given, address: u32) {
    let v4 = |number: u32| host(number).to_be_bytes();
    let put = |facts: &mut Facts| {
        facts.put_number(dhcp::VERSION, 4);
        facts.put_number(dhcp::MESSAGE, 2);
        facts.put_number(dhcp::ID, given.exchange);
        facts.put_number(dhcp::TYPE, given.kind);
        facts.put(dhcp::CLIENT_MAC, &[2, 0, 0, 0, 0, given.client]);
        facts.put(dhcp::ASSIGNED_IP, &v4(address));
        facts.put(dhcp::SERVER_ID, &v4(given.server));
        facts.put(dhcp::SUBNET_MASK, &[255, 255, 255, 0]);
        facts.put(dhcp::ROUTER, &v4(given.router));
        facts.put(dhcp::DNS_SERVER, &v4(given.resolver));
    };
    wire.datagram(given.at_s * SECOND, (host(given.server), 67, host(address), 68), Protocol::Dhcp, put);
}

#[test]
fn servers_of_dhcp_that_contradict_each_other_are_told() {
    let other = Given { at_s: 1, server: 66, ..GIVEN };
    let rogue = |severity| vec![("rogue_dhcp".to_owned(), severity)];
    for (what, given, wanted) in [
        ("another gateway, itself", &[(GIVEN, 7), (Given { router: 66, ..other }, 8)][..], rogue(1)),
        ("another name server", &[(GIVEN, 7), (Given { resolver: 66, ..other }, 8)], rogue(2)),
        ("another network for the same client", &[(GIVEN, 7), (Given { router: 66, ..other }, 0x10a)], rogue(1)),
        ("one that stands in for it", &[(GIVEN, 7), (other, 8), (Given { at_s: 2, ..GIVEN }, 9)], vec![]),
        (
            "another network for another client",
            &[(GIVEN, 7), (Given { router: 66, client: 8, exchange: 2, ..other }, 0x10a)],
            vec![],
        ),
        ("its successor", &[(GIVEN, 7), (Given { at_s: 100_000, router: 66, ..other }, 8)], vec![]),
        ("its own change", &[(GIVEN, 7), (Given { at_s: 5, router: 2, ..GIVEN }, 8)], vec![]),
    ] {
        let mut wire = Wire::default();
        given.iter().for_each(|(given, address)| lease(&mut wire, *given, *address));
        assert_eq!(found(&wire), wanted, "{what}");
    }
    // Whoever is there longer is not the one that is told.
    let mut wire = Wire::default();
    (0..5).for_each(|turn| lease(&mut wire, Given { at_s: turn, exchange: turn, ..GIVEN }, 7 + turn as u32));
    lease(&mut wire, Given { at_s: 10, server: 66, router: 66, exchange: 9, ..GIVEN }, 20);
    lease(&mut wire, Given { at_s: 11, exchange: 9, ..GIVEN }, 21);
    let told = wire.evidence();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].target, None, "one affair, however many clients it answers");
    assert_eq!(told[0].source.map(|source| source.to_string()).as_deref(), Some("10.0.0.66"));
}

/// A lease that goes to another host takes nothing from anybody.
#[test]
fn what_dhcp_gives_is_not_taken_over() {
    let mut wire = neighbours(&[(0, 7, 7), (0, 8, 8), (5, 7, 9), (5, 8, 9)]);
    lease(&mut wire, Given { at_s: 250, client: 9, ..GIVEN }, 7);
    lease(&mut wire, Given { at_s: 251, client: 9, exchange: 2, ..GIVEN }, 8);
    assert_eq!(found(&wire), []);
}

fn answers(names: &[(&str, u32)], protocol: Protocol) -> Wire {
    let mut wire = Wire::default();
    for (turn, (name, address)) in names.iter().enumerate() {
        let own = host(*address).to_be_bytes();
        let port = if protocol == Protocol::Llmnr { 5355 } else { 137 };
        let ends = (host(66), port, host(7), 50_000 + turn as u16);
        wire.datagram(turn as u64 * MINUTE, ends, protocol, |facts| {
            if protocol == Protocol::Llmnr {
                facts.put_number(llmnr::SET.qr, 1);
                facts.put(llmnr::SET.query_name, name.as_bytes());
                facts.put(llmnr::SET.address, &own);
            } else {
                facts.put_number(nbns::QR, 1);
                facts.put_number(nbns::OPCODE, 0);
                facts.put(nbns::NAME, name.to_uppercase().as_bytes());
                facts.put_number(nbns::SUFFIX, 0);
                facts.put(nbns::ADDRESS, &own);
            }
        });
    }
    wire
}

#[test]
fn who_has_every_name_is_told_and_who_has_his_own_is_not() {
    let poisoned = [("name_poisoning".to_owned(), 1)];
    for (what, names, wanted) in [
        ("every name", &[("wpad", 66), ("fileservr", 66), ("prnter", 66)][..], &poisoned[..]),
        ("his own, often", &[("pc66", 66), ("PC66", 66), ("pc66.corp.example", 66), ("workgroup", 66)], &[]),
        ("those of others", &[("pc1", 1), ("pc2", 2), ("pc3", 3), ("pc66", 66)], &[]),
    ] {
        for protocol in [Protocol::Llmnr, Protocol::Nbns] {
            assert_eq!(found(&answers(names, protocol)), wanted, "{what} in {protocol:?}");
        }
    }
}

/// Names that a host registers for itself in NetBIOS: its own with every ending, its group's, or those of others.
#[test]
fn who_registers_every_name_is_told() {
    let registered = |names: &[(&str, u64)]| {
        let mut wire = Wire::default();
        for (turn, (name, suffix)) in names.iter().enumerate() {
            let own = [10, 0, 0, 66];
            let ends = (host(66), 137, host(255), 137);
            wire.datagram(turn as u64 * SECOND, ends, Protocol::Nbns, |facts| {
                facts.put_number(nbns::QR, 0);
                facts.put_number(nbns::OPCODE, 5);
                facts.put(nbns::NAME, name.as_bytes());
                facts.put_number(nbns::SUFFIX, *suffix);
                facts.put(nbns::ADDRESS, &own);
            });
        }
        found(&wire)
    };
    let own = [("PC66", 0x20), ("PC66", 0), ("PC66", 3), ("CORP", 0), ("CORP", 0x1e), ("ANNA", 3), ("CORP", 0x1d)];
    assert_eq!(registered(&own), []);
    assert_eq!(registered(&[("FILESRV", 0x20), ("WPAD", 0x20), ("PRINTER", 0x20)]), [("name_poisoning".to_owned(), 1)]);
}

/// Link addresses that ask for a first address, one each `pause`; and hosts that ask for the one that they had.
#[test]
fn who_uses_up_a_servers_addresses_is_told() {
    let asked = |count: u64, pause: u64, kind: u64, macs: u64| {
        let mut wire = Wire::default();
        for number in 0..count {
            wire.datagram(number * pause, (0, 68, u32::MAX, 67), Protocol::Dhcp, |facts| {
                facts.put_number(dhcp::VERSION, 4);
                facts.put_number(dhcp::TYPE, kind);
                facts.put(dhcp::CLIENT_MAC, &[2, 0, 0, 0, 0, (number % macs) as u8]);
            });
        }
        found(&wire)
    };
    const DISCOVER: u64 = 1;
    const REQUEST: u64 = 3;
    assert_eq!(asked(100, SECOND / 20, DISCOVER, 200), [("dhcp_starvation".to_owned(), 2)]);
    assert_eq!(asked(100, SECOND, DISCOVER, 200), [], "a morning");
    assert_eq!(asked(100, SECOND / 20, DISCOVER, 3), [], "some that get no answer");
    assert_eq!(asked(100, SECOND / 20, REQUEST, 200), [], "hosts that come back");
}

/// Of two that claim one address each turn comes up: an attack is told within seconds, and each further victim.
#[test]
fn a_quarrel_is_told_while_it_lasts() {
    let mut wire = Wire::default();
    for turn in 0..60_u64 {
        wire.neighbour(turn * 2 * SECOND, host(ROUTER), if turn % 2 == 0 { 1 } else { 66 });
    }
    let told: Vec<_> = wire.evidence().into_iter().map(|one| (one.kind, (one.time.0 / SECOND) % 86_400)).collect();
    assert!(told.iter().all(|(kind, _)| kind == "arp_contest"), "{told:?}");
    let cards: Vec<_> = wire.evidence().into_iter().filter_map(|one| one.source_mac).collect();
    assert_eq!(cards, ["02:00:00:00:00:42"; 4], "it is who came later, whoever speaks: one affair");
    assert_eq!((told.len(), told[0].1), (4, 6), "after three turns, then each half minute: {told:?}");
    let mut claims = vec![(0, ROUTER, 1), (0, 7, 7), (0, 8, 8), (1, ROUTER, 66), (1, 7, 66)];
    assert_eq!(found(&neighbours(&claims)).len(), 1);
    claims.push((1, 8, 66));
    assert_eq!(found(&neighbours(&claims)).len(), 2, "a third victim");
}

#[test]
fn a_server_of_names_that_says_it_is_all_of_them_is_told() {
    let answers = |server: u32, own: u32, names: &[&str]| {
        let mut wire = Wire::default();
        for (turn, name) in names.iter().enumerate() {
            let ends = (server, 53, host(7), 40_000 + turn as u16);
            wire.datagram(turn as u64 * SECOND, ends, Protocol::Dns, |facts| {
                facts.put_number(dns::SET.qr, 1);
                facts.put_number(dns::SET.rcode, 0);
                facts.put(dns::SET.query_name, name.as_bytes());
                facts.put(dns::SET.address, &own.to_be_bytes());
            });
        }
        found(&wire).into_iter().filter(|(kind, _)| kind == "rogue_dns").count()
    };
    let many = ["www.bank.example", "mail.shop.example", "www.other.org"];
    let box_for_all = ["www.firm.example", "mail.firm.example", "files.firm.example", "firm.example"];
    assert_eq!(answers(host(9), host(9), &many), 1);
    assert_eq!(answers(host(9), host(10), &many), 0, "what is elsewhere");
    assert_eq!(answers(host(9), host(9), &box_for_all), 0, "one box for all of one registrant");
    assert_eq!(answers(outside(9), outside(9), &many), 0, "outside");
}
