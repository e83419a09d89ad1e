//! What Zeek calls the protocols.

use crate::dataplane::inspect::Protocol;

/// Name in the column `service`: Zeek's own where it has an analyser for the protocol, else ours.
pub(super) fn name(protocol: Protocol, transport: u8) -> Option<&'static str> {
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
