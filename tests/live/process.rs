//! The shipped program as a process.

use super::{Bed, run};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// One `shrike run`, without a model unless started with one, capturing on `rx0` of the bed; gone when dropped, also by a test that failed.
pub struct Shrike {
    pub child: Child,
    /// What it said before it was ready.
    pub said: Vec<String>,
    summary: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Shrike {
    pub fn start(bed: &Bed, mode: &str) -> Shrike {
        Shrike::start_with(bed, mode, &[])
    }

    /// As `start`, with further arguments.
    pub fn start_with(bed: &Bed, mode: &str, further: &[&str]) -> Shrike {
        let mut arguments = vec!["--mode".to_owned(), mode.to_owned(), "-i".to_owned(), format!("rx0@{}", bed.sensor)];
        arguments.extend(further.iter().map(|&argument| argument.to_owned()));
        let started = Shrike::start_plan(&arguments);
        let asked = started.said.iter().any(|line| line.contains(&format!("{mode} (asked: {mode})")));
        assert!(asked, "the mode obtained is shown: {:#?}", started.said);
        started
    }

    /// Of the interfaces that the arguments, or a configuration file among them, name.
    pub fn start_plan(arguments: &[String]) -> Shrike {
        let without = ["--no-model".to_owned()];
        Shrike::start_scoring(&[&without, arguments].concat())
    }

    /// The same with a model.
    pub fn start_scoring(arguments: &[String]) -> Shrike {
        let folder = tempfile::tempdir().unwrap();
        let summary = folder.path().join("summary.json");
        let mut child = Command::new(env!("CARGO_BIN_EXE_shrike"))
            .args(["run", "--listen", "127.0.0.1:0", "--store"])
            .arg(folder.path().join("alerts.db"))
            .arg("--summary")
            .arg(&summary)
            .args(arguments)
            .env_remove("SHRIKE_CONFIG")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let ready = lines.by_ref().any(|line| {
            let ready = line.contains("live page");
            said.push(line);
            ready
        });
        assert!(ready, "shrike run ended before it was ready: {said:#?}");
        std::thread::spawn(move || lines.for_each(drop));
        Shrike { child, said, summary, _folder: folder }
    }

    /// Where its API listens.
    pub fn address(&self) -> SocketAddr {
        let line = self.said.iter().find_map(|line| line.split_once("http://")).expect("the address is said");
        line.1.trim_end_matches('/').parse().expect("an address and a port")
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM: a clean end, and what it says of itself.
    pub fn terminate(self) -> serde_json::Value {
        let (status, summary) = self.end();
        assert_eq!(status, Some(0), "{summary:#}");
        summary
    }

    /// SIGTERM: its exit code, and what it says of itself.
    pub fn end(mut self) -> (Option<i32>, serde_json::Value) {
        run(&format!("kill -TERM {}", self.child.id()));
        let status = self.child.wait().unwrap();
        let text = std::fs::read_to_string(&self.summary).unwrap();
        (status.code(), serde_json::from_str(&text).unwrap())
    }
}

impl Drop for Shrike {
    fn drop(&mut self) {
        // Has mostly ended by then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
