//! Interfaces to queues: attaches, opens every queue on the core that will run it, builds its engine, and keeps the books
//! between wire, kernel and worker.

use super::pairs::PairPort;
use super::{Capture, QueueParts, books};
use crate::clock::Clock;
use crate::config::Config;
use crate::control::respond::watch::WatchedQueue;
use crate::control::view::{Amount, CaptureMode, Degraded, Equation, Metric, MetricKind, PairView, QueueStatus};
use crate::dataplane::capture;
use crate::dataplane::capture::xdp::{
    Cause, Interface, InterfaceSettings, InterfaceState, InterfaceStatus, NicCounters, ObtainedMode, PairSettings,
    QueueAccount, StopHandle, SymmetricRss, XdpError,
};
use crate::dataplane::decode::Defragmenter;
use crate::dataplane::detect::WindowEntry;
use crate::dataplane::features::encrypted::Shapes;
use crate::dataplane::score::{Model, ModelError};
use crate::dataplane::worker::{
    Engine, EngineParts, EngineSettings, HandoverInbox, HandoverPlace, HandoverReceiver, Handshakes, MailboxPort,
    Openings, Outers, Queue, QueueSnapshot, Stacks, WATCH_BYTES, WatchPort, handover_mesh, mailbox, watch,
};
use crate::exchange::{Full, Up, snapshot_ring, up_ring};
use crate::metrics::{COUNTERS, CounterBlock, CounterMemory};
use crate::sys::affinity;
use crate::units::{MILLISECOND, QueueId, SECOND, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Items a queue may have waiting on their way up; some 250 bytes each.
const UP_CAPACITY: usize = 1 << 15;
/// Bytes of one handover ring at most; there is one for every ordered pair of queues of an interface, or of a group of
/// them.
const HANDOVER_BYTES: usize = 1 << 20;
/// Bytes of one handover ring at least: seven frames of full size. Shorter, and a burst does not fit.
const HANDOVER_BYTES_MIN: usize = 1 << 14;
/// Bytes that all handover rings of a mesh may have together, shared evenly between them.
const HANDOVER_BUDGET: usize = 256 << 20;
/// Frames handed over travel this long at most before their flow's window closes.
const HANDOVER_LAG_NS: u64 = 250 * MILLISECOND;

/// How often counts of windows go up. Seldomer: an alert comes later; more often: a table of 65 536 entries is looked through so
/// much more often (some 0.1 ms), and hosts that go on cost a merge each time.
const LOOK_NS: u64 = SECOND / 4;

/// The same where there are pairs: a response has 20 ms from the evidence to the kernel. Of every queue, for windows wait for the
/// slowest.
const LOOK_INLINE_NS: u64 = 5 * MILLISECOND;

/// Why the start failed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An interface or a queue.
    #[error(transparent)]
    Capture(#[from] XdpError),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The kernel gave no random bytes or no thread.
    #[error("{0}")]
    System(String),
}

/// One interface with what is known of its queues.
struct Port {
    interface: Interface,
    /// Shares its flows with other interfaces of its group.
    meshed: bool,
    settings: InterfaceSettings,
    /// The program's number and the NIC's number of each queue opened.
    queues: Vec<(QueueId, u32)>,
    stops: Vec<StopHandle>,
    /// Latest reading.
    accounts: Vec<QueueAccount>,
    nic: Option<NicCounters>,
    /// Since when something is wrong with it as a whole.
    trouble_since: Option<Timestamp>,
    waiting_since: Option<Timestamp>,
    /// What each queue had before the intake ended, so that the last picture shows it.
    obtained: BTreeMap<QueueId, QueueStatus>,
}

/// Every interface of the program.
pub struct LiveCapture {
    ports: Vec<Port>,
    pairs: Vec<PairPort>,
    /// Intake has ended: nothing may be in flight any more.
    stopped: bool,
}

/// What was opened.
pub struct Opened {
    /// Every interface.
    pub capture: LiveCapture,
    /// Every queue.
    pub queues: Vec<QueueParts>,
    /// Where the queues take other models, in their order; none where they began without one.
    pub mailboxes: Vec<MailboxPort>,
    /// Where frames are copied for who wants them, of every queue.
    pub watched: Vec<WatchedQueue>,
}

/// Attaches every interface of the plan and builds every queue.
///
/// # Errors
/// The first interface, queue or session that cannot be had; what was attached is detached again.
pub fn open(config: &Config, model: Option<&Model>, cores: &[usize], clock: &Clock) -> Result<Opened, StartError> {
    let mut ports = Vec::new();
    let mut parts = Vec::new();
    let mut mailboxes = Vec::new();
    let mut watched = Vec::new();
    // One set of keys for all queues: the bitmaps of distinct values that they count are merged.
    let secret = secret()?;
    let interfaces = config.interfaces.iter().map(Interface::attach).collect::<Result<Vec<_>, _>>()?;
    let mut pairs = config.pairs.iter().map(PairPort::attach).collect::<Result<Vec<_>, _>>()?;
    let mut meshes = meshes(&config.interfaces, &interfaces);
    for (at, (settings, interface)) in config.interfaces.iter().zip(interfaces).enumerate() {
        let numbers = interface.queues().to_vec();
        let mut port = Port {
            meshed: meshes.get(&mesh_of(at, settings)).is_some_and(|mesh| mesh.interfaces > 1),
            interface,
            settings: settings.clone(),
            queues: Vec::new(),
            stops: Vec::new(),
            accounts: Vec::new(),
            nic: None,
            trouble_since: None,
            waiting_since: None,
            obtained: BTreeMap::new(),
        };
        let label: Arc<str> = settings.label().into();
        for number in numbers {
            let id = QueueId(parts.len() as u16); // the plan holds far fewer than 65 536 queues
            let name = format!("{label}:{number}");
            let core = cores[parts.len() % cores.len()];
            let (place, handover) = meshes.get_mut(&mesh_of(at, settings)).map(Mesh::next).unwrap_or_default();
            let interface = &port.interface;
            let open = move || {
                let source = interface.open_queue(number)?;
                let stop = source
                    .stop_handle()
                    .map_err(|cause| StartError::System(format!("watch queue {number}: {cause}")))?;
                Ok(((source.counter_memory(), source), stop))
            };
            let look_ns = if config.pairs.is_empty() { LOOK_NS } else { LOOK_INLINE_NS };
            let settings = (EngineSettings { look_ns, ..config.engine }, model, clock, secret);
            let built = build(open, number, place, id, handover, core, settings)?;
            port.queues.push((id, number));
            port.stops.push(built.1);
            mailboxes.extend(built.2);
            watched.push(WatchedQueue { interface: Arc::clone(&label), port: built.3 });
            parts.push(QueueParts { name, interface: Arc::clone(&label), ..built.0 });
        }
        ports.push(port);
    }
    for pair in &mut pairs {
        let numbers = pair.numbers();
        // Which of a pair's queues a direction comes in on is the NIC's choice.
        let meshed = if numbers.len() > 1 { numbers.len() } else { 0 };
        let mut places: VecDeque<HandoverPlace> = handover_mesh(meshed, handover_bytes(meshed)).into();
        for (place, number) in numbers.into_iter().enumerate() {
            let id = QueueId(parts.len() as u16);
            let core = cores[parts.len() % cores.len()];
            let opened = &*pair;
            let open = move || {
                let (source, stop) = opened.open(number)?;
                Ok(((source.counter_memory(), source), stop))
            };
            // What nobody waits for in a tap delays an answer here: a block is to hold within 20 ms of its evidence.
            let engine = EngineSettings { forwards: true, look_ns: LOOK_INLINE_NS, ..config.engine };
            let settings = (engine, model, clock, secret);
            let built = build(open, number, place, id, places.pop_front().unwrap_or_default(), core, settings)?;
            mailboxes.extend(built.2);
            let added = pair.add(id, number, built.1, built.0);
            watched.push(WatchedQueue { interface: Arc::clone(&added.interface), port: built.3 });
            parts.push(added);
        }
    }
    Ok(Opened { capture: LiveCapture { ports, pairs, stopped: false }, queues: parts, mailboxes, watched })
}

/// Which mesh an interface's queues belong to.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum MeshName {
    /// That of its group.
    Group(String),
    /// Its own: of the interface in that place.
    Interface(usize),
}

fn mesh_of(at: usize, settings: &InterfaceSettings) -> MeshName {
    settings.group.clone().map_or(MeshName::Interface(at), MeshName::Group)
}

/// The rings between queues that see directions of the same flows, given out one queue after another.
struct Mesh {
    interfaces: usize,
    given_out: usize,
    places: VecDeque<HandoverPlace>,
}

impl Mesh {
    /// The next queue's place, and what it sends with and receives from.
    fn next(&mut self) -> (usize, HandoverPlace) {
        let place = self.given_out;
        self.given_out += 1;
        (place, self.places.pop_front().unwrap_or_default())
    }
}

/// One mesh for each group and each interface on its own; without rings where a NIC brings both directions together by
/// itself, which it can do only among its own queues.
fn meshes(settings: &[InterfaceSettings], interfaces: &[Interface]) -> BTreeMap<MeshName, Mesh> {
    let mut members: BTreeMap<MeshName, Vec<&Interface>> = BTreeMap::new();
    for (at, (settings, interface)) in settings.iter().zip(interfaces).enumerate() {
        members.entry(mesh_of(at, settings)).or_default().push(interface);
    }
    let made = members.into_iter().map(|(name, interfaces)| {
        let symmetric = interfaces.len() == 1
            && interfaces.iter().all(|one| !matches!(one.status().rss, SymmetricRss::Unsupported { .. }));
        let queues = interfaces.iter().map(|interface| interface.queues().len()).sum();
        let meshed = if symmetric { 0 } else { queues };
        let places = handover_mesh(meshed, handover_bytes(meshed)).into();
        (name, Mesh { interfaces: interfaces.len(), given_out: 0, places })
    });
    made.collect()
}

/// Bytes of each ring between `queues` queues of one mesh.
fn handover_bytes(queues: usize) -> usize {
    let pairs = queues.saturating_mul(queues.saturating_sub(1)).max(1);
    (HANDOVER_BUDGET / pairs).clamp(HANDOVER_BYTES_MIN, HANDOVER_BYTES)
}

/// What all handover rings between `queues` queues of one mesh take, bytes.
pub fn handover_memory(queues: usize) -> usize {
    queues.saturating_mul(queues.saturating_sub(1)).saturating_mul(handover_bytes(queues))
}

/// Bytes of a flow with its share of the index, as `flow` asserts.
const FLOW_BYTES: usize = 152;

/// What a queue takes besides its tables, its ring up and its frames: histograms, fragments, the kernel's rings, what the
/// allocator keeps. Measured, of 80 queues on veth.
const REST_BYTES: usize = 16 << 20;

/// What one queue takes at its start, bytes: tables, ring up, frames. For a warning, not to the byte.
pub fn queue_memory(engine: &EngineSettings, settings: &InterfaceSettings) -> usize {
    let tables = engine.flow.capacity as usize * FLOW_BYTES
        + engine.windows * size_of::<WindowEntry>()
        + engine.inspect.bytes(engine.flow.capacity)
        + Defragmenter::bytes(engine.defrag)
        + if engine.decode.tunnels { Outers::bytes(engine.flow.capacity) } else { 0 }
        + Shapes::bytes(engine.shapes(true), engine.flow.capacity)
        + Stacks::bytes(engine.stacks())
        + Openings::bytes(engine.stacks())
        + Handshakes::bytes(engine.handshakes());
    settings.umem_bytes() + tables + UP_CAPACITY * size_of::<Up>() + WATCH_BYTES + REST_BYTES
}

/// Engine settings, model, clock and keys: what all queues share.
type Shared<'a> = (EngineSettings, Option<&'a Model>, &'a Clock, [u64; 4]);
/// A source with its counters' memory, and what stops it.
type Source<S, T> = ((Arc<dyn CounterMemory>, S), T);

/// Opens one queue and builds its engine on the core that will run it, so that UMEM and tables lie near it.
fn build<S: capture::Source + 'static, T: Send>(
    open: impl FnOnce() -> Result<Source<S, T>, StartError> + Send,
    number: u32,
    place: usize,
    id: QueueId,
    HandoverPlace { peers, inbox }: HandoverPlace,
    core: usize,
    (mut settings, model, clock, secret): Shared<'_>,
) -> Result<(QueueParts, T, Option<MailboxPort>, WatchPort), StartError> {
    settings.live = true;
    if !peers.is_empty() {
        settings.watermark_lag_ns = HANDOVER_LAG_NS;
    }
    let scorer = model.map(Model::scorer).transpose()?;
    if let Some(model) = model {
        settings.score = settings.score.for_model(model.cost());
    }
    let is_scoring = scorer.is_some();
    let work = move || -> Result<(QueueParts, T, Option<MailboxPort>, WatchPort), StartError> {
        affinity::pin_to(core);
        let ((memory, source), stop) = open()?;
        let handover = inbox.iter().map(HandoverReceiver::count).collect();
        let counters = CounterBlock::on(memory);
        let memory = counters.memory();
        let (up_sender, up) = up_ring(UP_CAPACITY, Full::Count);
        let (snapshot_sender, snapshots) = snapshot_ring(Box::<QueueSnapshot>::default());
        let engine = Engine::new(
            source,
            settings,
            EngineParts {
                id,
                counters,
                up: up_sender,
                snapshots: snapshot_sender,
                scorer: scorer.map(|scorer| Box::new(scorer) as _),
                peers,
                place,
                inbox: HandoverInbox::new(inbox),
                secret,
                clock: clock.clone(),
            },
        );
        let (watch, watched) = watch();
        let engine = engine.watched(watch);
        let (mailbox, port) = mailbox();
        let engine: Box<dyn Queue> = Box::new(if is_scoring { engine.following(mailbox) } else { engine });
        Ok((
            QueueParts {
                id,
                name: String::new(),
                interface: "".into(),
                counters: memory,
                up,
                snapshots,
                handover,
                engine,
            },
            stop,
            is_scoring.then_some(port),
            watched,
        ))
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(format!("open-queue-{}", id.0))
            .spawn_scoped(scope, work)
            .map_err(|cause| StartError::System(format!("start a thread: {cause}")))?;
        thread.join().map_err(|_| StartError::System(format!("opening queue {number} ended by a panic")))?
    })
}

/// Keys for the hashes of a program, from the kernel's random source.
///
/// # Errors
/// The kernel gave none.
pub fn secret() -> Result<[u64; 4], StartError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|cause| StartError::System(format!("random bytes for hash keys: {cause}")))?;
    Ok(std::array::from_fn(|index| u64::from_le_bytes(std::array::from_fn(|byte| bytes[index * 8 + byte]))))
}

impl LiveCapture {
    fn ports(&self) -> impl Iterator<Item = (&Port, QueueId, &QueueAccount)> {
        self.ports.iter().flat_map(|port| {
            port.queues.iter().filter_map(move |(id, number)| {
                port.accounts.iter().find(|account| account.queue == *number).map(|account| (port, *id, account))
            })
        })
    }
}

impl LiveCapture {
    /// What is wrong with an interface as a whole.
    fn trouble(&self, port: &Port, status: &InterfaceStatus) -> Option<String> {
        let reason = match &status.state {
            // Queues that came after we did: their frames pass to the kernel, counted.
            InterfaceState::Running if port.settings.queues.is_empty() => {
                let opened = port.queues.len();
                if status.queues_in_use as usize <= opened || self.stopped {
                    return None;
                }
                format!("uses {} receive queues now and {opened} are captured; start again", status.queues_in_use)
            }
            InterfaceState::Running => return None,
            InterfaceState::NoCarrier => "is down or has no carrier; it goes on by itself when the link is up".into(),
            InterfaceState::Away { reason } => format!("is away ({reason}); tried again until it is back"),
        };
        Some(format!("{} {reason}", port.settings.label()))
    }
}

impl Capture for LiveCapture {
    fn status(&self, queue: QueueId) -> Option<QueueStatus> {
        if let Some(pair) = self.pairs.iter().find(|pair| pair.has(queue)) {
            return pair.queue_status(queue, self.stopped);
        }
        let port = self.ports.iter().find(|port| port.queues.iter().any(|(id, _)| *id == queue))?;
        if self.stopped
            && let Some(obtained) = port.obtained.get(&queue)
        {
            return Some(obtained.clone());
        }
        let number = port.queues.iter().find(|(id, _)| *id == queue)?.1;
        let status = port.interface.status();
        let facts = status.queues.iter().find(|facts| facts.queue == number);
        let mode = match facts {
            _ if matches!(status.state, InterfaceState::Away { .. }) => CaptureMode::Detached,
            None => CaptureMode::Detached,
            Some(facts) => match facts.mode {
                ObtainedMode::ZeroCopy => CaptureMode::ZeroCopy,
                ObtainedMode::Copy => CaptureMode::Copy,
                ObtainedMode::Generic => CaptureMode::Generic,
            },
        };
        Some(QueueStatus {
            id: queue,
            interface: port.settings.name.clone(),
            namespace: port.settings.namespace.clone(),
            nic_queue: number,
            mode,
            requested: word(&port.settings.mode),
            huge_pages: facts.is_some_and(|facts| facts.huge_pages.is_ok()),
            busy_poll: facts.is_some_and(|facts| matches!(facts.busy_poll, Some(Ok(())))),
            symmetry: match status.rss {
                _ if port.meshed => "handover",
                SymmetricRss::Set { .. } => "rss",
                SymmetricRss::OneQueue => "single",
                SymmetricRss::Unsupported { .. } => "handover",
            }
            .into(),
        })
    }

    fn equations(&self, counters: &BTreeMap<QueueId, [u64; COUNTERS.len()]>) -> Vec<Equation> {
        let under_way = |port: &Port| if self.stopped { None } else { Some(u64::from(port.settings.ring_entries) * 2) };
        self.ports()
            .flat_map(|(port, id, account)| books::equations(&port.settings.label(), id, account, under_way(port)))
            .chain(self.pairs.iter().flat_map(|pair| pair.equations(counters, self.stopped)))
            .collect()
    }

    fn drops(&self) -> Vec<Amount> {
        let mut sums: Vec<Amount> = Vec::new();
        for (_, _, account) in self.ports() {
            for (index, (name, value, help)) in books::losses(account).into_iter().enumerate() {
                match sums.get_mut(index) {
                    Some(sum) => sum.value += value,
                    None => sums.push(Amount::new(name, value, help)),
                }
            }
        }
        for amount in self.pairs.iter().flat_map(PairPort::drops) {
            match sums.iter_mut().find(|sum| sum.name == amount.name) {
                Some(sum) => sum.value += amount.value,
                None => sums.push(amount),
            }
        }
        sums
    }

    fn metrics(&self) -> Vec<Metric> {
        type OfAccount = fn(&QueueAccount) -> u64;
        let fields: [(&'static str, &'static str, OfAccount); 15] = [
            ("shrike_xdp_seen_total", "Frames the XDP program saw.", |a| a.seen),
            ("shrike_xdp_bypassed_total", "Frames the driver gave to the kernel past the program.", |a| a.bypassed),
            ("shrike_xdp_redirected_total", "Frames given to the socket.", |a| a.redirected),
            ("shrike_xdp_passed_total", "ARP, neighbour and management frames left to the kernel.", QueueAccount::kept),
            ("shrike_xdp_passed_no_socket_total", "Frames left to the kernel for want of a socket.", |a| {
                a.passed_no_socket
            }),
            ("shrike_xdp_refused_total", "Redirects that the socket refused.", QueueAccount::refused),
            ("shrike_xsk_rx_dropped_total", "XDP_STATISTICS rx_dropped.", |a| a.socket.rx_dropped),
            ("shrike_xsk_rx_invalid_descs_total", "XDP_STATISTICS rx_invalid_descs.", |a| a.socket.rx_invalid_descs),
            ("shrike_xsk_tx_invalid_descs_total", "XDP_STATISTICS tx_invalid_descs.", |a| a.socket.tx_invalid_descs),
            ("shrike_xsk_rx_ring_full_total", "XDP_STATISTICS rx_ring_full.", |a| a.socket.rx_ring_full),
            ("shrike_xsk_rx_fill_ring_empty_descs_total", "XDP_STATISTICS rx_fill_ring_empty_descs.", |a| {
                a.socket.rx_fill_ring_empty_descs
            }),
            (
                "shrike_xsk_tx_ring_empty_descs_total",
                "XDP_STATISTICS tx_ring_empty_descs: looks of the kernel into an empty TX ring. A tap sends nothing, so it grows with every wakeup; no sign of trouble.",
                |a| a.socket.tx_ring_empty_descs,
            ),
            ("shrike_lost_at_death_total", "Frames that died with a killed process.", |a| a.lost_at_death),
            ("shrike_sockets_opened_total", "Sockets opened.", |a| a.openings),
            ("shrike_bytes_seen_total", "Bytes the XDP program saw.", |a| a.bytes_seen),
        ];
        let sample = |name, help, labels, value: u64| Metric {
            name,
            help,
            kind: MetricKind::Counter,
            labels,
            value: value as f64,
        };
        let mut metrics = Vec::new();
        for (name, help, of) in fields {
            for (port, _, account) in self.ports() {
                let labels = vec![("queue", format!("{}:{}", port.settings.label(), account.queue))];
                metrics.push(sample(name, help, labels, of(account)));
            }
        }
        type OfLink = fn(&NicCounters) -> u64;
        let links: [(&'static str, &'static str, OfLink); 9] = [
            ("shrike_nic_rx_packets_total", "Frames the interface counted.", |nic| nic.link.rx_packets),
            ("shrike_nic_rx_errors_total", "Frames received with an error.", |nic| nic.link.rx_errors),
            (
                "shrike_nic_rx_dropped_total",
                "Frames driver or stack dropped (in native mode also what the socket refused).",
                |nic| nic.link.rx_dropped,
            ),
            ("shrike_nic_rx_missed_errors_total", "Frames the NIC had no room for.", |nic| nic.link.rx_missed_errors),
            ("shrike_nic_rx_fifo_errors_total", "Receiver FIFO overflows.", |nic| nic.link.rx_fifo_errors),
            ("shrike_nic_rx_over_errors_total", "Receiver overflows.", |nic| nic.link.rx_over_errors),
            ("shrike_nic_rx_crc_errors_total", "Frames with a wrong checksum.", |nic| nic.link.rx_crc_errors),
            ("shrike_nic_rx_length_errors_total", "Frames of a wrong length.", |nic| nic.link.rx_length_errors),
            ("shrike_nic_tx_dropped_total", "Frames dropped on the way out.", |nic| nic.link.tx_dropped),
        ];
        for (name, help, of) in links {
            for (port, nic) in self.ports.iter().filter_map(|port| port.nic.as_ref().map(|nic| (port, nic))) {
                metrics.push(sample(name, help, vec![("interface", port.settings.label())], of(nic)));
            }
        }
        for (port, nic) in self.ports.iter().filter_map(|port| port.nic.as_ref().map(|nic| (port, nic))) {
            for (counter, value) in &nic.driver {
                let labels = vec![("interface", port.settings.label()), ("counter", counter.clone())];
                metrics.push(sample("shrike_nic_driver_total", "The driver's own counters of loss.", labels, *value));
            }
        }
        let mut of_pairs: Vec<Metric> = self.pairs.iter().flat_map(PairPort::metrics).collect();
        of_pairs.sort_by_key(|metric| metric.name);
        metrics.extend(of_pairs);
        metrics
    }

    fn degraded(&self, now: Timestamp) -> Vec<Degraded> {
        let reasons = |port: &Port| {
            let status = port.interface.status();
            let waiting = status.waiting.iter().filter(|_| !self.stopped).map(|waiting| waiting.reason.clone());
            waiting.chain(self.trouble(port, &status)).collect::<Vec<_>>()
        };
        let entry = |port: &Port, reason| Degraded {
            part: "capture".into(),
            reason,
            since: port.trouble_since.or(port.waiting_since).unwrap_or(now),
        };
        let ports = self.ports.iter();
        ports
            .flat_map(|port| reasons(port).into_iter().map(|reason| entry(port, reason)).collect::<Vec<_>>())
            .chain(self.pairs.iter().flat_map(|pair| pair.degraded(now, self.stopped)))
            .collect()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for port in &self.ports {
            let (label, status) = (port.settings.label(), port.interface.status());
            notes.extend(status.refused.iter().map(|refused| format!("{label}: {refused}")));
            if let SymmetricRss::Unsupported { reason } = &status.rss {
                notes
                    .push(format!("{label}: RSS is not symmetric ({reason}); frames of foreign flows are handed over"));
            }
            if let Some(reason) = &status.bypass_uncounted {
                notes.push(format!("{label}: frames past the program, as at a link flap, are not counted ({reason})"));
            }
            if status.taken_over {
                notes.push(format!("{label}: counts of a former process were taken over"));
            }
            let refused = status.queues.iter().find_map(|facts| facts.huge_pages.as_ref().err());
            if let Some(reason) = refused.filter(|_| port.settings.huge_pages) {
                notes.push(format!("{label}: UMEM on ordinary pages ({reason})"));
            }
            for reason in status.queues.iter().filter_map(|facts| facts.busy_poll.as_ref()?.as_ref().err()) {
                notes.push(format!("{label}: no preferred busy polling ({reason})"));
            }
        }
        notes.extend(self.pairs.iter().flat_map(PairPort::notes));
        notes
    }

    fn poll(&mut self, now: Timestamp) {
        self.pairs.iter_mut().for_each(|pair| pair.poll(now));
        let troubled: Vec<bool> =
            self.ports.iter().map(|port| self.trouble(port, &port.interface.status()).is_some()).collect();
        for (port, troubled) in self.ports.iter_mut().zip(troubled) {
            port.accounts = port.interface.accounts();
            port.nic = port.interface.nic_counters().ok();
            port.trouble_since = if troubled { port.trouble_since.or(Some(now)) } else { None };
            let waits = !port.interface.status().waiting.is_empty();
            port.waiting_since = if waits { port.waiting_since.or(Some(now)) } else { None };
        }
    }

    fn stop(&mut self) {
        let ids: Vec<QueueId> = self.ports.iter().flat_map(|port| port.queues.iter().map(|(id, _)| *id)).collect();
        let statuses: BTreeMap<QueueId, QueueStatus> =
            ids.into_iter().filter_map(|id| Some((id, self.status(id)?))).collect();
        for port in &mut self.ports {
            port.obtained.clone_from(&statuses);
        }
        for stop in self.ports.iter_mut().flat_map(|port| std::mem::take(&mut port.stops)) {
            stop.stop();
        }
        self.pairs.iter_mut().for_each(PairPort::stop);
        self.stopped = true;
    }

    fn say(&self, cause: Cause, holds: bool) {
        self.pairs.iter().for_each(|pair| pair.say(cause, holds));
    }

    fn bypass(&self, name: &str, on: bool) -> bool {
        self.pairs.iter().any(|pair| pair.bypass(name, on))
    }

    fn reload(&self, pairs: &[PairSettings]) {
        for pair in &self.pairs {
            pairs.iter().for_each(|settings| pair.change(settings));
        }
    }

    fn pairs(&self) -> Vec<PairView> {
        self.pairs.iter().map(PairPort::view).collect()
    }
}

/// A setting's word in the configuration.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many queues there are, their rings stay within the budget, until each is as short as it may be.
    #[test]
    fn handover_rings_share_a_budget() {
        assert_eq!((handover_memory(0), handover_memory(1)), (0, 0));
        assert_eq!(handover_memory(4), 12 << 20, "1 MiB a pair");
        for queues in [16, 17, 66, 80, 128] {
            assert!(handover_memory(queues) <= HANDOVER_BUDGET, "{queues}: {}", handover_memory(queues));
        }
        assert_eq!(handover_bytes(1024), HANDOVER_BYTES_MIN);
    }
}
