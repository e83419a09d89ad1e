//! What one detector says of one affair under several kinds, or of several targets of one attacker: one alert, which says all of it.
//!
//! Owns the latest of each kind and target of the affairs that may have several. The row is that of the worst, of equals that of the
//! strongest kind, then the latest; what else was said stands behind it: its sentence where it is of the same target, its target where
//! not, and its terms under its own name. Bounded: [`PARTS`] of each of [`AFFAIRS`] affairs, who was silent for longest is forgotten;
//! what comes of him then stands for itself.

use super::Affair;
use crate::dataplane::detect::cold::{ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Term};
use crate::units::Timestamp;
use std::cmp::Reverse;
use std::fmt::Write as _;

/// Kinds that are words for one affair, the strongest first.
const ONE_AFFAIR: &[(Detector, &[&str])] = &[
    // Who quarrels about an address has not been seen between hosts yet.
    (Detector::Spoofing, &["arp_man_in_the_middle", "arp_contest"]),
    // The same data inside DNS, counted over five minutes and over a day.
    (Detector::DnsTunnel, &["tunnel", "slow_tunnel"]),
];
/// Kinds and targets kept of one affair: an attacker between two hosts and their router has three of each.
const PARTS: usize = 8;
/// Affairs of which they are kept, some 8 KiB each where they have all.
const AFFAIRS: usize = 1024;

/// The kind by which all of its affair are called; its place among them, where it is one of several.
pub(super) fn kind_of_affair(evidence: &Evidence) -> (&str, Option<usize>) {
    let kinds = ONE_AFFAIR.iter().filter(|(detector, _)| *detector == evidence.detector).map(|(_, kinds)| *kinds);
    let found = kinds.into_iter().find_map(|kinds| {
        let place = kinds.iter().position(|kind| *kind == evidence.kind)?;
        Some((*kinds.first()?, place))
    });
    found.map_or((&evidence.kind, None), |(strongest, place)| (strongest, Some(place)))
}

/// The card of who does it, where that and no address says who it is: ARP names cards, and whom they hit.
pub(super) fn card(evidence: &Evidence) -> Option<&str> {
    let is_one = evidence.source.is_none() && kind_of_affair(evidence).1.is_some();
    evidence.source_mac.as_deref().filter(|_| is_one)
}

#[derive(Default)]
struct Said {
    parts: Vec<Evidence>,
    touched: Timestamp,
}

impl Touched for Said {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// See the module.
pub(super) struct Parts {
    said: ColdMap<Affair, Said>,
}

impl Parts {
    /// Nothing said yet.
    pub fn new() -> Parts {
        Parts { said: ColdMap::new(AFFAIRS) }
    }

    /// The affair begins anew.
    pub fn forget(&mut self, affair: &Affair) {
        self.said.remove(affair);
    }

    /// Something was said; is it of a kind or a target of which nothing was yet? What is beyond the room is not.
    pub fn add(&mut self, affair: Affair, evidence: &Evidence) -> bool {
        if kind_of_affair(evidence).1.is_none() {
            return false;
        }
        let said = self.said.entry(affair, Said::default);
        said.touched = said.touched.max(evidence.time);
        let is_same = |part: &&mut Evidence| part.kind == evidence.kind && part.target == evidence.target;
        if let Some(part) = said.parts.iter_mut().find(is_same) {
            // What was proved is not open again.
            if evidence.severity <= part.severity {
                *part = evidence.clone();
            }
            return false;
        }
        let is_new = said.parts.len() < PARTS;
        if !is_new && let Some(mildest) = said.parts.iter().enumerate().max_by_key(|(_, part)| place(part)) {
            let mildest = mildest.0;
            said.parts.swap_remove(mildest);
        }
        said.parts.push(evidence.clone());
        is_new
    }

    /// All that was said of the affair, as its row.
    pub fn row(&mut self, affair: &Affair, evidence: Evidence) -> Evidence {
        let Some(said) = self.said.existing(affair).filter(|_| kind_of_affair(&evidence).1.is_some()) else {
            return evidence;
        };
        let mut parts: Vec<&Evidence> = said.parts.iter().collect();
        parts.sort_by_key(|part| place(part));
        let Some((worst, others)) = parts.split_first() else { return evidence };
        let mut row = Evidence { time: evidence.time, ..(*worst).clone() };
        let mut targets = Vec::new();
        for other in others {
            let is_same = other.target == row.target;
            if is_same {
                let _ = write!(row.summary, "; besides, {}", other.summary);
            } else if let Some(target) = other.target.filter(|target| !targets.contains(target)) {
                targets.push(target);
            }
            row.terms.extend(other.terms.iter().map(|term| named(term, other, is_same)));
        }
        if !targets.is_empty() {
            let list: Vec<String> = targets.iter().map(ToString::to_string).collect();
            let _ = write!(row.summary, "; it did so to {} too", list.join(", "));
        }
        row
    }

    /// Affairs forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.said.forgotten()
    }
}

/// The worst first, then the strongest kind, then the latest.
fn place(part: &Evidence) -> (u8, Option<usize>, Reverse<Timestamp>) {
    (part.severity, kind_of_affair(part).1, Reverse(part.time))
}

/// A term of what else was said: of which kind, and of whom where it is another.
fn named(term: &Term, of: &Evidence, is_same: bool) -> Term {
    let whom = of.target.filter(|_| !is_same).map(|target| format!("_of_{target}")).unwrap_or_default();
    Term { name: format!("{}{whom}_{}", of.kind, term.name), ..term.clone() }
}

#[cfg(test)]
mod tests {
    use super::super::{Alert, Deduplicator, Settings};
    use super::*;
    use crate::dataplane::detect::{Relation, fixtures};
    use crate::units::SECOND;
    use std::net::IpAddr;

    fn arp(second: u64, kind: &str, severity: u8, (card, target): (u8, u8)) -> Evidence {
        Evidence {
            severity,
            target: Some(IpAddr::from([10, 0, 0, target])),
            source_mac: Some(format!("02:00:00:00:00:{card:02x}")),
            summary: format!("{kind} of {target}"),
            terms: vec![Term::exact("turns", 3.0).against(Relation::AtLeast, 3.0)],
            ..fixtures::evidence(Detector::Spoofing, kind, Timestamp(second * SECOND))
        }
    }

    fn told(found: impl IntoIterator<Item = Evidence>) -> Vec<Alert> {
        let mut alerts = Deduplicator::new(Settings::default());
        found.into_iter().filter_map(|evidence| alerts.push(evidence)).collect()
    }

    fn ids(told: &[Alert]) -> usize {
        told.iter().map(|alert| &alert.id).collect::<std::collections::HashSet<_>>().len()
    }

    const MIDDLE: &str = "arp_man_in_the_middle";
    const CONTEST: &str = "arp_contest";

    /// Who quarrels about an address and is then seen between two hosts is one attacker; a later quarrel is his as well.
    #[test]
    fn one_attacker_on_the_link_is_one_alert_that_says_all_of_it() {
        let told = told([
            arp(1, CONTEST, 2, (66, 1)),
            arp(3, CONTEST, 2, (66, 1)),
            arp(5, MIDDLE, 1, (66, 1)),
            arp(6, MIDDLE, 2, (66, 7)),
            arp(7, CONTEST, 2, (66, 7)),
        ]);
        let of = |alert: &Alert| (alert.evidence.kind.clone(), alert.evidence.severity, alert.occurrences);
        let rows: Vec<_> = told.iter().map(of).collect();
        let middle = |occurrences| (MIDDLE.to_owned(), 1, occurrences);
        assert_eq!(rows, [(CONTEST.to_owned(), 2, 1), middle(3), middle(4), middle(5)]);
        assert_eq!(ids(&told), 1);
        let last = &told.last().expect("told").evidence;
        assert_eq!((last.target, last.time.0 / SECOND), (Some(IpAddr::from([10, 0, 0, 1])), 7));
        let wanted = format!("{MIDDLE} of 1; besides, {CONTEST} of 1; it did so to 10.0.0.7 too");
        assert_eq!(last.summary, wanted);
        let terms: Vec<_> = last.terms.iter().map(|term| term.name.as_str()).collect();
        let others = ["arp_man_in_the_middle_of_10.0.0.7_turns", "arp_contest_of_10.0.0.7_turns", "arp_contest_turns"];
        assert_eq!(terms, ["turns", others[0], others[1], others[2]], "the latest first");
        assert!(last.terms.iter().all(|term| term.threshold == Some(3.0)));
    }

    #[test]
    fn two_attackers_are_two_alerts_and_a_milder_word_takes_nothing_back() {
        assert_eq!(ids(&told([arp(1, CONTEST, 2, (66, 1)), arp(2, MIDDLE, 2, (67, 1))])), 2);
        let told = told([arp(1, MIDDLE, 1, (66, 1)), arp(2, MIDDLE, 3, (66, 1)), arp(3, CONTEST, 2, (66, 1))]);
        assert_eq!(told.len(), 2);
        assert_eq!((told[1].evidence.kind.as_str(), told[1].evidence.severity), (MIDDLE, 1));
    }

    /// An hour of silence later it is another alert, which knows nothing of the first.
    #[test]
    fn what_begins_anew_begins_with_itself() {
        let told = told([arp(1, MIDDLE, 1, (66, 1)), arp(8_000, CONTEST, 2, (66, 7))]);
        assert_eq!((ids(&told), told[1].evidence.summary.as_str()), (2, "arp_contest of 7"));
    }

    #[test]
    fn a_tunnel_counted_over_five_minutes_and_over_a_day_is_one() {
        let tunnel = |second: u64, kind: &str, client: u8| Evidence {
            source: Some(IpAddr::from([10, 0, 0, client])),
            target: Some(IpAddr::from([10, 0, 0, 53])),
            port: Some(53),
            summary: kind.to_owned(),
            ..fixtures::evidence(Detector::DnsTunnel, kind, Timestamp(second * SECOND))
        };
        for [first, second] in [["tunnel", "slow_tunnel"], ["slow_tunnel", "tunnel"]] {
            let told = told([tunnel(1, first, 7), tunnel(2, second, 7), tunnel(3, second, 8)]);
            assert_eq!(ids(&told), 2, "{first}");
            assert_eq!((told[1].evidence.kind.as_str(), told[1].occurrences), ("tunnel", 2));
            assert_eq!(told[1].evidence.summary, "tunnel; besides, slow_tunnel");
        }
    }

    /// Who takes the addresses of hundreds is told of as many as there is room for, and then as repeats are.
    #[test]
    fn memory_and_rows_are_bounded() {
        let told = told((0..200_u8).map(|target| arp(u64::from(target), MIDDLE, 2, (66, target))));
        assert_eq!(told.len(), PARTS + 2);
        let mut parts = Parts::new();
        for card in 0..=u8::MAX {
            for target in 0..20 {
                let seen = arp(u64::from(card), MIDDLE, 2, (card, target));
                for minute in 0..8 {
                    let affair = Affair { port: Some(minute), ..Affair::of(&seen) };
                    parts.add(affair, &seen);
                }
            }
        }
        assert!(parts.said.len() <= AFFAIRS && parts.forgotten() > 0);
        assert!(parts.said.sorted().iter().all(|(_, said)| said.parts.len() <= PARTS));
    }
}
