//! Connections that come back like a clock, as implants report to their server.
//!
//! RITA v5's score (`score`) per host of ours, server outside and port: the latest `RING` connections, 24 hours of counts. A server
//! is its name where TLS tells one, so that addresses may change, else its address; of DNS it is a registered name below which
//! a host asks for other names each time (`beacon/dns`). That score needs six hours: a capture of minutes cannot tell a beacon from a
//! page that refreshes itself.
//!
//! Sooner, twenty small calls at even intervals of 2.5 to 600 seconds are told once, at severity 3, where two hosts at most go there:
//! seven in ten of the intervals within half and one and a half of their median, and nine in ten not early. That leaves room for jitter of
//! 50 % and for sleep, and none for people. Paths and sizes of calls do not matter for it. Requests of HTTP within one connection that is
//! kept open are calls too.
//!
//! Updaters, mail and monitors are beacons by design. What is taken for one of those, and what is said of it:
//!
//! | what | said |
//! | --- | --- |
//! | half of our hosts go there; time, names, addresses, mail, brokers, meters by their protocol; nothing sent, or much | nothing |
//! | it was there when the host was first seen, or the place was: three hosts or more go there | nothing |
//! | the same, of one or two hosts | once, severity 3, from a score of 0.9 and 24 connections on |
//! | new, a day after the first sight of the host, to a place that is new to the network; three hosts go there | severity 3 |
//! | the same, of one or two hosts | severity 2 |
//!
//! A sensor that starts knows nothing of before: its first day is the baseline, and what is an implant by then is severity 3.
//! Not seen: what is asked inside one encrypted or unknown connection that stays open (nothing tells of its packets' times), servers
//! inside, and what goes through a proxy of ours.

mod kept;
mod score;

pub use kept::Kept;

use super::count::{hash, rounded};
use super::observation::{Dns, Flow, Hello, Observation, Visit};
use super::prevalence::{Prevalence, Usual};
use crate::dataplane::decode::Endpoint;
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::dataplane::inspect::Protocol;
use crate::units::{SECOND, Timestamp};
use score::Score;
use serde::{Deserialize, Serialize};

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Score, 0..=1, from which there is evidence (RITA calls 0.7 medium and 0.9 high).
    pub score: f64,
    /// Connections from which there is a score.
    pub connections: f64,
    /// Connections within a day that are evidence whatever their score (RITA: a strobe).
    pub strobe: f64,
    /// Calls at even intervals that are told sooner: of as many without rule two in a hundred pairs have intervals so even.
    pub quick_calls: f64,
    /// Share of the intervals that are near their median then.
    pub quick_near: f64,
    /// Pairs of host and service remembered, some 1.5 KiB each.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { score: 0.8, connections: 4.0, strobe: 86_400.0, quick_calls: 20.0, quick_near: 0.7, pairs: 1 << 13 }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<Key, Pair>(self.pairs)
            + cold::bytes::<(u128, u128, u16), Named>(self.pairs)
            + cold::bytes::<u128, Host>(self.pairs)
            + Prevalence::memory(self.pairs)
    }
}

/// Connections of which interval and size are kept: the latest.
const RING: usize = 64;
/// Bins of the histogram, an hour each.
const HOURS: usize = 24;
const HOUR_NS: u64 = 3600 * SECOND;
/// What was not observed for so long has no duration and no histogram (RITA).
const LEAST_HOURS: f64 = 6.0;
/// What was there within so long of the first sight of a host, or of all, was there before.
const BASELINE_NS: u64 = 24 * HOUR_NS;
/// A clock with jitter is never early: of its intervals nine in ten are at least so much of the median (half of it with a
/// jitter of 50 % and a third of all calls dropped; 0.15 of moments without any rule).
const EARLY_MIN: f64 = 0.3;
/// With more jitter than that intervals and sizes have to be even as they are; of names the second means nothing, for a digest
/// is as long as the next.
const EVEN_MIN: [f64; 2] = [0.62, 0.9];
/// Score and connections from which what was there before is told.
const HIGH: f64 = 0.9;
const STANDING_CONNECTIONS: u64 = 24;
/// And how even its intervals are at least: of visits at random (Poisson) 64 intervals come to 0.53 on average, and some to 0.7.
const STEADY: f64 = 0.75;
/// Hosts from which a destination is no single one's: a program that several have.
const SEVERAL: f64 = 3.0;
/// Bytes sent beyond which a connection is no call home (RITA's scale of sizes), and received: a page, an update.
const LARGE: [f64; 2] = [65_535.0, 262_144.0];
/// Of what is told sooner: nine in ten intervals are at least so much of the median; median of the intervals, seconds; bytes sent and
/// received, with a handshake of TLS among them; and the age of a connection from which a request is one within it.
const QUICK_EARLY: f64 = 0.45;
const QUICK_PERIOD_S: (f64, f64) = (2.5, 600.0);
const QUICK_LARGE: [f64; 2] = [8192.0, 16_384.0];
const WITHIN_NS: u64 = 2 * SECOND;
/// Told again after so long.
const AGAIN_NS: u64 = 24 * HOUR_NS;
/// Stands for DNS where a protocol and a port stand.
const NAMES: (u16, u8) = (53, 255);
/// Stands for requests within a connection where a protocol stands.
const WITHIN: u8 = 254;

/// A host, a server or the hash of its name, port and protocol.
type Key = (u128, u128, u16, u8);

/// The name under which a host knows a server.
struct Named {
    name: u64,
    touched: Timestamp,
}

/// When a host was seen first and last.
struct Host(Timestamp, Timestamp);

impl Touched for Named {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Touched for Host {
    fn touched(&self) -> Timestamp {
        self.1
    }
}

/// A host and a service.
struct Pair {
    first: Timestamp,
    last: Timestamp,
    count: u64,
    /// Begin and bytes sent and received of the latest connections, oldest first from `next` on.
    ring: [(Timestamp, [u32; 2]); RING],
    next: usize,
    /// Connections by hour, of the hours up to `hour`.
    hours: [u32; HOURS],
    hour: u64,
    /// Looked at again from so many connections on, or in the next hour.
    due: u64,
    /// Told at this moment, with this severity.
    told: Option<(Timestamp, u8)>,
}

impl Touched for Pair {
    fn touched(&self) -> Timestamp {
        self.last
    }
}

impl Pair {
    fn new(began: Timestamp) -> Pair {
        Pair {
            first: began,
            last: began,
            count: 0,
            ring: [(Timestamp(0), [0; 2]); RING],
            next: 0,
            hours: [0; HOURS],
            hour: began.0 / HOUR_NS,
            due: 0,
            told: None,
        }
    }

    /// Counts a connection; `true`: a new hour has begun.
    fn add(&mut self, began: Timestamp, bytes: [u64; 2]) -> bool {
        (self.first, self.last) = (self.first.min(began), self.last.max(began));
        self.count += 1;
        if let Some(slot) = self.ring.get_mut(self.next % RING) {
            *slot = (began, bytes.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX)));
        }
        self.next = (self.next + 1) % RING;
        let hour = began.0 / HOUR_NS;
        let is_new = hour > self.hour;
        for passed in 1..=hour.saturating_sub(self.hour).min(HOURS as u64) {
            self.hours[((self.hour + passed) % HOURS as u64) as usize] = 0;
        }
        self.hour = self.hour.max(hour);
        // One that ended late may have begun in an hour that is over, but not forgotten.
        if self.hour - hour.min(self.hour) < HOURS as u64 {
            self.hours[(hour % HOURS as u64) as usize] += 1;
        }
        is_new
    }

    /// Counts of the hours since `begin`, oldest first, the 24 latest.
    fn bins(&self, begin: Timestamp) -> Vec<u32> {
        let from = (begin.0 / HOUR_NS).max((self.hour + 1).saturating_sub(HOURS as u64));
        (from..=self.hour).map(|hour| self.hours[(hour % HOURS as u64) as usize]).collect()
    }

    /// Connections of the last day.
    fn in_a_day(&self) -> u64 {
        self.hours.iter().map(|count| u64::from(*count)).sum()
    }
}

/// What a pair is to the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// It or its place was there before.
    Before,
    /// Both are new.
    New,
}

/// A connection, or a question, as it counts.
struct Call<'a> {
    key: Key,
    ends: (Endpoint, Endpoint),
    began: Timestamp,
    bytes: [u64; 2],
    usual: Usual,
    /// The registered name below which is asked.
    apex: Option<&'a str>,
}

/// The detector.
pub struct Beacon {
    settings: Settings,
    pairs: ColdMap<Key, Pair>,
    named: ColdMap<(u128, u128, u16), Named>,
    names: Prevalence,
    hosts: ColdMap<u128, Host>,
    observed_since: Option<Timestamp>,
}

impl Beacon {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Beacon {
        Beacon {
            pairs: ColdMap::new(settings.pairs),
            named: ColdMap::new(settings.pairs),
            names: Prevalence::new(settings.pairs),
            hosts: ColdMap::new(settings.pairs),
            settings,
            observed_since: None,
        }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Pairs forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.pairs.forgotten()
    }

    /// A handshake of a host of ours with the outside: under which name it knows the server.
    pub fn hello(&mut self, seen: &Observation, hello: &Hello) {
        let Some(name) = hello.name.as_deref() else { return };
        let key = (hello.client.address, hello.server.address, hello.server.port);
        let (name, touched) = (hash(name), seen.time);
        *self.named.entry(key, || Named { name, touched }) = Named { name, touched };
    }

    /// A connection of a host of ours to a server outside; `usual`: how many go there.
    pub fn observe(&mut self, seen: &Observation, flow: &Flow, usual: &Usual, out: &mut Vec<Evidence>) {
        let now = flow.began;
        self.observed_since.get_or_insert(now);
        let host = self.hosts.entry(flow.client.address, || Host(now, now));
        host.1 = host.1.max(now);
        // A call says something.
        let [sent, _] = flow.bytes;
        if !flow.is_new || sent == 0 || comes_back_by_design(flow.application) {
            return;
        }
        let (client, server, port) = (flow.client.address, flow.server.address, flow.server.port);
        let name = self.named.existing(&(client, server, port)).map(|named| named.name);
        let (place, usual) = match name {
            Some(name) => (u128::from(name), self.names.note(client, name.into(), now)),
            None => (server, *usual),
        };
        let (key, ends) = ((client, place, port, flow.protocol), (flow.client, flow.server));
        out.extend(self.call(seen, &Call { key, ends, began: now, bytes: flow.bytes, usual, apex: None }));
    }

    /// A question of a host for a name that it never asked for, below a registered one of which it asks for others each time.
    pub fn fresh_name(&mut self, seen: &Observation, dns: &Dns, apex: &str, usual: &Usual, out: &mut Vec<Evidence>) {
        let (client, now) = (dns.client.address, seen.time);
        self.observed_since.get_or_insert(now);
        let host = self.hosts.entry(client, || Host(now, now));
        host.1 = host.1.max(now);
        let (port, protocol) = NAMES;
        let (key, ends) = ((client, hash(apex).into(), port, protocol), (dns.client, dns.server));
        let bytes = [dns.name.len() as u64, 0];
        out.extend(self.call(seen, &Call { key, ends, began: now, bytes, usual: *usual, apex: Some(apex) }));
    }

    /// A request of a host of ours to a server outside: of a connection that was there before, it is a call of its own.
    pub fn visit(&mut self, seen: &Observation, visit: &Visit, usual: &Usual, out: &mut Vec<Evidence>) {
        if seen.origin.age_ns(seen.time) < WITHIN_NS {
            return;
        }
        let (client, server) = (visit.client, visit.server);
        let key = (client.address, server.address, server.port, WITHIN);
        let bytes = [1, visit.length];
        out.extend(
            self.call(seen, &Call { key, ends: (client, server), began: seen.time, bytes, usual: *usual, apex: None }),
        );
    }

    fn call(&mut self, seen: &Observation, call: &Call) -> Option<Evidence> {
        let Call { key, began, bytes, usual, .. } = call;
        let (.., protocol) = key;
        let settings = self.settings;
        let standing = self.standing(call);
        let pair = self.pairs.entry(*key, || Pair::new(*began));
        let is_new_hour = pair.add(*began, *bytes);
        let strobes = pair.in_a_day() as f64 >= settings.strobe;
        let is_due = pair.count >= pair.due || is_new_hour || strobes;
        if (pair.count as f64) < settings.connections || !is_due || usual.is_popular() {
            return None;
        }
        // A quarter more, or the next hour.
        pair.due = pair.count + (pair.count / 4).max(1);
        let is_long = strobes || pair.last.since(pair.first) >= LEAST_HOURS as u64 * HOUR_NS;
        if !is_long && (pair.count as f64) < settings.quick_calls {
            return None;
        }
        let score = Score::of(pair);
        if pair.told.is_none() && call.apex.is_none() && !strobes && score.is_quick(call, &settings) {
            pair.told = Some((pair.last, 3));
            return Some(quick(seen, call, pair, &score, &settings));
        }
        if !is_long || *protocol == WITHIN {
            return None;
        }
        let is_large = score.bytes.iter().zip(LARGE).any(|(bytes, large)| *bytes > large);
        let is_shared = usual.clients >= SEVERAL;
        let severity = match standing {
            _ if strobes => 2,
            Standing::New if is_shared => 3,
            Standing::New => 2,
            Standing::Before if is_shared || pair.count < STANDING_CONNECTIONS || score.total() < HIGH => return None,
            // Sizes, days and hours are even of whatever goes on for long; of what was there before the intervals have to be, too.
            Standing::Before if call.apex.is_none() && score.intervals < STEADY => return None,
            Standing::Before => 3,
        };
        let is_news = match pair.told {
            None => true,
            // What was there before is told once.
            Some(_) if standing == Standing::Before && !strobes => false,
            Some((at, told)) => pair.last.since(at) >= AGAIN_NS || severity < told,
        };
        let is_even = score.early >= EARLY_MIN || call.apex.is_none() && score.is_even(EVEN_MIN);
        let is_clock = score.total() >= settings.score && is_even && !is_large;
        if !(strobes || is_clock) || !is_news {
            return None;
        }
        pair.told = Some((pair.last, severity));
        Some(evidence(seen, call, pair, &Case { score, strobes, severity, standing }, &settings))
    }

    /// The pair's own age tells as far as it is known, the place's where the pair was forgotten.
    fn standing(&mut self, call: &Call) -> Standing {
        let Call { key, began, usual, .. } = call;
        let host = self.hosts.existing(&key.0).map_or(*began, |host| host.0);
        let since = self.pairs.existing(key).map_or(*began, |pair| pair.first);
        let place = Timestamp(began.0.saturating_sub(usual.age_ns));
        let observed = self.observed_since.unwrap_or(*began);
        let is_new = since.since(host) >= BASELINE_NS && place.since(observed) >= BASELINE_NS;
        if is_new { Standing::New } else { Standing::Before }
    }
}

/// Protocols of programs that come back by themselves, all of them.
fn comes_back_by_design(application: Protocol) -> bool {
    use Protocol::{BitTorrent, Dhcp, Dns, Imap, Mdns, Mqtt, Ntp, Pop3, Snmp, Ssdp, Stun};
    matches!(application, BitTorrent | Dhcp | Dns | Imap | Mdns | Mqtt | Ntp | Pop3 | Snmp | Ssdp | Stun)
}

impl Score {
    /// Small calls at even intervals, of one or two hosts.
    fn is_quick(&self, call: &Call, settings: &Settings) -> bool {
        let (shortest, longest) = QUICK_PERIOD_S;
        self.calls as f64 >= settings.quick_calls
            && self.near >= settings.quick_near
            && self.early >= QUICK_EARLY
            && (shortest..=longest).contains(&self.period_s)
            && self.bytes.iter().zip(QUICK_LARGE).all(|(bytes, large)| *bytes <= large)
            && call.usual.clients < SEVERAL
    }
}

fn quick(seen: &Observation, call: &Call, pair: &Pair, score: &Score, settings: &Settings) -> Evidence {
    let (client, server, port) = (call.ends.0.ip(), call.ends.1.ip(), call.ends.1.port);
    let (.., protocol) = call.key;
    let how = if protocol == WITHIN { "asks, within a connection that it keeps open," } else { "comes back to" };
    Evidence {
        severity: 3,
        confidence: (0.5 * (score.near + score.early)).clamp(0.3, 0.9),
        source: Some(client),
        target: Some(server),
        port: Some(port),
        summary: format!(
            "{client} {how} {server} port {port} about every {:.0} seconds, {} times within {:.0} minutes: {:.0} % of the latest \
             intervals are within half and one and a half of that, and hardly any other host goes there",
            score.period_s,
            pair.count,
            (pair.last.since(pair.first) as f64 / (60 * SECOND) as f64).ceil(),
            score.near * 100.0,
        ),
        terms: vec![
            Term::exact("intervals_near_median_share", rounded(score.near))
                .against(Relation::AtLeast, settings.quick_near),
            Term::exact("interval_earliest_tenth_share", rounded(score.early)).against(Relation::AtLeast, QUICK_EARLY),
            Term::exact("connections", score.calls as f64).against(Relation::AtLeast, settings.quick_calls),
            Term::exact("interval_median_s", score.period_s.round()),
            Term::exact("size_evenness", rounded(score.sizes)),
            Term::exact("hosts_that_go_there", call.usual.clients),
            Term::exact("hosts_seen", call.usual.hosts),
        ],
        technique: Some("T1071".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::Beacon, "beacon")
    }
}

/// What an alert tells of a pair.
struct Case {
    score: Score,
    strobes: bool,
    severity: u8,
    standing: Standing,
}

fn evidence(seen: &Observation, call: &Call, pair: &Pair, case: &Case, settings: &Settings) -> Evidence {
    let Case { score, strobes, severity, standing } = case;
    let (count, period, usual) = (pair.count, score.period_s, &call.usual);
    let others = match usual.clients {
        clients if clients < 2.0 => "no other host goes there".to_owned(),
        clients => format!("{clients} hosts go there"),
    };
    let why = match standing {
        Standing::New => format!("new to the network {:.0} hours ago, {others}", age_h(pair, usual)),
        Standing::Before => format!("{others}; it was there from the first day on, as an updater's would be"),
    };
    // Score and connections from which it is told.
    let least = match standing {
        Standing::Before if !strobes => {
            (HIGH.max(settings.score), settings.connections.max(STANDING_CONNECTIONS as f64))
        }
        _ => (settings.score, settings.connections),
    };
    let (client, server, port) = (call.ends.0.ip(), call.ends.1.ip(), call.ends.1.port);
    let does = match call.apex {
        Some(apex) => format!("asks for a new name below {apex}"),
        None => format!("comes back to {server} port {port}"),
    };
    let summary = if *strobes {
        format!("{client} made {} connections to {server} port {port} within a day", pair.in_a_day())
    } else {
        format!("{client} {does} about every {period:.0} seconds, {count} times so far, like a clock; {why}")
    };
    Evidence {
        severity: *severity,
        confidence: score.total().clamp(0.0, 1.0),
        source: Some(client),
        target: Some(server),
        port: Some(port),
        summary,
        terms: vec![
            Term::exact("beacon_score", rounded(score.total())).against(Relation::AtLeast, least.0),
            match standing {
                Standing::Before if call.apex.is_none() => {
                    Term::exact("interval_evenness", rounded(score.intervals)).against(Relation::AtLeast, STEADY)
                }
                _ => Term::exact("interval_evenness", rounded(score.intervals)),
            },
            Term::exact("size_evenness", rounded(score.sizes)),
            Term::exact("duration_share", rounded(score.duration)),
            Term::exact("hours_evenness", rounded(score.hours)),
            Term::exact("interval_median_s", score.period_s.round()),
            Term::exact("interval_earliest_tenth_share", rounded(score.early)),
            Term::exact("connections", pair.count as f64).against(Relation::AtLeast, least.1),
            Term::exact("hosts_that_go_there", usual.clients),
            Term::exact("hosts_seen", usual.hosts),
            Term::exact("destination_known_h", age_h(pair, usual).round()),
        ],
        technique: Some(if call.apex.is_some() { "T1071.004".into() } else { "T1071".into() }),
        flow: seen.origin.flow(true),
        ..seen.evidence(
            Detector::Beacon,
            if *strobes {
                "strobe"
            } else if call.apex.is_some() {
                "dns"
            } else {
                "beacon"
            },
        )
    }
}

/// Hours for which the place is known.
fn age_h(pair: &Pair, usual: &Usual) -> f64 {
    usual.age_ns.max(pair.last.since(pair.first)) as f64 / HOUR_NS as f64
}

#[cfg(test)]
mod tests;
