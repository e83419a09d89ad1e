//! One frame to one [`Packet`].

use super::key::{Direction, FlowKey};
use crate::dataplane::capture::FrameView;
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
    /// Where that payload begins in the frame.
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

/// Decodes one frame into `packet`. Some 15 cycles of work for TCP over IPv4 over Ethernet.
///
/// Never panics whatever the bytes are. On anything but the three flow outcomes `packet` is unspecified.
#[inline]
pub fn decode(frame: FrameView<'_>, packet: &mut Packet) -> Decoded {
    let _ = (frame, packet);
    unimplemented!("decode")
}

/// The flow that an ICMP or ICMPv6 error quotes (RFC 792, RFC 4443 section 3), with the direction of the *quoted* packet:
/// so an unreachable port is laid at the door of the contact that met it. `None` if it is no error or quotes too little.
#[cold]
pub fn quoted_flow(frame: FrameView<'_>, packet: &Packet) -> Option<(FlowKey, Direction)> {
    let _ = (frame, packet);
    unimplemented!("quoted_flow")
}
