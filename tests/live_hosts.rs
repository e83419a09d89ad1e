//! Hosts of a running sensor: what a real `shrike run` learns of frames that come over veth, serves, and still knows after
//! `kill -9`.

#[path = "support/http.rs"]
mod http_client;
mod live;
mod support;

use http_client::Client;
use live::process::Shrike;
use live::{Bed, Sender, until};
use serde_json::Value;
use std::process::Command;

/// ARP: 10.9.0.7 is at 02:00:00:00:00:07.
fn arp() -> Vec<u8> {
    let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 7, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    frame.extend([2, 0, 0, 0, 0, 7, 10, 9, 0, 7, 0, 0, 0, 0, 0, 0, 10, 9, 0, 1]);
    frame.resize(60, 0);
    frame
}

/// Multicast DNS: `printer.local` is 10.9.0.7.
fn mdns() -> Vec<u8> {
    let mut dns = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    dns.extend(b"\x07printer\x05local\x00\x00\x01\x80\x01\x00\x00\x00\x78\x00\x04");
    dns.extend([10, 9, 0, 7]);
    let (udp, ip) = ((8 + dns.len()) as u16, (28 + dns.len()) as u16);
    let mut frame = vec![1, 0, 0x5e, 0, 0, 0xfb, 2, 0, 0, 0, 0, 7, 8, 0, 0x45, 0];
    frame.extend(ip.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 255, 17, 0, 0, 10, 9, 0, 7, 224, 0, 0, 251]);
    frame.extend([0x14, 0xe9, 0x14, 0xe9]);
    frame.extend(udp.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(dns);
    frame
}

fn host(shrike: &Shrike) -> Value {
    let answer = Client::connect(shrike.address()).get("/v1/hosts/10.9.0.7");
    if answer.status == 200 { answer.json() } else { Value::Null }
}

fn is_known(host: &Value) -> bool {
    host["name"] == "printer.local" && host["macs"][0]["mac"] == "02:00:00:00:00:07"
}

#[test]
fn live_hosts_are_learnt_served_and_survive_a_kill() {
    if !support::privileged("live_hosts_are_learnt_served_and_survive_a_kill") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (config, store) = (folder.path().join("shrike.toml"), folder.path().join("inventory.db"));
    std::fs::write(&config, format!("[inventory]\nstore = {store:?}\n")).unwrap();
    let bed = Bed::new(1);
    let start = || Shrike::start_with(&bed, "copy", &["-c", config.to_str().unwrap()]);
    let shrike = start();
    let frames = [arp(), mdns()];
    let mut sender = Sender::of(&bed, frames.to_vec());
    frames.iter().for_each(|frame| sender.send_frame(frame));
    until("the host is known", || host(&shrike), is_known);
    let url = format!("http://{}", shrike.address());
    let shown = Command::new(env!("CARGO_BIN_EXE_shrike")).args(["hosts", "--url", &url]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("10.9.0.7") && shown.contains("printer.local"), "{shown}");
    let rows = || {
        let database =
            rusqlite::Connection::open_with_flags(&store, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let sql = "SELECT count(*) FROM hosts WHERE body LIKE '%printer.local%02:00:00:00:00:07%' OR body LIKE '%02:00:00:00:00:07%printer.local%'";
        database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap_or_default()
    };
    until("the host is written", rows, |rows| *rows == 1);
    shrike.kill();
    let shrike = start();
    assert!(is_known(&host(&shrike)), "without a further frame: {}", host(&shrike));
    shrike.terminate();
}

/// The beginning of an SSH session from 10.5.0.1 to 10.5.1.1: the handshake and the version lines of both sides.
fn session(number: u16) -> Vec<Vec<u8>> {
    let (client, server) =
        (([2, 0, 0, 0, 0, 1], [10, 5, 0, 1], 40_000 + number), ([2, 0, 0, 0, 0, 2], [10, 5, 1, 1], 22));
    let segment = |back: bool, sequence: u32, acknowledgement: u32, syn: bool, payload: &[u8]| {
        let ((mac, from, port), (to_mac, to, to_port)) = if back { (server, client) } else { (client, server) };
        let builder =
            etherparse::PacketBuilder::ethernet2(mac, to_mac).ipv4(from, to, 64).tcp(port, to_port, sequence, 60_000);
        let builder = if acknowledgement > 0 { builder.ack(acknowledgement) } else { builder };
        let builder = if syn { builder.syn() } else { builder };
        let mut frame = Vec::new();
        builder.write(&mut frame, payload).unwrap();
        frame.resize(frame.len().max(60), 0);
        frame
    };
    let (asks, answers) = (b"SSH-2.0-OpenSSH_9.2\r\n", b"SSH-2.0-OpenSSH_9.6\r\n");
    vec![
        segment(false, 1_000, 0, true, b""),
        segment(true, 5_000, 1_001, true, b""),
        segment(false, 1_001, 5_001, false, b""),
        segment(true, 5_001, 1_001, false, answers),
        segment(false, 1_001, 5_001 + answers.len() as u32, false, asks),
    ]
}

/// Sixty sessions, all open: whatever is asked for, all are told, and both hosts are known though no flow has ended.
#[test]
fn live_open_connections_are_told_and_so_are_their_hosts() {
    if !support::privileged("live_open_connections_are_told_and_so_are_their_hosts") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (config, store) = (folder.path().join("shrike.toml"), folder.path().join("inventory.db"));
    std::fs::write(&config, format!("[inventory]\nstore = {store:?}\n")).unwrap();
    let bed = Bed::new(1);
    let shrike = Shrike::start_with(&bed, "copy", &["-c", config.to_str().unwrap()]);
    let frames: Vec<Vec<u8>> = (0..60).flat_map(session).collect();
    let mut sender = Sender::of(&bed, frames.clone());
    frames.iter().for_each(|frame| sender.send_frame(frame));
    let mut client = Client::connect(shrike.address());
    until(
        "all are active",
        || client.get("/v1/status").json(),
        |status| status["totals"]["flows_active"] == 60 && status["totals"]["packets"] == 300,
    );
    for filter in [
        "host=10.5.0.1",
        "host=10.5.1.0/24&protocol=tcp",
        "protocol=ssh",
        "living=true",
        "port=22",
        "state=established",
    ] {
        let page = client.get(&format!("/v1/flows?limit=1000&{filter}")).json();
        let items = page["items"].as_array().unwrap();
        assert_eq!((items.len(), &page["has_more"]), (60, &Value::Bool(false)), "{filter}: {page:#}");
        assert_eq!(page["living"], serde_json::json!({"live": 60, "matched": 60, "listed": 60, "complete": true}));
        assert!(items.iter().all(|flow| flow["application"] == "ssh" && flow["ended"].is_null()), "{:#}", items[0]);
    }
    let none = client.get("/v1/flows?port=23").json();
    assert_eq!((none["items"].as_array().unwrap().len(), &none["living"]["live"]), (0, &60.into()));
    let url = format!("http://{}", shrike.address());
    let shown = Command::new(env!("CARGO_BIN_EXE_shrike"))
        .args(["flows", "--living", "--host", "10.5.1.1", "-n", "100", "--url", &url])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(shown.stdout).unwrap().matches("(lives)").count(), 60);
    for address in ["10.5.0.1", "10.5.1.1"] {
        let path = format!("/v1/hosts/{address}");
        until("the host is known", || client.get(&path).status, |status| *status == 200);
    }
    shrike.terminate();
}
