//! Data inside DNS: tunnels, and data that leaves in names that nobody else will ever ask for.
//!
//! Per client and registered name, over five minutes and over a day: distinct names, how quickly they come, their length, how
//! mixed their letters are, bytes carried, types that carry data, refusals. Of names longer than any host's fewer are enough. Each becomes a share of what tunnels show (0: what any site shows, 1:
//! beyond any site), and a logistic function of their sum decides, so that no single one does: a CDN has many names, but short
//! ones and hardly any bytes in them; a reputation service has long ones, but few, or the whole network asks it.
//!
//! Numbers of names are RITA's (100, 500, 800, 1000 below one registered name); what a name carries is bounded by RFC 1035
//! section 2.3.4. Not seen: tunnels in DoH and DoT, and what stays below all floors for a day.

use super::count::{Distinct, hash, rounded};
use super::names::{self, Parts};
use super::observation::{Dns, Observation};
use super::prevalence::{Prevalence, Usual};
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::dataplane::inspect::dns;
use crate::units::{SECOND, Timestamp};
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
    /// Pairs of client and registered name remembered.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { names: 40.0, names_day: 500.0, likeness: 0.85, pairs: 1 << 13 }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        const NAME: usize = 64;
        cold::bytes::<(u128, u64), Pair>(self.pairs) + self.pairs * NAME + Prevalence::memory(self.pairs)
    }
}

/// One of the two horizons: its length, and numbers of names and of bytes that tell nothing and all.
struct Horizon {
    length_ns: u64,
    names: (f64, f64),
    bytes: (f64, f64),
    kind: &'static str,
    text: &'static str,
}

const FIVE_MINUTES_NS: u64 = 300 * SECOND;
/// What a site's own names come to, and what no site's do. 1000 names are RITA's highest step; 1 KiB in five minutes is what
/// forty long host names come to, 100 KiB a slow tunnel at work.
const HORIZONS: [Horizon; 2] = [
    Horizon {
        length_ns: FIVE_MINUTES_NS,
        names: (20.0, 1000.0),
        bytes: (1e3, 1e5),
        kind: "tunnel",
        text: "five minutes",
    },
    Horizon {
        length_ns: 86_400 * SECOND,
        names: (100.0, 2000.0),
        bytes: (1e4, 1e6),
        kind: "slow_tunnel",
        text: "a day",
    },
];
/// Bytes in front of the registered name: host names have up to some 12, base32 of 32 bytes 52.
const LENGTH: (f64, f64) = (12.0, 52.0);
/// Bits a letter of the longest label: words up to 2.5, hexadecimal digits 4.
const ENTROPY: (f64, f64) = (2.5, 4.0);
/// New names a second: a resolver that works for a client asks for some in a minute, a tunnel as fast as answers come.
const RATE: (f64, f64) = (0.1, 10.0);
/// Bytes in front of the registered name up to which all names are needed, and from which three in ten are enough.
const LONG: (f64, f64) = (60.0, 130.0);
/// Weights of the shares. They add up to 1 without the last, the rate, which comes on top: a slow tunnel is one too.
const WEIGHTS: [f64; 7] = [0.32, 0.17, 0.17, 0.11, 0.18, 0.05, 0.1];
/// At half of everything the likeness is a half; a tenth more or less makes it 80 % or 20 %.
const STEEPNESS: f64 = 14.0;
/// Names from which it is a habit to ask for another one each time, and their share of all questions.
const ANEW: f64 = 16.0;
const ANEW_SHARE: f64 = 0.45;
/// Likeness from which the severity is 1.
const CERTAIN: f64 = 0.98;

/// Types that carry an address, or names that resolvers ask for on their own: all others carry data.
fn carries_data(kind: u16) -> bool {
    use dns::types::{A, AAAA};
    const NS: u16 = 2;
    const SOA: u16 = 6;
    const PTR: u16 = 12;
    const DS: u16 = 43;
    const DNSKEY: u16 = 48;
    const HTTPS: u16 = 65;
    !matches!(kind, A | AAAA | NS | SOA | PTR | DS | DNSKEY | HTTPS)
}

/// What was counted since a moment.
#[derive(Default)]
struct Counts {
    begun: Timestamp,
    names: Distinct<32>,
    /// Of names that were new: their number, bytes and entropy.
    fresh: u64,
    length: u64,
    entropy: f64,
    /// Questions and answers, and those of types that carry data.
    messages: [u64; 2],
    data: [u64; 2],
    refused: u64,
    answer_bytes: u64,
    /// Distinct names at which evidence is given next.
    next: f64,
}

/// A client and a registered name.
struct Pair {
    apex: Box<str>,
    touched: Timestamp,
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
}

impl DnsTunnel {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> DnsTunnel {
        let prevalence = Prevalence::new(settings.pairs);
        DnsTunnel { pairs: ColdMap::new(settings.pairs), prevalence, settings }
    }

    /// What was forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.pairs.forgotten() + self.prevalence.forgotten()
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
        let usual = self.prevalence.note(client, apex_hash.into(), seen.time);
        let fresh = || Pair { apex: apex.into(), touched: seen.time, counts: Default::default() };
        let pair = self.pairs.entry((client, apex_hash), fresh);
        pair.touched = pair.touched.max(seen.time);
        let name = hash(rest);
        let floors = [self.settings.names, self.settings.names_day];
        let mut is_new = false;
        for ((counts, horizon), floor) in pair.counts.iter_mut().zip(&HORIZONS).zip(floors) {
            if counts.begun == Timestamp(0) || seen.time.since(counts.begun) >= horizon.length_ns {
                *counts = Counts { begun: seen.time, next: floor, ..Counts::default() };
            }
            let is_fresh = counts.add(dns, rest, name);
            is_new |= is_fresh && horizon.length_ns == FIVE_MINUTES_NS;
            let names = counts.names.estimate();
            let length = counts.mean_length();
            let fewer = horizon.fewer(length);
            // No service of a network has names as long as these.
            if names < counts.next * fewer || usual.is_popular() && length < LONG.1 {
                continue;
            }
            // Looked at again when there are a tenth more.
            counts.next = names * 1.1 / fewer;
            let shares = counts.shares(horizon, seen.time);
            let sum: f64 = shares.iter().zip(WEIGHTS).map(|(share, weight)| share * weight).sum();
            let likeness = 1.0 / (1.0 + (-STEEPNESS * (sum - 0.5)).exp());
            if likeness >= self.settings.likeness {
                counts.next = names * 2.0 / fewer;
                let terms = counts.terms(
                    (names, floor * fewer),
                    (likeness, self.settings.likeness),
                    (usual.clients, counts.rate(seen.time)),
                );
                out.push(evidence(seen, dns, &pair.apex, (counts, horizon), likeness, terms));
            }
        }
        let [.., day] = &pair.counts;
        (is_new && day.asks_anew()).then_some((apex, usual))
    }
}

impl Horizon {
    /// Share of the names that are enough at this mean length; over a day more, for a few long ones are somebody's own.
    fn fewer(&self, length: f64) -> f64 {
        let most = if self.length_ns == FIVE_MINUTES_NS { 0.7 } else { 0.5 };
        1.0 - most * share(length, LONG)
    }
}

/// Where a value stands between what tells nothing and what tells all.
fn share(value: f64, (nothing, all): (f64, f64)) -> f64 {
    ((value - nothing) / (all - nothing)).clamp(0.0, 1.0)
}

/// The same by orders of magnitude.
fn log_share(value: f64, (nothing, all): (f64, f64)) -> f64 {
    share(value.max(1.0).ln(), (nothing.ln(), all.ln()))
}

impl Counts {
    /// Counts a message; `true`: its name is new.
    fn add(&mut self, dns: &Dns, rest: &str, name: u64) -> bool {
        let side = usize::from(dns.answer.is_some());
        let count = |of: &mut [u64; 2], by: u64| of.iter_mut().skip(side).take(1).for_each(|sum| *sum += by);
        count(&mut self.messages, 1);
        count(&mut self.data, u64::from(carries_data(dns.kind)));
        // RFC 1035 section 4.1.1: the name does not exist.
        self.refused += u64::from(dns.answer == Some(3));
        if carries_data(dns.kind) {
            self.answer_bytes += u64::from(dns.answer_bytes);
        }
        let is_new = self.names.insert(name);
        if is_new {
            self.fresh += 1;
            self.length += rest.len() as u64;
            let longest = rest.split('.').max_by_key(|label| label.len()).unwrap_or_default();
            self.entropy += names::entropy(longest);
        }
        is_new
    }

    /// Is each name asked for once, or for both families of addresses?
    fn asks_anew(&self) -> bool {
        let messages = self.messages.iter().copied().max().unwrap_or(0);
        let names = self.names.estimate();
        names >= ANEW && names >= ANEW_SHARE * messages as f64
    }

    fn mean_length(&self) -> f64 {
        self.length as f64 / self.fresh.max(1) as f64
    }

    fn mean_entropy(&self) -> f64 {
        self.entropy / self.fresh.max(1) as f64
    }

    /// Of the side of which more was seen.
    fn data_share(&self) -> f64 {
        let [(asked, asked_data), (answered, answered_data)] =
            [0, 1].map(|side: usize| (self.messages.get(side).copied(), self.data.get(side).copied()));
        let of =
            |messages: Option<u64>, data: Option<u64>| data.unwrap_or(0) as f64 / messages.unwrap_or(0).max(1) as f64;
        if asked >= answered { of(asked, asked_data) } else { of(answered, answered_data) }
    }

    fn refused_share(&self) -> f64 {
        let [_, answers] = self.messages;
        self.refused as f64 / answers.max(1) as f64
    }

    /// Bytes that names or answers carried: the estimate of all names at their mean length.
    fn carried(&self) -> f64 {
        (self.names.estimate() * self.mean_length()).max(self.answer_bytes as f64)
    }

    /// New names a second; of less than a second nobody knows.
    fn rate(&self, now: Timestamp) -> f64 {
        self.names.estimate() * SECOND as f64 / now.since(self.begun).max(SECOND) as f64
    }

    fn shares(&self, horizon: &Horizon, now: Timestamp) -> [f64; 7] {
        [
            log_share(self.names.estimate(), horizon.names),
            share(self.mean_length(), LENGTH),
            share(self.mean_entropy(), ENTROPY),
            log_share(self.carried(), horizon.bytes),
            self.data_share(),
            self.refused_share(),
            share(self.rate(now).max(1e-9).ln(), (RATE.0.ln(), RATE.1.ln())),
        ]
    }

    fn terms(
        &self,
        (names, floor): (f64, f64),
        (likeness, threshold): (f64, f64),
        (clients, rate): (f64, f64),
    ) -> Vec<Term> {
        vec![
            Term::exact("tunnel_likeness", rounded(likeness)).against(Relation::AtLeast, threshold),
            Term::exact("distinct_names", names).against(Relation::AtLeast, floor),
            Term { usual: Some(LENGTH.0), ..Term::exact("name_bytes_mean", rounded(self.mean_length())) },
            Term { usual: Some(ENTROPY.0), ..Term::exact("label_entropy_bits", rounded(self.mean_entropy())) },
            Term::exact("carried_bytes", self.carried().round()),
            Term::exact("data_type_share", rounded(self.data_share())),
            Term::exact("nxdomain_share", rounded(self.refused_share())),
            Term::exact("new_names_a_second", rounded(rate)),
            Term::exact("clients_of_name", clients),
        ]
    }
}

fn evidence(
    seen: &Observation,
    dns: &Dns,
    apex: &str,
    (counts, horizon): (&Counts, &Horizon),
    likeness: f64,
    terms: Vec<Term>,
) -> Evidence {
    let client = dns.client.ip();
    let below = if apex.is_empty() { "that end in no registered one".to_owned() } else { format!("below {apex}") };
    let summary = format!(
        "{client} asked for about {} distinct names {below} within {}, {:.0} bytes each in front of it: data \
         inside DNS, such as a tunnel",
        counts.names.estimate(),
        horizon.text,
        counts.mean_length(),
    );
    Evidence {
        severity: if likeness >= CERTAIN { 1 } else { 2 },
        confidence: likeness,
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

#[cfg(test)]
mod tests {
    use super::super::tests::{Wire, host};
    use super::*;
    use crate::units::MILLISECOND;

    const TXT: u16 = 16;
    const NULL: u16 = 10;
    const A: u16 = 1;

    /// Letters as a tunnel has them: `bits` of each are drawn.
    fn drawn(dice: &mut u64, letters: &[u8], count: usize) -> String {
        let next = |_| {
            *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(letters[(*dice >> 33) as usize % letters.len()])
        };
        (0..count).map(next).collect()
    }

    const HEX: &[u8] = b"0123456789abcdef";
    const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";

    /// `count` questions, one each `pause`, for names that `name` makes.
    fn asked(count: u64, pause: u64, kind: u16, data: usize, name: impl Fn(u64, &mut u64) -> String) -> Wire {
        let (mut wire, mut dice) = (Wire::default(), 7);
        for number in 0..count {
            let name = name(number, &mut dice);
            wire.dns(number * pause, host(1), &name, kind, (0, data));
        }
        wire
    }

    #[test]
    fn tunnels_are_found_whatever_they_are_made_of() {
        let labels = |letters: &'static [u8], sizes: &'static [usize]| {
            move |_: u64, dice: &mut u64| {
                let labels: Vec<String> = sizes.iter().map(|size| drawn(dice, letters, *size)).collect();
                format!("{}.t.example.org", labels.join("."))
            }
        };
        let second = SECOND;
        for (case, wire, kind) in [
            ("base32 in NULL", asked(200, 100 * MILLISECOND, NULL, 200, labels(BASE32, &[60, 60])), "tunnel"),
            ("hexadecimal in TXT", asked(280, second, TXT, 60, labels(HEX, &[34])), "tunnel"),
            ("hexadecimal in A", asked(300, 500 * MILLISECOND, A, 4, labels(HEX, &[60, 60, 40])), "tunnel"),
            ("few names, long ones", asked(30, 500 * MILLISECOND, TXT, 60, labels(HEX, &[60, 60, 40])), "tunnel"),
            ("short ones, quickly", asked(110, 100 * MILLISECOND, TXT, 60, labels(BASE32, &[32])), "tunnel"),
            // Straight to a server of one's own: there is no name that is registered.
            ("without a domain", asked(280, second, 5, 30, |_, dice| format!("t.{}", drawn(dice, HEX, 34))), "tunnel"),
            ("data that leaves slowly", asked(1200, 60 * second, A, 4, labels(BASE32, &[50])), "slow_tunnel"),
        ] {
            let mut found = wire.evidence();
            found.retain(|one| one.detector == Detector::DnsTunnel);
            let kinds: Vec<_> = found.iter().map(|one| one.kind.as_str()).collect();
            assert!(kinds.contains(&kind), "{case}: {kinds:?}");
            let first = &found[0];
            assert_eq!(first.technique.as_deref(), Some("T1071.004"));
            assert!(first.summary.contains(" distinct names ") && first.flow.is_some(), "{}", first.summary);
            let likeness = &first.terms[0];
            assert!(likeness.relation.unwrap().holds(likeness.value, likeness.threshold.unwrap()), "{case}");
            // Told again only when there are twice as many.
            assert!(found.len() < 12, "{case}: {}", found.len());
        }
    }

    #[test]
    fn what_only_looks_like_one_is_quiet() {
        for (case, wire) in [
            // Content networks: many names, short ones of words and numbers.
            ("a content network", asked(300, second(), A, 16, |number, _| format!("e{number}.dscb.cdn.example"))),
            (
                "shards of video",
                asked(200, second(), A, 4, |number, dice| {
                    format!("r{}---sn-{}.video.example", number % 8, drawn(dice, b"abcdefghjk4567", 8))
                }),
            ),
            // Files looked up at a reputation service: a digest each, some dozens at once.
            (
                "a reputation service",
                asked(39, second(), TXT, 20, |_, dice| format!("{}.avqs.example.com", drawn(dice, HEX, 40))),
            ),
            (
                "black lists of mail servers",
                asked(800, second(), A, 9, |number, _| {
                    format!("{}.{}.0.10.zen.example.org", number % 256, number / 256)
                }),
            ),
            ("names of addresses", asked(900, second(), 12, 20, |number, _| format!("{number}.2.0.192.in-addr.arpa"))),
            (
                "one name again and again",
                asked(2000, second(), TXT, 200, |_, _| "long-name-of-one-record.example.org".into()),
            ),
            ("one label", asked(400, second(), A, 0, |_, dice| drawn(dice, BASE32, 30))),
        ] {
            assert_eq!(wire.evidence(), [], "{case}");
        }
    }

    fn second() -> u64 {
        SECOND
    }

    /// What half of the network asks is a service of the network.
    #[test]
    fn a_name_that_everybody_asks_for_is_nobodys_tunnel() {
        let wire = |hosts: u32| {
            let (mut wire, mut dice) = (Wire::default(), 7);
            for number in 0..600_u32 {
                let name = format!("{}.avqs.example.com", drawn(&mut dice, HEX, 48));
                let at = u64::from(number) * 200 * MILLISECOND;
                wire.dns(at, host(1 + number % hosts), &name, TXT, (0, 40));
                wire.dns(at, host(1 + number % 10), "www.example.net", A, (0, 4));
            }
            wire
        };
        assert_eq!(wire(10).kinds(), <[&str; 0]>::default());
        assert!(wire(1).kinds().contains(&"dns_tunnel/tunnel".to_owned()));
    }

    #[test]
    fn memory_is_bounded_and_what_it_costs_is_counted() {
        let mut wire = Wire::default();
        for number in 0..400_u64 {
            wire.dns(number * SECOND, host(1), &format!("a.site{number}.example"), A, (0, 4));
        }
        let mut settings = crate::control::hosts::Settings::default();
        settings.dns_tunnel.pairs = 16;
        let (found, stats) = wire.evidence_with(settings);
        assert_eq!((found.len(), stats.observed), (0, 800));
        assert!(stats.forgotten > 300, "{stats:?}");
    }
}
