//! Fragments of a small universe of datagrams against a map of bytes.
//!
//! The oracle is as naive as can be: a datagram is a byte or nothing for each place. It is driven by the fuzzer and, with
//! random steps, by the property test of `decode/defrag_tests.rs`.

use crate::dataplane::decode::{
    Anomalies, DefragSettings, Defragmenter, Direction, FRAGMENTS_MAX, FlowKey, FragmentAnomaly, Outcome, Packet, Place,
};
use crate::units::{MILLISECOND, Timestamp};
use std::collections::{HashMap, HashSet};

const TIMEOUT_NS: u64 = 2_000 * MILLISECOND;
/// The defragmenter's own.
const REMEMBERED_NS: u64 = 200 * MILLISECOND;

/// One fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Which datagram: two identifications, two protocols, both ways, both versions, with a VLAN tag or without.
    pub who: u8,
    /// As in an IPv4 header: offset in eights, more fragments (0x2000). With 0x4000 the offset is below 16 eights.
    pub field: u16,
    /// Of its bytes. Below 0x8000 less than 256 of them.
    pub length: u16,
    /// Other bytes than the datagram's (1), half of them cut off by the capture (0x80).
    pub variant: u8,
    /// Time since the fragment before, the cube of this in milliseconds.
    pub pause: u8,
}

/// A byte for the size of the table, then seven bytes a fragment; what is left over is nothing.
pub fn datagrams(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let steps: Vec<Step> = rest
        .chunks_exact(7)
        .filter_map(|chunk| {
            let &[who, a, b, c, d, variant, pause] = chunk else { return None };
            let (field, length) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            Some(Step { who, field, length, variant, pause })
        })
        .take(400)
        .collect();
    if mode & 1 == 0 { against_bytes(64, &steps) } else { too_small(&steps) }
}

/// With room for all datagrams (four times as many, because one source may have a quarter) every answer is the oracle's.
pub fn against_bytes(room: u16, steps: &[Step]) {
    let mut defragmenter = Defragmenter::new(DefragSettings { datagrams: room, timeout_ns: TIMEOUT_NS }, 7);
    let mut oracle = Oracle::default();
    let mut now = Timestamp(0);
    for (number, step) in steps.iter().enumerate() {
        now = now.after(u64::from(step.pause).pow(3) * MILLISECOND);
        let made = Made::of(step);
        let taken = defragmenter.take(&made.bytes, &made.packet, &made.place(), now);
        let (outcome, anomalies, whole) = oracle.take(&made, now);
        assert_eq!(taken.anomalies, anomalies, "step {number}: {step:x?}");
        match (taken.outcome, whole) {
            (Outcome::Whole(slot), Some(whole)) => {
                let datagram = defragmenter.datagram(slot).expect("a whole datagram is there");
                assert_eq!(datagram.packet, whole, "step {number}: {step:x?}");
                assert_eq!((datagram.key, datagram.direction), (made.packet.key, made.packet.direction));
                defragmenter.release(slot);
                assert!(defragmenter.datagram(slot).is_none(), "what was released is gone");
            }
            (found, None) => assert_eq!(found, outcome, "step {number}: {step:x?}"),
            (found, Some(_)) => panic!("step {number}: {found:?} instead of a whole datagram"),
        }
        assert!(!taken.evicted);
        assert_eq!(defragmenter.held(), oracle.datagrams.len(), "step {number}: {step:x?}");
    }
    let mut told = 0;
    defragmenter.expire(Timestamp(u64::MAX), usize::from(room), |_, _, _| told += 1);
    let open = oracle.datagrams.values().filter(|datagram| !datagram.dead).count();
    assert_eq!((told, defragmenter.held()), (open, 0), "every datagram ends once");
}

/// With room for two it may forget, but no byte gets into another datagram and nothing grows.
pub fn too_small(steps: &[Step]) {
    let mut defragmenter = Defragmenter::new(DefragSettings { datagrams: 2, timeout_ns: TIMEOUT_NS }, 7);
    let mut now = Timestamp(0);
    let mut kept = Vec::new();
    for step in steps {
        now = now.after(u64::from(step.pause).pow(3) * MILLISECOND);
        let made = Made::of(step);
        if let Outcome::Whole(slot) = defragmenter.take(&made.bytes, &made.packet, &made.place(), now).outcome {
            let datagram = defragmenter.datagram(slot).expect("a whole datagram is there");
            let head = if made.is_v4() { 20 } else { 40 };
            for (place, byte) in datagram.packet[head..].iter().enumerate() {
                assert_eq!(byte & !1, content(step.who, place as u32) & !1, "a byte of another datagram at {place}");
            }
            // Whole ones are kept for a while: nothing can take their places.
            kept.push((slot, datagram.packet.to_vec()));
        }
        for (slot, bytes) in &kept {
            assert_eq!(defragmenter.datagram(*slot).map(|datagram| datagram.packet), Some(&bytes[..]));
        }
        if kept.len() == 2 || step.pause & 1 == 1 {
            kept.drain(..).for_each(|(slot, _)| defragmenter.release(slot));
        }
        assert!(defragmenter.held() <= 2);
        if step.pause & 0xf0 == 0xf0 {
            defragmenter.expire(now, 1, |_, _, _| ());
        }
    }
}

/// What datagram `who` has at a place; the last bit is the variant's.
fn content(who: u8, place: u32) -> u8 {
    // The upper bits tell no datagram from another.
    let who = who & 0x1f;
    (place.wrapping_mul(0x9e37_79b9) >> 13) as u8 ^ who.wrapping_mul(29)
}

/// A step as a fragment.
struct Made {
    packet: Packet,
    offset: u32,
    more: bool,
    protocol: u8,
    bytes: Vec<u8>,
    length: u32,
}

impl Made {
    fn of(step: &Step) -> Made {
        let who = step.who;
        let (id, back) = (u32::from(who & 1), who & 4 != 0);
        let protocol = if who & 2 == 0 { 17 } else { 6 };
        // IPv6 tells datagrams apart without the protocol, which is the next header there.
        let (v6, vlans) = (who & 8 != 0, u32::from(who & 16));
        let (from, to) = if back { (2, 1) } else { (1, 2) };
        let (key, direction) = if v6 {
            let net = 0x2001_0db8_u128 << 96;
            FlowKey::v6(net | from, 0, net | to, 0, protocol, vlans)
        } else {
            FlowKey::v4(from as u32, 0, to as u32, 0, protocol, vlans)
        };
        let id = if v6 { id | u32::from(who & 2) } else { id };
        let packet = Packet { key, direction, fragment: true, fragment_id: id, ..Packet::default() };
        let eights = if step.field & 0x4000 == 0 { step.field & 0x1fff } else { step.field & 0xf };
        let offset = u32::from(eights) * 8;
        let length =
            if step.length & 0x8000 == 0 { u32::from(step.length & 0xff) } else { u32::from(step.length & 0x7fff) };
        // Every second length is a multiple of eight.
        let length = if step.length & 0x4000 == 0 { length & !7 } else { length };
        let captured = if step.variant & 0x80 == 0 { length } else { length / 2 };
        let byte = |place| content(who, place) & !1 | step.variant & 1;
        let bytes = (offset..offset + captured).map(byte).collect();
        Made { packet, offset, more: step.field & 0x2000 != 0, protocol, bytes, length }
    }

    fn is_v4(&self) -> bool {
        self.packet.key.is_v4()
    }

    fn header_bytes(&self) -> u16 {
        if self.is_v4() { 20 } else { 0 }
    }

    fn place(&self) -> Place {
        let (offset, more, protocol) = (self.offset, self.more, self.protocol);
        Place {
            offset,
            more,
            protocol,
            header_bytes: self.header_bytes(),
            at: 0,
            length: self.length,
            is_spoiled: false,
        }
    }
}

/// A datagram as a map of bytes.
#[derive(Default)]
struct Bytes {
    bytes: Vec<Option<u8>>,
    fragments: HashSet<(u32, u32)>,
    end: Option<u32>,
    dead: bool,
    until: Timestamp,
    told: HashSet<FragmentAnomaly>,
}

#[derive(Default)]
struct Oracle {
    datagrams: HashMap<(FlowKey, Direction, u32), Bytes>,
    /// Until when those that were whole begin no other.
    done: HashMap<(FlowKey, Direction, u32), Timestamp>,
}

impl Oracle {
    fn take(&mut self, made: &Made, now: Timestamp) -> (Outcome, Anomalies, Option<Vec<u8>>) {
        let name = (made.packet.key, made.packet.direction, made.packet.fragment_id);
        let mut found = HashSet::new();
        let (begin, end) = (made.offset, made.offset + made.length);
        let length = made.length;
        if length == 0 || made.more && !length.is_multiple_of(8) {
            found.insert(FragmentAnomaly::InvalidLength);
        } else if end + u32::from(made.header_bytes()) > 65_535 {
            found.insert(FragmentAnomaly::TooLarge);
        } else if made.more && length < 128 || made.protocol == 6 && begin == 8 {
            found.insert(FragmentAnomaly::Tiny);
        }
        if found.contains(&FragmentAnomaly::InvalidLength) || found.contains(&FragmentAnomaly::TooLarge) {
            if let Some(datagram) = self.datagrams.get_mut(&name) {
                found.retain(|one| datagram.told.insert(*one));
            }
            return (Outcome::Refused, set(found), None);
        }
        if self.done.get(&name).is_some_and(|until| *until >= now) {
            return (Outcome::Refused, Anomalies::default(), None);
        }
        let late = self.datagrams.get(&name).is_some_and(|datagram| datagram.until < now);
        let mut late_anomaly = None;
        if late && self.datagrams.remove(&name).is_some_and(|datagram| !datagram.dead) {
            late_anomaly = Some(FragmentAnomaly::Incomplete);
        }
        let fresh = || Bytes { until: now.after(TIMEOUT_NS), ..Bytes::default() };
        let datagram = self.datagrams.entry(name).or_insert_with(fresh);
        if datagram.dead {
            return (Outcome::Refused, set(late_anomaly.into_iter().collect()), None);
        }
        let outcome = datagram.take(made, begin, end, &mut found);
        found.retain(|one| datagram.told.insert(*one));
        found.extend(late_anomaly);
        let is_whole =
            datagram.end.is_some_and(|end| end as usize == datagram.bytes.len() && !datagram.bytes.contains(&None));
        let whole = (!datagram.dead && is_whole).then(|| {
            let datagram = self.datagrams.remove(&name).unwrap_or_default();
            self.done.insert(name, now.after(REMEMBERED_NS));
            let body: Vec<u8> = datagram.bytes.into_iter().flatten().collect();
            [header(made, body.len()), body].concat()
        });
        (outcome, set(found), whole)
    }
}

impl Bytes {
    fn take(&mut self, made: &Made, begin: u32, end: u32, found: &mut HashSet<FragmentAnomaly>) -> Outcome {
        if (made.bytes.len() as u32) < made.length {
            self.dead = true;
            return Outcome::Refused;
        }
        let reach = self.bytes.len() as u32;
        let (from, to) = (begin as usize, end as usize);
        self.bytes.resize(self.bytes.len().max(to), None);
        let there: Vec<bool> =
            self.bytes[from..to].iter().zip(&made.bytes).filter_map(|(old, new)| Some(old.as_ref()? == new)).collect();
        let differs = there.contains(&false);
        let known = self.fragments.contains(&(begin, end));
        if !there.is_empty() && (differs || !known) {
            found.insert(FragmentAnomaly::Overlap);
            if differs {
                found.insert(FragmentAnomaly::OverlapDifferent);
            }
            if !known && self.fragments.iter().any(|(from, to)| *from <= begin && end <= *to) {
                found.insert(FragmentAnomaly::Teardrop);
            }
            if !made.is_v4() {
                self.dead = true;
                return Outcome::Refused;
            }
        }
        let contradicts = match self.end {
            Some(known) => end > known || !made.more && end != known,
            None => !made.more && end < reach,
        };
        if contradicts {
            self.bytes.truncate(reach as usize);
            found.insert(FragmentAnomaly::EndConflict);
            self.dead |= !made.is_v4();
            return Outcome::Refused;
        }
        if !made.more {
            self.end = Some(end);
        }
        if there.len() < made.bytes.len() {
            for (old, new) in self.bytes[from..to].iter_mut().zip(&made.bytes) {
                old.get_or_insert(*new);
            }
            if self.fragments.len() == FRAGMENTS_MAX {
                found.insert(FragmentAnomaly::TooMany);
                self.dead = true;
                return Outcome::Refused;
            }
            self.fragments.insert((begin, end));
        }
        Outcome::Kept
    }
}

fn set(found: HashSet<FragmentAnomaly>) -> Anomalies {
    let mut set = Anomalies::default();
    found.into_iter().for_each(|one| set.insert(one));
    set
}

/// The header that a whole datagram of the universe is given.
fn header(made: &Made, length: usize) -> Vec<u8> {
    let (from, to) = made.packet.key.endpoints(made.packet.direction);
    let mut head = Vec::new();
    if made.is_v4() {
        head.extend([0x45, 0]);
        head.extend((length as u16 + 20).to_be_bytes());
        head.extend([0, 0, 0, 0, 64, made.protocol, 0, 0]);
        head.extend((from.address as u32).to_be_bytes());
        head.extend((to.address as u32).to_be_bytes());
    } else {
        head.extend([0x60, 0, 0, 0]);
        head.extend((length as u16).to_be_bytes());
        head.extend([made.protocol, 64]);
        head.extend(from.address.to_be_bytes());
        head.extend(to.address.to_be_bytes());
    }
    head
}
