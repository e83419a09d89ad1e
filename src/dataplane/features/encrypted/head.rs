//! The bytes of a first payload: entropy, bits, what can be printed, and which exemptions of the test for fully encrypted
//! traffic it meets.
//!
//! The test is that of Wu et al., "How the Great Firewall of China Detects and Blocks Fully Encrypted Traffic", USENIX
//! Security 2023, algorithm 1: what meets none of five exemptions is taken for fully encrypted. Compressed and media traffic
//! passes it too: a hint, not a verdict.

use super::HEAD_BYTES;

/// Exemptions, a bit each.
pub mod exempt {
    /// Ex1: at most 3.4 or at least 4.6 bits a byte are set.
    pub const ONES: u8 = 1;
    /// Ex2: the first six bytes can be printed.
    pub const BEGINS_PRINTABLE: u8 = 2;
    /// Ex3: more than half of the bytes can be printed.
    pub const MOSTLY_PRINTABLE: u8 = 4;
    /// Ex4: more than twenty bytes in a row can be printed.
    pub const RUN: u8 = 8;
    /// Ex5: it begins like TLS or HTTP.
    pub const KNOWN: u8 = 16;
}

/// What a first payload looks like.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Head {
    /// Bytes that were looked at, at most [`HEAD_BYTES`].
    pub bytes: u16,
    /// Shannon entropy of their values, bits a byte: 0 to 8.
    pub entropy: f32,
    /// Bits set, a byte: 0 to 8.
    pub ones: f32,
    /// Share of those that can be printed (0x20 to 0x7e).
    pub printable: f32,
    /// Longest run of these.
    pub run: u16,
    /// Exemptions that are met ([`exempt`]).
    pub exempt: u8,
}

/// Counters of byte values, 0 between two looks, and `n * log2(n)` for all `n` that can be.
pub(super) struct Scratch {
    counts: [u16; 256],
    logarithms: [f64; HEAD_BYTES + 1],
}

impl Default for Scratch {
    fn default() -> Scratch {
        let logarithms = std::array::from_fn(|n| if n == 0 { 0.0 } else { n as f64 * (n as f64).log2() });
        Scratch { counts: [0; 256], logarithms }
    }
}

impl Scratch {
    /// Entropy of the values in `bytes`, at most [`HEAD_BYTES`] of them. Only counters that were used are cleared.
    fn entropy(&mut self, bytes: &[u8]) -> f64 {
        for byte in bytes {
            if let Some(count) = self.counts.get_mut(usize::from(*byte)) {
                *count += 1; // at most HEAD_BYTES
            }
        }
        let mut sum = 0.0;
        for byte in bytes {
            let count = self.counts.get_mut(usize::from(*byte)).map_or(0, std::mem::take);
            sum += self.logarithms.get(usize::from(count)).copied().unwrap_or(0.0);
        }
        let all = bytes.len().max(1) as f64;
        // Rounding may leave a little below 0.
        (all.log2() - sum / all).max(0.0)
    }
}

/// Looks at the first bytes of a payload that has some.
#[inline(never)]
pub(super) fn look(payload: &[u8], scratch: &mut Scratch) -> Head {
    let bytes = payload.get(..HEAD_BYTES).unwrap_or(payload);
    let (mut ones, mut printable, mut run, mut longest) = (0, 0_u16, 0_u16, 0_u16);
    for byte in bytes {
        ones += byte.count_ones();
        let prints = u16::from(matches!(byte, 0x20..=0x7e));
        printable += prints;
        run = (run + 1) * prints;
        longest = longest.max(run);
    }
    let all = bytes.len().max(1) as f64;
    let ones = f64::from(ones) / all;
    let begins = bytes.get(..6).is_some_and(|first| first.iter().all(|byte| matches!(byte, 0x20..=0x7e)));
    let met = [
        (ones <= 3.4 || ones >= 4.6, exempt::ONES),
        (begins, exempt::BEGINS_PRINTABLE),
        (usize::from(printable) * 2 > bytes.len(), exempt::MOSTLY_PRINTABLE),
        (longest > 20, exempt::RUN),
        (is_known(bytes), exempt::KNOWN),
    ];
    Head {
        bytes: bytes.len() as u16, // at most HEAD_BYTES
        entropy: scratch.entropy(bytes) as f32,
        ones: ones as f32,
        printable: (f64::from(printable) / all) as f32,
        run: longest,
        exempt: met.iter().filter(|(is_met, _)| *is_met).fold(0, |all, (_, bit)| all | bit),
    }
}

/// The beginnings of TLS records and of requests that the authors found exempted.
fn is_known(bytes: &[u8]) -> bool {
    matches!(bytes, [0x16 | 0x17, 3, 0..=9, ..])
        || [&b"GET "[..], b"PUT ", b"POST ", b"HEAD "].iter().any(|method| bytes.starts_with(method))
}
