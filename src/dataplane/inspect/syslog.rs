//! Syslog over UDP and TCP (RFC 5424, RFC 3164, RFC 6587), one event a message.
//!
//! Reads priority, host, program and process. It deliberately does not: keep what the message says, or read structured data.
//!
//! Bounds: only the header of a message is read; a stream's message has 8 KiB at most (a longer one is passed over when it
//! tells its length, and ends the inspection when it does not).
//!
//! EVE has no object for it.

use super::bytes::Reader;
use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Syslog;
/// What kind of program speaks.
pub const FACILITY: Fact = Fact::number(PROTOCOL, 1, "facility");
/// 0 emergency to 7 debug.
pub const SEVERITY: Fact = Fact::number(PROTOCOL, 2, "severity");
/// Host, as the message tells it.
pub const HOST: Fact = Fact::text(PROTOCOL, 3, "host", 255);
/// Program.
pub const PROGRAM: Fact = Fact::text(PROTOCOL, 4, "program", 64);
/// Process.
pub const PROCESS: Fact = Fact::text(PROTOCOL, 5, "process", 32);
/// Kind of the message (RFC 5424).
pub const MESSAGE_ID: Fact = Fact::text(PROTOCOL, 6, "message_id", 32);
/// 1 for RFC 5424, 0 for the older form.
pub const VERSION: Fact = Fact::number(PROTOCOL, 7, "version");

/// All facts.
pub const FACTS: &[Fact] = &[FACILITY, SEVERITY, HOST, PROGRAM, PROCESS, MESSAGE_ID, VERSION];

/// No priority in front.
pub const MALFORMED: Anomaly = Anomaly::new(PROTOCOL, 1, "malformed");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED];

/// Largest message of a stream (RFC 5425 section 4.3.1 asks for 8192).
pub(super) const MESSAGE_MAX: usize = 8192;
const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
const PORTS: [u16; 2] = [514, 601];

/// Priority and what follows it.
fn priority(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != b'<' {
        return None;
    }
    let digits = Reader::new(reader.rest().get(..4).unwrap_or(reader.rest())).until(b'>')?;
    let value = decimal(digits)?;
    reader.take(digits.len() + 1)?;
    (value < 192).then_some((value, reader.rest()))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let fits = (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

fn has_month(text: &[u8]) -> bool {
    text.get(..3).is_some_and(|month| MONTHS.chunks(3).any(|one| one == month)) && text.get(3) == Some(&b' ')
}

/// `1 ` and a date or nothing: RFC 5424.
fn is_new(text: &[u8]) -> bool {
    matches!(
        text,
        [b'1', b' ', b'-', b' ', ..] | [b'1', b' ', b'1'..=b'2', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'-', ..]
    )
}

/// Syslog? A priority and a date behind it; at a known port the priority alone.
pub fn probe(look: &Look<'_>) -> Match {
    let at_port = PORTS.iter().any(|port| look.has_port(*port));
    let mut bytes = look.bytes;
    if !look.is_datagram {
        // A length in front (RFC 6587 section 3.4.1).
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let counted = bytes.get(digits..).unwrap_or_default();
        bytes = match counted {
            [b' ', rest @ ..] if (1..=5).contains(&digits) => rest,
            [] if digits <= 5 => return if look.bytes.is_empty() || digits > 0 { Match::Maybe } else { Match::No },
            _ if digits > 0 => return Match::No,
            _ => bytes,
        };
    }
    match priority(bytes) {
        Some((_, text)) if is_new(text) || has_month(text) => Match::Yes,
        Some((_, text)) if look.is_datagram => {
            if at_port && text.first().is_some_and(|byte| byte.is_ascii_graphic() || *byte == b' ') {
                Match::Yes
            } else {
                Match::No
            }
        }
        Some((_, text)) if text.len() < 7 => Match::Maybe,
        None if !look.is_datagram && bytes.len() < 5 && bytes.first().is_none_or(|byte| *byte == b'<') => Match::Maybe,
        _ => Match::No,
    }
}

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
        out.facts().sent_by(side);
        if !self.is_stream {
            message(bytes, out);
            return Step::Took(bytes.len());
        }
        match bytes.first() {
            Some(b'0'..=b'9') => counted(bytes, out),
            _ => line(bytes, out),
        }
    }
}

/// A message with its length in front.
fn counted(bytes: &[u8], out: &mut dyn Output) -> Step {
    let digits = bytes.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    let length = match (bytes.get(digits), bytes.get(..digits).and_then(decimal)) {
        (None, _) if digits < 6 => return Step::Need(bytes.len() + 1),
        (Some(b' '), Some(length)) => length as usize, // at most five digits
        _ => return Step::Broken(MALFORMED),
    };
    let whole = digits + 1 + length;
    if length > MESSAGE_MAX {
        out.limit();
        return Step::Skip(whole as u64);
    }
    match bytes.get(digits + 1..whole) {
        Some(text) => {
            message(text, out);
            Step::Took(whole)
        }
        None => Step::Need(whole),
    }
}

/// A message that ends with its line.
fn line(bytes: &[u8], out: &mut dyn Output) -> Step {
    let mut reader = Reader::new(bytes);
    match reader.line() {
        Some(text) => {
            if !text.is_empty() {
                message(text, out);
            }
            Step::Took(bytes.len() - reader.len())
        }
        None if bytes.len() > MESSAGE_MAX => Step::Broken(MALFORMED),
        None => Step::Need(bytes.len() + 1),
    }
}

fn message(bytes: &[u8], out: &mut dyn Output) {
    let Some((value, text)) = priority(bytes) else {
        out.anomaly(MALFORMED);
        return;
    };
    out.facts().put_number(FACILITY, value >> 3);
    out.facts().put_number(SEVERITY, value & 7);
    out.facts().put_number(VERSION, u64::from(is_new(text)));
    if is_new(text) {
        new_form(text, out);
    } else {
        old_form(text, out);
    }
    out.event();
}

/// RFC 5424 section 6: words up to the structured data; a dash is none.
fn new_form(text: &[u8], out: &mut dyn Output) {
    let words = text.split(|byte| *byte == b' ').skip(2);
    for (word, fact) in words.zip([HOST, PROGRAM, PROCESS, MESSAGE_ID]) {
        if word != b"-" {
            out.facts().put(fact, word);
        }
    }
}

/// RFC 3164 section 4.1: a date, a host, and a tag that ends at the first byte that is no part of a name.
fn old_form(text: &[u8], out: &mut dyn Output) {
    let mut rest = text;
    if has_month(text) {
        // `Mmm dd hh:mm:ss `, and the host up to the next space.
        let Some(after) = text.get(16..) else { return };
        rest = after;
        let host = rest.split(|byte| *byte == b' ').next().unwrap_or_default();
        if host.last() != Some(&b':') && !host.contains(&b'[') && !host.is_empty() {
            out.facts().put(HOST, host);
            rest = rest.get(host.len() + 1..).unwrap_or_default();
        }
    }
    let end = rest.iter().take(65).position(|byte| !byte.is_ascii_graphic() || matches!(byte, b'[' | b':'));
    let Some((program, after)) = end.and_then(|end| rest.split_at_checked(end)) else { return };
    match after {
        [b':', ..] => out.facts().put(PROGRAM, program),
        [b'[', process @ ..] => {
            out.facts().put(PROGRAM, program);
            if let Some(process) = Reader::new(process).until(b']') {
                out.facts().put(PROCESS, process);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{datagram, show_one, stream, torment_datagram, torment_stream};

    const OLD: &[u8] = b"<34>Oct 11 22:14:15 mymachine su[12]: 'su root' failed";
    const NEW: &[u8] = b"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [x@1 a=\"b\"] text";

    #[test]
    fn both_forms_are_read() {
        let facts = show_one::<State>(OLD).events.remove(0);
        assert_eq!((facts.number(FACILITY), facts.number(SEVERITY)), (Some(4), Some(2)));
        assert_eq!((facts.get(HOST), facts.get(PROGRAM)), (Some(&b"mymachine"[..]), Some(&b"su"[..])));
        assert_eq!(facts.get(PROCESS), Some(&b"12"[..]));
        let facts = show_one::<State>(NEW).events.remove(0);
        assert_eq!(
            (facts.get(HOST), facts.get(PROGRAM)),
            (Some(&b"mymachine.example.com"[..]), Some(&b"evntslog"[..]))
        );
        assert_eq!((facts.get(PROCESS), facts.get(MESSAGE_ID)), (None, Some(&b"ID47"[..])));
        let bare = show_one::<State>(b"<13>sshd: hello").events.remove(0);
        assert_eq!((bare.get(HOST), bare.get(PROGRAM)), (None, Some(&b"sshd"[..])));
        assert_eq!(show_one::<State>(b"<192>x").anomalies, ["malformed"]);
    }

    #[test]
    fn streams_in_both_framings() {
        let lines = [OLD, b"\n", NEW, b"\r\n"].concat();
        assert_eq!(torment_stream(State::stream, &lines, [1, 2], probe).events.len(), 2);
        let counted = [&format!("{} ", OLD.len()).into_bytes(), OLD, b"3 <1>", NEW, b"\n"].concat();
        assert_eq!(torment_stream(State::stream, &counted, [1, 2], probe).events.len(), 3);
        assert_eq!(probe(&stream(b"<html><body>", [1, 514])), Match::No);
        assert_eq!(probe(&datagram(b"<13>hello", [1, 514])), Match::Yes);
        assert_eq!(probe(&datagram(b"<13>hello", [1, 2])), Match::No);
        for message in [OLD, NEW] {
            torment_datagram::<State>(message, [1, 514], probe);
        }
    }
}
