//! The canonical 5-tuple.

use crate::sys::lanes::{V4_MAPPED, mapped_v4};
use std::hint::{cold_path, select_unpredictable};
use std::net::{IpAddr, Ipv6Addr};

/// Which way a packet went relative to its key: keys are canonical (smaller endpoint first), so both ways share one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Direction {
    /// From the smaller endpoint to the larger.
    #[default]
    Forward = 0,
    /// From the larger endpoint to the smaller.
    Reverse = 1,
}

impl Direction {
    /// The other way.
    #[inline(always)]
    pub fn flip(self) -> Direction {
        match self {
            Direction::Forward => Direction::Reverse,
            Direction::Reverse => Direction::Forward,
        }
    }
}

/// An address and a port; IPv4 as IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Endpoint {
    /// Address as a big-endian number.
    pub address: u128,
    /// Port; the identifier for ICMP echo, type and code for other ICMP, 0 where the protocol has none.
    pub port: u16,
}

impl Endpoint {
    /// The address as people write it.
    pub fn ip(self) -> IpAddr {
        let v6 = Ipv6Addr::from(self.address);
        v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
    }
}

/// Canonical 5-tuple plus up to two VLAN ids: the identity of a biflow. 40 bytes, compared and hashed as five words.
///
/// Can only be made canonical, together with the [`Direction`] that tells which way the packet went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct FlowKey {
    /// low endpoint's address (high, low), high endpoint's address (high, low),
    /// then low port << 48 | high port << 32 | protocol << 24 | outer VLAN << 12 | inner VLAN.
    words: [u64; 5],
}

const _: () = assert!(size_of::<FlowKey>() == 40);

impl FlowKey {
    /// Key of an IPv4 packet. `vlans`: outer VLAN id << 12 | inner VLAN id, 0 for none.
    #[inline(always)]
    pub fn v4(
        source: u32,
        source_port: u16,
        destination: u32,
        destination_port: u16,
        protocol: u8,
        vlans: u32,
    ) -> (FlowKey, Direction) {
        let addresses = u64::from(source) << 32 | u64::from(destination);
        let ports = u32::from(source_port) << 16 | u32::from(destination_port);
        let (key, direction, _) = FlowKey::v4_pairs(addresses, ports, protocol, vlans);
        (key, direction)
    }

    /// The same from pairs as they stand in a packet: source << 32 | destination, source port << 16 | destination port.
    /// Also gives [`FlowKey::v4_words`].
    #[inline(always)]
    pub(super) fn v4_pairs(addresses: u64, ports: u32, protocol: u8, vlans: u32) -> (FlowKey, Direction, [u64; 2]) {
        // Swapping the ends is turning each pair by half its width; the smaller of both readings is the canonical one. By
        // conditional moves, on both pairs: which way a packet goes is a coin toss for the branch predictor.
        let (turned_addresses, turned_ports) = (addresses.rotate_left(32), ports.rotate_left(16));
        let (addresses, ports, direction) = if turned_addresses == addresses {
            cold_path(); // a host that speaks with itself
            let reverse = turned_ports < ports;
            (addresses, ports.min(turned_ports), if reverse { Direction::Reverse } else { Direction::Forward })
        } else {
            let reverse = turned_addresses < addresses;
            let ports = select_unpredictable(reverse, turned_ports, ports);
            (addresses.min(turned_addresses), ports, if reverse { Direction::Reverse } else { Direction::Forward })
        };
        let rest = u64::from(ports) << 32 | u64::from(protocol) << 24 | u64::from(vlans & 0xff_ffff);
        let [low_top, low, high_top, high] = mapped_v4(addresses);
        (FlowKey { words: [low_top, low, high_top, high, rest] }, direction, [addresses, rest])
    }

    /// Key of an IPv6 packet; arguments as for [`FlowKey::v4`].
    #[inline(always)]
    pub fn v6(
        source: u128,
        source_port: u16,
        destination: u128,
        destination_port: u16,
        protocol: u8,
        vlans: u32,
    ) -> (FlowKey, Direction) {
        let forward = (source, source_port) <= (destination, destination_port);
        let (low, low_port, high, high_port, direction) = if forward {
            (source, source_port, destination, destination_port, Direction::Forward)
        } else {
            (destination, destination_port, source, source_port, Direction::Reverse)
        };
        let ports = u64::from(low_port) << 48 | u64::from(high_port) << 32;
        #[allow(clippy::cast_possible_truncation)] // the halves of a u128 are taken on purpose
        let words = [
            (low >> 64) as u64,
            low as u64,
            (high >> 64) as u64,
            high as u64,
            ports | u64::from(protocol) << 24 | u64::from(vlans & 0xff_ffff),
        ];
        (FlowKey { words }, direction)
    }

    /// The five words that identify the flow; for hashing and comparing.
    #[inline(always)]
    pub fn words(&self) -> &[u64; 5] {
        &self.words
    }

    /// The same in two words where both addresses are IPv4 (or mapped): low address << 32 | high address, then ports,
    /// protocol and VLANs as in [`FlowKey::words`].
    #[inline(always)]
    pub fn v4_words(&self) -> Option<[u64; 2]> {
        let [low_top, low, high_top, high, rest] = self.words;
        let mapped = low_top | high_top | (low >> 32 ^ V4_MAPPED >> 32) | (high >> 32 ^ V4_MAPPED >> 32);
        (mapped == 0).then_some([low << 32 | high & 0xffff_ffff, rest])
    }

    /// The endpoint that sorts first.
    #[inline]
    pub fn low(&self) -> Endpoint {
        Endpoint {
            address: u128::from(self.words[0]) << 64 | u128::from(self.words[1]),
            port: (self.words[4] >> 48) as u16,
        }
    }

    /// The endpoint that sorts last.
    #[inline]
    pub fn high(&self) -> Endpoint {
        Endpoint {
            address: u128::from(self.words[2]) << 64 | u128::from(self.words[3]),
            port: (self.words[4] >> 32 & 0xffff) as u16,
        }
    }

    /// Sender and receiver of a packet that went `direction`.
    #[inline]
    pub fn endpoints(&self, direction: Direction) -> (Endpoint, Endpoint) {
        match direction {
            Direction::Forward => (self.low(), self.high()),
            Direction::Reverse => (self.high(), self.low()),
        }
    }

    /// IP protocol number (IANA).
    #[inline(always)]
    pub fn protocol(&self) -> u8 {
        (self.words[4] >> 24 & 0xff) as u8
    }

    /// Outer and inner VLAN id, 0 for none.
    #[inline]
    pub fn vlans(&self) -> (u16, u16) {
        ((self.words[4] >> 12 & 0xfff) as u16, (self.words[4] & 0xfff) as u16)
    }

    /// Is this an IPv4 flow?
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        self.words[0] == 0 && self.words[1] >> 32 == V4_MAPPED >> 32
    }

    /// Which of `queues` owns the flow where RSS is not symmetric, and in replay: the same rule everywhere. Unkeyed on
    /// purpose, so that every process and every run splits alike; the flow table's hash is another one, and keyed.
    #[inline]
    pub fn owner(&self, queues: usize) -> usize {
        let w = &self.words;
        let mut x =
            w[0] ^ w[1].rotate_left(17) ^ w[2].rotate_left(31) ^ w[3].rotate_left(47) ^ (w[4] & 0xffff_ffff_ff00_0000);
        // splitmix64 finaliser (Steele, Lea, Flood 2014): every input bit reaches the high half.
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        // Multiply-shift instead of a division; below 2^16 queues the product fits.
        ((u128::from(x) * queues as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_share_one_key_and_one_owner() {
        let (there, way) = FlowKey::v4(0x0a00_0001, 40000, 0x0a00_0002, 443, 6, 5 << 12);
        let (back, other_way) = FlowKey::v4(0x0a00_0002, 443, 0x0a00_0001, 40000, 6, 5 << 12);
        assert_eq!(there, back);
        assert_eq!(way.flip(), other_way);
        assert_eq!(there.owner(7), back.owner(7));
        assert_eq!(there.endpoints(way).0, Endpoint { address: 0xffff_0a00_0001, port: 40000 });
        assert_eq!(there.endpoints(other_way).0.ip().to_string(), "10.0.0.2");
        assert_eq!((there.protocol(), there.vlans(), there.is_v4()), (6, (5, 0), true));
    }

    #[test]
    fn two_words_hold_an_ipv4_key_and_no_other() {
        let (key, _) = FlowKey::v4(0x0a00_0001, 40000, 0xc0a8_0002, 443, 6, 5);
        assert_eq!(key.v4_words(), Some([0x0a00_0001_c0a8_0002, key.words()[4]]));
        let mapped = 0xffff_0a00_0001_u128;
        for (one, other) in [(mapped, 1_u128 << 96), (mapped, 1), (1, 2), (mapped | 1 << 64, mapped)] {
            let (key, _) = FlowKey::v6(one, 1, other, 2, 17, 0);
            assert_eq!(key.v4_words(), None, "{one:x} {other:x}");
        }
    }

    #[test]
    fn v6_keys_keep_both_addresses() {
        let (a, b) = (0x2001_0db8_u128 << 96 | 1, 0x2001_0db8_u128 << 96 | 2);
        let (key, way) = FlowKey::v6(b, 1, a, 2, 17, 0);
        assert_eq!(way, Direction::Reverse);
        assert_eq!(key.endpoints(way), (Endpoint { address: b, port: 1 }, Endpoint { address: a, port: 2 }));
        assert!(!key.is_v4());
    }

    #[test]
    fn owners_are_spread_evenly() {
        let mut seen = [0_u32; 4];
        for port in 0..4000 {
            let (key, _) = FlowKey::v4(0xc0a8_0001, port, 0xc0a8_0102, 80, 6, 0);
            seen[key.owner(4)] += 1;
        }
        assert!(seen.iter().all(|count| (900..1100).contains(count)), "{seen:?}");
    }
}
