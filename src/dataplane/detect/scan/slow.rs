//! Scans slower than the horizon, and scans that many sources share: failed contacts counted over hours.
//!
//! - *slow_vertical*: one source, one host, many ports that refused or were silent within a day.
//! - *slow_horizontal*: one source, one service, many hosts of one network (/24, of IPv6 /64) that refused or were silent.
//! - *distributed*: many sources that fail more than they succeed (twice and more within minutes), at contacts of one network of which
//!   each has tried others.
//!
//! Slow means that a window of one second holds one contact, so the peer that a window keeps is the contact: they are
//! remembered one by one, with their times, and an answer of a second is exact. Of a window with several one is counted.
//!
//! What looks so and is none: a monitor or a client whose servers are down tries the same again and again (`slow_repeats`);
//! who goes round many hosts is answered by most (`slow_answered`); peers of file sharing fail everywhere and at any port, so
//! a source without a clear shape is left out; the ports that a server names at run time (broken passive FTP, RPC behind a
//! packet filter) are asked for by applications that repeat their SYN. Payload in UDP that nobody answers is most
//! often a late answer, a stream or a blocked QUIC, and echoes are what a server of DHCP sends before each offer (RFC 2131
//! section 2.2): neither counts here. So slow sweeps by ping alone are not found, nor slow ones across networks,
//! nor scans of many sources of which each is slow.
//!
//! Memory: `slow_records` records of each kind, the coldest quarter is forgotten when they are full.

use super::{Settings, bitmap, cell, failures};
use crate::dataplane::decode::Endpoint;
use crate::dataplane::detect::cold::{ColdMap, Touched};
use crate::dataplane::detect::distinct::{self, Bitmap};
use crate::dataplane::detect::facts::protocol;
use crate::dataplane::detect::{Counts, Detector, Evidence, Peer, Relation, Term};
use crate::units::{SECOND, Timestamp};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Contacts that a record tells apart.
pub const MAX: f64 = 64.0;

/// Sources of a distributed scan count together for so long.
const SPREAD_NS: u64 = 3600 * SECOND;

/// Failures of the last minutes beyond what was answered, from which a source may share a scan: one is anybody's.
const SEVERAL: f64 = 2.0;

/// Ports that servers name at run time: what IANA leaves to that (49152), and Linux (32768).
const DYNAMIC: u16 = 32_768;

/// What was tried, when first and last, seconds, and in how many windows.
#[derive(Clone, Copy)]
struct Try {
    what: u64,
    first: u32,
    last: u32,
    times: u32,
}

/// Failed contacts of one source with one host, or with one network at one service.
#[derive(Clone, Default)]
struct Tried {
    tries: Vec<Try>,
    /// Told when there are so many.
    next: f64,
    touched: Timestamp,
}

/// One source, and a host (then the service is 0) or a network and a service.
type Extent = (u128, u128, u32);

/// Sources that fail at one network.
#[derive(Clone, Copy, Default)]
struct Spread {
    since: Timestamp,
    touched: Timestamp,
    sources: Bitmap,
    contacts: Bitmap,
    hosts: Bitmap,
    ports: Bitmap,
    next: f64,
}

impl Touched for Tried {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Touched for Spread {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// How far a slow scan has got.
struct Reach {
    count: f64,
    span_s: f64,
    repeats: f64,
}

impl Tried {
    fn add(&mut self, what: u64, now: Timestamp, settings: &Settings) -> Reach {
        let second = u32::try_from(now.0 / SECOND).unwrap_or(u32::MAX);
        let horizon = u32::try_from(settings.slow_horizon_s).unwrap_or(u32::MAX);
        self.touched = now;
        self.tries.retain(|one| second.saturating_sub(one.last) < horizon);
        match self.tries.iter_mut().find(|one| one.what == what) {
            Some(one) => (one.last, one.times) = (second, one.times.saturating_add(1)),
            None => {
                if self.tries.len() >= MAX as usize
                    && let Some(oldest) = (0..self.tries.len()).min_by_key(|at| self.tries.get(*at).map(|one| one.last))
                {
                    self.tries.swap_remove(oldest);
                }
                self.tries.push(Try { what, first: second, last: second, times: 1 });
            }
        }
        let count = self.tries.len() as f64;
        let first = self.tries.iter().map(|one| one.first).min().unwrap_or(second);
        let times: f64 = self.tries.iter().map(|one| f64::from(one.times)).sum();
        Reach { count, span_s: f64::from(second.saturating_sub(first)), repeats: times / count.max(1.0) }
    }

    /// Is it told, now that it has got so far?
    fn is_due(&mut self, reach: &Reach, least: f64, settings: &Settings) -> bool {
        if reach.count < least {
            self.next = least;
        }
        let is_slow = reach.span_s >= settings.slow_span_s as f64 && reach.repeats < settings.slow_repeats;
        let is_due = is_slow && reach.count >= self.next.max(least);
        if is_due {
            self.next = 2.0 * reach.count;
        }
        is_due
    }
}

/// See the module.
pub(super) struct Slow {
    settings: Settings,
    tried: ColdMap<Extent, Tried>,
    spread: ColdMap<u128, Spread>,
}

impl Slow {
    pub fn new(settings: Settings) -> Slow {
        let (tried, spread) = (ColdMap::new(settings.slow_records), ColdMap::new(settings.slow_records));
        Slow { settings, tried, spread }
    }

    /// See [`super::Decider::retune`].
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    pub fn forgotten(&self) -> u64 {
        self.tried.forgotten() + self.spread.forgotten()
    }

    pub fn begin(&mut self) {
        self.tried.begin();
        self.spread.begin();
    }

    pub fn roll_back(&mut self) {
        self.tried.roll_back();
        self.spread.roll_back();
    }

    /// A source failed in the window that begins at `start`, and is no scanner by what it did lately (`total`).
    pub fn failed(&mut self, start: Timestamp, source: u128, total: &Counts, latest: &Counts, out: &mut Vec<Evidence>) {
        let settings = self.settings;
        let peer = latest.peer;
        if !is_probe(latest) || has_no_shape(total, &settings) {
            return;
        }
        let service = u32::from(peer.protocol) << 16 | u32::from(peer.port);
        let failed = distinct::estimate(&distinct::without(&total.bitmap(bitmap::FAILED), &total.bitmap(bitmap::OK)));
        let answered = distinct::estimate(&total.bitmap(bitmap::OK));
        let is_asked_for = distinct::ones(&latest.bitmap(bitmap::PATIENT)) > 0 && peer.port >= DYNAMIC;
        if !is_asked_for {
            let tried = self.tried.entry((source, peer.address, 0), Tried::default);
            let reach = tried.add(u64::from(service), start, &settings);
            if tried.is_due(&reach, settings.slow_ports, &settings) {
                out.push(slow(&settings, source, latest, &reach, true));
            }
        }
        if answered < failed + settings.slow_answered {
            let tried = self.tried.entry((source, network(peer.address), service), Tried::default);
            let reach = tried.add(hash(peer.address), start, &settings);
            if tried.is_due(&reach, settings.slow_hosts, &settings) {
                out.push(slow(&settings, source, latest, &reach, false));
            }
        }
        if failed >= answered + SEVERAL {
            out.extend(self.share(start, source, latest, service));
        }
    }

    /// One of many sources.
    fn share(&mut self, start: Timestamp, source: u128, latest: &Counts, service: u32) -> Option<Evidence> {
        let settings = self.settings;
        let address = latest.peer.address;
        let fresh = || Spread { since: start, touched: start, ..Spread::default() };
        let spread = self.spread.entry(network(address), fresh);
        if start.since(spread.since) >= SPREAD_NS {
            *spread = fresh();
        }
        spread.touched = start;
        distinct::insert(&mut spread.sources, hash(source));
        distinct::insert(&mut spread.contacts, hash((address, service)));
        distinct::insert(&mut spread.hosts, hash(address));
        distinct::insert(&mut spread.ports, hash(service));
        let (sources, contacts) = (distinct::estimate(&spread.sources), distinct::estimate(&spread.contacts));
        if sources < settings.spread_sources.max(spread.next) || contacts < settings.spread_contacts * sources {
            return None;
        }
        spread.next = 2.0 * sources;
        let spread = *spread;
        Some(distributed(&settings, start, latest, &spread))
    }
}

/// Is what failed a contact that tells something by itself?
fn is_probe(latest: &Counts) -> bool {
    let all = failures(latest);
    match latest.peer.protocol {
        protocol::TCP => u64::from(latest.sum(cell::ACK_PROBE)) < all,
        protocol::UDP => latest.sum(cell::UNANSWERED_UDP) == 0 && latest.peer.port != 0,
        _ => false,
    }
}

/// Many hosts and many ports at once: peers of file sharing, a lost uplink.
fn has_no_shape(total: &Counts, settings: &Settings) -> bool {
    let (hosts, ports) =
        (distinct::estimate(&total.bitmap(bitmap::HOSTS)), distinct::estimate(&total.bitmap(bitmap::PORTS)));
    hosts >= settings.hosts && hosts < ports * settings.shape_ratio && ports < hosts * settings.shape_ratio
}

/// The /24 of an IPv4 address, the /64 of one of IPv6.
fn network(address: u128) -> u128 {
    if address >> 32 == 0xffff { address & !0xff } else { address & !u128::from(u64::MAX) }
}

/// The same in every run: what a replay finds must not depend on the process.
fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn of_scan(kind: &str, time: Timestamp, peer: &Peer, summary: String, terms: Vec<Term>) -> Evidence {
    Evidence {
        detector: Detector::Scan,
        kind: kind.to_owned(),
        time,
        severity: 3,
        confidence: 0.7,
        source: None,
        target: None,
        port: None,
        protocol: Some(peer.protocol),
        summary,
        terms,
        flow: None,
        source_mac: None,
        tunnel: None,
        technique: Some("T1046".into()),
        window: None,
        row: None,
    }
}

fn slow(settings: &Settings, source: u128, latest: &Counts, reach: &Reach, is_vertical: bool) -> Evidence {
    let ip = |address| Endpoint { address, port: 0 }.ip();
    let peer = &latest.peer;
    let (from, target, port) = (ip(source), ip(peer.address), peer.port);
    let minutes = (reach.span_s / 60.0).round();
    let (kind, name, least, what) = match is_vertical {
        true => ("slow_vertical", "distinct_failed_ports", settings.slow_ports, format!("ports of {target}")),
        false => {
            let what = format!("hosts of the network of {target} at port {port}");
            ("slow_horizontal", "distinct_failed_hosts", settings.slow_hosts, what)
        }
    };
    let summary = format!(
        "{from} slowly tried {} {what} within {minutes} minutes: all refused or were silent, each tried {:.1} times",
        reach.count, reach.repeats
    );
    let terms = vec![
        Term::exact(name, reach.count).against(Relation::AtLeast, least),
        Term::exact("first_to_latest_s", reach.span_s).against(Relation::AtLeast, settings.slow_span_s as f64),
        Term::exact("tries_of_each", (reach.repeats * 10.0).round() / 10.0)
            .against(Relation::AtMost, settings.slow_repeats),
    ];
    Evidence {
        source: Some(from),
        target: is_vertical.then_some(target),
        port: (!is_vertical).then_some(port),
        flow: peer.flow.example((source, peer.address)),
        ..of_scan(kind, latest.last, peer, summary, terms)
    }
}

fn distributed(settings: &Settings, start: Timestamp, latest: &Counts, spread: &Spread) -> Evidence {
    let peer = &latest.peer;
    let target = Endpoint { address: peer.address, port: 0 }.ip();
    let [sources, contacts, hosts, ports] =
        [&spread.sources, &spread.contacts, &spread.hosts, &spread.ports].map(distinct::estimate);
    let minutes = (start.since(spread.since) as f64 / SECOND as f64 / 60.0).ceil().max(1.0);
    let is_one = distinct::ones(&spread.hosts) == 1;
    let where_to = if is_one { target.to_string() } else { format!("{hosts} hosts of the network of {target}") };
    let summary = format!(
        "about {sources} sources share a scan of {where_to}: {contacts} contacts at {ports} ports refused or were silent within \
         {minutes} minutes, and none of the sources was answered more often than not"
    );
    let terms = vec![
        Term::exact("distinct_sources", sources).against(Relation::AtLeast, settings.spread_sources),
        Term::exact("distinct_failed_contacts", contacts)
            .against(Relation::AtLeast, (settings.spread_contacts * sources).round()),
        Term::exact("distinct_failed_hosts", hosts),
        Term::exact("distinct_failed_ports", ports),
    ];
    let target = is_one.then_some(target);
    Evidence { target, confidence: 0.6, ..of_scan("distributed", latest.last, peer, summary, terms) }
}

#[cfg(test)]
mod tests {
    use super::super::Decider;
    use super::*;
    use crate::dataplane::detect::distinct::HashKey;

    const TARGET: u128 = 0xffff_0a00_0900;
    const SCANNER: u128 = 0xffff_0a00_0001;

    /// One contact, and what became of it.
    #[derive(Clone, Copy)]
    struct Contact {
        at_s: u64,
        source: u128,
        to: (u128, u16),
        /// The cell it counts in; `SUCCESS`: it was answered.
        cell: usize,
        is_patient: bool,
    }

    fn contact(at_s: u64, source: u128, to: (u128, u16)) -> Contact {
        Contact { at_s, source, to, cell: cell::UNANSWERED_TCP, is_patient: false }
    }

    /// Kinds of what is found of contacts, each in a window of its own.
    fn found(mut contacts: Vec<Contact>) -> Vec<String> {
        contacts.sort_by_key(|one| (one.at_s, one.source));
        let key = HashKey::new([1, 2, 3, 4]);
        let (mut decider, mut out) = (Decider::new(Settings::default()), Vec::new());
        // Somebody is answered, so it is no one-way tap.
        let mut other = Counts::ZERO;
        other.add(cell::REFUSED_TCP, 1);
        decider.decide(Timestamp(SECOND), &[(7, other)], &mut out);
        for Contact { at_s, source, to: (address, port), cell, is_patient } in contacts {
            let mut counts = Counts::ZERO;
            let udp = matches!(cell, cell::UNANSWERED_UDP | cell::UNANSWERED_UDP_EMPTY);
            let protocol = match cell {
                cell::UNANSWERED_ICMP => protocol::ICMP,
                _ if udp => protocol::UDP,
                _ => protocol::TCP,
            };
            let service = u64::from(protocol) << 16 | u64::from(port);
            counts.add(cell, 1);
            counts.last = Timestamp(at_s * SECOND);
            let pair = key.address(address, service, 10);
            if cell == cell::SUCCESS {
                counts.mark(bitmap::OK, pair);
            } else {
                counts.mark(bitmap::FAILED, pair);
                counts.mark(bitmap::PORTS, key.number(service));
                counts.mark(bitmap::HOSTS, key.address(address, 0, 12));
                if is_patient {
                    counts.mark(bitmap::PATIENT, pair);
                }
                counts.peer = Peer { address, port, protocol, ..Peer::default() };
            }
            let start = Timestamp((at_s + 10_000) * SECOND);
            // The wire is not one-way: others are answered all the time.
            let mut others = Counts::ZERO;
            others.add(cell::SUCCESS, 1);
            decider.decide(start, &[(source, counts), (u128::MAX, others)], &mut out);
        }
        out.into_iter().map(|one| one.kind).collect()
    }

    /// Contacts one after the other, each `pause` seconds.
    fn each(pause: u64, count: u64, of: impl Fn(u64) -> Contact) -> Vec<Contact> {
        (0..count).map(|turn| Contact { at_s: turn * pause, ..of(turn) }).collect()
    }

    #[test]
    fn slow_scans_are_found_over_hours() {
        let ports = |pause| each(pause, 60, |turn| contact(0, SCANNER, (TARGET, 20 + turn as u16)));
        let hosts = |pause| each(pause, 60, |turn| contact(0, SCANNER, (TARGET + u128::from(turn), 445)));
        for pause in [60, 120, 300, 1200] {
            let (vertical, horizontal) = (found(ports(pause)), found(hosts(pause)));
            assert!(matches!(vertical.len(), 1 | 2), "told again when it is twice as much: {vertical:?}");
            assert!(vertical.iter().all(|kind| kind == "slow_vertical"), "a port each {pause} s: {vertical:?}");
            assert!(!horizontal.is_empty(), "a host each {pause} s");
            assert!(horizontal.iter().all(|kind| kind == "slow_horizontal"), "a host each {pause} s: {horizontal:?}");
        }
        // Refused ones, empty UDP, and a workstation's own work between them.
        let refused = ports(300).into_iter().map(|one| Contact { cell: cell::REFUSED_TCP, ..one }).collect();
        assert_eq!(found(refused), ["slow_vertical"; 2]);
        let mut at_work = ports(300);
        at_work.extend(each(60, 300, |turn| Contact {
            cell: cell::SUCCESS,
            ..contact(0, SCANNER, (TARGET + 0x10_0000 + u128::from(turn % 12), 443))
        }));
        assert_eq!(found(at_work), ["slow_vertical"; 2]);
        // Nothing below the threshold, and nothing slower than it within a day.
        assert_eq!(found(each(300, 19, |turn| contact(0, SCANNER, (TARGET, 20 + turn as u16)))), [""; 0]);
        assert_eq!(found(ports(4600)), [""; 0]);
    }

    #[test]
    fn what_fails_all_day_and_is_no_scan_is_quiet() {
        let at = |host: u64, port: u16| (TARGET + u128::from(host), port);
        for (what, contacts) in [
            ("one service that is down", each(30, 2000, |_| contact(0, SCANNER, at(1, 3306)))),
            (
                "a client that looks for a printer",
                each(200, 400, |turn| contact(0, SCANNER, at(turn % 6, [9100, 631, 515, 80, 443][turn as usize % 5]))),
            ),
            ("a monitor of whose hosts thirty are down", {
                let down = |turn: u64| contact(0, SCANNER, at(turn % 30, 22));
                let mut all = each(10, 3000, down);
                all.extend(each(1, 30_000, |turn| Contact {
                    cell: cell::SUCCESS,
                    ..contact(0, SCANNER, at(turn % 200, 22))
                }));
                all
            }),
            ("the same, once an hour, which reaches the others", {
                let mut all = Vec::new();
                for hour in 0..20 {
                    for turn in 0..200 {
                        let cell = if turn % 8 == 0 { cell::UNANSWERED_TCP } else { cell::SUCCESS };
                        all.push(Contact { cell, ..contact(hour * 3600 + turn, SCANNER, at(turn, 22)) });
                    }
                }
                all
            }),
            (
                "a server of DHCP that pings before it offers",
                each(60, 250, |turn| Contact { cell: cell::UNANSWERED_ICMP, ..contact(0, SCANNER, at(turn, 0)) }),
            ),
            (
                "peers of file sharing, some behind one address",
                each(5, 4000, |turn| {
                    let to = if turn % 7 == 0 {
                        at(1, 20_000 + turn as u16)
                    } else {
                        at(turn * 999, 6000 + turn as u16 * 7)
                    };
                    contact(0, SCANNER, to)
                }),
            ),
            (
                "passive FTP that a packet filter stops",
                each(1800, 48, |turn| Contact {
                    is_patient: true,
                    ..contact(0, SCANNER, at(1, 40_000 + turn as u16 * 31))
                }),
            ),
            (
                "QUIC that is blocked",
                each(100, 400, |turn| Contact {
                    cell: cell::UNANSWERED_UDP,
                    ..contact(0, SCANNER, at(turn % 200, 443))
                }),
            ),
        ] {
            let told: Vec<_> = found(contacts).into_iter().filter(|kind| kind.contains("slow")).collect();
            assert_eq!(told, [""; 0], "{what}");
        }
    }

    #[test]
    fn sources_that_share_the_work_are_told_together() {
        let source = |number: u64| SCANNER + 0x100 + u128::from(number);
        let spread = |sources: u64, of: &dyn Fn(u64) -> (u128, u16)| {
            found(each(5, 300, |turn| contact(0, source(turn % sources), of(turn))))
        };
        assert!(spread(40, &|turn| (TARGET, 20 + turn as u16)).starts_with(&["distributed".into()]), "ports of one");
        assert!(
            spread(40, &|turn| (TARGET + u128::from(turn % 250), 445)).starts_with(&["distributed".into()]),
            "hosts"
        );
        // A server that is down, for everybody; hosts that look for their printers; few sources; sources that work.
        assert_eq!(spread(100, &|_| (TARGET, 443)), [""; 0]);
        assert_eq!(spread(100, &|turn| (TARGET + u128::from(turn % 9), 9100)), [""; 0]);
        assert_eq!(spread(9, &|turn| (TARGET, 20 + turn as u16 % 40)), [""; 0]);
        let mut busy = Vec::new();
        for turn in 0..600_u64 {
            busy.push(contact(turn * 5, source(turn % 100), (TARGET + u128::from(turn % 250), 7680)));
            for other in 0..2 {
                let to = (TARGET + 0x10_0000 + u128::from(turn * 2 + other), 443);
                busy.push(Contact { cell: cell::SUCCESS, ..contact(turn * 5 + other, source(turn % 100), to) });
            }
        }
        assert_eq!(found(busy), [""; 0], "hosts that fetch updates from their neighbours");
    }
}
