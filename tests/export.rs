//! What leaves for other tools, held against their own definitions: Community IDs against the specification's baseline, EVE
//! lines against Suricata's published schema.

#[path = "support/eve.rs"]
mod eve;
mod support;

use eve::{Schema, is_eve_time};
use serde::Deserialize;
use serde_json::{Value, json};
use shrike::control::alert::Alert;
use shrike::control::export::{AppEvent, EveWriter, ModelName, Statistics, community_id};
use shrike::dataplane::capture::pcap::{PcapSource, Speed};
use shrike::dataplane::capture::{LinkType, Source};
use shrike::dataplane::decode::{
    Decoded, Direction, FlowKey, Layers, Outer, Packet, community_id_of, decode, decode_rest,
};
use shrike::dataplane::detect::{Detector, Evidence, FlowRef, Term};
use shrike::dataplane::features::encrypted::Shape;
use shrike::dataplane::flow::{EndReason, Side, TcpState};
use shrike::dataplane::inspect::Protocol;
use shrike::exchange::{EventHead, FlowSummary};
use shrike::units::{SECOND, Timestamp};
use std::collections::BTreeSet;
use std::net::IpAddr;

#[derive(Deserialize)]
struct Baseline {
    proto: u8,
    saddr: IpAddr,
    daddr: IpAddr,
    sport: Option<u16>,
    dport: Option<u16>,
    communityid: String,
}

type Row = (u8, IpAddr, IpAddr, Option<u16>, Option<u16>, String);

/// A datagram in GRE with a key between two other hosts, behind a VLAN tag, and one in a session under a label.
const CARRIED: &[u8] = &[
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 0, 5, 8, 0, 0x45, 0, 0, 56, 0, 0, 0, 0, 64, 47, 0, 0, 192, 0, 2, 1,
    192, 0, 2, 2, 0x20, 0, 8, 0, 0, 0, 0, 7, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 9,
    0, 53, 0, 8, 0, 0,
];
const LABELLED: &[u8] = &[
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0x47, 0, 1, 0x21, 64, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0,
    1, 10, 0, 0, 2, 0, 9, 0, 53, 0, 8, 0, 0,
];

/// Key and surroundings of the flow in a frame.
fn tunnelled(frame: &[u8]) -> (FlowKey, Outer) {
    let (mut packet, mut layers) = (Packet::default(), Layers::new(true));
    assert_eq!(decode_rest(frame, 0, LinkType::Ethernet, &mut packet, &mut layers), Decoded::Flow);
    assert!(layers.outer.depth() > 0);
    (packet.key, layers.outer)
}

/// A flow in a tunnel tells who speaks round it, in which networks; its number differs from that of the same hosts elsewhere.
#[test]
fn tunnels_stand_in_events() {
    let mut numbers = std::collections::HashSet::new();
    for (frame, tunnel, tunnels, vlans) in [
        (
            CARRIED,
            json!({"src_ip": "192.0.2.1", "dest_ip": "192.0.2.2", "proto": "GRE", "depth": 1}),
            json!([{"kind": "gre", "id": 7}]),
            json!([5]),
        ),
        (LABELLED, json!({"depth": 1}), json!([{"kind": "mpls", "id": 18}]), json!(null)),
    ] {
        let (key, outer) = tunnelled(frame);
        let head = EventHead {
            time: Timestamp(SECOND),
            told: Timestamp(SECOND),
            key,
            originator: Direction::Forward,
            sender: Side::Originator,
            first_seen: Some(Timestamp(SECOND)),
            protocol: Protocol::Dns,
            anomaly: None,
            truncated: false,
            bytes: 0,
            icmp: None,
            outer: Some(outer),
            through_proxy: false,
        };
        let mut writer = EveWriter::new(Vec::new(), None);
        writer.application(&AppEvent { head, facts: [].into() }).unwrap();
        let line: serde_json::Value = serde_json::from_slice(&writer.finish().unwrap()).unwrap();
        assert_eq!((&line["tunnel"], &line["ml"]["tunnels"], &line["vlan"]), (&tunnel, &tunnels, &vlans), "{line}");
        assert_eq!((&line["src_ip"], &line["dest_port"]), (&json!("10.0.0.1"), &json!(53)));
        assert!(numbers.insert(line["flow_id"].as_u64()));
    }
}

#[test]
fn every_packet_of_the_specifications_captures_has_its_id() {
    let Some(data) = support::shared_data("community_id") else { return };
    let folder = data.join("conformance/community_id/corelight+community-id-spec");
    let text = std::fs::read_to_string(folder.join("baseline/baseline_deflt.json")).unwrap();
    let baseline: Vec<Baseline> = serde_json::from_str(&text).unwrap();
    let icmp = |proto: u8| proto == 1 || proto == 58;
    let expected: BTreeSet<Row> = baseline
        .into_iter()
        .map(|row| {
            // The baseline gives an ICMP packet's type and counterpart where others have ports; ours are the id's affair.
            let ports = if icmp(row.proto) { (None, None) } else { (row.sport, row.dport) };
            (row.proto, row.saddr, row.daddr, ports.0, ports.1, row.communityid)
        })
        .collect();
    let mut source = PcapSource::open(&[folder.join("pcaps/combined.pcap.gz")], Speed::Max).unwrap();
    let mut seen = BTreeSet::new();
    loop {
        let burst = source.receive(64);
        for index in 0..burst.count {
            let mut packet = Packet::default();
            if decode(source.frame(index), &mut packet) != Decoded::Flow {
                continue;
            }
            let (from, to) = packet.key.endpoints(packet.direction);
            let proto = packet.key.protocol();
            let id = community_id_of(from, to, proto, icmp(proto).then_some((packet.icmp_type, packet.icmp_code)));
            let has_ports = matches!(proto, 6 | 17 | 132);
            seen.insert((proto, from.ip(), to.ip(), has_ports.then_some(from.port), has_ports.then_some(to.port), id));
        }
        source.release();
        if burst.ended {
            break;
        }
    }
    assert!(expected.len() > 10);
    assert_eq!(seen, expected);
}

/// Alerts of every detector with and without a flow, flows of every kind and end, statistics: all shapes of a line.
fn lines_of_every_shape() -> Vec<Value> {
    let model = ModelName { name: "mlp".into(), version: "1".into() };
    let mut writer = EveWriter::new(Vec::new(), Some(model));
    for (detector, flow) in Detector::ALL.into_iter().flat_map(|detector| [(detector, false), (detector, true)]) {
        let (source, target): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "192.0.2.7".parse().unwrap());
        let (key, way) = FlowKey::v4(0xc000_0201, 1, 0xc000_0207, 2, 6, 0);
        writer
            .alert(&Alert {
                id: "id".into(),
                occurrences: 1,
                first_seen: Timestamp(SECOND),
                evidence: Evidence {
                    detector,
                    kind: "kind\n\"}{".into(),
                    time: Timestamp(3 * SECOND),
                    severity: 1,
                    confidence: 0.5,
                    source: flow.then_some(source),
                    target: Some(target),
                    port: (!flow).then_some(53),
                    protocol: flow.then_some(17),
                    summary: "\u{2028}\r\n\0".into(),
                    terms: vec![Term {
                        name: "score".into(),
                        value: 0.9,
                        threshold: Some(0.5),
                        usual: Some(0.1),
                        ..Term::default()
                    }],
                    flow: flow.then(|| FlowRef {
                        source,
                        source_port: 1,
                        destination: target,
                        destination_port: 2,
                        protocol: 6,
                        flow_id: None,
                        community_id: community_id(&key, way, None),
                        vlans: Vec::new(),
                        tunnel: None,
                        application: None,
                        is_example: false,
                    }),
                    source_mac: None,
                    tunnel: None,
                    technique: None,
                    window: None,
                    row: None,
                },
            })
            .unwrap();
    }
    let ends = [
        Some(EndReason::Closed),
        Some(EndReason::Idle),
        Some(EndReason::EvictedHalfOpen),
        Some(EndReason::EvictedEstablished),
        Some(EndReason::Shutdown),
        Some(EndReason::Cut),
        None,
    ];
    for (number, ended) in ends.into_iter().enumerate() {
        for protocol in [1, 6, 17, 47, 58, 132, 255] {
            let vlans = [0, 5 << 12, 5 << 12 | 6][number % 3];
            let (key, originator) = FlowKey::v4(1, number as u16, 2, 3, protocol, vlans);
            let flow = FlowSummary {
                key,
                originator,
                first_seen: Timestamp(SECOND),
                last_seen: Timestamp(5 * SECOND),
                packets: [u64::MAX, 1],
                bytes: [u64::MAX, 1],
                tcp_flags: [0xff, 0],
                score: if number % 2 == 0 { -1.0 } else { 0.5 },
                ended,
                state: TcpState::New,
                application: Protocol::ALL[number % Protocol::ALL.len()],
                shape: (number % 2 == 0).then(Shape::default),
                ..FlowSummary::default()
            };
            writer.flow(&flow).unwrap();
            for (key, outer) in [tunnelled(CARRIED), tunnelled(LABELLED)] {
                writer.flow(&FlowSummary { key, outer: Some(outer), ..flow }).unwrap();
            }
        }
    }
    writer.stats(&Statistics { packets: u64::MAX, ..Statistics::default() }).unwrap();
    let text = String::from_utf8(writer.finish().unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_line_obeys_the_published_schema() {
    let Some(data) = support::shared_data("every_line_obeys_the_published_schema") else { return };
    let schema = Schema::open(&data);
    let (mut found, mut lines) = (Vec::new(), lines_of_every_shape());
    for line in &mut lines {
        found.append(&mut schema.violations(line));
        assert!(is_eve_time(line["timestamp"].as_str().unwrap_or_default()), "{line}");
        assert!(line["flow_id"].as_u64().unwrap_or_default() < 1 << 51, "{line}");
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    schema.validate_with_python("every_line_obeys_the_published_schema", &lines);
}
