//! Handshakes that are odd in several ways, hours unlike others, and what is odd in one way alone.

use super::super::count::hash;
use super::super::tests::{START, Wire, host, outside};
use super::{FLOWS, Host, Kept, Settings, TlsAnomaly};
use crate::dataplane::inspect::tls::{HELLO, SERVER_CERTIFICATE};
use crate::dataplane::inspect::{Facts, Protocol};
use crate::units::SECOND;

const HOUR: u64 = 3600 * SECOND;
const DAY_S: u64 = 86_400;
const START_S: u64 = START / SECOND;

fn found(wire: &Wire) -> Vec<String> {
    let odd = wire.evidence().into_iter().filter(|one| one.detector.name() == "tls_anomaly");
    odd.map(|one| one.kind).collect()
}

/// A handshake that nothing is wrong with.
fn good(facts: &mut Facts) {
    facts.put(HELLO.sni, b"www.example.org");
    facts.put(HELLO.client_alpn, b"h2");
    facts.put_number(HELLO.version, 0x0303);
    facts.put_number(HELLO.cipher, 0xc02f);
    certificate(facts, b"C=US, CN=*.example.org", false, 90);
}

fn certificate(facts: &mut Facts, subject: &[u8], own: bool, days: u64) {
    facts.put(SERVER_CERTIFICATE.fingerprint, &[7; 20]);
    facts.put(SERVER_CERTIFICATE.subject, subject);
    facts.put_number(SERVER_CERTIFICATE.not_before, START_S - DAY_S);
    facts.put_number(SERVER_CERTIFICATE.not_after, START_S + days * DAY_S);
    facts.put_number(SERVER_CERTIFICATE.self_signed, u64::from(own));
}

/// Version, cipher, and no name.
fn nameless(facts: &mut Facts, version: u64) {
    facts.put_number(HELLO.version, version);
    facts.put_number(HELLO.cipher, 0xc02f);
}

#[test]
fn several_risks_are_told_and_one_is_not() {
    type Put = fn(&mut Facts);
    let cases: [(&str, u16, u32, Put, usize); 8] = [
        ("nothing", 443, outside(1), good, 0),
        (
            "self-signed, no name, long",
            443,
            outside(1),
            |facts| {
                nameless(facts, 0x0303);
                certificate(facts, b"CN=localhost", true, 3650);
            },
            1,
        ),
        (
            "the same inside",
            443,
            host(9),
            |facts| {
                nameless(facts, 0x0303);
                certificate(facts, b"CN=localhost", true, 3650);
            },
            0,
        ),
        (
            "an appliance: self-signed and long",
            443,
            outside(1),
            |facts| {
                facts.put(HELLO.sni, b"nas.example.org");
                nameless(facts, 0x0303);
                certificate(facts, b"CN=nas.example.org", true, 3650);
            },
            0,
        ),
        (
            "three without one about identity",
            4444,
            outside(1),
            |facts| {
                nameless(facts, 0x0301);
                certificate(facts, b"CN=x", false, 90);
            },
            0,
        ),
        ("certificate unseen", 4444, outside(1), |facts| nameless(facts, 0x0304), 0),
        ("nobody answered", 4444, outside(1), |facts| certificate(facts, b"CN=x", true, 3650), 0),
        (
            "more names than are kept",
            4444,
            outside(1),
            |facts| {
                facts.put(HELLO.sni, b"www.example.net");
                nameless(facts, 0x0301);
                certificate(facts, b"CN=x", false, 90);
                facts.put_number(SERVER_CERTIFICATE.alt_name_count, 100);
            },
            0,
        ),
    ];
    for (what, port, server, put, wanted) in cases {
        let mut wire = Wire::default();
        // Of one server and day once.
        (0..3).for_each(|turn| wire.event(turn * SECOND, (host(1), server, port), (Protocol::Tls, 6), put));
        assert_eq!(found(&wire).len(), wanted, "{what}");
    }
    let mut wire = Wire::default();
    wire.event(SECOND, (host(1), outside(1), 4444), (Protocol::Tls, 6), |facts| {
        facts.put(HELLO.sni, b"www.example.net");
        facts.put(HELLO.client_alpn, b"h2");
        nameless(facts, 0x0301);
        certificate(facts, b"CN=*.example.org", false, 90);
    });
    let told = wire.evidence();
    assert_eq!(
        told[0].terms.iter().map(|term| term.name.as_str()).collect::<Vec<_>>(),
        ["risks", "other_name", "old_version", "odd_port", "hosts_that_go_there"]
    );
    assert_eq!(
        told[0].summary,
        "10.0.0.1 spoke TLS with 203.0.0.1 port 4444 (www.example.net): a certificate for another name, an old version, a port \
         that is unusual for TLS"
    );
}

/// What four of ten hosts see is theirs; what all see is the network's.
#[test]
fn what_everybody_uses_is_not_told() {
    let mut wire = Wire::default();
    for client in 1..=10 {
        for other in 0..5 {
            wire.flow(SECOND, (host(client), outside(50 + other), 443), [10, 10], (SECOND, SECOND));
        }
    }
    for client in 1..=10 {
        wire.event(client as u64 * 60 * SECOND, (host(client), outside(1), 443), (Protocol::Tls, 6), |facts| {
            nameless(facts, 0x0303);
            certificate(facts, b"CN=proxy", true, 3650);
        });
    }
    assert!(found(&wire).len() <= 4, "{:?}", found(&wire));
}

/// Until an hour that is not that of the beginning, in which everything was new.
const HOURS: u64 = 6 * 24 + 5;

/// Six days of thirty connections an hour to twelve servers, and then an hour of something else.
fn days(change: impl Fn(&mut Wire, u64)) -> Vec<String> {
    let mut wire = Wire::default();
    let hello = |wire: &mut Wire, at: u64, server: u32, cipher: u8| {
        wire.event(at, (host(1), server, 443), (Protocol::Tls, 6), move |facts| {
            facts.put(HELLO.sni, b"www.example.org");
            facts.put_number(HELLO.client_version, 0x0303);
            facts.put(HELLO.ciphers, &[0x13, cipher]);
            nameless(facts, 0x0304);
        });
    };
    for hour in 0..HOURS {
        for turn in 0..30 {
            hello(&mut wire, hour * HOUR + turn * SECOND, outside(turn as u32 % 12), 1);
        }
    }
    change(&mut wire, HOURS * HOUR);
    // The hour is over when something is seen in the next one.
    hello(&mut wire, (HOURS + 1) * HOUR, outside(1), 1);
    found(&wire)
}

#[test]
fn an_hour_that_is_unlike_others_in_two_ways_is_told() {
    let many = |servers: u32, prints: u8| {
        days(move |wire, at| {
            for turn in 0..120_u64 {
                let server = outside(if servers > 12 { 100 } else { 0 } + turn as u32 % servers);
                wire.event(at + turn * SECOND, (host(1), server, 443), (Protocol::Tls, 6), move |facts| {
                    facts.put(HELLO.sni, b"www.example.org");
                    facts.put_number(HELLO.client_version, 0x0303);
                    facts.put(HELLO.ciphers, &[0x13, 1 + (turn as u8 % prints)]);
                    nameless(facts, 0x0304);
                });
            }
        })
    };
    assert_eq!(many(60, 1), ["unusual_hour"], "many connections to many new servers");
    assert_eq!(many(12, 1), [] as [&str; 0], "many connections alone");
    assert_eq!(days(|_, _| ()), [] as [&str; 0], "an hour of silence");
    // To servers that it knows far more bytes than usual, and six that it does not know; what goes to these counts as new alone.
    let bytes = |known: u64, fresh: u64| {
        days(move |wire, at| {
            for turn in 0..12_u64 {
                let server = outside(if turn < 6 { turn as u32 } else { 200 + turn as u32 });
                wire.event(at + turn * SECOND, (host(1), server, 443), (Protocol::Tls, 6), |facts| {
                    facts.put(HELLO.sni, b"www.example.org");
                    nameless(facts, 0x0304);
                });
                let bytes = [if turn < 6 { known } else { fresh }, 100];
                wire.flow(at + turn * SECOND, (host(1), server, 443), bytes, (SECOND, SECOND));
            }
        })
    };
    assert_eq!(bytes(2_000_000, 100), ["unusual_hour"]);
    assert_eq!(bytes(100, 2_000_000), [] as [&str; 0]);
}

#[test]
fn what_was_written_down_is_known_again() {
    let settings = Settings::default();
    let mut before = TlsAnomaly::new(settings);
    for hour in 0..30 {
        let mut host = Host::new(hour);
        host.known.insert(hash(hour));
        host.counts[FLOWS] = 7.0;
        host.turn_to(hour + 3, &settings.baseline);
        before.hosts.put(hour.into(), host);
    }
    let kept = before.snapshot();
    let mut after = TlsAnomaly::new(settings);
    assert!(after.restore(serde_json::from_value(serde_json::to_value(&kept).unwrap()).unwrap()));
    assert_eq!((after.snapshot(), kept.len()), (kept.clone(), 30));
    for change in [
        |kept: &mut Kept| kept.address = "10.0.0.1".into(),
        |kept: &mut Kept| kept.known.truncate(3),
        |kept: &mut Kept| kept.baselines.truncate(3),
        |kept: &mut Kept| kept.hour = u64::MAX,
    ] {
        let mut broken = kept.clone();
        change(&mut broken[0]);
        let mut after = TlsAnomaly::new(settings);
        assert!(!after.restore(broken));
        assert_eq!(after.snapshot(), kept[1..], "the others are known");
    }
}
