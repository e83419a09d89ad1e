//! Text put together in a fixed place: what has no room is left out, and told.

use core::fmt;

/// Text of at most `N` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    used: usize,
    cut: bool,
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Text<N> {
        Text { bytes: [0; N], used: 0, cut: false }
    }
}

impl<const N: usize> Text<N> {
    /// What was put in so far.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    /// Had something no room?
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        (self.used, self.cut) = (0, false);
    }

    /// Adds a byte.
    pub fn push(&mut self, byte: u8) {
        match self.bytes.get_mut(self.used) {
            Some(place) => {
                *place = byte;
                self.used += 1;
            }
            None => self.cut = true,
        }
    }

    /// Adds bytes, as many as have room.
    pub fn extend(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().take(N.saturating_sub(self.used).saturating_add(1)) {
            self.push(*byte);
        }
    }

    /// Adds bytes in lower-case hexadecimal.
    pub fn extend_hex(&mut self, bytes: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in bytes.iter().take(N) {
            for digit in [byte >> 4, byte & 15] {
                self.push(DIGITS.get(usize::from(digit)).copied().unwrap_or_default());
            }
        }
    }

    /// Adds what `arguments` print.
    pub fn print(&mut self, arguments: fmt::Arguments<'_>) {
        // Its only error is that of `write_str`, which has none.
        let _ = fmt::write(self, arguments);
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.extend(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_text_stays_whole_and_says_so() {
        let mut text = Text::<6>::default();
        text.print(format_args!("{}-", 12));
        text.extend_hex(&[0xaf]);
        assert_eq!((text.as_bytes(), text.is_cut()), (&b"12-af"[..], false));
        text.extend(b"xy");
        assert_eq!((text.as_bytes(), text.is_cut(), text.is_empty()), (&b"12-afx"[..], true, false));
        text.clear();
        assert!(text.is_empty());
    }
}
