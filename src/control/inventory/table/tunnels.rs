//! Flows that a proxy passes on (HTTP CONNECT, SOCKS): what is spoken in them is another host's, as each event says. Of the flow's
//! responder nothing is noted, of its client what it says of itself; and whose server a password in the clear was for, as far as
//! that is remembered of what the proxy was asked.

use super::super::event::{About, Event, Note, Target};
use super::super::kinds;
use super::super::read;
use crate::dataplane::inspect::{Protocol, http, socks};
use crate::exchange::FlowSummary;
use std::collections::{HashMap, VecDeque};

/// Flows whose targets are remembered at most, up to 300 bytes each. Logins come soon behind the proxy's answer; of a flow that
/// was forgotten, or whose request was lost on its way here, the server is not named.
const FLOWS_MAX: usize = 1 << 12;
/// What a proxy answers that opens a tunnel: granted, in SOCKS 5 (RFC 1928 section 6) and in SOCKS 4.
const GRANTED: [u64; 2] = [0, 90];

/// Whom the latest flows through proxies asked for, by their numbers.
#[derive(Default)]
pub struct Tunnels {
    targets: HashMap<u64, Target>,
    order: VecDeque<u64>,
}

impl Tunnels {
    /// Whom the event's flow asked for, of several proxies behind one another the last one.
    pub fn target(&self, event: &Event<'_>) -> Option<&Target> {
        self.targets.get(&event.head.flow_id()?)
    }

    /// Remembers it of an event that opens a tunnel.
    pub fn see(&mut self, event: &Event<'_>) {
        if !opens(event) {
            return;
        }
        let (Some(flow), Some(target)) = (event.head.flow_id(), read::asked_for(event)) else { return };
        if self.targets.insert(flow, target).is_none() {
            self.order.push_back(flow);
            if self.order.len() > FLOWS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.targets.remove(&oldest);
            }
        }
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

/// What a note of an event in a tunnel comes to: who asks is the same in front of the proxy and behind it, who answers is not.
pub fn of_tunnel(note: Note, target: Option<&Target>) -> Option<Note> {
    match note {
        Note::Finding(kind, how, evidence) if kind == kinds::CLEARTEXT => {
            Some(Note::Through(target.cloned(), how, evidence))
        }
        Note::Alive(About::Client) | Note::Name(About::Client, ..) | Note::Os(About::Client, ..) => Some(note),
        Note::Through(..) => Some(note),
        _ => None,
    }
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
    use super::super::Inventory;
    use super::*;
    use crate::dataplane::decode::FlowKey;
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
        facts.put(http::HOSTNAME, b"out.example");
        facts.put_number(http::PORT, 443);
        facts.put_number(http::STATUS, status);
    }

    fn granted(facts: &mut Facts, reply: u64) {
        facts.put_number(socks::METHOD, 0);
        facts.put_number(socks::REPLY, reply);
    }

    /// What is said in one flow, one after the other; `is_through`: in a tunnel from the beginning.
    fn tell(inventory: &mut Inventory, port: u16, said: &[Said], mut is_through: bool) {
        for one in said {
            is_through |= tell_one(inventory, port, *one, is_through);
        }
    }

    /// Does it open a tunnel?
    fn tell_one(inventory: &mut Inventory, port: u16, (protocol, anomaly, put): Said, through_proxy: bool) -> bool {
        let (key, originator) = FlowKey::v4(0x0a00_0001, port, 0x0a00_0002, 3128, 6, 0);
        let time = Timestamp(200 * SECOND);
        let head = EventHead {
            time,
            told: time,
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
            through_proxy,
        };
        let mut facts = Facts::default();
        put(&mut facts);
        inventory.observe(&head, facts.as_bytes());
        opens(&Event::new(&head, facts.as_bytes()))
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
            tell(&mut inventory, 40_000, said, false);
            assert_eq!(server(&inventory), (wanted.to_owned(), 0), "{name}");
            // Whatever came of what opened it.
            tell(&mut inventory, 40_002, &said[said.len() - 1..], true);
            assert_eq!(server(&inventory), (wanted.to_owned(), 0), "{name}");
            // Of another flow the same is its own.
            tell(&mut inventory, 40_001, &said[said.len() - 1..], false);
            assert!(server(&inventory).1 > 0, "{name}");
        }
        for (name, said) in [("refused", [REFUSED, SSH]), ("refused too", [SOCKS_NO, SSH]), ("no tunnel", [GET, SSH])] {
            let mut inventory = inventory();
            tell(&mut inventory, 40_000, &said, false);
            assert!(server(&inventory).0.ends_with("ssh") && server(&inventory).1 > 0, "{name}");
        }
        // The client is who it is.
        let mut inventory = inventory();
        tell(&mut inventory, 40_000, &[CONNECT, GET], false);
        assert!(inventory.find("10.0.0.1").unwrap().os().is_some());
    }

    const FTP_INSIDE: Said = (Protocol::Socks, None, |facts| {
        granted(facts, 0);
        facts.put(socks::ADDRESS, &[10, 0, 0, 7]);
        facts.put_number(socks::PORT, 21);
    });
    const FTP_OUTSIDE: Said = (Protocol::Socks, None, |facts| {
        granted(facts, 0);
        facts.put(socks::ADDRESS, &[192, 0, 2, 7]);
        facts.put_number(socks::PORT, 21);
    });
    const BASIC: Said = (Protocol::Http, None, |facts| absolute(facts, b"out.example"));
    const BASIC_INSIDE: Said = (Protocol::Http, None, |facts| absolute(facts, b"10.0.0.7"));
    const BASIC_PROXY: Said = (Protocol::Http, None, |facts| {
        facts.put(http::METHOD, b"GET");
        facts.put(http::URL, b"http://out.example/");
        facts.put(http::HOSTNAME, b"out.example");
        facts.put(http::PROXY_AUTH_SCHEME, b"Basic");
    });

    fn absolute(facts: &mut Facts, host: &[u8]) {
        facts.put(http::METHOD, b"GET");
        facts.put(http::URL, &[b"http://", host, b"/"].concat());
        facts.put(http::HOSTNAME, host);
        facts.put(http::AUTH_SCHEME, b"Basic");
        facts.put(http::USERNAME, b"bob");
        facts.put_number(http::FORWARDED, 1);
        facts.put_number(http::STATUS, 200);
    }

    /// Of whom it is told that a password went in the clear, and how.
    fn findings(inventory: &Inventory) -> Vec<String> {
        let shown = |host: &super::super::super::host::Host| {
            let place = |one: &super::super::super::host::Finding| {
                one.service.as_ref().map_or_else(String::new, |place| format!(" {}/{}", place.port, place.protocol))
            };
            let address = host.addresses[0].address;
            host.findings
                .iter()
                .map(|one| format!("{address}{} {}: {}", place(one), one.detail, one.evidence))
                .collect()
        };
        inventory.hosts().flat_map(|(_, host)| -> Vec<String> { shown(host) }).collect()
    }

    /// A password in the clear is told of whom it was for, where that is one of ours, else of who sent it.
    #[test]
    fn a_password_through_a_proxy_is_told_and_not_of_the_proxy() {
        let sent = "10.0.0.1 sent a password of user bob unencrypted by";
        let by = "through the proxy 10.0.0.2";
        for (name, said, is_through, wanted) in [
            ("ours", &[FTP_INSIDE, FTP][..], false, format!("10.0.0.7 21/ftp FTP: {sent} FTP {by}")),
            ("a name", &[CONNECT, FTP], false, {
                format!("10.0.0.1 FTP to out.example:443: {sent} FTP to out.example:443 {by}")
            }),
            ("not ours", &[FTP_OUTSIDE, FTP], false, {
                format!("10.0.0.1 FTP to 192.0.2.7:21: {sent} FTP to 192.0.2.7:21 {by}")
            }),
            ("behind another proxy", &[CONNECT, FTP_INSIDE, FTP], false, {
                format!("10.0.0.7 21/ftp FTP: {sent} FTP {by}")
            }),
            ("the request was lost", &[FTP], true, {
                format!("10.0.0.1 FTP to an unknown server: {sent} FTP to an unknown server {by}")
            }),
            ("an absolute target", &[BASIC], false, {
                format!("10.0.0.1 HTTP Basic to out.example:80: {sent} HTTP Basic to out.example:80 {by}")
            }),
            ("one of ours", &[BASIC_INSIDE], false, format!("10.0.0.7 80/http HTTP Basic: {sent} HTTP Basic {by}")),
            ("to the proxy itself", &[BASIC_PROXY], false, {
                "10.0.0.2 3128/http HTTP Basic to a proxy: 10.0.0.1 sent a password unencrypted by HTTP Basic to a proxy".into()
            }),
        ] {
            let mut inventory = inventory();
            tell(&mut inventory, 40_000, said, is_through);
            assert_eq!(findings(&inventory), [wanted], "{name}");
        }
    }

    /// However many there are, so many are remembered, the latest.
    #[test]
    fn the_latest_targets_are_remembered() {
        let mut inventory = inventory();
        let first = 20_000;
        for number in 0..=FLOWS_MAX as u16 {
            tell(&mut inventory, first + number, &[CONNECT], false);
        }
        let tunnels = &inventory.tunnels;
        assert_eq!((tunnels.targets.len(), tunnels.order.len()), (FLOWS_MAX, FLOWS_MAX));
        for (port, name) in [(first + 1, "out.example:443"), (first, "an unknown server")] {
            tell(&mut inventory, port, &[FTP], true);
            assert!(findings(&inventory).iter().any(|one| one.contains(&format!("FTP to {name}: "))), "{name}");
        }
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
            let flow = FlowSummary { application, began_as, ..FlowSummary::default() };
            assert_eq!(spoken_by_responder(&flow).name(), wanted, "{began_as:?} {application:?}");
        }
    }
}
