//! Responses over HTTP and from the command line: orders, refusals, proposals, the audit, and maps that forget.

#[path = "support/demo.rs"]
mod demo;
#[path = "support/http.rs"]
mod http_client;
#[path = "support/inline.rs"]
mod inline;

use demo::{DemoSystem, alert};
use http_client::{Answer, Client};
use inline::{Maps, PLAYBOOKS};
use serde_json::{Value, json};
use shrike::control::http::{Server, Settings, serve};
use shrike::control::respond::live::LiveResponses;
use shrike::control::store::{self, Store};
use shrike::dataplane::verdict::Enforcer;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A bound on a hang, not a measurement.
const LIMIT: Duration = Duration::from_secs(120);

struct Bed {
    server: Server,
    live: LiveResponses,
    maps: Arc<Maps>,
    _folder: tempfile::TempDir,
}

impl Bed {
    fn new(configuration: &str, with_pair: bool) -> Bed {
        let folder = tempfile::tempdir().expect("a folder");
        let alerts = folder.path().join("alerts.db");
        let maps = Arc::new(Maps::default());
        let enforcer = with_pair.then(|| Arc::clone(&maps) as Arc<dyn Enforcer>);
        let live = inline::responses(folder.path(), configuration, enforcer);
        let store = Store::open(store::Settings::at(alerts)).expect("a fresh store");
        let listen = "127.0.0.1:0".parse().expect("an address");
        let settings = Settings { listen, responses: Some(live.shared()), ..Settings::default() };
        let server = serve(settings, store, Arc::new(DemoSystem::new())).expect("an address");
        Bed { server, live, maps, _folder: folder }
    }

    fn client(&self) -> Client {
        Client::connect(self.server.addr())
    }

    fn held(&self) -> usize {
        self.maps.held()
    }

    /// `shrike ...` against this sensor: exit code and what it said.
    fn shrike(&self, arguments: &[&str]) -> (i32, String) {
        let url = format!("http://{}", self.server.addr());
        let output =
            Command::new(env!("CARGO_BIN_EXE_shrike")).args(arguments).args(["--url", &url]).output().expect("it runs");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text")).concat();
        (output.status.code().unwrap_or(-1), text)
    }
}

fn post(client: &mut Client, path: &str, body: &Value) -> Answer {
    client.send("POST", path, &[("content-type", "application/json")], &body.to_string())
}

fn block(prefix: &str) -> Value {
    json!({ "protocol": "block_ip", "parameters": { "prefix": prefix }, "ttl_seconds": 600, "why": "a test", "by": "op" })
}

/// Until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LIMIT, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn orders_are_followed_told_taken_back_and_audited() {
    let bed = Bed::new("[respond]\nallow = [\"192.0.2.128/25\"]", true);
    let mut client = bed.client();
    let answer = post(&mut client, "/v1/responses", &block("192.0.2.7"));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let begun = answer.json();
    let id = begun["response"]["id"].as_str().expect("an id").to_owned();
    assert_eq!((&begun["outcome"], &begun["response"]["state"]), (&json!("begun"), &json!("enforced")));
    assert_eq!((bed.held(), &begun["response"]["who"]), (1, &json!("op")));
    assert_eq!(begun["response"]["verdicts"][0], json!({ "subject": "192.0.2.7", "action": "drop", "side": "both" }));
    let again = post(&mut client, "/v1/responses", &block("192.0.2.7/32"));
    assert_eq!((again.status, &again.json()["response"]["id"]), (200, &json!(id)));
    for (body, status, words) in [
        (block("192.0.2.200"), 422, "meets 192.0.2.128/25 (allow of [respond])"),
        (block("192.0.2.0/24"), 422, "refused by allow_list"),
        (block("127.0.0.1"), 422, "loopback"),
        (block("192.0.2.1/24"), 400, "bits beyond its length"),
        (json!({ "protocol": "teleport", "parameters": {} }), 404, "protocol teleport not found"),
        (json!({ "protocol": "block_ip" }), 400, "missing field `parameters`"),
        (
            json!({ "protocol": "block_ip", "parameters": { "prefix": "192.0.2.9" }, "ttl_seconds": 0 }),
            422,
            "refused by ttl",
        ),
        (json!({ "protocol": "webhook", "parameters": { "about": 1 } }), 400, "there is no [[webhook]]"),
    ] {
        let answer = post(&mut client, "/v1/responses", &body);
        let problem = answer.json();
        assert_eq!(answer.status, status, "{body}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{body}: {problem}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    let mut dry = block("192.0.2.9");
    dry["dry_run"] = json!(true);
    let answer = post(&mut client, "/v1/responses", &dry);
    assert_eq!((answer.status, &answer.json()["outcome"], bed.held()), (200, &json!("would_do"), 1));
    let list = client.get("/v1/responses").json();
    assert_eq!((&list["set"]["subjects"], &list["items"][0]["id"]), (&json!(1), &json!(id)));
    assert!(
        list["set"]["allow"]
            .as_array()
            .is_some_and(|list| list.contains(&json!("192.0.2.128/25 (allow of [respond])")))
    );
    assert_eq!(
        client.get(&format!("/v1/responses/{id}")).json()["parameters"],
        json!({ "prefixes": ["192.0.2.7"], "direction": "both" })
    );
    // A page of another site gives no orders.
    let foreign = client.send("DELETE", &format!("/v1/responses/{id}"), &[("origin", "http://evil.example")], "");
    assert_eq!((foreign.status, bed.held()), (403, 1));
    let undone = client.send("DELETE", &format!("/v1/responses/{id}?by=op"), &[], "");
    assert_eq!((undone.status, &undone.json()["outcome"], bed.held()), (200, &json!("undone"), 0));
    assert_eq!(client.send("DELETE", &format!("/v1/responses/{id}"), &[], "").status, 404);
    assert_eq!(client.get("/v1/responses/nonsense").status, 404);
    let audit = client.get("/v1/audit?limit=2").json();
    assert_eq!(
        (&audit["items"][0]["event"], &audit["items"][0]["who"], &audit["has_more"]),
        (&json!("undone"), &json!("op"), &json!(true))
    );
    let next = client.get(&format!("/v1/audit?before={}", audit["next"])).json();
    assert!(next["items"].as_array().is_some_and(|rows| rows.iter().any(|row| row["event"] == "refused")), "{next}");
    assert_eq!(client.get("/v1/audit?befor=1").status, 400);
}

#[test]
fn pages_hold_every_response_once() {
    let bed = Bed::new("", true);
    let mut client = bed.client();
    for host in 1..=25 {
        assert_eq!(post(&mut client, "/v1/responses", &block(&format!("192.0.2.{host}"))).status, 201);
    }
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/responses?limit=10{after}")).json();
        ids.extend(page["items"].as_array().expect("items").iter().map(|item| item["id"].to_string()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(ids.len(), 25);
    ids.dedup();
    assert_eq!(ids.len(), 25);
    let found = client.get("/v1/responses?protocol=block_ip&prefix=192.0.2.7").json();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(client.get("/v1/responses?state=nonsense").status, 400);
}

#[test]
fn without_a_pair_it_is_said_that_there_is_none() {
    let bed = Bed::new("", false);
    let mut client = bed.client();
    let answer = post(&mut client, "/v1/responses", &block("192.0.2.7"));
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("no inline pair is configured"), "{}", answer.text());
    let set = client.get("/v1/responses").json();
    assert!(set["set"]["not_enforced"].as_str().is_some_and(|why| why.contains("no inline pair")));
    let (code, said) = bed.shrike(&["block", "192.0.2.7"]);
    assert!(code == 1 && said.contains("no inline pair is configured: add a [[pair]]"), "{code} {said}");
}

/// What the kernel loses comes back by itself, and that it was lost is told.
#[test]
fn maps_that_forget_are_told_again() {
    let bed = Bed::new("", true);
    let mut client = bed.client();
    assert_eq!(post(&mut client, "/v1/responses", &block("192.0.2.7")).status, 201);
    bed.maps.clear();
    until("it is put back", || bed.held() == 1);
    until("it is told", || client.get("/v1/responses").json()["set"]["repaired"] == json!([1, 0, 0]));
    until("it is audited", || client.get("/v1/audit").text().contains("\"repaired\""));
}

/// An alert of a detector.
fn raised(detector: &str, source: Option<&str>) -> shrike::control::alert::Alert {
    inline::raised(&alert(0, shrike::units::Timestamp(1)), detector, source)
}

#[test]
fn alerts_are_answered_as_the_playbooks_say() {
    let bed = Bed::new(PLAYBOOKS, true);
    let mut client = bed.client();
    let names = client.get("/v1/playbooks").json();
    assert_eq!((&names["items"][0]["name"], &names["items"][0]["mode"]), (&json!("floods"), &json!("ask")));
    // Nobody is proven yet: what is automatic waits, what asks is proposed.
    bed.live.alerts(&[raised("brute_force", Some("203.0.113.7")), raised("flood", None)]);
    let mut proposal = String::new();
    until("it is proposed", || {
        let page = client.get("/v1/responses?state=proposed").json();
        proposal = page["items"][0]["id"].as_str().unwrap_or_default().to_owned();
        !proposal.is_empty()
    });
    assert_eq!(bed.held(), 0, "no source that may be forged is blocked");
    bed.live.proven(shrike::units::Timestamp(2), inline::proved([203, 0, 113, 7]));
    until("it is blocked once it is proven", || bed.held() == 1);
    let accepted = client.send("POST", &format!("/v1/responses/{proposal}/accept?by=op"), &[], "");
    assert_eq!(
        (accepted.status, &accepted.json()["response"]["state"]),
        (200, &json!("enforced")),
        "{}",
        accepted.text()
    );
    assert_eq!(bed.held(), 2);
    let again = client.send("POST", &format!("/v1/responses/{proposal}/accept"), &[], "");
    assert_eq!(again.status, 409, "{}", again.text());
    let blocked = client.get("/v1/responses?protocol=block_ip").json();
    let blocked = &blocked["items"][0];
    assert_eq!(
        (&blocked["automatic"], &blocked["playbook"], &blocked["proof"]),
        (&json!(true), &json!("guesses"), &json!("handshake"))
    );
    assert_eq!(blocked["evidence"].as_array().map(Vec::len), Some(1));
    until("packet to block is told", || client.get("/v1/responses").json()["set"]["block_applied"][0] == json!(1));
}

#[test]
fn the_command_line_says_what_came_of_it() {
    let bed = Bed::new("", true);
    let (code, said) = bed.shrike(&["block", "192.0.2.0/24", "203.0.113.7", "--for", "2h", "--why", "abuse"]);
    assert!(code == 0 && said.starts_with("begun: block_ip 192.0.2.0/24, 203.0.113.7 until"), "{said}");
    assert_eq!(bed.held(), 2);
    let (code, said) = bed.shrike(&["block", "198.51.100.7", "--dry-run"]);
    assert!(code == 0 && said.contains("would be allowed: block_ip 198.51.100.7 for 3600 s"), "{said}");
    let (code, said) = bed.shrike(&["block", "127.0.0.1"]);
    assert!(
        code == 1 && said.contains("refused by special_address") && said.contains("name addresses of hosts"),
        "{said}"
    );
    let (code, said) = bed.shrike(&["responses"]);
    assert!(
        code == 0 && said.contains("enforced") && said.contains("abuse") && said.contains("2 subjects in force"),
        "{said}"
    );
    let (code, said) =
        bed.shrike(&["isolate", "10.0.0.5", "--mac", "02:00:00:00:00:77", "--allow", "10.0.99.0/24", "--json"]);
    let isolated: Value = serde_json::from_str(&said).unwrap_or_else(|cause| panic!("{cause}: {said}"));
    assert_eq!((code, &isolated["response"]["state"], bed.held()), (0, &json!("enforced"), 5));
    let (code, said) = bed.shrike(&["release", "10.0.0.5"]);
    assert!(code == 0 && said.contains("undone: isolate_host"), "{said}");
    let (code, said) = bed.shrike(&["unblock", "203.0.113.7"]);
    assert!(code == 0 && said.starts_with("undone: block_ip"), "{said}");
    assert_eq!(bed.held(), 0);
    let (code, said) = bed.shrike(&["unblock", "203.0.113.7"]);
    assert!(code == 3 && said.contains("no block_ip is about exactly 203.0.113.7"), "{said}");
    let (code, said) = bed.shrike(&["playbooks"]);
    assert!(code == 0 && said.contains("no playbook") && said.contains("block_ip: Drops"), "{said}");
    let (code, said) = bed.shrike(&["responses", "audit"]);
    assert!(code == 0 && said.contains("requested") && said.contains("abuse"), "{said}");
    let (code, said) = bed.shrike(&["block", "192.0.2.1/24"]);
    assert!(code == 2 && said.contains("write 192.0.2.0/24 for the network"), "{said}");
}

/// What the operator named is asked, from the command line, and nothing else.
#[test]
fn a_scan_asks_what_was_named_and_says_what_it_found() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drop(std::io::Write::write_all(&mut stream, b"220 mail.example ESMTP\r\n"));
            drop(std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
    let bed = Bed::new("", false);
    let (code, said) = bed.shrike(&["scan", "127.0.0.1", "--ports", &port]);
    assert!(code == 1 && said.contains("write what you own into targets of [scan]"), "{code} {said}");
    let bed = Bed::new("[scan]\ntargets = [\"127.0.0.0/30\"]", false);
    for target in ["127.0.0.4", "127.0.0.0/29", "10.0.0.1"] {
        let (code, said) = bed.shrike(&["scan", target, "--ports", &port]);
        assert!(code == 1 && said.contains("not within targets of [scan]"), "{target}: {code} {said}");
    }
    let (code, said) = bed.shrike(&["scan", "127.0.0.1", "--ports", &port]);
    assert!(
        code == 0 && said.contains(&format!("127.0.0.1:{port}")) && said.contains("220 mail.example ESMTP"),
        "{said}"
    );
    let (code, said) = bed.shrike(&["scan", "127.0.0.1", "--ports", &port, "--json"]);
    let scan: Value = serde_json::from_str(&said).unwrap_or_else(|cause| panic!("{cause}: {said}"));
    assert_eq!((code, &scan["open"], &scan["done"]), (0, &json!(1), &json!(1)));
    let mut client = bed.client();
    let listed = client.get("/v1/scans").json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "{listed}");
    assert!(client.get("/v1/audit").text().contains("1 open ports"));
    assert_eq!(client.get("/v1/scans/nothing").status, 404);
    let (code, said) = bed.shrike(&["scan", "127.0.0.1", "--ports", &port, "--dry-run"]);
    assert!(code == 0 && said.starts_with("would be allowed: scan"), "{said}");
}

/// Captures and resets from the command line, of a program that sees no frames: files that say so, and a remedy.
#[test]
fn captures_are_made_fetched_and_ended_and_resets_name_their_remedy() {
    let bed = Bed::new("[respond]\nallow = [\"10.0.0.9\"]", false);
    for (arguments, words) in [
        (&["capture", "10.0.0.5"][..], "{\"prefix\":\"10.0.0.5\"}"),
        (&["capture", "10.0.0.0/24"], "{\"prefix\":\"10.0.0.0/24\"}"),
        (&["capture", "--mac", "02:00:00:00:00:05"], "02:00:00:00:00:05"),
        (&["capture", "192.0.2.7:51234", "--to", "10.0.0.9:443"], "\"destination_port\":51234"),
        (&["capture", "[2001:db8::7]:53", "--to", "[2001:db8::9]:53", "--udp"], "\"protocol\":17"),
    ] {
        let (code, said) = bed.shrike(&[arguments, &["--dry-run"]].concat());
        assert!(code == 0 && said.starts_with("would be allowed: capture") && said.contains(words), "{said}");
        assert!(said.contains("for 60 s"), "a minute, where nobody says: {said}");
    }
    assert_eq!(bed.shrike(&["capture"]).0, 2);
    assert_eq!(bed.shrike(&["capture", "nonsense"]).0, 2);
    assert!(bed.shrike(&["captures"]).1.contains("no captures"));
    let (code, said) = bed.shrike(&["capture", "10.0.0.5", "--for", "1h", "--bytes", "5000", "--why", "a test"]);
    assert!(code == 0 && said.starts_with("begun: capture") && said.contains("running"), "{said}");
    let mut client = bed.client();
    let mut listed = Value::Null;
    until("there is a file", || {
        listed = client.get("/v1/captures").json();
        listed["items"][0]["frames"] == json!(0)
    });
    let one = &listed["items"][0];
    let (id, name) = (one["response"].as_str().expect("an id"), one["name"].as_str().expect("a name"));
    assert!(bed.shrike(&["captures"]).1.contains("growing: 0 frames"));
    let again = bed.shrike(&["capture", "10.0.0.5", "--for", "2h", "--bytes", "5000"]);
    assert!(again.1.starts_with("extended: capture"), "{again:?}");
    assert_eq!(client.send("DELETE", &format!("/v1/responses/{id}"), &[], "").status, 200);
    until("it ends", || client.get("/v1/captures").json()["items"][0]["response"].is_null());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace.pcapng");
    let (code, said) = bed.shrike(&["captures", "get", name, "-o", file.to_str().expect("a path")]);
    let bytes = std::fs::read(&file).expect("it was fetched");
    assert!(code == 0 && bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]), "{said}");
    let (code, said) = bed.shrike(&["captures", "get", "nothing.pcapng", "-o", file.to_str().expect("a path")]);
    assert!(code == 1 && said.contains("no capture has this name") && !file.exists(), "{said}");
    let (code, said) = bed.shrike(&["reset", "192.0.2.7:51234", "10.0.0.8:443"]);
    assert!(code == 1 && said.contains("reset_interface in [respond]"), "{said}");
}
