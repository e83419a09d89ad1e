//! A flow as `/v1/flows` tells it.

use super::KeptFlow;
use crate::control::export::{conn_state, uid};
use crate::control::view::state_name;
use crate::dataplane::detect::{has_ports, protocol_name};
use crate::dataplane::flow::EndReason;
use crate::dataplane::inspect::Protocol;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One flow; pairs are of originator and responder.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FlowRow {
    /// Identifier of this flow, as in `conn.log`.
    pub uid: String,
    /// Number of this flow, as `flow_id` in events.
    #[serde(default)]
    pub flow_id: u64,
    /// Community ID of its 5-tuple.
    pub community_id: String,
    /// Originator.
    pub source: IpAddr,
    /// Originator's port, where the protocol has ports.
    pub source_port: Option<u16>,
    /// Responder.
    pub destination: IpAddr,
    /// Responder's port, where the protocol has ports.
    pub destination_port: Option<u16>,
    /// IP protocol number.
    pub protocol: u8,
    /// Its name.
    pub transport: String,
    /// What it carried, as far as content told.
    pub application: Option<String>,
    /// What it was before it turned into that (`smtp` before STARTTLS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_as: Option<String>,
    /// VLAN ids, outer first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vlans: Vec<u16>,
    /// First packet.
    #[serde(with = "crate::units::rfc3339")]
    pub first_seen: Timestamp,
    /// Latest packet.
    #[serde(with = "crate::units::rfc3339")]
    pub last_seen: Timestamp,
    /// Packets.
    pub packets: [u64; 2],
    /// Layer-2 bytes.
    pub bytes: [u64; 2],
    /// Bytes of transport payload.
    pub payload_bytes: [u64; 2],
    /// TCP flags of all packets together, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_flags: Option<[String; 2]>,
    /// `new`, `answered`, `established`, `closing` or `closed`.
    pub state: String,
    /// The same in Zeek's words (`SF`, `S0`, `REJ`, ...).
    pub conn_state: String,
    /// Why it ended; null while it lives.
    pub ended: Option<String>,
    /// Latest model score, where it was scored.
    pub score: Option<f32>,
    /// An alert is about it.
    pub alerted: bool,
    /// Why inspection has not read it wholly, where it should have; as in `ml.unread` of events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

impl From<&KeptFlow> for FlowRow {
    fn from(KeptFlow { flow, alerted }: &KeptFlow) -> FlowRow {
        let (from, to) = flow.key.endpoints(flow.originator);
        let protocol = flow.key.protocol();
        let ports = has_ports(protocol);
        let (outer, inner) = flow.key.vlans();
        FlowRow {
            uid: uid(flow),
            flow_id: flow.flow_id(),
            community_id: flow.community_id(),
            source: from.ip(),
            source_port: ports.then_some(from.port),
            destination: to.ip(),
            destination_port: ports.then_some(to.port),
            protocol,
            transport: protocol_name(protocol).to_lowercase(),
            application: (flow.application != Protocol::Unknown).then(|| flow.application.name().into()),
            began_as: (flow.began_as != Protocol::Unknown).then(|| flow.began_as.name().into()),
            vlans: [outer, inner].into_iter().filter(|tag| *tag != 0).collect(),
            first_seen: flow.first_seen,
            last_seen: flow.last_seen,
            packets: flow.packets,
            bytes: flow.bytes,
            payload_bytes: flow.payload,
            tcp_flags: (protocol == 6).then(|| flow.tcp_flags.map(|flags| format!("{flags:02x}"))),
            state: state_name(flow.state).into(),
            conn_state: conn_state(flow).into(),
            ended: flow.ended.map(|reason| ended_name(reason).into()),
            score: (flow.score > 0.0).then_some(flow.score),
            alerted: *alerted,
            unread: flow.unread.iter().map(|cause| cause.name().into()).collect(),
        }
    }
}

fn ended_name(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Closed => "closed",
        EndReason::Idle => "idle",
        EndReason::EvictedHalfOpen => "evicted_half_open",
        EndReason::EvictedEstablished => "evicted_established",
        EndReason::Shutdown | EndReason::Cut => "shutdown",
    }
}
