//! Running other people's programs: to their end, or for as long as the lab stands.
//!
//! A program of the lab is started in its namespace by `ip netns exec` (which gives it a mount namespace of its own, too)
//! and `setpriv --pdeathsig`, so that the kernel ends it with the thread that started it, even when that is killed. What
//! such a program has started itself is found by its namespace when the lab is taken down.

use super::error::DemoError;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a condition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How much of a log is shown when its program failed.
const LOG_TAIL_BYTES: usize = 1_500;

/// Runs a command to its end and gives what it wrote.
///
/// # Errors
/// It cannot be started or ends with another status than 0; its standard error is the reason.
pub fn run(command: &[&str]) -> Result<String, DemoError> {
    let fail = |reason: String| DemoError::Command { command: command.join(" "), reason };
    let (name, arguments) = command.split_first().ok_or_else(|| fail("no command".into()))?;
    let output = Command::new(name)
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0)
        .output()
        .map_err(|error| fail(error.to_string()))?;
    if !output.status.success() {
        return Err(fail(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first of `names` that is not on the search path.
pub fn missing<'a>(names: &[&'a str]) -> Option<&'a str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from)).collect();
    names.iter().find(|name| !folders.iter().any(|folder| folder.join(name).is_file())).copied()
}

/// Looks at `condition` until it holds or `limit` has passed; says whether it held.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Sends a signal by name to processes of the lab.
pub fn signal(name: &str, pids: &[String]) {
    let mut command = vec!["sh", "-c", "kill -s \"$0\" \"$@\" 2>/dev/null", name];
    command.extend(pids.iter().map(String::as_str));
    let _ = run(&command);
}

/// The process has ended and waits for its parent to notice.
pub fn is_zombie(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// A program that runs beside us; ended when dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command`, in `namespace` if one is given, with its output in `log`. The calling thread must outlive it.
    ///
    /// # Errors
    /// The program cannot be started or the log cannot be written.
    pub fn start(namespace: Option<&str>, command: &[&str], log: &Path) -> Result<Program, DemoError> {
        let name = command.first().copied().unwrap_or_default();
        let out = File::options().append(true).create(true).open(log).map_err(DemoError::file(log))?;
        let err = out.try_clone().map_err(DemoError::file(log))?;
        let inside: &[&str] = match &namespace {
            Some(namespace) => &["ip", "netns", "exec", namespace],
            None => &[],
        };
        let line = [inside, &["setpriv", "--pdeathsig", "KILL", "--"], command].concat();
        let mut child = Command::new(line[0]);
        if let (Some(_), Some(directory)) = (namespace, log.parent()) {
            // Whatever a program of the lab writes beside its output (hydra's restore file) lands beside its log.
            child.current_dir(directory);
        }
        let child = child
            .args(&line[1..])
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            // Not in the terminal's foreground group: Ctrl-C is for us, we end the others in order.
            .process_group(0)
            .spawn()
            .map_err(|error| DemoError::Command { command: line.join(" "), reason: error.to_string() })?;
        let name = Path::new(name).file_name().map_or(name.to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Program { name, child, log: log.to_owned() })
    }

    /// Its status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until `up` holds.
    ///
    /// # Errors
    /// It did not within `limit`, or the program ended before; the end of its log is part of the message.
    pub fn wait_up(&mut self, limit: Duration, mut up: impl FnMut() -> bool) -> Result<(), DemoError> {
        let mut ended = false;
        let held = wait_until(limit, || {
            ended = self.ended().is_some();
            ended || up()
        });
        if held && !ended {
            return Ok(());
        }
        Err(DemoError::NotUp { program: self.name.clone(), seconds: limit.as_secs(), log: self.log_tail() })
    }

    /// Asks it to end (SIGTERM) and waits; after `limit` it is killed. Gives its status.
    pub fn stop(&mut self, limit: Duration) -> Option<ExitStatus> {
        if let Some(status) = self.ended() {
            return Some(status);
        }
        signal("TERM", &[self.child.id().to_string()]);
        wait_until(limit, || self.ended().is_some());
        if self.ended().is_none() {
            let _ = self.child.kill();
        }
        self.child.wait().ok()
    }

    /// The end of what it wrote.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned();
        tail.lines().map(|line| format!("\n    {line}")).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(3));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_says_what_it_said() {
        let error = run(&["sh", "-c", "echo nope >&2; exit 3"]).unwrap_err();
        assert_eq!(error.to_string(), "sh -c echo nope >&2; exit 3: nope");
        assert!(run(&["no-such-program-of-ours"]).is_err());
    }

    #[test]
    fn the_missing_program_is_named() {
        assert_eq!(missing(&["sh", "no-such-program-of-ours"]), Some("no-such-program-of-ours"));
        assert_eq!(missing(&["sh"]), None);
    }

    #[test]
    fn a_program_that_dies_early_is_reported_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut program = Program::start(None, &["sh", "-c", "echo no such key"], &log).unwrap();
        let error = program.wait_up(Duration::from_secs(30), || false).unwrap_err();
        assert!(error.to_string().ends_with("\n    no such key"), "{error}");
    }

    #[test]
    fn a_program_ends_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::start(None, &["sleep", "1000"], &folder.path().join("log")).unwrap();
        let pid = program.child.id().to_string();
        assert!(Path::new("/proc").join(&pid).exists());
        drop(program);
        assert!(!Path::new("/proc").join(&pid).exists());
    }
}
