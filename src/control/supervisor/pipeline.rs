//! From what the queues send up to alerts: merge behind the watermark, decide, deduplicate. Live and replay share it.

use super::health::Losses;
use crate::control::alert::{self, Alert, Deduplicator};
use crate::control::behaviour::intel::LiveFeeds;
use crate::control::behaviour::{self, LiveBehaviour, warm_up};
use crate::control::hosts::{self, Merger, Scores};
use crate::control::models::{LiveModels, News};
use crate::control::view::{Degraded, Metric, MetricKind};
use crate::dataplane::decode::Neighbour;
use crate::dataplane::detect::{Detector, Evidence, model};
use crate::dataplane::score::Explainer;
use crate::exchange::{EventHead, FlowSummary, Up};
use crate::units::{QueueId, Timestamp};
use std::collections::BTreeMap;

/// Merger, deciders and deduplication of one program.
pub struct Pipeline {
    merger: Merger,
    /// Detectors over flows and events where they have a thread of their own: live.
    behaviour: Option<LiveBehaviour>,
    dedup: Deduplicator,
    alerts: Vec<Alert>,
    /// Evidence that repeated an alert, where somebody wants it.
    repeats: Option<Vec<Evidence>>,
    raised: BTreeMap<Detector, u64>,
    explainer: Option<Explainer>,
    /// The models, where they may change.
    models: Option<LiveModels>,
    /// Features named of a score.
    features: usize,
    unexplained: u64,
    /// Entries and scores that found no room in the merger.
    lost: Losses,
    /// Flows and events that the detectors over them did not take in time.
    unobserved: Losses,
    /// Rows of windows that their model's call failed for.
    unjudged: Losses,
    feeds: Option<LiveFeeds>,
    /// What is wrong with the feeds, and since when.
    dead_feeds: BTreeMap<String, Timestamp>,
}

impl Pipeline {
    /// For the queues 0 to `queues` - 1. `scores`: when the model's scores are decided.
    pub fn new(queues: usize, settings: hosts::Settings, scores: Scores) -> Pipeline {
        Pipeline {
            merger: Merger::new(queues, settings).releasing(scores),
            behaviour: None,
            dedup: Deduplicator::new(alert::Settings::default()),
            alerts: Vec::new(),
            repeats: None,
            raised: Detector::ALL.into_iter().map(|detector| (detector, 0)).collect(),
            explainer: None,
            models: None,
            features: settings.model.features,
            unexplained: 0,
            lost: Losses::default(),
            unobserved: Losses::default(),
            unjudged: Losses::default(),
            feeds: None,
            dead_feeds: BTreeMap::new(),
        }
    }

    /// Lets the model's alerts say which features made the score.
    pub fn explain_with(&mut self, explainer: Explainer) {
        self.explainer = Some(explainer);
    }

    /// Judges by other thresholds from now on.
    pub fn retune(&mut self, settings: hosts::Settings) {
        self.merger.retune(settings);
        self.features = settings.model.features;
        if let Some(behaviour) = &self.behaviour {
            behaviour.retune(settings.of_behaviour());
        }
    }

    /// Follows which model is active, and takes what is found about them.
    pub fn follow_models(&mut self, models: LiveModels) {
        self.models = Some(models);
    }

    /// The models, where they may change.
    pub fn models(&self) -> Option<&LiveModels> {
        self.models.as_ref()
    }

    /// Has windows looked at that are not over: live.
    pub fn looking_ahead(mut self) -> Pipeline {
        self.merger = self.merger.looking_ahead();
        self
    }

    /// Has flows and events looked at where their windows are decided: of a capture, whose alerts have one order.
    pub fn observing(mut self, behaviour: Option<behaviour::Behaviour>) -> Pipeline {
        self.merger = self.merger.with_behaviour(behaviour);
        self
    }

    /// Has flows and events looked at by a thread, for which nobody waits.
    pub fn observe_with(&mut self, behaviour: LiveBehaviour) {
        self.behaviour = Some(behaviour);
    }

    /// Keeps evidence that makes no alert because one of the same affair stands, for [`Pipeline::take_repeats`].
    pub fn keep_repeats(&mut self) {
        self.repeats = Some(Vec::new());
    }

    /// Has what is wrong with the lists of others told with the status.
    pub fn watch_feeds(&mut self, feeds: LiveFeeds) {
        self.feeds = Some(feeds);
    }

    /// Takes one message of a queue.
    pub fn push(&mut self, queue: QueueId, item: &Up) {
        let evidence = self.merger.push(queue, item);
        self.deduplicate(evidence);
        if let Some(behaviour) = &mut self.behaviour {
            behaviour.reached(self.merger.stats().watermark, self.merger.looked());
        }
    }

    /// From here on the calling thread is woken when a thread has found something.
    pub fn wake_me(&self) {
        self.behaviour.iter().for_each(LiveBehaviour::wake_me);
    }

    /// Moment of capture time up to which all queues have come.
    pub fn reached(&self) -> Timestamp {
        self.merger.stats().watermark
    }

    /// A flow ended.
    pub fn flow(&mut self, flow: &FlowSummary) {
        match &self.behaviour {
            Some(behaviour) => behaviour.flow(flow),
            None => self.merger.flow(flow),
        }
    }

    /// Flows that ended did not come up.
    pub fn untold(&mut self) {
        match &self.behaviour {
            Some(behaviour) => behaviour.untold(),
            None => self.merger.untold(),
        }
    }

    /// A flow lives.
    pub fn living(&self, flow: &FlowSummary) {
        if let Some(behaviour) = &self.behaviour {
            behaviour.living(flow);
        }
    }

    /// Inspection found something.
    pub fn event(&mut self, head: &EventHead, facts: &[u8]) {
        match &self.behaviour {
            Some(behaviour) => behaviour.event(head, facts),
            None => self.merger.event(head, facts),
        }
    }

    /// A host on the link said which address it has.
    pub fn neighbour(&mut self, time: Timestamp, neighbour: &Neighbour) {
        match &self.behaviour {
            Some(behaviour) => behaviour.neighbour(time, neighbour),
            None => self.merger.neighbour(time, neighbour),
        }
    }

    /// Takes what the threads have found.
    pub fn collect(&mut self) {
        let news: Vec<News> = self.models.iter().flat_map(|models| models.news()).collect();
        for one in news {
            match one {
                News::Explainer(explainer) => self.explainer = explainer,
                News::Evidence(evidence) => self.deduplicate(vec![*evidence]),
            }
        }
        if let Some(behaviour) = &self.behaviour {
            let evidence = behaviour.take();
            self.deduplicate(evidence);
        }
    }

    /// Lets windows go on without queues that are silent; live only ([`Merger::look`]).
    pub fn look(&mut self, now: Timestamp) {
        let evidence = self.merger.look(now);
        self.deduplicate(evidence);
        self.lost.look(now, self.merger.stats().lost);
        let behaviour = self.behaviour_stats();
        self.unobserved.look(now, behaviour.lost);
        self.unjudged.look(now, behaviour.windows.failed);
        let problems = self.feeds.as_ref().map(LiveFeeds::problems).unwrap_or_default();
        self.dead_feeds.retain(|problem, _| problems.contains(problem));
        for problem in problems {
            self.dead_feeds.entry(problem).or_insert(now);
        }
    }

    /// Queues that nobody waits for because they are silent, and for how long, nanoseconds.
    pub fn silent(&self) -> impl Iterator<Item = (QueueId, u64)> {
        self.merger.silent()
    }

    /// Decides everything that still waits.
    pub fn finish(&mut self) {
        let evidence = self.merger.finish();
        self.deduplicate(evidence);
        let evidence = self.behaviour.as_mut().map(LiveBehaviour::finish).unwrap_or_default();
        self.deduplicate(evidence);
    }

    /// Alerts since the last call.
    pub fn take_alerts(&mut self) -> Vec<Alert> {
        std::mem::take(&mut self.alerts)
    }

    /// Repeats since the last call.
    pub fn take_repeats(&mut self) -> Vec<Evidence> {
        self.repeats.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Alerts raised so far, by detector.
    pub fn raised(&self) -> &BTreeMap<Detector, u64> {
        &self.raised
    }

    fn behaviour_stats(&self) -> behaviour::Stats {
        let here = || self.merger.behaviour_stats();
        self.behaviour.as_ref().map(LiveBehaviour::stats).or_else(here).unwrap_or_default()
    }

    /// What is still being learnt at `now`, in words.
    pub fn learning(&self, now: Timestamp) -> Vec<String> {
        warm_up::notes(self.behaviour_stats().since, now)
    }

    /// The same of a capture that ended at `end`.
    pub fn learning_of_capture(&self, end: Timestamp) -> Option<String> {
        warm_up::of_capture(self.behaviour_stats().since, end)
    }

    /// What was lost on the way; live only, as of the last [`Pipeline::look`].
    pub fn degraded(&self, now: Timestamp) -> impl Iterator<Item = Degraded> {
        let unobserved = self.unobserved.shown(now).map(|(lost, since)| {
            let reason = format!(
                "{lost} flows and events not looked at: more than the detectors over them take; DNS tunnels and the like \
                 may be missed"
            );
            Degraded { part: "detect".into(), reason, since }
        });
        let dead = self.dead_feeds.iter().map(|(reason, since)| Degraded {
            part: "feeds".into(),
            reason: reason.clone(),
            since: *since,
        });
        let unjudged = self.unjudged.shown(now).map(|(failed, since)| {
            let reason = format!("{failed} rows of hosts and pairs not judged: calls of the models of windows fail");
            Degraded { part: "model".into(), reason, since }
        });
        self.windows_lost(now).into_iter().chain(unobserved).chain(unjudged).chain(dead)
    }

    fn windows_lost(&self, now: Timestamp) -> Option<Degraded> {
        let (lost, since) = self.lost.shown(now)?;
        let reason = format!(
            "{lost} window entries given up: too many hosts at once, as in a flood with forged sources; raise \
             detect.pending_entries (some 300 bytes each)"
        );
        Some(Degraded { part: "detect".into(), reason, since })
    }

    /// Counters of the merge and of the deduplication.
    pub fn metrics(&self) -> Vec<Metric> {
        let stats = self.merger.stats();
        let behaviour = self.behaviour_stats();
        let windows = behaviour.windows;
        let counters = [
            ("shrike_windows_decided_total", "Counting windows decided.", stats.windows),
            ("shrike_window_entries_total", "Entities of windows decided.", stats.entries),
            ("shrike_window_entries_late_total", "Entries behind the watermark of their queue.", stats.late),
            ("shrike_window_entries_lost_total", "Entries given up because too many waited.", stats.lost),
            (
                "shrike_entities_forgotten_total",
                "Entities that the deciders forgot for want of room.",
                stats.forgotten + behaviour.forgotten,
            ),
            (
                "shrike_model_implausible_total",
                "Flows and windows that a model took for what they cannot carry; not told.",
                stats.implausible + windows.implausible,
            ),
            ("shrike_observations_total", "Flows and events that detectors looked at.", behaviour.observed),
            ("shrike_observations_late_total", "Flows and events behind the watermark.", behaviour.late),
            ("shrike_observations_lost_total", "Flows and events that detectors did not take in time.", behaviour.lost),
            ("shrike_window_rows_total", "Rows of hosts and pairs that models were to judge.", windows.windows.rows),
            ("shrike_window_rows_early_total", "Of them given early for want of room.", windows.windows.early),
            (
                "shrike_window_rows_incomplete_total",
                "Of them not judged, because flows of their window were lost.",
                windows.windows.incomplete,
            ),
            (
                "shrike_window_rows_beyond_total",
                "Of them not told, because too many hosts did the same at once.",
                windows.beyond,
            ),
            ("shrike_window_rows_failed_total", "Of them not judged, because the model's call failed.", windows.failed),
            ("shrike_window_flows_late_total", "Flows of windows that were over.", windows.windows.late),
            ("shrike_evidence_suppressed_total", "Repeats between two log-spaced alerts.", self.dedup.suppressed()),
            (
                "shrike_evidence_joined_total",
                "Words of models that joined a detector's alert of the same.",
                self.dedup.joins().iter().sum(),
            ),
            (
                "shrike_alerts_unexplained_total",
                "Alerts of the model whose reasons it could not give.",
                self.unexplained + windows.unexplained,
            ),
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
        metrics.extend(self.models.iter().flat_map(|models| models.shared().metrics()));
        metrics.extend(self.raised.iter().map(|(detector, count)| {
            let labels = vec![("detector", detector.name().to_owned())];
            counter("shrike_alerts_raised_total", "Alerts raised since start.", labels, *count)
        }));
        metrics
    }

    fn deduplicate(&mut self, evidence: Vec<Evidence>) {
        for evidence in evidence {
            let detector = evidence.detector;
            let [_, others] = self.dedup.joins();
            let repeat = self.repeats.is_some().then(|| Evidence { row: None, ..evidence.clone() });
            match self.dedup.push(evidence) {
                Some(mut alert) => {
                    self.explain(&mut alert);
                    *self.raised.entry(detector).or_default() += 1;
                    self.alerts.push(alert);
                }
                // What joined the alert of another name repeats nothing of its own.
                None if self.dedup.joins()[1] > others => {}
                None => self.repeats.iter_mut().for_each(|repeats| repeats.extend(repeat.clone())),
            }
        }
    }
}

impl Pipeline {
    /// Asks the model for its reasons: only here, where few are left of what it scored.
    fn explain(&mut self, alert: &mut Alert) {
        let Some((row, explainer)) = alert.evidence.row.take().zip(self.explainer.as_mut()) else { return };
        match explainer.reasons(&row.values, row.family, self.features) {
            Ok(reasons) => alert.evidence.terms.extend(model::terms(&reasons)),
            Err(_) => self.unexplained += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::detect::{Counts, Entity, ScoredFlow, TunnelMark, WindowEntry, fixtures};
    use crate::dataplane::features::{COUNT, FLOW};
    use crate::dataplane::score::{self, Family, ScoreError, Scorer};
    use crate::units::{MILLISECOND, SECOND};
    use proptest::prelude::*;

    fn score(at_ms: u64, source: u32, port: u16) -> Up {
        let ends = [(0x0a00_0100 + source, 40_000), (0x0a00_0005, port)];
        Up::Score(ScoredFlow {
            time: Timestamp(at_ms * MILLISECOND),
            first_seen: Timestamp(1),
            score: 0.9 + source as f32 / 1e3,
            packets: 8,
            ..fixtures::scored(Family::Scan, 6, ends)
        })
    }

    fn pipeline(scores: Scores) -> Pipeline {
        Pipeline::new(1, hosts::Settings::default(), scores)
    }

    #[test]
    fn live_a_score_is_an_alert_before_any_watermark() {
        let mut live = pipeline(Scores::AtOnce);
        // Three flows make their source suspect.
        (80..83).for_each(|port| live.push(QueueId(0), &score(1_300, 7, port)));
        assert_eq!(live.take_alerts().len(), 1);
        let mut replay = pipeline(Scores::WithTheirWindow);
        (80..83).for_each(|port| replay.push(QueueId(0), &score(1_300, 7, port)));
        replay.push(QueueId(0), &Up::Watermark(QueueId(0), Timestamp(2 * SECOND - 1)));
        assert_eq!(replay.take_alerts().len(), 0);
        replay.push(QueueId(0), &Up::Watermark(QueueId(0), Timestamp(2 * SECOND)));
        assert_eq!(replay.take_alerts().len(), 1);
    }

    #[test]
    fn repeats_are_kept_where_somebody_wants_them() {
        for wanted in [false, true] {
            let mut live = pipeline(Scores::AtOnce);
            if wanted {
                live.keep_repeats();
            }
            (80..90).for_each(|port| live.push(QueueId(0), &score(1_300, 7, port)));
            let repeats = live.take_repeats();
            assert_eq!((live.take_alerts().len(), repeats.len()), (1, if wanted { 7 } else { 0 }));
            assert!(repeats.iter().all(|repeat| repeat.row.is_none()));
            assert_eq!(live.take_repeats(), []);
        }
    }

    /// Scores that rest on two features, and fail where asked to; counts its calls.
    struct TwoFeatures(std::sync::Arc<std::sync::atomic::AtomicU64>, bool);

    impl Scorer for TwoFeatures {
        fn score(&mut self, rows: &[f32], scores: &mut score::Scores) -> Result<(), ScoreError> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if self.1 {
                return Err(ScoreError { rows: rows.len() / COUNT, cause: "test".into() });
            }
            scores.attacks(rows.chunks_exact(COUNT).map(|row| 0.5 * row[3] + 0.25 * row[24]));
            Ok(())
        }
    }

    /// What is told is what made the score, not what is far from the usual; and only alerts are asked about.
    #[test]
    fn the_models_alerts_name_the_features_that_made_the_score() {
        let calls = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let alerts = |fails| {
            let mut live = pipeline(Scores::AtOnce);
            let scorer = Box::new(TwoFeatures(calls.clone(), fails));
            live.explain_with(Explainer::new(scorer, &FLOW, vec![Family::Benign, Family::Scan], vec![0.0; COUNT]));
            (80..88).for_each(|port| live.push(QueueId(0), &score(1_300, 7, port)));
            let unexplained = live.unexplained;
            (live.take_alerts(), unexplained)
        };
        let (told, _) = alerts(false);
        let terms = &told[0].evidence.terms;
        let reasons: Vec<_> = terms.iter().filter(|term| term.usual.is_some()).collect();
        assert_eq!((told.len(), calls.load(std::sync::atomic::Ordering::Relaxed)), (1, 1), "six flows were evidence");
        assert_eq!(
            reasons.iter().map(|term| term.name.as_str()).collect::<Vec<_>>(),
            ["bytes_out_bytes", "unanswered"]
        );
        assert_eq!(reasons.iter().map(|term| term.contribution.unwrap()).collect::<Vec<_>>(), [0.5, 0.25]);
        assert_eq!(told[0].evidence.row, None);
        let (told, unexplained) = alerts(true);
        assert_eq!((told.len(), told[0].evidence.terms.len(), unexplained), (1, 3, 1), "an alert without reasons");
    }

    proptest! {
        #[test]
        fn one_queue_gives_the_same_alerts_whenever_scores_are_released(
            steps in proptest::collection::vec((0_u64..700, 0_u32..30, 1_u16..20, 0_u32..3), 1..300),
        ) {
            let run = |scores| {
                let mut pipeline = pipeline(scores);
                let mut at = 0;
                for (pause, source, port, probes) in &steps {
                    at += pause;
                    // Of one moment the order is by flow; a moment has one score here.
                    pipeline.push(QueueId(0), &score(at + 1, *source, *port));
                    for probe in 0..*probes {
                        let start = Timestamp(at * MILLISECOND / SECOND * SECOND);
                        let entity = Entity::Source(u128::from(0x0a00_0200 + probe));
                        let counts = Counts { sums: [40; 16], ..Counts::ZERO };
                        pipeline.push(QueueId(0), &Up::Window(WindowEntry { start, entity, counts, mark: TunnelMark(0) }));
                    }
                    at += 1;
                    pipeline.push(QueueId(0), &Up::Watermark(QueueId(0), Timestamp(at * MILLISECOND)));
                }
                pipeline.finish();
                let mut alerts = pipeline.take_alerts();
                alerts.sort_by(|left, right| (&left.id, left.occurrences).cmp(&(&right.id, right.occurrences)));
                alerts
            };
            let held = run(Scores::WithTheirWindow);
            prop_assert!(steps.len() < 100 || !held.is_empty());
            prop_assert_eq!(run(Scores::AtOnce), held);
        }
    }
}
