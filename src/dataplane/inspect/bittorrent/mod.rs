//! BitTorrent: handshakes (BEP 3), the table of peers (BEP 5, BEP 32), uTP (BEP 29), UDP trackers (BEP 15), and the search
//! of peers in the local network (BEP 14).
//!
//! Reads what is shared (info hash) by which client (peer id), and what the table is asked and answers. One event a
//! handshake, a message of the table, a request to a tracker, a search. It deliberately does not: read pieces, the encrypted
//! handshake (nothing tells it), or answers of trackers.
//!
//! Bounds: values of bencode nest eight deep, 256 values of a message are looked at; after 512 datagrams of uTP a flow is
//! done with.
//!
//! | fact | field of EVE (`bittorrent_dht`) |
//! | --- | --- |
//! | `transaction_id`, `client_version`, `token` | the same (`request.token`, `response.token`), in hexadecimal |
//! | `dht_type`: `q`, `r` or `e` | which of `request`, `response`, `error` there is |
//! | `request_type` | `request_type` |
//! | `node_id`, `info_hash`, `target`, `port`, `implied_port` | `request.id`, ... or `response.id`, in hexadecimal |
//! | `nodes`, `nodes6` | `response.nodes[]`, `nodes6[]`: 26 and 38 bytes each: id, address, port |
//! | `value` | `response.values[]`: address and port |
//! | `error_code`, `error_message` | `error.num`, `error.msg` |
//! | `peer_id`, `action`, `kind` | none |

mod dht;
pub(super) use dht::{DEPTH_MAX, VALUES_MAX};
#[cfg(test)]
mod tests;

use super::bytes::Reader;
use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::BitTorrent;
/// `handshake`, `dht`, `utp`, `tracker` or `search`.
pub const KIND: Fact = Fact::text(PROTOCOL, 1, "kind", 10);
/// Digest of what is shared (in a search as text).
pub const INFO_HASH: Fact = Fact::bytes(PROTOCOL, 2, "info_hash", 40);
/// Client: its first letters tell product and version.
pub const PEER_ID: Fact = Fact::bytes(PROTOCOL, 3, "peer_id", 20);
/// Kind of a message of the table.
pub const DHT_TYPE: Fact = Fact::text(PROTOCOL, 4, "dht_type", 1);
/// What the table is asked.
pub const REQUEST_TYPE: Fact = Fact::text(PROTOCOL, 5, "request_type", 32);
/// Number of the transaction.
pub const TRANSACTION: Fact = Fact::bytes(PROTOCOL, 6, "transaction_id", 20);
/// Product of the sender.
pub const CLIENT_VERSION: Fact = Fact::bytes(PROTOCOL, 7, "client_version", 16);
/// Who sends.
pub const NODE_ID: Fact = Fact::bytes(PROTOCOL, 8, "node_id", 20);
/// Who is looked for.
pub const TARGET: Fact = Fact::bytes(PROTOCOL, 9, "target", 20);
/// Port that the sender takes connections at.
pub const PEER_PORT: Fact = Fact::number(PROTOCOL, 10, "port");
/// 1: take the port of the datagram.
pub const IMPLIED_PORT: Fact = Fact::number(PROTOCOL, 11, "implied_port");
/// What allows to announce.
pub const TOKEN: Fact = Fact::bytes(PROTOCOL, 12, "token", 32);
/// Nodes near the target: id, IPv4 address, port.
pub const NODES: Fact = Fact::bytes(PROTOCOL, 13, "nodes", 416);
/// Nodes near the target: id, IPv6 address, port.
pub const NODES6: Fact = Fact::bytes(PROTOCOL, 14, "nodes6", 608);
/// Peers: address, port.
pub const VALUE: Fact = Fact::bytes(PROTOCOL, 15, "value", 18).repeated(32);
/// What went wrong.
pub const ERROR_CODE: Fact = Fact::number(PROTOCOL, 16, "error_code");
/// What went wrong, in words.
pub const ERROR_MESSAGE: Fact = Fact::text(PROTOCOL, 17, "error_message", 128);
/// What a tracker is asked: 0 connect, 1 announce, 2 scrape.
pub const ACTION: Fact = Fact::number(PROTOCOL, 18, "action");

/// All facts.
#[rustfmt::skip]
pub const FACTS: &[Fact] = &[
    KIND, INFO_HASH, PEER_ID, DHT_TYPE, REQUEST_TYPE, TRANSACTION, CLIENT_VERSION, NODE_ID, TARGET, PEER_PORT, IMPLIED_PORT,
    TOKEN, NODES, NODES6, VALUE, ERROR_CODE, ERROR_MESSAGE, ACTION,
];

/// A message of the table that is no bencode.
pub const MALFORMED: Anomaly = Anomaly::new(PROTOCOL, 1, "malformed");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED];

const HANDSHAKE: &[u8; 20] = b"\x13BitTorrent protocol";
/// The name, eight flags, two digests (BEP 3).
const HANDSHAKE_BYTES: usize = 68;
const UTP_HEADER_BYTES: usize = 20;
/// Connection id of a request to connect (BEP 15).
const TRACKER: &[u8; 12] = b"\0\0\x04\x17\x27\x10\x19\x80\0\0\0\0";
const SEARCH: &[u8] = b"BT-SEARCH * HTTP/1.";
/// Datagrams of a flow of uTP that are looked at.
pub(super) const DATAGRAMS_MAX: u16 = 512;

/// BitTorrent? The name on a stream; a message of the table, a first packet of uTP, a tracker's magic, or a search in a
/// datagram.
pub fn probe(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    if look.is_datagram {
        let is = dht::is(bytes)
            || is_tracker(bytes)
            || bytes.starts_with(SEARCH)
            || utp(bytes).is_some_and(|(kind, payload)| is_utp(bytes, kind, payload));
        return if is { Match::Yes } else { Match::No };
    }
    match (bytes.iter().zip(HANDSHAKE).all(|(a, b)| a == b), bytes.len() >= HANDSHAKE.len()) {
        (false, _) => Match::No,
        (true, true) => Match::Yes,
        (true, false) => Match::Maybe,
    }
}

fn is_tracker(bytes: &[u8]) -> bool {
    bytes.len() == 16 && bytes.starts_with(TRACKER)
}

/// Kind and payload of a packet of uTP of version 1 (BEP 29), extensions passed over.
fn utp(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut reader = Reader::new(bytes);
    let (first, mut extension) = (reader.u8()?, reader.u8()?);
    if first & 15 != 1 || first >> 4 > 4 {
        return None;
    }
    reader.take(UTP_HEADER_BYTES - 2)?;
    // Each takes two bytes at least.
    while extension != 0 {
        let (next, length) = (reader.u8()?, reader.u8()?);
        if extension > 4 {
            return None;
        }
        reader.take(usize::from(length))?;
        extension = next;
    }
    Some((first >> 4, reader.rest()))
}

/// Is a first packet unmistakable: a handshake inside, or a request to connect? That has no payload, the number 1, nothing
/// acknowledged, no delay measured, and a window.
fn is_utp(bytes: &[u8], kind: u8, payload: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let fields = || {
        let (_, _connection, _time) = (reader.be16()?, reader.be16()?, reader.be32()?);
        Some((reader.be32()?, reader.be32()?, reader.be16()?, reader.be16()?))
    };
    let opens = |(delay, window, number, _ack)| delay == 0 && window > 0 && number == 1;
    payload.starts_with(HANDSHAKE) || kind == 4 && payload.is_empty() && { fields }().is_some_and(opens)
}

/// How the flow speaks.
#[derive(Default)]
pub struct State {
    is_stream: bool,
    is_utp: bool,
    has_told: [bool; 2],
    datagrams: u16,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    /// A state for a stream.
    pub fn stream() -> State {
        State { is_stream: true, ..State::default() }
    }

    /// One datagram of any kind.
    fn datagram(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) {
        if bytes.first() == Some(&b'd') {
            out.facts().put(KIND, b"dht");
            if dht::read(bytes, out).is_none() {
                out.anomaly(MALFORMED);
            }
        } else if bytes.starts_with(SEARCH) {
            search(bytes, out);
        } else if is_tracker(bytes) || bytes.len() >= 98 && bytes.get(8..12) == Some(&[0, 0, 0, 1]) && !self.is_utp {
            tracker(bytes, out);
        } else if let Some((kind, payload)) = utp(bytes) {
            self.is_utp = true;
            let [first, second] = &mut self.has_told;
            let has_told = if side == Side::Originator { first } else { second };
            if payload.starts_with(HANDSHAKE) {
                out.facts().put(KIND, b"utp");
                handshake(payload, out);
            } else if kind == 4 && !*has_told {
                out.facts().put(KIND, b"utp");
            }
            *has_told = true;
        }
        out.facts().sent_by(side);
        out.event();
    }
}

impl Parse for State {
    fn begin(&mut self, look: &Look<'_>) {
        self.is_stream = !look.is_datagram;
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.is_stream {
            if bytes.len() < HANDSHAKE_BYTES {
                return Step::Need(HANDSHAKE_BYTES);
            }
            if bytes.starts_with(HANDSHAKE) {
                out.facts().put(KIND, b"handshake");
                handshake(bytes, out);
                out.facts().sent_by(side);
                out.event();
            }
            return Step::Done;
        }
        self.datagrams = self.datagrams.saturating_add(u16::from(self.is_utp));
        self.datagram(side, bytes, out);
        if self.datagrams > DATAGRAMS_MAX { Step::Done } else { Step::Took(bytes.len()) }
    }
}

fn handshake(bytes: &[u8], out: &mut dyn Output) {
    let mut reader = Reader::new(bytes.get(HANDSHAKE.len() + 8..).unwrap_or_default());
    for fact in [INFO_HASH, PEER_ID] {
        if let Some(value) = reader.take(20) {
            out.facts().put(fact, value);
        }
    }
}

/// Requests to a tracker (BEP 15): to connect, and to announce.
fn tracker(bytes: &[u8], out: &mut dyn Output) {
    out.facts().put(KIND, b"tracker");
    let mut reader = Reader::new(bytes.get(8..).unwrap_or_default());
    let (action, _transaction) = (reader.be32().unwrap_or_default(), reader.be32());
    out.facts().put_number(ACTION, action.into());
    if action == 1 {
        for fact in [INFO_HASH, PEER_ID] {
            if let Some(value) = reader.take(20) {
                out.facts().put(fact, value);
            }
        }
    }
}

/// Lines of a search that are read.
pub const SEARCH_LINES_MAX: usize = 16;

/// Headers of a search (BEP 14).
fn search(bytes: &[u8], out: &mut dyn Output) {
    out.facts().put(KIND, b"search");
    let mut lines = Reader::new(bytes);
    for number in 0..=SEARCH_LINES_MAX {
        let Some(line) = lines.line() else { return };
        if number == SEARCH_LINES_MAX && !line.is_empty() {
            return out.facts().mark_truncated();
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"infohash") {
            out.facts().put(INFO_HASH, value);
        } else if name.eq_ignore_ascii_case(b"port") && value.len() <= 5 && value.iter().all(u8::is_ascii_digit) {
            out.facts().put_number(PEER_PORT, value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
        }
    }
}
