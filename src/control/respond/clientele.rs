//! Which addresses outside (of IPv6: networks of 64 bits) hosts of ours use: how many of them opened connections to it that both sides spoke in. A block of such an
//! address hurts, whatever it was blocked for.
//!
//! Counted are hosts of home that asked somebody who is not: who wants to be spared must have as many of ours ask him. Bounded: two
//! generations of `GENERATION` addresses, 64 bits each; when the younger is full, or a day old, the elder is forgotten.

use super::prefix::Prefix;
use super::proven::Spoken;
use super::safety::Proof;
use crate::units::{SECOND, Timestamp};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;

/// Addresses of a generation; some 50 bytes each.
const GENERATION: usize = 1 << 16;
/// Whoever used it yesterday misses it today; what was last week's is anybody's by now.
const AGE_NS: u64 = 86_400 * SECOND;
/// Places of the bitmap that hosts are counted by.
const PLACES: f64 = 64.0;

/// See the module.
#[derive(Default)]
pub struct Clientele {
    young: HashMap<IpAddr, u64>,
    old: HashMap<IpAddr, u64>,
    begun: Timestamp,
    hash: RandomState,
}

impl Clientele {
    /// Learns from a connection; `home`: networks whose hosts are ours, empty where that is not known.
    pub fn learn(&mut self, spoken: &Spoken, home: &[Prefix], now: Timestamp) {
        let is_ours = |address: IpAddr| home.iter().any(|network| network.holds(address));
        let counts = home.is_empty() || is_ours(spoken.originator) && !is_ours(spoken.responder);
        if spoken.proof != Proof::Payload || !counts {
            return;
        }
        if self.young.len() >= GENERATION || now.since(self.begun) >= AGE_NS {
            self.old = std::mem::take(&mut self.young);
            self.begun = now;
        }
        *self.young.entry(place(spoken.responder)).or_default() |= 1 << (self.hash.hash_one(spoken.originator) % 64);
    }

    /// How many hosts of ours use this address, about; exact up to a dozen, and no more than 266.
    pub fn of(&self, address: IpAddr) -> u64 {
        let of = |known: &HashMap<IpAddr, u64>| known.get(&place(address)).copied().unwrap_or(0);
        let free = f64::from((of(&self.young) | of(&self.old)).count_zeros());
        // Linear counting (Whang et al. 1990).
        (PLACES * (PLACES / free.max(1.0)).ln()).round() as u64
    }
}

/// What a playbook would block for it: the address, or the network of 64 bits.
fn place(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    Prefix::around(address, if address.is_ipv4() { 32 } else { 64 }).first()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(originator: &str, responder: &str, proof: Proof) -> Spoken {
        let [originator, responder] = [originator, responder].map(|text| text.parse().expect("an address"));
        Spoken { originator, responder, proof, first_seen: Timestamp(0), last_seen: Timestamp(0) }
    }

    #[test]
    fn hosts_of_ours_are_counted_once_and_others_never() {
        let home = ["10.0.0.0/8".parse().expect("a network")];
        let mut clientele = Clientele::default();
        let now = Timestamp(SECOND);
        for host in (0..40).chain(0..40) {
            clientele.learn(&spoken(&format!("10.0.0.{host}"), "192.0.2.1", Proof::Payload), &home, now);
            clientele.learn(&spoken(&format!("198.51.100.{host}"), "192.0.2.2", Proof::Payload), &home, now);
            clientele.learn(&spoken(&format!("10.0.0.{host}"), "10.0.1.1", Proof::Payload), &home, now);
            clientele.learn(&spoken(&format!("10.0.0.{host}"), "192.0.2.3", Proof::Handshake), &home, now);
            clientele.learn(&spoken(&format!("198.51.100.{host}"), "10.0.0.5", Proof::Payload), &home, now);
        }
        let of = |address: &str| clientele.of(address.parse().expect("an address"));
        assert!((28..=54).contains(&of("192.0.2.1")), "{}", of("192.0.2.1"));
        assert_eq!([of("192.0.2.2"), of("10.0.1.1"), of("192.0.2.3"), of("10.0.0.5"), of("::ffff:192.0.2.2")], [0; 5]);
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[test]
    fn the_elder_are_forgotten() {
        let mut clientele = Clientele::default();
        let day = |number: u64| Timestamp(number * AGE_NS + SECOND);
        clientele.learn(&spoken("10.0.0.1", "192.0.2.1", Proof::Payload), &[], day(1));
        clientele.learn(&spoken("10.0.0.1", "192.0.2.2", Proof::Payload), &[], day(2));
        assert_eq!(clientele.of("192.0.2.1".parse().expect("an address")), 1);
        for number in 0..(2 * GENERATION as u32 + 9) {
            let responder = IpAddr::from((0x2000_0000 + number).to_be_bytes());
            let one = spoken("10.0.0.1", "192.0.2.9", Proof::Payload);
            clientele.learn(&Spoken { responder, ..one }, &[], day(2));
        }
        assert_eq!(clientele.of("192.0.2.1".parse().expect("an address")), 0);
        assert!(clientele.young.len() <= GENERATION && clientele.old.len() <= GENERATION);
    }
}
