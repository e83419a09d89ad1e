//! Tunnels in datagrams: VXLAN, GENEVE, MPLS, GTP-U, Teredo, L2TP.

use super::{Content, Header, fits, mpls};
use crate::dataplane::decode::bytes::{be16, be32};
use crate::dataplane::decode::link::ether_type;
use crate::dataplane::decode::packet::Tunnel;
use crate::dataplane::decode::span::Span;
use crate::metrics::Counter;

/// The receiver's port; the sender's is chosen by hash.
const VXLAN: u16 = 4789;
/// Before IANA gave it a port, and where nobody changed that since.
const VXLAN_OLD: u16 = 8472;
/// Where the header tells what is carried, which some senders do at the other ports too.
const VXLAN_EXTENDED: u16 = 4790;
const GENEVE: u16 = 6081;
const MPLS: u16 = 6635;
const GTP_U: u16 = 2152;
/// The server's, so either side's.
const TEREDO: u16 = 3544;
const L2TP: u16 = 1701;

/// What the ports have in common, one bit each for the lowest six: passes one port in nine and all of those above.
const RECEIVERS: u64 = 1 << (VXLAN & 63) | 1 << (VXLAN_OLD & 63) | 1 << (VXLAN_EXTENDED & 63) | OTHERS | SENDERS;
const OTHERS: u64 = 1 << (GENEVE & 63) | 1 << (MPLS & 63) | 1 << (GTP_U & 63);
const SENDERS: u64 = 1 << (TEREDO & 63) | 1 << (L2TP & 63);

/// Do the ports (sender's << 16 | receiver's) name a tunnel?
#[inline(always)]
pub(in super::super) fn is_port(ports: u32) -> bool {
    let maybe = RECEIVERS >> (ports & 63) | SENDERS >> (ports >> 16 & 63);
    maybe & 1 != 0 && named(((ports >> 16) as u16, (ports & 0xffff) as u16)) != Tunnel::None
}

/// The tunnel that the ports (sender's, receiver's) name.
pub(in super::super) fn named(ports: (u16, u16)) -> Tunnel {
    match ports {
        (_, VXLAN | VXLAN_OLD | VXLAN_EXTENDED) => Tunnel::Vxlan,
        (_, GENEVE) => Tunnel::Geneve,
        (_, MPLS) => Tunnel::Mpls,
        (_, GTP_U) => Tunnel::Gtp,
        (_, TEREDO) | (TEREDO, _) => Tunnel::Teredo,
        (_, L2TP) | (L2TP, _) => Tunnel::L2tp,
        _ => Tunnel::None,
    }
}

/// Header of the tunnel in a datagram that the ports name; `None` if the content is not of that kind.
pub(super) fn header(span: Span<'_>, at: usize, ports: (u16, u16)) -> Result<Option<Header>, Counter> {
    match named(ports) {
        Tunnel::Vxlan => Ok(vxlan(span, at)),
        Tunnel::Geneve => geneve(span, at).transpose(),
        Tunnel::Mpls => Ok(mpls::is_certain(span, at).then(|| super::labels(span, at))),
        Tunnel::Gtp => gtp(span, at).transpose(),
        Tunnel::Teredo => Ok(teredo(span, at)),
        Tunnel::L2tp => l2tp(span, at).transpose(),
        _ => Ok(None),
    }
}

/// RFC 7348: the I flag; with the P flag the number of what is carried (draft-ietf-nvo3-vxlan-gpe), and beside it a group
/// policy (draft-smith-vxlan-group-policy) in what is reserved. Receivers ignore the rest, and those who know of no numbers
/// the P flag too: a header that has more than these says is one by what follows it.
fn vxlan(span: Span<'_>, at: usize) -> Option<Header> {
    const VALID: u8 = 0x08;
    const NUMBERED: u8 = 0x04;
    let head = span.block::<8>(at)?;
    if head[0] & VALID == 0 {
        return None;
    }
    let numbered = match head[3] {
        _ if head[0] & NUMBERED == 0 => None,
        1 | 2 => Some(Content::Ip),
        3 => Some(Content::Ethernet),
        4 => Some(Content::Network(ether_type::NSH)),
        _ => None,
    };
    let plain = match *head {
        [0x08, 0, 0, 0, .., 0] | [0x88, .., 0] => Some(Content::Ethernet),
        [0x0c, 0, 0, 1..=4, .., 0] => numbered,
        _ => None,
    };
    let fitting = || numbered.into_iter().chain([Content::Ethernet]).find(|one| fits::content(span, at + 8, *one));
    let content = plain.or_else(fitting)?;
    Some(Header { kind: Tunnel::Vxlan, id: be32::<4, 8>(head) >> 8, at: at + 8, end: span.end, content })
}

/// RFC 8926: version 0, a protocol that we know of; where what is reserved is not 0, what is carried fits.
fn geneve(span: Span<'_>, at: usize) -> Option<Result<Header, Counter>> {
    let head = span.block::<8>(at)?;
    let protocol = be16::<2, 8>(head);
    let content = match protocol {
        0x6558 => Content::Ethernet,
        known if ether_type::is_known(known) => Content::Network(known),
        _ => return None,
    };
    let behind = at + 8 + usize::from(head[0] & 0x3f) * 4;
    let is_plain = head[1] & 0x3f == 0 && head[7] == 0;
    if head[0] >> 6 != 0 || !is_plain && !fits::content(span, behind, content) {
        return None;
    }
    if behind > span.end {
        return Some(Err(Counter::TunnelHeader));
    }
    Some(Ok(Header { kind: Tunnel::Geneve, id: be32::<4, 8>(head) >> 8, at: behind, end: span.end, content }))
}

/// 3GPP TS 29.281 section 5: version 1, GTP (and not GTP'), a message that carries a packet, a length that fits. Other
/// messages are the tunnel's own talk, a conversation like others.
fn gtp(span: Span<'_>, at: usize) -> Option<Result<Header, Counter>> {
    const PACKET: u8 = 255;
    const OPTIONAL: u8 = 0x07;
    const EXTENDED: u8 = 0x04;
    let head = span.block::<8>(at)?;
    let (length, id) = (usize::from(be16::<2, 8>(head)), be32::<4, 8>(head));
    if head[0] >> 4 != 3 || head[1] != PACKET || length > span.left(at + 8) {
        return None;
    }
    let span = span.until(at + 8 + length);
    let at = match head[0] {
        flags if flags & OPTIONAL == 0 => Some(at + 8),
        flags => behind_extensions(span, at + 8, flags & EXTENDED != 0),
    };
    let Some(at) = at.filter(|at| *at <= span.end) else { return Some(Err(Counter::TunnelHeader)) };
    // Frames of Ethernet sessions do not say that they are: what is not IP stays where it is.
    let content = match span.byte(at).map(|first| first >> 4) {
        Some(4 | 6) => Content::Ip,
        None if at < span.end => return Some(Err(Counter::TunnelHeader)),
        _ => Content::Nothing,
    };
    Some(Ok(Header { kind: Tunnel::Gtp, id, at, end: span.end, content }))
}

/// Most extension headers of GTP-U followed; those defined may come once each, which makes five.
pub const GTP_EXTENSIONS_MAX: usize = 8;

/// Sequence number, N-PDU number and type of the first extension; each extension begins with its length in words and ends
/// with the type of the next.
fn behind_extensions(span: Span<'_>, at: usize, extended: bool) -> Option<usize> {
    let mut next = if extended { span.byte(at + 3)? } else { 0 };
    let mut at = at + 4;
    for _ in 0..GTP_EXTENSIONS_MAX {
        if next == 0 {
            return Some(at);
        }
        let words = usize::from(span.byte(at)?);
        if words == 0 {
            return None;
        }
        at += words * 4;
        next = span.byte(at - 1)?;
    }
    (next == 0).then_some(at)
}

/// RFC 4380 section 5.1.1: authentication, then where the sender was seen, either, both or none; then an IPv6 packet.
fn teredo(span: Span<'_>, mut at: usize) -> Option<Header> {
    if span.block::<2>(at) == Some(&[0, 1]) {
        let [_, _, id, value] = *span.block::<4>(at)?;
        // Nonce and confirmation.
        at += 4 + usize::from(id) + usize::from(value) + 9;
    }
    if span.block::<2>(at) == Some(&[0, 0]) {
        at += 8;
    }
    let head = span.block::<40>(at)?;
    let fits = usize::from(be16::<4, 40>(head)) <= span.left(at + 40);
    let content = Content::Network(ether_type::IPV6);
    let header = Header { kind: Tunnel::Teredo, id: 0, at, end: span.end, content };
    (head[0] >> 4 == 6 && fits).then_some(header)
}

/// RFC 2661 section 3.1: data of version 2 for a session, and a length that fits where there is one; where what is reserved
/// is not 0, a packet of IP besides. Messages of control are the tunnel's own talk.
fn l2tp(span: Span<'_>, at: usize) -> Option<Result<Header, Counter>> {
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    const PRIORITY: u16 = 0x0100;
    const VERSION: u16 = 0x000f;
    let flags = be16::<0, 2>(span.block::<2>(at)?);
    let end = match flags & LENGTH {
        0 => span.end,
        _ => at + usize::from(be16::<0, 2>(span.block::<2>(at + 2)?)),
    };
    let mut behind = at + if flags & LENGTH == 0 { 2 } else { 4 };
    let id = be32::<0, 4>(span.block::<4>(behind)?);
    if flags & (CONTROL | VERSION) != 2 || id & 0xffff == 0 || end > span.end {
        return None;
    }
    let is_plain = flags & !(LENGTH | SEQUENCE | OFFSET | PRIORITY) == 2;
    behind += if flags & SEQUENCE == 0 { 4 } else { 8 };
    if flags & OFFSET != 0 {
        behind += match span.block::<2>(behind) {
            Some(offset) => 2 + usize::from(be16::<0, 2>(offset)),
            None if !is_plain => return None,
            None => return Some(Err(Counter::TunnelHeader)),
        };
    }
    if !is_plain && !fits::content(span.until(end), behind, Content::Ppp) {
        return None;
    }
    if behind > end {
        return Some(Err(Counter::TunnelHeader));
    }
    Some(Ok(Header { kind: Tunnel::L2tp, id, at: behind, end, content: Content::Ppp }))
}
