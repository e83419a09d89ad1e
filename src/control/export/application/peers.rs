//! `bittorrent_dht`; what else is BitTorrent has no object.

use super::{Found, address, hex, list, put, put_object};
use crate::dataplane::inspect::{bittorrent as bt, number};
use serde_json::{Map, Value};

/// Bytes of a node's number.
const ID: usize = 20;

/// A message of the table of peers, or something else.
pub fn bittorrent(facts: &mut Found<'_>, objects: &mut Map<String, Value>) -> &'static str {
    if facts.first(bt::KIND) != Some(b"dht") {
        return "bittorrent";
    }
    facts.all(bt::KIND);
    let mut object = Map::new();
    facts.place(&mut object, &[("transaction_id", bt::TRANSACTION), ("client_version", bt::CLIENT_VERSION)]);
    let kind = facts.first(bt::DHT_TYPE).unwrap_or_default();
    let inner = match kind {
        b"q" => ("request", request(facts, &mut object)),
        // The schema has no answer without the answerer.
        b"r" if facts.first(bt::NODE_ID).is_some() => ("response", response(facts)),
        b"e" => ("error", error(facts)),
        _ => ("", Map::new()),
    };
    if !inner.1.is_empty() {
        facts.all(bt::DHT_TYPE);
        put_object(&mut object, inner.0, inner.1);
    }
    objects.insert("bittorrent_dht".to_owned(), object.into());
    "bittorrent_dht"
}

fn request(facts: &mut Found<'_>, object: &mut Map<String, Value>) -> Map<String, Value> {
    facts.place(object, &[("request_type", bt::REQUEST_TYPE)]);
    let mut request = Map::new();
    let places = [
        ("id", bt::NODE_ID),
        ("target", bt::TARGET),
        ("info_hash", bt::INFO_HASH),
        ("token", bt::TOKEN),
        ("implied_port", bt::IMPLIED_PORT),
        ("port", bt::PEER_PORT),
    ];
    facts.place(&mut request, &places);
    request
}

fn response(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut response = Map::new();
    facts.place(&mut response, &[("id", bt::NODE_ID), ("token", bt::TOKEN)]);
    for (name, fact, bytes) in [("nodes", bt::NODES, ID + 6), ("nodes6", bt::NODES6, ID + 18)] {
        // What is no list of nodes stays what it is.
        if facts.first(fact).is_some_and(|nodes| nodes.len() % bytes == 0) {
            let nodes = facts.one(fact).unwrap_or_default().chunks_exact(bytes).filter_map(node);
            put(&mut response, name, list(nodes.collect()));
        }
    }
    // A list with something else in it stays what it is.
    if facts.values(bt::VALUE).all(|value| peer(value).is_some()) {
        let values = facts.all(bt::VALUE).into_iter().filter_map(peer);
        put(&mut response, "values", list(values.collect()));
    }
    response
}

fn node(bytes: &[u8]) -> Option<Value> {
    let (id, end) = bytes.split_at_checked(ID)?;
    let mut node = peer(end)?;
    node.insert("id".to_owned(), hex(id).into());
    Some(node.into())
}

/// Address and port.
fn peer(bytes: &[u8]) -> Option<Map<String, Value>> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip = address(ip)?.to_string();
    Some(Map::from_iter([("ip".to_owned(), ip.into()), ("port".to_owned(), number(port).into())]))
}

fn error(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut error = Map::new();
    facts.place(&mut error, &[("num", bt::ERROR_CODE), ("msg", bt::ERROR_MESSAGE)]);
    error
}
