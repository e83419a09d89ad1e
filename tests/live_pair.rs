//! A pair between a client and a server: every frame arrives as it was sent or has a name for what became of it, whatever happens
//! to the process.

mod live;
mod support;

use live::pair::{PairBed, Receiver, Running};
use live::{Sender, run, udp_frame};
use shrike::dataplane::capture::Source;
use shrike::dataplane::capture::xdp::{Cause, Direction, Fail, Pair, PairReader, Policy};

/// Runs the rest of the test only with the rights it needs.
macro_rules! privileged {
    ($name:literal) => {
        if !support::privileged($name) {
            return;
        }
    };
}

fn assert_closed(directions: &[Direction; 2]) {
    for direction in directions {
        assert!(direction.program_closes(), "{direction:#?}");
        assert_eq!(direction.in_flight(), 0, "{direction:#?}");
    }
}

/// Frames of every kind: plain, tagged once and twice, of types nobody decodes, from the shortest to the longest, with wrong sums.
fn kinds() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for bytes in [60, 64, 128, 590, 1514] {
        frames.push(udp_frame(7, bytes));
    }
    let plain = udp_frame(9, 200);
    for tags in [&[0x81, 0, 0x20, 5][..], &[0x88, 0xa8, 0, 7, 0x81, 0, 0xef, 0xff], &[0x81, 0, 0, 0]] {
        frames.push([&plain[..12], tags, &plain[12..]].concat());
    }
    for kind in [0x0806_u16, 0x88cc, 0x8847, 0x88f7, 0x1234, 0x0026] {
        let mut frame = [&plain[..12], &kind.to_be_bytes()].concat();
        frame.extend((0..100).map(|byte| byte ^ 0x5a));
        frames.push(frame);
    }
    let mut wrong = plain;
    wrong[24] ^= 0xff; // the header's checksum
    frames.push(wrong);
    frames
}

#[test]
fn live_pair_forwards_every_kind_of_frame_untouched_and_in_order() {
    privileged!("live_pair_forwards_every_kind_of_frame_untouched_and_in_order");
    let bed = PairBed::new(1);
    let pair = Pair::attach(&bed.settings(Policy::default())).unwrap();
    let running = Running::start(&pair);
    for (from, to) in [((&bed.client, "c0"), (&bed.server, "s0")), ((&bed.server, "s0"), (&bed.client, "c0"))] {
        let receiver = Receiver::open(to.0, to.1);
        let mut sender = Sender::on(from.0, from.1, 0, 64);
        let frames: Vec<_> = kinds().into_iter().cycle().take(600).collect();
        frames.iter().for_each(|frame| sender.send_frame(frame));
        let arrived = receiver.take(frames.len());
        assert_eq!(arrived.len(), frames.len());
        for (number, (sent, arrived)) in frames.iter().zip(&arrived).enumerate() {
            assert_eq!(sent, arrived, "frame {number}");
        }
    }
    let taken = running.stop();
    let directions = pair.directions();
    assert_closed(&directions);
    assert_eq!(taken, directions.iter().map(|direction| direction.taken).sum::<u64>());
    for direction in &directions {
        assert!(direction.received >= 600 && direction.forwarded() == direction.received, "{direction:#?}");
        assert_eq!(
            direction.tx_refused + direction.lost_in_hands + direction.program.peer_refused,
            0,
            "{direction:#?}"
        );
    }
}

#[test]
fn live_pair_without_a_process_does_what_its_policy_says() {
    privileged!("live_pair_without_a_process_does_what_its_policy_says");
    for (fail, expected) in [(Fail::Open, 500), (Fail::Closed, 0)] {
        let bed = PairBed::new(1);
        let settings = bed.settings(Policy::all(fail));
        drop(Pair::attach(&settings).unwrap());
        let receiver = Receiver::open(&bed.server, "s0");
        let mut sender = Sender::on(&bed.client, "c0", 100, 64);
        sender.send(500, |_| ());
        assert_eq!(receiver.take(expected).len(), expected);
        let pair = Pair::attach(&settings).unwrap();
        let [direction, _] = pair.directions();
        assert_eq!(direction.received, 500, "{direction:#?}");
        let (bypassed, withheld) = (direction.program.bypassed[Cause::Crash], direction.program.withheld[Cause::Crash]);
        assert_eq!((bypassed, withheld), if fail == Fail::Open { (500, 0) } else { (0, 500) }, "{direction:#?}");
        if fail == Fail::Closed {
            assert_eq!(receiver.next(std::time::Duration::ZERO), None, "a frame leaked");
        }
        // An operator's bypass opens a closed pair, with nobody there to ask.
        let reader = PairReader::open(&settings).unwrap();
        reader.bypass(true);
        sender.send(100, |_| ());
        assert_eq!(receiver.take(100).len(), 100);
        reader.bypass(false);
        drop(pair);
        reader.release().unwrap();
    }
}

#[test]
fn live_pair_carries_tcp() {
    privileged!("live_pair_carries_tcp");
    let bed = PairBed::new(1);
    let pair = Pair::attach(&bed.settings(Policy::default())).unwrap();
    let running = Running::start(&pair);
    run(&format!("ip netns exec {} ping -c 3 -i 0.2 -W 5 10.9.0.2", bed.client));
    running.stop();
    assert_closed(&pair.directions());
}

#[test]
fn live_pair_refuses_ports_that_would_change_frames() {
    privileged!("live_pair_refuses_ports_that_would_change_frames");
    let bed = PairBed::new(1);
    run(&format!("ip netns exec {} ethtool -K b0 rxvlan on", bed.appliance));
    let refused = Pair::attach(&bed.settings(Policy::default())).err().expect("a tag would be lost").to_string();
    assert!(refused.contains("rx-vlan-hw-parse") && refused.contains("ethtool -K b0 rxvlan off"), "{refused}");
}

#[test]
fn live_pair_withholds_frames_for_a_cause_that_is_said_and_closed() {
    privileged!("live_pair_withholds_frames_for_a_cause_that_is_said_and_closed");
    let bed = PairBed::new(1);
    let pair = Pair::attach(&bed.settings(Policy::default().with(Cause::Store, Fail::Closed))).unwrap();
    let running = Running::start(&pair);
    let receiver = Receiver::open(&bed.server, "s0");
    let mut sender = Sender::on(&bed.client, "c0", 10, 64);
    let pass = |sender: &mut Sender, count: usize| {
        sender.send(count as u64, |_| ());
        assert_eq!(receiver.take(count).len(), count);
    };
    pass(&mut sender, 20);
    pair.say(Cause::Model, true); // open: the worker goes on without
    pass(&mut sender, 20);
    pair.say(Cause::Store, true);
    sender.send(30, |_| ());
    pair.say(Cause::Store, false);
    pass(&mut sender, 20);
    running.stop();
    let directions = pair.directions();
    assert_closed(&directions);
    let [direction, _] = &directions;
    assert_eq!((direction.program.withheld[Cause::Store], direction.sent), (30, 60), "{direction:#?}");
    assert_eq!(receiver.next(std::time::Duration::ZERO), None, "none of them came later");
}

/// What was given while a worker stood still is overload before the ring is full, and goes on in the kernel or nowhere.
#[test]
fn live_pair_overload_loses_no_frame_that_its_policy_does_not_withhold() {
    privileged!("live_pair_overload_loses_no_frame_that_its_policy_does_not_withhold");
    for fail in [Fail::Open, Fail::Closed] {
        let bed = PairBed::new(1);
        let mut settings = bed.settings(Policy::default().with(Cause::Overload, fail));
        settings.beat_limit_ns = 60_000_000_000; // standing still is no hang here
        let pair = Pair::attach(&settings).unwrap();
        let mut source = pair.open_queue(0).unwrap();
        let stop = source.stop_handle().unwrap();
        source.receive(64); // the first sign of life
        let receiver = Receiver::open(&bed.server, "s0");
        let mut sender = Sender::on(&bed.client, "c0", 100, 64);
        sender.send(3000, |_| ());
        let worker = std::thread::spawn(move || live::pair::pump(&mut source));
        let expected = if fail == Fail::Open { 3000 } else { 1024 };
        assert_eq!(receiver.take(expected).len(), expected);
        // Once it was empty, frames go to the worker again.
        sender.send(10, |_| ());
        assert_eq!(receiver.take(10).len(), 10);
        stop.stop();
        assert_eq!(worker.join().unwrap(), 1034);
        let directions = pair.directions();
        assert_closed(&directions);
        let [direction, _] = &directions;
        let program = &direction.program;
        let beyond = (program.bypassed[Cause::Overload], program.withheld[Cause::Overload]);
        assert_eq!(beyond, if fail == Fail::Open { (1976, 0) } else { (0, 1976) }, "{direction:#?}");
        assert_eq!(direction.refused + direction.tx_refused + direction.lost_in_hands, 0, "{direction:#?}");
    }
}
