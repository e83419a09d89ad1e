//! One queue over the fake kernel.

use super::*;
use crate::dataplane::capture::LinkType;
use crate::dataplane::capture::memory::{RingSettings, Sent, ring};
use crate::dataplane::features::COUNT;
use crate::dataplane::flow::EndReason;
use crate::dataplane::score::{ScoreError, Scores};
use crate::dataplane::worker::{Fitted, RxSettings, ScoreSettings, Shed, mailbox};
use crate::exchange::{CensusMark, CensusStep, Full, Up, UpReceiver, snapshot_ring, up_ring};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

struct Discard;

impl Scorer for Discard {
    fn score(&mut self, rows: &[f32], scores: &mut Scores) -> Result<(), ScoreError> {
        scores.attacks(rows.chunks_exact(COUNT).map(|_| 0.0));
        Ok(())
    }
}

/// Frames of a flow in a tunnel, then of one in the same addresses outside: each tells what is round it at its end.
#[test]
fn what_is_round_a_flow_is_told_at_its_end() {
    let (mut kernel, source) = ring(RingSettings { frames: 64, rx_slots: 32, ..RingSettings::default() });
    let mut settings = EngineSettings { export_flows: true, ..EngineSettings::default() };
    (settings.flow.capacity, settings.windows) = (1 << 10, 1 << 10);
    let (up, mut down) = up_ring(64, Full::Count);
    let mut engine = Engine::new(source, settings, parts(up, None));
    let inner =
        [0x45, 0, 0, 30, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 9, 0x23, 0x28, 0, 10, 0, 0, 1, 2];
    let head = [0x45, 0, 0, 58, 0, 0, 0, 0, 64, 47, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x20, 0, 8, 0, 0, 0, 0, 7];
    let link = [&[0; 12][..], &[8, 0]].concat();
    let broken = [&link[..], &head, &[0; 30]].concat();
    for frame in [[&link[..], &head, &inner].concat(), [&link[..], &inner].concat(), broken] {
        for _ in 0..2 {
            kernel.send(&frame, frame.len() as u32, None, LinkType::Ethernet);
        }
    }
    engine.turn();
    engine.finish();
    let counters = crate::metrics::read_counters(&*engine.core.sinks.counters.memory());
    let count = |counter: Counter| counters[counter as usize];
    assert_eq!((count(Counter::ProcessedFlow), count(Counter::Tunnelled), count(Counter::TunnelBroken)), (6, 4, 2));
    assert_eq!((count(Counter::TunnelGre), count(Counter::TunnelVxlan)), (2, 0), "of those with a packet in them");
    let mut ended = Vec::new();
    while let Some(item) = down.receive(|received| *received.item) {
        if let Up::Flow(flow) = item {
            let levels: Vec<_> = flow.outer.iter().flat_map(|outer| outer.levels()).collect();
            ended.push((flow.key.protocol(), flow.key.low().port, flow.packets[0], levels));
        }
    }
    ended.sort_by_key(|flow| (flow.0, flow.3.len()));
    let known = [(17, 9, 2, vec![]), (17, 9, 2, vec![(decode::Tunnel::Gre, 7)]), (47, 0, 2, vec![])];
    assert_eq!(ended, known);
}

/// An IPv4 packet between two hosts as a frame; its options, its protocol, what it carries.
fn frame(from: u8, to: u8, options: &[u8], protocol: u8, body: &[u8]) -> Vec<u8> {
    let [a, b] = (20 + options.len() as u16 + body.len() as u16).to_be_bytes();
    let words = 5 + options.len() as u8 / 4;
    let head = [0x40 | words, 0, a, b, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, from, 10, 0, 0, to];
    [&[0; 12], &[8, 0][..], &head, options, body].concat()
}

/// Options are told of who sent them, once a packet and kind; what no host takes is in no flow. ICMP keeps the first type and
/// code of either side.
#[test]
fn options_are_told_and_icmp_says_what_it_is() {
    let (mut kernel, source) = ring(RingSettings { frames: 64, rx_slots: 32, ..RingSettings::default() });
    let mut settings = EngineSettings { export_flows: true, export_events: true, ..EngineSettings::default() };
    (settings.flow.capacity, settings.windows) = (1 << 10, 1 << 10);
    let (up, mut down) = up_ring(64, Full::Count);
    let mut engine = Engine::new(source, settings, parts(up, None));
    let echo = |kind| [kind, 0, 0, 0, 0x12, 0x34, 0, 1];
    let unreachable = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &[0x45; 28]].concat();
    let source_route = [131, 7, 4, 10, 0, 0, 3, 0];
    for frame in [
        frame(2, 1, &[], 1, &echo(8)),
        frame(1, 2, &[], 1, &echo(0)),
        frame(2, 1, &[], 1, &echo(8)),
        frame(3, 1, &[], 1, &unreachable),
        frame(4, 1, &source_route, 17, &[0, 9, 0, 9, 0, 8, 0, 0]),
        frame(5, 1, &[7, 3, 4, 0x99], 17, &[0, 9, 0, 9, 0, 8, 0, 0]),
    ] {
        kernel.send(&frame, frame.len() as u32, None, LinkType::Ethernet);
    }
    engine.turn();
    engine.finish();
    let counters = crate::metrics::read_counters(&*engine.core.sinks.counters.memory());
    let count = |counter: Counter| counters[counter as usize];
    assert_eq!((count(Counter::ProcessedFlow), count(Counter::DropIpOptions)), (5, 1));
    assert_eq!((count(Counter::OptionsSourceRoute), count(Counter::OptionsEndRequired)), (1, 1));
    let (mut told, mut flows) = (Vec::new(), Vec::new());
    while let Some(item) = down.receive(|received| *received.item) {
        match item {
            Up::Event(head) => {
                let sender = head.key.endpoints(head.originator).0.address & 0xff;
                let number = head.anomaly.expect("an anomaly").1;
                told.push((sender, decode::HeaderAnomaly::of_number(number).expect("of headers").name()));
            }
            Up::Flow(flow) => {
                flows.push((flow.key.endpoints(flow.originator).0.address & 0xff, flow.icmp, flow.tcp_flags))
            }
            _ => {}
        }
    }
    assert_eq!(told, [(4, "ipv4.opt_source_route"), (5, "ipv4.opt_eol_required")]);
    flows.sort_unstable();
    let none = [0; 2];
    assert_eq!(flows, [(2, [Some((8, 0)), Some((0, 0))], none), (3, [Some((3, 1)), None], none), (4, [None; 2], none)]);
}

/// Odd headers are told once a packet, with who sent them: flags of no stack in a new flow and in an old one, a packet to
/// itself once a flow, a fifth tunnel, and a header that no host takes.
#[test]
fn odd_headers_are_told_with_their_sender() {
    let (mut kernel, source) = ring(RingSettings { frames: 64, rx_slots: 32, ..RingSettings::default() });
    let mut settings = EngineSettings { export_flows: true, export_events: true, ..EngineSettings::default() };
    (settings.flow.capacity, settings.windows) = (1 << 10, 1 << 10);
    let (up, mut down) = up_ring(64, Full::Count);
    let mut engine = Engine::new(source, settings, parts(up, None));
    let segment = |port: u8, offset: u8, flags: u8| {
        [&[1, port, 1, 187, 0, 0, 0, 1, 0, 0, 0, 1, offset, flags][..], &[0x20, 0, 0, 0, 0, 0]].concat()
    };
    let gre = |levels: usize| {
        (0..levels).fold(vec![0; 8], |inside, _| {
            let ip = frame(8, 1, &[], if inside.len() == 8 { 253 } else { 47 }, &inside);
            [&[0, 0, 8, 0], &ip[14..]].concat()
        })
    };
    for frame in [
        frame(2, 1, &[], 6, &segment(1, 0x50, 0x03)),
        frame(3, 1, &[], 6, &segment(2, 0x50, 0x29)),
        frame(4, 1, &[], 6, &segment(3, 0x50, 0)),
        frame(5, 5, &[], 6, &segment(187, 0x50, 0x02)),
        frame(5, 5, &[], 6, &segment(187, 0x50, 0x02)),
        frame(6, 1, &[], 6, &segment(4, 0x50, 0x10)),
        frame(6, 1, &[], 6, &segment(4, 0x50, 0x2b)),
        frame(7, 1, &[], 6, &segment(5, 0xf0, 0x10)),
        frame(8, 1, &[], 47, &gre(decode::LEVELS_MAX + 1)),
        frame(9, 1, &[], 6, &segment(6, 0x50, 0x11)),
        frame(9, 1, &[], 6, &segment(6, 0x50, 0x39)),
    ] {
        kernel.send(&frame, frame.len() as u32, None, LinkType::Ethernet);
    }
    engine.turn();
    engine.finish();
    let counters = crate::metrics::read_counters(&*engine.core.sinks.counters.memory());
    let count = |counter: Counter| counters[counter as usize];
    assert_eq!((count(Counter::ProcessedFlow), count(Counter::DropTcpOffset)), (10, 1));
    assert_eq!((count(Counter::TcpSynFin), count(Counter::Land), count(Counter::TunnelDepth)), (2, 1, 1));
    let mut told = Vec::new();
    while let Some(item) = down.receive(|received| *received.item) {
        if let Up::Event(head) = item {
            let sender = head.key.endpoints(head.originator).0.address & 0xff;
            let number = head.anomaly.expect("an anomaly").1;
            told.push((sender, decode::HeaderAnomaly::of_number(number).expect("of headers").name()));
        }
    }
    told.sort_unstable();
    let known = [
        (2, "tcp.syn_fin"),
        (3, "tcp.xmas"),
        (4, "tcp.no_flags"),
        (5, "land"),
        (6, "tcp.syn_fin"),
        (7, "tcp.hlen_too_small"),
        (8, "too_many_layers"),
    ];
    assert_eq!(told, known);
}

fn parts(up: UpSender, scorer: Option<Box<dyn Scorer>>) -> EngineParts {
    EngineParts {
        id: QueueId(0),
        counters: CounterBlock::in_memory(),
        up,
        snapshots: snapshot_ring(Box::<QueueSnapshot>::default()).0,
        scorer,
        peers: Vec::new(),
        place: 0,
        inbox: HandoverInbox::new(Vec::new()),
        secret: [1, 2, 3, 4],
        clock: Clock::new(),
    }
}

/// A row is scored after its 200 us also where nothing else comes: the worker sleeps no longer than that.
#[test]
fn a_wait_ends_when_the_oldest_row_is_due() {
    let (mut kernel, source) = ring(RingSettings { frames: 64, rx_slots: 32, ..RingSettings::default() });
    let mut settings = EngineSettings::default();
    (settings.flow.capacity, settings.windows) = (1 << 10, 1 << 10);
    let mut engine = Engine::new(source, settings, parts(up_ring(64, Full::Count).0, Some(Box::new(Discard))));
    let mut set = PollSet::with_capacity(4);
    let limit = Duration::from_millis(1);
    assert_eq!(engine.before_wait(limit, &mut set).limit, limit, "no row waits");
    // Four packets of a flow make its first row due.
    let mut frame = [0; 60];
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14..34].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame[34..40].copy_from_slice(&[0x9c, 0x40, 0, 53, 0, 26]);
    for _ in 0..4 {
        kernel.send(&frame, 60, None, LinkType::Ethernet);
    }
    engine.turn();
    assert_eq!(engine.core.sinks.batch.len(), 1);
    // The burst is measured when the next turn begins, whether or not that one was sampled.
    let bursts = |engine: &Engine<_>| engine.core.snapshot.histograms.stage(Stage::Burst).len();
    assert_eq!(bursts(&engine), 0);
    let rest = engine.before_wait(limit, &mut set);
    assert!(rest.limit <= Duration::from_nanos(settings.score.wait_ns), "{rest:?}");
    while !engine.core.sinks.batch.is_empty() {
        engine.wait(rest.limit);
        engine.turn();
    }
    assert_eq!(engine.before_wait(limit, &mut set).limit, limit);
    assert_eq!(bursts(&engine), 4);
    engine.turn();
    assert_eq!(bursts(&engine), 4);
}

struct Certain;

impl Scorer for Certain {
    fn score(&mut self, rows: &[f32], scores: &mut Scores) -> Result<(), ScoreError> {
        scores.attacks(rows.chunks_exact(COUNT).map(|_| 1.0));
        Ok(())
    }
}

/// What the model found, what inspection found and what is told at the end are of one flow by one number, whose alert has it.
#[test]
fn a_score_an_event_and_a_flow_have_the_same_number() {
    let (mut kernel, source) = ring(RingSettings { frames: 64, rx_slots: 32, ..RingSettings::default() });
    let mut settings = EngineSettings { export_flows: true, export_events: true, ..EngineSettings::default() };
    (settings.flow.capacity, settings.windows) = (1 << 10, 1 << 10);
    let (up, mut down) = up_ring(64, Full::Count);
    let mut engine = Engine::new(source, settings, parts(up, Some(Box::new(Certain))));
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04host\x07example\0\0\x01\0\x01";
    let datagram = [&[0x9c, 0x40, 0, 53, 0, 8 + question.len() as u8, 0, 0], &question[..]].concat();
    let frame = frame(1, 2, &[], 17, &datagram);
    for time in 0..4 {
        kernel.send(&frame, frame.len() as u32, Some(Timestamp(SECOND + time)), LinkType::Ethernet);
    }
    engine.turn();
    engine.finish();
    let (mut numbers, mut kinds) = (std::collections::HashSet::new(), std::collections::BTreeSet::new());
    while let Some(item) = down.receive(|received| *received.item) {
        let (number, kind) = match item {
            Up::Flow(flow) => (flow.flow_id(), "flow"),
            Up::Event(head) => (head.flow_id().unwrap(), "event"),
            Up::Score(scored) => (decode::flow_id(&scored.key, scored.first_seen), "score"),
            _ => continue,
        };
        numbers.insert(number);
        kinds.insert(kind);
    }
    let (key, _) = decode::FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 53, 17, 0);
    assert_eq!(numbers.into_iter().collect::<Vec<_>>(), [decode::flow_id(&key, Timestamp(SECOND))]);
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["event", "flow", "score"]);
}

/// A small datagram from 10.0.0.`from` to 10.0.0.200.
fn datagram(from: u8) -> Vec<u8> {
    frame(from, 200, &[], 17, &[0, 9, 0, 9, 0, 8, 0, 0])
}

/// What of a census is in the ring: who lives, and the marks with the number of flows before them.
fn told(down: &mut UpReceiver) -> (Vec<u128>, Vec<(usize, CensusMark)>) {
    let (mut flows, mut marks) = (Vec::new(), Vec::new());
    while let Some(item) = down.receive(|received| *received.item) {
        match item {
            Up::Living(flow) => {
                assert_eq!((flow.ended, flow.packets), (None, [1, 0]));
                flows.push(flow.key.endpoints(flow.originator).0.address & 0xff);
            }
            Up::Census(mark) => marks.push((flows.len(), mark)),
            _ => {}
        }
    }
    (flows, marks)
}

/// It goes on without sleep while it comes forward, and waits where the ring up is a quarter full: nothing is lost, of the
/// census or of anything else, and each flow is told once. One under way when the queue begins anew says that it is not whole.
#[test]
fn a_census_waits_for_room_and_tells_each_flow_once() {
    let (mut kernel, source) = ring(RingSettings { frames: 256, rx_slots: 128, ..RingSettings::default() });
    let mut settings = EngineSettings { live: true, ..EngineSettings::default() };
    (settings.flow.capacity, settings.windows) = (1 << 10, 1 << 10);
    let (up, mut down) = up_ring(256, Full::Count);
    let mut engine = Engine::new(source, settings, parts(up, None));
    for host in 0..100 {
        kernel.send_ethernet(&datagram(host));
    }
    while engine.core.table.stats().flows < 100 {
        engine.turn();
    }
    let mut set = PollSet::with_capacity(4);
    let limit = Duration::from_millis(1);
    assert_eq!(engine.before_wait(limit, &mut set).limit, limit, "nobody asked");
    // Whatever was under way when the next one is asked for is given up for it.
    down.ask_census(6);
    down.ask_census(7);
    let mut sleepless = 0;
    while engine.core.census.moves() || !engine.core.census.is_under_way() {
        engine.turn();
        let rest = engine.before_wait(limit, &mut set).limit;
        assert_eq!(rest.is_zero(), engine.core.census.moves());
        sleepless += u32::from(rest.is_zero());
    }
    assert!(sleepless > 1 && down.waiting() >= 64 && down.waiting() < 80, "{sleepless}, {}", down.waiting());
    let (mut flows, mut marks) = (Vec::new(), Vec::new());
    while marks.len() < 2 {
        let (more, further) = told(&mut down);
        marks.extend(further.into_iter().map(|(place, mark)| (flows.len() + place, mark)));
        flows.extend(more);
        engine.turn();
    }
    let mark = |place, step| (place, CensusMark { number: 7, step });
    assert_eq!(marks, [mark(0, CensusStep::Begun), mark(100, CensusStep::Ended { whole: true })]);
    flows.sort_unstable();
    assert_eq!(flows, (0..100).collect::<Vec<_>>());
    assert!(!engine.core.census.is_under_way());
    down.ask_census(8);
    while engine.core.census.moves() || !engine.core.census.is_under_way() {
        engine.turn();
    }
    assert!(engine.restart());
    let (mut flows, mut marks) = told(&mut down);
    while marks.len() < 2 {
        engine.turn();
        let (more, further) = told(&mut down);
        flows.extend(more);
        marks.extend(further);
    }
    assert!(!flows.is_empty() && flows.len() < 100, "{}", flows.len());
    assert_eq!(marks[1].1, CensusMark { number: 8, step: CensusStep::Ended { whole: false } });
    assert_eq!(engine.core.sinks.up.take_lost(), 0);
}

/// Where time runs on behind the end of a capture, a flow whose time-out lies behind it did not idle out: the capture cut it.
#[test]
fn flows_that_the_end_of_a_capture_cut_say_so() {
    let (mut kernel, source) = ring(RingSettings { frames: 64, rx_slots: 32, ..RingSettings::default() });
    let mut settings = EngineSettings { export_flows: true, run_out: true, ..EngineSettings::default() };
    (settings.flow.capacity, settings.windows) = (1 << 10, 1 << 10);
    settings.flow.unanswered_ns = 5 * SECOND;
    let (up, mut down) = up_ring(64, Full::Count);
    let mut engine = Engine::new(source, settings, parts(up, None));
    let segment =
        |flags: u8| frame(5, 6, &[], 6, &[&[0, 9, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags][..], &[0; 6]].concat());
    for (time, frame) in [
        (1, datagram(1)),
        (95 * SECOND, datagram(2)),
        (95 * SECOND + 1, datagram(3)),
        (99 * SECOND, segment(2)),
        (99 * SECOND, segment(4)),
        (100 * SECOND, datagram(4)),
    ] {
        kernel.send(&frame, frame.len() as u32, Some(Timestamp(time)), LinkType::Ethernet);
    }
    engine.turn();
    engine.finish();
    let mut ends = Vec::new();
    while let Some(item) = down.receive(|received| *received.item) {
        if let Up::Flow(flow) = item {
            ends.push((flow.key.endpoints(flow.originator).0.address & 0xff, flow.ended));
        }
    }
    ends.sort_unstable();
    let wanted =
        [(1, EndReason::Idle), (2, EndReason::Idle), (3, EndReason::Cut), (4, EndReason::Cut), (5, EndReason::Closed)];
    assert_eq!(ends, wanted.map(|(host, reason)| (host, Some(reason))));
}

/// Counts the rows that it scores.
struct Tallied(Arc<AtomicU64>);

impl Scorer for Tallied {
    fn score(&mut self, rows: &[f32], scores: &mut Scores) -> Result<(), ScoreError> {
        let rows = rows.chunks_exact(COUNT);
        self.0.fetch_add(rows.len() as u64, Relaxed);
        scores.attacks(rows.map(|_| 0.0));
        Ok(())
    }
}

/// Fails for as long as it is told to, and counts its calls.
struct Moody(Arc<[AtomicU64; 2]>);

impl Scorer for Moody {
    fn score(&mut self, rows: &[f32], scores: &mut Scores) -> Result<(), ScoreError> {
        let [fails, calls] = &*self.0;
        calls.fetch_add(1, Relaxed);
        let rows = rows.chunks_exact(COUNT);
        if fails.load(Relaxed) != 0 {
            return Err(ScoreError { rows: rows.len(), cause: "as told".into() });
        }
        scores.attacks(rows.map(|_| 1.0));
        Ok(())
    }
}

/// Where a pair is closed without a model no frame comes, and so no row: it would never be known that the model scores again.
#[test]
fn a_model_that_failed_is_tried_without_rows() {
    let (mut kernel, source) = ring(RingSettings { frames: 64, rx_slots: 32, ..RingSettings::default() });
    let mut settings = EngineSettings { live: true, ..EngineSettings::default() };
    (settings.flow.capacity, settings.windows) = (1 << 10, 1 << 10);
    let mood = Arc::new([AtomicU64::new(1), AtomicU64::new(0)]);
    let (snapshots, mut taken) = snapshot_ring(Box::<QueueSnapshot>::default());
    let parts =
        EngineParts { snapshots, ..parts(up_ring(64, Full::Count).0, Some(Box::new(Moody(Arc::clone(&mood))))) };
    let mut engine = Engine::new(source, settings, parts);
    let frame = frame(1, 2, &[], 17, &[0x9c, 0x40, 0, 53, 0, 10, 0, 0, 1, 2]);
    for _ in 0..4 {
        kernel.send(&frame, frame.len() as u32, None, LinkType::Ethernet);
    }
    engine.turn();
    while !engine.core.sinks.batch.is_empty() {
        engine.wait(Duration::from_micros(200));
        engine.turn();
    }
    assert_eq!(mood[1].load(Relaxed), 1, "the row's call failed");
    let due = engine.core.next_probe;
    assert!(due < Timestamp(u64::MAX));
    let mut turn = |calls: u64, is_due: bool| {
        let core = &mut engine.core;
        (core.next_chore, core.next_maintain) = (Timestamp(0), Timestamp(0));
        core.next_probe = if is_due { Timestamp(0) } else { core.next_probe };
        engine.turn();
        assert_eq!(mood[1].load(Relaxed), calls);
        engine.core.next_probe
    };
    assert_eq!(turn(1, false), due, "not before its time");
    assert!(turn(2, true) < Timestamp(u64::MAX), "it fails still, and is tried again");
    mood[0].store(0, Relaxed);
    assert_eq!(turn(3, true), Timestamp(u64::MAX));
    turn(3, false);
    let (mut failures, mut successes) = (0, 0);
    for ends in [false, true] {
        if ends {
            engine.finish(); // and the latest is sent
        }
        taken.drain(|snapshot| {
            failures += snapshot.state.score_failures;
            successes += snapshot.state.score_successes;
        });
    }
    assert_eq!((failures, successes), (2, 1), "what the supervisor hears");
    let counters = crate::metrics::read_counters(&*engine.core.sinks.counters.memory());
    assert_eq!((counters[Counter::ScoreErrors as usize], counters[Counter::RowsShed as usize]), (2, 1));
}

/// However often models change while frames come, each row is scored once, by a model that was there; none is lost, and what is
/// told of each model is what it scored.
#[test]
fn models_change_between_bursts_and_each_row_is_scored_once() {
    let (mut kernel, source) = ring(RingSettings { frames: 256, rx_slots: 128, ..RingSettings::default() });
    let mut settings = EngineSettings { live: true, ..EngineSettings::default() };
    (settings.flow.capacity, settings.windows) = (1 << 13, 1 << 10);
    let (mailbox, mut port) = mailbox();
    let tallies: Vec<Arc<AtomicU64>> = (0..21).map(|_| Arc::default()).collect();
    let scorer = |number: usize| Box::new(Tallied(Arc::clone(&tallies[number]))) as Box<dyn Scorer>;
    let parts = parts(up_ring(1 << 10, Full::Count).0, Some(scorer(0)));
    let mut engine = Engine::new(source, settings, parts).following(mailbox);
    let (mut flows, mut told) = (0_u16, vec![0; tallies.len()]);
    let mut number = 0;
    while number < 20 {
        let new = EngineSettings::default();
        let (thresholds, score) = (new.thresholds, ScoreSettings { fixed: Some(1 + number as u32), ..new.score });
        number += 1;
        let fitted = Fitted { number: number as u64, scorer: Some(scorer(number)), thresholds, score };
        assert!(port.swaps.send(Box::new(fitted)).is_ok(), "the one before was taken");
        let mut turns = 0;
        let old = loop {
            // Flows whose first row is due with their fourth packet, a few at a time and not in every turn.
            let more = if turns % 8 == 0 && flows < 6000 { turns % 5 } else { 0 };
            for _ in 0..more {
                let [high, low] = flows.to_be_bytes();
                let frame = frame(1, 2, &[], 17, &[high | 0x40, low, 0, 53, 0, 10, 0, 0, 1, 2]);
                (0..4).for_each(|_| assert_eq!(kernel.send_ethernet(&frame), Sent::Delivered));
                flows += 1;
            }
            engine.turn();
            port.samples.drain(|samples| told[samples.number as usize] += samples.scored);
            turns += 1;
            if let Some(old) = port.swaps.returned() {
                break old;
            }
        };
        assert_eq!(old.number, number as u64 - 1, "what it replaced");
        assert!(old.scorer.is_some() && engine.core.sinks.batch.is_empty(), "its rows were scored before");
        assert_eq!(engine.core.settings.score.fixed, Some(number as u32));
    }
    engine.finish();
    port.samples.drain(|samples| told[samples.number as usize] += samples.scored);
    let counters = crate::metrics::read_counters(&*engine.core.sinks.counters.memory());
    let count = |counter: Counter| counters[counter as usize];
    assert_eq!(count(Counter::ProcessedFlow), 4 * u64::from(flows));
    assert_eq!((count(Counter::RowsScored), count(Counter::RowsShed)), (flows.into(), 0));
    let scored: Vec<u64> = tallies.iter().map(|tally| tally.load(Relaxed)).collect();
    assert_eq!((scored.iter().sum::<u64>(), &scored), (flows.into(), &told));
    assert!(scored.iter().filter(|rows| **rows > 0).count() > 10, "{scored:?}");
}

/// Without a model nothing is scored and nothing waits; rows are made again when one comes, and after a restart.
#[test]
fn a_queue_goes_without_a_model_and_takes_one_again() {
    let (mut kernel, source) = ring(RingSettings { frames: 256, rx_slots: 128, ..RingSettings::default() });
    let mut settings = EngineSettings { live: true, ..EngineSettings::default() };
    (settings.flow.capacity, settings.windows) = (1 << 10, 1 << 10);
    let (mailbox, mut port) = mailbox();
    let tally = Arc::new(AtomicU64::new(0));
    let scorer = || Some(Box::new(Tallied(Arc::clone(&tally))) as Box<dyn Scorer>);
    let mut engine = Engine::new(source, settings, parts(up_ring(64, Full::Count).0, scorer())).following(mailbox);
    let mut port_of = 0;
    let mut flow = |engine: &mut Engine<_>| {
        port_of += 1;
        let frame = frame(1, 2, &[], 17, &[0x40, port_of, 0, 53, 0, 10, 0, 0, 1, 2]);
        (0..4).for_each(|_| assert_eq!(kernel.send_ethernet(&frame), Sent::Delivered));
        engine.turn();
        while !engine.core.sinks.batch.is_empty() {
            engine.turn();
        }
        tally.load(Relaxed)
    };
    assert_eq!(flow(&mut engine), 1);
    for (number, scorer, expected) in [(1, None, 1), (2, scorer(), 2), (3, None, 2), (4, scorer(), 3)] {
        let EngineSettings { thresholds, score, .. } = EngineSettings::default();
        port.swaps.send(Box::new(Fitted { number, scorer, thresholds, score })).ok().unwrap();
        while port.swaps.returned().is_none() {
            engine.turn();
            port.samples.drain(|_| ());
        }
        assert!(engine.restart() && engine.core.sinks.batch.is_empty());
        assert_eq!(flow(&mut engine), expected, "activation {number}");
    }
}

/// As its ring fills a queue leaves out scoring, then inspection, each counted; every frame still is in its flow.
#[test]
fn an_overloaded_queue_counts_flows_and_leaves_the_rest_out() {
    let (mut kernel, source) = ring(RingSettings { frames: 512, rx_slots: 256, ..RingSettings::default() });
    let rx = RxSettings { fixed: Some(32), ..RxSettings::default() };
    let mut settings = EngineSettings { live: true, forwards: true, rx, ..EngineSettings::default() };
    (settings.flow.capacity, settings.windows) = (1 << 10, 1 << 10);
    let tally = Arc::new(AtomicU64::new(0));
    let scorer = Box::new(Tallied(Arc::clone(&tally))) as Box<dyn Scorer>;
    let (snapshots, mut taken) = snapshot_ring(Box::<QueueSnapshot>::default());
    let parts = EngineParts { snapshots, ..parts(up_ring(1 << 10, Full::Count).0, Some(scorer)) };
    let mut engine = Engine::new(source, settings, parts);
    let mut held = 0;
    // A ring that is full: 64 flows of four packets, a row due with each fourth.
    for flow in 0..64 {
        let frame = frame(1, 2, &[], 17, &[0x40, flow, 0, 53, 0, 10, 0, 0, 1, 2]);
        (0..4).for_each(|_| assert_eq!(kernel.send_ethernet(&frame), Sent::Delivered));
    }
    let mut levels = Vec::new();
    for _ in 0..8 {
        engine.turn();
        levels.push(engine.core.sinks.shed);
        taken.drain(|snapshot| held += snapshot.histograms.stage(Stage::Forward).len());
    }
    // Before each burst of 32: 256, 224, ... 32 wait, of 256.
    let mut expected = vec![Shed::Inspection; 6]; // down to 96, three eighths
    expected.extend([Shed::Scoring, Shed::Nothing]); // 64 is two eighths, 32 below
    assert_eq!(levels, expected);
    engine.finish();
    taken.drain(|snapshot| held += snapshot.histograms.stage(Stage::Forward).len());
    assert_eq!(held, 256, "how long each was held");
    let counters = crate::metrics::read_counters(&*engine.core.sinks.counters.memory());
    let count = |counter: Counter| counters[counter as usize];
    assert_eq!((count(Counter::FramesReceived), count(Counter::ProcessedFlow)), (256, 256));
    assert_eq!(count(Counter::InspectionShed), 6 * 32);
    assert_eq!(count(Counter::RowsShedOverload), 7 * 8, "eight flows a burst");
    assert_eq!((tally.load(Relaxed), count(Counter::RowsScored)), (8, 8));
}
