//! Kerberos 5 (RFC 4120) over UDP and TCP: who asks for which ticket, with which encryption, and how it ended.
//!
//! Read: AS and TGS requests and replies, AP-REQ, KRB-ERROR (sections 5.4, 5.5, 5.9): realm, names of client and service,
//! encryption types offered and used, error code. Deliberately not read: pre-authentication data, tickets beyond their
//! realm, service and encryption type, anything encrypted, the password-changing protocol (RFC 3244).
//!
//! An event is a request with its answer; a request that another follows, or an answer without request, stands alone. Of a
//! message longer than [`MESSAGE_MAX`] the first bytes are read and the rest is skipped. A side that was joined in the middle
//! of a message is let go; the other one is read on.
//!
//! | fact | EVE |
//! | --- | --- |
//! | `message_type` (of the answer if there is one) | `krb5.msg_type` |
//! | `request_type` of an event with `error_code` | `krb5.failed_request` |
//! | `realm`, `client`, `service` | `krb5.realm`, `krb5.cname`, `krb5.sname` |
//! | `encryption`, [`encryption_name`] | `krb5.encryption`; [`is_weak`]: `krb5.weak_encryption` |
//! | `ticket_encryption` | `krb5.ticket_encryption`, `krb5.ticket_weak_encryption` |
//! | `error_code`, [`error_name`] | `krb5.error_code` |

mod names;
#[cfg(test)]
pub(super) mod tests;

pub use names::{encryption_name, error_name, message_name};

use super::bytes::Reader;
use super::der::{self, GENERAL_STRING, INTEGER, SEQUENCE};
use super::facts::{Fact, Facts};
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step, UNIT_MAX};
use super::protocol::Protocol;
use super::sides::Sides;
use super::text::Text;
use crate::dataplane::flow::Side;

/// Bytes of a message over TCP that are put together; tickets with many groups are longer.
pub const MESSAGE_MAX: usize = UNIT_MAX - 4;
/// Bytes of a message over TCP that are believed: longer ones are none.
pub(super) const MESSAGE_LONGEST: usize = 1 << 20;
/// Bytes of a principal's or realm's name at most.
pub const NAME_MAX: usize = 256;
/// Encryption types of a request that are read at most.
pub const TYPES_MAX: u8 = 16;
/// Parts of a principal's name that are read at most.
pub(super) const PARTS_MAX: usize = 8;

/// Type of the request (10 AS-REQ, 12 TGS-REQ, 14 AP-REQ).
pub const REQUEST_TYPE: Fact = Fact::number(Protocol::Kerberos, 0, "request_type");
/// Type of the answer (11 AS-REP, 13 TGS-REP, 15 AP-REP, 30 KRB-ERROR).
pub const REPLY_TYPE: Fact = Fact::number(Protocol::Kerberos, 1, "reply_type");
/// Name of the last message's type, as `KRB_AS_REP`.
pub const MESSAGE_TYPE: Fact = Fact::text(Protocol::Kerberos, 2, "message_type", 16).repeated(2);
/// Realm of the client, or the one asked.
pub const REALM: Fact = Fact::text(Protocol::Kerberos, 3, "realm", NAME_MAX as u16);
/// Name of the client, its parts joined by `/`.
pub const CLIENT: Fact = Fact::text(Protocol::Kerberos, 4, "client", NAME_MAX as u16);
/// Name of the service, its parts joined by `/`.
pub const SERVICE: Fact = Fact::text(Protocol::Kerberos, 5, "service", NAME_MAX as u16);
/// Encryption types that the client offers.
pub const OFFERED: Fact = Fact::number(Protocol::Kerberos, 6, "encryption_offered").repeated(TYPES_MAX);
/// Encryption type of the reply.
pub const ENCRYPTION: Fact = Fact::number(Protocol::Kerberos, 7, "encryption");
/// Encryption type of the ticket, by the key of the service.
pub const TICKET_ENCRYPTION: Fact = Fact::number(Protocol::Kerberos, 8, "ticket_encryption");
/// Error code (section 7.5.9).
pub const ERROR: Fact = Fact::number(Protocol::Kerberos, 9, "error_code");

/// All of them.
pub const FACTS: &[Fact] =
    &[REQUEST_TYPE, REPLY_TYPE, MESSAGE_TYPE, REALM, CLIENT, SERVICE, OFFERED, ENCRYPTION, TICKET_ENCRYPTION, ERROR];

/// DES or RC4 is used, or nothing better is offered (RFC 6649, RFC 8429).
pub const WEAK_ENCRYPTION: Anomaly = Anomaly::new(Protocol::Kerberos, 0, "weak_encryption");
/// Not a message, where one should begin.
pub const MALFORMED: Anomaly = Anomaly::new(Protocol::Kerberos, 1, "malformed");

/// All of them.
pub const ANOMALIES: &[Anomaly] = &[WEAK_ENCRYPTION, MALFORMED];

/// DES (1 to 3), RC4 (23, 24), and RC4 as Windows numbers it (-128 and on are never told here).
pub fn is_weak(encryption: u64) -> bool {
    matches!(encryption, 1..=3 | 23 | 24)
}

/// Is it Kerberos? A datagram is a message; a stream has its length in front.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return head(look.bytes).unwrap_or(Match::No);
    }
    let mut reader = Reader::new(look.bytes);
    let Some(length) = reader.be32().map(|length| length as usize) else {
        return if look.bytes.iter().take(1).all(|byte| *byte == 0) { Match::Maybe } else { Match::No };
    };
    if !(16..=MESSAGE_LONGEST).contains(&length) {
        return Match::No;
    }
    match der::header(reader.rest()) {
        der::Header::Whole { header, body, .. } if header + body != length => Match::No,
        _ => head(reader.rest()).unwrap_or(Match::Maybe),
    }
}

/// The first fields say version 5, and the same type inside as outside; `None` if they are not all there.
fn head(bytes: &[u8]) -> Option<Match> {
    let tag = *bytes.first()?;
    let Some(fields) = layout(tag) else { return Some(Match::No) };
    let mut reader = Reader::new(bytes);
    for wanted in [tag, SEQUENCE, fields, INTEGER] {
        let der::Header::Whole { tag, header, .. } = der::header(reader.rest()) else {
            return (der::header(reader.rest()) == der::Header::Bad).then_some(Match::No);
        };
        if tag != wanted {
            return Some(Match::No);
        }
        reader.take(header)?;
    }
    let wanted = [5, fields + 1, 3, INTEGER, 1, tag & 0x1f];
    let there = reader.take(reader.len().min(wanted.len()))?;
    match wanted.starts_with(there) {
        false => Some(Match::No),
        true if there.len() == wanted.len() => Some(Match::Yes),
        true => None,
    }
}

/// The tag of the first field of a message with this outer tag (sections 5.4 to 5.9).
fn layout(tag: u8) -> Option<u8> {
    match tag {
        0x6a | 0x6c => Some(0xa1),
        0x6b | 0x6d..=0x6f | 0x74..=0x76 | 0x7e => Some(0xa0),
        _ => None,
    }
}

/// A side of a stream.
#[derive(Clone, Copy, Default)]
struct Stream {
    /// Rest of a long message.
    skip: u32,
    /// A message was read: the next one begins where it ended.
    in_step: bool,
}

/// What a flow's parser remembers.
#[derive(Default)]
pub struct State {
    sides: Sides<Stream>,
    /// A request waits for its answer.
    open: bool,
    /// Messages come with their length in front.
    is_stream: bool,
    begun: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn begin(&mut self, look: &Look<'_>) {
        (self.begun, self.is_stream) = (true, !look.is_datagram);
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if !self.begun {
            self.begun = true;
            self.is_stream = bytes.first().is_some_and(|first| *first == 0);
        }
        if self.is_stream { self.stream(side, bytes, out) } else { self.datagram(side, bytes, out) }
    }

    fn gap(&mut self, side: Side, hole: &Hole<'_>, out: &mut dyn Output) -> Resume {
        let resume = match (std::mem::take(&mut self.sides.of(side).skip), Reader::new(hole.before).be32()) {
            (0, Some(length)) => hole.within(4 + u64::from(length)),
            (0, None) => Resume::Done,
            (rest, _) => hole.before_end(u64::from(rest)),
        };
        if resume == Resume::Done {
            out.event();
        }
        resume
    }
}

impl State {
    fn datagram(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if head(bytes) != Some(Match::Yes) {
            return Step::Broken(MALFORMED);
        }
        self.message(side, bytes, out);
        Step::Took(bytes.len())
    }

    fn stream(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let stream = self.sides.of(side);
        if stream.skip > 0 {
            return Step::Skip(u64::from(std::mem::take(&mut stream.skip)));
        }
        let mut reader = Reader::new(bytes);
        let Some(length) = reader.be32().map(|length| length as usize) else { return Step::Need(4) };
        let is_length = (16..=MESSAGE_LONGEST).contains(&length);
        // The type shows early; a length that is none would keep us waiting.
        if !is_length || (!reader.is_empty() && head(reader.rest()) == Some(Match::No)) {
            return if stream.in_step { Step::Broken(MALFORMED) } else { Step::Done };
        }
        let shown = length.min(MESSAGE_MAX);
        let Some(message) = reader.take(shown) else { return Step::Need(4 + shown) };
        if head(message) != Some(Match::Yes) {
            return Step::Broken(MALFORMED);
        }
        *stream = Stream { skip: (length - shown) as u32, in_step: true }; // at most MESSAGE_LONGEST
        if shown < length {
            out.limit();
        }
        self.message(side, message, out);
        Step::Took(4 + shown)
    }

    fn message(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) {
        let kind = bytes.first().copied().unwrap_or_default() & 0x1f;
        let is_request = matches!(kind, 10 | 12 | 14);
        if is_request && self.open {
            out.event();
        }
        if is_request || !self.open {
            out.facts().sent_by(side);
        }
        self.open = is_request;
        let facts = out.facts();
        facts.put(MESSAGE_TYPE, message_name(kind).as_bytes());
        facts.put_number(if is_request { REQUEST_TYPE } else { REPLY_TYPE }, u64::from(kind));
        read(bytes, facts);
        if is_weakened(facts, is_request) {
            out.anomaly(WEAK_ENCRYPTION);
        }
        if !is_request {
            out.event();
        }
    }
}

fn is_weakened(facts: &Facts, is_request: bool) -> bool {
    let weak = |fact| facts.number(fact).is_some_and(is_weak);
    if is_request {
        facts.get(OFFERED).is_some() && facts.all(OFFERED).all(|one| is_weak(super::facts::number(one)))
    } else {
        weak(ENCRYPTION) || weak(TICKET_ENCRYPTION)
    }
}

/// Puts what a message says; what is cut off or of another form is left out.
pub fn read(bytes: &[u8], facts: &mut Facts) -> Option<()> {
    let mut outer = Reader::new(bytes);
    let (tag, mut inner) = der::any(&mut outer)?;
    let mut fields = der::open(&mut inner, SEQUENCE)?;
    // Ten fields at most have a KRB-ERROR (section 5.9.1: thirteen tags).
    for _ in 0..14 {
        let Some((field, body)) = der::any(&mut fields) else { break };
        field_of(tag, field, body, facts);
    }
    Some(())
}

fn field_of(message: u8, field: u8, mut body: Reader<'_>, facts: &mut Facts) -> Option<()> {
    match (message, field) {
        (0x6a | 0x6c, 0xa4) => request_body(body, facts)?,
        (0x6b | 0x6d, 0xa3) | (0x7e, 0xa7) => realm(body, facts)?,
        (0x6b | 0x6d, 0xa4) | (0x7e, 0xa8) => principal(CLIENT, body, facts)?,
        (0x6b | 0x6d, 0xa5) | (0x6e, 0xa3) => ticket(body, facts)?,
        (0x6b | 0x6d, 0xa6) => facts.put_number(ENCRYPTION, encryption(body)?),
        (0x6e, 0xa4) => facts.put_number(ENCRYPTION, encryption(body)?),
        (0x7e, 0xa6) => facts.put_number(ERROR, der::number(&mut body, INTEGER)?),
        (0x7e, 0xa9) => realm(body, facts)?,
        (0x7e, 0xaa) => principal(SERVICE, body, facts)?,
        _ => {}
    }
    Some(())
}

/// `KDC-REQ-BODY` (section 5.4.1).
fn request_body(mut body: Reader<'_>, facts: &mut Facts) -> Option<()> {
    let mut fields = der::open(&mut body, SEQUENCE)?;
    for _ in 0..12 {
        let (field, mut body) = der::any(&mut fields)?;
        match field {
            0xa1 => principal(CLIENT, body, facts)?,
            0xa2 => realm(body, facts)?,
            0xa3 => principal(SERVICE, body, facts)?,
            0xa8 => {
                let mut types = der::open(&mut body, SEQUENCE)?;
                for _ in 0..TYPES_MAX {
                    if types.is_empty() {
                        break;
                    }
                    let (tag, one) = der::any(&mut types)?;
                    offered(tag, one, facts);
                }
                if !types.is_empty() {
                    facts.mark_truncated();
                }
            }
            _ => {}
        }
    }
    Some(())
}

/// Encryption types below zero are Microsoft's own, all of them RC4; they are left out.
fn offered(tag: u8, one: Reader<'_>, facts: &mut Facts) {
    let bytes = one.rest();
    if tag == INTEGER && !bytes.is_empty() && bytes.len() <= 4 && bytes.first().is_some_and(|first| *first < 0x80) {
        facts.put_number(OFFERED, super::facts::number(bytes));
    }
}

/// `Ticket` (section 5.3).
fn ticket(mut body: Reader<'_>, facts: &mut Facts) -> Option<()> {
    let mut inner = der::open(&mut body, 0x61)?;
    let mut fields = der::open(&mut inner, SEQUENCE)?;
    for _ in 0..4 {
        let (field, body) = der::any(&mut fields)?;
        match field {
            0xa1 => realm(body, facts)?,
            0xa2 => principal(SERVICE, body, facts)?,
            0xa3 => facts.put_number(TICKET_ENCRYPTION, encryption(body)?),
            _ => {}
        }
    }
    Some(())
}

fn realm(mut body: Reader<'_>, facts: &mut Facts) -> Option<()> {
    facts.put(REALM, der::whole(&mut body, GENERAL_STRING)?);
    Some(())
}

/// `PrincipalName` (section 5.2.2).
fn principal(fact: Fact, mut body: Reader<'_>, facts: &mut Facts) -> Option<()> {
    let mut fields = der::open(&mut body, SEQUENCE)?;
    der::open(&mut fields, 0xa0)?;
    let mut parts = der::open(&mut der::open(&mut fields, 0xa1)?, SEQUENCE)?;
    let mut name = Text::<NAME_MAX>::default();
    for part in 0..PARTS_MAX {
        let Some(text) = der::whole(&mut parts, GENERAL_STRING) else { break };
        if part > 0 {
            name.push(b'/');
        }
        push_part(text, &mut name);
    }
    if !parts.is_empty() {
        facts.mark_truncated();
    }
    facts.put(fact, name.as_bytes());
    Some(())
}

/// A part as it is, but for what would read as its end: a slash has a backslash in front (RFC 1964 section 2.1.1), and so
/// has a backslash before one or at the end. Other backslashes stay, for domains of Windows have them.
fn push_part<const N: usize>(part: &[u8], name: &mut Text<N>) {
    for (at, byte) in part.iter().enumerate() {
        let is_end = matches!(part.get(at + 1), None | Some(b'/' | b'\\'));
        if *byte == b'/' || *byte == b'\\' && is_end {
            name.push(b'\\');
        }
        name.push(*byte);
    }
}

/// The type of `EncryptedData` (section 5.2.9).
fn encryption(mut body: Reader<'_>) -> Option<u64> {
    let mut fields = der::open(&mut body, SEQUENCE)?;
    der::number(&mut der::open(&mut fields, 0xa0)?, INTEGER)
}
