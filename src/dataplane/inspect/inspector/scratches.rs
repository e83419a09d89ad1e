//! Where the hellos of QUIC and DTLS are put together that come over several datagrams.
//!
//! Every datagram is read with a scratch, but a flow has one of its own only from one datagram to the next, and only while
//! something in it is unread: a hello that is whole in its first datagram costs no place. So there is one scratch more than
//! places, the spare one, which is clean between datagrams. A flow that keeps what it wrote there gets a place, and the place
//! gets this scratch for its own, which is the spare one from then on; nothing is copied.
//!
//! Nobody is asked before a place is taken from him: a flow has a place as long as its entry's number stands there.

use super::super::places::{Given, Places};
use super::super::scratch::Scratch;
use crate::sys::hash::KeyedHash;

/// Hellos of QUIC and DTLS that are put together at once from several datagrams; 18.6 KB each. The one that had no datagram for
/// longest gives way, of the source itself where that has its share: what it lacked is not read.
pub const SCRATCHES: u32 = 512;

/// The owner of a free place.
const NOBODY: u32 = u32::MAX;

/// The scratches of a queue.
pub(super) struct Scratches {
    all: Vec<Scratch>,
    /// Which of them no place has.
    spare: u32,
    owned: Vec<Owned>,
    places: Places,
}

/// What a place has.
struct Owned {
    /// Number of a scratch.
    scratch: u32,
    /// Number of the entry whose place it is.
    owner: u32,
}

impl Scratches {
    /// Memory of `count` places.
    pub(super) const fn memory(count: usize) -> usize {
        (count + 1) * size_of::<Scratch>() + count * (size_of::<Owned>() + Places::BYTES)
    }

    /// With so many places, or nothing at all.
    pub(super) fn new(count: u32, hash: &KeyedHash) -> Scratches {
        let all = if count == 0 { 0 } else { count + 1 };
        Scratches {
            all: (0..all).map(|_| Scratch::keyed(hash.clone())).collect(),
            spare: count,
            owned: (0..count).map(|scratch| Owned { scratch, owner: NOBODY }).collect(),
            places: Places::new(count as usize),
        }
    }

    /// The scratch for a datagram of this entry's: what it kept in its place, or the spare one, which is clean.
    pub(super) fn open(&mut self, place: Option<u32>, entry: u32) -> Option<&mut Scratch> {
        let scratch = self.held(place, entry).map_or(self.spare, |(_, scratch)| scratch);
        self.all.get_mut(scratch as usize)
    }

    /// After that datagram: does the entry keep it? Gives whether somebody else lost a place for that.
    pub(super) fn close(&mut self, place: &mut Option<u32>, entry: u32, share: u8, keeps: bool) -> bool {
        match (self.held(*place, entry), keeps) {
            (Some((index, _)), true) => self.places.touch(index),
            (Some(_), false) => self.give_back(place.take(), entry),
            (None, true) => return self.keep(place, entry, share),
            (None, false) => {
                *place = None;
                self.clear_spare();
            }
        }
        false
    }

    /// The spare scratch gets a place.
    fn keep(&mut self, place: &mut Option<u32>, entry: u32, share: u8) -> bool {
        *place = None;
        let given = self.places.take(share);
        let owned = given.and_then(|given| self.owned.get_mut(given.index as usize));
        if let (Some(given), Some(owned)) = (given, owned) {
            std::mem::swap(&mut owned.scratch, &mut self.spare);
            (owned.owner, *place) = (entry, Some(given.index));
        }
        self.clear_spare();
        given.is_some_and(|given: Given| given.was_used)
    }

    /// The entry wants its place no more, if it still has one.
    pub(super) fn give_back(&mut self, place: Option<u32>, entry: u32) {
        let Some((index, scratch)) = self.held(place, entry) else { return };
        self.all.get_mut(scratch as usize).into_iter().for_each(Scratch::clear);
        self.owned.get_mut(index as usize).into_iter().for_each(|owned| owned.owner = NOBODY);
        self.places.give_back(index);
    }

    /// Was the entry's place given to somebody else?
    pub(super) fn is_lost(&self, place: Option<u32>, entry: u32) -> bool {
        place.is_some() && self.held(place, entry).is_none()
    }

    /// The place, and the number of its scratch, if it is still this entry's.
    fn held(&self, place: Option<u32>, entry: u32) -> Option<(u32, u32)> {
        let owned = self.owned.get(place? as usize).filter(|owned| owned.owner == entry)?;
        Some((place?, owned.scratch))
    }

    fn clear_spare(&mut self) {
        self.all.get_mut(self.spare as usize).into_iter().for_each(Scratch::clear);
    }
}

#[cfg(test)]
#[path = "scratches_tests.rs"]
mod tests;
