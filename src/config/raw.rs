//! The TOML file as the operator wrote it: every key optional, unknown ones refused.

use serde::Deserialize;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    /// `[[interface]]`: what to capture from.
    pub interface: Vec<RawInterface>,
    /// `[[pair]]`: ports between which frames are forwarded.
    pub pair: Vec<super::pair::RawPair>,
    /// `[workers]`
    pub workers: RawWorkers,
    /// `[flow]`
    pub flow: RawFlow,
    /// `[decode]`
    pub decode: RawDecode,
    /// `[inspect]`
    pub inspect: RawInspect,
    /// `[eve]`
    pub eve: RawEve,
    /// `[conn_log]`
    pub conn_log: RawConnLog,
    /// `[inventory]`
    pub inventory: RawInventory,
    /// `[batch]`
    pub batch: RawBatch,
    /// `[model]`
    pub model: RawModel,
    /// `[detect]`
    pub detect: crate::control::hosts::Settings,
    /// `[[feed]]`: lists of others.
    pub feed: Vec<RawFeed>,
    /// `[alerts]`
    pub alerts: RawAlerts,
    /// `[http]`
    pub http: RawHttp,
    /// `[capture]`
    pub capture: RawCapture,
    /// `[respond]`
    pub respond: RawRespond,
    /// `[scan]`
    pub scan: RawScan,
    /// `[shunt]`
    pub shunt: RawShunt,
    /// `[[playbook]]`: how alerts are answered.
    pub playbook: Vec<RawPlaybook>,
    /// `[[webhook]]`: servers that may be told.
    pub webhook: Vec<RawWebhook>,
    /// `[[command]]`: programs that may be run.
    pub command: Vec<RawCommand>,
}

/// One interface.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawInterface {
    /// Kernel name, such as `eth1`.
    pub name: Option<String>,
    /// Network namespace it lives in, by name (`ip netns`).
    pub netns: Option<String>,
    /// `auto`, `zero-copy`, `copy` or `generic`.
    pub mode: Option<String>,
    /// Queues to bind, by number; all of them if absent.
    pub queues: Option<Vec<i64>>,
    /// Does the interface carry the host's own addresses? `auto`, `yes` or `no`.
    pub shared: Option<String>,
    /// Ports of the host's own services left to the kernel on a shared interface: `"tcp/22"`, `"udp/68"`.
    pub management_ports: Option<Vec<String>>,
    /// Prefixes left to the kernel on a shared interface: `"192.0.2.0/24"`.
    pub management_addresses: Option<Vec<String>>,
    /// Entries of the fill and RX ring each.
    pub ring: Option<i64>,
    /// UMEM on huge pages where there are some.
    pub huge_pages: Option<bool>,
    /// Preferred busy polling by the worker.
    pub busy_poll: Option<bool>,
    /// Set a symmetric RSS key where the NIC takes one.
    pub symmetric_rss: Option<bool>,
    /// Name of the group of interfaces that see directions of the same flows.
    pub group: Option<String>,
}

/// A list of others: addresses, names, URLs, fingerprints.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawFeed {
    /// Name in alerts; that of the file if absent.
    pub name: Option<String>,
    /// The file.
    pub path: Option<String>,
    /// `auto`, or `base64`.
    pub format: Option<String>,
    /// How sure its indicators are, percent.
    pub confidence: Option<i64>,
    /// Days for which its indicators hold after the file's last change; 0: for ever.
    pub valid_days: Option<i64>,
    /// Hours without a change after which it counts as dead; 0: never.
    pub stale_hours: Option<i64>,
}

/// What all interfaces share.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCapture {
    /// Directory under which maps and links are pinned.
    pub pin_directory: Option<String>,
    /// Name of this running shrike among others.
    pub instance: Option<String>,
}

/// Worker threads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawWorkers {
    /// Cores for workers; chosen from those allowed if absent.
    pub cores: Option<Vec<i64>>,
    /// Start, stop and rebalance workers by load within those cores.
    pub scale: Option<bool>,
    /// Workers that stay, however idle.
    pub minimum: Option<i64>,
    /// Empty turns before an idle worker waits.
    pub spin_turns: Option<i64>,
}

/// Flow table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawFlow {
    /// Flows per queue at most.
    pub capacity: Option<i64>,
    /// Idle time of an established TCP flow, seconds.
    pub established_seconds: Option<i64>,
    /// How long an answer may take, seconds.
    pub unanswered_seconds: Option<i64>,
    /// Linger after FIN or RST, seconds.
    pub closed_seconds: Option<i64>,
    /// Idle time of UDP, ICMP and others, seconds.
    pub datagram_seconds: Option<i64>,
    /// Entities the detectors count at once, per queue.
    pub windows: Option<i64>,
    /// Ended flows kept for `/v1/flows`, of all queues.
    pub history: Option<i64>,
}

/// The two batch controllers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBatch {
    /// RX: `feedback`, or a fixed cap in frames.
    pub rx_fixed: Option<i64>,
    /// Scoring: a fixed target in rows instead of feedback.
    pub score_fixed: Option<i64>,
    /// Longest time a row may wait for its microbatch, microseconds.
    pub score_wait_us: Option<i64>,
}

/// Decoder.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawDecode {
    /// Enter tunnels.
    pub tunnels: Option<bool>,
    /// Datagrams put together from fragments at once, a queue; 0: none.
    pub datagrams: Option<i64>,
    /// How long fragments of a datagram are waited for, seconds.
    pub fragment_seconds: Option<i64>,
}

/// Inspection of application protocols.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawInspect {
    /// Flows inspected at once, per queue; 0 for no inspection.
    pub flows: Option<i64>,
    /// Sides of connections that wait for the rest of a unit at once, per queue.
    pub buffers: Option<i64>,
    /// Flows at once with an event that is not complete, per queue.
    pub facts: Option<i64>,
    /// Bytes of one side of a connection that are inspected at most, KiB.
    pub depth_kib: Option<i64>,
    /// Events told of a flow at once.
    pub flow_events_burst: Option<i64>,
    /// And a second.
    pub flow_events_per_second: Option<i64>,
    /// Events told of all flows of a source beyond those, at once, per queue.
    pub source_events_burst: Option<i64>,
    /// And a second.
    pub source_events_per_second: Option<i64>,
}

/// The EVE file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawEve {
    /// Path; no file is written if absent.
    pub path: Option<String>,
    /// Size at which it is rotated, MiB.
    pub rotate_mib: Option<i64>,
    /// Time after which it is rotated, hours; 0: by size alone.
    pub rotate_hours: Option<i64>,
    /// Older files kept.
    pub keep: Option<i64>,
    /// Seconds between two lines of statistics; 0: none.
    pub stats_seconds: Option<i64>,
}

/// Zeek's `conn.log`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConnLog {
    /// Path; no file is written if absent.
    pub path: Option<String>,
    /// `tsv` or `json`.
    pub format: Option<String>,
    /// Size at which it is rotated, MiB.
    pub rotate_mib: Option<i64>,
    /// Time after which it is rotated, hours; 0: by size alone.
    pub rotate_hours: Option<i64>,
    /// Older files kept.
    pub keep: Option<i64>,
}

/// Hosts, services and what exposes them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawInventory {
    /// Keep one at all?
    pub enabled: Option<bool>,
    /// Networks whose hosts are kept.
    pub home: Option<Vec<String>>,
    /// Path of the SQLite file.
    pub store: Option<String>,
    /// Hosts at most.
    pub hosts: Option<i64>,
    /// Memory of all hosts together, MiB.
    pub memory_mib: Option<i64>,
    /// Path of the rule file.
    pub rules: Option<String>,
}

/// The model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawModel {
    /// `false`: run without a model, by decision.
    pub enabled: Option<bool>,
    /// Path of the manifest.
    pub manifest: Option<String>,
    /// Path of the manifest of the model of hosts' minutes.
    pub host_manifest: Option<String>,
    /// Path of the manifest of the model of pairs' hours.
    pub pair_manifest: Option<String>,
    /// Folder of further models.
    pub directory: Option<String>,
    /// Path of the ONNX runtime library.
    pub runtime: Option<String>,
    /// Score from which a flow is evidence; the manifest's if absent.
    pub threshold: Option<f64>,
}

/// The alert store.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawAlerts {
    /// Path of the SQLite file.
    pub store: Option<String>,
    /// Alerts kept; the oldest go first.
    pub keep: Option<i64>,
}

/// The HTTP API.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawHttp {
    /// Address and port; port 0 takes a free one.
    pub listen: Option<String>,
    /// Host names under which the API may be asked for, besides localhost.
    pub hosts: Option<Vec<String>>,
    /// Connections at once.
    pub connections: Option<i64>,
    /// Connections at once of one address, loopback excepted.
    pub connections_per_address: Option<i64>,
}

/// Responses.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRespond {
    /// Respond at all?
    pub enabled: Option<bool>,
    /// Never blocked, besides what is found of the machine itself.
    pub allow: Option<Vec<String>>,
    /// Path of the SQLite file.
    pub store: Option<String>,
    /// For how long, where nobody says, seconds.
    pub ttl_seconds: Option<i64>,
    /// Longest time, seconds.
    pub ttl_max_seconds: Option<i64>,
    /// What comes again within this time lasts twice as long, seconds.
    pub memory_seconds: Option<i64>,
    /// Up to this, seconds.
    pub escalation_max_seconds: Option<i64>,
    /// How long a proposal waits, seconds.
    pub proposal_seconds: Option<i64>,
    /// New automatic blocks a minute.
    pub automatic_per_minute: Option<i64>,
    /// Share of the IPv4 addresses that may be blocked.
    pub ipv4_share: Option<f64>,
    /// The same of the /64 networks of IPv6.
    pub ipv6_share: Option<f64>,
    /// Shortest IPv4 prefix that anybody may block.
    pub ipv4_bits: Option<i64>,
    /// The same of IPv6.
    pub ipv6_bits: Option<i64>,
    /// Shortest IPv4 prefix that a playbook may block.
    pub automatic_ipv4_bits: Option<i64>,
    /// The same of IPv6.
    pub automatic_ipv6_bits: Option<i64>,
    /// Subjects in force at a time.
    pub subjects: Option<i64>,
    /// Of these hosts isolated by their cards.
    pub hosts: Option<i64>,
    /// Single flows.
    pub flows: Option<i64>,
    /// Signatures.
    pub signatures: Option<i64>,
    /// Prefixes of IPv4, and as many of IPv6.
    pub prefixes: Option<i64>,
    /// Rows of the audit that are kept.
    pub audit_rows: Option<i64>,
    /// Established flows of others that may meet an automatic block.
    pub brake_flows: Option<i64>,
    /// Hosts of ours that may use addresses which automatic blocks drop.
    pub brake_assets: Option<i64>,
    /// Share of all packets that automatic blocks may drop.
    pub brake_share: Option<f64>,
    /// Over which time both are counted, seconds.
    pub brake_window_seconds: Option<i64>,
    /// How long it must be quiet before the brake is let go, seconds.
    pub brake_release_seconds: Option<i64>,
    /// Folder of the captures.
    pub captures: Option<String>,
    /// Bytes of one at most.
    pub capture_bytes: Option<i64>,
    /// How many are kept.
    pub capture_files: Option<i64>,
    /// By which interface resets leave for connections that a tap sees: `NAME` or `NAME@NAMESPACE`.
    pub reset_interface: Option<String>,
}

/// What may be asked actively.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawScan {
    /// Addresses and networks of the operator's own.
    pub targets: Option<Vec<String>>,
    /// Ports, where nobody says which.
    pub ports: Option<Vec<i64>>,
    /// Connections a second.
    pub rate: Option<i64>,
    /// Targets at once.
    pub concurrency: Option<i64>,
    /// How long a connection and an answer may take, milliseconds.
    pub timeout_ms: Option<i64>,
    /// How long a service has for its greeting, milliseconds.
    pub greeting_ms: Option<i64>,
}

/// Flows that are forwarded in the kernel.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawShunt {
    /// From so many MiB on; 0: none.
    pub after_mib: Option<i64>,
    /// Only flows of TLS, SSH and QUIC.
    pub encrypted_only: Option<bool>,
    /// A score of this or more is not benign.
    pub score: Option<f64>,
    /// How long at a time, seconds.
    pub seconds: Option<i64>,
    /// Flows at a time.
    pub flows: Option<i64>,
}

/// How alerts are answered.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawPlaybook {
    /// Its name.
    pub name: Option<String>,
    /// `observe`, `ask` or `auto`.
    pub mode: Option<String>,
    /// Names of detectors.
    pub detectors: Vec<String>,
    /// Kinds of alerts.
    pub kinds: Vec<String>,
    /// This severity or a higher one (a lower number).
    pub severity: Option<i64>,
    /// At least so sure.
    pub confidence: Option<f64>,
    /// Networks of the source.
    pub source: Vec<String>,
    /// Networks of the target.
    pub target: Vec<String>,
    /// `inbound`, `outbound`, `internal` or `external`.
    pub direction: Option<String>,
    /// The source is proven to be who it says, or is not.
    pub proven: Option<bool>,
    /// How it is answered.
    pub protocol: Option<String>,
    /// With what.
    pub parameters: Option<toml::Table>,
    /// For how long, seconds.
    pub ttl_seconds: Option<i64>,
    pub unproven_per_second: Option<i64>,
}

/// A server that may be told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawWebhook {
    /// Its name.
    pub name: Option<String>,
    /// Where.
    pub url: Option<String>,
    /// Time for all attempts, seconds.
    pub seconds: Option<i64>,
    /// PEM file of the authorities that are trusted, instead of the system's.
    pub authorities: Option<String>,
}

/// A program that may be run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCommand {
    /// Its name.
    pub name: Option<String>,
    /// Absolute path.
    pub program: Option<String>,
    /// Arguments, with places for values.
    pub arguments: Vec<String>,
    /// Time it may take, seconds.
    pub seconds: Option<i64>,
    /// Number of the user and group that it runs as.
    pub user: Option<i64>,
    /// Folders and files that it may change.
    pub writable: Vec<String>,
}
