//! `shrike run`: capture, detect, score, serve.

mod reload;
mod responses;
mod told;

use super::Failure;
use super::doctor::{Finding, Verdict};
use super::files::Files;
use super::output::Output;
use crate::clock::Clock;
use crate::config::{self, Config, Written};
use crate::control::behaviour::LiveBehaviour;
use crate::control::behaviour::intel::{Feeds, LiveFeeds};
use crate::control::export::{ConnLog, EveFormat, EveLog, Format, Log, LogSettings, SharedName};
use crate::control::flows::FlowHistory;
use crate::control::http;
use crate::control::inventory::LiveInventory;
use crate::control::models::{self, LiveModels, Port, Rows};
use crate::control::respond::live::LiveResponses;
use crate::control::store::{self, Store};
use crate::control::supervisor::{Outputs, Settings, Supervisor, live};
use crate::control::view::{ModelStatus, System};
use crate::control::windows::stage::{self, Models, Stage};
use crate::dataplane::capture::xdp::{InterfaceSettings, Mode, Verdicts, is_shared};
use crate::dataplane::score::{self, INLINE_BUDGET_NS, Model, ModelError};
use crate::dataplane::worker::EngineSettings;
use crate::sys::affinity;
use crate::units::SECOND;
use anyhow::Context;
use reload::Reloader;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
pub use told::latency_json;
use told::{announce, finish, latency, summary};

/// Arguments of `shrike run`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  shrike run -i eth1                           all queues of eth1; live page and API at http://127.0.0.1:7470/
  shrike run -i eth1 -i veth0@lab --cores 2,3  two interfaces, one in another network namespace, on two cores
  shrike run -c /etc/shrike.toml               as configured (shrike check shows what that comes to)")]
pub struct Arguments {
    /// Configuration file; the defaults need none.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// Capture from this interface: NAME, or NAME@NAMESPACE. May be given several times; adds to the configuration. Of
    /// one that carries addresses of this machine the machine keeps only ARP, neighbour discovery and management_ports.
    #[arg(short, long = "interface", value_name = "NAME[@NAMESPACE]")]
    interfaces: Vec<String>,
    /// Capture mode of the interfaces given with -i.
    #[arg(long, value_parser = ["auto", "zero-copy", "copy", "generic"], default_value = "auto")]
    mode: String,
    /// Cores for workers, such as 1,2,3.
    #[arg(long, value_delimiter = ',')]
    cores: Option<Vec<usize>>,
    /// Address and port of the HTTP API; port 0 takes a free one.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// SQLite file of the alerts.
    #[arg(long)]
    store: Option<PathBuf>,
    /// Write alerts, flows and protocol events there as Suricata's EVE JSON; rotated ([eve] in the configuration).
    #[arg(long, value_name = "FILE")]
    eve: Option<PathBuf>,
    /// Write ended flows there as Zeek's conn.log; rotated ([conn_log] in the configuration).
    #[arg(long, value_name = "FILE")]
    conn_log: Option<PathBuf>,
    /// Run without a model, by decision.
    #[arg(long)]
    no_model: bool,
    /// Stop after so many seconds.
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Write a JSON summary there at the end; `-` is standard output.
    #[arg(long)]
    summary: Option<PathBuf>,
}

/// Adds interfaces given on the command line to the plan.
pub fn add_interfaces(plan: &mut Config, names: &[String]) -> Result<(), Failure> {
    for text in names {
        let (name, namespace) = match text.split_once('@') {
            Some((name, namespace)) => (name, Some(namespace.to_owned())),
            None => (text.as_str(), None),
        };
        if name.is_empty() || name.len() > 15 || namespace.as_deref() == Some("") {
            return Err(Failure::Usage(anyhow::anyhow!(
                "-i {text}: write NAME or NAME@NAMESPACE, as `ip link` and `ip netns` show them"
            )));
        }
        let settings = InterfaceSettings { namespace, ..plan.capture.interface(name) };
        if plan.interfaces.iter().any(|other| other.label() == settings.label()) {
            return Err(Failure::Usage(anyhow::anyhow!(
                "-i {text}: named a second time; name it once, on the command line or in the configuration"
            )));
        }
        plan.interfaces.push(settings);
    }
    Ok(())
}

/// Tells of interfaces that carry addresses of this machine, before it loses them: who is here through one is cut off.
fn tell_shared(interfaces: &[InterfaceSettings]) {
    for settings in interfaces.iter().filter(|settings| is_shared(settings).unwrap_or(false)) {
        eprintln!(
            "note: {} carries addresses of this machine, which from now on gets nothing through it but: {}. What else it needs \
             is to be named in management_ports and management_addresses of its [[interface]]",
            settings.label(),
            settings.left_to_the_machine()
        );
    }
}

/// Runs until SIGINT, SIGTERM or the time is up.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut plan = plan(&arguments)?;
    let written = Written::read(arguments.config.as_deref()).map_err(|error| Failure::Usage(error.into()))?;
    let running = (plan.clone(), written);
    let files = Files::of(&plan, arguments.config.as_deref(), arguments.summary.as_deref());
    if let Some(clash) = files.clash() {
        return Err(Failure::Usage(anyhow::anyhow!("{clash}; name another for one")));
    }
    let stop = stop_flag()?;
    // What a typo would spoil is tried before anything begins.
    let written = arguments.summary.as_deref().map(|path| Output::create(path, false)).transpose().map_err(failure)?;
    let listener = http::listen(plan.http.listen).map_err(listen_failure)?;
    let (model, model_status) = load_model(&plan)?;
    let windows = load_windows(&plan, model.as_ref())?;
    let named = SharedName::new(model.as_ref().map(super::replay::name));
    let mut outputs = open_outputs(&plan, &named)?;
    let inventory = plan.inventory.settings().map_err(|error| Failure::Usage(error.into()))?;
    let feeds = feeds(&plan)?;
    plan.engine = engine(&plan, model.as_ref());
    // A playbook that a reload brings needs them too.
    let answers = plan.respond.enabled && !(plan.respond.playbooks.is_empty() && plan.pairs.is_empty());
    plan.engine.export_flows |= windows.is_some() || answers;
    let (worker_cores, control_cores, mut notes) = divide_cores(&plan);
    // Threads started from here on inherit it; workers pin themselves to their own cores.
    affinity::restrict_to(&control_cores);
    let clock = Clock::new();
    if plan.history > 0 {
        outputs.history = Some(Arc::new(FlowHistory::new(plan.history, clock.now())));
    }
    let store = open_store(&plan, &clock)?;
    tell_shared(&plan.interfaces);
    let mut kept = None;
    if plan.inventory.enabled {
        let path = plan.inventory.store_beside(&plan.alerts.store);
        kept = Some(LiveInventory::start(inventory, &path).map_err(failure)?);
    }
    let shown = kept.as_ref().map(LiveInventory::shared);
    // What is in force is in the kernel before a program that looks there is attached, and before a worker takes a frame.
    let (responses, shunts) = responses::start(&plan, shown.clone(), &clock)?;
    let opened = live::open(&plan, model.as_ref(), &worker_cores, &clock);
    if let (Err(_), Some(pair)) = (&opened, plan.pairs.first()) {
        Verdicts::forget_unused(&pair.ports[0]);
    }
    let live::Opened { capture, queues, mailboxes, watched } = opened.map_err(start_failure)?;
    if queues.len() > worker_cores.len() {
        notes.push(format!("{} queues share {} worker cores", queues.len(), worker_cores.len()));
    }
    let settings = Settings {
        mode: "run".into(),
        cores: worker_cores,
        pin: true,
        scale: plan.workers.scale,
        minimum: plan.workers.minimum,
        spin_turns: plan.workers.spin_turns,
        rx: plan.engine.rx,
        score: plan.engine.score,
        detect: plan.detect,
        model: model_status,
        notes,
        degraded: Vec::new(),
    };
    let mut supervisor = Supervisor::start(settings, queues, Box::new(capture), store.clone(), clock.clone())
        .context("start the workers")?;
    let flows = outputs.history.clone();
    supervisor.write_to(outputs);
    if let Some(kept) = kept {
        supervisor.keep_hosts(kept);
    }
    let mut stage_port = None;
    if let Some(mut behaviour) = plan.detect.behaviour(&plan.inventory.home) {
        if let Some(feeds) = feeds {
            behaviour.look_up_in(feeds.shared());
            supervisor.watch_feeds(LiveFeeds::start(feeds).context("start the thread that watches the feeds")?);
        }
        if let Some(models) = &windows {
            let judges = models.judges().context("sessions for the models of windows")?;
            let (door, port) = stage::door();
            stage_port = Some(port);
            behaviour.judge_windows(Stage::new(plan.detect.windows, judges).following(door));
            let names: Vec<_> = models.all().map(|model| model.manifest().name.as_str()).collect();
            tracing::info!("models of windows: {}", names.join(", "));
        }
        let learnt = Some(plan.alerts.baselines());
        let behaviour = LiveBehaviour::start(behaviour, learnt).context("start the thread of the detectors")?;
        supervisor.observe_with(behaviour);
    }
    let mut models = None;
    if let Some(model) = model {
        supervisor.explain_with(model.explainer().context("a session for the model's reasons")?);
        let settings = models_settings(&plan, &model, named);
        let (hosts, pairs) = windows.map_or((None, None), Models::split);
        let windows = hosts.map(|model| (Rows::Host, model)).into_iter().chain(pairs.map(|model| (Rows::Pair, model)));
        let active = std::iter::once((Rows::Flow, model)).chain(windows).collect();
        let ports = mailboxes.into_iter().map(Port::new).collect();
        let live = LiveModels::start(settings, active, ports, stage_port, clock.clone()).context("keep the models")?;
        models = Some(live.shared());
        supervisor.follow_models(live);
    }
    let shown_responses = responses.as_ref().map(LiveResponses::shared);
    if let Some(responses) = responses {
        responses.watch(watched);
        supervisor.respond_with(responses);
    }
    if let Some(shunts) = shunts {
        supervisor.shunt_with(shunts);
    }
    let reloader = Arc::new(Reloader::new(arguments.clone(), running, supervisor.picture()));
    let ended = Arc::new(AtomicBool::new(false));
    let following = reloader.follow(&ended).context("follow SIGHUP")?;
    let timed = shown_responses.clone();
    let server = http::serve_on(
        listener,
        http::Settings {
            listen: plan.http.listen,
            names: plan.http.hosts.clone(),
            flows,
            connections: plan.http.connections as usize,
            connections_per_address: plan.http.connections_per_address as usize,
            inventory: shown,
            models,
            responses: shown_responses,
            reload: Some(Arc::new(move || reloader.reload())),
            ..http::Settings::default()
        },
        store.clone(),
        supervisor.picture(),
    )?;
    announce(&supervisor.picture().status(), server.addr());
    let started = clock.now();
    let limit = arguments.seconds.map(|seconds| started.after((seconds * SECOND as f64) as u64));
    supervisor.run(|| stop.load(Relaxed) || limit.is_some_and(|limit| clock.now() >= limit));
    ended.store(true, Relaxed);
    drop(following.join()); // it panics nowhere
    let picture = supervisor.picture();
    let status = picture.status();
    let alerts = store.alert_latency();
    let blocks = timed.as_ref().map(|responses| responses.packet_to_block());
    let (raised, outputs) = (supervisor.raised().clone(), supervisor.take_outputs());
    drop(supervisor); // detaches
    server.stop();
    let unwritten = outputs.finish();
    let latency = latency(&*picture, &alerts, blocks.as_ref());
    let summary = summary(&status, &picture.workers(), &latency, &alerts, &raised, &unwritten);
    finish(&status, &alerts, &summary, &unwritten, written)
}

/// The configuration with the command line's changes.
fn plan(arguments: &Arguments) -> Result<Config, Failure> {
    let mut plan =
        config::load(arguments.config.as_deref(), std::env::vars()).map_err(|error| Failure::Usage(error.into()))?;
    let configured = plan.interfaces.len();
    add_interfaces(&mut plan, &arguments.interfaces)?;
    let mode = match arguments.mode.as_str() {
        "zero-copy" => Mode::ZeroCopy,
        "copy" => Mode::Copy,
        "generic" => Mode::Generic,
        _ => Mode::Auto,
    };
    for interface in plan.interfaces.iter_mut().skip(configured) {
        interface.mode = mode;
    }
    if plan.interfaces.is_empty() && plan.pairs.is_empty() {
        return Err(Failure::Usage(anyhow::anyhow!(
            "no interface to capture from: name one with -i NAME, or with [[interface]] or [[pair]] in the configuration"
        )));
    }
    if let Some(cores) = &arguments.cores {
        let list: Vec<i64> = cores.iter().map(|core| i64::try_from(*core).unwrap_or(i64::MAX)).collect();
        let checked = config::worker_cores(&list)
            .map_err(|invalid| Failure::Usage(anyhow::anyhow!("--cores {}; {}", invalid.problem, invalid.remedy)))?;
        plan.workers.cores = Some(checked);
    }
    plan.http.listen = arguments.listen.unwrap_or(plan.http.listen);
    if let Some(store) = &arguments.store {
        plan.alerts.store = store.clone();
    }
    if let Some(path) = &arguments.eve {
        plan.eve.log.path = Some(path.clone());
    }
    if let Some(path) = &arguments.conn_log {
        plan.conn_log.log.path = Some(path.clone());
    }
    plan.model.enabled &= !arguments.no_model;
    Ok(plan)
}

/// A flag that SIGINT and SIGTERM raise; a second signal ends the process at once.
pub fn stop_flag() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop)).context("watch for signals")?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("watch for signals")?;
    }
    Ok(stop)
}

/// Cores for workers and for everything else: the control plane keeps the first core where there are two.
fn divide_cores(plan: &Config) -> (Vec<usize>, Vec<usize>, Vec<String>) {
    let allowed = affinity::allowed_cores();
    let allowed = if allowed.is_empty() { vec![0] } else { allowed };
    let workers = match &plan.workers.cores {
        Some(cores) => cores.clone(),
        None if allowed.len() > 1 => allowed[1..].to_vec(),
        None => allowed.clone(),
    };
    let rest: Vec<usize> = allowed.iter().copied().filter(|core| !workers.contains(core)).collect();
    if rest.is_empty() {
        let note = "no core is left to the control plane: it shares the workers' cores".to_owned();
        return (workers, allowed, vec![note]);
    }
    (workers, rest, Vec::new())
}

/// The model, unless the operator decided against one. A model that is configured and cannot be used is refused here.
pub fn load_model(plan: &Config) -> Result<(Option<Model>, Option<ModelStatus>), Failure> {
    if !plan.model.enabled {
        return Ok((None, None));
    }
    let settings = score::Settings { manifest: plan.model.manifest.clone(), runtime: plan.model.runtime.clone() };
    let model = Model::load(&settings).map_err(|error| {
        let denied = matches!(&error, ModelError::Read { cause, .. } if is_denied(cause));
        let advice = "the model cannot be used (run without one: --no-model, or enabled = false in [model])";
        failure_of(denied, anyhow::Error::new(error).context(advice))
    })?;
    let manifest = model.manifest();
    let status = ModelStatus {
        name: manifest.name.clone(),
        version: manifest.format.to_string(),
        sha256: manifest.model.sha256.clone(),
        schema_version: manifest.schema_version,
        thresholds: manifest
            .thresholds
            .iter()
            .map(|(family, threshold)| (family.clone(), f64::from(plan.model.threshold.unwrap_or(*threshold))))
            .collect(),
        active: true,
        reason: None,
        cost_ns: model.cost().points().iter().map(|(rows, ns)| (*rows as u32, *ns)).collect(),
    };
    Ok((Some(model), Some(status)))
}

/// The models of windows that there are beside the flows' one, `None` where nobody asks them. One that cannot be used is refused.
pub fn load_windows(plan: &Config, model: Option<&Model>) -> Result<Option<Models>, Failure> {
    let Some(model) = model.filter(|_| plan.detect.behaviour && plan.detect.windows.enabled) else { return Ok(None) };
    let files = stage::Files {
        hosts: plan.model.host_manifest.clone(),
        pairs: plan.model.pair_manifest.clone(),
        runtime: plan.model.runtime.clone(),
    };
    let models = Models::load(&files, model.manifest_path()).map_err(|error| {
        let denied = matches!(&error, ModelError::Read { cause, .. } if is_denied(cause));
        let advice = "a model of windows cannot be used (run without them: enabled = false in [detect.windows])";
        failure_of(denied, anyhow::Error::new(error).context(advice))
    })?;
    Ok(Some(models).filter(|models| !models.is_empty()))
}

/// Every queue's engine: as planned, and reporting flows from the thresholds that the operator or else the model names.
pub fn engine(plan: &Config, model: Option<&Model>) -> EngineSettings {
    let mut engine = plan.engine;
    engine.export_flows = plan.history > 0 || plan.eve.log.path.is_some() || plan.conn_log.log.path.is_some();
    engine.export_events = plan.eve.log.path.is_some() || plan.inventory.enabled || plan.detect.behaviour;
    engine.thresholds = model.map_or(engine.thresholds, Model::thresholds);
    if let Some(threshold) = plan.model.threshold {
        engine.thresholds = engine.thresholds.from(threshold);
    }
    engine
}

/// What keeps the models is told: where others lie, and what a queue scores by.
fn models_settings(plan: &Config, model: &Model, named: SharedName) -> models::Settings {
    let beside =
        || model.manifest_path().parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    models::Settings {
        directory: plan.model.directory.clone().unwrap_or_else(|| beside().to_owned()),
        runtime: plan.model.runtime.clone(),
        threshold: plan.model.threshold,
        score: plan.engine.score,
        drift: models::DriftSettings::default(),
        named,
        choice: Some(plan.alerts.models()),
    }
}

/// Reads the feeds, where there are some and somebody looks things up in them.
pub fn feeds(plan: &Config) -> Result<Option<Feeds>, Failure> {
    if plan.feeds.is_empty() || !plan.detect.behaviour {
        return Ok(None);
    }
    let feeds = Feeds::open(&plan.feeds, plan.detect.intel.indicators);
    feeds.map(Some).map_err(|error| Failure::Usage(error.into()))
}

/// Opens the files that are wanted.
fn open_outputs(plan: &Config, named: &SharedName) -> Result<Outputs, Failure> {
    let (eve, conn) = (plan.eve.log.settings(), plan.conn_log.log.settings());
    let eve: Option<EveLog> =
        eve.map(|settings| open_log(settings, EveFormat::named(named.clone()), "--eve")).transpose()?;
    let conn: Option<ConnLog> =
        conn.map(|settings| open_log(settings, plan.conn_log.format, "--conn-log")).transpose()?;
    Ok(Outputs::new(eve, plan.eve.stats_ns, conn))
}

/// Opens one file; SIGHUP has it opened anew.
fn open_log<F: Format>(settings: LogSettings, format: F, option: &str) -> Result<Log<F>, Failure> {
    let opened = Log::start(settings.clone(), format).with_context(|| {
        let path = settings.path.display();
        format!("open {path}: choose another file with {option} or {}.path", F::NAME)
    });
    let log = opened.map_err(failure)?;
    signal_hook::flag::register(signal_hook::consts::SIGHUP, log.reopen_flag()).context("watch for signals")?;
    Ok(log)
}

/// Opens the store, making its folder.
fn open_store(plan: &Config, clock: &Clock) -> Result<Store, Failure> {
    let path = &plan.alerts.store;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let made = std::fs::create_dir_all(folder).with_context(|| {
            format!("make the folder {} of the alert store: choose another with --store", folder.display())
        });
        made.map_err(failure)?;
    }
    // The packets' own clock: the store times packet to alert with it.
    let clock = Some(clock.clone());
    Store::open(store::Settings { retain: plan.alerts.keep, clock, ..store::Settings::at(path) }).map_err(|error| {
        // SQLite says only that it could not.
        let denied = std::fs::OpenOptions::new().append(true).create(true).open(path).err();
        failure_of(denied.as_ref().is_some_and(is_denied), error.into())
    })
}

/// More than thirty years are as good as none.
const SECONDS_MAX: f64 = 1e9;

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0 && *seconds <= SECONDS_MAX);
    seconds.ok_or_else(|| "a number above 0, at most 1000000000; without it, until stopped".to_owned())
}

/// Whatever the system refuses at start for want of a right is one kind of failure, wherever it is.
fn failure_of(denied: bool, error: anyhow::Error) -> Failure {
    if denied { Failure::NotPermitted(error) } else { Failure::Runtime(error) }
}

fn is_denied(cause: &std::io::Error) -> bool {
    cause.kind() == std::io::ErrorKind::PermissionDenied
}

fn failure(error: anyhow::Error) -> Failure {
    let denied = error.chain().any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(is_denied));
    failure_of(denied, error)
}

fn listen_failure(error: http::ServeError) -> Failure {
    let denied = matches!(&error, http::ServeError::Listen { cause, .. } if is_denied(cause));
    failure_of(denied, error.into())
}

fn start_failure(error: live::StartError) -> Failure {
    let denied = matches!(&error, live::StartError::Capture(error) if error.is_denied());
    failure_of(denied, error.into())
}

/// The model as `doctor` sees it.
pub fn examine_model(plan: &Config) -> Vec<Finding> {
    let why = "flows are scored by it; without one only the detectors work";
    if !plan.model.enabled {
        return vec![Finding::new(
            "model",
            Verdict::Fair,
            "switched off in the configuration",
            why,
            "enabled = true in [model]",
        )];
    }
    let settings = score::Settings { manifest: plan.model.manifest.clone(), runtime: plan.model.runtime.clone() };
    match Model::load(&settings) {
        Err(error) => vec![Finding::new(
            "model",
            Verdict::Bad,
            format!("{error}"),
            why,
            "sh ci/get-onnxruntime.sh fetches the runtime; [model] names manifest and runtime",
        )],
        Ok(model) => {
            let cost = model.cost().service_ns(64);
            let found = format!(
                "{} (schema {}), 64 rows in {:.1} us",
                model.manifest().name,
                model.manifest().schema_version,
                cost as f64 / 1e3
            );
            // No call may take longer between two reads of the ring.
            let verdict = if cost <= INLINE_BUDGET_NS { Verdict::Good } else { Verdict::Fair };
            vec![Finding::new("model", verdict, found, why, "a smaller model; calls above 20 us delay the ring")]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, names: &[&str]) -> Result<Config, String> {
        let mut plan = config::parse("t.toml", text, std::iter::empty()).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        match add_interfaces(&mut plan, &names) {
            Ok(()) => Ok(plan),
            Err(Failure::Usage(cause)) => Err(cause.to_string()),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// What `[capture]` says holds for every interface, wherever it was named.
    #[test]
    fn an_interface_of_the_command_line_belongs_to_the_configured_instance() {
        let text =
            "[capture]\ninstance = \"second\"\npin_directory = \"/run/elsewhere\"\n[[interface]]\nname = \"eth0\"";
        let plan = with(text, &["eth1", "rx0@lab"]).unwrap();
        let labels: Vec<String> = plan.interfaces.iter().map(InterfaceSettings::label).collect();
        assert_eq!(labels, ["eth0", "eth1", "lab/rx0"]);
        for interface in &plan.interfaces {
            let place = (interface.instance.as_str(), interface.pin_directory.to_str().unwrap());
            assert_eq!(place, ("second", "/run/elsewhere"), "{}", interface.label());
        }
        let defaults = InterfaceSettings::new("eth1");
        assert_eq!(with("", &["eth1"]).unwrap().interfaces, [defaults]);
    }

    #[test]
    fn a_time_to_run_is_a_time() {
        for bad in ["nan", "inf", "0", "-1", "1e300", "soon"] {
            assert!(seconds(bad).unwrap_err().contains("above 0"), "{bad}");
        }
        assert_eq!((seconds("0.5"), seconds("1e9")), (Ok(0.5), Ok(1e9)));
    }

    #[test]
    fn an_interface_is_named_once() {
        let text = "[[interface]]\nname = \"eth1\"";
        for (text, names) in [(text, &["eth1"][..]), ("", &["eth1", "eth1"])] {
            let complaint = with(text, names).unwrap_err();
            assert!(complaint.contains("-i eth1: named a second time"), "{complaint}");
        }
        assert!(with(text, &["eth1@lab"]).is_ok(), "another namespace, another interface");
    }
}
