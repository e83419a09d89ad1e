//! What is known inside a second that is not over, where frames come live: nobody waits up to a second for an alert.
//!
//! Queues give out what they have counted several times a window ([`crate::dataplane::worker::EngineSettings::look_ns`]), and nobody
//! waits for the other queues. The deciders see what has come of windows that are not over, tell what it would be evidence of, and forget again that they saw it; when the window is over
//! they decide as ever, over all of it, and what was told before is not told again. So a replay, which does not look ahead, has the
//! same evidence but for its last looks, and no decider knows that there is such a thing. What the target has yet to answer looks
//! like a flood for a moment, so that one must be seen by two looks. A look costs what was counted since the look before: only those
//! are looked at. Bounded: of more than [`HOSTS`] hosts and sessions those of whom much was counted.

use super::{Merger, Parted, evidence_order};
use crate::dataplane::detect::{Detector, Entity, Evidence};
use crate::units::{MILLISECOND, Timestamp};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// Entities that one look looks at, some 300 bytes each for that long.
const HOSTS: usize = 1 << 14;
/// What must be counted of each where there are more.
const LOUD: u64 = 8;
/// From the first look that sees a flood to the one that tells it: what the target has yet to answer is answered by then. Queues look
/// in turn, so two looks alone may be no time.
const DOUBT_NS: u64 = 4 * MILLISECOND;
/// Affairs told or doubted that are remembered of windows that are not over; beyond that all of them are forgotten, so that they may
/// be told once more.
const AFFAIRS: usize = 1 << 14;

/// What evidence is about, as deduplication has it, and in which window.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Affair(u64, Detector, String, Option<IpAddr>, Option<IpAddr>, Option<u16>);

impl Affair {
    fn of(start: Timestamp, evidence: &Evidence) -> Affair {
        Affair(start.0, evidence.detector, evidence.kind.clone(), evidence.source, evidence.target, evidence.port)
    }
}

/// What was told of windows that are not over.
#[derive(Default)]
pub(super) struct Ahead {
    /// Of whom something was counted since the latest look.
    fresh: HashSet<Entity>,
    /// With its severity.
    told: HashMap<Affair, u8>,
    /// Floods that a look saw, and when.
    doubted: HashMap<Affair, Timestamp>,
}

impl Ahead {
    /// Something of it was counted.
    pub(super) fn counted(&mut self, entity: Entity) {
        if self.fresh.len() < HOSTS * 4 {
            self.fresh.insert(entity);
        }
    }
}

impl Merger {
    /// Looks at windows that are not over too: where frames come live.
    pub fn looking_ahead(mut self) -> Merger {
        self.ahead = Some(Ahead::default());
        self
    }

    /// Counts have gone up at `now`: tells what windows that are not over are evidence of already. Only those are looked at of whom
    /// something was counted since the look before, with all that waits of them.
    pub(super) fn look_ahead(&mut self, now: Timestamp, out: &mut Vec<Evidence>) {
        let Some(ahead) = &mut self.ahead else { return };
        let fresh = std::mem::take(&mut ahead.fresh);
        if fresh.is_empty() {
            return;
        }
        let least = if fresh.len() > HOSTS { LOUD } else { 0 };
        let parted: Vec<(Timestamp, Parted)> = self
            .windows
            .iter()
            .map(|(start, window)| {
                let counted = fresh.iter().filter_map(|entity| Some((entity, window.get(entity)?)));
                let loud = counted.filter(|(_, counts)| counts.activity() >= least).take(HOSTS);
                (Timestamp(*start), Parted::of(loud.map(|(entity, counts)| (*entity, *counts))))
            })
            .collect();
        self.scan.begin();
        self.arp.begin();
        self.brute_force.begin();
        self.flood.begin();
        let found: Vec<(Timestamp, Vec<Evidence>)> = parted
            .iter()
            .map(|(start, parted)| {
                let mut found = Vec::new();
                self.decide_counts(*start, parted, &mut found);
                (*start, found)
            })
            .collect();
        self.scan.roll_back();
        self.arp.roll_back();
        self.brute_force.roll_back();
        self.flood.roll_back();
        for (start, mut found) in found {
            self.name_tunnels_of(start.0, &mut found);
            found.sort_by_key(evidence_order);
            for evidence in found {
                if self.is_news(start, &evidence, now) {
                    out.push(evidence);
                }
            }
        }
    }

    /// Is it to be told, and not only doubted?
    fn is_news(&mut self, start: Timestamp, evidence: &Evidence, now: Timestamp) -> bool {
        let Some(ahead) = &mut self.ahead else { return false };
        let affair = Affair::of(start, evidence);
        if ahead.told.get(&affair).is_some_and(|severity| *severity <= evidence.severity) {
            return false;
        }
        if ahead.told.len() + ahead.doubted.len() >= AFFAIRS {
            (ahead.told, ahead.doubted) = Default::default();
        }
        if evidence.detector == Detector::Flood {
            let since = *ahead.doubted.entry(affair.clone()).or_insert(now);
            if now.since(since) < DOUBT_NS {
                return false;
            }
        }
        ahead.told.insert(affair, evidence.severity);
        true
    }

    /// The window is over: what was told of it, and is no worse, is not told again.
    pub(super) fn drop_told_ahead(&mut self, start: Timestamp, found: &mut Vec<Evidence>, first: usize) {
        let Some(ahead) = &mut self.ahead else { return };
        let mut place = 0;
        found.retain(|evidence| {
            place += 1;
            if place <= first {
                return true;
            }
            let affair = Affair::of(start, evidence);
            let known = ahead.told.get(&affair).is_some_and(|severity| *severity <= evidence.severity);
            if known {
                ahead.told.remove(&affair);
            }
            !known
        });
        ahead.told.retain(|affair, _| affair.0 > start.0);
        ahead.doubted.retain(|affair, _| affair.0 > start.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;
    use crate::dataplane::detect::{Counts, Entity, TunnelMark, WINDOW_NS, WindowEntry};
    use crate::exchange::Up;
    use crate::units::{MILLISECOND, QueueId};

    const QUEUE: QueueId = QueueId(0);

    /// The queue has come so far, and has told what it knew.
    fn reach(merger: &mut Merger, ms: u64) -> Vec<Evidence> {
        let moment = Timestamp(ms * MILLISECOND);
        let mut found = merger.push(QUEUE, &Up::Watermark(QUEUE, moment));
        found.extend(merger.push(QUEUE, &Up::Looked(QUEUE, moment)));
        found
    }

    /// Refused contacts with ports of one host, each one of the bits.
    fn scan_of(start: Timestamp, bits: std::ops::Range<u32>) -> Up {
        let mut counts = Counts { last: start, ..Counts::ZERO };
        counts.sums[1] = bits.len() as u32;
        for bit in bits {
            for map in [0, 2] {
                counts.distinct[map][bit as usize / 64 % 4] |= 1 << (bit % 64);
            }
        }
        counts.distinct[3][0] = 1;
        let entity = Entity::Source(0xffff_0a00_0007);
        Up::Window(WindowEntry { start, entity, counts, mark: TunnelMark(0) })
    }

    /// SYNs of so many a quarter of a second towards a host.
    fn syns(quarter: u64, count: u32) -> Up {
        let mut counts = Counts { last: Timestamp((1000 + quarter * 250) * MILLISECOND), ..Counts::ZERO };
        counts.sums[0] = count;
        counts.sums[9] = count;
        let entity = Entity::Target(0xffff_0a00_0001);
        Up::Window(WindowEntry { start: Timestamp(1000 * MILLISECOND), entity, counts, mark: TunnelMark(0) })
    }

    fn kinds(found: &[Evidence]) -> Vec<&str> {
        found.iter().map(|evidence| evidence.kind.as_str()).collect()
    }

    /// A scan is told in the quarter that completes it, once; a replay tells it when its second is over.
    #[test]
    fn what_suffices_is_told_inside_its_second_and_only_once() {
        for ahead in [false, true] {
            let merger = Merger::new(1, Settings::default());
            let mut merger = if ahead { merger.looking_ahead() } else { merger };
            let mut told = Vec::new();
            for ms in [1250, 1500, 1750, 2000, 2250, 3000] {
                if ms == 1500 {
                    merger.push(QUEUE, &scan_of(Timestamp(1000 * MILLISECOND), 0..60));
                }
                let found = reach(&mut merger, ms);
                told.extend(found.iter().map(|evidence| (ms, evidence.detector)));
            }
            let wanted = if ahead { 1500 } else { 2000 };
            assert_eq!(told, [(wanted, Detector::Scan)], "ahead: {ahead}");
            assert_eq!(merger.stats().windows, 1);
        }
    }

    /// A burst that is answered within its second is no flood, and a flood is told by the second look that sees it.
    #[test]
    fn a_flood_must_be_seen_twice() {
        let mut merger = Merger::new(1, Settings::default()).looking_ahead();
        merger.push(QUEUE, &syns(0, 3000));
        assert_eq!(kinds(&reach(&mut merger, 1250)), [""; 0]);
        merger.push(QUEUE, &syns(1, 3000));
        assert_eq!(kinds(&reach(&mut merger, 1500)), ["syn"]);
        assert_eq!(kinds(&reach(&mut merger, 1750)), [""; 0], "told already");
        assert_eq!(kinds(&reach(&mut merger, 2000)), [""; 0], "told already");
        let mut merger = Merger::new(1, Settings::default()).looking_ahead();
        merger.push(QUEUE, &syns(0, 3000));
        assert_eq!(kinds(&reach(&mut merger, 1250)), [""; 0]);
        let mut completed = Counts { last: Timestamp(1400 * MILLISECOND), ..Counts::ZERO };
        completed.sums[2] = 3000;
        let (start, entity) = (Timestamp(1000 * MILLISECOND), Entity::Target(0xffff_0a00_0001));
        merger.push(QUEUE, &Up::Window(WindowEntry { start, entity, counts: completed, mark: TunnelMark(0) }));
        for ms in [1500, 1750, 2000] {
            assert_eq!(kinds(&reach(&mut merger, ms)), [""; 0], "answered by {ms}");
        }
    }

    /// Looking leaves no trace: windows that follow are decided as if nobody had looked.
    #[test]
    fn to_look_teaches_nothing() {
        let run = |ahead: bool| {
            let merger = Merger::new(1, Settings::default());
            let mut merger = if ahead { merger.looking_ahead() } else { merger };
            let mut found = Vec::new();
            for second in 1..30_u64 {
                let start = Timestamp(second * 1000 * MILLISECOND);
                for quarter in 1..=4_u64 {
                    if quarter < 4 {
                        let bit = second as u32 * 8 + quarter as u32;
                        merger.push(QUEUE, &scan_of(start, bit..bit + 1));
                    }
                    found.extend(reach(&mut merger, second * 1000 + quarter * 250));
                }
            }
            let seconds: Vec<u64> = found.iter().map(|evidence: &Evidence| evidence.time.0 / WINDOW_NS).collect();
            (seconds, merger.stats())
        };
        let (with, without) = (run(true), run(false));
        assert!(with.0.len() > 5, "{with:?}");
        assert_eq!(with, without);
    }

    /// What ends by a time-out holds the watermark back, and two queues never look at once: nobody waits for either.
    #[test]
    fn a_look_waits_for_no_watermark_and_no_other_queue() {
        let mut merger = Merger::new(2, Settings::default()).looking_ahead();
        let other = QueueId(1);
        merger.push(QUEUE, &Up::Watermark(QUEUE, Timestamp(900 * MILLISECOND)));
        merger.push(QUEUE, &scan_of(Timestamp(1000 * MILLISECOND), 0..8));
        merger.push(other, &scan_of(Timestamp(1000 * MILLISECOND), 8..60));
        let found = merger.push(QUEUE, &Up::Looked(QUEUE, Timestamp(1010 * MILLISECOND)));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((merger.stats().watermark, merger.looked()), (Timestamp(0), Timestamp(0)));
        merger.push(other, &Up::Looked(other, Timestamp(1011 * MILLISECOND)));
        assert_eq!(merger.looked(), Timestamp(1010 * MILLISECOND));
    }

    /// A scan over the end of a second is told with the contact that completes it, though neither second alone would do and the
    /// first is not decided yet; nobody else's contacts are looked at again.
    #[test]
    fn what_lies_in_two_windows_that_are_not_over_is_one() {
        let mut merger = Merger::new(1, Settings::default()).looking_ahead();
        merger.push(QUEUE, &scan_of(Timestamp(1000 * MILLISECOND), 0..10));
        let looked = |merger: &mut Merger, ms| merger.push(QUEUE, &Up::Looked(QUEUE, Timestamp(ms * MILLISECOND)));
        assert_eq!(looked(&mut merger, 1995).len(), 0);
        merger.push(QUEUE, &scan_of(Timestamp(2000 * MILLISECOND), 10..22));
        assert_eq!(looked(&mut merger, 2005).len(), 1);
        assert_eq!(looked(&mut merger, 2010).len(), 0, "nothing was counted since");
        assert_eq!(reach(&mut merger, 2250).len(), 0, "the first second is over, and says nothing new");
        assert_eq!(reach(&mut merger, 3250).len(), 0, "nor does the second, which was told");
    }
}
