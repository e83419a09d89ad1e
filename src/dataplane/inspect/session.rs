//! One packet of an inspected flow at its parser: told apart, put in order, shown, and how its sides ended.

use super::counts::Counts;
use super::facts::Facts;
use super::inspector::{Entry, Event, Payload, Segment, Sink};
use super::parse::{Anomaly, Hole, Look, Match, Output, Resume, Step};
use super::parsers::{PROBES, Parser};
use super::protocol::Protocol;
use super::rtp;
use super::scratch::Scratch;
use super::stream::{Buffers, Gave, Note, OVERLAP_DIFFERENT, Outcome, Reader, Stream};
use crate::dataplane::flow::Side;

/// Bytes of one side after which a stream that is nothing so far is nothing.
const IDENTIFY_BYTES: usize = 2048;
/// Datagrams after which a flow that may still be something is nothing.
const IDENTIFY_DATAGRAMS: u8 = 8;

/// Output of a parser at work.
pub(super) struct Out<'a, S> {
    pub(super) facts: &'a mut Facts,
    pub(super) sink: &'a mut S,
    pub(super) counts: &'a mut Counts,
    pub(super) payload: &'a Payload<'a>,
    pub(super) protocol: Protocol,
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
    /// Segments that contradict each other were told.
    told: &'a mut bool,
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

    fn gap(&mut self, hole: &Hole<'_>) -> Resume {
        match self.parser.protocol() {
            // What comes behind a hole is not how a protocol begins.
            Protocol::Unknown => Resume::Done,
            _ => self.parser.gap(self.side, hole, self.out),
        }
    }

    fn passed(&mut self, count: u64) {
        self.parser.passed(self.side, count, self.out);
    }

    fn note(&mut self, note: Note) {
        let counts = &mut *self.out.counts;
        match note {
            Note::Duplicate => counts.duplicates += 1,
            Note::Overlap => counts.overlaps += 1,
            Note::Refused => counts.refused += 1,
            Note::Islands => counts.islands_full += 1,
            Note::Beyond => counts.beyond_buffer += 1,
            Note::Missing(bytes) => counts.gap_bytes += bytes,
            Note::Hole(bytes) => {
                counts.holes += 1;
                counts.gap_bytes += bytes;
            }
            Note::Different => {
                counts.overlaps_different += 1;
                // Once a flow: it may have many such.
                if !std::mem::replace(self.told, true) {
                    self.out.anomaly(OVERLAP_DIFFERENT);
                }
            }
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

pub(super) fn look<'a>(payload: &Payload<'_>, side: Side, bytes: &'a [u8]) -> Look<'a> {
    let (originator, responder) = payload.key.endpoints(payload.originator);
    let is_multicast = match responder.ip() {
        std::net::IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        std::net::IpAddr::V6(address) => address.is_multicast(),
    };
    Look { side, bytes, is_datagram: payload.tcp.is_none(), ports: [originator.port, responder.port], is_multicast }
}

/// A segment into its side; then what was kept of the other one until now.
pub(super) fn segment<S: Sink>(
    entry: &mut Entry,
    out: &mut Out<'_, S>,
    buffers: &mut Buffers,
    depth: u64,
    segment: &Segment,
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
        told: &mut entry.told,
        out,
    };
    let mut ends = [None; 2];
    if !unknown && peer.has_news() {
        session.side = side.other();
        ends[1] = Some(peer.resume(depth, buffers, &mut session));
        session.side = side;
    }
    if let Some(number) = segment.acknowledgement.filter(|_| !peer.is_done()) {
        session.side = side.other();
        ends[1] = Some(peer.acknowledged(number, depth, buffers, &mut session));
        session.side = side;
    }
    if segment.is_syn {
        own.opening(segment.sequence, payload.bytes, buffers, &mut session);
    } else if segment.acknowledgement.is_none() {
        session.note(Note::Refused);
    } else if !matches!(ends[1], Some(Outcome::Broken(_))) {
        // Where what waited of the other side turned out broken, the flow is over however its bytes were cut.
        ends[0] = Some(own.segment(segment.sequence, payload.bytes, depth, buffers, &mut session));
    }
    if session.other_waits && session.parser.protocol() != Protocol::Unknown {
        session.other_waits = false;
        session.side = side.other();
        if peer.is_done() {
            note(ends[1].take().unwrap_or(Outcome::Goes), session.out);
        }
        ends[1] = Some(peer.resume(depth, buffers, &mut session));
        session.side = side;
        ends[0] = Some(own.resume(depth, buffers, &mut session));
    }
    if payload.is_cut && !own.is_done() {
        session.out.counts.gap_bytes += own.finish(buffers);
        session.out.counts.cut += 1;
    }
    let mut is_over = false;
    for outcome in ends.into_iter().flatten() {
        is_over |= note(outcome, session.out);
    }
    if entry.candidates == 0 && entry.parser.protocol() == Protocol::Unknown {
        out.counts.unknown += 1;
        entry.done = [true; 2];
    } else if is_over {
        entry.done = [true; 2];
    } else {
        entry.done = std::array::from_fn(|side| entry.sides.get(side).is_none_or(Stream::is_done));
    }
}

/// Shows what came since the parser was asked last: no more will come.
pub(super) fn last_look<S: Sink>(entry: &mut Entry, out: &mut Out<'_, S>, buffers: &mut Buffers, depth: u64) {
    if entry.parser.protocol() == Protocol::Unknown {
        return;
    }
    for (side, stream) in [Side::Originator, Side::Responder].into_iter().zip(&mut entry.sides) {
        if stream.has_news() {
            let (parser, candidates, told) = (&mut entry.parser, &mut entry.candidates, &mut entry.told);
            let (scratch, other_waits) = (None, false);
            let mut session = Session { side, parser, candidates, scratch, other_waits, told, out: &mut *out };
            let outcome = stream.resume(depth, buffers, &mut session);
            note(outcome, out);
        }
    }
}

/// Counts how a side ended; does that end the flow?
fn note<S: Sink>(outcome: Outcome, out: &mut Out<'_, S>) -> bool {
    match outcome {
        Outcome::Goes | Outcome::Done => return false,
        Outcome::GaveUp(Gave::NoBuffer) => out.counts.buffers_full += 1,
        Outcome::GaveUp(Gave::TooLong) => out.counts.unit_too_long += 1,
        // The flow is over for inspection, or each packet of an elephant would be looked at for nothing.
        Outcome::GaveUp(Gave::Depth) => {
            out.counts.depth_reached += 1;
            return true;
        }
        Outcome::Broken(anomaly) => {
            out.counts.broken += 1;
            out.anomaly(anomaly);
            return true;
        }
    }
    false
}

/// A datagram, whole by itself; does the flow want to keep the scratch?
pub(super) fn datagram<S: Sink>(entry: &mut Entry, out: &mut Out<'_, S>, scratch: Option<&mut Scratch>) -> bool {
    let payload = out.payload;
    if payload.is_cut {
        out.counts.cut += 1;
        return false;
    }
    let side = payload.side;
    let (parser, candidates, told) = (&mut entry.parser, &mut entry.candidates, &mut entry.told);
    let mut session = Session { side, parser, candidates, scratch, other_waits: false, told, out };
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
