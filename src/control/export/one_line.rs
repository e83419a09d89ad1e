//! JSON that stays one line, whatever reads it.
//!
//! JSON escapes the control characters below U+0020 only. Unicode has more of them: some readers end a line at U+0085,
//! U+2028 and U+2029, and terminals obey U+009B as they do an escape. All of these are escaped here; U+007F too.

use serde_json::ser::Formatter;
use std::io::{self, Write};

/// As compact as `serde_json`'s own.
pub(super) struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // Nearly everything is: names of fields, addresses, and most of what comes off the wire.
        if fragment.bytes().all(|byte| byte < 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((at, letter)) = rest.char_indices().find(|(_, letter)| is_odd(*letter)) {
            let (before, from) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            write!(writer, "\\u{:04x}", u32::from(letter))?;
            rest = from.get(letter.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}

fn is_odd(letter: char) -> bool {
    matches!(letter, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    #[test]
    fn what_ends_a_line_anywhere_is_escaped_and_comes_back() {
        for text in ["", "a\u{85}b\u{2028}\u{2029}", "\u{9b}2J\u{7f}", "plain ü \"\\\n\0", "\u{a0}\u{2027}\u{202a}"] {
            let mut bytes = Vec::new();
            text.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, OneLine)).unwrap();
            let line = String::from_utf8(bytes).unwrap();
            assert!(
                !line.chars().any(|letter| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')),
                "{line}"
            );
            assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }
}
