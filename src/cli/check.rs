//! `shrike check`: is the configuration good, and what does it come to?

use super::Failure;
use super::out::say;
use crate::config;
use std::path::PathBuf;

/// Arguments of `shrike check`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The configuration file; none: check the defaults and the environment.
    config: Option<PathBuf>,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the plan, or the first thing wrong with its place and remedy.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let name = arguments.config.as_ref().map_or_else(|| "defaults".to_owned(), |path| path.display().to_string());
    match config::load(arguments.config.as_deref(), std::env::vars()) {
        Ok(plan) if arguments.json => {
            let interfaces: Vec<_> = plan.interfaces.iter().map(|interface| interface.name.clone()).collect();
            say!(
                "{}",
                serde_json::json!({"config": name, "ok": true, "interfaces": interfaces,
                "listen": plan.http.listen.to_string(), "flow_capacity": plan.engine.flow.capacity})
            );
            Ok(())
        }
        Ok(plan) => {
            say!("{name}: good");
            for interface in &plan.interfaces {
                let queues = match &interface.queues[..] {
                    [] => "all queues".to_owned(),
                    some => format!("queues {some:?}"),
                };
                let mode = serde_json::to_value(interface.mode).unwrap_or_default();
                say!("  capture  {}: {queues}, mode {mode}, rings of {}", interface.label(), interface.ring_entries);
            }
            if plan.interfaces.is_empty() {
                say!("  capture  no interface: name one with [[interface]] or `shrike run -i NAME`");
            }
            match &plan.workers.cores {
                Some(cores) => say!("  workers  on cores {cores:?}"),
                None => say!("  workers  on every core but the first"),
            }
            say!("  flows    {} per queue", plan.engine.flow.capacity);
            if let Some(memory) = super::memory::examine(&plan) {
                say!("  memory   {}", memory.found);
                if memory.verdict != super::doctor::Verdict::Good {
                    say!("           too much for this machine: {}", memory.fix);
                }
            }
            match &plan.model.manifest {
                _ if !plan.model.enabled => say!("  model    none, by decision"),
                Some(manifest) => say!("  model    {}", manifest.display()),
                None => say!("  model    the one that comes with shrike"),
            }
            say!("  alerts   {} (at most {})", plan.alerts.store.display(), plan.alerts.keep);
            say!("  http     http://{}/", plan.http.listen);
            Ok(())
        }
        Err(error) if arguments.json => {
            say!(
                "{}",
                serde_json::json!({"config": error.name, "ok": false, "message": error.message,
                "line": error.place.map(|place| place.0), "column": error.place.map(|place| place.1), "remedy": error.remedy})
            );
            Err(Failure::Usage(anyhow::anyhow!("{name} is not usable")))
        }
        Err(error) => Err(Failure::Usage(error.into())),
    }
}
