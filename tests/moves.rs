//! Queues move between workers under load, by hand and when workers come and go, and no frame and no flow is lost.

use shrike::clock::Clock;
use shrike::control::hosts;
use shrike::control::store::{self, Store};
use shrike::control::supervisor::{Capture, QueueParts, Settings, Supervisor};
use shrike::control::view::{Amount, CaptureMode, CommandError, Degraded, Equation, Metric, QueueStatus, System};
use shrike::dataplane::capture::LinkType;
use shrike::dataplane::capture::memory::{FakeKernel, RingSettings, Sent, ring};
use shrike::dataplane::worker::{
    Engine, EngineParts, EngineSettings, HandoverInbox, QueueSnapshot, RxSettings, ScoreSettings, handover_ring,
};
use shrike::exchange::{Full, snapshot_ring, up_ring};
use shrike::metrics::{COUNTERS, Counter, CounterBlock};
use shrike::units::{QueueId, Timestamp, WorkerId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The fake kernel as a capture: nothing to re-arm, nothing lost outside the rings.
struct Memory;

impl Capture for Memory {
    fn status(&self, queue: QueueId) -> Option<QueueStatus> {
        Some(QueueStatus {
            id: queue,
            interface: "memory".into(),
            namespace: None,
            nic_queue: queue.0.into(),
            mode: CaptureMode::Memory,
            requested: "memory".into(),
            huge_pages: false,
            busy_poll: false,
            symmetry: "handover".into(),
        })
    }
    fn equations(&self, _: &BTreeMap<QueueId, [u64; COUNTERS.len()]>) -> Vec<Equation> {
        Vec::new()
    }
    fn drops(&self) -> Vec<Amount> {
        Vec::new()
    }
    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }
    fn degraded(&self, _: Timestamp) -> Vec<Degraded> {
        Vec::new()
    }
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
    fn poll(&mut self, _: Timestamp) {}
    fn stop(&mut self) {}
}

/// A UDP frame of one of `flows` flows, in one of its two directions.
fn frame(flow: u16, back: bool) -> Vec<u8> {
    let builder = if back {
        etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 2], [10, 0, 0, 1], 64)
            .udp(53, 10_000 + flow)
    } else {
        etherparse::PacketBuilder::ethernet2([4; 6], [2; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(10_000 + flow, 53)
    };
    let mut bytes = Vec::new();
    builder.write(&mut bytes, b"payload").expect("a frame in memory");
    bytes
}

/// `count` queues over fake kernels; with `handover` frames of foreign flows go to their owner.
fn queues(count: usize, handover: bool, clock: &Clock) -> (Vec<FakeKernel>, Vec<QueueParts>) {
    let mut senders: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
    let mut inboxes: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
    if handover {
        for (from, out) in senders.iter_mut().enumerate() {
            for (to, inbox) in inboxes.iter_mut().enumerate() {
                if from == to {
                    out.push(None);
                } else {
                    let (sender, receiver) = handover_ring(1 << 20);
                    out.push(Some(sender));
                    inbox.push(receiver);
                }
            }
        }
    }
    let mut kernels = Vec::new();
    let mut parts = Vec::new();
    for (index, (peers, inbox)) in senders.into_iter().zip(inboxes).enumerate() {
        let (kernel, source) = ring(RingSettings::default());
        kernels.push(kernel);
        let id = QueueId(index as u16);
        let counters = CounterBlock::in_memory();
        let memory = counters.memory();
        let (up_sender, up) = up_ring(1 << 14, Full::Count);
        let (snapshot_sender, snapshots) = snapshot_ring(Box::<QueueSnapshot>::default());
        let mut settings = EngineSettings::default();
        settings.flow.capacity = 1 << 12;
        settings.windows = 1 << 12;
        let engine = Engine::new(
            source,
            settings,
            EngineParts {
                id,
                counters,
                up: up_sender,
                snapshots: snapshot_sender,
                scorer: None,
                peers,
                place: index,
                inbox: HandoverInbox::new(inbox),
                secret: [1, 2, 3, 4],
                clock: clock.clone(),
            },
        );
        parts.push(QueueParts {
            id,
            name: format!("memory:{index}"),
            counters: memory,
            up,
            snapshots,
            engine: Box::new(engine),
        });
    }
    (kernels, parts)
}

fn settings(cores: usize) -> Settings {
    Settings {
        mode: "test".into(),
        cores: (0..cores).collect(),
        pin: false,
        scale: false,
        spin_turns: 16,
        rx: RxSettings::default(),
        score: ScoreSettings::default(),
        detect: hosts::Settings::default(),
        usual: None,
        model: None,
        notes: Vec::new(),
        degraded: Vec::new(),
    }
}

/// Sends to every queue until told to stop; a full ring is waited out, so that every frame sent must arrive.
fn send(mut kernels: Vec<FakeKernel>, flows: u16, stop: &AtomicBool) -> u64 {
    let mut sent = 0_u64;
    let frames: Vec<Vec<u8>> = (0..flows).flat_map(|flow| [frame(flow, false), frame(flow, true)]).collect();
    'all: loop {
        for bytes in &frames {
            let queue = (sent % kernels.len() as u64) as usize;
            loop {
                if stop.load(Relaxed) {
                    break 'all;
                }
                match kernels[queue].send(bytes, bytes.len() as u32, None, LinkType::Ethernet) {
                    Sent::Delivered => break,
                    _ => std::thread::yield_now(),
                }
            }
            sent += 1;
        }
    }
    for kernel in &mut kernels {
        kernel.flush();
    }
    sent
}

#[test]
fn no_flow_is_lost_when_queues_move_and_workers_come_and_go() {
    const FLOWS: u16 = 200;
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::new();
    let (kernels, parts) = queues(3, true, &clock);
    let store = Store::open(store::Settings::at(folder.path().join("alerts.db"))).expect("a fresh store");
    let mut supervisor =
        Supervisor::start(settings(2), parts, Box::new(Memory), store, clock.clone()).expect("threads to start");
    let picture = supervisor.picture();
    let stop = Arc::new(AtomicBool::new(false));
    let sender = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || send(kernels, FLOWS, &stop))
    };
    // Orders come from another thread, as they do over HTTP, while frames run.
    let orders = std::thread::spawn(move || {
        let patiently = |order: &dyn Fn() -> Result<(), CommandError>| loop {
            match order() {
                Err(CommandError::Busy(_)) => std::thread::yield_now(),
                outcome => return outcome,
            }
        };
        for round in 0..30_u16 {
            patiently(&|| picture.move_queue(QueueId(round % 3), WorkerId(round % 2)))
                .expect("a move between living workers");
        }
        assert!(matches!(picture.move_queue(QueueId(9), WorkerId(0)), Err(CommandError::NotFound(_))));
        assert!(matches!(picture.move_queue(QueueId(0), WorkerId(9)), Err(CommandError::NotFound(_))));
        assert!(matches!(picture.add_worker(), Err(CommandError::Conflict(_))), "both cores have their worker");
        patiently(&|| picture.remove_worker(WorkerId(0))).expect("the other worker takes its queues");
        assert!(matches!(patiently(&|| picture.remove_worker(WorkerId(1))), Err(CommandError::Conflict(_))));
        let mut added = picture.add_worker();
        while matches!(added, Err(CommandError::Conflict(_) | CommandError::Busy(_))) {
            std::thread::yield_now();
            added = picture.add_worker();
        }
        let added = added.expect("the core that was given up is free again");
        patiently(&|| picture.move_queue(QueueId(1), added)).expect("a move to the new worker");
    });
    let mut sent = None;
    let mut sender = Some(sender);
    let picture = supervisor.picture();
    supervisor.run(|| {
        if !orders.is_finished() {
            return false;
        }
        stop.store(true, Relaxed);
        if sender.as_ref().is_some_and(std::thread::JoinHandle::is_finished) {
            sent = sender.take().and_then(|sender| sender.join().ok());
        }
        // The kernels are gone with their thread, so the sources end by themselves: the run goes on until they have.
        false
    });
    orders.join().expect("the orders were followed");
    let sent = match sender {
        Some(sender) => sender.join().expect("the sender"),
        None => sent.expect("the sender's count"),
    };
    let counters = picture.counters();
    let sum = |counter: Counter| counters.iter().map(|queue| queue.value(counter)).sum::<u64>();
    assert!(sent > u64::from(FLOWS) * 4, "only {sent} frames were sent: nothing moved under load");
    assert_eq!(sum(Counter::FramesReceived), sent, "every frame sent arrived");
    assert_eq!(sum(Counter::HandoverReceived), sum(Counter::HandedOver));
    assert_eq!(
        sum(Counter::ProcessedFlow) + sum(Counter::DropHandoverFull),
        sent,
        "every frame updated a flow or is a named drop"
    );
    assert_eq!(sum(Counter::FlowsCreated), u64::from(FLOWS), "both directions met, and no move began a flow anew");
    assert!(picture.status().loss.closed, "{:?}", picture.status().loss);
}
