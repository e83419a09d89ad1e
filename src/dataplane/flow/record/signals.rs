//! The words for what happens to a flow.

/// Things that happened to a flow with this packet; 0 for the common packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Signals(pub u16);

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
    /// Another [`super::FlowRecord::REPORT_EVERY`] packets since the last report, both ways together: a volume detector adds that
    /// many, and at the end of the flow the rest ([`super::FlowRecord::unreported`]).
    pub const REPORT: Signals = Signals(1 << 5);
    /// A SYN without ACK (the first one or a repeat).
    pub const SYN: Signals = Signals(1 << 6);
    /// A packet that the inspection of its flow is to see.
    pub const PAYLOAD: Signals = Signals(1 << 8);
    /// Its flags are some that no stack sends.
    pub const ODD: Signals = Signals(1 << 9);
    /// A SYN, or the answer to one, on a flow that has talked and is inspected: not accounted yet, because who knows its numbers
    /// is to say what becomes of it ([`FlowTable::settle`](crate::dataplane::flow::FlowTable::settle)). Comes alone.
    pub const ANEW: Signals = Signals(1 << 10);
    /// TCP: with this packet the originator acknowledged the answer to its SYN, as far as flags tell, or ended an established flow first.
    pub const HANDSHAKE: Signals = Signals(1 << 11);
    /// The time-out may have changed: the table moves the flow on its wheel. Never leaves the module.
    pub(in super::super) const MOVED: Signals = Signals(1 << 7);

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

    /// This set without `other`'s bits.
    #[inline(always)]
    pub fn without(self, other: Signals) -> Signals {
        Signals(self.0 & !other.0)
    }
}

/// TCP life of a biflow, as a tap sees it; for other protocols `New` until answered, then `Established`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum TcpState {
    /// Not answered (TCP: a SYN, or what looks like the middle of a connection that nobody has confirmed yet).
    #[default]
    New,
    /// TCP: SYN/ACK seen.
    Answered,
    /// TCP: the handshake's ACK, or data both ways, or the originator's third packet with ACK where the answers go another
    /// way; others: answered.
    Established,
    /// TCP: one FIN seen.
    Closing,
    /// TCP: both FINs, or an RST; any protocol: refused by an ICMP error.
    Closed,
}

impl TcpState {
    /// States of one class share their time-out.
    #[inline]
    pub(super) fn time_class(self) -> u8 {
        match self {
            TcpState::New | TcpState::Answered => 0,
            TcpState::Established | TcpState::Closing => 1,
            TcpState::Closed => 2,
        }
    }
}

/// Why a flow left the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EndReason {
    /// FIN both ways or RST, and the linger time passed, or the same ports began anew.
    Closed,
    /// No packet for the idle time of its state.
    Idle,
    /// Given up for a newer flow while half open.
    EvictedHalfOpen,
    /// Given up for a newer flow though established.
    EvictedEstablished,
    /// The source ended or the queue was stopped.
    Shutdown,
    /// The source ended before the idle time had passed, and time was let run on: judged as [`EndReason::Idle`], told as
    /// [`EndReason::Shutdown`].
    Cut,
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

impl Side {
    /// Whom this side speaks to.
    #[inline(always)]
    pub fn other(self) -> Side {
        match self {
            Side::Originator => Side::Responder,
            Side::Responder => Side::Originator,
        }
    }
}

/// What [`super::FlowRecord::update`] reports.
pub type Transition = Signals;
