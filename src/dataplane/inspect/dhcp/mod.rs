//! DHCP for IPv4 (RFC 2131, options of RFC 2132) and IPv6 (RFC 8415), one event a message.
//!
//! Reads who asks (MAC address, host name, vendor class, parameter list: enough to tell the make of a host) and what is
//! given (address, lease, router, domain, name servers), and for IPv6 the same from its options, inside relays too. It
//! deliberately does not: read options that overflow into `sname` and `file`, authentication, or vendor options.
//!
//! Bounds: options are read once, front to back; relays nested four deep; lists as the facts say.
//!
//! | fact | field of EVE (`dhcp`; version 4 only) |
//! | --- | --- |
//! | `message` (1 request, 2 reply) | `type`: `request`, `reply` |
//! | `id`, `client_mac` | the same; the MAC with colons |
//! | `dhcp_type` | `dhcp_type` by [`type_name`] |
//! | `client_ip`, `assigned_ip`, `next_server_ip`, `relay_ip`, `requested_ip`, `subnet_mask` | the same |
//! | `router`, `dns_server` | `routers`, `dns_servers` (lists) |
//! | `hostname`, `client_id`, `lease_time`, `renewal_time`, `rebinding_time` | the same; the id with colons |
//! | `vendor_class` | `vendor_class_identifier` |
//! | `parameters` | `params`: names of the options |
//! | `version`, `server_id`, `domain`, `fqdn`, `wpad_url`, `server_duid` | none |

#[cfg(test)]
mod tests;
mod v4;
mod v6;
pub(super) use v6::RELAYS_MAX;

use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Dhcp;
/// 4 or 6.
pub const VERSION: Fact = Fact::number(PROTOCOL, 1, "version");
/// 1: to a server, 2: from one.
pub const MESSAGE: Fact = Fact::number(PROTOCOL, 2, "message");
/// Number of the transaction.
pub const ID: Fact = Fact::number(PROTOCOL, 3, "id");
/// Kind: option 53, or the first byte of a message of version 6.
pub const TYPE: Fact = Fact::number(PROTOCOL, 4, "dhcp_type");
/// Hardware address of the client.
pub const CLIENT_MAC: Fact = Fact::bytes(PROTOCOL, 5, "client_mac", 16);
/// Address that the client has.
pub const CLIENT_IP: Fact = Fact::address(PROTOCOL, 6, "client_ip");
/// Addresses that the client gets.
pub const ASSIGNED_IP: Fact = Fact::address(PROTOCOL, 7, "assigned_ip").repeated(8);
/// Next server of the boot.
pub const NEXT_SERVER_IP: Fact = Fact::address(PROTOCOL, 8, "next_server_ip");
/// Relay in between.
pub const RELAY_IP: Fact = Fact::address(PROTOCOL, 9, "relay_ip");
/// Address that the client asks for.
pub const REQUESTED_IP: Fact = Fact::address(PROTOCOL, 10, "requested_ip");
/// Server that is meant, or answers.
pub const SERVER_ID: Fact = Fact::address(PROTOCOL, 11, "server_id");
/// Name of the client.
pub const HOSTNAME: Fact = Fact::text(PROTOCOL, 12, "hostname", 255);
/// Full name of the client (RFC 4702, RFC 4704).
pub const FQDN: Fact = Fact::text(PROTOCOL, 13, "fqdn", 255);
/// Make of the client.
pub const VENDOR_CLASS: Fact = Fact::text(PROTOCOL, 14, "vendor_class", 255);
/// Options asked for: a byte each, two bytes each for version 6.
pub const PARAMETERS: Fact = Fact::bytes(PROTOCOL, 15, "parameters", 128);
/// Identifier that the client chose (version 6: its DUID).
pub const CLIENT_ID: Fact = Fact::bytes(PROTOCOL, 16, "client_id", 130);
/// Seconds that the address is given for.
pub const LEASE_TIME: Fact = Fact::number(PROTOCOL, 17, "lease_time");
/// Seconds to the first try to renew it.
pub const RENEWAL_TIME: Fact = Fact::number(PROTOCOL, 18, "renewal_time");
/// Seconds to the first try with another server.
pub const REBINDING_TIME: Fact = Fact::number(PROTOCOL, 19, "rebinding_time");
/// Mask of the network.
pub const SUBNET_MASK: Fact = Fact::address(PROTOCOL, 20, "subnet_mask");
/// Routers.
pub const ROUTER: Fact = Fact::address(PROTOCOL, 21, "router").repeated(4);
/// Name servers.
pub const DNS_SERVER: Fact = Fact::address(PROTOCOL, 22, "dns_server").repeated(8);
/// Domain (version 6: first of the search list).
pub const DOMAIN: Fact = Fact::text(PROTOCOL, 23, "domain", 255);
/// Where to find a proxy (option 252): a way to take a network over.
pub const WPAD_URL: Fact = Fact::text(PROTOCOL, 24, "wpad_url", 255);
/// Identifier of the server, version 6.
pub const SERVER_DUID: Fact = Fact::bytes(PROTOCOL, 25, "server_duid", 130);
/// Prefixes delegated, version 6: length (1 byte), prefix (16 bytes).
pub const PREFIX: Fact = Fact::bytes(PROTOCOL, 26, "prefix", 17).repeated(4);
/// Status of an answer, version 6.
pub const STATUS: Fact = Fact::number(PROTOCOL, 27, "status");

/// All facts.
#[rustfmt::skip]
pub const FACTS: &[Fact] = &[
    VERSION, MESSAGE, ID, TYPE, CLIENT_MAC, CLIENT_IP, ASSIGNED_IP, NEXT_SERVER_IP, RELAY_IP, REQUESTED_IP, SERVER_ID, HOSTNAME,
    FQDN, VENDOR_CLASS, PARAMETERS, CLIENT_ID, LEASE_TIME, RENEWAL_TIME, REBINDING_TIME, SUBNET_MASK, ROUTER, DNS_SERVER,
    DOMAIN, WPAD_URL, SERVER_DUID, PREFIX, STATUS,
];

/// Options that run out of the message, or no message at all.
pub const MALFORMED: Anomaly = Anomaly::new(PROTOCOL, 1, "malformed");
/// Options without the one that ends them.
pub const NO_END: Anomaly = Anomaly::new(PROTOCOL, 2, "no_end_option");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED, NO_END];

/// DHCP? The cookie of version 4; for version 6 options that end where the message ends.
pub fn probe(look: &Look<'_>) -> Match {
    if !look.is_datagram {
        return Match::No;
    }
    let at_port = look.has_port(546) || look.has_port(547);
    if v4::is(look.bytes) || v6::is(look.bytes, at_port) { Match::Yes } else { Match::No }
}

/// Nothing needs to be remembered.
#[derive(Default)]
pub struct State;

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let read = if v4::is(bytes) { v4::read(bytes, out) } else { v6::read(bytes, out) };
        if read.is_none() {
            out.anomaly(MALFORMED);
        }
        out.facts().sent_by(side);
        out.event();
        Step::Took(bytes.len())
    }
}

/// Name of a kind of version 4 (option 53).
#[rustfmt::skip]
pub fn type_name(kind: u64) -> Option<&'static str> {
    Some(match kind {
        1 => "discover", 2 => "offer", 3 => "request", 4 => "decline", 5 => "ack", 6 => "nak", 7 => "release", 8 => "inform",
        10 => "leasequery", 11 => "leaseunassigned", 12 => "leaseunknown", 13 => "leaseactive",
        _ => return None,
    })
}
