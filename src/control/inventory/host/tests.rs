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
    for number in 0..NAMES_MAX as u64 + 10 {
        assert!(host.add_name(name(&format!("n{number}"), 100 + number)));
    }
    assert_eq!((host.names.len(), host.not_kept), (NAMES_MAX, 10));
    assert!(!host.add_name(name("older", 1)), "what is older than all gives way itself");
    assert!(!host.add_name(name("N20", 500)), "known, in another spelling");
    assert!(host.names.iter().all(|one| one.name != "n9") && host.names.iter().any(|one| one.name == "n10"));
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
fn a_version_takes_the_place_of_none_and_another_stands_beside() {
    let product = |version: Option<&str>| Product {
        name: "nginx".into(),
        version: version.map(str::to_owned),
        distribution: None,
    };
    let mut products = Vec::new();
    for (version, news, count) in
        [(None, true, 1), (Some("1.2"), true, 1), (None, false, 1), (Some("1.3"), true, 2), (Some("1.2"), false, 2)]
    {
        assert_eq!((add_product(&mut products, product(version)), products.len()), (news, count));
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
