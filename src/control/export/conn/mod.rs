//! Zeek's `conn.log`: one line for each flow that ended, as tab-separated values under Zeek's header or as its JSON.
//!
//! Owns the columns, and how what we know becomes what Zeek says. What we do not know is unset (`-`, absent in JSON), never
//! guessed. Nothing in a line is text off the wire: addresses, numbers, and words of this program, so nothing can break one.
//!
//! Where our numbers differ from Zeek's: bytes are those of all segments and not of the sequence space, so what was sent
//! twice counts twice and what was lost not at all; `*_ip_bytes` are frames without their link header, so Ethernet's padding
//! of short ones is in them, and inside a tunnel they are unset; `missed_bytes` are those of the part that was inspected (of
//! TLS the handshake), unset where there were bytes and none was inspected; `tunnel_parents` is one identifier for the whole stack of tunnels, which no
//! line of its own has, because what is round a flow is no flow with us; `history` has no order but of what is known to come first ([`state::history`]).

mod service;
mod state;
#[cfg(test)]
mod tests;

pub use state::conn_state;

use crate::dataplane::decode::{FlowKey, flow_digest, icmp_ports};
use crate::dataplane::detect::TunnelRef;
use crate::exchange::FlowSummary;
use crate::units::{SECOND, Timestamp};
use serde::ser::{SerializeMap, Serializer};
use serde_json::ser::CompactFormatter;
use sha1::{Digest, Sha1};
use std::io::{self, Write};
use std::net::IpAddr;

/// How lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ConnFormat {
    /// Zeek's tab-separated values with their header lines.
    #[default]
    Tsv,
    /// A JSON object a line, as Zeek writes them with `LogAscii::use_json=T`.
    Json,
}

/// Columns with Zeek's types; those from `community_id` on are of its policy scripts `community-id-logging` and
/// `vlan-logging`.
const COLUMNS: [(&str, &str); 25] = [
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("service", "string"),
    ("duration", "interval"),
    ("orig_bytes", "count"),
    ("resp_bytes", "count"),
    ("conn_state", "string"),
    ("local_orig", "bool"),
    ("local_resp", "bool"),
    ("missed_bytes", "count"),
    ("history", "string"),
    ("orig_pkts", "count"),
    ("orig_ip_bytes", "count"),
    ("resp_pkts", "count"),
    ("resp_ip_bytes", "count"),
    ("tunnel_parents", "set[string]"),
    ("ip_proto", "count"),
    ("community_id", "string"),
    ("vlan", "int"),
    ("inner_vlan", "int"),
];

/// One value of a line.
enum Value {
    Unset,
    Count(u64),
    Text(String),
    Word(&'static str),
    Address(IpAddr),
    Bool(bool),
    /// Nanoseconds, written as seconds.
    Seconds(u64),
}

impl Value {
    fn or_unset(text: String) -> Value {
        if text.is_empty() { Value::Unset } else { Value::Text(text) }
    }

    fn if_some<T: Into<u64>>(number: Option<T>) -> Value {
        number.map_or(Value::Unset, |number| Value::Count(number.into()))
    }

    fn to_tsv(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Value::Unset => out.write_all(b"-"),
            Value::Count(number) => write!(out, "{number}"),
            Value::Text(text) => out.write_all(text.as_bytes()),
            Value::Word(word) => out.write_all(word.as_bytes()),
            Value::Address(address) => write!(out, "{address}"),
            Value::Bool(flag) => out.write_all(if *flag { b"T" } else { b"F" }),
            Value::Seconds(ns) => write!(out, "{}.{:06}", ns / SECOND, ns % SECOND / 1_000),
        }
    }
}

impl serde::Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Unset => to.serialize_unit(),
            Value::Count(number) => to.serialize_u64(*number),
            Value::Text(text) => to.serialize_str(text),
            Value::Word(word) => to.serialize_str(word),
            Value::Address(address) => to.collect_str(address),
            Value::Bool(flag) => to.serialize_bool(*flag),
            // Microseconds since the epoch have fewer digits than a double holds until the year 2255.
            Value::Seconds(ns) => to.serialize_f64((ns / 1_000) as f64 / 1e6),
        }
    }
}

/// Identifier of one flow: of its 5-tuple and of its beginning, so that the same ports again have another one. As long as
/// Zeek's, which are drawn by lot.
pub fn uid(flow: &FlowSummary) -> String {
    identifier(&flow_digest(&flow.key, flow.first_seen))
}

/// Identifier of the tunnels round a flow: the same for every flow and both directions between the same two ends in the same
/// stack of tunnels. Ids that each direction chooses (TEIDs) are no part of it.
fn tunnel_uid(flow: &FlowSummary) -> Option<String> {
    let tunnel = TunnelRef::new(&flow.key, flow.outer.as_ref()?);
    let mut hash = Sha1::new();
    if let Some(carrier) = &tunnel.carrier {
        let mut ends = [carrier.source, carrier.destination].map(|address| match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        });
        ends.sort_unstable();
        ends.iter().for_each(|end| hash.update(end));
    }
    hash.update([tunnel.levels.len() as u8]); // a handful at most
    hash.update(tunnel.identity.unwrap_or_default().to_be_bytes());
    Some(identifier(&hash.finalize().into()))
}

fn identifier(digest: &[u8; 20]) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut number = digest.iter().take(12).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    let mut text = String::from("C");
    for _ in 0..17 {
        text.push(char::from(DIGITS[(number % 62) as usize])); // below 62
        number /= 62;
    }
    text
}

/// Ports as Zeek has them: those of ICMP are the type that the originator sends, and its counterpart or the code.
fn ports(flow: &FlowSummary) -> (u16, u16) {
    let (from, to) = flow.key.endpoints(flow.originator);
    match flow.icmp {
        [None, None] => (from.port, to.port),
        [Some(icmp), _] => icmp_ports(flow.key.protocol(), icmp),
        [None, Some(icmp)] => {
            let (answers, asks) = icmp_ports(flow.key.protocol(), icmp);
            (asks, answers)
        }
    }
}

/// A frame without its link header: what the IP header announces, and Ethernet's padding where a frame is short. Never
/// below what payload and the least headers come to. Not known in a tunnel: what is round the packet counts there.
fn ip_bytes(key: &FlowKey, packets: u64, bytes: u64, payload: u64) -> Option<u64> {
    if key.is_tunnelled() {
        return None;
    }
    let (outer, inner) = key.vlans();
    let link = 14 + 4 * (u64::from(outer != 0) + u64::from(inner != 0));
    let transport = match key.protocol() {
        6 => 20,
        17 | 1 | 58 => 8,
        _ => 0,
    };
    let least = packets.saturating_mul(transport + if key.is_v4() { 20 } else { 40 }).saturating_add(payload);
    Some(bytes.saturating_sub(packets.saturating_mul(link)).max(least))
}

/// Bytes that were acknowledged and never seen. Datagrams have no numbers, and Zeek says 0 of them.
fn missed_bytes(flow: &FlowSummary) -> Value {
    match flow.key.protocol() {
        6 if flow.payload == [0, 0] && flow.losses.is_none() => Value::Count(0),
        6 => Value::if_some(flow.losses.map(|losses| losses.missed)),
        _ => Value::Count(0),
    }
}

/// Is it an address that the internet does not route (RFC 6890)? Zeek calls these local where nobody names the networks.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            matches!(
                (a, b, c),
                (0 | 10 | 127 | 240..=255, ..)
                    | (100, 64..=127, _)
                    | (169, 254, _)
                    | (172, 16..=31, _)
                    | (192, 168, _)
                    | (192, 0, 0 | 2)
                    | (198, 18..=19, _)
                    | (198, 51, 100)
                    | (203, 0, 113)
            )
        }
        IpAddr::V6(address) => {
            let [first, second, ..] = address.segments();
            address.is_loopback()
                || address.is_unspecified()
                || first & 0xfe00 == 0xfc00
                || first & 0xffc0 == 0xfe80
                || (first, second) == (0x2001, 0xdb8)
        }
    }
}

/// The values of one line, in the order of [`COLUMNS`].
fn values(flow: &FlowSummary) -> [Value; COLUMNS.len()] {
    let (from, to) = flow.key.endpoints(flow.originator);
    let (from_port, to_port) = ports(flow);
    let protocol = flow.key.protocol();
    let duration = flow.last_seen.since(flow.first_seen);
    let ([packets, answers], [bytes, answer_bytes]) = (flow.packets, flow.bytes);
    let [payload, answer_payload] = flow.payload;
    let (outer, inner) = flow.key.vlans();
    // Zeek has neither of a connection without duration: of one packet, that is.
    let if_lasting = |value: Value| if duration == 0 { Value::Unset } else { value };
    let tag = |tag: u16| Value::if_some(Some(tag).filter(|tag| *tag != 0));
    [
        Value::Seconds(flow.first_seen.0),
        Value::Text(uid(flow)),
        Value::Address(from.ip()),
        Value::Count(from_port.into()),
        Value::Address(to.ip()),
        Value::Count(to_port.into()),
        Value::Word(match protocol {
            6 => "tcp",
            17 => "udp",
            1 | 58 => "icmp",
            _ => "unknown_transport",
        }),
        service::names(flow),
        if_lasting(Value::Seconds(duration)),
        if_lasting(Value::Count(payload)),
        if_lasting(Value::Count(answer_payload)),
        Value::Word(state::conn_state(flow)),
        Value::Bool(is_local(from.ip())),
        Value::Bool(is_local(to.ip())),
        missed_bytes(flow),
        Value::or_unset(state::history(flow)),
        Value::Count(packets),
        Value::if_some(ip_bytes(&flow.key, packets, bytes, payload).filter(|_| flow.outer.is_none())),
        Value::Count(answers),
        Value::if_some(ip_bytes(&flow.key, answers, answer_bytes, answer_payload).filter(|_| flow.outer.is_none())),
        tunnel_uid(flow).map_or(Value::Unset, Value::Text),
        Value::Count(protocol.into()),
        Value::Text(flow.community_id()),
        tag(outer),
        tag(inner),
    ]
}

impl ConnFormat {
    /// One flow as a line at the end of `out`.
    pub fn line(self, flow: &FlowSummary, out: &mut Vec<u8>) {
        let values = values(flow);
        let written = match self {
            ConnFormat::Tsv => values.iter().enumerate().try_for_each(|(index, value)| {
                let before: &[u8] = if index == 0 { b"" } else { b"\t" };
                out.write_all(before)?;
                value.to_tsv(&mut *out)
            }),
            ConnFormat::Json => json(&values, out),
        };
        debug_assert!(written.is_ok(), "memory takes everything");
        out.push(b'\n');
    }

    /// The lines before the first flow, begun at `time`; JSON has none.
    pub fn head(self, time: Timestamp) -> String {
        if self == ConnFormat::Json {
            return String::new();
        }
        let list = |of: fn(&(&'static str, &'static str)) -> &'static str| {
            COLUMNS.iter().map(of).collect::<Vec<_>>().join("\t")
        };
        format!(
            "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n#open\t{}\n\
             #fields\t{}\n#types\t{}\n",
            zeek_time(time),
            list(|column| column.0),
            list(|column| column.1)
        )
    }

    /// The line after the last flow; JSON has none.
    pub fn foot(self, time: Timestamp) -> String {
        match self {
            ConnFormat::Tsv => format!("#close\t{}\n", zeek_time(time)),
            ConnFormat::Json => String::new(),
        }
    }
}

fn json(values: &[Value], out: &mut Vec<u8>) -> io::Result<()> {
    let mut writer = serde_json::Serializer::with_formatter(out, CompactFormatter);
    let mut map = writer.serialize_map(None)?;
    for ((name, _), value) in COLUMNS.iter().zip(values) {
        if !matches!(value, Value::Unset) {
            map.serialize_entry(name, value)?;
        }
    }
    Ok(map.end()?)
}

/// `2026-11-21-14-03-22`, UTC.
fn zeek_time(time: Timestamp) -> String {
    let text = time.to_rfc3339();
    text.get(..19).unwrap_or(&text).replace(['T', ':'], "-")
}
