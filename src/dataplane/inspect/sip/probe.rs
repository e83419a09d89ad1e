//! What tells SIP: a first line with its version.

use crate::dataplane::inspect::bytes::Reader;
use crate::dataplane::inspect::parse::{Look, Match};

/// Methods (IANA registry).
const METHODS: [&[u8]; 14] = [
    b"INVITE ",
    b"REGISTER ",
    b"OPTIONS ",
    b"ACK ",
    b"BYE ",
    b"CANCEL ",
    b"SUBSCRIBE ",
    b"NOTIFY ",
    b"MESSAGE ",
    b"REFER ",
    b"PUBLISH ",
    b"INFO ",
    b"PRACK ",
    b"UPDATE ",
];
/// Bytes of a first line, at most.
const LINE_MAX: usize = 1024;
const ANSWER: &[u8] = b"SIP/2.0 ";

/// SIP? An answer's version and status, or one of the methods with the version at the end of its line.
pub fn probe(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    let start = |wanted: &[u8]| wanted.iter().zip(bytes).all(|(a, b)| a == b);
    if !start(ANSWER) && !METHODS.iter().any(|method| start(method)) {
        return Match::No;
    }
    let more = if look.is_datagram { Match::No } else { Match::Maybe };
    if bytes.starts_with(ANSWER) {
        return match bytes.get(8..11) {
            Some(status) if status.iter().all(u8::is_ascii_digit) => Match::Yes,
            Some(_) => Match::No,
            None => more,
        };
    }
    match Reader::new(bytes).line() {
        Some(line) if line.ends_with(b" SIP/2.0") && line.len() <= LINE_MAX => Match::Yes,
        // The line of a datagram that was cut: its method and its kind of address.
        None if look.is_datagram && has_address(bytes) => Match::Yes,
        None if bytes.len() <= LINE_MAX => more,
        _ => Match::No,
    }
}

fn has_address(line: &[u8]) -> bool {
    let address = line.splitn(2, |byte| *byte == b' ').nth(1).unwrap_or_default();
    address.starts_with(b"sip:") || address.starts_with(b"sips:")
}

/// Bytes of a head with its blank line, if it is whole.
pub fn head_bytes(bytes: &[u8]) -> Option<usize> {
    // Whichever comes first, or it would depend on how much is there.
    let usual = bytes.windows(3).position(|part| part == b"\n\r\n").map(|at| at + 3);
    let bare = bytes.windows(2).position(|part| part == b"\n\n").map(|at| at + 2);
    [usual, bare].into_iter().flatten().min()
}
