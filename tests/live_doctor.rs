//! `shrike doctor` on a veth: what it says comes from the kernel, not from a list of drivers.

mod live;
mod support;

use live::wire::Wire;
use live::{Bed, link, run, until};
use std::process::Command;

#[test]
fn live_doctor_says_copy_mode_only_on_veth() {
    if !support::privileged("live_doctor_says_copy_mode_only_on_veth") {
        return;
    }
    let bed = Bed::new(2);
    let output = Command::new(env!("CARGO_BIN_EXE_shrike"))
        .args(["doctor", "--json", "-i", &format!("rx0@{}", bed.sensor)])
        .env_remove("SHRIKE_CONFIG")
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let label = format!("{}/rx0", bed.sensor);
    let finding = answer["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == *label);
    let finding = finding.unwrap_or_else(|| panic!("{answer:#}"));
    assert_eq!(finding["verdict"], "fair", "{finding:#}");
    assert!(finding["found"].as_str().unwrap().starts_with("copy mode only: driver veth"), "{finding:#}");
    assert!(finding["fix"].as_str().unwrap().contains("make zero-copy"), "{finding:#}");
}

#[test]
fn live_doctor_looks_at_what_both_ports_of_a_pair_have_in_common() {
    if !support::privileged("live_doctor_looks_at_what_both_ports_of_a_pair_have_in_common") {
        return;
    }
    let wire = Wire::new("", "");
    let finding = |check: &str| {
        let output = wire.shrike(&["doctor", "--json", "-c", wire.config().to_str().unwrap()]);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = answer["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == check).cloned();
        let found = found.unwrap_or_else(|| panic!("{check}: {answer:#}"));
        let text = |key: &str| found[key].as_str().unwrap().to_owned();
        (text("verdict"), text("found"), text("fix"))
    };
    let good = |check: &str| assert_eq!(finding(check).0, "good", "{:?}", finding(check));
    let bad = |check: &str, found: &str, fix: &str| {
        let told = finding(check);
        assert!(told.0 == "bad" && told.1.contains(found) && told.2.contains(fix), "{told:?}");
    };
    let space = &wire.bed.appliance;
    ["wire MTU", "wire a0 link", "wire b0 link", "wire a0 offloads", "wire b0 offloads"]
        .iter()
        .for_each(|check| good(check));
    assert!(finding("wire program").1.contains("not attached"), "{:?}", finding("wire program"));
    let shrike = wire.start();
    until("a worker", || finding("wire program"), |told| told.0 == "good");
    // What crosses is for others.
    assert!(["a0", "b0"].iter().all(|port| link(space, port).promiscuous));
    run(&format!("ip -n {space} link set b0 promisc off"));
    bad("wire program", "b0 takes only frames to its own card", "link set b0 promisc on");
    run(&format!("ip -n {space} link set b0 promisc on mtu 1400"));
    bad("wire MTU", "1500 at a0, 1400 at b0", "ip link set b0 mtu 1500");
    run(&format!("ip -n {space} link set b0 mtu 1500; ip -n {} link set s0 down", wire.bed.server));
    bad("wire b0 link", "without a carrier", "look at the cable");
    run(&format!("ip -n {} link set s0 up", wire.bed.server));
    until("the carrier", || finding("wire b0 link"), |told| told.0 == "good");
    wire.bypass(&["on", "wire"]);
    assert!(finding("wire program").2.contains("bypass off wire"), "{:?}", finding("wire program"));
    shrike.terminate();
}
