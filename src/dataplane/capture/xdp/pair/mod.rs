//! Two ports as a bump in the wire: attaching both, opening their queues together, keeping them so, and leaving them forwarding.
//!
//! ```text
//!   Pair::attach --> a program on each port, each with the other in its device map; pinned, with the policy
//!     open_queue(q) --> PairSource: one memory, a socket on each port, moved to a worker
//!   dropped: the programs stay, and do what the policy says       Pair::release: taken off
//! ```
//!
//! Owns what becomes of frames without a worker (`settings`: causes and policies) and the books of both directions. Does not know
//! why a verdict stands ([`super::Verdicts`]) nor what is in a frame.

mod direction;
mod follow;
mod keeper;
mod link;
mod maps;
mod reader;
mod rings;
mod settings;
mod source;

pub use direction::Direction;
pub use keeper::keep as keep_links;
pub use link::{LinkPolicy, LinkStatus};
pub use maps::PortCounts;
pub use reader::PairReader;
pub use settings::{BEAT_LIMIT_DEFAULT_MS, BEAT_LIMIT_MS, ByCause, Cause, Fail, PairSettings, Policy, PortOf};
pub use source::{PairSource, PairStop};

use super::counters::Cell;
use super::error::XdpError;
use super::interface::{Interface, InterfaceState, InterfaceStatus, pin_path};
use super::nic::namespace_identity;
use super::offloads::{OffloadFinding, falsifying_offloads};
use super::program::{AttachMode, Program};
use super::rings::{BUSY_LIMIT, QueueFacts};
use super::settings::{InterfaceSettings, Shared};
use super::source::lock;
use super::verdict_maps::verdict_path;
use crate::sys::monotonic;
use crate::sys::netlink::Netlink;
use crate::sys::netns::Namespace;
use direction::{cells, directions, seen};
use follow::Linked;
use maps::{Former, PortMaps};
use rings::PairRings;
use source::{End, Missing, PairSlot, STATISTICS};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How often the ports are looked at.
const WATCH_PERIOD: Duration = Duration::from_millis(100);

/// How a pair is doing.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct PairStatus {
    /// Its name.
    pub name: String,
    /// Both ports.
    pub ports: [InterfaceStatus; 2],
    /// What the queues' sockets got, of both ports.
    pub queues: Vec<[QueueFacts; 2]>,
    /// Queues without sockets, and why.
    pub waiting: Vec<(u32, String)>,
    /// An operator's bypass holds.
    pub bypassed: bool,
    /// Causes said to the program.
    pub said: Vec<Cause>,
    /// The policy of each cause.
    pub policy: ByCause<Fail>,
    /// A beat older than this is none, nanoseconds.
    pub beat_limit_ns: u64,
    /// Age of the oldest beat of all queues, nanoseconds.
    pub beat_age_ns: u64,
    /// The link of one side shown on the other.
    pub link: LinkStatus,
    /// Why it cannot be shown, where it is to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_trouble: Option<String>,
}

struct Inner {
    /// As attached; of what may change since, [`Inner::decided`] has what holds.
    settings: PairSettings,
    /// What the operator may decide anew while frames cross.
    decided: Mutex<Decided>,
    link: Mutex<Linked>,
    ports: [Interface; 2],
    maps: [Arc<PortMaps>; 2],
    slots: Vec<Arc<PairSlot>>,
    queues: Vec<u32>,
    unbegun: Arc<AtomicU32>,
    /// Times each port had come back when it was last pointed to its peer.
    pointed: Mutex<[u64; 2]>,
    stop: Mutex<bool>,
    wake: Condvar,
}

/// What may change while a pair runs.
#[derive(Clone, Copy)]
struct Decided {
    policy: Policy,
    beat_limit_ns: u64,
}

impl Decided {
    fn of(settings: &PairSettings) -> Decided {
        Decided { policy: settings.policy, beat_limit_ns: settings.beat_limit_ns }
    }
}

/// A pair whose programs are attached. Dropping it leaves them where they are, doing what the policy says.
pub struct Pair {
    shared: Arc<Inner>,
    watcher: Option<std::thread::JoinHandle<()>>,
}

/// A port's settings as a pair needs them: the kernel gets nothing of its frames, and the program stays.
fn port_settings(pair: &PairSettings, side: usize) -> InterfaceSettings {
    let [first, second] = &pair.ports;
    let port = if side == 0 { first } else { second };
    let of = PortOf { pair: pair.name.clone(), side, verdicts: verdict_path(port) };
    InterfaceSettings { shared: Shared::No, pair: Some(of), ..port.clone() }
}

/// Attaches a port's program, or puts it in the place of the one that is there. What it needs to pass frames on is in its maps before
/// it meets the first: maps that begin anew would drop until all is attached.
fn attach_port(pair: &PairSettings, port: &InterfaceSettings, peer: &InterfaceSettings) -> Result<Interface, XdpError> {
    let former = Former::of(&pin_path(port));
    Interface::attach_prepared(port, |program, from| {
        let space = Namespace::named(port.namespace.as_deref())
            .map_err(|cause| XdpError::Namespace { interface: port.label(), cause })?;
        let to = space.run(|| Netlink::open()?.link(&peer.name)).and_then(|link| link).map_err(|cause| {
            XdpError::NoInterface { interface: peer.label(), cause, prefix: space.command_prefix() }
        })?;
        let maps = program.port_maps().map_err(|cause| no_settings(port, &cause))?;
        if program.begun_anew {
            former.hand_on(&maps);
        }
        maps.decide(pair.policy, pair.beat_limit_ns);
        maps.configure(pair, [from, to.index], inode_of(&space));
        point_to(program, port, &space, to.index)
    })
}

/// Names the other port to a program.
fn point_to(program: &Program, port: &InterfaceSettings, space: &Namespace, to: u32) -> Result<(), XdpError> {
    space.run(|| program.point_to(to)).map_err(|cause| XdpError::Namespace { interface: port.label(), cause })?.map_err(
        |cause| XdpError::Map {
            operation: "name the other port to the program of",
            interface: port.label(),
            cause: cause.to_string(),
        },
    )
}

fn no_settings(port: &InterfaceSettings, cause: &std::io::Error) -> XdpError {
    XdpError::Map { operation: "map the pair's settings", interface: port.label(), cause: cause.to_string() }
}

/// As the kernel tells network namespaces apart; 0 if it does not say.
fn inode_of(space: &Namespace) -> u64 {
    let own = || std::fs::metadata("/proc/self/ns/net").map(|metadata| metadata.ino()).unwrap_or(0);
    namespace_identity(space).map_or_else(own, |(_, inode)| inode)
}

/// Refuses a port whose NIC takes something out of frames, or joins them, before we see them: it would be missing behind us.
fn untouched(port: &InterfaceSettings) -> Result<(), XdpError> {
    let Ok(found) = falsifying_offloads(&port.name, port.namespace.as_deref()) else { return Ok(()) }; // told by what follows
    let harmful: Vec<_> = found.into_iter().filter(OffloadFinding::harms_pairs).collect();
    let Some(first) = harmful.first() else { return Ok(()) };
    let commands: Vec<_> = harmful.iter().map(|one| one.fix.clone()).collect();
    Err(XdpError::Setting {
        interface: port.label(),
        setting: "offload",
        value: first.feature.clone(),
        reason: format!(
            "{}; behind a pair that would be what arrives. Switch it off: {}",
            first.effect,
            commands.join("; ")
        ),
    })
}

impl Pair {
    /// Attaches both programs, or takes over those that are there, and writes the policy. No socket is open yet: frames go by the
    /// policy of a crash, or of a planned stop where that is how the last process ended.
    ///
    /// # Errors
    /// See [`XdpError`]. A program that was not there before is taken off again.
    pub fn attach(settings: &PairSettings) -> Result<Pair, XdpError> {
        let ports = [port_settings(settings, 0), port_settings(settings, 1)];
        let [first, second] = &ports;
        ports.iter().try_for_each(untouched)?;
        let mut one = attach_port(settings, first, second)?;
        let mut two = attach_port(settings, second, first)?;
        for port in [&one, &two] {
            let status = port.status();
            if status.attached == AttachMode::Generic {
                return Err(XdpError::Setting {
                    interface: status.interface,
                    setting: "mode",
                    value: "generic".into(),
                    reason: "a pair needs a driver with XDP of its own: a frame that is passed on in the kernel could not be counted"
                        .into(),
                });
            }
        }
        if one.queues() != two.queues() {
            return Err(XdpError::Setting {
                interface: first.label(),
                setting: "queues",
                value: format!("{:?}", one.queues()),
                reason: format!(
                    "{} has {:?}: both ports of a pair need the same queues (`ethtool -L`)",
                    second.label(),
                    two.queues()
                ),
            });
        }
        let open = |port: &Interface| {
            let maps = lock(&port.shared.active).program.port_maps();
            maps.map(Arc::new).map_err(|cause| no_settings(&port.shared.settings, &cause))
        };
        let maps = [open(&one)?, open(&two)?];
        let queues = one.queues().to_vec();
        let count = maps[0].queues().min(maps[1].queues());
        // From here on frames cross: what is there stays whatever happens to us.
        one.stays = true;
        two.stays = true;
        let inner = Arc::new(Inner {
            settings: settings.clone(),
            decided: Mutex::new(Decided::of(settings)),
            link: Mutex::new(Linked::start(settings)),
            ports: [one, two],
            maps,
            slots: (0..count).map(|_| Arc::new(PairSlot::new())).collect(),
            unbegun: Arc::new(AtomicU32::new(u32::try_from(queues.len()).unwrap_or(u32::MAX))),
            queues,
            pointed: Mutex::new([u64::MAX; 2]),
            stop: Mutex::new(false),
            wake: Condvar::new(),
        });
        inner.point()?;
        inner.let_links_go();
        let watched = Arc::clone(&inner);
        let watcher = std::thread::Builder::new()
            .name(format!("pair-{}", settings.name))
            .spawn(move || watched.watch())
            .map_err(|cause| XdpError::Map {
                operation: "start the watcher",
                interface: settings.name.clone(),
                cause: cause.to_string(),
            })?;
        Ok(Pair { shared: inner, watcher: Some(watcher) })
    }

    /// The pair's name.
    pub fn name(&self) -> &str {
        &self.shared.settings.name
    }

    /// The settings.
    pub fn settings(&self) -> &PairSettings {
        &self.shared.settings
    }

    /// The queues to open, the same of both ports.
    pub fn queues(&self) -> &[u32] {
        &self.shared.queues
    }

    /// Opens a queue of both ports: memory, sockets, full fill rings, and only then their places in the maps. Call it on the
    /// worker's core. From its first turn on the queue's frames go to the worker.
    ///
    /// # Errors
    /// See [`XdpError`]; frames go on by the policy.
    pub fn open_queue(&self, queue: u32) -> Result<PairSource, XdpError> {
        self.shared.open_queue(queue)
    }

    /// How it is doing.
    pub fn status(&self) -> PairStatus {
        let inner = &self.shared;
        let Decided { policy, beat_limit_ns } = *lock(&inner.decided);
        let (link, link_trouble) = inner.link_status();
        let now = monotonic::now_ns();
        let age = |queue: &u32| now.saturating_sub(inner.maps[0].last_beat(*queue));
        PairStatus {
            name: inner.settings.name.clone(),
            ports: [inner.ports[0].status(), inner.ports[1].status()],
            queues: inner.slots.iter().filter_map(|slot| lock(&slot.facts).clone()).collect(),
            waiting: (0..)
                .zip(&inner.slots)
                .filter_map(|(queue, slot)| Some((queue, lock(&slot.waiting).clone()?)))
                .collect(),
            bypassed: inner.maps.iter().any(|maps| maps.is_bypassed()),
            said: Cause::ALL.into_iter().filter(|cause| inner.maps.iter().any(|maps| maps.is_said(*cause))).collect(),
            policy: ByCause(Cause::ALL.map(|cause| policy.of(cause))),
            beat_limit_ns,
            beat_age_ns: inner.queues.iter().map(age).max().unwrap_or(0),
            link,
            link_trouble,
        }
    }

    /// Both directions' books.
    pub fn directions(&self) -> [Direction; 2] {
        let inner = &self.shared;
        let names = inner.settings.ports.each_ref().map(InterfaceSettings::label);
        let accounts = inner.ports.each_ref().map(Interface::accounts);
        let counts = inner.maps.each_ref().map(|maps| maps.counts());
        let mut read = directions(names, accounts, counts, |side, queue| cells(&inner.ports[side], queue));
        for (direction, port) in read.iter_mut().zip(&inner.ports) {
            direction.came_meanwhile = seen(&port.accounts()).saturating_sub(direction.received);
        }
        read
    }

    /// Says or takes back that no model scores, or that nothing can be stored. Matters only where that cause is closed.
    pub fn say(&self, cause: Cause, holds: bool) {
        // Said where it is open, the program would send frames past a worker that goes on.
        let said = holds && lock(&self.shared.decided).policy.of(cause) == Fail::Closed;
        self.shared.maps.iter().filter(|maps| maps.is_said(cause) != said).for_each(|maps| maps.say(cause, said));
    }

    /// Takes over what may change while frames cross: policies and the heartbeat's limit. Ports, rings and mode stay as they were
    /// attached; no socket or link is touched.
    pub fn change(&self, settings: &PairSettings) {
        let inner = &self.shared;
        let decided = Decided::of(settings);
        let mut held = lock(&inner.decided);
        // First, or frames would be sent past a worker that goes on.
        let opened = |cause: &Cause| decided.policy.of(*cause) == Fail::Open;
        for cause in [Cause::Model, Cause::Store].into_iter().filter(opened) {
            inner.maps.iter().for_each(|maps| maps.say(cause, false));
        }
        inner.maps.iter().for_each(|maps| maps.decide(decided.policy, decided.beat_limit_ns));
        *held = decided;
    }

    /// An operator's bypass: frames go on in the kernel, uninspected and counted, until it is taken back; verdicts hold.
    pub fn bypass(&self, on: bool) {
        self.shared.maps.iter().for_each(|maps| maps.bypass(on));
    }

    fn leave(&mut self) {
        let Some(watcher) = self.watcher.take() else { return };
        *lock(&self.shared.stop) = true;
        self.shared.wake.notify_all();
        if watcher.join().is_err() {
            tracing::error!(pair = %self.shared.settings.name, "the watcher panicked");
        }
        self.shared.let_links_go();
        self.shared.dismiss_keeper();
        self.shared.slots.iter().for_each(|slot| slot.bury());
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Inner {
    fn watch(&self) {
        loop {
            let stop = lock(&self.stop);
            let (stop, _) = self
                .wake
                .wait_timeout_while(stop, WATCH_PERIOD, |stop| !*stop)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if *stop {
                return;
            }
            drop(stop);
            self.slots.iter().for_each(|slot| slot.bury());
            self.follow_link();
            let states = self.ports.each_ref().map(|port| port.status().state);
            if states.iter().any(|state| matches!(state, InterfaceState::Away { .. })) {
                self.slots.iter().for_each(|slot| slot.gone.store(true, Release));
                continue;
            }
            if let Err(error) = self.point() {
                tracing::debug!(pair = %self.settings.name, %error, "the ports could not be pointed to each other yet");
                continue;
            }
            for (queue, slot) in (0..).zip(&self.slots) {
                if slot.open.load(Acquire) && slot.wants.load(Acquire) && !slot.is_stopping() {
                    let outcome = self.bind(queue, Duration::ZERO);
                    *lock(&slot.waiting) = outcome.as_ref().err().map(ToString::to_string);
                    if let Ok(rings) = outcome {
                        slot.deliver(rings);
                    }
                }
            }
        }
    }

    /// Puts each port into the other's device map and writes the policy, where a port is there for the first time or again.
    fn point(&self) -> Result<(), XdpError> {
        let mut pointed = lock(&self.pointed);
        let times = self.ports.each_ref().map(|port| port.status().rearmed);
        if *pointed == times {
            return Ok(());
        }
        let indices = self.ports.each_ref().map(|port| lock(&port.shared.active).index);
        let [Some(first), Some(second)] = indices else { return Ok(()) };
        for (side, port) in self.ports.iter().enumerate() {
            let (from, to) = if side == 0 { (first, second) } else { (second, first) };
            let space = &port.shared.namespace;
            point_to(&lock(&port.shared.active).program, &port.shared.settings, space, to)?;
            // What crosses is for others. It stays so when we go, for frames go on in the kernel.
            space
                .run(|| Netlink::open()?.set_promiscuous(from, true))
                .and_then(|set| set)
                .map_err(|cause| XdpError::Namespace { interface: port.shared.settings.label(), cause })?;
            let Decided { policy, beat_limit_ns } = *lock(&self.decided);
            self.maps[side].decide(policy, beat_limit_ns);
            self.maps[side].configure(&self.settings, [from, to], inode_of(space));
        }
        *pointed = times;
        Ok(())
    }

    fn bind(&self, queue: u32, patience: Duration) -> Result<PairRings, XdpError> {
        let [first, second] = &self.ports;
        let attached = [lock(&first.shared.active).mode, lock(&second.shared.active).mode];
        let mtu = self.ports.iter().map(|port| port.status().mtu_bytes).max().unwrap_or(1500);
        let settings = [&first.shared.settings, &second.shared.settings];
        let mut rings = first
            .shared
            .namespace
            .run(|| PairRings::open(settings, queue, attached, mtu, patience))
            .map_err(|cause| XdpError::Namespace { interface: settings[0].label(), cause })??;
        rings.accepted = self.maps.each_ref().map(|maps| maps.begin(queue));
        for ((port, maps), (side, socket)) in
            self.ports.iter().zip(&self.maps).zip(rings.borrowed().into_iter().enumerate())
        {
            maps.set_longest(rings.facts(side).longest_bytes);
            lock(&port.shared.active).program.insert_socket(queue, socket).map_err(|error| XdpError::Map {
                operation: "put the socket into the map",
                interface: port.shared.settings.label(),
                cause: error.to_string(),
            })?;
            port.shared.maps.add_cell(queue, Cell::Openings, 1);
        }
        Ok(rings)
    }

    fn open_queue(&self, queue: u32) -> Result<PairSource, XdpError> {
        let label = || self.settings.ports[0].label();
        let slot = self.slots.get(queue as usize).filter(|_| self.queues.contains(&queue)).ok_or_else(|| {
            XdpError::NoQueue {
                interface: label(),
                name: self.settings.ports[0].name.clone(),
                queue,
                queues: u32::try_from(self.slots.len()).unwrap_or(u32::MAX),
                prefix: self.ports[0].shared.namespace.command_prefix(),
            }
        })?;
        if slot.open.swap(true, AcqRel) {
            return Err(XdpError::AlreadyOpen { interface: label(), queue });
        }
        self.open_source(queue, slot).inspect_err(|_| slot.open.store(false, Release))
    }

    fn open_source(&self, queue: u32, slot: &Arc<PairSlot>) -> Result<PairSource, XdpError> {
        slot.reset();
        let map_error = |side: usize, cause: String| XdpError::Map {
            operation: "open the socket map",
            interface: self.settings.ports[side].label(),
            cause,
        };
        for side in 0..2 {
            self.book_death(side, queue);
        }
        let rings = match self.bind(queue, BUSY_LIMIT) {
            Ok(rings) => Some(rings),
            Err(error @ XdpError::Busy { .. }) => {
                tracing::warn!("{error}");
                *lock(&slot.waiting) = Some(error.to_string());
                slot.wants.store(true, Release);
                None
            }
            Err(error) => return Err(error),
        };
        *lock(&slot.facts) = rings.as_ref().map(|rings| [rings.facts(0).clone(), rings.facts(1).clone()]);
        let end = |side: usize| -> Result<End, XdpError> {
            let (port, maps) = (&self.ports[side].shared, &self.maps[side]);
            port.maps.set_cell(queue, Cell::RingsHold, port.settings.rings_hold());
            port.maps.set_cell(queue, Cell::Open, 1);
            let sockets =
                lock(&port.active).program.socket_map().map_err(|error| map_error(side, error.to_string()))?;
            Ok(End {
                maps: Arc::clone(&port.maps),
                port: Arc::clone(maps),
                sockets,
                taken: maps.taken(queue),
                base: STATISTICS.map(|cell| port.maps.cell(queue, cell)),
                missing: Missing::default(),
            })
        };
        Ok(PairSource {
            capacity: self.settings.ports[0].ring_entries,
            polls: rings.as_ref().is_some_and(|rings| matches!(rings.facts(0).busy_poll, Some(Ok(())))),
            rings,
            ends: [end(0)?, end(1)?],
            slot: Arc::clone(slot),
            queue,
            idle: true,
            unbegun: Arc::clone(&self.unbegun),
            begun: false,
            told_stopped: false,
            last_back_ns: monotonic::now_ns(),
            now_ns: 0,
        })
    }

    /// Books what a process that did not close this queue took with it: frames in its RX ring, and frames that it had taken and
    /// not sent; no more of either than its rings held.
    fn book_death(&self, side: usize, queue: u32) {
        let maps = &self.ports[side].shared.maps;
        if maps.cell(queue, Cell::Open) == 0 {
            return;
        }
        let bound = match maps.cell(queue, Cell::RingsHold) {
            0 => self.settings.ports[side].rings_hold(),
            held => held,
        };
        // Killed in the call that sends, it could not count what the kernel took in that call. Of several calls it counted each.
        let uncounted = maps
            .cell(queue, Cell::Offered)
            .saturating_sub(maps.cell(queue, Cell::Sent) + maps.cell(queue, Cell::TxRefused))
            .min(bound);
        maps.add_cell(queue, Cell::Sent, uncounted);
        let missing = |from: u64, gone: [u64; 3]| from.saturating_sub(gone.iter().sum()).min(bound);
        let account = maps.account(queue);
        let cell = |cell| maps.cell(queue, cell);
        let taken = cell(Cell::RingFrames);
        let in_ring =
            missing(account.redirected, [account.refused(), taken, account.abandoned + account.lost_at_death]);
        let in_hands = missing(taken, [cell(Cell::Sent), cell(Cell::TxRefused), cell(Cell::LostInHands)]);
        maps.add_cell(queue, Cell::Deaths, 1);
        maps.add_cell(queue, Cell::LostAtDeath, in_ring);
        maps.add_cell(queue, Cell::LostInHands, in_hands);
    }
}
