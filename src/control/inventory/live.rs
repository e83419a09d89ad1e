//! The inventory of a running sensor: a thread of its own behind a bounded queue, and the copy that readers ask.
//!
//! The supervisor hands events over and never waits: what finds the queue full is lost and counted, and comes again, because
//! hosts repeat themselves. Readers and the thread meet at one lock that no worker and not the supervisor takes.

use super::disk::{Disk, DiskError};
use super::page::{Filter, Page, host_json};
use super::table::{Inventory, Spoken};
use super::{Settings, is_of_interest};
use crate::control::store::Cursor;
use crate::control::view::{Degraded, Metric, MetricKind};
use crate::dataplane::decode::Neighbour;
use crate::exchange::{EventHead, FlowSummary};
use crate::units::Timestamp;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Events that wait; some 400 bytes each.
const QUEUE: usize = 1 << 14;
/// So many of them may be waiting when a flow is still taken: flows tell least.
const QUEUE_OF_FLOWS: usize = QUEUE / 2;
/// The same of one that lives, of which a census tells many at once.
const QUEUE_OF_LIVING: usize = QUEUE / 4;
/// How often changes are written, and after an error tried again.
const WRITE_EVERY: Duration = Duration::from_secs(2);
/// Events read under one lock: readers wait no longer.
const AT_ONCE: usize = 64;

enum Item {
    Event(EventHead, Box<[u8]>),
    Neighbour(Timestamp, Neighbour),
    Spoken(Spoken),
}

/// What the thread and readers share.
pub struct SharedInventory {
    inventory: RwLock<Inventory>,
    /// Which inventory: cursors of another one are refused.
    epoch: u64,
    lost: AtomicU64,
    trouble: Mutex<Option<(String, Timestamp)>>,
    home: Vec<super::network::Network>,
}

impl SharedInventory {
    /// Of this inventory, for tests and programs without a thread.
    pub fn of(inventory: Inventory, epoch: u64, home: Vec<super::network::Network>) -> SharedInventory {
        let lost = AtomicU64::new(0);
        SharedInventory { inventory: RwLock::new(inventory), epoch, lost, trouble: Mutex::new(None), home }
    }

    /// Networks whose hosts are kept.
    pub fn home(&self) -> &[super::network::Network] {
        &self.home
    }

    fn read<T>(&self, of: impl FnOnce(&Inventory) -> T) -> T {
        of(&self.inventory.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes it.
    pub fn change<T>(&self, change: impl FnOnce(&mut Inventory) -> T) -> T {
        change(&mut self.inventory.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where a reader begins; `None` if the cursor is of another inventory.
    fn place(&self, after: Option<Cursor>) -> Option<u64> {
        after.map_or(Some(0), |cursor| (cursor.epoch == self.epoch).then_some(cursor.sequence))
    }

    fn page(&self, page: Page) -> (Page, Cursor) {
        let next = Cursor { epoch: self.epoch, sequence: page.next };
        (page, next)
    }

    /// A page of hosts, and the cursor behind it; `None` if `after` is of another inventory.
    pub fn hosts(&self, after: Option<Cursor>, filter: &Filter, limit: usize) -> Option<(Page, Cursor)> {
        let after = self.place(after)?;
        Some(self.page(self.read(|inventory| inventory.page_of_hosts(after, filter, limit))))
    }

    /// A page of findings, and the cursor behind it; `None` if `after` is of another inventory.
    pub fn findings(&self, after: Option<Cursor>, filter: &Filter, limit: usize) -> Option<(Page, Cursor)> {
        let after = self.place(after)?;
        Some(self.page(self.read(|inventory| inventory.page_of_findings(after, filter, limit))))
    }

    /// A host by its id or one of its addresses, with everything known of it.
    pub fn host(&self, id: &str) -> Option<Value> {
        self.read(|inventory| inventory.find(id).map(host_json))
    }

    /// Hosts, findings, and what was given up.
    pub fn metrics(&self) -> Vec<Metric> {
        let stats = self.read(Inventory::stats);
        let metric =
            |name, help, kind, value: u64| Metric { name, help, kind, labels: Vec::new(), value: value as f64 };
        let (gauge, counter) = (MetricKind::Gauge, MetricKind::Counter);
        vec![
            metric("shrike_inventory_hosts", "Hosts in the inventory.", gauge, stats.hosts),
            metric("shrike_inventory_findings", "Findings about hosts in the inventory.", gauge, stats.findings),
            metric("shrike_inventory_bytes", "Memory of the inventory, about.", gauge, stats.bytes),
            metric("shrike_inventory_events_total", "Events that the inventory read.", counter, stats.events),
            metric(
                "shrike_inventory_lost_total",
                "Events and flows that the inventory did not take in time.",
                counter,
                self.lost.load(Relaxed),
            ),
            metric("shrike_inventory_evicted_total", "Hosts that gave way to others.", counter, stats.evicted),
            metric(
                "shrike_inventory_not_kept_total",
                "Names, services and findings that found no room at their host.",
                counter,
                stats.not_kept,
            ),
        ]
    }

    /// What is wrong with its file at present.
    pub fn degraded(&self) -> Option<Degraded> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trouble.map(|(reason, since)| Degraded { part: "inventory".into(), reason, since })
    }
}

/// The supervisor's end.
pub struct LiveInventory {
    shared: Arc<SharedInventory>,
    sender: Option<Sender<Item>>,
    thread: Option<JoinHandle<()>>,
}

impl LiveInventory {
    /// Reads the file and starts the thread.
    ///
    /// # Errors
    /// The file cannot be used, or no thread be had.
    pub fn start(settings: Settings, store: &Path) -> anyhow::Result<LiveInventory> {
        let (disk, restored) = Disk::open(store)?;
        if restored.unreadable > 0 {
            let count = restored.unreadable;
            tracing::warn!("inventory {}: {count} hosts of another version are learnt anew", store.display());
        }
        let home = settings.home.clone();
        let mut inventory = Inventory::new(settings);
        inventory.restore(restored.hosts, restored.revision);
        let shared = Arc::new(SharedInventory::of(inventory, restored.epoch, home));
        let (sender, receiver) = bounded(QUEUE);
        let of_thread = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("inventory".into()).spawn(move || keep(&of_thread, &receiver, disk))?;
        Ok(LiveInventory { shared, sender: Some(sender), thread: Some(thread) })
    }

    /// What readers ask.
    pub fn shared(&self) -> Arc<SharedInventory> {
        Arc::clone(&self.shared)
    }

    /// An event of inspection; `facts` are copied if it may say something of a host of ours.
    pub fn event(&self, head: &EventHead, facts: &[u8]) {
        let (low, high) = (head.key.low().ip(), head.key.high().ip());
        let is_home = |address: std::net::IpAddr| {
            // A client without an address asks a DHCP server.
            address.is_unspecified() || self.shared.home.iter().any(|network| network.holds(address))
        };
        if is_of_interest(head.protocol) && (is_home(low) || is_home(high)) {
            self.send(Item::Event(*head, facts.into()));
        }
    }

    /// A flow lives: told if both sides sent something, where there is room; else again within a minute, or at its end.
    pub fn living(&self, flow: &FlowSummary) {
        let has_room = |sender: &&Sender<Item>| sender.len() < QUEUE_OF_LIVING;
        let Some(sender) = self.sender.as_ref().filter(has_room) else { return };
        if flow.payload.contains(&0) {
            return;
        }
        if let Some(spoken) = Spoken::of(flow).filter(|spoken| self.is_of_home(spoken)) {
            drop(sender.try_send(Item::Spoken(spoken)));
        }
    }

    /// Is one end at home?
    fn is_of_home(&self, spoken: &Spoken) -> bool {
        spoken.ends().into_iter().any(|end| self.shared.home.iter().any(|network| network.holds(end)))
    }

    /// A flow ended.
    pub fn flow(&self, flow: &FlowSummary) {
        let Some(spoken) = Spoken::of(flow).filter(|spoken| self.is_of_home(spoken)) else { return };
        if self.sender.as_ref().is_some_and(|sender| sender.len() >= QUEUE_OF_FLOWS) {
            self.shared.lost.fetch_add(1, Relaxed);
            return;
        }
        self.send(Item::Spoken(spoken));
    }

    /// A host said which address it has.
    pub fn neighbour(&self, time: Timestamp, neighbour: Neighbour) {
        self.send(Item::Neighbour(time, neighbour));
    }

    fn send(&self, item: Item) {
        if self.sender.as_ref().is_none_or(|sender| sender.try_send(item).is_err()) {
            self.shared.lost.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for LiveInventory {
    /// Reads what waits and writes what changed.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // It panics nowhere; were it so, there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

/// The thread: every event into the table, changes into the file.
fn keep(shared: &SharedInventory, items: &Receiver<Item>, mut disk: Disk) {
    let mut looked = Instant::now();
    loop {
        match items.recv_timeout(WRITE_EVERY) {
            Ok(first) => shared.change(|inventory| {
                take(inventory, first);
                items.try_iter().take(AT_ONCE).for_each(|item| take(inventory, item));
            }),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if looked.elapsed() >= WRITE_EVERY {
            looked = Instant::now();
            tell(shared, write(shared, &mut disk));
        }
    }
    tell(shared, write(shared, &mut disk));
}

fn take(inventory: &mut Inventory, item: Item) {
    match item {
        Item::Event(head, facts) => inventory.observe(&head, &facts),
        Item::Neighbour(time, neighbour) => inventory.neighbour(time, &neighbour),
        Item::Spoken(flow) => inventory.spoken(&flow),
    }
}

/// Writes what changed, in batches by the order of changes, so that a failure leaves a beginning of it.
fn write(shared: &SharedInventory, disk: &mut Disk) -> Result<(), DiskError> {
    let gone = shared.change(Inventory::take_gone);
    let mut changed = shared.read(|inventory| {
        let changed = inventory.hosts().filter(|(_, host)| host.revision > disk.written());
        changed.map(|(key, host)| (host.revision, key)).collect::<Vec<_>>()
    });
    if changed.is_empty() && gone.is_empty() {
        return Ok(());
    }
    changed.sort_unstable();
    let mut gone = gone.as_slice();
    let mut batches = changed.chunks(Disk::batch()).peekable();
    loop {
        let batch = batches.next().unwrap_or_default();
        // Serialised under the lock in slices: each takes a millisecond or two.
        let bodies: Vec<(u64, String)> = shared.read(|inventory| {
            let host = |key: u64| inventory.host_of(key).and_then(|host| serde_json::to_string(host).ok());
            batch.iter().filter_map(|(_, key)| Some((*key, host(*key)?))).collect()
        });
        let revision = batch.last().map_or(disk.written(), |(revision, _)| *revision);
        if let Err(error) = disk.write(&bodies, gone, revision) {
            shared.change(|inventory| inventory.keep_gone(gone));
            return Err(error);
        }
        gone = &[];
        if batches.peek().is_none() {
            return Ok(());
        }
    }
}

fn tell(shared: &SharedInventory, outcome: Result<(), DiskError>) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
    let mut trouble = shared.trouble.lock().unwrap_or_else(PoisonError::into_inner);
    *trouble = outcome.err().map(|error| {
        let since = trouble.as_ref().map_or(now, |(_, since)| *since);
        (error.to_string(), since)
    });
}
