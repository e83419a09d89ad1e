//! From the first byte of a frame to its network header.

use super::anomaly::HeaderAnomaly;
use super::bytes::be16;
use super::ip::{v4, v6};
use super::key::FlowKey;
use super::outer::Layers;
use super::packet::{Decoded, Packet};
use super::span::Span;
use super::tunnel;
use crate::dataplane::capture::LinkType;
use crate::metrics::Counter;

/// EtherTypes (IEEE 802 numbers) that the decoder acts on.
pub(super) mod ether_type {
    pub(in super::super) const IPV4: u16 = 0x0800;
    pub(in super::super) const ARP: u16 = 0x0806;
    pub(in super::super) const VLAN: u16 = 0x8100;
    pub(in super::super) const IPV6: u16 = 0x86dd;
    pub(in super::super) const PROVIDER_BRIDGING: u16 = 0x88a8;
    pub(in super::super) const QINQ_OLD: u16 = 0x9100;
    pub(in super::super) const MPLS: u16 = 0x8847;
    pub(in super::super) const MPLS_MULTICAST: u16 = 0x8848;
    pub(in super::super) const PPPOE_SESSION: u16 = 0x8864;
    pub(in super::super) const MACSEC: u16 = 0x88e5;
    pub(in super::super) const VN_TAG: u16 = 0x8926;
    pub(in super::super) const E_TAG: u16 = 0x893f;
    pub(in super::super) const NSH: u16 = 0x894f;

    /// One that the decoder follows: a sign that what it stands in is a frame.
    pub(in super::super) fn is_known(number: u16) -> bool {
        matches!(number, IPV4 | ARP | VLAN | IPV6 | PROVIDER_BRIDGING | MPLS | MPLS_MULTICAST | PPPOE_SESSION | NSH)
    }
}

/// Most VLAN tags kept. Provider networks stack two; a third is met where a tap adds its own.
pub const TAGS_KEPT: u8 = 4;
/// Most VLAN tags followed, so that what hides behind more than are kept is seen and has addresses.
pub const TAGS_MAX: u8 = 32;

/// Decodes a frame from its link header on.
pub(super) fn decode(
    span: Span<'_>,
    link: LinkType,
    packet: &mut Packet,
    layers: &mut Layers,
) -> Result<Decoded, Counter> {
    let (protocol, at) = match link {
        LinkType::Ethernet => return ethernet(span, 0, packet, layers),
        LinkType::RawIp => return ip(span, 0, packet, layers),
        LinkType::Ppp => return tunnel::ppp_framed(span, packet, layers),
        LinkType::LinuxSll => {
            let head = span.block::<16>(0).ok_or(Counter::DropTruncatedLink)?;
            (be16::<14, 16>(head), 16)
        }
        LinkType::LinuxSll2 => {
            let head = span.block::<20>(0).ok_or(Counter::DropTruncatedLink)?;
            (be16::<0, 20>(head), 20)
        }
        LinkType::Null => {
            let head = span.block::<4>(0).ok_or(Counter::DropTruncatedLink)?;
            match null_family(*head) {
                Some(protocol) => (protocol, 4),
                None => return Ok(Decoded::Other),
            }
        }
        LinkType::Other(_) => return Err(Counter::DropLinkType),
    };
    network(span, protocol, at, packet, layers)
}

/// An Ethernet frame that begins at `at`.
pub(super) fn ethernet(
    span: Span<'_>,
    at: usize,
    packet: &mut Packet,
    layers: &mut Layers,
) -> Result<Decoded, Counter> {
    let head = span.block::<14>(at).ok_or(Counter::DropTruncatedLink)?;
    network(span, be16::<12, 14>(head), at + 14, packet, layers)
}

/// An IP packet that begins at `at`, of the version that it says it is.
pub(super) fn ip(span: Span<'_>, at: usize, packet: &mut Packet, layers: &mut Layers) -> Result<Decoded, Counter> {
    match span.byte(at).ok_or(Counter::DropTruncatedIp)? >> 4 {
        4 => v4(span, at, packet, layers),
        6 => v6(span, at, packet, layers),
        _ => Err(Counter::DropIpVersion),
    }
}

/// EtherType for the address family of a BSD loopback header, which is in the byte order of the machine that wrote it
/// (LINKTYPE_NULL) or of the network (LINKTYPE_LOOP): families are small numbers, so only one reading can be one.
fn null_family(head: [u8; 4]) -> Option<u16> {
    let family = u32::from_le_bytes(head);
    match family.min(family.swap_bytes()) {
        2 => Some(ether_type::IPV4),
        // Linux, NetBSD and OpenBSD, FreeBSD, Darwin: AF_INET6 of each.
        10 | 24 | 28 | 30 => Some(ether_type::IPV6),
        _ => None,
    }
}

/// Follows VLAN tags to the network header. The key keeps the outermost and the innermost id.
pub(super) fn network(
    span: Span<'_>,
    mut protocol: u16,
    mut at: usize,
    packet: &mut Packet,
    layers: &mut Layers,
) -> Result<Decoded, Counter> {
    // Ends: each round takes a tag, and their number has a limit.
    while let ether_type::VLAN | ether_type::PROVIDER_BRIDGING | ether_type::QINQ_OLD = protocol {
        if layers.tags >= TAGS_KEPT {
            layers.anomalies.insert(HeaderAnomaly::TooManyTags);
        }
        if layers.tags >= TAGS_MAX {
            // Who sent it nobody knows, if it is in no tunnel.
            packet.key = FlowKey::default();
            return Err(Counter::DropVlanDepth);
        }
        let head = span.block::<4>(at).ok_or(Counter::DropTruncatedLink)?;
        layers.tag(u32::from(be16::<0, 4>(head) & 0x0fff));
        protocol = be16::<2, 4>(head);
        at += 4;
    }
    layers.stack_tags()?;
    match protocol {
        ether_type::IPV4 => v4(span, at, packet, layers),
        ether_type::IPV6 => v6(span, at, packet, layers),
        ether_type::ARP => {
            // Link headers and tags: a few of at most 252 bytes, and nobody asks where one in a tunnel lies.
            packet.payload_offset = at as u16;
            // No flow; where its addresses count is asked for.
            (packet.key, _) = FlowKey::v4_in(layers.scope(), (0, 0), (0, 0), 0);
            Ok(Decoded::Arp)
        }
        ether_type::MPLS | ether_type::MPLS_MULTICAST => tunnel::mpls(span, at, packet, layers),
        ether_type::PPPOE_SESSION => tunnel::pppoe(span, at, packet, layers),
        ether_type::NSH => tunnel::nsh(span, at, packet, layers),
        ether_type::E_TAG => tunnel::e_tag(span, at, packet, layers),
        ether_type::VN_TAG => tunnel::vn_tag(span, at, packet, layers),
        ether_type::MACSEC => tunnel::macsec(span, at, packet, layers),
        // Below 0x0600 the field is the length of an IEEE 802.3 frame (LLC: STP, CDP, IS-IS, ...).
        _ => Ok(Decoded::Other),
    }
}
