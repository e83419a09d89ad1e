//! A flow as evidence names it.

use crate::dataplane::decode::{Direction, FlowKey, Outer, community_id, flow_id};
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};
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
    /// packet, and of ICMP its type and code.
    pub fn new(
        key: &FlowKey,
        (originator, first_seen): (Direction, Timestamp),
        outer: Option<&Outer>,
        icmp: Option<(u8, u8)>,
    ) -> FlowRef {
        let (source, destination) = key.endpoints(originator);
        FlowRef {
            source: source.ip(),
            source_port: source.port,
            destination: destination.ip(),
            destination_port: destination.port,
            protocol: key.protocol(),
            flow_id: Some(flow_id(key, first_seen)),
            community_id: community_id(key, originator, icmp),
            vlans: vlans(key, outer),
            tunnel: outer.map(|outer| TunnelRef::new(key, outer)),
        }
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
