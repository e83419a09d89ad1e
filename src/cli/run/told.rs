//! What a run tells of itself: when it begins, and what it came to.

use crate::cli::Failure;
use crate::cli::output::Output;
use crate::control::export::{SLOWER, Unwritten};
use crate::control::store::AlertLatency;
use crate::control::view::{Equation, QueueStatus, StageTotals, Status, System, WorkerView};
use crate::metrics::{STAGES, Stage};
use anyhow::Context;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;

/// What people want to see first: what was obtained, and where to look.
pub(super) fn announce(status: &Status, address: SocketAddr) {
    for queue in &status.queues {
        let place = queue.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        let pages = if queue.huge_pages { "huge pages" } else { "ordinary pages" };
        eprintln!(
            "capturing on {}{place}, queue {}: {} (asked: {}), UMEM on {pages}, both directions by {}",
            queue.interface,
            queue.nic_queue,
            queue.mode.name(),
            queue.requested,
            queue.symmetry
        );
    }
    for note in &status.notes {
        eprintln!("note: {note}");
    }
    for degraded in &status.degraded {
        eprintln!("degraded: {}", degraded.reason);
    }
    match &status.model {
        Some(model) => eprintln!("scoring with {}, {}", model.name, model.reports()),
        None => eprintln!("scoring: no model, by decision"),
    }
    eprintln!("live page and API: {}", reached_at(address));
}

/// Where the API is found: nobody can ask for the address that stands for all.
fn reached_at(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        let port = address.port();
        return format!(
            "http://127.0.0.1:{port}/ here, and port {port} of every address of this machine (host names for it: hosts in \
             [http])"
        );
    }
    format!("http://{address}/")
}

/// Latency of all queues together, with packet-to-alert, which the store times, and packet-to-block, which the responses time.
pub(super) fn latency(system: &dyn System, alerts: &AlertLatency, blocks: Option<&Histogram<u64>>) -> StageTotals {
    let mut total = StageTotals::new();
    for queue in system.latency() {
        total.merge(&queue.stages);
    }
    total.merge_stage(Stage::PacketToAlert, &alerts.all());
    blocks.into_iter().for_each(|blocks| total.merge_stage(Stage::PacketToBlock, blocks));
    total
}

/// `latency_ns{stage:{p50,p99,p999}}`.
pub fn latency_json(latency: &StageTotals) -> serde_json::Value {
    let stages = STAGES
        .iter()
        .filter(|stage| !latency.stage(**stage).is_empty())
        .map(|stage| (stage.name().to_owned(), percentiles(latency.stage(*stage))));
    serde_json::Value::Object(stages.collect())
}

fn percentiles(histogram: &Histogram<u64>) -> serde_json::Value {
    let at = |quantile| histogram.value_at_quantile(quantile);
    serde_json::json!({
        "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": histogram.max(), "count": histogram.len()
    })
}

/// `alert_latency_ns{detector:{p50,p99,p999}}`.
fn alert_latency_json(alerts: &AlertLatency) -> serde_json::Value {
    let found = alerts.by_detector().filter(|(_, histogram)| !histogram.is_empty());
    serde_json::Value::Object(found.map(|(detector, one)| (detector.name().to_owned(), percentiles(one))).collect())
}

/// What the run came to.
pub(super) fn summary(
    status: &Status,
    workers: &[WorkerView],
    latency: &StageTotals,
    alert_latency: &AlertLatency,
    raised: &BTreeMap<crate::dataplane::detect::Detector, u64>,
    unwritten: &[Unwritten],
) -> serde_json::Value {
    let drops: BTreeMap<_, _> = status.totals.drops.iter().map(|drop| (drop.name.clone(), drop.value)).collect();
    let unread: BTreeMap<_, _> = status.totals.unread.iter().map(|one| (one.name.clone(), one.value)).collect();
    let alerts: BTreeMap<_, _> = raised.iter().map(|(detector, count)| (detector.name(), *count)).collect();
    let lost: BTreeMap<_, BTreeMap<_, _>> =
        unwritten.iter().map(|file| (file.name, file.kinds.iter().copied().collect())).collect();
    serde_json::json!({
        "packets": status.totals.packets,
        "bytes": status.totals.bytes,
        "flows": status.totals.flows,
        "seconds": status.uptime_seconds,
        "scored": status.totals.scored,
        "alerts": alerts,
        "not_decoded": status.totals.not_decoded,
        "drops": drops,
        "unread": unread,
        "lines_lost": lost,
        "loss_equation_closed": status.loss.closed,
        "loss": status.loss,
        "capture_mode": status.queues.iter().map(|queue| queue.mode.name()).collect::<Vec<_>>(),
        "queues": status.queues,
        "workers": workers,
        "latency_ns": latency_json(latency),
        "alert_latency_ns": alert_latency_json(alert_latency),
        "degraded": status.degraded,
        "notes": status.notes,
    })
}

pub(super) fn finish(
    status: &Status,
    alerts: &AlertLatency,
    summary: &serde_json::Value,
    unwritten: &[Unwritten],
    written: Option<Output>,
) -> Result<(), Failure> {
    if let Some(mut output) = written {
        let text = serde_json::to_string_pretty(summary).context("write the summary as JSON")?;
        let failed = format!("write the summary to {}", output.name().display());
        writeln!(output, "{text}").and_then(|()| output.finish()).context(failed)?;
    }
    eprintln!(
        "{} packets, {} flows, {} rows scored; loss equation {}",
        status.totals.packets,
        status.totals.flows,
        status.totals.scored,
        if status.loss.closed { "closed" } else { "OPEN" }
    );
    unwritten.iter().filter_map(lines_lost).for_each(|line| eprintln!("{line}"));
    for (detector, latency) in alerts.by_detector().filter(|(_, latency)| !latency.is_empty()) {
        let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1e6;
        eprintln!(
            "{} alerts by {}: packet to alert {:.1} ms (median), {:.1} ms (p99)",
            latency.len(),
            detector.name(),
            ms(0.5),
            ms(0.99)
        );
    }
    if status.loss.closed {
        return Ok(());
    }
    let open: Vec<String> = status
        .loss
        .equations
        .iter()
        .filter(|equation| !equation.closed)
        .map(|equation| open_equation(&status.queues, equation))
        .collect();
    Err(Failure::Findings(format!(
        "the loss equation does not close: {}; frames are missing or counted twice, which is a fault of shrike: please \
         report it with the summary (--summary FILE)",
        open.join(", ")
    )))
}

/// `eve.json: 3 events and 2 flows were not written: ...`; `None` where all were.
fn lines_lost(file: &Unwritten) -> Option<String> {
    let amounts = file.amounts()?;
    Some(format!("{}: {amounts} were not written: {SLOWER} (or it took none: the log says so)", file.path.display()))
}

/// `ring of eth1, queue 3, by 64 frames`, in the interface's own numbers.
fn open_equation(queues: &[QueueStatus], equation: &Equation) -> String {
    let of = equation.interface.as_ref().map(|interface| format!(" of {interface}")).unwrap_or_default();
    let number = equation.queue.map(|id| {
        let known = queues.iter().find(|queue| queue.id == id);
        known.map_or_else(|| u32::from(id.0), |queue| queue.nic_queue)
    });
    let queue = number.map(|number| format!(", queue {number}")).unwrap_or_default();
    format!("{}{of}{queue}, by {} frames", equation.name, equation.difference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_equation_is_told_in_words() {
        use crate::control::view::Amount;
        use crate::units::QueueId;
        let equation = |interface: Option<&str>, queue| {
            let left = vec![Amount::new("redirected", 64, "")];
            Equation::new("ring", interface.map(str::to_owned), queue, "rx", left, Vec::new())
        };
        let told = |equation| open_equation(&[], &equation);
        assert_eq!(told(equation(Some("lab/eth1"), Some(QueueId(0)))), "ring of lab/eth1, queue 0, by 64 frames");
        assert_eq!(told(equation(None, None)), "ring, by 64 frames");
    }

    #[test]
    fn lines_that_were_not_written_are_told_of_each_file() {
        let file = |flows| Unwritten { name: "conn_log", path: "/c".into(), kinds: vec![("flow", flows)] };
        assert_eq!(lines_lost(&file(0)), None);
        let told = lines_lost(&file(30_329)).unwrap();
        assert!(told.starts_with("/c: 30329 flows were not written: "), "{told}");
    }

    #[test]
    fn the_page_is_announced_where_it_can_be_asked_for() {
        let said = |address: &str| reached_at(address.parse().unwrap());
        assert_eq!(said("127.0.0.1:7470"), "http://127.0.0.1:7470/");
        assert_eq!(said("[2001:db8::1]:80"), "http://[2001:db8::1]:80/");
        for every in ["0.0.0.0:7995", "[::]:7995"] {
            let said = said(every);
            assert!(said.starts_with("http://127.0.0.1:7995/ here") && said.contains("hosts in [http]"), "{said}");
        }
    }
}
