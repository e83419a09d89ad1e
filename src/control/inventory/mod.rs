//! What is on the network and how it is exposed: hosts with names, addresses, services and findings, from what inspection
//! tells, and from flows that somebody answered. Passive: nothing is ever sent.
//!
//! Owns the table of hosts, bounded by number and by memory; the one not seen for longest gives way, such of which nothing
//! is known first. Calls the parsers' facts and its own rule file. Deliberately does not: probe, guess from ports, keep
//! passwords, or present a hint as certain. What it cannot see stands in [`CANNOT_SEE`] and in every answer of the API.
//!
//! | file | owns |
//! | --- | --- |
//! | `host` | a host and its bounded lists |
//! | `table` | all hosts: whose an address is, merging, eviction, order of changes; what flows alone tell |
//! | `event`, `read` | what an event says, by protocol |
//! | `banner`, `os` | products and systems out of texts |
//! | `kinds` | every kind of finding |
//! | `rules`, `version`, `wire` | known vulnerabilities by version, and by what the wire tells |
//! | `network` | prefixes |
//! | `page` | what readers ask for and get |
//! | `live`, `disk` | the thread of a running sensor, and the file that outlives it |

pub mod banner;
mod disk;
mod event;
pub mod host;
pub mod kinds;
mod live;
pub mod network;
mod os;
mod page;
mod read;
pub mod rules;
mod table;
pub mod version;
pub mod wire;

pub use disk::Disk;
pub use event::{Event, is_of_interest, roles};
pub use live::{LiveInventory, SharedInventory};
pub use page::{Filter, Page, finding_json, host_json, summary_json};
pub use read::{may_show_passwords, password_in_clear, suite_problem};
pub use table::{Inventory, Spoken, Stats};

use network::Network;
use rules::Rules;
use std::sync::Arc;

/// What watching alone cannot see; told with every answer.
pub const CANNOT_SEE: [&str; 7] = [
    "Hosts and services that nobody spoke with in front of the tap, or that never answer (syslog over UDP), are missing: absence is no proof of safety.",
    "Certificates of TLS 1.3 and QUIC, and what is said inside encryption, are not seen.",
    "Versions are what banners claim: they may be hidden or wrong, and most services tell none.",
    "Fixes that a distribution made without a new version (`OpenSSH_9.2p1 Debian-2+deb12u3` is still 9.2p1) are known only where a rule names the revision.",
    "Hosts behind a translating router or proxy look like one.",
    "Settings, missing updates without a banner, weak passwords and local software are not seen.",
    "Operating systems are hints with a source; any of them can be forged.",
];

/// How the inventory works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Hosts with these addresses are kept.
    pub home: Vec<Network>,
    /// Hosts at most.
    pub hosts: usize,
    /// Memory of all hosts together, about, bytes.
    pub bytes: usize,
    /// Known vulnerabilities.
    pub rules: Arc<Rules>,
}

impl Settings {
    /// Defaults with these rules: private networks, 16 384 hosts, 64 MiB.
    pub fn with(rules: Arc<Rules>) -> Settings {
        Settings { home: network::home(), hosts: 16_384, bytes: 64 << 20, rules }
    }
}
