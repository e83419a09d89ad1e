//! A moment as people and programs write it, for arguments and for parameters of the API alike.

use crate::units::{SECOND, Timestamp};
use std::time::{SystemTime, UNIX_EPOCH};

/// What [`parse`] takes, in words.
pub const FORMS: &str = "so long ago, up to ten years (30s, 5m, 2h, 1d), a time of RFC 3339 (2026-11-22T14:03:22Z), \
                         or nanoseconds since 1970 (below 2^63)";

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
        "" => return number.parse().ok().filter(|number| i64::try_from(*number).is_ok()).map(Timestamp),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Timestamp::from_rfc3339(text).filter(|moment| i64::try_from(moment.0).is_ok()),
    };
    let ago = number.parse::<u64>().ok()?.checked_mul(unit).filter(|ago| *ago <= AGO_MAX)?;
    Some(Timestamp(now.0.saturating_sub(ago * SECOND)))
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
            ("7", Some(7)),
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
            ("2026-11-22", None),
        ] {
            assert_eq!(parse(text, now), wanted.map(Timestamp), "{text}");
        }
        assert_eq!(parse("1d", Timestamp(5)), Some(Timestamp(0)), "not before time began");
    }
}
