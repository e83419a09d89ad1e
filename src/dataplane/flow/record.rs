//! The hot state of one flow.

use crate::dataplane::decode::{Direction, FlowKey, Packet};
use crate::units::Timestamp;

/// Things that happened to a flow with this packet; 0 for the common packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Signals(pub u8);

impl Signals {
    /// First packet of the flow.
    pub const NEW: Signals = Signals(1);
    /// The responder answered for the first time (SYN/ACK, or any packet the other way for UDP and ICMP).
    pub const ANSWERED: Signals = Signals(1 << 1);
    /// Refused: RST answered a SYN before any answer, or an ICMP error quoted this flow.
    pub const REFUSED: Signals = Signals(1 << 2);
    /// TCP ended with this packet (RST, or the second FIN).
    pub const CLOSED: Signals = Signals(1 << 3);
    /// The packet count met the next milestone at which a feature row is due (4, 16, 64, 256, 1024, ... x4).
    pub const MILESTONE: Signals = Signals(1 << 4);
    /// Another [`FlowRecord::REPORT_EVERY`] packets since the last report: volume detectors take the difference.
    pub const REPORT: Signals = Signals(1 << 5);
    /// A SYN without ACK (the first one or a repeat).
    pub const SYN: Signals = Signals(1 << 6);

    /// Any of `other`'s bits set?
    #[inline(always)]
    pub fn has(self, other: Signals) -> bool {
        self.0 & other.0 != 0
    }

    /// No bit set?
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both sets.
    #[inline(always)]
    pub fn with(self, other: Signals) -> Signals {
        Signals(self.0 | other.0)
    }
}

/// TCP life of a biflow, as a tap sees it; for other protocols `New` until answered, then `Established`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(u8)]
pub enum TcpState {
    /// Seen once, not answered (TCP: a SYN).
    #[default]
    New,
    /// TCP: SYN/ACK seen.
    Answered,
    /// TCP: the handshake's ACK, or data both ways, or picked up in mid-stream; others: answered.
    Established,
    /// TCP: one FIN seen.
    Closing,
    /// TCP: both FINs, or an RST.
    Closed,
}

/// Why a flow left the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EndReason {
    /// FIN both ways or RST, and the linger time passed.
    Closed,
    /// No packet for the idle time of its state.
    Idle,
    /// Given up for a newer flow while half open.
    EvictedHalfOpen,
    /// Given up for a newer flow though established.
    EvictedEstablished,
    /// The source ended or the queue was stopped.
    Shutdown,
}

/// One side of a biflow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Side {
    /// Who began.
    Originator = 0,
    /// Who was spoken to.
    Responder = 1,
}

/// What `FlowRecord::update` reports.
pub type Transition = Signals;

/// Hot state of one biflow, two cache lines: the first is touched by every packet, the second too but written without
/// being waited for. Counts are `[originator, responder]`; the originator is who sent the first packet seen, except that a
/// SYN/ACK seen first makes its receiver the originator.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct FlowRecord {
    /// Canonical 5-tuple.
    pub key: FlowKey,
    /// Time of the latest packet.
    pub last_seen: Timestamp,
}

impl FlowRecord {
    /// Packets between two [`Signals::REPORT`].
    pub const REPORT_EVERY: u32 = 64;

    /// Accounts one packet. Constant time, no branch on the common path but the two that find nothing to report.
    #[inline(always)]
    pub fn update(&mut self, packet: &Packet) -> Signals {
        let _ = packet;
        unimplemented!("flow")
    }

    /// Which way of the key the originator sends.
    #[inline(always)]
    pub fn originator(&self) -> Direction {
        unimplemented!("flow")
    }

    /// Time of the first packet.
    pub fn first_seen(&self) -> Timestamp {
        unimplemented!("flow")
    }

    /// Life of the flow.
    #[inline(always)]
    pub fn state(&self) -> TcpState {
        unimplemented!("flow")
    }

    /// Not yet established: unanswered, or answered by a SYN/ACK that nobody acknowledged.
    #[inline(always)]
    pub fn is_half_open(&self) -> bool {
        unimplemented!("flow")
    }

    /// Packets of one side; saturates some 2^28 below 2^32.
    #[inline(always)]
    pub fn packets(&self, side: Side) -> u32 {
        let _ = side;
        unimplemented!("flow")
    }

    /// Bytes on the wire of one side (48 bits).
    #[inline(always)]
    pub fn bytes(&self, side: Side) -> u64 {
        let _ = side;
        unimplemented!("flow")
    }

    /// Transport payload of one side (48 bits).
    #[inline(always)]
    pub fn payload_bytes(&self, side: Side) -> u64 {
        let _ = side;
        unimplemented!("flow")
    }

    /// TCP flags of one side's packets, or-ed.
    #[inline(always)]
    pub fn tcp_flags(&self, side: Side) -> u8 {
        let _ = side;
        unimplemented!("flow")
    }

    /// From the first packet to the responder's first one, nanoseconds (8 bits of precision); `None` if not answered.
    pub fn response_ns(&self) -> Option<u64> {
        unimplemented!("flow")
    }

    /// Latest score of the model, 0..=1 in steps of 1/65535; 0 if never scored.
    pub fn score(&self) -> f32 {
        unimplemented!("flow")
    }

    /// Keeps the model's score.
    pub fn set_score(&mut self, score: f32) {
        let _ = score;
        unimplemented!("flow")
    }
}
