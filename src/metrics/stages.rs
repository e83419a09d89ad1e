//! Latency by stage, as HDR histograms in nanoseconds.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A stretch of a packet's way that is timed on its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Stage {
    /// Ring read and release.
    Receive,
    /// Decoding a burst.
    Decode,
    /// Looking up and updating the flows of a burst, detectors included.
    Flow,
    /// A feature row waiting for its microbatch.
    ScoreQueue,
    /// One call of the model.
    Score,
    /// Timer wheel and window flush of one burst.
    Expire,
    /// From the start of a turn with frames to the start of the queue's next one: how long a frame may wait that comes just
    /// behind a burst, the turns of other queues on the worker included. Of every burst; the stages above are of one in 16.
    Burst,
    /// From the start of the turn that took a frame of a pair to its being given to the other port: what the worker adds to its
    /// latency beside its wait in the ring, which is at most `burst`. Of every burst.
    Forward,
    /// From the latest packet on which an automatic block or limit rests (of its evidence, and of its source's proof where it needs one)
    /// to its being in the kernel.
    PacketToBlock,
    /// From the packet that completed the evidence to the alert being in the store, live only.
    PacketToAlert,
}

/// All stages, in the order of their discriminants.
pub const STAGES: [Stage; 10] = [
    Stage::Receive,
    Stage::Decode,
    Stage::Flow,
    Stage::ScoreQueue,
    Stage::Score,
    Stage::Expire,
    Stage::Burst,
    Stage::Forward,
    Stage::PacketToBlock,
    Stage::PacketToAlert,
];

impl Stage {
    /// Is it timed by a queue? The others are beyond the queues and have histograms of their own.
    pub const fn is_of_queue(self) -> bool {
        !matches!(self, Stage::PacketToBlock | Stage::PacketToAlert)
    }

    /// Name in JSON, Prometheus labels and the HdrHistogram log's tags.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Receive => "receive",
            Stage::Decode => "decode",
            Stage::Flow => "flow",
            Stage::ScoreQueue => "score_queue",
            Stage::Score => "score",
            Stage::Expire => "expire",
            Stage::Burst => "burst",
            Stage::Forward => "forward",
            Stage::PacketToBlock => "packet_to_block",
            Stage::PacketToAlert => "packet_to_alert",
        }
    }
}

/// One histogram per stage: 1 ns to 60 s, two significant digits, so each is some 7 KB of `u32` and stays in cache.
#[derive(Clone, Debug)]
pub struct StageHistograms {
    stages: [Histogram<u32>; STAGES.len()],
}

impl StageHistograms {
    /// Longest time that is told apart; longer ones saturate.
    pub const MAX_NS: u64 = 60_000_000_000;

    /// Empty histograms; all their memory is taken here.
    pub fn new() -> StageHistograms {
        StageHistograms {
            stages: std::array::from_fn(|_| {
                Histogram::new_with_bounds(1, StageHistograms::MAX_NS, 2)
                    .expect("1 ns to 60 s at 2 digits is a valid range")
            }),
        }
    }

    /// Records `count` events of `nanoseconds` each.
    #[inline]
    pub fn record(&mut self, stage: Stage, nanoseconds: u64, count: u32) {
        if let Some(histogram) = self.stages.get_mut(stage as usize) {
            histogram.saturating_record_n(nanoseconds.max(1), count);
        }
    }

    /// The histogram of one stage.
    pub fn stage(&self, stage: Stage) -> &Histogram<u32> {
        &self.stages[stage as usize]
    }

    /// Forgets all events and keeps the memory.
    pub fn reset(&mut self) {
        for histogram in &mut self.stages {
            histogram.reset();
        }
    }

    /// Adds the events of `other`.
    pub fn merge(&mut self, other: &StageHistograms) {
        for (mine, theirs) in self.stages.iter_mut().zip(&other.stages) {
            mine.add(theirs).expect("same bounds on both sides");
        }
    }
}

impl Default for StageHistograms {
    fn default() -> StageHistograms {
        StageHistograms::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_counts_are_the_sum() {
        let (mut one, mut two) = (StageHistograms::new(), StageHistograms::new());
        one.record(Stage::Decode, 0, 3);
        two.record(Stage::Decode, u64::MAX, 4);
        one.merge(&two);
        assert_eq!(one.stage(Stage::Decode).len(), 7);
        assert_eq!(one.stage(Stage::Flow).len(), 0);
        one.reset();
        assert_eq!(one.stage(Stage::Decode).len(), 0);
    }
}
