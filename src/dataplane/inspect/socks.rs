//! SOCKS 4, 4a and 5 (RFC 1928, RFC 1929): who asks whom for a connection to where; then what goes through it is looked at
//! like the beginning of a connection of its own.
//!
//! It deliberately does not: keep passwords (they are stepped over), follow GSS-API (RFC 1961: what comes behind it may be
//! sealed), read the datagrams of an association.
//!
//! Bounds: names of 255 bytes, by their length fields; SOCKS 4 texts of `TEXT_MAX`.

use super::bytes::Reader;
use super::facts::Fact;
use super::http::secrets;
use super::lines;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Socks;
/// 4 or 5.
pub const VERSION: Fact = Fact::number(PROTOCOL, 1, "version");
/// 1 connect, 2 bind, 3 associate (UDP).
pub const COMMAND: Fact = Fact::number(PROTOCOL, 2, "command");
/// Address that the client asks for.
pub const ADDRESS: Fact = Fact::address(PROTOCOL, 3, "address");
/// Name that the client asks for, where it leaves its resolution to the proxy.
pub const HOSTNAME: Fact = Fact::text(PROTOCOL, 4, "hostname", 255);
/// Port that the client asks for.
pub const PORT: Fact = Fact::number(PROTOCOL, 5, "port");
/// Way to log in that the server chose: 0 none, 1 GSS-API, 2 name and password, 255 none that it accepts.
pub const METHOD: Fact = Fact::number(PROTOCOL, 6, "method");
/// Who logs in.
pub const USERNAME: Fact = Fact::text(PROTOCOL, 7, "username", 128);
/// The server's answer to the request: 0 granted in SOCKS 5, 90 in SOCKS 4.
pub const REPLY: Fact = Fact::number(PROTOCOL, 8, "reply");
/// The server's answer to the login: 0 is success.
pub const LOGIN_STATUS: Fact = Fact::number(PROTOCOL, 9, "login_status");

/// All facts.
pub const FACTS: &[Fact] = &[VERSION, COMMAND, ADDRESS, HOSTNAME, PORT, METHOD, USERNAME, REPLY, LOGIN_STATUS];

/// A message that cannot be read.
pub const MALFORMED: Anomaly = Anomaly::new(PROTOCOL, 1, "malformed");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED];

/// Longest user id or name of SOCKS 4, which have no length field.
pub(super) const TEXT_MAX: usize = 255;
/// Ways to log in that a client offers at most: more than are registered (IANA, SOCKS methods).
const METHODS_MAX: usize = 16;
const CONNECT: u8 = 1;

/// SOCKS? A client's greeting that is whole and nothing else, since it waits for the answer; in SOCKS 4, its request.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    match (look.side, look.bytes) {
        // An answer may be seen first; by itself it says too little.
        (Side::Responder, [5] | [5, 0 | 1 | 2 | 255] | [0] | [0, 90..=93, ..]) if look.bytes.len() <= 8 => Match::Maybe,
        (Side::Responder, _) => Match::No,
        (Side::Originator, [5] | [4]) => Match::Maybe,
        (Side::Originator, [5, count, methods @ ..]) => greeting(usize::from(*count), methods),
        (Side::Originator, [4, ..]) => match request4(look.bytes) {
            Read::Whole(request, length) if length == look.bytes.len() && is_plausible(&request) => Match::Yes,
            Read::More => Match::Maybe,
            _ => Match::No,
        },
        _ => Match::No,
    }
}

/// The same by what a client begins with, whatever it sends behind it without waiting; of greetings those that offer one of
/// the ways of RFC 1928 first.
pub(super) fn begins(look: &Look<'_>) -> Match {
    let bytes = match look.bytes {
        [5, _, first, ..] if *first > 2 => return Match::No,
        [5, count, ..] => look.bytes.get(..2 + usize::from(*count)),
        [4, ..] => match request4(look.bytes) {
            Read::Whole(_, length) => look.bytes.get(..length),
            _ => None,
        },
        _ => None,
    };
    probe(&Look { bytes: bytes.unwrap_or(look.bytes), ..*look })
}

/// Each way to log in once, none that is unassigned.
fn greeting(count: usize, methods: &[u8]) -> Match {
    let known = methods.iter().all(|method| matches!(method, 0..=9 | 0x80..=0xfe));
    let twice = methods.iter().enumerate().any(|(at, method)| methods.iter().skip(at + 1).any(|other| other == method));
    match methods.len().cmp(&count) {
        _ if count == 0 || count > METHODS_MAX || methods.len() > count || !known || twice => Match::No,
        std::cmp::Ordering::Less => Match::Maybe,
        _ => Match::Yes,
    }
}

fn is_plausible(request: &Request<'_>) -> bool {
    let is_text = |text: &[u8]| text.iter().all(|byte| (b' '..0x7f).contains(byte));
    matches!(request.command, 1 | 2) && request.port != 0 && is_text(request.user) && is_text(request.name)
}

/// A message that was looked for.
enum Read<T> {
    /// It, and its length.
    Whole(T, usize),
    More,
    Bad,
}

#[derive(Clone, Copy)]
struct Request<'a> {
    command: u8,
    port: u16,
    address: &'a [u8],
    name: &'a [u8],
    user: &'a [u8],
}

/// Text up to a NUL, of at most [`TEXT_MAX`] bytes.
fn text<'a>(reader: &mut Reader<'a>) -> Read<&'a [u8]> {
    let may_go_on = reader.len() <= TEXT_MAX;
    match reader.until(0) {
        Some(text) if text.len() <= TEXT_MAX => Read::Whole(text, text.len() + 1),
        None if may_go_on => Read::More,
        _ => Read::Bad,
    }
}

/// Of a user id the name: version 4 has no field for a password, so some put it behind a colon, or a token in its place.
fn name(user: &[u8]) -> &[u8] {
    let name = lines::split(user, b':').map_or(user, |(name, _)| name);
    if secrets::is_token(name) { b"*" } else { name }
}

/// VN 4, CD, port, address, user id, NUL; the address 0.0.0.x announces a name and another NUL (4a).
fn request4(bytes: &[u8]) -> Read<Request<'_>> {
    let mut reader = Reader::new(bytes);
    let head = (reader.u8(), reader.u8(), reader.be16(), reader.take(4));
    let (Some(_), Some(command), Some(port), Some(address)) = head else { return Read::More };
    let user = match text(&mut reader) {
        Read::Whole(user, _) => user,
        Read::More => return Read::More,
        Read::Bad => return Read::Bad,
    };
    let nothing: &[u8] = &[];
    let (mut name, mut address) = (nothing, address);
    if matches!(address, [0, 0, 0, 1..=255]) {
        name = match text(&mut reader) {
            Read::Whole(name, _) => name,
            Read::More => return Read::More,
            Read::Bad => return Read::Bad,
        };
        address = nothing;
    } else if address == [0; 4] {
        return Read::Bad;
    }
    Read::Whole(Request { command, port, address, name, user }, bytes.len() - reader.len())
}

/// VER 5, CMD or REP, RSV, ATYP, address, port: a request, and an answer too.
fn message5(bytes: &[u8]) -> Read<Request<'_>> {
    let mut reader = Reader::new(bytes);
    let head = (reader.u8(), reader.u8(), reader.u8(), reader.u8());
    let (Some(version), Some(command), Some(_), Some(kind)) = head else { return Read::More };
    let nothing: &[u8] = &[];
    let (address, name) = match kind {
        1 => (reader.take(4), Some(nothing)),
        4 => (reader.take(16), Some(nothing)),
        3 => (Some(nothing), reader.u8().and_then(|length| reader.take(length.into()))),
        _ => return Read::Bad,
    };
    if version != 5 {
        return Read::Bad;
    }
    let (Some(address), Some(name), Some(port)) = (address, name, reader.be16()) else { return Read::More };
    Read::Whole(Request { command, port, address, name, user: nothing }, bytes.len() - reader.len())
}

/// How far a side has come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Stage {
    #[default]
    Greeting,
    /// Login or request.
    Greeted,
    Asked,
    /// What comes goes through.
    Open,
    /// Nothing more is read.
    Closed,
}

/// One connection to a proxy.
#[derive(Default)]
pub struct State {
    client: Stage,
    version: u8,
    method: Option<u8>,
    command: u8,
    logs_in: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    /// See [`super::http::State::turns_into`].
    pub fn turns_into(&self) -> Option<Protocol> {
        (self.client == Stage::Open).then_some(Protocol::Unknown)
    }

    fn client(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        match (self.client, bytes) {
            (Stage::Open | Stage::Closed, _) => Step::Done,
            (Stage::Greeting, [4, ..]) => match request4(bytes) {
                Read::Whole(request, length) => {
                    self.version = 4;
                    self.asked(&request, length, out)
                }
                Read::More => Step::Need(bytes.len() + 1),
                Read::Bad => self.broken(),
            },
            (Stage::Greeting, [5, count, methods @ ..]) => {
                self.version = 5;
                let count = usize::from(*count);
                if methods.len() < count {
                    return Step::Need(2 + count);
                }
                self.client = Stage::Greeted;
                Step::Took(2 + count)
            }
            (Stage::Greeting, [5]) => Step::Need(2),
            // It waits for the answer.
            (Stage::Asked, _) => Step::Need(bytes.len() + 1),
            (Stage::Greeted, [1, ..]) => self.login(bytes, out),
            (Stage::Greeted, _) => match message5(bytes) {
                Read::Whole(request, length) => self.asked(&request, length, out),
                Read::More => Step::Need(bytes.len() + 1),
                Read::Bad => self.broken(),
            },
            _ => self.broken(),
        }
    }

    /// RFC 1929: version, name, password.
    fn login(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        let mut reader = Reader::new(bytes.get(1..).unwrap_or_default());
        let mut field = || reader.u8().and_then(|length| reader.take(length.into()));
        let (Some(user), Some(_password)) = (field(), field()) else { return Step::Need(bytes.len() + 1) };
        out.facts().put(USERNAME, name(user));
        self.logs_in = true;
        Step::Took(bytes.len() - reader.len())
    }

    fn asked(&mut self, request: &Request<'_>, length: usize, out: &mut dyn Output) -> Step {
        (self.client, self.command) = (Stage::Asked, request.command);
        let facts = out.facts();
        facts.put_number(VERSION, self.version.into());
        facts.put_number(COMMAND, request.command.into());
        facts.put_number(PORT, request.port.into());
        for (fact, value) in [(ADDRESS, request.address), (HOSTNAME, request.name), (USERNAME, name(request.user))] {
            if !value.is_empty() {
                facts.put(fact, value);
            }
        }
        Step::Took(length)
    }

    fn server(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        match (self.client, bytes) {
            (Stage::Open | Stage::Closed, _) => Step::Done,
            // A server does not speak first; what it says will be read when what it answers was seen.
            (Stage::Greeting, _) => Step::Need(bytes.len() + 1),
            _ if self.version == 4 => self.reply4(bytes, out),
            (_, [5, method, ..]) if self.method.is_none() => {
                self.method = Some(*method);
                out.facts().put_number(METHOD, (*method).into());
                match method {
                    0 | 2 => Step::Took(2),
                    _ => self.closes(out),
                }
            }
            (_, [_]) => Step::Need(2),
            (_, [1, status, ..]) if self.logs_in => {
                self.logs_in = false;
                out.facts().put_number(LOGIN_STATUS, (*status).into());
                if *status == 0 { Step::Took(2) } else { self.closes(out) }
            }
            (Stage::Asked, _) => match message5(bytes) {
                Read::Whole(reply, length) => self.answered(reply.command, reply.command == 0, length, out),
                Read::More => Step::Need(bytes.len() + 1),
                Read::Bad => self.broken(),
            },
            _ => self.broken(),
        }
    }

    fn reply4(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        match bytes {
            [0, reply @ 90..=93, _, _, _, _, _, _, ..] => self.answered(*reply, *reply == 90, 8, out),
            [0] | [0, 90..=93, ..] => Step::Need(8),
            _ => self.broken(),
        }
    }

    /// The answer to the request ends the event. A granted connection goes through from here on, for both sides.
    fn answered(&mut self, reply: u8, granted: bool, length: usize, out: &mut dyn Output) -> Step {
        out.facts().put_number(REPLY, reply.into());
        out.event();
        self.client = if granted && self.command == CONNECT { Stage::Open } else { Stage::Closed };
        Step::Took(length)
    }

    /// Nothing that can be read follows.
    fn closes(&mut self, out: &mut dyn Output) -> Step {
        self.client = Stage::Closed;
        out.facts().put_number(VERSION, self.version.into());
        out.event();
        Step::Done
    }

    fn broken(&mut self) -> Step {
        self.client = Stage::Closed;
        Step::Broken(MALFORMED)
    }
}

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        match side {
            Side::Originator => self.client(bytes, out),
            Side::Responder => self.server(bytes, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::show;
    use crate::dataplane::inspect::parse::{Record, feed};

    const GREETING: &[u8] = &[5, 2, 0, 2];
    const LOGIN: &[u8] = b"\x01\x05alice\x08password";
    const ASKS: &[u8] = b"\x05\x01\x00\x03\x0bexample.com\x01\xbb";
    const GRANTED: &[u8] = &[5, 0, 0, 1, 10, 0, 0, 1, 4, 56];
    const C: Side = Side::Originator;
    const S: Side = Side::Responder;

    fn look(side: Side, bytes: &[u8]) -> Look<'_> {
        Look { side, bytes, is_datagram: false, ports: [40000, 1080], is_multicast: false, is_begun: [true; 2] }
    }

    #[test]
    fn a_login_and_a_name_are_read_and_no_password() {
        let talk = [(C, GREETING), (S, &[5, 2][..]), (C, LOGIN), (S, &[1, 0]), (C, ASKS), (S, GRANTED)];
        for piece in [1, 2, 3, 7, 64] {
            let (mut state, mut out) = (State::default(), Record::default());
            for (side, bytes) in talk {
                feed(&mut state, side, bytes, piece, &mut out);
            }
            let facts = &out.events[0];
            assert_eq!((out.events.len(), facts.get(HOSTNAME)), (1, Some(&b"example.com"[..])));
            assert_eq!(
                [VERSION, COMMAND, PORT, METHOD, LOGIN_STATUS, REPLY].map(|fact| facts.number(fact)),
                [Some(5), Some(1), Some(443), Some(2), Some(0), Some(0)]
            );
            assert_eq!(facts.get(USERNAME), Some(&b"alice"[..]));
            assert!(!facts.as_bytes().windows(8).any(|part| part == b"password"));
            assert_eq!(state.turns_into(), Some(Protocol::Unknown));
            assert_eq!(state.step(C, b"\x16\x03\x01", &mut out), Step::Done, "and takes nothing of what goes through");
        }
    }

    #[test]
    fn version_4_with_an_address_or_a_name() {
        let plain: &[u8] = b"\x04\x01\x01\xbb\x0a\x00\x00\x02bob\0";
        let named: &[u8] = b"\x04\x01\x00\x50\x00\x00\x00\x01bob\0example.com\0";
        let granted: &[u8] = &[0, 90, 0, 0, 0, 0, 0, 0];
        for (asks, address, name) in [(plain, Some(&[10, 0, 0, 2][..]), None), (named, None, Some(&b"example.com"[..]))]
        {
            assert_eq!(probe(&look(C, asks)), Match::Yes);
            for cut in 1..asks.len() {
                assert_eq!(probe(&look(C, &asks[..cut])), Match::Maybe, "{cut}");
            }
            let out = show::<State>(&[(C, asks), (S, granted)]);
            let facts = &out.events[0];
            assert_eq!(
                (facts.get(ADDRESS), facts.get(HOSTNAME), facts.get(USERNAME)),
                (address, name, Some(&b"bob"[..]))
            );
            assert_eq!(facts.number(REPLY), Some(90));
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_malformed_however_it_is_cut() {
        let asks = [b"\x04\x01\x00\x50\x0a\x00\x00\x02".to_vec(), vec![b'a'; TEXT_MAX + 1], vec![0]].concat();
        for size in [1, 50, asks.len()] {
            let (mut state, mut out) = (State::default(), Record::default());
            assert_eq!(feed(&mut state, C, &asks, size, &mut out), Step::Broken(MALFORMED), "pieces of {size}");
        }
    }

    #[test]
    fn what_is_not_granted_does_not_turn_into_anything() {
        for (answer, code) in [(&[5_u8, 5, 0, 1, 0, 0, 0, 0, 0, 0][..], 5), (&[5, 1, 0, 3, 1, b'a', 0, 0], 1)] {
            let (mut state, mut out) = (State::default(), Record::default());
            for (side, bytes) in [(C, &[5_u8, 1, 0][..]), (S, &[5, 0]), (C, ASKS), (S, answer)] {
                feed(&mut state, side, bytes, 64, &mut out);
            }
            assert_eq!((state.turns_into(), out.events[0].number(REPLY)), (None, Some(code)));
        }
        let out = show::<State>(&[(C, &[5, 1, 2]), (S, &[5, 255])]);
        assert_eq!(out.events[0].number(METHOD), Some(255));
        let out = show::<State>(&[(C, GREETING), (S, &[5, 2]), (C, LOGIN), (S, &[1, 1])]);
        assert_eq!(out.events[0].number(LOGIN_STATUS), Some(1));
    }

    #[test]
    fn what_is_told_apart() {
        for (side, bytes, wanted) in [
            (C, GREETING, Match::Yes),
            (C, &[5, 1, 0][..], Match::Yes),
            (C, &[5], Match::Maybe),
            (C, &[5, 2, 0], Match::Maybe),
            (C, &[5, 1, 0, 0], Match::No),
            (C, &[5, 2, 0, 0], Match::No),
            (C, &[5, 0, 11, 3, 16, 0], Match::No),
            (C, &[4, 1, 0, 0, 1, 2, 3, 4, 0], Match::No),
            (C, &[4, 1, 0, 80, 1, 2, 3, 4, 0, 7], Match::No),
            (C, &[4, 1, 0, 80, 1, 2, 3, 4, 200, 0], Match::No),
            (C, &[4, 1, 0, 80, 0, 0, 0, 0, 0], Match::No),
            (S, &[5, 0], Match::Maybe),
            (S, &[5, 9], Match::No),
            (C, &[], Match::No),
        ] {
            assert_eq!(probe(&look(side, bytes)), wanted, "{bytes:?}");
        }
        assert_eq!(probe(&Look { is_datagram: true, ..look(C, GREETING) }), Match::No);
    }

    #[test]
    fn hostile_bytes_end_it() {
        for bytes in [&[5_u8, 1, 0, 9, 0][..], &[7, 7, 7], &[5, 1, 0, 3, 255]] {
            let out = show::<State>(&[(C, &[5, 1, 0]), (S, &[5, 0]), (C, bytes)]);
            assert!(out.events.len() <= 1, "{bytes:?}");
        }
        let talk = [(C, GREETING), (S, &[5, 2][..]), (C, LOGIN), (S, &[1, 0]), (C, ASKS), (S, GRANTED)];
        for which in 0..talk.len() {
            for at in 0..talk[which].1.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut bytes = talk[which].1.to_vec();
                    bytes[at] ^= flip;
                    let mut other = talk;
                    other[which].1 = &bytes;
                    show::<State>(&other);
                    other[which].1 = &bytes[..at];
                    show::<State>(&other);
                }
            }
        }
    }
}
