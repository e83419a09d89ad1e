//! A pair's hour.

use super::ended::{Ended, Outcome};
use super::open::Sums;
use super::schema::PAIR_COUNT;
use super::sums::{Spread, median_and_distance, ordered, ratio, regularity, skew};
use super::{HOUR_NS, MINUTE_NS};
use crate::units::Timestamp;

/// Fewer flows say nothing of a rhythm: they make no row.
pub const PAIR_FLOWS: u64 = 4;
/// Latest starts that the rhythm is told from.
pub const STARTS: usize = 64;

/// The sums of a pair's window.
#[derive(Clone, Default)]
pub struct Hour {
    touched: Timestamp,
    last: Timestamp,
    flows: u64,
    answered: u64,
    refused: u64,
    /// The latest starts, with the payload that the originator sent, ascending.
    latest: Vec<(u64, u64)>,
    /// A bit for each minute of the window in which a flow began.
    minutes: u64,
    payload: [Spread; 2],
    wire: [u64; 2],
    duration_us: Spread,
}

impl Sums for Hour {
    fn touched(&self) -> Timestamp {
        self.touched
    }

    fn held(&self) -> usize {
        self.latest.len()
    }
}

impl Hour {
    /// A flow of the pair ended in the hour that began at `window`.
    pub fn add(&mut self, flow: &Ended, window: u64) {
        self.touched = self.touched.max(flow.end);
        self.last = self.last.max(flow.last);
        self.flows += 1;
        self.answered += u64::from(flow.outcome == Outcome::Answered);
        self.refused += u64::from(flow.outcome == Outcome::Refused);
        let [sent, received] = flow.payload;
        self.start((flow.start.0, sent));
        if let Some(minute) =
            flow.start.0.checked_sub(window).map(|since| since / MINUTE_NS).filter(|minute| *minute < 60)
        {
            self.minutes |= 1 << minute;
        }
        let [out, into] = &mut self.payload;
        out.add(sent);
        into.add(received);
        for (sum, bytes) in self.wire.iter_mut().zip(flow.wire) {
            *sum = sum.saturating_add(bytes);
        }
        self.duration_us.add(flow.duration_us);
    }

    /// Keeps a start where it is among the latest: those with the largest (start, payload), in whatever order they come.
    fn start(&mut self, start: (u64, u64)) {
        let at = self.latest.partition_point(|kept| *kept < start);
        if self.latest.len() < STARTS {
            if self.latest.len() == self.latest.capacity() {
                self.latest.reserve_exact(self.latest.len() / 2 + 2);
            }
            self.latest.insert(at, start);
        } else if let Some((earlier, _)) =
            self.latest.split_at_mut_checked(at).filter(|(earlier, _)| !earlier.is_empty())
        {
            // The earliest goes, those up to the new one's place move down.
            earlier.rotate_left(1);
            if let Some(place) = earlier.last_mut() {
                *place = start;
            }
        }
    }

    /// The latest packet of its flows.
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// Are there flows enough?
    pub fn is_worth_a_row(&self) -> bool {
        self.flows >= PAIR_FLOWS
    }

    /// The values in the schema's order.
    pub fn row(&self) -> [f32; PAIR_COUNT] {
        let ln = |count: u64| (count as f64).ln_1p();
        let share = |part: u64| ratio(part as f64, self.flows as f64);
        let gap = |(earlier, later): (&(u64, u64), &(u64, u64))| (later.0 - earlier.0) / 1000;
        let gaps: Vec<u64> = self.latest.iter().zip(self.latest.iter().skip(1)).map(gap).collect();
        let spread: Spread = gaps.iter().copied().collect();
        let gaps = ordered(gaps.into_iter().map(|gap| gap as f64).collect());
        let sizes = ordered(self.latest.iter().map(|(_, sent)| *sent as f64).collect());
        let (middle, distance) = median_and_distance(&gaps);
        let [out, into] = &self.payload;
        let [wire_out, wire_in] = self.wire;
        [
            ln(self.flows),
            share(self.answered),
            share(self.refused),
            spread.mean().ln_1p(),
            spread.deviation().ln_1p(),
            middle.ln_1p(),
            distance.ln_1p(),
            regularity((middle, distance)),
            skew(&gaps),
            f64::from(self.minutes.count_ones()) / (HOUR_NS / MINUTE_NS) as f64,
            out.mean().ln_1p(),
            out.deviation().ln_1p(),
            into.mean().ln_1p(),
            into.deviation().ln_1p(),
            regularity(median_and_distance(&sizes)),
            ratio(longest_run(&sizes) as f64, sizes.len() as f64),
            ln(wire_out),
            ln(wire_in),
            self.duration_us.mean().ln_1p(),
            self.duration_us.deviation().ln_1p(),
        ]
        .map(|value| value as f32)
    }
}

/// Length of the longest run of equal numbers among ordered ones.
fn longest_run(numbers: &[f64]) -> usize {
    numbers.chunk_by(|one, other| one == other).map(<[f64]>::len).max().unwrap_or(0)
}
