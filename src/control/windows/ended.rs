//! What a window keeps of a flow.

use super::Pair;
use crate::dataplane::decode::tcp_flags::{ACK, RST};
use crate::dataplane::flow::TcpState;
use crate::exchange::FlowSummary;
use crate::units::Timestamp;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// How a flow was met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Something came back that was no refusal.
    Answered,
    /// All that came back were RSTs, or an ICMP error.
    Refused,
    /// Nothing came back.
    Silent,
}

/// A flow that ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// The originator: who sent the first packet seen, as in a flow's own row.
    pub host: u128,
    /// The responder.
    pub peer: u128,
    pub protocol: u8,
    /// The responder's port, 0 of what has none.
    pub port: u16,
    pub start: Timestamp,
    pub end: Timestamp,
    /// Of its last packet; a flow that times out ends later.
    pub last: Timestamp,
    pub duration_us: u64,
    pub outcome: Outcome,
    pub packets: u64,
    /// Either side sent an RST.
    pub is_reset: bool,
    /// Bytes of originator and responder on the wire.
    pub wire: [u64; 2],
    /// Bytes of payload of originator and responder.
    pub payload: [u64; 2],
}

impl Ended {
    pub fn of(flow: &FlowSummary) -> Ended {
        let by_first = |[originator, responder]: [u64; 2]| {
            if flow.is_turned { [responder, originator] } else { [originator, responder] }
        };
        let originator = if flow.is_turned { flow.originator.flip() } else { flow.originator };
        let (host, peer) = flow.key.endpoints(originator);
        let protocol = flow.key.protocol();
        let [_, answer] = by_first(flow.tcp_flags.map(u64::from));
        let is_refusal = protocol != TCP || answer & !u64::from(RST | ACK) == 0;
        let outcome = match flow.state {
            TcpState::New => Outcome::Silent,
            TcpState::Closed if is_refusal => Outcome::Refused,
            _ => Outcome::Answered,
        };
        Ended {
            host: host.address,
            peer: peer.address,
            protocol,
            port: if matches!(protocol, TCP | UDP) { peer.port } else { 0 },
            start: flow.first_seen,
            end: flow.ended_at,
            last: flow.last_seen,
            duration_us: flow.last_seen.since(flow.first_seen) / 1000,
            outcome,
            packets: flow.packets.iter().sum(),
            is_reset: protocol == TCP && flow.tcp_flags.iter().any(|flags| flags & RST != 0),
            wire: by_first(flow.bytes),
            payload: by_first(flow.payload),
        }
    }

    pub fn pair(&self) -> Pair {
        Pair { host: self.host, peer: self.peer, port: self.port, protocol: self.protocol }
    }
}
