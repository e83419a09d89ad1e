//! Where the bytes of datagrams lie: a small buffer for each, and large ones for those that outgrow it.

use super::{BUFFER_BYTES, Groups, NIL, SMALL_BYTES, SOURCE_SHARE};

/// Whose a large buffer is.
#[derive(Clone, Copy)]
struct Owner {
    /// The datagram's place; [`NIL`] while it is nobody's.
    slot: u16,
    share: u8,
    is_known: bool,
    /// A whole datagram lies in it that is in use outside.
    is_in_use: bool,
    /// Number of the taking: the smallest is the oldest.
    since: u64,
}

const NOBODY: Owner = Owner { slot: NIL, share: 0, is_known: false, is_in_use: false, since: 0 };

/// See the module. Nothing of them is touched before it is needed.
pub(super) struct Buffers {
    small: Vec<u8>,
    large: Vec<u8>,
    owners: Box<[Owner]>,
    /// Large ones that are nobody's.
    free: Vec<u16>,
    /// Large ones by the share of their source, and by group.
    shares: Box<[u16; 256]>,
    groups: Groups,
    taken: u64,
}

impl Buffers {
    /// Large ones among the buffers of so many datagrams.
    pub(super) fn large_of(datagrams: u16) -> u16 {
        (datagrams / 16).max(datagrams.min(64))
    }

    pub(super) fn new(datagrams: u16) -> Buffers {
        let large = Buffers::large_of(datagrams);
        Buffers {
            small: vec![0; usize::from(datagrams) * SMALL_BYTES],
            large: vec![0; usize::from(large) * BUFFER_BYTES],
            owners: vec![NOBODY; large.into()].into_boxed_slice(),
            free: (0..large).rev().collect(),
            shares: Box::new([0; 256]),
            groups: Groups::default(),
            taken: 0,
        }
    }

    /// The buffer of a datagram that has this large one, or none ([`NIL`]).
    pub(super) fn of(&self, slot: u16, large: u16) -> Option<&[u8]> {
        let (slot, large) = (usize::from(slot), usize::from(large));
        match self.owners.get(large) {
            Some(_) => self.large.get(large * BUFFER_BYTES..(large + 1) * BUFFER_BYTES),
            None => self.small.get(slot * SMALL_BYTES..(slot + 1) * SMALL_BYTES),
        }
    }

    /// The same to be written to.
    pub(super) fn of_mut(&mut self, slot: u16, large: u16) -> Option<&mut [u8]> {
        let (slot, large) = (usize::from(slot), usize::from(large));
        match self.owners.get(large) {
            Some(_) => self.large.get_mut(large * BUFFER_BYTES..(large + 1) * BUFFER_BYTES),
            None => self.small.get_mut(slot * SMALL_BYTES..(slot + 1) * SMALL_BYTES),
        }
    }

    /// The datagram that must give way before one of this source can have a large buffer: its source's oldest where that has a
    /// quarter, else, where none is free, the oldest of the larger group. One look at all owners.
    pub(super) fn gives_way(&self, share: u8, is_known: bool) -> Option<u16> {
        let own = self.shares.get(usize::from(share)).copied().unwrap_or(0);
        let is_at_share = usize::from(own) >= (self.owners.len() / usize::from(SOURCE_SHARE)).max(1);
        if !is_at_share && !self.free.is_empty() {
            return None;
        }
        let goes = self.groups.giving_way(is_known);
        let held = self.owners.iter().filter(|owner| owner.slot != NIL && !owner.is_in_use);
        let oldest = held.filter(|owner| if is_at_share { owner.share == share } else { owner.is_known == goes });
        oldest.min_by_key(|owner| owner.since).map(|owner| owner.slot)
    }

    /// Gives a datagram a free large buffer, with what is in its small one; [`NIL`] if there is none.
    pub(super) fn grow(&mut self, slot: u16, share: u8, is_known: bool) -> u16 {
        let Some(number) = self.free.pop() else { return NIL };
        self.taken += 1;
        let large = usize::from(number);
        if let (Some(owner), Some(own)) = (self.owners.get_mut(large), self.shares.get_mut(usize::from(share))) {
            *owner = Owner { slot, share, is_known, is_in_use: false, since: self.taken };
            *own += 1;
            *self.groups.of(is_known) += 1;
        }
        let from = usize::from(slot) * SMALL_BYTES;
        let place = self.large.get_mut(large * BUFFER_BYTES..large * BUFFER_BYTES + SMALL_BYTES);
        if let (Some(place), Some(bytes)) = (place, self.small.get(from..from + SMALL_BYTES)) {
            place.copy_from_slice(bytes);
        }
        number
    }

    /// What lies in a large buffer is in use from now on.
    pub(super) fn hold(&mut self, large: u16) {
        if let Some(owner) = self.owners.get_mut(usize::from(large)) {
            owner.is_in_use = true;
        }
    }

    /// A large buffer is free again.
    pub(super) fn give_back(&mut self, large: u16) {
        let Some(owner) = self.owners.get_mut(usize::from(large)) else { return };
        let Owner { share, is_known, .. } = std::mem::replace(owner, NOBODY);
        if let Some(own) = self.shares.get_mut(usize::from(share)) {
            *own -= 1;
        }
        *self.groups.of(is_known) -= 1;
        self.free.push(large);
    }
}
