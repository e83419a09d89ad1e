//! Which neighbours were told lately: hosts say again and again who they are, the control plane wants it once in a while.
//!
//! Who has an address is remembered by the address, so that another link address for it is seen as the change that it is. A change
//! is told whatever else is said at the time, and so is an answer that nobody asked for, and each turn of two that claim one address;
//! made-up addresses take the place of none that was seen lately. What VRRP announces is remembered beside what ARP says of the address.

use crate::dataplane::decode::Neighbour;
use crate::units::{SECOND, Timestamp};

/// Sets of addresses remembered. Fewer: those of a large network are told more often; more: memory.
const SETS: usize = 512;
/// Addresses of a set, 112 bytes each.
const WAYS: usize = 4;
/// Addresses remembered.
pub const ADDRESSES: usize = SETS * WAYS;
/// A neighbour is told again after this time, and gives way to another when it was not seen for as long.
const AGAIN_NS: u64 = 300 * SECOND;
/// Whoever is asked answers at once; hosts ask again after a second (RFC 1122 section 2.3.2.1).
const ASKED_NS: u64 = 2 * SECOND;
/// Answers to somebody else that come so soon behind a question may be to one that it hid.
const BUSY_NS: u64 = SECOND / 10;
/// Told within a second at most: a flood of made-up ones must not fill the ring up. Changes stand beside it, one an address
/// and second.
pub const PER_SECOND: u32 = 500;

/// A link address and when it was told; never where the time is 0.
#[derive(Clone, Copy, Default)]
struct Told {
    mac: [u8; 6],
    /// It was the last to speak for the address.
    is_latest: bool,
    /// That it said so unasked was told.
    is_unasked: bool,
    time: Timestamp,
}

impl Told {
    fn new(neighbour: &Neighbour, now: Timestamp) -> Told {
        Told { mac: neighbour.mac, is_latest: true, is_unasked: neighbour.is_unasked, time: now }
    }
}

/// An address, and the two link addresses that were told for it last.
#[derive(Clone, Copy, Default)]
struct Entry {
    neighbour: Neighbour,
    told: [Told; 2],
    seen: Timestamp,
    changed: Timestamp,
    /// Who asked for it last, an IPv4 address, and when.
    asker: u32,
    asked: Timestamp,
}

const _: () = assert!(size_of::<Entry>() <= 112);

impl Entry {
    fn is_of(&self, neighbour: &Neighbour) -> bool {
        self.seen != Timestamp(0)
            && (self.neighbour.address, self.neighbour.vlans, self.neighbour.tunnel, self.neighbour.is_vrrp)
                == (neighbour.address, neighbour.vlans, neighbour.tunnel, neighbour.is_vrrp)
    }

    /// Did its host fall silent, or was there never one?
    fn is_stale(&self, now: Timestamp) -> bool {
        self.seen == Timestamp(0) || now.since(self.seen) >= AGAIN_NS
    }
}

/// What became of a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// It was told lately.
    Old,
    /// It is to be told.
    Tell,
    /// It should be told, but too many were within this second.
    Suppressed,
}

/// Neighbours told lately, by the hash of their address; one gives way when it was not seen for long.
pub struct Neighbours {
    sets: Box<[[Entry; WAYS]]>,
    seed: u64,
    second: u64,
    left: u32,
}

impl Neighbours {
    /// Takes its memory; `seed` keys the hash.
    pub fn new(seed: u64) -> Neighbours {
        let sets = vec![[Entry::default(); WAYS]; SETS].into_boxed_slice();
        Neighbours { sets, seed, second: 0, left: PER_SECOND }
    }

    /// Is this to be told now?
    #[cold]
    pub fn news(&mut self, neighbour: &Neighbour, now: Timestamp) -> News {
        let second = now.0 / SECOND;
        if second != self.second {
            (self.second, self.left) = (second, PER_SECOND);
        }
        let place = self.place(neighbour);
        let Some(set) = self.sets.get_mut(place) else { return News::Suppressed };
        if let Some(entry) = set.iter_mut().find(|entry| entry.is_of(neighbour)) {
            entry.seen = now;
            let is_turn = !entry.told.iter().any(|told| told.is_latest && told.mac == neighbour.mac);
            for told in &mut entry.told {
                told.is_latest = told.mac == neighbour.mac;
            }
            if let Some(told) =
                entry.told.iter_mut().find(|told| told.mac == neighbour.mac && told.time != Timestamp(0))
            {
                if now.since(told.time) < AGAIN_NS {
                    let is_more = is_turn || neighbour.is_unasked && !told.is_unasked;
                    let is_told = is_more && entry.changed.0 / SECOND != second;
                    if is_told {
                        entry.changed = now;
                        told.is_unasked |= neighbour.is_unasked;
                    }
                    return if is_told { News::Tell } else { News::Old };
                }
                let news = take(&mut self.left);
                if news == News::Tell {
                    (told.time, told.is_unasked) = (now, neighbour.is_unasked);
                }
                return news;
            }
            // Another link address: once a second for every address remembered, whatever others say meanwhile.
            if entry.changed.0 / SECOND == second {
                return News::Suppressed;
            }
            entry.changed = now;
            if let Some(oldest) = entry.told.iter_mut().min_by_key(|told| told.time) {
                *oldest = Told::new(neighbour, now);
            }
            return News::Tell;
        }
        let news = take(&mut self.left);
        if news == News::Tell
            && let Some(free) = set.iter_mut().find(|entry| entry.is_stale(now))
        {
            let told = [Told::new(neighbour, now), Told::default()];
            *free = Entry { neighbour: *neighbour, told, seen: now, ..Entry::default() };
        }
        news
    }

    /// A host asks for an address; that of who is not remembered is nobody's yet.
    #[cold]
    pub fn asked(&mut self, whom: &Neighbour, asker: u32, now: Timestamp) {
        let place = self.place(whom);
        let known = self.sets.get_mut(place).and_then(|set| set.iter_mut().find(|entry| entry.is_of(whom)));
        if let Some(entry) = known {
            (entry.asker, entry.asked) = (asker, now);
        }
    }

    /// Has this host asked for the address a moment ago, or may it have, of which nothing was known?
    #[cold]
    pub fn has_asked(&self, whom: &Neighbour, asker: u32, now: Timestamp) -> bool {
        let known = self.sets.get(self.place(whom)).and_then(|set| set.iter().find(|entry| entry.is_of(whom)));
        known.is_none_or(|entry| {
            let is_late = now.since(entry.asked) >= ASKED_NS;
            // Of many who ask at once the last is remembered.
            entry.asker == asker && !is_late || now.since(entry.asked) < BUSY_NS
        })
    }

    fn place(&self, neighbour: &Neighbour) -> usize {
        let mut hash = self.seed;
        let vlans = u64::from(neighbour.vlans.0) << 16 | u64::from(neighbour.vlans.1);
        let place = vlans << 32 | u64::from(neighbour.tunnel.unwrap_or_default());
        for word in [neighbour.address as u64, (neighbour.address >> 64) as u64, place] {
            // Who knows the seed can fill a set up: other addresses of it are then told more often, within the limit.
            hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        (hash >> 40) as usize % SETS
    }
}

fn take(left: &mut u32) -> News {
    let Some(rest) = left.checked_sub(1) else { return News::Suppressed };
    *left = rest;
    News::Tell
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(number: u32) -> Neighbour {
        Neighbour { address: 0xffff_0a00_0000 + u128::from(number), mac: [2, 0, 0, 0, 0, 1], ..Neighbour::default() }
    }

    fn other(number: u32, mac: u8) -> Neighbour {
        Neighbour { mac: [2, 0, 0, 0, 0, mac], ..neighbour(number) }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp((100 + seconds) * SECOND)
    }

    #[test]
    fn a_neighbour_is_told_once_in_a_while_and_another_link_address_at_once() {
        let mut told = Neighbours::new(7);
        assert_eq!(told.news(&neighbour(1), at(0)), News::Tell);
        assert_eq!(told.news(&neighbour(1), at(299)), News::Old);
        assert_eq!(told.news(&neighbour(1), at(300)), News::Tell);
        assert_eq!(told.news(&other(1, 9), at(301)), News::Tell);
        // Two that quarrel are told at each turn, once a second.
        for second in 302..590 {
            assert_eq!(told.news(&neighbour(1), at(second)), News::Tell);
            assert_eq!(told.news(&other(1, 9), at(second)), News::Old);
        }
        // What one of them repeats is old.
        for second in 590..600 {
            assert_eq!(told.news(&other(1, 9), at(second)), News::Old);
        }
    }

    #[test]
    fn what_vrrp_announces_and_what_arp_says_are_two_things() {
        let mut told = Neighbours::new(7);
        let master = |mac: u8| Neighbour { is_vrrp: true, ..other(1, mac) };
        assert_eq!(told.news(&master(9), at(0)), News::Tell);
        assert_eq!(told.news(&other(1, 9), at(0)), News::Tell);
        assert_eq!(told.news(&master(9), at(1)), News::Old);
        assert_eq!(told.news(&other(1, 8), at(2)), News::Tell);
        assert_eq!(told.news(&master(9), at(3)), News::Old);
        assert_eq!(told.news(&master(8), at(4)), News::Tell);
    }

    #[test]
    fn a_flood_is_told_at_a_bounded_rate_and_what_is_not_told_is_known() {
        let mut told = Neighbours::new(7);
        let news: Vec<News> = (0..100_000).map(|number| told.news(&neighbour(number), at(5))).collect();
        let count = |wanted| news.iter().filter(|one| **one == wanted).count();
        assert_eq!((count(News::Tell), count(News::Suppressed)), (PER_SECOND as usize, 100_000 - PER_SECOND as usize));
        assert_eq!(told.news(&neighbour(200_000), at(6)), News::Tell);
    }

    /// Whoever floods the link with made-up neighbours hides none who takes over the address of a known one.
    #[test]
    fn a_change_is_told_in_the_middle_of_a_flood() {
        let mut told = Neighbours::new(7);
        assert_eq!(told.news(&neighbour(1), at(0)), News::Tell);
        for second in 1..60 {
            for number in 0..5_000 {
                told.news(&neighbour(1_000 + second * 5_000 + number), at(u64::from(second)));
            }
        }
        assert_eq!(told.news(&other(1, 66), at(59)), News::Tell);
        assert_eq!(told.news(&other(1, 67), at(59)), News::Suppressed, "one a second and address");
        assert_eq!(told.news(&other(1, 67), at(60)), News::Tell);
    }

    /// Who says so unasked is told again, once; an answer is one to who asked a moment ago.
    #[test]
    fn what_nobody_asked_for_is_news() {
        let mut neighbours = Neighbours::new(7);
        let unasked = Neighbour { is_unasked: true, ..neighbour(1) };
        let news = [neighbour(1), neighbour(1), unasked, unasked].map(|one| neighbours.news(&one, Timestamp(SECOND)));
        assert_eq!(news, [News::Tell, News::Old, News::Tell, News::Old]);
        neighbours.asked(&neighbour(1), 5, Timestamp(2 * SECOND));
        let asked = |asker: u32, ms: u64| neighbours.has_asked(&neighbour(1), asker, Timestamp(ms * SECOND / 1000));
        assert_eq!([asked(5, 2001), asked(5, 3500), asked(5, 4500)], [true, true, false]);
        assert_eq!([asked(6, 2001), asked(6, 3500), asked(0, 3500)], [true, false, false], "another one's question");
        assert!(neighbours.has_asked(&neighbour(2), 5, Timestamp(SECOND)), "nothing is known of it");
    }
}
