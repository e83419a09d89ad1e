//! `shrike demo`: the whole path, from the wire to an explained alert, on one machine with one command.
//!
//! Makes a [`lab`] of namespaces without a route out, runs `shrike run` on its tap, lets real servers, clients and
//! attackers loose, shows what is found as it is found, and judges itself by one [`verdict`]. It looks at the running
//! program only through the HTTP API, as anyone would. Where there can be no lab it says why and shows the same of a
//! capture that was recorded in one. It deliberately has no part in capture or detection: nothing here tells the detectors
//! what is about to happen.

pub mod api;
pub mod attackers;
pub mod clients;
pub mod error;
pub mod lab;
pub mod live;
pub mod program;
pub mod recorded;
pub mod screen;
pub mod services;
pub mod verdict;
pub mod watchdog;

use api::{Api, Picture};
use attackers::ATTACKS;
use clap::Args;
use error::DemoError;
use screen::Screen;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use verdict::{Percentiles, Summary, Verdict, detected};

use crate::cli::hosts::finding_lines;
use crate::control::alert::Alert;

/// Findings shown at the end.
const FINDINGS_SHOWN: usize = 6;

/// Arguments of `shrike demo`.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// End after this many seconds (default: 60, or Ctrl-C on a terminal).
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(10..=86_400))]
    pub seconds: Option<u64>,
    /// Show the recorded capture even where there could be a lab.
    #[arg(long)]
    pub recorded: bool,
    /// Record the lab's traffic into this file (pcap, zstd) instead of watching it.
    #[arg(long, value_name = "FILE", conflicts_with = "recorded")]
    pub record: Option<PathBuf>,
    /// Wait for the end of this process, and take down the lab that it left.
    #[arg(long, value_name = "PID", hide = true)]
    pub after_death_of: Option<u32>,
    /// Where the summary goes.
    #[arg(long, value_name = "FILE", default_value = "target/demo/summary.json")]
    pub summary: PathBuf,
}

/// Shows the demo; anything but a demo that passed is a failure.
pub fn run(arguments: &Arguments) -> Result<(), super::Failure> {
    if let Some(owner) = arguments.after_death_of {
        watchdog::wait_for(owner);
        return Ok(());
    }
    let interrupted = || super::Failure::Interrupted("interrupted before the demo had shown everything".into());
    match demo(arguments) {
        Ok(Verdict::Passed) => Ok(()),
        Ok(Verdict::Interrupted) | Err(DemoError::Interrupted) => Err(interrupted()),
        Ok(Verdict::Failed) => Err(super::Failure::Findings("the demo did not show what it should".into())),
        Err(error) => Err(error.into()),
    }
}

/// Shows the demo and judges it.
///
/// # Errors
/// The demo could not be shown; nothing of it is left behind.
pub fn demo(arguments: &Arguments) -> Result<Verdict, DemoError> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(DemoError::file(Path::new("signal handler")))?;
    }
    let length = arguments.seconds.map(Duration::from_secs);
    let mut watched = Watched::new();
    if let Some(file) = &arguments.record {
        live::record(&mut watched, file, length.unwrap_or(recorded::RECORD_LENGTH), &interrupted)?;
        return Ok(Verdict::Passed);
    }
    let obstacle = if arguments.recorded { Some("as asked for".to_owned()) } else { live::obstacle() };
    match obstacle {
        None => match live::show(&mut watched, length, &interrupted) {
            // `shrike run` could not bring up AF_XDP here: the reason is its own, and there is still something to show.
            Err(error @ DemoError::NotUp { .. }) if watched.picture.is_none() && !interrupted.load(Relaxed) => {
                watched.screen.say(&format!("no live lab: {error}"));
                recorded::show(&mut watched, length, &interrupted)?;
            }
            other => other?,
        },
        Some(reason) => {
            watched.screen.say(&format!("no live lab: {reason}"));
            recorded::show(&mut watched, length, &interrupted)?;
        }
    }
    if interrupted.load(Relaxed) && !watched.screen.is_terminal() {
        watched.screen.say("interrupted");
    }
    let summary = watched.summary().ok_or(DemoError::Interrupted)?;
    let verdict = Verdict::of(&summary, watched.clients, watched.page_fetched, interrupted.load(Relaxed));
    watched.finish(&summary, verdict, &arguments.summary)?;
    Ok(verdict)
}

/// Why the model cannot be used here; `None` where it can.
fn model_obstacle() -> Option<String> {
    let plan = crate::config::load(None, std::env::vars()).ok()?;
    crate::cli::run::load_model(&plan).err().map(|failure| words(&failure))
}

/// What a failed subcommand would have said.
fn words(failure: &super::Failure) -> String {
    use super::Failure::{Findings, Interrupted, NotPermitted, Runtime, Usage};
    match failure {
        Runtime(cause) | Usage(cause) | NotPermitted(cause) => format!("{cause:#}"),
        Findings(text) | Interrupted(text) => text.clone(),
    }
}

/// What has been seen of the running program.
pub struct Watched {
    screen: Screen,
    api: Option<Api>,
    picture: Option<Picture>,
    alerts: Vec<Alert>,
    page_fetched: bool,
    /// Requests of the benign clients that were served and that failed, once they have ended.
    clients: Option<(u64, u64)>,
}

impl Watched {
    fn new() -> Watched {
        Watched {
            screen: Screen::new(),
            api: None,
            picture: None,
            alerts: Vec::new(),
            page_fetched: false,
            clients: None,
        }
    }

    /// Looks at the program that listens there from now on; gives the page's address.
    fn open(&mut self, address: SocketAddr) -> Result<String, DemoError> {
        let api = Api::new(address)?;
        let page = api.page_address();
        self.api = Some(api);
        Ok(page)
    }

    fn picture(&self) -> Option<&Picture> {
        self.picture.as_ref()
    }

    fn alerts(&self) -> &[Alert] {
        &self.alerts
    }

    fn all_seen(&self) -> bool {
        (0..ATTACKS.len()).all(|attack| detected(attack, &self.alerts))
    }

    /// Asks the API for everything and shows it.
    fn look(&mut self, clients: Option<(u64, u64)>) -> Result<(), DemoError> {
        let Some(api) = &mut self.api else { return Ok(()) };
        let (picture, fresh, page) = (api.picture()?, api.new_alerts()?, api.page_address());
        for alert in &fresh {
            self.screen.alert(alert);
        }
        self.alerts.extend(fresh);
        let done: Vec<bool> = (0..ATTACKS.len()).map(|attack| detected(attack, &self.alerts)).collect();
        self.screen.figures(&picture, &page, clients, &done);
        self.picture = Some(picture);
        Ok(())
    }

    /// Shows what exposes the hosts, the worst first.
    fn show_findings(&mut self) {
        let found = match self.api.as_mut().map(Api::findings) {
            None => return,
            Some(Ok(found)) => found,
            Some(Err(error)) => return self.screen.say(&format!("findings cannot be shown: {error}")),
        };
        self.screen.say(&format!("what exposes these hosts: {} findings by watching alone", found.len()));
        for one in found.iter().take(FINDINGS_SHOWN) {
            self.screen.say(&finding_lines(one, self.screen.takes_color()));
        }
    }

    /// Opens the live page as a browser would, and says so if it cannot.
    fn fetch_page(&mut self) {
        match self.api.as_mut().map(Api::page) {
            None => {}
            Some(Ok(_)) => self.page_fetched = true,
            Some(Err(error)) => self.screen.say(&format!("the live page does not open: {error}")),
        }
    }

    fn summary(&self) -> Option<Summary> {
        let picture = self.picture.as_ref()?;
        let totals = &picture.status.totals;
        let mut modes: Vec<&str> = picture.status.queues.iter().map(|queue| queue.mode.name()).collect();
        modes.dedup();
        let mut summary = Summary {
            packets: totals.packets,
            bytes: totals.bytes,
            flows: totals.flows,
            alerts: BTreeMap::new(),
            false_alerts: 0,
            missed: 0,
            drops: totals
                .drops
                .iter()
                .filter(|drop| drop.value > 0)
                .map(|drop| (drop.name.clone(), drop.value))
                .collect(),
            loss_equation_closed: picture.status.loss.closed,
            latency_ns: picture.latency.iter().map(|(stage, p)| (stage.clone(), Percentiles { ..*p })).collect(),
            capture_mode: modes.join(","),
        };
        summary.judge(&self.alerts);
        Some(summary)
    }

    fn finish(&mut self, summary: &Summary, verdict: Verdict, path: &Path) -> Result<(), DemoError> {
        let done: Vec<bool> = (0..ATTACKS.len()).map(|attack| detected(attack, &self.alerts)).collect();
        self.screen.verdict(summary, &done, verdict);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(DemoError::file(folder))?;
        }
        let text = serde_json::to_string_pretty(summary).expect("numbers and names are always JSON");
        std::fs::write(path, text + "\n").map_err(DemoError::file(path))
    }
}
