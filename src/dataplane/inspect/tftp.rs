//! TFTP (RFC 1350, options of RFC 2347): requests with file, mode and options, and errors, one event each.
//!
//! Data go through another port of the server, so through another flow that has nothing to tell it by; only its first
//! answer with options does. It deliberately does not: read files.
//!
//! Bounds: 8 options.
//!
//! | fact | field of EVE (`tftp`) |
//! | --- | --- |
//! | `opcode` | `packet`: `read`, `write`, `data`, `ack`, `error` |
//! | `file`, `mode` | the same |
//! | `option`, `error_code`, `error_message` | none |

use super::bytes::Reader;
use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Tftp;
/// 1 read, 2 write, 3 data, 4 acknowledgement, 5 error, 6 options taken.
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

/// All facts.
pub const FACTS: &[Fact] = &[OPCODE, FILE, MODE, OPTION, ERROR_CODE, ERROR_MESSAGE];

/// A message that cannot be read.
pub const MALFORMED: Anomaly = Anomaly::new(PROTOCOL, 1, "malformed");
/// A path that leaves its directory.
pub const PATH_TRAVERSAL: Anomaly = Anomaly::new(PROTOCOL, 2, "path_traversal");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED, PATH_TRAVERSAL];

pub(super) const OPTIONS_MAX: usize = 8;
const MODES: [&[u8]; 3] = [b"netascii", b"octet", b"mail"];
const OPTIONS: [&[u8]; 5] = [b"blksize", b"tsize", b"timeout", b"windowsize", b"multicast"];

/// TFTP? A request with a file and one of the three modes, or an answer with known options only.
pub fn probe(look: &Look<'_>) -> Match {
    let is = |bytes| {
        let mut reader = Reader::new(bytes);
        match reader.be16()? {
            1 | 2 => {
                let (file, mode) = (reader.until(0)?, reader.until(0)?);
                let is_name = !file.is_empty() && file.iter().all(|byte| *byte >= b' ');
                (is_name && MODES.iter().any(|one| mode.eq_ignore_ascii_case(one))).then_some(())
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

/// Nothing needs to be remembered.
#[derive(Default)]
pub struct State;

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, _side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        match message(bytes, out) {
            Some(true) => out.event(),
            Some(false) => return Step::Done, // data and acknowledgements: all was said before them
            None => {
                out.anomaly(MALFORMED);
                out.event();
            }
        }
        Step::Took(bytes.len())
    }
}

/// Did the message tell anything?
fn message(bytes: &[u8], out: &mut dyn Output) -> Option<bool> {
    let mut reader = Reader::new(bytes);
    let opcode = reader.be16()?;
    match opcode {
        1 | 2 => {
            let (file, mode) = (reader.until(0)?, reader.until(0)?);
            out.facts().put(FILE, file);
            out.facts().put(MODE, mode);
            if file.windows(3).any(|part| part == b"../" || part == b"..\\") {
                out.anomaly(PATH_TRAVERSAL);
            }
            options(reader, out);
        }
        3 | 4 => return Some(false),
        5 => {
            out.facts().put_number(ERROR_CODE, reader.be16()?.into());
            out.facts().put(ERROR_MESSAGE, reader.until(0).unwrap_or(reader.rest()));
        }
        6 => options(reader, out),
        _ => return None,
    }
    out.facts().put_number(OPCODE, opcode.into());
    Some(true)
}

fn options(mut reader: Reader<'_>, out: &mut dyn Output) {
    for _ in 0..OPTIONS_MAX {
        let (Some(name), Some(value)) = (reader.until(0), reader.until(0)) else { return };
        out.facts().put(OPTION, name);
        out.facts().put(OPTION, value);
    }
    if !reader.is_empty() {
        out.facts().mark_truncated();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{datagram, show, show_one, torment_datagram};

    const READ: &[u8] = b"\0\x01../boot.img\0octet\0blksize\x001428\0";

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
