//! The packet that an ICMP error quotes.

use super::bytes::{be16, block};
use super::ip::{Addresses, Piece, Upper, extensions, icmp_port};
use super::key::{Direction, FlowKey};
use super::packet::{Packet, protocol};
use crate::dataplane::capture::FrameView;

/// The flow that an ICMP or ICMPv6 error quotes (RFC 792, RFC 4443 section 3), with the direction of the *quoted* packet:
/// so an unreachable port is laid at the door of the contact that met it. `None` if it is no error or quotes too little.
///
/// Whether the error is a refusal is another question: [`Packet::is_refusal`]. Lengths inside the quote are not checked:
/// routers cut it and some rewrite them.
#[cold]
pub fn quoted_flow(frame: FrameView<'_>, packet: &Packet) -> Option<(FlowKey, Direction)> {
    let at = usize::from(packet.payload_offset);
    // Up to the end of the ICMP body: what pads a short frame is no quote.
    let end = at.checked_add(packet.payload_bytes as usize)?.min(frame.bytes.len());
    let bytes = frame.bytes.get(..end)?;
    let (addresses, upper) = match (packet.key.protocol(), packet.icmp_type) {
        // Destination unreachable, source quench, time exceeded, parameter problem.
        (protocol::ICMP, 3 | 4 | 11 | 12) => quoted_v4(bytes, at)?,
        // Destination unreachable, packet too big, time exceeded, parameter problem.
        (protocol::ICMPV6, 1..=4) => quoted_v6(bytes, at)?,
        _ => return None,
    };
    if upper.piece == Piece::Later {
        return None;
    }
    let ports = match upper.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            let head = block::<4>(bytes, upper.at)?;
            (be16::<0, 4>(head), be16::<2, 4>(head))
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let port = icmp_port(upper.protocol, block::<8>(bytes, upper.at)?);
            (port, port)
        }
        _ => (0, 0),
    };
    Some(addresses.key(ports, upper.protocol, packet.key.scope()))
}

fn quoted_v4(bytes: &[u8], at: usize) -> Option<(Addresses, Upper)> {
    let head = block::<20>(bytes, at)?;
    let header = usize::from(head[0] & 0x0f) * 4;
    if head[0] >> 4 != 4 || header < 20 {
        return None;
    }
    let field = be16::<6, 20>(head);
    let piece = if field & 0x1fff == 0 { Piece::Whole } else { Piece::Later };
    let upper = Upper { piece, ..Upper::whole(head[9], at + header, usize::MAX) };
    Some((Addresses::v4(head), upper))
}

fn quoted_v6(bytes: &[u8], at: usize) -> Option<(Addresses, Upper)> {
    let head = block::<40>(bytes, at)?;
    if head[0] >> 4 != 6 {
        return None;
    }
    let mut upper = Upper::whole(head[6], at + 40, usize::MAX);
    extensions(bytes, &mut upper)?;
    Some((Addresses::v6(head), upper))
}
