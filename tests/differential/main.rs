//! Differential tests over the labelled captures: every message that a reference implementation in Rust reads, we read the
//! same. DNS against `hickory-proto`, HTTP heads against `httparse`, hellos of TLS against `tls-parser`.
//!
//! A packet's payload is shown to an inspection of its own, so that what is compared is the parsers and not what was before
//! it. What differs stands in [`KNOWN`] with its number and its reason, and nothing else may.

#[path = "../support/captures.rs"]
mod captures;
mod dns;
mod http;
#[path = "../support/mod.rs"]
mod support;
mod tls;

use shrike::dataplane::capture::pcap::{Limits, PcapSource, Reader, Speed};
use shrike::dataplane::capture::{BURST_MAX, FrameView, Source};
use shrike::dataplane::decode::{Decoded, Layers, Packet, decode_rest};
use shrike::dataplane::flow::Side;
use shrike::dataplane::inspect::{self, Event, Fact, Facts, Inspector, Payload, Protocol, Segment, Sink};
use shrike::units::Timestamp;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Captures up to this size: the rest are long recordings of the same.
const CAPTURE_MAX: u64 = 4 << 20;

/// What we do not read as the reference does: what, how many, why.
const KNOWN: &[(&str, u64, &str)] = &[];

/// What was told of one message.
#[derive(Default)]
struct Told {
    events: Vec<(Protocol, Facts)>,
    anomalies: Vec<(Protocol, u8)>,
}

impl Sink for Told {
    fn event(&mut self, event: &Event<'_>) {
        match event.anomaly {
            Some(anomaly) => self.anomalies.push(anomaly),
            None => self.events.push((event.protocol, Facts::from_bytes(event.facts, event.truncated))),
        }
    }
}

impl Told {
    /// The first event of a protocol.
    fn of(&self, protocol: Protocol) -> Option<&Facts> {
        self.events.iter().find(|(one, _)| *one == protocol).map(|(_, facts)| facts)
    }

    fn has(&self, protocol: Protocol) -> bool {
        self.anomalies.iter().any(|(one, _)| *one == protocol)
    }
}

/// A payload of UDP or TCP.
struct Message<'a> {
    packet: &'a Packet,
    bytes: &'a [u8],
    is_stream: bool,
    ports: [u16; 2],
}

impl Message<'_> {
    /// What our inspection tells of it as the first thing that `side` says.
    fn told(&self, inspector: &mut Inspector, side: Side) -> Told {
        let mut told = Told::default();
        let originator = if side == Side::Originator { self.packet.direction } else { self.packet.direction.flip() };
        let payload = Payload {
            slot: 0,
            key: &self.packet.key,
            originator,
            first_seen: Timestamp(1),
            side,
            tcp: self.is_stream.then(|| Segment { sequence: 1, acknowledgement: Some(1), ..Segment::default() }),
            bytes: self.bytes,
            before: &[],
            is_cut: false,
            time: Timestamp(1),
        };
        inspector.payload(&payload, &mut told);
        inspector.end(0, &self.packet.key, originator, [Timestamp(1), Timestamp(2)], &mut told);
        inspector.take_counts();
        told
    }
}

/// How often the two agreed, and what they said where they did not.
#[derive(Default)]
struct Tally {
    compared: u64,
    /// The reference refuses what we read without an anomaly.
    only_ours: u64,
    differ: BTreeMap<String, (u64, String)>,
}

impl Tally {
    /// Both read it; what they differ in, if in anything.
    fn compare(
        &mut self,
        fields: impl IntoIterator<Item = (&'static str, Option<Vec<u8>>, Option<Vec<u8>>)>,
        place: &str,
    ) {
        self.compared += 1;
        for (name, ours, theirs) in fields {
            if ours != theirs {
                let show = |value: &Option<Vec<u8>>| value.as_ref().map(|value| value.escape_ascii().to_string());
                self.note(name, || format!("{place}: ours {:?}, theirs {:?}", show(&ours), show(&theirs)));
            }
        }
    }

    fn note(&mut self, what: &str, example: impl FnOnce() -> String) {
        let entry = self.differ.entry(what.to_owned()).or_insert_with(|| (0, example()));
        entry.0 += 1;
    }

    fn add(&mut self, other: Tally) {
        self.compared += other.compared;
        self.only_ours += other.only_ours;
        for (what, (count, example)) in other.differ {
            self.differ.entry(what).or_insert((0, example)).0 += count;
        }
    }
}

/// One reference.
type Compare = fn(&mut Inspector, &Message<'_>, &str, &mut Tally);

const REFERENCES: [(&str, Compare); 3] = [("dns", dns::compare), ("http", http::compare), ("tls", tls::compare)];

fn inspector() -> Inspector {
    Inspector::new(
        inspect::Settings { flows: 1, buffers: 2, facts: 1, ..inspect::Settings::default() },
        1,
        [1, 2, 3, 4],
    )
}

/// All messages of a capture against all references; the same bytes once.
fn compare_all(path: &Path, seen: &mut HashSet<Vec<u8>>) -> Option<[Tally; 3]> {
    let reader = Reader::open(&[path.to_owned()], Limits::default()).ok()?;
    let mut source = PcapSource::new(reader, Speed::Max);
    let (mut packet, mut layers) = (Packet::default(), Layers::new(true));
    let (mut inspector, mut tallies) = (inspector(), <[Tally; 3]>::default());
    let name = path.file_name()?.to_string_lossy().into_owned();
    loop {
        let burst = source.receive(BURST_MAX);
        for index in 0..burst.count {
            let view = source.frame(index);
            let decoded = decode_rest(view.bytes, view.wire_bytes, view.link, &mut packet, &mut layers);
            let Some(message) = message(&view, &packet).filter(|_| decoded == Decoded::Flow) else { continue };
            if !seen.insert(message.bytes.to_vec()) {
                continue;
            }
            for ((_, compare), tally) in REFERENCES.iter().zip(&mut tallies) {
                compare(&mut inspector, &message, &name, tally);
            }
        }
        source.release();
        if burst.ended {
            return Some(tallies);
        }
    }
}

fn message<'a>(view: &FrameView<'a>, packet: &'a Packet) -> Option<Message<'a>> {
    let begin = usize::from(packet.payload_offset);
    let bytes = view.bytes.get(begin..begin + packet.payload_bytes as usize).filter(|bytes| !bytes.is_empty())?;
    let is_stream = match packet.key.protocol() {
        6 => true,
        17 => false,
        _ => return None,
    };
    let (from, to) = packet.key.endpoints(packet.direction);
    Some(Message { packet, bytes, is_stream, ports: [from.port, to.port] })
}

fn bytes_of(facts: &Facts, fact: Fact) -> Option<Vec<u8>> {
    facts.get(fact).map(<[u8]>::to_vec)
}

#[test]
fn what_the_references_read_we_read_the_same() {
    let Some(data) = support::shared_data("what_the_references_read_we_read_the_same") else { return };
    let mut seen = HashSet::new();
    let mut all = <[Tally; 3]>::default();
    for capture in captures::captures(&data) {
        if std::fs::metadata(&capture.path).is_ok_and(|file| file.len() <= CAPTURE_MAX)
            && let Some(tallies) = compare_all(&capture.path, &mut seen)
        {
            all.iter_mut().zip(tallies).for_each(|(all, one)| all.add(one));
        }
    }
    let mut wrong = Vec::new();
    for ((name, _), tally) in REFERENCES.iter().zip(&all) {
        eprintln!("{name}: {} messages read by both, {} by us alone", tally.compared, tally.only_ours);
        for (what, (count, example)) in &tally.differ {
            let what = format!("{name} {what}");
            eprintln!("  {what}: {count}, {example}");
            if !KNOWN.iter().any(|(known, number, _)| *known == what && number == count) {
                wrong.push(format!("{what}: {count}, {example}"));
            }
        }
    }
    let [dns, http, tls] = all.map(|tally| tally.compared);
    assert!(dns > 1_000 && http > 1_000 && tls > 500, "{dns} {http} {tls}");
    assert!(wrong.is_empty(), "not as KNOWN says: {wrong:#?}");
}
