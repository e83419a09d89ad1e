//! TLS by its first record.

use super::super::parse::{Look, Match};
use super::{CIPHER_MAX, CLEAR_MAX, MINOR_MAX, RECORD_HEADER, content, length_of, message, ssl2};

/// Bytes of a hello at most: OpenSSL takes 131 396.
const HELLO_MAX: usize = 1 << 18;
/// Empty records that a hello is looked for behind.
const EMPTY_MAX: usize = 8;

/// TLS, if the stream begins with a hello; or with records that can be nothing else, where the capture began too late.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    match behind_empty(look.bytes) {
        [] => Match::Maybe,
        [content::HANDSHAKE, rest @ ..] => handshake(rest, behind_empty(look.bytes)),
        [content::CHANGE_CIPHER_SPEC, rest @ ..] => prefix(rest, &[0, 1, 1]),
        [content::ALERT, rest @ ..] => match prefix(rest, &[0, 2]) {
            Match::Yes => after(rest.get(4..), |level| matches!(level, [1 | 2, ..])),
            other => other,
        },
        [content::APPLICATION_DATA, rest @ ..] => data(rest, look.bytes),
        [0x80..=0xff, ..] => ssl2_hello(look.bytes),
        _ => Match::No,
    }
}

/// Does a stream begin with a hello of either side?
pub fn is_hello(bytes: &[u8]) -> Match {
    match behind_empty(bytes) {
        [content::HANDSHAKE, rest @ ..] => handshake(rest, behind_empty(bytes)),
        [] => Match::Maybe,
        _ => Match::No,
    }
}

/// Empty records of the handshake may stand in front of a hello, though none should (RFC 8446 section 5.1); a few are passed.
fn behind_empty(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    for _ in 0..EMPTY_MAX {
        match rest {
            [content::HANDSHAKE, 3, _, 0, 0, behind @ ..] => rest = behind,
            _ => break,
        }
    }
    rest
}

/// Version 3, whatever stands behind it (RFC 8446 section 5.1: it is to be ignored, and servers do), then these bytes.
fn prefix(bytes: &[u8], wanted: &[u8]) -> Match {
    let is_version = bytes.first().is_none_or(|major| *major == 3);
    let rest = bytes.get(2..).unwrap_or_default();
    match is_version && rest.iter().zip(wanted).all(|(byte, wanted)| byte == wanted) {
        true if rest.len() >= wanted.len() => Match::Yes,
        true => Match::Maybe,
        false => Match::No,
    }
}

fn after(rest: Option<&[u8]>, is_right: impl Fn(&[u8]) -> bool) -> Match {
    match rest {
        None | Some([]) => Match::Maybe,
        Some(rest) if is_right(rest) => Match::Yes,
        Some(_) => Match::No,
    }
}

/// A hello (or a certificate, where the hello was lost): type, lengths and version must fit.
fn handshake(rest: &[u8], whole: &[u8]) -> Match {
    match prefix(rest, &[]) {
        Match::Yes => {}
        other => return other,
    }
    let [_, _, high, low, body @ ..] = rest else { return Match::Maybe };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length == 0 || length > CLEAR_MAX {
        return Match::No;
    }
    if length < 6 {
        return small(length, body, whole);
    }
    match body {
        [] => Match::Maybe,
        [message::CLIENT_HELLO | message::SERVER_HELLO, a, b, c, major, _, ..] => {
            let is_version = matches!(major, 3 | 0x7f | 0xfb);
            yes_if(is_version && (38..=HELLO_MAX).contains(&length_of([*a, *b, *c])))
        }
        [message::CERTIFICATE, a, b, c, d, e, f, ..] => {
            let length = length_of([*a, *b, *c]);
            yes_if(length == length_of([*d, *e, *f]) + 3 && length <= HELLO_MAX)
        }
        [message::CLIENT_HELLO | message::SERVER_HELLO | message::CERTIFICATE, a, ..]
            if usize::from(*a) <= HELLO_MAX >> 16 =>
        {
            Match::Maybe
        }
        [message::CLIENT_HELLO | message::SERVER_HELLO | message::CERTIFICATE] => Match::Maybe,
        _ => Match::No,
    }
}

/// A hello cut into records of a few bytes: the next one must be one too.
fn small(length: usize, body: &[u8], whole: &[u8]) -> Match {
    match body.first() {
        None => Match::Maybe,
        Some(&message::CLIENT_HELLO) => match whole.get(RECORD_HEADER + length..) {
            Some([content::HANDSHAKE, 3, ..]) => Match::Yes,
            None | Some([] | [content::HANDSHAKE]) => Match::Maybe,
            Some(_) => Match::No,
        },
        Some(_) => Match::No,
    }
}

/// Ciphertext from the first byte on: a record whose end is the end of what came, or the begin of another.
fn data(rest: &[u8], whole: &[u8]) -> Match {
    let is_version = rest.iter().zip([3..=3, 0..=MINOR_MAX]).all(|(byte, range)| range.contains(byte));
    let [_, minor, high, low, ..] = rest else {
        return if is_version { Match::Maybe } else { Match::No };
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if !is_version || !(16..=CIPHER_MAX).contains(&length) {
        return Match::No;
    }
    match whole.get(RECORD_HEADER + length..) {
        None => Match::Maybe,
        Some([]) => Match::Yes,
        Some([kind, 3, next, ..]) => {
            yes_if(matches!(*kind, content::ALERT | content::APPLICATION_DATA) && next == minor)
        }
        Some(_) => Match::Maybe,
    }
}

fn ssl2_hello(bytes: &[u8]) -> Match {
    if bytes.len() >= 5 && !ssl2::is_hello(bytes) {
        return Match::No;
    }
    match bytes {
        [_, _, kind, ..] if *kind != 1 => Match::No,
        _ => ssl2::is_strict(bytes).map_or(Match::Maybe, yes_if),
    }
}

fn yes_if(is_so: bool) -> Match {
    if is_so { Match::Yes } else { Match::No }
}
