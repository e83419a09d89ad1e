//! Telnet (RFC 854, RFC 855).
//!
//! Recognised by its option negotiation. Reads the login name where the server plainly prompts for one, and that something
//! was sent at a prompt for a secret, which is not looked at; an event for each login. Deliberately not read: what follows
//! such a prompt, the session, options' values.
//!
//! There is no object in EVE for it: all facts are only in our own.

use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const P: Protocol = Protocol::Telnet;

/// Login name.
pub const USERNAME: Fact = Fact::text(P, 1, "username", NAME_MAX as u16);
/// Number of the login in the connection, from 1.
pub const ATTEMPT: Fact = Fact::number(P, 2, "attempt");
/// 1 where something was sent at a prompt for a secret.
pub const SECRET_SENT: Fact = Fact::number(P, 3, "secret_sent");

/// All facts.
pub const FACTS: &[Fact] = &[USERNAME, ATTEMPT, SECRET_SENT];

/// A command that is none (RFC 854).
pub const COMMAND_INVALID: Anomaly = Anomaly::new(P, 1, "command_invalid");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[COMMAND_INVALID];

/// Bytes of a login name.
pub(super) const NAME_MAX: usize = 64;
/// Bytes of a line that is awaited at a prompt.
pub(super) const LINE_MAX: usize = 256;
/// Logins of a connection that are told.
pub const ATTEMPTS_MAX: u8 = 32;
/// Bytes of text of the server that are read: a login stands at the begin.
pub(super) const TEXT_MAX: u16 = 16 * 1024;
/// Bytes of text that are remembered for prompts.
const TAIL: usize = 16;

const IAC: u8 = 255;
const SE: u8 = 240;
const SB: u8 = 250;

/// Recognises option negotiation: two commands one after the other, or one and the port.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    let mut rest = look.bytes;
    for found in 0..2 {
        match rest {
            [] if found == 1 && look.has_port(23) => return Match::Yes,
            [] | [IAC] | [IAC, 251..=254] => return Match::Maybe,
            [IAC, SB] if found == 1 => return Match::Maybe,
            [IAC, 251..=254, 0..=49 | 255, behind @ ..] => rest = behind,
            [IAC, SB, 0..=49, ..] if found == 1 => return Match::Yes,
            _ if found == 1 && look.has_port(23) => return Match::Yes,
            _ => return Match::No,
        }
    }
    Match::Yes
}

/// Where a side stands between commands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Command {
    #[default]
    Text,
    /// Behind IAC.
    Begun,
    /// Behind WILL, WONT, DO or DONT.
    Option,
    /// Inside a sub-negotiation.
    Sub,
    /// Behind IAC inside a sub-negotiation.
    SubEnd,
}

impl Command {
    /// Where the next byte leads; and the byte, where it is text.
    fn next(self, byte: u8) -> (Command, Option<u8>) {
        match (self, byte) {
            (Command::Text, IAC) => (Command::Begun, None),
            (Command::Text, _) => (Command::Text, Some(byte)),
            (Command::Begun, 251..=254) => (Command::Option, None),
            (Command::Begun, SB) => (Command::Sub, None),
            (Command::Sub, IAC) => (Command::SubEnd, None),
            (Command::SubEnd, SE) | (Command::Begun | Command::Option, _) => (Command::Text, None),
            (Command::Sub | Command::SubEnd, _) => (Command::Sub, None),
        }
    }
}

/// What the client is asked for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Prompt {
    #[default]
    None,
    Name,
    Secret,
}

/// What stands in a line that asks for a secret.
const SECRETS: [&[u8]; 10] = [
    b"passw",
    b"passcode",
    b"pass phrase",
    b"passphrase",
    b"secret",
    b"kennwort",
    b"mot de passe",
    b"contrase",
    b"senha",
    b"wachtwoord",
];
/// The same as a word of its own: it is a part of many others.
const PIN: &[u8] = b"pin";

/// A Telnet connection.
#[derive(Default, Debug)]
pub struct State {
    /// The last text of the server, in lower case.
    tail: [u8; TAIL],
    text: u16,
    server: Command,
    client: Command,
    prompt: Prompt,
    attempts: u8,
    has_name: bool,
    /// The server's last line has one of [`SECRETS`] in it.
    is_secret: bool,
    told: super::lines::Told,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    fn server(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        for byte in bytes {
            if self.server == Command::Begun && *byte < SE {
                self.told.once(COMMAND_INVALID, out);
            }
            let (next, text) = self.server.next(*byte);
            self.server = next;
            if let Some(text) = text.filter(|text| *text != 0) {
                self.text = self.text.saturating_add(1);
                self.tail.copy_within(1.., 0);
                if let Some(last) = self.tail.last_mut() {
                    *last = text.to_ascii_lowercase();
                }
                self.text(text, out);
            }
        }
        if self.attempts >= ATTEMPTS_MAX {
            out.limit();
            return Step::Done;
        }
        if self.text >= TEXT_MAX { Step::Done } else { Step::Took(bytes.len()) }
    }

    fn text(&mut self, text: u8, out: &mut dyn Output) {
        match text {
            b'\n' => self.is_secret = false,
            _ if SECRETS.iter().any(|secret| self.tail.ends_with(secret)) || self.ends_with_pin() => {
                self.is_secret = true;
                if self.prompt == Prompt::Name {
                    self.prompt = Prompt::None; // no longer surely a name
                }
                if text == b':' {
                    self.prompted(out);
                }
            }
            b':' => self.prompted(out),
            _ => {}
        }
    }

    /// Did the word before the latest byte, which is of no word, ask for a PIN?
    fn ends_with_pin(&self) -> bool {
        let Some((last, before)) = self.tail.split_last() else { return false };
        let word = before.strip_suffix(PIN).filter(|_| !last.is_ascii_alphabetic());
        word.is_some_and(|rest| rest.last().is_none_or(|byte| !byte.is_ascii_alphabetic()))
    }

    fn prompted(&mut self, out: &mut dyn Output) {
        let ends = |end: &[u8]| self.tail.ends_with(end);
        if self.is_secret {
            self.prompt = Prompt::Secret;
        } else if (ends(b"login:") && !ends(b"last login:"))
            || ends(b"username:")
            || ends(b"user name:")
            || ends(b"user:")
        {
            if self.has_name {
                self.told_login(false, out);
            }
            self.prompt = Prompt::Name;
        }
    }

    fn client(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.prompt == Prompt::None || self.client != Command::Text || bytes.first() == Some(&IAC) {
            return self.pass(bytes);
        }
        if matches!(bytes.first(), Some(b'\n' | 0)) {
            return Step::Took(1); // the rest of the line end before
        }
        let window = bytes.get(..LINE_MAX).unwrap_or(bytes);
        let Some(end) = window.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            if bytes.len() < LINE_MAX {
                return Step::Need(bytes.len() + 1);
            }
            self.prompt = Prompt::None;
            out.limit();
            return Step::Took(window.len());
        };
        let line = window.get(..end).unwrap_or_default();
        match std::mem::take(&mut self.prompt) {
            Prompt::Name if !line.is_empty() => {
                let mut place = [0; NAME_MAX + 1]; // one more, so that a cut name is told as such
                // What stands behind a blank is no part of it: some type the password there.
                out.facts().put(USERNAME, super::lines::word(typed(line, &mut place)).0);
                self.has_name = true;
            }
            Prompt::Secret => {
                self.is_secret = false; // answered
                self.told_login(true, out);
            }
            Prompt::Name | Prompt::None => {}
        }
        Step::Took(end + 1)
    }

    /// Passes over commands, and over text nobody asked for.
    fn pass(&mut self, bytes: &[u8]) -> Step {
        let mut taken = 0;
        for byte in bytes {
            let (next, text) = self.client.next(*byte);
            if text.is_some() && self.prompt != Prompt::None {
                break;
            }
            self.client = next;
            taken += 1;
        }
        Step::Took(taken.max(1))
    }

    fn told_login(&mut self, is_secret: bool, out: &mut dyn Output) {
        self.attempts = self.attempts.saturating_add(1);
        out.facts().put_number(ATTEMPT, u64::from(self.attempts));
        out.facts().put_number(SECRET_SENT, u64::from(is_secret));
        out.event();
        self.has_name = false;
    }
}

/// What stands there once commands and corrections of the one who typed are applied.
fn typed<'a>(line: &[u8], place: &'a mut [u8; NAME_MAX + 1]) -> &'a [u8] {
    let (mut used, mut command) = (0usize, Command::Text);
    for byte in line {
        let (next, text) = command.next(*byte);
        command = next;
        match text {
            Some(8 | 127) => used = used.saturating_sub(1),
            Some(0) | None => {}
            Some(text) => {
                if let Some(slot) = place.get_mut(used) {
                    *slot = text;
                    used += 1;
                }
            }
        }
    }
    place.get(..used).unwrap_or_default()
}

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if bytes.is_empty() {
            return Step::Need(1);
        }
        match side {
            Side::Originator if self.attempts >= ATTEMPTS_MAX || self.text >= TEXT_MAX => Step::Done,
            Side::Originator => self.client(bytes, out),
            Side::Responder => self.server(bytes, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hostile::stream;
    use super::super::tries::{C, S, Turns, spoil, talk, unambiguous};
    use super::*;

    #[test]
    fn is_recognised_by_its_negotiation() {
        for (bytes, port, wanted) in [
            (&b"\xff\xfd\x18\xff\xfd\x20"[..], 9, Match::Yes),
            (b"\xff\xfd\x18", 9, Match::Maybe),
            (b"\xff\xfd\x18", 23, Match::Yes),
            (b"\xff\xfb\x01\xff\xfa\x18", 9, Match::Yes),
            (b"\xff\xfb\x90\x64\xff\xfb", 9, Match::No),
            (b"\xff\xd8\xff\xe0", 23, Match::No),
            (b"\xff\xfb\x01hello", 9, Match::No),
            (b"login: ", 23, Match::No),
        ] {
            assert_eq!(probe(&stream(bytes, [40000, port])), wanted, "{bytes:02x?}");
        }
        unambiguous(FACTS, ANOMALIES);
    }

    #[test]
    fn logins_are_events_without_secrets() {
        let turns: Turns<'_> = &[
            (S, b"\xff\xfd\x18\xff\xfb\x01"),
            (C, b"\xff\xfb\x18\xff\xfa\x18\0xterm\xff\xf0"),
            (S, b"Ubuntu 20\r\nhost login: "),
            (C, b"bpb\x7f\x7fob\r\0"),
            (S, b"bob\r\nPassword: "),
            (C, b"hunter2\r\0"),
            (S, b"\r\nLogin incorrect\r\nhost login: "),
            (C, b"alice hunter2\r\n"),
            (S, b"\r\nhost login: "),
            (C, b"eve\r\nhunter2\r\n"),
            (S, b"Password:"),
            (C, b"hunter2\r\n"),
            (S, b"Last login: today\r\n$ "),
            (C, b"ls secret\r\n"),
        ];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        let wanted = [
            "username=bob attempt=1 secret_sent=1",
            "username=alice attempt=2 secret_sent=0",
            "username=eve attempt=3 secret_sent=1",
        ];
        assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
        spoil::<State>(turns);
    }

    #[test]
    fn no_secret_is_a_name() {
        for (prompt, is_told) in [
            ("[sudo] password for user:", true),
            ("Enter PASSCODE, user: ", true),
            ("Pass phrase of user:", true),
            ("PIN for login:", true),
            ("secret of username:", true),
            ("Enter PIN (4 digits): ", true),
            ("PIN: ", true),
            ("Kennwort von user: ", true),
            ("Mot de passe de user: ", true),
            ("login: \r\npassword> ", false),
            ("shipping: ", false),
            ("pins: ", false),
        ] {
            let turns: Turns<'_> = &[
                (S, prompt.as_bytes()),
                (C, b"Hunter2PW\r\n"),
                (S, b"\r\nlogin: "),
                (C, b"bob\r\n"),
                (S, b"\r\nPassword: "),
                (C, b"Hunter2PW\r\n"),
            ];
            let (events, _) = talk::<State>(turns, &[FACTS]);
            let wanted = ["attempt=1 secret_sent=1", "username=bob attempt=2 secret_sent=1"];
            match is_told {
                true => assert_eq!(events, wanted, "{prompt}"),
                false => assert_eq!(events, ["username=bob attempt=1 secret_sent=1"], "{prompt}"),
            }
            spoil::<State>(turns);
        }
    }

    #[test]
    fn bombs_stay_bounded() {
        assert_eq!(talk::<State>(&[(S, &[b'x'; 70_000])], &[FACTS]), (vec![], vec![]));
        assert_eq!(talk::<State>(&[(S, b"login:"), (C, &[b'x'; 9000])], &[FACTS]), (vec![], vec![]));
        assert_eq!(talk::<State>(&[(S, b"\xff\x01")], &[FACTS]).1, ["command_invalid"]);
    }
}
