//! What we say of a capture: its flows, its events as EVE lines, its counters.

use crate::captures::engine;
use crate::ndpi::{Ends, ends};
use serde_json::Value;
use shrike::control::alert::Alert;
use shrike::control::export::{AppEvent, EveWriter};
use shrike::control::hosts;
use shrike::control::inventory::network;
use shrike::control::replay::{Outcome, Settings, Sink, replay_reader};
use shrike::dataplane::capture::pcap::{Limits, Reader, Speed};
use shrike::exchange::FlowSummary;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Largest flow table that a capture of these tests needs.
const FLOWS: u64 = 1 << 10;

/// One capture's.
pub struct Answer {
    /// In the order they ended.
    pub flows: Vec<FlowSummary>,
    /// Flows and events, parsed.
    pub events: Vec<Value>,
    /// Counters.
    pub outcome: Outcome,
}

struct Both {
    flows: Vec<FlowSummary>,
    lines: EveWriter<Vec<u8>>,
}

impl Sink for Both {
    fn alert(&mut self, _alert: &Alert) -> anyhow::Result<()> {
        Ok(())
    }

    fn flow(&mut self, flow: &FlowSummary) -> anyhow::Result<()> {
        self.flows.push(*flow);
        Ok(self.lines.flow(flow)?)
    }

    fn event(&mut self, event: AppEvent) -> anyhow::Result<()> {
        Ok(self.lines.application(&event)?)
    }
}

/// `None`: no capture that can be read. Its books must close.
pub fn of(capture: &Path) -> Option<Answer> {
    let reader = Reader::open(std::slice::from_ref(&capture.to_owned()), Limits::default()).ok()?;
    let settings = Settings {
        files: Vec::new(),
        workers: 1,
        speed: Speed::Max,
        engine: engine(FLOWS),
        detect: hosts::Settings::default(),
        home: network::home(),
        feeds: None,
        model: None,
        windows: None,
        rows: false,
        secret: Some([1, 2, 3, 4]),
        stop: None,
    };
    let mut both = Both { flows: Vec::new(), lines: EveWriter::new(Vec::new(), None) };
    let outcome =
        replay_reader(&settings, reader, &mut both).unwrap_or_else(|error| panic!("{}: {error}", capture.display()));
    assert!(outcome.loss_equation_closed(), "{}: {:?}", capture.display(), outcome.drops());
    let lines = both.lines.finish().expect("in memory");
    let events = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap_or_else(|error| panic!("{}: {error}", capture.display())))
        .collect();
    Some(Answer { flows: both.flows, events, outcome })
}

/// The ends of a flow in order; of protocols without ports the hosts alone.
pub fn ends_of(flow: &FlowSummary) -> Ends {
    let protocol = flow.key.protocol();
    let port = |port| if has_ports(protocol) { port } else { 0 };
    let (low, high) = (flow.key.low(), flow.key.high());
    ends(protocol, (low.ip(), port(low.port)), (high.ip(), port(high.port)))
}

/// TCP, UDP, SCTP.
pub fn has_ports(protocol: u8) -> bool {
    [6, 17, 132].contains(&protocol)
}

/// What `ask` says of every item, in their order, by two threads.
pub fn each<T: Sync, R: Send>(items: &[T], ask: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let said = ask(item);
                    found.lock().expect("no panic while it is held").push((index, said));
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no panic while it is held");
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, said)| said).collect()
}
