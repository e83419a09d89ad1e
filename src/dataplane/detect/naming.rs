//! How evidence names protocols and counts.

use std::borrow::Cow;

/// IANA's keyword in capitals; the number where we have none.
pub fn protocol_name(protocol: u8) -> Cow<'static, str> {
    let name = match protocol {
        1 => "ICMP",
        2 => "IGMP",
        4 => "IP-in-IP",
        6 => "TCP",
        17 => "UDP",
        33 => "DCCP",
        41 => "IPv6",
        46 => "RSVP",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "IPv6-ICMP",
        88 => "EIGRP",
        89 => "OSPF",
        103 => "PIM",
        112 => "VRRP",
        132 => "SCTP",
        other => return other.to_string().into(),
    };
    name.into()
}

/// Does the protocol have ports? What a flow's key has in their place otherwise (an echo's identifier, type and code) is
/// nothing to tell people.
pub const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 132)
}

/// `1 packet`, `2 packets`.
pub(super) fn counted(count: impl Into<u64>, noun: &str) -> String {
    match count.into() {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}
