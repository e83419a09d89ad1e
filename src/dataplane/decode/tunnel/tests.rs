mod any;
mod wraps;

use super::super::tests::{
    SYN_OPTIONS, eth, ethernet, flows, fragment6, icmp, ip4, ip6, join, tag, tcp, udp, view, with,
};
use super::super::{
    Decoded, FlowKey, FragmentSettings, FragmentTable, HeaderAnomaly, LEVELS_MAX, Layers, Packet, Tunnel,
};
use super::super::{decode_rest, quoted_flow};
use crate::dataplane::capture::{FrameView, LinkType};
use crate::metrics::Counter;
use crate::units::Timestamp;
use proptest::prelude::*;
use wraps::{Around, GENEVE_FRAMES, LABELS, MACSEC, NSH, bridged, checked, gre, gtp, l2tp, packets, wraps};

fn decode(frame: FrameView<'_>) -> (Decoded, Packet, Layers) {
    let (mut packet, mut layers) = (Packet::default(), Layers::new(true));
    let decoded = decode_rest(frame.bytes, frame.wire_bytes, frame.link, &mut packet, &mut layers);
    (decoded, packet, layers)
}

/// The flow of a frame that has one.
fn flow(frame: &[u8]) -> (Packet, Layers) {
    let (decoded, packet, layers) = decode(ethernet(frame));
    assert_eq!(decoded, Decoded::Flow);
    (packet, layers)
}

/// Protocol, ports and addresses as sent: what a frame has in or out of a tunnel.
fn tuple(key: &FlowKey, packet: &Packet) -> impl PartialEq + std::fmt::Debug + use<> {
    (key.protocol(), key.endpoints(packet.direction))
}

fn ether_type(ip: &[u8]) -> [u8; 2] {
    if ip[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] }
}

fn frame_of(ip: &[u8]) -> Vec<u8> {
    eth(u16::from_be_bytes(ether_type(ip)), ip)
}

#[test]
fn what_is_in_a_tunnel_is_what_it_is_outside() {
    for (name, ip) in packets() {
        let (alone, by_itself) = flow(&frame_of(&ip));
        for wrap in wraps() {
            let about = (name, wrap.name);
            let outside = (wrap.wrap)(&ip);
            let frame = frame_of(&outside);
            let (packet, layers) = flow(&frame);
            assert_eq!(tuple(&packet.key, &packet), tuple(&alone.key, &alone), "{about:?}");
            assert_eq!((packet.tcp, packet.icmp_type, packet.icmp_code), (alone.tcp, alone.icmp_type, alone.icmp_code));
            assert_eq!((packet.payload_bytes, layers.fault), (alone.payload_bytes, by_itself.fault), "{about:?}");
            let payload = |frame: &[u8], packet: &Packet| {
                frame[usize::from(packet.payload_offset)..][..packet.payload_bytes as usize].to_vec()
            };
            assert_eq!(payload(&frame, &packet), payload(&frame_of(&ip), &alone), "{about:?}");
            assert_eq!(packet.wire_bytes as usize, frame.len());
            let named = alone.tunnel != Tunnel::None;
            assert_eq!(packet.tunnel, if named { alone.tunnel } else { wrap.kind }, "{about:?}");
            assert_eq!(layers.outer.levels().last(), Some((wrap.kind, wrap.id)), "{about:?}");
            assert_eq!(packet.key.is_tunnelled(), !wrap.adds_no_network(), "{about:?}");
            let mut closed = Layers::new(false);
            let mut carrier = Packet::default();
            decode_rest(&frame, 0, LinkType::Ethernet, &mut carrier, &mut closed);
            let (source, destination) = carrier.key.endpoints(carrier.direction);
            assert_eq!(layers.outer.carrier(), Some((source, destination, carrier.key.protocol())), "{about:?}");
        }
    }
}

#[test]
fn both_directions_share_a_key_and_networks_do_not() {
    let there = ip4(6, &[], 0, &tcp(0x18, &[], b"hello"));
    let mut back = there.clone();
    back[12..20].rotate_left(4);
    back[20..24].rotate_left(2);
    let mut keys = std::collections::HashMap::new();
    for wrap in wraps() {
        let (a, b) = (flow(&frame_of(&(wrap.wrap)(&there))).0, flow(&frame_of(&(wrap.wrap)(&back))).0);
        assert_eq!((a.key, a.direction), (b.key, b.direction.flip()), "{}", wrap.name);
        assert_eq!(a.key.owner(8), b.key.owner(8));
        let tagged = wrap.name.contains("tagged");
        let id = if matches!(wrap.kind, Tunnel::Gtp | Tunnel::Pptp | Tunnel::L2tp) { 0 } else { wrap.id };
        // Labels add nothing to what is around them, nor do tags.
        let place = match wrap.name {
            "nsh in vxlan" => (Tunnel::Vxlan, 5, false),
            "three tags in gre" => (Tunnel::Gre, 3, true),
            "four tags in gre" => (Tunnel::Gre, 4, true),
            name if name.ends_with(" in gre") && wrap.kind != Tunnel::Pppoe => (Tunnel::Gre, 0, false),
            _ if wrap.adds_no_network() => (Tunnel::None, 0, false),
            _ => (wrap.kind, id, tagged),
        };
        let known = *keys.entry(place).or_insert(a.key);
        assert_eq!(known, a.key, "{}", wrap.name);
    }
    let different: std::collections::HashSet<_> = keys.values().collect();
    assert_eq!(different.len(), keys.len());
    let tagged = |id| flow(&eth(0x8100, &tag(id, 0x0800, &gre([0, 0], [8, 0], &[], &there)))).0.key;
    assert_ne!(tagged(1), tagged(2), "the outer VLAN is part of it");
    assert_eq!(tagged(1).vlans(), (0, 0));
    let bare = eth(0x8100, &tag(5, 0x8847, &join(&[&LABELS, &there])));
    let (packet, layers) = flow(&bare);
    assert_eq!(packet.key, flow(&eth(0x8100, &tag(5, 0x0800, &there))).0.key, "labels come and go on the way");
    assert_eq!((packet.tunnel, layers.outer.carrier()), (Tunnel::Mpls, None));
    assert_eq!(layers.outer.vlans().collect::<Vec<_>>(), [5]);
}

#[test]
fn tunnels_are_entered_to_a_limit() {
    let ip = ip4(6, &[], 0, &tcp(0x18, &[], b"hello"));
    let (alone, _) = flow(&frame_of(&ip));
    let stack = |count: usize| (0..count).fold(ip.clone(), |ip, _| gre([0x20, 0], ether_type(&ip), &[0, 0, 0, 5], &ip));
    for depth in 1..=LEVELS_MAX {
        let (packet, layers) = flow(&frame_of(&stack(depth)));
        assert_eq!(tuple(&packet.key, &packet), tuple(&alone.key, &alone));
        assert_eq!((layers.outer.depth(), layers.fault), (depth, None));
    }
    for depth in [LEVELS_MAX + 1, LEVELS_MAX + 2, 40] {
        let (packet, layers) = flow(&frame_of(&stack(depth)));
        assert_eq!((packet.key.protocol(), packet.tunnel), (47, Tunnel::Gre), "the innermost reached");
        assert_eq!((layers.outer.depth(), layers.fault), (LEVELS_MAX, Some(Counter::TunnelDepth)));
        assert!(layers.anomalies.iter().eq([HeaderAnomaly::TooManyLayers]));
    }
    // Labels and frames in turns: no packet of a flow is reached.
    let wire = |inside: &[u8]| eth(0x8847, &join(&[&[0, 0, 0x11, 64, 0, 0, 0, 0], inside]));
    let frame = (0..=LEVELS_MAX).fold(frame_of(&ip), |inside, _| wire(&inside));
    let (decoded, _, layers) = decode(ethernet(&frame));
    assert_eq!((decoded, layers.fault), (Decoded::Other, Some(Counter::TunnelDepth)));
}

#[test]
fn every_fault_is_named_and_counts_for_the_outer_flow() {
    let ip = ip4(6, &[], 0, &tcp(0x18, &[], b"hello"));
    let broken = with(&ip, 0, 0x44);
    let (header, inside) = (Counter::TunnelHeader, Counter::TunnelBroken);
    let vni = [8, 0, 0, 0, 0, 0, 5, 0];
    let datagram = |port, payload: &[&[u8]]| ip4(17, &[], 0, &udp(port, &join(payload)));
    for (name, outside, fault) in [
        ("gre cut", ip4(47, &[], 0, &[0, 0, 8]), header),
        ("gre, key cut", ip4(47, &[], 0, &[0x20, 0, 8, 0, 1, 2]), header),
        ("gre version 2", gre([0, 2], [8, 0], &[], &ip), header),
        ("gre version 1 of ip", gre([0x20, 1], [8, 0], &[0; 4], &ip), header),
        ("gre, endless routing", gre([0x40, 0], [8, 0], &[1; 60], &ip), header),
        ("gre, broken packet", gre([0, 0], [8, 0], &[], &broken), inside),
        ("gre of a frame cut", gre([0, 0], [0x65, 0x58], &[], &frame_of(&ip)[..13]), inside),
        ("gre of a packet cut", gre([0, 0], [8, 0], &[], &ip[..ip.len() - 1]), inside),
        ("gre of 33 tags", gre([0, 0], [0x81, 0], &[], &[[0, 1, 0x81, 0]; 33].concat()), inside),
        ("etherip of version 4", ip4(97, &[], 0, &join(&[&[0x40, 0], &frame_of(&ip)])), header),
        ("frame in ip cut", ip4(143, &[], 0, &frame_of(&ip)[..13]), inside),
        ("l2tp, offset beyond", l2tp(0x0202, &[0, 9, 0, 7, 9, 9], &ip), header),
        ("l2tp, offset cut", ip4(17, &[], 0, &udp(1701, &[2, 2, 0, 9, 0, 7, 0])), header),
        ("wccp cut", gre([0, 0], [0x88, 0x3e], &[], &[0]), header),
        ("nsh of no path", gre([0, 0], [0x89, 0x4f], &[], &with(&NSH, 1, 0xc1)), header),
        ("nsh of version 1", gre([0, 0], [0x89, 0x4f], &[], &join(&[&with(&NSH, 0, 0x4f), &ip])), header),
        ("nsh, metadata beyond", gre([0, 0], [0x89, 0x4f], &[], &with(&NSH, 1, 0xc3)), header),
        ("nsh of nothing", gre([0, 0], [0x89, 0x4f], &[], &NSH), inside),
        ("macsec, encrypted", bridged(0x88e5, &with(&MACSEC, 0, 0x2c), &ip, &[]), Counter::MacsecEncrypted),
        ("macsec without its check", gre([0, 0], [0x88, 0xe5], &[], &join(&[&MACSEC, &[8; 17]])), inside),
        ("macsec, short length beyond", bridged(0x88e5, &with(&MACSEC, 1, 48), &ip, &[]), inside),
        ("e-tag cut", gre([0, 0], [0x89, 0x3f], &[], &[0; 7]), inside),
        ("vn-tag cut", gre([0, 0], [0x89, 0x26], &[], &[0; 5]), inside),
        (
            "erspan 2 of version 3",
            gre([0x10, 0], [0x88, 0xbe], &[0, 0, 0, 1, 0x30, 7, 0, 3, 0, 0, 0, 9], &frame_of(&ip)),
            header,
        ),
        ("erspan 3 cut", gre([0x10, 0], [0x22, 0xeb], &[0, 0, 0, 1, 0x20, 7, 0, 3], &[]), header),
        ("vxlan, broken packet", datagram(4789, &[&vni, &frame_of(&broken)]), inside),
        ("geneve, options beyond", datagram(6081, &[&with(&GENEVE_FRAMES, 0, 0x3f), &frame_of(&ip)]), header),
        ("gtp, extension of 0", gtp(4, &[0, 0, 0, 0x85, 0, 0, 0, 0], &ip), header),
        ("gtp, endless extensions", gtp(4, &[[0, 0, 0, 0x85], [1, 0, 0, 0x85]].concat().repeat(9), &[]), header),
        ("ipv6 by number 4", ip4(4, &[], 0, &ip6(17, &udp(53, b"x"))), inside),
        ("ipv4 by number 41", ip4(41, &[], 0, &ip), inside),
        ("labels without end", ip4(137, &[], 0, &[0; 400]), inside),
        ("labels cut", ip4(137, &[], 0, &LABELS[..7]), inside),
    ] {
        let (packet, layers) = flow(&frame_of(&outside));
        assert_eq!(layers.fault, Some(fault), "{name}");
        assert_eq!((packet.key.is_tunnelled(), layers.outer.depth()), (false, 0), "{name}");
        assert_eq!(packet.key.protocol(), outside[9], "{name}");
        assert_ne!(packet.tunnel, Tunnel::None, "{name}");
    }
    for (name, frame, reason) in [
        (
            "pppoe of a broken packet",
            eth(0x8864, &join(&[&[0x11, 0, 0, 1, 0, 47, 0, 0x21], &broken])),
            Counter::DropIpHeaderLength,
        ),
        (
            "pppoe longer than its frame",
            eth(0x8864, &join(&[&[0x11, 0, 0, 1, 0, 48, 0, 0x21], &ip])),
            Counter::DropTruncatedLink,
        ),
        ("e-tag cut", eth(0x893f, &[0; 7]), Counter::DropTruncatedLink),
        ("vn-tag cut", eth(0x8926, &[0; 5]), Counter::DropTruncatedLink),
        ("macsec cut", eth(0x88e5, &MACSEC[..5]), Counter::DropTruncatedLink),
        ("macsec, sender cut", eth(0x88e5, &MACSEC[..13]), Counter::DropTruncatedLink),
        ("nsh cut", eth(0x894f, &NSH[..7]), Counter::DropTruncatedLink),
        ("pppoe cut", eth(0x8864, &[0x11, 0, 0, 1, 0]), Counter::DropTruncatedLink),
        ("labels cut", eth(0x8847, &LABELS[..7]), Counter::DropTruncatedLink),
        ("labels without end", eth(0x8848, &[0; 400]), Counter::DropLabelDepth),
        ("labels of nothing", eth(0x8848, &LABELS), Counter::DropTruncatedIp),
    ] {
        assert_eq!(decode(ethernet(&frame)).0, Decoded::Reject(reason), "{name}");
    }
}

#[test]
fn a_datagram_to_a_tunnels_port_that_is_none_stays_one() {
    let frame = frame_of(&ip4(6, &[], 0, &tcp(0x18, &[], b"hello")));
    let vni = [8, 0, 0, 0, 0, 0, 5, 0];
    let echo = [0x32, 1, 0, 4, 0, 0, 0, 0, 0, 1, 0, 0];
    let v6 = ip6(17, &udp(53, b"x"));
    for (port, payload) in [
        (4789, b"hello".to_vec()),
        (4789, vni[..7].to_vec()),
        (4789, join(&[&with(&vni, 0, 0), &frame])),
        (4789, join(&[&with(&vni, 0, 0x0c), &frame[..13]])),
        (4789, join(&[&with(&vni, 2, 1), &with(&frame, 12, 7)])),
        (8472, join(&[&with(&vni, 7, 1), &with(&frame, 14, 0x55)])),
        (8472, join(&[&with(&vni, 7, 1), &frame[..frame.len() - 1]])),
        (4790, join(&[&with(&with(&vni, 0, 0x0c), 3, 5), &with(&frame, 17, 19)])),
        (4789, join(&[&with(&vni, 7, 1), &eth(0x0806, &[0; 28])])),
        (4789, join(&[&with(&vni, 7, 1), &eth(0x8100, &[[0, 1, 0x81, 0]; 9].concat())])),
        (4789, join(&[&with(&vni, 7, 1), &eth(0x894f, &with(&NSH, 3, 9))])),
        (4789, join(&[&with(&vni, 7, 1), &eth(0x8864, &[0x11, 0, 0, 1, 0, 9, 0, 0x21])])),
        (1701, join(&[&[0x10, 2, 0, 9, 0, 7, 0, 0x21], &with(&frame[14..], 0, 0x55)])),
        (1701, join(&[&[0x12, 2, 0, 9, 0, 7, 9, 9], &frame[14..]])),
        (1701, join(&[&[0xc8, 2, 0, 12, 0, 9, 0, 0, 0, 0, 0, 0], &frame])),
        (1701, join(&[&[0, 3, 0, 9, 0, 7, 0, 0x21], &frame[14..]])),
        (1701, join(&[&[0, 2, 0, 9, 0, 0, 0, 0x21], &frame[14..]])),
        (1701, join(&[&[0x40, 2, 9, 9, 0, 9, 0, 7, 0, 0x21], &frame[14..]])),
        (1701, vec![0, 2, 0, 9, 0]),
        (6635, b"hello".to_vec()),
        (6635, [0; 80].to_vec()),
        (6635, join(&[&LABELS, &with(&checked(&frame[14..]), 8, 60)])),
        (6635, join(&[&LABELS, &v6[..v6.len() - 1]])),
        (6081, join(&[&with(&GENEVE_FRAMES, 0, 0x40), &frame])),
        (6081, join(&[&with(&GENEVE_FRAMES, 1, 1), &with(&frame, 12, 7)])),
        (6081, join(&[&with(&with(&GENEVE_FRAMES, 0, 0x3f), 7, 1), &frame])),
        (6081, join(&[&with(&GENEVE_FRAMES, 2, 0x66), &frame])),
        (2152, echo.to_vec()),
        (2152, join(&[&[0x20, 255, 0, 45, 0, 0, 0, 9], &frame[14..]])),
        (2152, join(&[&[0x30, 255, 0, 46, 0, 0, 0, 9], &frame[14..]])),
        (3544, join(&[&frame[14..], &[0; 20]])),
        (3544, v6[..v6.len() - 1].to_vec()),
        (3544, v6[..39].to_vec()),
    ] {
        let (packet, layers) = flow(&frame_of(&ip4(17, &[], 0, &udp(port, &payload))));
        assert_eq!((packet.tunnel, packet.key.high().port.max(packet.key.low().port)), (Tunnel::None, 40000), "{port}");
        assert_eq!((packet.payload_bytes as usize, layers.fault, layers.outer.depth()), (payload.len(), None, 0));
    }
}

/// Frames of a tunnel that carry no packet count for the tunnel.
#[test]
fn what_fits_behind_many_tags_is_a_tunnel_and_too_many_are_told() {
    let ip = ip4(6, &[], 0, &tcp(0x18, &[], b"hello"));
    // What receivers ignore is set: only what lies behind tells.
    let odd = [8, 0, 0, 0, 0, 0, 5, 1];
    let wrapped = |inside: &[u8]| flow(&frame_of(&ip4(17, &[], 0, &udp(4789, &join(&[&odd, inside])))));
    let tagged = |count: usize| {
        let (kind, body) = (0..count).fold((0x0800, ip.clone()), |(kind, body), _| (0x8100, tag(7, kind, &body)));
        eth(kind, &body)
    };
    let (plain, _) = flow(&frame_of(&ip));
    for count in [0, 2, 4, 5, 6, 32] {
        let (packet, layers) = wrapped(&tagged(count));
        assert_eq!(tuple(&packet.key, &packet), tuple(&plain.key, &plain), "{count}");
        assert_eq!(
            (layers.fault, layers.anomalies.iter().any(|one| one == HeaderAnomaly::TooManyTags)),
            (None, count > 4)
        );
    }
    for inside in [tagged(33), tagged(60), eth(0x894f, &join(&[&[&with(&NSH, 3, 4)[..]; 40].concat(), &NSH[..], &ip]))]
    {
        let (packet, layers) = wrapped(&inside);
        assert_eq!((packet.key.high().port.max(packet.key.low().port), layers.outer.depth()), (40000, 0));
        assert!(layers.fault.is_some() && !layers.anomalies.is_empty(), "{:?}", layers.fault);
    }
    for inside in [
        eth(0x894f, &join(&[&with(&NSH, 3, 4), &NSH, &ip])),
        eth(0x894f, &join(&[&with(&NSH, 3, 5), &LABELS, &checked(&ip)])),
    ] {
        let (packet, layers) = wrapped(&inside);
        assert_eq!((tuple(&packet.key, &packet), layers.fault), (tuple(&plain.key, &plain), None));
    }
}

#[test]
fn what_is_no_ip_in_a_tunnel_counts_for_the_outer_flow() {
    let arp = eth(0x0806, &[0; 28]);
    for outside in [
        gre([0, 0], [0x65, 0x58], &[], &arp),
        gre([0, 0], [0, 0], &[], &[]),
        gre([0x20, 0x81], [0x88, 0x0b], &[0, 0, 0, 4, 0, 0, 0, 1], &[]),
        gre([0x30, 1], [0x88, 0x0b], &[0, 4, 0, 4, 0, 0, 0, 1], &[0xc0, 0x21, 1, 1]),
        gre([0x10, 0], [0x22, 0xeb], &[0, 0, 0, 1, 0x20, 7, 0, 3, 1, 2, 3, 4, 0, 0, 0x84, 0], &arp),
        ip4(17, &[], 0, &udp(4789, &join(&[&[8, 0, 0, 0, 0, 0, 5, 0], &arp]))),
        gtp(0, &[], &[0x20; 30]),
        ip4(143, &[], 0, &arp),
        ip4(17, &[], 0, &udp(1701, &[0, 2, 0, 9, 0, 7, 0xff, 3, 0xc0, 0x21, 1, 1, 0, 4])),
        ip4(137, &[], 0, &[0, 0, 0xd1, 64, 0x10, 0, 0, 7]),
    ] {
        let (packet, layers) = flow(&frame_of(&outside));
        assert_eq!((packet.key.is_tunnelled(), layers.fault, layers.outer.depth()), (false, None, 0));
        assert_ne!(packet.tunnel, Tunnel::None);
    }
    for frame in [
        eth(0x8864, &[0x11, 0, 0, 1, 0, 6, 0xc0, 0x21, 1, 1, 0, 4]),
        eth(0x8863, &[0x11, 9, 0, 0, 0, 0]),
        eth(0x8847, &[0, 0, 0x11, 64, 0x10, 0, 0, 7]),
        eth(0x8847, &join(&[&[0, 0, 0x11, 64], &[0xaa; 30]])),
        eth(0x894f, &with(&NSH, 3, 9)),
        eth(0x88e5, &join(&[&with(&MACSEC, 0, 0x24), &[0; 60]])),
        eth(0x88e5, &join(&[&with(&MACSEC, 0, 0xa0), &[0; 60]])),
    ] {
        assert_eq!(decode(ethernet(&frame)).0, Decoded::Other);
    }
}

#[test]
fn frames_in_labels_are_found_where_that_is_safe() {
    let ip = ip4(6, &[], 0, &tcp(0x18, &[], b"hello"));
    let (alone, _) = flow(&frame_of(&ip));
    let bottom = [0, 0, 0x11, 64];
    for (name, inside) in [
        ("control word", join(&[&[0, 0, 0, 9], &frame_of(&ip)])),
        ("no control word", frame_of(&ip)),
        ("an address like IPv4", with(&frame_of(&ip), 0, 0x4c)),
        ("an address like IPv6", with(&frame_of(&ip), 0, 0x64)),
        ("explicit null", ip.clone()),
        ("an address like a type of frames", checked(&with(&with(&ip, 12, 8), 13, 0))),
        ("tagged", join(&[&[0, 0, 0, 0], &eth(0x8100, &tag(9, 0x0800, &ip))])),
    ] {
        let (packet, layers) = flow(&eth(0x8847, &join(&[&bottom, &inside])));
        if !name.contains("a type of") {
            assert_eq!(tuple(&packet.key, &packet), tuple(&alone.key, &alone), "{name}");
        }
        assert_eq!(layers.outer.levels().collect::<Vec<_>>(), [(Tunnel::Mpls, 1)], "{name}");
        assert_eq!(packet.key.vlans().0, if name == "tagged" { 9 } else { 0 });
    }
}

/// Tags and their kin on a frame of its own: the flow is that of the frame without them, and they are told.
#[test]
fn tags_on_a_frame_leave_its_flow_and_are_told() {
    let ip = ip4(6, &[], 0, &tcp(0x18, &[], b"hello"));
    let tagged = |ids: &[u16], ip: &[u8]| {
        let (first, rest) = ids.split_first().unwrap();
        let inside = rest.iter().rev().fold((0x0800, ip.to_vec()), |(kind, body), id| (0x8100, tag(*id, kind, &body)));
        eth(0x8100, &tag(*first, inside.0, &inside.1))
    };
    let behind = |kind: u16, head: &[u8], frame: &[u8]| eth(kind, &join(&[head, &frame[12..]]));
    let (plain, one, two) = (frame_of(&ip), tagged(&[5], &ip), tagged(&[5, 6], &ip));
    let ends = tagged(&[5, 8], &ip);
    let e_tag = [0x10, 0, 0, 0xd3, 0, 0];
    let trailer = |frame: Vec<u8>| join(&[&frame, &[0; 16]]);
    for (name, frame, same, level, vlans) in [
        ("e-tag", behind(0x893f, &e_tag, &plain), &plain, (Tunnel::ETag, 0xd3), vec![]),
        ("e-tag, vlan", behind(0x893f, &e_tag, &one), &one, (Tunnel::ETag, 0xd3), vec![5]),
        ("vn-tag, vlans", behind(0x8926, &[0; 4], &two), &two, (Tunnel::VnTag, 0), vec![5, 6]),
        ("macsec", trailer(behind(0x88e5, &MACSEC, &one)), &one, (Tunnel::Macsec, 7), vec![5]),
        ("macsec, short", trailer(behind(0x88e5, &with(&MACSEC, 1, 47), &plain)), &plain, (Tunnel::Macsec, 7), vec![]),
        ("nsh", eth(0x894f, &join(&[&NSH, &ip])), &plain, (Tunnel::Nsh, 0x1_0203), vec![]),
        ("three tags", tagged(&[5, 6, 8], &ip), &ends, (Tunnel::VlanStack, 6), vec![5, 6, 8]),
        ("four tags", tagged(&[5, 6, 7, 8], &ip), &ends, (Tunnel::VlanStack, 0x6007), vec![5, 6, 7, 8]),
    ] {
        let ((packet, layers), (alone, _)) = (flow(&frame), flow(same));
        assert_eq!((packet.key, packet.payload_bytes), (alone.key, alone.payload_bytes), "{name}");
        assert_eq!(layers.outer.levels().collect::<Vec<_>>(), [level], "{name}");
        assert_eq!((packet.tunnel, layers.outer.carrier(), layers.fault), (level.0, None, None), "{name}");
        assert_eq!(layers.outer.vlans().collect::<Vec<_>>(), vlans, "{name}");
        // Without leave to enter they are frames of another kind; tags of VLANs are none of that.
        let (mut packet, mut closed) = (Packet::default(), Layers::new(false));
        let decoded = decode_rest(&frame, 0, LinkType::Ethernet, &mut packet, &mut closed);
        let expected = if level.0 == Tunnel::VlanStack { Decoded::Flow } else { Decoded::Other };
        assert_eq!((decoded, closed.outer.depth(), packet.tunnel), (expected, 0, Tunnel::None), "{name}");
    }
    // Three tags in a tunnel are told behind the frame's own.
    let inside = gre([0, 0], [0x65, 0x58], &[], &tagged(&[5, 6, 8], &ip));
    let (_, layers) = flow(&tagged(&[1, 2, 3], &inside));
    assert_eq!(layers.outer.vlans().collect::<Vec<_>>(), [1, 2, 3, 5, 6, 8]);
    // The first version of WCCP has no header.
    let (packet, layers) = flow(&frame_of(&gre([0, 0], [0x88, 0x3e], &[], &ip)));
    assert_eq!((packet.key, layers.outer.innermost()), (flow(&plain).0.key, Tunnel::Wccp));
    // Fragments too.
    let first = eth(0x893f, &join(&[&e_tag, &[8, 0], &ip4(17, &[], 0x2000, &udp(53, &[1; 16]))]));
    let (decoded, packet, _) = decode(ethernet(&first));
    assert_eq!((decoded, packet.tunnel), (Decoded::FirstFragment, Tunnel::ETag));
    // What is encrypted is a frame of another kind with a counter.
    let (decoded, _, layers) = decode(ethernet(&behind(0x88e5, &with(&MACSEC, 0, 0x2c), &plain)));
    assert_eq!((decoded, layers.fault), (Decoded::Other, Some(Counter::MacsecEncrypted)));
}

#[test]
fn serial_lines_carry_packets_too() {
    let (v4, v6) = (ip4(6, &[], 0, &tcp(0x18, &[], b"hello")), ip6(17, &udp(443, b"hello")));
    for (head, ip) in [
        (vec![0xff, 3, 0, 0x21], &v4),
        (vec![0, 0x21], &v4),
        (vec![0x21], &v4),
        (vec![0xff, 3, 0x57], &v6),
        (vec![0, 0x57], &v6),
        (vec![0x0f, 0, 8, 0], &v4),
        (vec![0x8f, 0, 0x86, 0xdd], &v6),
        (vec![0xff, 3, 2, 0x81, 0, 0, 0x11, 64], &v4),
    ] {
        let frame = join(&[&head, ip]);
        let (decoded, packet, _) = decode(view(&frame, frame.len(), LinkType::Ppp));
        assert_eq!((decoded, packet.key), (Decoded::Flow, flow(&frame_of(ip)).0.key), "{head:02x?}");
    }
    for (frame, decoded) in [
        (vec![], Decoded::Reject(Counter::DropTruncatedLink)),
        (vec![0xff, 3], Decoded::Reject(Counter::DropTruncatedLink)),
        (vec![0xff, 3, 0], Decoded::Reject(Counter::DropTruncatedLink)),
        (vec![0xff, 3, 0xc0, 0x21, 1], Decoded::Other),
        (vec![0x0f, 0, 0x80, 0x35, 0], Decoded::Other),
    ] {
        assert_eq!(decode(view(&frame, frame.len(), LinkType::Ppp)).0, decoded, "{frame:02x?}");
    }
}

#[test]
fn teredo_is_entered_from_either_side() {
    let v6 = ip6(17, &udp(53, b"hello"));
    let authentication = join(&[&[0, 1, 2, 3], &[9; 5], &[7; 8], &[0]]);
    let origin = [0, 0, 1, 2, 3, 4, 5, 6];
    let (alone, _) = flow(&frame_of(&v6));
    for payload in [
        v6.clone(),
        join(&[&origin, &v6]),
        join(&[&authentication, &v6]),
        join(&[&authentication, &origin, &v6]),
        join(&[&v6, &[1, 4, 0, 0, 0, 0]]),
    ] {
        let mut keys = Vec::new();
        for from_server in [false, true] {
            let mut datagram = udp(3544, &payload);
            if from_server {
                datagram[..4].rotate_left(2);
            }
            let (packet, layers) = flow(&frame_of(&ip4(17, &[], 0, &datagram)));
            assert_eq!(tuple(&packet.key, &packet), tuple(&alone.key, &alone));
            assert_eq!(layers.outer.levels().collect::<Vec<_>>(), [(Tunnel::Teredo, 0)]);
            keys.push(packet.key);
        }
        assert_eq!(keys[0], keys[1]);
    }
}

#[test]
fn errors_in_tunnels_quote_flows_in_them() {
    let sent = ip4(17, &[], 0, &udp(9, b"payload"));
    let error = ip4(1, &[], 0, &icmp(3, 3, &sent[..28]));
    for wrap in wraps() {
        let (original, _) = flow(&frame_of(&(wrap.wrap)(&sent)));
        let frame = frame_of(&(wrap.wrap)(&error));
        let (packet, _) = flow(&frame);
        assert_eq!(quoted_flow(ethernet(&frame), &packet), Some((original.key, original.direction)), "{}", wrap.name);
    }
}

#[test]
fn fragments_in_tunnels_find_each_other_and_fragments_of_tunnels_are_not_entered() {
    let datagram = udp(53, &[1; 40]);
    let cases = [
        (ip4(17, &[], 0x2000, &datagram[..24]), ip4(17, &[], 3, &datagram[24..])),
        (ip6(44, &fragment6(17, 0, true, &datagram[..24])), ip6(44, &fragment6(17, 3, false, &datagram[24..]))),
    ];
    for (first, later) in cases {
        for wrap in wraps() {
            let mut table = FragmentTable::new(FragmentSettings::default(), 1);
            let (decoded, mut one, layers) = decode(ethernet(&frame_of(&(wrap.wrap)(&first))));
            assert_eq!((decoded, layers.fault), (Decoded::FirstFragment, None), "{}", wrap.name);
            let (decoded, mut two, _) = decode(ethernet(&frame_of(&(wrap.wrap)(&later))));
            assert_eq!(decoded, Decoded::LaterFragment, "{}", wrap.name);
            assert_eq!(table.resolve(Decoded::FirstFragment, &mut one, Timestamp(5)), Ok(()));
            assert_eq!(table.resolve(Decoded::LaterFragment, &mut two, Timestamp(5)), Ok(()), "{}", wrap.name);
            assert_eq!((one.key, one.direction, one.tunnel), (two.key, two.direction, two.tunnel));
        }
    }
    let frame = frame_of(&ip4(6, &[], 0, &tcp(2, &SYN_OPTIONS, b"")));
    let piece = udp(4789, &join(&[&[8, 0, 0, 0, 0, 0, 5, 0], &frame]));
    let (decoded, packet, layers) = decode(ethernet(&frame_of(&ip4(17, &[], 0x2000, &piece))));
    assert_eq!((decoded, layers.outer.depth()), (Decoded::FirstFragment, 0));
    assert_eq!((packet.tunnel, packet.key.is_tunnelled()), (Tunnel::Vxlan, false));
}

#[test]
fn whatever_is_cut_off_is_counted_somewhere() {
    let ip = ip4(6, &[], 0, &tcp(0x18, &[], b"hello"));
    let (alone, _) = flow(&frame_of(&ip));
    for wrap in wraps() {
        let frame = frame_of(&(wrap.wrap)(&ip));
        let (whole, _) = flow(&frame);
        let headers = usize::from(whole.payload_offset);
        for length in 0..frame.len() {
            let (decoded, packet, layers) = decode(view(&frame[..length], frame.len(), LinkType::Ethernet));
            let inside = tuple(&packet.key, &packet) == tuple(&alone.key, &alone);
            match decoded {
                Decoded::Flow if inside => assert!(length >= headers, "{} {length}", wrap.name),
                Decoded::Flow => {
                    let named = layers.fault.is_some() || packet.tunnel == Tunnel::None;
                    assert!(named, "{} {length}", wrap.name);
                }
                other => assert!(matches!(other, Decoded::Reject(_)), "{} {length}: {other:?}", wrap.name),
            }
            assert!(length < headers || inside, "{} {length}", wrap.name);
        }
    }
}

/// The fuzzer's seeds: for each kind of tunnel a frame of every form it has, in the form of [`crate::fuzzing`]'s `frames`.
/// `SHRIKE_WRITE_DOCS=1` writes them anew.
#[test]
fn the_fuzzer_begins_with_every_kind_of_tunnel() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decode");
    let inside = [ip4(6, &[], 0, &tcp(0x18, &[], b"hello")), ip6(17, &udp(53, b"hello"))];
    let mut seeds = std::collections::BTreeMap::<&str, Vec<u8>>::new();
    let of_kinds = wraps().into_iter().flat_map(|wrap| inside.each_ref().map(|ip| (wrap.kind, (wrap.wrap)(ip))));
    let teredo = (Tunnel::Teredo, ip4(17, &[], 0, &udp(3544, &inside[1])));
    for (kind, outside) in of_kinds.chain([teredo]) {
        let mut frame = frame_of(&outside);
        frame.resize(frame.len().next_multiple_of(4), 0);
        assert_eq!(flow(&frame).1.outer.innermost(), kind);
        let seed = seeds.entry(kind.name()).or_default();
        seed.extend([0, u8::try_from(frame.len() / 4).unwrap()]);
        seed.extend(frame);
    }
    for (kind, seed) in seeds {
        let path = folder.join(format!("tunnel_{kind}"));
        if std::env::var_os("SHRIKE_WRITE_DOCS").is_some() {
            std::fs::write(&path, &seed).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == seed, "{}: SHRIKE_WRITE_DOCS=1 writes it anew", path.display());
    }
}
