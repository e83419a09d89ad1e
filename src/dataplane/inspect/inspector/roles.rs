//! Who serves of a connection that was met in its midst: what its sides say first overrules the ports.

use super::super::protocol::Protocol;
use super::super::servers::{self, WORDS_MAX};
use super::super::session::look;
use super::super::stream::{Buffers, Stream};
use super::{Entry, Payload};
use crate::dataplane::flow::Side;

impl Entry {
    /// Do the first words of the side that sent this tell who serves? Asked until they do, or the protocol is told, of the first
    /// [`WORDS_MAX`] bytes of either side, however they are cut.
    #[cold]
    pub(super) fn ask_who_serves(&mut self, payload: &Payload<'_>, buffers: &Buffers) {
        let is_known = self.parser.protocol() != Protocol::Unknown || self.first != Protocol::Unknown;
        if is_known || self.is_contested() || self.is_former || self.sides.iter().any(|side| side.passed() > 0) {
            self.turns.is_doubted = false;
            return;
        }
        let side = if self.is_turned { payload.side.other() } else { payload.side };
        let mut room = [0; WORDS_MAX];
        let words = self.sides.get(side as usize).and_then(|stream| words(stream, payload, buffers, &mut room));
        let Some(is_server) = words.and_then(servers::speaks) else { return };
        self.turns.is_doubted = false;
        if is_server == (side == Side::Originator) {
            self.turn(payload, buffers);
        }
    }

    /// The sides change their roles, and what they said is looked at anew.
    fn turn(&mut self, payload: &Payload<'_>, buffers: &Buffers) {
        self.is_turned = !self.is_turned;
        self.turns.turn();
        self.sides.reverse();
        self.receipts.reverse();
        self.done.reverse();
        self.candidates.turn(self.done);
        let payload = if self.is_turned { payload.turned() } else { *payload };
        let other = payload.side.other();
        let waiting = self.sides.get(other as usize).map_or(&[][..], |stream| stream.waiting(buffers));
        if !waiting.is_empty() {
            // What it is after all is told with its next words, or with those that made this sure.
            _ = self.candidates.identify(&look(&payload, other, waiting));
        }
    }
}

/// The first words of a side so far, those in this payload among them; `None` where they do not follow what came, or it brings
/// none.
fn words<'a>(
    stream: &Stream,
    payload: &Payload<'a>,
    buffers: &Buffers,
    room: &'a mut [u8; WORDS_MAX],
) -> Option<&'a [u8]> {
    let waiting = stream.waiting(buffers);
    let sequence = payload.tcp?.sequence;
    let at = sequence.wrapping_sub(stream.expected().unwrap_or(sequence)); // far off where it lies before
    let known = waiting.len().checked_sub(usize::try_from(at).ok()?)?;
    let new = payload.bytes.get(known..).filter(|new| !new.is_empty())?;
    if stream.is_done() || waiting.len() >= WORDS_MAX {
        return None;
    }
    if waiting.is_empty() {
        return Some(new);
    }
    let mut count = 0;
    for (to, from) in room.iter_mut().zip(waiting.iter().chain(new)) {
        *to = *from;
        count += 1;
    }
    room.get(..count)
}
