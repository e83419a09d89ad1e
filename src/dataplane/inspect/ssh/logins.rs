//! How logins end, behind the encryption: what a server says to turn one down has the same size each time.
//!
//! After the key exchange client and server speak in turns (RFC 4252): a service is asked for and granted, then each request to
//! be let in has one answer. A refusal (SSH_MSG_USERAUTH_FAILURE) is a list of methods, of one size within a session. So a turn
//! of the server as long as the first answer (or, where a banner made that longer, two turns of one size) is a refusal, and three
//! turns in a row of other sizes are none of a login any more: it was let in. (A key that is taken has two such turns, a question
//! of `keyboard-interactive` one or two.)
//!
//! The first refusal is that of "none" (RFC 4252 section 5.2), by which clients ask for the methods, the second that of a method
//! that the server does not have or of a program that tries its keys: neither is a guess. Keys that are offered have requests
//! longer than a password's ([`OFFER`]); their refusals are not counted, for an agent offers as many as the server will hear.
//!
//! OpenSSH pads what holds a password to 64 bytes and more (`sshpkt_add_padding` in sshconnect2.c), as long as the offer of an Ed25519
//! key. Under a cipher with blocks of 16 bytes the two have one size, under ChaCha20 (blocks of 8) one where the user's name has nine
//! letters or more. There, and where the sizes do not tell how long the name is, none is counted: OpenSSH's guesses are counted under
//! ChaCha20, at names of up to four letters ("root").

use super::{GUESSES, LET_IN};
use crate::dataplane::flow::Side;
use crate::dataplane::inspect::parse::Output;

/// Bytes by which a request with a public key is longer than the first one: that with a password adds its length, name and
/// padding, some 16 to 48, the shortest public key (Ed25519) with its names 76, of which the first one's padding may take 12.
const OFFER: u16 = 64;
/// Bytes by which OpenSSH's request with a password is longer than the grant of a service (24 bytes) under ChaCha20: it has 128. Any that
/// is longer has a key, or a password of 70 bytes.
const PADDED: u16 = 128 - 24;
/// The same of the first request ("none", 40 bytes) where the user's name has four letters at most: an Ed25519 key is offered in 120.
const SHORT_NAME: u16 = 40 - 24;
/// Refusals of a session that are no guesses.
const FREE: u8 = 2;
/// Turns of the server in a row that are no refusal, after which the client is in.
const IN_TURNS: u8 = 3;
/// A turn of a login has no more bytes: banners have some hundred.
pub(in super::super) const TURN_MAX: u32 = 8192;

/// Turns of a session after the key exchange.
#[derive(Default, Debug)]
pub(super) struct Logins {
    /// Bytes of the turn in hand.
    bytes: u32,
    /// The server grants the service, at one length in all implementations: what ciphers add to it they add to the others.
    service: u16,
    /// Of the client's requests: the first to be let in, and the latest.
    request: u16,
    asked: u16,
    /// Of the server's answers: a refusal's, and the latest other one's.
    refusal: u16,
    other: u16,
    refused: u8,
    /// In a row.
    unlike: u8,
    /// Turns of the client, up to 3.
    turns: u8,
    is_client: bool,
    is_known: bool,
    is_over: bool,
    is_in: bool,
}

/// A size as it is kept; 0 is none.
fn kept(bytes: u32) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

impl Logins {
    /// Nothing more is to be learnt.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// So many encrypted bytes of `side`.
    pub fn take(&mut self, side: Side, bytes: usize) {
        let is_client = side == Side::Originator;
        if is_client != self.is_client {
            self.turn();
            (self.is_client, self.bytes) = (is_client, 0);
        }
        self.bytes = self.bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.bytes > TURN_MAX {
            self.is_over = true;
            // What a client sends at length is no sign of anything.
            self.is_in |= !is_client;
        }
    }

    /// Not all was seen: what was counted by now counts.
    pub fn break_off(&mut self) {
        self.is_over = true;
    }

    /// The other side begins to speak, or the session is over.
    fn turn(&mut self) {
        if self.is_over || self.bytes == 0 {
            return;
        }
        let bytes = kept(self.bytes);
        if self.is_client {
            self.turns = (self.turns + 1).min(3);
            self.asked = bytes;
            if self.turns == 2 {
                self.request = bytes;
            }
        } else if self.turns >= 2 {
            self.answer(bytes);
        } else if self.turns == 1 {
            self.service = bytes;
        }
    }

    /// The latest request has a key, or may have one.
    fn is_offer(&self) -> bool {
        let beyond = |bytes: u16| bytes.saturating_sub(self.service);
        let is_padded = beyond(self.asked) == PADDED && beyond(self.request) == SHORT_NAME;
        let is_long = self.asked >= self.request.saturating_add(OFFER) || beyond(self.asked) > PADDED;
        is_long && !is_padded
    }

    fn answer(&mut self, bytes: u16) {
        let is_offer = self.is_offer();
        if self.refusal == 0 {
            (self.refusal, self.refused) = (bytes, 1);
        } else if bytes == self.refusal || (!self.is_known && bytes == self.other) {
            // Behind a banner the turn before was one as well.
            let count = u8::from(!is_offer) + u8::from(bytes != self.refusal);
            (self.refusal, self.unlike, self.is_known) = (bytes, 0, true);
            self.refused = self.refused.saturating_add(count);
        } else {
            (self.other, self.unlike) = (bytes, self.unlike + 1);
            (self.is_in, self.is_over) = (self.unlike >= IN_TURNS, self.unlike >= IN_TURNS);
        }
    }

    /// The session is over, or the client is in: puts what came of its logins, where there was a guess or somebody who mistyped.
    pub fn tell(&mut self, out: &mut dyn Output) {
        self.turn();
        self.is_over = true;
        let guesses = std::mem::take(&mut self.refused).saturating_sub(FREE);
        if guesses > 0 {
            out.facts().put_number(GUESSES, u64::from(guesses));
            if self.is_in {
                out.facts().put_number(LET_IN, 1);
            }
            out.event();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::parse::Record;

    /// Told when the connection is closed, where somebody waits for that, and not again when the flow ends.
    #[test]
    fn what_was_told_is_not_told_again() {
        let (mut logins, mut out) = (Logins::default(), Record::default());
        let turns = [&[44, 44, 60, 76][..], &[76, 76].repeat(6)].concat();
        for (turn, bytes) in turns.into_iter().enumerate() {
            logins.take(if turn % 2 == 0 { Side::Originator } else { Side::Responder }, bytes);
        }
        logins.tell(&mut out);
        assert_eq!(out.events.len(), 1);
        logins.take(Side::Originator, 76);
        logins.tell(&mut out);
        assert_eq!(out.events.len(), 1);
    }
}
