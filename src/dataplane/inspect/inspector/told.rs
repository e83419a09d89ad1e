//! What inspection tells: events, and what more of a flow it wants.

use super::super::protocol::Protocol;
use crate::dataplane::decode::{Direction, FlowKey};
use crate::dataplane::flow::Side;
use crate::units::Timestamp;

/// What more of a flow is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wants {
    /// Payload of originator and responder.
    pub payload: [bool; 2],
    /// Acknowledgements without payload too, of both.
    pub acks: bool,
}

impl Wants {
    /// Nothing: its state is released.
    pub const NOTHING: Wants = Wants { payload: [false; 2], acks: false };
    /// Every payload.
    pub const PAYLOAD: Wants = Wants { payload: [true; 2], acks: false };
}

/// Something to tell about a flow.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Capture time of the packet that completed it.
    pub time: Timestamp,
    /// The flow.
    pub key: FlowKey,
    /// Which way of the key the originator sends.
    pub originator: Direction,
    /// Who says it, or sent what is odd; of a request with its answer who asked.
    pub sender: Side,
    /// When the flow began; `None`: told of a packet without one.
    pub first_seen: Option<Timestamp>,
    /// What the flow is.
    pub protocol: Protocol,
    /// An anomaly by protocol and number; `None`: the facts are an event.
    pub anomaly: Option<(Protocol, u8)>,
    /// A list of facts ([`Facts::as_bytes`](super::super::facts::Facts::as_bytes)).
    pub facts: &'a [u8],
    /// A fact was cut or left out.
    pub truncated: bool,
    /// Type and code of the packet, where it is ICMP or ICMPv6 and no fragment.
    pub icmp: Option<(u8, u8)>,
    /// It is of what a proxy passes on, as the flow asked it to (HTTP `CONNECT`, SOCKS).
    pub through_proxy: bool,
}

/// Where events go.
pub trait Sink {
    /// Takes one; never waits for anybody but a reader of a capture file.
    fn event(&mut self, event: &Event<'_>);
}
