//! What an overloaded queue does without, in a fixed order: scoring first, then inspection; what comes after that, past the worker
//! or nowhere, is the program's (`overload` of a pair) and costs no work here.
//!
//! A pure function of how full the source's ring is, with a gap between begin and end, so that a queue at a limit does not change
//! with every burst. What is left out is counted: rows as shed, payloads as not inspected; flows are counted whatever happens.

/// What is left out at present, the least of it first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Shed {
    /// Nothing.
    #[default]
    Nothing,
    /// Rows are not scored.
    Scoring,
    /// Nor are payloads inspected.
    Inspection,
}

/// Fullness of the ring, in eighths, from which each begins, and below which it ends.
const SCORING: (u64, u64) = (4, 2);
const INSPECTION: (u64, u64) = (6, 3);

impl Shed {
    /// What to leave out, with `waiting` of `capacity` frames in the ring.
    #[inline]
    #[must_use]
    pub fn step(self, waiting: u32, capacity: u32) -> Shed {
        if capacity == 0 {
            return Shed::Nothing;
        }
        let (waiting, capacity) = (u64::from(waiting) * 8, u64::from(capacity));
        let holds = |shed, (begin, end)| waiting >= capacity * if self >= shed { end } else { begin };
        match (holds(Shed::Inspection, INSPECTION), holds(Shed::Scoring, SCORING)) {
            (true, _) => Shed::Inspection,
            (false, true) => Shed::Scoring,
            (false, false) => Shed::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scoring_goes_first_and_comes_back_last() {
        let mut shed = Shed::default();
        let steps = [
            (0, Shed::Nothing),
            (511, Shed::Nothing),
            (512, Shed::Scoring),
            (400, Shed::Scoring),
            (767, Shed::Scoring),
            (768, Shed::Inspection),
            (400, Shed::Inspection),
            (383, Shed::Scoring),
            (700, Shed::Scoring),
            (255, Shed::Nothing),
            (1024, Shed::Inspection),
            (0, Shed::Nothing),
        ];
        for (waiting, expected) in steps {
            shed = shed.step(waiting, 1024);
            assert_eq!(shed, expected, "{waiting}");
        }
        assert_eq!(Shed::Inspection.step(9, 0), Shed::Nothing, "a source that cannot tell");
    }

    proptest! {
        /// Fuller never means less left out, from whatever state.
        #[test]
        fn a_fuller_ring_leaves_out_no_less(from in 0..3_u8, waiting in 0..=4096_u32, more in 0..=4096_u32) {
            let from = [Shed::Nothing, Shed::Scoring, Shed::Inspection][usize::from(from)];
            prop_assert!(from.step(waiting, 4096) <= from.step(waiting.saturating_add(more), 4096));
        }
    }
}
