//! Did the demo show what it claims? One rule for the live lab and for the recorded capture.
//!
//! Passed means: every attacker raised an alert of its detector, attributed to it by address; no alert blames anyone else;
//! the loss equation closed; and those who mean well were served all the while. The summary has exactly the fields that scripts were promised.

use super::attackers::ATTACKS;
use crate::control::alert::Alert;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// `target/demo/summary.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Frames taken from the source.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Flows begun.
    pub flows: u64,
    /// Alerts by detector.
    pub alerts: BTreeMap<String, u64>,
    /// Alerts that blame someone who did nothing.
    pub false_alerts: u64,
    /// Attackers that raised no alert of their detector.
    pub missed: u64,
    /// Frames that were not processed, by cause; causes that did not happen are left out.
    pub drops: BTreeMap<String, u64>,
    /// Every frame is accounted for.
    pub loss_equation_closed: bool,
    /// Percentiles by stage.
    pub latency_ns: BTreeMap<String, Percentiles>,
    /// What was obtained: `zero-copy`, `copy`, `generic`, or `file` for the recorded capture.
    pub capture_mode: String,
}

/// Percentiles of one stage, nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Median.
    pub p50: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
}

/// How the demo went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It showed what it claims.
    Passed,
    /// It did not.
    Failed,
    /// It was ended before it could; what it showed until then was right.
    Interrupted,
}

/// Of the benign clients' requests one in this many may fail: a flood fills the queue of a server for some seconds.
const FAILURES_ONE_IN: u64 = 5;

impl Verdict {
    /// `clients`: requests of the benign clients served and failed, where there were some; `page`: the live page opened.
    pub fn of(summary: &Summary, clients: Option<(u64, u64)>, page: bool, interrupted: bool) -> Verdict {
        // A network that no longer works for those who mean well would prove nothing.
        let served = clients.is_none_or(|(served, failed)| served > 0 && failed * FAILURES_ONE_IN <= served + failed);
        if summary.passed() && page && served {
            return Verdict::Passed;
        }
        let wrong = summary.false_alerts > 0 || !summary.loss_equation_closed;
        if interrupted && !wrong { Verdict::Interrupted } else { Verdict::Failed }
    }

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Passed => "PASSED",
            Verdict::Failed => "FAILED",
            Verdict::Interrupted => "INTERRUPTED",
        }
    }
}

impl Summary {
    /// Every attacker seen, nobody blamed wrongly, every frame accounted for, and there was something to see.
    pub fn passed(&self) -> bool {
        self.missed == 0 && self.false_alerts == 0 && self.loss_equation_closed && self.packets > 0
    }

    /// Fills in what follows from the alerts.
    pub fn judge(&mut self, alerts: &[Alert]) {
        self.alerts = BTreeMap::new();
        for alert in alerts {
            *self.alerts.entry(alert.evidence.detector.name().to_owned()).or_default() += 1;
        }
        self.false_alerts = alerts.iter().filter(|alert| blamed(alert).is_none()).count() as u64;
        self.missed = (0..ATTACKS.len()).filter(|index| !detected(*index, alerts)).count() as u64;
    }
}

/// The attack (its place in [`ATTACKS`]) that an alert rightly blames; `None` makes it a false alert.
///
/// By address: the source must be an attacker's. An alert that names no source (a flood may have none that is true) must
/// name the attacked host and the attack's own detector.
pub fn blamed(alert: &Alert) -> Option<usize> {
    let evidence = &alert.evidence;
    ATTACKS.iter().position(|attack| match evidence.source {
        Some(source) => source == IpAddr::V4(attack.host.address()),
        None => evidence.target == Some(IpAddr::V4(attack.target)) && evidence.detector == attack.detector,
    })
}

/// The attack raised an alert of the detector that is there for it.
pub fn detected(attack: usize, alerts: &[Alert]) -> bool {
    let detector = ATTACKS[attack].detector;
    alerts.iter().any(|alert| blamed(alert) == Some(attack) && alert.evidence.detector == detector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::lab::{CLIENTS, WEB};
    use crate::dataplane::detect::{Detector, Evidence, fixtures};
    use crate::units::Timestamp;
    use std::net::Ipv4Addr;

    fn alert(detector: Detector, source: Option<Ipv4Addr>, target: Option<Ipv4Addr>) -> Alert {
        Alert {
            id: "a".into(),
            occurrences: 1,
            first_seen: Timestamp(1),
            evidence: Evidence {
                source: source.map(IpAddr::V4),
                target: target.map(IpAddr::V4),
                ..fixtures::evidence(detector, "k", Timestamp(1))
            },
        }
    }

    fn all() -> Vec<Alert> {
        ATTACKS.iter().map(|attack| alert(attack.detector, Some(attack.host.address()), Some(attack.target))).collect()
    }

    fn judged(alerts: &[Alert]) -> Summary {
        let mut summary = Summary {
            packets: 1,
            bytes: 64,
            flows: 1,
            alerts: BTreeMap::new(),
            false_alerts: 0,
            missed: 0,
            drops: BTreeMap::new(),
            loss_equation_closed: true,
            latency_ns: BTreeMap::new(),
            capture_mode: "copy".into(),
        };
        summary.judge(alerts);
        summary
    }

    #[test]
    fn every_attacker_caught_and_nobody_else_blamed_passes() {
        let summary = judged(&all());
        assert_eq!((summary.missed, summary.false_alerts, summary.passed()), (0, 0, true));
        assert_eq!(summary.alerts["scan"], 1);
    }

    #[test]
    fn one_attacker_missed_fails_even_if_another_detector_saw_it() {
        let mut alerts = all();
        alerts[0].evidence.detector = Detector::Model;
        let summary = judged(&alerts);
        assert_eq!((summary.missed, summary.false_alerts, summary.passed()), (1, 0, false));
    }

    #[test]
    fn blaming_a_client_or_a_server_fails() {
        for innocent in [CLIENTS[0].address(), WEB.address()] {
            let mut alerts = all();
            alerts.push(alert(Detector::Scan, Some(innocent), None));
            let summary = judged(&alerts);
            assert_eq!((summary.missed, summary.false_alerts, summary.passed()), (0, 1, false));
        }
    }

    #[test]
    fn a_flood_without_a_source_is_attributed_by_its_target_and_only_a_flood() {
        let mut alerts = all();
        alerts[2].evidence.source = None;
        assert!(judged(&alerts).passed());
        alerts.push(alert(Detector::BruteForce, None, Some(WEB.address())));
        assert_eq!(judged(&alerts).false_alerts, 1);
    }

    #[test]
    fn an_open_equation_or_an_empty_capture_fails() {
        let summary = judged(&all());
        assert!(!Summary { loss_equation_closed: false, ..summary.clone() }.passed());
        assert!(!Summary { packets: 0, ..summary }.passed());
    }

    #[test]
    fn clients_that_are_not_served_fail_the_demo() {
        let summary = judged(&all());
        let verdict = |clients| Verdict::of(&summary, clients, true, false);
        assert_eq!(verdict(None), Verdict::Passed, "the recorded capture has no clients to ask");
        assert_eq!(verdict(Some((100, 3))), Verdict::Passed);
        assert_eq!(verdict(Some((100, 26))), Verdict::Failed);
        assert_eq!(verdict(Some((0, 40))), Verdict::Failed);
        assert_eq!(verdict(Some((0, 0))), Verdict::Failed);
        assert_eq!(Verdict::of(&summary, None, false, false), Verdict::Failed, "the page did not open");
    }

    #[test]
    fn an_interrupted_demo_has_not_failed_unless_what_it_showed_was_wrong() {
        let early = judged(&all()[..1]);
        assert_eq!(Verdict::of(&early, None, false, true), Verdict::Interrupted);
        assert_eq!(Verdict::of(&early, None, false, false), Verdict::Failed);
        assert_eq!(Verdict::of(&Summary { false_alerts: 1, ..early }, None, false, true), Verdict::Failed);
        assert_eq!(Verdict::of(&judged(&all()), Some((9, 0)), true, true), Verdict::Passed);
    }

    #[test]
    fn the_summary_has_the_promised_fields_and_no_other() {
        let value = serde_json::to_value(judged(&all())).unwrap();
        let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        let mut promised = vec![
            "packets",
            "bytes",
            "flows",
            "alerts",
            "false_alerts",
            "missed",
            "drops",
            "loss_equation_closed",
            "latency_ns",
            "capture_mode",
        ];
        promised.sort_unstable();
        assert_eq!(names, promised);
    }
}
