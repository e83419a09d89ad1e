//! `shrike doctor` on a veth: what it says comes from the kernel, not from a list of drivers.

mod live;
mod support;

use live::Bed;
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
