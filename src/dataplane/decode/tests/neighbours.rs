use super::*;

#[test]
fn an_arp_request_names_who_asks_for_whom() {
    let body = |operation: u8, asker: [u8; 4], asked: [u8; 4]| {
        join(&[&[0, 1, 8, 0, 6, 4, 0, operation], &[2; 6], &asker, &[0; 6], &asked])
    };
    let question = |frame: &[u8]| {
        let mut packet = Packet::default();
        assert_eq!(decode(ethernet(frame), &mut packet), Decoded::Arp);
        arp_question(ethernet(frame), &packet).map(|asks| (asks.asker, asks.asked))
    };
    let (me, you) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let asks = eth(0x0806, &body(1, me, you));
    assert_eq!(question(&asks), Some((0x0a00_0001, 0x0a00_0002)));
    assert_eq!(question(&eth(0x8100, &tag(3, 0x0806, &body(1, me, you)))), question(&asks));
    for silent in [body(2, me, you), body(1, me, me), body(1, [0; 4], you), body(1, me, you)[..27].to_vec()] {
        assert_eq!(question(&eth(0x0806, &silent)), None, "{silent:02x?}");
    }
    assert_eq!(question(&with(&asks, 18, 8)), None, "addresses of another size");
}

#[test]
fn arp_and_neighbour_discovery_say_who_has_an_address() {
    let said = |frame: &[u8]| {
        let mut packet = Packet::default();
        match decode(ethernet(frame), &mut packet) {
            Decoded::Arp => arp_sender(ethernet(frame), &packet),
            _ => ndp_sender(ethernet(frame), &packet),
        }
    };
    let arp = |operation: u8, mac: [u8; 6], sender: [u8; 4]| {
        join(&[&[0, 1, 8, 0, 6, 4, 0, operation], &mac, &sender, &[0; 6], &[10, 0, 0, 2]])
    };
    let mac = [2, 0, 0, 0, 0, 7];
    let wanted = Neighbour { address: 0xffff_0a00_0001, mac, ..Neighbour::default() };
    for operation in [1, 2] {
        assert_eq!(said(&eth(0x0806, &arp(operation, mac, [10, 0, 0, 1]))), Some(wanted));
    }
    let tagged = eth(0x8100, &tag(3, 0x0806, &arp(1, mac, [10, 0, 0, 1])));
    assert_eq!(said(&tagged), Some(Neighbour { vlans: (3, 0), ..wanted }));
    for silent in
        [arp(1, mac, [0; 4]), arp(3, mac, [10, 0, 0, 1]), arp(2, [0; 6], [10, 0, 0, 1]), arp(2, [1; 6], [10; 4])]
    {
        assert_eq!(said(&eth(0x0806, &silent)), None, "{silent:02x?}");
    }

    let target = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    let message = |kind: u8, option: &[u8]| {
        let mut packet = ip6(58, &join(&[&[kind, 0, 0, 0, 0, 0, 0, 0], &target, option]));
        packet[7] = 255;
        eth(0x86dd, &packet)
    };
    let option = |kind: u8| join(&[&[kind, 1], &mac]);
    let told = |address: u128| Some(Neighbour { address, mac, is_ndp: true, ..Neighbour::default() });
    assert_eq!(said(&message(136, &option(2))), told(u128::from_be_bytes(target)));
    assert_eq!(said(&message(135, &option(1))), told(0x2001_0db8_0000_0000_0000_0000_0000_0009), "its sender");
    let behind = join(&[&[14, 1, 0, 0, 0, 0, 0, 0], &option(2)]);
    assert_eq!(said(&message(136, &behind)), told(u128::from_be_bytes(target)), "behind another option");
    let mut far = message(136, &option(2));
    far[14 + 7] = 254;
    for silent in
        [message(136, &option(1)), message(136, &[]), message(136, &[2, 0, 1, 1]), message(134, &option(2)), far]
    {
        assert_eq!(said(&silent), None, "{silent:02x?}");
    }
}

#[test]
fn masters_of_virtual_routers_say_which_addresses_they_have() {
    let said = |frame: &[u8]| {
        let mut packet = Packet::default();
        assert_eq!(decode(ethernet(frame), &mut packet), Decoded::Flow);
        vrrp_master(ethernet(frame), &packet).collect::<Vec<_>>()
    };
    const VRRP: u8 = 112;
    let v4 = |ttl: u8, kind: u8, count: u8, rest: &[u8]| {
        let mut packet = ip4(VRRP, &[], 0, &join(&[&[kind, 51, 100, count, 1, 1, 0, 0], rest]));
        packet[8] = ttl;
        packet
    };
    let two = [10, 0, 0, 100, 10, 0, 0, 101];
    // Behind them eight bytes of a password, as version 2 has.
    let announced = v4(255, 0x21, 2, &join(&[&two, b"password"]));
    let mac = [2, 0, 0, 0, 0, 2];
    let of = |last: u128| Neighbour { address: 0xffff_0a00_0000 + last, mac, is_vrrp: true, ..Neighbour::default() };
    assert_eq!(said(&eth(0x0800, &announced)), [of(100), of(101)]);
    let tagged = |one: Neighbour| Neighbour { vlans: (3, 0), ..one };
    assert_eq!(said(&eth(0x8100, &tag(3, 0x0800, &announced))), [tagged(of(100)), tagged(of(101))]);
    let mut v6 = ip6(VRRP, &join(&[&[0x31, 51, 100, 1, 0, 100, 0, 0], &[0xfe, 0x80], &[0; 13], &[5]]));
    v6[7] = 255;
    assert_eq!(said(&eth(0x86dd, &v6)), [Neighbour { address: 0xfe80 << 112 | 5, mac, ..of(0) }]);
    let many: Vec<u8> = (0..80).collect();
    assert_eq!(said(&eth(0x0800, &v4(255, 0x31, 20, &many))).len(), 8, "as many as are read");
    let mut virtual_card = eth(0x0800, &announced);
    virtual_card[6..12].copy_from_slice(&[0, 0, 0x5e, 0, 1, 51]);
    for (what, frame) in [
        ("from elsewhere", eth(0x0800, &v4(254, 0x21, 2, &two))),
        ("another type", eth(0x0800, &v4(255, 0x22, 2, &two))),
        ("another version", eth(0x0800, &v4(255, 0x41, 2, &two))),
        ("more than there are", eth(0x0800, &v4(255, 0x21, 3, &two))),
        ("nobody's", eth(0x0800, &v4(255, 0x21, 1, &[0; 4]))),
        ("a virtual card, or CARP", virtual_card),
        ("another protocol", eth(0x0800, &ip4(89, &[], 0, &[0x21; 40]))),
    ] {
        assert_eq!(said(&frame), [], "{what}");
    }
}
