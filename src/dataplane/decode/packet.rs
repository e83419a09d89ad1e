//! One frame to one [`Packet`]: the result, and the short way for the packets that most traffic consists of.

use super::bytes::{be16, be32, be64};
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
    /// An ARP frame; its body is at [`Packet::payload_offset`].
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

/// Decodes one frame into `packet`. Some 75 instructions for TCP over IPv4 over Ethernet (`benches/decode`).
///
/// Never panics whatever the bytes are. On anything but the three flow outcomes `packet` is unspecified.
///
/// TCP and UDP over IPv4 without tags, options and fragments take a short way of fixed offsets. Whatever is unusual in any
/// respect, every reject included, goes to `decode_general`, which knows all of it; where both ways apply they agree
/// (property test).
#[inline(always)]
pub fn decode(frame: FrameView<'_>, packet: &mut Packet) -> Decoded {
    if frame.link == LinkType::Ethernet && decode_plain(frame, packet).is_some() {
        return Decoded::Flow;
    }
    // In parts, so that the view need not be put together in memory for a call that is rarely made.
    decode_general(frame.bytes, frame.wire_bytes, frame.link, packet)
}

/// Ethernet header, IPv4 header without options, TCP header without options: what the short way reads as one block. Any
/// frame off a wire is longer (60 bytes).
const PLAIN: usize = 14 + 20 + 20;

/// The short way; `None` if the frame is not for it (then `packet` may be half written). Only for frames that were
/// captured whole, so that one length answers for both.
///
/// Each lower bound is subtracted first and the rest compared as an unsigned number, so that one compare checks both ends:
/// what was below the bound has wrapped to far above any frame.
#[inline(always)]
fn decode_plain(frame: FrameView<'_>, packet: &mut Packet) -> Option<()> {
    let head = frame.bytes.first_chunk::<PLAIN>()?;
    // A slice of 4 GiB is no frame; cut to 32 bits its length could only be found too short for its headers.
    let captured = frame.bytes.len() as u32;
    let ethertype_and_version = u32::from_ne_bytes([head[12], head[13], head[14], 0]);
    let offset_or_more = u16::from_ne_bytes([head[20] & 0x3f, head[21]]);
    if ethertype_and_version != u32::from_ne_bytes([0x08, 0x00, 0x45, 0]) || offset_or_more != 0 {
        return None;
    }
    let total = u32::from(be16::<16, PLAIN>(head));
    let transport_protocol = head[23];
    if transport_protocol == protocol::TCP {
        let above_headers = total.wrapping_sub(40);
        let options = u32::from(head[46] >> 4).wrapping_mul(4).wrapping_sub(20);
        if above_headers > captured.wrapping_sub(54) || options > above_headers {
            return None;
        }
        packet.payload_bytes = above_headers - options;
        packet.payload_offset = PLAIN as u16 + options as u16;
        packet.tcp_sequence = be32::<38, PLAIN>(head);
        packet.tcp_acknowledgement = be32::<42, PLAIN>(head);
        packet.tcp_flags = head[47];
        packet.tcp_window = be16::<48, PLAIN>(head);
        packet.tunnel = Tunnel::None;
    } else if transport_protocol == protocol::UDP {
        let above_headers = total.wrapping_sub(28);
        let payload = u32::from(be16::<38, PLAIN>(head)).wrapping_sub(8);
        if above_headers > captured.wrapping_sub(42) || payload > above_headers {
            return None;
        }
        packet.payload_bytes = payload;
        packet.payload_offset = 42;
        packet.clear_tcp();
        packet.tunnel = tunnel_of(protocol::UDP, be16::<36, PLAIN>(head));
    } else {
        return None;
    }
    packet.wire_bytes = frame.wire_bytes.max(captured);
    packet.hop_limit = head[22];
    packet.icmp_type = 0;
    packet.icmp_code = 0;
    packet.fragment = false;
    packet.fragment_id = 0;
    (packet.key, packet.direction) =
        FlowKey::v4_pairs(be64::<26, PLAIN>(head), be32::<34, PLAIN>(head), transport_protocol, 0);
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

/// The long way: every link type, tag, option, extension header and fragment, and every reject.
#[inline(never)]
pub(super) fn decode_general(bytes: &[u8], wire_bytes: u32, link: LinkType, packet: &mut Packet) -> Decoded {
    // A source that claims less than it holds is corrected.
    packet.wire_bytes = wire_bytes.max(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    packet.clear_tcp();
    packet.tunnel = Tunnel::None;
    packet.icmp_type = 0;
    packet.icmp_code = 0;
    packet.fragment = false;
    packet.fragment_id = 0;
    link::decode(bytes, link, packet).unwrap_or_else(Decoded::Reject)
}
