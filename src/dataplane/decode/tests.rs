mod neighbours;
mod quotes;

use super::*;
use crate::dataplane::capture::{FrameView, LinkType};
use crate::metrics::Counter;
use proptest::prelude::*;
use std::net::IpAddr;

/// The long way, called as the short one is.
fn decode_general(frame: FrameView<'_>, packet: &mut Packet) -> Decoded {
    decode_within(frame.bytes, frame.wire_bytes, frame.link, packet, &mut Layers::new(true))
}

/// An Ethernet frame that is on the wire as captured.
pub(super) fn ethernet(bytes: &[u8]) -> FrameView<'_> {
    view(bytes, bytes.len(), LinkType::Ethernet)
}

pub(super) fn view(bytes: &[u8], wire_bytes: usize, link: LinkType) -> FrameView<'_> {
    FrameView { port: 0, bytes, wire_bytes: wire_bytes as u32, time: None, link }
}

/// Fields of everything but `key`'s internals, so that two ways of decoding can be compared.
pub(super) fn digest(packet: &Packet) -> impl PartialEq + std::fmt::Debug + use<> {
    let Packet { key, hash: _, time: _, wire_bytes, payload_bytes, payload_offset, tcp, .. } = *packet;
    let Packet { icmp_type, icmp_code, direction, tunnel, .. } = *packet;
    let lengths = (wire_bytes, payload_bytes, payload_offset);
    let tcp = (tcp.window(), tcp.flags());
    (key, direction, lengths, tcp, (icmp_type, icmp_code), tunnel, (packet.fragment, packet.fragment_id))
}

pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub(super) fn eth(ether_type: u16, rest: &[u8]) -> Vec<u8> {
    join(&[&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &ether_type.to_be_bytes(), rest])
}

/// IPv4 from 10.0.0.9 to 10.0.0.2 with `options` and the fragment field as given.
pub(super) fn ip4(protocol: u8, options: &[u8], fragment: u16, rest: &[u8]) -> Vec<u8> {
    let total = (20 + options.len() + rest.len()) as u16;
    let [t0, t1] = total.to_be_bytes();
    let [f0, f1] = fragment.to_be_bytes();
    let head = [0x45 + (options.len() / 4) as u8, 0, t0, t1, 0xbe, 0xef, f0, f1, 61, protocol, 0, 0];
    join(&[&head, &[10, 0, 0, 9], &[10, 0, 0, 2], options, rest])
}

/// IPv6 from 2001:db8::9 to 2001:db8::2.
pub(super) fn ip6(next: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    let mut head = vec![0x60, 0, 0, 0, length[0], length[1], next, 61];
    for last in [9, 2] {
        head.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    join(&[&head, rest])
}

pub(super) fn tcp(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let offset = (5 + options.len() / 4) as u8;
    let head = [0x9c, 0x40, 1, 0xbb, 1, 2, 3, 4, 5, 6, 7, 8, offset << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0];
    join(&[&head, options, payload])
}

pub(super) fn udp(destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    join(&[&[0x9c, 0x40], &destination.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload])
}

pub(super) fn icmp(kind: u8, code: u8, payload: &[u8]) -> Vec<u8> {
    join(&[&[kind, code, 0, 0, 0x12, 0x34, 0, 1], payload])
}

pub(super) fn tag(id: u16, ether_type: u16, rest: &[u8]) -> Vec<u8> {
    join(&[&(0xe000 | id).to_be_bytes(), &ether_type.to_be_bytes(), rest])
}

/// An IPv6 extension header of 8 times (1 + `extra`) bytes.
pub(super) fn extension(next: u8, extra: u8, rest: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 8 * (1 + usize::from(extra))];
    (head[0], head[1]) = (next, extra);
    join(&[&head, rest])
}

pub(super) fn fragment6(next: u8, offset: u16, more: bool, rest: &[u8]) -> Vec<u8> {
    let [a, b] = (offset << 3 | u16::from(more)).to_be_bytes();
    join(&[&[next, 0, a, b, 0xca, 0xfe, 0xba, 0xbe], rest])
}

pub(super) const SYN_OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7];

/// One kind of packet: (name, frame, protocol, ports as sent, payload).
pub(super) type Kind = (&'static str, Vec<u8>, u8, (u16, u16), u32);

/// One of each kind of packet that ends in a flow.
pub(super) fn flows() -> Vec<Kind> {
    let web = (40000, 443);
    let segment = tcp(0x18, &[], b"hello");
    let echo = icmp(8, 0, b"ping");
    let sctp = join(&[&[0x9c, 0x40, 1, 0xbb], &[0; 8], b"chunk"]);
    let inner = ip4(17, &[], 0, &udp(53, b"x"));
    let ah = |next, rest: &[u8]| join(&[&[next, 4, 0, 0], &[7; 20], rest]);
    let routed = extension(44, 0, &fragment6(51, 0, false, &ah(60, &extension(6, 0, &segment))));
    vec![
        ("tcp", eth(0x0800, &ip4(6, &[], 0, &segment)), 6, web, 5),
        ("tcp, do not fragment", eth(0x0800, &ip4(6, &[], 0x4000, &segment)), 6, web, 5),
        ("tcp options", eth(0x0800, &ip4(6, &[], 0, &tcp(2, &SYN_OPTIONS, b""))), 6, web, 0),
        ("ip options", eth(0x0800, &ip4(6, &[1, 1, 1, 0], 0, &segment)), 6, web, 5),
        ("udp", eth(0x0800, &ip4(17, &[], 0, &udp(443, b"hello"))), 17, web, 5),
        ("udp with a trailer", eth(0x0800, &ip4(17, &[], 0, &join(&[&udp(443, b"hello"), b"xx"]))), 17, web, 5),
        ("icmp echo", eth(0x0800, &ip4(1, &[], 0, &echo)), 1, (0x1234, 0x1234), 4),
        ("icmp timestamp", eth(0x0800, &ip4(1, &[], 0, &icmp(13, 0, &[0; 12]))), 1, (0x1234, 0x1234), 12),
        ("icmp information", eth(0x0800, &ip4(1, &[], 0, &icmp(15, 0, &[]))), 1, (0x1234, 0x1234), 0),
        ("icmp unreachable", eth(0x0800, &ip4(1, &[], 0, &icmp(3, 1, &inner))), 1, (0x0301, 0x0301), 29),
        ("sctp", eth(0x0800, &ip4(132, &[], 0, &sctp)), 132, web, 5),
        ("igmp", eth(0x0800, &ip4(2, &[1; 4], 0, &[0x16; 8])), 2, (0, 0), 8),
        ("gre of nothing known", eth(0x0800, &ip4(47, &[], 0, &[0; 24])), 47, (0, 0), 24),
        ("ip in ip of nothing", eth(0x0800, &ip4(4, &[], 0, &inner[..12])), 4, (0, 0), 12),
        ("authentication", eth(0x0800, &ip4(51, &[], 0, &ah(6, &segment))), 6, web, 5),
        ("vlan", eth(0x8100, &tag(7, 0x0800, &ip4(6, &[], 0, &segment))), 6, web, 5),
        ("vlan, udp", eth(0x8100, &tag(7, 0x0800, &ip4(17, &[], 0, &udp(443, b"hello")))), 17, web, 5),
        ("vlan, tcp over ipv6", eth(0x8100, &tag(7, 0x86dd, &ip6(6, &segment))), 6, web, 5),
        ("vlan, udp over ipv6", eth(0x8100, &tag(7, 0x86dd, &ip6(17, &udp(443, b"hello")))), 17, web, 5),
        ("q in q", eth(0x88a8, &tag(7, 0x8100, &tag(9, 0x86dd, &ip6(6, &segment)))), 6, web, 5),
        ("tcp over ipv6", eth(0x86dd, &ip6(6, &segment)), 6, web, 5),
        ("tcp options over ipv6", eth(0x86dd, &ip6(6, &tcp(2, &SYN_OPTIONS, b""))), 6, web, 0),
        ("udp over ipv6", eth(0x86dd, &ip6(17, &udp(443, b"hello"))), 17, web, 5),
        ("icmpv6 echo", eth(0x86dd, &ip6(58, &icmp(129, 0, b"pong"))), 58, (0x1234, 0x1234), 4),
        ("neighbour solicitation", eth(0x86dd, &ip6(58, &icmp(135, 0, &[0; 16]))), 58, (0x8700, 0x8700), 16),
        ("hop by hop", eth(0x86dd, &ip6(0, &extension(6, 1, &segment))), 6, web, 5),
        ("all extensions", eth(0x86dd, &ip6(0, &extension(60, 0, &extension(43, 2, &routed)))), 6, web, 5),
        (
            "authentication over ipv6",
            eth(0x86dd, &ip6(60, &extension(51, 0, &ah(17, &udp(443, b"hello"))))),
            17,
            web,
            5,
        ),
        ("atomic fragment", eth(0x86dd, &ip6(44, &fragment6(6, 0, false, &segment))), 6, web, 5),
        ("no next header", eth(0x86dd, &ip6(59, &[])), 59, (0, 0), 0),
    ]
}

#[test]
fn every_kind_of_packet_gives_its_flow() {
    for (name, frame, protocol, ports, payload) in flows() {
        let mut packet = Packet::default();
        assert_eq!(decode(ethernet(&frame), &mut packet), Decoded::Flow, "{name}");
        let (from, to) = packet.key.endpoints(packet.direction);
        let addresses: (IpAddr, IpAddr) = if packet.key.is_v4() {
            ([10, 0, 0, 9].into(), [10, 0, 0, 2].into())
        } else {
            ("2001:db8::9".parse().unwrap(), "2001:db8::2".parse().unwrap())
        };
        assert_eq!((from.ip(), to.ip()), addresses, "{name}");
        assert_eq!((packet.key.protocol(), (from.port, to.port)), (protocol, ports), "{name}");
        assert_eq!((packet.payload_bytes, packet.fragment), (payload, false), "{name}");
        assert_eq!(packet.wire_bytes as usize, frame.len(), "{name}");
        let end = usize::from(packet.payload_offset) + payload as usize;
        assert!(end == frame.len() || name == "udp with a trailer" && end + 2 == frame.len(), "{name}");
    }
}

#[test]
fn the_common_kinds_take_a_short_way() {
    for (name, mut frame, ..) in flows() {
        // As on a wire, where no frame is shorter.
        frame.resize(frame.len().max(60), 0);
        let mut packet = Packet::default();
        let plain = decode_plain(ethernet(&frame), &mut packet).is_some();
        let short = super::short::short(&frame, 0, LinkType::Ethernet, &mut packet).is_some();
        let expected = match name {
            "tcp" | "tcp, do not fragment" | "tcp options" | "udp" | "udp with a trailer" => (true, false),
            "vlan" | "vlan, udp" | "vlan, tcp over ipv6" | "vlan, udp over ipv6" => (false, true),
            "tcp over ipv6" | "tcp options over ipv6" | "udp over ipv6" => (false, true),
            _ => (false, false),
        };
        assert_eq!((plain, short), expected, "{name}");
    }
}

/// What may be a tunnel is looked into, and nothing else is: not even where its port differs from a tunnel's in the upper
/// bits only.
#[test]
fn datagrams_to_the_ports_of_tunnels_take_the_long_way() {
    for (port, is_tunnel) in
        [4789_u16, 4790, 8472, 6081, 2152, 3544].into_iter().flat_map(|port| [(port, true), (port ^ 64, false)])
    {
        let (mut frame, mut packet) = (eth(0x0800, &ip4(17, &[], 0, &udp(port, b"hello"))), Packet::default());
        frame.resize(60, 0);
        assert_eq!(decode_plain(ethernet(&frame), &mut packet).is_none(), is_tunnel, "{port}");
        let tagged = eth(0x8100, &tag(7, 0x86dd, &ip6(17, &udp(port, b"hello"))));
        assert_eq!(super::short::short(&tagged, 0, LinkType::Ethernet, &mut packet).is_none(), is_tunnel, "{port}");
    }
    let mut from_server = eth(0x0800, &ip4(17, &[], 0, &udp(50_000, b"hello")));
    from_server.resize(60, 0);
    from_server[34..36].copy_from_slice(&3544_u16.to_be_bytes());
    assert!(decode_plain(ethernet(&from_server), &mut Packet::default()).is_none());
}

#[test]
fn tcp_fields_are_those_of_the_header_and_gone_with_the_next_packet() {
    let mut packet = Packet::default();
    let frame = eth(0x0800, &ip4(6, &[], 0, &tcp(0x12, &SYN_OPTIONS, b"")));
    for decode in [decode, decode_general] {
        assert_eq!(decode(ethernet(&frame), &mut packet), Decoded::Flow);
        assert_eq!((packet.tcp.flags(), packet.tcp.window()), (tcp_flags::SYN | tcp_flags::ACK, 0xfaf0));
        let next = eth(0x0800, &ip4(17, &[], 0, &udp(53, b"x")));
        assert_eq!(decode(ethernet(&next), &mut packet), Decoded::Flow);
        assert_eq!((packet.tcp.flags(), packet.tcp.window()), (0, 0));
    }
}

#[test]
fn vlan_ids_are_the_outermost_and_the_innermost() {
    let ip = ip4(6, &[], 0, &tcp(0x10, &[], b""));
    for (frame, vlans) in [
        (eth(0x0800, &ip), (0, 0)),
        (eth(0x8100, &tag(0, 0x0800, &ip)), (0, 0)),
        (eth(0x8100, &tag(5, 0x0800, &ip)), (5, 0)),
        (eth(0x9100, &tag(5, 0x8100, &tag(6, 0x0800, &ip))), (5, 6)),
        (eth(0x88a8, &tag(5, 0x9100, &tag(6, 0x8100, &tag(7, 0x0800, &ip)))), (5, 7)),
    ] {
        let mut packet = Packet::default();
        assert_eq!(decode(ethernet(&frame), &mut packet), Decoded::Flow);
        assert_eq!(packet.key.vlans(), vlans);
    }
}

#[test]
fn without_leave_to_enter_tunnels_are_named_by_the_receivers_side() {
    let by_name = |frame: &[u8]| {
        let mut packet = Packet::default();
        let mut layers = Layers::new(false);
        assert_eq!(decode_rest(frame, 0, LinkType::Ethernet, &mut packet, &mut layers), Decoded::Flow);
        assert_eq!((layers.outer.depth(), layers.fault), (0, None));
        packet.tunnel
    };
    assert_eq!(by_name(&eth(0x0800, &ip4(47, &[], 0, &[0; 8]))), Tunnel::Gre);
    assert_eq!(by_name(&eth(0x86dd, &ip6(47, &[0; 8]))), Tunnel::Gre);
    assert_eq!(by_name(&eth(0x0800, &ip4(4, &[], 0, &[0; 20]))), Tunnel::IpInIp);
    assert_eq!(by_name(&eth(0x0800, &ip4(41, &[], 0, &[0; 40]))), Tunnel::IpInIp);
    assert_eq!(by_name(&eth(0x86dd, &ip6(4, &[0; 20]))), Tunnel::IpInIp);
    assert_eq!(by_name(&eth(0x86dd, &ip6(137, &[0; 20]))), Tunnel::Mpls);
    for (port, tunnel) in [
        (4789, Tunnel::Vxlan),
        (8472, Tunnel::Vxlan),
        (6081, Tunnel::Geneve),
        (2152, Tunnel::Gtp),
        (3544, Tunnel::Teredo),
        (4790, Tunnel::Vxlan),
        (4791, Tunnel::None),
    ] {
        assert_eq!(by_name(&eth(0x0800, &ip4(17, &[], 0, &udp(port, &[0; 30])))), tunnel);
        assert_eq!(by_name(&eth(0x86dd, &ip6(17, &udp(port, &[0; 30])))), tunnel);
        assert_eq!(by_name(&eth(0x0800, &ip4(6, &[], 0, &tcp(0x10, &[], &port.to_be_bytes())))), Tunnel::None);
    }
    let pppoe = eth(0x8864, &join(&[&[0x11, 0, 0, 1, 0, 30, 0, 0x21], &ip4(17, &[], 0, &udp(53, b""))]));
    let mpls = eth(0x8847, &join(&[&[0, 0, 0x11, 64], &ip4(17, &[], 0, &udp(53, b""))]));
    for frame in [pppoe, mpls] {
        let mut layers = Layers::new(false);
        assert_eq!(decode_rest(&frame, 0, LinkType::Ethernet, &mut Packet::default(), &mut layers), Decoded::Other);
    }
}

#[test]
fn frames_without_ip_are_named() {
    let arp = join(&[&[0, 1, 8, 0, 6, 4, 0, 1], &[0; 20]]);
    for (frame, decoded) in [
        (eth(0x0806, &arp), Decoded::Arp),
        (eth(0x8100, &tag(3, 0x0806, &arp)), Decoded::Arp),
        (eth(0x0026, &[0x42, 0x42, 3, 0, 0]), Decoded::Other),
        (eth(0x05dc, &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0]), Decoded::Other),
        (eth(0x88cc, &[2, 7]), Decoded::Other),
        (eth(0x8863, &[0; 6]), Decoded::Other),
        (eth(0x8864, &[0x11, 1, 0, 0, 0, 0]), Decoded::Other),
    ] {
        assert_eq!(decode(ethernet(&frame), &mut Packet::default()), decoded, "{frame:02x?}");
    }
}

/// `frame` with one byte changed.
pub(super) fn with(frame: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at] = value;
    frame
}

#[test]
fn every_reject_is_named() {
    let segment = tcp(0x10, &[], b"hello");
    let v4 = eth(0x0800, &ip4(6, &[], 0, &segment));
    let v6 = eth(0x86dd, &ip6(6, &segment));
    let datagram = eth(0x0800, &ip4(17, &[], 0, &udp(53, b"hello")));
    let nested =
        |depth: usize| (0..depth).fold(segment.clone(), |rest, i| extension(if i == 0 { 6 } else { 60 }, 0, &rest));
    for (name, frame, counter) in [
        ("short link header", v4[..13].to_vec(), Counter::DropTruncatedLink),
        ("short tag", eth(0x8100, &[0, 5, 8]), Counter::DropTruncatedLink),
        ("33 tags", eth(0x8100, &[[0, 1, 0x81, 0]; 33].concat()), Counter::DropVlanDepth),
        ("no ip header", eth(0x0800, &[]), Counter::DropTruncatedIp),
        ("short ip header", v4[..33].to_vec(), Counter::DropTruncatedIp),
        ("short ipv6 header", v6[..53].to_vec(), Counter::DropTruncatedIp),
        ("ipv6 as ipv4", with(&v4, 14, 0x65), Counter::DropIpVersion),
        ("ipv4 as ipv6", with(&v6, 14, 0x45), Counter::DropIpVersion),
        ("header of 4 words", with(&v4, 14, 0x44), Counter::DropIpHeaderLength),
        ("header beyond packet", with(&with(&v4, 14, 0x4f), 17, 45), Counter::DropIpHeaderLength),
        ("total below header", with(&v4, 17, 19), Counter::DropIpTotalLength),
        ("total beyond frame", with(&v4, 17, 46), Counter::DropIpTotalLength),
        ("ipv6 payload beyond frame", with(&v6, 19, 26), Counter::DropIpTotalLength),
        ("ipv6 payload of 0", with(&with(&v6, 18, 0), 19, 0), Counter::DropTruncatedTransport),
        ("tcp header cut", with(&v4, 17, 39), Counter::DropTruncatedTransport),
        ("tcp offset of 4", with(&v4, 46, 0x40), Counter::DropTcpOffset),
        ("tcp offset beyond segment", with(&v4, 46, 0x70), Counter::DropTcpOffset),
        ("udp of 7", with(&datagram, 39, 7), Counter::DropUdpLength),
        ("udp of 0", with(&datagram, 39, 0), Counter::DropUdpLength),
        ("udp beyond packet", with(&datagram, 39, 14), Counter::DropUdpLength),
        ("icmp of 7", eth(0x0800, &ip4(1, &[], 0, &[8, 0, 0, 0, 0, 0, 0])), Counter::DropTruncatedTransport),
        ("sctp of 11", eth(0x0800, &ip4(132, &[], 0, &[0; 11])), Counter::DropTruncatedTransport),
        ("empty authentication", eth(0x0800, &ip4(51, &[], 0, &[6, 0, 0, 0])), Counter::DropTruncatedTransport),
        (
            "late hop by hop",
            eth(0x86dd, &ip6(60, &extension(0, 0, &extension(6, 0, &segment)))),
            Counter::DropIpv6Extension,
        ),
        ("extension cut", eth(0x86dd, &ip6(60, &[6, 1, 0, 0, 0, 0, 0, 0])), Counter::DropIpv6Extension),
        ("fragment header cut", eth(0x86dd, &ip6(44, &[6, 0, 0, 1])), Counter::DropIpv6Extension),
        ("257 extensions", eth(0x86dd, &ip6(60, &nested(257))), Counter::DropIpv6Extension),
    ] {
        for decode in [decode, decode_general] {
            assert_eq!(decode(ethernet(&frame), &mut Packet::default()), Decoded::Reject(counter), "{name}");
        }
    }
    for many in [8, 9, 185, 256] {
        let frame = eth(0x86dd, &ip6(60, &nested(many)));
        assert_eq!(decode(ethernet(&frame), &mut Packet::default()), Decoded::Flow, "{many}");
    }
}

#[test]
fn all_link_types_lead_to_the_same_packet() {
    let v4 = ip4(6, &[], 0, &tcp(0x10, &[], b"hello"));
    let v6 = ip6(6, &tcp(0x10, &[], b"hello"));
    for (ip, ether_type) in [(&v4, 0x0800_u16), (&v6, 0x86dd)] {
        let mut expected = Packet::default();
        assert_eq!(decode(ethernet(&eth(ether_type, ip)), &mut expected), Decoded::Flow);
        let families: &[u32] = if ether_type == 0x0800 { &[2] } else { &[10, 24, 28, 30] };
        let sll = join(&[&[0, 0, 0, 1, 0, 6], &[0; 8], &ether_type.to_be_bytes()]);
        let sll2 = join(&[&ether_type.to_be_bytes(), &[0; 18]]);
        let mut heads = vec![(LinkType::RawIp, vec![]), (LinkType::LinuxSll, sll), (LinkType::LinuxSll2, sll2)];
        for family in families {
            heads.push((LinkType::Null, family.to_le_bytes().to_vec()));
            heads.push((LinkType::Null, family.to_be_bytes().to_vec()));
        }
        for (link, head) in heads {
            let frame = join(&[&head, ip]);
            let mut packet = Packet::default();
            assert_eq!(decode(view(&frame, frame.len(), link), &mut packet), Decoded::Flow, "{link:?}");
            assert_eq!((packet.key, packet.direction), (expected.key, expected.direction), "{link:?}");
            assert_eq!(usize::from(packet.payload_offset) + 5, frame.len(), "{link:?}");
            for length in 0..head.len() {
                let decoded = decode(view(&frame[..length], length, link), &mut packet);
                assert_eq!(decoded, Decoded::Reject(Counter::DropTruncatedLink), "{link:?} {length}");
            }
        }
    }
    let rejects: [(&[u8], LinkType, Decoded); 5] = [
        (&[], LinkType::RawIp, Decoded::Reject(Counter::DropTruncatedIp)),
        (&[0x50], LinkType::RawIp, Decoded::Reject(Counter::DropIpVersion)),
        (&[7, 0, 0, 0], LinkType::Null, Decoded::Other),
        (&[0; 64], LinkType::Other(105), Decoded::Reject(Counter::DropLinkType)),
        (&[0; 16], LinkType::LinuxSll, Decoded::Other),
    ];
    for (bytes, link, decoded) in rejects {
        assert_eq!(decode(view(bytes, bytes.len(), link), &mut Packet::default()), decoded, "{link:?}");
    }
}

#[test]
fn ethernet_padding_is_no_payload() {
    for (name, frame, _, _, payload) in flows() {
        let mut padded = frame.clone();
        padded.resize(frame.len() + 46, 0);
        let (mut plain, mut packet) = (Packet::default(), Packet::default());
        assert_eq!(decode(ethernet(&frame), &mut plain), Decoded::Flow, "{name}");
        assert_eq!(decode(ethernet(&padded), &mut packet), Decoded::Flow, "{name}");
        assert_eq!((packet.key, packet.payload_bytes), (plain.key, payload), "{name}");
        assert_eq!(packet.wire_bytes as usize, padded.len(), "{name}");
    }
}

#[test]
fn a_frame_that_ends_early_is_refused_and_a_capture_that_does_is_read_as_far_as_it_goes() {
    for (name, frame, ..) in flows() {
        let mut whole = Packet::default();
        assert_eq!(decode(ethernet(&frame), &mut whole), Decoded::Flow, "{name}");
        // Fixed part of the transport header: what must be captured.
        let fixed = match whole.key.protocol() {
            6 => 20,
            17 | 1 | 58 => 8,
            132 => 12,
            _ => 0,
        };
        let transport = if whole.key.protocol() == 6 && name.starts_with("tcp options") {
            usize::from(whole.payload_offset) - 40
        } else {
            usize::from(whole.payload_offset) - fixed
        };
        for length in 0..frame.len() {
            let mut packet = Packet::default();
            let cut = decode(view(&frame[..length], frame.len(), LinkType::Ethernet), &mut packet);
            if length >= transport + fixed {
                assert_eq!(cut, Decoded::Flow, "{name} captured to {length}");
                assert_eq!(digest(&packet), digest(&whole), "{name} captured to {length}");
            } else {
                assert!(matches!(cut, Decoded::Reject(_)), "{name} captured to {length}: {cut:?}");
            }
            // The same bytes with nothing beyond them on the wire: IP announces more than there is.
            let short = decode(ethernet(&frame[..length]), &mut packet);
            let trailer = name == "udp with a trailer" || length >= frame.len();
            assert!(matches!(short, Decoded::Reject(_)) || trailer, "{name} ends at {length}: {short:?}");
        }
    }
}

#[test]
fn a_total_length_of_zero_takes_the_frame() {
    let frame = eth(0x0800, &ip4(6, &[], 0, &tcp(0x10, &[], &[7; 3000])));
    let frame = with(&with(&frame, 16, 0), 17, 0);
    let mut packet = Packet::default();
    assert_eq!(decode(ethernet(&frame), &mut packet), Decoded::Flow);
    assert_eq!(packet.payload_bytes, 3000);
    // BIG TCP over IPv6, cut by the snap length: only a frame beyond 64 KiB may announce 0.
    let frame = eth(0x86dd, &ip6(6, &tcp(0x10, &[], &[7; 30])));
    let frame = with(&with(&frame, 18, 0), 19, 0);
    assert_eq!(decode(view(&frame, 90_054, LinkType::Ethernet), &mut packet), Decoded::Flow);
    assert_eq!(packet.payload_bytes, 90_000 - 20);
}

#[test]
fn a_source_that_understates_the_wire_length_is_corrected() {
    let frame = eth(0x0800, &ip4(6, &[], 0, &tcp(0x10, &[], b"hello")));
    let mut packet = Packet::default();
    assert_eq!(decode(view(&frame, 0, LinkType::Ethernet), &mut packet), Decoded::Flow);
    assert_eq!(packet.wire_bytes as usize, frame.len());
}

#[test]
fn fragments_of_both_versions() {
    let datagram = udp(53, &[1; 40]);
    let cases = [
        (eth(0x0800, &ip4(17, &[], 0x2000, &datagram[..24])), eth(0x0800, &ip4(17, &[], 3, &datagram[24..])), 0xbeef),
        (
            eth(0x86dd, &ip6(44, &fragment6(17, 0, true, &datagram[..24]))),
            eth(0x86dd, &ip6(44, &fragment6(17, 3, false, &datagram[24..]))),
            0xcafe_babe,
        ),
        // The first one is followed to the transport through an extension header that the later one only names.
        (
            eth(0x86dd, &ip6(44, &fragment6(60, 0, true, &extension(17, 0, &datagram[..24])))),
            eth(0x86dd, &ip6(44, &fragment6(60, 4, false, &datagram[24..]))),
            0xcafe_babe,
        ),
    ];
    for (first, later, id) in cases {
        let mut table = FragmentTable::new(FragmentSettings::default(), 1);
        let now = crate::units::Timestamp(5);
        let (mut a, mut b) = (Packet::default(), Packet::default());
        assert_eq!(decode(ethernet(&later), &mut b), Decoded::LaterFragment);
        assert_eq!((b.key.low().port, b.key.high().port, b.payload_bytes), (0, 0, 24));
        assert_eq!(table.resolve(Decoded::LaterFragment, &mut b, now), Err(Counter::DropFragmentUnknown));
        assert_eq!(decode(ethernet(&first), &mut a), Decoded::FirstFragment);
        assert_eq!((a.fragment, a.fragment_id, a.payload_bytes), (true, id, 16));
        assert_eq!(table.resolve(Decoded::FirstFragment, &mut a, now), Ok(()));
        assert_eq!(table.resolve(Decoded::LaterFragment, &mut b, now), Ok(()));
        assert_eq!((b.key, b.direction, b.fragment_id), (a.key, a.direction, id));
    }
}

/// A frame that begins as one of the known kinds and had some bytes changed and its end moved.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<Vec<u8>> = flows().into_iter().map(|case| case.1).collect();
    let changes = proptest::collection::vec((0_usize..80, any::<u8>()), 0..4);
    (proptest::sample::select(seeds), changes, 0_usize..120).prop_map(|(mut frame, changes, length)| {
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        if length < 100 {
            frame.resize(length.max(30), 0);
        }
        frame
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_short_way_and_the_long_way_agree(frame in mutated(), beyond in 0_usize..40) {
        let view = view(&frame, frame.len() + beyond.saturating_sub(20), LinkType::Ethernet);
        let (mut short, mut long) = (Packet::default(), Packet::default());
        let decoded = decode(view, &mut short);
        prop_assert_eq!(decoded, decode_general(view, &mut long));
        if !matches!(decoded, Decoded::Reject(_) | Decoded::Arp | Decoded::Other) {
            prop_assert_eq!(digest(&short), digest(&long));
        }
    }

    #[test]
    fn any_bytes_on_any_link_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200), wire in 0_u32..300) {
        let links = [LinkType::RawIp, LinkType::Null, LinkType::LinuxSll, LinkType::LinuxSll2, LinkType::Ppp];
        for link in links.into_iter().chain([LinkType::Ethernet]) {
            let frame = FrameView { port: 0, bytes: &bytes, wire_bytes: wire, time: None, link };
            let mut packet = Packet::default();
            if let Decoded::Flow = decode(frame, &mut packet) {
                let _ = quoted_flow(frame, &packet);
                let end = u32::from(packet.payload_offset) + packet.payload_bytes;
                prop_assert!(end <= packet.wire_bytes);
            }
        }
    }

    #[test]
    fn a_reply_has_the_key_of_its_request(frame in mutated()) {
        let mut reply = frame.clone();
        let mut packet = Packet::default();
        if decode(ethernet(&frame), &mut packet) == Decoded::Flow && reply.len() >= 38 && reply[12..14] == [8, 0] {
            let header = 14 + usize::from(reply[14] & 15) * 4;
            let (from, to) = ([reply[26], reply[27], reply[28], reply[29]], [reply[30], reply[31], reply[32], reply[33]]);
            reply[26..30].copy_from_slice(&to);
            reply[30..34].copy_from_slice(&from);
            if matches!(packet.key.protocol(), 6 | 17 | 132) && reply[23] != 51 {
                let ports: [u8; 4] = reply[header..header + 4].try_into().unwrap();
                reply[header..header + 4].copy_from_slice(&[ports[2], ports[3], ports[0], ports[1]]);
            } else if packet.key.protocol() != reply[23] {
                return Ok(());
            }
            let mut other = Packet::default();
            prop_assert_eq!(decode(ethernet(&reply), &mut other), Decoded::Flow);
            prop_assert_eq!(other.key, packet.key);
        }
    }
}
