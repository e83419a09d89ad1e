//! What a receiver asks of a segment before it takes it, as far as a tap can know: its checksum, and that its timestamp is not
//! older than what the receiver holds. What is not taken is none of the stream's: a decoy that only this tap would read.
//!
//! A wrong checksum proves nothing where the capturing host made the frame: its card fills in sums behind the capture, or
//! puts segments together before it. So a side is held to its sums once one was right, as that of a SYN off a wire is.
//! Cards leave the sum of the addresses in the field, and some only where there is data; that is believed until data came with
//! a right one. Linux does the same where it has put segments together on receipt (GRO), the first of which was as long as
//! any that came before: so what is longer than all that came with a right sum is believed. Longer segments than Ethernet
//! carries were put together, or will be cut, and are not judged.
//!
//! The header of IPv4 is checked too, by the same rule: whose sums of it were never right is believed.
//!
//! Of timestamps a receiver holds the latest in order, and echoes it: so what it holds is at least what it echoes (RFC 7323
//! section 4.3), and what is older it drops (section 5.3). What nobody sent is not echoed: a liar's echo counts as far as the
//! other side's timestamps have come.

mod senders;
mod sums;

use super::inspector::{Payload, Segment};
use crate::dataplane::flow::Side;
pub use senders::SENDERS;
pub(super) use senders::Senders;
use sums::{Sum, network, segment as sum};

/// Payload of the longest segment over Ethernet (RFC 894: 1500 bytes), IPv4 and TCP without options.
const LONGEST: usize = 1460;

/// What Linux forgives (`TCP_PAWS_WINDOW`), ticks of the sender's clock.
const FORGIVEN: i32 = 1;

/// What the SYNs of a flow said; by side. The timestamps that are known then, 0 for none, with the lowest bit for a right
/// checksum in its place: of the responder what it sent, of the originator what the responder says to hold.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Opening([u32; 2]);

const RIGHT: u32 = 1;

impl Opening {
    /// A SYN without payload, or the answer to one.
    pub(super) fn note(&mut self, payload: &Payload<'_>, segment: &Segment<'_>) {
        let is_right = sum(payload, segment) == Sum::Right && network(payload, segment.header.len()) != Sum::Wrong;
        let right = u32::from(is_right);
        let stamps = timestamps(segment.header);
        let Opening([originator, responder]) = self;
        let (own, peer) =
            if payload.side == Side::Originator { (originator, responder) } else { (responder, originator) };
        *own = stamps.map_or(0, |(value, _)| value & !RIGHT) | *own & RIGHT | right;
        if segment.acknowledgement.is_some() {
            // Of several SYNs the echo tells which was taken; one of none that was seen is not believed.
            let echo = stamps.map_or(0, |(_, echo)| echo & !RIGHT);
            let is_known = echo != 0 && is_before_or_at(echo, *peer & !RIGHT);
            *peer = if is_known { echo } else { 0 } | *peer & RIGHT;
        }
    }

    /// Of a flow of datagrams, which has no SYNs: what is to be remembered of it from one to the next.
    pub(super) fn keeping(value: u32) -> Opening {
        Opening([value, 0])
    }

    /// What [`Opening::keeping`] has.
    pub(super) fn kept(self) -> u32 {
        let Opening([value, _]) = self;
        value
    }

    /// How both sides begin; `is_answered`: the responder's SYN was seen.
    pub(super) fn receipts(self, is_answered: bool) -> [Receipt; 2] {
        let Opening([originator, responder]) = self;
        let of = |word: u32, held: u32| {
            let is_right = word & RIGHT != 0;
            let trust = if is_right { Trust::Sum } else { Trust::None };
            Receipt { newest: word & !RIGHT, held, trust, longest: 0, trusts_header: is_right }
        };
        [of(originator, if is_answered { originator & !RIGHT } else { 0 }), of(responder, 0)]
    }
}

/// How far a side's checksums are to be trusted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
enum Trust {
    /// None was right.
    #[default]
    None,
    /// One was, of no data.
    Sum,
    /// One of data was.
    Data,
}

/// What is known of a side's receiver.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Receipt {
    /// The side's newest timestamp; 0 for unknown.
    newest: u32,
    /// What its receiver holds at least; 0 for unknown.
    held: u32,
    /// Data of the longest segment whose sum was right.
    longest: u16,
    trust: Trust,
    /// The checksum of an IPv4 header was right.
    trusts_header: bool,
}

/// Why a segment is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Its checksum is wrong.
    Checksum,
    /// That of its IPv4 header is.
    Header,
    /// Its timestamp is older than what its receiver holds.
    Timestamp,
}

/// Does the receiver take this segment? Learns from it if so. `own` is of who sent it.
pub(super) fn check(
    own: &mut Receipt,
    peer: &mut Receipt,
    payload: &Payload<'_>,
    segment: &Segment<'_>,
) -> Result<(), Refusal> {
    let length = payload.bytes.len();
    let is_judged = length <= LONGEST || segment.is_joined;
    match if is_judged { network(payload, segment.header.len()) } else { Sum::Unknown } {
        Sum::Right => own.trusts_header = true,
        Sum::Wrong | Sum::Unfilled if own.trusts_header => return Err(Refusal::Header),
        Sum::Wrong | Sum::Unfilled | Sum::Unknown => {}
    }
    match if is_judged { sum(payload, segment) } else { Sum::Unknown } {
        Sum::Right => {
            own.trust = own.trust.max(if length > 0 { Trust::Data } else { Trust::Sum });
            own.longest = own.longest.max(u16::try_from(length).unwrap_or(u16::MAX));
        }
        Sum::Unfilled if own.trust == Trust::Data && length <= usize::from(own.longest) => {
            return Err(Refusal::Checksum);
        }
        Sum::Wrong if own.trust != Trust::None => return Err(Refusal::Checksum),
        Sum::Unfilled | Sum::Wrong | Sum::Unknown => {}
    }
    let Some((value, echo)) = timestamps(segment.header) else { return Ok(()) };
    if own.held != 0 && own.held.wrapping_sub(value) as i32 > FORGIVEN {
        return Err(Refusal::Timestamp);
    }
    if own.newest == 0 || is_before_or_at(own.newest, value) {
        own.newest = value;
    }
    if segment.acknowledgement.is_some() && echo != 0 && peer.newest != 0 && is_before_or_at(echo, peer.newest) {
        peer.held = if peer.held != 0 && is_before_or_at(echo, peer.held) { peer.held } else { echo };
    }
    Ok(())
}

/// Does the receiver drop it for its checksum, as far as the side's are to be trusted?
pub(super) fn is_spoiled(own: &Receipt, payload: &Payload<'_>, segment: &Segment<'_>) -> bool {
    own.trust != Trust::None && sum(payload, segment) == Sum::Wrong
        || own.trusts_header && network(payload, segment.header.len()) == Sum::Wrong
}

/// Timestamps compare within half their range (RFC 7323 section 5.3).
fn is_before_or_at(one: u32, other: u32) -> bool {
    other.wrapping_sub(one) as i32 >= 0
}

/// Value and echo of the timestamps option (RFC 7323 section 3.2).
fn timestamps(header: &[u8]) -> Option<(u32, u32)> {
    const OPTION: [u8; 2] = [8, 10];
    let mut options = header.get(20..)?;
    // As nearly all systems put them.
    if let [1, 1, rest @ ..] = options {
        options = rest;
    }
    loop {
        match *options {
            [0, ..] | [] => return None,
            [1, ref rest @ ..] => options = rest,
            [kind, length, a, b, c, d, e, f, g, h, ..] if [kind, length] == OPTION => {
                return Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])));
            }
            [_, length, ..] if length >= 2 => options = options.get(usize::from(length)..)?,
            _ => return None,
        }
    }
}

#[cfg(test)]
#[path = "receipt_tests.rs"]
mod tests;
