//! From the first byte of a frame to its network header.

use super::bytes::{be16, block};
use super::ip;
use super::packet::{Decoded, Packet};
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
}

/// Most VLAN tags followed. Provider networks stack two; a third is met where a tap adds its own.
const TAGS_MAX: usize = 3;

/// Decodes a frame from its link header on.
pub(super) fn decode(bytes: &[u8], link: LinkType, packet: &mut Packet) -> Result<Decoded, Counter> {
    let (protocol, at) = match link {
        LinkType::Ethernet => {
            let head = block::<14>(bytes, 0).ok_or(Counter::DropTruncatedLink)?;
            (be16::<12, 14>(head), 14)
        }
        LinkType::LinuxSll => {
            let head = block::<16>(bytes, 0).ok_or(Counter::DropTruncatedLink)?;
            (be16::<14, 16>(head), 16)
        }
        LinkType::LinuxSll2 => {
            let head = block::<20>(bytes, 0).ok_or(Counter::DropTruncatedLink)?;
            (be16::<0, 20>(head), 20)
        }
        LinkType::Null => {
            let head = block::<4>(bytes, 0).ok_or(Counter::DropTruncatedLink)?;
            match null_family(*head) {
                Some(protocol) => (protocol, 4),
                None => return Ok(Decoded::Other),
            }
        }
        LinkType::RawIp => match bytes.first().ok_or(Counter::DropTruncatedIp)? >> 4 {
            4 => (ether_type::IPV4, 0),
            6 => (ether_type::IPV6, 0),
            _ => return Err(Counter::DropIpVersion),
        },
        LinkType::Other(_) => return Err(Counter::DropLinkType),
    };
    network(bytes, protocol, at, packet)
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
fn network(bytes: &[u8], mut protocol: u16, mut at: usize, packet: &mut Packet) -> Result<Decoded, Counter> {
    let mut vlans = 0;
    for tag in 0..=TAGS_MAX {
        match protocol {
            ether_type::IPV4 => return ip::v4(bytes, at, vlans, packet),
            ether_type::IPV6 => return ip::v6(bytes, at, vlans, packet),
            ether_type::ARP => {
                packet.payload_offset = at as u16; // link headers and tags: below 40
                return Ok(Decoded::Arp);
            }
            ether_type::VLAN | ether_type::PROVIDER_BRIDGING | ether_type::QINQ_OLD if tag < TAGS_MAX => {
                let head = block::<4>(bytes, at).ok_or(Counter::DropTruncatedLink)?;
                let id = u32::from(be16::<0, 4>(head) & 0x0fff);
                vlans = if tag == 0 { id << 12 } else { vlans & 0xff_f000 | id };
                protocol = be16::<2, 4>(head);
                at += 4;
            }
            ether_type::VLAN | ether_type::PROVIDER_BRIDGING | ether_type::QINQ_OLD => {
                return Err(Counter::DropVlanDepth);
            }
            // Below 0x0600 the field is the length of an IEEE 802.3 frame (LLC: STP, CDP, IS-IS, ...).
            _ => return Ok(Decoded::Other),
        }
    }
    Err(Counter::DropVlanDepth)
}
