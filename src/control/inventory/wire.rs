//! What the wire itself tells of a service, where that decides whether a version has a vulnerability.
//!
//! A closed list, because each is read by a line of code: rules name one with `wire`. Of each it is known that it is so, that it
//! is not, or nothing.

use super::banner::Product;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A thing that the wire may tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// The server offers ChaCha20-Poly1305, or CBC with a MAC over what is encrypted, and no strict key exchange (OpenSSH,
    /// PROTOCOL section 1.10).
    SshTerrapin,
    /// It is spoken over UDP.
    Udp,
    /// It runs on a system of the Unix kind.
    Unix,
    /// It runs on Windows.
    Windows,
}

impl Wire {
    /// Does it show that the product has the vulnerability, whatever was fixed without a new version?
    pub fn is_proof(self) -> bool {
        self == Wire::SshTerrapin
    }
}

/// What was told, and when.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Told {
    /// The latest time.
    pub time: Timestamp,
    /// Is it so?
    pub holds: bool,
}

/// What the wire has told of a service; the latest counts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seen(BTreeMap<Wire, Told>);

impl Seen {
    /// What one event told.
    pub fn at(time: Timestamp, told: &[(Wire, bool)]) -> Seen {
        Seen(told.iter().map(|(wire, holds)| (*wire, Told { time, holds: *holds })).collect())
    }

    /// Was nothing told?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What others told; in whatever order, the outcome is one.
    pub fn merge(&mut self, other: Seen) {
        for (wire, told) in other.0 {
            let known = self.0.entry(wire).or_insert(told);
            *known = (*known).max(told);
        }
    }

    /// Is it so of this product of the service? Who packs for a Unix is no Windows.
    pub fn of(&self, wire: Wire, product: &Product) -> Option<bool> {
        let told = self.0.get(&wire).map(|told| told.holds);
        told.or_else(|| (wire == Wire::Windows && product.distribution.is_some()).then_some(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_counts_in_any_order() {
        let told = [(Timestamp(5), true), (Timestamp(9), false), (Timestamp(7), true)];
        let product = Product { name: "x".into(), version: None, distribution: None };
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut seen = Seen::default();
            for (time, holds) in order.map(|place| told[place]) {
                seen.merge(Seen::at(time, &[(Wire::SshTerrapin, holds)]));
            }
            assert_eq!(seen.of(Wire::SshTerrapin, &product), Some(false), "{order:?}");
        }
        let packed = Product { distribution: Some("Ubuntu".into()), ..product.clone() };
        let none = Seen::default();
        assert_eq!([&product, &packed].map(|product| none.of(Wire::Windows, product)), [None, Some(false)]);
        assert_eq!(none.of(Wire::Udp, &packed), None);
    }
}
