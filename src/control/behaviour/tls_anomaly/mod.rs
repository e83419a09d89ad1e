//! TLS that is not what browsers and known services speak.
//!
//! - *odd_server*: a server outside that proves nobody's identity (self-signed, ended, or for another name) and shows two more risks in
//!   the same handshake, of those that nDPI names: old version, weak cipher, no name or an address for one, odd ALPN, a certificate valid for more than 13 months, an odd port. One risk alone is any appliance.
//! - *unusual_hour*: two of five numbers of a host's hour beyond its own baseline of the hour (Slips' HTTPS anomalies): connections,
//!   servers, servers that it never went to, new client fingerprints (JA3), mean bytes with servers that it knows. Told when the
//!   hour is over; one alone is any new program.
//!
//! Servers that half of our hosts use are popular and not told. Not seen: certificates of TLS 1.3, anything behind a proxy of ours.

#[cfg(test)]
mod tests;

use super::adaptive::{self, Baseline, Mode, Verdict};
use super::count::{Distinct, hash, rounded};
use super::observation::{Flow, Hello, Observation};
use super::prevalence::{Usual, hexadecimal, number};
use crate::control::inventory::suite_problem;
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Risks of one handshake, one of them about the server's identity.
    pub risks: f64,
    /// Numbers of an hour that are beyond their baselines.
    pub numbers: f64,
    /// The baselines.
    pub baseline: adaptive::Settings,
    /// Hosts remembered, some 15 KiB each.
    pub hosts: usize,
    /// Pairs of host and server remembered.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { risks: 3.0, numbers: 2.0, baseline: adaptive::Settings::default(), hosts: 1 << 10, pairs: 1 << 13 }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<u128, Host>(self.hosts)
            + self.hosts * NUMBERS.len() * Baseline::HEAP_BYTES
            + cold::bytes::<(u128, u128, u16), Pair>(self.pairs)
    }
}

const HOUR_NS: u64 = 3600 * SECOND;
/// Told again after so long.
const AGAIN_NS: u64 = 24 * HOUR_NS;
/// Hours of silence that are learnt as such.
const SILENCE_H: u64 = 168;
/// Longest validity that browsers take, days (CA/Browser Forum, ballot SC31).
const VALID_DAYS: u64 = 398;
/// The five numbers, and what each must come to before it is unusual at all.
const NUMBERS: [(&str, f64); 5] = [
    ("tls_connections", 20.0),
    ("servers", 10.0),
    ("new_servers", 5.0),
    ("new_fingerprints", 3.0),
    ("mean_bytes_with_known_servers", 100_000.0),
];
const FLOWS: usize = 0;
const SERVERS: usize = 1;
const NEW_SERVERS: usize = 2;
const FINGERPRINTS: usize = 3;
const BYTES: usize = 4;

/// Ports on which TLS is usual (IANA service names, and what products took beside them).
const PORTS: [u16; 36] = [
    21, 25, 110, 143, 389, 443, 465, 563, 587, 636, 853, 989, 990, 993, 995, 1433, 2376, 3269, 3306, 3389, 4433, 4443,
    5061, 5223, 5228, 5349, 5432, 5671, 6443, 6514, 6697, 8443, 8883, 9001, 9443, 10443,
];
/// Names of ALPN in use (IANA, TLS ALPN protocol IDs), by their beginnings.
const ALPNS: [&str; 26] = [
    "h2",
    "h3",
    "http/",
    "hq-",
    "spdy/",
    "imap",
    "pop3",
    "smtp",
    "submission",
    "ftp",
    "managesieve",
    "stun",
    "turn",
    "webrtc",
    "c-webrtc",
    "xmpp",
    "coap",
    "mqtt",
    "acme-tls/",
    "dot",
    "doq",
    "ntske/",
    "irc",
    "nnrp",
    "tds/",
    "postgresql",
];

/// A risk of a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Risk {
    /// Name of its term.
    name: &'static str,
    /// In words.
    words: &'static str,
    /// It is about who the server is.
    is_identity: bool,
}

const fn risk(name: &'static str, words: &'static str, is_identity: bool) -> Risk {
    Risk { name, words, is_identity }
}

/// What is wrong with a handshake (nDPI's risks 006 to 010, 012, 015, 024, 031, 032, 052).
fn risks(hello: &Hello, now: Timestamp) -> Vec<Risk> {
    let now_s = now.0 / SECOND;
    let certificate = hello.valid.map(|(begin, end)| (begin, end, hello.is_self_signed));
    let is_old = matches!(hello.version, 0x0002 | 0x0300..=0x0302 | 0xfeff);
    let is_address = hello.name.as_ref().is_some_and(|name| name.parse::<std::net::IpAddr>().is_ok());
    let odd_alpn = |name: &str| !ALPNS.iter().any(|known| name.starts_with(known));
    let is_long = certificate.is_some_and(|(begin, end, _)| end.saturating_sub(begin) > VALID_DAYS * 86_400);
    [
        (certificate.is_some_and(|(.., own)| own), risk("self_signed", "a certificate that it signed itself", true)),
        (
            certificate.is_some_and(|(_, end, _)| end < now_s),
            risk("certificate_ended", "a certificate that has ended", true),
        ),
        (hello.is_mismatch, risk("other_name", "a certificate for another name", true)),
        (is_old, risk("old_version", "an old version", false)),
        (suite_problem(hello.cipher).is_some(), risk("weak_cipher", "a weak cipher", false)),
        (hello.name.is_none() && !hello.hides_name, risk("no_name", "no server name", false)),
        (is_address, risk("address_for_name", "an address for a server name", false)),
        (hello.alpn.as_deref().is_some_and(odd_alpn), risk("odd_alpn", "an unknown protocol name", false)),
        (is_long, risk("long_validity", "a certificate valid for more than 13 months", false)),
        (!PORTS.contains(&hello.server.port), risk("odd_port", "a port that is unusual for TLS", false)),
    ]
    .into_iter()
    .filter_map(|(holds, risk)| holds.then_some(risk))
    .collect()
}

/// A host and a server.
struct Pair {
    touched: Timestamp,
    told: Option<Timestamp>,
}

/// A host and its hours.
struct Host {
    /// Servers that it went to, some thousands, and its fingerprints.
    known: Distinct<32>,
    prints: Distinct<4>,
    hour: u64,
    servers: Distinct<8>,
    /// Those that it never went to before.
    fresh: Distinct<8>,
    counts: [f64; 5],
    /// Bytes and number of flows with servers that it knew.
    bytes: (u64, u64),
    baselines: [Baseline; 5],
    touched: Timestamp,
}

impl Touched for Pair {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Touched for Host {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Host {
    fn new(hour: u64) -> Host {
        Host {
            known: Distinct::default(),
            prints: Distinct::default(),
            hour,
            servers: Distinct::default(),
            fresh: Distinct::default(),
            counts: [0.0; 5],
            bytes: (0, 0),
            baselines: Default::default(),
            touched: Timestamp(hour * HOUR_NS),
        }
    }

    /// Judges the hour that is over, and lets it teach; silence teaches too.
    fn turn_to(&mut self, hour: u64, settings: &adaptive::Settings) -> Vec<(usize, f64, Verdict)> {
        let mut found = Vec::new();
        if hour <= self.hour {
            return found;
        }
        self.counts[SERVERS] = self.servers.estimate();
        self.counts[BYTES] = self.bytes.0 as f64 / self.bytes.1.max(1) as f64;
        for (index, ((baseline, count), (_, least))) in
            self.baselines.iter_mut().zip(self.counts).zip(NUMBERS).enumerate()
        {
            let verdict = baseline.learn(settings, self.hour, count);
            if verdict.is_flagged && verdict.mode != Mode::Building && count >= least {
                found.push((index, count, verdict));
            }
            for silent in (self.hour + 1..hour).take(SILENCE_H as usize) {
                baseline.learn(settings, silent, 0.0);
            }
        }
        (self.hour, self.counts, self.bytes) = (hour, [0.0; 5], (0, 0));
        (self.servers, self.fresh) = (Distinct::default(), Distinct::default());
        found
    }
}

/// What is known of a host as it is written down.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Kept {
    address: String,
    hour: u64,
    known: Vec<u64>,
    prints: Vec<u64>,
    baselines: Vec<Baseline>,
    touched: Timestamp,
}

impl Kept {
    /// `None`: this program did not write it.
    fn read(self) -> Option<(u128, Host)> {
        let known = Distinct::of_words(&self.known)?;
        let prints = Distinct::of_words(&self.prints)?;
        let baselines: [Baseline; 5] = self.baselines.try_into().ok()?;
        // An hour that nobody can mean would be learnt as weeks of silence.
        let is_sound = baselines.iter().all(Baseline::is_sound) && self.hour <= u64::MAX / HOUR_NS;
        let host =
            Host { known, prints, baselines, touched: self.touched, ..Host::new(if is_sound { self.hour } else { 0 }) };
        number(&self.address).filter(|_| is_sound).map(|address| (address, host))
    }
}

/// The detector.
pub struct TlsAnomaly {
    settings: Settings,
    hosts: ColdMap<u128, Host>,
    pairs: ColdMap<(u128, u128, u16), Pair>,
}

impl TlsAnomaly {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> TlsAnomaly {
        TlsAnomaly { hosts: ColdMap::new(settings.hosts), pairs: ColdMap::new(settings.pairs), settings }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// What was forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.hosts.forgotten() + self.pairs.forgotten()
    }

    /// What shall outlive a restart: baselines, and what each host knew. The hour that is not over begins anew.
    pub fn snapshot(&self) -> Vec<Kept> {
        let of = |(address, host): (u128, &Host)| Kept {
            address: hexadecimal(address),
            hour: host.hour,
            known: host.known.words().to_vec(),
            prints: host.prints.words().to_vec(),
            baselines: host.baselines.to_vec(),
            touched: host.touched,
        };
        self.hosts.sorted().into_iter().map(of).collect()
    }

    /// Goes on from what was written; `false`: some of it is not what this program writes, and is left out.
    pub fn restore(&mut self, kept: Vec<Kept>) -> bool {
        let mut sound = true;
        for one in kept {
            match one.read() {
                Some((address, host)) => self.hosts.put(address, host),
                None => sound = false,
            }
        }
        sound
    }

    /// The host, in the hour of what was seen; what it did in the hour before is judged.
    fn host(&mut self, seen: &Observation, address: u128, out: &mut Vec<Evidence>) -> &mut Host {
        let hour = seen.told.0 / HOUR_NS;
        let settings = self.settings;
        let host = self.hosts.entry(address, || Host::new(hour));
        host.touched = host.touched.max(seen.told);
        let found = host.turn_to(hour, &settings.baseline);
        if found.len() as f64 >= settings.numbers {
            out.push(unusual(seen, address, &found, &settings));
        }
        host
    }

    /// A handshake of a host of ours with a server outside; `usual`: how many go there.
    pub fn hello(&mut self, seen: &Observation, hello: &Hello, usual: &Usual, out: &mut Vec<Evidence>) {
        // Nobody answered, or what was said is not known.
        if hello.version == 0 {
            return;
        }
        let host = self.host(seen, hello.client.address, out);
        let server = hash((hello.server.address, hello.server.port));
        host.counts[FLOWS] += 1.0;
        host.servers.insert(server);
        if host.known.insert(server) {
            host.fresh.insert(server);
            host.counts[NEW_SERVERS] += 1.0;
        }
        if let Some(ja3) = &hello.ja3 {
            host.counts[FINGERPRINTS] += f64::from(u8::from(host.prints.insert(hash(ja3))));
        }
        let risks = risks(hello, seen.time);
        if (risks.len() as f64) < self.settings.risks
            || !risks.iter().any(|risk| risk.is_identity)
            || usual.is_popular()
        {
            return;
        }
        let key = (hello.client.address, hello.server.address, hello.server.port);
        let pair = self.pairs.entry(key, || Pair { touched: seen.time, told: None });
        pair.touched = pair.touched.max(seen.time);
        if pair.told.is_none_or(|at| seen.time.since(at) >= AGAIN_NS) {
            pair.told = Some(seen.time);
            out.push(odd(seen, hello, &risks, usual, &self.settings));
        }
    }

    /// A flow of TLS or QUIC of a host of ours with a server outside.
    pub fn flow(&mut self, seen: &Observation, flow: &Flow, out: &mut Vec<Evidence>) {
        let server = hash((flow.server.address, flow.server.port));
        let host = self.host(seen, flow.client.address, out);
        // What is new in this hour was told by its handshake, which is before.
        if !host.fresh.holds(server) {
            host.bytes.0 = host.bytes.0.saturating_add(flow.bytes.iter().sum());
            host.bytes.1 += u64::from(flow.is_new);
        }
    }
}

fn odd(seen: &Observation, hello: &Hello, risks: &[Risk], usual: &Usual, settings: &Settings) -> Evidence {
    let (client, server, port) = (hello.client.ip(), hello.server.ip(), hello.server.port);
    let words: Vec<&str> = risks.iter().map(|risk| risk.words).collect();
    let name = hello.name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
    let least = Term::exact("risks", risks.len() as f64).against(Relation::AtLeast, settings.risks);
    let each = risks.iter().map(|risk| Term::exact(risk.name, 1.0));
    Evidence {
        severity: 3,
        confidence: (0.2 * risks.len() as f64).clamp(0.3, 0.9),
        source: Some(client),
        target: Some(server),
        port: Some(port),
        summary: format!("{client} spoke TLS with {server} port {port}{name}: {}", words.join(", ")),
        terms: std::iter::once(least).chain(each).chain([Term::exact("hosts_that_go_there", usual.clients)]).collect(),
        technique: Some("T1573.002".into()),
        flow: seen.origin.flow(false),
        ..seen.evidence(Detector::TlsAnomaly, "odd_server")
    }
}

fn unusual(seen: &Observation, address: u128, found: &[(usize, f64, Verdict)], settings: &Settings) -> Evidence {
    let client = crate::dataplane::decode::Endpoint { address, port: 0 }.ip();
    let name = |index: usize| NUMBERS.get(index).map_or("", |(name, _)| *name);
    let words: Vec<String> = found
        .iter()
        .map(|(index, value, verdict)| {
            format!("{} {:.0} where {:.0} is usual", name(*index).replace('_', " "), value, verdict.median)
        })
        .collect();
    let numbers = Term::exact("numbers_beyond_their_baselines", found.len() as f64);
    let mut terms = vec![numbers.against(Relation::AtLeast, settings.numbers)];
    for (index, value, verdict) in found {
        terms.push(Term {
            usual: Some(rounded(verdict.median)),
            ..Term::exact(name(*index), rounded(*value)).against(Relation::Above, rounded(verdict.threshold))
        });
        terms.push(Term::exact(format!("{}_z", name(*index)), rounded(verdict.z)));
        terms.push(Term::exact(format!("{}_baseline_values", name(*index)), verdict.count.into()));
    }
    Evidence {
        severity: 3,
        confidence: 0.5,
        source: Some(client),
        protocol: None,
        summary: format!("{client} spoke TLS in the last hour as it does not at this time: {}", words.join("; ")),
        terms,
        technique: Some("T1071.001".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::TlsAnomaly, "unusual_hour")
    }
}
