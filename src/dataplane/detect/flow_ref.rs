//! A flow as evidence names it.

use crate::dataplane::decode::{Direction, FlowKey, Outer, community_id_of_sides, flow_id};
use crate::dataplane::inspect::Protocol;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::net::IpAddr;

/// A flow as evidence names it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FlowRef {
    /// Originator.
    pub source: IpAddr,
    /// Originator's port.
    pub source_port: u16,
    /// Responder.
    pub destination: IpAddr,
    /// Responder's port.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Number of this flow and of no other, as in events and `/v1/flows`; absent in what was stored before there was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flow_id: Option<u64>,
    /// Community ID v1.
    pub community_id: String,
    /// VLAN ids, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub vlans: Vec<u16>,
    /// The tunnel it is in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tunnel: Option<TunnelRef>,
    /// What it carried, as far as its content had told by then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub application: Option<String>,
    /// One of several that the evidence is about: of a scan, of guesses, of a flood.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub is_example: bool,
}

/// What names a flow beside its addresses, for where those are known anyhow. The larger of two is the one that began earlier: so
/// the ones that follow cost a comparison each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct FlowMark {
    /// When it began.
    pub first_seen: Reverse<Timestamp>,
    /// [`FlowKey::rest`].
    pub rest: u64,
    /// Which way of the key the originator sends.
    pub originator: Direction,
    /// Type and code of the first packet of originator and responder, where it is ICMP or ICMPv6 and they sent one.
    pub icmp: [Option<(u8, u8)>; 2],
    /// What it carries, where that was known.
    pub application: Protocol,
}

impl FlowMark {
    /// The flow between these two, as one of several that evidence is about; `None` where nothing was marked.
    pub(super) fn example(&self, addresses: (u128, u128)) -> Option<FlowRef> {
        if *self == FlowMark::default() {
            return None;
        }
        let key = FlowKey::between(addresses, self.rest);
        let flow = FlowRef::new(&key, (self.originator, self.first_seen.0), None, self.icmp);
        Some(FlowRef { is_example: true, ..flow.carrying(self.application) })
    }
}

/// What is round a flow in a tunnel, as its first packet had it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TunnelRef {
    /// The tunnels, outermost first.
    pub levels: Vec<TunnelLevel>,
    /// Sender and receiver of the outermost IP packet that carries one; absent where none does (MPLS, PPPoE).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub carrier: Option<Carrier>,
    /// Number that tells the tunnel's network from others of its kind; absent where the kind has none (MPLS).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub identity: Option<u32>,
}

/// One tunnel.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TunnelLevel {
    /// `vxlan`, `gre`, ...
    pub kind: String,
    /// VNI, key, session, TEID, first label, service, path, channel; 0 where the kind has none.
    pub id: u32,
}

/// Who speaks round a tunnel.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Carrier {
    /// Sender.
    pub source: IpAddr,
    /// Sender's port; 0 where the protocol has none.
    pub source_port: u16,
    /// Receiver.
    pub destination: IpAddr,
    /// Receiver's port.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

impl FlowRef {
    /// The flow of a key that began at a moment and whose originator sends `originator`, with what was round its first
    /// packet, and of ICMP type and code of what originator and responder sent first.
    pub fn new(
        key: &FlowKey,
        (originator, first_seen): (Direction, Timestamp),
        outer: Option<&Outer>,
        icmp: [Option<(u8, u8)>; 2],
    ) -> FlowRef {
        let (source, destination) = key.endpoints(originator);
        FlowRef {
            source: source.ip(),
            source_port: source.port,
            destination: destination.ip(),
            destination_port: destination.port,
            protocol: key.protocol(),
            flow_id: Some(flow_id(key, first_seen)),
            community_id: community_id_of_sides(key, originator, icmp),
            vlans: vlans(key, outer),
            tunnel: outer.map(|outer| TunnelRef::new(key, outer)),
            application: None,
            is_example: false,
        }
    }

    /// With what it carries, if that is known.
    pub(super) fn carrying(self, application: Protocol) -> FlowRef {
        let known = application != Protocol::Unknown;
        FlowRef { application: known.then(|| application.name().to_owned()), ..self }
    }
}

impl TunnelRef {
    /// What is round the flow of a key.
    pub fn new(key: &FlowKey, outer: &Outer) -> TunnelRef {
        let level =
            |(kind, id): (crate::dataplane::decode::Tunnel, u32)| TunnelLevel { kind: kind.name().to_owned(), id };
        let carrier = outer.carrier().map(|(source, destination, protocol)| Carrier {
            source: source.ip(),
            source_port: source.port,
            destination: destination.ip(),
            destination_port: destination.port,
            protocol,
        });
        TunnelRef { levels: outer.levels().map(level).collect(), carrier, identity: key.tunnel_identity() }
    }
}

impl std::fmt::Display for TunnelRef {
    /// `vxlan 42 (192.0.2.1 to 192.0.2.2)`, outermost first.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, level) in self.levels.iter().enumerate() {
            write!(formatter, "{}{} {}", if at == 0 { "" } else { ", " }, level.kind, level.id)?;
        }
        let Some(carrier) = &self.carrier else { return Ok(()) };
        write!(formatter, " ({} to {})", carrier.source, carrier.destination)
    }
}

/// VLAN ids of a flow, outermost first; of one in a tunnel the frames' and those in the tunnel.
pub fn vlans(key: &FlowKey, outer: Option<&Outer>) -> Vec<u16> {
    let (first, second) = key.vlans();
    match outer {
        Some(outer) => outer.vlans().collect(),
        None => [first, second].into_iter().filter(|id| *id != 0).collect(),
    }
}
