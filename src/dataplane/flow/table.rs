//! The table: 64-byte buckets of 16-bit tags and 32-bit slots, two candidate buckets a key, records in a slab.

mod ending;
mod stages;
mod walk;

use super::bucket::{Bucket, WAYS};
use super::record::{EndReason, FlowRecord, Signals, SynKind};
use super::wheel::{Lane, Wheel};
use crate::dataplane::decode::{FlowKey, Packet, tcp_flags};
use crate::sys::hash::KeyedHash;
use crate::sys::memory;
use crate::units::Timestamp;
use ending::end_reason;
use stages::Home;
pub use stages::Staging;

/// Limits and time-outs of one queue's flow table.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Flows at most, at least 16. Memory is `TableStats::bytes`, taken at start: some 152 bytes a flow.
    pub capacity: u32,
    /// TCP from established to the second FIN: idle time before the flow ends, nanoseconds.
    pub established_ns: u64,
    /// Unanswered flow, or a handshake that was not finished: how long after its last packet the contact counts as failed,
    /// nanoseconds.
    pub unanswered_ns: u64,
    /// After both FINs, an RST or a refusal: how long late packets still find the flow, nanoseconds.
    pub closed_ns: u64,
    /// Answered UDP, ICMP and others: idle time, nanoseconds.
    pub datagram_ns: u64,
    /// Payload of TCP and UDP flows is inspected: they raise [`Signals::PAYLOAD`] until nobody wants more of it.
    pub inspect: bool,
    /// That of all other flows is looked at too, for their shapes.
    pub inspect_others: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            capacity: 1 << 18,
            established_ns: 600_000_000_000,
            unanswered_ns: 5_000_000_000,
            closed_ns: 2_000_000_000,
            datagram_ns: 60_000_000_000,
            inspect: false,
            inspect_others: false,
        }
    }
}

/// A handle to a record; stale ones miss because the generation no longer fits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowIndex {
    /// Slot in the slab.
    pub slot: u32,
    /// Generation of the slot when the handle was made.
    pub generation: u16,
}

/// A flow that left the table, borrowed for the call that reports it.
pub struct Ended<'a> {
    /// Its slot.
    pub slot: u32,
    /// Its last state.
    pub record: &'a FlowRecord,
    /// Why it ended.
    pub reason: EndReason,
    /// When it ended in the sense of the rules (last packet plus time-out), however late that was noticed. Never below
    /// what [`FlowTable::expired_until`] said before.
    pub at: Timestamp,
}

/// Outcome of an insert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Insert {
    /// A fresh record stands at the index.
    New(FlowIndex),
    /// No slot could be given (every candidate holds a flow with a packet of this very moment).
    Full,
}

/// Occupancy and health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Flows now.
    pub flows: u32,
    /// Of them not established.
    pub half_open: u32,
    /// Most flows the table takes.
    pub capacity: u32,
    /// Above 15/16 of the capacity or evicting: half-open flows get a fifth of their time. Ends below 3/4.
    pub emergency: bool,
    /// Memory of buckets, records and wheel.
    pub bytes: u64,
}

/// Length of a tick of the wheel: 2^27 ns, 134 ms. Ends are exact whatever the tick; it only bounds how far
/// `expired_until` lags behind. Smaller: the 5 s of an unanswered flow are more than the 64 ticks that the lowest level
/// reaches, and every flow of a flood is put on two lists; larger: the detectors' watermark comes later.
const TICK_BITS: u32 = 27;

/// Flows for which there is one bucket: at 4 of 8 entries in use the two candidate buckets of a key are both full once in
/// tens of millions of inserts. 8 bytes less a flow (6) would make that one in thousands.
const FLOWS_PER_BUCKET: u32 = 4;

/// A key goes to its first bucket up to this many entries, then to the emptier of the two: most lookups need one line.
const FIRST_CHOICE: u32 = 6;

/// Smallest table; below it the limits of the emergency mean nothing.
const LEAST_CAPACITY: u32 = 16;

const _: () = assert!(
    size_of::<FlowRecord>() + Wheel::BYTES_PER_SLOT + size_of::<Bucket>() / FLOWS_PER_BUCKET as usize <= 160,
    "hot state of a flow"
);

/// Fixed-capacity biflow table.
///
/// Times given to it should not step back (a source monotonises its own time stamps, before frames are split between
/// workers): then what ended when does not depend on who noticed it. If they do, everything stays bounded, and ends are
/// reported not earlier than [`FlowTable::expired_until`].
pub struct FlowTable {
    hasher: KeyedHash,
    buckets: Vec<Bucket>,
    records: Vec<FlowRecord>,
    wheel: Wheel,
    settings: Settings,
    /// Shortest of the time-outs, nanoseconds: within it nothing can be overdue.
    shortest_ns: u64,
    /// Shortest of those that a flow with plain packets can have (established, neither half open nor over).
    shortest_settled_ns: u64,
    /// More flows than this: emergency. Fewer than the second: no longer.
    emergency_above: u32,
    emergency_below: u32,
    flows: u32,
    half_open: u32,
    emergency: bool,
    /// Where the sides of the flow begin whose first payload was accounted last.
    beginnings: (FlowIndex, [u32; 2]),
}

impl FlowTable {
    /// Takes all memory and touches it on the calling thread. `secret` keys the hash: per boot and queue, from the
    /// kernel's random source; fixed in tests.
    pub fn new(settings: Settings, secret: [u64; 4]) -> FlowTable {
        let capacity = settings.capacity.clamp(LEAST_CAPACITY, 1 << 30);
        let buckets = capacity.div_ceil(FLOWS_PER_BUCKET);
        FlowTable {
            hasher: KeyedHash::new(secret),
            buckets: memory::filled(buckets as usize, &Bucket::EMPTY),
            records: memory::filled(capacity as usize, &FlowRecord::vacant()),
            wheel: Wheel::new(capacity),
            shortest_ns: settings
                .established_ns
                .min(settings.unanswered_ns)
                .min(settings.closed_ns)
                .min(settings.datagram_ns),
            shortest_settled_ns: settings.established_ns.min(settings.datagram_ns),
            emergency_above: capacity - capacity / 16,
            emergency_below: capacity - capacity / 4,
            settings: Settings { capacity, ..settings },
            flows: 0,
            half_open: 0,
            emergency: false,
            beginnings: (FlowIndex { slot: u32::MAX, generation: 0 }, [0; 2]),
        }
    }

    /// Stage 3: the record of `key`, trying `hint` (from [`FlowTable::probe`]) first. A flow whose time-out has passed at
    /// `now` is ended through `ended` and not found: expiry never depends on when the wheel got to it.
    #[inline(always)]
    pub fn find(
        &mut self,
        hash: u64,
        key: &FlowKey,
        hint: u32,
        now: Timestamp,
        ended: impl FnMut(Ended<'_>),
    ) -> Option<FlowIndex> {
        let slot = self.locate(hash, key, hint)?;
        let record = self.records.get(slot as usize)?;
        // Within the shortest of the time-outs nothing can be overdue; most packets stop here.
        if now.since(record.last_seen) >= self.shortest_ns
            && let Some(at) = self.overdue(record, now)
        {
            self.end(slot, end_reason(record), at, ended);
            return None;
        }
        let record = self.records.get(slot as usize)?;
        Some(FlowIndex { slot, generation: record.generation })
    }

    /// The record of `key` as it is, overdue or not: for what is told of a flow beside its packets.
    pub fn peek(&self, hash: u64, key: &FlowKey) -> Option<&FlowRecord> {
        self.records.get(self.locate_by_probing(hash, key)? as usize)
    }

    /// Adds a flow that `find` did not find. May give up another one, half-open first, through `ended`.
    pub fn insert(&mut self, hash: u64, key: &FlowKey, now: Timestamp, mut ended: impl FnMut(Ended<'_>)) -> Insert {
        let home = self.home(hash);
        let mut bucket = self.choose_bucket(home);
        if bucket.is_none() {
            // Both candidates full: by chance almost never, by intent never without the hash key.
            self.evict_from(home, now, &mut ended);
            bucket = self.choose_bucket(home);
        }
        let Some(chosen) = bucket else { return Insert::Full };
        if self.wheel.is_full() && !self.evict(home, now, &mut ended) {
            return Insert::Full;
        }
        let Some(slot) = self.wheel.take_free() else { return Insert::Full };
        let Some(record) = self.records.get_mut(slot as usize) else { return Insert::Full };
        let inspect = match key.protocol() {
            6 | 17 => self.settings.inspect,
            _ => self.settings.inspect_others,
        };
        record.begin(key, now, inspect);
        let index = FlowIndex { slot, generation: record.generation };
        if let Some(bucket) = self.buckets.get_mut(chosen) {
            bucket.put(home.tag, slot);
        }
        if chosen != home.first
            && let Some(first) = self.buckets.get_mut(home.first)
        {
            first.note_overflow(1);
        }
        self.wheel.schedule(Lane::HalfOpen, slot, tick(now.after(self.settings.unanswered_ns)));
        self.flows += 1;
        self.half_open += 1;
        if self.flows > self.emergency_above {
            self.emergency = true;
        }
        Insert::New(index)
    }

    /// The worker's one call a packet (`packet.hash` and `packet.time` set, `hint` from [`FlowTable::probe`]): finds the
    /// flow or inserts it, accounts the packet and keeps the timer wheel true when the flow changes its state. Where the same
    /// ports begin anew, the old flow ends through `ended`: at a bare SYN where it is closed and had no payload both ways, else
    /// at the answer to one; where both sides have talked and are read, [`Signals::ANEW`] asks what the SYN is. `None`: the table
    /// is full of flows younger than this burst.
    ///
    /// Use this and not `get_mut(..).update(..)`: a record cannot tell the wheel that its time-out became shorter.
    #[inline(always)]
    pub fn account(
        &mut self,
        packet: &Packet,
        hint: u32,
        ended: impl FnMut(Ended<'_>),
    ) -> Option<(FlowIndex, &FlowRecord, Signals)> {
        let (slot, signals) = match self.records.get_mut(hint as usize) {
            Some(record) if record.key == packet.key => {
                let gap = record.fresh_gap(packet.time);
                if record.is_plain(packet) && gap < self.shortest_settled_ns {
                    (hint, record.count(packet, gap))
                } else if gap < self.shortest_ns {
                    self.account_young(packet, hint, ended)?
                } else {
                    self.account_elsewhere(packet, hint, ended)?
                }
            }
            _ => self.account_elsewhere(packet, hint, ended)?,
        };
        let record = self.records.get(slot as usize)?;
        Some((FlowIndex { slot, generation: record.generation }, record, signals))
    }

    /// Accounts the packet of [`Signals::ANEW`], once it is known what it is. `None`: the flow is over, or there is no room.
    #[cold]
    pub fn settle(
        &mut self,
        index: FlowIndex,
        packet: &Packet,
        kind: SynKind,
        ended: impl FnMut(Ended<'_>),
    ) -> Option<(FlowIndex, &FlowRecord, Signals)> {
        let (slot, signals) = match kind {
            SynKind::Anew => self.open(index, packet, is_opening(packet)?, ended)?,
            SynKind::Resent => {
                if is_opening(packet) == Some(false) {
                    // It asks again: another answer than the old one may come of it.
                    self.get_mut(index)?.is_begun_anew(packet.direction, false);
                }
                self.observe(packet, index.slot)?
            }
            SynKind::Dropped => {
                self.observe(packet, index.slot).map(|(at, all)| (at, all.without(Signals::PAYLOAD)))?
            }
        };
        let record = self.records.get(slot as usize)?;
        Some((FlowIndex { slot, generation: record.generation }, record, signals))
    }

    /// An ICMP error at `now` quoted the flow: an unanswered flow becomes closed and [`Signals::REFUSED`] is reported.
    #[cold]
    pub fn refuse(&mut self, index: FlowIndex, now: Timestamp) -> Option<(&FlowRecord, Signals)> {
        let signals = self.get_mut(index)?.refuse(now);
        if signals.has(Signals::MOVED) {
            self.moved(index.slot);
        }
        Some((self.get(index)?, signals.without(Signals::MOVED)))
    }

    /// The record behind a handle, if it is still the same flow.
    #[inline(always)]
    pub fn get(&self, index: FlowIndex) -> Option<&FlowRecord> {
        self.records.get(index.slot as usize).filter(|record| record.generation == index.generation)
    }

    /// The record behind a handle, if it is still the same flow; to write its score.
    #[inline(always)]
    pub fn get_mut(&mut self, index: FlowIndex) -> Option<&mut FlowRecord> {
        self.records.get_mut(index.slot as usize).filter(|record| record.generation == index.generation)
    }

    /// The sequence numbers of the first bytes of originator and responder as far as their SYNs were seen: of the flow whose
    /// first payload was the latest packet that was accounted, and of no other.
    pub fn beginnings(&self, index: FlowIndex) -> [Option<u32>; 2] {
        match self.beginnings {
            (known, numbers) if known == index => numbers.map(|number| Some(number).filter(|number| *number != 0)),
            _ => [None; 2],
        }
    }

    /// Every flow whose end lies before this moment has been reported.
    pub fn expired_until(&self) -> Timestamp {
        Timestamp(self.wheel.done_until() << TICK_BITS)
    }

    /// Occupancy and health.
    pub fn stats(&self) -> TableStats {
        let bytes = size_of_val(self.buckets.as_slice()) + size_of_val(self.records.as_slice()) + self.wheel.bytes();
        TableStats {
            flows: self.flows,
            half_open: self.half_open,
            capacity: self.settings.capacity,
            emergency: self.emergency,
            bytes: bytes as u64,
        }
    }

    /// The slot of `key`, if it has one.
    #[inline(always)]
    fn locate(&self, hash: u64, key: &FlowKey, hint: u32) -> Option<u32> {
        match self.records.get(hint as usize) {
            // A vacant record keeps its last key; the generation tells it from a live one.
            Some(record) if record.key == *key && record.is_live() => Some(hint),
            _ => self.locate_by_probing(hash, key),
        }
    }

    /// All entries of both buckets, tags first: at most sixteen keys are compared.
    #[inline]
    fn locate_by_probing(&self, hash: u64, key: &FlowKey) -> Option<u32> {
        let home = self.home(hash);
        let first = self.buckets.get(home.first)?;
        if let Some(slot) = self.locate_in(first, home.tag, key) {
            return Some(slot);
        }
        if !first.has_overflowed() {
            return None;
        }
        self.locate_in(self.buckets.get(home.second)?, home.tag, key)
    }

    #[inline(always)]
    fn locate_in(&self, bucket: &Bucket, tag: u16, key: &FlowKey) -> Option<u32> {
        let mut matches = bucket.matches(tag);
        while matches != 0 {
            let slot = bucket.slot(matches.trailing_zeros());
            if self.records.get(slot as usize).is_some_and(|record| record.key == *key) {
                return Some(slot);
            }
            matches &= matches - 1;
        }
        None
    }

    /// A packet of the flow in `slot` that has more to it than counting.
    #[inline(never)]
    fn account_young(&mut self, packet: &Packet, slot: u32, ended: impl FnMut(Ended<'_>)) -> Option<(u32, Signals)> {
        if packet.tcp.flags() & tcp_flags::SYN != 0 {
            return self.account_elsewhere(packet, slot, ended);
        }
        self.observe(packet, slot)
    }

    /// A packet whose flow is not plainly the hinted one: found elsewhere, overdue, begun anew, or new.
    #[inline(never)]
    fn account_elsewhere(
        &mut self,
        packet: &Packet,
        hint: u32,
        mut ended: impl FnMut(Ended<'_>),
    ) -> Option<(u32, Signals)> {
        let Some(index) = self.find(packet.hash, &packet.key, hint, packet.time, &mut ended) else {
            return self.begin(packet, ended);
        };
        let Some(is_answer) = is_opening(packet) else { return self.observe(packet, index.slot) };
        if self.get(index)?.is_read_both_ways() {
            return Some((index.slot, Signals::ANEW));
        }
        self.open(index, packet, is_answer, ended)
    }

    /// A SYN, or the answer to one, on a flow that is known: its first packet, or one more of the old one.
    #[inline(never)]
    fn open(
        &mut self,
        index: FlowIndex,
        packet: &Packet,
        is_answer: bool,
        mut ended: impl FnMut(Ended<'_>),
    ) -> Option<(u32, Signals)> {
        let record = self.get_mut(index)?;
        let before = record.first_seen();
        if !record.is_begun_anew(packet.direction, is_answer) {
            return self.observe(packet, index.slot);
        }
        self.end(index.slot, EndReason::Closed, packet.time, &mut ended);
        let begun = self.begin(packet, ended)?;
        if let Some(record) = self.records.get_mut(begun.0 as usize) {
            record.begins_after(before);
        }
        Some(begun)
    }

    /// The first packet of a flow.
    #[inline(always)]
    fn begin(&mut self, packet: &Packet, ended: impl FnMut(Ended<'_>)) -> Option<(u32, Signals)> {
        let Insert::New(index) = self.insert(packet.hash, &packet.key, packet.time, ended) else { return None };
        let record = self.records.get_mut(index.slot as usize)?;
        let signals = record.observe_first(packet);
        let signals = record.with_payload(packet, signals);
        if signals.has(Signals::MOVED) {
            self.moved(index.slot);
        }
        Some((index.slot, signals.without(Signals::MOVED)))
    }

    /// Accounts a packet to a record and moves the flow on the wheel if need be.
    #[inline(always)]
    fn observe(&mut self, packet: &Packet, slot: u32) -> Option<(u32, Signals)> {
        let record = self.records.get_mut(slot as usize)?;
        if FlowRecord::is_of_stream(packet)
            && let Some(numbers) = record.take_beginnings()
        {
            self.beginnings = (FlowIndex { slot, generation: record.generation }, numbers);
        }
        let signals = record.observe(packet, record.gap(packet.time));
        if signals.has(Signals::MOVED) {
            self.moved(slot);
        }
        Some((slot, signals.without(Signals::MOVED)))
    }

    /// After a change of state: the right lane, the right moment, the right count.
    #[inline(never)]
    fn moved(&mut self, slot: u32) {
        let Some(record) = self.records.get_mut(slot as usize) else { return };
        let lane = lane_of(record);
        if lane == Lane::Settled && record.take_counted() {
            self.half_open = self.half_open.saturating_sub(1);
        }
        let deadline = record.last_seen.after(record.timeout_ns(&self.settings));
        self.wheel.unlink(slot);
        self.wheel.schedule(lane, slot, tick(deadline));
    }

    /// The bucket that takes a new key; `None` if both are full.
    #[inline]
    fn choose_bucket(&self, home: Home) -> Option<usize> {
        let first = self.buckets.get(home.first)?.len();
        if first < FIRST_CHOICE {
            return Some(home.first);
        }
        let second = self.buckets.get(home.second)?.len();
        let (chosen, length) = if first <= second { (home.first, first) } else { (home.second, second) };
        (length < WAYS as u32).then_some(chosen)
    }
}

/// Does the packet open its side: `Some(true)` for the answer to a SYN.
fn is_opening(packet: &Packet) -> Option<bool> {
    const ANSWER: u8 = tcp_flags::SYN | tcp_flags::ACK;
    match packet.tcp.flags() & (ANSWER | tcp_flags::FIN | tcp_flags::RST) {
        tcp_flags::SYN => Some(false),
        ANSWER => Some(true),
        _ => None,
    }
}

#[inline(always)]
fn tick(moment: Timestamp) -> u64 {
    moment.0 >> TICK_BITS
}

#[inline(always)]
fn lane_of(record: &FlowRecord) -> Lane {
    if record.is_half_open() { Lane::HalfOpen } else { Lane::Settled }
}

#[cfg(test)]
mod tests;
