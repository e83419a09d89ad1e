//! Connections that come back like a clock, as implants report to their server.
//!
//! RITA v5's score (`analysis/beacons.go`): a quarter each for even intervals, even sizes, how long it goes on and how evenly it
//! fills the hours. Per host of ours, server outside and port: the latest `RING` connections, 24 hours of counts. What is not
//! observed for six hours scores 0.5 at most, so nothing is told before: a beacon is a matter of hours, and a capture of
//! minutes cannot tell one from a page that refreshes itself. Updaters, mail and monitors are beacons by design: what half of
//! our hosts do is popular and not told, time and names (NTP, DNS and their kin) are left out, severity is low below 0.9. Not
//! seen: one connection that stays open, servers inside, and what goes through a proxy of ours.

use super::count::rounded;
use super::observation::{Flow, Observation};
use super::prevalence::Usual;
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::dataplane::inspect::Protocol;
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Score, 0..=1, from which there is evidence (RITA calls 0.7 medium and 0.9 high).
    pub score: f64,
    /// Connections from which there is a score.
    pub connections: f64,
    /// Connections within a day that are evidence whatever their score (RITA: a strobe).
    pub strobe: f64,
    /// Pairs of host and service remembered, some 1.5 KiB each.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { score: 0.8, connections: 4.0, strobe: 86_400.0, pairs: 1 << 13 }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<(u128, u128, u16, u8), Pair>(self.pairs)
    }
}

/// Connections of which interval and size are kept: the latest.
const RING: usize = 64;
/// Bins of the histogram, an hour each.
const HOURS: usize = 24;
const HOUR_NS: u64 = 3600 * SECOND;
/// What was not observed for so long has no duration and no histogram (RITA).
const LEAST_HOURS: f64 = 6.0;
/// Run of hours that is as good as all of them.
const RUN_HOURS: f64 = 12.0;
/// Hours with data from which two modes are looked for.
const MODES_HOURS: usize = 11;
/// Spread of the middle half below which its lean means nothing.
const IQR_MIN: f64 = 10.0;
/// Score from which the severity is 2.
const HIGH: f64 = 0.9;
/// Told again after so long.
const AGAIN_NS: u64 = 24 * HOUR_NS;

/// A host and a service.
struct Pair {
    first: Timestamp,
    last: Timestamp,
    count: u64,
    /// Begin and bytes sent of the latest connections, oldest first from `next` on.
    ring: [(Timestamp, u64); RING],
    next: usize,
    /// Connections by hour, of the hours up to `hour`.
    hours: [u32; HOURS],
    hour: u64,
    /// Looked at again from so many connections on, or in the next hour.
    due: u64,
    /// Told at this moment, with this severity.
    told: Option<(Timestamp, u8)>,
}

impl Touched for Pair {
    fn touched(&self) -> Timestamp {
        self.last
    }
}

impl Pair {
    fn new(began: Timestamp) -> Pair {
        Pair {
            first: began,
            last: began,
            count: 0,
            ring: [(Timestamp(0), 0); RING],
            next: 0,
            hours: [0; HOURS],
            hour: began.0 / HOUR_NS,
            due: 0,
            told: None,
        }
    }

    /// Counts a connection; `true`: a new hour has begun.
    fn add(&mut self, began: Timestamp, bytes: u64) -> bool {
        (self.first, self.last) = (self.first.min(began), self.last.max(began));
        self.count += 1;
        if let Some(slot) = self.ring.get_mut(self.next % RING) {
            *slot = (began, bytes);
        }
        self.next = (self.next + 1) % RING;
        let hour = began.0 / HOUR_NS;
        let is_new = hour > self.hour;
        for passed in 1..=hour.saturating_sub(self.hour).min(HOURS as u64) {
            self.hours[((self.hour + passed) % HOURS as u64) as usize] = 0;
        }
        self.hour = self.hour.max(hour);
        // One that ended late may have begun in an hour that is over, but not forgotten.
        if self.hour - hour.min(self.hour) < HOURS as u64 {
            self.hours[(hour % HOURS as u64) as usize] += 1;
        }
        is_new
    }

    /// Counts of the hours since `begin`, oldest first, the 24 latest.
    fn bins(&self, begin: Timestamp) -> Vec<u32> {
        let from = (begin.0 / HOUR_NS).max((self.hour + 1).saturating_sub(HOURS as u64));
        (from..=self.hour).map(|hour| self.hours[(hour % HOURS as u64) as usize]).collect()
    }

    /// Connections of the last day.
    fn in_a_day(&self) -> u64 {
        self.hours.iter().map(|count| u64::from(*count)).sum()
    }
}

/// The four parts of the score.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Score {
    intervals: f64,
    sizes: f64,
    duration: f64,
    hours: f64,
    /// Median of the intervals, seconds.
    period_s: f64,
}

impl Score {
    fn of(pair: &Pair, observed_since: Timestamp) -> Score {
        let kept = (pair.count as usize).min(RING);
        let mut begins: Vec<u64> = pair.ring.iter().take(kept).map(|(begin, _)| begin.0).collect();
        begins.sort_unstable();
        // Connections side by side are one visit.
        begins.dedup_by_key(|begin| *begin / SECOND);
        let mut intervals: Vec<f64> =
            begins.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / SECOND as f64).collect();
        let mut sizes: Vec<f64> = pair.ring.iter().take(kept).map(|(_, bytes)| *bytes as f64).collect();
        let (even, period_s) = evenness(&mut intervals, 1.0);
        let bins = pair.bins(observed_since);
        let lasts_h = pair.last.since(pair.first) as f64 / HOUR_NS as f64;
        // The present hour is not over: of what began within it, it is a part of an hour.
        let span_h = (pair.last.since(observed_since) as f64 / HOUR_NS as f64).clamp(1e-3, HOURS as f64);
        let is_long = lasts_h >= LEAST_HOURS;
        Score {
            intervals: if intervals.is_empty() { 0.0 } else { even },
            sizes: evenness(&mut sizes, 0.0).0,
            duration: if is_long { (lasts_h / span_h).max(run(&bins) / RUN_HOURS).min(1.0) } else { 0.0 },
            hours: if is_long { spread(&bins) } else { 0.0 },
            period_s,
        }
    }

    fn total(&self) -> f64 {
        (self.intervals + self.sizes + self.duration + self.hours) / 4.0
    }
}

/// Half of it that quartiles lean to no side, half that values stay at their median; and the median. `small`: the second half
/// where the median is below 1.
fn evenness(values: &mut [f64], small: f64) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let (first, median, third) = (quantile(values, 0.25), quantile(values, 0.5), quantile(values, 0.75));
    let iqr = third - first;
    let leans = iqr >= IQR_MIN && median > first && median < third;
    let bowley = if leans { ((first + third - 2.0 * median) / iqr).abs() } else { 0.0 };
    let mut off: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
    off.sort_by(f64::total_cmp);
    let near = if median < 1.0 { small } else { ((median - quantile(&off, 0.5)) / median).max(0.0) };
    (0.5 * (1.0 - bowley) + 0.5 * near, median)
}

/// Of sorted values, between two where it lies between two; 0 of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * sorted.len().saturating_sub(1) as f64;
    let at = |index: f64| sorted.get(index as usize).copied().unwrap_or(0.0);
    at(place.floor()) + (at(place.ceil()) - at(place.floor())) * place.fract()
}

/// Longest run of hours with connections.
fn run(bins: &[u32]) -> f64 {
    let runs = bins.split(|count| *count == 0).map(<[u32]>::len);
    runs.max().unwrap_or(0) as f64
}

/// How evenly the hours are filled, or how well two levels fill them.
fn spread(bins: &[u32]) -> f64 {
    let count = bins.len().max(1) as f64;
    let mean = bins.iter().map(|bin| f64::from(*bin)).sum::<f64>() / count;
    if mean <= 0.0 {
        return 0.0;
    }
    let variance = bins.iter().map(|bin| (f64::from(*bin) - mean).powi(2)).sum::<f64>() / count;
    let even = (1.0 - variance.sqrt() / mean).max(0.0);
    let mut filled: Vec<u32> = bins.iter().copied().filter(|bin| *bin > 0).collect();
    if filled.len() < MODES_HOURS {
        return even;
    }
    filled.sort_unstable();
    let mut heights: Vec<usize> = filled.chunk_by(|one, next| one == next).map(<[u32]>::len).collect();
    heights.sort_unstable_by(|one, other| other.cmp(one));
    let two = heights.iter().take(2).sum::<usize>() as f64;
    even.max((two / (filled.len() - 1) as f64).min(1.0))
}

/// The detector.
pub struct Beacon {
    settings: Settings,
    pairs: ColdMap<(u128, u128, u16, u8), Pair>,
    observed_since: Option<Timestamp>,
}

impl Beacon {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Beacon {
        Beacon { pairs: ColdMap::new(settings.pairs), settings, observed_since: None }
    }

    /// Pairs forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.pairs.forgotten()
    }

    /// A connection of a host of ours to a server outside; `usual`: how many go there.
    pub fn observe(&mut self, seen: &Observation, flow: &Flow, usual: &Usual, out: &mut Vec<Evidence>) {
        use Protocol::{BitTorrent, Dhcp, Dns, Mdns, Ntp, Ssdp, Stun};
        let since = *self.observed_since.get_or_insert(flow.began);
        // Those come back by themselves, all of them.
        if !flow.is_new || matches!(flow.application, BitTorrent | Dhcp | Dns | Mdns | Ntp | Ssdp | Stun) {
            return;
        }
        let key = (flow.client.address, flow.server.address, flow.server.port, flow.protocol);
        let pair = self.pairs.entry(key, || Pair::new(flow.began));
        let [sent, _] = flow.bytes;
        let is_new_hour = pair.add(flow.began, sent);
        let strobes = pair.in_a_day() as f64 >= self.settings.strobe;
        let is_due = pair.count >= pair.due || is_new_hour || strobes;
        if (pair.count as f64) < self.settings.connections || !is_due || usual.is_popular() {
            return;
        }
        // A quarter more, or the next hour.
        pair.due = pair.count + (pair.count / 4).max(1);
        if !strobes && pair.last.since(pair.first) < LEAST_HOURS as u64 * HOUR_NS {
            return;
        }
        let score = Score::of(pair, since);
        let severity = if score.total() >= HIGH || strobes { 2 } else { 3 };
        let is_news = pair.told.is_none_or(|(at, told)| pair.last.since(at) >= AGAIN_NS || severity < told);
        if (score.total() >= self.settings.score || strobes) && is_news {
            pair.told = Some((pair.last, severity));
            out.push(evidence(seen, flow, pair, (score, strobes), severity, usual, &self.settings));
        }
    }
}

fn evidence(
    seen: &Observation,
    flow: &Flow,
    pair: &Pair,
    (score, strobes): (Score, bool),
    severity: u8,
    usual: &Usual,
    settings: &Settings,
) -> Evidence {
    let (client, server) = (flow.client.ip(), flow.server.ip());
    let summary = if strobes {
        format!("{client} made {} connections to {server} port {} within a day", pair.in_a_day(), flow.server.port)
    } else {
        format!(
            "{client} comes back to {server} port {} about every {:.0} seconds, {} times so far, like a clock",
            flow.server.port, score.period_s, pair.count
        )
    };
    Evidence {
        severity,
        confidence: score.total().clamp(0.0, 1.0),
        source: Some(client),
        target: Some(server),
        port: Some(flow.server.port),
        summary,
        terms: vec![
            Term::exact("beacon_score", rounded(score.total())).against(Relation::AtLeast, settings.score),
            Term::exact("interval_evenness", rounded(score.intervals)),
            Term::exact("size_evenness", rounded(score.sizes)),
            Term::exact("duration_share", rounded(score.duration)),
            Term::exact("hours_evenness", rounded(score.hours)),
            Term::exact("interval_median_s", score.period_s.round()),
            Term::exact("connections", pair.count as f64).against(Relation::AtLeast, settings.connections),
            Term::exact("hosts_that_go_there", usual.clients),
            Term::exact("hosts_seen", usual.hosts),
        ],
        technique: Some("T1071".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::Beacon, if strobes { "strobe" } else { "beacon" })
    }
}

#[cfg(test)]
mod tests;
