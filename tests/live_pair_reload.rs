//! The configuration of a running pair is read anew while numbered frames cross: none is lost, none overtaken.

#[path = "support/http.rs"]
mod http;
mod live;
mod support;

use live::pair::Receiver;
use live::process::Shrike;
use live::wire::Wire;
use live::{Sender, run, udp_frame, until};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const RATE: u64 = 10_000;

/// Frames of a flow, each with its number.
fn numbered(number: u64) -> Vec<u8> {
    let mut frame = udp_frame(7, 80);
    frame[56..64].copy_from_slice(&number.to_be_bytes());
    frame
}

/// Counts what arrives, and what does not come behind the one before it.
#[derive(Default)]
struct Seen {
    frames: AtomicU64,
    disordered: AtomicU64,
}

fn watch(wire: &Wire, stop: &Arc<AtomicBool>) -> (Arc<Seen>, std::thread::JoinHandle<()>) {
    let receiver = Receiver::open(&wire.bed.server, "s0");
    let (seen, stop) = (Arc::new(Seen::default()), Arc::clone(stop));
    let told = Arc::clone(&seen);
    let watching = std::thread::spawn(move || {
        let mut next = 0;
        while !stop.load(Ordering::Relaxed) {
            let Some(frame) = receiver.next(Duration::from_millis(20)) else { continue };
            let Some(number) = frame.get(56..64).map(|bytes| u64::from_be_bytes(bytes.try_into().unwrap())) else {
                continue;
            };
            told.disordered.fetch_add(u64::from(number != next), Ordering::Relaxed);
            next = number + 1;
            told.frames.fetch_add(1, Ordering::Release);
        }
    });
    (seen, watching)
}

fn ask(shrike: &Shrike, path: &str) -> Value {
    http::Client::connect(shrike.address()).get(path).json()
}

#[test]
fn live_pair_reload_loses_and_reorders_nothing_and_names_what_waits() {
    if !support::privileged("live_pair_reload_loses_and_reorders_nothing_and_names_what_waits") {
        return;
    }
    let mut wire = Wire::new("", "");
    let shrike = wire.start();
    let (stop, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (seen, watching) = watch(&wire, &over);
    let (client, stopped) = (wire.bed.client.clone(), Arc::clone(&stop));
    let sending = std::thread::spawn(move || {
        let mut sender = Sender::on(&client, "c0", 0, 64);
        while !stopped.load(Ordering::Relaxed) {
            let begin = std::time::Instant::now();
            for place in 0..RATE / 100 {
                while begin.elapsed() < Duration::from_nanos(place * (1_000_000_000 / RATE)) {
                    std::thread::yield_now();
                }
                sender.send_frame(&numbered(sender.sent));
            }
        }
        sender.sent
    });
    let go_on = |what: &str| {
        let before = seen.frames.load(Ordering::Acquire);
        until(what, || seen.frames.load(Ordering::Acquire), |now| *now > before + 500);
    };
    go_on("frames cross");
    let policy = |shrike: &Shrike| ask(shrike, "/v1/pairs")["pairs"][0]["policy"].clone();
    assert_eq!(policy(&shrike)["store"], "open");
    let sockets: Value = ask(&shrike, "/v1/status")["queues"].clone();
    let playbook = "[[playbook]]\nname = \"guesses\"\nprotocol = \"block_ip\"\n";
    for round in 0..20 {
        // Each kind of setting there is, there and back.
        let fail = if round % 2 == 0 { "closed" } else { "open" };
        wire.pair = format!("fail_on = {{ overload = \"open\", store = {fail:?} }}");
        wire.rest = format!(
            "ttl_seconds = {}\nbrake_flows = {}\nallow = [\"198.51.100.{round}\"]\n{}[detect.scan]\nports = {}.0\n",
            600 + round,
            10 + round,
            if round % 2 == 0 { playbook } else { "" },
            30 + round
        );
        wire.write();
        if round % 4 == 3 {
            run(&format!("kill -HUP {}", shrike.child.id()));
        } else {
            let told = wire.asks(&shrike, &["reload"]);
            assert!(told.contains("pair[0].fail_on.store is as the file says"), "{told}");
            assert!(told.contains("detect.scan.ports is as the file says"), "{told}");
        }
        until("the policy", || policy(&shrike)["store"].clone(), |now| now == fail);
        let allowed = format!("198.51.100.{round} (allow of [respond])");
        let allow = || ask(&shrike, "/v1/responses")["set"]["allow"].as_array().unwrap().clone();
        until("the allow-list", allow, |list| list.iter().any(|item| item.as_str() == Some(&allowed)));
        let playbooks = || ask(&shrike, "/v1/playbooks")["items"].as_array().unwrap().len();
        until("the playbooks", playbooks, |count| *count == usize::from(round % 2 == 0));
        go_on("frames cross after it");
    }
    // What cannot be changed while it runs is named, and what can of the same file is.
    wire.pair = "fail_on = { store = \"closed\" }".to_owned();
    wire.rest = "ttl_seconds = 900\nprefixes = 64\n[inspect]\nflows = 64\n".to_owned();
    wire.write();
    let waits = wire.shrike(&["reload", "--url", &format!("http://{}", shrike.address())]);
    assert_eq!(waits.status.code(), Some(3));
    let told = String::from_utf8(waits.stdout).unwrap();
    assert!(told.contains("respond.prefixes waits") && told.contains("inspect.flows waits"), "{told}");
    assert!(told.contains("respond.ttl_seconds is as the file says"), "{told}");
    let notes = || ask(&shrike, "/v1/status")["notes"].to_string();
    until("it is told with the status", notes, |notes| notes.contains("not in force: inspect.flows, respond.prefixes"));
    // What cannot be meant changes nothing.
    wire.pair = "fail = \"shut\"".to_owned();
    wire.write();
    let refused = wire.shrike(&["reload", "--url", &format!("http://{}", shrike.address())]);
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("allowed is open, closed"), "{told}");
    assert_eq!(policy(&shrike)["store"], "closed");
    go_on("frames cross at the end");
    assert_eq!(ask(&shrike, "/v1/status")["queues"], sockets, "the same sockets");

    stop.store(true, Ordering::Relaxed);
    let sent = sending.join().unwrap();
    until("every frame arrives", || seen.frames.load(Ordering::Acquire), |frames| *frames >= sent);
    over.store(true, Ordering::Relaxed);
    watching.join().unwrap();
    assert_eq!(seen.frames.load(Ordering::Acquire), sent, "0 lost, 0 twice");
    let direction = until(
        "all are in the books",
        || ask(&shrike, "/v1/pairs")["pairs"][0]["directions"][0].clone(),
        |direction| direction["received"] == sent,
    );
    let bypassed = |cause: &str| direction["bypassed"][cause].as_u64().unwrap();
    assert_eq!((bypassed("stop"), bypassed("crash")), (0, 0), "{direction:#}");
    // A machine that keeps the worker from running for a second makes it look hung: what goes past it then may overtake.
    let descheduled = bypassed("hang") + bypassed("overload");
    let disordered = seen.disordered.load(Ordering::Relaxed);
    assert!(disordered == 0 || descheduled > 0, "{disordered} overtaken, of {sent}: {direction:#}");
    let summary = shrike.terminate();
    assert_eq!(summary["loss"]["closed"], true, "{summary:#}");
    println!("{sent} frames, 22 reloads, {disordered} overtaken, {descheduled} past a descheduled worker");
}
