//! Which flows a reader asks for.

use super::KeptFlow;
use crate::dataplane::flow::TcpState;
use crate::dataplane::inspect::Protocol;
use crate::units::Timestamp;
use std::net::{IpAddr, Ipv6Addr};

/// A block of addresses; a single one is a block of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// IPv4 as IPv4-mapped IPv6.
    network: u128,
    mask: u128,
}

impl Prefix {
    /// `192.0.2.0/24`, `2001:db8::/32`, or an address.
    pub fn parse(text: &str) -> Option<Prefix> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().ok()?;
        let (whole, before) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let length = length.map_or(Some(whole), |length| length.parse::<u32>().ok())?;
        let mask = u128::MAX.checked_shl(128_u32.checked_sub(before + length.min(whole))?).unwrap_or(0);
        (length <= whole).then(|| Prefix { network: number(address) & mask, mask })
    }

    /// Does it hold the address (as [`crate::dataplane::decode::Endpoint`] has it)?
    pub fn holds(&self, address: u128) -> bool {
        address & self.mask == self.network
    }
}

fn number(address: IpAddr) -> u128 {
    let v6: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    u128::from(v6)
}

/// Which flows a reader asks for; each part that is there must fit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FlowFilter {
    /// One end is of this block.
    pub host: Option<Prefix>,
    /// Port of one end.
    pub port: Option<u16>,
    /// IP protocol number.
    pub transport: Option<u8>,
    /// What it carried, or was before it turned into that.
    pub application: Option<Protocol>,
    /// Its Community ID.
    pub community_id: Option<String>,
    /// How far its life came.
    pub state: Option<TcpState>,
    /// It lives, or has ended.
    pub living: Option<bool>,
    /// Its latest packet is no older.
    pub since: Option<Timestamp>,
    /// Its first packet is no younger.
    pub until: Option<Timestamp>,
    /// Bytes both ways at least.
    pub min_bytes: Option<u64>,
    /// An alert is about it, or none is.
    pub alerted: Option<bool>,
}

impl FlowFilter {
    /// Does it pass?
    pub fn passes(&self, KeptFlow { flow, alerted }: &KeptFlow) -> bool {
        fn fits<T>(wanted: &Option<T>, of: impl FnOnce(&T) -> bool) -> bool {
            wanted.as_ref().is_none_or(of)
        }
        let ends = [flow.key.low(), flow.key.high()];
        let has_ports = crate::dataplane::detect::has_ports(flow.key.protocol());
        fits(&self.transport, |wanted| *wanted == flow.key.protocol())
            && fits(&self.port, |wanted| has_ports && ends.iter().any(|end| end.port == *wanted))
            && fits(&self.application, |wanted| [flow.application, flow.began_as].contains(wanted))
            && fits(&self.state, |wanted| *wanted == flow.state)
            && fits(&self.living, |wanted| *wanted == flow.ended.is_none())
            && fits(&self.since, |wanted| flow.last_seen >= *wanted)
            && fits(&self.until, |wanted| flow.first_seen <= *wanted)
            && fits(&self.min_bytes, |wanted| flow.bytes.iter().sum::<u64>() >= *wanted)
            && fits(&self.alerted, |wanted| wanted == alerted)
            && fits(&self.host, |wanted| ends.iter().any(|end| wanted.holds(end.address)))
            // The dearest last: a hash of the key.
            && fits(&self.community_id, |wanted| *wanted == flow.community_id())
    }
}
