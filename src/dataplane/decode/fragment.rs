//! Ports of later fragments: a bounded table from (addresses, protocol, identification) to the first fragment's ports.

use super::packet::{Decoded, Packet};
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

/// Fixed-capacity, set-associative memory of first fragments.
pub struct FragmentTable {}

impl FragmentTable {
    /// Takes all its memory here. `seed` keys the hash (per boot, from the kernel's random source).
    pub fn new(settings: FragmentSettings, seed: u64) -> FragmentTable {
        let _ = (settings, seed);
        unimplemented!("FragmentTable")
    }

    /// Remembers a first fragment or fills in a later one's key and direction.
    ///
    /// # Errors
    /// [`Counter::DropFragmentUnknown`] for a later fragment whose first one is not known.
    pub fn resolve(&mut self, decoded: Decoded, packet: &mut Packet, now: Timestamp) -> Result<(), Counter> {
        let _ = (decoded, packet, now);
        unimplemented!("FragmentTable")
    }
}
