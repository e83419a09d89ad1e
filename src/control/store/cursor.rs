//! A reader's place in the store, opaque to it: base64url of the store's epoch and the last sequence number it has seen.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;

/// "I have seen everything up to `sequence` of the store `epoch`."
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cursor {
    /// Which store: random, made with the file. A cursor of another store is expired, not wrong.
    pub epoch: u64,
    /// Last sequence number seen; 0 before the first.
    pub sequence: u64,
}

/// The text is no cursor of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a cursor: use `next` of an earlier answer as it is")]
pub struct BadCursor;

/// Characters of a cursor: 16 bytes in base64 without padding.
const TEXT_BYTES: usize = 22;

impl Cursor {
    /// Reads what [`fmt::Display`] wrote; exactly that, so that one place has one name.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Cursor, BadCursor> {
        // The length is looked at first: a cursor comes from outside and may be megabytes.
        if text.len() != TEXT_BYTES {
            return Err(BadCursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadCursor)?;
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| BadCursor)?;
        let number = u128::from_be_bytes(bytes);
        #[allow(clippy::cast_possible_truncation)] // the halves of a u128 are taken on purpose
        Ok(Cursor { epoch: (number >> 64) as u64, sequence: number as u64 })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = u128::from(self.epoch) << 64 | u128::from(self.sequence);
        f.write_str(&URL_SAFE_NO_PAD.encode(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(epoch: u64, sequence: u64) {
            let cursor = Cursor { epoch, sequence };
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
        }

        #[test]
        fn any_text_is_refused_or_is_the_one_name_of_its_place(text in "\\PC{0,40}|[A-Za-z0-9_-]{22}") {
            if let Ok(cursor) = Cursor::parse(&text) {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }

    #[test]
    fn padding_standard_alphabet_and_loose_last_bits_are_refused() {
        let good = Cursor { epoch: u64::MAX, sequence: u64::MAX }.to_string();
        assert_eq!(good, "_____________________w");
        for bad in ["", "_____________________w==", "/////////////////////w", "_____________________x", "é"] {
            assert_eq!(Cursor::parse(bad), Err(BadCursor), "{bad}");
        }
    }
}
