//! TFTP (RFC 1350, options of RFC 2347): requests with file, mode and options, and transfers with what was agreed on, how much
//! came and how they ended, one event each.
//!
//! A server answers from another port, so in another flow. It is known by the address of the server and address and port of the
//! client, which are remembered from the request for as long as an answer may take; where the request was seen by another
//! queue, or not at all, answers with options and errors tell it alone. It deliberately does not: keep what is in files.
//!
//! Bounds: 8 options.
//!
//! | fact | field of EVE (`tftp`) |
//! | --- | --- |
//! | `opcode` | `packet`: `read`, `write`, `data`, `ack`, `error` |
//! | `file`, `mode` | the same |
//! | `option`, `blocks`, `bytes`, `error_code`, `error_message` | none |

use super::bytes::Reader;
use super::facts::Fact;
use super::lines;
use super::parse::{Anomaly, Key, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::remembered::TEXT_MAX;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Tftp;
/// 1 read, 2 write; of a transfer 3 data, 4 acknowledgements alone, 5 an error at its end, 6 options alone.
pub const OPCODE: Fact = Fact::number(PROTOCOL, 1, "opcode");
/// Name of the file.
pub const FILE: Fact = Fact::text(PROTOCOL, 2, "file", 512);
/// `netascii`, `octet` or `mail`.
pub const MODE: Fact = Fact::text(PROTOCOL, 3, "mode", 16);
/// Options, name and value in turn.
pub const OPTION: Fact = Fact::text(PROTOCOL, 4, "option", 32).repeated(16);
/// What went wrong.
pub const ERROR_CODE: Fact = Fact::number(PROTOCOL, 5, "error_code");
/// What went wrong, in words.
pub const ERROR_MESSAGE: Fact = Fact::text(PROTOCOL, 6, "error_message", 128);

/// Blocks of a transfer, without those that came again.
pub const BLOCKS: Fact = Fact::number(PROTOCOL, 7, "blocks");
/// Bytes of the file in them.
pub const BYTES: Fact = Fact::number(PROTOCOL, 8, "bytes");

/// All facts.
pub const FACTS: &[Fact] = &[OPCODE, FILE, MODE, OPTION, ERROR_CODE, ERROR_MESSAGE, BLOCKS, BYTES];

/// A message that cannot be read.
pub const MALFORMED: Anomaly = Anomaly::new(PROTOCOL, 1, "malformed");
/// A path that leaves its directory.
pub const PATH_TRAVERSAL: Anomaly = Anomaly::new(PROTOCOL, 2, "path_traversal");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED, PATH_TRAVERSAL];

pub(super) const OPTIONS_MAX: usize = 8;
/// Bytes of a block where nothing else is agreed on.
const BLOCK_BYTES: u16 = 512;
/// Bytes of a name that a transfer is told with: one less than are remembered tells longer ones.
pub(super) const NAME_MAX: usize = TEXT_MAX - 1;
/// Blocks that may be under way at once (RFC 7440 recommends fewer): others came late.
const AHEAD_MAX: u16 = 1024;
/// The highest code of an error (RFC 2347).
const CODE_MAX: u16 = 8;
const MODES: [&[u8]; 3] = [b"netascii", b"octet", b"mail"];
const OPTIONS: [&[u8]; 5] = [b"blksize", b"tsize", b"timeout", b"windowsize", b"multicast"];

/// TFTP? A request with a file and one of the three modes, an answer with known options only, or, where the server speaks first,
/// an error with nothing but its text.
pub fn probe(look: &Look<'_>) -> Match {
    let is = |bytes| {
        let mut reader = Reader::new(bytes);
        match reader.be16()? {
            1 | 2 => {
                let (file, mode) = (reader.until(0)?, reader.until(0)?);
                let is_name = !file.is_empty() && file.iter().all(|byte| *byte >= b' ');
                (is_name && MODES.iter().any(|one| mode.eq_ignore_ascii_case(one))).then_some(())
            }
            5 if look.side == Side::Originator && look.ports.iter().all(|port| *port >= 1024) => {
                let (code, text) = (reader.be16()?, reader.until(0)?);
                let is_text = text.len() >= 4 && text.iter().all(|byte| matches!(byte, b' '..=b'~'));
                (code <= CODE_MAX && is_text && reader.is_empty()).then_some(())
            }
            6 => {
                let (name, value) = (reader.until(0)?, reader.until(0)?);
                let is_known = OPTIONS.iter().any(|one| name.eq_ignore_ascii_case(one));
                (is_known && value.iter().all(u8::is_ascii_digit)).then_some(())
            }
            _ => None,
        }
    };
    if look.is_datagram && is(look.bytes).is_some() { Match::Yes } else { Match::No }
}

/// May a transfer, of which a request is known, begin so? With the first block, the leave to send it, an error, or options.
pub(super) fn begins(bytes: &[u8]) -> bool {
    match bytes {
        [0, 3, 0, 1, ..] | [0, 4, 0, 0] | [0, 6, ..] => true,
        [0, 5, 0, code, ..] => u16::from(*code) <= CODE_MAX,
        _ => false,
    }
}

/// A transfer as far as it came.
#[derive(Default)]
pub struct State {
    bytes: u64,
    blocks: u32,
    /// Bytes of a block that is not the last one, if they were agreed on.
    block_bytes: u16,
    is_open: bool,
    has_options: bool,
    is_over: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.message(side, bytes, out).is_none() {
            out.anomaly(MALFORMED);
            if !self.is_open {
                out.event();
            }
        }
        if self.is_over { Step::Done } else { Step::Took(bytes.len()) }
    }

    fn end(&mut self, out: &mut dyn Output) {
        if self.is_open {
            self.finish(None, out);
        }
        out.event();
    }
}

impl State {
    fn message(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Option<()> {
        let mut reader = Reader::new(bytes);
        let opcode = reader.be16()?;
        match opcode {
            1 | 2 => {
                self.end(out);
                *self = State::default();
                return request(side, opcode, reader, out);
            }
            3..=6 if self.is_over => {}
            3 => {
                let number = reader.be16()?;
                self.begin(side, out);
                self.data(side, number, reader.len(), out);
            }
            4 => {
                reader.be16()?;
                self.begin(side, out);
            }
            5 => {
                let code = reader.be16()?;
                self.begin(side, out);
                out.facts().put_number(ERROR_CODE, code.into());
                out.facts().put(ERROR_MESSAGE, reader.until(0).unwrap_or(reader.rest()));
                if self.blocks == 0 {
                    out.facts().sent_by(side);
                }
                self.finish(Some(5), out);
            }
            6 => {
                self.begin(side, out);
                self.has_options = true;
                if let Some(block_bytes) = options(reader, out) {
                    self.block_bytes = block_bytes;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// The first message of a transfer: what it is of was asked for in this flow, or in that of the server's well-known port.
    fn begin(&mut self, side: Side, out: &mut dyn Output) {
        if std::mem::replace(&mut self.is_open, true) {
            return;
        }
        let is_known = out.recall(Key::Transfer(side.other()), FILE) || out.recall(Key::Transfer(side), FILE);
        if is_known && out.facts().get(FILE).is_some_and(|file| file.len() > NAME_MAX) {
            out.facts().mark_truncated();
        }
        out.facts().sent_by(side);
    }

    /// RFC 1350 section 2: a block shorter than others is the last one. What comes again is not counted.
    fn data(&mut self, side: Side, number: u16, bytes: usize, out: &mut dyn Output) {
        let ahead = number.wrapping_sub(self.blocks as u16); // numbers begin anew after 65535
        if ahead == 0 || ahead > AHEAD_MAX {
            return;
        }
        self.blocks = self.blocks.saturating_add(ahead.into());
        self.bytes = self.bytes.saturating_add(bytes as u64);
        out.facts().sent_by(side);
        let whole = if self.block_bytes == 0 { BLOCK_BYTES } else { self.block_bytes };
        if bytes < usize::from(whole) {
            self.finish(None, out);
        }
    }

    fn finish(&mut self, opcode: Option<u16>, out: &mut dyn Output) {
        let opcode = match opcode {
            Some(opcode) => opcode,
            None if self.blocks > 0 => 3,
            None if self.has_options => 6,
            None => 4,
        };
        out.facts().put_number(OPCODE, opcode.into());
        out.facts().put_number(BLOCKS, self.blocks.into());
        out.facts().put_number(BYTES, self.bytes);
        out.event();
        (self.is_open, self.is_over) = (false, true);
    }
}

fn request(side: Side, opcode: u16, mut reader: Reader<'_>, out: &mut dyn Output) -> Option<()> {
    let (file, mode) = (reader.until(0)?, reader.until(0)?);
    out.facts().sent_by(side);
    out.facts().put(FILE, file);
    out.facts().put(MODE, mode);
    if file.windows(3).any(|part| part == b"../" || part == b"..\\") {
        out.anomaly(PATH_TRAVERSAL);
    }
    options(reader, out);
    out.facts().put_number(OPCODE, opcode.into());
    out.remember(Key::Transfer(side), file.get(..TEXT_MAX).unwrap_or(file));
    out.event();
    Some(())
}

/// Puts the options (RFC 2347); gives the size of blocks that they name (RFC 2348).
fn options(mut reader: Reader<'_>, out: &mut dyn Output) -> Option<u16> {
    let mut block_bytes = None;
    for _ in 0..OPTIONS_MAX {
        let (Some(name), Some(value)) = (reader.until(0), reader.until(0)) else { return block_bytes };
        out.facts().put(OPTION, name);
        out.facts().put(OPTION, value);
        if name.eq_ignore_ascii_case(b"blksize") {
            block_bytes = lines::decimal(value).and_then(|bytes| u16::try_from(bytes).ok());
        }
    }
    if !reader.is_empty() {
        out.facts().mark_truncated();
    }
    block_bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{datagram, show, show_one, torment_datagram};

    const READ: &[u8] = b"\0\x01../boot.img\0octet\0blksize\x001428\0";

    /// RFC 1350 section 4: the answer comes from another port, which begins another flow.
    #[test]
    fn a_transfer_in_a_flow_of_its_own_is_one_event() {
        const S: Side = Side::Originator;
        const C: Side = Side::Responder;
        let block = |number: u8, bytes: usize| [&[0, 3, 0, number][..], &vec![7; bytes]].concat();
        let run = |turns: &[(Side, Vec<u8>)]| {
            let (mut state, mut out) = (State::default(), crate::dataplane::inspect::Record::default());
            out.remember(Key::Transfer(C), b"boot.img");
            turns.iter().for_each(|(side, bytes)| _ = state.step(*side, bytes, &mut out));
            state.end(&mut out);
            let event = out.events.first().cloned().unwrap_or_default();
            let texts = [FILE, ERROR_MESSAGE]
                .map(|fact| String::from_utf8_lossy(event.get(fact).unwrap_or_default()).into_owned());
            assert_eq!(out.events.len(), 1);
            (event.sender(), texts, [OPCODE, BLOCKS, BYTES, ERROR_CODE].map(|fact| event.number(fact)))
        };
        let texts = |file: &str, error: &str| [file.to_owned(), error.to_owned()];
        let ack = |number: u8| vec![0, 4, 0, number];
        let read = [
            (S, block(1, 512)),
            (C, ack(1)),
            (S, block(2, 512)),
            (S, block(2, 512)),
            (C, ack(2)),
            (S, block(3, 0)),
            (C, ack(3)),
        ];
        assert_eq!(run(&read), (S, texts("boot.img", ""), [Some(3), Some(3), Some(1024), None]));
        assert_eq!(run(&read[..2]), (S, texts("boot.img", ""), [Some(3), Some(1), Some(512), None]), "not to its end");
        let written = [(S, ack(0)), (C, block(1, 100)), (S, ack(1))];
        assert_eq!(run(&written), (C, texts("boot.img", ""), [Some(3), Some(1), Some(100), None]));
        let options = (S, b"\0\x06blksize\x001428\0tsize\x00200\0".to_vec());
        let large = [options, (C, ack(0)), (S, block(1, 1428)), (C, ack(1)), (S, block(2, 1)), (C, ack(2))];
        assert_eq!(run(&large), (S, texts("boot.img", ""), [Some(3), Some(2), Some(1429), None]));
        let error = [(S, b"\0\x05\0\x01File not found\0".to_vec())];
        assert_eq!(run(&error), (S, texts("boot.img", "File not found"), [Some(5), Some(0), Some(0), Some(1)]));
        assert_eq!(probe(&datagram(&error[0].1, [40_000, 40_001])), Match::Yes, "without the request too");
        for bytes in [
            &b"\0\x05\0\x09File not found\0"[..],
            b"\0\x05\0\x01File not found",
            b"\0\x05\0\x01\0",
            b"\0\x05\0\x01File\0x",
        ] {
            assert_eq!(probe(&datagram(bytes, [40_000, 40_001])), Match::No);
        }
    }

    #[test]
    fn nothing_at_random_is_a_transfer() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..60_000 {
            let mut bytes: Vec<u8> = (0..next() % 80).flat_map(|_| next().to_le_bytes()).collect();
            // The hardest of them begin as messages do.
            if let Some([first, second, ..]) = bytes.get_mut(..2) {
                (*first, *second) = (0, (next() % 8) as u8);
            }
            assert_eq!(probe(&datagram(&bytes, [40_000, 40_001])), Match::No, "{bytes:02x?}");
        }
    }

    #[test]
    fn requests_answers_and_errors_are_read() {
        let out = show_one::<State>(READ);
        let facts = &out.events[0];
        assert_eq!((facts.get(FILE), facts.get(MODE)), (Some(&b"../boot.img"[..]), Some(&b"octet"[..])));
        assert_eq!(facts.all(OPTION).collect::<Vec<_>>(), [&b"blksize"[..], b"1428"]);
        assert_eq!(out.anomalies, ["path_traversal"]);
        let error = (Side::Responder, &b"\0\x05\0\x01no file\0"[..]);
        let out = show::<State>(&[(Side::Originator, READ), error, (Side::Responder, b"\0\x03\0\x01abc"), error]);
        assert_eq!((out.events.len(), out.events[1].get(ERROR_MESSAGE)), (2, Some(&b"no file"[..])));
        torment_datagram::<State>(READ, [1, 69], probe);
        assert_eq!(probe(&datagram(READ, [1, 2])), Match::Yes);
        assert_eq!(probe(&datagram(b"\0\x06tsize\x0012\0", [1, 2])), Match::Yes);
        assert_eq!(probe(&datagram(b"\0\x01ab\0cd\0", [1, 69])), Match::No);
        assert_eq!(show_one::<State>(b"\0\x01ab").anomalies, ["malformed"]);
    }
}
