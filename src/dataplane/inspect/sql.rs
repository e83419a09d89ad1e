//! Inputs that end the value they stand in and go on as SQL (CWE-89): of forms, JSON, cookies and queries.
//!
//! A value is looked at as it would arrive behind a careless server: decoded from percent signs twice, in lower case, with
//! comments as blanks and, once more, as nothing, and what MySQL reads of a comment (`/*!50000union*/`) as it is. What
//! follows must continue a statement *where a value can end*: behind the first quote, or behind a number at its beginning.
//! So a text about SQL, which has whole statements between words, is none. Nothing is kept, nothing allocates, and the work
//! is bounded: [`VALUE_MAX`] bytes of a value, [`VALUES_MAX`] values of an input.

use super::text::Text;

/// Bytes of a value that are looked at, decoded.
pub const VALUE_MAX: usize = 512;
/// Values of an input that are looked at.
pub const VALUES_MAX: usize = 64;
/// Bytes behind the place where a value ends within which the statement shows.
const BEHIND: usize = 200;
/// Bytes of a word or a number in a comparison.
const OPERAND_MAX: usize = 40;

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// It is written for nothing else.
    pub is_sure: bool,
    /// Sixteen bits of a hash of the value as it was read: enough to count different ones by.
    pub hash: u16,
}

/// Of a query or a form (`a=1&b=2`), the first value that is SQL without doubt, else the first that may be.
pub fn in_form(form: &[u8]) -> Option<Found> {
    let values = form.split(|byte| *byte == b'&').map(|pair| behind(pair, b'='));
    best(values.map(|value| in_value(value, true)))
}

/// Of cookies (`a=1; b=2`).
pub fn in_cookies(cookies: &[u8]) -> Option<Found> {
    let values = cookies.split(|byte| *byte == b';').map(|pair| behind(pair, b'='));
    best(values.map(|value| in_value(value, true)))
}

/// Of JSON: each of its texts.
pub fn in_json(json: &[u8]) -> Option<Found> {
    best(Strings(json).map(in_text))
}

/// Of anything else: each of its lines, which for forms in parts are their values.
pub fn in_lines(text: &[u8]) -> Option<Found> {
    best(text.split(|byte| *byte == b'\n').map(|line| in_value(line.trim_ascii_end(), false)))
}

fn best(found: impl Iterator<Item = Option<Found>>) -> Option<Found> {
    let mut unsure = None;
    for found in found.take(VALUES_MAX).flatten() {
        if found.is_sure {
            return Some(found);
        }
        unsure = unsure.or(Some(found));
    }
    unsure
}

fn behind(pair: &[u8], sign: u8) -> &[u8] {
    let at = pair.iter().position(|byte| *byte == sign);
    at.and_then(|at| pair.get(at + 1..)).unwrap_or(pair)
}

/// Texts of JSON, as they are between their quotes.
struct Strings<'a>(&'a [u8]);

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let begin = self.0.iter().position(|byte| *byte == b'"')? + 1;
        let rest = self.0.get(begin..)?;
        let (mut end, mut escaped) = (rest.len(), false);
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        self.0 = rest.get(end + 1..).unwrap_or_default();
        rest.get(..end)
    }
}

fn digit(byte: Option<&u8>) -> Option<u8> {
    byte.and_then(|byte| char::from(*byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok())
}

/// A value of JSON: its escapes first.
fn in_text(value: &[u8]) -> Option<Found> {
    if is_plain(value) {
        return None;
    }
    let mut text = Text::<VALUE_MAX>::default();
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'\\', [b'u', b'0', b'0', high, low, behind @ ..]) => {
                if let (Some(high), Some(low)) = (digit(Some(high)), digit(Some(low))) {
                    text.push(high << 4 | low);
                }
                rest = behind;
            }
            (b'\\', [escaped, behind @ ..]) => {
                text.push(if matches!(escaped, b'n' | b't' | b'r') { b' ' } else { *escaped });
                rest = behind;
            }
            _ => text.push(*byte),
        }
        if text.is_cut() {
            break;
        }
    }
    in_value(text.as_bytes(), false)
}

/// Has it nothing that a statement needs between its words?
fn is_plain(value: &[u8]) -> bool {
    !value
        .iter()
        .take(VALUE_MAX)
        .any(|byte| matches!(byte, b' ' | b'\t' | b'+' | b'%' | b'\'' | b'"' | b'(' | b'/' | b'\\'))
}

fn in_value(value: &[u8], has_plus: bool) -> Option<Found> {
    if is_plain(value) {
        return None;
    }
    let (mut once, mut twice) = (Text::<VALUE_MAX>::default(), Text::<VALUE_MAX>::default());
    decode(value, has_plus, &mut once);
    decode(once.as_bytes(), false, &mut twice);
    let decoded = twice.as_bytes();
    let of = |blanks: bool| {
        let mut text = Text::<VALUE_MAX>::default();
        normalise(decoded, blanks, &mut text);
        let is_sure = statement(text.as_bytes())?;
        let hash = text
            .as_bytes()
            .iter()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        Some(Found { is_sure, hash: (hash >> 16) as u16 ^ (hash & 0xffff) as u16 }) // of 16 bits each
    };
    let has_comment = decoded.windows(2).any(|pair| pair == b"/*");
    of(true).or_else(|| has_comment.then(|| of(false)).flatten())
}

/// `%41` and, where they are blanks, `+`; in lower case.
fn decode<const N: usize>(value: &[u8], has_plus: bool, text: &mut Text<N>) {
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let byte = match (byte, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                rest = after.get(2..).unwrap_or_default();
                high << 4 | low
            }
            (b'+', ..) if has_plus => b' ',
            _ => *byte,
        };
        text.push(byte.to_ascii_lowercase());
        if text.is_cut() {
            return;
        }
    }
}

/// One blank for each run of them; comments as blanks or as nothing. `--` and `#` are comments where a line follows.
fn normalise<const N: usize>(decoded: &[u8], are_blanks: bool, text: &mut Text<N>) {
    let mut rest = decoded;
    let mut opened = false;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let blank = |text: &mut Text<N>| {
            if text.as_bytes().last() != Some(&b' ') {
                text.push(b' ');
            }
        };
        let line_end = || after.iter().position(|byte| *byte == b'\n').and_then(|end| after.get(end + 1..));
        match (byte, after) {
            // What MySQL reads, from a version on.
            (b'/', [b'*', b'!', inside @ ..]) => {
                let digits = inside.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
                rest = inside.get(digits..).unwrap_or_default();
                opened = true;
                if are_blanks {
                    blank(text);
                }
            }
            (b'*', [b'/', behind @ ..]) if opened => {
                rest = behind;
                opened = false;
                if are_blanks {
                    blank(text);
                }
            }
            (b'/', [b'*', inside @ ..]) => {
                let end = inside.windows(2).position(|pair| pair == b"*/");
                match end.and_then(|end| inside.get(end + 2..)) {
                    Some(behind) => rest = behind,
                    // Up to the end of the statement.
                    None => {
                        text.extend(b"/*");
                        return;
                    }
                }
                if are_blanks {
                    blank(text);
                }
            }
            (b'-', [b'-', ..]) | (b'#', _) if line_end().is_some() => {
                rest = line_end().unwrap_or_default();
                blank(text);
            }
            (0 | 9..=13 | b' ' | 0xa0, _) => blank(text),
            _ => text.push(*byte),
        }
        if text.is_cut() {
            return;
        }
    }
}

/// Does a value continue as a statement, and is that without doubt? Of one that was read.
fn statement(text: &[u8]) -> Option<bool> {
    let text = text.trim_ascii();
    let mut unsure = None;
    if let Some(rest) = text.strip_prefix(b"(").map(opened)
        && word(rest).0 == b"select"
    {
        return Some(true);
    }
    let quotes = [b'\'', b'"'].into_iter().filter_map(|quote| {
        let at = text.iter().position(|byte| *byte == quote)?;
        // Behind words and a blank it opens what is quoted.
        let words = text.get(..at)?;
        if words.ends_with(b" ") && words.trim_ascii().contains(&b' ') {
            return None;
        }
        Some((text.get(at + 1..)?, true, at))
    });
    for (rest, is_quoted, at) in number(text).map(|rest| (rest, false, 0)).into_iter().chain(quotes) {
        let rest = rest.get(..BEHIND).unwrap_or(rest);
        match continues(closed(rest), is_quoted, at) {
            Some(true) => return Some(true),
            found => unsure = unsure.or(found),
        }
    }
    unsure
}

/// What follows the number that a value begins with, a blank or a bracket between them.
fn number(text: &[u8]) -> Option<&[u8]> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let count = digits.iter().take(11).take_while(|byte| byte.is_ascii_digit()).count();
    let rest = digits.get(count..)?;
    let is_end = matches!(rest.first(), Some(b' ' | b')' | b';' | b'|' | b'&' | b'-' | b'+' | b'*' | b'/' | b','));
    ((1..=10).contains(&count) && is_end).then_some(rest)
}

fn skipped(text: &[u8], skips: impl Fn(&u8) -> bool) -> &[u8] {
    let count = text.iter().take_while(|byte| skips(byte)).count();
    text.get(count..).unwrap_or_default()
}

/// Without blanks and closing brackets in front.
fn closed(text: &[u8]) -> &[u8] {
    skipped(text, |byte| matches!(byte, b' ' | b')'))
}

/// Without blanks and opening brackets in front.
fn opened(text: &[u8]) -> &[u8] {
    skipped(text, |byte| matches!(byte, b' ' | b'('))
}

/// A word, and what is behind it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let count =
        text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'@' | b'.')).count();
    text.split_at_checked(count).unwrap_or_default()
}

/// The statement goes on at the beginning of `text`.
fn continues(text: &[u8], is_quoted: bool, at: usize) -> Option<bool> {
    let (first, behind) = word(text);
    match first {
        b"union" => {
            let (second, behind) = word(opened(behind));
            let third = if matches!(second, b"all" | b"distinct") { word(opened(behind)).0 } else { second };
            (third == b"select").then_some(true)
        }
        b"order" | b"group" => {
            let (second, behind) = word(opened(behind));
            let (column, behind) = word(opened(behind));
            let is_end = matches!(behind.trim_ascii_start().first(), None | Some(b'-' | b'#' | b'/' | b',' | b')'));
            (second == b"by" && !column.is_empty() && column.iter().all(u8::is_ascii_digit) && is_end).then_some(false)
        }
        b"procedure" => (word(opened(behind)).0 == b"analyse").then_some(true),
        b"waitfor" => (word(opened(behind)).0 == b"delay").then_some(true),
        b"into" => matches!(word(opened(behind)).0, b"outfile" | b"dumpfile").then_some(true),
        b"or" | b"and" | b"xor" | b"having" | b"rlike" | b"regexp" | b"like" | b"between" | b"div" | b"mod"
        | b"where" => {
            if is_strong(behind) {
                return Some(true);
            }
            compares(behind, is_quoted).then_some(false)
        }
        b"" => sign(text, is_quoted, at),
        _ => None,
    }
}

/// The statement goes on with a sign.
fn sign(text: &[u8], is_quoted: bool, at: usize) -> Option<bool> {
    // What is left of the statement is a comment, and the value was no more than a name.
    const NAME_MAX: usize = 32;
    let is_comment = text.starts_with(b"--") || text.starts_with(b"#") || text.starts_with(b"/*");
    if is_comment && is_quoted {
        return (at <= NAME_MAX && text.len() <= 8).then_some(false);
    }
    let rest = skipped(text, |byte| {
        matches!(byte, b' ' | b'(' | b'|' | b'&' | b';' | b'+' | b'-' | b'*' | b'/' | b',' | b'\'')
    });
    let (first, behind) = word(rest);
    let has_one = text.len() != rest.len();
    match first {
        _ if !has_one => None,
        b"select" if text.starts_with(b";") || !is_quoted || text.contains(&b'(') => is_query(behind).then_some(true),
        b"insert" | b"update" | b"delete" | b"drop" | b"create" | b"alter" | b"truncate" | b"exec" | b"execute"
        | b"declare" | b"shutdown" | b"waitfor"
            if text.starts_with(b";") =>
        {
            is_stacked(first, behind).then_some(true)
        }
        b"or" | b"and" | b"xor" => continues(rest, is_quoted, at),
        _ if is_function(first) && behind.first() == Some(&b'(') => Some(true),
        // `'||'1'='1`
        _ if text.starts_with(b"||") || text.starts_with(b"&&") => compares(text.get(2..)?, is_quoted).then_some(false),
        _ => None,
    }
}

/// What a select is behind a value: of something, or of a function or a number.
fn is_query(behind: &[u8]) -> bool {
    let (first, rest) = word(opened(behind));
    is_strong(behind)
        || !first.is_empty() && first.iter().all(u8::is_ascii_digit)
        || rest.first() == Some(&b'(')
        || words(behind).any(|(word, _)| word == b"from")
}

/// A second statement has its second word too.
fn is_stacked(first: &[u8], behind: &[u8]) -> bool {
    let (second, _) = word(opened(behind));
    match first {
        b"insert" => second == b"into",
        b"delete" => second == b"from",
        b"update" => words(behind).any(|(word, _)| word == b"set"),
        b"drop" | b"create" | b"alter" | b"truncate" => {
            matches!(
                second,
                b"table" | b"database" | b"user" | b"login" | b"procedure" | b"function" | b"view" | b"schema"
            )
        }
        b"exec" | b"execute" => second.contains(&b'_'),
        b"declare" => second.starts_with(b"@"),
        b"waitfor" => second == b"delay",
        _ => second.is_empty(),
    }
}

/// Functions that are called for what they do to a data base, not for what they give.
fn is_function(word: &[u8]) -> bool {
    matches!(
        word,
        b"sleep"
            | b"benchmark"
            | b"pg_sleep"
            | b"extractvalue"
            | b"updatexml"
            | b"load_file"
            | b"randomblob"
            | b"xp_cmdshell"
    ) || word.starts_with(b"dbms_")
}

/// Each word, and what is behind it.
fn words(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let begin = skipped(rest, |byte| !byte.is_ascii_alphanumeric());
        let (one, behind) = word(begin);
        rest = behind;
        (!one.is_empty()).then_some((one, behind))
    })
}

/// Has it a select in brackets, one of those functions, or the catalogue's name?
fn is_strong(text: &[u8]) -> bool {
    let has_select = text.windows(7).any(|part| part == b"(select");
    has_select
        || words(text).any(|(word, behind)| {
            is_function(word) && behind.first() == Some(&b'(') || word.starts_with(b"information_schema")
        })
}

/// One operand, and what compares it: `1=1`, `'a'='a`, `name like`; or a truth and the end.
fn compares(text: &[u8], is_quoted: bool) -> bool {
    let text = opened(text);
    let (text, is_not) = match word(text) {
        (b"not" | b"exists", behind) => (opened(behind), true),
        _ => (text, false),
    };
    let (operand, behind, is_name) = match text.first() {
        Some(quote @ (b'\'' | b'"')) => {
            let inside = text.get(1..).unwrap_or_default();
            let Some(end) = inside.iter().take(OPERAND_MAX).position(|byte| byte == quote) else { return false };
            (inside.get(..end).unwrap_or_default(), inside.get(end + 1..).unwrap_or_default(), false)
        }
        _ => {
            let (operand, behind) = word(text);
            (operand, behind, !operand.iter().all(u8::is_ascii_digit))
        }
    };
    if operand.len() > OPERAND_MAX || operand.is_empty() && is_name || is_name && !is_quoted {
        return false;
    }
    let behind = closed(behind);
    let is_compared = matches!(behind.first(), Some(b'=' | b'<' | b'>'))
        || behind.starts_with(b"!=")
        || matches!(word(behind).0, b"like" | b"in" | b"between" | b"rlike" | b"regexp");
    let is_end = matches!(behind, [] | [b'#', ..] | [b'-', b'-', ..] | [b'/', b'*', ..]);
    let is_truth = operand == b"true" || !operand.is_empty() && operand.iter().all(u8::is_ascii_digit);
    is_compared || is_quoted && is_end && (is_truth || is_not)
}

#[cfg(test)]
mod tests;
