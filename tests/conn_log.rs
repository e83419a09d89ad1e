//! `conn.log` over real captures: every line as its own header says, the same bytes whatever the workers, and what Zeek
//! itself recorded of the same traces.

mod support;

use shrike::units::SECOND;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `shrike replay --conn-log` as a file's text.
fn conn_log(capture: &Path, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("conn.log");
    let output = Command::new(env!("CARGO_BIN_EXE_shrike"))
        .args(["replay", "--no-model", "--json", "--conn-log"])
        .args([path.as_os_str(), capture.as_os_str()])
        .args(arguments)
        .output()
        .expect("shrike starts");
    assert!(output.status.success(), "{}: {}", capture.display(), String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(path).expect("a log")
}

type Row = BTreeMap<String, String>;

/// Reads Zeek's tab-separated values strictly: a whole header, as many values as it names, each of its type, and the end.
fn read(text: &str) -> Vec<Row> {
    let mut lines = text.lines();
    let mut header = |prefix: &str| {
        let line = lines.next().unwrap_or_default();
        line.strip_prefix(prefix).unwrap_or_else(|| panic!("{line} for {prefix}")).to_owned()
    };
    assert_eq!(header("#separator "), "\\x09");
    assert_eq!([header("#set_separator\t"), header("#empty_field\t"), header("#unset_field\t")], [",", "(empty)", "-"]);
    assert_eq!(header("#path\t"), "conn");
    let opened = header("#open\t");
    assert_eq!(opened.split('-').count(), 6, "{opened}");
    let fields: Vec<String> = header("#fields\t").split('\t').map(str::to_owned).collect();
    let types: Vec<String> = header("#types\t").split('\t').map(str::to_owned).collect();
    assert_eq!(fields.len(), types.len());
    let (mut rows, mut closed) = (Vec::new(), false);
    for line in lines {
        assert!(!closed, "a line behind the last one: {line}");
        closed = line.starts_with("#close\t");
        if closed {
            continue;
        }
        assert!(line.bytes().all(|byte| byte == b'\t' || byte.is_ascii_graphic()), "{}", line.escape_debug());
        let values: Vec<&str> = line.split('\t').collect();
        assert_eq!(values.len(), fields.len(), "{line}");
        for (kind, value) in types.iter().zip(&values).filter(|(_, value)| **value != "-") {
            let good = match kind.as_str() {
                "time" | "interval" => value.parse::<f64>().is_ok(),
                "addr" => value.parse::<std::net::IpAddr>().is_ok(),
                "port" => value.parse::<u16>().is_ok(),
                "count" | "int" => value.parse::<u64>().is_ok(),
                "bool" => ["T", "F"].contains(value),
                _ => !value.is_empty(),
            };
            assert!(good, "{kind}: {value} in {line}");
        }
        rows.push(fields.iter().cloned().zip(values.into_iter().map(str::to_owned)).collect());
    }
    assert!(closed, "no last line");
    rows
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/day.pcap.gz")
}

/// Captures of many flows and of odd ones.
const CAPTURES: [&str; 6] = [
    "conformance/zeek/zeek+zeek/testing/btest/Traces/tls/tls1.2.pcap",
    "conformance/zeek/zeek+zeek/testing/btest/Traces/tcp/reassembly.pcap",
    "conformance/zeek/zeek+zeek/testing/btest/Traces/vlan-qinqinq.pcap",
    "conformance/zeek/zeek+zeek/testing/btest/Traces/ipv6-fragmented-dns.pcap",
    "conformance/zeek/zeek+zeek/testing/btest/Traces/smb/fragment-state-exhaustion.pcap",
    "conformance/zeek/zeek+zeek/testing/btest/Traces/quic/quic-decrypt-fail-google-de-51833.pcap",
];

#[test]
fn the_log_of_a_replay_is_the_same_whatever_the_workers() {
    let mut captures = vec![golden()];
    if let Some(data) = support::shared_data("the_log_of_a_replay_is_the_same_whatever_the_workers") {
        captures.extend(CAPTURES.map(|name| data.join(name)));
    }
    for capture in captures {
        for format in ["tsv", "json"] {
            let format = ["--conn-log-format", format];
            let one = conn_log(&capture, &format);
            assert!(one.lines().count() >= 1, "{}", capture.display());
            for workers in ["2", "4"] {
                let many = conn_log(&capture, &[&format[..], &["--workers", workers]].concat());
                assert!(one == many, "{}, {workers} workers: other bytes", capture.display());
            }
        }
    }
}

#[test]
fn both_forms_say_the_same_of_every_flow() {
    let capture = golden();
    let rows = read(&conn_log(&capture, &[]));
    let json = conn_log(&capture, &["--conn-log-format", "json"]);
    assert!(rows.len() > 20, "{}", rows.len());
    assert_eq!(json.lines().count(), rows.len());
    let mut uids = std::collections::BTreeSet::new();
    for (row, line) in rows.iter().zip(json.lines()) {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let object = line.as_object().expect("an object");
        for (name, value) in row {
            match object.get(name) {
                None => assert_eq!(value, "-", "{name}"),
                Some(serde_json::Value::String(other)) => assert_eq!(value, other, "{name}"),
                Some(serde_json::Value::Bool(flag)) => assert_eq!(value, if *flag { "T" } else { "F" }, "{name}"),
                Some(number) => {
                    let apart = value.parse::<f64>().expect(name) - number.as_f64().expect(name);
                    assert!(apart.abs() < 2e-6, "{name}: {value} and {number}");
                }
            }
        }
        assert!(uids.insert(row["uid"].clone()), "{} twice", row["uid"]);
        assert!(row["ts"].parse::<f64>().expect("a time") * SECOND as f64 > 0.0);
    }
}

/// What Zeek's own baselines say of the traces that lie here (testing/btest/Baseline of zeek/zeek, BSD 3-clause), where they
/// name more than the presence of a log. `?`: not in the baseline.
/// Trace, ends, service, bytes of both, state, packets and IP bytes of both, history, missed bytes.
#[rustfmt::skip]
const ZEEK: [[&str; 13]; 15] = [
    ["tcp/miss_end_data.pcap", "192.168.122.230:60648", "77.238.160.184:80", "http", "538", "2902", "SF", "5", "750", "4", "172", "ShADafgF", "2902"],
    ["tunnels/gtp/gtp3_false_gtp.pcap", "10.131.24.6:2152", "195.178.38.3:53", "dns", "?", "?", "S0", "1", "64", "0", "0", "D", "0"],
    ["tunnels/gtp/gtp10_not_0xff.pcap", "247.56.43.214:2152", "237.56.101.238:2152", "-", "12", "14", "SF", "1", "40", "1", "42", "Dd", "0"],
    ["tunnels/gtp/gtp10_not_0xff.pcap", "247.56.43.90:2152", "247.56.43.248:2152", "-", "?", "?", "S0", "1", "52", "0", "0", "D", "0"],
    ["tcp/single-rst.pcap", "", "", "?", "?", "?", "OTH", "?", "?", "?", "?", "R", "?"],
    ["tcp/syn-then-rst.pcap", "", "", "?", "?", "?", "RSTOS0", "?", "?", "?", "?", "SR", "?"],
    ["tcp/syn-then-stuff-then-rst.pcap", "", "", "?", "?", "?", "OTH", "?", "?", "?", "?", "SaFR", "?"],
    ["postgresql/psql-select-now.pcap", "127.0.0.1:35336", "127.0.0.1:5432", "postgresql", "?", "?", "?", "?", "?", "?", "?", "?", "?"],
    ["postgresql/psql-aws-ssl-disable-15432.pcap", "192.168.123.132:36060", "52.200.36.167:15432", "postgresql", "?", "?", "?", "?", "?", "?", "?", "?", "?"],
    ["postgresql/psql-aws-ssl-require-15432.pcap", "192.168.123.132:36934", "52.200.36.167:15432", "ssl,postgresql", "?", "?", "?", "?", "?", "?", "?", "?", "?"],
    ["postgresql/mysql-on-port-5432.pcap", "127.0.0.1:43330", "127.0.0.1:5432", "-", "?", "?", "?", "?", "?", "?", "?", "ShAdDaFf", "?"],
    ["quic/interop/quic-go_quic-go/handshake.pcap", "?", "?:443", "quic,ssl", "?", "?", "?", "?", "?", "?", "?", "Dd", "?"],
    ["tunnels/gre-pptp.pcap", "172.16.44.3:40768", "8.8.8.8:53", "dns", "71", "146", "SF", "1", "99", "1", "174", "Dd", "0"],
    ["tunnels/gre-within-gre.pcap", "10.10.25.1:8", "192.168.1.2:0", "-", "22464", "22464", "OTH", "312", "31200", "312", "31200", "-", "0"],
    ["tunnels/gre-within-gre.pcap", "3.3.3.1:520", "224.0.0.9:520", "-", "168", "0", "S0", "2", "224", "0", "0", "D", "0"],
];

/// Where we say something else than Zeek, and why.
const OTHERWISE: [(&str, &str, &str); 12] = [
    (
        "tcp/miss_end_data.pcap",
        "resp_bytes",
        "Zeek counts the sequence space, we count what was seen: the answer was lost",
    ),
    ("tcp/miss_end_data.pcap", "missed_bytes", "the whole answer was lost: nothing came behind it that was to be read"),
    ("tunnels/gtp/gtp10_not_0xff.pcap", "", "short frames: Ethernet's padding is in our IP bytes"),
    (
        "postgresql/psql-aws-ssl-require-15432.pcap",
        "service",
        "Zeek was sure of PostgreSQL last; we name it first, as it came",
    ),
    ("quic/interop/quic-go_quic-go/handshake.pcap", "", "Zeek names the TLS inside QUIC too, which is of it"),
    ("postgresql/mysql-on-port-5432.pcap", "service", "that test of Zeek's runs without its analyser of MySQL"),
    ("tunnels/gre-within-gre.pcap", "orig_ip_bytes", "a flow inside a tunnel: its IP bytes are not known"),
    ("tunnels/gre-within-gre.pcap", "resp_ip_bytes", "a flow inside a tunnel: its IP bytes are not known"),
    ("tunnels/gre-within-gre.pcap", "orig_bytes", "28 s between two datagrams are two flows with us"),
    ("tunnels/gre-within-gre.pcap", "resp_bytes", "28 s between two datagrams are two flows with us, without duration"),
    ("tunnels/gre-within-gre.pcap", "orig_pkts", "28 s between two datagrams are two flows with us"),
    ("tunnels/gre-pptp.pcap", "", "a flow inside a tunnel: its IP bytes are not known"),
];

/// Whatever way they go, as with Zeek; and nothing outside has one.
#[test]
fn flows_in_one_tunnel_have_the_same_parent() {
    let Some(data) = support::shared_data("flows_in_one_tunnel_have_the_same_parent") else { return };
    let traces = data.join("conformance/zeek/zeek+zeek/testing/btest/Traces");
    let parents = |trace: &str| -> Vec<String> {
        read(&conn_log(&traces.join(trace), &[])).iter().map(|row| row["tunnel_parents"].clone()).collect()
    };
    let inside = parents("tunnels/gre-within-gre.pcap");
    assert_eq!(inside.len(), 5);
    assert!(inside.iter().all(|parent| parent.len() == 18 && *parent == inside[0]), "{inside:?}");
    assert!(parents("tls/tls1.2.pcap").iter().all(|parent| parent == "-"));
}

#[test]
fn flows_are_what_zeek_recorded() {
    let Some(data) = support::shared_data("flows_are_what_zeek_recorded") else { return };
    let traces = data.join("conformance/zeek/zeek+zeek/testing/btest/Traces");
    let (mut equal, mut explained, mut wrong) = (0, Vec::new(), Vec::new());
    for [
        trace,
        from,
        to,
        service,
        bytes,
        answer_bytes,
        state,
        packets,
        ip_bytes,
        answers,
        answer_ip,
        history,
        missed,
    ] in ZEEK
    {
        let rows = read(&conn_log(&traces.join(trace), &[]));
        let end = |row: &Row, side: &str| format!("{}:{}", row[&format!("id.{side}_h")], row[&format!("id.{side}_p")]);
        let fits = |wanted: &str, found: String| match wanted.strip_prefix('?') {
            Some(rest) => found.ends_with(rest),
            None => wanted.is_empty() || wanted == found,
        };
        let row = rows.iter().find(|row| fits(from, end(row, "orig")) && fits(to, end(row, "resp")));
        let Some(row) = row else {
            match OTHERWISE.iter().find(|(of, field, _)| *of == trace && field.is_empty()) {
                Some((_, _, why)) => explained.push(format!("{trace} {from}: no such flow: {why}")),
                None => wrong.push(format!("{trace} {from} > {to}: no such flow in {rows:#?}")),
            }
            continue;
        };
        // Of the history we know some letters only.
        let known: String = history.chars().filter(|letter| !"GgWw".contains(*letter)).collect();
        for (field, wanted) in [
            ("service", service),
            ("orig_bytes", bytes),
            ("resp_bytes", answer_bytes),
            ("conn_state", state),
            ("orig_pkts", packets),
            ("orig_ip_bytes", ip_bytes),
            ("resp_pkts", answers),
            ("resp_ip_bytes", answer_ip),
            ("history", known.as_str()),
            ("missed_bytes", missed),
        ] {
            if wanted == "?" || row[field] == wanted {
                equal += u32::from(wanted != "?");
                continue;
            }
            let reason = OTHERWISE.iter().find(|(of, which, _)| *of == trace && (*which == field || which.is_empty()));
            match reason {
                Some((.., why)) => explained.push(format!("{trace} {field}: Zeek {wanted}, we {}: {why}", row[field])),
                None => wrong.push(format!("{trace} {field}: Zeek {wanted}, we {}", row[field])),
            }
        }
    }
    println!("{equal} values equal, {} differ for a known reason:\n{}", explained.len(), explained.join("\n"));
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(equal >= 63, "{equal}");
}
