//! Frames as a pcapng file (draft-ietf-opsawg-pcapng): what Wireshark, tshark and tcpdump read.

use std::io::{self, Write};

/// `LINKTYPE_ETHERNET`.
const ETHERNET: u16 = 1;

/// Writes blocks; little-endian, times in nanoseconds.
pub struct Writer<W: Write> {
    to: W,
    /// Names of the interfaces described so far, in the order of their numbers.
    interfaces: Vec<String>,
    /// Bytes written.
    bytes: u64,
}

/// Bytes of a frame's block round the frame.
pub const FRAME_ROUND: u64 = 32 + 3;

impl<W: Write> Writer<W> {
    /// Begins a section.
    ///
    /// # Errors
    /// The writer's.
    pub fn new(to: W) -> io::Result<Writer<W>> {
        let mut writer = Writer { to, interfaces: Vec::new(), bytes: 0 };
        let application = format!("shrike {}", env!("CARGO_PKG_VERSION"));
        let fixed = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &u64::MAX.to_le_bytes()].concat();
        writer.block(0x0a0d_0d0a, &fixed, &[(4, application.as_bytes())])?;
        Ok(writer)
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn block(&mut self, kind: u32, fixed: &[u8], options: &[(u16, &[u8])]) -> io::Result<()> {
        let mut body = fixed.to_vec();
        for (code, value) in options {
            body.extend(code.to_le_bytes());
            body.extend((value.len() as u16).to_le_bytes()); // names and numbers: short
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        body.resize(body.len().next_multiple_of(4), 0);
        let length = (body.len() as u32 + 12).to_le_bytes(); // a frame and little more
        for part in [&kind.to_le_bytes()[..], &length, &body, &length] {
            self.to.write_all(part)?;
            self.bytes += part.len() as u64;
        }
        Ok(())
    }

    /// The number of an interface, described where it is new.
    fn interface(&mut self, name: &str) -> io::Result<u32> {
        if let Some(number) = self.interfaces.iter().position(|known| known == name) {
            return Ok(number as u32); // as many as there are interfaces
        }
        let fixed = [&ETHERNET.to_le_bytes()[..], &[0; 6]].concat();
        // Times in 10^-9 s.
        self.block(1, &fixed, &[(2, name.as_bytes()), (9, &[9])])?;
        self.interfaces.push(name.to_owned());
        Ok(self.interfaces.len() as u32 - 1)
    }

    /// A frame of an interface, taken at that time, nanoseconds since 1970.
    ///
    /// # Errors
    /// The writer's.
    pub fn frame(&mut self, interface: &str, time_ns: u64, frame: &[u8], wire_bytes: u32) -> io::Result<()> {
        let number = self.interface(interface)?;
        let mut fixed = Vec::with_capacity(20 + frame.len() + 3);
        let words = [number, (time_ns >> 32) as u32, time_ns as u32, frame.len() as u32, wire_bytes];
        words.iter().for_each(|word| fixed.extend(word.to_le_bytes()));
        fixed.extend(frame);
        self.block(6, &fixed, &[])
    }

    /// How many frames there were of each interface, and how many found no room on their way here.
    ///
    /// # Errors
    /// The writer's.
    pub fn end(&mut self, time_ns: u64, written: u64, lost: u64) -> io::Result<()> {
        for number in 0..self.interfaces.len() as u32 {
            let words = [number, (time_ns >> 32) as u32, time_ns as u32];
            let fixed: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            // Of all of them: with the first, as they are not told apart.
            let counts = if number == 0 { [written + lost, lost] } else { [0; 2] };
            self.block(5, &fixed, &[(4, &counts[0].to_le_bytes()), (5, &counts[1].to_le_bytes())])?;
        }
        self.flush()
    }

    /// Lets go of what waits to be written.
    ///
    /// # Errors
    /// The writer's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_whole_words_with_their_length_at_both_ends() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes).unwrap();
        for size in 60..70 {
            let before = writer.bytes();
            writer.frame("eth1", 1_700_000_000_123_456_789, &vec![7; size], size as u32).unwrap();
            assert!(size == 60 || writer.bytes() - before <= size as u64 + FRAME_ROUND);
        }
        writer.frame("eth2", 5, &[1, 2, 3], 1500).unwrap();
        writer.end(9, 11, 4).unwrap();
        let total = writer.bytes();
        assert_eq!(total, bytes.len() as u64);
        let word = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk::<4>().unwrap());
        let (mut at, mut kinds) = (0, Vec::new());
        while at < bytes.len() {
            let length = word(at + 4) as usize;
            assert!(length.is_multiple_of(4) && word(at + length - 4) as usize == length);
            kinds.push(word(at));
            at += length;
        }
        let frames = [6; 10];
        assert_eq!(kinds, [&[0x0a0d_0d0a, 1][..], &frames, &[1, 6, 5, 5]].concat());
    }
}
