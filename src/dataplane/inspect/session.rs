//! One packet of an inspected flow at its parser: told apart, put in order, shown, and how its sides ended.

mod header;

use super::counts::Counts;
use super::facts::Facts;
use super::http;
use super::inspector::{Connections, Entry, Event, Payload, Segment, Sink};
use super::parse::{Anomaly, Hole, Look, Match, Output, Resume, Step};
use super::parsers::{PROBES, Parser, Probe};
use super::protocol::Protocol;
use super::proxied::{self, Proxied, Source};
use super::receipt::{self, Refusal};
use super::rtp;
use super::scratch::Scratch;
use super::stream::{
    Buffers, CHECKSUM_INVALID, GAP_IN_UNIT, Gave, IN_FLIGHT_MAX, Note, OVERLAP_DIFFERENT, Outcome, PROTOCOLS_DIFFER,
    Reader, Stream, TIMESTAMP_INVALID, URGENT,
};
use super::{ssh, tls};
use crate::dataplane::flow::Side;

/// Bytes of one side after which a stream that is nothing so far is nothing.
pub const IDENTIFY_BYTES: usize = 2048;
/// Datagrams after which a flow that may still be something is nothing.
pub const IDENTIFY_DATAGRAMS: u8 = 8;

/// Output of a parser at work.
pub(super) struct Out<'a, S> {
    pub(super) facts: &'a mut Facts,
    pub(super) sink: &'a mut S,
    pub(super) counts: &'a mut Counts,
    pub(super) payload: &'a Payload<'a>,
    pub(super) protocol: Protocol,
    /// Whose the flow is, as a proxy said.
    pub(super) source: Source,
}

impl<S: Sink> Out<'_, S> {
    fn send(&mut self, anomaly: Option<(Protocol, u8)>) {
        self.source.put(self.facts);
        self.sink.event(&Event {
            time: self.payload.time,
            key: *self.payload.key,
            originator: self.payload.originator,
            first_seen: Some(self.payload.first_seen),
            protocol: self.protocol,
            anomaly,
            facts: self.facts.as_bytes(),
            truncated: self.facts.is_truncated(),
            icmp: None,
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

    fn limit(&mut self) {
        self.counts.limits_reached += 1;
    }
}

/// One side of a flow at its parser.
struct Session<'a, 'b, S> {
    side: Side,
    parser: &'a mut Parser,
    candidates: &'a mut Candidates,
    scratch: Option<&'a mut Scratch>,
    /// Memory of HTTP/2, and which of it is this flow's.
    connections: Option<&'a mut Connections>,
    connection: &'a mut Option<u16>,
    /// The other side has bytes that wait for the protocol to be told.
    other_waits: bool,
    /// So many bytes came before the other side spoke: no more are shown until it was heard.
    limit: Option<usize>,
    /// What this side said before the protocol was told is of another one, and is not shown.
    passes_over: bool,
    /// Of which side the parser has taken nothing yet.
    is_fresh: [bool; 2],
    /// The connection was seen from its beginning: what is odd about the first words is odd about the connection.
    is_begun: bool,
    /// Which side has bytes that waited before this segment.
    holds: [bool; 2],
    /// The parser turned into another one, which is to see first what the other side sent before.
    has_turned: bool,
    /// Anomalies of the connection that were told: a bit for each.
    told: &'a mut u8,
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
        self.parser.passed(self.side, count, self.out);
    }

    fn note(&mut self, note: Note) {
        let counts = &mut *self.out.counts;
        match note {
            Note::Duplicate => counts.duplicates += 1,
            Note::Overlap => counts.overlaps += 1,
            Note::Refused => counts.refused += 1,
            Note::Beyond => counts.beyond_buffer += 1,
            Note::Missing(bytes) => counts.gap_bytes += bytes,
            Note::Hole { bytes, in_unit } => {
                counts.holes += 1;
                let likely = bytes.min(IN_FLIGHT_MAX.into());
                counts.gap_bytes += likely;
                counts.gap_bytes_unlikely += bytes - likely;
                if in_unit {
                    self.tell_once(GAP_IN_UNIT);
                }
            }
            Note::NotTaken(Refusal::Checksum) => {
                counts.checksum += 1;
                self.tell_once(CHECKSUM_INVALID);
            }
            Note::NotTaken(Refusal::Timestamp) => {
                counts.timestamp += 1;
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
        told: &'a mut u8,
        connection: &'a mut Option<u16>,
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
            is_begun: false,
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
        if self.is_begun {
            self.tell_once(PROTOCOLS_DIFFER);
        }
    }

    /// Did the server say something that the protocol of the client's words has not? It is nothing to its parser.
    fn is_decoy(&mut self, of: Side, telling: Side) -> bool {
        let told = self.parser.protocol();
        let is_so = (of, telling) == (Side::Responder, Side::Originator)
            && matches!(told, Protocol::Tls | Protocol::Http)
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
        let sure = [
            (Protocol::Tls, tls::is_hello(bytes)),
            (Protocol::Http, http::is_request(bytes)),
            (Protocol::Ssh, ssh::is_version(bytes)),
        ];
        let mut found = Match::No;
        for (protocol, is_it) in sure {
            match is_it {
                Match::Yes => {
                    self.tell_differ();
                    if self.side == Side::Originator {
                        self.parser.end(self.out);
                        self.becomes(protocol, &look);
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
        let step = match (&mut *self.parser, self.scratch.as_deref_mut()) {
            (Parser::Quic(state), scratch) => state.step_with(self.side, bytes, scratch, self.out),
            (Parser::Dtls(state), scratch) => state.step_with(self.side, bytes, scratch, self.out),
            (Parser::Http2(state), _) => {
                let (index, out) = (&mut *self.connection, &mut *self.out);
                let all = self.connections.as_deref_mut();
                let connection = all.and_then(|all| all.of_flow(index, out.payload, out.counts));
                state.step_with(self.side, bytes, connection, self.out)
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
        let bit = 1 << anomaly.index;
        if *self.told & bit == 0 {
            *self.told |= bit;
            self.out.anomaly(anomaly);
        }
    }

    /// The stream goes on as another protocol: both sides do, from what the old parser did not take.
    #[cold]
    fn turn_into(&mut self, next: Protocol, bytes: &[u8]) -> Step {
        self.parser.end(self.out);
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
        self.parser.begin(&look(self.out.payload, self.side, bytes));
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
        self.parser.begin(look);
        self.out.protocol = protocol;
    }

    /// A datagram before its parser sees it: one alone, which anybody can send, must not say for good what a flow is. What is
    /// not sure yet may be anything else, and what has another protocol's port may be that one.
    fn reconsider(&mut self) {
        let told = self.parser.told();
        if self.parser.protocol() != told {
            self.is_another(u64::MAX);
        } else if let Some(usual) =
            usual_of(self.out.payload).filter(|usual| told != Protocol::Unknown && *usual != told)
        {
            self.is_another(mask_of(usual));
        }
    }

    /// Is this datagram of another protocol, of those in the mask? Then it is the flow's from here on.
    fn is_another(&mut self, mask: u64) -> bool {
        let look = look(self.out.payload, self.side, self.out.payload.bytes);
        let mut candidates = Candidates([mask & ALL & !mask_of(self.parser.protocol()); 2]);
        let Some(protocol) = candidates.identify(&look) else { return false };
        self.parser.end(self.out);
        self.found(protocol, &look);
        true
    }
}

/// Protocols that one side's bytes tell whatever the other one sent: who greets, or answers, does not depend on what was sent to
/// it, and a hello of TLS cannot be mistaken. Of the others both sides must look as they should, as far as they do.
const TOLD_BY_ONE: u64 = {
    use Protocol::{Ftp, Http, Imap, MySql, Pop3, Smtp, Ssh, Tls};
    let (mut mask, mut bit, mut left) = (0, 1, PROBES);
    while let [probe, rest @ ..] = left {
        if matches!(probe.protocol, Tls | Http | Ssh | Smtp | Ftp | Pop3 | Imap | MySql) {
            mask |= bit;
        }
        (bit, left) = (bit << 1, rest);
    }
    mask
};

/// The bit of a protocol.
fn mask_of(protocol: Protocol) -> u64 {
    PROBES.iter().position(|probe| probe.protocol == protocol).map_or(0, |at| 1 << at)
}

/// The protocol that datagrams of this flow's ports usually are: the responder's port counts for more.
pub(super) fn usual_of(payload: &Payload<'_>) -> Option<Protocol> {
    let (originator, responder) = payload.key.endpoints(payload.originator);
    usual(responder.port).or_else(|| usual(originator.port))
}

#[rustfmt::skip]
fn usual(port: u16) -> Option<Protocol> {
    Some(match port {
        53 => Protocol::Dns, 67 | 68 | 546 | 547 => Protocol::Dhcp, 69 => Protocol::Tftp, 88 => Protocol::Kerberos,
        123 => Protocol::Ntp, 137 | 138 => Protocol::Nbns, 161 | 162 => Protocol::Snmp, 389 => Protocol::Ldap,
        443 => Protocol::Quic, 500 | 4500 => Protocol::Ike, 514 => Protocol::Syslog, 1194 => Protocol::OpenVpn,
        1812 | 1813 => Protocol::Radius, 1900 => Protocol::Ssdp, 3478 => Protocol::Stun, 5060 => Protocol::Sip,
        5353 => Protocol::Mdns, 5355 => Protocol::Llmnr, 11211 => Protocol::Memcached, 51820 => Protocol::WireGuard,
        _ => return None,
    })
}

/// All of [`PROBES`].
const ALL: u64 = u64::MAX >> (64 - PROBES.len());

/// Who spoke when, before the protocol was told: where a side stood when the other one began to speak.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Turns {
    /// Bytes of the side since its beginning, the later the larger.
    reached: [u32; TURNS],
    /// Whose: a bit each, the responder's 1.
    sides: u8,
    count: u8,
}

/// Turns that are noted; a greeting, a command and an answer tell all protocols that have such.
const TURNS: usize = 4;

impl Turns {
    /// `side` speaks; the other one has reached so many bytes.
    fn speaks(&mut self, side: Side, other: u64) {
        let (of, reached) = (side.other(), u32::try_from(other).unwrap_or(u32::MAX));
        let before = self.iter().filter(|(one, _)| *one == of).map(|(_, reached)| reached).last();
        if u64::from(reached) <= before.unwrap_or(0) {
            return;
        }
        if let Some(place) = self.reached.get_mut(usize::from(self.count)) {
            *place = reached;
            self.sides |= (of as u8) << self.count;
            self.count += 1;
        }
    }

    fn iter(self) -> impl Iterator<Item = (Side, u64)> {
        let sides = self.sides;
        self.reached.into_iter().take(usize::from(self.count)).enumerate().map(move |(at, reached)| {
            (if sides >> at & 1 == 0 { Side::Originator } else { Side::Responder }, u64::from(reached))
        })
    }
}

/// What a flow may still be, as each side's bytes told: a bit for each of [`PROBES`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidates([u64; 2]);

impl Default for Candidates {
    fn default() -> Candidates {
        Candidates([ALL; 2])
    }
}

impl Candidates {
    /// Nothing but this protocol.
    pub(super) fn only(protocol: Protocol) -> Candidates {
        Candidates([mask_of(protocol); 2])
    }

    /// What one side's datagrams are not, the other's are not either.
    fn join(&mut self) {
        let Candidates([originator, responder]) = self;
        (*originator, *responder) = (*originator & *responder, *originator & *responder);
    }

    /// May it still be something?
    pub(super) fn is_open(&self) -> bool {
        self.left(Side::Originator) != 0 || self.left(Side::Responder) != 0
    }

    /// Do this side's bytes not speak against it?
    fn may_be(&self, side: Side, protocol: Protocol) -> bool {
        self.0.get(side as usize).is_some_and(|own| own & mask_of(protocol) != 0)
    }

    /// What this side's bytes may still tell.
    fn left(&self, side: Side) -> u64 {
        let Candidates([originator, responder]) = *self;
        let (own, other) = if side == Side::Originator { (originator, responder) } else { (responder, originator) };
        own & (other | TOLD_BY_ONE)
    }

    /// Nothing that this side still says tells anything.
    fn give_up(&mut self, side: Side) {
        self.keep(side, 0);
    }

    fn keep(&mut self, side: Side, mask: u64) {
        if let Some(own) = self.0.get_mut(side as usize) {
            *own &= mask;
        }
    }

    /// Asks the probes that this side's bytes have not made say no yet.
    fn identify(&mut self, look: &Look<'_>) -> Option<Protocol> {
        let mut left = self.left(look.side);
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            let probe = PROBES.get(bit as usize)?;
            let applies = if look.is_datagram { probe.datagrams } else { probe.streams };
            match if applies { (probe.look)(look) } else { Match::No } {
                Match::Yes => return Some(probe.protocol),
                Match::Maybe => {}
                Match::No => self.keep(look.side, !(1 << bit)),
            }
        }
        None
    }
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
    connections: &mut Connections,
    depth: u64,
    segment: &Segment<'_>,
) {
    let payload = out.payload;
    let (side, unknown) = (payload.side, entry.parser.protocol() == Protocol::Unknown);
    let mut is_fresh = entry.sides.each_ref().map(|stream| stream.passed() == 0);
    is_fresh[0] |= entry.proxied.is_last;
    let [first, second] = &mut entry.sides;
    let (own, peer) = if side == Side::Originator { (first, second) } else { (second, first) };
    let (parser, candidates, told) = (&mut entry.parser, &mut entry.candidates, &mut entry.told);
    let mut session = Session::new(side, parser, candidates, told, &mut entry.connection, out);
    session.connections = Some(connections);
    session.other_waits = unknown && !peer.waiting(buffers).is_empty();
    session.is_fresh = is_fresh;
    (session.proxied, session.awaits_header) = (Some(&mut entry.proxied), is_fresh[0]);
    session.is_begun = own.is_sure() && peer.is_sure();
    if !own.passes_over(segment.sequence, payload.bytes.len()) || peer.wants_acks() {
        let [first, second] = &mut entry.receipts;
        let (own, peer) = if side == Side::Originator { (first, second) } else { (second, first) };
        if let Err(refusal) = receipt::check(own, peer, payload, segment) {
            session.note(Note::NotTaken(refusal));
            return;
        }
    }
    if segment.is_urgent && !payload.bytes.is_empty() {
        session.tell_once(URGENT);
    }
    if unknown {
        entry.turns.speaks(side, peer.reached(buffers));
    }
    for (of, stream) in [(side, &*own), (side.other(), &*peer)] {
        if let Some(holds) = session.holds.get_mut(of as usize) {
            *holds = !stream.is_done() && !stream.waiting(buffers).is_empty();
        }
    }
    let mut ends = [None; 2];
    if !unknown && peer.has_news() {
        session.side = side.other();
        ends[1] = Some(peer.resume(depth, buffers, &mut session));
        session.side = side;
    }
    let is_taken = segment.acknowledgement.is_some_and(|number| peer.is_done() || peer.may_have_sent(number));
    if let Some(number) = segment.acknowledgement.filter(|_| is_taken && !peer.is_done()) {
        session.side = side.other();
        ends[1] = Some(peer.acknowledged(number, depth, buffers, &mut session));
        session.side = side;
    }
    if segment.is_syn {
        own.opening(segment.sequence, payload.bytes, buffers, &mut session);
    } else if !is_taken {
        session.note(Note::Refused);
    } else if !matches!(ends[1], Some(Outcome::Broken(_))) {
        // Where what waited of the other side turned out broken, the flow is over however its bytes were cut.
        ends[0] = Some(own.segment(segment.sequence, payload.bytes, depth, buffers, &mut session));
    }
    let turns = session.has_turned || session.parser.turns_into().is_some();
    if turns && session.holds.get(side.other() as usize).is_some_and(|holds| *holds) {
        // What the other side sent before the answer that it did not wait for is of the next protocol, and comes first.
        session.holds = [false; 2];
        for of in [side.other(), side, side.other()] {
            let (stream, end) = if of == side { (&mut *own, &mut ends[0]) } else { (&mut *peer, &mut ends[1]) };
            session.side = of;
            if matches!(end, None | Some(Outcome::Goes)) {
                *end = Some(stream.resume(depth, buffers, &mut session));
            }
        }
        session.side = side;
    }
    if session.other_waits && session.parser.protocol() != Protocol::Unknown {
        session.other_waits = false;
        if peer.is_done() {
            note(ends[1].take().unwrap_or(Outcome::Goes), session.out);
        }
        // In the order in which they spoke, as far as that was noted; then what is left.
        let turns = entry.turns.iter().map(|(of, reached)| (of, Some(reached)));
        for (of, reached) in turns.chain([(side.other(), None), (side, None)]) {
            let (stream, end) = if of == side { (&mut *own, &mut ends[0]) } else { (&mut *peer, &mut ends[1]) };
            session.side = of;
            session.passes_over = session.is_decoy(of, side);
            session.limit = reached.map(|reached| reached.saturating_sub(stream.passed()) as usize);
            if matches!(end, None | Some(Outcome::Goes)) {
                *end = Some(stream.resume(depth, buffers, &mut session));
            }
        }
        (session.side, session.limit, session.passes_over) = (side, None, false);
    }
    for (of, stream) in [(side, &mut *own), (side.other(), &mut *peer)] {
        if stream.passing() > 0 && session.parser.recalls(of, stream.passing()) {
            stream.recall();
        }
    }
    if payload.is_cut && !own.is_done() {
        session.out.counts.gap_bytes += own.finish(buffers);
        session.out.counts.cut += 1;
    }
    let mut is_over = false;
    for outcome in ends.into_iter().flatten() {
        is_over |= note(outcome, session.out);
    }
    if !entry.candidates.is_open() && entry.parser.protocol() == Protocol::Unknown {
        out.counts.unknown += 1;
        entry.done = [true; 2];
    } else if is_over {
        entry.done = [true; 2];
    } else {
        entry.done = std::array::from_fn(|side| entry.sides.get(side).is_none_or(Stream::is_done));
    }
}

/// Shows what came since the parser was asked last: no more will come.
pub(super) fn last_look<S: Sink>(
    entry: &mut Entry,
    out: &mut Out<'_, S>,
    buffers: &mut Buffers,
    connections: &mut Connections,
    depth: u64,
) {
    if entry.parser.protocol() == Protocol::Unknown {
        return;
    }
    for (side, stream) in [Side::Originator, Side::Responder].into_iter().zip(&mut entry.sides) {
        if stream.has_news() {
            let (parser, candidates, told) = (&mut entry.parser, &mut entry.candidates, &mut entry.told);
            let mut session = Session::new(side, parser, candidates, told, &mut entry.connection, &mut *out);
            session.connections = Some(&mut *connections);
            session.awaits_header = stream.passed() == 0 || entry.proxied.is_last;
            session.proxied = Some(&mut entry.proxied);
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

/// What a datagram leaves behind.
pub(super) enum Left {
    /// The flow goes on.
    Entry,
    /// The flow wants to keep the scratch too.
    Scratch,
    /// Nothing was told, but the port is that of a protocol: what follows is looked at for it.
    Again,
}

/// A datagram, whole by itself.
pub(super) fn datagram<S: Sink>(entry: &mut Entry, out: &mut Out<'_, S>, scratch: Option<&mut Scratch>) -> Left {
    let payload = out.payload;
    if payload.is_cut {
        out.counts.cut += 1;
        return Left::Entry;
    }
    let (side, before) = (payload.side, entry.parser.told());
    let (parser, candidates, told) = (&mut entry.parser, &mut entry.candidates, &mut entry.told);
    let mut session = Session::new(side, parser, candidates, told, &mut entry.connection, out);
    session.scratch = scratch;
    session.reconsider();
    let mut step = session.step(payload.bytes);
    if matches!(step, Step::Broken(_)) && session.is_another(u64::MAX) {
        step = session.step(payload.bytes);
    }
    session.candidates.join();
    let is_unknown = session.parser.protocol() == Protocol::Unknown;
    entry.datagrams = entry.datagrams.saturating_add(1);
    if is_unknown && (!entry.candidates.is_open() || entry.datagrams >= IDENTIFY_DATAGRAMS) {
        return Left::Again;
    }
    if before == Protocol::Unknown && entry.parser.told() != Protocol::Unknown {
        out.counts.identified += 1;
    }
    match step {
        Step::Took(_) | Step::Pass(_) | Step::Need(_) | Step::Skip(_) => {}
        Step::Done => {
            if let Some(done) = entry.done.get_mut(side as usize) {
                *done = true;
            }
        }
        // It only looked like it: nothing is wrong.
        Step::Broken(rtp::NOT_CONFIRMED) => {
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
        Parser::Quic(state) if state.wants_scratch() => Left::Scratch,
        Parser::Dtls(state) if state.wants_scratch() => Left::Scratch,
        _ => Left::Entry,
    }
}
