//! What takes the lab down when the demo cannot: a process of its own that waits for the demo's end.
//!
//! A signal at the parent's death reaches the programs that the demo started, not those that they started (nginx's worker,
//! sshd's sessions), and no namespace, file or pin. So the demo holds the writing end of a pipe that this process reads: it
//! closes with the demo, whatever killed that. A demo that ended by itself has said so before.

use super::error::DemoError;
use super::lab::Lab;
use super::program::wait_until;
use crate::dataplane::capture::xdp::{PIN_DIRECTORY, remove_leftovers};
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What a demo says that took its lab down itself.
const DONE: &[u8] = b"done";
/// How long the kernel is given to remove the interfaces of a deleted namespace.
const GONE_WAIT: Duration = Duration::from_secs(10);

/// The waiting process; told that all is well when dropped.
#[derive(Debug)]
pub struct Watchdog {
    child: Child,
}

impl Watchdog {
    /// Starts it, for the labs of this process.
    ///
    /// # Errors
    /// The own program cannot be started a second time.
    pub fn start() -> Result<Watchdog, DemoError> {
        let binary = std::env::current_exe().map_err(DemoError::file(Path::new("/proc/self/exe")))?;
        let child = Command::new(&binary)
            .args(["demo", "--after-death-of", &std::process::id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C and a closed terminal are the demo's; this one has to outlive it.
            .process_group(0)
            .spawn()
            .map_err(DemoError::file(&binary))?;
        Ok(Watchdog { child })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.child.stdin.take() {
            // If it is gone there is nobody to tell.
            let _ = pipe.write_all(DONE);
        }
        let _ = self.child.wait();
    }
}

/// Waits for the end of the demo `owner`, which holds the other end of standard input, and takes down what it left.
pub fn wait_for(owner: u32) {
    let mut said = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut said);
    if said == DONE {
        return;
    }
    Lab::remove_of(owner);
    let pins = Path::new(PIN_DIRECTORY).join(instance(owner));
    wait_until(GONE_WAIT, || {
        remove_leftovers(Path::new(PIN_DIRECTORY));
        !pins.exists()
    });
}

/// The demo's own name among running shrikes, so that it shares no pins with a sensor of this machine.
pub fn instance(owner: u32) -> String {
    format!("demo-{owner}")
}
