//! Number of a flow: of its key and of the moment it began, so that every record of one flow has the same and another flow
//! on the same ports has another.
//!
//! Computed only where a record is written: what goes with a packet or an event is the moment.

use super::key::FlowKey;
use crate::units::Timestamp;
use sha1::{Digest, Sha1};

/// Largest flow id: consumers read JSON numbers as doubles, and Suricata's own ids have 51 bits.
pub const FLOW_ID_MAX: u64 = (1 << 51) - 1;

/// Digest of a flow that began at `first_seen`; its names are parts of it. Not keyed: the same capture gives the same.
pub fn flow_digest(key: &FlowKey, first_seen: Timestamp) -> [u8; 20] {
    let mut hash = Sha1::new();
    key.words().iter().for_each(|word| hash.update(word.to_be_bytes()));
    hash.update(first_seen.0.to_be_bytes());
    hash.finalize().into()
}

/// Number of a flow that began at `first_seen`, at most [`FLOW_ID_MAX`]. Two flows of the same ports at one sensor never
/// begin at the same nanosecond (`FlowTable` sees to it); by chance two flows of 10 million share one with a likelihood of
/// 2 %.
pub fn flow_id(key: &FlowKey, first_seen: Timestamp) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = flow_digest(key, first_seen);
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) & FLOW_ID_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_flow_has_one_number_and_another_flow_another() {
        let mut seen = HashSet::new();
        for (port, vlan, began) in [(1, 0, 5), (2, 0, 5), (1, 7, 5), (1, 0, 6), (1, 0, 0), (1, 0, u64::MAX)] {
            let (key, way) = FlowKey::v4(1, port, 2, 443, 6, vlan);
            let (same, back) = FlowKey::v4(2, 443, 1, port, 6, vlan);
            assert_eq!((key, way), (same, back.flip()));
            let number = flow_id(&key, Timestamp(began));
            assert_eq!(number, flow_id(&same, Timestamp(began)));
            assert!(number <= FLOW_ID_MAX && seen.insert(number), "{port} {vlan} {began}");
        }
    }

    /// Written down once: ids are the same in every run, on every machine.
    #[test]
    fn numbers_do_not_change_between_builds() {
        let (key, _) = FlowKey::v4(0x0a00_0001, 40000, 0x0a00_0002, 443, 6, 0);
        assert_eq!(flow_id(&key, Timestamp(1_700_000_000_000_000_000)), 1_823_024_274_790_837);
    }
}
