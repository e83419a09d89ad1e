//! The tunnels round the flows of a queue, for whoever reads of such a flow in an alert or an event.
//!
//! Beside the flow table, because few flows are in tunnels and a record has no room: a set-associative memory by the flow's
//! key, written at a flow's first packet and read when something is said about it. Nothing is found by it, so losing an
//! entry loses a line in an alert and no flow.

use crate::dataplane::decode::{FlowKey, Outer};
use crate::dataplane::detect::TunnelMark;
use crate::sys::hash::KeyedHash;
use crate::units::Timestamp;

/// Places a flow may lie in: at half load fewer than one set in fifty has more flows than places.
const WAYS: usize = 8;

/// Flows of the table for each that is remembered here.
pub const SHARE: u32 = 4;

/// Bits of a mark that tell whether its place is still the same flow's; 30 are left for the place, and a table has at most
/// 2^28 of them.
const CHECK_BITS: u32 = 24;
const CHECK_MASK: u64 = (1 << CHECK_BITS) - 1;

/// Never 0, and not the bits that choose the set.
fn check(hash: u64) -> u64 {
    hash >> 40 | 1
}

#[derive(Clone, Copy, Default)]
struct Entry {
    key: FlowKey,
    outer: Outer,
    /// When it was written; 0 for an empty place and for a flow that has ended, which may still be asked for.
    begun: Timestamp,
}

/// Fixed-capacity memory of [`Outer`]s by flow.
pub struct Outers {
    sets: Box<[[Entry; WAYS]]>,
    hasher: KeyedHash,
    /// Nothing was ever written: where there are no tunnels nobody looks.
    is_empty: bool,
}

impl Outers {
    /// Bytes taken for a flow table of `flows`.
    pub fn bytes(flows: u32) -> usize {
        Outers::sets(flows) * size_of::<[Entry; WAYS]>()
    }

    fn sets(flows: u32) -> usize {
        (flows / SHARE).div_ceil(WAYS as u32).next_power_of_two() as usize
    }

    /// Takes all its memory here. `secret` keys the hash.
    pub fn new(flows: u32, secret: [u64; 4]) -> Outers {
        let sets = vec![[Entry::default(); WAYS]; Outers::sets(flows)].into_boxed_slice();
        Outers { sets, hasher: KeyedHash::new(secret), is_empty: true }
    }

    /// Remembers what is round a flow that begins; `false` if another one's was given up for it. The victim is the flow's own
    /// former entry, an ended flow's, else the oldest.
    #[cold]
    pub fn keep(&mut self, key: &FlowKey, outer: &Outer, now: Timestamp) -> bool {
        self.is_empty = false;
        let Some(set) = self.set(key) else { return false };
        let Some(place) = set.iter_mut().min_by_key(|entry| (entry.key != *key, entry.begun)) else { return false };
        let is_free = place.begun == Timestamp(0) || place.key == *key;
        *place = Entry { key: *key, outer: *outer, begun: now.max(Timestamp(1)) };
        is_free
    }

    /// What is round a flow; `None` for one that is in no tunnel, or forgotten.
    #[inline]
    pub fn find(&self, key: &FlowKey) -> Option<Outer> {
        if self.is_empty {
            return None;
        }
        let index = self.index(key);
        self.sets.get(index)?.iter().find(|entry| entry.key == *key).map(|entry| entry.outer)
    }

    /// [`Outers::find`] of a flow that ends: its place may be taken.
    #[inline]
    pub fn end(&mut self, key: &FlowKey) -> Option<Outer> {
        if self.is_empty {
            return None;
        }
        let entry = self.set(key)?.iter_mut().find(|entry| entry.key == *key)?;
        entry.begun = Timestamp(0);
        Some(entry.outer)
    }

    /// Where what is round a flow lies, for an event at `now`; nothing for one that is in no tunnel, or forgotten.
    #[inline(always)]
    pub fn mark(&self, key: &FlowKey, now: Timestamp) -> TunnelMark {
        if self.is_empty { TunnelMark::default() } else { self.mark_of(key, now) }
    }

    #[inline(never)]
    fn mark_of(&self, key: &FlowKey, now: Timestamp) -> TunnelMark {
        let (hash, set) = (self.hasher.hash(key.words()), self.index(key));
        let way = self.sets.get(set).and_then(|set| set.iter().position(|entry| entry.key == *key));
        way.map_or(TunnelMark::default(), |way| {
            TunnelMark::new(((set * WAYS + way) as u64) << CHECK_BITS | check(hash), now)
        })
    }

    /// The flow that a mark was made of and what is round it, if its place is not another one's by now.
    pub fn marked(&self, mark: TunnelMark) -> Option<(FlowKey, Outer)> {
        let (place, expected) = ((mark.place() >> CHECK_BITS) as usize, mark.place() & CHECK_MASK);
        let entry = self.sets.get(place / WAYS)?.get(place % WAYS)?;
        let is_it = expected != 0 && check(self.hasher.hash(entry.key.words())) == expected;
        is_it.then_some((entry.key, entry.outer))
    }

    fn set(&mut self, key: &FlowKey) -> Option<&mut [Entry; WAYS]> {
        let index = self.index(key);
        self.sets.get_mut(index)
    }

    fn index(&self, key: &FlowKey) -> usize {
        self.hasher.hash(key.words()) as usize & (self.sets.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::capture::{FrameView, LinkType};
    use crate::dataplane::decode::{Layers, Packet, decode_rest};

    /// Key and surroundings of a datagram in a GRE tunnel with this key.
    fn tunnelled(id: u32) -> (FlowKey, Outer) {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 56, 0, 0, 0, 0, 64, 47, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x20, 0, 8, 0]);
        frame.extend(id.to_be_bytes());
        frame.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 9, 0, 53, 0, 8, 0, 0]);
        let (mut packet, mut layers) = (Packet::default(), Layers::new(true));
        let view = FrameView { port: 0, bytes: &frame, wire_bytes: 0, time: None, link: LinkType::Ethernet };
        decode_rest(view.bytes, view.wire_bytes, view.link, &mut packet, &mut layers);
        (packet.key, layers.outer)
    }

    #[test]
    fn flows_are_remembered_until_newer_ones_need_their_places() {
        let mut outers = Outers::new(SHARE * WAYS as u32, [1, 2, 3, 4]);
        let (plain, _) = FlowKey::v4(1, 2, 3, 4, 17, 0);
        assert_eq!((outers.find(&plain), outers.end(&plain)), (None, None));
        let flows: Vec<_> = (0..10).map(tunnelled).collect();
        let first = flows.iter().zip(1..).take(WAYS);
        assert!(first.into_iter().all(|((key, outer), time)| outers.keep(key, outer, Timestamp(time))));
        for (key, outer) in &flows[..WAYS] {
            assert_eq!(outers.find(key), Some(*outer));
        }
        let mark = outers.mark(&flows[2].0, Timestamp(5));
        assert_eq!(outers.marked(mark), Some(flows[2]));
        assert_eq!(outers.marked(TunnelMark::default()), None);
        // The same again takes its own place, an ended one's is free, then the oldest goes and is counted.
        assert!(outers.keep(&flows[0].0, &flows[0].1, Timestamp(20)));
        assert_eq!(outers.end(&flows[3].0), Some(flows[3].1));
        assert_eq!(outers.find(&flows[3].0), Some(flows[3].1), "still there to be asked for");
        assert!(outers.keep(&flows[8].0, &flows[8].1, Timestamp(21)));
        assert_eq!(outers.find(&flows[3].0), None);
        assert!(!outers.keep(&flows[9].0, &flows[9].1, Timestamp(22)));
        assert_eq!(outers.find(&flows[1].0), None);
        outers.end(&flows[2].0);
        assert_eq!(outers.marked(mark), Some(flows[2]), "ended, and not another one's");
        outers.keep(&flows[1].0, &flows[1].1, Timestamp(23));
        assert_eq!(outers.marked(mark), None);
        assert_eq!(outers.find(&plain), None);
    }
}
