//! Sums of days and of new places as they are written down: who sends a little each hour must not begin anew with each restart.

use super::super::prevalence::{hexadecimal, number};
use super::days::{DAY_NS, Days, KEPT, Pair, STEPS, Side, Uploads};
use super::{Exfiltration, Total};
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

/// Everything but the baselines by hour, which [`super::Kept`] has.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeptSums {
    observed_since: Option<Timestamp>,
    totals: Vec<KeptTotal>,
    pairs: Vec<KeptPair>,
    hosts: Vec<KeptSide>,
    places: Vec<KeptSide>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct KeptTotal {
    of: (String, String),
    begun: Timestamp,
    touched: Timestamp,
    bytes: [u64; 2],
    next: f64,
}

/// The day of today, its sum, and those before, the latest first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct KeptDays(u64, f64, Vec<f64>);

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct KeptPair {
    of: (String, String),
    sent: KeptDays,
    received: KeptDays,
    next: f64,
    touched: Timestamp,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct KeptSide {
    of: String,
    days: KeptDays,
    /// Steps with hosts, of today and of yesterday.
    hosts: [Vec<(u8, u32)>; 2],
    touched: Timestamp,
}

fn pair_of((host, place): (u128, u128)) -> (String, String) {
    (hexadecimal(host), hexadecimal(place))
}

fn pair_read((host, place): &(String, String)) -> Option<(u128, u128)> {
    Some((number(host)?, number(place)?))
}

/// A number of bytes.
fn is_sum(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

impl KeptDays {
    fn of(days: &Days) -> KeptDays {
        KeptDays(days.day, days.today, days.past.iter().take(days.known).copied().collect())
    }

    /// `None`: this program did not write it.
    fn read(&self) -> Option<Days> {
        let KeptDays(day, today, before) = self;
        let is_sound = before.len() <= KEPT && *day <= u64::MAX / DAY_NS;
        let sums = before.iter().chain([today]).all(|sum| is_sum(*sum));
        let mut past = [0.0; KEPT];
        past.iter_mut().zip(before).for_each(|(slot, sum)| *slot = *sum);
        (is_sound && sums).then_some(Days { day: *day, today: *today, past, known: before.len() })
    }
}

impl KeptSide {
    fn of((of, side): (u128, &Side)) -> KeptSide {
        let steps = |hosts: &[u32; STEPS]| {
            (0..).zip(hosts).filter(|(_, count)| **count > 0).map(|(at, count)| (at, *count)).collect()
        };
        let hosts = side.hosts.each_ref().map(steps);
        KeptSide { of: hexadecimal(of), days: KeptDays::of(&side.days), hosts, touched: side.touched }
    }

    fn read(self) -> Option<(u128, Side)> {
        let mut hosts = [[0; STEPS]; 2];
        for (steps, kept) in hosts.iter_mut().zip(&self.hosts) {
            for (at, count) in kept {
                *steps.get_mut(usize::from(*at))? = *count;
            }
        }
        Some((number(&self.of)?, Side { days: self.days.read()?, hosts, touched: self.touched }))
    }
}

impl KeptPair {
    fn of((of, pair): ((u128, u128), &Pair)) -> KeptPair {
        let (sent, received) = (KeptDays::of(&pair.days), KeptDays::of(&pair.received));
        KeptPair { of: pair_of(of), sent, received, next: pair.next, touched: pair.touched }
    }

    fn read(self) -> Option<((u128, u128), Pair)> {
        let (days, received) = (self.sent.read()?, self.received.read()?);
        let pair = Pair { days, received, next: Some(self.next).filter(|next| is_sum(*next))?, touched: self.touched };
        Some((pair_read(&self.of)?, pair))
    }
}

impl KeptTotal {
    fn of((of, total): ((u128, u128), &Total)) -> KeptTotal {
        let Total { begun, touched, sent, received, next } = *total;
        KeptTotal { of: pair_of(of), begun, touched, bytes: [sent, received], next }
    }

    fn read(self) -> Option<((u128, u128), Total)> {
        let KeptTotal { of, begun, touched, bytes: [sent, received], next } = self;
        let next = Some(next).filter(|next| is_sum(*next))?;
        Some((pair_read(&of)?, Total { begun, touched, sent, received, next }))
    }
}

impl Exfiltration {
    /// Sums that shall outlive a restart.
    pub fn sums(&self) -> KeptSums {
        let Uploads { pairs, places, hosts } = &self.uploads;
        KeptSums {
            observed_since: self.observed_since,
            totals: self.totals.sorted().into_iter().map(KeptTotal::of).collect(),
            pairs: pairs.sorted().into_iter().map(KeptPair::of).collect(),
            hosts: hosts.sorted().into_iter().map(KeptSide::of).collect(),
            places: places.sorted().into_iter().map(KeptSide::of).collect(),
        }
    }

    /// Goes on from what was written; `false`: some of it is not what this program writes, and is left out.
    pub fn restore_sums(&mut self, kept: KeptSums) -> bool {
        let KeptSums { observed_since, totals, pairs, hosts, places } = kept;
        self.observed_since = observed_since.or(self.observed_since);
        let all = totals.len() + pairs.len() + hosts.len() + places.len();
        let mut read = 0;
        let Uploads { pairs: of_pairs, places: of_places, hosts: of_hosts } = &mut self.uploads;
        let of_totals = &mut self.totals;
        totals.into_iter().filter_map(KeptTotal::read).for_each(|(key, total)| {
            read += 1;
            of_totals.put(key, total);
        });
        pairs.into_iter().filter_map(KeptPair::read).for_each(|(key, pair)| {
            read += 1;
            of_pairs.put(key, pair);
        });
        for (sides, into) in [(hosts, of_hosts), (places, of_places)] {
            sides.into_iter().filter_map(KeptSide::read).for_each(|(key, side)| {
                read += 1;
                into.put(key, side);
            });
        }
        read == all
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{Wire, host, outside};
    use super::*;
    use crate::control::hosts;
    use crate::control::inventory::network::home;
    use crate::units::SECOND;

    const HOUR: u64 = 3600 * SECOND;

    /// A host that sends 6 MB an hour to a new place, for two days after four others; in the midst of a day the sensor restarts.
    fn told(restarts: bool, keeps: bool) -> Vec<(String, u64)> {
        let (mut before, mut after) = (Wire::default(), Wire::default());
        for hour in 0..6 * 24_u64 {
            let wire = if hour < 4 * 24 + 11 { &mut before } else { &mut after };
            wire.flow(hour * HOUR, (host(1), outside(1), 443), [9_000_000, 90_000_000], (SECOND, SECOND));
            if hour >= 4 * 24 {
                wire.flow(hour * HOUR + HOUR / 2, (host(1), outside(9), 443), [6_000_000, 1000], (SECOND, SECOND));
            }
        }
        let fresh = || hosts::Settings::default().behaviour(&home()).expect("wanted");
        let mut behaviour = fresh();
        let mut found = before.show(&mut behaviour);
        if restarts {
            let text = serde_json::to_string(&behaviour.snapshot()).expect("numbers and names");
            let mut kept: super::super::super::Snapshot = serde_json::from_str(&text).expect("what was written");
            if !keeps {
                kept.sums = KeptSums::default();
            }
            behaviour = fresh();
            assert!(behaviour.restore(kept), "all of it");
        }
        found.extend(after.show(&mut behaviour));
        let of_place =
            |one: &crate::dataplane::detect::Evidence| one.target == Some(std::net::Ipv4Addr::from(outside(9)).into());
        found.into_iter().filter(of_place).map(|one| (one.kind, one.time.0)).collect()
    }

    #[test]
    fn what_a_day_comes_to_is_known_over_a_restart() {
        let through = told(false, true);
        assert!(!through.is_empty());
        assert_eq!(told(true, true), through);
        assert_ne!(told(true, false), through, "without the sums");
    }

    #[test]
    fn what_this_program_does_not_write_is_left_out() {
        let side = |days| KeptSide { of: hexadecimal(7), days, hosts: [vec![(3, 1)], vec![]], touched: Timestamp(1) };
        let restored = |side: KeptSide| {
            let mut detector = Exfiltration::new(super::super::Settings::default());
            detector.restore_sums(KeptSums { hosts: vec![side], ..KeptSums::default() })
        };
        assert!(restored(side(KeptDays(1, 5.0, vec![1.0]))));
        assert!(!restored(side(KeptDays(1, -5.0, vec![]))));
        assert!(!restored(side(KeptDays(1, 5.0, vec![0.0; KEPT + 1]))));
        assert!(!restored(side(KeptDays(u64::MAX, 5.0, vec![]))));
        assert!(!restored(KeptSide { hosts: [vec![(200, 1)], vec![]], ..side(KeptDays(1, 5.0, vec![])) }));
    }
}
