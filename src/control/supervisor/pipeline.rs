//! From what the queues send up to alerts: merge behind the watermark, decide, deduplicate. Live and replay share it.

use crate::control::alert::{self, Alert, Deduplicator};
use crate::control::hosts::{self, Merger};
use crate::control::view::{Degraded, Metric, MetricKind};
use crate::dataplane::detect::{Detector, model};
use crate::exchange::Up;
use crate::units::{QueueId, Timestamp};
use std::collections::BTreeMap;

/// Merger, deciders and deduplication of one program.
pub struct Pipeline {
    merger: Merger,
    dedup: Deduplicator,
    alerts: Vec<Alert>,
    raised: BTreeMap<Detector, u64>,
}

impl Pipeline {
    /// For the queues 0 to `queues` - 1. `usual`: what is usual for each feature, from the model's manifest.
    pub fn new(queues: usize, settings: hosts::Settings, usual: Option<model::Usual>) -> Pipeline {
        let merger = Merger::new(queues, settings);
        Pipeline {
            merger: match usual {
                Some(usual) => merger.with_usual(usual),
                None => merger,
            },
            dedup: Deduplicator::new(alert::Settings::default()),
            alerts: Vec::new(),
            raised: Detector::ALL.into_iter().map(|detector| (detector, 0)).collect(),
        }
    }

    /// Takes one message of a queue.
    pub fn push(&mut self, queue: QueueId, item: Up) {
        let evidence = self.merger.push(queue, item);
        self.deduplicate(evidence);
    }

    /// Decides everything that still waits.
    pub fn finish(&mut self) {
        let evidence = self.merger.finish();
        self.deduplicate(evidence);
    }

    /// Alerts since the last call.
    pub fn take_alerts(&mut self) -> Vec<Alert> {
        std::mem::take(&mut self.alerts)
    }

    /// Alerts raised so far, by detector.
    pub fn raised(&self) -> &BTreeMap<Detector, u64> {
        &self.raised
    }

    /// What was lost on the way.
    pub fn degraded(&self, now: Timestamp) -> Vec<Degraded> {
        let lost = self.merger.stats().lost;
        if lost == 0 {
            return Vec::new();
        }
        vec![Degraded {
            part: "detect".into(),
            reason: format!("{lost} window entries given up: too many hosts at once; raise detect.pending_entries"),
            since: now,
        }]
    }

    /// Counters of the merge and of the deduplication.
    pub fn metrics(&self) -> Vec<Metric> {
        let stats = self.merger.stats();
        let counters: [(&'static str, &'static str, u64); 7] = [
            ("shrike_windows_decided_total", "Counting windows decided.", stats.windows),
            ("shrike_window_entries_total", "Entities of windows decided.", stats.entries),
            ("shrike_window_entries_late_total", "Entries behind the watermark of their queue.", stats.late),
            ("shrike_window_entries_lost_total", "Entries given up because too many waited.", stats.lost),
            ("shrike_entities_forgotten_total", "Entities that the deciders forgot for want of room.", stats.forgotten),
            ("shrike_evidence_suppressed_total", "Repeats between two log-spaced alerts.", self.dedup.suppressed()),
            ("shrike_alert_keys_forgotten_total", "Alert keys forgotten for want of room.", self.dedup.forgotten()),
        ];
        let counter = |name, help, labels, value: u64| Metric {
            name,
            help,
            kind: MetricKind::Counter,
            labels,
            value: value as f64,
        };
        let mut metrics: Vec<Metric> =
            counters.into_iter().map(|(name, help, value)| counter(name, help, Vec::new(), value)).collect();
        metrics.extend(self.raised.iter().map(|(detector, count)| {
            let labels = vec![("detector", detector.name().to_owned())];
            counter("shrike_alerts_raised_total", "Alerts raised since start.", labels, *count)
        }));
        metrics
    }

    fn deduplicate(&mut self, evidence: Vec<crate::dataplane::detect::Evidence>) {
        for evidence in evidence {
            let detector = evidence.detector;
            if let Some(alert) = self.dedup.push(evidence) {
                *self.raised.entry(detector).or_default() += 1;
                self.alerts.push(alert);
            }
        }
    }
}
