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

    /// Begins with what is `label`'s: in the lane that is written, or as all there is where there are none.
    pub fn restart(&mut self, label: Label) {
        if !self.is_split {
            return self.clear();
        }
        self.clear_lane();
        self.set_done(false);
        self.alias = [0; 25];
        self.labels.get_mut(self.lane).into_iter().for_each(|one| *one = label);
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

    /// What a lane was called before the present label; all 0: nothing.
    pub fn alias(&self) -> Label {
        self.alias
    }

    /// Whose each lane is, where there are any.
    pub fn labels(&self) -> [Label; LANES] {
        if self.is_split { self.labels } else { [[0; 25]; LANES] }
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
        let mut at = offset.saturating_add(skip);
        let bytes = bytes.get(skip..).unwrap_or_default();
        let mut rest = bytes.get(..end.saturating_sub(at)).unwrap_or(bytes);
        while !rest.is_empty() {
            let place = base + (at & (count - 1)); // a power of two
            let (piece, after) = rest.split_at(rest.len().min(64 - place % 64));
            found.is_different |= self.put_piece(place, piece);
            (at, rest) = (at + piece.len(), after);
        }
        found
    }

    /// Puts bytes whose bits are in one word. Do they contradict what is there?
    fn put_piece(&mut self, place: usize, piece: &[u8]) -> bool {
        let (places, word) = (self.bytes.get_mut(place..place + piece.len()), self.have.get_mut(place / 64));
        let (Some(places), Some(word)) = (places, word) else { return false };
        let mask = mask(place, piece.len());
        let before = std::mem::replace(word, *word | mask);
        if before & mask == 0 {
            places.copy_from_slice(piece);
            (self.is_used, self.is_dirty) = (true, true);
            return false;
        }
        let mut is_different = false;
        for (at, (place, byte)) in (place % 64..).zip(places.iter_mut().zip(piece)) {
            if before >> at & 1 == 0 {
                *place = *byte;
            }
            is_different |= *place != *byte;
        }
        is_different
    }

    /// Copies what is at `offset`. Gives whether all of it is there.
    pub fn copy(&self, offset: usize, into: &mut [u8]) -> bool {
        let ((base, count), begin) = (self.window(), self.begin());
        if offset < begin || offset + into.len() > begin + count {
            return false;
        }
        let (mut at, mut rest) = (offset, into);
        while !rest.is_empty() {
            let place = base + (at & (count - 1)); // a power of two
            let (piece, after) = rest.split_at_mut(rest.len().min(64 - place % 64));
            let mask = mask(place, piece.len());
            match (self.bytes.get(place..place + piece.len()), self.have.get(place / 64)) {
                (Some(bytes), Some(word)) if word & mask == mask => piece.copy_from_slice(bytes),
                _ => return false,
            }
            (at, rest) = (at + piece.len(), after);
        }
        true
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

/// The bits of 1 to 64 bytes from `place` on that are in one word.
fn mask(place: usize, length: usize) -> u64 {
    u64::MAX >> (64 - length) << (place % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Random(u32);

    impl Random {
        fn below(&mut self, count: usize) -> usize {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 8) as usize % count
        }
    }

    /// Pieces anywhere, against an array of which byte came first; the window moves on, and lanes do not touch one another.
    #[test]
    fn a_window_has_the_first_copy_of_each_byte() {
        for (seed, is_split) in [(1, false), (2, true), (3, true), (4, false)] {
            let (mut random, mut scratch) = (Random(seed), Scratch::default());
            assert!(scratch.split([1; 25]));
            if !is_split {
                scratch.clear();
            }
            let window = if is_split { LANE_BYTES } else { SCRATCH_BYTES };
            let lanes = if is_split { LANES } else { 1 };
            let mut models = vec![(0_usize, vec![None; 5 * SCRATCH_BYTES]); lanes];
            for _ in 0..3000 {
                let lane = random.below(lanes);
                scratch.select(lane);
                let (begin, model) = &mut models[lane];
                let offset = begin.saturating_sub(50) + random.below(window + 200);
                match random.below(10) {
                    0 if *begin + 3 * window < model.len() => {
                        let far = if random.below(20) == 0 { window + 100 } else { 90 };
                        let next = *begin + random.below(far);
                        scratch.forget(next);
                        *begin = next;
                    }
                    1..=3 => {
                        let mut into = vec![0; random.below(300)];
                        let wanted = model.get(offset..offset + into.len()).unwrap();
                        let is_there = offset >= *begin
                            && offset + into.len() <= *begin + window
                            && wanted.iter().all(|byte| byte.is_some());
                        assert_eq!(scratch.copy(offset, &mut into), is_there);
                        assert!(!is_there || wanted.iter().flatten().eq(&into));
                    }
                    _ => {
                        let bytes: Vec<u8> = (0..random.below(300)).map(|_| random.below(4) as u8).collect();
                        let mut wanted = Put { is_different: false, is_beyond: offset + bytes.len() > *begin + window };
                        for (at, byte) in
                            (offset..).zip(&bytes).filter(|(at, _)| (*begin..*begin + window).contains(at))
                        {
                            wanted.is_different |= *model[at].get_or_insert(*byte) != *byte;
                        }
                        assert_eq!(scratch.put(offset as u64, &bytes), wanted);
                    }
                }
                if *begin == 0 {
                    let prefix: Vec<u8> = model.iter().take(window).map_while(|byte| *byte).collect();
                    assert_eq!(scratch.prefix(), prefix);
                    let length = random.below(400);
                    assert_eq!(scratch.digest(length).is_some(), prefix.len() >= length);
                }
            }
            scratch.clear();
            assert!(scratch.is_empty() && !scratch.is_used() && scratch.prefix().is_empty() && !scratch.is_split());
        }
    }

    #[test]
    fn digests_tell_bytes_and_lengths_apart() {
        let digest = |bytes: &[u8]| {
            let mut scratch = Scratch::default();
            scratch.put(0, bytes);
            scratch.digest(bytes.len()).unwrap()
        };
        let bytes: Vec<u8> = (0..300).map(|at| at as u8).collect();
        let mut all: Vec<u32> = (0..=300).map(|end| digest(&bytes[..end])).collect();
        all.extend((0..300).map(|at| {
            let mut other = bytes.clone();
            other[at] ^= 1;
            digest(&other)
        }));
        all.extend((2..20).map(|length| digest(&vec![0; length])));
        let count = all.len();
        assert!(all.iter().all(|one| *one != 0));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
