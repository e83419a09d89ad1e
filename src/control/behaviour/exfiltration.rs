//! Data that leaves: a host of ours that sends far more to the outside than it does at this time, or very much to one place.
//!
//! Six rules, each with what it rests on in the alert:
//! - *unusual*: bytes sent in this hour against the host's own baseline of the hour (`adaptive`), and at least a floor.
//! - *volume*: 100 MB to one address within an hour (Slips), three times what came back, where no baseline calls it usual.
//! - *joint*: somewhat more than usual, hardly anything back, nearly all of it to one place that nobody of ours knew an hour
//!   ago; none of these alone is told.
//! - *new place*: 10 MB (a tenth of Slips' volume, for the conditions that follow) within a week to one place that the network
//!   did not know in its first day, ten times what came back, that two hosts at most go to, more than the host sends to all
//!   places in two usual hours: at once, or drop by drop, which no hour shows.
//!
//! - *drip*: 100 MB within a day, or 300 MB within a week, to one place that the host did not send to before, more than three
//!   deviations above its days there, three twentieths of what it usually sends to all places in that time, and mostly one way.
//!   No hour of it is unusual.
//! - *popular_place*: 500 MB within a day to a place to which three others of ours upload, or half of them go, eight times what
//!   nine in ten of those send, and beyond the host's own days there.
//!
//! A backup at the same hour is usual after three days: it is not told. What goes to a place of the network's, as those of the last
//! rule are, counts for that rule alone: cloud storage and photo services are everybody's.
//! Only what hosts of ours send in flows that they begin counts: what a server of ours hands out is its work. Bytes count
//! when they are told: with the flow's end, or live with each mebibyte.

mod days;
mod kept;

pub use kept::KeptSums;

use super::adaptive::{self, Baseline, Verdict};
use super::count::rounded;
use super::observation::{Flow, Observation};
use super::prevalence::Usual;
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::units::{SECOND, Timestamp};
use days::{Upload, Uploads};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Bytes to one address within an hour that are told without a baseline (Slips: 100 MB).
    pub bytes: f64,
    /// Bytes of a host within an hour below which nothing is unusual.
    pub floor_bytes: f64,
    /// Bytes sent for each that came back, for the first of them.
    pub ratio: f64,
    /// Spreads above the usual from which together with everything else it is told.
    pub joint_z: f64,
    /// Bytes to one new place within a week.
    pub new_place_bytes: f64,
    /// Bytes to one place within a day that no hour shows (the same as within an hour).
    pub day_bytes: f64,
    /// The same within a week: 2 MB an hour.
    pub week_bytes: f64,
    /// Bytes within a day to a place of the network's: more than pictures of a day, less than a data base.
    pub popular_bytes: f64,
    /// How many times as much as nine in ten of those who upload there.
    pub popular_ratio: f64,
    /// The baselines.
    pub baseline: adaptive::Settings,
    /// Hosts whose baselines are kept, some 3 KiB each.
    pub hosts: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            bytes: 100e6,
            floor_bytes: 20e6,
            ratio: 3.0,
            joint_z: 2.0,
            new_place_bytes: 10e6,
            day_bytes: 100e6,
            week_bytes: 300e6,
            popular_bytes: 500e6,
            popular_ratio: 8.0,
            baseline: adaptive::Settings::default(),
            hosts: 1 << 11,
        }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<u128, Host>(self.hosts)
            + self.hosts * Baseline::HEAP_BYTES
            + cold::bytes::<(u128, u128), Total>(TOTALS)
            + Uploads::memory()
    }
}

const HOUR_NS: u64 = 3600 * SECOND;
/// Destinations of a host and hour whose bytes are counted apart.
const PLACES: usize = 8;
/// Hours of silence that are learnt as such; a host that was away for longer is learnt anew from the hours of the week.
const SILENCE_H: u64 = 168;
/// Of the joint rule: share of one place, ratio, and how long the place may have been known.
const JOINT_SHARE: f64 = 0.8;
const JOINT_RATIO: f64 = 10.0;
const NEW_NS: u64 = HOUR_NS;

/// Of the rule of new places: pairs of host and place whose bytes are summed up, bytes sent from which a flow is one of those,
/// how long a sum and the first day last, and hosts that go there at most.
const TOTALS: usize = 1 << 13;
const PIECE: u64 = 4096;
const WEEK_NS: u64 = 168 * HOUR_NS;
const FIRST_NS: u64 = 24 * HOUR_NS;
const LONE: f64 = 2.0;
/// Of what the host usually sends in an hour so many are no sum of note.
const USUAL_HOURS: f64 = 2.0;

/// What a host sent to a place since it first did.
struct Total {
    begun: Timestamp,
    touched: Timestamp,
    sent: u64,
    received: u64,
    next: f64,
}

impl Touched for Total {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// A destination within an hour.
#[derive(Clone, Copy, Default)]
struct Place {
    address: u128,
    sent: u64,
    received: u64,
}

/// A host.
struct Host {
    baseline: Baseline,
    /// The hour that is counted.
    hour: u64,
    sent: u64,
    received: u64,
    places: [Place; PLACES],
    /// Bytes at which it is told again, by rule.
    next: [u64; 3],
    touched: Timestamp,
}

impl Touched for Host {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Host {
    fn new(baseline: Baseline, hour: u64) -> Host {
        Host {
            baseline,
            hour,
            sent: 0,
            received: 0,
            places: [Place::default(); PLACES],
            next: [0; 3],
            touched: Timestamp(hour * HOUR_NS),
        }
    }

    /// What is over teaches, silence too.
    fn turn_to(&mut self, hour: u64, settings: &adaptive::Settings) {
        if hour <= self.hour {
            return;
        }
        self.baseline.learn(settings, self.hour, self.sent as f64);
        for silent in (self.hour + 1..hour).take(SILENCE_H as usize) {
            self.baseline.learn(settings, silent, 0.0);
        }
        let baseline = std::mem::take(&mut self.baseline);
        *self = Host::new(baseline, hour);
    }

    /// Counts, and returns what the place has come to. A full list gives up the least of them.
    fn add(&mut self, address: u128, [sent, received]: [u64; 2]) -> Place {
        self.sent = self.sent.saturating_add(sent);
        self.received = self.received.saturating_add(received);
        let known = self.places.iter().position(|place| place.address == address && place.sent > 0);
        let least = || (0..PLACES).min_by_key(|index| self.places[*index].sent).unwrap_or(0);
        let index = known.unwrap_or_else(least);
        let place = &mut self.places[index];
        if known.is_none() {
            *place = Place { address, ..Place::default() };
        }
        place.sent = place.sent.saturating_add(sent);
        place.received = place.received.saturating_add(received);
        *place
    }
}

/// The rules, in their order.
const RULES: [&str; 4] = ["unusual", "volume", "joint", "new_place"];

const NEW_PLACE: usize = 3;
/// Share of what a host usually sends to all places from which a sum to one is one of note.
const DRIP_SHARE: f64 = 0.15;

/// The detector.
pub struct Exfiltration {
    settings: Settings,
    hosts: ColdMap<u128, Host>,
    totals: ColdMap<(u128, u128), Total>,
    uploads: Uploads,
    observed_since: Option<Timestamp>,
}

/// A host's baseline as it is written down.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Kept {
    address: IpAddr,
    /// The hour that was counted, and its bytes so far.
    hour: u64,
    sent: u64,
    baseline: Baseline,
}

impl Exfiltration {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Exfiltration {
        let (hosts, totals) = (ColdMap::new(settings.hosts), ColdMap::new(TOTALS));
        Exfiltration { hosts, totals, uploads: Uploads::new(), settings, observed_since: None }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Hosts forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.hosts.forgotten() + self.uploads.forgotten()
    }

    /// What shall outlive a restart.
    pub fn snapshot(&self) -> Vec<Kept> {
        let of = |(address, host): (u128, &Host)| {
            let (hour, sent, baseline) = (host.hour, host.sent, host.baseline.clone());
            let v6 = Ipv6Addr::from_bits(address);
            Kept { address: v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4), hour, sent, baseline }
        };
        self.hosts.sorted().into_iter().map(of).collect()
    }

    /// Goes on from what was written; `false`: some of it is not what this program writes, and is left out.
    pub fn restore(&mut self, kept: Vec<Kept>) -> bool {
        let mut sound = true;
        for Kept { address, hour, sent, baseline } in kept {
            // An hour that nobody can mean would be learnt as weeks of silence.
            if !baseline.is_sound() || hour > u64::MAX / HOUR_NS {
                sound = false;
                continue;
            }
            let address = match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
                IpAddr::V6(address) => address.to_bits(),
            };
            *self.hosts.entry(address, || Host::new(Baseline::default(), hour)) =
                Host { sent, ..Host::new(baseline, hour) };
        }
        sound
    }

    /// A flow of a host of ours to the outside; `usual`: how many go there.
    pub fn observe(&mut self, seen: &Observation, flow: &Flow, usual: &Usual, out: &mut Vec<Evidence>) {
        self.observed_since.get_or_insert(flow.began);
        let upload = self.uploads.add(flow, seen.told);
        let is_of_network = usual.is_popular() || upload.is_shared();
        let before = out.len();
        if !is_of_network {
            self.of_hour(seen, flow, usual, out);
        }
        let slow = slow_rule(&upload, is_of_network, &self.settings);
        let is_told = out.len() > before;
        // What an hour showed is no drip.
        if (is_told || slow.is_some())
            && self.uploads.is_due(flow, upload.today.max(upload.week))
            && let Some(rule) = slow.filter(|_| !is_told)
        {
            out.push(of_days(seen, flow, (rule, &upload), usual, &self.settings));
        }
    }

    fn of_hour(&mut self, seen: &Observation, flow: &Flow, usual: &Usual, out: &mut Vec<Evidence>) {
        let Exfiltration { settings, hosts, totals, observed_since, .. } = self;
        let (hour, client) = (seen.told.0 / HOUR_NS, flow.client.address);
        let observed = *observed_since.get_or_insert(flow.began);
        let host = hosts.entry(client, || Host::new(Baseline::default(), hour));
        host.turn_to(hour, &settings.baseline);
        host.touched = host.touched.max(seen.told);
        let place = host.add(flow.server.address, flow.bytes);
        let total = total_of(totals, flow, settings);
        let is_much = total.as_ref().is_some_and(|total| total.sent as f64 >= total.next);
        if (host.sent as f64) < settings.floor_bytes && !is_much {
            return;
        }
        let verdict = host.baseline.judge(&settings.baseline, hour, host.sent as f64);
        let is_ready = verdict.mode != adaptive::Mode::Building;
        let ratio = |sent: u64, received: u64| sent as f64 / received.max(1) as f64;
        let of_place = ratio(place.sent, place.received);
        let share = place.sent as f64 / host.sent.max(1) as f64;
        let is_enough = host.sent as f64 >= settings.floor_bytes;
        let met = [
            is_enough && verdict.is_flagged && ratio(host.sent, host.received) >= 1.0,
            is_enough && place.sent as f64 >= settings.bytes && of_place >= settings.ratio && !is_ready,
            is_enough
                && is_ready
                && verdict.z >= settings.joint_z
                && of_place >= JOINT_RATIO
                && share >= JOINT_SHARE
                && usual.age_ns < NEW_NS,
        ];
        let told = met.iter().zip(&host.next).position(|(met, next)| *met && host.sent >= *next);
        let case =
            Case { place, host_sent: host.sent, verdict, is_ready, of_place, share, total: [0; 2], lasts_h: 0.0 };
        if let Some(rule) = told {
            // Told again at twice as much.
            host.next[rule] = host.sent.saturating_mul(2);
            out.push(evidence(seen, flow, rule, &case, usual, settings));
            return;
        }
        let first = Timestamp(flow.began.0.saturating_sub(usual.age_ns));
        let is_new = first.since(observed) >= FIRST_NS && usual.clients <= LONE;
        if let Some(total) = total.filter(|_| is_much && is_ready && is_new) {
            let of_total = ratio(total.sent, total.received);
            if of_total >= JOINT_RATIO && total.sent as f64 >= USUAL_HOURS * verdict.median {
                total.next = total.sent as f64 * 4.0;
                let lasts_h = total.touched.since(total.begun) as f64 / HOUR_NS as f64;
                let case = Case { of_place: of_total, total: [total.sent, total.received], lasts_h, ..case };
                out.push(evidence(seen, flow, NEW_PLACE, &case, usual, settings));
            }
        }
    }
}

/// Rules over days.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slow {
    Day,
    Week,
    Popular,
}

fn slow_rule(upload: &Upload, is_of_network: bool, settings: &Settings) -> Option<Slow> {
    let [back, back_week] = upload.received;
    if !upload.is_known {
        return None;
    }
    if is_of_network {
        let is_far = upload.today >= settings.popular_ratio * upload.most.max(1.0)
            && upload.today >= settings.popular_ratio * upload.own;
        let is_one_way = upload.today >= settings.ratio * back;
        return (upload.today >= settings.popular_bytes && is_far && is_one_way).then_some(Slow::Popular);
    }
    let is_day = upload.today >= settings.day_bytes
        && upload.today > upload.own
        && upload.today >= DRIP_SHARE * upload.host
        && upload.today >= settings.ratio * back;
    let is_week = upload.week >= settings.week_bytes
        && upload.week >= DRIP_SHARE * 7.0 * upload.host
        && upload.week >= settings.ratio * back_week;
    (upload.is_later && is_day).then_some(Slow::Day).or((upload.is_later && is_week).then_some(Slow::Week))
}

fn of_days(
    seen: &Observation,
    flow: &Flow,
    (rule, upload): (Slow, &Upload),
    usual: &Usual,
    settings: &Settings,
) -> Evidence {
    let (client, server) = (flow.client.ip(), flow.server.ip());
    let mega = |bytes: f64| format!("{:.0} MB", bytes / 1e6);
    let (sent, back, least, span) = match rule {
        Slow::Week => (upload.week, upload.received[1], settings.week_bytes, "seven days"),
        Slow::Day => (upload.today, upload.received[0], settings.day_bytes, "a day"),
        Slow::Popular => (upload.today, upload.received[0], settings.popular_bytes, "a day"),
    };
    let summary = match rule {
        Slow::Popular => format!(
            "{client} sent {} to {server} within a day, where hosts of the network upload too, but hardly any more than {}, and \
             itself no more than {} usually",
            mega(sent),
            mega(upload.most),
            mega(upload.own)
        ),
        _ => format!(
            "{client} sent {} to {server} within {span}, where it used to send {} a day at most, and {} to all places; no hour of \
             it is unusual",
            mega(sent),
            mega(upload.own),
            mega(upload.host)
        ),
    };
    let own = Term::exact("own_days_there_bytes", upload.own.round());
    let mut terms = vec![
        Term::exact("sent_to_one_address_bytes", sent).against(Relation::AtLeast, least),
        Term::exact("sent_for_each_received", rounded(sent / back.max(1.0))).against(Relation::AtLeast, settings.ratio),
        own,
        Term::exact("own_days_bytes", upload.host.round()),
        Term::exact("others_that_upload_there", upload.others.into()),
    ];
    if rule == Slow::Popular {
        terms.push(
            Term::exact("times_what_others_send", rounded(sent / upload.most.max(1.0)))
                .against(Relation::AtLeast, settings.popular_ratio),
        );
    }
    terms.push(Term::exact("hosts_that_go_there", usual.clients));
    Evidence {
        severity: 3,
        confidence: 0.5,
        source: Some(client),
        target: Some(server),
        port: Some(flow.server.port),
        summary,
        terms,
        technique: Some(if rule == Slow::Popular { "T1567" } else { "T1048" }.into()),
        flow: seen.origin.flow(false),
        ..seen.evidence(Detector::Exfiltration, if rule == Slow::Popular { "popular_place" } else { "drip" })
    }
}

/// Sums up a flow that mostly sends.
fn total_of<'a>(
    totals: &'a mut ColdMap<(u128, u128), Total>,
    flow: &Flow,
    settings: &Settings,
) -> Option<&'a mut Total> {
    let ([sent, received], now) = (flow.bytes, flow.began);
    let key = (flow.client.address, flow.server.address);
    if sent < PIECE || sent < received {
        return None;
    }
    let fresh = || Total { begun: now, touched: now, sent: 0, received: 0, next: settings.new_place_bytes };
    let total = totals.entry(key, fresh);
    if now.since(total.begun) >= WEEK_NS {
        *total = fresh();
    }
    total.touched = total.touched.max(now);
    total.sent = total.sent.saturating_add(sent);
    total.received = total.received.saturating_add(received);
    Some(total)
}

/// What an alert tells of a host.
struct Case {
    place: Place,
    host_sent: u64,
    verdict: Verdict,
    is_ready: bool,
    of_place: f64,
    share: f64,
    /// To the new place since the first time, and for how long, hours.
    total: [u64; 2],
    lasts_h: f64,
}

fn evidence(seen: &Observation, flow: &Flow, rule: usize, case: &Case, usual: &Usual, settings: &Settings) -> Evidence {
    let (client, server) = (flow.client.ip(), flow.server.ip());
    let mega = |bytes: f64| format!("{:.0} MB", bytes / 1e6);
    let (verdict, sent) = (&case.verdict, case.host_sent as f64);
    let summary = match RULES.get(rule) {
        Some(&"unusual") => format!(
            "{client} sent {} to the outside in this hour, where {} are usual ({} values of {}, {}); most lately to {server}",
            mega(sent),
            mega(verdict.median),
            verdict.count,
            verdict.basis.words(),
            verdict.mode.words(),
        ),
        Some(&"joint") => format!(
            "{client} sent {} to {server}, which nobody here knew an hour ago, hardly anything came back, and it is more \
             than usual for it at this time",
            mega(case.place.sent as f64)
        ),
        Some(&"new_place") => format!(
            "{client} sent {} to {server} over {:.0} hours, hardly anything came back; the place is new to the network, and \
             nobody else sends there",
            mega(case.total[0] as f64),
            case.lasts_h.ceil()
        ),
        _ => format!(
            "{client} sent {} to {server} within an hour; what is usual for it is still being learnt ({} of {} days)",
            mega(case.place.sent as f64),
            verdict.count,
            adaptive::WARM_UP
        ),
    };
    let is_volume = rule == 1;
    let (sent_there, least) = match rule {
        1 => (case.place.sent, Some(settings.bytes)),
        NEW_PLACE => (case.total[0], Some(settings.new_place_bytes)),
        _ => (case.place.sent, None),
    };
    let sent_there = Term::exact("sent_to_one_address_bytes", sent_there as f64);
    let mut terms = vec![match least {
        Some(least) => sent_there.against(Relation::AtLeast, least),
        None => sent_there,
    }];
    terms.push(Term::exact("sent_for_each_received", rounded(case.of_place)).against(
        Relation::AtLeast,
        match rule {
            0 => 0.0,
            1 => settings.ratio,
            _ => JOINT_RATIO,
        },
    ));
    if case.is_ready && rule != NEW_PLACE {
        let z_least = if rule == 0 { settings.baseline.z } else { settings.joint_z };
        terms.push(Term {
            usual: Some(verdict.median.round()),
            ..Term::exact("sent_in_this_hour_bytes", sent).against(Relation::Above, verdict.threshold.round())
        });
        terms.push(Term::exact("baseline_z", rounded(verdict.z)).against(Relation::AtLeast, z_least));
        terms.push(Term::exact("baseline_mad", rounded(verdict.mad)));
        terms.push(Term::exact("baseline_values", verdict.count.into()));
    }
    terms.push(Term::exact("share_of_one_address", rounded(case.share)));
    terms.push(Term::exact("destination_known_h", (usual.age_ns / HOUR_NS) as f64));
    terms.push(Term::exact("hosts_that_go_there", usual.clients));
    Evidence {
        severity: if rule == 0 || rule == NEW_PLACE && case.total[0] as f64 >= settings.bytes { 2 } else { 3 },
        confidence: if is_volume || rule == NEW_PLACE {
            0.5
        } else {
            (verdict.z / (2.0 * settings.baseline.z)).clamp(0.3, 1.0)
        },
        source: Some(client),
        target: Some(server),
        port: Some(flow.server.port),
        summary,
        terms,
        technique: Some("T1048".into()),
        flow: seen.origin.flow(rule == 0),
        ..seen.evidence(Detector::Exfiltration, RULES.get(rule).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
