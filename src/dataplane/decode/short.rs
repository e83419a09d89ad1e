//! The short ways: fixed offsets for the packets that nearly all traffic consists of, TCP and UDP over IPv4 or IPv6 over
//! Ethernet with one VLAN tag or none.
//!
//! Whatever is unusual in any respect, every reject included, goes the long way (`decode_general`), which knows all of it;
//! where several ways apply they agree (property test).

use super::bytes::{be16, be32, be64, be128, chunk};
use super::key::FlowKey;
use super::link::ether_type;
use super::outer::Layers;
use super::packet::{Decoded, Packet, TcpWord, decode_general, protocol};
use super::tunnel;
use crate::dataplane::capture::{FrameView, LinkType};
use crate::sys::lanes::agrees;
use std::hint::cold_path;

/// Decodes one frame into `packet`, through the tunnels it is in. Instructions a frame by kind: `benches/decode`.
///
/// Never panics whatever the bytes are. On anything but the three flow outcomes `packet` is unspecified.
#[inline(always)]
pub fn decode(frame: FrameView<'_>, packet: &mut Packet) -> Decoded {
    if decode_plain(frame, packet).is_some() {
        return Decoded::Flow;
    }
    // In parts, so that the view need not be put together in memory for a call that is rarely made.
    decode_rest(frame.bytes, frame.wire_bytes, frame.link, packet, &mut Layers::new(true))
}

/// What [`decode_plain`] leaves: the other short ways, which leave `layers` alone, then the long one from the beginning.
#[inline(never)]
pub fn decode_rest(bytes: &[u8], wire_bytes: u32, link: LinkType, packet: &mut Packet, layers: &mut Layers) -> Decoded {
    match short(bytes, wire_bytes, link, packet) {
        Some(()) => Decoded::Flow,
        None => {
            layers.restart();
            decode_within(bytes, wire_bytes, link, packet, layers)
        }
    }
}

/// The long way alone, from the layers that `layers` has gone through: new ones for a frame; for a datagram put together
/// from fragments ([`LinkType::RawIp`]) those that its first fragment was left with.
///
/// [`Packet::tunnel`] tells whether there is anything to be read from `layers` afterwards.
#[inline(never)]
pub fn decode_within(
    bytes: &[u8],
    wire_bytes: u32,
    link: LinkType,
    packet: &mut Packet,
    layers: &mut Layers,
) -> Decoded {
    decode_general(bytes, wire_bytes, link, packet, layers)
}

/// Ethernet header, IPv4 header without options, TCP header without options: what the shortest way reads as one block.
/// Any frame off a wire is longer (60 bytes).
const PLAIN: usize = 14 + 20 + 20;

/// Ethernet header, IPv6 header, UDP header.
const PLAIN_V6: usize = 14 + 40 + 8;

/// What a VLAN tag takes (IEEE 802.1Q).
const TAG: usize = 4;

/// The shortest way: IPv4 without tag, options and fragments; `None` if the frame is not for it (then `packet` may be half
/// written). Only for frames that were captured whole, so that one length answers for both.
///
/// Returns [`FlowKey::v4_words`] as well as setting the key, so that what follows need not read it back. What a tunnel may
/// carry goes the long way.
#[inline(always)]
pub fn decode_plain(frame: FrameView<'_>, packet: &mut Packet) -> Option<[u64; 2]> {
    let head = frame.bytes.first_chunk::<PLAIN>()?;
    if frame.link != LinkType::Ethernet {
        return None;
    }
    // A slice of 4 GiB is no frame; cut to 32 bits its length could only be found too short for its headers.
    let captured = frame.bytes.len() as u32;
    plain_v4(head, captured, frame.wire_bytes, 0, packet)
}

/// What [`decode_plain`] leaves that has fixed offsets too: IPv6 without extension headers, and either version behind one
/// VLAN tag. `None` if the frame is not for it (then `packet` may be half written).
#[inline(always)]
pub(super) fn short(bytes: &[u8], wire_bytes: u32, link: LinkType, packet: &mut Packet) -> Option<()> {
    let ends = bytes.first_chunk::<16>()?;
    let (tag, vlans) = match be16::<12, 16>(ends) {
        ether_type::VLAN => (TAG, u32::from(be16::<14, 16>(ends) & 0x0fff) << 12),
        ether_type::IPV6 => (0, 0),
        _ => return None,
    };
    if link != LinkType::Ethernet {
        return None;
    }
    // From the tag on, a frame reads like one without: only the MAC addresses are others, and nobody asks for them.
    let rest = bytes.get(tag..)?;
    // As in `decode_plain`.
    let captured = rest.len() as u32;
    match rest.first_chunk::<PLAIN>() {
        Some(head) if be16::<12, PLAIN>(head) == ether_type::IPV4 => {
            plain_v4(head, captured, wire_bytes, vlans, packet)?;
        }
        _ => plain_v6(rest, captured, vlans, packet)?,
    }
    packet.payload_offset += tag as u16; // below 140 + 4
    packet.wire_bytes = wire_bytes.max(bytes.len() as u32);
    Some(())
}

/// What a plain IPv4 packet has from its EtherType on: version and header length, no fragment, protocol. The rest of the
/// sixteen bytes is masked out (service class, length, identification, "don't fragment", time to live, checksum, half of
/// the source's address).
const V4_MASK: [u8; 16] = [0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0x3f, 0xff, 0, 0xff, 0, 0, 0, 0];
const V4_TCP: [u8; 16] = [0x08, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 0, protocol::TCP, 0, 0, 0, 0];
const V4_UDP: [u8; 16] = [0x08, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 0, protocol::UDP, 0, 0, 0, 0];

/// Each lower bound is subtracted first and the rest compared as an unsigned number, so that one compare checks both ends:
/// what was below the bound has wrapped to far above any frame.
#[inline(always)]
fn plain_v4(head: &[u8; PLAIN], captured: u32, wire_bytes: u32, vlans: u32, packet: &mut Packet) -> Option<[u64; 2]> {
    let ports = be32::<34, PLAIN>(head);
    let total = u32::from(be16::<16, PLAIN>(head));
    let first = chunk::<12, 16, PLAIN>(head);
    let transport_protocol = if agrees(first, &V4_TCP, &V4_MASK) {
        let tcp = TcpWord::of(be32::<46, PLAIN>(head));
        let above_headers = total.wrapping_sub(40);
        let options = tcp.header_bytes().wrapping_sub(20);
        if above_headers > captured.wrapping_sub(54) || options > above_headers {
            return None;
        }
        packet.payload_bytes = above_headers - options;
        packet.payload_offset = PLAIN as u16 + options as u16;
        packet.tcp = tcp;
        packet.clear_rare();
        protocol::TCP
    } else {
        // Out of line, that TCP need not jump over it; it costs a datagram two jumps.
        cold_path();
        if !agrees(first, &V4_UDP, &V4_MASK) {
            return None;
        }
        let above_headers = total.wrapping_sub(28);
        let payload = u32::from(be16::<38, PLAIN>(head)).wrapping_sub(8);
        if above_headers > captured.wrapping_sub(42) || payload > above_headers || tunnel::is_port(ports) {
            return None;
        }
        packet.clear();
        packet.payload_bytes = payload;
        packet.payload_offset = 42;
        protocol::UDP
    };
    packet.wire_bytes = wire_bytes.max(captured);
    let addresses = be64::<26, PLAIN>(head);
    let (key, direction, words) = FlowKey::v4_pairs(addresses, ports, transport_protocol, vlans);
    (packet.key, packet.direction) = (key, direction);
    Some(words)
}

/// [`plain_v4`] for IPv6.
#[inline(always)]
fn plain_v6(bytes: &[u8], captured: u32, vlans: u32, packet: &mut Packet) -> Option<()> {
    let head = bytes.first_chunk::<PLAIN_V6>()?;
    if be16::<12, PLAIN_V6>(head) != ether_type::IPV6 || head[14] >> 4 != 6 {
        return None;
    }
    let length = u32::from(be16::<18, PLAIN_V6>(head));
    packet.clear_rare();
    let transport_protocol = head[20];
    match transport_protocol {
        protocol::TCP => {
            // To the end of the TCP header, so that the lengths below cannot wrap.
            let rest = bytes.get(66..)?.first_chunk::<8>()?;
            let tcp = TcpWord::of(be32::<0, 8>(rest));
            let above_headers = length.wrapping_sub(20);
            let options = tcp.header_bytes().wrapping_sub(20);
            if above_headers > captured.wrapping_sub(74) || options > above_headers {
                return None;
            }
            packet.payload_bytes = above_headers - options;
            packet.payload_offset = 74 + options as u16;
            packet.tcp = tcp;
        }
        protocol::UDP => {
            let above_headers = length.wrapping_sub(8);
            let payload = u32::from(be16::<58, PLAIN_V6>(head)).wrapping_sub(8);
            let ports = be32::<54, PLAIN_V6>(head);
            if above_headers > captured.wrapping_sub(62) || payload > above_headers || tunnel::is_port(ports) {
                return None;
            }
            packet.payload_bytes = payload;
            packet.payload_offset = PLAIN_V6 as u16;
            packet.tcp = TcpWord::default();
        }
        _ => return None,
    }
    let ports = (be16::<54, PLAIN_V6>(head), be16::<56, PLAIN_V6>(head));
    let (from, to) = (be128::<22, PLAIN_V6>(head), be128::<38, PLAIN_V6>(head));
    (packet.key, packet.direction) = FlowKey::v6_pairs((from, to), ports, transport_protocol, vlans);
    Some(())
}
