//! The HTTP API over a real socket: cursors, long poll, streams, problems, limits.

#[path = "../support/demo.rs"]
mod demo;
mod flows;
mod heads;
mod hosts;
#[path = "../support/http.rs"]
mod http_client;
mod places;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use demo::{DemoSystem, alert};
use http_client::{Answer, Client, Events};
use shrike::control::flows::FlowHistory;
use shrike::control::http::{Server, Settings, serve};
use shrike::control::store::{self, Store};
use shrike::units::{SECOND, Timestamp};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Long enough that only a fault lets it pass.
const PATIENCE: Duration = Duration::from_secs(120);

struct Bed {
    server: Server,
    store: Store,
    system: Arc<DemoSystem>,
    flows: Arc<FlowHistory>,
    _folder: tempfile::TempDir,
}

impl Bed {
    fn new() -> Bed {
        Bed::with(|_, _| {})
    }

    fn with(change: impl FnOnce(&mut Settings, &mut store::Settings)) -> Bed {
        let folder = tempfile::tempdir().unwrap();
        let mut store_settings = store::Settings::at(folder.path().join("alerts.db"));
        let flows = Arc::new(FlowHistory::new(1_000, Timestamp(SECOND)));
        let mut settings = Settings {
            flows: Some(Arc::clone(&flows)),
            listen: "127.0.0.1:0".parse().unwrap(),
            heartbeat: Duration::from_millis(50),
            inventory: Some(hosts::inventory()),
            ..Settings::default()
        };
        change(&mut settings, &mut store_settings);
        let store = Store::open(store_settings).unwrap();
        let system = Arc::new(DemoSystem::new());
        let server = serve(settings, store.clone(), system.clone()).unwrap();
        Bed { server, store, system, flows, _folder: folder }
    }

    fn address(&self) -> SocketAddr {
        self.server.addr()
    }

    fn client(&self) -> Client {
        Client::connect(self.address())
    }

    fn add(&self, range: std::ops::Range<u64>) {
        self.store.append(range.map(|index| alert(index, Timestamp((index + 1) * SECOND))).collect());
    }

    fn add_and_wait(&self, range: std::ops::Range<u64>) {
        self.add(range);
        assert!(self.store.flush(PATIENCE));
    }
}

/// An error answer is a problem whose status is the answer's.
fn is_problem(answer: &Answer, status: u16, slug: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], format!("/problems/{slug}"));
    for member in ["title", "detail", "instance"] {
        assert!(problem[member].is_string(), "{member} in {problem}");
    }
}

#[test]
fn a_hundred_pollers_see_each_alert_once_and_in_order() {
    const ALERTS: u64 = 2_000;
    let bed = Bed::new();
    let address = bed.address();
    let pollers: Vec<_> = (0..100_u64)
        .map(|poller| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                let (mut seen, mut next) = (Vec::new(), None::<String>);
                while seen.len() < ALERTS as usize {
                    let after = next.as_ref().map_or_else(String::new, |next| format!("&after={next}"));
                    let limit = 7 + poller * 9;
                    let answer = client.get(&format!("/v1/alerts?limit={limit}&wait=60{after}"));
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let page = answer.json();
                    seen.extend(
                        page["items"].as_array().unwrap().iter().map(|item| item["sequence"].as_u64().unwrap()),
                    );
                    next = Some(page["next"].as_str().unwrap().to_owned());
                }
                seen
            })
        })
        .collect();
    for start in (0..ALERTS).step_by(50) {
        bed.add_and_wait(start..start + 50);
    }
    let expected: Vec<_> = (1..=ALERTS).collect();
    for poller in pollers {
        assert_eq!(poller.join().unwrap(), expected);
    }
}

#[test]
fn pages_filter_by_severity_detector_and_time_and_can_begin_at_the_newest() {
    let bed = Bed::new();
    bed.add_and_wait(0..50);
    let mut client = bed.client();
    let mut severities = |path: &str| -> Vec<u64> {
        let page = client.get(path).json();
        page["items"].as_array().unwrap().iter().map(|item| item["severity"].as_u64().unwrap()).collect()
    };
    assert_eq!(severities("/v1/alerts?severity=1"), [1; 20]);
    assert_eq!(severities("/v1/alerts?detector=brute_force"), [1; 10]);
    assert_eq!(severities(&format!("/v1/alerts?since={}", 41)).len(), 10);
    assert_eq!(severities("/v1/alerts?newest=3"), [1, 3, 4]);
    let page = client.get("/v1/alerts?newest=3").json();
    let after = client.get(&format!("/v1/alerts?after={}", page["next"].as_str().unwrap())).json();
    assert_eq!((after["items"].as_array().unwrap().len(), &after["has_more"]), (0, &false.into()));
}

#[test]
fn the_routes_are_listed_where_a_missing_one_says_so() {
    let bed = Bed::new();
    let mut client = bed.client();
    let missing = client.get("/v1/nothing");
    assert_eq!(missing.status, 404);
    assert!(missing.json()["detail"].as_str().unwrap().contains("GET /v1 "), "{}", missing.text());
    let listed = client.get("/v1").json();
    let routes = listed["routes"].as_array().unwrap();
    assert!(routes.len() > 15);
    for route in routes.iter().filter(|route| route["methods"].as_str().unwrap().starts_with("GET")) {
        let path = route["path"].as_str().unwrap();
        // A stream does not end, and a star stands for what is not here.
        if !path.contains('*') && !path.ends_with("stream") {
            assert_eq!(client.get(path).status, 200, "{path}");
        }
    }
}

/// A tag of somebody else is no tag of ours, whatever bytes it has; a place of somebody else is no place.
#[test]
fn header_values_may_have_any_bytes() {
    let bed = Bed::new();
    bed.add_and_wait(0..3);
    let mut client = bed.client();
    let ask = |client: &mut Client, path: &str, line: &[u8]| {
        client.raw(&[format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n").as_bytes(), line, b"\r\n\r\n"].concat());
        client.read(false).expect("an answer")
    };
    let answer = ask(&mut client, "/v1/alerts", b"if-none-match: \"caf\xe9\"");
    assert_eq!((answer.status, answer.json()["items"].as_array().unwrap().len()), (200, 3));
    is_problem(&ask(&mut client, "/v1/alerts/stream", b"last-event-id: \xff\xfe"), 400, "bad-cursor");
}

/// Listening on every address, it is asked for by any of them, and by no name that it was not given.
#[test]
fn every_address_listened_on_may_be_asked_for() {
    let bed = Bed::with(|settings, _| {
        settings.listen = "0.0.0.0:0".parse().unwrap();
        settings.names = vec!["sensor.example".into()];
    });
    let port = bed.address().port();
    let mut client = Client::connect(format!("127.0.0.2:{port}").parse().unwrap());
    for host in [format!("127.0.0.2:{port}"), "localhost".into(), "sensor.example".into()] {
        assert_eq!(client.send("GET", "/v1/status", &[("host", &host)], "").status, 200, "{host}");
    }
    for host in ["127.0.0.3", "0.0.0.0", "evil.example"] {
        let answer = client.send("GET", "/v1/status", &[("host", host)], "");
        is_problem(&answer, 421, "misdirected-request");
        assert!(answer.json()["detail"].as_str().unwrap().contains("hosts in [http]"), "{}", answer.text());
    }
}

/// A page that opens now shows what was before.
#[test]
fn the_last_minutes_are_kept_by_the_second() {
    let bed = Bed::new();
    let mut client = bed.client();
    let mut samples = Vec::new();
    while samples.len() < 2 {
        bed.system.advance();
        let answer = client.get("/v1/history").json();
        assert_eq!(answer["every_seconds"], 1);
        samples = answer["items"].as_array().unwrap().clone();
    }
    let packets: Vec<_> = samples.iter().map(|sample| sample["packets"].as_u64().unwrap()).collect();
    assert!(packets.is_sorted() && packets[0] < packets[1], "{samples:?}");
    assert!(samples[1]["time"].as_u64() > samples[0]["time"].as_u64());
    assert!(!samples[1]["queues"].as_object().unwrap().is_empty());
}

#[test]
fn one_alert_is_found_with_its_repeats() {
    let bed = Bed::new();
    let mut first = alert(3, Timestamp(SECOND));
    first.occurrences = 1;
    let repeat = shrike::control::alert::Alert { occurrences: 10, ..first.clone() };
    bed.store.append(vec![first.clone(), repeat]);
    assert!(bed.store.flush(PATIENCE));
    let mut client = bed.client();
    let found = client.get(&format!("/v1/alerts/{}", first.id)).json();
    assert_eq!((&found["occurrences"], found["history"].as_array().unwrap().len()), (&10.into(), 2));
    is_problem(&client.get("/v1/alerts/none"), 404, "unknown-alert");
    is_problem(&client.get(&format!("/v1/alerts/{}", "x".repeat(500))), 404, "unknown-alert");
    is_problem(&client.get("/v1/alerts/'%20OR%201=1--"), 404, "unknown-alert");
}

#[test]
fn an_unchanged_end_is_304_and_a_long_poll_is_woken_by_a_commit() {
    let bed = Bed::new();
    bed.add_and_wait(0..3);
    let mut client = bed.client();
    let first = client.get("/v1/alerts");
    let tag = first.header("etag").unwrap().to_owned();
    let again = client.send("GET", "/v1/alerts", &[("if-none-match", &tag)], "");
    assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(tag.as_str())));

    // The request is on its way before the alert; whichever comes first, the answer has it.
    client.write("GET", "/v1/alerts?wait=60", &[("if-none-match", &tag)], "");
    bed.add(3..4);
    let woken = client.read(false).unwrap();
    assert_eq!((woken.status, woken.json()["items"].as_array().unwrap().len()), (200, 4));
    assert_ne!(woken.header("etag"), Some(tag.as_str()));

    let next = woken.json()["next"].as_str().unwrap().to_owned();
    client.write("GET", &format!("/v1/alerts?wait=60&severity=1&after={next}"), &[], "");
    bed.add_and_wait(4..6);
    bed.add_and_wait(6..8);
    let page = client.read(false).unwrap().json();
    assert_eq!(page["items"][0]["severity"], 1);
}

#[test]
fn a_cursor_below_retention_or_of_another_store_is_410() {
    let bed = Bed::with(|_, store| store.retain = 10);
    bed.add_and_wait(0..1);
    let mut client = bed.client();
    let old = client.get("/v1/alerts").json()["next"].as_str().unwrap().to_owned();
    for start in 1..30 {
        bed.add_and_wait(start..start + 1);
    }
    is_problem(&client.get(&format!("/v1/alerts?after={old}")), 410, "cursor-expired");
    is_problem(&client.get(&format!("/v1/alerts/stream?after={old}")), 410, "cursor-expired");
    let stream = client.send("GET", "/v1/alerts/stream", &[("last-event-id", &old)], "");
    is_problem(&stream, 410, "cursor-expired");
    is_problem(&client.get("/v1/alerts?after=AAAAAAAAAAAAAAAAAAAAAA"), 410, "cursor-expired");
    is_problem(&client.get("/v1/alerts?after=AAAA"), 400, "bad-cursor");
    assert_eq!(client.get("/v1/alerts").json()["items"].as_array().unwrap().len(), 10);
}

/// RFC 9112 section 3.2: Host is asked of HTTP/1.1.
#[test]
fn an_old_client_needs_no_host() {
    let bed = Bed::new();
    for (head, status) in [
        ("GET /v1/status HTTP/1.0\r\n\r\n", 200),
        ("GET /v1/status HTTP/1.1\r\n\r\n", 400),
        ("GET /v1/status HTTP/1.0\r\nhost: evil.example\r\n\r\n", 421),
        ("POST /v1/workers HTTP/1.0\r\norigin: http://evil.example\r\ncontent-length: 0\r\n\r\n", 403),
    ] {
        let mut client = bed.client();
        client.raw(head.as_bytes());
        assert_eq!(client.read(false).expect("an answer").status, status, "{head:?}");
    }
}

#[test]
fn every_error_is_a_problem_with_its_status() {
    let bed = Bed::new();
    let mut client = bed.client();
    for path in ["/nope", "/v2", "//v1/alerts", "/v1/alerts/", "/%2e%2e/etc/passwd", "/V1/alerts", "/problems/none"] {
        is_problem(&client.get(path), 404, "not-found");
    }
    for (method, path, allow) in [
        ("POST", "/v1/alerts", "GET, HEAD"),
        ("DELETE", "/v1/status", "GET, HEAD"),
        ("GET", "/v1/queues/0/move", "POST"),
        ("PUT", "/v1/workers", "GET, HEAD, POST"),
        ("OPTIONS", "/", "GET, HEAD"),
    ] {
        let answer = client.send(method, path, &[], "");
        is_problem(&answer, 405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    for path in [
        "/v1/alerts?limit=0",
        "/v1/alerts?x=1",
        "/v1/flows/top?limit=101",
        "/v1/flows?host=x",
        "/v1/alerts?limit=1&limit=1",
    ] {
        is_problem(&client.get(path), 400, "bad-request");
    }
    // A parameter that a route does not know is told, also where it knows none.
    for path in ["/v1", "/v1/status", "/v1/latency", "/v1/latency.hlog", "/v1/workers", "/v1/history", "/metrics"] {
        let answer = client.get(&format!("{path}?stage=decode"));
        is_problem(&answer, 400, "bad-request");
        assert!(answer.json()["detail"].as_str().unwrap().contains("\"stage\"; known here: none"), "{path}");
    }
    assert_eq!(client.get("/health/live?verbose").status, 200, "no reason for a restart");
    let json = ("content-type", "application/json");
    let order = "/v1/queues/0/move";
    is_problem(&client.send("POST", order, &[json], "{\"worker\":"), 400, "bad-request");
    is_problem(&client.send("POST", order, &[json], "{\"worker\":1,\"more\":2}"), 400, "bad-request");
    is_problem(&client.send("POST", "/v1/queues/x/move", &[json], "{\"worker\":1}"), 400, "bad-request");
    is_problem(
        &client.send("POST", order, &[("content-type", "text/plain")], "{\"worker\":1}"),
        415,
        "unsupported-media-type",
    );
    is_problem(&client.send("POST", order, &[json], "{\"worker\":9}"), 404, "not-found");
    is_problem(&client.send("POST", order, &[json], "{\"worker\":0}"), 409, "conflict");
    is_problem(&client.send("POST", "/v1/workers", &[], ""), 409, "conflict");
    is_problem(&client.send("DELETE", "/v1/workers/1", &[], ""), 503, "busy");
    is_problem(
        &client.send("POST", order, &[json, ("origin", "http://evil.example")], "{\"worker\":1}"),
        403,
        "forbidden-origin",
    );
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1"] {
        is_problem(&client.send("GET", "/v1/alerts", &[("host", host)], ""), 421, "misdirected-request");
    }
    assert_eq!(client.send("GET", "/v1/status", &[("host", "localhost:1")], "").status, 200);
    bed.system.ready.store(false, Relaxed);
    bed.system.broken.store(true, Relaxed);
    let answer = client.get("/health/ready");
    is_problem(&answer, 503, "not-ready");
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 2);
    assert_eq!(client.get("/health/live").status, 200, "not ready is not dead");
    bed.system.alive.store(false, Relaxed);
    let answer = client.get("/health/live");
    is_problem(&answer, 503, "not-alive");
    assert_eq!(answer.json()["detail"], "the supervisor has not come round for 7 s");

    // A body that announces too much, and one without a length, each on a connection of its own: it is closed after.
    let mut client = bed.client();
    client.raw(format!("POST {order} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1048577\r\n\r\n").as_bytes());
    is_problem(&client.read(false).unwrap(), 413, "payload-too-large");
    let mut client = bed.client();
    client.raw(format!("POST {order} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes());
    is_problem(&client.read(false).unwrap(), 411, "length-required");
    let mut client = bed.client();
    client.raw(b"GET /v1/status HTTP/1.1\r\n\r\n");
    is_problem(&client.read(false).unwrap(), 400, "bad-request");
}

#[test]
fn a_panicking_route_is_a_500_problem_and_the_connection_lives() {
    let bed = Bed::new();
    let mut client = bed.client();
    is_problem(&client.send("DELETE", "/v1/workers/77", &[], ""), 500, "internal");
    assert_eq!(client.get("/health/live").status, 200);
}

#[test]
fn answers_carry_the_headers_that_keep_browsers_safe() {
    let bed = Bed::new();
    let mut client = bed.client();
    for path in ["/", "/app.js", "/v1/status", "/nope"] {
        let answer = client.get(path);
        assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'self'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert!(answer.header("access-control-allow-origin").is_none());
        assert!(answer.header("cache-control").is_some());
    }
}

#[test]
fn head_answers_as_get_without_the_body() {
    let bed = Bed::new();
    bed.add_and_wait(0..2);
    let mut client = bed.client();
    for path in ["/", "/v1/alerts", "/v1/workers", "/metrics", "/health/live", "/nope"] {
        let get = client.get(path);
        let head = client.send("HEAD", path, &[], "");
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        if path != "/metrics" {
            assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()), "{path}");
        }
    }
    // HEAD of a stream ends at once: the connection answers the next request.
    assert_eq!(client.send("HEAD", "/v1/alerts/stream", &[], "").status, 200);
    assert_eq!(client.get("/health/live").status, 200);
}

#[test]
fn status_workers_flows_and_orders() {
    let bed = Bed::new();
    let mut client = bed.client();
    let status = client.get("/v1/status").json();
    assert_eq!(status["loss"]["closed"], true);
    assert_eq!(status["queues"][0]["mode"], "zero-copy");
    for equation in status["loss"]["equations"].as_array().unwrap() {
        let sum = |side: &str| -> u64 {
            equation[side].as_array().unwrap().iter().map(|term| term["value"].as_u64().unwrap()).sum()
        };
        assert_eq!((sum("left"), &equation["difference"]), (sum("right"), &0.into()));
    }
    assert_eq!(status["store"]["degraded"].as_array().unwrap().len(), 0);
    bed.system.broken.store(true, Relaxed);
    let status = client.get("/v1/status").json();
    assert_eq!((&status["loss"]["closed"], &status["loss"]["equations"][2]["difference"]), (&false.into(), &3.into()));

    let workers = client.get("/v1/workers").json();
    assert_eq!(workers["items"][0]["queues"].as_array().unwrap().len(), 2);
    assert!(workers["items"][0]["queues"][0]["rx"]["last_reason"].is_string());
    let json = [("content-type", "application/json")];
    assert_eq!(client.send("POST", "/v1/queues/0/move", &json, "{\"worker\":1}").status, 202);
    let workers = client.get("/v1/workers").json();
    assert_eq!(workers["items"][1]["queues"].as_array().unwrap().len(), 3);
    assert_eq!(client.get("/v1/flows/top?limit=5").json()["items"].as_array().unwrap().len(), 5);
}

#[test]
fn latency_is_merged_from_the_cores_and_served_as_percentiles_and_log() {
    let bed = Bed::with(|_, store| store.clock = Some(shrike::clock::Clock::new()));
    bed.add_and_wait(0..3);
    let mut client = bed.client();
    let latency = client.get("/v1/latency").json();
    assert_eq!(latency["unit"], "ns");
    let count = |stages: &serde_json::Value| stages["stages"]["decode"]["count"].as_u64().unwrap();
    let cores: u64 = latency["cores"].as_array().unwrap().iter().map(count).sum();
    let queues: u64 = latency["queues"].as_array().unwrap().iter().map(count).sum();
    assert_eq!((cores, queues), (queues, latency["all"]["decode"]["count"].as_u64().unwrap()));
    assert_eq!(latency["all"]["packet_to_alert"]["count"], 3);
    let by_detector: u64 =
        latency["alerts"].as_object().unwrap().values().map(|one| one["count"].as_u64().unwrap()).sum();
    assert_eq!(by_detector, 3);
    let decode = &latency["all"]["decode"];
    let ladder: Vec<_> = ["min", "p50", "p75", "p90", "p95", "p99", "p999", "p9999", "max"]
        .iter()
        .map(|name| decode[*name].as_u64().unwrap())
        .collect();
    assert!(ladder.is_sorted(), "{ladder:?}");

    let log = client.get("/v1/latency.hlog");
    let lines = log.text().lines().filter(|line| line.starts_with("Tag=")).count();
    assert_eq!(lines, 4 * 7 + 1);
    assert!(log.text().contains("Tag=core1.queue0.decode,"));
}

#[test]
fn the_latency_log_is_read_by_a_reader_that_is_not_ours() {
    const READ: &str = "
import sys
from hdrh.histogram import HdrHistogram
for line in sys.stdin:
    if line.startswith('Tag='):
        histogram = HdrHistogram.decode(line.strip().split(',')[4])
        print(line.split(',')[0][4:], histogram.get_total_count(), histogram.get_value_at_percentile(99), histogram.get_max_value())
";
    let python = std::env::var("SHRIKE_PYTHON").unwrap_or_else(|_| "python3".into());
    let run = |program: &str, input: &str| {
        let mut child = std::process::Command::new(&python)
            .args(["-c", program])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .ok()?;
        std::io::Write::write_all(&mut child.stdin.take()?, input.as_bytes()).ok()?;
        let output = child.wait_with_output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    if run("import hdrh", "").is_none() {
        support::skip("reading the latency log with Python", "python", "no Python with hdrhistogram (ci/python.sh)");
        return;
    }
    let bed = Bed::new();
    let mut client = bed.client();
    let read = run(READ, client.get("/v1/latency.hlog").text()).expect("every line is decoded");
    let latency = client.get("/v1/latency").json();
    let mut lines = 0;
    for line in read.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [_, queue, stage] = words[0].split('.').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let queue: usize = queue.strip_prefix("queue").unwrap().parse().unwrap();
        let stage = &latency["queues"][queue]["stages"][stage];
        let expected = ["count", "p99", "max"].map(|name| stage[name].to_string());
        assert_eq!(words[1..], expected, "{line}");
        lines += 1;
    }
    assert_eq!(lines, 4 * 7);
}

#[test]
fn metrics_have_the_shape_that_promtool_checks_and_a_constant_number_of_series() {
    let bed = Bed::new();
    let mut client = bed.client();
    let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let before = client.get("/metrics");
    assert_eq!(before.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let (mut families, mut current) = (BTreeSet::new(), String::new());
    let mut samples = BTreeSet::new();
    for line in before.text().lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned()), "{name} twice");
            assert!(help.ends_with('.'), "{line}");
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(sample.starts_with(&current), "{line} under {current}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(samples.insert(sample.to_owned()), "{sample} twice");
        }
    }
    // A flood of new addresses and names in alerts: the page has the same series.
    bed.add_and_wait(0..500);
    for _ in 0..40 {
        bed.system.advance();
        client.get("/nope");
    }
    let after = client.get("/metrics");
    assert_eq!(series(before.text()), series(after.text()));
    assert!(!after.text().contains("203.0.113."));
}

#[test]
fn stopping_ends_polls_and_streams() {
    let bed = Bed::new();
    let mut poll = bed.client();
    // A first answer, so that the connection is certainly being served.
    assert_eq!(poll.get("/health/live").status, 200);
    let mut events = Events::open(bed.address(), "/v1/alerts/stream", &[]);
    events.next().unwrap();
    poll.write("GET", "/v1/alerts?wait=60", &[], "");
    let address = bed.address();
    bed.server.stop();
    // Answered if it was read before the stop, closed otherwise; never left hanging.
    if let Some(answer) = poll.read(false) {
        assert_eq!(answer.status, 200);
    }
    while events.next().is_some() {}
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn the_page_is_small_whole_and_names_nothing_elsewhere() {
    let bed = Bed::new();
    let mut client = bed.client();
    let mut bytes = 0;
    for path in ["/", "/app.js", "/charts.js", "/dom.js", "/inline.js", "/style.css", "/favicon.svg"] {
        let file = client.get(path);
        assert_eq!(file.status, 200);
        bytes += file.body.len();
        let elsewhere: Vec<_> =
            ["http://", "https://", "//cdn", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval("]
                .into_iter()
                .filter(|word| file.text().replace("http://www.w3.org/2000/svg", "").contains(word))
                .collect();
        assert!(elsewhere.is_empty(), "{path}: {elsewhere:?}");
        let tag = file.header("etag").unwrap().to_owned();
        assert_eq!(client.send("GET", path, &[("if-none-match", &tag)], "").status, 304);
    }
    assert!(bytes < 150 * 1024, "{bytes} bytes");
}
