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
//! connections are looked at each minute; a capture tells of those that ended. The alert says how many are held in which way, and at how
//! many bytes a second. Of a request that nobody answers it shows at its end alone whether its head was whole, so while connections
//! live heads and bodies are one; slow bodies of a client with a small window whose server has answered at once are told by the window.
//!
//! Connections opened ahead send nothing, and long polling has sent a whole request in a moment and waits: neither has many such
//! of one source to one server. A slow link has a large window and is busy; a small device has a small one, and takes what it gets. Not
//! seen: slow requests inside TLS, where nobody knows what is whole; readers that make their window small after the first packet.

#[cfg(test)]
mod tests;

use super::count::{Distinct, hash, rounded};
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
    /// Servers remembered, some 2.5 KB each.
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

/// Does a request of a flow, ended or alive, look so? `payload`: of client and server, bytes; `packets` of the client.
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

/// How a flow, ended or alive, is held: by its request, or by a client that takes an answer of unknown length so slowly.
pub fn held(flow: &FlowSummary) -> Option<Held> {
    let ([packets, knocks], [window, _], [sent, said]) = (flow.packets, flow.first_windows, flow.payload);
    let age_ns = flow.last_seen.since(flow.first_seen);
    let is_web = matches!(flow.application, Protocol::Http | Protocol::Http2 | Protocol::Tls);
    let is_small = window > 0 && window <= WINDOW;
    let is_knocked = knocks >= KNOCKS && said < knocks * KNOCK_BYTES;
    let is_read = is_web && is_small && is_knocked && sent > 0 && said > 0 && is_slow_reader(age_ns, said);
    let is_sent = is_slow(flow.application, age_ns, flow.payload, packets);
    let held = |how, bytes| Held { how, bytes, age_ns };
    is_read.then(|| held(How::Window, said)).or(is_sent.then(|| held(How::Request, sent)))
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

/// What is slow about a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// Its request, head or body, has not ended.
    Request,
    /// The body of its request, whose head is whole.
    Body,
    /// The client has not taken the answer.
    Answer,
    /// Its client opened with a small window, and takes an answer of unknown length slowly.
    Window,
    /// The server says that it has waited in vain.
    Waited,
}

/// How many there are.
const HOWS: usize = 5;

/// What was measured of a connection that is held.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// What is slow about it.
    pub how: How,
    /// Bytes that came of it.
    pub bytes: u64,
    /// In how long.
    pub age_ns: u64,
}

/// Connections that are held in one way.
#[derive(Clone, Copy, Default)]
struct Sum {
    connections: Distinct<2>,
    bytes: u64,
    age_ns: u64,
}

impl Sum {
    fn add(&mut self, flow: u64, held: &Held) {
        if self.connections.insert(flow) {
            self.bytes = self.bytes.saturating_add(held.bytes);
            self.age_ns = self.age_ns.saturating_add(held.age_ns);
        }
    }

    /// Bytes a second of one on average.
    fn rate(&self) -> f64 {
        self.bytes as f64 * SECOND as f64 / self.age_ns.max(1) as f64
    }
}

/// Connections of one source.
#[derive(Clone, Copy, Default)]
struct Source {
    address: u128,
    slow: Distinct<2>,
    sums: [Sum; HOWS],
    told: Option<Timestamp>,
}

/// A server.
struct Server {
    since: Timestamp,
    touched: Timestamp,
    /// Connections that ended, and those that are slow.
    all: u64,
    slow: Distinct<8>,
    sums: [Sum; HOWS],
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

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
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
            sums: [Sum::default(); HOWS],
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
        server.sums[slow.held.how as usize].add(flow, &slow.held); // a place for each
        let known = server.sources.iter().position(|one| one.address == slow.client.address);
        let least = || (0..SOURCES).min_by_key(|index| server.sources[*index].slow.estimate() as u64).unwrap_or(0);
        let index = known.unwrap_or_else(least);
        let source = &mut server.sources[index];
        if known.is_none() {
            *source = Source { address: slow.client.address, ..Source::default() };
        }
        source.slow.insert(flow);
        source.sums[slow.held.how as usize].add(flow, &slow.held); // as above
        let (of_one, of_all) = (source.slow.estimate(), server.slow.estimate());
        let is_one = of_one >= settings.connections;
        let sums = if is_one { source.sums } else { server.sums };
        // Those that live are none of those that ended.
        let share = of_all / (server.all as f64).max(of_all);
        let is_many = of_all >= settings.connections && share >= settings.share && of_one * 2.0 < of_all;
        let told = if is_one { &mut source.told } else { &mut server.told };
        if (is_one || is_many) && told.is_none_or(|at| seen.told.since(at) >= AGAIN_NS) {
            *told = Some(seen.told);
            let count = if is_one { of_one } else { of_all };
            out.push(evidence(seen, slow, is_one, (count, &sums), share, &settings));
        }
    }
}

/// In words and terms how so many connections are held, each in the way that tells most of it.
fn ways(count: f64, sums: &[Sum; HOWS]) -> (String, Vec<Term>) {
    let number = |how: How| sums[how as usize].connections.estimate(); // a place for each
    // What is known of a body or an answer was seen by the flow as well: a request that does not end, or a small window.
    let by_flow = [How::Request, How::Window];
    let known: f64 = [How::Body, How::Answer, How::Waited].map(number).iter().sum();
    let seen: f64 = by_flow.map(number).iter().sum();
    let left = seen.min((count - known).max(0.0));
    // They are counted in fewer bits than all are.
    let scale = count / (known + left).max(1.0);
    let (mut words, mut terms) = (Vec::new(), Vec::new());
    for (sum, (how, name, text, below)) in sums.iter().zip(WAYS) {
        let share = if by_flow.contains(&how) { left / seen.max(1.0) } else { 1.0 };
        let number = (number(how) * share * scale).round();
        if number < 1.0 {
            continue;
        }
        terms.push(Term::exact(format!("connections_of_{name}"), number));
        let Some(below) = below else {
            words.push(format!("{number} {text}"));
            continue;
        };
        terms.push(
            Term::exact(format!("{name}_bytes_per_second"), rounded(sum.rate())).against(Relation::AtMost, below),
        );
        let is_request = how == How::Request;
        let few = if is_request { format!("{RATE}, in {PIECES} packets and more below ") } else { String::new() };
        let mean = sum.rate();
        words.push(format!("{number} {text}, {mean:.1} bytes a second on average (slow is below {few}{below})"));
    }
    (words.join("; "), terms)
}

/// In the order of [`How`]: the name in terms, what holds the connections, and bytes a second below which it is slow, where those
/// were counted.
const WAYS: [(How, &str, &str, Option<f64>); HOWS] = [
    (How::Request, "slow_requests", "whose request does not end", Some(RATE_IN_PIECES)),
    (How::Body, "slow_bodies", "whose body does not end", Some(RATE_IN_PIECES)),
    (How::Answer, "slow_answers", "whose answer is hardly taken", Some(TAKEN_RATE)),
    (
        How::Window,
        "small_windows",
        "whose client has a small window and lets hardly anything through",
        Some(TAKEN_RATE),
    ),
    (How::Waited, "waited", "that the server gave up (408)", None),
];

fn evidence(
    seen: &Observation,
    slow: &Slow,
    is_one: bool,
    (count, sums): (f64, &[Sum; HOWS]),
    share: f64,
    settings: &Settings,
) -> Evidence {
    let (client, server, port) = (slow.client.ip(), slow.server.ip(), slow.server.port);
    let who = if is_one { format!("{client} holds") } else { "many hosts hold".to_owned() };
    let connections = Term::exact("slow_connections", count).against(Relation::AtLeast, settings.connections);
    let share = Term::exact("share_of_the_servers_connections", rounded(share));
    let share = if is_one { share } else { share.against(Relation::AtLeast, settings.share) };
    let (words, ways) = ways(count, sums);
    Evidence {
        severity: 2,
        confidence: 0.8,
        source: is_one.then_some(client),
        target: Some(server),
        port: Some(port),
        summary: format!(
            "{who} {count} connections of the web server {server} port {port} within two minutes: {words}"
        ),
        terms: [connections, share].into_iter().chain(ways).collect(),
        technique: Some("T1499.002".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::SlowHttp, if is_one { "slow_requests" } else { "slow_requests_of_many" })
    }
}
