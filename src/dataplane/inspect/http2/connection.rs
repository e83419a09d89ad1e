//! What a connection's blocks of fields need of those before: HPACK's tables, and requests that wait for their responses.

use super::hpack::Table;
use crate::dataplane::flow::Side;
use crate::dataplane::inspect::parse::Output;
use crate::dataplane::inspect::sides::Sides;

/// Bytes of requests that wait.
pub(in crate::dataplane::inspect) const WAITING_BYTES: usize = 8 * 1024;
/// What is free of them before a request is read: more than any has.
const ROOM_BYTES: usize = 3 * 1024;
/// In front of each: stream, length, whether it was cut.
const HEAD: usize = 7;

/// Memory of one connection, of a pool: [`super::State`] does without, and then tells less.
#[derive(Clone)]
pub struct Connection {
    tables: Sides<Table>,
    /// Facts of requests, the oldest first.
    waiting: [u8; WAITING_BYTES],
    used: usize,
}

impl Default for Connection {
    fn default() -> Connection {
        Connection { tables: Sides::default(), waiting: [0; WAITING_BYTES], used: 0 }
    }
}

/// Where a request that waits lies.
struct Place {
    begin: usize,
    end: usize,
    stream: u32,
    is_cut: bool,
}

impl Connection {
    /// Forgets all: what a flow must get.
    pub fn clear(&mut self) {
        self.tables.of(Side::Originator).clear();
        self.tables.of(Side::Responder).clear();
        self.used = 0;
    }

    /// The table of what `side` sends.
    pub(super) fn table(&mut self, side: Side) -> &mut Table {
        self.tables.of(side)
    }

    /// Before a block is read: makes room for a request, or takes the one out that a response is to. Was there one?
    pub(super) fn begin(&mut self, side: Side, stream: u32, out: &mut dyn Output) -> bool {
        if side == Side::Responder {
            return self.take(Some(stream), out);
        }
        while WAITING_BYTES - self.used < ROOM_BYTES && self.take(None, out) {
            out.event();
        }
        false
    }

    /// After a block that ends no exchange: keeps what there is of it.
    pub(super) fn keep(&mut self, stream: u32, is_something: bool, out: &mut dyn Output) {
        let facts = out.facts();
        let list = facts.as_bytes();
        if is_something {
            let end = self.used + HEAD + list.len();
            let Some(place) = self.waiting.get_mut(self.used..end) else { return out.event() };
            let (head, body) = place.split_at_mut(HEAD);
            let [a, b, c, d] = stream.to_be_bytes();
            let [high, low] = (list.len() as u16).to_be_bytes(); // at most FACTS_BYTES
            head.copy_from_slice(&[a, b, c, d, high, low, facts.is_truncated().into()]);
            body.copy_from_slice(list);
            self.used = end;
        }
        facts.clear();
    }

    /// A stream is over: what waited of it has no response.
    pub(super) fn reset(&mut self, stream: u32, out: &mut dyn Output) {
        if self.take(Some(stream), out) {
            out.event();
        }
    }

    /// Tells all that waits: the connection is over.
    pub fn tell_all(&mut self, out: &mut dyn Output) {
        while self.take(None, out) {
            out.event();
        }
    }

    /// Moves the facts of this stream, or the oldest ones, to where an event is put together.
    fn take(&mut self, stream: Option<u32>, out: &mut dyn Output) -> bool {
        let mut at = 0;
        while let Some(place) = self.place(at) {
            if stream.is_none_or(|stream| stream == place.stream) {
                out.event();
                out.facts().restore(self.waiting.get(place.begin..place.end).unwrap_or_default(), place.is_cut);
                self.waiting.copy_within(place.end..self.used, at);
                self.used -= place.end - at;
                return true;
            }
            at = place.end;
        }
        false
    }

    fn place(&self, at: usize) -> Option<Place> {
        let rest = self.waiting.get(at..self.used)?;
        let [a, b, c, d, high, low, is_cut] = *rest.first_chunk::<HEAD>()?;
        let (begin, stream) = (at + HEAD, u32::from_be_bytes([a, b, c, d]));
        let end = begin + usize::from(u16::from_be_bytes([high, low]));
        Some(Place { begin, end, stream, is_cut: is_cut != 0 })
    }
}
