//! Where each parser stops, and what tells that it did: the source of a section of `docs/protocols.md`.
//!
//! Beyond these stand the limits of all parsers (a unit, a side, the facts of an event), and of each fact its length and how
//! often it may come.

use super::parse::{self, Anomaly};
use super::protocol::Protocol;
use super::{
    bittorrent, dcerpc, dhcp, dnp3, dns, dtls, ftp, http, http2, ike, imap, kerberos, ldap, modbus, mongodb, mqtt,
    mysql, ntlm, openvpn, pgsql, pop3, proxied, quic, radius, rdp, redis, rtp, s7, sip, smb, smtp, snmp, socks, ssdp,
    ssh, stratum, stun, syslog, telnet, tftp, tls, websocket, wireguard,
};
use super::{memcached, remembered::TEXT_MAX};

/// What tells that a limit was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// An anomaly of the protocol.
    Anomaly(Anomaly),
    /// The event is `truncated`.
    Truncated,
    /// [`super::Output::limit`]: the counter `inspect_limit_reached`.
    Counted,
    /// Nothing does, for this reason.
    Nothing(&'static str),
}

/// A limit of one parser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// What is limited.
    pub of: &'static str,
    /// To how many.
    pub bound: u64,
    /// What tells that there was more.
    pub told: Told,
}

const fn at(of: &'static str, bound: u64, told: Told) -> Limit {
    Limit { of, bound, told }
}

use Told::{Anomaly as Named, Counted, Nothing, Truncated};

const DNS: &[Limit] = &[
    at("questions of a message", dns::QUESTIONS_MAX as u64, Truncated),
    at("records of a section that are told", dns::RECORDS_KEPT as u64, Truncated),
    at("records of a section that are looked at", dns::RECORDS_MAX as u64, Truncated),
];

/// Of every protocol its parser's own limits; none for those whose messages are read to their ends.
#[rustfmt::skip]
pub const LIMITS: &[(Protocol, &[Limit])] = &[
    (Protocol::Tls, &[
        at("certificates of a chain that are counted", tls::CHAIN_MAX as u64, Truncated),
        at("extensions of a certificate", tls::EXTENSIONS_MAX as u64, Truncated),
        at("attributes of a name in a certificate", tls::ATTRIBUTES_MAX as u64, Truncated),
        at("types of extensions of a hello", tls::TYPES_MAX as u64, Truncated),
        at("ciphers of a hello of SSL 2", tls::CIPHERS_MAX as u64, Truncated),
    ]),
    (Protocol::Http, &[
        at("bytes of a head", http::HEAD_MAX as u64, Named(http::HEADER_TOO_LONG)),
        at("fields of a head", http::FIELDS_MAX as u64, Named(http::HEADER_TOO_LONG)),
        at("requests that wait for their answers", http::PENDING_MAX as u64, Named(http::PENDING_TOO_MANY)),
        at("bytes of a target", http::URI_MAX as u64, Named(http::URI_TOO_LONG)),
        at("bytes of a line before a chunk", http::CHUNK_LINE_MAX as u64, Named(http::CHUNK_INVALID)),
        at("bytes of a line behind the last chunk", http::TRAILER_LINE_MAX as u64, Named(http::CHUNK_INVALID)),
    ]),
    (Protocol::Ssh, &[
        at("bytes of a line before the keys", ssh::BANNER_MAX as u64, Named(ssh::BANNER_TOO_LONG)),
        at("lines of a server before its version", ssh::LINES_MAX as u64, Named(ssh::BANNER_INVALID)),
        at("bytes of a packet", ssh::PACKET_MAX as u64, Named(ssh::PACKET_INVALID)),
        at("packets of a side before the new keys", ssh::PACKETS_MAX as u64, Counted),
        at("names of a list that are compared", ssh::NAMES_MAX as u64, Truncated),
        at("encrypted bytes of a turn of a login", ssh::TURN_MAX as u64,
            Nothing("so much is said only by who is in, or after nothing that is counted")),
    ]),
    (Protocol::Socks, &[
        at("bytes of a text of version 4", socks::TEXT_MAX as u64, Named(socks::MALFORMED)),
    ]),
    (Protocol::Smb, &[
        at("bytes of a message that are looked at", smb::HEAD_MAX as u64,
            Nothing("behind the names stands what files hold; of a chain cut by it the rest is counted")),
        at("bytes of a read or write that may be a call over a pipe", smb::PIPE_MAX as u64, Nothing("longer ones are files")),
        at("commands of a chain", smb::CHAIN_MAX as u64, Counted),
        at("dialects that a client offers", smb::DIALECTS_MAX as u64, Truncated),
        at("encrypted messages", smb::ENCRYPTED_MAX as u64, Counted),
        at("bytes of a share's path that its files are told with", TEXT_MAX as u64, Counted),
    ]),
    (Protocol::Smtp, &[
        at("bytes of a line", smtp::LINE_MAX as u64, Named(smtp::LINE_TOO_LONG)),
        at("bytes of a field of a mail's head", smtp::FIELD_MAX as u64, Truncated),
        at("bytes of the head of a mail or of a part", smtp::HEAD_MAX as u64, Truncated),
        at("boundaries of a mail", smtp::BOUNDARIES_MAX as u64, Truncated),
        at("bytes of an address of a mail that begins before the reply to the one before", TEXT_MAX as u64, Truncated),
    ]),
    (Protocol::Ftp, &[
        at("bytes of a line", ftp::LINE_MAX as u64, Named(ftp::LINE_TOO_LONG)),
        at("commands that wait behind one without a reply", ftp::WAITING_MAX as u64, Counted),
        at("bytes of an argument that waits", TEXT_MAX as u64, Truncated),
    ]),
    (Protocol::Pop3, &[at("bytes of a line", pop3::LINE_MAX as u64, Named(pop3::LINE_TOO_LONG))]),
    (Protocol::Imap, &[
        at("bytes of a line", imap::LINE_MAX as u64, Named(imap::LINE_TOO_LONG)),
        at("commands told", imap::COMMANDS_MAX as u64, Nothing("further ones are not told, but logins are")),
    ]),
    (Protocol::Telnet, &[
        at("bytes of what is typed as a name", telnet::LINE_MAX as u64, Counted),
        at("bytes of a name", telnet::NAME_MAX as u64, Truncated),
        at("attempts to log in", telnet::ATTEMPTS_MAX as u64, Counted),
        at("characters of the server", telnet::TEXT_MAX as u64, Nothing("a login stands at the beginning")),
    ]),
    (Protocol::Http2, &[
        at("bytes of a frame of a kind of fixed length, or of settings", http2::CONTROL_MAX as u64,
            Named(http2::FRAME_TOO_LONG)),
        at("bytes of a block of fields with its frames", parse::UNIT_MAX as u64, Named(http2::BLOCK_TOO_LONG)),
        at("fields of a block", http2::FIELDS_MAX as u64, Truncated),
        at("entries of a table that are remembered", http2::ENTRIES_MAX as u64, Truncated),
        at("bytes of a table's values that are remembered", http2::VALUES_BYTES as u64, Truncated),
        at("requests of a connection that wait for their answers", http2::REQUESTS_MAX as u64, Truncated),
    ]),
    (Protocol::WebSocket, &[at("frames of a connection", websocket::FRAMES_MAX as u64, Truncated)]),
    (Protocol::Redis, &[
        at("commands told", redis::COMMANDS_MAX as u64, Nothing("further ones are not told")),
        at("lines of the answer to `INFO`", redis::INFO_LINES as u64, Nothing("the server speaks of itself in the first")),
        at("bytes of a value", redis::VALUE_MAX, Named(redis::SYNTAX_INVALID)),
    ]),
    (Protocol::BitTorrent, &[
        at("datagrams of uTP", bittorrent::DATAGRAMS_MAX as u64, Nothing("what it carries is told with the first of each side")),
        at("values of a dictionary", bittorrent::VALUES_MAX as u64, Named(bittorrent::MALFORMED)),
        at("lists and dictionaries in one another", bittorrent::DEPTH_MAX as u64, Named(bittorrent::MALFORMED)),
        at("lines of a search", bittorrent::SEARCH_LINES_MAX as u64, Truncated),
    ]),
    (Protocol::Stratum, &[
        at("bytes of a line", stratum::LINE_MAX as u64, Named(stratum::LINE_TOO_LONG)),
        at("lines of a side", stratum::LINES_MAX as u64, Counted),
    ]),
    (Protocol::PostgreSql, &[
        at("bytes of the first message", pgsql::STARTUP_MAX as u64, Named(pgsql::STARTUP_INVALID)),
        at("bytes of a message that are looked at", pgsql::LOOK_MAX as u64, Truncated),
        at("parameters of the first message", pgsql::FIELDS_MAX as u64, Truncated),
        at("fields of an error", pgsql::FIELDS_MAX as u64, Truncated),
        at("errors told", pgsql::EVENTS_MAX as u64, Counted),
    ]),
    (Protocol::MySql, &[
        at("bytes of a packet that are looked at", mysql::LOOK_MAX as u64, Truncated),
        at("attributes of a client", mysql::ATTRIBUTES_MAX as u64, Truncated),
        at("errors told", mysql::ERRORS_MAX as u64, Counted),
        at("commands told of a kind", 1, Nothing("further ones of the kind are not told again")),
    ]),
    (Protocol::MongoDb, &[
        at("bytes of a message that are looked at", mongodb::READ_MAX as u64, Nothing("what is told stands first; documents follow")),
        at("elements of a document", mongodb::ELEMENTS_MAX as u64, Nothing("what is told stands among the first")),
        at("commands told", mongodb::COMMANDS_MAX as u64, Nothing("further ones are not told")),
    ]),
    (Protocol::Mqtt, &[
        at("bytes of a packet that are looked at", mqtt::PACKET_MAX as u64, Truncated),
        at("messages told", mqtt::MESSAGES_MAX as u64, Counted),
        at("subscriptions told", mqtt::SUBSCRIPTIONS_MAX as u64, Counted),
    ]),
    (Protocol::Modbus, &[at("bytes of a message", modbus::LENGTH_MAX as u64, Named(modbus::MALFORMED))]),
    (Protocol::Dnp3, &[at("objects of a message", dnp3::OBJECTS_MAX as u64, Truncated)]),
    (Protocol::Iec104, &[]),
    (Protocol::S7, &[
        at("bytes of a packet", s7::PACKET_MAX as u64, Named(s7::MALFORMED)),
        at("parameters of a connection", s7::PARAMETERS_MAX as u64, Truncated),
    ]),
    (Protocol::Rdp, &[
        at("bytes of a packet", rdp::PACKET_MAX as u64, Counted),
        at("blocks of a client's settings", rdp::BLOCKS_MAX as u64, Truncated),
        at("channels", rdp::CHANNELS_MAX as u64, Truncated),
    ]),
    (Protocol::Quic, &[
        at("Initial packets of a client", quic::INITIALS_MAX as u64, Named(quic::TOO_MANY_PACKETS)),
        at("packets of a datagram", quic::COALESCED_MAX as u64, Named(quic::TOO_MANY_PACKETS)),
        at("packets of the server's in a datagram that are tried as a client's", quic::TRIES as u64,
            Nothing("a client's hello has its own datagrams")),
        at("bytes of an Initial packet", quic::PACKET_MAX as u64, Named(quic::PACKET_TOO_LONG)),
        at("datagrams in which the server's hello is waited for", quic::ANSWERS_MAX as u64, Counted),
        at("tags of a hello of Google's versions", quic::TAGS_MAX as u64, Truncated),
    ]),
    (Protocol::Dtls, &[
        at("records of a datagram", dtls::RECORDS_MAX as u64, Counted),
        at("messages of a record", dtls::MESSAGES_MAX as u64, Counted),
    ]),
    (Protocol::Stun, &[at("datagrams or frames of others in a row", stun::OTHERS_MAX as u64, Counted)]),
    (Protocol::Kerberos, &[
        at("bytes of a message that are looked at", kerberos::MESSAGE_MAX as u64, Counted),
        at("bytes of a message", kerberos::MESSAGE_LONGEST as u64, Named(kerberos::MALFORMED)),
        at("types of encryption that a client offers", kerberos::TYPES_MAX as u64, Truncated),
        at("parts of a name", kerberos::PARTS_MAX as u64, Truncated),
    ]),
    (Protocol::Ldap, &[
        at("bytes of a message that are looked at", ldap::HEAD_MAX as u64, Counted),
        at("steps of a filter", ldap::FILTER_MAX as u64, Truncated),
        at("attributes of a search or an entry", ldap::NAMES_MAX as u64, Truncated),
    ]),
    (Protocol::Dhcp, &[at("relays of version 6 in one another", dhcp::RELAYS_MAX as u64, Truncated)]),
    (Protocol::Snmp, &[at("variables of a message", snmp::VARIABLES_MAX as u64, Truncated)]),
    (Protocol::Ssdp, &[at("fields of a message", ssdp::LINES_MAX as u64, Truncated)]),
    (Protocol::Sip, &[
        at("bytes of a head", sip::HEAD_MAX as u64, Named(sip::MALFORMED)),
        at("fields of a head, and lines of a description", sip::LINES_MAX as u64, Truncated),
        at("bytes of a body in a stream", sip::BODY_MAX, Truncated),
    ]),
    (Protocol::Nbns, &[]),
    (Protocol::Mdns, DNS),
    (Protocol::Llmnr, DNS),
    (Protocol::Dns, DNS),
    (Protocol::DceRpc, &[
        at("bytes of a fragment that are looked at", dcerpc::HEAD_MAX as u64,
            Nothing("behind the head stand parameters; of a bind cut by it the event is truncated")),
        at("interfaces of a bind that are told though nobody knows them", dcerpc::OFFERED_MAX as u64,
            Nothing("`contexts` says how many were offered")),
        at("interfaces bound that are remembered", dcerpc::BOUND_MAX as u64,
            Nothing("calls of the one bound longest ago are told without its name")),
    ]),
    (Protocol::Radius, &[at("bytes of a message", radius::LENGTH_MAX as u64, Nothing("longer ones are not RADIUS"))]),
    (Protocol::Tftp, &[
        at("options of a request", tftp::OPTIONS_MAX as u64, Truncated),
        at("bytes of a file's name that a transfer is told with", tftp::NAME_MAX as u64, Truncated),
    ]),
    (Protocol::WireGuard, &[at("datagrams of a flow", wireguard::MESSAGES_MAX as u64, Counted)]),
    (Protocol::Ike, &[
        at("payloads of a message", ike::PAYLOADS_MAX as u64, Truncated),
        at("proposals", ike::PROPOSALS_MAX as u64, Truncated),
        at("transforms of a proposal", ike::TRANSFORMS_MAX as u64, Truncated),
        at("attributes of a transform", ike::ATTRIBUTES_MAX as u64, Truncated),
        at("datagrams of others in a row", ike::OTHERS_MAX as u64, Counted),
    ]),
    (Protocol::OpenVpn, &[at("messages before both sides began", openvpn::MESSAGES_MAX as u64, Counted)]),
    (Protocol::Memcached, &[at("bytes of a line", memcached::LINE_MAX as u64, Named(memcached::MALFORMED))]),
    (Protocol::Ntp, &[]),
    (Protocol::Syslog, &[
        at("bytes of a line in a stream", syslog::MESSAGE_MAX as u64, Named(syslog::MALFORMED)),
        at("bytes of a message in a stream with its length in front", syslog::MESSAGE_MAX as u64, Counted),
    ]),
    (Protocol::Rtp, &[
        at("packets that are nothing for sure", rtp::TRIES_MAX as u64, Named(rtp::NOT_CONFIRMED)),
        at("packets of a flow", rtp::PACKETS_MAX as u64,
            Nothing("who sends what is told by then, once a side; later reports are not")),
    ]),
    (Protocol::Ntlm, &[
        at("bytes of a token in which it is looked for", ntlm::SEARCH_MAX as u64,
            Nothing("one that begins further on is the token of another mechanism")),
        at("pairs about a server", ntlm::PAIRS_MAX as u64, Truncated),
    ]),
    (Protocol::Proxied, &[
        at("bytes of a header", proxied::HEADER_MAX as u64, Named(proxied::TOO_LONG)),
        at("headers in front of one another", proxied::HEADERS_MAX as u64, Named(proxied::TOO_MANY)),
    ]),
    (Protocol::Unknown, &[]),
];

/// The limits of a protocol's parser; `None` where the table has no entry.
pub fn limits_of(protocol: Protocol) -> Option<&'static [Limit]> {
    LIMITS.iter().find(|(one, _)| *one == protocol).map(|(_, limits)| *limits)
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
