//! The EVE file of a replay: the same capture gives the same bytes, whatever the number of workers.

use crate::cli::output::Output;
use crate::control::alert::Alert;
use crate::control::export::{AppEvent, EveItem, EveWriter, ModelName, Statistics};
use crate::control::replay::Outcome;
use crate::exchange::FlowSummary;
use crate::units::{SECOND, Timestamp};
use anyhow::Context;
use std::io;

/// Events put in order together, and their bytes. Captures with more of them are ordered piece by piece, and where the
/// pieces begin then depends on the workers.
const ORDERED_MAX: usize = 1 << 20;
const ORDERED_BYTES: usize = 512 << 20;

/// Counters of how the work was done: another number of workers or another machine has others.
const OF_THE_MACHINE: [&str; 6] =
    ["bursts", "empty_polls", "microbatches", "windows_evicted", "rows_scored", "rows_shed"];

/// Events of a replay, ordered by capture time before they are written. Workers end their flows in an order of their
/// own, so only this makes the file depend on the capture alone. At the capture's own pace somebody watches: then every
/// event is written when it comes.
pub struct EveFile {
    path: String,
    writer: EveWriter<Output>,
    alerts: Vec<Alert>,
    flows: Vec<FlowSummary>,
    events: Vec<AppEvent>,
    /// Bytes of all of them.
    waiting: usize,
    at_once: bool,
    first: Timestamp,
    last: Timestamp,
}

impl EveFile {
    /// Into this output. `at_once`: write events when they come.
    pub fn new(output: Output, model: Option<ModelName>, at_once: bool) -> EveFile {
        EveFile {
            path: output.name().display().to_string(),
            writer: EveWriter::new(output, model),
            alerts: Vec::new(),
            flows: Vec::new(),
            events: Vec::new(),
            waiting: 0,
            at_once,
            first: Timestamp(u64::MAX),
            last: Timestamp(0),
        }
    }

    /// An alert was raised.
    pub fn alert(&mut self, alert: &Alert) -> anyhow::Result<()> {
        self.last = self.last.max(alert.evidence.time);
        self.alerts.push(alert.clone());
        self.added(EveItem::bytes_of_alert(alert))
    }

    /// A flow ended. Its score is left out: it may be known or not when the flow ends, depending on the batches; where it
    /// matters there is an alert that carries it.
    pub fn flow(&mut self, flow: &FlowSummary) -> anyhow::Result<()> {
        (self.first, self.last) = (self.first.min(flow.first_seen), self.last.max(flow.last_seen));
        self.flows.push(FlowSummary { score: -1.0, ..*flow });
        self.added(size_of::<FlowSummary>())
    }

    /// Inspection found something.
    pub fn event(&mut self, event: AppEvent) -> anyhow::Result<()> {
        (self.first, self.last) = (self.first.min(event.head.time), self.last.max(event.head.time));
        let bytes = size_of::<AppEvent>() + event.facts.len();
        self.events.push(event);
        self.added(bytes)
    }

    /// Writes what waits and the statistics.
    pub fn finish(mut self, outcome: &Outcome) -> anyhow::Result<()> {
        // How the work was done (bursts, microbatches) depends on the machine: only what was found is told.
        let mut statistics = Statistics {
            time: self.last,
            uptime_seconds: self.last.since(self.first) / SECOND,
            alerts: outcome.alerts.values().sum(),
            ..Statistics::of(&outcome.counters, None)
        };
        statistics.counters.retain(|(name, _)| !OF_THE_MACHINE.contains(&name.as_str()));
        let written = self.write_waiting().and_then(|()| self.writer.stats(&statistics));
        let written = written.and_then(|()| self.writer.finish()).and_then(Output::finish);
        written.with_context(|| format!("write {}", self.path))
    }

    fn added(&mut self, bytes: usize) -> anyhow::Result<()> {
        self.waiting += bytes;
        let count = self.alerts.len() + self.flows.len() + self.events.len();
        if !self.at_once && count < ORDERED_MAX && self.waiting < ORDERED_BYTES {
            return Ok(());
        }
        self.waiting = 0;
        let written = self.write_waiting().and_then(|()| if self.at_once { self.writer.flush() } else { Ok(()) });
        written.with_context(|| format!("write {}", self.path))
    }

    /// In order of time; of one moment events of applications (a flow's in their own order) come first, then alerts, whose
    /// order is one and the same in every run, then flows.
    fn write_waiting(&mut self) -> io::Result<()> {
        self.flows.sort_by_key(|flow| (flow.last_seen, flow.first_seen, *flow.key.words()));
        self.alerts.sort_by_key(|alert| alert.evidence.time);
        self.events.sort_by_key(|event| (event.head.time, *event.head.key.words()));
        let mut events = self.events.drain(..).peekable();
        let mut alerts = self.alerts.drain(..).peekable();
        let mut flows = self.flows.drain(..).peekable();
        loop {
            let times = [
                events.peek().map(|event| event.head.time),
                alerts.peek().map(|alert| alert.evidence.time),
                flows.peek().map(|flow| flow.last_seen),
            ];
            let Some(first) = times.into_iter().flatten().min() else { return Ok(()) };
            if let Some(event) = events.next_if(|event| event.head.time == first) {
                self.writer.application(&event)?;
            } else if let Some(alert) = alerts.next_if(|alert| alert.evidence.time == first) {
                self.writer.alert(&alert)?;
            } else if let Some(flow) = flows.next() {
                self.writer.flow(&flow)?;
            }
        }
    }
}
