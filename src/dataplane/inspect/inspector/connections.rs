//! What flows of HTTP/2 need beside their entry: from a pool, for as long as they are inspected.

use super::super::counts::{Cause, Counts};
use super::super::http2::Connection;
use super::{Direction, FlowKey, Payload};
use crate::units::Timestamp;

/// Connections of HTTP/2 at once with memory for their tables and for requests that wait; 20.2 KiB each. One more is read
/// without.
pub const CONNECTIONS: u16 = 256;

/// The pool.
pub(in super::super) struct Connections {
    all: Vec<Owned>,
    free: Vec<u16>,
}

/// One of them, and whose it is.
#[derive(Clone, Default)]
pub(super) struct Owned {
    pub(super) connection: Connection,
    pub(super) key: FlowKey,
    pub(super) originator: Direction,
    pub(super) first_seen: Timestamp,
}

impl Connections {
    pub(super) fn new(count: u16) -> Connections {
        Connections { all: vec![Owned::default(); usize::from(count)], free: (0..count).rev().collect() }
    }

    /// That of a flow; a fresh one where it has none. `None`: there are no more.
    pub(in super::super) fn of_flow(
        &mut self,
        index: &mut Option<u16>,
        payload: &Payload<'_>,
        counts: &mut Counts,
    ) -> Option<&mut Connection> {
        let is_new = index.is_none();
        if is_new {
            *index = self.free.pop();
            counts.note(Cause::ConnectionsFull, u64::from(index.is_none()));
        }
        let owned = self.all.get_mut(usize::from((*index)?))?;
        if is_new {
            owned.connection.clear();
            (owned.key, owned.originator) = (*payload.key, payload.originator);
            owned.first_seen = payload.first_seen;
        }
        Some(&mut owned.connection)
    }

    pub(super) fn get(&mut self, index: Option<u16>) -> Option<&mut Owned> {
        self.all.get_mut(usize::from(index?))
    }

    /// Back among the free ones.
    pub(super) fn give_back(&mut self, index: Option<u16>) {
        self.free.extend(index); // it came from there
    }
}
