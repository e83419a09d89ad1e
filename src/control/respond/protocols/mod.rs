//! What can be done about a finding: named protocols, registered once, executed with typed parameters.
//!
//! A protocol turns parameters into a plan: verdicts for the kernel, or something that is done once by a thread of its own. It
//! knows neither who asks nor whether it is allowed. Parameters are read strictly (an unknown one is an error) and given back in one
//! form, so that the same asked for twice is the same.

pub mod canary;
mod capture;
mod command;
mod frames;
mod reset;
mod scan;
#[cfg(test)]
mod tests;
mod webhook;

pub use capture::Capture;
pub use command::{Command, CommandPlan};
pub use frames::{BlockFlow, BlockIp, IsolateHost, RateLimit};
pub use reset::ResetConnection;
pub use scan::ActiveScan;
pub use webhook::{Webhook, WebhookPlan};

use super::intended::Id;
use super::scan::Scanner;
use super::watch::Watcher;
use super::watch::capture::Captures;
use super::words::Verdict;
use crate::units::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why there is no plan.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// No such name.
    #[error("protocol {0} not found: {1}")]
    NotFound(String, String),
    /// The name is taken.
    #[error("protocol {0} is registered already: register each name once")]
    Duplicate(String),
    /// The parameters cannot be meant.
    #[error("parameters of {protocol}: {problem}; {remedy}")]
    Parameters {
        /// Of which protocol.
        protocol: &'static str,
        /// What is wrong.
        problem: String,
        /// What would be right.
        remedy: String,
    },
    /// Nothing here could carry it out.
    #[error("{protocol} is not available: {why}")]
    Unavailable {
        /// Of which protocol.
        protocol: &'static str,
        /// Why, with the remedy.
        why: &'static str,
    },
}

/// Something that is done once, off the thread that decides.
pub trait Once: Send {
    /// Does it, within its own time limit; what came of it, in words.
    ///
    /// # Errors
    /// Why it did not work, in words.
    fn run(&self) -> Result<String, String>;
}

/// Something that goes on for a time in a thread of its own, until [`Protocol::ended`] or until it says that it is over.
pub trait Lasting: Send {
    /// Begins it under that name, or has it go on until then; never waits.
    ///
    /// # Errors
    /// Why not, in words.
    fn begin(&self, id: Id, until: Timestamp) -> Result<(), String>;
}

/// What a protocol would do.
pub enum Work {
    /// Verdicts, put in force for a time; sorted, each subject once.
    Verdicts(Vec<Verdict>),
    /// Something done once.
    Once(Box<dyn Once>),
    /// Something that goes on.
    Lasting(Box<dyn Lasting>),
}

/// A plan.
pub struct Planned {
    /// The parameters in the protocol's own form.
    pub parameters: Value,
    /// What is done.
    pub work: Work,
}

/// One way to respond.
pub trait Protocol: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// One sentence for people.
    fn about(&self) -> &'static str;

    /// Parameters as a playbook has them that says nothing: texts in braces stand for what an alert tells.
    fn template(&self) -> Value;

    /// The plan for these parameters.
    ///
    /// # Errors
    /// They cannot be meant.
    fn plan(&self, parameters: &Value) -> Result<Planned, ProtocolError>;

    /// What safety judges it by, where it puts no verdicts in force and yet cuts somebody off.
    fn judged(&self, _parameters: &Value) -> Vec<Verdict> {
        Vec::new()
    }

    /// For how long it is, where nobody says; `None`: as long as is usual for all.
    fn usual_ttl_ns(&self) -> Option<u64> {
        None
    }

    /// A response of its that goes on is over: its time has come, or it was taken back.
    fn ended(&self, _id: Id) {}
}

/// Every protocol there is, by name.
#[derive(Clone, Default)]
pub struct Registry(BTreeMap<&'static str, Arc<dyn Protocol>>);

impl Registry {
    /// Those that change what the kernel does with frames.
    pub fn of_frames() -> Registry {
        let all: [Arc<dyn Protocol>; 4] =
            [Arc::new(BlockIp), Arc::new(BlockFlow), Arc::new(RateLimit), Arc::new(IsolateHost)];
        Registry(all.into_iter().map(|protocol| (protocol.name(), protocol)).collect())
    }

    /// All that are shipped; webhooks and commands are those that the configuration names.
    pub fn shipped(webhooks: Vec<WebhookPlan>, commands: Vec<CommandPlan>) -> Registry {
        Registry::watching(webhooks, commands, None)
    }

    /// The same, for a program that sees frames.
    pub fn watching(
        webhooks: Vec<WebhookPlan>,
        commands: Vec<CommandPlan>,
        means: Option<(&Watcher, &Captures, &Scanner)>,
    ) -> Registry {
        let mut registry = Registry::of_frames();
        let watcher = means.map(|(watcher, ..)| watcher.clone());
        let scanner = means.map(|(.., scanner)| scanner.clone());
        let means = means.map(|(watcher, captures, _)| (watcher.clone(), captures.clone()));
        let others: [Arc<dyn Protocol>; 4] = [
            Arc::new(ActiveScan::new(scanner)),
            Arc::new(Capture::new(means)),
            Arc::new(canary::Canary),
            Arc::new(ResetConnection::new(watcher)),
        ];
        registry.0.extend(others.into_iter().map(|protocol| (protocol.name(), protocol)));
        registry.tell(webhooks, commands);
        registry
    }

    /// Tells these servers and runs these programs from now on, and no others.
    pub fn tell(&mut self, webhooks: Vec<WebhookPlan>, commands: Vec<CommandPlan>) {
        let told: [Arc<dyn Protocol>; 2] = [Arc::new(Webhook::new(webhooks)), Arc::new(Command::new(commands))];
        self.0.extend(told.into_iter().map(|protocol| (protocol.name(), protocol)));
    }

    /// Adds one.
    ///
    /// # Errors
    /// Its name is taken.
    pub fn register(&mut self, protocol: Arc<dyn Protocol>) -> Result<(), ProtocolError> {
        let name = protocol.name();
        if self.0.contains_key(name) {
            return Err(ProtocolError::Duplicate(name.to_owned()));
        }
        self.0.insert(name, protocol);
        Ok(())
    }

    /// One by its name.
    ///
    /// # Errors
    /// `protocol X not found`, with those there are.
    pub fn find(&self, name: &str) -> Result<&dyn Protocol, ProtocolError> {
        let known = || format!("there are {}", self.0.keys().copied().collect::<Vec<_>>().join(", "));
        let found = self.0.get(name).map(|protocol| &**protocol);
        found.ok_or_else(|| ProtocolError::NotFound(name.chars().take(64).collect(), known()))
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &dyn Protocol> {
        self.0.values().map(|protocol| &**protocol)
    }
}

/// Parameters as a type, with the place of what is wrong.
fn typed<T: DeserializeOwned>(protocol: &'static str, parameters: &Value, remedy: &str) -> Result<T, ProtocolError> {
    serde_path_to_error::deserialize(parameters).map_err(|cause| {
        let path = cause.path().to_string();
        let at = if path == "." { String::new() } else { format!("{path}: ") };
        ProtocolError::Parameters { protocol, problem: format!("{at}{}", cause.inner()), remedy: remedy.to_owned() }
    })
}

fn wrong<T>(protocol: &'static str, problem: impl Into<String>, remedy: &str) -> Result<T, ProtocolError> {
    Err(ProtocolError::Parameters { protocol, problem: problem.into(), remedy: remedy.to_owned() })
}
