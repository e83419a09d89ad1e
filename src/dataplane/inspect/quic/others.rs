//! Connections beside the present one on the same flow: another id of the client's, or one that a Retry gave it.

use super::super::parse::{Anomaly, Output};
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
        side: Side,
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
        if scratch.is_alias(&label(packet.version, packet.dcid, side)) {
            match self.is(mark::HELLO) {
                true => self.compare(plain, scratch, out),
                false => self.handshake(plain, scratch, out),
            }
            return true;
        }
        if self.is(mark::HELLO) || self.read > 0 || !scratch.is_empty() {
            return self.another(side, plain, packet, scratch, out);
        }
        self.cid_length = 0; // there was nothing of it but the id
        false
    }

    /// A packet of another connection: its handshake bytes are put beside those of the present one, whose place it takes
    /// when its hello is whole. Gives whether it was read; not where it takes the place at once.
    #[cold]
    fn another(
        &mut self,
        side: Side,
        plain: &[u8],
        packet: &Packet<'_>,
        scratch: &mut Scratch,
        out: &mut dyn Output,
    ) -> bool {
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
        if !scratch.split(label(self.version, self.cid(), side)) {
            self.give_up_place(out);
            return false;
        }
        let wanted = label(packet.version, packet.dcid, side);
        if let Some(lane) = self.put_beside(plain, wanted, scratch, out) {
            self.give_way(None, scratch, out);
            scratch.select(lane);
            self.take_place(packet.version, packet.dcid, scratch, out);
        }
        true
    }

    /// What is there of the present connection has no room beside others: it is told as far as it goes.
    pub(super) fn give_up_place(&mut self, out: &mut dyn Output) {
        if !self.is(mark::HELLO) {
            self.tell_once(HELLO_GIVEN_UP, out);
        }
        self.event(out);
        self.cid_length = 0;
        self.mark(mark::SERVERS | mark::HELLO | mark::TOLD, false);
    }

    /// Puts handshake bytes into the lane of the connection that is `wanted`. Gives its number where its hello is whole now.
    pub(super) fn put_beside(
        &mut self,
        plain: &[u8],
        wanted: Label,
        scratch: &mut Scratch,
        out: &mut dyn Output,
    ) -> Option<usize> {
        let present = scratch.lane();
        match scratch.find(&wanted) {
            Some(lane) if scratch.is_done(lane) => return None,
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
        let lane = is_whole(scratch).then(|| scratch.lane());
        scratch.select(present);
        lane
    }

    /// The present connection leaves its place to another one: what is known of it is told, as an event or as an anomaly, and
    /// what is not waits.
    pub(super) fn give_way(&mut self, anomaly: Option<Anomaly>, scratch: &mut Scratch, out: &mut dyn Output) {
        if self.is(mark::HELLO) {
            scratch.clear_lane();
            scratch.set_done(true);
        } else if self.read > 0 && !scratch.copy(0, &mut [0]) {
            scratch.free_lane(); // its beginning is not there
            self.tell_once(HELLO_GIVEN_UP, out);
        }
        match anomaly {
            Some(anomaly) => out.anomaly(anomaly),
            None if self.is(mark::HELLO) || out.facts().get(HELLO.sni).is_some() => self.event(out),
            None => {}
        }
        self.mark(mark::SERVERS | mark::HELLO | mark::TOLD, false);
    }

    /// A connection whose hello is in the lane of the scratch is the present one.
    pub(super) fn take_place(&mut self, version: u32, cid: &[u8], scratch: &mut Scratch, out: &mut dyn Output) {
        (self.version, self.read) = (version, 0);
        self.set_cid(cid);
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

    /// A Retry: the client begins once more with the id in it, if it believes it. Until the server answers, packets with the keys of
    /// either id are read: nobody knows whether this reached the client.
    pub(super) fn retry(&mut self, bytes: &[u8], packet: &Packet<'_>, scratch: &mut Scratch, out: &mut dyn Output) {
        if self.is(mark::RETRIED) || self.is(mark::SERVERS) {
            return; // one at most, and first of all: others come of packets that were sent again
        }
        let has_token = bytes.len() > packet.number_at + TAG;
        let is_fit = has_token && packet.version == self.version && packet.scid != self.cid();
        if !is_fit || !keys::is_retry(bytes, self.version, self.cid()) {
            self.tell_once(UNAUTHENTIC_RETRY, out);
            return;
        }
        self.mark(mark::RETRIED, true);
        out.facts().put_number(RETRY, 1);
        let Some(client) = self.client else { return };
        let before = label(self.version, self.cid(), client);
        self.set_cid(packet.scid);
        scratch.rename(before, label(self.version, self.cid(), client));
    }

    /// An answer with the keys of the id before the Retry, which then did not reach the client.
    #[cold]
    pub(super) fn open_as_before<'a>(
        &mut self,
        bytes: &[u8],
        packet: &Packet<'_>,
        scratch: &mut Scratch,
        place: &'a mut [u8; PACKET_MAX],
    ) -> Option<&'a [u8]> {
        let before = scratch.alias();
        let (version, cid, client) = parts(&before)?;
        let plain = open_as(bytes, packet, (version, cid), Side::Responder, place)?;
        scratch.rename(label(self.version, self.cid(), client), before);
        self.set_cid(cid);
        Some(plain)
    }
}

/// Bytes of a Retry's tag (RFC 9001 section 5.8).
const TAG: usize = 16;

/// Whose a lane is: version, id, and which side began with it.
pub(super) fn label(version: u32, cid: &[u8], client: Side) -> Label {
    let mut label = [0; 25];
    let (head, tail) = label.split_at_mut(5);
    let [a, b, c, d] = version.to_be_bytes();
    let side = if client == Side::Responder { SECOND } else { 0 };
    head.copy_from_slice(&[a, b, c, d, side | cid.len() as u8]); // at most CID_MAX
    tail.iter_mut().zip(cid).for_each(|(place, byte)| *place = *byte);
    label
}

/// In the byte of the length: the responder began.
const SECOND: u8 = 0x80;

/// What [`label`] was made of; `None`: it is nobody's.
pub(super) fn parts(label: &Label) -> Option<(u32, &[u8], Side)> {
    let ([a, b, c, d, length], tail) = label.split_first_chunk::<5>()?;
    let client = if length & SECOND == 0 { Side::Originator } else { Side::Responder };
    let version = u32::from_be_bytes([*a, *b, *c, *d]);
    (version != 0).then_some((version, tail.get(..usize::from(length & !SECOND))?, client))
}

/// Is all of a hello in the lane that is written?
fn is_whole(scratch: &Scratch) -> bool {
    let whole = scratch.prefix();
    whole.split_first_chunk::<4>().is_some_and(|([kind, lengths @ ..], body)| {
        *kind == tls::message::CLIENT_HELLO && body.len() >= tls::length_of(*lengths)
    })
}
