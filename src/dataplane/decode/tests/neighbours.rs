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
    let wanted =
        Neighbour { address: 0xffff_0a00_0001, mac, vlans: (0, 0), tunnel: None, is_ndp: false, is_unasked: false };
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
    let told =
        |address: u128| Some(Neighbour { address, mac, vlans: (0, 0), tunnel: None, is_ndp: true, is_unasked: false });
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
