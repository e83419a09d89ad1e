//! AF_XDP on veth pairs in namespaces without a route out: every frame accounted for, whatever happens to the queue.

mod live;
mod support;

use live::{Bed, Sender};
use shrike::dataplane::capture::Source;
use shrike::dataplane::capture::xdp::{
    Interface, InterfaceSettings, Mode, ObtainedMode, QueueAccount, StopHandle, XdpSource,
};
use shrike::metrics::{Counter, CounterBlock};
use shrike::units::Timestamp;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A worker without the engine: takes bursts, counts them as the engine does, gives them back.
fn pump(source: &mut XdpSource) -> u64 {
    let mut counters = CounterBlock::on(source.counter_memory());
    let mut total = 0;
    let mut maintained = Instant::now();
    loop {
        let received = source.receive(64);
        if received.ended {
            return total;
        }
        let count = received.count as u64;
        if count == 0 {
            source.wait(Duration::from_millis(5));
        } else {
            counters.add(Counter::FramesReceived, count);
            counters.add(Counter::ProcessedOther, count);
            source.release();
            counters.publish();
            total += count;
        }
        if maintained.elapsed() > Duration::from_millis(10) {
            source.maintain(Timestamp(0));
            maintained = Instant::now();
        }
    }
}

fn settings(bed: &Bed, mode: Mode) -> InterfaceSettings {
    InterfaceSettings {
        namespace: Some(bed.sensor.clone()),
        mode,
        instance: bed.sensor.clone(),
        pin_directory: PathBuf::from("/run/shrike/bpf"),
        ..InterfaceSettings::new("rx0")
    }
}

/// Opens every queue and pumps each on a thread of its own.
struct Running {
    stops: Vec<StopHandle>,
    threads: Vec<std::thread::JoinHandle<u64>>,
}

impl Running {
    fn start(interface: &Interface) -> Running {
        let mut running = Running { stops: Vec::new(), threads: Vec::new() };
        for queue in interface.queues() {
            let mut source = interface.open_queue(*queue).unwrap();
            running.stops.push(source.stop_handle().unwrap());
            running.threads.push(std::thread::spawn(move || pump(&mut source)));
        }
        running
    }

    fn stop(self) -> u64 {
        for stop in &self.stops {
            stop.stop();
        }
        self.threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    }
}

fn sum(accounts: &[QueueAccount], field: impl Fn(&QueueAccount) -> u64) -> u64 {
    accounts.iter().map(field).sum()
}

/// A million frames at a paced rate: each one processed, nothing lost anywhere.
fn million(mode: Mode, expected: ObtainedMode, queues: u32) {
    let bed = Bed::new(queues);
    let interface = Interface::attach(&settings(&bed, mode)).unwrap();
    let running = Running::start(&interface);
    let status = interface.status();
    assert_eq!(status.queues.len(), queues as usize);
    assert!(status.queues.iter().all(|queue| queue.mode == expected), "{status:?}");

    let mut sender = Sender::open(&bed, 1000, 64);
    let begin = Instant::now();
    sender.send(1_000_000, |sent| {
        while begin.elapsed() < Duration::from_nanos(sent * 5_000) {
            std::hint::spin_loop();
        }
    });
    let processed = running.stop();
    let nic = interface.nic_counters().unwrap();
    let accounts = interface.detach();
    eprintln!("sent {} refused {} processed {processed} {accounts:?} {nic:?}", sender.sent, sender.refused);
    assert_eq!(sum(&accounts, |queue| queue.seen), sender.sent);
    assert_eq!(processed, sum(&accounts, |queue| queue.worker("frames_received")));
    for account in &accounts {
        assert!(account.program_closes(), "{account:?}");
        assert_eq!(account.in_flight(), 0, "{account:?}");
    }
    assert_eq!(sender.sent, processed + sum(&accounts, QueueAccount::refused));
}

#[test]
fn live_a_million_frames_in_copy_mode_native() {
    if support::privileged("live_a_million_frames_in_copy_mode_native") {
        million(Mode::Auto, ObtainedMode::Copy, 1);
    }
}

#[test]
fn live_a_million_frames_in_generic_mode() {
    if support::privileged("live_a_million_frames_in_generic_mode") {
        million(Mode::Generic, ObtainedMode::Generic, 1);
    }
}
