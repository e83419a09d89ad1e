//! Options of an IPv4 header: can they be read, and what is unusual about them.
//!
//! Only headers longer than 20 bytes come here, which next to none are.

use super::anomaly::{HeaderAnomalies, HeaderAnomaly};

/// Kinds of options (IANA).
mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOTHING: u8 = 1;
    pub(super) const RECORD_ROUTE: u8 = 7;
    pub(super) const QUICK_START: u8 = 25;
    pub(super) const TIMESTAMP: u8 = 68;
    pub(super) const SECURITY: u8 = 130;
    pub(super) const LOOSE_ROUTE: u8 = 131;
    pub(super) const MORE_SECURITY: u8 = 133;
    pub(super) const LABEL: u8 = 134;
    pub(super) const STREAM: u8 = 136;
    pub(super) const STRICT_ROUTE: u8 = 137;
    pub(super) const ROUTER_ALERT: u8 = 148;
}

/// Most bytes of options that a header has.
const LONGEST: u8 = 40;

/// Kind, least and greatest length, least pointer (0: none); each may come once (RFC 791, RFC 1108, RFC 2113, RFC 4782; labels
/// are those of FIPS 188).
const KNOWN: [(u8, u8, u8, u8); 10] = [
    (kind::RECORD_ROUTE, 3, LONGEST, 4),
    (kind::QUICK_START, 8, 8, 0),
    (kind::TIMESTAMP, 4, LONGEST, 5),
    (kind::SECURITY, 3, LONGEST, 0),
    (kind::LOOSE_ROUTE, 3, LONGEST, 4),
    (kind::MORE_SECURITY, 3, LONGEST, 0),
    (kind::LABEL, 6, LONGEST, 0),
    (kind::STREAM, 4, 4, 0),
    (kind::STRICT_ROUTE, 3, LONGEST, 4),
    (kind::ROUTER_ALERT, 4, 4, 0),
];

/// What is unusual about a list of options; `false`: it cannot be read to its end, so no host takes the packet.
#[cold]
pub(super) fn check(mut options: &[u8]) -> (HeaderAnomalies, bool) {
    let (mut found, mut seen) = (HeaderAnomalies::default(), 0_u16);
    // Ends: each round takes a byte at least.
    loop {
        let length = match *options {
            [] | [kind::END, ..] => return (found, true),
            [kind::NOTHING, ..] => 1,
            [_] => {
                found.insert(HeaderAnomaly::OptionEndRequired);
                return (found, false);
            }
            [_, length, ..] => usize::from(length.max(1)),
        };
        let Some((option, rest)) = options.split_at_checked(length) else { return unreadable(found) };
        options = rest;
        match *option {
            [kind::NOTHING] => {}
            [kind, length, ..] => known(kind, length, option.get(2).copied(), &mut found, &mut seen),
            _ => return unreadable(found),
        }
    }
}

fn unreadable(mut found: HeaderAnomalies) -> (HeaderAnomalies, bool) {
    found.insert(HeaderAnomaly::OptionInvalidLength);
    (found, false)
}

/// One option of a kind that we know: its length, its pointer, whether it came before.
fn known(kind: u8, length: u8, pointer: Option<u8>, found: &mut HeaderAnomalies, seen: &mut u16) {
    let Some((bit, (_, least, most, first))) = (0..).zip(KNOWN).find(|(_, known)| known.0 == kind) else { return };
    if *seen >> bit & 1 != 0 {
        found.insert(HeaderAnomaly::OptionDuplicate);
    }
    *seen |= 1 << bit;
    if matches!(kind, kind::LOOSE_ROUTE | kind::STRICT_ROUTE) {
        found.insert(HeaderAnomaly::SourceRoute);
    }
    if length < least || length > most {
        found.insert(HeaderAnomaly::OptionInvalidLength);
        return;
    }
    // An address each four bytes in the routes; behind the last one it is one more than the length.
    let is_odd = |pointer: u8| first == 4 && !pointer.is_multiple_of(4);
    if pointer.is_some_and(|pointer| pointer < first || first > 0 && (is_odd(pointer) || pointer > length + 1)) {
        found.insert(HeaderAnomaly::OptionMalformed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_a_list_has_its_name() {
        use HeaderAnomaly::{OptionDuplicate as Duplicate, OptionEndRequired as EndRequired};
        use HeaderAnomaly::{OptionInvalidLength as InvalidLength, OptionMalformed as Malformed, SourceRoute};
        let route = |kind: u8, pointer: u8| vec![kind, 11, pointer, 10, 0, 0, 1, 10, 0, 0, 2, 0];
        for (name, options, anomalies, is_readable) in [
            ("nothing", vec![], vec![], true),
            ("padding", vec![1, 1, 1, 0], vec![], true),
            ("router alert", vec![148, 4, 0, 0], vec![], true),
            ("unknown", vec![0x5e, 4, 1, 2], vec![], true),
            ("record route", route(7, 4), vec![], true),
            ("record route, full", route(7, 12), vec![], true),
            ("record route, pointer before", route(7, 3), vec![Malformed], true),
            ("record route, pointer between", route(7, 6), vec![Malformed], true),
            ("record route, pointer beyond", route(7, 16), vec![Malformed], true),
            ("timestamp, pointer before", vec![68, 8, 4, 0, 0, 0, 0, 0], vec![Malformed], true),
            ("source route", route(131, 4), vec![SourceRoute], true),
            ("strict source route", route(137, 8), vec![SourceRoute], true),
            ("twice", vec![148, 4, 0, 0, 148, 4, 0, 0], vec![Duplicate], true),
            ("router alert of 5", vec![148, 5, 0, 0, 0, 0, 0, 0], vec![InvalidLength], true),
            ("behind the end", vec![0, 99, 0, 0], vec![], true),
            ("no length", vec![1, 1, 1, 7], vec![EndRequired], false),
            ("length 0", vec![7, 0, 0, 0], vec![InvalidLength], false),
            ("length 1", vec![7, 1, 0, 0], vec![InvalidLength], false),
            ("beyond the header", vec![7, 5, 4, 0], vec![InvalidLength], false),
            ("suricata's", vec![0x82, 2, 0xf1, 0x35, 0, 0, 0xde, 0xad], vec![InvalidLength], false),
        ] {
            let (found, readable) = check(&options);
            assert_eq!((found.iter().collect::<Vec<_>>(), readable), (anomalies, is_readable), "{name}");
        }
    }
}
