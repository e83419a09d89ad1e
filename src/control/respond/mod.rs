//! Responses: what is done about what was found, by whose word, within which limits, and whether the kernel does it.
//!
//! ```text
//! alerts --bounded queue--> desk: playbooks --\
//! people --http, answered-------------------> responder: safety -> disk -> intended set -> kernel's maps
//! flows  --who proved himself--> desk          \--> what acts once: threads of their own --> webhook, command
//! queues --copies of frames--> watch (a thread): what goes on for a time --> reset_connection
//!                                              look (a thread): set against maps and hits, once a second
//! ```
//!
//! Owns the reasons, and what should be so; [`verdict`](crate::dataplane::verdict) carries it out and knows none of them. Deliberately
//! does not: edit rules of a firewall, poison ARP, run a shell, wait on a worker, or block who may be forged.

pub mod audit;
mod clientele;
mod desk;
pub mod disk;
pub mod intended;
pub mod kernel;
pub mod live;
pub mod order;
pub mod playbooks;
pub mod prefix;
pub mod protocols;
pub mod proven;
pub mod responder;
pub mod safety;
pub mod scan;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod view;
pub mod watch;
pub mod words;

use crate::units::Timestamp;

/// The present on both clocks: ours, and the one that the kernel's programs read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Wall clock.
    pub wall: Timestamp,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub kernel_ns: u64,
}

impl Now {
    /// A moment to come on the kernel's clock; one that is over is the present. Never 0, which would be no end.
    pub fn kernel(&self, until: Timestamp) -> u64 {
        self.kernel_ns.saturating_add(until.since(self.wall)).max(1)
    }

    /// A moment of the kernel's clock on ours.
    pub fn wall_of(&self, kernel_ns: u64) -> Timestamp {
        Timestamp(self.wall.0.saturating_sub(self.kernel_ns).saturating_add(kernel_ns))
    }
}
