//! The table: 64-byte buckets of 16-bit tags and 32-bit indices, two candidate buckets a key, records in a slab.

use super::record::{EndReason, FlowRecord, Signals};
use crate::dataplane::decode::{FlowKey, Packet};
use crate::units::Timestamp;

/// Limits and time-outs of one queue's flow table.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Flows at most. Memory is `TableStats::bytes`, taken at start.
    pub capacity: u32,
    /// TCP established and answered UDP: idle time before the flow ends, nanoseconds.
    pub established_ns: u64,
    /// Unanswered flow: how long an answer may take before the contact counts as failed, nanoseconds.
    pub unanswered_ns: u64,
    /// After both FINs or an RST: how long late packets still find the flow, nanoseconds.
    pub closed_ns: u64,
    /// UDP, ICMP and others: idle time, nanoseconds.
    pub datagram_ns: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            capacity: 1 << 18,
            established_ns: 600_000_000_000,
            unanswered_ns: 5_000_000_000,
            closed_ns: 2_000_000_000,
            datagram_ns: 60_000_000_000,
        }
    }
}

/// A handle to a record; stale ones miss because the generation no longer fits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowIndex {
    /// Slot in the slab.
    pub slot: u32,
    /// Generation of the slot when the handle was made.
    pub generation: u32,
}

/// A flow that left the table, borrowed for the call that reports it.
pub struct Ended<'a> {
    /// Its last state.
    pub record: &'a FlowRecord,
    /// Why it ended.
    pub reason: EndReason,
    /// When it ended in the sense of the rules (last packet plus time-out), however late that was noticed.
    pub at: Timestamp,
}

/// Outcome of an insert.
pub enum Insert {
    /// A fresh record stands at the index.
    New(FlowIndex),
    /// No slot could be given (every candidate holds an established flow younger than this burst).
    Full,
}

/// Occupancy and health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Flows now.
    pub flows: u32,
    /// Of them not yet answered.
    pub half_open: u32,
    /// Most flows the table takes.
    pub capacity: u32,
    /// Above 15/16 of the capacity or evicting: half-open flows get a fifth of their time. Ends below 3/4.
    pub emergency: bool,
    /// Memory of buckets, records and wheel.
    pub bytes: u64,
}

/// Fixed-capacity biflow table.
pub struct FlowTable {}

impl FlowTable {
    /// Takes all memory and touches it on the calling thread. `secret` keys the hash: per boot and queue, from the
    /// kernel's random source; fixed in tests.
    pub fn new(settings: Settings, secret: [u64; 4]) -> FlowTable {
        let _ = (settings, secret);
        unimplemented!("flow")
    }

    /// Keyed hash of a key.
    #[inline(always)]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        let _ = key;
        unimplemented!("flow")
    }

    /// Stage 1: asks for the candidate bucket's cache line.
    #[inline(always)]
    pub fn prefetch_bucket(&self, hash: u64) {
        let _ = hash;
    }

    /// Stage 2: compares tags only and asks for the record's cache lines; returns the likely slot (`u32::MAX`: none).
    #[inline(always)]
    pub fn probe(&self, hash: u64) -> u32 {
        let _ = hash;
        unimplemented!("flow")
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
        let _ = (hash, key, hint, now, &ended);
        unimplemented!("flow")
    }

    /// Adds a flow that `find` did not find. May give up another one, half-open first, through `ended`.
    pub fn insert(&mut self, hash: u64, key: &FlowKey, now: Timestamp, ended: impl FnMut(Ended<'_>)) -> Insert {
        let _ = (hash, key, now, &ended);
        unimplemented!("flow")
    }

    /// The worker's one call a packet (`packet.hash` and `packet.time` set, `hint` from [`FlowTable::probe`]): finds the
    /// flow or inserts it, accounts the packet and keeps the timer wheel true when the flow changes its state. A bare SYN
    /// on a closing or closed flow ends that one through `ended` and begins a new one (port reuse). `None`: the table is
    /// full of flows younger than this burst.
    ///
    /// Use this and not `get_mut(..).update(..)`: a record cannot tell the wheel that its time-out became shorter.
    #[inline(always)]
    pub fn account(
        &mut self,
        packet: &Packet,
        hint: u32,
        ended: impl FnMut(Ended<'_>),
    ) -> Option<(FlowIndex, &FlowRecord, Signals)> {
        let _ = (packet, hint, &ended);
        unimplemented!("flow")
    }

    /// An ICMP error at `now` quoted the flow: an unanswered flow becomes closed and [`Signals::REFUSED`] is reported.
    #[cold]
    pub fn refuse(&mut self, index: FlowIndex, now: Timestamp) -> Option<(&FlowRecord, Signals)> {
        let _ = (index, now);
        unimplemented!("flow")
    }

    /// The record behind a handle, if it is still the same flow.
    #[inline(always)]
    pub fn get(&self, index: FlowIndex) -> Option<&FlowRecord> {
        let _ = index;
        unimplemented!("flow")
    }

    /// The record behind a handle, if it is still the same flow; to write its score.
    #[inline(always)]
    pub fn get_mut(&mut self, index: FlowIndex) -> Option<&mut FlowRecord> {
        let _ = index;
        unimplemented!("flow")
    }

    /// Ends flows that are due, looking at no more than `budget` wheel entries.
    pub fn expire(&mut self, now: Timestamp, budget: usize, ended: impl FnMut(Ended<'_>)) {
        let _ = (now, budget, &ended);
        unimplemented!("flow")
    }

    /// Every flow whose end lies before this moment has been reported.
    pub fn expired_until(&self) -> Timestamp {
        unimplemented!("flow")
    }

    /// Ends every flow (`EndReason::Shutdown`, or by its time-out if that lies before `now`); O(n), for shutdown only.
    pub fn drain(&mut self, now: Timestamp, ended: impl FnMut(Ended<'_>)) {
        let _ = (now, &ended);
        unimplemented!("flow")
    }

    /// Occupancy and health.
    pub fn stats(&self) -> TableStats {
        unimplemented!("flow")
    }
}
