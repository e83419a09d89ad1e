//! From host to host inside: programs started on other hosts, and hosts that go where they never went.
//!
//! - *remote_execution*: a call that starts a program or service on another host (BZAR's list of DCE/RPC calls). With a file written to
//!   an administrative share of the same host within ten minutes (BZAR: weights 1 and 1000, 1001 together) it is told as
//!   *file_and_execution*, severity 1; alone severity 3, which administrators have each day.
//! - *program_copied*: a program written to an administrative share, severity 3: what is copied is started next.
//! - *attack_library*: a client whose number in SMB (its GUID) is of sixteen letters, as that of Impacket's programs is; inside
//!   SMB 3's encryption too.
//! - *secrets*: a registry's hive is saved, or secrets of the security authority are read, from afar.
//! - *log_cleared*: a log of events is emptied from afar.
//! - *admin_shares*: five connections to `ADMIN$` or a drive within five minutes, ten, fifteen ... (BZAR).
//! - *refused_shares*: two connections to such shares within five minutes that a server turns down, for want of a right or of the
//!   share. Who administers a host knows both.
//! - *discovery*: as many calls that ask for shares, sessions, trusts or about accounts (BZAR), or two that list accounts or who is in
//!   a group, which Windows leaves to administrators since 2016 for that reason.
//! - *replication*: a host asks a domain controller for its secrets (`DRSGetNCChanges`) that nobody knows as a controller itself.
//! - *fan_out* and *pivot* (`paths`): shells and desktops of hosts, one after the other or one through the other. Shells that hosts did
//!   not give are spraying (`brute_force`/`ssh_spraying`).
//! - *new_paths*: more new paths (host, port of remote administration) within an hour than is usual for the host at this time.
//!
//! Only between hosts of ours. Administrators and deployment tools do all of this: what they do each day at the same time is
//! usual after three days for *new_paths* alone, which then decides instead of *fan_out*; the others say what was called and leave the judgement to people. Not seen:
//! what SMB 3 encrypts, WinRM and SSH inside, calls without a name in clear.

mod paths;
#[cfg(test)]
mod tests;

use super::adaptive::{self, Baseline, Mode, Verdict};
use super::count::{Distinct, hash, rounded};
use super::observation::{Flow, Observation, Remote, Step};
use crate::control::inventory::network::Network;
use crate::dataplane::decode::Endpoint;
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::dataplane::inspect::Protocol;
use crate::units::{SECOND, Timestamp};
pub use paths::FAN;
use paths::Walk;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Connections to administrative shares within five minutes, and as many further ones (BZAR: 5).
    pub shares: f64,
    /// Connections to administrative shares that were turned down within five minutes, and as many further ones.
    pub refused_shares: f64,
    /// Calls of discovery within five minutes, and as many further ones (BZAR: 5).
    pub calls: f64,
    /// Calls within five minutes that list accounts, and as many further ones.
    pub accounts: f64,
    /// Hosts that a host never went to before, whose shells or desktops it opens within ten minutes while it has no baseline.
    pub fan_out: f64,
    /// SSH sessions that `fan_out` hosts, where a host never was before, turn down within ten minutes.
    pub refused_sessions: f64,
    /// New paths within an hour below which nothing is unusual.
    pub paths: f64,
    /// The baselines of new paths.
    pub baseline: adaptive::Settings,
    /// Hosts remembered, some 3 KiB each.
    pub hosts: usize,
    /// Pairs of hosts remembered.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        let baseline = adaptive::Settings::default();
        Settings {
            shares: 5.0,
            refused_shares: 2.0,
            calls: 5.0,
            accounts: 2.0,
            fan_out: 3.0,
            refused_sessions: 6.0,
            paths: 5.0,
            baseline,
            hosts: 1 << 11,
            pairs: 1 << 13,
        }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<u128, Host>(self.hosts)
            + self.hosts * Baseline::HEAP_BYTES
            + cold::bytes::<(u128, u128), Pair>(self.pairs)
    }
}

const HOUR_NS: u64 = 3600 * SECOND;
/// A file and a call within it belong together (BZAR).
const TOGETHER_NS: u64 = 600 * SECOND;
/// Shares and calls are counted over it (BZAR).
const COUNTED_NS: u64 = 300 * SECOND;
/// Evidence of what goes on comes again after so long; it makes one alert.
const AGAIN_NS: u64 = 60 * SECOND;
/// Hours of silence that are learnt as such.
const SILENCE_H: u64 = 168;
/// Ports of remote administration: SSH, endpoint mapper, SMB, RDP, WinRM.
const PORTS: [u16; 6] = [22, 135, 445, 3389, 5985, 5986];

/// Two hosts.
struct Pair {
    wrote: Option<Timestamp>,
    ran: Option<Timestamp>,
    /// An object was asked for.
    activated: Option<Timestamp>,
    told: [Option<Timestamp>; TOLD],
    touched: Timestamp,
}

/// What is told of a pair, each once in a while: a file with a call, a call alone, a program that was copied, a library, secrets, a log.
const TOLD: usize = 6;
const TOGETHER: usize = 0;
const ALONE: usize = 1;
const COPIED: usize = 2;
const LIBRARY: usize = 3;
const SECRETS: usize = 4;
const CLEARED: usize = 5;
/// A call follows the object that it is of so soon.
const ACTIVATED_NS: u64 = 60 * SECOND;

/// Something counted over five minutes.
#[derive(Clone, Copy, Default)]
struct Counted {
    since: Timestamp,
    count: u32,
    next: f64,
}

impl Counted {
    /// Counts one; gives the number if it is told.
    fn add(&mut self, now: Timestamp, step: f64) -> Option<u32> {
        if self.count == 0 || now.since(self.since) >= COUNTED_NS {
            *self = Counted { since: now, count: 0, next: step };
        }
        self.count += 1;
        if f64::from(self.count) < self.next {
            return None;
        }
        self.next += step;
        Some(self.count)
    }
}

/// A host.
struct Host {
    shares: Counted,
    refused_shares: Counted,
    calls: Counted,
    accounts: Counted,
    walk: Walk,
    /// Others call its replication interface: it is a domain controller.
    is_controller: bool,
    told_replication: Option<Timestamp>,
    /// Paths that it has taken, some thousands.
    known: Distinct<32>,
    baseline: Baseline,
    hour: u64,
    fresh: u32,
    next: f64,
    touched: Timestamp,
}

impl Host {
    fn new(baseline: Baseline, hour: u64) -> Host {
        Host {
            shares: Counted::default(),
            refused_shares: Counted::default(),
            calls: Counted::default(),
            accounts: Counted::default(),
            walk: Walk::default(),
            is_controller: false,
            told_replication: None,
            known: Distinct::default(),
            baseline,
            hour,
            fresh: 0,
            next: 0.0,
            touched: Timestamp(hour * HOUR_NS),
        }
    }

    /// What is over teaches, silence too.
    fn turn_to(&mut self, hour: u64, settings: &adaptive::Settings) {
        if hour <= self.hour {
            return;
        }
        self.baseline.learn(settings, self.hour, f64::from(self.fresh));
        for silent in (self.hour + 1..hour).take(SILENCE_H as usize) {
            self.baseline.learn(settings, silent, 0.0);
        }
        (self.hour, self.fresh, self.next) = (hour, 0, 0.0);
    }
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

/// The detector.
pub struct Lateral {
    settings: Settings,
    hosts: ColdMap<u128, Host>,
    pairs: ColdMap<(u128, u128), Pair>,
}

/// What is known of a host as it is written down.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Kept {
    address: IpAddr,
    /// The hour that was counted, and its new paths so far.
    hour: u64,
    fresh: u32,
    is_controller: bool,
    /// Paths that it has taken.
    known: Vec<u64>,
    baseline: Baseline,
}

fn is_over(told: Option<Timestamp>, now: Timestamp) -> bool {
    told.is_none_or(|at| now.since(at) >= AGAIN_NS)
}

impl Lateral {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Lateral {
        Lateral { hosts: ColdMap::new(settings.hosts), pairs: ColdMap::new(settings.pairs), settings }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// What was forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.hosts.forgotten() + self.pairs.forgotten()
    }

    /// What shall outlive a restart.
    pub fn snapshot(&self) -> Vec<Kept> {
        let of = |(address, host): (u128, &Host)| Kept {
            address: Endpoint { address, port: 0 }.ip(),
            hour: host.hour,
            fresh: host.fresh,
            is_controller: host.is_controller,
            known: host.known.words().to_vec(),
            baseline: host.baseline.clone(),
        };
        self.hosts.sorted().into_iter().map(of).collect()
    }

    /// Goes on from what was written; `false`: some of it is not what this program writes, and is left out.
    pub fn restore(&mut self, kept: Vec<Kept>) -> bool {
        let mut sound = true;
        for Kept { address, hour, fresh, is_controller, known, baseline } in kept {
            let known = Distinct::of_words(&known).filter(|_| baseline.is_sound() && hour <= u64::MAX / HOUR_NS);
            let Some(known) = known else {
                sound = false;
                continue;
            };
            let address = match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
                IpAddr::V6(address) => address.to_bits(),
            };
            let host = Host { fresh, is_controller, known, ..Host::new(baseline, hour) };
            *self.hosts.entry(address, || Host::new(Baseline::default(), hour)) = host;
        }
        sound
    }

    fn host(&mut self, address: u128, now: Timestamp) -> &mut Host {
        let hour = now.0 / HOUR_NS;
        let host = self.hosts.entry(address, || Host::new(Baseline::default(), hour));
        host.touched = host.touched.max(now);
        host
    }

    /// A flow between two hosts of ours.
    pub fn flow(&mut self, seen: &Observation, flow: &Flow, out: &mut Vec<Evidence>) {
        let port = flow.server.port;
        if flow.application == Protocol::Kerberos {
            self.host(flow.server.address, seen.told).is_controller = true;
        }
        if flow.is_new && flow.client.address != flow.server.address && paths::is_refused(flow) {
            return self.refused(seen, flow, out);
        }
        let (is_admin, is_session) = (PORTS.contains(&port), paths::is_session(flow));
        if !flow.is_new || !(is_admin || is_session) || flow.client.address == flow.server.address {
            return;
        }
        let settings = self.settings;
        let host = self.host(flow.client.address, seen.told);
        let hour = seen.told.0 / HOUR_NS;
        host.turn_to(hour, &settings.baseline);
        let is_fresh = host.known.insert(hash((flow.server.address, port)));
        host.fresh += u32::from(is_fresh && is_admin);
        let fresh = f64::from(host.fresh);
        let verdict = host.baseline.judge(&settings.baseline, hour, fresh);
        let is_told = verdict.mode != Mode::Building && verdict.is_flagged;
        if is_fresh && is_admin && fresh >= settings.paths.max(host.next) && is_told {
            host.next = 2.0 * fresh;
            out.push(new_paths(seen, flow, fresh, &verdict, &settings));
        }
        if is_session {
            let is_building = verdict.mode == Mode::Building;
            self.session(seen, flow, (is_fresh, is_building), out);
        }
    }

    /// Something that one host of ours does on another.
    pub fn remote(&mut self, seen: &Observation, remote: &Remote, home: &[Network], out: &mut Vec<Evidence>) {
        let is_home = |end: Endpoint| home.iter().any(|network| network.holds(end.ip()));
        let (client, server, now) = (remote.client, remote.server, seen.time);
        if !is_home(client) || !is_home(server) || client.address == server.address {
            return;
        }
        let settings = self.settings;
        match remote.step {
            Step::Share => {
                if let Some(count) = self.host(client.address, now).shares.add(now, settings.shares) {
                    out.push(counted(seen, remote, ("admin_shares", "T1021.002"), count, settings.shares));
                }
            }
            Step::RefusedShare => {
                if let Some(count) = self.host(client.address, now).refused_shares.add(now, settings.refused_shares) {
                    out.push(counted(seen, remote, ("refused_shares", "T1021.002"), count, settings.refused_shares));
                }
            }
            Step::Discovery => {
                if let Some(count) = self.host(client.address, now).calls.add(now, settings.calls) {
                    out.push(counted(seen, remote, ("discovery", "T1087.002"), count, settings.calls));
                }
            }
            Step::Accounts => {
                if let Some(count) = self.host(client.address, now).accounts.add(now, settings.accounts) {
                    out.push(counted(seen, remote, ("discovery", "T1087.002"), count, settings.accounts));
                }
            }
            Step::Directory => self.host(server.address, now).is_controller = true,
            Step::Replication => {
                self.host(server.address, now).is_controller = true;
                let host = self.host(client.address, now);
                if !host.is_controller && is_over(host.told_replication, now) {
                    host.told_replication = Some(now);
                    out.push(replication(seen, remote));
                }
            }
            Step::Toolkit | Step::Secrets | Step::LogCleared => self.once(seen, remote, out),
            Step::Activation => self.pair(remote, now).activated = Some(now),
            Step::PerhapsExecution => {
                let lately = self.pair(remote, now).activated.is_some_and(|at| now.since(at) < ACTIVATED_NS);
                if lately {
                    self.file_or_call(seen, &Remote { step: Step::Execution, ..remote.clone() }, out);
                }
            }
            Step::Write | Step::WriteProgram | Step::Execution => self.file_or_call(seen, remote, out),
        }
    }

    fn pair(&mut self, remote: &Remote, now: Timestamp) -> &mut Pair {
        let fresh = || Pair { wrote: None, ran: None, activated: None, told: [None; TOLD], touched: now };
        let pair = self.pairs.entry((remote.client.address, remote.server.address), fresh);
        pair.touched = pair.touched.max(now);
        pair
    }

    /// What is enough by itself.
    fn once(&mut self, seen: &Observation, remote: &Remote, out: &mut Vec<Evidence>) {
        let (client, server, what) = (remote.client.ip(), remote.server.ip(), &remote.what);
        let (place, kind, technique, summary) = match remote.step {
            Step::Toolkit => (
                LIBRARY,
                "attack_library",
                "T1021.002",
                format!("{client} speaks to {server} by SMB as programs of a library for attacks do (Impacket)"),
            ),
            Step::Secrets => {
                (SECRETS, "secrets", "T1003", format!("{client} takes secrets of {server} from afar: it called {what}"))
            }
            _ => (
                CLEARED,
                "log_cleared",
                "T1070.001",
                format!("{client} emptied a log of events of {server} from afar: it called {what}"),
            ),
        };
        let now = seen.time;
        if self.pair(remote, now).is_due(place, now) {
            let terms = vec![Term::exact("calls", 1.0)];
            out.push(Evidence {
                severity: 2,
                confidence: 0.8,
                summary,
                terms,
                ..of_pair(seen, remote, kind, technique)
            });
        }
    }

    fn file_or_call(&mut self, seen: &Observation, remote: &Remote, out: &mut Vec<Evidence>) {
        let now = seen.time;
        let pair = self.pair(remote, now);
        let is_call = remote.step == Step::Execution;
        *(if is_call { &mut pair.ran } else { &mut pair.wrote }) = Some(now);
        let lately = |at: Option<Timestamp>| at.is_some_and(|at| now.since(at) < TOGETHER_NS);
        if lately(pair.wrote) && lately(pair.ran) {
            if pair.is_due(TOGETHER, now) {
                // It says what the lesser ones say.
                for lesser in [ALONE, COPIED] {
                    pair.is_due(lesser, now);
                }
                out.push(execution(seen, remote, true));
            }
        } else if is_call && pair.is_due(ALONE, now) {
            out.push(execution(seen, remote, false));
        } else if remote.step == Step::WriteProgram && pair.is_due(COPIED, now) {
            out.push(copied(seen, remote));
        }
    }
}

impl Pair {
    /// Was it not told lately? Then it is now.
    fn is_due(&mut self, place: usize, now: Timestamp) -> bool {
        let Some(told) = self.told.get_mut(place) else { return false };
        let is_due = is_over(*told, now);
        if is_due {
            *told = Some(now);
        }
        is_due
    }
}

fn of_pair(seen: &Observation, remote: &Remote, kind: &str, technique: &str) -> Evidence {
    Evidence {
        severity: 3,
        confidence: 0.5,
        source: Some(remote.client.ip()),
        target: Some(remote.server.ip()),
        port: Some(remote.server.port),
        technique: Some(technique.into()),
        flow: seen.origin.flow(false),
        ..seen.evidence(Detector::Lateral, kind)
    }
}

fn execution(seen: &Observation, remote: &Remote, has_file: bool) -> Evidence {
    let (client, server, what) = (remote.client.ip(), remote.server.ip(), &remote.what);
    let weight = if has_file { 1001.0 } else { 1000.0 };
    let (kind, summary) = match (has_file, remote.step) {
        (true, Step::Write | Step::WriteProgram) => {
            ("file_and_execution", format!("{client} ran something on {server}, and wrote {what} to it"))
        }
        (true, _) => (
            "file_and_execution",
            format!("{client} wrote a file to an administrative share of {server}, and called {what}"),
        ),
        _ => (
            "remote_execution",
            format!("{client} called {what} on {server}, as who runs programs there from afar does"),
        ),
    };
    let weight = Term::exact("weight_of_file_and_call", weight);
    Evidence {
        severity: if has_file { 1 } else { 3 },
        confidence: if has_file { 0.9 } else { 0.5 },
        summary,
        terms: vec![if has_file { weight.against(Relation::AtLeast, 1001.0) } else { weight }],
        ..of_pair(seen, remote, kind, if has_file { "T1570" } else { "T1569.002" })
    }
}

fn copied(seen: &Observation, remote: &Remote) -> Evidence {
    let (client, server, what) = (remote.client.ip(), remote.server.ip(), &remote.what);
    Evidence {
        summary: format!("{client} wrote the program {what} to an administrative share of {server}"),
        terms: vec![Term::exact("programs_written", 1.0)],
        ..of_pair(seen, remote, "program_copied", "T1570")
    }
}

fn counted(seen: &Observation, remote: &Remote, (kind, technique): (&str, &str), count: u32, least: f64) -> Evidence {
    let (client, server) = (remote.client.ip(), remote.server.ip());
    let summary = if remote.step == Step::Accounts {
        format!(
            "{client} listed accounts or groups {count} times within five minutes, {} at {server} the latest",
            remote.what
        )
    } else if kind == "discovery" {
        format!(
            "{client} made {count} calls that list shares or sessions, or ask about accounts, within five minutes, {} at {server} the latest",
            remote.what
        )
    } else if kind == "refused_shares" {
        format!(
            "{client} was turned down at administrative shares {count} times within five minutes, {} of {server} the latest",
            remote.what
        )
    } else {
        format!(
            "{client} connected to administrative shares {count} times within five minutes, {} of {server} the latest",
            remote.what
        )
    };
    let name = if kind == "discovery" { "discovery_calls" } else { "admin_share_connections" };
    let flow = seen.origin.flow(true);
    let terms = vec![Term::exact(name, f64::from(count)).against(Relation::AtLeast, least)];
    Evidence { summary, terms, flow, ..of_pair(seen, remote, kind, technique) }
}

fn replication(seen: &Observation, remote: &Remote) -> Evidence {
    let (client, server) = (remote.client.ip(), remote.server.ip());
    Evidence {
        severity: 2,
        confidence: 0.7,
        summary: format!(
            "{client} asked the domain controller {server} for its secrets ({}), and nobody asks {client} as a controller",
            remote.what
        ),
        terms: vec![Term::exact("replication_calls", 1.0)],
        ..of_pair(seen, remote, "replication", "T1003.006")
    }
}

fn new_paths(seen: &Observation, flow: &Flow, fresh: f64, verdict: &Verdict, settings: &Settings) -> Evidence {
    let (client, server) = (flow.client.ip(), flow.server.ip());
    let remote = Remote { client: flow.client, server: flow.server, step: Step::Share, what: String::new() };
    Evidence {
        severity: 2,
        confidence: (verdict.z / (2.0 * settings.baseline.z)).clamp(0.3, 1.0),
        summary: format!(
            "{client} took {fresh} new paths of remote administration within this hour, where {:.0} are usual ({} values of {}, \
             {}); most lately to {server} port {}",
            verdict.median,
            verdict.count,
            verdict.basis.words(),
            verdict.mode.words(),
            flow.server.port
        ),
        terms: vec![
            Term {
                usual: Some(rounded(verdict.median)),
                ..Term::exact("new_paths_in_this_hour", fresh).against(Relation::Above, rounded(verdict.threshold))
            },
            Term::exact("baseline_z", rounded(verdict.z)).against(Relation::AtLeast, settings.baseline.z),
            Term::exact("baseline_mad", rounded(verdict.mad)),
            Term::exact("baseline_values", verdict.count.into()),
        ],
        flow: seen.origin.flow(true),
        ..of_pair(seen, &remote, "new_paths", "T1021")
    }
}
