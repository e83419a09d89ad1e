//! Datagrams from their fragments: IPv4 (RFC 791) and IPv6 (RFC 8200 section 4.5).
//!
//! Owns a fixed number of datagrams with a buffer each, taken at the start. **Overlaps:** in IPv4 the byte that came first
//! stays, whatever comes later; in IPv6 an overlap ends its datagram (RFC 5722). An exact duplicate is no overlap in either.
//! A fragment that contradicts the end of its datagram is refused (IPv4) or ends it (IPv6). Whatever is unusual has a name,
//! [`FragmentAnomaly`]. Deliberately does not: count, account fragments to flows, know what a datagram carries.
//!
//! | bounded | by |
//! | --- | --- |
//! | memory | [`DefragSettings::datagrams`] times [`DATAGRAM_MEMORY`] |
//! | time | [`DefragSettings::timeout_ns`] from the first fragment that came |
//! | datagrams of one source | a quarter of all: beyond that its oldest gives way |
//! | datagrams in all | the oldest gives way |
//! | fragments of a datagram | [`FRAGMENTS_MAX`]: beyond that it is given up |
//! | work a fragment | its bytes once, [`FRAGMENTS_MAX`] pieces once; where a source is at its share, a look at all datagrams |

mod anomaly;
mod entry;

pub use anomaly::{Anomalies, FragmentAnomaly};

use super::fragment::{Identity, splitmix};
use super::key::{Direction, FlowKey};
use super::packet::{Packet, protocol};
use crate::units::Timestamp;
use entry::{Entry, State};

/// Limits of the reassembly of datagrams.
#[derive(Clone, Copy, Debug)]
pub struct DefragSettings {
    /// Datagrams put together at once, a queue; 0: none are. Too small: a flood of fragments makes datagrams give way
    /// before they are whole (`datagrams_evicted`); too large: 64 KiB each that a flood of large ones can touch.
    pub datagrams: u16,
    /// How long after its first fragment a datagram may be completed, nanoseconds (RFC 791 suggests 15 s, Linux takes
    /// 30 s, RFC 8200 60 s).
    pub timeout_ns: u64,
}

impl Default for DefragSettings {
    fn default() -> DefragSettings {
        DefragSettings { datagrams: 256, timeout_ns: 30_000_000_000 }
    }
}

/// Fragments of a datagram. 65 535 bytes are 45 at an MTU of 1500 and 119 at 576; below that nobody's path goes.
pub const FRAGMENTS_MAX: usize = 128;

/// A fragment with less than that is not the last one only because somebody wants it so: the smallest MTU still met is 296
/// (RFC 1191 section 7), which leaves 272 without options.
const TINY_BYTES: usize = 128;

/// Most that a datagram holds, headers included: what the length fields can say.
const LENGTH_MAX: usize = 65_535;

/// Room for the header that is put before a whole datagram (IPv6; IPv4 takes half of it).
const HEAD_BYTES: usize = 40;

/// Bytes of one datagram's buffer.
const BUFFER_BYTES: usize = (HEAD_BYTES + LENGTH_MAX).next_multiple_of(64);

/// Bytes that one datagram takes.
pub const DATAGRAM_MEMORY: usize = BUFFER_BYTES + size_of::<Entry>() + 4;

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
}

/// Puts datagrams together; see the module.
pub struct Defragmenter {
    entries: Box<[Entry]>,
    /// One for each entry, never touched before it is needed.
    buffers: Vec<u8>,
    /// First of each bucket.
    heads: Box<[u16]>,
    /// First and last of those that are free, the longest free one first.
    free: u16,
    last_free: u16,
    oldest: u16,
    newest: u16,
    /// Datagrams by the hash of their source.
    shares: Box<[u16; 256]>,
    share_max: u16,
    timeout_ns: u64,
    secrets: [u64; 6],
}

impl Defragmenter {
    /// Takes all its memory here. `seed` keys the hashes (per boot, from the kernel's random source).
    pub fn new(settings: DefragSettings, seed: u64) -> Defragmenter {
        let count = settings.datagrams.min(1 << 15);
        let mut state = seed;
        let entry = |number: u16| Entry::free(if number + 1 == count { NIL } else { number + 1 });
        Defragmenter {
            entries: (0..count).map(entry).collect(),
            buffers: vec![0; usize::from(count) * BUFFER_BYTES],
            heads: vec![NIL; usize::from(count).next_power_of_two() * 2].into_boxed_slice(),
            free: if count == 0 { NIL } else { 0 },
            last_free: count.wrapping_sub(1),
            oldest: NIL,
            newest: NIL,
            shares: Box::new([0; 256]),
            share_max: (count / 4).max(1),
            timeout_ns: settings.timeout_ns,
            secrets: std::array::from_fn(|_| splitmix(&mut state)),
        }
    }

    /// Are datagrams put together at all?
    pub fn is_on(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Datagrams held: those that wait for fragments, those given up and not forgotten, those that are whole.
    pub fn held(&self) -> usize {
        self.shares.iter().map(|share| usize::from(*share)).sum()
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
                slot
            }
        };
        let at = usize::from(slot);
        let Some(entry) = self.entries.get_mut(at) else { return taken };
        let Some(buffer) = self.buffers.get_mut(at * BUFFER_BYTES..(at + 1) * BUFFER_BYTES) else { return taken };
        if entry.state != State::Open {
            // Of a datagram that is whole or was given up everything was said.
            taken.anomalies = Anomalies::default();
            return taken;
        }
        let Some(body) = buffer.get_mut(HEAD_BYTES..) else { return taken };
        taken.outcome = entry.take(frame, packet, place, body, &mut taken.anomalies);
        entry.tell(&mut taken.anomalies);
        if entry.is_whole() {
            entry.close(buffer);
            entry.until = now.after(REMEMBERED_NS);
            taken.outcome = Outcome::Whole(slot);
            self.leave_age(slot);
        }
        taken
    }

    /// A whole datagram.
    pub fn datagram(&self, slot: u16) -> Option<Datagram<'_>> {
        let at = usize::from(slot);
        let entry = self.entries.get(at).filter(|entry| entry.state == State::Whole)?;
        let buffer = self.buffers.get(at * BUFFER_BYTES..(at + 1) * BUFFER_BYTES)?;
        let packet = buffer.get(HEAD_BYTES - usize::from(entry.head)..HEAD_BYTES + entry.covered as usize)?;
        Some(Datagram { packet, key: entry.key, direction: entry.direction })
    }

    /// A whole datagram is needed no longer.
    pub fn release(&mut self, slot: u16) {
        if self.entries.get(usize::from(slot)).is_some_and(|entry| entry.state == State::Whole) {
            self.forget(slot, State::Done);
        }
    }

    /// Forgets up to `budget` datagrams whose time is over; tells of those that were not given up before, and when that was.
    pub fn expire(&mut self, now: Timestamp, budget: usize, mut each: impl FnMut(&FlowKey, Direction, Timestamp)) {
        for _ in 0..budget {
            let slot = self.oldest;
            let Some(entry) = self.entries.get(usize::from(slot)).filter(|entry| entry.until < now) else { return };
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

    /// Begins a datagram, in the place of the oldest (of its source, where that has its share) if there is no other.
    fn begin(&mut self, identity: Identity, packet: &Packet, now: Timestamp, evicted: &mut bool) -> Option<u16> {
        let share = identity.source_hash(&self.secrets) as u8;
        if *self.shares.get(usize::from(share))? >= self.share_max {
            let mut slot = self.oldest;
            while self.entries.get(usize::from(slot)).is_some_and(|entry| entry.share != share) {
                slot = self.entries.get(usize::from(slot))?.newer;
            }
            *evicted = self.is_open(slot);
            self.give_up(slot);
        }
        if self.free == NIL {
            *evicted |= self.is_open(self.oldest);
            self.give_up(self.oldest);
        }
        let bucket = self.bucket(&identity);
        let slot = self.free;
        self.leave_bucket(slot);
        let head = self.heads.get_mut(bucket)?;
        let entry = self.entries.get_mut(usize::from(slot))?;
        self.free = entry.next_free;
        entry.is_linked = true;
        entry.begin(identity, packet, now.after(self.timeout_ns), share);
        entry.chain = std::mem::replace(head, slot);
        (entry.older, entry.newer) = (self.newest, NIL);
        match self.entries.get_mut(usize::from(self.newest)) {
            Some(newest) => newest.newer = slot,
            None => self.oldest = slot,
        }
        self.newest = slot;
        if let Some(count) = self.shares.get_mut(usize::from(share)) {
            *count += 1;
        }
        Some(slot)
    }

    /// Nothing shall find the datagram any more; its place is free, unless it is whole and in use.
    fn give_up(&mut self, slot: u16) {
        self.leave_bucket(slot);
        if self.entries.get(usize::from(slot)).is_some_and(|entry| matches!(entry.state, State::Open | State::Dead)) {
            self.leave_age(slot);
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

    fn leave_age(&mut self, slot: u16) {
        let Some(entry) = self.entries.get(usize::from(slot)) else { return };
        let (older, newer) = (entry.older, entry.newer);
        match self.entries.get_mut(usize::from(older)) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(usize::from(newer)) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }

    /// Behind the other free ones, and off its source's share.
    fn forget(&mut self, slot: u16, state: State) {
        let Some(entry) = self.entries.get_mut(usize::from(slot)) else { return };
        (entry.state, entry.next_free) = (state, NIL);
        if let Some(count) = self.shares.get_mut(usize::from(entry.share)) {
            *count = count.saturating_sub(1);
        }
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
