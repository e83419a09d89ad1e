//! Pieces of a handshake message put together over datagrams: what QUIC and DTLS need beside their state.

/// Bytes of a handshake message that are put together over datagrams. One with a post-quantum key share and ECH has about 2 KiB.
pub const SCRATCH_BYTES: usize = 4096;

const WORDS: usize = SCRATCH_BYTES / 64;

/// Handshake bytes as they come: in pieces, in any order, over several datagrams. 4.6 KB: a value for a pool, of which a
/// flow of QUIC or DTLS needs one until its hellos are whole, which mostly is within the first datagram of each side.
#[derive(Clone)]
pub struct Scratch {
    bytes: [u8; SCRATCH_BYTES],
    /// Which bytes are there.
    have: [u64; WORDS],
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch { bytes: [0; SCRATCH_BYTES], have: [0; WORDS] }
    }
}

impl Scratch {
    /// Forgets all: what a scratch must be when a flow gets it.
    pub fn clear(&mut self) {
        self.have = [0; WORDS];
    }

    /// Puts bytes where they belong; those beyond the end are dropped. The first one to come stays.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) {
        let Ok(offset) = usize::try_from(offset) else { return };
        for (at, byte) in (offset..SCRATCH_BYTES).zip(bytes) {
            if let (Some(place), Some(word)) = (self.bytes.get_mut(at), self.have.get_mut(at / 64)) {
                let bit = 1 << (at % 64);
                if *word & bit == 0 {
                    *place = *byte;
                    *word |= bit;
                }
            }
        }
    }

    /// The bytes from the first on, without a hole.
    pub fn prefix(&self) -> &[u8] {
        let whole = self.have.iter().take_while(|word| **word == u64::MAX).count();
        let rest = self.have.get(whole).map_or(0, |word| word.trailing_ones() as usize);
        self.bytes.get(..whole * 64 + rest).unwrap_or_default()
    }
}
