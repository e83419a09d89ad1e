//! Whom nothing blocks: the list, and the addresses that are nobody's.

use super::super::prefix::Prefix;
use super::super::words::card_text;
use std::sync::LazyLock;

/// Never a host's own (RFC 6890, RFC 5771, RFC 919, RFC 4291); link-local IPv6 because neighbour discovery speaks from there.
const SPECIAL: [(&str, &str); 9] = [
    ("0.0.0.0/8", "0.0.0.0/8 (this network)"),
    ("127.0.0.0/8", "127.0.0.0/8 (loopback)"),
    ("224.0.0.0/4", "224.0.0.0/4 (multicast)"),
    ("255.255.255.255", "255.255.255.255 (broadcast)"),
    ("::", ":: (unspecified)"),
    ("::1", "::1 (loopback)"),
    ("ff00::/8", "ff00::/8 (multicast)"),
    ("fe80::/10", "fe80::/10 (link-local, neighbour discovery)"),
    ("::fffe:0:0/95", "::ffff:0:0/96 (IPv4 in IPv6)"),
];

static PARSED: LazyLock<Vec<(Prefix, &'static str)>> =
    LazyLock::new(|| SPECIAL.iter().filter_map(|(text, what)| Some((text.parse().ok()?, *what))).collect());

/// Prefixes with the reason why each is on the list. A search costs the logarithm of their number.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    /// Apart from each other: what lies in another is left out.
    spans: Vec<((bool, u128, u128), String)>,
    cards: Vec<([u8; 6], String)>,
}

impl AllowList {
    /// The list of these, each with what it is (`10.0.0.1 (gateway)`).
    pub fn new(
        prefixes: impl IntoIterator<Item = (Prefix, String)>,
        cards: impl IntoIterator<Item = ([u8; 6], String)>,
    ) -> AllowList {
        let mut all: Vec<_> =
            prefixes.into_iter().map(|(prefix, what)| (prefix.span(), format!("{prefix} ({what})"))).collect();
        // The widest first of those that begin alike: what follows within it is left out.
        all.sort_by_key(|((six, first, last), _)| (*six, *first, std::cmp::Reverse(*last)));
        let mut spans: Vec<((bool, u128, u128), String)> = Vec::new();
        for (span, what) in all {
            let is_inside = spans.last().is_some_and(|(wide, _)| wide.0 == span.0 && wide.2 >= span.2);
            if !is_inside {
                spans.push((span, what));
            }
        }
        let cards = cards.into_iter().map(|(card, what)| (card, format!("{} ({what})", card_text(card)))).collect();
        AllowList { spans, cards }
    }

    /// What on the list the prefix has an address in common with.
    pub fn meets(&self, prefix: &Prefix) -> Option<&str> {
        let (six, first, last) = prefix.span();
        let behind = self.spans.partition_point(|((other, begin, _), _)| (*other, *begin) <= (six, last));
        let ((other, _, end), what) = self.spans.get(behind.checked_sub(1)?)?;
        (*other == six && *end >= first).then_some(what)
    }

    /// What the card is, where it is on the list.
    pub fn card(&self, card: [u8; 6]) -> Option<&str> {
        self.cards.iter().find(|(other, _)| *other == card).map(|(_, what)| what.as_str())
    }

    /// Everything on it, in words.
    pub fn items(&self) -> impl Iterator<Item = &str> {
        self.spans.iter().map(|(_, what)| what.as_str()).chain(self.cards.iter().map(|(_, what)| what.as_str()))
    }

    /// Which addresses of nobody the prefix meets.
    pub fn special(prefix: &Prefix) -> Option<&'static str> {
        PARSED.iter().find(|(special, _)| special.meets(prefix)).map(|(_, what)| *what)
    }
}
