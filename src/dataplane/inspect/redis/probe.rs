//! Is it Redis?

use super::super::lines;
use super::super::parse::{Look, Match};

/// Recognises the array of strings that a command is, and the errors of a server that nothing else has.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    match look.bytes.first() {
        None => Match::Maybe,
        Some(b'*') => probe_command(look.bytes),
        Some(b'-' | b'+') => {
            let own: [&[u8]; 6] = [
                b"-NOAUTH ",
                b"-DENIED Redis",
                b"-WRONGPASS ",
                b"-ERR wrong number of arg",
                b"-ERR unknown command",
                b"+PONG\r\n",
            ];
            let found = own.map(|own| lines::begins(look.bytes, own));
            match (found.contains(&Match::Yes), found.contains(&Match::Maybe)) {
                (true, _) => Match::Yes,
                (_, true) => Match::Maybe,
                _ if look.has_port(6379) && look.bytes == b"+OK\r\n" => Match::Yes,
                _ => Match::No,
            }
        }
        Some(_) if look.has_port(6379) => probe_line(look.bytes),
        Some(_) => Match::No,
    }
}

/// Commands that clients, and those who look for open servers, send in one line without any syntax. `GET` is not among them:
/// on this port too it may be HTTP's.
const INLINE: [&[u8]; 24] = [
    b"AUTH",
    b"CLIENT",
    b"COMMAND",
    b"CONFIG",
    b"DBSIZE",
    b"DEL",
    b"ECHO",
    b"EXISTS",
    b"FLUSHALL",
    b"HELLO",
    b"INCR",
    b"INFO",
    b"KEYS",
    b"LPUSH",
    b"LRANGE",
    b"MODULE",
    b"MONITOR",
    b"PING",
    b"QUIT",
    b"REPLICAOF",
    b"SELECT",
    b"SET",
    b"SLAVEOF",
    b"TIME",
];
/// Bytes of the longest of them.
const INLINE_MAX: usize = 9;

/// A command in one line, at the port of the protocol.
fn probe_line(bytes: &[u8]) -> Match {
    let word = bytes.split(|byte| matches!(byte, b' ' | b'\r' | b'\n')).next().unwrap_or_default();
    let is_whole = word.len() < bytes.len();
    let fits = |name: &&[u8]| match is_whole {
        true => word.eq_ignore_ascii_case(name),
        false => name.get(..word.len()).is_some_and(|begin| word.eq_ignore_ascii_case(begin)),
    };
    match (word.len() <= INLINE_MAX && INLINE.iter().any(fits), is_whole) {
        (true, true) => Match::Yes,
        (true, false) => Match::Maybe,
        (false, _) => Match::No,
    }
}

/// `*3\r\n$3\r\nSET`: digits, a line end, a dollar, digits, a line end, a letter.
fn probe_command(bytes: &[u8]) -> Match {
    let mut rest = bytes;
    for mark in *b"*$" {
        let Some((first, behind)) = rest.split_first() else { return Match::Maybe };
        let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let end = behind.get(digits..).unwrap_or_default();
        match end {
            _ if *first != mark || digits > 7 => return Match::No,
            [] | [b'\r'] => return if digits > 0 || end.is_empty() { Match::Maybe } else { Match::No },
            [b'\r', b'\n', behind @ ..] if digits > 0 => rest = behind,
            _ => return Match::No,
        }
    }
    match rest.first() {
        None => Match::Maybe,
        Some(byte) if byte.is_ascii_alphabetic() => Match::Yes,
        Some(_) => Match::No,
    }
}
