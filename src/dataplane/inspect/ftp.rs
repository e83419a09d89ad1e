//! FTP, the control connection (RFC 959, RFC 2428, RFC 4217).
//!
//! Reads commands with their arguments and the replies to them, one event each; a login (`USER`, `PASS`) is one event.
//! Commands that do not wait meet their replies later (`waiting`), those behind a hole where the client waits (`order`).
//! Deliberately not read: arguments of `PASS`, `ACCT`, `SITE` and of the security commands, the lines of a reply behind its
//! first, data connections (their endpoints are facts).
//!
//! After `AUTH TLS` was granted both sides answer [`Step::Done`] at the first byte of what follows, having taken nothing of
//! it; [`State::turns_into`] says so.
//!
//! | fact | EVE field |
//! | --- | --- |
//! | `command`, `argument` | `ftp.command`, `ftp.command_data` |
//! | `code` | `ftp.completion_code` |
//! | `reply` | `ftp.reply` |
//! | `data_port`, `mode` | `ftp.dynamic_port`, `ftp.mode` |
//! | `argument` of RETR and STOR | `ftp_data.filename`, with `ftp_data.command` |
//! | `username`, `banner`, `data_address` | only in our own object |

use super::facts::Fact;
mod order;
#[cfg(test)]
mod tests;
mod waiting;

use super::lines::{self, Lines, Told};
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step};
use super::protocol::Protocol;
use super::sides::Sides;
use super::text::Text;
use crate::dataplane::flow::Side;
use order::Order;
pub(super) use waiting::WAITING_MAX;
use waiting::{Kind, Waiting};

const P: Protocol = Protocol::Ftp;

/// The command, in upper case as most send it; of a login `USER`.
pub const COMMAND: Fact = Fact::text(P, 1, "command", 16);
/// Its argument: a file name, mostly. Never a secret.
pub const ARGUMENT: Fact = Fact::text(P, 2, "argument", 512);
/// Codes of the replies, preliminary ones included.
pub const CODE: Fact = Fact::number(P, 3, "code").repeated(4);
/// Text of the last of these replies' first line.
pub const REPLY: Fact = Fact::text(P, 4, "reply", 200).repeated(4);
/// User name.
pub const USERNAME: Fact = Fact::text(P, 5, "username", 128);
/// What the server says first.
pub const BANNER: Fact = Fact::text(P, 6, "banner", 256);
/// Where the data connection goes to.
pub const DATA_ADDRESS: Fact = Fact::address(P, 7, "data_address");
/// Port of the data connection.
pub const DATA_PORT: Fact = Fact::number(P, 8, "data_port");
/// `passive` or `active`.
pub const MODE: Fact = Fact::text(P, 9, "mode", 8);
/// The client listens.
pub const ACTIVE: &[u8] = b"active";
/// The server listens.
const PASSIVE: &[u8] = b"passive";
/// The last line of a greeting that has several.
pub const BANNER_LAST: Fact = Fact::text(P, 10, "banner_last", 256);

/// 1 where nobody knows what was replied, if anything was: behind a hole, or of too many commands.
pub const REPLY_UNKNOWN: Fact = Fact::number(P, 11, "reply_unknown");

/// All facts.
#[rustfmt::skip]
pub const FACTS: &[Fact] = &[
    COMMAND, ARGUMENT, CODE, REPLY, USERNAME, BANNER, DATA_ADDRESS, DATA_PORT, MODE, BANNER_LAST, REPLY_UNKNOWN,
];

/// A line longer than [`LINE_MAX`].
pub const LINE_TOO_LONG: Anomaly = Anomaly::new(P, 1, "line_too_long");
/// A reply that does not begin with three digits.
pub const REPLY_INVALID: Anomaly = Anomaly::new(P, 2, "reply_invalid");
/// A `PORT` or `EPRT` that names no endpoint.
pub const ENDPOINT_INVALID: Anomaly = Anomaly::new(P, 3, "endpoint_invalid");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[LINE_TOO_LONG, REPLY_INVALID, ENDPOINT_INVALID];

/// Bytes of a line.
pub const LINE_MAX: usize = 1024;
/// Lines that a probe looks at.
const PROBE_LINES: usize = 24;

/// Commands that no other protocol with lines has.
const OWN: [&[u8]; 19] = [
    b"SYST", b"PASV", b"EPSV", b"PORT", b"EPRT", b"CWD", b"XCWD", b"PWD", b"XPWD", b"FEAT", b"OPTS", b"TYPE", b"STOR",
    b"MDTM", b"PBSZ", b"PROT", b"MLSD", b"NLST", b"CLNT",
];

/// Commands whose argument may be told. Of others it may be a secret: `PASS` mistyped is one of them.
#[rustfmt::skip]
const TOLD: [&[u8]; 53] = [
    b"ABOR", b"ALLO", b"APPE", b"AUTH", b"CCC", b"CDUP", b"CLNT", b"CWD", b"DELE", b"EPSV", b"FEAT", b"HASH", b"HELP",
    b"HOST", b"LANG", b"LIST", b"MDTM", b"MFCT", b"MFF", b"MFMT", b"MKD", b"MLSD", b"MLST", b"MODE", b"NLST", b"NOOP",
    b"OPTS", b"PASV", b"PBSZ", b"PROT", b"PWD", b"QUIT", b"RANG", b"REIN", b"REST", b"RETR", b"RMD", b"RNFR", b"RNTO",
    b"SIZE", b"SMNT", b"STAT", b"STOR", b"STOU", b"STRU", b"SYST", b"TYPE", b"XCRC", b"XCUP", b"XCWD", b"XMKD", b"XPWD",
    b"XRMD",
];

/// Recognises a server by its greeting or its replies, a client by its commands. `USER` and a greeting without a name are
/// SMTP's and POP3's too: further lines or, where these are not there, port 21 decide.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    match look.bytes.first() {
        None => Match::Maybe,
        Some(b'2' | b'4' | b'5') => probe_server(look),
        Some(first) if first.is_ascii_alphabetic() => probe_client(look),
        Some(_) => Match::No,
    }
}

fn probe_server(look: &Look<'_>) -> Match {
    let mut reader = super::bytes::Reader::new(look.bytes);
    let mut is_greeted = false;
    for _ in 0..PROBE_LINES {
        let Some(line) = reader.line() else { break };
        let Some((code, text)) = lines::reply(line).filter(|_| line.len() < LINE_MAX) else {
            if is_greeted && lines::is_text(line) && line.len() < LINE_MAX {
                continue; // inside a reply of several lines
            }
            return Match::No;
        };
        if !lines::is_text(text) || lines::find(text, b"SMTP").is_some() {
            return Match::No;
        }
        let has_name = lines::find(text, b"FTP").is_some() || lines::find(text, b"FileZilla").is_some();
        match (is_greeted, code) {
            (false, 220 | 421 | 530) if has_name => return Match::Yes,
            (true, 220) if has_name => return Match::Yes,
            (_, 220) => is_greeted = true,
            (true, 331 | 332 | 211 | 215 | 230 | 234 | 530 | 227 | 229 | 257) => return Match::Yes,
            _ => return Match::No,
        }
        if is_greeted && text.starts_with(b" ") && look.has_port(21) {
            return Match::Yes;
        }
    }
    let rest = lines::begun(reader.rest());
    let may_be = |code: &[u8; 3]| code.iter().zip(rest).all(|(one, other)| one == other);
    let is_begun = is_greeted || [b"220", b"421", b"530"].into_iter().any(may_be);
    if is_begun && rest.len() < LINE_MAX { Match::Maybe } else { Match::No }
}

fn probe_client(look: &Look<'_>) -> Match {
    let mut reader = super::bytes::Reader::new(look.bytes);
    for _ in 0..PROBE_LINES {
        let Some(line) = reader.line() else { break };
        let (command, argument) = lines::word(line);
        let is = |other: &[u8]| command.eq_ignore_ascii_case(other);
        match () {
            () if !lines::is_text(line) || line.len() >= LINE_MAX => return Match::No,
            () if OWN.iter().any(|own| is(own)) => return Match::Yes,
            () if is(b"AUTH")
                && (lines::after(argument, b"TLS").is_some() || lines::after(argument, b"SSL").is_some()) =>
            {
                return Match::Yes;
            }
            () if is(b"USER") && look.has_port(21) && !argument.is_empty() => return Match::Yes,
            () if is(b"USER") || is(b"PASS") || is(b"QUIT") || is(b"NOOP") => {}
            () => return Match::No,
        }
    }
    let rest = lines::begun(reader.rest());
    let (command, _) = lines::word(rest);
    let known = OWN.iter().copied().chain([&b"USER"[..], b"PASS", b"AUTH", b"QUIT", b"NOOP"]);
    let mut known = known.map(|known| lines::begins(command, known));
    let may_be = rest.is_empty() || (lines::is_text(rest) && known.any(|known| known != Match::No));
    if may_be && rest.len() < LINE_MAX { Match::Maybe } else { Match::No }
}

/// An FTP control connection.
#[derive(Default, Debug)]
pub struct State {
    lines: Sides<Lines>,
    told: Told,
    /// Code of the reply of several lines that is being read.
    inside: u16,
    /// Commands without a final reply.
    pending: u8,
    /// `AUTH` was sent last.
    is_auth: bool,
    /// A command without a final reply is unknown or has a secret: an error may repeat it.
    has_secret: bool,
    /// Of the argument of that command, which a reply may repeat: [`hash`] and length; [`u8::MAX`]: too long, or of several.
    secret: (u32, u8),
    /// `PASS` belongs to the event of its `USER`, where that asked for it.
    is_login: bool,
    /// `USER` was sent last, and may be followed by that.
    is_user_last: bool,
    /// Commands behind the one whose event is open.
    waiting: Waiting,
    /// So many replies are to commands that were told without.
    orphans: u8,
    order: Order,
    /// The reply that is being read is not to the command that is open, and was told.
    is_aside: bool,
    /// The server said that a transfer begins.
    is_transferring: bool,
    /// `ABOR` is open, and was sent behind another command.
    is_abort: bool,
    /// The server said something that is the last of a reply, or its greeting.
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
        // Telnet commands may stand in front (RFC 959 section 4.1.3): ABOR is sent behind two of them.
        let begin = line.iter().position(|byte| byte.is_ascii()).unwrap_or(line.len());
        let (command, argument) = lines::word(line.get(begin..).unwrap_or_default().trim_ascii());
        let is = |other: &[u8]| command.eq_ignore_ascii_case(other);
        let is_told = TOLD.iter().any(|told| is(told));
        if !is_told && !is(b"USER") && !is(b"PORT") && !is(b"EPRT") {
            let length = u8::try_from(argument.len()).ok().filter(|_| argument.len() <= SECRET_MAX && !self.has_secret);
            (self.has_secret, self.secret) = (true, (hash(argument), length.unwrap_or(u8::MAX)));
        }
        // What is allowed while another one goes on does not tell that the client does not wait.
        if !self.is_transferring || !is(b"ABOR") && !is(b"STAT") {
            self.tear_ends_at_command(out);
            self.order.sent();
        }
        let is_torn = self.order.is_torn;
        let (waits, joins) = (self.pending > 0, is(b"PASS") && self.is_user_last);
        (self.pending, self.is_user_last) = (self.pending.saturating_add(1), is(b"USER"));
        if joins && (!waits || self.orphans > 0 || is_torn) {
            return;
        }
        if waits && !is_torn {
            let port = || if is(b"PORT") { host_port(argument) } else { extended(argument) };
            let kind = match () {
                () if joins => Some(Kind::Pass),
                () if is(b"USER") => Some(Kind::User),
                () if is(b"AUTH") => Some(Kind::Auth),
                () if is(b"ABOR") => Some(Kind::Abort),
                () if is(b"STAT") && argument.is_empty() => Some(Kind::Status),
                () if is(b"PORT") || is(b"EPRT") => Some(if port().is_some() { Kind::Port } else { Kind::Bare }),
                () if !command.iter().all(u8::is_ascii_alphabetic) => None,
                () if is_told && !argument.is_empty() => Some(Kind::Argument),
                () => Some(Kind::Bare),
            };
            if let Some(kind) = kind.filter(|_| self.orphans == 0) {
                if kind == Kind::Bare && (is(b"PORT") || is(b"EPRT")) {
                    self.told.once(ENDPOINT_INVALID, out);
                }
                if self.waiting.push(command, argument, kind, out) {
                    return;
                }
                out.limit();
            }
            self.orphans = self.pending - 1;
        }
        if waits {
            self.tell_all(out);
        } else {
            out.event();
        }
        (self.is_login, self.is_auth, self.is_abort) = (is(b"USER"), is(b"AUTH"), false);
        if command.iter().all(u8::is_ascii_alphabetic) {
            out.facts().put(COMMAND, command);
        }
        match () {
            () if is(b"USER") => out.facts().put(USERNAME, argument),
            () if is(b"PORT") => self.endpoint(host_port(argument), out),
            () if is(b"EPRT") => self.endpoint(extended(argument), out),
            () if is_told && !argument.is_empty() => out.facts().put(ARGUMENT, argument),
            () => {}
        }
    }

    fn endpoint(&mut self, endpoint: Option<Endpoint>, out: &mut dyn Output) {
        let Some(endpoint) = endpoint else {
            self.told.once(ENDPOINT_INVALID, out);
            return;
        };
        endpoint.put(ACTIVE, out);
    }

    fn reply(&mut self, line: &[u8], out: &mut dyn Output) {
        let Some((code, text)) = lines::reply(line) else {
            if self.inside == 0 && !self.order.is_torn {
                self.told.once(REPLY_INVALID, out);
            }
            return;
        };
        // The end of a reply of several lines may be lost; within it others have no code (RFC 959 section 4.2).
        let is_other =
            self.order.is_torn && u64::from(self.inside) != code && matches!(text.first(), Some(b' ' | b'-'));
        if self.inside != 0 && !is_other {
            if u64::from(self.inside) == code && !text.starts_with(b"-") {
                self.inside = 0;
                let said = text.get(1..).unwrap_or_default();
                let is_greeting = code == 220 && !self.is_greeted;
                if is_greeting && !said.is_empty() && !self.has_in(said) {
                    out.facts().put(BANNER_LAST, said);
                }
                self.replied(code, out);
            }
            return;
        }
        self.first_line(code, text, out);
        self.inside = 0;
        if text.starts_with(b"-") {
            self.inside = u16::try_from(code).unwrap_or(0); // three digits
        } else {
            self.replied(code, out);
        }
    }

    fn first_line(&mut self, code: u64, text: &[u8], out: &mut dyn Output) {
        let said = text.get(1..).unwrap_or_default();
        if self.is_early(code) {
            if code == 220 && !self.has_in(said) {
                out.facts().put(BANNER, said);
            }
            return;
        }
        self.pass_abort(code, out);
        self.tear_ends_at_reply(code, out);
        let is_status = self.is_transferring && (211..=213).contains(&code) && self.waiting.is_first(Kind::Status);
        self.is_aside = is_status || self.orphans > 0 || self.order.is_torn;
        if !self.is_aside {
            return self.put_line(code, said, out);
        }
        let open = std::mem::take(out.facts());
        if is_status {
            self.waiting.pop(out);
        }
        self.put_line(code, said, out);
        out.event();
        *out.facts() = open;
    }

    /// The first line of a reply, into the event that is open.
    fn put_line(&mut self, code: u64, said: &[u8], out: &mut dyn Output) {
        if self.pending == 0 && code == 220 && !self.is_greeted {
            out.facts().put(BANNER, said);
        }
        out.facts().put_number(CODE, code);
        // What is not understood is repeated, with quotes and without.
        let repeats = self.has_secret && ((500..=504).contains(&code) || self.has_in(said));
        if !said.is_empty() && self.pending > 0 && !repeats {
            put_reply(code, said, out);
        }
        let endpoint = match code {
            227 => said.iter().position(u8::is_ascii_digit).and_then(|at| host_port(said.get(at..)?)),
            229 => said.iter().position(|byte| *byte == b'(').and_then(|at| extended(said.get(at + 1..)?)),
            _ => None,
        };
        if let Some(endpoint) = endpoint {
            endpoint.put(PASSIVE, out);
        }
    }

    /// Is it the greeting (RFC 959 section 5.4), though commands were sent that did not wait for it? It is a reply to none.
    fn is_early(&self, code: u64) -> bool {
        !self.is_greeted && self.pending > 0 && matches!(code, 120 | 220)
    }

    /// Does a reply repeat the secret that was sent?
    fn has_in(&self, said: &[u8]) -> bool {
        let (wanted, length) = self.secret;
        match usize::from(length) {
            0 => false,
            length if length > SECRET_MAX => true,
            length => said.windows(length).any(|part| hash(part) == wanted),
        }
    }

    fn replied(&mut self, code: u64, out: &mut dyn Output) {
        let (is_early, is_aside) = (self.is_early(code), std::mem::take(&mut self.is_aside));
        self.is_greeted |= code >= 200;
        self.is_transferring |= code < 200 && !is_early;
        if code < 200 || is_early {
            return;
        }
        if self.order.is_torn {
            self.is_transferring = false;
            return self.order.replied();
        }
        self.pending = self.pending.saturating_sub(1);
        self.has_secret &= self.pending > 0;
        if is_aside && self.orphans == 0 {
            return; // while a transfer goes on
        }
        self.order.replied();
        self.is_transferring = false;
        if is_aside {
            self.orphans = self.orphans.saturating_sub(1);
            return;
        }
        if self.is_login && matches!(code, 331 | 332) && (self.waiting.take_pass(out) || self.waiting.is_empty()) {
            return; // PASS follows, or was sent already
        }
        if self.is_auth && code == 234 {
            self.is_tls = true;
        }
        self.is_user_last &= !self.is_login || !self.waiting.is_empty();
        out.event();
        if self.is_tls {
            return self.tell_all(out);
        }
        self.open_next(out);
    }
}

/// Bytes of a secret that is looked for in replies.
const SECRET_MAX: usize = 32;

/// Tells texts apart (FNV-1a), without keeping them.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Servers quote what they do not understand.
fn put_reply(code: u64, said: &[u8], out: &mut dyn Output) {
    let mut place = Text::<256>::default();
    let said = if code < 500 { said } else { lines::unquoted(said, false, &mut place) };
    out.facts().put(REPLY, said);
}

/// Where a data connection goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Endpoint {
    address: Option<std::net::IpAddr>,
    port: u16,
}

impl Endpoint {
    fn put(self, mode: &[u8], out: &mut dyn Output) {
        match self.address {
            Some(std::net::IpAddr::V4(address)) => out.facts().put(DATA_ADDRESS, &address.octets()),
            Some(std::net::IpAddr::V6(address)) => out.facts().put(DATA_ADDRESS, &address.octets()),
            None => {}
        }
        out.facts().put_number(DATA_PORT, u64::from(self.port));
        out.facts().put(MODE, mode);
    }
}

/// `h1,h2,h3,h4,p1,p2`.
fn host_port(text: &[u8]) -> Option<Endpoint> {
    let mut parts =
        text.split(|byte| !byte.is_ascii_digit()).take(6).map(|part| u8::try_from(lines::decimal(part)?).ok());
    let mut next = || parts.next().flatten();
    let address = [next()?, next()?, next()?, next()?];
    let port = u16::from_be_bytes([next()?, next()?]);
    Some(Endpoint { address: Some(address.into()), port })
}

/// `|family|address|port|`; of EPSV's reply without the first two.
fn extended(text: &[u8]) -> Option<Endpoint> {
    let (delimiter, rest) = text.split_first()?;
    let mut parts = rest.split(|byte| byte == delimiter);
    let (_, address, port) = (parts.next()?, parts.next()?, parts.next()?);
    let address = std::str::from_utf8(address).ok().and_then(|address| address.parse().ok());
    Some(Endpoint { address, port: u16::try_from(lines::decimal(port)?).ok()? })
}

impl Parse for State {
    fn begin(&mut self, look: &Look<'_>) {
        self.is_greeted = !look.is_before_greeting();
    }

    /// Every line of either side says what it is; to which command the next reply is, is not known.
    fn gap(&mut self, side: Side, _hole: &Hole<'_>, out: &mut dyn Output) -> Resume {
        *self.lines.of(side) = Lines::default();
        if self.is_tls {
            return Resume::Done;
        }
        self.tear(side, out);
        if side == Side::Originator { Resume::Line } else { Resume::Here }
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.is_tls {
            return Step::Done;
        }
        let line = match self.lines.of(side).next(bytes, LINE_MAX) {
            Ok(line) => line,
            Err(step) => return step,
        };
        let is_part = side == Side::Responder && std::mem::take(&mut self.order.is_part);
        if line.is_cut && !is_part {
            self.told.once(LINE_TOO_LONG, out);
        }
        let is_lost = is_part && !lines::reply(line.text).is_some_and(|(code, _)| self.is_to_last(code, out));
        match side {
            _ if line.text.is_empty() || is_lost => {}
            Side::Originator => self.command(line.text, out),
            Side::Responder => self.reply(line.text, out),
        }
        Step::Took(line.taken)
    }

    fn end(&mut self, out: &mut dyn Output) {
        if self.order.is_torn || self.orphans > 0 || self.is_abort {
            self.tell_all(out);
        }
        while !self.waiting.is_empty() {
            out.event();
            self.waiting.pop(out);
        }
        out.event();
    }
}
