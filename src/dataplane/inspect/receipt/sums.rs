//! Checksums of what is inspected (RFC 1071): of TCP and UDP, and of the IPv4 header before them.

use super::super::inspector::{Payload, Segment};
use crate::dataplane::decode::{Direction, FlowKey};
use crate::dataplane::flow::Side;

/// What a checksum is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Sum {
    Right,
    /// The sum of addresses, protocol and length alone, or of IPv4's header none: a card was to add the rest.
    Unfilled,
    Wrong,
    /// There is none, or not all of what it covers was captured.
    Unknown,
}

/// That of a segment.
pub(super) fn segment(payload: &Payload<'_>, segment: &Segment<'_>) -> Sum {
    match segment.header.get(16..18).and_then(|field| field.first_chunk()) {
        Some(field) => transport(payload, segment.header, *field),
        None => Sum::Unknown,
    }
}

/// That of a datagram of UDP; 0 is none (RFC 768).
pub(in super::super) fn datagram(payload: &Payload<'_>) -> Sum {
    match payload.before.last_chunk::<8>() {
        Some([.., 0, 0]) | None => Sum::Unknown,
        Some(_) if payload.key.protocol() != 17 => Sum::Unknown,
        Some(header @ [.., a, b]) => transport(payload, header, [*a, *b]),
    }
}

/// That of the IPv4 header (RFC 791 section 3.1) right before the header of the transport, which takes so many bytes.
pub(in super::super) fn network(payload: &Payload<'_>, transport_bytes: usize) -> Sum {
    let end = payload.before.len().checked_sub(transport_bytes);
    let Some(before) = end.filter(|_| payload.key.is_v4()).and_then(|end| payload.before.get(..end)) else {
        return Sum::Unknown;
    };
    for words in 5..=15 {
        let Some(header) = before.len().checked_sub(words * 4).and_then(|begin| before.get(begin..)) else { break };
        if header.first() == Some(&(0x40 | words as u8)) && is_of(header, payload) {
            return match header.get(10..12) {
                _ if add(header).is_multiple_of(ONES) => Sum::Right,
                Some([0, 0]) => Sum::Unfilled,
                _ => Sum::Wrong,
            };
        }
    }
    Sum::Unknown
}

/// Which way of the key the payload goes.
pub(in super::super) fn direction(payload: &Payload<'_>) -> Direction {
    if payload.side == Side::Originator { payload.originator } else { payload.originator.flip() }
}

/// Is it an IPv4 header of this flow, with nothing behind it but the transport?
fn is_of(header: &[u8], payload: &Payload<'_>) -> bool {
    let (from, to) = payload.key.endpoints(direction(payload));
    let address =
        |at: usize| header.get(at..).and_then(|rest| rest.first_chunk::<4>()).map(|it| u32::from_be_bytes(*it));
    header.get(9) == Some(&payload.key.protocol())
        && address(12) == Some(from.address as u32)
        && address(16) == Some(to.address as u32)
}

fn transport(payload: &Payload<'_>, header: &[u8], [a, b]: [u8; 2]) -> Sum {
    if payload.is_cut {
        return Sum::Unknown;
    }
    let length = (header.len() + payload.bytes.len()) as u64;
    let pseudo = (addresses(payload.key) + u64::from(payload.key.protocol()) + length) % ONES;
    // Summed with the low byte first; the sum of swapped words is the swapped sum.
    let words = (add(header) + add(payload.bytes)) % ONES;
    let total = u64::from((words as u16).swap_bytes()) + pseudo; // below 2^16
    if total.is_multiple_of(ONES) {
        Sum::Right
    } else if u64::from(u16::from_be_bytes([a, b])) % ONES == pseudo {
        Sum::Unfilled
    } else {
        Sum::Wrong
    }
}

/// Sums of ones' complement count modulo this (RFC 1071).
pub(super) const ONES: u64 = 0xffff;

/// The addresses' words; what marks one of IPv4 is a word of ones, which adds nothing.
pub(super) fn addresses(key: &FlowKey) -> u64 {
    let [low_top, low, high_top, high, _] = *key.words();
    [low_top, low, high_top, high].iter().map(|word| (word >> 32) + (word & 0xffff_ffff)).sum()
}

/// Adds up words, low byte first, at most 2^32 of them; a last odd byte is the first of its word.
pub(super) fn add(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    words.iter().chain([&last]).map(|word| u64::from(u32::from_le_bytes(*word))).sum()
}
