//! `[[feed]]`: lists of others.

use super::error::Invalid;
use super::raw::RawFeed;
use super::values::{number, word};
use crate::control::behaviour::intel::{FeedPlan, Format};
use std::path::PathBuf;

/// Each observation is looked up in each of them.
const FEEDS_MAX: usize = 64;

/// The feeds as the program may rely on them; that their files can be read is found at start.
///
/// # Errors
/// The first value that cannot be meant.
pub(super) fn plan(feeds: &[RawFeed]) -> Result<Vec<FeedPlan>, Invalid> {
    let mut plans: Vec<FeedPlan> = Vec::new();
    let invalid =
        |key: String, problem: String, remedy: &str| Err(Invalid { key, problem, remedy: remedy.into(), other: None });
    if feeds.len() > FEEDS_MAX {
        return invalid("feed".into(), format!("has {} sections", feeds.len()), "join files: 64 feeds at most");
    }
    for (index, raw) in feeds.iter().enumerate() {
        let key = |name: &str| format!("feed[{index}].{name}");
        let Some(path) = raw.path.as_deref().filter(|path| !path.is_empty()).map(PathBuf::from) else {
            return invalid(
                key("path"),
                "is missing".into(),
                "name the file: path = \"/var/lib/shrike/feeds/bad.txt\"",
            );
        };
        let of_file = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name = raw.name.clone().unwrap_or_else(of_file);
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            return invalid(key("name"), format!("is {name:?}"), "write 1 to 64 letters that can be seen");
        }
        if plans.iter().any(|other| other.name == name) {
            return invalid(
                key("name"),
                format!("is {name:?} a second time"),
                "name each feed otherwise: alerts tell it",
            );
        }
        let formats = [("auto", Format::Auto), ("base64", Format::Base64)];
        let some = |count: u64| (count > 0).then_some(count);
        plans.push(FeedPlan {
            name,
            path,
            format: word(&key("format"), raw.format.as_deref(), &formats, Format::Auto)?,
            percent: number(&key("confidence"), raw.confidence, 80, 1, 100)? as u8,
            valid_days: some(number(&key("valid_days"), raw.valid_days, 0, 0, 36_500)?),
            stale_hours: some(number(&key("stale_hours"), raw.stale_hours, 168, 0, 87_600)?),
        });
    }
    Ok(plans)
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn feeds_are_named_once_and_have_a_file() {
        let parsed = |text: &str| parse("t.toml", text, std::iter::empty()).map_err(|error| error.to_string());
        let plan =
            parsed("[[feed]]\npath = \"/a/bad.txt\"\n[[feed]]\npath = \"b\"\nname = \"x\"\nstale_hours = 0").unwrap();
        let told: Vec<_> = plan.feeds.iter().map(|feed| (feed.name.as_str(), feed.percent, feed.stale_hours)).collect();
        assert_eq!(told, [("bad", 80, Some(168)), ("x", 80, None)]);
        for (text, says) in [
            ("[[feed]]\nname = \"x\"", "feed[0].path"),
            ("[[feed]]\npath = \"a.txt\"\n[[feed]]\npath = \"b/a.txt\"", "feed[1].name"),
            ("[[feed]]\npath = \"a\"\nconfidence = 101", "feed[0].confidence"),
            ("[[feed]]\npath = \"a\"\nformat = \"xml\"", "feed[0].format"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
