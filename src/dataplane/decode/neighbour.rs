//! Who has an address, by what ARP and neighbour discovery say: the link address inside the message, not the frame's
//! sender, which may be a router. Masters of virtual routers (VRRP) are known by the frame's sender, for their messages name none and
//! never leave the link.

use super::bytes::{be16, be32, block};
use super::packet::{Packet, Tunnel, protocol};
use crate::dataplane::capture::{FrameView, LinkType};

/// A host on the link said that it has this address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Neighbour {
    /// The address as a big-endian number, IPv4 as IPv4-mapped IPv6.
    pub address: u128,
    /// Its link address.
    pub mac: [u8; 6],
    /// Outer and inner VLAN id, 0 for none and in a tunnel.
    pub vlans: (u16, u16),
    /// Identity of the tunnel, as in the keys of its flows.
    pub tunnel: Option<u32>,
    /// By neighbour discovery; else by ARP.
    pub is_ndp: bool,
    /// An answer by ARP to a host that has not been heard to ask.
    pub is_unasked: bool,
    /// Announced by VRRP, as the master of a virtual router does each second.
    pub is_vrrp: bool,
}

/// Link addresses under which a connection began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Links {
    /// Of the SYN: from which card.
    pub originator: [u8; 6],
    /// To which card.
    pub towards: [u8; 6],
    /// The SYN came again, from the card to which it had gone, to this one; zero: it did not.
    pub relayed_to: [u8; 6],
    /// Of the answer: from which card; zero: there was none.
    pub responder: [u8; 6],
}

/// The sender of an ARP request or reply (RFC 826), which names itself; `None` where it has no address yet (RFC 5227) or no
/// link address that a host can have.
#[cold]
pub fn arp_sender(frame: FrameView<'_>, packet: &Packet) -> Option<Neighbour> {
    let body = block::<28>(frame.bytes, usize::from(packet.payload_offset))?;
    let is_v4 = be16::<2, 28>(body) == 0x0800 && be16::<4, 28>(body) == 0x0604;
    let speaks = matches!(be16::<6, 28>(body), 1 | 2);
    let address = be32::<14, 28>(body);
    let mac = *body.get(8..)?.first_chunk::<6>()?;
    let good = is_v4 && speaks && address != 0 && is_host(mac);
    good.then_some(Neighbour {
        address: 0xffff_0000_0000 | u128::from(address),
        mac,
        vlans: packet.key.vlans(),
        tunnel: packet.key.tunnel_identity(),
        is_ndp: false,
        is_unasked: false,
        is_vrrp: false,
    })
}

/// What a neighbour solicitation says of its sender and an advertisement of its target (RFC 4861 sections 4.3 and 4.4), as
/// far as it has the option with the link address and came from the link itself (hop limit 255).
#[cold]
pub fn ndp_sender(frame: FrameView<'_>, packet: &Packet) -> Option<Neighbour> {
    if packet.key.protocol() != protocol::ICMPV6 || !matches!(packet.icmp_type, 135 | 136) {
        return None;
    }
    let target_at = usize::from(packet.payload_offset);
    // Neighbour discovery has no extension headers on ordinary links: fixed header, 8 bytes of ICMPv6, target.
    let header = block::<40>(frame.bytes, target_at.checked_sub(48)?)?;
    let [version, _, _, _, _, _, next, hops, ..] = *header;
    if version >> 4 != 6 || next != protocol::ICMPV6 || hops != 255 {
        return None;
    }
    let (address, wanted) = match packet.icmp_type {
        135 => (*header.get(8..)?.first_chunk::<16>()?, 1),
        _ => (*block::<16>(frame.bytes, target_at)?, 2),
    };
    let address = u128::from_be_bytes(address);
    let end = target_at.checked_add(packet.payload_bytes as usize)?.min(frame.bytes.len());
    let mut options = frame.bytes.get(target_at + 16..end)?;
    while let [kind, units, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(units) * 8).filter(|_| units > 0)?;
        if kind == wanted {
            let mac = *option.get(2..)?.first_chunk::<6>()?;
            let good = units == 1 && address != 0 && address >> 120 != 0xff && is_host(mac);
            let (vlans, tunnel) = (packet.key.vlans(), packet.key.tunnel_identity());
            let neighbour = Neighbour { address, mac, vlans, tunnel, is_ndp: true, ..Neighbour::default() };
            return good.then_some(neighbour);
        }
        options = rest;
    }
    None
}

/// Addresses of one announcement that are read: virtual routers have one or two as a rule, and keepalived allows twenty.
const ANNOUNCED: usize = 8;

/// The addresses that a virtual router's master announces as its own (VRRP 2 and 3, RFC 3768 and RFC 5798 section 5.1), with the card
/// that says so: on Ethernet, in no tunnel, from the link itself (hop limit 255). Nothing of masters with a virtual link address, which
/// moves with the addresses.
#[cold]
pub fn vrrp_master<'a>(frame: FrameView<'a>, packet: &Packet) -> impl Iterator<Item = Neighbour> + use<'a> {
    let (vlans, tunnel) = (packet.key.vlans(), packet.key.tunnel_identity());
    let found = announcement(frame, packet);
    found.into_iter().flat_map(move |(mac, width, addresses)| {
        addresses.chunks_exact(width).take(ANNOUNCED).filter_map(move |bytes| {
            let address = match (bytes.first_chunk::<16>(), bytes.first_chunk::<4>()) {
                (Some(v6), _) => u128::from_be_bytes(*v6),
                (None, Some(v4)) => 0xffff_0000_0000 | u128::from(u32::from_be_bytes(*v4)),
                (None, None) => return None,
            };
            let is_one = !matches!(address, 0 | 0xffff_0000_0000);
            is_one.then(|| Neighbour { address, mac, vlans, tunnel, is_vrrp: true, ..Neighbour::default() })
        })
    })
}

/// The card that announces, bytes of an address, and the addresses.
fn announcement<'a>(frame: FrameView<'a>, packet: &Packet) -> Option<([u8; 6], usize, &'a [u8])> {
    const HEADER: usize = 8;
    if packet.key.protocol() != protocol::VRRP || frame.link != LinkType::Ethernet || packet.tunnel != Tunnel::None {
        return None;
    }
    let at = usize::from(packet.payload_offset);
    let (network, width, hops) = if packet.key.is_v4() { (20, 4, 8) } else { (40, 16, 7) };
    let head = frame.bytes.get(at.checked_sub(network)?..at)?;
    let mac = *frame.bytes.get(6..)?.first_chunk::<6>()?;
    let end = at.checked_add(packet.payload_bytes as usize)?.min(frame.bytes.len());
    let body = frame.bytes.get(at..end)?;
    let [kind, _, _, count, ..] = *body else { return None };
    let wanted = HEADER + usize::from(count) * width;
    // Version 2 or 3, type 1; CARP has the first as well, and a virtual link address.
    let good =
        *head.get(hops)? == 255 && matches!(kind, 0x21 | 0x31) && is_host(mac) && !matches!(mac, [0, 0, 0x5e, ..]);
    body.get(HEADER..wanted).filter(|_| good).map(|addresses| (mac, width, addresses))
}

/// Neither a group's, nor nobody's.
fn is_host(mac: [u8; 6]) -> bool {
    mac != [0; 6] && mac.first().is_some_and(|first| first & 1 == 0)
}
