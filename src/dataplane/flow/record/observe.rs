//! One packet into the record of its flow.

use super::{
    COUNT_BITS, COUNT_MASK, FLAGS_SHIFT, FlowRecord, PURE_ACK, RESPONDER_CLOSED, REVERSE, SYNS, Side, SideCounts,
    Signals, TcpState, size_code, to_half, unsettled, until_event, window_code,
};
use crate::dataplane::decode::{Direction, HeaderAnomaly, Packet, tcp_flags};
use crate::dataplane::flow::tcp;
use crate::units::Timestamp;
use std::hint::cold_path;

/// Packets after which the first payload sizes are no longer collected, full or not.
const EARLY_PACKETS: u32 = 32;

/// Where a side's packet count is held from growing further: a multiple of [`FlowRecord::REPORT_EVERY`] below 2^32, with
/// room for the packets between two reports.
const PACKETS_LIMIT: u32 = 0xf000_0000;

/// TCP flags that close a connection.
const CLOSES: u8 = tcp_flags::FIN | tcp_flags::RST;

impl FlowRecord {
    /// Accounts one packet: constant time, two branches on the common path, both predicted. A record in a table is updated
    /// through [`crate::dataplane::flow::FlowTable::account`].
    #[inline(always)]
    pub fn update(&mut self, packet: &Packet) -> Signals {
        self.observe(packet, self.gap(packet.time)).without(Signals::MOVED)
    }

    /// Nanoseconds from the latest packet to `now`; 0 if time stepped back.
    #[inline(always)]
    pub(in super::super) fn gap(&self, now: Timestamp) -> u64 {
        now.since(self.last_seen)
    }

    /// [`FlowRecord::update`] with the sign for the wheel, `gap` nanoseconds after the latest packet.
    #[inline(always)]
    pub(in super::super) fn observe(&mut self, packet: &Packet, gap: u64) -> Signals {
        if self.is_plain(packet) { self.count(packet, gap) } else { self.observe_young(packet, gap) }
    }

    /// Is there nothing to this packet but to count it?
    #[inline(always)]
    pub(in super::super) fn is_plain(&self, packet: &Packet) -> bool {
        (packet.tcp.flags() & Self::CONTROL) | self.unsettled == 0
    }

    /// A packet of a flow that is inspected, whose first sizes are still collected, or that has something to it.
    #[inline(never)]
    fn observe_young(&mut self, packet: &Packet, gap: u64) -> Signals {
        let signals = self.observe_unsettled(packet, gap);
        self.with_payload(packet, signals)
    }

    /// Has it payload that the inspection sees? A reset's is none of the stream's, and pieces of a datagram are no messages.
    #[inline(always)]
    pub(in super::super) fn is_of_stream(packet: &Packet) -> bool {
        packet.payload_bytes != 0 && packet.tcp.flags() & tcp_flags::RST == 0 && !packet.fragment
    }

    /// Adds [`Signals::PAYLOAD`] where the inspection is to see the packet: payload of a direction that it wants, SYNs for
    /// where their side begins, acknowledgements if it asked for them. A reset's payload is none of the stream's.
    #[inline(always)]
    pub(in super::super) fn with_payload(&self, packet: &Packet, signals: Signals) -> Signals {
        let flags = packet.tcp.flags();
        let own = unsettled::INSPECTED << (packet.direction as u8 & 1);
        let wanted = match flags & (tcp_flags::SYN | tcp_flags::RST) {
            0 if packet.payload_bytes != 0 => own | unsettled::ACKS,
            0 => unsettled::ACKS,
            tcp_flags::SYN => unsettled::INSPECTED_BOTH,
            _ => 0,
        };
        if self.unsettled & wanted != 0 { signals.with(Signals::PAYLOAD) } else { signals }
    }

    /// The plain packets of young flows are many: short flows consist of nothing else.
    #[inline(always)]
    fn observe_unsettled(&mut self, packet: &Packet, gap: u64) -> Signals {
        if self.unsettled & unsettled::FRESH != 0 {
            return self.observe_first(packet);
        }
        let originator = packet.direction == self.originator();
        let waits = self.unsettled & unsettled::STATE != 0 && (self.is_tcp() || !originator);
        if packet.tcp.flags() & Self::CONTROL != 0 || waits {
            return self.observe_thoroughly(packet, gap);
        }
        let signals = self.count(packet, gap);
        self.collect_early(!originator, packet);
        signals
    }

    /// What every packet adds; the events that its number brings.
    #[inline(always)]
    pub(in super::super) fn count(&mut self, packet: &Packet, gap: u64) -> Signals {
        // Cannot wrap: the sum is the packet's time, or `gap` is 0.
        self.last_seen = Timestamp(self.last_seen.0.wrapping_add(gap));
        let gap = gap as i64 as f32;
        self.gap_squares = square_sum(gap, self.gap_squares);
        if to_half(gap) > self.gap_max {
            self.gap_max = to_half(gap);
        }
        // By index and not by comparison: which way a packet goes is a coin toss for the branch predictor.
        let place = usize::from(packet.direction as u8 & 1);
        let length = packet.wire_bytes;
        let Some(longest) = self.longest.get_mut(place) else { return Signals::default() };
        if length > u32::from(*longest) {
            cold_path();
            *longest = u16::try_from(length).unwrap_or(u16::MAX);
        }
        let Some(side) = self.sides.get_mut(place) else { return Signals::default() };
        side.length_squares = square_sum(length as f32, side.length_squares);
        side.bytes = side.bytes.wrapping_add(u64::from(length)) | u64::from(packet.tcp.flags()) << FLAGS_SHIFT;
        side.payload = side.payload.wrapping_add(u64::from(packet.payload_bytes));
        side.packets = side.packets.wrapping_add(1);
        self.until_event = self.until_event.wrapping_sub(1);
        if self.until_event == 0 {
            return self.events();
        }
        Signals::default()
    }

    /// Milestones and reports; holds the packet counts below their limit. Reached by one packet in twenty.
    #[inline(never)]
    fn events(&mut self) -> Signals {
        let [forward, reverse] = &self.sides;
        let total = forward.packets.wrapping_add(reverse.packets);
        self.until_event = until_event(total);
        let mut signals = Signals::default();
        if total.is_power_of_two() && total.trailing_zeros().is_multiple_of(2) {
            signals = signals.with(Signals::MILESTONE);
        }
        if total.is_multiple_of(Self::REPORT_EVERY) {
            signals = signals.with(Signals::REPORT);
            for side in &mut self.sides {
                if side.packets >= PACKETS_LIMIT + Self::REPORT_EVERY {
                    side.packets -= Self::REPORT_EVERY;
                }
                hold(&mut side.bytes);
                hold(&mut side.payload);
            }
        }
        signals
    }

    /// The first packet: everything is known to be empty, so that it is written and not added to.
    pub(in super::super) fn observe_first(&mut self, packet: &Packet) -> Signals {
        const SYN_ACK: u8 = tcp_flags::SYN | tcp_flags::ACK;
        let is_tcp = self.is_tcp();
        let flags = packet.tcp.flags();
        let answer = is_tcp && flags & SYN_ACK == SYN_ACK;
        let (side, originator) = match answer {
            true => (Side::Responder, packet.direction.flip()),
            false => (Side::Originator, packet.direction),
        };
        self.beginning = if originator == Direction::Reverse { REVERSE } else { 0 };
        self.unsettled &= !unsettled::FRESH;
        let length = packet.wire_bytes;
        let (marks, window) = if is_tcp { (flags, window_code(packet.tcp.window())) } else { icmp(packet) };
        let place = usize::from(packet.direction as u8 & 1);
        let (Some(longest), Some(counts)) = (self.longest.get_mut(place), self.sides.get_mut(place)) else {
            return Signals::NEW;
        };
        *longest = u16::try_from(length).unwrap_or(u16::MAX);
        *counts = SideCounts {
            bytes: u64::from(length) | u64::from(marks) << FLAGS_SHIFT,
            payload: u64::from(packet.payload_bytes) | u64::from(window) << COUNT_BITS,
            packets: 1,
            length_squares: square_sum(length as f32, 0.0),
        };
        self.until_event = until_event(1);
        if packet.payload_bytes != 0 {
            self.first_sizes = size_code(answer, packet.payload_bytes);
        }
        if !is_tcp {
            return Signals::NEW;
        }
        if tcp::is_bare_syn(flags) {
            // Nearly every connection's, and what `step` would come to.
            self.beginning += 1;
            return Signals::NEW.with(Signals::SYN);
        }
        if packet.payload_bytes == 0 && is_bare_ack(flags) {
            self.side_mut(side).payload |= PURE_ACK;
        }
        // What closes is looked at there; a fragment may have none because they are in the next one.
        let odd = if flags == 0 && !packet.fragment { Signals::ODD } else { Signals::default() };
        self.step(side, flags, Signals::NEW.with(odd))
    }

    /// A later packet of a young or ending flow, or with SYN, FIN or RST.
    #[inline(never)]
    fn observe_thoroughly(&mut self, packet: &Packet, gap: u64) -> Signals {
        let signals = self.count(packet, gap);
        let side = self.side_of(packet.direction);
        if self.packets(side) == 1 {
            self.answer_first(packet);
        }
        self.collect_early(side == Side::Responder, packet);
        self.step(side, packet.tcp.flags(), signals)
    }

    /// The first packet of the side that did not begin.
    fn answer_first(&mut self, packet: &Packet) {
        let side = self.side_of(packet.direction);
        let (marks, window) = if self.is_tcp() { (0, window_code(packet.tcp.window())) } else { icmp(packet) };
        let counts = self.side_mut(side);
        counts.bytes |= u64::from(marks) << FLAGS_SHIFT;
        counts.payload |= u64::from(window) << COUNT_BITS;
        if side == Side::Responder {
            // Without the sign that a time of more than 292 years gets by the signed conversion.
            self.set_response_half((to_half(self.duration_ns() as i64 as f32) & 0x7fff).max(1));
        }
    }

    /// Moves the state on after a packet that is already counted, and adds what that tells to `signals`.
    #[inline(always)]
    fn step(&mut self, side: Side, flags: u8, mut signals: Signals) -> Signals {
        let before = self.state;
        let step = if self.is_tcp() {
            let both = self.tcp_flags(Side::Originator) & self.tcp_flags(Side::Responder);
            if flags & CLOSES != 0 {
                self.note_closing(side);
                signals = note_odd(flags, signals);
            }
            tcp::step(before, side, flags, self.packets(Side::Originator), both & tcp_flags::FIN != 0)
        } else {
            tcp::step_datagram(before, side)
        };
        let mut signals = signals.with(step.signals);
        if step.signals.has(Signals::SYN) {
            self.beginning += u8::from(self.beginning & SYNS < SYNS);
        }
        if step.state != before {
            self.state = step.state;
            self.settle();
            if before.time_class() != step.state.time_class() {
                signals = signals.with(Signals::MOVED);
            }
        }
        signals
    }

    /// A packet of `side`, counted already, that closes: the responder's, before the originator said that it closes?
    #[cold]
    fn note_closing(&mut self, side: Side) {
        if side == Side::Responder && self.tcp_flags(Side::Originator) & CLOSES == 0 {
            self.beginning |= RESPONDER_CLOSED;
        }
    }

    /// Collects the sizes of the first eight packets with payload, and until then who acknowledges without.
    #[inline]
    fn collect_early(&mut self, responder: bool, packet: &Packet) {
        if self.unsettled & unsettled::EARLY == 0 {
            return;
        }
        let payload = packet.payload_bytes;
        if payload == 0 && is_bare_ack(packet.tcp.flags()) {
            let counts = self.side_mut(if responder { Side::Responder } else { Side::Originator });
            counts.payload |= PURE_ACK;
        }
        // Where the sides begin stays until the inspection has taken it.
        if payload != 0 && self.unsettled & unsettled::BEGINNINGS == 0 {
            self.first_sizes = self.first_sizes << 8 | size_code(responder, payload);
        }
        if self.sizes() >> 56 != 0 || self.total_packets() >= EARLY_PACKETS {
            self.unsettled &= !unsettled::EARLY;
        }
    }

    /// An ICMP error at `now` quoted this flow. Only an unanswered flow believes it (RFC 1122 section 4.2.3.9 calls such
    /// errors soft, and anybody can forge one); the error counts as a sign of life, so that the end lies ahead.
    pub fn refuse(&mut self, now: Timestamp) -> Signals {
        if self.state != TcpState::New {
            return Signals::default();
        }
        self.last_seen = self.last_seen.max(now);
        self.state = TcpState::Closed;
        self.settle();
        Signals::REFUSED.with(Signals::MOVED)
    }

    /// Established flows take the short path, if nothing else is unsettled.
    fn settle(&mut self) {
        if matches!(self.state, TcpState::Established | TcpState::Closing) {
            self.unsettled &= !unsettled::STATE;
        } else {
            self.unsettled |= unsettled::STATE;
        }
    }
}

/// Adds [`Signals::ODD`] if no stack sends these flags.
#[inline(always)]
fn note_odd(flags: u8, signals: Signals) -> Signals {
    if HeaderAnomaly::of_flags(flags).is_some() { signals.with(Signals::ODD) } else { signals }
}

/// Code and type of an ICMP packet, which lie where flags and window of TCP do; 0 of other packets.
fn is_bare_ack(flags: u8) -> bool {
    flags & (FlowRecord::CONTROL | tcp_flags::ACK) == tcp_flags::ACK
}

fn icmp(packet: &Packet) -> (u8, u8) {
    (packet.icmp_code, packet.icmp_type)
}

/// Keeps a 48-bit count from running into the bits above it: held at 2^47 from there on. The 64 packets until the next
/// look cannot carry it further than 2^38, whatever lengths they claim.
#[inline(always)]
fn hold(word: &mut u64) {
    const LIMIT: u64 = 1 << (COUNT_BITS - 1);
    if *word & LIMIT != 0 {
        *word = (*word & !COUNT_MASK) | LIMIT;
    }
}

/// `sum + value * value`, fused where the CPU was compiled for it (elsewhere the fused form is a slow library call).
#[inline(always)]
fn square_sum(value: f32, sum: f32) -> f32 {
    if cfg!(target_feature = "fma") { value.mul_add(value, sum) } else { sum + value * value }
}
