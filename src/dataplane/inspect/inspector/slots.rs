//! What a slot of the flow table has here: an entry, or what is to be known of a flow without one.

use super::super::counts::{Cause, Unread};
use super::super::protocol::Protocol;
use super::{Entry, SYNS};

/// What a slot of the flow table has here: an entry's number, or one of these.
pub(super) const NONE: u32 = u32::MAX;
/// Inspection is over, or was given up; plus the number of the protocol that was found, and [`Unread`] above it.
pub(super) const OVER: u32 = u32::MAX - (SPAN - 1);
/// Bits of a place below [`Unread`]'s.
pub(super) const UNREAD_SHIFT: u32 = 8;
/// Numbers of protocols with all that may be said of what was not read.
pub(super) const SPAN: u32 = 1 << (UNREAD_SHIFT + Unread::BITS);
/// With [`OVER`]: see [`super::Inspector::is_turned`].
pub(super) const TURNED: u32 = 128;
const _: () = assert!(Protocol::ALL.len() < TURNED as usize);
/// Between two datagrams of a protocol whose parser remembers nothing; plus its number, and [`Unread`] above it.
pub(super) const BETWEEN: u32 = OVER - SPAN;
/// Nothing told so far, by datagrams each of which is looked at for itself; plus how many were. Decoys in front of what is to
/// be hidden must be more than [`ANEW_MAX`], and at a port of a protocol, to hide this one, more than [`AGAIN_MAX`].
pub(super) const AGAIN: u32 = BETWEEN - AGAIN_MAX;
/// Datagrams, of which nothing was told, that are looked at for the protocol of their port.
pub const AGAIN_MAX: u32 = 1024;
/// No entry yet: a SYN had data, and nobody has answered it; plus where they are among the [`SYNS`].
pub(super) const WITH_SYN: u32 = AGAIN - SYNS;
/// Datagrams, of which nothing was told, after which the next one is looked at for all protocols whatever its port: as many
/// as nDPI looks at.
pub const ANEW_MAX: u32 = 8;
const _: () =
    assert!(OVER.is_multiple_of(SPAN) && BETWEEN.is_multiple_of(SPAN) && Cause::ALL.len() < Unread::BITS as usize);

/// The place of a flow whose inspection is over.
pub(super) fn over(entry: &Entry) -> u32 {
    let protocol = entry.told();
    let is_turned = entry.is_turned && protocol != Protocol::Unknown;
    place_of(OVER, protocol, entry.unread) | if is_turned { TURNED } else { 0 }
}

/// The place of a flow without an entry; `of`: [`OVER`] or [`BETWEEN`].
pub(super) fn place_of(of: u32, protocol: Protocol, unread: Unread) -> u32 {
    of | protocol as u32 | unread.bits() << UNREAD_SHIFT
}

/// Why the flow in a place that is no entry's number was not wholly read.
pub(super) fn unread_of(place: u32) -> Unread {
    match place {
        NONE | ..BETWEEN => Unread::default(),
        OVER.. => Unread::from_bits((place - OVER) >> UNREAD_SHIFT),
        _ => Unread::from_bits((place - BETWEEN) >> UNREAD_SHIFT),
    }
}

/// The protocol in a place that is no entry's number.
pub(super) fn protocol_of(place: u32) -> Protocol {
    match place {
        NONE => Protocol::Unknown,
        OVER.. => Protocol::from_number(((place - OVER) % TURNED) as u8), // below 128
        _ => Protocol::from_number(place.saturating_sub(BETWEEN) as u8),  // below 256
    }
}
