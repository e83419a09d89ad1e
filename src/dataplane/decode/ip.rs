//! IPv4, IPv6 and its extension headers, and what the transport headers under them say.
//!
//! Two lengths are told apart throughout: what the headers announce, checked against the frame's length on the wire, and
//! what the capture holds, which may be less (snap length). A header that is needed must be captured whole; payload need
//! not be.

use super::anomaly::{HeaderAnomalies, HeaderAnomaly};
use super::bytes::{be16, be32, be128, block};
use super::defrag::Place;
use super::key::{Direction, FlowKey, Scope};
use super::options;
use super::outer::Layers;
use super::packet::{Decoded, Packet, TcpWord, protocol};
use super::span::Span;
use super::tunnel;
use crate::metrics::Counter;

/// Most extension headers followed: more than a frame of 1 500 bytes has room for, since receivers have to take them in any
/// number (RFC 8200 section 4.1). More take 2 KiB at least, so that following this many is no more work a byte than a
/// stream of short frames.
pub const EXTENSIONS_MAX: usize = 256;

/// Addresses of either version, in the packet's order.
#[derive(Clone, Copy)]
pub(super) enum Addresses {
    V4(u32, u32),
    V6(u128, u128),
}

impl Addresses {
    pub(super) fn v4(head: &[u8; 20]) -> Addresses {
        Addresses::V4(be32::<12, 20>(head), be32::<16, 20>(head))
    }

    pub(super) fn v6(head: &[u8; 40]) -> Addresses {
        Addresses::V6(be128::<8, 40>(head), be128::<24, 40>(head))
    }

    /// Canonical key of a packet between them.
    pub(super) fn key(self, ports: (u16, u16), protocol: u8, scope: Scope) -> (FlowKey, Direction) {
        match self {
            Addresses::V4(from, to) => FlowKey::v4_in(scope, (from, to), ports, protocol),
            Addresses::V6(from, to) => FlowKey::v6_in(scope, (from, to), ports, protocol),
        }
    }
}

/// Which part of its datagram a packet carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    Whole,
    First,
    Later,
}

/// What lies above the network header.
#[derive(Clone, Copy)]
pub(super) struct Upper {
    pub(super) protocol: u8,
    /// Where it begins in the frame.
    pub(super) at: usize,
    /// How long it is by the headers before it.
    pub(super) length: usize,
    pub(super) piece: Piece,
    /// Identification of the fragment, 0 for a whole packet.
    pub(super) fragment_id: u32,
    /// Where the fragment belongs.
    pub(super) place: Place,
    /// A fragment header was in the way of a whole packet.
    pub(super) is_atomic: bool,
    /// What is unusual about the extension headers before it.
    pub(super) anomalies: HeaderAnomalies,
}

impl Upper {
    /// Of a whole packet.
    pub(super) fn whole(protocol: u8, at: usize, length: usize) -> Upper {
        let (piece, place) = (Piece::Whole, Place::default());
        let anomalies = HeaderAnomalies::default();
        Upper { protocol, at, length, piece, fragment_id: 0, place, is_atomic: false, anomalies }
    }
}

/// Decodes an IPv4 packet (RFC 791) that begins at `at`.
pub(super) fn v4(span: Span<'_>, at: usize, packet: &mut Packet, layers: &mut Layers) -> Result<Decoded, Counter> {
    let bytes = span.bytes;
    let head = block::<20>(bytes, at).ok_or(Counter::DropTruncatedIp)?;
    if head[0] >> 4 != 4 {
        return Err(Counter::DropIpVersion);
    }
    let header = usize::from(head[0] & 0x0f) * 4;
    if header < 20 {
        return Err(Counter::DropIpHeaderLength);
    }
    let on_wire = span.left(at);
    // A total length of 0 is what a capture on the sending host shows for a segment that the NIC is to cut (TSO, and always
    // above 64 KiB: BIG TCP). No packet on a wire has it, so there is nothing to confuse it with: take the frame.
    let total = match usize::from(be16::<2, 20>(head)) {
        0 => on_wire,
        total => total,
    };
    if total < 20 || total > on_wire {
        return Err(Counter::DropIpTotalLength);
    }
    if header > total {
        return Err(Counter::DropIpHeaderLength);
    }
    if bytes.len() < at + header {
        return Err(Counter::DropTruncatedIp);
    }
    let field = be16::<6, 20>(head);
    let (offset, more) = (field & 0x1fff, field & 0x2000 != 0);
    let mut upper = Upper::whole(head[9], at + header, total - header);
    upper.piece = piece(offset, more);
    if upper.piece != Piece::Whole {
        upper.fragment_id = u32::from(be16::<4, 20>(head));
        upper.belongs(offset << 3, more, header);
        // Of a whole packet it is asked where its bytes are to be believed.
        let head = bytes.get(at..at + header).unwrap_or_default();
        upper.place.is_spoiled = !is_sum_right(head);
    }
    // Not in fragments: the later ones name the authentication header, and all must agree on what they are part of.
    if upper.protocol == protocol::AUTHENTICATION && upper.piece == Piece::Whole {
        let length = authentication_bytes(bytes, &upper).ok_or(Counter::DropTruncatedTransport)?;
        upper.skip(bytes, length).ok_or(Counter::DropTruncatedTransport)?;
    }
    let decoded = finish(bytes, Addresses::v4(head), upper, packet, layers)?;
    if header > 20 {
        let (found, is_readable) = options::check(bytes.get(at + 20..at + header).unwrap_or_default());
        layers.anomalies.add(found);
        // No host takes it, so it is of no flow.
        is_readable.then_some(()).ok_or(Counter::DropIpOptions)?;
    }
    Ok(decoded)
}

/// Decodes an IPv6 packet (RFC 8200) that begins at `at`.
pub(super) fn v6(span: Span<'_>, at: usize, packet: &mut Packet, layers: &mut Layers) -> Result<Decoded, Counter> {
    let bytes = span.bytes;
    let head = block::<40>(bytes, at).ok_or(Counter::DropTruncatedIp)?;
    if head[0] >> 4 != 6 {
        return Err(Counter::DropIpVersion);
    }
    let left = span.left(at).checked_sub(40).ok_or(Counter::DropTruncatedIp)?;
    // Jumbograms (RFC 2675) and BIG TCP announce 0 because the field cannot hold more than 65535. Below that 0 means 0:
    // padding of a short frame must not become payload.
    let length = match usize::from(be16::<4, 40>(head)) {
        0 if left > usize::from(u16::MAX) => left,
        length => length,
    };
    if length > left {
        return Err(Counter::DropIpTotalLength);
    }
    let mut upper = Upper::whole(head[6], at + 40, length);
    let followed = extensions(bytes, &mut upper);
    layers.anomalies.add(upper.anomalies);
    if followed.is_none() {
        (packet.key, packet.direction) = Addresses::v6(head).key((0, 0), upper.protocol, layers.scope());
        return Err(Counter::DropIpv6Extension);
    }
    finish(bytes, Addresses::v6(head), upper, packet, layers)
}

/// Is the checksum of an IPv4 header right (RFC 791 section 3.1)?
fn is_sum_right(head: &[u8]) -> bool {
    let sum: u32 = head.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    sum.is_multiple_of(0xffff)
}

fn piece(offset: u16, more: bool) -> Piece {
    match (offset, more) {
        (0, false) => Piece::Whole,
        (0, true) => Piece::First,
        _ => Piece::Later,
    }
}

impl Upper {
    /// Not followed further, for this.
    fn refuse(&mut self, anomaly: HeaderAnomaly) -> Option<()> {
        self.anomalies.insert(anomaly);
        None
    }

    /// Notes where a fragment belongs; its bytes begin here.
    fn belongs(&mut self, offset: u16, more: bool, header_bytes: usize) {
        self.place = Place {
            offset: u32::from(offset),
            more,
            protocol: self.protocol,
            header_bytes: u16::try_from(header_bytes).unwrap_or(u16::MAX),
            at: size(self.at),
            length: size(self.length),
            is_spoiled: false,
        };
    }

    /// Steps over a header of `length` bytes whose first byte names the next one; `None` if it does not fit.
    fn skip(&mut self, bytes: &[u8], length: usize) -> Option<()> {
        let next = *bytes.get(self.at)?;
        self.length = self.length.checked_sub(length)?;
        self.at += length;
        // The header itself is not read beyond its first bytes, but one that the capture cut off has no successor.
        (self.at <= bytes.len()).then_some(())?;
        self.protocol = next;
        Some(())
    }
}

/// Length of an authentication header (RFC 4302 section 2.2: in words, less 2); one without a sequence number is none.
fn authentication_bytes(bytes: &[u8], upper: &Upper) -> Option<usize> {
    let words = usize::from(*bytes.get(upper.at + 1)?);
    (words >= 1).then_some((words + 2) * 4)
}

/// Follows IPv6 extension headers to what `upper` then is; `None` if the chain is too long, no host's, or cut short.
pub(super) fn extensions(bytes: &[u8], upper: &mut Upper) -> Option<()> {
    let (all, mut seen) = (upper.length, Seen::default());
    for index in 0..=EXTENSIONS_MAX {
        if !is_extension(upper.protocol) {
            return Some(());
        }
        if index == EXTENSIONS_MAX {
            return upper.refuse(HeaderAnomaly::ExtensionsTooMany);
        }
        seen.note(upper.protocol, &mut upper.anomalies);
        // Only right behind the fixed header (RFC 8200 section 4.1).
        if upper.protocol == protocol::HOP_BY_HOP && index > 0 {
            return upper.refuse(HeaderAnomaly::ExtensionHopLate);
        }
        if upper.protocol == protocol::ROUTING && bytes.get(upper.at + 2) == Some(&0) {
            upper.anomalies.insert(HeaderAnomaly::RoutingTypeZero);
        }
        // The shortest has eight bytes. What is announced and not there the capture cut off.
        if upper.length < 8 {
            return upper.refuse(HeaderAnomaly::ExtensionTruncated);
        }
        let length = match upper.protocol {
            protocol::FRAGMENT => 8,
            protocol::AUTHENTICATION => authentication_bytes(bytes, upper)?,
            _ => (usize::from(*bytes.get(upper.at + 1)?) + 1) * 8,
        };
        if length > upper.length {
            return upper.refuse(HeaderAnomaly::ExtensionTruncated);
        }
        if upper.protocol == protocol::FRAGMENT {
            fragment(bytes, upper, all)?;
        } else {
            upper.skip(bytes, length)?;
        }
        if upper.piece == Piece::Later {
            return Some(());
        }
    }
    None
}

fn is_extension(number: u8) -> bool {
    use protocol::{AUTHENTICATION, DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING};
    matches!(number, HOP_BY_HOP | ROUTING | DESTINATION | AUTHENTICATION | FRAGMENT)
}

/// Steps over a fragment header, of a packet that had `all` behind its fixed header; `None` for one within a fragment.
fn fragment(bytes: &[u8], upper: &mut Upper, all: usize) -> Option<()> {
    let head = block::<8>(bytes, upper.at)?;
    let (field, header_bytes) = (be16::<2, 8>(head), all - upper.length);
    let more = field & 1 != 0;
    let piece = piece(field >> 3, more);
    // One that is the whole datagram ("atomic", RFC 6946) is no fragment.
    if piece == Piece::Whole {
        upper.is_atomic = true;
        return upper.skip(bytes, 8);
    }
    (upper.piece == Piece::Whole).then_some(())?;
    upper.piece = piece;
    upper.fragment_id = be32::<4, 8>(head);
    upper.skip(bytes, 8)?;
    upper.belongs(field & 0xfff8, more, header_bytes);
    Some(())
}

/// The extension headers of a chain so far.
#[derive(Default)]
struct Seen {
    hop: bool,
    routing: bool,
    fragment: bool,
    authentication: bool,
    destinations: u8,
}

impl Seen {
    /// Notes one, and in `anomalies` if it came before.
    fn note(&mut self, number: u8, anomalies: &mut HeaderAnomalies) {
        let (before, anomaly) = match number {
            protocol::HOP_BY_HOP => (&mut self.hop, HeaderAnomaly::ExtensionDuplicateHop),
            protocol::ROUTING => (&mut self.routing, HeaderAnomaly::ExtensionDuplicateRouting),
            protocol::FRAGMENT => (&mut self.fragment, HeaderAnomaly::ExtensionDuplicateFragment),
            protocol::AUTHENTICATION => (&mut self.authentication, HeaderAnomaly::ExtensionDuplicateAuthentication),
            _ => {
                // Once before a routing header, once before the transport.
                if self.destinations >= 2 {
                    anomalies.insert(HeaderAnomaly::ExtensionDuplicateDestination);
                }
                self.destinations = self.destinations.saturating_add(1);
                return;
            }
        };
        if std::mem::replace(before, true) {
            anomalies.insert(anomaly);
        }
    }
}

/// Reads the transport header and completes the packet.
fn finish(
    bytes: &[u8],
    addresses: Addresses,
    upper: Upper,
    packet: &mut Packet,
    layers: &mut Layers,
) -> Result<Decoded, Counter> {
    let scope = layers.scope();
    (layers.place, layers.is_atomic) = (upper.place, layers.is_atomic || upper.is_atomic);
    let ports = if upper.piece == Piece::Later {
        packet.payload_offset = offset(upper.at);
        packet.payload_bytes = size(upper.length);
        (0, 0)
    } else {
        match transport(bytes, &upper, packet, layers) {
            Ok(ports) => ports,
            Err(reason) => {
                // Of no flow, but somebody sent it.
                let ports = block::<4>(bytes, upper.at).map_or((0, 0), |head| (be16::<0, 4>(head), be16::<2, 4>(head)));
                (packet.key, packet.direction) = addresses.key(ports, upper.protocol, scope);
                return Err(reason);
            }
        }
    };
    packet.tunnel = tunnel::named(upper.protocol, ports);
    packet.fragment = upper.piece != Piece::Whole;
    packet.fragment_id = upper.fragment_id;
    (packet.key, packet.direction) = addresses.key(ports, upper.protocol, scope);
    Ok(match upper.piece {
        Piece::Whole => Decoded::Flow,
        Piece::First => Decoded::FirstFragment,
        Piece::Later => Decoded::LaterFragment,
    })
}

/// Sets the transport fields of `packet` and gives the ports.
fn transport(bytes: &[u8], upper: &Upper, packet: &mut Packet, layers: &mut Layers) -> Result<(u16, u16), Counter> {
    let (ports, header, length) = match upper.protocol {
        // Where the rest of the header is in the next fragment, the ports are all that counts (RFC 1858 has the reason why
        // somebody does so); the whole datagram shows the rest.
        protocol::TCP if upper.piece == Piece::First && upper.length < 20 => {
            let head = header::<4>(bytes, upper)?;
            ((be16::<0, 4>(head), be16::<2, 4>(head)), upper.length, upper.length)
        }
        protocol::TCP => {
            let head = header::<20>(bytes, upper)?;
            let header = usize::from(head[12] >> 4) * 4;
            let header = if upper.piece == Piece::First { header.min(upper.length) } else { header };
            if header < 20 || header > upper.length {
                layers.anomalies.insert(match header < 20 {
                    true => HeaderAnomaly::TcpOptionsInvalid,
                    false => HeaderAnomaly::TcpHeaderTooSmall,
                });
                return Err(Counter::DropTcpOffset);
            }
            packet.tcp = TcpWord::of(be32::<12, 20>(head));
            ((be16::<0, 20>(head), be16::<2, 20>(head)), header, upper.length)
        }
        protocol::UDP => {
            let head = header::<8>(bytes, upper)?;
            let length = usize::from(be16::<4, 8>(head));
            let length = match length {
                // Too long for the field (RFC 2675 section 4).
                0 if upper.length > usize::from(u16::MAX) => upper.length,
                // The field speaks of the whole datagram; this is its first piece.
                8.. if upper.piece == Piece::First => length.min(upper.length),
                8.. if length <= upper.length => length,
                _ => return Err(Counter::DropUdpLength),
            };
            ((be16::<0, 8>(head), be16::<2, 8>(head)), 8, length)
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let head = header::<8>(bytes, upper)?;
            packet.icmp_type = head[0];
            packet.icmp_code = head[1];
            let port = icmp_port(upper.protocol, head);
            ((port, port), 8, upper.length)
        }
        protocol::SCTP => {
            let head = header::<12>(bytes, upper)?;
            ((be16::<0, 12>(head), be16::<2, 12>(head)), 12, upper.length)
        }
        _ => ((0, 0), 0, upper.length),
    };
    packet.payload_offset = offset(upper.at + header);
    packet.payload_bytes = size(length - header);
    Ok(ports)
}

/// The transport header, if it is both announced and captured.
fn header<'a, const N: usize>(bytes: &'a [u8], upper: &Upper) -> Result<&'a [u8; N], Counter> {
    if upper.length < N {
        return Err(Counter::DropTruncatedTransport);
    }
    block::<N>(bytes, upper.at).ok_or(Counter::DropTruncatedTransport)
}

/// What stands for both ports of an ICMP message: the identifier of those that ask and answer (so that a request, its
/// repeats and its answers are one flow), type and code of all others.
pub(super) fn icmp_port(protocol: u8, head: &[u8; 8]) -> u16 {
    let asks = match (protocol, head[0]) {
        // Echo, timestamp, information and address mask (RFC 792, RFC 950), extended echo (RFC 8335).
        (protocol::ICMP, 0 | 8 | 13..=18 | 42 | 43) => true,
        (protocol::ICMPV6, 128 | 129 | 160 | 161) => true,
        _ => false,
    };
    if asks { be16::<4, 8>(head) } else { be16::<0, 8>(head) }
}

/// Headers of a level end far below 64 KiB in any frame on a wire. Extensions, and the headers of all levels together, can be
/// made longer; what is further in is not read.
fn offset(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}

/// At most a frame's length on the wire, which is a `u32`.
fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
