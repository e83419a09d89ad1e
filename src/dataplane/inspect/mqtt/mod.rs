//! MQTT 3.1, 3.1.1 and 5.0 (OASIS).
//!
//! Reads CONNECT, subscriptions and messages, each with what the other side answers, and DISCONNECT. What messages say is
//! passed over. Deliberately not read: the password, the will's message, properties of version 5.
//!
//! One event is open at a time; the next one sends it up as it is. An acknowledgement that comes later than that is told alone
//! where it grants or refuses something, and not at all where it says that a message arrived.
//!
//! | fact | EVE field |
//! | --- | --- |
//! | `client_id`, `username` | `mqtt.connect.client_id`, `mqtt.connect.username` |
//! | `protocol_name`, `protocol_version` | `mqtt.connect.protocol_string`, `mqtt.connect.protocol_version` |
//! | `connect_flags` | `mqtt.connect.flags` (bit 7 username, 6 password, 5 will_retain, 2 will, 1 clean_session) |
//! | `will_topic` | `mqtt.connect.will.topic` |
//! | `return_code`, `session_present` | `mqtt.connack.return_code`, `mqtt.connack.session_present` |
//! | `topic`, `qos`, `retain`, `message_id` of a `publish` | `mqtt.publish.topic`, `.qos`, `.retain`, `.message_id` |
//! | `puback`, `pubrec`, `pubrel`, `pubcomp` | `.reason_code` of the objects of the same names |
//! | `topic`, `requested_qos` of a `subscribe` | `mqtt.subscribe.topics[].topic`, `.qos` |
//! | `topic` of an `unsubscribe` | `mqtt.unsubscribe.topics` |
//! | `granted_qos`, `unsuback_codes` | `mqtt.suback.qos_granted`, `mqtt.unsuback.reason_codes` |
//! | `type` | name of the object below `mqtt` |

#[cfg(test)]
mod tests;

use super::bytes::Reader;
use super::facts::Fact;
use super::http::secrets;
use super::lines::{self, Told};
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::text::Text;
use crate::dataplane::flow::Side;

const P: Protocol = Protocol::Mqtt;

/// Kind of the packet: `connect`, `publish`, `subscribe`, `unsubscribe`, `disconnect`, or of an acknowledgement told alone.
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
/// Number of a message or subscription, which its acknowledgements have too.
pub const MESSAGE_ID: Fact = Fact::number(P, 16, "message_id");
/// Quality of service that each of the topics is wanted with.
pub const REQUESTED_QOS: Fact = Fact::number(P, 17, "requested_qos").repeated(12);
/// What the server grants to each of the topics: quality of service, or from 128 on why it refuses.
pub const GRANTED_QOS: Fact = Fact::number(P, 18, "granted_qos").repeated(12);
/// 1 where the end of subscriptions was acknowledged.
pub const UNSUBACK: Fact = Fact::number(P, 19, "unsuback");
/// What the server says to each of them (version 5).
pub const UNSUBACK_CODES: Fact = Fact::number(P, 20, "unsuback_codes").repeated(12);
/// Reason code of the acknowledgement of a message of quality 1; 0 before version 5.
pub const PUBACK: Fact = Fact::number(P, 21, "puback");
/// Of the first one of a message of quality 2.
pub const PUBREC: Fact = Fact::number(P, 22, "pubrec");
/// Of the second one, by who sent the message.
pub const PUBREL: Fact = Fact::number(P, 23, "pubrel");
/// Of the third one.
pub const PUBCOMP: Fact = Fact::number(P, 24, "pubcomp");
/// Quality of service of the will.
pub const WILL_QOS: Fact = Fact::number(P, 25, "will_qos");

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
    MESSAGE_ID,
    REQUESTED_QOS,
    GRANTED_QOS,
    UNSUBACK,
    UNSUBACK_CODES,
    PUBACK,
    PUBREC,
    PUBREL,
    PUBCOMP,
    WILL_QOS,
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
/// Subscriptions of a connection, and acknowledgements told alone, that are told.
pub const SUBSCRIPTIONS_MAX: u8 = 16;
/// Bytes of a packet that are looked at; the rest is passed over.
pub(super) const PACKET_MAX: usize = 4096;

const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK_KIND: u8 = 4;
const PUBREC_KIND: u8 = 5;
const PUBREL_KIND: u8 = 6;
const PUBCOMP_KIND: u8 = 7;
const SUBSCRIBE: u8 = 8;
const SUBACK: u8 = 9;
const UNSUBSCRIBE: u8 = 10;
const UNSUBACK_KIND: u8 = 11;
const DISCONNECT: u8 = 14;
/// Codes from this one on refuse.
const REFUSED: u8 = 0x80;

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
    /// Kind of the packet whose acknowledgement is awaited, 0 for none, and its number.
    open: u8,
    id: u16,
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
    /// Begins an event that `side` tells; the one before goes up as it is.
    fn begin(&mut self, side: Side, kind: &[u8], out: &mut dyn Output) {
        out.event();
        (self.open, self.id) = (0, 0);
        out.facts().sent_by(side);
        if !kind.is_empty() {
            out.facts().put(TYPE, kind);
        }
    }

    fn close(&mut self, out: &mut dyn Output) {
        self.open = 0;
        out.event();
    }

    fn packet(&mut self, side: Side, header: Header, body: &[u8], out: &mut dyn Output) -> Option<()> {
        let mut reader = Reader::new(body);
        match header.kind {
            CONNECT => {
                if std::mem::replace(&mut self.has_connect, true) {
                    self.told.once(CONNECT_REPEATED, out);
                }
                self.begin(side, b"connect", out);
                self.open = CONNECT;
                self.connect(&mut reader, out)
            }
            CONNACK => {
                let (present, code) = (reader.u8()?, reader.u8()?);
                if self.open != CONNECT {
                    self.begin(side, b"", out);
                }
                out.facts().put_number(SESSION_PRESENT, u64::from(present & 1));
                out.facts().put_number(RETURN_CODE, u64::from(code));
                self.close(out);
                Some(())
            }
            PUBLISH => self.publish(side, header, &mut reader, out),
            PUBACK_KIND => self.acknowledged(side, (PUBACK, b"puback"), &mut reader, out),
            PUBREC_KIND => self.acknowledged(side, (PUBREC, b"pubrec"), &mut reader, out),
            PUBREL_KIND => self.acknowledged(side, (PUBREL, b"pubrel"), &mut reader, out),
            PUBCOMP_KIND => self.acknowledged(side, (PUBCOMP, b"pubcomp"), &mut reader, out),
            SUBSCRIBE | UNSUBSCRIBE => self.subscribe(side, header.kind == SUBSCRIBE, &mut reader, out),
            SUBACK | UNSUBACK_KIND => self.granted(side, header.kind == SUBACK, &mut reader, out),
            DISCONNECT => {
                self.begin(side, b"disconnect", out);
                if let Some(code) = reader.u8() {
                    out.facts().put_number(RETURN_CODE, u64::from(code));
                }
                self.close(out);
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
            out.facts().put_number(WILL_QOS, u64::from(flags >> 3 & 3));
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

    fn publish(&mut self, side: Side, header: Header, reader: &mut Reader<'_>, out: &mut dyn Output) -> Option<()> {
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
        self.begin(side, b"publish", out);
        let qos = header.flags >> 1 & 3;
        out.facts().put(TOPIC, topic);
        out.facts().put_number(QOS, u64::from(qos));
        out.facts().put_number(RETAIN, u64::from(header.flags & 1));
        out.facts().put_number(DUPLICATE, u64::from(header.flags >> 3 & 1));
        out.facts().put_number(SIZE, header.length as u64);
        if qos == 0 {
            self.close(out);
            return Some(());
        }
        (self.open, self.id) = (PUBLISH, reader.be16()?);
        out.facts().put_number(MESSAGE_ID, u64::from(self.id));
        Some(())
    }

    /// Sections 3.4 to 3.7: the number of the message, and with version 5 a reason where it is not 0.
    fn acknowledged(
        &mut self,
        side: Side,
        (fact, name): (Fact, &[u8]),
        reader: &mut Reader<'_>,
        out: &mut dyn Output,
    ) -> Option<()> {
        let (id, code) = (reader.be16()?, reader.u8().unwrap_or(0));
        let is_senders = fact.index == PUBREL.index;
        let is_awaited = self.open == PUBLISH && self.id == id && (out.facts().sender() == side) == is_senders;
        let is_last = matches!(fact.index, index if index == PUBACK.index || index == PUBCOMP.index) || code >= REFUSED;
        if !is_awaited {
            if code < REFUSED || !self.may_tell(out) {
                return Some(());
            }
            self.begin(side, name, out);
            out.facts().put_number(MESSAGE_ID, u64::from(id));
        }
        out.facts().put_number(fact, u64::from(code));
        if is_last {
            self.close(out);
        }
        Some(())
    }

    /// Sections 3.9 and 3.11: what became of each topic.
    fn granted(&mut self, side: Side, is_new: bool, reader: &mut Reader<'_>, out: &mut dyn Output) -> Option<()> {
        let id = reader.be16()?;
        if self.version == 5 {
            properties(reader)?;
        }
        if self.open != if is_new { SUBSCRIBE } else { UNSUBSCRIBE } || self.id != id {
            if !self.may_tell(out) {
                return Some(());
            }
            self.begin(side, if is_new { b"suback" } else { b"unsuback" }, out);
            out.facts().put_number(MESSAGE_ID, u64::from(id));
        }
        if !is_new {
            out.facts().put_number(UNSUBACK, 1);
        }
        let fact = if is_new { GRANTED_QOS } else { UNSUBACK_CODES };
        reader.rest().iter().for_each(|code| out.facts().put_number(fact, u64::from(*code)));
        self.close(out);
        Some(())
    }

    /// Is there one more of what is counted with subscriptions?
    fn may_tell(&mut self, out: &mut dyn Output) -> bool {
        let may = self.subscriptions < SUBSCRIPTIONS_MAX;
        if may {
            self.subscriptions += 1;
        } else {
            out.limit();
        }
        may
    }

    fn subscribe(&mut self, side: Side, is_new: bool, reader: &mut Reader<'_>, out: &mut dyn Output) -> Option<()> {
        if !self.may_tell(out) {
            return Some(());
        }
        let id = reader.be16()?;
        if self.version == 5 {
            properties(reader)?;
        }
        self.begin(side, if is_new { b"subscribe" } else { b"unsubscribe" }, out);
        (self.open, self.id) = (if is_new { SUBSCRIBE } else { UNSUBSCRIBE }, id);
        out.facts().put_number(MESSAGE_ID, u64::from(id));
        while !reader.is_empty() {
            out.facts().put(TOPIC, string(reader)?);
            if is_new {
                out.facts().put_number(REQUESTED_QOS, u64::from(reader.u8()? & 3));
            }
        }
        Some(())
    }
}

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let header = match header(bytes) {
            Ok(header) => header,
            Err(false) => return Step::Need(bytes.len() + 1),
            Err(true) => return Step::Broken(LENGTH_INVALID),
        };
        let whole = header.taken + header.length;
        let shown = whole.min(PACKET_MAX);
        let Some(packet) = bytes.get(..shown) else { return Step::Need(shown) };
        let body = packet.get(header.taken..).unwrap_or_default();
        let is_read = self.packet(side, header, body, out).is_some();
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
