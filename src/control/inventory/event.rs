//! One event of inspection as the inventory reads it, and what it may note.

use super::banner::Product;
use super::host::{MacSource, NameSource, Segment, kept};
use super::kinds::Kind;
use super::os::Hint;
use super::wire::Wire;
use crate::dataplane::decode::{Direction, Endpoint, FlowKey};
use crate::dataplane::flow::Side;
use crate::dataplane::inspect::{
    Anomaly, Fact, Facts, Protocol, dnp3, dns, ike, kerberos, nbns, ntp, number, openvpn, radius, sip, snmp,
};
use crate::exchange::EventHead;
use std::fmt;
use std::net::IpAddr;

/// An event and its facts.
pub struct Event<'a> {
    /// Time, flow, protocol.
    pub head: &'a EventHead,
    /// Who began the flow.
    pub client: Endpoint,
    /// Who was spoken to.
    pub server: Endpoint,
    facts: &'a [u8],
}

/// Where transfers are asked for (RFC 1350 section 4).
pub const TFTP_PORT: u16 = 69;

/// Where devices are asked (UPnP Device Architecture 2.0 section 1.1.2).
const SSDP_PORT: u16 = 1900;

/// Ports of UDP from here on are given out to clients: Linux begins at 32768, IANA at 49152.
pub const CLIENT_PORTS: u16 = 32_768;

/// `Access-Accept`, `Access-Reject`, `Accounting-Response`, `Access-Challenge` (RFC 2865 section 3, RFC 2866); answers to
/// `Disconnect-Request` and `CoA-Request` (RFC 5176 section 3).
const RADIUS_ANSWERS: [u64; 8] = [2, 3, 5, 11, 41, 42, 44, 45];

/// Mode of a server's answer (RFC 5905 section 7.3).
const NTP_SERVER: u64 = 4;
/// `response` among the kinds of PDU (RFC 3416 section 3).
const SNMP_RESPONSE: u64 = 2;

/// Is it a port of UDP that servers have and clients do not, unless both ends do? From 1024 on clients get them too, so they tell
/// only of their own protocol.
fn is_service(port: u16, application: Protocol) -> bool {
    match port {
        53 | 67 | 88 | 123 | 137 | 161 | 389 | 443 | 464 | 500 => true,
        1812 | 1813 => application == Protocol::Radius,
        SSDP_PORT => application == Protocol::Ssdp,
        3478 => matches!(application, Protocol::Stun | Protocol::Dtls),
        5060 => application == Protocol::Sip,
        11_211 => application == Protocol::Memcached,
        20_000 => application == Protocol::Dnp3,
        _ => false,
    }
}

/// Client and server of a flow of `application`. An answer may be the first datagram that the tap sees of it.
pub fn roles(key: &FlowKey, originator: Direction, application: Protocol) -> (Endpoint, Endpoint) {
    let (client, server) = key.endpoints(originator);
    let is_turned =
        key.protocol() == 17 && is_service(client.port, application) && !is_service(server.port, application);
    if is_turned { (server, client) } else { (client, server) }
}

/// Whom a note is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum About {
    /// Who began the flow, or sent the datagram.
    Client,
    /// Who was spoken to.
    Server,
    /// Whoever has this address in the same segment.
    Address(IpAddr),
    /// Whoever has this link address in the same segment, now or later.
    Mac([u8; 6]),
}

/// Whom a client asked a proxy for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Target {
    /// Its address, where that was named.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            Some(address) => write!(to, "{}", std::net::SocketAddr::from((address, self.port))),
            None => write!(to, "{}:{}", self.host, self.port),
        }
    }
}

/// What an event says of a host.
#[derive(Clone, PartialEq, Debug)]
pub enum Note {
    /// It is there.
    Alive(About),
    /// It has a name.
    Name(About, NameSource, String),
    /// It has a link address.
    Mac(About, [u8; 6], MacSource),
    /// Its system may be this one; and what says so.
    Os(About, Hint, &'static str),
    /// The same, if mDNS has named it as this instance of a service is.
    OsIfNamed(About, String, Hint, &'static str),
    /// It answered in the event's protocol, with this software and banner.
    Service(About, Vec<Product>, String),
    /// The wire tells something of the server's service in this event.
    Wire(Wire, bool),
    /// The server answered a client outside the home networks in a protocol of a database.
    Database,
    /// Something exposes the server's service: kind, detail, evidence.
    Finding(Kind, String, String),
    /// A password went in the clear through the server to somebody else, who is not always known: how, evidence.
    Through(Option<Target>, String, String),
}

impl<'a> Event<'a> {
    /// An event with the list of its facts.
    pub fn new(head: &'a EventHead, facts: &'a [u8]) -> Event<'a> {
        let (client, server) = roles(&head.key, head.originator, head.protocol);
        let event = Event { head, client, server, facts };
        // Who answers serves, whatever was seen first and whatever the ports say; but not from a port that clients are given to
        // one of servers: anybody can send that, and a phone does.
        let is_clients = client.port >= CLIENT_PORTS
            && is_service(server.port, head.protocol)
            && !is_service(client.port, head.protocol);
        let is_turned =
            !is_clients && event.transport() == "udp" && event.sender() == About::Client && event.is_answer();
        if is_turned { Event { client: server, server: client, ..event } } else { event }
    }

    /// Is it an answer, as only a server of these protocols gives it?
    fn is_answer(&self) -> bool {
        match self.head.protocol {
            Protocol::Dns => self.number(dns::SET.qr) == Some(1),
            Protocol::Ntp => self.number(ntp::MODE) == Some(NTP_SERVER) || self.is(ntp::MONLIST_RESPONSE),
            Protocol::Snmp => self.number(snmp::PDU_TYPE) == Some(SNMP_RESPONSE),
            Protocol::Sip => self.number(sip::STATUS).is_some(),
            Protocol::Nbns => self.number(nbns::QR) == Some(1),
            Protocol::Kerberos => {
                self.number(kerberos::REPLY_TYPE).is_some() && self.number(kerberos::REQUEST_TYPE).is_none()
            }
            Protocol::Ike => self.is_ike_answer(),
            Protocol::Dnp3 => self.number(dnp3::RESPONSE).is_some() && self.number(dnp3::FUNCTION).is_none(),
            Protocol::Radius => self.number(radius::CODE).is_some_and(|code| RADIUS_ANSWERS.contains(&code)),
            Protocol::OpenVpn => matches!(self.number(openvpn::OPCODE), Some(2 | 8)),
            _ => false,
        }
    }

    /// The first answer of an exchange of keys: later ones go both ways. Of version 1 the one with the proposal chosen, which has
    /// the number that who answers chose (RFC 2408 sections 3.1 and 4.5); of version 2 that to `IKE_SA_INIT` (RFC 7296 section
    /// 1.2).
    fn is_ike_answer(&self) -> bool {
        const PROPOSALS: u64 = 1;
        const SA_INIT: u64 = 34;
        match self.number(ike::VERSION_MAJOR) {
            Some(1) => {
                let has_proposals = self.all(ike::PAYLOAD).any(|kind| number(kind) == PROPOSALS);
                has_proposals && self.bytes(ike::RESP_SPI).is_some_and(|spi| spi.iter().any(|byte| *byte != 0))
            }
            Some(2) => self.number(ike::EXCHANGE) == Some(SA_INIT) && self.number(ike::IS_RESPONSE) == Some(1),
            _ => false,
        }
    }

    /// Is it an answer of the server, not one that its client sends out of nowhere or to a question of the server?
    pub fn is_served(&self) -> bool {
        self.is_answer() && self.sender() == About::Server
    }

    /// Where its addresses mean hosts.
    pub fn segment(&self) -> Segment {
        Segment::of(&self.head.key)
    }

    /// Who says it.
    pub fn sender(&self) -> About {
        let (originator, responder) = self.head.key.endpoints(self.head.originator);
        let sender = if self.head.sender == Side::Originator { originator } else { responder };
        if sender == self.server { About::Server } else { About::Client }
    }

    /// The same, by address.
    pub fn sender_ip(&self) -> IpAddr {
        if self.sender() == About::Server { self.server.ip() } else { self.client.ip() }
    }

    /// Port that one of the two serves its protocol on.
    pub fn port_of(&self, about: About) -> u16 {
        match (self.head.protocol, about) {
            // A transfer goes through another port of the server than that which is asked for it.
            (Protocol::Tftp, _) => TFTP_PORT,
            // Devices answer from any port.
            (Protocol::Ssdp, _) => SSDP_PORT,
            (_, About::Client) => self.client.port,
            _ => self.server.port,
        }
    }

    /// `tcp` or `udp`.
    pub fn transport(&self) -> &'static str {
        if self.head.key.protocol() == 6 { "tcp" } else { "udp" }
    }

    /// Is it this anomaly?
    pub fn is(&self, anomaly: Anomaly) -> bool {
        self.head.anomaly == Some((anomaly.protocol, anomaly.index))
    }

    /// Every value of a fact.
    pub fn all(&self, fact: Fact) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let wanted = (fact.protocol as u8, fact.index);
        Facts::read(self.facts).filter(move |one| (one.protocol, one.index) == wanted).map(|one| one.value)
    }

    /// The first value of a fact.
    pub fn bytes(&self, fact: Fact) -> Option<&'a [u8]> {
        self.all(fact).next()
    }

    /// As text, harmless and bounded; none where it is empty.
    pub fn text(&self, fact: Fact) -> Option<String> {
        self.bytes(fact).map(kept).filter(|text| !text.is_empty())
    }

    /// As a number.
    pub fn number(&self, fact: Fact) -> Option<u64> {
        self.bytes(fact).map(number)
    }

    /// As an address.
    pub fn addresses(&self, fact: Fact) -> impl Iterator<Item = IpAddr> + use<'a> {
        self.all(fact).filter_map(|bytes| match bytes.len() {
            4 => bytes.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
            _ => bytes.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
        })
    }
}

/// Notes of one event at most.
const NOTES_MAX: usize = 64;

/// Collects notes.
#[derive(Default)]
pub struct Notes(pub Vec<Note>);

impl Notes {
    fn put(&mut self, note: Note) {
        if self.0.len() < NOTES_MAX {
            self.0.push(note);
        }
    }

    /// A host is there.
    pub fn alive(&mut self, about: About) {
        self.put(Note::Alive(about));
    }

    /// A name, if it is one.
    pub fn name(&mut self, about: About, source: NameSource, name: Option<String>) {
        if let Some(name) = name.and_then(|name| good_name(&name)) {
            self.put(Note::Name(about, source, name));
        }
    }

    /// A link address of six bytes that a host can have.
    pub fn mac(&mut self, about: About, bytes: &[u8], source: MacSource) {
        if let Ok(mac) = <[u8; 6]>::try_from(bytes)
            && mac != [0; 6]
            && mac.first().is_some_and(|first| first & 1 == 0)
        {
            self.put(Note::Mac(about, mac, source));
        }
    }

    /// A hint at a system.
    pub fn os(&mut self, about: About, hint: Option<Hint>, source: &'static str) {
        if let Some((text, sure)) = hint {
            self.put(Note::Os(about, (kept(text.as_bytes()), sure), source));
        }
    }

    /// A hint at the system of who may be another than the one whose instance it is of.
    pub fn os_if_named(&mut self, about: About, instance: &str, hint: Hint, source: &'static str) {
        let (text, sure) = hint;
        self.put(Note::OsIfNamed(about, kept(instance.as_bytes()), (kept(text.as_bytes()), sure), source));
    }

    /// The server answered.
    pub fn service(&mut self, products: impl IntoIterator<Item = Product>, banner: Option<String>) {
        self.service_of(About::Server, products, banner);
    }

    /// A host serves the event's protocol.
    pub fn service_of(&mut self, about: About, products: impl IntoIterator<Item = Product>, banner: Option<String>) {
        let products: Vec<Product> = products.into_iter().collect();
        for product in &products {
            if let Some(packed) = &product.distribution {
                self.os(about, super::os::distribution(packed), "package of a banner");
            }
        }
        self.put(Note::Service(about, products, banner.unwrap_or_default()));
    }

    /// The wire tells something of the server's service; to be noted before the service is.
    pub fn wire(&mut self, wire: Wire, holds: bool) {
        self.put(Note::Wire(wire, holds));
    }

    /// A database answered.
    pub fn database(&mut self) {
        self.put(Note::Database);
    }

    /// Something exposes the server.
    pub fn finding(&mut self, kind: Kind, detail: impl Into<String>, evidence: impl Into<String>) {
        self.put(Note::Finding(kind, detail.into(), evidence.into()));
    }

    /// The same, through a proxy to `target`.
    pub fn cleartext_through(&mut self, target: Target, event: &Event<'_>, how: &str, user: Option<String>) {
        self.put(Note::Through(Some(target), how.to_owned(), sent_in_clear(event, how, user)));
    }

    /// A password in the clear: how, and whose.
    pub fn cleartext(&mut self, event: &Event<'_>, how: &str, user: Option<String>) {
        self.finding(super::kinds::CLEARTEXT, how, sent_in_clear(event, how, user));
    }
}

fn sent_in_clear(event: &Event<'_>, how: &str, user: Option<String>) -> String {
    let who = user.map_or_else(String::new, |user| format!(" of user {user}"));
    format!("{} sent a password{who} unencrypted by {how}", event.client.ip())
}

/// A name without the dot at its end, if it is neither empty, nor an address, nor full of what no name has.
fn good_name(name: &str) -> Option<String> {
    let name = name.trim_end_matches('.');
    let is_address = name.parse::<IpAddr>().is_ok() || name.starts_with('[');
    let is_name = !name.is_empty() && !is_address && name != "localhost" && !name.contains("\\x");
    is_name.then(|| name.to_owned())
}

/// Is it made of what names of hosts have, and the underline that many have too (RFC 1123 section 2.1)?
pub fn is_host_name(name: &str) -> bool {
    name.chars().all(|letter| letter.is_alphanumeric() || "-._".contains(letter))
}

/// The bytes of a name as its labels have them (RFC 1035 section 5.1): events have `\032` for a blank and `\.` for a dot.
fn unescaped(name: &str) -> impl Iterator<Item = u8> {
    let mut rest = name.as_bytes();
    std::iter::from_fn(move || {
        let (byte, behind) = match rest {
            [b'\\', digits @ ..] => match digits.first_chunk::<3>() {
                Some(number) if number.iter().all(u8::is_ascii_digit) => {
                    let value = number.iter().fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'));
                    (value as u8, digits.get(3..)?) // above 255 it is no escape, and any byte will do
                }
                _ => (*digits.first()?, digits.get(1..)?),
            },
            [byte, behind @ ..] => (*byte, behind),
            [] => return None,
        };
        rest = behind;
        Some(byte)
    })
}

/// Is an instance of a service one of the host of this name in `.local`? Names of hosts have hyphens, or nothing, for what they
/// may not have: "Ann's Mac" is `Anns-Mac.local` (RFC 6763 section 4.1.1).
pub fn is_of_host(instance: &str, host: &str) -> bool {
    let letters = |text: &str| -> Vec<u8> {
        unescaped(text).filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase()).collect()
    };
    let host = host.trim_end_matches('.');
    let Some((label, domain)) = host.split_once('.') else { return false };
    let label = letters(label);
    domain.eq_ignore_ascii_case("local") && !label.is_empty() && label == letters(instance)
}

/// Protocols whose events say something of hosts: others are not even copied.
pub fn is_of_interest(protocol: Protocol) -> bool {
    use Protocol::{BitTorrent, Rtp, Stratum, Syslog, Unknown, WebSocket, WireGuard};
    !matches!(protocol, Unknown | BitTorrent | Rtp | Stratum | Syslog | WebSocket | WireGuard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_of_hosts_of_their_names() {
        for (instance, host, wanted) in [
            ("mac", "Mac.local.", true),
            ("Ann\u{2019}s MacBook Pro (2)", "Anns-MacBook-Pro-2.local", true),
            (r"Ann\226\128\153s\032MacBook\032Pro\032\(2\)", "Anns-MacBook-Pro-2.local", true),
            (r"a\.b\03", "ab03.local", true),
            (r"a\", "a.local", true),
            ("mac", "gw.local", false),
            ("mac", "mac.example.org", false),
            ("mac", "mac", false),
            ("\u{2019}", "-.local", false),
        ] {
            assert_eq!(is_of_host(instance, host), wanted, "{instance} {host}");
        }
    }

    #[test]
    fn names_are_names() {
        for (text, wanted) in [
            ("host.example.", Some("host.example")),
            ("10.0.0.1", None),
            ("[::1]", None),
            ("localhost", None),
            ("a\\x1bb", None),
            (".", None),
        ] {
            assert_eq!(good_name(text).as_deref(), wanted, "{text}");
        }
    }
}
