//! PostgreSQL's frontend/backend protocol, version 3 (PostgreSQL documentation, chapter 55).
//!
//! Reads SSLRequest with its answer, the startup message, how the server wants the user to prove itself and what came of it,
//! the server's parameters, errors by code, and which kinds of messages a client sends. Deliberately not read: passwords and
//! SASL messages, keys of cancelling, statements, rows.
//!
//! Where the server grants TLS both sides answer [`Step::Done`] at the first byte of what follows, having taken nothing of
//! it; [`State::turns_into`] says so.
//!
//! | fact | EVE field |
//! | --- | --- |
//! | `user`, `database`, `application` | `pgsql.request.startup_parameters.user`, `.optional_parameters[].database`, `.application_name` |
//! | `protocol_version` | `pgsql.request.protocol_version` |
//! | `request` | `pgsql.request.message` |
//! | `ssl_accepted` | `pgsql.response.ssl_accepted` |
//! | `code`, `severity`, `message` | `pgsql.response.code`, `.severity_non_localizable`, `.message` |
//! | `server_version` | `pgsql.response.parameter_status[].server_version` |
//! | `auth_method`, `sasl_mechanism`, `authenticated` | `pgsql.response.message`, `pgsql.request.sasl_authentication_mechanism`, none |

use super::bytes::Reader;
use super::facts::Fact;
use super::http::secrets;
use super::lines::Told;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::sasl;
use crate::dataplane::flow::Side;

const P: Protocol = Protocol::PostgreSql;

/// Kind of request: `ssl_request`, `gssenc_request`, `cancel_request`, `startup_message`, `simple_query`, `parse`, ...
pub const REQUEST: Fact = Fact::text(P, 1, "request", 24);
/// User name.
pub const USER: Fact = Fact::text(P, 2, "user", 128);
/// Database asked for.
pub const DATABASE: Fact = Fact::text(P, 3, "database", 128);
/// Name of the client's software.
pub const APPLICATION: Fact = Fact::text(P, 4, "application", 128);
/// Version of the protocol, as in `3.0`.
pub const PROTOCOL_VERSION: Fact = Fact::text(P, 5, "protocol_version", 16);
/// 1 where the server granted TLS, 0 where it refused.
pub const SSL_ACCEPTED: Fact = Fact::number(P, 6, "ssl_accepted");
/// How the server wants the user to prove itself.
pub const AUTH_METHOD: Fact = Fact::text(P, 7, "auth_method", 24);
/// SASL mechanism that the client chose.
pub const SASL_MECHANISM: Fact = Fact::text(P, 8, "sasl_mechanism", 32);
/// 1 where the user was let in, 0 where not.
pub const AUTHENTICATED: Fact = Fact::number(P, 9, "authenticated");
/// Version of the server.
pub const SERVER_VERSION: Fact = Fact::text(P, 10, "server_version", 64);
/// SQLSTATE of an error.
pub const CODE: Fact = Fact::text(P, 11, "code", 8);
/// Severity of an error.
pub const SEVERITY: Fact = Fact::text(P, 12, "severity", 16);
/// Text of an error, without what it quotes.
pub const MESSAGE: Fact = Fact::text(P, 13, "message", 200);

/// All facts.
pub const FACTS: &[Fact] = &[
    REQUEST,
    USER,
    DATABASE,
    APPLICATION,
    PROTOCOL_VERSION,
    SSL_ACCEPTED,
    AUTH_METHOD,
    SASL_MECHANISM,
    AUTHENTICATED,
    SERVER_VERSION,
    CODE,
    SEVERITY,
    MESSAGE,
];

/// A message whose length or type cannot be.
pub const MESSAGE_INVALID: Anomaly = Anomaly::new(P, 1, "message_invalid");
/// A startup message that cannot be read.
pub const STARTUP_INVALID: Anomaly = Anomaly::new(P, 2, "startup_invalid");
/// The user proves itself with the password itself, not encrypted.
pub const PASSWORD_IN_CLEAR: Anomaly = Anomaly::new(P, 3, "password_in_clear");
/// An answer to SSLRequest that is none.
pub const SSL_ANSWER_INVALID: Anomaly = Anomaly::new(P, 4, "ssl_answer_invalid");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MESSAGE_INVALID, STARTUP_INVALID, PASSWORD_IN_CLEAR, SSL_ANSWER_INVALID];

/// Bytes of a startup message (the server's own limit).
pub(super) const STARTUP_MAX: u32 = 10_000;
/// Bytes of a message: what a server takes at most.
const MESSAGE_MAX: u32 = 0x3fff_ffff;
/// Bytes of a message that are looked at; the rest is passed over.
pub(super) const LOOK_MAX: usize = 1024;
/// Parameters of a startup message, and fields of an error.
pub(super) const FIELDS_MAX: usize = 32;
/// Kinds of requests, and errors, that are told of a connection.
pub(super) const EVENTS_MAX: u8 = 32;

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// Recognises SSLRequest and its like, and a startup message by its version and its first parameter; a server's first message
/// by its kind and length.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    match look.bytes.first() {
        None => Match::Maybe,
        Some(0) => probe_startup(look.bytes),
        Some(b'R') => probe_server(look.bytes),
        Some(_) => Match::No,
    }
}

fn probe_startup(bytes: &[u8]) -> Match {
    let mut reader = Reader::new(bytes);
    let Some(length) = reader.be32() else { return Match::Maybe };
    if !(8..=STARTUP_MAX).contains(&length) {
        return Match::No;
    }
    let Some(code) = reader.be32() else {
        let known = [SSL_REQUEST, GSSENC_REQUEST, CANCEL_REQUEST, 3 << 16].map(u32::to_be_bytes);
        let rest = reader.rest();
        return if known.iter().any(|known| known.starts_with(rest)) { Match::Maybe } else { Match::No };
    };
    match (code, length) {
        (SSL_REQUEST | GSSENC_REQUEST, 8) | (CANCEL_REQUEST, 16) => Match::Yes,
        (_, 14..) if code >> 16 == 3 && code & 0xffff <= 2 => {
            let name = reader.rest();
            // Names of parameters, of which `user` must be there and is first with all clients that are known.
            let known: [&[u8]; 6] =
                [b"user\0", b"database\0", b"client_encoding\0", b"application_name\0", b"options\0", b"replication\0"];
            let is_known = known.iter().any(|known| name.starts_with(known));
            match known.iter().any(|known| known.starts_with(name)) {
                _ if is_known => Match::Yes,
                true => Match::Maybe,
                false => Match::No,
            }
        }
        _ => Match::No,
    }
}

fn probe_server(bytes: &[u8]) -> Match {
    let mut reader = Reader::new(bytes);
    reader.u8();
    let Some(length) = reader.be32() else {
        let zeros = reader.rest().iter().take(3).all(|byte| *byte == 0);
        return if zeros { Match::Maybe } else { Match::No };
    };
    match (length, reader.be32()) {
        (8..=255, None) => Match::Maybe,
        (8, Some(0 | 2 | 3 | 6 | 7 | 9)) | (12, Some(5)) | (10..=255, Some(10)) => Match::Yes,
        _ => Match::No,
    }
}

/// Where the client stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Mode {
    /// Before a startup message.
    #[default]
    Startup,
    /// Before the one byte that answers SSLRequest or GSSENCRequest.
    Asked,
    /// Messages.
    Running,
}

/// A PostgreSQL connection.
#[derive(Default, Debug)]
pub struct State {
    told: Told,
    /// Kinds of requests that were told.
    kinds: u32,
    mode: Mode,
    events: u8,
    is_sasl: bool,
    is_in: bool,
    is_tls: bool,
    is_over: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    /// [`Protocol::Tls`] once the connection turns into it, from the byte on at which [`Step::Done`] was answered.
    pub fn turns_into(&self) -> Option<Protocol> {
        self.is_tls.then_some(Protocol::Tls)
    }

    fn startup(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        let mut reader = Reader::new(bytes);
        let (Some(length), Some(code)) = (reader.be32(), reader.be32()) else { return Step::Need(8) };
        if !(8..=STARTUP_MAX).contains(&length) {
            return Step::Broken(STARTUP_INVALID);
        }
        let whole = length as usize; // at most STARTUP_MAX
        let Some(parameters) = reader.part(whole - 8) else { return Step::Need(whole) };
        match code {
            SSL_REQUEST | GSSENC_REQUEST => {
                let name: &[u8] = if code == SSL_REQUEST { b"ssl_request" } else { b"gssenc_request" };
                out.facts().put(REQUEST, name);
                self.mode = Mode::Asked;
            }
            CANCEL_REQUEST => {
                out.facts().put(REQUEST, b"cancel_request");
                out.event();
                self.is_over = true;
            }
            _ if code >> 16 == 3 => {
                out.event();
                out.facts().put(REQUEST, b"startup_message");
                let minor = u8::try_from(code & 0xffff).unwrap_or(9).min(9);
                out.facts().put(PROTOCOL_VERSION, &[b'3', b'.', b'0' + minor]);
                put_parameters(parameters, out);
                self.mode = Mode::Running;
            }
            _ => return Step::Broken(STARTUP_INVALID),
        }
        Step::Took(whole)
    }

    fn answer(&mut self, byte: u8, out: &mut dyn Output) -> Step {
        match byte {
            b'S' | b'G' => {
                self.is_tls = byte == b'S';
                self.is_over = true;
            }
            b'N' | b'E' => self.mode = Mode::Startup,
            _ => return Step::Broken(SSL_ANSWER_INVALID),
        }
        out.facts().put_number(SSL_ACCEPTED, u64::from(byte == b'S'));
        out.event();
        Step::Took(1)
    }

    fn message(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let mut reader = Reader::new(bytes);
        let (Some(kind), Some(length)) = (reader.u8(), reader.be32()) else { return Step::Need(5) };
        if !(4..=MESSAGE_MAX).contains(&length) || !kind.is_ascii_graphic() {
            self.told.once(MESSAGE_INVALID, out);
            self.is_over = true;
            return Step::Done;
        }
        let whole = length as usize + 1; // at most MESSAGE_MAX
        let Some(body) = bytes.get(5..whole.min(LOOK_MAX)) else {
            return Step::Need(whole.min(LOOK_MAX));
        };
        match side {
            Side::Originator => self.request(kind, body, out),
            Side::Responder => self.response(kind, body, out),
        }
        Step::Skip(whole as u64)
    }

    fn request(&mut self, kind: u8, body: &[u8], out: &mut dyn Output) {
        if kind == b'p' {
            if std::mem::take(&mut self.is_sasl) {
                sasl::put_mechanism(SASL_MECHANISM, Reader::new(body).until(0).unwrap_or_default(), out);
            }
            return;
        }
        let name: &[u8] = match kind {
            b'Q' => b"simple_query",
            b'P' => b"parse",
            b'F' => b"function_call",
            b'd' => b"copy_data",
            b'X' => b"terminate",
            _ => return,
        };
        // Letters: their low five bits, and the case.
        let bit = 1u32 << (kind & 31);
        if self.kinds & bit == 0 {
            self.kinds |= bit;
            out.event();
            out.facts().put(REQUEST, name);
        }
    }

    fn response(&mut self, kind: u8, body: &[u8], out: &mut dyn Output) {
        match kind {
            b'R' => self.authentication(body, out),
            b'S' => put_status(body, out),
            b'E' => self.error(body, out),
            b'Z' => out.event(),
            _ => {}
        }
    }

    fn authentication(&mut self, body: &[u8], out: &mut dyn Output) {
        let method: &[u8] = match Reader::new(body).be32() {
            Some(0) => {
                self.is_in = true;
                out.facts().put_number(AUTHENTICATED, 1);
                return;
            }
            Some(2) => b"kerberos5",
            Some(3) => {
                self.told.once(PASSWORD_IN_CLEAR, out);
                b"password"
            }
            Some(5) => b"md5",
            Some(6) => b"scm",
            Some(7) => b"gss",
            Some(9) => b"sspi",
            Some(10) => {
                self.is_sasl = true;
                b"sasl"
            }
            _ => return,
        };
        out.facts().put(AUTH_METHOD, method);
    }

    fn error(&mut self, body: &[u8], out: &mut dyn Output) {
        if self.events >= EVENTS_MAX {
            return out.limit();
        }
        self.events += 1;
        let mut reader = Reader::new(body);
        for field in 0..=FIELDS_MAX {
            let kind = reader.u8();
            if kind == Some(0) {
                break;
            }
            let (Some(kind), Some(value), true) = (kind, reader.until(0), field < FIELDS_MAX) else {
                out.facts().mark_truncated(); // too many, or cut
                break;
            };
            match kind {
                b'C' => out.facts().put(CODE, value),
                b'V' => out.facts().put(SEVERITY, value),
                b'M' => {
                    out.facts().put(MESSAGE, secrets::error(value, false, &mut secrets::Places::<256>::default()));
                }
                _ => {}
            }
        }
        if !self.is_in {
            out.facts().put_number(AUTHENTICATED, 0);
        }
        out.event();
    }
}

fn put_parameters(mut parameters: Reader<'_>, out: &mut dyn Output) {
    for number in 0..=FIELDS_MAX {
        let (Some(name), Some(value)) = (parameters.until(0), parameters.until(0)) else { break };
        match name {
            _ if number == FIELDS_MAX => out.facts().mark_truncated(),
            b"user" => out.facts().put(USER, value),
            // Some give a whole URI for its name.
            b"database" => out.facts().put(DATABASE, secrets::told(value, &mut secrets::Places::<256>::default())),
            b"application_name" => out.facts().put(APPLICATION, value),
            _ => {}
        }
    }
}

fn put_status(body: &[u8], out: &mut dyn Output) {
    let mut reader = Reader::new(body);
    if let (Some(b"server_version"), Some(value)) = (reader.until(0), reader.until(0)) {
        out.facts().put(SERVER_VERSION, value);
    }
}

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let Some(first) = bytes.first().copied() else { return Step::Need(1) };
        match (self.mode, side) {
            _ if self.is_over => Step::Done,
            (Mode::Startup, Side::Originator) => self.startup(bytes, out),
            (Mode::Asked, Side::Responder) => self.answer(first, out),
            // TLS without waiting for the answer.
            (Mode::Asked, Side::Originator) => Step::Need(bytes.len() + 1),
            (Mode::Startup, Side::Responder) => {
                self.mode = Mode::Running; // the capture began in mid-stream
                self.message(side, bytes, out)
            }
            (Mode::Running, _) => self.message(side, bytes, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hostile::stream;
    use super::super::parse::{Record, feed};
    use super::super::tries::{C, S, Turns, spoil, talk, unambiguous};
    use super::*;

    fn startup(code: u32, body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], &code.to_be_bytes(), body].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    }

    const PARAMETERS: &[u8] = b"user\0bob\0database\0shop\0application_name\0psql\0\0";

    #[test]
    fn is_recognised_by_its_first_message() {
        for (bytes, wanted) in [
            (&startup(SSL_REQUEST, b"")[..], Match::Yes),
            (&startup(3 << 16, PARAMETERS), Match::Yes),
            (&startup(3 << 16, PARAMETERS)[..10], Match::Maybe),
            (b"\0\0\0", Match::Maybe),
            (&startup(4 << 16, PARAMETERS), Match::No),
            (b"\0\0\0\x08\x01\x02\x03\x04", Match::No),
            (&message(b'R', b"\0\0\0\x03"), Match::Yes),
            (b"R\0\0", Match::Maybe),
            (b"RETR", Match::No),
            (b"S", Match::No),
        ] {
            assert_eq!(probe(&stream(bytes, [40000, 9])), wanted, "{bytes:02x?}");
        }
        unambiguous(FACTS, ANOMALIES);
    }

    #[test]
    fn logins_and_errors_are_events() {
        let refused = message(b'E', b"SFATAL\0VFATAL\0C28P01\0Mno\0\0");
        let failed = message(b'E', b"VERROR\0C42P01\0Mat \"'Hunter2PW'\" no\0\0");
        let first = [&message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")[..]].concat();
        let welcome =
            [message(b'R', &[0; 4]), message(b'S', b"server_version\x0016.1\0"), message(b'Z', b"I")].concat();
        let turns: Turns<'_> = &[
            (C, &startup(SSL_REQUEST, b"")),
            (S, b"N"),
            (C, &startup(3 << 16, PARAMETERS)),
            (S, &first),
            (C, &message(b'p', b"SCRAM-SHA-256\0\0\0\0\x20n,,hunter2")),
            (S, &welcome),
            (C, &message(b'Q', &[b'x'; 3000])),
            (S, &failed),
            (C, &message(b'Q', b"again\0")),
            (S, &message(b'D', &[7; 50_000])),
            (S, &refused),
            (C, &message(b'X', b"")),
        ];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        let wanted = [
            "request=ssl_request ssl_accepted=0",
            "request=startup_message protocol_version=3.0 user=bob database=shop application=psql auth_method=sasl \
             sasl_mechanism=SCRAM-SHA-256 authenticated=1 server_version=16.1",
            "request=simple_query severity=ERROR code=42P01 message=at \"...\" no",
            "severity=FATAL code=28P01 message=no",
            "request=terminate",
        ];
        assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
        spoil::<State>(&turns[..6]);
        let turns: Turns<'_> =
            &[(C, &startup(3 << 16, PARAMETERS)), (S, &[message(b'R', b"\0\0\0\x03"), refused].concat())];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        assert!(events[0].ends_with("auth_method=password severity=FATAL code=28P01 message=no authenticated=0"));
        assert_eq!(anomalies, ["password_in_clear"]);
    }

    #[test]
    fn no_secret_is_told() {
        let secret = "x7Hq2LpZ9v";
        let error = |text: &str| message(b'E', format!("VERROR\0C42601\0M{text}\0\0").as_bytes());
        let database = format!("user\0bob\0database\0postgres://bob:{secret}@h/shop\0\0");
        let turns: Turns<'_> = &[
            (C, &startup(3 << 16, database.as_bytes())),
            (S, &message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")),
            (C, &message(b'p', format!("{secret}\0").as_bytes())),
            (S, &error("password authentication failed for user \"bob\"")),
            (S, &error(&format!("syntax error in ALTER ROLE bob PASSWORD '{secret}'"))),
            (S, &error(&format!("syntax error in ALTER ROLE bob PASSWORD $x${secret}$x$"))),
            (S, &error(&format!("could not connect: host=h password={secret} x"))),
            (S, &error(&format!("bad URI postgres://bob:{secret}@h/"))),
        ];
        let (events, _) = talk::<State>(turns, &[FACTS]);
        assert_eq!((events.len(), events[0].contains("database=postgres://*@h/shop")), (5, true), "{events:?}");
        assert!(events[0].contains("message=password authentication failed for user"), "{events:?}");
        assert!(events.iter().all(|event| !event.contains(secret)), "{events:?}");
    }

    #[test]
    fn tls_ends_it_at_the_right_byte() {
        let (mut state, mut out) = (State::default(), Record::default());
        feed(&mut state, C, &startup(SSL_REQUEST, b""), 3, &mut out);
        feed(&mut state, S, b"S", 1, &mut out);
        assert_eq!(state.turns_into(), Some(Protocol::Tls));
        assert_eq!((state.step(C, b"\x16", &mut out), state.step(S, b"\x16", &mut out)), (Step::Done, Step::Done));
        let answer = &[(C, &startup(SSL_REQUEST, b"")[..]), (S, b"\x4a\0")];
        assert_eq!(talk::<State>(answer, &[FACTS]).1, ["ssl_answer_invalid"]);
        assert_eq!(talk::<State>(&[(C, b"\0\0\0\x01\0\0\0\0")], &[FACTS]).1, ["startup_invalid"]);
        let broken = &[(C, &startup(3 << 16, PARAMETERS)[..]), (S, b"\0\0\0\0\0")];
        assert_eq!(talk::<State>(broken, &[FACTS]).1, ["message_invalid"]);
    }
}
