//! A queue that another process holds: said at start with the holder's name, and taken up when it is free.
#![allow(unsafe_code)] // a socket bound as a stranger binds it

mod live;
mod support;

use live::process::Shrike;
use live::{Bed, Sender, until};
use shrike::dataplane::capture::xdp::{CounterReader, InterfaceSettings, QueueAccount, pin_path};
use shrike::sys::netns::Namespace;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use xsk_rs::config::{BindFlags, LibxdpFlags, SocketConfig, UmemConfig};
use xsk_rs::{Socket, Umem};

/// Set for the process of a [`Holder`]: the sensor's namespace and the queue.
const CHILD: &str = "SHRIKE_LIVE_HOLDER";
/// The test in which that process begins, instead of being it: a test of its own would pass without testing anything.
const HOST: &str = "live_a_queue_that_another_process_holds_is_named_and_taken_up_when_free";

/// Another program, with an AF_XDP socket of its own on a queue of the bed's `rx0`.
struct Holder {
    child: Child,
}

impl Holder {
    fn start(bed: &Bed, queue: u32) -> Holder {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", HOST, "--nocapture"])
            .env(CHILD, format!("{} {queue}", bed.sensor))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("bound")), "the holder says when it is bound");
        std::thread::spawn(move || lines.for_each(drop));
        Holder { child }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of [`Holder`]'s process.
fn hold(spec: &str) {
    let (sensor, queue) = spec.split_once(' ').unwrap();
    let namespace = Namespace::named(Some(sensor)).unwrap();
    let bind = || {
        let (umem, _frames) = Umem::new(UmemConfig::default(), 64.try_into().unwrap(), false).unwrap();
        let config = SocketConfig::builder()
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .bind_flags(BindFlags::XDP_COPY)
            .build();
        let (interface, queue) = ("rx0".parse().unwrap(), queue.parse().unwrap());
        // SAFETY: this UMEM has no other socket.
        unsafe { Socket::new(config, &umem, &interface, queue) }.unwrap()
    };
    let _held = namespace.run(bind).unwrap();
    println!("bound");
    // Until the parent ends.
    let _ = std::io::stdin().lock().lines().next();
}

fn sum(accounts: &[QueueAccount], field: impl Fn(&QueueAccount) -> u64) -> u64 {
    accounts.iter().map(field).sum()
}

#[test]
fn live_a_queue_that_another_process_holds_is_named_and_taken_up_when_free() {
    if let Ok(spec) = std::env::var(CHILD) {
        return hold(&spec);
    }
    if !support::privileged(HOST) {
        return;
    }
    let bed = Bed::new(2);
    let holder = Holder::start(&bed, 1);
    let pid = holder.child.id();
    let shrike = Shrike::start(&bed, "copy");
    let label = format!("{}/rx0", bed.sensor);
    let said = shrike.said.iter().find(|line| line.contains("EBUSY"));
    let said = said.unwrap_or_else(|| panic!("EBUSY is not named: {:#?}", shrike.said));
    for part in [&format!("queue 1 of {label}"), &format!("(process {pid})"), "stop that process", "by itself"] {
        assert!(said.contains(part), "{part}: {said}");
    }

    let settings = InterfaceSettings { namespace: Some(bed.sensor.clone()), ..InterfaceSettings::new("rx0") };
    let reader = CounterReader::open(&pin_path(&settings)).unwrap();
    let mut sender = Sender::open(&bed, 1000, 64);
    sender.send_paced(20_000, 50_000);
    let accounts = until(
        "the other queue is captured meanwhile",
        || reader.accounts(),
        |accounts| sum(accounts, |queue| queue.seen) == 20_000 && accounts.iter().all(|queue| queue.in_flight() == 0),
    );
    assert!(accounts[0].frames_received > 0 && accounts[1].passed_no_socket > 0, "{accounts:?}");
    assert_eq!(accounts[1].frames_received, 0);

    drop(holder);
    until("the queue is taken up", || reader.accounts()[1].openings, |openings| *openings == 1);
    sender.send_paced(20_000, 50_000);
    let accounts = until(
        "both are captured",
        || reader.accounts(),
        |accounts| sum(accounts, |queue| queue.seen) == 40_000 && accounts.iter().all(|queue| queue.in_flight() == 0),
    );
    assert!(accounts[1].frames_received > 0, "{accounts:?}");
    let passed = sum(&accounts, |queue| queue.passed_no_socket);
    // On a busy machine a ring may be full.
    let refused = sum(&accounts, |queue| queue.refused_ring_full + queue.refused_no_frame);
    assert_eq!(sender.sent, sum(&accounts, |queue| queue.frames_received) + passed + refused);
    let summary = shrike.terminate();
    assert_eq!(summary["loss_equation_closed"], true, "{summary:#}");
    assert_eq!(summary["packets"], sender.sent - passed - refused, "{summary:#}");
    assert_eq!(summary["drops"]["passed_no_socket"], passed, "{summary:#}");
    if refused == 0 {
        assert_eq!(summary["degraded"], serde_json::json!([]), "{summary:#}");
    }
}

/// A second `shrike run` on the same interface names the first, and leaves it alone.
#[test]
fn live_a_second_shrike_names_the_first() {
    if !support::privileged("live_a_second_shrike_names_the_first") {
        return;
    }
    let bed = Bed::new(1);
    let first = Shrike::start(&bed, "copy");
    let folder = tempfile::tempdir().unwrap();
    let second = Command::new(env!("CARGO_BIN_EXE_shrike"))
        .args(["run", "--no-model", "--listen", "127.0.0.1:0", "-i", &format!("rx0@{}", bed.sensor), "--store"])
        .arg(folder.path().join("alerts.db"))
        .env_remove("SHRIKE_CONFIG")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    for part in [&format!("{}/rx0", bed.sensor), &format!("(process {})", first.child.id()), "stop that process"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let mut sender = Sender::open(&bed, 100, 64);
    sender.send_paced(1_000, 50_000);
    let settings = InterfaceSettings { namespace: Some(bed.sensor.clone()), ..InterfaceSettings::new("rx0") };
    let reader = CounterReader::open(&pin_path(&settings)).unwrap();
    until("the first goes on", || reader.accounts()[0].frames_received, |received| *received == sender.sent);
    assert_eq!(first.terminate()["loss_equation_closed"], true);
}
