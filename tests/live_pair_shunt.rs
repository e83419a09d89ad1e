//! A large flow of TCP that is forwarded in the kernel: its record says what the ends themselves counted.

#[path = "support/http.rs"]
mod http;
mod live;
mod support;

use live::process::Shrike;
use live::wire::Wire;
use live::{link, run, until};
use serde_json::Value;
use shrike::sys::netns::Namespace;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn ask(shrike: &Shrike, path: &str) -> Value {
    http::Client::connect(shrike.address()).get(path).json()
}

/// Both ends know each other's card, so that nothing but the connection is on the wire.
fn introduce(wire: &Wire) {
    let (client, server) = (&wire.bed.client, &wire.bed.server);
    for (space, port, other, name, address) in
        [(client, "c0", server, "s0", "10.9.0.2"), (server, "s0", client, "c0", "10.9.0.1")]
    {
        run(&format!(
            "ip -n {space} neigh replace {address} dev {port} nud permanent \
             lladdr $(ip netns exec {other} cat /sys/class/net/{name}/address)"
        ));
    }
}

#[test]
fn live_pair_shunt_of_an_elephant_is_in_its_record() {
    if !support::privileged("live_pair_shunt_of_an_elephant_is_in_its_record") {
        return;
    }
    let wire = Wire::new("", "[shunt]\nafter_mib = 1\nencrypted_only = false\n");
    introduce(&wire);
    let shrike = wire.start();
    let listener = Namespace::named(Some(&wire.bed.server)).unwrap().run(|| TcpListener::bind("10.9.0.2:5001"));
    let listener = listener.unwrap().unwrap();
    let before = [("c0", &wire.bed.client), ("s0", &wire.bed.server)].map(|(name, space)| link(space, name).counters);
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut buffer, mut total) = (vec![0; 1 << 16], 0_u64);
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                count => total += count as u64,
            }
        }
        stream.write_all(b"thank you").unwrap();
        total
    });
    let connected = Namespace::named(Some(&wire.bed.client)).unwrap().run(|| TcpStream::connect("10.9.0.2:5001"));
    let mut stream = connected.unwrap().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let sending = std::thread::spawn(move || {
        let mut sent = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            stream.write_all(&[0x5a; 16_384]).unwrap();
            sent += 16_384;
            std::thread::sleep(Duration::from_millis(2));
        }
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"thank you");
        sent
    });
    let shunted = |side: usize| ask(&shrike, "/v1/pairs")["pairs"][0]["directions"][side]["shunted"].as_u64().unwrap();
    until("the elephant is shunted", || [shunted(0), shunted(1)], |shunted| shunted.iter().all(|count| *count > 100));
    over.store(true, Ordering::Relaxed);
    let sent = sending.join().unwrap();
    assert_eq!(serving.join().unwrap(), sent);
    let ended = || {
        let flows = ask(&shrike, "/v1/flows?port=5001");
        let ended = |flow: &&Value| !flow["ended"].is_null();
        flows["items"].as_array().unwrap().iter().find(ended).cloned()
    };
    let flow = until("the flow has ended", ended, Option::is_some).unwrap();
    let after = [("c0", &wire.bed.client), ("s0", &wire.bed.server)].map(|(name, space)| link(space, name).counters);
    let packets = [0, 1].map(|side| after[side].tx_packets - before[side].tx_packets);
    // veth counts what it sends behind the link header.
    let bytes = [0, 1].map(|side| after[side].tx_bytes - before[side].tx_bytes + 14 * packets[side]);
    assert_eq!(
        (&flow["packets"], &flow["bytes"]),
        (&serde_json::json!(packets), &serde_json::json!(bytes)),
        "{flow:#}"
    );
    assert!(bytes[0] > sent, "the kernel's part is among them: {flow:#}");
    let all = ask(&shrike, "/v1/flows?port=5001");
    assert_eq!(all["items"].as_array().unwrap().len(), 1, "one connection is one flow: {all:#}");
    let alarms = ask(&shrike, "/v1/responses")["set"]["repaired"].clone();
    assert_eq!(alarms, serde_json::json!([0, 0, 0]), "a shunt is nobody's foreign verdict");
    let summary = shrike.terminate();
    assert_eq!(summary["loss"]["closed"], true, "{summary:#}");
}
