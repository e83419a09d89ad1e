//! Queues move between workers under load, by hand and when workers come and go, and no frame and no flow is lost.

#[path = "support/memory.rs"]
mod memory;

use memory::{Bed, Memory, frame, settings};
use shrike::clock::Clock;
use shrike::control::store::{self, Store};
use shrike::control::supervisor::Supervisor;
use shrike::control::view::{CommandError, System};
use shrike::dataplane::capture::LinkType;
use shrike::dataplane::capture::memory::{FakeKernel, Sent};
use shrike::exchange::FlowSummary;
use shrike::metrics::Counter;
use shrike::units::{QueueId, WorkerId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

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
    let (kernels, parts) = Bed { queues: 3, handover: true, frames: 4096 }.open(&clock);
    let store = Store::open(store::Settings::at(folder.path().join("alerts.db"))).expect("a fresh store");
    let mut supervisor = Supervisor::start(settings(2), parts, Box::new(Memory::default()), store, clock.clone())
        .expect("threads to start");
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

/// A census finds every flow once, whoever runs the queues and though they move while it is under way.
#[test]
fn a_census_counts_every_flow_while_queues_move() {
    const FLOWS: u16 = 600;
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::new();
    let (mut kernels, parts) = Bed { queues: 3, handover: true, frames: 4096 }.open(&clock);
    let store = Store::open(store::Settings::at(folder.path().join("alerts.db"))).expect("a fresh store");
    let mut supervisor = Supervisor::start(settings(2), parts, Box::new(Memory::default()), store, clock.clone())
        .expect("threads to start");
    let picture = supervisor.picture();
    for (flow, back) in (0..FLOWS).flat_map(|flow| [(flow, false), (flow, true)]) {
        assert_eq!(kernels[usize::from(flow) % 3].send_ethernet(&frame(flow, back)), Sent::Delivered);
    }
    let sum = |counter: Counter| picture.counters().iter().map(|queue| queue.value(counter)).sum::<u64>();
    while sum(Counter::ProcessedFlow) < 2 * u64::from(FLOWS) {
        supervisor.tick();
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let mover = {
        let (picture, is_over) = (supervisor.picture(), Arc::clone(&is_over));
        std::thread::spawn(move || {
            // A queue that is where it is wanted counts as moved, so a fast machine gets far beyond sixteen bits.
            let turns = (0..2).flat_map(|worker| (0..3).map(move |queue| (QueueId(queue), WorkerId(worker))));
            let mut moves = 0_u64;
            for (queue, worker) in turns.cycle() {
                while !is_over.load(Relaxed) && picture.move_queue(queue, worker).is_err() {
                    std::thread::yield_now();
                }
                if is_over.load(Relaxed) {
                    break;
                }
                moves += 1;
            }
            moves
        })
    };
    let asker = {
        let picture = supervisor.picture();
        std::thread::spawn(move || {
            let ask = |round: u16| {
                let port = 10_000 + round;
                let is_wanted = move |flow: &FlowSummary| flow.key.low().port == port || flow.key.high().port == port;
                (picture.living_flows(Box::new(|_| true)), picture.living_flows(Box::new(is_wanted)))
            };
            let found: Vec<_> = (0..8).map(ask).collect();
            is_over.store(true, Relaxed);
            found
        })
    };
    while !asker.is_finished() || !mover.is_finished() {
        if !supervisor.tick() {
            std::thread::yield_now();
        }
    }
    assert!(mover.join().expect("the mover") > 3, "queues moved");
    for (all, one) in asker.join().expect("the asker") {
        assert_eq!((all.incomplete, all.live, all.matched), (None, u64::from(FLOWS), u64::from(FLOWS)));
        let keys: BTreeSet<[u64; 5]> = all.flows.iter().map(|flow| *flow.key.words()).collect();
        assert_eq!((keys.len(), all.flows.len()), (usize::from(FLOWS), usize::from(FLOWS)), "each once");
        assert!(all.flows.iter().all(|flow| flow.packets == [1, 1] && flow.ended.is_none()));
        assert_eq!((one.incomplete, one.live, one.matched, one.flows.len()), (None, u64::from(FLOWS), 1, 1));
    }
    drop(kernels);
    supervisor.run(|| false);
}
