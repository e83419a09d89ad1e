//! IMAP (RFC 9051, RFC 3501).
//!
//! Reads the greeting and commands with their result, one event each: logins (`LOGIN`, `AUTHENTICATE`) with the user name,
//! mailboxes opened. Literals, and with them mails, are passed over. Deliberately not read: passwords, untagged data.
//!
//! After `STARTTLS` was granted both sides answer [`Step::Done`] at the first byte of what follows, having taken nothing of
//! it; [`State::turns_into`] says so. There is no object in EVE for it: all facts are only in our own.

use super::bytes::Reader;
use super::facts::Fact;
use super::lines::{self, Lines, Told};
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::sasl::{self, Names, Sasl};
use super::sides::Sides;
use crate::dataplane::flow::Side;

const P: Protocol = Protocol::Imap;

/// Tag of the command.
pub const TAG: Fact = Fact::text(P, 1, "tag", 16);
/// The command.
pub const COMMAND: Fact = Fact::text(P, 2, "command", 24);
/// `OK`, `NO` or `BAD`.
pub const STATUS: Fact = Fact::text(P, 3, "status", 8);
/// User name of a login.
pub const USERNAME: Fact = Fact::text(P, 4, "username", 128);
/// Mechanism of AUTHENTICATE.
pub const AUTH_MECHANISM: Fact = Fact::text(P, 5, "auth_mechanism", 32);
/// Mailbox that is opened.
pub const MAILBOX: Fact = Fact::text(P, 6, "mailbox", 128);
/// What the server says first.
pub const BANNER: Fact = Fact::text(P, 7, "banner", 256);
/// 1 where a password went over the wire as it is.
pub const SECRET_SENT: Fact = Fact::number(P, 8, "secret_sent");

/// Facts of SASL.
const NAMES: &Names = &Names { user: USERNAME, secret: SECRET_SENT };

/// All facts.
pub const FACTS: &[Fact] = &[TAG, COMMAND, STATUS, USERNAME, AUTH_MECHANISM, MAILBOX, BANNER, SECRET_SENT];

/// A line longer than [`LINE_MAX`].
pub const LINE_TOO_LONG: Anomaly = Anomaly::new(P, 1, "line_too_long");
/// A line of the client without a tag and a command that is known.
pub const COMMAND_INVALID: Anomaly = Anomaly::new(P, 2, "command_invalid");
/// Commands sent behind STARTTLS without waiting.
pub const STARTTLS_PIPELINED: Anomaly = Anomaly::new(P, 3, "starttls_pipelined");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[LINE_TOO_LONG, COMMAND_INVALID, STARTTLS_PIPELINED];

/// Bytes of a line.
pub const LINE_MAX: usize = 8 * 1024;
/// Bytes of a literal that is read as a user name.
const NAME_MAX: u64 = 256;
/// Commands of a connection that are told.
pub(super) const COMMANDS_MAX: u8 = 64;
/// Commands that no other protocol with lines has behind a tag.
const OWN: [&[u8]; 9] =
    [b"CAPABILITY", b"LOGIN", b"AUTHENTICATE", b"STARTTLS", b"SELECT", b"EXAMINE", b"ID", b"LIST", b"LSUB"];

/// Commands; of a line with another word behind its tag nothing is told: it may be a secret.
#[rustfmt::skip]
const KNOWN: &[&[u8]] = &[
    b"CAPABILITY", b"NOOP", b"LOGOUT", b"STARTTLS", b"AUTHENTICATE", b"LOGIN", b"ENABLE", b"SELECT", b"EXAMINE",
    b"CREATE", b"DELETE", b"RENAME", b"SUBSCRIBE", b"UNSUBSCRIBE", b"LIST", b"LSUB", b"XLIST", b"NAMESPACE", b"STATUS",
    b"APPEND", b"IDLE", b"CHECK", b"CLOSE", b"UNSELECT", b"EXPUNGE", b"SEARCH", b"ESEARCH", b"FETCH", b"STORE", b"COPY",
    b"MOVE", b"UID", b"ID", b"SORT", b"THREAD", b"REPLACE", b"NOTIFY", b"COMPRESS", b"UNAUTHENTICATE", b"LANGUAGE",
    b"COMPARATOR", b"GETQUOTA", b"GETQUOTAROOT", b"SETQUOTA", b"GETACL", b"SETACL", b"DELETEACL", b"LISTRIGHTS",
    b"MYRIGHTS", b"GETMETADATA", b"SETMETADATA", b"GENURLAUTH", b"URLFETCH", b"RESETKEY",
];

/// Recognises the greeting of a server, and tag and command of a client.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    match look.bytes.first() {
        None => Match::Maybe,
        Some(b'*') => {
            let greetings: [&[u8]; 3] = [b"* OK ", b"* PREAUTH ", b"* BYE "];
            let mut found = greetings.map(|greeting| lines::begins(look.bytes, greeting)).into_iter();
            match (found.clone().any(|one| one == Match::Yes), found.any(|one| one == Match::Maybe)) {
                (true, _) => Match::Yes,
                (_, true) => Match::Maybe,
                _ => Match::No,
            }
        }
        Some(_) => probe_client(look.bytes),
    }
}

fn probe_client(bytes: &[u8]) -> Match {
    let line = Reader::new(bytes).line();
    let shown = line.unwrap_or(lines::begun(bytes));
    let Some((tag, rest)) = lines::split(shown, b' ') else {
        return if line.is_none() && is_tag(shown) { Match::Maybe } else { Match::No };
    };
    if tag.len() == 3 && tag.iter().all(u8::is_ascii_digit) && matches!(tag.first(), Some(b'1'..=b'5')) {
        return Match::No; // more likely a reply of FTP or SMTP
    }
    let (command, _) = lines::word(rest);
    let is_known = OWN.iter().any(|own| command.eq_ignore_ascii_case(own));
    let may_be = OWN.iter().any(|own| lines::begins(command, own) == Match::Maybe);
    match (
        is_tag(tag) && tag.iter().any(u8::is_ascii_digit),
        is_known && (line.is_some() || rest.len() > command.len()),
    ) {
        (true, true) => Match::Yes,
        (true, false) if line.is_none() && (may_be || is_known) => Match::Maybe,
        _ => Match::No,
    }
}

fn is_tag(tag: &[u8]) -> bool {
    (1..=16).contains(&tag.len())
        && tag.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// What the next bytes of the client are.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Mode {
    #[default]
    Command,
    /// A user name of so many bytes.
    Name(u16),
    /// The rest of a command, behind a literal; one that was passed over, which may be a password.
    Rest(bool),
    /// Messages of a login.
    Auth,
}

/// An IMAP connection.
#[derive(Default, Debug)]
pub struct State {
    lines: Sides<Lines>,
    told: Told,
    sasl: Sasl,
    mode: Mode,
    commands: u8,
    /// What the server sends is the rest of a line, behind a literal.
    is_rest: bool,
    is_greeted: bool,
    is_starttls: bool,
    is_tls: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

/// Size of the literal that a line ends with.
fn literal(line: &[u8]) -> Option<u64> {
    let inside = line.strip_suffix(b"}")?;
    let at = inside.iter().rposition(|byte| *byte == b'{')?;
    let size = inside.get(at + 1..)?;
    lines::decimal(size.strip_suffix(b"+").or(size.strip_suffix(b"-")).unwrap_or(size))
}

/// Is there an argument, and none that is yet to come as a literal?
fn is_word(argument: &[u8]) -> bool {
    let argument = argument.trim_ascii();
    !argument.is_empty() && literal(argument).is_none()
}

impl State {
    /// [`Protocol::Tls`] once the connection turns into it, from the byte on at which [`Step::Done`] was answered.
    pub fn turns_into(&self) -> Option<Protocol> {
        self.is_tls.then_some(Protocol::Tls)
    }

    /// Reads a line of the client; gives the bytes of a literal that are to be passed over behind it.
    fn client(&mut self, line: &[u8], out: &mut dyn Output) -> u64 {
        let size = literal(line);
        match self.mode {
            Mode::Auth => {
                self.sasl.message(line, NAMES, out);
                return 0;
            }
            Mode::Rest(is_behind) => {
                if is_behind || is_word(line) {
                    self.secret(out);
                }
                self.mode = if size.is_some() { Mode::Rest(true) } else { Mode::Command };
                return size.unwrap_or(0);
            }
            Mode::Command | Mode::Name(_) => {}
        }
        if line.eq_ignore_ascii_case(b"DONE") || line.is_empty() {
            return 0; // ends IDLE
        }
        self.mode = if size.is_some() { Mode::Rest(true) } else { Mode::Command };
        self.command(line, size, out);
        if matches!(self.mode, Mode::Name(_)) { 0 } else { size.unwrap_or(0) }
    }

    fn command(&mut self, line: &[u8], size: Option<u64>, out: &mut dyn Output) {
        if self.is_starttls {
            self.told.once(STARTTLS_PIPELINED, out);
        }
        let (tag, rest) = lines::word(line);
        let (command, argument) = lines::word(rest);
        if !is_tag(tag) || !KNOWN.iter().any(|known| command.eq_ignore_ascii_case(known)) {
            self.told.once(COMMAND_INVALID, out);
            return;
        }
        let is = |other: &[u8]| command.eq_ignore_ascii_case(other);
        let is_login = is(b"LOGIN") || is(b"AUTHENTICATE");
        self.is_starttls = is(b"STARTTLS");
        out.event();
        self.commands = self.commands.saturating_add(1);
        if self.commands > COMMANDS_MAX && !is_login {
            return;
        }
        out.facts().put(TAG, tag);
        out.facts().put(COMMAND, command);
        match () {
            () if is(b"LOGIN") => match size.filter(|size| (1..=NAME_MAX).contains(size) && argument.starts_with(b"{"))
            {
                Some(size) => self.mode = Mode::Name(size as u16), // at most NAME_MAX
                None => {
                    let (name, secret) = lines::quoted(argument);
                    out.facts().put(USERNAME, name);
                    if is_word(secret) {
                        self.secret(out);
                    }
                }
            },
            () if is(b"AUTHENTICATE") => {
                let (mechanism, initial) = lines::word(argument);
                sasl::put_mechanism(AUTH_MECHANISM, mechanism, out);
                self.sasl = Sasl::begin(mechanism, initial, NAMES, out);
                self.mode = Mode::Auth;
            }
            () if is(b"SELECT") || is(b"EXAMINE") => out.facts().put(MAILBOX, lines::quoted(argument).0),
            () => {}
        }
    }

    /// What follows the name of a user is there: in a LOGIN it is the password.
    fn secret(&self, out: &mut dyn Output) {
        let is_login = out.facts().get(COMMAND).is_some_and(|command| command.eq_ignore_ascii_case(b"LOGIN"));
        if is_login && out.facts().get(SECRET_SENT).is_none() {
            out.facts().put_number(SECRET_SENT, 1);
        }
    }

    /// Reads a line of the server; gives the bytes of a literal behind it.
    fn server(&mut self, line: &[u8], out: &mut dyn Output) -> u64 {
        let size = literal(line);
        let is_rest = std::mem::replace(&mut self.is_rest, size.is_some());
        let (tag, rest) = lines::word(line);
        match tag {
            _ if is_rest => {}
            b"*" if !std::mem::replace(&mut self.is_greeted, true) => {
                // RFC 9051 section 7.1.
                let is = |condition: &[u8]| lines::word(rest).0.eq_ignore_ascii_case(condition);
                if is(b"OK") || is(b"PREAUTH") || is(b"BYE") {
                    out.facts().put(BANNER, rest);
                    out.event();
                }
            }
            b"+" => self.sasl.prompt(line.get(1..).unwrap_or_default()),
            b"*" => {}
            _ => self.result(tag, lines::word(rest).0, out),
        }
        size.unwrap_or(0)
    }

    fn result(&mut self, tag: &[u8], status: &[u8], out: &mut dyn Output) {
        if self.mode == Mode::Auth {
            self.mode = Mode::Command;
        }
        if out.facts().get(TAG) != Some(tag) {
            return; // of an earlier command, which was told without
        }
        out.facts().put(STATUS, status);
        out.event();
        self.is_tls = std::mem::take(&mut self.is_starttls) && status.eq_ignore_ascii_case(b"OK");
    }

    fn name(&mut self, size: u16, bytes: &[u8], out: &mut dyn Output) -> Step {
        let size = usize::from(size);
        let Some(name) = bytes.get(..size) else { return Step::Need(size) };
        out.facts().put(USERNAME, name);
        self.mode = Mode::Rest(false);
        Step::Took(size)
    }
}

impl Parse for State {
    fn begin(&mut self, look: &Look<'_>) {
        self.is_greeted = !look.is_before_greeting();
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.is_tls {
            return Step::Done;
        }
        if let (Side::Originator, Mode::Name(size)) = (side, self.mode) {
            return self.name(size, bytes, out);
        }
        let line = match self.lines.of(side).next(bytes, LINE_MAX) {
            Ok(line) => line,
            Err(step) => return step,
        };
        if line.is_cut {
            self.told.once(LINE_TOO_LONG, out);
        }
        let skip = match side {
            Side::Originator => self.client(line.text, out),
            Side::Responder => self.server(line.text, out),
        };
        match if line.is_cut { 0 } else { skip } {
            0 => Step::Took(line.taken),
            skip => Step::Skip(skip.saturating_add(line.taken as u64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hostile::stream;
    use super::super::parse::{Record, feed};
    use super::super::tries::{C, S, Turns, spoil, talk, unambiguous};
    use super::*;

    #[test]
    fn is_recognised_by_greeting_or_commands() {
        for (bytes, wanted) in [
            (&b"* OK [CAPABILITY IMAP4rev1] ready\r\n"[..], Match::Yes),
            (b"* O", Match::Maybe),
            (b"*3\r\n$3\r\nSET", Match::No),
            (b"a001 CAPABILITY\r\n", Match::Yes),
            (b"1 LOGIN bob x\r\n", Match::Yes),
            (b"a001 CAPA", Match::Maybe),
            (b"a001", Match::Maybe),
            (b"GET / HTTP/1.1\r\n", Match::No),
            (b"HELLO LOGIN x\r\n", Match::No),
            (b"220 Login first\r\n", Match::No),
            (b"\x16\x03", Match::No),
        ] {
            assert_eq!(probe(&stream(bytes, [40000, 9])), wanted, "{}", String::from_utf8_lossy(bytes));
        }
        unambiguous(FACTS, ANOMALIES);
    }

    #[test]
    fn commands_and_results_are_paired() {
        let turns: Turns<'_> = &[
            (S, b"* OK Dovecot ready.\r\n"),
            (C, b"a1 LOGIN \"bob\" hunter2\r\n"),
            (S, b"a1 NO [AUTH] no\r\n"),
            (C, b"a2 LOGIN {5}\r\n"),
            (S, b"+ OK\r\n"),
            (C, b"al ic {7}\r\nhunter2\r\n"),
            (S, b"* CAPABILITY x\r\na2 OK in\r\n"),
            (C, b"a3 SELECT INBOX\r\n"),
            (S, b"* 1 EXISTS\r\na3 OK done\r\n"),
            (C, b"a4 FETCH 1 BODY[]\r\n"),
            (S, b"* 1 FETCH (BODY[] {11}\r\na4 BAD x\r\n. UID 5)\r\na4 OK done\r\n"),
            (C, b"a5 AUTHENTICATE PLAIN\r\n"),
            (S, b"+ \r\n"),
            (C, b"AGJvYgBzZWNyZXQ=\r\n"),
            (S, b"a5 OK yes\r\n"),
        ];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        let wanted = [
            "banner=OK Dovecot ready.",
            "tag=a1 command=LOGIN username=bob secret_sent=1 status=NO",
            "tag=a2 command=LOGIN username=al ic secret_sent=1 status=OK",
            "tag=a3 command=SELECT mailbox=INBOX status=OK",
            "tag=a4 command=FETCH status=OK",
            "tag=a5 command=AUTHENTICATE auth_mechanism=PLAIN secret_sent=1 username=bob status=OK",
        ];
        assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
        spoil::<State>(turns);
    }

    #[test]
    fn a_password_is_told_where_it_was_sent() {
        for (lines, is_sent) in [
            (&[&b"a1 LOGIN bob x\r\n"[..]][..], true),
            (&[b"a1 LOGIN bob {1+}\r\nx\r\n"], true),
            (&[b"a1 LOGIN bob {1}\r\n"], false),
            (&[b"a1 LOGIN bob\r\n"], false),
            (&[b"a1 AUTHENTICATE LOGIN\r\n"], false),
            (&[b"a1 AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=\r\n"], true),
            (&[b"a1 LOGIN {3}\r\n", b"bob x\r\n"], true),
            (&[b"a1 LOGIN {3}\r\n", b"bob {1}\r\n"], false),
        ] {
            let turns: Vec<_> = lines.iter().map(|line| (C, *line)).chain([(S, &b"a1 NO\r\n"[..])]).collect();
            let events = talk::<State>(&turns, &[FACTS]).0;
            assert_eq!(events.concat().contains("secret_sent=1"), is_sent, "{lines:?} {events:?}");
        }
    }

    #[test]
    fn no_secret_is_a_tag_or_a_command() {
        for line in [&b"Hunter2PW\r\n"[..], b"a1 Hunter2PW\r\n", b"Hunter2PW x\r\n", b"LOGIN bob Hunter2PW\r\n"] {
            let turns: Turns<'_> = &[(C, line), (S, b"a1 BAD Hunter2PW?\r\nHunter2PW BAD what?\r\n")];
            let (events, anomalies) = talk::<State>(turns, &[FACTS]);
            assert!(!events.concat().contains("Hunter2PW") && !events.concat().contains("LOGIN"), "{events:?}");
            assert_eq!(anomalies, ["command_invalid"]);
        }
        let turns: Turns<'_> = &[(C, b"a1 AUTHENTICATE Hunter/2.PW!\r\n"), (S, b"a1 NO what?\r\n")];
        assert_eq!(talk::<State>(turns, &[FACTS]).0, ["tag=a1 command=AUTHENTICATE status=NO"]);
    }

    #[test]
    fn tls_ends_it_at_the_right_byte() {
        let (mut state, mut out) = (State::default(), Record::default());
        feed(&mut state, C, b"1 STARTTLS\r\n", 3, &mut out);
        feed(&mut state, S, b"1 OK go\r\n", 3, &mut out);
        assert_eq!(state.turns_into(), Some(Protocol::Tls));
        assert_eq!((state.step(C, b"\x16", &mut out), state.step(S, b"\x16", &mut out)), (Step::Done, Step::Done));
        assert_eq!(talk::<State>(&[(C, b"1 STARTTLS\r\n2 NOOP\r\n")], &[FACTS]).1, ["starttls_pipelined"]);
        let long = [&b"1 ID "[..], &[b'x'; 9000], b"\r\n?\r\n"].concat();
        assert_eq!(talk::<State>(&[(C, &long)], &[FACTS]).1, ["line_too_long", "command_invalid"]);
    }
}
