//! Frames of an entity in a file, whole and as they were: from a tap and from a pair, over a restart, read by tshark.

#[path = "support/http.rs"]
mod http;
mod live;
mod support;

use live::pair::PairBed;
use live::process::Shrike;
use live::{Sender, run, udp_frame, until};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

fn order(shrike: &Shrike, parameters: &Value, seconds: u64) -> Value {
    let body = json!({ "protocol": "capture", "parameters": parameters, "ttl_seconds": seconds }).to_string();
    let mut client = http::Client::connect(shrike.address());
    let answer = client.send("POST", "/v1/responses", &[("content-type", "application/json")], &body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["response"].clone()
}

fn captures(shrike: &Shrike) -> Vec<Value> {
    http::Client::connect(shrike.address()).get("/v1/captures").json()["items"].as_array().unwrap().clone()
}

fn growing(shrike: &Shrike) -> Vec<Value> {
    captures(shrike).into_iter().filter(|one| one["response"].is_string()).collect()
}

/// What tshark reads: a line a frame; `None` where there is no tshark.
fn tshark(test: &str, file: &Path, fields: &[&str]) -> Option<Vec<String>> {
    let fields = fields.iter().flat_map(|field| ["-e", field]);
    let output = Command::new("tshark").arg("-r").arg(file).args(["-T", "fields"]).args(fields).output();
    let Ok(output) = output else {
        support::skip(test, "tshark", "no tshark to read the file with");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

fn fetch(shrike: &Shrike, name: &str, to: &Path) {
    let url = format!("http://{}", shrike.address());
    let output = Command::new(env!("CARGO_BIN_EXE_shrike"))
        .args(["captures", "get", name, "--url", &url, "-o"])
        .arg(to)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn configuration(text: &str, folder: &Path) -> tempfile::TempPath {
    let file = tempfile::NamedTempFile::new().unwrap();
    let respond = format!(
        "[respond]\nstore = \"{0}/r.db\"\ncaptures = \"{0}/captures\"\ncapture_files = 3\n[flow]\ncapacity = 16384\n",
        folder.display()
    );
    std::fs::write(file.path(), format!("{text}{respond}")).unwrap();
    file.into_temp_path()
}

#[test]
fn live_capture_of_a_tap_holds_every_frame_of_the_entity_and_goes_on_after_a_restart() {
    let test = "live_capture_of_a_tap_holds_every_frame_of_the_entity_and_goes_on_after_a_restart";
    if !support::privileged(test) {
        return;
    }
    let bed = live::Bed::new(1);
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(&format!("[capture]\ninstance = \"{}\"\n", bed.sensor), folder.path());
    let tap = format!("rx0@{}", bed.sensor);
    let start = || {
        let arguments = ["-c", config.to_str().unwrap(), "-i", &tap, "--mode", "copy"].map(str::to_owned);
        Shrike::start_plan(&arguments)
    };
    let shrike = start();
    // Of 50 receivers one is wanted.
    let begun = order(&shrike, &json!({ "prefix": "198.18.0.7" }), 3600);
    assert_eq!(begun["state"], "running", "{begun:#}");
    let mut sender = Sender::open(&bed, 50, 400);
    let frames = |shrike: &Shrike| growing(shrike).first().and_then(|one| one["frames"].as_u64()).unwrap_or(0);
    until("its frames come", || (sender.send(50, |_| ()), frames(&shrike)), |(_, frames)| *frames > 20);
    let first = growing(&shrike)[0]["name"].as_str().unwrap().to_owned();
    shrike.terminate();

    let shrike = start();
    until("it goes on", || (sender.send(50, |_| ()), frames(&shrike)), |(_, frames)| *frames > 5);
    let second = growing(&shrike)[0].clone();
    assert_ne!(second["name"], first, "another file");
    let id = begun["id"].as_str().unwrap();
    assert_eq!(second["response"], id, "the same response");
    let undone = http::Client::connect(shrike.address()).send("DELETE", &format!("/v1/responses/{id}"), &[], "");
    assert_eq!(undone.status, 200);
    until("it ends", || growing(&shrike).len(), |count| *count == 0);
    assert_eq!(captures(&shrike).len(), 2);
    for name in [&first, second["name"].as_str().unwrap()] {
        let file = folder.path().join(name);
        fetch(&shrike, name, &file);
        let bytes = std::fs::read(&file).unwrap();
        assert_eq!(bytes, std::fs::read(folder.path().join("captures").join(name)).unwrap());
        // Each of them is there as it was sent.
        let frame = udp_frame(7, 400);
        let count = bytes.windows(frame.len()).filter(|window| *window == &frame[..]).count();
        let Some(lines) = tshark(test, &file, &["ip.dst", "frame.len", "frame.cap_len"]) else { continue };
        assert!(lines.len() > 5 && lines.len() == count, "{count} of {}", lines.len());
        assert!(lines.iter().all(|line| line == "198.18.0.7\t400\t400"), "{lines:?}");
    }
    let missing = http::Client::connect(shrike.address()).get("/v1/captures/..%2Fr.db");
    assert_eq!(missing.status, 404);
    shrike.terminate();
}

#[test]
fn live_capture_of_a_pair_tells_its_ports_apart_and_ends_at_its_bytes() {
    let test = "live_capture_of_a_pair_tells_its_ports_apart_and_ends_at_its_bytes";
    if !support::privileged(test) {
        return;
    }
    let bed = PairBed::new(1);
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[[pair]]\nname = \"wire\"\nports = [\"a0\", \"b0\"]\nnetns = \"{0}\"\nring = 1024\nheartbeat_ms = 1000\n\
         [capture]\ninstance = \"{0}\"\n",
        bed.appliance
    );
    let config = configuration(&text, folder.path());
    let shrike = Shrike::start_plan(&["-c".to_owned(), config.to_str().unwrap().to_owned()]);
    let response = order(&shrike, &json!({ "prefix": "10.9.0.2", "bytes": 20_000 }), 3600);
    let id = response["id"].as_str().unwrap();
    let state = || http::Client::connect(shrike.address()).get(&format!("/v1/responses/{id}")).json();
    let ping = || run(&format!("ip netns exec {} ping -q -c 5 -i 0.01 -s 1000 10.9.0.2", bed.client));
    let done = until("it is full", || (ping(), state()), |(_, one)| one["state"] == "done").1;
    assert!(done["outcome"].as_str().unwrap().starts_with("full: "), "{done:#}");
    let one = captures(&shrike)[0].clone();
    assert!(one["bytes"].as_u64().unwrap() <= 20_300 && one["response"].is_null(), "{one}");
    let name = one["name"].as_str().unwrap();
    let file = folder.path().join(name);
    fetch(&shrike, name, &file);
    if let Some(lines) = tshark(test, &file, &["frame.interface_name", "icmp.type"]) {
        let count = |wanted: &str| lines.iter().filter(|line| *line == wanted).count();
        let (asked, answered) = (count("a0\t8"), count("b0\t0"));
        assert!(asked > 2 && answered > 2 && asked + answered >= lines.len() - 4, "{lines:?}");
    }
    shrike.terminate();
}
