//! The inspected flows of a queue: which protocol each is, its parser, its two sides, and the limits on all of it.
//!
//! A flow is inspected from its first payload until nothing more of it is of interest, from a pool of fixed size. What is
//! full is counted, and the flow then goes on without being inspected.

mod again;
mod closed;
mod connections;
mod entry;
mod evict;
mod known;
mod opening;
mod payload;
mod refused;
mod rivals;
mod roles;
mod saved;
mod scratches;
mod slots;
mod syns;
mod told;

pub use connections::{CONNECTION_BYTES, CONNECTIONS};
pub(super) use connections::{Connections, Lease};
pub use scratches::SCRATCHES;
use scratches::Scratches;

use super::allowance::{Allowance, Allowances, Rates};
use super::counts::{Cause, Counts, Unread};
use super::facts::Facts;
use super::parsers::{PROBES, Parser};
use super::places::Places;
use super::protocol::Protocol;
use super::proxied::Proxied;
use super::receipt::{Opening, Receipt, SENDERS, Senders};
use super::remembered::{REMEMBERED, Remembered};
use super::session::{Candidates, Left, Out, Turns, datagram, last_look, look, segment, usual_of};
use super::shares::{Shares, share_of};
use super::stream::{BUFFER_MEMORY, Buffers, Stream};
use crate::dataplane::decode::{Direction, FlowKey};
use crate::dataplane::flow::Side;
use crate::sys::hash::KeyedHash;
use crate::units::Timestamp;
pub use payload::{Payload, Segment};
use saved::{Saved, facts_of};
use slots::{AGAIN, BETWEEN, NONE, OVER, UNREAD_SHIFT, WITH_SYN, over, place_of, protocol_of, unread_of};
pub use slots::{AGAIN_MAX, ANEW_MAX};
use syns::Syns;
pub use syns::{SYN_BYTES, SYNS};
pub use told::{Event, Sink, Wants};

/// Limits of one queue's inspection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Flows inspected at once; 0 for no inspection. 624 bytes each at most, and 13 for each flow of the table.
    pub flows: u32,
    /// Sides of connections at once that wait for the rest of a unit longer than 4 KiB, and a quarter of those that wait for
    /// a shorter one; 37.4 KiB each.
    pub buffers: u32,
    /// Flows at once with facts of an event that is not complete; 4 KiB each.
    pub facts: u32,
    /// Bytes of one side that are inspected at most.
    pub depth: u64,
    /// Events that are told at most.
    pub rates: Rates,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { flows: 1 << 15, buffers: 1024, facts: 1 << 12, depth: 1 << 20, rates: Rates::DEFAULT }
    }
}

impl Settings {
    /// Memory taken at start for a flow table of `slots`.
    pub fn bytes(&self, slots: u32) -> usize {
        if self.flows == 0 {
            return 0;
        }
        slots as usize * (size_of::<u32>() + size_of::<Opening>() + size_of::<Protocol>())
            + self.flows as usize * (size_of::<Entry>() + size_of::<u32>())
            + self.buffers as usize * BUFFER_MEMORY
            + self.facts as usize * (size_of::<Saved>() + Places::BYTES)
            + SYNS as usize * Syns::MEMORY
            + Senders::BYTES
            + Scratches::memory(SCRATCHES as usize)
            + Connections::bytes(CONNECTIONS)
            + REMEMBERED * Remembered::MEMORY
            + Allowances::BYTES
    }
}

/// Parsers that remember nothing from datagram to datagram: their flows hold no entry in between, or DNS alone would keep
/// tens of thousands of them until their time-outs.
pub(super) fn remembers_nothing(protocol: Protocol) -> bool {
    use Protocol::{Dhcp, Dns, Llmnr, Mdns, Nbns, Ntp, Radius, Snmp, Syslog};
    matches!(protocol, Dns | Mdns | Llmnr | Nbns | Dhcp | Ntp | Snmp | Radius | Syslog)
}

/// One inspected flow.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) parser: Parser,
    /// What it may still be.
    pub(super) candidates: Candidates,
    pub(super) turns: Turns,
    pub(super) sides: [Stream; 2],
    pub(super) receipts: [Receipt; 2],
    /// Its facts so far, if they wait.
    facts: Option<u32>,
    /// Where its hello is put together, if nobody else took the place.
    scratch: Option<u32>,
    /// What HTTP/2 has beside.
    pub(super) connection: Option<Lease>,
    pub(super) datagrams: u8,
    /// Datagrams of which nothing was told, before this one.
    again: u16,
    pub(super) done: [bool; 2],
    /// Sides whose datagrams the parser wants no more of.
    pub(super) rests: [bool; 2],
    /// Datagrams of each side that were looked at for other protocols than the flow's.
    pub(super) looked: [u8; 2],
    /// What the flow's datagrams were before they were its parser's.
    pub(super) carried: Protocol,
    /// What the connection was first, where it turned into something else.
    pub(super) first: Protocol,
    /// Anomalies of the connection that were told: a bit for each.
    pub(super) told: u16,
    /// Why it was not wholly read so far.
    unread: Unread,
    /// What may be told of it.
    allowance: Allowance,
    pub(super) proxied: Proxied,
    /// Had a packet since the clock's hand was here.
    touched: bool,
    /// The originator looks like the server: the capture began in the middle of its words.
    is_turned: bool,
    /// Of a connection on the same ports as another one, now or once.
    is_former: bool,
    /// The other connection on the same ports, of the one whose segment came last.
    other: Option<u32>,
    /// The first numbers of originator and responder in a handshake of which no data came.
    anew: Option<[u32; 2]>,
    /// Whose it is.
    slot: u32,
    /// Which of the [`Shares`] it counts for.
    share: u8,
    /// It counts for it: since it was kept.
    is_counted: bool,
}

const _: () = assert!(PROBES.len() <= 64);
const _: () = assert!(size_of::<Entry>() <= 624);

/// State of all inspected flows of a queue.
pub struct Inspector {
    settings: Settings,
    /// Entry of each slot of the flow table, [`NONE`], [`OVER`] or [`BETWEEN`] and a protocol, [`AGAIN`] and a count, or
    /// [`WITH_SYN`] and a number.
    places: Vec<u32>,
    /// What the SYNs said of each slot's flow, as long as it had no payload.
    openings: Vec<Opening>,
    /// What each slot's flow was first, where it turned into something else and has no entry any more.
    firsts: Vec<Protocol>,
    entries: Vec<Entry>,
    shares: Shares,
    free: Vec<u32>,
    buffers: Buffers,
    saved: Vec<Saved>,
    saved_places: Places,
    scratches: Scratches,
    connections: Connections,
    remembered: Remembered,
    allowances: Allowances,
    syns: Syns,
    senders: Senders,
    /// The slot of a flow whose end hands its entry over to the next one on its ports, with the numbers of its first bytes where it
    /// had no payload; and the entry.
    keeps: Option<(u32, Option<[u32; 2]>)>,
    kept: Option<u32>,
    /// Entries of connections on the same ports as others.
    formers: u32,
    /// The clock's hand: where the next entry to be given up is looked for.
    hand: usize,
    /// Facts of the flow at hand.
    scratch: Box<Facts>,
    counts: Counts,
    has_counted: bool,
}

impl Inspector {
    /// Takes all memory; `slots`: slots of the flow table. `secret` keys the hashes: from the kernel's random source, fixed in
    /// tests and replays.
    pub fn new(settings: Settings, slots: u32, secret: [u64; 4]) -> Inspector {
        let slots = if settings.flows == 0 { 0 } else { slots as usize };
        let (facts, scratches) = if settings.flows == 0 { (0, 0) } else { (settings.facts, SCRATCHES) };
        let hash = KeyedHash::new(secret);
        Inspector {
            settings,
            places: vec![NONE; slots],
            openings: vec![Opening::default(); slots],
            firsts: vec![Protocol::Unknown; slots],
            entries: (0..settings.flows).map(|_| Entry::default()).collect(),
            shares: Shares::new(settings.flows),
            free: (0..settings.flows).rev().collect(),
            scratches: Scratches::new(scratches, &hash),
            connections: Connections::new(if settings.flows == 0 { 0 } else { CONNECTIONS }, hash.clone()),
            buffers: Buffers::new(if settings.flows == 0 { 0 } else { settings.buffers as usize }, hash),
            remembered: Remembered::new(if settings.flows == 0 { 0 } else { REMEMBERED }, KeyedHash::new(secret)),
            allowances: Allowances::new(settings.rates),
            syns: Syns::new(if settings.flows == 0 { 0 } else { SYNS }),
            saved: vec![Saved::default(); facts as usize],
            saved_places: Places::new(facts as usize),
            senders: Senders::new(if settings.flows == 0 { 0 } else { SENDERS }),
            keeps: None,
            kept: None,
            formers: 0,
            hand: 0,
            scratch: Box::default(),
            counts: Counts::default(),
            has_counted: false,
        }
    }

    /// Was anything counted since the last [`Inspector::take_counts`]?
    pub fn has_counted(&self) -> bool {
        self.has_counted
    }

    /// Bytes found missing, and segments that brought nothing new, since counts were taken: what one packet adds is its
    /// flow's.
    pub fn losses(&self) -> (u64, u64) {
        (self.counts.gap_bytes, self.counts.duplicates)
    }

    /// What happened since the last call.
    pub fn take_counts(&mut self) -> Counts {
        self.has_counted = false;
        std::mem::take(&mut self.counts)
    }

    /// Flows inspected at present.
    pub fn inspected(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// A flow that begins in this slot is of `protocol`, whatever its bytes look like: for those who know it already.
    pub fn assume(&mut self, slot: u32, protocol: Protocol) {
        if let Some(place @ &mut NONE) = self.places.get_mut(slot as usize) {
            *place = BETWEEN + protocol as u32;
        }
    }

    /// Payload of a flow that is inspected, or that might be. Is more wanted?
    pub fn payload(&mut self, payload: &Payload<'_>, sink: &mut impl Sink) -> Wants {
        self.has_counted = true;
        if let Some(wants) = self.waits(payload) {
            return wants;
        }
        if payload.tcp.is_none()
            && let Some(cause) = self.senders.refuses(payload, self.buffers.hash())
        {
            self.refuse(cause, payload, sink);
            return Wants::PAYLOAD;
        }
        let Some(mut index) = self.place(payload, sink) else { return Wants::NOTHING };
        let is_contested = self.entries.get(index as usize).is_some_and(Entry::is_contested);
        if is_contested {
            index = self.nearest(index, payload, sink);
        }
        let is_turned = self.entries.get_mut(index as usize).is_some_and(|entry| {
            if entry.turns.is_doubted {
                entry.ask_who_serves(payload, &self.buffers);
            }
            entry.is_turned
        });
        let mut wants = self.show(index, &if is_turned { payload.turned() } else { *payload }, sink);
        if is_turned {
            wants.payload.reverse();
        }
        if is_contested { self.wanted(payload.slot) } else { wants }
    }

    /// Nothing of this is to be looked at yet; what more is wanted then. Data of a SYN that nobody has answered are kept aside.
    #[inline]
    fn waits(&mut self, payload: &Payload<'_>) -> Option<Wants> {
        let place = self.places.get_mut(payload.slot as usize)?;
        let is_waiting = (WITH_SYN..AGAIN).contains(place);
        if payload.bytes.is_empty() {
            return match *place {
                OVER..NONE => Some(Wants::NOTHING),
                AGAIN.. => Some(Wants::PAYLOAD),
                _ if is_waiting && payload.side == Side::Originator => Some(Wants { acks: true, ..Wants::PAYLOAD }),
                _ => None,
            };
        }
        let syn = payload.tcp.filter(|tcp| tcp.is_syn && tcp.acknowledgement.is_none() && *place == NONE)?;
        *place = WITH_SYN + self.syns.keep(payload.key, syn.sequence, payload.bytes)?;
        Some(Wants { acks: true, ..Wants::PAYLOAD })
    }

    /// [`Inspector::payload`] of an entry, seen as its parser is to see it.
    #[inline]
    fn show(&mut self, index: u32, payload: &Payload<'_>, sink: &mut impl Sink) -> Wants {
        let Some(entry) = self.entries.get_mut(index as usize) else { return Wants::NOTHING };
        entry.touched = true;
        self.buffers.serve(entry.share);
        self.allowances.begin(entry.allowance, entry.share);
        let (protocol, source) = (entry.parser.protocol(), entry.proxied.source);
        let facts = facts_of(entry, &mut self.saved, &mut self.scratch);
        let mut out =
            Out::new(facts, sink, &mut self.counts, &mut self.remembered, &mut self.allowances, payload, protocol)
                .of(source);
        match &payload.tcp {
            Some(tcp) => {
                segment(entry, &mut out, &mut self.buffers, &mut self.connections, self.settings.depth, tcp);
                entry.unread.add(out.counts.take_unread());
                entry.allowance = out.allowances.own();
                // Of others: they find out when they look again.
                out.counts.buffers_full += self.buffers.taken_away();
            }
            None => {
                if self.scratches.is_lost(entry.scratch, index) {
                    entry.unread.add(Unread::of(Cause::ScratchesFull));
                }
                let left = datagram(entry, &mut out, self.scratches.open(entry.scratch, index));
                entry.unread.add(out.counts.take_unread());
                entry.allowance = out.allowances.own();
                let keeps = matches!(left, Left::Scratch);
                let is_taken = self.scratches.close(&mut entry.scratch, index, entry.share, keeps);
                out.counts.scratches_full += u64::from(is_taken); // from another, as above
                if out.is_turned {
                    entry.is_turned = !entry.is_turned;
                    entry.done.reverse();
                    entry.rests.reverse();
                    entry.looked.reverse();
                }
                if matches!(left, Left::Again) {
                    return self.told_nothing(index, payload, sink);
                }
            }
        }
        let protocol = entry.parser.told();
        if entry.done == [true; 2] {
            out.protocol = protocol;
            end_parser(entry, &mut self.connections, &mut out);
            entry.unread.add(out.counts.take_unread());
            let after = over(entry);
            self.forget(payload.slot, after);
            return Wants::NOTHING;
        }
        let (mut wants, is_open, is_turned) = (entry.wants(), !out.facts.is_blank(), out.is_turned);
        if is_turned {
            wants.payload.reverse(); // as they were when this was shown
        }
        if !std::mem::replace(&mut entry.is_counted, true) {
            self.shares.take(entry.share);
        }
        if is_open && entry.facts.is_none() {
            match is_turned {
                true => self.save(index, &payload.turned(), sink),
                false => self.save(index, payload, sink),
            }
        } else if !is_open && let Some(saved) = entry.facts.take() {
            self.saved_places.give_back(saved);
        } else if is_turned && let Some(saved) = entry.facts.and_then(|saved| self.saved.get_mut(saved as usize)) {
            saved.originator = saved.originator.flip();
        }
        if !is_open && payload.tcp.is_none() && remembers_nothing(protocol) {
            let entry = self.entries.get(index as usize);
            let (unread, allowance) = entry.map(|entry| (entry.unread, entry.allowance)).unwrap_or_default();
            if let Some(opening) = self.openings.get_mut(payload.slot as usize) {
                *opening = Opening::keeping(allowance.0);
            }
            self.forget(payload.slot, place_of(BETWEEN, protocol, unread));
        }
        wants
    }

    /// The flow in this slot is over, which began at the first of the times and ended at the other one; what it carried, and
    /// why it was not wholly read.
    pub fn end(
        &mut self,
        slot: u32,
        key: &FlowKey,
        originator: Direction,
        [first_seen, time]: [Timestamp; 2],
        sink: &mut impl Sink,
    ) -> (Protocol, Unread) {
        if self.keeps.is_some()
            && let Some(told) = self.hand_over(slot, key, originator, [first_seen, time], sink)
        {
            return told;
        }
        let (mut protocol, mut unread) = self.end_one(slot, key, originator, [first_seen, time], sink);
        while self.places.get(slot as usize).is_some_and(|place| *place < WITH_SYN) {
            let (other, more) = self.end_one(slot, key, originator, [first_seen, time], sink);
            unread.add(more);
            protocol = if protocol == Protocol::Unknown { other } else { protocol };
        }
        (protocol, unread)
    }

    /// The same of its first entry, or its place.
    fn end_one(
        &mut self,
        slot: u32,
        key: &FlowKey,
        originator: Direction,
        [first_seen, time]: [Timestamp; 2],
        sink: &mut impl Sink,
    ) -> (Protocol, Unread) {
        let (Some(place), Some(first)) = (self.places.get_mut(slot as usize), self.firsts.get_mut(slot as usize))
        else {
            return Default::default();
        };
        *first = Protocol::Unknown;
        let Some(entry) = self.entries.get_mut(*place as usize) else {
            let place = std::mem::replace(place, NONE);
            let is_unknown = (AGAIN..BETWEEN).contains(&place);
            self.counts.unknown += u64::from(is_unknown);
            self.has_counted |= is_unknown;
            return (protocol_of(place), unread_of(place));
        };
        self.has_counted = true;
        let originator = if entry.is_turned { originator.flip() } else { originator };
        let payload = nothing(slot, key, originator, [first_seen, time]);
        let protocol = entry.parser.told();
        let carried = entry.told();
        let facts = facts_of(entry, &mut self.saved, &mut self.scratch);
        let source = entry.proxied.source;
        self.allowances.begin(entry.allowance, entry.share);
        let mut out =
            Out::new(facts, sink, &mut self.counts, &mut self.remembered, &mut self.allowances, &payload, protocol)
                .of(source);
        last_look(entry, &mut out, &mut self.buffers, &mut self.connections, self.settings.depth);
        end_parser(entry, &mut self.connections, &mut out);
        self.counts.unknown += u64::from(carried == Protocol::Unknown);
        let mut unread = entry.unread;
        unread.add(self.forget(slot, NONE));
        (carried, unread)
    }

    /// The flow's entry, a new one if it has none; `None` where inspection was given up or can have none.
    fn place(&mut self, payload: &Payload<'_>, sink: &mut impl Sink) -> Option<u32> {
        let place = *self.places.get(payload.slot as usize)?;
        if place < WITH_SYN {
            return Some(place);
        }
        if self.is_over(payload.slot) {
            return None;
        }
        let share = share_of(self.buffers.hash(), payload.key, payload.originator);
        let Some(index) = self.free.pop().or_else(|| self.evict(share, payload.time, sink)) else {
            self.counts.flows_full += 1;
            *self.places.get_mut(payload.slot as usize)? =
                place_of(OVER, Protocol::Unknown, Unread::of(Cause::FlowsFull));
            return None;
        };
        let entry = self.entries.get_mut(index as usize)?;
        let is_doubted = place == NONE && payload.is_in_midst();
        let is_turned = is_doubted && payload.has_servers_port();
        *entry = Entry { slot: payload.slot, is_turned, turns: Turns::new(is_doubted), share, ..Entry::default() };
        let beginnings = payload.tcp.map_or([None; 2], |tcp| tcp.beginnings);
        let ([originator, responder], [asked, answered]) = (&mut entry.sides, beginnings);
        if let Some(sequence) = answered {
            responder.begin(sequence);
        }
        match (asked, answered) {
            (Some(sequence), Some(_)) => originator.begin(sequence),
            // A SYN that nobody answered may be forged.
            (Some(sequence), None) => originator.guess(sequence),
            (None, _) => {}
        }
        if let (Some(_), Some(opening)) = (asked.or(answered), self.openings.get(payload.slot as usize)) {
            entry.receipts = opening.receipts(answered.is_some());
        }
        if place < AGAIN {
            match self.syns.get(place - WITH_SYN, payload.key) {
                Some((sequence, data)) => _ = originator.hold_opening(sequence, data, &mut self.buffers),
                None => self.counts.note(Cause::BuffersFull, 1),
            }
        } else if place < BETWEEN {
            entry.again = (place - AGAIN) as u16; // below 1024
            if place - AGAIN >= ANEW_MAX {
                entry.candidates = usual_of(payload).map_or(Candidates::default(), Candidates::only);
            }
        } else if place < OVER {
            entry.unread = unread_of(place);
            if payload.tcp.is_none() {
                let kept = self.openings.get(payload.slot as usize).map_or(0, |opening| opening.kept());
                entry.allowance = Allowance(kept);
            }
            entry.parser = Parser::new(protocol_of(place));
            entry.parser.begin(&look(payload, payload.side, payload.bytes));
        }
        *self.places.get_mut(payload.slot as usize)? = index;
        Some(index)
    }

    /// Gives back what the flow has; its slot then says `after`, and what that itself leaves unread, which is given.
    fn forget(&mut self, slot: u32, after: u32) -> Unread {
        let Some(place) = self.places.get_mut(slot as usize) else { return Unread::default() };
        let index = std::mem::replace(place, after);
        let Some(entry) = self.entries.get_mut(index as usize) else { return Unread::default() };
        if std::mem::take(&mut entry.is_counted) {
            self.shares.give_back(entry.share);
        }
        let before = entry.unread;
        for side in &mut entry.sides {
            self.counts.note(Cause::GapBytes, side.finish(&mut self.buffers));
        }
        if self.scratches.is_lost(entry.scratch, index) {
            self.counts.unread.add(Unread::of(Cause::ScratchesFull));
        }
        let unread = self.counts.take_unread();
        let is_awaited = entry.anew.take().is_some();
        self.formers -= u32::from(std::mem::take(&mut entry.is_former));
        let other = entry.other.take();
        if let Some(other) = other {
            *place = other;
        } else if is_awaited && after != NONE {
            // The handshake behind it may still bring a connection.
            let mut all = before;
            all.add(unread);
            *place = place_of(BETWEEN, Protocol::Unknown, all);
        } else if (BETWEEN..NONE).contains(place) {
            *place |= unread.bits() << UNREAD_SHIFT;
        }
        if (BETWEEN..NONE).contains(place)
            && entry.first != Protocol::Unknown
            && let Some(first) = self.firsts.get_mut(slot as usize)
        {
            *first = entry.first;
        }
        if let Some(saved) = entry.facts.take() {
            self.saved_places.give_back(saved);
        }
        self.scratches.give_back(entry.scratch.take(), index);
        self.connections.give_back(entry.connection.take());
        self.scratch.clear();
        self.free.push(index);
        if let Some(other) = other.and_then(|other| self.entries.get_mut(other as usize)) {
            // Goes on, with what is to be told of the flow.
            other.unread.add(unread);
            other.unread.add(before);
        }
        unread
    }
}

/// Tells what is still to be told of a flow.
fn end_parser<S: Sink>(entry: &mut Entry, connections: &mut Connections, out: &mut Out<'_, S>) {
    connections.end(entry.connection, out);
    entry.parser.end(out);
}

/// No packet: for what is told without one, of a flow that began at the first of the times.
fn nothing(slot: u32, key: &FlowKey, originator: Direction, [first_seen, time]: [Timestamp; 2]) -> Payload<'_> {
    let side = Side::Originator;
    Payload { slot, key, originator, first_seen, side, tcp: None, bytes: &[], before: &[], is_cut: false, time }
}

#[cfg(test)]
mod tests;
