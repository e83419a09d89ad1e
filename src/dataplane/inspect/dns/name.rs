//! Names: labels and pointers (RFC 1035 section 4.1.4), as text with escapes (RFC 4343 section 2.1).

use crate::dataplane::inspect::facts::FACTS_BYTES;
use crate::dataplane::inspect::text::Text;

/// Bytes of a name as text at most: 255 on the wire (RFC 1035 section 2.3.4), all escaped, stay below.
pub const TEXT_BYTES: usize = 1024;
/// Bytes of a name on the wire, root included (RFC 1035 section 2.3.4).
const WIRE_BYTES: usize = 255;
/// Pointers followed in one name. A name of 255 bytes has at most 127 labels, and one pointer before each is already odd.
const POINTERS_MAX: usize = 127;

/// Why a name cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It runs out of the message, or a label has a type that does not exist.
    Malformed,
    /// A pointer that does not point to before where it stands, or too many of them.
    Loop,
    /// More than 255 bytes.
    TooLong,
    /// The names of the message are more work than they can be worth: see `Budget`.
    TooMuch,
}

/// Work that the names of one message may cause, or a few hundred bytes of pointers to pointers would cost as much as dozens of
/// messages: bytes of labels, and for each label and pointer some more. Three times what fits into an event's facts, which
/// is all that is read of a message.
pub struct Budget(usize);

const LABEL_COST: usize = 4;
const POINTER_COST: usize = 16;

impl Default for Budget {
    fn default() -> Budget {
        Budget(3 * FACTS_BYTES)
    }
}

impl Budget {
    fn spend(&mut self, cost: usize) -> Result<(), Fault> {
        self.0 = self.0.checked_sub(cost).ok_or(Fault::TooMuch)?;
        Ok(())
    }
}

/// Text of a name; the root is one dot, others have no dot at the end.
pub type NameText = Text<TEXT_BYTES>;

/// Reads the name at `at` of `message` to the end of `text`; gives where it ends. Bytes looked at are bounded by 255 labels'
/// bytes and 127 pointers, whatever the message says.
pub fn read(message: &[u8], at: usize, text: &mut NameText, budget: &mut Budget) -> Result<usize, Fault> {
    let (mut here, mut floor, mut end) = (at, at, None);
    let (mut wire, mut pointers, mut labels) = (1, 0, 0);
    loop {
        let length = usize::from(*message.get(here).ok_or(Fault::Malformed)?);
        match length {
            0 => {
                if labels == 0 {
                    text.push(b'.');
                }
                return Ok(end.unwrap_or(here + 1));
            }
            1..64 => {
                wire += length + 1;
                budget.spend(LABEL_COST + length)?;
                if wire > WIRE_BYTES {
                    return Err(Fault::TooLong);
                }
                let label = message.get(here + 1..here + 1 + length).ok_or(Fault::Malformed)?;
                if labels > 0 {
                    text.push(b'.');
                }
                push_label(text, label);
                labels += 1;
                here += 1 + length;
            }
            192.. => {
                let low = usize::from(*message.get(here + 1).ok_or(Fault::Malformed)?);
                let target = (length & 63) << 8 | low;
                end = end.or(Some(here + 2));
                pointers += 1;
                budget.spend(POINTER_COST)?;
                // Each pointer goes to before all that was read of this name, so they end.
                if target >= floor || pointers > POINTERS_MAX {
                    return Err(Fault::Loop);
                }
                (here, floor) = (target, target);
            }
            _ => return Err(Fault::Malformed),
        }
    }
}

/// Where the name at `at` ends, pointers not followed.
pub fn skip(message: &[u8], at: usize) -> Option<usize> {
    let mut here = at;
    loop {
        match usize::from(*message.get(here)?) {
            0 => return Some(here + 1),
            length @ 1..64 => here += 1 + length,
            192.. => return message.get(here + 1).map(|_| here + 2),
            _ => return None,
        }
        if here.saturating_sub(at) > WIRE_BYTES {
            return None;
        }
    }
}

/// One label as text: what prints is itself, a dot and a backslash have a backslash before them, the rest is `\DDD`.
pub fn push_label(text: &mut NameText, label: &[u8]) {
    for byte in label {
        match byte {
            b'.' | b'\\' => text.extend(&[b'\\', *byte]),
            0x21..=0x7e => text.push(*byte),
            _ => text.extend(&[b'\\', b'0' + byte / 100, b'0' + byte / 10 % 10, b'0' + byte % 10]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &[u8], at: usize) -> Result<(String, usize), Fault> {
        let mut text = NameText::default();
        let end = read(message, at, &mut text, &mut Budget::default())?;
        assert_eq!(skip(message, at), Some(end));
        Ok((String::from_utf8(text.as_bytes().to_vec()).unwrap(), end))
    }

    #[test]
    fn names_are_read_as_text_and_their_ends_found() {
        for (message, at, wanted, end) in [
            (&b"\x03www\x07Example\x03com\0"[..], 0, "www.Example.com", 17),
            (b"\0", 0, ".", 1),
            (b"\x05a.\\ \xff\0", 0, "a\\.\\\\\\032\\255", 7),
            (b"\x03com\0\x03www\xc0\0\xc0\x05", 5, "www.com", 11),
            (b"\x03com\0\x03www\xc0\0\xc0\x05", 11, "www.com", 13),
        ] {
            assert_eq!(text(message, at), Ok((wanted.to_string(), end)), "{message:?}");
        }
    }

    #[test]
    fn names_that_never_end_or_are_too_long_are_refused() {
        assert_eq!(text(b"\xc0\0", 0), Err(Fault::Loop));
        assert_eq!(text(b"\x01a\xc0\0", 0), Err(Fault::Loop));
        assert_eq!(text(b"\xc0\x02\xc0\0", 2), Err(Fault::Loop), "the first points forward");
        assert_eq!(text(b"\x40a\0", 0), Err(Fault::Malformed));
        assert_eq!(text(b"\x03ab", 0), Err(Fault::Malformed));
        assert_eq!(text(b"", 0), Err(Fault::Malformed));
        let long: Vec<u8> = [&[63; 64][..], &[63; 64], &[63; 64], &[63; 64], &[0]].concat();
        assert_eq!(text(&long, 0), Err(Fault::TooLong));
        // A chain of pointers, each to the one before: long, but it ends.
        let mut chain = b"\x01a\0".to_vec();
        for at in 0..4000_u16 {
            let target = if at == 0 { 0 } else { 3 + (at - 1) * 2 };
            chain.extend((0xc000 | target).to_be_bytes());
        }
        assert_eq!(text(&chain, 3 + 2 * 126), Ok(("a".to_string(), 3 + 2 * 127)));
        assert_eq!(text(&chain, 3 + 2 * 127), Err(Fault::Loop));
    }
}
