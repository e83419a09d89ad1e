//! Does what follows a tunnel's header fit it?
//!
//! What a header reserves its receivers ignore (RFC 7348 section 5, RFC 8926 section 3.4, RFC 2661 section 3.1), so a bit
//! there must hide nothing; a datagram that came to a tunnel's port by chance has such bits too. It is told by what lies
//! behind: a type of frames that we know, and a packet whose version and lengths are those of the bytes that are there.

use super::{Content, mpls};
use crate::dataplane::decode::bytes::be16;
use crate::dataplane::decode::link::{TAGS_MAX, ether_type};
use crate::dataplane::decode::outer::LEVELS_MAX;
use crate::dataplane::decode::span::Span;

/// Most tags and headers of services looked behind: where there are more, the decoder, which goes no further, tells of it.
const BETWEEN_MAX: usize = TAGS_MAX as usize + LEVELS_MAX;

/// Is at `at` what `content` says, beyond doubt?
pub(super) fn content(span: Span<'_>, at: usize, content: Content) -> bool {
    match content {
        Content::Ethernet => ethernet(span, at),
        Content::Network(protocol) => network(span, protocol, at),
        Content::Ip => ip(span, at).is_some(),
        Content::Ppp => ppp(span, at),
        Content::Nothing => false,
    }
}

fn ethernet(span: Span<'_>, at: usize) -> bool {
    span.block::<14>(at).is_some_and(|head| network(span, be16::<12, 14>(head), at + 14))
}

fn network(span: Span<'_>, mut protocol: u16, mut at: usize) -> bool {
    for _ in 0..=BETWEEN_MAX {
        match protocol {
            ether_type::IPV4 => return ip(span, at) == Some(4),
            ether_type::IPV6 => return ip(span, at) == Some(6),
            // For Ethernet and IPv4 (RFC 826).
            ether_type::ARP => return span.block::<6>(at) == Some(&[0, 1, 8, 0, 6, 4]),
            ether_type::MPLS | ether_type::MPLS_MULTICAST => return mpls::is_certain(span, at),
            ether_type::PPPOE_SESSION => {
                let Some(head) = span.block::<6>(at) else { return false };
                let length = usize::from(be16::<4, 6>(head));
                return head[..2] == [0x11, 0] && length <= span.left(at + 6) && ppp(span, at + 6);
            }
            ether_type::VLAN | ether_type::PROVIDER_BRIDGING | ether_type::QINQ_OLD => {
                let Some(head) = span.block::<4>(at) else { return false };
                (protocol, at) = (be16::<2, 4>(head), at + 4);
            }
            ether_type::NSH => {
                // Version 0 and its length in words, then what it carries (RFC 8300 section 2.2).
                let Some(head) = span.block::<4>(at) else { return false };
                let first = be16::<0, 4>(head);
                at += usize::from(first & 0x3f) * 4;
                protocol = match (first >> 14, head[3]) {
                    (0, 1) => ether_type::IPV4,
                    (0, 2) => ether_type::IPV6,
                    (0, 3) => {
                        let Some(head) = span.block::<14>(at) else { return false };
                        at += 14;
                        be16::<12, 14>(head)
                    }
                    (0, 4) if first & 0x3f > 1 => ether_type::NSH,
                    (0, 5) => ether_type::MPLS,
                    _ => return false,
                };
            }
            _ => return false,
        }
    }
    true
}

/// The version of an IP packet whose header is whole and whose length is there.
fn ip(span: Span<'_>, at: usize) -> Option<u8> {
    match span.byte(at)? {
        first @ 0x45..0x50 => {
            let total = usize::from(be16::<2, 4>(span.block::<4>(at)?));
            (total >= usize::from(first & 0x0f) * 4 && total <= span.left(at)).then_some(4)
        }
        0x60..0x70 => {
            let length = usize::from(be16::<4, 6>(span.block::<6>(at)?));
            (length + 40 <= span.left(at)).then_some(6)
        }
        _ => None,
    }
}

/// A packet of IP in PPP, with address and control before its number or not, the number compressed or not.
fn ppp(span: Span<'_>, at: usize) -> bool {
    let at = if span.block::<2>(at) == Some(&[0xff, 3]) { at + 2 } else { at };
    match span.block::<2>(at) {
        Some([0, 0x21]) => ip(span, at + 2) == Some(4),
        Some([0, 0x57]) => ip(span, at + 2) == Some(6),
        Some([0x21, _]) => ip(span, at + 1) == Some(4),
        Some([0x57, _]) => ip(span, at + 1) == Some(6),
        _ => false,
    }
}
