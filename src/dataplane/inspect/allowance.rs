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
    /// At once, 1 to [`BURST_MAX`].
    pub burst: u32,
    /// A second, [`PER_SECOND_MIN`] to [`PER_SECOND_MAX`]; where 65 536 is no multiple of it, up to the next number that
    /// divides it.
    pub per_second: u32,
}

/// What is told at most. None is without bound: whoever sends requests fills the log and the ring up of all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rates {
    /// Of a flow whatever its source says in others. Fewer: a proxy or a trunk with many busy connections is cut; more: who opens
    /// one connection after the other for so many requests each fills the log.
    pub of_flow: Rate,
    /// Of what one source's flows have to tell beyond that, a queue. At 350 bytes a line, 180 kB a second.
    pub of_source: Rate,
}

impl Rates {
    /// Where nobody says otherwise.
    pub const DEFAULT: Rates =
        Rates { of_flow: Rate { burst: 16, per_second: 64 }, of_source: Rate { burst: 4096, per_second: 512 } };
}

impl Default for Rates {
    fn default() -> Rates {
        Rates::DEFAULT
    }
}

/// Ticks of an [`Allowance`] a second; they come again after eighteen hours.
const TICKS: u32 = 1 << 16;

/// See [`Rate::per_second`]: one tick each at most.
pub const PER_SECOND_MAX: u32 = TICKS;
/// Fewer: a burst would take so long to come again that it could not be told from one that is over.
pub const PER_SECOND_MIN: u32 = 16;
/// See [`Rate::burst`].
pub const BURST_MAX: u32 = 1 << 16;
// A sixteenth of the time after which ticks come again.
const _: () = assert!((TICKS / PER_SECOND_MIN) as u64 * BURST_MAX as u64 <= 1 << 28);

/// A capture's clock that steps back further than this goes on from there.
const STEP_BACK: u64 = 3600 * SECOND;

/// A [`Rate`] in ticks.
#[derive(Clone, Copy)]
struct Grant {
    /// What one takes.
    each: u32,
    /// What all at once take.
    all: u32,
}

impl Grant {
    fn new(rate: Rate) -> Grant {
        let each = TICKS / rate.per_second.clamp(PER_SECOND_MIN, PER_SECOND_MAX);
        Grant { each, all: each * rate.burst.min(BURST_MAX) }
    }
}

/// What may still be told of something: when all of it will be there again, in ticks.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Allowance(pub(super) u32);

impl Allowance {
    /// One more, if there is one.
    fn take(&mut self, Grant { each, all }: Grant, now: Timestamp) -> bool {
        let now = (now.0 / (SECOND / u64::from(TICKS))) as u32; // which comes again
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
    of_flow: Grant,
    of_source: Grant,
    own: Allowance,
    share: u8,
    has_own: bool,
    /// Events of flows that are over come late.
    latest: Timestamp,
}

impl Allowances {
    /// Memory.
    pub(super) const BYTES: usize = SHARES * size_of::<Allowance>();

    /// All of it is there.
    pub(super) fn new(rates: Rates) -> Allowances {
        Allowances {
            sources: Box::new([Allowance::default(); SHARES]),
            of_flow: Grant::new(rates.of_flow),
            of_source: Grant::new(rates.of_source),
            own: Allowance::default(),
            share: 0,
            has_own: false,
            latest: Timestamp(0),
        }
    }

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
        self.has_own && self.own.take(self.of_flow, self.latest)
            || source.is_some_and(|source| source.take(self.of_source, self.latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_FLOW: Rate = Rates::DEFAULT.of_flow;
    const OF_SOURCE: Rate = Rates::DEFAULT.of_source;

    /// Of so many asked for at each moment, how many were granted.
    fn granted(allowances: &mut Allowances, times: impl IntoIterator<Item = u64>, each: u64) -> u64 {
        times.into_iter().map(|time| (0..each).filter(|_| allowances.take(Timestamp(time))).count() as u64).sum()
    }

    #[test]
    fn a_burst_and_a_rate_are_granted_and_no_more() {
        let begin = 1_700_000_000 * SECOND;
        let others = Rates {
            of_flow: Rate { burst: 1, per_second: PER_SECOND_MAX },
            of_source: Rate { burst: BURST_MAX, per_second: PER_SECOND_MIN },
        };
        for (rates, share, has_own) in [(Rates::DEFAULT, 1, false), (Rates::DEFAULT, 2, true), (others, 3, true)] {
            let Rates { of_flow, of_source } = rates;
            let mut all = Allowances::new(rates);
            if has_own {
                all.begin(Allowance::default(), share)
            } else {
                all.begin_without(share)
            }
            let own = |count: u32| if has_own { u64::from(count) } else { 0 };
            assert_eq!(granted(&mut all, [begin], 100_000), u64::from(of_source.burst) + own(of_flow.burst), "at once");
            assert_eq!(granted(&mut all, [begin], 100), 0);
            // Asked for as often as the flow alone is granted it.
            let moments = u64::from(of_flow.per_second.max(1000));
            let rate = u64::from(of_source.per_second) + own(of_flow.per_second);
            let told = granted(&mut all, (1..=moments).map(|at| begin + at * SECOND / moments), 100);
            assert!(told.abs_diff(rate) <= 2, "{told} in a second of {rates:?}");
        }
    }

    /// Whatever else the source says, and it takes nothing of it.
    #[test]
    fn a_flow_has_its_own_rate() {
        let mut all = Allowances::new(Rates::DEFAULT);
        all.begin_without(7);
        granted(&mut all, [SECOND], 100_000);
        all.begin(Allowance::default(), 7);
        assert_eq!(granted(&mut all, [SECOND], 100), u64::from(OF_FLOW.burst));
        let own = all.own();
        all.begin_without(8);
        assert_eq!(granted(&mut all, [SECOND], 100_000), u64::from(OF_SOURCE.burst), "another source");
        all.begin(own, 7);
        let a_second = u64::from(OF_FLOW.per_second);
        let hour = (1..=3600 * a_second).map(|at| SECOND + at * (SECOND / a_second));
        assert_eq!(granted(&mut all, hour, 1), 3600 * a_second, "one after the other, for an hour");
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_away_and_takes_nothing() {
        let (mut all, day) = (Allowances::new(Rates::DEFAULT), 86_400 * SECOND);
        all.begin_without(7);
        granted(&mut all, [2 * day], 100_000);
        assert_eq!(granted(&mut all, [2 * day - 60 * SECOND], 100), 0, "of a flow that was over a minute ago");
        assert_eq!(granted(&mut all, [day], 100_000), u64::from(OF_SOURCE.burst), "another capture");
    }
}
