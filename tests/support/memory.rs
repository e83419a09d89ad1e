//! A supervisor over fake kernels: the whole program but the NIC, and queues that misbehave on command.
#![allow(dead_code)] // each test binary uses its own part

use shrike::clock::Clock;
use shrike::control::hosts;
use shrike::control::supervisor::{Capture, QueueParts, Settings};
use shrike::control::view::{Amount, CaptureMode, Degraded, Equation, Metric, QueueStatus};
use shrike::dataplane::capture::memory::{FakeKernel, RingSettings, ring};
use shrike::dataplane::features::COUNT;
use shrike::dataplane::score::{ScoreError, Scorer, Scores};
use shrike::dataplane::worker::{
    Engine, EngineParts, EngineSettings, HandoverInbox, HandoverPlace, HandoverReceiver, MailboxPort, QueueSnapshot,
    RxSettings, ScoreSettings, handover_mesh, mailbox,
};
use shrike::exchange::{Full, snapshot_ring, up_ring};
use shrike::metrics::{COUNTERS, CounterBlock};
use shrike::units::{QueueId, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The fake kernel as a capture: nothing to re-arm, nothing lost outside the rings. Its interface goes when told to.
#[derive(Default)]
pub struct Memory {
    pub unplugged: Arc<AtomicBool>,
}

impl Capture for Memory {
    fn status(&self, queue: QueueId) -> Option<QueueStatus> {
        Some(QueueStatus {
            id: queue,
            interface: "memory".into(),
            namespace: None,
            nic_queue: queue.0.into(),
            mode: if self.unplugged.load(Relaxed) { CaptureMode::Detached } else { CaptureMode::Memory },
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

/// A UDP frame of a flow, in one of its two directions. Each has a client of its own: datagrams are owned by addresses.
pub fn frame(flow: u16, back: bool) -> Vec<u8> {
    let [high, low] = flow.to_be_bytes();
    let client = [10, 1, high, low];
    let builder = if back {
        etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 2], client, 64).udp(53, 10_000 + flow)
    } else {
        etherparse::PacketBuilder::ethernet2([4; 6], [2; 6]).ipv4(client, [10, 0, 0, 2], 64).udp(10_000 + flow, 53)
    };
    let mut bytes = Vec::new();
    builder.write(&mut bytes, b"payload").expect("a frame in memory");
    bytes
}

/// Fake kernels and the queues over them.
pub struct Bed {
    /// How many queues.
    pub queues: usize,
    /// Frames of foreign flows go to their owner.
    pub handover: bool,
    /// Frames of each ring.
    pub frames: usize,
}

/// A model whose calls fail when told to.
pub struct Moody(pub Arc<AtomicBool>);

impl Scorer for Moody {
    fn score(&mut self, rows: &[f32], scores: &mut Scores) -> Result<(), ScoreError> {
        let rows = rows.len() / COUNT;
        scores.attacks((0..rows).map(|_| 0.0));
        match self.0.load(Relaxed) {
            true => Err(ScoreError { rows, cause: "as the test told it to".into() }),
            false => Ok(()),
        }
    }
}

impl Bed {
    /// The kernels, and what a supervisor takes.
    pub fn open(&self, clock: &Clock) -> (Vec<FakeKernel>, Vec<QueueParts>) {
        self.open_with(clock, || None)
    }

    /// As [`Bed::open`], with a model for each queue.
    pub fn open_with(
        &self,
        clock: &Clock,
        scorer: impl Fn() -> Option<Box<dyn Scorer>>,
    ) -> (Vec<FakeKernel>, Vec<QueueParts>) {
        let (kernels, parts, _) = self.open_following(clock, scorer);
        (kernels, parts)
    }

    /// As [`Bed::open_with`], with the other sides of the doors where queues take other models.
    pub fn open_following(
        &self,
        clock: &Clock,
        scorer: impl Fn() -> Option<Box<dyn Scorer>>,
    ) -> (Vec<FakeKernel>, Vec<QueueParts>, Vec<MailboxPort>) {
        let mut ports = Vec::new();
        let count = self.queues;
        let places = handover_mesh(if self.handover { count } else { 0 }, 1 << 20);
        let places = places.into_iter().chain(std::iter::repeat_with(HandoverPlace::default)).take(count);
        let mut kernels = Vec::new();
        let mut parts = Vec::new();
        for (index, HandoverPlace { peers, inbox }) in places.enumerate() {
            let (kernel, source) =
                ring(RingSettings { frames: self.frames, rx_slots: self.frames / 2, ..RingSettings::default() });
            kernels.push(kernel);
            let id = QueueId(index as u16);
            let counters = CounterBlock::in_memory();
            let memory = counters.memory();
            let (up_sender, up) = up_ring(1 << 12, Full::Count);
            let (snapshot_sender, snapshots) = snapshot_ring(Box::<QueueSnapshot>::default());
            let mut settings = EngineSettings::default();
            settings.flow.capacity = 1 << 12;
            settings.windows = 1 << 12;
            settings.live = true;
            let handover = inbox.iter().map(HandoverReceiver::count).collect();
            let engine = Engine::new(
                source,
                settings,
                EngineParts {
                    id,
                    counters,
                    up: up_sender,
                    snapshots: snapshot_sender,
                    scorer: scorer(),
                    peers,
                    place: index,
                    inbox: HandoverInbox::new(inbox),
                    secret: [1, 2, 3, 4],
                    clock: clock.clone(),
                },
            );
            let (mailbox, port) = mailbox();
            ports.push(port);
            parts.push(QueueParts {
                id,
                name: format!("memory:{index}"),
                interface: "memory".into(),
                counters: memory,
                up,
                snapshots,
                handover,
                engine: Box::new(engine.following(mailbox)),
            });
        }
        (kernels, parts, ports)
    }
}

/// Settings of a supervisor whose workers are not pinned.
pub fn settings(cores: usize) -> Settings {
    Settings {
        mode: "test".into(),
        cores: (0..cores).collect(),
        pin: false,
        scale: false,
        minimum: 1,
        spin_turns: 16,
        rx: RxSettings::default(),
        score: ScoreSettings::default(),
        detect: hosts::Settings::default(),
        model: None,
        notes: Vec::new(),
        degraded: Vec::new(),
    }
}
