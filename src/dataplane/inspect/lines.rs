//! Lines, words, numbers and Base64 off the wire, for the protocols that people could type.
//!
//! Nothing is kept here and nothing allocates; what is no text comes out as `None` or as it is.

use super::parse::{Anomaly, Match, Output, Step};
use super::text::Text;

/// A line of a stream whose lines are bounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Line<'a> {
    /// Without its end; cut at the limit.
    pub text: &'a [u8],
    /// Bytes to take for it.
    pub taken: usize,
    /// It was longer than the limit.
    pub is_cut: bool,
}

/// Cuts a stream into lines of at most a limit; what is longer is cut there and dropped up to its end. One per side.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Lines {
    dropping: bool,
}

impl Lines {
    /// The next line, or how to go on without one. The same lines come however the stream is cut.
    pub(super) fn next<'a>(&mut self, bytes: &'a [u8], limit: usize) -> Result<Line<'a>, Step> {
        if self.dropping {
            let end = memchr::memchr(b'\n', bytes);
            self.dropping = end.is_none();
            return Err(Step::Took(end.map_or(bytes.len(), |at| at + 1)));
        }
        let window = bytes.get(..limit).unwrap_or(bytes);
        if let Some(at) = memchr::memchr(b'\n', window) {
            let text = window.get(..at).unwrap_or_default();
            return Ok(Line { text: text.strip_suffix(b"\r").unwrap_or(text), taken: at + 1, is_cut: false });
        }
        if bytes.len() < limit {
            return Err(Step::Need(bytes.len() + 1));
        }
        self.dropping = true;
        Ok(Line { text: window, taken: window.len(), is_cut: true })
    }
}

/// Anomalies that were told already, by index: each is told once in a flow.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Told(u32);

impl Told {
    /// Tells `anomaly` unless it was.
    pub(super) fn once(&mut self, anomaly: Anomaly, out: &mut dyn Output) {
        let bit = 1u32.checked_shl(u32::from(anomaly.index)).unwrap_or(0);
        if self.0 & bit == 0 {
            self.0 |= bit;
            out.anomaly(anomaly);
        }
    }
}

/// Does `bytes` begin with `prefix`, upper and lower case alike? `Maybe` where it is too short to tell.
pub(super) fn begins(bytes: &[u8], prefix: &[u8]) -> Match {
    let length = bytes.len().min(prefix.len());
    let same = bytes.iter().zip(prefix).all(|(one, other)| one.eq_ignore_ascii_case(other));
    match (same, length == prefix.len()) {
        (false, _) => Match::No,
        (true, true) => Match::Yes,
        (true, false) => Match::Maybe,
    }
}

/// What is there of a line without an end; it may have been cut between the two bytes that end it.
pub(super) fn begun(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// What follows `prefix`, upper and lower case alike.
pub(super) fn after<'a>(bytes: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The first word, and what follows the blanks behind it.
pub(super) fn word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(bytes.len());
    let (first, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
    (first, rest.trim_ascii_start())
}

/// Splits at the first `at`, which belongs to neither part.
pub(super) fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = bytes.iter().position(|byte| *byte == at)?;
    let (head, rest) = bytes.split_at_checked(position)?;
    Some((head, rest.get(1..).unwrap_or_default()))
}

/// Where `needle` begins in `bytes`, upper and lower case alike. For short inputs.
pub(super) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len().max(1)).position(|window| window.eq_ignore_ascii_case(needle))
}

/// A number in decimal digits and nothing else.
pub(super) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A number in hexadecimal digits and nothing else.
pub(super) fn hexadecimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 16 {
        return None;
    }
    bytes.iter().try_fold(0u64, |value, byte| Some(value << 4 | u64::from(char::from(*byte).to_digit(16)?)))
}

/// Three digits at the start, as replies of FTP and SMTP have them, and what follows.
pub(super) fn reply(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(3)?;
    Some((decimal(digits)?, rest))
}

/// Graphic ASCII and blanks only.
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

/// Text with UTF-8 or old code pages in it, but no control characters.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\t')
}

/// Decodes Base64 into `place`, as far as it has room and up to the first character that is none; gives what was written.
pub(super) fn base64<'a>(bytes: &[u8], place: &'a mut [u8]) -> &'a [u8] {
    let (mut bits, mut count, mut written) = (0u32, 0u32, 0);
    for byte in bytes {
        let Some(value) = sextet(*byte) else { break };
        (bits, count) = (bits << 6 | u32::from(value), count + 6);
        if count >= 8 {
            count -= 8;
            let Some(slot) = place.get_mut(written) else { break };
            *slot = (bits >> count) as u8; // the eight bits that are complete
            written += 1;
        }
    }
    place.get(..written).unwrap_or_default()
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Text in double quotes, or a word; and what follows.
pub(super) fn quoted(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.split_first() {
        Some((b'"', rest)) => split(rest, b'"').unwrap_or((rest, &[])),
        _ => word(bytes),
    }
}

/// An error's text without what it quotes, which may be a statement with a secret in it: three dots between two quotes stand
/// for all from the first to the last, as quoted text has quotes of its own in it. Of text that was cut nothing behind the first is kept.
pub(super) fn unquoted<'a, const N: usize>(text: &'a [u8], is_cut: bool, place: &'a mut Text<N>) -> &'a [u8] {
    let size = |at: &usize| quote_size(text.get(*at..).unwrap_or_default());
    let Some(first) = (0..text.len()).find(|at| size(at) > 0) else { return text };
    let last = (0..text.len()).rfind(|at| size(at) > 0).filter(|last| *last > first && !is_cut);
    let behind = last.and_then(|at| text.get(at + size(&at)..)).unwrap_or_default();
    let mark = text.get(first).copied().filter(u8::is_ascii).unwrap_or(b'"');
    place.extend(text.get(..first).unwrap_or_default());
    place.extend(&[mark]);
    place.extend(b"...");
    place.extend(&[mark]);
    place.extend(behind);
    place.as_bytes()
}

/// Bytes of the quotation mark that `text` begins with; translated texts have other ones.
fn quote_size(text: &[u8]) -> usize {
    match text {
        [b'\'' | b'"' | b'`' | 0xab | 0xbb, ..] => 1,
        [0xe2, 0x80, 0x98..=0x9f | 0xb9 | 0xba, ..] | [0xe3, 0x80, 0x8c..=0x8f, ..] => 3,
        [0xc2, 0xab | 0xbb, ..] => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_the_same_however_cut() {
        let stream = b"one\r\ntwo\nthree is far too long\r\nfour\r\n";
        for piece in [1, 2, 3, 7, 64] {
            let (mut lines, mut begin, mut shown, mut found) = (Lines::default(), 0, 0, Vec::new());
            while shown < stream.len() {
                shown = (shown + piece).min(stream.len());
                while begin < shown {
                    match lines.next(&stream[begin..shown], 8) {
                        Ok(line) => {
                            found.push((line.text.to_vec(), line.is_cut));
                            begin += line.taken;
                        }
                        Err(Step::Took(count)) => begin += count,
                        Err(_) => break,
                    }
                }
            }
            let wanted = [("one", false), ("two", false), ("three is", true), ("four", false)];
            assert_eq!(found, wanted.map(|(text, cut)| (text.as_bytes().to_vec(), cut)), "{piece}");
        }
    }

    #[test]
    fn words_and_numbers() {
        assert_eq!((begins(b"get /", b"GET "), begins(b"GE", b"GET "), begins(b"G/", b"GET ")), {
            (Match::Yes, Match::Maybe, Match::No)
        });
        assert_eq!(word(b"USER  bob"), (&b"USER"[..], &b"bob"[..]));
        assert_eq!((decimal(b"123"), decimal(b""), decimal(b"+1"), decimal(b"99999999999999999999")), {
            (Some(123), None, None, None)
        });
        assert_eq!((hexadecimal(b"fF"), hexadecimal(b"0x1"), hexadecimal(b"")), (Some(255), None, None));
        assert_eq!(reply(b"220-x"), Some((220, &b"-x"[..])));
        assert_eq!(quoted(b"\"a b\" c"), (&b"a b"[..], &b" c"[..]));
        assert_eq!(find(b"abCdef", b"cD"), Some(2));
    }

    #[test]
    fn what_is_quoted_is_left_out() {
        for (text, is_cut, wanted) in [
            ("no quotes", false, "no quotes"),
            ("role \"Hunter2PW\" is none", false, "role \"...\" is none"),
            ("near 'BY 'Hunter2PW'' at 1", false, "near '...' at 1"),
            ("can't read 'Hunter2PW' here", false, "can'...' here"),
            ("near `Hunter2PW", false, "near `...`"),
            ("near 'a' Hunter2PW", true, "near '...'"),
            ("Rolle \u{bb}Hunter2PW\u{ab} nicht", false, "Rolle \"...\" nicht"),
            ("role \u{201c}Hunter2PW\u{201d} no", false, "role \"...\" no"),
        ] {
            let mut place = Text::<256>::default();
            let shown = unquoted(text.as_bytes(), is_cut, &mut place);
            assert_eq!(String::from_utf8_lossy(shown), wanted, "{text}");
        }
    }

    #[test]
    fn base64_stops_where_it_must() {
        let mut place = [0; 8];
        assert_eq!(base64(b"Ym9iOng=", &mut place), b"bob:x");
        assert_eq!(base64(b"Ym9iOngxMjM0NTY3ODkw", &mut place), b"bob:x123", "no more than there is room for");
        assert_eq!(base64(b"Ym9i\r", &mut place), b"bob");
    }
}
