//! `/metrics`: Prometheus text format 0.0.4, written by hand.
//!
//! `prometheus-client` writes OpenMetrics only and wants to own the numbers; ours live in per-core memory and in the store
//! already, and the format is three kinds of line. Names, help and labels are ours alone: nothing from the wire becomes a
//! label, so the number of series depends on the configuration and on nothing else.

use super::App;
use super::problem::Problem;
use super::routes::text;
use crate::control::view::{Metric, MetricKind};
use crate::dataplane::detect::Detector;
use crate::metrics::{COUNTERS, STAGES};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;
use warp::reply::Response;

/// Upper bounds of latency buckets in nanoseconds: four a decade near what stages take, to 10 s.
const BUCKETS_NS: [u64; 22] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];

/// `GET /metrics`.
pub(super) fn answer(app: &App) -> Result<Response, Problem> {
    let mut page = Page::default();
    let status = app.system.status();
    let store = app.store.status();

    page.family("shrike_build_info", "gauge", "Version of the program.");
    page.sample("shrike_build_info", &[("version", &status.version)], 1.0);
    page.family("shrike_uptime_seconds", "gauge", "Seconds since start.");
    page.sample("shrike_uptime_seconds", &[], status.uptime_seconds);
    page.family("shrike_ready", "gauge", "1 when rings are bound and the model is loaded or deliberately absent.");
    page.sample("shrike_ready", &[], f64::from(u8::from(status.ready)));
    page.family("shrike_degraded", "gauge", "Number of parts that are not as they should be.");
    page.sample("shrike_degraded", &[], (status.degraded.len() + store.degraded.len()) as f64);
    page.family("shrike_loss_equation_closed", "gauge", "1 when every frame is accounted for exactly once.");
    page.sample("shrike_loss_equation_closed", &[], f64::from(u8::from(status.loss.closed)));
    page.family("shrike_capture_mode_info", "gauge", "Capture mode read back for each queue.");
    for queue in &status.queues {
        let (id, nic_queue) = (queue.id.0.to_string(), queue.nic_queue.to_string());
        page.sample(
            "shrike_capture_mode_info",
            &[("queue", &id), ("interface", &queue.interface), ("nic_queue", &nic_queue), ("mode", queue.mode.name())],
            1.0,
        );
    }

    page.family("shrike_drops_total", "counter", "Frames not processed, by cause, wherever they were lost.");
    for drop in &status.totals.drops {
        page.sample("shrike_drops_total", &[("cause", &drop.name)], drop.value as f64);
    }

    let queues = app.system.counters();
    for counter in COUNTERS {
        let name = format!("shrike_{}_total", counter.name());
        page.family(&name, "counter", counter.help());
        for queue in &queues {
            let id = queue.queue.0.to_string();
            page.sample(&name, &[("queue", &id), ("name", &queue.name)], queue.value(*counter) as f64);
        }
    }

    let workers = app.system.workers();
    page.family("shrike_worker_load_ratio", "gauge", "Share of the last second that a worker spent on frames.");
    for worker in &workers {
        page.sample("shrike_worker_load_ratio", &[("worker", &worker.id.0.to_string())], worker.load);
    }

    for (name, help, value) in [
        ("shrike_alerts_accepted_total", "Alerts given to the store.", store.accepted),
        ("shrike_alerts_written_total", "Alerts written to the store.", store.written),
        ("shrike_alerts_shed_total", "Alerts given up because the queue before the store was full.", store.shed),
        ("shrike_store_failures_total", "Commits that failed and were tried again.", store.failures),
        ("shrike_http_refused_total", "Connections refused because there were too many.", app.refused.load(Relaxed)),
        (
            "shrike_http_refused_untold_total",
            "Those that had gone before they could be told.",
            app.untold.load(Relaxed),
        ),
        ("shrike_http_cut_total", "Connections cut because a request took too long.", app.cut.load(Relaxed)),
        ("shrike_http_accept_errors_total", "Accepts that failed.", app.accept_errors.load(Relaxed)),
    ] {
        page.family(name, "counter", help);
        page.sample(name, &[], value as f64);
    }
    page.family("shrike_alerts_pending", "gauge", "Alerts that wait for the disk.");
    page.sample("shrike_alerts_pending", &[], store.pending as f64);
    page.family("shrike_alerts_stored", "gauge", "Alerts in the store.");
    page.sample("shrike_alerts_stored", &[], store.alerts as f64);
    page.family("shrike_http_connections", "gauge", "Connections open now.");
    page.sample("shrike_http_connections", &[], app.open.load(Relaxed) as f64);
    page.family("shrike_http_requests_total", "counter", "Answers by class of status.");
    for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(&app.requests) {
        page.sample("shrike_http_requests_total", &[("class", class)], count.load(Relaxed) as f64);
    }
    page.family("shrike_detector_info", "gauge", "Detectors built in.");
    for detector in Detector::ALL {
        page.sample("shrike_detector_info", &[("detector", detector.name())], 1.0);
    }

    latency(&mut page, app);
    blocks(&mut page, app);
    foreign(&mut page, app.system.metrics());
    Ok(text(page.text, "text/plain; version=0.0.4; charset=utf-8"))
}

fn latency(page: &mut Page, app: &App) {
    let queues = app.system.latency();
    page.family("shrike_stage_latency_seconds", "histogram", "Time by stage, per queue.");
    for queue in &queues {
        let id = queue.queue.0.to_string();
        for stage in STAGES.into_iter().filter(|stage| stage.is_of_queue()) {
            let labels = [("queue", id.as_str()), ("stage", stage.name())];
            page.histogram("shrike_stage_latency_seconds", &labels, queue.stages.stage(stage));
        }
    }
    let help = "From the packet that completed the evidence to the alert being in the store, by detector.";
    page.family("shrike_packet_to_alert_seconds", "histogram", help);
    for (detector, histogram) in app.store.alert_latency().by_detector() {
        page.histogram("shrike_packet_to_alert_seconds", &[("detector", detector.name())], histogram);
    }
}

/// How long automatic responses took, where there are some.
fn blocks(page: &mut Page, app: &App) {
    let Some(responses) = &app.settings.responses else { return };
    let help = "From the latest packet that an automatic block or limit rests on to its being in the kernel.";
    page.family("shrike_packet_to_block_seconds", "histogram", help);
    page.histogram("shrike_packet_to_block_seconds", &[], &responses.packet_to_block());
}

/// Metrics of the system: grouped by name, as the format asks, and only with names that it allows.
fn foreign(page: &mut Page, metrics: Vec<Metric>) {
    let mut families: BTreeMap<&'static str, Vec<Metric>> = BTreeMap::new();
    for metric in metrics {
        families.entry(metric.name).or_default().push(metric);
    }
    for (name, samples) in families {
        let legal = name.starts_with("shrike_")
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !page.families.contains(name);
        debug_assert!(legal, "metric name {name}");
        let Some(first) = samples.first().filter(|_| legal) else { continue };
        let kind = match first.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        page.family(name, kind, first.help);
        for sample in &samples {
            let labels: Vec<_> = sample.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            page.sample(name, &labels, sample.value);
        }
    }
}

#[derive(Default)]
struct Page {
    text: String,
    families: std::collections::BTreeSet<String>,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.families.insert(name.to_owned());
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a String cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{value}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram<u64>) {
        let (bucket, sum, count) = (format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count"));
        let mut counts = [0_u64; BUCKETS_NS.len()];
        let mut total_ns = 0.0;
        for recorded in histogram.iter_recorded() {
            let value = recorded.value_iterated_to();
            total_ns += histogram.median_equivalent(value) as f64 * recorded.count_at_value() as f64;
            if let Some(slot) = BUCKETS_NS.iter().position(|bound| value <= *bound) {
                counts[slot] += recorded.count_at_value();
            }
        }
        let mut below = 0;
        for (bound, inside) in BUCKETS_NS.iter().zip(counts) {
            below += inside;
            let le = format!("{}", *bound as f64 / 1e9);
            let with_le: Vec<_> = labels.iter().copied().chain([("le", le.as_str())]).collect();
            self.sample(&bucket, &with_le, below as f64);
        }
        let with_le: Vec<_> = labels.iter().copied().chain([("le", "+Inf")]).collect();
        self.sample(&bucket, &with_le, histogram.len() as f64);
        self.sample(&sum, labels, total_ns / 1e9);
        self.sample(&count, labels, histogram.len() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_end_in_the_count() {
        let mut histogram = crate::control::view::empty_histogram();
        for value in [90, 900, 900, 40_000, 59_000_000_000] {
            histogram.saturating_record(value);
        }
        let mut page = Page::default();
        page.histogram("x_seconds", &[("stage", "a\"b\\c")], &histogram);
        let lines: Vec<_> = page.text.lines().collect();
        assert_eq!(lines[0], "x_seconds_bucket{stage=\"a\\\"b\\\\c\",le=\"0.0000001\"} 1");
        let values: Vec<f64> =
            lines.iter().take(23).map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(values.is_sorted());
        assert_eq!((values[3], values[21], values[22]), (3.0, 4.0, 5.0));
        assert!(lines[24].starts_with("x_seconds_count") && lines[24].ends_with(" 5"));
    }
}
