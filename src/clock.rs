//! Time of the live data plane: the wall clock at start, carried forward by the TSC through `quanta`.
//!
//! One clock is made at start and cloned into every thread, so all of them agree. The wall clock is read once; later
//! steps of it (NTP, an operator) change nothing, by decision: durations stay true.

use crate::units::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Monotonic clock that counts in nanoseconds since the Unix epoch.
#[derive(Clone, Debug)]
pub struct Clock {
    inner: quanta::Clock,
    start_raw: u64,
    start_unix_ns: u64,
}

impl Clock {
    /// Reads the wall clock and calibrates the TSC (about 10 ms the first time in a process).
    pub fn new() -> Clock {
        let inner = quanta::Clock::new();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start_raw = inner.raw();
        Clock { inner, start_raw, start_unix_ns: u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX) }
    }

    /// The present moment; some 15 ns. Workers call it once per burst.
    #[inline(always)]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.start_unix_ns.wrapping_add(self.inner.delta_as_nanos(self.start_raw, self.inner.raw())))
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}
