//! Newtypes of the ground floor: time, identities of queues and workers. No behaviour beyond arithmetic.

use serde::{Deserialize, Serialize};

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub const MILLISECOND: u64 = 1_000_000;
/// Nanoseconds in a microsecond.
pub const MICROSECOND: u64 = 1_000;

/// A point in time: nanoseconds since the Unix epoch.
///
/// Live it is the wall clock at start carried forward by the TSC (so it never steps back); offline it is the capture's
/// own time stamp. Everything below the worker takes it as an argument and never reads a clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The later of two moments minus the earlier, zero if `earlier` is in fact later; nanoseconds.
    #[inline(always)]
    pub fn since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment plus `nanoseconds`, saturating at the end of time.
    #[inline(always)]
    pub fn after(self, nanoseconds: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(nanoseconds))
    }

    /// RFC 3339 with microseconds and the offset written `+0000`, as EVE JSON asks for.
    pub fn to_eve(self) -> String {
        let (year, month, day, hour, minute, second) = civil(self.0 / SECOND);
        let micros = (self.0 % SECOND) / MICROSECOND;
        let mut text = String::with_capacity("2000-01-01T00:00:00.000000+0000".len());
        // By hand: it is written three times a line, and `format!` takes six times as many instructions.
        for (number, digits, behind) in [
            (year, 4, "-"),
            (month, 2, "-"),
            (day, 2, "T"),
            (hour, 2, ":"),
            (minute, 2, ":"),
            (second, 2, "."),
            (micros, 6, "+0000"),
        ] {
            push_digits(number, digits, &mut text);
            text.push_str(behind);
        }
        text
    }

    /// RFC 3339 with microseconds in UTC (`Z`).
    pub fn to_rfc3339(self) -> String {
        let mut text = self.to_eve();
        text.truncate(text.len() - 5);
        text.push('Z');
        text
    }
}

/// The last `digits` digits of a number, at most six.
fn push_digits(number: u64, digits: usize, text: &mut String) {
    let (mut shown, mut rest) = ([b'0'; 6], number);
    for place in shown.iter_mut().take(digits).rev() {
        *place = b'0' + (rest % 10) as u8; // below 10
        rest /= 10;
    }
    text.extend(shown.iter().take(digits).map(|digit| char::from(*digit)));
}

/// Seconds since the epoch to (year, month, day, hour, minute, second) in UTC, proleptic Gregorian.
///
/// Source: the days-from-civil inversion over 400-year eras (146 097 days each).
fn civil(seconds: u64) -> (u64, u64, u64, u64, u64, u64) {
    let days = seconds / 86_400;
    let rest = seconds % 86_400;
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day, rest / 3_600, rest % 3_600 / 60, rest % 60)
}

/// Number of a queue within the whole program: dense from 0 over all interfaces, in configuration order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueueId(pub u16);

/// Number of a worker thread: dense from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(pub u16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eve_time_stamps_are_what_date_prints() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_709_251_199, "2024-02-29T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            let stamp = Timestamp(seconds * SECOND + 42_000);
            assert_eq!(stamp.to_eve(), format!("{text}.000042+0000"));
            assert_eq!(stamp.to_rfc3339(), format!("{text}.000042Z"));
        }
    }

    #[test]
    fn since_never_wraps() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), 0);
        assert_eq!(Timestamp(u64::MAX).after(9), Timestamp(u64::MAX));
    }
}
