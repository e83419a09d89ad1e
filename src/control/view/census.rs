//! What a census of the flow tables found.

use crate::exchange::FlowSummary;
use std::cmp::Reverse;

/// Flows of one answer at most, some 400 bytes each.
pub const LIVING_KEPT: usize = 1 << 13;

/// Which flows a census shall keep; asked of every flow that lives, on the supervisor's thread.
pub type Wanted = Box<dyn Fn(&FlowSummary) -> bool + Send>;

/// The flows that live and were wanted.
#[derive(Clone, Debug, Default)]
pub struct Living {
    /// Those whose latest packet is youngest, at most [`LIVING_KEPT`], youngest first.
    pub flows: Vec<FlowSummary>,
    /// Flows that live, wanted or not.
    pub live: u64,
    /// Of them wanted, kept or not.
    pub matched: u64,
    /// Why some may be missing; `None`: every flow that lived all the time is counted.
    pub incomplete: Option<String>,
}

impl Living {
    /// Nothing, for this reason.
    pub fn none(reason: impl Into<String>) -> Living {
        Living { incomplete: Some(reason.into()), ..Living::default() }
    }
}

/// Keeps the flows whose latest packet is youngest.
#[derive(Default)]
pub struct Latest {
    flows: Vec<FlowSummary>,
    count: u64,
}

impl Latest {
    /// Takes one more flow.
    pub fn push(&mut self, flow: &FlowSummary) {
        self.count += 1;
        self.flows.push(*flow);
        if self.flows.len() >= 2 * LIVING_KEPT {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.flows.sort_by_key(|flow| Reverse((flow.last_seen, *flow.key.words())));
        self.flows.truncate(LIVING_KEPT);
    }

    /// Those kept, youngest first, and how many there were.
    pub fn finish(mut self) -> (Vec<FlowSummary>, u64) {
        self.cut();
        (self.flows, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::decode::FlowKey;
    use crate::units::Timestamp;

    #[test]
    fn the_youngest_are_kept_and_all_are_counted() {
        let count = 3 * LIVING_KEPT as u64 + 7;
        let mut latest = Latest::default();
        for number in 0..count {
            // An odd step visits each moment once, in no order.
            let moment = number.wrapping_mul(10_007) % count;
            let key = FlowKey::v4(1, moment as u16, 2, 80, 6, 0).0;
            latest.push(&FlowSummary { key, last_seen: Timestamp(moment), ..FlowSummary::default() });
        }
        let (flows, counted) = latest.finish();
        assert_eq!(counted, count);
        let moments: Vec<u64> = flows.iter().map(|flow| flow.last_seen.0).collect();
        assert_eq!(moments, (count - LIVING_KEPT as u64..count).rev().collect::<Vec<_>>());
    }
}
