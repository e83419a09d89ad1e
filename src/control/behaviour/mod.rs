//! Detectors that need no packet: they read ended (and grown) flows and what inspection tells, as both come up anyhow.
//!
//! Owns what waits for the watermark, and the detectors' tables; all bounded, losses counted. Every observation has a moment
//! by which it was known; they are taken in that order behind the watermark of all queues, so what is found does not depend on
//! how many queues there were or how their messages interleaved. Pure: no clock, no thread, no file (`live` has those). It
//! deliberately does not: look at packets, keep payload or passwords, hold lists of its own of good or bad names.
//!
//! ```text
//!  Up::Flow, Up::Event -> Observation -> waits for its second -> every detector, in one order -> Evidence
//! ```
//!
//! | file | finds |
//! | --- | --- |
//! | `dns_tunnel` | tunnels and data in DNS |
//! | `dga` | names that programs make up |
//! | `beacon` | connections that come back like a clock |
//! | `mining` | miners and their pools |
//! | `cleartext` | passwords in the clear |
//! | `guessing` | guessed passwords, where answers to logins are read |
//! | `exfiltration` | data that leaves |
//! | `intel` | what lists of others name |
//! | `spoofing` | hosts that pass for others on the link |
//! | `lateral` | from host to host inside |
//! | `amplification` | floods out of small questions |
//! | `icmp_tunnel` | tunnels inside pings |
//! | `doh_tunnel` | tunnels in encrypted DNS |
//! | `growth` | networks and hosts that do steadily more |
//! | `odd_flow` | flows that are odd in several ways, or open for hours |
//! | `slow_http` | web servers that are held with requests that never end |
//! | `request_flood` | floods of whole requests |
//! | `web_attack` | attacks on web servers |
//! | `tls_anomaly` | TLS that is not what browsers and known services speak |
//!
//! | file | owns |
//! | --- | --- |
//! | `observation` | what detectors see, and its place in the order |
//! | `show` | which detectors see what |
//! | `adaptive` | thresholds that follow what is usual |
//! | `names` | names of DNS and their parts |
//! | `warm_up` | what is still being learnt, in words |
//! | `count`, `prevalence` | distinct values; how usual a destination is in the network |
//! | `control/windows` | rows of a host's minute and a pair's hour, for models; every flow that ends is shown to it first |
//! | `live`, `disk` | the thread of a running sensor, and the file that outlives it |
//!
//! A new detector is a file with its settings, `observe`, `forgotten`, and one line in each of `Settings`, [`Behaviour`]'s
//! fields, `new`, `forgotten`, and in `show`; a name in `Detector`, a range in `config/detect`, a section in CONFIG.md.

pub mod adaptive;
pub mod amplification;
pub mod beacon;
mod cleartext;
mod count;
pub mod dga;
mod disk;
pub mod dns_tunnel;
pub mod doh_tunnel;
pub mod exfiltration;
pub mod growth;
mod guessing;
pub mod icmp_tunnel;
pub mod intel;
pub mod lateral;
mod live;
mod mining;
mod names;
mod observation;
pub mod odd_flow;
mod prevalence;
pub mod request_flood;
mod show;
pub mod slow_http;
pub mod spoofing;
#[cfg(test)]
mod tests;
pub mod tls_anomaly;
pub mod warm_up;
pub mod web_attack;

pub use disk::DiskError;
pub use live::LiveBehaviour;
pub use observation::{
    Answer, Cleartext, Dns, Flow, Hello, Lease, Login, Mining, Observation, Origin, Outcome, Remote, Request, Slow,
    Step, Visit, What,
};

use crate::control::inventory::network::Network;
use crate::control::windows::stage::{self, Stage};
use crate::dataplane::decode::Neighbour;
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Evidence, WINDOW_NS, brute_force};
use crate::exchange::{EventHead, FlowSummary};
use crate::units::{MILLISECOND, SECOND, Timestamp};
use arc_swap::ArcSwap;
use prevalence::Prevalence;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the stage and its detectors are told.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    /// Observations that wait for their watermark at most, some 300 bytes each; more are lost and counted.
    pub pending: usize,
    /// Guessed passwords.
    pub brute_force: brute_force::Settings,
    /// Tunnels in DNS.
    pub dns_tunnel: dns_tunnel::Settings,
    /// Made-up names.
    pub dga: dga::Settings,
    /// Beacons.
    pub beacon: beacon::Settings,
    /// Data that leaves.
    pub exfiltration: exfiltration::Settings,
    /// What lists name.
    pub intel: intel::Settings,
    /// Hosts that pass for others.
    pub spoofing: spoofing::Settings,
    /// From host to host inside.
    pub lateral: lateral::Settings,
    /// Odd TLS.
    pub tls_anomaly: tls_anomaly::Settings,
    /// Slow requests.
    pub slow_http: slow_http::Settings,
    /// Odd flows.
    pub odd_flow: odd_flow::Settings,
    /// Floods out of small questions.
    pub amplification: amplification::Settings,
    /// Floods of whole requests.
    pub request_flood: request_flood::Settings,
    /// Attacks on web servers.
    pub web_attack: web_attack::Settings,
    /// Tunnels inside pings.
    pub icmp_tunnel: icmp_tunnel::Settings,
    /// Tunnels in encrypted DNS.
    pub doh_tunnel: doh_tunnel::Settings,
    /// Growth from hour to hour.
    pub growth: growth::Settings,
}

impl Settings {
    /// Bytes that the stage comes to at most, when all its tables and its queue are full.
    pub fn memory(&self) -> usize {
        const TEXTS: usize = 64;
        self.pending * (size_of::<Observation>() + TEXTS)
            + live::QUEUE_BYTES
            + cold::bytes::<u64, Told>(GROWN_MAX)
            + Prevalence::memory(SERVERS_MAX)
            + guessing::memory(&self.brute_force)
            + self.dns_tunnel.memory()
            + self.dga.memory()
            + self.beacon.memory()
            + self.exfiltration.memory()
            + self.intel.memory()
            + self.spoofing.memory()
            + self.lateral.memory()
            + self.tls_anomaly.memory()
            + self.slow_http.memory()
            + self.odd_flow.memory()
            + self.amplification.memory()
            + self.web_attack.memory()
            + self.request_flood.memory()
            + self.icmp_tunnel.memory()
            + self.doh_tunnel.memory()
            + self.growth.memory()
    }
}

/// What the stage met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Stats {
    /// Observations shown to the detectors.
    pub observed: u64,
    /// Observations that came behind the watermark of all queues: shown with the next second.
    pub late: u64,
    /// Observations given up because too many waited.
    pub lost: u64,
    /// Entities that the detectors forgot for want of room.
    pub forgotten: u64,
    /// Rows of windows, where models judge them.
    pub windows: stage::Stats,
    /// Since when hosts are seen, by this run or those whose state it goes on from.
    pub since: Option<Timestamp>,
}

/// What outlives a restart.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Snapshot {
    exfiltration: Vec<exfiltration::Kept>,
    sums: exfiltration::KeptSums,
    lateral: Vec<lateral::Kept>,
    growth: Vec<growth::Kept>,
    tls_anomaly: Vec<tls_anomaly::Kept>,
    beacon: beacon::Kept,
    servers: prevalence::Kept,
    since: Option<Timestamp>,
}

/// A flow that was told before its end.
struct Told {
    payload: [u64; 2],
    touched: Timestamp,
}

impl Touched for Told {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// Flows told before their end that are remembered, so that nothing is counted twice.
const GROWN_MAX: usize = 1 << 14;
/// A flow that lives is told again when it has brought so many bytes more: a megabyte is less than any volume of note.
const GROWN_BYTES: u64 = 1 << 20;
/// The same of echoes: few pings come to so much in a minute.
const ECHO_GROWN_BYTES: u64 = 8 << 10;
/// A flow that lived less long was never told before its end.
const GROWN_NS: u64 = SECOND;

/// What is known within so long is shown together, nanoseconds: a part of a window, so that an alert need not wait for its end. Shorter:
/// more steps a second of some microseconds each; longer: an answer to an alert waits for so long.
const SHOWN_NS: u64 = 5 * MILLISECOND;

/// Servers outside whose clients are remembered, some 150 bytes each.
const SERVERS_MAX: usize = 1 << 16;

/// The stage.
pub struct Behaviour {
    settings: Settings,
    /// By the step of [`SHOWN_NS`] in which they were known.
    pending: BTreeMap<u64, Vec<Observation>>,
    waiting: usize,
    /// Everything before has been shown.
    decided: Timestamp,
    /// Nothing more was to come of what was known before.
    promised: Timestamp,
    grown: ColdMap<u64, Told>,
    stats: Stats,
    /// Networks whose hosts are ours.
    home: Vec<Network>,
    /// Servers outside, and who goes there.
    servers: Prevalence,
    guessing: guessing::Guessing,
    dns_tunnel: dns_tunnel::DnsTunnel,
    exfiltration: exfiltration::Exfiltration,
    beacon: beacon::Beacon,
    dga: dga::Dga,
    intel: intel::Intel,
    spoofing: spoofing::Spoofing,
    lateral: lateral::Lateral,
    tls_anomaly: tls_anomaly::TlsAnomaly,
    slow_http: slow_http::SlowHttp,
    odd_flow: odd_flow::OddFlow,
    amplification: amplification::Amplification,
    web_attack: web_attack::WebAttack,
    request_flood: request_flood::RequestFlood,
    icmp_tunnel: icmp_tunnel::IcmpTunnel,
    doh_tunnel: doh_tunnel::DohTunnel,
    growth: growth::Growth,
    /// Models of windows, where there are some.
    windows: Option<Stage>,
}

impl Behaviour {
    /// One that has seen nothing.
    pub fn new(settings: Settings, home: &[Network]) -> Behaviour {
        Behaviour {
            pending: BTreeMap::new(),
            waiting: 0,
            decided: Timestamp(0),
            promised: Timestamp(0),
            grown: ColdMap::new(GROWN_MAX),
            stats: Stats::default(),
            guessing: guessing::Guessing::new(settings.brute_force),
            dns_tunnel: dns_tunnel::DnsTunnel::new(settings.dns_tunnel),
            dga: dga::Dga::new(settings.dga),
            beacon: beacon::Beacon::new(settings.beacon),
            exfiltration: exfiltration::Exfiltration::new(settings.exfiltration),
            intel: intel::Intel::new(settings.intel),
            spoofing: spoofing::Spoofing::new(settings.spoofing),
            lateral: lateral::Lateral::new(settings.lateral),
            tls_anomaly: tls_anomaly::TlsAnomaly::new(settings.tls_anomaly),
            slow_http: slow_http::SlowHttp::new(settings.slow_http),
            odd_flow: odd_flow::OddFlow::new(settings.odd_flow),
            amplification: amplification::Amplification::new(settings.amplification),
            web_attack: web_attack::WebAttack::new(settings.web_attack),
            request_flood: request_flood::RequestFlood::new(settings.request_flood),
            icmp_tunnel: icmp_tunnel::IcmpTunnel::new(settings.icmp_tunnel),
            doh_tunnel: doh_tunnel::DohTunnel::new(settings.doh_tunnel),
            growth: growth::Growth::new(settings.growth),
            windows: None,
            home: home.to_vec(),
            servers: Prevalence::new(SERVERS_MAX),
            settings,
        }
    }

    /// Judges by other thresholds from now on; what is remembered, and how much may be, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.guessing.retune(settings.brute_force);
        self.dns_tunnel.retune(settings.dns_tunnel);
        self.dga.retune(settings.dga);
        self.beacon.retune(settings.beacon);
        self.exfiltration.retune(settings.exfiltration);
        self.intel.retune(settings.intel);
        self.spoofing.retune(settings.spoofing);
        self.lateral.retune(settings.lateral);
        self.tls_anomaly.retune(settings.tls_anomaly);
        self.slow_http.retune(settings.slow_http);
        self.odd_flow.retune(settings.odd_flow);
        self.amplification.retune(settings.amplification);
        self.web_attack.retune(settings.web_attack);
        self.request_flood.retune(settings.request_flood);
        self.icmp_tunnel.retune(settings.icmp_tunnel);
        self.doh_tunnel.retune(settings.doh_tunnel);
        self.growth.retune(settings.growth);
        self.settings = settings;
    }

    /// Has everything looked up in these feeds, as they are at each moment.
    pub fn look_up_in(&mut self, feeds: Arc<ArcSwap<intel::Tables>>) {
        self.intel.look_up_in(feeds);
    }

    /// Has rows of windows judged; every flow that ends must come then, answered or not.
    pub fn judge_windows(&mut self, windows: Stage) {
        self.windows = Some(windows);
    }

    /// Something was seen at `time`. A flow is told when it ends, hours after it began.
    fn seen_since(&mut self, time: Timestamp) {
        self.stats.since = Some(self.stats.since.map_or(time, |since| since.min(time)));
    }

    /// Flows that ended were not told.
    pub fn untold(&mut self) {
        if let Some(windows) = &mut self.windows {
            windows.untold();
        }
    }

    /// A flow ended.
    pub fn flow(&mut self, flow: &FlowSummary) {
        if let Some(windows) = &mut self.windows {
            windows.flow(flow);
        }
        self.seen_since(flow.first_seen);
        let lived = flow.last_seen.since(flow.first_seen) >= GROWN_NS;
        let before = lived.then(|| self.grown.existing(&flow.flow_id()).map(|told| told.payload)).flatten();
        if let Some(observation) = Observation::of_flow(flow, before) {
            self.push(observation);
        }
        if let Some(held) = slow_http::held(flow) {
            self.push(Observation::of_slow(flow, held));
        }
        if amplification::is_unasked(flow) {
            self.push(Observation::of_unasked(flow));
        }
    }

    /// A flow lives: told again where it has grown much. Live only: a capture ends, and with it every flow.
    pub fn living(&mut self, flow: &FlowSummary) {
        self.seen_since(flow.first_seen);
        if odd_flow::is_due(flow, &self.settings.odd_flow)
            && let Some(open) = Observation::of_open(flow)
        {
            self.push(Observation { told: open.told.max(self.decided), ..open });
        }
        if let Some(held) = slow_http::held(flow) {
            // It is so now, however long it has said nothing.
            let slow = Observation::of_slow(flow, held);
            self.push(Observation { told: slow.told.max(self.decided), ..slow });
        }
        // Who talks to a listed address is told while he does, not when the connection is over.
        if self.intel.is_news(flow)
            && let Some(listed) = Observation::of_listed(flow)
        {
            self.push(Observation { told: listed.told.max(self.decided), ..listed });
        }
        let least = if icmp_tunnel::is_echo(flow) { ECHO_GROWN_BYTES } else { GROWN_BYTES };
        if flow.payload.iter().sum::<u64>() < least {
            return;
        }
        let id = flow.flow_id();
        let before = self.grown.existing(&id).map(|told| told.payload);
        let grown = flow.payload.iter().sum::<u64>().saturating_sub(before.iter().flatten().sum());
        if grown < least {
            return;
        }
        let Some(observation) = Observation::of_flow(flow, before) else { return };
        let told = self.grown.entry(id, || Told { payload: [0; 2], touched: flow.last_seen });
        *told = Told { payload: flow.payload, touched: flow.last_seen };
        self.push(observation);
    }

    /// Inspection found something.
    pub fn event(&mut self, head: &EventHead, facts: &[u8]) {
        for observation in Observation::of_event(head, facts, self.intel.is_on()) {
            self.push(observation);
        }
    }

    /// A host on the link said which address it has.
    pub fn neighbour(&mut self, time: Timestamp, neighbour: &Neighbour) {
        self.push(Observation::of_neighbour(time, neighbour));
    }

    /// Puts an observation where it belongs.
    pub fn push(&mut self, mut observation: Observation) {
        if self.waiting >= self.settings.pending {
            self.stats.lost += 1;
            return;
        }
        self.stats.late += u64::from(observation.told < self.promised);
        observation.told = observation.told.max(self.decided);
        self.waiting += 1;
        self.pending.entry(observation.told.0 - observation.told.0 % SHOWN_NS).or_default().push(observation);
    }

    /// Start of the earliest second of which something waits; a window waits for its last second.
    pub fn next(&self) -> Option<u64> {
        self.next_within(WINDOW_NS)
    }

    fn next_within(&self, length_ns: u64) -> Option<u64> {
        let window = self.windows.as_ref().and_then(Stage::next).map(|end| end.0.saturating_sub(length_ns));
        let shown = self.pending.first_key_value().map(|(start, _)| *start - *start % length_ns);
        shown.into_iter().chain(window).min()
    }

    /// Nothing more comes of what was known before `reached`.
    pub fn reached(&mut self, reached: Timestamp) {
        if reached.0 != u64::MAX {
            self.promised = self.promised.max(reached);
            self.decided = self.decided.max(reached);
        }
        if let Some(windows) = &mut self.windows {
            windows.pass(reached);
        }
    }

    /// Shows the second that begins at `start` to the detectors.
    pub fn decide(&mut self, start: Timestamp, out: &mut Vec<Evidence>) {
        self.show_until(start.after(WINDOW_NS), out);
    }

    fn show_until(&mut self, end: Timestamp, out: &mut Vec<Evidence>) {
        while let Some(first) = self.pending.first_entry().filter(|first| *first.key() < end.0) {
            let window = first.remove();
            self.show_all(window, out);
        }
        if let Some(windows) = &mut self.windows {
            windows.reach(end, out);
        }
    }

    fn show_all(&mut self, mut window: Vec<Observation>, out: &mut Vec<Evidence>) {
        self.waiting -= window.len();
        self.stats.observed += window.len() as u64;
        self.intel.refresh();
        // Stable: what one flow tells at one moment keeps its order.
        window.sort_by_key(Observation::place);
        if let Some(first) = window.first() {
            self.seen_since(first.time);
        }
        for observation in &window {
            self.show(observation, out);
        }
    }

    /// Shows everything known before `reached`: for who has no windows of other things between them.
    pub fn decide_until(&mut self, reached: Timestamp, out: &mut Vec<Evidence>) {
        let ends = |start: &u64| Timestamp(*start).after(SHOWN_NS) <= reached;
        while let Some(start) = self.next_within(SHOWN_NS).filter(ends) {
            self.show_until(Timestamp(start).after(SHOWN_NS), out);
        }
        self.reached(reached);
    }

    /// Shows what was known before `looked` of what has come, though more may come of it: flows that end by a time-out are told up to a
    /// tick of the flow table's wheel late, and nobody need wait for them. What comes behind it is shown next.
    pub fn look_until(&mut self, looked: Timestamp, out: &mut Vec<Evidence>) {
        let looked = Timestamp(looked.0 - looked.0 % SHOWN_NS);
        while let Some(first) = self.pending.first_entry().filter(|first| *first.key() < looked.0) {
            let shown = first.remove();
            self.show_all(shown, out);
        }
        self.decided = self.decided.max(looked);
    }

    /// What shall outlive a restart: baselines, which take days to learn.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            exfiltration: self.exfiltration.snapshot(),
            sums: self.exfiltration.sums(),
            lateral: self.lateral.snapshot(),
            growth: self.growth.snapshot(),
            tls_anomaly: self.tls_anomaly.snapshot(),
            beacon: self.beacon.snapshot(),
            servers: self.servers.snapshot(),
            since: self.stats.since,
        }
    }

    /// Goes on from what was written; `false`: some of it is not what this program writes, and is left out.
    pub fn restore(&mut self, snapshot: Snapshot) -> bool {
        let Snapshot { exfiltration, sums, lateral, growth, tls_anomaly, beacon, servers, since } = snapshot;
        self.stats.since = since.or(self.stats.since);
        // All, whatever the first says.
        let sound = [
            self.exfiltration.restore(exfiltration),
            self.exfiltration.restore_sums(sums),
            self.lateral.restore(lateral),
            self.growth.restore(growth),
            self.tls_anomaly.restore(tls_anomaly),
            self.beacon.restore(beacon),
            self.servers.restore(servers),
        ];
        sound == [true; 7]
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        let forgotten = [
            self.servers.forgotten(),
            self.grown.forgotten(),
            self.guessing.forgotten(),
            self.dns_tunnel.forgotten(),
            self.dga.forgotten(),
            self.beacon.forgotten(),
            self.exfiltration.forgotten(),
            self.intel.forgotten(),
            self.spoofing.forgotten(),
            self.lateral.forgotten(),
            self.tls_anomaly.forgotten(),
            self.slow_http.forgotten(),
            self.odd_flow.forgotten(),
            self.amplification.forgotten(),
            self.web_attack.forgotten(),
            self.request_flood.forgotten(),
            self.icmp_tunnel.forgotten(),
            self.doh_tunnel.forgotten(),
            self.growth.forgotten(),
        ];
        let windows = self.windows.as_ref().map(Stage::stats).unwrap_or_default();
        Stats { forgotten: forgotten.iter().sum(), windows, ..self.stats }
    }
}
