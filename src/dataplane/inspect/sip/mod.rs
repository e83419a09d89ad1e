//! SIP over UDP and TCP (RFC 3261), with the addresses of media from SDP (RFC 8866), one event a message.
//!
//! Reads the first line, who talks to whom, the product, the user of a login, and where media will flow. It deliberately
//! does not: keep answers to a challenge (no part of a password), read other bodies, or follow a dialogue.
//!
//! Bounds: 128 header lines; a message's head has 8 KiB on a stream; a body of more than 4 KiB is passed over unread.
//!
//! | fact | field of EVE (`sip`) |
//! | --- | --- |
//! | `method`, `uri`, `version`, `reason`, `request_line`, `response_line` | the same |
//! | `status` | `code` (as text) |
//! | `sdp_origin`, `sdp_session`, `sdp_connection` | `sdp.origin`, `sdp.session_name`, `sdp.connection_data` |
//! | `sdp_media` | `sdp.media_descriptions[].media` |
//! | `from`, `to`, `call_id`, `user_agent`, `contact`, `user_name` | none |

mod probe;
#[cfg(test)]
mod tests;

pub use probe::probe;

use super::bytes::Reader;
use super::facts::{Fact, Facts};
use super::http::secrets;
use super::lines;
use super::parse::{Anomaly, Look, Output, Parse, Step};
use super::protocol::Protocol;
use super::text::Text;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Sip;
/// What is asked for.
pub const METHOD: Fact = Fact::text(PROTOCOL, 1, "method", 16);
/// Of whom.
pub const URI: Fact = Fact::text(PROTOCOL, 2, "uri", 255);
/// `SIP/2.0`.
pub const VERSION: Fact = Fact::text(PROTOCOL, 3, "version", 8);
/// Status of an answer.
pub const STATUS: Fact = Fact::number(PROTOCOL, 4, "status");
/// The status in words.
pub const REASON: Fact = Fact::text(PROTOCOL, 5, "reason", 64);
/// First line of a request.
pub const REQUEST_LINE: Fact = Fact::text(PROTOCOL, 6, "request_line", 255);
/// First line of an answer.
pub const RESPONSE_LINE: Fact = Fact::text(PROTOCOL, 7, "response_line", 128);
/// Caller.
pub const FROM: Fact = Fact::text(PROTOCOL, 8, "from", 255);
/// Callee.
pub const TO: Fact = Fact::text(PROTOCOL, 9, "to", 255);
/// Number of the call.
pub const CALL_ID: Fact = Fact::text(PROTOCOL, 10, "call_id", 128);
/// Product (headers User-Agent and Server).
pub const USER_AGENT: Fact = Fact::text(PROTOCOL, 11, "user_agent", 128);
/// Where the sender wants to be spoken to.
pub const CONTACT: Fact = Fact::text(PROTOCOL, 12, "contact", 255);
/// User of a login.
pub const USER_NAME: Fact = Fact::text(PROTOCOL, 13, "user_name", 128);
/// Line `o` of SDP.
pub const SDP_ORIGIN: Fact = Fact::text(PROTOCOL, 14, "sdp_origin", 128);
/// Line `s` of SDP.
pub const SDP_SESSION: Fact = Fact::text(PROTOCOL, 15, "sdp_session", 64);
/// Line `c` of SDP.
pub const SDP_CONNECTION: Fact = Fact::text(PROTOCOL, 16, "sdp_connection", 64);
/// Lines `m` of SDP.
pub const SDP_MEDIA: Fact = Fact::text(PROTOCOL, 17, "sdp_media", 96).repeated(4);

/// All facts.
#[rustfmt::skip]
pub const FACTS: &[Fact] = &[
    METHOD, URI, VERSION, STATUS, REASON, REQUEST_LINE, RESPONSE_LINE, FROM, TO, CALL_ID, USER_AGENT, CONTACT, USER_NAME,
    SDP_ORIGIN, SDP_SESSION, SDP_CONNECTION, SDP_MEDIA,
];

/// No first line, or a head that does not end.
pub const MALFORMED: Anomaly = Anomaly::new(PROTOCOL, 1, "malformed");
/// A length that is no number.
pub const BAD_LENGTH: Anomaly = Anomaly::new(PROTOCOL, 2, "invalid_content_length");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED, BAD_LENGTH];

pub(super) const LINES_MAX: usize = 128;
pub(super) const HEAD_MAX: usize = 8192;
pub(super) const BODY_MAX: u64 = 4096;

/// Is it a stream?
#[derive(Default)]
pub struct State {
    is_stream: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    /// A state for a stream.
    pub fn stream() -> State {
        State { is_stream: true }
    }
}

impl Parse for State {
    fn begin(&mut self, look: &Look<'_>) {
        self.is_stream = !look.is_datagram;
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        // Signs of life between messages (RFC 5626 section 3.5.1).
        let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n' | 0 | b' ')).count();
        if !self.is_stream {
            let shown = bytes.get(blank..).unwrap_or_default();
            if !shown.is_empty() && message(shown, out).is_none() {
                out.anomaly(MALFORMED);
            }
            out.facts().sent_by(side);
            out.event();
            return Step::Took(bytes.len());
        }
        if blank > 0 {
            return Step::Took(blank);
        }
        match probe::head_bytes(bytes) {
            None if bytes.len() > HEAD_MAX => Step::Broken(MALFORMED),
            None => Step::Need(bytes.len() + 1),
            // However much of it came at once.
            Some(head) if head > HEAD_MAX => Step::Broken(MALFORMED),
            Some(head) => stream_message(side, bytes, head, out),
        }
    }
}

/// A message of a stream, whose head has `head` bytes.
fn stream_message(side: Side, bytes: &[u8], head: usize, out: &mut dyn Output) -> Step {
    let Some(length) = body_bytes(bytes.get(..head).unwrap_or_default()) else { return Step::Broken(BAD_LENGTH) };
    let is_kept = length <= BODY_MAX;
    let whole = if is_kept { head + length as usize } else { head };
    let Some(shown) = bytes.get(..whole) else { return Step::Need(whole) };
    if message(shown, out).is_none() {
        return Step::Broken(MALFORMED);
    }
    if !is_kept {
        out.facts().mark_truncated();
    }
    out.facts().sent_by(side);
    out.event();
    if is_kept { Step::Took(whole) } else { Step::Skip(length.saturating_add(head as u64)) }
}

/// What Content-Length tells; none: 0, as a stream must tell it.
fn body_bytes(head: &[u8]) -> Option<u64> {
    let mut lines = Reader::new(head);
    for _ in 0..LINES_MAX {
        let Some((name, value)) = lines.line().and_then(header) else { continue };
        if name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l") {
            let fits = (1..=9).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
            return fits.then(|| value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
        }
    }
    Some(0)
}

/// Name and value of a header line.
fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((line.get(..colon)?.trim_ascii(), line.get(colon + 1..)?.trim_ascii()))
}

fn message(bytes: &[u8], out: &mut dyn Output) -> Option<()> {
    let mut lines = Reader::new(bytes);
    first_line(lines.line()?, out)?;
    for _ in 0..LINES_MAX {
        // Without the blank line (cut by a snapshot) it ends where the bytes do.
        let line = lines.line()?;
        if line.is_empty() {
            body(lines, out);
            return Some(());
        }
        if let Some((name, value)) = header(line) {
            put(name, value, out);
        }
    }
    out.facts().mark_truncated();
    Some(())
}

fn first_line(line: &[u8], out: &mut dyn Output) -> Option<()> {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (first, second, third) = (words.next()?, words.next()?, words.next().unwrap_or_default());
    let facts = out.facts();
    if first.starts_with(b"SIP/") {
        facts.put(VERSION, first);
        let digits = second.iter().take(3).filter(|byte| byte.is_ascii_digit());
        facts.put_number(STATUS, digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
        put_clean(REASON, third, facts);
        put_clean(RESPONSE_LINE, line, facts);
    } else if third.starts_with(b"SIP/") {
        facts.put(METHOD, first);
        put_clean(URI, second, facts);
        facts.put(VERSION, third);
        put_clean(REQUEST_LINE, line, facts);
    } else {
        return None;
    }
    Some(())
}

/// Headers and their short forms (RFC 3261 section 7.3.3).
fn put(name: &[u8], value: &[u8], out: &mut dyn Output) {
    let facts: [(&[u8], Fact); 10] = [
        (b"from", FROM),
        (b"f", FROM),
        (b"to", TO),
        (b"t", TO),
        (b"call-id", CALL_ID),
        (b"i", CALL_ID),
        (b"user-agent", USER_AGENT),
        (b"server", USER_AGENT),
        (b"contact", CONTACT),
        (b"m", CONTACT),
    ];
    if let Some((_, fact)) = facts.iter().find(|(wanted, _)| name.eq_ignore_ascii_case(wanted)) {
        match *fact {
            CALL_ID | USER_AGENT => out.facts().put(*fact, value),
            _ => put_clean(*fact, value, out.facts()),
        }
    } else if [&b"authorization"[..], b"proxy-authorization"].iter().any(|one| name.eq_ignore_ascii_case(one)) {
        user_of(value).into_iter().for_each(|user| put_clean(USER_NAME, user, out.facts()));
    }
}

/// Puts a text without the passwords of the URIs in it (RFC 3261 section 19.1.1).
fn put_clean(fact: Fact, value: &[u8], facts: &mut Facts) {
    let mut place = Text::<256>::default();
    let mut rest = value;
    while let Some((first, behind)) = rest.split_first() {
        let is_end = |byte: &u8| match first {
            b'<' => *byte == b'>',
            _ => matches!(byte, b' ' | b'\t' | b'<'),
        };
        let end = behind.iter().position(is_end).unwrap_or(behind.len());
        let (part, after) = rest.split_at_checked(end + 1).unwrap_or((rest, &[]));
        put_part(part, &mut place);
        rest = after;
    }
    let mut shown = Text::<256>::default();
    facts.put(fact, secrets::blank(place.as_bytes(), b">, \t\"", &mut shown).0);
}

/// Of `sip:bob:secret@host` all but `:secret`. What is odd loses rather too much.
fn put_part<const N: usize>(part: &[u8], place: &mut Text<N>) {
    let Some(at) = part.iter().rposition(|byte| *byte == b'@') else { return place.extend(part) };
    let (info, host) = part.split_at_checked(at).unwrap_or((part, &[]));
    let (before, behind) = lines::split(info, b':').unwrap_or((info, &[]));
    let schemes: [&[u8]; 5] = [b"sip", b"sips", b"im", b"pres", b"mailto"];
    let scheme = before.trim_ascii_start().strip_prefix(b"<").unwrap_or(before.trim_ascii_start());
    place.extend(before);
    if before.len() < info.len() && schemes.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        place.push(b':');
        place.extend(behind.split(|byte| *byte == b':').next().unwrap_or_default());
    }
    place.extend(host);
}

/// `username="..."` of a Digest answer; nothing else of it is kept.
fn user_of(value: &[u8]) -> Option<&[u8]> {
    const KEY: &[u8] = b"username=\"";
    let at = value.windows(KEY.len()).position(|part| part.eq_ignore_ascii_case(KEY))?;
    Reader::new(value.get(at + KEY.len()..)?).until(b'"')
}

/// SDP is known by its first line; other bodies say nothing that is wanted.
fn body(mut lines: Reader<'_>, out: &mut dyn Output) {
    if !lines.rest().starts_with(b"v=0") {
        return;
    }
    for _ in 0..LINES_MAX {
        let Some(line) = lines.line() else { return };
        let fact = match line {
            [b'o', b'=', ..] => SDP_ORIGIN,
            [b's', b'=', ..] => SDP_SESSION,
            [b'c', b'=', ..] => SDP_CONNECTION,
            [b'm', b'=', ..] => SDP_MEDIA,
            _ => continue,
        };
        put_clean(fact, line.get(2..).unwrap_or_default(), out.facts());
    }
    if !lines.is_empty() {
        out.facts().mark_truncated();
    }
}
