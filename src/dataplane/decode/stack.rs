//! Who made a SYN, as far as its time to live and the order of its options tell: each stack puts them in an order of its own.
//!
//! Only what is published about stacks and told by more than one of their versions: a hint for people, forged with ease. Not
//! read: windows and segment sizes, which users and links change.

/// A family of TCP stacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Stack {
    /// None that is known, or no SYN was seen.
    #[default]
    Unknown,
    /// Linux, Android.
    Linux,
    /// Windows.
    Windows,
    /// macOS, iOS.
    Apple,
    /// FreeBSD.
    FreeBsd,
    /// OpenBSD.
    OpenBsd,
}

/// Kinds of options (IANA).
mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOTHING: u8 = 1;
    pub(super) const SIZE: u8 = 2;
    pub(super) const SCALE: u8 = 3;
    pub(super) const SELECTIVE: u8 = 4;
    pub(super) const TIMES: u8 = 8;
}

use kind::{END, NOTHING, SCALE, SELECTIVE, SIZE, TIMES};

/// Options that a SYN of a known stack has at most.
const OPTIONS_MAX: usize = 10;
/// Routers on a path at most; times to live begin at powers of two, so few are enough to tell them apart.
const ROUTERS_MAX: u8 = 30;

/// Stack, time to live at the sender, kinds of options in their order; of answers those to a client that offers the same.
const KNOWN: [(Stack, u8, &[u8]); 8] = [
    (Stack::Linux, 64, &[SIZE, SELECTIVE, TIMES, NOTHING, SCALE]),
    (Stack::Linux, 64, &[SIZE, NOTHING, NOTHING, SELECTIVE, NOTHING, SCALE]), // without timestamps
    (Stack::Windows, 128, &[SIZE, NOTHING, SCALE, NOTHING, NOTHING, SELECTIVE]),
    (Stack::Windows, 128, &[SIZE, NOTHING, NOTHING, SELECTIVE]), // before Vista
    (Stack::Windows, 128, &[SIZE, NOTHING, SCALE, SELECTIVE, TIMES]), // with timestamps
    (Stack::FreeBsd, 64, &[SIZE, NOTHING, SCALE, SELECTIVE, TIMES]),
    (Stack::Apple, 64, &[SIZE, NOTHING, SCALE, NOTHING, NOTHING, TIMES, SELECTIVE, END]),
    (Stack::OpenBsd, 64, &[SIZE, NOTHING, NOTHING, SELECTIVE, NOTHING, SCALE, NOTHING, NOTHING, TIMES]),
];

impl Stack {
    /// Of the options of a SYN, or of the answer to one, that arrived with this time to live.
    pub fn of(time_to_live: u8, mut options: &[u8]) -> Stack {
        let (mut kinds, mut count) = ([0; OPTIONS_MAX], 0);
        // Ends: each round takes an option.
        while let Some(&kind) = options.first() {
            let Some(place) = kinds.get_mut(count) else { return Stack::Unknown };
            *place = kind;
            count += 1;
            let length = match kind {
                END => break,
                NOTHING => 1,
                _ => options.get(1).map_or(0, |length| usize::from(*length)),
            };
            match options.get(length..) {
                Some(rest) if length > usize::from(kind != NOTHING) => options = rest,
                _ => return Stack::Unknown,
            }
        }
        let kinds = kinds.get(..count).unwrap_or_default();
        let came = |from: u8| (from - ROUTERS_MAX..=from).contains(&time_to_live);
        KNOWN
            .iter()
            .find(|(_, from, order)| came(*from) && *order == kinds)
            .map_or(Stack::Unknown, |(stack, ..)| *stack)
    }

    /// As people call it; `None` for none.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Stack::Unknown => return None,
            Stack::Linux => "Linux or Android",
            Stack::Windows => "Windows",
            Stack::Apple => "macOS or iOS",
            Stack::FreeBsd => "FreeBSD",
            Stack::OpenBsd => "OpenBSD",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: &[u8] = b"\x02\x04\x05\xb4\x04\x02\x08\x0a\0\0\0\x01\0\0\0\0\x01\x03\x03\x07";
    const APPLE: &[u8] = b"\x02\x04\x05\xb4\x01\x03\x03\x06\x01\x01\x08\x0a\0\0\0\x01\0\0\0\0\x04\x02\0\0";
    const PLAIN: &[u8] = b"\x02\x04\x05\xb4\x01\x03\x03\x08\x01\x01\x04\x02";
    const STAMPED: &[u8] = b"\x02\x04\x05\xb4\x01\x03\x03\x06\x04\x02\x08\x0a\0\0\0\x01\0\0\0\0";

    #[test]
    fn the_order_of_options_tells_the_stack() {
        for (name, time_to_live, options, wanted) in [
            ("Linux", 64, LINUX, Stack::Linux),
            ("behind routers", 50, LINUX, Stack::Linux),
            ("behind too many", 33, LINUX, Stack::Unknown),
            ("of another time to live", 128, LINUX, Stack::Unknown),
            ("Linux without timestamps", 64, b"\x02\x04\x05\xb4\x01\x01\x04\x02\x01\x03\x03\x07", Stack::Linux),
            ("Windows", 128, PLAIN, Stack::Windows),
            ("as Windows, from elsewhere", 64, PLAIN, Stack::Unknown),
            ("Windows XP", 113, b"\x02\x04\x05\xb4\x01\x01\x04\x02", Stack::Windows),
            ("Windows with timestamps", 128, STAMPED, Stack::Windows),
            ("FreeBSD", 64, STAMPED, Stack::FreeBsd),
            ("macOS", 64, APPLE, Stack::Apple),
            ("none", 64, b"", Stack::Unknown),
            ("a scanner's", 64, b"\x02\x04\x05\xb4", Stack::Unknown),
            ("no length", 64, b"\x02\x04\x05\xb4\x04", Stack::Unknown),
            ("length 0", 64, b"\x02\0\x05\xb4", Stack::Unknown),
            ("length 1", 64, b"\x02\x01\x05\xb4", Stack::Unknown),
            ("beyond the header", 64, b"\x02\x09\x05\xb4", Stack::Unknown),
            ("many", 64, &[1; 40], Stack::Unknown),
        ] {
            assert_eq!(Stack::of(time_to_live, options), wanted, "{name}");
        }
    }
}
