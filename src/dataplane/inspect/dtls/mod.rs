//! DTLS 1.0 (RFC 4347), 1.2 (RFC 6347) and 1.3 (RFC 9147) as far as it is in the clear: hellos, the round trip of the cookie,
//! certificates up to 1.2, alerts. And the form before 1.0 that some VPNs still have (version 0x0100).
//!
//! Read: several records in a datagram, several messages in a record, fragments of a message in any order. What must outlive
//! a datagram is a [`Scratch`], as for QUIC: [`State::step_with`] takes one, [`State::wants_scratch`] tells whether it is
//! wanted; without it a message whose fragments are not all in one datagram is not read. Datagrams of other protocols on the
//! same ports (STUN, RTP) are passed over. Deliberately not read: what is encrypted, key exchange messages.
//!
//! Who answers a hello is the server, though the hello was not seen: the flow is turned.
//!
//! One event per handshake, as in TLS: when the server's part is known, on a fatal alert, or at the end.
//!
//! | bounded | by |
//! | --- | --- |
//! | records of a datagram, messages of a record | `RECORDS_MAX`, `MESSAGES_MAX` |
//! | a message in fragments | `SCRATCH_BYTES`; of a longer one what is before is read |
//!
//! EVE has no object for DTLS of its own. The facts have the names of TLS; JA3, JA3S and JA4 come from `tls::fingerprint`
//! with [`HELLO`].

#[cfg(test)]
pub(super) mod tests;

use super::bytes::Reader;
use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::scratch::{SCRATCH_BYTES, Scratch};
use super::sides::Sides;
use super::tls::talk::{Talk, Words};
use super::tls::{
    ALT_NAMES_MAX, CERTIFICATE_COUNT, CertificateFacts, HELLO_COUNT, HelloFacts, content, is_read, message,
};
use crate::dataplane::flow::Side;

/// What the hellos said, of DTLS.
pub const HELLO: HelloFacts = HelloFacts::of(Protocol::Dtls);
/// The server's certificate.
pub const SERVER_CERTIFICATE: CertificateFacts =
    CertificateFacts::of(Protocol::Dtls, HELLO_COUNT + 1, true, ALT_NAMES_MAX);
/// The client's, where the server asked for one.
pub const CLIENT_CERTIFICATE: CertificateFacts =
    CertificateFacts::of(Protocol::Dtls, HELLO_COUNT + CERTIFICATE_COUNT + 1, false, 4);
/// Code of an alert in the clear.
pub const ALERT: Fact = Fact::number(Protocol::Dtls, 60, "alert").repeated(2);
/// Its level: 1 warning, 2 fatal.
pub const ALERT_LEVEL: Fact = Fact::number(Protocol::Dtls, 61, "alert_level").repeated(2);
/// 1: the server made the client show that it can be reached (HelloVerifyRequest).
pub const COOKIE: Fact = Fact::number(Protocol::Dtls, 62, "cookie");

const OTHERS: [Fact; 3] = [ALERT, ALERT_LEVEL, COOKIE];

/// All facts of DTLS.
pub const FACTS: &[Fact] = &{
    const COUNT: usize = HELLO_COUNT as usize + 2 * CERTIFICATE_COUNT as usize + OTHERS.len();
    let mut all = [HELLO.sni; COUNT];
    let (hello, server, client) = (HELLO.all(), SERVER_CERTIFICATE.all(), CLIENT_CERTIFICATE.all());
    let parts: [&[Fact]; 4] = [&hello, &server, &client, &OTHERS];
    let (mut into, mut from) = (all.as_mut_slice(), parts.as_slice());
    while let Some((part, others)) = from.split_first() {
        let (head, tail) = into.split_at_mut(part.len());
        head.copy_from_slice(part);
        (into, from) = (tail, others);
    }
    all
};

/// A record that is longer than its datagram.
pub const BAD_RECORD: Anomaly = Anomaly::new(Protocol::Dtls, 1, "bad_record");
/// A fragment that reaches over the end of its message or its record.
pub const BAD_FRAGMENT: Anomaly = Anomaly::new(Protocol::Dtls, 2, "bad_fragment");
/// Lengths within a hello do not fit.
pub const BAD_HELLO: Anomaly = Anomaly::new(Protocol::Dtls, 3, "bad_hello");
/// A hello of the wrong side.
pub const UNEXPECTED_MESSAGE: Anomaly = Anomaly::new(Protocol::Dtls, 4, "unexpected_message");
/// A certificate that cannot be read.
pub const BAD_CERTIFICATE: Anomaly = Anomaly::new(Protocol::Dtls, 5, "bad_certificate");
/// The same extension twice in a hello.
pub const DUPLICATE_EXTENSION: Anomaly = Anomaly::new(Protocol::Dtls, 6, "duplicate_extension");
/// The server chose a cipher suite that the client did not offer.
pub const CIPHER_NOT_OFFERED: Anomaly = Anomaly::new(Protocol::Dtls, 7, "cipher_not_offered");
/// The server says that it can do 1.3, the client offered it, and less was chosen.
pub const DOWNGRADE: Anomaly = Anomaly::new(Protocol::Dtls, 8, "version_downgrade");
/// A fatal alert in the clear: the handshake failed.
pub const FATAL_ALERT: Anomaly = Anomaly::new(Protocol::Dtls, 9, "fatal_alert");

/// A hello longer than is put together: it is read as far as that goes, and has no fingerprint.
pub const HELLO_TOO_LONG: Anomaly = Anomaly::new(Protocol::Dtls, 10, "hello_too_long");

/// All anomalies of DTLS.
pub const ANOMALIES: &[Anomaly] = &[
    BAD_RECORD,
    BAD_FRAGMENT,
    BAD_HELLO,
    UNEXPECTED_MESSAGE,
    BAD_CERTIFICATE,
    DUPLICATE_EXTENSION,
    CIPHER_NOT_OFFERED,
    DOWNGRADE,
    FATAL_ALERT,
    HELLO_TOO_LONG,
];

/// Names of DTLS.
static WORDS: Words = Words {
    hello: HELLO,
    retry: HELLO.of_retry(),
    server: SERVER_CERTIFICATE,
    client: CLIENT_CERTIFICATE,
    alert: ALERT,
    alert_level: ALERT_LEVEL,
    bad_hello: BAD_HELLO,
    bad_certificate: BAD_CERTIFICATE,
    unexpected_message: UNEXPECTED_MESSAGE,
    duplicate_extension: DUPLICATE_EXTENSION,
    cipher_not_offered: CIPHER_NOT_OFFERED,
    downgrade: DOWNGRADE,
    fatal_alert: FATAL_ALERT,
    hello_too_long: HELLO_TOO_LONG,
    is_datagram: true,
};

/// Records of a datagram that are read.
pub(super) const RECORDS_MAX: usize = 32;
/// Messages of a record that are read.
pub(super) const MESSAGES_MAX: usize = 32;
/// HelloVerifyRequest (RFC 6347 section 4.2.1), which TLS has not.
const HELLO_VERIFY_REQUEST: u8 = 3;

/// A message whose fragments are being put together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Open {
    side: Side,
    sequence: u16,
}

/// One DTLS connection.
#[derive(Default, Debug)]
pub struct State {
    talk: Talk,
    /// Number of the next message of a side: those below were read.
    next: Sides<u16>,
    open: Option<Open>,
    is_over: bool,
    /// The flow was told that its originator is the server.
    is_turned: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        self.step_with(side, bytes, None, out)
    }
}

/// How a record was found.
enum Found {
    /// Read; others may follow.
    Clear,
    /// The side goes over to ciphertext, or a fatal alert.
    End,
    /// Not what it seemed to be.
    Bad(Anomaly),
}

impl State {
    /// As [`Parse::step`], with a scratch that lasts from datagram to datagram.
    pub fn step_with(&mut self, side: Side, bytes: &[u8], scratch: Option<&mut Scratch>, out: &mut dyn Output) -> Step {
        // Sides here are those that the flow began with.
        let side = if self.is_turned { side.other() } else { side };
        let found = match scratch {
            Some(scratch) => self.datagram(side, bytes, scratch, out),
            None => {
                self.open = None;
                self.datagram(side, bytes, &mut Scratch::default(), out)
            }
        };
        match found {
            Found::Clear => Step::Took(bytes.len()),
            Found::End => Step::Done,
            Found::Bad(anomaly) => Step::Broken(anomaly),
        }
    }

    /// There are fragments of a message in it that is not whole.
    pub fn wants_scratch(&self) -> bool {
        self.open.is_some() && !self.is_over
    }

    fn datagram(&mut self, side: Side, bytes: &[u8], scratch: &mut Scratch, out: &mut dyn Output) -> Found {
        let mut reader = Reader::new(records(bytes));
        for _ in 0..RECORDS_MAX {
            match reader.rest().first() {
                Some(content::CHANGE_CIPHER_SPEC..=26) => {}
                Some(0x20..=0x3f) => return self.encrypted(side, out), // the header of ciphertext of 1.3
                _ => return Found::Clear,                              // nothing, or another protocol
            }
            let Some(record) = Record::read(&mut reader) else {
                out.anomaly(BAD_RECORD);
                return Found::Clear;
            };
            match self.record(side, &record, scratch, out) {
                Found::Clear => {}
                other => return other,
            }
        }
        if !reader.is_empty() {
            out.limit();
        }
        Found::Clear
    }

    fn record(&mut self, side: Side, record: &Record<'_>, scratch: &mut Scratch, out: &mut dyn Output) -> Found {
        match (record.kind, record.body) {
            (content::HANDSHAKE, body) if record.epoch == 0 => self.messages(side, body, scratch, out),
            (content::ALERT, [level @ 1..=2, code]) if record.epoch == 0 => {
                self.is_over = Talk::alert(*level, *code, &WORDS, out);
                if self.is_over { Found::End } else { Found::Clear }
            }
            _ => self.encrypted(side, out),
        }
    }

    fn encrypted(&mut self, side: Side, out: &mut dyn Output) -> Found {
        self.talk.encrypted(side, &WORDS, out);
        self.is_over = true;
        Found::End
    }

    fn messages(&mut self, side: Side, body: &[u8], scratch: &mut Scratch, out: &mut dyn Output) -> Found {
        let mut reader = Reader::new(body);
        for _ in 0..MESSAGES_MAX {
            if reader.is_empty() {
                break;
            }
            let Some(part) = Part::read(&mut reader) else {
                out.anomaly(BAD_FRAGMENT);
                break;
            };
            if part.sequence < *self.next.of(side) {
                continue; // sent again
            }
            let read = self.part(side, &part, scratch, out);
            if !self.is_turned && self.talk.server() == Some(Side::Originator) {
                self.is_turned = true;
                out.turn();
            }
            if let Err(anomaly) = read {
                return Found::Bad(anomaly);
            }
        }
        if Part::read(&mut reader).is_some() {
            out.limit();
        }
        Found::Clear
    }

    fn part(
        &mut self,
        side: Side,
        part: &Part<'_>,
        scratch: &mut Scratch,
        out: &mut dyn Output,
    ) -> Result<(), Anomaly> {
        if !is_read(part.kind) {
            if part.kind == HELLO_VERIFY_REQUEST {
                out.facts().put_number(COOKIE, 1);
                self.talk.verifies(side);
            }
            self.talk.heard(part.kind);
            return Ok(());
        }
        if part.body.len() == part.total {
            self.close(side, part.sequence);
            return self.talk.read(side, part.kind, part.body, false, &WORDS, out);
        }
        let open = Open { side, sequence: part.sequence };
        if self.open.replace(open) != Some(open) {
            scratch.clear();
        }
        scratch.put(part.offset as u64, part.body);
        let Some(whole) = scratch.prefix().get(..part.total.min(SCRATCH_BYTES)) else { return Ok(()) };
        self.close(side, part.sequence);
        self.talk.read(side, part.kind, whole, part.total > SCRATCH_BYTES, &WORDS, out)
    }

    /// This message is read.
    fn close(&mut self, side: Side, sequence: u16) {
        *self.next.of(side) = sequence.saturating_add(1);
        self.open = None;
    }
}

/// A record (RFC 6347 section 4.1).
struct Record<'a> {
    kind: u8,
    version: u16,
    epoch: u16,
    body: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Record<'a>> {
        let (kind, version, epoch) = (reader.u8()?, reader.be16()?, reader.be16()?);
        reader.take(6)?; // sequence number
        let length = reader.be16()?;
        let body = reader.take(usize::from(length))?;
        is_version(version).then_some(Record { kind, version, epoch, body })
    }
}

/// 1.0, 1.2 (and 1.3, which looks like it), or the form before 1.0.
fn is_version(version: u16) -> bool {
    matches!(version, 0xfeff | 0xfefd | 0x0100)
}

/// A message or a fragment of one (RFC 6347 section 4.2.2).
struct Part<'a> {
    kind: u8,
    total: usize,
    sequence: u16,
    offset: usize,
    body: &'a [u8],
}

impl<'a> Part<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Part<'a>> {
        let (kind, total, sequence) = (reader.u8()?, reader.be24()? as usize, reader.be16()?); // 24 bits
        let (offset, length) = (reader.be24()? as usize, reader.be24()? as usize);
        let body = reader.take(length)?;
        (offset + length <= total).then_some(Part { kind, total, sequence, offset, body })
    }
}

/// DTLS, if the datagram begins with a hello; or is made of its records to the last byte.
pub fn probe(look: &Look<'_>) -> Match {
    let bytes = records(look.bytes);
    let is_it = look.is_datagram
        && Record::read(&mut Reader::new(bytes)).is_some_and(|first| match first.kind {
            content::HANDSHAKE if first.epoch == 0 => is_hello(first.body),
            content::CHANGE_CIPHER_SPEC..=26 if first.version != 0x0100 => is_records(bytes),
            _ => false,
        });
    if is_it { Match::Yes } else { Match::No }
}

/// The records of a datagram, behind what CAPWAP puts in front of them (RFC 5415 section 4.2): its version, their kind, and
/// three zeros.
fn records(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0x01, 0, 0, 0, rest @ ..] if matches!(rest, [content::CHANGE_CIPHER_SPEC..=26, 0xfe, ..]) => rest,
        _ => bytes,
    }
}

fn is_hello(body: &[u8]) -> bool {
    Part::read(&mut Reader::new(body)).is_some_and(|part| match (part.kind, part.body) {
        (message::CLIENT_HELLO | message::SERVER_HELLO | HELLO_VERIFY_REQUEST, [0xfe, ..] | [1, 0, ..]) => true,
        (message::CLIENT_HELLO | message::SERVER_HELLO | message::CERTIFICATE, _) => part.offset > 0,
        (message::HELLO_REQUEST | message::SERVER_HELLO_DONE, []) => part.total == 0,
        _ => false,
    })
}

fn is_records(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    for _ in 0..RECORDS_MAX {
        if reader.is_empty() {
            return true;
        }
        match Record::read(&mut reader) {
            Some(Record { kind: content::CHANGE_CIPHER_SPEC..=26, body: [_, ..], .. }) => {}
            _ => return false,
        }
    }
    true
}
