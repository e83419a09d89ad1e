//! What becomes of one frame: a [`Packet`], or the reason why not; and the long way there.

use super::key::{Direction, FlowKey};
use super::outer::Layers;
use super::span::Span;
use super::{link, tunnel};
use crate::dataplane::capture::LinkType;
use crate::metrics::{Counter, Role};
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

/// The fourth word of a TCP header (RFC 9293 section 3.1) as it stands there: taking it whole costs half of what taking it
/// apart does, and who asks for a part asks for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpWord(u32);

impl TcpWord {
    /// From the four bytes in the header, read as a big-endian number.
    #[inline(always)]
    pub(super) fn of(word: u32) -> TcpWord {
        TcpWord(word)
    }

    /// A header without options, with these flags ([`tcp_flags`]) and this window.
    #[inline]
    pub fn new(flags: u8, window: u16) -> TcpWord {
        TcpWord(5 << 28 | u32::from(flags) << 16 | u32::from(window))
    }

    /// The flags, see [`tcp_flags`].
    #[inline(always)]
    pub fn flags(self) -> u8 {
        (self.0 >> 16 & 0xff) as u8
    }

    /// The window, unscaled.
    #[inline(always)]
    pub fn window(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// Length of the header, bytes, as it claims.
    #[inline(always)]
    pub fn header_bytes(self) -> u32 {
        self.0 >> 26 & 0x3c
    }
}

/// A kind of tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Tunnel {
    /// Not a tunnel that we know.
    #[default]
    None,
    /// IP protocol 47, version 0 (RFC 2784, RFC 2890). Id: the key.
    Gre,
    /// UDP port 4789 (RFC 7348), 8472 of older implementations, 4790 with a protocol number. Id: the VNI.
    Vxlan,
    /// UDP port 6081 (RFC 8926). Id: the VNI.
    Geneve,
    /// IP in IP: protocol 4 or 41 (RFC 2003, RFC 2473, RFC 4213). No id.
    IpInIp,
    /// Mirrored frames in GRE (draft-foschiano-erspan). Id: the session, 0 for type I.
    Erspan,
    /// Labels by EtherType, in GRE, by IP protocol 137 or UDP port 6635 (RFC 3032, RFC 4023, RFC 7510). Id: the first label.
    Mpls,
    /// Sessions by EtherType (RFC 2516). Id: the session.
    Pppoe,
    /// GRE version 1 (RFC 2637). Id: the call.
    Pptp,
    /// UDP port 2152 (3GPP TS 29.281). Id: the TEID.
    Gtp,
    /// UDP port 3544 (RFC 4380). No id.
    Teredo,
    /// What a router hands to a cache, in GRE (WCCP version 1 and 2). Id: the service.
    Wccp,
    /// Service function chains by EtherType 0x894f and in VXLAN (RFC 8300). Id: the path.
    Nsh,
    /// A port extender's tag by EtherType 0x893f (IEEE 802.1BR). Id: the channel, base below group below extension.
    ETag,
    /// A virtual interface's tag by EtherType 0x8926 (IEEE 802.1Qbh). Id: the destination's interface.
    VnTag,
    /// Frames with a checksum of their own, not encrypted (IEEE 802.1AE). Id: the sender's port, as far as it is said.
    Macsec,
    /// More than two VLAN tags on a frame. Id: those between the outermost and the innermost, 12 bits each.
    VlanStack,
    /// Frames in IP: protocol 97 or 143 (RFC 3378, RFC 8986). No id.
    EtherIp,
    /// UDP port 1701, version 2 (RFC 2661). Id: tunnel << 16 | session.
    L2tp,
}

impl Tunnel {
    /// What people call it; empty for none.
    pub const fn name(self) -> &'static str {
        match self {
            Tunnel::None => "",
            Tunnel::Gre => "gre",
            Tunnel::Vxlan => "vxlan",
            Tunnel::Geneve => "geneve",
            Tunnel::IpInIp => "ip_in_ip",
            Tunnel::Erspan => "erspan",
            Tunnel::Mpls => "mpls",
            Tunnel::Pppoe => "pppoe",
            Tunnel::Pptp => "pptp",
            Tunnel::Gtp => "gtp_u",
            Tunnel::Teredo => "teredo",
            Tunnel::Wccp => "wccp",
            Tunnel::Nsh => "nsh",
            Tunnel::ETag => "e_tag",
            Tunnel::VnTag => "vn_tag",
            Tunnel::Macsec => "macsec",
            Tunnel::VlanStack => "vlan_stack",
            Tunnel::EtherIp => "ether_ip",
            Tunnel::L2tp => "l2tp",
        }
    }
}

impl Tunnel {
    /// Where the packets in such tunnels are counted.
    pub const fn counter(self) -> Option<Counter> {
        Some(match self {
            Tunnel::None => return None,
            Tunnel::Gre => Counter::TunnelGre,
            Tunnel::Vxlan => Counter::TunnelVxlan,
            Tunnel::Geneve => Counter::TunnelGeneve,
            Tunnel::IpInIp => Counter::TunnelIpInIp,
            Tunnel::Erspan => Counter::TunnelErspan,
            Tunnel::Mpls => Counter::TunnelMpls,
            Tunnel::Pppoe => Counter::TunnelPppoe,
            Tunnel::Pptp => Counter::TunnelPptp,
            Tunnel::Gtp => Counter::TunnelGtp,
            Tunnel::Teredo => Counter::TunnelTeredo,
            Tunnel::Wccp => Counter::TunnelWccp,
            Tunnel::Nsh => Counter::TunnelNsh,
            Tunnel::ETag => Counter::TunnelETag,
            Tunnel::VnTag => Counter::TunnelVnTag,
            Tunnel::Macsec => Counter::TunnelMacsec,
            Tunnel::VlanStack => Counter::TunnelVlanStack,
            Tunnel::EtherIp => Counter::TunnelEtherIp,
            Tunnel::L2tp => Counter::TunnelL2tp,
        })
    }
}

/// What the worker needs to know of one frame. Reused between bursts; `decode` sets every field but `hash`, `time`, `hint`
/// and `place`, which are the worker's.
///
/// In the order of use, so that what the short way zeroes lies together.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
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
    /// The table's: the flow's first bucket, then its guess where the record lies; set by the worker.
    pub hint: u32,
    /// TCP flags and window; nothing for other protocols.
    pub tcp: TcpWord,
    /// IP identification of a fragment (IPv4 16 bits, IPv6 32 bits); 0 otherwise.
    pub fragment_id: u32,
    /// A fragment of a larger datagram (first or later).
    pub fragment: bool,
    /// ICMP type and code; 0 for other protocols.
    pub icmp_type: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// The innermost tunnel it is in, or the one that it is a packet of where that was not entered.
    pub tunnel: Tunnel,
    /// Which frame of the burst, where that is asked for; set by the worker.
    pub place: u16,
    /// Which way the packet went relative to `key`.
    pub direction: Direction,
    /// Where the payload begins in the frame; at or past the end of the captured bytes where a snap length cut it off.
    pub payload_offset: u16,
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
    pub(in super::super) const ETHER_IP: u8 = 97;
    pub(in super::super) const VRRP: u8 = 112;
    pub(in super::super) const SCTP: u8 = 132;
    pub(in super::super) const MPLS: u8 = 137;
    pub(in super::super) const ETHERNET: u8 = 143;
}

impl Packet {
    /// Forgets what another level or frame left.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.tcp = TcpWord::default();
        self.clear_rare();
    }

    /// Sets what few packets have to zero; one store.
    #[inline(always)]
    pub(super) fn clear_rare(&mut self) {
        self.fragment_id = 0;
        self.fragment = false;
        self.icmp_type = 0;
        self.icmp_code = 0;
        self.tunnel = Tunnel::None;
    }
}

/// The long way: every link type, tag, option, extension header, fragment and tunnel, and every reject.
pub(super) fn decode_general(
    bytes: &[u8],
    wire_bytes: u32,
    link: LinkType,
    packet: &mut Packet,
    layers: &mut Layers,
) -> Decoded {
    // A source that claims less than it holds is corrected.
    packet.wire_bytes = wire_bytes.max(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    packet.clear();
    let span = Span { bytes, end: packet.wire_bytes as usize };
    match link::decode(span, link, packet, layers) {
        Ok(decoded) => tunnel::follow(span, decoded, packet, layers),
        // A fault of what is round a packet, and no packet of a flow reached.
        Err(fault) if fault.role() == Role::Detail => {
            layers.fault = Some(fault);
            Decoded::Other
        }
        Err(reason) => Decoded::Reject(reason),
    }
}
