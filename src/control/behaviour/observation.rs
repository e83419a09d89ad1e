//! What the detectors see: an ended or growing flow, or what an event says, small and with its place in the order of all.

use super::{intel, names};
use crate::control::inventory;
use crate::dataplane::decode::{Direction, Endpoint, FlowKey, Outer};
use crate::dataplane::detect::FlowRef;
use crate::dataplane::inspect::tls::fingerprint::{Transport, ja3, ja4, md5_hex};
use crate::dataplane::inspect::{Facts, Protocol, dns, dtls, http, quic, stratum, tls};
use crate::exchange::{EventHead, FlowSummary};
use crate::units::Timestamp;

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

impl Origin {
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

    /// May a detector want an event of this protocol?
    pub fn is_of_interest(protocol: Protocol) -> bool {
        use Protocol::{Dns, Dtls, Quic, Stratum, Tls};
        matches!(protocol, Dns | Dtls | Quic | Stratum | Tls) || inventory::may_show_passwords(protocol)
    }

    /// What detectors want of an event. `lists`: somebody looks names and URLs up.
    pub fn of_event(head: &EventHead, facts: &[u8], lists: bool) -> impl Iterator<Item = Observation> {
        use Protocol::{Dns, Dtls, Http, Quic, Stratum, Tls};
        let is_plain = head.anomaly.is_none();
        let first = match head.protocol {
            Dns if is_plain => dns_of(head, facts).map(What::Dns),
            Stratum if is_plain => mining_of(head, facts).map(What::Mining),
            Tls | Dtls | Quic if is_plain && lists => Some(What::Hello(Box::new(hello_of(head, facts)))),
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

fn cleartext_of(head: &EventHead, facts: &[u8]) -> Option<Cleartext> {
    let (how, sentence) = inventory::password_in_clear(head, facts)?;
    let event = inventory::Event::new(head, facts);
    Some(Cleartext { client: event.client, server: event.server, how, sentence })
}
