//! MySQL's and MariaDB's client/server protocol (MySQL internals manual, "Connection Phase" and "Command Phase").
//!
//! Reads the greeting, the login without its secrets, what came of it, and which kinds of commands a client sends.
//! Deliberately not read: statements, results, compressed connections.
//!
//! Where the client asks for TLS both sides answer [`Step::Done`] at the first byte of what follows, having taken nothing of
//! it; [`State::turns_into`] says so. There is no object in EVE for it: all facts are only in our own.

use super::bytes::Reader;
use super::facts::Fact;
use super::http::secrets;
use super::lines::{self, Told};
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const P: Protocol = Protocol::MySql;

/// Version of the server, as it says.
pub const SERVER_VERSION: Fact = Fact::text(P, 1, "server_version", 64);
/// Plugin that the server wants the user to prove itself with, or switched to.
pub const AUTH_PLUGIN: Fact = Fact::text(P, 2, "auth_plugin", 64).repeated(2);
/// User name.
pub const USER: Fact = Fact::text(P, 3, "user", 128);
/// Database asked for.
pub const DATABASE: Fact = Fact::text(P, 4, "database", 128);
/// 1 where the user was let in, 0 where not.
pub const AUTHENTICATED: Fact = Fact::number(P, 5, "authenticated");
/// Code of an error.
pub const CODE: Fact = Fact::number(P, 6, "code");
/// Text of an error, without what it quotes.
pub const MESSAGE: Fact = Fact::text(P, 7, "message", 200);
/// Kind of command, told once each.
pub const COMMAND: Fact = Fact::text(P, 8, "command", 24);
/// 1 where the connection turned into TLS.
pub const TLS: Fact = Fact::number(P, 9, "tls");
/// Name of the client's software: the attribute `_client_name` or `program_name`.
pub const CLIENT: Fact = Fact::text(P, 10, "client", 64);

/// All facts.
pub const FACTS: &[Fact] =
    &[SERVER_VERSION, AUTH_PLUGIN, USER, DATABASE, AUTHENTICATED, CODE, MESSAGE, COMMAND, TLS, CLIENT];

/// A greeting or a login that cannot be read.
pub const HANDSHAKE_INVALID: Anomaly = Anomaly::new(P, 1, "handshake_invalid");
/// The password is sent as it is.
pub const PASSWORD_IN_CLEAR: Anomaly = Anomaly::new(P, 2, "password_in_clear");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[HANDSHAKE_INVALID, PASSWORD_IN_CLEAR];

/// Bytes of a packet that are looked at; the rest is passed over.
pub(super) const LOOK_MAX: usize = 2048;
/// Errors that are told of a connection.
pub(super) const ERRORS_MAX: u8 = 32;
/// Attributes of a client that are looked at.
pub(super) const ATTRIBUTES_MAX: usize = 24;

// Capabilities.
const WITH_DATABASE: u32 = 0x8;
const COMPRESS: u32 = 0x20;
const PROTOCOL_41: u32 = 0x200;
const SSL: u32 = 0x800;
const SECURE: u32 = 0x8000;
const PLUGIN: u32 = 0x8_0000;
const ATTRIBUTES: u32 = 0x10_0000;
const LENGTH_ENCODED: u32 = 0x20_0000;

/// Recognises the greeting of a server, an error in its place, and the login of a client.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    let mut reader = Reader::new(look.bytes);
    let Some([low, middle, high, number]) = reader.array::<4>() else {
        // A length below 64 KiB: its third byte is zero.
        return if look.bytes.get(2).is_none_or(|byte| *byte == 0) { Match::Maybe } else { Match::No };
    };
    let length = usize::from(u16::from_le_bytes([low, middle]));
    if high != 0 || !(9..=1024).contains(&length) {
        return Match::No;
    }
    match (number, reader.u8()) {
        (0 | 1, None) => Match::Maybe,
        (0, Some(10)) => probe_greeting(length, &mut reader),
        (0, Some(0xff)) => match reader.le16() {
            None => Match::Maybe,
            Some(1000..=1999) if reader.len() + 3 <= length && lines::is_text(reader.rest()) => {
                if reader.len() + 3 == length { Match::Yes } else { Match::Maybe }
            }
            Some(_) => Match::No,
        },
        (1, Some(_)) => probe_login(length, look.bytes.get(4..).unwrap_or_default()),
        _ => Match::No,
    }
}

fn probe_greeting(length: usize, reader: &mut Reader<'_>) -> Match {
    let window = reader.rest().get(..64).unwrap_or(reader.rest());
    match window.iter().position(|byte| *byte == 0) {
        Some(end) => {
            let version = window.get(..end).unwrap_or_default();
            let is_version = version.first().is_some_and(u8::is_ascii_digit) && lines::is_plain(version);
            if is_version && version.contains(&b'.') && length > end + 14 { Match::Yes } else { Match::No }
        }
        None if window.len() < 64 && lines::is_plain(window) => Match::Maybe,
        None => Match::No,
    }
}

fn probe_login(length: usize, body: &[u8]) -> Match {
    let mut reader = Reader::new(body);
    let Some(capabilities) = reader.le32() else { return Match::Maybe };
    if capabilities & PROTOCOL_41 == 0 || length < 32 {
        return Match::No;
    }
    if reader.take(5).is_none() {
        return Match::Maybe;
    }
    // Reserved; the last four are capabilities of MariaDB.
    let reserved = reader.rest().get(..19).unwrap_or(reader.rest());
    match reserved.iter().all(|byte| *byte == 0) {
        false => Match::No,
        true if reserved.len() < 19 => Match::Maybe,
        true => Match::Yes,
    }
}

/// Where the connection stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Mode {
    #[default]
    Greeting,
    Login,
    /// Until the server lets the user in, or not.
    Proof,
    Commands,
    Over,
}

/// A MySQL connection.
#[derive(Default, Debug)]
pub struct State {
    told: Told,
    kinds: u64,
    capabilities: u32,
    mode: Mode,
    errors: u8,
    is_tls: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    /// [`Protocol::Tls`] once the connection turns into it, from the byte on at which [`Step::Done`] was answered.
    pub fn turns_into(&self) -> Option<Protocol> {
        self.is_tls.then_some(Protocol::Tls)
    }

    fn greeting(&mut self, body: &[u8], out: &mut dyn Output) -> Option<()> {
        let mut reader = Reader::new(body);
        if reader.u8()? == 0xff {
            self.error(body, out);
            self.mode = Mode::Over;
            return Some(());
        }
        out.facts().put(SERVER_VERSION, reader.until(0)?);
        self.mode = Mode::Login;
        reader.take(13)?;
        let low = reader.le16()?;
        reader.take(3)?;
        let capabilities = u32::from(low) | u32::from(reader.le16()?) << 16;
        let data = reader.u8()?;
        reader.take(10)?;
        if capabilities & SECURE != 0 {
            reader.take(usize::from(data).saturating_sub(8).max(13))?;
        }
        if capabilities & PLUGIN != 0 {
            let rest = reader.rest();
            out.facts().put(AUTH_PLUGIN, reader.until(0).unwrap_or(rest));
        }
        Some(())
    }

    fn login(&mut self, body: &[u8], out: &mut dyn Output) -> Option<()> {
        let mut reader = Reader::new(body);
        self.mode = Mode::Proof;
        let low = u32::from(Reader::new(body).le16()?);
        if low & PROTOCOL_41 == 0 {
            reader.take(5)?;
            self.capabilities = low;
            out.facts().put(USER, reader.until(0)?);
            return Some(());
        }
        self.capabilities = reader.le32()?;
        reader.take(28)?;
        if reader.is_empty() && self.capabilities & SSL != 0 {
            (self.is_tls, self.mode) = (true, Mode::Over);
            out.facts().put_number(TLS, 1);
            out.event();
            return Some(());
        }
        out.facts().put(USER, reader.until(0)?);
        let capabilities = self.capabilities;
        let has = |capability| capabilities & capability != 0;
        match () {
            () if has(LENGTH_ENCODED) => drop(encoded(&mut reader)?),
            () if has(SECURE) => {
                let length = reader.u8()?;
                reader.take(usize::from(length))?;
            }
            () => drop(reader.until(0)?),
        }
        if has(WITH_DATABASE) {
            out.facts().put(DATABASE, reader.until(0)?);
        }
        if has(PLUGIN) {
            self.plugin(reader.until(0)?, out);
        }
        if has(ATTRIBUTES) {
            match encoded(&mut reader) {
                Some(attributes) => put_client(&mut Reader::new(attributes), out),
                None if body.len() + 4 >= LOOK_MAX => out.facts().mark_truncated(), // the packet goes on
                None => return None,
            }
        }
        Some(())
    }

    fn plugin(&mut self, name: &[u8], out: &mut dyn Output) {
        if name == b"mysql_clear_password" {
            self.told.once(PASSWORD_IN_CLEAR, out);
        }
        if out.facts().all(AUTH_PLUGIN).last() != Some(name) {
            out.facts().put(AUTH_PLUGIN, name);
        }
    }

    fn proof(&mut self, body: &[u8], out: &mut dyn Output) {
        match body.split_first() {
            Some((0, _)) => {
                out.facts().put_number(AUTHENTICATED, 1);
                out.event();
                self.mode = if self.capabilities & COMPRESS == 0 { Mode::Commands } else { Mode::Over };
            }
            Some((0xff, _)) => {
                out.facts().put_number(AUTHENTICATED, 0);
                self.error(body, out);
                self.mode = Mode::Over;
            }
            Some((0xfe, rest)) => self.plugin(Reader::new(rest).until(0).unwrap_or_default(), out),
            _ => {}
        }
    }

    fn error(&mut self, body: &[u8], out: &mut dyn Output) {
        let mut reader = Reader::new(body);
        reader.u8();
        let Some(code) = reader.le16() else { return };
        if self.errors >= ERRORS_MAX {
            return out.limit();
        }
        self.errors += 1;
        let text = reader.rest();
        // `#` and five characters of SQLSTATE, since 4.1.
        let text = if text.starts_with(b"#") { text.get(6..).unwrap_or_default() } else { text };
        out.facts().put_number(CODE, u64::from(code));
        let mut places = secrets::Places::<256>::default();
        out.facts().put(MESSAGE, secrets::error(text, body.len() + 4 >= LOOK_MAX, &mut places));
        out.event();
    }

    fn command(&mut self, body: &[u8], out: &mut dyn Output) {
        let Some(kind) = body.first().copied() else { return };
        let bit = 1u64.checked_shl(u32::from(kind)).unwrap_or(0);
        if self.kinds & bit != 0 || bit == 0 {
            return;
        }
        self.kinds |= bit;
        let Some(name) = COMMANDS.get(usize::from(kind)) else { return };
        out.event();
        out.facts().put(COMMAND, name.as_bytes());
        if kind == 2 {
            out.facts().put(DATABASE, body.get(1..).unwrap_or_default());
        }
    }
}

/// Names of the commands by number.
const COMMANDS: [&str; 32] = [
    "sleep",
    "quit",
    "init_db",
    "query",
    "field_list",
    "create_db",
    "drop_db",
    "refresh",
    "shutdown",
    "statistics",
    "process_info",
    "connect",
    "process_kill",
    "debug",
    "ping",
    "time",
    "delayed_insert",
    "change_user",
    "binlog_dump",
    "table_dump",
    "connect_out",
    "register_slave",
    "stmt_prepare",
    "stmt_execute",
    "stmt_send_long_data",
    "stmt_close",
    "stmt_reset",
    "set_option",
    "stmt_fetch",
    "daemon",
    "binlog_dump_gtid",
    "reset_connection",
];

/// Bytes with their length in front, in one to nine bytes.
fn encoded<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = match reader.u8()? {
        small @ 0..=250 => u64::from(small),
        252 => u64::from(reader.le16()?),
        253 => {
            let [low, middle, high] = reader.array::<3>()?;
            u64::from(u32::from_le_bytes([low, middle, high, 0]))
        }
        254 => reader.le64()?,
        _ => return None,
    };
    reader.take(usize::try_from(length).ok()?)
}

fn put_client(attributes: &mut Reader<'_>, out: &mut dyn Output) {
    for _ in 0..ATTRIBUTES_MAX {
        let (Some(name), Some(value)) = (encoded(attributes), encoded(attributes)) else { break };
        if matches!(name, b"_client_name" | b"program_name") {
            out.facts().put(CLIENT, value);
        }
    }
    if !attributes.is_empty() {
        out.facts().mark_truncated();
    }
}

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.mode == Mode::Over {
            return Step::Done;
        }
        let mut reader = Reader::new(bytes);
        let Some([low, middle, high, number]) = reader.array::<4>() else { return Step::Need(4) };
        let whole = u32::from_le_bytes([low, middle, high, 0]) as usize + 4; // below 2^24
        let shown = whole.min(LOOK_MAX);
        let Some(body) = bytes.get(4..shown) else { return Step::Need(shown) };
        match (self.mode, side) {
            (Mode::Greeting | Mode::Login, Side::Originator) => self.login(body, out).unwrap_or_else(|| {
                self.told.once(HANDSHAKE_INVALID, out);
            }),
            (Mode::Greeting, Side::Responder) => match self.greeting(body, out) {
                Some(()) => {}
                None => return Step::Broken(HANDSHAKE_INVALID),
            },
            (Mode::Login | Mode::Proof, Side::Responder) => self.proof(body, out),
            (Mode::Commands, Side::Originator) if number == 0 => self.command(body, out),
            (Mode::Commands, Side::Responder) if number == 1 && body.first() == Some(&0xff) => self.error(body, out),
            _ => {}
        }
        Step::Skip(whole as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::hostile::stream;
    use super::super::parse::{Record, feed};
    use super::super::tries::{C, S, Turns, spoil, talk, unambiguous};
    use super::*;

    fn packet(number: u8, body: &[u8]) -> Vec<u8> {
        let [low, middle, high, _] = (body.len() as u32).to_le_bytes();
        [&[low, middle, high, number][..], body].concat()
    }

    fn greeting() -> Vec<u8> {
        let mut body = b"\x0a8.0.30\0".to_vec();
        body.extend([1; 12]);
        body.extend(b"\0\xff\xff\x2d\x02\0\xff\xdf\x15");
        body.extend([0; 10]);
        body.extend([2; 12]);
        body.extend(b"\0caching_sha2_password\0");
        packet(0, &body)
    }

    fn login(capabilities: u32) -> Vec<u8> {
        let mut body = capabilities.to_le_bytes().to_vec();
        body.extend(b"\0\0\0\x01\x2d");
        body.extend([0; 23]);
        body.extend(b"bob\0\x07hunter2shop\0mysql_native_password\0\x13\x0c_client_name\x05mysql");
        packet(1, &body)
    }

    const ALL: u32 = WITH_DATABASE | PROTOCOL_41 | SECURE | PLUGIN | ATTRIBUTES | LENGTH_ENCODED;

    fn request_tls() -> Vec<u8> {
        packet(1, &[&(PROTOCOL_41 | SSL).to_le_bytes()[..], &[0, 0, 0, 1, 45], &[0; 23]].concat())
    }

    #[test]
    fn is_recognised_by_its_greeting() {
        for (bytes, wanted) in [
            (&greeting()[..], Match::Yes),
            (&greeting()[..8], Match::Maybe),
            (&login(ALL), Match::Yes),
            (&request_tls(), Match::Yes),
            (&packet(0, b"\xff\x69\x04Host 'x' is blocked"), Match::Yes),
            (&packet(0, b"\x0aabcdefghijklmnop\0xxxxxxxxxxxxxxxxxxxx"), Match::No),
            (b"GET / HTTP", Match::No),
            (b"\x16\x03\x01\0\x50", Match::No),
            (b"\0\0\0\x85\xff", Match::No),
        ] {
            assert_eq!(probe(&stream(bytes, [40000, 9])), wanted, "{bytes:02x?}");
        }
        unambiguous(FACTS, ANOMALIES);
    }

    #[test]
    fn logins_and_kinds_of_commands_are_events() {
        let refused = packet(2, b"\xff\x15\x04#28000Access denied for user 'bob'");
        let failed = packet(1, b"\xff\x28\x04#42000Error near 'BY 'Hunter2PW'' at 1");
        let turns: Turns<'_> = &[
            (S, &greeting()),
            (C, &login(ALL)),
            (S, &packet(2, b"\xfemysql_clear_password\0")),
            (C, &packet(3, b"hunter2\0")),
            (S, &packet(4, b"\0\0\0\x02\0\0\0")),
            (C, &packet(0, &[3; 5000])),
            (S, &failed),
            (C, &packet(0, b"\x03again")),
            (C, &packet(0, b"\x02other")),
            (C, &packet(0, b"\x01")),
        ];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        let wanted = [
            "server_version=8.0.30 auth_plugin=caching_sha2_password user=bob database=shop \
             auth_plugin=mysql_native_password client=mysql authenticated=1",
            "command=query code=1064 message=Error near '...' at 1",
            "command=init_db database=other",
            "command=quit",
        ];
        assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec!["password_in_clear"]));
        spoil::<State>(&turns[..5]);
        let (events, _) = talk::<State>(&[(S, &greeting()), (C, &login(ALL)), (S, &refused)], &[FACTS]);
        assert!(events[0].ends_with("authenticated=0 code=1045 message=Access denied for user '...'"), "{events:?}");
        for (text, wanted) in [
            ("at GRANT ALL TO bob IDENTIFIED BY x7Hq2LpZ9v", "at GRANT ALL TO bob IDENTIFIED BY *"),
            ("at SET PASSWORD = x7Hq2LpZ9v", "at SET PASSWORD *"),
            ("no host=h password=x7Hq2LpZ9v", "no host=h password=*"),
        ] {
            let failed = packet(2, &[&b"\xff\x28\x04#42000"[..], text.as_bytes()].concat());
            let (events, _) = talk::<State>(&[(S, &greeting()), (C, &login(ALL)), (S, &failed)], &[FACTS]);
            assert!(events[0].ends_with(&format!("message={wanted}")), "{events:?}");
        }
    }

    #[test]
    fn tls_ends_it_at_the_right_byte() {
        let (mut state, mut out) = (State::default(), Record::default());
        feed(&mut state, S, &greeting(), 3, &mut out);
        feed(&mut state, C, &request_tls(), 3, &mut out);
        assert_eq!(state.turns_into(), Some(Protocol::Tls));
        assert_eq!((state.step(C, b"\x16", &mut out), state.step(S, b"\x16", &mut out)), (Step::Done, Step::Done));
        assert_eq!(talk::<State>(&[(S, &packet(0, b"\x0a8.0"))], &[FACTS]).1, ["handshake_invalid"]);
    }
}
