//! Where flows, events and alerts go besides the store: the files, and the history that `/v1/flows` shows.

use crate::control::alert::Alert;
use crate::control::export::{AppEvent, ConnLog, EveLog, Statistics, Unwritten};
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

    /// Statistics, where it is time for them, with the lines that were lost; `last`: whatever the time is.
    pub(super) fn stats(&mut self, now: Timestamp, last: bool, of: impl FnOnce() -> Statistics) {
        let Some(log) = self.eve.as_ref().filter(|_| self.stats_every > 0) else { return };
        if self.next_stats == Timestamp(0) {
            self.next_stats = now.after(self.stats_every);
        }
        if now >= self.next_stats || last {
            self.next_stats = now.after(self.stats_every);
            let mut statistics = of();
            statistics.counters.extend(self.unwritten().into_iter().flat_map(counters));
            log.stats(statistics);
        }
    }

    /// Lines of each file that were lost so far.
    fn unwritten(&self) -> Vec<Unwritten> {
        let eve = self.eve.as_ref().map(EveLog::unwritten);
        eve.into_iter().chain(self.conn.as_ref().map(ConnLog::unwritten)).collect()
    }

    /// Warns of lines that are lost, now and then.
    pub(super) fn look(&mut self, now: Timestamp) {
        let eve = self.eve.as_mut().and_then(|log| log.warning(now));
        let conn = self.conn.as_mut().and_then(|log| log.warning(now));
        eve.into_iter().chain(conn).for_each(|warning| tracing::warn!("{warning}"));
    }

    /// Writes what waits; the lines of each file that were lost in all.
    pub fn finish(self) -> Vec<Unwritten> {
        let eve = self.eve.map(EveLog::finish);
        eve.into_iter().chain(self.conn.map(ConnLog::finish)).collect()
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

/// Lost lines as counters of ours: `eve_lost_flow`; those that are not 0.
fn counters(file: Unwritten) -> impl Iterator<Item = (String, u64)> {
    let name = file.name;
    let lost = file.kinds.into_iter().filter(|(_, count)| *count > 0);
    lost.map(move |(kind, count)| (format!("{name}_lost_{kind}"), count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::export::{EveFormat, LogSettings};
    use crate::units::SECOND;
    use std::fs::{File, OpenOptions};
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;

    /// A pipe that nobody reads takes less than comes: the number is in the next statistics, and in what is told at the end.
    #[test]
    fn lost_lines_are_told_in_the_file_itself_and_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Whoever opens a pipe to write waits for a reader.
        let early = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let settings = LogSettings { path: path.clone(), rotate_bytes: 1 << 40, rotate_seconds: None, keep: 1 };
        let eve = EveLog::start(settings, EveFormat::new(None)).unwrap();
        let mut outputs = Outputs::new(Some(eve), SECOND, None);
        let interface: Arc<str> = "eth1".into();
        (0..80_000).for_each(|_| outputs.flow(FlowSummary::default(), &interface));
        let lost = outputs.unwritten()[0].kinds[1];
        assert!(lost.0 == "flow" && lost.1 > 0, "{lost:?}");
        assert!(outputs.degraded(Timestamp(SECOND)).next().is_some());
        outputs.stats(Timestamp(SECOND), true, Statistics::default);
        let mut late = File::open(&path).unwrap();
        drop(early);
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            late.read_to_string(&mut text).map(|_| text)
        });
        let unwritten = outputs.finish();
        assert_eq!((unwritten[0].name, &unwritten[0].path, unwritten[0].kinds[1]), ("eve", &path, lost));
        let text = reader.join().unwrap().unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((&last["event_type"], &last["ml"]["counters"]["eve_lost_flow"]), (&"stats".into(), &lost.1.into()));
        assert_eq!(text.lines().count() as u64, 80_000 - lost.1 + 1, "all others are there");
    }
}
