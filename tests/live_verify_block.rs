//! `shrike verify-block` at a running pair: blocks that work, one that the kernel forgot, and books that close.

#[path = "support/http.rs"]
mod http;
mod live;
mod support;

use live::pair::PairBed;
use live::process::Shrike;
use serde_json::{Value, json};
use shrike::dataplane::capture::xdp::{Policy, Verdicts, verdict_path};
use shrike::dataplane::verdict::{Enforcer, Subject};
use std::process::Command;

/// Exit code and what it says, as JSON where it did.
fn verify(shrike: &Shrike, config: &str, further: &[&str]) -> (i32, Value, String) {
    let url = format!("http://{}", shrike.address());
    let output = Command::new(env!("CARGO_BIN_EXE_shrike"))
        .args(["verify-block", "-c", config, "--json", "--url", &url])
        .args(further)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), serde_json::from_str(&said).unwrap_or_default(), errors)
}

fn failed(verified: &Value) -> Vec<String> {
    let steps = verified["steps"].as_array().unwrap().iter();
    steps.filter(|step| step["passed"] == false).map(|step| step["step"].to_string()).collect()
}

#[test]
fn live_verify_block_proves_what_works_and_sees_what_does_not() {
    if !support::privileged("live_verify_block_proves_what_works_and_sees_what_does_not") {
        return;
    }
    let bed = PairBed::new(1);
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "[[pair]]\nname = \"wire\"\nports = [\"a0\", \"b0\"]\nnetns = \"{0}\"\nring = 1024\nheartbeat_ms = 1000\n\
         [capture]\ninstance = \"{0}\"\n[flow]\ncapacity = 16384\n",
        bed.appliance
    );
    std::fs::write(file.path(), text).unwrap();
    let config = file.path().to_str().unwrap();
    let shrike = Shrike::start_plan(&["-c".to_owned(), config.to_owned()]);
    let (code, verified, errors) = verify(&shrike, config, &[]);
    assert_eq!((code, &verified["verified"]), (0, &json!(true)), "{verified:#} {errors}");
    let ports: Vec<_> = verified["steps"].as_array().unwrap().iter().filter_map(|step| step["port"].as_str()).collect();
    assert!(ports.iter().any(|port| port.contains("a0")) && ports.iter().any(|port| port.contains("b0")), "{ports:?}");
    let mut client = http::Client::connect(shrike.address());
    let left = client.get("/v1/responses").json();
    assert_eq!(left["set"]["subjects"], 0, "nothing of it stays: {left:#}");

    // One that there is, and nobody's.
    let order = json!({ "protocol": "block_ip", "parameters": { "prefixes": ["198.18.0.0/24", "2001:db8:77::/48"] } });
    let begun = client.send("POST", "/v1/responses", &[("content-type", "application/json")], &order.to_string());
    let id = begun.json()["response"]["id"].as_str().unwrap().to_owned();
    for block in ["198.18.0.0/24", &id] {
        let (code, verified, errors) = verify(&shrike, config, &[block]);
        assert_eq!((code, &verified["verified"]), (0, &json!(true)), "{verified:#} {errors}");
    }
    let (code, _, errors) = verify(&shrike, config, &["198.18.1.0/24"]);
    assert!(code == 3 && errors.contains("no block_ip is about exactly"), "{errors}");

    // A kernel that forgets, again and again: what the sensor believes is not what happens.
    let verdicts = Verdicts::open(&verdict_path(&bed.settings(Policy::default()).ports[0])).unwrap();
    let forgotten =
        [Subject::Prefix("198.18.0.0".parse().unwrap(), 24), Subject::Prefix("2001:db8:77::".parse().unwrap(), 48)];
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                verdicts.remove(&forgotten).unwrap();
            }
        });
        let (code, verified, errors) = verify(&shrike, config, &[&id]);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(code, 3, "{verified:#} {errors}");
        assert!(failed(&verified).iter().any(|step| step.contains("frames of it are dropped")), "{verified:#}");
    });
    // Frames that were on no wire are in no equation but the program's own, which closes; none of them met the worker.
    let summary = shrike.terminate();
    assert_eq!(summary["loss"]["closed"], true, "{summary:#}");
}
