//! `shrike keep-links`, begun by `shrike run` for pairs whose link follows: sets ports up again, should that die.

use super::Failure;
use crate::dataplane::capture::xdp::keep_links;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Arguments of the keeper.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Both ports of the pair
    #[arg(num_args = 2, required = true)]
    ports: Vec<String>,
    /// Their namespace
    #[arg(long)]
    netns: Option<String>,
}

/// Keeps until the parent is gone.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    let [first, second] = [0, 1].map(|side| arguments.ports.get(side).map_or("", String::as_str));
    Ok(keep_links(arguments.netns.as_deref(), [first, second], &ended)?)
}
