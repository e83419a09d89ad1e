//! EVE JSON as Suricata writes it: `alert`, `flow` and `stats` events, one object a line.
//!
//! Strict consumers find what the published schema allows and one extra top-level object, `ml`, to delete. Times are the
//! capture's, so the same capture gives the same lines.

mod icmp;
mod ml;
mod parts;
mod shape;

use self::icmp::IcmpPart;
use self::ml::Ml;
use self::parts::{
    AlertPart, AlertTotal, Capture, Decoder, EtherPart, FlowPart, FlowTotal, StatsPart, TcpPart, TunnelPart,
};
use super::application::{AppEvent, render};
use super::one_line::OneLine;
use super::statistics::Statistics;
use crate::control::alert::Alert;
use crate::dataplane::decode::{Direction, FlowKey, Outer};
use crate::dataplane::detect::{Detector, TunnelRef, arp, has_ports, protocol_name, vlans};
use crate::dataplane::flow::Side;
use crate::dataplane::inspect::Protocol;
use crate::exchange::FlowSummary;
use crate::units::Timestamp;
use serde::Serialize;
use serde_json::Serializer;
use std::borrow::Cow;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex, PoisonError};

/// First signature id; Suricata leaves those from 9,000,000 on to others.
const SIGNATURE_BASE: u64 = 9_000_000;
/// Signature ids in use behind [`SIGNATURE_BASE`].
const SIGNATURES: u64 = 900_000;

/// The model whose scores stand in the events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelName {
    /// Name in the manifest.
    pub name: String,
    /// Version in the manifest.
    pub version: String,
}

/// The same while it may change; those who write look at each line.
#[derive(Clone, Debug, Default)]
pub struct SharedName(Arc<(AtomicU64, Mutex<Option<ModelName>>)>);

impl SharedName {
    /// Of the model that scores now.
    pub fn new(name: Option<ModelName>) -> SharedName {
        SharedName(Arc::new((AtomicU64::new(1), Mutex::new(name))))
    }

    /// Another one scores from here on.
    pub fn set(&self, name: Option<ModelName>) {
        *self.0.1.lock().unwrap_or_else(PoisonError::into_inner) = name;
        self.0.0.fetch_add(1, Release);
    }

    /// What it is, where it changed since `seen`.
    fn changed(&self, seen: &mut u64) -> Option<Option<ModelName>> {
        let present = self.0.0.load(Acquire);
        let is_other = std::mem::replace(seen, present) != present;
        is_other.then(|| self.0.1.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Writes events to anything that takes bytes; gives errors of the writer back unchanged.
pub struct EveWriter<W: Write> {
    out: Lines<W>,
    model: Option<ModelName>,
    /// Where it changes, and what was seen of that.
    named: Option<(SharedName, u64)>,
    /// Where what comes was seen.
    interface: Option<Arc<str>>,
}

/// Writes one line after the other, each in one piece: a full disk has it whole or not at all.
struct Lines<W> {
    out: W,
    written: u64,
    /// Memory of the line that is being made.
    line: Vec<u8>,
}

impl<W: Write> Lines<W> {
    fn write(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.line.clear();
        event.serialize(&mut Serializer::with_formatter(&mut self.line, OneLine)).map_err(io::Error::from)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)?;
        self.written += 1;
        Ok(())
    }
}

impl<W: Write> EveWriter<W> {
    /// `model`: whose scores they are, where a model is loaded. Give a buffered writer.
    pub fn new(out: W, model: Option<ModelName>) -> EveWriter<W> {
        EveWriter { out: Lines { out, written: 0, line: Vec::new() }, model, named: None, interface: None }
    }

    /// Scores are whose name stands there, from the next line on.
    pub fn follow(&mut self, named: SharedName) {
        self.named = Some((named, 0));
    }

    fn look_for_name(&mut self) {
        if let Some(changed) = self.named.as_mut().and_then(|(named, seen)| named.changed(seen)) {
            self.model = changed;
        }
    }

    /// From here on, flows and events were seen on this interface.
    pub fn set_interface(&mut self, interface: &Arc<str>) {
        if self.interface.as_ref() != Some(interface) {
            self.interface = Some(Arc::clone(interface));
        }
    }

    /// What it writes to.
    pub fn get_ref(&self) -> &W {
        &self.out.out
    }

    /// The same, to be changed between two lines.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out.out
    }

    /// Lines written.
    pub fn lines(&self) -> u64 {
        self.out.written
    }

    /// One `alert` event.
    ///
    /// # Errors
    /// The writer's.
    pub fn alert(&mut self, alert: &Alert) -> io::Result<()> {
        self.look_for_name();
        let evidence = &alert.evidence;
        let flow = evidence.flow.as_ref();
        // Who is accused is not known: whoever had a part in one of the flows that it is about must not stand as the source.
        let ends = flow.filter(|flow| !flow.is_example || evidence.source.is_some());
        let service = evidence.port.map(u64::from);
        let tunnel = flow.and_then(|flow| flow.tunnel.as_ref()).or(evidence.tunnel.as_ref());
        let ml = (evidence.detector == Detector::Model).then(|| Ml::of_evidence(evidence, self.model.as_ref()));
        let ml = match flow.is_some_and(|flow| flow.is_example) {
            true => Some(Ml { example_flow: Some(true), ..ml.unwrap_or_default() }),
            false => ml,
        };
        let event = Event {
            timestamp: evidence.time.to_eve(),
            flow_id: flow.and_then(|flow| flow.flow_id),
            vlan: flow.map(|flow| flow.vlans.clone()).filter(|vlans| !vlans.is_empty()),
            event_type: "alert",
            src_ip: ends.map(|flow| flow.source).or(evidence.source),
            src_port: ends.filter(|flow| has_ports(flow.protocol)).map(|flow| flow.source_port.into()),
            dest_ip: ends.map(|flow| flow.destination).or(evidence.target),
            dest_port: match ends {
                Some(flow) => has_ports(flow.protocol).then_some(flow.destination_port.into()),
                None => service,
            },
            proto: match ends.map(|flow| flow.protocol).or(evidence.protocol) {
                None if evidence.kind == arp::KIND || evidence.kind.starts_with("arp_") => Some("ARP".into()),
                protocol => protocol.map(protocol_name),
            },
            ether: evidence.source_mac.as_deref().map(|src_mac| EtherPart { src_mac }),
            community_id: flow.map(|flow| flow.community_id.as_str()),
            app_proto: ends.and_then(|flow| flow.application.as_deref()),
            alert: Some(AlertPart::new(alert)),
            tunnel: tunnel.map(TunnelPart::new),
            ml: Ml::with_tunnel(ml, tunnel),
            ..Event::default()
        };
        self.out.write(&event)
    }

    /// One `flow` event; its time is that of the flow's last packet.
    ///
    /// # Errors
    /// The writer's.
    pub fn flow(&mut self, summary: &FlowSummary) -> io::Result<()> {
        self.look_for_name();
        let community = summary.community_id();
        let protocol = summary.key.protocol();
        let tunnel = summary.outer.map(|outer| TunnelRef::new(&summary.key, &outer));
        let event = Event {
            in_iface: self.interface.as_deref(),
            event_type: "flow",
            app_proto: Some(summary.application.name()).filter(|_| summary.application != Protocol::Unknown),
            app_proto_orig: Some(summary.began_as.name()).filter(|_| summary.began_as != Protocol::Unknown),
            flow: Some(FlowPart::new(summary)),
            tcp: (protocol == 6).then(|| TcpPart::new(summary)),
            icmp: IcmpPart::new(summary.icmp),
            tunnel: tunnel.as_ref().map(TunnelPart::new),
            ml: Ml::with_tunnel(Ml::of_flow(summary, self.model.as_ref()), tunnel.as_ref()),
            ..Event::of_flow(
                summary.last_seen,
                &summary.key,
                summary.originator,
                summary.outer.as_ref(),
                (Some(summary.flow_id()), Some(&community)),
            )
        };
        self.out.write(&event)
    }

    /// One event of an application protocol, or an anomaly in one.
    ///
    /// # Errors
    /// The writer's.
    pub fn application(&mut self, event: &AppEvent) -> io::Result<()> {
        let (rendered, head) = (render(event), &event.head);
        let community = head.community_id();
        let truncated = head.truncated.then_some(true);
        let ml = (truncated.is_some() || !rendered.extra.is_empty()).then(|| Ml {
            facts: rendered.extra,
            truncated,
            ..Ml::default()
        });
        let sender = match head.sender {
            Side::Originator => head.originator,
            Side::Responder => head.originator.flip(),
        };
        let tunnel = head.outer.map(|outer| TunnelRef::new(&head.key, &outer));
        let ids = (head.flow_id(), community.as_deref());
        let line = Event {
            in_iface: self.interface.as_deref(),
            event_type: rendered.event_type,
            app_proto: Some(head.protocol.name()).filter(|_| head.protocol != Protocol::Unknown),
            objects: rendered.objects,
            tunnel: tunnel.as_ref().map(TunnelPart::new),
            ml: Ml::with_tunnel(ml, tunnel.as_ref()),
            ..Event::of_flow(head.time, &head.key, sender, head.outer.as_ref(), ids)
        };
        self.out.write(&line)
    }

    /// One `stats` event.
    ///
    /// # Errors
    /// The writer's.
    pub fn stats(&mut self, statistics: &Statistics) -> io::Result<()> {
        let Statistics { packets, bytes, invalid, lost, flows, active, alerts, .. } = *statistics;
        let stats = StatsPart {
            uptime: statistics.uptime_seconds,
            capture: Capture { kernel_packets: packets.saturating_add(lost), kernel_drops: lost },
            decoder: Decoder { pkts: packets, bytes, invalid },
            flow: FlowTotal { total: flows, active },
            detect: AlertTotal { alert: alerts },
        };
        let counters = statistics.counters.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.out.write(&Event {
            timestamp: statistics.time.to_eve(),
            event_type: "stats",
            stats: Some(stats),
            ml: (!statistics.counters.is_empty()).then(|| Ml { counters, ..Ml::default() }),
            ..Event::default()
        })
    }

    /// Hands everything written so far on.
    ///
    /// # Errors
    /// The writer's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.out.flush()
    }

    /// Ends the writing.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.out.flush()?;
        Ok(self.out.out)
    }
}

/// Signature id of what a detector calls a kind: stable over versions, because made of the names alone (FNV-1a).
pub fn signature_id(detector: Detector, kind: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in detector.name().bytes().chain([b'/']).chain(kind.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    SIGNATURE_BASE + hash % SIGNATURES
}

/// What Suricata's classification.config calls such things.
fn category(detector: Detector) -> &'static str {
    match detector {
        Detector::Scan => "Detection of a Network Scan",
        Detector::BruteForce => "Attempted User Privilege Gain",
        Detector::Flood => "Detection of a Denial of Service Attack",
        Detector::Model => "Potentially Bad Traffic",
        Detector::DnsTunnel => "A Network Trojan was detected",
        Detector::Dga => "A Network Trojan was detected",
        Detector::Beacon => "A Network Trojan was detected",
        Detector::Mining => "Crypto Currency Mining Activity Detected",
        Detector::Cleartext => "Potential Corporate Privacy Violation",
        Detector::Exfiltration => "Potential Corporate Privacy Violation",
        Detector::Intel => "A Network Trojan was detected",
        Detector::Spoofing => "Potentially Bad Traffic",
        Detector::Lateral => "Attempted Administrator Privilege Gain",
        Detector::TlsAnomaly => "Potentially Bad Traffic",
        Detector::SlowHttp => "Attempted Denial of Service",
        Detector::WebAttack => "Web Application Attack",
        Detector::OddFlow => "Potentially Bad Traffic",
        Detector::Amplification => "Detection of a Denial of Service Attack",
        Detector::IcmpTunnel | Detector::DohTunnel => "A Network Trojan was detected",
        Detector::Growth => "Potentially Bad Traffic",
    }
}

/// Six digits are more than a score means, and the same text whatever the last bits of a batch are.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[derive(Serialize, Default)]
struct Event<'a> {
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<&'a str>,
    event_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<Vec<u16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_port: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_v: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    community_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ether: Option<EtherPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto_orig: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<AlertPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<FlowPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpPart>,
    #[serde(flatten)]
    icmp: IcmpPart,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<StatsPart>,
    /// Objects of application protocols.
    #[serde(flatten)]
    objects: serde_json::Map<String, serde_json::Value>,
    #[serde(skip_serializing_if = "Ml::says_nothing")]
    ml: Option<Ml<'a>>,
}

impl<'a> Event<'a> {
    /// What every event about a flow, or about a packet with addresses, says.
    fn of_flow(
        time: Timestamp,
        key: &FlowKey,
        originator: Direction,
        outer: Option<&Outer>,
        (flow_id, community): (Option<u64>, Option<&'a str>),
    ) -> Event<'a> {
        let vlans = vlans(key, outer);
        let (source, destination) = key.endpoints(originator);
        let protocol = key.protocol();
        let ports = has_ports(protocol);
        Event {
            timestamp: time.to_eve(),
            flow_id,
            vlan: (!vlans.is_empty()).then_some(vlans),
            src_ip: Some(source.ip()),
            src_port: ports.then_some(source.port.into()),
            dest_ip: Some(destination.ip()),
            dest_port: ports.then_some(destination.port.into()),
            proto: Some(protocol_name(protocol)),
            ip_v: Some(if key.is_v4() { 4 } else { 6 }),
            community_id: community,
            ..Event::default()
        }
    }
}

#[cfg(test)]
mod tests;
