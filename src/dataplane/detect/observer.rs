//! The worker's half: flow signals to counts.
//!
//! Each event belongs to one entity and one detector: contacts of a source to [`super::scan`], packets for a target to
//! [`super::flood`], sessions of a client with a service to [`super::brute_force`]. Events are dated by what they mean (the
//! packet, or the time-out that passed), not by when the worker got to them, so that burst size, speed and number of
//! workers leave no trace.

use super::distinct::HashKey;
use super::facts::{Facts, protocol};
use super::window::WindowTable;
use super::{TunnelMark, WindowEntry, arp, brute_force, flood, scan};
use crate::dataplane::decode::{ArpAnswer, ArpQuestion};
use crate::dataplane::flow::{EndReason, Ended, FlowRecord, Signals, TcpState};
use crate::dataplane::inspect::Protocol;
use crate::units::Timestamp;

/// Worker half of all detectors: fixed-size window table fed by flow signals.
///
/// Memory is all taken in [`Observer::new`]. A call costs at most two looks at one set of eight entries each; a new,
/// answered and closed flow makes some six of them in its life.
pub struct Observer {
    table: WindowTable,
    key: HashKey,
}

impl Observer {
    /// Takes all memory here: `capacity` entries of some 300 bytes.
    ///
    /// `secret` keys the table and the bitmaps. Bitmaps of all queues are merged, so it must be **the same for all queues
    /// of a process** (another one than the flow tables', which differ by queue), from the kernel's random source; fixed
    /// in replay and tests.
    pub fn new(capacity: usize, secret: [u64; 4]) -> Observer {
        let key = HashKey::new(secret);
        Observer { table: WindowTable::new(capacity, key), key }
    }

    /// Gives out what it has of an open window too, so often, nanoseconds: a part of a window's length.
    #[must_use]
    pub fn giving_out_every(self, every_ns: u64) -> Observer {
        Observer { table: self.table.giving_out_every(every_ns.max(1)), ..self }
    }

    /// Is [`Signals::REPORT`] on its own of use here? No detector asks how much TCP says; of a long connection's signals
    /// that is every one but a few.
    #[inline]
    pub fn wants_reports(record: &FlowRecord) -> bool {
        record.key.protocol() != protocol::TCP
    }

    /// A packet of time `now` raised signals on a flow, whose tunnel `mark` names and which carries `application` as far as
    /// that is known and was asked. Entries that must leave early (table full) go to `out`.
    #[inline(always)]
    pub fn on_signals(
        &mut self,
        (record, application): (&FlowRecord, Protocol),
        signals: Signals,
        (now, mark): (Timestamp, TunnelMark),
        out: &mut dyn FnMut(&WindowEntry),
    ) {
        self.signalled(&Facts::of(record, application), signals, (now, mark), out);
    }

    /// A flow ended (by FIN, RST, time-out or eviction) that carried `application`.
    #[inline(always)]
    pub fn on_end(
        &mut self,
        ended: &Ended<'_>,
        application: Protocol,
        mark: TunnelMark,
        out: &mut dyn FnMut(&WindowEntry),
    ) {
        self.ended(&Facts::of(ended.record, application), ended.reason, (ended.at, mark), out);
    }

    /// A host asked for a neighbour at time `now`.
    #[cold]
    pub fn on_arp(&mut self, question: ArpQuestion, now: Timestamp, out: &mut dyn FnMut(&WindowEntry)) {
        if let Some(counts) = self.table.counts(arp::entity(question.asker), (now, TunnelMark(0)), out) {
            arp::count(question, &self.key, counts);
        }
    }

    /// A neighbour answered at time `now`.
    #[cold]
    pub fn on_arp_answer(&mut self, answer: ArpAnswer, now: Timestamp, out: &mut dyn FnMut(&WindowEntry)) {
        if let Some(counts) = self.table.counts(arp::entity(answer.asker), (now, TunnelMark(0)), out) {
            arp::count_answer(answer, &self.key, counts);
        }
    }

    /// Gives out entries of windows that end at or before `watermark`, at most `budget` of them, looking at a bounded
    /// number of places. Returns the moment for which this holds: every entry of a window that ended at or before it has
    /// been given out. It never steps back, and reaches `watermark` when all are out.
    ///
    /// The caller promises that no event older than `watermark` follows. One that does is counted in its own window all
    /// the same and given out with the next sweep; the merger will find it late.
    #[inline]
    pub fn flush(&mut self, watermark: Timestamp, budget: usize, out: &mut dyn FnMut(&WindowEntry)) -> Timestamp {
        self.table.flush(watermark, budget, out)
    }

    /// Gives out everything that has been counted, whether its window is over or not, once in each step of `now` of the length that
    /// [`Observer::giving_out_every`] says; bounded as [`Observer::flush`]. `Some` when that is done: then every entry of a window
    /// that ended at or before the moment told has been given out. That moment is the `pledge` of when it began: the caller
    /// promises that no event older than it follows.
    #[inline]
    pub fn look(
        &mut self,
        now: Timestamp,
        pledge: Timestamp,
        budget: usize,
        out: &mut dyn FnMut(&WindowEntry),
    ) -> Option<Timestamp> {
        self.table.look(now, pledge, budget, out)
    }

    #[inline(always)]
    pub(super) fn signalled(
        &mut self,
        facts: &Facts<'_>,
        signals: Signals,
        now: (Timestamp, TunnelMark),
        out: &mut dyn FnMut(&WindowEntry),
    ) {
        if let Some((entity, event)) = flood::Event::of(facts, signals)
            && let Some(counts) = self.table.counts(entity, now, out)
        {
            event.count(facts, &self.key, counts);
        }
        if let Some(event) = scan::Event::at_signals(facts, signals) {
            self.contact(facts, event, now, out);
        }
        // A TCP flow that closes is judged now; others when they end.
        if signals.has(Signals::CLOSED) && facts.protocol == protocol::TCP {
            self.closed(facts, signals, now, out);
        }
    }

    /// A TCP flow closed.
    #[inline(never)]
    fn closed(
        &mut self,
        facts: &Facts<'_>,
        signals: Signals,
        now: (Timestamp, TunnelMark),
        out: &mut dyn FnMut(&WindowEntry),
    ) {
        if let Some(event) = scan::Event::at_close(facts, signals) {
            self.contact(facts, event, now, out);
        }
        self.session(facts, now, out);
    }

    #[inline(always)]
    pub(super) fn ended(
        &mut self,
        facts: &Facts<'_>,
        reason: EndReason,
        at: (Timestamp, TunnelMark),
        out: &mut dyn FnMut(&WindowEntry),
    ) {
        // Closed or refused: judged when that happened.
        if facts.state() == TcpState::Closed {
            return;
        }
        if let Some(event) = scan::Event::at_end(facts, reason) {
            self.count_contact(facts, event, at, out);
        }
    }

    #[inline(never)]
    fn contact(
        &mut self,
        facts: &Facts<'_>,
        event: scan::Event,
        time: (Timestamp, TunnelMark),
        out: &mut dyn FnMut(&WindowEntry),
    ) {
        self.count_contact(facts, event, time, out);
    }

    #[inline(always)]
    fn count_contact(
        &mut self,
        facts: &Facts<'_>,
        event: scan::Event,
        time: (Timestamp, TunnelMark),
        out: &mut dyn FnMut(&WindowEntry),
    ) {
        if let Some(counts) = self.table.counts(super::Entity::Source(facts.source.address), time, out) {
            event.count(facts, &self.key, counts);
        }
    }

    fn session(&mut self, facts: &Facts<'_>, time: (Timestamp, TunnelMark), out: &mut dyn FnMut(&WindowEntry)) {
        if let Some((entity, event)) = brute_force::Event::of(facts, time.0)
            && let Some(counts) = self.table.counts(entity, time, out)
        {
            event.count(facts, &self.key, counts);
        }
    }
}
