//! Facts of application protocols as EVE objects: one file per family, a table of everything else.
//!
//! Owns the wording of EVE, nothing else; calls the parsers' constants. What the published schema has a place for goes
//! there; all other facts stand under `ml.facts` by their names. Deliberately does not: hold state between events, or leave
//! out what it does not know.

mod directory;
mod dns;
mod ike;
mod industry;
mod lines;
mod local;
mod names;
mod peers;
mod rdp;
mod servers;
mod smb;
mod ssh;
#[cfg(test)]
mod tests;
mod tls;
mod web;

use crate::dataplane::decode::{FragmentAnomaly, HeaderAnomaly};
use crate::dataplane::inspect::{Fact, Facts, Kind, Protocol, TABLE, number};
use crate::exchange::EventHead;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// An event of inspection with its facts.
#[derive(Clone, Debug)]
pub struct AppEvent {
    /// Time, flow, protocol.
    pub head: EventHead,
    /// A list of facts.
    pub facts: Box<[u8]>,
}

/// What an event's line says beside time and flow.
pub(super) struct Rendered {
    /// `event_type`.
    pub event_type: &'static str,
    /// Objects that the schema has.
    pub objects: Map<String, Value>,
    /// Facts that it has no place for, by name.
    pub extra: Map<String, Value>,
}

/// The wording of one event.
pub(super) fn render(event: &AppEvent) -> Rendered {
    if let Some((protocol, index)) = event.head.anomaly {
        return anomaly(event, protocol, index);
    }
    let mut facts = Found::new(&event.facts);
    let mut objects = Map::new();
    let event_type = objects_of(event, &mut facts, &mut objects);
    objects.retain(|_, object| object.as_object().is_none_or(|object| !object.is_empty()));
    let mut extra = facts.rest(event.head.protocol);
    put(&mut extra, "retry_ja4", tls::retry_ja4(event));
    Rendered { event_type, objects, extra }
}

/// Moves facts into the objects that the schema has for their protocol; gives the type of the event.
fn objects_of(event: &AppEvent, facts: &mut Found<'_>, objects: &mut Map<String, Value>) -> &'static str {
    let protocol = event.head.protocol;
    let all = || Facts::from_bytes(&event.facts, event.head.truncated);
    let object = match protocol {
        Protocol::Dns | Protocol::Mdns | Protocol::Llmnr => return dns::object(protocol, facts, objects),
        Protocol::Tls => return tls::object(&all(), facts, objects),
        Protocol::Http => return web::http(facts, objects),
        Protocol::Http2 => return web::http2(facts, objects),
        Protocol::BitTorrent => return peers::bittorrent(facts, objects),
        Protocol::Quic => web::quic(&all(), facts),
        Protocol::Ssh => ssh::object(facts),
        Protocol::Smb => smb::object(facts),
        Protocol::DceRpc => smb::dcerpc(facts),
        Protocol::Kerberos => directory::kerberos(facts),
        Protocol::Ldap => directory::ldap(facts),
        Protocol::Rdp => rdp::object(facts),
        Protocol::Ftp => lines::ftp(facts),
        Protocol::Smtp => lines::smtp(facts, objects),
        Protocol::Pop3 => lines::pop3(facts),
        Protocol::Sip => lines::sip(facts),
        Protocol::Dhcp => local::dhcp(facts),
        Protocol::Snmp => local::snmp(facts),
        Protocol::Ntp => local::ntp(facts),
        Protocol::Tftp => local::tftp(facts),
        Protocol::Mqtt => servers::mqtt(facts),
        Protocol::PostgreSql => servers::pgsql(facts),
        Protocol::Ike => ike::object(facts),
        Protocol::Modbus => industry::modbus(facts),
        Protocol::Dnp3 => industry::dnp3(facts),
        _ => return protocol.name(),
    };
    objects.insert(protocol.name().to_owned(), object.into());
    protocol.name()
}

/// An anomaly with the facts known when it was met.
fn anomaly(event: &AppEvent, protocol: Protocol, index: u8) -> Rendered {
    if protocol == Protocol::Unknown
        && let Some(name) = decoded(event, index)
    {
        return below(event, &name);
    }
    let known = TABLE.iter().find(|(one, ..)| *one == protocol).into_iter().flat_map(|(_, _, anomalies)| *anomalies);
    let name = known.clone().find(|one| one.index == index).map_or("unknown", |one| one.name);
    let object = match protocol {
        // Of the stream below it, or of how it was told, by Suricata's names.
        Protocol::Unknown if name.starts_with("applayer_") => serde_json::json!({
            "app_proto": event.head.protocol.name(),
            "type": "applayer",
            "event": name.to_ascii_uppercase(),
            "layer": "proto_detect",
        }),
        Protocol::Unknown => serde_json::json!({ "type": "stream", "event": format!("stream.{name}") }),
        _ => serde_json::json!({
            "app_proto": event.head.protocol.name(),
            "type": "applayer",
            "event": format!("{}.{name}", protocol.name()),
            "layer": "proto_parser",
        }),
    };
    Rendered {
        event_type: "anomaly",
        objects: Map::from_iter([("anomaly".to_owned(), object)]),
        extra: Found::new(&event.facts).rest(event.head.protocol),
    }
}

/// The name of an anomaly of fragments or headers; `None` for a stream's.
fn decoded(event: &AppEvent, index: u8) -> Option<String> {
    let version = if event.head.key.is_v4() { 4 } else { 6 };
    let of_headers = || HeaderAnomaly::of_number(index).map(|one| format!("decoder.{}", one.name()));
    FragmentAnomaly::of_number(index).map(|one| format!("decoder.ipv{version}.{}", one.name())).or_else(of_headers)
}

/// What is unusual about a packet below its content: the decoder's events, as Suricata names them.
fn below(event: &AppEvent, name: &str) -> Rendered {
    let object = serde_json::json!({ "type": "decode", "event": name });
    let objects = Map::from_iter([("anomaly".to_owned(), object)]);
    Rendered { event_type: "anomaly", objects, extra: Found::new(&event.facts).rest(event.head.protocol) }
}

/// The facts of an event; what a mapping takes is not in the rest. It takes what it tells, whole: with another value the
/// line is another one.
pub(super) struct Found<'a> {
    values: Vec<(u8, u8, &'a [u8])>,
    /// What is told beside the schema's objects in other words than the facts'.
    beside: Map<String, Value>,
}

impl<'a> Found<'a> {
    fn new(bytes: &'a [u8]) -> Found<'a> {
        let values = Facts::read(bytes).map(|one| (one.protocol, one.index, one.value)).collect();
        Found { values, beside: Map::new() }
    }

    /// Takes every value of `fact` out.
    pub fn all(&mut self, fact: Fact) -> Vec<&'a [u8]> {
        self.some(fact, usize::MAX)
    }

    /// Takes the first value of `fact` out; others stay.
    pub fn one(&mut self, fact: Fact) -> Option<&'a [u8]> {
        self.some(fact, 1).pop()
    }

    /// Takes the first values of `fact` out, `count` at most; others stay.
    pub fn some(&mut self, fact: Fact, count: usize) -> Vec<&'a [u8]> {
        let (wanted, mut taken) = ((fact.protocol as u8, fact.index), Vec::new());
        self.values.retain(|(protocol, index, value)| {
            let is_wanted = (*protocol, *index) == wanted && taken.len() < count;
            if is_wanted {
                taken.push(*value);
            }
            !is_wanted
        });
        taken
    }

    /// Takes the last value of `fact` out; those before it stay.
    pub fn last(&mut self, fact: Fact) -> Option<&'a [u8]> {
        let wanted = (fact.protocol as u8, fact.index);
        let at = self.values.iter().rposition(|(protocol, index, _)| (*protocol, *index) == wanted)?;
        Some(self.values.remove(at).2)
    }

    /// Takes values out that stand side by side; what has no partner stays.
    pub fn rows<const N: usize>(&mut self, facts: [Fact; N]) -> Vec<[&'a [u8]; N]> {
        let count = facts.iter().map(|fact| self.values(*fact).count()).min().unwrap_or(0);
        let columns = facts.map(|fact| self.some(fact, count));
        let cell = |row: usize, column: usize| columns.get(column).and_then(|values| values.get(row)).copied();
        (0..count).map(|row| std::array::from_fn(|column| cell(row, column).unwrap_or_default())).collect()
    }

    /// Told beside the schema's objects, where other facts are.
    pub fn beside(&mut self, name: &str, value: Option<impl Into<Value>>) {
        put(&mut self.beside, name, value);
    }

    /// As a number.
    pub fn number(&mut self, fact: Fact) -> Option<u64> {
        self.one(fact).map(number)
    }

    /// The first value of `fact` as a number, which stays.
    pub fn peek(&self, fact: Fact) -> Option<u64> {
        self.first(fact).map(number)
    }

    /// The first value of `fact`, which stays.
    pub fn first(&self, fact: Fact) -> Option<&'a [u8]> {
        self.values(fact).next()
    }

    /// Every value of `fact`; they stay.
    pub fn values(&self, fact: Fact) -> impl Iterator<Item = &'a [u8]> {
        let wanted = (fact.protocol as u8, fact.index);
        self.values.iter().filter(move |(protocol, index, _)| (*protocol, *index) == wanted).map(|(.., value)| *value)
    }

    /// Moves facts as they are into `object`; a list where a fact may come more than once.
    pub fn place(&mut self, object: &mut Map<String, Value>, places: &[(&str, Fact)]) {
        for (name, fact) in places {
            match fact.repeats {
                1 => put(object, name, self.one(*fact).map(|value| json(*fact, value))),
                _ => put(object, name, list(self.all(*fact).into_iter().map(|value| json(*fact, value)).collect())),
            }
        }
    }

    /// As text.
    pub fn text(&mut self, fact: Fact) -> Option<String> {
        self.one(fact).map(text)
    }

    /// All values as text.
    pub fn texts(&mut self, fact: Fact) -> Vec<String> {
        self.all(fact).into_iter().map(text).collect()
    }

    /// Is there a number other than 0? What is neither 0 nor 1 stays too.
    pub fn flag(&mut self, fact: Fact) -> bool {
        self.yes_no(fact) == Some(true)
    }

    /// 1 or 0; of another number, which stays, it is not 0.
    pub fn yes_no(&mut self, fact: Fact) -> Option<bool> {
        let number = self.peek(fact)?;
        if number < 2 {
            self.one(fact);
        }
        Some(number != 0)
    }

    /// What nobody took, by name, that of its protocol in front where it is another than `own`; a list where a fact may come
    /// more than once. Numbers that people search by a word have it beside them, as `<name>_name`.
    fn rest(self, own: Protocol) -> Map<String, Value> {
        let mut rest = self.beside;
        for (protocol, index, bytes) in self.values {
            let facts = TABLE.iter().find(|(one, ..)| *one as u8 == protocol).map(|(_, facts, _)| *facts);
            let Some(fact) = facts.unwrap_or_default().iter().find(|fact| fact.index == index) else { continue };
            let name = if fact.protocol == own {
                fact.name.to_owned()
            } else {
                format!("{}_{}", fact.protocol.name(), fact.name)
            };
            let called = names::name(*fact, bytes).map(|called| (format!("{name}_name"), called));
            for (name, value) in called.into_iter().chain([(name, json(*fact, bytes))]) {
                if fact.repeats == 1 {
                    rest.insert(name, value);
                } else if let Value::Array(list) = rest.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                    list.push(value);
                }
            }
        }
        rest
    }
}

fn json(fact: Fact, value: &[u8]) -> Value {
    match fact.kind {
        Kind::Text => text(value).into(),
        Kind::Bytes => hex(value).into(),
        Kind::Number => number(value).into(),
        Kind::Address => address(value).map_or_else(|| hex(value).into(), |address| address.to_string().into()),
    }
}

/// An address of 4 or 16 bytes.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        16 => bytes.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
        _ => None,
    }
}

/// Bytes as text, as [`crate::control::text`] spells it. Control characters are the JSON writer's to escape.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    crate::control::text::push(bytes, &mut text);
    text
}

/// Two digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    bytes.iter().for_each(|byte| push_hex(*byte, &mut text));
    text
}

/// The same with colons between the bytes.
pub(super) fn with_colons(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(3 * bytes.len());
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 {
            text.push(':');
        }
        push_hex(*byte, &mut text);
    }
    text
}

fn push_hex(byte: u8, text: &mut String) {
    for digit in [byte >> 4, byte & 15] {
        text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
    }
}

/// Adds what there is.
pub(super) fn put(object: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value.into());
    }
}

/// Adds an object that is not empty.
pub(super) fn put_object(object: &mut Map<String, Value>, name: &str, inner: Map<String, Value>) {
    put(object, name, Some(inner).filter(|inner| !inner.is_empty()));
}

/// A list that is not empty: the schema has no others.
pub(super) fn list<T>(values: Vec<T>) -> Option<Vec<T>> {
    (!values.is_empty()).then_some(values)
}

/// The number by its name, or in digits.
pub(super) fn word(name: Option<&str>, number: u64) -> String {
    name.filter(|name| !name.is_empty()).map_or_else(|| number.to_string(), str::to_owned)
}
