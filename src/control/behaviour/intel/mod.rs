//! Threat intelligence: hosts that meet what lists of others name. Addresses and networks, names in DNS, TLS, QUIC and HTTP, URLs,
//! clients by JA3 and JA4, servers by the SHA-1 of their certificate.
//!
//! A hit is as good as its list, so each says which list, how sure that is, and for how long. Severity: 1 for a URL, a certificate or
//! a name that was visited, 2 for one that was only asked for and for an address that a host of ours goes to, 3 for an address
//! that comes to us and for JA3 and JA4, which many programs share; one less (RITA: 25 MB moved) where much went over, one more
//! where the list is less than half sure. Told once for a host and an indicator, when it becomes worse, and again after a day.
//!
//! Names mean what they say: `example.org` is that name alone, `*.example.org` what is below, `.example.org` both. Not seen:
//! addresses that nobody answers, addresses within answers of DNS, names in DoH and behind ECH, certificates of TLS 1.3, URLs inside TLS,
//! files.
//!
//! | file | owns |
//! | --- | --- |
//! | `indicator` | what an indicator is, by its text |
//! | `feed`, `json` | one file |
//! | `table` | what is looked up |
//! | `feeds` | all of them, and their changes |

mod feed;
mod feeds;
mod indicator;
mod json;
mod reach;
mod table;
#[cfg(test)]
mod tests;

pub use feed::{FeedError, FeedPlan, Format};
pub use feeds::{Feeds, LiveFeeds};
pub use indicator::url;
pub use table::Tables;

use super::count::hash;
use super::observation::{Dns, Flow, Hello, Observation, Request};
use crate::control::inventory::{self, network::Network};
use crate::dataplane::decode::Endpoint;
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::exchange::FlowSummary;
use crate::units::{SECOND, Timestamp};
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use table::Hit;

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Indicators of a feed at most; one with more is refused.
    pub indicators: usize,
    /// Bytes between a host and a listed address from which it is worse (RITA: 25 MB).
    pub bytes: f64,
    /// Pairs of host and indicator remembered.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { indicators: 1 << 20, bytes: 25e6, pairs: 1 << 14 }
    }
}

impl Settings {
    /// Bytes of the detector at most, without the feeds: these are as large as their files.
    pub fn memory(&self) -> usize {
        cold::bytes::<(u128, u64), Pair>(self.pairs)
    }
}

/// Told again after so long.
const AGAIN_NS: u64 = 86_400 * SECOND;
/// Surer than this is sure.
const SURE_PERCENT: u8 = 50;

/// A host and an indicator.
struct Pair {
    touched: Timestamp,
    count: u64,
    bytes: u64,
    /// Told at this moment, with this severity.
    told: Option<(Timestamp, u8)>,
}

impl Touched for Pair {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// What was met, and where.
struct Met {
    kind: &'static str,
    severity: u8,
    /// What the client did.
    did: String,
    client: Endpoint,
    server: Endpoint,
    /// The indicator is about the client.
    is_client: bool,
    bytes: u64,
}

/// The detector.
pub struct Intel {
    settings: Settings,
    feeds: Option<Arc<ArcSwap<Tables>>>,
    tables: Arc<Tables>,
    pairs: ColdMap<(u128, u64), Pair>,
}

impl Intel {
    /// One without feeds.
    pub fn new(settings: Settings) -> Intel {
        Intel { pairs: ColdMap::new(settings.pairs), settings, feeds: None, tables: Arc::default() }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Lets it look things up.
    pub fn look_up_in(&mut self, feeds: Arc<ArcSwap<Tables>>) {
        self.feeds = Some(feeds);
        self.refresh();
    }

    /// Takes what the feeds are now: each second, not for each observation.
    pub fn refresh(&mut self) {
        if let Some(feeds) = &self.feeds {
            self.tables = feeds.load_full();
        }
    }

    /// Pairs forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.pairs.forgotten()
    }

    /// Is there anything to be looked up?
    pub fn is_on(&self) -> bool {
        self.feeds.is_some()
    }

    /// A flow.
    pub fn flow(&mut self, seen: &Observation, flow: &Flow, home: &[Network], out: &mut Vec<Evidence>) {
        if !self.is_on() {
            return;
        }
        let tables = Arc::clone(&self.tables);
        let (client, server) = (flow.client, flow.server);
        let bytes = flow.bytes.iter().sum();
        let met = |did: &str, is_client, severity| Met {
            kind: "address",
            severity,
            did: did.into(),
            client,
            server,
            is_client,
            bytes,
        };
        if let Some(hit) = tables.service(server.address, server.port, seen.time) {
            self.note(seen, &hit, met("connected to", false, 2), out);
        } else if let Some(hit) = tables.service(client.address, client.port, seen.time) {
            let is_ours = home.iter().any(|network| network.holds(server.ip()));
            self.note(seen, &hit, met("was let in by", true, if is_ours { 3 } else { 2 }), out);
        }
    }

    /// Is an end of this flow in a list, and was that not told of it yet?
    pub fn is_news(&mut self, flow: &FlowSummary) -> bool {
        if !self.is_on() {
            return false;
        }
        let tables = Arc::clone(&self.tables);
        let (client, server) = inventory::roles(&flow.key, flow.originator, flow.application);
        let (hit, host) = match tables.service(server.address, server.port, flow.last_seen) {
            Some(hit) => (Some(hit), client),
            None => (tables.service(client.address, client.port, flow.last_seen), server),
        };
        let Some(hit) = hit else { return false };
        let told = self.pairs.existing(&(host.address, hash(("address", &hit.text)))).and_then(|pair| pair.told);
        told.is_none_or(|(at, _)| flow.last_seen.since(at) >= AGAIN_NS)
    }

    /// A name asked for.
    pub fn dns(&mut self, seen: &Observation, dns: &Dns, out: &mut Vec<Evidence>) {
        // The answer repeats the question.
        if dns.answer.is_some() || !self.is_on() {
            return;
        }
        let did = format!("asked for {} at", dns.name);
        self.name(seen, (dns.client, dns.server), &dns.name, (2, did), out);
    }

    /// A handshake: name, fingerprints, certificate.
    pub fn hello(&mut self, seen: &Observation, hello: &Hello, out: &mut Vec<Evidence>) {
        if !self.is_on() {
            return;
        }
        let tables = Arc::clone(&self.tables);
        if let Some(name) = &hello.name {
            let did = format!("went to {name} over TLS at");
            self.name(seen, (hello.client, hello.server), name, (1, did), out);
        }
        let prints = [
            ("ja3", &hello.ja3, 3, "uses a client with that JA3 at"),
            ("ja4", &hello.ja4, 3, "uses a client with that JA4 at"),
            ("certificate", &hello.certificate, 1, "was shown that certificate by"),
        ];
        for (kind, print, severity, did) in prints {
            if let Some(hit) = print.as_deref().and_then(|print| tables.print(print, seen.time)) {
                let (client, server) = (hello.client, hello.server);
                let met = Met { kind, severity, did: did.into(), client, server, is_client: false, bytes: 0 };
                self.note(seen, &hit, met, out);
            }
        }
    }

    /// A request of HTTP: host and URL.
    pub fn request(&mut self, seen: &Observation, request: &Request, out: &mut Vec<Evidence>) {
        if !self.is_on() {
            return;
        }
        let tables = Arc::clone(&self.tables);
        let ends = (request.client, request.server);
        if let Some(hit) = tables.url(&request.url, seen.time) {
            let did = "asked for that URL at".into();
            let met = Met { kind: "url", severity: 1, did, client: ends.0, server: ends.1, is_client: false, bytes: 0 };
            self.note(seen, &hit, met, out);
        }
        let host = request.url.split(['/', ':']).next().unwrap_or_default();
        let did = format!("went to {host} over HTTP at");
        self.name(seen, ends, host, (1, did), out);
    }

    fn name(
        &mut self,
        seen: &Observation,
        (client, server): (Endpoint, Endpoint),
        name: &str,
        (severity, did): (u8, String),
        out: &mut Vec<Evidence>,
    ) {
        let tables = Arc::clone(&self.tables);
        if let Some(hit) = tables.name(name, seen.time) {
            let met = Met { kind: "domain", severity, did, client, server, is_client: false, bytes: 0 };
            self.note(seen, &hit, met, out);
        }
    }

    fn note(&mut self, seen: &Observation, hit: &Hit<'_>, met: Met, out: &mut Vec<Evidence>) {
        let host = if met.is_client { met.server } else { met.client };
        let fresh = || Pair { touched: seen.time, count: 0, bytes: 0, told: None };
        let pair = self.pairs.entry((host.address, hash((met.kind, &hit.text))), fresh);
        pair.touched = pair.touched.max(seen.time);
        pair.count += 1;
        pair.bytes = pair.bytes.saturating_add(met.bytes);
        let is_much = met.kind == "address" && pair.bytes as f64 >= self.settings.bytes;
        let is_unsure = hit.about.percent < SURE_PERCENT;
        let severity = (met.severity + u8::from(is_unsure) - u8::from(is_much)).clamp(1, 4);
        let is_news = pair.told.is_none_or(|(at, told)| severity < told || seen.time.since(at) >= AGAIN_NS);
        if is_news {
            pair.told = Some((seen.time, severity));
            out.push(evidence(seen, hit, &met, pair, severity, &self.settings));
        }
    }
}

fn evidence(seen: &Observation, hit: &Hit<'_>, met: &Met, pair: &Pair, severity: u8, settings: &Settings) -> Evidence {
    let (client, server) = (met.client.ip(), met.server.ip());
    let about = if hit.about.text.is_empty() { String::new() } else { format!(", {}", hit.about.text) };
    let summary =
        format!("{client} {} {server} port {}: {} of feed {}{about}", met.did, met.server.port, hit.text, hit.feed);
    let mut terms = vec![
        Term::exact("indicator_confidence_percent", f64::from(hit.about.percent)),
        Term::exact("times_met", pair.count as f64),
    ];
    if met.kind == "address" {
        let bytes = Term::exact("bytes_both_ways", pair.bytes as f64);
        let is_much = pair.bytes as f64 >= settings.bytes;
        terms.push(if is_much { bytes.against(Relation::AtLeast, settings.bytes) } else { bytes });
    }
    if let Some(until) = hit.about.until {
        terms.push(Term::exact("indicator_valid_h", (until.saturating_sub(seen.time.0 / SECOND) / 3600) as f64));
    }
    Evidence {
        severity,
        confidence: f64::from(hit.about.percent) / 100.0,
        source: Some(client),
        target: Some(server),
        port: Some(met.server.port),
        summary,
        terms,
        flow: seen.origin.flow(false),
        ..seen.evidence(Detector::Intel, met.kind)
    }
}
