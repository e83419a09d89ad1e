//! Two queues that hand each other frames of every kind the decoder has a way of its own for.

use shrike::clock::Clock;
use shrike::dataplane::capture::LinkType;
use shrike::dataplane::capture::memory::{LoopFrames, LoopSource};
use shrike::dataplane::features::COUNT;
use shrike::dataplane::score::{ScoreError, Scorer, Scores};
use shrike::dataplane::worker::{
    Engine, EngineParts, EngineSettings, HandoverInbox, HandoverPlace, Queue, QueueSnapshot, ScoreSettings,
    handover_mesh,
};
use shrike::exchange::{Full, snapshot_ring, up_ring};
use shrike::metrics::{COUNTERS, Counter, CounterBlock, Role, read_counters};
use shrike::units::{MICROSECOND, QueueId, SECOND, Timestamp};

/// Flows of each kind.
const FLOWS: u16 = 64;
/// Bytes of the first fragment's payload; a multiple of eight.
const FRAGMENT: usize = 512;

fn ethernet() -> etherparse::PacketBuilderStep<etherparse::Ethernet2Header> {
    etherparse::PacketBuilder::ethernet2([4; 6], [2; 6])
}

fn built<T>(
    step: etherparse::PacketBuilderStep<T>,
    write: impl FnOnce(etherparse::PacketBuilderStep<T>, &mut Vec<u8>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(step, &mut bytes);
    bytes
}

fn v4(flow: u16, payload: usize) -> Vec<u8> {
    let step = ethernet().ipv4([10, 0, 1, flow as u8], [10, 0, 0, 2], 64).udp(10_000 + flow, 53);
    built(step, |step, bytes| step.write(bytes, &vec![7; payload]).expect("a frame in memory"))
}

fn v6(flow: u16) -> Vec<u8> {
    let mut source = [0x20; 16];
    source[15] = flow as u8;
    let step = ethernet().ipv6(source, [0x21; 16], 64).tcp(20_000 + flow, 443, 1, 1000).ack(1);
    built(step, |step, bytes| step.write(bytes, b"hello").expect("a frame in memory"))
}

fn tagged(flow: u16, outer: bool) -> Vec<u8> {
    let vlan = |number| number % 4094 + 1;
    let (one, two) = (vlan(flow).try_into().expect("below 4095"), vlan(flow / 2).try_into().expect("below 4095"));
    let step = if outer { ethernet().double_vlan(one, two) } else { ethernet().double_vlan(two, one) };
    let step = step.ipv4([10, 0, 2, flow as u8], [10, 0, 0, 2], 64).udp(30_000 + flow, 53);
    let mut bytes = built(step, |step, bytes| step.write(bytes, b"payload").expect("a frame in memory"));
    if !outer {
        // One tag: the outer one is cut out.
        bytes.drain(12..16);
        bytes[12..14].copy_from_slice(&0x8100_u16.to_be_bytes());
    }
    bytes
}

/// A datagram in two fragments.
fn fragments(flow: u16) -> [Vec<u8>; 2] {
    let whole = v4(flow + 100, 2 * FRAGMENT - 8);
    let part = |offset: usize, more: u16| {
        let mut bytes = whole[..34].to_vec();
        bytes.extend_from_slice(&whole[34 + offset..34 + offset + FRAGMENT]);
        bytes[16..18].copy_from_slice(&((20 + FRAGMENT) as u16).to_be_bytes());
        bytes[18..20].copy_from_slice(&(flow + 1).to_be_bytes());
        bytes[20..22].copy_from_slice(&(more << 13 | (offset / 8) as u16).to_be_bytes());
        bytes
    };
    [part(0, 1), part(FRAGMENT, 0)]
}

/// Port unreachable that quotes a flow.
fn unreachable(flow: u16) -> Vec<u8> {
    let quoted = v4(flow, 7);
    let kind = etherparse::Icmpv4Type::DestinationUnreachable(etherparse::icmpv4::DestUnreachableHeader::Port);
    let step = ethernet().ipv4([10, 0, 0, 2], [10, 0, 1, flow as u8], 64).icmpv4(kind);
    built(step, |step, bytes| step.write(bytes, &quoted[14..]).expect("a frame in memory"))
}

fn source(packets: u64) -> LoopSource {
    let mut frames = LoopFrames::new(2048);
    let mut time = Timestamp(1_700_000_000 * SECOND);
    for flow in 0..FLOWS {
        let [first, later] = fragments(flow);
        for bytes in [v4(flow, 7), v6(flow), tagged(flow, false), tagged(flow, true), first, later, unreachable(flow)] {
            time = time.after(20 * MICROSECOND);
            assert!(frames.push(&bytes, bytes.len() as u32, time, LinkType::Ethernet));
        }
    }
    frames.into_source(packets, time, 20 * MICROSECOND)
}

struct Discard;

impl Scorer for Discard {
    fn score(&mut self, rows: &[f32], scores: &mut Scores) -> Result<(), ScoreError> {
        scores.attacks((0..rows.len() / COUNT).map(|_| 0.0));
        Ok(())
    }
}

/// Drives both queues over `packets` packets each.
pub fn run(packets: u64) {
    let clock = Clock::new();
    let mut engines = Vec::new();
    let mut readers = Vec::new();
    for (index, HandoverPlace { peers, inbox }) in handover_mesh(2, 1 << 20).into_iter().enumerate() {
        let (up, receiver) = up_ring(1 << 12, Full::Count);
        let (snapshots, snapshot_receiver) = snapshot_ring::<QueueSnapshot>(Box::default());
        let counters = CounterBlock::in_memory();
        readers.push((receiver, snapshot_receiver, counters.memory()));
        let mut settings = EngineSettings {
            score: ScoreSettings { fixed: Some(64), wait_ns: u64::MAX, ..ScoreSettings::default() },
            ..EngineSettings::default()
        };
        (settings.flow.capacity, settings.windows) = (1 << 12, 1 << 12);
        let parts = EngineParts {
            id: QueueId(index as u16),
            counters,
            up,
            snapshots,
            scorer: Some(Box::new(Discard)),
            peers,
            place: index,
            inbox: HandoverInbox::new(inbox),
            secret: [11, 12, 13, 14],
            clock: clock.clone(),
        };
        engines.push(Engine::new(source(packets), settings, parts));
    }
    loop {
        let ended = engines.iter_mut().map(|engine| engine.turn().ended).filter(|ended| *ended).count();
        for (up, _, _) in &mut readers {
            while up.receive(|_| ()).is_some() {}
        }
        if ended == engines.len() {
            break;
        }
    }
    let mut sums = [0; COUNTERS.len()];
    for (_, _, memory) in &readers {
        read_counters(&**memory).iter().zip(&mut sums).for_each(|(value, sum)| *sum += value);
    }
    let of = |counter: Counter| sums[counter as usize];
    let drops: u64 = COUNTERS.iter().filter(|one| one.role() == Role::Drop).map(|one| of(*one)).sum();
    assert_eq!((drops, of(Counter::FramesReceived)), (0, 2 * packets), "{sums:?}");
    assert_eq!(of(Counter::HandedOver), of(Counter::HandoverReceived));
    for (counter, share) in [(Counter::HandedOver, 4), (Counter::Fragments, 8), (Counter::RowsScored, 10_000)] {
        assert!(of(counter) > packets / share, "{}: {sums:?}", counter.name());
    }
}
