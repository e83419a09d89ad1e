//! What inspection is shown of a packet.

use super::super::servers;
use crate::dataplane::decode::{Direction, FlowKey};
use crate::dataplane::flow::Side;
use crate::units::Timestamp;

/// Payload of one packet.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// The flow's slot in its table.
    pub slot: u32,
    /// Its key.
    pub key: &'a FlowKey,
    /// Which way of the key the originator sends.
    pub originator: Direction,
    /// When the flow began.
    pub first_seen: Timestamp,
    /// Who sent this.
    pub side: Side,
    /// What TCP says of it; `None` for datagrams.
    pub tcp: Option<Segment<'a>>,
    /// What was captured of it; empty in a pure acknowledgement.
    pub bytes: &'a [u8],
    /// What lies before it in the frame: the headers, of what came in fragments the last one alone; empty where they are not to
    /// be looked at.
    pub before: &'a [u8],
    /// The capture cut it.
    pub is_cut: bool,
    /// Capture time.
    pub time: Timestamp,
}

impl<'a> Payload<'a> {
    /// Of a flow's first payload: does no SYN tell who its originator is?
    pub(super) fn is_in_midst(&self) -> bool {
        self.tcp.is_some_and(|tcp| !tcp.is_syn && tcp.beginnings == [None; 2])
    }

    /// Do the ports tell that its originator is the server?
    pub(super) fn has_servers_port(&self) -> bool {
        let (originator, responder) = self.key.endpoints(self.originator);
        servers::has_port(originator.port, responder.port)
    }

    /// The same seen with the roles exchanged.
    pub(super) fn turned(self) -> Payload<'a> {
        Payload { originator: self.originator.flip(), side: self.side.other(), ..self }
    }
}

/// What TCP says of a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment<'a> {
    /// The header, options included; empty where it is not to be looked at.
    pub header: &'a [u8],
    /// It came in fragments.
    pub is_joined: bool,
    /// Sequence number of its first byte; that of a SYN itself comes before.
    pub sequence: u32,
    /// Acknowledgement number, if its flag is set.
    pub acknowledgement: Option<u32>,
    /// It opens its side.
    pub is_syn: bool,
    /// The urgent pointer counts.
    pub is_urgent: bool,
    /// Numbers of the first bytes of originator and responder as their SYNs said; asked for with a flow's first payload.
    pub beginnings: [Option<u32>; 2],
}
