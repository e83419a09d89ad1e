//! The objects of a line that the schema names: tunnel, alert, flow, TCP, statistics.

use super::{category, rounded, signature_id};
use crate::control::alert::Alert;
use crate::dataplane::decode::tcp_flags;
use crate::dataplane::detect::{TunnelRef, has_ports, protocol_name};
use crate::dataplane::flow::{EndReason, TcpState};
use crate::exchange::FlowSummary;
use crate::units::SECOND;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Who speaks round the tunnel, as the schema has it. The kinds and ids of the tunnels are in our own object.
#[derive(Serialize)]
pub(super) struct TunnelPart {
    #[serde(skip_serializing_if = "Option::is_none")]
    src_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<Cow<'static, str>>,
    depth: usize,
}

impl TunnelPart {
    pub(super) fn new(tunnel: &TunnelRef) -> TunnelPart {
        let carrier = tunnel.carrier.as_ref();
        let ports = carrier.filter(|carrier| has_ports(carrier.protocol));
        TunnelPart {
            src_ip: carrier.map(|carrier| carrier.source),
            src_port: ports.map(|carrier| carrier.source_port),
            dest_ip: carrier.map(|carrier| carrier.destination),
            dest_port: ports.map(|carrier| carrier.destination_port),
            proto: carrier.map(|carrier| protocol_name(carrier.protocol)),
            depth: tunnel.levels.len(),
        }
    }
}

/// Link addresses, as the schema has them.
#[derive(Serialize)]
pub(super) struct EtherPart<'a> {
    pub(super) src_mac: &'a str,
}

#[derive(Serialize)]
pub(super) struct AlertPart<'a> {
    action: &'static str,
    gid: u8,
    signature_id: u64,
    rev: u8,
    signature: String,
    category: &'static str,
    severity: u8,
    /// Arrays of strings, as the schema's own metadata are.
    metadata: BTreeMap<&'a str, Vec<String>>,
}

impl AlertPart<'_> {
    pub(super) fn new(alert: &Alert) -> AlertPart<'_> {
        let evidence = &alert.evidence;
        let terms = evidence.terms.iter().map(|term| {
            let limit = term.threshold.map(|value| format!(" threshold {}", rounded(value))).unwrap_or_default();
            let usual = term.usual.map(|value| format!(" usual {}", rounded(value))).unwrap_or_default();
            format!("{} {}{}{limit}{usual}", term.name, term.precision(), rounded(term.value))
        });
        AlertPart {
            action: "allowed",
            gid: 1,
            signature_id: signature_id(evidence.detector, &evidence.kind),
            rev: 1,
            signature: format!("SHRIKE {} {}", evidence.detector.name(), evidence.kind),
            category: category(evidence.detector),
            severity: evidence.severity,
            metadata: [
                ("confidence", vec![rounded(evidence.confidence).to_string()]),
                ("first_seen", vec![alert.first_seen.to_eve()]),
                ("id", vec![alert.id.clone()]),
                ("occurrences", vec![alert.occurrences.to_string()]),
                ("summary", vec![evidence.summary.clone()]),
                ("terms", terms.collect()),
            ]
            .into_iter()
            .chain(evidence.technique.clone().map(|technique| ("mitre_technique_id", vec![technique])))
            .collect(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct FlowPart {
    pkts_toserver: u64,
    pkts_toclient: u64,
    bytes_toserver: u64,
    bytes_toclient: u64,
    start: String,
    end: String,
    age: u64,
    state: &'static str,
    reason: &'static str,
}

impl FlowPart {
    pub(super) fn new(summary: &FlowSummary) -> FlowPart {
        let [to_server, to_client] = summary.packets;
        let [bytes_toserver, bytes_toclient] = summary.bytes;
        FlowPart {
            pkts_toserver: to_server,
            pkts_toclient: to_client,
            bytes_toserver,
            bytes_toclient,
            start: summary.first_seen.to_eve(),
            end: summary.last_seen.to_eve(),
            // As Suricata counts it: between the two seconds, not of the whole span.
            age: (summary.last_seen.0 / SECOND).saturating_sub(summary.first_seen.0 / SECOND),
            state: match summary.state {
                TcpState::New => "new",
                TcpState::Answered | TcpState::Established | TcpState::Closing => "established",
                TcpState::Closed => "closed",
            },
            reason: match summary.ended {
                Some(EndReason::Closed | EndReason::Idle) => "timeout",
                Some(EndReason::EvictedHalfOpen | EndReason::EvictedEstablished) => "forced",
                Some(EndReason::Shutdown | EndReason::Cut) => "shutdown",
                None => "unknown",
            },
        }
    }
}

#[derive(Serialize)]
pub(super) struct TcpPart {
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    tcp_flags: String,
    tcp_flags_ts: String,
    tcp_flags_tc: String,
    #[serde(skip_serializing_if = "is_false")]
    syn: bool,
    #[serde(skip_serializing_if = "is_false")]
    fin: bool,
    #[serde(skip_serializing_if = "is_false")]
    rst: bool,
    #[serde(skip_serializing_if = "is_false")]
    psh: bool,
    #[serde(skip_serializing_if = "is_false")]
    ack: bool,
    #[serde(skip_serializing_if = "is_false")]
    urg: bool,
    #[serde(skip_serializing_if = "is_false")]
    ecn: bool,
    #[serde(skip_serializing_if = "is_false")]
    cwr: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl TcpPart {
    pub(super) fn new(summary: &FlowSummary) -> TcpPart {
        let [to_server, to_client] = summary.tcp_flags;
        let all = to_server | to_client;
        let has = |flag: u8| all & flag != 0;
        let fin_by_originator = to_server & tcp_flags::FIN != 0;
        TcpPart {
            state: match summary.state {
                TcpState::New if to_server & tcp_flags::SYN == 0 => None,
                TcpState::New => Some("syn_sent"),
                TcpState::Answered => Some("syn_recv"),
                TcpState::Established => Some("established"),
                TcpState::Closing => Some(if fin_by_originator { "close_wait" } else { "fin_wait1" }),
                TcpState::Closed => Some("closed"),
            },
            tcp_flags: format!("{all:02x}"),
            tcp_flags_ts: format!("{to_server:02x}"),
            tcp_flags_tc: format!("{to_client:02x}"),
            syn: has(tcp_flags::SYN),
            fin: has(tcp_flags::FIN),
            rst: has(tcp_flags::RST),
            psh: has(tcp_flags::PSH),
            ack: has(tcp_flags::ACK),
            urg: has(tcp_flags::URG),
            ecn: has(tcp_flags::ECE),
            cwr: has(tcp_flags::CWR),
        }
    }
}

#[derive(Serialize)]
pub(super) struct StatsPart {
    pub(super) uptime: u64,
    pub(super) capture: Capture,
    pub(super) decoder: Decoder,
    pub(super) flow: FlowTotal,
    pub(super) detect: AlertTotal,
}

#[derive(Serialize)]
pub(super) struct Capture {
    pub(super) kernel_packets: u64,
    pub(super) kernel_drops: u64,
}

#[derive(Serialize)]
pub(super) struct Decoder {
    pub(super) pkts: u64,
    pub(super) bytes: u64,
    pub(super) invalid: u64,
}

#[derive(Serialize)]
pub(super) struct FlowTotal {
    pub(super) total: u64,
    pub(super) active: u64,
}

#[derive(Serialize)]
pub(super) struct AlertTotal {
    pub(super) alert: u64,
}
