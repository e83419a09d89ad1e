//! Tunnels in encrypted DNS: more questions than names are looked up with, of one host to one resolver over TLS.
//!
//! Nobody sees the names, so what is left is who is asked and how often. A resolver is known by its protocol (`dot`, `doq`, port
//! 853), by its name (public ones, and any that is called so), or is guessed at: HTTP/2 with an address that is not asked for by
//! name and speaks `dot` with somebody too. Answers must stay small. Within a minute one host
//! - makes sixteen connections for a question or two each, as no resolver's client does that keeps its connection, or
//! - asks some sixty questions over few ones, two hundred where the resolver is a public one that browsers use.
//!
//! Within an hour six times as much is as odd: names stay valid for minutes (RFC 1035 section 3.2.1), so who browses for an
//! hour asks for most of them in its first minutes, and nobody browses without a pause.
//!
//! What half of our hosts ask is the network's own choice: there it takes ten times as much as others ask within the hour too.
//! Not seen: tunnels that are slower than browsing, and those to a web server with a name of its own.

use super::count::{Distinct, hash, rounded};
use super::observation::{Flow, Hello, Observation};
use super::prevalence::Usual;
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Connections of a question or two within a minute.
    pub connections: f64,
    /// Questions within a minute, about.
    pub questions: f64,
    /// The same of public resolvers.
    pub public_questions: f64,
    /// Resolvers, and pairs of host and resolver, remembered, each.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { connections: 16.0, questions: 60.0, public_questions: 200.0, pairs: 1 << 12 }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<(u128, u16), Resolver>(self.pairs) + cold::bytes::<(u128, u128, u16), Pair>(self.pairs)
    }
}

/// Minute and hour: how long they are, and how many times as much as in a minute is odd.
const WINDOWS: [(u64, f64, &str); 2] = [(60 * SECOND, 1.0, "a minute"), (3600 * SECOND, 6.0, "an hour")];
const HOUR_NS: u64 = 3600 * SECOND;
/// Of a resolver of half of our hosts: so many times what others ask is no looking up of names.
const MANY_TIMES: f64 = 10.0;
/// Told again after so long.
const AGAIN_NS: u64 = 3600 * SECOND;
/// Packets of a client for its handshake and its end, and for each question with what it acknowledges.
const PACKETS: (f64, f64) = (10.0, 2.5);
/// Bytes of a server for its handshake, and for each answer at most: what is larger is a page.
const ANSWERS: (f64, f64) = (6000.0, 600.0);
/// Questions of a connection that is made for its own.
const FEW: f64 = 6.0;

/// Stands for an address that speaks DNS over TLS, on whatever port.
const ANY_PORT: u16 = 0;

/// How a resolver is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    /// By its protocol.
    Protocol,
    /// A public one, by its name.
    Public,
    /// It is called so.
    Named,
    /// It has no name, and speaks HTTP/2: as far as its address speaks DNS over TLS too.
    Guessed,
}

impl How {
    fn of(hello: &Hello) -> Option<How> {
        /// Ends of names under which public resolvers answer over HTTPS.
        const PUBLIC: [&str; 12] = [
            "dns.google",
            "cloudflare-dns.com",
            "one.one.one.one",
            "quad9.net",
            "dns.opendns.com",
            "doh.opendns.com",
            "nextdns.io",
            "adguard-dns.com",
            "dns.adguard.com",
            "cleanbrowsing.org",
            "mullvad.net",
            "dns.sb",
        ];
        let speaks = |protocol: &str| hello.alpn.as_deref() == Some(protocol);
        if speaks("dot") || speaks("doq") || hello.server.port == 853 {
            return Some(How::Protocol);
        }
        let Some(name) = hello.name.as_deref() else {
            return (speaks("h2") && !hello.hides_name).then_some(How::Guessed);
        };
        let is_below = |end: &str| name.strip_suffix(end).is_some_and(|left| left.is_empty() || left.ends_with('.'));
        if PUBLIC.iter().any(|end| is_below(end)) {
            return Some(How::Public);
        }
        let first = name.split('.').next().unwrap_or_default();
        (["doh", "dns", "resolver"].contains(&first) || first.starts_with("doh-")).then_some(How::Named)
    }

    fn text(self) -> &'static str {
        match self {
            How::Protocol => "by its protocol",
            How::Public => "a public one",
            How::Named => "by its name",
            How::Guessed => "most likely: HTTP/2 without a name, and DNS over TLS beside it",
        }
    }
}

struct Resolver {
    how: How,
    touched: Timestamp,
    /// What all hosts ask of it in this hour, and in the one before.
    hours: [Load; 2],
}

/// What hosts of ours ask of a resolver within an hour.
#[derive(Clone, Copy, Default)]
struct Load {
    since: Timestamp,
    questions: f64,
    clients: Distinct<8>,
}

impl Load {
    /// Questions of a host among them, other than one that asked so many.
    fn of_others(&self, questions: f64) -> f64 {
        (self.questions - questions).max(0.0) / (self.clients.estimate() - 1.0).max(1.0)
    }
}

impl Resolver {
    fn new(how: How, touched: Timestamp) -> Resolver {
        Resolver { how, touched, hours: [Load { since: touched, ..Load::default() }; 2] }
    }

    fn add(&mut self, client: u128, now: Timestamp, questions: f64) {
        let [this, before] = &mut self.hours;
        if now.since(this.since) >= HOUR_NS {
            (*before, *this) = (*this, Load { since: now, ..Load::default() });
        }
        this.questions += questions;
        this.clients.insert(hash(client));
    }

    /// Does the host, which asked so much, ask as others do in this hour or the one before?
    fn is_usual(&self, questions: f64) -> bool {
        let of_others = self.hours.iter().map(|hour| hour.of_others(questions)).fold(0.0, f64::max);
        questions < MANY_TIMES * of_others
    }
}

/// What was counted since a moment.
#[derive(Default)]
struct Counts {
    since: Timestamp,
    connections: u64,
    short: u64,
    questions: f64,
    bytes: [u64; 2],
}

/// A host of ours and a resolver: a minute and an hour of it.
struct Pair {
    touched: Timestamp,
    counts: [Counts; 2],
    told: Option<Timestamp>,
}

impl Touched for Resolver {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Touched for Pair {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// The detector.
pub struct DohTunnel {
    settings: Settings,
    resolvers: ColdMap<(u128, u16), Resolver>,
    pairs: ColdMap<(u128, u128, u16), Pair>,
}

impl DohTunnel {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> DohTunnel {
        DohTunnel { resolvers: ColdMap::new(settings.pairs), pairs: ColdMap::new(settings.pairs), settings }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// What was forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.resolvers.forgotten() + self.pairs.forgotten()
    }

    /// A handshake of a host of ours with the outside.
    pub fn hello(&mut self, seen: &Observation, hello: &Hello) {
        if let Some(how) = How::of(hello) {
            let fresh = || Resolver::new(how, seen.time);
            if how == How::Protocol {
                // Its address, whatever the port.
                let address = self.resolvers.entry((hello.server.address, ANY_PORT), fresh);
                address.touched = address.touched.max(seen.time);
            }
            let resolver = self.resolvers.entry((hello.server.address, hello.server.port), fresh);
            resolver.touched = resolver.touched.max(seen.time);
        }
    }

    /// A flow of TLS or QUIC of a host of ours to the outside.
    pub fn flow(&mut self, seen: &Observation, flow: &Flow, usual: &Usual, out: &mut Vec<Evidence>) {
        let server = (flow.server.address, flow.server.port);
        let Some(how) = self.resolvers.existing(&server).map(|resolver| resolver.how) else { return };
        if how == How::Guessed && self.resolvers.existing(&(server.0, ANY_PORT)).is_none() {
            return;
        }
        let [packets, _] = flow.packets;
        let [sent, received] = flow.payload;
        let questions = ((packets as f64 - PACKETS.0) / PACKETS.1).max(1.0);
        let is_small = received as f64 <= ANSWERS.0 + ANSWERS.1 * questions;
        if !flow.is_new || sent == 0 || received == 0 || !is_small {
            return;
        }
        let (settings, now) = (self.settings, flow.began);
        let Some(resolver) = self.resolvers.existing(&server) else { return };
        resolver.add(flow.client.address, now, questions);
        let fresh = || Pair {
            touched: seen.told,
            counts: [(); 2].map(|()| Counts { since: now, ..Counts::default() }),
            told: None,
        };
        let pair = self.pairs.entry((flow.client.address, server.0, server.1), fresh);
        pair.touched = pair.touched.max(seen.told);
        let (mut found, mut in_an_hour) = (None, 0.0);
        for (counts, (length_ns, times, text)) in pair.counts.iter_mut().zip(WINDOWS) {
            if now.since(counts.since) >= length_ns {
                *counts = Counts { since: now, ..Counts::default() };
            }
            counts.connections += 1;
            counts.short += u64::from(questions <= FEW);
            // Of a long one the part of the window.
            counts.questions += questions * (length_ns as f64 / flow.length_ns.max(1) as f64).min(1.0);
            for (mine, bytes) in counts.bytes.iter_mut().zip(flow.payload) {
                *mine = mine.saturating_add(bytes);
            }
            in_an_hour = counts.questions;
            let least = times * if how == How::Public { settings.public_questions } else { settings.questions };
            let connections = times * settings.connections;
            let is_many = counts.short as f64 >= connections;
            if (is_many || counts.questions >= least) && found.is_none() {
                found = Some(Found { how, is_many, least, connections, text, counts });
            }
        }
        let is_usual = usual.is_popular() && resolver.is_usual(in_an_hour);
        let is_news = pair.told.is_none_or(|at| seen.told.since(at) >= AGAIN_NS);
        let Some(found) = found.filter(|_| is_news && !is_usual) else { return };
        pair.told = Some(seen.told);
        out.push(evidence(seen, flow, &found));
    }
}

/// What an alert tells.
struct Found<'a> {
    how: How,
    is_many: bool,
    least: f64,
    connections: f64,
    text: &'static str,
    counts: &'a Counts,
}

fn evidence(seen: &Observation, flow: &Flow, found: &Found) -> Evidence {
    let Found { how, is_many, least, connections, text, counts } = found;
    let (client, server, port) = (flow.client.ip(), flow.server.ip(), flow.server.port);
    let [sent, received] = counts.bytes;
    let short = Term::exact("connections_of_few_questions", counts.short as f64);
    let questions = Term::exact("questions_about", rounded(counts.questions));
    Evidence {
        severity: if matches!(how, How::Protocol | How::Named) { 2 } else { 3 },
        confidence: if *how == How::Guessed { 0.5 } else { 0.7 },
        source: Some(client),
        target: Some(server),
        port: Some(port),
        summary: format!(
            "{client} asks the resolver {server} port {port} ({}) about {:.0} questions over TLS within {text}, on {} connections: \
             more than looking names up takes, as a tunnel does",
            how.text(),
            counts.questions,
            counts.connections
        ),
        terms: vec![
            if *is_many { short.against(Relation::AtLeast, *connections) } else { short },
            if counts.questions >= *least { questions.against(Relation::AtLeast, *least) } else { questions },
            Term::exact("sent_bytes", sent as f64),
            Term::exact("received_bytes", received as f64),
            Term::exact("connections", counts.connections as f64),
        ],
        technique: Some("T1071.004".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::DohTunnel, if *is_many { "many_connections" } else { "many_questions" })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Wire, host, outside};
    use super::*;
    use crate::dataplane::inspect::{Protocol, tls};

    fn found(wire: &Wire) -> Vec<String> {
        wire.evidence().into_iter().filter(|one| one.detector == Detector::DohTunnel).map(|one| one.kind).collect()
    }

    /// Connections of TLS, one each `pause`: packets each way, payload, length.
    fn connections(
        (name, alpn, port): (&str, &str, u16),
        (count, pause): (u64, u64),
        (packets, bytes, length): (u64, [u64; 2], u64),
    ) -> Wire {
        let mut wire = Wire::default();
        for number in 0..count {
            let ends = (host(1), outside(9), port);
            wire.event(number * pause, ends, (Protocol::Tls, 6), |facts| {
                facts.put(tls::HELLO.client_alpn, alpn.as_bytes());
                if !name.is_empty() {
                    facts.put(tls::HELLO.sni, name.as_bytes());
                }
            });
            wire.flow(number * pause, ends, bytes, (length, SECOND / 10));
            wire.packets([packets; 2]);
        }
        wire
    }

    /// The same, of an address that somebody else asks by its protocol before.
    fn of_a_resolver(mut wire: Wire) -> Wire {
        wire.event(0, (host(2), outside(9), 853), (Protocol::Tls, 6), |facts| {
            facts.put(tls::HELLO.client_alpn, b"dot")
        });
        wire
    }

    const ONE: (u64, [u64; 2], u64) = (14, [1400, 2400], SECOND / 2);

    #[test]
    fn many_questions_are_told() {
        let second = SECOND;
        for (what, wire, wanted) in [
            ("a connection each", connections(("", "dot", 853), (22, second), ONE), &["many_connections"][..]),
            (
                "without a name",
                of_a_resolver(connections(("", "h2", 443), (30, second / 2), ONE)),
                &["many_connections"],
            ),
            (
                "one connection",
                of_a_resolver(connections(("", "h2", 443), (1, second), (260, [35_000, 50_000], 23 * second))),
                &["many_questions"],
            ),
            ("an interface that is polled", connections(("", "h2", 443), (60, second / 2), ONE), &[]),
            (
                "a public resolver",
                connections(("dns.google", "h2", 443), (1, second), (2000, [400_000, 400_000], 60 * second)),
                &["many_questions"],
            ),
            ("a few look-ups", connections(("", "dot", 853), (11, second), ONE), &[]),
            (
                "a browser's own resolver",
                connections(
                    ("mozilla.cloudflare-dns.com", "h2", 443),
                    (1, second),
                    (300, [30_000, 60_000], 60 * second),
                ),
                &[],
            ),
            (
                "a day of it",
                connections(("", "dot", 853), (1, second), (5000, [900_000, 1_500_000], 86_400 * second)),
                &[],
            ),
            (
                "a connection each, slowly",
                connections(("", "dot", 853), (100, 20 * second), ONE),
                &["many_connections"],
            ),
            ("more slowly than that", connections(("", "dot", 853), (130, 40 * second), ONE), &[]),
            (
                "one connection for two hours",
                connections(("", "dot", 853), (1, second), (4000, [500_000, 700_000], 7200 * second)),
                &["many_questions"],
            ),
            ("pages", connections(("", "h2", 443), (30, second), (14, [1400, 90_000], second / 2)), &[]),
            ("a site", connections(("www.example.org", "h2", 443), (60, second), ONE), &[]),
        ] {
            assert_eq!(found(&wire), wanted, "{what}");
        }
    }

    #[test]
    fn what_everybody_asks_is_the_networks_choice() {
        let mut wire = Wire::default();
        for number in 0..200_u32 {
            let ends = (host(1 + number % 6), outside(9), 853);
            let at = u64::from(number) * SECOND / 4;
            wire.event(at, ends, (Protocol::Tls, 6), |facts| facts.put(tls::HELLO.client_alpn, b"dot"));
            wire.flow(at, ends, [1400, 2400], (SECOND / 2, SECOND / 10));
            wire.packets([14; 2]);
        }
        // Before four hosts are known nothing is popular; six hosts have made twelve connections by then.
        assert_eq!(found(&wire), [""; 0]);
        // One of them that asks far more than the others is none of their kind.
        for number in 0..900_u32 {
            let at = 60 * SECOND + u64::from(number) * SECOND / 8;
            wire.flow(at, (host(1), outside(9), 853), [1400, 2400], (SECOND / 2, SECOND / 10));
            wire.packets([14; 2]);
        }
        assert_eq!(found(&wire), ["many_connections"]);
    }
}
