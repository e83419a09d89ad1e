//! How long hosts were there: the measure of false alerts.

use crate::control::inventory::network::Network;
use crate::units::SECOND;
use std::collections::HashMap;
use std::net::IpAddr;

/// Silence that is no activity, nanoseconds. Where a host says nothing for so long there is nothing to be alerted about.
const GAP_NS: u64 = 300 * SECOND;

const DAY_NS: f64 = 86_400e9;

/// Nanoseconds in which something was active: from the first to the last moment of its intervals (start, end), silences of
/// more than five minutes cut out.
fn active_ns(intervals: &mut [(u64, u64)]) -> u64 {
    intervals.sort_unstable();
    let mut active = 0;
    let mut reached: Option<u64> = None;
    for (start, end) in intervals.iter().copied() {
        let from = match reached {
            Some(reached) if start <= reached.saturating_add(GAP_NS) => reached,
            _ => start,
        };
        active += end.saturating_sub(from);
        reached = Some(reached.unwrap_or(0).max(end));
    }
    active
}

/// Who was active when.
pub struct Active<Host> {
    flows: HashMap<Host, Vec<(u64, u64)>>,
}

impl<Host> Default for Active<Host> {
    fn default() -> Active<Host> {
        Active { flows: HashMap::new() }
    }
}

impl<Host: Eq + std::hash::Hash> Active<Host> {
    /// A host began a flow at `start` that went on to `end`, capture time in nanoseconds. Servers that only answer are not
    /// counted: more days would make fewer alerts a day.
    pub fn flow(&mut self, host: Host, start: u64, end: u64) {
        self.flows.entry(host).or_default().push((start, end));
    }

    /// Days of one host, summed over all.
    pub fn days(&mut self) -> f64 {
        self.flows.values_mut().map(|intervals| active_ns(intervals)).sum::<u64>() as f64 / DAY_NS
    }
}

/// Is the address one of a host of these networks, and not of a group or of everybody?
pub fn is_inside(home: &[Network], address: IpAddr) -> bool {
    let is_host = match address {
        IpAddr::V4(address) => !address.is_multicast() && !address.is_broadcast() && !address.is_unspecified(),
        IpAddr::V6(address) => !address.is_multicast() && !address.is_unspecified(),
    };
    is_host && home.iter().any(|network| network.holds(address))
}
