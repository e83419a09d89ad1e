//! What stands in for workers in tests of capture alone: sources that are pumped, and books that must close.

use super::Bed;
use shrike::dataplane::capture::Source;
use shrike::dataplane::capture::xdp::{Interface, InterfaceSettings, Mode, QueueAccount, StopHandle, XdpSource};
use shrike::metrics::{Counter, CounterBlock};
use shrike::sys::netlink::XdpAttachment;
use shrike::units::Timestamp;
use std::time::{Duration, Instant};

/// What a worker without the engine does with one look at a source; `None` once it has ended.
pub fn turn(source: &mut XdpSource, counters: &mut CounterBlock) -> Option<u64> {
    let received = source.receive(64);
    if received.ended {
        return None;
    }
    let count = received.count as u64;
    if count == 0 {
        source.wait(Duration::from_millis(5));
        return Some(0);
    }
    counters.add(Counter::FramesReceived, count);
    counters.add(Counter::ProcessedOther, count);
    counters.publish();
    source.release();
    Some(count)
}

/// Takes bursts, counts them as the engine does, gives them back, until the source ends.
pub fn pump(source: &mut XdpSource) -> u64 {
    let mut counters = CounterBlock::on(source.counter_memory());
    let mut total = 0;
    let mut maintained = Instant::now();
    while let Some(count) = turn(source, &mut counters) {
        total += count;
        if maintained.elapsed() > Duration::from_millis(10) {
            source.maintain(Timestamp(0));
            maintained = Instant::now();
        }
    }
    total
}

pub fn settings(bed: &Bed, mode: Mode) -> InterfaceSettings {
    InterfaceSettings {
        namespace: Some(bed.sensor.clone()),
        mode,
        instance: bed.sensor.clone(),
        ..InterfaceSettings::new("rx0")
    }
}

/// Every queue open and pumped on a thread of its own.
pub struct Running {
    stops: Vec<StopHandle>,
    threads: Vec<std::thread::JoinHandle<u64>>,
}

impl Running {
    pub fn start(interface: &Interface) -> Running {
        let mut running = Running { stops: Vec::new(), threads: Vec::new() };
        for queue in interface.queues() {
            let mut source = interface.open_queue(*queue).unwrap();
            running.stops.push(source.stop_handle().unwrap());
            running.threads.push(std::thread::spawn(move || pump(&mut source)));
        }
        running
    }

    pub fn stop(self) -> u64 {
        for stop in &self.stops {
            stop.stop();
        }
        self.threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    }
}

pub fn sum(accounts: &[QueueAccount], field: impl Fn(&QueueAccount) -> u64) -> u64 {
    accounts.iter().map(field).sum()
}

/// The equation of every queue, exactly, with nothing under way.
pub fn assert_closed(accounts: &[QueueAccount]) {
    for account in accounts {
        assert!(account.program_closes(), "{account}");
        assert_eq!(account.in_flight(), 0, "{account}");
        assert_eq!(account.frames_received, account.worker("processed_other"), "{account}");
        assert_eq!(account.invalid_descriptors, 0, "{account}");
    }
}

/// Nothing of ours is left on the interface or in the file system.
pub fn assert_clean(bed: &Bed, settings: &InterfaceSettings) {
    assert_eq!(bed.sensor_link().xdp, XdpAttachment::None);
    assert!(!settings.pin_directory.join(&settings.instance).exists());
}

/// Frames that the worker of queue 0 has received, from a reading of one moment between two of its bursts.
pub fn received(interface: &Interface) -> u64 {
    let account = &interface.accounts()[0];
    assert_eq!(account.frames_received, account.worker("processed_other"), "{account}");
    account.frames_received
}
