//! POP3 (RFC 1939, RFC 2449, RFC 2595, RFC 5034).
//!
//! Reads commands and the first line of each reply, one event each; a login (`USER`, `PASS`) is one event. Mails and lists
//! are passed over. Deliberately not read: the arguments of `PASS`, the digest of `APOP`, secrets of `AUTH`.
//!
//! After `STLS` was granted both sides answer [`Step::Done`] at the first byte of what follows, having taken nothing of it;
//! [`State::turns_into`] says so.
//!
//! | fact | EVE field |
//! | --- | --- |
//! | `command`, `argument` | `pop3.request.command`, `pop3.request.args` |
//! | `success` | `pop3.response.success`, `pop3.response.status` (`OK`, `ERR`) |
//! | `reply` | `pop3.response.header` |
//! | `username`, `auth_mechanism`, `banner`, `secret_sent` | only in our own object |

use super::bytes::Reader;
use super::facts::Fact;
use super::lines::{self, Lines, Told};
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::sasl::{self, Names, Sasl};
use super::sides::Sides;
use super::text::Text;
use crate::dataplane::flow::Side;

const P: Protocol = Protocol::Pop3;

/// The command; of a login `USER`.
pub const COMMAND: Fact = Fact::text(P, 1, "command", 16);
/// Its argument, where it is no secret.
pub const ARGUMENT: Fact = Fact::text(P, 2, "argument", 64);
/// 1 for `+OK`, 0 for `-ERR`; of a login that of the password.
pub const SUCCESS: Fact = Fact::number(P, 3, "success");
/// Text of the reply.
pub const REPLY: Fact = Fact::text(P, 4, "reply", 128);
/// User name.
pub const USERNAME: Fact = Fact::text(P, 5, "username", 128);
/// Mechanism of `AUTH`.
pub const AUTH_MECHANISM: Fact = Fact::text(P, 6, "auth_mechanism", 32);
/// What the server says first.
pub const BANNER: Fact = Fact::text(P, 7, "banner", 256);
/// 1 where a password went over the wire as it is.
pub const SECRET_SENT: Fact = Fact::number(P, 8, "secret_sent");

/// Facts of SASL.
const NAMES: &Names = &Names { user: USERNAME, secret: SECRET_SENT };

/// All facts.
pub const FACTS: &[Fact] = &[COMMAND, ARGUMENT, SUCCESS, REPLY, USERNAME, AUTH_MECHANISM, BANNER, SECRET_SENT];

/// A line longer than [`LINE_MAX`].
pub const LINE_TOO_LONG: Anomaly = Anomaly::new(P, 1, "line_too_long");
/// A reply that is neither `+OK` nor `-ERR`.
pub const REPLY_INVALID: Anomaly = Anomaly::new(P, 2, "reply_invalid");
/// Commands sent behind STLS without waiting.
pub const STLS_PIPELINED: Anomaly = Anomaly::new(P, 3, "stls_pipelined");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[LINE_TOO_LONG, REPLY_INVALID, STLS_PIPELINED];

/// Bytes of a line.
pub const LINE_MAX: usize = 2048;
const PROBE_LINES: usize = 8;
/// Bytes of a line by which a probe tells; its end, of one byte or two, is not among them.
const PROBE_LINE: usize = 512;
/// Commands that no other protocol with lines has.
const OWN: [&[u8]; 6] = [b"STAT", b"UIDL", b"APOP", b"STLS", b"CAPA", b"TOP"];

/// Commands; of others nothing but the name is told.
#[rustfmt::skip]
const KNOWN: [&[u8]; 17] = [
    b"STAT", b"LIST", b"RETR", b"DELE", b"NOOP", b"RSET", b"QUIT", b"TOP", b"UIDL", b"USER", b"PASS", b"APOP", b"AUTH",
    b"CAPA", b"STLS", b"LANG", b"UTF8",
];

/// Recognises a greeting, and the commands of a client where they are POP3's own or on its port. A greeting without words is
/// Redis' too, and not taken.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    match look.bytes.first() {
        None => Match::Maybe,
        Some(b'+') => probe_server(look),
        Some(_) => probe_client(look),
    }
}

fn probe_server(look: &Look<'_>) -> Match {
    let mut reader = Reader::new(look.bytes);
    let Some(line) = reader.line() else {
        let is_short = look.bytes.len() <= PROBE_LINE;
        return if is_short && lines::begins(look.bytes, b"+OK") != Match::No { Match::Maybe } else { Match::No };
    };
    match lines::after(line, b"+OK") {
        _ if line.len() >= PROBE_LINE => Match::No,
        Some([b' ', rest @ ..]) if !rest.is_empty() && lines::is_text(rest) => Match::Yes,
        Some([]) if look.has_port(110) => Match::Yes,
        _ => Match::No,
    }
}

fn probe_client(look: &Look<'_>) -> Match {
    let mut reader = Reader::new(look.bytes);
    let mut is_login = false;
    for _ in 0..PROBE_LINES {
        let Some(line) = reader.line() else { break };
        let (command, argument) = lines::word(line);
        let is = |other: &[u8]| command.eq_ignore_ascii_case(other);
        let is_number = lines::decimal(argument).is_some();
        match () {
            () if !lines::is_text(line) || line.len() >= PROBE_LINE => return Match::No,
            () if is(b"STAT") && is_login => return Match::Yes,
            () if OWN.iter().any(|own| is(own)) && !is(b"STAT") => return Match::Yes,
            () if is_login && is_number && (is(b"RETR") || is(b"LIST") || is(b"DELE")) => return Match::Yes,
            () if is(b"USER") && !argument.is_empty() => is_login = true,
            () if is(b"PASS") && is_login => {}
            () if is(b"AUTH") && look.has_port(110) => return Match::Yes,
            () => return Match::No,
        }
        if is_login && look.has_port(110) {
            return Match::Yes;
        }
    }
    let rest = lines::begun(reader.rest());
    let known = OWN.into_iter().chain([&b"USER"[..], b"PASS", b"AUTH", b"RETR", b"LIST", b"DELE"]);
    let mut known = known.map(|known| lines::begins(rest, known));
    if rest.len() < PROBE_LINE && lines::is_text(rest) && known.any(|known| known != Match::No) {
        Match::Maybe
    } else {
        Match::No
    }
}

/// A POP3 connection.
#[derive(Default, Debug)]
pub struct State {
    /// Which of the commands without a reply get one of several lines, the oldest in the lowest bit.
    long: u64,
    lines: Sides<Lines>,
    told: Told,
    sasl: Sasl,
    pending: u8,
    is_inside: bool,
    is_login: bool,
    /// The `USER` of the login was answered.
    is_named: bool,
    /// Replies up to and with that to the AUTH that goes on; 0 where none does.
    auth: u8,
    /// An AUTH was ever begun: a line that is no command may be a secret of it.
    was_auth: bool,
    /// A command without a reply is unknown, and may be a secret: an error may repeat it.
    has_unknown: bool,
    is_stls: bool,
    is_greeted: bool,
    is_tls: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    /// [`Protocol::Tls`] once the connection turns into it, from the byte on at which [`Step::Done`] was answered.
    pub fn turns_into(&self) -> Option<Protocol> {
        self.is_tls.then_some(Protocol::Tls)
    }

    fn command(&mut self, line: &[u8], out: &mut dyn Output) {
        if self.auth > 0 {
            self.sasl.message(line, NAMES, out);
            return;
        }
        if self.is_stls {
            self.told.once(STLS_PIPELINED, out);
        }
        let (command, argument) = lines::word(line.trim_ascii());
        let is = |other: &[u8]| command.eq_ignore_ascii_case(other);
        let is_known = KNOWN.iter().any(|known| is(known));
        let is_long = is(b"RETR") || is(b"TOP") || is(b"CAPA") || (argument.is_empty() && (is(b"LIST") || is(b"UIDL")));
        self.long |= u64::from(is_long).checked_shl(u32::from(self.pending)).unwrap_or(0);
        self.pending = self.pending.saturating_add(1).min(63);
        self.has_unknown |= !is_known;
        if is(b"PASS") && self.is_login {
            self.arguments(command, argument, is_known, out);
            return;
        }
        out.event();
        (self.is_login, self.is_named) = (is(b"USER"), false);
        self.is_stls = is(b"STLS");
        let is_name = command.len() <= 4 && command.iter().all(u8::is_ascii_alphabetic);
        if is_known || (is_name && !self.was_auth) {
            out.facts().put(COMMAND, command);
        }
        self.arguments(command, argument, is_known, out);
    }

    fn arguments(&mut self, command: &[u8], argument: &[u8], is_known: bool, out: &mut dyn Output) {
        let is = |other: &[u8]| command.eq_ignore_ascii_case(other);
        match () {
            () if !is_known => {}
            () if is(b"PASS") => {
                if !argument.is_empty() && out.facts().get(SECRET_SENT).is_none() {
                    out.facts().put_number(SECRET_SENT, 1);
                }
            }
            () if is(b"USER") => out.facts().put(USERNAME, argument),
            () if is(b"APOP") => out.facts().put(USERNAME, lines::word(argument).0),
            () if is(b"AUTH") && !argument.is_empty() => {
                let (mechanism, initial) = lines::word(argument);
                sasl::put_mechanism(AUTH_MECHANISM, mechanism, out);
                self.sasl = Sasl::begin(mechanism, initial, NAMES, out);
                (self.auth, self.was_auth) = (self.pending, true);
            }
            () if argument.is_empty() => {}
            () => out.facts().put(ARGUMENT, argument),
        }
    }

    fn reply(&mut self, line: &[u8], out: &mut dyn Output) {
        if self.is_inside {
            self.is_inside = line != b".";
            return;
        }
        let (is_good, text) = match (lines::after(line, b"+OK"), lines::after(line, b"-ERR")) {
            (Some(text), _) => (true, text.trim_ascii()),
            (_, Some(text)) => (false, text.trim_ascii()),
            _ if self.auth > 0 && line.starts_with(b"+") => {
                return self.sasl.prompt(line.get(1..).unwrap_or_default());
            }
            _ => {
                self.told.once(REPLY_INVALID, out);
                return;
            }
        };
        if !std::mem::replace(&mut self.is_greeted, true) && self.pending == 0 {
            out.facts().put(BANNER, text);
            out.event();
            return;
        }
        self.replied(is_good, text, out);
    }

    fn replied(&mut self, is_good: bool, text: &[u8], out: &mut dyn Output) {
        if self.pending > if self.is_login { 2 } else { 1 } {
            out.event(); // of a later command
        }
        self.is_inside = is_good && self.long & 1 == 1;
        self.long >>= 1;
        self.pending = self.pending.saturating_sub(1);
        self.auth = self.auth.saturating_sub(1);
        if self.is_login && is_good && !std::mem::replace(&mut self.is_named, true) {
            return; // PASS follows
        }
        self.is_tls = self.is_stls && is_good;
        out.facts().put_number(SUCCESS, u64::from(is_good));
        if is_good && !text.is_empty() {
            out.facts().put(REPLY, text);
        } else if !text.is_empty() {
            self.error(text, out);
        }
        self.has_unknown &= self.pending > 0;
        (self.is_login, self.is_stls) = (false, false);
        out.event();
    }
}

impl State {
    /// Servers repeat what they do not understand, with quotes and without. Of an error that may repeat a secret the code in
    /// square brackets (RFC 2449 section 8) is told.
    fn error(&self, text: &[u8], out: &mut dyn Output) {
        let mut place = Text::<128>::default();
        let code = text.iter().position(|byte| *byte == b']').filter(|_| text.starts_with(b"["));
        let code = code.and_then(|at| text.get(..=at)).filter(|code| {
            code.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'[' | b']' | b'-' | b'/'))
        });
        match (self.has_unknown, code) {
            (false, _) => out.facts().put(REPLY, lines::unquoted(text, false, &mut place)),
            (true, Some(code)) => out.facts().put(REPLY, code),
            (true, None) => {}
        }
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
        let is_inside = self.is_inside && side == Side::Responder;
        let line = match self.lines.of(side).next(bytes, LINE_MAX) {
            Ok(line) => line,
            Err(Step::Took(taken)) if is_inside => return Step::Pass(taken),
            Err(step) => return step,
        };
        if line.is_cut && !self.is_inside {
            self.told.once(LINE_TOO_LONG, out);
        }
        match side {
            _ if line.text.is_empty() => {}
            Side::Originator => self.command(line.text, out),
            Side::Responder => self.reply(line.text, out),
        }
        if is_inside { Step::Pass(line.taken) } else { Step::Took(line.taken) }
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
        for (bytes, port, wanted) in [
            (&b"+OK POP3 ready <1@x>\r\n"[..], 9, Match::Yes),
            (b"+OK\r\n", 6379, Match::No),
            (b"+OK\r\n", 110, Match::Yes),
            (b"+O", 9, Match::Maybe),
            (b"+PONG\r\n", 9, Match::No),
            (b"CAPA\r\n", 9, Match::Yes),
            (b"USER a\r\n", 110, Match::Yes),
            (b"USER a\r\n", 21, Match::Maybe),
            (b"USER a\r\nPASS b\r\nSYST\r\n", 9, Match::No),
            (b"USER a\r\nPASS b\r\nSTAT\r\n", 9, Match::Yes),
            (b"GET", 110, Match::No),
        ] {
            assert_eq!(probe(&stream(bytes, [40000, port])), wanted, "{}", String::from_utf8_lossy(bytes));
        }
        unambiguous(FACTS, ANOMALIES);
    }

    #[test]
    fn an_error_repeats_no_secret() {
        for (command, reply, wanted) in [
            (&b"PAS Hunter2PW\r\n"[..], &b"-ERR unknown command PAS Hunter2PW\r\n"[..], "command=PAS success=0"),
            (b"Hunter2PW\r\n", b"-ERR Hunter2PW?\r\n", "success=0"),
            (b"PAS Hunter2PW\r\n", b"-ERR [AUTH] Hunter2PW is wrong\r\n", "command=PAS success=0 reply=[AUTH]"),
            (b"PAS Hunter2PW\r\n", b"-ERR [Hunter2PW] no\r\n", "command=PAS success=0"),
            (
                b"PASS Hunter2PW\r\n",
                b"-ERR \"Hunter2PW\" is wrong\r\n",
                "command=PASS secret_sent=1 success=0 reply=\"...\" is wrong",
            ),
            (b"RETR 9\r\n", b"-ERR no message 'x' 9\r\n", "command=RETR argument=9 success=0 reply=no message '...' 9"),
        ] {
            assert_eq!(talk::<State>(&[(C, command), (S, reply)], &[FACTS]).0, [wanted]);
        }
    }

    #[test]
    fn commands_and_replies_are_paired() {
        let turns: Turns<'_> = &[
            (S, b"+OK Dovecot ready.\r\n"),
            (C, b"CAPA\r\n"),
            (S, b"+OK\r\nTOP\r\n+OK no reply\r\n.\r\n"),
            (C, b"USER bob\r\n"),
            (S, b"+OK\r\n"),
            (C, b"PASS hunter2\r\n"),
            (S, b"-ERR no\r\n"),
            (C, b"USER al\r\nPASS hunter2\r\n"),
            (S, b"+OK\r\n+OK in\r\n"),
            (C, b"RETR 1\r\n"),
            (S, b"+OK 5 octets\r\nFrom: x\r\n\r\n-ERR\r\n.\r\n"),
            (C, b"AUTH PLAIN\r\n"),
            (S, b"+ \r\n"),
            (C, b"AGJvYgBzZWNyZXQ=\r\n"),
            (S, b"+OK\r\n"),
            (C, b"APOP eve c4c9334bac560ecc979e58001b3e22fb\r\n"),
            (S, b"-ERR\r\n"),
        ];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        let wanted = [
            "banner=Dovecot ready.",
            "command=CAPA success=1",
            "command=USER username=bob secret_sent=1 success=0 reply=no",
            "command=USER username=al secret_sent=1 success=1 reply=in",
            "command=RETR argument=1 success=1 reply=5 octets",
            "command=AUTH auth_mechanism=PLAIN secret_sent=1 username=bob success=1",
            "command=APOP username=eve success=0",
        ];
        assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
        spoil::<State>(turns);
    }

    #[test]
    fn no_secret_is_told() {
        for (line, wanted) in [
            (&b" PASS Hunter2PW\r\n"[..], "command=PASS secret_sent=1 success=0 reply=no"),
            (b"XPAS Hunter2PW\r\n", "command=XPAS success=0"),
            (b"XPASS Hunter2PW\r\n", "success=0"),
            (b"Hunter2PW\r\n", "success=0"),
        ] {
            assert_eq!(talk::<State>(&[(C, line), (S, b"-ERR no\r\n")], &[FACTS]).0, [wanted]);
        }
        let blob = b"AGJvYgBIdW50ZXIyUFc=\r\n";
        let sent: Turns<'_> = &[
            (C, b"CAPA\r\nAUTH PLAIN\r\n"),
            (S, b"+OK\r\n.\r\n"),
            (S, b"+ \r\n"),
            (C, blob),
            (S, b"+OK in\r\n"),
            (C, b"STAT\r\n"),
            (S, b"+OK\r\n"),
        ];
        let wanted = [
            "command=CAPA",
            "command=AUTH auth_mechanism=PLAIN",
            "success=1",
            "secret_sent=1 username=bob success=1 reply=in",
            "command=STAT success=1",
        ];
        assert_eq!(talk::<State>(sent, &[FACTS]).0, wanted);
        spoil::<State>(sent);
        let refused: Turns<'_> =
            &[(C, b"AUTH PLAIN\r\n"), (S, b"-ERR\r\n"), (C, blob), (C, b"eHg=\r\n"), (C, b"abcd\r\n")];
        assert_eq!(talk::<State>(refused, &[FACTS]).0[0], "command=AUTH auth_mechanism=PLAIN success=0");
        assert!(talk::<State>(refused, &[FACTS]).0[1..].iter().all(String::is_empty));
    }

    #[test]
    fn tls_ends_it_at_the_right_byte() {
        let (mut state, mut out) = (State::default(), Record::default());
        feed(&mut state, S, b"+OK hi\r\n", 3, &mut out);
        feed(&mut state, C, b"STLS\r\n", 3, &mut out);
        feed(&mut state, S, b"+OK go\r\n", 3, &mut out);
        assert_eq!(state.turns_into(), Some(Protocol::Tls));
        assert_eq!((state.step(C, b"\x16", &mut out), state.step(S, b"\x16", &mut out)), (Step::Done, Step::Done));
        assert_eq!(talk::<State>(&[(C, b"STLS\r\nSTAT\r\n")], &[FACTS]).1, ["stls_pipelined"]);
        let long = [&[b'x'; 9000][..], b"\r\n"].concat();
        assert_eq!(talk::<State>(&[(C, &long), (S, b"what\r\n")], &[FACTS]).1, ["line_too_long", "reply_invalid"]);
    }
}
