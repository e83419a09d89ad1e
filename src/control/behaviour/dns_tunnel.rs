//! Data inside DNS: tunnels, and data that leaves in names that nobody else will ever ask for.
//!
//! Per client and registered name, over five minutes and over a day: distinct names, how quickly they come, bytes of them that are
//! new, how mixed their letters are, bytes carried, types that carry data, refusals. Of names longer than any host's fewer are
//! enough. Each becomes a share of what tunnels show (0: what any site shows, 1: beyond any site), and a logistic function of their
//! sum decides, so that no single one does: a CDN has many names, but short ones and hardly any bytes in them.
//!
//! Look-ups of digests (files, messages, addresses: antivirus, reputation, black lists) have all of that. What they never do is
//! carry much: names of a digest's length at most, answers that are one of a few verdicts. Such have to carry more than a host has
//! files and messages (`lookup_bytes`), five times as much where the answers are those of lists (RFC 5782 section 2.1: 127.0.0.0/8,
//! or no such name), ten times as much where three hosts and more ask below the name.
//!
//! A tunnel may divide its names among many registered ones. So long names below those that two hosts at most ask below are also
//! counted by client, of each registered name as many as tell nothing by themselves (`rotation`).
//!
//! What a resolver of ours passes on within half a minute is its client's alone (`resolvers`). One whose clients nobody sees is
//! taken for many hosts: by the servers that it asks, or by the number of registered names.
//!
//! Numbers of names are RITA's (100, 500, 800, 1000 below one registered name); what a name carries is bounded by RFC 1035
//! section 2.3.4. Not seen: tunnels in DoH and DoT, what stays below all floors for a day, and who takes in a day no more out than
//! look-ups would, in names and with answers like theirs.

mod counts;
mod resolvers;
mod rotation;
#[cfg(test)]
mod tests;

use super::count::hash;
use super::names::{self, Parts};
use super::observation::{Dns, Observation};
use super::prevalence::{Prevalence, Usual};
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Term};
use crate::units::Timestamp;
use counts::{Counts, FIVE_MINUTES_NS, HORIZONS, Horizon, LONG, Latest, Likeness};
use resolvers::Resolvers;
use rotation::{ENCODED, Rotation, Share};
use serde::{Deserialize, Serialize};

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Distinct names below one registered name within five minutes from which a verdict is given at all.
    pub names: f64,
    /// The same within a day (RITA: 500 is its second of four steps).
    pub names_day: f64,
    /// Likeness to a tunnel, 0..=1, from which there is evidence.
    pub likeness: f64,
    /// Distinct long names within five minutes over all registered names of which each has fewer than `names`: as few as two and a
    /// half of those have.
    pub client_names: f64,
    /// The same within a day: two of those.
    pub client_names_day: f64,
    /// Bytes that names which could be look-ups of digests, with verdicts for answers, carry within five minutes at least, to be
    /// told: 25 kB are 390 digests of SHA-256, or of MD5 twice as many.
    pub lookup_bytes: f64,
    /// The same within a day: 50 kB are somewhat below what one name a minute carries.
    pub lookup_bytes_day: f64,
    /// Pairs of client and registered name remembered.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            names: 40.0,
            names_day: 500.0,
            likeness: 0.85,
            client_names: 100.0,
            client_names_day: 1000.0,
            lookup_bytes: 25e3,
            lookup_bytes_day: 50e3,
            pairs: 1 << 13,
        }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        const NAME: usize = 64;
        cold::bytes::<(u128, u64), Pair>(self.pairs)
            + self.pairs * NAME
            + Prevalence::memory(self.pairs)
            + Resolvers::memory(self.pairs)
            + Rotation::memory(self.pairs / CLIENTS)
    }
}

/// Registered names that a client has at least: so many pairs more than clients are remembered.
const CLIENTS: usize = 8;
/// Hosts that ask below a name that hardly anybody asks below, at most.
const LONE: f64 = 2.0;
/// Hosts below whose common name more is asked, and how many times as much: a program that several have.
const SEVERAL: f64 = 3.0;
const COMPANY: f64 = 10.0;
/// Who asks for many hosts needs so many times the names at most: a tunnel behind it is still one.
const HOSTS_MOST: f64 = 10.0;

/// A client and a registered name.
struct Pair {
    apex: Box<str>,
    touched: Timestamp,
    latest: Latest,
    counts: [Counts; 2],
}

impl Touched for Pair {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// The detector.
pub struct DnsTunnel {
    settings: Settings,
    pairs: ColdMap<(u128, u64), Pair>,
    prevalence: Prevalence,
    resolvers: Resolvers,
    rotation: Rotation,
}

impl DnsTunnel {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> DnsTunnel {
        let (prevalence, resolvers) = (Prevalence::new(settings.pairs), Resolvers::new(settings.pairs));
        let rotation = Rotation::new(settings.pairs / CLIENTS);
        DnsTunnel { pairs: ColdMap::new(settings.pairs), prevalence, resolvers, rotation, settings }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// What was forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.pairs.forgotten() + self.prevalence.forgotten() + self.resolvers.forgotten() + self.rotation.forgotten()
    }

    /// A message. Returns the registered name below which the client asks for another name each time, where it does so with
    /// this one, and who else asks below it.
    pub fn observe<'a>(
        &mut self,
        seen: &Observation,
        dns: &'a Dns,
        out: &mut Vec<Evidence>,
    ) -> Option<(&'a str, Usual)> {
        let Parts { apex, rest, .. } = names::parts(&dns.name).filter(|parts| !parts.rest.is_empty())?;
        let (client, apex_hash) = (dns.client.address, hash(apex));
        let hosts = self.resolvers.note(dns, apex_hash, seen.time)?;
        let usual = self.prevalence.note(client, apex_hash.into(), seen.time);
        let fresh =
            || Pair { apex: apex.into(), touched: seen.time, latest: Latest::default(), counts: Default::default() };
        let pair = self.pairs.entry((client, apex_hash), fresh);
        pair.touched = pair.touched.max(seen.time);
        let brought = pair.latest.take(dns, rest);
        let settings = self.settings;
        let company = if usual.clients >= SEVERAL { COMPANY } else { 1.0 };
        let limits = [(settings.names, settings.lookup_bytes), (settings.names_day, settings.lookup_bytes_day)];
        let (mut is_new, mut is_few) = (false, [false; 2]);
        for (((counts, horizon), (floor, lookup_bytes)), is_few) in
            pair.counts.iter_mut().zip(&HORIZONS).zip(limits).zip(&mut is_few)
        {
            let floor = floor * hosts.min(HOSTS_MOST);
            if counts.begun == Timestamp(0) || seen.time.since(counts.begun) >= horizon.length_ns {
                *counts = Counts::since(seen.time);
            }
            let is_fresh = counts.add(dns, &brought);
            is_new |= is_fresh && horizon.length_ns == FIVE_MINUTES_NS;
            let names = counts.names.estimate();
            *is_few = names < floor;
            let length = counts.mean_length();
            let fewer = horizon.fewer(length);
            // No service of a network has names as long as these.
            if names < counts.next.max(floor) * fewer || usual.is_popular() && length < LONG.1 {
                continue;
            }
            // Looked at again when there are a tenth more.
            counts.next = names * 1.1 / fewer;
            let likeness = counts.likeness(horizon, seen.time, lookup_bytes * company * hosts);
            let is_enough = likeness.least_bytes.is_none_or(|least| counts.carried() >= least);
            if likeness.value >= settings.likeness && is_enough {
                counts.next = names * 2.0 / fewer;
                let terms = counts.terms(
                    (names, floor * fewer),
                    (&likeness, settings.likeness),
                    (usual.clients, counts.rate(seen.time)),
                );
                out.push(evidence(seen, dns, &pair.apex, (counts, horizon), &likeness, terms));
            }
        }
        let [.., day] = &pair.counts;
        let is_anew = is_new && day.asks_anew();
        if rest.len() >= ENCODED && usual.clients <= LONE {
            let share = Share { apex: apex_hash, is_few, hosts };
            self.rotation.add(seen, (dns, &brought, &share), &settings, out);
        }
        is_anew.then_some((apex, usual))
    }
}

fn evidence(
    seen: &Observation,
    dns: &Dns,
    apex: &str,
    (counts, horizon): (&Counts, &Horizon),
    likeness: &Likeness,
    terms: Vec<Term>,
) -> Evidence {
    let client = dns.client.ip();
    let below = if apex.is_empty() { "that end in no registered one".to_owned() } else { format!("below {apex}") };
    let what = match likeness.least_bytes {
        None => "data inside DNS, such as a tunnel",
        Some(_) => "more than look-ups of digests come to, so most likely data that leaves inside DNS",
    };
    let summary = format!(
        "{client} asked for about {} distinct names {below} within {}, {:.0} new bytes each in front of it: {what}",
        counts.names.estimate(),
        horizon.text,
        counts.mean_length(),
    );
    Evidence {
        severity: likeness.severity(),
        confidence: likeness.value,
        source: Some(client),
        target: Some(dns.server.ip()),
        port: Some(dns.server.port),
        summary,
        terms,
        technique: Some("T1071.004".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::DnsTunnel, horizon.kind)
    }
}
