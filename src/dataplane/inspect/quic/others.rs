//! Connections beside the present one on the same flow: another id of the client's, or one that a Retry gave it.

use super::super::parse::Output;
use super::super::scratch::{Label, Scratch};
use super::super::tls;
use super::header::Packet;
use super::{
    HELLO, HELLO_GIVEN_UP, HELLO_REPEATED, OVERLAP_DIFFERENT, PACKET_MAX, RETRY, State, TOO_FAR_AHEAD,
    UNAUTHENTIC_RETRY, frames, keys, mark, open_as,
};
use crate::dataplane::flow::Side;

impl State {
    /// Is it an Initial packet of another connection, which another id and its own keys tell? (Once the server has spoken the
    /// client uses an id of the server's, and the keys stay.) Then it was read; where it is the first one of all that is of use,
    /// that is left to the caller.
    pub(super) fn is_of_another(
        &mut self,
        bytes: &[u8],
        packet: &Packet<'_>,
        scratch: &mut Scratch,
        out: &mut dyn Output,
    ) -> bool {
        let is_same = packet.dcid == self.cid() && packet.version == self.version;
        let is_first = self.cid_length == 0 && !self.is(mark::HELLO);
        if is_first || is_same || !keys::is_known(packet.version) || keys::is_forcing(packet.version) {
            return false;
        }
        let mut place = [0; PACKET_MAX];
        let Some(plain) = open_as(bytes, packet, (packet.version, packet.dcid), Side::Originator, &mut place) else {
            return false;
        };
        if scratch.is_alias(&label(packet.version, packet.dcid)) {
            return self.is(mark::HELLO) || self.handshake(plain, scratch, out);
        }
        if self.is(mark::HELLO) || self.read > 0 || !scratch.is_empty() {
            return self.another(plain, packet, scratch, out);
        }
        self.cid_length = 0; // there was nothing of it but the id
        false
    }

    /// A packet of another connection: its handshake bytes are put beside those of the present one, whose place it takes
    /// when its hello is whole. Gives whether it was read; not where it takes the place at once.
    #[cold]
    fn another(&mut self, plain: &[u8], packet: &Packet<'_>, scratch: &mut Scratch, out: &mut dyn Output) -> bool {
        if !self.is(mark::HELLO) {
            self.packets = self.packets.saturating_add(1);
        }
        if !frames::has_crypto(plain) {
            return true;
        }
        if !self.is(mark::REPEATED) {
            self.mark(mark::REPEATED, true);
            out.anomaly(HELLO_REPEATED);
        }
        let own = label(self.version, self.cid());
        if !scratch.split(own) {
            // What is there has no room beside others.
            if !self.is(mark::HELLO) {
                self.tell_once(HELLO_GIVEN_UP, out);
            }
            self.event(out);
            self.cid_length = 0;
            self.mark(mark::SERVERS | mark::HELLO | mark::TOLD, false);
            return false;
        }
        let present = scratch.lane();
        let wanted = label(packet.version, packet.dcid);
        match scratch.find(&wanted) {
            Some(lane) if scratch.is_done(lane) => return true,
            Some(lane) => scratch.select(lane),
            None if scratch.take_lane(wanted) => self.tell_once(HELLO_GIVEN_UP, out),
            None => {}
        }
        let found = frames::sort(plain, scratch).put;
        for (_, anomaly) in
            [(found.is_different, OVERLAP_DIFFERENT), (found.is_beyond, TOO_FAR_AHEAD)].iter().filter(|one| one.0)
        {
            self.tell_once(*anomaly, out);
        }
        let lane = scratch.lane();
        let is_whole = is_whole(scratch);
        scratch.select(present);
        if is_whole {
            self.give_way(scratch, out);
            scratch.select(lane);
            self.take_place(packet, scratch, out);
        }
        true
    }

    /// The present connection leaves its place to another one: what is known of it is told, and what is not waits.
    fn give_way(&mut self, scratch: &mut Scratch, out: &mut dyn Output) {
        if self.is(mark::HELLO) {
            scratch.clear_lane();
            scratch.set_done(true);
        } else if self.read > 0 && !scratch.copy(0, &mut [0]) {
            scratch.free_lane(); // its beginning is not there
            self.tell_once(HELLO_GIVEN_UP, out);
        }
        if self.is(mark::HELLO) || out.facts().get(HELLO.sni).is_some() {
            self.event(out);
        }
        self.mark(mark::SERVERS | mark::HELLO | mark::TOLD, false);
    }

    /// A connection whose hello is whole in the lane of the scratch.
    fn take_place(&mut self, packet: &Packet<'_>, scratch: &mut Scratch, out: &mut dyn Output) {
        (self.version, self.read) = (packet.version, 0);
        self.set_cid(packet.dcid);
        self.start(out);
        self.read_hello(scratch, out);
    }

    /// The server's hello is whole, but not those of other connections: is there anything to wait for?
    pub(super) fn waits_for_others(&mut self, scratch: &mut Scratch, out: &mut dyn Output) -> bool {
        if self.is(mark::TOLD) || !scratch.has_others() {
            return false;
        }
        self.event(out);
        self.mark(mark::TOLD, true);
        scratch.clear_lane();
        scratch.set_done(true);
        true
    }

    /// A Retry: the client begins once more with the id in it, if it believes it.
    pub(super) fn retry(&mut self, bytes: &[u8], packet: &Packet<'_>, scratch: &mut Scratch, out: &mut dyn Output) {
        if self.is(mark::RETRIED) || self.is(mark::SERVERS) {
            return; // one at most, and first of all: others come of packets that were sent again
        }
        if packet.scid == self.cid() || !keys::is_retry(bytes, self.version, self.cid()) {
            self.tell_once(UNAUTHENTIC_RETRY, out);
            return;
        }
        self.mark(mark::RETRIED, true);
        out.facts().put_number(RETRY, 1);
        let before = label(self.version, self.cid());
        self.set_cid(packet.scid);
        scratch.rename(before, label(self.version, self.cid()));
    }
}

/// Whose a lane is: version and id.
fn label(version: u32, cid: &[u8]) -> Label {
    let mut label = [0; 25];
    let (head, tail) = label.split_at_mut(5);
    let [a, b, c, d] = version.to_be_bytes();
    head.copy_from_slice(&[a, b, c, d, cid.len() as u8]); // at most CID_MAX
    tail.iter_mut().zip(cid).for_each(|(place, byte)| *place = *byte);
    label
}

/// Is all of a hello in the lane that is written?
fn is_whole(scratch: &Scratch) -> bool {
    let whole = scratch.prefix();
    whole.split_first_chunk::<4>().is_some_and(|([kind, lengths @ ..], body)| {
        *kind == tls::message::CLIENT_HELLO && body.len() >= tls::length_of(*lengths)
    })
}
