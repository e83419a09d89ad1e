//! How many events are told: of each flow a few, and what goes beyond them is its source's to have for all its flows.
//!
//! A request may have eighteen bytes and its line three hundred, so one client could fill the log, and the ring up, of all others.
//! Of one flow alone nothing would be won: who is cut opens the next one. What an honest flow says in a second is its own
//! however many its source has (a proxy, a resolver); bursts of one flow (a page, a walk through a device's values) are the
//! source's.

use super::shares::SHARES;
use crate::units::{SECOND, Timestamp};

/// Events at once, and those a second of capture time that are granted again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// At once.
    pub burst: u64,
    /// A second.
    pub per_second: u64,
}

/// Of a flow whatever its source says in others. Fewer: a proxy or a trunk with many busy connections is cut; more: who opens one
/// connection after the other for so many requests each fills the log.
pub const OF_FLOW: Rate = Rate { burst: 16, per_second: 64 };
/// Of what one source's flows have to tell beyond that, a queue. At 350 bytes a line,
/// 180 kB a second.
pub const OF_SOURCE: Rate = Rate { burst: 4096, per_second: 512 };

/// Ticks of an [`Allowance`] a second; they come again after eighteen hours.
const TICKS: u64 = 1 << 16;

/// A capture's clock that steps back further than this goes on from there.
const STEP_BACK: u64 = 3600 * SECOND;

/// What may still be told of something: when all of it will be there again, in ticks.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Allowance(pub(super) u32);

impl Allowance {
    /// One more, if there is one.
    fn take(&mut self, rate: Rate, now: Timestamp) -> bool {
        let now = (now.0 / (SECOND / TICKS)) as u32; // which comes again
        let each = (TICKS / rate.per_second) as u32; // at most a second
        let all = each * rate.burst as u32; // seconds
        // Further ahead it cannot be: that was before.
        let ahead = Some(self.0.wrapping_sub(now)).filter(|ahead| *ahead <= all).unwrap_or(0);
        let is_there = ahead + each <= all;
        if is_there {
            self.0 = now.wrapping_add(ahead + each);
        }
        is_there
    }
}

/// Those of all sources of a queue, and of the flow at hand.
pub(super) struct Allowances {
    sources: Box<[Allowance; SHARES]>,
    own: Allowance,
    share: u8,
    has_own: bool,
    /// Events of flows that are over come late.
    latest: Timestamp,
}

impl Default for Allowances {
    fn default() -> Allowances {
        Allowances {
            sources: Box::new([Allowance::default(); SHARES]),
            own: Allowance::default(),
            share: 0,
            has_own: false,
            latest: Timestamp(0),
        }
    }
}

impl Allowances {
    /// Memory.
    pub(super) const BYTES: usize = SHARES * size_of::<Allowance>();

    /// What comes is of this flow, whose source has this share.
    pub(super) fn begin(&mut self, own: Allowance, share: u8) {
        (self.own, self.share, self.has_own) = (own, share, true);
    }

    /// What comes is of a flow of which nothing is remembered: it is all its source's.
    pub(super) fn begin_without(&mut self, share: u8) {
        (self.share, self.has_own) = (share, false);
    }

    /// What the flow at hand has left.
    pub(super) fn own(&self) -> Allowance {
        self.own
    }

    /// The flow at hand, to go on with it.
    pub(super) fn at_hand(&self) -> (Allowance, u8) {
        (self.own, self.share)
    }

    /// May one more event be told?
    pub(super) fn take(&mut self, time: Timestamp) -> bool {
        if time > self.latest || self.latest.since(time) > STEP_BACK {
            self.latest = time;
        }
        let source = self.sources.get_mut(usize::from(self.share));
        self.has_own && self.own.take(OF_FLOW, self.latest)
            || source.is_some_and(|source| source.take(OF_SOURCE, self.latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of so many asked for at each moment, how many were granted.
    fn granted(allowances: &mut Allowances, times: impl IntoIterator<Item = u64>, each: u64) -> u64 {
        times.into_iter().map(|time| (0..each).filter(|_| allowances.take(Timestamp(time))).count() as u64).sum()
    }

    #[test]
    fn a_burst_and_a_rate_are_granted_and_no_more() {
        let begin = 1_700_000_000 * SECOND;
        for (share, has_own, extra) in [(1, false, 0), (2, true, OF_FLOW.burst)] {
            let mut all = Allowances::default();
            if has_own {
                all.begin(Allowance::default(), share)
            } else {
                all.begin_without(share)
            }
            assert_eq!(granted(&mut all, [begin], 100_000), OF_SOURCE.burst + extra, "at once");
            assert_eq!(granted(&mut all, [begin], 100), 0);
            let rate = OF_SOURCE.per_second + if has_own { OF_FLOW.per_second } else { 0 };
            let second = (1..=1000).map(|at| begin + at * SECOND / 1000);
            let told = granted(&mut all, second, 100);
            assert!(told.abs_diff(rate) <= 2, "{told} in a second");
        }
    }

    /// Whatever else the source says, and it takes nothing of it.
    #[test]
    fn a_flow_has_its_own_rate() {
        let mut all = Allowances::default();
        all.begin_without(7);
        granted(&mut all, [SECOND], 100_000);
        all.begin(Allowance::default(), 7);
        assert_eq!(granted(&mut all, [SECOND], 100), OF_FLOW.burst);
        let own = all.own();
        all.begin_without(8);
        assert_eq!(granted(&mut all, [SECOND], 100_000), OF_SOURCE.burst, "another source");
        all.begin(own, 7);
        let hour = (1..=3600 * OF_FLOW.per_second).map(|at| SECOND + at * (SECOND / OF_FLOW.per_second));
        assert_eq!(granted(&mut all, hour, 1), 3600 * OF_FLOW.per_second, "one after the other, for an hour");
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_away_and_takes_nothing() {
        let (mut all, day) = (Allowances::default(), 86_400 * SECOND);
        all.begin_without(7);
        granted(&mut all, [2 * day], 100_000);
        assert_eq!(granted(&mut all, [2 * day - 60 * SECOND], 100), 0, "of a flow that was over a minute ago");
        assert_eq!(granted(&mut all, [day], 100_000), OF_SOURCE.burst, "another capture");
    }
}
