//! Conversations of a scan, read by the parsers that read the wire, and handed to the inventory as what they are: so what is found by
//! asking is judged by the rules for what is seen.

use crate::control::inventory::{SharedInventory, Spoken};
use crate::dataplane::decode::{Direction, FlowKey, tcp_flags};
use crate::dataplane::flow::Side;
use crate::dataplane::inspect::tls::{HELLO, SERVER_CERTIFICATE, read_certificate};
use crate::dataplane::inspect::{self, Event, Facts, Inspector, Payload, Protocol, Segment, Sink, Wants};
use crate::exchange::{EventHead, FlowSummary};
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Bytes that a packet would have had.
const PACKET: usize = 1400;
/// Alternative names that are told.
const NAMES_MAX: usize = 16;

/// What two said to each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conversation {
    /// Our end.
    pub client: SocketAddr,
    /// Whom we asked.
    pub server: SocketAddr,
    /// Who said what, in order.
    pub parts: Vec<(Side, Vec<u8>)>,
}

/// A certificate, as people read it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Certificate {
    /// Distinguished name of the subject.
    pub subject: String,
    /// Of the issuer.
    pub issuer: String,
    /// Alternative names, the first of them.
    pub names: Vec<String>,
    /// Day on which it begins, and ends.
    pub not_before: String,
    /// See there.
    pub not_after: String,
    /// Kind and bits of the key.
    pub key: String,
    /// Algorithm of the signature.
    pub signature: String,
    /// Issuer and subject are the same.
    pub self_signed: bool,
}

/// What the parsers made of a conversation.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Heard {
    /// What it is.
    pub protocol: Protocol,
    /// The certificate that was shown.
    pub certificate: Option<Certificate>,
}

/// Reads conversations, one after the other.
pub struct Reader {
    inspector: Inspector,
    inventory: Option<std::sync::Arc<SharedInventory>>,
}

/// Events of one flow.
#[derive(Default)]
struct Events(Vec<(EventHead, Vec<u8>)>);

impl Sink for Events {
    fn event(&mut self, event: &Event<'_>) {
        let head = EventHead {
            time: event.time,
            told: event.time,
            key: event.key,
            originator: event.originator,
            sender: event.sender,
            first_seen: event.first_seen,
            protocol: event.protocol,
            anomaly: event.anomaly,
            truncated: event.truncated,
            bytes: u16::try_from(event.facts.len()).unwrap_or(u16::MAX),
            icmp: event.icmp,
            outer: None,
            through_proxy: event.through_proxy,
        };
        self.0.push((head, event.facts.to_vec()));
    }
}

fn key_of(client: SocketAddr, server: SocketAddr) -> (FlowKey, Direction) {
    match (client.ip().to_canonical(), server.ip().to_canonical()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            FlowKey::v4(one.into(), client.port(), other.into(), server.port(), 6, 0)
        }
        (one, other) => {
            let six = |ip: IpAddr| match ip {
                IpAddr::V4(four) => four.to_ipv6_mapped(),
                IpAddr::V6(six) => six,
            };
            FlowKey::v6(six(one).into(), client.port(), six(other).into(), server.port(), 6, 0)
        }
    }
}

impl Reader {
    /// One that tells the inventory, where there is one.
    pub fn new(inventory: Option<std::sync::Arc<SharedInventory>>) -> Reader {
        let settings = inspect::Settings { flows: 2, buffers: 2, facts: 2, ..inspect::Settings::default() };
        Reader { inspector: Inspector::new(settings, 1, [1, 2, 3, 4]), inventory }
    }

    /// A port answered: it is open, whatever it says.
    pub fn open(&self, client: SocketAddr, server: SocketAddr, now: Timestamp) {
        let Some(inventory) = &self.inventory else { return };
        let (key, originator) = key_of(client, server);
        let both = tcp_flags::SYN | tcp_flags::ACK;
        let flow = FlowSummary {
            key,
            originator,
            first_seen: now,
            last_seen: now,
            packets: [2, 1],
            tcp_flags: [both, both],
            ..FlowSummary::default()
        };
        if let Some(spoken) = Spoken::of(&flow) {
            inventory.change(|inventory| inventory.spoken(&spoken));
        }
    }

    /// Reads a conversation and tells of it.
    pub fn read(&mut self, conversation: &Conversation, now: Timestamp) -> Heard {
        let (key, originator) = key_of(conversation.client, conversation.server);
        let mut events = Events::default();
        let mut next = [1_u32, 1];
        let mut wants = Wants::PAYLOAD;
        let pieces =
            conversation.parts.iter().flat_map(|(side, bytes)| bytes.chunks(PACKET).map(move |piece| (*side, piece)));
        for (side, bytes) in pieces {
            let index = side as usize;
            let (sequence, acknowledgement) = (next[index], Some(next[1 - index]));
            next[index] = sequence.wrapping_add(bytes.len() as u32); // some KiB
            if wants == Wants::NOTHING {
                break;
            }
            let tcp = Segment { sequence, acknowledgement, beginnings: [Some(1); 2], ..Segment::default() };
            let payload = Payload {
                slot: 0,
                key: &key,
                originator,
                first_seen: now,
                side,
                tcp: Some(tcp),
                bytes,
                before: &[],
                is_cut: false,
                time: now,
            };
            wants = self.inspector.payload(&payload, &mut events);
        }
        let (protocol, _) = self.inspector.end(0, &key, originator, [now; 2], &mut events);
        self.inspector.take_counts();
        self.tell(events, protocol)
    }

    /// A certificate that was seen inside a connection of TLS 1.3, where nobody beside it sees it.
    pub fn certificate(&mut self, (client, server): (SocketAddr, SocketAddr), der: &[u8], now: Timestamp) -> Heard {
        let mut facts = Facts::default();
        facts.put_number(HELLO.version, 0x0304);
        // What cannot be read of it is left out.
        let _ = read_certificate(der, &SERVER_CERTIFICATE, &mut facts);
        let (key, originator) = key_of(client, server);
        let mut events = Events::default();
        events.event(&Event {
            time: now,
            key,
            originator,
            sender: Side::Originator,
            first_seen: Some(now),
            protocol: Protocol::Tls,
            anomaly: None,
            facts: facts.as_bytes(),
            truncated: facts.is_truncated(),
            icmp: None,
            through_proxy: false,
        });
        self.tell(events, Protocol::Tls)
    }

    fn tell(&self, Events(events): Events, protocol: Protocol) -> Heard {
        let mut heard = Heard { protocol, certificate: None };
        for (head, facts) in &events {
            if head.protocol == Protocol::Tls && head.anomaly.is_none() {
                heard.certificate = certificate(facts).or(heard.certificate);
            }
        }
        if let Some(inventory) = &self.inventory {
            inventory.change(|inventory| events.iter().for_each(|(head, facts)| inventory.observe(head, facts)));
        }
        heard
    }
}

fn certificate(facts: &[u8]) -> Option<Certificate> {
    let names = SERVER_CERTIFICATE;
    let facts = Facts::from_bytes(facts, false);
    let text = |fact| String::from_utf8_lossy(facts.get(fact).unwrap_or_default()).into_owned();
    let day = |fact| {
        let day = Timestamp(facts.number(fact).unwrap_or(0).saturating_mul(SECOND)).to_rfc3339();
        day.chars().take(10).collect()
    };
    facts.get(names.fingerprint)?;
    let bits = facts.number(names.key_bits).filter(|bits| *bits > 0).map(|bits| format!(" {bits}")).unwrap_or_default();
    Some(Certificate {
        subject: text(names.subject),
        issuer: text(names.issuer),
        names: facts
            .all(names.alt_name)
            .take(NAMES_MAX)
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect(),
        not_before: day(names.not_before),
        not_after: day(names.not_after),
        key: text(names.key_type) + &bits,
        signature: text(names.signature),
        self_signed: facts.number(names.self_signed) == Some(1),
    })
}
