//! What the detectors see: an ended or growing flow, or what an event says, small and with its place in the order of all.

use super::count::hash;
use super::{intel, names};
use crate::control::inventory;
use crate::dataplane::decode::{Direction, Endpoint, FlowKey, Neighbour, Outer};
use crate::dataplane::detect::FlowRef;
use crate::dataplane::flow::Side;
use crate::dataplane::inspect::tls::fingerprint::{Transport, ja3, ja4, md5_hex};
use crate::dataplane::inspect::{Facts, Protocol, dcerpc, dhcp, dns, dtls, http, llmnr, nbns, quic, smb, stratum, tls};
use crate::exchange::{EventHead, FlowSummary};
use crate::units::Timestamp;
use std::net::IpAddr;

/// One thing seen.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Moment by which it was known: with it goes the order of all observations.
    pub told: Timestamp,
    /// When it happened.
    pub time: Timestamp,
    /// Its flow.
    pub origin: Origin,
    /// What it was.
    pub what: What,
}

/// What evidence names of a flow, put together only when there is evidence.
#[derive(Clone, Debug)]
pub struct Origin {
    key: FlowKey,
    originator: Direction,
    first_seen: Option<Timestamp>,
    outer: Option<Box<Outer>>,
    application: Protocol,
}

/// What was seen.
#[derive(Clone, Debug)]
pub enum What {
    /// A flow that both sides had a part in.
    Flow(Flow),
    /// A message of DNS.
    Dns(Dns),
    /// A miner, or a peer of a currency's network.
    Mining(Mining),
    /// A password went over the wire unencrypted.
    Cleartext(Cleartext),
    /// A handshake of TLS, DTLS or QUIC.
    Hello(Box<Hello>),
    /// A request of HTTP.
    Request(Request),
    /// A host on the link said which address it has.
    Neighbour(Neighbour),
    /// A server of DHCP answered.
    Lease(Box<Lease>),
    /// A host answered for a name on the link.
    Answer(Answer),
    /// A host does something on another.
    Remote(Remote),
}

/// A flow that was answered: it ended, or has grown so much that nobody waits for its end.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Who began it.
    pub client: Endpoint,
    /// Who was spoken to.
    pub server: Endpoint,
    /// IP protocol number.
    pub protocol: u8,
    /// What it carried.
    pub application: Protocol,
    /// First packet.
    pub began: Timestamp,
    /// Payload that client and server sent, bytes; of a flow that was told before what came since.
    pub bytes: [u64; 2],
    /// Nothing was told of it before.
    pub is_new: bool,
}

/// A question, or an answer with it.
#[derive(Clone, Debug)]
pub struct Dns {
    /// Who asked.
    pub client: Endpoint,
    /// Who was asked.
    pub server: Endpoint,
    /// The first name asked for, in lower case, without the dot at its end.
    pub name: Box<str>,
    /// Its type (RFC 1035 section 3.2.2).
    pub kind: u16,
    /// Response code of an answer; `None`: it is a question.
    pub answer: Option<u16>,
    /// Bytes of the answers' data as text.
    pub answer_bytes: u32,
}

/// What a miner says.
#[derive(Clone, Debug)]
pub struct Mining {
    /// Miner or peer.
    pub client: Endpoint,
    /// Pool or peer.
    pub server: Endpoint,
    /// `stratum`, `bitcoin` or `ethereum`.
    pub kind: &'static str,
    /// Call, user and software, where they were told.
    pub call: String,
    /// Wallet or account.
    pub user: String,
    /// Software.
    pub agent: String,
}

/// A login that anybody on the way can read.
#[derive(Clone, Debug)]
pub struct Cleartext {
    /// Who logged in.
    pub client: Endpoint,
    /// Where.
    pub server: Endpoint,
    /// `FTP`, `HTTP Basic`, ...
    pub how: String,
    /// One sentence with the user, never the password.
    pub sentence: String,
}

/// What both sides of a handshake said.
#[derive(Clone, Debug)]
pub struct Hello {
    /// Who began it.
    pub client: Endpoint,
    /// Who was spoken to.
    pub server: Endpoint,
    /// Server name that the client asked for, in lower case.
    pub name: Option<Box<str>>,
    /// MD5 of the client's JA3, in hex.
    pub ja3: Option<Box<str>>,
    /// JA4 of the client.
    pub ja4: Option<Box<str>>,
    /// SHA-1 of the server's certificate, in hex.
    pub certificate: Option<Box<str>>,
}

/// What somebody asked a web server for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asked.
    pub client: Endpoint,
    /// Who was asked.
    pub server: Endpoint,
    /// Host, port and path as indicators have them ([`super::intel::url`]).
    pub url: Box<str>,
}

/// What a server of DHCP gives out.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Hash of VLANs and tunnel: addresses mean hosts within one.
    pub link: u64,
    /// Address of the server, as it names itself.
    pub server: u128,
    /// Address that the client gets.
    pub address: u128,
    /// It may have it from now on; else it is an offer.
    pub is_given: bool,
    /// Link address of the client.
    pub mac: Option<[u8; 6]>,
    /// Number of the exchange.
    pub exchange: u64,
    /// Address of the relay; 0: none.
    pub relay: u128,
    /// Network of the address, by the mask that is given with it.
    pub network: u128,
    /// Gateways, and a hash of them; 0: it names none.
    pub routers_named: Vec<u128>,
    /// See there.
    pub routers: u64,
    /// Hash of the name servers; 0: it names none.
    pub resolvers: u64,
}

/// An answer in LLMNR or NetBIOS in which a host calls a name its own.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Hash of VLANs and tunnel.
    pub link: u64,
    /// Who answered.
    pub responder: u128,
    /// Its port.
    pub port: u16,
    /// Who had asked.
    pub asker: u128,
    /// The first label of the name, in lower case.
    pub name: Box<str>,
    /// `LLMNR` or `NetBIOS`.
    pub how: &'static str,
}

/// What a host does on another, by SMB and DCE/RPC.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Who does it.
    pub client: Endpoint,
    /// Where.
    pub server: Endpoint,
    /// What it is.
    pub step: Step,
    /// Name of the call, the share or the file.
    pub what: String,
}

/// What a call, a file or a share stands for (BZAR, `indicators`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Connected to an administrative share.
    Share,
    /// Wrote a file to one.
    Write,
    /// Started a program, service or task.
    Execution,
    /// Lists accounts, shares or sessions.
    Discovery,
    /// Asked a directory service for secrets.
    Replication,
    /// Asked a directory service for something else.
    Directory,
}

impl Step {
    /// Of a call by its name; `None`: it stands for nothing.
    fn of_call(name: &str) -> Option<Step> {
        Some(match name {
            // MS-SCMR, MS-TSCH, MS-WMI, and objects called over DCOM (MS-OAUT).
            "CreateServiceW"
            | "CreateServiceA"
            | "CreateServiceWOW64A"
            | "CreateServiceWOW64W"
            | "StartServiceW"
            | "StartServiceA"
            | "NetrJobAdd"
            | "SchRpcRegisterTask"
            | "SchRpcRun"
            | "ExecMethod"
            | "ExecMethodAsync"
            | "Invoke" => Step::Execution,
            "SamrEnumerateUsersInDomain"
            | "SamrEnumerateGroupsInDomain"
            | "SamrEnumerateAliasesInDomain"
            | "SamrGetMembersInGroup"
            | "SamrGetMembersInAlias"
            | "SamrQueryDisplayInformation"
            | "LsarEnumerateAccounts"
            | "LsarEnumerateTrustedDomains"
            | "DsrEnumerateDomainTrusts"
            | "NetrShareEnum"
            | "NetrSessionEnum"
            | "NetrConnectionEnum"
            | "NetrFileEnum"
            | "NetrServerDiskEnum"
            | "NetrWkstaUserEnum"
            | "EnumServicesStatusW"
            | "EnumServicesStatusExW" => Step::Discovery,
            "DRSGetNCChanges" | "DRSReplicaSync" => Step::Replication,
            _ if name.starts_with("DRS") => Step::Directory,
            _ => return None,
        })
    }
}

impl Origin {
    fn of_neighbour(neighbour: &Neighbour) -> Origin {
        let [a, b, c, d, e, f] = neighbour.mac;
        let mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Origin {
            key: FlowKey::between((neighbour.address, u128::from(mac)), 0),
            originator: Direction::Forward,
            first_seen: None,
            outer: None,
            application: Protocol::Unknown,
        }
    }

    fn of_event(head: &EventHead) -> Origin {
        Origin {
            key: head.key,
            originator: head.originator,
            first_seen: head.first_seen,
            outer: head.outer.map(Box::new),
            application: head.protocol,
        }
    }

    /// The flow, as one of several that evidence is about or as the one.
    pub fn flow(&self, is_example: bool) -> Option<FlowRef> {
        let flow = FlowRef::new(&self.key, (self.originator, self.first_seen?), self.outer.as_deref(), [None; 2]);
        let known = self.application != Protocol::Unknown;
        Some(FlowRef { is_example, application: known.then(|| self.application.name().to_owned()), ..flow })
    }

    /// IP protocol number.
    pub fn protocol(&self) -> u8 {
        self.key.protocol()
    }
}

impl Observation {
    /// A flow, if both sides had a part in it: with shapes exported or not, the same flows. `before`: payload of client and
    /// server that was told already.
    pub fn of_flow(flow: &FlowSummary, before: Option<[u64; 2]>) -> Option<Observation> {
        if !flow.is_answered() || flow.packets.contains(&0) {
            return None;
        }
        let (client, server) = inventory::roles(&flow.key, flow.originator, flow.application);
        let is_turned = (client, server) != flow.key.endpoints(flow.originator);
        let mut bytes = flow.payload;
        if is_turned {
            bytes.reverse();
        }
        let told = before.unwrap_or_default();
        let [out, into] = [0, 1].map(|side: usize| {
            let of = |sides: &[u64; 2]| sides.get(side).copied().unwrap_or(0);
            of(&bytes).saturating_sub(of(&told))
        });
        let what = What::Flow(Flow {
            client,
            server,
            protocol: flow.key.protocol(),
            application: flow.application,
            began: flow.first_seen,
            bytes: [out, into],
            is_new: before.is_none(),
        });
        let origin = Origin {
            key: flow.key,
            originator: flow.originator,
            first_seen: Some(flow.first_seen),
            outer: flow.outer.map(Box::new),
            application: flow.application,
        };
        Some(Observation { told: flow.ended_at.max(flow.last_seen), time: flow.last_seen, origin, what })
    }

    /// A host on the link said which address it has.
    pub fn of_neighbour(time: Timestamp, neighbour: &Neighbour) -> Observation {
        Observation { told: time, time, origin: Origin::of_neighbour(neighbour), what: What::Neighbour(*neighbour) }
    }

    /// May a detector want an event of this protocol?
    pub fn is_of_interest(protocol: Protocol) -> bool {
        use Protocol::{DceRpc, Dhcp, Dns, Dtls, Llmnr, Nbns, Quic, Smb, Stratum, Tls};
        matches!(protocol, DceRpc | Dhcp | Dns | Dtls | Llmnr | Nbns | Quic | Smb | Stratum | Tls)
            || inventory::may_show_passwords(protocol)
    }

    /// What detectors want of an event. `lists`: somebody looks names and URLs up.
    pub fn of_event(head: &EventHead, facts: &[u8], lists: bool) -> impl Iterator<Item = Observation> {
        use Protocol::{DceRpc, Dhcp, Dns, Dtls, Http, Llmnr, Nbns, Quic, Smb, Stratum, Tls};
        let is_plain = head.anomaly.is_none();
        let first = match head.protocol {
            Dns if is_plain => dns_of(head, facts).map(What::Dns),
            Stratum if is_plain => mining_of(head, facts).map(What::Mining),
            Tls | Dtls | Quic if is_plain && lists => Some(What::Hello(Box::new(hello_of(head, facts)))),
            Dhcp if is_plain => lease_of(head, facts).map(|lease| What::Lease(Box::new(lease))),
            DceRpc | Smb if is_plain => remote_of(head, facts).map(What::Remote),
            Llmnr | Nbns if is_plain => answer_of(head, facts).map(What::Answer),
            Http if is_plain && lists => request_of(head, facts).map(What::Request),
            _ => None,
        };
        let second = cleartext_of(head, facts).map(What::Cleartext);
        let (told, time) = (head.told.max(head.time), head.time);
        let origin = Origin::of_event(head);
        [first, second].into_iter().flatten().map(move |what| Observation { told, time, origin: origin.clone(), what })
    }

    /// What orders observations of one moment. Equal ones are of one flow, so of one queue, which keeps their order.
    pub(super) fn place(&self) -> (Timestamp, [u64; 5], Option<Timestamp>) {
        (self.told, *self.origin.key.words(), self.origin.first_seen)
    }
}

fn dns_of(head: &EventHead, facts: &[u8]) -> Option<Dns> {
    let event = inventory::Event::new(head, facts);
    let name = event.bytes(dns::SET.query_name)?;
    let [answers, ..] = &dns::SET.sections;
    let [.., data] = answers;
    let is_answer = event.number(dns::SET.qr) == Some(1);
    let name = names::lower(name)?;
    Some(Dns {
        client: event.client,
        server: event.server,
        name,
        kind: event.number(dns::SET.query_type).unwrap_or(0) as u16, // of 16 bits
        answer: is_answer.then(|| event.number(dns::SET.rcode).unwrap_or(0) as u16), // of 12 bits
        answer_bytes: if is_answer { event.all(*data).map(|data| data.len() as u32).sum() } else { 0 },
    })
}

fn mining_of(head: &EventHead, facts: &[u8]) -> Option<Mining> {
    let event = inventory::Event::new(head, facts);
    let kind = match event.bytes(stratum::KIND)? {
        b"stratum" => "stratum",
        b"bitcoin" => "bitcoin",
        b"ethereum" => "ethereum",
        _ => return None,
    };
    let text = |fact| event.text(fact).unwrap_or_default();
    Some(Mining {
        client: event.client,
        server: event.server,
        kind,
        call: text(stratum::METHOD),
        user: text(stratum::USERNAME),
        agent: text(stratum::AGENT),
    })
}

fn hello_of(head: &EventHead, facts: &[u8]) -> Hello {
    let (names, certificate, transport) = match head.protocol {
        Protocol::Tls => (tls::HELLO, Some(tls::SERVER_CERTIFICATE), Transport::Tcp),
        Protocol::Dtls => (dtls::HELLO, Some(dtls::SERVER_CERTIFICATE), Transport::Dtls),
        _ => (quic::HELLO, None, Transport::Quic),
    };
    let event = inventory::Event::new(head, facts);
    let all = Facts::from_bytes(facts, head.truncated);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    Hello {
        client: event.client,
        server: event.server,
        name: event.bytes(names.sni).and_then(names::lower),
        ja3: ja3(&all, &names).map(|text| md5_hex(&text).into()),
        ja4: ja4(&all, &names, transport).map(Into::into),
        certificate: certificate.and_then(|names| event.bytes(names.fingerprint)).map(hex),
    }
}

fn request_of(head: &EventHead, facts: &[u8]) -> Option<Request> {
    let event = inventory::Event::new(head, facts);
    let path = String::from_utf8_lossy(event.bytes(http::URL)?);
    // What a proxy is asked for is whole.
    let url = if path.contains("://") {
        intel::url(&path)?
    } else {
        let host = String::from_utf8_lossy(event.bytes(http::HOSTNAME)?);
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.into_owned() };
        let port = event.number(http::PORT).map(|port| format!(":{port}")).unwrap_or_default();
        intel::url(&format!("http://{host}{port}{path}"))?
    };
    Some(Request { client: event.client, server: event.server, url })
}

fn link_of(key: &FlowKey) -> u64 {
    hash((key.vlans(), key.tunnel_identity()))
}

fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Who sent a message, and to whom.
fn ends_of(head: &EventHead) -> (Endpoint, Endpoint) {
    let (originator, responder) = head.key.endpoints(head.originator);
    if head.sender == Side::Originator { (originator, responder) } else { (responder, originator) }
}

/// Offers and acknowledgements of version 4 (RFC 2132 section 9.6).
fn lease_of(head: &EventHead, facts: &[u8]) -> Option<Lease> {
    const OFFER: u64 = 2;
    const ACK: u64 = 5;
    const USUAL_MASK: u128 = u128::MAX << 8;
    let event = inventory::Event::new(head, facts);
    let kind = event.number(dhcp::TYPE)?;
    if event.number(dhcp::VERSION) != Some(4) || !matches!(kind, OFFER | ACK) {
        return None;
    }
    let one = |fact| event.addresses(fact).map(number_of).next();
    let all = |fact| {
        let mut all: Vec<u128> = event.addresses(fact).map(number_of).collect();
        all.sort_unstable();
        all
    };
    let hashed = |all: &[u128]| if all.is_empty() { 0 } else { hash(all) };
    let address = one(dhcp::ASSIGNED_IP).filter(|address| *address as u32 != 0)?;
    let mask = one(dhcp::SUBNET_MASK).map_or(USUAL_MASK, |mask| mask | u128::MAX << 32);
    let routers = all(dhcp::ROUTER);
    Some(Lease {
        link: link_of(&head.key),
        server: one(dhcp::SERVER_ID).unwrap_or(ends_of(head).0.address),
        address,
        is_given: kind == ACK,
        mac: event.bytes(dhcp::CLIENT_MAC).and_then(|mac| mac.try_into().ok()),
        exchange: event.number(dhcp::ID).unwrap_or(0),
        relay: one(dhcp::RELAY_IP).filter(|relay| *relay as u32 != 0).unwrap_or(0),
        network: address & mask,
        routers: hashed(&routers),
        routers_named: routers,
        resolvers: hashed(&all(dhcp::DNS_SERVER)),
    })
}

/// Answers with the address of who gives them: of LLMNR (RFC 4795 section 2.1.1), and of NetBIOS for workstations and file
/// servers (RFC 1002 section 4.2.13).
fn answer_of(head: &EventHead, facts: &[u8]) -> Option<Answer> {
    const WORKSTATION: u64 = 0x00;
    const FILE_SERVER: u64 = 0x20;
    let event = inventory::Event::new(head, facts);
    let (responder, asker) = ends_of(head);
    let (name, is_own, how) = if head.protocol == Protocol::Llmnr {
        let is_answer = event.number(llmnr::SET.qr) == Some(1);
        let own = event.all(llmnr::SET.address).any(|bytes| {
            std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<IpAddr>().ok()) == Some(responder.ip())
        });
        let in_binary = event.addresses(llmnr::SET.address).any(|address| address == responder.ip());
        (event.bytes(llmnr::SET.query_name)?, is_answer && (own || in_binary), "LLMNR")
    } else {
        let is_answer = event.number(nbns::QR) == Some(1) && event.number(nbns::OPCODE) == Some(0);
        let is_host = matches!(event.number(nbns::SUFFIX), Some(WORKSTATION | FILE_SERVER));
        let is_good = event.number(nbns::RCODE).is_none_or(|code| code == 0);
        let own = event.addresses(nbns::ADDRESS).any(|address| address == responder.ip());
        (event.bytes(nbns::NAME)?, is_answer && is_host && is_good && own, "NetBIOS")
    };
    let name = names::lower(name)?.split('.').next()?.into();
    let (responder, port) = (responder.address, responder.port);
    is_own.then_some(Answer { link: link_of(&head.key), responder, port, asker: asker.address, name, how })
}

/// `ADMIN$`, or a drive: `C$`.
fn is_administrative(share: &str) -> bool {
    let name = share.rsplit('\\').next().unwrap_or_default();
    let [drive, b'$'] = name.as_bytes() else { return name.eq_ignore_ascii_case("ADMIN$") };
    drive.is_ascii_alphabetic()
}

/// A call, or a file or connection of an administrative share; such that the server let pass.
fn remote_of(head: &EventHead, facts: &[u8]) -> Option<Remote> {
    let event = inventory::Event::new(head, facts);
    let call = event.text(dcerpc::OPERATION).filter(|_| event.bytes(dcerpc::RESPONSE) != Some(b"FAULT"));
    let (step, what) = match call {
        Some(call) => (Step::of_call(&call)?, call),
        None => {
            let share = event.text(smb::SHARE).filter(|share| is_administrative(share))?;
            let command = event.text(smb::COMMAND)?;
            let opens_only = || event.bytes(smb::DISPOSITION).is_none_or(|how| how == b"FILE_OPEN");
            match event.number(smb::STATUS) {
                Some(0) if command.contains("TREE_CONNECT") => (Step::Share, share),
                Some(0) if command.contains("CREATE") && !opens_only() && event.number(smb::DIRECTORY) != Some(1) => {
                    (Step::Write, event.text(smb::FILE)?)
                }
                _ => return None,
            }
        }
    };
    Some(Remote { client: event.client, server: event.server, step, what })
}

fn cleartext_of(head: &EventHead, facts: &[u8]) -> Option<Cleartext> {
    let (how, sentence) = inventory::password_in_clear(head, facts)?;
    let event = inventory::Event::new(head, facts);
    Some(Cleartext { client: event.client, server: event.server, how, sentence })
}
