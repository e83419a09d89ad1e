//! The link of one side shown on the other by the shipped program, and given back however it ends.

#[path = "support/http.rs"]
mod http;
mod live;
mod support;

use live::pair::PairBed;
use live::process::Shrike;
use live::wire::Wire;
use live::{Sender, link, run, until};
use serde_json::Value;

fn pair(shrike: &Shrike) -> Value {
    http::Client::connect(shrike.address()).get("/v1/pairs").json()["pairs"][0].clone()
}

/// The client's end of its cable.
fn cable(bed: &PairBed, state: &str) {
    run(&format!("ip -n {} link set c0 {state}", bed.client));
}

/// Waits for what the server sees of its link.
fn server_sees(bed: &PairBed, is_up: bool, what: &str) {
    until(what, || link(&bed.server, "s0").running, |running| *running == is_up);
}

/// Frames reach the server again, by whatever way, however many are lost first.
fn crosses(bed: &PairBed, what: &str) {
    let received = || link(&bed.server, "s0").counters.rx_packets;
    let mut sender = Sender::on(&bed.client, "c0", 50, 64);
    let before = received();
    let send = || {
        sender.send(10, |_| ());
        received()
    };
    until(what, send, |now| *now > before + 100);
}

#[test]
fn live_pair_link_follows_and_is_given_back_however_it_ends() {
    if !support::privileged("live_pair_link_follows_and_is_given_back_however_it_ends") {
        return;
    }
    let wire = Wire::new("link = \"follow\"", "");
    let bed = &wire.bed;
    let shrike = wire.start();
    crosses(bed, "frames cross");
    let set = |shrike: &Shrike, term: &str| pair(shrike)["link"][term].as_u64().unwrap();
    assert_eq!((pair(&shrike)["link"]["policy"].as_str(), set(&shrike, "set_down")), (Some("follow"), 0));

    for round in 1..=2 {
        cable(bed, "down");
        server_sees(bed, false, "the server sees the client's cable go");
        until("it is told", || pair(&shrike)["link"].clone(), |link| link["held"] == serde_json::json!([false, true]));
        let status = || http::Client::connect(shrike.address()).get("/v1/status").json()["degraded"].to_string();
        until("and so is the port", status, |text| text.contains("b0 is held down"));
        cable(bed, "up");
        server_sees(bed, true, "and come back");
        let sent = || pair(&shrike)["directions"][0]["sent"].as_u64().unwrap();
        let before = sent();
        crosses(bed, "frames cross again");
        until("through the same worker", sent, |now| *now > before);
        assert_eq!((set(&shrike, "set_down"), set(&shrike, "set_up")), (round, round), "no circles");
    }
    // A bypass leaves both as they are.
    cable(bed, "down");
    server_sees(bed, false, "held down");
    wire.bypass(&["on", "wire"]);
    server_sees(bed, true, "a bypass holds nothing down");
    wire.bypass(&["off", "wire"]);
    server_sees(bed, false, "held down again");
    // A process that stands still, and one that dies, hold nothing down either.
    run(&format!("kill -STOP {}", shrike.child.id()));
    server_sees(bed, true, "a process that hangs holds nothing down");
    run(&format!("kill -CONT {}", shrike.child.id()));
    server_sees(bed, false, "it goes on");
    shrike.kill();
    server_sees(bed, true, "a dead process holds nothing down");
    cable(bed, "up");
    crosses(bed, "frames cross in the kernel");

    let shrike = wire.start();
    cable(bed, "down");
    server_sees(bed, false, "the next one follows");
    let summary = shrike.terminate();
    server_sees(bed, true, "and lets go when it ends");
    assert_eq!(summary["loss"]["closed"], true, "{summary:#}");
    cable(bed, "up");
    crosses(bed, "frames cross in the kernel again");

    // Killed together with who would set it up: the next start does.
    let shrike = wire.start();
    cable(bed, "down");
    server_sees(bed, false, "held down");
    run(&format!("kill -STOP {0} && pkill -KILL -P {0}", shrike.child.id()));
    shrike.kill();
    server_sees(bed, false, "nobody is left");
    let shrike = wire.start();
    // It is let go, and set down again as the cable is still out.
    until("let go and held anew", || set(&shrike, "set_down"), |count| *count == 1);
    cable(bed, "up");
    server_sees(bed, true, "up at last");
    crosses(bed, "frames cross to the end");
}
