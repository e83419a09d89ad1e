//! Workers and queues that go wrong: too many queues, silent ones, a panic, a hang, a death; and what the program shows
//! of it.

#![allow(unsafe_code)] // ends a thread as a debugger would

#[path = "support/http.rs"]
mod http_client;
#[path = "support/memory.rs"]
mod memory;

use memory::{Bed, Memory, frame, settings};
use shrike::clock::Clock;
use shrike::control::http;
use shrike::control::store::{self, Store};
use shrike::control::supervisor::{QueueParts, Settings, SharedPicture, Supervisor};
use shrike::control::view::{CommandError, Living, ModelStatus, System};
use shrike::dataplane::capture::memory::{FakeKernel, Sent};
use shrike::dataplane::worker::{Queue, Rest, Turn};
use shrike::metrics::Counter;
use shrike::sys::poll::PollSet;
use shrike::units::{QueueId, WorkerId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// A bound on a hang, not a measurement.
const LIMIT: Duration = Duration::from_secs(60);

/// A supervisor and what it stands on.
struct Program {
    supervisor: Supervisor,
    picture: Arc<SharedPicture>,
    _folder: tempfile::TempDir,
}

impl Program {
    fn start(settings: Settings, parts: Vec<QueueParts>, clock: &Clock) -> Program {
        Program::start_on(Memory::default(), settings, parts, clock)
    }

    fn start_on(capture: Memory, settings: Settings, parts: Vec<QueueParts>, clock: &Clock) -> Program {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(store::Settings::at(folder.path().join("alerts.db"))).expect("a fresh store");
        let supervisor =
            Supervisor::start(settings, parts, Box::new(capture), store, clock.clone()).expect("threads to start");
        Program { picture: supervisor.picture(), supervisor, _folder: folder }
    }

    /// Lets it work until `condition` holds.
    fn until(&mut self, what: &str, mut condition: impl FnMut(&SharedPicture) -> bool) {
        let begin = Instant::now();
        while !condition(&self.picture) {
            assert!(begin.elapsed() < LIMIT, "{what}: {:#?}", self.picture.status());
            if !self.supervisor.tick() {
                std::thread::yield_now();
            }
        }
    }

    /// What is degraded, as `part: reason`.
    fn degraded(&self) -> Vec<String> {
        let status = self.picture.status();
        status.degraded.into_iter().map(|found| format!("{}: {}", found.part, found.reason)).collect()
    }

    /// Asks for all flows that live.
    fn census(&mut self) -> Living {
        let picture = Arc::clone(&self.picture);
        let asker = std::thread::spawn(move || picture.living_flows(Box::new(|_| true)));
        self.until("a census", |_| asker.is_finished());
        asker.join().expect("a census")
    }

    /// Sends one frame to each queue and waits until they are processed.
    fn pass(&mut self, kernels: &mut [FakeKernel]) {
        let before = sum(&self.picture, Counter::ProcessedFlow);
        for kernel in kernels.iter_mut() {
            assert_eq!(kernel.send_ethernet(&frame(1, false)), Sent::Delivered);
        }
        let expected = before + kernels.len() as u64;
        self.until("frames go through", |picture| sum(picture, Counter::ProcessedFlow) == expected);
    }

    /// Ends it though queues are lost.
    fn stop(mut self) -> Arc<SharedPicture> {
        self.supervisor.run(|| true);
        self.picture
    }

    /// Lets every queue finish; the kernels must be gone.
    fn end(mut self) -> Arc<SharedPicture> {
        self.supervisor.run(|| false);
        self.picture
    }
}

fn sum(picture: &SharedPicture, counter: Counter) -> u64 {
    picture.counters().iter().map(|queue| queue.value(counter)).sum()
}

/// A probe and its refusal: a contact that failed.
fn probe(port: u16) -> [Vec<u8>; 2] {
    let (from, to) = ([10, 0, 0, 66], [10, 0, 0, 5]);
    let mut frames = [Vec::new(), Vec::new()];
    let there =
        etherparse::PacketBuilder::ethernet2([4; 6], [2; 6]).ipv4(from, to, 64).tcp(40_000, port, 1, 1000).syn();
    there.write(&mut frames[0], &[]).expect("a frame in memory");
    let back =
        etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(to, from, 64).tcp(port, 40_000, 1, 0).rst().ack(2);
    back.write(&mut frames[1], &[]).expect("a frame in memory");
    frames
}

fn scan(kernel: &mut FakeKernel) {
    for port in 1..=200 {
        for bytes in probe(port) {
            while kernel.send_ethernet(&bytes) != Sent::Delivered {
                std::thread::yield_now();
            }
        }
    }
}

fn scans_raised(picture: &SharedPicture) -> bool {
    picture.metrics().iter().any(|metric| {
        metric.name == "shrike_alerts_raised_total"
            && metric.labels.iter().any(|(_, value)| value == "scan")
            && metric.value > 0.0
    })
}

#[test]
fn one_worker_serves_as_many_queues_as_there_are() {
    const QUEUES: usize = 80;
    let clock = Clock::new();
    let (mut kernels, parts) = Bed { queues: QUEUES, handover: false, frames: 8 }.open(&clock);
    let mut program = Program::start(settings(1), parts, &clock);
    for kernel in &mut kernels {
        assert_eq!(kernel.send_ethernet(&frame(1, false)), Sent::Delivered);
    }
    program.until("every queue is served", |picture| sum(picture, Counter::ProcessedFlow) == QUEUES as u64);
    assert_eq!(program.picture.workers()[0].queues.len(), QUEUES);
    drop(kernels);
    program.end();
}

/// Nothing on one queue is the most ordinary thing there is.
#[test]
fn a_queue_without_frames_does_not_stop_the_detectors() {
    let clock = Clock::new();
    let (mut kernels, parts) = Bed { queues: 2, handover: false, frames: 1024 }.open(&clock);
    let mut program = Program::start(settings(2), parts, &clock);
    scan(&mut kernels[0]);
    program.until("the scan is found", scans_raised);
    drop(kernels);
    program.end();
}

const PANIC: u8 = 1;
const HANG: u8 = 2;
const DIE: u8 = 3;
const ALWAYS: u8 = 4;

/// A queue that misbehaves when told to.
struct Moody {
    queue: Box<dyn Queue>,
    mood: Arc<AtomicU8>,
    restarts: bool,
}

impl Queue for Moody {
    fn id(&self) -> QueueId {
        self.queue.id()
    }
    fn turn(&mut self) -> Turn {
        let turn = self.queue.turn();
        match self.mood.load(SeqCst) {
            PANIC => {
                self.mood.store(0, SeqCst);
                panic!("as the test told it to")
            }
            ALWAYS => panic!("as the test told it to, in every turn"),
            HANG => {
                while self.mood.load(SeqCst) == HANG {
                    std::thread::yield_now();
                }
            }
            DIE => {
                self.mood.store(0, SeqCst);
                // SAFETY: ends this thread alone, without unwinding: as a fault in foreign code or a debugger would. What it
                // owns is never touched again.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
            }
            _ => {}
        }
        turn
    }
    fn before_wait(&mut self, limit: Duration, set: &mut PollSet) -> Rest {
        self.queue.before_wait(limit, set)
    }
    fn is_polled(&self) -> bool {
        self.queue.is_polled()
    }
    fn wait(&mut self, limit: Duration) {
        self.queue.wait(limit);
    }
    fn after_wait(&mut self) {
        self.queue.after_wait();
    }
    fn finish(&mut self) {
        self.queue.finish();
    }
    fn restart(&mut self) -> bool {
        self.restarts && self.queue.restart()
    }
}

/// Makes the first queue one that can be told to misbehave.
fn moody(parts: &mut Vec<QueueParts>, restarts: bool) -> Arc<AtomicU8> {
    let mood = Arc::new(AtomicU8::new(0));
    let first = parts.remove(0);
    let engine = Box::new(Moody { queue: first.engine, mood: Arc::clone(&mood), restarts });
    parts.insert(0, QueueParts { engine, ..first });
    mood
}

#[test]
fn a_queue_that_panics_begins_anew_and_its_neighbours_go_on() {
    let clock = Clock::new();
    let (mut kernels, mut parts) = Bed { queues: 3, handover: false, frames: 64 }.open(&clock);
    let mood = moody(&mut parts, true);
    let mut program = Program::start(settings(1), parts, &clock);
    program.pass(&mut kernels);
    mood.store(PANIC, SeqCst);
    program.until("it began anew", |picture| sum(picture, Counter::QueueRestarts) == 1);
    program.until("it is said", |picture| !picture.status().degraded.is_empty());
    let degraded = program.degraded();
    assert!(degraded[0].starts_with("queue: memory:0 began anew after a panic, 1 times"), "{degraded:?}");
    assert!(program.picture.status().ready, "every queue is served");
    program.pass(&mut kernels);
    let flows: Vec<u64> = program.picture.counters().iter().map(|queue| queue.value(Counter::FlowsCreated)).collect();
    assert_eq!(flows, [2, 1, 1], "its neighbours kept their flows");
    drop(kernels);
    let status = program.end().status();
    assert!(status.loss.closed, "{:#?}", status.loss);
}

#[test]
fn a_queue_that_cannot_begin_anew_is_given_up_and_named() {
    let clock = Clock::new();
    let (mut kernels, mut parts) = Bed { queues: 2, handover: false, frames: 1024 }.open(&clock);
    let mood = moody(&mut parts, false);
    let mut program = Program::start(settings(1), parts, &clock);
    program.pass(&mut kernels);
    mood.store(PANIC, SeqCst);
    program.until("it is not ready", |picture| !picture.status().ready);
    let degraded = program.degraded();
    assert!(degraded[0].starts_with("queue: memory:0 is lost: nobody looks at its frames"), "{degraded:?}");
    assert!(matches!(kernels[0].send_ethernet(&frame(1, false)), Sent::Dropped), "its source is closed");
    program.pass(&mut kernels[1..]);
    // The others' windows do not wait for it.
    scan(&mut kernels[1]);
    program.until("the scan is found", scans_raised);
    assert!(!program.degraded().iter().any(|words| words.starts_with("detect")), "{:?}", program.degraded());
    drop(kernels);
    program.stop();
}

/// A frame that a bug does not survive, again and again: its queue costs the others nothing, and is given up in the end.
#[test]
fn a_queue_that_panics_in_every_turn_is_given_up_and_starves_nobody() {
    let clock = Clock::new();
    let (mut kernels, mut parts) = Bed { queues: 3, handover: false, frames: 1024 }.open(&clock);
    let mood = moody(&mut parts, true);
    let mut program = Program::start(settings(1), parts, &clock);
    program.pass(&mut kernels);
    mood.store(ALWAYS, SeqCst);
    program.pass(&mut kernels[1..]);
    program.until("it is given up", |picture| !picture.status().ready);
    let degraded = program.degraded();
    assert!(degraded[0].starts_with("queue: memory:0 is lost: nobody looks at its frames"), "{degraded:?}");
    assert!(!degraded.iter().any(|words| words.starts_with("worker")), "{degraded:?}");
    program.pass(&mut kernels[1..]);
    let restarts: Vec<u64> =
        program.picture.counters().iter().map(|queue| queue.value(Counter::QueueRestarts)).collect();
    assert_eq!(restarts, [10, 0, 0]);
    drop(kernels);
    program.stop();
}

#[test]
fn a_worker_that_hangs_is_named_and_comes_back() {
    let clock = Clock::new();
    let (mut kernels, mut parts) = Bed { queues: 2, handover: false, frames: 1024 }.open(&clock);
    let mood = moody(&mut parts, true);
    let mut program = Program::start(settings(2), parts, &clock);
    program.pass(&mut kernels);
    // It hangs, and nobody knows yet: the census is over in its time all the same.
    mood.store(HANG, SeqCst);
    let census = program.census();
    assert_eq!((census.live, census.incomplete.is_some()), (1, true), "{census:?}");
    program.until("it is not ready", |picture| !picture.status().ready);
    assert!(program.degraded()[0].starts_with("worker: worker 0 does not come round"), "{:?}", program.degraded());
    assert!(program.degraded()[0].contains("it held memory:0"), "{:?}", program.degraded());
    assert_eq!(program.picture.workers().iter().map(|worker| &*worker.state).collect::<Vec<_>>(), ["hung", "running"]);
    // A census does not wait for its queue, and says so.
    let census = program.census();
    assert_eq!((census.live, census.matched), (1, 1), "the other queue's");
    assert_eq!(census.incomplete.as_deref(), Some("memory:0 is not served: its worker does not come round"));
    // No target for anybody's queue.
    let picture = Arc::clone(&program.picture);
    let order = std::thread::spawn(move || picture.move_queue(QueueId(1), WorkerId(0)));
    program.until("an answer", |_| order.is_finished());
    let answer = order.join().expect("an answer");
    assert!(matches!(&answer, Err(CommandError::Conflict(words)) if words.contains("hangs")), "{answer:?}");
    // Detection goes on without its queue, which is named.
    scan(&mut kernels[1]);
    program.until("the scan is found", scans_raised);
    assert!(program.degraded().iter().any(|words| words.starts_with("detect: memory:0 has not said")));
    mood.store(0, SeqCst);
    program.until("well again", |picture| picture.status().ready && picture.status().degraded.is_empty());
    program.pass(&mut kernels);
    let census = program.census();
    assert_eq!((census.live, census.incomplete), (2, None));
    drop(kernels);
    assert!(program.end().status().loss.closed);
}

#[test]
fn a_worker_whose_thread_is_gone_is_named_and_its_core_used_again() {
    let clock = Clock::new();
    let (mut kernels, mut parts) = Bed { queues: 3, handover: false, frames: 64 }.open(&clock);
    let mood = moody(&mut parts, true);
    let mut program = Program::start(settings(2), parts, &clock);
    program.pass(&mut kernels);
    mood.store(DIE, SeqCst);
    program.until("it is not ready", |picture| !picture.status().ready);
    let degraded = program.degraded();
    assert!(degraded[0].starts_with("worker: worker 0 has ended without being told to; it held memory:0, memory:2"));
    assert!(degraded.iter().any(|words| words.starts_with("queue: memory:2 is lost with worker 0")), "{degraded:?}");
    assert_eq!(program.picture.workers()[0].state, "dead");
    assert_eq!(program.census().incomplete.as_deref(), Some("memory:0 is lost; memory:2 is lost"));
    program.pass(&mut kernels[1..2]);
    // Its core is free for another, and it can be taken off the list; what it held stays lost, and is said.
    let picture = Arc::clone(&program.picture);
    let order = std::thread::spawn(move || {
        let target = picture.move_queue(QueueId(1), WorkerId(0));
        let queue = picture.move_queue(QueueId(0), WorkerId(1));
        (target, queue, picture.remove_worker(WorkerId(0)), picture.add_worker())
    });
    program.until("answers", |_| order.is_finished());
    let (target, queue, removed, added) = order.join().expect("answers");
    assert!(matches!(&target, Err(CommandError::Conflict(words)) if words.contains("dead")), "{target:?}");
    assert!(matches!(&queue, Err(CommandError::Conflict(words)) if words.contains("lost")), "{queue:?}");
    assert_eq!((removed, added), (Ok(()), Ok(WorkerId(2))));
    program.until("shown", |picture| picture.workers().len() == 2);
    assert!(!program.picture.status().ready);
    drop(kernels);
    program.stop();
}

/// A balancer of the operator's own would take the sensor out at every move of a queue.
#[test]
fn a_program_that_captures_nothing_is_not_ready() {
    let clock = Clock::new();
    let (_kernels, parts) = Bed { queues: 2, handover: false, frames: 64 }.open(&clock);
    let capture = Memory::default();
    let unplugged = Arc::clone(&capture.unplugged);
    let mut program = Program::start_on(capture, settings(1), parts, &clock);
    program.until("it is ready", |picture| picture.status().ready);
    unplugged.store(true, SeqCst);
    program.until("its only interface is gone", |picture| !picture.status().ready);
    unplugged.store(false, SeqCst);
    program.until("and back", |picture| picture.status().ready);
}

/// The metrics of the real supervisor and those that the server makes itself have no name in common.
#[test]
fn the_program_s_own_metrics_are_served() {
    let clock = Clock::new();
    let (_kernels, parts) = Bed { queues: 2, handover: false, frames: 64 }.open(&clock);
    let mut program = Program::start(settings(1), parts, &clock);
    let started = clock.now();
    program.until("a picture", |picture| picture.status().now > started);
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(store::Settings::at(folder.path().join("alerts.db"))).expect("a fresh store");
    let listen = "127.0.0.1:0".parse().expect("an address");
    let settings = http::Settings { listen, ..http::Settings::default() };
    let server = http::serve(settings, store, program.picture.clone()).expect("a free port");
    let answer = http_client::Client::connect(server.addr()).get("/metrics");
    assert_eq!(answer.status, 200, "{}", answer.text());
    for name in ["shrike_worker_load_ratio", "shrike_worker_up", "shrike_flows", "shrike_rx_cap_frames"] {
        let help = format!("# HELP {name} ");
        assert_eq!(answer.text().lines().filter(|line| line.starts_with(&help)).count(), 1, "{name}");
    }
}

/// What former lives lost stands in the pinned counters and is no trouble of this one; a loss keeps its moment.
#[test]
fn findings_lost_are_of_this_life_and_have_a_beginning() {
    let clock = Clock::new();
    let (_kernels, parts) = Bed { queues: 2, handover: false, frames: 64 }.open(&clock);
    let memory = Arc::clone(&parts[1].counters);
    let lost = &memory.cells()[Counter::ExchangeFull as usize];
    lost.store(134_725, SeqCst);
    let mut program = Program::start(settings(1), parts, &clock);
    let started = clock.now();
    program.until("a picture", |picture| picture.status().now > started);
    assert_eq!(program.degraded(), [""; 0], "nothing was lost since the start");
    lost.fetch_add(7, SeqCst);
    program.until("degraded", |picture| !picture.status().degraded.is_empty());
    assert!(program.degraded()[0].starts_with("exchange: 7 findings lost"), "{:?}", program.degraded());
    let since = program.picture.status().degraded[0].since;
    program.until("another picture", |picture| picture.status().now > since);
    assert_eq!(program.picture.status().degraded[0].since, since);
}

#[test]
fn a_queue_on_its_way_is_no_reason_to_be_unready() {
    let clock = Clock::new();
    let (kernels, parts) = Bed { queues: 2, handover: false, frames: 64 }.open(&clock);
    let mut program = Program::start(settings(2), parts, &clock);
    assert!(program.picture.status().ready, "from the first picture on");
    let picture = Arc::clone(&program.picture);
    let orders = std::thread::spawn(move || {
        for round in 1..=40_u16 {
            while picture.move_queue(QueueId(0), WorkerId(round % 2)).is_err() {
                std::thread::yield_now();
            }
        }
    });
    program.until("moved", |picture| {
        assert!(picture.status().ready, "{:#?}", picture.status());
        orders.is_finished()
    });
    orders.join().expect("moved forty times");
    drop(kernels);
    program.end();
}

#[test]
fn what_is_handed_over_is_in_the_books() {
    const FLOWS: u16 = 100;
    let clock = Clock::new();
    let (mut kernels, parts) = Bed { queues: 3, handover: true, frames: 1024 }.open(&clock);
    let mut program = Program::start(settings(2), parts, &clock);
    for flow in 0..FLOWS {
        for (index, kernel) in kernels.iter_mut().enumerate() {
            assert_eq!(kernel.send_ethernet(&frame(flow, index == 1)), Sent::Delivered);
        }
    }
    let total = u64::from(FLOWS) * 3;
    program.until("all are processed", |picture| sum(picture, Counter::ProcessedFlow) == total);
    program.until("shown", |picture| {
        picture.status().loss.equations.iter().any(|equation| equation.name == "handover" && equation.difference == 0)
    });
    drop(kernels);
    let status = program.end().status();
    let found = status.loss.equations.iter().find(|equation| equation.name == "handover").expect("an equation");
    assert!(found.closed && found.left[0].value > 0, "{found:#?}");
    let right: Vec<(&str, u64)> = found.right.iter().map(|term| (&*term.name, term.value)).collect();
    assert_eq!(right, [("handover_received", found.left[0].value), ("in_rings", 0), ("lost_with_owner", 0)]);
}

/// What was handed to a queue that then died is neither received nor forgotten.
#[test]
fn what_was_handed_to_a_lost_queue_is_counted_as_lost() {
    let clock = Clock::new();
    let (mut kernels, mut parts) = Bed { queues: 2, handover: true, frames: 1024 }.open(&clock);
    let mood = moody(&mut parts, true);
    let mut program = Program::start(settings(2), parts, &clock);
    mood.store(DIE, SeqCst);
    program.until("it is not ready", |picture| !picture.status().ready);
    for flow in 0..100 {
        assert_eq!(kernels[1].send_ethernet(&frame(flow, false)), Sent::Delivered);
    }
    program.until("all are taken", |picture| sum(picture, Counter::FramesReceived) == 100);
    drop(kernels);
    let status = program.stop().status();
    let found = status.loss.equations.iter().find(|equation| equation.name == "handover").expect("an equation");
    assert!(found.closed && found.left[0].value > 0, "{found:#?}");
    assert_eq!(found.right[2].value, found.left[0].value, "{found:#?}");
}

#[test]
fn a_program_ends_though_a_worker_hangs() {
    let clock = Clock::new();
    let (mut kernels, mut parts) = Bed { queues: 2, handover: false, frames: 64 }.open(&clock);
    let mood = moody(&mut parts, true);
    let mut program = Program::start(settings(2), parts, &clock);
    program.pass(&mut kernels);
    mood.store(HANG, SeqCst);
    program.until("it is not ready", |picture| !picture.status().ready);
    drop(kernels);
    assert!(!program.stop().status().ready);
    mood.store(0, SeqCst);
}

#[test]
fn a_model_is_degraded_while_its_calls_fail_and_no_longer() {
    let clock = Clock::new();
    let failing = Arc::new(AtomicBool::new(true));
    let scorer = || Some(Box::new(memory::Moody(Arc::clone(&failing))) as _);
    let (mut kernels, parts) = Bed { queues: 1, handover: false, frames: 64 }.open_with(&clock, scorer);
    let model = ModelStatus {
        name: "test".into(),
        version: "1".into(),
        sha256: String::new(),
        schema_version: 1,
        thresholds: [("scan".into(), 0.5)].into(),
        active: true,
        reason: None,
        cost_ns: Vec::new(),
    };
    let mut program = Program::start(Settings { model: Some(model), ..settings(1) }, parts, &clock);
    let active = |picture: &SharedPicture| picture.status().model.is_some_and(|model| model.active);
    let flows = |kernel: &mut FakeKernel, flow: u16| {
        // The fourth packet of a flow makes its first row due.
        (0..4).for_each(|_| assert_eq!(kernel.send_ethernet(&frame(flow, false)), Sent::Delivered));
    };
    assert!(active(&program.picture));
    flows(&mut kernels[0], 1);
    program.until("it fails", |picture| !active(picture));
    let degraded = program.degraded();
    assert!(degraded[0].starts_with("model: memory:0: 1 calls of the model have failed (as the test told it to)"));
    assert!(program.picture.status().ready, "the other detectors work");
    failing.store(false, SeqCst);
    flows(&mut kernels[0], 2);
    program.until("it is well again", active);
    assert_eq!(program.degraded(), [""; 0]);
    drop(kernels);
    program.end();
}
