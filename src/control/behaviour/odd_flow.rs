//! Flows to the outside that are odd in several ways: known protocols on odd ports, what is no TLS on its port, what is encrypted from
//! its first byte, ports of number 0, and connections that stay open for hours.
//!
//! - *odd_port*: one of the first three of these signs (nDPI 005; Slips; nDPI 051 after Wu et al., USENIX Security 2023) and two more: of
//!   the same three, or a server that only this host goes to, 1500 seconds and more (Slips), twice as much sent as received.
//! - *long_connection*: open for four, eight and twelve hours (RITA: 3600, 14 400, 28 800, 43 200 s), to a server that is not popular.
//! - *port_zero*: an answered flow with port 0, which no socket has.
//!
//! A port is odd by the table below; what has no entry is never odd. TLS is seen to be missing from port 443 only when two
//! connections five minutes apart have none, and nobody has spoken TLS with the server meanwhile. Whether first bytes are
//! encrypted is known where shapes are kept: with EVE, `conn.log` or the history of flows. A host with five such servers in a day
//! is a peer among peers, and no sixth is told. These are hints, not a scan for weaknesses.

use super::observation::{Flow, Observation};
use super::prevalence::Usual;
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::dataplane::inspect::Protocol;
use crate::exchange::FlowSummary;
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Signs of a flow that are an alert, one of them about what it carries.
    pub signs: f64,
    /// Seconds from which a connection is long (Slips: 1500).
    pub long_s: f64,
    /// Hours from which it is told by itself, and after as many more (RITA: 4 is its second of four steps).
    pub open_h: f64,
    /// Pairs of host and server, and hosts, remembered, each.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { signs: 3.0, long_s: 1500.0, open_h: 4.0, pairs: 1 << 13 }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<(u128, u128, u16), Pair>(self.pairs) + cold::bytes::<u128, Host>(self.pairs)
    }
}

const HOUR_NS: u64 = 3600 * SECOND;
const AGAIN_NS: u64 = 24 * HOUR_NS;
/// Connections without TLS that far apart were no accident (Slips).
const APART_NS: u64 = 300 * SECOND;
/// Servers of a host and day that are told.
const SERVERS: u32 = 5;
/// A living flow is looked at each minute; it is told within so long after it has reached a step.
const STEP_NS: u64 = 150 * SECOND;
/// Less sent says nothing of the direction.
const SENT_BYTES: u64 = 100_000;

/// Where a protocol is usual (IANA service names, and what products took beside them); `None`: anywhere.
fn usual_ports(protocol: Protocol) -> Option<&'static [u16]> {
    use Protocol::{Dns, Ftp, Http, Imap, MySql, Ntp, Pop3, PostgreSql, Rdp, Smb, Smtp, Ssh, Telnet};
    Some(match protocol {
        Http => &[
            80, 81, 591, 3000, 3128, 5000, 5357, 5985, 7547, 8000, 8008, 8009, 8080, 8081, 8088, 8090, 8443, 8880,
            8888, 9000, 9090,
        ],
        Ssh => &[22, 2022, 2222],
        Dns => &[53, 5353, 5355],
        Ftp => &[21, 2121],
        Smtp => &[25, 465, 587, 2525],
        Imap => &[143, 993],
        Pop3 => &[110, 995],
        Telnet => &[23, 2323],
        Rdp => &[3389],
        Smb => &[139, 445],
        Ntp => &[123],
        MySql => &[3306],
        PostgreSql => &[5432],
        _ => return None,
    })
}

/// Has a living flow just reached a step of its age?
pub fn is_due(flow: &FlowSummary, settings: &Settings) -> bool {
    let age = flow.last_seen.since(flow.first_seen);
    let step = (settings.open_h * HOUR_NS as f64) as u64;
    age >= step && age % step.max(1) < STEP_NS
}

/// A host and a server.
struct Pair {
    touched: Timestamp,
    /// First connection without TLS on its port, since somebody spoke TLS.
    bare: Option<Timestamp>,
    told: Option<Timestamp>,
    /// Steps of its age that were told, and when.
    open: (u64, Timestamp),
}

/// What was told of a host today.
struct Host {
    since: Timestamp,
    touched: Timestamp,
    servers: u32,
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

/// A sign, for a term and in words.
#[derive(Clone, Copy)]
struct Sign {
    name: &'static str,
    words: &'static str,
    /// It is about what the flow carries.
    is_content: bool,
}

/// The detector.
pub struct OddFlow {
    settings: Settings,
    pairs: ColdMap<(u128, u128, u16), Pair>,
    hosts: ColdMap<u128, Host>,
}

impl OddFlow {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> OddFlow {
        OddFlow { pairs: ColdMap::new(settings.pairs), hosts: ColdMap::new(settings.pairs), settings }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// What was forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.pairs.forgotten() + self.hosts.forgotten()
    }

    /// May another server of this host be told today?
    fn may_tell(&mut self, host: u128, now: Timestamp) -> bool {
        let host = self.hosts.entry(host, || Host { since: now, touched: now, servers: 0 });
        host.touched = host.touched.max(now);
        if now.since(host.since) >= AGAIN_NS {
            (host.since, host.servers) = (now, 0);
        }
        host.servers += 1;
        host.servers <= SERVERS
    }

    /// A flow of a host of ours to the outside, ended or grown; `usual`: how many go there.
    pub fn observe(&mut self, seen: &Observation, flow: &Flow, usual: &Usual, out: &mut Vec<Evidence>) {
        let (now, settings) = (seen.told, self.settings);
        let key = (flow.client.address, flow.server.address, flow.server.port);
        let fresh = || Pair { touched: now, bare: None, told: None, open: (0, now) };
        let pair = self.pairs.entry(key, fresh);
        pair.touched = pair.touched.max(now);
        let is_tcp = flow.protocol == 6;
        let is_bare = is_tcp && flow.server.port == 443 && flow.application == Protocol::Unknown && flow.is_read;
        if flow.application == Protocol::Tls {
            pair.bare = None;
        }
        let is_apart = is_bare && pair.bare.is_some_and(|first| now.since(first) >= APART_NS);
        if is_bare {
            pair.bare.get_or_insert(now);
        }
        let has_zero = matches!(flow.protocol, 6 | 17) && (flow.client.port == 0 || flow.server.port == 0);
        let is_elsewhere = usual_ports(flow.application).is_some_and(|ports| !ports.contains(&flow.server.port));
        let is_alone = usual.hosts >= 4.0 && usual.clients <= 1.0;
        let [sent, received] = flow.payload;
        let is_upload = sent >= SENT_BYTES && sent >= received.saturating_mul(2);
        let is_long = flow.length_ns as f64 >= settings.long_s * SECOND as f64;
        let sign = |name, words, is_content| Sign { name, words, is_content };
        let signs: Vec<Sign> = [
            (is_elsewhere, sign("odd_port", "a protocol on a port that is not its own", true)),
            (is_apart, sign("no_tls_on_its_port", "no TLS on port 443", true)),
            (flow.is_encrypted, sign("fully_encrypted", "encrypted from its first byte", true)),
            (is_alone, sign("only_host", "a server that no other host goes to", false)),
            (is_long, sign("long", "a long connection", false)),
            (is_upload, sign("upload", "more sent than received", false)),
        ]
        .into_iter()
        .filter_map(|(holds, sign)| holds.then_some(sign))
        .collect();
        let is_odd = signs.len() as f64 >= settings.signs && signs.iter().any(|sign| sign.is_content);
        let is_news = pair.told.is_none_or(|at| now.since(at) >= AGAIN_NS);
        if !is_news || usual.is_popular() || !(is_odd || has_zero) {
            return;
        }
        pair.told = Some(now);
        if self.may_tell(flow.client.address, now) {
            out.push(odd(seen, flow, &signs, has_zero && !is_odd, usual, &settings));
        }
    }

    /// A connection of a host of ours to the outside that is open still, or has just ended.
    pub fn open(&mut self, seen: &Observation, flow: &Flow, usual: &Usual, out: &mut Vec<Evidence>) {
        let (now, settings) = (seen.told, self.settings);
        let steps = (flow.length_ns as f64 / (settings.open_h * HOUR_NS as f64)) as u64;
        if flow.protocol != 6 || steps == 0 || usual.is_popular() {
            return;
        }
        let key = (flow.client.address, flow.server.address, flow.server.port);
        let pair = self.pairs.entry(key, || Pair { touched: now, bare: None, told: None, open: (0, now) });
        pair.touched = pair.touched.max(now);
        if pair.open.0 > 0 && now.since(pair.open.1) >= AGAIN_NS {
            pair.open.0 = 0;
        }
        // Three steps, twelve hours at first; then it is known.
        let step = steps.min(3);
        if step > pair.open.0 {
            pair.open = (step, now);
            out.push(long(seen, flow, step, usual, &settings));
        }
    }
}

fn of_flow(seen: &Observation, flow: &Flow, kind: &str, severity: u8) -> Evidence {
    Evidence {
        severity,
        confidence: 0.5,
        source: Some(flow.client.ip()),
        target: Some(flow.server.ip()),
        port: Some(flow.server.port),
        technique: Some("T1571".into()),
        flow: seen.origin.flow(false),
        ..seen.evidence(Detector::OddFlow, kind)
    }
}

fn odd(seen: &Observation, flow: &Flow, signs: &[Sign], is_zero: bool, usual: &Usual, settings: &Settings) -> Evidence {
    let (client, server, port) = (flow.client.ip(), flow.server.ip(), flow.server.port);
    if is_zero {
        let summary =
            format!("{client} spoke with {server} from port {} to port {port}: no socket has port 0", flow.client.port);
        let terms = vec![Term::exact("port", f64::from(port))];
        return Evidence { summary, terms, technique: None, ..of_flow(seen, flow, "port_zero", 3) };
    }
    let words: Vec<&str> = signs.iter().map(|sign| sign.words).collect();
    let application = match flow.application {
        Protocol::Unknown => String::new(),
        known => format!(" in {}", known.name()),
    };
    let least = Term::exact("signs", signs.len() as f64).against(Relation::AtLeast, settings.signs);
    let each = signs.iter().map(|sign| Term::exact(sign.name, 1.0));
    let others = [
        Term::exact("duration_s", (flow.length_ns / SECOND) as f64),
        Term::exact("hosts_that_go_there", usual.clients),
    ];
    Evidence {
        summary: format!("{client} spoke with {server} port {port}{application}: {}", words.join(", ")),
        terms: std::iter::once(least).chain(each).chain(others).collect(),
        confidence: (0.15 * signs.len() as f64).clamp(0.3, 0.9),
        ..of_flow(seen, flow, "odd_port", 3)
    }
}

fn long(seen: &Observation, flow: &Flow, step: u64, usual: &Usual, settings: &Settings) -> Evidence {
    let (client, server, port) = (flow.client.ip(), flow.server.ip(), flow.server.port);
    let hours = flow.length_ns as f64 / HOUR_NS as f64;
    let rounded = (hours * 10.0).round() / 10.0;
    Evidence {
        summary: format!("a connection of {client} to {server} port {port} is open for {hours:.0} hours"),
        terms: vec![
            Term::exact("open_h", rounded).against(Relation::AtLeast, step as f64 * settings.open_h),
            Term::exact("bytes_sent", flow.payload[0] as f64),
            Term::exact("hosts_that_go_there", usual.clients),
        ],
        technique: None,
        ..of_flow(seen, flow, "long_connection", if step >= 3 { 3 } else { 4 })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Wire, host, outside};
    use super::*;

    fn found(wire: &Wire) -> Vec<(String, u8)> {
        let odd = wire.evidence().into_iter().filter(|one| one.detector.name() == "odd_flow");
        odd.map(|one| (one.kind, one.severity)).collect()
    }

    /// Ten hosts that go to their own servers, so that something can be only one's.
    fn network() -> Wire {
        let mut wire = Wire::default();
        for client in 1..=10 {
            let ends = (host(client), outside(500), 443);
            wire.flow(SECOND, ends, [500, 5000], (SECOND, SECOND));
        }
        wire
    }

    #[test]
    fn what_is_odd_in_three_ways_is_told() {
        let odd = [("odd_port".to_owned(), 3)];
        for (what, protocol, port, bytes, length_s, wanted) in [
            ("a shell that stays", Protocol::Ssh, 443, [9000, 9000], 2000, &odd[..]),
            ("a shell on its port that stays", Protocol::Ssh, 22, [9000, 9000], 2000, &[]),
            ("a shell on another port, short", Protocol::Ssh, 2200, [9000, 9000], 60, &[]),
            ("an upload over HTTP to an odd port", Protocol::Http, 4444, [200_000, 100], 60, &odd),
            ("a page from an odd port", Protocol::Http, 4444, [500, 90_000], 60, &[]),
            ("what nobody knows", Protocol::Unknown, 4444, [200_000, 100], 2000, &[]),
        ] {
            let mut wire = network();
            wire.flow_of(protocol, 60 * SECOND, (host(1), outside(1), port), bytes, (length_s * SECOND, SECOND));
            wire.flow_of(protocol, 90 * SECOND, (host(1), outside(1), port), bytes, (length_s * SECOND, SECOND));
            assert_eq!(found(&wire), wanted, "{what}");
        }
        // The same at a server that others use too.
        let mut wire = network();
        for client in [1, 2] {
            wire.flow_of(
                Protocol::Ssh,
                60 * SECOND,
                (host(client), outside(1), 443),
                [9000, 9000],
                (60 * SECOND, SECOND),
            );
        }
        assert_eq!(found(&wire), []);
    }

    #[test]
    fn no_tls_on_its_port_takes_two_connections_and_no_tls_between() {
        let bare = |minutes: &[u64], tls: Option<u64>| {
            let mut wire = network();
            for minute in minutes {
                let at = minute * 60 * SECOND;
                wire.flow_of(Protocol::Unknown, at, (host(1), outside(1), 443), [200_000, 100], (SECOND, SECOND));
            }
            if let Some(minute) = tls {
                wire.flow(minute * 60 * SECOND, (host(1), outside(1), 443), [500, 500], (SECOND, SECOND));
            }
            found(&wire).len()
        };
        assert_eq!([bare(&[1, 7], None), bare(&[1], None), bare(&[1, 3], None), bare(&[1, 7], Some(4))], [1, 0, 0, 0]);
    }

    /// A peer among peers has dozens of odd ones: five are told.
    #[test]
    fn a_host_with_many_is_told_of_five() {
        let mut wire = network();
        for peer in 0..40 {
            let ends = (host(1), outside(1 + peer), 4444);
            wire.flow_of(Protocol::Http, 60 * SECOND, ends, [200_000, 100], (SECOND, SECOND));
        }
        assert_eq!(found(&wire).len(), SERVERS as usize);
    }

    #[test]
    fn connections_that_stay_open_and_ports_that_are_none_are_hints() {
        for (hours, wanted) in [(3, None), (5, Some(4)), (9, Some(4)), (13, Some(3)), (100, Some(3))] {
            let mut wire = network();
            wire.flow(60 * SECOND, (host(1), outside(1), 443), [900, 900], (hours * HOUR_NS, SECOND));
            let wanted: Vec<_> = wanted.map(|severity| ("long_connection".to_owned(), severity)).into_iter().collect();
            assert_eq!(found(&wire), wanted, "{hours} hours");
        }
        let mut wire = network();
        wire.flow(60 * SECOND, (host(1), outside(1), 0), [900, 900], (SECOND, SECOND));
        assert_eq!(found(&wire), [("port_zero".to_owned(), 3)]);
    }
}
