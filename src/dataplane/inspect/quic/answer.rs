//! The server's datagrams: its hello, or what it says instead.

use super::super::parse::Output;
use super::super::scratch::Scratch;
use super::super::tls::{self, hello};
use super::header::{self, Kind, Packet};
use super::{
    CIPHER_NOT_OFFERED, CLOSE, COALESCED_MAX, HELLO, NEGOTIATION, OVERLAP_DIFFERENT, PACKET_MAX, Read, State,
    TOO_MANY_PACKETS, TRIES, frames, mark,
};
use crate::dataplane::flow::Side;

impl State {
    /// A datagram of the server.
    pub(super) fn server<'a>(
        &mut self,
        side: Side,
        bytes: &'a [u8],
        scratch: &mut Scratch,
        out: &mut dyn Output,
    ) -> Read<'a> {
        let mut rest = bytes;
        for at in 0..COALESCED_MAX {
            let Some(packet) = header::read(rest) else { break };
            let after = rest.get(packet.total..).unwrap_or_default();
            match packet.kind {
                Kind::Negotiation => {
                    self.mark(mark::NEGOTIATED, true);
                    out.facts().put_number(NEGOTIATION, 1);
                    return Read::On;
                }
                Kind::Retry => {
                    self.retry(rest, &packet, scratch, out);
                    return Read::On;
                }
                Kind::Initial => match self.server_initial(rest, &packet, scratch, out) {
                    Some(true) => return Read::Over,
                    Some(false) => {}
                    None if at < TRIES => {
                        self.of_other_side(side, rest, &packet, scratch, out);
                        match self.client {
                            None => return Read::Turned(rest),
                            Some(client) if client == side => return Read::Turned(after),
                            Some(_) => {}
                        }
                    }
                    None => {}
                },
                Kind::Other => {} // its Initial may come behind
            }
            rest = after;
        }
        if header::read(rest).is_some() {
            self.tell_once(TOO_MANY_PACKETS, out);
        }
        if self.count_answer(out) { Read::Over } else { Read::On }
    }

    /// An Initial packet of the server. Gives whether its hello is whole now, or it refuses; `None`: it could not be read.
    fn server_initial(
        &mut self,
        bytes: &[u8],
        packet: &Packet<'_>,
        scratch: &mut Scratch,
        out: &mut dyn Output,
    ) -> Option<bool> {
        if !self.is(mark::HELLO) || self.is(mark::TOLD) {
            return None; // late, or lost: the scratch is the client's
        }
        let (mut place, mut again) = ([0; PACKET_MAX], None);
        let plain = match self.open(bytes, packet, Side::Responder, &mut place) {
            None if scratch.has_alias() => {
                let again = again.insert([0; PACKET_MAX]);
                self.open_as_before(bytes, packet, scratch, again)?
            }
            plain => plain?,
        };
        if !self.is(mark::SERVERS) {
            scratch.clear_lane();
            self.mark(mark::SERVERS, true);
        }
        let sorted = frames::sort(plain, scratch);
        if sorted.put.is_different {
            self.tell_once(OVERLAP_DIFFERENT, out);
        }
        if let Some(code) = sorted.close {
            out.facts().put_number(CLOSE, code);
            return Some(true);
        }
        Some(self.read_server_hello(scratch, out))
    }

    /// Reads the server's hello, or the one after a HelloRetryRequest. Gives whether it was whole.
    fn read_server_hello(&mut self, scratch: &Scratch, out: &mut dyn Output) -> bool {
        let mut rest = scratch.prefix();
        for _ in 0..2 {
            let Some(([tls::message::SERVER_HELLO, lengths @ ..], after)) = rest.split_first_chunk::<4>() else {
                break;
            };
            let Some((body, after)) = after.split_at_checked(tls::length_of(*lengths)) else { break };
            let seen = hello::server(body, false, &HELLO, out.facts());
            if seen.is_cipher_odd {
                out.anomaly(CIPHER_NOT_OFFERED);
            }
            if !seen.is_retry {
                return true;
            }
            rest = after;
        }
        false
    }
}
