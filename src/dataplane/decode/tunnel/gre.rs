//! Generic routing encapsulation, and the mirrored frames (ERSPAN) in it.

use super::{Content, Header};
use crate::dataplane::decode::bytes::{be16, be32};
use crate::dataplane::decode::packet::Tunnel;
use crate::dataplane::decode::span::Span;
use crate::metrics::Counter;

/// Flag bits (RFC 1701, RFC 2890, RFC 2637).
const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const ACKNOWLEDGEMENT: u16 = 0x0080;
const VERSION: u16 = 0x0007;

/// Protocol types that are no EtherType of a network layer.
const BRIDGED: u16 = 0x6558;
const PPP: u16 = 0x880b;
const ERSPAN_2: u16 = 0x88be;
const ERSPAN_3: u16 = 0x22eb;
const WCCP: u16 = 0x883e;

/// Most source routes followed (RFC 1701); nobody has sent one for decades.
pub const ROUTES_MAX: usize = 8;

/// Header of a packet of IP protocol 47.
pub(super) fn header(span: Span<'_>, at: usize) -> Result<Header, Counter> {
    let head = span.block::<4>(at).ok_or(Counter::TunnelHeader)?;
    let (flags, protocol) = (be16::<0, 4>(head), be16::<2, 4>(head));
    let header = match flags & VERSION {
        0 => version_0(span, at + 4, flags, protocol),
        1 => version_1(span, at + 4, flags, protocol),
        _ => None,
    };
    header.filter(|header| header.at <= span.end).ok_or(Counter::TunnelHeader)
}

fn version_0(span: Span<'_>, mut at: usize, flags: u16, protocol: u16) -> Option<Header> {
    let mut take = |bit| {
        let field = (flags & bit != 0).then_some(at);
        at += if field.is_some() { 4 } else { 0 };
        field
    };
    take(CHECKSUM | ROUTING);
    let key = take(KEY);
    take(SEQUENCE);
    let id = match key {
        Some(key) => be32::<0, 4>(span.block::<4>(key)?),
        None => 0,
    };
    if flags & ROUTING != 0 {
        at = behind_routes(span, at)?;
    }
    let content = match protocol {
        BRIDGED => Content::Ethernet,
        PPP => Content::Ppp,
        // With a sequence number it is type II, without it is type I, which has no header of its own.
        ERSPAN_2 if flags & SEQUENCE == 0 => return Some(erspan(span, at, 0)),
        ERSPAN_2 => return erspan_2(span, at),
        ERSPAN_3 => return erspan_3(span, at),
        WCCP => return wccp(span, at),
        other => Content::Network(other),
    };
    Some(Header { kind: Tunnel::Gre, id, at, end: span.end, content })
}

/// The list of source routes ends with an empty one.
fn behind_routes(span: Span<'_>, mut at: usize) -> Option<usize> {
    for _ in 0..=ROUTES_MAX {
        let route = span.block::<4>(at)?;
        let (family, length) = (be16::<0, 4>(route), usize::from(route[3]));
        at += 4 + length;
        if family == 0 && length == 0 {
            return Some(at);
        }
    }
    None
}

/// Point-to-point tunnelling: the key is the length of what is carried and the call.
fn version_1(span: Span<'_>, at: usize, flags: u16, protocol: u16) -> Option<Header> {
    if flags & KEY == 0 || protocol != PPP {
        return None;
    }
    let key = span.block::<4>(at)?;
    let (length, id) = (usize::from(be16::<0, 4>(key)), u32::from(be16::<2, 4>(key)));
    let has_payload = flags & SEQUENCE != 0;
    let at = at + 4 + [SEQUENCE, ACKNOWLEDGEMENT].into_iter().filter(|bit| flags & bit != 0).count() * 4;
    let content = if has_payload && length > 0 { Content::Ppp } else { Content::Nothing };
    Some(Header { kind: Tunnel::Pptp, id, at, end: span.end.min(at + length), content })
}

/// Version 1 has no header of its own, version 2 has one of flags, service and buckets: it may begin like a version of IP, but
/// not like a whole first byte of it.
fn wccp(span: Span<'_>, at: usize) -> Option<Header> {
    let (id, at) = match *span.block::<2>(at)? {
        [0x45..=0x4f, _] => (0, at),
        [_, service] => (u32::from(service), at + 4),
    };
    Some(Header { kind: Tunnel::Wccp, id, at, end: span.end, content: Content::Ip })
}

fn erspan(span: Span<'_>, at: usize, session: u16) -> Header {
    Header { kind: Tunnel::Erspan, id: u32::from(session & 0x3ff), at, end: span.end, content: Content::Ethernet }
}

/// Version 1 in the first bits; the session in the last ten of the second two bytes.
fn erspan_2(span: Span<'_>, at: usize) -> Option<Header> {
    let head = span.block::<8>(at)?;
    (head[0] >> 4 == 1).then(|| erspan(span, at + 8, be16::<2, 8>(head)))
}

/// Version 2 in the first bits. The last two bytes tell the type of the frame and whether eight bytes more follow.
fn erspan_3(span: Span<'_>, at: usize) -> Option<Header> {
    let head = span.block::<12>(at)?;
    if head[0] >> 4 != 2 {
        return None;
    }
    let last = be16::<10, 12>(head);
    let content = match last >> 10 & 0x1f {
        0 => Content::Ethernet,
        2 => Content::Ip,
        _ => Content::Nothing,
    };
    let at = at + 12 + if last & 1 != 0 { 8 } else { 0 };
    Some(Header { content, ..erspan(span, at, be16::<2, 12>(head)) })
}
