//! A client's long names over all registered names that hardly anybody else asks below: what one tunnel divides among many.

use super::super::count::Distinct;
use super::super::observation::{Dns, Observation};
use super::Settings;
use super::counts::{Brought, Counts, HORIZONS, Horizon, Likeness};
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::units::Timestamp;

/// Bytes in front of a registered name from which data may be in them: host names have up to some 12.
pub(super) const ENCODED: usize = 24;
/// Registered names at least; of fewer each one has its own number of names.
const DOMAINS: f64 = 3.0;

/// A client within a horizon.
#[derive(Default)]
struct Sum {
    counts: Counts,
    domains: Distinct<2>,
}

struct Client {
    touched: Timestamp,
    sums: [Sum; 2],
}

impl Touched for Client {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// What a message is to each horizon.
pub(super) struct Share {
    /// Hash of the registered name.
    pub apex: u64,
    /// It is one of so few names below it that these tell nothing by themselves, by horizon.
    pub is_few: [bool; 2],
    /// For how many hosts the client asks.
    pub hosts: f64,
}

pub(super) struct Rotation {
    clients: ColdMap<u128, Client>,
}

impl Rotation {
    pub fn new(clients: usize) -> Rotation {
        Rotation { clients: ColdMap::new(clients) }
    }

    pub const fn memory(clients: usize) -> usize {
        cold::bytes::<u128, Client>(clients)
    }

    pub fn forgotten(&self) -> u64 {
        self.clients.forgotten()
    }

    /// A message for a long name below a registered one that hardly anybody else asks below.
    pub fn add(
        &mut self,
        seen: &Observation,
        (dns, brought, share): (&Dns, &Brought, &Share),
        settings: &Settings,
        out: &mut Vec<Evidence>,
    ) {
        let now = seen.time;
        let fresh = || Client { touched: now, sums: Default::default() };
        let client = self.clients.entry(dns.client.address, fresh);
        client.touched = client.touched.max(now);
        let limits =
            [(settings.client_names, settings.lookup_bytes), (settings.client_names_day, settings.lookup_bytes_day)];
        for (((sum, horizon), is_few), (floor, lookup_bytes)) in
            client.sums.iter_mut().zip(&HORIZONS).zip(share.is_few).zip(limits)
        {
            if sum.counts.begun == Timestamp(0) || now.since(sum.counts.begun) >= horizon.length_ns {
                *sum = Sum { counts: Counts::since(now), domains: Distinct::default() };
            }
            if !is_few {
                continue;
            }
            sum.counts.add(dns, brought);
            sum.domains.insert(share.apex);
            let (names, domains) = (sum.counts.names.estimate(), sum.domains.estimate());
            let floor = floor * share.hosts;
            if names < sum.counts.next.max(floor) || domains < DOMAINS {
                continue;
            }
            sum.counts.next = names * 1.1;
            let likeness = sum.counts.likeness(horizon, now, lookup_bytes * share.hosts);
            let is_enough = likeness.least_bytes.is_none_or(|least| sum.counts.carried() >= least);
            if likeness.value >= settings.likeness && is_enough {
                sum.counts.next = names * 2.0;
                out.push(evidence(seen, dns, (sum, horizon), &likeness, (floor, settings.likeness)));
            }
        }
    }
}

fn evidence(
    seen: &Observation,
    dns: &Dns,
    (sum, horizon): (&Sum, &Horizon),
    likeness: &Likeness,
    (floor, threshold): (f64, f64),
) -> Evidence {
    let (client, counts) = (dns.client.ip(), &sum.counts);
    let (names, domains) = (counts.names.estimate(), sum.domains.estimate());
    let mut terms = counts.terms((names, floor), (likeness, threshold), (1.0, counts.rate(seen.time)));
    terms.push(Term::exact("registered_names", domains).against(Relation::AtLeast, DOMAINS));
    Evidence {
        severity: likeness.severity(),
        confidence: likeness.value,
        source: Some(client),
        target: Some(dns.server.ip()),
        port: Some(dns.server.port),
        summary: format!(
            "{client} asked for about {names} distinct long names within {}, {:.0} new bytes each, below {domains} registered names \
             that hardly anybody else asks below, a few each: data inside DNS that is divided among domains",
            horizon.text,
            counts.mean_length(),
        ),
        terms,
        technique: Some("T1071.004".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::DnsTunnel, "many_domains")
    }
}
