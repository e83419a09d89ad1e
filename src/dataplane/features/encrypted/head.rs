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

/// Counters of byte values, 0 between two looks, and `n * log2(n)` and `log2(n)` for all `n` that can be (0 of none).
pub(super) struct Scratch {
    counts: [u16; 256],
    products: [f64; HEAD_BYTES + 1],
    logarithms: [f64; HEAD_BYTES + 1],
}

impl Default for Scratch {
    fn default() -> Scratch {
        let logarithms = std::array::from_fn(|n| if n == 0 { 0.0 } else { (n as f64).log2() });
        let products = std::array::from_fn(|n| if n == 0 { 0.0 } else { n as f64 * (n as f64).log2() });
        Scratch { counts: [0; 256], products, logarithms }
    }
}

impl Scratch {
    /// Entropy of the values in `bytes`, at most [`HEAD_BYTES`] of them. Of short ones only counters that were used are
    /// cleared.
    fn entropy(&mut self, bytes: &[u8]) -> f64 {
        for byte in bytes {
            if let Some(count) = self.counts.get_mut(usize::from(*byte)) {
                *count += 1; // at most HEAD_BYTES
            }
        }
        let of = |count: u16| self.products.get(usize::from(count)).copied().unwrap_or(0.0);
        let mut sum = 0.0;
        if bytes.len() < self.counts.len() {
            for byte in bytes {
                sum += self.counts.get_mut(usize::from(*byte)).map_or(0.0, |count| of(std::mem::take(count)));
            }
        } else {
            // Of long ones it costs less to look at every counter than at every byte again.
            self.counts.iter_mut().for_each(|count| sum += of(std::mem::take(count)));
        }
        let all = bytes.len().max(1) as i32 as f64;
        let logarithm = self.logarithms.get(bytes.len()).copied().unwrap_or(0.0);
        // Rounding may leave a little below 0.
        (logarithm - sum / all).max(0.0)
    }
}

/// Looks at the first bytes of a payload that has some.
#[inline(never)]
pub(super) fn look(payload: &[u8], scratch: &mut Scratch) -> Head {
    let bytes = payload.get(..HEAD_BYTES).unwrap_or(payload);
    let (words, rest) = bytes.as_chunks::<8>();
    let (mut ones, mut printable, mut runs) = (0, 0_u32, Runs::default());
    for word in words {
        let word = u64::from_le_bytes(*word);
        let prints = prints(word);
        ones += word.count_ones();
        printable += prints.count_ones();
        runs.add(prints);
    }
    let last = word_of(rest);
    ones += last.count_ones();
    let last_prints = prints(last);
    printable += last_prints.count_ones();
    runs.add(last_prints);
    let longest = runs.longest;
    let all = bytes.len().max(1) as i32 as f64;
    let ones = f64::from(ones as i32) / all;
    let first = words.first().map_or(last_prints, |word| prints(u64::from_le_bytes(*word)));
    let met = |is_met: bool, bit: u8| u8::from(is_met) * bit;
    let exempt = met(ones <= 3.4 || ones >= 4.6, exempt::ONES)
        | met(first & 0x3f == 0x3f, exempt::BEGINS_PRINTABLE)
        | met(printable as usize * 2 > bytes.len(), exempt::MOSTLY_PRINTABLE)
        | met(longest > 20, exempt::RUN)
        | met(is_known(bytes), exempt::KNOWN);
    Head {
        bytes: bytes.len() as u16, // at most HEAD_BYTES
        entropy: scratch.entropy(bytes) as f32,
        ones: ones as f32,
        printable: (f64::from(printable as i32) / all) as f32,
        run: longest,
        exempt,
    }
}

/// Fewer than eight bytes as a word, zeros behind them, which print nothing. Read from both ends: copied one by one it was a
/// call of the library.
#[inline(always)]
fn word_of(bytes: &[u8]) -> u64 {
    let place = |width: usize| (8 * (bytes.len() - width) as u32) & 63;
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << place(4);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return u64::from(u16::from_le_bytes(*first)) | u64::from(u16::from_le_bytes(*last)) << place(2);
    }
    bytes.first().map_or(0, |byte| u64::from(*byte))
}

/// Which of eight bytes can be printed, a bit each, the first lowest. (Byte by byte it took ten instructions each, of which
/// these are two.)
fn prints(word: u64) -> u8 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let low = word & LOW;
    // The highest bit of each byte tells: from 0x20 up, not 0x7f, not above it.
    let printable = (low + 0x6060_6060_6060_6060) & !(low + 0x0101_0101_0101_0101) & !word & !LOW;
    // A bit of each byte, put side by side by a product whose terms never meet.
    ((printable >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

/// Longest run of printable bytes.
#[derive(Default)]
struct Runs {
    /// That of the latest ones.
    run: u16,
    longest: u16,
}

impl Runs {
    /// The next eight bytes.
    fn add(&mut self, prints: u8) {
        if prints == u8::MAX {
            self.run += 8;
        } else {
            self.longest = self.longest.max(self.run + prints.trailing_ones() as u16).max(inner(prints));
            self.run = prints.leading_ones() as u16;
        }
        self.longest = self.longest.max(self.run);
    }
}

/// Longest run of ones among eight bits.
fn inner(bits: u8) -> u16 {
    let pairs = bits & bits << 1;
    let fours = pairs & pairs << 2;
    // A run of n leaves n - 1 bits among the pairs and n - 3 among the fours.
    match (fours.count_ones() as u16, pairs, bits) {
        (count @ 1.., ..) => count + 3,
        (0, 1.., _) if pairs & pairs << 1 != 0 => 3,
        (0, 1.., _) => 2,
        (0, 0, bits) => u16::from(bits != 0),
    }
}

/// The beginnings of TLS records and of requests that the authors found exempted.
fn is_known(bytes: &[u8]) -> bool {
    match bytes {
        [0x16 | 0x17, 3, 0..=9, ..] => true,
        [b'G' | b'P' | b'H', ..] => {
            [&b"GET "[..], b"PUT ", b"POST ", b"HEAD "].iter().any(|method| bytes.starts_with(method))
        }
        _ => false,
    }
}
