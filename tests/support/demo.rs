//! A system that is not there: plausible, changing numbers for the tests of the API and the live page. Never in the product.
//!
//! Time is a number of ticks (quarter seconds) that the caller moves on; everything else follows from it.
#![allow(dead_code)] // each test binary uses its own part

use shrike::control::alert::Alert;
use shrike::control::view::*;
use shrike::dataplane::detect::{Detector, Evidence, FlowRef, Term};
use shrike::exchange::FlowSummary;
use shrike::metrics::{COUNTERS, Counter, Stage};
use shrike::units::{QueueId, SECOND, Timestamp, WorkerId};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// When the demo began.
const START: Timestamp = Timestamp(1_763_700_000 * SECOND);
const TICKS_PER_SECOND: u64 = 4;

/// Pairs after so many quarter seconds, when one is bypassed, and when all is broken.
type Pairs = fn(u64, bool, bool) -> Vec<PairView>;

/// Two workers, four queues on two interfaces.
pub struct DemoSystem {
    tick: AtomicU64,
    /// A leak of frames and a dead model, for the red states.
    pub broken: AtomicBool,
    pub ready: AtomicBool,
    pub alive: AtomicBool,
    /// How often it was started anew.
    pub restarts: AtomicU64,
    /// Worker of each queue.
    place: Mutex<Vec<u16>>,
    /// Flows that live.
    pub living: Mutex<Vec<FlowSummary>>,
    /// Why a census cannot tell all.
    pub incomplete: Mutex<Option<String>>,
    /// Censuses asked for.
    pub censuses: AtomicU64,
    /// `inline::pairs`.
    pub pairs: Mutex<Option<Pairs>>,
    /// The first pair is bypassed.
    pub bypassed: AtomicBool,
}

impl DemoSystem {
    pub fn new() -> DemoSystem {
        DemoSystem {
            tick: AtomicU64::new(240),
            broken: AtomicBool::new(false),
            restarts: AtomicU64::new(0),
            ready: AtomicBool::new(true),
            alive: AtomicBool::new(true),
            place: Mutex::new(vec![0, 0, 1, 1]),
            living: Mutex::default(),
            incomplete: Mutex::default(),
            censuses: AtomicU64::new(0),
            pairs: Mutex::default(),
            bypassed: AtomicBool::new(false),
        }
    }

    /// Moves on a quarter of a second.
    pub fn advance(&self) {
        self.tick.fetch_add(1, Relaxed);
    }

    pub fn now(&self) -> Timestamp {
        START.after(self.tick.load(Relaxed) * SECOND / TICKS_PER_SECOND)
    }

    fn seconds(&self) -> f64 {
        self.tick.load(Relaxed) as f64 / TICKS_PER_SECOND as f64
    }

    /// Frames a second of one queue at `seconds`: a slow swell, a ripple, and a flood every two minutes.
    fn rate(queue: usize, seconds: f64) -> f64 {
        let base = [410_000.0, 320_000.0, 95_000.0, 61_000.0][queue];
        let swell =
            1.0 + 0.25 * (seconds / 23.0 + queue as f64).sin() + 0.07 * (seconds / 3.1 + queue as f64 * 2.0).sin();
        let flood = if queue == 0 && (seconds % 120.0) > 95.0 { 2.4 } else { 1.0 };
        base * swell * flood
    }

    /// Integral of the rate, by quarter seconds from the start.
    fn frames(&self, queue: usize) -> u64 {
        let ticks = self.tick.load(Relaxed);
        (0..ticks)
            .map(|tick| {
                (DemoSystem::rate(queue, tick as f64 / TICKS_PER_SECOND as f64) / TICKS_PER_SECOND as f64) as u64
            })
            .sum()
    }

    fn values(&self, queue: usize) -> [u64; COUNTERS.len()] {
        let mut values = [0; COUNTERS.len()];
        let frames = self.frames(queue);
        let mut set = |counter: Counter, value: u64| values[counter as usize] = value;
        let full = if queue == 0 { frames / 90_000 } else { 0 };
        let truncated = frames / 400_000;
        let fragment = frames / 310_000;
        let arp = frames / 5_000;
        let handed = frames / 40;
        set(Counter::FramesReceived, frames);
        set(Counter::HandoverReceived, handed);
        set(Counter::HandedOver, handed);
        set(Counter::DropFlowTableFull, full);
        set(Counter::DropTruncatedTransport, truncated);
        set(Counter::DropFragmentUnknown, fragment);
        set(Counter::ProcessedArp, arp);
        set(Counter::ProcessedFlow, frames - full - truncated - fragment - arp);
        set(Counter::BytesReceived, frames * 640);
        set(Counter::FlowsCreated, frames / 47);
        set(Counter::RowsScored, frames / 38);
        set(Counter::RowsShed, frames / 90_000);
        set(Counter::Bursts, frames / 21);
        values
    }

    fn queue(&self, queue: usize) -> QueueStatus {
        QueueStatus {
            id: QueueId(queue as u16),
            interface: if queue < 2 { "enp1s0".into() } else { "veth-tap".into() },
            namespace: (queue >= 2).then(|| "demo-sensor".into()),
            nic_queue: (queue % 2) as u32,
            mode: if queue < 2 { CaptureMode::ZeroCopy } else { CaptureMode::Copy },
            requested: "auto".into(),
            huge_pages: queue < 2,
            busy_poll: queue < 2,
            symmetry: if queue < 2 { "rss".into() } else { "handover".into() },
        }
    }

    fn view(&self, queue: usize) -> QueueView {
        let seconds = self.seconds();
        let rate = DemoSystem::rate(queue, seconds);
        let target = (32.0 + rate / 4_500.0).clamp(32.0, 256.0).round();
        let rows = (rate / 38.0 * 0.000_05 * 8.0).clamp(4.0, 128.0).round();
        QueueView {
            id: QueueId(queue as u16),
            name: format!("{}:{}", self.queue(queue).interface, queue % 2),
            mode: self.queue(queue).mode,
            load: (rate / 1_400_000.0).min(1.0),
            packets_per_second: rate,
            bits_per_second: rate * 640.0 * 8.0,
            flows: (rate / 9.0) as u64,
            flow_capacity: 262_144,
            emergency: rate > 900_000.0,
            ring_waiting: (rate / 5_000.0) as u32,
            ring_capacity: 2_048,
            handover_per_second: rate / 40.0,
            rx: ControllerView {
                control: "feedback".into(),
                target,
                unit: "frames".into(),
                minimum: 32.0,
                maximum: 256.0,
                mean: target * 0.72,
                state: if rate > 900_000.0 { "saturated".into() } else { "steady".into() },
                last_reason: if rate > 900_000.0 {
                    "ring 31 % full: cap doubled".into()
                } else {
                    "ring below 2 % for 64 bursts: cap halved".into()
                },
                last_change: self.now(),
                changes: 12 + seconds as u64 / 30,
            },
            scoring: ControllerView {
                control: "feedback".into(),
                target: rows,
                unit: "rows".into(),
                minimum: 1.0,
                maximum: 128.0,
                mean: rows * 0.9,
                state: "growing".into(),
                last_reason: format!("service time {:.1} us within its 20 us: wait for more rows", 6.0 + rows / 11.0),
                last_change: self.now(),
                changes: 40 + seconds as u64,
            },
            elephants: if queue == 0 { self.flows(1) } else { Vec::new() },
        }
    }

    fn flows(&self, limit: usize) -> Vec<TopFlow> {
        let now = self.now();
        (0..limit.min(24))
            .map(|index| {
                let rate =
                    310_000_000.0 / (index as f64 + 1.0) * (1.0 + 0.1 * (self.seconds() / 5.0 + index as f64).sin());
                let v6 = index % 5 == 3;
                TopFlow {
                    queue: QueueId((index % 4) as u16),
                    source: if v6 {
                        "2001:db8:85a3:1234:5678:8a2e:370:7334".parse().unwrap()
                    } else {
                        IpAddr::V4(Ipv4Addr::new(10, 0, (index / 3) as u8, 20 + index as u8))
                    },
                    source_port: 40_000 + index as u16 * 17,
                    destination: if v6 {
                        "2001:db8::1".parse().unwrap()
                    } else {
                        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10 + index as u8))
                    },
                    destination_port: [443, 22, 53, 443, 8443, 80][index % 6],
                    protocol: if index % 6 == 2 { 17 } else { 6 },
                    packets: [120_000 / (index as u64 + 1), 340_000 / (index as u64 + 1)],
                    bytes: [9_100_000 / (index as u64 + 1), 410_000_000 / (index as u64 + 1)],
                    first_seen: START,
                    last_seen: now,
                    bits_per_second: rate,
                    score: (index % 3 != 2).then_some(0.02 + index as f32 * 0.03),
                    state: "established".into(),
                }
            })
            .collect()
    }
}

impl System for DemoSystem {
    fn pairs(&self) -> Vec<PairView> {
        let pairs = *self.pairs.lock().unwrap();
        pairs.map_or_else(Vec::new, |of| {
            of(self.tick.load(Relaxed), self.bypassed.load(Relaxed), self.broken.load(Relaxed))
        })
    }

    fn bypass(&self, name: &str, on: bool) -> Result<(), CommandError> {
        if self.pairs().first().is_none_or(|pair| pair.status.name != name) {
            return Err(CommandError::Conflict(format!("{name}: its ports are held by another program")));
        }
        self.bypassed.store(on, Relaxed);
        Ok(())
    }

    fn status(&self) -> Status {
        let broken = self.broken.load(Relaxed);
        let now = self.now();
        let values: Vec<_> = (0..4).map(|queue| self.values(queue)).collect();
        let sum = |counter: Counter| values.iter().map(|values| values[counter as usize]).sum::<u64>();
        let mut equations = Vec::new();
        for (queue, values) in values.iter().enumerate() {
            let of = |counter: Counter| Amount::new(counter.name(), values[counter as usize], counter.help());
            let interface = Some(self.queue(queue).interface);
            let frames = of(Counter::FramesReceived).value;
            let ring_full = frames / 120_000;
            let leak = if broken && queue == 1 { 3 } else { 0 };
            equations.push(Equation::new(
                "ring",
                interface.clone(),
                Some(QueueId(queue as u16)),
                "rx",
                vec![Amount::new(
                    "xdp_redirected",
                    frames + ring_full + leak,
                    "Frames the XDP program sent to the socket.",
                )],
                vec![
                    Amount::new("ring_received", frames, "Frames taken from the RX ring."),
                    Amount::new("rx_ring_full", ring_full, "Frames the kernel dropped because the RX ring was full."),
                ],
            ));
            equations.push(Equation::new(
                "queue",
                interface,
                Some(QueueId(queue as u16)),
                "rx",
                vec![of(Counter::FramesReceived), of(Counter::HandoverReceived)],
                vec![
                    of(Counter::ProcessedFlow),
                    of(Counter::ProcessedArp),
                    of(Counter::HandedOver),
                    of(Counter::DropFlowTableFull),
                    of(Counter::DropTruncatedTransport),
                    of(Counter::DropFragmentUnknown),
                ],
            ));
        }
        let mut degraded = Vec::new();
        if broken {
            degraded.push(Degraded {
                part: "loss".into(),
                reason: "the ring equation of enp1s0 queue 1 does not close: 3 frames are missing".into(),
                since: now,
            });
            degraded.push(Degraded {
                part: "model".into(),
                reason: "12 calls of the model failed in the last minute: rows are shed; see the log".into(),
                since: now,
            });
        }
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            mode: "run".into(),
            started: START.after(self.restarts.load(Relaxed)),
            now,
            uptime_seconds: self.seconds(),
            ready: self.ready.load(Relaxed),
            degraded,
            totals: Totals {
                packets: sum(Counter::FramesReceived),
                bytes: sum(Counter::BytesReceived),
                flows: sum(Counter::FlowsCreated),
                flows_active: 98_304,
                scored: sum(Counter::RowsScored),
                shed: sum(Counter::RowsShed),
                not_decoded: sum(Counter::ProcessedOther),
                unread: Vec::new(),
                drops: vec![
                    Amount::new(
                        "nic_missed",
                        sum(Counter::FramesReceived) / 2_000_000,
                        "Frames the NIC had no buffer for.",
                    ),
                    Amount::new("rx_ring_full", sum(Counter::FramesReceived) / 120_000, "RX ring full."),
                    Amount::new("flow_table_full", sum(Counter::DropFlowTableFull), Counter::DropFlowTableFull.help()),
                    Amount::new(
                        "truncated_transport",
                        sum(Counter::DropTruncatedTransport),
                        Counter::DropTruncatedTransport.help(),
                    ),
                    Amount::new(
                        "fragment_unknown",
                        sum(Counter::DropFragmentUnknown),
                        Counter::DropFragmentUnknown.help(),
                    ),
                    Amount::new("ip_version", 0, Counter::DropIpVersion.help()),
                ],
            },
            queues: (0..4).map(|queue| self.queue(queue)).collect(),
            loss: Loss::of(equations),
            window_models: Vec::new(),
            model: Some(ModelStatus {
                name: "flow-mlp".into(),
                version: "1.0.0".into(),
                sha256: "6f1c2a9d5be07734aa90e1f2c4d3b2a1908f7e6d5c4b3a29181706f5e4d3c2b1".into(),
                schema_version: 2,
                thresholds: [("brute_force".into(), 0.92), ("scan".into(), 0.81)].into(),
                active: !broken,
                reason: broken.then(|| "calls fail".into()),
                cost_ns: vec![(1, 7_100), (8, 7_300), (32, 7_600), (128, 16_200)],
            }),
            notes: vec!["queues 2 and 3 share core 2: fewer cores than queues".into()],
        }
    }

    fn alive(&self) -> Result<(), String> {
        if self.alive.load(Relaxed) { Ok(()) } else { Err("the supervisor has not come round for 7 s".into()) }
    }

    fn workers(&self) -> Vec<WorkerView> {
        let place = self.place.lock().unwrap().clone();
        (0..2_u16)
            .map(|worker| {
                let queues: Vec<_> =
                    (0..4).filter(|queue| place[*queue] == worker).map(|queue| self.view(queue)).collect();
                WorkerView {
                    id: WorkerId(worker),
                    state: "running".into(),
                    core: Some(usize::from(worker) + 1),
                    load: queues.iter().map(|queue| queue.load).sum::<f64>().min(1.0),
                    turns_per_second: 48_000.0 - 9_000.0 * f64::from(worker),
                    queues,
                }
            })
            .collect()
    }

    fn latency(&self) -> Vec<QueueLatency> {
        let place = self.place.lock().unwrap().clone();
        (0..4_usize)
            .map(|queue| {
                let mut stages = StageTotals::new();
                let scale = 1.0 + queue as f64 * 0.2;
                for (stage, median) in [
                    (Stage::Receive, 900.0),
                    (Stage::Decode, 1_400.0),
                    (Stage::Flow, 4_100.0),
                    (Stage::ScoreQueue, 38_000.0),
                    (Stage::Score, 8_200.0),
                    (Stage::Expire, 600.0),
                    (Stage::Burst, 9_500.0),
                ] {
                    // A log-normal-like ladder: each step an eighth of the count and half as much again in time.
                    let (mut count, mut value) = (80_000_000_u64, median * scale);
                    while count > 0 {
                        stages.record(stage, value as u64, count);
                        stages.record(stage, (value * 0.8) as u64, count / 2);
                        count /= 6;
                        value *= 1.45;
                    }
                }
                QueueLatency {
                    queue: QueueId(queue as u16),
                    worker: WorkerId(place[queue]),
                    core: Some(usize::from(place[queue]) + 1),
                    stages,
                }
            })
            .collect()
    }

    fn top_flows(&self, limit: usize) -> Vec<TopFlow> {
        self.flows(limit)
    }

    fn living_flows(&self, wanted: Wanted) -> Living {
        let all = self.living.lock().unwrap().clone();
        let flows: Vec<FlowSummary> = all.iter().filter(|flow| wanted(flow)).copied().collect();
        self.censuses.fetch_add(1, Relaxed);
        let incomplete = self.incomplete.lock().unwrap().clone();
        Living { live: all.len() as u64, matched: flows.len() as u64, flows, incomplete }
    }

    fn counters(&self) -> Vec<QueueCounters> {
        (0..4)
            .map(|queue| QueueCounters {
                queue: QueueId(queue as u16),
                name: self.view(queue).name,
                values: self.values(queue),
            })
            .collect()
    }

    fn metrics(&self) -> Vec<Metric> {
        (0..4_u16)
            .map(|queue| Metric {
                name: "shrike_xsk_rx_ring_full_total",
                help: "Frames the kernel dropped because the RX ring was full.",
                kind: MetricKind::Counter,
                labels: vec![("queue", queue.to_string())],
                value: self.frames(usize::from(queue)) as f64,
            })
            .collect()
    }

    fn move_queue(&self, queue: QueueId, worker: WorkerId) -> Result<(), CommandError> {
        let mut place = self.place.lock().unwrap();
        if worker.0 > 1 {
            return Err(CommandError::NotFound(format!("there is no worker {}", worker.0)));
        }
        match place.get_mut(usize::from(queue.0)) {
            None => Err(CommandError::NotFound(format!("there is no queue {}", queue.0))),
            Some(place) if *place == worker.0 => {
                Err(CommandError::Conflict(format!("worker {} runs queue {} already", worker.0, queue.0)))
            }
            Some(place) => {
                *place = worker.0;
                Ok(())
            }
        }
    }

    fn add_worker(&self) -> Result<WorkerId, CommandError> {
        Err(CommandError::Conflict("no core is left: 2 of 2 run a worker".into()))
    }

    fn remove_worker(&self, worker: WorkerId) -> Result<(), CommandError> {
        if worker.0 == 77 {
            panic!("a fault on purpose");
        }
        Err(CommandError::Busy("the command queue is full".into()))
    }
}

/// The `index`-th alert of an endless, varied series at `time`. Text that is hostile to browsers and terminals is in it.
pub fn alert(index: u64, time: Timestamp) -> Alert {
    let attacker = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5 + (index % 40) as u8));
    let victim = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9 + (index % 3) as u8));
    let term =
        |name: &str, value, threshold, usual| Term { name: name.into(), value, threshold, usual, ..Term::default() };
    let (detector, kind, severity, port, summary, terms) = match index % 5 {
        0 => (
            Detector::Scan,
            "vertical",
            2,
            None,
            format!("{attacker} tried 1024 ports of {victim} within 10 s; 1019 were refused"),
            vec![
                term("distinct_ports", 1024.0, Some(50.0), Some(2.0)),
                term("likelihood_ratio", 9.3e12, Some(99.0), None),
                term("failed_contacts", 1019.0, None, Some(0.0)),
            ],
        ),
        1 => (
            Detector::BruteForce,
            "ssh",
            1,
            Some(22),
            format!("{attacker} opened 96 short SSH sessions to {victim} within 60 s"),
            vec![
                term("sessions", 96.0, Some(20.0), Some(1.0)),
                term("mean_session_bytes", 1840.0, Some(5000.0), Some(48_000.0)),
            ],
        ),
        2 => (
            Detector::Flood,
            "syn",
            1,
            Some(443),
            format!("{victim} gets 182 400 SYN a second, 14 answered"),
            vec![
                term("syn_per_second", 182_400.0, Some(1_200.0), Some(85.0)),
                term("cusum", 9_120.0, Some(20.0), Some(0.4)),
            ],
        ),
        3 => (
            Detector::Model,
            "flow",
            3,
            Some(8443),
            "a flow like the attacks of the training data".to_owned(),
            vec![term("score", 0.973, Some(0.92), Some(0.01))],
        ),
        _ => (
            Detector::Scan,
            "horizontal",
            4,
            Some(445),
            "<img src=x onerror=\"document.title='pwned'\"> </script> \u{1b}[31mred\u{202e}evil".to_owned(),
            vec![term("<b>distinct_hosts</b>", 254.0, Some(30.0), Some(1.0))],
        ),
    };
    Alert {
        id: format!("{:016x}", index.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        occurrences: [1, 1, 10, 1, 100][(index / 5 % 5) as usize],
        first_seen: time,
        evidence: Evidence {
            detector,
            kind: kind.into(),
            time,
            severity,
            confidence: 0.5 + (index % 50) as f64 / 100.0,
            source: (detector != Detector::Flood).then_some(attacker),
            target: (kind != "horizontal").then_some(victim),
            port,
            protocol: Some(6),
            summary,
            terms,
            flow: (detector == Detector::Model).then(|| FlowRef {
                source: attacker,
                source_port: 40_001,
                destination: victim,
                destination_port: 8443,
                protocol: 6,
                flow_id: None,
                community_id: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=".into(),
                vlans: Vec::new(),
                tunnel: None,
                application: None,
                is_example: false,
            }),
            source_mac: None,
            tunnel: None,
            technique: None,
            window: None,
            row: None,
        },
    }
}
