//! The lab's benign clients: curl, ssh and dig, over and over, each client on a thread and in a namespace of its own.
//!
//! They count for themselves what they asked and what failed: a demo in which the network no longer worked for those who
//! mean well would prove nothing.

use super::error::DemoError;
use super::lab::{CLIENTS, DNS, Lab, SSH, WEB};
use super::program::Program;
use super::services::{ACCOUNT, DOMAIN, Services};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request that takes longer has failed.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// What the clients have done so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests that were answered as they should.
    pub served: AtomicU64,
    /// Requests that were not.
    pub failed: AtomicU64,
}

/// The running clients; stopped when dropped.
#[derive(Debug)]
pub struct Clients {
    stop: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    tally: Arc<Tally>,
    stopping: Arc<AtomicBool>,
}

impl Clients {
    /// Starts every client.
    pub fn start(lab: &Lab, services: &Services) -> Clients {
        let tally = Arc::new(Tally::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let (mut stop, mut threads) = (Vec::new(), Vec::new());
        for (index, host) in CLIENTS.iter().enumerate() {
            let (sender, receiver) = channel();
            let client = Client {
                namespace: lab.namespace(host),
                log: lab.directory().join(format!("{}.log", host.name)),
                key: services.key().to_string_lossy().into_owned(),
                tally: Arc::clone(&tally),
                stopping: Arc::clone(&stopping),
            };
            stop.push(sender);
            threads.push(std::thread::spawn(move || client.live(index, &receiver)));
        }
        Clients { stop, threads, tally, stopping }
    }

    /// What they have done so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stopping.store(true, Relaxed);
        self.stop.clear();
        for thread in self.threads.drain(..) {
            // A client that panicked has said so already; the lab is taken down all the same.
            let _ = thread.join();
        }
    }
}

struct Client {
    namespace: String,
    log: std::path::PathBuf,
    key: String,
    tally: Arc<Tally>,
    stopping: Arc<AtomicBool>,
}

impl Client {
    /// One request after the other until the channel closes. The order is fixed and starts elsewhere for each client.
    fn live(&self, index: usize, stop: &Receiver<()>) {
        for turn in index * 5.. {
            match self.request(turn) {
                Ok(true) => self.tally.served.fetch_add(1, Relaxed),
                _ if self.stopping.load(Relaxed) => 0,
                _ => self.tally.failed.fetch_add(1, Relaxed),
            };
            // 100 to 400 ms between requests, never in step.
            let pause = Duration::from_millis(100 + (turn as u64 * 137 + index as u64 * 61) % 300);
            if stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    fn request(&self, turn: usize) -> Result<bool, DemoError> {
        let (web, dns) = (WEB.address(), format!("@{}", DNS.address()));
        let page = ["index.html", "news.html", "index.html", "manual.html"][turn / 2 % 4];
        let url = format!("http://{web}/{page}");
        let name = ["www", "ssh", "ns", "note", "nobody"][turn % 5];
        let kind = ["A", "A", "A", "TXT", "A"][turn % 5];
        let name = format!("{name}.{DOMAIN}");
        let login = format!("{ACCOUNT}@{}", SSH.address());
        let work = ["uptime", "head -c 30000 /dev/zero", "cat /etc/os-release"][turn / 9 % 3];
        let ssh = [
            "ssh",
            "-q",
            "-F",
            "none",
            "-i",
            &self.key,
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "ConnectTimeout=8",
            &login,
            work,
        ];
        let curl = ["curl", "-sSf", "-m", "8", "-o", "/dev/null", &url];
        let dig = ["dig", "+short", "+time=4", "+tries=2", &dns, &name, kind];
        let command: &[&str] = match turn % 9 {
            0 => &ssh,
            1 | 3 | 5 | 7 => &dig,
            _ => &curl,
        };
        let mut program = Program::start(Some(&self.namespace), command, &self.log)?;
        let mut status = None;
        super::program::wait_until(REQUEST_LIMIT, || {
            status = program.ended();
            status.is_some() || self.stopping.load(Relaxed)
        });
        Ok(status.is_some_and(|status| status.success()))
    }
}
