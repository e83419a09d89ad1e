//! What the detectors see: an ended or growing flow, or what an event says, small and with its place in the order of all.

mod login;
mod read;
mod remote;

use super::slow_http::Held;
use super::{icmp_tunnel, web_attack};
use crate::control::inventory;
use crate::dataplane::decode::{Direction, Endpoint, FlowKey, Links, Neighbour, Outer};
use crate::dataplane::detect::{Detector, Evidence, FlowRef};
use crate::dataplane::inspect::{Protocol, Unread};
use crate::exchange::{EventHead, FlowSummary};
use crate::units::Timestamp;
use login::{login_of, may_be_login};
use read::{
    answer_of, cleartext_of, discover_of, dns_of, hello_of, lease_of, mining_of, remote_of, request_of, timed_out,
    visit_of,
};
pub use remote::{Remote, Step};

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
    /// A login and how it ended.
    Login(Login),
    /// A handshake of TLS, DTLS or QUIC.
    Hello(Box<Hello>),
    /// A request of HTTP, as lists know it.
    Request(Request),
    /// The same with what the server made of it.
    Visit(Box<Visit>),
    /// A host on the link said which address it has.
    Neighbour(Neighbour),
    /// A server of DHCP answered.
    Lease(Box<Lease>),
    /// A client of DHCP asks for a first address: hashes of its link and of its link address.
    Discover((u64, u64)),
    /// A host answered for a name on the link.
    Answer(Answer),
    /// A host does something on another.
    Remote(Remote),
    /// A request to a web server that does not end.
    Slow(Slow),
    /// A flow that is open for long, or was when it ended.
    Open(Flow),
    /// Answers that nobody had asked for.
    Unasked(Flow),
    /// A flow that lives, one end of which is in a list; what it carries is told at its end.
    Listed(Flow),
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
    /// Payload of client and server since it began.
    pub payload: [u64; 2],
    /// Packets of client and server since it began.
    pub packets: [u64; 2],
    /// Payload of the responder after the first eight packets with payload, bytes.
    pub later_answer: u64,
    /// The responder was the first to close.
    pub server_closed: bool,
    /// It begins with a request for an echo.
    pub is_echo: bool,
    /// From its first packet to its latest, nanoseconds.
    pub length_ns: u64,
    /// Its first payload is none of what the test for fully encrypted traffic exempts; known where shapes are kept.
    pub is_encrypted: bool,
    /// It was seen from its beginning, and inspection could read what it has.
    pub is_read: bool,
    /// Under which link addresses it began, as far as that is known.
    pub links: Option<Links>,
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
    /// Hash of that text; 0 of a question.
    pub answer_hash: u64,
    /// It has answers that nobody can read, of types that carry whatever one likes.
    pub is_unread: bool,
    /// It is an answer as lists of bad names and addresses give it (RFC 5782 section 2.1): addresses of 127.0.0.0/8 alone, or
    /// nothing.
    pub is_verdict: bool,
    /// It is an answer, and says that the name is who gives it.
    pub is_own: bool,
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

/// A login of which the answer was read.
#[derive(Clone, Debug)]
pub struct Login {
    /// Who logs in.
    pub client: Endpoint,
    /// Where.
    pub server: Endpoint,
    /// Kind of the service, as evidence of guessing is called: `imap`, `database`, ...
    pub service: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// As whom.
    pub user: Option<Box<str>>,
    /// How often within the session, at least 1.
    pub times: u64,
}

/// What came of a login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The server turned it down.
    Refused,
    /// The server let it in.
    Accepted,
    /// A name was tried, and no password was asked for, offered or looked at: guests, names that nobody has.
    Named,
    /// A form was turned down, whatever it was for.
    Form,
    /// A login was answered, nobody knows how: a hash of the answer.
    Unsure(u64),
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
    /// Version and cipher suite that the server chose; 0: it did not answer.
    pub version: u16,
    /// See there.
    pub cipher: u16,
    /// First protocol name that the client offers.
    pub alpn: Option<Box<str>>,
    /// The client hides the server name (ECH), or resumes a session in which it had said it.
    pub hides_name: bool,
    /// Begin and end of the certificate, seconds since 1970.
    pub valid: Option<(u64, u64)>,
    /// The certificate names itself as its issuer.
    pub is_self_signed: bool,
    /// None of its names is the one that was asked for.
    pub is_mismatch: bool,
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

/// A request of HTTP with its answer, as far as it tells of an attack.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Who asked.
    pub client: Endpoint,
    /// Who was asked.
    pub server: Endpoint,
    /// Hash of the path, without the query.
    pub path: u64,
    /// Hash of what the path is a guess at ([`web_attack::guess`]); `None`: it was most likely written down somewhere.
    pub guess: Option<u64>,
    /// It is what crawlers ask for first.
    pub is_crawlers: bool,
    /// Bytes of the answer's body that were seen.
    pub length: u64,
    /// Hash of path and query.
    pub target: u64,
    /// Status of the answer, where it was seen.
    pub status: Option<u16>,
    /// What its text is meant for, and whether that leaves no doubt.
    pub class: Option<(web_attack::Class, bool)>,
    /// The scanner that the client says it is.
    pub scanner: Option<&'static str>,
    /// Of a request that is not plain its text, at most 120 characters.
    pub text: Box<str>,
}

impl Visit {
    /// The server does not have it, or does not give it (RFC 9110 section 15.5): no path, no right, no such method. A missing login (401)
    /// is guessing of another kind.
    pub fn is_refused(&self) -> bool {
        matches!(self.status, Some(400 | 403 | 404 | 405 | 406 | 410 | 414 | 501))
    }

    /// Nothing about it is odd.
    pub fn is_plain(&self) -> bool {
        self.class.is_none() && self.scanner.is_none() && !self.is_refused() && !self.is_crawlers
    }
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

/// A connection to a web server that is held with a request.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    /// Who holds it.
    pub client: Endpoint,
    /// Whose it is.
    pub server: Endpoint,
    /// When it began.
    pub began: Timestamp,
    /// What was measured.
    pub held: Held,
}

impl Origin {
    /// Which link it is of, as a hash.
    pub fn link(&self) -> u64 {
        read::link_of(&self.key)
    }

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

    fn of_flow(flow: &FlowSummary) -> Origin {
        Origin {
            key: flow.key,
            originator: flow.originator,
            first_seen: Some(flow.first_seen),
            outer: flow.outer.map(Box::new),
            application: flow.application,
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

    /// How long before a moment the flow began, nanoseconds; 0 where nobody knows.
    pub fn age_ns(&self, now: Timestamp) -> u64 {
        self.first_seen.map_or(0, |began| now.since(began))
    }

    /// IP protocol number.
    pub fn protocol(&self) -> u8 {
        self.key.protocol()
    }
}

impl Observation {
    /// Evidence of this moment: who found it and what, and nothing else yet but the flow's IP protocol.
    pub fn evidence(&self, detector: Detector, kind: impl Into<String>) -> Evidence {
        Evidence { protocol: Some(self.origin.protocol()), ..Evidence::new(detector, kind, self.time) }
    }

    /// A flow, if both sides had a part in it: with shapes exported or not, the same flows. `before`: payload of client and
    /// server that was told already.
    pub fn of_flow(flow: &FlowSummary, before: Option<[u64; 2]>) -> Option<Observation> {
        let is_answered = flow.is_answered() && !flow.packets.contains(&0);
        is_answered.then(|| Observation::of_any_flow(flow, before))
    }

    /// A flow that nobody answered, as it is: who sent it is the client.
    pub fn of_unasked(flow: &FlowSummary) -> Observation {
        let (client, server) = flow.key.endpoints(flow.originator);
        let observation = Observation::of_any_flow(flow, None);
        let What::Flow(told) = observation.what else { return observation };
        Observation { what: What::Unasked(Flow { client, server, bytes: flow.payload, ..told }), ..observation }
    }

    fn of_any_flow(flow: &FlowSummary, before: Option<[u64; 2]>) -> Observation {
        let (client, server) = inventory::roles(&flow.key, flow.originator, flow.application);
        let is_turned = (client, server) != flow.key.endpoints(flow.originator);
        let (mut bytes, mut packets) = (flow.payload, flow.packets);
        if is_turned {
            bytes.reverse();
            packets.reverse();
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
            payload: bytes,
            packets,
            later_answer: flow.later_answer,
            server_closed: flow.responder_closed_first,
            is_echo: icmp_tunnel::is_echo(flow),
            length_ns: flow.last_seen.since(flow.first_seen),
            is_encrypted: matches!(flow.key.protocol(), 6 | 17)
                && flow.application == Protocol::Unknown
                && flow.payload.iter().all(|bytes| *bytes > 0)
                && flow.shape.is_some_and(|shape| shape.is_fully_encrypted()),
            is_read: flow.has_handshake() && flow.unread == Unread::default(),
            links: flow.links.filter(|_| !is_turned),
        });
        let origin = Origin::of_flow(flow);
        Observation { told: flow.ended_at.max(flow.last_seen), time: flow.last_seen, origin, what }
    }

    /// The same, as one that is open for long.
    pub fn of_open(flow: &FlowSummary) -> Option<Observation> {
        let observation = Observation::of_flow(flow, None)?;
        let What::Flow(flow) = observation.what else { return None };
        Some(Observation { what: What::Open(flow), ..observation })
    }

    /// The same, as one with somebody whom a list names.
    pub fn of_listed(flow: &FlowSummary) -> Option<Observation> {
        let observation = Observation::of_flow(flow, None)?;
        let What::Flow(flow) = observation.what else { return None };
        Some(Observation { what: What::Listed(Flow { bytes: [0; 2], ..flow }), ..observation })
    }

    /// A connection, alive or ended, that is held with a request.
    pub fn of_slow(flow: &FlowSummary, held: Held) -> Observation {
        let (client, server) = inventory::roles(&flow.key, flow.originator, flow.application);
        let what = What::Slow(Slow { client, server, began: flow.first_seen, held });
        Observation {
            told: flow.ended_at.max(flow.last_seen),
            time: flow.last_seen,
            origin: Origin::of_flow(flow),
            what,
        }
    }

    /// A host on the link said which address it has.
    pub fn of_neighbour(time: Timestamp, neighbour: &Neighbour) -> Observation {
        Observation { told: time, time, origin: Origin::of_neighbour(neighbour), what: What::Neighbour(*neighbour) }
    }

    /// May a detector want an event of this protocol?
    pub fn is_of_interest(protocol: Protocol) -> bool {
        use Protocol::{DceRpc, Dhcp, Dns, Dtls, Http, Http2, Llmnr, Nbns, Quic, Smb, Stratum, Tls};
        matches!(protocol, DceRpc | Dhcp | Dns | Dtls | Http | Http2 | Llmnr | Nbns | Quic | Smb | Stratum | Tls)
            || inventory::may_show_passwords(protocol)
            || may_be_login(protocol)
    }

    /// What detectors want of an event. `lists`: somebody looks URLs up.
    pub fn of_event(head: &EventHead, facts: &[u8], lists: bool) -> impl Iterator<Item = Observation> {
        use Protocol::{DceRpc, Dhcp, Dns, Dtls, Http, Http2, Llmnr, Nbns, Quic, Smb, Stratum, Tls};
        let is_plain = head.anomaly.is_none();
        let first = match head.protocol {
            Dns if is_plain => dns_of(head, facts).map(What::Dns),
            Stratum if is_plain => mining_of(head, facts).map(What::Mining),
            Tls | Dtls | Quic if is_plain => Some(What::Hello(Box::new(hello_of(head, facts)))),
            Dhcp if is_plain => {
                let lease = lease_of(head, facts).map(|lease| What::Lease(Box::new(lease)));
                lease.or_else(|| discover_of(head, facts).map(What::Discover))
            }
            DceRpc | Smb if is_plain => remote_of(head, facts).map(What::Remote),
            Llmnr | Nbns if is_plain => answer_of(head, facts).map(What::Answer),
            Http if is_plain && timed_out(head, facts).is_some() => timed_out(head, facts).map(What::Slow),
            Http if is_plain && lists => request_of(head, facts).map(What::Request),
            _ => None,
        };
        let second = cleartext_of(head, facts).map(What::Cleartext);
        let is_web = is_plain && matches!(head.protocol, Http | Http2);
        let third = if is_web { visit_of(head, facts).map(|visit| What::Visit(Box::new(visit))) } else { None };
        let login = if is_plain { login_of(head, facts).map(What::Login) } else { None };
        let (told, time) = (head.told.max(head.time), head.time);
        let origin = Origin::of_event(head);
        [first, second, third, login].into_iter().flatten().map(move |what| Observation {
            told,
            time,
            origin: origin.clone(),
            what,
        })
    }

    /// What orders observations of one moment. Equal ones are of one flow, so of one queue, which keeps their order.
    pub(super) fn place(&self) -> (Timestamp, [u64; 5], Option<Timestamp>) {
        (self.told, *self.origin.key.words(), self.origin.first_seen)
    }
}
