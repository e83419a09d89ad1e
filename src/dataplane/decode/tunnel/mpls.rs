//! Multiprotocol label switching: a stack of labels that does not tell what it carries.

use crate::dataplane::decode::bytes::{be16, be32};
use crate::dataplane::decode::link::{self, ether_type};
use crate::dataplane::decode::outer::Layers;
use crate::dataplane::decode::packet::{Decoded, Packet, Tunnel};
use crate::dataplane::decode::span::Span;
use crate::metrics::Counter;

/// Most labels followed. Segment routing stacks ten; more is an attack on whoever follows them.
pub const LABELS_MAX: usize = 16;
/// The label above which a management message stands (RFC 5586).
const GENERIC_ALERT: u32 = 13;
/// What a control word takes (RFC 4385).
const CONTROL_WORD: usize = 4;

/// Decodes labels and what is under them; without leave to enter tunnels it is a frame of another kind.
pub(in super::super) fn decode(
    span: Span<'_>,
    mut at: usize,
    packet: &mut Packet,
    layers: &mut Layers,
) -> Result<Decoded, Counter> {
    if !layers.enters() {
        return Ok(Decoded::Other);
    }
    let mut first = None;
    for _ in 0..LABELS_MAX {
        let entry = be32::<0, 4>(span.block::<4>(at).ok_or(Counter::DropTruncatedLink)?);
        let label = entry >> 12;
        let first = *first.get_or_insert(label);
        at += 4;
        // The lowest one says that it is.
        if entry & 0x100 != 0 {
            layers.enter(Tunnel::Mpls, first)?;
            return if label == GENERIC_ALERT { Ok(Decoded::Other) } else { payload(span, at, packet, layers) };
        }
    }
    Err(Counter::DropLabelDepth)
}

/// The first four bits tell IP (RFC 4928 section 3). An Ethernet frame of a pseudowire may begin with any bits, unless a
/// control word of zeros stands before it: it is taken for one only where it carries something known, and before what may be
/// IP only where that does not fit.
fn payload(span: Span<'_>, at: usize, packet: &mut Packet, layers: &mut Layers) -> Result<Decoded, Counter> {
    let first = span.byte(at).ok_or(Counter::DropTruncatedIp)?;
    let at_frame = match first >> 4 {
        4 | 6 if !is_ethernet(span, at) || is_whole_ip(span, at) => return link::ip(span, at, packet, layers),
        // An associated channel.
        1 => return Ok(Decoded::Other),
        0 if is_ethernet(span, at + CONTROL_WORD) => at + CONTROL_WORD,
        _ if is_ethernet(span, at) => at,
        _ => return Ok(Decoded::Other),
    };
    link::ethernet(span, at_frame, packet, layers)
}

/// Are these labels, with something known under them? A datagram does not tell; IPv4 has to have a right checksum.
pub(super) fn is_certain(span: Span<'_>, at: usize) -> bool {
    let bottom = |index: &usize| span.byte(at + index * 4 + 2).is_some_and(|byte| byte & 1 != 0);
    let Some(labels) = (0..LABELS_MAX).find(bottom) else { return false };
    let under = at + (labels + 1) * 4;
    is_whole_ip(span, under) || is_ethernet(span, under) || is_ethernet(span, under + CONTROL_WORD)
}

fn is_ethernet(span: Span<'_>, at: usize) -> bool {
    let known = |head: &[u8; 14]| ether_type::is_known(be16::<12, 14>(head));
    span.block::<14>(at).is_some_and(known)
}

/// IPv4 with a right checksum, IPv6 with the length that is there.
fn is_whole_ip(span: Span<'_>, at: usize) -> bool {
    let sum = |head: &[u8]| head.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    // All ones in one's complement: a multiple of that, and a first byte that is not 0.
    let is_checked = |sum: u32| sum.is_multiple_of(0xffff);
    match span.byte(at) {
        Some(first @ 0x45..0x50) => {
            let header = span.bytes.get(at..at + usize::from(first & 0x0f) * 4);
            header.map(sum).is_some_and(is_checked)
        }
        Some(0x60..0x70) => {
            span.block::<6>(at).is_some_and(|head| usize::from(be16::<4, 6>(head)) + 40 == span.left(at))
        }
        _ => false,
    }
}
