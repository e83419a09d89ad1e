//! Pieces of a handshake message put together over datagrams: what QUIC and DTLS need beside their state.

use crate::sys::hash::KeyedHash;

/// Bytes of a handshake message that are held at once. One with a post-quantum key share and ECH has about 2 KiB; servers
/// take 16 KiB and more.
pub const SCRATCH_BYTES: usize = 16_384;

const WORDS: usize = SCRATCH_BYTES / 64;

/// Parts of a scratch, where messages of several connections are held apart.
pub const LANES: usize = 4;
/// Bytes that are held of each at once.
pub const LANE_BYTES: usize = SCRATCH_BYTES / LANES;
/// Whose a lane is, in the words of who uses it; all 0 is nobody's.
pub type Label = [u8; 25];

/// Handshake bytes as they come: in pieces, in any order, over several datagrams. A window of [`SCRATCH_BYTES`] that may move
/// towards the end of what is read. 18.6 KB: a value for a pool, of which a flow of QUIC or DTLS needs one from datagram to
/// datagram while a hello is not whole, which mostly is never.
#[derive(Clone)]
pub struct Scratch {
    /// The byte at each offset, modulo the window's length.
    bytes: [u8; SCRATCH_BYTES],
    /// Which bytes are there.
    have: [u64; WORDS],
    /// Where the window begins; of each lane.
    begins: [usize; LANES],
    is_used: bool,
    /// Anything was set since it was clean.
    is_dirty: bool,
    /// It is in lanes; which one is read and written; whose they are; which were read; which gives way next.
    is_split: bool,
    lane: usize,
    labels: [Label; LANES],
    is_done: [bool; LANES],
    next: usize,
    /// What a lane was called before.
    alias: Label,
    /// It is gone with the datagram, so nothing is put beside.
    is_passing: bool,
    /// The queue's, for digests.
    hash: KeyedHash,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch {
            bytes: [0; SCRATCH_BYTES],
            have: [0; WORDS],
            begins: [0; LANES],
            is_used: false,
            is_dirty: false,
            is_split: false,
            lane: 0,
            labels: [[0; 25]; LANES],
            is_done: [false; LANES],
            next: 0,
            alias: [0; 25],
            is_passing: false,
            hash: KeyedHash::new([0; 4]),
        }
    }
}

/// What [`Scratch::put`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Put {
    /// Bytes contradict those that came before, which stay.
    pub is_different: bool,
    /// Bytes beyond the window were dropped.
    pub is_beyond: bool,
}

impl Scratch {
    /// One for a single datagram.
    pub fn passing() -> Scratch {
        Scratch { is_passing: true, ..Scratch::default() }
    }

    /// One whose digests nobody can foresee.
    pub fn keyed(hash: KeyedHash) -> Scratch {
        Scratch { hash, ..Scratch::default() }
    }

    /// Forgets all: what a scratch must be when a flow gets it.
    pub fn clear(&mut self) {
        if !std::mem::take(&mut self.is_dirty) {
            return;
        }
        if self.is_used {
            self.have = [0; WORDS];
        }
        (self.begins, self.is_used, self.is_split, self.lane) = ([0; LANES], false, false, 0);
        (self.labels, self.is_done, self.next) = ([[0; 25]; LANES], [false; LANES], 0);
        self.alias = [0; 25];
    }

    /// Forgets what is in the lane that is written, or all where there are none.
    pub fn clear_lane(&mut self) {
        self.words_mut().fill(0);
        self.set_begin(0);
        self.is_used &= self.is_split;
    }

    /// From here on it is in lanes; what is there is in the first, `label`'s. False where it has no room there.
    pub fn split(&mut self, label: Label) -> bool {
        let (_, beyond) = self.have.split_at(LANE_BYTES / 64);
        let fits = self.begins.first() == Some(&0) && beyond.iter().all(|word| *word == 0);
        if !self.is_split && fits && !self.is_passing {
            (self.is_split, self.is_dirty) = (true, true);
            self.labels.first_mut().into_iter().for_each(|first| *first = label);
        }
        self.is_split
    }

    /// Is it in lanes?
    pub fn is_split(&self) -> bool {
        self.is_split
    }

    /// The lane that is written.
    pub fn lane(&self) -> usize {
        self.lane
    }

    /// Writes this lane.
    pub fn select(&mut self, lane: usize) {
        self.lane = lane % LANES;
    }

    /// Says of the lane that is written whether all of its message was read.
    pub fn set_done(&mut self, is_done: bool) {
        self.is_done.get_mut(self.lane).into_iter().for_each(|one| *one = is_done);
    }

    /// The lane with this label.
    pub fn find(&self, label: &Label) -> Option<usize> {
        self.labels.iter().position(|one| one == label).filter(|_| self.is_split)
    }

    /// Had a lane another label before?
    pub fn has_alias(&self) -> bool {
        self.alias != [0; 25]
    }

    /// Is it the label that the lane had before the present one?
    pub fn is_alias(&self, label: &Label) -> bool {
        self.alias == *label
    }

    /// The lane of `before` has another label from here on.
    pub fn rename(&mut self, before: Label, after: Label) {
        (self.alias, self.is_dirty) = (before, true);
        self.labels.iter_mut().filter(|one| self.is_split && **one == before).for_each(|one| *one = after);
    }

    /// Was all of this lane read?
    pub fn is_done(&self, lane: usize) -> bool {
        self.is_done.get(lane).is_some_and(|is_done| *is_done)
    }

    /// Is there something in a lane, but for the one that is written, that was not read?
    pub fn has_others(&mut self) -> bool {
        let own = self.lane;
        let has =
            self.is_split && (0..LANES).any(|lane| lane != own && !self.is_done(lane) && !self.at(lane).is_empty());
        self.lane = own;
        has
    }

    fn at(&mut self, lane: usize) -> &Scratch {
        self.select(lane);
        self
    }

    /// Writes a lane for `label`: a free one, or one that was read, or the next one. Gives whether something unread was lost.
    pub fn take_lane(&mut self, label: Label) -> bool {
        let own = self.lane;
        let is_free = |lane: &usize| *lane != own && self.labels.get(*lane) == Some(&[0; 25]);
        let is_read = |lane: &usize| *lane != own && self.is_done(*lane);
        let lane = (0..LANES).find(is_free).or_else(|| (0..LANES).find(is_read)).unwrap_or_else(|| {
            let lane = (own + 1 + self.next) % LANES; // next is below LANES - 1
            self.next = (self.next + 1) % (LANES - 1);
            lane
        });
        let is_lost = !self.is_done(lane) && !self.at(lane).is_empty();
        self.clear_lane();
        self.set_done(false);
        self.labels.get_mut(self.lane).into_iter().for_each(|one| *one = label);
        is_lost
    }

    /// The lane that is written is nobody's.
    pub fn free_lane(&mut self) {
        self.clear_lane();
        self.set_done(false);
        self.labels.get_mut(self.lane).into_iter().for_each(|one| *one = [0; 25]);
    }

    /// Is there nothing in the lane that is written?
    pub fn is_empty(&self) -> bool {
        let (base, count) = self.window();
        self.have.iter().skip(base / 64).take(count / 64).all(|word| *word == 0)
    }

    /// Where the bytes of the lane that is written lie, and how many; a power of two.
    fn window(&self) -> (usize, usize) {
        if self.is_split { (self.lane * LANE_BYTES, LANE_BYTES) } else { (0, SCRATCH_BYTES) }
    }

    fn words_mut(&mut self) -> &mut [u64] {
        let (base, count) = self.window();
        self.have.get_mut(base / 64..(base + count) / 64).unwrap_or_default()
    }

    fn begin(&self) -> usize {
        self.begins.get(self.lane).copied().unwrap_or(0)
    }

    fn set_begin(&mut self, begin: usize) {
        self.begins.get_mut(self.lane).into_iter().for_each(|one| *one = begin);
    }

    /// Is there anything in it?
    pub fn is_used(&self) -> bool {
        self.is_used
    }

    /// Moves the window on to `begin`, if it is not there already.
    pub fn forget(&mut self, begin: usize) {
        let (base, count) = self.window();
        let from = self.begin();
        if begin.saturating_sub(from) >= count {
            self.words_mut().fill(0);
        } else {
            for at in from..begin {
                if let Some(word) = self.have.get_mut((base + at % count) / 64) {
                    *word &= !(1 << (at % 64));
                }
            }
        }
        if begin > from {
            self.set_begin(begin);
            self.is_dirty = true;
        }
    }

    /// Puts bytes where they belong; those in front of the window are not looked at. The first one to come stays.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) -> Put {
        let Ok(offset) = usize::try_from(offset) else { return Put { is_different: false, is_beyond: true } };
        let ((base, count), begin) = (self.window(), self.begin());
        let end = begin.saturating_add(count);
        let mut found = Put { is_different: false, is_beyond: offset.saturating_add(bytes.len()) > end };
        let skip = begin.saturating_sub(offset);
        for (at, byte) in (offset.saturating_add(skip)..end).zip(bytes.get(skip..).unwrap_or_default()) {
            let at = base + (at & (count - 1)); // a power of two
            if let (Some(place), Some(word)) = (self.bytes.get_mut(at), self.have.get_mut(at / 64)) {
                let bit = 1 << (at % 64);
                found.is_different |= *word & bit != 0 && *place != *byte;
                if *word & bit == 0 {
                    *place = *byte;
                    *word |= bit;
                    (self.is_used, self.is_dirty) = (true, true);
                }
            }
        }
        found
    }

    /// Copies what is at `offset`. Gives whether all of it is there.
    pub fn copy(&self, offset: usize, into: &mut [u8]) -> bool {
        let ((base, count), begin) = (self.window(), self.begin());
        let is_within = offset >= begin && offset + into.len() <= begin + count;
        is_within
            && (offset..).zip(into).all(|(at, place)| {
                let at = base + (at & (count - 1)); // a power of two
                match (self.bytes.get(at), self.have.get(at / 64)) {
                    (Some(byte), Some(word)) if word >> (at % 64) & 1 == 1 => {
                        *place = *byte;
                        true
                    }
                    _ => false,
                }
            })
    }

    /// The bytes from the first on, without a hole, where the window did not move.
    pub fn prefix(&self) -> &[u8] {
        let (base, count) = self.window();
        let words = self.have.get(base / 64..(base + count) / 64).unwrap_or_default();
        let whole = words.iter().take_while(|word| **word == u64::MAX).count();
        let rest = words.get(whole).map_or(0, |word| word.trailing_ones() as usize);
        self.bytes.get(base..base + whole * 64 + rest).unwrap_or_default()
    }

    /// Keyed digest of the first `length` bytes, which is never 0; `None` where they are not all there, or the window moved.
    pub fn digest(&self, length: usize) -> Option<u32> {
        let bytes = self.prefix().get(..length).filter(|_| self.begin() == 0)?;
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
        let add = |sum: u64, word: &[u8; 8]| self.hash.hash_pair([sum, u64::from_le_bytes(*word)]);
        let sum = words.iter().chain([&last]).fold(length as u64, add);
        Some(sum as u32 | 1) // the lower half
    }
}
