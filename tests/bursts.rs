//! A burst in which frames of no flow lie between the others: what is handed to the owner, and which error quotes what, must
//! be told by the frame's own place, not by that of the packet after the gaps are closed.

use shrike::clock::Clock;
use shrike::dataplane::capture::memory::{FakeKernel, MemorySource, RingSettings, Sent, ring};
use shrike::dataplane::capture::{FrameView, LinkType};
use shrike::dataplane::decode::{Decoded, Packet, decode};
use shrike::dataplane::worker::{
    Bell, Engine, EngineParts, EngineSettings, HandoverInbox, HandoverReceiver, Queue, QueueSnapshot, RxSettings,
    handover_ring,
};
use shrike::exchange::{Full, SnapshotReceiver, UpReceiver, snapshot_ring, up_ring};
use shrike::metrics::{Counter, CounterBlock, CounterMemory, read_counters};
use shrike::units::QueueId;
use std::sync::Arc;

fn udp(flow: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    etherparse::PacketBuilder::ethernet2([4; 6], [2; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(10_000 + flow, 53)
        .write(&mut bytes, &flow.to_be_bytes())
        .expect("a frame in memory");
    bytes
}

/// Port unreachable that quotes the IP packet in `frame`.
fn unreachable(frame: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 2], [10, 0, 0, 1], 64)
        .icmpv4(etherparse::Icmpv4Type::DestinationUnreachable(etherparse::icmpv4::DestUnreachableHeader::Port))
        .write(&mut bytes, &frame[14..])
        .expect("a frame in memory");
    bytes
}

/// A frame that begins with `kind` and holds nothing that we read.
fn other(kind: u16) -> Vec<u8> {
    let mut bytes = vec![2; 12];
    bytes.extend(kind.to_be_bytes());
    bytes.resize(60, 0);
    bytes
}

fn owner(bytes: &[u8]) -> usize {
    let mut packet = Packet::default();
    let view = FrameView { port: 0, bytes, wire_bytes: bytes.len() as u32, time: None, link: LinkType::Ethernet };
    assert_eq!(decode(view, &mut packet), Decoded::Flow);
    packet.key.owner(2)
}

/// A frame in VXLAN, cut into two fragments.
fn tunnelled(flow: u16) -> ([Vec<u8>; 2], Vec<u8>) {
    let mut inner = Vec::new();
    etherparse::PacketBuilder::ethernet2([4; 6], [2; 6])
        .ipv4([10, 1, flow as u8, 1], [10, 1, 0, 2], 64)
        .udp(10_000 + flow, 9999)
        .write(&mut inner, &[7; 600])
        .expect("a frame in memory");
    let mut whole = Vec::new();
    etherparse::PacketBuilder::ethernet2([4; 6], [2; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(50_000, 4789)
        .write(&mut whole, &[&[8, 0, 0, 0, 0, 0, 99, 0][..], &inner].concat())
        .expect("a frame in memory");
    let (head, body) = whole.split_at(34);
    let piece = |part: &[u8], offset: usize, is_last: bool| {
        let mut frame = [head, part].concat();
        let field = (offset / 8) as u16 | if is_last { 0 } else { 0x2000 };
        frame[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
        frame[18..20].copy_from_slice(&flow.to_be_bytes());
        frame[20..22].copy_from_slice(&field.to_be_bytes());
        frame
    };
    ([piece(&body[..400], 0, false), piece(&body[400..], 400, true)], whole)
}

/// One of two queues, and what it hands to the other.
struct Bench {
    kernel: FakeKernel,
    engine: Engine<MemorySource>,
    peer: HandoverReceiver,
    memory: Arc<dyn CounterMemory>,
    _receivers: (UpReceiver, SnapshotReceiver<QueueSnapshot>),
}

fn bench(place: usize) -> Bench {
    let (kernel, source) = ring(RingSettings::default());
    let (sender, peer) = handover_ring(1 << 20, &Bell::new());
    let (up, up_receiver) = up_ring(1 << 10, Full::Count);
    let (snapshots, snapshot_receiver) = snapshot_ring(Box::<QueueSnapshot>::default());
    let counters = CounterBlock::in_memory();
    let memory = counters.memory();
    let mut settings =
        EngineSettings { rx: RxSettings { fixed: Some(256), ..RxSettings::default() }, ..Default::default() };
    (settings.flow.capacity, settings.windows) = (1 << 10, 1 << 10);
    let parts = EngineParts {
        id: QueueId(0),
        counters,
        up,
        snapshots,
        scorer: None,
        peers: if place == 0 { vec![None, Some(sender)] } else { vec![Some(sender), None] },
        place,
        inbox: HandoverInbox::new(Vec::new()),
        secret: [1, 2, 3, 4],
        clock: Clock::new(),
    };
    let engine = Engine::new(source, settings, parts);
    Bench { kernel, engine, peer, memory, _receivers: (up_receiver, snapshot_receiver) }
}

/// Of a tunnel that is cut, the packets in it go to the queue of their flow, in their order among those that are not cut.
#[test]
fn what_was_cut_is_handed_over_like_what_was_not() {
    // Fragments belong to whom the addresses say; that queue is this one.
    let place = owner(&udp(0));
    let Bench { mut kernel, mut engine, peer, memory, .. } = bench(place);
    let (mut frames, mut expected) = (Vec::new(), Vec::new());
    for flow in 0..20 {
        let (pieces, whole) = tunnelled(flow);
        if owner(&whole) != place {
            expected.push(whole[14..].to_vec());
        }
        frames.extend(pieces);
        let inner = whole[50..].to_vec();
        if owner(&inner) != place {
            expected.push(inner.clone());
        }
        frames.push(inner);
    }
    for frame in &frames {
        assert!(matches!(kernel.send_ethernet(frame), Sent::Delivered), "the ring holds them all");
    }
    assert_eq!(engine.turn().frames, frames.len(), "one burst");
    let mut inbox = HandoverInbox::new(vec![peer]);
    let count = inbox.receive(256);
    let got: Vec<Vec<u8>> = (0..count).map(|index| inbox.frame(index).bytes.to_vec()).collect();
    // A datagram put together has no more its header's checksum and length of one piece; who sent what is what counts.
    let seen = |bytes: &[u8]| {
        let mut packet = Packet::default();
        let is_raw = bytes.first() == Some(&0x45);
        let link = if is_raw { LinkType::RawIp } else { LinkType::Ethernet };
        let view = FrameView { port: 0, bytes, wire_bytes: bytes.len() as u32, time: None, link };
        assert_eq!(decode(view, &mut packet), Decoded::Flow);
        (is_raw, packet.key, packet.payload_bytes)
    };
    let keys = |all: &[Vec<u8>]| all.iter().map(|bytes| seen(bytes)).collect::<Vec<_>>();
    assert_eq!(keys(&got), keys(&expected));
    let raw = got.iter().filter(|bytes| seen(bytes).0).count() as u64;
    assert!(raw > 3 && raw < 20, "{raw}");
    let values = read_counters(&*memory);
    let value = |counter: Counter| values[counter as usize];
    assert_eq!((value(Counter::HandedOver), value(Counter::DatagramsUnwrapped)), (expected.len() as u64, 20));
    assert_eq!(value(Counter::ProcessedFlow), 40 + 20 + 20 - expected.len() as u64);
}

#[test]
fn what_is_handed_over_is_the_frame_itself_whatever_lies_between() {
    for gaps in [false, true] {
        let Bench { mut kernel, mut engine, peer, memory, .. } = bench(0);
        let foreign = (0..).find(|flow| owner(&udp(*flow)) == 1).expect("half of all flows are");
        let (mut frames, mut expected) = (Vec::new(), Vec::new());
        for flow in 0..40 {
            if gaps && flow % 3 == 0 {
                frames.extend([other(0x0806), other(0x88cc)]);
            }
            if owner(&udp(flow)) == 1 {
                expected.push((false, udp(flow)));
            }
            frames.push(udp(flow));
        }
        let error = unreachable(&udp(foreign));
        // Told to the owner of the flow it quotes, and handed over if it is of a flow of its own that lives there.
        expected.push((true, error.clone()));
        if owner(&error) == 1 {
            expected.push((false, error.clone()));
        }
        frames.push(error);
        for frame in &frames {
            assert!(matches!(kernel.send_ethernet(frame), Sent::Delivered), "the ring holds them all");
        }
        assert_eq!(engine.turn().frames, frames.len(), "one burst");
        let mut inbox = HandoverInbox::new(vec![peer]);
        let count = inbox.receive(256);
        let got: Vec<(bool, Vec<u8>)> =
            (0..count).map(|index| (inbox.is_note(index), inbox.frame(index).bytes.to_vec())).collect();
        assert_eq!(got, expected, "gaps: {gaps}");
        let values = read_counters(&*memory);
        let value = |counter: Counter| values[counter as usize];
        let handed = expected.iter().filter(|(note, _)| !note).count() as u64;
        let (arp, others) = if gaps { (14, 14) } else { (0, 0) };
        assert_eq!((value(Counter::ProcessedArp), value(Counter::ProcessedOther)), (arp, others));
        assert_eq!((value(Counter::HandedOver), value(Counter::ProcessedFlow)), (handed, 41 - handed));
    }
}
