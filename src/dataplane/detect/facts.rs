//! What the detectors look at in a flow, read from its record once per signal.

use crate::dataplane::decode::{Endpoint, tcp_flags};
use crate::dataplane::flow::{FlowRecord, Side, TcpState, first_sizes};
use crate::units::Timestamp;

/// IP protocol numbers (IANA).
pub(super) mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ICMPV6: u8 = 58;
}

const SIDES: [Side; 2] = [Side::Originator, Side::Responder];

/// A flow as the detectors see it. Pairs are `[originator, responder]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub source: Endpoint,
    pub destination: Endpoint,
    pub protocol: u8,
    pub state: TcpState,
    pub packets: [u32; 2],
    pub payload: [u64; 2],
    pub flags: [u8; 2],
    pub syns: u8,
    pub first_seen: Timestamp,
    /// Sizes of the first packets with payload, as [`FlowRecord::first_sizes_word`] packs them.
    pub first_sizes: u64,
    /// Did the responder close first?
    pub responder_closed: bool,
    /// Longest gap between two packets, nanoseconds, and the sum of the squared gaps.
    pub gap_max: f32,
    pub gap_squares: f32,
}

impl Facts {
    #[inline]
    pub fn of(record: &FlowRecord) -> Facts {
        let (source, destination) = record.key.endpoints(record.originator());
        Facts {
            source,
            destination,
            protocol: record.key.protocol(),
            state: record.state(),
            packets: SIDES.map(|side| record.packets(side)),
            payload: SIDES.map(|side| record.payload_bytes(side)),
            flags: SIDES.map(|side| record.tcp_flags(side)),
            syns: record.syn_count(),
            first_seen: record.first_seen(),
            first_sizes: record.first_sizes_word(),
            responder_closed: record.responder_closed_first(),
            gap_max: record.gap_max_ns(),
            gap_squares: record.gap_squares(),
        }
    }

    /// Packets both ways.
    #[inline]
    pub fn total_packets(&self) -> u64 {
        self.packets.iter().map(|count| u64::from(*count)).sum()
    }

    /// Payload both ways.
    #[inline]
    pub fn total_payload(&self) -> u64 {
        self.payload.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// What the responder said after the first eight packets with payload, bytes; too little by up to 15 for each of its
    /// packets among them, whose sizes are kept in steps of 16.
    #[inline]
    pub fn later_answer(&self) -> u64 {
        let first: u32 =
            first_sizes(self.first_sizes).filter(|(side, _)| *side == Side::Responder).map(|(_, size)| size).sum();
        self.payload[1].saturating_sub(u64::from(first))
    }

    /// Did the responder send anything?
    #[inline]
    pub fn is_answered(&self) -> bool {
        self.packets[1] > 0
    }

    /// Was the TCP handshake begun in view?
    #[inline]
    pub fn begins_with_syn(&self) -> bool {
        self.flags[0] & tcp_flags::SYN != 0
    }

    /// Is the responder someone who could answer? Multicast, limited broadcast and the unspecified address cannot, so that
    /// silence from them says nothing (RFC 5771, RFC 919, RFC 4291).
    #[inline]
    pub fn is_to_one_host(&self) -> bool {
        let address = self.destination.address;
        if address >> 32 == 0xffff {
            let v4 = address as u32;
            v4 >> 28 != 0xe && v4 != u32::MAX && v4 != 0
        } else {
            address >> 120 != 0xff && address != 0
        }
    }

    /// Looks like an answer whose question was not seen (flow expired, capture began in between): from a service port to
    /// an ephemeral one. IANA begins these at 49152, Linux at 32768, old systems at 1024.
    #[inline]
    pub fn is_answer_like(&self) -> bool {
        let (from, to) = (self.source.port, self.destination.port);
        (from < 1024 && to >= 1024) || (from < 32_768 && to >= 32_768)
    }

    /// An ICMP message that asks (echo, timestamp, ...): others carry type and code in place of the identifier
    /// (see [`crate::dataplane::decode::Endpoint`]). An identifier that reads like type and code is mistaken for them,
    /// which happens to one in four hundred.
    #[inline]
    pub fn is_icmp_request(&self) -> bool {
        let (kind, code) = (self.destination.port >> 8, self.destination.port & 0xff);
        match self.protocol {
            protocol::ICMP => !(code <= 15 && matches!(kind, 3..=5 | 9..=12)),
            protocol::ICMPV6 => !(code <= 15 && matches!(kind, 1..=4 | 130..=137 | 141..=143 | 151..=153)),
            _ => false,
        }
    }
}

#[cfg(test)]
pub(super) mod fixture {
    use super::*;

    /// 10.0.x.y as an address of an [`Endpoint`].
    pub fn host(number: u32) -> u128 {
        0xffff_0a00_0000 + u128::from(number)
    }

    /// One unanswered packet.
    pub fn flow(source: (u128, u16), destination: (u128, u16), protocol: u8) -> Facts {
        Facts {
            source: Endpoint { address: source.0, port: source.1 },
            destination: Endpoint { address: destination.0, port: destination.1 },
            protocol,
            state: TcpState::New,
            packets: [1, 0],
            payload: [0, 0],
            flags: [if protocol == super::protocol::TCP { tcp_flags::SYN } else { 0 }, 0],
            syns: u8::from(protocol == super::protocol::TCP),
            first_seen: Timestamp(0),
            first_sizes: 0,
            responder_closed: false,
            gap_max: 0.0,
            gap_squares: 0.0,
        }
    }

    #[test]
    fn answers_and_group_addresses_are_told_from_contacts() {
        let to = |address| flow((host(1), 40_000), (address, 53), 17);
        assert!(to(host(2)).is_to_one_host());
        for group in [0xffff_e000_00fb, 0xffff_ffff_ffff, 0xffff_0000_0000, 0xff02 << 112 | 0xfb] {
            assert!(!to(group).is_to_one_host(), "{group:x}");
        }
        assert!(flow((host(1), 53), (host(2), 40_000), 17).is_answer_like());
        assert!(flow((host(1), 8080), (host(2), 50_000), 6).is_answer_like());
        assert!(!flow((host(1), 40_000), (host(2), 53), 17).is_answer_like());
        assert!(!flow((host(1), 36_541), (host(2), 49_211), 17).is_answer_like());
        assert!(flow((host(1), 0x8805), (host(2), 0x8805), 1).is_icmp_request());
        assert!(!flow((host(1), 0x0303), (host(2), 0x0303), 1).is_icmp_request());
        assert!(!flow((host(1), 0x8600), (host(2), 0x8600), 58).is_icmp_request());
    }
}
