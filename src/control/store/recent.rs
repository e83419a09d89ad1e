//! The newest rows in memory, for those who poll and follow: they never touch the file.

use super::database::Extent;
use super::{Cursor, Filter, Page, ReadError, Stored};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Newest rows kept in memory for those who poll and follow; some 3 MB. Too small: every poller goes to the file.
pub const RECENT_ROWS: usize = 4_096;

/// The newest rows, without gap up to `extent.last`.
pub(super) struct Recent {
    rows: VecDeque<Arc<Stored>>,
    pub(super) extent: Extent,
}

impl Recent {
    pub(super) fn new(extent: Extent, newest: Vec<Arc<Stored>>) -> Recent {
        Recent { rows: newest.into(), extent }
    }

    pub(super) fn extend(&mut self, extent: Extent, stored: Vec<Arc<Stored>>) {
        // A commit whose answer was lost leaves rows on the disk that we do not hold: begin behind the gap.
        let gap = stored.len() as u64 != extent.last - self.extent.last;
        if gap {
            self.rows.clear();
        }
        if !gap || stored.last().is_some_and(|row| row.sequence == extent.last) {
            self.rows.extend(stored);
        }
        while self.rows.len() > RECENT_ROWS || self.rows.front().is_some_and(|row| row.sequence <= extent.floor) {
            self.rows.pop_front();
        }
        self.extent = extent;
    }

    /// Everything after this sequence number is held.
    fn start(&self) -> u64 {
        self.rows.front().map_or(self.extent.last, |row| row.sequence - 1)
    }

    pub(super) fn after(
        &self,
        after: Option<Cursor>,
        filter: &Filter,
        limit: usize,
    ) -> Option<Result<Page, ReadError>> {
        let extent = self.extent;
        let after = match after {
            Some(cursor)
                if cursor.epoch != extent.epoch || cursor.sequence < extent.floor || cursor.sequence > extent.last =>
            {
                return Some(Err(ReadError::Expired));
            }
            Some(cursor) => cursor.sequence,
            None => extent.floor,
        };
        let skip = usize::try_from(after.checked_sub(self.start())?).ok()?;
        let mut reached = extent.last;
        let mut items = Vec::new();
        for row in self.rows.iter().skip(skip).filter(|row| filter.passes(row)) {
            items.push(Arc::clone(row));
            if items.len() == limit {
                reached = row.sequence;
                break;
            }
        }
        let next = Cursor { epoch: extent.epoch, sequence: reached };
        Some(Ok(Page { items, next, has_more: reached < extent.last }))
    }

    pub(super) fn newest(&self, filter: &Filter, count: usize) -> Option<Page> {
        self.newest_where(count, |row| filter.passes(row))
    }

    pub(super) fn newest_of_each(&self, filter: &Filter, count: usize) -> Option<Page> {
        let mut seen = HashSet::new();
        self.newest_where(count, |row| filter.passes(row) && seen.insert(row.id.clone()))
    }

    /// The newest rows that `passes`, asked from the newest on.
    fn newest_where(&self, count: usize, mut passes: impl FnMut(&Stored) -> bool) -> Option<Page> {
        let mut items: Vec<_> = self.rows.iter().rev().filter(|row| passes(row)).take(count).cloned().collect();
        if items.len() < count && self.start() > self.extent.floor {
            return None;
        }
        items.reverse();
        let next = Cursor { epoch: self.extent.epoch, sequence: self.extent.last };
        Some(Page { items, next, has_more: false })
    }
}
