//! Models change over HTTP while the shipped program captures from AF_XDP sockets: no frame is lost for it.

mod live;
mod support;

#[path = "support/http.rs"]
mod http;
#[path = "support/shipped.rs"]
mod shipped;

use http::Client;
use live::process::Shrike;
use live::{Bed, Sender, until};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Frames a second: a ring of 2048 holds those of 400 ms, whatever else the machine does.
const RATE: u64 = 5_000;

fn activate(client: &mut Client, name: &str) -> (u16, Value) {
    let answer = client.send("POST", &format!("/v1/models/{name}/activate"), &[], "");
    (answer.status, answer.json())
}

fn models(shrike: &Shrike, arguments: &[&str]) -> (Option<i32>, String) {
    let url = format!("http://{}", shrike.address());
    let output =
        Command::new(env!("CARGO_BIN_EXE_shrike")).arg("models").args(arguments).args(["--url", &url]).output();
    let output = output.expect("the program");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("text"))
}

#[test]
fn live_models_change_and_no_frame_is_lost_for_it() {
    const TEST: &str = "live_models_change_and_no_frame_is_lost_for_it";
    if !support::privileged(TEST) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let first = shipped::put(folder.path(), "first", |_| ());
    shipped::put(folder.path(), "second", shipped::from(0.999));
    let torn = shipped::put(folder.path(), "torn", |_| ());
    let whole = std::fs::read(folder.path().join("torn.onnx")).unwrap();
    std::fs::write(folder.path().join("torn.onnx"), &whole[..whole.len() / 2]).unwrap();
    assert!(torn.exists());
    if shipped::load(first.clone(), |why| support::skip(TEST, "runtime", why)).is_none() {
        return;
    }
    let bed = Bed::new(2);
    let config = folder.path().join("shrike.toml");
    std::fs::write(&config, format!("[model]\nmanifest = \"{}\"\n", first.display())).unwrap();
    let interface = format!("rx0@{}", bed.sensor);
    let arguments = ["--mode", "copy", "-i", &interface, "-c", config.to_str().unwrap()].map(str::to_owned);
    let shrike = Shrike::start_scoring(&arguments);
    let stop = Arc::new(AtomicBool::new(false));
    let mut sender = Sender::open(&bed, 500, 64);
    let sending = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stop.load(Relaxed) {
                sender.send_paced(RATE / 10, RATE);
            }
            sender
        })
    };
    let mut client = Client::connect(shrike.address());
    let scored = |client: &mut Client| client.get("/v1/status").json()["totals"]["scored"].as_u64().unwrap();
    until("rows are scored", || scored(&mut client), |rows| *rows > 0);
    for turn in 0..12 {
        let (status, change) = activate(&mut client, "second");
        assert_eq!(
            (status, &change["active"], &change["queues"]["of"]),
            (200, &json!("second"), &json!(2)),
            "{change}"
        );
        assert_eq!(activate(&mut client, "torn").0, 422);
        if turn % 2 == 0 {
            let answer = client.send("POST", "/v1/models/rollback", &[], "");
            assert_eq!((answer.status, &answer.json()["active"]), (200, &json!("first")));
        } else {
            assert_eq!(activate(&mut client, "first").0, 200);
        }
    }
    until("status has it", || client.get("/v1/status").json()["model"]["name"].clone(), |name| name == "first");
    // The same on the terminal.
    let (code, said) = models(&shrike, &["shadow", "second"]);
    assert_eq!((code, said.trim_end()), (Some(0), "flow: active first, shadow second"));
    let compared = |client: &mut Client| {
        let view = client.get("/v1/models").json();
        let second = view["items"].as_array().unwrap().iter().find(|item| item["name"] == "second").cloned().unwrap();
        second["comparison"]["rows"].as_u64().unwrap_or(0)
    };
    until("rows are compared", || compared(&mut client), |rows| *rows > 0);
    let (code, said) = models(&shrike, &[]);
    assert_eq!(code, Some(0));
    for words in
        ["first  active  flow", "second  shadow  flow", "beside first:", "torn  failed  flow", "expected sha256"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    let (code, said) = models(&shrike, &["activate", "nobody"]);
    assert!(code == Some(1) && said.contains("404") && said.contains("no model `nobody`"), "{said}");
    let (code, said) = models(&shrike, &["none", "second", "--json"]);
    assert!(code == Some(0) && serde_json::from_str::<Value>(&said).unwrap()["shadow"].is_null(), "{said}");
    stop.store(true, Relaxed);
    let sender = sending.join().unwrap();
    let summary = shrike.terminate();
    let wire = bed.sending_link().counters;
    assert_eq!((sender.sent, summary["loss_equation_closed"].as_bool()), (wire.tx_packets, Some(true)), "{summary:#}");
    assert_eq!(summary["packets"], wire.tx_packets, "each frame was taken: {summary:#}");
}
