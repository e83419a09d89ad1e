//! SMTP (RFC 5321, RFC 3207, RFC 4954), LMTP (RFC 2033) alike.
//!
//! Reads the greeting, EHLO, envelopes with what became of them (one event each), logins without their secrets (one event
//! each). Of a mail its head is read, and what its attachments are called (`mail`); the rest is passed over, up to the line
//! with the dot, or by the lengths of `BDAT`. Deliberately not read: bodies of mails, text of replies.
//!
//! A mail ends at `CR LF . CR LF` and at nothing else (RFC 5321 section 4.1.1.4), but servers took, and some take, a dot
//! between any ends of lines: Postfix, Sendmail and Exim until CVE-2023-51764 to 51766, others a bare carriage return or a
//! zero byte. What one server sends on as text is the next one's envelope (SMTP smuggling). Such a dot is told
//! ([`END_OF_DATA_ODD`]), and from there on both readings are followed: it is still the mail, and envelopes in it are read,
//! up to the end that all agree on.
//!
//! A client may begin the next mail before the reply to the last one (RFC 2920): its envelope is kept aside until that came
//! (`awaited`). Where its text comes first, or a third mail does, both are told without what became of them.
//!
//! Behind a hole no code is told as that of a mail or a login (`torn`): it may be another one's. Where it may hide that a mail
//! begins, commands are read again from one on that the server replies to (`lost`).
//!
//! After `STARTTLS` was granted both sides answer [`Step::Done`] at the first byte of what follows, having taken nothing of
//! it; [`State::turns_into`] says so.
//!
//! | fact | EVE field |
//! | --- | --- |
//! | `helo` | `smtp.helo` (of the first event; it holds for the connection) |
//! | `mail_from` | `smtp.mail_from` |
//! | `rcpt_to` | `smtp.rcpt_to` |
//! | `from`, `to`, `cc`, `subject`, `date`, `message_id`, `x_mailer` | `email`, by the same names |
//! | `attachments` | `email.attachment` |
//! | `rcpt_refused`, `rcpt_refused_codes`, `banner`, `auth_mechanism`, `username`, `code`, `size`, `starttls`, `secret_sent` | only in our own object |

mod awaited;
mod chunks;
mod lost;
mod mail;
mod probe;
mod tail;
#[cfg(test)]
mod tests;
mod torn;

use super::facts::Fact;
use super::lines::{self, Lines, Told};
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step};
use super::protocol::Protocol;
use super::sasl::{self, Names, Sasl};
use super::sides::Sides;
use super::text::Text;
use crate::dataplane::flow::Side;
use awaited::{Awaited, Kind};
use lost::Last;
pub use mail::{BOUNDARIES_MAX, FIELD_MAX, HEAD_MAX};
use mail::{Mail, Piece};
pub use probe::probe;
use tail::{Ends, Tail};

const P: Protocol = Protocol::Smtp;

/// What the server says first: its name and, mostly, its software.
pub const BANNER: Fact = Fact::text(P, 1, "banner", 256);
/// The last line of a greeting that has several.
pub const BANNER_LAST: Fact = Fact::text(P, 21, "banner_last", 256);
/// How the client calls itself.
pub const HELO: Fact = Fact::text(P, 2, "helo", 256);
/// Bytes of a recipient that are kept.
const RCPT_MAX: usize = 128;
/// Sender of the envelope.
pub const MAIL_FROM: Fact = Fact::text(P, 3, "mail_from", 256);
/// Recipients of the envelope.
pub const RCPT_TO: Fact = Fact::text(P, 4, "rcpt_to", RCPT_MAX as u16).repeated(16);
/// Mechanism of a login.
pub const AUTH_MECHANISM: Fact = Fact::text(P, 5, "auth_mechanism", 32);
/// User name of a login.
pub const USERNAME: Fact = Fact::text(P, 6, "username", 128);
/// Code that ended the transaction.
pub const CODE: Fact = Fact::number(P, 7, "code");
/// Bytes of the mail, as counted.
pub const SIZE: Fact = Fact::number(P, 8, "size");
/// 1 where the connection turned into TLS.
pub const STARTTLS: Fact = Fact::number(P, 9, "starttls");
/// Those of the recipients that the server refused.
pub const RCPT_REFUSED: Fact = Fact::text(P, 10, "rcpt_refused", RCPT_MAX as u16).repeated(16);
/// The code of each refusal.
pub const RCPT_REFUSED_CODE: Fact = Fact::number(P, 11, "rcpt_refused_codes").repeated(16);
/// 1 where a password went over the wire as it is.
pub const SECRET_SENT: Fact = Fact::number(P, 12, "secret_sent");

/// Who wrote the mail, by its head, as the next ones.
pub const FROM: Fact = Fact::text(P, 13, "from", 256);
/// Whom to, with commas between them.
pub const TO: Fact = Fact::text(P, 14, "to", 512);
/// And whom it was copied to.
pub const CC: Fact = Fact::text(P, 15, "cc", 512);
/// What about.
pub const SUBJECT: Fact = Fact::text(P, 16, "subject", 256);
/// When, by the writer's clock.
pub const DATE: Fact = Fact::text(P, 17, "date", 64);
/// Its own name.
pub const MESSAGE_ID: Fact = Fact::text(P, 18, "message_id", 256);
/// The software it was written with.
pub const X_MAILER: Fact = Fact::text(P, 19, "x_mailer", 128);
/// Names of its attachments.
pub const ATTACHMENT: Fact = Fact::text(P, 20, "attachments", 128).repeated(16);

/// Facts of SASL.
const NAMES: &Names = &Names { user: USERNAME, secret: SECRET_SENT };

/// All facts.
#[rustfmt::skip]
pub const FACTS: &[Fact] = &[
    BANNER, HELO, MAIL_FROM, RCPT_TO, AUTH_MECHANISM, USERNAME, CODE, SIZE, STARTTLS, RCPT_REFUSED, RCPT_REFUSED_CODE,
    SECRET_SENT, FROM, TO, CC, SUBJECT, DATE, MESSAGE_ID, X_MAILER, ATTACHMENT, BANNER_LAST,
];

/// A line longer than [`LINE_MAX`].
pub const LINE_TOO_LONG: Anomaly = Anomaly::new(P, 1, "line_too_long");
/// A reply that does not begin with three digits.
pub const REPLY_INVALID: Anomaly = Anomaly::new(P, 2, "reply_invalid");
/// Commands sent behind STARTTLS without waiting: they would be taken for encrypted ones (CVE-2011-0411).
pub const STARTTLS_PIPELINED: Anomaly = Anomaly::new(P, 3, "starttls_pipelined");
/// A dot that ends the mail for some servers and not for others: a line of its own by a bare line feed, a bare carriage
/// return or zero bytes.
pub const END_OF_DATA_ODD: Anomaly = Anomaly::new(P, 4, "end_of_data_odd");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[LINE_TOO_LONG, REPLY_INVALID, STARTTLS_PIPELINED, END_OF_DATA_ODD];

/// Bytes of a line: RFC 4954 wants 12288 for logins, of which names need little.
pub const LINE_MAX: usize = 2048;

/// What the client is sending.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Mode {
    #[default]
    Command,
    /// A mail, up to the line with the dot.
    Data,
    /// A mail, or what follows it: some servers took a dot for its end.
    Doubt,
    /// A part of a mail, of a length that was said.
    Chunk,
    /// Messages of a login.
    Auth,
    /// Behind a hole, anything: commands, a mail, a login.
    Lost(Last),
}

/// What the next final reply of the server is to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Asked {
    #[default]
    Other,
    Mail,
    /// The same, where a reply came that refused it, or, behind a hole, another command.
    Refused,
    Auth,
    StartTls,
}

/// An SMTP connection.
#[derive(Default, Debug)]
pub struct State {
    /// Bytes of the mail, as far as they can be counted here.
    size: u32,
    lines: Sides<Lines>,
    told: Told,
    sasl: Sasl,
    mode: Mode,
    asked: Asked,
    tail: Tail,
    awaited: Awaited,
    mail: Mail,
    /// Bytes of the chunk that are still to come.
    chunk: u32,
    /// Recipients of this envelope that were replied to.
    answered: u8,
    /// The mail may come: the reply to it is to no command.
    is_granted: bool,
    is_greeted: bool,
    is_tls: bool,
    /// The next chunk is not the mail's first.
    is_chunked: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

/// The reply to `QUIT` and to nothing else (RFC 5321 section 4.2.3): that to what came before was lost.
const GOODBYE: u64 = 221;

impl State {
    /// [`Protocol::Tls`] once the connection turns into it, from the byte on at which [`Step::Done`] was answered.
    pub fn turns_into(&self) -> Option<Protocol> {
        self.is_tls.then_some(Protocol::Tls)
    }

    fn command(&mut self, line: &[u8], out: &mut dyn Output) -> Option<u64> {
        if self.asked == Asked::StartTls {
            self.told.once(STARTTLS_PIPELINED, out);
        }
        let (command, argument) = lines::word(line);
        let is = |other: &[u8]| command.eq_ignore_ascii_case(other);
        match () {
            () if is(b"EHLO") || is(b"HELO") || is(b"LHLO") => out.facts().put(HELO, argument),
            () if is(b"MAIL") => self.envelope(address(argument), out),
            () if is(b"RCPT") && self.awaited.next.is_begun() => self.awaited.next.keep(address(argument), out),
            () if is(b"RCPT") => out.facts().put(RCPT_TO, address(argument)),
            () if is(b"DATA") => {
                self.begin_data();
                self.awaited.next.is_sent = self.awaited.next.is_begun();
                self.is_granted &= !self.awaited.is_torn();
            }
            () if is(b"BDAT") => return self.chunk(argument),
            () if is(b"AUTH") => self.auth(argument, out),
            () if is(b"STARTTLS") => self.asked = Asked::StartTls,
            // Sent together with a mail: the reply to that tells both.
            () if is(b"RSET") || is(b"QUIT") => {
                if self.awaited.is_torn() {
                    self.tell(out);
                } else if self.asked != Asked::Mail {
                    out.event();
                }
            }
            () => {}
        }
        None
    }

    /// The text of a mail is announced.
    fn begin_data(&mut self) {
        (self.mode, self.asked, self.size, self.tail) = (Mode::Data, Asked::Mail, 0, Tail::default());
        self.mail = Mail::begin();
    }

    /// A mail begins. What became of the one before may still be to come: then this one waits for it.
    fn envelope(&mut self, sender: &[u8], out: &mut dyn Output) {
        if self.awaited.next.is_begun() {
            self.part(out);
        }
        if self.awaited.is_torn() {
            if self.asked == Asked::Mail || out.facts().get(MAIL_FROM).is_some() {
                self.tell(out);
            }
        } else if self.asked == Asked::Mail && self.mode == Mode::Command {
            out.facts().put_number(SIZE, std::mem::take(&mut self.size).into());
            return self.awaited.next.keep(sender, out);
        }
        if out.facts().get(MAIL_FROM).is_some() {
            out.event(); // what became of the one before is not known
        }
        (self.answered, self.is_chunked) = (0, false);
        out.facts().put(MAIL_FROM, sender);
    }

    /// What became of a mail did not come in time: it is told without, and so is the one that waits for it, since it is not
    /// known whose reply is next.
    #[cold]
    fn part(&mut self, out: &mut dyn Output) {
        out.event();
        self.awaited.next.take(out);
        if std::mem::take(&mut self.is_granted) {
            self.awaited.lose();
        }
        self.awaited.forget_chunks();
        (self.asked, self.answered) = (Asked::Other, 0);
    }

    fn auth(&mut self, argument: &[u8], out: &mut dyn Output) {
        let (mechanism, initial) = lines::word(argument);
        sasl::put_mechanism(AUTH_MECHANISM, mechanism, out);
        self.sasl = Sasl::begin(mechanism, initial, NAMES, out);
        (self.mode, self.asked) = (Mode::Auth, Asked::Auth);
    }

    /// The next of a mail: a field, a line, or what is only looked through for its end.
    fn data(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.awaited.next.is_begun() {
            self.part(out);
        }
        let piece = self.mail.next(bytes);
        let count = match piece {
            Piece::More if !self.tail.ends_in(bytes) => return Step::Need(bytes.len() + 1),
            Piece::More => bytes.len(),
            Piece::Passed(count) | Piece::Read(count) => count,
        };
        let shown = bytes.get(..count).unwrap_or(bytes);
        self.mail.is_line = shown.ends_with(b"\n");
        if matches!(piece, Piece::Read(_)) && !self.tail.ends_in(shown) {
            self.mail.read(shown, out);
        }
        self.look_through(bytes, shown, out)
    }

    /// Passes over what is shown of a mail, up to its end.
    fn look_through(&mut self, bytes: &[u8], shown: &[u8], out: &mut dyn Output) -> Step {
        match self.tail.run(shown) {
            (_, Ends::Nothing) => self.passed_over(shown.len()),
            (at, Ends::Mail) => self.mail_ends(at + 1),
            (at, Ends::Perhaps) => self.mail_may_end(at + 1, bytes, out),
            (at, Ends::PerhapsBefore) => self.mail_may_end(at, bytes, out),
        }
    }

    /// So many bytes of a mail, of which the last ones are its end, which is not counted.
    fn mail_ends(&mut self, taken: usize) -> Step {
        self.mode = Mode::Command;
        let step = self.passed_over(taken);
        self.size = self.size.saturating_sub(b".\r\n".len() as u32);
        step
    }

    #[cold]
    fn mail_may_end(&mut self, taken: usize, bytes: &[u8], out: &mut dyn Output) -> Step {
        self.told.once(END_OF_DATA_ODD, out);
        self.mode = Mode::Doubt;
        self.awaited.lose();
        if taken == 0 { self.doubt(bytes, out) } else { self.passed_over(taken) }
    }

    fn grows(&mut self, bytes: u64) {
        self.size = self.size.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    fn passed_over(&mut self, taken: usize) -> Step {
        self.grows(taken as u64);
        Step::Pass(taken)
    }

    /// A line of a mail, or of what follows it: an envelope is read wherever one begins.
    fn doubt(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        let (text, taken) = match self.lines.of(Side::Originator).next(bytes, LINE_MAX) {
            Ok(line) => (line.text, line.taken),
            Err(Step::Took(taken)) => (&[][..], taken),
            Err(step) => return step,
        };
        for byte in bytes.get(..taken).unwrap_or_default() {
            match self.tail.push(*byte) {
                // Which is the end of a line.
                Ends::Mail => return self.mail_ends(taken),
                Ends::PerhapsBefore => _ = self.tail.push(*byte),
                Ends::Nothing | Ends::Perhaps => {}
            }
        }
        self.passed_over(taken);
        for line in text.split(|byte| *byte == b'\r') {
            let is = |command| lines::begins(line, command) == Match::Yes;
            if is(b"MAIL FROM:") || is(b"RCPT TO:") {
                self.command(line, out);
            } else if line.eq_ignore_ascii_case(b"DATA") {
                (self.asked, self.size) = (Asked::Mail, 0);
            }
        }
        Step::Took(taken) // each line of it was read
    }

    fn reply(&mut self, line: &[u8], out: &mut dyn Output) {
        let Some((code, text)) = lines::reply(line) else {
            self.told.once(REPLY_INVALID, out);
            return;
        };
        let is_greeting = !self.is_greeted && matches!(code, 220 | 421 | 554);
        if is_greeting {
            let (said, is_first) = (text.get(1..).unwrap_or_default(), out.facts().get(BANNER).is_none());
            if is_first || !text.starts_with(b"-") {
                out.facts().put(if is_first { BANNER } else { BANNER_LAST }, said);
            }
        }
        if text.starts_with(b"-") {
            self.is_greeted |= !is_greeting;
            return;
        }
        self.is_greeted = true;
        if self.awaited.is_torn() {
            return self.reply_torn(code, text, out);
        }
        let is_to_mail = self.is_granted && self.asked == Asked::Mail;
        self.is_granted &= !is_to_mail;
        if is_to_mail && self.awaited.next.is_begun() {
            return self.mailed(code, out);
        }
        let is_to_command = !is_greeting && !is_to_mail && code != 334;
        let to = is_to_command.then(|| self.awaited.pop()).flatten();
        match to {
            Some(Kind::Recipient) => return self.recipient(code, out),
            Some(Kind::LastChunk) if self.asked == Asked::Mail => return self.mailed(code, out),
            Some(Kind::LastChunk) => return,
            // To commands in front of the last chunk, sent together with it.
            _ if is_to_command && self.asked == Asked::Mail && self.awaited.has_chunk() => return,
            _ => {}
        }
        self.is_granted |= self.asked == Asked::Mail && code == 354;
        match (self.asked, code) {
            (Asked::StartTls, 220) => {
                self.is_tls = true;
                out.facts().put_number(STARTTLS, 1);
                out.event();
            }
            // Refused: what follows is sent knowing that.
            (Asked::StartTls, 400..) if to != Some(Kind::Other) => {}
            (Asked::Auth, 334) => return self.sasl.prompt(text),
            (Asked::Mail, 354) => return,
            // To commands in front of DATA, sent together with it.
            (Asked::Mail, 250..=259) if self.mode == Mode::Data => return,
            (Asked::Auth, GOODBYE) => self.mode = Mode::Command,
            (Asked::Mail, GOODBYE) => {}
            (Asked::Auth, _) => {
                self.mode = Mode::Command;
                out.facts().put_number(CODE, code);
                out.event();
            }
            (Asked::Mail, _) => return self.mailed(code, out),
            _ => return,
        }
        self.asked = Asked::Other;
    }

    /// The reply to the next recipient.
    fn recipient(&mut self, code: u64, out: &mut dyn Output) {
        let index = usize::from(self.answered);
        self.answered = self.answered.saturating_add(1);
        if code < 400 {
            return;
        }
        let mut refused = Text::<RCPT_MAX>::default();
        let Some(address) = out.facts().all(RCPT_TO).nth(index) else { return };
        refused.extend(address);
        out.facts().put(RCPT_REFUSED, refused.as_bytes());
        out.facts().put_number(RCPT_REFUSED_CODE, code);
    }

    fn mailed(&mut self, code: u64, out: &mut dyn Output) {
        let next = self.awaited.next;
        if self.mode == Mode::Data && self.size == 0 && !next.is_sent {
            self.mode = Mode::Command; // refused before it began
        }
        out.facts().put_number(CODE, code);
        out.facts().put_number(SIZE, self.size.into());
        out.event();
        if next.is_begun() {
            self.awaited.next.take(out);
            self.answered = 0;
        } else {
            self.size = 0;
        }
        self.asked = if next.is_sent { Asked::Mail } else { Asked::Other };
    }

    fn client(&mut self, line: &[u8], out: &mut dyn Output) -> Option<u64> {
        if self.mode == Mode::Auth && !self.ends_login(line) {
            self.sasl.message(line, NAMES, out);
            return None;
        }
        if self.mode == Mode::Auth {
            out.event();
            (self.mode, self.asked) = (Mode::Command, Asked::Other);
        }
        if self.asked == Asked::Refused {
            self.asked = Asked::Other;
        }
        self.awaited.push(kind(line));
        self.command(line, out)
    }
}

fn kind(line: &[u8]) -> Kind {
    let (command, argument) = lines::word(line);
    let is = |other: &[u8]| command.eq_ignore_ascii_case(other);
    match () {
        () if is(b"RCPT") => Kind::Recipient,
        () if is(b"STARTTLS") => Kind::StartTls,
        () if is(b"BDAT") && lines::word(argument).1.eq_ignore_ascii_case(b"LAST") => Kind::LastChunk,
        () => Kind::Other,
    }
}

/// What stands between `<` and `>`, or behind the colon.
fn address(argument: &[u8]) -> &[u8] {
    let Some((_, rest)) = lines::split(argument, b':') else { return argument };
    match lines::split(rest, b'<') {
        Some((_, rest)) => lines::split(rest, b'>').map_or(rest, |(address, _)| address),
        None => lines::word(rest.trim_ascii()).0,
    }
}

impl Parse for State {
    fn begin(&mut self, look: &Look<'_>) {
        self.is_greeted = !look.is_before_greeting();
    }

    /// Replies say what they are, and lines of a mail are passed over up to the dot. Of commands the one that begins a mail, or
    /// a login, may be what was lost.
    fn gap(&mut self, side: Side, hole: &Hole<'_>, out: &mut dyn Output) -> Resume {
        *self.lines.of(side) = Lines::default();
        self.awaited.tear();
        if self.is_tls {
            return Resume::Done;
        }
        if let Mode::Lost(_) = self.mode {
            self.forget_last();
            self.is_greeted |= side == Side::Responder;
            return if side == Side::Originator { Resume::Here } else { Resume::Line };
        }
        let is_mail = matches!(self.mode, Mode::Data | Mode::Doubt);
        if side == Side::Originator && self.mode == Mode::Chunk {
            (self.mode, self.mail) = (Mode::Command, Mail::default());
            out.facts().mark_truncated();
            match hole.before_end(u64::from(self.chunk).saturating_sub(hole.before.len() as u64)) {
                Resume::Done => {}
                resume => return resume,
            }
        }
        self.part_torn(side, out);
        if side == Side::Originator && !is_mail {
            self.lose(out);
            return Resume::Here;
        }
        // The greeting may be what was lost.
        self.is_greeted |= side == Side::Responder;
        if side == Side::Originator {
            self.grows(hole.bytes);
            self.tail = Tail::default();
            self.mail.tear(out);
        }
        Resume::Line
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.is_tls {
            return Step::Done;
        }
        if side == Side::Originator && self.is_refused_by(bytes) {
            (self.mode, self.asked) = (Mode::Command, Asked::Other);
        }
        match self.mode {
            Mode::Data if side == Side::Originator => return self.data(bytes, out),
            Mode::Doubt if side == Side::Originator => return self.doubt(bytes, out),
            Mode::Chunk if side == Side::Originator => return self.chunked(bytes, out),
            Mode::Lost(_) if side == Side::Originator => return self.look_for_command(bytes, out),
            _ => {}
        }
        let line = match self.lines.of(side).next(bytes, LINE_MAX) {
            Ok(line) => line,
            Err(step) => return step,
        };
        if line.is_cut {
            self.told.once(LINE_TOO_LONG, out);
        }
        match side {
            _ if line.text.is_empty() => {}
            Side::Originator => {
                if let Some(skip) = self.client(line.text, out).filter(|_| !line.is_cut) {
                    return Step::Skip(skip.saturating_add(line.taken as u64));
                }
            }
            Side::Responder => self.reply(line.text, out),
        }
        Step::Took(line.taken)
    }

    fn end(&mut self, out: &mut dyn Output) {
        if let Mode::Lost(_) = self.mode {
            self.forget_last();
        }
        out.event();
        self.awaited.next.take(out);
        out.event();
    }
}
