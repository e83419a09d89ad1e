//! What is known inside a second that is not over, where frames come live: nobody waits up to a second for an alert.
//!
//! Queues give out a quarter of a second's counts at a time ([`crate::dataplane::worker::EngineSettings::look_ns`]). The deciders see
//! what has come of the open window, tell what it would be evidence of, and forget again that they saw it; when the window is over
//! they decide as ever, over all of it, and what was told before is not told again. So a replay, which does not look ahead, has the
//! same evidence but for its last quarters, and no decider knows that there is such a thing. What the target has yet to answer looks
//! like a flood for a moment, so that one must be seen by two looks. Bounded: a window of more than [`HOSTS`] hosts and sessions is looked
//! at for those of whom much was counted.

use super::{Merger, Parted, evidence_order};
use crate::dataplane::detect::{Detector, Evidence, WINDOW_NS};
use crate::units::Timestamp;
use std::net::IpAddr;

/// Entities of an open window that are looked at, some 300 bytes each for that long.
const HOSTS: usize = 1 << 14;
/// What must be counted of each where there are more.
const LOUD: u64 = 8;

/// What evidence is about, as deduplication has it.
#[derive(Clone, PartialEq, Debug)]
struct Affair(Detector, String, Option<IpAddr>, Option<IpAddr>, Option<u16>);

impl Affair {
    fn of(evidence: &Evidence) -> Affair {
        Affair(evidence.detector, evidence.kind.clone(), evidence.source, evidence.target, evidence.port)
    }
}

/// What was told of the open window.
#[derive(Default)]
pub(super) struct Ahead {
    start: u64,
    /// With its severity.
    told: Vec<(Affair, u8)>,
    /// Floods that the latest look saw.
    doubted: Vec<Affair>,
}

impl Merger {
    /// Looks at windows that are not over too: where frames come live.
    pub fn looking_ahead(mut self) -> Merger {
        self.ahead = Some(Ahead::default());
        self
    }

    /// Everything has come up to `reached`: tells what the window in which that lies is evidence of already.
    pub(super) fn look_ahead(&mut self, reached: Timestamp, out: &mut Vec<Evidence>) {
        let start = reached.0 - reached.0 % WINDOW_NS;
        if self.ahead.is_none() {
            return;
        }
        let Some(window) = self.windows.get(&start).filter(|_| reached.0 > start) else { return };
        let least = if window.len() > HOSTS { LOUD } else { 0 };
        let loud = window.iter().filter(|(_, counts)| counts.activity() >= least).take(HOSTS);
        let parted = Parted::of(loud.map(|(entity, counts)| (*entity, *counts)));
        let mut found = Vec::new();
        self.scan.begin();
        self.arp.begin();
        self.brute_force.begin();
        self.flood.begin();
        self.decide_counts(Timestamp(start), &parted, &mut found);
        self.scan.roll_back();
        self.arp.roll_back();
        self.brute_force.roll_back();
        self.flood.roll_back();
        self.name_tunnels_of(start, &mut found);
        found.sort_by_key(evidence_order);
        let Some(ahead) = &mut self.ahead else { return };
        if ahead.start != start {
            *ahead = Ahead { start, ..Ahead::default() };
        }
        let before = std::mem::take(&mut ahead.doubted);
        for evidence in found {
            let affair = Affair::of(&evidence);
            if ahead.told.iter().any(|(told, severity)| *told == affair && *severity <= evidence.severity) {
                continue;
            }
            if evidence.detector == Detector::Flood && !before.contains(&affair) {
                ahead.doubted.push(affair);
                continue;
            }
            ahead.told.push((affair, evidence.severity));
            out.push(evidence);
        }
    }

    /// The window is over: what was told of it, and is no worse, is not told again.
    pub(super) fn drop_told_ahead(&mut self, start: Timestamp, found: &mut Vec<Evidence>, first: usize) {
        let Some(ahead) = self.ahead.as_mut().filter(|ahead| ahead.start == start.0 && !ahead.told.is_empty()) else {
            return;
        };
        let mut told = std::mem::take(&mut ahead.told);
        let mut place = 0;
        found.retain(|evidence| {
            place += 1;
            if place <= first {
                return true;
            }
            let affair = Affair::of(evidence);
            let known = told.iter().position(|(told, severity)| *told == affair && *severity <= evidence.severity);
            known.map(|known| told.swap_remove(known)).is_none()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;
    use crate::dataplane::detect::{Counts, Entity, TunnelMark, WindowEntry};
    use crate::exchange::Up;
    use crate::units::{MILLISECOND, QueueId};

    const QUEUE: QueueId = QueueId(0);

    fn at(ms: u64) -> Up {
        Up::Watermark(QUEUE, Timestamp(ms * MILLISECOND))
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
                let found = merger.push(QUEUE, &at(ms));
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
        assert_eq!(kinds(&merger.push(QUEUE, &at(1250))), [""; 0]);
        merger.push(QUEUE, &syns(1, 3000));
        assert_eq!(kinds(&merger.push(QUEUE, &at(1500))), ["syn"]);
        assert_eq!(kinds(&merger.push(QUEUE, &at(1750))), [""; 0], "told already");
        assert_eq!(kinds(&merger.push(QUEUE, &at(2000))), [""; 0], "told already");
        let mut merger = Merger::new(1, Settings::default()).looking_ahead();
        merger.push(QUEUE, &syns(0, 3000));
        assert_eq!(kinds(&merger.push(QUEUE, &at(1250))), [""; 0]);
        let mut completed = Counts { last: Timestamp(1400 * MILLISECOND), ..Counts::ZERO };
        completed.sums[2] = 3000;
        let (start, entity) = (Timestamp(1000 * MILLISECOND), Entity::Target(0xffff_0a00_0001));
        merger.push(QUEUE, &Up::Window(WindowEntry { start, entity, counts: completed, mark: TunnelMark(0) }));
        for ms in [1500, 1750, 2000] {
            assert_eq!(kinds(&merger.push(QUEUE, &at(ms))), [""; 0], "answered by {ms}");
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
                    found.extend(merger.push(QUEUE, &at(second * 1000 + quarter * 250)));
                }
            }
            let seconds: Vec<u64> = found.iter().map(|evidence: &Evidence| evidence.time.0 / WINDOW_NS).collect();
            (seconds, merger.stats())
        };
        let (with, without) = (run(true), run(false));
        assert!(with.0.len() > 5, "{with:?}");
        assert_eq!(with, without);
    }
}
