//! The shipped program with a pair: restarts, bypass and a kill while frames cross, and what the other end counted.

#[path = "support/http.rs"]
mod http;
mod live;
mod support;

use live::pair::{PairBed, Receiver};
use live::process::Shrike;
use live::{Sender, run, until};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Frames that a kill in the middle of one call of the kernel may leave on neither side: sent, and not yet said to be.
const ONE_CALL: u64 = 256;

/// A bed, the configuration of its pair, and counters of what arrives at the server.
struct Crossing {
    bed: PairBed,
    config: tempfile::TempPath,
    arrived: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    counting: Option<std::thread::JoinHandle<()>>,
}

impl Crossing {
    fn new() -> Crossing {
        let bed = PairBed::new(1);
        let file = tempfile::NamedTempFile::new().unwrap();
        // A longer heartbeat than the default: the test shares the machine with all others.
        let text = format!(
            "[[pair]]\nname = \"wire\"\nports = [\"a0\", \"b0\"]\nnetns = \"{0}\"\nring = 1024\nheartbeat_ms = 1000\n\
             [capture]\ninstance = \"{0}\"\n[flow]\ncapacity = 16384\n",
            bed.appliance
        );
        std::fs::write(file.path(), text).unwrap();
        let receiver = Receiver::open(&bed.server, "s0");
        let (arrived, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&arrived), Arc::clone(&stop));
        let counting = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                if receiver.next(Duration::from_millis(20)).is_some() {
                    count.fetch_add(1, Ordering::Release);
                }
            }
        });
        Crossing { bed, config: file.into_temp_path(), arrived, stop, counting: Some(counting) }
    }

    fn start(&self) -> Shrike {
        Shrike::start_plan(&["-c".to_owned(), self.config.to_str().unwrap().to_owned()])
    }

    fn shrike(&self, arguments: &[&str]) -> String {
        let output =
            Command::new(env!("CARGO_BIN_EXE_shrike")).args(arguments).arg("-c").arg(&self.config).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Frames to the server at an even rate until the flag is raised.
    fn send(&self) -> (Arc<AtomicBool>, std::thread::JoinHandle<u64>) {
        let stop = Arc::new(AtomicBool::new(false));
        let (client, stopped) = (self.bed.client.clone(), Arc::clone(&stop));
        let sending = std::thread::spawn(move || {
            let mut sender = Sender::on(&client, "c0", 200, 100);
            while !stopped.load(Ordering::Relaxed) {
                sender.send_paced(50, 5_000);
            }
            sender.sent
        });
        (stop, sending)
    }

    fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }

    /// Frames arrive, whoever forwards them.
    fn goes_on(&self, what: &str) {
        let before = self.arrived();
        until(what, || self.arrived(), |now| *now > before + 100);
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.counting.take().map(std::thread::JoinHandle::join));
    }
}

/// The direction from the client to the server, as the API shows it.
fn direction(shrike: &Shrike) -> serde_json::Value {
    let mut client = http::Client::connect(shrike.address());
    client.get("/v1/pairs").json()["pairs"][0]["directions"][0].clone()
}

/// A term of the direction rises: the worker forwards (`/sent`), the program does (`/bypassed/stop`).
fn rises(shrike: &Shrike, term: &str) {
    let read = || direction(shrike).pointer(term).and_then(serde_json::Value::as_u64).unwrap();
    let before = read();
    until(term, read, |now| *now > before + 100);
}

#[test]
fn live_pair_run_loses_nothing_that_is_planned_and_names_what_a_kill_takes() {
    let test = "live_pair_run_loses_nothing_that_is_planned_and_names_what_a_kill_takes";
    if !support::privileged(test) {
        return;
    }
    let crossing = Crossing::new();
    let shrike = crossing.start();
    // A planned restart, and a bypass by order, while frames cross.
    let (stop, sending) = crossing.send();
    rises(&shrike, "/sent");
    let summary = shrike.terminate();
    assert_eq!(summary["loss"]["closed"], true, "{summary:#}");
    crossing.goes_on("frames cross while no process is there");
    let shrike = crossing.start();
    rises(&shrike, "/sent");
    crossing.shrike(&["bypass", "on", "wire"]);
    rises(&shrike, "/bypassed/stop");
    assert!(crossing.shrike(&["bypass"]).contains("bypassed by order"));
    let mut client = http::Client::connect(shrike.address());
    let answer =
        client.send("POST", "/v1/pairs/wire/bypass", &[("content-type", "application/json")], "{\"on\": false}");
    assert_eq!(answer.status, 200, "{}", answer.text());
    rises(&shrike, "/sent");
    let answer =
        client.send("POST", "/v1/pairs/other/bypass", &[("content-type", "application/json")], "{\"on\": false}");
    assert_eq!(answer.status, 404, "{}", answer.text());
    stop.store(true, Ordering::Relaxed);
    let sent = sending.join().unwrap();
    until("every frame arrives", || crossing.arrived(), |arrived| *arrived >= sent);
    assert_eq!(crossing.arrived(), sent, "nothing twice");

    // A kill: what it took is what the next process finds missing.
    let (stop, sending) = crossing.send();
    rises(&shrike, "/sent");
    shrike.kill();
    crossing.goes_on("frames cross after a kill");
    let shrike = crossing.start();
    rises(&shrike, "/sent");
    stop.store(true, Ordering::Relaxed);
    let sent = sent + sending.join().unwrap();
    let told = until(
        "all quiet",
        || {
            let direction = direction(&shrike);
            let term = |name: &str| direction[name].as_u64().unwrap();
            (crossing.arrived(), term("received"), term("lost_at_death"), term("lost_in_hands"))
        },
        |(arrived, received, at_death, in_hands)| *received == sent && arrived + at_death + in_hands >= sent,
    );
    let (arrived, received, at_death, in_hands) = told;
    assert_eq!(received, sent, "the program saw each of them");
    assert!(arrived + at_death + in_hands - sent <= ONE_CALL, "{told:?} of {sent}");
    assert!(at_death <= 3 * 1024 && in_hands <= 3 * 1024, "no more than the rings hold: {told:?}");
    let summary = shrike.terminate();
    assert_eq!(summary["loss"]["closed"], true, "{summary:#}");
    crossing.shrike(&["bypass", "release", "wire"]);
    let stopped = crossing.arrived();
    run(&format!("ip netns exec {} sh -c '! ping -c 1 -W 1 10.9.0.2'", crossing.bed.client));
    assert_eq!(crossing.arrived(), stopped, "nothing crosses a pair that was released");
}
