//! What alerts about scans say of what they found.

use super::*;

/// A scanner that drops what answers has found open ports, and its alert names them.
#[test]
fn open_ports_are_named() {
    let mut wire = Wire::default();
    for port in 1..=100 {
        let is_open = matches!(port, 21 | 22 | 80);
        wire.probe(u64::from(port) * MS, host(66), (host(5), port), if is_open { Port::Open } else { Port::Closed });
    }
    let found = wire.evidence();
    let last = found.last().expect("a scan");
    let wanted = "; 97 contacts failed, 3 were opened and dropped at once (ports 21, 22, 80), 0 were answered";
    assert!(last.summary.ends_with(wanted), "{}", last.summary);
    assert_eq!(value(last, "open_contacts_since_start"), 3.0);
}

/// As nmap does it among decoys: every probe once in the name of each; and others who scan the same host on their own.
#[test]
fn sources_in_step_are_told_as_decoys() {
    let scans = |ports: [u16; 4]| {
        let mut wire = Wire::default();
        for turn in 0..60 {
            for (source, first) in (60..).zip(ports) {
                wire.probe(u64::from(turn) * 20 * MS, host(source), (host(5), first + turn), Port::Closed);
            }
        }
        let found = wire.evidence();
        let in_step = |source: u32| {
            let of_source = |one: &&Evidence| one.source == Some(std::net::Ipv4Addr::from(host(source)).into());
            let term =
                |one: &Evidence| one.terms.iter().find(|term| term.name == "sources_in_step").map(|term| term.value);
            found.iter().filter(of_source).filter_map(term).next_back()
        };
        [60, 61, 62, 63].map(in_step)
    };
    assert_eq!(scans([1; 4]), [Some(4.0); 4]);
    assert_eq!(scans([1, 1, 1, 500]), [Some(3.0), Some(3.0), Some(3.0), None]);
    assert_eq!(scans([1, 1, 500, 900]), [None; 4], "two");
    assert_eq!(scans([1, 200, 500, 900]), [None; 4], "each on its own");
}
