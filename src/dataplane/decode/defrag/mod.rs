//! Datagrams from their fragments: IPv4 (RFC 791) and IPv6 (RFC 8200 section 4.5).
//!
//! Owns a fixed number of datagrams with a buffer each, and larger ones for some, taken at the start. **Overlaps:** in IPv4 the byte that came first
//! stays, whatever comes later; in IPv6 an overlap ends its datagram (RFC 5722). An exact duplicate is no overlap in either.
//! A fragment whose IPv4 header has a wrong checksum is nobody's where another one of its datagram has a right one: it is refused
//! behind that, and what came before it of such fragments is thrown away. Where all are wrong they were edited, or a card was
//! to fill them in, and are taken.
//! A fragment that contradicts the end of its datagram is refused (IPv4) or ends it (IPv6). Whatever is unusual has a name,
//! [`FragmentAnomaly`]. Deliberately does not: count, account fragments to flows, know what a datagram carries.
//!
//! | bounded | by |
//! | --- | --- |
//! | memory | [`Defragmenter::bytes`]: 4 KiB for each of [`DefragSettings::datagrams`], and 64 KiB for a sixteenth of them |
//! | time | [`DefragSettings::timeout_ns`] from the first fragment that came |
//! | datagrams of one source (in IPv6 of one /64) | a quarter of all, and of the large ones: beyond that its oldest gives way |
//! | datagrams in all, and large ones | the oldest of the larger of two groups gives way: known sources and others |
//! | fragments of a datagram | [`FRAGMENTS_MAX`]: beyond that it is given up |
//! | work a fragment | its bytes once, [`FRAGMENTS_MAX`] pieces once; where a datagram outgrows 4 KiB, one look at the large ones |
//!
//! **A flood of first fragments from forged sources** pushes out what it finds. Honest datagrams come whole within
//! milliseconds, so what counts is how many forged ones fit in between: hence many small places instead of few large ones.
//! And a source whose datagrams became whole lately is in a group of its own: forged ones that never become whole cannot have
//! its places. Who has seen sources complete datagrams can forge these, and then pushes out those of known sources, and not
//! the others. That a datagram has more fragments than another says nothing: most honest ones have two.

mod anomaly;
mod buffers;
mod entry;
mod lists;
mod sources;

pub use anomaly::{Anomalies, FragmentAnomaly};

use super::fragment::{Identity, splitmix};
use super::key::{Direction, FlowKey};
use super::packet::{Packet, protocol};
use crate::units::Timestamp;
use buffers::Buffers;
use entry::{Entry, State};
use lists::{By, List};
use sources::Sources;

/// Limits of the reassembly of datagrams.
#[derive(Clone, Copy, Debug)]
pub struct DefragSettings {
    /// Datagrams put together at once, a queue; 0: none are. Too small: a flood of fragments makes datagrams give way
    /// before they are whole (`datagrams_evicted`); too large: 9 KiB each that a flood can touch.
    pub datagrams: u16,
    /// How long after its first fragment a datagram may be completed, nanoseconds (RFC 791 suggests 15 s, Linux takes
    /// 30 s, RFC 8200 60 s).
    pub timeout_ns: u64,
}

impl Default for DefragSettings {
    fn default() -> DefragSettings {
        DefragSettings { datagrams: 4096, timeout_ns: 30_000_000_000 }
    }
}

/// Fragments of a datagram. 65 535 bytes are 45 at an MTU of 1500 and 119 at 576; below that nobody's path goes.
pub const FRAGMENTS_MAX: usize = 128;

/// What one source may have of the datagrams put together at once, and of the large ones: one part in so many.
pub const SOURCE_SHARE: u16 = 4;

/// A fragment with less than that is not the last one only because somebody wants it so: the smallest MTU still met is 296
/// (RFC 1191 section 7), which leaves 272 without options.
const TINY_BYTES: usize = 128;

/// Most that a datagram holds, headers included: what the length fields can say.
const LENGTH_MAX: usize = 65_535;

/// Room for the header that is put before a whole datagram (IPv6; IPv4 takes half of it).
const HEAD_BYTES: usize = 40;

/// Bytes of a large buffer: any datagram.
const BUFFER_BYTES: usize = (HEAD_BYTES + LENGTH_MAX).next_multiple_of(64);

/// Bytes of a small buffer: the largest answers of DNS, RADIUS and IKE, and two frames of 1 500 bytes and more.
pub const SMALL_BYTES: usize = (HEAD_BYTES + 8 + 4096).next_multiple_of(64);

/// How long what is left of a datagram's duplicates begins no other: a tap that sees frames twice sees both within
/// milliseconds. Longer would take its identification from a sender of thousands of fragmented datagrams a second.
const REMEMBERED_NS: u64 = 200_000_000;

/// No datagram has this number.
const NIL: u16 = u16::MAX;

/// Where a fragment belongs in its datagram, and where it lies in its frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Where its bytes belong in the datagram.
    pub offset: u32,
    /// Others follow behind it.
    pub more: bool,
    /// Protocol (IPv4) or next header (IPv6) of the datagram; that of the fragment at 0 counts.
    pub protocol: u8,
    /// What the headers before it take of the datagram's length: the IPv4 header, or the extension headers of IPv6.
    pub header_bytes: u16,
    /// Where its bytes begin in the frame.
    pub at: u32,
    /// How many they are by the headers.
    pub length: u32,
    /// The checksum of its IPv4 header is wrong.
    pub is_spoiled: bool,
}

/// What became of a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Taken, or taken before: its datagram is not whole yet.
    Kept,
    /// Its datagram is whole: [`Defragmenter::datagram`] of this number, until [`Defragmenter::release`].
    Whole(u16),
    /// Of no use: see the anomalies; or the datagram was given up, or the capture cut it.
    Refused,
}

/// What a fragment brought about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The fragment itself.
    pub outcome: Outcome,
    /// What is unusual; each once a datagram.
    pub anomalies: Anomalies,
    /// An older datagram gave way.
    pub evicted: bool,
}

/// A whole datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// An IP header without options and what the fragments carried.
    pub packet: &'a [u8],
    /// Key of its first fragment, or of the first that came: with ports only once [`Defragmenter::take`] was shown them.
    pub key: FlowKey,
    /// Which way of the key it goes.
    pub direction: Direction,
    /// Those of its fragments that are in no flow's counts ([`Defragmenter::note_early`]).
    pub early: Early,
}

/// Fragments that came before the one with the ports, so that nobody could say whose they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Early {
    /// How many.
    pub frames: u32,
    /// Their bytes on the wire.
    pub bytes: u32,
    /// Their bytes behind the IP header.
    pub payload: u32,
}

/// How many are of known sources, and how many of others.
#[derive(Clone, Copy, Default)]
struct Groups {
    known: usize,
    others: usize,
}

impl Groups {
    fn of(&mut self, is_known: bool) -> &mut usize {
        if is_known { &mut self.known } else { &mut self.others }
    }

    /// Does a known one give way to one that comes? The larger group does, of two equal ones the newcomer's.
    fn giving_way(self, newcomer: bool) -> bool {
        match self.known.cmp(&self.others) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => newcomer,
        }
    }
}

/// Puts datagrams together; see the module.
pub struct Defragmenter {
    entries: Box<[Entry]>,
    buffers: Buffers,
    /// First of each bucket.
    heads: Box<[u16]>,
    /// First and last of those that are free, the longest free one first.
    free: u16,
    last_free: u16,
    /// Those that wait for fragments or were given up: of unknown sources, and of known ones.
    groups: [List; 2],
    /// The same by the hash of their source.
    shares: Box<[List; 256]>,
    share_max: u16,
    /// Those that are whole and in use.
    whole: u16,
    sources: Sources,
    timeout_ns: u64,
    secrets: [u64; 6],
}

impl Defragmenter {
    /// Takes all its memory here. `seed` keys the hashes (per boot, from the kernel's random source).
    pub fn new(settings: DefragSettings, seed: u64) -> Defragmenter {
        let count = Defragmenter::count(settings);
        let mut state = seed;
        let entry = |number: u16| Entry::free(if number + 1 == count { NIL } else { number + 1 });
        Defragmenter {
            entries: (0..count).map(entry).collect(),
            buffers: Buffers::new(count),
            heads: vec![NIL; usize::from(count).next_power_of_two() * 2].into_boxed_slice(),
            free: if count == 0 { NIL } else { 0 },
            last_free: count.wrapping_sub(1),
            groups: [List::default(); 2],
            shares: Box::new([List::default(); 256]),
            share_max: (count / SOURCE_SHARE).max(1),
            whole: 0,
            sources: Sources::new(),
            timeout_ns: settings.timeout_ns,
            secrets: std::array::from_fn(|_| splitmix(&mut state)),
        }
    }

    fn count(settings: DefragSettings) -> u16 {
        settings.datagrams.min(1 << 15)
    }

    /// Datagrams at once longer than [`SMALL_BYTES`], with these settings.
    pub fn large(settings: DefragSettings) -> u16 {
        Buffers::large_of(Defragmenter::count(settings))
    }

    /// Bytes taken with these settings; of the buffers only what was written to is resident.
    pub fn bytes(settings: DefragSettings) -> usize {
        let count = Defragmenter::count(settings);
        usize::from(count) * (SMALL_BYTES + size_of::<Entry>() + 4)
            + usize::from(Buffers::large_of(count)) * BUFFER_BYTES
    }

    /// Are datagrams put together at all?
    pub fn is_on(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Datagrams held: those that wait for fragments, those given up and not forgotten, those that are whole.
    pub fn held(&self) -> usize {
        self.groups.iter().map(|group| usize::from(group.count)).sum::<usize>() + usize::from(self.whole)
    }

    /// Takes a fragment of `frame`. `packet`: as decoded, its ports known or not.
    pub fn take(&mut self, frame: &[u8], packet: &Packet, place: &Place, now: Timestamp) -> Taken {
        let mut taken = Taken { outcome: Outcome::Refused, anomalies: Anomalies::default(), evicted: false };
        let identity = Identity::of(packet);
        let found = self.find(&identity);
        if !is_sound(place, packet.key.protocol(), &mut taken.anomalies) {
            let entry = found.and_then(|slot| self.entries.get_mut(usize::from(slot)));
            if let Some(entry) = entry.filter(|entry| matches!(entry.state, State::Open | State::Dead)) {
                entry.tell(&mut taken.anomalies);
            }
            return taken;
        }
        if let Some(slot) = found
            && self.is_refuted(slot, place, now, &mut taken.anomalies)
        {
            return taken;
        }
        let found = self.find(&identity);
        let slot = match found {
            Some(slot) if self.entries.get(usize::from(slot)).is_some_and(|entry| entry.until >= now) => slot,
            // It would have been ended by its time-out, had anybody asked.
            late => {
                if let Some(slot) = late {
                    if self.is_open(slot) {
                        taken.anomalies.insert(FragmentAnomaly::Incomplete);
                    }
                    self.give_up(slot);
                }
                let Some(slot) = self.begin(identity, packet, now, &mut taken.evicted) else { return taken };
                if let Some(entry) = self.entries.get_mut(usize::from(slot)) {
                    entry.is_spoiled = place.is_spoiled;
                }
                slot
            }
        };
        if !self.has_room(slot, place, &mut taken.evicted) {
            return taken;
        }
        let Some(entry) = self.entries.get_mut(usize::from(slot)) else { return taken };
        if entry.state != State::Open {
            // Of a datagram that is whole or was given up everything was said.
            taken.anomalies = Anomalies::default();
            return taken;
        }
        let Some(buffer) = self.buffers.of_mut(slot, entry.large) else { return taken };
        let Some(body) = buffer.get_mut(HEAD_BYTES..) else { return taken };
        taken.outcome = entry.take(frame, packet, place, body, &mut taken.anomalies);
        entry.tell(&mut taken.anomalies);
        if entry.is_whole() {
            entry.close(buffer);
            entry.until = now.after(REMEMBERED_NS);
            taken.outcome = Outcome::Whole(slot);
            self.buffers.hold(entry.large);
            self.sources.mark(entry.identity.source_hash(&self.secrets), now);
            self.leave_lists(slot);
            self.whole += 1;
        }
        taken
    }

    /// Is a fragment refuted by another one, whose header has a right checksum where its own has a wrong one? One with a right one
    /// behind wrong ones refutes these: nothing of them is left, and it begins its datagram.
    fn is_refuted(&mut self, slot: u16, place: &Place, now: Timestamp, anomalies: &mut Anomalies) -> bool {
        let entry = self.entries.get_mut(usize::from(slot)).filter(|entry| entry.until >= now);
        let Some(entry) = entry.filter(|entry| entry.is_spoiled != place.is_spoiled) else { return false };
        anomalies.insert(FragmentAnomaly::WrongChecksum);
        entry.tell(anomalies);
        if !place.is_spoiled {
            self.give_up(slot);
        }
        place.is_spoiled
    }

    /// A fragment just taken is in no flow's counts: [`Datagram::early`] says how many, once its datagram is whole.
    pub fn note_early(&mut self, packet: &Packet) {
        let found = self.find(&Identity::of(packet));
        if let Some(entry) = found.and_then(|slot| self.entries.get_mut(usize::from(slot))) {
            let early = &mut entry.early;
            early.frames = early.frames.saturating_add(1);
            early.bytes = early.bytes.saturating_add(packet.wire_bytes);
            early.payload = early.payload.saturating_add(packet.payload_bytes);
        }
    }

    /// A whole datagram.
    pub fn datagram(&self, slot: u16) -> Option<Datagram<'_>> {
        let entry = self.entries.get(usize::from(slot)).filter(|entry| entry.state == State::Whole)?;
        let buffer = self.buffers.of(slot, entry.large)?;
        let packet = buffer.get(HEAD_BYTES - usize::from(entry.head)..HEAD_BYTES + entry.covered as usize)?;
        Some(Datagram { packet, key: entry.key, direction: entry.direction, early: entry.early })
    }

    /// A whole datagram is needed no longer.
    pub fn release(&mut self, slot: u16) {
        if self.entries.get(usize::from(slot)).is_some_and(|entry| entry.state == State::Whole) {
            self.whole -= 1;
            self.forget(slot, State::Done);
        }
    }

    /// Forgets up to `budget` datagrams whose time is over; tells of those that were not given up before, and when that was.
    pub fn expire(&mut self, now: Timestamp, budget: usize, mut each: impl FnMut(&FlowKey, Direction, Timestamp)) {
        for _ in 0..budget {
            // Both groups are in the order of their time-outs.
            let oldest = self.groups.iter().filter_map(|group| {
                self.entries.get(usize::from(group.oldest)).map(|entry| (entry.until, group.oldest))
            });
            let Some((until, slot)) = oldest.min() else { return };
            let Some(entry) = self.entries.get(usize::from(slot)).filter(|_| until < now) else { return };
            if entry.state == State::Open {
                each(&entry.key, entry.direction, entry.until);
            }
            self.give_up(slot);
        }
    }

    fn is_open(&self, slot: u16) -> bool {
        self.entries.get(usize::from(slot)).is_some_and(|entry| entry.state == State::Open)
    }

    fn find(&self, identity: &Identity) -> Option<u16> {
        let mut slot = *self.heads.get(self.bucket(identity))?;
        loop {
            let entry = self.entries.get(usize::from(slot))?;
            if entry.identity == *identity {
                return Some(slot);
            }
            slot = entry.chain;
        }
    }

    fn bucket(&self, identity: &Identity) -> usize {
        identity.hash(&self.secrets) as usize & (self.heads.len() - 1)
    }

    /// Begins a datagram, in the place of another one if there is no other; see the module for which.
    fn begin(&mut self, identity: Identity, packet: &Packet, now: Timestamp, evicted: &mut bool) -> Option<u16> {
        let share = identity.network_hash(&self.secrets) as u8;
        let is_known = self.sources.knows(identity.source_hash(&self.secrets));
        let own = self.shares.get(usize::from(share))?;
        if own.count >= self.share_max {
            let oldest = own.oldest;
            *evicted = self.is_open(oldest);
            self.give_up(oldest);
        }
        if self.free == NIL {
            let oldest = self.oldest_to_go(is_known);
            *evicted |= self.is_open(oldest);
            self.give_up(oldest);
        }
        let bucket = self.bucket(&identity);
        let slot = self.free;
        self.leave_bucket(slot);
        let head = self.heads.get_mut(bucket)?;
        let entry = self.entries.get_mut(usize::from(slot))?;
        self.free = entry.next_free;
        entry.is_linked = true;
        entry.begin(identity, packet, now.after(self.timeout_ns), (share, is_known));
        entry.chain = std::mem::replace(head, slot);
        let [others, known] = &mut self.groups;
        (if is_known { known } else { others }).push(&mut self.entries, By::Group, slot);
        self.shares.get_mut(usize::from(share))?.push(&mut self.entries, By::Source, slot);
        Some(slot)
    }

    /// The datagram that has to give way to one of a known source, or of another.
    fn oldest_to_go(&self, newcomer: bool) -> u16 {
        let [others, known] = &self.groups;
        let groups = Groups { known: known.count.into(), others: others.count.into() };
        if groups.giving_way(newcomer) { known.oldest } else { others.oldest }
    }

    /// Has the datagram room for what ends there? If not, it moves to a large buffer; another one may give way for that.
    fn has_room(&mut self, slot: u16, place: &Place, evicted: &mut bool) -> bool {
        let Some(entry) = self.entries.get(usize::from(slot)) else { return false };
        let end = HEAD_BYTES + place.offset as usize + place.length as usize;
        if entry.state != State::Open || entry.large != NIL || end <= SMALL_BYTES {
            return true;
        }
        let (share, is_known) = (entry.share, entry.is_known);
        if let Some(oldest) = self.buffers.gives_way(share, is_known) {
            *evicted |= self.is_open(oldest);
            self.give_up(oldest);
        }
        let large = self.buffers.grow(slot, share, is_known);
        let Some(entry) = self.entries.get_mut(usize::from(slot)) else { return false };
        entry.large = large;
        if large == NIL {
            entry.die();
        }
        large != NIL
    }

    /// Nothing shall find the datagram any more; its place is free, unless it is whole and in use.
    fn give_up(&mut self, slot: u16) {
        self.leave_bucket(slot);
        if self.entries.get(usize::from(slot)).is_some_and(|entry| matches!(entry.state, State::Open | State::Dead)) {
            self.leave_lists(slot);
            self.forget(slot, State::Free);
        }
    }

    fn leave_bucket(&mut self, slot: u16) {
        let Some(entry) = self.entries.get_mut(usize::from(slot)) else { return };
        if !std::mem::take(&mut entry.is_linked) {
            return;
        }
        let (identity, chain) = (entry.identity, entry.chain);
        let bucket = self.bucket(&identity);
        let Some(head) = self.heads.get_mut(bucket) else { return };
        if *head == slot {
            *head = chain;
            return;
        }
        let mut at = *head;
        while let Some(entry) = self.entries.get_mut(usize::from(at)) {
            if entry.chain == slot {
                entry.chain = chain;
                return;
            }
            at = entry.chain;
        }
    }

    /// It waits no longer.
    fn leave_lists(&mut self, slot: u16) {
        let Some(entry) = self.entries.get(usize::from(slot)) else { return };
        let (share, is_known) = (entry.share, entry.is_known);
        let [others, known] = &mut self.groups;
        (if is_known { known } else { others }).remove(&mut self.entries, By::Group, slot);
        if let Some(share) = self.shares.get_mut(usize::from(share)) {
            share.remove(&mut self.entries, By::Source, slot);
        }
    }

    /// Its place is behind the other free ones.
    fn forget(&mut self, slot: u16, state: State) {
        let Some(entry) = self.entries.get_mut(usize::from(slot)) else { return };
        (entry.state, entry.next_free) = (state, NIL);
        self.buffers.give_back(std::mem::replace(&mut entry.large, NIL));
        match self.entries.get_mut(usize::from(self.last_free)).filter(|_| self.free != NIL) {
            Some(last) => last.next_free = slot,
            None => self.free = slot,
        }
        self.last_free = slot;
    }
}

/// Checks a fragment by itself; `false` if no datagram can have it.
fn is_sound(place: &Place, protocol: u8, anomalies: &mut Anomalies) -> bool {
    let length = place.length as usize;
    if length == 0 || place.more && !length.is_multiple_of(8) {
        anomalies.insert(FragmentAnomaly::InvalidLength);
        return false;
    }
    let whole = place.offset as usize + length + usize::from(place.header_bytes);
    if whole > LENGTH_MAX {
        anomalies.insert(FragmentAnomaly::TooLarge);
        return false;
    }
    // Eight bytes of TCP end before its flags: who lets them pass without looking sees no connection begin.
    let behind_ports = protocol == protocol::TCP && place.offset == 8;
    if place.more && length < TINY_BYTES || behind_ports {
        anomalies.insert(FragmentAnomaly::Tiny);
    }
    true
}

#[cfg(test)]
mod tests;
