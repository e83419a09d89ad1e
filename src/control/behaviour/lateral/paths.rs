//! Paths from host to host: shells and desktops that are opened (SSH, RDP, WinRM), whatever their ports.
//!
//! - *fan_out*: one host opens those of three hosts that it never went to before within ten minutes. Whoever administers many hosts
//!   is told once for them and then goes where he went before; from three days on his baseline decides (*new_paths*).
//! - *pivot*: while somebody has one open on a host, that host opens one on a third host, where it never went before. People who
//!   go through a jump host do so, but theirs has been everywhere after a while, and its paths are new no more.
//!
//! A session counts, not a try: whoever only reads greetings has exchanged no keys, and of SSH only what was let in: after the key
//! exchange a server says at most some hundred bytes to those that it turns down (`detect::brute_force` has the measurements).
//! Those are no shells: six of them at three hosts and more, where the client never was, within ten minutes are told as spraying
//! (`brute_force`/`ssh_spraying`).
//!
//! Not seen: a pivot whose first leg comes in by something else, or lives on when the second ends and longer.

use super::{Lateral, Settings, is_over, of_pair};
use crate::control::behaviour::count::hash;
use crate::control::behaviour::observation::{Flow, Observation, Remote, Step};
use crate::dataplane::decode::Endpoint;
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::dataplane::inspect::Protocol;
use crate::units::{SECOND, Timestamp};

/// Hosts within it count together.
const FAN_NS: u64 = 600 * SECOND;
/// Hosts that are told apart within it.
pub const FAN: usize = 16;
/// Sessions in and out that are remembered of a host.
const LEGS: usize = 4;
/// A leg is forgotten after so long.
const LEG_NS: u64 = 3600 * SECOND;
/// Times the threshold at which it is of severity 2.
const MANY: f64 = 3.0;

/// One leg: who is at its other end, and from when to when it was there.
#[derive(Clone, Copy, Default)]
struct Leg {
    other: u128,
    port: u16,
    began: Timestamp,
    ended: Timestamp,
}

/// The latest legs.
#[derive(Clone, Copy, Default)]
struct Legs {
    legs: [Leg; LEGS],
    next: usize,
}

impl Legs {
    fn put(&mut self, leg: Leg) {
        if let Some(place) = self.legs.get_mut(self.next) {
            *place = leg;
        }
        self.next = (self.next + 1) % LEGS;
    }

    fn find(&self, now: Timestamp, wanted: impl Fn(&Leg) -> bool) -> Option<Leg> {
        self.legs.iter().find(|leg| leg.other != 0 && now.since(leg.ended) < LEG_NS && wanted(leg)).copied()
    }
}

/// Where a host went lately for the first time, and who came to it.
#[derive(Clone, Copy, Default)]
pub(super) struct Walk {
    since: Timestamp,
    hosts: [u64; FAN],
    count: usize,
    next: f64,
    into: Legs,
    /// Only where it went for the first time.
    out_of: Legs,
    told_pivot: Option<Timestamp>,
    /// Hosts that turned it down lately, and how often they did.
    refused_since: Timestamp,
    refused_hosts: [u64; FAN],
    refused: u32,
    next_refused: f64,
}

impl Walk {
    /// It was turned down; gives the number of hosts that did so if that is told.
    fn is_refused_by(&mut self, server: u128, now: Timestamp, settings: &Settings) -> Option<usize> {
        if self.refused == 0 || now.since(self.refused_since) >= FAN_NS {
            (self.refused_since, self.refused, self.refused_hosts) = (now, 0, [0; FAN]);
            self.next_refused = settings.refused_sessions;
        }
        self.refused += 1;
        let server = hash(server);
        let place = self.refused_hosts.iter().position(|known| *known == server || *known == 0);
        if let Some(slot) = place.and_then(|place| self.refused_hosts.get_mut(place)) {
            *slot = server;
        }
        let hosts = self.refused_hosts.iter().filter(|known| **known != 0).count();
        if f64::from(self.refused) < self.next_refused || (hosts as f64) < settings.fan_out {
            return None;
        }
        self.next_refused = 2.0 * f64::from(self.refused);
        Some(hosts)
    }

    /// It went to a host for the first time; gives the number of those if it is told.
    fn goes_to(&mut self, server: u128, now: Timestamp, least: f64) -> Option<usize> {
        if self.count == 0 || now.since(self.since) >= FAN_NS {
            (self.since, self.count, self.next) = (now, 0, least);
        }
        let server = hash(server);
        if self.hosts.iter().take(self.count).any(|known| *known == server) {
            return None;
        }
        *self.hosts.get_mut(self.count)? = server;
        self.count += 1;
        if (self.count as f64) < self.next {
            return None;
        }
        self.next *= MANY;
        Some(self.count)
    }
}

/// Did client and server come to know each other? Keys of SSH take each of them 1.2 KiB (RFC 4253 section 7, as OpenSSH fills it), a
/// greeting at most 255 bytes; of RDP there is a login behind the first request, which has 19 bytes and a cookie (MS-RDPBCGR 2.2.1.1).
pub(super) fn is_session(flow: &Flow) -> bool {
    let [asked, answered] = flow.payload;
    match (flow.application, flow.server.port) {
        (Protocol::Ssh, _) | (Protocol::Unknown, 22) => {
            asked.min(answered) >= 1500 && flow.later_answer > 0 && !is_refused(flow)
        }
        (Protocol::Rdp, _) | (Protocol::Unknown | Protocol::Tls, 3389) => asked >= 200 && answered > 0,
        (_, 5985 | 5986) => asked.min(answered) >= 500,
        _ => false,
    }
}

/// What an SSH server says after the key exchange to somebody whom it turns down, bytes: one to three guesses, and six (OpenSSH 9.2).
/// The smallest logins have 580 (`true` by password), 708 (sftp) and 868 (by key), so what is between is told by its length.
const TURNED_DOWN: u64 = 384;
const TURNED_DOWN_OFTEN: u64 = 768;
/// PAM waits some two seconds before each refusal; a login that runs one command is over by then.
const GUESSES_NS: u64 = 4 * SECOND;

/// Was it SSH, and the client turned down? Keys were exchanged, and little followed.
pub(super) fn is_refused(flow: &Flow) -> bool {
    let is_ssh = flow.application == Protocol::Ssh || (flow.application == Protocol::Unknown && flow.server.port == 22);
    let [asked, answered] = flow.payload;
    let is_several = flow.later_answer <= TURNED_DOWN_OFTEN && (flow.server_closed || flow.length_ns >= GUESSES_NS);
    is_ssh && asked.min(answered) >= 1000 && flow.later_answer > 0 && (flow.later_answer <= TURNED_DOWN || is_several)
}

impl Lateral {
    /// A client was turned down at a host where it never was before.
    pub(super) fn refused(&mut self, seen: &Observation, flow: &Flow, out: &mut Vec<Evidence>) {
        let settings = self.settings;
        let host = self.host(flow.client.address, seen.told);
        if host.known.holds(hash((flow.server.address, flow.server.port))) {
            return;
        }
        if let Some(hosts) = host.walk.is_refused_by(flow.server.address, seen.told, &settings) {
            let refused = f64::from(host.walk.refused);
            out.push(spraying(seen, flow, (hosts as f64, refused), &settings));
        }
    }

    /// A session of one host of ours with another; `is_fresh`: the first on this path.
    pub(super) fn session(
        &mut self,
        seen: &Observation,
        flow: &Flow,
        (is_fresh, is_building): (bool, bool),
        out: &mut Vec<Evidence>,
    ) {
        let (now, least) = (seen.told, self.settings.fan_out);
        let (client, server) = (flow.client, flow.server);
        let leg = |other: Endpoint| Leg {
            other: other.address,
            port: server.port,
            began: flow.began,
            ended: Timestamp(flow.began.0.saturating_add(flow.length_ns)),
        };
        // Who came to the server may have gone on from there.
        let host = self.host(server.address, now);
        host.walk.into.put(leg(client));
        let (began, ended) = (leg(client).began, leg(client).ended);
        let further = |leg: &Leg| leg.began > began && leg.began < ended && leg.other != client.address;
        if let Some(next) = host.walk.out_of.find(now, further)
            && is_over(host.walk.told_pivot, now)
        {
            host.walk.told_pivot = Some(now);
            out.push(pivot(seen, [client, server, Endpoint { address: next.other, port: next.port }]));
        }
        if !is_fresh {
            return;
        }
        let host = self.host(client.address, now);
        if is_building && let Some(count) = host.walk.goes_to(server.address, now, least) {
            out.push(fan_out(seen, flow, count as f64, least));
        }
        host.walk.out_of.put(leg(server));
        let before = |leg: &Leg| leg.began < began && began < leg.ended && leg.other != server.address;
        if let Some(first) = host.walk.into.find(now, before)
            && is_over(host.walk.told_pivot, now)
        {
            host.walk.told_pivot = Some(now);
            let through = Endpoint { port: first.port, ..client };
            out.push(pivot(seen, [Endpoint { address: first.other, port: 0 }, through, server]));
        }
    }
}

fn spraying(seen: &Observation, flow: &Flow, (hosts, refused): (f64, f64), settings: &Settings) -> Evidence {
    let (client, server) = (flow.client.ip(), flow.server.ip());
    Evidence {
        severity: if hosts >= MANY * settings.fan_out { 2 } else { 3 },
        confidence: 0.6,
        source: Some(client),
        port: Some(flow.server.port),
        summary: format!(
            "{client} tried logins at {hosts} hosts within ten minutes where it never was before (ssh): {refused} sessions were turned \
             down, of {server} the latest"
        ),
        terms: vec![
            Term::exact("distinct_servers", hosts).against(Relation::AtLeast, settings.fan_out),
            Term::exact("refused_sessions", refused).against(Relation::AtLeast, settings.refused_sessions),
            Term::exact("answer_after_key_exchange_bytes", flow.later_answer as f64)
                .against(Relation::AtMost, TURNED_DOWN_OFTEN as f64),
        ],
        technique: Some("T1110.003".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::BruteForce, "ssh_spraying")
    }
}

fn fan_out(seen: &Observation, flow: &Flow, count: f64, least: f64) -> Evidence {
    let (client, server) = (flow.client.ip(), flow.server.ip());
    let remote = Remote { client: flow.client, server: flow.server, step: Step::Share, what: String::new() };
    Evidence {
        summary: format!(
            "{client} opened shells or desktops of {count} hosts within ten minutes where it was not seen before (what is usual is still \
             being learnt), of {server} port {} the latest",
            flow.server.port
        ),
        target: None,
        terms: vec![Term::exact("hosts_never_gone_to", count).against(Relation::AtLeast, least)],
        flow: seen.origin.flow(true),
        ..of_pair(seen, &remote, "fan_out", "T1021")
    }
}

/// From the first through the second to the third.
fn pivot(seen: &Observation, [first, through, last]: [Endpoint; 3]) -> Evidence {
    let remote = Remote { client: first, server: through, step: Step::Share, what: String::new() };
    Evidence {
        summary: format!(
            "{} was logged in to {}, which meanwhile logged in to {} port {} for the first time",
            first.ip(),
            through.ip(),
            last.ip(),
            last.port
        ),
        terms: vec![Term::exact("hosts_in_a_row", 3.0)],
        flow: seen.origin.flow(true),
        ..of_pair(seen, &remote, "pivot", "T1021")
    }
}
