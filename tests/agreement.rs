//! The application protocol of every flow against nDPI's own recorded results, which lie beside the captures.
//!
//! `make agreement` prints the table and every disagreement, and writes `target/agreement/ndpi.json`.

#[path = "support/captures.rs"]
mod captures;
#[path = "support/ndpi.rs"]
mod ndpi;
mod support;

use captures::{engine, replay};
use ndpi::{Ends, ends, reports};
use serde_json::json;
use shrike::dataplane::capture::pcap::{Limits, Reader};
use shrike::dataplane::inspect::Protocol;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// Least share of the flows compared that must agree.
const FLOOR: f64 = 0.95;

/// nDPI's names (version 4.2) of the protocols that we tell apart.
const NAMES: &[(&str, Protocol)] = &[
    ("DNS", Protocol::Dns),
    ("MDNS", Protocol::Mdns),
    ("LLMNR", Protocol::Llmnr),
    ("NetBIOS", Protocol::Nbns),
    ("TLS", Protocol::Tls),
    ("DTLS", Protocol::Dtls),
    ("QUIC", Protocol::Quic),
    ("HTTP", Protocol::Http),
    ("HTTP2", Protocol::Http2),
    ("WebSocket", Protocol::WebSocket),
    ("SSH", Protocol::Ssh),
    ("SMBv1", Protocol::Smb),
    ("SMBv23", Protocol::Smb),
    ("DCE_RPC", Protocol::DceRpc),
    ("RDP", Protocol::Rdp),
    ("Kerberos", Protocol::Kerberos),
    ("LDAP", Protocol::Ldap),
    ("FTP_CONTROL", Protocol::Ftp),
    ("SMTP", Protocol::Smtp),
    ("IMAP", Protocol::Imap),
    ("POP3", Protocol::Pop3),
    ("Telnet", Protocol::Telnet),
    ("DHCP", Protocol::Dhcp),
    ("DHCPV6", Protocol::Dhcp),
    ("NTP", Protocol::Ntp),
    ("SNMP", Protocol::Snmp),
    ("SSDP", Protocol::Ssdp),
    ("TFTP", Protocol::Tftp),
    ("SIP", Protocol::Sip),
    ("RTP", Protocol::Rtp),
    ("RTCP", Protocol::Rtp),
    ("STUN", Protocol::Stun),
    ("MQTT", Protocol::Mqtt),
    ("Modbus", Protocol::Modbus),
    ("DNP3", Protocol::Dnp3),
    ("IEC60870", Protocol::Iec104),
    ("s7comm", Protocol::S7),
    ("BitTorrent", Protocol::BitTorrent),
    ("WireGuard", Protocol::WireGuard),
    ("OpenVPN", Protocol::OpenVpn),
    ("IPsec", Protocol::Ike),
    ("Mining", Protocol::Stratum),
    ("Redis", Protocol::Redis),
    ("MongoDB", Protocol::MongoDb),
    ("MySQL", Protocol::MySql),
    ("PostgreSQL", Protocol::PostgreSql),
    ("Memcached", Protocol::Memcached),
    ("Syslog", Protocol::Syslog),
    ("Radius", Protocol::Radius),
];

/// What we say of every flow of a capture.
fn ours(capture: &Path) -> HashMap<Ends, Vec<Protocol>> {
    let reader = Reader::open(std::slice::from_ref(&capture.to_owned()), Limits::default()).expect("a capture");
    let (_, collected) = replay(reader, 1, engine(1 << 14), None);
    let mut flows: HashMap<Ends, Vec<Protocol>> = HashMap::new();
    for flow in &collected.flows {
        let end = |end: shrike::dataplane::decode::Endpoint| (end.ip(), end.port);
        let ends = ends(flow.key.protocol(), end(flow.key.low()), end(flow.key.high()));
        flows.entry(ends).or_default().push(flow.application);
    }
    flows
}

#[test]
fn flows_are_what_ndpi_says_they_are() {
    let Some(data) = support::shared_data("flows_are_what_ndpi_says_they_are") else { return };
    let wanted: HashMap<&str, Protocol> = NAMES.iter().copied().collect();
    let (mut total, mut agree, mut compared) = (0_u32, 0_u32, 0_u32);
    let mut excluded: BTreeMap<String, u32> = BTreeMap::new();
    let mut by_protocol: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut claimed: BTreeMap<String, u32> = BTreeMap::new();
    let mut differences: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for (capture, report) in reports(&data) {
        let flows = ours(&capture);
        let lines: Vec<_> = ndpi::flows(&report).into_iter().collect();
        // Ports that are used again are several flows with the same ends: of what we tell there, nothing may be another
        // protocol than nDPI tells of one of them.
        let mut told: HashMap<Ends, HashSet<Protocol>> = HashMap::new();
        for line in &lines {
            if let (Some(ends), Some(protocol)) = (line.ends, wanted.get(line.name.as_str())) {
                told.entry(ends).or_default().insert(*protocol);
            }
        }
        for line in lines {
            total += 1;
            if !line.confidence.starts_with("DPI") {
                *excluded.entry(format!("confidence {}", line.confidence)).or_default() += 1;
                continue;
            }
            let Some(protocol) = wanted.get(line.name.as_str()).copied() else {
                *excluded.entry("protocol not on our list".to_owned()).or_default() += 1;
                let found = line.ends.and_then(|ends| flows.get(&ends)).into_iter().flatten();
                for protocol in found.filter(|one| **one != Protocol::Unknown).collect::<HashSet<_>>() {
                    *claimed.entry(format!("{} as {}", line.name, protocol.name())).or_default() += 1;
                }
                continue;
            };
            compared += 1;
            let found = line.ends.and_then(|ends| flows.get(&ends));
            let known = line.ends.and_then(|ends| told.get(&ends));
            let is_known = |one: &Protocol| *one == Protocol::Unknown || known.is_some_and(|known| known.contains(one));
            let same = found.is_some_and(|found| found.contains(&protocol) && found.iter().all(is_known));
            let entry = by_protocol.entry(protocol.name()).or_default();
            *entry = (entry.0 + 1, entry.1 + u32::from(same));
            agree += u32::from(same);
            if !same {
                let said = found.map_or("no such flow", |found| {
                    found.iter().find(|one| **one != Protocol::Unknown).copied().unwrap_or_default().name()
                });
                let name = capture.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                differences
                    .entry((protocol.name().to_owned(), said.to_owned()))
                    .or_default()
                    .push(format!("{name}: {}", line.text.chars().take(120).collect::<String>()));
            }
        }
    }
    println!("{:<12} {:>6} {:>6} {:>7}", "protocol", "flows", "agree", "share");
    for (name, (flows, agree)) in &by_protocol {
        println!("{name:<12} {flows:>6} {agree:>6} {:>6.1}%", f64::from(*agree) * 100.0 / f64::from(*flows));
    }
    let share = f64::from(agree) / f64::from(compared.max(1));
    println!("{:<12} {compared:>6} {agree:>6} {:>6.1}%", "all", share * 100.0);
    for ((ndpi, said), flows) in &differences {
        println!("\nnDPI {ndpi}, ours {said}: {}", flows.len());
        flows.iter().take(8).for_each(|flow| println!("  {flow}"));
    }
    println!("\nof what is not on our list we told: {claimed:?}");
    let summary = json!({
        "flows_total": total,
        "excluded": excluded,
        "flows": compared,
        "agree": agree,
        "by_protocol": by_protocol
            .iter()
            .map(|(name, (flows, agree))| ((*name).to_owned(), json!({"flows": flows, "agree": agree})))
            .collect::<BTreeMap<_, _>>(),
        "told_of_others": claimed,
        "disagreements": differences
            .iter()
            .map(|((ndpi, said), flows)| json!({"ndpi": ndpi, "ours": said, "flows": flows.len()}))
            .collect::<Vec<_>>(),
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/agreement");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = serde_json::to_string_pretty(&summary).expect("json") + "\n";
    std::fs::write(folder.join("ndpi.json"), text).expect("written");
    assert!(compared > 900, "only {compared} flows were compared");
    assert!(share >= FLOOR, "{agree} of {compared} flows agree");
}
