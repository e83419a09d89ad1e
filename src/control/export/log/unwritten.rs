//! Lines that a file did not take, in words.

use crate::units::{SECOND, Timestamp};
use std::path::PathBuf;

/// Time between two warnings: they come from the wire, by way of a full queue.
const WARN_EVERY: u64 = 60 * SECOND;

/// Lines of one file that were not written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unwritten {
    /// The file's section in the configuration.
    pub name: &'static str,
    /// The file.
    pub path: PathBuf,
    /// How many, by kind; all kinds that the file has.
    pub kinds: Vec<(&'static str, u64)>,
}

impl Unwritten {
    /// `2 events and 1 flow`; `None` where every line was written.
    pub fn amounts(&self) -> Option<String> {
        let amount = |(kind, count): &(&str, u64)| match (*kind, *count) {
            (_, 0) => None,
            ("stats", count) => Some(format!("{count} stats")),
            (kind, 1) => Some(format!("1 {kind}")),
            (kind, count) => Some(format!("{count} {kind}s")),
        };
        let mut amounts: Vec<String> = self.kinds.iter().filter_map(amount).collect();
        let last = amounts.pop()?;
        Some(if amounts.is_empty() { last } else { format!("{} and {last}", amounts.join(", ")) })
    }
}

/// Warns of lost lines: of the first at once, then once a minute, of those since the last warning.
#[derive(Default)]
pub(super) struct Warner {
    /// By kind, what was told.
    told: Vec<u64>,
    next: Timestamp,
}

impl Warner {
    /// The warning, where it is time for one.
    pub(super) fn look(&mut self, now: Timestamp, lost: &Unwritten) -> Option<String> {
        let counts: Vec<u64> = lost.kinds.iter().map(|(_, count)| *count).collect();
        if now < self.next || counts == self.told {
            return None;
        }
        let told = self.told.iter().copied().chain(std::iter::repeat(0));
        let since = lost.kinds.iter().zip(told).map(|((kind, count), told)| (*kind, count.saturating_sub(told)));
        let since = Unwritten { kinds: since.collect(), ..lost.clone() };
        let new = since.amounts()?;
        self.next = now.after(WARN_EVERY);
        self.told = counts;
        let all = lost.amounts().filter(|all| *all != new).map(|all| format!(" ({all} so far)")).unwrap_or_default();
        Some(format!("{}: {new} not written{all}: {SLOWER}", lost.path.display()))
    }
}

/// Why, where the disk takes lines at all.
pub const SLOWER: &str = "more came than the disk, or the core that writes, takes";

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(kinds: [u64; 4]) -> Unwritten {
        let kinds = ["alert", "flow", "event", "stats"].into_iter().zip(kinds).collect();
        Unwritten { name: "eve", path: "/e".into(), kinds }
    }

    #[test]
    fn lost_lines_are_counted_in_words() {
        for (kinds, says) in [
            ([0, 0, 0, 0], None),
            ([0, 0, 7, 0], Some("7 events")),
            ([1, 30, 0, 0], Some("1 alert and 30 flows")),
            ([2, 1, 1, 3], Some("2 alerts, 1 flow, 1 event and 3 stats")),
        ] {
            assert_eq!(lost(kinds).amounts().as_deref(), says, "{kinds:?}");
        }
    }

    #[test]
    fn a_loss_is_warned_of_at_once_and_then_once_a_minute() {
        let mut warner = Warner::default();
        let mut look = |second: u64, kinds| warner.look(Timestamp((1000 + second) * SECOND), &lost(kinds));
        assert_eq!(look(0, [0, 0, 0, 0]), None);
        let first = look(1, [0, 2, 0, 0]).unwrap();
        assert!(first.starts_with("/e: 2 flows not written: "), "{first}");
        assert_eq!((look(2, [0, 9, 0, 0]), look(60, [0, 9, 5, 0])), (None, None), "within a minute");
        let second = look(61, [0, 10, 5, 0]).unwrap();
        assert!(second.contains("8 flows and 5 events not written (10 flows and 5 events so far)"), "{second}");
        assert_eq!(look(500, [0, 10, 5, 0]), None, "none since");
        assert!(look(501, [0, 10, 6, 0]).unwrap().contains("1 event not written"));
    }
}
