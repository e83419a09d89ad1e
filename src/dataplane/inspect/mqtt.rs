//! MQTT 3.1, 3.1.1 and 5.0 (OASIS).
//!
//! Reads CONNECT with its answer, subscriptions with theirs, topics of messages and DISCONNECT. Messages themselves are passed
//! over. Deliberately not read: the password, the will's message, properties of version 5.
//!
//! | fact | EVE field |
//! | --- | --- |
//! | `client_id`, `username` | `mqtt.connect.client_id`, `mqtt.connect.username` |
//! | `protocol_name`, `protocol_version` | `mqtt.connect.protocol_string`, `mqtt.connect.protocol_version` |
//! | `connect_flags` | `mqtt.connect.flags` (bit 7 username, 6 password, 5 will_retain, 2 will, 1 clean_session) |
//! | `will_topic` | `mqtt.connect.will.topic` |
//! | `return_code`, `session_present` | `mqtt.connack.return_code`, `mqtt.connack.session_present` |
//! | `topic`, `qos`, `retain` of a `publish` | `mqtt.publish.topic`, `.qos`, `.retain` |
//! | `topic` of a `subscribe`, `unsubscribe` | `mqtt.subscribe.topics[].topic`, `mqtt.unsubscribe.topics` |
//! | `type` | name of the object below `mqtt` |

use super::bytes::Reader;
use super::facts::Fact;
use super::http::secrets;
use super::lines::{self, Told};
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::text::Text;
use crate::dataplane::flow::Side;

const P: Protocol = Protocol::Mqtt;

/// Kind of the packet: `connect`, `publish`, `subscribe`, `unsubscribe`, `disconnect`.
pub const TYPE: Fact = Fact::text(P, 1, "type", 16);
/// How the client calls itself.
pub const CLIENT_ID: Fact = Fact::text(P, 2, "client_id", 128);
/// User name.
pub const USERNAME: Fact = Fact::text(P, 3, "username", 128);
/// `MQTT` or `MQIsdp`.
pub const PROTOCOL_NAME: Fact = Fact::text(P, 4, "protocol_name", 8);
/// 3, 4 or 5.
pub const PROTOCOL_VERSION: Fact = Fact::number(P, 5, "protocol_version");
/// Flags of CONNECT, as sent.
pub const CONNECT_FLAGS: Fact = Fact::number(P, 6, "connect_flags");
/// Where the will goes to.
pub const WILL_TOPIC: Fact = Fact::text(P, 7, "will_topic", 256);
/// Code of CONNACK; reason code of version 5.
pub const RETURN_CODE: Fact = Fact::number(P, 8, "return_code");
/// 1 where the server kept a session.
pub const SESSION_PRESENT: Fact = Fact::number(P, 9, "session_present");
/// Topics of messages and subscriptions.
pub const TOPIC: Fact = Fact::text(P, 10, "topic", 256).repeated(12);
/// Quality of service of a message.
pub const QOS: Fact = Fact::number(P, 11, "qos");
/// 1 where a message is to be kept by the server.
pub const RETAIN: Fact = Fact::number(P, 12, "retain");
/// Seconds between signs of life.
pub const KEEP_ALIVE: Fact = Fact::number(P, 13, "keep_alive");
/// Bytes of a message, its topic included.
pub const SIZE: Fact = Fact::number(P, 14, "size");
/// Is a published message sent again?
pub const DUPLICATE: Fact = Fact::number(P, 15, "duplicate");

/// All facts.
pub const FACTS: &[Fact] = &[
    TYPE,
    CLIENT_ID,
    USERNAME,
    PROTOCOL_NAME,
    PROTOCOL_VERSION,
    CONNECT_FLAGS,
    WILL_TOPIC,
    RETURN_CODE,
    SESSION_PRESENT,
    TOPIC,
    QOS,
    RETAIN,
    DUPLICATE,
    KEEP_ALIVE,
    SIZE,
];

/// A remaining length of more than four bytes.
pub const LENGTH_INVALID: Anomaly = Anomaly::new(P, 1, "length_invalid");
/// A packet that cannot be read as its kind.
pub const PACKET_INVALID: Anomaly = Anomaly::new(P, 2, "packet_invalid");
/// A second CONNECT.
pub const CONNECT_REPEATED: Anomaly = Anomaly::new(P, 3, "connect_repeated");
/// A topic of a message that has wildcards or is no text.
pub const TOPIC_INVALID: Anomaly = Anomaly::new(P, 4, "topic_invalid");
/// CONNECT with a password but without a user name (forbidden before version 5).
pub const FLAGS_INVALID: Anomaly = Anomaly::new(P, 5, "flags_invalid");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[LENGTH_INVALID, PACKET_INVALID, CONNECT_REPEATED, TOPIC_INVALID, FLAGS_INVALID];

/// Messages of a connection whose topics are told.
pub const MESSAGES_MAX: u8 = 32;
/// Subscriptions of a connection that are told.
pub const SUBSCRIPTIONS_MAX: u8 = 16;
/// Bytes of a packet that are looked at; the rest is passed over.
pub(super) const PACKET_MAX: usize = 4096;

const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const DISCONNECT: u8 = 14;

/// A fixed header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Header {
    kind: u8,
    flags: u8,
    /// Bytes of the header.
    taken: usize,
    /// Bytes behind the header.
    length: usize,
}

/// Reads a fixed header; `Err(true)` where it is broken, `Err(false)` where it is not whole.
fn header(bytes: &[u8]) -> Result<Header, bool> {
    let (first, rest) = bytes.split_first().ok_or(false)?;
    let mut length = 0;
    for (index, byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Header { kind: first >> 4, flags: first & 15, taken: index + 2, length });
        }
    }
    Err(rest.len() >= 4)
}

/// Recognises CONNECT by the name it carries; CONNACK where its port agrees; and, for captures that begin in mid-stream,
/// messages with a plausible topic: on that port, or where they are exactly what is shown.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    let bytes = behind_pings(look.bytes);
    if bytes.is_empty() && !look.bytes.is_empty() {
        return Match::Maybe;
    }
    let header = match header(bytes) {
        Ok(header) => header,
        Err(true) => return Match::No,
        Err(false) => {
            let may_be = matches!(bytes.first(), None | Some(0x10 | 0x20 | 0x30..=0x3d | 0xc0 | 0xd0));
            return if may_be { Match::Maybe } else { Match::No };
        }
    };
    let body = bytes.get(header.taken..).unwrap_or_default();
    match (header.kind, header.flags) {
        (CONNECT, 0) => probe_connect(header, body),
        (CONNACK, 0) if header.length >= 2 && look.has_port(1883) => match body {
            [0 | 1, 0..=5, ..] if header.length == 2 => Match::Yes,
            [0 | 1, 0 | 0x80..=0x9f, ..] if header.length < 128 => Match::Yes,
            [] | [0 | 1] => Match::Maybe,
            _ => Match::No,
        },
        (PUBLISH, _) => probe_message(header, body, look.has_port(1883)),
        _ => Match::No,
    }
}

fn probe_connect(header: Header, body: &[u8]) -> Match {
    let name = |name: &[u8], versions: std::ops::RangeInclusive<u8>| {
        let length = body.len().min(name.len());
        match (body.get(..length) == name.get(..length), body.get(name.len())) {
            (false, _) => Match::No,
            (true, None) => Match::Maybe,
            // A bridge sets the top bit.
            (true, Some(version)) if versions.contains(&(version & 0x7f)) && header.length >= 12 => Match::Yes,
            _ => Match::No,
        }
    };
    match name(b"\0\x04MQTT", 4..=5) {
        Match::No => name(b"\0\x06MQIsdp", 3..=3),
        other => other,
    }
}

/// Signs of life of either side, of which captures that begin in mid-stream may see some first.
fn behind_pings(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    for _ in 0..8 {
        let Some(behind) = rest.strip_prefix(b"\xc0\0").or(rest.strip_prefix(b"\xd0\0")) else { break };
        rest = behind;
    }
    rest
}

fn probe_message(header: Header, body: &[u8], is_port: bool) -> Match {
    if !is_port && (header.length != body.len() || header.length < 8) {
        return Match::No;
    }
    let mut reader = Reader::new(body);
    let qos = header.flags >> 1 & 3;
    let Some(length) = reader.be16().map(usize::from) else { return Match::Maybe };
    if qos == 3 || length == 0 || length + 2 > header.length || length > 256 {
        return Match::No;
    }
    match reader.take(length) {
        None => Match::Maybe,
        Some(topic) if is_topic(topic) && lines::is_plain(topic) => Match::Yes,
        Some(_) => Match::No,
    }
}

fn is_topic(topic: &[u8]) -> bool {
    !topic.is_empty() && lines::is_text(topic) && !topic.iter().any(|byte| matches!(byte, b'#' | b'+'))
}

/// An MQTT connection.
#[derive(Default, Debug)]
pub struct State {
    told: Told,
    version: u8,
    messages: u8,
    subscriptions: u8,
    has_connect: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

/// Text or bytes with their length in front.
fn string<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = reader.be16()?;
    reader.take(usize::from(length))
}

/// Passes over the properties of version 5.
fn properties(reader: &mut Reader<'_>) -> Option<()> {
    let mut length = 0;
    for index in 0..4 {
        let byte = reader.u8()?;
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return reader.take(length).map(|_| ());
        }
    }
    None
}

impl State {
    fn packet(&mut self, header: Header, body: &[u8], out: &mut dyn Output) -> Option<()> {
        let mut reader = Reader::new(body);
        match header.kind {
            CONNECT => {
                if std::mem::replace(&mut self.has_connect, true) {
                    self.told.once(CONNECT_REPEATED, out);
                }
                out.event();
                out.facts().put(TYPE, b"connect");
                self.connect(&mut reader, out)
            }
            CONNACK => {
                let (present, code) = (reader.u8()?, reader.u8()?);
                out.facts().put_number(SESSION_PRESENT, u64::from(present & 1));
                out.facts().put_number(RETURN_CODE, u64::from(code));
                out.event();
                Some(())
            }
            PUBLISH => self.publish(header, &mut reader, out),
            SUBSCRIBE | UNSUBSCRIBE => self.subscribe(header.kind == SUBSCRIBE, &mut reader, out),
            DISCONNECT => {
                out.event();
                out.facts().put(TYPE, b"disconnect");
                if let Some(code) = reader.u8() {
                    out.facts().put_number(RETURN_CODE, u64::from(code));
                }
                out.event();
                Some(())
            }
            0 => None,
            _ => Some(()),
        }
    }

    fn connect(&mut self, reader: &mut Reader<'_>, out: &mut dyn Output) -> Option<()> {
        let name = string(reader)?;
        let (version, flags, keep_alive) = (reader.u8()? & 0x7f, reader.u8()?, reader.be16()?);
        self.version = version;
        out.facts().put(PROTOCOL_NAME, name);
        out.facts().put_number(PROTOCOL_VERSION, u64::from(version));
        out.facts().put_number(CONNECT_FLAGS, u64::from(flags));
        out.facts().put_number(KEEP_ALIVE, u64::from(keep_alive));
        if flags & 0xc0 == 0x40 && version < 5 {
            self.told.once(FLAGS_INVALID, out);
        }
        if version == 5 {
            properties(reader)?;
        }
        out.facts().put(CLIENT_ID, string(reader)?);
        if flags & 4 != 0 {
            if version == 5 {
                properties(reader)?;
            }
            out.facts().put(WILL_TOPIC, string(reader)?);
            string(reader)?;
        }
        if flags & 0x80 != 0 {
            let name = string(reader)?;
            // Without a password the name is one; and some carry it behind the name as a URI has it.
            let is_secret = secrets::is_token(name) || flags & 0x40 == 0 && secrets::is_made(name);
            let mut place = Text::<{ USERNAME.limit as usize + 1 }>::default();
            out.facts().put(USERNAME, if is_secret { b"*" } else { secrets::blank(name, b"", &mut place).0 });
        }
        Some(())
    }

    fn publish(&mut self, header: Header, reader: &mut Reader<'_>, out: &mut dyn Output) -> Option<()> {
        let topic = string(reader)?;
        // Version 5 replaces a topic by a number once it was named.
        let is_alias = topic.is_empty() && self.version != 4 && self.version != 3;
        if !is_topic(topic) && !is_alias {
            self.told.once(TOPIC_INVALID, out);
        }
        if is_alias {
            return Some(());
        }
        if self.messages >= MESSAGES_MAX {
            out.limit();
            return Some(());
        }
        self.messages += 1;
        out.event();
        out.facts().put(TYPE, b"publish");
        out.facts().put(TOPIC, topic);
        out.facts().put_number(QOS, u64::from(header.flags >> 1 & 3));
        out.facts().put_number(RETAIN, u64::from(header.flags & 1));
        out.facts().put_number(DUPLICATE, u64::from(header.flags >> 3 & 1));
        out.facts().put_number(SIZE, header.length as u64);
        out.event();
        Some(())
    }

    fn subscribe(&mut self, is_new: bool, reader: &mut Reader<'_>, out: &mut dyn Output) -> Option<()> {
        if self.subscriptions >= SUBSCRIPTIONS_MAX {
            out.limit();
            return Some(());
        }
        self.subscriptions += 1;
        reader.be16()?;
        if self.version == 5 {
            properties(reader)?;
        }
        out.event();
        out.facts().put(TYPE, if is_new { b"subscribe" } else { b"unsubscribe" });
        while !reader.is_empty() {
            out.facts().put(TOPIC, string(reader)?);
            if is_new {
                reader.u8()?;
            }
        }
        out.event();
        Some(())
    }
}

impl Parse for State {
    fn step(&mut self, _side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let header = match header(bytes) {
            Ok(header) => header,
            Err(false) => return Step::Need(bytes.len() + 1),
            Err(true) => return Step::Broken(LENGTH_INVALID),
        };
        let whole = header.taken + header.length;
        let shown = whole.min(PACKET_MAX);
        let Some(packet) = bytes.get(..shown) else { return Step::Need(shown) };
        let body = packet.get(header.taken..).unwrap_or_default();
        let is_read = self.packet(header, body, out).is_some();
        if !is_read && whole > PACKET_MAX {
            match out.facts().is_empty() {
                true => out.limit(),
                false => out.facts().mark_truncated(),
            }
        } else if !is_read {
            self.told.once(PACKET_INVALID, out);
            if !self.has_connect {
                return Step::Broken(PACKET_INVALID);
            }
        }
        Step::Skip(whole as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::hostile::stream;
    use super::super::tries::{C, S, Turns, spoil, talk, unambiguous};
    use super::*;

    fn packet(first: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        let mut length = body.len();
        while length >= 128 {
            bytes.push(length as u8 & 0x7f | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(body);
        bytes
    }

    fn text(value: &[u8]) -> Vec<u8> {
        [&(value.len() as u16).to_be_bytes(), value].concat()
    }

    fn connect() -> Vec<u8> {
        let strings = [text(b"dev1"), text(b"will/t"), text(b"gone"), text(b"bob"), text(b"hunter2")].concat();
        packet(0x10, &[&b"\0\x04MQTT\x04\xc6\0\x3c"[..], &strings].concat())
    }

    #[test]
    fn is_recognised_by_its_name() {
        for (bytes, port, wanted) in [
            (&connect()[..], 9, Match::Yes),
            (&connect()[..5], 9, Match::Maybe),
            (b"\x10\x0e\0\x06MQIsdp\x03\x02\0\x3c\0\0", 9, Match::Yes),
            (b"\x10\x0e\0\x04AMQP", 1883, Match::No),
            (b"\x20\x02\0\0", 1883, Match::Yes),
            (b"\x20\x02\0\0", 9, Match::No),
            (b"\x30\x09\0\x03a/bxxxx", 1883, Match::Yes),
            (b"\xd0\0\x32\x0b\0\x03a/b\0\x01xxxx", 9, Match::Yes),
            (b"\xd0\0", 9, Match::Maybe),
            (b"\x30\x09\0\x03a/#xxxx", 1883, Match::No),
            (b"\x30\x82\x01\x0a\x02\x01\x01", 389, Match::No),
            (b"GET ", 1883, Match::No),
        ] {
            assert_eq!(probe(&stream(bytes, [40000, port])), wanted, "{bytes:02x?}");
        }
        unambiguous(FACTS, ANOMALIES);
    }

    #[test]
    fn a_session_becomes_events() {
        let subscribe = packet(0x82, &[&b"\0\x01"[..], &text(b"a/#"), &[1], &text(b"b"), &[0]].concat());
        let publish = packet(0x33, &[text(b"a/t"), vec![0, 2], vec![7; 20_000]].concat());
        let large = publish.len() - 4;
        let turns: Turns<'_> = &[
            (C, &connect()),
            (S, b"\x20\x02\x01\0"),
            (C, &subscribe),
            (S, b"\x90\x04\0\x01\x01\0"),
            (S, &publish),
            (C, b"\xc0\0\xe0\0"),
        ];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        let wanted = [
            "type=connect protocol_name=MQTT protocol_version=4 connect_flags=198 keep_alive=60 client_id=dev1 \
             will_topic=will/t username=bob session_present=1 return_code=0"
                .to_owned(),
            "type=subscribe topic=a/# topic=b".to_owned(),
            format!("type=publish topic=a/t qos=1 retain=1 duplicate=0 size={large}"),
            "type=disconnect".to_owned(),
        ];
        assert_eq!((events, anomalies), (wanted.to_vec(), vec![]));
        spoil::<State>(&turns[..4]);
        let five = [&b"\0\x04MQTT\x05\x80\0\x0a\x05\x11\0\0\0\x01"[..], &text(b"c5"), &text(b"eve")].concat();
        let (events, _) = talk::<State>(&[(C, &packet(0x10, &five)), (S, b"\x20\x03\0\x87\0")], &[FACTS]);
        assert!(events[0].ends_with("client_id=c5 username=eve session_present=0 return_code=135"), "{events:?}");
    }

    #[test]
    fn no_secret_is_told_for_a_name() {
        let secret = "x7Hq2LpZ9vTb4KdW";
        for (flags, name, wanted) in [
            (0xc0, "bob".to_owned(), "bob"),
            (0xc0, format!("bob?x=1&token={secret}"), "bob?x=1&token=*"),
            (0x80, secret.to_owned(), "*"),
            (0x80, "sensor-17".to_owned(), "sensor-17"),
            (0xc0, format!("eyJ{secret}{secret}"), "*"),
        ] {
            let strings = [text(b"dev1"), text(name.as_bytes())].concat();
            let strings = if flags & 0x40 == 0 { strings } else { [strings, text(secret.as_bytes())].concat() };
            let version = if flags & 0x40 == 0 { 3 } else { 4 };
            let head = [&b"\0\x04MQTT"[..], &[version, flags, 0, 60]].concat();
            let (events, _) = talk::<State>(&[(C, &packet(0x10, &[head, strings].concat()))], &[FACTS]);
            assert!(events[0].ends_with(&format!("client_id=dev1 username={wanted}")), "{events:?}");
            assert!(!events[0].contains(secret), "{events:?}");
        }
    }

    #[test]
    fn what_is_wrong_has_a_name() {
        let message = packet(0x30, &text(b"a/+"));
        for (bytes, wanted) in [
            (vec![0x10, 0xff, 0xff, 0xff, 0xff], "length_invalid"),
            (packet(0x10, b"\0\x04MQ"), "packet_invalid"),
            ([connect(), connect()].concat(), "connect_repeated"),
            ([connect(), message].concat(), "topic_invalid"),
            (packet(0x10, b"\0\x04MQTT\x04\x40\0\x3c\0\0\0\x01x"), "flags_invalid"),
        ] {
            assert_eq!(talk::<State>(&[(C, &bytes)], &[FACTS]).1, [wanted]);
        }
        let many = [connect(), packet(0x30, &text(b"t")).repeat(2_000)].concat();
        assert_eq!(talk::<State>(&[(C, &many)], &[FACTS]).0.len(), usize::from(MESSAGES_MAX) + 1);
    }
}
