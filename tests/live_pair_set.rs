//! What is in force over the starts of a pair: the same set, in the kernel before a frame crosses, until the same end.

#[path = "support/http.rs"]
mod http;
mod live;
mod support;

use live::pair::Receiver;
use live::process::Shrike;
use live::wire::Wire;
use live::{Sender, udp_frame, until};
use serde_json::Value;
use shrike::dataplane::capture::xdp::{Policy, Verdicts, verdict_path};
use shrike::dataplane::verdict::{Enforcer, Subject};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Who is blocked; who is not.
const BLOCKED: [u8; 4] = [203, 0, 113, 7];
const FREE: [u8; 4] = [203, 0, 113, 8];

fn frame(source: [u8; 4]) -> Vec<u8> {
    let mut frame = udp_frame(1, 80);
    frame[26..30].copy_from_slice(&source);
    frame
}

/// Frames of both, at an even rate, until the flag is raised.
fn send(wire: &Wire, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let (client, stop) = (wire.bed.client.clone(), Arc::clone(stop));
    std::thread::spawn(move || {
        let mut sender = Sender::on(&client, "c0", 0, 64);
        while !stop.load(Ordering::Relaxed) {
            [BLOCKED, FREE].iter().for_each(|source| sender.send_frame(&frame(*source)));
            std::thread::sleep(Duration::from_millis(1));
        }
    })
}

/// Counts what arrives, of each.
struct Arrived([Arc<AtomicU64>; 2]);

impl Arrived {
    fn count(wire: &Wire, stop: &Arc<AtomicBool>) -> (Arrived, std::thread::JoinHandle<()>) {
        let receiver = Receiver::open(&wire.bed.server, "s0");
        let counts = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
        let (raised, stop) = (counts.clone(), Arc::clone(stop));
        let counting = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let Some(frame) = receiver.next(Duration::from_millis(20)) else { continue };
                for (count, source) in raised.iter().zip([BLOCKED, FREE]) {
                    if frame.get(26..30) == Some(&source[..]) {
                        count.fetch_add(1, Ordering::Release);
                    }
                }
            }
        });
        (Arrived(counts), counting)
    }

    fn blocked(&self) -> u64 {
        self.0[0].load(Ordering::Acquire)
    }

    fn go_on(&self, what: &str) {
        let free = || self.0[1].load(Ordering::Acquire);
        let before = free();
        until(what, free, |now| *now > before + 200);
    }
}

fn ask(shrike: &Shrike, path: &str) -> Value {
    http::Client::connect(shrike.address()).get(path).json()
}

#[test]
fn live_pair_set_is_in_the_kernel_before_a_frame_crosses_and_the_same_after_a_start() {
    let test = "live_pair_set_is_in_the_kernel_before_a_frame_crosses_and_the_same_after_a_start";
    if !support::privileged(test) {
        return;
    }
    let wire = Wire::new("", "");
    let stop = Arc::new(AtomicBool::new(false));
    let shrike = wire.start();
    wire.asks(&shrike, &["block", "203.0.113.7", "198.51.100.0/24", "--for", "1h"]);
    let (arrived, counting) = Arrived::count(&wire, &stop);
    let sending = send(&wire, &stop);
    arrived.go_on("frames of others cross");
    let set = |shrike: &Shrike| ask(shrike, "/v1/responses");
    let before = set(&shrike);
    let digest = before["set"]["digest"].as_str().unwrap().to_owned();
    assert_eq!(before["set"]["subjects"], 2, "{before:#}");

    // A planned restart, and a kill: the pinned maps stay, and nothing of it crosses meanwhile.
    shrike.end();
    arrived.go_on("frames cross in the kernel");
    let shrike = wire.start();
    arrived.go_on("they cross again through the worker");
    assert_eq!(set(&shrike)["set"]["digest"], digest.as_str());
    shrike.kill();
    let shrike = wire.start();
    assert_eq!(set(&shrike)["set"]["digest"], digest.as_str());
    shrike.end();

    // After a boot nothing is pinned: it is in the kernel before the first frame crosses.
    wire.bypass(&["release", "wire"]);
    let path = verdict_path(&wire.bed.settings(Policy::default()).ports[0]);
    assert!(!path.exists(), "the maps go with the last pair");
    let shrike = wire.start();
    arrived.go_on("frames cross after a boot");
    assert_eq!(arrived.blocked(), 0, "of who is blocked, at no time");
    let after = set(&shrike);
    assert_eq!(after["set"]["digest"], digest.as_str());
    assert!(wire.asks(&shrike, &["responses"]).contains(&format!("set {:.16}", digest)), "shown in the shell too");
    let times =
        |view: &Value| view["items"].as_array().unwrap().iter().map(|one| one["until"].clone()).collect::<Vec<_>>();
    assert_eq!(times(&after), times(&before), "until the same end");
    let verdicts = Verdicts::open(&path).unwrap();
    let subject = Subject::Prefix(BLOCKED.into(), 32);
    let (rule, hits) = verdicts.get(&subject).unwrap().expect("it is in force");
    assert!(hits.packets > 0, "it met frames");
    let remaining = rule.until_ns.saturating_sub(shrike::sys::monotonic::now_ns()) / 1_000_000_000;
    assert!((600..3_600).contains(&remaining), "an end in the kernel too: {remaining} s");

    // It ends by its time, in the kernel, and is taken out.
    wire.asks(&shrike, &["unblock", "203.0.113.7"]);
    wire.asks(&shrike, &["block", "203.0.113.7", "--for", "1s"]);
    let begun = arrived.blocked();
    until("it has ended", || arrived.blocked(), |count| *count > begun + 100);
    until("and is gone", || verdicts.get(&subject).unwrap(), Option::is_none);
    stop.store(true, Ordering::Relaxed);
    sending.join().unwrap();
    counting.join().unwrap();
    let summary = shrike.terminate();
    assert_eq!(summary["loss"]["closed"], true, "{summary:#}");
}

#[test]
fn live_pair_set_finds_room_once_it_is_given() {
    if !support::privileged("live_pair_set_finds_room_once_it_is_given") {
        return;
    }
    let mut wire = Wire::new("", "prefixes = 16");
    let shrike = wire.start();
    for host in 1..=16 {
        wire.asks(&shrike, &["block", &format!("203.0.113.{host}")]);
    }
    let one_more = wire.shrike(&["block", "203.0.113.17", "--url", &format!("http://{}", shrike.address())]);
    let told = String::from_utf8_lossy(&one_more.stdout).into_owned() + &String::from_utf8_lossy(&one_more.stderr);
    assert!(told.contains("the map of prefixes holds 16; raise [respond] prefixes"), "{told}");
    let states = |shrike: &Shrike| {
        let page = ask(shrike, "/v1/responses?limit=100");
        let of = |one: &Value| one["state"].as_str().unwrap().to_owned();
        page["items"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(states(&shrike).iter().filter(|state| *state == "enforced").count(), 16);
    let digest = ask(&shrike, "/v1/responses")["set"]["digest"].clone();
    shrike.terminate();
    "prefixes = 32".clone_into(&mut wire.rest);
    wire.write();
    let shrike = wire.start();
    assert_eq!(states(&shrike), vec!["enforced"; 17]);
    assert_eq!(ask(&shrike, "/v1/responses")["set"]["digest"], digest);
}
