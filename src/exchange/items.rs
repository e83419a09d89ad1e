//! What goes up: findings, flows and events, each as one item of a queue's ring.

use super::CensusMark;
use crate::dataplane::decode::{
    Direction, FlowKey, Links, Neighbour, Outer, Stack, community_id, community_id_of_sides, flow_id, tcp_flags,
};
use crate::dataplane::detect::{ScoredFlow, SeenIn, WindowEntry};
use crate::dataplane::features::encrypted::{Losses, Shape};
use crate::dataplane::flow::{EndReason, Side, TcpState};
use crate::dataplane::inspect::{Protocol, Unread};
use crate::units::{QueueId, Timestamp};
use std::net::IpAddr;

/// One thing a queue tells the control plane. Order is kept within a queue.
#[derive(Clone, Copy, Debug)]
pub enum Up {
    /// Counts of one entity in one window.
    Window(WindowEntry),
    /// In which tunnel the entity of the window that follows was seen last.
    SeenIn(SeenIn),
    /// A score that reached the threshold.
    Score(ScoredFlow),
    /// A flow ended; sent while someone exports flows, and of those that were answered also while someone wants events.
    Flow(FlowSummary),
    /// A flow lives; sent in a census, between its two marks.
    Living(FlowSummary),
    /// How far a census is.
    Census(CensusMark),
    /// Inspection found something; its facts are [`Received::facts`](super::Received::facts).
    Event(EventHead),
    /// A host on the link said that it has an address; sent only while someone wants events, and not at every repeat.
    Neighbour(Timestamp, Neighbour),
    /// The originator of a connection gets what is sent to the address he writes. Sent at once.
    Proven(Timestamp, Proved),
    /// Counts have gone up as far as they were known at this moment of capture time, those of windows that are not over among them.
    /// Promises nothing of what is counted late; sent where nobody shall wait for a window's end.
    Looked(QueueId, Timestamp),
    /// Everything of this queue up to this moment of capture time has been sent.
    Watermark(QueueId, Timestamp),
    /// The queue's source has ended and everything has been sent.
    Ended(QueueId),
}

/// A connection of TCP whose originator acknowledged exactly the answer to his SYN, which crossed the pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proved {
    /// The originator.
    pub source: IpAddr,
    /// Whom he asked.
    pub destination: IpAddr,
    /// Number of this flow and of no other ([`flow_id`]).
    pub flow: u64,
    /// It was told before, and now its originator has ended it without having sent anything in it: connect scans do.
    pub is_probe: bool,
}

/// What a place of the ring holds until an item is written there; never received. Of all items one that takes two stores.
impl Default for Up {
    fn default() -> Up {
        Up::Ended(QueueId(0))
    }
}

/// What a flow came to, for EVE, `conn.log` and `/v1/flows`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowSummary {
    /// Canonical 5-tuple.
    pub key: FlowKey,
    /// Which way of the key the originator sends.
    pub originator: Direction,
    /// The originator did not send the first packet seen: what the flow carried tells that it asked.
    pub is_turned: bool,
    /// First packet.
    pub first_seen: Timestamp,
    /// Latest packet.
    pub last_seen: Timestamp,
    /// Packets from originator and responder.
    pub packets: [u64; 2],
    /// Layer-2 bytes from originator and responder.
    pub bytes: [u64; 2],
    /// Bytes of transport payload from originator and responder, what was sent twice counted twice.
    pub payload: [u64; 2],
    /// Payload of the responder after the first eight packets with payload of both, bytes: of SSH what it says after the key exchange.
    /// Too little by up to 15 for each of its packets among them.
    pub later_answer: u64,
    /// Of TCP: first window of originator and responder, bytes, unscaled, within an eighth; 0 where none was seen.
    pub first_windows: [u16; 2],
    /// Or of all TCP flags from originator and responder.
    pub tcp_flags: [u8; 2],
    /// Type and code of the first packet of originator and responder, where it is ICMP or ICMPv6 and they sent one.
    pub icmp: [Option<(u8, u8)>; 2],
    /// Of TCP: originator and responder have acknowledged without payload, as far as their first packets tell.
    pub acknowledged: [bool; 2],
    /// The first FIN or RST was the responder's.
    pub responder_closed_first: bool,
    /// The first payload was the responder's, as far as the first packets tell.
    pub responder_spoke_first: bool,
    /// Latest model score; 0 if it was never scored.
    pub score: f32,
    /// What it carried, as far as inspection told.
    pub application: Protocol,
    /// What it was before it turned into that (STARTTLS, an upgrade, a proxy's tunnel), the first of several; unknown: it did not.
    pub began_as: Protocol,
    /// How far its life has come.
    pub state: TcpState,
    /// Why it ended; `None` while it lives.
    pub ended: Option<EndReason>,
    /// Moment by which that was known (last packet plus time-out), however late it was noticed: what orders the flows of all
    /// queues. 0 while it lives.
    pub ended_at: Timestamp,
    /// What was round its first packet, where it is in a tunnel.
    pub outer: Option<Outer>,
    /// What its first packets looked like; `None` while it lives, or where that was not kept.
    pub shape: Option<Shape>,
    /// What of it was lost or repeated, as far as it was inspected; `None` where that was not kept.
    pub losses: Option<Losses>,
    /// Why inspection has not read it wholly, where it should have.
    pub unread: Unread,
    /// Whose SYNs it began with, originator and responder; told when it has ended.
    pub stacks: [Stack; 2],
    /// Under which link addresses it began, where it is TCP over Ethernet and that is remembered; told when it has ended.
    pub links: Option<Links>,
}

impl FlowSummary {
    /// Number of this flow and of no other.
    pub fn flow_id(&self) -> u64 {
        flow_id(&self.key, self.first_seen)
    }

    /// A SYN was answered: the responder's port is open.
    pub fn has_handshake(&self) -> bool {
        let both = tcp_flags::SYN | tcp_flags::ACK;
        self.key.protocol() == 6 && self.tcp_flags[1] & both == both
    }

    /// Both sides spoke, and it was no refusal.
    pub fn is_answered(&self) -> bool {
        let has_data = self.payload.iter().all(|bytes| *bytes > 0);
        match self.key.protocol() {
            6 => has_data || self.has_handshake(),
            17 => has_data,
            1 | 58 => self.packets.iter().all(|count| *count > 0),
            _ => false,
        }
    }

    /// Community ID; of ICMP by what the originator sent, or the responder where only he was seen.
    pub fn community_id(&self) -> String {
        community_id_of_sides(&self.key, self.originator, self.icmp)
    }
}

/// An event of [`inspect`](crate::dataplane::inspect) without its facts.
#[derive(Clone, Copy, Debug)]
pub struct EventHead {
    /// Capture time of the packet that completed it.
    pub time: Timestamp,
    /// Moment by which it was known: later than `time` where only the flow's end told that it was complete.
    pub told: Timestamp,
    /// Canonical 5-tuple.
    pub key: FlowKey,
    /// Which way of the key the originator sends.
    pub originator: Direction,
    /// Who says it, or sent what is odd; of a request with its answer who asked.
    pub sender: Side,
    /// When the flow began; `None`: it is about a packet without one.
    pub first_seen: Option<Timestamp>,
    /// What the flow is.
    pub protocol: Protocol,
    /// An anomaly by protocol and number; `None`: the facts are an event.
    pub anomaly: Option<(Protocol, u8)>,
    /// A fact was cut or left out.
    pub truncated: bool,
    /// Bytes of the facts.
    pub bytes: u16,
    /// Type and code of what the originator sends, where it is ICMP or ICMPv6 and that is known: not of fragments.
    pub icmp: Option<(u8, u8)>,
    /// What was round the flow's first packet, where it is in a tunnel.
    pub outer: Option<Outer>,
    /// A proxy passes it on (HTTP `CONNECT`, SOCKS): who answers is not the flow's responder.
    pub through_proxy: bool,
}

impl EventHead {
    /// Number of its flow; `None` of a packet without one.
    pub fn flow_id(&self) -> Option<u64> {
        self.first_seen.map(|first_seen| flow_id(&self.key, first_seen))
    }

    /// Community ID of its flow; `None` of a fragment of ICMP, of which the type is not known.
    pub fn community_id(&self) -> Option<String> {
        let is_known = self.icmp.is_some() || !matches!(self.key.protocol(), 1 | 58);
        is_known.then(|| community_id(&self.key, self.originator, self.icmp))
    }
}
