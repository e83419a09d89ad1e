//! The real `shrike run` on veth: a million frames through restart, link flap and kill -9, every one accounted for from
//! the sender to the flow table.

#[path = "support/http.rs"]
mod http_client;
mod live;
mod support;

use libbpf_rs::{MapCore, MapFlags, MapHandle};
use live::process::Shrike;
use live::veth::{RingFrees, assert_sender_closes};
use live::{Bed, Sender, equation, run, until};
use shrike::dataplane::capture::xdp::{CounterReader, InterfaceSettings, Mode, QueueAccount, pin_path};
use shrike::metrics::{COUNTERS, Counter, Role};
use shrike::sys::netlink::XdpAttachment;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sum of the worker's counters that play a part in its equation.
fn role(account: &QueueAccount, role: Role) -> u64 {
    COUNTERS.iter().filter(|counter| counter.role() == role).map(|counter| account.worker(counter.name())).sum()
}

/// Waits until nothing is under way, and checks that every term adds up.
fn settled(bed: &Bed, reader: &CounterReader) -> QueueAccount {
    let account = until(
        "all quiet",
        || (bed.sending_link().counters.tx_packets, reader.accounts().remove(0)),
        |(left, account)| account.in_flight() == 0 && account.seen <= *left,
    )
    .1;
    assert!(account.program_closes(), "{account}");
    let (received, processed, dropped) =
        (role(&account, Role::Received), role(&account, Role::Processed), role(&account, Role::Drop));
    assert_eq!(received, account.frames_received, "one queue hands nothing over");
    assert_eq!(received, processed + dropped, "{account}");
    assert_eq!(dropped, 0, "the sender's frames are all well formed: {:?}", account.worker);
    account
}

fn ordeal(test: &str, mode: &str) {
    let bed = Bed::new(1);
    let ring_frees = RingFrees::count();
    let settings =
        InterfaceSettings { namespace: Some(bed.sensor.clone()), mode: Mode::Auto, ..InterfaceSettings::new("rx0") };
    let mut arrived = 0;
    let (mut sent, mut refused) = (0, 0);
    // Two lives with a planned restart between them, during which nothing is sent.
    for frames in [400_000, 600_000] {
        let mut shrike = Shrike::start(&bed, mode);
        let reader = CounterReader::open(&pin_path(&settings)).unwrap();
        let mut sender = Sender::open(&bed, 1000, 64);
        let done = Arc::new(AtomicBool::new(false));
        let finished = Arc::clone(&done);
        let sending = std::thread::spawn(move || {
            sender.send_paced(frames, 50_000);
            finished.store(true, Ordering::Release);
            sender
        });
        let received = || reader.accounts()[0].frames_received;
        let moves_on = |what: &str| {
            let before = received();
            until(what, received, |now| *now > before || done.load(Ordering::Acquire));
        };
        let mut kills = 0;
        for _ in 0..2 {
            moves_on("frames are processed");
            shrike.kill();
            kills += 1;
            assert_ne!(bed.sensor_link().xdp, XdpAttachment::None, "the program stays when its process is killed");
            shrike = Shrike::start(&bed, mode);
            moves_on("the next process takes over");
            run(&format!("ip -n {} link set rx0 down && ip -n {} link set rx0 up", bed.sensor, bed.sensor));
            moves_on("frames come again after the flap");
        }
        let sender = sending.join().unwrap();
        let account = settled(&bed, &reader);
        eprintln!("{mode}: sent {}, refused to the sender {}; {account}", sender.sent, sender.refused);
        let wire = bed.sending_link().counters;
        (sent, refused) = (sent + sender.sent, refused + sender.refused);
        arrived += account.seen + account.bypassed;
        assert_eq!(wire.tx_packets, arrived, "{account}, {wire:?}");
        assert_sender_closes(test, sent + refused, &wire, &ring_frees);
        assert_eq!(account.deaths, kills);
        assert!(account.lost_at_death <= kills * 12_288, "{account}");
        assert!(
            account.worker("processed_flow") > 0 && account.worker("flows_created") >= 1000,
            "{:?}",
            account.worker
        );
        let summary = shrike.terminate();
        assert_eq!(summary["loss_equation_closed"], true, "{summary:#}");
        assert_eq!(summary["packets"], account.frames_received, "{summary:#}");
        assert_eq!(summary["drops"]["bypassed"], account.bypassed, "{summary:#}");
        assert_eq!(bed.sensor_link().xdp, XdpAttachment::None);
        assert!(!pin_path(&settings).exists());
    }
    assert_eq!(sent + refused, 1_000_000);
}

#[test]
fn live_run_accounts_for_a_million_frames_in_copy_mode_native() {
    const TEST: &str = "live_run_accounts_for_a_million_frames_in_copy_mode_native";
    if support::privileged(TEST) {
        ordeal(TEST, "copy");
    }
}

#[test]
fn live_run_accounts_for_a_million_frames_in_generic_mode() {
    const TEST: &str = "live_run_accounts_for_a_million_frames_in_generic_mode";
    if support::privileged(TEST) {
        ordeal(TEST, "generic");
    }
}

/// Takes `count` from one of the worker's pinned counters of queue 0, as a fault in the books would.
fn falsify(settings: &InterfaceSettings, counter: Counter, count: u64) {
    let map = MapHandle::from_pinned_path(pin_path(settings).join("shrike_worker")).unwrap();
    let key = 0_u32.to_ne_bytes();
    let mut cells = map.lookup(&key, MapFlags::ANY).unwrap().unwrap();
    let cell = &mut cells[counter as usize * 8..][..8];
    let value = u64::from_ne_bytes(cell.try_into().unwrap());
    cell.copy_from_slice(&(value - count).to_ne_bytes());
    map.update(&key, &cells, MapFlags::ANY).unwrap();
}

/// Frames that are nowhere in the books are not laid at a death's door: no more than the rings of the dead held.
#[test]
fn live_run_does_not_blame_a_death_for_a_gap() {
    if !support::privileged("live_run_does_not_blame_a_death_for_a_gap") {
        return;
    }
    let bed = Bed::new(1);
    let settings = InterfaceSettings { namespace: Some(bed.sensor.clone()), ..InterfaceSettings::new("rx0") };
    let shrike = Shrike::start(&bed, "copy");
    let reader = CounterReader::open(&pin_path(&settings)).unwrap();
    Sender::open(&bed, 1000, 64).send_paced(60_000, 50_000);
    let account = settled(&bed, &reader);
    let lost = account.refused();
    shrike.kill();
    for counter in [Counter::FramesReceived, Counter::ProcessedFlow] {
        falsify(&settings, counter, 40_000);
    }
    let (code, summary) = Shrike::start(&bed, "copy").end();
    assert_eq!((code, &summary["loss_equation_closed"]), (Some(3), &false.into()), "{summary:#}");
    assert_eq!(summary["drops"]["lost_at_death"], 12_288, "{summary:#}");
    assert_eq!(equation(&summary, "ring")["difference"], 40_000 - 12_288, "{lost} refused, {summary:#}");
    assert!(!pin_path(&settings).exists());
}

/// What is degraded says since when, also of queues that came after we did.
#[test]
fn live_run_says_since_when_queues_are_not_captured() {
    if !support::privileged("live_run_says_since_when_queues_are_not_captured") {
        return;
    }
    let bed = Bed::new(2);
    run(&format!("ip netns exec {} ethtool -L tx0 tx 1", bed.sender));
    run(&format!("ip netns exec {} ethtool -L rx0 rx 1", bed.sensor));
    let shrike = Shrike::start(&bed, "copy");
    let mut client = http_client::Client::connect(shrike.address());
    let mut status = || client.get("/v1/status").json();
    assert_eq!(status()["degraded"].as_array().map(Vec::len), Some(0));
    run(&format!("ip netns exec {} ethtool -L rx0 rx 2", bed.sensor));
    let first = until("degraded", &mut status, |status| !status["degraded"].as_array().unwrap().is_empty());
    assert!(first["degraded"][0]["reason"].as_str().unwrap().contains("uses 2 receive queues now"), "{first:#}");
    let later = until("another picture", &mut status, |status| status["now"].as_u64() > first["now"].as_u64());
    assert_eq!(later["degraded"][0]["since"], first["degraded"][0]["since"]);
}

/// Interrupted or terminated, nothing is left behind.
#[test]
fn live_run_leaves_nothing_behind_when_interrupted() {
    if !support::privileged("live_run_leaves_nothing_behind_when_interrupted") {
        return;
    }
    let bed = Bed::new(2);
    let settings = InterfaceSettings { namespace: Some(bed.sensor.clone()), ..InterfaceSettings::new("rx0") };
    let mut shrike = Shrike::start(&bed, "copy");
    assert!(pin_path(&settings).exists());
    run(&format!("kill -INT {}", shrike.child.id()));
    assert!(shrike.child.wait().unwrap().success());
    assert_eq!(bed.sensor_link().xdp, XdpAttachment::None);
    assert!(!pin_path(&settings).exists());
}
