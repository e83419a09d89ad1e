//! `command`: runs a program of the operator's.
//!
//! Only programs that the configuration names, by an absolute path; arguments only, from its template, whose places take values of
//! a type (address, number, name, id), so that nothing off the wire becomes an option or a shell's word. No shell, an empty
//! environment, `/` as its folder, no input; output is read up to a bound; at its time limit it is killed with all it
//! started. It may change files only where the configuration says ([`sandbox`](crate::sys::sandbox)), gets no new rights, and, where we
//! are root, is not; calls that change the machine or look into others' processes are refused ([`seccomp`](crate::sys::seccomp)). Not
//! done: a network of its own.

use super::webhook::chosen;
use super::{Once, Planned, Protocol, ProtocolError, Work, typed, wrong};
use crate::sys::sandbox::{Limits, Sandbox, end_group, is_root};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Bytes of each output that are kept; what follows is read and thrown away.
const OUTPUT_BYTES: usize = 4096;
/// Address space of a program, bytes.
const MEMORY: u64 = 1 << 30;
/// Longest file that it writes, bytes.
const FILE: u64 = 64 << 20;
/// Open files.
const FILES: u64 = 256;

/// A program that may be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandPlan {
    /// Its name.
    pub name: String,
    /// Absolute path.
    pub program: PathBuf,
    /// Arguments; `{source}` and its like are places for values (`PLACES`).
    pub arguments: Vec<String>,
    /// Time it may take.
    pub limit: Duration,
    /// User and group that it runs as where we are root: never 0.
    pub user: u32,
    /// Folders and files that it may change.
    pub writable: Vec<PathBuf>,
}

/// What may stand in braces in an argument.
pub const PLACES: [&str; 8] = ["source", "target", "port", "mac", "detector", "kind", "severity", "alert"];

impl CommandPlan {
    /// What cannot be meant in an argument.
    ///
    /// # Errors
    /// A place of no known name, in words.
    pub fn check_argument(text: &str) -> Result<(), String> {
        fill(text, &|_| Some(String::new())).map(drop)
    }
}

/// The protocol.
pub struct Command {
    known: Arc<Vec<CommandPlan>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    source: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    target: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    detector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    severity: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    alert: Option<String>,
}

/// Lowercase letters, digits and `_`, a letter first: no option, no path.
fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() <= 64 && text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase()) && text.bytes().all(inner)
}

impl Asked {
    /// The value of a place, where it is one of its type.
    fn value(&self, place: &str) -> Option<String> {
        match place {
            "source" => self.source.map(|source| source.to_string()),
            "target" => self.target.map(|target| target.to_string()),
            "port" => self.port.map(|port| port.to_string()),
            "mac" => {
                let card = crate::control::respond::safety::card(self.mac.as_deref()?)?;
                Some(crate::control::respond::words::card_text(card))
            }
            "detector" => self.detector.clone().filter(|name| is_name(name)),
            "kind" => self.kind.clone().filter(|name| is_name(name)),
            "severity" => {
                self.severity.filter(|severity| (1..=4).contains(severity)).map(|severity| severity.to_string())
            }
            "alert" => {
                let is_id = |id: &String| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
                self.alert.clone().filter(is_id)
            }
            _ => None,
        }
    }
}

/// An argument with its places filled.
fn fill(template: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        let (place, after) =
            behind.split_once('}').ok_or_else(|| format!("{template:?} has a brace without its other"))?;
        if !PLACES.contains(&place) {
            return Err(format!("{{{place}}} is no place for a value: there are {}", PLACES.join(", ")));
        }
        text += before;
        text += &value(place).ok_or_else(|| format!("{place} is needed and not given, or is none"))?;
        rest = after;
    }
    text += rest;
    Ok(text)
}

impl Command {
    /// One that knows these programs.
    pub fn new(known: Vec<CommandPlan>) -> Command {
        Command { known: Arc::new(known) }
    }
}

impl Protocol for Command {
    fn name(&self) -> &'static str {
        "command"
    }

    fn about(&self) -> &'static str {
        "Runs a program of yours ([[command]]; run: its name) with source, target, port, mac, detector, kind, severity, alert."
    }

    fn template(&self) -> Value {
        json!({
            "source": "{source?}", "target": "{target?}", "port": "{port?}", "mac": "{source_mac?}", "detector": "{detector}",
            "kind": "{kind}", "severity": "{severity}", "alert": "{id}",
        })
    }

    fn plan(&self, parameters: &Value) -> Result<Planned, ProtocolError> {
        const REMEDY: &str = "write {\"run\": \"NAME\", \"source\": \"192.0.2.7\"} with the name of a [[command]] of the configuration \
                              and what its arguments need";
        let mut asked: Asked = typed(self.name(), parameters, REMEDY)?;
        let plan = match chosen(&self.known, |plan| &plan.name, asked.run.as_deref(), "command") {
            Ok(plan) => plan.clone(),
            Err(problem) => return wrong(self.name(), problem, REMEDY),
        };
        let filled: Result<Vec<_>, _> =
            plan.arguments.iter().map(|one| fill(one, &|place| asked.value(place))).collect();
        let arguments = match filled {
            Ok(arguments) => arguments,
            Err(problem) => return wrong(self.name(), problem, REMEDY),
        };
        asked.run = Some(plan.name.clone());
        let parameters = serde_json::to_value(&asked).unwrap_or_default();
        Ok(Planned { parameters, work: Work::Once(Box::new(Run { plan, arguments })) })
    }
}

struct Run {
    plan: CommandPlan,
    arguments: Vec<String>,
}

impl Once for Run {
    fn run(&self) -> Result<String, String> {
        let name = self.plan.program.display();
        let (mut child, guarded) = self.start().map_err(|cause| format!("start {name}: {cause}"))?;
        let (status, output, errors) = self.wait(&mut child).map_err(|cause| format!("{name}: {cause}"))?;
        let said = [output, errors].iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>().join("; ");
        let note = if guarded { "" } else { " (files not guarded: this kernel has no Landlock)" };
        match status.success() {
            true => Ok(format!("{status}{note}: {said}")),
            false => Err(format!("{name}: {status}{note}: {said}")),
        }
    }
}

impl Run {
    fn start(&self) -> std::io::Result<(Child, bool)> {
        let null = Path::new("/dev/null");
        let writable: Vec<&Path> =
            std::iter::once(null).chain(self.plan.writable.iter().map(PathBuf::as_path)).collect();
        let sandbox = Sandbox::new(&writable)?;
        let guarded = sandbox.guards_files();
        let mut command = std::process::Command::new(&self.plan.program);
        command.args(&self.arguments).env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if is_root() {
            // Without further groups: the standard library drops them with the user.
            command.uid(self.plan.user).gid(self.plan.user);
        }
        let cpu_seconds = self.plan.limit.as_secs().max(1);
        sandbox.hold(&mut command, Limits { cpu_seconds, memory: MEMORY, file: FILE, files: FILES });
        command.spawn().map(|child| (child, guarded))
    }

    /// Waits for both outputs and the end, or ends it with all it started.
    fn wait(&self, child: &mut Child) -> std::io::Result<(ExitStatus, String, String)> {
        let (told, heard) = channel();
        let mut readers = 0;
        let pipes: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|pipe| Box::new(pipe) as _), child.stderr.take().map(|pipe| Box::new(pipe) as _)];
        for (index, pipe) in pipes.into_iter().enumerate() {
            let Some(pipe) = pipe else { continue };
            let told = told.clone();
            readers += 1;
            // It ends with its pipe, which ends with the group at the latest.
            std::thread::Builder::new()
                .name("command-output".into())
                .spawn(move || drop(told.send((index, read(pipe)))))?;
        }
        drop(told);
        let mut texts = [String::new(), String::new()];
        let deadline = std::time::Instant::now() + self.plan.limit;
        while readers > 0 {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            match heard.recv_timeout(left) {
                Ok((index, text)) => {
                    texts[index] = text;
                    readers -= 1;
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.end(child)),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Both outputs are closed; a program that closes them and lives on has the rest of its time.
        while std::time::Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                // What it left running in its group has no output any more, and no reason to be.
                end_group(child.id());
                let [output, errors] = texts;
                return Ok((status, output, errors));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(self.end(child))
    }

    fn end(&self, child: &mut Child) -> std::io::Error {
        end_group(child.id());
        // It is dead; only its status is still to be taken.
        drop(child.wait());
        std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("not done within {} s: killed", self.plan.limit.as_secs_f64()),
        )
    }
}

/// The beginning of an output as text.
fn read(mut pipe: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count) = pipe.read(&mut buffer) {
        if count == 0 {
            break;
        }
        let room = OUTPUT_BYTES.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}
