//! Names that a program makes up: a host that asks for many registered names that do not exist, most of which nobody would
//! choose.
//!
//! Both are needed. Names that do not exist alone are typing errors, search domains and lists of spam; letters in an order that
//! no language has alone are content networks and digests. Only registered names count (`x` of `y.x.example`), once each, so
//! one domain below which everything is missing is one name. Numbers: ten, and each further five (Slips). Letters: bits of
//! surprise of each behind the two before it, from a table trained on English words (`dga/trigrams.py`, which prints what the
//! threshold rests on: of words 0.4 % lie above it, of drawn letters 99.5 %, of hexadecimal digits 90 %). And a quarter of all
//! registered names that the host asks for must be missing: who walks through a list of sites meets some that are gone.
//!
//! Not seen: generators that put words together, names in DoH, and hosts whose resolver is asked behind the tap.

use super::count::{Distinct, hash, rounded};
use super::names;
use super::observation::{Dns, Observation};
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Made-up registered names that do not exist, from which there is evidence.
    pub domains: f64,
    /// Further ones after which there is evidence again.
    pub further: f64,
    /// Bits of surprise a letter from which a name is made up.
    pub bits: f64,
    /// Share of made-up ones among all that do not exist.
    pub share: f64,
    /// Share of those that do not exist among all registered names asked for: who walks through a list of sites, some of which
    /// are gone, has few.
    pub missing_share: f64,
    /// Time within which they are counted, seconds.
    pub horizon_s: f64,
    /// Hosts remembered.
    pub hosts: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            domains: 10.0,
            further: 5.0,
            bits: 5.0,
            share: 0.6,
            missing_share: 0.25,
            horizon_s: 3600.0,
            hosts: 1 << 14,
        }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<u128, Host>(self.hosts)
    }
}

/// Eighths of a bit by three symbols; see `trigrams.py`.
static TRIGRAMS: &[u8; SYMBOLS * SYMBOLS * SYMBOLS] = include_bytes!("dga/trigrams.bin");
const SYMBOLS: usize = 29;
/// A name's edge.
const EDGE: usize = 28;
/// What words put together have in the middle (held-out pairs of `trigrams.py`).
const USUAL_BITS: f64 = 3.4;
/// A shorter label tells nothing: abbreviations look like it.
const LABEL_MIN: usize = 6;
/// RFC 1035 section 4.1.1: the name does not exist.
const NXDOMAIN: u16 = 3;

fn symbol(letter: u8) -> usize {
    match letter {
        b'a'..=b'z' => usize::from(letter - b'a'),
        b'-' => 26,
        _ => 27,
    }
}

/// Bits of surprise a letter of a label in lower case, its end included.
pub fn surprise(label: &str) -> f64 {
    let (mut sum, mut count, mut before) = (0_u32, 0_u32, (EDGE, EDGE));
    for next in label.bytes().map(symbol).chain([EDGE]) {
        let place = (before.0 * SYMBOLS + before.1) * SYMBOLS + next;
        sum += u32::from(TRIGRAMS.get(place).copied().unwrap_or(u8::MAX));
        count += 1;
        before = (before.1, next);
    }
    f64::from(sum) / 8.0 / f64::from(count)
}

/// A host and what it asked for in vain.
struct Host {
    begun: Timestamp,
    touched: Timestamp,
    domains: Distinct<16>,
    /// Names that do exist.
    others: Distinct<16>,
    missing: u32,
    made_up: u32,
    bits: f64,
    /// Number of made-up ones at which there is evidence next.
    next: f64,
}

impl Host {
    fn new(now: Timestamp, next: f64) -> Host {
        Host {
            begun: now,
            touched: now,
            domains: Distinct::default(),
            others: Distinct::default(),
            missing: 0,
            made_up: 0,
            bits: 0.0,
            next,
        }
    }
}

impl Touched for Host {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// The detector.
pub struct Dga {
    settings: Settings,
    hosts: ColdMap<u128, Host>,
}

impl Dga {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Dga {
        Dga { hosts: ColdMap::new(settings.hosts), settings }
    }

    /// Hosts forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.hosts.forgotten()
    }

    /// A message.
    pub fn observe(&mut self, seen: &Observation, dns: &Dns, out: &mut Vec<Evidence>) {
        let Some(code) = dns.answer else { return };
        let Some(parts) = names::parts(&dns.name) else { return };
        // Encoded names of other scripts are no letters.
        if parts.apex.is_empty() || parts.label.len() < LABEL_MIN || parts.label.starts_with("xn--") {
            return;
        }
        let settings = &self.settings;
        if code != NXDOMAIN {
            // Of who has asked for nothing in vain nothing is kept.
            if let Some(host) = self.hosts.existing(&dns.client.address) {
                host.others.insert(hash(parts.apex));
            }
            return;
        }
        let host = self.hosts.entry(dns.client.address, || Host::new(seen.time, settings.domains));
        if seen.time.since(host.begun) as f64 > settings.horizon_s * SECOND as f64 {
            *host = Host::new(seen.time, settings.domains);
        }
        host.touched = host.touched.max(seen.time);
        if !host.domains.insert(hash(parts.apex)) {
            return;
        }
        let bits = surprise(parts.label);
        host.missing += 1;
        host.bits += bits;
        host.made_up += u32::from(bits >= settings.bits);
        let (made_up, missing) = (f64::from(host.made_up), f64::from(host.missing));
        let asked = missing + host.others.estimate();
        let is_met = made_up >= settings.share * missing && missing >= settings.missing_share * asked;
        if made_up >= host.next && is_met {
            host.next = made_up + settings.further;
            out.push(evidence(seen, dns, parts.apex, host, settings));
        }
    }
}

fn evidence(seen: &Observation, dns: &Dns, latest: &str, host: &Host, settings: &Settings) -> Evidence {
    let client = dns.client.ip();
    let (made_up, missing) = (f64::from(host.made_up), f64::from(host.missing));
    let summary = format!(
        "{client} asked for {missing} registered names that do not exist, {made_up} of which look made up, {latest} the \
         latest: a program that looks for its server"
    );
    let mean = Term { usual: Some(USUAL_BITS), ..Term::exact("surprise_bits_mean", rounded(host.bits / missing)) };
    Evidence {
        severity: 2,
        confidence: (1.0 - 0.5 * settings.domains / made_up.max(1.0)).clamp(0.5, 1.0),
        source: Some(client),
        summary,
        terms: vec![
            Term::exact("made_up_domains", made_up).against(Relation::AtLeast, settings.domains),
            Term::exact("made_up_share", rounded(made_up / missing)).against(Relation::AtLeast, settings.share),
            Term::exact("nxdomain_domains", missing),
            Term::exact("nxdomain_share", rounded(missing / (missing + host.others.estimate())))
                .against(Relation::AtLeast, settings.missing_share),
            mean,
            Term::exact("bits_of_a_made_up_name", settings.bits),
        ],
        technique: Some("T1568.002".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::Dga, "made_up_names")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Wire, host};
    use super::*;

    #[test]
    fn words_are_words_and_drawn_letters_are_not() {
        for word in ["wikipedia", "stackoverflow", "weather-report", "librarything", "northwestern", "gardencenter"] {
            assert!(surprise(word) < 5.0, "{word}: {}", surprise(word));
        }
        for drawn in ["xkqzjvwpfh", "q7x2kd9vbn3m", "zgxwvbkqrt", "jhgfdszxcvq", "a8f3c9d1e7b2", "wqpzxkvjmb"] {
            assert!(surprise(drawn) >= 5.0, "{drawn}: {}", surprise(drawn));
        }
        assert!(surprise("").is_finite() && surprise("\u{e9}").is_finite());
    }

    /// Letters by a rule, as generators have them.
    fn made_up(number: u64) -> String {
        let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let letter = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + ((state >> 33) % 26) as u8)
        };
        (0..12).map(letter).collect()
    }

    fn missing(count: u64, name: impl Fn(u64) -> String) -> Wire {
        let mut wire = Wire::default();
        (0..count).for_each(|number| wire.dns(number * SECOND, host(9), &name(number), 1, (NXDOMAIN, 0)));
        wire
    }

    #[test]
    fn made_up_names_that_do_not_exist_are_told_at_ten_and_each_further_five() {
        let tops = ["com", "net", "org", "info", "biz"];
        // One of them is made of letters that words have too.
        let wire = missing(31, |number| format!("{}.{}", made_up(number), tops[number as usize % 5]));
        let found = wire.evidence();
        let told: Vec<f64> = found.iter().map(|one| one.terms[0].value).collect();
        assert_eq!(told, [10.0, 15.0, 20.0, 25.0, 30.0]);
        assert_eq!(found[0].kind, "made_up_names");
        assert_eq!((found[0].severity, found[0].technique.as_deref()), (2, Some("T1568.002")));
    }

    #[test]
    fn what_only_looks_like_one_is_quiet() {
        const WORDS: [&str; 12] = [
            "garden", "weather", "library", "northern", "harbour", "printer", "battery", "teacher", "kitchen",
            "station", "country", "mountain",
        ];
        for (case, wire) in [
            ("nine of them", missing(9, |number| format!("{}.com", made_up(number)))),
            ("one again and again", missing(500, |number| format!("{}.com", made_up(number % 3)))),
            // A browser's probes for hijacked answers, with the search domain behind them.
            ("probes below a search domain", missing(200, |number| format!("{}.corp.example", made_up(number)))),
            ("single labels", missing(200, made_up)),
            ("typing errors", missing(12, |number| format!("{}s.com", WORDS[number as usize % 12]))),
            (
                "senders of spam that are words",
                missing(100, |number| {
                    format!("{}{}.com", WORDS[number as usize % 12], WORDS[number as usize / 12 % 12])
                }),
            ),
            (
                "a content network whose names are gone",
                missing(200, |number| format!("{}.cdn.example", made_up(number))),
            ),
        ] {
            assert_eq!(wire.kinds(), <[&str; 0]>::default(), "{case}");
        }
        // Made-up names that exist are content networks.
        let mut wire = Wire::default();
        (0..200).for_each(|number| wire.dns(number * SECOND, host(9), &format!("{}.com", made_up(number)), 1, (0, 4)));
        assert_eq!(wire.kinds(), <[&str; 0]>::default());
        // Who walks through a list of sites meets some that are gone, whatever they are called.
        let mut list = Wire::default();
        for number in 0..200 {
            let code = if number % 6 == 0 { NXDOMAIN } else { 0 };
            list.dns(number * SECOND, host(9), &format!("{}.com", made_up(number)), 1, (code, 4));
        }
        assert_eq!(list.kinds(), <[&str; 0]>::default());
        // Slower than the horizon.
        let mut slow = Wire::default();
        for number in 0..60 {
            slow.dns(number * 450 * SECOND, host(9), &format!("{}.com", made_up(number)), 1, (NXDOMAIN, 0));
        }
        assert_eq!(slow.kinds(), <[&str; 0]>::default());
    }
}
