//! What `etherparse` makes of a frame, put in our words, with a rule for each place where the two mean to differ.
//!
//! The rules, by name, are `Rule`; a difference that no rule covers is a failure of the test that uses this.

use etherparse::{
    Icmpv4Slice, Icmpv6Slice, Ipv4Slice, Ipv6ExtensionSlice, Ipv6Slice, SingleVlanSlice, TcpSlice, UdpHeaderSlice,
    UdpSlice,
};
use shrike::dataplane::capture::{FrameView, LinkType};
use shrike::dataplane::decode::{Decoded, Layers, Packet, Tunnel, decode, decode_rest, tcp_flags};
use std::net::IpAddr;

/// Where the two differ on purpose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// etherparse stops at a fourth VLAN tag and calls it payload; we go on, and refuse the frame at the 33rd.
    ManyTags,
    /// etherparse refuses IPv4 total length 0; we take the frame (segments recorded before the NIC cut them).
    TotalLengthZero,
    /// etherparse takes the frame at IPv6 payload length 0; we do so above 64 KiB only.
    PayloadLengthZero,
    /// etherparse takes the packet at UDP length 0; we refuse it below 64 KiB.
    UdpLengthZero,
    /// etherparse reads on behind the fragment header of a later fragment, where payload is.
    LaterFragment,
    /// etherparse looks into the authentication header of IPv4 fragments; we do not, since later ones have none.
    AuthenticatedFragment,
    /// etherparse follows any number of IPv6 extension headers and fragment headers; we follow 256 and one.
    LongChain,
    /// etherparse passes over the options of IPv4; we refuse a list that cannot be read to its end (RFC 791 section 3.1).
    BrokenOptions,
    /// etherparse wants ICMP timestamps to be 20 bytes exactly; we want the 8 that we read.
    TimestampLength,
}

/// A packet in plain terms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plain {
    pub source: (IpAddr, u16),
    pub destination: (IpAddr, u16),
    pub protocol: u8,
    pub vlans: (u16, u16),
    /// Offset in the frame and length.
    pub payload: (usize, usize),
    /// Flags, window.
    pub tcp: (u8, u16),
    pub icmp: (u8, u8),
    /// Identification; `None` for a whole packet.
    pub fragment: Option<u32>,
}

/// Outcome in plain terms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Flow(Plain),
    FirstFragment(Plain),
    LaterFragment(Plain),
    Arp,
    Other,
    Reject,
}

/// What we say of the frame itself, as etherparse does: tunnels are not entered. A frame in none is the same to us either
/// way, which is seen here to be so.
pub fn ours(frame: FrameView<'_>) -> Outcome {
    let mut packet = Packet::default();
    let decoded = decode_rest(frame.bytes, frame.wire_bytes, frame.link, &mut packet, &mut Layers::new(false));
    let mut entered = Packet::default();
    let outcome = plain(decode(frame, &mut entered), &entered);
    if entered.tunnel == Tunnel::None {
        assert!(
            decoded == Decoded::Other || outcome == plain(decoded, &packet),
            "{outcome:?} and {decoded:?} {packet:?}"
        );
    }
    plain(decoded, &packet)
}

fn plain(decoded: Decoded, packet: &Packet) -> Outcome {
    let (from, to) = packet.key.endpoints(packet.direction);
    let plain = Plain {
        source: (from.ip(), from.port),
        destination: (to.ip(), to.port),
        protocol: packet.key.protocol(),
        vlans: packet.key.vlans(),
        payload: (usize::from(packet.payload_offset), packet.payload_bytes as usize),
        tcp: (packet.tcp.flags(), packet.tcp.window()),
        icmp: (packet.icmp_type, packet.icmp_code),
        fragment: packet.fragment.then_some(packet.fragment_id),
    };
    match decoded {
        Decoded::Flow => Outcome::Flow(plain),
        Decoded::FirstFragment => Outcome::FirstFragment(plain),
        Decoded::LaterFragment => Outcome::LaterFragment(plain),
        Decoded::Arp => Outcome::Arp,
        Decoded::Other => Outcome::Other,
        Decoded::Reject(_) => Outcome::Reject,
    }
}

/// What etherparse says of a frame that was not cut, and the rules that had to be applied.
pub fn theirs(bytes: &[u8], link: LinkType) -> (Outcome, Vec<Rule>) {
    let mut rules = Vec::new();
    let outcome = link_layer(bytes, link, &mut rules).unwrap_or(Outcome::Reject);
    (outcome, rules)
}

/// `None`: refused.
fn link_layer(bytes: &[u8], link: LinkType, rules: &mut Vec<Rule>) -> Option<Outcome> {
    let be = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let (mut ether_type, mut at) = match link {
        LinkType::Ethernet => {
            let ethernet = etherparse::Ethernet2Slice::from_slice_without_fcs(bytes).ok()?;
            (ethernet.ether_type().0, 14)
        }
        LinkType::RawIp => match bytes.first()? >> 4 {
            4 => (0x0800, 0),
            6 => (0x86dd, 0),
            _ => return None,
        },
        LinkType::LinuxSll => (be(14)?, 16),
        LinkType::LinuxSll2 => {
            bytes.get(19)?;
            (be(0)?, 20)
        }
        LinkType::Null => match (bytes.first()?, bytes.get(1)?, bytes.get(2)?, bytes.get(3)?) {
            (2, 0, 0, 0) | (0, 0, 0, 2) => (0x0800, 4),
            (10 | 24 | 28 | 30, 0, 0, 0) | (0, 0, 0, 10 | 24 | 28 | 30) => (0x86dd, 4),
            _ => return Some(Outcome::Other),
        },
        LinkType::Ppp => match bytes {
            [0x0f | 0x8f, 0, a, b, ..] => (u16::from_be_bytes([*a, *b]), 4),
            _ => {
                let at = if bytes.first() == Some(&0xff) { 2 } else { 0 };
                let (number, at) = match *bytes.get(at)? {
                    first if first & 1 != 0 => (u16::from(first), at + 1),
                    _ => (be(at)?, at + 2),
                };
                (
                    match number {
                        0x21 => 0x0800,
                        0x57 => 0x86dd,
                        _ => 0,
                    },
                    at,
                )
            }
        },
        LinkType::Other(_) => return None,
    };
    let mut ids = Vec::new();
    while let 0x8100 | 0x88a8 | 0x9100 = ether_type {
        if ids.len() == 32 {
            rules.push(Rule::ManyTags);
            return None;
        }
        let tag = SingleVlanSlice::from_slice(bytes.get(at..)?).ok()?;
        ids.push(tag.vlan_identifier().value());
        ether_type = tag.ether_type().0;
        at += 4;
    }
    let vlans = (ids.first().copied().unwrap_or(0), if ids.len() > 1 { ids[ids.len() - 1] } else { 0 });
    match ether_type {
        0x0800 => version_4(bytes, at, vlans, rules),
        0x86dd => version_6(bytes, at, vlans, rules),
        0x0806 => Some(Outcome::Arp),
        _ => Some(Outcome::Other),
    }
}

/// Every option but the two of one byte has a length of two at least, within the list.
fn can_be_read(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        options = match (kind, rest) {
            (0, _) => return true,
            (1, rest) => rest,
            (_, [length @ 2..=255, ..]) if usize::from(*length) <= options.len() => &options[usize::from(*length)..],
            _ => return false,
        };
    }
    true
}

fn version_4(bytes: &[u8], at: usize, vlans: (u16, u16), rules: &mut Vec<Rule>) -> Option<Outcome> {
    let mut ip = bytes.get(at..)?.to_vec();
    if ip.len() >= 20 && ip[2..4] == [0, 0] && ip.len() <= 0xffff {
        rules.push(Rule::TotalLengthZero);
        let length = ip.len() as u16;
        ip[2..4].copy_from_slice(&length.to_be_bytes());
    }
    if ip.len() >= 20 && ip[9] == 51 && (ip[6] & 0x3f, ip[7]) != (0, 0) {
        rules.push(Rule::AuthenticatedFragment);
        ip[9] = 253;
    }
    let slice = Ipv4Slice::from_slice(&ip).ok()?;
    let header = slice.header();
    if !can_be_read(header.options()) {
        rules.push(Rule::BrokenOptions);
        return None;
    }
    let hidden = rules.contains(&Rule::AuthenticatedFragment);
    let payload = slice.payload();
    let mut plain = Plain {
        source: (header.source_addr().into(), 0),
        destination: (header.destination_addr().into(), 0),
        protocol: if hidden { 51 } else { payload.ip_number.0 },
        vlans,
        payload: (at + offset(&ip, payload.payload), payload.payload.len()),
        tcp: (0, 0),
        icmp: (0, 0),
        fragment: slice.is_payload_fragmented().then_some(header.identification().into()),
    };
    let later = header.fragments_offset().value() != 0;
    if !later {
        transport(payload.payload, &mut plain, rules)?;
    }
    Some(classify(plain, later))
}

fn version_6(bytes: &[u8], at: usize, vlans: (u16, u16), rules: &mut Vec<Rule>) -> Option<Outcome> {
    let mut ip = bytes.get(at..)?.to_vec();
    if ip.len() > 40 && ip[4..6] == [0, 0] && ip.len() <= 40 + 0xffff {
        rules.push(Rule::PayloadLengthZero);
        ip.truncate(40);
    }
    let mut later = None;
    if let Some(field) = later_fragment(&ip) {
        rules.push(Rule::LaterFragment);
        later = Some(std::mem::replace(&mut ip[field], 59));
    }
    let slice = Ipv6Slice::from_slice(&ip).ok()?;
    let header = slice.header();
    let payload = slice.payload();
    let mut fragments = Vec::new();
    let mut count = 0;
    for extension in slice.extensions().clone() {
        count += 1;
        if let Ipv6ExtensionSlice::Fragment(fragment) = extension
            && fragment.is_fragmenting_payload()
        {
            fragments.push(fragment.identification());
        }
    }
    if count > 256 || fragments.len() > 1 {
        rules.push(Rule::LongChain);
        return None;
    }
    let mut plain = Plain {
        source: (header.source_addr().into(), 0),
        destination: (header.destination_addr().into(), 0),
        protocol: later.unwrap_or(payload.ip_number.0),
        vlans,
        payload: (at + offset(&ip, payload.payload), payload.payload.len()),
        tcp: (0, 0),
        icmp: (0, 0),
        fragment: fragments.first().copied(),
    };
    if later.is_none() {
        transport(payload.payload, &mut plain, rules)?;
    }
    Some(classify(plain, later.is_some()))
}

/// Where the next-header field of a fragment header with an offset lies, found by plain stepping.
fn later_fragment(ip: &[u8]) -> Option<usize> {
    let end = (40 + usize::from(u16::from_be_bytes([*ip.get(4)?, *ip.get(5)?]))).min(ip.len());
    let ip = ip.get(..end)?;
    let (mut next, mut at) = (*ip.get(6)?, 40);
    loop {
        let length = usize::from(*ip.get(at + 1)?);
        let length = match next {
            44 => {
                let field = u16::from_be_bytes([*ip.get(at + 2)?, *ip.get(at + 3)?]);
                if field >> 3 != 0 {
                    return Some(at);
                }
                8
            }
            51 => (length + 2) * 4,
            0 | 43 | 60 => (length + 1) * 8,
            _ => return None,
        };
        next = ip[at];
        at += length;
    }
}

fn classify(plain: Plain, later: bool) -> Outcome {
    match (plain.fragment, later) {
        (None, _) => Outcome::Flow(plain),
        (Some(_), false) => Outcome::FirstFragment(plain),
        (Some(_), true) => Outcome::LaterFragment(plain),
    }
}

fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

fn transport(payload: &[u8], plain: &mut Plain, rules: &mut Vec<Rule>) -> Option<()> {
    let (ports, header, length) = match plain.protocol {
        // The rest of the header may be in the next fragment; etherparse asks for all of it.
        6 if plain.fragment.is_some() && TcpSlice::from_slice(payload).is_err() => {
            let ports = payload.first_chunk::<4>()?;
            if let Some(head) = payload.first_chunk::<20>() {
                if head[12] >> 4 < 5 {
                    return None;
                }
                plain.tcp = (head[13], u16::from_be_bytes([head[14], head[15]]));
            }
            let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
            ((port(0), port(2)), payload.len(), payload.len())
        }
        6 => {
            let tcp = TcpSlice::from_slice(payload).ok()?;
            let flags = [
                (tcp.fin(), tcp_flags::FIN),
                (tcp.syn(), tcp_flags::SYN),
                (tcp.rst(), tcp_flags::RST),
                (tcp.psh(), tcp_flags::PSH),
                (tcp.ack(), tcp_flags::ACK),
                (tcp.urg(), tcp_flags::URG),
                (tcp.ece(), tcp_flags::ECE),
                (tcp.cwr(), tcp_flags::CWR),
            ];
            let flags = flags.iter().filter(|flag| flag.0).fold(0, |all, flag| all | flag.1);
            plain.tcp = (flags, tcp.window_size());
            ((tcp.source_port(), tcp.destination_port()), tcp.header_slice().len(), payload.len())
        }
        17 => {
            let head = UdpHeaderSlice::from_slice(payload).ok()?;
            if head.length() == 0 {
                rules.push(Rule::UdpLengthZero);
                return None;
            }
            // In a first fragment the length is that of the datagram; etherparse leaves its transport alone.
            let length = if plain.fragment.is_some() {
                if head.length() < 8 {
                    return None;
                }
                payload.len().min(head.length().into())
            } else {
                UdpSlice::from_slice(payload).ok()?.slice().len()
            };
            ((head.source_port(), head.destination_port()), 8, length)
        }
        1 => {
            let icmp = match Icmpv4Slice::from_slice(payload) {
                Ok(icmp) => Some(icmp),
                Err(_) if payload.len() >= 8 => {
                    rules.push(Rule::TimestampLength);
                    None
                }
                Err(_) => return None,
            };
            plain.icmp = icmp.map_or((payload[0], payload[1]), |icmp| (icmp.type_u8(), icmp.code_u8()));
            let asks = matches!(plain.icmp.0, 0 | 8 | 13..=18 | 42 | 43);
            let port = if asks { [payload[4], payload[5]] } else { [plain.icmp.0, plain.icmp.1] };
            ((u16::from_be_bytes(port), u16::from_be_bytes(port)), 8, payload.len())
        }
        58 => {
            let icmp = Icmpv6Slice::from_slice(payload).ok()?;
            plain.icmp = (icmp.type_u8(), icmp.code_u8());
            let asks = matches!(plain.icmp.0, 128 | 129 | 160 | 161);
            let port = if asks { [payload[4], payload[5]] } else { [plain.icmp.0, plain.icmp.1] };
            ((u16::from_be_bytes(port), u16::from_be_bytes(port)), 8, payload.len())
        }
        // etherparse does not know SCTP: a common header of 12 bytes that begins with the ports (RFC 9260).
        132 => {
            payload.get(11)?;
            let port = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
            ((port(0), port(2)), 12, payload.len())
        }
        _ => ((0, 0), 0, payload.len()),
    };
    (plain.source.1, plain.destination.1) = ports;
    plain.payload = (plain.payload.0 + header, length - header);
    Some(())
}
