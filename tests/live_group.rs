//! The two ports of a fibre tap: each sees one direction of every flow, and the flows are whole all the same.

mod live;
mod support;

use live::process::Shrike;
use live::{Bed, Sender, until};
use shrike::dataplane::capture::xdp::{CounterReader, InterfaceSettings, pin_path};

const FLOWS: u16 = 200;

/// A datagram of a flow, as its client or its server sends it.
fn datagram(flow: u16, answer: bool) -> Vec<u8> {
    let (client, server) = (([192, 0, 2, 1], 10_000 + flow), ([198, 51, 100, (flow % 7) as u8], 53));
    let (from, to) = if answer { (server, client) } else { (client, server) };
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4(from.0, to.0, 64)
        .udp(from.1, to.1)
        .write(&mut frame, &[0x5a; 40])
        .unwrap();
    frame
}

/// How many flows come of requests on one port and answers on another.
fn flows(group: &str) -> u64 {
    let ports = [Bed::new(2), Bed::new(1)];
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("tap.toml");
    let section = |bed: &Bed| format!("[[interface]]\nname = \"rx0\"\nnetns = \"{}\"\n{group}\n", bed.sensor);
    std::fs::write(&config, ports.each_ref().map(section).concat()).unwrap();
    let shrike = Shrike::start_plan(&["-c".to_owned(), config.display().to_string()]);
    let readers = ports.each_ref().map(|bed| {
        let settings = InterfaceSettings { namespace: Some(bed.sensor.clone()), ..InterfaceSettings::new("rx0") };
        CounterReader::open(&pin_path(&settings)).unwrap()
    });
    for (port, answer) in ports.iter().zip([false, true]) {
        let mut sender = Sender::of(port, Vec::new());
        (0..FLOWS).for_each(|flow| sender.send_frame(&datagram(flow, answer)));
    }
    until(
        "every frame is received",
        || readers.iter().flat_map(CounterReader::accounts).map(|queue| queue.frames_received).sum::<u64>(),
        |received| *received == u64::from(FLOWS) * 2,
    );
    let summary = shrike.terminate();
    assert_eq!(summary["loss_equation_closed"], true, "{summary:#}");
    assert_eq!(summary["packets"], u64::from(FLOWS) * 2, "{summary:#}");
    summary["flows"].as_u64().unwrap()
}

#[test]
fn live_flows_are_whole_across_the_interfaces_of_a_group() {
    if support::privileged("live_flows_are_whole_across_the_interfaces_of_a_group") {
        assert_eq!(flows("group = \"fibre\""), u64::from(FLOWS));
    }
}

#[test]
fn live_interfaces_of_no_group_keep_their_flows_apart() {
    if support::privileged("live_interfaces_of_no_group_keep_their_flows_apart") {
        assert_eq!(flows(""), u64::from(FLOWS) * 2);
    }
}
