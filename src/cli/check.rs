//! `shrike check`: is the configuration good, what does it come to, and would this machine run it?

use super::Failure;
use super::doctor::{Finding, Verdict};
use super::files::{self, Files};
use super::out::say;
use crate::config::{self, Config, ConfigError};
use crate::control::behaviour::intel::Feeds;
use crate::dataplane::capture::xdp::{Cause, Fail};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

/// Arguments of `shrike check`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Exit code 2: the configuration cannot be meant. 3: it can, and `shrike run` would refuse it on this
machine now: a model that does not load, an interface or a queue that is not there, an address that is not ours, a file
that cannot be opened or that two parts would write."
)]
pub struct Arguments {
    /// The configuration file; none: check the defaults and the environment.
    config: Option<PathBuf>,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the plan and what stands against it on this machine, or the first thing wrong with its place and remedy.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let name = arguments.config.as_ref().map_or_else(|| "defaults".to_owned(), |path| path.display().to_string());
    let plan = match config::load(arguments.config.as_deref(), std::env::vars()) {
        Ok(plan) => plan,
        Err(error) => return Err(unusable(&name, error, arguments.json)),
    };
    let mut refused = refused(&plan);
    refused.extend(Files::of(&plan, arguments.config.as_deref(), None).refused());
    if arguments.json {
        let interfaces: Vec<_> = plan.interfaces.iter().map(|interface| interface.name.clone()).collect();
        say!(
            "{}",
            serde_json::json!({"config": name, "ok": refused.is_empty(), "interfaces": interfaces,
                "pairs": plan.pairs.iter().map(|pair| pair.name.clone()).collect::<Vec<_>>(),
                "eve": plan.eve.log.path, "conn_log": plan.conn_log.log.path, "listen": plan.http.listen.to_string(), "flow_capacity": plan.engine.flow.capacity,
                "findings": refused})
        );
    } else {
        print(&name, &plan, &refused);
    }
    match refused.len() {
        0 => Ok(()),
        count => Err(Failure::Findings(format!("{name}: `shrike run` would refuse it here, for {count} reasons"))),
    }
}

/// What `run` would end with on this machine now.
fn refused(plan: &Config) -> Vec<Finding> {
    let model = super::run::examine_model(plan).into_iter().filter(|finding| finding.verdict == Verdict::Bad);
    let interfaces = plan.all_interfaces().filter_map(super::interface::refused);
    model.chain(interfaces).chain(unheard(plan.http.listen)).chain(unruled(plan)).chain(unfed(plan)).collect()
}

/// A feed that cannot be used.
fn unfed(plan: &Config) -> Option<Finding> {
    let error = Feeds::open(&plan.feeds, plan.detect.intel.indicators).err()?;
    let fix = "mend the file, or take its [[feed]] out of the configuration";
    Some(Finding::new("feeds", Verdict::Bad, error.to_string(), "hosts that meet what it lists are told by it", fix))
}

/// An address that cannot be listened on. One that is taken is no finding: a running shrike may have it.
fn unheard(listen: SocketAddr) -> Option<Finding> {
    let cause = TcpListener::bind(listen).err().filter(|cause| cause.kind() != ErrorKind::AddrInUse)?;
    let fix = match cause.kind() {
        ErrorKind::PermissionDenied => "run as root, or choose a port from 1024 on: listen in [http]",
        _ => "`ip address` shows this machine's own; set listen in [http], or --listen",
    };
    Some(Finding::new("http", Verdict::Bad, format!("listen on {listen}: {cause}"), "alerts are served there", fix))
}

/// A rule file that cannot be used.
fn unruled(plan: &Config) -> Option<Finding> {
    let error = plan.inventory.settings().err()?;
    let fix = error.remedy.clone();
    Some(Finding::new("inventory", Verdict::Bad, error.to_string(), "known vulnerabilities are told by it", fix))
}

fn unusable(name: &str, error: ConfigError, json: bool) -> Failure {
    if !json {
        return Failure::Usage(error.into());
    }
    say!(
        "{}",
        serde_json::json!({"config": error.name, "ok": false, "message": error.message,
            "line": error.place.map(|place| place.0), "column": error.place.map(|place| place.1), "remedy": error.remedy})
    );
    Failure::Usage(anyhow::anyhow!("{name} is not usable"))
}

fn print(name: &str, plan: &Config, refused: &[Finding]) {
    say!("{name}: {}", if refused.is_empty() { "good" } else { "well written, and not for this machine as it is" });
    for interface in &plan.interfaces {
        let queues = match &interface.queues[..] {
            [] => "all queues".to_owned(),
            some => format!("queues {some:?}"),
        };
        let mode = serde_json::to_value(interface.mode).unwrap_or_default();
        say!("  capture  {}: {queues}, mode {mode}, rings of {}", interface.label(), interface.ring_entries);
    }
    for pair in &plan.pairs {
        let [first, second] = &pair.ports;
        let closed =
            Cause::ALL.iter().filter(|cause| pair.policy.of(**cause) == Fail::Closed).map(|cause| cause.name());
        let closed = closed.collect::<Vec<_>>().join(", ");
        let fails =
            if closed.is_empty() { "open whatever the cause".to_owned() } else { format!("closed on {closed}") };
        say!("  pair     {}: {} and {}, fails {fails}", pair.name, first.label(), second.label());
    }
    if plan.interfaces.is_empty() && plan.pairs.is_empty() {
        say!("  capture  no interface: name one with [[interface]], [[pair]] or `shrike run -i NAME`");
    }
    match &plan.workers.cores {
        Some(cores) => say!("  workers  on cores {cores:?}"),
        None => say!("  workers  on every core but the first"),
    }
    say!("  flows    {} per queue", plan.engine.flow.capacity);
    if let Some(memory) = super::memory::examine(plan) {
        say!("  memory   {}", memory.found);
        if memory.verdict != Verdict::Good {
            say!("           too much for this machine: {}", memory.fix);
        }
    }
    match &plan.model.manifest {
        _ if !plan.model.enabled => say!("  model    none, by decision"),
        Some(manifest) => say!("  model    {}", manifest.display()),
        None => say!("  model    the one that comes with shrike"),
    }
    say!("  alerts   {} (at most {})", plan.alerts.store.display(), plan.alerts.keep);
    say!("  eve      {}", files::told(&plan.eve.log));
    say!("  conn.log {}", files::told(&plan.conn_log.log));
    if let (true, Ok(settings)) = (plan.inventory.enabled, plan.inventory.settings()) {
        let home: Vec<String> = settings.home.iter().map(ToString::to_string).collect();
        say!("  hosts    at most {} of {}; {} rules", settings.hosts, home.join(" "), settings.rules.count());
    }
    say!("  http     http://{}/", plan.http.listen);
    for finding in refused {
        say!("REFUSED    {}: {}", finding.check, finding.found);
        say!("      fix: {}", finding.fix);
    }
}
