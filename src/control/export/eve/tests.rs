//! Exact lines, hostile strings, and the rules that the published schema states.

use super::*;
use crate::dataplane::decode::{community_id, flow_id};
use crate::dataplane::detect::{Evidence, FlowRef, Term, WindowRef, fixtures};
use crate::dataplane::flow::EndReason;
use crate::units::SECOND;
use proptest::prelude::*;

fn term(name: &str, value: f64, threshold: Option<f64>, usual: Option<f64>) -> Term {
    Term { name: name.into(), value, threshold, usual, ..Term::default() }
}

fn model_alert(text: &str) -> Alert {
    let (source, destination) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let (key, way) = FlowKey::v4(0x0a00_0001, 40000, 0x0a00_0002, 443, 6, 0);
    Alert {
        id: "a1".into(),
        occurrences: 10,
        first_seen: Timestamp(SECOND),
        evidence: Evidence {
            confidence: 0.5,
            source: Some(source),
            target: Some(destination),
            port: Some(443),
            protocol: Some(6),
            summary: text.into(),
            terms: vec![term("score", 0.9876543, Some(0.9), None), term("rate", 3.0, None, Some(1.5))],
            flow: Some(FlowRef {
                source,
                source_port: 40000,
                destination,
                destination_port: 443,
                protocol: 6,
                flow_id: Some(flow_id(&key, Timestamp(SECOND))),
                community_id: community_id(&key, way, None),
                vlans: Vec::new(),
                tunnel: None,
                application: None,
                is_example: false,
            }),
            ..fixtures::evidence(Detector::Model, "attack_like_flow", Timestamp(2 * SECOND + 5_000))
        },
    }
}

fn summary() -> FlowSummary {
    let (key, originator) = FlowKey::v4(0x0a00_0002, 40000, 0x0a00_0001, 443, 6, 5 << 12 | 7);
    FlowSummary {
        key,
        originator,
        first_seen: Timestamp(SECOND),
        last_seen: Timestamp(4 * SECOND),
        packets: [3, 2],
        bytes: [300, 200],
        tcp_flags: [0x02, 0x12],
        score: 0.25,
        application: Default::default(),
        state: crate::dataplane::flow::TcpState::Established,
        ended: Some(EndReason::Idle),
        ..FlowSummary::default()
    }
}

#[test]
fn an_object_of_ours_with_nothing_in_it_is_left_out() {
    let outer = Some(crate::dataplane::decode::Outer::default());
    let flow = FlowSummary { score: -1.0, outer, ..summary() };
    let line = lines(|writer| writer.flow(&flow).unwrap());
    assert!(!line.contains("\"ml\""), "{line}");
}

#[test]
fn a_flow_that_turned_says_what_it_was() {
    for (began_as, wanted) in [(Protocol::Unknown, None), (Protocol::Smtp, Some("smtp"))] {
        let flow = FlowSummary { application: Protocol::Tls, began_as, ..summary() };
        let line: serde_json::Value = serde_json::from_str(&lines(|writer| writer.flow(&flow).unwrap())).unwrap();
        assert_eq!((line["app_proto"].as_str(), line["app_proto_orig"].as_str()), (Some("tls"), wanted));
    }
}

fn lines(write: impl FnOnce(&mut EveWriter<Vec<u8>>)) -> String {
    let model = ModelName { name: "mlp".into(), version: "1.0".into() };
    let mut writer = EveWriter::new(Vec::new(), Some(model));
    write(&mut writer);
    let lines = writer.lines();
    let text = String::from_utf8(writer.finish().unwrap()).unwrap();
    assert_eq!(text.lines().count() as u64, lines);
    text
}

#[test]
fn an_alert_of_the_model_reads_like_this() {
    assert_eq!(
        lines(|writer| writer.alert(&model_alert("why")).unwrap()),
        concat!(
            r#"{"timestamp":"1970-01-01T00:00:02.000005+0000","flow_id":333067811437340,"event_type":"alert","#,
            r#""src_ip":"10.0.0.1","src_port":40000,"dest_ip":"10.0.0.2","dest_port":443,"proto":"TCP","#,
            r#""community_id":"1:UWHKJ/x6OQ1YiVv4rIl0t3yhjg8=","#,
            r#""alert":{"action":"allowed","gid":1,"signature_id":9454500,"rev":1,"#,
            r#""signature":"SHRIKE model attack_like_flow","category":"Potentially Bad Traffic","severity":2,"#,
            r#""metadata":{"confidence":["0.5"],"first_seen":["1970-01-01T00:00:01.000000+0000"],"id":["a1"],"#,
            r#""occurrences":["10"],"summary":["why"],"#,
            r#""terms":["score 0.987654 threshold 0.9","rate 3 usual 1.5"]}},"#,
            r#""ml":{"model":"mlp","version":"1.0","score":0.987654,"threshold":0.9,"#,
            r#""top_features":[{"name":"rate","value":3.0,"usual":1.5}]}}"#,
            "\n"
        )
    );
}

/// A window's evidence is its own model's word, whatever model the flows have.
#[test]
fn what_is_said_of_a_window_names_the_model_of_windows() {
    let mut alert = model_alert("");
    alert.evidence.flow = None;
    alert.evidence.window = Some(WindowRef {
        begin: Timestamp(0),
        end: Timestamp(60 * SECOND),
        model: "host-v1".into(),
        version: "3".into(),
    });
    let line: serde_json::Value = serde_json::from_str(&lines(|writer| writer.alert(&alert).unwrap())).unwrap();
    assert_eq!((&line["ml"]["model"], &line["ml"]["version"]), (&"host-v1".into(), &"3".into()));
    assert_eq!(
        line["ml"]["window"],
        serde_json::json!({"begin": "1970-01-01T00:00:00.000000+0000", "end": "1970-01-01T00:01:00.000000+0000"})
    );
    alert.evidence.window = None;
    let line: serde_json::Value = serde_json::from_str(&lines(|writer| writer.alert(&alert).unwrap())).unwrap();
    assert_eq!(line["ml"]["model"], serde_json::Value::Null, "drift is no model's word");
}

#[test]
fn icmp_says_its_types_and_codes() {
    let (key, originator) = FlowKey::v4(0x0a00_0002, 0x1234, 0x0a00_0001, 0x1234, 1, 0);
    let names = ["icmp_type", "icmp_code", "response_icmp_type", "response_icmp_code"];
    for (icmp, expected) in [
        ([Some((8, 1)), Some((0, 2))], [Some(8), Some(1), Some(0), Some(2)]),
        ([Some((3, 13)), None], [Some(3), Some(13), None, None]),
        ([None; 2], [None; 4]),
    ] {
        let text = lines(|writer| writer.flow(&FlowSummary { key, originator, icmp, ..summary() }).unwrap());
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(names.map(|name| line[name].as_u64()), expected);
    }
}

#[test]
fn a_flow_reads_like_this() {
    assert_eq!(
        lines(|writer| writer.flow(&summary()).unwrap()),
        concat!(
            r#"{"timestamp":"1970-01-01T00:00:04.000000+0000","flow_id":1037012031559658,"event_type":"flow","vlan":[5,7],"#,
            r#""src_ip":"10.0.0.2","src_port":40000,"dest_ip":"10.0.0.1","dest_port":443,"proto":"TCP","ip_v":4,"#,
            r#""community_id":"1:bq1gfha1rMUJ4e03KhqNdBPyCdI=","#,
            r#""flow":{"pkts_toserver":3,"pkts_toclient":2,"bytes_toserver":300,"bytes_toclient":200,"#,
            r#""start":"1970-01-01T00:00:01.000000+0000","end":"1970-01-01T00:00:04.000000+0000","age":3,"#,
            r#""state":"established","reason":"timeout"},"#,
            r#""tcp":{"state":"established","tcp_flags":"12","tcp_flags_ts":"02","tcp_flags_tc":"12","syn":true,"ack":true},"#,
            r#""ml":{"model":"mlp","version":"1.0","score":0.25}}"#,
            "\n"
        )
    );
}

#[test]
fn statistics_read_like_this() {
    let statistics = Statistics {
        time: Timestamp(SECOND),
        uptime_seconds: 1,
        packets: 9,
        bytes: 900,
        invalid: 2,
        lost: 1,
        flows: 3,
        active: 2,
        alerts: 4,
        counters: vec![("bursts".to_owned(), 7)],
    };
    assert_eq!(
        lines(|writer| writer.stats(&statistics).unwrap()),
        concat!(
            r#"{"timestamp":"1970-01-01T00:00:01.000000+0000","event_type":"stats","stats":{"uptime":1,"#,
            r#""capture":{"kernel_packets":10,"kernel_drops":1},"decoder":{"pkts":9,"bytes":900,"invalid":2},"#,
            r#""flow":{"total":3,"active":2},"detect":{"alert":4}},"ml":{"counters":{"bursts":7}}}"#,
            "\n"
        )
    );
}

/// An alert about many flows says so of the one that it names, and one about ARP has none.
#[test]
fn an_alert_says_what_its_flow_is_to_it() {
    let value = |alert: &Alert| -> serde_json::Value {
        serde_json::from_str(&lines(|writer| writer.alert(alert).unwrap())).unwrap()
    };
    let mut alert = model_alert("");
    alert.evidence.detector = Detector::BruteForce;
    let flow = alert.evidence.flow.as_mut().unwrap();
    (flow.is_example, flow.application) = (true, Some("ssh".into()));
    let told = value(&alert);
    assert_eq!((&told["ml"], &told["app_proto"]), (&serde_json::json!({"example_flow": true}), &"ssh".into()));
    // A card that speaks for the address of another: the flows that show it are its victims'.
    alert.evidence.detector = Detector::Spoofing;
    alert.evidence.kind = "arp_man_in_the_middle".into();
    (alert.evidence.source, alert.evidence.protocol, alert.evidence.port) = (None, None, None);
    alert.evidence.source_mac = Some("02:00:00:00:00:1f".into());
    let told = value(&alert);
    assert_eq!(
        (&told["src_ip"], &told["src_port"], &told["app_proto"]),
        (&serde_json::Value::Null, &serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert_eq!(
        (&told["dest_ip"], &told["proto"], &told["flow_id"].is_null()),
        (&"10.0.0.2".into(), &"ARP".into(), &false)
    );
    alert.evidence.detector = Detector::Scan;
    alert.evidence.kind = "arp_sweep".into();
    (alert.evidence.flow, alert.evidence.protocol, alert.evidence.port) = (None, None, None);
    alert.evidence.source_mac = Some("02:00:00:00:00:1f".into());
    let told = value(&alert);
    assert_eq!((&told["proto"], &told["ether"]["src_mac"]), (&"ARP".into(), &"02:00:00:00:00:1f".into()));
    assert!(["flow_id", "community_id", "src_port", "dest_port", "app_proto"].iter().all(|name| told[*name].is_null()));
}

#[test]
fn what_an_alert_does_not_know_is_absent() {
    let mut alert = model_alert("");
    alert.evidence.detector = Detector::Flood;
    alert.evidence.flow = None;
    alert.evidence.source = None;
    let value: serde_json::Value = serde_json::from_str(&lines(|writer| writer.alert(&alert).unwrap())).unwrap();
    for absent in ["flow_id", "src_ip", "src_port", "community_id", "ml"] {
        assert!(value.get(absent).is_none(), "{absent}");
    }
    assert_eq!((&value["dest_ip"], &value["dest_port"]), (&"10.0.0.2".into(), &443.into()));
}

#[test]
fn signatures_are_apart() {
    let mut ids: Vec<_> = Detector::ALL
        .into_iter()
        .flat_map(|detector| {
            ["vertical", "horizontal", "ssh", "ftp", "http", "syn", "udp", "icmp"].map(|kind| (detector, kind))
        })
        .map(|(detector, kind)| signature_id(detector, kind))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 8 * Detector::ALL.len());
}

proptest! {
    /// No text and no number, however hostile, breaks a line or the object in it.
    #[test]
    fn a_line_stays_a_line(text in ".*", kind in ".*", name in ".*", value in any::<f64>(), usual in any::<f64>()) {
        let mut alert = model_alert(&text);
        alert.evidence.kind = kind;
        alert.evidence.confidence = value;
        alert.evidence.terms.push(term(&name, value, Some(value), Some(usual)));
        let text = lines(|writer| writer.alert(&alert).unwrap());
        prop_assert_eq!(text.trim_end_matches('\n').matches(['\n', '\r', '\0']).count(), 0);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&value["alert"]["metadata"]["summary"][0], &alert.evidence.summary);
    }
}
