//! What a `stats` event tells, from the counters of all queues.

use crate::metrics::{COUNTERS, Counter, Role};
use crate::units::Timestamp;

/// What a `stats` event tells.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Capture time reached.
    pub time: Timestamp,
    /// Seconds of capture so far.
    pub uptime_seconds: u64,
    /// Frames received.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that the decoder refused: frames, and what is broken in tunnels, whose frames count for the flow round them.
    pub invalid: u64,
    /// Frames lost before the decoder or for want of room.
    pub lost: u64,
    /// Flows begun.
    pub flows: u64,
    /// Flows in the tables now.
    pub active: u64,
    /// Alerts raised.
    pub alerts: u64,
    /// Our own counters by name, for which the schema has no place; those that are not 0.
    pub counters: Vec<(String, u64)>,
}

impl Statistics {
    /// Of counters summed over the queues. `outside`: frames lost before they reached a queue, by cause.
    pub fn of(counters: &[u64; COUNTERS.len()], outside: impl IntoIterator<Item = (String, u64)>) -> Statistics {
        let count = |counter: Counter| counters[counter as usize];
        // What came in whole and found no room.
        const ROOM: [Counter; 3] = [Counter::DropFlowTableFull, Counter::DropHandoverFull, Counter::DropQueueFailed];
        let drops: u64 = COUNTERS.iter().filter(|one| one.role() == Role::Drop).map(|one| count(*one)).sum();
        let no_room: u64 = ROOM.into_iter().map(count).sum();
        let mut all: Vec<(String, u64)> = COUNTERS.iter().map(|one| (one.name().to_owned(), count(*one))).collect();
        let mut lost = no_room;
        for (name, value) in outside {
            lost += value;
            all.push((name, value));
        }
        all.retain(|(_, value)| *value > 0);
        Statistics {
            packets: count(Counter::FramesReceived),
            bytes: count(Counter::BytesReceived),
            invalid: drops.saturating_sub(no_room) + count(Counter::TunnelHeader) + count(Counter::TunnelBroken),
            lost,
            flows: count(Counter::FlowsCreated),
            counters: all,
            ..Statistics::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_in_a_tunnel_is_invalid_too_and_what_had_no_room_is_lost() {
        let mut counters = [0; COUNTERS.len()];
        for (number, counter) in (1..).zip([
            Counter::DropTcpOffset,
            Counter::DropFlowTableFull,
            Counter::TunnelHeader,
            Counter::TunnelBroken,
            Counter::TunnelDepth,
        ]) {
            counters[counter as usize] = number;
        }
        let statistics = Statistics::of(&counters, [("rx_dropped".to_owned(), 7)]);
        assert_eq!((statistics.invalid, statistics.lost), (1 + 3 + 4, 2 + 7));
    }
}
