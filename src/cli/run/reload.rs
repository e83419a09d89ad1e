//! `shrike run`: the configuration is read anew at SIGHUP and at `POST /v1/reload`. What can be changed while frames cross is; what
//! cannot is named, with its remedy; a file that cannot be meant changes nothing.

use super::{Arguments, plan, responses};
use crate::cli::Failure;
use crate::config::{Config, Written};
use crate::control::supervisor::{Reload, SharedPicture};
use crate::control::view::ReloadView;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What to do about what waits.
const REMEDY: &str =
    "start again for it (systemctl restart shrike): pairs forward meanwhile, by the policy of a planned stop";
/// How often the signal is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Reads the configuration anew.
pub(super) struct Reloader {
    arguments: Arguments,
    picture: Arc<SharedPicture>,
    /// What holds, and as what it was written.
    running: Mutex<(Config, Written)>,
}

impl Reloader {
    /// Of a program that began with this.
    pub(super) fn new(arguments: Arguments, running: (Config, Written), picture: Arc<SharedPicture>) -> Reloader {
        Reloader { arguments, picture, running: Mutex::new(running) }
    }

    fn path(&self) -> Option<PathBuf> {
        self.arguments.config.clone()
    }

    /// Does it.
    ///
    /// # Errors
    /// Why nothing has changed.
    pub(super) fn reload(&self) -> Result<ReloadView, String> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let written = Written::read(self.path().as_deref()).map_err(|cause| cause.to_string())?;
        let wanted = plan(&self.arguments).map_err(|failure| match failure {
            Failure::Usage(cause) | Failure::Runtime(cause) | Failure::NotPermitted(cause) => format!("{cause:#}"),
            Failure::Findings(text) | Failure::Interrupted(text) => text,
        })?;
        let changes = running.1.changes(&written);
        let next = running.0.taking_over(&wanted);
        let waiting: Vec<String> = changes.waiting.into_iter().collect();
        let taken: Vec<String> = changes.taken.into_iter().collect();
        let waits = (!waiting.is_empty())
            .then(|| format!("changed in the configuration and not in force: {}; {REMEDY}", waiting.join(", ")));
        let reload = Reload {
            pairs: next.pairs.clone(),
            detect: next.detect,
            respond: Box::new(responses::told(&next)),
            waits: waits.clone(),
        };
        self.picture.reload(reload).map_err(|cause| cause.to_string())?;
        match &waits {
            Some(waits) => tracing::warn!("configuration read anew: {} changes taken over; {waits}", taken.len()),
            None => tracing::info!("configuration read anew: {} changes taken over", taken.len()),
        }
        *running = (next, running.1.after(&written));
        let remedy = if waiting.is_empty() { String::new() } else { REMEDY.to_owned() };
        Ok(ReloadView { taken, waiting, remedy })
    }

    /// A thread that follows SIGHUP until the flag is raised.
    pub(super) fn follow(self: &Arc<Self>, stop: &Arc<AtomicBool>) -> std::io::Result<JoinHandle<()>> {
        let asked = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&asked))?;
        let (reloader, stop) = (Arc::clone(self), Arc::clone(stop));
        std::thread::Builder::new().name("reload".into()).spawn(move || {
            while !stop.load(Relaxed) {
                if asked.swap(false, Relaxed)
                    && let Err(cause) = reloader.reload()
                {
                    tracing::error!("the configuration stays as it was: {cause}");
                }
                std::thread::park_timeout(LOOK);
            }
        })
    }
}
