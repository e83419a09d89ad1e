//! Ports of later fragments: a bounded table from (addresses, protocol, identification) to the first fragment's ports.

use super::key::{Direction, FlowKey};
use super::packet::{Decoded, Packet, Tunnel};
use crate::metrics::Counter;
use crate::units::Timestamp;

/// Limits of the fragment table.
#[derive(Clone, Copy, Debug)]
pub struct FragmentSettings {
    /// Datagrams remembered at once; a power of two. Too small: later fragments are counted `fragment_unknown`; too
    /// large: cache misses under a fragment flood (64 bytes each).
    pub capacity: usize,
    /// How long a first fragment is remembered, nanoseconds (RFC 791 suggests 15 s, RFC 8200 60 s).
    pub timeout_ns: u64,
}

impl Default for FragmentSettings {
    fn default() -> FragmentSettings {
        FragmentSettings { capacity: 4096, timeout_ns: 30_000_000_000 }
    }
}

/// Places a datagram may lie in. Eight of them, each a cache line, keep the chance that a set overflows at half load below
/// 2 % and a miss under flood below eight lines.
const WAYS: usize = 8;

/// One remembered first fragment.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Entry {
    /// Key of the first fragment, ports included.
    key: FlowKey,
    /// Forgotten after this moment; 0 marks an empty place.
    until: Timestamp,
    fragment_id: u32,
    direction: Direction,
    tunnel: Tunnel,
}

const _: () = assert!(size_of::<Entry>() == 64);

/// Fixed-capacity, set-associative memory of first fragments.
///
/// A full set gives up its oldest entry, so a flood of first fragments shortens the memory and never grows it. Fragments
/// that overtake their first one are not held back: they count as [`Counter::DropFragmentUnknown`].
pub struct FragmentTable {
    sets: Box<[[Entry; WAYS]]>,
    timeout_ns: u64,
    secrets: [u64; 6],
}

impl FragmentTable {
    /// Takes all its memory here. `seed` keys the hash (per boot, from the kernel's random source).
    ///
    /// A capacity that is no power of two is rounded up to one, and to one set at least.
    pub fn new(settings: FragmentSettings, seed: u64) -> FragmentTable {
        let sets = (settings.capacity.div_ceil(WAYS)).next_power_of_two();
        let mut state = seed;
        FragmentTable {
            sets: vec![[Entry::default(); WAYS]; sets].into_boxed_slice(),
            timeout_ns: settings.timeout_ns,
            secrets: std::array::from_fn(|_| splitmix(&mut state)),
        }
    }

    /// Remembers a first fragment or fills in a later one's key and direction.
    ///
    /// # Errors
    /// [`Counter::DropFragmentUnknown`] for a later fragment whose first one is not known.
    pub fn resolve(&mut self, decoded: Decoded, packet: &mut Packet, now: Timestamp) -> Result<(), Counter> {
        match decoded {
            Decoded::FirstFragment => {
                self.remember(packet, now);
                Ok(())
            }
            Decoded::LaterFragment => {
                let entry = self.recall(packet, now).ok_or(Counter::DropFragmentUnknown)?;
                packet.key = entry.key;
                packet.direction = entry.direction;
                packet.tunnel = entry.tunnel;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn remember(&mut self, packet: &Packet, now: Timestamp) {
        let identity = Identity::of(packet);
        // A time-out of 0 still outlives its own burst, and 0 is the mark of an empty place.
        let until = Timestamp(now.after(self.timeout_ns).0.max(1));
        let Some(set) = self.set(&identity) else { return };
        // The same datagram again (a retransmission that reuses its identification) takes its old place; else an empty
        // or forgotten place, else the oldest: each is the least by this rank.
        let victim = set.iter_mut().min_by_key(|entry| (!entry.holds(&identity), entry.until));
        if let Some(entry) = victim {
            let Packet { key, fragment_id, direction, tunnel, .. } = *packet;
            *entry = Entry { key, until, fragment_id, direction, tunnel };
        }
    }

    fn recall(&mut self, packet: &Packet, now: Timestamp) -> Option<Entry> {
        let identity = Identity::of(packet);
        let set = self.set(&identity)?;
        set.iter().find(|entry| entry.until >= now && entry.holds(&identity)).copied()
    }

    fn set(&mut self, identity: &Identity) -> Option<&mut [Entry; WAYS]> {
        let hash = identity.hash(&self.secrets) as usize;
        let mask = self.sets.len() - 1;
        self.sets.get_mut(hash & mask)
    }
}

/// What all fragments of a datagram have in common (RFC 791 section 2.3, RFC 8200 section 4.5).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Identity([u64; 6]);

impl Identity {
    fn new(key: &FlowKey, direction: Direction, fragment_id: u32) -> Identity {
        let [a, b, c, d, last] = *key.words();
        // Between different addresses the ports do not decide the direction, so a later fragment (no ports) has that of
        // the first; from an address to itself they do, and it says nothing.
        let reverse = direction == Direction::Reverse && (a, b) != (c, d);
        // In IPv6 a later fragment names the header that follows the fragment header, which need not be the transport
        // that the first fragment was followed to; identifications are per pair of addresses there.
        let rest = last & if key.is_v4() { 0xffff_ffff } else { 0x00ff_ffff };
        Identity([a, b, c, d, rest, u64::from(fragment_id) << 1 | u64::from(reverse)])
    }

    pub(super) fn of(packet: &Packet) -> Identity {
        Identity::new(&packet.key, packet.direction, packet.fragment_id)
    }

    /// Keyed hash: each pair of words is multiplied after its secrets were mixed in, and the halves of the 128-bit
    /// product are folded (the step of wyhash). Without the secrets nobody can aim datagrams at one set.
    pub(super) fn hash(&self, secrets: &[u64; 6]) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        let [k0, k1, k2, k3, k4, k5] = *secrets;
        let mixed = fold(a ^ k0, b ^ k1) ^ fold(c ^ k2, d ^ k3);
        fold(mixed ^ e ^ k4, f ^ k5 ^ mixed.rotate_left(32))
    }

    /// The same of who sent it alone.
    pub(super) fn source_hash(&self, secrets: &[u64; 6]) -> u64 {
        let [k0, k1, k2, ..] = *secrets;
        let (top, rest) = self.source();
        fold(fold(top ^ k0, rest ^ k1) ^ k2, k1)
    }

    /// The same of the sender's network: in IPv6 the /64, of which any host has all addresses.
    pub(super) fn network_hash(&self, secrets: &[u64; 6]) -> u64 {
        let [k0, k1, k2, k3, ..] = *secrets;
        let (top, rest) = self.source();
        let rest = if top == 0 { rest } else { 0 };
        fold(fold(top ^ k0, rest ^ k1) ^ k2, k3)
    }

    /// Upper and lower half of the sender's address; the upper one of IPv4 is 0.
    fn source(&self) -> (u64, u64) {
        let [low_top, low, high_top, high, _, last] = self.0;
        if last & 1 == 0 { (low_top, low) } else { (high_top, high) }
    }
}

impl Entry {
    fn holds(&self, identity: &Identity) -> bool {
        self.until != Timestamp(0) && Identity::new(&self.key, self.direction, self.fragment_id) == *identity
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Next number of the splitmix64 sequence (Steele, Lea, Flood 2014): several secrets from one seed.
pub(super) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut x = *state;
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
#[path = "fragment_tests.rs"]
mod tests;
