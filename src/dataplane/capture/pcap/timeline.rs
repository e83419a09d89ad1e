//! Capture time as the one clock of a replay.

use crate::units::SECOND;

/// A step back of the capture's time beyond this is no disorder of the writer but another recording, nanoseconds. Merged
/// and multi-queue captures are disordered by milliseconds; a clock that is set back while capturing steps by seconds.
const DISORDER_MAX_NS: u64 = 10 * SECOND;

/// A leap ahead of this much is looked into, nanoseconds: it may be a silence, or the time of one record that is wrong, which
/// would take the whole time line with it.
const LOOK_NS: u64 = 10 * SECOND;

/// A silence beyond this is waited for where the frames behind it are not there yet, nanoseconds; and once the time line is no
/// longer the files' own, it is another recording: else files of different years in any order would add their leaps up until
/// time overflows.
const LEAP_MAX_NS: u64 = 3600 * SECOND;

/// Latest capture time believed (the year 2262): whoever reckons with time-outs has room for them above it. What claims to
/// be later is damage or malice and gets the time of the frame before it.
const TIME_MAX: u64 = i64::MAX as u64;

/// It never steps back, whatever the files say, and it is made here, before frames are split between workers, so that
/// every worker goes by the same times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeline {
    latest: u64,
    /// What is added to the files' own times.
    shift: u64,
    /// A step ahead of less goes without saying; never more than the shift, so that a recording that has caught up is seen.
    look: u64,
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline { latest: 0, shift: 0, look: LOOK_NS }
    }
}

/// Where a frame's time stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Placed {
    /// As the file says.
    InOrder(u64),
    /// A small step back, made level.
    Levelled(u64),
    /// Another recording: from here on something is added.
    Shifted(u64),
    /// So far ahead that the frames after it must be asked: [`Timeline::leap`].
    Leap,
}

impl Timeline {
    /// What is added to the files' own times now, nanoseconds.
    pub fn shift(&self) -> u64 {
        self.shift
    }

    /// Has no frame been placed yet?
    pub fn is_new(&self) -> bool {
        self.latest == 0
    }

    /// Would this leap be waited for, to see what follows it?
    pub fn is_worth_waiting(&self, time: u64) -> bool {
        time.saturating_add(self.shift).saturating_sub(self.latest) > LEAP_MAX_NS
    }

    /// Time of the next frame. Small disorder is levelled; after a large step back time goes on from where it was, and
    /// returns to the files' own time as soon as a recording has caught up with it.
    #[inline(always)]
    pub fn place(&mut self, time: u64) -> Placed {
        let placed = time.saturating_add(self.shift);
        if placed >= self.latest && placed - self.latest < self.look && placed <= TIME_MAX {
            self.latest = placed;
            return Placed::InOrder(placed);
        }
        self.out_of_order(time, placed)
    }

    #[cold]
    fn out_of_order(&mut self, time: u64, placed: u64) -> Placed {
        let step_back = self.latest.saturating_sub(placed);
        if time > TIME_MAX || (1..=DISORDER_MAX_NS).contains(&step_back) {
            return Placed::Levelled(self.latest);
        }
        if step_back == 0 {
            return Placed::Leap;
        }
        self.goes_on_at(time)
    }

    /// Another recording, or one that has caught up.
    fn goes_on_at(&mut self, time: u64) -> Placed {
        self.shift = self.latest.saturating_sub(time);
        self.look = if self.shift == 0 { LOOK_NS } else { LOOK_NS.min(self.shift) };
        self.latest = self.latest.max(time);
        Placed::Shifted(self.latest)
    }

    /// Settles a leap to `time` by the times of the frames that follow it in the file: where one of them goes on from
    /// before the leap, the leap was one record's alone, and the frame gets the time of the one before it. A file that
    /// begins with the damage has none before: there two that agree with each other speak against it.
    #[cold]
    pub fn leap(&mut self, time: u64, following: &[u64]) -> Placed {
        let goes_on = |from: u64, next: u64| {
            next >= from.saturating_sub(DISORDER_MAX_NS) && next <= from.saturating_add(LEAP_MAX_NS)
        };
        let (latest, shift) = (self.latest, self.shift);
        let placed = time.saturating_add(shift);
        // Nearer to the time before than to the leap's. A small leap may be a silence at whose end another section begins:
        // there the very next frame is asked.
        let asked = if self.is_worth_waiting(time) { following.len() } else { 1 };
        let is_before = |next: u64| goes_on(latest, next) && next < latest + placed.saturating_sub(latest) / 2;
        if !self.is_new() && following.iter().take(asked).any(|next| is_before(next.saturating_add(shift))) {
            return Placed::Levelled(latest);
        }
        if let [second, third, ..] = following
            && self.is_new()
            && second.saturating_add(LEAP_MAX_NS) < time
            && goes_on(*second, *third)
        {
            self.latest = *second;
            return Placed::Levelled(self.latest);
        }
        let is_another = placed - latest.min(placed) > LEAP_MAX_NS || time >= latest;
        if shift > 0 && is_another {
            return self.goes_on_at(time);
        }
        self.latest = placed;
        Placed::InOrder(placed)
    }
}
