//! The shipped program with a pair and a playbook in `auto`: who proves himself is blocked, who does not is limited by what his packets
//! look like, and nothing that is sent after a block was answered crosses.

#[path = "support/http.rs"]
mod http;
mod live;
mod support;

use live::pair::{PairBed, Receiver};
use live::process::Shrike;
use live::{Sender, run, until};
use serde_json::{Value, json};
use shrike::sys::netns::Namespace;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SERVER: &str = "10.9.0.2";
/// An address of the same host.
const OTHER: &str = "10.9.0.4";
/// The one that listens; those below it do not.
const OPEN: u16 = 8080;

/// A program whose playbook blocks who scans or floods.
fn start(bed: &PairBed) -> (Shrike, tempfile::TempPath) {
    let file = tempfile::NamedTempFile::new().unwrap();
    // A longer heartbeat than the default: the test shares the machine with all others.
    let text = format!(
        "[[pair]]\nname = \"wire\"\nports = [\"a0\", \"b0\"]\nnetns = \"{0}\"\nring = 1024\nheartbeat_ms = 1000\n\
         [capture]\ninstance = \"{0}\"\n[flow]\ncapacity = 16384\n\
         [[playbook]]\nname = \"answer\"\nmode = \"auto\"\ndetectors = [\"scan\", \"flood\"]\nprotocol = \"block_ip\"\n",
        bed.appliance
    );
    std::fs::write(file.path(), text).unwrap();
    let config = file.into_temp_path();
    (Shrike::start_plan(&["-c".to_owned(), config.to_str().unwrap().to_owned()]), config)
}

/// Does something over and over in a namespace until it is dropped.
struct Busy {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    fn begin(namespace: &str, mut turn: impl FnMut() + Send + 'static) -> Busy {
        let (stop, namespace) = (Arc::new(AtomicBool::new(false)), namespace.to_owned());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let work = || {
                while !stopped.load(Relaxed) {
                    turn();
                }
            };
            Namespace::named(Some(&namespace)).unwrap().run(work).unwrap();
        });
        Busy { stop, thread: Some(thread) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Ten frames a millisecond: what a program without optimization takes beside other tests.
fn paced(mut send: impl FnMut()) {
    let begin = Instant::now();
    (0..10).for_each(|_| send());
    while begin.elapsed() < Duration::from_millis(1) {
        std::thread::yield_now();
    }
}

fn connect(port: u16) {
    let address = SocketAddr::new(SERVER.parse().unwrap(), port);
    // Who is refused, or blocked, goes on: a bound on a hang.
    drop(TcpStream::connect_timeout(&address, Duration::from_millis(200)));
}

/// Asked on a connection of its own: between two questions the program may have hung up.
fn get(shrike: &Shrike, path: &str) -> http::Answer {
    http::Client::connect(shrike.address()).get(path)
}

fn responses(shrike: &Shrike, protocol: &str) -> Vec<Value> {
    get(shrike, &format!("/v1/responses?protocol={protocol}")).json()["items"].as_array().unwrap().clone()
}

/// A term of the books of the direction to the server.
fn term(shrike: &Shrike, name: &str) -> u64 {
    get(shrike, "/v1/pairs").json()["pairs"][0]["directions"][0][name].as_u64().unwrap()
}

/// A TCP SYN from an address that is nobody's here.
fn syn(number: u32) -> Vec<u8> {
    let [_, b, c, d] = number.to_be_bytes();
    opening([[198, 18 + b % 2, c, d], [10, 9, 0, 2]], number, OPEN)
}

/// A TCP SYN between these addresses.
fn opening([source, target]: [[u8; 4]; 2], number: u32, port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4(source, target, 64)
        .tcp(1024 + (number % 60_000) as u16, port, number, 512)
        .syn()
        .write(&mut frame, &[])
        .unwrap();
    frame
}

/// A datagram from 192.0.2.66 with a number in it.
fn numbered(number: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([192, 0, 2, 66], [10, 9, 0, 2], 64)
        .udp(4000, 9)
        .write(&mut frame, &number.to_be_bytes())
        .unwrap();
    frame
}

#[test]
fn live_attack_is_blocked_where_it_is_proven_and_limited_where_it_is_not() {
    if !support::privileged("live_attack_is_blocked_where_it_is_proven_and_limited_where_it_is_not") {
        return;
    }
    let bed = PairBed::new(1);
    let (shrike, config) = start(&bed);

    // A flood from addresses of nobody: its signature is limited, and none of them is blocked.
    {
        let mut sender = Sender::on(&bed.client, "c0", 0, 64);
        let mut number = 0;
        let _flood = Busy::begin(&bed.client, move || {
            paced(|| {
                number += 1;
                sender.send_frame(&syn(number));
            });
        });
        let limits = until("the flood is limited", || responses(&shrike, "rate_limit"), |found| !found.is_empty());
        assert_eq!(limits[0]["subject"], json!(format!("tcp syn to {SERVER}:{OPEN}")), "{limits:#?}");
        assert_eq!((&limits[0]["automatic"], &limits[0]["proof"]), (&json!(true), &json!("none")), "{limits:#?}");
        until("it holds", || term(&shrike, "dropped_signature"), |dropped| *dropped > 1000);
    }
    assert_eq!(responses(&shrike, "block_ip"), [] as [Value; 0], "an address that anybody can write is not blocked");
    for limit in responses(&shrike, "rate_limit") {
        let undone = http::Client::connect(shrike.address()).send(
            "DELETE",
            &format!("/v1/responses/{}", limit["id"].as_str().unwrap()),
            &[],
            "",
        );
        assert_eq!(undone.status, 200, "{}", undone.text());
    }

    // A scan with the address of a client that works meanwhile: the client is not blocked, however often it connects.
    {
        run(&format!("ip -n {} addr add {OTHER}/24 dev s0", bed.server));
        let listener = Namespace::named(Some(&bed.server)).unwrap().run(|| TcpListener::bind((OTHER, OPEN)));
        let listener = listener.unwrap().unwrap();
        let served = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&served);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(u64::from(stream.is_ok_and(|mut stream| stream.read(&mut [0; 8]).is_ok())), Relaxed);
            }
        });
        let _client = Busy::begin(&bed.client, || {
            let address = SocketAddr::new(OTHER.parse().unwrap(), OPEN);
            if let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
                drop(stream.write_all(b"a word"));
            }
        });
        until("the client is served", || served.load(Relaxed), |served| *served > 20);
        let mut sender = Sender::on(&bed.client, "c0", 0, 64);
        let mut number = 0;
        let _forger = Busy::begin(&bed.client, move || {
            paced(|| {
                number += 1;
                // One a millisecond: no flood, whose limit would meet the client's own openings.
                if number % 10 > 0 {
                    return;
                }
                sender.send_frame(&opening(
                    [[10, 9, 0, 1], [10, 9, 0, 4]],
                    number,
                    OPEN - 40 + (number / 10 % 40) as u16,
                ));
            });
        });
        until("the scan is limited", || responses(&shrike, "rate_limit"), |found| !found.is_empty());
        let before = served.load(Relaxed);
        until("the client is served on", || served.load(Relaxed), |served| *served > before + 200);
        assert_eq!(responses(&shrike, "block_ip"), [] as [Value; 0], "who works is not who scans");
    }
    for limit in responses(&shrike, "rate_limit") {
        let path = format!("/v1/responses/{}", limit["id"].as_str().unwrap());
        assert_eq!(http::Client::connect(shrike.address()).send("DELETE", &path, &[], "").status, 200);
    }

    // A scan by connections, of which one is made: its source is blocked.
    {
        let listener = Namespace::named(Some(&bed.server)).unwrap().run(|| TcpListener::bind((SERVER, OPEN)));
        let _listener = listener.unwrap().unwrap();
        let mut ports = (OPEN - 40..=OPEN).rev().cycle();
        let _scan = Busy::begin(&bed.client, move || ports.next().into_iter().for_each(connect));
        let blocks = until("the scanner is blocked", || responses(&shrike, "block_ip"), |found| !found.is_empty());
        assert!(blocks[0]["subject"].as_str().unwrap().starts_with("10.9.0.1"), "{blocks:#?}");
        assert_eq!(blocks[0]["proof"], json!("handshake"), "{blocks:#?}");
        until("it holds", || term(&shrike, "dropped_prefix"), |dropped| *dropped > 0);
    }
    let timed = &get(&shrike, "/v1/latency").json()["all"]["packet_to_block"];
    assert!(timed["count"].as_u64().unwrap() >= 2, "both are timed: {timed}");
    let metrics = get(&shrike, "/metrics");
    assert!(metrics.text().contains("shrike_packet_to_block_seconds_count"), "and told to Prometheus");

    // What is sent once a block was answered is dropped, each of it, however much was on its way.
    let receiver = Receiver::open(&bed.server, "s0");
    let mut sender = Sender::on(&bed.client, "c0", 0, 64);
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, space) = (Arc::clone(&stop), bed.client.clone());
    let sending = std::thread::spawn(move || {
        let mut other = Sender::on(&space, "c0", 0, 64);
        while !stopped.load(Relaxed) {
            paced(|| other.send_frame(&numbered(0)));
        }
    });
    let before = term(&shrike, "sent");
    until("its frames cross", || term(&shrike, "sent"), |sent| *sent > before + 1000);
    let order =
        json!({ "protocol": "block_ip", "parameters": { "prefix": "192.0.2.66" }, "ttl_seconds": 600 }).to_string();
    let answer = http::Client::connect(shrike.address()).send(
        "POST",
        "/v1/responses",
        &[("content-type", "application/json")],
        &order,
    );
    assert!(answer.status < 300, "{}", answer.text());
    let dropped_before = term(&shrike, "dropped_prefix");
    (1..=1000).for_each(|number| sender.send_frame(&numbered(number)));
    stop.store(true, Relaxed);
    sending.join().unwrap();
    let books = || ["dropped_prefix", "received", "redirected"].map(|name| term(&shrike, name));
    let [dropped, ..] = until("they are dropped", books, |[dropped, ..]| *dropped >= dropped_before + 1000);
    let (redirected, taken) = (term(&shrike, "redirected"), term(&shrike, "taken"));
    let late = std::iter::from_fn(|| receiver.next(Duration::from_millis(300)))
        .filter(|frame| frame.get(26..30) == Some(&[192, 0, 2, 66]) && frame.get(42..46) != Some(&[0; 4]))
        .count();
    assert_eq!(late, 0, "of {dropped} dropped; {redirected} redirected, {taken} taken");

    let summary = shrike.terminate();
    assert_eq!(summary["loss"]["closed"], true, "{summary:#}");
    assert!(summary["latency_ns"]["packet_to_block"]["count"].as_u64().unwrap() >= 2, "{summary:#}");
    drop(config);
}
