//! What a connection's blocks of fields need of those before: HPACK's tables, and which requests wait for their responses.

use super::hpack::Table;
use super::requests::Requests;
use crate::dataplane::flow::Side;
use crate::dataplane::inspect::parse::Output;
use crate::dataplane::inspect::sides::Sides;

/// Requests of a connection that wait: as many as servers allow at once (Apache and h2o 100, nginx 128, Go 250).
pub(in crate::dataplane::inspect) const REQUESTS_MAX: usize = 256;

/// Memory of one connection, of a pool: [`super::State`] does without, and then tells less.
#[derive(Clone)]
pub struct Connection {
    tables: Sides<Table>,
    /// Streams of the requests that wait, the oldest first, and their first blocks.
    streams: [u32; REQUESTS_MAX],
    blocks: [u16; REQUESTS_MAX],
    count: usize,
}

impl Default for Connection {
    fn default() -> Connection {
        Connection { tables: Sides::default(), streams: [0; REQUESTS_MAX], blocks: [0; REQUESTS_MAX], count: 0 }
    }
}

/// A connection's memory with that which all share.
pub struct Memory<'a> {
    /// Its own.
    pub(in crate::dataplane::inspect) connection: &'a mut Connection,
    /// Its number, and the source that it counts for.
    pub(in crate::dataplane::inspect) number: u16,
    pub(in crate::dataplane::inspect) share: u8,
    pub(in crate::dataplane::inspect) requests: &'a mut Requests,
}

impl Connection {
    /// Forgets all, of which nothing may wait: what a flow must get.
    pub(in crate::dataplane::inspect) fn clear(&mut self) {
        self.tables.of(Side::Originator).clear();
        self.tables.of(Side::Responder).clear();
        self.count = 0;
    }

    /// Tells the request whose first block that is, for its room is needed.
    pub(in crate::dataplane::inspect) fn tell_early(
        &mut self,
        first: u16,
        requests: &mut Requests,
        out: &mut dyn Output,
    ) {
        match self.blocks.iter().take(self.count).position(|block| *block == first) {
            Some(at) => {
                self.take(at, requests, out);
                out.facts().mark_truncated();
                out.event();
            }
            None => requests.free(first), // nobody's
        }
    }

    /// Tells all that waits: the connection is over, or, early, gives way. Gives how many.
    pub(in crate::dataplane::inspect) fn tell_all(
        &mut self,
        is_early: bool,
        requests: &mut Requests,
        out: &mut dyn Output,
    ) -> usize {
        let count = self.count;
        while self.count > 0 {
            self.take(0, requests, out);
            if is_early {
                out.facts().mark_truncated();
            }
            out.event();
        }
        count
    }

    /// Forgets what waits.
    pub(in crate::dataplane::inspect) fn free_all(&mut self, requests: &mut Requests) {
        self.blocks.iter().take(self.count).for_each(|first| requests.free(*first));
        self.count = 0;
    }

    fn find(&self, stream: u32) -> Option<usize> {
        self.streams.iter().take(self.count).position(|one| *one == stream)
    }

    /// Moves the facts of one that waits to where an event is put together.
    fn take(&mut self, at: usize, requests: &mut Requests, out: &mut dyn Output) {
        out.event();
        if let Some(first) = self.blocks.get(at) {
            requests.take(*first, out.facts());
        }
        self.streams.copy_within(at + 1..self.count, at);
        self.blocks.copy_within(at + 1..self.count, at);
        self.count -= 1;
    }
}

impl Memory<'_> {
    /// The table of what `side` sends.
    pub(super) fn table(&mut self, side: Side) -> &mut Table {
        self.connection.tables.of(side)
    }

    /// Before a response is read: takes out the request that it is to. Was there one?
    pub(super) fn begin(&mut self, stream: u32, out: &mut dyn Output) -> bool {
        let Some(at) = self.connection.find(stream) else { return false };
        self.connection.take(at, self.requests, out);
        true
    }

    /// After a block that ends no exchange: what there is of it waits. Where there are too many, the oldest is told.
    pub(super) fn keep(&mut self, stream: u32, out: &mut dyn Output) {
        let connection = &mut *self.connection;
        match self.requests.keep(self.number, self.share, out.facts()) {
            Some(first) => {
                out.facts().clear();
                if connection.count == REQUESTS_MAX {
                    connection.take(0, self.requests, out);
                    out.facts().mark_truncated();
                    out.event();
                }
                let places =
                    (connection.streams.get_mut(connection.count), connection.blocks.get_mut(connection.count));
                if let (Some(place), Some(block)) = places {
                    (*place, *block) = (stream, first);
                    connection.count += 1;
                }
            }
            None => {
                out.facts().mark_truncated();
                out.event();
            }
        }
    }

    /// A stream is over: what waited of it has no response.
    pub(super) fn reset(&mut self, stream: u32, out: &mut dyn Output) {
        if self.begin(stream, out) {
            out.event();
        }
    }
}
