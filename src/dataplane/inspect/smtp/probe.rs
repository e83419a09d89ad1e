//! Is it SMTP?

use super::super::bytes::Reader;
use super::super::lines;
use super::super::parse::{Look, Match};
use super::LINE_MAX;

/// Lines of a server that a probe looks at.
const PROBE_LINES: usize = 16;

/// Recognises a greeting that names SMTP or is followed by the reply to EHLO, and the first commands of a client.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    match look.bytes.first() {
        Some(b'2' | b'4' | b'5') => probe_server(look),
        _ => probe_client(look.bytes),
    }
}

fn probe_client(bytes: &[u8]) -> Match {
    let own: [&[u8]; 5] = [b"EHLO ", b"HELO ", b"LHLO ", b"MAIL FROM:<", b"RCPT TO:<"];
    let mut found = Match::No;
    for one in own {
        match lines::begins(bytes, one) {
            Match::Yes => return Match::Yes,
            Match::Maybe => found = Match::Maybe,
            Match::No => {}
        }
    }
    found
}

fn probe_server(look: &Look<'_>) -> Match {
    let mut reader = Reader::new(look.bytes);
    let mut greeted = false;
    for _ in 0..PROBE_LINES {
        let Some(line) = reader.line() else { break };
        let Some((code, text)) = lines::reply(line).filter(|(_, text)| lines::is_text(text)) else { return Match::No };
        if !matches!(text.first(), None | Some(b' ' | b'-')) || lines::find(text, b"FTP").is_some() {
            return Match::No;
        }
        let has_name = lines::find(text, b"SMTP").is_some();
        let port = [25, 587, 2525].into_iter().any(|port| look.has_port(port));
        match (greeted, code) {
            (false, 220 | 421 | 554) if has_name => return Match::Yes,
            (false, 421 | 554) if port => return Match::Yes, // refused at once
            (_, 220) => greeted = true,
            (true, 250) => return Match::Yes,
            _ => return Match::No,
        }
        if greeted && text.starts_with(b" ") && port {
            return Match::Yes;
        }
    }
    let rest = reader.rest();
    let begins = [&b"220"[..], b"421", b"554", b"250"].into_iter().any(|code| lines::begins(rest, code) != Match::No);
    if begins && rest.len() < LINE_MAX { Match::Maybe } else { Match::No }
}
