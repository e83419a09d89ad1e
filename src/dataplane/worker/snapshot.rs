//! What a queue shows of itself four times a second: one box that goes up full and comes back empty.

use super::batch::{RxState, ScoreState};
use super::elephants::Elephants;
use crate::dataplane::flow::TableStats;
use crate::exchange::{FlowSummary, Reset};
use crate::metrics::StageHistograms;
use crate::units::{QueueId, Timestamp};

/// Metrics of one queue since its previous snapshot, with its present state.
#[derive(Clone, Debug, Default)]
pub struct QueueSnapshot {
    /// Latency by stage since the snapshot before.
    pub histograms: StageHistograms,
    /// As it stands now.
    pub state: QueueState,
}

/// How a queue stands.
#[derive(Clone, Debug, Default)]
pub struct QueueState {
    /// Which queue.
    pub queue: QueueId,
    /// The queue's time when the snapshot was taken.
    pub time: Timestamp,
    /// Largest flows.
    pub elephants: Elephants,
    /// Flow table.
    pub table: TableStats,
    /// Frames in the ring when last looked at.
    pub ring_waiting: u32,
    /// Frames the ring holds.
    pub ring_capacity: u32,
    /// RX controller.
    pub rx: RxState,
    /// When it last moved.
    pub rx_changed: Timestamp,
    /// Scoring controller.
    pub score: ScoreState,
    /// When it last moved.
    pub score_changed: Timestamp,
    /// A model is there.
    pub scoring: bool,
    /// Calls of the model that failed since the snapshot before.
    pub score_failures: u64,
    /// And those that did not.
    pub score_successes: u64,
    /// The runtime's own words about the latest that failed.
    pub score_cause: String,
}

impl QueueState {
    /// The elephants, largest first.
    pub fn largest_flows(&self) -> Vec<FlowSummary> {
        let mut flows: Vec<FlowSummary> = self.elephants.flows().copied().collect();
        flows.sort_by_key(|flow| std::cmp::Reverse(flow.bytes.iter().sum::<u64>()));
        flows
    }
}

impl Reset for QueueSnapshot {
    fn reset(&mut self) {
        self.histograms.reset();
        (self.state.score_failures, self.state.score_successes) = (0, 0);
    }
}
