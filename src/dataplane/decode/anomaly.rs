//! What is unusual about the headers of a packet, by name.
//!
//! A packet that has any is rare, so telling costs the others nothing: they are found on the long way of the decoder, or by
//! the flow table where it looks at a packet for another reason.

use super::packet::tcp_flags::{ACK, FIN, PSH, SYN, URG};
use crate::metrics::Counter;

/// Below it are the anomalies of fragments and streams.
const FIRST_NUMBER: u8 = 160;

macro_rules! anomalies {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $counter:ident;)+) => {
        /// What is unusual about the headers of a packet.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum HeaderAnomaly { $($(#[doc = $doc])+ $variant,)+ }

        impl HeaderAnomaly {
            /// All of them, in the order of their numbers.
            pub const ALL: &[HeaderAnomaly] = &[$(HeaderAnomaly::$variant,)+];

            /// Number among the anomalies below any protocol, behind those of fragments.
            pub const fn number(self) -> u8 {
                FIRST_NUMBER + self as u8
            }

            /// The one of this number; `None` for another thing's.
            pub fn of_number(number: u8) -> Option<HeaderAnomaly> {
                HeaderAnomaly::ALL.get(usize::from(number.checked_sub(FIRST_NUMBER)?)).copied()
            }

            /// Name in events, behind `decoder.`: Suricata's where it has one.
            pub const fn name(self) -> &'static str { match self { $(HeaderAnomaly::$variant => $name,)+ } }

            /// Where it is counted.
            pub const fn counter(self) -> Counter { match self { $(HeaderAnomaly::$variant => Counter::$counter,)+ } }
        }
    };
}

anomalies! {
    /// A length that the option cannot have: below 2, beyond the header, or not that of its kind.
    OptionInvalidLength = "ipv4.opt_invalid_len", OptionsInvalidLength;
    /// The list of options ends in the first byte of one.
    OptionEndRequired = "ipv4.opt_eol_required", OptionsEndRequired;
    /// A pointer that leads outside its option, or between two of its entries.
    OptionMalformed = "ipv4.opt_malformed", OptionsMalformed;
    /// An option that may come once comes again.
    OptionDuplicate = "ipv4.opt_duplicate", OptionsDuplicate;
    /// The sender chose the way (RFC 7126 section 4.3: an attack unless somebody knows better).
    SourceRoute = "ipv4.opt_source_route", OptionsSourceRoute;
    /// Hop-by-hop options again (RFC 8200 section 4.1: once, and first).
    ExtensionDuplicateHop = "ipv6.exthdr_dupl_hh", ExtensionsDuplicateHop;
    /// Destination options a third time (once before a routing header, once before the transport).
    ExtensionDuplicateDestination = "ipv6.exthdr_dupl_dh", ExtensionsDuplicateDestination;
    /// A second routing header.
    ExtensionDuplicateRouting = "ipv6.exthdr_dupl_rh", ExtensionsDuplicateRouting;
    /// A second fragment header.
    ExtensionDuplicateFragment = "ipv6.exthdr_dupl_fh", ExtensionsDuplicateFragment;
    /// A second authentication header.
    ExtensionDuplicateAuthentication = "ipv6.exthdr_dupl_ah", ExtensionsDuplicateAuthentication;
    /// Hop-by-hop options that are not first: no host takes the packet.
    ExtensionHopLate = "ipv6.exthdr_hh_not_first", ExtensionsHopLate;
    /// More extension headers than are followed.
    ExtensionsTooMany = "ipv6.exthdr_too_many", ExtensionsTooMany;
    /// An extension header that ends beyond its packet.
    ExtensionTruncated = "ipv6.trunc_exthdr", ExtensionsTruncated;
    /// A routing header of type 0, with which anybody chooses the way (RFC 5095: deprecated, for the loops it makes).
    RoutingTypeZero = "ipv6.rh_type_0", RoutingTypeZero;
    /// More tunnels within one another than are entered.
    TooManyLayers = "too_many_layers", TunnelDepth;
    /// More VLAN tags than are kept.
    TooManyTags = "vlan.too_many_layers", VlanTagsTooMany;
    /// The header of TCP ends beyond its segment.
    TcpHeaderTooSmall = "tcp.hlen_too_small", TcpHeaderTooSmall;
    /// A header of TCP that claims to be shorter than one without options.
    TcpOptionsInvalid = "tcp.invalid_optlen", TcpOptionsInvalid;
    /// SYN and FIN at once.
    TcpSynFin = "tcp.syn_fin", TcpSynFin;
    /// FIN, PSH and URG without ACK: a Christmas tree of a port scan.
    TcpXmas = "tcp.xmas", TcpXmas;
    /// The first packet seen of a connection has no flag at all.
    TcpNoFlags = "tcp.no_flags", TcpNoFlags;
    /// Sender and receiver are the same address and port (LAND, 1997).
    Land = "land", Land;
    /// A datagram with a wrong checksum, of a sender whose were right.
    UdpChecksum = "udp.wrong_checksum", InspectUdpChecksum;
}

impl HeaderAnomaly {
    /// What is unusual about the flags of a segment, if anything is.
    pub fn of_flags(flags: u8) -> Option<HeaderAnomaly> {
        match flags {
            _ if flags & (SYN | FIN) == SYN | FIN => Some(HeaderAnomaly::TcpSynFin),
            _ if flags & (FIN | PSH | URG | ACK) == FIN | PSH | URG => Some(HeaderAnomaly::TcpXmas),
            0 => Some(HeaderAnomaly::TcpNoFlags),
            _ => None,
        }
    }
}

/// A set of [`HeaderAnomaly`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeaderAnomalies(u32);

const _: () = assert!(HeaderAnomaly::ALL.len() <= 32);

impl HeaderAnomalies {
    /// Adds one.
    pub(super) fn insert(&mut self, anomaly: HeaderAnomaly) {
        self.0 |= 1 << anomaly as u32;
    }

    /// Adds those of another set.
    pub(super) fn add(&mut self, others: HeaderAnomalies) {
        self.0 |= others.0;
    }

    /// Is it in the set?
    pub fn contains(self, anomaly: HeaderAnomaly) -> bool {
        self.0 >> anomaly as u32 & 1 != 0
    }

    /// Without those of the network header: of a datagram put together, they were told of its fragments.
    #[must_use]
    pub fn above_network(self) -> HeaderAnomalies {
        HeaderAnomalies(self.0 & u32::MAX << HeaderAnomaly::TooManyLayers as u32)
    }

    /// Is the set empty?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in the set.
    pub fn iter(self) -> impl Iterator<Item = HeaderAnomaly> {
        HeaderAnomaly::ALL.iter().copied().filter(move |one| self.contains(*one))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{eth, extension, fragment6, ip4, ip6, join, tag, tcp, with};
    use super::super::{Decoded, Layers, Packet, decode_rest};
    use super::*;
    use crate::dataplane::capture::LinkType;

    #[test]
    fn each_has_a_number_and_a_name_of_its_own() {
        let names: std::collections::HashSet<_> = HeaderAnomaly::ALL.iter().map(|one| one.name()).collect();
        assert_eq!(names.len(), HeaderAnomaly::ALL.len());
        for (anomaly, number) in HeaderAnomaly::ALL.iter().copied().zip(FIRST_NUMBER..) {
            assert_eq!((anomaly.number(), HeaderAnomaly::of_number(number)), (number, Some(anomaly)));
        }
        assert_eq!(HeaderAnomaly::of_number(FIRST_NUMBER - 1), None);
    }

    #[test]
    fn flags_that_no_stack_sends_have_a_name() {
        for flags in 0..=u8::MAX {
            let expected = match flags {
                _ if flags & 3 == 3 => Some(HeaderAnomaly::TcpSynFin),
                _ if flags & 0x39 == 0x29 => Some(HeaderAnomaly::TcpXmas),
                0 => Some(HeaderAnomaly::TcpNoFlags),
                _ => None,
            };
            assert_eq!(HeaderAnomaly::of_flags(flags), expected, "{flags:#x}");
        }
    }

    /// What is unusual about a header is told with the addresses of who sent it, refused or not.
    #[test]
    fn unusual_headers_have_names_and_addresses() {
        use HeaderAnomaly::*;
        let segment = tcp(0x10, &[], b"hello");
        let chain = |kinds: &[u8]| {
            let inside = (6, segment.clone());
            let (first, body) = kinds.iter().rev().fold(inside, |(next, rest), kind| match kind {
                44 => (44, fragment6(next, 0, false, &rest)),
                51 => (51, join(&[&[next, 4, 0, 0], &[7; 20], &rest])),
                // Type 4, segment routing; type 0 has a number of its own here.
                43 => (43, with(&extension(next, 0, &rest), 2, 4)),
                143 => (43, extension(next, 0, &rest)),
                kind => (*kind, extension(next, 0, &rest)),
            });
            eth(0x86dd, &ip6(first, &body))
        };
        let tags = |count: usize| {
            let inside = (0x0800, ip4(6, &[], 0, &segment));
            let (kind, body) = (0..count).fold(inside, |(kind, body), id| (0x8100, tag(id as u16 + 1, kind, &body)));
            eth(kind, &body)
        };
        let v4 = |offset: u8| eth(0x0800, &ip4(6, &[], 0, &with(&segment, 12, offset)));
        let (accepted, refused) = (Decoded::Flow, |counter| Decoded::Reject(counter));
        for (name, frame, anomalies, outcome) in [
            ("destination options before and behind routing", chain(&[60, 43, 60]), vec![], accepted),
            ("all of them", chain(&[0, 60, 43, 51, 60]), vec![], accepted),
            ("destination options thrice", chain(&[60, 60, 60]), vec![ExtensionDuplicateDestination], accepted),
            ("nine of them", chain(&[60; 9]), vec![ExtensionDuplicateDestination], accepted),
            ("two routings", chain(&[43, 43]), vec![ExtensionDuplicateRouting], accepted),
            ("a routing of type 0", chain(&[60, 143]), vec![RoutingTypeZero], accepted),
            ("another one of type 0", chain(&[43, 143]), vec![ExtensionDuplicateRouting, RoutingTypeZero], accepted),
            ("two atomic fragments", chain(&[44, 44]), vec![ExtensionDuplicateFragment], accepted),
            ("two authentications", chain(&[51, 51]), vec![ExtensionDuplicateAuthentication], accepted),
            (
                "two hop by hop",
                chain(&[0, 0]),
                vec![ExtensionDuplicateHop, ExtensionHopLate],
                refused(Counter::DropIpv6Extension),
            ),
            ("late hop by hop", chain(&[60, 0]), vec![ExtensionHopLate], refused(Counter::DropIpv6Extension)),
            (
                "fragment in a fragment",
                eth(0x86dd, &ip6(44, &fragment6(44, 0, true, &fragment6(6, 0, true, &segment[..16])))),
                vec![ExtensionDuplicateFragment],
                refused(Counter::DropIpv6Extension),
            ),
            (
                "257 of them",
                chain(&[60; 257]),
                vec![ExtensionDuplicateDestination, ExtensionsTooMany],
                refused(Counter::DropIpv6Extension),
            ),
            (
                "beyond the packet",
                eth(0x86dd, &ip6(60, &[6, 1, 0, 0, 0, 0, 0, 0])),
                vec![ExtensionTruncated],
                refused(Counter::DropIpv6Extension),
            ),
            ("four tags", tags(4), vec![], accepted),
            ("five tags", tags(5), vec![TooManyTags], accepted),
            ("32 tags", tags(32), vec![TooManyTags], accepted),
            ("offset of 4", v4(0x40), vec![TcpOptionsInvalid], refused(Counter::DropTcpOffset)),
            ("offset of 15", v4(0xf0), vec![TcpHeaderTooSmall], refused(Counter::DropTcpOffset)),
        ] {
            let (mut packet, mut layers) = (Packet::default(), Layers::new(true));
            let decoded = decode_rest(&frame, frame.len() as u32, LinkType::Ethernet, &mut packet, &mut layers);
            assert_eq!((decoded, layers.anomalies.iter().collect::<Vec<_>>()), (outcome, anomalies), "{name}");
            assert_eq!(packet.key.endpoints(packet.direction).0.address & 0xff, 9, "{name}");
        }
        // A capture that cut the headers says nothing about who sent them.
        let frame = chain(&[60; 3]);
        let mut layers = Layers::new(true);
        let decoded =
            decode_rest(&frame[..60], frame.len() as u32, LinkType::Ethernet, &mut Packet::default(), &mut layers);
        assert_eq!((decoded, layers.anomalies.is_empty()), (Decoded::Reject(Counter::DropIpv6Extension), true));
    }
}
