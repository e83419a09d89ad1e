//! Models change over HTTP while a whole program runs over fake kernels: every frame and every row is accounted for.

#[path = "support/http.rs"]
mod http_client;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/shipped.rs"]
mod shipped;
mod support;

use http_client::Client;
use memory::{Bed, Memory, frame, settings};
use serde_json::{Value, json};
use shrike::clock::Clock;
use shrike::control::export::SharedName;
use shrike::control::http;
use shrike::control::models::{DriftSettings, LiveModels, Port, Rows, Settings, Wanted};
use shrike::control::store::{self, Store};
use shrike::control::supervisor::Supervisor;
use shrike::control::view::{CommandError, ModelsView, System};
use shrike::control::windows::stage::{self, Stage};
use shrike::dataplane::capture::memory::{FakeKernel, Sent};
use shrike::dataplane::decode::FlowKey;
use shrike::dataplane::score::Scorer;
use shrike::dataplane::worker::ScoreSettings;
use shrike::exchange::FlowSummary;
use shrike::metrics::Counter;
use shrike::units::{SECOND, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A bound on a hang, not a measurement.
const LIMIT: Duration = Duration::from_secs(120);
const QUEUES: usize = 2;

fn activate(client: &mut Client, name: &str, wanted: &str) -> (u16, Value) {
    let body = json!({ "as": wanted }).to_string();
    let path = format!("/v1/models/{name}/activate");
    let answer = client.send("POST", &path, &[("content-type", "application/json")], &body);
    (answer.status, answer.json())
}

/// Sends flows of four packets until told to stop; frames that were taken and those that found no room.
fn flood(kernel: &mut FakeKernel, stop: &AtomicBool) -> (u64, u64) {
    let (mut taken, mut refused) = (0, 0);
    for flow in (0..u16::MAX).cycle() {
        if stop.load(Relaxed) {
            break;
        }
        for back in [false, true, false, true] {
            match kernel.send_ethernet(&frame(flow % 20_000, back)) {
                Sent::Delivered => taken += 1,
                _ => refused += 1,
            }
        }
        std::thread::yield_now();
    }
    (taken, refused)
}

#[test]
fn models_change_under_load_and_every_frame_and_row_is_accounted_for() {
    const TEST: &str = "models_change_under_load_and_every_frame_and_row_is_accounted_for";
    let folder = tempfile::tempdir().expect("a folder");
    let models_folder = folder.path().join("models");
    std::fs::create_dir(&models_folder).expect("a folder");
    let first = shipped::put(&models_folder, "first", |_| ());
    shipped::put(&models_folder, "second", shipped::from(1.0));
    shipped::put(&models_folder, "wrong", |manifest| manifest["golden"][2]["probabilities"][0] = json!(0.123));
    let Some(model) = shipped::load(first, |why| support::skip(TEST, "runtime", why)) else { return };
    let clock = Clock::new();
    let bed = Bed { queues: QUEUES, handover: false, frames: 1024 };
    let scorer = || Some(Box::new(model.scorer().expect("a session")) as Box<dyn Scorer>);
    let (kernels, parts, ports) = bed.open_following(&clock, scorer);
    let store = Store::open(store::Settings::at(folder.path().join("alerts.db"))).expect("a fresh store");
    let mut supervisor =
        Supervisor::start(settings(QUEUES), parts, Box::new(Memory::default()), store.clone(), clock.clone())
            .expect("threads to start");
    let keep = Settings {
        directory: models_folder.clone(),
        runtime: None,
        threshold: None,
        score: ScoreSettings::default(),
        drift: DriftSettings::default(),
        named: SharedName::default(),
        choice: None,
    };
    let ports = ports.into_iter().map(Port::new).collect();
    let models = LiveModels::start(keep, vec![(Rows::Flow, model)], ports, None, clock).expect("a keeper");
    let shared = models.shared();
    supervisor.follow_models(models);
    let picture = supervisor.picture();
    let listen = "127.0.0.1:0".parse().expect("an address");
    let served = http::Settings { listen, models: Some(Arc::clone(&shared)), ..http::Settings::default() };
    let server = http::serve(served, store, supervisor.picture()).expect("an address");
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = kernels
        .into_iter()
        .map(|mut kernel| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || (flood(&mut kernel, &stop), kernel))
        })
        .collect();
    let address = server.addr();
    let orders = std::thread::spawn(move || {
        let mut client = Client::connect(address);
        for turn in 0..12 {
            let (status, change) = activate(&mut client, "second", "active");
            assert_eq!((status, &change["was_active"], &change["active"]), (200, &json!("first"), &json!("second")));
            assert_eq!(change["queues"], json!({ "taken": QUEUES, "of": QUEUES }), "{change}");
            let (status, problem) = activate(&mut client, "wrong", if turn % 2 == 0 { "active" } else { "shadow" });
            assert_eq!((status, &problem["type"]), (422, &json!("/problems/model-refused")), "{problem}");
            assert!(problem["detail"].as_str().is_some_and(|words| words.contains("golden row 2")), "{problem}");
            let answer = client.send("POST", "/v1/models/rollback", &[], "");
            assert_eq!((answer.status, &answer.json()["active"]), (200, &json!("first")));
        }
        let answer = client.send("POST", "/v1/models/rollback", &[], "");
        assert_eq!((answer.status, &answer.json()["type"]), (409, &json!("/problems/conflict")));
        for (path, headers, body, status) in [
            ("/v1/models/none/activate", &[][..], "", 404),
            ("/v1/models/first/activate", &[("content-type", "application/json")][..], r#"{"as":"boss"}"#, 400),
            ("/v1/models/first/activate", &[("content-type", "text/plain")][..], "{}", 415),
            ("/v1/models/first/activate", &[][..], "", 200),
        ] {
            let answer = client.send("POST", path, headers, body);
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
        }
        assert_eq!(client.get("/v1/models/first/activate").status, 405);
        let (status, change) = activate(&mut client, "second", "shadow");
        assert_eq!((status, &change["shadow"]), (200, &json!("second")));
        let begin = Instant::now();
        loop {
            let view = client.get("/v1/models").json();
            let of =
                |name: &str| view["items"].as_array().expect("items").iter().find(|item| item["name"] == name).cloned();
            let (first, second, wrong) =
                (of("first").expect("it"), of("second").expect("it"), of("wrong").expect("it"));
            let compared = second["comparison"]["rows"].as_u64().unwrap_or(0);
            if compared >= 200 && first["drift"]["rows"].as_u64() > Some(200) {
                assert_eq!((&first["state"], &second["state"]), (&json!("active"), &json!("shadow")));
                assert_eq!(wrong["state"], "failed");
                assert!(wrong["error"].as_str().is_some_and(|words| words.contains("golden row 2")), "{wrong}");
                assert!(first["golden_worst"].as_f64().is_some_and(|worst| worst <= 1e-5), "{first}");
                assert_eq!(second["comparison"]["with"], "first");
                break;
            }
            assert!(begin.elapsed() < LIMIT, "nothing is compared: {view:#}");
            std::thread::yield_now();
        }
        assert_eq!(activate(&mut client, "second", "none").1["shadow"], json!(null));
        while !client.get("/metrics").text().contains("shrike_model_changes_total 26\n") {
            assert!(begin.elapsed() < LIMIT, "{}", client.get("/metrics").text());
            std::thread::yield_now();
        }
    });
    let begin = Instant::now();
    while !orders.is_finished() {
        assert!(begin.elapsed() < LIMIT, "{:#?}", shared.view());
        if !supervisor.tick() {
            std::thread::yield_now();
        }
    }
    stop.store(true, Relaxed);
    let (sent, kernels): (Vec<_>, Vec<_>) = floods.into_iter().map(|flood| flood.join().expect("a flood")).unzip();
    orders.join().expect("orders that went as they should");
    // What each model is said to have scored is all that was scored.
    let rows = || picture.counters().iter().map(|queue| queue.value(Counter::RowsScored)).sum::<u64>();
    while shared.view().items.iter().map(|model| model.scored).sum::<u64>() != rows() {
        assert!(begin.elapsed() < LIMIT, "{}: {:#?}", rows(), shared.view());
        if !supervisor.tick() {
            std::thread::yield_now();
        }
    }
    drop(kernels);
    supervisor.run(|| false);
    let status = picture.status();
    assert!(status.loss.closed, "{:#?}", status.loss);
    assert_eq!(status.totals.packets, sent.iter().map(|(taken, _)| taken).sum::<u64>());
    assert!(rows() > 1000 && status.totals.shed == 0, "{} rows, {} shed", rows(), status.totals.shed);
    assert_eq!(status.model.map(|model| model.name).as_deref(), Some("first"));
    server.stop();
}

/// Models of windows change in their stage, with the window that is over next.
#[test]
fn a_model_of_windows_changes_and_is_compared() {
    const TEST: &str = "a_model_of_windows_changes_and_is_compared";
    let folder = tempfile::tempdir().expect("a folder");
    let flows = shipped::put(folder.path(), "flows", |_| ());
    let hosts = shipped::put_of(folder.path(), "host-v1", "hosts", |_| ());
    shipped::put_of(folder.path(), "host-v1", "others", |_| ());
    let Some(model) = shipped::load(flows.clone(), |why| support::skip(TEST, "runtime", why)) else { return };
    let files = stage::Files { hosts: Some(hosts), ..stage::Files::default() };
    let windows = stage::Models::load(&files, &flows).expect("the model of hosts that comes with the program");
    let (door, port) = stage::door();
    let judges = windows.judges().expect("sessions");
    let mut stage = Stage::new(stage::Settings::default(), judges).following(door);
    let (hosts, _) = windows.split();
    let keep = Settings {
        directory: folder.path().to_owned(),
        runtime: None,
        threshold: None,
        score: ScoreSettings::default(),
        drift: DriftSettings::default(),
        named: SharedName::default(),
        choice: None,
    };
    let active = vec![(Rows::Flow, model), (Rows::Host, hosts.expect("the one named"))];
    let models = LiveModels::start(keep, active, Vec::new(), Some(port), Clock::new()).expect("a keeper");
    let shared = models.shared();
    let mut minutes = 0;
    // Minutes of a host with ten flows each, until it is so.
    let mut until = |what: &str, condition: &dyn Fn(&ModelsView) -> bool| {
        let begin = Instant::now();
        while !condition(&shared.view()) {
            assert!(begin.elapsed() < LIMIT, "{what}: {:#?}", shared.view());
            minutes += 2;
            for port in 0..10 {
                let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000 + port, 0x0a00_0002, 80, 6, 0);
                let at = Timestamp((1_700_000_000 + minutes * 60) * SECOND);
                let flow = FlowSummary {
                    key,
                    originator,
                    packets: [5; 2],
                    bytes: [500; 2],
                    payload: [100; 2],
                    ..FlowSummary::default()
                };
                stage.flow(&FlowSummary { first_seen: at, last_seen: at, ended_at: at, ..flow });
            }
            stage.reach(Timestamp((1_700_000_000 + minutes * 60 + 120) * SECOND), &mut Vec::new());
            std::thread::yield_now();
        }
    };
    let of = |view: &ModelsView, name: &str| view.items.iter().find(|model| model.name == name).cloned();
    until("it judges", &|view| of(view, "hosts").is_some_and(|model| model.scored > 0));
    let change = shared.set("others", Wanted::Active).expect("a good model");
    let told = (change.rows.as_str(), change.was_active.as_deref(), change.active.as_deref(), change.queues);
    assert_eq!(told, ("host_minute", Some("hosts"), Some("others"), None));
    until("the other judges", &|view| of(view, "others").is_some_and(|model| model.scored > 0));
    assert_eq!(shared.set("hosts", Wanted::Shadow).expect("a good model").shadow.as_deref(), Some("hosts"));
    let compared = |view: &ModelsView| of(view, "hosts").and_then(|model| model.comparison);
    until("both are compared", &|view| compared(view).is_some_and(|comparison| comparison.rows > 10));
    let comparison = compared(&shared.view()).expect("a shadow");
    assert_eq!((comparison.rows, comparison.agree, &*comparison.with), (comparison.of, comparison.rows, "others"));
    assert_eq!(shared.roll_back().expect("one step").active.as_deref(), Some("hosts"));
    assert_eq!(shared.active().1.iter().map(|model| &*model.name).collect::<Vec<_>>(), ["hosts"]);
    assert!(matches!(shared.set("flows", Wanted::Shadow), Err(CommandError::Conflict(_))), "it is active");
}
