//! What leaves for other tools, held against their own definitions: Community IDs against the specification's baseline, EVE
//! lines against Suricata's published schema.

mod support;

use serde::Deserialize;
use serde_json::Value;
use shrike::control::alert::Alert;
use shrike::control::export::{EveWriter, ModelName, Statistics, community_id};
use shrike::dataplane::capture::Source;
use shrike::dataplane::capture::pcap::{PcapSource, Speed};
use shrike::dataplane::decode::{Decoded, FlowKey, Packet, community_id_of, decode};
use shrike::dataplane::detect::{Detector, Evidence, FlowRef, Term};
use shrike::dataplane::flow::{EndReason, TcpState};
use shrike::exchange::FlowSummary;
use shrike::units::{SECOND, Timestamp};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

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
                        community_id: community_id(&key, way, None),
                    }),
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
            };
            writer.flow(&flow).unwrap();
        }
    }
    writer.stats(&Statistics { packets: u64::MAX, ..Statistics::default() }).unwrap();
    let text = String::from_utf8(writer.finish().unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What Suricata's schema uses of JSON Schema: `type`, `properties`, `additionalProperties: false`, `required`, `items`,
/// `minItems`, `enum` and local `$ref`.
fn violations(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{path}: no {name}"));
        return violations(root, target, value, path, found);
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    if !fits {
        found.push(format!("{path}: {value} is no {}", schema["type"]));
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        found.push(format!("{path}: {value} is none of {allowed:?}"));
    }
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(required).is_none() {
            found.push(format!("{path}: {required} is missing"));
        }
    }
    for (name, part) in value.as_object().into_iter().flatten() {
        let inner = format!("{path}.{name}");
        match schema["properties"].get(name) {
            Some(rule) => violations(root, rule, part, &inner, found),
            None if schema["additionalProperties"] == Value::Bool(false) => found.push(format!("{inner}: not allowed")),
            None => {}
        }
    }
    for (index, part) in value.as_array().into_iter().flatten().enumerate() {
        violations(root, &schema["items"], part, &format!("{path}[{index}]"), found);
    }
    if value.as_array().is_some_and(|items| (items.len() as u64) < schema["minItems"].as_u64().unwrap_or(0)) {
        found.push(format!("{path}: too few items"));
    }
}

/// `^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d+[+\-]\d+$`, the schema's one pattern.
fn is_eve_time(text: &str) -> bool {
    let Some((head, tail)) = text.split_once('.') else { return false };
    let shape: String = head.chars().map(|letter| if letter.is_ascii_digit() { '9' } else { letter }).collect();
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let Some((fraction, offset)) = tail.split_once(['+', '-']) else { return false };
    shape == "9999-99-99T99:99:99" && digits(fraction) && digits(offset)
}

#[test]
fn every_line_obeys_the_published_schema() {
    let Some(data) = support::shared_data("every_line_obeys_the_published_schema") else { return };
    let path = data.join("conformance/eve/schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let (mut found, mut lines) = (Vec::new(), lines_of_every_shape());
    for (number, line) in lines.iter_mut().enumerate() {
        // The one object more than Suricata has.
        line.as_object_mut().unwrap().remove("ml");
        violations(&schema, &schema, line, &format!("line {number}"), &mut found);
        assert!(is_eve_time(line["timestamp"].as_str().unwrap_or_default()), "{line}");
        assert!(line["flow_id"].as_u64().unwrap_or_default() < 1 << 51, "{line}");
    }
    assert!(found.is_empty(), "{}", found.join("\n"));

    // The same by the usual validator, where Python has it.
    let script = "import json,sys,jsonschema\n\
                  v=jsonschema.Draft202012Validator(json.load(open(sys.argv[1])))\n\
                  for line in sys.stdin: v.validate(json.loads(line))";
    let python = std::env::var("SHRIKE_PYTHON").unwrap_or_else(|_| "python3".into());
    let installed = Command::new(&python).args(["-c", "import jsonschema"]).stderr(Stdio::null()).status();
    if !installed.is_ok_and(|status| status.success()) {
        return support::skip("every_line_obeys_the_published_schema", "jsonschema", "Python has no jsonschema");
    }
    let mut validator =
        Command::new(&python).args(["-c", script]).arg(&path).stdin(Stdio::piped()).spawn().expect("python starts");
    let mut input = validator.stdin.take().unwrap();
    for line in &lines {
        writeln!(input, "{line}").unwrap();
    }
    drop(input);
    assert!(validator.wait().unwrap().success(), "jsonschema refuses a line; its words stand above");
}
