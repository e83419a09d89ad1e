//! Families of attacks: what labels, models and the evaluation call them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Names in the order of the models' outputs; the first of those is `benign`, which is no attack and stands not here.
const NAMES: [&str; 17] = [
    "scan",
    "brute_force",
    "flood",
    "amplification",
    "slow_http",
    "dns_tunnel",
    "icmp_tunnel",
    "doh_tunnel",
    "dga",
    "beacon",
    "exfiltration",
    "arp_spoofing",
    "rogue_service",
    "name_poisoning",
    "lateral_movement",
    "web_attack",
    "mining",
];

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Family(u8);

impl Family {
    /// Every family.
    pub fn all() -> impl Iterator<Item = Family> {
        (0..NAMES.len() as u8).map(Family)
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Family> {
        Family::all().find(|family| family.name() == name)
    }

    /// Name in labels, manifests and alerts.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)] // made from an index of NAMES, here and above
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl From<Family> for String {
    fn from(family: Family) -> String {
        family.name().to_owned()
    }
}

impl TryFrom<String> for Family {
    type Error = String;

    fn try_from(name: String) -> Result<Family, String> {
        Family::named(&name)
            .ok_or_else(|| format!("{name:?} is no family of attacks (models/lab/README.md lists them)"))
    }
}
