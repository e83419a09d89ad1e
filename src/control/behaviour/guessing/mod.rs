//! Password guessing where inspection reads how logins end: refusals are counted, whatever their sessions weigh.
//!
//! Per client and service of a server: refused logins fill the buckets of `brute_force`, each guess of a connection one, and
//! distinct names of users are counted. One of four is told: passwords of few users, many users (spraying), one client at many
//! servers, many clients at one server. A login after guesses is told apart, at the highest severity. A client that is mostly let
//! in is a client that works: nothing is told of it. So health checks that log in nowhere, pools that log in for each question
//! and POSTs that are answered are quiet, however many.
//!
//! The detector in the data plane (`detect::brute_force`) knows sizes only; it leaves sessions alone whose logins are read here,
//! and counts what is encrypted or unknown. Both are one detector to the operator: one section of
//! the configuration, the same kinds.
//!
//! Of SSH nothing is read but sizes (`inspect::ssh::logins`): refusals come by the session, and count where it did not end with
//! the client let in. So a session of one who mistypes and is in is none, however often it comes, nor is an agent that offers its
//! keys; one session alone holds too few, for servers hang up after six.
//!
//! What is slower than the buckets, or shared by many hosts of which each is refused once or twice, is counted over half a day
//! (`brute_force::patient`).
//!
//! Not seen: guesses inside TLS, a form that answers 200 at a path that names no login.

#[cfg(test)]
mod tests;

use super::count::{Distinct, hash};
use super::observation::{Login, Observation, Outcome};
use crate::dataplane::decode::Endpoint;
use crate::dataplane::detect::brute_force::patient::{self, Found, Patient};
use crate::dataplane::detect::brute_force::{Bucket, Settings};
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::units::{SECOND, Timestamp};

/// Names of users that a server lets pass as somebody else, or does not ask a password of, tell less: so many more are needed.
const NAMED: f64 = 1.5;
/// Refusals for each name up to which it is names that are tried, not passwords.
const SPRAYED: f64 = 3.0;
/// Refusals for each client from which many guess, and do not just mistype.
const TRIED: f64 = 1.9;
/// A client with so many refusals for each login that works, or fewer, is one that works: a host of many users.
const MOSTLY_IN: f64 = 2.0;
/// Service kinds of one client or server.
type Place = (u128, &'static str);

/// A client at a server's service.
#[derive(Default)]
struct Pair {
    touched: Timestamp,
    begun: Timestamp,
    fast: Bucket,
    slow: Bucket,
    unsure: Bucket,
    refused: u64,
    accepted: u64,
    users: Distinct<4>,
    /// Of them those that were no refusal.
    named: Distinct<4>,
    /// The answer that nobody can read, and how many of them were alike.
    answer: u64,
    alike: u64,
    /// Since when and how many refusals were told; told again when there are twice as many.
    alarmed: Option<Timestamp>,
    next: f64,
}

/// All that one client, or one server, has to do with a service.
#[derive(Default)]
struct Side {
    touched: Timestamp,
    begun: Timestamp,
    bucket: Bucket,
    refused: u64,
    accepted: u64,
    peers: Distinct<4>,
    next: f64,
}

impl Touched for Pair {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Touched for Side {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// The detector.
pub struct Guessing {
    settings: Settings,
    pairs: ColdMap<(u128, u128, u16), Pair>,
    clients: ColdMap<Place, Side>,
    servers: ColdMap<Place, Side>,
    patient: ColdMap<Place, Patient>,
}

/// Sizes of the tables.
fn capacities(settings: &Settings) -> [usize; 4] {
    [settings.sessions / 4, settings.sessions / 16, settings.sessions / 16, settings.sessions / 64]
}

/// Bytes of the detector at most.
pub fn memory(settings: &Settings) -> usize {
    let [pairs, clients, servers, patient] = capacities(settings);
    patient * patient::BYTES
        + cold::bytes::<Place, Patient>(patient)
        + cold::bytes::<(u128, u128, u16), Pair>(pairs)
        + cold::bytes::<Place, Side>(clients)
        + cold::bytes::<Place, Side>(servers)
}

impl Guessing {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Guessing {
        let [pairs, clients, servers, patient] = capacities(&settings);
        Guessing {
            settings,
            pairs: ColdMap::new(pairs),
            clients: ColdMap::new(clients),
            servers: ColdMap::new(servers),
            patient: ColdMap::new(patient),
        }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// What was forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.pairs.forgotten() + self.clients.forgotten() + self.servers.forgotten() + self.patient.forgotten()
    }

    /// A login.
    pub fn login(&mut self, seen: &Observation, login: &Login, out: &mut Vec<Evidence>) {
        let told = out.len();
        self.at_the_server(seen, login, out);
        if matches!(login.outcome, Outcome::Refused | Outcome::Accepted) {
            self.over_servers(seen, login, out);
            self.over_clients(seen, login, out);
            self.patiently(seen, login, out.len() > told, out);
        }
    }

    /// Over half a day; what was told by now is told.
    fn patiently(&mut self, seen: &Observation, login: &Login, is_told: bool, out: &mut Vec<Evidence>) {
        let (settings, server) = (self.settings, (login.server.address, login.service));
        let is_refused = login.outcome == Outcome::Refused;
        let key = (login.client.address, login.server.address, login.server.port);
        let horizon = settings.patient_horizon_s * SECOND;
        let is_alarmed =
            self.pairs.existing(&key).and_then(|pair| pair.alarmed).is_some_and(|at| seen.time.since(at) < horizon);
        // Sessions of SSH are remembered by their size, whether or not one holds several refusals.
        let is_remembered = login.service == "ssh";
        if is_remembered || is_told || is_alarmed || (!is_refused && self.patient.existing(&server).is_none()) {
            return;
        }
        let user = login.user.as_deref().map_or(0, |user| hash(user) as u32 | 1);
        let patient = self.patient.entry(server, Patient::default);
        if let Some(found) = patient.login(seen.time, login.client.address, (1, is_refused, user), &settings) {
            out.push(slowly(seen, login, found, &settings));
        }
    }

    fn at_the_server(&mut self, seen: &Observation, login: &Login, out: &mut Vec<Evidence>) {
        let (settings, now) = (self.settings, seen.time);
        let key = (login.client.address, login.server.address, login.server.port);
        if login.outcome == Outcome::Accepted && self.pairs.existing(&key).is_none() {
            return;
        }
        let horizon = 2 * settings.horizon_s * SECOND;
        let pair = self.pairs.entry(key, || Pair { begun: now, ..Pair::default() });
        pair.touched = pair.touched.max(now);
        if now.since(pair.begun) >= horizon {
            let old = std::mem::take(pair);
            let alarmed = old.alarmed.filter(|at| now.since(*at) < horizon);
            *pair = Pair { touched: now, begun: now, fast: old.fast, slow: old.slow, alarmed, ..Pair::default() };
        }
        let user = hash(login.user.as_deref());
        let is_named = login.outcome == Outcome::Named;
        // A name that was let pass before tells nothing new.
        let is_new = login.user.is_some() && login.outcome != Outcome::Accepted && pair.users.insert(user);
        match login.outcome {
            Outcome::Accepted => {
                pair.accepted += 1;
                let guesses = pair.refused + pair.alike;
                if pair.alarmed.take().is_some_and(|at| now.since(at) < horizon) {
                    out.push(success(seen, login, guesses));
                }
                return;
            }
            Outcome::Named if is_new => {
                pair.named.insert(user);
            }
            // A guest comes once; who comes again and again tries passwords that the server does not look at.
            Outcome::Named if login.service != "smb" => return,
            Outcome::Named | Outcome::Unsure(_) => {
                let answer = if let Outcome::Unsure(answer) = login.outcome { answer } else { 0 };
                if answer != pair.answer {
                    let (told, before) = (pair.alarmed, pair.alike);
                    (pair.answer, pair.alike, pair.unsure) = (answer, 0, Bucket::default());
                    if told.is_some_and(|at| now.since(at) < horizon) && before > 0 {
                        pair.alarmed = None;
                        out.push(success(seen, login, before));
                        return;
                    }
                }
                pair.alike += 1;
                let level = pair.unsure.fill(now, 1.0, settings.unsure_leak_s);
                if level > settings.unsure_capacity && pair.alike as f64 >= pair.next {
                    pair.next = pair.alike as f64 * 2.0;
                    pair.alarmed = Some(now);
                    let bucket = Term::exact("bucket_logins", level).against(Relation::Above, settings.unsure_capacity);
                    out.push(pair.alike_evidence(seen, login, bucket, &settings));
                }
                return;
            }
            Outcome::Refused | Outcome::Form => pair.refused += login.times,
        }
        let weight = if is_named { 0.0 } else { login.times as f64 };
        let fast = pair.fast.fill(now, weight, settings.login_leak_s);
        let slow = pair.slow.fill(now, weight, settings.slow_leak_s);
        pair.decide(seen, login, (fast, slow), &settings, out);
    }

    /// One client at many servers.
    fn over_servers(&mut self, seen: &Observation, login: &Login, out: &mut Vec<Evidence>) {
        let settings = self.settings;
        let client = (login.client.address, login.service);
        let Some(side) = count(&mut self.clients, client, login.server.address, (seen, login), &settings) else {
            return;
        };
        let (level, servers) = (side.bucket.level(), side.peers.estimate());
        if level <= settings.login_capacity || servers < settings.spray_servers as f64 || !side.is_due() {
            return;
        }
        let terms = vec![
            Term::exact("bucket_logins", level).against(Relation::Above, settings.login_capacity),
            Term::exact("distinct_servers", servers).against(Relation::AtLeast, settings.spray_servers as f64),
            Term::exact("refused_logins", side.refused as f64),
            Term::exact("accepted_logins", side.accepted as f64),
        ];
        let client = login.client.ip();
        out.push(Evidence {
            severity: 2,
            confidence: confidence(side.refused, &settings),
            source: Some(client),
            port: Some(login.server.port),
            summary: format!(
                "{client} tries logins at {servers} servers ({}): {} were refused",
                login.service, side.refused
            ),
            terms,
            technique: Some("T1110.003".into()),
            flow: seen.origin.flow(true),
            ..seen.evidence(Detector::BruteForce, format!("{}_spraying", login.service))
        });
    }

    /// Many clients at one server.
    fn over_clients(&mut self, seen: &Observation, login: &Login, out: &mut Vec<Evidence>) {
        let settings = self.settings;
        let server = (login.server.address, login.service);
        let Some(side) = count(&mut self.servers, server, login.client.address, (seen, login), &settings) else {
            return;
        };
        let (level, clients) = (side.bucket.level(), side.peers.estimate());
        let (capacity, least) = (settings.distributed_capacity, settings.distributed_clients as f64);
        // Of a server that many use, some are refused at any time.
        let is_mostly_refused = side.refused >= 3 * side.accepted;
        // Many who mistype once are an office in the morning.
        let is_once = (side.refused as f64) < TRIED * clients;
        if level <= capacity || clients < least || !is_mostly_refused || is_once || !side.is_due() {
            return;
        }
        let terms = vec![
            Term::exact("bucket_logins", level).against(Relation::Above, capacity),
            Term::exact("distinct_clients", clients).against(Relation::AtLeast, least),
            Term::exact("refused_logins", side.refused as f64),
            Term::exact("accepted_logins", side.accepted as f64),
        ];
        let (server, port) = (login.server.ip(), login.server.port);
        out.push(Evidence {
            severity: 2,
            confidence: confidence(side.refused, &settings),
            target: Some(server),
            port: Some(port),
            summary: format!(
                "{clients} hosts guess passwords at {server} port {port} ({}): {} logins were refused, {} were not",
                login.service, side.refused, side.accepted
            ),
            terms,
            technique: Some("T1110".into()),
            flow: seen.origin.flow(true),
            ..seen.evidence(Detector::BruteForce, format!("{}_distributed", login.service))
        });
    }
}

/// Adds a login to what a side has; `None`: it was no refusal, or none that matters.
fn count<'a>(
    sides: &'a mut ColdMap<Place, Side>,
    key: Place,
    peer: u128,
    (seen, login): (&Observation, &Login),
    settings: &Settings,
) -> Option<&'a mut Side> {
    let is_refused = login.outcome == Outcome::Refused;
    if !is_refused && sides.existing(&key).is_none() {
        return None;
    }
    let side = sides.entry(key, || Side { begun: seen.time, ..Side::default() });
    side.touched = side.touched.max(seen.time);
    if seen.time.since(side.begun) >= 2 * settings.horizon_s * SECOND {
        *side = Side { touched: side.touched, begun: seen.time, bucket: side.bucket, ..Side::default() };
    }
    if !is_refused {
        side.accepted += 1;
        return None;
    }
    side.refused += login.times;
    side.peers.insert(hash(peer));
    side.bucket.fill(seen.time, login.times as f64, settings.login_leak_s);
    (side.refused as f64 > MOSTLY_IN * side.accepted as f64).then_some(side)
}

impl Side {
    /// Told first, and when there are twice as many refusals.
    fn is_due(&mut self) -> bool {
        let is_due = self.refused as f64 >= self.next;
        if is_due {
            self.next = self.refused as f64 * 2.0;
        }
        is_due
    }
}

impl Pair {
    fn decide(
        &mut self,
        seen: &Observation,
        login: &Login,
        (fast, slow): (f64, f64),
        settings: &Settings,
        out: &mut Vec<Evidence>,
    ) {
        let (users, named) = (self.users.estimate(), self.named.estimate());
        let tries = self.refused as f64 + named;
        if tries <= MOSTLY_IN * self.accepted as f64 || tries < self.next {
            return;
        }
        let capacity = match login.service {
            // Programs repeat what was refused by themselves.
            "smb" | "kerberos" | "database" => 2.0 * settings.login_capacity,
            _ if login.outcome == Outcome::Form => settings.unsure_capacity,
            _ => settings.login_capacity,
        };
        let least = settings.login_users * if named * 2.0 > users { NAMED } else { 1.0 };
        let is_spraying = users >= least && tries <= SPRAYED * users;
        let users_term = Term::exact("distinct_users", users);
        let (kind, severity, how, mut terms) = if is_spraying {
            let term = users_term.against(Relation::AtLeast, least);
            (format!("{}_users", login.service), 2, "tries logins", vec![term])
        } else if fast > capacity {
            let bucket = Term::exact("bucket_logins", fast).against(Relation::Above, capacity);
            (login.service.to_owned(), 2, "guesses passwords", vec![bucket, users_term])
        } else if slow > settings.slow_capacity {
            let bucket = Term::exact("slow_bucket_logins", slow).against(Relation::Above, settings.slow_capacity);
            (login.service.to_owned(), 3, "slowly guesses passwords", vec![bucket, users_term])
        } else {
            return;
        };
        self.next = tries * 2.0;
        self.alarmed = Some(seen.time);
        terms.push(Term::exact("refused_logins", self.refused as f64));
        terms.push(Term::exact("accepted_logins", self.accepted as f64));
        let (client, server, port) = (login.client.ip(), login.server.ip(), login.server.port);
        let not_asked =
            if named > 0.0 { format!(", {named} let pass as a guest or without a password") } else { String::new() };
        let of = if users > 0.0 { format!(", of {users} users") } else { String::new() };
        out.push(Evidence {
            severity,
            confidence: confidence(tries as u64, settings),
            source: Some(client),
            target: Some(server),
            port: Some(port),
            summary: format!(
                "{client} {how} at {server} port {port} ({}): {} logins were refused{not_asked}{of}",
                login.service, self.refused
            ),
            terms,
            technique: Some(if is_spraying { "T1110.003" } else { "T1110.001" }.into()),
            flow: seen.origin.flow(true),
            ..seen.evidence(Detector::BruteForce, kind)
        });
    }

    fn alike_evidence(&self, seen: &Observation, login: &Login, bucket: Term, settings: &Settings) -> Evidence {
        let (client, server, port) = (login.client.ip(), login.server.ip(), login.server.port);
        Evidence {
            severity: 3,
            confidence: confidence(self.alike, settings),
            source: Some(client),
            target: Some(server),
            port: Some(port),
            summary: format!(
                "{client} most likely guesses passwords at {server} port {port} ({}): {} logins in a row got the same answer",
                login.service, self.alike
            ),
            terms: vec![bucket, Term::exact("logins_answered_alike", self.alike as f64)],
            technique: Some("T1110.001".into()),
            flow: seen.origin.flow(true),
            ..seen.evidence(Detector::BruteForce, login.service)
        }
    }
}

/// What half a day's refusals say.
fn slowly(seen: &Observation, login: &Login, found: Found, settings: &Settings) -> Evidence {
    let (client, server, port, service) = (login.client.ip(), login.server.ip(), login.server.port, login.service);
    let of_server = |kind: &str| Evidence {
        target: Some(server),
        port: Some(port),
        technique: Some("T1110".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::BruteForce, kind)
    };
    match found {
        Found::Many { clients, refused } => Evidence {
            severity: 3,
            confidence: 0.7,
            summary: format!(
                "{clients} hosts were refused at {server} port {port} ({service}) within {:.0} hours, {refused} times in all, and none of \
                 them was let in",
                settings.patient_horizon_s as f64 / 3600.0
            ),
            terms: vec![
                Term::exact("distinct_clients", clients).against(Relation::AtLeast, settings.patient_clients),
                Term::exact("refused_logins", refused),
            ],
            ..of_server(&format!("{service}_distributed"))
        },
        Found::One { refused, span_s, users } => {
            let is_one = users < 2.0;
            let (what, kind) = match is_one {
                true => {
                    ("a program with an old password, or somebody who guesses one", format!("{service}_failing_login"))
                }
                false => ("slow guesses", format!("{service}_users")),
            };
            Evidence {
                severity: if is_one { 4 } else { 3 },
                confidence: if is_one { 0.5 } else { 0.7 },
                source: Some(client),
                summary: format!(
                    "{client} was refused {refused} times within {:.0} minutes at {server} port {port} ({service}), as {}: {what}",
                    span_s / 60.0,
                    if is_one { "one user" } else { "several users" }
                ),
                terms: vec![
                    Term::exact("refused_logins", refused).against(Relation::AtLeast, settings.patient_logins),
                    Term::exact("first_to_latest_s", span_s).against(Relation::AtLeast, settings.patient_span_s as f64),
                    Term::exact("distinct_users_at_least", users),
                ],
                ..of_server(&kind)
            }
        }
    }
}

fn confidence(refused: u64, settings: &Settings) -> f64 {
    (0.6 + 0.4 * refused as f64 / settings.confident_sessions).min(1.0)
}

fn success(seen: &Observation, login: &Login, guesses: u64) -> Evidence {
    let Endpoint { port, .. } = login.server;
    let (client, server) = (login.client.ip(), login.server.ip());
    let user = login.user.as_deref().map(|user| format!(" as {user}")).unwrap_or_default();
    Evidence {
        severity: 1,
        confidence: 0.9,
        source: Some(client),
        target: Some(server),
        port: Some(port),
        summary: format!(
            "{client} was let in{user} at {server} port {port} ({}) after it guessed passwords there",
            login.service
        ),
        terms: vec![Term::exact("guesses_before", guesses as f64).against(Relation::AtLeast, 1.0)],
        technique: Some("T1110".into()),
        // It is about this very session.
        flow: seen.origin.flow(false),
        ..seen.evidence(Detector::BruteForce, format!("{}_success", login.service))
    }
}
