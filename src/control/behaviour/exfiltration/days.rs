//! What hosts send to a place by the day: against their own days there, against all that they send, and against each other.

use super::super::observation::Flow;
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::units::{SECOND, Timestamp};

pub(super) const DAY_NS: u64 = 86_400 * SECOND;
/// Days of which sums are kept.
pub(super) const KEPT: usize = 14;
/// Days of a host from which they say what is usual.
const LEAST_DAYS: usize = 3;
/// A week of them.
const WEEK: usize = 7;
/// Pairs of host and place, and places, whose days are kept; the longest silent are forgotten.
const PAIRS: usize = 1 << 13;
/// Bytes sent to a place within a day from which a host is one that uploads there.
const UPLOADS: f64 = 65_536.0;
/// Powers of two of bytes that are told apart.
pub(super) const STEPS: usize = 48;
/// Hosts besides that upload to a place from which it is the network's.
const COMPANY: u32 = 3;
/// Normal consistency of the median absolute deviation, and how many of them are beyond the usual.
const MAD: f64 = 1.4826;
const SPREADS: f64 = 3.0;

/// Sums of the days up to one.
#[derive(Clone, Debug, Default)]
pub(super) struct Days {
    pub day: u64,
    pub today: f64,
    pub past: [f64; KEPT],
    pub known: usize,
}

impl Days {
    fn since(day: u64) -> Days {
        Days { day, ..Days::default() }
    }

    fn add(&mut self, day: u64, bytes: u64) {
        for _ in 0..day.saturating_sub(self.day).min(KEPT as u64) {
            self.past.rotate_right(1);
            if let Some(first) = self.past.first_mut() {
                *first = std::mem::take(&mut self.today);
            }
            self.known = (self.known + 1).min(KEPT);
        }
        self.day = self.day.max(day);
        self.today += bytes as f64;
    }

    /// Median of so many days before today, and their deviation; days before the first are `0`.
    fn usual(&self, known: usize) -> (f64, f64) {
        let mut days: Vec<f64> = self.past.iter().take(known.min(KEPT)).copied().collect();
        let median = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
            (at(values.len() / 2) + at(values.len().saturating_sub(1) / 2)) / 2.0
        };
        let middle = median(&mut days);
        let mut off: Vec<f64> = days.iter().map(|value| (value - middle).abs()).collect();
        (middle, MAD * median(&mut off))
    }

    fn week(&self) -> f64 {
        self.today + self.past.iter().take(WEEK - 1).sum::<f64>()
    }
}

/// A host at a place.
pub(super) struct Pair {
    pub days: Days,
    pub received: Days,
    /// Bytes at which it is told again.
    pub next: f64,
    pub touched: Timestamp,
}

/// A host, or a place, over all others.
pub(super) struct Side {
    pub days: Days,
    /// Hosts by what they sent there today and on the day before, each at its power of two.
    pub hosts: [[u32; STEPS]; 2],
    pub touched: Timestamp,
}

impl Touched for Pair {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Touched for Side {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

fn step(bytes: f64) -> Option<usize> {
    (bytes >= UPLOADS).then(|| (bytes.log2() as usize).min(STEPS - 1))
}

/// What an upload is among those of the day.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Upload {
    /// Bytes sent to the place today and within seven days, and what came back within those.
    pub today: f64,
    pub week: f64,
    pub received: [f64; 2],
    /// What the host usually sends there in a day, with three deviations, and what it sends to all places.
    pub own: f64,
    pub host: f64,
    /// It is known for long enough for that.
    pub is_known: bool,
    /// It was known for so long before it first sent something there.
    pub is_later: bool,
    /// Other hosts that upload to the place today or did yesterday, whichever were more, and what the upper tenth of them sends.
    pub others: u32,
    pub most: f64,
}

impl Upload {
    /// Several others upload there.
    pub fn is_shared(&self) -> bool {
        self.others >= COMPANY
    }
}

pub(super) struct Uploads {
    pub pairs: ColdMap<(u128, u128), Pair>,
    pub places: ColdMap<u128, Side>,
    pub hosts: ColdMap<u128, Side>,
}

impl Uploads {
    pub fn new() -> Uploads {
        Uploads { pairs: ColdMap::new(PAIRS), places: ColdMap::new(PAIRS), hosts: ColdMap::new(PAIRS) }
    }

    pub const fn memory() -> usize {
        cold::bytes::<(u128, u128), Pair>(PAIRS) + 2 * cold::bytes::<u128, Side>(PAIRS)
    }

    /// Counts a flow.
    pub fn add(&mut self, flow: &Flow, now: Timestamp) -> Upload {
        let (client, server, [sent, received]) = (flow.client.address, flow.server.address, flow.bytes);
        let day = now.0 / DAY_NS;
        let side = || Side { days: Days::since(day), hosts: [[0; STEPS]; 2], touched: now };
        let host = self.hosts.entry(client, side);
        host.days.add(day, sent);
        host.touched = host.touched.max(now);
        let (usual, known) = (host.days.usual(host.days.known).0, host.days.known);
        let fresh = || Pair { days: Days::since(day), received: Days::since(day), next: 0.0, touched: now };
        let pair = self.pairs.entry((client, server), fresh);
        pair.touched = pair.touched.max(now);
        let before = if pair.days.day == day { step(pair.days.today) } else { None };
        pair.days.add(day, sent);
        pair.received.add(day, received);
        let after = step(pair.days.today);
        let place = self.places.entry(server, side);
        place.touched = place.touched.max(now);
        let passed = day.saturating_sub(place.days.day);
        place.days.add(day, sent);
        let [today, yesterday] = &mut place.hosts;
        if passed > 0 {
            *yesterday = if passed == 1 { *today } else { [0; STEPS] };
            *today = [0; STEPS];
        }
        if before != after {
            let mut change = |step: Option<usize>, by: i32| {
                if let Some(count) = step.and_then(|step| today.get_mut(step)) {
                    *count = count.saturating_add_signed(by);
                }
            };
            change(before, -1);
            change(after, 1);
        }
        // Without itself.
        let mut others = *today;
        if let Some(count) = after.and_then(|step| others.get_mut(step)) {
            *count = count.saturating_sub(1);
        }
        let mut past = *yesterday;
        let own_past = pair.days.past.first().copied().and_then(step);
        if let Some(count) = own_past.and_then(|step| past.get_mut(step)) {
            *count = count.saturating_sub(1);
        }
        let [(now_count, now_most), (past_count, past_most)] = [others, past].map(|hosts| upper_tenth(&hosts));
        let (median, spread) = pair.days.usual(known);
        Upload {
            today: pair.days.today,
            week: pair.days.week(),
            received: [pair.received.today, pair.received.week()],
            own: median + SPREADS * spread,
            host: usual,
            is_known: known >= LEAST_DAYS,
            is_later: known >= pair.days.known + LEAST_DAYS,
            others: now_count.max(past_count),
            most: now_most.max(past_most),
        }
    }

    /// Is so much to be told of a pair now? It is again at four times as much.
    pub fn is_due(&mut self, flow: &Flow, bytes: f64) -> bool {
        let pair = self.pairs.existing(&(flow.client.address, flow.server.address));
        pair.is_some_and(|pair| {
            let is_due = bytes >= pair.next;
            if is_due {
                pair.next = 4.0 * bytes;
            }
            is_due
        })
    }

    pub fn forgotten(&self) -> u64 {
        self.pairs.forgotten() + self.places.forgotten() + self.hosts.forgotten()
    }
}

/// How many hosts there are, and what nine in ten of them do not send more than, to the next power of two.
fn upper_tenth(hosts: &[u32; STEPS]) -> (u32, f64) {
    let count: u32 = hosts.iter().sum();
    let above = count / 10;
    let mut seen = 0;
    for (step, hosts) in hosts.iter().enumerate().rev() {
        seen += hosts;
        if seen > above {
            return (count, 2_f64.powi(step as i32 + 1)); // below STEPS
        }
    }
    (count, 0.0)
}
