//! Entry points for fuzzing, one function per kind of untrusted input; not part of the interface.
//!
//! `fuzz/` drives them with libFuzzer, `tests/fuzz_corpus.rs` replays the corpus through them in every test run. A new
//! target is a function here, a line in [`TARGETS`] and a seed under `fuzz/corpus/NAME/`. An entry panics where a rule is
//! broken and returns otherwise; it must be fast, deterministic and bounded.

pub(crate) mod defrag;
mod parsers;
mod reassembly;

use self::defrag::datagrams;
use self::parsers::{http, industry, mail, names, peers, quic, stores, tls, windows};
use self::reassembly::reassembly;
use crate::config;
use crate::control::store::Cursor;
use crate::dataplane::capture::pcap::{Limits, PcapSource, Reader, Speed};
use crate::dataplane::capture::{BURST_MAX, FrameView, LinkType, Source};
use crate::dataplane::decode::{Decoded, FlowKey, FragmentSettings, FragmentTable, Packet, decode, quoted_flow};
use crate::dataplane::features::FLOW;
use crate::dataplane::flow::{FlowTable, Settings, Side};
use crate::dataplane::inspect::{self, Inspector, Payload, Protocol, Segment, Sink, Wants};
use crate::dataplane::score::Manifest;
use crate::metrics::Role;
use crate::units::{MILLISECOND, Timestamp};

/// What a fuzzer calls with its input.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("decode", frames),
    ("flow", flows),
    ("pcap", capture),
    ("cursor", cursor),
    ("manifest", manifest),
    ("config", configuration),
    ("inspect", inspection),
    ("defrag", datagrams),
    ("names", names),
    ("tls", tls),
    ("quic", quic),
    ("http", http),
    ("windows", windows),
    ("mail", mail),
    ("industry", industry),
    ("stores", stores),
    ("peers", peers),
    ("reassembly", reassembly),
];

/// Link types in the order of the selecting byte.
const LINKS: [LinkType; 7] = [
    LinkType::Ethernet,
    LinkType::RawIp,
    LinkType::Null,
    LinkType::LinuxSll,
    LinkType::LinuxSll2,
    LinkType::Other(105),
    LinkType::Ppp,
];

/// Frames one after the other: a byte for link type and how much longer the frame was on the wire, a byte of length, then
/// the frame; the last one takes what is left.
fn frames(mut data: &[u8]) {
    let mut fragments = FragmentTable::new(FragmentSettings { capacity: 16, timeout_ns: 1000 }, 42);
    let mut packet = Packet::default();
    let mut now = 0;
    while let [selector, length, rest @ ..] = data {
        let link = LINKS[usize::from(*selector) % LINKS.len()];
        let beyond = u32::from(*selector) / LINKS.len() as u32 * 40;
        // Lengths are a quarter of what they stand for, so that jumbo frames are within reach of one byte.
        let (bytes, after) = rest.split_at((usize::from(*length) * 4).min(rest.len()));
        data = after;
        now += u64::from(*length);
        let frame = FrameView { port: 0, bytes, wire_bytes: bytes.len() as u32 + beyond, time: None, link };
        let decoded = decode(frame, &mut packet);
        match decoded {
            Decoded::Reject(counter) => assert_eq!(counter.role(), Role::Drop, "{counter:?}"),
            Decoded::Arp | Decoded::Other => {}
            Decoded::Flow | Decoded::FirstFragment | Decoded::LaterFragment => {
                let end = u32::from(packet.payload_offset) + packet.payload_bytes;
                assert!(end <= packet.wire_bytes, "payload ends at {end} of {}", packet.wire_bytes);
                assert_eq!(packet.fragment, decoded != Decoded::Flow);
                let (low, high) = (packet.key.low(), packet.key.high());
                assert!(low <= high, "the key is canonical");
                let quoted = quoted_flow(frame, &packet);
                assert!(quoted.is_none() || matches!(packet.key.protocol(), 1 | 58));
                if fragments.resolve(decoded, &mut packet, Timestamp(now)).is_ok() {
                    assert!(packet.key.low() <= packet.key.high());
                }
            }
        }
    }
}

/// Ports in the order of the selecting byte: where a probe asks for one, it is here.
const PORTS: [u16; 24] = [
    53, 80, 443, 22, 25, 21, 110, 143, 445, 389, 88, 161, 67, 123, 5060, 1900, 5353, 5355, 137, 3306, 5432, 11211,
    4500, 9999,
];

/// Looks at every event as the control plane does.
struct Events;

impl Sink for Events {
    fn event(&mut self, event: &inspect::Event<'_>) {
        parsers::check(event);
    }
}

/// One flow at its inspection: a byte for the transport, one for the port; then payloads, each with a byte for its side and
/// place (again, or behind a hole), a byte of length, and the payload itself.
fn inspection(data: &[u8]) {
    thread_local! {
        // Its pools are taken once; every flow gives back what it had.
        static INSPECTOR: std::cell::RefCell<Inspector> = std::cell::RefCell::new(Inspector::new(
            inspect::Settings { flows: 2, buffers: 2, facts: 2, depth: 1 << 16, rates: inspect::Rates::DEFAULT },
            1,
            [1, 2, 3, 4],
        ));
    }
    let [transport, port, rest @ ..] = data else { return };
    let mut rest: &[u8] = rest;
    let port = PORTS[usize::from(*port) % PORTS.len()];
    let is_tcp = transport & 1 == 0;
    let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, port, if is_tcp { 6 } else { 17 }, 0);
    let begin = [u32::MAX - 100, 7];
    let mut next = begin;
    let mut wants = Wants::PAYLOAD;
    INSPECTOR.with_borrow_mut(|inspector| {
        while let [place, length, after @ ..] = rest {
            if wants == Wants::NOTHING {
                break;
            }
            // Lengths are a quarter of what they stand for.
            let (bytes, after) = after.split_at((usize::from(*length) * 4).min(after.len()));
            rest = after;
            let index = usize::from(place & 1);
            let jump = i32::from(*place as i8 >> 3) * i32::from(place & 2 != 0);
            let sequence = next[index].wrapping_add_signed(jump);
            next[index] = sequence.wrapping_add(bytes.len() as u32);
            let payload = Payload {
                slot: 0,
                key: &key,
                originator,
                first_seen: Timestamp(1),
                side: if index == 0 { Side::Originator } else { Side::Responder },
                tcp: is_tcp.then_some(Segment {
                    // Whatever the payload begins with stands for options, too.
                    header: bytes.get(..60).unwrap_or(bytes),
                    is_joined: place & 8 == 0,
                    sequence,
                    acknowledgement: (*place != 0xe8).then_some(if place & 4 == 0 {
                        next[1 - index]
                    } else {
                        begin[1 - index]
                    }),
                    is_syn: *place == 0xf0,
                    is_urgent: *place == 0xe0,
                    beginnings: [(transport & 2 == 0).then_some(begin[0]), (transport & 4 == 0).then_some(begin[1])],
                }),
                bytes,
                before: &[],
                is_cut: *place == 0xf8,
                time: Timestamp(1),
            };
            wants = inspector.payload(&payload, &mut Events);
        }
        inspector.end(0, &key, originator, [Timestamp(1), Timestamp(2)], &mut Events);
        inspector.take_counts();
        assert_eq!(inspector.inspected(), 0, "every flow gives back what it had");
        assert_eq!(inspector.application(0), Protocol::Unknown);
    });
}

/// Packets of a small universe of hosts and ports against a table that is too small for them; eight bytes each.
fn flows(data: &[u8]) {
    let settings = Settings { capacity: 32, ..Settings::default() };
    let mut table = FlowTable::new(settings, [1, 2, 3, 4]);
    let (mut ended, mut created) = (0_u32, 0_u32);
    let mut now = Timestamp(1_000_000_000);
    let mut frame = [0_u8; 60];
    frame[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
    frame[17] = 40;
    let mut packet = Packet::default();
    for step in data.chunks_exact(8) {
        let [kind, flags, source, destination, port, pause, sequence, extra] = *step else { return };
        now = now.after(u64::from(pause) * u64::from(pause) * u64::from(pause) * MILLISECOND);
        if kind & 0xf0 == 0xf0 {
            table.expire(now, usize::from(extra), |_| ended += 1);
            continue;
        }
        frame[23] = [6, 6, 17, 1][usize::from(kind % 4)];
        (frame[29], frame[33]) = (source % 8, destination % 8);
        (frame[35], frame[37]) = (port % 8, port / 8 % 4);
        frame[39] = if frame[23] == 17 { 8 + extra % 13 } else { sequence };
        (frame[46], frame[47]) = (0x50, flags);
        let view = FrameView { port: 0, bytes: &frame, wire_bytes: 60, time: None, link: LinkType::Ethernet };
        if decode(view, &mut packet) != Decoded::Flow {
            continue;
        }
        packet.time = now;
        packet.hash = table.hash(&packet.key);
        let hint = table.probe(packet.hash);
        let before = (table.stats().flows, ended);
        let accounted = table.account(&packet, hint, |_| ended += 1).map(|(index, record, _)| (index, record.key));
        let stats = table.stats();
        created += stats.flows + (ended - before.1) - before.0;
        if let Some((index, key)) = accounted {
            assert_eq!(key, packet.key, "the record is that of the packet");
            assert_eq!(table.find(packet.hash, &packet.key, hint, now, |_| ended += 1), Some(index));
            if kind & 0x80 != 0 {
                table.refuse(index, now);
            }
        }
        assert!(stats.flows <= stats.capacity && stats.half_open <= stats.flows);
        assert_eq!(stats.flows + ended, created, "every flow ends once");
    }
    table.drain(now, |_| ended += 1);
    assert_eq!((table.stats().flows, ended), (0, created), "every flow ends once");
}

/// A capture file, of any format, whole or not.
fn capture(data: &[u8]) {
    let limits = Limits { free_bytes: 1 << 20, ratio: 20 };
    let stream = Box::new(std::io::Cursor::new(data.to_vec()));
    let Ok(reader) = Reader::from_stream("fuzz", stream, limits) else { return };
    let report = reader.report();
    let mut source = PcapSource::new(reader, Speed::Max);
    let (mut packets, mut latest) = (0_u64, Timestamp(0));
    loop {
        let burst = source.receive(BURST_MAX);
        for index in 0..burst.count {
            let frame = source.frame(index);
            packets += 1;
            let time = frame.time.unwrap_or(latest);
            assert!(time >= latest, "capture time never steps back");
            latest = time;
            decode(frame, &mut Packet::default());
        }
        source.release();
        if burst.ended {
            break;
        }
    }
    assert_eq!(report.packets(), packets, "every packet read is delivered");
}

/// The `after` parameter of `/v1/alerts`.
fn cursor(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(cursor) = Cursor::parse(text) {
        assert_eq!(cursor.to_string(), text, "a cursor has one spelling");
    }
}

/// A model's manifest.
fn manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::parse(data, &FLOW) {
        manifest.golden_rows();
    }
}

/// The configuration file; what stands behind a NUL are overrides from the environment, one `KEY=VALUE` a line.
fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, environment) = text.split_once('\0').unwrap_or((text, ""));
    let overrides = environment.lines().filter_map(|line| line.split_once('='));
    let overrides = overrides.map(|(key, value)| (format!("SHRIKE__{key}"), value.to_owned()));
    if let Err(error) = config::parse("fuzz", file, overrides) {
        assert!(!error.message.is_empty() && !error.remedy.is_empty(), "an error says what to do");
        let (line, column) = error.place.unwrap_or((1, 1));
        assert!(line >= 1 && column >= 1 && line <= file.lines().count() + 1, "the place lies in the file");
        let _ = error.to_string();
    }
}
