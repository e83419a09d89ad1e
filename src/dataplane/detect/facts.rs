//! What the detectors look at in a flow.

use super::FlowMark;
use crate::dataplane::decode::{Endpoint, tcp_flags};
use crate::dataplane::flow::{FlowRecord, Side, TcpState};
use crate::dataplane::inspect::Protocol;
use crate::units::Timestamp;
use std::cmp::Reverse;

/// IP protocol numbers (IANA).
pub(super) mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ICMPV6: u8 = 58;
}

const SIDES: [Side; 2] = [Side::Originator, Side::Responder];

/// A flow as the detectors see it: who, and what is read from its record when it is asked for, for most signals are about
/// little of it. Pairs are `[originator, responder]`.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    record: &'a FlowRecord,
    pub source: Endpoint,
    pub destination: Endpoint,
    pub protocol: u8,
    /// What it carries, where that was asked.
    pub application: Protocol,
}

impl Facts<'_> {
    #[inline(always)]
    pub fn of(record: &FlowRecord, application: Protocol) -> Facts<'_> {
        let (source, destination) = record.key.endpoints(record.originator());
        Facts { record, source, destination, protocol: record.key.protocol(), application }
    }

    /// What names the flow in evidence.
    #[inline(always)]
    pub fn mark(&self) -> FlowMark {
        FlowMark {
            first_seen: Reverse(self.record.first_seen()),
            rest: self.record.key.rest(),
            originator: self.record.originator(),
            icmp: self.record.icmp(),
            application: self.application,
        }
    }

    #[inline(always)]
    pub fn state(&self) -> TcpState {
        self.record.state()
    }

    /// Packets of each side.
    #[inline(always)]
    pub fn packets(&self) -> [u32; 2] {
        SIDES.map(|side| self.record.packets(side))
    }

    /// Payload of each side, bytes.
    #[inline(always)]
    pub fn payload(&self) -> [u64; 2] {
        SIDES.map(|side| self.record.payload_bytes(side))
    }

    /// TCP flags of each side, or-ed; of other protocols nothing that means anything.
    #[inline(always)]
    pub fn flags(&self) -> [u8; 2] {
        SIDES.map(|side| self.record.tcp_flags(side))
    }

    /// SYNs without ACK.
    #[inline(always)]
    pub fn syns(&self) -> u8 {
        self.record.syn_count()
    }

    #[inline(always)]
    pub fn first_seen(&self) -> Timestamp {
        self.record.first_seen()
    }

    /// Did the responder close first?
    #[inline(always)]
    pub fn responder_closed(&self) -> bool {
        self.record.responder_closed_first()
    }

    /// Longest gap between two packets, nanoseconds.
    #[inline(always)]
    pub fn gap_max(&self) -> f32 {
        self.record.gap_max_ns()
    }

    /// Sum of the squared gaps.
    #[inline(always)]
    pub fn gap_squares(&self) -> f32 {
        self.record.gap_squares()
    }

    /// Packets both ways.
    #[inline(always)]
    pub fn total_packets(&self) -> u64 {
        self.packets().iter().map(|count| u64::from(*count)).sum()
    }

    /// Payload both ways.
    #[inline(always)]
    pub fn total_payload(&self) -> u64 {
        self.payload().iter().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// What the responder said after the first eight packets with payload, bytes; too little by up to 15 for each of its
    /// packets among them, whose sizes are kept in steps of 16.
    #[inline(always)]
    pub fn later_answer(&self) -> u64 {
        let first: u32 =
            self.record.first_sizes().filter(|(side, _)| *side == Side::Responder).map(|(_, size)| size).sum();
        self.payload()[1].saturating_sub(u64::from(first))
    }

    /// Packets with payload, of the first eight.
    #[inline(always)]
    pub fn first_payloads(&self) -> usize {
        self.record.first_sizes().count()
    }

    /// Did the responder send anything?
    #[inline(always)]
    pub fn is_answered(&self) -> bool {
        self.packets()[1] > 0
    }

    /// Was the handshake begun in view? Of TCP alone.
    #[inline(always)]
    pub fn begins_with_syn(&self) -> bool {
        self.flags()[0] & tcp_flags::SYN != 0
    }

    /// Is the responder someone who could answer? Multicast, limited broadcast and the unspecified address cannot, so that
    /// silence from them says nothing (RFC 5771, RFC 919, RFC 4291).
    #[inline(always)]
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
    #[inline(always)]
    pub fn is_answer_like(&self) -> bool {
        let (from, to) = (self.source.port, self.destination.port);
        // Servers of DHCP offer to port 68 (RFC 2131 section 4.1), of version 6 to 546 (RFC 8415 section 7.2).
        let is_offer = matches!((from, to), (67, 68) | (547, 546));
        (from < 1024 && to >= 1024) || (from < 32_768 && to >= 32_768) || is_offer
    }

    /// An ICMP message that asks (echo, timestamp, ...): others carry type and code in place of the identifier
    /// (see [`crate::dataplane::decode::Endpoint`]). An identifier that reads like type and code is mistaken for them,
    /// which happens to one in four hundred.
    #[inline(always)]
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
mod tests {
    use super::*;
    use crate::dataplane::decode::FlowKey;

    /// 10.0.x.y as an address of an [`Endpoint`].
    fn host(number: u32) -> u128 {
        0xffff_0a00_0000 + u128::from(number)
    }

    /// What is asked of a flow's ends alone.
    fn of<T>(source: (u128, u16), destination: (u128, u16), protocol: u8, ask: impl Fn(&Facts<'_>) -> T) -> T {
        let (key, way) = FlowKey::v6(source.0, source.1, destination.0, destination.1, protocol, 0);
        let record = FlowRecord::new(key, Timestamp(0));
        let (source, destination) = key.endpoints(way);
        ask(&Facts { record: &record, source, destination, protocol, application: Protocol::Unknown })
    }

    #[test]
    fn answers_and_group_addresses_are_told_from_contacts() {
        let to_one = |address| of((host(1), 40_000), (address, 53), 17, |facts| facts.is_to_one_host());
        assert!(to_one(host(2)));
        for group in [0xffff_e000_00fb, 0xffff_ffff_ffff, 0xffff_0000_0000, 0xff02 << 112 | 0xfb] {
            assert!(!to_one(group), "{group:x}");
        }
        let answer_like =
            |from, to, protocol| of((host(1), from), (host(2), to), protocol, |facts| facts.is_answer_like());
        assert!(answer_like(53, 40_000, 17));
        assert!(answer_like(8080, 50_000, 6));
        assert!(!answer_like(40_000, 53, 17));
        assert!(!answer_like(36_541, 49_211, 17));
        let request = |port, protocol| of((host(1), port), (host(2), port), protocol, |facts| facts.is_icmp_request());
        assert!(request(0x8805, 1));
        assert!(!request(0x0303, 1));
        assert!(!request(0x8600, 58));
    }
}
