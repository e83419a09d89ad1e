//! Network service headers: the path of a packet through a chain of functions.

use crate::dataplane::decode::bytes::{be16, be32};
use crate::dataplane::decode::link::{self, ether_type};
use crate::dataplane::decode::outer::Layers;
use crate::dataplane::decode::packet::{Decoded, Packet, Tunnel};
use crate::dataplane::decode::span::Span;
use crate::metrics::Counter;

/// Next protocols (IANA).
mod number {
    pub(super) const IPV4: u16 = 1;
    pub(super) const IPV6: u16 = 2;
    pub(super) const ETHERNET: u16 = 3;
    pub(super) const NSH: u16 = 4;
    pub(super) const MPLS: u16 = 5;
}

/// Base header and path, whose length in words the base header tells together with that of the metadata behind them (RFC 8300
/// section 2); without leave to enter tunnels it is a frame of another kind.
pub(in super::super) fn decode(
    span: Span<'_>,
    at: usize,
    packet: &mut Packet,
    layers: &mut Layers,
) -> Result<Decoded, Counter> {
    if !layers.enters() {
        return Ok(Decoded::Other);
    }
    let head = span.block::<8>(at).ok_or(Counter::DropTruncatedLink)?;
    let (first, id) = (be16::<0, 8>(head), be32::<4, 8>(head) >> 8);
    let behind = at + usize::from(first & 0x3f) * 4;
    if first >> 14 != 0 || behind < at + 8 || behind > span.end {
        return Err(Counter::TunnelHeader);
    }
    layers.enter(Tunnel::Nsh, id)?;
    let protocol = match be16::<2, 8>(head) & 0xff {
        number::IPV4 => ether_type::IPV4,
        number::IPV6 => ether_type::IPV6,
        number::ETHERNET => return link::ethernet(span, behind, packet, layers),
        number::NSH => ether_type::NSH,
        number::MPLS => ether_type::MPLS,
        _ => return Ok(Decoded::Other),
    };
    link::network(span, protocol, behind, packet, layers)
}
