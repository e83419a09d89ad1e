//! Shunts: flows that need no more of the worker's time are forwarded in the kernel, and what they brought there is put back into their
//! records.
//!
//! Who is shunted is decided when a living flow is told: enough bytes, both sides established, encrypted (nothing more is to be read) where
//! that is asked for, a benign score. A FIN, RST or SYN goes to the worker and ends it, in the kernel; so does an alert about either end; a
//! block is stronger at any time. Each lasts a part of the idle time-out, so that the record, which sees none of it, does not end
//! meanwhile. Bounded: so many flows at a time, beyond which none is added.

use crate::dataplane::decode::tcp_flags;
use crate::dataplane::inspect::Protocol;
use crate::dataplane::verdict::{FlowSubject, Shunter};
use crate::exchange::FlowSummary;
use crate::units::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Who is shunted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    /// From so many bytes on; 0: none.
    pub bytes: u64,
    /// Only flows of TLS, SSH and QUIC.
    pub encrypted_only: bool,
    /// A score of this or more is not benign.
    pub score: f32,
    /// At most so long at a time, nanoseconds.
    pub time_ns: u64,
    /// Flows at a time.
    pub flows: usize,
}

impl Default for Settings {
    /// Off. A tenth of what alarms is benign; five minutes are half of the idle time-out of TCP; some 100 bytes a flow.
    fn default() -> Settings {
        Settings { bytes: 0, encrypted_only: true, score: 0.1, time_ns: 300_000_000_000, flows: 16_384 }
    }
}

/// What a flow brought in the kernel: from the lesser end and from the greater.
#[derive(Clone, Copy, Default)]
struct Brought {
    packets: [u64; 2],
    bytes: [u64; 2],
    last_ns: u64,
}

/// See the module.
pub struct Shunts {
    settings: Settings,
    shunter: Arc<dyn Shunter>,
    /// Flows that are shunted, or were, with what earlier times brought.
    flows: HashMap<FlowSubject, Brought>,
    /// Flows shunted so far, and those that found no room.
    counts: [u64; 2],
}

fn subject(flow: &FlowSummary) -> FlowSubject {
    let (one, other) = flow.key.endpoints(flow.originator);
    FlowSubject::new((one.ip().to_canonical(), one.port), (other.ip().to_canonical(), other.port), flow.key.protocol())
}

impl Shunts {
    /// With this door to the kernel.
    pub fn new(settings: Settings, shunter: Arc<dyn Shunter>) -> Shunts {
        Shunts { settings, shunter, flows: HashMap::new(), counts: [0; 2] }
    }

    fn is_wanted(&self, flow: &FlowSummary) -> bool {
        let encrypted = matches!(flow.application, Protocol::Tls | Protocol::Ssh | Protocol::Quic);
        // An upload is acknowledged, and answered at its end.
        let spoke = match flow.key.protocol() {
            6 => flow.has_handshake() && flow.tcp_flags[0] & tcp_flags::ACK != 0,
            _ => flow.payload.iter().all(|bytes| *bytes > 0),
        };
        self.settings.bytes > 0
            && flow.bytes.iter().sum::<u64>() >= self.settings.bytes
            && flow.ended.is_none()
            && flow.outer.is_none()
            // The kernel takes no notice of tags: flows of two networks may look alike.
            && flow.key.vlans() == (0, 0)
            && spoke
            && flow.score < self.settings.score
            && (encrypted || !self.settings.encrypted_only)
    }

    /// A flow lives; `kernel_ns`: the present on `CLOCK_MONOTONIC`.
    pub fn consider(&mut self, flow: &FlowSummary, kernel_ns: u64) {
        if !self.is_wanted(flow) {
            return;
        }
        let subject = subject(flow);
        if self.flows.contains_key(&subject) && !self.take_back(&subject, false) {
            return;
        }
        if self.flows.len() >= self.settings.flows && !self.flows.contains_key(&subject) {
            self.counts[1] += 1;
            return;
        }
        match self.shunter.shunt(&subject, kernel_ns.saturating_add(self.settings.time_ns)) {
            Ok(()) => {
                self.flows.entry(subject).or_default();
                self.counts[0] += 1;
            }
            Err(cause) => tracing::debug!("{cause}"),
        }
    }

    /// Takes a shunt out of the kernel and adds up what it brought; one in force only if it `must` go. `false`: it is in force still.
    fn take_back(&mut self, subject: &FlowSubject, must: bool) -> bool {
        let Some(brought) = self.flows.get_mut(subject) else { return true };
        match self.shunter.shunted(subject) {
            Ok(Some(shunted)) if shunted.in_force && !must => return false,
            Ok(Some(shunted)) => {
                for side in 0..2 {
                    brought.packets[side] += shunted.packets[side];
                    brought.bytes[side] += shunted.bytes[side];
                }
                brought.last_ns = brought.last_ns.max(shunted.last_ns);
                if let Err(cause) = self.shunter.unshunt(subject) {
                    tracing::warn!("{cause}");
                }
            }
            Ok(None) => {}
            Err(cause) => tracing::warn!("{cause}"),
        }
        true
    }

    /// A flow ended: what the kernel passed on of it belongs to it too.
    pub fn settle(&mut self, flow: &mut FlowSummary, now: Timestamp, kernel_ns: u64) {
        if self.flows.is_empty() {
            return;
        }
        let subject = subject(flow);
        self.take_back(&subject, true);
        let Some(brought) = self.flows.remove(&subject) else { return };
        let (originator, _) = flow.key.endpoints(flow.originator);
        let is_lesser = subject.ends()[0] == (originator.ip().to_canonical(), originator.port);
        for side in 0..2 {
            let of = if is_lesser { side } else { 1 - side };
            flow.packets[side] += brought.packets[of];
            flow.bytes[side] += brought.bytes[of];
        }
        if brought.last_ns > 0 {
            let last = Timestamp(now.0.saturating_sub(kernel_ns.saturating_sub(brought.last_ns)));
            flow.last_seen = flow.last_seen.max(last);
        }
    }

    /// Something was found about an address: the worker is to see its flows again.
    pub fn release(&mut self, address: IpAddr) {
        let address = address.to_canonical();
        let meant = |subject: &&FlowSubject| subject.ends().iter().any(|(end, _)| *end == address);
        let subjects: Vec<FlowSubject> = self.flows.keys().filter(meant).copied().collect();
        for subject in subjects {
            self.take_back(&subject, true);
        }
    }

    /// Flows shunted so far, those that found no room, and those there are.
    pub fn counts(&self) -> [u64; 3] {
        [self.counts[0], self.counts[1], self.flows.len() as u64]
    }
}

impl Drop for Shunts {
    /// Nobody would read what they bring.
    fn drop(&mut self) {
        let subjects: Vec<FlowSubject> = self.flows.keys().copied().collect();
        for subject in subjects {
            self.take_back(&subject, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::decode::FlowKey;
    use crate::dataplane::verdict::{Shunted, VerdictError};
    use std::sync::Mutex;

    #[derive(Default)]
    struct Kernel(Mutex<HashMap<FlowSubject, Shunted>>);

    impl Kernel {
        fn brings(&self, bytes: [u64; 2], in_force: bool) {
            for shunted in self.0.lock().unwrap().values_mut() {
                *shunted = Shunted { in_force, packets: [bytes[0] / 100, bytes[1] / 100], bytes, last_ns: 900 };
            }
        }
    }

    impl Shunter for Kernel {
        fn shunt(&self, flow: &FlowSubject, _until_ns: u64) -> Result<(), VerdictError> {
            let before = self.0.lock().unwrap().insert(*flow, Shunted { in_force: true, ..Shunted::default() });
            assert!(before.is_none(), "what it brought would be lost");
            Ok(())
        }
        fn shunted(&self, flow: &FlowSubject) -> Result<Option<Shunted>, VerdictError> {
            Ok(self.0.lock().unwrap().get(flow).copied())
        }
        fn unshunt(&self, flow: &FlowSubject) -> Result<(), VerdictError> {
            self.0.lock().unwrap().remove(flow);
            Ok(())
        }
    }

    fn flow(port: u16, bytes: u64) -> FlowSummary {
        // The originator is the greater end.
        let (key, originator) = FlowKey::v4(0x0a00_0002, port, 0x0a00_0001, 443, 6, 0);
        FlowSummary {
            key,
            originator,
            tcp_flags: [tcp_flags::SYN | tcp_flags::ACK; 2],
            payload: [9, 9],
            packets: [1, 1],
            bytes: [bytes, 50],
            application: Protocol::Tls,
            last_seen: Timestamp(100),
            ..FlowSummary::default()
        }
    }

    fn shunts(settings: Settings) -> (Shunts, Arc<Kernel>) {
        let kernel = Arc::new(Kernel::default());
        (Shunts::new(Settings { bytes: 1000, flows: 2, ..settings }, Arc::clone(&kernel) as _), kernel)
    }

    #[test]
    fn only_large_encrypted_benign_established_flows_are_shunted_and_no_more_than_there_is_room_for() {
        let (mut shunts, kernel) = shunts(Settings::default());
        let good = flow(1, 2000);
        for other in [
            flow(1, 900),
            FlowSummary { tcp_flags: [tcp_flags::ACK; 2], ..good },
            FlowSummary { score: 0.2, ..good },
            FlowSummary { application: Protocol::Http, ..good },
        ] {
            shunts.consider(&other, 0);
            assert!(kernel.0.lock().unwrap().is_empty(), "{other:?}");
        }
        (1..=4).for_each(|port| shunts.consider(&flow(port, 2000), 0));
        assert_eq!((kernel.0.lock().unwrap().len(), shunts.counts()), (2, [2, 2, 2]));
        shunts.release(IpAddr::from([10, 0, 0, 1]));
        assert!(kernel.0.lock().unwrap().is_empty(), "an alert about one end");
    }

    #[test]
    fn what_the_kernel_passed_on_is_in_the_record() {
        let (mut shunts, kernel) = shunts(Settings::default());
        shunts.consider(&flow(1, 2000), 0);
        kernel.brings([500, 70_000], true);
        shunts.consider(&flow(1, 2000), 0);
        assert_eq!(shunts.counts()[0], 1, "in force still");
        kernel.brings([500, 70_000], false);
        shunts.consider(&flow(1, 2000), 0);
        kernel.brings([100, 1_000], true);
        let mut ended = flow(1, 2000);
        shunts.settle(&mut ended, Timestamp(5_000), 1_000);
        assert_eq!((ended.bytes, ended.packets), ([2000 + 71_000, 50 + 600], [1 + 710, 1 + 6]));
        assert_eq!(ended.last_seen, Timestamp(4_900), "the kernel's clock says when");
        assert!(kernel.0.lock().unwrap().is_empty());
        let mut other = flow(1, 2000);
        shunts.settle(&mut other, Timestamp(5_000), 1_000);
        assert_eq!(other.bytes, [2000, 50], "once");
    }
}
