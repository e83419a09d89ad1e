//! Tunnels, and what looks like them.

use super::super::tests::{Wire, host, outside};
use super::*;
use crate::units::{MILLISECOND, SECOND};

const TXT: u16 = 16;
const NULL: u16 = 10;
const A: u16 = 1;

/// Letters as a tunnel has them: `bits` of each are drawn.
fn drawn(dice: &mut u64, letters: &[u8], count: usize) -> String {
    let next = |_| {
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(letters[(*dice >> 33) as usize % letters.len()])
    };
    (0..count).map(next).collect()
}

const HEX: &[u8] = b"0123456789abcdef";
const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";

/// `count` questions, one each `pause`, for names that `name` makes.
fn asked(count: u64, pause: u64, kind: u16, data: usize, name: impl Fn(u64, &mut u64) -> String) -> Wire {
    let (mut wire, mut dice) = (Wire::default(), 7);
    for number in 0..count {
        let name = name(number, &mut dice);
        wire.dns(number * pause, host(1), &name, kind, (0, data));
    }
    wire
}

#[test]
fn tunnels_are_found_whatever_they_are_made_of() {
    let labels = |letters: &'static [u8], sizes: &'static [usize]| {
        move |_: u64, dice: &mut u64| {
            let labels: Vec<String> = sizes.iter().map(|size| drawn(dice, letters, *size)).collect();
            format!("{}.t.example.org", labels.join("."))
        }
    };
    let second = SECOND;
    for (case, wire, kind) in [
        ("base32 in NULL", asked(200, 100 * MILLISECOND, NULL, 200, labels(BASE32, &[60, 60])), "tunnel"),
        ("hexadecimal in TXT", asked(280, second, TXT, 60, labels(HEX, &[34])), "tunnel"),
        ("hexadecimal in A", asked(300, 500 * MILLISECOND, A, 4, labels(HEX, &[60, 60, 40])), "tunnel"),
        ("few names, long ones", asked(30, 500 * MILLISECOND, TXT, 60, labels(HEX, &[60, 60, 40])), "tunnel"),
        ("short ones, quickly", asked(110, 100 * MILLISECOND, TXT, 60, labels(BASE32, &[32])), "tunnel"),
        // Straight to a server of one's own: there is no name that is registered.
        ("without a domain", asked(280, second, 5, 30, |_, dice| format!("t.{}", drawn(dice, HEX, 34))), "tunnel"),
        ("data that leaves slowly", asked(1200, 60 * second, A, 4, labels(BASE32, &[50])), "slow_tunnel"),
    ] {
        let mut found = wire.evidence();
        found.retain(|one| one.detector == Detector::DnsTunnel);
        let kinds: Vec<_> = found.iter().map(|one| one.kind.as_str()).collect();
        assert!(kinds.contains(&kind), "{case}: {kinds:?}");
        let first = &found[0];
        assert_eq!(first.technique.as_deref(), Some("T1071.004"));
        assert!(first.summary.contains(" distinct names ") && first.flow.is_some(), "{}", first.summary);
        let likeness = &first.terms[0];
        assert!(likeness.relation.unwrap().holds(likeness.value, likeness.threshold.unwrap()), "{case}");
        // Told again only when there are twice as many.
        assert!(found.len() < 12, "{case}: {}", found.len());
    }
}

#[test]
fn what_only_looks_like_one_is_quiet() {
    for (case, wire) in [
        // Content networks: many names, short ones of words and numbers.
        ("a content network", asked(300, second(), A, 16, |number, _| format!("e{number}.dscb.cdn.example"))),
        (
            "shards of video",
            asked(200, second(), A, 4, |number, dice| {
                format!("r{}---sn-{}.video.example", number % 8, drawn(dice, b"abcdefghjk4567", 8))
            }),
        ),
        // Files looked up at a reputation service: a digest each, some dozens at once.
        (
            "a reputation service",
            asked(39, second(), TXT, 20, |_, dice| format!("{}.avqs.example.com", drawn(dice, HEX, 40))),
        ),
        (
            "black lists of mail servers",
            asked(800, second(), A, 9, |number, _| format!("{}.{}.0.10.zen.example.org", number % 256, number / 256)),
        ),
        ("names of addresses", asked(900, second(), 12, 20, |number, _| format!("{number}.2.0.192.in-addr.arpa"))),
        (
            "one name again and again",
            asked(2000, second(), TXT, 200, |_, _| "long-name-of-one-record.example.org".into()),
        ),
        ("one label", asked(400, second(), A, 0, |_, dice| drawn(dice, BASE32, 30))),
    ] {
        assert_eq!(wire.evidence(), [], "{case}");
    }
}

fn second() -> u64 {
    SECOND
}

/// What half of the network asks is a service of the network.
#[test]
fn a_name_that_everybody_asks_for_is_nobodys_tunnel() {
    let wire = |hosts: u32| {
        let (mut wire, mut dice) = (Wire::default(), 7);
        for number in 0..600_u32 {
            let name = format!("{}.avqs.example.com", drawn(&mut dice, HEX, 48));
            let at = u64::from(number) * 200 * MILLISECOND;
            wire.dns(at, host(1 + number % hosts), &name, TXT, (0, 40));
            wire.dns(at, host(1 + number % 10), "www.example.net", A, (0, 4));
        }
        wire
    };
    assert_eq!(wire(10).kinds(), <[&str; 0]>::default());
    assert!(wire(1).kinds().contains(&"dns_tunnel/tunnel".to_owned()));
}

#[test]
fn memory_is_bounded_and_what_it_costs_is_counted() {
    let mut wire = Wire::default();
    for number in 0..400_u64 {
        wire.dns(number * SECOND, host(1), &format!("a.site{number}.example"), A, (0, 4));
    }
    let mut settings = crate::control::hosts::Settings::default();
    settings.dns_tunnel.pairs = 16;
    let (found, stats) = wire.evidence_with(settings);
    assert_eq!((found.len(), stats.observed), (0, 800));
    assert!(stats.forgotten > 300, "{stats:?}");
}

fn told(wire: &Wire) -> Vec<(String, u8)> {
    let ours = wire.evidence().into_iter().filter(|one| one.detector == Detector::DnsTunnel);
    ours.map(|one| (format!("{} {}", one.kind, one.source.expect("known")), one.severity)).collect()
}

/// Answers as lists and reputation services give them.
const LISTED: (u16, &[u8], Option<[u8; 4]>) = (0, b"127.0.0.4", Some([127, 0, 0, 4]));
const MISSING: (u16, &[u8], Option<[u8; 4]>) = (3, b"", None);

#[test]
fn look_ups_of_digests_are_quiet() {
    type Name = fn(u64, &mut u64) -> String;
    let cases: [(&str, u64, u64, u16, u32, Name); 8] = [
        ("files at an antivirus, in a burst", 900, SECOND / 3, A, 1, |_, dice| {
            format!("0.0.0.0.0.1.4e.{}.avqs.example.com", drawn(dice, BASE32, 26))
        }),
        ("files of SHA-256", 600, SECOND / 3, A, 1, |_, dice| {
            format!("{}.{}.files.example.com", drawn(dice, HEX, 32), drawn(dice, HEX, 32))
        }),
        ("the same all day", 3000, 20 * SECOND, A, 1, |_, dice| {
            format!("{}.b.av.example.com", drawn(dice, BASE32, 52))
        }),
        ("verdicts as text", 300, SECOND, TXT, 1, |_, dice| format!("{}.hash.example.org", drawn(dice, HEX, 40))),
        ("three hosts", 1800, SECOND, TXT, 3, |_, dice| format!("{}.hash.example.org", drawn(dice, HEX, 40))),
        ("addresses at a black list with a key", 5000, 2 * SECOND, A, 1, |number, _| {
            let [a, b, c, d] = (number as u32).wrapping_mul(0x9e37_79b9).to_be_bytes();
            format!("{a}.{b}.{c}.{d}.abcdefghijklmnopqrstuvwxyz.zen.example.net")
        }),
        ("senders of mails", 4000, 10 * SECOND, A, 1, |_, dice| {
            format!("{}._email.abcdefghijklmnopqrstuvwxyz.list.example.net", drawn(dice, BASE32, 52))
        }),
        ("telemetry with a key for each day", 300, SECOND, A, 1, |number, dice| {
            format!("v2.{number}.{}.{}.t.example.com", drawn(dice, HEX, 24), "0123456789abcdef0123456789abcdef")
        }),
    ];
    for (case, count, pause, kind, hosts, name) in cases {
        let (mut wire, mut dice) = (Wire::default(), 7);
        for number in 0..count {
            let name = name(number, &mut dice);
            let verdicts: [&[u8]; 3] = [b"v=1 clean", b"v=1 unknown", b"v=1 bad"];
            let answer = match (kind, number % 5) {
                (TXT, turn) => (0, verdicts[turn as usize % 3], None),
                (_, 0) => LISTED,
                _ => MISSING,
            };
            wire.asked(number * pause, (host(1 + number as u32 % hosts), host(53)), &name, kind, answer);
        }
        assert_eq!(told(&wire), [], "{case}");
    }
}

#[test]
fn tunnels_that_look_like_look_ups_carry_too_much() {
    type Answer = fn(u64) -> (u16, Vec<u8>, Option<[u8; 4]>);
    const KEY: u16 = 25;
    let cases: [(&str, u64, u64, u16, usize, Answer); 6] = [
        // dns2tcp that downloads: nobody reads what keys are.
        ("short names, answers that cannot be read", 1500, SECOND / 5, KEY, 12, |_| (0, Vec::new(), None)),
        // dnscat2 that waits: nine bytes each way, each second.
        ("polls of nine bytes", 2000, SECOND, TXT, 18, |number| {
            (0, format!("{:018x}", number * 0x9e37_79b9_7f4a).into(), None)
        }),
        // dns2tcp: base64 both ways.
        ("answers that are data", 120, SECOND / 2, TXT, 40, |number| (0, format!("{number:0200}").into(), None)),
        ("a name each 45 seconds, one address for all", 1900, 45 * SECOND, A, 50, |_| {
            (0, b"198.51.100.7".to_vec(), Some([198, 51, 100, 7]))
        }),
        ("names that are never there", 2900, SECOND / 10, A, 62, |_| (3, Vec::new(), None)),
        ("names longer than digests that are never there", 300, SECOND / 2, A, 120, |_| (3, Vec::new(), None)),
    ];
    for (case, count, pause, kind, length, answer) in cases {
        let (mut wire, mut dice) = (Wire::default(), 7);
        for number in 0..count {
            let labels: Vec<String> = [length.min(60), length.saturating_sub(60)]
                .into_iter()
                .filter(|length| *length > 0)
                .map(|length| drawn(&mut dice, HEX, length))
                .collect();
            let (code, data, address) = answer(number);
            let name = format!("{}.t.example.org", labels.join("."));
            wire.asked(number * pause, (host(1), host(53)), &name, kind, (code, &data, address));
        }
        let found = told(&wire);
        assert!(!found.is_empty(), "{case}");
        // Only what nothing comes back of is the least of all.
        let is_lookup = kind == A && length < 80;
        assert_eq!(found[0].1 == 3, is_lookup, "{case}: {found:?}");
    }
}

/// What a resolver passes on is its client's.
#[test]
fn a_resolver_is_not_its_clients() {
    let wire = |clients: u32, is_seen: bool, tunnel: u64| {
        let (mut wire, mut dice) = (Wire::default(), 7);
        let mut ask = |at: u64, client: u32, name: &str, kind: u16, answer: (u16, &[u8], Option<[u8; 4]>)| {
            if is_seen {
                wire.asked(at, (host(client), host(53)), name, kind, answer);
            }
            let server = outside(super::super::count::hash(names::parts(name).map(|parts| parts.apex)) as u32 % 200);
            wire.asked(at + MILLISECOND, (host(53), server), name, kind, answer);
        };
        for number in 0..u64::from(clients) * 40 {
            let (at, client) = (number * 7 * MILLISECOND, 100 + (number % u64::from(clients.max(1))) as u32);
            ask(at, client, &format!("www.site{}.example", number % 300), A, (0, b"192.0.2.1", Some([192, 0, 2, 1])));
            ask(at, client, &format!("{}.av.example.com", drawn(&mut dice, HEX, 40)), A, MISSING);
        }
        for number in 0..tunnel {
            let data = drawn(&mut dice, HEX, 200);
            let name = format!("{}.{}.t.example.org", drawn(&mut dice, HEX, 60), drawn(&mut dice, HEX, 60));
            ask(number * SECOND / 4, 7, &name, TXT, (0, data.as_bytes(), None));
        }
        told(&wire)
    };
    assert_eq!(wire(300, true, 0), [], "honest hosts, seen");
    assert_eq!(wire(300, false, 0), [], "honest hosts behind a resolver");
    let found = wire(300, true, 600);
    assert!(!found.is_empty() && found.iter().all(|(who, _)| who.ends_with(" 10.0.0.7")), "{found:?}");
    let found = wire(300, false, 600);
    assert!(found.iter().any(|(who, _)| who == "tunnel 10.0.0.53"), "a tunnel behind a resolver: {found:?}");
}

/// Each domain has fewer names than tell anything.
#[test]
fn a_tunnel_over_many_domains_is_found_by_its_client() {
    let wire = |domains: u64, count: u64, pause: u64, length: usize, hosts: u32, kind: u16| {
        let (mut wire, mut dice) = (Wire::default(), 7);
        for number in 0..count {
            let name = format!("{}.domain{}.example", drawn(&mut dice, BASE32, length), number % domains);
            let answer = if kind == TXT { drawn(&mut dice, BASE32, 60) } else { "198.51.100.7".into() };
            let client = host(1 + (number / domains) as u32 % hosts);
            wire.asked(number * pause, (client, host(53)), &name, kind, (0, answer.as_bytes(), None));
        }
        // The rest of the network asks for other things.
        for number in 0..400_u64 {
            let name = format!("www.site{}.example", number % 40);
            wire.asked(number * SECOND, (host(1 + number as u32 % 20), host(53)), &name, A, (0, b"192.0.2.1", None));
        }
        told(&wire)
    };
    let first = |found: Vec<(String, u8)>| found.first().map(|(kind, _)| kind.clone());
    let wanted = Some("many_domains 10.0.0.1".to_owned());
    assert_eq!(first(wire(12, 300, SECOND, 60, 1, TXT)), wanted, "in five minutes");
    assert_eq!(first(wire(50, 2400, 30 * SECOND, 60, 1, TXT)), wanted, "in a day");
    assert_eq!(first(wire(40, 700, SECOND / 3, 60, 1, A)), wanted, "one way, as look-ups");
    for (case, found) in [
        ("short names", wire(12, 300, SECOND, 12, 1, A)),
        ("lists and reputation services of a mail server", wire(6, 240, SECOND, 32, 1, A)),
        ("the same all day", wire(6, 1400, 60 * SECOND, 32, 1, A)),
        ("what many hosts ask below", wire(12, 460, SECOND / 2, 60, 8, A)),
        ("hardly any", wire(12, 90, SECOND, 60, 1, TXT)),
    ] {
        assert_eq!(found, [], "{case}");
    }
}
