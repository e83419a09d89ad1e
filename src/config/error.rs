//! Errors of the configuration: where, what, and what to write instead.

use super::wanted;
use std::fmt;
use std::ops::Range;

/// A value that parses and yet cannot be meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invalid {
    /// Dotted path of the key (`flow.capacity`, `interface[1].name`).
    pub key: String,
    /// What is wrong with it, the value included.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
    /// The key it does not fit, where it is two that do not.
    pub other: Option<String>,
}

impl Invalid {
    /// A value that must be below that of another key.
    pub fn order(key: &str, value: impl fmt::Display, other: &str, limit: impl fmt::Display) -> Invalid {
        Invalid {
            key: key.to_owned(),
            problem: format!("is {value}, which is not below `{other}`: {limit}"),
            remedy: format!(
                "write `{key}` below {limit}, or `{other}` above {value}; one that is not written has its default"
            ),
            other: Some(other.to_owned()),
        }
    }

    /// A value outside its range.
    pub fn range(key: &str, value: impl fmt::Display, allowed: impl fmt::Display) -> Invalid {
        Invalid {
            key: key.to_owned(),
            problem: format!("is {value}, allowed is {allowed}"),
            remedy: format!("choose {allowed}, or leave the key out for its default"),
            other: None,
        }
    }
}

/// One thing wrong with the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// File, `defaults` or `environment`.
    pub name: String,
    /// Line and column from 1, where the place is known.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// The line itself with a caret under the place.
    excerpt: String,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        if !self.excerpt.is_empty() {
            write!(f, "\n{}", self.excerpt)?;
        }
        write!(f, "\n  remedy: {}", self.remedy)
    }
}

impl ConfigError {
    pub(super) fn unreadable(name: String, cause: &std::io::Error) -> ConfigError {
        ConfigError {
            name,
            place: None,
            message: format!("cannot be read: {cause}"),
            remedy: "give the path of a readable TOML file with -c, or none for the defaults".into(),
            excerpt: String::new(),
        }
    }

    pub(super) fn not_text(name: String, cause: &std::string::FromUtf8Error) -> ConfigError {
        let at = cause.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&cause.as_bytes()[..at]).into_owned();
        let byte = cause.as_bytes().get(at).copied().unwrap_or_default();
        ConfigError {
            name,
            place: Some((
                before.matches('\n').count() + 1,
                before.rsplit('\n').next().unwrap_or("").chars().count() + 1,
            )),
            message: format!("byte {at} is 0x{byte:02x}: no UTF-8 text, as TOML must be"),
            remedy: "give a text file with -c; one in another encoding: iconv -f latin1 -t utf8".into(),
            excerpt: String::new(),
        }
    }

    pub(super) fn environment(variable: &str, problem: &str) -> ConfigError {
        ConfigError {
            name: "environment".into(),
            place: None,
            message: format!("{variable}: {problem}"),
            remedy: "correct or unset the variable".into(),
            excerpt: String::new(),
        }
    }

    pub(super) fn syntax(name: &str, text: &str, cause: &toml::de::Error) -> ConfigError {
        let message = cause.message().to_owned();
        let (message, remedy) = match nearest(&message) {
            Some((written, meant)) => (message, format!("write `{meant}` for `{written}`")),
            None if message.starts_with("unknown field") => {
                (message, "remove the key; CONFIG.md lists every key there is".into())
            }
            None => wanted::explain(text, &message, cause.span()),
        };
        ConfigError::at(name, text, cause.span(), message, remedy)
    }

    pub(super) fn invalid(name: &str, text: &str, invalid: Invalid) -> ConfigError {
        let written = |key: &str| locate(text, key);
        let span = written(&invalid.key).or_else(|| invalid.other.as_deref().and_then(written));
        ConfigError::at(name, text, span, format!("`{}` {}", invalid.key, invalid.problem), invalid.remedy)
    }

    fn at(name: &str, text: &str, span: Option<Range<usize>>, message: String, remedy: String) -> ConfigError {
        let place = span.as_ref().and_then(|span| text.get(..span.start)).map(|before| {
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            (line, column)
        });
        let excerpt = place
            .and_then(|(line, column)| text.lines().nth(line - 1).map(|found| (line, column, found)))
            .map(|(line, column, found)| {
                let number = line.to_string();
                // A caret every column: tabs and wide characters may shift it, the numbers above are exact.
                let width = span.map_or(1, |span| span.len()).clamp(1, found.chars().count().max(column) - column + 1);
                let pad = " ".repeat(number.len());
                format!("  {number} | {found}\n  {pad} | {}{}", " ".repeat(column - 1), "^".repeat(width))
            })
            .unwrap_or_default();
        ConfigError { name: name.to_owned(), place, message, remedy, excerpt }
    }
}

/// Where the value of a dotted key stands in the text.
fn locate(text: &str, key: &str) -> Option<Range<usize>> {
    let document = toml::de::DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut span = None;
    for part in key.split('.') {
        let (name, index) = match part.split_once('[') {
            Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
            None => (part, None),
        };
        let value = table.iter().find(|(found, _)| found.get_ref() == name).map(|(_, value)| value)?;
        span = Some(value.span());
        let mut inner = value.get_ref();
        if let (toml::de::DeValue::Array(items), Some(index)) = (inner, index) {
            let item = items.get(index)?;
            span = Some(item.span());
            inner = item.get_ref();
        }
        match inner {
            toml::de::DeValue::Table(next) => table = next,
            _ => break,
        }
    }
    span
}

/// The key nearest to an unknown one, read out of serde's own message; at most two edits away.
fn nearest(message: &str) -> Option<(String, String)> {
    let mut words = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let written = words.next()?.to_owned();
    let meant = words.min_by_key(|known| edits(&written, known))?;
    (edits(&written, meant) <= 2).then(|| (written, meant.to_owned()))
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let cost = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance() {
        assert_eq!((edits("capasity", "capacity"), edits("", "abc"), edits("same", "same")), (1, 3, 0));
    }
}
