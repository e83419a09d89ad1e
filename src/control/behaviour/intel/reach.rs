//! Which addresses may lie in a network of a feed: asked before the networks themselves, because those are asked for once by
//! every length of prefix there is, and nearly every address lies in none.
//!
//! Of IPv4 a bit for each /24, exact for networks of 24 bits and fewer; of IPv6 a bit for each place that the first 32 bits hash
//! to. No address is turned away that lies in a network.

/// Bits of an address before those of IPv4 (RFC 4291 section 2.5.5.2).
const MAPPED: u128 = 0xffff << 32;
/// /24s of IPv4: 2 MiB of bits, taken once there is a network of IPv4.
const V4_PLACES: u32 = 1 << 24;
/// Places of IPv6: 8 KiB of bits.
const V6_PLACES: u32 = 1 << 16;
/// Prefixes of IPv6 as long as this or longer have a place; shorter ones reach everywhere.
const V6_LENGTH: u32 = 32;

/// Networks of one feed as places; eight bytes a network.
#[derive(Default)]
pub struct Spans {
    /// First and last place.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u32, u32)>,
}

impl Spans {
    /// Adds the network of the first `length` bits of `bits`, of which the others are 0.
    pub fn add(&mut self, bits: u128, length: u32) {
        if length >= 96 && bits >> 32 == MAPPED >> 32 {
            let first = v4_place(bits);
            self.v4.push((first, first + (V4_PLACES >> (length - 96)).max(1) - 1));
            return;
        }
        if length >= V6_LENGTH {
            self.v6.push((v6_place(bits), v6_place(bits)));
        } else {
            self.v6.push((0, V6_PLACES - 1));
        }
        if super::table::mask(MAPPED, length) == bits {
            self.v4.push((0, V4_PLACES - 1)); // it holds all of IPv4
        }
    }
}

/// Networks of all feeds. At most 2 MiB and 8 KiB.
#[derive(Default)]
pub struct Reach {
    /// Empty where there are none.
    v4: Vec<u64>,
    v6: Vec<u64>,
}

impl Reach {
    /// Puts them together.
    pub fn new<'a>(feeds: impl Iterator<Item = &'a Spans>) -> Reach {
        let mut reach = Reach::default();
        for spans in feeds {
            spans.v4.iter().for_each(|span| set(&mut reach.v4, V4_PLACES, *span));
            spans.v6.iter().for_each(|span| set(&mut reach.v6, V6_PLACES, *span));
        }
        reach
    }

    /// May this address lie in one of them?
    #[inline]
    pub fn may_hold(&self, address: u128) -> bool {
        let (words, place) = match address >> 32 == MAPPED >> 32 {
            true => (&self.v4, v4_place(address)),
            false => (&self.v6, v6_place(address)),
        };
        words.get(place as usize / 64).is_some_and(|word| word >> (place % 64) & 1 != 0)
    }
}

fn v4_place(bits: u128) -> u32 {
    bits as u32 >> 8
}

/// Fibonacci hashing: neighbours in number are none in place.
fn v6_place(bits: u128) -> u32 {
    ((bits >> 96) as u32).wrapping_mul(0x9e37_79b1) >> 16
}

/// A word at a time: a feed of all networks of IPv4 there are sets each bit once for every length.
fn set(words: &mut Vec<u64>, places: u32, (first, last): (u32, u32)) {
    if words.is_empty() {
        words.resize(places as usize / 64, 0);
    }
    for word in first / 64..=last / 64 {
        let from = if word == first / 64 { first % 64 } else { 0 };
        let to = if word == last / 64 { last % 64 } else { 63 };
        if let Some(place) = words.get_mut(word as usize) {
            *place |= u64::MAX << from & u64::MAX >> (63 - to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::behaviour::intel::table::mask;
    use std::net::{IpAddr, Ipv4Addr};

    fn bits(text: &str) -> u128 {
        match text.parse().expect("an address") {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        }
    }

    fn reach(networks: &[(u128, u32)]) -> Reach {
        let mut spans = Spans::default();
        networks.iter().for_each(|(bits, length)| spans.add(*bits, *length));
        Reach::new([Spans::default(), spans].iter())
    }

    #[test]
    fn nothing_that_lies_in_a_network_is_turned_away_whatever_its_length() {
        for (address, least) in [("198.51.100.77", 96), ("2001:db8:7:9::1", 0), ("fe80::1", 0)] {
            let address = bits(address);
            for length in least..128 {
                let network = mask(address, length);
                let reach = reach(&[(network, length)]);
                let hosts = if length == 0 { u128::MAX } else { (1 << (128 - length)) - 1 };
                for inside in [network, address, network | hosts] {
                    assert!(reach.may_hold(inside), "{network:x}/{length}: {inside:x}");
                }
            }
        }
        // Networks of IPv6 that hold those of IPv4.
        for length in 0..96 {
            assert!(reach(&[(mask(MAPPED, length), length)]).may_hold(bits("192.0.2.1")), "{length}");
        }
    }

    #[test]
    fn what_lies_in_none_is_turned_away_by_its_first_bits() {
        let none = reach(&[]);
        assert!(!none.may_hold(bits("192.0.2.1")) && !none.may_hold(bits("2001:db8::1")));
        let some = reach(&[(bits("192.0.2.0"), 120), (bits("10.0.0.0"), 104), (bits("198.51.100.4"), 126)]);
        for (address, held) in [
            ("192.0.2.255", true),
            ("192.0.1.255", false),
            ("192.0.3.0", false),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("2001:db8::1", false),
            // Finer than a /24 is not told.
            ("198.51.100.200", true),
        ] {
            assert_eq!(some.may_hold(bits(address)), held, "{address}");
        }
        // Against one by one, over whole networks of every length, of IPv4.
        for length in 96..=120 {
            let network = mask(bits("203.0.113.0"), length);
            let reach = reach(&[(network, length)]);
            for at in 0..1 << 16 {
                let address = Ipv4Addr::from_bits(at << 16).to_ipv6_mapped().to_bits();
                assert_eq!(reach.may_hold(address), mask(address, length) == network, "{address:x} in /{length}");
            }
        }
    }
}
