//! The inspected flows of a queue: which protocol each is, its parser, its two sides, and the limits on all of it.
//!
//! A flow is inspected from its first payload until nothing more of it is of interest, from a pool of fixed size. What is
//! full is counted, and the flow then goes on without being inspected.

use super::facts::Facts;
use super::parse::{Anomaly, Look, Match, Output, Step};
use super::parsers::{PROBES, Parser};
use super::protocol::Protocol;
use super::rtp;
use super::scratch::Scratch;
use super::stream::{BUFFER_BYTES, Buffers, Gave, Outcome, Reader, Stream};
use crate::dataplane::decode::{Direction, FlowKey};
use crate::dataplane::flow::Side;
use crate::units::Timestamp;

/// Limits of one queue's inspection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Flows inspected at once; 0 for no inspection. Some 300 bytes each.
    pub flows: u32,
    /// Sides of connections that wait for the rest of a unit at once; 16.5 KiB each.
    pub buffers: u32,
    /// Flows at once with facts of an event that is not complete; 4 KiB each.
    pub facts: u32,
    /// Bytes of one side that are inspected at most.
    pub depth: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { flows: 1 << 15, buffers: 512, facts: 1 << 12, depth: 1 << 20 }
    }
}

impl Settings {
    /// Memory taken at start for a flow table of `slots`.
    pub fn bytes(&self, slots: u32) -> usize {
        if self.flows == 0 {
            return 0;
        }
        slots as usize * size_of::<u32>()
            + self.flows as usize * (size_of::<Entry>() + size_of::<u32>())
            + self.buffers as usize * BUFFER_BYTES
            + self.facts as usize * size_of::<Facts>()
            + SCRATCHES as usize * size_of::<Scratch>()
    }
}

/// Bytes of one side after which a stream that is nothing so far is nothing.
const IDENTIFY_BYTES: usize = 2048;
/// Datagrams after which a flow that may still be something is nothing.
const IDENTIFY_DATAGRAMS: u8 = 8;

/// What happened, in numbers; every limit has its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Flows whose protocol was told.
    pub identified: u64,
    /// Flows that are none of the protocols.
    pub unknown: u64,
    /// Flows not inspected because the pool was full.
    pub flows_full: u64,
    /// Sides given up because no buffer was free.
    pub buffers_full: u64,
    /// Events sent in parts because no room for their facts was free.
    pub facts_full: u64,
    /// Sides given up because a unit was longer than the largest.
    pub unit_too_long: u64,
    /// Sides inspected as far as the settings allow.
    pub depth_reached: u64,
    /// Sides that the capture cut.
    pub cut: u64,
    /// Flows given up because their parser found them broken.
    pub broken: u64,
    /// Bytes that were acknowledged but never seen: the estimate of what the tap loses.
    pub gap_bytes: u64,
    /// Events.
    pub events: u64,
    /// Anomalies.
    pub anomalies: u64,
}

/// Payload of one packet.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// The flow's slot in its table.
    pub slot: u32,
    /// Its key.
    pub key: &'a FlowKey,
    /// Which way of the key the originator sends.
    pub originator: Direction,
    /// Who sent this.
    pub side: Side,
    /// Sequence and acknowledgement numbers, the latter if its flag is set; `None` for datagrams.
    pub tcp: Option<(u32, Option<u32>)>,
    /// What was captured of it.
    pub bytes: &'a [u8],
    /// The capture cut it.
    pub is_cut: bool,
    /// Capture time.
    pub time: Timestamp,
}

/// Is more of the flow wanted?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wants {
    /// Every payload.
    More,
    /// Nothing: its state is released.
    Nothing,
}

/// Something to tell about a flow.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Capture time of the packet that completed it.
    pub time: Timestamp,
    /// The flow.
    pub key: FlowKey,
    /// Which way of the key the originator sends.
    pub originator: Direction,
    /// What the flow is.
    pub protocol: Protocol,
    /// An anomaly by protocol and number; `None`: the facts are an event.
    pub anomaly: Option<(Protocol, u8)>,
    /// A list of facts ([`Facts::as_bytes`]).
    pub facts: &'a [u8],
    /// A fact was cut or left out.
    pub truncated: bool,
}

/// Where events go.
pub trait Sink {
    /// Takes one; never waits for anybody but a reader of a capture file.
    fn event(&mut self, event: &Event<'_>);
}

/// Hellos of QUIC that are put together at once from several datagrams; 4.6 KB each. One more is read as far as its first
/// datagram goes.
const SCRATCHES: u32 = 256;

/// What a slot of the flow table has here: an entry's number, or one of these.
const NONE: u32 = u32::MAX;
/// Inspection is over; plus the number of the protocol that was found.
const OVER: u32 = u32::MAX - 256;

/// One inspected flow.
#[derive(Default)]
struct Entry {
    parser: Parser,
    /// What it may still be: a bit for each of [`PROBES`].
    candidates: u64,
    sides: [Stream; 2],
    /// Its facts so far, if they wait.
    facts: Option<u32>,
    /// Where a hello of QUIC is put together.
    scratch: Option<u32>,
    datagrams: u8,
    done: [bool; 2],
}

const _: () = assert!(PROBES.len() <= 64);
const _: () = assert!(size_of::<Entry>() <= 320);

/// State of all inspected flows of a queue.
pub struct Inspector {
    settings: Settings,
    /// Entry of each slot of the flow table, [`NONE`], or [`OVER`] and a protocol.
    places: Vec<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    buffers: Buffers,
    saved: Vec<Facts>,
    saved_free: Vec<u32>,
    /// Clean unless in use.
    scratches: Vec<Scratch>,
    scratches_free: Vec<u32>,
    /// Facts of the flow at hand.
    scratch: Box<Facts>,
    counts: Counts,
    has_counted: bool,
}

impl Inspector {
    /// Takes all memory; `slots`: slots of the flow table.
    pub fn new(settings: Settings, slots: u32) -> Inspector {
        let slots = if settings.flows == 0 { 0 } else { slots as usize };
        let facts = if settings.flows == 0 { 0 } else { settings.facts };
        let downwards = |count: u32| (0..count).rev().collect();
        Inspector {
            settings,
            places: vec![NONE; slots],
            entries: (0..settings.flows).map(|_| Entry::default()).collect(),
            free: downwards(settings.flows),
            buffers: Buffers::new(if settings.flows == 0 { 0 } else { settings.buffers as usize }),
            scratches: (0..SCRATCHES).map(|_| Scratch::default()).collect(),
            scratches_free: downwards(SCRATCHES),
            saved: vec![Facts::default(); facts as usize],
            saved_free: downwards(facts),
            scratch: Box::default(),
            counts: Counts::default(),
            has_counted: false,
        }
    }

    /// Was anything counted since the last [`Inspector::take_counts`]?
    pub fn has_counted(&self) -> bool {
        self.has_counted
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

    /// What the flow in this slot carries, as far as it is known.
    pub fn application(&self, slot: u32) -> Protocol {
        match self.places.get(slot as usize) {
            None | Some(&NONE) => Protocol::Unknown,
            Some(&place) if place >= OVER => Protocol::from_number((place - OVER) as u8), // below 256
            Some(&place) => self.entries.get(place as usize).map_or(Protocol::Unknown, |entry| entry.parser.protocol()),
        }
    }

    /// Payload of a flow that is inspected, or that might be. Is more wanted?
    pub fn payload(&mut self, payload: &Payload<'_>, sink: &mut impl Sink) -> Wants {
        self.has_counted = true;
        let Some(index) = self.place(payload.slot) else {
            self.counts.flows_full += 1;
            return Wants::Nothing;
        };
        let Some(entry) = self.entries.get_mut(index as usize) else { return Wants::Nothing };
        load(entry, &mut self.scratch, &self.saved, &mut self.saved_free);
        let mut out = Out {
            facts: &mut self.scratch,
            sink,
            counts: &mut self.counts,
            payload,
            protocol: entry.parser.protocol(),
        };
        match payload.tcp {
            Some((sequence, acknowledgement)) => {
                segment(entry, &mut out, &mut self.buffers, self.settings.depth, sequence, acknowledgement);
            }
            None => {
                let index = entry.scratch.take().or_else(|| self.scratches_free.pop());
                let scratch = index.and_then(|index| self.scratches.get_mut(index as usize));
                let wants = datagram(entry, &mut out, scratch);
                match index {
                    Some(_) if wants => entry.scratch = index,
                    Some(index) => give_back(index, &entry.parser, &mut self.scratches, &mut self.scratches_free),
                    None => {}
                }
            }
        }
        let protocol = entry.parser.protocol();
        if entry.done == [true; 2] {
            out.protocol = protocol;
            entry.parser.end(&mut out);
            self.forget(payload.slot, OVER + protocol as u32);
            return Wants::Nothing;
        }
        if !self.scratch.is_empty() {
            self.save(index, payload, sink);
        }
        Wants::More
    }

    /// The flow in this slot is over; what it carried.
    pub fn end(
        &mut self,
        slot: u32,
        key: &FlowKey,
        originator: Direction,
        time: Timestamp,
        sink: &mut impl Sink,
    ) -> Protocol {
        let Some(place) = self.places.get_mut(slot as usize) else { return Protocol::Unknown };
        let Some(entry) = self.entries.get_mut(*place as usize) else {
            let over = std::mem::replace(place, NONE);
            return if over == NONE { Protocol::Unknown } else { Protocol::from_number((over - OVER) as u8) };
        };
        self.has_counted = true;
        load(entry, &mut self.scratch, &self.saved, &mut self.saved_free);
        let payload =
            Payload { slot, key, originator, side: Side::Originator, tcp: None, bytes: &[], is_cut: false, time };
        let protocol = entry.parser.protocol();
        let counts = &mut self.counts;
        entry.parser.end(&mut Out { facts: &mut self.scratch, sink, counts, payload: &payload, protocol });
        if protocol == Protocol::Unknown {
            self.counts.unknown += 1;
        }
        self.forget(slot, NONE);
        protocol
    }

    /// The entry of this slot, a new one if it has none.
    fn place(&mut self, slot: u32) -> Option<u32> {
        let place = self.places.get_mut(slot as usize)?;
        if *place >= OVER {
            *place = self.free.pop()?;
            let entry = self.entries.get_mut(*place as usize)?;
            *entry = Entry { candidates: u64::MAX, ..Entry::default() };
        }
        Some(*place)
    }

    /// Gives back what the flow has; its slot then says `after`.
    fn forget(&mut self, slot: u32, after: u32) {
        let Some(place) = self.places.get_mut(slot as usize) else { return };
        let index = std::mem::replace(place, after);
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        for side in &mut entry.sides {
            self.counts.gap_bytes += side.lost();
            side.finish(&mut self.buffers);
        }
        if let Some(saved) = entry.facts.take() {
            self.saved_free.push(saved);
        }
        if let Some(index) = entry.scratch.take() {
            give_back(index, &entry.parser, &mut self.scratches, &mut self.scratches_free);
        }
        self.scratch.clear();
        self.free.push(index);
    }

    /// Keeps the facts of a flow until its next packet; sends them as they are where there is no room.
    fn save(&mut self, index: u32, payload: &Payload<'_>, sink: &mut impl Sink) {
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        let room = self.saved_free.pop();
        match room.and_then(|room| self.saved.get_mut(room as usize)) {
            Some(saved) => {
                saved.copy_from(&self.scratch);
                entry.facts = room;
            }
            None => {
                self.counts.facts_full += 1;
                let protocol = entry.parser.protocol();
                Out { facts: &mut self.scratch, sink, counts: &mut self.counts, payload, protocol }.event();
            }
        }
        self.scratch.clear();
    }
}

/// Back among the free ones; cleaned if its flow wrote to it.
fn give_back(index: u32, parser: &Parser, scratches: &mut [Scratch], free: &mut Vec<u32>) {
    if let (Parser::Quic(_) | Parser::Dtls(_), Some(scratch)) = (parser, scratches.get_mut(index as usize)) {
        scratch.clear();
    }
    free.push(index); // it came from there
}

/// Brings back what [`Inspector::save`] kept.
fn load(entry: &mut Entry, scratch: &mut Facts, saved: &[Facts], free: &mut Vec<u32>) {
    scratch.clear();
    if let Some(index) = entry.facts.take() {
        if let Some(facts) = saved.get(index as usize) {
            scratch.copy_from(facts);
        }
        free.push(index); // it came from there
    }
}

/// Output of a parser at work.
struct Out<'a, S> {
    facts: &'a mut Facts,
    sink: &'a mut S,
    counts: &'a mut Counts,
    payload: &'a Payload<'a>,
    protocol: Protocol,
}

impl<S: Sink> Out<'_, S> {
    fn send(&mut self, anomaly: Option<(Protocol, u8)>) {
        self.sink.event(&Event {
            time: self.payload.time,
            key: *self.payload.key,
            originator: self.payload.originator,
            protocol: self.protocol,
            anomaly,
            facts: self.facts.as_bytes(),
            truncated: self.facts.is_truncated(),
        });
    }
}

impl<S: Sink> Output for Out<'_, S> {
    fn facts(&mut self) -> &mut Facts {
        self.facts
    }

    fn event(&mut self) {
        if !self.facts.is_empty() {
            self.counts.events += 1;
            self.send(None);
        }
        self.facts.clear();
    }

    fn anomaly(&mut self, anomaly: Anomaly) {
        self.counts.anomalies += 1;
        self.send(Some((anomaly.protocol, anomaly.index)));
    }
}

/// One side of a flow at its parser.
struct Session<'a, 'b, S> {
    side: Side,
    parser: &'a mut Parser,
    candidates: &'a mut u64,
    scratch: Option<&'a mut Scratch>,
    /// The other side has bytes that wait for the protocol to be told.
    other_waits: bool,
    out: &'a mut Out<'b, S>,
}

impl<S: Sink> Reader for Session<'_, '_, S> {
    fn step(&mut self, bytes: &[u8]) -> Step {
        if self.parser.protocol() == Protocol::Unknown {
            let look = look(self.out.payload, self.side, bytes);
            match identify(&look, self.candidates) {
                Found::Protocol(protocol) => self.found(protocol, &look),
                Found::Perhaps if bytes.len() < IDENTIFY_BYTES => return Step::Need(bytes.len() + 1),
                Found::Perhaps | Found::Nothing => {
                    *self.candidates = 0;
                    return Step::Done;
                }
            }
            if self.other_waits {
                // The parser sees the sides in the order in which they spoke.
                return Step::Need(bytes.len() + 1);
            }
        }
        let step = match (&mut *self.parser, self.scratch.as_deref_mut()) {
            (Parser::Quic(state), scratch) => state.step_with(self.side, bytes, scratch, self.out),
            (Parser::Dtls(state), scratch) => state.step_with(self.side, bytes, scratch, self.out),
            (parser, _) => parser.step(self.side, bytes, self.out),
        };
        match self.parser.turns_into() {
            Some(next) if step == Step::Done => self.turn_into(next, bytes),
            _ => step,
        }
    }

    fn gap(&mut self, bytes: u64) -> Step {
        match self.parser.protocol() {
            // What comes behind a hole is not how a protocol begins.
            Protocol::Unknown => Step::Done,
            _ => self.parser.gap(self.side, bytes, self.out),
        }
    }
}

impl<S: Sink> Session<'_, '_, S> {
    /// The stream goes on as another protocol: both sides do, from what the old parser did not take.
    #[cold]
    fn turn_into(&mut self, next: Protocol, bytes: &[u8]) -> Step {
        self.parser.end(self.out);
        *self.parser = Parser::new(next);
        if self.parser.protocol() == Protocol::Unknown {
            // A tunnel: what comes is looked at like the beginning of a connection.
            *self.candidates = u64::MAX;
            return if next == Protocol::Unknown { self.step(bytes) } else { Step::Done };
        }
        self.out.protocol = next;
        self.parser.begin(&look(self.out.payload, self.side, bytes));
        self.parser.step(self.side, bytes, self.out)
    }

    fn found(&mut self, protocol: Protocol, look: &Look<'_>) {
        *self.parser = Parser::new(protocol);
        self.parser.begin(look);
        self.out.counts.identified += 1;
        self.out.protocol = protocol;
    }
}

/// What a look at the first bytes of a side told.
enum Found {
    Protocol(Protocol),
    Perhaps,
    Nothing,
}

/// Asks the probes that have not said no yet.
fn identify(look: &Look<'_>, candidates: &mut u64) -> Found {
    let mut left = *candidates;
    while left != 0 {
        let bit = left.trailing_zeros();
        left &= left - 1;
        let Some(probe) = PROBES.get(bit as usize) else { break };
        let applies = if look.is_datagram { probe.datagrams } else { probe.streams };
        match if applies { (probe.look)(look) } else { Match::No } {
            Match::Yes => return Found::Protocol(probe.protocol),
            Match::Maybe => {}
            Match::No => *candidates &= !(1 << bit),
        }
    }
    // Bits beyond the last probe mean nothing.
    let known = if PROBES.len() < 64 { (1_u64 << PROBES.len()) - 1 } else { u64::MAX };
    *candidates &= known;
    if *candidates == 0 { Found::Nothing } else { Found::Perhaps }
}

fn look<'a>(payload: &Payload<'_>, side: Side, bytes: &'a [u8]) -> Look<'a> {
    let (originator, responder) = payload.key.endpoints(payload.originator);
    let is_multicast = match responder.ip() {
        std::net::IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        std::net::IpAddr::V6(address) => address.is_multicast(),
    };
    Look { side, bytes, is_datagram: payload.tcp.is_none(), ports: [originator.port, responder.port], is_multicast }
}

fn other(side: Side) -> Side {
    match side {
        Side::Originator => Side::Responder,
        Side::Responder => Side::Originator,
    }
}

/// A segment into its side; then what was kept of the other one until now.
fn segment<S: Sink>(
    entry: &mut Entry,
    out: &mut Out<'_, S>,
    buffers: &mut Buffers,
    depth: u64,
    sequence: u32,
    acknowledgement: Option<u32>,
) {
    let payload = out.payload;
    let (side, unknown) = (payload.side, entry.parser.protocol() == Protocol::Unknown);
    let [first, second] = &mut entry.sides;
    let (own, peer) = if side == Side::Originator { (first, second) } else { (second, first) };
    let mut session = Session {
        side,
        parser: &mut entry.parser,
        candidates: &mut entry.candidates,
        scratch: None,
        other_waits: unknown && !peer.waiting(buffers).is_empty(),
        out,
    };
    let mut ends = [None; 2];
    if let Some(number) = acknowledgement {
        // What the peer's first byte is, where that was not seen; or that it will not be seen any more.
        peer.start(number);
        session.side = other(side);
        ends[1] = Some(peer.acknowledged(number, depth, buffers, &mut session));
        session.side = side;
    }
    ends[0] = Some(own.segment(sequence, payload.bytes, depth, buffers, &mut session));
    if session.other_waits && session.parser.protocol() != Protocol::Unknown {
        session.other_waits = false;
        session.side = other(side);
        ends[1] = Some(peer.resume(depth, buffers, &mut session));
        session.side = side;
        ends[0] = Some(own.resume(depth, buffers, &mut session));
    }
    if payload.is_cut && !own.is_done() {
        own.finish(buffers);
        session.out.counts.cut += 1;
    }
    entry.done = [own.is_done(), peer.is_done()];
    for outcome in ends.into_iter().flatten() {
        entry.done = if note(outcome, session.out) { [true; 2] } else { entry.done };
    }
    if entry.candidates == 0 && entry.parser.protocol() == Protocol::Unknown {
        out.counts.unknown += 1;
        entry.done = [true; 2];
    }
}

/// Counts how a side ended; does that end the flow?
fn note<S: Sink>(outcome: Outcome, out: &mut Out<'_, S>) -> bool {
    match outcome {
        Outcome::Goes | Outcome::Done => return false,
        Outcome::GaveUp(Gave::NoBuffer) => out.counts.buffers_full += 1,
        Outcome::GaveUp(Gave::TooLong) => out.counts.unit_too_long += 1,
        Outcome::GaveUp(Gave::Depth) => out.counts.depth_reached += 1,
        Outcome::Broken(anomaly) => {
            out.counts.broken += 1;
            out.anomaly(anomaly);
            return true;
        }
    }
    false
}

/// A datagram, whole by itself; does the flow want to keep the scratch?
fn datagram<S: Sink>(entry: &mut Entry, out: &mut Out<'_, S>, scratch: Option<&mut Scratch>) -> bool {
    let payload = out.payload;
    if payload.is_cut {
        out.counts.cut += 1;
        return false;
    }
    let side = payload.side;
    let (parser, candidates) = (&mut entry.parser, &mut entry.candidates);
    let mut session = Session { side, parser, candidates, scratch, other_waits: false, out };
    let step = session.step(payload.bytes);
    let is_unknown = session.parser.protocol() == Protocol::Unknown;
    entry.datagrams = entry.datagrams.saturating_add(1);
    if is_unknown && (entry.candidates == 0 || entry.datagrams >= IDENTIFY_DATAGRAMS) {
        out.counts.unknown += 1;
        entry.done = [true; 2];
        return false;
    }
    match step {
        Step::Took(_) | Step::Need(_) | Step::Skip(_) => {}
        Step::Done => {
            if let Some(done) = entry.done.get_mut(side as usize) {
                *done = true;
            }
        }
        // It only looked like it: nothing is wrong.
        Step::Broken(rtp::NOT_CONFIRMED) => {
            out.counts.identified = out.counts.identified.saturating_sub(1);
            out.counts.unknown += 1;
            entry.parser = Parser::None;
            entry.done = [true; 2];
        }
        Step::Broken(anomaly) => {
            note(Outcome::Broken(anomaly), out);
            entry.done = [true; 2];
        }
    }
    match &entry.parser {
        Parser::Quic(state) => state.wants_scratch(),
        Parser::Dtls(state) => state.wants_scratch(),
        _ => false,
    }
}
