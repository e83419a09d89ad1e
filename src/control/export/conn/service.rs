//! What Zeek calls the protocols.

use super::Value;
use crate::dataplane::inspect::Protocol;
use crate::exchange::FlowSummary;

/// Port of NetBIOS' datagrams (RFC 1002 section 6).
const NETBIOS_DATAGRAMS: u16 = 138;

/// The column `service`: what a connection was before it turned into something else stands in front, as Zeek has its
/// analysers in the order in which they were sure.
pub(super) fn names(flow: &FlowSummary) -> Value {
    let transport = flow.key.protocol();
    // Datagrams of NetBIOS are no messages of DNS, as its names are (RFC 1002 sections 4.2 and 4.4).
    let is_datagrams = [flow.key.low(), flow.key.high()].iter().any(|end| end.port == NETBIOS_DATAGRAMS);
    if flow.application == Protocol::Nbns && is_datagrams {
        return Value::Unset;
    }
    match (name(flow.began_as, transport), name(flow.application, transport)) {
        (Some(first), Some(then)) if first != then => Value::Text(format!("{first},{then}")),
        (first, then) => then.or(first).map_or(Value::Unset, Value::Word),
    }
}

/// Name of one: Zeek's own where it has an analyser for the protocol, else ours.
fn name(protocol: Protocol, transport: u8) -> Option<&'static str> {
    const TCP: u8 = 6;
    let of = |tcp, udp| if transport == TCP { tcp } else { udp };
    Some(match protocol {
        Protocol::Unknown => return None,
        Protocol::Mdns | Protocol::Llmnr | Protocol::Nbns => "dns",
        Protocol::Tls => "ssl",
        Protocol::DceRpc => "dce_rpc",
        Protocol::Kerberos => of("krb_tcp", "krb"),
        Protocol::Ldap => of("ldap_tcp", "ldap_udp"),
        Protocol::Dnp3 => of("dnp3_tcp", "dnp3_udp"),
        Protocol::PostgreSql => "postgresql",
        other => other.name(),
    })
}
