//! Prefixes of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A network: an address and how many of its first bits count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// IPv4 as IPv4-mapped IPv6; bits beyond the prefix are 0.
    bits: u128,
    length: u32,
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn mask(length: u32) -> u128 {
    if length == 0 { 0 } else { u128::MAX << (128 - length) }
}

impl Network {
    /// Reads `10.0.0.0/8`, or one address.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().ok()?;
        let (base, most) = if address.is_ipv4() { (96, 32) } else { (0, 128) };
        let length = match length {
            Some(text) => text.parse::<u32>().ok().filter(|length| *length <= most)?,
            None => most,
        } + base;
        Some(Network { bits: mapped(address) & mask(length), length })
    }

    /// Its first bits as those of an IPv6 address (IPv4 mapped), and how many of them count.
    pub fn prefix(&self) -> (u128, u32) {
        (self.bits, self.length)
    }

    /// Does the address lie in it?
    pub fn holds(&self, address: IpAddr) -> bool {
        mapped(address) & mask(self.length) == self.bits
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from(self.bits);
        match address.to_ipv4_mapped().filter(|_| self.length >= 96) {
            Some(address) => write!(f, "{address}/{}", self.length - 96),
            None => write!(f, "{address}/{}", self.length),
        }
    }
}

/// Private and link-local addresses (RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291): what is at home unless the operator
/// says otherwise.
pub const HOME: [&str; 7] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10"];

/// [`HOME`].
pub fn home() -> Vec<Network> {
    HOME.into_iter().filter_map(Network::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_told_and_hold_what_they_hold() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.168.1.7", "192.168.1.7", "192.168.1.8"),
            ("fc00::/7", "fd12::1", "fe80::1"),
            ("0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
            ("100.64.0.0/10", "100.127.255.255", "100.128.0.0"),
        ] {
            let network = Network::parse(text).unwrap();
            assert!(network.holds(inside.parse().unwrap()), "{text} {inside}");
            assert!(!network.holds(outside.parse().unwrap()), "{text} {outside}");
            assert_eq!(Network::parse(&network.to_string()), Some(network), "{text}");
        }
        assert!(Network::parse("::/0").unwrap().holds("10.0.0.1".parse().unwrap()));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "fe80::/129", "a", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
        assert_eq!(home().len(), HOME.len());
    }
}
