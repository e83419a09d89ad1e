//! The hot state of one flow.

mod observe;
mod signals;

pub use signals::{EndReason, Side, Signals, TcpState, Transition};

use super::table::Settings;
use super::tcp;
use crate::dataplane::decode::{Direction, FlowKey, tcp_flags};
use crate::units::Timestamp;

/// Counts of one direction of the key. The upper 16 bits of two words carry small things, so that a side is 24 bytes: 2^47
/// bytes are three hours of 100 Gb/s in one flow, and then the count stands.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct SideCounts {
    /// Wire bytes (48 bits), TCP flags or-ed or the first ICMP code (8 bits), half of the response time (8 bits).
    bytes: u64,
    /// Payload bytes (48 bits), first TCP window (7-bit float) and [`PURE_ACK`], or first ICMP type (8), half of the score (8).
    payload: u64,
    packets: u32,
    /// Sum of squared wire lengths, bytes squared.
    length_squares: f32,
}

/// Parts of `FlowRecord::beginning`.
const SYNS: u8 = 0x0f;
/// A bare SYN of the forward direction came in the midst of the flow; that of the other direction is the bit above.
const ASKED_ANEW: u8 = 0x10;
const RESPONDER_CLOSED: u8 = 0x40;
const REVERSE: u8 = 0x80;

/// The bit of a direction.
fn asked_anew(direction: Direction) -> u8 {
    ASKED_ANEW << (direction as u8 & 1)
}

/// What became of what a SYN says about where its direction begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Noted {
    /// There was payload: the record has no room for it.
    Late,
    /// Nothing new, or the first such.
    Told,
    /// Another one than before, for the first time.
    Contradicts,
}

/// What a SYN, or the answer to one, is on a flow that has talked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SynKind {
    /// Its own one again.
    Resent,
    /// One that its receiver drops.
    Dropped,
    /// Perhaps that of a new flow on the same ports.
    Anew,
}

/// In the place of the number of a first byte: SYNs said different ones.
const CONTRADICTED: u32 = 1;

const COUNT_BITS: u32 = 48;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const FLAGS_SHIFT: u32 = 48;
const RESPONSE_SHIFT: u32 = 56;
/// Of TCP, in `SideCounts::payload` beside the window, whose code is at most 111: an acknowledgement without payload was among the
/// side's first packets.
const PURE_ACK: u64 = 1 << (COUNT_BITS + 7);

/// Something about the flow is not settled: the packet takes the thorough path.
mod unsettled {
    /// Neither established nor over.
    pub const STATE: u8 = 1;
    /// The first payload sizes are still being collected.
    pub const EARLY: u8 = 1 << 1;
    /// No packet accounted yet.
    pub const FRESH: u8 = 1 << 2;
    /// The payload that goes forward is inspected.
    pub const INSPECTED: u8 = 1 << 3;
    /// The payload of either direction is: the bits lie in the order of the directions.
    pub const INSPECTED_BOTH: u8 = INSPECTED | INSPECTED << 1;
    /// Acknowledgements without payload are asked for as well.
    pub const ACKS: u8 = 1 << 5;
    /// `FlowRecord::first_sizes` holds what the SYNs said.
    pub const BEGINNINGS: u8 = 1 << 6;
    /// Counted as half open by the table; set with `STATE` and taken back by the table soon after it.
    pub const COUNTED: u8 = 1 << 7;
}

/// Packets from one count at which something may be due to the next: such are 4 and 16 for the first milestones, then
/// every multiple of [`FlowRecord::REPORT_EVERY`].
fn until_event(total: u32) -> u8 {
    let next = match total {
        0..4 => 4,
        4..16 => 16,
        _ => FlowRecord::REPORT_EVERY,
    };
    (next - total % FlowRecord::REPORT_EVERY) as u8 // 1..=64
}

/// Hot state of one biflow, two adjacent cache lines. Counts are kept by direction, so that a packet's is all that is asked
/// for to count it, and told for originator and responder; the originator is who sent the first packet seen, except that a
/// SYN/ACK seen first makes its receiver the originator.
#[derive(Clone, Debug)]
#[repr(C, align(128))]
pub struct FlowRecord {
    /// Canonical 5-tuple.
    pub key: FlowKey,
    /// Time of the latest packet; never steps back.
    pub last_seen: Timestamp,
    first_seen: Timestamp,
    /// Odd while a flow lives here; moves on when one comes and when it goes, so that handles and hints go stale.
    pub(super) generation: u16,
    /// Packets, modulo 256, until the count meets the next one at which something may be due.
    until_event: u8,
    state: TcpState,
    unsettled: u8,
    /// SYNs (4 bits), which directions ask for a connection in the midst of this one (2 bits), whether the responder was the
    /// first to close, and which way of the key the originator sends.
    beginning: u8,
    /// Longest gap: upper half of the `f32` in nanoseconds.
    gap_max: u16,
    sides: [SideCounts; 2],
    /// Sum of squared gaps between packets, nanoseconds squared. (Their plain sum is the duration.)
    gap_squares: f32,
    /// Longest packet of each direction, bytes on the wire.
    longest: [u16; 2],
    /// First payload sizes, the latest in the lowest byte: bit 7 responder, bits 0-6 size in units of 16 bytes. Until there
    /// is payload and where it is to be inspected, the sequence numbers of the first bytes of both directions, 0 for unknown, or
    /// [`CONTRADICTED`] (`unsettled::BEGINNINGS`).
    first_sizes: u64,
}

const _: () = assert!(size_of::<FlowRecord>() == 128);

/// A length in units of 16 bytes, rounded up; `u32::MAX` wraps to 0, which no frame has.
#[inline(always)]
fn sixteenths(length: u32) -> u32 {
    length.wrapping_add(15) >> 4
}

/// One byte of `FlowRecord::first_sizes`; never 0 for a payload that is there.
#[inline(always)]
fn size_code(responder: bool, payload: u32) -> u64 {
    u64::from(sixteenths(payload).clamp(1, 127)) | u64::from(responder) << 7
}

/// Upper half of an `f32`: 8 bits of precision, order preserved for numbers from 0 up.
#[inline(always)]
fn to_half(value: f32) -> u16 {
    (value.to_bits() >> 16) as u16
}

fn from_half(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

/// A TCP window as 5 bits of exponent and 3 of mantissa; exact for powers of two, within an eighth otherwise.
fn window_code(window: u16) -> u8 {
    let exponent = 16 - window.leading_zeros();
    if exponent <= 3 {
        return window as u8;
    }
    let mantissa = (window >> (exponent - 4)) & 7;
    ((exponent - 3) << 3) as u8 | mantissa as u8
}

fn window_of(code: u8) -> u16 {
    let exponent = u32::from(code >> 3);
    if exponent == 0 { u16::from(code) } else { (8 | u16::from(code & 7)) << (exponent - 1).min(12) }
}

impl FlowRecord {
    /// Packets between two [`Signals::REPORT`].
    pub const REPORT_EVERY: u32 = 64;

    /// TCP flags that change the state of a flow.
    const CONTROL: u8 = tcp_flags::SYN | tcp_flags::FIN | tcp_flags::RST;

    /// A flow at its first packet, before that packet is accounted. The table makes its own; this one is for records that
    /// live outside a table.
    pub fn new(key: FlowKey, now: Timestamp) -> FlowRecord {
        let mut record = FlowRecord::vacant();
        record.begin(&key, now, false);
        record
    }

    /// A record that is no flow.
    pub(super) fn vacant() -> FlowRecord {
        FlowRecord {
            key: FlowKey::default(),
            last_seen: Timestamp::default(),
            first_seen: Timestamp::default(),
            generation: 0,
            until_event: until_event(0),
            state: TcpState::New,
            unsettled: 0,
            beginning: 0,
            gap_max: 0,
            sides: [SideCounts::default(); 2],
            gap_squares: 0.0,
            longest: [0; 2],
            first_sizes: 0,
        }
    }

    /// Makes this record a new flow under the next generation.
    #[inline]
    pub(super) fn begin(&mut self, key: &FlowKey, now: Timestamp, inspect: bool) {
        let inspected = if inspect { unsettled::INSPECTED_BOTH } else { 0 };
        *self = FlowRecord {
            key: *key,
            last_seen: now,
            first_seen: now,
            generation: self.generation.wrapping_add(1),
            unsettled: unsettled::STATE | unsettled::EARLY | unsettled::FRESH | unsettled::COUNTED | inspected,
            ..FlowRecord::vacant()
        };
    }

    /// The flow is over; what is kept of it is never found fresh again (see `FlowRecord::fresh_gap`).
    #[inline]
    pub(super) fn vacate(&mut self, now: Timestamp) {
        self.generation = self.generation.wrapping_add(1);
        self.last_seen = Timestamp(now.0 ^ 1 << 63);
    }

    /// Nanoseconds from the latest packet to `now`. 2^63 (292 years) and more for a vacant record and for a packet older
    /// than the latest one: callers then look thoroughly.
    #[inline(always)]
    pub(super) fn fresh_gap(&self, now: Timestamp) -> u64 {
        now.0.wrapping_sub(self.last_seen.0)
    }

    /// Takes back the table's mark that it counts this flow as half open; was it set?
    pub(super) fn take_counted(&mut self) -> bool {
        let counted = self.unsettled & unsettled::COUNTED != 0;
        self.unsettled &= !unsettled::COUNTED;
        counted
    }

    /// Its first packet comes behind a flow on the same ports that began at `before`, within one burst perhaps, which has one
    /// time: no two of them begin at the same nanosecond, by which they are told apart.
    pub(super) fn begins_after(&mut self, before: Timestamp) {
        self.first_seen = self.first_seen.max(before.after(1));
    }

    /// Idle time after which the flow ends in its present state, nanoseconds.
    #[inline]
    pub(super) fn timeout_ns(&self, settings: &Settings) -> u64 {
        match self.state {
            TcpState::New | TcpState::Answered => settings.unanswered_ns,
            TcpState::Closed => settings.closed_ns,
            TcpState::Established | TcpState::Closing if self.is_tcp() => settings.established_ns,
            TcpState::Established | TcpState::Closing => settings.datagram_ns,
        }
    }

    /// Its payload is wanted, of one direction at least ([`Signals::PAYLOAD`]).
    #[inline(always)]
    pub fn is_inspected(&self) -> bool {
        self.unsettled & unsettled::INSPECTED_BOTH != 0
    }

    /// What is wanted from here on: payload of originator and responder, and acknowledgements without payload.
    pub fn inspect(&mut self, payload: [bool; 2], acks: bool) {
        let [originator, responder] = payload.map(u8::from);
        let forward_first =
            if self.beginning & REVERSE == 0 { originator | responder << 1 } else { responder | originator << 1 };
        let acks = if acks { unsettled::ACKS } else { 0 };
        self.unsettled &= !(unsettled::INSPECTED_BOTH | unsettled::ACKS);
        self.unsettled |= (forward_first * unsettled::INSPECTED) | acks;
    }

    /// Have both sides said something, and is what they say read? Then whoever forges a SYN would hide it.
    pub(super) fn is_read_both_ways(&self) -> bool {
        let [forward, reverse] = &self.sides;
        self.is_inspected() && forward.packets > 0 && reverse.packets > 0
    }

    /// A SYN comes on a flow that is known: is it a new one on the same ports? Without ACK it is where nothing would be lost
    /// by it: the flow is closed and had no payload or only one side. Elsewhere the receiver may still be in the midst of the
    /// old one and takes no notice of it (RFC 9293 section 3.10.7.4), so that whoever forges a SYN would hide what follows; there
    /// the answer of the other side tells that it was taken.
    pub(super) fn is_begun_anew(&mut self, direction: Direction, is_answer: bool) -> bool {
        if is_answer {
            return self.beginning & asked_anew(direction.flip()) != 0;
        }
        let [forward, reverse] = &self.sides;
        let has_payload = (forward.payload | reverse.payload) & COUNT_MASK != 0;
        if has_payload && forward.packets > 0 && reverse.packets > 0 {
            self.beginning |= asked_anew(direction);
            return false;
        }
        self.state >= TcpState::Closing
    }

    /// A SYN of a flow without payload so far says where its direction begins: `sequence` is the number of the first byte,
    /// `acknowledgement` that of the other direction's in a SYN/ACK. Of several SYNs with different numbers the answer tells
    /// which one counts, of several such answers nothing does; an answer to another SYN than the one seen is none. A SYN with
    /// another number behind the answer asks for a new flow (`is_begun_anew`).
    pub fn note_beginning(&mut self, direction: Direction, sequence: u32, acknowledgement: Option<u32>) -> Noted {
        let [forward, reverse] = &self.sides;
        if (forward.payload | reverse.payload) & COUNT_MASK != 0 {
            return Noted::Late;
        }
        let [forward, reverse] = self.beginnings_by_direction();
        let is_forward = direction == Direction::Forward;
        let (own, other) = if is_forward { (forward, reverse) } else { (reverse, forward) };
        let is_same = own == 0 || own == sequence;
        let said = if is_same { sequence } else { CONTRADICTED };
        let (own, other) = match acknowledgement {
            None if other == 0 => (said, other),
            Some(number) if other <= CONTRADICTED || other == number => (said, number),
            None if !is_same => {
                self.beginning |= asked_anew(direction);
                return Noted::Told;
            }
            _ => return Noted::Told,
        };
        let was_told = own == CONTRADICTED && self.beginnings_by_direction().contains(&CONTRADICTED);
        self.unsettled |= unsettled::BEGINNINGS;
        let [forward, reverse] = if is_forward { [own, other] } else { [other, own] }.map(u64::from);
        self.first_sizes = reverse << 32 | forward;
        if is_same || was_told { Noted::Told } else { Noted::Contradicts }
    }

    /// A SYN has said where a direction begins, and there was no payload since.
    #[inline]
    pub fn has_beginnings(&self) -> bool {
        self.unsettled & unsettled::BEGINNINGS != 0
    }

    /// The numbers of the first bytes as far as they are kept; 0 for unknown, or [`CONTRADICTED`].
    fn beginnings_by_direction(&self) -> [u32; 2] {
        let kept = if self.unsettled & unsettled::BEGINNINGS != 0 { self.first_sizes } else { 0 };
        [kept as u32, (kept >> 32) as u32] // its two halves
    }

    /// The numbers of the first bytes of originator and responder, 0 for unknown; `None` where no SYN told, or payload came.
    #[inline]
    pub fn beginnings(&self) -> Option<[u32; 2]> {
        if self.unsettled & unsettled::BEGINNINGS == 0 {
            return None;
        }
        let [forward, reverse] = self.beginnings_by_direction();
        let known = |number: u32| if number == CONTRADICTED { 0 } else { number };
        Some(if self.beginning & REVERSE == 0 { [forward, reverse] } else { [reverse, forward] }.map(known))
    }

    /// Gives out the numbers of the first bytes, to make room for sizes.
    #[inline]
    pub(super) fn take_beginnings(&mut self) -> Option<[u32; 2]> {
        let beginnings = self.beginnings()?;
        self.unsettled &= !unsettled::BEGINNINGS;
        self.first_sizes = 0;
        Some(beginnings)
    }

    /// First payload sizes.
    #[inline(always)]
    fn sizes(&self) -> u64 {
        if self.unsettled & unsettled::BEGINNINGS == 0 { self.first_sizes } else { 0 }
    }

    #[inline(always)]
    fn is_tcp(&self) -> bool {
        self.key.protocol() == tcp::PROTOCOL
    }

    /// Is this a flow now, or only a place for one?
    #[inline(always)]
    pub(super) fn is_live(&self) -> bool {
        self.generation % 2 == 1
    }

    /// Which way of the key the originator sends.
    #[inline(always)]
    pub fn originator(&self) -> Direction {
        if self.beginning & REVERSE == 0 { Direction::Forward } else { Direction::Reverse }
    }

    /// Time of the first packet.
    #[inline(always)]
    pub fn first_seen(&self) -> Timestamp {
        self.first_seen
    }

    /// From the first packet to the latest, nanoseconds.
    #[inline(always)]
    pub fn duration_ns(&self) -> u64 {
        self.last_seen.since(self.first_seen)
    }

    /// Life of the flow.
    #[inline(always)]
    pub fn state(&self) -> TcpState {
        self.state
    }

    /// Not yet established: unanswered, or answered by a SYN/ACK that nobody acknowledged.
    #[inline(always)]
    pub fn is_half_open(&self) -> bool {
        self.state < TcpState::Established
    }

    /// Packets of one side; held near 4 026 531 840 from there on.
    #[inline(always)]
    pub fn packets(&self, side: Side) -> u32 {
        self.side(side).packets
    }

    /// Packets of both sides; saturates.
    #[inline(always)]
    pub fn total_packets(&self) -> u32 {
        let [forward, reverse] = &self.sides;
        forward.packets.saturating_add(reverse.packets)
    }

    /// Packets since the last [`Signals::REPORT`], both sides together.
    #[inline(always)]
    pub fn unreported(&self) -> u32 {
        let [forward, reverse] = &self.sides;
        forward.packets.wrapping_add(reverse.packets) % Self::REPORT_EVERY
    }

    /// Bytes on the wire of one side (48 bits).
    #[inline(always)]
    pub fn bytes(&self, side: Side) -> u64 {
        self.side(side).bytes & COUNT_MASK
    }

    /// Transport payload of one side (48 bits).
    #[inline(always)]
    pub fn payload_bytes(&self, side: Side) -> u64 {
        self.side(side).payload & COUNT_MASK
    }

    /// TCP flags of one side's packets, or-ed. Of a flow that is not TCP it means nothing, which is for the caller to know:
    /// asked for here, it would cost each new flow 80 instructions.
    #[inline(always)]
    pub fn tcp_flags(&self, side: Side) -> u8 {
        (self.side(side).bytes >> FLAGS_SHIFT) as u8
    }

    /// Type and code of the first packet of originator and responder, where it is ICMP or ICMPv6 and they sent one.
    #[inline]
    pub fn icmp(&self) -> [Option<(u8, u8)>; 2] {
        let said = |side| ((self.side(side).payload >> COUNT_BITS) as u8, self.tcp_flags(side));
        let first = |side| (self.packets(side) > 0).then(|| said(side));
        if matches!(self.key.protocol(), 1 | 58) { [Side::Originator, Side::Responder].map(first) } else { [None; 2] }
    }

    /// SYNs without ACK; saturates at 15.
    #[inline(always)]
    pub fn syn_count(&self) -> u8 {
        self.beginning & SYNS
    }

    /// Was the first FIN or RST the responder's?
    #[inline(always)]
    pub fn responder_closed_first(&self) -> bool {
        self.beginning & RESPONDER_CLOSED != 0
    }

    /// Longest packet of one side, bytes on the wire, rounded up to 16, at most 4080.
    #[inline(always)]
    pub fn longest(&self, side: Side) -> u32 {
        let longest = self.longest.get(self.place(side)).copied().unwrap_or_default();
        sixteenths(longest.into()).min(255) * 16
    }

    /// Sum of squared wire lengths of one side.
    #[inline(always)]
    pub fn length_squares(&self, side: Side) -> f32 {
        self.side(side).length_squares
    }

    /// Of TCP, as [`FlowRecord::tcp_flags`]: first window of one side on a scale of octaves of eight steps: 8 is a window of 8, 16 one of 16, 111 one of
    /// 65535; 0 if none was seen.
    #[inline(always)]
    pub fn first_window_code(&self, side: Side) -> u8 {
        (self.side(side).payload >> COUNT_BITS) as u8 & 0x7f
    }

    /// Of TCP: has one side acknowledged without payload, as far as its first packets tell?
    #[inline(always)]
    pub fn has_acknowledged(&self, side: Side) -> bool {
        self.side(side).payload & PURE_ACK != 0
    }

    /// Of TCP: first window of one side, unscaled, within an eighth; 0 if none was seen.
    #[inline(always)]
    pub fn first_window(&self, side: Side) -> u16 {
        window_of(self.first_window_code(side))
    }

    /// Sum of squared gaps between packets of either side, nanoseconds squared. Their plain sum is the duration.
    #[inline(always)]
    pub fn gap_squares(&self) -> f32 {
        self.gap_squares
    }

    /// Longest gap between two packets of either side, nanoseconds, 8 bits of precision.
    #[inline(always)]
    pub fn gap_max_ns(&self) -> f32 {
        from_half(self.gap_max & 0x7fff)
    }

    /// From the first packet to the responder's first one, nanoseconds (8 bits of precision); `None` if not answered.
    pub fn response_ns(&self) -> Option<u64> {
        // A float of at most 1.8e19 that is not negative: the conversion saturates.
        (self.response_half() != 0).then(|| self.response() as u64)
    }

    /// [`FlowRecord::response_ns`] as a float, 0 if not answered.
    #[inline(always)]
    pub fn response(&self) -> f32 {
        from_half(self.response_half())
    }

    /// First packet to first answer: upper half of the `f32` in nanoseconds; 0 until answered.
    #[inline(always)]
    fn response_half(&self) -> u16 {
        let [forward, reverse] = &self.sides;
        ((forward.bytes >> RESPONSE_SHIFT) << 8 | reverse.bytes >> RESPONSE_SHIFT) as u16
    }

    fn set_response_half(&mut self, half: u16) {
        let [forward, reverse] = &mut self.sides;
        forward.bytes = forward.bytes << 8 >> 8 | u64::from(half >> 8) << RESPONSE_SHIFT;
        reverse.bytes = reverse.bytes << 8 >> 8 | u64::from(half & 0xff) << RESPONSE_SHIFT;
    }

    /// Size of the first payload of each side (originator, responder) among the first eight, rounded up to 16 bytes; 0 if
    /// it is not among them.
    #[inline(always)]
    pub fn first_payload(&self) -> (u32, u32) {
        const TOP_BITS: u64 = 0x8080_8080_8080_8080;
        let sizes = self.sizes();
        let used = u64::MAX.checked_shr(sizes.leading_zeros() & !7).unwrap_or(0);
        let oldest = |marked: u64| {
            let shift = (63 - (marked | 1).leading_zeros()) & !7;
            if marked == 0 { 0 } else { (sizes >> shift & 0x7f) as u32 * 16 }
        };
        (oldest(!sizes & TOP_BITS & used), oldest(sizes & TOP_BITS))
    }

    /// Sizes of the first packets with payload, oldest first, at most eight: who sent it, and the size rounded up to 16
    /// bytes (at most 2032).
    pub fn first_sizes(&self) -> impl Iterator<Item = (Side, u32)> {
        self.sizes().to_be_bytes().into_iter().filter(|byte| *byte != 0).map(|byte| {
            let side = if byte & 0x80 == 0 { Side::Originator } else { Side::Responder };
            (side, u32::from(byte & 0x7f) * 16)
        })
    }

    /// Latest score of the model, 0..=1 in steps of 1/65535; 0 if never scored.
    pub fn score(&self) -> f32 {
        let [forward, reverse] = &self.sides;
        let steps = forward.payload >> 56 << 8 | reverse.payload >> 56;
        steps as f32 / 65535.0
    }

    /// Keeps the model's score.
    pub fn set_score(&mut self, score: f32) {
        // Rounded, within 0..=65535; NaN becomes 0.
        let steps = (score.clamp(0.0, 1.0) * 65535.0).round() as u64;
        let [forward, reverse] = &mut self.sides;
        forward.payload = forward.payload << 8 >> 8 | steps >> 8 << 56;
        reverse.payload = reverse.payload << 8 >> 8 | (steps & 0xff) << 56;
    }

    /// Which of two things kept by direction is the one of `side`.
    #[inline(always)]
    fn place(&self, side: Side) -> usize {
        usize::from(self.beginning >> 7 ^ side as u8) & 1
    }

    #[inline(always)]
    fn side(&self, side: Side) -> &SideCounts {
        let [forward, reverse] = &self.sides;
        if self.place(side) == 0 { forward } else { reverse }
    }

    #[inline(always)]
    fn side_mut(&mut self, side: Side) -> &mut SideCounts {
        let place = self.place(side);
        let [forward, reverse] = &mut self.sides;
        if place == 0 { forward } else { reverse }
    }

    /// Whose packet it is.
    #[inline(always)]
    fn side_of(&self, direction: Direction) -> Side {
        if direction == self.originator() { Side::Originator } else { Side::Responder }
    }
}
