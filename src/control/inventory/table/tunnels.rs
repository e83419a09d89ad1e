//! Flows that a proxy passes on (HTTP CONNECT, SOCKS): what is spoken in them is another host's, of which nothing is known here.
//!
//! Of such a flow the proxy's answer is told first, then what goes through it. Only what that says of the client is noted.

use super::super::event::{About, Event, Note};
use crate::dataplane::inspect::{Protocol, http, socks};
use crate::exchange::FlowSummary;
use std::collections::{HashSet, VecDeque};

/// Flows that are remembered at most, some 30 bytes each. Hellos and greetings come at once behind the proxy's answer; what is
/// spoken in a flow that was forgotten is told as the proxy's.
const FLOWS_MAX: usize = 1 << 14;
/// What a proxy answers that opens a tunnel: granted, in SOCKS 5 (RFC 1928 section 6) and in SOCKS 4.
const GRANTED: [u64; 2] = [0, 90];

/// The latest flows through proxies, by their numbers.
#[derive(Default)]
pub struct Tunnels {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Tunnels {
    /// Is the event of what goes through a proxy? One that opens a tunnel is the proxy's own, those behind it are not.
    pub fn passes(&mut self, event: &Event<'_>) -> bool {
        let opens = opens(event);
        if !opens && self.known.is_empty() {
            return false;
        }
        let Some(flow) = event.head.flow_id().filter(|_| event.transport() == "tcp") else { return false };
        let is_known = self.known.contains(&flow);
        if opens && !is_known {
            self.known.insert(flow);
            self.order.push_back(flow);
            if self.order.len() > FLOWS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        is_known
    }
}

fn opens(event: &Event<'_>) -> bool {
    event.head.anomaly.is_none()
        && match event.head.protocol {
            Protocol::Http => {
                let status = event.number(http::STATUS);
                status.is_some_and(|code| (200..300).contains(&code)) && event.bytes(http::METHOD) == Some(b"CONNECT")
            }
            Protocol::Socks => event.number(socks::REPLY).is_some_and(|reply| GRANTED.contains(&reply)),
            _ => false,
        }
}

/// Is it of the client, who is the same in front of the proxy and behind it?
pub fn is_of_client(note: &Note) -> bool {
    matches!(note, Note::Alive(About::Client) | Note::Name(About::Client, ..) | Note::Os(About::Client, ..))
}

/// What the responder of a flow itself speaks: of a proxy's tunnel that which asked for it.
pub fn spoken_by_responder(flow: &FlowSummary) -> Protocol {
    match (flow.began_as, flow.application) {
        (Protocol::Socks, _) => Protocol::Socks,
        // These the server speaks itself after an upgrade (RFC 9110 section 7.8).
        (Protocol::Http, Protocol::WebSocket | Protocol::Http2) => flow.application,
        (Protocol::Http, _) => Protocol::Http,
        _ => flow.application,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Settings, rules::Rules};
    use super::super::{Inventory, Spoken};
    use super::*;
    use crate::dataplane::decode::{FlowKey, tcp_flags};
    use crate::dataplane::flow::Side;
    use crate::dataplane::inspect::tls::{HELLO, SERVER_CERTIFICATE};
    use crate::dataplane::inspect::{Facts, ftp, ldap, ssh};
    use crate::exchange::EventHead;
    use crate::units::{SECOND, Timestamp};
    use std::sync::Arc;

    type Said = (Protocol, Option<(Protocol, u8)>, fn(&mut Facts));

    const CONNECT: Said = (Protocol::Http, None, |facts| connect(facts, 200));
    const REFUSED: Said = (Protocol::Http, None, |facts| connect(facts, 407));
    const GET: Said = (Protocol::Http, None, |facts| {
        facts.put(http::METHOD, b"GET");
        facts.put(http::URL, b"/");
        facts.put(http::HOSTNAME, b"bank.example");
        facts.put(http::USER_AGENT, b"Mozilla/5.0 (Windows NT 10.0; Win64; x64)");
        facts.put(http::SERVER, b"nginx/1.10.0");
        facts.put(http::AUTH_SCHEME, b"Basic");
        facts.put_number(http::STATUS, 200);
    });
    const SOCKS_5: Said = (Protocol::Socks, None, |facts| granted(facts, 0));
    const SOCKS_4: Said = (Protocol::Socks, None, |facts| granted(facts, 90));
    const SOCKS_NO: Said = (Protocol::Socks, None, |facts| granted(facts, 5));
    const SSH: Said = (Protocol::Ssh, None, |facts| {
        facts.put(ssh::SERVER_VERSION, b"2.0");
        facts.put(ssh::SERVER_SOFTWARE, b"OpenSSH_7.4");
    });
    const FTP: Said = (Protocol::Ftp, None, |facts| {
        facts.put(ftp::BANNER, b"(vsFTPd 2.3.4)");
        facts.put(ftp::USERNAME, b"bob");
        [331, 230].iter().for_each(|code| facts.put_number(ftp::CODE, *code));
    });
    const TLS: Said = (Protocol::Tls, None, |facts| {
        facts.put_number(HELLO.version, 0x0301);
        facts.put(HELLO.sni, b"bank.example");
        facts.put(SERVER_CERTIFICATE.fingerprint, &[1; 20]);
        facts.put(SERVER_CERTIFICATE.alt_name, b"a.example");
        facts.put_number(SERVER_CERTIFICATE.self_signed, 1);
    });
    const LDAP: Said = (Protocol::Ldap, Some((Protocol::Ldap, ldap::CLEARTEXT_PASSWORD.index)), |facts| {
        facts.put(ldap::NAME, b"cn=b")
    });

    fn connect(facts: &mut Facts, status: u64) {
        facts.put(http::METHOD, b"CONNECT");
        facts.put(http::URL, b"out.example:443");
        facts.put_number(http::STATUS, status);
    }

    fn granted(facts: &mut Facts, reply: u64) {
        facts.put_number(socks::METHOD, 0);
        facts.put_number(socks::REPLY, reply);
    }

    fn tell(inventory: &mut Inventory, port: u16, (protocol, anomaly, put): Said) {
        let (key, originator) = FlowKey::v4(0x0a00_0001, port, 0x0a00_0002, 3128, 6, 0);
        let time = Timestamp(200 * SECOND);
        let head = EventHead {
            time,
            key,
            originator,
            sender: Side::Originator,
            first_seen: Some(Timestamp(100 * SECOND)),
            protocol,
            anomaly,
            truncated: false,
            bytes: 0,
            icmp: None,
            outer: None,
        };
        let mut facts = Facts::default();
        put(&mut facts);
        inventory.observe(&head, facts.as_bytes());
    }

    fn inventory() -> Inventory {
        Inventory::new(Settings::with(Arc::new(Rules::shipped().unwrap())))
    }

    /// Its protocols; and how many names, products, systems and findings it has.
    fn server(inventory: &Inventory) -> (String, usize) {
        let host = inventory.find("10.0.0.2").unwrap();
        let services: Vec<_> = host.services.iter().map(|one| one.protocol.as_str()).collect();
        let products: usize = host.services.iter().map(|one| one.products.len()).sum();
        (services.join(" "), host.names.len() + products + host.hints.len() + host.findings.len())
    }

    /// Neither its software, nor its names, nor what is wrong with it.
    #[test]
    fn what_goes_through_a_proxy_is_not_the_proxys() {
        for (name, said, wanted) in [
            ("SSH", &[CONNECT, SSH][..], "http"),
            ("TLS", &[CONNECT, TLS], "http"),
            ("the web", &[CONNECT, GET, GET], "http"),
            ("a login before", &[REFUSED, CONNECT, TLS], "http"),
            ("a password", &[CONNECT, LDAP], "http"),
            ("FTP", &[SOCKS_5, FTP], "socks"),
            ("SOCKS 4", &[SOCKS_4, TLS, SSH], "socks"),
            ("a proxy behind it", &[SOCKS_5, CONNECT, SOCKS_5, TLS, SSH], "socks"),
        ] {
            let mut inventory = inventory();
            said.iter().for_each(|one| tell(&mut inventory, 40_000, *one));
            assert_eq!(server(&inventory), (wanted.to_owned(), 0), "{name}");
            // Of another flow the same is its own.
            tell(&mut inventory, 40_001, said[said.len() - 1]);
            assert!(server(&inventory).1 > 0, "{name}");
        }
        for (name, said) in [("refused", [REFUSED, SSH]), ("refused too", [SOCKS_NO, SSH]), ("no tunnel", [GET, SSH])] {
            let mut inventory = inventory();
            said.iter().for_each(|one| tell(&mut inventory, 40_000, *one));
            assert!(server(&inventory).0.ends_with("ssh") && server(&inventory).1 > 0, "{name}");
        }
        // The client is who it is.
        let mut inventory = inventory();
        [CONNECT, GET].into_iter().for_each(|one| tell(&mut inventory, 40_000, one));
        assert!(inventory.find("10.0.0.1").unwrap().os().is_some());
    }

    /// However many there are, so many are remembered, the latest.
    #[test]
    fn the_latest_flows_are_remembered() {
        let mut inventory = inventory();
        let first = 20_000;
        for number in 0..=FLOWS_MAX as u16 {
            tell(&mut inventory, first + number, CONNECT);
        }
        let tunnels = &inventory.tunnels;
        assert_eq!((tunnels.known.len(), tunnels.order.len()), (FLOWS_MAX, FLOWS_MAX));
        tell(&mut inventory, first + 1, SSH);
        assert_eq!(server(&inventory).0, "http");
        tell(&mut inventory, first, SSH);
        assert_eq!(server(&inventory).0, "http ssh", "the oldest is forgotten");
    }

    #[test]
    fn a_flow_through_a_proxy_is_of_the_protocol_that_asked_for_it() {
        for (began_as, application, wanted) in [
            (Protocol::Http, Protocol::Tls, "http"),
            (Protocol::Http, Protocol::Http, "http"),
            (Protocol::Http, Protocol::WebSocket, "websocket"),
            (Protocol::Http, Protocol::Http2, "http2"),
            (Protocol::Socks, Protocol::Ftp, "socks"),
            (Protocol::Socks, Protocol::Http, "socks"),
            (Protocol::Smtp, Protocol::Tls, "tls"),
            (Protocol::Unknown, Protocol::Ssh, "ssh"),
        ] {
            let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 3128, 6, 0);
            let flags = tcp_flags::SYN | tcp_flags::ACK;
            let flow = FlowSummary {
                key,
                originator,
                application,
                began_as,
                packets: [3, 3],
                payload: [9, 9],
                tcp_flags: [flags; 2],
                ..FlowSummary::default()
            };
            let mut inventory = inventory();
            inventory.spoken(&Spoken::of(&flow).unwrap());
            assert_eq!(server(&inventory).0, wanted, "{began_as:?} {application:?}");
        }
    }
}
