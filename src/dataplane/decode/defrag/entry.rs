//! One datagram: which of its bytes came, and what contradicts what.

use super::anomaly::{Anomalies, FragmentAnomaly};
use super::lists::Link;
use super::{Early, FRAGMENTS_MAX, HEAD_BYTES, NIL, Outcome, Place};
use crate::dataplane::decode::fragment::Identity;
use crate::dataplane::decode::key::{Direction, FlowKey};
use crate::dataplane::decode::packet::Packet;
use crate::units::Timestamp;

/// What a datagram is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum State {
    #[default]
    Free,
    Open,
    /// Given up; remembered until its time-out, so that what still comes of it begins no other.
    Dead,
    /// In use outside.
    Whole,
    /// It was whole a moment ago: its place is free, and it is remembered until that is taken.
    Done,
}

/// One datagram.
#[derive(Clone, Default)]
pub(super) struct Entry {
    pub(super) identity: Identity,
    pub(super) key: FlowKey,
    pub(super) until: Timestamp,
    /// Where fragments lie that brought bytes, by their beginnings.
    pieces: Pieces,
    /// Bytes that came.
    pub(super) covered: u32,
    /// End of the one that reaches furthest.
    highest: u32,
    /// Where the last one ends, once it is known.
    end: Option<u32>,
    /// Length of the header that was put before it.
    pub(super) head: u8,
    protocol: u8,
    pub(super) state: State,
    pub(super) direction: Direction,
    told: Anomalies,
    /// Share of its source.
    pub(super) share: u8,
    /// Its source is one whose datagrams became whole lately.
    pub(super) is_known: bool,
    /// Fragments that are in no flow's counts, because they came before the one with the ports.
    pub(super) early: Early,
    /// The checksums of its fragments' headers are wrong.
    pub(super) is_spoiled: bool,
    /// Can it be found in its bucket?
    pub(super) is_linked: bool,
    /// Next of the same bucket.
    pub(super) chain: u16,
    pub(super) next_free: u16,
    /// Its large buffer, or [`NIL`].
    pub(super) large: u16,
    /// Of each kind of list.
    pub(super) links: [Link; 2],
}

/// What lies where a fragment belongs.
#[derive(Default)]
struct Found {
    /// Bytes that were there already.
    old: u32,
    /// Bytes that were not.
    new: u32,
    differs: bool,
}

impl Entry {
    /// A free place.
    pub(super) fn free(next: u16) -> Entry {
        Entry { next_free: next, chain: NIL, large: NIL, ..Entry::default() }
    }

    /// Begins a datagram in this place, with nothing of it there.
    pub(super) fn begin(&mut self, identity: Identity, packet: &Packet, until: Timestamp, source: (u8, bool)) {
        self.identity = identity;
        (self.key, self.direction) = (packet.key, packet.direction);
        self.until = until;
        (self.share, self.is_known) = source;
        // Of the list only the count: it is half a kilobyte.
        (self.pieces.count, self.covered, self.highest, self.end) = (0, 0, 0, None);
        (self.state, self.told) = (State::Open, Anomalies::default());
        self.early = Early::default();
    }

    /// Takes from `anomalies` what was told of this datagram before.
    pub(super) fn tell(&mut self, anomalies: &mut Anomalies) {
        anomalies.tell_once(&mut self.told);
    }

    /// Ends it, so that what still comes of it is refused.
    pub(super) fn die(&mut self) -> Outcome {
        self.state = State::Dead;
        Outcome::Refused
    }

    pub(super) fn is_whole(&self) -> bool {
        self.state == State::Open && self.end == Some(self.covered)
    }

    /// A fragment that is sound by itself; `body` is the datagram's buffer without the room for its header.
    pub(super) fn take(
        &mut self,
        frame: &[u8],
        packet: &Packet,
        place: &Place,
        body: &mut [u8],
        anomalies: &mut Anomalies,
    ) -> Outcome {
        let from = place.at as usize;
        // The bytes that the capture cut off never come.
        let Some(bytes) = frame.get(from..from + place.length as usize) else { return self.die() };
        let (begin, end) = (place.offset, place.offset + place.length);
        let piece = (begin as u16, end as u16); // at most 65 535
        let found = self.compare(begin, end, bytes, body);
        let is_known = self.pieces.as_slice().contains(&piece);
        if found.old > 0 && (found.differs || !is_known) {
            anomalies.insert(FragmentAnomaly::Overlap);
            if found.differs {
                anomalies.insert(FragmentAnomaly::OverlapDifferent);
            }
            if !is_known && self.pieces.as_slice().iter().any(|old| old.0 <= piece.0 && piece.1 <= old.1) {
                anomalies.insert(FragmentAnomaly::Teardrop);
            }
            if !self.key.is_v4() {
                return self.die();
            }
        }
        let conflicts = match (place.more, self.end) {
            (false, Some(known)) => known != end,
            (false, None) => end < self.highest,
            (true, Some(known)) => end > known,
            (true, None) => false,
        };
        if conflicts {
            anomalies.insert(FragmentAnomaly::EndConflict);
            return if self.key.is_v4() { Outcome::Refused } else { self.die() };
        }
        if !place.more {
            self.end = Some(end);
        }
        if found.new == 0 {
            return Outcome::Kept;
        }
        // What stands at the front says what the datagram is, and only the first to come there.
        if begin == 0 && self.pieces.as_slice().first().is_none_or(|first| first.0 > 0) {
            (self.key, self.direction, self.protocol) = (packet.key, packet.direction, place.protocol);
        }
        self.lay(begin, end, bytes, body);
        self.covered += found.new;
        self.highest = self.highest.max(end);
        if !self.pieces.insert(piece) {
            anomalies.insert(FragmentAnomaly::TooMany);
            return self.die();
        }
        Outcome::Kept
    }

    /// Compares a fragment's bytes with those that came before it.
    fn compare(&self, begin: u32, end: u32, bytes: &[u8], body: &[u8]) -> Found {
        let mut found = Found::default();
        self.pieces.stretches(begin, end, |from, to, is_new| {
            if is_new {
                found.new += to - from;
                return;
            }
            found.old += to - from;
            let there = body.get(from as usize..to as usize);
            found.differs |= there != bytes.get((from - begin) as usize..(to - begin) as usize);
        });
        found
    }

    /// Copies what of a fragment's bytes was not there.
    fn lay(&self, begin: u32, end: u32, bytes: &[u8], body: &mut [u8]) {
        self.pieces.stretches(begin, end, |from, to, is_new| {
            let place = body.get_mut(from as usize..to as usize);
            let source = bytes.get((from - begin) as usize..(to - begin) as usize);
            if let (true, Some(place), Some(source)) = (is_new, place, source) {
                place.copy_from_slice(source);
            }
        });
    }

    /// Puts a header before the whole datagram.
    pub(super) fn close(&mut self, buffer: &mut [u8]) {
        self.state = State::Whole;
        let (from, to) = self.key.endpoints(self.direction);
        let length = self.covered as u16; // at most 65 535
        let Some(head) = buffer.first_chunk_mut::<HEAD_BYTES>() else { return };
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            if let Some(place) = head.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
            at += bytes.len();
        };
        if self.key.is_v4() {
            self.head = 20;
            put(&[0; HEAD_BYTES - 20]);
            put(&[0x45, 0]);
            put(&length.saturating_add(20).to_be_bytes()); // the header that was there had no fewer
            put(&[0, 0, 0, 0, 64, self.protocol, 0, 0]);
            put(&(from.address as u32).to_be_bytes());
            put(&(to.address as u32).to_be_bytes());
        } else {
            self.head = 40;
            put(&[0x60, 0, 0, 0]);
            put(&length.to_be_bytes());
            put(&[self.protocol, 64]);
            put(&from.address.to_be_bytes());
            put(&to.address.to_be_bytes());
        }
    }
}

/// Sorted list of pieces.
#[derive(Clone)]
pub(super) struct Pieces {
    list: [(u16, u16); FRAGMENTS_MAX],
    count: u16,
}

impl Default for Pieces {
    fn default() -> Pieces {
        Pieces { list: [(0, 0); FRAGMENTS_MAX], count: 0 }
    }
}

impl Pieces {
    fn as_slice(&self) -> &[(u16, u16)] {
        self.list.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// Puts one in its place; `false` if there is no room.
    fn insert(&mut self, piece: (u16, u16)) -> bool {
        let at = self.as_slice().partition_point(|old| old.0 <= piece.0);
        let Some(moved) = self.list.get_mut(at..=usize::from(self.count)) else { return false };
        moved.rotate_right(1);
        if let Some(place) = moved.first_mut() {
            *place = piece;
        }
        self.count += 1;
        true
    }

    /// Cuts `begin..end` into stretches that are new and stretches that pieces cover.
    fn stretches(&self, begin: u32, end: u32, mut each: impl FnMut(u32, u32, bool)) {
        let mut at = begin;
        for (from, to) in self.as_slice().iter().map(|piece| (u32::from(piece.0), u32::from(piece.1))) {
            if from >= end || at >= end {
                break;
            }
            if to <= at {
                continue;
            }
            if from > at {
                each(at, from, true);
                at = from;
            }
            each(at, to.min(end), false);
            at = to.min(end);
        }
        if at < end {
            each(at, end, true);
        }
    }
}
