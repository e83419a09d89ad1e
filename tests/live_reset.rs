//! Real connections that are reset at both ends: through a pair, and beside a tap by an interface of its own.

#[path = "support/http.rs"]
mod http;
mod live;
mod support;

use live::pair::PairBed;
use live::process::Shrike;
use live::{run, until};
use serde_json::{Value, json};
use shrike::sys::netns::Namespace;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

/// A connection between the client's and the server's namespace, the client's end first.
fn connection(bed: &PairBed, server: &str) -> [TcpStream; 2] {
    let address: SocketAddr = server.parse().unwrap();
    let inside = |name: &str| Namespace::named(Some(name)).unwrap();
    let listener = inside(&bed.server).run(|| TcpListener::bind((address.ip(), 0)).unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let limit = Duration::from_secs(60);
    let client = inside(&bed.client).run(|| TcpStream::connect_timeout(&address, limit).unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    for end in [&client, &server] {
        end.set_read_timeout(Some(limit)).unwrap();
        end.set_nodelay(true).unwrap();
    }
    [client, server]
}

/// A word there and back.
fn talk(ends: &[TcpStream; 2]) {
    let mut word = [0; 4];
    for (from, to) in [(0, 1), (1, 0)] {
        (&ends[from]).write_all(b"word").unwrap();
        (&ends[to]).read_exact(&mut word).unwrap();
    }
}

fn is_reset(end: &mut TcpStream) -> bool {
    matches!(end.read(&mut [0; 16]), Err(cause) if cause.kind() == ErrorKind::ConnectionReset)
}

fn parameters(ends: &[TcpStream; 2]) -> Value {
    let [source, destination] = [&ends[0], &ends[1]].map(|end| end.local_addr().unwrap());
    json!({
        "source": source.ip(), "source_port": source.port(),
        "destination": destination.ip(), "destination_port": destination.port(),
    })
}

fn order(shrike: &Shrike, parameters: &Value) -> (u16, Value) {
    let body = json!({ "protocol": "reset_connection", "parameters": parameters, "ttl_seconds": 90 }).to_string();
    let mut client = http::Client::connect(shrike.address());
    let answer = client.send("POST", "/v1/responses", &[("content-type", "application/json")], &body);
    (answer.status, answer.json())
}

/// What came of it.
fn outcome(shrike: &Shrike, id: &str) -> Value {
    let look = || http::Client::connect(shrike.address()).get(&format!("/v1/responses/{id}")).json();
    until("it says what came of it", look, |one| one["state"] != "running")
}

/// Orders a reset, sends a word, and sees both ends lose the connection; another one between the same hosts goes on.
fn resets(shrike: &Shrike, bed: &PairBed, server: &str) {
    let (mut ends, other) = (connection(bed, server), connection(bed, server));
    talk(&ends);
    talk(&other);
    let (status, begun) = order(shrike, &parameters(&ends));
    assert_eq!((status, &begun["response"]["state"]), (201, &json!("running")), "{begun:#}");
    let id = begun["response"]["id"].as_str().unwrap().to_owned();
    // The queue looks for what is wanted now and then: until it has, words go through.
    let mut words = 0;
    let look = || {
        words += 1;
        (ends[0].write_all(b"word"), http::Client::connect(shrike.address()).get(&format!("/v1/responses/{id}")).json())
    };
    let (_written, _) = until("it is done", look, |(_, one)| one["state"] != "running");
    let told = outcome(shrike, &id);
    assert_eq!(told["state"], "done", "{told:#}");
    assert!(told["outcome"].as_str().unwrap().starts_with("reset, with"), "{told:#}");
    let [client, server] = &mut ends;
    // What was sent before has its answer in either end's buffer: read until the end comes.
    server.set_nonblocking(false).unwrap();
    until("the server's end is reset", || is_reset(server), |reset| *reset);
    let gone = |end: &mut TcpStream| {
        let is_reset = |kind| matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
        end.take_error().unwrap().is_some_and(|cause| is_reset(cause.kind()))
            || matches!(end.read(&mut [0; 16]), Err(cause) if is_reset(cause.kind()))
            || matches!(end.write(b"x"), Err(cause) if is_reset(cause.kind()))
    };
    assert!(gone(client), "after {words} words");
    talk(&other);
}

/// A connection that both ends fill as fast as they can: where its ends are changes while it is looked at.
fn resets_under_load(shrike: &Shrike, bed: &PairBed) {
    let ends = connection(bed, "10.9.0.2:0");
    let parameters = parameters(&ends);
    let moving: Vec<_> = ends
        .iter()
        .flat_map(|end| {
            let (mut reader, mut writer) = (end.try_clone().unwrap(), end.try_clone().unwrap());
            writer.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
            let reading = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()).map(drop));
            let writing = std::thread::spawn(move || std::io::copy(&mut std::io::repeat(7), &mut writer).map(drop));
            [reading, writing]
        })
        .collect();
    let (status, begun) = order(shrike, &parameters);
    assert_eq!(status, 201, "{begun:#}");
    let told = outcome(shrike, begun["response"]["id"].as_str().unwrap());
    assert_eq!(told["state"], "done", "{told:#}");
    // All end; of each end one thread is told why, and the other one sees the end alone.
    let ended: Vec<_> =
        moving.into_iter().map(|thread| thread.join().unwrap().err().map(|cause| cause.kind())).collect();
    for of_end in ended.chunks(2) {
        assert!(of_end.contains(&Some(ErrorKind::ConnectionReset)), "{ended:?}: {told:#}");
    }
}

fn with_six(bed: &PairBed) {
    for (space, end, address) in [(&bed.client, "c0", "fd00:9::1"), (&bed.server, "s0", "fd00:9::2")] {
        run(&format!(
            "ip netns exec {space} sysctl -qw net.ipv6.conf.{end}.disable_ipv6=0 && \
             ip -n {space} addr add {address}/64 dev {end} nodad"
        ));
    }
}

#[test]
fn live_reset_ends_a_connection_through_a_pair() {
    if !support::privileged("live_reset_ends_a_connection_through_a_pair") {
        return;
    }
    let bed = PairBed::new(1);
    with_six(&bed);
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "[[pair]]\nname = \"wire\"\nports = [\"a0\", \"b0\"]\nnetns = \"{0}\"\nring = 1024\nheartbeat_ms = 1000\n\
         [capture]\ninstance = \"{0}\"\n[flow]\ncapacity = 16384\n[respond]\nallow = [\"10.9.0.77\"]\n",
        bed.appliance
    );
    std::fs::write(file.path(), text).unwrap();
    let shrike = Shrike::start_plan(&["-c".to_owned(), file.path().to_str().unwrap().to_owned()]);
    for server in ["10.9.0.2:0", "[fd00:9::2]:0"] {
        resets(&shrike, &bed, server);
    }
    resets_under_load(&shrike, &bed);
    let spared = json!({ "source": "10.9.0.77", "source_port": 1, "destination": "10.9.0.2", "destination_port": 2 });
    let (status, refused) = order(&shrike, &spared);
    assert!(status == 422 && refused["detail"].as_str().unwrap().contains("allow_list"), "{refused:#}");
    // One of which nothing is ever seen, from the command line.
    let url = format!("http://{}", shrike.address());
    let output = Command::new(env!("CARGO_BIN_EXE_shrike"))
        .args(["reset", "10.9.0.1:9", "10.9.0.2:9", "--for", "1s", "--url", &url])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && said.contains("no frame of this connection came"), "{output:?}");
    let metrics = http::Client::connect(shrike.address()).get("/metrics").text().to_owned();
    let sent = metrics.lines().find_map(|line| line.strip_prefix("shrike_response_frames_sent_total "));
    assert!(sent.is_some_and(|count| count.parse::<f64>().unwrap() >= 4.0), "{sent:?}");
    let summary = shrike.terminate();
    assert_eq!(summary["loss"]["closed"], true, "{summary:#}");
}

#[test]
fn live_reset_ends_a_connection_beside_a_tap() {
    if !support::privileged("live_reset_ends_a_connection_beside_a_tap") {
        return;
    }
    // A hub: a bridge that learns nothing gives every frame to every port, the sensor's among them.
    let bed = PairBed::new(1);
    let hub = &bed.appliance;
    run(&format!(
        "ip -n {hub} link add br0 type bridge && ip -n {hub} link set br0 type bridge ageing_time 0 && ip -n {hub} link set br0 up"
    ));
    for port in ["a0", "b0"] {
        run(&format!("ip -n {hub} link set {port} master br0"));
    }
    let sensor = live::Bed::new(1);
    for (port, peer, space) in [("t0", "rx1", &sensor.sensor), ("r0", "rs1", &sensor.sensor)] {
        run(&format!(
            "ip link add {port} netns {hub} type veth peer name {peer} netns {space} && ip -n {hub} link set {port} master br0 && \
             ip -n {hub} link set {port} up && ip -n {space} link set {peer} up"
        ));
    }
    for finding in shrike::dataplane::capture::xdp::falsifying_offloads("rx1", Some(&sensor.sensor)).unwrap() {
        run(&finding.fix);
    }
    let tap = format!("rx1@{}", sensor.sensor);
    let start = |respond: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("[capture]\ninstance = \"{}\"\n{respond}", sensor.sensor)).unwrap();
        let arguments = ["-c", file.path().to_str().unwrap(), "-i", &tap, "--mode", "generic"].map(str::to_owned);
        Shrike::start_plan(&arguments)
    };
    let shrike = start("");
    let flow = json!({ "source": "10.9.0.1", "source_port": 1, "destination": "10.9.0.2", "destination_port": 2 });
    let (status, refused) = order(&shrike, &flow);
    assert!(
        status == 409 && refused["detail"].as_str().unwrap().contains("reset_interface in [respond]"),
        "{refused:#}"
    );
    shrike.terminate();
    let shrike = start(&format!("[respond]\nreset_interface = \"rs1@{}\"\n", sensor.sensor));
    resets(&shrike, &bed, "10.9.0.2:0");
    shrike.terminate();
}
