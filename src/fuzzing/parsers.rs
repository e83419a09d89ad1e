//! Each parser by itself, in groups: the flow is said to be of the protocol, so that every input reaches its `step`, and
//! what a flow goes through in life (order of bytes, pools, wording) is around it.
//!
//! An input: a byte for the protocol within the group; one for transport (lowest bit, where both are possible), multicast
//! (next bit) and responder's port; then payloads, each with a byte for its side and place, a byte of length, and the bytes
//! (the rules of [`Piece`]).

use super::PORTS;
use crate::control::export::{AppEvent, EveWriter};
use crate::dataplane::decode::FlowKey;
use crate::dataplane::flow::Side;
use crate::dataplane::inspect::{
    self, FACTS_BYTES, Facts, Inspector, Kind, Look, Match, PROBES, Payload, Probe, Protocol, Segment, Sink, TABLE,
    Wants, quic,
};
use crate::exchange::EventHead;
use crate::units::{SECOND, Timestamp};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};

/// Protocols that are fuzzed together; every one of [`PROBES`] is in exactly one.
pub const GROUPS: &[(&str, &[Protocol])] = &{
    use Protocol::*;
    [
        ("names", &[Dns, Mdns, Llmnr, Nbns, Dhcp, Ssdp] as &[Protocol]),
        ("tls", &[Tls, Dtls]),
        ("quic", &[Quic]),
        ("http", &[Http, Http2, WebSocket, Sip]),
        ("windows", &[Smb, DceRpc, Kerberos, Ldap, Rdp]),
        ("mail", &[Smtp, Imap, Pop3, Ftp, Telnet]),
        ("industry", &[Modbus, Dnp3, Iec104, S7, Mqtt, Snmp, Ntp, Radius, Tftp, Syslog]),
        ("stores", &[Redis, MySql, PostgreSql, Memcached, Stratum, BitTorrent, MongoDb]),
        ("peers", &[Ssh, WireGuard, OpenVpn, Ike, Stun, Rtp, Socks]),
    ]
};

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[doc = concat!("Group `", stringify!($name), "`.")]
        pub(super) fn $name(data: &[u8]) {
            group(stringify!($name), data);
        })*
    };
}
targets! { names tls quic http windows mail industry stores peers }

/// One payload.
struct Piece<'a> {
    side: Side,
    bytes: Cow<'a, [u8]>,
    /// Bytes by which it lies off its place in the stream.
    jump: i32,
    acknowledges: bool,
    is_cut: bool,
}

impl<'a> Piece<'a> {
    /// Bits of the first byte: 0 the responder's, 1 off its place by the five highest bits (signed), 2 without
    /// acknowledgement; all of the five and not off its place: cut by the capture. In QUIC, bit 3: the bytes are the frames
    /// of an Initial packet, of the version that bits 4 to 6 say.
    fn read(data: &mut &'a [u8], protocol: Protocol) -> Option<Piece<'a>> {
        let [place, length, rest @ ..] = *data else { return None };
        // Short ones are exact, so that turns end where they mean to; the others reach what a packet can hold.
        let length = usize::from(*length) + usize::from(length.saturating_sub(200)) * 19;
        let (bytes, rest) = rest.split_at(length.min(rest.len()));
        *data = rest;
        let side = if place & 1 == 0 { Side::Originator } else { Side::Responder };
        let is_off = place & 2 != 0;
        let is_sealed = protocol == Protocol::Quic && place & 8 != 0;
        Some(Piece {
            side,
            bytes: if is_sealed { sealed(bytes, side, place >> 4 & 7).into() } else { bytes.into() },
            jump: if is_off { i32::from((*place).cast_signed() >> 3) } else { 0 },
            acknowledges: place & 4 == 0,
            is_cut: !is_off && place & 0xf8 == 0xf8 && protocol != Protocol::Quic,
        })
    }
}

/// Connection id from which the keys follow.
const CONNECTION: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
/// Versions 1 and 2, drafts, and Google's.
const VERSIONS: [u32; 8] =
    [1, 0x6b33_43cf, 0xff00_001d, 0xff00_0017, 0xff00_0016, 0x5130_3530, 0x5430_3531, 0xff02_0000];

/// An Initial packet with these frames.
fn sealed(frames: &[u8], from: Side, version: u8) -> Vec<u8> {
    let version = VERSIONS[usize::from(version)];
    let first = if version == 0x6b33_43cf { 0xd1 } else { 0xc1 };
    // Header protection samples sixteen bytes from the fourth on, and padding is a frame.
    let mut plain = frames.to_vec();
    plain.resize(plain.len().max(4), 0);
    let ids: &[u8] =
        if from == Side::Originator { &[8, 0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08, 0] } else { &[0, 1, 7] };
    let length = 0x4000 | (plain.len() + 2 + 16) as u16; // an input is shorter than 16 KiB
    let header = [&[first][..], &version.to_be_bytes(), ids, &[0], &length.to_be_bytes(), &[0, 1]].concat();
    quic::seal(&header, 2, &plain, version, &CONNECTION, from).unwrap_or_default()
}

/// How the turns of a conversation are cut.
#[derive(Clone, Copy)]
enum Cut {
    /// As the input says.
    Given,
    /// What one side says at a time comes in one piece.
    Turns,
    /// In pieces of so many bytes.
    Small(usize),
}

/// A flow of one protocol.
struct Case<'a> {
    protocol: Protocol,
    is_stream: bool,
    key: FlowKey,
    originator: crate::dataplane::decode::Direction,
    port: u16,
    is_multicast: bool,
    pieces: Vec<Piece<'a>>,
}

/// What a run came to: the flow's protocol at its end, and its events.
type Outcome = (Protocol, Vec<Told>);

/// A fact: protocol, number, value.
type Value = (u8, u8, Vec<u8>);

/// The facts in the order of their table, those of one kind as they came: nobody sees which kind came first, and that is another
/// one where both sides speak before they are answered.
fn sorted(facts: &[u8]) -> Vec<Value> {
    let mut all: Vec<Value> = Facts::read(facts).map(|one| (one.protocol, one.index, one.value.to_vec())).collect();
    all.sort_by_key(|(protocol, index, _)| (*protocol, *index));
    all
}

/// An event, and what was with it.
#[derive(PartialEq, Eq, Debug)]
struct Told {
    protocol: Protocol,
    anomaly: Option<(Protocol, u8)>,
    facts: Vec<Value>,
    truncated: bool,
}

/// Looks at every event as the control plane does, and keeps it.
#[derive(Default)]
struct Telling {
    told: Vec<Told>,
    /// Also writes each as a line.
    writes: bool,
    /// One is of what a proxy passes on.
    is_tunnel: bool,
}

impl Sink for Telling {
    fn event(&mut self, event: &inspect::Event<'_>) {
        check(event);
        if self.writes {
            line(event);
        }
        self.is_tunnel |= event.through_proxy;
        self.told.push(Told {
            protocol: event.protocol,
            anomaly: event.anomaly,
            facts: sorted(event.facts),
            truncated: event.truncated,
        });
    }
}

/// The facts are a list that keeps to its table.
pub(super) fn check(event: &inspect::Event<'_>) {
    assert!(event.facts.len() <= FACTS_BYTES);
    assert!(event.anomaly.is_some() || event.protocol != Protocol::Unknown, "an event is of a known protocol");
    let (mut bytes, mut seen) = (0, [[0_u8; 256]; 2]);
    for value in Facts::read(event.facts) {
        bytes += 4 + value.value.len();
        let known = TABLE.iter().find(|(one, ..)| *one as u8 == value.protocol);
        let fact = known.and_then(|(_, facts, _)| facts.iter().find(|fact| fact.index == value.index));
        let Some(fact) = fact else { panic!("{value:?} stands in no table") };
        assert!(value.value.len() <= usize::from(fact.limit), "{}: longer than its limit", fact.name);
        match fact.kind {
            Kind::Number => assert!((1..=8).contains(&value.value.len()), "{}: a number", fact.name),
            Kind::Address => assert!(matches!(value.value.len(), 4 | 16), "{}: an address", fact.name),
            Kind::Text | Kind::Bytes => {}
        }
        let times = &mut seen[usize::from(value.protocol != event.protocol as u8)][usize::from(value.index)];
        *times = times.saturating_add(1);
        assert!(*times <= fact.repeats || fact.protocol != event.protocol, "{}: too often", fact.name);
    }
    assert_eq!(bytes, event.facts.len(), "the list is whole");
    if let Some((protocol, index)) = event.anomaly {
        let known = TABLE.iter().find(|(one, ..)| *one == protocol);
        assert!(
            known.is_some_and(|(.., anomalies)| anomalies.iter().any(|one| one.index == index)),
            "{protocol:?} {index}"
        );
    }
}

/// Its line is one line, and JSON.
fn line(event: &inspect::Event<'_>) {
    let head = EventHead {
        time: event.time,
        told: Timestamp(0),
        key: event.key,
        originator: event.originator,
        sender: event.sender,
        first_seen: None,
        protocol: event.protocol,
        anomaly: event.anomaly,
        truncated: event.truncated,
        bytes: event.facts.len() as u16, // at most FACTS_BYTES
        icmp: None,
        outer: None,
        through_proxy: event.through_proxy,
    };
    let mut writer = EveWriter::new(Vec::new(), None);
    writer.application(&AppEvent { head, facts: event.facts.into() }).expect("memory takes what is written");
    let line = String::from_utf8(writer.finish().expect("memory takes what is written")).expect("a line is text");
    let body = line.strip_suffix('\n').expect("a line has an end");
    let breaks = |one: char| one.is_control() || matches!(one, '\u{2028}' | '\u{2029}');
    assert!(!body.contains(breaks), "one line: {body:?}");
    let value: serde_json::Value = serde_json::from_str(body).expect("a line is JSON");
    assert!(value.get("event_type").is_some_and(serde_json::Value::is_string), "{body}");
}

thread_local! {
    // Its pools are taken once; every flow gives back what it had.
    static INSPECTOR: RefCell<Inspector> = RefCell::new(Inspector::new(
        inspect::Settings { flows: 2, buffers: 2, facts: 2, depth: 1 << 16, rates: inspect::Rates::DEFAULT },
        1,
        [1, 2, 3, 4],
    ));
    /// When the latest flow began.
    static CLOCK: Cell<Timestamp> = const { Cell::new(Timestamp(0)) };
}

/// Between flows: what a flow or its source may have told in a while, it may again.
const PAUSE_NS: u64 = 60 * SECOND;

fn group(name: &str, data: &[u8]) {
    let Some((_, protocols)) = GROUPS.iter().find(|one| one.0 == name) else { panic!("{name} is no group") };
    let [which, how, rest @ ..] = data else { return };
    let protocol = protocols[usize::from(*which) % protocols.len()];
    let Some(probe) = PROBES.iter().find(|probe| probe.protocol == protocol) else { panic!("{protocol:?}: no probe") };
    let is_stream = probe.streams && (!probe.datagrams || how & 1 == 0);
    let is_multicast = how & 2 != 0;
    let port = PORTS[usize::from(how >> 2) % PORTS.len()];
    let responder = if is_multicast { 0xe000_00fb } else { 0x0a00_0002 };
    let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, responder, port, if is_stream { 6 } else { 17 }, 0);
    let mut rest: &[u8] = rest;
    let pieces = std::iter::from_fn(|| Piece::read(&mut rest, protocol)).filter(|piece| !piece.bytes.is_empty());
    let case = Case { protocol, is_stream, key, originator, port, is_multicast, pieces: pieces.collect() };
    case.probe(probe);
    let given = case.run(Cut::Given, true);
    let bytes: usize = case.pieces.iter().map(|piece| piece.bytes.len()).sum();
    let Some(given) = given else { return };
    assert!(given.1.len() <= 2 * bytes + 8, "{} events of {bytes} bytes", given.1.len());
    let is_in_order = is_stream && case.pieces.iter().all(|piece| piece.jump == 0 && !piece.is_cut);
    if !is_in_order {
        case.compare(Cut::Given, &given, "the same again: nothing was kept");
        return;
    }
    case.compare(Cut::Turns, &given, "turns in one piece against the pieces given");
    case.compare(Cut::Small(1 + bytes / 256), &given, "small pieces against the pieces given");
}

impl Case<'_> {
    /// What the probe says of the first turn. What is a stream's protocol once there are enough bytes was never ruled out
    /// by fewer of them: else it would depend on the cutting.
    fn probe(&self, probe: &Probe) {
        let Some(first) = self.pieces.first() else { return };
        let turn = self.pieces.iter().take_while(|piece| self.is_stream && piece.side == first.side);
        let bytes = turn.map(|piece| &*piece.bytes).collect::<Vec<_>>().concat();
        let bytes = if self.is_stream { &bytes[..] } else { &first.bytes[..] };
        let look = |bytes| {
            (probe.look)(&Look {
                side: first.side,
                bytes,
                is_datagram: !self.is_stream,
                ports: [40_000, self.port],
                is_multicast: self.is_multicast,
                is_begun: [true; 2],
            })
        };
        if look(bytes) == Match::Yes && self.is_stream {
            for end in (1..bytes.len().min(96)).chain((96..bytes.len()).step_by(61)) {
                assert_ne!(look(&bytes[..end]), Match::No, "{:?}: the first {end} bytes", self.protocol);
            }
        }
    }

    /// The flow, cut that way, tells the same. Where a side's first words are those of another protocol, the flow becomes that
    /// one, and some are known by that nothing follows them, for their client waits for the answer: by the cut, that is.
    fn compare(&self, cut: Cut, given: &Outcome, what: &str) {
        let Some(told) = self.run(cut, false) else { return };
        if told.0 == given.0 {
            assert!(told == *given, "{:?}: {what}:\n{told:?}\n{given:?}", self.protocol);
        } else {
            assert!(!matches!(cut, Cut::Given), "{:?}: {what}: {:?}, {:?}", self.protocol, told.0, given.0);
        }
    }

    /// Shows the flow to its parser; gives what was told. `None` where a tunnel begins: what it carries is looked for anew,
    /// which is not what is tested here.
    fn run(&self, cut: Cut, writes: bool) -> Option<Outcome> {
        let mut sink = Telling { writes, ..Telling::default() };
        INSPECTOR.with_borrow_mut(|inspector| {
            inspector.assume(0, self.protocol);
            let time = CLOCK.get().after(PAUSE_NS);
            CLOCK.set(time);
            let mut sent = Sent { next: BEGIN, is_tunnel: false, time, case: self };
            match cut {
                Cut::Given => {
                    let mut pieces = self.pieces.iter();
                    while pieces.next().is_some_and(|one| sent.payload(inspector, one, &one.bytes, &mut sink)) {}
                }
                Cut::Turns | Cut::Small(_) => {
                    for turn in self.pieces.chunk_by(|one, next| one.side == next.side) {
                        let bytes = turn.iter().map(|piece| &*piece.bytes).collect::<Vec<_>>().concat();
                        let small = if let Cut::Small(small) = cut { small } else { bytes.len() };
                        if !bytes.chunks(small).all(|bytes| sent.payload(inspector, &turn[0], bytes, &mut sink)) {
                            break;
                        }
                    }
                }
            }
            let times = [time; 2];
            let (protocol, _) = inspector.end(0, &self.key, self.originator, times, &mut sink);
            inspector.take_counts();
            assert_eq!(inspector.inspected(), 0, "every flow gives back what it had");
            assert_eq!(inspector.application(0), Protocol::Unknown);
            (!sent.is_tunnel && !sink.is_tunnel).then_some((protocol, sink.told))
        })
    }
}

/// Where the sides' sequence numbers begin: one is about to wrap around.
const BEGIN: [u32; 2] = [u32::MAX - 100, 7];

/// A flow on its way.
struct Sent<'a> {
    /// Sequence numbers of both sides.
    next: [u32; 2],
    /// The protocol is not known any more.
    is_tunnel: bool,
    /// When all of it comes.
    time: Timestamp,
    case: &'a Case<'a>,
}

impl Sent<'_> {
    /// One packet. Gives whether to go on.
    fn payload(&mut self, inspector: &mut Inspector, piece: &Piece<'_>, bytes: &[u8], sink: &mut Telling) -> bool {
        let index = piece.side as usize;
        let sequence = self.next[index].wrapping_add_signed(piece.jump);
        self.next[index] = sequence.wrapping_add(bytes.len() as u32);
        // Every segment acknowledges something, if only what was there at the beginning.
        let acknowledgement = Some(if piece.acknowledges { self.next[1 - index] } else { BEGIN[1 - index] });
        let payload = Payload {
            slot: 0,
            key: &self.case.key,
            originator: self.case.originator,
            first_seen: self.time,
            side: piece.side,
            tcp: self.case.is_stream.then_some(Segment { sequence, acknowledgement, ..Segment::default() }),
            bytes,
            before: &[],
            is_cut: piece.is_cut,
            time: self.time,
        };
        let wants = inspector.payload(&payload, sink);
        self.is_tunnel |= self.case.is_stream && inspector.application(0) == Protocol::Unknown;
        wants != Wants::NOTHING && !self.is_tunnel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_is_in_one_group_and_every_group_is_a_target() {
        for probe in PROBES {
            let count = GROUPS.iter().filter(|(_, protocols)| protocols.contains(&probe.protocol)).count();
            assert_eq!(count, 1, "{}", probe.protocol.name());
        }
        for (protocol, ..) in TABLE {
            // NTLM is only found inside others, which carry it here too; the anomalies of TCP are no parser's.
            let has_none = matches!(protocol, Protocol::Ntlm | Protocol::Proxied | Protocol::Unknown);
            assert!(has_none || PROBES.iter().any(|probe| probe.protocol == *protocol));
        }
        for (name, _) in GROUPS {
            assert!(super::super::TARGETS.iter().any(|target| target.0 == *name), "{name} is a target");
        }
    }
}
