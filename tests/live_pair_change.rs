//! A pair whose frames change their way while they run (bypass, new sockets, death): none overtakes another, and the books say of each
//! what the ends' own counters say.

mod live;
mod support;

use libbpf_rs::{MapCore, MapFlags, MapHandle};
use live::pair::{PairBed, Receiver, Running};
use live::{Sender, link, run, udp_frame, until};
use shrike::dataplane::capture::xdp::{Cause, Fail, InterfaceState, Pair, PairReader, PairSettings, Policy, pin_path};
use shrike::dataplane::capture::{BURST_MAX, Source};
use shrike::units::Timestamp;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Runs the rest of the test only with the rights it needs.
macro_rules! privileged {
    ($name:literal) => {
        if !support::privileged($name) {
            return;
        }
    };
}

fn numbered(number: u32) -> Vec<u8> {
    let mut frame = udp_frame(7, 80);
    frame[60..64].copy_from_slice(&number.to_be_bytes());
    frame
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[60..64].try_into().unwrap())
}

#[test]
fn live_pair_bypassed_and_back_under_frames_keeps_their_order() {
    privileged!("live_pair_bypassed_and_back_under_frames_keeps_their_order");
    const ROUNDS: u32 = 300;
    // Fewer than the ring holds: no overload, which may change the order.
    const FRAMES: u32 = 400;
    let bed = PairBed::new(1);
    // Closed: what goes neither way is missing.
    let settings = bed.settings(Policy::all(Fail::Closed));
    let pair = Pair::attach(&settings).unwrap();
    let running = Running::start(&pair);
    let reader = PairReader::open(&settings).unwrap();
    let receiver = Receiver::open(&bed.server, "s0");
    let mut sender = Sender::on(&bed.client, "c0", 0, 64);
    let (go, gone) = std::sync::mpsc::sync_channel::<bool>(0);
    let switch = std::thread::spawn(move || gone.iter().for_each(|on| reader.bypass(on)));
    let mut next = 0;
    for round in 0..ROUNDS {
        let middle = round * 7 % FRAMES;
        for place in 0..FRAMES {
            if place == middle {
                go.send(round % 2 == 0).unwrap();
            }
            sender.send_frame(&numbered(round * FRAMES + place));
        }
        for frame in receiver.take(FRAMES as usize) {
            assert_eq!(number(&frame), next, "round {round}");
            next += 1;
        }
        assert_eq!(next, (round + 1) * FRAMES, "round {round}: frames are missing");
    }
    drop(go);
    switch.join().unwrap();
    running.stop();
    let [direction, _] = pair.directions();
    assert!(direction.sent > 0 && direction.program.bypassed[Cause::Stop] > 0, "both ways were gone: {direction:#?}");
}

/// The client's cable, made anew with both its ends.
fn cable_anew(bed: &PairBed) {
    let PairBed { client, appliance, .. } = bed;
    run(&format!("ip link add c0 netns {client} type veth peer name a0 netns {appliance}"));
    for (space, name) in [(client, "c0"), (appliance, "a0")] {
        run(&format!("ip netns exec {space} ethtool -K {name} tx off tso off gso off gro off txvlan off rxvlan off"));
        run(&format!("ip -n {space} link set {name} up"));
    }
    run(&format!("ip netns exec {client} ethtool -K c0 gro on"));
}

#[test]
fn live_pair_with_new_sockets_has_its_whole_ring() {
    privileged!("live_pair_with_new_sockets_has_its_whole_ring");
    let bed = PairBed::new(1);
    let mut settings = bed.settings(Policy::default());
    settings.beat_limit_ns = 60_000_000_000; // the worker is this thread, and sometimes waits
    let pair = Pair::attach(&settings).unwrap();
    let mut source = pair.open_queue(0).unwrap();
    source.receive(64);
    Sender::on(&bed.client, "c0", 1, 64).send(700, |_| ());
    // They lie in the ring when the port goes away, and are lost with it.
    run(&format!("ip -n {} link del a0", bed.appliance));
    until(
        "the port is away",
        || pair.status().ports[0].state.clone(),
        |state| matches!(state, InterfaceState::Away { .. }),
    );
    cable_anew(&bed);
    let has_sockets = || pair.status().queues.len() == 1 && pair.status().waiting.is_empty();
    until(
        "the queue has sockets again",
        // Nothing is taken meanwhile: what lies in the ring is to be lost with it.
        || {
            source.release();
            source.maintain(Timestamp(0));
            source.wait(Duration::from_millis(1));
            pair.directions()[0].abandoned
        },
        |abandoned| *abandoned > 0,
    );
    let mut sender = Sender::on(&bed.client, "c0", 1, 64);
    let before = pair.directions()[0].taken;
    until(
        "frames are taken again",
        || {
            sender.send(1, |_| ());
            source.receive(64);
            source.release();
            source.maintain(Timestamp(0));
            pair.directions()[0].taken
        },
        |taken| has_sockets() && *taken > before,
    );
    let [before, _] = pair.directions();
    sender.send(700, |_| ());
    until("all were seen", || pair.directions()[0].received, |received| *received >= before.received + 700);
    let [direction, _] = pair.directions();
    assert_eq!(direction.program.bypassed[Cause::Overload], 0, "700 of 1024 fit: {direction:#?}");
}

#[test]
fn live_pair_killed_while_it_sends_books_what_it_sent() {
    privileged!("live_pair_killed_while_it_sends_books_what_it_sent");
    let bed = PairBed::new(1);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("shrike.toml");
    std::fs::write(
        &config,
        format!(
            "[capture]\ninstance = \"{0}\"\n[[pair]]\nname = \"wire\"\nports = [\"a0\", \"b0\"]\nnetns = \"{0}\"\nmode = \"copy\"\n",
            bed.appliance
        ),
    )
    .unwrap();
    let arguments = ["-c".to_owned(), config.to_str().unwrap().to_owned()];
    for round in 0..8 {
        let mut shrike = live::process::Shrike::start_plan(&arguments);
        let mut sender = Sender::on(&bed.client, "c0", 1, 64);
        // In the midst of frames, most of its time goes into sending them.
        let end = 20_000 + round * 1_760;
        sender.send(2 * end, |done| {
            if done == end {
                shrike.child.kill().unwrap();
            }
        });
        shrike.child.wait().unwrap();
    }
    let pair = Pair::attach(&bed.settings(Policy::default())).unwrap();
    drop(pair.open_queue(0).unwrap());
    let [direction, _] = pair.directions();
    let (client, server) = (link(&bed.client, "c0").counters, link(&bed.server, "s0").counters);
    assert_eq!(direction.received, client.tx_packets, "{direction:#?}");
    // Who is killed between saying how many a call will send and the call has said too many: no more than one call's, of each death.
    let never_left = direction.forwarded().checked_sub(server.rx_packets);
    assert!(never_left.is_some_and(|frames| frames <= 8 * BURST_MAX as u64), "{never_left:?} {direction:#?}");
    assert_eq!(direction.in_flight(), 0, "{direction:#?}");
}

/// The kernel does not always tell of frames that a full ring refused: those are not waited for for ever.
#[test]
fn live_pair_given_frames_that_never_come_inspects_again() {
    privileged!("live_pair_given_frames_that_never_come_inspects_again");
    let bed = PairBed::new(1);
    let mut settings = bed.settings(Policy::default());
    settings.beat_limit_ns = 60_000_000_000;
    let pair = Pair::attach(&settings).unwrap();
    let mut source = pair.open_queue(0).unwrap();
    source.receive(64);
    let pulses = MapHandle::from_pinned_path(pin_path(&settings.ports[0]).join("shrike_pulse")).unwrap();
    let queue = 0_u32.to_ne_bytes();
    let mut pulse = pulses.lookup(&queue, MapFlags::ANY).unwrap().unwrap();
    // As many as the ring holds; `given` of `struct pulse`.
    let given = u64::from_ne_bytes(pulse[64..72].try_into().unwrap()) + u64::from(settings.ports[0].ring_entries);
    pulse[64..72].copy_from_slice(&given.to_ne_bytes());
    pulses.update(&queue, &pulse, MapFlags::ANY).unwrap();
    let receiver = Receiver::open(&bed.server, "s0");
    let mut sender = Sender::on(&bed.client, "c0", 1, 64);
    sender.send(10, |_| ());
    assert_eq!(
        receiver.take(10).len(),
        10,
        "the program believes that the ring is full, and sends them past the worker"
    );
    let [direction, _] = pair.directions();
    assert_eq!((direction.program.bypassed[Cause::Overload], direction.taken), (10, 0), "{direction:#?}");
    until(
        "frames are taken again",
        || {
            sender.send(1, |_| ());
            source.receive(64);
            source.release();
            source.maintain(Timestamp(0));
            source.wait(Duration::from_millis(1));
            pair.directions()[0].taken
        },
        |taken| *taken > 0,
    );
}

#[test]
fn live_pair_bypassed_and_back_keeps_a_planned_stop() {
    privileged!("live_pair_bypassed_and_back_keeps_a_planned_stop");
    let bed = PairBed::new(1);
    let receiver = Receiver::open(&bed.server, "s0");
    let mut sender = Sender::on(&bed.client, "c0", 0, 64);
    let mut arrived = |count: u32| {
        (0..count).for_each(|place| sender.send_frame(&numbered(place)));
        let first = receiver.next(Duration::from_millis(500)).is_some();
        if first { 1 + receiver.take(count as usize - 1).len() } else { 0 }
    };
    let open = Policy::all(Fail::Closed).with(Cause::Stop, Fail::Open);
    let closed = Policy::default().with(Cause::Stop, Fail::Closed);
    for (policy, stopped) in [(open, 10), (closed, 0)] {
        let settings = bed.settings(policy);
        let pair = Pair::attach(&settings).unwrap();
        Running::start(&pair).stop();
        drop(pair);
        let reader = PairReader::open(&settings).unwrap();
        assert_eq!(arrived(10), stopped, "a planned stop");
        for round in 0..3 {
            reader.bypass(true);
            assert_eq!(arrived(10), 10, "bypassed, round {round}");
            reader.bypass(false);
            assert_eq!(arrived(10), stopped, "back, and still stopped as planned, round {round}");
        }
        // The next process begins under the bypass: what was planned is over, the order holds.
        reader.bypass(true);
        let pair = Pair::attach(&settings).unwrap();
        let running = Running::start(&pair);
        until("nothing is stopped any more", || pair.status().said, Vec::is_empty);
        assert!(pair.status().bypassed);
        assert_eq!(arrived(10), 10);
        reader.bypass(false);
        let before = pair.directions()[0].sent;
        assert_eq!(arrived(10), 10);
        let [direction, _] = pair.directions();
        assert_eq!(direction.sent, before + 10, "the worker has them: {direction:#?}");
        running.stop();
    }
}

/// An order is one word to the program: no frame falls between two.
#[test]
fn live_pair_bypassed_and_back_without_a_process_loses_nothing() {
    privileged!("live_pair_bypassed_and_back_without_a_process_loses_nothing");
    const FRAMES: u32 = 20_000;
    let bed = PairBed::new(1);
    let settings = bed.settings(Policy::all(Fail::Closed).with(Cause::Stop, Fail::Open));
    let pair = Pair::attach(&settings).unwrap();
    Running::start(&pair).stop();
    drop(pair);
    let (reader, ended) = (PairReader::open(&settings).unwrap(), AtomicBool::new(false));
    let receiver = Receiver::open(&bed.server, "s0");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut on = true;
            while !ended.load(Relaxed) {
                reader.bypass(on);
                on = !on;
            }
        });
        let mut sender = Sender::on(&bed.client, "c0", 0, 64);
        (0..FRAMES).for_each(|place| sender.send_frame(&numbered(place)));
        ended.store(true, Relaxed);
    });
    for place in 0..FRAMES {
        let frame = receiver.next(Duration::from_secs(2));
        assert_eq!(frame.map(|frame| number(&frame)), Some(place));
    }
}

/// As if another version had left the maps.
fn of_another_version(settings: &PairSettings) {
    const LAYOUT: u32 = 5; // of `shrike_notes`
    for port in &settings.ports {
        let notes = MapHandle::from_pinned_path(pin_path(port).join("shrike_notes")).unwrap();
        notes.update(&LAYOUT.to_ne_bytes(), &1_u64.to_ne_bytes(), MapFlags::ANY).unwrap();
    }
}

#[test]
fn live_pair_of_another_version_is_taken_over_without_a_frame_lost() {
    privileged!("live_pair_of_another_version_is_taken_over_without_a_frame_lost");
    let bed = PairBed::new(1);
    // The worker may wait for its core; all else must go by the planned stop.
    let policy = Policy::all(Fail::Closed).with(Cause::Stop, Fail::Open).with(Cause::Overload, Fail::Open);
    let settings = bed.settings(policy);
    for bypassed in [false, true] {
        let pair = Pair::attach(&settings).unwrap();
        let running = Running::start(&pair);
        pair.bypass(bypassed);
        running.stop();
        drop(pair);
        of_another_version(&settings);
        let receiver = Receiver::open(&bed.server, "s0");
        let (ended, sent) = (AtomicBool::new(false), AtomicU32::new(0));
        let sent = std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let mut sender = Sender::on(&bed.client, "c0", 0, 64);
                while !ended.load(Relaxed) {
                    sender.send_frame(&numbered(sent.load(Relaxed)));
                    sent.fetch_add(1, Relaxed);
                    std::thread::sleep(Duration::from_micros(300)); // the rate
                }
            });
            // In each of its states frames cross.
            let frames_cross = |when: &str| {
                let before = sent.load(Relaxed);
                until(when, || sent.load(Relaxed), |now| *now > before + 100);
            };
            frames_cross("before it is attached");
            let pair = Pair::attach(&settings).unwrap();
            assert!(!pair.status().ports[0].taken_over, "its counts are of no use");
            frames_cross("before its workers begin");
            let running = Running::start(&pair);
            frames_cross("once they have begun");
            assert_eq!(pair.status().bypassed, bypassed, "the operator's order outlives an upgrade");
            pair.bypass(false);
            frames_cross("without an operator's bypass");
            ended.store(true, Relaxed);
            sending.join().unwrap();
            running.stop();
            sent.load(Relaxed)
        });
        let arrived: Vec<_> = (0..sent).map_while(|_| receiver.next(Duration::from_secs(2))).collect();
        let arrived: std::collections::BTreeSet<_> = arrived.iter().map(|frame| number(frame)).collect();
        let missing: Vec<_> = (0..sent).filter(|place| !arrived.contains(place)).collect();
        assert!(missing.is_empty(), "bypassed: {bypassed}; {} of {sent} are missing: {missing:?}", missing.len());
    }
}

#[test]
fn live_pair_that_runs_is_not_released() {
    privileged!("live_pair_that_runs_is_not_released");
    let bed = PairBed::new(1);
    let settings = bed.settings(Policy::default());
    let pair = Pair::attach(&settings).unwrap();
    let running = Running::start(&pair);
    let cause = PairReader::open(&settings).unwrap().release().expect_err("somebody runs it").to_string();
    assert!(cause.contains("wire") && cause.contains("stop shrike first"), "{cause}");
    let receiver = Receiver::open(&bed.server, "s0");
    Sender::on(&bed.client, "c0", 1, 64).send(10, |_| ());
    assert_eq!(receiver.take(10).len(), 10, "it still forwards");
    running.stop();
    drop(pair);
    PairReader::open(&settings).expect("its pins are there").release().unwrap();
    assert!(PairReader::open(&settings).is_err());
}
