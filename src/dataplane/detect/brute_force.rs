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
//! SSH is judged by what the server says *after* the key exchange, for the size of that exchange is the configuration's and
//! not the outcome's (a hardened host gets a key login done in fewer bytes than a Debian host needs to refuse one). A
//! refusal is a short message; being let in brings the server's keys, a channel and an exit status. Several guesses in one
//! session add up to as much as a short success; they are told by the server's pauses before each refusal (PAM makes
//! them), or by the server closing first, as it does after as many guesses as it allows: who was let in leaves by himself.
//! The client may be quicker; then many such sessions side by side are most likely guesses, for a script that logs in does
//! one thing after the other.
//!
//! HTTP and HTTPS have many short sessions by nature, so size alone is nothing: asked for are a high rate, answers that are
//! all of one size (the error page) and requests of *several* sizes (passwords). Polling sends one request size, two
//! programs that poll send two or three, browsing gets many answer sizes. Passwords of one length look like polling, and
//! are told by a number that no poll has; a load test has it too. On a port that names no service the sessions must be
//! alike and slow, as a login that waits before it refuses.
//!
//! What inspection reads the logins of is left to `control/behaviour/guessing`, where that runs: sizes are for what is
//! encrypted or unknown, or where inspection is off.
//!
//! What it cannot see without looking into the payload: guesses inside one connection, user names, HTTP status codes,
//! whether a large session was a login; guessing slower than one session a minute, but for SSH (`patient`); guessing at Redis.

mod evidence;
pub(crate) mod patient;
mod settings;

pub use settings::Settings;

use super::cold::{ColdMap, Touched};
use super::distinct::{self, Estimate, HashKey};
use super::facts::{Facts, protocol};
use super::generations::Generations;
use super::{Counts, Entity, Evidence, FlowMark, Peer, WINDOW_NS};
use crate::dataplane::decode::{Endpoint, tcp_flags};
use crate::dataplane::inspect::Protocol;
use crate::units::{MILLISECOND, SECOND, Timestamp};
use evidence::{Judged, Pace};
use patient::Patient;
use std::collections::BTreeSet;

/// Upper edges of the session histogram, bytes of payload both ways (SSH: see [`ssh_answer`]). Thresholds are rounded down to an edge.
const EDGES: [u64; 12] = [128, 256, 384, 512, 640, 768, 1536, 2048, 3072, 4096, 5120, 6144];

/// Thresholds of session bytes that tell anything apart: below, no session fails; above, none more.
pub(crate) const BYTES: (u64, u64) = (EDGES[0], EDGES[11]);

/// Payload both ways beyond which an SSH session was no refusal, whatever came after the key exchange. Six refusals behind
/// the largest common key exchange (sntrup761, three host keys) are 7.2 kB.
const SSH_TOTAL: u64 = 9216;

/// SSH: what the server says at most, after the key exchange, in a session of several guesses, bytes. (Six by two methods:
/// 756. A key login that runs a command: 868.)
const SSH_GUESSES: u64 = 768;

/// Guesses after which sshd closes (MaxAuthTries), less those that an agent's keys may have used up.
const SSH_TRIES: u64 = 3;

/// SSH: packets with payload in which a guess and its refusal have room at least: what can go together goes together (a side's
/// name with its offer, its end of the key exchange with the request of the service).
const SSH_PACKETS: usize = 8;

/// SSH: shortest pause before a refusal, nanoseconds. (pam_unix: 1.5 to 2.5 s, pam_faildelay as configured.)
const SSH_PAUSE: f32 = 0.5e9;

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

    /// The same, of a session of which content has told: SSH is SSH at any port.
    fn of_session(port: u16, application: Protocol) -> Service {
        if application == Protocol::Ssh { Service::Ssh } else { Service::of(port) }
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
    /// What the server said, as far as it tells how the session went.
    answer: u32,
    /// When in its window it closed, nanoseconds.
    moment: u32,
}

/// Set in the rank of a session that was no refusal: of a window the latest one of these is kept as the peer, else the latest
/// guess.
const IS_LARGER: u32 = 1 << 30;

const _: () = assert!(WINDOW_NS <= IS_LARGER as u64, "moments are below the mark");

/// What an SSH server said after the key exchange (which the first eight packets with payload hold); of that, what falls on
/// each guess where several can be told. Beyond every edge if the session cannot have been a refusal.
fn ssh_answer(facts: &Facts<'_>) -> u64 {
    let answer = facts.later_answer();
    if facts.total_payload() > SSH_TOTAL {
        return u64::MAX;
    }
    if answer > SSH_GUESSES {
        return answer;
    }
    // Gaps as long as the longest that it would take to make up the sum of squares: all others count little.
    let pauses = facts.gap_squares() / (facts.gap_max() * facts.gap_max());
    if facts.gap_max() >= SSH_PAUSE && pauses > 1.0 {
        (answer as f32 / pauses) as u64
    } else if facts.responder_closed() {
        answer / SSH_TRIES
    } else {
        answer
    }
}

impl Event {
    #[inline]
    pub fn of(facts: &Facts<'_>, time: Timestamp) -> Option<(Entity, Event)> {
        let whole = facts.protocol == protocol::TCP
            && facts.begins_with_syn()
            && facts.flags()[1] & tcp_flags::SYN != 0
            && facts.payload()[0] > 0
            && facts.payload()[1] > 0;
        if !whole {
            return None;
        }
        let port = facts.destination.port;
        let duration_ms = time.since(facts.first_seen()) / MILLISECOND;
        let service = Service::of_session(port, facts.application);
        let (size, answer) = match service {
            // Who looks at a server's keys, and leaves.
            Service::Ssh if facts.first_payloads() < SSH_PACKETS => return None,
            // Its pauses make of few answers many sizes, so these are the answers as they are.
            Service::Ssh => (ssh_answer(facts), facts.later_answer()),
            _ => (facts.total_payload(), facts.payload()[1]),
        };
        let cell = match EDGES.iter().position(|edge| size <= *edge) {
            Some(class) if duration_ms <= SHORT_MS => class,
            // Large sessions matter only where a login may have succeeded.
            _ if service.is_login() => cell::LARGER,
            _ => return None,
        };
        let entity = Entity::Session { client: facts.source.address, server: facts.destination.address, port };
        let small = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let moment = small(time.0 % WINDOW_NS);
        Some((entity, Event { cell, duration_ms: small(duration_ms), answer: small(answer), moment }))
    }

    /// Adds the session to the counts.
    #[inline]
    pub fn count(self, facts: &Facts<'_>, key: &HashKey, counts: &mut Counts) {
        counts.add(self.cell, 1);
        let is_larger = self.cell == cell::LARGER;
        let rank = if is_larger { self.moment | IS_LARGER } else { self.moment };
        let Endpoint { address, port } = facts.source;
        let peer = || Peer { rank, address, port, flow: facts.mark(), protocol: facts.protocol };
        counts.offer((rank, address, port), facts.first_seen(), peer);
        if is_larger {
            return;
        }
        // Below some kilobytes, so it fits.
        counts.add(cell::REQUEST_BYTES, facts.payload()[0] as u32);
        counts.add(cell::ANSWER_BYTES, self.answer);
        counts.add(cell::DURATION_MS, self.duration_ms);
        counts.mark(bitmap::REQUESTS, key.number(facts.payload()[0]));
        counts.mark(bitmap::ANSWERS, key.number(u64::from(self.answer)));
    }
}

/// Are the answers to logins of such a session read? They are counted one by one then (`control/behaviour/guessing`), and
/// what the session weighs tells nothing.
fn is_read(application: Protocol) -> bool {
    use Protocol::{Ftp, Http, Imap, Ldap, MongoDb, Mqtt, MySql, Pop3, PostgreSql, Redis, Sip, Smb, Smtp, Socks};
    matches!(
        application,
        Ftp | Http | Imap | Ldap | MongoDb | Mqtt | MySql | Pop3 | PostgreSql | Redis | Sip | Smb | Smtp | Socks
    )
}

/// A leaky bucket.
#[derive(Clone, Copy, Default)]
pub(crate) struct Bucket {
    level: f64,
    last: Timestamp,
}

impl Bucket {
    /// Level as it was when the last one came.
    pub(crate) fn level(&self) -> f64 {
        self.level
    }

    /// Adds `count`, after one for each `leak_s` seconds has leaked; the level then.
    pub(crate) fn fill(&mut self, now: Timestamp, count: f64, leak_s: f64) -> f64 {
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
    /// SSH sessions side by side that may have been several guesses each.
    parallel: Bucket,
    seen: Generations,
    /// The latest guess, or the session that was taken for one.
    guess: FlowMark,
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
pub(crate) const SPRAY_SERVERS_MAX: usize = 256;

/// A (client, server, port) of a window.
pub type SessionKey = (u128, u128, u16);

/// Decides over the merged windows, in time order.
pub struct Decider {
    settings: Settings,
    sessions: ColdMap<SessionKey, State>,
    sprays: ColdMap<(u128, u16), Spray>,
    /// Servers of SSH whose refusals are remembered for long.
    patient: ColdMap<(u128, u16), Patient>,
    leaves_read: bool,
}

impl Decider {
    /// A decider that has seen nothing.
    pub fn new(settings: Settings) -> Decider {
        let (sessions, sprays) = (ColdMap::new(settings.sessions), ColdMap::new(settings.sessions / 4));
        let patient = ColdMap::new(settings.sessions / 64);
        Decider { sessions, sprays, patient, settings, leaves_read: false }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Leaves alone what somebody else reads the logins of, and counts the rest.
    pub fn leaving_logins_that_are_read(self, leaves_read: bool) -> Decider {
        Decider { leaves_read, ..self }
    }

    /// Sessions and clients forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.sessions.forgotten() + self.sprays.forgotten() + self.patient.forgotten()
    }

    /// From here on what is decided can be taken back.
    pub fn begin(&mut self) {
        self.sessions.begin();
        self.sprays.begin();
        self.patient.begin();
    }

    /// Forgets what was decided since [`Decider::begin`].
    pub fn roll_back(&mut self) {
        self.sessions.roll_back();
        self.sprays.roll_back();
        self.patient.roll_back();
    }

    /// Takes all sessions of the window that begins at `start`, sorted.
    pub fn decide(&mut self, start: Timestamp, sessions: &[(SessionKey, Counts)], out: &mut Vec<Evidence>) {
        for (key, counts) in sessions {
            if self.leaves_read && is_read(counts.peer.flow.application) {
                continue;
            }
            self.one(start, *key, counts, out);
        }
    }

    fn one(&mut self, start: Timestamp, key: SessionKey, counts: &Counts, out: &mut Vec<Evidence>) {
        let settings = self.settings;
        let service = Service::of_session(key.2, counts.peer.flow.application);
        let limit = settings.failed_bytes(service);
        let failed = sessions_up_to(counts, limit);
        let parallel = match service {
            Service::Ssh => sessions_side_by_side(counts, &settings),
            _ => 0.0,
        };
        if service == Service::Ssh
            && failed == 0.0
            && counts.sum(cell::LARGER) > 0
            && let Some(patient) = self.patient.existing(&(key.1, key.2))
        {
            // Let in: a session that says far more than any refusal.
            let _ = patient.login(start, key.0, (counts.sum(cell::LARGER), false, 0), &settings);
        }
        if failed + parallel == 0.0 && self.sessions.existing(&key).is_none() {
            return;
        }
        let state = self.sessions.entry(key, State::default);
        let (total, _) = state.seen.add(start, settings.horizon_s * SECOND, counts);
        let (capacity, leak_s) = settings.bucket(service);
        let fast = state.fast.fill(start, failed, leak_s);
        // The second bucket is for slow guessing, or on the web for guesses that are all of one size.
        let slow_leak_s = if service.is_login() { settings.slow_leak_s } else { settings.http_flat_leak_s };
        let slow = state.slow.fill(start, failed, slow_leak_s);
        let parallel_level = state.parallel.fill(start, parallel, settings.other_leak_s);
        let seen = Seen::of(&total, limit);
        if counts.peer.rank & IS_LARGER == 0 || state.guess == FlowMark::default() {
            state.guess = counts.peer.flow;
        }
        let all_failed = |state: &mut State| sessions_up_to(&state.seen.told(start, &total), limit);
        let horizon = settings.horizon_s * SECOND;
        let mut judged = Judged {
            settings: &settings,
            key,
            service,
            seen: &seen,
            time: counts.last,
            all_failed: seen.failed,
            failed_bytes: limit,
            guess: state.guess,
            latest: counts.peer.flow,
        };
        if service.is_login()
            && counts.sum(cell::LARGER) > 0
            && state.alarmed.is_some_and(|alarmed| start.since(alarmed) <= horizon)
        {
            out.push(judged.success(f64::from(counts.sum(cell::LARGER))));
        }
        if parallel > 0.0 && parallel_level > settings.other_capacity && !seen.is_guessing(&settings, service) {
            let seen = Seen::of(&total, settings.ssh_unsure_bytes);
            if seen.answer_sizes <= settings.http_answer_sizes_max && seen.larger <= seen.failed {
                state.alarmed = Some(start);
                let all_failed = sessions_up_to(&state.seen.told(start, &total), settings.ssh_unsure_bytes);
                let failed_bytes = settings.ssh_unsure_bytes;
                let judged = Judged { seen: &seen, all_failed, failed_bytes, ..judged };
                out.push(judged.guessing(parallel_level, settings.other_capacity, Pace::Likely));
                return;
            }
        }
        if failed == 0.0 {
            return;
        }
        if service.is_web() && slow > settings.http_flat_capacity && seen.is_hammering(&settings) {
            state.alarmed = Some(start);
            judged.all_failed = all_failed(state);
            out.push(judged.guessing(slow, settings.http_flat_capacity, Pace::Likely));
            return;
        }
        if !seen.is_guessing(&settings, service) {
            return;
        }
        if fast > capacity || (service.is_login() && slow > settings.slow_capacity) {
            state.alarmed = Some(start);
            judged.all_failed = all_failed(state);
        }
        if service == Service::Ssh && fast <= capacity && slow <= settings.slow_capacity {
            let patient = self.patient.entry((key.1, key.2), Patient::default);
            let found = patient.login(start, key.0, (failed as u32, true, 0), &settings);
            out.extend(found.map(|found| judged.patient(found)));
        }
        if fast > capacity {
            out.push(judged.guessing(fast, capacity, Pace::Fast));
        } else if service.is_login() && slow > settings.slow_capacity {
            out.push(judged.guessing(slow, settings.slow_capacity, Pace::Slow));
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

/// SSH sessions of a window that may have been guesses, if they ran side by side; those of one script after another take no
/// more time than the window has.
fn sessions_side_by_side(counts: &Counts, settings: &Settings) -> f64 {
    let seconds = f64::from(counts.sum(cell::DURATION_MS)) / 1e3;
    let at_once = seconds / (WINDOW_NS as f64 / SECOND as f64);
    if at_once < settings.ssh_parallel {
        return 0.0;
    }
    sessions_up_to(counts, settings.ssh_unsure_bytes)
}

/// Sessions up to the edge that `bytes` is rounded down to.
fn sessions_up_to(counts: &Counts, bytes: u64) -> f64 {
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
    /// The same two, as they are told.
    requests: Estimate,
    answers: Estimate,
}

impl Seen {
    fn of(total: &Counts, failed_bytes: u64) -> Seen {
        let short: f64 = total.sums.iter().take(EDGES.len()).map(|sum| f64::from(*sum)).sum();
        let mean = |cell| f64::from(total.sum(cell)) / short.max(1.0);
        let failed = sessions_up_to(total, failed_bytes);
        let sizes = |index| Estimate::of(&total.bitmap(index), short as u64);
        Seen {
            requests: sizes(bitmap::REQUESTS),
            answers: sizes(bitmap::ANSWERS),
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
