//! What stands between a link header and a network header beside VLAN tags: tags of port extenders and virtual interfaces, and
//! the tag of MACsec. Each ends with the EtherType of what follows.
//!
//! Without leave to enter tunnels their frames are frames of another kind.

use crate::dataplane::decode::bytes::be16;
use crate::dataplane::decode::link;
use crate::dataplane::decode::outer::Layers;
use crate::dataplane::decode::packet::{Decoded, Packet, Tunnel};
use crate::dataplane::decode::span::Span;
use crate::metrics::Counter;

/// IEEE 802.1BR section 7.5: priority and the sender's channel; group and the channel meant; upper bits of both.
pub(in super::super) fn e_tag(
    span: Span<'_>,
    at: usize,
    packet: &mut Packet,
    layers: &mut Layers,
) -> Result<Decoded, Counter> {
    if !layers.enters() {
        return Ok(Decoded::Other);
    }
    let head = span.block::<8>(at).ok_or(Counter::DropTruncatedLink)?;
    layers.enter(Tunnel::ETag, u32::from(be16::<2, 8>(head) & 0x3fff) | u32::from(head[5]) << 14)?;
    link::network(span, be16::<6, 8>(head), at + 8, packet, layers)
}

/// Direction, pointer and the destination's interface; loop, version and the source's.
pub(in super::super) fn vn_tag(
    span: Span<'_>,
    at: usize,
    packet: &mut Packet,
    layers: &mut Layers,
) -> Result<Decoded, Counter> {
    if !layers.enters() {
        return Ok(Decoded::Other);
    }
    let head = span.block::<6>(at).ok_or(Counter::DropTruncatedLink)?;
    layers.enter(Tunnel::VnTag, u32::from(be16::<0, 6>(head) & 0x3fff))?;
    link::network(span, be16::<4, 6>(head), at + 6, packet, layers)
}

/// Bits of the first byte of MACsec's tag (IEEE 802.1AE section 9.5).
mod macsec_bit {
    pub(super) const VERSION: u8 = 0x80;
    pub(super) const SENDER: u8 = 0x20;
    pub(super) const ENCRYPTED: u8 = 0x08;
    pub(super) const CHANGED: u8 = 0x04;
}

/// What the cipher suites append.
const CHECK_VALUE: usize = 16;

/// Flags, length of a short frame, packet number, then the sender where that is said. What is encrypted has a counter.
pub(in super::super) fn macsec(
    span: Span<'_>,
    at: usize,
    packet: &mut Packet,
    layers: &mut Layers,
) -> Result<Decoded, Counter> {
    let head = span.block::<6>(at).ok_or(Counter::DropTruncatedLink)?;
    let (flags, short) = (head[0], usize::from(head[1] & 0x3f));
    if flags & macsec_bit::ENCRYPTED != 0 {
        return Err(Counter::MacsecEncrypted);
    }
    if !layers.enters() || flags & (macsec_bit::VERSION | macsec_bit::CHANGED) != 0 {
        return Ok(Decoded::Other);
    }
    let (id, at) = if flags & macsec_bit::SENDER != 0 {
        let sender = span.block::<8>(at + 6).ok_or(Counter::DropTruncatedLink)?;
        (be16::<6, 8>(sender), at + 14)
    } else {
        (0, at + 6)
    };
    let length = if short == 0 { span.left(at).saturating_sub(CHECK_VALUE) } else { short };
    if length < 2 || length + CHECK_VALUE > span.left(at) {
        return Err(Counter::DropTruncatedLink);
    }
    layers.enter(Tunnel::Macsec, u32::from(id))?;
    let protocol = be16::<0, 2>(span.block::<2>(at).ok_or(Counter::DropTruncatedLink)?);
    link::network(span.until(at + length), protocol, at + 2, packet, layers)
}
