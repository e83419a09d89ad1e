//! How many anomalies of single packets are told: each such packet is one, so a flood of them would fill what others need.

use crate::dataplane::decode::{Direction, FlowKey};
use crate::units::{SECOND, Timestamp};

/// Of one kind from one source within a second. Fewer: what a fuzzer or a broken host does is told in part; more: the events
/// of others are lost sooner.
pub const PER_SOURCE: u8 = 32;
/// Of all kinds and sources of a queue within a second: an eighth of what the writer of lines takes.
pub const PER_SECOND: u32 = 1000;
/// Kinds and sources that are counted apart; those that fall together share.
const CELLS: usize = 4096;

/// What may still be told within this second. Counts what is not.
pub struct AnomalyBudget {
    told: Box<[u8; CELLS]>,
    left: u32,
    second: u64,
    seed: u64,
}

impl AnomalyBudget {
    /// Takes its memory; `seed` keys the hash.
    pub fn new(seed: u64) -> AnomalyBudget {
        AnomalyBudget { told: Box::new([0; CELLS]), left: PER_SECOND, second: 0, seed }
    }

    /// Is anomaly `number` of this sender to be told?
    #[cold]
    pub fn may_tell(&mut self, number: u8, key: &FlowKey, sender: Direction, time: Timestamp) -> bool {
        let second = time.0 / SECOND;
        if second != self.second {
            (self.second, self.left) = (second, PER_SECOND);
            self.told.fill(0);
        }
        let (source, _) = key.endpoints(sender);
        let mut hash = self.seed ^ u64::from(number);
        for word in [source.address as u64, (source.address >> 64) as u64] {
            hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        let Some(told) = self.told.get_mut((hash >> 40) as usize % CELLS) else { return false };
        if *told >= PER_SOURCE || self.left == 0 {
            return false;
        }
        *told += 1;
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(budget: &mut AnomalyBudget, source: u32, number: u8, at: u64, count: usize) -> usize {
        let (key, way) = FlowKey::v4(source, 1, 0x0a00_0002, 2, 17, 0);
        (0..count).filter(|_| budget.may_tell(number, &key, way, Timestamp(at))).count()
    }

    #[test]
    fn a_flood_of_one_kind_leaves_room_for_others() {
        let mut budget = AnomalyBudget::new(7);
        assert_eq!(told(&mut budget, 0x0a00_0001, 3, 5, 100_000), usize::from(PER_SOURCE));
        assert_eq!(told(&mut budget, 0x0a00_0009, 3, 5, 5), 5, "another source");
        assert_eq!(told(&mut budget, 0x0a00_0001, 4, 5, 5), 5, "another kind");
        let flood: usize = (0..100_000).map(|source| told(&mut budget, source, 3, 6, 1)).sum();
        assert!(flood <= PER_SECOND as usize, "{flood} of forged sources");
        assert_eq!(told(&mut budget, 0x0a00_0001, 3, 2 * SECOND, 100), usize::from(PER_SOURCE), "the next second");
    }
}
