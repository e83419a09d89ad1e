mod bodies;
mod datagrams;
mod decoys;
mod full;
mod holes;
mod http2;
mod identity;
mod proxies;

use super::super::stream::LOOKED_MAX;
use super::super::{ftp, http, imap, pgsql, pop3, proxied, smtp, ssh, tftp, tls};
use super::*;

/// What went up: of which protocol, whether an anomaly, and the facts.
pub(super) type Told = (Protocol, bool, Facts);

/// Events as they went up, whose they are, which of them are anomalies, and which a proxy passed on.
#[derive(Default)]
pub(super) struct Kept(pub(super) Vec<Told>, pub(super) Vec<FlowKey>, Vec<Direction>, Vec<(Protocol, u8)>, Vec<bool>);

impl Sink for Kept {
    fn event(&mut self, event: &Event<'_>) {
        self.1.push(event.key);
        self.2.push(event.originator);
        self.3.extend(event.anomaly);
        self.4.push(event.through_proxy);
        self.0.push((event.protocol, event.anomaly.is_some(), Facts::from_bytes(event.facts, event.truncated)));
    }
}

impl Kept {
    pub(super) fn of(&self, protocol: Protocol) -> Vec<&Facts> {
        self.0.iter().filter(|(one, anomaly, _)| *one == protocol && !anomaly).map(|(.., facts)| facts).collect()
    }
}

pub(super) const SETTINGS: Settings =
    Settings { flows: 4, buffers: 4, facts: 4, depth: 1 << 16, rates: Rates::DEFAULT };
const A: Side = Side::Originator;
const B: Side = Side::Responder;

/// A TCP connection through an inspector.
struct Talk {
    inspector: Inspector,
    kept: Kept,
    slot: u32,
    key: FlowKey,
    originator: Direction,
    next: [u32; 2],
    /// Where both sides begin, if their SYNs were seen.
    beginnings: [Option<u32>; 2],
}

impl Talk {
    fn new(settings: Settings) -> Talk {
        let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 9999, 6, 0);
        let inspector = Inspector::new(settings, 16, [1, 2, 3, 4]);
        Talk { inspector, kept: Kept::default(), slot: 3, key, originator, next: [1000, 9000], beginnings: [None; 2] }
    }

    /// Of a connection that was seen from its beginning.
    fn begun(settings: Settings) -> Talk {
        Talk { beginnings: [Some(1000), Some(9000)], ..Talk::new(settings) }
    }

    fn say(&mut self, side: Side, bytes: &[u8]) -> Wants {
        let wants = self.say_at(side, self.next[side as usize], bytes);
        self.next[side as usize] += bytes.len() as u32;
        wants
    }

    fn say_all<'a>(&mut self, side: Side, words: impl IntoIterator<Item = &'a [u8]>) {
        for piece in words {
            self.say(side, piece);
        }
    }

    fn say_at(&mut self, side: Side, sequence: u32, bytes: &[u8]) -> Wants {
        let payload = Payload {
            slot: self.slot,
            key: &self.key,
            originator: self.originator,
            first_seen: Timestamp(1),
            side,
            tcp: Some(Segment {
                sequence,
                acknowledgement: Some(self.next[1 - side as usize]),
                beginnings: self.beginnings,
                ..Segment::default()
            }),
            bytes,
            before: &[],
            is_cut: false,
            time: Timestamp(5),
        };
        self.inspector.payload(&payload, &mut self.kept)
    }

    fn datagram(&mut self, side: Side, bytes: &[u8]) -> Wants {
        let Talk { slot, originator, .. } = *self;
        let payload = Payload {
            slot,
            key: &self.key,
            originator,
            first_seen: Timestamp(1),
            side,
            tcp: None,
            bytes,
            before: &[],
            is_cut: false,
            time: Timestamp(5),
        };
        self.inspector.payload(&payload, &mut self.kept)
    }

    fn end(&mut self) -> Protocol {
        self.inspector.end(self.slot, &self.key, self.originator, [Timestamp(1), Timestamp(9)], &mut self.kept).0
    }
}

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: h.example\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\nServer: s\r\n\r\n";

/// A hello of TLS with nothing in it but a version and one cipher.
fn small_hello() -> Vec<u8> {
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0x13, 1, 1, 0]);
    hello
}
