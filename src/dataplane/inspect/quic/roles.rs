//! Who is the client, where both sides seal packets as only clients do.
//!
//! Anybody can seal an Initial packet of a client: a server may send one in front of the client's own, or behind it, and somebody
//! else in the name of either. What nobody can do but who received a hello is to answer it. So a hello of the other side is held
//! beside the present one, and who turns out to have answered it is the server. As long as nobody did, a port of servers tells at
//! one end alone, else who came first; the other hello is told as an anomaly.

use super::super::facts::Facts;
use super::super::parse::Output;
use super::super::scratch::Scratch;
use super::header::Packet;
use super::others::{label, parts};
use super::{HELLO_OF_BOTH_SIDES, PACKET_MAX, State, frames, keys, mark, open_as};
use crate::dataplane::flow::Side;

/// Packets of a datagram of the server's that are looked at whether they are a client's.
pub(in super::super) const TRIES: usize = 4;
/// Bytes of the id that a client begins with at least (RFC 9000 section 7.2); servers answer to what the client chose, which
/// mostly is shorter.
const ID_MIN: usize = 8;

impl State {
    /// The client is this one; the flow is told so.
    pub(super) fn set_client(&mut self, side: Side, out: &mut dyn Output) {
        self.client = Some(side);
        let is_turned = side == Side::Responder;
        if is_turned != self.is(mark::TURNED) {
            self.mark(mark::TURNED, is_turned);
            out.turn();
        }
    }

    /// An Initial packet of the server's, which its keys do not open: is it a client's? Then its handshake bytes are put beside, or
    /// it is the client from here on; it is nobody where that is still to be read.
    #[cold]
    pub(super) fn of_other_side(
        &mut self,
        side: Side,
        bytes: &[u8],
        packet: &Packet<'_>,
        scratch: &mut Scratch,
        out: &mut dyn Output,
    ) {
        if packet.dcid.len() < ID_MIN || !keys::is_known(packet.version) || keys::is_forcing(packet.version) {
            return;
        }
        let mut place = [0; PACKET_MAX];
        let Some(plain) = open_as(bytes, packet, (packet.version, packet.dcid), Side::Originator, &mut place) else {
            return;
        };
        if !frames::has_crypto(plain) {
            return;
        }
        if !scratch.split(label(self.version, self.cid(), side.other())) {
            self.tell_once(HELLO_OF_BOTH_SIDES, out);
            if self.is_rather(side) {
                self.give_up_place(out);
                self.client = None;
            }
            return;
        }
        let wanted = label(packet.version, packet.dcid, side);
        let present = scratch.lane();
        let Some(lane) = self.put_beside(plain, wanted, scratch, out) else { return };
        if self.is_rather(side) {
            self.give_way(Some(HELLO_OF_BOTH_SIDES), scratch, out);
            self.set_client(side, out);
            scratch.select(lane);
            self.take_place(packet.version, packet.dcid, scratch, out);
            return;
        }
        scratch.select(lane);
        scratch.set_done(true);
        self.tell_beside(packet, scratch, out);
        scratch.select(present);
        self.mark(mark::BESIDE, true);
    }

    /// As long as nobody answered: is this side the client rather than the one that is held to be?
    fn is_rather(&self, side: Side) -> bool {
        let serves = |side| match side {
            Side::Originator => self.is(mark::ORIGINATOR_SERVES),
            Side::Responder => self.is(mark::RESPONDER_SERVES),
        };
        !self.is(mark::SERVERS) && !serves(side) && (serves(side.other()) || !self.is(mark::HELLO))
    }

    /// Tells of a whole hello in the lane that is written what it says, and leaves all as it was.
    fn tell_beside(&self, packet: &Packet<'_>, scratch: &mut Scratch, out: &mut dyn Output) {
        let mut kept = Facts::default();
        kept.copy_from(out.facts());
        let mut other = State { version: packet.version, ..State::default() };
        other.start(out);
        other.walk_on(scratch, out);
        out.anomaly(HELLO_OF_BOTH_SIDES);
        out.facts().copy_from(&kept);
    }

    /// Does the one that is held to be the client answer a hello of the other side? Then he is the server, and the other one's
    /// connection takes the place of his.
    #[cold]
    pub(super) fn is_answer(
        &mut self,
        side: Side,
        bytes: &[u8],
        packet: &Packet<'_>,
        scratch: &mut Scratch,
        out: &mut dyn Output,
    ) -> bool {
        for (lane, label) in scratch.labels().iter().enumerate() {
            let Some((version, cid, client)) = parts(label).filter(|(.., client)| *client != side) else { continue };
            let mut place = [0; PACKET_MAX];
            if open_as(bytes, packet, (version, cid), Side::Responder, &mut place).is_none() {
                continue;
            }
            self.give_way(Some(HELLO_OF_BOTH_SIDES), scratch, out);
            self.set_client(client, out);
            scratch.select(lane);
            scratch.set_done(false);
            self.take_place(version, cid, scratch, out);
            self.mark(mark::BESIDE, false);
            return true;
        }
        false
    }
}
