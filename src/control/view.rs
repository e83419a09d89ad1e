//! What the outside may see of the running program: plain serde values, and the one trait that gives them.
//!
//! The supervisor implements [`System`]; `http` serves it and knows nothing else of the supervisor. Everything here is a
//! copy: a reader can hold it as long as it likes and no worker can wait on it. The shapes are the JSON of `/v1`: fields
//! may be added, never renamed or given another unit.

mod census;
mod models;

pub use census::{LIVING_KEPT, Latest, Living, Wanted};
pub use models::{
    Comparison, Drift, ModelChange, ModelState, ModelView, ModelsView, QueuesTaken, Rollback, Shift, Told,
};

use crate::dataplane::capture::xdp::{Direction, PairStatus};
use crate::dataplane::flow::TcpState;
use crate::metrics::{COUNTERS, Counter, STAGES, Stage, StageHistograms};
use crate::units::{QueueId, Timestamp, WorkerId};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What the control plane shows of itself and which orders it takes. Every method but [`System::living_flows`] returns
/// promptly: it copies what the supervisor holds and asks no worker.
pub trait System: Send + Sync {
    /// The whole picture of `/v1/status`. The store's own state and reasons are added by `http`.
    fn status(&self) -> Status;

    /// Is somebody still renewing the picture?
    ///
    /// # Errors
    /// Why not, in words for the operator.
    fn alive(&self) -> Result<(), String> {
        Ok(())
    }

    /// Every worker with the queues it runs.
    fn workers(&self) -> Vec<WorkerView>;

    /// Latency since start, for every queue with the core it runs on.
    fn latency(&self) -> Vec<QueueLatency>;

    /// The flows with most bytes lately, biggest first, at most `limit`.
    fn top_flows(&self, limit: usize) -> Vec<TopFlow>;

    /// The flows that live and are wanted. Asks every queue for a census: some milliseconds, and some seconds at most.
    fn living_flows(&self, wanted: Wanted) -> Living;

    /// The counters of every queue.
    fn counters(&self) -> Vec<QueueCounters>;

    /// Further metrics (socket statistics, NIC counters, flow table, model). The number of series must not depend on what
    /// is on the wire, and no label value may come from there.
    fn metrics(&self) -> Vec<Metric>;

    /// Gives `queue`, whole, to `worker`.
    ///
    /// # Errors
    /// Unknown queue or worker, or an order that cannot be followed now.
    fn move_queue(&self, queue: QueueId, worker: WorkerId) -> Result<(), CommandError>;

    /// Starts one more worker on a free core of those given; it has no queue until one is moved to it.
    ///
    /// # Errors
    /// No core is left.
    fn add_worker(&self) -> Result<WorkerId, CommandError>;

    /// Stops `worker` after its queues have been given to others.
    ///
    /// # Errors
    /// Unknown worker, or it is the last one.
    fn remove_worker(&self, worker: WorkerId) -> Result<(), CommandError>;

    /// Every pair with its books.
    fn pairs(&self) -> Vec<PairView> {
        Vec::new()
    }

    /// Sends the frames of the pair of that name past the worker, or back.
    ///
    /// # Errors
    /// There is no such pair.
    fn bypass(&self, name: &str, _on: bool) -> Result<(), CommandError> {
        Err(CommandError::NotFound(format!("no pair {name}: see /v1/pairs")))
    }
}

/// Why an order was not followed. The message is for the operator.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// What was named does not exist (404).
    #[error("{0}")]
    NotFound(String),
    /// It exists, and the order makes no sense in its present state (409).
    #[error("{0}")]
    Conflict(String),
    /// What was named is there and cannot be used (422).
    #[error("{0}")]
    Unfit(String),
    /// The command queue is full or the supervisor is stopping; try again (503).
    #[error("{0}")]
    Busy(String),
}

/// `/v1/status`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// How it was started: `run`, `replay` or `demo`.
    pub mode: String,
    /// When it was started.
    pub started: Timestamp,
    /// When this picture was made.
    pub now: Timestamp,
    /// `now - started`.
    pub uptime_seconds: f64,
    /// Ready to do its work: rings bound, model loaded or deliberately absent.
    pub ready: bool,
    /// What is not as it should be; empty when all is well.
    pub degraded: Vec<Degraded>,
    /// Sums over all queues since start.
    pub totals: Totals,
    /// Every queue with the capture mode it obtained.
    pub queues: Vec<QueueStatus>,
    /// Every frame accounted for exactly once.
    pub loss: Loss,
    /// The model, where one is configured.
    pub model: Option<ModelStatus>,
    /// The models of windows that judge now.
    #[serde(default)]
    pub window_models: Vec<ModelStatus>,
    /// Things worth knowing that are no fault (`2 queues share core 1: fewer cores than queues`).
    pub notes: Vec<String>,
}

/// One thing that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Degraded {
    /// Which part: `capture`, `model`, `store`, `exchange`, `loss`, ...
    pub part: String,
    /// What is wrong, and the remedy.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// Sums over all queues since start.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Frames taken from the sources.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Flows begun.
    pub flows: u64,
    /// Flows in the tables now.
    pub flows_active: u64,
    /// Rows scored by the model.
    pub scored: u64,
    /// Rows given up.
    pub shed: u64,
    /// Frames of an EtherType that is not decoded: no drop, and no flow either.
    #[serde(default)]
    pub not_decoded: u64,
    /// Every drop by its cause, from the wire to the flow table; the order is the packet's way.
    pub drops: Vec<Amount>,
    /// What was not inspected by its cause: limits, and bytes that the tap lost ([`crate::metrics::UNREAD`]). No drops: the
    /// packets are counted in their flows.
    #[serde(default)]
    pub unread: Vec<Amount>,
}

/// A named number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Amount {
    /// What is counted.
    pub name: String,
    /// How many.
    pub value: u64,
    /// One sentence for people; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
}

impl Amount {
    /// A number with its name and meaning.
    pub fn new(name: impl Into<String>, value: u64, help: impl Into<String>) -> Amount {
        Amount { name: name.into(), value, help: help.into() }
    }
}

/// How frames come in on a queue, as read back from the kernel, never as asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaptureMode {
    /// AF_XDP, the NIC writes into the UMEM.
    ZeroCopy,
    /// AF_XDP with a native XDP program, the kernel copies into the UMEM.
    Copy,
    /// AF_XDP with a generic (skb) XDP program.
    Generic,
    /// A capture file.
    File,
    /// In-memory rings.
    Memory,
    /// Nothing is bound at present.
    Detached,
}

impl CaptureMode {
    /// Name in JSON, metrics and on the terminal.
    pub const fn name(self) -> &'static str {
        match self {
            CaptureMode::ZeroCopy => "zero-copy",
            CaptureMode::Copy => "copy",
            CaptureMode::Generic => "generic",
            CaptureMode::File => "file",
            CaptureMode::Memory => "memory",
            CaptureMode::Detached => "detached",
        }
    }
}

/// Where a queue's frames come from and how.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Number within the program.
    pub id: QueueId,
    /// Interface, or what stands for it (a file's name).
    pub interface: String,
    /// Network namespace of the interface, where it is another one.
    pub namespace: Option<String>,
    /// The NIC's own number of the queue.
    pub nic_queue: u32,
    /// What was obtained.
    pub mode: CaptureMode,
    /// What was asked for (`auto`, `zero-copy`, ...).
    pub requested: String,
    /// UMEM on huge pages.
    pub huge_pages: bool,
    /// Preferred busy polling is on.
    pub busy_poll: bool,
    /// Both directions of a flow meet here by the NIC's symmetric hash (`rss`), by handover, or `single` queue.
    pub symmetry: String,
}

/// Every equation of the program, and whether all of them close.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Loss {
    /// Every equation closes.
    pub closed: bool,
    /// One or more per interface, queue and direction.
    pub equations: Vec<Equation>,
}

impl Loss {
    /// All equations together.
    pub fn of(equations: Vec<Equation>) -> Loss {
        Loss { closed: equations.iter().all(|equation| equation.closed), equations }
    }
}

/// `sum(left) = sum(right)`, each term counted where it happens and none computed from another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Equation {
    /// What is balanced: `wire` (NIC to XDP program), `ring` (XDP program to worker), `queue` (worker), `handover`, ...
    pub name: String,
    /// Interface, where the equation belongs to one.
    pub interface: Option<String>,
    /// Queue, where the equation belongs to one.
    pub queue: Option<QueueId>,
    /// `rx` or `tx`.
    pub direction: String,
    /// What came in.
    pub left: Vec<Amount>,
    /// Where it went.
    pub right: Vec<Amount>,
    /// `sum(left) - sum(right)`.
    pub difference: i64,
    /// `difference == 0`.
    pub closed: bool,
}

impl Equation {
    /// Balances the terms.
    pub fn new(
        name: impl Into<String>,
        interface: Option<String>,
        queue: Option<QueueId>,
        direction: impl Into<String>,
        left: Vec<Amount>,
        right: Vec<Amount>,
    ) -> Equation {
        let sum = |terms: &[Amount]| terms.iter().map(|term| i128::from(term.value)).sum::<i128>();
        let exact = sum(&left) - sum(&right);
        let difference = i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX });
        Equation {
            name: name.into(),
            interface,
            queue,
            direction: direction.into(),
            left,
            right,
            difference,
            closed: difference == 0,
        }
    }
}

/// A pair, as `/v1/pairs` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PairView {
    /// How it is doing.
    #[serde(flatten)]
    pub status: PairStatus,
    /// The books of both directions.
    pub directions: [Direction; 2],
}

/// The model in use.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ModelStatus {
    /// Name and version from the manifest.
    pub name: String,
    /// Version from the manifest.
    pub version: String,
    /// SHA-256 of the ONNX file, hex.
    pub sha256: String,
    /// Version of the feature schema it was trained with.
    pub schema_version: u32,
    /// Probability from which a flow is reported, by family.
    pub thresholds: BTreeMap<String, f64>,
    /// It scores now.
    pub active: bool,
    /// Why it does not, where it does not.
    pub reason: Option<String>,
    /// Calibrated service time by microbatch size: (rows, nanoseconds).
    pub cost_ns: Vec<(u32, u64)>,
}

impl ModelStatus {
    /// From which probabilities on it reports what, in words.
    pub fn reports(&self) -> String {
        let all = self.thresholds.values().copied();
        let (least, most) = all.fold((1.0_f64, 0.0_f64), |(least, most), one| (least.min(one), most.max(one)));
        format!("{} families from {least:.3} to {most:.3} on", self.thresholds.len())
    }
}

/// `/v1/workers`: one worker thread.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WorkerView {
    /// Number of the worker.
    pub id: WorkerId,
    /// `running`, `stopping`, `hung` (it does not come round) or `dead`.
    pub state: String,
    /// Core it is pinned to, where it is.
    pub core: Option<usize>,
    /// Share of the last second spent on frames, 0..=1.
    pub load: f64,
    /// Turns of its loop in the last second.
    pub turns_per_second: f64,
    /// Queues it runs.
    pub queues: Vec<QueueView>,
}

/// A queue as its worker sees it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct QueueView {
    /// Number within the program.
    pub id: QueueId,
    /// Interface and the NIC's queue, as people name it (`eth1:0`).
    pub name: String,
    /// Capture mode obtained.
    pub mode: CaptureMode,
    /// Share of the worker's last second that this queue took, 0..=1.
    pub load: f64,
    /// Frames in the last second.
    pub packets_per_second: f64,
    /// Bits in the last second.
    pub bits_per_second: f64,
    /// Flows in the table now.
    pub flows: u64,
    /// Flows that fit.
    pub flow_capacity: u64,
    /// The flow table gives up flows before their time.
    pub emergency: bool,
    /// Frames waiting in the ring when last looked at.
    pub ring_waiting: u32,
    /// Frames the ring can hold.
    pub ring_capacity: u32,
    /// Frames that were handed to or taken from other queues in the last second.
    pub handover_per_second: f64,
    /// Cap of a burst, moved by ring occupancy.
    pub rx: ControllerView,
    /// Wait for a microbatch, moved by service time.
    pub scoring: ControllerView,
    /// Flows that take a large share of this queue.
    pub elephants: Vec<TopFlow>,
}

/// A batch controller as it stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ControllerView {
    /// `feedback` or `fixed`.
    pub control: String,
    /// What it aims at now, in `unit`.
    pub target: f64,
    /// Unit of `target`, `minimum`, `maximum` and `mean`: `frames`, `rows`, ...
    pub unit: String,
    /// Lowest target it may choose.
    pub minimum: f64,
    /// Highest target it may choose.
    pub maximum: f64,
    /// Mean batch over the last second.
    pub mean: f64,
    /// Where it stands (`steady`, `growing`, `shrinking`, `saturated`, ...).
    pub state: String,
    /// Why it last moved.
    pub last_reason: String,
    /// When it last moved.
    pub last_change: Timestamp,
    /// Moves since start.
    pub changes: u64,
}

/// One flow, for `/v1/flows/top` and elephants.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TopFlow {
    /// Queue that holds it.
    pub queue: QueueId,
    /// Originator.
    pub source: IpAddr,
    /// Originator's port.
    pub source_port: u16,
    /// Responder.
    pub destination: IpAddr,
    /// Responder's port.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Packets from originator and responder.
    pub packets: [u64; 2],
    /// Bytes from originator and responder.
    pub bytes: [u64; 2],
    /// First packet.
    #[serde(with = "crate::units::rfc3339")]
    pub first_seen: Timestamp,
    /// Latest packet.
    #[serde(with = "crate::units::rfc3339")]
    pub last_seen: Timestamp,
    /// Bits a second over its life, both ways; lives shorter than a second count as one.
    pub bits_per_second: f64,
    /// Latest model score, where it was scored.
    pub score: Option<f32>,
    /// `new`, `answered`, `established`, `closing` or `closed`.
    pub state: String,
}

/// Name of a flow's state in [`TopFlow::state`].
pub const fn state_name(state: TcpState) -> &'static str {
    match state {
        TcpState::New => "new",
        TcpState::Answered => "answered",
        TcpState::Established => "established",
        TcpState::Closing => "closing",
        TcpState::Closed => "closed",
    }
}

/// The counters of one queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueCounters {
    /// Number within the program.
    pub queue: QueueId,
    /// Interface and the NIC's queue (`eth1:0`).
    pub name: String,
    /// One value per [`Counter`], in the order of the discriminants.
    pub values: [u64; COUNTERS.len()],
}

impl QueueCounters {
    /// One of them.
    pub fn value(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }
}

/// Kind of a [`Metric`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricKind {
    /// Only grows; the name ends in `_total`.
    Counter,
    /// Goes both ways.
    Gauge,
}

/// One sample for `/metrics`. Samples of one name must stand together and share kind and help.
#[derive(Clone, PartialEq, Debug)]
pub struct Metric {
    /// Full name: `shrike_...`, base units.
    pub name: &'static str,
    /// One sentence, the HELP line.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: MetricKind,
    /// Labels; values come from the configuration or the program, never from the wire.
    pub labels: Vec<(&'static str, String)>,
    /// The sample.
    pub value: f64,
}

/// Latency of one queue since start.
#[derive(Clone, Debug)]
pub struct QueueLatency {
    /// Number within the program.
    pub queue: QueueId,
    /// Worker that runs it now.
    pub worker: WorkerId,
    /// Core of that worker.
    pub core: Option<usize>,
    /// One histogram per stage.
    pub stages: StageTotals,
}

/// Histograms per stage with 64-bit counts: the sum of what workers hand up as [`StageHistograms`] (whose 32-bit counts
/// would saturate within hours at a million bursts a second).
#[derive(Clone, Debug)]
pub struct StageTotals {
    stages: [Histogram<u64>; STAGES.len()],
}

impl StageTotals {
    /// Empty histograms with the bounds of [`StageHistograms`].
    pub fn new() -> StageTotals {
        StageTotals { stages: std::array::from_fn(|_| empty_histogram()) }
    }

    /// Adds what a worker handed up.
    pub fn add(&mut self, part: &StageHistograms) {
        for stage in STAGES {
            for bucket in part.stage(stage).iter_recorded() {
                self.record(stage, bucket.value_iterated_to(), u64::from(bucket.count_at_value()));
            }
        }
    }

    /// Adds the events of `other`.
    pub fn merge(&mut self, other: &StageTotals) {
        for (mine, theirs) in self.stages.iter_mut().zip(&other.stages) {
            mine.add(theirs).expect("same bounds on both sides");
        }
    }

    /// Adds `histogram` to one stage.
    pub fn merge_stage(&mut self, stage: Stage, histogram: &Histogram<u64>) {
        for bucket in histogram.iter_recorded() {
            self.record(stage, bucket.value_iterated_to(), bucket.count_at_value());
        }
    }

    /// Records `count` events of `nanoseconds` each; longer ones than can be told apart saturate.
    pub fn record(&mut self, stage: Stage, nanoseconds: u64, count: u64) {
        self.stages[stage as usize].saturating_record_n(nanoseconds.max(1), count);
    }

    /// The histogram of one stage.
    pub fn stage(&self, stage: Stage) -> &Histogram<u64> {
        &self.stages[stage as usize]
    }
}

impl Default for StageTotals {
    fn default() -> StageTotals {
        StageTotals::new()
    }
}

/// An empty histogram with the bounds that all latency here has: 1 ns to 60 s, two significant digits.
pub fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, StageHistograms::MAX_NS, 2).expect("1 ns to 60 s at 2 digits is a valid range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equation_closes_only_when_both_sides_are_equal() {
        let term = |value| vec![Amount::new("t", value, "")];
        let equation = |left, right| Equation::new("queue", None, Some(QueueId(0)), "rx", term(left), term(right));
        assert!(equation(7, 7).closed);
        assert_eq!((equation(7, 9).difference, equation(7, 9).closed), (-2, false));
        assert_eq!(equation(u64::MAX, 0).difference, i64::MAX);
        assert!(!Loss::of(vec![equation(1, 1), equation(1, 0)]).closed);
        assert!(Loss::of(Vec::new()).closed);
    }

    #[test]
    fn totals_keep_counts_and_buckets_of_what_workers_hand_up() {
        let mut part = StageHistograms::new();
        part.record(Stage::Decode, 1_234, u32::MAX);
        let mut totals = StageTotals::new();
        totals.add(&part);
        totals.add(&part);
        let histogram = totals.stage(Stage::Decode);
        assert_eq!(histogram.len(), 2 * u64::from(u32::MAX));
        assert_eq!(histogram.max(), part.stage(Stage::Decode).max());
        let mut merged = StageTotals::new();
        merged.merge(&totals);
        merged.merge_stage(Stage::Flow, histogram);
        assert_eq!(merged.stage(Stage::Flow).len(), merged.stage(Stage::Decode).len());
    }
}

/// What came of reading the configuration anew.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, serde::Deserialize)]
pub struct ReloadView {
    /// Keys whose change is in force.
    pub taken: Vec<String>,
    /// Keys whose change waits for the next start.
    pub waiting: Vec<String>,
    /// What to do about these; empty where there are none.
    pub remedy: String,
}
