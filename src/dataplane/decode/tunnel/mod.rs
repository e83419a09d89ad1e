//! From an IP packet that carries a tunnel to the packet in it, level by level.
//!
//! A tunnel is entered where its header says beyond doubt that it is one; a datagram to a tunnel's port that is none stays
//! the datagram it is. Whatever is broken or too deep inside is left where it is: the frame counts for the flow of the
//! innermost level reached, and [`Layers::fault`] names what was met. Pieces of a datagram are not entered: only put together
//! are they a packet.

mod fits;
mod gre;
mod mpls;
mod nsh;
mod ppp;
mod tag;
#[cfg(test)]
mod tests;
mod udp;

pub use gre::ROUTES_MAX;
pub use mpls::LABELS_MAX;
pub use udp::GTP_EXTENSIONS_MAX;

pub(super) use mpls::decode as mpls;
pub(super) use nsh::decode as nsh;
pub(super) use ppp::{framed as ppp_framed, session as pppoe};
pub(super) use tag::{e_tag, macsec, vn_tag};
pub(super) use udp::is_port;

use super::anomaly::HeaderAnomaly;
use super::link::{self, ether_type};
use super::outer::Layers;
use super::packet::{Decoded, Packet, Tunnel, protocol};
use super::span::Span;
use crate::metrics::{Counter, Role};

/// What a tunnel's header says.
struct Header {
    kind: Tunnel,
    id: u32,
    /// Where what it carries begins and ends in the frame, and what that is.
    at: usize,
    end: usize,
    content: Content,
}

/// What a tunnel carries.
#[derive(Clone, Copy)]
enum Content {
    Ethernet,
    /// By EtherType.
    Network(u16),
    /// IP of the version that its first bits tell.
    Ip,
    Ppp,
    /// Nothing that has a flow.
    Nothing,
}

/// The tunnel that a protocol and the ports (sender's, receiver's) name.
pub(super) fn named(protocol: u8, ports: (u16, u16)) -> Tunnel {
    match protocol {
        protocol::UDP => udp::named(ports),
        protocol::GRE => Tunnel::Gre,
        protocol::IPV4 | protocol::IPV6 => Tunnel::IpInIp,
        protocol::MPLS => Tunnel::Mpls,
        protocol::ETHER_IP | protocol::ETHERNET => Tunnel::EtherIp,
        _ => Tunnel::None,
    }
}

/// Goes from what a frame was decoded to, where that is a packet of a flow, into the tunnels that it carries, as far as they
/// go.
pub(super) fn follow(span: Span<'_>, mut decoded: Decoded, packet: &mut Packet, layers: &mut Layers) -> Decoded {
    // Each round goes one level deeper or ends; `Layers::enter` ends it at the limit.
    while decoded == Decoded::Flow && layers.enters() && packet.tunnel != Tunnel::None {
        let (mut inner, mut deeper) = (*packet, *layers);
        deeper.carried_by(&packet.key, packet.direction);
        let outcome = match header(span, packet) {
            Ok(Some(header)) => content(span, &header, &mut inner, &mut deeper),
            Ok(None) => {
                packet.tunnel = Tunnel::None;
                break;
            }
            Err(fault) => Err(fault),
        };
        match outcome {
            Ok(found @ (Decoded::Flow | Decoded::FirstFragment | Decoded::LaterFragment)) => {
                (*packet, *layers, decoded) = (inner, deeper, found);
            }
            Ok(Decoded::Arp | Decoded::Other | Decoded::Reject(_)) => break,
            Err(fault) => {
                layers.anomalies = deeper.anomalies;
                if fault == Counter::TunnelDepth {
                    layers.anomalies.insert(HeaderAnomaly::TooManyLayers);
                }
                layers.fault = Some(if fault.role() == Role::Detail { fault } else { Counter::TunnelBroken });
                break;
            }
        }
    }
    if packet.tunnel == Tunnel::None {
        packet.tunnel = layers.outer.innermost();
    }
    decoded
}

/// The header of the tunnel that a packet carries; `None`: it looked like one and is none.
fn header(span: Span<'_>, packet: &Packet) -> Result<Option<Header>, Counter> {
    let at = usize::from(packet.payload_offset);
    if packet.payload_offset == u16::MAX {
        // Further in than an offset reaches: no such packet is on a wire.
        return Err(Counter::TunnelDepth);
    }
    let span = span.until(at + packet.payload_bytes as usize);
    let whole = |kind, content| Header { kind, id: 0, at, end: span.end, content };
    Ok(Some(match packet.key.protocol() {
        protocol::UDP => {
            let (from, to) = packet.key.endpoints(packet.direction);
            return udp::header(span, at, (from.port, to.port));
        }
        protocol::GRE => gre::header(span, at)?,
        protocol::IPV4 => whole(Tunnel::IpInIp, Content::Network(ether_type::IPV4)),
        protocol::IPV6 => whole(Tunnel::IpInIp, Content::Network(ether_type::IPV6)),
        protocol::MPLS => labels(span, at),
        protocol::ETHERNET => whole(Tunnel::EtherIp, Content::Ethernet),
        // Version 3; the rest is reserved.
        protocol::ETHER_IP => match span.block::<2>(at) {
            Some([0x30..0x40, _]) => Header { at: at + 2, ..whole(Tunnel::EtherIp, Content::Ethernet) },
            _ => return Err(Counter::TunnelHeader),
        },
        _ => return Ok(None),
    }))
}

/// Labels right behind a transport: they are the level.
fn labels(span: Span<'_>, at: usize) -> Header {
    Header { kind: Tunnel::None, id: 0, at, end: span.end, content: Content::Network(ether_type::MPLS) }
}

/// Decodes what a tunnel carries.
fn content(span: Span<'_>, header: &Header, packet: &mut Packet, layers: &mut Layers) -> Result<Decoded, Counter> {
    packet.clear();
    if header.kind != Tunnel::None {
        layers.enter(header.kind, header.id)?;
    }
    let (span, at) = (span.until(header.end), header.at);
    match header.content {
        Content::Ethernet => link::ethernet(span, at, packet, layers),
        Content::Network(protocol) => link::network(span, protocol, at, packet, layers),
        Content::Ip => link::ip(span, at, packet, layers),
        Content::Ppp => ppp::payload(span, at, packet, layers),
        Content::Nothing => Ok(Decoded::Other),
    }
}
