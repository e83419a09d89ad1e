//! Which neighbours were told lately: hosts say again and again who they are, the control plane wants it once in a while.

use crate::dataplane::decode::Neighbour;
use crate::units::{SECOND, Timestamp};

/// Neighbours remembered as told, 48 bytes each. Fewer: those of a large network are told more often; more: memory.
const ENTRIES: usize = 2048;
/// A neighbour is told again after this time.
const AGAIN_NS: u64 = 300 * SECOND;
/// Told within a second at most: a flood of made-up ones must not fill the ring up.
const PER_SECOND: u32 = 500;

#[derive(Clone, Copy, Default)]
struct Entry {
    neighbour: Neighbour,
    told: Timestamp,
}

/// Neighbours told lately, by their hash; a newer one takes the place of an older.
pub struct Neighbours {
    entries: Box<[Entry]>,
    seed: u64,
    second: u64,
    left: u32,
}

impl Neighbours {
    /// Takes its memory; `seed` keys the hash.
    pub fn new(seed: u64) -> Neighbours {
        let entries = vec![Entry::default(); ENTRIES].into_boxed_slice();
        Neighbours { entries, seed, second: 0, left: PER_SECOND }
    }

    /// Is this to be told now?
    #[cold]
    pub fn is_news(&mut self, neighbour: &Neighbour, now: Timestamp) -> bool {
        let place = self.place(neighbour);
        let Some(entry) = self.entries.get_mut(place) else { return false };
        if entry.neighbour == *neighbour && now.since(entry.told) < AGAIN_NS && entry.told != Timestamp(0) {
            return false;
        }
        let second = now.0 / SECOND;
        if second != self.second {
            (self.second, self.left) = (second, PER_SECOND);
        }
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        *entry = Entry { neighbour: *neighbour, told: now };
        true
    }

    fn place(&self, neighbour: &Neighbour) -> usize {
        let [a, b, c, d, e, f] = neighbour.mac;
        let mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let mut hash = self.seed;
        let place = u64::from(neighbour.vlans.0) << 32 | u64::from(neighbour.tunnel.unwrap_or_default());
        for word in [neighbour.address as u64, (neighbour.address >> 64) as u64, mac, place] {
            // Who knows the seed can push others out: they are then told more often, within the limit of a second.
            hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        (hash >> 40) as usize % ENTRIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(number: u32) -> Neighbour {
        Neighbour { address: 0xffff_0a00_0000 + u128::from(number), mac: [2, 0, 0, 0, 0, 1], ..Neighbour::default() }
    }

    #[test]
    fn a_neighbour_is_told_once_in_a_while_and_another_link_address_at_once() {
        let mut told = Neighbours::new(7);
        let at = |seconds: u64| Timestamp((100 + seconds) * SECOND);
        assert!(told.is_news(&neighbour(1), at(0)));
        assert!(!told.is_news(&neighbour(1), at(299)));
        assert!(told.is_news(&neighbour(1), at(300)));
        assert!(told.is_news(&Neighbour { mac: [2, 0, 0, 0, 0, 9], ..neighbour(1) }, at(301)));
    }

    #[test]
    fn a_flood_is_told_at_a_bounded_rate() {
        let mut told = Neighbours::new(7);
        let sent = (0..100_000).filter(|number| told.is_news(&neighbour(*number), Timestamp(5 * SECOND))).count();
        assert_eq!(sent, PER_SECOND as usize);
        assert!(told.is_news(&neighbour(200_000), Timestamp(6 * SECOND)));
    }
}
