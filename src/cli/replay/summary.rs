//! What a replay came to, for people and for programs.

use crate::cli::line::grouped;
use crate::cli::run::latency_json;
use crate::control::replay::Outcome;
use crate::metrics::Counter;
use std::collections::BTreeMap;

fn alerts(outcome: &Outcome) -> BTreeMap<&'static str, u64> {
    outcome.alerts.iter().map(|(detector, count)| (detector.name(), *count)).collect()
}

fn packets_per_second(outcome: &Outcome) -> f64 {
    let packets = outcome.count(Counter::FramesReceived);
    if outcome.seconds > 0.0 { packets as f64 / outcome.seconds } else { 0.0 }
}

/// The summary as one line of JSON, with the hosts where they were asked for.
pub fn json(outcome: &Outcome, hosts: Option<&[serde_json::Value]>) -> String {
    let (findings, beyond) = outcome.report.findings();
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| {
            serde_json::json!({"file": finding.file, "offset": finding.offset, "kind": finding.kind.name(),
                "detail": finding.detail, "remedy": finding.kind.remedy()})
        })
        .collect();
    let mut summary = serde_json::json!({
        "packets": outcome.count(Counter::FramesReceived),
        "bytes": outcome.count(Counter::BytesReceived),
        "flows": outcome.count(Counter::FlowsCreated),
        "seconds": outcome.seconds,
        "packets_per_second": packets_per_second(outcome),
        "not_decoded": outcome.count(Counter::ProcessedOther),
        "drops": outcome.drops(),
        "unread": outcome.unread(),
        "alerts": alerts(outcome),
        "scored": outcome.count(Counter::RowsScored),
        "shed": outcome.count(Counter::RowsShed),
        "loss_equation_closed": outcome.loss_equation_closed(),
        "queues": outcome.queues,
        "learning": outcome.learning,
        "files": outcome.report.files(),
        "frames_snapped": outcome.report.snapped(),
        "steps_back": outcome.report.steps_back(),
        "findings": findings,
        "findings_beyond": beyond,
        "interrupted": outcome.report.is_stopped(),
        "latency_ns": latency_json(&outcome.latency),
    });
    if let Some(hosts) = hosts {
        summary["hosts"] = hosts.into();
    }
    summary.to_string()
}

/// The summary in a few lines.
pub fn text(outcome: &Outcome) -> String {
    let list = |counts: &mut dyn Iterator<Item = (&str, u64)>| {
        let some: Vec<_> = counts
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{} {}", grouped(count), name.replace('_', " ")))
            .collect();
        if some.is_empty() { "none".to_owned() } else { some.join(", ") }
    };
    let mut lines = vec![
        format!(
            "{} packets, {} flows, {} rows scored in {:.3} s ({} packets/s); loss equation {}",
            grouped(outcome.count(Counter::FramesReceived)),
            grouped(outcome.count(Counter::FlowsCreated)),
            grouped(outcome.count(Counter::RowsScored)),
            outcome.seconds,
            grouped(packets_per_second(outcome) as u64),
            if outcome.loss_equation_closed() { "closed" } else { "OPEN" }
        ),
        format!("alerts: {}", list(&mut alerts(outcome).into_iter())),
        format!("drops:  {}", list(&mut outcome.drops().into_iter())),
    ];
    lines.extend(outcome.learning.iter().map(|what| format!("learnt: {what}")));
    let unread = outcome.unread();
    if unread.values().any(|count| *count > 0) {
        let named = unread.into_iter().map(|(name, count)| (name.trim_start_matches("inspect_"), count));
        lines.push(format!("not inspected: {}", list(&mut { named })));
    }
    let not_decoded = outcome.count(Counter::ProcessedOther);
    if not_decoded > 0 {
        lines.push(format!("not decoded: {} packets of an EtherType that is only counted", grouped(not_decoded)));
    }
    if outcome.report.snapped() > 0 {
        let snapped = grouped(outcome.report.snapped());
        lines.push(format!("cut by the snap length: {snapped} packets, decoded as far as they go"));
    }
    lines.join("\n")
}
