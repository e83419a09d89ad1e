//! What is still being learnt, since when and until when, in words for people.
//!
//! A sensor knows nothing of what went on before it began to look: what goes on from the first hour is its picture of the usual, an
//! attack that was there already included. That cannot be helped from the wire; it can be said. Who wants to know earlier starts from
//! the state file of a former run (`*.behaviour.json`), which keeps the time since when things were seen.

use super::adaptive::WARM_UP;
use crate::units::{SECOND, Timestamp};

const MINUTE_NS: u64 = 60 * SECOND;
const HOUR_NS: u64 = 60 * MINUTE_NS;
const DAY_H: u64 = 24;

/// What is learnt within so many hours, and what that means meanwhile.
const LEARNT: [(u64, &str, &str); 3] = [
    (
        DAY_H,
        "which places hosts go to",
        "what calls home or uploads since then passes for usual: told low, late or not at all",
    ),
    (
        WARM_UP as u64 * DAY_H,
        "what is usual for an hour of the day (uploads, TLS, growth, paths between hosts)",
        "nothing is unusual yet; fixed limits alone are told",
    ),
    (7 * WARM_UP as u64 * DAY_H, "what is usual for an hour of the week", "a Monday is held against all days"),
];

/// What is still being learnt at `now` by who sees something since `since`, a sentence each.
pub fn notes(since: Option<Timestamp>, now: Timestamp) -> Vec<String> {
    let Some(since) = since else { return Vec::new() };
    let open = LEARNT.iter().map(|(hours, what, meanwhile)| (since.after(hours * HOUR_NS), what, meanwhile));
    open.filter(|(until, ..)| now < *until)
        .map(|(until, what, meanwhile)| {
            format!("still learning since {} until {}: {what}; {meanwhile}", minute(since), minute(until))
        })
        .collect()
}

/// The same of a whole capture, in one line; `None`: it is longer than what is learnt by the hour of the day.
pub fn of_capture(since: Option<Timestamp>, end: Timestamp) -> Option<String> {
    let seen_ns = end.since(since?);
    let [day, days, _] = LEARNT.map(|(hours, ..)| hours);
    if seen_ns >= days * HOUR_NS {
        return None;
    }
    let seen = match seen_ns {
        _ if seen_ns >= HOUR_NS => format!("{} h", seen_ns / HOUR_NS),
        _ if seen_ns >= MINUTE_NS => format!("{} min", seen_ns / MINUTE_NS),
        _ => format!("{} s", seen_ns / SECOND),
    };
    let places =
        if seen_ns < day * HOUR_NS { format!("which places are usual (takes {day} h) and ") } else { String::new() };
    Some(format!(
        "in {seen} not {places}what is usual by hour (takes {days} h): what would be unusual then is not told"
    ))
}

/// `2026-11-20 10:00 UTC`.
fn minute(time: Timestamp) -> String {
    let text = time.to_rfc3339();
    format!("{} UTC", text.get(..16).unwrap_or(&text).replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learnt_is_said_until_it_is() {
        let since = Timestamp(1_700_092_800 * SECOND);
        let open = |hours: u64| notes(Some(since), since.after(hours * HOUR_NS));
        assert_eq!([0, 23, 24, 72, 503, 504].map(|hours| open(hours).len()), [3, 3, 2, 1, 1, 0]);
        assert!(
            open(0)[0]
                .starts_with("still learning since 2023-11-16 00:00 UTC until 2023-11-17 00:00 UTC: which places")
        );
        assert_eq!(notes(None, since).len(), 0, "nothing was seen");
    }

    #[test]
    fn a_short_capture_says_what_it_cannot_tell() {
        let since = Timestamp(1_700_092_800 * SECOND);
        let said = |seconds: u64| of_capture(Some(since), since.after(seconds * SECOND)).unwrap_or_default();
        let cases = [
            (59, "in 59 s not which places are usual (takes 24 h) and what is usual by hour (takes 72 h)"),
            (600, "in 10 min not which places are usual (takes 24 h) and"),
            (30 * 3600, "in 30 h not what is usual by hour (takes 72 h)"),
        ];
        for (seconds, text) in cases {
            assert!(said(seconds).starts_with(text), "{}", said(seconds));
        }
        assert_eq!((said(72 * 3600).as_str(), of_capture(None, since)), ("", None));
    }
}
