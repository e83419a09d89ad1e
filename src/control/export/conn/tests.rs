//! The table of states, exact lines, and a strict reader over whatever a flow may be.

use super::*;
use crate::dataplane::decode::Direction;
use crate::dataplane::features::encrypted::Losses;
use crate::dataplane::inspect::Protocol;
use proptest::prelude::*;
use std::collections::BTreeMap;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

fn tcp(flags: [u8; 2], payload: [u64; 2]) -> FlowSummary {
    let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0808_0808, 443, 6, 5 << 12 | 7);
    let packets = flags.map(|flags| u64::from(flags != 0) * 2);
    FlowSummary {
        key,
        originator,
        first_seen: Timestamp(SECOND + 1_999),
        last_seen: Timestamp(3 * SECOND + 500_001_999),
        packets,
        bytes: [2 * 78, 2 * 78],
        payload,
        tcp_flags: flags,
        application: Protocol::Tls,
        ..FlowSummary::default()
    }
}

#[test]
fn what_a_flow_was_first_stands_in_front_of_its_service() {
    for (began_as, application, wanted) in [
        (Protocol::Unknown, Protocol::Unknown, "-"),
        (Protocol::Unknown, Protocol::Tls, "ssl"),
        (Protocol::Smtp, Protocol::Tls, "smtp,ssl"),
        (Protocol::Ldap, Protocol::Tls, "ldap_tcp,ssl"),
        (Protocol::Http, Protocol::WebSocket, "http,websocket"),
        (Protocol::Socks, Protocol::Unknown, "socks"),
    ] {
        let mut line = Vec::new();
        ConnFormat::Tsv.line(&FlowSummary { began_as, application, ..tcp([SYN, SYN], [1, 1]) }, &mut line);
        let line = String::from_utf8(line).expect("text");
        assert_eq!(line.split('\t').nth(7), Some(wanted), "{line}");
    }
}

/// Names of NetBIOS are DNS to Zeek, its datagrams are not; and a packet alone has no duration, so no bytes either.
#[test]
fn what_zeek_has_no_value_for_has_none() {
    for (port, service) in [(137, "dns"), (138, "-")] {
        let (key, originator) = FlowKey::v4(0x0a00_0001, port, 0x0a00_00ff, port, 17, 0);
        let (application, packets, payload) = (Protocol::Nbns, [1, 0], [201, 0]);
        let once = FlowSummary { key, originator, application, packets, payload, ..FlowSummary::default() };
        for (last_seen, bytes) in [(Timestamp(0), ["-", "-", "-"]), (Timestamp(SECOND), ["1.000000", "201", "0"])] {
            let line = line(ConnFormat::Tsv, &FlowSummary { last_seen, ..once });
            let columns: Vec<&str> = line.split('\t').collect();
            assert_eq!((columns[7], &columns[8..11]), (service, &bytes[..]), "{line}");
        }
    }
}

/// Every state that Zeek documents, from the flags that bring it about.
#[test]
fn flags_of_both_sides_make_the_state() {
    let all = SYN | ACK | FIN;
    for (flags, payload, state, history) in [
        ([SYN, 0], [0, 0], "S0", "S"),
        ([SYN | ACK, SYN | ACK], [9, 9], "S1", "ShDd"),
        ([all, all], [9, 9], "SF", "ShDdFf"),
        ([all, SYN | ACK], [9, 9], "S2", "ShDdF"),
        ([SYN | ACK, all], [9, 9], "S3", "ShDdf"),
        ([SYN, RST | ACK], [0, 0], "REJ", "Sr"),
        ([SYN | RST, RST | ACK], [0, 0], "REJ", "SRr"),
        ([SYN | ACK | RST, SYN | ACK], [9, 0], "RSTO", "ShDR"),
        ([SYN | ACK, SYN | ACK | RST], [0, 9], "RSTR", "Shdr"),
        ([SYN | RST, 0], [0, 0], "RSTOS0", "SR"),
        ([SYN | RST, ACK], [0, 0], "RSTOS0", "SR"),
        ([RST, 0], [0, 0], "OTH", "R"),
        ([SYN | FIN | RST, ACK], [0, 0], "OTH", "SFR"),
        ([0, SYN | ACK | RST], [0, 0], "RSTRH", "^hr"),
        ([SYN | FIN, 0], [0, 0], "SH", "SF"),
        ([0, SYN | ACK | FIN], [0, 0], "SHR", "^hf"),
        ([ACK, ACK], [9, 9], "OTH", "Dd"),
        ([SYN, ACK], [0, 9], "OTH", "Sd"),
        ([0, SYN | ACK], [0, 0], "OTH", "^h"),
        ([ACK | FIN, ACK | FIN], [9, 9], "SF", "DdFf"),
    ] {
        let flow = tcp(flags, payload);
        assert_eq!((conn_state(&flow), state::history(&flow).as_str()), (state, history), "{flags:?}");
    }
    let losses = Some(Losses { missed: 7, repeated: [false, true] });
    let repeated = FlowSummary { losses, ..tcp([all, all], [9, 9]) };
    assert_eq!(state::history(&repeated), "ShDdtFf");
    assert!(line(ConnFormat::Tsv, &repeated).contains("\tT\tF\t7\tShDdtFf\t"), "missed bytes before the history");
    let server_first =
        FlowSummary { responder_spoke_first: true, responder_closed_first: true, ..tcp([all, all], [9, 9]) };
    assert_eq!(state::history(&server_first), "ShdDfF");
    for (flow, history) in [
        (tcp([all, all], [9, 9]), "ShADadFf"),
        (server_first, "ShAdDafF"),
        (tcp([SYN | ACK, SYN | ACK], [0, 0]), "ShAa"),
        (tcp([ACK, ACK], [9, 0]), "DaA"),
        (tcp([ACK, 0], [0, 0]), "Aa"),
    ] {
        assert_eq!(state::history(&FlowSummary { acknowledged: [true; 2], ..flow }), history);
    }
}

#[test]
fn datagrams_have_a_state_by_who_spoke() {
    for (protocol, packets, state) in
        [(17, [1, 1], "SF"), (17, [1, 0], "S0"), (17, [0, 1], "SHR"), (1, [1, 1], "OTH"), (47, [1, 0], "OTH")]
    {
        let (key, originator) = FlowKey::v4(1, 2, 3, 4, protocol, 0);
        let flow = FlowSummary { key, originator, packets, tcp_flags: [0xff, 0xff], ..FlowSummary::default() };
        assert_eq!(conn_state(&flow), state, "{protocol} {packets:?}");
    }
}

fn line(format: ConnFormat, flow: &FlowSummary) -> String {
    let mut out = Vec::new();
    format.line(flow, &mut out);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn a_flow_reads_like_this() {
    let flow = tcp([SYN | ACK | FIN, SYN | ACK | FIN], [24, 24]);
    let uid = uid(&flow);
    assert_eq!(uid.len(), 18);
    assert_eq!(
        line(ConnFormat::Tsv, &flow),
        format!(
            "1.000001\t{uid}\t10.0.0.1\t40000\t8.8.8.8\t443\ttcp\tssl\t2.500000\t24\t24\tSF\tT\tF\t-\tShDdFf\t2\t112\t2\t112\
             \t-\t6\t1:BbWJEWTpWJw0xPi4Ie+PnJi9rTk=\t5\t7\n"
        )
    );
    assert_eq!(
        line(ConnFormat::Json, &flow),
        format!(
            concat!(
                r#"{{"ts":1.000001,"uid":"{}","id.orig_h":"10.0.0.1","id.orig_p":40000,"id.resp_h":"8.8.8.8","#,
                r#""id.resp_p":443,"proto":"tcp","service":"ssl","duration":2.5,"orig_bytes":24,"resp_bytes":24,"#,
                r#""conn_state":"SF","local_orig":true,"local_resp":false,"history":"ShDdFf","orig_pkts":2,"#,
                r#""orig_ip_bytes":112,"resp_pkts":2,"resp_ip_bytes":112,"ip_proto":6,"#,
                r#""community_id":"1:BbWJEWTpWJw0xPi4Ie+PnJi9rTk=","vlan":5,"inner_vlan":7}}"#,
                "\n"
            ),
            uid
        )
    );
}

#[test]
fn the_same_ports_again_are_another_flow() {
    let flow = tcp([SYN, 0], [0, 0]);
    let again = FlowSummary { first_seen: Timestamp(flow.first_seen.0 + 1), ..flow };
    assert_ne!(uid(&flow), uid(&again));
    assert_eq!(uid(&flow), uid(&FlowSummary { packets: [7, 7], ..flow }));
}

#[test]
fn private_addresses_are_local() {
    for address in
        ["10.9.8.7", "172.31.0.1", "192.168.0.1", "127.0.0.1", "169.254.1.1", "100.64.0.1", "fe80::1", "fd00::1"]
    {
        assert!(is_local(address.parse().unwrap()), "{address}");
    }
    for address in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "192.1.0.1", "2001:4860::1", "192.0.1.1"] {
        assert!(!is_local(address.parse().unwrap()), "{address}");
    }
}

#[test]
fn the_header_is_zeeks() {
    let head = ConnFormat::Tsv.head(Timestamp(1_700_000_000 * SECOND));
    let lines: Vec<&str> = head.lines().collect();
    assert_eq!(
        lines[..6],
        [
            "#separator \\x09",
            "#set_separator\t,",
            "#empty_field\t(empty)",
            "#unset_field\t-",
            "#path\tconn",
            "#open\t2023-11-14-22-13-20"
        ]
    );
    assert!(
        lines[6]
            .starts_with("#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\t")
    );
    assert!(
        lines[7].starts_with("#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tcount\tcount\t")
    );
    assert_eq!(lines.len(), 8);
    assert_eq!(ConnFormat::Tsv.foot(Timestamp(0)), "#close\t1970-01-01-00-00-00\n");
    assert_eq!(ConnFormat::Json.head(Timestamp(0)) + &ConnFormat::Json.foot(Timestamp(0)), "");
}

/// Reads a line as its types demand; anything else is a panic.
fn read(line: &str) -> BTreeMap<&'static str, String> {
    let values: Vec<&str> = line.strip_suffix('\n').expect("a line").split('\t').collect();
    assert_eq!(values.len(), COLUMNS.len(), "{line}");
    for ((name, kind), value) in COLUMNS.iter().zip(&values) {
        let good = match *kind {
            _ if *value == "-" => !["ts", "uid", "id.orig_h", "id.resp_h", "proto", "conn_state"].contains(name),
            "time" | "interval" => value.split_once('.').is_some_and(|(whole, part)| {
                part.len() == 6 && [whole, part].iter().all(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            }),
            "addr" => value.parse::<IpAddr>().is_ok(),
            "port" => value.parse::<u16>().is_ok(),
            "count" | "int" => value.parse::<u64>().is_ok(),
            "bool" => ["T", "F"].contains(value),
            "enum" => ["tcp", "udp", "icmp", "unknown_transport"].contains(value),
            _ => !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'),
        };
        assert!(good, "{name} ({kind}): {value:?}");
    }
    COLUMNS.iter().map(|(name, _)| *name).zip(values.into_iter().map(str::to_owned)).collect()
}

fn any_flow() -> impl Strategy<Value = FlowSummary> {
    let ends = (any::<u128>(), any::<u16>(), any::<u128>(), any::<u16>(), any::<u8>(), any::<u32>());
    let counts = (any::<[u64; 2]>(), any::<[u64; 2]>(), any::<[u64; 2]>(), any::<[u8; 2]>());
    (ends, counts, any::<[u64; 2]>(), 0..=Protocol::ALL.len() as u8, any::<bool>(), any::<bool>()).prop_map(
        |((from, from_port, to, to_port, protocol, vlans), counts, times, application, first, spoke)| {
            let (key, originator) = FlowKey::v6(from, from_port, to, to_port, protocol, vlans);
            FlowSummary {
                key,
                originator: if first { originator } else { Direction::flip(originator) },
                first_seen: Timestamp(times[0]),
                last_seen: Timestamp(times[1]),
                packets: counts.0,
                bytes: counts.1,
                payload: counts.2,
                tcp_flags: counts.3,
                application: Protocol::from_number(application),
                acknowledged: [first, spoke],
                responder_closed_first: first,
                responder_spoke_first: spoke,
                ..FlowSummary::default()
            }
        },
    )
}

proptest! {
    /// Whatever a flow is, a line is one line of values of their types, and both forms say the same.
    #[test]
    fn any_flow_is_one_good_line(flow in any_flow()) {
        let read = read(&line(ConnFormat::Tsv, &flow));
        let text = line(ConnFormat::Json, &flow);
        prop_assert_eq!(text.matches('\n').count(), 1);
        let json: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        for (name, kind) in COLUMNS {
            match json.get(name) {
                None => prop_assert_eq!(&read[name], "-"),
                Some(serde_json::Value::String(value)) => prop_assert_eq!(&read[name], value),
                Some(serde_json::Value::Bool(value)) => prop_assert_eq!(&read[name], if *value { "T" } else { "F" }),
                Some(value) if kind == "count" || kind == "port" || kind == "int" => {
                    prop_assert_eq!(&read[name], &value.to_string());
                }
                Some(value) => {
                    let (left, right) = (read[name].parse::<f64>().unwrap(), value.as_f64().unwrap());
                    prop_assert!((left - right).abs() <= 1e-5 * left.abs().max(1.0), "{name}");
                }
            }
        }
    }
}
