//! The protocols that are told apart by their content.

macro_rules! protocols {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// An application protocol.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        #[repr(u8)]
        pub enum Protocol {
            /// Not told (yet).
            #[default]
            Unknown = 0,
            $($(#[$doc])* $variant,)*
        }

        impl Protocol {
            /// All of them, in the order of their numbers, without [`Protocol::Unknown`].
            pub const ALL: &[Protocol] = &[$(Protocol::$variant,)*];

            /// Name in tables, metrics and events.
            pub fn name(self) -> &'static str {
                match self {
                    Protocol::Unknown => "unknown",
                    $(Protocol::$variant => $name,)*
                }
            }
        }
    };
}

protocols! {
    /// RFC 1035, over UDP and TCP.
    Dns = "dns",
    /// Multicast DNS (RFC 6762).
    Mdns = "mdns",
    /// Link-local multicast name resolution (RFC 4795).
    Llmnr = "llmnr",
    /// NetBIOS name service (RFC 1002).
    Nbns = "nbns",
    /// RFC 8446 and its forerunners down to SSL 3.0.
    Tls = "tls",
    /// RFC 9147, RFC 6347.
    Dtls = "dtls",
    /// RFC 9000 (version 1), RFC 9369 (version 2).
    Quic = "quic",
    /// HTTP/1.x (RFC 9112).
    Http = "http",
    /// HTTP/2 in the clear (RFC 9113).
    Http2 = "http2",
    /// RFC 6455, after its upgrade from HTTP/1.
    WebSocket = "websocket",
    /// RFC 4253.
    Ssh = "ssh",
    /// SMB1, SMB2, SMB3 (MS-CIFS, MS-SMB2).
    Smb = "smb",
    /// DCE/RPC (C706, MS-RPCE).
    DceRpc = "dcerpc",
    /// MS-RDPBCGR.
    Rdp = "rdp",
    /// RFC 4120.
    Kerberos = "krb5",
    /// RFC 4511; CLDAP over UDP.
    Ldap = "ldap",
    /// MS-NLMP, inside others.
    Ntlm = "ntlm",
    /// RFC 959.
    Ftp = "ftp",
    /// RFC 5321.
    Smtp = "smtp",
    /// RFC 9051.
    Imap = "imap",
    /// RFC 1939.
    Pop3 = "pop3",
    /// RFC 854.
    Telnet = "telnet",
    /// RFC 2131; DHCPv6 is RFC 8415.
    Dhcp = "dhcp",
    /// RFC 5905.
    Ntp = "ntp",
    /// RFC 1157, RFC 3416, RFC 3412.
    Snmp = "snmp",
    /// UPnP device architecture.
    Ssdp = "ssdp",
    /// RFC 1350.
    Tftp = "tftp",
    /// RFC 3261.
    Sip = "sip",
    /// RFC 3550, with RTCP.
    Rtp = "rtp",
    /// RFC 8489.
    Stun = "stun",
    /// OASIS MQTT 3.1.1 and 5.0.
    Mqtt = "mqtt",
    /// Modbus application protocol over TCP.
    Modbus = "modbus",
    /// IEEE 1815.
    Dnp3 = "dnp3",
    /// IEC 60870-5-104.
    Iec104 = "iec104",
    /// Siemens S7 over COTP (RFC 1006).
    S7 = "s7",
    /// BEP 3, BEP 5 (DHT), BEP 29 (uTP).
    BitTorrent = "bittorrent",
    /// WireGuard.
    WireGuard = "wireguard",
    /// OpenVPN.
    OpenVpn = "openvpn",
    /// RFC 7296, RFC 2408.
    Ike = "ike",
    /// Mining pools (JSON-RPC).
    Stratum = "stratum",
    /// RESP.
    Redis = "redis",
    /// MySQL client/server protocol.
    MySql = "mysql",
    /// PostgreSQL frontend/backend protocol.
    PostgreSql = "pgsql",
    /// memcached, text and binary.
    Memcached = "memcached",
    /// RFC 5424, RFC 3164.
    Syslog = "syslog",
    /// RFC 2865.
    Radius = "radius",
    /// SOCKS 4, 4a and 5 (RFC 1928).
    Socks = "socks",
    /// MongoDB's wire protocol.
    MongoDb = "mongodb",
    /// The PROXY protocol in front of others (HAProxy, versions 1 and 2).
    Proxied = "proxy_protocol",
}

impl Protocol {
    /// The protocol of this number, as it stands in facts.
    pub fn from_number(number: u8) -> Protocol {
        number.checked_sub(1).and_then(|index| Protocol::ALL.get(usize::from(index))).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unambiguous() {
        let mut names: Vec<&str> = Protocol::ALL.iter().map(|one| one.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Protocol::ALL.len());
        for one in Protocol::ALL {
            assert_eq!(Protocol::from_number(*one as u8), *one);
        }
        assert_eq!(Protocol::from_number(0), Protocol::Unknown);
        assert_eq!(Protocol::from_number(255), Protocol::Unknown);
    }
}
