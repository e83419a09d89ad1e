//! Floods are found, named where it is certain who floods, and popularity is none.

use super::super::lab::{Port, Wire, host};
use super::{MS, none, value};
use crate::units::SECOND;

/// A flood of one host while others use the server: who floods is named, with his share.
#[test]
fn the_one_who_floods_is_named_among_honest_clients() {
    let mut wire = Wire::default();
    for number in 0..12_000_u64 {
        wire.probe(number * MS / 2, host(66), (host(5), 80), Port::Silent);
        if number % 200 == 0 {
            wire.session(number * MS / 2, host(1), (host(5), 80), 200, 4000, 20 * MS);
        }
    }
    let found = wire.evidence();
    assert_eq!(wire.kinds(), ["flood/syn"]);
    let mut last = 0.0;
    for flood in &found {
        assert_eq!(flood.source.expect("named").to_string(), "10.0.0.66", "{}", flood.summary);
        assert!(value(flood, "dominant_source_share") > 0.95 && flood.summary.contains("% of it"), "{}", flood.summary);
        assert!(value(flood, "packets_since_start") > last, "{}", flood.summary);
        last = value(flood, "packets_since_start");
    }
    // Two who send half each: nobody is named, also where they share one of the groups that tell sources apart.
    let mut shared = 0;
    for second in 100..130 {
        let mut pair = Wire::default();
        for number in 0..12_000_u32 {
            let source = if number % 2 == 0 { 66 } else { second };
            pair.probe(u64::from(number) * MS / 2, host(source), (host(5), 80), Port::Silent);
        }
        for flood in pair.evidence() {
            assert_eq!(flood.source, None, "{}", flood.summary);
            shared +=
                u32::from(flood.summary.contains("2 sources, of which ") && flood.summary.contains("at most 100 %"));
            assert!(flood.terms.iter().all(|term| term.name != "dominant_source_share"), "{}", flood.summary);
        }
    }
    assert!(shared > 0, "no pair shared a group");
    // Forged sources: nobody is named.
    let mut forged = Wire::default();
    for number in 0..12_000_u32 {
        forged.probe(u64::from(number) * MS / 2, host(10_000 + number), (host(5), 80), Port::Silent);
    }
    let found = forged.evidence();
    assert!(!found.is_empty());
    assert!(found.iter().all(|flood| flood.source.is_none() && flood.summary.contains("spoofed")), "{found:?}");
}

/// What led to the alarm is part of the flood.
#[test]
fn a_flood_is_counted_from_when_its_sum_began_to_rise() {
    let mut wire = Wire::default();
    for number in 0..1_500_u64 {
        wire.probe(number * SECOND / 300, host(66), (host(5), 80), Port::Silent);
    }
    let told: Vec<_> = wire.evidence().iter().map(|flood| value(flood, "packets_since_start")).collect();
    // Beyond mean and slack some 200 a second: the limit of 400 is passed in the third.
    assert_eq!(told, [900.0, 1200.0, 1500.0]);
}

#[test]
fn floods_are_found_and_told_apart() {
    let mut syn = Wire::default();
    for number in 0..6000_u32 {
        // Spoofed, and answered with SYN cookies: no handshake completes.
        let from = (0x2000_0000 + number * 7919, 1024 + (number % 60_000) as u16);
        let at = u64::from(number) * 500_000;
        syn.packet(at, from, (host(5), 80), 6, 0x02, 0);
        syn.packet(at + 10_000, (host(5), 80), from, 6, 0x12, 0);
    }
    assert_eq!(syn.kinds(), ["flood/syn"]);
    let first = &syn.evidence()[0];
    assert_eq!((first.source, first.port), (None, Some(80)));
    assert!(first.summary.contains("spoofed"), "{}", first.summary);

    let mut udp = Wire::default();
    (0..20_000).for_each(|number| udp.datagram(number * 50_000, host(66), (host(5), 27_015), 20, None));
    assert_eq!(udp.kinds(), ["flood/udp"]);
    assert_eq!(udp.evidence()[0].source.unwrap().to_string(), "10.0.0.66");

    let mut icmp = Wire::default();
    (0..9000).for_each(|number| icmp.packet(number * 100_000, (host(66), 771), (host(5), 771), 1, 0, 28));
    assert_eq!(icmp.kinds(), ["flood/icmp"]);

    let mut ack = Wire::default();
    for number in 0..9000_u32 {
        ack.packet(u64::from(number) * 100_000, (0x2000_0000 + number * 7919, 4000), (host(5), 80), 6, 0x10, 0);
    }
    assert_eq!(ack.kinds(), ["flood/tcp"]);
}

#[test]
fn popularity_and_streams_are_no_floods() {
    let mut crowd = Wire::default();
    for number in 0..8000_u32 {
        crowd.session(u64::from(number) * 400_000, host(10_000 + number), (host(5), 443), 500, 3000 + number, 200 * MS);
    }
    assert_eq!(crowd.kinds(), none(), "flash crowd");

    let mut resolver = Wire::default();
    for number in 0..30_000_u32 {
        resolver.datagram(u64::from(number) * 100_000, host(10_000 + number % 900), (host(53), 53), 40, Some(100));
    }
    assert_eq!(resolver.kinds(), none(), "busy resolver");

    let mut streams = Wire::default();
    for number in 0..40_000_u64 {
        // 4 kpps one way (video), 13 kpps both ways (QUIC).
        if number % 10 < 3 {
            streams.packet(number * 75_000, (host(1), 5004), (host(2), 5004), 17, 0, 1300);
        }
        streams.packet(number * 75_000, (host(3), 443), (host(4), 50_000), 17, 0, 1300);
        if number % 10 == 0 {
            streams.packet(number * 75_000, (host(4), 50_000), (host(3), 443), 17, 0, 40);
        }
    }
    assert_eq!(streams.kinds(), none(), "streams");

    let mut scan = Wire::default();
    for port in 1..=9000_u16 {
        scan.probe(u64::from(port) * 200_000, host(66), (host(5), port), Port::Silent);
    }
    assert!(scan.kinds().iter().all(|kind| kind.starts_with("scan/")), "a fast scan is a scan: {:?}", scan.kinds());
}
