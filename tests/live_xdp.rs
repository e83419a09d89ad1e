//! AF_XDP on veth pairs in namespaces without a route out: every frame accounted for, whatever happens to the queue.

mod live;
mod support;

use live::pump::{Running, assert_clean, assert_closed, pump, received, settings, sum, turn};
use live::veth::{RingFrees, assert_sender_closes};
use live::{Bed, Sender, run, udp_frame, until};
use shrike::dataplane::capture::xdp::{
    BusyPoll, CounterReader, Interface, InterfaceSettings, InterfaceState, Management, Mode, ObtainedMode,
    QueueAccount, Shared, SymmetricRss, Transport, XdpError, falsifying_offloads, is_shared, pin_path,
};
use shrike::metrics::CounterBlock;
use shrike::sys::netlink::XdpAttachment;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

/// Runs the rest of the test only with the rights it needs.
macro_rules! privileged {
    ($name:literal) => {
        if !support::privileged($name) {
            return;
        }
    };
}

/// A million frames at a paced rate: each one processed, nothing lost anywhere.
fn million(mode: Mode, expected: ObtainedMode, queues: u32) {
    let bed = Bed::new(queues);
    let settings = settings(&bed, mode);
    let interface = Interface::attach(&settings).unwrap();
    let running = Running::start(&interface);
    let status = interface.status();
    assert_eq!(status.queues.len(), queues as usize);
    assert!(status.queues.iter().all(|queue| queue.mode == expected), "{status:#?}");
    assert_eq!(status.driver, "veth");
    match queues {
        1 => assert_eq!(status.rss, SymmetricRss::OneQueue),
        _ => assert!(matches!(status.rss, SymmetricRss::Unsupported { .. }), "{status:#?}"),
    }

    let mut sender = Sender::open(&bed, 1000, 64);
    sender.send_paced(1_000_000, 150_000);
    let processed = running.stop();
    let accounts = interface.detach();
    assert_closed(&accounts);
    assert_eq!(sender.sent, sum(&accounts, |queue| queue.seen));
    assert_eq!(processed, sum(&accounts, |queue| queue.frames_received));
    assert_eq!(sender.sent, processed + sum(&accounts, QueueAccount::refused));
    assert_eq!(sender.sent + sender.refused, 1_000_000);
    assert!(accounts.iter().all(|queue| queue.ring_frames > 0), "every queue had its share");
    assert_clean(&bed, &settings);
}

#[test]
fn live_a_million_frames_in_copy_mode_native() {
    privileged!("live_a_million_frames_in_copy_mode_native");
    million(Mode::Auto, ObtainedMode::Copy, 1);
}

#[test]
fn live_a_million_frames_in_generic_mode() {
    privileged!("live_a_million_frames_in_generic_mode");
    million(Mode::Generic, ObtainedMode::Generic, 1);
}

#[test]
fn live_a_million_frames_on_three_queues() {
    privileged!("live_a_million_frames_on_three_queues");
    million(Mode::Copy, ObtainedMode::Copy, 3);
}

/// The worker stands still while a small ring is flooded, then goes on: every lost frame has a name, counted by the
/// program's tracepoint and, independently, by the socket.
fn overload(mode: Mode, expected: ObtainedMode) {
    let bed = Bed::new(1);
    for (space, end) in [(&bed.sender, "tx0"), (&bed.sensor, "rx0")] {
        run(&format!("ip -n {space} link set {end} mtu 3000"));
    }
    let settings = InterfaceSettings { ring_entries: 256, frame_bytes: 2048, ..settings(&bed, mode) };
    let interface = Interface::attach(&settings).unwrap();
    let mut source = interface.open_queue(0).unwrap();
    let facts = source.facts().unwrap().clone();
    assert_eq!((facts.mode, facts.longest_bytes), (expected, 1792));
    let stop = source.stop_handle().unwrap();
    let mut sender = Sender::open(&bed, 100, 64);
    sender.send(5_000, |_| ());
    // Longer than a frame of the UMEM, though not than the interface's MTU.
    let long = udp_frame(1, 2_500);
    for _ in 0..10 {
        sender.send_frame(&long);
    }
    let worker = std::thread::spawn(move || pump(&mut source));
    sender.send(200_000, |_| ());
    stop.stop();
    let processed = worker.join().unwrap();
    let dropped_by_driver = bed.sensor_link().counters.rx_dropped;
    let accounts = interface.detach();
    assert_closed(&accounts);
    let account = &accounts[0];
    assert_eq!(sender.sent, account.seen);
    assert_eq!(processed, account.frames_received);
    assert!(account.refused_ring_full >= 5_000 - 256, "{account}");
    assert_eq!((account.refused_no_frame, account.refused_too_long), (0, 10), "{account}");
    assert_eq!((account.refused_unbound, account.refused_other), (0, 0), "{account}");
    // The socket's own books say the same, in its own words.
    assert_eq!(account.socket.rx_ring_full, account.refused_ring_full);
    assert_eq!(account.socket.rx_dropped, account.refused_too_long);
    assert_eq!(account.socket.rx_fill_ring_empty_descs, 0);
    match expected {
        ObtainedMode::Generic => assert_eq!(dropped_by_driver, 0),
        _ => assert_eq!(dropped_by_driver, account.refused()),
    }
}

#[test]
fn live_overload_in_copy_mode_native() {
    privileged!("live_overload_in_copy_mode_native");
    overload(Mode::Copy, ObtainedMode::Copy);
}

#[test]
fn live_overload_in_generic_mode() {
    privileged!("live_overload_in_generic_mode");
    overload(Mode::Generic, ObtainedMode::Generic);
}

/// Set for the process of a [`Worker`]: the sensor's namespace and the mode.
const CHILD: &str = "SHRIKE_LIVE_CHILD";
/// The test in which that process begins, instead of being it: a test of its own would pass without testing anything.
const HOST: &str = "live_restart_flap_and_kill_in_copy_mode_native";

/// Another process that attaches, pumps and stops when told; see [`child`].
struct Worker {
    child: Child,
}

impl Worker {
    fn start(bed: &Bed, mode: &str) -> Worker {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", HOST, "--nocapture"])
            .env(CHILD, format!("{} {mode}", bed.sensor))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("ready")), "the child says when it is ready");
        // Its further words are of no interest, but must have somewhere to go.
        std::thread::spawn(move || lines.for_each(drop));
        Worker { child }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn stop(mut self) {
        self.child.stdin.take().unwrap().write_all(b"stop\n").unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

/// The body of [`Worker`]'s process.
fn child(spec: &str) {
    let (sensor, mode) = spec.split_once(' ').unwrap();
    let busy_poll = (mode == "busy").then(BusyPoll::default);
    let mode = if mode == "generic" { Mode::Generic } else { Mode::Copy };
    let settings = InterfaceSettings {
        busy_poll,
        namespace: Some(sensor.to_owned()),
        mode,
        instance: sensor.to_owned(),
        ..InterfaceSettings::new("rx0")
    };
    let interface = Interface::attach(&settings).unwrap();
    let running = Running::start(&interface);
    println!("ready");
    // A line, or the end of the parent.
    let _ = std::io::stdin().lock().lines().next();
    running.stop();
    assert_closed(&interface.detach());
}

/// A million frames through planned restarts, link flaps and kills: what was sent is what was processed plus what was
/// counted, and only a kill loses frames that nobody counted, never more than the rings hold.
fn ordeal(test: &str, mode: &str) {
    let bed = Bed::new(1);
    let ring_frees = RingFrees::count();
    let settings = settings(&bed, Mode::Auto);
    let mut worker = Worker::start(&bed, mode);
    let reader = CounterReader::open(&pin_path(&settings)).unwrap();
    let mut sender = Sender::open(&bed, 1000, 64);
    let (done, finished) = mpsc::channel();
    let sending = std::thread::spawn(move || {
        sender.send_paced(1_000_000, 100_000);
        done.send(()).unwrap();
        sender
    });
    let mut kills = 0;
    let mut flaps = 0;
    while finished.try_recv().is_err() {
        worker.kill();
        kills += 1;
        // The program stays and counts what it leaves to the kernel.
        let passed = sum(&reader.accounts(), |queue| queue.passed_no_socket);
        until(
            "frames pass while the process is away",
            || sum(&reader.accounts(), |queue| queue.passed_no_socket),
            |now| *now > passed || finished.try_recv().is_ok(),
        );
        assert_ne!(bed.sensor_link().xdp, XdpAttachment::None);
        worker = Worker::start(&bed, mode);
        let received = sum(&reader.accounts(), |queue| queue.frames_received);
        until(
            "the new process receives",
            || sum(&reader.accounts(), |queue| queue.frames_received),
            |now| *now > received || sending.is_finished(),
        );
        run(&format!("ip -n {} link set rx0 down && ip -n {} link set rx0 up", bed.sensor, bed.sensor));
        flaps += 1;
        let received = sum(&reader.accounts(), |queue| queue.frames_received);
        until(
            "frames come again after the flap",
            || sum(&reader.accounts(), |queue| queue.frames_received),
            |now| *now > received || sending.is_finished(),
        );
        if kills >= 10 {
            break;
        }
    }
    let sender = sending.join().unwrap();
    let accounts =
        until("all quiet", || reader.accounts(), |accounts| accounts.iter().all(|queue| queue.in_flight() == 0));
    assert_closed(&accounts);
    let account = &accounts[0];
    eprintln!(
        "{mode}: sent {}, refused to the sender {}, kills {kills}, flaps {flaps}; {account}",
        sender.sent, sender.refused
    );
    assert_eq!(account.deaths, kills);
    // Ring and fill ring: 4096 + 8192.
    assert!(account.lost_at_death <= kills * 12_288, "{account}");
    // What the sender's interface let out is what the program saw, and what a link being set down let past it. What it did not let out while the link was down it
    // counted; the sender was told of most of it, not of what a switched-off queueing discipline swallowed.
    let wire = bed.sending_link().counters;
    assert_eq!(wire.tx_packets, account.seen + account.bypassed, "{account}, {wire:?}");
    assert_eq!(sender.sent + sender.refused, 1_000_000);
    assert_sender_closes(test, sender.sent + sender.refused, &wire, &ring_frees);
    worker.stop();
    assert_clean(&bed, &settings);
}

#[test]
fn live_restart_flap_and_kill_in_copy_mode_native() {
    if let Ok(spec) = std::env::var(CHILD) {
        return child(&spec);
    }
    privileged!("live_restart_flap_and_kill_in_copy_mode_native");
    ordeal(HOST, "copy");
}

#[test]
fn live_restart_flap_and_kill_in_generic_mode() {
    privileged!("live_restart_flap_and_kill_in_generic_mode");
    ordeal("live_restart_flap_and_kill_in_generic_mode", "generic");
}

/// What a killed process pinned for an interface that is gone is removed by the next start, of whatever instance; what it
/// pinned for one that is there waits to be taken over.
#[test]
fn live_pins_of_a_dead_process_and_a_gone_interface_are_swept() {
    privileged!("live_pins_of_a_dead_process_and_a_gone_interface_are_swept");
    let (bed, other) = (Bed::new(1), Bed::new(1));
    let left = settings(&bed, Mode::Copy);
    Worker::start(&bed, "copy").kill();
    drop(Interface::attach(&settings(&other, Mode::Copy)).unwrap());
    assert!(pin_path(&left).join("link").exists(), "its interface is there: the next start on it takes it over");
    run(&format!("ip netns del {}", bed.sensor));
    // The kernel takes a namespace apart in its own time.
    let swept = |_: &()| !left.pin_directory.join(&left.instance).exists();
    until("swept", || drop(Interface::attach(&settings(&other, Mode::Copy)).unwrap()), swept);
    assert_clean(&other, &settings(&other, Mode::Copy));
}

/// A queue is closed and opened again under load, many times: no EBUSY reaches us, no frame is lost, and none meets an
/// empty fill ring, for the ring is full before the socket can be found.
fn reopen(mode: Mode) {
    let bed = Bed::new(1);
    let interface = Interface::attach(&settings(&bed, mode)).unwrap();
    let mut sender = Sender::open(&bed, 100, 64);
    let sending = std::thread::spawn(move || {
        sender.send(500_000, |_| ());
        sender
    });
    let mut rounds = 0;
    while !sending.is_finished() {
        let running = Running::start(&interface);
        assert!(matches!(interface.open_queue(0), Err(XdpError::AlreadyOpen { .. })));
        let before = received(&interface);
        until("frames come", || received(&interface), |now| *now > before + 2_000 || sending.is_finished());
        running.stop();
        rounds += 1;
    }
    let sender = sending.join().unwrap();
    let accounts = interface.detach();
    assert_closed(&accounts);
    assert_eq!(accounts[0].openings, rounds);
    assert_eq!((accounts[0].deaths, accounts[0].lost_at_death, accounts[0].abandoned), (0, 0, 0));
    assert_eq!((accounts[0].refused_no_frame, accounts[0].socket.rx_fill_ring_empty_descs), (0, 0), "{}", accounts[0]);
    assert_eq!(sender.sent, accounts[0].seen);
    assert_eq!(sender.sent, accounts[0].frames_received + accounts[0].refused() + accounts[0].passed_no_socket);
    assert!(rounds > 2, "{rounds}");
}

#[test]
fn live_a_queue_opens_again_at_once() {
    privileged!("live_a_queue_opens_again_at_once");
    reopen(Mode::Copy);
}

#[test]
fn live_a_queue_opens_again_at_once_in_generic_mode() {
    privileged!("live_a_queue_opens_again_at_once_in_generic_mode");
    reopen(Mode::Generic);
}

/// A source moves between threads under load as a queue moves between workers.
#[test]
fn live_a_queue_moves_between_threads() {
    privileged!("live_a_queue_moves_between_threads");
    let bed = Bed::new(1);
    let interface = Interface::attach(&settings(&bed, Mode::Copy)).unwrap();
    let mut source = interface.open_queue(0).unwrap();
    let stop = source.stop_handle().unwrap();
    let mut sender = Sender::open(&bed, 100, 64);
    let sending = std::thread::spawn(move || {
        sender.send_paced(200_000, 100_000);
        sender
    });
    let mut total = 0;
    while !sending.is_finished() {
        let turns = std::thread::spawn(move || {
            let mut counters = CounterBlock::on(source.counter_memory());
            let count: u64 = (0..50).map_while(|_| turn(&mut source, &mut counters)).sum();
            (source, count)
        });
        let (back, count) = turns.join().unwrap();
        (source, total) = (back, total + count);
    }
    stop.stop();
    total += pump(&mut source);
    drop(source);
    let sender = sending.join().unwrap();
    let accounts = interface.detach();
    assert_closed(&accounts);
    assert_eq!(sender.sent, total + accounts[0].refused());
}

/// The interface is deleted and made again under its name: attached and bound anew, the books go on.
#[test]
fn live_an_interface_goes_and_comes_back() {
    privileged!("live_an_interface_goes_and_comes_back");
    let bed = Bed::new(2);
    let interface = Interface::attach(&settings(&bed, Mode::Auto)).unwrap();
    let running = Running::start(&interface);
    let mut sent = 0;
    for round in 0..3 {
        let mut sender = Sender::open(&bed, 100, 64);
        sender.send_paced(20_000, 100_000);
        sent += sender.sent;
        until("all received", || interface.accounts(), |accounts| sum(accounts, |queue| queue.frames_received) == sent);
        if round == 2 {
            break;
        }
        run(&format!("ip -n {} link del rx0", bed.sensor));
        until("seen as away", || interface.status().state, |state| matches!(state, InterfaceState::Away { .. }));
        bed.add_link(2);
        until(
            "back",
            || interface.status(),
            |status| status.state == InterfaceState::Running && status.rearmed == round + 1,
        );
    }
    running.stop();
    let accounts = interface.detach();
    assert_closed(&accounts);
    assert_eq!(sum(&accounts, |queue| queue.seen), sent);
    assert!(accounts.iter().all(|queue| queue.openings == 3));
}

/// The whole namespace is deleted and made again: our sockets do not keep the old one alive, and capture goes on.
#[test]
fn live_a_namespace_goes_and_comes_back() {
    privileged!("live_a_namespace_goes_and_comes_back");
    let bed = Bed::new(1);
    let interface = Interface::attach(&settings(&bed, Mode::Auto)).unwrap();
    let running = Running::start(&interface);
    let mut sent = 0;
    for round in 0..2 {
        let mut sender = Sender::open(&bed, 100, 64);
        sender.send_paced(10_000, 100_000);
        sent += sender.sent;
        drop(sender);
        until("all received", || interface.accounts()[0].frames_received, |received| *received == sent);
        if round == 1 {
            break;
        }
        run(&format!("ip netns del {}", bed.sensor));
        // The kernel takes the pair away with the namespace, so nothing of ours holds that any more.
        let sending_end = || Command::new("ip").args(["-n", &bed.sender, "link", "show", "tx0"]).output().unwrap();
        until("the namespace is gone", || sending_end().status.success(), |there| !there);
        assert!(matches!(interface.status().state, InterfaceState::Away { .. }));
        run(&format!("ip netns add {}", bed.sensor));
        bed.add_link(1);
        until("back", || interface.status(), |status| status.state == InterfaceState::Running && status.rearmed == 1);
    }
    running.stop();
    let accounts = interface.detach();
    assert_closed(&accounts);
    assert_eq!(accounts[0].seen, sent);
}

/// The kernel's queue count grows under us: the status knows, and the new queue's frames are counted.
#[test]
fn live_a_queue_that_comes_later_is_seen() {
    privileged!("live_a_queue_that_comes_later_is_seen");
    let bed = Bed::new(2);
    let space = &bed.sensor;
    run(&format!("ip netns exec {} ethtool -L tx0 tx 1", bed.sender));
    run(&format!("ip netns exec {space} ethtool -L rx0 rx 1"));
    let interface = Interface::attach(&settings(&bed, Mode::Copy)).unwrap();
    assert_eq!(interface.queues(), [0]);
    let running = Running::start(&interface);
    run(&format!("ip netns exec {space} ethtool -L rx0 rx 2"));
    run(&format!("ip netns exec {} ethtool -L tx0 tx 2", bed.sender));
    until("two queues in use", || interface.status().queues_in_use, |count| *count == 2);
    // veth runs no program on queues added while it is up (drivers/net/veth.c, veth_set_channels) before its next start.
    run(&format!("ip -n {space} link set rx0 down && ip -n {space} link set rx0 up"));
    let mut sender = Sender::open(&bed, 1000, 64);
    sender.send_paced(20_000, 100_000);
    until("all seen", || sum(&interface.accounts(), |queue| queue.seen), |seen| *seen == sender.sent);
    let processed = running.stop();
    let accounts = interface.detach();
    assert_closed(&accounts);
    let passed = sum(&accounts, |queue| queue.passed_no_socket);
    assert!(passed > 0);
    assert_eq!(sender.sent, processed + passed + sum(&accounts, QueueAccount::refused));
}

/// On an interface with the host's own addresses the kernel goes on answering ARP and SSH, and the worker sees it all.
#[test]
fn live_a_shared_interface_keeps_working_for_the_host() {
    privileged!("live_a_shared_interface_keeps_working_for_the_host");
    let bed = Bed::new(1);
    run(&format!("ip -n {} addr add 198.51.100.1/24 dev rx0", bed.sensor));
    run(&format!("ip -n {} addr add 198.51.100.2/24 dev tx0", bed.sender));
    let settings = InterfaceSettings {
        shared: Shared::Auto,
        management: Management { ports: vec![(Transport::Tcp, 22)], addresses: Vec::new() },
        ..settings(&bed, Mode::Copy)
    };
    let interface = Interface::attach(&settings).unwrap();
    assert!(interface.status().shared);
    assert!(
        is_shared(&settings).unwrap()
            && !is_shared(&InterfaceSettings { shared: Shared::No, ..settings.clone() }).unwrap()
    );
    assert_eq!(settings.left_to_the_machine(), "ARP, neighbour discovery, tcp/22");
    let running = Running::start(&interface);
    // The kernel answers: "connection refused" comes from its TCP, after its ARP.
    let answer = Command::new("ip")
        .args(["netns", "exec", &bed.sender, "bash", "-c", "exec 3<>/dev/tcp/198.51.100.1/22"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&answer.stderr).contains("refused"), "{answer:?}");
    let mut sender = Sender::open(&bed, 100, 64);
    sender.send(1_000, |_| ());
    let seen = bed.sending_link().counters.tx_packets;
    until("all received", || interface.accounts()[0].frames_received, |now| *now == seen);
    let processed = running.stop();
    let accounts = interface.detach();
    assert_closed(&accounts);
    let account = &accounts[0];
    assert!(account.passed_arp >= 1 && account.passed_management >= 1, "{account}");
    assert_eq!(account.copied, account.kept());
    assert_eq!(account.bypassed, 0, "what the program saw and passed is no bypass: {account}");
    assert_eq!(account.mirror_frames, account.copied);
    assert_eq!(processed, account.seen);
}

/// Frames lie on huge pages where there are some; where not, the reason names the cure and capture works all the same.
#[test]
fn live_huge_pages_or_a_reason() {
    privileged!("live_huge_pages_or_a_reason");
    let bed = Bed::new(1);
    let interface = Interface::attach(&InterfaceSettings { ring_entries: 64, ..settings(&bed, Mode::Auto) }).unwrap();
    let source = interface.open_queue(0).unwrap();
    let facts = source.facts().unwrap();
    match &facts.huge_pages {
        Ok(()) => assert_eq!(facts.frames, (2 << 20) / facts.frame_bytes, "whole huge pages are used"),
        Err(reason) => assert!(reason.contains("hugepages/huge-pages apply"), "{reason}"),
    }
    drop(source);
    let plain = InterfaceSettings { huge_pages: false, ..settings(&bed, Mode::Auto) };
    drop(interface);
    let interface = Interface::attach(&plain).unwrap();
    let source = interface.open_queue(0).unwrap();
    assert_eq!(source.facts().unwrap().huge_pages, Err("not asked for".to_owned()));
}

#[test]
fn live_refusals_name_cause_and_remedy() {
    privileged!("live_refusals_name_cause_and_remedy");
    let bed = Bed::new(1);
    let attach = |settings: &InterfaceSettings| Interface::attach(settings).map(drop).unwrap_err().to_string();
    let good = settings(&bed, Mode::Copy);

    let none = InterfaceSettings { name: "no0".to_owned(), ..good.clone() };
    assert!(attach(&none).contains("ip link"), "{}", attach(&none));
    let nowhere = InterfaceSettings { namespace: Some("no-such-netns".to_owned()), ..good.clone() };
    assert!(attach(&nowhere).contains("ip netns list"), "{}", attach(&nowhere));
    let beyond = InterfaceSettings { queues: vec![7], ..good.clone() };
    assert!(attach(&beyond).contains("it has 1 receive queues"), "{}", attach(&beyond));

    let interface = Interface::attach(&InterfaceSettings { mode: Mode::ZeroCopy, ..good.clone() }).unwrap();
    let error = interface.open_queue(0).map(drop).unwrap_err();
    assert!(matches!(&error, XdpError::NoZeroCopy { cause, .. } if cause.raw_os_error() == Some(libc::EOPNOTSUPP)));
    assert!(error.to_string().contains("EOPNOTSUPP") && error.to_string().contains("auto"), "{error}");
    let error = Interface::attach(&good).map(drop).unwrap_err();
    assert!(matches!(error, XdpError::Taken { .. }), "{error}");
    let here = format!("(process {})", std::process::id());
    assert!(error.to_string().contains(&here), "{error}");
    // Whatever its instance: a program whose process lives must not be taken off.
    let other = InterfaceSettings { instance: format!("{}-other", good.instance), ..good.clone() };
    let error = Interface::attach(&other).map(drop).unwrap_err();
    assert!(matches!(error, XdpError::Taken { .. }) && error.to_string().contains(&here), "{error}");
    assert!(error.to_string().contains(&format!("instance {:?}", good.instance)), "{error}");
    assert!(!error.to_string().contains("xdp off") && !error.to_string().contains("bpftool"), "{error}");
    drop(interface);
    // Its process is dead: it may be taken over, or taken off.
    Worker::start(&bed, "copy").kill();
    let error = Interface::attach(&other).map(drop).unwrap_err();
    assert!(matches!(error, XdpError::Foreign { .. }), "{error}");
    for part in [&format!("instance = {:?}", good.instance), "xdp off", "bpftool link detach"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    drop(Interface::attach(&good).unwrap());
    assert_clean(&bed, &good);
    assert_clean(&bed, &other);
}

#[test]
fn live_offloads_that_falsify_frames_are_named() {
    privileged!("live_offloads_that_falsify_frames_are_named");
    let bed = Bed::new(1);
    let found = || falsifying_offloads("rx0", Some(&bed.sensor)).unwrap();
    assert_eq!(found(), []);
    run(&format!("ip netns exec {} ethtool -K rx0 gro on tso on tx on rxvlan on", bed.sensor));
    let findings = found();
    for feature in ["rx-gro", "tx-tcp-segmentation", "tx-checksum-ip-generic", "rx-vlan-hw-parse"] {
        assert!(findings.iter().any(|finding| finding.feature == feature), "{feature}: {findings:#?}");
    }
    // The commands it gives are the cure.
    for finding in findings {
        run(&finding.fix);
    }
    assert_eq!(found(), []);
}

/// Busy polling receives like waiting does, and NAPI's settings are what they were afterwards.
#[test]
fn live_busy_polling_receives_and_restores_napi() {
    privileged!("live_busy_polling_receives_and_restores_napi");
    let bed = Bed::new(1);
    let napi = || {
        let command = "cd /sys/class/net/rx0 && cat napi_defer_hard_irqs gro_flush_timeout";
        let output = Command::new("ip").args(["netns", "exec", &bed.sensor, "sh", "-c", command]).output();
        String::from_utf8_lossy(&output.unwrap().stdout).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = napi();
    // A process that is killed leaves its settings; the next one restores them, though it wants none itself.
    Worker::start(&bed, "busy").kill();
    assert_eq!(napi(), ["2", "200000"]);
    drop(Interface::attach(&settings(&bed, Mode::Copy)).unwrap());
    assert_eq!(napi(), before);

    let settings = InterfaceSettings { busy_poll: Some(BusyPoll::default()), ..settings(&bed, Mode::Copy) };
    let interface = Interface::attach(&settings).unwrap();
    assert_eq!(napi(), ["2", "200000"]);
    let running = Running::start(&interface);
    assert_eq!(interface.status().queues[0].busy_poll, Some(Ok(())));
    let mut sender = Sender::open(&bed, 100, 64);
    sender.send_paced(50_000, 50_000);
    until("all received", || interface.accounts()[0].seen, |seen| *seen == sender.sent);
    let processed = running.stop();
    let accounts = interface.detach();
    assert_closed(&accounts);
    assert_eq!(sender.sent, processed + accounts[0].refused());
    assert_eq!(napi(), before);
}
