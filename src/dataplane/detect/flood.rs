//! Floods of SYN, UDP, ICMP and stray TCP: CUSUM per target.
//!
//! *Observer*: per target and second, SYNs against completed handshakes, unanswered UDP, ICMP towards it, and TCP that
//! belongs to no connection, with bitmaps of sources and ports. Packets inside a flow are counted in steps of
//! [`FlowRecord::REPORT_EVERY`].
//!
//! *Decider*: `S = max(0, S + x - mean - slack)`, alarm when `S > limit`; the mean is an EWMA that stands still while
//! alarming (Siris and Papagalou, Globecom 2004), so a flood does not become usual. `x` is built so that popularity is no
//! flood: SYNs less handshakes *completed* (a server with SYN cookies answers every SYN of a flood, so SYN/ACKs alone say
//! little), and by themselves those that were answered and not completed, UDP flows less those that were answered. Volume inside unanswered UDP flows is a sum of its own with a far
//! larger slack: video and measurements are one-way and fast.
//!
//! What it cannot see: floods of complete connections or requests (layer 7), floods inside answered UDP flows, volume alone.

use super::cold::{ColdMap, Touched};
use super::distinct::{self, Estimate, HashKey};
use super::facts::{Facts, protocol};
use super::{Counts, Detector, Entity, Evidence, Peer, Relation, Term, WINDOW_NS};
use crate::dataplane::decode::Endpoint;
use crate::dataplane::flow::{FlowRecord, Signals, TcpState};
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};

/// Cells of a target's counts.
mod cell {
    pub const SYN: usize = 0;
    pub const SYN_ACK: usize = 1;
    pub const COMPLETED: usize = 2;
    pub const STRAY_TCP: usize = 3;
    pub const STRAY_TCP_ANSWERED: usize = 4;
    pub const UDP_NEW: usize = 5;
    pub const UDP_ANSWERED: usize = 6;
    pub const UDP_MORE: usize = 7;
    pub const ICMP: usize = 8;
    /// Events of the sources that fall into each of [`super::SHARES`] groups.
    pub const SHARE: usize = 9;
}

/// Groups that sources are divided into, by a hash: what a group sends is the most that one of its sources can have sent.
/// Two sources share a group in one case of seven.
const SHARES: u64 = 7;

/// Bitmaps of a target's counts.
mod bitmap {
    pub const SOURCES: usize = 0;
    pub const PORTS: usize = 1;
}

/// Packets towards a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Event {
    cell: usize,
    count: u32,
}

impl Event {
    #[inline(always)]
    pub fn of(facts: &Facts<'_>, signals: Signals) -> Option<(Entity, Event)> {
        let event = |cell, count| Some(Event { cell, count });
        let event = match facts.protocol {
            protocol::TCP => {
                if signals.has(Signals::SYN) {
                    event(cell::SYN, 1)
                } else if signals.has(Signals::ANSWERED) {
                    event(if facts.begins_with_syn() { cell::SYN_ACK } else { cell::STRAY_TCP_ANSWERED }, 1)
                } else if signals.has(Signals::NEW) {
                    event(cell::STRAY_TCP, 1)
                } else if signals.has(Signals::MILESTONE)
                    && facts.total_packets() == 4
                    && facts.begins_with_syn()
                    && facts.is_answered()
                    && facts.state() >= TcpState::Established
                {
                    event(cell::COMPLETED, 1)
                } else {
                    None
                }
            }
            protocol::UDP => {
                if signals.has(Signals::NEW) {
                    event(cell::UDP_NEW, 1)
                } else if signals.has(Signals::ANSWERED) {
                    event(cell::UDP_ANSWERED, 1)
                } else if signals.has(Signals::REPORT) && !facts.is_answered() {
                    event(cell::UDP_MORE, FlowRecord::REPORT_EVERY)
                } else {
                    None
                }
            }
            protocol::ICMP | protocol::ICMPV6 => {
                if signals.has(Signals::NEW) {
                    event(cell::ICMP, 1)
                } else if signals.has(Signals::REPORT) {
                    // Of an answered flow half the packets go the other way.
                    event(
                        cell::ICMP,
                        if facts.is_answered() { FlowRecord::REPORT_EVERY / 2 } else { FlowRecord::REPORT_EVERY },
                    )
                } else {
                    None
                }
            }
            _ => None,
        }?;
        facts.is_to_one_host().then_some((Entity::Target(facts.destination.address), event))
    }

    /// Adds the event to the target's counts.
    #[inline(always)]
    pub fn count(self, facts: &Facts<'_>, key: &HashKey, counts: &mut Counts) {
        counts.add(self.cell, self.count);
        if matches!(self.cell, cell::SYN_ACK | cell::COMPLETED | cell::UDP_ANSWERED | cell::STRAY_TCP_ANSWERED) {
            return;
        }
        let port = match facts.protocol {
            protocol::ICMP | protocol::ICMPV6 => 0,
            _ => facts.destination.port,
        };
        let source = key.address(facts.source.address, 0, 14);
        // By other bits than those that the bitmap takes.
        let group = ((source & 0xffff_ffff) * SHARES) >> 32;
        counts.add(cell::SHARE + group as usize, self.count);
        counts.mark(bitmap::SOURCES, source);
        counts.mark(bitmap::PORTS, key.number(u64::from(port)));
        // Drawn by lot among the flows, with its group in the lowest bits: who begins most is most likely drawn. What a flow
        // sends gives it no further ticket.
        let lot = (source ^ u64::from(facts.source.port)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let rank = (lot as u32 & !7) | group as u32;
        let address = facts.source.address;
        let peer = || Peer { rank, address, port, flow: facts.mark(), protocol: facts.protocol };
        counts.offer((rank, address, port), facts.first_seen(), peer);
    }
}

/// Slack and limit of one kind of flood.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cusum {
    /// Packets a second above the mean that are still usual: the floor below which nothing alarms.
    pub slack: f64,
    /// Packets beyond mean and slack that add up to an alarm.
    pub limit: f64,
}

/// Thresholds of the flood detector.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// SYNs without a completed handshake. (ntopng warns from 256 a second.)
    pub syn: Cusum,
    /// SYNs that were answered, and no handshake was completed all the same: there is next to none of it in honest traffic, where
    /// SYNs without an answer may be those to a service that is down.
    pub half_open: Cusum,
    /// New UDP flows that are not answered: what many sources, or one that changes its port, send.
    pub udp: Cusum,
    /// UDP packets inside unanswered flows. (FastNetMon bans from 20 000 packets a second.)
    pub udp_volume: Cusum,
    /// ICMP packets of any kind. (ntopng: 250 a second.)
    pub icmp: Cusum,
    /// TCP packets that begin a flow without a SYN (ACK, RST, FIN floods).
    pub tcp: Cusum,
    /// Weight of the newest second in the mean.
    pub mean_weight: f64,
    /// Distinct sources up to which many ports make it a scan instead of a SYN flood.
    pub scan_sources: f64,
    /// SYNs for each distinct port below which it is a scan instead.
    pub scan_syns_per_port: f64,
    /// Distinct sources within a second from which they are most likely forged; of SYN, ICMP and stray TCP half as much is then told.
    pub spoofed_sources: f64,
    /// Share of the packets from which one of several sources is named as the one that floods, where it is certain that the
    /// share is one source's; else the summary says whose it may be.
    pub dominant_share: f64,
    /// Times the limit at which a flood is of severity 1.
    pub high: f64,
    /// Targets below this rate (packets a second) that are not remembered yet need no memory.
    pub track_rate: f64,
    /// Targets remembered; beyond that the coldest quarter is forgotten.
    pub targets: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            syn: Cusum { slack: 100.0, limit: 400.0 },
            half_open: Cusum { slack: 20.0, limit: 150.0 },
            udp: Cusum { slack: 100.0, limit: 600.0 },
            udp_volume: Cusum { slack: 10_000.0, limit: 10_000.0 },
            icmp: Cusum { slack: 50.0, limit: 400.0 },
            tcp: Cusum { slack: 100.0, limit: 400.0 },
            mean_weight: 0.02,
            scan_sources: 16.0,
            scan_syns_per_port: 10.0,
            spoofed_sources: 64.0,
            dominant_share: 0.8,
            high: 10.0,
            track_rate: 50.0,
            targets: 1 << 16,
        }
    }
}

/// One running sum.
#[derive(Clone, Copy, Default)]
struct Sum {
    level: f64,
    mean: f64,
}

/// Levels above this multiple of the limit are cut, so that an alarm ends soon after its flood.
const LEVEL_CAP: f64 = 4.0;

impl Sum {
    /// One second with `x` packets, after `quiet` seconds with none. Returns whether it alarms, and whether nothing was left
    /// of what came before.
    fn step(&mut self, x: f64, quiet: u64, cusum: &Cusum, weight: f64) -> (bool, bool) {
        let (quiet, slack) = (quiet as f64, cusum.slack);
        self.level = (self.level - quiet * (self.mean + slack)).max(0.0);
        let calm = self.level == 0.0;
        if self.level <= cusum.limit {
            self.mean *= (1.0 - weight).powf(quiet);
        }
        self.level = (self.level + x - self.mean - slack).clamp(0.0, cusum.limit * LEVEL_CAP);
        let alarming = self.level > cusum.limit;
        if !alarming {
            self.mean += weight * (x.max(0.0) - self.mean);
        }
        (alarming, calm)
    }
}

#[derive(Clone, Copy, Default)]
struct State {
    window: Timestamp,
    sums: [Sum; SUMS],
    since: [Since; SUMS],
}

/// What came since the sum began to rise that led to evidence.
#[derive(Clone, Copy, Default)]
struct Since {
    /// Last evidence; zero if there has been none.
    told: Timestamp,
    packets: f64,
    /// The source that was certain to be the one who floods; zero if none was.
    named: u128,
}

/// Silence after which evidence begins anew, as alerts do.
const AFFAIR_NS: u64 = 3600 * SECOND;

impl Since {
    /// `rate` packets more, in the second that begins at `start` and leaves the sum at `level`. It begins anew where the sum
    /// rises from nothing and no evidence is left to be continued.
    fn count(&mut self, start: Timestamp, rate: f64, calm: bool, level: f64) {
        if calm && (self.told == Timestamp::default() || start.since(self.told) > AFFAIR_NS) {
            *self = Since::default();
        }
        if level > 0.0 {
            self.packets += rate;
        }
    }
}

impl Touched for State {
    fn touched(&self) -> Timestamp {
        self.window
    }
}

/// Decides over the merged windows, in time order.
pub struct Decider {
    settings: Settings,
    targets: ColdMap<u128, State>,
}

const SUMS: usize = 6;
/// Two sums may find a flood of UDP, and two one of SYN.
const KINDS: [&str; SUMS] = ["syn", "udp", "icmp", "tcp", "udp", "syn"];

impl Decider {
    /// A decider that has seen nothing.
    pub fn new(settings: Settings) -> Decider {
        Decider { targets: ColdMap::new(settings.targets), settings }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Targets forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.targets.forgotten()
    }

    /// From here on what is decided can be taken back.
    pub fn begin(&mut self) {
        self.targets.begin();
    }

    /// Forgets what was decided since [`Decider::begin`].
    pub fn roll_back(&mut self) {
        self.targets.roll_back();
    }

    /// Takes all targets of the window that begins at `start`, sorted.
    pub fn decide(&mut self, start: Timestamp, targets: &[(u128, Counts)], out: &mut Vec<Evidence>) {
        let settings = self.settings;
        for (target, counts) in targets {
            let rates = rates(counts);
            if self.targets.existing(target).is_none() && rates.iter().all(|rate| *rate < settings.track_rate) {
                continue;
            }
            let state = self.targets.entry(*target, || State { window: start, ..State::default() });
            let quiet = (start.since(state.window) / WINDOW_NS).saturating_sub(1);
            state.window = start;
            let sources = distinct::estimate(&counts.bitmap(bitmap::SOURCES));
            let ports = distinct::estimate(&counts.bitmap(bitmap::PORTS));
            let limits =
                [settings.syn, settings.udp, settings.icmp, settings.tcp, settings.udp_volume, settings.half_open];
            let mut is_syn_told = false;
            let each = state.sums.iter_mut().zip(&mut state.since).zip(rates).zip(limits);
            for (index, (((sum, since), rate), mut cusum)) in each.enumerate() {
                // A port scan is the scan detector's; its SYNs are not held against the target here.
                let scan = matches!(index, SYN | STRAY | HALF_OPEN)
                    && sources <= settings.scan_sources
                    && (ports >= distinct::SATURATED || rate < ports * settings.scan_syns_per_port);
                let rate = if scan { 0.0 } else { rate };
                if sources >= settings.spoofed_sources && matches!(index, SYN | ICMP | STRAY | HALF_OPEN) {
                    cusum = Cusum { slack: cusum.slack * FORGED, limit: cusum.limit * FORGED };
                }
                let usual = sum.mean;
                let (alarming, calm) = sum.step(rate, quiet, &cusum, settings.mean_weight);
                since.count(start, rate, calm, sum.level);
                // SYNs that nobody answered and those that somebody did are one flood.
                if alarming && rate > cusum.slack && !(index == HALF_OPEN && is_syn_told) {
                    is_syn_told |= index == SYN;
                    since.told = start;
                    let who = Who::of(counts, &settings, &mut since.named);
                    let found = Found { index, rate, usual, cusum, level: sum.level, all: since.packets, who };
                    out.push(found.evidence(&settings, *target, counts));
                }
            }
        }
    }
}

const SYN: usize = 0;
const UDP: usize = 1;
const ICMP: usize = 2;
const STRAY: usize = 3;
const UDP_VOLUME: usize = 4;
const HALF_OPEN: usize = 5;
/// Handshakes for each that is completed which are usual.
const UNDER_WAY: f64 = 1.25;
/// Part of slack and limit where sources are most likely forged.
const FORGED: f64 = 0.5;

/// Packets a second that count against the target, by kind; windows are one second.
fn rates(counts: &Counts) -> [f64; SUMS] {
    const _: () = assert!(WINDOW_NS == SECOND, "rates are counts of a window");
    let sum = |cell| f64::from(counts.sum(cell));
    [
        sum(cell::SYN) - sum(cell::COMPLETED),
        sum(cell::UDP_NEW) - sum(cell::UDP_ANSWERED),
        sum(cell::ICMP),
        sum(cell::STRAY_TCP) - sum(cell::STRAY_TCP_ANSWERED),
        sum(cell::UDP_MORE),
        // Of a crowd some are under way at any time.
        sum(cell::SYN_ACK) - sum(cell::COMPLETED) * UNDER_WAY,
    ]
}

struct Found {
    index: usize,
    rate: f64,
    usual: f64,
    cusum: Cusum,
    level: f64,
    /// Packets since the sum began to rise.
    all: f64,
    who: Who,
}

/// What is known of the source drawn.
struct Who {
    /// All packets are its.
    single: bool,
    /// Its share of the packets at most: that of its group.
    share: f64,
    /// No other source is in its group, so the share is its own: all sources have groups of their own.
    exact: bool,
    /// The share is one from which a source is named.
    dominant: bool,
    /// It is the one who floods, now or from an earlier second on: named as the source.
    named: bool,
}

impl Who {
    /// `named` is who was certain before in the same affair: an honest client that comes into his group changes nothing.
    fn of(counts: &Counts, settings: &Settings, named: &mut u128) -> Who {
        let sources = distinct::ones(&counts.bitmap(bitmap::SOURCES));
        let groups = (0..SHARES as usize).filter(|group| counts.sum(cell::SHARE + group) > 0).count();
        let single = sources == 1 && groups == 1;
        let exact = sources as usize == groups;
        let share = dominant(counts);
        let dominant = !single && share >= settings.dominant_share;
        if single || (dominant && exact) {
            *named = counts.peer.address;
        }
        Who { single, share, exact, dominant, named: (single || dominant) && *named == counts.peer.address }
    }
}

/// Events whose sources and ports are marked.
fn marked(counts: &Counts) -> u64 {
    (0..SHARES as usize).map(|group| u64::from(counts.sum(cell::SHARE + group))).sum()
}

/// Share of the packets that came from the group of the source drawn.
fn dominant(counts: &Counts) -> f64 {
    let group = (counts.peer.rank & 7) as usize;
    f64::from(counts.sum(cell::SHARE + group)) / (marked(counts) as f64).max(1.0)
}

impl Found {
    fn evidence(&self, settings: &Settings, target: u128, counts: &Counts) -> Evidence {
        let kind = KINDS.get(self.index).copied().unwrap_or("tcp");
        let peer = Endpoint { address: counts.peer.address, port: counts.peer.port };
        let Who { single, share, exact, dominant, named } = self.who;
        let source = named.then(|| peer.ip());
        let known = |index| Estimate::of(&counts.bitmap(index), marked(counts));
        let (sources, ports) = (known(bitmap::SOURCES), known(bitmap::PORTS));
        let port = (self.index != ICMP && distinct::ones(&counts.bitmap(bitmap::PORTS)) == 1).then_some(peer.port);
        let protocol = match self.index {
            UDP | UDP_VOLUME => protocol::UDP,
            ICMP => counts.peer.protocol,
            _ => protocol::TCP,
        };
        // The one drawn may be one of those who are served.
        let flow = counts.peer.flow.example((counts.peer.address, target)).filter(|flow| flow.protocol == protocol);
        let target = Endpoint { address: target, port: 0 }.ip();
        let most = if exact { "" } else { "at most " };
        let percent = (share * 100.0).floor();
        let from = match source {
            Some(source) if single => source.to_string(),
            Some(source) => format!("{source} ({most}{percent:.0} % of it; {sources} sources in all)"),
            None if dominant => format!("{sources} sources, of which {} sends {most}{percent:.0} %", peer.ip()),
            None => format!("{sources} sources"),
        };
        let forged = source.is_none() && !dominant && sources.value >= settings.spoofed_sources;
        let spoofed = if forged { ", most likely spoofed" } else { "" };
        let at = port.map(|port| format!(" port {port}")).unwrap_or_default();
        let rate = Term { usual: Some(self.usual), ..Term::exact(format!("excess_{kind}_per_second"), self.rate) };
        let mut terms = vec![
            rate.against(Relation::Above, self.cusum.slack),
            Term::exact("cusum_packets", self.level).against(Relation::Above, self.cusum.limit),
            Term::distinct("distinct_sources", sources),
            Term::distinct("distinct_ports", ports),
            Term::exact("packets_since_start", self.all),
        ];
        if dominant {
            let name = if exact { "dominant_source_share" } else { "dominant_source_share_at_most" };
            terms.push(Term::exact(name, share).against(Relation::AtLeast, settings.dominant_share));
        }
        let mut one_way = false;
        if matches!(self.index, SYN | HALF_OPEN) {
            for (name, cell) in [
                ("syn_per_second", cell::SYN),
                ("syn_ack_per_second", cell::SYN_ACK),
                ("completed_per_second", cell::COMPLETED),
            ] {
                terms.push(Term::exact(name, f64::from(counts.sum(cell))));
            }
            one_way = counts.sum(cell::SYN_ACK) == 0;
        }
        let size = self.rate / (self.usual + self.cusum.slack).max(1.0);
        Evidence {
            detector: Detector::Flood,
            kind: kind.to_owned(),
            time: counts.last,
            severity: if self.rate >= settings.high * self.cusum.limit { 1 } else { 2 },
            confidence: (1.0 - 0.5 / size.max(1.0)).clamp(0.5, if one_way { 0.9 } else { 0.99 }),
            source,
            target: Some(target),
            port,
            protocol: Some(protocol),
            summary: format!(
                "{target}{at} is flooded with {:.0} {} a second from {from}{spoofed}; {:.0} since it began",
                self.rate,
                match self.index {
                    SYN => "SYNs that complete no handshake",
                    HALF_OPEN => "handshakes that are answered and never completed",
                    UDP => "new UDP flows that stay unanswered",
                    UDP_VOLUME => "UDP packets of unanswered flows",
                    ICMP => "ICMP packets",
                    _ => "TCP packets of no connection",
                },
                self.all
            ),
            terms,
            flow,
            source_mac: None,
            tunnel: None,
            technique: None,
            window: None,
            row: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evidence of `seconds` seconds, each with so many of these cells, of that many sources.
    fn found(cells: &[(usize, u32)], sources: u64, seconds: u64) -> Vec<(String, u8)> {
        let (mut decider, mut out) = (Decider::new(Settings::default()), Vec::new());
        let mut counts = Counts::ZERO;
        for (cell, count) in cells {
            counts.add(*cell, *count);
        }
        let all: u32 = cells.iter().map(|(_, count)| *count).sum();
        for source in 0..sources {
            counts.mark(bitmap::SOURCES, source.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            counts.add(cell::SHARE + (source % SHARES) as usize, all / sources as u32);
        }
        counts.mark(bitmap::PORTS, 1);
        for second in 0..seconds {
            decider.decide(Timestamp((100 + second) * SECOND), &[(1, counts)], &mut out);
        }
        out.into_iter().map(|one| (one.kind, one.severity)).collect()
    }

    #[test]
    fn what_is_answered_and_never_completed_is_little_in_honest_traffic() {
        const SYN: usize = cell::SYN;
        const ANSWER: usize = cell::SYN_ACK;
        const DONE: usize = cell::COMPLETED;
        for (what, cells, sources, seconds, wanted) in [
            ("sixty a second of one source", &[(SYN, 60), (ANSWER, 60)][..], 1, 8, "syn"),
            ("the same, of many", &[(SYN, 60), (ANSWER, 60)], 200, 8, "syn"),
            ("a service that is down", &[(SYN, 60)], 1, 60, ""),
            ("a busy server", &[(SYN, 900), (ANSWER, 900), (DONE, 890)], 50, 60, ""),
            ("a crowd of which some are under way", &[(SYN, 2500), (ANSWER, 2500), (DONE, 2300)], 200, 1, ""),
            ("a check that opens half", &[(SYN, 15), (ANSWER, 15)], 2, 60, ""),
            ("many, nobody answers", &[(SYN, 300)], 1, 8, "syn"),
            ("pings of a monitor", &[(cell::ICMP, 40)], 1, 60, ""),
            ("pings as fast as it goes", &[(cell::ICMP, 160)], 1, 8, "icmp"),
            ("ends of nothing, from everywhere", &[(cell::STRAY_TCP, 150)], 150, 4, "tcp"),
            ("ends of nothing, from some", &[(cell::STRAY_TCP, 150)], 30, 4, ""),
        ] {
            let told = found(cells, sources, seconds);
            assert_eq!(!told.is_empty(), !wanted.is_empty(), "{what}: {told:?}");
            assert!(told.iter().all(|(kind, severity)| kind == wanted && *severity == 2), "{what}: {told:?}");
            assert!(told.len() <= seconds as usize, "{what}: one flood is told as one");
        }
    }
}
