//! One view of every host: the counts of all queues, merged behind the watermark, and the deciders over them.
//!
//! Owns windows that are not complete yet and the deciders' memory, both bounded. A window is decided when every live queue
//! has said that it has sent everything up to the window's end; so a scan spread over all queues is one scan, and the
//! outcome does not depend on how many queues there were or how their messages interleaved. Knows neither rings nor
//! threads: whoever receives feeds it. A capture's windows are decided when they are over; live an open one is looked at as well
//! ([`Merger::looking_ahead`]), so that nobody waits a second for an alert, and scores are told at once ([`Scores`]).

use crate::control::behaviour::{self, Behaviour};
use crate::control::inventory::network::Network;
use crate::control::windows::stage;
use crate::dataplane::decode::Neighbour;
use crate::dataplane::detect::{
    Counts, Detector, Entity, Evidence, ScoredFlow, SeenIn, TunnelRef, WINDOW_NS, WindowEntry, arp, brute_force, flood,
    model, scan,
};
use crate::exchange::{EventHead, FlowSummary, Up};
use crate::units::{MILLISECOND, QueueId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Thresholds of all deciders, and limits of the merge.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Port scans and sweeps.
    pub scan: scan::Settings,
    /// Password guessing.
    pub brute_force: brute_force::Settings,
    /// Floods.
    pub flood: flood::Settings,
    /// Scores of the model.
    pub model: model::Settings,
    /// (entity, window) pairs that wait for their watermark at most, some 300 bytes each; more are lost and counted. Too
    /// small: a flood of spoofed sources pushes a scanner out; too large: memory.
    pub pending_entries: usize,
    /// Scores that wait for their watermark at most.
    pub pending_scores: usize,
    /// Detectors over flows and events: without them nothing comes up for their sake.
    pub behaviour: bool,
    /// Flows and events that wait for their watermark at most, some 300 bytes each.
    pub pending_observations: usize,
    /// Tunnels in DNS.
    pub dns_tunnel: behaviour::dns_tunnel::Settings,
    /// Data that leaves.
    pub exfiltration: behaviour::exfiltration::Settings,
    /// Beacons.
    pub beacon: behaviour::beacon::Settings,
    /// Made-up names.
    pub dga: behaviour::dga::Settings,
    /// What lists of others name.
    pub intel: behaviour::intel::Settings,
    /// Hosts that pass for others.
    pub spoofing: behaviour::spoofing::Settings,
    /// From host to host inside.
    pub lateral: behaviour::lateral::Settings,
    /// Odd TLS.
    pub tls_anomaly: behaviour::tls_anomaly::Settings,
    /// Slow requests.
    pub slow_http: behaviour::slow_http::Settings,
    /// Floods of whole requests.
    pub request_flood: behaviour::request_flood::Settings,
    /// Attacks on web servers.
    pub web_attack: behaviour::web_attack::Settings,
    /// Odd flows.
    pub odd_flow: behaviour::odd_flow::Settings,
    /// Floods out of small questions.
    pub amplification: behaviour::amplification::Settings,
    /// Tunnels inside pings.
    pub icmp_tunnel: behaviour::icmp_tunnel::Settings,
    /// Tunnels in encrypted DNS.
    pub doh_tunnel: behaviour::doh_tunnel::Settings,
    /// Growth from hour to hour.
    pub growth: behaviour::growth::Settings,
    /// Models of a host's minute and a pair's hour.
    pub windows: stage::Settings,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            scan: scan::Settings::default(),
            brute_force: brute_force::Settings::default(),
            flood: flood::Settings::default(),
            model: model::Settings::default(),
            pending_entries: 1 << 19,
            pending_scores: 1 << 16,
            behaviour: true,
            pending_observations: 1 << 18,
            dns_tunnel: behaviour::dns_tunnel::Settings::default(),
            exfiltration: behaviour::exfiltration::Settings::default(),
            beacon: behaviour::beacon::Settings::default(),
            dga: behaviour::dga::Settings::default(),
            intel: behaviour::intel::Settings::default(),
            spoofing: behaviour::spoofing::Settings::default(),
            lateral: behaviour::lateral::Settings::default(),
            tls_anomaly: behaviour::tls_anomaly::Settings::default(),
            slow_http: behaviour::slow_http::Settings::default(),
            web_attack: behaviour::web_attack::Settings::default(),
            request_flood: behaviour::request_flood::Settings::default(),
            odd_flow: behaviour::odd_flow::Settings::default(),
            amplification: behaviour::amplification::Settings::default(),
            icmp_tunnel: behaviour::icmp_tunnel::Settings::default(),
            doh_tunnel: behaviour::doh_tunnel::Settings::default(),
            growth: behaviour::growth::Settings::default(),
            windows: stage::Settings::default(),
        }
    }
}

impl Settings {
    /// The detectors over flows and events, as they are wanted; `home`: networks whose hosts are ours.
    pub fn behaviour(&self, home: &[Network]) -> Option<Behaviour> {
        self.behaviour.then(|| Behaviour::new(self.of_behaviour(), home))
    }

    /// What the detectors over flows and events are told.
    pub fn of_behaviour(&self) -> behaviour::Settings {
        behaviour::Settings {
            pending: self.pending_observations,
            brute_force: self.brute_force,
            dns_tunnel: self.dns_tunnel,
            dga: self.dga,
            beacon: self.beacon,
            exfiltration: self.exfiltration,
            intel: self.intel,
            spoofing: self.spoofing,
            lateral: self.lateral,
            tls_anomaly: self.tls_anomaly,
            slow_http: self.slow_http,
            web_attack: self.web_attack,
            request_flood: self.request_flood,
            odd_flow: self.odd_flow,
            amplification: self.amplification,
            icmp_tunnel: self.icmp_tunnel,
            doh_tunnel: self.doh_tunnel,
            growth: self.growth,
        }
    }

    /// Bytes that the detectors over flows and events come to at most.
    pub fn behaviour_memory(&self) -> usize {
        if self.behaviour { self.of_behaviour().memory() + self.windows.memory() } else { 0 }
    }
}

/// When the model's scores become evidence. Not the operator's choice but the source's: what comes from a capture file
/// must be the same in every run, what comes from a wire comes once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scores {
    /// With the window they lie in, so that the order of all evidence is one and the same in every run.
    WithTheirWindow,
    /// As they come. What the model's decider counts needs no window; what may differ from run to run is the order of
    /// scores of different queues within milliseconds, and so which flow makes its source suspect or is an affair's 10th.
    AtOnce,
}

/// What the merge met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Stats {
    /// Windows decided.
    pub windows: u64,
    /// (entity, window) pairs decided.
    pub entries: u64,
    /// Entries that came behind the watermark of their own queue; not part of any decision.
    pub late: u64,
    /// Entries and scores given up because too many waited.
    pub lost: u64,
    /// Tunnels given up because too many waited: alerts of their windows do not name them.
    pub tunnels_lost: u64,
    /// Entities forgotten by the deciders for want of room.
    pub forgotten: u64,
    /// Flows that a model took for what they cannot carry.
    pub implausible: u64,
    /// Capture time up to which everything has been decided.
    pub watermark: Timestamp,
}

/// How far one queue has come.
#[derive(Clone, Copy)]
struct QueueProgress {
    live: bool,
    watermark: Timestamp,
    /// Moment at which it last gave out what it had counted.
    looked: Timestamp,
    /// Has it sent a watermark since somebody last looked?
    spoke: bool,
    /// How long it has not, by the clock.
    silent_ns: u64,
}

impl QueueProgress {
    fn new(live: bool, watermark: Timestamp) -> QueueProgress {
        QueueProgress { live, watermark, looked: Timestamp(0), spoke: false, silent_ns: 0 }
    }

    fn is_waited_for(&self) -> bool {
        self.live && self.silent_ns < SILENCE_LIMIT_NS
    }
}

/// A live queue says every second how far it has come, frames or none; after this time without a word the others no longer
/// wait for it. Shorter: a machine under load loses parts of windows; longer: a dead queue stops detection for as long.
pub const SILENCE_LIMIT_NS: u64 = 5_000 * MILLISECOND;
/// Tunnels that wait with their windows at most, 200 bytes each.
const SEEN_MAX: usize = 1 << 16;

/// What one look counts at most: a program that was itself stopped for a while must not blame its queues.
const LOOK_LIMIT_NS: u64 = 500 * MILLISECOND;

/// Merges the findings of all queues and decides.
pub struct Merger {
    settings: Settings,
    release: Scores,
    queues: Vec<QueueProgress>,
    looked: Option<Timestamp>,
    /// By start of the window.
    windows: BTreeMap<u64, HashMap<Entity, Counts>>,
    waiting: usize,
    /// By start of the window: in which tunnel a host was seen last, by what it did and by what was done to it.
    seen: BTreeMap<u64, HashMap<Role, SeenIn>>,
    seen_waiting: usize,
    scores: Vec<ScoredFlow>,
    scan: scan::Decider,
    arp: arp::Decider,
    brute_force: brute_force::Decider,
    flood: flood::Decider,
    model: model::Decider,
    /// Detectors over flows and events, where their evidence stands between the others'.
    behaviour: Option<Behaviour>,
    /// Looks at windows that are not over.
    ahead: Option<ahead::Ahead>,
    stats: Stats,
}

impl Merger {
    /// A merge of the queues 0 to `queues` - 1, all of them live.
    pub fn new(queues: usize, settings: Settings) -> Merger {
        Merger {
            queues: vec![QueueProgress::new(true, Timestamp(0)); queues],
            looked: None,
            windows: BTreeMap::new(),
            waiting: 0,
            seen: BTreeMap::new(),
            seen_waiting: 0,
            scores: Vec::new(),
            scan: scan::Decider::new(settings.scan),
            arp: arp::Decider::new(settings.scan),
            brute_force: brute_force::Decider::new(settings.brute_force)
                .leaving_logins_that_are_read(settings.behaviour),
            flood: flood::Decider::new(settings.flood),
            model: model::Decider::new(settings.model),
            behaviour: None,
            ahead: None,
            stats: Stats::default(),
            release: Scores::WithTheirWindow,
            settings,
        }
    }

    /// Judges by other thresholds from now on; what is remembered, and how much may be, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.scan.retune(settings.scan);
        self.arp.retune(settings.scan);
        self.brute_force.retune(settings.brute_force);
        self.flood.retune(settings.flood);
        self.model.retune(settings.model);
        if let Some(behaviour) = &mut self.behaviour {
            behaviour.retune(settings.of_behaviour());
        }
        self.settings = settings;
    }

    /// Lets scores become evidence at another time than with their window.
    pub fn releasing(mut self, release: Scores) -> Merger {
        self.release = release;
        self
    }

    /// Has flows and events looked at too, each second with the windows of that second.
    pub fn with_behaviour(mut self, behaviour: Option<Behaviour>) -> Merger {
        self.behaviour = behaviour;
        self
    }

    /// Flows that ended were not told.
    pub fn untold(&mut self) {
        if let Some(behaviour) = &mut self.behaviour {
            behaviour.untold();
        }
    }

    /// A flow ended.
    pub fn flow(&mut self, flow: &FlowSummary) {
        if let Some(behaviour) = &mut self.behaviour {
            behaviour.flow(flow);
        }
    }

    /// Inspection found something.
    pub fn event(&mut self, head: &EventHead, facts: &[u8]) {
        if let Some(behaviour) = &mut self.behaviour {
            behaviour.event(head, facts);
        }
    }

    /// A host on the link said which address it has.
    pub fn neighbour(&mut self, time: Timestamp, neighbour: &Neighbour) {
        if let Some(behaviour) = &mut self.behaviour {
            behaviour.neighbour(time, neighbour);
        }
    }

    /// What the detectors over flows and events met, where they are here.
    pub fn behaviour_stats(&self) -> Option<behaviour::Stats> {
        self.behaviour.as_ref().map(Behaviour::stats)
    }

    /// Takes one message of `queue` and returns what can be decided now, in order of (time, detector, entity).
    pub fn push(&mut self, queue: QueueId, item: &Up) -> Vec<Evidence> {
        match item {
            Up::Window(entry) => self.add(entry),
            Up::SeenIn(seen) => self.add_seen(*seen),
            Up::Score(scored) if self.release == Scores::AtOnce => {
                return self.model.decide(scored).into_iter().collect();
            }
            Up::Score(scored) => self.add_score(*scored),
            Up::Flow(_) | Up::Living(_) | Up::Census(_) | Up::Event(_) | Up::Neighbour(..) | Up::Proven(..) => {}
            Up::Looked(_, looked) => {
                let progress = self.progress(queue);
                progress.looked = progress.looked.max(*looked);
                (progress.live, progress.spoke, progress.silent_ns) = (true, true, 0);
                let mut out = Vec::new();
                self.look_ahead(*looked, &mut out);
                return out;
            }
            Up::Watermark(_, watermark) => {
                let progress = self.progress(queue);
                progress.watermark = progress.watermark.max(*watermark);
                (progress.live, progress.spoke, progress.silent_ns) = (true, true, 0);
                return self.decide();
            }
            Up::Ended(_) => return self.end(queue),
        }
        Vec::new()
    }

    /// A queue is gone and will send no more; the others no longer wait for it. A later watermark brings it back.
    pub fn end(&mut self, queue: QueueId) -> Vec<Evidence> {
        self.progress(queue).live = false;
        // Without a live queue nothing more can come, except from one that comes back; the windows wait for `finish`.
        if self.queues.iter().any(|queue| queue.live) { self.decide() } else { self.finish() }
    }

    /// Lets the others go on without queues that have said nothing for [`SILENCE_LIMIT_NS`] of the clock; their next
    /// watermark brings them back. To be called a few times a second where frames come live, and never offline: there a
    /// queue may take its time, and what is decided must not depend on the clock.
    pub fn look(&mut self, now: Timestamp) -> Vec<Evidence> {
        let passed = self.looked.map_or(0, |before| now.since(before)).min(LOOK_LIMIT_NS);
        self.looked = Some(now);
        for queue in &mut self.queues {
            queue.silent_ns = if std::mem::take(&mut queue.spoke) { 0 } else { queue.silent_ns.saturating_add(passed) };
        }
        self.decide()
    }

    /// Queues that nobody waits for because they are silent, and for how long they are, nanoseconds.
    pub fn silent(&self) -> impl Iterator<Item = (QueueId, u64)> {
        let left_out = |(index, queue): (usize, &QueueProgress)| {
            (queue.live && !queue.is_waited_for()).then_some((QueueId(index as u16), queue.silent_ns))
        };
        self.queues.iter().enumerate().filter_map(left_out)
    }

    /// Decides everything that waits: the end of a capture.
    pub fn finish(&mut self) -> Vec<Evidence> {
        let mut out = Vec::new();
        self.decide_until(Timestamp(u64::MAX), &mut out);
        out
    }

    /// Moment at which every queue that is waited for had told what it knew, what ends by a time-out aside; never before the
    /// watermark.
    pub fn looked(&self) -> Timestamp {
        let looked = self.queues.iter().filter(|queue| queue.is_waited_for()).map(|queue| queue.looked).min();
        looked.unwrap_or_default().max(self.stats.watermark)
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        let forgotten = [
            self.scan.forgotten(),
            self.arp.forgotten(),
            self.brute_force.forgotten(),
            self.flood.forgotten(),
            self.model.forgotten(),
        ];
        Stats { forgotten: forgotten.iter().sum(), implausible: self.model.implausible(), ..self.stats }
    }

    fn progress(&mut self, queue: QueueId) -> &mut QueueProgress {
        let index = usize::from(queue.0);
        if index >= self.queues.len() {
            // Queues that were added while running; nobody waits for them before they speak.
            let silent = QueueProgress::new(false, self.stats.watermark);
            self.queues.resize(index + 1, silent);
        }
        &mut self.queues[index]
    }

    fn add(&mut self, entry: &WindowEntry) {
        if entry.start.after(WINDOW_NS) <= self.stats.watermark {
            self.stats.late += 1;
            return;
        }
        if let Some(ahead) = &mut self.ahead {
            ahead.counted(entry.entity);
        }
        let window = self.windows.entry(entry.start.0).or_default();
        if let Some(counts) = window.get_mut(&entry.entity) {
            counts.merge(&entry.counts);
        } else if self.waiting < self.settings.pending_entries {
            window.insert(entry.entity, entry.counts);
            self.waiting += 1;
        } else {
            self.stats.lost += 1;
        }
    }

    fn add_seen(&mut self, seen: SeenIn) {
        if seen.start.after(WINDOW_NS) <= self.stats.watermark {
            return; // as late as its window, which is counted
        }
        let (first, second) = Role::of(&seen.entity);
        for role in [Some(first), second].into_iter().flatten() {
            let window = self.seen.entry(seen.start.0).or_default();
            if let Some(known) = window.get_mut(&role) {
                // Of those of one moment one that does not depend on the order in which they come.
                let order = |seen: &SeenIn| (seen.moment, *seen.key.words());
                if order(&seen) > order(known) {
                    *known = seen;
                }
            } else if self.seen_waiting < SEEN_MAX {
                window.insert(role, seen);
                self.seen_waiting += 1;
            } else {
                self.stats.tunnels_lost += 1;
            }
        }
    }

    fn add_score(&mut self, scored: ScoredFlow) {
        if self.scores.len() < self.settings.pending_scores {
            self.scores.push(scored);
        } else {
            self.stats.lost += 1;
        }
    }

    fn decide(&mut self) -> Vec<Evidence> {
        let mut out = Vec::new();
        let reached = self.queues.iter().filter(|queue| queue.is_waited_for()).map(|queue| queue.watermark).min();
        if let Some(reached) = reached
            && reached > self.stats.watermark
        {
            self.decide_until(reached, &mut out);
        }
        out
    }

    fn decide_until(&mut self, reached: Timestamp, out: &mut Vec<Evidence>) {
        self.scores.sort_by(score_order);
        loop {
            let by_count = self.windows.first_key_value().map(|(start, _)| *start);
            let by_score = self.scores.first().map(|scored| scored.time.0 - scored.time.0 % WINDOW_NS);
            let by_behaviour = self.behaviour.as_ref().and_then(Behaviour::next);
            let Some(start) = by_count.into_iter().chain(by_score).chain(by_behaviour).min() else { break };
            if Timestamp(start).after(WINDOW_NS) > reached {
                break;
            }
            self.decide_window(Timestamp(start), out);
        }
        // The end of a capture is no moment: what a queue sends after it is not late.
        if reached.0 != u64::MAX {
            self.stats.watermark = reached;
        }
        if let Some(behaviour) = &mut self.behaviour {
            behaviour.reached(reached);
        }
    }

    fn decide_window(&mut self, start: Timestamp, out: &mut Vec<Evidence>) {
        let first = out.len();
        let window = self.windows.remove(&start.0).unwrap_or_default();
        self.waiting -= window.len();
        self.stats.windows += 1;
        self.stats.entries += window.len() as u64;
        self.decide_counts(start, &Parted::of(window.into_iter()), out);
        self.name_tunnels(start, out.get_mut(first..).unwrap_or_default());
        let end = start.after(WINDOW_NS);
        let due = self.scores.partition_point(|scored| scored.time < end || end.0 == u64::MAX);
        out.extend(self.scores.drain(..due).filter_map(|scored| self.model.decide(&scored)));
        if let Some(behaviour) = &mut self.behaviour {
            behaviour.decide(start, out);
        }
        if let Some(found) = out.get_mut(first..) {
            // Stable: what one decider says of one entity at one moment keeps its order.
            found.sort_by_key(evidence_order);
        }
        self.drop_told_ahead(start, out, first);
    }

    fn decide_counts(&mut self, start: Timestamp, parted: &Parted, out: &mut Vec<Evidence>) {
        self.scan.decide(start, &parted.sources, out);
        self.arp.decide(start, &parted.askers, out);
        self.brute_force.decide(start, &parted.sessions, out);
        self.flood.decide(start, &parted.targets, out);
    }
}

/// What was counted in a window, by what it is of, sorted.
#[derive(Default)]
struct Parted {
    sources: Vec<(u128, Counts)>,
    sessions: Vec<((u128, u128, u16), Counts)>,
    targets: Vec<(u128, Counts)>,
    askers: Vec<(u128, Counts)>,
}

impl Parted {
    fn of(window: impl Iterator<Item = (Entity, Counts)>) -> Parted {
        let mut parted = Parted::default();
        for (entity, counts) in window {
            match entity {
                Entity::Source(address) => parted.sources.push((address, counts)),
                Entity::Session { client, server, port } => parted.sessions.push(((client, server, port), counts)),
                Entity::Target(address) => parted.targets.push((address, counts)),
                Entity::Asker(address) => parted.askers.push((address, counts)),
            }
        }
        parted.sources.sort_unstable_by_key(|(key, _)| *key);
        parted.sessions.sort_unstable_by_key(|(key, _)| *key);
        parted.targets.sort_unstable_by_key(|(key, _)| *key);
        parted.askers.sort_unstable_by_key(|(key, _)| *key);
        parted
    }
}

impl Merger {
    /// Says in which tunnel what was found in a window was seen last, where it was in one.
    fn name_tunnels(&mut self, start: Timestamp, found: &mut [Evidence]) {
        // Where nothing was counted any more, nothing is left of older windows either.
        self.name_tunnels_of(start.0, found);
        while let Some(oldest) = self.seen.first_entry().filter(|oldest| *oldest.key() <= start.0) {
            self.seen_waiting -= oldest.remove().len();
        }
    }

    fn name_tunnels_of(&self, start: u64, found: &mut [Evidence]) {
        let Some(seen) = self.seen.get(&start) else { return };
        for evidence in found {
            if let Some(seen) = Role::of_evidence(evidence).and_then(|role| seen.get(&role)) {
                let tunnel = TunnelRef::new(&seen.key, &seen.outer);
                evidence.summary = format!("{}; seen last in {tunnel}", evidence.summary);
                evidence.tunnel = Some(tunnel);
            }
        }
    }
}

/// A host by its part in what was counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    /// It did something.
    Source(u128),
    /// Something was done to it.
    Target(u128),
}

impl Role {
    fn of(entity: &Entity) -> (Role, Option<Role>) {
        match *entity {
            Entity::Source(address) | Entity::Asker(address) => (Role::Source(address), None),
            Entity::Target(address) => (Role::Target(address), None),
            Entity::Session { client, server, .. } => (Role::Source(client), Some(Role::Target(server))),
        }
    }

    /// Of whom the detector counted: floods by their target, all else by who did it, where that is known.
    fn of_evidence(evidence: &Evidence) -> Option<Role> {
        let number = |address: IpAddr| match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        };
        let target = evidence.target.map(|target| Role::Target(number(target)));
        let source = evidence.source.map(|source| Role::Source(number(source)));
        if evidence.detector == Detector::Flood { target } else { source.or(target) }
    }
}

fn score_order(left: &ScoredFlow, right: &ScoredFlow) -> std::cmp::Ordering {
    let order = |scored: &ScoredFlow| (scored.time, *scored.key.words(), scored.packets, scored.score.to_bits());
    order(left).cmp(&order(right))
}

type Order = (Timestamp, u8, Option<std::net::IpAddr>, Option<std::net::IpAddr>, Option<u16>);

fn evidence_order(evidence: &Evidence) -> Order {
    (evidence.time, evidence.detector as u8, evidence.source, evidence.target, evidence.port)
}

mod ahead;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod tests;
