//! Every parser, as one value, and what recognises each.

use super::facts::Fact;
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step};
use super::protocol::Protocol;
use super::stream;
use crate::dataplane::flow::Side;

/// What recognises a protocol.
pub struct Probe {
    /// Which.
    pub protocol: Protocol,
    /// Is it looked for in TCP?
    pub streams: bool,
    /// Is it looked for in UDP?
    pub datagrams: bool,
    /// Bytes of what its parser remembers of a flow.
    pub state_bytes: usize,
    /// See [`Match`].
    pub look: fn(&Look<'_>) -> Match,
}

macro_rules! parsers {
    ($($protocol:ident: $module:ident, $streams:literal, $datagrams:literal;)*) => {
        /// The parser of a flow.
        #[derive(Default)]
        pub enum Parser {
            /// Not told yet.
            #[default]
            None,
            $(#[doc = concat!("See [`super::", stringify!($module), "`].")] $protocol(super::$module::State),)*
        }

        /// In the order in which they are asked: the stricter first.
        pub const PROBES: &[Probe] = &[$(Probe {
            protocol: Protocol::$protocol,
            streams: $streams,
            datagrams: $datagrams,
            state_bytes: size_of::<super::$module::State>(),
            look: super::$module::probe,
        },)*];

        /// What each protocol's events hold, and which anomalies it has; also those that are only found inside others.
        pub const TABLE: &[(Protocol, &[Fact], &[Anomaly])] = &[
            $((Protocol::$protocol, super::$module::FACTS, super::$module::ANOMALIES),)*
            (Protocol::Ntlm, super::ntlm::FACTS, &[]),
            (Protocol::Proxied, super::proxied::FACTS, super::proxied::ANOMALIES),
            (Protocol::Unknown, &[], stream::ANOMALIES),
        ];

        impl Parser {
            /// A parser at its beginning.
            pub fn new(protocol: Protocol) -> Parser {
                match protocol {
                    $(Protocol::$protocol => Parser::$protocol(Default::default()),)*
                    _ => Parser::None,
                }
            }

            /// Of which protocol.
            pub fn protocol(&self) -> Protocol {
                match self {
                    Parser::None => Protocol::Unknown,
                    $(Parser::$protocol(_) => Protocol::$protocol,)*
                }
            }

            /// Of which protocol, once that is sure.
            pub fn told(&self) -> Protocol {
                match self {
                    Parser::Rtp(state) if !state.is_confirmed() => Protocol::Unknown,
                    other => other.protocol(),
                }
            }

            /// See [`Parse::begin`].
            pub fn begin(&mut self, look: &Look<'_>) {
                match self {
                    Parser::None => {}
                    $(Parser::$protocol(state) => state.begin(look),)*
                }
            }

            /// What the stream turns into where the parser is done, if it said so.
            pub fn turns_into(&self) -> Option<Protocol> {
                match self {
                    Parser::Http(state) => state.turns_into(),
                    Parser::Smtp(state) => state.turns_into(),
                    Parser::Ftp(state) => state.turns_into(),
                    Parser::Pop3(state) => state.turns_into(),
                    Parser::Imap(state) => state.turns_into(),
                    Parser::MySql(state) => state.turns_into(),
                    Parser::PostgreSql(state) => state.turns_into(),
                    Parser::Ldap(state) => state.turns_into(),
                    Parser::Rdp(state) => state.turns_into(),
                    Parser::Socks(state) => state.turns_into(),
                    _ => None,
                }
            }

            /// Are the next `rest` bytes of `side`, which are to be passed over, wanted after all? Asked after each segment as
            /// long as there are such; a yes is said once.
            pub fn recalls(&mut self, side: Side, rest: u64) -> bool {
                match self {
                    Parser::Http(state) => state.recalls(side, rest),
                    _ => false,
                }
            }

            /// See [`Parse::step`].
            pub fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
                match self {
                    Parser::None => Step::Done,
                    $(Parser::$protocol(state) => state.step(side, bytes, out),)*
                }
            }

            /// See [`Parse::gap`].
            pub fn gap(&mut self, side: Side, hole: &Hole<'_>, out: &mut dyn Output) -> Resume {
                match self {
                    Parser::None => Resume::Done,
                    $(Parser::$protocol(state) => state.gap(side, hole, out),)*
                }
            }

            /// See [`Parse::passed`].
            pub fn passed(&mut self, side: Side, count: u64, out: &mut dyn Output) {
                match self {
                    Parser::None => {}
                    $(Parser::$protocol(state) => state.passed(side, count, out),)*
                }
            }

            /// See [`Parse::end`].
            pub fn end(&mut self, out: &mut dyn Output) {
                match self {
                    Parser::None => {}
                    $(Parser::$protocol(state) => state.end(out),)*
                }
            }
        }
    };
}

parsers! {
    // protocol: module, over TCP, over UDP
    Tls: tls, true, false;
    Http: http, true, false;
    Ssh: ssh, true, false;
    Socks: socks, true, false;
    Smb: smb, true, false;
    Smtp: smtp, true, false;
    Ftp: ftp, true, false;
    Pop3: pop3, true, false;
    Imap: imap, true, false;
    Telnet: telnet, true, false;
    Http2: http2, true, false;
    WebSocket: websocket, true, false;
    Redis: redis, true, false;
    BitTorrent: bittorrent, true, true;
    Stratum: stratum, true, true;
    PostgreSql: pgsql, true, false;
    MySql: mysql, true, false;
    MongoDb: mongodb, true, false;
    Mqtt: mqtt, true, false;
    Modbus: modbus, true, false;
    Dnp3: dnp3, true, true;
    Iec104: iec104, true, false;
    S7: s7, true, false;
    Rdp: rdp, true, false;
    Quic: quic, false, true;
    Dtls: dtls, false, true;
    Stun: stun, true, true;
    Kerberos: kerberos, true, true;
    Ldap: ldap, true, true;
    Dhcp: dhcp, false, true;
    Snmp: snmp, false, true;
    Ssdp: ssdp, false, true;
    Sip: sip, true, true;
    Nbns: nbns, false, true;
    Mdns: mdns, false, true;
    Llmnr: llmnr, true, true;
    Dns: dns, true, true;
    DceRpc: dcerpc, true, false;
    Radius: radius, false, true;
    Tftp: tftp, false, true;
    WireGuard: wireguard, false, true;
    Ike: ike, false, true;
    OpenVpn: openvpn, true, true;
    Memcached: memcached, true, true;
    Ntp: ntp, false, true;
    Syslog: syslog, true, true;
    Rtp: rtp, false, true;
}
