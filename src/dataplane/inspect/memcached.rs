//! memcached over TCP and UDP, text and binary (its `protocol.txt` and `protocol_binary.h`), one event a command or answer.
//!
//! Reads commands, keys and answers; values are passed over unread, as is what a login carries but for its user. Over UDP
//! (which should be off since 1.5.6) a request is an anomaly, as is an answer in many datagrams: the amplifier of CVE-2018-1000115.
//!
//! Recognition: the numbers of a binary header, or a line of text with the words of its command. `get` of text is also what
//! Redis takes; it is told by port 11211 or by the answer.
//!
//! Bounds: a line has 2 KiB, 8 keys are kept.
//!
//! EVE has no object for it.

use super::bytes::Reader;
use super::facts::Fact;
use super::http::secrets;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::text::Text;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Memcached;
/// Command, in text.
pub const COMMAND: Fact = Fact::text(PROTOCOL, 1, "command", 16);
/// Command, in binary.
pub const OPCODE: Fact = Fact::number(PROTOCOL, 2, "opcode");
/// Keys.
pub const KEY: Fact = Fact::text(PROTOCOL, 3, "key", 250).repeated(8);
/// First word of an answer in text.
pub const ANSWER: Fact = Fact::text(PROTOCOL, 4, "answer", 16);
/// Status of an answer in binary.
pub const STATUS: Fact = Fact::number(PROTOCOL, 5, "status");
/// Bytes of the value.
pub const VALUE_BYTES: Fact = Fact::number(PROTOCOL, 6, "value_bytes");
/// User of a login (SASL PLAIN).
pub const USER_NAME: Fact = Fact::text(PROTOCOL, 7, "user_name", 128);
/// Version of the server.
pub const VERSION: Fact = Fact::text(PROTOCOL, 8, "version", 32);
/// Datagrams that an answer has.
pub const DATAGRAMS: Fact = Fact::number(PROTOCOL, 9, "datagrams");

/// All facts.
pub const FACTS: &[Fact] = &[COMMAND, OPCODE, KEY, ANSWER, STATUS, VALUE_BYTES, USER_NAME, VERSION, DATAGRAMS];

/// A line that does not end, or lengths that do not fit.
pub const MALFORMED: Anomaly = Anomaly::new(PROTOCOL, 1, "malformed");
/// A request over UDP.
pub const UDP_REQUEST: Anomaly = Anomaly::new(PROTOCOL, 2, "udp_request");
/// An answer over UDP in several datagrams.
pub const UDP_AMPLIFICATION: Anomaly = Anomaly::new(PROTOCOL, 3, "udp_amplification");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED, UDP_REQUEST, UDP_AMPLIFICATION];

const PORT: u16 = 11211;
pub(super) const LINE_MAX: usize = 2048;
const HEADER_BYTES: usize = 24;
/// Opcodes up to this one exist.
const OPCODE_MAX: u8 = 0x48;
const SASL: [u8; 2] = [0x21, 0x22];

/// Commands that store: key, flags, expiry, bytes.
const STORE: [&[u8]; 6] = [b"set", b"add", b"replace", b"append", b"prepend", b"cas"];
/// Commands with a key and little else.
const KEYED: [&[u8]; 8] = [b"get", b"gets", b"delete", b"incr", b"decr", b"touch", b"gat", b"gats"];
/// Commands that may stand alone.
const BARE: [&[u8]; 4] = [b"stats", b"flush_all", b"version", b"verbosity"];
/// Meta commands (`protocol.txt`): a key follows, and behind that of `ms` the length of a value.
const META: [&[u8]; 5] = [b"mg", b"ms", b"md", b"ma", b"me"];
/// Commands of which nothing more is read.
const OTHERS: [&[u8]; 8] =
    [b"quit", b"mn", b"shutdown", b"lru", b"slabs", b"watch", b"cache_memlimit", b"refresh_certs"];
/// What only servers say, whoever seems to be one.
const ONLY_ANSWERS: [&[u8]; 6] = [b"VALUE", b"STAT", b"END", b"VERSION", b"ERROR", b"OK"];
/// First words of answers that nobody else gives.
const ANSWERS: [&[u8]; 7] =
    [b"STORED", b"NOT_STORED", b"DELETED", b"NOT_FOUND", b"TOUCHED", b"CLIENT_ERROR", b"SERVER_ERROR"];

/// memcached? See the module.
pub fn probe(look: &Look<'_>) -> Match {
    let at_port = look.has_port(PORT);
    if !look.is_datagram {
        return stream_of(look.bytes, at_port);
    }
    // Number of the request, of the datagram, of all, and zero.
    let mut reader = Reader::new(look.bytes);
    let (Some(_), Some(number), Some(all), Some(0)) = (reader.be16(), reader.be16(), reader.be16(), reader.be16())
    else {
        return Match::No;
    };
    let is = number < all && all <= 4096 && stream_of(reader.rest(), at_port) == Match::Yes;
    if is { Match::Yes } else { Match::No }
}

fn stream_of(bytes: &[u8], at_port: bool) -> Match {
    let Some(first) = bytes.first() else { return Match::Maybe };
    if matches!(first, 0x80 | 0x81) {
        return match Binary::read(bytes) {
            None if bytes.len() < HEADER_BYTES => Match::Maybe,
            None => Match::No,
            Some(_) => Match::Yes,
        };
    }
    let Some(line) = Reader::new(bytes).line() else {
        let may_be = is_text(bytes) && may_begin(bytes);
        return if may_be && bytes.len() < LINE_MAX { Match::Maybe } else { Match::No };
    };
    if !is_text(line)
        || line.len() + 2 > bytes.len().min(LINE_MAX)
        || !bytes.get(line.len()..).is_some_and(|end| end.starts_with(b"\r\n"))
    {
        return Match::No;
    }
    text_line(line, at_port)
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\r')
}

/// May a line that is not whole become a command or an answer?
fn may_begin(bytes: &[u8]) -> bool {
    let word = bytes.split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or_default();
    let is_whole = word.len() < bytes.len();
    let fits = |one: &&[u8]| if is_whole { *one == word } else { one.starts_with(word) };
    [&STORE[..], &KEYED, &BARE, &ANSWERS, &ONLY_ANSWERS].iter().any(|list| list.iter().any(&fits))
}

fn text_line(line: &[u8], at_port: bool) -> Match {
    let mut words = line.split(|byte| *byte == b' ');
    let word = words.next().unwrap_or_default();
    let (count, numbers) = words.fold((0, 0), |(all, numbers): (usize, usize), word| {
        (all + 1, numbers + usize::from(!word.is_empty() && word.iter().all(u8::is_ascii_digit)))
    });
    let is = |list: &[&[u8]]| list.contains(&word);
    let fits = is(&STORE) && (4..=6).contains(&count) && numbers >= 3
        || is(&BARE) && count <= 2 && (at_port || word != b"version")
        || is(&ANSWERS)
        || word == b"VALUE" && (3..=4).contains(&count) && numbers >= 2
        || word == b"STAT" && count == 2 && (at_port || line.starts_with(b"STAT pid "));
    if fits {
        return Match::Yes;
    }
    // What others say too.
    let shared = is(&KEYED) && count >= 1 || matches!(line, b"END" | b"ERROR" | b"OK") || word == b"VERSION";
    match (shared, at_port) {
        (true, true) => Match::Yes,
        (true, false) if is(&KEYED) => Match::Maybe,
        _ => Match::No,
    }
}

/// What a binary header tells.
struct Binary {
    is_answer: bool,
    opcode: u8,
    key_bytes: usize,
    extra_bytes: usize,
    status: u16,
    body_bytes: usize,
}

impl Binary {
    fn read(bytes: &[u8]) -> Option<Binary> {
        let mut reader = Reader::new(bytes);
        let (magic, opcode, key_bytes) = (reader.u8()?, reader.u8()?, usize::from(reader.be16()?));
        let (extra_bytes, kind, status) = (usize::from(reader.u8()?), reader.u8()?, reader.be16()?);
        let body_bytes = reader.be32()? as usize;
        reader.take(12)?;
        let fits = matches!(magic, 0x80 | 0x81) && opcode <= OPCODE_MAX && kind == 0 && key_bytes <= 250;
        let lengths_fit = extra_bytes <= 32 && key_bytes + extra_bytes <= body_bytes && body_bytes <= 1 << 27;
        let status_fits = magic == 0x80 || status <= 0x86;
        let is_answer = magic == 0x81;
        let extras_fit = is_answer || extras_fit(opcode, extra_bytes, key_bytes);
        (fits && lengths_fit && status_fits && extras_fit).then_some(Binary {
            is_answer,
            opcode,
            key_bytes,
            extra_bytes,
            status,
            body_bytes,
        })
    }
}

/// Has a request of this opcode so many extra bytes, and a key if it must?
fn extras_fit(opcode: u8, extra: usize, key: usize) -> bool {
    match opcode {
        0x00 | 0x04 | 0x09 | 0x0c | 0x0d => extra == 0 && key > 0,
        0x01..=0x03 | 0x11..=0x13 => extra == 8 && key > 0,
        0x05 | 0x06 | 0x15 | 0x16 => extra == 20 && key > 0,
        0x07 | 0x0a | 0x0b => extra == 0 && key == 0,
        0x08 | 0x18 => matches!(extra, 0 | 4) && key == 0,
        0x0e | 0x0f | 0x19 | 0x1a => extra == 0 && key > 0,
        0x1c..=0x1e | 0x23 | 0x24 => extra == 4,
        _ => extra <= 8,
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
        if self.is_stream {
            let step = unit(side, bytes, out);
            out.facts().sent_by(side);
            out.event();
            return step;
        }
        let mut reader = Reader::new(bytes);
        let (Some(_), Some(number), Some(all), Some(_)) = (reader.be16(), reader.be16(), reader.be16(), reader.be16())
        else {
            out.anomaly(MALFORMED);
            return Step::Took(bytes.len());
        };
        if number == 0 {
            // What follows in the datagram, a value or a part of one, is not read.
            unit(side, reader.rest(), out);
            let is_request = !out.facts().is_empty();
            if side == Side::Originator && is_request {
                out.anomaly(UDP_REQUEST);
            }
            if all > 1 {
                out.anomaly(UDP_AMPLIFICATION);
                out.facts().put_number(DATAGRAMS, all.into());
            }
            out.facts().sent_by(side);
            out.event();
        }
        Step::Took(bytes.len())
    }
}

/// One unit of a stream, or the first of a datagram; no facts before it is whole.
fn unit(side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
    match bytes.first() {
        Some(0x80 | 0x81) => binary(bytes, out),
        _ => text(side, bytes, out),
    }
}

fn binary(bytes: &[u8], out: &mut dyn Output) -> Step {
    if bytes.len() < HEADER_BYTES {
        return Step::Need(HEADER_BYTES);
    }
    let Some(head) = Binary::read(bytes) else { return Step::Broken(MALFORMED) };
    let is_login = SASL.contains(&head.opcode) && !head.is_answer && head.body_bytes <= 1024;
    let key_end = HEADER_BYTES + head.extra_bytes + head.key_bytes;
    let whole = HEADER_BYTES + head.body_bytes;
    // An answer to a question for the version, or one of the statistics.
    let may_be_version = head.is_answer && matches!(head.opcode, 0x0b | 0x10) && head.body_bytes <= 64;
    let needed = if is_login || may_be_version { whole } else { key_end };
    if bytes.len() < needed {
        return Step::Need(needed);
    }
    out.facts().put_number(OPCODE, head.opcode.into());
    if head.is_answer {
        out.facts().put_number(STATUS, head.status.into());
    }
    let key = bytes.get(HEADER_BYTES + head.extra_bytes..key_end).unwrap_or_default();
    if !key.is_empty() {
        put_key(key, out);
    }
    if is_login && key == b"PLAIN" {
        // Identity, user and password, with zeros between; the last is never kept.
        let user = bytes.get(key_end..whole).unwrap_or_default().split(|byte| *byte == 0).nth(1);
        out.facts().put(USER_NAME, user.unwrap_or_default());
    }
    if may_be_version && (head.opcode == 0x0b || key == b"version") {
        out.facts().put(VERSION, bytes.get(key_end..whole).unwrap_or_default());
    }
    if whole > key_end {
        out.facts().put_number(VALUE_BYTES, (whole - key_end) as u64);
    }
    if bytes.len() >= whole { Step::Took(whole) } else { Step::Skip(whole as u64) }
}

fn text(side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
    let mut reader = Reader::new(bytes);
    let line = reader.line();
    let taken = bytes.len() - reader.len();
    let line = match line {
        Some(line) if taken <= LINE_MAX + 1 => line,
        None if bytes.len() <= LINE_MAX => return Step::Need(bytes.len() + 1),
        _ => return Step::Broken(MALFORMED),
    };
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let word = words.next().unwrap_or_default();
    let mut value = None;
    if STORE.contains(&word) || word == b"VALUE" {
        let is_answer = word == b"VALUE";
        out.facts().put(if is_answer { ANSWER } else { COMMAND }, word);
        put_key(words.next().unwrap_or_default(), out);
        let mut numbers = words.skip(if is_answer { 1 } else { 2 });
        let Some(length) = numbers.next().and_then(decimal) else { return Step::Broken(MALFORMED) };
        out.facts().put_number(VALUE_BYTES, length);
        value = Some(length + 2);
    } else if KEYED.contains(&word) || BARE.contains(&word) {
        out.facts().put(COMMAND, word);
        let keys = if word == b"incr" || word == b"decr" || word == b"touch" { 1 } else { usize::MAX };
        words.take(keys).for_each(|key| put_key(key, out));
    } else if side == Side::Originator && !ANSWERS.contains(&word) && !ONLY_ANSWERS.contains(&word) {
        // What is no command may be a login, of which nothing is told.
        out.facts().put(COMMAND, if META.contains(&word) || OTHERS.contains(&word) { word } else { b"*" });
        if META.contains(&word) {
            put_key(words.next().unwrap_or_default(), out);
        }
        if word == b"ms" {
            let Some(length) = words.next().and_then(decimal) else { return Step::Broken(MALFORMED) };
            out.facts().put_number(VALUE_BYTES, length);
            value = Some(length + 2);
        }
    } else if word == b"VA" {
        out.facts().put(ANSWER, word);
        let Some(length) = words.next().and_then(decimal) else { return Step::Broken(MALFORMED) };
        out.facts().put_number(VALUE_BYTES, length);
        value = Some(length + 2);
    } else {
        // The words of answers, and numbers; what is no such word may be a login, which looks like a command that stores.
        let is_word =
            word.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_') || word.iter().all(u8::is_ascii_digit);
        out.facts().put(ANSWER, if is_word { word } else { b"*" });
        match word {
            b"VERSION" => out.facts().put(VERSION, words.next().unwrap_or_default()),
            // Of lists of STAT lines one says something more than their end.
            b"STAT" => match (words.next(), words.next()) {
                (Some(b"version"), Some(version)) => out.facts().put(VERSION, version),
                _ => out.facts().clear(),
            },
            _ => {}
        }
    }
    match value {
        Some(length) => Step::Skip(length.saturating_add(taken as u64)),
        None => Step::Took(taken),
    }
}

/// Of a key that is named like a secret what is behind the name is a star.
fn put_key(key: &[u8], out: &mut dyn Output) {
    out.facts().put(KEY, secrets::named(key, &mut Text::<{ KEY.limit as usize + 1 }>::default()));
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let fits = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{datagram, show, stream, torment_datagram, torment_stream};

    const TEXT: &[u8] = b"set key 0 60 5\r\nhello\r\nget key other\r\nstats\r\nversion\r\n";
    const PORTS: [u16; 2] = [40_000, PORT];

    fn login() -> Vec<u8> {
        let mut bytes = b"\x80\x21\0\x05\0\0\0\0\0\0\0\x12\0\0\0\0\0\0\0\0\0\0\0\0PLAIN\0alice\0secret".to_vec();
        bytes.extend(b"\x81\0\0\0\x04\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\0\xde\xad\xbe\xefvalue");
        bytes
    }

    #[test]
    fn a_line_that_is_too_long_is_malformed_however_it_is_cut() {
        let line = [b"get ".to_vec(), vec![b'k'; LINE_MAX], b"\r\n".to_vec()].concat();
        for size in [1, 100, line.len()] {
            let mut out = crate::dataplane::inspect::Record::default();
            let step = crate::dataplane::inspect::feed(&mut State::stream(), Side::Originator, &line, size, &mut out);
            assert_eq!(step, Step::Broken(MALFORMED), "pieces of {size}");
        }
    }

    #[test]
    fn text_is_read_and_values_are_passed_over() {
        let out = torment_stream(State::stream, TEXT, PORTS, probe);
        let commands: Vec<_> = out.events.iter().filter_map(|event| event.get(COMMAND)).collect();
        assert_eq!(commands, [&b"set"[..], b"get", b"stats", b"version"]);
        assert_eq!((out.events[0].number(VALUE_BYTES), out.events[1].all(KEY).count()), (Some(5), 2));
        let answer = b"VALUE key 0 5\r\nhello\r\nEND\r\n";
        assert_eq!(torment_stream(State::stream, answer, [1, 2], probe).events.len(), 2);
        assert_eq!(probe(&stream(b"get key\r\n", [1, 2])), Match::Maybe, "Redis takes it too");
        assert_eq!(probe(&stream(b"get key\r\n", PORTS)), Match::Yes);
        assert_eq!(probe(&stream(b"GET / HTTP/1.1\r\n", PORTS)), Match::No);
        assert_eq!(probe(&stream(b"STAT\r\n", [1, 110])), Match::No, "POP3");
    }

    #[test]
    fn an_event_is_its_senders_and_what_a_client_says_is_a_command() {
        let set = b"set k 0 0 1\r\nx\r\nms k 2\r\nhi\r\nmg k v\r\nquit\r\n";
        let answers = b"STORED\r\nHD\r\nVA 2\r\nhi\r\n";
        let mut out = crate::dataplane::inspect::Record::default();
        let mut state = State::stream();
        for (side, bytes) in [(Side::Originator, &set[..]), (Side::Responder, answers)] {
            crate::dataplane::inspect::feed(&mut state, side, bytes, usize::MAX, &mut out);
        }
        let told = out.events.iter().map(|event| {
            let word =
                event.get(COMMAND).map(|word| (COMMAND.name, word)).or(event.get(ANSWER).map(|word| ("answer", word)));
            (event.sender(), word.map(|(name, word)| format!("{name}={}", String::from_utf8_lossy(word))))
        });
        let wanted =
            ["command=set", "command=ms", "command=mg", "command=quit", "answer=STORED", "answer=HD", "answer=VA"];
        let side = |word: &str| if word.starts_with("command") { Side::Originator } else { Side::Responder };
        assert_eq!(told.collect::<Vec<_>>(), wanted.map(|word| (side(word), Some(word.to_owned()))));
    }

    #[test]
    fn statistics_name_the_version() {
        let answer = b"STAT pid 7\r\nSTAT uptime 9\r\nSTAT version 1.4.31\r\nSTAT libevent 2.1.8\r\nEND\r\n";
        let binary = |opcode: u8, key: &[u8], value: &[u8]| {
            let body = (key.len() + value.len()) as u8;
            [&[0x81, opcode, 0, key.len() as u8, 0, 0, 0, 0, 0, 0, 0, body], &[0; 12][..], key, value].concat()
        };
        let statistics = [binary(0x10, b"pid", b"1"), binary(0x10, b"version", b"1.4.31")].concat();
        for (bytes, events) in [(&answer[..], 2), (&statistics, 2), (&binary(0x0b, b"", b"1.4.31"), 1)] {
            let out = torment_stream(State::stream, bytes, PORTS, probe);
            let versions: Vec<_> = out.events.iter().filter_map(|event| event.get(VERSION)).collect();
            assert_eq!((versions, out.events.len()), (vec![&b"1.4.31"[..]], events), "{bytes:?}");
        }
    }

    #[test]
    fn binary_is_read_with_users_and_without_passwords() {
        let out = torment_stream(State::stream, &login(), [1, 2], probe);
        assert_eq!((out.events.len(), out.events[0].get(USER_NAME)), (2, Some(&b"alice"[..])));
        assert!(!out.events.iter().any(|event| event.as_bytes().windows(6).any(|part| part == b"secret")));
        assert_eq!(out.events[1].number(STATUS), Some(0));
    }

    /// A login in text is a command that stores, whose value is user and password (`protocol.txt`, "Authentication").
    #[test]
    fn no_secret_is_told() {
        let secret = "x7Hq2LpZ9v";
        let all = [
            format!("set a 0 0 {}\r\nbob {secret}\r\n", 4 + secret.len()),
            format!("get session:{secret}\r\n"),
            format!("set token:{secret} 0 0 1\r\nx\r\n"),
            format!("auth bob {secret}\r\n{secret} bob\r\n"),
        ];
        let (mut state, mut out) = (State::stream(), crate::dataplane::inspect::Record::default());
        let all = all.concat();
        crate::dataplane::inspect::feed(&mut state, Side::Originator, all.as_bytes(), 7, &mut out);
        let has = |event: &super::super::facts::Facts| {
            event.as_bytes().windows(secret.len()).any(|part| part == secret.as_bytes())
        };
        assert_eq!((out.events.len(), out.events.iter().any(has)), (5, false));
        assert_eq!(out.events[1].get(KEY), Some(&b"session:*"[..]));
    }

    #[test]
    fn requests_over_udp_are_an_anomaly() {
        let request = b"\0\x01\0\0\0\x01\0\0stats\r\n";
        let answer = b"\0\x01\0\0\0\x09\0\0STAT pid 1\r\nSTAT x 2\r\n";
        assert_eq!(probe(&datagram(request, [1, 2])), Match::Yes);
        assert_eq!(probe(&datagram(answer, PORTS)), Match::Yes);
        let out = show::<State>(&[(Side::Originator, request), (Side::Responder, answer)]);
        assert_eq!(out.anomalies, ["udp_request", "udp_amplification"]);
        torment_datagram::<State>(request, PORTS, probe);
        torment_datagram::<State>(answer, PORTS, probe);
    }
}
