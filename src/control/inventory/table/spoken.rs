//! Hosts and open ports that a flow alone tells of: somebody answered, in whatever protocol.
//!
//! Told at the flow's end, from its summary, and within a minute of one that lives and has data of both sides. What inspection
//! recognises tells more: such a service stays and the open port beside it goes ([`Host::add_service`]). A SYN that nobody
//! answered, an answer that refuses, and a datagram without one tell nothing, so that neither scans nor forged senders make
//! hosts; who only sent a SYN is no host even where it was answered.

use super::super::event::{CLIENT_PORTS, roles};
use super::super::host::{Confidence, OsHint, Seen, Segment, Service, TCP_STACK};
use super::Inventory;
use super::tunnels::spoken_by_responder;
use crate::dataplane::decode::{Endpoint, FlowKey, Stack, tcp_flags};
use crate::dataplane::inspect::{Cause, Protocol};
use crate::exchange::FlowSummary;
use crate::units::Timestamp;

/// A flow in which both sides spoke.
#[derive(Clone, Copy, Debug)]
pub struct Spoken {
    key: FlowKey,
    client: Endpoint,
    server: Endpoint,
    application: Protocol,
    first_seen: Timestamp,
    last_seen: Timestamp,
    /// The client has shown that it gets what it is sent.
    has_client: bool,
    /// The server's port is open.
    is_open: bool,
    /// Whose SYNs it began with.
    stacks: [Stack; 2],
}

impl Spoken {
    /// What a flow tells; `None` where one side was silent or refused.
    pub fn of(flow: &FlowSummary) -> Option<Spoken> {
        if !flow.is_answered() {
            return None;
        }
        let (client, server) = match roles(&flow.key, flow.originator, flow.application) {
            (one, other)
                if flow.application == Protocol::WireGuard
                    && one.port == WIREGUARD_PORT
                    && other.port != WIREGUARD_PORT =>
            {
                (other, one)
            }
            known => known,
        };
        let (has_client, is_open) = match flow.key.protocol() {
            6 => {
                let [asked, _] = flow.tcp_flags;
                (asked & tcp_flags::ACK != 0, flow.has_handshake())
            }
            17 => (true, is_served(client.port, server.port, flow.application)),
            _ => (false, false),
        };
        let (first_seen, last_seen) = (flow.first_seen, flow.last_seen);
        let application = match spoken_by_responder(flow) {
            _ if flow.payload[1] == 0 => Protocol::Unknown,
            // Of packets that the capture has cut nothing is read, so there are no events to tell it.
            told if flow.unread.contains(Cause::Cut) => told,
            told if flow.key.protocol() == 6 && is_told_by_events(told) => Protocol::Unknown,
            told => told,
        };
        let stacks = flow.stacks;
        Some(Spoken { key: flow.key, client, server, application, first_seen, last_seen, has_client, is_open, stacks })
    }

    /// Its ends.
    pub fn ends(&self) -> [std::net::IpAddr; 2] {
        [self.client.ip(), self.server.ip()]
    }
}

/// Ports of STUN servers (RFC 8489 section 18.6); elsewhere peers ask each other.
const STUN_PORTS: [u16; 2] = [3478, 5349];

/// Port that WireGuard is set up with unless another is chosen. Both ends begin handshakes, so who began tells nothing.
const WIREGUARD_PORT: u16 = 51_820;

/// Do the answers in this protocol over TCP come up as events? Then a flow by itself tells no more than an open port: its protocol
/// may be the client's alone, who tries one after the other.
fn is_told_by_events(application: Protocol) -> bool {
    use Protocol::{
        DceRpc, Dnp3, Dns, Ftp, Http, Http2, Iec104, Imap, Kerberos, Ldap, Memcached, Modbus, MongoDb, Mqtt, MySql,
        Pop3, PostgreSql, Rdp, Redis, S7, Sip, Smb, Smtp, Socks, Ssh, Stun, Tls,
    };
    matches!(
        application,
        Tls | Ssh
            | Http
            | Http2
            | Ftp
            | Smtp
            | Pop3
            | Imap
            | Socks
            | Smb
            | DceRpc
            | Kerberos
            | Ldap
            | Rdp
            | Dns
            | Stun
            | Sip
            | Redis
            | Memcached
            | MySql
            | PostgreSql
            | MongoDb
            | Mqtt
            | Modbus
            | S7
            | Iec104
            | Dnp3
    )
}

/// Is it a service that answers a protocol over UDP on this port, and no peer of the other end?
fn is_served(client: u16, port: u16, application: Protocol) -> bool {
    use Protocol::{
        BitTorrent, Dns, Dtls, Ike, Kerberos, Llmnr, Mdns, Nbns, Ntp, OpenVpn, Radius, Rtp, Sip, Snmp, Stun, Tftp,
        WireGuard,
    };
    match application {
        // Of a transfer neither port is the server's own.
        Rtp | BitTorrent | Mdns | Llmnr | Tftp => false,
        // Who was seen first may have answered; which of the two serves is told by the answers.
        _ if client == port && application != WireGuard => false,
        // Who answers is told by the answers, whoever was seen first.
        Dns | Dtls | Ike | Kerberos | Nbns | Ntp | OpenVpn | Radius | Sip | Snmp => false,
        Stun => STUN_PORTS.contains(&port),
        WireGuard if port == WIREGUARD_PORT => true,
        _ => port < CLIENT_PORTS,
    }
}

impl Inventory {
    /// Both sides of a flow spoke. A flow may be told again and again while it lives: nothing is counted.
    pub fn spoken(&mut self, flow: &Spoken) {
        let segment = Segment::of(&flow.key);
        let seen = Seen { first_seen: flow.first_seen, last_seen: flow.last_seen };
        let [asking, answering] = flow.stacks;
        let is_transfer = self.transfers.has((segment, flow.server.ip(), flow.server.port), flow.first_seen);
        let is_open = flow.is_open && !is_transfer;
        let ends = [(flow.client, flow.has_client, false, asking), (flow.server, true, is_open, answering)];
        for (end, _, is_open, stack) in ends.into_iter().filter(|(_, is_there, ..)| *is_there) {
            self.change(segment, end.ip(), flow.first_seen, |host| {
                stack.name().is_some_and(|os| {
                    let (os, source) = (os.to_owned(), TCP_STACK.to_owned());
                    host.add_hint(OsHint { os, source, confidence: Confidence::Low, seen })
                })
            });
            self.change(segment, end.ip(), flow.last_seen, |host| {
                is_open
                    && host.add_service(Service {
                        transport: if flow.key.protocol() == 6 { "tcp" } else { "udp" }.to_owned(),
                        port: end.port,
                        protocol: flow.application.name().to_owned(),
                        products: Vec::new(),
                        banner: String::new(),
                        banner_time: Timestamp(0),
                        wire: Default::default(),
                        count: 0,
                        seen,
                    })
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::host::{Host, SERVICES_MAX};
    use super::super::super::{Settings, rules::Rules};
    use super::*;
    use crate::dataplane::inspect::{Facts, Unread, ftp, ssh};
    use crate::exchange::EventHead;
    use crate::units::SECOND;
    use std::sync::Arc;
    use tcp_flags::{ACK, FIN, PSH, RST, SYN};

    const OUTSIDE: u32 = 0xc000_0201;

    fn inventory() -> Inventory {
        Inventory::new(Settings::with(Arc::new(Rules::shipped().unwrap())))
    }

    /// A flow from one address to a port of another, with flags and bytes of payload of both sides.
    fn flow(from: u32, to: u32, port: u16, protocol: u8, flags: [u8; 2], payload: [u64; 2]) -> FlowSummary {
        let (key, originator) = FlowKey::v4(from, 40_000, to, port, protocol, 0);
        let packets = payload.map(|bytes| 1 + bytes / 1000);
        FlowSummary {
            key,
            originator,
            packets,
            payload,
            tcp_flags: flags,
            first_seen: Timestamp(100 * SECOND),
            last_seen: Timestamp(200 * SECOND),
            ..FlowSummary::default()
        }
    }

    fn shown(inventory: &Inventory) -> Vec<String> {
        let services = |host: &Host| {
            host.services
                .iter()
                .map(|one| format!(" {}/{} {}", one.transport, one.port, one.protocol))
                .collect::<String>()
        };
        let mut hosts: Vec<_> =
            inventory.hosts().map(|(_, host)| format!("{}{}", host.addresses[0].address, services(host))).collect();
        hosts.sort();
        hosts
    }

    #[test]
    fn who_answered_is_there_and_his_port_open() {
        let (a, b) = (0x0a00_0001, 0x0a00_0002);
        let whole = [SYN | ACK | PSH | FIN, SYN | ACK | PSH | FIN];
        for (name, flow, wanted) in [
            ("a connection", flow(a, b, 9999, 6, whole, [10, 28]), &["10.0.0.1", "10.0.0.2 tcp/9999 unknown"][..]),
            ("from outside", flow(OUTSIDE, b, 6900, 6, whole, [0, 9]), &["10.0.0.2 tcp/6900 unknown"]),
            ("to outside", flow(a, OUTSIDE, 4444, 6, whole, [0, 0]), &["10.0.0.1"]),
            ("a SYN scan, open", flow(a, b, 23, 6, [SYN | RST, SYN | ACK], [0, 0]), &["10.0.0.2 tcp/23 unknown"]),
            ("a SYN scan, closed", flow(a, b, 23, 6, [SYN, RST | ACK], [0, 0]), &[]),
            ("a SYN alone", FlowSummary { packets: [3, 0], ..flow(a, b, 23, 6, [SYN, 0], [0, 0]) }, &[]),
            ("met in the middle", flow(a, b, 23, 6, [ACK, ACK], [5, 5]), &["10.0.0.1", "10.0.0.2"]),
            ("acknowledged only", flow(a, b, 23, 6, [ACK | PSH, ACK], [5, 0]), &[]),
            ("datagrams", flow(a, b, 6900, 17, [0; 2], [5, 5]), &["10.0.0.1", "10.0.0.2 udp/6900 unknown"]),
            ("between clients", flow(a, b, 35_882, 17, [0; 2], [5, 5]), &["10.0.0.1", "10.0.0.2"]),
            ("one datagram", FlowSummary { packets: [1, 0], ..flow(a, b, 69, 17, [0; 2], [5, 0]) }, &[]),
            ("an echo", flow(a, b, 0, 1, [0; 2], [8, 8]), &["10.0.0.2"]),
        ] {
            let mut inventory = inventory();
            Spoken::of(&flow).into_iter().for_each(|spoken| inventory.spoken(&spoken));
            assert_eq!(shown(&inventory), wanted, "{name}");
        }
    }

    /// Over TCP the protocol of a flow may be the client's alone: one that tries each on every port, and a server that greets in
    /// another one or closes.
    #[test]
    fn what_only_the_client_spoke_is_no_service() {
        let whole = [SYN | ACK, SYN | ACK];
        for (application, payload, wanted) in [
            (Protocol::Tls, [517, 0], "unknown"),
            (Protocol::Tls, [517, 40], "unknown"),
            (Protocol::Http, [80, 0], "unknown"),
            (Protocol::Stratum, [90, 0], "unknown"),
            (Protocol::Stratum, [90, 40], "stratum"),
        ] {
            let flow = FlowSummary { application, ..flow(0x0a00_0001, 0x0a00_0002, 22, 6, whole, payload) };
            let cut = FlowSummary { unread: Unread::of(Cause::Cut), ..flow };
            let named = if payload[1] == 0 { "unknown" } else { application.name() };
            let mut snapped = inventory();
            snapped.spoken(&Spoken::of(&cut).unwrap());
            assert_eq!(shown(&snapped), ["10.0.0.1", &format!("10.0.0.2 tcp/22 {named}")], "{application:?}, cut");
            let mut inventory = inventory();
            inventory.spoken(&Spoken::of(&flow).unwrap());
            assert_eq!(shown(&inventory), ["10.0.0.1", &format!("10.0.0.2 tcp/22 {wanted}")], "{application:?}");
            ssh_event(&mut inventory, 22);
            assert_eq!(shown(&inventory), ["10.0.0.1", "10.0.0.2 tcp/22 ssh"], "{application:?}, and an answer");
        }
    }

    /// A port that FTP opens for one transfer is no service, of the server or of the client; but one that was open before is.
    #[test]
    fn a_transfer_of_ftp_is_no_service() {
        let whole = [SYN | ACK | FIN, SYN | ACK | FIN];
        let (client, server) = (0x0a00_0001, 0x0a00_0002_u32);
        let told = |mode: &[u8], address: Option<u32>, seconds: u64| {
            let mut inventory = inventory();
            let mut facts = Facts::default();
            address.into_iter().for_each(|address| facts.put(ftp::DATA_ADDRESS, &address.to_be_bytes()));
            facts.put_number(ftp::DATA_PORT, 50_123);
            facts.put(ftp::MODE, mode);
            event(&mut inventory, Protocol::Ftp, &facts, 21, Timestamp(seconds * SECOND));
            let ends = if mode == ftp::ACTIVE { (server, client) } else { (client, server) };
            inventory.spoken(&Spoken::of(&flow(ends.0, ends.1, 50_123, 6, whole, [0, 90])).unwrap());
            shown(&inventory).iter().any(|host| host.contains("50123"))
        };
        for (what, mode, address, seconds, wanted) in [
            ("passive", &b"passive"[..], Some(server), 99, false),
            ("extended", b"passive", None, 99, false),
            ("translated", b"passive", Some(OUTSIDE), 99, false),
            ("active", ftp::ACTIVE, Some(client), 99, false),
            ("a clock ahead", b"passive", Some(server), 101, false),
            ("long before", b"passive", Some(server), 30, true),
            ("behind", b"passive", Some(server), 110, true),
        ] {
            assert_eq!(told(mode, address, seconds), wanted, "{what}");
        }
    }

    #[test]
    fn of_ports_alike_who_began_tells_nothing() {
        for (application, ports, wanted) in [
            (Protocol::Ntp, [123, 123], false),
            (Protocol::Dns, [53, 53], false),
            (Protocol::Sip, [5060, 5060], false),
            (Protocol::Snmp, [161, 161], false),
            (Protocol::Ntp, [40_000, 123], false),
            (Protocol::Syslog, [514, 514], false),
            (Protocol::Syslog, [40_000, 514], true),
            (Protocol::Ike, [500, 500], false),
            (Protocol::Radius, [1812, 1812], false),
            (Protocol::WireGuard, [51_820, 51_820], true),
        ] {
            let (key, originator) = FlowKey::v4(0x0a00_0001, ports[0], 0x0a00_0002, ports[1], 17, 0);
            let flow = FlowSummary { key, originator, application, ..flow(1, 2, 1, 17, [0; 2], [50, 50]) };
            let mut inventory = inventory();
            inventory.spoken(&Spoken::of(&flow).unwrap());
            let service = format!("10.0.0.2 udp/{} {}", ports[1], application.name());
            assert_eq!(shown(&inventory).contains(&service), wanted, "{service} of {ports:?}");
        }
    }

    #[test]
    fn who_answers_over_udp_serves_unless_peers_do() {
        for (application, port, wanted) in [
            (Protocol::Unknown, 6900, true),
            (Protocol::Unknown, 40_000, false),
            (Protocol::Radius, 1812, false),
            (Protocol::Ike, 500, false),
            (Protocol::Ike, 4500, false),
            (Protocol::OpenVpn, 1194, false),
            (Protocol::OpenVpn, 51_000, false),
            (Protocol::WireGuard, 51_820, true),
            (Protocol::WireGuard, 36_116, false),
            (Protocol::Stun, 3478, true),
            (Protocol::Stun, 5349, true),
            (Protocol::Stun, 19_302, false),
            (Protocol::Syslog, 514, true),
            (Protocol::Rtp, 5004, false),
            (Protocol::BitTorrent, 6881, false),
            (Protocol::Mdns, 5353, false),
            (Protocol::Tftp, 1069, false),
        ] {
            let mut inventory = inventory();
            let flow = FlowSummary { application, ..flow(0x0a00_0001, 0x0a00_0002, port, 17, [0; 2], [50, 50]) };
            inventory.spoken(&Spoken::of(&flow).unwrap());
            let service = format!("10.0.0.2 udp/{port} {}", application.name());
            assert_eq!(shown(&inventory).contains(&service), wanted, "{service}");
        }
    }

    fn ssh_event(inventory: &mut Inventory, port: u16) {
        let mut facts = Facts::default();
        facts.put(ssh::SERVER_VERSION, b"2.0");
        facts.put(ssh::SERVER_SOFTWARE, b"x");
        event(inventory, Protocol::Ssh, &facts, port, Timestamp(150 * SECOND));
    }

    fn event(inventory: &mut Inventory, protocol: Protocol, facts: &Facts, port: u16, time: Timestamp) {
        let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, port, 6, 0);
        let head = EventHead {
            time,
            told: time,
            key,
            originator,
            sender: crate::dataplane::flow::Side::Originator,
            first_seen: None,
            protocol,
            anomaly: None,
            truncated: false,
            bytes: 0,
            icmp: None,
            outer: None,
            through_proxy: false,
        };
        inventory.observe(&head, facts.as_bytes());
    }

    /// Whatever comes first, what inspection tells of a port stays, then the name that the flow has, then that it is open.
    #[test]
    fn what_is_known_of_a_port_takes_the_place_of_that_it_is_open() {
        let whole = [SYN | ACK, SYN | ACK];
        let unknown = flow(0x0a00_0001, 0x0a00_0002, 22, 6, whole, [9, 9]);
        let named = FlowSummary { application: Protocol::Stratum, ..unknown };
        let tell = |what: &str| {
            let mut inventory = inventory();
            for one in what.chars() {
                match one {
                    'e' => ssh_event(&mut inventory, 22),
                    one => inventory.spoken(&Spoken::of(if one == 'n' { &named } else { &unknown }).unwrap()),
                }
            }
            let host = inventory.find("10.0.0.2").unwrap();
            let services = host.services.iter().map(|one| format!("{} {}", one.protocol, one.count));
            (services.collect::<Vec<_>>().join(", "), host.is_bare(), host.not_kept, host.seen)
        };
        for (orders, wanted, is_bare) in [
            (&["u", "uu"][..], "unknown 0", true),
            (&["un", "nu", "unun"], "stratum 0", true),
            (&["ue", "eu", "une", "eun", "neu", "uen"], "ssh 1", false),
        ] {
            for order in orders {
                let (services, bare, not_kept, seen) = tell(order);
                assert_eq!((services.as_str(), bare, not_kept), (wanted, is_bare, 0), "{order}");
                assert_eq!((seen.first_seen, seen.last_seen), (Timestamp(100 * SECOND), Timestamp(200 * SECOND)));
            }
        }
    }

    /// The order of TCP options is a hint that gives way to any other, and none of who sent a SYN and nothing more.
    #[test]
    fn a_stack_is_the_least_of_hints() {
        let whole = [SYN | ACK, SYN | ACK];
        let talk = flow(0x0a00_0001, 0x0a00_0002, 22, 6, whole, [9, 9]);
        let talk = FlowSummary { stacks: [Stack::Windows, Stack::Linux], ..talk };
        let scan = FlowSummary { tcp_flags: [SYN | RST, SYN | ACK], ..talk };
        let mut inventory = inventory();
        for flow in [talk, scan] {
            inventory.spoken(&Spoken::of(&flow).unwrap());
        }
        let os = |inventory: &Inventory, host: &str| {
            let host = inventory.find(host).unwrap();
            host.os().map(|one| (one.os.clone(), one.confidence, one.source.clone()))
        };
        let hint = |os: &str| Some((os.to_owned(), Confidence::Low, "TCP options".to_owned()));
        assert_eq!(os(&inventory, "10.0.0.1"), hint("Windows"));
        assert_eq!(os(&inventory, "10.0.0.2"), hint("Linux or Android"));
        inventory.change(Segment::default(), "10.0.0.1".parse().unwrap(), Timestamp(1), |host| {
            let (os, source) = ("ChromeOS".to_owned(), "User-Agent".to_owned());
            host.add_hint(OsHint { os, source, confidence: Confidence::Low, seen: Seen::at(Timestamp(1)) })
        });
        assert_eq!(os(&inventory, "10.0.0.1").unwrap().0, "ChromeOS", "though it is older");
        let mut other = self::inventory();
        other.spoken(&Spoken::of(&scan).unwrap());
        assert!(other.find("10.0.0.1").is_none() && other.find("10.0.0.2").unwrap().os().is_some());
    }

    /// A host with a thousand open ports keeps what is known of it, and gives way before those of which more is known.
    #[test]
    fn open_ports_are_worth_least() {
        let mut inventory = inventory();
        ssh_event(&mut inventory, 22);
        for port in 1000..1000 + 4 * SERVICES_MAX as u16 {
            let flow = flow(0x0a00_0001, 0x0a00_0002, port, 6, [SYN | ACK, SYN | ACK], [9, 9]);
            inventory.spoken(&Spoken::of(&flow).unwrap());
        }
        let host = inventory.find("10.0.0.2").unwrap();
        assert_eq!(host.services.len(), SERVICES_MAX);
        assert!(host.services.iter().any(|one| one.protocol == "ssh"));
        let home = inventory.settings.hosts;
        for host in 0..2 * home as u32 {
            let flow = flow(OUTSIDE, 0x0b00_0000 - 1 - host, 80, 6, [SYN | ACK, SYN | ACK], [9, 9]);
            inventory.spoken(&Spoken::of(&flow).unwrap());
        }
        assert!(inventory.stats().hosts <= home as u64);
        assert!(inventory.find("10.0.0.2").is_some(), "of which more is known");
    }
}
