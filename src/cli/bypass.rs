//! `shrike bypass`: a pair's frames past the worker and back, also when no worker lives.

use super::Failure;
use super::out::say;
use crate::config;
use crate::dataplane::capture::xdp::{Cause, Fail, PairReader, PairSettings};
use std::path::PathBuf;

/// Arguments of `shrike bypass`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  shrike bypass -c shrike.toml               how each pair stands
  shrike bypass on uplink -c shrike.toml     forward in the kernel, uninspected and counted; blocks stay in force
  shrike bypass off uplink -c shrike.toml    back to inspection
  shrike bypass release uplink -c shrike.toml   take the pair off for good (shrike is stopped): nothing crosses it any more
Works on the pinned maps, so also while no shrike runs. Needs root, and the configuration that names the pair.")]
pub struct Arguments {
    #[command(subcommand)]
    order: Option<Orders>,
    /// Configuration that names the pairs
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Orders {
    /// Show how each pair stands (also without a subcommand)
    Show {
        /// The pair; all of them if absent
        pair: Option<String>,
    },
    /// Forward in the kernel, without inspection
    On {
        /// The pair; all of them if absent
        pair: Option<String>,
    },
    /// Let the worker forward again
    Off {
        /// The pair; all of them if absent
        pair: Option<String>,
    },
    /// Take a pair's programs off, once shrike is stopped; nothing crosses it any more
    Release {
        /// The pair
        pair: String,
    },
}

/// Shows or changes what was asked for.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan =
        config::load(arguments.config.as_deref(), std::env::vars()).map_err(|error| Failure::Usage(error.into()))?;
    if plan.pairs.is_empty() {
        return Err(Failure::Usage(anyhow::anyhow!(
            "the configuration names no pair: give the one that does with -c FILE; [[pair]] is described in CONFIG.md"
        )));
    }
    let order = arguments.order.clone().unwrap_or(Orders::Show { pair: None });
    let name = match &order {
        Orders::Show { pair } | Orders::On { pair } | Orders::Off { pair } => pair.clone(),
        Orders::Release { pair } => Some(pair.clone()),
    };
    let meant: Vec<&PairSettings> =
        plan.pairs.iter().filter(|pair| name.as_ref().is_none_or(|name| pair.name == *name)).collect();
    if let (true, Some(name)) = (meant.is_empty(), &name) {
        let names: Vec<_> = plan.pairs.iter().map(|pair| pair.name.as_str()).collect();
        return Err(Failure::Usage(anyhow::anyhow!("no pair {name}: there is {}", names.join(", "))));
    }
    let mut shown = Vec::new();
    for pair in meant {
        let reader = PairReader::open(pair).map_err(|cause| not_there(pair, &cause))?;
        match order {
            Orders::On { .. } => reader.bypass(true),
            Orders::Off { .. } => reader.bypass(false),
            Orders::Show { .. } => {}
            Orders::Release { .. } => {
                reader.release().map_err(|cause| anyhow::anyhow!("take {} off: {cause}", pair.name))?;
                shown.push(serde_json::json!({"pair": pair.name, "released": true}));
                if !arguments.json {
                    say!("{}: released; nothing crosses it any more", pair.name);
                }
                continue;
            }
        }
        shown.push(show(pair, &reader, arguments.json));
    }
    if arguments.json {
        say!("{}", serde_json::Value::from(shown));
    }
    Ok(())
}

fn not_there(pair: &PairSettings, cause: &std::io::Error) -> Failure {
    let [first, second] = &pair.ports;
    let denied = cause.to_string().contains("ermission");
    let told = anyhow::anyhow!(
        "{}: no program of it is on {} and {} ({cause}): {}",
        pair.name,
        first.label(),
        second.label(),
        if denied {
            "run it as root"
        } else {
            "was `shrike run` started with this configuration, and by this version?"
        }
    );
    if denied { Failure::NotPermitted(told) } else { Failure::Runtime(told) }
}

fn show(pair: &PairSettings, reader: &PairReader, json: bool) -> serde_json::Value {
    let (limit_ns, policy) = reader.policy();
    let (age_ns, bypassed) = (reader.beat_age_ns(), reader.is_bypassed());
    let alive = age_ns <= limit_ns;
    if !json {
        let state = match (bypassed, alive) {
            (true, _) => "bypassed by order: forwarded in the kernel, uninspected",
            (false, true) => "inspected by a worker",
            (false, false) => "without a worker: frames go by the policy",
        };
        say!("{}: {state}", pair.name);
        let closed: Vec<_> =
            Cause::ALL.iter().filter(|cause| policy[**cause] == Fail::Closed).map(|cause| cause.name()).collect();
        let words = if closed.is_empty() { "nothing".to_owned() } else { closed.join(", ") };
        say!("  fails closed on {words}; a worker counts as hung after {} ms", limit_ns / 1_000_000);
    }
    serde_json::json!({"pair": pair.name, "bypassed": bypassed, "alive": alive,
        "beat_age_ns": (age_ns < u64::MAX).then_some(age_ns), "heartbeat_ns": limit_ns, "policy": policy})
}
