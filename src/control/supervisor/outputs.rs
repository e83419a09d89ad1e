//! Where flows, events and alerts go besides the store: the files, and the history that `/v1/flows` shows.

use crate::control::alert::Alert;
use crate::control::export::{AppEvent, ConnLog, EveLog, Statistics};
use crate::control::flows::FlowHistory;
use crate::control::view::{Degraded, Metric, MetricKind};
use crate::exchange::FlowSummary;
use crate::units::Timestamp;
use std::sync::Arc;

/// Flows that wait for the history's lock at most; it is taken once a round at least.
const BATCH: usize = 1 << 12;

/// What is written and kept of what the queues export.
#[derive(Default)]
pub struct Outputs {
    eve: Option<EveLog>,
    /// Time between two statistics in it, nanoseconds; 0: none.
    stats_every: u64,
    conn: Option<ConnLog>,
    /// Flows that ended lately, where they are kept.
    pub history: Option<Arc<FlowHistory>>,
    batch: Vec<FlowSummary>,
    next_stats: Timestamp,
}

impl Outputs {
    /// The files that are written; `stats_every`: nanoseconds between two lines of statistics, 0 for none.
    pub fn new(eve: Option<EveLog>, stats_every: u64, conn: Option<ConnLog>) -> Outputs {
        Outputs { eve, stats_every, conn, ..Outputs::default() }
    }

    /// A flow ended that was seen on an interface.
    pub(super) fn flow(&mut self, flow: FlowSummary, interface: &Arc<str>) {
        if let Some(log) = &self.eve {
            log.flow(flow, interface);
        }
        if let Some(log) = &self.conn {
            log.flow(flow);
        }
        if self.history.is_some() {
            self.batch.push(flow);
            if self.batch.len() >= BATCH {
                self.keep();
            }
        }
    }

    /// Hands what ended to the history.
    pub(super) fn keep(&mut self) {
        if let Some(history) = self.history.as_ref().filter(|_| !self.batch.is_empty()) {
            history.extend(&self.batch);
            self.batch.clear();
        }
    }

    /// Inspection found something. `facts` are copied only where somebody takes them.
    pub(super) fn event(&self, interface: &Arc<str>, event: impl FnOnce() -> AppEvent) {
        if let Some(log) = &self.eve {
            log.event(event(), interface);
        }
    }

    /// Alerts were raised.
    pub(super) fn alerts(&self, alerts: &[Alert]) {
        if let Some(log) = &self.eve {
            alerts.iter().for_each(|alert| log.alert(alert));
        }
        if let Some(history) = self.history.as_ref().filter(|_| !alerts.is_empty()) {
            history.mark(alerts);
        }
    }

    /// Statistics, where it is time for them; `last`: whatever the time is.
    pub(super) fn stats(&mut self, now: Timestamp, last: bool, of: impl FnOnce() -> Statistics) {
        let Some(log) = self.eve.as_ref().filter(|_| self.stats_every > 0) else { return };
        if self.next_stats == Timestamp(0) {
            self.next_stats = now.after(self.stats_every);
        }
        if now >= self.next_stats || last {
            self.next_stats = now.after(self.stats_every);
            log.stats(of());
        }
    }

    pub(super) fn degraded(&self, now: Timestamp) -> impl Iterator<Item = Degraded> {
        let eve = self.eve.as_ref().and_then(|log| log.degraded(now));
        eve.into_iter().chain(self.conn.as_ref().and_then(|log| log.degraded(now)))
    }

    pub(super) fn metrics(&self) -> Vec<Metric> {
        let mut metrics: Vec<Metric> = self.eve.iter().flat_map(EveLog::metrics).collect();
        metrics.extend(self.conn.iter().flat_map(ConnLog::metrics));
        if let Some(kept) = self.history.as_ref().map(|history| history.kept()) {
            let sample =
                |name, help, kind, value: u64| Metric { name, help, kind, labels: Vec::new(), value: value as f64 };
            metrics.push(sample(
                "shrike_flow_history_flows",
                "Ended flows that are kept.",
                MetricKind::Gauge,
                kept.kept,
            ));
            metrics.push(sample(
                "shrike_flow_history_overwritten_total",
                "Ended flows that newer ones overwrote.",
                MetricKind::Counter,
                kept.overwritten,
            ));
        }
        metrics
    }
}
