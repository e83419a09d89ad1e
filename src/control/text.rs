//! Bytes off the wire as text: one spelling for each, so that no two of them look alike.
//!
//! What is UTF-8 stays as it is, every other byte is `\xNN`, two lower-case digits. A backslash stays too, for names of
//! Windows are full of them, unless what it begins would read as such an escape: then it is `\x5c`. So the bytes come back
//! whatever they were: each `\xNN` is that byte, all else stands for itself.
//!
//! Owns the spelling, nothing else. Deliberately does not: quote for JSON (its writer does), cut, or trim.

/// Adds `bytes` to `text`.
pub fn push(bytes: &[u8], text: &mut String) {
    push_with(bytes, |_| false, text);
}

/// The same with control characters as escapes of their bytes: harmless on a terminal, and one line.
pub fn push_line(bytes: &[u8], text: &mut String) {
    push_with(bytes, char::is_control, text);
}

fn push_with(bytes: &[u8], is_escaped: fn(char) -> bool, text: &mut String) {
    for chunk in bytes.utf8_chunks() {
        let (valid, mut told) = (chunk.valid(), 0);
        for (at, letter) in valid.char_indices() {
            let behind = at + letter.len_utf8();
            if is_escaped(letter) || letter == '\\' && is_escape(valid.as_bytes().get(behind..).unwrap_or_default()) {
                text.push_str(valid.get(told..at).unwrap_or_default());
                push_bytes(valid.as_bytes().get(at..behind).unwrap_or_default(), text);
                told = behind;
            }
        }
        text.push_str(valid.get(told..).unwrap_or_default());
        push_bytes(chunk.invalid(), text);
    }
}

/// Would a backslash in front of these be an escape?
fn is_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'x', b'0'..=b'9' | b'a'..=b'f', b'0'..=b'9' | b'a'..=b'f', ..])
}

fn push_bytes(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        text.push_str("\\x");
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0')); // below 16
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> String {
        let mut text = String::new();
        push(bytes, &mut text);
        text
    }

    fn line(bytes: &[u8]) -> String {
        let mut text = String::new();
        push_line(bytes, &mut text);
        text
    }

    /// What a reader makes of it.
    fn bytes(text: &str) -> Vec<u8> {
        let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
        while let Some((first, behind)) = rest.split_first() {
            match (first, is_escape(behind)) {
                (b'\\', true) => {
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&behind[1..3]).unwrap(), 16).unwrap());
                    rest = &behind[3..];
                }
                _ => {
                    bytes.push(*first);
                    rest = behind;
                }
            }
        }
        bytes
    }

    #[test]
    fn every_text_has_its_own_spelling() {
        for (bytes, wanted, harmless) in [
            (&b"plain"[..], "plain", "plain"),
            (b"a\xffb", "a\\xffb", "a\\xffb"),
            (b"a\\xffb", "a\\x5cxffb", "a\\x5cxffb"),
            (b"a\\x5cxffb", "a\\x5cx5cxffb", "a\\x5cx5cxffb"),
            (b"\\\\server\\share\\xyz\\xFF", "\\\\server\\share\\xyz\\xFF", "\\\\server\\share\\xyz\\xFF"),
            (b"\\\xff", "\\\\xff", "\\\\xff"),
            (b"\x1b[2J\n", "\x1b[2J\n", "\\x1b[2J\\x0a"),
            ("gr\u{fc}n\u{85}".as_bytes(), "gr\u{fc}n\u{85}", "gr\u{fc}n\\xc2\\x85"),
            (b"\x85", "\\x85", "\\x85"),
        ] {
            assert_eq!((text(bytes).as_str(), line(bytes).as_str()), (wanted, harmless));
        }
    }

    proptest! {
        #[test]
        fn the_bytes_come_back(parts in proptest::collection::vec(prop_oneof![
            Just(b"\\".to_vec()), Just(b"x".to_vec()), Just(b"4".to_vec()), Just(b"f".to_vec()), Just(b"\\x5c".to_vec()),
            Just("\u{85}".as_bytes().to_vec()), any::<u8>().prop_map(|byte| vec![byte]),
        ], 0..40)) {
            let all = parts.concat();
            prop_assert_eq!(bytes(&text(&all)), all.clone());
            let harmless = line(&all);
            prop_assert!(!harmless.chars().any(char::is_control));
            prop_assert_eq!(bytes(&harmless), all);
        }
    }
}
