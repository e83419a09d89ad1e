//! An active check of what the operator owns: open ports, banners, versions of TLS, certificates.
//!
//! Only addresses in `targets` of `[scan]` are ever asked. One scan at a time, in a thread of its own with a runtime of its own: so
//! many targets at once, one port after the other of each, so many connections a second in all, until its time is over or it
//! is taken back. Whole connections are made, as any client makes them: nothing is forged, nothing is guessed at (no logins), and
//! no more is said than a hello. What is answered goes through the parsers and rules of what is seen ([`read`]).

pub mod hello;
mod probe;
pub mod read;
#[cfg(test)]
mod tests;

use super::intended::Id;
use super::prefix::Prefix;
use super::watch::Outcome;
use crate::control::inventory::SharedInventory;
use crate::sys::files;
use crate::units::{SECOND, Timestamp};
use probe::Probing;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Addresses of one scan.
pub const TARGETS_MAX: u64 = 1 << 16;
/// Open ports that are told of a scan; further ones go to the inventory alone.
const RESULTS_MAX: usize = 50_000;
/// Scans that are remembered.
const SCANS_MAX: usize = 8;
/// Descriptors besides those of connections.
const OTHER_FILES: u64 = 512;

/// How scans are made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What may be asked; empty: nothing, and no scan is made.
    pub targets: Vec<Prefix>,
    /// Ports, where nobody says which.
    pub ports: Vec<u16>,
    /// Connections a second, at most.
    pub rate: u32,
    /// Targets at once.
    pub concurrency: u32,
    /// How long a connection may take, and an answer.
    pub timeout: Duration,
    /// How long a service has for its greeting before it is spoken to.
    pub greeting: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            targets: Vec::new(),
            ports: vec![
                21, 22, 23, 25, 53, 80, 110, 111, 135, 139, 143, 389, 443, 445, 465, 587, 993, 995, 1433, 1521, 1883,
                3306, 3389, 5432, 5900, 6379, 8000, 8080, 8443, 9200, 11211, 27017,
            ],
            rate: 500,
            concurrency: 5000,
            timeout: Duration::from_secs(2),
            greeting: Duration::from_secs(1),
        }
    }
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    /// Addresses and networks, all of them within the settings' targets.
    pub targets: Vec<Prefix>,
    /// Ports of each.
    pub ports: Vec<u16>,
    /// Connections a second, at most the settings'.
    pub rate: u32,
}

/// An open port.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OpenPort {
    /// Its address.
    pub address: String,
    /// Its number.
    pub port: u16,
    /// What is spoken there, as far as the parsers tell; empty for unknown.
    pub service: String,
    /// The first line of what it says.
    pub banner: String,
    /// Versions of TLS that it takes.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tls: Vec<String>,
    /// The certificate that it shows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certificate: Option<read::Certificate>,
}

/// How far a scan is, as the API tells it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScanView {
    /// The response that it is.
    pub id: Id,
    /// When it began.
    #[serde(with = "crate::units::rfc3339")]
    pub begun: Timestamp,
    /// `running`, or what came of it.
    pub state: String,
    /// Addresses, and how many of them are done.
    pub targets: u64,
    /// See there.
    pub done: u64,
    /// Addresses that are being asked at the moment, and the most there were.
    pub asking: u64,
    /// See there.
    pub asking_max: u64,
    /// Connections that were tried.
    pub connections: u64,
    /// Ports that refused.
    pub closed: u64,
    /// Ports that said nothing.
    pub silent: u64,
    /// Ports that could not be asked, for want of a descriptor or a route.
    pub failed: u64,
    /// Ports that are open.
    pub open: u64,
    /// The open ports; of one scan, not in lists.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ports: Option<Vec<OpenPort>>,
}

/// A scan.
pub struct Scan {
    id: Id,
    begun: Timestamp,
    targets: u64,
    done: AtomicU64,
    asking: AtomicU64,
    asking_max: AtomicU64,
    connections: AtomicU64,
    closed: AtomicU64,
    silent: AtomicU64,
    failed: AtomicU64,
    open: AtomicU64,
    ports: Mutex<Vec<OpenPort>>,
    over: Mutex<Option<Outcome>>,
    stop: watch::Sender<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scan {
    fn view(&self, whole: bool) -> ScanView {
        let state = match &*lock(&self.over) {
            None => "running".to_owned(),
            Some(Ok(text) | Err(text)) => text.clone(),
        };
        let of = |count: &AtomicU64| count.load(Relaxed);
        ScanView {
            id: self.id,
            begun: self.begun,
            state,
            targets: self.targets,
            done: of(&self.done),
            asking: of(&self.asking),
            asking_max: of(&self.asking_max),
            connections: of(&self.connections),
            closed: of(&self.closed),
            silent: of(&self.silent),
            failed: of(&self.failed),
            open: of(&self.open),
            ports: whole.then(|| lock(&self.ports).clone()),
        }
    }

    fn found(&self, port: OpenPort) {
        self.open.fetch_add(1, Relaxed);
        let mut ports = lock(&self.ports);
        if ports.len() < RESULTS_MAX {
            ports.push(port);
        }
    }
}

/// Says what came of a scan.
pub type Tell = Arc<dyn Fn(Id, Outcome) + Send + Sync>;
/// The present.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Makes scans, and remembers the latest.
#[derive(Clone)]
pub struct Scanner {
    settings: Settings,
    inventory: Option<Arc<SharedInventory>>,
    scans: Arc<Mutex<VecDeque<Arc<Scan>>>>,
    tell: Tell,
    now: Clock,
}

impl Scanner {
    /// With these settings; findings go to the inventory, where there is one.
    pub fn new(settings: Settings, inventory: Option<Arc<SharedInventory>>, now: Clock, tell: Tell) -> Scanner {
        Scanner { settings, inventory, scans: Arc::default(), tell, now }
    }

    /// How scans are made.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The latest scans, the newest first.
    pub fn list(&self) -> Vec<ScanView> {
        lock(&self.scans).iter().rev().map(|scan| scan.view(false)).collect()
    }

    /// One of them with its open ports.
    pub fn one(&self, id: &Id) -> Option<ScanView> {
        lock(&self.scans).iter().rev().find(|scan| scan.id == *id).map(|scan| scan.view(true))
    }

    /// Begins a scan; one of that name that is under way goes on.
    ///
    /// # Errors
    /// Another one is under way, or there is no thread.
    pub fn begin(&self, id: Id, wish: Wish, until: Timestamp) -> Result<(), String> {
        let mut scans = lock(&self.scans);
        if let Some(running) = scans.iter().find(|scan| lock(&scan.over).is_none()) {
            let busy = || format!("scan {} is under way: one at a time", running.id);
            return if running.id == id { Ok(()) } else { Err(busy()) };
        }
        let now = (self.now)();
        let targets: Vec<IpAddr> = wish.targets.iter().flat_map(addresses).collect();
        let (stop, stopped) = watch::channel(false);
        let scan = Arc::new(Scan {
            id,
            begun: now,
            targets: targets.len() as u64,
            done: AtomicU64::new(0),
            asking: AtomicU64::new(0),
            asking_max: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            silent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            open: AtomicU64::new(0),
            ports: Mutex::default(),
            over: Mutex::new(None),
            stop,
        });
        let limit = Duration::from_nanos(until.since(now).saturating_sub(SECOND / 4));
        let (of_thread, scanner) = (Arc::clone(&scan), self.clone());
        let spawned = std::thread::Builder::new().name("respond-scan".into()).spawn(move || {
            let outcome = scanner.run(&of_thread, targets, &wish, limit, stopped);
            *lock(&of_thread.over) = Some(outcome.clone());
            (scanner.tell)(id, outcome);
        });
        spawned.map_err(|cause| format!("start a thread: {cause}"))?;
        if scans.len() >= SCANS_MAX {
            scans.pop_front();
        }
        scans.push_back(scan);
        Ok(())
    }

    /// Ends a scan with what it has.
    pub fn end(&self, id: &Id) {
        if let Some(scan) = lock(&self.scans).iter().rev().find(|scan| scan.id == *id) {
            // Nobody hears it where it is over.
            let _ = scan.stop.send(true);
        }
    }

    fn run(
        &self,
        scan: &Arc<Scan>,
        targets: Vec<IpAddr>,
        wish: &Wish,
        limit: Duration,
        mut stopped: watch::Receiver<bool>,
    ) -> Outcome {
        let wanted = u64::from(self.settings.concurrency) + OTHER_FILES;
        let may = files::raise_limit(wanted);
        let at_once = usize::try_from(may.saturating_sub(OTHER_FILES).clamp(1, self.settings.concurrency.into()));
        let at_once = at_once.unwrap_or(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|cause| format!("start a runtime: {cause}"))?;
        let probing = Arc::new(Probing::new(
            Arc::clone(scan),
            self.settings.clone(),
            wish.rate.min(self.settings.rate),
            read::Reader::new(self.inventory.clone()),
            Arc::clone(&self.now),
        ));
        let ports: Arc<[u16]> = wish.ports.as_slice().into();
        let ended = runtime.block_on(async {
            let all = probe::all(&probing, targets, &ports, at_once);
            tokio::select! {
                () = all => None,
                () = tokio::time::sleep(limit) => Some("its time was over"),
                _ = stopped.wait_for(|stop| *stop) => Some("it was taken back"),
            }
        });
        let view = scan.view(false);
        let few = if (at_once as u64) < u64::from(self.settings.concurrency) && at_once < view.targets as usize {
            format!("; only {at_once} targets at once, for no more files may be open (ulimit -n)")
        } else {
            String::new()
        };
        let told = format!(
            "{} of {} targets, {} connections, {} open ports, {} could not be asked{few}",
            view.done, view.targets, view.connections, view.open, view.failed
        );
        match ended {
            None => Ok(told),
            Some(why) => Err(format!("{why}: {told}")),
        }
    }
}

/// Every address of a prefix; one of IPv6 that is wider than a scan gives its first ones.
fn addresses(prefix: &Prefix) -> impl Iterator<Item = IpAddr> + use<> {
    let first = prefix.first();
    let free = if first.is_ipv4() { 32 - prefix.bits() } else { 128 - prefix.bits() };
    let count = 1_u64.checked_shl(free.into()).unwrap_or(u64::MAX).min(TARGETS_MAX);
    (0..count).map(move |number| match first {
        IpAddr::V4(four) => Ipv4Addr::from(u32::from(four).wrapping_add(number as u32)).into(), // below 2^16
        IpAddr::V6(six) => Ipv6Addr::from(u128::from(six).wrapping_add(number.into())).into(),
    })
}

/// How many addresses there are in these.
pub fn size(targets: &[Prefix]) -> u64 {
    let of = |prefix: &Prefix| {
        let free = if prefix.first().is_ipv4() { 32 - prefix.bits() } else { 128 - prefix.bits() };
        1_u64.checked_shl(free.into()).unwrap_or(u64::MAX)
    };
    targets.iter().fold(0, |sum: u64, prefix| sum.saturating_add(of(prefix)))
}

/// One address and port.
fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}
