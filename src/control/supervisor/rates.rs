//! Rates from counters: differences of two readings over the time between them.

use crate::metrics::{COUNTERS, Counter};
use crate::units::Timestamp;

/// Readings closer together than this are not divided: the quotient would be noise.
const SHORTEST_NS: u64 = 200_000_000;

/// Rates of one queue.
#[derive(Clone, Debug, Default)]
pub struct QueueRates {
    previous: Option<(Timestamp, [u64; COUNTERS.len()])>,
    /// Frames a second.
    pub packets_per_second: f64,
    /// Bits a second.
    pub bits_per_second: f64,
    /// Frames handed to or taken from other queues a second.
    pub handover_per_second: f64,
    /// Mean frames of a non-empty burst.
    pub mean_burst: f64,
    /// Mean rows of a microbatch.
    pub mean_rows: f64,
}

impl QueueRates {
    /// Frames a second that cost the queue time: those it received, and those it handed to or took from other queues. A
    /// queue that receives nothing may well be busy with what others hand it.
    pub fn work_per_second(&self) -> f64 {
        self.packets_per_second + self.handover_per_second
    }

    /// Takes a new reading.
    pub fn update(&mut self, now: Timestamp, values: [u64; COUNTERS.len()]) {
        let Some((before, old)) = self.previous else {
            self.previous = Some((now, values));
            return;
        };
        let elapsed = now.since(before);
        if elapsed < SHORTEST_NS {
            return;
        }
        let seconds = elapsed as f64 / 1e9;
        let grown = |counter: Counter| values[counter as usize].saturating_sub(old[counter as usize]) as f64;
        let mean = |sum: f64, count: f64| if count > 0.0 { sum / count } else { 0.0 };
        let frames = grown(Counter::FramesReceived);
        self.packets_per_second = frames / seconds;
        self.bits_per_second = grown(Counter::BytesReceived) * 8.0 / seconds;
        self.handover_per_second = (grown(Counter::HandedOver) + grown(Counter::HandoverReceived)) / seconds;
        self.mean_burst = mean(frames, grown(Counter::Bursts));
        self.mean_rows = mean(grown(Counter::RowsScored), grown(Counter::Microbatches));
        self.previous = Some((now, values));
    }
}

/// Rates of one worker.
#[derive(Clone, Debug, Default)]
pub struct WorkerRates {
    previous: Option<(Timestamp, u64, u64, u64)>,
    /// Share of the time in turns that moved frames, 0..=1.
    pub busy: f64,
    /// Rounds over all queues a second.
    pub turns_per_second: f64,
}

impl WorkerRates {
    /// Takes a new reading of busy and total nanoseconds and of turns.
    pub fn update(&mut self, now: Timestamp, busy_ns: u64, total_ns: u64, turns: u64) {
        if let Some((before, busy, total, old_turns)) = self.previous {
            let elapsed = now.since(before);
            if elapsed < SHORTEST_NS {
                return;
            }
            // A worker that waited through the whole stretch has not moved its total: it was idle.
            let total = total_ns.saturating_sub(total).max(elapsed / 2);
            self.busy = (busy_ns.saturating_sub(busy) as f64 / total as f64).clamp(0.0, 1.0);
            self.turns_per_second = turns.saturating_sub(old_turns) as f64 * 1e9 / elapsed as f64;
        }
        self.previous = Some((now, busy_ns, total_ns, turns));
    }
}
