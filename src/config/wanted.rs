//! What serde says of a wrong type, in the words of the file: which key, which kind of value, and an example of it, which
//! is the key's line on the reference page.

use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// The page that shows every key with its default.
const PAGE: &str = include_str!("../../CONFIG.md");

/// Message and remedy for an error that is no unknown key.
pub(super) fn explain(text: &str, message: &str, span: Option<Range<usize>>) -> (String, String) {
    let Some(key) = span.and_then(|span| key_at(text, &span)) else {
        let remedy = "correct the line: TOML has `[section]`, `key = value`, text in quotes, lists in square brackets";
        return (message.to_owned(), remedy.to_owned());
    };
    let (found, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let found = found.replace(" as i128", "");
    let kind = kind(expected);
    let message =
        if kind.is_empty() { format!("`{key}`: {found}") } else { format!("`{key}`: {found}, expected {kind}") };
    let bare = key.rsplit('.').next().unwrap_or(&key);
    let section = section_of(bare).filter(|_| bare == key);
    let remedy = match (example(&key), section) {
        (_, Some(header)) => format!("write {header} on a line of its own, and the section's keys below it"),
        (Some(example), None) => format!("write it as in `{example}`, or leave the key out for its default"),
        (None, None) => format!("write {kind}; CONFIG.md lists every key"),
    };
    (message, remedy)
}

/// A kind of value as the file has it, for serde's word.
fn kind(expected: &str) -> &str {
    match expected {
        "i64" | "u64" | "usize" | "u32" | "u16" | "u8" => "a whole number",
        "f64" | "f32" => "a number",
        "a boolean" => "true or false",
        "a string" => "text in quotes",
        "a sequence" => "a list in square brackets",
        other if other.starts_with("struct ") => "a table of keys",
        other => other,
    }
}

/// Dotted path of the innermost value round `span`.
fn key_at(text: &str, span: &Range<usize>) -> Option<String> {
    let document = DeTable::parse(text).ok()?;
    let mut found = Vec::new();
    collect(document.get_ref(), "", &mut found);
    let round = found.into_iter().filter(|(at, _)| at.start <= span.start && span.end <= at.end);
    round.min_by_key(|(at, _)| at.len()).map(|(_, key)| key)
}

fn collect(table: &DeTable<'_>, prefix: &str, found: &mut Vec<(Range<usize>, String)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
        found.push((value.span(), key.clone()));
        match value.get_ref() {
            DeValue::Table(inner) => collect(inner, &key, found),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        collect(inner, &format!("{key}[{index}]"), found);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Lines of the page's block of TOML without the marks that switch them off.
fn lines() -> impl Iterator<Item = &'static str> {
    let block = PAGE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
    block.lines().map(|line| line.trim_start_matches("# "))
}

/// The name in a section's header.
fn header(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?.trim_start_matches('[').split(']').next()?;
    name.chars().all(|letter| letter.is_ascii_lowercase() || "._".contains(letter)).then_some(name)
}

/// `[flow]` or `[[interface]]`, where that is a section.
fn section_of(name: &str) -> Option<&'static str> {
    lines()
        .find(|line| header(line) == Some(name))
        .and_then(|line| line.split_inclusive([' ', '#']).next())
        .map(str::trim)
}

/// The key's line on the page.
fn example(key: &str) -> Option<&'static str> {
    let (section, key) = key.rsplit_once('.')?;
    let section = section.split('[').next()?;
    let mut inside = false;
    lines().find_map(|line| {
        if let Some(name) = header(line) {
            inside = name == section;
            return None;
        }
        let is_it = inside && line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
        is_it.then(|| line.split(" #").next().unwrap_or(line).trim_end())
    })
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn a_wrong_type_names_the_key_the_kind_and_an_example() {
        for (text, message, remedy) in [
            (
                "[flow]\ncapacity = \"big\"",
                "`flow.capacity`: invalid type: string \"big\", expected a whole number",
                "`capacity = 262144`",
            ),
            (
                "[http]\nlisten = 5",
                "`http.listen`: invalid type: integer `5`, expected text in quotes",
                "\"127.0.0.1:7470\"`",
            ),
            ("[model]\nenabled = 1", "expected true or false", "`enabled = true`"),
            ("[workers]\ncores = 3", "expected a list in square brackets", "`cores = [1, 2, 3]`"),
            ("[[interface]]\nname = 3", "`interface[0].name`: invalid type", "`name = \"eth1\"`"),
            (
                "[detect.scan]\nports = \"x\"",
                "`detect.scan.ports`: invalid type: string \"x\", expected a number",
                "`ports = ",
            ),
            ("[detect.flood]\nsyn = { slack = 1.0 }", "`detect.flood.syn`: missing field `limit`", "`syn = { slack = "),
            ("flow = 3", "`flow`: invalid type: integer `3`, expected a table of keys", "write [flow] on a line"),
            ("[flow]\ncapacity = 99999999999999999999", "integer `99999999999999999999`, expected a whole", "262144"),
            ("[flow", "unclosed table", "TOML has `[section]`"),
        ] {
            let error = parse("t.toml", text, std::iter::empty()).expect_err(text);
            assert!(error.message.contains(message), "{text}: {error}");
            assert!(error.remedy.contains(remedy), "{text}: {error}");
            assert!(error.place.is_some(), "{text}: {error}");
        }
    }

    /// An error points at what is written, and says what can be written instead.
    #[test]
    fn two_keys_that_do_not_fit_point_at_the_written_one() {
        for (text, line, says) in [
            (
                "[detect.scan]\ntheta0 = 0.1",
                (2, 10),
                "`detect.scan.theta1` is 0.2, which is not below `detect.scan.theta0`: 0.1",
            ),
            ("[detect.scan]\necho_theta0 = 0.01", (2, 15), "`detect.scan.echo_theta0`: 0.01"),
            ("[detect.scan]\nbeta = 0.001", (2, 8), "`detect.scan.beta`: 0.001"),
            ("[detect.scan]\nalpha = 0.995", (2, 9), "`detect.scan.alpha` is 0.995"),
            ("[detect.scan]\ntheta0 = 0.3\ntheta1 = 0.4", (3, 10), "`detect.scan.theta1` is 0.4"),
        ] {
            let error = parse("t.toml", text, std::iter::empty()).expect_err(text);
            assert_eq!(error.place, Some(line), "{error}");
            assert!(error.message.contains(says), "{error}");
        }
        let error = parse("t.toml", "[detect.scan]\ntheta0 = 0.1", std::iter::empty()).unwrap_err();
        let remedy = "write `detect.scan.theta1` below 0.1, or `detect.scan.theta0` above 0.2";
        assert!(error.remedy.contains(remedy) && !error.remedy.contains("leave"), "{error}");
    }
}
