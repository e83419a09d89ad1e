//! A moment as people and programs write it, for arguments and for parameters of the API alike.

use crate::units::{SECOND, Timestamp};
use std::time::{SystemTime, UNIX_EPOCH};

/// What [`parse`] takes, in words.
pub const FORMS: &str = "so long ago, up to ten years (30s, 5m, 2h, 1d), a day (2026-11-22, from midnight in UTC), a time of \
                         RFC 3339 (2026-11-22T14:03:22Z), or seconds since 1970 (1795350536, also with decimals, or in \
                         milli-, micro- or nanoseconds, told by their size)";

/// Numbers without a unit from here on are of milliseconds, microseconds and nanoseconds since 1970: as seconds this one is in the
/// year 5138, and as milliseconds in 1973.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

/// Longest time ago, seconds.
const AGO_MAX: u64 = 10 * 365 * 86_400;

/// The wall clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Reads one of [`FORMS`].
pub fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "" => return since_1970(number.parse().ok()?),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => {
            let decimals = unit.strip_prefix('.').filter(|part| part.bytes().all(|digit| digit.is_ascii_digit()));
            let moment = match decimals.filter(|part| (1..=9).contains(&part.len())) {
                Some(part) => {
                    let below = part.parse::<u64>().ok()? * 10_u64.pow(9 - part.len() as u32); // at most nine digits
                    let seconds = number.parse::<u64>().ok().filter(|seconds| *seconds < MILLISECONDS_FROM)?;
                    Some(Timestamp(seconds.checked_mul(SECOND)?.checked_add(below)?))
                }
                None => Timestamp::from_rfc3339(text).or_else(|| Timestamp::from_rfc3339(&format!("{text}T00:00:00Z"))),
            };
            return moment.filter(|moment| i64::try_from(moment.0).is_ok());
        }
    };
    let ago = number.parse::<u64>().ok()?.checked_mul(unit).filter(|ago| *ago <= AGO_MAX)?;
    Some(Timestamp(now.0.saturating_sub(ago * SECOND)))
}

/// A number of seconds, milliseconds, microseconds or nanoseconds, whichever it must be.
fn since_1970(number: u64) -> Option<Timestamp> {
    let steps = [SECOND, SECOND / 1_000, SECOND / 1_000_000, 1];
    let limits = [MILLISECONDS_FROM, MILLISECONDS_FROM * 1_000, MILLISECONDS_FROM * 1_000_000, u64::MAX];
    let (step, _) = steps.into_iter().zip(limits).find(|(_, limit)| number < *limit)?;
    number.checked_mul(step).filter(|ns| i64::try_from(*ns).is_ok()).map(Timestamp)
}

/// [`parse`] for an argument.
///
/// # Errors
/// [`FORMS`].
pub fn argument(text: &str) -> Result<Timestamp, String> {
    parse(text, now()).ok_or_else(|| FORMS.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_each_form_and_in_no_other() {
        let now = Timestamp(1_700_000_000 * SECOND);
        for (text, wanted) in [
            ("30s", Some(1_699_999_970 * SECOND)),
            ("5m", Some(1_699_999_700 * SECOND)),
            ("2h", Some(1_699_992_800 * SECOND)),
            ("1d", Some(1_699_913_600 * SECOND)),
            ("0s", Some(now.0)),
            ("3650d", Some((1_700_000_000 - AGO_MAX) * SECOND)),
            ("1970-01-01T00:00:05Z", Some(5 * SECOND)),
            ("1970-01-01T01:00:00.5+01:00", Some(SECOND / 2)),
            ("7", Some(7 * SECOND)),
            ("1795350536", Some(1_795_350_536 * SECOND)),
            ("1795350536.25", Some(1_795_350_536 * SECOND + SECOND / 4)),
            ("1795350536.000000001", Some(1_795_350_536 * SECOND + 1)),
            ("1795350536123", Some(1_795_350_536_123 * (SECOND / 1_000))),
            ("1795350536123456", Some(1_795_350_536_123_456 * 1_000)),
            ("1795350536123456789", Some(1_795_350_536_123_456_789)),
            ("9999999999", None),
            ("1795350536.", None),
            ("1795350536.0000000001", None),
            ("2026-11-22", Some(1_795_305_600 * SECOND)),
            ("2026-11-32", None),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("3651d", None),
            ("99999999999999999999s", None),
            ("", None),
            ("m", None),
            ("-1s", None),
            ("1.5h", None),
            ("5 m", None),
            ("yesterday", None),
        ] {
            assert_eq!(parse(text, now), wanted.map(Timestamp), "{text}");
        }
        assert_eq!(parse("1d", Timestamp(5)), Some(Timestamp(0)), "not before time began");
    }
}
