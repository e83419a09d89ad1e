//! Prefixes of addresses as verdicts have them: IPv4 and IPv6 apart, no bits beyond the length, IPv4-mapped ones as the IPv4
//! ones that they stand for (so that no way of writing gets round the allow-list).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A prefix: its first address, and how many bits of it count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Prefix {
    first: IpAddr,
    bits: u8,
}

/// Why a text is no prefix.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PrefixError {
    /// Neither address nor prefix.
    #[error("{0:?} is no address and no prefix: write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")]
    Text(String),
    /// Bits are set beyond the length: which of the two was meant?
    #[error("{given} has bits beyond its length: write {prefix} for the network, or {address} for the address alone")]
    Beyond {
        /// As it was written.
        given: String,
        /// The network.
        prefix: Prefix,
        /// The address.
        address: IpAddr,
    },
}

fn mask(bits: u8) -> u128 {
    if bits == 0 { 0 } else { u128::MAX << (128 - u32::from(bits).min(128)) }
}

impl Prefix {
    /// One address.
    pub fn host(address: IpAddr) -> Prefix {
        let first = address.to_canonical();
        Prefix { first, bits: if first.is_ipv4() { 32 } else { 128 } }
    }

    /// The prefix of that length that holds the address; what the length leaves out is cut off.
    pub fn around(address: IpAddr, bits: u8) -> Prefix {
        let mapped = matches!(address, IpAddr::V6(six) if six.to_ipv4_mapped().is_some());
        match address.to_canonical() {
            IpAddr::V4(_) if mapped && bits < 96 => Prefix::of(address, bits),
            first @ IpAddr::V4(_) if mapped => Prefix::of(first, bits - 96),
            first => Prefix::of(first, bits),
        }
    }

    fn of(address: IpAddr, bits: u8) -> Prefix {
        match address {
            IpAddr::V4(four) => {
                let bits = bits.min(32);
                let kept = (u128::from(u32::from(four)) << 96) & mask(bits);
                Prefix { first: Ipv4Addr::from((kept >> 96) as u32).into(), bits } // the shift leaves 32 bits
            }
            IpAddr::V6(six) => {
                let bits = bits.min(128);
                Prefix { first: Ipv6Addr::from(u128::from(six) & mask(bits)).into(), bits }
            }
        }
    }

    /// Its first address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// Its last address.
    pub fn last(&self) -> IpAddr {
        match self.first {
            // The shift leaves 32 bits.
            IpAddr::V4(four) => Ipv4Addr::from(u32::from(four) | (!mask(self.bits) >> 96) as u32).into(),
            IpAddr::V6(six) => Ipv6Addr::from(u128::from(six) | !mask(self.bits)).into(),
        }
    }

    /// How many bits count: 0 to 32, or to 128.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// One address and no more.
    pub fn is_host(&self) -> bool {
        self.bits == if self.first.is_ipv4() { 32 } else { 128 }
    }

    /// Bits from the top of 128, so that both families compare alike.
    fn left(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(four) => u128::from(u32::from(four)) << 96,
            IpAddr::V6(six) => six.into(),
        }
    }

    /// Does the address lie in it?
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && Prefix::left(address) & mask(self.bits) == Prefix::left(self.first)
    }

    /// Have the two an address in common?
    pub fn meets(&self, other: &Prefix) -> bool {
        let (wide, narrow) = if self.bits <= other.bits { (self, other) } else { (other, self) };
        wide.holds(narrow.first)
    }

    /// First and last address as numbers, in whose order families lie apart; for searches.
    pub(super) fn span(&self) -> (bool, u128, u128) {
        let first = Prefix::left(self.first);
        (self.first.is_ipv6(), first, first | !mask(self.bits))
    }

    /// Addresses in it, of IPv6 those of 64 bits: /64 and longer count as one network.
    pub fn size(&self) -> u64 {
        let free = if self.first.is_ipv4() { 32 - self.bits } else { 64_u8.saturating_sub(self.bits) };
        1_u64.checked_shl(free.into()).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() { write!(f, "{}", self.first) } else { write!(f, "{}/{}", self.first, self.bits) }
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Prefix, PrefixError> {
        let wrong = || PrefixError::Text(text.chars().take(64).collect());
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let is_number = |text: &&str| text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        let bits = match bits {
            None => most,
            Some(bits) => {
                let bits = Some(bits).filter(is_number).and_then(|bits| bits.parse::<u8>().ok());
                bits.filter(|bits| *bits <= most).ok_or_else(wrong)?
            }
        };
        let prefix = Prefix::around(address, bits);
        if prefix.first != address.to_canonical() {
            return Err(PrefixError::Beyond { given: text.to_owned(), prefix, address });
        }
        Ok(prefix)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Prefix, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap_or_else(|cause| panic!("{text}: {cause}"))
    }

    #[test]
    fn prefixes_are_read_and_told_in_one_way() {
        for (text, told) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::/64", "::/64"),
        ] {
            assert_eq!(prefix(text).to_string(), told, "{text}");
            assert_eq!(prefix(told), prefix(text), "{text}");
        }
        for bad in
            ["", "10.0.0.0/33", "10.0.0/8", "fe80::/129", "a", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/+8", "1.2.3.4/0x8"]
        {
            assert!(matches!(bad.parse::<Prefix>(), Err(PrefixError::Text(_))), "{bad}");
        }
        let message = "10.0.0.5/24".parse::<Prefix>().unwrap_err().to_string();
        assert!(message.contains("write 10.0.0.0/24 for the network, or 10.0.0.5 for"), "{message}");
    }

    #[test]
    fn what_lies_in_it_and_what_it_meets() {
        for (one, other, meets) in [
            ("10.0.0.0/8", "10.9.0.0/16", true),
            ("10.0.0.0/8", "11.0.0.0/8", false),
            ("0.0.0.0/0", "::/0", false),
            ("::/0", "2001:db8::1", true),
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("192.0.2.6", "192.0.2.7", false),
        ] {
            assert_eq!(prefix(one).meets(&prefix(other)), meets, "{one} {other}");
            assert_eq!(prefix(other).meets(&prefix(one)), meets, "{other} {one}");
        }
        for (text, last) in [
            ("10.8.0.0/15", "10.9.255.255"),
            ("192.0.2.7", "192.0.2.7"),
            ("0.0.0.0/0", "255.255.255.255"),
            ("2001:db8::/126", "2001:db8::3"),
        ] {
            assert_eq!(prefix(text).last().to_string(), last);
        }
        assert!(prefix("192.0.2.0/24").holds("::ffff:192.0.2.9".parse().unwrap()));
        let sizes = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "2001:db8::/64", "2001:db8::1", "::/0"];
        assert_eq!(sizes.map(|text| prefix(text).size()), [1 << 24, 1, 1 << 32, 1, 1, u64::MAX]);
    }
}
