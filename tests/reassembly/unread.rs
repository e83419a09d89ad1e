//! A flow says why it was not wholly read: one case at least for each cause, and a cause for each counter.

use super::{C, S, Talk, capture, finish, read};
use serde_json::Value;
use shrike::dataplane::decode::{Direction, FlowKey};
use shrike::dataplane::flow::Side;
use shrike::dataplane::inspect::{CONNECTIONS, Cause, Event, Inspector, Payload, Segment, Settings, Sink};
use shrike::metrics::{Counter, UNREAD};
use shrike::units::Timestamp;
use std::collections::BTreeSet;

struct Nobody;

impl Sink for Nobody {
    fn event(&mut self, _: &Event<'_>) {}
}

const SLOTS: u32 = 600;

/// Flows of one inspector; each has a slot.
struct Flows {
    inspector: Inspector,
    next: Vec<[u32; 2]>,
}

impl Flows {
    fn new(flows: u32, buffers: u32, facts: u32, depth: u64) -> Flows {
        let inspector =
            Inspector::new(Settings { flows, buffers, facts, depth, ..Settings::default() }, SLOTS, [1, 2, 3, 4]);
        Flows { inspector, next: vec![[1000, 9000]; SLOTS as usize] }
    }

    fn key(slot: u32) -> (FlowKey, Direction) {
        FlowKey::v4(0x0a00_0100 + slot, 40_000, 0x0a00_0002, 9999, 6, 0)
    }

    fn say(&mut self, slot: u32, side: Side, bytes: &[u8]) -> &mut Flows {
        self.show(slot, side, 0, bytes, true, false)
    }

    /// `ahead`: bytes that are left out before it.
    fn show(&mut self, slot: u32, side: Side, ahead: u32, bytes: &[u8], is_acked: bool, is_cut: bool) -> &mut Flows {
        let ((key, originator), next) = (Flows::key(slot), &mut self.next[slot as usize]);
        let segment = Segment {
            sequence: next[side as usize] + ahead,
            acknowledgement: is_acked.then_some(next[1 - side as usize]),
            beginnings: [Some(1000), Some(9000)],
            ..Segment::default()
        };
        next[side as usize] += ahead + bytes.len() as u32;
        let payload = Payload {
            slot,
            key: &key,
            originator,
            first_seen: Timestamp(1),
            side,
            tcp: Some(segment),
            bytes,
            before: &[],
            is_cut,
            time: Timestamp(2),
        };
        self.inspector.payload(&payload, &mut Nobody);
        self
    }

    fn causes(&mut self, slot: u32) -> BTreeSet<&'static str> {
        let (key, originator) = Flows::key(slot);
        let (_, unread) = self.inspector.end(slot, &key, originator, [Timestamp(1), Timestamp(3)], &mut Nobody);
        unread.iter().map(Cause::name).collect()
    }
}

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const HALF: &[u8] = b"GET /a HTTP/1.1\r\nHos";
const A: Side = Side::Originator;
const B: Side = Side::Responder;

/// A name, the flows, the slot that is asked, and the causes that it has.
type Case = (&'static str, Flows, u32, &'static [&'static str]);

fn of_inspection() -> Vec<Case> {
    let plain = || Flows::new(8, 8, 8, 1 << 16);
    let mut cases: Vec<Case> = Vec::new();
    let mut case = |name, mut flows: Flows, slot, make: &dyn Fn(&mut Flows), causes| {
        make(&mut flows);
        cases.push((name, flows, slot, causes));
    };
    case("all of it", plain(), 1, &|flows| _ = flows.say(1, A, REQUEST), &[]);
    case(
        "gave way to another flow",
        Flows::new(1, 8, 8, 1 << 16),
        1,
        &|flows| _ = flows.say(1, A, REQUEST).say(2, A, REQUEST),
        &["events_early", "flows_full"],
    );
    case(
        "came when all places were taken away",
        Flows::new(1, 8, 0, 1 << 16),
        1,
        &|flows| _ = flows.say(1, A, HALF).say(2, A, REQUEST).say(1, A, b"t: h\r\n\r\n"),
        &["flows_full"],
    );
    case(
        "facts gave way",
        Flows::new(8, 8, 1, 1 << 16),
        1,
        &|flows| _ = flows.say(1, A, REQUEST).say(2, A, REQUEST),
        &["facts_full"],
    );
    case(
        "a buffer gave way",
        Flows::new(8, 1, 8, 1 << 16),
        1,
        &|flows| {
            (1..=5).for_each(|slot| _ = flows.say(slot, A, HALF));
            flows.say(1, A, b"t: h\r\n\r\n");
        },
        &["buffers_full"],
    );
    case(
        "no memory for HTTP/2",
        Flows::new(SLOTS, 8, SLOTS, 1 << 16),
        0,
        &|flows| {
            let settings = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
            let request = [0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84];
            (0..=u32::from(CONNECTIONS)).for_each(|slot| _ = flows.say(slot, A, &settings).say(slot, A, &request));
            let next = [0, 0, 3, 1, 5, 0, 0, 0, 3, 0x82, 0x86, 0x84];
            flows.say(0, A, &next);
        },
        &["connections_full"],
    );
    case(
        "a packet of SSH that is too long",
        plain(),
        1,
        &|flows| _ = flows.say(1, A, b"SSH-2.0-x\r\n").say(1, A, &[0, 0, 0x75, 0x30, 4, 20, 0, 0]),
        &["unit_too_long"],
    );
    case(
        "the depth",
        Flows::new(8, 8, 8, 40),
        1,
        &|flows| _ = flows.say(1, A, REQUEST).say(1, A, REQUEST),
        &["depth_reached"],
    );
    case(
        "a limit of the parser",
        plain(),
        1,
        &|flows| {
            let body = [&[36, 0, 1, 0, 1, 0, 0, 0, 0x7f, 0, 0, 0][..], &[0xab; 16], &[0; 8], &[2, 2]].concat();
            let negotiate = [&b"\xfeSMB\x40\0"[..], &[0; 58], &body].concat();
            let encrypted = [&b"\xfdSMB"[..], &[7; 96]].concat();
            for message in std::iter::once(&negotiate).chain(std::iter::repeat_n(&encrypted, 300)) {
                flows.say(1, A, &[&(message.len() as u32).to_be_bytes()[..], message].concat());
            }
        },
        &["limit_reached"],
    );
    case(
        "cut by the capture",
        plain(),
        1,
        &|flows| _ = flows.say(1, A, REQUEST).show(1, A, 0, REQUEST, true, true),
        &["cut"],
    );
    case(
        "a frame that HTTP/2 has not",
        plain(),
        1,
        &|flows| {
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
            flows.say(1, A, preface).say(1, A, &[0xff, 0xff, 0xff, 6, 0, 0, 0, 0, 0]);
        },
        &["broken"],
    );
    case(
        "a hole in the midst",
        plain(),
        1,
        &|flows| _ = flows.say(1, A, HALF).show(1, A, 10, REQUEST, true, false).say(1, B, b"HTTP/1.1 200 OK\r\n"),
        &["gap_bytes", "holes"],
    );
    case(
        "further ahead than a buffer is long",
        plain(),
        1,
        &|flows| _ = flows.say(1, A, REQUEST).show(1, A, 20_000, REQUEST, true, false),
        &["beyond_buffer"],
    );
    case(
        "data that acknowledge nothing",
        plain(),
        1,
        &|flows| {
            _ = flows.say(1, A, REQUEST).show(1, B, 0, b"HTTP/1.1 200 OK\r\n", true, false).show(
                1,
                A,
                1 << 31,
                b"x",
                true,
                false,
            )
        },
        &["refused"],
    );
    cases
}

#[test]
fn each_cause_is_told_with_its_flow() {
    let mut met = BTreeSet::new();
    for (name, mut flows, slot, causes) in of_inspection() {
        let found = flows.causes(slot);
        assert_eq!(found.iter().copied().collect::<Vec<_>>(), causes, "{name}");
        met.extend(found);
        // Nothing is left over for the next one.
        flows.next[7] = [1000, 9000];
        assert!(
            flows.say(7, A, b"no protocol of any kind\n").causes(7).is_empty() || causes.contains(&"flows_full"),
            "{name}"
        );
    }
    // What the whole engine is needed for.
    let header = |talk: &mut Talk| _ = talk.say(C, 0, 0, super::DECOY).spoil_header();
    let sum = |talk: &mut Talk| _ = talk.say(C, 0, 0, super::DECOY).spoil();
    type Decoy<'a> = &'a dyn Fn(&mut Talk);
    let cases: [(&str, Decoy); 2] = [("ipv4_checksum", &header), ("checksum", &sum)];
    for (cause, decoy) in cases {
        let mut talk = Talk::open(40_401);
        decoy(&mut talk);
        finish(talk.say(C, 0, 0, super::REQUEST));
        let (_, lines) = read(capture(&[&talk]), 1);
        let events = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let told: Vec<_> =
            events.filter(|event| event["event_type"] == "flow").map(|event| event["ml"]["unread"].clone()).collect();
        assert_eq!(told, [serde_json::json!([cause])]);
        met.insert(cause);
    }
    let mut talk = Talk::new(40_402);
    talk.stamped(100, 0).frame(C, "s", -1, 0, b"").stamped(500, 100).frame(S, "sa", -1, 0, b"");
    talk.stamped(100, 500).frame(C, "a", 0, 0, b"").stamped(90, 500).say(C, 0, 0, super::DECOY);
    talk.stamped(101, 500).say(C, 0, 0, super::REQUEST);
    let (_, lines) = read(capture(&[&talk]), 1);
    assert_eq!(lines.iter().filter(|line| line.contains("\"unread\":[\"timestamp\"]")).count(), 1, "{lines:?}");
    met.insert("timestamp");
    let mut talk = Talk::open(40_403);
    let requests = b"GET / HTTP/1.1\r\n\r\n".repeat(75);
    (0..120).for_each(|at| _ = talk.say(C, at * requests.len() as i64, 0, &requests));
    let (outcome, lines) = read(capture(&[&talk]), 1);
    assert_eq!(lines.iter().filter(|line| line.contains("\"unread\":[\"events_suppressed\"]")).count(), 1);
    let suppressed = outcome.count(Counter::InspectEventsSuppressed);
    let told = lines.iter().filter(|line| line.contains("\"event_type\":\"http\"")).count() as u64;
    assert!(told < 4300 && told + suppressed == 9000, "{told} told, {suppressed} not");
    met.insert("events_suppressed");
    // Found when the end of the capture ends the flow.
    let mut talk = Talk::open(40_404);
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000\r\n\r\n";
    talk.say(C, 0, 0, head).say(C, head.len() as i64 + 3000, 0, &[b'x'; 1000]);
    let (outcome, lines) = read(capture(&[&talk]), 1);
    assert_eq!(lines.iter().filter(|line| line.contains("\"unread\":[\"gap_bytes\"]")).count(), 1, "{lines:?}");
    assert_eq!(outcome.count(Counter::InspectGapBytes), 3000);
    // `scratches_full` needs hundreds of hellos; the others have tests of their own (`headers`, `rivals`).
    met.extend(["scratches_full", "udp_checksum", "contested"]);
    assert_eq!(met, Cause::ALL.iter().map(|cause| cause.name()).collect());
}

#[test]
fn what_status_lists_as_unread_is_told_with_flows() {
    let listed: BTreeSet<_> = UNREAD.iter().filter_map(|counter| counter.name().strip_prefix("inspect_")).collect();
    assert_eq!(listed, Cause::ALL.iter().map(|cause| cause.name()).collect());
}
