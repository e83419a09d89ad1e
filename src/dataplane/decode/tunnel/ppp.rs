//! The point-to-point protocol: on lines of its own, over Ethernet, in GRE.

use crate::dataplane::decode::bytes::be16;
use crate::dataplane::decode::link::{self, ether_type};
use crate::dataplane::decode::outer::Layers;
use crate::dataplane::decode::packet::{Decoded, Packet, Tunnel};
use crate::dataplane::decode::span::Span;
use crate::metrics::Counter;

/// All stations: how a frame begins, a byte of control behind it, that has not left both out (RFC 1662 section 3.1).
const ADDRESS: u8 = 0xff;

/// Numbers in the protocol field (IANA).
mod number {
    pub(super) const IPV4: u16 = 0x0021;
    pub(super) const IPV6: u16 = 0x0057;
    pub(super) const MPLS: u16 = 0x0281;
    pub(super) const MPLS_MULTICAST: u16 = 0x0283;
}

/// A frame of a serial line (LINKTYPE_PPP, PPP_HDLC, C_HDLC).
pub(in super::super) fn framed(span: Span<'_>, packet: &mut Packet, layers: &mut Layers) -> Result<Decoded, Counter> {
    match span.block::<4>(0) {
        // Cisco's framing: to one station or to all, then an EtherType.
        Some(head @ [0x0f | 0x8f, 0, ..]) => link::network(span, be16::<2, 4>(head), 4, packet, layers),
        _ => payload(span, 0, packet, layers),
    }
}

/// A session over Ethernet (RFC 2516); without leave to enter tunnels it is a frame of another kind.
pub(in super::super) fn session(
    span: Span<'_>,
    at: usize,
    packet: &mut Packet,
    layers: &mut Layers,
) -> Result<Decoded, Counter> {
    let head = span.block::<6>(at).ok_or(Counter::DropTruncatedLink)?;
    // Version and type 1, code 0: data.
    if !layers.enters() || head[0] != 0x11 || head[1] != 0 {
        return Ok(Decoded::Other);
    }
    let (id, length, at) = (be16::<2, 6>(head), usize::from(be16::<4, 6>(head)), at + 6);
    if length > span.left(at) {
        return Err(Counter::DropTruncatedLink);
    }
    layers.enter(Tunnel::Pppoe, u32::from(id))?;
    payload(span.until(at + length), at, packet, layers)
}

/// From the protocol field on, with address and control before it or not. The field is one byte where the sender compresses
/// it: then its lowest bit is set.
pub(super) fn payload(span: Span<'_>, at: usize, packet: &mut Packet, layers: &mut Layers) -> Result<Decoded, Counter> {
    let at = if span.byte(at) == Some(ADDRESS) { at + 2 } else { at };
    let first = span.byte(at).ok_or(Counter::DropTruncatedLink)?;
    let (number, at) = if first & 1 != 0 {
        (u16::from(first), at + 1)
    } else {
        (be16::<0, 2>(span.block::<2>(at).ok_or(Counter::DropTruncatedLink)?), at + 2)
    };
    let protocol = match number {
        number::IPV4 => ether_type::IPV4,
        number::IPV6 => ether_type::IPV6,
        number::MPLS | number::MPLS_MULTICAST => ether_type::MPLS,
        _ => return Ok(Decoded::Other),
    };
    link::network(span, protocol, at, packet, layers)
}
