//! Which addresses are proven to be who they say.
//!
//! Only TCP proves anything: whoever acknowledges the number in the answer to his SYN got what was sent to his address. An answered
//! datagram does not, for the server answers a forged question as well. Where there are pairs a worker tells it with that packet, for
//! there the answer came in on the other side ([`crate::dataplane::worker::Handshakes`]); a flow alone proves nothing there, because
//! whoever forges its SYN forges the answer too. Where there are only taps, nothing is blocked, and flows are believed.
//!
//! An address that proved itself in one connection did not do whatever else is written with it: where there are pairs, what speaks for
//! evidence is the connection that it rests on, by its number, and for a scan a connection to the same target that was opened, never
//! used, and closed. Bounded: two generations each; when the younger is full (of addresses also `AGE_NS` old), the elder is forgotten.

use super::safety::Proof;
use crate::dataplane::decode::tcp_flags;
use crate::exchange::{FlowSummary, Proved};
use crate::units::{SECOND, Timestamp};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

/// Addresses of a generation; some 60 bytes each.
const GENERATION: usize = 1 << 16;
/// Connections of a generation, and probes; some 20 bytes each.
const CONNECTIONS: usize = 1 << 19;
/// How long a proof holds at least, if there is room; an address changes hands.
pub const AGE_NS: u64 = 1_800 * SECOND;
/// How often the kernel is told of an address that goes on proving itself.
const VOUCH_EVERY_NS: u64 = 60 * SECOND;

/// A connection between two that proved themselves by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spoken {
    /// Who asked.
    pub originator: IpAddr,
    /// Who was asked.
    pub responder: IpAddr,
    /// How well they proved themselves.
    pub proof: Proof,
    /// First packet.
    pub first_seen: Timestamp,
    /// Latest packet.
    pub last_seen: Timestamp,
}

impl Spoken {
    /// What a flow proves; `None`: nothing, as most of a flood's.
    pub fn of(flow: &FlowSummary) -> Option<Spoken> {
        if !flow.has_handshake() || flow.tcp_flags[0] & tcp_flags::ACK == 0 || flow.outer.is_some() {
            return None;
        }
        let payload = flow.payload.iter().all(|bytes| *bytes > 0);
        // A forged acknowledgement is answered by a reset.
        let proof = match payload {
            true => Proof::Payload,
            false if flow.tcp_flags[1] & tcp_flags::RST == 0 => Proof::Handshake,
            false => return None,
        };
        let (originator, responder) = flow.key.endpoints(flow.originator);
        let [originator, responder] = [originator, responder].map(|end| end.ip().to_canonical());
        Some(Spoken { originator, responder, proof, first_seen: flow.first_seen, last_seen: flow.last_seen })
    }
}

/// What is known of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// How well it proved itself.
    pub proof: Proof,
    /// When it did so first, as far as that is remembered.
    pub since: Timestamp,
    /// When the kernel was told so last.
    pub vouched: Timestamp,
}

/// When each of so many was told, the latest of them.
struct Recent<K> {
    young: HashMap<K, Timestamp>,
    old: HashMap<K, Timestamp>,
}

impl<K: Eq + Hash> Recent<K> {
    fn note(&mut self, what: K, time: Timestamp) {
        if self.young.len() >= CONNECTIONS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(what, time);
    }

    fn of(&self, what: &K) -> Option<Timestamp> {
        self.young.get(what).or_else(|| self.old.get(what)).copied()
    }
}

impl<K> Default for Recent<K> {
    fn default() -> Recent<K> {
        Recent { young: HashMap::new(), old: HashMap::new() }
    }
}

/// See the module.
#[derive(Default)]
pub struct Proven {
    connections: Recent<u64>,
    probes: Recent<(IpAddr, Option<IpAddr>)>,
    young: HashMap<IpAddr, Known>,
    old: HashMap<IpAddr, Known>,
    begun: Timestamp,
}

impl Proven {
    /// Learns from a connection.
    pub fn learn(&mut self, spoken: &Spoken, now: Timestamp) {
        for address in [spoken.originator, spoken.responder] {
            self.learn_one(address, spoken.proof, spoken.last_seen, now);
        }
    }

    /// An address proved itself at `time`. `true`: the kernel is to be told, who forgets for want of room.
    pub fn learn_one(&mut self, address: IpAddr, proof: Proof, time: Timestamp, now: Timestamp) -> bool {
        let address = address.to_canonical();
        if self.young.len() >= GENERATION || now.since(self.begun) >= AGE_NS {
            self.old = std::mem::take(&mut self.young);
            self.begun = now;
        }
        let known = self.young.entry(address).or_insert(Known { proof, since: time, vouched: Timestamp(0) });
        known.proof = proof.max(known.proof);
        let is_due = now.since(known.vouched) >= VOUCH_EVERY_NS;
        if is_due {
            known.vouched = now;
        }
        is_due
    }

    /// A connection proved its originator. `true`: the kernel is to be told of the address.
    pub fn connected(&mut self, proved: &Proved, time: Timestamp, now: Timestamp) -> bool {
        let source = proved.source.to_canonical();
        if proved.is_probe {
            for target in [Some(proved.destination.to_canonical()), None] {
                self.probes.note((source, target), time);
            }
        } else {
            self.connections.note(proved.flow, time);
        }
        self.learn_one(source, Proof::Handshake, time, now)
    }

    /// When the connection of that number proved its originator.
    pub fn connection(&self, flow: u64) -> Option<Timestamp> {
        self.connections.of(&flow)
    }

    /// When an address last ended a connection that proved it and that it had opened for nothing; with that target, or anybody.
    pub fn probed(&self, source: IpAddr, target: Option<IpAddr>) -> Option<Timestamp> {
        self.probes.of(&(source.to_canonical(), target.map(|target| target.to_canonical())))
    }

    /// What speaks for an address.
    pub fn of(&self, address: IpAddr) -> Known {
        let address = address.to_canonical();
        match (self.young.get(&address), self.old.get(&address)) {
            (Some(young), Some(old)) => Known {
                proof: young.proof.max(old.proof),
                since: young.since.min(old.since),
                vouched: young.vouched.max(old.vouched),
            },
            (one, other) => one.or(other).copied().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::decode::FlowKey;
    use tcp_flags::{ACK, FIN, RST, SYN};

    fn flow(flags: [u8; 2], payload: [u64; 2]) -> FlowSummary {
        let (key, originator) = FlowKey::v4(0x0a00_0002, 2000, 0x0a00_0001, 80, 6, 0);
        FlowSummary { key, originator, tcp_flags: flags, payload, ..FlowSummary::default() }
    }

    #[test]
    fn only_who_got_the_answer_is_proven() {
        for (flags, payload, proof) in [
            ([SYN, 0], [0, 0], None),
            ([SYN, SYN | ACK], [0, 0], None),
            ([SYN | RST, SYN | ACK], [0, 0], None),
            ([SYN, RST | ACK], [0, 0], None),
            ([SYN | ACK, SYN | ACK], [0, 0], Some(Proof::Handshake)),
            ([SYN | ACK | RST, SYN | ACK], [0, 0], Some(Proof::Handshake)),
            ([SYN | ACK, SYN | ACK | RST], [9, 0], None),
            ([SYN | ACK | FIN, SYN | ACK | RST], [9, 9], Some(Proof::Payload)),
        ] {
            let spoken = Spoken::of(&flow(flags, payload));
            assert_eq!(spoken.map(|spoken| spoken.proof), proof, "{flags:?} {payload:?}");
            assert!(spoken.is_none_or(|spoken| spoken.originator == IpAddr::from([10, 0, 0, 2])));
        }
    }

    #[test]
    fn the_elder_are_forgotten_and_the_best_proof_counts() {
        let mut proven = Proven::default();
        let at = |number: u32| IpAddr::from(number.to_be_bytes());
        let spoken = |number, proof| Spoken {
            originator: at(number),
            responder: at(1),
            proof,
            first_seen: Timestamp(0),
            last_seen: Timestamp(0),
        };
        proven.learn(&spoken(7, Proof::Payload), Timestamp(SECOND));
        proven.learn(&spoken(7, Proof::Handshake), Timestamp(SECOND));
        assert_eq!(
            (proven.of(at(7)).proof, proven.of(at(1)).proof, proven.of(at(8)).proof),
            (Proof::Payload, Proof::Payload, Proof::None)
        );
        (100..200_100).for_each(|number| proven.learn(&spoken(number, Proof::Handshake), Timestamp(2 * SECOND)));
        assert_eq!((proven.of(at(7)).proof, proven.of(at(200_000)).proof), (Proof::None, Proof::Handshake));
        assert!(proven.young.len() <= GENERATION && proven.old.len() <= GENERATION + 1);
    }
}
