//! A link that goes down and up under load: each frame that the sender's interface let out is in the books.

mod live;
mod support;

use live::pump::{Running, assert_closed, settings, sum};
use live::veth::{RingFrees, assert_sender_closes};
use live::{Bed, Sender, run, until};
use shrike::dataplane::capture::xdp::{Interface, Mode};

#[test]
fn live_every_frame_is_named_when_the_link_flaps() {
    const TEST: &str = "live_every_frame_is_named_when_the_link_flaps";
    if !support::privileged(TEST) {
        return;
    }
    let bed = Bed::new(1);
    let ring_frees = RingFrees::count();
    let interface = Interface::attach(&settings(&bed, Mode::Copy)).unwrap();
    let running = Running::start(&interface);
    let mut sender = Sender::open(&bed, 1000, 64);
    let sending = std::thread::spawn(move || {
        sender.send_paced(600_000, 100_000);
        sender
    });
    while !sending.is_finished() {
        run(&format!("ip -n {} link set rx0 down && ip -n {} link set rx0 up", bed.sensor, bed.sensor));
        let received = sum(&interface.accounts(), |queue| queue.frames_received);
        until(
            "frames come again after the flap",
            || sum(&interface.accounts(), |queue| queue.frames_received),
            |now| *now > received || sending.is_finished(),
        );
    }
    let sender = sending.join().unwrap();
    running.stop();
    let (sending, sensor) = (bed.sending_link().counters, bed.sensor_link().counters);
    let accounts = interface.detach();
    assert_closed(&accounts);
    let account = &accounts[0];
    assert_eq!(sending.tx_packets, account.seen + account.bypassed, "{account}, {sending:?}, {sensor:?}");
    assert_sender_closes(TEST, sender.sent + sender.refused, &sending, &ring_frees);
}
