//! What names and answers carry, counted since a moment, and how like a tunnel that is.

use super::super::count::{Distinct, hash, rounded};
use super::super::names;
use super::super::observation::Dns;
use crate::dataplane::detect::{Relation, Term};
use crate::dataplane::inspect::dns;
use crate::units::{SECOND, Timestamp};

/// One of the two horizons: its length, and numbers of names and of bytes that tell nothing and all.
pub(super) struct Horizon {
    pub length_ns: u64,
    pub names: (f64, f64),
    pub bytes: (f64, f64),
    pub kind: &'static str,
    pub text: &'static str,
}

pub(super) const FIVE_MINUTES_NS: u64 = 300 * SECOND;
/// What a site's own names come to, and what no site's do. 1000 names are RITA's highest step; 1 KiB in five minutes is what
/// forty long host names come to, 100 KiB a slow tunnel at work.
pub(super) const HORIZONS: [Horizon; 2] = [
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
/// New bytes in front of the registered name: host names have up to some 12, base32 of 32 bytes 52.
pub(super) const LENGTH: (f64, f64) = (12.0, 52.0);
/// Bits a letter of the longest label: words up to 2.5, hexadecimal digits 4.
pub(super) const ENTROPY: (f64, f64) = (2.5, 4.0);
/// New names a second: a resolver that works for a client asks for some in a minute, a tunnel as fast as answers come.
const RATE: (f64, f64) = (0.1, 10.0);
/// New bytes in front of the registered name up to which all names are needed, and from which three in ten are enough.
pub(super) const LONG: (f64, f64) = (60.0, 130.0);
/// Weights of the shares. They add up to 1 without the last, the rate, which comes on top: a slow tunnel is one too.
const WEIGHTS: [f64; 7] = [0.32, 0.17, 0.17, 0.11, 0.18, 0.05, 0.1];
/// At half of everything the likeness is a half; a tenth more or less makes it 80 % or 20 %.
const STEEPNESS: f64 = 14.0;
/// Names from which it is a habit to ask for another one each time, and their share of all questions.
const ANEW: f64 = 16.0;
const ANEW_SHARE: f64 = 0.45;
/// New bytes of a name that asks after a digest, at most: SHA-256 in hexadecimal digits has 64, and there are versions and keys.
const DIGEST: f64 = 80.0;
/// New bytes of an answer that is a verdict, at most: an address has 4, a number and a time 12.
const VERDICT: f64 = 12.0;
/// Share of answers from which they are a list's, and how many times as much is asked of lists: a mail server does so for each
/// message, a scanner for each file.
const LISTED: f64 = 0.9;
const LISTS: f64 = 5.0;
/// Labels of a name that are held against those of the name before, from its end; and answers that one is held against.
const LABELS: usize = 8;
const ANSWERS: usize = 8;

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

/// What was asked and answered just before: what is the same as then carries nothing.
#[derive(Clone, Copy, Default)]
pub(super) struct Latest {
    labels: [u64; LABELS],
    answers: [u64; ANSWERS],
    next: usize,
}

/// What a message brought.
pub(super) struct Brought {
    /// Hash of the name.
    pub name: u64,
    /// Bytes of labels that the name before did not have at their place.
    pub length: u64,
    /// Bits a letter of the longest of them.
    pub entropy: f64,
    /// Bytes of an answer that none of the latest was.
    pub back: u64,
}

impl Latest {
    /// Takes in a message.
    pub fn take(&mut self, dns: &Dns, rest: &str) -> Brought {
        let (mut length, mut longest) = (0, "");
        for (place, label) in rest.rsplit('.').enumerate() {
            let known = self.labels.get_mut(place);
            let label_hash = hash(label);
            if known.as_ref().is_none_or(|known| **known != label_hash) {
                length += label.len() as u64 + u64::from(length > 0);
                longest = if label.len() > longest.len() { label } else { longest };
            }
            if let Some(known) = known {
                *known = label_hash;
            }
        }
        let back = match dns.answer {
            Some(_) if dns.answer_bytes > 0 && !self.answers.contains(&dns.answer_hash) => {
                if let Some(slot) = self.answers.get_mut(self.next % ANSWERS) {
                    *slot = dns.answer_hash;
                }
                self.next = (self.next + 1) % ANSWERS;
                match dns.kind {
                    dns::types::A => 4,
                    dns::types::AAAA => 16,
                    _ => u64::from(dns.answer_bytes),
                }
            }
            _ => 0,
        };
        Brought { name: hash(&dns.name), length, entropy: names::entropy(longest), back }
    }
}

/// What was counted since a moment.
#[derive(Default)]
pub(super) struct Counts {
    pub begun: Timestamp,
    pub names: Distinct<32>,
    /// Of names that were new: their number, new bytes and entropy.
    fresh: u64,
    length: u64,
    entropy: f64,
    /// Questions and answers, and those of types that carry data.
    messages: [u64; 2],
    data: [u64; 2],
    refused: u64,
    /// Answers as lists give them.
    listed: u64,
    /// Answers of which nobody knows what they bring.
    unread: u64,
    /// Bytes of new answers, and of those of types that carry data.
    back: u64,
    back_data: u64,
    /// Distinct names at which evidence is given next.
    pub next: f64,
}

/// How like a tunnel it is.
pub(super) struct Likeness {
    pub value: f64,
    /// Bytes that look-ups of a verdict would have to carry; `None`: it is none of those.
    pub least_bytes: Option<f64>,
}

/// Likeness from which the severity is 1.
const CERTAIN: f64 = 0.98;

impl Likeness {
    /// How bad that is: what look-ups might still be is a hint.
    pub fn severity(&self) -> u8 {
        match self.least_bytes {
            Some(_) => 3,
            None if self.value >= CERTAIN => 1,
            None => 2,
        }
    }
}

impl Horizon {
    /// Share of the names that are enough at this mean length; over a day more, for a few long ones are somebody's own.
    pub fn fewer(&self, length: f64) -> f64 {
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
    /// Nothing yet.
    pub fn since(begun: Timestamp) -> Counts {
        Counts { begun, ..Counts::default() }
    }

    /// Counts a message; `true`: its name is new.
    pub fn add(&mut self, dns: &Dns, brought: &Brought) -> bool {
        let side = usize::from(dns.answer.is_some());
        let count = |of: &mut [u64; 2], by: u64| of.iter_mut().skip(side).take(1).for_each(|sum| *sum += by);
        count(&mut self.messages, 1);
        count(&mut self.data, u64::from(carries_data(dns.kind)));
        // RFC 1035 section 4.1.1: the name does not exist.
        self.refused += u64::from(dns.answer == Some(3));
        self.listed += u64::from(dns.is_verdict);
        self.unread += u64::from(dns.is_unread);
        self.back += brought.back;
        if carries_data(dns.kind) {
            self.back_data += brought.back;
        }
        let is_new = self.names.insert(brought.name);
        if is_new {
            self.fresh += 1;
            self.length += brought.length;
            self.entropy += brought.entropy;
        }
        is_new
    }

    /// Is each name asked for once, or for both families of addresses?
    pub fn asks_anew(&self) -> bool {
        let messages = self.messages.iter().copied().max().unwrap_or(0);
        let names = self.names.estimate();
        names >= ANEW && names >= ANEW_SHARE * messages as f64
    }

    pub fn mean_length(&self) -> f64 {
        self.length as f64 / self.fresh.max(1) as f64
    }

    pub fn mean_entropy(&self) -> f64 {
        self.entropy / self.fresh.max(1) as f64
    }

    fn mean_back(&self) -> f64 {
        let [_, answers] = self.messages;
        self.back as f64 / answers.max(1) as f64
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

    fn listed_share(&self) -> f64 {
        let [_, answers] = self.messages;
        self.listed as f64 / answers.max(1) as f64
    }

    /// Bytes that names or answers carried: the estimate of all names at their mean length.
    pub fn carried(&self) -> f64 {
        (self.names.estimate() * self.mean_length()).max(self.back_data as f64)
    }

    /// New names a second; of less than a second nobody knows.
    pub fn rate(&self, now: Timestamp) -> f64 {
        self.names.estimate() * SECOND as f64 / now.since(self.begun).max(SECOND) as f64
    }

    /// Could each be a question after a digest, of a file or a message, with a verdict for an answer? Nothing comes back then.
    fn may_be_lookups(&self) -> bool {
        let [_, answers] = self.messages;
        let is_known = answers > 0 && self.unread as f64 <= (1.0 - LISTED) * answers as f64;
        let says_nothing = if is_known { self.mean_back() <= VERDICT } else { self.data_share() < 0.5 };
        says_nothing && self.mean_length() <= DIGEST
    }

    /// `lookup_bytes`: what look-ups of one host come to within the horizon at most, by its setting.
    pub fn likeness(&self, horizon: &Horizon, now: Timestamp, lookup_bytes: f64) -> Likeness {
        let shares = self.shares(horizon, now);
        let sum: f64 = shares.iter().zip(WEIGHTS).map(|(share, weight)| share * weight).sum();
        let lists = if self.listed_share() >= LISTED { LISTS } else { 1.0 };
        Likeness {
            value: 1.0 / (1.0 + (-STEEPNESS * (sum - 0.5)).exp()),
            least_bytes: self.may_be_lookups().then_some(lists * lookup_bytes),
        }
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

    pub fn terms(
        &self,
        (names, floor): (f64, f64),
        (likeness, threshold): (&Likeness, f64),
        (clients, rate): (f64, f64),
    ) -> Vec<Term> {
        let carried = Term::exact("carried_bytes", self.carried().round());
        vec![
            Term::exact("tunnel_likeness", rounded(likeness.value)).against(Relation::AtLeast, threshold),
            Term::exact("distinct_names", names).against(Relation::AtLeast, floor),
            Term { usual: Some(LENGTH.0), ..Term::exact("name_bytes_mean", rounded(self.mean_length())) },
            Term { usual: Some(ENTROPY.0), ..Term::exact("label_entropy_bits", rounded(self.mean_entropy())) },
            match likeness.least_bytes {
                Some(least) => carried.against(Relation::AtLeast, least),
                None => carried,
            },
            Term { usual: Some(VERDICT), ..Term::exact("new_answer_bytes_mean", rounded(self.mean_back())) },
            Term::exact("data_type_share", rounded(self.data_share())),
            Term::exact("nxdomain_share", rounded(self.refused_share())),
            Term::exact("list_answer_share", rounded(self.listed_share())),
            Term::exact("new_names_a_second", rounded(rate)),
            Term::exact("clients_of_name", clients),
        ]
    }
}
