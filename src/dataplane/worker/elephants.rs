//! The flows with the most bytes of one queue: a small table that is asked only every 64 packets of a flow.

use crate::dataplane::decode::FlowKey;
use crate::exchange::FlowSummary;

/// How many elephants a queue remembers.
pub const ELEPHANTS: usize = 16;

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
    use crate::units::Timestamp;

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
    fn a_flow_has_one_entry_and_leaves_when_it_ends() {
        let mut elephants = Elephants::default();
        elephants.offer(flow(1, 10));
        elephants.offer(flow(1, 20));
        assert_eq!(elephants.flows().map(|flow| flow.bytes[0]).collect::<Vec<_>>(), [20]);
        elephants.remove(&flow(1, 0).key);
        assert_eq!(elephants.flows().count(), 0);
    }
}
