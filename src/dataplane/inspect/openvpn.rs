//! OpenVPN over UDP and TCP: the resets that begin a session, one event each.
//!
//! After the resets there is TLS in pieces and then data, both of no interest here. Recognition: a reset of a client, as it
//! stands in one of the three ways to wrap it: plain (14 bytes), with a digest before it (`tls-auth`), encrypted
//! (`tls-crypt`); in the last two a packet number of 1 and a time stand at a place that the size tells. The server's reset
//! is known likewise. A session whose beginning was not seen cannot be told. It deliberately does not: read TLS inside, or
//! take single bytes for an opcode.
//!
//! EVE has no object for it. Format: "OpenVPN wire protocol" (draft-openvpn-wire-protocol), sections 3 and 5.

use super::bytes::Reader;
use super::dns;
use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::OpenVpn;
/// Kind: 7, 10 (and of old 1) reset of a client, 8 (2) of a server.
pub const OPCODE: Fact = Fact::number(PROTOCOL, 1, "opcode");
/// Number that the sender chose for the session.
pub const SESSION_ID: Fact = Fact::bytes(PROTOCOL, 2, "session_id", 8);
/// Bytes of the digest in front; 0 for none.
pub const DIGEST_BYTES: Fact = Fact::number(PROTOCOL, 3, "digest_bytes");
/// 1: the reset itself is encrypted (`tls-crypt`).
pub const IS_ENCRYPTED: Fact = Fact::number(PROTOCOL, 4, "is_encrypted");

/// All facts.
pub const FACTS: &[Fact] = &[OPCODE, SESSION_ID, DIGEST_BYTES, IS_ENCRYPTED];
/// All anomalies: none, as what is not a reset is not looked at.
pub const ANOMALIES: &[Anomaly] = &[];

/// Digests in use: MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512.
const DIGESTS: [usize; 6] = [16, 20, 28, 32, 48, 64];
/// Opcode and session in front of all.
const FRONT_BYTES: usize = 9;
/// Packet number and time, before or behind the digest.
const REPLAY_BYTES: usize = 8;
/// Digest of `tls-crypt`.
const TAG_BYTES: usize = 32;
/// Messages after which no reset is expected.
pub(super) const MESSAGES_MAX: u8 = 32;
/// Earliest time that a clock may tell (2001), so that random bytes seldom fit.
const TIME_MIN: u32 = 1_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reset {
    opcode: u8,
    session: [u8; 8],
    digest: usize,
    is_encrypted: bool,
}

/// A reset, if the message is one.
fn reset(bytes: &[u8]) -> Option<Reset> {
    let mut reader = Reader::new(bytes);
    let (first, session) = (reader.u8()?, reader.array::<8>()?);
    let opcode = first >> 3;
    // A client's reset acknowledges nothing, a server's one packet: number and session.
    let (tail, acknowledged) = match opcode {
        1 | 7 => (5, 0),
        10 => (5, 0),
        2 | 8 => (17, 1),
        _ => return None,
    };
    if first & 7 != 0 || session == [0; 8] {
        return None;
    }
    let with = |digest, is_encrypted| Some(Reset { opcode, session, digest, is_encrypted });
    let rest = reader.rest();
    if rest.len() == tail && opcode != 10 && plain_tail(rest, acknowledged) {
        return with(0, false);
    }
    // tls-auth: digest, packet number, time, and the rest in the clear.
    let digest = rest.len().wrapping_sub(REPLAY_BYTES + tail);
    if DIGESTS.contains(&digest) && opcode != 10 && is_first(rest.get(digest..)?) {
        let end = rest.get(digest + REPLAY_BYTES..)?;
        if plain_tail(end, acknowledged) {
            return with(digest, false);
        }
    }
    // tls-crypt: packet number, time, tag, and the rest encrypted; of version 2 with a wrapped key behind it.
    let least = REPLAY_BYTES + TAG_BYTES + tail;
    let fits = if opcode == 10 { (least..=least + 1024).contains(&rest.len()) } else { rest.len() == least };
    if fits && is_first(rest) { with(TAG_BYTES, true) } else { None }
}

/// What a reset ends with in the clear: acknowledgements, and a message number of 0.
fn plain_tail(tail: &[u8], acknowledged: u8) -> bool {
    tail.first() == Some(&acknowledged) && tail.ends_with(&[0; 4])
}

/// A packet number of a few (some begin anew from 0x0f000001) and a time of this century.
fn is_first(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let (Some(number), Some(time)) = (reader.be32(), reader.be32()) else { return false };
    matches!(number & !0x0f00_0000, 1..=16) && time >= TIME_MIN
}

/// OpenVPN? See the module.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        // Counts and the first label of a question can stand where packet number and time do.
        let is_dns = || dns::plausible(look.bytes, look.has_port(53), false) == Match::Yes;
        return if reset(look.bytes).is_some() && !is_dns() { Match::Yes } else { Match::No };
    }
    // On a stream the length stands in front.
    let mut reader = Reader::new(look.bytes);
    let Some(length) = reader.be16().map(usize::from) else { return Match::Maybe };
    let is_reset = reader.rest().first().is_none_or(|first| matches!(first, 0x38 | 0x40 | 0x50 | 0x08 | 0x10));
    if !(FRONT_BYTES + 5..=FRONT_BYTES + 1100).contains(&length) || !is_reset {
        return Match::No;
    }
    match reader.take(length).map(reset) {
        None => Match::Maybe,
        Some(Some(_)) => Match::Yes,
        Some(None) => Match::No,
    }
}

/// Which resets were told.
#[derive(Default)]
pub struct State {
    is_stream: bool,
    messages: u8,
    has_told: [bool; 2],
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    /// A state for a stream.
    pub fn stream() -> State {
        State { is_stream: true, ..State::default() }
    }

    fn message(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) {
        let [first, second] = &mut self.has_told;
        let has_told = if side == Side::Originator { first } else { second };
        if let (Some(reset), false) = (reset(bytes), *has_told) {
            *has_told = true;
            out.facts().put_number(OPCODE, reset.opcode.into());
            out.facts().put(SESSION_ID, &reset.session);
            out.facts().put_number(DIGEST_BYTES, reset.digest as u64);
            out.facts().put_number(IS_ENCRYPTED, reset.is_encrypted.into());
            out.facts().sent_by(side);
            out.event();
        }
        self.messages = self.messages.saturating_add(1);
    }
}

impl Parse for State {
    fn begin(&mut self, look: &Look<'_>) {
        self.is_stream = !look.is_datagram;
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.has_told == [true; 2] || self.messages > MESSAGES_MAX {
            if self.has_told != [true; 2] {
                out.limit();
            }
            return Step::Done;
        }
        if !self.is_stream {
            self.message(side, bytes, out);
            return Step::Took(bytes.len());
        }
        let mut reader = Reader::new(bytes);
        let Some(length) = reader.be16().map(usize::from) else { return Step::Need(2) };
        match reader.take(length) {
            Some(message) => {
                self.message(side, message, out);
                Step::Took(length + 2)
            }
            None => Step::Need(length + 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{datagram, show, stream, torment_datagram, torment_stream};

    const REPLAY: &[u8] = b"\0\0\0\x01\x65\0\0\0";

    fn client(kind: &str) -> Vec<u8> {
        match kind {
            "plain" => b"\x38session1\0\0\0\0\0".to_vec(),
            "auth" => [&b"\x38session1"[..], &[0xaa; 20], REPLAY, b"\0\0\0\0\0"].concat(),
            "crypt" => [&b"\x38session1"[..], REPLAY, &[0xaa; 32], b"abcde"].concat(),
            _ => [&b"\x50session1"[..], REPLAY, &[0xaa; 32], b"abcde", &[0xbb; 300]].concat(),
        }
    }

    fn server() -> Vec<u8> {
        [&b"\x40session2"[..], &[0xaa; 20], REPLAY, b"\x01\0\0\0\0session1\0\0\0\0"].concat()
    }

    #[test]
    fn resets_in_all_wrappings_are_told() {
        for (kind, digest, is_encrypted) in [("plain", 0, 0), ("auth", 20, 0), ("crypt", 32, 1), ("crypt-v2", 32, 1)] {
            let bytes = client(kind);
            assert_eq!(probe(&datagram(&bytes, [1, 2])), Match::Yes, "{kind}");
            let out = show::<State>(&[
                (Side::Originator, &bytes),
                (Side::Responder, &server()),
                (Side::Responder, &server()),
            ]);
            assert_eq!(out.events.len(), 2);
            assert_eq!(out.events[0].get(SESSION_ID), Some(&b"session1"[..]));
            assert_eq!(
                (out.events[0].number(DIGEST_BYTES), out.events[0].number(IS_ENCRYPTED)),
                (Some(digest), Some(is_encrypted))
            );
            torment_datagram::<State>(&bytes, [1, 1194], probe);
        }
        assert_eq!(probe(&datagram(&[0x38; 42], [1, 1194])), Match::No);
        assert_eq!(probe(&datagram(&[0x40; 54], [1, 1194])), Match::No);
    }

    #[test]
    fn streams_have_the_length_in_front() {
        let one = client("auth");
        let bytes = [&[0, one.len() as u8][..], &one, b"\0\x03abc"].concat();
        assert_eq!(torment_stream(State::stream, &bytes, [1, 2], probe).events.len(), 1);
        assert_eq!(probe(&stream(b"\0\x0e\x38session1\0\0\0\0\x01", [1, 2])), Match::No);
    }
}
