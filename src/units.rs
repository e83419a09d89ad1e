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

    /// Reads RFC 3339 as [`Timestamp::to_rfc3339`] and [`Timestamp::to_eve`] write it: a fraction of any length or none, cut to
    /// nanoseconds, and `Z` or an offset with or without its colon. A blank passes for the `+` of an offset, which a form
    /// makes one of.
    pub fn from_rfc3339(text: &str) -> Option<Timestamp> {
        let bytes = text.as_bytes();
        let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if !marks.iter().all(|(at, mark)| bytes.get(*at).is_some_and(|byte| byte.eq_ignore_ascii_case(mark))) {
            return None;
        }
        let number = |at: usize, length: usize| digits(bytes.get(at..at + length)?);
        let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
        let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
        let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
        let mut rest = bytes.get(19..).filter(|_| in_range && year >= 1970)?;
        let mut nanoseconds = 0;
        if let Some(fraction) = rest.strip_prefix(b".") {
            let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let shown = fraction.get(..length.min(9)).filter(|shown| !shown.is_empty())?;
            nanoseconds = digits(shown)? * 10u64.pow(9 - shown.len() as u32); // at most nine
            rest = fraction.get(length..)?;
        }
        let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        let seconds = match rest {
            b"Z" | b"z" => Some(seconds),
            [sign, hours @ ..] => {
                let hours = [hours.get(..2)?, hours.get(hours.len().checked_sub(2)?..)?];
                let is_whole = rest.len() == 5 || rest.len() == 6 && rest.get(3) == Some(&b':');
                let offset = digits(hours[0]).filter(|hours| is_whole && *hours < 24)? * 3_600 + digits(hours[1])? * 60;
                match sign {
                    b'+' | b' ' => seconds.checked_sub(offset),
                    b'-' => seconds.checked_add(offset),
                    _ => None,
                }
            }
            [] => None,
        }?;
        seconds.checked_mul(SECOND)?.checked_add(nanoseconds).map(Timestamp)
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

/// Moments in answers: written as RFC 3339 with microseconds; read so, or as nanoseconds since 1970, as rows of before have
/// them. For serde's `with`.
pub mod rfc3339 {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// See the module.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time.to_rfc3339())
    }

    /// See the module.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u64),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(nanoseconds) => Ok(Timestamp(nanoseconds)),
            Form::Text(text) => {
                Timestamp::from_rfc3339(&text).ok_or_else(|| D::Error::custom(format!("{text} is no time of RFC 3339")))
            }
        }
    }
}

/// Decimal digits and nothing else, at most nine.
fn digits(bytes: &[u8]) -> Option<u64> {
    bytes.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar; from March on a year has its leap day at its end.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469
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
            for written in [stamp.to_rfc3339(), stamp.to_eve()] {
                assert_eq!(Timestamp::from_rfc3339(&written), Some(stamp), "{written}");
            }
        }
    }

    #[test]
    fn since_never_wraps() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), 0);
        assert_eq!(Timestamp(u64::MAX).after(9), Timestamp(u64::MAX));
    }

    #[test]
    fn times_are_read_as_they_are_written_and_no_others() {
        for (text, wanted) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01t00:00:01.5z", Some(1_500_000_000)),
            ("1970-01-01T01:00:00.000000001+01:00", Some(1)),
            ("1970-01-01T01:00:00 0100", Some(0)),
            ("1969-12-31T23:00:00-0100", None),
            ("1970-01-01T00:00:00-0030", Some(1_800 * SECOND)),
            ("1970-01-01T00:00:00.1234567891Z", Some(123_456_789)),
            ("2026-11-22", None),
            ("2026-11-22T00:00:00", None),
            ("2026-11-22T00:00:00.Z", None),
            ("2026-13-22T00:00:00Z", None),
            ("2026-11-22T24:00:00Z", None),
            ("2026-11-22T00:00:00+1", None),
            ("2026-11-22T00:00:00+", None),
            ("2026-11-22T00:00:00Zx", None),
            ("+026-11-22T00:00:00Z", None),
            ("9999-12-31T23:59:59Z", None),
            ("", None),
        ] {
            assert_eq!(Timestamp::from_rfc3339(text), wanted.map(Timestamp), "{text}");
        }
    }
}
