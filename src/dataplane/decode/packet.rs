//! One frame to one [`Packet`]: the result, and the short way for the packets that most traffic consists of.

use super::bytes::{be16, be32};
use super::ip::tunnel_of;
use super::key::{Direction, FlowKey};
use super::link;
use crate::dataplane::capture::{FrameView, LinkType};
use crate::metrics::Counter;
use crate::units::Timestamp;

/// TCP flag bits (RFC 9293 section 3.1).
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
    /// ECN echo (RFC 3168).
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced (RFC 3168).
    pub const CWR: u8 = 0x80;
}

/// A tunnel recognised by name; its frames are counted by the outer flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Tunnel {
    /// Not a tunnel that we know.
    #[default]
    None,
    /// IP protocol 47 (RFC 2784).
    Gre,
    /// UDP port 4789 (RFC 7348).
    Vxlan,
    /// UDP port 6081 (RFC 8926).
    Geneve,
    /// IP in IP: protocol 4 or 41 (RFC 2003, RFC 4213).
    IpInIp,
}

/// What the worker needs to know of one frame. Reused between bursts; `decode` sets every field but `time` and `hash`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packet {
    /// Canonical 5-tuple.
    pub key: FlowKey,
    /// Table hash of `key`; set by the worker.
    pub hash: u64,
    /// Capture time, or the burst's; set by the worker.
    pub time: Timestamp,
    /// Length on the wire, link header included, without FCS.
    pub wire_bytes: u32,
    /// Length of the transport payload as the headers announce it (UDP, TCP, SCTP, ICMP body; for other protocols all
    /// that follows the IP header).
    pub payload_bytes: u32,
    /// Where that payload begins in the frame; at or past the end of the captured bytes where a snap length cut it off.
    pub payload_offset: u16,
    /// TCP window, unscaled.
    pub tcp_window: u16,
    /// TCP sequence number.
    pub tcp_sequence: u32,
    /// TCP acknowledgement number.
    pub tcp_acknowledgement: u32,
    /// TCP flags ([`tcp_flags`]); 0 for other protocols.
    pub tcp_flags: u8,
    /// ICMP type and code; 0 for other protocols.
    pub icmp_type: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// Which way the packet went relative to `key`.
    pub direction: Direction,
    /// Tunnel recognised.
    pub tunnel: Tunnel,
    /// IP time to live or hop limit.
    pub hop_limit: u8,
    /// A fragment of a larger datagram (first or later).
    pub fragment: bool,
    /// IP identification of a fragment (IPv4 16 bits, IPv6 32 bits); 0 otherwise.
    pub fragment_id: u32,
}

/// What a frame turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// `Packet` is complete; the common case.
    Flow,
    /// First fragment: `Packet` is complete, and its ports are to be remembered for the later ones.
    FirstFragment,
    /// Later fragment: the ports in `Packet::key` are 0 until [`super::FragmentTable::resolve`] has filled them in.
    LaterFragment,
    /// An ARP frame.
    Arp,
    /// An EtherType without IP.
    Other,
    /// Refused; the counter names the reason.
    Reject(Counter),
}

impl Packet {
    /// Does this ICMP or ICMPv6 error say that the quoted packet's target refused it or cannot be reached?
    ///
    /// Of the errors that [`quoted_flow`](super::quoted_flow) understands, "too big", "time exceeded" and source quench
    /// say nothing about the target: path MTU discovery and traceroute bring them about on healthy networks.
    #[inline]
    pub fn is_refusal(&self) -> bool {
        match self.key.protocol() {
            protocol::ICMP => self.icmp_type == 3 && self.icmp_code != 4,
            protocol::ICMPV6 => self.icmp_type == 1,
            _ => false,
        }
    }
}

/// IP protocol numbers (IANA) that the decoder tells apart.
pub(super) mod protocol {
    pub(in super::super) const HOP_BY_HOP: u8 = 0;
    pub(in super::super) const ICMP: u8 = 1;
    pub(in super::super) const IPV4: u8 = 4;
    pub(in super::super) const TCP: u8 = 6;
    pub(in super::super) const UDP: u8 = 17;
    pub(in super::super) const IPV6: u8 = 41;
    pub(in super::super) const ROUTING: u8 = 43;
    pub(in super::super) const FRAGMENT: u8 = 44;
    pub(in super::super) const GRE: u8 = 47;
    pub(in super::super) const AUTHENTICATION: u8 = 51;
    pub(in super::super) const ICMPV6: u8 = 58;
    pub(in super::super) const DESTINATION: u8 = 60;
    pub(in super::super) const SCTP: u8 = 132;
}

/// EtherType IPv4, then version 4 and a header of 5 words; the type of service between them is masked out.
const PLAIN_IPV4: u32 = 0x0800_4500;
/// Ethernet header plus IPv4 header without options.
const PLAIN_TRANSPORT: u32 = 14 + 20;

/// Decodes one frame into `packet`. Some 55 instructions for TCP over IPv4 over Ethernet (`benches/decode`).
///
/// Never panics whatever the bytes are. On anything but the three flow outcomes `packet` is unspecified.
///
/// TCP and UDP over IPv4 without tags, options and fragments take a short way of fixed offsets and one length check.
/// Whatever is unusual in any respect, every reject included, goes to `decode_general`, which knows all of it; where both
/// ways apply they agree (property test).
#[inline]
pub fn decode(frame: FrameView<'_>, packet: &mut Packet) -> Decoded {
    if frame.link == LinkType::Ethernet && decode_plain(frame, packet).is_some() {
        return Decoded::Flow;
    }
    decode_general(frame, packet)
}

/// The short way; `None` if the frame is not for it (then `packet` may be half written).
#[inline(always)]
fn decode_plain(frame: FrameView<'_>, packet: &mut Packet) -> Option<()> {
    let head = frame.bytes.first_chunk::<42>()?;
    let wire_bytes = wire_length(frame);
    let total = u32::from(be16::<16, 42>(head));
    // More fragments, or an offset: the general way.
    let whole = be16::<20, 42>(head) & 0x3fff == 0;
    if be32::<12, 42>(head) & 0xffff_ff00 != PLAIN_IPV4 || !whole || total > wire_bytes - 14 {
        return None;
    }
    let transport_protocol = head[23];
    let source_port = be16::<34, 42>(head);
    let destination_port = be16::<36, 42>(head);
    if transport_protocol == protocol::TCP {
        let head = frame.bytes.first_chunk::<54>()?;
        let header = u32::from(head[46] >> 4) * 4;
        if header < 20 || 20 + header > total {
            return None;
        }
        packet.payload_bytes = total - 20 - header;
        packet.payload_offset = (PLAIN_TRANSPORT + header) as u16;
        packet.tcp_sequence = be32::<38, 54>(head);
        packet.tcp_acknowledgement = be32::<42, 54>(head);
        packet.tcp_flags = head[47];
        packet.tcp_window = be16::<48, 54>(head);
        packet.tunnel = Tunnel::None;
    } else if transport_protocol == protocol::UDP {
        let length = u32::from(be16::<38, 42>(head));
        if length < 8 || 20 + length > total {
            return None;
        }
        packet.payload_bytes = length - 8;
        packet.payload_offset = (PLAIN_TRANSPORT + 8) as u16;
        packet.clear_tcp();
        packet.tunnel = tunnel_of(protocol::UDP, destination_port);
    } else {
        return None;
    }
    packet.wire_bytes = wire_bytes;
    packet.hop_limit = head[22];
    packet.icmp_type = 0;
    packet.icmp_code = 0;
    packet.fragment = false;
    packet.fragment_id = 0;
    (packet.key, packet.direction) =
        FlowKey::v4(be32::<26, 42>(head), source_port, be32::<30, 42>(head), destination_port, transport_protocol, 0);
    Some(())
}

impl Packet {
    /// Sets what only TCP has to zero.
    #[inline(always)]
    pub(super) fn clear_tcp(&mut self) {
        self.tcp_sequence = 0;
        self.tcp_acknowledgement = 0;
        self.tcp_flags = 0;
        self.tcp_window = 0;
    }
}

/// Length on the wire; a source that claims less than it holds is corrected.
#[inline(always)]
fn wire_length(frame: FrameView<'_>) -> u32 {
    frame.wire_bytes.max(u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX))
}

/// The long way: every link type, tag, option, extension header and fragment, and every reject.
#[inline(never)]
pub(super) fn decode_general(frame: FrameView<'_>, packet: &mut Packet) -> Decoded {
    packet.wire_bytes = wire_length(frame);
    packet.clear_tcp();
    packet.tunnel = Tunnel::None;
    packet.icmp_type = 0;
    packet.icmp_code = 0;
    packet.fragment = false;
    packet.fragment_id = 0;
    link::decode(frame, packet).unwrap_or_else(Decoded::Reject)
}
