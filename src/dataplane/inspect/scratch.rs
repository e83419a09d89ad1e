//! Pieces of a handshake message put together over datagrams: what QUIC and DTLS need beside their state.

/// Bytes of a handshake message that are held at once. One with a post-quantum key share and ECH has about 2 KiB; servers
/// take 16 KiB and more.
pub const SCRATCH_BYTES: usize = 16_384;

const WORDS: usize = SCRATCH_BYTES / 64;

/// Handshake bytes as they come: in pieces, in any order, over several datagrams. A window of [`SCRATCH_BYTES`] that may move
/// towards the end of what is read. 18.4 KB: a value for a pool, of which a flow of QUIC or DTLS needs one until its hellos are
/// whole, which mostly is within the first datagram of each side.
#[derive(Clone)]
pub struct Scratch {
    /// The byte at each offset, modulo the window's length.
    bytes: [u8; SCRATCH_BYTES],
    /// Which bytes are there.
    have: [u64; WORDS],
    /// Where the window begins.
    begin: usize,
    is_used: bool,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch { bytes: [0; SCRATCH_BYTES], have: [0; WORDS], begin: 0, is_used: false }
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
    /// Forgets all: what a scratch must be when a flow gets it.
    pub fn clear(&mut self) {
        if self.is_used {
            self.have = [0; WORDS];
        }
        (self.begin, self.is_used) = (0, false);
    }

    /// Is there anything in it?
    pub fn is_used(&self) -> bool {
        self.is_used
    }

    /// Moves the window on to `begin`, if it is not there already.
    pub fn forget(&mut self, begin: usize) {
        if begin.saturating_sub(self.begin) >= SCRATCH_BYTES {
            self.have = [0; WORDS];
        } else {
            for at in self.begin..begin {
                if let Some(word) = self.have.get_mut(at % SCRATCH_BYTES / 64) {
                    *word &= !(1 << (at % 64));
                }
            }
        }
        self.begin = self.begin.max(begin);
    }

    /// Puts bytes where they belong; those in front of the window are not looked at. The first one to come stays.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) -> Put {
        let Ok(offset) = usize::try_from(offset) else { return Put { is_different: false, is_beyond: true } };
        let end = self.begin.saturating_add(SCRATCH_BYTES);
        let mut found = Put { is_different: false, is_beyond: offset.saturating_add(bytes.len()) > end };
        let skip = self.begin.saturating_sub(offset);
        for (at, byte) in (offset.saturating_add(skip)..end).zip(bytes.get(skip..).unwrap_or_default()) {
            let at = at % SCRATCH_BYTES;
            if let (Some(place), Some(word)) = (self.bytes.get_mut(at), self.have.get_mut(at / 64)) {
                let bit = 1 << (at % 64);
                found.is_different |= *word & bit != 0 && *place != *byte;
                if *word & bit == 0 {
                    *place = *byte;
                    *word |= bit;
                    self.is_used = true;
                }
            }
        }
        found
    }

    /// Copies what is at `offset`. Gives whether all of it is there.
    pub fn copy(&self, offset: usize, into: &mut [u8]) -> bool {
        let is_within = offset >= self.begin && offset + into.len() <= self.begin + SCRATCH_BYTES;
        is_within
            && (offset..).zip(into).all(|(at, place)| {
                let at = at % SCRATCH_BYTES;
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
        let whole = self.have.iter().take_while(|word| **word == u64::MAX).count();
        let rest = self.have.get(whole).map_or(0, |word| word.trailing_ones() as usize);
        self.bytes.get(..whole * 64 + rest).unwrap_or_default()
    }
}
