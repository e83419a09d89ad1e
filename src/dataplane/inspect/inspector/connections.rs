//! What flows of HTTP/2 need beside their entry: from a pool, for as long as they are inspected.
//!
//! Nobody is asked before a place is taken from him: what waits there is told, and he finds out when he looks again, by whose
//! it is. So what is full costs the connection that was silent longest, of the source itself where that has its share.

use super::super::allowance::{Allowance, Allowances};
use super::super::counts::{Cause, Counts};
use super::super::facts::Facts;
use super::super::http2::{BLOCKS, Connection, LONGEST, Memory, Requests};
use super::super::places::{Given, Places};
use super::super::proxied::Source;
use super::super::remembered::Remembered;
use super::super::session::Out;
use super::super::shares::share_of;
use super::{Direction, FlowKey, KeyedHash, Protocol, Side, Sink, nothing};
use crate::units::Timestamp;
use std::num::NonZeroU32;

/// Connections of HTTP/2 at once with memory for their tables and for which requests wait.
pub const CONNECTIONS: u16 = 512;
/// Bytes of each.
pub const CONNECTION_BYTES: usize = size_of::<Owned>();

/// Bits of a place's number in a [`Lease`].
const NUMBER_BITS: u32 = 9;
const _: () = assert!(CONNECTIONS as u32 <= 1 << NUMBER_BITS);

/// A place that somebody has until it is given to another: its number, and in the higher bits how often it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Lease(NonZeroU32);

impl Lease {
    fn number(self) -> u16 {
        (self.0.get() % (1 << NUMBER_BITS)) as u16 // nine bits
    }
}

/// The pool, and that of the requests of all of them.
pub(in super::super) struct Connections {
    all: Vec<Owned>,
    places: Places,
    /// The one that was used last.
    latest: u16,
    requests: Requests,
    /// The queue's, for sources.
    hash: KeyedHash,
    /// Where events of others than the flow at hand are put together.
    facts: Box<Facts>,
    /// None: HTTP/2 asks for no texts of other messages.
    remembered: Remembered,
}

/// One of them, and whose it is.
#[derive(Clone, Default)]
struct Owned {
    connection: Connection,
    lease: Option<Lease>,
    generation: u32,
    slot: u32,
    key: FlowKey,
    originator: Direction,
    first_seen: Timestamp,
    source: Source,
    share: u8,
    /// What may be told of it early.
    allowance: Allowance,
}

impl Connections {
    /// Memory of so many, and of the requests of all.
    pub(super) const fn bytes(count: u16) -> usize {
        count as usize * (size_of::<Owned>() + Places::BYTES) + BLOCKS as usize * Requests::MEMORY
    }

    /// Takes memory for so many, for requests where there is any; `hash` is the queue's.
    pub(super) fn new(count: u16, hash: KeyedHash) -> Connections {
        Connections {
            all: vec![Owned::default(); usize::from(count)],
            places: Places::new(usize::from(count)),
            latest: u16::MAX,
            requests: Requests::new(if count == 0 { 0 } else { BLOCKS }),
            remembered: Remembered::new(0, hash.clone()),
            hash,
            facts: Box::default(),
        }
    }

    /// That of a flow, for what `side` says next; a fresh one where it has none, or none any more. `None`: there are none at
    /// all.
    pub(in super::super) fn of_flow<S: Sink>(
        &mut self,
        lease: &mut Option<Lease>,
        side: Side,
        out: &mut Out<'_, S>,
    ) -> Option<Memory<'_>> {
        let held = match lease.filter(|lease| self.is_held(*lease)) {
            Some(held) => held,
            None => {
                if lease.is_some() {
                    out.counts.leave_unread(Cause::ConnectionsFull); // it was taken away
                }
                self.take(out)?
            }
        };
        *lease = Some(held);
        let number = held.number();
        if self.latest != number {
            self.latest = number;
            self.places.touch(number.into());
        }
        let share = self.all.get(usize::from(number))?.share;
        if side == Side::Originator {
            // A request may follow: it shall have room. Each that goes frees a block at least.
            for _ in 0..LONGEST {
                let Some(whose) = self.requests.in_the_way(share) else { break };
                self.tell_early_beside(whose.connection, Some(whose.first), out);
            }
        }
        let connection = &mut self.all.get_mut(usize::from(number))?.connection;
        Some(Memory { connection, number, share, requests: &mut self.requests })
    }

    fn is_held(&self, lease: Lease) -> bool {
        self.all.get(usize::from(lease.number())).is_some_and(|owned| owned.lease == Some(lease))
    }

    /// Tells what waits of a flow that is over.
    pub(super) fn end<S: Sink>(&mut self, lease: Option<Lease>, out: &mut Out<'_, S>) {
        let Some(lease) = lease else { return };
        match self.all.get_mut(usize::from(lease.number())).filter(|owned| owned.lease == Some(lease)) {
            Some(owned) => _ = owned.connection.tell_all(false, &mut self.requests, out),
            None => out.counts.leave_unread(Cause::ConnectionsFull),
        }
    }

    /// Back among the free ones, if nobody else has it.
    pub(super) fn give_back(&mut self, lease: Option<Lease>) {
        let Some(lease) = lease.filter(|lease| self.is_held(*lease)) else { return };
        if let Some(owned) = self.all.get_mut(usize::from(lease.number())) {
            owned.lease = None;
            owned.connection.free_all(&mut self.requests);
            self.places.give_back(lease.number().into());
        }
    }

    /// One for the flow at hand, if need be that of who was silent longest.
    #[cold]
    fn take<S: Sink>(&mut self, out: &mut Out<'_, S>) -> Option<Lease> {
        let share = share_of(&self.hash, out.payload.key, out.payload.originator);
        let Given { index, was_used } = self.places.take(share)?;
        let number = index as u16; // below CONNECTIONS
        if was_used {
            out.counts.connections_full += 1;
            self.tell_early_beside(number, None, out);
        }
        let owned = self.all.get_mut(usize::from(number))?;
        owned.connection.clear();
        let payload = out.payload;
        let originator = if out.is_turned { payload.originator.flip() } else { payload.originator };
        (owned.slot, owned.key, owned.originator) = (payload.slot, *payload.key, originator);
        (owned.first_seen, owned.source, owned.share) = (payload.first_seen, out.source, share);
        owned.allowance = Allowance::default();
        owned.generation = (owned.generation + 1) % (1 << (u32::BITS - NUMBER_BITS));
        owned.generation = owned.generation.max(1);
        owned.lease = NonZeroU32::new(owned.generation << NUMBER_BITS | index).map(Lease);
        owned.lease
    }

    /// Connections and blocks of requests in use.
    #[cfg(test)]
    pub(super) fn used(&self) -> (usize, usize) {
        (self.places.used(), self.requests.used())
    }

    /// Tells what waits of a flow whose inspection is given up.
    #[cold]
    pub(super) fn give_up(
        &mut self,
        lease: Option<Lease>,
        now: Timestamp,
        sink: &mut impl Sink,
        counts: &mut Counts,
        allowances: &mut Allowances,
    ) {
        if let Some(lease) = lease.filter(|lease| self.is_held(*lease)) {
            self.tell_early(lease.number(), None, now, sink, counts, allowances);
        }
    }

    /// [`Connections::tell_early`] while a flow is at hand.
    #[cold]
    fn tell_early_beside<S: Sink>(&mut self, number: u16, first: Option<u16>, out: &mut Out<'_, S>) {
        let ((own, share), unread) = (out.allowances.at_hand(), out.counts.take_unread());
        self.tell_early(number, first, out.payload.time, out.sink, out.counts, out.allowances);
        out.allowances.begin(own, share);
        out.counts.take_unread(); // of another flow
        out.counts.unread.add(unread);
    }

    /// Tells what waits of a connection, all or one request, for its room is needed.
    #[cold]
    fn tell_early(
        &mut self,
        number: u16,
        first: Option<u16>,
        now: Timestamp,
        sink: &mut impl Sink,
        counts: &mut Counts,
        allowances: &mut Allowances,
    ) {
        let Some(owned) = self.all.get_mut(usize::from(number)) else { return };
        allowances.begin(owned.allowance, owned.share);
        let payload = nothing(owned.slot, &owned.key, owned.originator, [owned.first_seen, now]);
        let (facts, source, protocol) = (&mut *self.facts, owned.source, Protocol::Http2);
        facts.clear();
        let mut out = Out::new(facts, sink, counts, &mut self.remembered, allowances, &payload, protocol).of(source);
        match first {
            Some(first) => {
                owned.connection.tell_early(first, &mut self.requests, &mut out);
                out.counts.facts_full += 1;
            }
            None => {
                let count = owned.connection.tell_all(true, &mut self.requests, &mut out);
                out.counts.events_early += count as u64;
            }
        }
        owned.allowance = out.allowances.own();
    }
}
