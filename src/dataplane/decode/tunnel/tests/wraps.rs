//! Tunnels of every kind round a packet.

use super::*;

/// A tunnel round an IP packet, as an IP packet.
pub(super) struct Wrap {
    pub(super) name: &'static str,
    pub(super) kind: Tunnel,
    pub(super) id: u32,
    pub(super) wrap: Around,
}

impl Wrap {
    /// Its packets' keys are those of plain ones.
    pub(super) fn adds_no_network(&self) -> bool {
        matches!(self.name, "mpls in ip" | "mpls in udp" | "wccp")
    }
}

pub(super) type Around = fn(&[u8]) -> Vec<u8>;

pub(super) fn gre(flags: [u8; 2], protocol: [u8; 2], fields: &[u8], rest: &[u8]) -> Vec<u8> {
    ip4(47, &[], 0, &join(&[&flags, &protocol, fields, rest]))
}

pub(super) fn gtp(flags: u8, fields: &[u8], ip: &[u8]) -> Vec<u8> {
    let [a, b] = ((fields.len() + ip.len()) as u16).to_be_bytes();
    ip4(17, &[], 0, &udp(2152, &join(&[&[0x30 | flags, 255, a, b, 0, 0, 0, 9], fields, ip])))
}

pub(super) fn l2tp(flags: u16, fields: &[u8], ip: &[u8]) -> Vec<u8> {
    ip4(17, &[], 0, &udp(1701, &join(&[&flags.to_be_bytes(), fields, &ppp_protocol(ip), ip])))
}

pub(super) fn pptp(fields: &[u8], flags: [u8; 2], ppp: &[u8], ip: &[u8]) -> Vec<u8> {
    let [a, b] = ((ppp.len() + ip.len()) as u16).to_be_bytes();
    gre(flags, [0x88, 0x0b], &join(&[&[a, b, 0, 4], fields]), &join(&[ppp, ip]))
}

pub(super) fn ppp_protocol(ip: &[u8]) -> [u8; 2] {
    if ip[0] >> 4 == 4 { [0, 0x21] } else { [0, 0x57] }
}

/// An IPv4 packet with its checksum; any other as it is.
pub(super) fn checked(ip: &[u8]) -> Vec<u8> {
    if ip[0] >> 4 != 4 {
        return ip.to_vec();
    }
    let header = ip[..usize::from(ip[0] & 0x0f) * 4].chunks(2);
    let sum: u32 = header.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let [a, b] = (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes();
    with(&with(ip, 10, a), 11, b)
}

/// A frame in GRE with something between its addresses and its EtherType.
pub(super) fn bridged(kind: u16, head: &[u8], ip: &[u8], tail: &[u8]) -> Vec<u8> {
    gre([0, 0], [0x65, 0x58], &[], &eth(kind, &join(&[head, &ether_type(ip), ip, tail])))
}

/// Flags, no length, number 9; then the sender's address and port 7.
pub(super) const MACSEC: [u8; 14] = [0x20, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 2, 0, 7];
/// Two words, so no metadata; IPv4; path 0x010203, index 255.
pub(super) const NSH: [u8; 8] = [0x0f, 0xc2, 1, 1, 1, 2, 3, 255];
pub(super) const LABELS: [u8; 8] = [0, 1, 0x20, 64, 0, 2, 0x31, 64];
pub(super) const GENEVE_FRAMES: [u8; 8] = [0, 0, 0x65, 0x58, 0, 0, 5, 0];

#[rustfmt::skip]
pub(super) fn wraps() -> Vec<Wrap> {
    fn of(name: &'static str, kind: Tunnel, id: u32, wrap: Around) -> Wrap {
        Wrap { name, kind, id, wrap }
    }
    vec![
        of("gre", Tunnel::Gre, 0, |ip| gre([0, 0], ether_type(ip), &[], ip)),
        of("gre over ipv6", Tunnel::Gre, 0, |ip| ip6(47, &join(&[&[0, 0], &ether_type(ip), ip]))),
        of("gre, checksum", Tunnel::Gre, 0, |ip| gre([0x80, 0], ether_type(ip), &[7; 4], ip)),
        of("gre, key", Tunnel::Gre, 0x0102_0304, |ip| gre([0x20, 0], ether_type(ip), &[1, 2, 3, 4], ip)),
        of("gre, sequence", Tunnel::Gre, 0, |ip| gre([0x10, 0], ether_type(ip), &[7; 4], ip)),
        of("gre, checksum, key, sequence", Tunnel::Gre, 5, |ip| {
            gre([0xb0, 0], ether_type(ip), &[9, 9, 0, 0, 0, 0, 0, 5, 8, 8, 8, 8], ip)
        }),
        of("gre, routing", Tunnel::Gre, 0, |ip| {
            gre([0x40, 0], ether_type(ip), &[0, 0, 0, 0, 8, 0, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0], ip)
        }),
        of("gre of ethernet", Tunnel::Gre, 0, |ip| gre([0, 0], [0x65, 0x58], &[], &frame_of(ip))),
        of("gre of ppp", Tunnel::Gre, 0, |ip| gre([0, 0], [0x88, 0x0b], &[0xff, 3], &join(&[&ppp_protocol(ip), ip]))),
        of("erspan 1", Tunnel::Erspan, 0, |ip| gre([0, 0], [0x88, 0xbe], &[], &frame_of(ip))),
        of("erspan 2", Tunnel::Erspan, 0x203, |ip| {
            gre([0x10, 0], [0x88, 0xbe], &[0, 0, 0, 1, 0x10, 7, 0x1a, 3, 0, 0, 0, 9], &frame_of(ip))
        }),
        of("erspan 3", Tunnel::Erspan, 3, |ip| {
            gre([0x10, 0], [0x22, 0xeb], &[0, 0, 0, 1, 0x20, 7, 0, 3, 1, 2, 3, 4, 0, 0, 0x80, 0], &frame_of(ip))
        }),
        of("erspan 3, subheader", Tunnel::Erspan, 3, |ip| {
            gre([0x10, 0], [0x22, 0xeb], &join(&[&[0, 0, 0, 1, 0x20, 7, 0, 3, 1, 2, 3, 4, 0, 0, 0x80, 1], &[6; 8]]), &frame_of(ip))
        }),
        of("erspan 3 of ip", Tunnel::Erspan, 3, |ip| {
            gre([0x10, 0], [0x22, 0xeb], &[0, 0, 0, 1, 0x20, 7, 0, 3, 1, 2, 3, 4, 0, 0, 0x08, 0], ip)
        }),
        of("pptp", Tunnel::Pptp, 4, |ip| pptp(&[7; 4], [0x30, 0x01], &ppp_protocol(ip), ip)),
        of("pptp, acknowledgement, compressed", Tunnel::Pptp, 4, |ip| {
            pptp(&[7; 8], [0x30, 0x81], &ppp_protocol(ip)[1..], ip)
        }),
        of("vxlan", Tunnel::Vxlan, 5, |ip| ip4(17, &[], 0, &udp(4789, &join(&[&[8, 0, 0, 0, 0, 0, 5, 0], &frame_of(ip)])))),
        of("vxlan, old port, group policy, over ipv6", Tunnel::Vxlan, 0x10_0005, |ip| {
            ip6(17, &udp(8472, &join(&[&[0x88, 0, 0, 7, 0x10, 0, 5, 0], &frame_of(ip)])))
        }),
        of("vxlan, next protocol", Tunnel::Vxlan, 5, |ip| {
            ip4(17, &[], 0, &udp(4789, &join(&[&[0x0c, 0, 0, 3, 0, 0, 5, 0], &frame_of(ip)])))
        }),
        of("vxlan of ip", Tunnel::Vxlan, 5, |ip| ip4(17, &[], 0, &udp(4789, &join(&[&[0x0c, 0, 0, 1, 0, 0, 5, 0], ip])))),
        of("vxlan, tagged inside", Tunnel::Vxlan, 5, |ip| {
            let frame = eth(0x8100, &tag(77, u16::from_be_bytes(ether_type(ip)), ip));
            ip4(17, &[], 0, &udp(4789, &join(&[&[8, 0, 0, 0, 0, 0, 5, 0], &frame])))
        }),
        of("vxlan, reserved bits", Tunnel::Vxlan, 5, |ip| {
            ip4(17, &[], 0, &udp(4789, &join(&[&[0xdb, 1, 0, 9, 0, 0, 5, 0xff], &frame_of(ip)])))
        }),
        of("vxlan of ip, reserved bits", Tunnel::Vxlan, 5, |ip| {
            ip4(17, &[], 0, &udp(4790, &join(&[&[0x0c, 7, 0, 2, 0, 0, 5, 1], ip])))
        }),
        of("vxlan, numbers that its receiver does not know", Tunnel::Vxlan, 5, |ip| {
            ip4(17, &[], 0, &udp(8472, &join(&[&[0x0c, 0, 0, 5, 0, 0, 5, 0], &frame_of(ip)])))
        }),
        of("vxlan, tagged inside, reserved bits", Tunnel::Vxlan, 5, |ip| {
            let frame = eth(0x8100, &tag(77, u16::from_be_bytes(ether_type(ip)), ip));
            ip4(17, &[], 0, &udp(4789, &join(&[&[8, 0, 0, 0, 0, 0, 5, 1], &frame])))
        }),
        of("geneve, reserved bits", Tunnel::Geneve, 5, |ip| {
            ip4(17, &[], 0, &udp(6081, &join(&[&with(&with(&GENEVE_FRAMES, 1, 0x3f), 7, 1), &frame_of(ip)])))
        }),
        of("geneve of ip, options, reserved bits", Tunnel::Geneve, 5, |ip| {
            let head = join(&[&[2, 0xff], &ether_type(ip), &[0, 0, 5, 0x80], &[1; 8]]);
            ip4(17, &[], 0, &udp(6081, &join(&[&head, ip])))
        }),
        of("etherip, reserved bits", Tunnel::EtherIp, 0, |ip| ip4(97, &[], 0, &join(&[&[0x3f, 9], &frame_of(ip)]))),
        of("l2tp, reserved bits", Tunnel::L2tp, 0x9_0007, |ip| l2tp(0x34f2, &[0, 9, 0, 7, 0xff, 3], ip)),
        of("geneve", Tunnel::Geneve, 5, |ip| ip4(17, &[], 0, &udp(6081, &join(&[&GENEVE_FRAMES, &frame_of(ip)])))),
        of("geneve of ip, options", Tunnel::Geneve, 5, |ip| {
            let head = join(&[&[2, 0x40], &ether_type(ip), &[0, 0, 5, 0], &[1; 8]]);
            ip4(17, &[], 0, &udp(6081, &join(&[&head, ip])))
        }),
        of("ip in ip", Tunnel::IpInIp, 0, |ip| ip4(if ip[0] >> 4 == 4 { 4 } else { 41 }, &[], 0, ip)),
        of("ip in ipv6", Tunnel::IpInIp, 0, |ip| ip6(if ip[0] >> 4 == 4 { 4 } else { 41 }, ip)),
        of("mpls in ip", Tunnel::Mpls, 0x12, |ip| ip4(137, &[], 0, &join(&[&LABELS, ip]))),
        of("mpls in gre", Tunnel::Mpls, 0x12, |ip| gre([0, 0], [0x88, 0x47], &[], &join(&[&LABELS, ip]))),
        of("frames in ip", Tunnel::EtherIp, 0, |ip| ip4(143, &[], 0, &frame_of(ip))),
        of("etherip over ipv6", Tunnel::EtherIp, 0, |ip| ip6(97, &join(&[&[0x30, 0], &frame_of(ip)]))),
        of("l2tp", Tunnel::L2tp, 0x9_0007, |ip| l2tp(0x0002, &[0, 9, 0, 7, 0xff, 3], ip)),
        of("l2tp, all fields", Tunnel::L2tp, 0x9_0007, |ip| {
            let [a, b] = (18 + ip.len() as u16).to_be_bytes();
            l2tp(0x4b02, &[a, b, 0, 9, 0, 7, 0, 1, 0, 1, 0, 2, 0xaa, 0xaa], ip)
        }),
        of("mpls in udp", Tunnel::Mpls, 0x12, |ip| ip4(17, &[], 0, &udp(6635, &join(&[&LABELS, &checked(ip)])))),
        of("wccp", Tunnel::Wccp, 89, |ip| gre([0, 0], [0x88, 0x3e], &[], &join(&[&[0x40, 89, 0, 72], ip]))),
        of("nsh in vxlan", Tunnel::Nsh, 0x1_0203, |ip| {
            let head = with(&NSH, 3, if ip[0] >> 4 == 4 { 1 } else { 2 });
            ip4(17, &[], 0, &udp(4790, &join(&[&[0x0c, 0, 0, 4, 0, 0, 5, 0], &head, ip])))
        }),
        of("nsh of a frame, metadata, in gre", Tunnel::Nsh, 0x1_0203, |ip| {
            let head = with(&with(&with(&NSH, 1, 0xc6), 3, 3), 0, 0x2f);
            gre([0, 0], [0x89, 0x4f], &[], &join(&[&head, &[7; 16], &frame_of(ip)]))
        }),
        of("e-tag in gre", Tunnel::ETag, 0x5_80d3, |ip| bridged(0x893f, &[0x10, 0, 0, 0xd3, 0, 0x16], ip, &[])),
        of("vn-tag in gre", Tunnel::VnTag, 0x1234, |ip| bridged(0x8926, &[0x92, 0x34, 0, 9], ip, &[])),
        of("macsec in gre", Tunnel::Macsec, 7, |ip| bridged(0x88e5, &MACSEC, ip, &[0xaa; 16])),
        of("macsec without sender in gre", Tunnel::Macsec, 0, |ip| bridged(0x88e5, &[0, 0, 0, 0, 0, 9], ip, &[0xaa; 16])),
        of("three tags in gre", Tunnel::VlanStack, 78, |ip| {
            bridged(0x8100, &[0, 77, 0x81, 0, 0, 78, 0x81, 0, 0, 79], ip, &[])
        }),
        of("four tags in gre", Tunnel::VlanStack, 78 << 12 | 79, |ip| {
            bridged(0x8100, &[0, 77, 0x81, 0, 0, 78, 0x81, 0, 0, 79, 0x81, 0, 0, 80], ip, &[])
        }),
        of("gtp", Tunnel::Gtp, 9, |ip| gtp(0, &[], ip)),
        of("gtp, sequence", Tunnel::Gtp, 9, |ip| gtp(2, &[0, 1, 0, 0], ip)),
        of("gtp, extensions", Tunnel::Gtp, 9, |ip| gtp(4, &[0, 0, 0, 0x85, 1, 0x10, 9, 0x40, 1, 0, 0, 0], ip)),
        of("pppoe in gre", Tunnel::Pppoe, 0x1234, |ip| {
            let [a, b] = (ip.len() as u16 + 2).to_be_bytes();
            gre([0, 0], [0x65, 0x58], &[], &eth(0x8864, &join(&[&[0x11, 0, 0x12, 0x34, a, b], &ppp_protocol(ip), ip])))
        }),
    ]
}

/// IP packets to be wrapped: those of all kinds, without what is on the wire between them.
pub(super) fn packets() -> Vec<(&'static str, Vec<u8>)> {
    let plain = flows().into_iter().filter(|kind| matches!(kind.1[12..14], [8, 0] | [0x86, 0xdd]));
    let whole = plain.filter(|kind| kind.0 != "udp with a trailer");
    whole.map(|(name, frame, ..)| (name, frame[14..].to_vec())).collect()
}
