//! The feature schema and the row: what the model sees of a flow.
//!
//! Without identities: no address, ports only as a coarse class, no TTL, no absolute time. Version, names and units are
//! part of the contract with the model's manifest; any change of meaning or order raises [`SCHEMA_VERSION`].
//!
//! Counts and times enter as `ln(1 + x)`: a model sees ratios as differences, and no value leaves some -1..25. A row is the
//! same as that of the reference in `models/features`, to 1e-6 of each value and absolutely below 1.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

pub mod encrypted;
mod schema;
mod talk;

pub use schema::{COUNT, FEATURES, FLOW, Feature, SCHEMA_VERSION, Schema, feature};

use crate::dataplane::decode::{Direction, tcp_flags};
use crate::dataplane::flow::{FlowRecord, Side, TcpState};
use crate::units::Timestamp;
use encrypted::Shape;
use talk::{TALK, talk};

/// One feature row.
pub type FeatureRow = [f32; COUNT];

/// Features that are logarithms; they come first in the row.
const LOGARITHMS: usize = 16;

/// Features that are other numbers; they come next.
const NUMBERS: usize = 8;

/// Features that are flags or a class; they come next, and the talk behind them.
const MARKS: usize = 8;

/// Features of how the flow ended; they come last.
const LIFE: usize = 4;

const _: () = assert!(LOGARITHMS + NUMBERS + MARKS + TALK + LIFE == COUNT);

/// Nanoseconds to microseconds.
const MICRO: f32 = 1e-3;

/// What made a row due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// A packet's number: 4, 16, 64 and so on.
    Milestone,
    /// The end of the flow.
    End,
}

/// Computes the row of a flow as it stands; finite for every record that packets can bring about. `shape` is that of its
/// beginning, if it had payload; `now` the time of the packet or end that made the row due.
pub fn write_row(record: &FlowRecord, shape: Option<&Shape>, now: Timestamp, moment: Moment, row: &mut FeatureRow) {
    use Side::{Originator, Responder};
    let packets = [record.packets(Originator) as f32, record.packets(Responder) as f32];
    let bytes = [record.bytes(Originator) as i64 as f32, record.bytes(Responder) as i64 as f32];
    let payload = [record.payload_bytes(Originator) as i64 as f32, record.payload_bytes(Responder) as i64 as f32];
    let squares = [record.length_squares(Originator), record.length_squares(Responder)];
    let duration = count(record.duration_ns()) * MICRO;
    let gaps = at_least(packets[0] + packets[1] - 1.0, 1.0);
    let counted = packets.map(|packets| at_least(packets, 1.0));
    let gap_mean = duration / gaps;
    // Squared nanoseconds to squared microseconds; the sum may be infinite after absurd gaps, the row may not.
    let gap_deviation = deviation(at_most(record.gap_squares(), f32::MAX) * (MICRO * MICRO), gaps, gap_mean);
    let (first_out, first_in) = record.first_payload();
    let logarithms = ln_1p([
        duration,
        packets[0],
        packets[1],
        bytes[0],
        bytes[1],
        payload[0],
        payload[1],
        deviation(squares[0], counted[0], bytes[0] / counted[0]),
        deviation(squares[1], counted[1], bytes[1] / counted[1]),
        gap_mean,
        gap_deviation,
        record.gap_max_ns() * MICRO,
        record.response() * MICRO,
        count(now.since(record.last_seen)) * MICRO,
        first_out as f32,
        first_in as f32,
    ]);
    let total = at_least(bytes[0] + bytes[1], 1.0);
    // Of other protocols something else lies there.
    let of_tcp = if record.key.protocol() == 6 { u8::MAX } else { 0 };
    let flags = [record.tcp_flags(Originator) & of_tcp, record.tcp_flags(Responder) & of_tcp];
    // Four whole numbers at once, and powers of two as their units: the same to the last bit as one by one.
    let [window, syns, longest_out, longest_in] = [
        i32::from(record.first_window_code(Originator) & of_tcp),
        i32::from(record.syn_count().min(8)),
        record.longest(Originator) as i32,
        record.longest(Responder) as i32,
    ]
    .map(|whole| whole as f32);
    let numbers = [
        window / 8.0,
        syns,
        longest_out / 256.0,
        longest_in / 256.0,
        at_most((payload[0] + payload[1]) / total, 1.0),
        (bytes[0] - bytes[1]) / total,
        flag(flags[0] & tcp_flags::RST != 0),
        flag(flags[1] & tcp_flags::RST != 0),
    ];
    let marks = marks_of(record, flags[1], moment);
    let (logs, rest) = row.split_at_mut(LOGARITHMS);
    let (plain, rest) = rest.split_at_mut(NUMBERS);
    let (first, rest) = rest.split_at_mut(MARKS);
    let (middle, last) = rest.split_at_mut(TALK);
    if let (Some(logs), Some(plain), Some(first), Some(middle), Some(last)) = (
        logs.first_chunk_mut(),
        plain.first_chunk_mut(),
        first.first_chunk_mut::<MARKS>(),
        middle.first_chunk_mut(),
        last.first_chunk_mut::<LIFE>(),
    ) {
        (*logs, *plain) = (logarithms, numbers);
        *first = spread(marks);
        *last = spread(marks >> (2 * MARKS));
        match shape {
            None => *middle = [0.0; TALK],
            Some(shape) => write_talk(record, shape, middle),
        }
    }
}

/// Apart, because most flows that end at line rate had no payload.
#[inline(never)]
fn write_talk(record: &FlowRecord, shape: &Shape, values: &mut [f32; TALK]) {
    *values = talk(shape, record.payload_bytes(Side::Originator) + record.payload_bytes(Side::Responder));
}

/// The features that are flags or a class and those of how it ended, two bits each, the first lowest.
#[inline(always)]
fn marks_of(record: &FlowRecord, responder_flags: u8, moment: Moment) -> u32 {
    const ENDED: u32 = 1 << (2 * MARKS);
    const CLOSED: u32 = ENDED << 2;
    const REFUSED: u32 = ENDED << 4;
    let refused = u32::from(responder_flags & !tcp_flags::RST & !tcp_flags::ACK == 0);
    let life = match record.state() {
        TcpState::New => 1,
        TcpState::Closed => refused * (REFUSED + 1) + CLOSED,
        TcpState::Established | TcpState::Closing => 1 << 2,
        TcpState::Answered => 0,
    };
    let ended = if moment == Moment::End { ENDED } else { 0 };
    let responder_closed = u32::from(record.responder_closed_first()) * (ENDED << 6);
    life | ended
        | responder_closed
        | match record.key.protocol() {
            6 => {
                let port = responder_port(record);
                1 << 4 | port_class(port) << 10 | services(port) << 12
            }
            17 => 1 << 6 | port_class(responder_port(record)) << 10,
            1 | 58 => 1 << 8,
            _ => 0,
        }
}

/// Two bits a feature, all at once: four instructions, where eight comparisons each were a branch.
#[inline(always)]
fn spread<const MANY: usize>(marks: u32) -> [f32; MANY] {
    std::array::from_fn(|place| (marks >> (2 * place) & 3) as i32 as f32)
}

/// A time as float, by way of the signed conversion (one instruction; the unsigned one branches). What would be negative,
/// 2^63 and more, makes it 0; counts of 48 bits cannot be.
#[inline(always)]
fn count(value: u64) -> f32 {
    (value as i64).max(0) as f32
}

/// `value`, or `least` if that is more or `value` is no number: `f32::max` in one instruction instead of three.
#[inline(always)]
fn at_least(value: f32, least: f32) -> f32 {
    if value > least { value } else { least }
}

/// `value`, or `most` if that is less or `value` is no number.
#[inline(always)]
fn at_most(value: f32, most: f32) -> f32 {
    if value < most { value } else { most }
}

#[inline(always)]
fn flag(set: bool) -> f32 {
    f32::from(u8::from(set))
}

/// Standard deviation from the sum of squares and the mean; rounding may make the difference negative.
#[inline(always)]
fn deviation(squares: f32, number: f32, mean: f32) -> f32 {
    at_least(squares / number - mean * mean, 0.0).sqrt()
}

/// `ln(1 + x)` of numbers from 0 up, with an error below 3e-7, of itself from 1 on: exponent, and a polynomial for the mantissa
/// that is 0 at 1, so that `ln_1p(0)` is 0. What `1 + x` rounds away of a small `x` is less than that. The mantissa is taken from
/// the square root of a half to that of two, where a polynomial of degree 7 does what takes degree 8 from 1 to 2. Written as a
/// loop without branches for the vector units.
#[inline(always)]
fn ln_1p<const MANY: usize>(mut values: [f32; MANY]) -> [f32; MANY] {
    // ln(1 + t) / t, interpolated at the Chebyshev nodes of degree 7 between the two: 7e-8 off.
    const POLYNOMIAL: [f32; 8] = [
        0.999_999_94,
        -0.500_003_76,
        0.333_346_07,
        -0.249_689_07,
        0.199_133_49,
        -0.172_782_06,
        0.161_262_48,
        -0.098_953_51,
    ];
    /// The square root of a half.
    const LEAST: u32 = 0x3f35_04f3;
    for value in &mut values {
        let bits = (*value + 1.0).to_bits();
        let exponent = bits.wrapping_sub(LEAST) as i32 >> 23;
        let t = f32::from_bits(bits.wrapping_sub((exponent << 23) as u32)) - 1.0;
        let [c0, c1, c2, c3, c4, c5, c6, c7] = POLYNOMIAL;
        let high = fused(fused(fused(c7, t, c6), t, c5), t, c4);
        let series = fused(fused(fused(fused(high, t, c3), t, c2), t, c1), t, c0);
        *value = fused(series, t, exponent as f32 * std::f32::consts::LN_2);
    }
    values
}

/// `a * b + c`, in one step where the CPU was compiled for it (elsewhere that is a slow library call).
#[inline(always)]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(target_feature = "fma") { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn responder_port(record: &FlowRecord) -> u16 {
    match record.originator() {
        Direction::Forward => record.key.high().port,
        Direction::Reverse => record.key.low().port,
    }
}

/// IANA's ranges, but for the ephemeral one, which Linux begins at 32768.
#[inline(always)]
fn port_class(port: u16) -> u32 {
    1 + u32::from(port >= 1024) + u32::from(port >= 32_768)
}

/// Ports of services that ask for a password, by IANA's register.
const LOGIN: [u16; 22] =
    [21, 22, 23, 25, 110, 139, 143, 389, 445, 465, 587, 636, 990, 993, 995, 1433, 1521, 3306, 3389, 5432, 5900, 6379];

/// Ports of HTTP and its usual alternatives.
const WEB: [u16; 11] = [80, 443, 591, 3000, 5000, 8000, 8008, 8080, 8081, 8443, 8888];

/// Ports of a word of [`SERVICES`].
const PORTS_PER_WORD: usize = 8;

/// Four bits a port, up to the highest of the lists: 1 a login service, 4 a web service. 4 KiB.
static SERVICES: [u32; 8888 / PORTS_PER_WORD + 1] = {
    let mut words = [0; 8888 / PORTS_PER_WORD + 1];
    mark_services(&mut words, &LOGIN, 1);
    mark_services(&mut words, &WEB, 4);
    words
};

#[allow(clippy::indexing_slicing)] // run by the compiler, which refuses a port beyond the table
const fn mark_services(words: &mut [u32], ports: &[u16], mark: u32) {
    let mut at = 0;
    while at < ports.len() {
        let port = ports[at] as usize;
        words[port / PORTS_PER_WORD] |= mark << (port % PORTS_PER_WORD * 4);
        at += 1;
    }
}

/// 1 for a login service, 4 for a web service, 0 for others.
#[inline(always)]
fn services(port: u16) -> u32 {
    let word = SERVICES.get(usize::from(port) / PORTS_PER_WORD).copied().unwrap_or(0);
    word >> (usize::from(port) % PORTS_PER_WORD * 4) & 0xf
}

/// Is this the TCP port of a service that asks for a password?
pub fn is_login_port(port: u16) -> bool {
    services(port) & 1 != 0
}

/// Is this the TCP port of HTTP, or one of its usual alternatives?
pub fn is_web_port(port: u16) -> bool {
    services(port) & 4 != 0
}

#[cfg(test)]
mod tests;
