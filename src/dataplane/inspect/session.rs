//! One packet of an inspected flow at its parser: told apart, put in order, shown, and how its sides ended.

mod candidates;
mod datagram;
mod ends;
mod header;
mod others;
mod out;
mod segment;
mod turns;

pub(super) use candidates::{Candidates, usual_of};
pub(super) use datagram::{Left, datagram};
pub use others::OTHERS_LOOKED;
pub(super) use out::Out;
pub(super) use segment::{last_look, segment};
pub(super) use turns::Turns;

use super::counts::{Cause, Unread};
use super::http;
use super::inspector::{Connections, Lease, Payload, Sink};
use super::parse::{Anomaly, Hole, Look, Match, Output, Resume, Step};
use super::parsers::{PROBES, Parser, Probe};
use super::protocol::Protocol;
use super::proxied::{self, Proxied};
use super::receipt::Refusal;
use super::scratch::Scratch;
use super::stream::{
    CHECKSUM_INVALID, GAP_IN_UNIT, HEADER_CHECKSUM_INVALID, IN_FLIGHT_MAX, Note, OVERLAP_DIFFERENT, PROTOCOLS_DIFFER,
    Reader, TIMESTAMP_INVALID,
};
use crate::dataplane::flow::Side;

/// Bytes of one side after which a stream that is nothing so far is nothing.
pub const IDENTIFY_BYTES: usize = 2048;
/// Datagrams after which a flow that may still be something is nothing.
pub const IDENTIFY_DATAGRAMS: u8 = 8;

/// One side of a flow at its parser.
struct Session<'a, 'b, S> {
    side: Side,
    parser: &'a mut Parser,
    candidates: &'a mut Candidates,
    scratch: Option<&'a mut Scratch>,
    /// Memory of HTTP/2, and which of it is this flow's.
    connections: Option<&'a mut Connections>,
    connection: &'a mut Option<Lease>,
    /// The other side has bytes that wait for the protocol to be told.
    other_waits: bool,
    /// So many bytes came before the other side spoke: no more are shown until it was heard.
    limit: Option<usize>,
    /// What this side said before the protocol was told is of another one, and is not shown.
    passes_over: bool,
    /// Of which side the parser has taken nothing yet.
    is_fresh: [bool; 2],
    /// What the connection was first, where it turned into something else.
    first: Option<&'a mut Protocol>,
    /// Which sides were seen from their beginnings: where both were, what is odd about the first words is odd about the
    /// connection.
    is_begun: [bool; 2],
    /// Which side has bytes that waited before this segment.
    holds: [bool; 2],
    /// The parser turned into another one, which is to see first what the other side sent before.
    has_turned: bool,
    /// Anomalies of the connection that were told: a bit for each.
    told: &'a mut u16,
    /// What a proxy said in front of the connection, and whether it may say it now.
    proxied: Option<&'a mut Proxied>,
    awaits_header: bool,
    out: &'a mut Out<'b, S>,
}

impl<S: Sink> Reader for Session<'_, '_, S> {
    fn step(&mut self, bytes: &[u8]) -> Step {
        if self.passes_over {
            return Step::Took(bytes.len());
        }
        if self.awaits_header && self.side == Side::Originator {
            if proxied::may_begin(bytes)
                && let Some(step) = self.pass_header(bytes)
            {
                return step;
            }
            self.awaits_header = false;
        }
        if self.parser.protocol() == Protocol::Unknown {
            let look = look(self.out.payload, self.side, bytes);
            match self.candidates.identify(&look) {
                Some(protocol) => self.found(protocol, &look),
                // Where it is nothing so far, the other side may still tell what it is; these bytes are then read first.
                None if self.candidates.is_open() && bytes.len() < IDENTIFY_BYTES => {
                    return Step::Need(bytes.len() + 1);
                }
                None => {
                    self.candidates.give_up(self.side);
                    return Step::Done;
                }
            }
            if self.other_waits {
                // The parser sees the sides in the order in which they spoke.
                return Step::Need(bytes.len() + 1);
            }
        }
        let Some(limit) = self.limit else { return self.parse(bytes) };
        let shown = bytes.get(..limit).filter(|shown| !shown.is_empty());
        let step = shown.map_or(Step::Need(0), |shown| self.parse(shown));
        match step {
            Step::Took(count) | Step::Pass(count) => self.limit = Some(limit.saturating_sub(count)),
            Step::Skip(count) => self.limit = Some(limit.saturating_sub(usize::try_from(count).unwrap_or(limit))),
            Step::Need(_) => return Step::Need(bytes.len() + 1),
            Step::Done | Step::Broken(_) => {}
        }
        step
    }

    fn gap(&mut self, hole: &Hole<'_>) -> Resume {
        self.out.side = self.side;
        match self.parser.protocol() {
            Protocol::Unknown if http::is_request_so_far(hole.before) => {
                self.found(Protocol::Http, &look(self.out.payload, self.side, hole.before));
                self.parser.gap(self.side, hole, self.out)
            }
            // What comes behind a hole is not how a protocol begins.
            Protocol::Unknown => Resume::Done,
            _ => self.parser.gap(self.side, hole, self.out),
        }
    }

    fn passed(&mut self, count: u64) {
        self.out.side = self.side;
        self.parser.passed(self.side, count, self.out);
    }

    fn note(&mut self, note: Note) {
        let counts = &mut *self.out.counts;
        match note {
            Note::Duplicate => counts.duplicates += 1,
            Note::Overlap => counts.overlaps += 1,
            Note::Refused => counts.note(Cause::Refused, 1),
            Note::Lost => counts.unread.add(Unread::of(Cause::BuffersFull)),
            Note::Beyond => counts.note(Cause::BeyondBuffer, 1),
            Note::Missing(bytes) => counts.note(Cause::GapBytes, bytes),
            Note::Hole { bytes, in_unit } => {
                counts.note(Cause::Holes, 1);
                let likely = bytes.min(IN_FLIGHT_MAX.into());
                counts.note(Cause::GapBytes, likely);
                counts.gap_bytes_unlikely += bytes - likely;
                if in_unit {
                    self.tell_once(GAP_IN_UNIT);
                }
            }
            Note::NotTaken(Refusal::Checksum) => {
                counts.note(Cause::Checksum, 1);
                self.tell_once(CHECKSUM_INVALID);
            }
            Note::NotTaken(Refusal::Header) => {
                counts.note(Cause::Ipv4Checksum, 1);
                self.tell_once(HEADER_CHECKSUM_INVALID);
            }
            Note::NotTaken(Refusal::Timestamp) => {
                counts.note(Cause::Timestamp, 1);
                self.tell_once(TIMESTAMP_INVALID);
            }
            Note::Different => {
                counts.overlaps_different += 1;
                self.tell_once(OVERLAP_DIFFERENT);
            }
        }
    }
}

impl<'a, 'b, S: Sink> Session<'a, 'b, S> {
    /// Of a side that shows what it has as it comes.
    fn new(
        side: Side,
        parser: &'a mut Parser,
        candidates: &'a mut Candidates,
        told: &'a mut u16,
        connection: &'a mut Option<Lease>,
        out: &'a mut Out<'b, S>,
    ) -> Self {
        Session {
            side,
            parser,
            candidates,
            scratch: None,
            connections: None,
            connection,
            other_waits: false,
            limit: None,
            passes_over: false,
            is_fresh: [false; 2],
            first: None,
            is_begun: [false; 2],
            holds: [false; 2],
            has_turned: false,
            told,
            proxied: None,
            awaits_header: false,
            out,
        }
    }

    fn is_fresh(&self, side: Side) -> bool {
        self.is_fresh.get(side as usize).is_some_and(|is_fresh| *is_fresh)
    }

    /// The next words of this side are not its first ones.
    fn is_heard(&mut self) {
        if let Some(is_fresh) = self.is_fresh.get_mut(self.side as usize) {
            *is_fresh = false;
        }
        if let (Side::Originator, Some(proxied)) = (self.side, self.proxied.as_deref_mut()) {
            proxied.is_last = false;
        }
    }

    fn parse(&mut self, bytes: &[u8]) -> Step {
        if self.is_fresh(self.side) {
            // Of a server it is only told, for which its answer must not wait: what the client says next may follow from it.
            let may_wait = self.side == Side::Originator && bytes.len() < IDENTIFY_BYTES;
            if self.is_of_another(bytes) == Match::Maybe && may_wait {
                return Step::Need(bytes.len() + 1);
            }
            let step = self.show(bytes);
            if !matches!(step, Step::Need(_)) {
                self.is_heard();
            }
            return step;
        }
        self.show(bytes)
    }

    /// The sides speak different protocols. Of a connection met in its midst that is nothing: it may have turned from one into
    /// the other (STARTTLS, CONNECT) between what one side said last and what the other one says next.
    fn tell_differ(&mut self) {
        if self.is_begun == [true; 2] {
            self.tell_once(PROTOCOLS_DIFFER);
        }
    }

    /// Did the server say something that the protocol of the client's words has not? It is nothing to its parser. Not where
    /// servers speak first: their greetings have many forms.
    fn is_decoy(&mut self, of: Side, telling: Side) -> bool {
        use Protocol::{Ftp, Imap, MySql, Pop3, Smtp, Ssh, Telnet};
        let told = self.parser.protocol();
        let is_so = (of, telling) == (Side::Responder, Side::Originator)
            && !matches!(told, Protocol::Unknown | Ftp | Imap | MySql | Pop3 | Smtp | Ssh | Telnet)
            && !self.candidates.may_be(of, told);
        if is_so {
            self.tell_differ();
        }
        is_so
    }

    /// Are the first bytes of this side, of which the other one told the protocol, surely of another one? Anybody can put
    /// a greeting in front of what is to be hidden; what a client sends is what its server has to understand, so the
    /// client is believed.
    #[cold]
    fn is_of_another(&mut self, bytes: &[u8]) -> Match {
        let (told, look) = (self.parser.protocol(), look(self.out.payload, self.side, bytes));
        let is_own = |probe: &Probe| probe.protocol == told && (probe.look)(&look) == Match::Yes;
        if PROBES.iter().any(is_own) {
            return Match::No;
        }
        let mut found = Match::No;
        for probe in PROBES.iter().filter(|probe| probe.protocol != told) {
            match probe.sure.map_or(Match::No, |sure| sure(&look)) {
                Match::Yes => {
                    self.tell_differ();
                    if self.side == Side::Originator {
                        self.parser.end(self.out);
                        self.becomes(probe.protocol, &look);
                    }
                    return Match::Yes;
                }
                Match::Maybe => found = Match::Maybe,
                Match::No => {}
            }
        }
        found
    }

    fn show(&mut self, bytes: &[u8]) -> Step {
        self.out.side = self.side;
        let step = match (&mut *self.parser, self.scratch.as_deref_mut()) {
            (Parser::Quic(state), scratch) => state.step_with(self.side, bytes, scratch, self.out),
            (Parser::Dtls(state), scratch) => state.step_with(self.side, bytes, scratch, self.out),
            (Parser::Http2(state), _) => {
                let (index, out) = (&mut *self.connection, &mut *self.out);
                let all = self.connections.as_deref_mut();
                let memory = all.and_then(|all| all.of_flow(index, self.side, out));
                state.step_with(self.side, bytes, memory, self.out)
            }
            (parser, _) => parser.step(self.side, bytes, self.out),
        };
        match self.parser.turns_into() {
            Some(next) if step == Step::Done => self.turn_into(next, bytes),
            _ => step,
        }
    }

    /// Once a flow: it may have many such.
    #[cold]
    fn tell_once(&mut self, anomaly: Anomaly) {
        let bit = 1 << anomaly.index.min(15); // the last for those of headers
        if *self.told & bit == 0 {
            *self.told |= bit;
            self.out.side = self.side;
            self.out.anomaly(anomaly);
        }
    }

    /// The stream goes on as another protocol: both sides do, from what the old parser did not take.
    #[cold]
    fn turn_into(&mut self, next: Protocol, bytes: &[u8]) -> Step {
        self.parser.end(self.out);
        if let Some(first @ Protocol::Unknown) = self.first.as_deref_mut() {
            *first = self.parser.told();
        }
        if self.parser.is_tunnel() {
            self.out.source.is_tunnelled = true;
            self.proxied.iter_mut().for_each(|proxied| proxied.source.is_tunnelled = true);
        }
        *self.parser = Parser::new(next);
        let is_second = self.holds.get(self.side.other() as usize).is_some_and(|holds| *holds);
        if self.parser.protocol() == Protocol::Unknown {
            // A tunnel: what comes is looked at like the beginning of a connection.
            *self.candidates = Candidates::default();
            (self.is_fresh[0], self.awaits_header) = (true, true);
            self.proxied.iter_mut().for_each(|proxied| proxied.is_last = true);
            if is_second && next == Protocol::Unknown {
                self.has_turned = true;
                return Step::Need(bytes.len() + 1);
            }
            return if next == Protocol::Unknown { self.step(bytes) } else { Step::Done };
        }
        self.out.protocol = next;
        self.parser.begin(&Look { is_begun: [true; 2], ..look(self.out.payload, self.side, bytes) });
        if is_second {
            self.has_turned = true;
            return Step::Need(bytes.len() + 1);
        }
        self.show(bytes)
    }

    fn found(&mut self, protocol: Protocol, look: &Look<'_>) {
        self.out.counts.identified += u64::from(!look.is_datagram);
        self.becomes(protocol, look);
    }

    fn becomes(&mut self, protocol: Protocol, look: &Look<'_>) {
        *self.parser = Parser::new(protocol);
        self.parser.begin(&Look { is_begun: self.is_begun, ..*look });
        self.out.protocol = protocol;
    }
}

pub(super) fn look<'a>(payload: &Payload<'_>, side: Side, bytes: &'a [u8]) -> Look<'a> {
    let (originator, responder) = payload.key.endpoints(payload.originator);
    let is_multicast = match responder.ip() {
        std::net::IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        std::net::IpAddr::V6(address) => address.is_multicast(),
    };
    let (is_datagram, ports) = (payload.tcp.is_none(), [originator.port, responder.port]);
    Look { side, bytes, is_datagram, ports, is_multicast, is_begun: [false; 2] }
}
