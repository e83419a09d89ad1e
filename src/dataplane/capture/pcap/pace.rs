//! Replay at the capture's own speed.

use std::time::{Duration, Instant};

/// How fast a capture is given out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Speed {
    /// As fast as it is taken.
    #[default]
    Max,
    /// As fast as it was captured.
    Original,
}

/// Maps capture time to the monotonic clock, from the first frame on.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    speed: Speed,
    start: Option<Instant>,
    origin: Option<(Instant, u64)>,
}

impl Pace {
    /// Starts with the first frame asked about.
    pub fn new(speed: Speed) -> Pace {
        Pace { speed, start: None, origin: None }
    }

    /// Lets the first frame have been due at `start`, so that what came between is caught up on.
    pub fn since(&mut self, start: Instant) {
        self.start = Some(start);
    }

    /// How long until a frame of capture time `time` is due; `None` if it is due now. Frames that step back are due.
    #[inline(always)]
    pub fn until(&mut self, time: u64) -> Option<Duration> {
        if self.speed == Speed::Max {
            return None;
        }
        self.until_paced(time)
    }

    /// Capture time that the clock has reached; `None` at full speed and before the first frame.
    pub fn reached(&self) -> Option<u64> {
        let (start, first) = self.origin?;
        Some(first.saturating_add(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)))
    }

    fn until_paced(&mut self, time: u64) -> Option<Duration> {
        let now = Instant::now();
        let (start, first) = *self.origin.get_or_insert((self.start.unwrap_or(now), time));
        let due = Duration::from_nanos(time.saturating_sub(first));
        due.checked_sub(now.duration_since(start)).filter(|rest| !rest.is_zero())
    }
}
