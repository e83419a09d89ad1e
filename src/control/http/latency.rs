//! `/v1/latency` (percentiles as JSON) and `/v1/latency.hlog` (HdrHistogram log, V2 with deflate).

use super::App;
use super::problem::{Kind, Problem};
use super::routes::{json as json_answer, text};
use crate::control::view::{QueueLatency, StageTotals};
use crate::metrics::{STAGES, Stage};
use crate::units::{QueueId, SECOND, WorkerId};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use warp::reply::Response;

#[derive(Serialize)]
struct Answer {
    unit: &'static str,
    /// Since start, all cores together; the only place of `packet_to_alert` and `packet_to_block`.
    all: Stages,
    cores: Vec<Core>,
    queues: Vec<Queue>,
    /// Packet to alert by detector: those that count by the second wait for its end.
    alerts: BTreeMap<&'static str, Percentiles>,
}

#[derive(Serialize)]
struct Core {
    core: Option<usize>,
    queues: Vec<QueueId>,
    stages: Stages,
}

#[derive(Serialize)]
struct Queue {
    queue: QueueId,
    worker: WorkerId,
    core: Option<usize>,
    stages: Stages,
}

/// Stages that have events, in the packet's order.
type Stages = BTreeMap<StageName, Percentiles>;

/// Sorts by the way of the packet and is written as its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct StageName(u8);

impl Serialize for StageName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(STAGES.get(usize::from(self.0)).map_or("", |stage| stage.name()))
    }
}

#[derive(Serialize)]
struct Percentiles {
    count: u64,
    min: u64,
    mean: f64,
    p50: u64,
    p75: u64,
    p90: u64,
    p95: u64,
    p99: u64,
    p999: u64,
    p9999: u64,
    max: u64,
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    let at = |quantile| histogram.value_at_quantile(quantile);
    Percentiles {
        count: histogram.len(),
        min: histogram.min(),
        mean: histogram.mean(),
        p50: at(0.5),
        p75: at(0.75),
        p90: at(0.9),
        p95: at(0.95),
        p99: at(0.99),
        p999: at(0.999),
        p9999: at(0.9999),
        max: histogram.max(),
    }
}

fn stages(totals: &StageTotals) -> Stages {
    STAGES
        .iter()
        .filter(|stage| !totals.stage(**stage).is_empty())
        .map(|stage| (StageName(*stage as u8), percentiles(totals.stage(*stage))))
        .collect()
}

/// Everything merged, with packet-to-alert and packet-to-block, which belong to no core.
pub(super) fn merged(app: &App, queues: &[QueueLatency]) -> StageTotals {
    let mut all = StageTotals::new();
    for queue in queues {
        all.merge(&queue.stages);
    }
    all.merge_stage(Stage::PacketToAlert, &app.store.alert_latency().all());
    if let Some(responses) = &app.settings.responses {
        all.merge_stage(Stage::PacketToBlock, &responses.packet_to_block());
    }
    all
}

/// `GET /v1/latency`.
pub(super) fn json(app: &App) -> Result<Response, Problem> {
    let queues = app.system.latency();
    let mut cores: BTreeMap<Option<usize>, (Vec<QueueId>, StageTotals)> = BTreeMap::new();
    for queue in &queues {
        let (ids, totals) = cores.entry(queue.core).or_insert_with(|| (Vec::new(), StageTotals::new()));
        ids.push(queue.queue);
        totals.merge(&queue.stages);
    }
    json_answer(&Answer {
        unit: "ns",
        all: stages(&merged(app, &queues)),
        cores: cores
            .into_iter()
            .map(|(core, (queues, totals))| Core { core, queues, stages: stages(&totals) })
            .collect(),
        queues: queues
            .iter()
            .map(|queue| Queue {
                queue: queue.queue,
                worker: queue.worker,
                core: queue.core,
                stages: stages(&queue.stages),
            })
            .collect(),
        alerts: app
            .store
            .alert_latency()
            .by_detector()
            .filter(|(_, histogram)| !histogram.is_empty())
            .map(|(detector, histogram)| (detector.name(), percentiles(histogram)))
            .collect(),
    })
}

/// `GET /v1/latency.hlog`: one line per queue and stage, tagged `core0.queue0.decode`, since start.
pub(super) fn log(app: &App) -> Result<Response, Problem> {
    let status = app.system.status();
    let start = std::time::UNIX_EPOCH + Duration::from_nanos(status.started.0);
    let span = Duration::from_nanos(status.now.since(status.started));
    let queues = app.system.latency();
    let mut lines: Vec<(String, Histogram<u64>)> = Vec::new();
    for queue in &queues {
        let core = queue.core.map_or_else(|| "core-none".to_owned(), |core| format!("core{core}"));
        for stage in STAGES {
            let histogram = queue.stages.stage(stage);
            if !histogram.is_empty() {
                lines.push((format!("{core}.queue{}.{}", queue.queue.0, stage.name()), histogram.clone()));
            }
        }
    }
    let alerts = app.store.alert_latency().all();
    if !alerts.is_empty() {
        lines.push((Stage::PacketToAlert.name().to_owned(), alerts));
    }
    let blocks = app.settings.responses.as_ref().map(|responses| responses.packet_to_block());
    lines.extend(
        blocks.filter(|blocks| !blocks.is_empty()).map(|blocks| (Stage::PacketToBlock.name().to_owned(), blocks)),
    );
    let body = write_log(start, span, &lines)
        .map_err(|cause| Problem::new(Kind::Internal, format!("write the histogram log: {cause}")))?;
    Ok(text(body, "text/plain; charset=utf-8"))
}

fn write_log(
    start: std::time::SystemTime,
    span: Duration,
    lines: &[(String, Histogram<u64>)],
) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let words = |cause: &dyn std::fmt::Debug| format!("{cause:?}");
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[Unit: ns. One line per core, queue and stage, since start]")
        .with_start_time(start)
        .with_base_time(start)
        // The readable maximum is in seconds, as is usual for logs of nanoseconds.
        .with_max_value_divisor(SECOND as f64)
        .begin_log_with(&mut bytes, &mut serializer)
        .map_err(|cause| words(&cause))?;
    for (tag, histogram) in lines {
        writer.write_histogram(histogram, Duration::ZERO, span, Tag::new(tag)).map_err(|cause| words(&cause))?;
    }
    String::from_utf8(bytes).map_err(|cause| cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::view::empty_histogram;
    use base64::Engine as _;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    #[test]
    fn the_log_reads_back_with_every_count() {
        let mut histogram = empty_histogram();
        histogram.saturating_record_n(1_500, 7);
        histogram.saturating_record_n(2_000_000, 3);
        let lines = [("core0.queue0.decode".to_owned(), histogram.clone())];
        let log = write_log(std::time::UNIX_EPOCH, Duration::from_secs(5), &lines).unwrap();
        let mut found = 0;
        for entry in IntervalLogIterator::new(log.as_bytes()) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                assert_eq!(interval.tag().unwrap().as_str(), "core0.queue0.decode");
                let bytes = base64::engine::general_purpose::STANDARD.decode(interval.encoded_histogram()).unwrap();
                let back: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                assert_eq!(back, histogram);
                found += 1;
            }
        }
        assert_eq!(found, 1);
    }
}
