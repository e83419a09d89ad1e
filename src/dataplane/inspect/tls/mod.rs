//! TLS 1.0 to 1.3 and SSL 3.0 as far as it is in the clear: both hellos, certificates up to TLS 1.2, alerts; and the hello
//! of SSL 2.0, which old clients still open with.
//!
//! Read: records (RFC 8446 section 5.1, RFC 5246 section 6.2), handshake messages in one record or across several, in one
//! segment or many; ClientHello, ServerHello, HelloRetryRequest, Certificate; alerts in the clear; heartbeats (RFC 6520) for
//! their lengths. Deliberately not read: what is encrypted (certificates of TLS 1.3, SNI inside ECH), key exchange messages,
//! the certificates after the first, signatures. A stream may begin with TLS in its middle: a fresh [`State`] put to it
//! where another protocol's STARTTLS ended is all that is wanted.
//!
//! One event per handshake: when the server's part is known (it goes over to ciphertext), on a fatal alert, or at the end.
//!
//! | bounded | by |
//! | --- | --- |
//! | a ServerHello or certificate across records | `GATHER_MAX` bytes on the stack; of a longer one what is before is read |
//! | a ClientHello that comes in parts | `walk::PIECE_MAX` bytes at once; what is of no interest is passed over |
//! | certificates counted, extensions, names | constants in `certificate` and `der` |
//!
//! | EVE | fact |
//! | --- | --- |
//! | `tls.sni` | `sni` |
//! | `tls.version` | `version` (769 `TLSv1`, 770 `TLS 1.1`, 771 `TLS 1.2`, 772 `TLS 1.3`, 768 `SSLv3`, 2 `SSLv2`) |
//! | `tls.subject`, `issuerdn` | `subject`, `issuer` |
//! | `tls.serial` | `serial` (hex with colons) |
//! | `tls.fingerprint` | `certificate_sha1` (hex with colons) |
//! | `tls.notbefore`, `notafter` | `not_before`, `not_after` (`%Y-%m-%dT%H:%M:%S`) |
//! | `tls.subjectaltname` | `alt_name`, all |
//! | `tls.client.*` | the facts `client_subject`, `client_issuer`, ... likewise |
//! | `tls.session_resumed` | `resumed` = 1 |
//! | `tls.client_alpns`, `server_alpns` | `client_alpn`, `server_alpn` |
//! | `tls.client_handshake.version`, `.ciphers`, `.exts`, `.sig_algs` | `client_version`, `client_ciphers`, `client_extensions`, `signature_algorithms` |
//! | `tls.server_handshake.version`, `.cipher`, `.exts` | `server_version`, `cipher`, `server_extensions` |
//! | `tls.ja3`, `tls.ja3s`, `tls.ja4` | [`fingerprint::ja3`], [`fingerprint::ja3s`], [`fingerprint::ja4`] |
//!
//! After a HelloRetryRequest there are two ClientHellos and one event: the facts are the first one's, but for
//! `client_retry_extensions`; the JA4 of the second ([`fingerprint::ja4`] with [`HelloFacts::of_retry`]) is `ml.facts.retry_ja4`.

mod certificate;
mod facts;
pub mod fingerprint;
mod gather;
pub mod hello;
mod probe;
mod ssl2;
pub(super) mod talk;
#[cfg(test)]
pub(super) mod tests;
pub(super) mod walk;
mod x509;

pub use certificate::certificate as read_certificate;
pub(super) use certificate::{CHAIN_MAX, EXTENSIONS_MAX};
pub use facts::*;
pub(super) use hello::TYPES_MAX;
pub use probe::{is_hello, probe};
pub(super) use ssl2::CIPHERS_MAX;
pub(super) use x509::ATTRIBUTES_MAX;

use super::parse::{Output, Parse, Step};
use crate::dataplane::flow::Side;
use gather::{GATHER_MAX, Gathered};
use talk::{Talk, Words};
use walk::{PIECE_MAX, Walk};

/// Bytes of a record's header.
const RECORD_HEADER: usize = 5;
/// Bytes of a handshake message's header.
pub(super) const MESSAGE_HEADER: usize = 4;
/// Bytes of a record in the clear at most.
pub(super) const CLEAR_MAX: usize = 1 << 14;
/// Bytes of an encrypted record at most (TLS 1.2; 1.3 allows less).
const CIPHER_MAX: usize = CLEAR_MAX + 2048;
/// The second byte of a record's version at most, as far as there are such: TLS 1.3.
const MINOR_MAX: u8 = 4;

/// Types of records (RFC 8446 section 5.1).
pub(super) mod content {
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    pub const ALERT: u8 = 21;
    pub const HANDSHAKE: u8 = 22;
    pub const APPLICATION_DATA: u8 = 23;
    pub const HEARTBEAT: u8 = 24;
}

/// Types of handshake messages (RFC 8446 section 4).
pub(super) mod message {
    pub const HELLO_REQUEST: u8 = 0;
    pub const CLIENT_HELLO: u8 = 1;
    pub const SERVER_HELLO: u8 = 2;
    pub const CERTIFICATE: u8 = 11;
    pub const SERVER_HELLO_DONE: u8 = 14;
    /// The largest one in use, 67, is next_protocol.
    pub const KNOWN: [u8; 21] = [0, 1, 2, 3, 4, 5, 6, 8, 11, 12, 13, 14, 15, 16, 20, 21, 22, 23, 24, 25, 67];
}

/// Names of TLS.
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
    is_datagram: false,
};

/// Where one side of a TLS connection stands.
#[derive(Clone, Copy, Default, Debug)]
struct Half {
    /// Bytes of the present record that have not been read: it holds handshake messages.
    left: u16,
    /// Bytes of the present message that are of no interest.
    ignored: u32,
    /// A record was read.
    is_open: bool,
    /// A message was read.
    has_spoken: bool,
    /// What follows is a second ClientHello, or ciphertext.
    is_in_doubt: bool,
    /// A record of an odd version was told.
    has_odd_version: bool,
    /// In a ClientHello that is read as it comes.
    is_walking: bool,
}

/// A piece of a ClientHello that lay in several records: bytes of the stream that it took, what is left of the last record,
/// and how many bytes of the message behind it are to be passed over.
struct Across {
    taken: usize,
    left: usize,
    behind: usize,
}

/// One TLS connection.
#[derive(Default, Debug)]
pub struct State {
    halves: [Half; 2],
    talk: Talk,
    walk: Walk,
}

const _: () = assert!(size_of::<State>() <= 60);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let half = self.half(side);
        match (half.left, half.ignored) {
            (0, _) => self.record(side, bytes, out),
            (_, 0) if half.is_walking => self.walk(side, bytes, out),
            (_, 0) => self.message(side, bytes, out),
            _ => self.ignore(side),
        }
    }
}

impl State {
    fn half(&mut self, side: Side) -> &mut Half {
        let [originator, responder] = &mut self.halves;
        match side {
            Side::Originator => originator,
            Side::Responder => responder,
        }
    }

    fn record(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let Some(([kind, major, minor, high, low], body)) = bytes.split_first_chunk::<RECORD_HEADER>() else {
            return Step::Need(RECORD_HEADER);
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let half = self.half(side);
        let is_first = !std::mem::replace(&mut half.is_open, true);
        if !(content::CHANGE_CIPHER_SPEC..=content::HEARTBEAT).contains(kind) || *major != 3 {
            return match is_first && ssl2::is_hello(bytes) {
                true => self.ssl2(side, bytes, out),
                false => Step::Broken(BAD_RECORD),
            };
        }
        if *minor > MINOR_MAX && !std::mem::replace(&mut half.has_odd_version, true) {
            out.anomaly(RECORD_VERSION_UNKNOWN);
        }
        if half.is_walking && *kind != content::HANDSHAKE {
            return Step::Broken(BAD_FRAGMENT);
        }
        if length > CIPHER_MAX || (*kind == content::HANDSHAKE && length > CLEAR_MAX) {
            return Step::Broken(RECORD_TOO_LONG);
        }
        match *kind {
            content::HANDSHAKE if length == 0 => {
                out.anomaly(BAD_FRAGMENT);
                Step::Took(RECORD_HEADER)
            }
            content::HANDSHAKE => {
                self.half(side).left = length as u16; // at most CLEAR_MAX
                Step::Took(RECORD_HEADER)
            }
            content::ALERT if length == 2 => self.alert(side, body, out),
            content::HEARTBEAT => heartbeat(length, body, out),
            // For the sake of middleboxes (RFC 8446 appendix D.4), at times before a second ClientHello.
            content::CHANGE_CIPHER_SPEC if self.talk.may_hello_again(side) => {
                self.half(side).is_in_doubt = true;
                Step::Skip((RECORD_HEADER + length) as u64)
            }
            _ => self.encrypted(side, out),
        }
    }

    /// This side goes over to ciphertext.
    fn encrypted(&mut self, side: Side, out: &mut dyn Output) -> Step {
        self.talk.encrypted(side, &WORDS, out);
        Step::Done
    }

    fn alert(&mut self, side: Side, body: &[u8], out: &mut dyn Output) -> Step {
        let Some(([level, code], _)) = body.split_first_chunk::<2>() else {
            return Step::Need(RECORD_HEADER + 2);
        };
        if !matches!(level, 1 | 2) {
            return self.encrypted(side, out); // two bytes of a stream cipher
        }
        match Talk::alert(*level, *code, &WORDS, out) {
            true => Step::Done,
            false => Step::Took(RECORD_HEADER + 2),
        }
    }

    /// The rest of a message of no interest, as far as this record goes.
    fn ignore(&mut self, side: Side) -> Step {
        let half = self.half(side);
        let count = half.ignored.min(u32::from(half.left));
        half.ignored -= count;
        half.left -= count as u16; // at most what was left
        Step::Skip(u64::from(count))
    }

    fn message(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let left = usize::from(self.half(side).left);
        if left < MESSAGE_HEADER {
            return self.message_across(side, left, bytes, out);
        }
        let Some(([kind, lengths @ ..], _)) = bytes.split_first_chunk::<MESSAGE_HEADER>() else {
            return Step::Need(MESSAGE_HEADER);
        };
        if self.half(side).is_in_doubt && !matches!(*kind, message::CLIENT_HELLO | message::SERVER_HELLO) {
            return self.encrypted(side, out);
        }
        if !is_read(*kind) {
            return self.ignored(side, *kind, MESSAGE_HEADER, left, *lengths);
        }
        let total = MESSAGE_HEADER + length_of(*lengths);
        let is_here = total <= left && total <= bytes.len();
        if *kind == message::CLIENT_HELLO && !is_here {
            return self.begin_walk(side, MESSAGE_HEADER, left - MESSAGE_HEADER, *lengths, out);
        }
        if total > left {
            return self.message_across(side, left, bytes, out);
        }
        let Some(body) = bytes.get(MESSAGE_HEADER..total) else {
            return Step::Need(total);
        };
        self.half(side).left = (left - total) as u16; // less than left was
        self.handle(side, *kind, body, false, out).unwrap_or(Step::Took(total))
    }

    /// A message that goes on in the next record: put together on the stack.
    #[cold]
    #[inline(never)]
    fn message_across(&mut self, side: Side, left: usize, bytes: &[u8], out: &mut dyn Output) -> Step {
        let mut scratch = [0; GATHER_MAX];
        match gather::gather(bytes, left, &mut scratch) {
            Gathered::Need(count) => Step::Need(count),
            Gathered::Bad => Step::Broken(BAD_FRAGMENT),
            Gathered::Header { kind: message::CLIENT_HELLO, lengths, taken, left } => {
                self.begin_walk(side, taken, left, lengths, out)
            }
            Gathered::Header { kind, lengths, taken, left } => self.ignored(side, kind, taken, left, lengths),
            Gathered::Message { kind, total, used, taken, left } => {
                let half = self.half(side);
                half.left = left as u16; // of a record
                half.ignored = total.saturating_sub(used) as u32; // below 2^24
                let body = scratch.get(MESSAGE_HEADER..used).unwrap_or_default();
                self.handle(side, kind, body, total > used, out).unwrap_or(Step::Took(taken))
            }
        }
    }

    /// A ClientHello that is not here whole: it is read as it comes, so that what is long in it is not waited for. Of its
    /// header, and no more, were `taken` bytes, after which `left` bytes of the record are.
    fn begin_walk(&mut self, side: Side, taken: usize, left: usize, lengths: [u8; 3], out: &mut dyn Output) -> Step {
        if !self.may_say(side, message::CLIENT_HELLO) {
            return Step::Broken(UNEXPECTED_MESSAGE);
        }
        let is_second = match self.talk.client_begins(side, &WORDS) {
            Ok(is_second) => is_second,
            Err(anomaly) => return Step::Broken(anomaly),
        };
        let length = length_of(lengths);
        if length > CLEAR_MAX {
            out.anomaly(HELLO_TOO_LONG);
        }
        self.walk = Walk::new(length, false);
        self.walk.is_second = is_second;
        let half = self.half(side);
        half.left = left as u16; // of a record
        half.is_walking = true;
        if self.walk.wants().is_none() {
            self.end_walk(side, out);
        }
        Step::Took(taken)
    }

    /// The next pieces of it, as many as are here; the next record's header is read elsewhere.
    fn walk(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let names = WORDS.names(self.walk.is_second);
        let (mut at, mut left, mut ignored) = (0, usize::from(self.half(side).left), 0);
        let mut stopped = Step::Need(bytes.len() + 1);
        while left > 0
            && ignored == 0
            && let Some(wanted) = self.walk.wants()
        {
            let behind = if wanted > left {
                match self.walk_across(bytes.get(at..).unwrap_or_default(), left, names, out) {
                    Ok(found) => {
                        (at, left) = (at + found.taken, found.left);
                        found.behind
                    }
                    Err(step) => {
                        stopped = step;
                        break;
                    }
                }
            } else if let Some(piece) = bytes.get(at..at + wanted) {
                (at, left) = (at + wanted, left - wanted);
                self.walk.read(piece, names, out.facts())
            } else {
                stopped = Step::Need(wanted);
                break;
            };
            let here = behind.min(left).min(bytes.len() - at);
            (at, left, ignored) = (at + here, left - here, behind - here);
        }
        let passed = ignored.min(left);
        let half = self.half(side);
        half.left = (left - passed) as u16; // of a record
        half.ignored = (ignored - passed) as u32; // below 2^24
        if self.walk.wants().is_none() {
            self.end_walk(side, out);
        }
        match (at, passed) {
            (0, _) => stopped,
            (_, 0) => Step::Took(at),
            _ => Step::Skip((at + passed) as u64),
        }
    }

    /// A piece that goes on in the next record: put together on the stack.
    #[cold]
    #[inline(never)]
    fn walk_across(
        &mut self,
        bytes: &[u8],
        left: usize,
        names: &HelloFacts,
        out: &mut dyn Output,
    ) -> Result<Across, Step> {
        let mut scratch = [0; PIECE_MAX];
        let wanted = self.walk.wants().and_then(|wanted| scratch.get_mut(..wanted));
        let piece = wanted.ok_or(Step::Broken(BAD_HELLO))?;
        match gather::piece(bytes, 0, left, piece) {
            Ok((taken, left)) => Ok(Across { taken, left, behind: self.walk.read(piece, names, out.facts()) }),
            Err(Gathered::Need(count)) => Err(Step::Need(count)),
            Err(_) => Err(Step::Broken(BAD_FRAGMENT)),
        }
    }

    /// It was read; what is behind that of it is passed over.
    fn end_walk(&mut self, side: Side, out: &mut dyn Output) {
        let seen = self.walk.end(false, WORDS.names(self.walk.is_second), out.facts());
        self.talk.client_ends(seen, false, &WORDS, out);
        let rest = self.walk.rest() as u32; // below 2^24
        let half = self.half(side);
        half.is_walking = false;
        half.ignored += rest;
    }

    /// A message whose body is not read. Its header, and no more, was `taken`, after which `left` bytes of the record are.
    fn ignored(&mut self, side: Side, kind: u8, taken: usize, left: usize, lengths: [u8; 3]) -> Step {
        if !self.may_say(side, kind) {
            return Step::Broken(UNEXPECTED_MESSAGE);
        }
        self.talk.heard(kind);
        let left = if taken == MESSAGE_HEADER { left.saturating_sub(taken) } else { left };
        let half = self.half(side);
        half.left = left as u16; // of a record
        half.ignored = length_of(lengths) as u32; // 24 bits
        Step::Took(taken)
    }

    fn may_say(&mut self, side: Side, kind: u8) -> bool {
        let half = self.half(side);
        let may_begin = matches!(kind, message::HELLO_REQUEST | message::CLIENT_HELLO | message::SERVER_HELLO);
        let may = message::KNOWN.contains(&kind) && (half.has_spoken || may_begin);
        half.has_spoken = true;
        may
    }

    fn handle(&mut self, side: Side, kind: u8, body: &[u8], is_cut: bool, out: &mut dyn Output) -> Option<Step> {
        if !self.may_say(side, kind) {
            return Some(Step::Broken(UNEXPECTED_MESSAGE));
        }
        self.talk.read(side, kind, body, is_cut, &WORDS, out).err().map(Step::Broken)
    }

    fn ssl2(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let Some((total, is_client)) = ssl2::read(bytes, out.facts()) else {
            self.half(side).is_open = false;
            return ssl2::needed(bytes);
        };
        if !is_client {
            self.talk.server_is_done(side, out);
            return Step::Done;
        }
        self.talk.client_is(side);
        self.half(side).has_spoken = true;
        Step::Took(total)
    }
}

/// Messages whose body is read.
pub(super) fn is_read(kind: u8) -> bool {
    matches!(kind, message::CLIENT_HELLO | message::SERVER_HELLO | message::CERTIFICATE)
}

pub(super) fn length_of([a, b, c]: [u8; 3]) -> usize {
    usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
}

/// A heartbeat in the clear: only whether the length it claims is there.
fn heartbeat(length: usize, body: &[u8], out: &mut dyn Output) -> Step {
    let Some(([kind, high, low], _)) = body.split_first_chunk::<3>() else {
        return Step::Need(RECORD_HEADER + 3);
    };
    let claimed = usize::from(u16::from_be_bytes([*high, *low]));
    if matches!(kind, 1 | 2) && claimed + 3 > length {
        out.anomaly(HEARTBEAT_OVERREAD);
    }
    Step::Skip((RECORD_HEADER + length) as u64)
}
