//! Password guessing: bursts of short failing sessions of one client with one service.
//!
//! *Observer*: every TCP session that was seen from its SYN, talked both ways and closed counts for (client, server, port):
//! in a histogram of its payload, with bitmaps of distinct request and answer sizes, and its duration.
//!
//! *Decider*: which sessions count as failed is the service's: a login service says much less to those it turns away than
//! to those it lets in. They fill a leaky bucket (CrowdSec: 5 and 10 s for SSH; Slips: 9 failures; Zeek: 30 in 30 min).
//! A session above the failed size after an alarm is a guess that may have succeeded, and escalates. One client that fails
//! at several servers sprays.
//!
//! HTTP and HTTPS have many short sessions by nature, so size alone is nothing: asked for are a high rate, answers that are
//! all of one size (the error page) and requests of *several* sizes (passwords). Polling sends one request size, two
//! programs that poll send two or three, browsing gets many answer sizes. Passwords of one length look like polling, and
//! are told by a number that no poll has; a load test has it too. On a port that names no service the sessions must be
//! alike and slow, as a login that waits before it refuses.
//!
//! What it cannot see without looking into the payload: guesses inside one connection, user names, HTTP status codes,
//! whether a large session was a login; guessing slower than one session a minute; guessing at Redis.

use super::cold::{ColdMap, Touched};
use super::distinct::{self, HashKey};
use super::facts::{Facts, protocol};
use super::scan::Generations;
use super::{Counts, Detector, Entity, Evidence, Peer, Term};
use crate::dataplane::decode::{Endpoint, tcp_flags};
use crate::units::{MILLISECOND, SECOND, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Upper edges of the session histogram, bytes of payload both ways. Thresholds are rounded down to an edge.
const EDGES: [u64; 12] = [128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 5120, 6144];

/// Longest session that can be a failed login, milliseconds: OpenSSH's LoginGraceTime.
const SHORT_MS: u64 = 120_000;

/// Cells of a session's counts; the histogram comes first.
mod cell {
    pub const LARGER: usize = 12;
    pub const REQUEST_BYTES: usize = 13;
    pub const ANSWER_BYTES: usize = 14;
    pub const DURATION_MS: usize = 15;
}

/// Bitmaps of a session's counts.
mod bitmap {
    pub const REQUESTS: usize = 0;
    pub const ANSWERS: usize = 1;
}

/// What a port is used for, by IANA's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Service {
    Ssh,
    Ftp,
    Telnet,
    Mail(&'static str),
    Smb,
    Rdp,
    Database,
    Vnc,
    Ldap,
    Http,
    Https,
    Other,
}

impl Service {
    fn of(port: u16) -> Service {
        match port {
            22 => Service::Ssh,
            21 => Service::Ftp,
            23 => Service::Telnet,
            25 | 465 | 587 => Service::Mail("smtp"),
            110 | 995 => Service::Mail("pop3"),
            143 | 993 => Service::Mail("imap"),
            139 | 445 => Service::Smb,
            3389 => Service::Rdp,
            // Not Redis: it greets nobody, so a session that fails to log in and one that asks for a key look alike, and a
            // connection for each command is common use.
            1433 | 1521 | 3306 | 5432 | 27017 => Service::Database,
            5900..=5909 => Service::Vnc,
            389 | 636 => Service::Ldap,
            80 | 8000 | 8008 | 8080 | 8081 | 8888 => Service::Http,
            443 | 8443 => Service::Https,
            _ => Service::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Service::Ssh => "ssh",
            Service::Ftp => "ftp",
            Service::Telnet => "telnet",
            Service::Mail(name) => name,
            Service::Smb => "smb",
            Service::Rdp => "rdp",
            Service::Database => "database",
            Service::Vnc => "vnc",
            Service::Ldap => "ldap",
            Service::Http | Service::Https => "http",
            Service::Other => "login",
        }
    }

    fn is_login(self) -> bool {
        !matches!(self, Service::Http | Service::Https | Service::Other)
    }

    fn is_web(self) -> bool {
        matches!(self, Service::Http | Service::Https)
    }
}

/// A session that closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Event {
    cell: usize,
    duration_ms: u32,
}

impl Event {
    #[inline]
    pub fn of(facts: &Facts, time: Timestamp) -> Option<(Entity, Event)> {
        let whole = facts.protocol == protocol::TCP
            && facts.begins_with_syn()
            && facts.flags[1] & tcp_flags::SYN != 0
            && facts.payload[0] > 0
            && facts.payload[1] > 0;
        if !whole {
            return None;
        }
        let port = facts.destination.port;
        let duration_ms = time.since(facts.first_seen) / MILLISECOND;
        let size = facts.total_payload();
        let cell = match EDGES.iter().position(|edge| size <= *edge) {
            Some(class) if duration_ms <= SHORT_MS => class,
            // Large sessions matter only where a login may have succeeded.
            _ if Service::of(port).is_login() => cell::LARGER,
            _ => return None,
        };
        let entity = Entity::Session { client: facts.source.address, server: facts.destination.address, port };
        Some((entity, Event { cell, duration_ms: u32::try_from(duration_ms).unwrap_or(u32::MAX) }))
    }

    /// Adds the session to the counts.
    #[inline]
    pub fn count(self, facts: &Facts, key: &HashKey, counts: &mut Counts) {
        counts.add(self.cell, 1);
        if self.cell == cell::LARGER {
            return;
        }
        // Below the last edge, so they fit.
        counts.add(cell::REQUEST_BYTES, facts.payload[0] as u32);
        counts.add(cell::ANSWER_BYTES, facts.payload[1] as u32);
        counts.add(cell::DURATION_MS, self.duration_ms);
        counts.mark(bitmap::REQUESTS, key.number(facts.payload[0]));
        counts.mark(bitmap::ANSWERS, key.number(facts.payload[1]));
        counts.peer =
            counts.peer.max(Peer { address: facts.source.address, port: facts.source.port, protocol: facts.protocol });
    }
}

/// Thresholds of the brute-force detector.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Login services: failed sessions that the bucket holds; one more raises an alarm. (CrowdSec 5, Slips 9.)
    pub login_capacity: f64,
    /// As `login_capacity`, for SSH: a session there holds several guesses, and tools end after as many sessions as the
    /// server lets them begin at once.
    pub ssh_capacity: f64,
    /// Login services: seconds in which the bucket forgets one failed session.
    pub login_leak_s: f64,
    /// Login services, slow guessing: capacity of the second bucket. (Zeek: 30.)
    pub slow_capacity: f64,
    /// Login services, slow guessing: seconds in which the second bucket forgets one. (Zeek: 30 in 30 min.)
    pub slow_leak_s: f64,
    /// Payload both ways up to which an SSH session failed. (Slips: 4290; newer key exchanges need more.)
    pub ssh_bytes: u64,
    /// Mean payload of the client below which SSH sessions are banner grabs or health checks, not guesses.
    pub ssh_request_bytes_min: f64,
    /// As `ssh_bytes`, for FTP control connections.
    pub ftp_bytes: u64,
    /// FTP: distinct request sizes at least, unless the server is slow to refuse (`other_duration_ms_min`). Fetching one
    /// small file over and over says as little as failing does, and always the same.
    pub ftp_request_sizes_min: f64,
    /// As `ssh_bytes`, for Telnet.
    pub telnet_bytes: u64,
    /// As `ssh_bytes`, for SMTP, POP3 and IMAP.
    pub mail_bytes: u64,
    /// As `ssh_bytes`, for SMB.
    pub smb_bytes: u64,
    /// As `ssh_bytes`, for RDP.
    pub rdp_bytes: u64,
    /// As `ssh_bytes`, for databases: low, because applications connect anew for every query.
    pub database_bytes: u64,
    /// As `ssh_bytes`, for VNC.
    pub vnc_bytes: u64,
    /// As `ssh_bytes`, for LDAP: low, because applications bind for every look-up.
    pub ldap_bytes: u64,
    /// Mean payload of the client below which sessions with other login services are no guesses.
    pub login_request_bytes_min: f64,
    /// HTTP: capacity of the bucket.
    pub http_capacity: f64,
    /// HTTP: seconds in which the bucket forgets one session.
    pub http_leak_s: f64,
    /// HTTP: payload both ways up to which an exchange may be a refusal.
    pub http_bytes: u64,
    /// HTTPS: as `http_bytes`, with the handshake.
    pub https_bytes: u64,
    /// HTTP: distinct answer sizes at most.
    pub http_answer_sizes_max: f64,
    /// HTTP: distinct request sizes at least.
    pub http_request_sizes_min: f64,
    /// HTTP, requests of one size only: capacity of the bucket.
    pub http_flat_capacity: f64,
    /// HTTP, requests of one size only: seconds in which the bucket forgets one session.
    pub http_flat_leak_s: f64,
    /// HTTP, requests of one size only: mean payload of the answers at most, which error pages keep and pages do not.
    pub http_flat_answer_bytes: f64,
    /// Login services: failed sessions for each distinct answer size at least; refusals are alike.
    pub login_sessions_per_size_min: f64,
    /// Unknown services: capacity of the bucket.
    pub other_capacity: f64,
    /// Unknown services: seconds in which the bucket forgets one session.
    pub other_leak_s: f64,
    /// Unknown services: payload both ways at most.
    pub other_bytes: u64,
    /// Unknown services: mean duration at least, milliseconds: a login that waits before it refuses.
    pub other_duration_ms_min: f64,
    /// Unknown services: sessions for each distinct answer size at least.
    pub other_sessions_per_size_min: f64,
    /// Failed sessions from which the confidence is full. (Slips: 30.)
    pub confident_sessions: f64,
    /// Servers at which one client must fail, on the same port, to be spraying.
    pub spray_servers: usize,
    /// Length of a generation, seconds; sessions are described over one to two of them.
    pub horizon_s: u64,
    /// (client, server, port) remembered; beyond that the coldest quarter is forgotten.
    pub sessions: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            login_capacity: 5.0,
            ssh_capacity: 4.0,
            login_leak_s: 10.0,
            slow_capacity: 30.0,
            slow_leak_s: 60.0,
            ssh_bytes: 5120,
            ssh_request_bytes_min: 512.0,
            ftp_bytes: 512,
            ftp_request_sizes_min: 2.0,
            telnet_bytes: 2048,
            mail_bytes: 768,
            smb_bytes: 1536,
            rdp_bytes: 4096,
            database_bytes: 384,
            vnc_bytes: 256,
            ldap_bytes: 256,
            login_request_bytes_min: 12.0,
            http_capacity: 20.0,
            http_leak_s: 0.5,
            http_bytes: 2048,
            https_bytes: 6144,
            http_answer_sizes_max: 3.0,
            http_request_sizes_min: 4.0,
            http_flat_capacity: 1000.0,
            http_flat_leak_s: 0.1,
            http_flat_answer_bytes: 512.0,
            login_sessions_per_size_min: 2.0,
            other_capacity: 20.0,
            other_leak_s: 2.0,
            other_bytes: 5120,
            other_duration_ms_min: 1000.0,
            other_sessions_per_size_min: 8.0,
            confident_sessions: 30.0,
            spray_servers: 5,
            horizon_s: 300,
            sessions: 1 << 16,
        }
    }
}

impl Settings {
    fn failed_bytes(&self, service: Service) -> u64 {
        match service {
            Service::Ssh => self.ssh_bytes,
            Service::Ftp => self.ftp_bytes,
            Service::Telnet => self.telnet_bytes,
            Service::Mail(_) => self.mail_bytes,
            Service::Smb => self.smb_bytes,
            Service::Rdp => self.rdp_bytes,
            Service::Database => self.database_bytes,
            Service::Vnc => self.vnc_bytes,
            Service::Ldap => self.ldap_bytes,
            Service::Http => self.http_bytes,
            Service::Https => self.https_bytes,
            Service::Other => self.other_bytes,
        }
    }

    fn bucket(&self, service: Service) -> (f64, f64) {
        match service {
            Service::Http | Service::Https => (self.http_capacity, self.http_leak_s),
            Service::Other => (self.other_capacity, self.other_leak_s),
            Service::Ssh => (self.ssh_capacity, self.login_leak_s),
            _ => (self.login_capacity, self.login_leak_s),
        }
    }

    fn request_bytes_min(&self, service: Service) -> f64 {
        if service == Service::Ssh { self.ssh_request_bytes_min } else { self.login_request_bytes_min }
    }
}

/// A leaky bucket.
#[derive(Clone, Copy, Default)]
struct Bucket {
    level: f64,
    last: Timestamp,
}

impl Bucket {
    fn fill(&mut self, now: Timestamp, count: f64, leak_s: f64) -> f64 {
        let leaked = now.since(self.last) as f64 / SECOND as f64 / leak_s.max(1e-3);
        self.level = (self.level - leaked).max(0.0) + count;
        self.last = now;
        self.level
    }
}

#[derive(Clone, Default)]
struct State {
    fast: Bucket,
    slow: Bucket,
    seen: Generations,
    /// When it alarmed last.
    alarmed: Option<Timestamp>,
}

impl Touched for State {
    fn touched(&self) -> Timestamp {
        self.seen.touched()
    }
}

/// One client on one port, over all servers.
#[derive(Clone, Default)]
struct Spray {
    bucket: Bucket,
    servers: BTreeSet<u128>,
}

impl Touched for Spray {
    fn touched(&self) -> Timestamp {
        self.bucket.last
    }
}

/// Most servers told apart in one spraying client.
const SPRAY_SERVERS_MAX: usize = 256;

/// A (client, server, port) of a window.
pub type SessionKey = (u128, u128, u16);

/// Decides over the merged windows, in time order.
pub struct Decider {
    settings: Settings,
    sessions: ColdMap<SessionKey, State>,
    sprays: ColdMap<(u128, u16), Spray>,
}

impl Decider {
    /// A decider that has seen nothing.
    pub fn new(settings: Settings) -> Decider {
        Decider { sessions: ColdMap::new(settings.sessions), sprays: ColdMap::new(settings.sessions / 4), settings }
    }

    /// Sessions and clients forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.sessions.forgotten() + self.sprays.forgotten()
    }

    /// Takes all sessions of the window that begins at `start`, sorted.
    pub fn decide(&mut self, start: Timestamp, sessions: &[(SessionKey, Counts)], out: &mut Vec<Evidence>) {
        for (key, counts) in sessions {
            self.one(start, *key, counts, out);
        }
    }

    fn one(&mut self, start: Timestamp, key: SessionKey, counts: &Counts, out: &mut Vec<Evidence>) {
        let settings = self.settings;
        let service = Service::of(key.2);
        let failed = failed(counts, settings.failed_bytes(service));
        if failed == 0.0 && self.sessions.existing(&key).is_none() {
            return;
        }
        let state = self.sessions.entry(key, State::default);
        let (total, _) = state.seen.add(start, settings.horizon_s * SECOND, counts);
        let (capacity, leak_s) = settings.bucket(service);
        let fast = state.fast.fill(start, failed, leak_s);
        // The second bucket is for slow guessing, or on the web for guesses that are all of one size.
        let slow_leak_s = if service.is_login() { settings.slow_leak_s } else { settings.http_flat_leak_s };
        let slow = state.slow.fill(start, failed, slow_leak_s);
        let seen = Seen::of(&total, settings.failed_bytes(service));
        let horizon = settings.horizon_s * SECOND;
        let judged = Judged { settings: &settings, key, service, seen: &seen, time: counts.last };
        if service.is_login()
            && counts.sum(cell::LARGER) > 0
            && state.alarmed.is_some_and(|alarmed| start.since(alarmed) <= horizon)
        {
            out.push(judged.success(f64::from(counts.sum(cell::LARGER))));
        }
        if failed == 0.0 {
            return;
        }
        if service.is_web() && slow > settings.http_flat_capacity && seen.is_hammering(&settings) {
            state.alarmed = Some(start);
            out.push(judged.guessing(slow, settings.http_flat_capacity, true));
            return;
        }
        if !seen.is_guessing(&settings, service) {
            return;
        }
        if fast > capacity {
            state.alarmed = Some(start);
            out.push(judged.guessing(fast, capacity, false));
        } else if service.is_login() && slow > settings.slow_capacity {
            state.alarmed = Some(start);
            out.push(judged.guessing(slow, settings.slow_capacity, true));
        }
        if service.is_login() {
            let spray = self.sprays.entry((key.0, key.2), Spray::default);
            let level = spray.bucket.fill(start, failed, leak_s);
            if level <= failed {
                // The bucket had run empty: what follows is another affair.
                spray.servers.clear();
            }
            if spray.servers.len() < SPRAY_SERVERS_MAX {
                spray.servers.insert(key.1);
            }
            if level > capacity && spray.servers.len() >= settings.spray_servers {
                out.push(judged.spraying(level, capacity, spray.servers.len()));
            }
        }
    }
}

/// Sessions up to the edge that `bytes` is rounded down to.
fn failed(counts: &Counts, bytes: u64) -> f64 {
    EDGES.iter().zip(&counts.sums).filter(|(edge, _)| **edge <= bytes).map(|(_, sum)| f64::from(*sum)).sum()
}

/// What the sessions of a horizon look like.
struct Seen {
    failed: f64,
    larger: f64,
    mean_request: f64,
    mean_answer: f64,
    mean_duration_ms: f64,
    request_sizes: f64,
    answer_sizes: f64,
}

impl Seen {
    fn of(total: &Counts, failed_bytes: u64) -> Seen {
        let short: f64 = total.sums.iter().take(EDGES.len()).map(|sum| f64::from(*sum)).sum();
        let mean = |cell| f64::from(total.sum(cell)) / short.max(1.0);
        let failed = failed(total, failed_bytes);
        Seen {
            failed,
            larger: short - failed + f64::from(total.sum(cell::LARGER)),
            mean_request: mean(cell::REQUEST_BYTES),
            mean_answer: mean(cell::ANSWER_BYTES),
            mean_duration_ms: mean(cell::DURATION_MS),
            request_sizes: distinct::estimate(&total.bitmap(bitmap::REQUESTS)),
            answer_sizes: distinct::estimate(&total.bitmap(bitmap::ANSWERS)),
        }
    }

    fn is_guessing(&self, settings: &Settings, service: Service) -> bool {
        match service {
            Service::Http | Service::Https => {
                self.answer_sizes <= settings.http_answer_sizes_max
                    && self.request_sizes >= settings.http_request_sizes_min
                    && self.larger <= self.failed
            }
            Service::Other => {
                self.mean_duration_ms >= settings.other_duration_ms_min
                    && self.failed >= self.answer_sizes * settings.other_sessions_per_size_min
                    && self.mean_request >= settings.login_request_bytes_min
                    && self.larger <= self.failed
            }
            // A client that mostly gets in is a client that works.
            _ => {
                (service != Service::Ftp
                    || self.request_sizes >= settings.ftp_request_sizes_min
                    || self.mean_duration_ms >= settings.other_duration_ms_min)
                    && self.mean_request >= settings.request_bytes_min(service)
                    && self.larger <= self.failed
                    && (self.answer_sizes < 1.5
                        || self.failed >= self.answer_sizes * settings.login_sessions_per_size_min)
            }
        }
    }

    /// One small answer to one request, over and over.
    fn is_hammering(&self, settings: &Settings) -> bool {
        self.answer_sizes <= settings.http_answer_sizes_max
            && self.mean_answer <= settings.http_flat_answer_bytes
            && self.larger <= self.failed
    }
}

struct Judged<'a> {
    settings: &'a Settings,
    key: SessionKey,
    service: Service,
    seen: &'a Seen,
    time: Timestamp,
}

impl Judged<'_> {
    fn guessing(&self, level: f64, capacity: f64, slow: bool) -> Evidence {
        let (client, server) = self.ips();
        let seen = self.seen;
        let kind = self.service.name();
        let (pace, bucket) = match (slow, self.service.is_web()) {
            (true, false) => ("slowly ", "slow_bucket_sessions"),
            (true, true) => ("most likely ", "flat_bucket_sessions"),
            (false, _) => ("", "bucket_sessions"),
        };
        self.evidence(
            kind.to_owned(),
            Some(server),
            if slow { 3 } else { 2 },
            format!(
                "{client} {pace}guesses passwords at {server} port {} ({kind}): {:.0} short sessions that look refused",
                self.key.2, seen.failed
            ),
            vec![term(bucket, level, Some(capacity))],
        )
    }

    fn spraying(&self, level: f64, capacity: f64, servers: usize) -> Evidence {
        let (client, _) = self.ips();
        self.evidence(
            format!("{}_spraying", self.service.name()),
            None,
            2,
            format!("{client} tries logins at {servers} servers on port {} ({})", self.key.2, self.service.name()),
            vec![
                term("bucket_sessions", level, Some(capacity)),
                term("distinct_servers", servers as f64, Some(self.settings.spray_servers as f64)),
            ],
        )
    }

    fn success(&self, sessions: f64) -> Evidence {
        let (client, server) = self.ips();
        self.evidence(
            format!("{}_success", self.service.name()),
            Some(server),
            1,
            format!(
                "{client} had a session of another size with {server} port {} after it guessed passwords there: one may \
                 have fitted",
                self.key.2
            ),
            vec![term("larger_sessions", sessions, Some(1.0))],
        )
    }

    fn ips(&self) -> (std::net::IpAddr, std::net::IpAddr) {
        let ip = |address| Endpoint { address, port: 0 }.ip();
        (ip(self.key.0), ip(self.key.1))
    }

    fn evidence(
        &self,
        kind: String,
        target: Option<std::net::IpAddr>,
        severity: u8,
        summary: String,
        mut terms: Vec<Term>,
    ) -> Evidence {
        let seen = self.seen;
        let web = self.service.is_web();
        let bytes = self.settings.failed_bytes(self.service) as f64;
        terms.extend([
            term("failed_sessions", seen.failed, None),
            term("mean_session_bytes", seen.mean_request + seen.mean_answer, Some(bytes)),
            term("mean_session_ms", seen.mean_duration_ms, None),
            term("answer_sizes", seen.answer_sizes, web.then_some(self.settings.http_answer_sizes_max)),
            term("request_sizes", seen.request_sizes, web.then_some(self.settings.http_request_sizes_min)),
        ]);
        Evidence {
            detector: Detector::BruteForce,
            kind,
            time: self.time,
            severity,
            confidence: (0.5 + 0.5 * seen.failed / self.settings.confident_sessions).min(1.0),
            source: Some(self.ips().0),
            target,
            port: Some(self.key.2),
            protocol: Some(protocol::TCP),
            summary,
            terms,
            flow: None,
        }
    }
}

fn term(name: &str, value: f64, threshold: Option<f64>) -> Term {
    Term { name: name.to_owned(), value, threshold, usual: None }
}
