//! Names that a program makes up: a host that asks for many registered names that do not exist.
//!
//! Only registered names count (`x` of `y.x.example`), once each, so one domain below which everything is missing is one name.
//! Two rules, each over an hour and, with three times as many names, over a day:
//! - *made-up names*: most of those that do not exist are such that nobody would choose them. Numbers: ten, and each further five
//!   (Slips). Letters: bits of surprise of each behind the two before it, from a table trained on English words
//!   (`dga/trigrams.py`, which prints what the threshold rests on: of words 0.4 % lie above it, of drawn letters 99.5 %, of
//!   hexadecimal digits 90 %). And a quarter of all registered names that the host asks for must be missing: who walks
//!   through a list of sites meets some that are gone.
//! - *missing names*: whatever they look like, for generators put words or syllables together too, hardly any other name is
//!   asked for. What people look for mostly exists. Not counted are names that another host asked for in vain as well (dead
//!   links, what a filter hides), hosts that ask where mail goes (MX, TXT: senders of spam do not exist), and resolvers that
//!   have found nothing for anybody for an hour (cut off, or before a login).
//!
//! Not seen: names in DoH, and hosts whose resolver is asked behind the tap.

use super::count::{Distinct, hash, rounded};
use super::names;
use super::observation::{Dns, Observation};
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::dataplane::inspect::dns::types::{MX, TXT};
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
    /// Registered names that do not exist, whatever they look like, from which there is evidence where hardly another is asked for.
    pub missing: f64,
    /// Share of those among all registered names asked for.
    pub alone_share: f64,
    /// Time within which they are counted, seconds; with three times as many names as much as a day.
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
            missing: 15.0,
            alone_share: 0.8,
            horizon_s: 3600.0,
            hosts: 1 << 14,
        }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<u128, Host>(self.hosts)
            + cold::bytes::<u64, Missed>(self.hosts)
            + cold::bytes::<u128, Found>(RESOLVERS)
    }
}

/// Resolvers remembered.
const RESOLVERS: usize = 1 << 12;
/// A resolver that has found nothing for so long finds nothing.
const FINDS_NS: u64 = 3600 * SECOND;
/// The second horizon, and how many times as many names it takes.
const DAY_NS: u64 = 86_400 * SECOND;
const SLOW: f64 = 3.0;
/// Share of questions about mail from which a host is a mail server.
const MAIL_SHARE: f64 = 0.1;

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

/// What a host asked for in vain since a moment.
struct Counts {
    begun: Timestamp,
    domains: Distinct<16>,
    /// Names that do exist.
    others: Distinct<16>,
    missing: u32,
    /// Of them those that nobody else missed.
    own: u32,
    made_up: u32,
    /// Of them those of which it was asked where mail goes.
    mail: u32,
    bits: f64,
    /// Numbers at which there is evidence next, by rule.
    next: [f64; 2],
}

impl Counts {
    fn new(now: Timestamp, settings: &Settings, times: f64) -> Counts {
        Counts {
            begun: now,
            domains: Distinct::default(),
            others: Distinct::default(),
            missing: 0,
            own: 0,
            made_up: 0,
            mail: 0,
            bits: 0.0,
            next: [settings.domains * times, settings.missing * times],
        }
    }

    /// Share of what does not exist among all that was asked for.
    fn missing_share(&self) -> f64 {
        let missing = f64::from(self.missing);
        missing / (missing + self.others.estimate()).max(1.0)
    }

    /// The rule by which there is evidence now.
    fn met(&self, settings: &Settings, finds: bool) -> Option<Rule> {
        let (made_up, missing, share) = (f64::from(self.made_up), f64::from(self.missing), self.missing_share());
        let [next_made_up, next_missing] = self.next;
        if made_up >= next_made_up && made_up >= settings.share * missing && share >= settings.missing_share {
            return Some(Rule::MadeUp);
        }
        let asks_for_mail = f64::from(self.mail) >= MAIL_SHARE * missing;
        let is_alone = f64::from(self.own) >= next_missing && share >= settings.alone_share;
        (is_alone && finds && !asks_for_mail).then_some(Rule::Missing)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    MadeUp,
    Missing,
}

/// A host: an hour and a day of it.
struct Host {
    touched: Timestamp,
    counts: [Counts; 2],
}

/// A name that does not exist, and who missed it first.
struct Missed {
    client: u128,
    touched: Timestamp,
}

impl Touched for Host {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Touched for Missed {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Touched for Found {
    fn touched(&self) -> Timestamp {
        self.0
    }
}

/// When a resolver found something last.
struct Found(Timestamp);

/// The detector.
pub struct Dga {
    settings: Settings,
    hosts: ColdMap<u128, Host>,
    missed: ColdMap<u64, Missed>,
    resolvers: ColdMap<u128, Found>,
}

impl Dga {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Dga {
        Dga {
            hosts: ColdMap::new(settings.hosts),
            missed: ColdMap::new(settings.hosts),
            resolvers: ColdMap::new(RESOLVERS),
            settings,
        }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Hosts forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.hosts.forgotten()
    }

    /// A message.
    pub fn observe(&mut self, seen: &Observation, dns: &Dns, out: &mut Vec<Evidence>) {
        let Some(code) = dns.answer else { return };
        let Some(parts) = names::parts(&dns.name) else { return };
        if parts.apex.is_empty() {
            return;
        }
        let Dga { settings, hosts, missed, resolvers } = self;
        if code == 0 {
            resolvers.entry(dns.server.address, || Found(seen.time)).0 = seen.time;
        }
        // Encoded names of other scripts are no letters.
        if parts.label.len() < LABEL_MIN || parts.label.starts_with("xn--") {
            return;
        }
        let name = hash(parts.apex);
        if code != NXDOMAIN {
            // Of who has asked for nothing in vain nothing is kept.
            if let Some(host) = hosts.existing(&dns.client.address) {
                host.counts.iter_mut().for_each(|counts| {
                    counts.others.insert(name);
                });
            }
            return;
        }
        let client = dns.client.address;
        let first = missed.entry(name, || Missed { client, touched: seen.time });
        first.touched = first.touched.max(seen.time);
        let is_own = first.client == client;
        let finds = resolvers.existing(&dns.server.address).is_some_and(|last| seen.time.since(last.0) < FINDS_NS);
        let horizons = [((settings.horizon_s * SECOND as f64) as u64, 1.0), (DAY_NS, SLOW)];
        let fresh = |(_, times): &(u64, f64)| Counts::new(seen.time, settings, *times);
        let host =
            hosts.entry(client, || Host { touched: seen.time, counts: [fresh(&horizons[0]), fresh(&horizons[1])] });
        host.touched = host.touched.max(seen.time);
        let bits = surprise(parts.label);
        let mut is_told = false;
        for (counts, horizon) in host.counts.iter_mut().zip(&horizons) {
            if seen.time.since(counts.begun) > horizon.0 {
                *counts = fresh(horizon);
            }
            if !counts.domains.insert(name) {
                continue;
            }
            counts.missing += 1;
            counts.own += u32::from(is_own);
            counts.bits += bits;
            counts.made_up += u32::from(bits >= settings.bits);
            counts.mail += u32::from(matches!(dns.kind, MX | TXT));
            let Some(rule) = counts.met(settings, finds) else { continue };
            // Both rules go on from here: one host is told once for what it does.
            counts.next = [f64::from(counts.made_up), f64::from(counts.own)].map(|now| now + settings.further);
            if !is_told {
                is_told = true;
                out.push(evidence(seen, dns, parts.apex, (counts, rule), horizon, settings));
            }
        }
    }
}

fn evidence(
    seen: &Observation,
    dns: &Dns,
    latest: &str,
    (counts, rule): (&Counts, Rule),
    (horizon_ns, times): &(u64, f64),
    settings: &Settings,
) -> Evidence {
    let client = dns.client.ip();
    let (made_up, missing) = (f64::from(counts.made_up), f64::from(counts.missing));
    let within = if *horizon_ns == DAY_NS { "a day" } else { "an hour" };
    let summary = match rule {
        Rule::MadeUp => format!(
            "{client} asked for {missing} registered names that do not exist within {within}, {made_up} of which look made up, \
             {latest} the latest: a program that looks for its server"
        ),
        Rule::Missing => format!(
            "{client} asked for {missing} registered names that do not exist within {within}, and for hardly any that does, \
             {latest} the latest: a program that looks for its server by a list that it makes up"
        ),
    };
    let mean = Term { usual: Some(USUAL_BITS), ..Term::exact("surprise_bits_mean", rounded(counts.bits / missing)) };
    let share = Term::exact("nxdomain_share", rounded(counts.missing_share()));
    let (count, least, kind) = match rule {
        Rule::MadeUp => (made_up, settings.domains * times, "made_up_names"),
        Rule::Missing => (f64::from(counts.own), settings.missing * times, "missing_names"),
    };
    let terms = match rule {
        Rule::MadeUp => vec![
            Term::exact("made_up_domains", made_up).against(Relation::AtLeast, least),
            Term::exact("made_up_share", rounded(made_up / missing)).against(Relation::AtLeast, settings.share),
            Term::exact("nxdomain_domains", missing),
            share.against(Relation::AtLeast, settings.missing_share),
            mean,
            Term::exact("bits_of_a_made_up_name", settings.bits),
        ],
        Rule::Missing => vec![
            Term::exact("domains_nobody_else_missed", count).against(Relation::AtLeast, least),
            share.against(Relation::AtLeast, settings.alone_share),
            Term::exact("nxdomain_domains", missing),
            Term::exact("made_up_domains", made_up),
            mean,
        ],
    };
    Evidence {
        severity: 2,
        confidence: (1.0 - 0.5 * least / count.max(1.0)).clamp(0.5, 1.0),
        source: Some(client),
        summary,
        terms,
        technique: Some("T1568.002".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::Dga, kind)
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
    }

    /// Words side by side, `number` of them.
    fn of_words(number: u64) -> String {
        const WORDS: [&str; 12] = [
            "garden", "weather", "library", "northern", "harbour", "printer", "battery", "teacher", "kitchen",
            "station", "country", "mountain",
        ];
        format!("{}{}.com", WORDS[number as usize % 12], WORDS[number as usize / 12 % 12])
    }

    /// Questions of `clients` hosts in turn, one each `pause`; another host finds its site each minute if `works`.
    fn in_vain(count: u64, pause: u64, kind: u16, (clients, works): (u64, bool), name: fn(u64) -> String) -> Wire {
        let mut wire = Wire::default();
        for number in 0..count {
            let client = host(9 + (number % clients) as u32);
            wire.dns(number * pause, client, &name(number / clients), kind, (NXDOMAIN, 0));
        }
        for minute in (0..=count * pause / SECOND / 60).filter(|_| works) {
            wire.dns(minute * 60 * SECOND, host(200), "www.example.org", 1, (0, 4));
        }
        wire
    }

    #[test]
    fn names_of_words_are_told_where_hardly_another_is_asked_for() {
        let second = SECOND;
        for (case, wire, wanted) in [
            ("fifteen", in_vain(15, second, 1, (1, true), of_words), &["dga/missing_names"][..]),
            ("fourteen", in_vain(14, second, 1, (1, true), of_words), &[]),
            ("one each ten minutes", in_vain(60, 600 * second, 1, (1, true), of_words), &["dga/missing_names"]),
            (
                "made up, slowly",
                in_vain(60, 450 * second, 1, (1, false), |number| format!("{}.com", made_up(number))),
                &["dga/made_up_names"],
            ),
            ("senders of spam", in_vain(100, second, 15, (1, true), of_words), &[]),
            ("a resolver that is cut off", in_vain(100, second, 1, (1, false), of_words), &[]),
            // The first of them misses each name first.
            ("links that are dead for all", in_vain(14 * 4, second, 1, (4, true), of_words), &[]),
        ] {
            assert_eq!(wire.kinds(), wanted, "{case}");
        }
        // People miss some of what they look for.
        let mut people = in_vain(100, 10 * second, 1, (1, true), of_words);
        for number in 0..100 {
            people.dns(number * 10 * second + second, host(9), &format!("www.{}", of_words(143 - number)), 1, (0, 4));
        }
        assert_eq!(people.kinds(), <[&str; 0]>::default(), "half of it is there");
    }
}
