//! Redis and its kin: RESP, versions 2 and 3.
//!
//! Reads the commands of a client with their first argument, and whether they failed: an event each, up to a bound. Values
//! are passed over, but what a server says of itself where it is asked for that alone (`INFO`, `HELLO`). Deliberately not
//! read: the password of `AUTH` and `HELLO`, scripts, answers but errors and status.
//!
//! There is no object in EVE for it: all facts are only in our own.

mod probe;
#[cfg(test)]
mod tests;

use super::facts::Fact;
use super::http::secrets;
use super::lines::{self, Lines, Told};
use super::parse::{Anomaly, Look, Output, Parse, Step};
use super::protocol::Protocol;
use super::sides::Sides;
use super::text::Text;
use crate::dataplane::flow::Side;
pub use probe::probe;

const P: Protocol = Protocol::Redis;

/// The command.
pub const COMMAND: Fact = Fact::text(P, 1, "command", 32);
/// Its first arguments, where they are no secret and no content; of a key that is named like a secret what is behind the name is
/// a star: `session:*`.
pub const ARGUMENT: Fact = Fact::text(P, 2, "argument", ARGUMENT_BYTES as u16).repeated(3);
/// User name of a login.
pub const USERNAME: Fact = Fact::text(P, 3, "username", 128);
/// First word of the error that the command got; what follows may quote the command.
pub const ERROR: Fact = Fact::text(P, 4, "error", 128);
/// Status that the command got.
pub const STATUS: Fact = Fact::text(P, 5, "status", 64);
/// A reply came: 1 where the connection has sent no login (`AUTH`, `HELLO`) so far, 2 where it has, or may have before it was met.
pub const ANSWERED: Fact = Fact::number(P, 6, "answered");
/// Version of Redis that the server says it is, or does as: Valkey, Dragonfly and others name one of these too.
pub const REDIS_VERSION: Fact = Fact::text(P, 7, "redis_version", 32);
/// What the server is, where it says so: `redis`, `valkey`, `dragonfly`.
pub const SERVER: Fact = Fact::text(P, 8, "server", 32);
/// Its own version.
pub const SERVER_VERSION: Fact = Fact::text(P, 9, "server_version", 32);
/// Operating system of the server.
pub const SERVER_OS: Fact = Fact::text(P, 10, "server_os", 64);

/// All facts.
pub const FACTS: &[Fact] =
    &[COMMAND, ARGUMENT, USERNAME, ERROR, STATUS, ANSWERED, REDIS_VERSION, SERVER, SERVER_VERSION, SERVER_OS];

/// What is no RESP.
pub const SYNTAX_INVALID: Anomaly = Anomaly::new(P, 1, "syntax_invalid");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[SYNTAX_INVALID];

/// Commands of a connection that are told; then nothing more of it is of interest.
pub const COMMANDS_MAX: u8 = 64;
/// Bytes of an argument that are told.
const ARGUMENT_BYTES: usize = 128;
/// Bytes of a line.
const LINE_MAX: usize = 512;
/// Bytes of an argument that is read; longer ones are passed over.
const ARGUMENT_MAX: u64 = 256;
/// Arguments of a command at most: the server's own limit.
const ARGUMENTS_MAX: u64 = 1 << 20;
/// Bytes of a value at most: the server's own limit.
pub(super) const VALUE_MAX: u64 = 512 << 20;
/// Lines of the answer to `INFO` that are read: its first part, and the server's.
pub(super) const INFO_LINES: u8 = 24;
/// Bytes of a value in the answer to `HELLO` that is read.
const HELLO_MAX: u64 = 64;

/// What of a command's arguments may be told.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Tell {
    /// None: they are secrets or content.
    #[default]
    None,
    /// The first one: a key, mostly.
    First,
    /// The first three: addresses, paths, names of settings.
    Three,
    /// Of AUTH with two arguments the first one.
    User,
}

/// Commands whose first argument is a key, a channel or a word of theirs. Of others, mistyped ones among them, it may be a
/// secret.
#[rustfmt::skip]
const KEYS: &[&[u8]] = &[
    b"GET", b"SET", b"SETEX", b"PSETEX", b"SETNX", b"GETSET", b"GETDEL", b"GETEX", b"MGET", b"MSET", b"MSETNX",
    b"APPEND", b"STRLEN", b"INCR", b"DECR", b"INCRBY", b"DECRBY", b"INCRBYFLOAT", b"GETRANGE", b"SETRANGE", b"SUBSTR",
    b"DEL", b"UNLINK", b"EXISTS", b"EXPIRE", b"EXPIREAT", b"PEXPIRE", b"PEXPIREAT", b"PERSIST", b"TTL", b"PTTL",
    b"TYPE", b"RENAME", b"RENAMENX", b"DUMP", b"RESTORE", b"KEYS", b"SCAN", b"SORT", b"TOUCH", b"COPY", b"MOVE",
    b"OBJECT", b"HGET", b"HSET", b"HMGET", b"HMSET", b"HSETNX", b"HGETALL", b"HKEYS", b"HVALS", b"HLEN", b"HDEL",
    b"HEXISTS", b"HINCRBY", b"HINCRBYFLOAT", b"HSCAN", b"HSTRLEN", b"LPUSH", b"RPUSH", b"LPUSHX", b"RPUSHX", b"LPOP",
    b"RPOP", b"LLEN", b"LRANGE", b"LINDEX", b"LSET", b"LREM", b"LTRIM", b"LINSERT", b"LMOVE", b"LPOS", b"BLPOP",
    b"BRPOP", b"BRPOPLPUSH", b"RPOPLPUSH", b"SADD", b"SREM", b"SMEMBERS", b"SISMEMBER", b"SCARD", b"SPOP",
    b"SRANDMEMBER", b"SINTER", b"SUNION", b"SDIFF", b"SINTERSTORE", b"SUNIONSTORE", b"SDIFFSTORE", b"SSCAN", b"SMOVE",
    b"ZADD", b"ZREM", b"ZRANGE", b"ZREVRANGE", b"ZRANGEBYSCORE", b"ZREVRANGEBYSCORE", b"ZSCORE", b"ZCARD", b"ZCOUNT",
    b"ZRANK", b"ZREVRANK", b"ZINCRBY", b"ZSCAN", b"ZPOPMIN", b"ZPOPMAX", b"XADD", b"XREAD", b"XRANGE", b"XREVRANGE",
    b"XLEN", b"XGROUP", b"XINFO", b"PFADD", b"PFCOUNT", b"PFMERGE", b"GEOADD", b"GEOPOS", b"GEODIST", b"SETBIT",
    b"GETBIT", b"BITCOUNT", b"PUBLISH", b"SUBSCRIBE", b"PSUBSCRIBE", b"SELECT", b"INFO", b"WATCH", b"CLUSTER",
    b"COMMAND", b"MEMORY", b"SLOWLOG", b"PSYNC", b"REPLCONF", b"ACL",
];

/// What the answer to a command tells of the server.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum About {
    #[default]
    Nothing,
    /// Lines of names and values.
    Info,
    /// Names and values.
    Hello,
    /// The value behind the name `server` or `version`.
    HelloServer,
    HelloVersion,
}

/// The words of a command in one line; text in quotes is one, with them (the server's `sdssplitargs`).
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        let (mut quote, mut is_escaped, mut end) = (None, false, rest.len());
        for (at, byte) in rest.iter().enumerate() {
            match (quote, byte) {
                _ if is_escaped => is_escaped = false,
                (Some(_), b'\\') => is_escaped = true,
                (Some(open), byte) if open == *byte => quote = None,
                (None, b'"' | b'\'') => quote = Some(*byte),
                (None, b' ' | b'\t') => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        let (word, behind) = rest.split_at_checked(end)?;
        rest = behind;
        (!word.is_empty()).then_some(word)
    })
}

/// A Redis connection.
#[derive(Default, Debug)]
pub struct State {
    /// Values of the server's reply that are still to come.
    values: u64,
    lines: Sides<Lines>,
    told: Told,
    /// Arguments of the command that are still to come.
    arguments: u32,
    /// Commands without a reply.
    pending: u16,
    number: u8,
    commands: u8,
    tell: Tell,
    /// Of the latest command.
    about: About,
    /// Bytes of the answer to `INFO` that are still to come, and lines of it that are still read.
    info: u64,
    info_lines: u8,
    has_login: bool,
    is_over: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    fn invalid(&mut self, out: &mut dyn Output) -> Step {
        self.is_over = true;
        self.told.once(SYNTAX_INVALID, out);
        out.event();
        Step::Done
    }

    fn client(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        let line = match self.lines.of(Side::Originator).next(bytes, LINE_MAX) {
            Ok(line) => line,
            Err(step) => return step,
        };
        if self.arguments > 0 {
            return self.argument(bytes, line, out);
        }
        match line.text.split_first() {
            None => {}
            Some((b'*', count)) => {
                let Some(count) = lines::decimal(count).filter(|count| *count <= ARGUMENTS_MAX) else {
                    return self.invalid(out);
                };
                (self.arguments, self.number) = (count as u32, 0); // at most ARGUMENTS_MAX
            }
            // A command in one line.
            Some((first, _)) if first.is_ascii_alphabetic() && lines::is_text(line.text) => {
                let (command, rest) = lines::word(line.text);
                let count = 1 + words(rest).count();
                self.begin(command, count as u64, out);
                for (number, word) in (1..=3).zip(words(rest)) {
                    self.put(number, word, out);
                }
                self.check(out);
            }
            Some(_) => return self.invalid(out),
        }
        Step::Took(line.taken)
    }

    /// One string of a command: its line with the length, then its bytes.
    fn argument(&mut self, bytes: &[u8], line: lines::Line<'_>, out: &mut dyn Output) -> Step {
        let size = line.text.strip_prefix(b"$").and_then(lines::decimal).filter(|size| *size <= VALUE_MAX);
        let Some(size) = size else { return self.invalid(out) };
        let whole = line.taken as u64 + size + 2; // at most LINE_MAX and VALUE_MAX
        if size <= ARGUMENT_MAX && self.number <= 3 {
            let whole = line.taken + size as usize + 2; // at most ARGUMENT_MAX
            let Some(value) = bytes.get(line.taken..whole) else { return Step::Need(whole) };
            let value = value.strip_suffix(b"\r\n").unwrap_or(value);
            match self.number {
                0 => self.begin(value, u64::from(self.arguments), out),
                number => self.put(number, value, out),
            }
        } else if self.number == 0 {
            return self.invalid(out); // no command is that long
        }
        self.number = self.number.saturating_add(1);
        self.arguments -= 1;
        if self.arguments == 0 {
            self.check(out);
        }
        Step::Skip(whole)
    }

    fn begin(&mut self, command: &[u8], count: u64, out: &mut dyn Output) {
        out.event();
        self.commands = self.commands.saturating_add(1);
        self.pending = self.pending.saturating_add(1);
        out.facts().put(COMMAND, command);
        let is = |names: &[&[u8]]| names.iter().any(|name| command.eq_ignore_ascii_case(name));
        self.has_login |= is(&[b"AUTH", b"HELLO"]);
        self.about = match () {
            () if is(&[b"INFO"]) => About::Info,
            () if is(&[b"HELLO"]) => About::Hello,
            () => About::Nothing,
        };
        self.tell = match () {
            () if is(&[b"AUTH"]) && count == 3 => Tell::User,
            () if is(&[b"AUTH", b"HELLO", b"EVAL", b"EVALSHA", b"SCRIPT", b"MIGRATE", b"ECHO", b"PING"]) => Tell::None,
            () if is(&[b"CONFIG", b"SLAVEOF", b"REPLICAOF", b"MODULE", b"CLIENT", b"DEBUG"]) => Tell::Three,
            () if is(KEYS) => Tell::First,
            () => Tell::None,
        };
    }

    fn put(&mut self, number: u8, value: &[u8], out: &mut dyn Output) {
        match (self.tell, number) {
            (Tell::User, 1) => out.facts().put(USERNAME, if secrets::is_token(value) { b"*" } else { value }),
            (Tell::First, 1) => {
                out.facts().put(ARGUMENT, secrets::named(value, &mut Text::<ARGUMENT_BYTES>::default()))
            }
            (Tell::Three, 1..=3) => out.facts().put(ARGUMENT, value),
            _ => {}
        }
        // CONFIG SET requirepass, masterauth: what follows is a secret.
        let secrets: [&[u8]; 3] = [b"pass", b"auth", b"user"];
        if self.tell == Tell::Three && secrets.iter().any(|secret| lines::find(value, secret).is_some()) {
            self.tell = Tell::None;
        }
    }

    fn check(&mut self, out: &mut dyn Output) {
        if self.commands >= COMMANDS_MAX {
            self.is_over = true;
            out.event();
        }
    }

    /// A line of the answer to `INFO`.
    fn info(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        let shown = bytes.get(..usize::try_from(self.info).unwrap_or(usize::MAX)).unwrap_or(bytes);
        let (text, taken) = match shown.iter().position(|byte| *byte == b'\n') {
            Some(at) => (shown.get(..at).unwrap_or_default(), at as u64 + 1),
            None if shown.len() < LINE_MAX && (shown.len() as u64) < self.info => return Step::Need(bytes.len() + 1),
            // No line of a server's.
            None => (&[][..], self.info),
        };
        self.info_lines = self.info_lines.saturating_sub(1);
        let value = lines::split(lines::begun(text), b':');
        let own = |fact, server: &[u8], value: &[u8], out: &mut dyn Output| {
            out.facts().put(SERVER, server);
            out.facts().put(fact, value);
        };
        match value {
            Some((b"redis_version", value)) => out.facts().put(REDIS_VERSION, value),
            Some((b"valkey_version", value)) => own(SERVER_VERSION, b"valkey", value, out),
            Some((b"dragonfly_version", value)) => own(SERVER_VERSION, b"dragonfly", value, out),
            Some((b"server_name", value)) => out.facts().put(SERVER, value),
            Some((b"os", value)) => out.facts().put(SERVER_OS, value),
            _ => {}
        }
        let taken = if self.info_lines == 0 { self.info } else { taken.min(self.info) };
        self.info -= taken;
        if self.info == 0 {
            self.is_answered(out);
        }
        Step::Skip(taken)
    }

    /// A name or value of the answer to `HELLO`.
    fn hello(&mut self, value: &[u8], out: &mut dyn Output) {
        self.about = match (self.about, value) {
            (About::HelloServer, server) => {
                out.facts().put(SERVER, server);
                About::Hello
            }
            (About::HelloVersion, version) => {
                out.facts().put(SERVER_VERSION, version);
                About::Hello
            }
            (_, b"server") => About::HelloServer,
            (_, b"version") => About::HelloVersion,
            (about, _) => about,
        };
    }

    fn server(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.info > 0 {
            return self.info(bytes, out);
        }
        let line = match self.lines.of(Side::Responder).next(bytes, LINE_MAX) {
            Ok(line) => line,
            Err(step) => return step,
        };
        let Some((kind, rest)) = line.text.split_first() else { return self.invalid(out) };
        let is_first = self.values == 0;
        if self.pending == 1
            && self.about != About::Nothing
            && let (b'$' | b'=', Some(size)) = (kind, lines::decimal(rest).filter(|size| *size <= VALUE_MAX))
        {
            if self.about == About::Info && is_first {
                out.facts().put_number(ANSWERED, if self.has_login { 2 } else { 1 });
                (self.info, self.info_lines, self.about) = (size + 2, INFO_LINES, About::Nothing);
                return Step::Took(line.taken);
            }
            if self.about != About::Info && size <= HELLO_MAX {
                let whole = line.taken + size as usize + 2; // at most HELLO_MAX
                let Some(value) = bytes.get(line.taken..whole) else { return Step::Need(whole) };
                self.hello(value.strip_suffix(b"\r\n").unwrap_or(value), out);
            }
        }
        let mut skip = 0;
        self.values = self.values.max(1) - 1;
        if is_first && self.pending == 1 {
            out.facts().put_number(ANSWERED, if self.has_login { 2 } else { 1 });
        }
        match kind {
            b'-' if is_first && self.pending <= 1 => out.facts().put(ERROR, lines::word(rest).0),
            b'+' if is_first && self.pending <= 1 => out.facts().put(STATUS, rest),
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {}
            b'$' | b'!' | b'=' => match lines::decimal(rest) {
                Some(size) if size <= VALUE_MAX => skip = size + 2,
                Some(_) => return self.invalid(out),
                None => {} // -1: nothing
            },
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                let count = lines::decimal(rest).unwrap_or(0).min(ARGUMENTS_MAX);
                let count = if matches!(kind, b'%' | b'|') { count * 2 } else { count };
                self.values = self.values.saturating_add(count);
            }
            _ => return self.invalid(out),
        }
        if self.values == 0 {
            self.is_answered(out);
        }
        Step::Skip(skip + line.taken as u64)
    }

    fn is_answered(&mut self, out: &mut dyn Output) {
        self.pending = self.pending.saturating_sub(1);
        if self.pending == 0 {
            out.event();
        }
    }
}

impl Parse for State {
    /// Of a connection met in mid-stream nobody here knows whether it has logged in.
    fn begin(&mut self, look: &Look<'_>) {
        self.has_login = look.is_begun != [true; 2];
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        match side {
            _ if self.is_over => Step::Done,
            Side::Originator => self.client(bytes, out),
            Side::Responder => self.server(bytes, out),
        }
    }
}
