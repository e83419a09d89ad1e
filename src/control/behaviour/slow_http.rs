//! Web servers whose connections are held with requests that never end: slow headers (slowloris) and slow bodies.
//!
//! A connection counts when it is HTTP, is older than ten seconds, its client has sent something but less than ten bytes a second, or
//! less than sixty in many packets, and its server has said nothing, or that it waited in vain (408), or answered when the client gave
//! up, of a body that was not all there (a server that reads until its client ends answers whatever it is asked then). Twenty of one
//! source to one server within two minutes are told, or twenty of many that are a third of the server's connections. So are readers: an
//! answer of a known length of which the client has taken less than a thousand bytes a second in ten seconds and more, and not all. Of
//! answers whose length nobody knows (chunked, inside TLS) readers are told by their window: one of at most 4 KiB in the first packet
//! (browsers and libraries begin with 8 KiB and more; slowhttptest -X asks the kernel for the least that it gives, some 1.2 KiB), less
//! than a thousand bytes a second, and a server that goes on knocking: eight packets and more of which few carry anything. Living
//! connections are looked at each minute; a capture tells of those that ended.
//!
//! Connections opened ahead send nothing, and long polling has sent a whole request in a moment and waits: neither has many such
//! of one source to one server. A slow link has a large window and is busy; a small device has a small one, and takes what it gets. Not
//! seen: slow requests inside TLS, where nobody knows what is whole; readers that make their window small after the first packet.

use super::count::{Distinct, hash};
use super::observation::{Flow, Observation, Slow};
use crate::dataplane::decode::Endpoint;
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
    /// Slow connections to one server within two minutes, of one source or of many.
    pub connections: f64,
    /// Share of the server's connections that those of many sources must be.
    pub share: f64,
    /// Servers remembered, some 500 bytes each.
    pub servers: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { connections: 20.0, share: 0.3, servers: 1 << 12 }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<(u128, u16), Server>(self.servers)
    }
}

/// Age from which a connection may be slow.
pub const AGE_NS: u64 = 10 * SECOND;
/// Bytes a second from which its client is not.
pub const RATE: f64 = 10.0;
/// Connections are counted together for so long.
const WINDOW_NS: u64 = 120 * SECOND;
/// Evidence of what goes on comes again after so long; it makes one alert.
const AGAIN_NS: u64 = 30 * SECOND;
/// Sources that are counted apart.
const SOURCES: usize = 8;

/// The same of requests that come in so many packets: one that is whole has its handshake, itself, an end and its acknowledgement.
const RATE_IN_PIECES: f64 = 60.0;
const PIECES: u64 = 6;

/// Does a flow, ended or alive, look so? `payload`: of client and server, bytes; `packets` of the client.
fn is_slow(application: Protocol, age_ns: u64, payload: [u64; 2], packets: u64) -> bool {
    let [sent, said] = payload;
    let rate = sent as f64 * SECOND as f64 / age_ns.max(1) as f64;
    let is_slow = rate < if packets >= PIECES { RATE_IN_PIECES } else { RATE };
    application == Protocol::Http && age_ns >= AGE_NS && sent > 0 && said == 0 && is_slow
}

/// First window of a client, bytes, up to which it may be made small on purpose.
const WINDOW: u16 = 4096;
/// Packets of a server that goes on knocking, and what they carry on average, bytes.
const KNOCKS: u64 = 8;
const KNOCK_BYTES: u64 = 256;

/// The same of a summary, and does a client take an answer of unknown length so slowly?
pub fn is_slow_flow(flow: &FlowSummary) -> bool {
    let ([packets, knocks], [window, _], [sent, said]) = (flow.packets, flow.first_windows, flow.payload);
    let age_ns = flow.last_seen.since(flow.first_seen);
    let is_web = matches!(flow.application, Protocol::Http | Protocol::Http2 | Protocol::Tls);
    let is_small = window > 0 && window <= WINDOW;
    let is_knocked = knocks >= KNOCKS && said < knocks * KNOCK_BYTES;
    let is_read = is_web && is_small && is_knocked && sent > 0 && said > 0 && is_slow_reader(age_ns, said);
    is_read || is_slow(flow.application, age_ns, flow.payload, packets)
}

/// Bytes a second from which an answer is taken.
const TAKEN_RATE: f64 = 1000.0;

/// Does a client send a body that is not all there so slowly? Whoever uploads over a thin line sends some hundred times as much.
pub fn is_slow_sender(age_ns: u64, sent: u64) -> bool {
    age_ns >= AGE_NS && (sent as f64) * (SECOND as f64) < RATE_IN_PIECES * age_ns as f64
}

/// Does a client take an answer that is not all there so slowly? Who plays what he takes has some ten times as much.
pub fn is_slow_reader(age_ns: u64, taken: u64) -> bool {
    age_ns >= AGE_NS && (taken as f64) * (SECOND as f64) < TAKEN_RATE * age_ns as f64
}

/// Connections of one source.
#[derive(Clone, Copy, Default)]
struct Source {
    address: u128,
    slow: Distinct<2>,
    told: Option<Timestamp>,
}

/// A server.
struct Server {
    since: Timestamp,
    touched: Timestamp,
    /// Connections that ended, and those that are slow.
    all: u64,
    slow: Distinct<8>,
    sources: [Source; SOURCES],
    told: Option<Timestamp>,
}

impl Touched for Server {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// The detector.
pub struct SlowHttp {
    settings: Settings,
    servers: ColdMap<(u128, u16), Server>,
}

impl SlowHttp {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> SlowHttp {
        SlowHttp { servers: ColdMap::new(settings.servers), settings }
    }

    /// Servers forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.servers.forgotten()
    }

    fn server(&mut self, end: Endpoint, now: Timestamp) -> &mut Server {
        let fresh = || Server {
            since: now,
            touched: now,
            all: 0,
            slow: Distinct::default(),
            sources: [Source::default(); SOURCES],
            told: None,
        };
        let server = self.servers.entry((end.address, end.port), fresh);
        server.touched = server.touched.max(now);
        if now.since(server.since) >= WINDOW_NS {
            *server = Server { told: server.told, ..fresh() };
        }
        server
    }

    /// A connection that ended, slow or not: of all of them the slow ones are a share.
    pub fn flow(&mut self, seen: &Observation, flow: &Flow) {
        let is_web = matches!(flow.application, Protocol::Http | Protocol::Http2 | Protocol::Tls);
        if is_web && flow.is_new {
            self.server(flow.server, seen.told).all += 1;
        }
    }

    /// A slow connection.
    pub fn slow(&mut self, seen: &Observation, slow: &Slow, out: &mut Vec<Evidence>) {
        let settings = self.settings;
        let server = self.server(slow.server, seen.told);
        let flow = hash((slow.client.address, slow.client.port, slow.began));
        server.slow.insert(flow);
        let known = server.sources.iter().position(|one| one.address == slow.client.address);
        let least = || (0..SOURCES).min_by_key(|index| server.sources[*index].slow.estimate() as u64).unwrap_or(0);
        let index = known.unwrap_or_else(least);
        let source = &mut server.sources[index];
        if known.is_none() {
            *source = Source { address: slow.client.address, ..Source::default() };
        }
        source.slow.insert(flow);
        let (of_one, of_all) = (source.slow.estimate(), server.slow.estimate());
        // Those that live are none of those that ended.
        let share = of_all / (server.all as f64).max(of_all);
        let is_one = of_one >= settings.connections;
        let is_many = of_all >= settings.connections && share >= settings.share && of_one * 2.0 < of_all;
        let told = if is_one { &mut source.told } else { &mut server.told };
        if (is_one || is_many) && told.is_none_or(|at| seen.told.since(at) >= AGAIN_NS) {
            *told = Some(seen.told);
            let count = if is_one { of_one } else { of_all };
            out.push(evidence(seen, slow, is_one, count, share, &settings));
        }
    }
}

fn evidence(seen: &Observation, slow: &Slow, is_one: bool, count: f64, share: f64, settings: &Settings) -> Evidence {
    let (client, server, port) = (slow.client.ip(), slow.server.ip(), slow.server.port);
    let who = if is_one { format!("{client} holds") } else { "many hosts hold".to_owned() };
    let connections = Term::exact("slow_connections", count).against(Relation::AtLeast, settings.connections);
    let share = Term::exact("share_of_the_servers_connections", (share * 100.0).round() / 100.0);
    Evidence {
        severity: 2,
        confidence: 0.8,
        source: is_one.then_some(client),
        target: Some(server),
        port: Some(port),
        summary: format!(
            "{who} {count} connections of the web server {server} port {port} within two minutes with requests that do not end, below \
             {RATE} bytes a second ({RATE_IN_PIECES} in many packets), or with answers that are hardly taken, below {TAKEN_RATE} \
             bytes a second"
        ),
        terms: vec![connections, if is_one { share } else { share.against(Relation::AtLeast, settings.share) }],
        technique: Some("T1499.002".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::SlowHttp, if is_one { "slow_requests" } else { "slow_requests_of_many" })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{START, Wire, host, outside};
    use super::*;
    use crate::control::hosts;
    use crate::control::inventory::network::home;
    use crate::dataplane::inspect::http;

    fn found(wire: &Wire) -> Vec<String> {
        let slow = wire.evidence().into_iter().filter(|one| one.detector.name() == "slow_http");
        slow.map(|one| one.kind).collect()
    }

    /// `count` connections of `sources` hosts, each so long and with so many bytes of both.
    fn connections(count: u64, sources: u64, length_s: u64, bytes: [u64; 2]) -> Wire {
        let mut wire = Wire::default();
        for turn in 0..count {
            let ends = (outside((turn % sources) as u32), host(80), 80);
            wire.flow_of(Protocol::Http, turn * SECOND / 4, ends, bytes, (length_s * SECOND, SECOND));
        }
        wire
    }

    #[test]
    fn requests_that_do_not_end_are_told() {
        for (what, wire, wanted) in [
            ("one source", connections(25, 1, 60, [240, 0]), &["slow_requests"][..]),
            ("a slow body", connections(25, 1, 110, [900, 0]), &["slow_requests"]),
            ("in pieces, for seconds", connections(25, 1, 20, [540, 0]), &["slow_requests"]),
            ("many sources", connections(60, 60, 60, [240, 0]), &["slow_requests_of_many"]),
            ("a few", connections(15, 1, 60, [240, 0]), &[]),
            ("opened ahead", connections(50, 1, 60, [0, 0]), &[]),
            ("an upload", connections(50, 1, 60, [1_000_000, 0]), &[]),
            ("answered", connections(50, 1, 60, [400, 300]), &[]),
            ("quick", connections(50, 1, 3, [20, 0]), &[]),
        ] {
            assert_eq!(found(&wire), wanted, "{what}");
        }
        // Answers that are taken drop by drop: so many bytes of so many, so long after the connection began.
        for (what, taken, wanted, age, is_told) in [
            ("a reader with a small window", 900, 6_621, 14, true),
            ("a film", 400_000, 90_000_000, 14, false),
            ("one who breaks off", 900, 6_621, 2, false),
            ("one who has it all", 6_621, 6_621, 60, false),
        ] {
            let mut wire = Wire::default();
            for turn in 0..25 {
                wire.late_event(turn * SECOND / 4, age * SECOND, (outside(1), host(80), 80), Protocol::Http, |facts| {
                    facts.put_number(http::STATUS, 200);
                    facts.put_number(http::CONTENT_LENGTH, wanted);
                    facts.put_number(http::LENGTH, taken);
                });
            }
            assert_eq!(!found(&wire).is_empty(), is_told, "{what}");
        }
        // Requests that are whole, and wait: long polling.
        let mut wire = Wire::default();
        for turn in 0..50 {
            let ends = (outside(1), host(80), 80);
            wire.flow_of(Protocol::Http, turn * SECOND / 4, ends, [420, 0], (20 * SECOND, SECOND));
            wire.packets([5, 3]);
        }
        assert_eq!(found(&wire), [] as [&str; 0]);
        // Mobile clients among many others.
        let mut wire = connections(25, 25, 60, [240, 0]);
        for turn in 0..200 {
            let ends = (outside(100 + turn), host(80), 80);
            wire.flow_of(
                Protocol::Http,
                50 * SECOND + u64::from(turn) * SECOND / 20,
                ends,
                [400, 9000],
                (SECOND, SECOND),
            );
        }
        assert_eq!(found(&wire), [] as [&str; 0]);
        // Another protocol whose server listens: a collector of logs.
        let mut wire = Wire::default();
        for turn in 0..50 {
            wire.flow(turn * SECOND, (outside(1), host(80), 514), [240, 0], (60 * SECOND, SECOND));
        }
        assert_eq!(found(&wire), [] as [&str; 0]);
    }

    /// Readers whose answers nobody knows the length of, by window, bytes and packets.
    #[test]
    fn readers_with_small_windows_are_told() {
        for (what, application, window, length_s, bytes, packets, wanted) in [
            ("slowhttptest, chunked", Protocol::Http, 1152, 60, [320, 1700], [14, 16], true),
            ("the same inside TLS", Protocol::Tls, 1152, 60, [900, 3600], [16, 18], true),
            ("a large window: an idle connection", Protocol::Tls, 64_240, 60, [900, 3600], [16, 18], false),
            ("a small device that has its answer", Protocol::Http, 2144, 60, [320, 1700], [6, 5], false),
            ("a small device with a download", Protocol::Http, 2144, 60, [320, 600_000], [500, 600], false),
            ("a slow link with a download", Protocol::Tls, 64_240, 300, [900, 4_000_000], [2000, 3000], false),
            ("many who are quick", Protocol::Tls, 1152, 2, [900, 1500], [16, 18], false),
            ("another protocol", Protocol::Mqtt, 1152, 60, [320, 1700], [14, 16], false),
        ] {
            let mut wire = Wire::default();
            for turn in 0..25 {
                let ends = (outside(1), host(80), 443);
                wire.flow_of(application, turn * SECOND / 4, ends, bytes, (length_s * SECOND, SECOND));
                wire.packets(packets);
                wire.window(window);
            }
            assert_eq!(!found(&wire).is_empty(), wanted, "{what}");
        }
    }

    /// A server that has waited in vain says so.
    #[test]
    fn servers_that_time_out_are_heard() {
        let mut wire = Wire::default();
        for turn in 0..25 {
            wire.event(turn * SECOND, (outside(1), host(80), 80), (Protocol::Http, 6), |facts| {
                facts.put_number(http::STATUS, if turn == 30 { 200 } else { 408 });
            });
        }
        assert_eq!(found(&wire), ["slow_requests"]);
    }

    /// A server that reads until the client gives up, and answers then: of a request whose body has not come.
    #[test]
    fn answers_that_come_too_late_absolve_nobody() {
        for (what, status, length, missing, (age, number), is_told) in [
            ("a slow body", 401, 4096, 4070, (20, 0), true),
            ("the same, taken as it is", 200, 4096, 4070, (20, 0), true),
            ("a form of which nothing came", 404, 4096, 4096, (20, 0), true),
            ("refused at once", 401, 1 << 30, 1 << 30, (1, 0), false),
            ("a thin line", 413, 1 << 30, (1 << 30) - 40_000, (20, 0), false),
            ("all of it came", 401, 4096, 0, (20, 0), false),
            // Nobody knows when it was asked.
            ("a later one, refused at once", 401, 1 << 30, 1 << 30, (60, 3), false),
        ] {
            let mut wire = Wire::default();
            for turn in 0..25 {
                let ends = (outside(1), host(80), 80);
                wire.late_event(turn * SECOND / 4, age * SECOND, ends, Protocol::Http, |facts| {
                    facts.put_number(http::TRANSACTION, number);
                    facts.put_number(http::REQUEST_LENGTH, length);
                    facts.put_number(http::STATUS, status);
                    if missing > 0 {
                        facts.put_number(http::REQUEST_MISSING, missing);
                    }
                });
            }
            assert_eq!(found(&wire), if is_told { &["slow_requests"][..] } else { &[] }, "{what}");
        }
    }

    /// Live they are told while they are held.
    #[test]
    fn living_connections_are_counted_once() {
        let mut behaviour = hosts::Settings::default().behaviour(&home()).expect("wanted");
        let mut out = Vec::new();
        let mut tell = |count: u64, second: u64| {
            for turn in 0..count {
                let (key, originator) =
                    crate::dataplane::decode::FlowKey::v4(outside(1), 40_000 + turn as u16, host(80), 80, 6, 0);
                behaviour.living(&FlowSummary {
                    key,
                    originator,
                    first_seen: Timestamp(START + turn),
                    last_seen: Timestamp(START + second * SECOND),
                    payload: [100, 0],
                    packets: [9, 9],
                    tcp_flags: [0x12, 0x12],
                    application: Protocol::Http,
                    ..FlowSummary::default()
                });
            }
            behaviour.decide_until(Timestamp(START + (second + 2) * SECOND), &mut out);
            out.len()
        };
        assert_eq!((tell(15, 30), tell(15, 90), tell(25, 100)), (0, 0, 1));
    }
}
