//! Community ID v1: the name of a flow that other tools compute alike.
//!
//! Specification: <https://github.com/corelight/community-id-spec>. Computed only when an event is emitted; it allocates
//! its text, so nothing on the packet path calls it.

use super::key::{Direction, Endpoint, FlowKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use std::net::IpAddr;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

/// Community ID of the flow behind a key, as its originator began it.
///
/// Our keys hold an ICMP identifier where the specification wants type and code: `icmp` gives those of the originator's
/// first message; without it an echo request is assumed, the one that people start.
pub fn community_id(key: &FlowKey, originator: Direction, icmp: Option<(u8, u8)>) -> String {
    let (source, destination) = key.endpoints(originator);
    community_id_of(source, destination, key.protocol(), icmp)
}

/// [`community_id`] of a flow whose originator's and responder's first messages are known, where it is ICMP; where only the
/// responder was seen, by what he sent.
pub fn community_id_of_sides(key: &FlowKey, originator: Direction, icmp: [Option<(u8, u8)>; 2]) -> String {
    match icmp {
        [None, Some(icmp)] => community_id(key, originator.flip(), Some(icmp)),
        [icmp, _] => community_id(key, originator, icmp),
    }
}

/// Community ID of a packet or flow from `source` to `destination`; for ICMP and ICMPv6 `icmp` is type and code, and the
/// ports do not matter. The seed is 0, as everybody's is.
pub fn community_id_of(source: Endpoint, destination: Endpoint, protocol: u8, icmp: Option<(u8, u8)>) -> String {
    let mut from = (source.ip(), source.port);
    let mut to = (destination.ip(), destination.port);
    let mut one_way = false;
    let echo = if protocol == ICMP { 8 } else { 128 };
    let ports = match protocol {
        TCP | UDP | SCTP => true,
        ICMP | ICMPV6 => {
            let icmp = icmp.unwrap_or((echo, 0));
            one_way = counterpart(protocol, icmp.0).is_none();
            (from.1, to.1) = icmp_ports(protocol, icmp);
            true
        }
        _ => false,
    };
    if !one_way && (octets(from.0), from.1) > (octets(to.0), to.1) {
        std::mem::swap(&mut from, &mut to);
    }
    let mut hash = Sha1::new();
    hash.update([0, 0]);
    for (address, _) in [from, to] {
        match address {
            IpAddr::V4(address) => hash.update(address.octets()),
            IpAddr::V6(address) => hash.update(address.octets()),
        }
    }
    hash.update([protocol, 0]);
    if ports {
        hash.update(from.1.to_be_bytes());
        hash.update(to.1.to_be_bytes());
    }
    format!("1:{}", STANDARD.encode(hash.finalize()))
}

/// What stands for the ports of an ICMP message of this type and code: the type, and the type that answers it or, where there
/// is none, the code.
pub fn icmp_ports(protocol: u8, (kind, code): (u8, u8)) -> (u16, u16) {
    (kind.into(), counterpart(protocol, kind).unwrap_or(code).into())
}

/// Addresses of one flow are of one family; between them the octets decide.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The type that answers a type, where there is one (Zeek's tables, which the specification refers to).
fn counterpart(protocol: u8, kind: u8) -> Option<u8> {
    let pairs: &[(u8, u8)] = if protocol == ICMP {
        // Echo, router discovery, timestamp, information, address mask.
        &[(8, 0), (10, 9), (13, 14), (15, 16), (17, 18)]
    } else {
        // Echo, multicast listener, router, neighbour, node information, home agent discovery.
        &[(128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145)]
    };
    pairs.iter().find_map(|&(asks, answers)| match kind {
        _ if kind == asks => Some(answers),
        _ if kind == answers => Some(asks),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(address: &str, port: u16) -> Endpoint {
        let address = match address.parse::<IpAddr>().unwrap() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        Endpoint { address: u128::from(address), port }
    }

    #[test]
    fn the_specifications_own_table() {
        let (low, high) = ("fe80:0001:0203:0405:0607:0809:0A0B:0C0D", "fe80:1011:1213:1415:1617:1819:1A1B:1C1D");
        for (protocol, from, to, icmp, id) in [
            (6, ("1.2.3.4", 1122), ("5.6.7.8", 3344), None, "1:wCb3OG7yAFWelaUydu0D+125CLM="),
            (6, ("5.6.7.8", 3344), ("1.2.3.4", 1122), None, "1:wCb3OG7yAFWelaUydu0D+125CLM="),
            (6, ("128.232.110.120", 34855), ("66.35.250.204", 80), None, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
            (17, ("5.6.7.8", 3344), ("1.2.3.4", 1122), None, "1:0Mu9InQx6z4ZiCZM/7HXi2WMhOg="),
            (132, ("1.2.3.4", 1122), ("5.6.7.8", 3344), None, "1:EKt4MsxuyaE6mL+hmrEkQ9csDD8="),
            (1, ("1.2.3.4", 77), ("5.6.7.8", 77), Some((8, 0)), "1:crodRHL2FEsHjbv3UkRrfbs4bZ0="),
            (1, ("1.2.3.4", 77), ("5.6.7.8", 77), None, "1:crodRHL2FEsHjbv3UkRrfbs4bZ0="),
            (1, ("5.6.7.8", 0), ("1.2.3.4", 0), Some((0, 0)), "1:crodRHL2FEsHjbv3UkRrfbs4bZ0="),
            (1, ("1.2.3.4", 0), ("5.6.7.8", 0), Some((11, 0)), "1:f/YiSyWqczrTgfUCZlBUnvHRcPk="),
            (58, (low, 0), (high, 0), Some((128, 0)), "1:0bf7hyMJUwt3fMED7z8LIfRpBeo="),
            (58, (high, 0), (low, 0), Some((129, 0)), "1:0bf7hyMJUwt3fMED7z8LIfRpBeo="),
            (58, (low, 0), (high, 0), Some((146, 0)), "1:fYC8+pz24E+EhANP1EZhpX0Dw10="),
            (46, ("1.2.3.4", 0), ("5.6.7.8", 0), None, "1:ikv3kmf89luf73WPz1jOs49S768="),
            (46, (high, 0), (low, 0), None, "1:wQ/2mwrnXP4lmJcHdGL5ePjR+e0="),
        ] {
            let (from, to) = (endpoint(from.0, from.1), endpoint(to.0, to.1));
            assert_eq!(community_id_of(from, to, protocol, icmp), id, "{protocol} {from:?} {to:?}");
        }
    }

    #[test]
    fn a_key_gives_what_its_packets_give() {
        let (key, direction) = FlowKey::v4(0x8010_0a01, 40000, 0x0a00_0001, 443, 6, 0);
        let (source, destination) = key.endpoints(direction);
        let id = community_id_of(source, destination, 6, None);
        assert_eq!(community_id(&key, direction, None), id);
        assert_eq!(community_id(&key, direction.flip(), None), id);
    }
}
