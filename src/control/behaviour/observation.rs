//! What the detectors see: an ended or growing flow, or what an event says, small and with its place in the order of all.

use super::names;
use crate::control::inventory;
use crate::dataplane::decode::{Direction, Endpoint, FlowKey, Outer};
use crate::dataplane::detect::FlowRef;
use crate::dataplane::inspect::{Protocol, dns, stratum};
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
        use Protocol::{Dns, Stratum};
        matches!(protocol, Dns | Stratum) || inventory::may_show_passwords(protocol)
    }

    /// An event, if a detector wants it.
    pub fn of_event(head: &EventHead, facts: &[u8]) -> Option<Observation> {
        let what = match head.protocol {
            Protocol::Dns if head.anomaly.is_none() => What::Dns(dns_of(head, facts)?),
            Protocol::Stratum if head.anomaly.is_none() => What::Mining(mining_of(head, facts)?),
            _ => What::Cleartext(cleartext_of(head, facts)?),
        };
        Some(Observation { told: head.told.max(head.time), time: head.time, origin: Origin::of_event(head), what })
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

fn cleartext_of(head: &EventHead, facts: &[u8]) -> Option<Cleartext> {
    let (how, sentence) = inventory::password_in_clear(head, facts)?;
    let event = inventory::Event::new(head, facts);
    Some(Cleartext { client: event.client, server: event.server, how, sentence })
}
