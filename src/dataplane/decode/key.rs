//! The canonical 5-tuple.

use super::packet::protocol;
use crate::sys::lanes::{V4_MAPPED, mapped_v4};
use std::hint::{cold_path, select_unpredictable};
use std::net::{IpAddr, Ipv6Addr};

/// Which way a packet went relative to its key: keys are canonical (smaller endpoint first), so both ways share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
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

/// Where a 5-tuple counts: the VLANs of a plain packet, or the tunnel of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    /// Outer VLAN id << 12 | inner VLAN id; in a tunnel 24 bits that tell it from others.
    value: u32,
    tunnelled: bool,
}

impl Scope {
    /// Of a packet in no tunnel. `vlans`: outer VLAN id << 12 | inner VLAN id, 0 for none.
    pub fn plain(vlans: u32) -> Scope {
        Scope { value: vlans & 0xff_ffff, tunnelled: false }
    }

    /// The 24 bits.
    #[cfg(test)]
    pub(super) fn value(self) -> u32 {
        self.value
    }

    /// Of a packet in a tunnel with this identity (24 bits).
    pub(super) fn tunnelled(identity: u32) -> Scope {
        Scope { value: identity & 0xff_ffff, tunnelled: true }
    }
}

/// What stands in a key for the protocol number where the number alone would not do. They are numbers that IANA has not
/// assigned, so that a plain packet hardly ever needs [`marker::UNASSIGNED`].
mod marker {
    /// Tunnelled TCP, UDP, ICMP, ICMPv6, SCTP: this and the next four.
    pub(super) const TUNNELLED: u8 = 0xf0;
    /// Tunnelled, and another protocol: its number is in the place of both ports, which it has not.
    pub(super) const TUNNELLED_OTHER: u8 = 0xf5;
    /// Not tunnelled, and the number is one that means something else here: it is in the place of both ports.
    pub(super) const UNASSIGNED: u8 = 0xf6;
}

/// The protocols whose tunnelled packets have a marker of their own, in the order of these.
const MARKED: [u8; 5] = [protocol::TCP, protocol::UDP, protocol::ICMP, protocol::ICMPV6, protocol::SCTP];

/// Canonical 5-tuple plus up to two VLAN ids, or plus the identity of the tunnel: what makes a biflow one. 40 bytes,
/// compared and hashed as five words.
///
/// Can only be made canonical, together with the [`Direction`] that tells which way the packet went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct FlowKey {
    /// low endpoint's address (high, low), high endpoint's address (high, low),
    /// then low port << 48 | high port << 32 | protocol or marker << 24 | outer VLAN << 12 | inner VLAN. In a tunnel the
    /// lowest 24 bits are its identity.
    words: [u64; 5],
}

const _: () = assert!(size_of::<FlowKey>() == 40);

impl FlowKey {
    /// Key of a packet between IPv4 addresses.
    pub(super) fn v4_in(scope: Scope, addresses: (u32, u32), ports: (u16, u16), protocol: u8) -> (FlowKey, Direction) {
        let (number, ports) = marked(scope, ports, protocol);
        let addresses = u64::from(addresses.0) << 32 | u64::from(addresses.1);
        let ports = u32::from(ports.0) << 16 | u32::from(ports.1);
        let (key, direction, _) = FlowKey::v4_pairs(addresses, ports, number, scope.value);
        (key, direction)
    }

    /// Key of a packet between IPv6 addresses.
    pub(super) fn v6_in(
        scope: Scope,
        addresses: (u128, u128),
        ports: (u16, u16),
        protocol: u8,
    ) -> (FlowKey, Direction) {
        let (number, ports) = marked(scope, ports, protocol);
        FlowKey::v6_pairs(addresses, ports, number, scope.value)
    }

    /// Key of an IPv4 packet in no tunnel. `vlans`: outer VLAN id << 12 | inner VLAN id, 0 for none.
    #[inline(always)]
    pub fn v4(
        source: u32,
        source_port: u16,
        destination: u32,
        destination_port: u16,
        protocol: u8,
        vlans: u32,
    ) -> (FlowKey, Direction) {
        FlowKey::v4_in(Scope::plain(vlans), (source, destination), (source_port, destination_port), protocol)
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

    /// Key of an IPv6 packet in no tunnel; arguments as for [`FlowKey::v4`].
    #[inline(always)]
    pub fn v6(
        source: u128,
        source_port: u16,
        destination: u128,
        destination_port: u16,
        protocol: u8,
        vlans: u32,
    ) -> (FlowKey, Direction) {
        FlowKey::v6_in(Scope::plain(vlans), (source, destination), (source_port, destination_port), protocol)
    }

    /// The same from pairs, source first. `number`: as it stands in the key.
    #[inline(always)]
    pub(super) fn v6_pairs(addresses: (u128, u128), ports: (u16, u16), number: u8, scope: u32) -> (FlowKey, Direction) {
        let ((source, destination), (source_port, destination_port)) = (addresses, ports);
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
            ports | u64::from(number) << 24 | u64::from(scope & 0xff_ffff),
        ];
        (FlowKey { words }, direction)
    }

    /// The key whose addresses are these, in any order, and whose last word is `rest`: what is kept of a key where its
    /// addresses are known anyhow.
    pub fn between(addresses: (u128, u128), rest: u64) -> FlowKey {
        let (low, high) = (addresses.0.min(addresses.1), addresses.0.max(addresses.1));
        #[allow(clippy::cast_possible_truncation)] // the halves of a u128 are taken on purpose
        let words = [(low >> 64) as u64, low as u64, (high >> 64) as u64, high as u64, rest];
        FlowKey { words }
    }

    /// The last of [`FlowKey::words`]: all but the addresses.
    #[inline(always)]
    pub fn rest(&self) -> u64 {
        self.words[4]
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
            port: if self.has_number_for_ports() { 0 } else { (self.words[4] >> 48) as u16 },
        }
    }

    /// The endpoint that sorts last.
    #[inline]
    pub fn high(&self) -> Endpoint {
        Endpoint {
            address: u128::from(self.words[2]) << 64 | u128::from(self.words[3]),
            port: if self.has_number_for_ports() { 0 } else { (self.words[4] >> 32 & 0xffff) as u16 },
        }
    }

    /// Are both endpoints the same, of a protocol that has ports?
    #[inline]
    pub fn is_to_itself(&self) -> bool {
        let [low_top, low, high_top, high, rest] = self.words;
        low == high && low_top == high_top && rest >> 48 == rest >> 32 & 0xffff && matches!(self.protocol(), 6 | 17)
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
        let number = self.number();
        if number < marker::TUNNELLED { number } else { self.marked_protocol() }
    }

    /// Is it the key of a packet in a tunnel? (MPLS alone makes none: its labels come and go on the way.)
    #[inline(always)]
    pub fn is_tunnelled(&self) -> bool {
        (marker::TUNNELLED..=marker::TUNNELLED_OTHER).contains(&self.number())
    }

    /// Outer and inner VLAN id, 0 for none and in a tunnel.
    #[inline]
    pub fn vlans(&self) -> (u16, u16) {
        if self.is_tunnelled() {
            return (0, 0);
        }
        ((self.words[4] >> 12 & 0xfff) as u16, (self.words[4] & 0xfff) as u16)
    }

    /// The VLANs or the tunnel, for keys of packets that belong to this one.
    pub(super) fn scope(&self) -> Scope {
        Scope { value: (self.words[4] & 0xff_ffff) as u32, tunnelled: self.is_tunnelled() }
    }

    /// The identity of the tunnel: 24 bits that differ between any two networks of one kind of tunnel (VNI, key, session)
    /// under the same VLANs, and are the same in every process. `None` for a packet in no tunnel.
    pub fn tunnel_identity(&self) -> Option<u32> {
        let Scope { value, tunnelled } = self.scope();
        tunnelled.then_some(value)
    }

    #[inline(always)]
    fn number(&self) -> u8 {
        (self.words[4] >> 24 & 0xff) as u8
    }

    #[inline(always)]
    fn has_number_for_ports(&self) -> bool {
        self.number() >= marker::TUNNELLED_OTHER
    }

    #[cold]
    fn marked_protocol(&self) -> u8 {
        let index = usize::from(self.number() - marker::TUNNELLED);
        MARKED.get(index).copied().unwrap_or((self.words[4] >> 32 & 0xff) as u8)
    }

    /// Is this an IPv4 flow?
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        self.words[0] == 0 && self.words[1] >> 32 == V4_MAPPED >> 32
    }

    /// Which of `queues` owns the flow where RSS is not symmetric, and in replay: the same rule everywhere. TCP goes by its
    /// ports too; all else by addresses alone, as NICs do it, because only so do the fragments of a datagram meet, whichever
    /// comes first, and the errors of the host it went to. Unkeyed on purpose, so that every process and every run splits alike; the flow table's hash is another one, and keyed.
    #[inline]
    pub fn owner(&self, queues: usize) -> usize {
        let w = &self.words;
        let rest = if self.protocol() == protocol::TCP { w[4] & 0xffff_ffff_ff00_0000 } else { 0 };
        let mut x = w[0] ^ w[1].rotate_left(17) ^ w[2].rotate_left(31) ^ w[3].rotate_left(47) ^ rest;
        // splitmix64 finaliser (Steele, Lea, Flood 2014): every input bit reaches the high half.
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        // Multiply-shift instead of a division; below 2^16 queues the product fits.
        ((u128::from(x) * queues as u128) >> 64) as usize
    }
}

/// What stands in the key for the protocol and the ports.
#[inline(always)]
fn marked(scope: Scope, ports: (u16, u16), protocol: u8) -> (u8, (u16, u16)) {
    let number = (u16::from(protocol), u16::from(protocol));
    if !scope.tunnelled {
        return if protocol < marker::TUNNELLED { (protocol, ports) } else { (marker::UNASSIGNED, number) };
    }
    match MARKED.into_iter().zip(marker::TUNNELLED..).find(|(marked, _)| *marked == protocol) {
        Some((_, marker)) => (marker, ports),
        None => (marker::TUNNELLED_OTHER, number),
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
    fn every_protocol_number_is_given_back_in_and_out_of_tunnels() {
        let mut keys = std::collections::HashSet::new();
        for scope in [Scope::plain(5 << 12), Scope::tunnelled(5 << 12)] {
            for protocol in 0..=u8::MAX {
                let has_ports = MARKED.contains(&protocol);
                let ports = if has_ports { (9, 7) } else { (0, 0) };
                let (there, way) = FlowKey::v4_in(scope, (1, 2), ports, protocol);
                let (back, other_way) = FlowKey::v4_in(scope, (2, 1), (ports.1, ports.0), protocol);
                assert_eq!((there, way), (back, other_way.flip()));
                let six = FlowKey::v6_in(scope, (1, 2), ports, protocol).0;
                for key in [there, six] {
                    assert_eq!((key.protocol(), key.is_tunnelled()), (protocol, scope.tunnelled));
                    assert_eq!((key.low().port, key.high().port), ports);
                    assert_eq!(key.vlans(), if scope.tunnelled { (0, 0) } else { (5, 0) });
                    assert_eq!((key.scope(), key.tunnel_identity()), (scope, scope.tunnelled.then_some(5 << 12)));
                    assert!(keys.insert(key));
                }
            }
        }
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
