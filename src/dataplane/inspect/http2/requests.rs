//! Requests that wait for their responses: those of all connections of a queue in one pool of blocks, of which each takes
//! as many as its facts need. What a connection knows of its own is the stream and the first block.
//!
//! Blocks are only taken where there are free ones: who is to keep a request first asks whose is in the way
//! ([`Requests::in_the_way`]), tells that one, and frees it.

use super::FACTS;
use crate::dataplane::inspect::facts::{Facts, HEADER as FACT_HEADER};
use crate::dataplane::inspect::places::Places;

/// Blocks of a queue: 65 a connection, so that all of them have room for some thirty requests each, and a quarter of them,
/// one source's share, for some two thousand.
pub const BLOCKS: u16 = 16 * 1024;
/// Bytes of one: a request of a browser has some 280, one of gRPC some 150.
pub const BLOCK_BYTES: usize = 192;
/// Those of the longest request: its facts at their limits.
pub(in crate::dataplane::inspect) const LONGEST: usize = {
    let (mut bytes, mut left) = (0, FACTS);
    while let [fact, rest @ ..] = left {
        (bytes, left) = (bytes + FACT_HEADER + fact.limit as usize, rest);
    }
    bytes.div_ceil(BLOCK_BYTES)
};
/// No block.
const NONE: u16 = u16::MAX;

/// The pool.
pub struct Requests {
    blocks: Vec<Block>,
    bytes: Vec<[u8; BLOCK_BYTES]>,
    places: Places,
}

/// What is known of a block.
#[derive(Clone, Copy, Default)]
struct Block {
    /// Of the same request.
    next: u16,
    /// Bytes of its facts.
    length: u16,
    is_cut: bool,
    whose: Whose,
}

/// Whose a request is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in crate::dataplane::inspect) struct Whose {
    /// Number of its connection.
    pub(in crate::dataplane::inspect) connection: u16,
    /// Its first block.
    pub(in crate::dataplane::inspect) first: u16,
}

impl Requests {
    /// Memory of each block.
    pub(in crate::dataplane::inspect) const MEMORY: usize = size_of::<Block>() + BLOCK_BYTES + Places::BYTES;

    /// Takes memory for so many blocks.
    pub(in crate::dataplane::inspect) fn new(count: u16) -> Requests {
        let count = usize::from(count);
        Requests {
            blocks: vec![Block::default(); count],
            bytes: vec![[0; BLOCK_BYTES]; count],
            places: Places::new(count),
        }
    }

    /// Whose request has to give way, if one more is to be kept for this source: the oldest of its own where it has its share,
    /// else the oldest of all.
    pub(in crate::dataplane::inspect) fn in_the_way(&self, share: u8) -> Option<Whose> {
        let index = self.places.in_the_way(share, LONGEST)?;
        self.blocks.get(index as usize).map(|block| block.whose)
    }

    /// Keeps a request; gives its first block, or `None` where there is no room.
    pub(super) fn keep(&mut self, connection: u16, share: u8, facts: &Facts) -> Option<u16> {
        if self.in_the_way(share).is_some() {
            return None;
        }
        let list = facts.as_bytes();
        let (mut first, mut last) = (NONE, NONE);
        for part in list.chunks(BLOCK_BYTES) {
            let Some(index) = self.places.take_free(share) else {
                self.free(first);
                return None;
            };
            let index = index as u16; // below BLOCKS
            first = if first == NONE { index } else { first };
            if let Some(before) = self.blocks.get_mut(usize::from(last)) {
                before.next = index;
            }
            let block = self.blocks.get_mut(usize::from(index))?;
            let (length, is_cut) = (list.len() as u16, facts.is_truncated()); // at most FACTS_BYTES
            *block = Block { next: NONE, length, is_cut, whose: Whose { connection, first } };
            let place = self.bytes.get_mut(usize::from(index)).and_then(|bytes| bytes.get_mut(..part.len()));
            place.into_iter().for_each(|place| place.copy_from_slice(part));
            last = index;
        }
        (first != NONE).then_some(first)
    }

    /// Moves a request to where an event is put together.
    pub(super) fn take(&mut self, first: u16, facts: &mut Facts) {
        if let Some(Block { length, is_cut, .. }) = self.blocks.get(usize::from(first)).copied() {
            facts.restore(&[], is_cut);
            let (mut at, mut left) = (first, usize::from(length));
            while let (Some(block), Some(bytes)) = (self.blocks.get(usize::from(at)), self.bytes.get(usize::from(at))) {
                let part = bytes.get(..left.min(BLOCK_BYTES)).unwrap_or_default();
                facts.restore_more(part);
                (at, left) = (block.next, left - part.len());
            }
        }
        self.free(first);
    }

    /// Gives back the blocks of a request.
    pub(super) fn free(&mut self, first: u16) {
        let mut at = first;
        while let Some(block) = self.blocks.get(usize::from(at)) {
            self.places.give_back(at.into());
            at = block.next;
        }
    }

    /// Blocks in use.
    #[cfg(test)]
    pub(in crate::dataplane::inspect) fn used(&self) -> usize {
        self.places.used()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{METHOD, PATH, USER_AGENT};
    use super::*;

    fn facts(bytes: usize) -> Facts {
        let mut facts = Facts::default();
        facts.put(METHOD, b"GET");
        facts.put(PATH, &vec![b'p'; bytes.min(1000)]);
        facts.put(USER_AGENT, &vec![b'u'; bytes.saturating_sub(1000)]);
        facts
    }

    #[test]
    fn what_is_kept_comes_back_whatever_its_length() {
        let mut requests = Requests::new(30);
        for bytes in [0, 1, 176, 177, 178, 500, 1400] {
            let mut before = facts(bytes);
            if bytes % 2 == 1 {
                before.mark_truncated();
            }
            let first = requests.keep(7, 1, &before).unwrap();
            assert_eq!(requests.used(), before.as_bytes().len().div_ceil(BLOCK_BYTES));
            let mut after = facts(3);
            requests.take(first, &mut after);
            let same = (after.as_bytes(), after.is_truncated()) == (before.as_bytes(), before.is_truncated());
            assert!(same && requests.used() == 0, "{bytes}");
        }
    }

    #[test]
    fn a_source_gives_way_to_itself_and_else_the_oldest_does() {
        let mut requests = Requests::new(64);
        // A stranger's, then one source's until there are not enough for all and it has more than its share.
        let oldest = requests.keep(1, 9, &facts(100)).unwrap();
        let own: Vec<u16> = (0..100).map_while(|_| requests.keep(2, 3, &facts(300))).collect();
        assert_eq!((own.len(), requests.used()), (16, 33), "two blocks each");
        assert_eq!(requests.in_the_way(3), Some(Whose { connection: 2, first: own[0] }));
        assert_eq!(requests.in_the_way(4), None, "there is room for others");
        let others = (10..200).map_while(|share| requests.keep(3, share, &facts(100))).count();
        assert_eq!((others, requests.used()), (64 - 33 - LONGEST + 1, 64 - LONGEST + 1));
        assert_eq!(requests.in_the_way(200), Some(Whose { connection: 1, first: oldest }));
        requests.free(oldest);
        assert_eq!(requests.in_the_way(200), None);
        assert!(requests.keep(3, 200, &facts(1400)).is_some());
    }
}
