//! Bounds of the lists, and texts from the wire.

use super::*;

fn host() -> Host {
    Host::new(Segment::default(), "10.0.0.1".parse().unwrap(), Timestamp(SECOND))
}

fn name(text: &str, seconds: u64) -> Name {
    Name { name: text.into(), source: NameSource::Dhcp, seen: Seen::at(Timestamp(seconds * SECOND)) }
}

#[test]
fn lists_are_bounded_and_the_longest_unseen_gives_way() {
    let mut host = host();
    for number in 0..NAMES_OF_SOURCE_MAX as u64 + 10 {
        assert!(host.add_name(name(&format!("n{number}"), 100 + number)));
    }
    assert_eq!((host.names.len(), host.not_kept), (NAMES_OF_SOURCE_MAX, 10));
    assert!(!host.add_name(name("older", 1)), "what is older than all gives way itself");
    assert!(!host.add_name(name("N15", 500)), "known, in another spelling");
    assert!(host.names.iter().all(|one| one.name != "n9") && host.names.iter().any(|one| one.name == "n10"));
}

/// Clients can call a host whatever they like, as often as they like: what it says of itself stays.
#[test]
fn names_that_clients_made_up_displace_none_of_the_hosts_own() {
    use NameSource::{Certificate, Dhcp, Greeting, HttpHost, Mdns, Netbios, Ntlm, Sni};
    let mut host = host();
    let put = |host: &mut Host, source, text: String, seconds: u64| {
        host.add_name(Name { source, ..name(&text, seconds) });
    };
    put(&mut host, Netbios, "FILESERVER".into(), 100);
    for number in 0..40 {
        for source in [HttpHost, Sni, Certificate, Greeting] {
            put(&mut host, source, format!("forged{number}.example"), 200 + number);
        }
    }
    let count = |host: &Host, source| host.names.iter().filter(|one| one.source == source).count();
    assert_eq!((host.names.len(), count(&host, Netbios), count(&host, Sni)), (NAMES_MAX, 1, 0));
    for (source, text) in [(Dhcp, "a"), (Mdns, "b"), (Ntlm, "c")] {
        put(&mut host, source, text.into(), 100);
    }
    assert_eq!((host.names.len(), host.names.iter().filter(|one| one.source.rank() < 8).count()), (NAMES_MAX, 4));
}

fn finding(kind: &str, severity: u8, number: u64, seconds: u64) -> Finding {
    Finding {
        id: format!("{kind}{number}"),
        kind: kind.into(),
        severity,
        confidence: Confidence::High,
        address: "10.0.0.1".parse().unwrap(),
        service: None,
        detail: String::new(),
        evidence: String::new(),
        remedy: String::new(),
        reference: String::new(),
        vulnerabilities: Vec::new(),
        count: 1,
        seen: Seen::at(Timestamp(seconds * SECOND)),
        revision: 0,
        told: Timestamp(0),
    }
}

/// Many faults of little weight, or of one kind, hide none that weighs more or is another one.
#[test]
fn the_least_severe_finding_gives_way_and_of_one_severity_one_of_many() {
    let mut host = host();
    host.add_finding(finding("cleartext_credentials", 2, 0, 100));
    host.add_finding(finding("telnet_in_use", 3, 0, 101));
    for number in 0..80 {
        host.add_finding(finding("ssh_version_1", 2, number, 200 + number));
    }
    let has = |host: &Host, id: &str| host.findings.iter().any(|one| one.id == id);
    assert_eq!((host.findings.len(), host.not_kept), (FINDINGS_MAX, 82 - FINDINGS_MAX as u64));
    assert!(has(&host, "cleartext_credentials0") && !has(&host, "telnet_in_use0"));
    assert!(has(&host, "ssh_version_179") && !has(&host, "ssh_version_116") && has(&host, "ssh_version_117"));
    assert!(!host.add_finding(finding("certificate_self_signed", 4, 0, 900)), "it weighs less than all that are there");
    assert!(host.add_finding(finding("database_without_login", 1, 0, 50)));
    assert!(has(&host, "database_without_login0"));
}

#[test]
fn texts_from_the_wire_are_one_harmless_line() {
    for (bytes, wanted) in [
        (&b" plain\r\n"[..], "plain\\x0d\\x0a"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        (b"a\xffb", "a\\xffb"),
        ("grün".as_bytes(), "grün"),
        (b"  ", ""),
    ] {
        assert_eq!(kept(bytes), wanted);
    }
    for hostile in [vec![b'x'; 4096], vec![0; 4096], vec![0xff; 4096], "ü".repeat(2000).into_bytes()] {
        assert!(kept(&hostile).len() <= TEXT_MAX);
    }
}

#[test]
fn a_host_is_named_after_its_first_address() {
    let mut host = host();
    host.add_address(Address { address: "10.0.0.2".parse().unwrap(), seen: Seen::at(Timestamp(5)) });
    assert_eq!(host.id(), "10.0.0.2");
    host.add_address(Address { address: "fe80::1".parse().unwrap(), seen: Seen::at(Timestamp(1)) });
    assert_eq!(host.id(), "10.0.0.2", "not by an address that many links have");
    host.segment = Segment::at((7, 0), None);
    assert_eq!(host.id(), "vlan7-10.0.0.2");
    host.segment = Segment::at((0, 0), Some(0xabc));
    assert_eq!(host.id(), "tunnel000abc-10.0.0.2");
}
