//! The flows with the most bytes of one queue: a small table that is asked only every 64 packets of a flow.

use crate::dataplane::decode::FlowKey;
use crate::exchange::FlowSummary;
use crate::units::{SECOND, Timestamp};

/// How many elephants a queue remembers.
pub const ELEPHANTS: usize = 16;

/// How old an entry may be, nanoseconds of capture time: snapshots leave the queue this often, so that what is newer is nobody's
/// to see, and a flow of a million packets a second would be put together anew 16 000 times a second.
pub const FRESH_NS: u64 = SECOND / 4;

/// Largest flows by bytes, unordered. An entry is replaced when a larger flow comes by; one whose flow has ended goes.
#[derive(Clone, Debug, Default)]
pub struct Elephants {
    flows: [Option<FlowSummary>; ELEPHANTS],
    smallest: u64,
}

impl Elephants {
    /// Is a flow of so many bytes worth an offer? One compare for the common mouse.
    #[inline(always)]
    pub fn wants(&self, bytes: u64) -> bool {
        bytes > self.smallest
    }

    /// Was this flow put here less than [`FRESH_NS`] before `now`? Then it need not be offered again.
    pub fn is_fresh(&self, key: &FlowKey, now: Timestamp) -> bool {
        let own = self.flows.iter().flatten().find(|flow| flow.key == *key);
        own.is_some_and(|flow| now.since(flow.last_seen) < FRESH_NS)
    }

    /// Puts the flow in place of its older self, of nothing, or of the smallest.
    pub fn offer(&mut self, flow: FlowSummary) {
        let total = |flow: &FlowSummary| flow.bytes.iter().sum::<u64>();
        let own = self.flows.iter().position(|entry| entry.as_ref().is_some_and(|entry| entry.key == flow.key));
        let size = |entry: &Option<FlowSummary>| entry.as_ref().map_or(0, total);
        let least = || self.flows.iter().enumerate().min_by_key(|(_, entry)| size(entry)).map(|(index, _)| index);
        let Some(place) = own.or_else(least) else { return };
        if let Some(entry) = self.flows.get_mut(place) {
            *entry = Some(flow);
        }
        self.find_smallest();
    }

    /// The flow has ended.
    pub fn remove(&mut self, key: &FlowKey) {
        for entry in &mut self.flows {
            if entry.as_ref().is_some_and(|flow| flow.key == *key) {
                *entry = None;
                self.smallest = 0;
            }
        }
    }

    /// The flows remembered.
    pub fn flows(&self) -> impl Iterator<Item = &FlowSummary> {
        self.flows.iter().flatten()
    }

    fn find_smallest(&mut self) {
        let size = |flow: &Option<FlowSummary>| flow.as_ref().map_or(0, |flow| flow.bytes.iter().sum());
        self.smallest = self.flows.iter().map(size).min().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::decode::Direction;

    fn flow(port: u16, bytes: u64) -> FlowSummary {
        FlowSummary {
            key: FlowKey::v4(1, port, 2, 80, 6, 0).0,
            originator: Direction::Forward,
            first_seen: Timestamp(0),
            last_seen: Timestamp(0),
            packets: [1, 1],
            bytes: [bytes, 0],
            tcp_flags: [0, 0],
            score: 0.0,
            application: Default::default(),
            state: crate::dataplane::flow::TcpState::New,
            ended: None,
            ..FlowSummary::default()
        }
    }

    #[test]
    fn the_largest_stay_whatever_the_order() {
        let mut elephants = Elephants::default();
        for step in 0..1000_u16 {
            let bytes = u64::from(step) * 619 % 1000 + 1;
            if elephants.wants(bytes) {
                elephants.offer(flow(step, bytes));
            }
        }
        let mut sizes: Vec<_> = elephants.flows().map(|flow| flow.bytes[0]).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, (985..=1000).collect::<Vec<_>>());
    }

    #[test]
    fn an_entry_is_fresh_until_it_is_old_and_no_other_flows() {
        let mut elephants = Elephants::default();
        let own = FlowSummary { last_seen: Timestamp(SECOND), ..flow(1, 10) };
        assert!(!elephants.is_fresh(&own.key, own.last_seen), "it is not there");
        elephants.offer(own);
        let at = |key: &FlowKey, later_ns: u64| elephants.is_fresh(key, own.last_seen.after(later_ns));
        assert!(at(&own.key, 0) && at(&own.key, FRESH_NS - 1));
        assert!(!at(&own.key, FRESH_NS) && !at(&flow(2, 0).key, 0));
    }

    #[test]
    fn a_flow_has_one_entry_and_leaves_when_it_ends() {
        let mut elephants = Elephants::default();
        elephants.offer(flow(1, 10));
        elephants.offer(flow(1, 20));
        assert_eq!(elephants.flows().map(|flow| flow.bytes[0]).collect::<Vec<_>>(), [20]);
        elephants.remove(&flow(1, 0).key);
        assert_eq!(elephants.flows().count(), 0);
    }
}
