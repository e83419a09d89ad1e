//! The validated plan.

use super::error::Invalid;
use super::raw::{RawCapture, RawConfig, RawConnLog, RawEve, RawInterface, RawInventory};
use super::respond::RespondPlan;
use super::values::{finite, host_name, management_port, number, power, prefix, word};
use crate::control::behaviour::intel::FeedPlan;
use crate::control::export::{ConnFormat, LogSettings};
use crate::control::hosts;
use crate::control::inventory;
use crate::control::inventory::network::{self, Network};
use crate::control::inventory::rules::{RuleError, Rules};
use crate::dataplane::capture::xdp::{
    BusyPoll, InterfaceSettings, MANAGEMENT_MAX, Management, Mode, PIN_DIRECTORY, PairSettings, Shared,
};
use crate::dataplane::inspect;
use crate::dataplane::worker::EngineSettings;
use crate::units::{MICROSECOND, SECOND};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What the program may rely on.
#[derive(Clone, Debug)]
pub struct Config {
    /// What to capture from; empty for replay.
    pub interfaces: Vec<InterfaceSettings>,
    /// Ports between which frames are forwarded.
    pub pairs: Vec<PairSettings>,
    /// What all interfaces share, also those named on the command line.
    pub capture: CapturePlan,
    /// Worker threads.
    pub workers: WorkersPlan,
    /// Every queue's engine.
    pub engine: EngineSettings,
    /// The model.
    pub model: ModelPlan,
    /// Every detector's thresholds.
    pub detect: hosts::Settings,
    /// Lists of others.
    pub feeds: Vec<FeedPlan>,
    /// The alert store.
    pub alerts: AlertsPlan,
    /// The EVE file.
    pub eve: EvePlan,
    /// Zeek's `conn.log`.
    pub conn_log: ConnLogPlan,
    /// Ended flows kept for `/v1/flows`.
    pub history: usize,
    /// Hosts, services and what exposes them.
    pub inventory: InventoryPlan,
    /// The HTTP API.
    pub http: HttpPlan,
    /// Flows that are forwarded in the kernel.
    pub shunt: crate::control::shunt::Settings,
    /// Responses; their store is beside the alerts' where it has no name.
    pub respond: RespondPlan,
}

impl Config {
    /// Every interface that is captured from: those that are watched, and the ports of pairs.
    pub fn all_interfaces(&self) -> impl Iterator<Item = &InterfaceSettings> {
        self.interfaces.iter().chain(self.pairs.iter().flat_map(|pair| &pair.ports))
    }
}

/// What all interfaces share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CapturePlan {
    /// Directory under which maps and links are pinned.
    pub pin_directory: PathBuf,
    /// Name of this running shrike among others.
    pub instance: String,
}

impl CapturePlan {
    /// The defaults for an interface of that name, in the place of this shrike.
    pub fn interface(&self, name: &str) -> InterfaceSettings {
        let CapturePlan { pin_directory, instance } = self.clone();
        InterfaceSettings { pin_directory, instance, ..InterfaceSettings::new(name) }
    }
}

/// Worker threads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkersPlan {
    /// Cores for workers; `None`: all allowed ones but the first, where there are two.
    pub cores: Option<Vec<usize>>,
    /// Rebalance by load.
    pub scale: bool,
    /// Workers that an idle program keeps at least.
    pub minimum: usize,
    /// Empty turns before an idle worker waits.
    pub spin_turns: u32,
}

/// The model.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelPlan {
    /// Score at all?
    pub enabled: bool,
    /// Manifest; `None`: the one that ships with the program.
    pub manifest: Option<PathBuf>,
    /// Manifest of the model of hosts' minutes; `None`: the one beside the flows' model, if there is one.
    pub host_manifest: Option<PathBuf>,
    /// The same of pairs' hours.
    pub pair_manifest: Option<PathBuf>,
    /// Folder of the models that may be made active; `None`: the manifest's own.
    pub directory: Option<PathBuf>,
    /// Runtime library; `None`: searched for.
    pub runtime: Option<PathBuf>,
    /// Threshold; `None`: the manifest's.
    pub threshold: Option<f32>,
}

/// The alert store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlertsPlan {
    /// SQLite file.
    pub store: PathBuf,
    /// Alerts kept.
    pub keep: u64,
}

impl AlertsPlan {
    /// File of what the detectors learn, beside the alerts'.
    pub fn baselines(&self) -> PathBuf {
        self.store.with_extension("behaviour.json")
    }

    /// File of which models the operator chose, beside the alerts'.
    pub fn models(&self) -> PathBuf {
        self.store.with_extension("models.json")
    }
}

/// A file that is written line by line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogPlan {
    /// Path; `None`: no file is written.
    pub path: Option<PathBuf>,
    /// Size at which it is rotated, bytes.
    pub rotate_bytes: u64,
    /// Time after which it is rotated, seconds; `None`: by size alone.
    pub rotate_seconds: Option<u64>,
    /// Older files kept.
    pub keep: u32,
}

impl LogPlan {
    fn new(
        section: &str,
        path: Option<&String>,
        [rotate_mib, rotate_hours, keep]: [Option<i64>; 3],
    ) -> Result<LogPlan, Invalid> {
        let key = |name: &str| format!("{section}.{name}");
        let hours = number(&key("rotate_hours"), rotate_hours, 0, 0, 8760)?;
        Ok(LogPlan {
            path: path.map(PathBuf::from),
            rotate_bytes: number(&key("rotate_mib"), rotate_mib, 256, 1, 1 << 20)? << 20,
            rotate_seconds: (hours > 0).then_some(hours * 3600),
            keep: number(&key("keep"), keep, 8, 0, 10_000)? as u32,
        })
    }

    /// Where it is written, if it is.
    pub fn settings(&self) -> Option<LogSettings> {
        let LogPlan { rotate_bytes, rotate_seconds, keep, .. } = *self;
        self.path.clone().map(|path| LogSettings { path, rotate_bytes, rotate_seconds, keep })
    }
}

/// The EVE file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EvePlan {
    /// The file.
    pub log: LogPlan,
    /// Time between two lines of statistics, nanoseconds; 0: none.
    pub stats_ns: u64,
}

/// Zeek's `conn.log`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnLogPlan {
    /// The file.
    pub log: LogPlan,
    /// How lines are written.
    pub format: ConnFormat,
}

/// Hosts, services and what exposes them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InventoryPlan {
    /// Keep one at all?
    pub enabled: bool,
    /// Networks whose hosts are kept.
    pub home: Vec<Network>,
    /// SQLite file; `None`: beside the alerts'.
    pub store: Option<PathBuf>,
    /// Hosts at most.
    pub hosts: usize,
    /// Memory of all hosts together, bytes.
    pub bytes: usize,
    /// Rule file; `None`: the one that comes with the program.
    pub rules: Option<PathBuf>,
}

impl InventoryPlan {
    /// The file, for a sensor whose alerts are in `alerts`.
    pub fn store_beside(&self, alerts: &std::path::Path) -> PathBuf {
        self.store.clone().unwrap_or_else(|| alerts.with_extension("inventory.db"))
    }

    /// Settings with the rules read.
    ///
    /// # Errors
    /// The rule file's.
    pub fn settings(&self) -> Result<inventory::Settings, RuleError> {
        let rules = Arc::new(Rules::load(self.rules.as_deref())?);
        Ok(inventory::Settings { home: self.home.clone(), hosts: self.hosts, bytes: self.bytes, rules })
    }
}

/// The HTTP API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpPlan {
    /// Address and port.
    pub listen: SocketAddr,
    /// Further host names.
    pub hosts: Vec<String>,
    /// Connections at once.
    pub connections: u32,
    /// Connections at once of one address, loopback excepted.
    pub connections_per_address: u32,
}

/// Least and largest threshold of the model's scores.
const THRESHOLD: (f64, f64) = (1e-6, 0.999_999);

impl RawConfig {
    /// Checks everything and fills in the defaults.
    ///
    /// # Errors
    /// The first value that cannot be meant.
    pub fn plan(&self) -> Result<Config, Invalid> {
        let capture = self.capture.plan()?;
        let mut interfaces = Vec::new();
        for (index, raw) in self.interface.iter().enumerate() {
            let plan = raw.plan(&format!("interface[{index}]"), &capture)?;
            if interfaces.iter().any(|other: &InterfaceSettings| other.label() == plan.label()) {
                return Err(Invalid {
                    key: format!("interface[{index}].name"),
                    problem: format!("names {} a second time", plan.name),
                    remedy: "give each interface one section".into(),
                    other: None,
                });
            }
            interfaces.push(plan);
        }
        let mut pairs: Vec<PairSettings> = Vec::new();
        for (index, raw) in self.pair.iter().enumerate() {
            let plan = raw.plan(&format!("pair[{index}]"), &capture)?;
            let others = pairs.iter().flat_map(|other| &other.ports);
            let taken: Vec<String> = others.chain(&interfaces).map(InterfaceSettings::label).collect();
            if let Some(port) = plan.ports.iter().find(|port| taken.contains(&port.label())) {
                return Err(Invalid {
                    key: format!("pair[{index}].ports"),
                    problem: format!("names {}, which is captured from or a port of a pair already", port.name),
                    remedy:
                        "an interface is watched, or a port of a pair, once: what crosses a pair is inspected anyway"
                            .into(),
                    other: None,
                });
            }
            if pairs.iter().any(|other| other.name == plan.name) {
                return Err(Invalid {
                    key: format!("pair[{index}].name"),
                    problem: format!("is {} a second time", plan.name),
                    remedy: "give each pair a name of its own".into(),
                    other: None,
                });
            }
            pairs.push(plan);
        }
        let cores = match &self.workers.cores {
            None => None,
            Some(list) => Some(worker_cores(list)?),
        };
        let mut engine = EngineSettings::default();
        let flow = &self.flow;
        let seconds = |key: &str, value, default: u64| {
            number(&format!("flow.{key}"), value, default / SECOND, 1, 86_400).map(|seconds| seconds * SECOND)
        };
        engine.flow.capacity =
            number("flow.capacity", flow.capacity, engine.flow.capacity.into(), 1024, 1 << 26)? as u32;
        engine.flow.established_ns =
            seconds("established_seconds", flow.established_seconds, engine.flow.established_ns)?;
        engine.flow.unanswered_ns = seconds("unanswered_seconds", flow.unanswered_seconds, engine.flow.unanswered_ns)?;
        engine.flow.closed_ns = seconds("closed_seconds", flow.closed_seconds, engine.flow.closed_ns)?;
        engine.flow.datagram_ns = seconds("datagram_seconds", flow.datagram_seconds, engine.flow.datagram_ns)?;
        engine.windows = power("flow.windows", flow.windows, engine.windows as u64, 1024, 1 << 22)? as usize;
        engine.decode.tunnels = self.decode.tunnels.unwrap_or(engine.decode.tunnels);
        let (decode, defrag) = (&self.decode, engine.defrag);
        engine.defrag.datagrams =
            number("decode.datagrams", decode.datagrams, defrag.datagrams.into(), 0, 1 << 15)? as u16;
        let waited = number("decode.fragment_seconds", decode.fragment_seconds, defrag.timeout_ns / SECOND, 1, 120)?;
        engine.defrag.timeout_ns = waited * SECOND;
        engine.fragments.timeout_ns = waited * SECOND;
        let (inspect, default) = (&self.inspect, engine.inspect);
        let rate = |of: &str, burst, per_second, default: inspect::Rate| -> Result<_, Invalid> {
            let count = |key: &str, value, default: u32, low: u32, high: u32| {
                let key = format!("inspect.{of}_events_{key}");
                number(&key, value, default.into(), low.into(), high.into()).map(|number| number as u32)
            };
            let (low, high) = (inspect::PER_SECOND_MIN, inspect::PER_SECOND_MAX);
            let burst = count("burst", burst, default.burst, 1, inspect::BURST_MAX)?;
            Ok(inspect::Rate { burst, per_second: count("per_second", per_second, default.per_second, low, high)? })
        };
        let (flow_rate, source_rate) = (default.rates.of_flow, default.rates.of_source);
        engine.inspect = inspect::Settings {
            flows: number("inspect.flows", inspect.flows, default.flows.into(), 0, 1 << 22)? as u32,
            buffers: number("inspect.buffers", inspect.buffers, default.buffers.into(), 1, 1 << 16)? as u32,
            facts: number("inspect.facts", inspect.facts, default.facts.into(), 1, 1 << 18)? as u32,
            depth: number("inspect.depth_kib", inspect.depth_kib, default.depth >> 10, 1, 1 << 20)? << 10,
            rates: inspect::Rates {
                of_flow: rate("flow", inspect.flow_events_burst, inspect.flow_events_per_second, flow_rate)?,
                of_source: rate("source", inspect.source_events_burst, inspect.source_events_per_second, source_rate)?,
            },
        };
        if let Some(cap) = self.batch.rx_fixed {
            engine.rx.fixed = Some(number("batch.rx_fixed", Some(cap), 0, 1, 256)? as u32);
        }
        if let Some(rows) = self.batch.score_fixed {
            engine.score.fixed = Some(number("batch.score_fixed", Some(rows), 0, 1, 128)? as u32);
        }
        let default_wait = engine.score.wait_ns / MICROSECOND;
        engine.score.wait_ns =
            number("batch.score_wait_us", self.batch.score_wait_us, default_wait, 1, 1_000_000)? * MICROSECOND;
        let threshold = match self.model.threshold {
            None => None,
            // At 0 every flow would be evidence, at 1 hardly any could.
            Some(found) if (THRESHOLD.0..=THRESHOLD.1).contains(&found) => Some(found as f32),
            Some(found) => {
                return Err(Invalid::range("model.threshold", found, format!("{}..={}", THRESHOLD.0, THRESHOLD.1)));
            }
        };
        let listen = match &self.http.listen {
            None => SocketAddr::from(([127, 0, 0, 1], 7470)),
            Some(text) => text.parse().map_err(|_| Invalid {
                key: "http.listen".into(),
                problem: format!("is \"{text}\", which is no address with a port"),
                remedy: "write an address and a port, such as \"127.0.0.1:7470\" or \"[::1]:8088\"".into(),
                other: None,
            })?,
        };
        finite("detect", &serde_json::to_value(self.detect).unwrap_or_default())?;
        super::detect::check(&self.detect)?;
        for (index, name) in self.http.hosts.iter().flatten().enumerate() {
            host_name(&format!("http.hosts[{index}]"), name)?;
        }
        let shunt = super::respond::shunt(&self.shunt, engine.flow.established_ns)?;
        Ok(Config {
            shunt,
            interfaces,
            pairs,
            capture,
            workers: WorkersPlan {
                cores,
                scale: self.workers.scale.unwrap_or(true),
                minimum: number("workers.minimum", self.workers.minimum, 1, 1, 1024)? as usize,
                spin_turns: number("workers.spin_turns", self.workers.spin_turns, 64, 0, 1 << 24)? as u32,
            },
            engine,
            model: ModelPlan {
                enabled: self.model.enabled.unwrap_or(true),
                manifest: self.model.manifest.as_ref().map(PathBuf::from),
                host_manifest: self.model.host_manifest.as_ref().map(PathBuf::from),
                pair_manifest: self.model.pair_manifest.as_ref().map(PathBuf::from),
                directory: self.model.directory.as_ref().map(PathBuf::from),
                runtime: self.model.runtime.as_ref().map(PathBuf::from),
                threshold,
            },
            detect: self.detect,
            feeds: super::feed::plan(&self.feed)?,
            eve: self.eve.plan()?,
            conn_log: self.conn_log.plan()?,
            history: number("flow.history", flow.history, 1 << 16, 0, 1 << 22)? as usize,
            inventory: self.inventory.plan()?,
            respond: super::respond::plan(self)?,
            alerts: AlertsPlan {
                store: self
                    .alerts
                    .store
                    .as_ref()
                    .map_or_else(|| PathBuf::from("/var/lib/shrike/alerts.db"), PathBuf::from),
                keep: number("alerts.keep", self.alerts.keep, 1_000_000, 1000, 1 << 32)?,
            },
            http: HttpPlan {
                listen,
                hosts: self.http.hosts.clone().unwrap_or_default(),
                connections: number("http.connections", self.http.connections, 512, 1, 1 << 16)? as u32,
                connections_per_address: number(
                    "http.connections_per_address",
                    self.http.connections_per_address,
                    64,
                    1,
                    1 << 16,
                )? as u32,
            },
        })
    }
}

/// The cores of `[workers]` or `--cores`: each may be used, and none twice.
///
/// # Errors
/// Which one, and the cores to choose from.
pub fn worker_cores(list: &[i64]) -> Result<Vec<usize>, Invalid> {
    let allowed = crate::sys::affinity::allowed_cores();
    let invalid = |problem: String| Invalid {
        key: "workers.cores".into(),
        problem,
        remedy: format!("choose from the cores this process may use: {allowed:?}"),
        other: None,
    };
    let mut cores = Vec::new();
    for core in list {
        match usize::try_from(*core).ok().filter(|core| allowed.contains(core)) {
            Some(core) if cores.contains(&core) => return Err(invalid(format!("names core {core} twice"))),
            Some(core) => cores.push(core),
            None => return Err(invalid(format!("names core {core}, which this process may not use"))),
        }
    }
    if cores.is_empty() {
        return Err(invalid("is empty".into()));
    }
    Ok(cores)
}

impl RawEve {
    fn plan(&self) -> Result<EvePlan, Invalid> {
        Ok(EvePlan {
            log: LogPlan::new("eve", self.path.as_ref(), [self.rotate_mib, self.rotate_hours, self.keep])?,
            stats_ns: number("eve.stats_seconds", self.stats_seconds, 10, 0, 86_400)? * SECOND,
        })
    }
}

impl RawConnLog {
    fn plan(&self) -> Result<ConnLogPlan, Invalid> {
        let formats = [("tsv", ConnFormat::Tsv), ("json", ConnFormat::Json)];
        Ok(ConnLogPlan {
            log: LogPlan::new("conn_log", self.path.as_ref(), [self.rotate_mib, self.rotate_hours, self.keep])?,
            format: word("conn_log.format", self.format.as_deref(), &formats, ConnFormat::Tsv)?,
        })
    }
}

impl RawInventory {
    fn plan(&self) -> Result<InventoryPlan, Invalid> {
        let mut home = Vec::new();
        for (index, text) in self.home.iter().flatten().enumerate() {
            home.push(Network::parse(text).ok_or_else(|| Invalid {
                key: format!("inventory.home[{index}]"),
                problem: format!("is {text:?}, which is no network"),
                remedy: "write an address and its prefix, such as \"10.0.0.0/8\" or \"2001:db8::/32\"".into(),
                other: None,
            })?);
        }
        let path = |text: &Option<String>| text.as_ref().filter(|text| !text.is_empty()).map(PathBuf::from);
        Ok(InventoryPlan {
            enabled: self.enabled.unwrap_or(true),
            home: if self.home.is_some() { home } else { network::home() },
            store: path(&self.store),
            hosts: number("inventory.hosts", self.hosts, 16_384, 16, 1 << 22)? as usize,
            bytes: (number("inventory.memory_mib", self.memory_mib, 64, 1, 1 << 20)? << 20) as usize,
            rules: path(&self.rules),
        })
    }
}

impl RawCapture {
    fn plan(&self) -> Result<CapturePlan, Invalid> {
        let instance = self.instance.clone().unwrap_or_else(|| "default".into());
        let good = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        if instance.is_empty() || instance.len() > 32 || !instance.chars().all(good) {
            return Err(Invalid {
                key: "capture.instance".into(),
                problem: format!("is \"{instance}\", which is no name for a directory of pins"),
                remedy: "write 1 to 32 letters, digits, - and _".into(),
                other: None,
            });
        }
        let pin_directory = PathBuf::from(self.pin_directory.as_deref().unwrap_or(PIN_DIRECTORY));
        Ok(CapturePlan { pin_directory, instance })
    }
}

impl RawInterface {
    pub(super) fn plan(&self, at: &str, capture: &CapturePlan) -> Result<InterfaceSettings, Invalid> {
        let key = |name: &str| format!("{at}.{name}");
        let name = self.name.clone().unwrap_or_default();
        // IFNAMSIZ is 16 with the terminating NUL (linux/if.h).
        if name.is_empty() || name.len() > 15 || name.contains(['/', ' ', '\0']) {
            return Err(Invalid {
                key: if self.name.is_some() { key("name") } else { at.to_owned() },
                problem: format!("has the name \"{name}\", which is no interface name"),
                remedy: "write name = \"eth1\", as `ip link` shows it (1 to 15 characters)".into(),
                other: None,
            });
        }
        let namespace = self.netns.clone().filter(|netns| !netns.is_empty());
        if namespace.as_ref().is_some_and(|netns| netns.contains('/') || netns == "." || netns == "..") {
            return Err(Invalid {
                key: key("netns"),
                problem: "is no namespace name".into(),
                remedy: "write the name that `ip netns` shows".into(),
                other: None,
            });
        }
        let modes =
            [("auto", Mode::Auto), ("zero-copy", Mode::ZeroCopy), ("copy", Mode::Copy), ("generic", Mode::Generic)];
        let shares = [("auto", Shared::Auto), ("yes", Shared::Yes), ("no", Shared::No)];
        let mut settings = capture.interface(&name);
        let mut management = Management::default();
        for text in self.management_ports.iter().flatten() {
            management.ports.push(management_port(&key("management_ports"), text)?);
        }
        for text in self.management_addresses.iter().flatten() {
            management.addresses.push(prefix(&key("management_addresses"), text)?);
        }
        let counts =
            [("management_ports", management.ports.len()), ("management_addresses", management.addresses.len())];
        if let Some((name, count)) = counts.into_iter().find(|(_, count)| *count > MANAGEMENT_MAX) {
            return Err(Invalid {
                key: key(name),
                problem: format!("has {count} entries, at most {MANAGEMENT_MAX} are possible"),
                remedy: "join prefixes, or drop some".into(),
                other: None,
            });
        }
        settings.namespace = namespace;
        settings.mode = word(&key("mode"), self.mode.as_deref(), &modes, Mode::Auto)?;
        for queue in self.queues.iter().flatten() {
            let queue = number(&key("queues"), Some(*queue), 0, 0, 1023)? as u32;
            if settings.queues.contains(&queue) {
                return Err(Invalid {
                    key: key("queues"),
                    problem: format!("names queue {queue} twice"),
                    remedy: "name each queue once, or leave the key out for all".into(),
                    other: None,
                });
            }
            settings.queues.push(queue);
        }
        settings.shared = word(&key("shared"), self.shared.as_deref(), &shares, Shared::Auto)?;
        settings.management = management;
        settings.ring_entries = power(&key("ring"), self.ring, settings.ring_entries.into(), 64, 1 << 15)?;
        settings.huge_pages = self.huge_pages.unwrap_or(settings.huge_pages);
        settings.busy_poll = self.busy_poll.unwrap_or(false).then(BusyPoll::default);
        settings.symmetric_rss = self.symmetric_rss.unwrap_or(settings.symmetric_rss);
        settings.group = self.group.clone().filter(|group| !group.is_empty());
        Ok(settings)
    }
}
