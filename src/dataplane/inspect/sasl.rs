//! User names out of SASL exchanges (RFC 4422), as SMTP, IMAP and POP3 carry them in Base64. Of secrets nothing is kept but
//! that one was sent.

use super::facts::Fact;
use super::lines;
use super::parse::Output;

/// Bytes of a decoded message that are looked at.
const DECODED_MAX: usize = 512;

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Mechanism {
    /// RFC 4616.
    Plain,
    /// draft-murchison-sasl-login.
    Login,
    /// RFC 2195.
    CramMd5,
    /// Google's and Microsoft's tokens.
    OAuth,
    #[default]
    Other,
}

/// Puts the name of a mechanism, where it is one (RFC 4422 section 3.1): what was sent in its place may be a secret. Those
/// known here may be in lower case.
pub(super) fn put_mechanism(fact: Fact, name: &[u8], out: &mut dyn Output) {
    const KNOWN: [&[u8]; 12] = [
        b"PLAIN",
        b"LOGIN",
        b"CRAM-MD5",
        b"DIGEST-MD5",
        b"NTLM",
        b"GSSAPI",
        b"GSS-SPNEGO",
        b"EXTERNAL",
        b"ANONYMOUS",
        b"XOAUTH2",
        b"OAUTHBEARER",
        b"SCRAM-SHA-256",
    ];
    let in_form = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let is_name = (1..=20).contains(&name.len()) && name.iter().all(in_form);
    if is_name || KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        out.facts().put(fact, name);
    }
}

/// Facts of an exchange.
#[derive(Clone, Copy)]
pub(super) struct Names {
    /// User name.
    pub user: Fact,
    /// 1 once a password went over the wire as it is: PLAIN and LOGIN.
    pub secret: Fact,
}

/// An exchange.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Sasl {
    mechanism: Mechanism,
    /// Messages of the client so far.
    messages: u8,
    /// What the server asked for last says that it is not the name.
    is_secret_asked: bool,
    /// It says that it is.
    is_name_asked: bool,
    /// That a password was sent is told.
    is_secret_told: bool,
}

impl Sasl {
    /// Begins with the name of a mechanism and, behind it, what the client already sends (RFC 4959).
    pub(super) fn begin(name: &[u8], initial: &[u8], names: &Names, out: &mut dyn Output) -> Sasl {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let mechanism = match () {
            () if is(b"PLAIN") => Mechanism::Plain,
            () if is(b"LOGIN") => Mechanism::Login,
            () if is(b"CRAM-MD5") => Mechanism::CramMd5,
            () if is(b"XOAUTH2") || is(b"OAUTHBEARER") => Mechanism::OAuth,
            () => Mechanism::Other,
        };
        let mut sasl = Sasl { mechanism, ..Sasl::default() };
        if !initial.is_empty() {
            sasl.message(initial, names, out);
        }
        sasl
    }

    /// What the server asks for, in Base64: of LOGIN some ask for the password first.
    pub(super) fn prompt(&mut self, line: &[u8]) {
        let mut place = [0; 64];
        let asked = lines::base64(line.trim_ascii(), &mut place);
        let names: [&[u8]; 3] = [b"user", b"name", b"login"];
        self.is_name_asked = names.iter().any(|name| lines::find(asked, name).is_some());
        self.is_secret_asked = !asked.is_empty() && !self.is_name_asked;
    }

    /// A message of the client, a line: its user name, if it has one, becomes a fact, and that it has a password.
    pub(super) fn message(&mut self, line: &[u8], names: &Names, out: &mut dyn Output) {
        let number = self.messages;
        self.messages = number.saturating_add(1);
        let is_login = self.mechanism == Mechanism::Login;
        // What was asked for is asked for once: the next question may be lost.
        let (is_name_asked, is_secret_asked) =
            (std::mem::take(&mut self.is_name_asked), std::mem::take(&mut self.is_secret_asked));
        let is_name = if is_login && is_name_asked { number < 2 } else { number == 0 };
        let mut place = [0; DECODED_MAX];
        let line = line.trim_ascii();
        if line == b"*" {
            return; // the client gives up (RFC 4954 section 4)
        }
        let decoded = lines::base64(line, &mut place);
        let is_secret = match self.mechanism {
            Mechanism::Login => !decoded.is_empty() && (!is_name || is_secret_asked),
            Mechanism::Plain => decoded.splitn(3, |byte| *byte == 0).nth(2).is_some_and(|secret| !secret.is_empty()),
            _ => false,
        };
        if is_secret && !std::mem::replace(&mut self.is_secret_told, true) {
            out.facts().put_number(names.secret, 1);
        }
        if !is_name || is_login && is_secret_asked || self.mechanism == Mechanism::Other {
            return; // secrets, or nothing that is read here
        }
        let name = match self.mechanism {
            Mechanism::Plain => {
                lines::split(decoded, 0).and_then(|(_, rest)| lines::split(rest, 0)).map(|(name, _)| name)
            }
            Mechanism::Login => Some(decoded),
            Mechanism::CramMd5 => decoded.iter().rposition(|byte| *byte == b' ').and_then(|at| decoded.get(..at)),
            Mechanism::OAuth => oauth_user(decoded),
            Mechanism::Other => None,
        };
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            out.facts().put(names.user, name);
        }
    }
}

/// `user=NAME^A` of XOAUTH2, `n,a=NAME,` of RFC 7628.
fn oauth_user(message: &[u8]) -> Option<&[u8]> {
    match message.strip_prefix(b"user=") {
        Some(rest) => lines::split(rest, 1),
        None => lines::split(message.strip_prefix(b"n,a=")?, b','),
    }
    .map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::super::facts::Fact;
    use super::super::parse::{Output, Record};
    use super::super::protocol::Protocol;
    use super::*;

    const USER: Fact = Fact::text(Protocol::Smtp, 1, "user", 64);
    const SECRET: Fact = Fact::number(Protocol::Smtp, 2, "secret");
    const NAMES: &Names = &Names { user: USER, secret: SECRET };

    #[test]
    fn only_a_name_of_a_mechanism_is_told() {
        for (name, is_told) in [
            ("SCRAM-SHA-256-PLUS", true),
            ("KERBEROS_V4", true),
            ("plain", true),
            ("Hunter2PW", false),
            ("hunter2", false),
            ("AGJvYgBzZWNyZXQ=", false),
            ("ABCDEFGHIJKLMNOPQRSTU", false),
            ("", false),
        ] {
            let mut out = Record::default();
            put_mechanism(USER, name.as_bytes(), &mut out);
            assert_eq!(out.facts().get(USER).is_some(), is_told, "{name}");
        }
    }

    #[test]
    fn names_but_no_secrets() {
        for (mechanism, messages, wanted, is_secret) in [
            ("PLAIN", &["AGJvYgBzZWNyZXQ="][..], Some("bob"), true),
            ("PLAIN", &["AGJvYgA="], Some("bob"), false),
            ("PLAIN", &["="], None, false),
            ("plain", &["Ym9i"], None, false),
            ("LOGIN", &["Ym9i", "c2VjcmV0"], Some("bob"), true),
            ("LOGIN", &["Ym9i", "*"], Some("bob"), false),
            ("LOGIN", &["Ym9i"], Some("bob"), false),
            ("LOGIN", &[], None, false),
            ("CRAM-MD5", &["Ym9iIDAxMjM="], Some("bob"), false),
            ("XOAUTH2", &["dXNlcj1ib2IBYXV0aD1CZWFyZXIgeHl6AQE="], Some("bob"), false),
            ("NTLM", &["Ym9i"], None, false),
        ] {
            let mut out = Record::default();
            let mut sasl = Sasl::begin(mechanism.as_bytes(), b"", NAMES, &mut out);
            for message in messages {
                sasl.message(message.as_bytes(), NAMES, &mut out);
            }
            assert_eq!(out.facts().get(USER), wanted.map(str::as_bytes), "{mechanism} {messages:?}");
            assert_eq!(out.facts().number(SECRET), is_secret.then_some(1), "{mechanism} {messages:?}");
        }
    }

    #[test]
    fn a_password_that_is_asked_for_first_is_none_of_the_name() {
        for (prompts, wanted) in [
            (["UGFzc3dvcmQ6", "VXNlcm5hbWU6"], Some("eve")),
            (["VXNlcm5hbWU6", "UGFzc3dvcmQ6"], Some("bob")),
            (["", ""], Some("bob")),
            (["S2VubndvcnQ6", "S2VubndvcnQ6"], None),
        ] {
            let mut out = Record::default();
            let mut sasl = Sasl::begin(b"LOGIN", b"", NAMES, &mut out);
            for (prompt, message) in prompts.iter().zip(["Ym9i", "ZXZl"]) {
                sasl.prompt(prompt.as_bytes());
                sasl.message(message.as_bytes(), NAMES, &mut out);
            }
            assert_eq!(out.facts().get(USER), wanted.map(str::as_bytes), "{prompts:?}");
        }
    }
}
