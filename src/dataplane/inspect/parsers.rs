//! Every parser, as one value, and what recognises each.

use super::facts::Fact;
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step};
use super::protocol::Protocol;
use super::{stream, sure};
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
    /// The same of what is this protocol beyond doubt, whatever the flow was taken for; `None` where nothing is.
    pub sure: Option<fn(&Look<'_>) -> Match>,
}

macro_rules! parsers {
    ($($protocol:ident: $module:ident, $streams:literal, $datagrams:literal, $sure:expr;)*) => {
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
            sure: $sure,
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

            /// Is what it turns into what a proxy passes on? Asked where it does.
            pub fn is_tunnel(&self) -> bool {
                match self {
                    Parser::Http(state) => state.is_tunnel(),
                    Parser::Socks(_) => true,
                    _ => false,
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

            /// See [`Parse::closed`].
            pub fn closed(&mut self, out: &mut dyn Output) {
                match self {
                    Parser::None => {}
                    $(Parser::$protocol(state) => state.closed(out),)*
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
    // protocol: module, over TCP, over UDP, what is it beyond doubt
    Tls: tls, true, false, Some(sure::tls);
    Http: http, true, false, Some(sure::http);
    Ssh: ssh, true, false, Some(sure::ssh);
    Socks: socks, true, false, Some(sure::socks);
    Smb: smb, true, false, Some(sure::smb);
    Smtp: smtp, true, false, Some(sure::smtp);
    Ftp: ftp, true, false, Some(sure::ftp);
    Pop3: pop3, true, false, Some(sure::pop3);
    Imap: imap, true, false, Some(sure::imap);
    Telnet: telnet, true, false, Some(sure::telnet);
    Http2: http2, true, false, Some(sure::http2);
    WebSocket: websocket, true, false, None;
    Redis: redis, true, false, Some(sure::redis);
    BitTorrent: bittorrent, true, true, Some(sure::bittorrent);
    Stratum: stratum, true, true, Some(sure::stratum);
    PostgreSql: pgsql, true, false, Some(sure::pgsql);
    MySql: mysql, true, false, Some(sure::mysql);
    MongoDb: mongodb, true, false, Some(sure::mongodb);
    Mqtt: mqtt, true, false, Some(sure::mqtt);
    Modbus: modbus, true, false, Some(sure::modbus);
    Dnp3: dnp3, true, true, Some(sure::dnp3);
    Iec104: iec104, true, false, Some(sure::iec104);
    S7: s7, true, false, Some(sure::s7);
    Rdp: rdp, true, false, Some(sure::rdp);
    Quic: quic, false, true, Some(sure::quic);
    Dtls: dtls, false, true, Some(sure::dtls);
    Stun: stun, true, true, Some(sure::stun);
    Kerberos: kerberos, true, true, Some(sure::kerberos);
    Ldap: ldap, true, true, Some(sure::ldap);
    Dhcp: dhcp, false, true, Some(sure::dhcp);
    Snmp: snmp, false, true, Some(sure::snmp);
    Ssdp: ssdp, false, true, Some(sure::ssdp);
    Sip: sip, true, true, Some(sure::sip);
    Nbns: nbns, false, true, None;
    Mdns: mdns, false, true, None;
    Llmnr: llmnr, true, true, None;
    Dns: dns, true, true, Some(sure::dns);
    DceRpc: dcerpc, true, false, Some(sure::dcerpc);
    Radius: radius, false, true, None;
    Tftp: tftp, false, true, None;
    WireGuard: wireguard, false, true, Some(sure::wireguard);
    Ike: ike, false, true, Some(sure::ike);
    OpenVpn: openvpn, true, true, Some(sure::openvpn);
    Memcached: memcached, true, true, Some(sure::memcached);
    Ntp: ntp, false, true, None;
    Syslog: syslog, true, true, Some(sure::syslog);
    Rtp: rtp, false, true, None;
}
