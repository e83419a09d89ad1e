//! MongoDB's wire protocol: OP_MSG, OP_QUERY and OP_REPLY, and the older messages of clients.
//!
//! Reads which command is sent to which database and collection, what the client's driver says of itself, who logs in, how
//! the server answered, and its version where it was asked. Of a message the first [`READ_MAX`] bytes are looked at, of a
//! document [`ELEMENTS_MAX`] elements. Deliberately not read: documents, filters, passwords and proofs, error texts (which
//! quote), and compressed messages (greeting and login never are).
//!
//! There is no object in EVE for it: all facts are only in our own.

mod document;
#[cfg(test)]
mod tests;

use super::bytes::Reader;
use super::facts::Fact;
use super::lines::{self, Told};
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;
use document::{Element, body_of, elements};

const P: Protocol = Protocol::MongoDb;

/// The command; `query`, `insert` and so on of the messages that are none.
pub const COMMAND: Fact = Fact::text(P, 1, "command", 48);
/// Database that it is for.
pub const DATABASE: Fact = Fact::text(P, 2, "database", 64);
/// Collection that it is for.
pub const COLLECTION: Fact = Fact::text(P, 3, "collection", 128);
/// Name that the application gave itself.
pub const APPLICATION: Fact = Fact::text(P, 4, "application", 128);
/// The client's driver.
pub const DRIVER: Fact = Fact::text(P, 5, "driver", 64);
/// Its version.
pub const DRIVER_VERSION: Fact = Fact::text(P, 6, "driver_version", 48);
/// The client's operating system.
pub const CLIENT_OS: Fact = Fact::text(P, 7, "client_os", 64);
/// User name of a login.
pub const USERNAME: Fact = Fact::text(P, 8, "username", 128);
/// How the login proves who it is.
pub const MECHANISM: Fact = Fact::text(P, 9, "mechanism", 32);
/// A reply came: 1 where the connection has sent no login so far, 2 where it has.
pub const ANSWERED: Fact = Fact::number(P, 10, "answered");
/// 1: the command succeeded.
pub const OK: Fact = Fact::number(P, 11, "ok");
/// Number of the error.
pub const CODE: Fact = Fact::number(P, 12, "code");
/// Name of the error.
pub const CODE_NAME: Fact = Fact::text(P, 13, "code_name", 48);
/// Version of the server.
pub const SERVER_VERSION: Fact = Fact::text(P, 14, "server_version", 32);
/// Name of the replica set.
pub const REPLICA_SET: Fact = Fact::text(P, 15, "replica_set", 64);
/// Highest version of the protocol that the server speaks.
pub const WIRE_VERSION: Fact = Fact::number(P, 16, "wire_version");

/// All facts.
pub const FACTS: &[Fact] = &[
    COMMAND,
    DATABASE,
    COLLECTION,
    APPLICATION,
    DRIVER,
    DRIVER_VERSION,
    CLIENT_OS,
    USERNAME,
    MECHANISM,
    ANSWERED,
    OK,
    CODE,
    CODE_NAME,
    SERVER_VERSION,
    REPLICA_SET,
    WIRE_VERSION,
];

/// A message that is none.
pub const MALFORMED: Anomaly = Anomaly::new(P, 1, "malformed");
/// A login that sends the password itself (PLAIN).
pub const PASSWORD_IN_CLEAR: Anomaly = Anomaly::new(P, 2, "password_in_clear");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED, PASSWORD_IN_CLEAR];

/// Commands of a connection that are told; then nothing more of it is of interest.
pub const COMMANDS_MAX: u8 = 64;
/// Bytes of a message that are looked at.
pub const READ_MAX: usize = 2048;
/// Elements of a document that are looked at.
pub const ELEMENTS_MAX: usize = 64;
/// Length of a message at most: the server's own limit.
const MESSAGE_MAX: u32 = 48_000_000;
const HEADER_BYTES: usize = 16;

const REPLY: u32 = 1;
const UPDATE: u32 = 2001;
const INSERT: u32 = 2002;
const QUERY: u32 = 2004;
const GET_MORE: u32 = 2005;
const DELETE: u32 = 2006;
const KILL_CURSORS: u32 = 2007;
const COMPRESSED: u32 = 2012;
const MESSAGE: u32 = 2013;

/// Length, number, number of what it answers, kind.
struct Head {
    length: u32,
    code: u32,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Head> {
        let mut reader = Reader::new(bytes);
        let (length, _, _, code) = (reader.le32()?, reader.le32()?, reader.le32()?, reader.le32()?);
        let is_known = matches!(code, REPLY | UPDATE | INSERT | QUERY..=KILL_CURSORS | COMPRESSED | MESSAGE);
        (is_known && (HEADER_BYTES as u32 + 4..=MESSAGE_MAX).contains(&length)).then_some(Head { length, code })
    }
}

/// MongoDB? A header with a length and a kind that exist, and what must follow it.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    let bytes = look.bytes;
    let Some(head) = Head::read(bytes) else {
        let length = Reader::new(bytes).le32().is_none_or(|length| length > 16 && length <= MESSAGE_MAX);
        return if bytes.len() < HEADER_BYTES && length { Match::Maybe } else { Match::No };
    };
    let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
    match head.code {
        QUERY if look.side == Side::Originator => {
            let mut reader = Reader::new(body);
            let (Some(flags), name) = (reader.le32(), reader.rest()) else { return Match::Maybe };
            let name = name.get(..NAME_MAX).unwrap_or(name);
            match name.iter().position(|byte| *byte == 0) {
                _ if flags > 0xff => Match::No,
                Some(end) if is_name(name.get(..end).unwrap_or_default()) => Match::Yes,
                None if name.len() < NAME_MAX && lines::is_text(name) => Match::Maybe,
                _ => Match::No,
            }
        }
        MESSAGE => {
            let mut reader = Reader::new(body);
            let (Some(flags), Some(kind), Some(size)) = (reader.le32(), reader.u8(), reader.le32()) else {
                return Match::Maybe;
            };
            // Checksum present, more to come, exhaust allowed.
            let is = flags & !0x1_0003 == 0 && kind <= 1 && (5..head.length).contains(&size);
            if is { Match::Yes } else { Match::No }
        }
        REPLY if look.side == Side::Responder => {
            let mut reader = Reader::new(body);
            let (Some(flags), Some(_)) = (reader.le32(), reader.le64()) else { return Match::Maybe };
            let (Some(_), Some(count)) = (reader.le32(), reader.le32()) else { return Match::Maybe };
            if flags <= 15 && count <= head.length { Match::Yes } else { Match::No }
        }
        _ => Match::No,
    }
}

/// Bytes of a collection's name with its database at most.
const NAME_MAX: usize = 256;

/// `database.collection`.
fn is_name(name: &[u8]) -> bool {
    lines::is_text(name)
        && lines::split(name, b'.').is_some_and(|(database, rest)| !database.is_empty() && !rest.is_empty())
}

/// Commands whose value is a collection. Of others it may be a secret or a script.
const OF_COLLECTIONS: [&[u8]; 19] = [
    b"find",
    b"insert",
    b"update",
    b"delete",
    b"aggregate",
    b"count",
    b"distinct",
    b"findAndModify",
    b"findandmodify",
    b"create",
    b"drop",
    b"listIndexes",
    b"createIndexes",
    b"dropIndexes",
    b"mapReduce",
    b"mapreduce",
    b"collStats",
    b"validate",
    b"convertToCapped",
];

/// What the latest command asked for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum About {
    #[default]
    Other,
    /// Its answer has the server's version.
    Version,
    /// A greeting.
    Hello,
}

/// A connection of MongoDB.
#[derive(Default, Debug)]
pub struct State {
    /// Commands without a reply.
    pending: u16,
    commands: u8,
    about: About,
    has_login: bool,
    is_over: bool,
    told: Told,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    fn begins(&mut self, out: &mut dyn Output) {
        out.event();
        self.commands = self.commands.saturating_add(1);
        self.about = About::Other;
    }

    fn client(&mut self, code: u32, body: &[u8], out: &mut dyn Output) {
        let mut reader = Reader::new(body);
        let flags = reader.le32().unwrap_or(0);
        if code == COMPRESSED {
            // Nothing is known of it but that it is answered.
            out.event();
            self.pending = self.pending.saturating_add(1);
            return;
        }
        self.begins(out);
        // More to come: no reply.
        let has_reply = match code {
            MESSAGE => flags & 2 == 0,
            _ => matches!(code, QUERY | GET_MORE),
        };
        self.pending = self.pending.saturating_add(u16::from(has_reply));
        if code == MESSAGE {
            if let Some(document) = body_of(reader) {
                self.command(document, out);
            }
            return;
        }
        let name = reader.until(0).unwrap_or_default();
        let (database, collection) = lines::split(name, b'.').unwrap_or((name, &[]));
        if code == KILL_CURSORS {
            return out.facts().put(COMMAND, b"killCursors");
        }
        out.facts().put(DATABASE, database);
        if code == QUERY && collection == b"$cmd" {
            reader.take(8);
            return self.command(reader.rest(), out);
        }
        let command: &[u8] = match code {
            UPDATE => b"update",
            INSERT => b"insert",
            GET_MORE => b"getMore",
            DELETE => b"delete",
            _ => b"query",
        };
        out.facts().put(COMMAND, command);
        out.facts().put(COLLECTION, collection);
    }

    fn command(&mut self, document: &[u8], out: &mut dyn Output) {
        let Some(first) = elements(document).next() else { return };
        if let (b"$query" | b"query", Some(inner)) = (first.name, first.document()) {
            if let Some(first) = elements(inner).next() {
                self.named(&first, inner, out);
            }
            return;
        }
        self.named(&first, document, out);
    }

    fn named(&mut self, first: &Element<'_>, document: &[u8], out: &mut dyn Output) {
        let is = |names: &[&[u8]]| names.iter().any(|name| first.name.eq_ignore_ascii_case(name));
        out.facts().put(COMMAND, first.name);
        if let Some(collection) = first.text().filter(|_| OF_COLLECTIONS.contains(&first.name)) {
            out.facts().put(COLLECTION, collection);
        }
        self.about = match () {
            () if is(&[b"buildInfo", b"serverStatus"]) => About::Version,
            () if is(&[b"hello", b"isMaster"]) => About::Hello,
            () => About::Other,
        };
        let is_login = is(&[b"saslStart", b"authenticate"]);
        self.has_login |= is_login;
        for element in elements(document) {
            match (element.name, element.text(), element.document()) {
                (b"$db", Some(name), _) => out.facts().put(DATABASE, name),
                (b"collection", Some(name), _) if is(&[b"getMore"]) => out.facts().put(COLLECTION, name),
                (b"client", _, Some(client)) if self.about == About::Hello => put_client(client, out),
                (b"speculativeAuthenticate", _, Some(login)) => {
                    self.has_login = true;
                    self.login(login, out);
                }
                _ => {}
            }
        }
        if is_login {
            self.login(document, out);
        }
    }

    /// Who logs in, and how; never with what.
    fn login(&mut self, document: &[u8], out: &mut dyn Output) {
        let mut mechanism: &[u8] = &[];
        for element in elements(document) {
            match (element.name, element.text()) {
                (b"mechanism", Some(name)) => {
                    mechanism = name;
                    out.facts().put(MECHANISM, name);
                }
                (b"user", Some(name)) => out.facts().put(USERNAME, name),
                _ => {}
            }
        }
        let payload = elements(document).find(|element| element.name == b"payload" && element.kind == 5);
        let Some(payload) = payload.map(|element| element.value) else { return };
        if mechanism == b"PLAIN" {
            // Identity, user and password, with zeros between.
            out.facts().put(USERNAME, payload.split(|byte| *byte == 0).nth(1).unwrap_or_default());
            self.told.once(PASSWORD_IN_CLEAR, out);
        } else if mechanism.starts_with(b"SCRAM-") {
            // RFC 5802: `n,,n=user,r=nonce`.
            let name = payload.split(|byte| *byte == b',').find_map(|part| part.strip_prefix(b"n="));
            name.into_iter().for_each(|name| out.facts().put(USERNAME, name));
        }
    }

    fn server(&mut self, code: u32, body: &[u8], out: &mut dyn Output) {
        let is_own = self.pending == 1;
        self.pending = self.pending.saturating_sub(1);
        let mut reader = Reader::new(body);
        let flags = reader.le32().unwrap_or(0);
        let document = match code {
            MESSAGE => body_of(reader),
            REPLY => reader.take(16).map(|_| reader.rest()),
            _ => None,
        };
        if let Some(document) = document.filter(|_| is_own) {
            out.facts().put_number(ANSWERED, if self.has_login { 2 } else { 1 });
            let is_query = out.facts().get(COMMAND) == Some(b"query");
            if is_query {
                // Cursor not found, or the query failed.
                out.facts().put_number(OK, u64::from(flags & 3 == 0));
            }
            self.answer(document, is_query, out);
        }
        if self.pending == 0 {
            out.event();
        }
    }

    fn answer(&mut self, document: &[u8], is_query: bool, out: &mut dyn Output) {
        // What answers a query of the old kind are documents of people.
        for element in elements(document).take(if is_query { 0 } else { ELEMENTS_MAX }) {
            match (element.name, element.text(), element.number()) {
                (b"ok", _, Some(ok)) => out.facts().put_number(OK, u64::from(ok == 1)),
                (b"code", _, Some(code)) => out.facts().put_number(CODE, u64::try_from(code).unwrap_or(0)),
                (b"codeName", Some(name), _) => out.facts().put(CODE_NAME, name),
                (b"version", Some(version), _) if self.about == About::Version => {
                    out.facts().put(SERVER_VERSION, version);
                }
                (b"setName", Some(name), _) if self.about == About::Hello => out.facts().put(REPLICA_SET, name),
                (b"maxWireVersion", _, Some(version)) if self.about == About::Hello => {
                    out.facts().put_number(WIRE_VERSION, u64::try_from(version).unwrap_or(0));
                }
                _ => {}
            }
        }
    }
}

/// What a driver says of itself: `{application: {name}, driver: {name, version}, os: {type, name, ...}}`.
fn put_client(client: &[u8], out: &mut dyn Output) {
    for element in elements(client) {
        let Some(inner) = element.document() else { continue };
        for part in elements(inner) {
            match (element.name, part.name, part.text()) {
                (b"application", b"name", Some(text)) => out.facts().put(APPLICATION, text),
                (b"driver", b"name", Some(text)) => out.facts().put(DRIVER, text),
                (b"driver", b"version", Some(text)) => out.facts().put(DRIVER_VERSION, text),
                (b"os", b"name", Some(text)) => out.facts().put(CLIENT_OS, text),
                _ => {}
            }
        }
    }
}

impl Parse for State {
    /// Of a connection met in mid-stream nobody here knows whether it has logged in.
    fn begin(&mut self, look: &Look<'_>) {
        self.has_login = look.is_begun != [true; 2];
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.is_over {
            return Step::Done;
        }
        if bytes.len() < HEADER_BYTES {
            return Step::Need(HEADER_BYTES);
        }
        let Some(head) = Head::read(bytes) else {
            self.is_over = true;
            return Step::Broken(MALFORMED);
        };
        let wanted = (head.length as usize).min(READ_MAX);
        let Some(body) = bytes.get(HEADER_BYTES..wanted) else { return Step::Need(wanted) };
        match side {
            Side::Originator => self.client(head.code, body, out),
            Side::Responder => self.server(head.code, body, out),
        }
        if self.commands >= COMMANDS_MAX && self.pending == 0 {
            self.is_over = true;
        }
        Step::Skip(head.length.into())
    }

    fn gap(&mut self, _side: Side, hole: &Hole<'_>, _out: &mut dyn Output) -> Resume {
        (self.pending, self.has_login) = (0, true); // what was lost may be one
        let length = Head::read(hole.before).map_or(0, |head| u64::from(head.length));
        hole.within(length)
    }
}
