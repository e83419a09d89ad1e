use super::*;

#[test]
fn errors_quote_the_flow_they_speak_of() {
    let sent = [
        ip4(17, &[], 0, &udp(9, b"payload")),
        ip4(6, &[1, 1, 1, 1], 0, &tcp(2, &SYN_OPTIONS, b"")),
        ip4(1, &[], 0, &icmp(8, 0, b"")),
        ip4(50, &[], 0, &[0; 8]),
    ];
    for quoted in sent {
        let mut original = Packet::default();
        let frame = eth(0x8100, &tag(12, 0x0800, &quoted));
        assert_eq!(decode(ethernet(&frame), &mut original), Decoded::Flow);
        for (kind, code, refusal) in [(3, 3, true), (3, 4, false), (11, 0, false), (4, 0, false), (12, 0, false)] {
            let cut = quoted.len().min(28 + 4);
            let error = eth(0x8100, &tag(12, 0x0800, &ip4(1, &[], 0, &icmp(kind, code, &quoted[..cut]))));
            let mut packet = Packet::default();
            assert_eq!(decode(ethernet(&error), &mut packet), Decoded::Flow);
            assert_eq!(quoted_flow(ethernet(&error), &packet), Some((original.key, original.direction)));
            assert_eq!(packet.is_refusal(), refusal);
        }
        let echo = eth(0x0800, &ip4(1, &[], 0, &icmp(0, 0, &quoted)));
        let mut packet = Packet::default();
        decode(ethernet(&echo), &mut packet);
        assert_eq!(quoted_flow(ethernet(&echo), &packet), None);
    }
    let quoted = ip6(60, &extension(17, 0, &udp(9, b"payload")));
    let mut original = Packet::default();
    assert_eq!(decode(ethernet(&eth(0x86dd, &quoted)), &mut original), Decoded::Flow);
    for length in 0..=quoted.len() {
        let error = eth(0x86dd, &ip6(58, &icmp(1, 4, &quoted[..length])));
        let mut packet = Packet::default();
        assert_eq!(decode(ethernet(&error), &mut packet), Decoded::Flow);
        let expected = (length >= 40 + 8 + 4).then_some((original.key, original.direction));
        assert_eq!(quoted_flow(ethernet(&error), &packet), expected, "{length}");
        assert!(packet.is_refusal());
    }
}

#[test]
fn padding_behind_an_error_is_no_quote() {
    let quoted = ip4(17, &[], 0, &udp(9, b""));
    let mut error = eth(0x0800, &ip4(1, &[], 0, &icmp(3, 3, &quoted[..20])));
    error.extend([0; 18]);
    let mut packet = Packet::default();
    assert_eq!(decode(ethernet(&error), &mut packet), Decoded::Flow);
    assert_eq!(quoted_flow(ethernet(&error), &packet), None);
}
