//! One interface: attaching, opening queues, watching it, coming back after it went, leaving cleanly.

use super::counters::{Cell, CounterMaps, QueueAccount};
use super::error::XdpError;
use super::leftovers::{sweep, take_lock};
use super::mirror::Mirror;
use super::nic::{Active, Inside, queue_counts};
use super::program::{AttachMode, Program};
use super::rings::{BUSY_LIMIT, QueueFacts, Rings};
use super::rss::SymmetricRss;
use super::settings::{InterfaceSettings, Shared};
use super::source::{Slot, XdpSource, lock};
use crate::sys::bpffs;
use crate::sys::netlink::LinkCounters;
use crate::sys::netns::Namespace;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Most queues of one interface; the counters of each take 2 KiB and 128 bytes a CPU.
const QUEUES_MAX: u32 = 1024;

/// How an interface is doing.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum InterfaceState {
    /// Attached, with a carrier.
    Running,
    /// Attached, but down or without a carrier.
    NoCarrier,
    /// Gone or not attachable at present; tried again until it is back.
    Away {
        /// Why.
        reason: String,
    },
}

/// A queue that was opened and has no socket yet.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct WaitingQueue {
    /// Queue number on the interface.
    pub queue: u32,
    /// Why: who holds it, and what to do about it.
    pub reason: String,
}

/// What an interface got and how it is doing.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct InterfaceStatus {
    /// `namespace/name` or the name.
    pub interface: String,
    /// Driver, such as `veth`.
    pub driver: String,
    /// Where the program runs, as read back.
    pub attached: AttachMode,
    /// Modes that were tried before, with what the kernel said.
    pub refused: Vec<String>,
    /// Whether ARP, neighbour discovery and management are left to the kernel.
    pub shared: bool,
    /// Receive queues in use.
    pub queues_in_use: u32,
    /// Queues opened, with what they got.
    pub queues: Vec<QueueFacts>,
    /// Queues opened that another process holds; taken up once they are free.
    pub waiting: Vec<WaitingQueue>,
    /// Whether both directions of a flow come to one queue.
    pub rss: SymmetricRss,
    /// Maps and counts of a former process were taken over.
    pub taken_over: bool,
    /// Times the interface was attached anew after it had gone.
    pub rearmed: u64,
    /// Why frames that the driver gives to the kernel past the program are not counted, where they are not.
    pub bypass_uncounted: Option<String>,
    /// Largest payload of a frame, bytes.
    pub mtu_bytes: u32,
    /// Present state.
    pub state: InterfaceState,
    /// Administratively up, with or without a carrier.
    pub up: bool,
}

/// The NIC's own side of the books.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct NicCounters {
    /// Standard counters.
    pub link: LinkCounters,
    /// Of the driver's own counters (`ethtool -S`) those that speak of loss: drops, misses, errors, full or empty rings.
    pub driver: Vec<(String, u64)>,
}

/// An interface that Shrike's program is attached to.
///
/// Dropping it detaches the program, removes the pins and restores what was changed. Sources may outlive it; they then
/// see no more frames.
pub struct Interface {
    pub(super) shared: Arc<Inner>,
    watcher: Option<std::thread::JoinHandle<()>>,
    /// The program stays when this goes: a port of a pair, whose frames must go on.
    pub(super) stays: bool,
    _lock: UnixDatagram,
}

pub(super) struct Inner {
    pub(super) settings: InterfaceSettings,
    pub(super) namespace: Namespace,
    pub(super) maps: Arc<CounterMaps>,
    pub(super) slots: Vec<Arc<Slot>>,
    pub(super) queue_list: Vec<u32>,
    pub(super) active: Mutex<Active>,
    pub(super) status: Mutex<InterfaceStatus>,
    /// When queues that another process held were tried last.
    pub(super) last_try: Mutex<Option<Instant>>,
    pub(super) stop: Mutex<bool>,
    pub(super) wake: Condvar,
}

/// The directory in which an interface's maps and links are pinned.
pub fn pin_path(settings: &InterfaceSettings) -> PathBuf {
    // A BPF file system refuses dots, and a name may not leave its directory.
    let plain = |text: &str| {
        text.chars().fold(String::new(), |mut name, letter| {
            if letter.is_ascii_alphanumeric() || letter == '-' || letter == '_' {
                name.push(letter);
            } else {
                name.push_str(&format!("+{:x}", u32::from(letter)));
            }
            name
        })
    };
    let space = settings.namespace.as_deref().map_or_else(String::new, |space| format!("{}@", plain(space)));
    instance_path(settings).join(format!("{space}{}", plain(&settings.name)))
}

fn instance_path(settings: &InterfaceSettings) -> PathBuf {
    settings.pin_directory.join(&settings.instance)
}

impl Interface {
    /// Attaches the program, in the best mode the settings allow, and begins to watch the interface. No socket is open
    /// yet: frames pass to the kernel and are counted as `passed_no_socket`.
    ///
    /// Needs CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON; CAP_SYS_ADMIN to mount the BPF file system or enter a namespace.
    ///
    /// # Errors
    /// See [`XdpError`]; nothing is left behind.
    pub fn attach(settings: &InterfaceSettings) -> Result<Interface, XdpError> {
        Interface::attach_prepared(settings, |_, _| Ok(()))
    }

    /// As `attach`; `prepare` fills the program's maps before it meets the first frame, and gets the interface's index.
    pub(super) fn attach_prepared(
        settings: &InterfaceSettings,
        prepare: impl FnOnce(&Program, u32) -> Result<(), XdpError>,
    ) -> Result<Interface, XdpError> {
        let namespace = Namespace::named(settings.namespace.as_deref())
            .map_err(|cause| XdpError::Namespace { interface: settings.label(), cause })?;
        check_instance(settings)?;
        let held = take_lock(settings)?;
        let mut inside = Inside::open(settings, &namespace).map_err(|cause| match cause.raw_os_error() {
            Some(libc::ENODEV) => no_interface(settings, &namespace, cause),
            _ => XdpError::Namespace { interface: settings.label(), cause },
        })?;
        let link = inside.netlink.link(&settings.name).map_err(|cause| no_interface(settings, &namespace, cause))?;
        let (in_use, possible) = queue_counts(&inside.ethtool, &link);
        let queue_list: Vec<u32> =
            if settings.queues.is_empty() { (0..in_use.min(QUEUES_MAX)).collect() } else { settings.queues.clone() };
        if let Some(queue) = queue_list.iter().find(|queue| **queue >= in_use) {
            return Err(XdpError::NoQueue {
                interface: settings.label(),
                name: settings.name.clone(),
                queue: *queue,
                queues: in_use,
                prefix: namespace.command_prefix(),
            });
        }
        let shared = match settings.shared {
            Shared::Yes => true,
            Shared::No => false,
            Shared::Auto => inside.netlink.has_global_address(link.index).unwrap_or(false),
        };

        let root = instance_path(settings);
        sweep(&settings.pin_directory);
        let mounted = bpffs::hold(&root).map_err(|cause| XdpError::pins(settings.label(), &root, cause))?;
        let dimension = possible.max(in_use).clamp(1, QUEUES_MAX);
        let loaded = Program::load(settings, &pin_path(settings), dimension, shared);
        drop(mounted); // our pins keep it from here on
        let program = match loaded {
            Ok(program) => program,
            Err(error) => {
                let _ = std::fs::remove_dir(pin_path(settings));
                let _ = bpffs::remove(&root);
                return Err(error);
            }
        };
        let maps = CounterMaps::map(&program.xdp, &program.worker, dimension).map_err(|cause| XdpError::Map {
            operation: "map the counters",
            interface: settings.label(),
            cause: cause.to_string(),
        })?;
        let taken_over = program.taken_over;
        let stays = settings.pair.is_some() && program.is_pinned_on(link.index);
        if program.begun_anew {
            tracing::warn!(
                interface = settings.label(),
                "counters of a former process are of other queues or of another version of shrike: they begin at zero"
            );
        }
        let mut active = Active { program, inside: Some(inside), index: None, mode: AttachMode::Native };
        let attached = prepare(&active.program, link.index).and_then(|()| active.attach(settings, &namespace, &link));
        let refused = match attached {
            Ok(refused) => refused,
            Err(error) => {
                if !stays {
                    active.program.detach();
                }
                let _ = bpffs::remove(&root);
                return Err(error);
            }
        };
        let rss = active.prepare_nic(settings, &namespace, &queue_list);
        let driver = active.inside.as_ref().and_then(|inside| inside.ethtool.driver().ok()).unwrap_or_default();
        let status = InterfaceStatus {
            interface: settings.label(),
            driver,
            attached: active.mode,
            refused,
            shared,
            queues_in_use: in_use,
            queues: Vec::new(),
            waiting: Vec::new(),
            rss,
            taken_over,
            rearmed: 0,
            bypass_uncounted: active.program.bypass_uncounted(),
            mtu_bytes: link.mtu_bytes,
            state: if link.running { InterfaceState::Running } else { InterfaceState::NoCarrier },
            up: link.up,
        };
        let inner = Arc::new(Inner {
            settings: settings.clone(),
            namespace,
            maps: Arc::new(maps),
            slots: (0..dimension).map(|_| Arc::new(Slot::new())).collect(),
            queue_list,
            active: Mutex::new(active),
            status: Mutex::new(status),
            last_try: Mutex::new(None),
            stop: Mutex::new(false),
            wake: Condvar::new(),
        });
        let watched = Arc::clone(&inner);
        let watcher = std::thread::Builder::new()
            .name(format!("watch-{}", settings.name))
            .spawn(move || watched.watch())
            .map_err(|cause| XdpError::Map {
                operation: "start the watcher",
                interface: settings.label(),
                cause: cause.to_string(),
            })?;
        Ok(Interface { shared: inner, watcher: Some(watcher), stays, _lock: held })
    }

    /// The queues to open: those asked for, or all in use.
    pub fn queues(&self) -> &[u32] {
        &self.shared.queue_list
    }

    /// Opens a queue: memory, socket, full fill ring, and only then its place in the map. Call it on the worker's core,
    /// so that the memory lies on its NUMA node. A queue that another process holds is opened without a socket, which it
    /// gets when it is free; until then the status names the holder.
    ///
    /// # Errors
    /// See [`XdpError`]; the queue is as it was.
    pub fn open_queue(&self, queue: u32) -> Result<XdpSource, XdpError> {
        self.shared.open_queue(queue)
    }

    /// What was obtained, and how the interface is doing.
    pub fn status(&self) -> InterfaceStatus {
        let mut status = lock(&self.shared.status).clone();
        status.queues = self.shared.slots.iter().filter_map(|slot| lock(&slot.facts).clone()).collect();
        let waiting =
            (0..).zip(&self.shared.slots).filter_map(|(queue, slot)| Some((queue, lock(&slot.waiting).clone()?)));
        status.waiting = waiting.map(|(queue, reason)| WaitingQueue { queue, reason }).collect();
        status
    }

    /// Every queue's books.
    pub fn accounts(&self) -> Vec<QueueAccount> {
        self.shared.maps.accounts()
    }

    /// The NIC's own counters.
    ///
    /// # Errors
    /// The interface is away.
    pub fn nic_counters(&self) -> io::Result<NicCounters> {
        let mut active = lock(&self.shared.active);
        let Some(inside) = &mut active.inside else { return Err(io::Error::from_raw_os_error(libc::ENODEV)) };
        let link = inside.netlink.link(&self.shared.settings.name)?;
        let mut driver = inside.ethtool.statistics().unwrap_or_default();
        driver.retain(|(name, _)| speaks_of_loss(name));
        Ok(NicCounters { link: link.counters, driver })
    }

    /// Where this interface's counters are pinned.
    pub fn pin_path(&self) -> PathBuf {
        pin_path(&self.shared.settings)
    }

    /// Detaches, and gives the last state of the books. Stop and drop the sources first.
    pub fn detach(mut self) -> Vec<QueueAccount> {
        self.leave();
        self.shared.maps.accounts()
    }

    fn leave(&mut self) {
        let Some(watcher) = self.watcher.take() else { return };
        *lock(&self.shared.stop) = true;
        self.shared.wake.notify_all();
        if watcher.join().is_err() {
            tracing::error!(interface = %self.shared.settings.label(), "the watcher panicked");
        }
        if self.stays {
            return;
        }
        let mut active = lock(&self.shared.active);
        // The program goes before the sockets: a driver that redirects to closing sockets has crashed others.
        active.program.detach();
        active.restore_nic(&self.shared.settings, &self.shared.namespace);
        active.inside = None;
        drop(active);
        for slot in &self.shared.slots {
            slot.bury();
        }
        if let Err(error) = bpffs::remove(&instance_path(&self.shared.settings)) {
            tracing::warn!(%error, "the BPF file system was left mounted");
        }
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Inner {
    fn open_queue(&self, queue: u32) -> Result<XdpSource, XdpError> {
        let interface = || self.settings.label();
        let slot = self.slots.get(queue as usize).ok_or_else(|| XdpError::NoQueue {
            interface: interface(),
            name: self.settings.name.clone(),
            queue,
            queues: u32::try_from(self.slots.len()).unwrap_or(u32::MAX),
            prefix: self.namespace.command_prefix(),
        })?;
        if slot.open.swap(true, AcqRel) {
            return Err(XdpError::AlreadyOpen { interface: interface(), queue });
        }
        let opened = self.open_source(queue, slot);
        if opened.is_err() {
            slot.open.store(false, Release);
        }
        opened
    }

    fn open_source(&self, queue: u32, slot: &Arc<Slot>) -> Result<XdpSource, XdpError> {
        let map_error = |operation: &'static str, cause: String| XdpError::Map {
            operation,
            interface: self.settings.label(),
            cause,
        };
        let active = lock(&self.active);
        let (shared, mtu_bytes) = {
            let status = lock(&self.status);
            (status.shared, status.mtu_bytes)
        };
        let rings = match self.bind(queue, active.mode, mtu_bytes, BUSY_LIMIT) {
            Ok(rings) => Ok(rings),
            Err(error @ XdpError::Busy { .. }) => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        let maps = &self.maps;
        if maps.cell(queue, Cell::Open) != 0 {
            // A process died with this queue open. Its socket is gone, so nothing is redirected now.
            maps.book_death(queue, self.settings.rings_hold());
        }
        let mirror = if shared {
            let ring = active
                .program
                .mirror(queue)
                .map_err(|error| map_error("make the ring of copies", error.to_string()))?;
            Some(Mirror::open(ring).map_err(|error| map_error("map the ring of copies", error.to_string()))?)
        } else {
            None
        };
        maps.set_cell(queue, Cell::RingsHold, self.settings.rings_hold());
        maps.set_cell(queue, Cell::Open, 1);
        slot.reset();
        *lock(&slot.facts) = rings.as_ref().ok().map(|rings| rings.facts().clone());
        let rings = match rings {
            Ok(rings) => {
                maps.add_cell(queue, Cell::Openings, 1);
                slot.bound_to.store(active.index.unwrap_or(0), Release);
                Some(rings)
            }
            Err(reason) => {
                tracing::warn!("{reason}");
                slot.bound_to.store(0, Release);
                *lock(&slot.waiting) = Some(reason);
                None
            }
        };
        let sockets =
            active.program.socket_map().map_err(|error| map_error("open the socket map", error.to_string()))?;
        let account = maps.account(queue).socket;
        let source = XdpSource {
            capacity: self.settings.ring_entries,
            busy_poll: rings.as_ref().is_some_and(Rings::polls),
            rings,
            mirror,
            maps: Arc::clone(maps),
            slot: Arc::clone(slot),
            sockets,
            queue,
            base: [
                account.rx_dropped,
                account.rx_invalid_descs,
                account.tx_invalid_descs,
                account.rx_ring_full,
                account.rx_fill_ring_empty_descs,
                account.tx_ring_empty_descs,
            ],
            idle: true,
        };
        if let Some(rings) = &source.rings {
            active
                .program
                .insert_socket(queue, rings.borrowed())
                .map_err(|error| map_error("put the socket into the map", error.to_string()))?;
        }
        Ok(source)
    }

    pub(super) fn bind(
        &self,
        queue: u32,
        mode: AttachMode,
        mtu_bytes: u32,
        patience: Duration,
    ) -> Result<Rings, XdpError> {
        self.namespace
            .run(|| Rings::open(&self.settings, queue, mode, mtu_bytes, patience))
            .map_err(|cause| XdpError::Namespace { interface: self.settings.label(), cause })?
    }
}

fn check_instance(settings: &InterfaceSettings) -> Result<(), XdpError> {
    let good = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if !settings.instance.is_empty() && settings.instance.len() <= 32 && settings.instance.chars().all(good) {
        return Ok(());
    }
    Err(XdpError::Setting {
        interface: settings.label(),
        setting: "instance",
        value: format!("{:?}", settings.instance),
        reason: "must be 1 to 32 letters, digits, '-' or '_' (a BPF file system refuses dots)".to_owned(),
    })
}

fn no_interface(settings: &InterfaceSettings, namespace: &Namespace, cause: io::Error) -> XdpError {
    XdpError::NoInterface { interface: settings.label(), cause, prefix: namespace.command_prefix() }
}

fn speaks_of_loss(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "drop",
        "miss",
        "err",
        "full",
        "no_buf",
        "nobuf",
        "no_desc",
        "alloc_fail",
        "discard",
        "out_of_buffer",
        "overrun",
        "empty",
    ]
    .iter()
    .any(|word| name.contains(word))
}
